"""Holds one thread of a process still, as a debugger does: what happens when only it does not get on?"""

import ctypes
import os
import time
from pathlib import Path

PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 7, 17, 0x4206, 0x4207, 0x40000000
#: The thread that takes records out of memory.
DRAIN = "records-drain"


class Stopped:
    """The thread of this name; the kernel keeps 15 characters of it. One thread must enter and leave."""

    def __init__(self, pid, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        threads = Path(f"/proc/{pid}/task").iterdir()
        self.thread = next(thread for thread in threads if (thread / "comm").read_text().strip() == name)
        self.tid = int(self.thread.name)

    def call(self, request):
        if self.libc.ptrace(request, self.tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def sleeps(self):
        """Whether it is at rest: one that is at work may hold a lock that others need, and would stop them too."""
        return (self.thread / "stat").read_text().rsplit(")", 1)[1].split()[0] == "S"

    def __enter__(self):
        self.call(PTRACE_SEIZE)
        while True:
            while not self.sleeps():
                time.sleep(0.001)
            before = self.switches()
            self.call(PTRACE_INTERRUPT)
            os.waitpid(self.tid, WALL)
            # It slept until it was stopped, and did nothing in between.
            if self.switches() - before <= 1:
                return self
            self.call(PTRACE_CONT)

    def switches(self):
        """How often it went to sleep or was interrupted."""
        lines = (self.thread / "status").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    def __exit__(self, *_):
        self.call(PTRACE_DETACH)
