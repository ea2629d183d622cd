"""Walls: what was forked from a zygote draws its own closer, before anything of a model runs in it.

A zygote lives within walls that all models of its project and packages have in common: it sees the files of all of
them, and may mount, in namespaces of its own. What is forked from it keeps of that what its own model needs, and gives
the rest up for good. What is forked from a parent, which holds a model already, only gets rules of its own, so that it
and its siblings do not reach one another.
"""

import fcntl

from .standard import os, socket, struct

try:
    import ctypes
except ImportError:  # then nothing is forked
    ctypes = None

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x8000000, 0x40000000
MS_BIND, MS_REC, MS_REMOUNT, MS_RDONLY, MS_NOSUID, MS_NODEV = 0x1000, 0x4000, 0x20, 0x1, 0x2, 0x4
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LANDLOCK_RESTRICT_SELF = 446
CAPABILITY_VERSION = 0x20080522


def close_in(libc, walls, rules, filter_of_calls):
    """Draws the walls of this process closer. Raises OSError if the kernel refuses: then no model may run here.

    `rules` is the descriptor of a ruleset, or None where the kernel has none.
    """
    if walls.get("covered"):
        cover(libc, walls)
    if rules is not None:
        checked(libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0), "obeying the rules for files")
        os.close(rules)
    if filter_of_calls:
        give_capabilities_up(libc)
        obey(libc, bytes.fromhex(filter_of_calls))


def checked(result, what):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def cover(libc, walls):
    """Shows of some directories only what is this process's own, or named to be read; /tmp and /dev/shm are its own.

    So are its network, which ends at the loopback interface, and shared memory.
    """
    checked(libc.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET), "namespaces of its own")
    loopback_up()
    own, covered = walls["own"], walls["covered"] + ["/tmp"]
    below = [path for path in walls["read"] + [own] if any(path.startswith(over + "/") for over in covered)]
    places = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in below]
    temporary = os.open(own + "/tmp", os.O_PATH | os.O_CLOEXEC)
    mount(libc, "/proc/self/fd/%d" % temporary, "/tmp", None, MS_BIND, None)
    for over in walls["covered"]:
        os.makedirs(over, exist_ok=True)
        mount(libc, "tmpfs", over, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    for path, place in places:
        if os.path.isdir("/proc/self/fd/%d" % place):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC))
        mount(libc, "/proc/self/fd/%d" % place, path, None, MS_BIND | MS_REC, None)
        os.close(place)
    os.close(temporary)
    for over in walls["covered"]:
        mount(libc, None, over, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, None)
    mount(libc, "tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))


def mount(libc, source, target, kind, flags, options):
    encoded = [text if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    result = libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3])
    checked(result, "showing %s" % target)


def give_capabilities_up(libc):
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITY_VERSION, 0))
    checked(libc.capset(header, ctypes.create_string_buffer(24)), "giving capabilities up")


def obey(libc, instructions):
    room = ctypes.create_string_buffer(instructions, len(instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, ctypes.addressof(room)))
    checked(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0), "obeying the filter of calls")
