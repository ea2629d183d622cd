"""Parts of the kernel that no model needs, and through which others have got out. What is written is what was there."""

import ctypes
import os
import platform
import re
import socket
import subprocess
import tempfile

from . import Denied, attack
from .native import LIBC, call, checked, in_child, number_of

CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWUTS = 0x10000000, 0x20000, 0x40000000, 0x04000000
X32 = 0x40000000
SHM_RDONLY, AT_FDCWD = 0o10000, -100


def opened(number):
    """That a descriptor was given is enough."""
    os.close(number)
    return f"descriptor {number}"


@attack
def io_uring(target):
    return opened(call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


@attack
def bpf(target):
    """A map of one entry."""
    attributes = (ctypes.c_uint32 * 32)(2, 4, 8, 1)
    return opened(call("bpf", 0, ctypes.byref(attributes), ctypes.sizeof(attributes)))


@attack
def perf_event(target):
    """Counts the time of all of its own."""
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    attributes[10] = 1 << 5 | 1 << 6  # leaves the kernel out
    return opened(call("perf_event_open", ctypes.byref(attributes), 0, -1, -1, 0))


@attack
def userfaultfd(target):
    return opened(call("userfaultfd", 1))


@attack
def keys_of_the_session(target):
    """Reads what the test has put there, or adds something if it could not."""
    name = ctypes.c_char_p(b"hostile")
    number = call("add_key", ctypes.c_char_p(b"user"), name, ctypes.c_char_p(b"x"), 1, -1)
    call("keyctl", 3, number, 0, 0, 0)  # revokes it again
    return f"key {number}"


def unshared(flags):
    def child():
        checked(LIBC.unshare(ctypes.c_int(flags)), "unshare")
        return "unshared"

    return in_child(child)


@attack
def new_user_namespace(target):
    """And all capabilities in it."""
    return unshared(CLONE_NEWUSER)


@attack
def new_network_namespace(target):
    return unshared(CLONE_NEWNET)


@attack
def namespace_of_victim(target):
    def child():
        number = os.open(f"/proc/{target.victim}/ns/uts", os.O_RDONLY)
        checked(LIBC.setns(ctypes.c_int(number), ctypes.c_int(CLONE_NEWUTS)), "setns")
        return "joined"

    return in_child(child)


@attack
def mount(target):
    """In a namespace of its own if it can, so that nobody sees it."""
    place = tempfile.mkdtemp()

    def child():
        LIBC.unshare(ctypes.c_int(CLONE_NEWNS))
        what, kind = ctypes.c_char_p(b"none"), ctypes.c_char_p(b"tmpfs")
        path = ctypes.c_char_p(place.encode())
        checked(LIBC.mount(what, path, kind, ctypes.c_ulong(0), ctypes.c_void_p(None)), "mount")
        found = os.path.ismount(place)
        LIBC.umount2(path, 2)
        if not found:
            raise Denied("it is not mounted")
        return "mounted"

    try:
        return in_child(child)
    finally:
        os.rmdir(place)


@attack
def change_root(target):
    def child():
        os.chroot("/")
        return "changed"

    return in_child(child)


@attack
def another_user(target):
    def child():
        os.setgroups([])
        os.setuid(65534)
        return f"user {os.getuid()}"

    return in_child(child)


@attack
def switch_user(target):
    """By a program that is set to another user."""
    done = subprocess.run(["su", "-s", "/bin/sh", "-c", "id -u", "root"], stdin=subprocess.DEVNULL, capture_output=True, timeout=4)
    if done.stdout.strip() != b"0":
        raise Denied(done.stderr.decode(errors="replace").strip() or f"status {done.returncode}")
    return "user 0"


@attack
def x32_call(target):
    """A call by the other number that it has, which lists of what is forbidden forget."""
    if platform.machine() != "x86_64":
        raise Denied("not this kind of machine")
    return call(X32 | number_of("getpid"))


@attack
def system_v_memory(target):
    address = checked(LIBC.shmat(target.segment, None, SHM_RDONLY), "shmat")
    try:
        return ctypes.string_at(address).decode()
    finally:
        LIBC.shmdt(address)


@attack
def system_v_list(target):
    with open("/proc/sysvipc/shm") as file:
        segments = [line.split()[1] for line in file][1:]
    if str(target.segment) not in segments:
        raise Denied("it is not among them")
    return "listed"


class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("handle", ctypes.c_ubyte * 128)]


@attack
def open_by_handle(target):
    """Opens a file by its number on the disk, past all directories."""
    handle, of_mount = Handle(bytes=128), ctypes.c_int()
    path = ctypes.c_char_p(target.secret.encode())
    call("name_to_handle_at", AT_FDCWD, path, ctypes.byref(handle), ctypes.byref(of_mount), 0)
    root = os.open(os.path.dirname(target.secret), os.O_RDONLY)
    try:
        number = call("open_by_handle_at", root, ctypes.byref(handle), os.O_RDONLY)
    finally:
        os.close(root)
    with open(number) as file:
        return file.read()


def rewritten(path, value):
    number = os.open(path, os.O_WRONLY)
    try:
        os.write(number, value.encode())
    finally:
        os.close(number)
    return "written"


@attack
def core_pattern(target):
    """What the kernel starts, outside of all, when a process crashes."""
    path = "/proc/sys/kernel/core_pattern"
    with open(path) as file:
        before = file.read()
    return rewritten(path, before)


@attack
def system_setting(target):
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    with open(path) as file:
        before = re.search(r"\[(\w+)\]", file.read()).group(1)
    return rewritten(path, before)


@attack
def hotplug_helper(target):
    """Likewise, for devices."""
    path = "/sys/kernel/uevent_helper"
    if not os.path.exists(path):
        path = "/proc/sys/kernel/modprobe"
    with open(path) as file:
        before = file.read()
    return rewritten(path, before)


@attack
def out_of_memory_score(target):
    """Has the victim ended instead when memory runs short."""
    path = f"/proc/{target.victim}/oom_score_adj"
    with open(path) as file:
        before = file.read()
    return rewritten(path, before)


@attack
def leave_control_group(target):
    """Moves a child out of the groups that limit this process."""

    def child():
        moved = []
        for place in target.groups:
            with open(place + "/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
            moved.append(place)
        with open("/proc/self/cgroup") as file:
            left = [line for line in file if "decalog-" in line]
        if left:
            raise Denied(left[0].strip())
        return " ".join(moved) or "in none"

    return in_child(child)


@attack
def make_device(target):
    """A device of its own for the disk that the secret is on, and its first bytes."""
    path = os.path.join(tempfile.gettempdir(), "disk")
    os.mknod(path, 0o60600, target.device)
    try:
        with open(path, "rb") as file:
            return f"{len(file.read(512))} bytes"
    finally:
        os.unlink(path)


@attack
def host_name(target):
    """That of the machine, as it is."""
    if socket.gethostname() != target.host:
        raise Denied("another name")
    socket.sethostname(target.host)
    return "set"
