"""What a model has no business to do to other processes."""

import ctypes
import os
import resource
import signal

from . import Denied, attack
from .native import LIBC, call, checked

PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_DETACH = 2, 16, 17
PR_GET_NO_NEW_PRIVS, CAPABILITIES_VERSION = 39, 0x20080522


@attack
def signal_zero(target):
    os.kill(target.victim, 0)
    os.kill(target.supervisor, 0)
    return "both are there"


@attack
def signal_stop(target):
    os.kill(target.victim, signal.SIGSTOP)
    return "sent"


@attack
def signal_kill(target):
    os.kill(target.victim, signal.SIGKILL)
    return "sent"


@attack
def signal_group(target):
    os.killpg(target.victim, signal.SIGKILL)
    return "sent"


@attack
def signal_by_descriptor(target):
    number = os.pidfd_open(target.victim)
    try:
        signal.pidfd_send_signal(number, signal.SIGKILL)
    finally:
        os.close(number)
    return "sent"


@attack
def signal_on_input(target):
    """Has the kernel signal whom it owns a descriptor to."""
    import fcntl

    reader, writer = os.pipe()
    try:
        fcntl.fcntl(reader, fcntl.F_SETOWN, target.victim)
        fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(writer, b"x")
    finally:
        os.close(reader)
        os.close(writer)
    return "owned"


@attack
def ptrace(target):
    """Stops the victim, reads a word of it, and lets it go."""
    pid = ctypes.c_long(target.victim)
    none = ctypes.c_void_p(None)
    checked(LIBC.ptrace(ctypes.c_long(PTRACE_ATTACH), pid, none, none), "attach")
    try:
        os.waitpid(target.victim, 0)
        ctypes.set_errno(0)
        word = LIBC.ptrace(ctypes.c_long(PTRACE_PEEKDATA), pid, ctypes.c_void_p(target.address), none)
        if ctypes.get_errno():
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return word.to_bytes(8, "little", signed=True).decode()
    finally:
        LIBC.ptrace(ctypes.c_long(PTRACE_DETACH), pid, none, none)


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@attack
def process_vm_readv(target):
    room = ctypes.create_string_buffer(target.length)
    ours = Piece(ctypes.cast(room, ctypes.c_void_p), target.length)
    theirs = Piece(target.address, target.length)
    one = ctypes.c_ulong(1)
    read = LIBC.process_vm_readv(
        ctypes.c_int(target.victim), ctypes.byref(ours), one, ctypes.byref(theirs), one, ctypes.c_ulong(0)
    )
    checked(read, "process_vm_readv")
    return room.raw.decode()


@attack
def pidfd_getfd(target):
    number = os.pidfd_open(target.victim)
    try:
        got = call("pidfd_getfd", number, target.descriptor, 0)
    finally:
        os.close(number)
    try:
        return os.pread(got, 4096, 0).decode()
    finally:
        os.close(got)


@attack
def set_priority(target):
    os.setpriority(os.PRIO_PROCESS, target.victim, 7)
    return "set"


@attack
def set_limit(target):
    resource.prlimit(target.victim, resource.RLIMIT_CORE, (0, 0))
    return "set"


@attack
def set_affinity(target):
    os.sched_setaffinity(target.victim, os.sched_getaffinity(target.victim))
    return "set"


@attack
def own_capabilities(target):
    """Rights beyond those of any user, by the kernel's account and not by a file that may be hidden."""
    head, sets = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0), (ctypes.c_uint32 * 6)()
    checked(LIBC.capget(head, sets), "capget")
    effective = sets[0] | sets[3] << 32
    if effective == 0:
        raise Denied("none")
    return hex(effective)


@attack
def new_privileges(target):
    """Whether a program that is set to another user would be another's."""
    if LIBC.prctl(ctypes.c_int(PR_GET_NO_NEW_PRIVS), *[ctypes.c_ulong(0)] * 4) == 1:
        raise Denied("it would not")
    return "it would"
