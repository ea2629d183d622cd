"""Which open descriptors two processes can both have after a fork, and a place of its own in a file for each."""

import fcntl

from .standard import os, stat


def unsharable(number):
    """Why two processes cannot both have a descriptor, or nothing."""
    path = "/proc/self/fd/%d" % number
    try:
        mode, flags, target = os.fstat(number).st_mode, fcntl.fcntl(number, fcntl.F_GETFL), os.readlink(path)
    except OSError:  # it was open only to list the others
        return ""
    if stat.S_ISDIR(mode) or flags & os.O_PATH or target in HARMLESS_DEVICES:
        return ""
    if not stat.S_ISREG(mode):
        return "%s is open (descriptor %d)" % (DESCRIPTOR_KINDS.get(target.split(":")[0], target), number)
    if flags & os.O_ACCMODE == os.O_WRONLY and flags & os.O_APPEND:
        return ""  # whole lines of several processes, as in a log
    if flags & os.O_ACCMODE != os.O_RDONLY:
        return "%s is open for writing (descriptor %d)" % (target, number)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        is_database = os.pread(number, 16, 0) == b"SQLite format 3\0"
    except OSError as error:
        return "%s is open and cannot be opened again: %s (descriptor %d)" % (target, error.strerror, number)
    return "the SQLite database %s is open (descriptor %d)" % (target, number) if is_database else ""


DESCRIPTOR_KINDS = {"socket": "a socket", "pipe": "a pipe"}
HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def reopen(number):
    """Gives this process a place of its own in a file that is open for reading: after a fork the place is shared."""
    try:
        is_shared = stat.S_ISREG(os.fstat(number).st_mode) and not fcntl.fcntl(number, fcntl.F_GETFL) & (
            os.O_ACCMODE | os.O_PATH
        )
    except OSError:
        return
    if is_shared:
        place, again = (
            os.lseek(number, 0, os.SEEK_CUR),
            os.open("/proc/self/fd/%d" % number, os.O_RDONLY | os.O_CLOEXEC),
        )
        os.lseek(again, place, os.SEEK_SET)
        os.dup2(again, number, os.get_inheritable(number))
        os.close(again)
