"""Holds one thread of a process still, as a debugger does: what happens when only it does not get on?"""

import ctypes
import os
from pathlib import Path

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
#: The thread that takes records out of memory.
DRAIN = "records-drain"


class Stopped:
    """The thread of this name; the kernel keeps 15 characters of it. One thread must enter and leave."""

    def __init__(self, pid, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        threads = Path(f"/proc/{pid}/task").iterdir()
        self.tid = next(int(thread.name) for thread in threads if (thread / "comm").read_text().strip() == name)

    def call(self, request):
        if self.libc.ptrace(request, self.tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def __enter__(self):
        self.call(PTRACE_SEIZE)
        self.call(PTRACE_INTERRUPT)
        os.waitpid(self.tid, WALL)
        return self

    def __exit__(self, *_):
        self.call(PTRACE_DETACH)
