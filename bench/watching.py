#!/usr/bin/env python3
"""What it costs to keep records and to watch models: one server with all of it, as it is by default, and one with none, both up at once
and asked in turn in short bursts. `--stopped` also stops the thread that takes records out of memory; `--soak` loads for long and looks at memory.

    bench/watching.py --decalog target/release/decalog
    bench/watching.py --decalog target/release/decalog --rounds 10 --seconds 3
    bench/watching.py --decalog target/release/decalog --only echo --stopped 60
    bench/watching.py --decalog target/release/decalog --only echo --soak 3600
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import load, tools, workloads
from harness.processes import Running, free_port
from harness.servers import SERVERS

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from stopped import DRAIN, Stopped  # noqa: E402

SHOWN = ["echo", "forest-onnx", "tensor"]
START_S = 60.0


class Server:
    """One `decalog up` with a model live in it."""

    def __init__(self, decalog: Path, home: Path, name: str, workload: workloads.Workload, *arguments: str) -> None:
        self.decalog, self.data, self.port = decalog, home / name, free_port()
        argv = [str(decalog), "up", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *arguments]
        self.process = Running(argv, dict(os.environ), home, home / f"{name}.log", str(self.data))
        end = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > end or self.process.has_ended():
                raise SystemExit(f"{name} does not start:\n{self.process.last_words()}")
            time.sleep(0.05)
        self.run("deploy", str(tools.model_directory(workload.name)), "--name", workload.name)
        self.request = SERVERS[0].request(workload)

    def answers(self) -> bool:
        done = subprocess.run([str(self.decalog), "status", "--url", f"http://127.0.0.1:{self.port}"], capture_output=True)
        return done.returncode == 0

    def run(self, *arguments: str) -> str:
        done = subprocess.run([str(self.decalog), *arguments, "--url", f"http://127.0.0.1:{self.port}"], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    def burst(self, connections: int, seconds: float) -> load.Load:
        found = load.run(self.request, self.port, connections, seconds)
        if found.errors or not found.requests:
            raise SystemExit(f"{self.port}: {found}")
        return found

    def serving(self) -> int:
        """The process that serves, without its supervisor and workers."""
        return self.process.process.pid

    def resident_mb(self) -> float:
        """Resident memory of the serving process, without files that it maps."""
        status = Path(f"/proc/{self.serving()}/status").read_text()
        return sum(int(re.search(rf"{name}:\s+(\d+)", status).group(1)) for name in ("RssAnon", "RssShmem")) / 1024

    def gaps(self) -> list[dict]:
        return [json.loads(line) for line in self.run("sql", "select records, \"values\", reason from gaps", "--json").splitlines()]


def median(loads: list[load.Load], of: str) -> float:
    return statistics.median(getattr(one, of) for one in loads)


def compare(servers: dict[str, Server], rounds: int, seconds: float) -> None:
    """Bursts in turn, whichever is first alternating."""
    for connections in (64, 1):
        found: dict[str, list[load.Load]] = {name: [] for name in servers}
        for turn in range(rounds):
            for name in list(servers)[:: 1 if turn % 2 else -1]:
                found[name].append(servers[name].burst(connections, seconds))
        ratio = statistics.median(on.requests_per_s / off.requests_per_s for on, off in zip(found["on"], found["off"]))
        more_us = statistics.median(on.p50_ms - off.p50_ms for on, off in zip(found["on"], found["off"])) * 1_000
        for name, loads in found.items():
            rate, p50, p99 = (median(loads, of) for of in ("requests_per_s", "p50_ms", "p99_ms"))
            compared = f"  {ratio:5.2f} of off, p50 {more_us:+.1f} µs" if name == "on" else ""
            memory = servers[name].resident_mb()
            print(f"  {connections:2} connections, {name:3}  {rate:9,.0f}/s  p50 {p50 * 1_000:8.1f} µs  p99 {p99 * 1_000:8.1f} µs  {memory:6.1f} MiB{compared}", flush=True)


def stop_the_sink(server: Server, seconds: float) -> None:
    """Nothing takes records out of memory for so long, at full load."""
    for connections in (64, 1):
        before, memory = server.burst(connections, 5.0), server.resident_mb()
        with Stopped(server.serving(), DRAIN):
            during = server.burst(connections, seconds)
            held = server.resident_mb()
        more_us = (during.p50_ms - before.p50_ms) * 1_000
        print(f"  {connections:2} connections, sink stopped for {seconds:g} s: {during.requests_per_s / before.requests_per_s:.2f} of the requests/s, p50 {more_us:+.1f} µs, {memory:.1f} → {held:.1f} MiB", flush=True)
        time.sleep(3.0)
    print(f"  gaps: {server.gaps()}")


def soak(server: Server, seconds: float, connections: int = 16) -> None:
    """Memory over a long load."""
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(min(60.0, seconds / 20)):
            seen.append(server.resident_mb())

    watcher = threading.Thread(target=look)
    watcher.start()
    found = server.burst(connections, seconds)
    done.set()
    watcher.join()
    print(f"  soak of {seconds:g} s: {found.requests:,} requests; MiB: {' '.join(f'{mb:.0f}' for mb in seen)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", type=Path, required=True, help="the binary")
    parser.add_argument("--only", nargs="+", choices=SHOWN, default=SHOWN, help="these workloads")
    parser.add_argument("--rounds", type=int, default=7, help="bursts of each")
    parser.add_argument("--seconds", type=float, default=3.0, help="the length of a burst")
    parser.add_argument("--stopped", type=float, metavar="SECONDS", help="stop what takes records out of memory for so long")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="load for so long, and look at memory")
    chosen = parser.parse_args()
    tools.oha()
    if "forest-onnx" in chosen.only:
        tools.forest()
    home = Path(tempfile.mkdtemp(prefix="decalog-bench-"))
    servers: dict[str, Server] = {}
    try:
        for name in chosen.only:
            workload = workloads.load(name)
            servers = {
                "on": Server(chosen.decalog, home, f"{name}-on", workload),
                "off": Server(chosen.decalog, home, f"{name}-off", workload, "--records-per-s", "0"),
            }
            print(f"\n{name}, {chosen.rounds} bursts of {chosen.seconds:g} s in turn, medians", flush=True)
            for server in servers.values():
                server.burst(64, 1.0)
            compare(servers, chosen.rounds, chosen.seconds)
            if chosen.stopped:
                stop_the_sink(servers["on"], chosen.stopped)
            if chosen.soak:
                soak(servers["on"], chosen.soak)
            for server in servers.values():
                server.process.stop()
            servers = {}
    finally:
        for server in servers.values():
            server.process.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
