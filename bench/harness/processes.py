"""Starting, watching and stopping a server with all the processes that belong to it."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

STOP_S_MAX = 5.0


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def parents() -> dict[int, int]:
    """Every process with its parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry.name)] = int(fields[1])
    return found


def family(root: int, marker: str | None = None) -> set[int]:
    """A process and all its descendants, and those whose command line names `marker` (a data directory) with theirs: a
    supervisor that outlives its parent on purpose is no descendant, but its memory counts."""
    parent_of = parents()
    members = {root} if root in parent_of else set()
    if marker:
        for pid in parent_of:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(marker) in command:
                members.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parent_of.items() if parent in members} - members
        members |= more
        grown = bool(more)
    members.discard(os.getpid())
    return members


def memory_mb(pids: set[int]) -> float:
    """Resident memory of these processes together, pages that they share counted once (proportional set size), in MiB."""
    kilobytes = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024


def descendants_gone(pids: set[int]) -> bool:
    """Whether none of these processes lives any more."""
    return not (pids & parents().keys())


class Running:
    """A started server."""

    def __init__(self, argv: list[str], environment: dict[str, str], directory: Path, log: Path, marker: str | None = None):
        directory.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.marker = log, marker
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                argv, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def has_ended(self) -> bool:
        """Whether the process that was started is gone."""
        return self.process.poll() is not None

    def family(self) -> set[int]:
        """All its processes."""
        return family(self.process.pid, self.marker)

    def memory_mb(self) -> float:
        """Of all its processes."""
        return memory_mb(self.family())

    def last_words(self) -> str:
        """The last line of its log that names an error, else the last line, and where the log is."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        last = (errors or lines or ["it wrote nothing"])[-1]
        return f"{last[:300]} ({self.log})"

    def stop(self) -> bool:
        """Ends all its processes; false if some had to be killed."""
        members = self.family()
        if not self.has_ended():
            self.process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + STOP_S_MAX
        while time.monotonic() < limit:
            self.process.poll()
            if descendants_gone(members):
                return True
            time.sleep(0.02)
        for pid in members & parents().keys():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.poll()
        return False
