#!/usr/bin/env python3
"""What a token and TLS cost: one server in clear and one over TLS, both up at once, asked in turn in short bursts. The load generator
encrypts on the same cores: what it and the server take of the processor for a request is told apart.

    bench/access.py --decalog target/release/decalog
    bench/access.py --decalog target/release/decalog --rounds 10 --seconds 3
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness import load
from harness.paths import TOOLS

ROOT = Path(__file__).resolve().parent
ROW = b'{"x": [1.0, 2.0, 3.0, 4.0]}'
START_S = 60.0


class Server:
    """One `decalog up` with the echo model live in it."""

    def __init__(self, decalog: Path, home: Path, name: str, *arguments: str) -> None:
        self.data = home / name
        self.log = home / f"{name}.log"
        command = [str(decalog), "up", "--data", str(self.data), "--listen", "127.0.0.1:0", *arguments]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        end = time.monotonic() + START_S
        while not (found := re.search(r"https?://127\.0\.0\.1:\d+", self.log.read_text())):
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"{name} does not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.url = found.group(0)
        self.decalog = decalog
        self.run("deploy", str(ROOT / "models/echo"), "--name", "echo")
        self.token = self.run("token", "create", "bench", "--predict", "default/echo").strip()

    def run(self, *arguments: str) -> str:
        done = subprocess.run([str(self.decalog), *arguments, "--url", self.url], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    def cpu_s(self) -> float:
        """Processor time of the server so far; its models are other processes."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def burst(self, body: Path, connections: int, seconds: float, with_token: bool) -> tuple[load.Load, float, float]:
        """What came of it, and µs of the processor for each request: of the server, and of the load generator."""
        argv = [str(TOOLS / "bin/oha"), "--no-tui", "--output-format", "json", "--disable-compression", "--insecure"]
        argv += ["-z", f"{seconds:g}s", "-c", str(connections), "-m", "POST", "-D", str(body)]
        argv += ["-H", f"Authorization: Bearer {self.token}"] if with_token else []
        own, used = self.cpu_s(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*argv, f"{self.url}/v1/models/echo/predict"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = load.parse(json.loads(done.stdout))
        if found.errors or not found.requests:
            raise SystemExit(f"{self.url}: {found}")
        client_s = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
        return found, (self.cpu_s() - own) * 1e6 / found.requests, client_s * 1e6 / found.requests

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", type=Path, required=True, help="the binary")
    parser.add_argument("--rounds", type=int, default=6, help="bursts of each")
    parser.add_argument("--seconds", type=float, default=2.0, help="the length of a burst")
    chosen = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="decalog-bench-"))
    servers = {}
    try:
        body = home / "row.json"
        body.write_bytes(ROW)
        servers = {"clear": Server(chosen.decalog, home, "clear"), "TLS": Server(chosen.decalog, home, "tls", "--tls")}
        ways = [(name, token) for name in servers for token in (False, True)]
        for connections in (64, 1):
            found: dict[tuple[str, bool], list[tuple[load.Load, float, float]]] = {way: [] for way in ways}
            for _ in range(chosen.rounds):
                for name, token in ways:
                    found[name, token].append(servers[name].burst(body, connections, chosen.seconds, token))
            print(f"\n{connections} connections, {chosen.rounds} bursts of {chosen.seconds:g} s in turn, medians")
            plain = [one for one, *_ in found["clear", False]]
            for (name, token), bursts in found.items():
                loads = [one for one, *_ in bursts]
                server_us, client_us = (statistics.median(burst[at] for burst in bursts) for at in (1, 2))
                rate = statistics.median(one.requests_per_s for one in loads)
                p50_us = statistics.median(one.p50_ms for one in loads) * 1_000
                ratio = statistics.median(one.requests_per_s / base.requests_per_s for one, base in zip(loads, plain))
                more_us = statistics.median(one.p50_ms - base.p50_ms for one, base in zip(loads, plain)) * 1_000
                way = f"{name}{', token' if token else ''}"
                print(f"  {way:13} {rate:9,.0f}/s  {ratio:5.2f}   p50 {p50_us:7.1f} µs  {more_us:+6.1f}   server {server_us:5.1f} µs, client {client_us:5.1f} µs")
    finally:
        for server in servers.values():
            server.stop()
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
