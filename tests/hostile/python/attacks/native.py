"""Calls of the kernel that Python does not have, and children that make calls for which a process is the price."""

import ctypes
import json
import os
import platform

from . import Denied

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = LIBC.ptrace.restype = ctypes.c_long
LIBC.shmat.restype = ctypes.c_void_p
LIBC.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
LIBC.shmdt.argtypes = [ctypes.c_void_p]
LIBC.process_vm_readv.restype = ctypes.c_ssize_t

#: Numbers of calls where they differ: x86_64, and what came later to all machines alike.
NUMBERS = {
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "getpid": (39, 172),
    "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438),
}


def number_of(name):
    return NUMBERS[name][platform.machine() != "x86_64"]


def checked(result, what):
    """The result of a call, or the error that it left."""
    if result is None or result == -1 or result == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def call(name, *arguments):
    """A call by its name, or its number."""
    number = name if isinstance(name, int) else number_of(name)
    ctypes.set_errno(0)
    plain = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return checked(LIBC.syscall(ctypes.c_long(number), *plain), str(name))


def in_child(function):
    """What a function gives in a process of its own, which ends afterwards."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = ["possible", str(function())]
        except Denied as reason:
            said = ["denied", 0, str(reason)]
        except OSError as error:
            said = ["denied", error.errno or 0, str(error.filename or error.strerror)]
        except BaseException as error:
            said = ["broken", f"{type(error).__name__}: {error}"]
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    if not text:
        raise RuntimeError(f"the child ended with {status}")
    kind, *more = json.loads(text)
    if kind == "possible":
        return more[0]
    if kind == "denied":
        raise OSError(*more) if more[0] else Denied(more[1])
    raise RuntimeError(more[0])
