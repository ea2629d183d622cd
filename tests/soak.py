#!/usr/bin/env python3
"""Soak: an open-loop load while versions, replicas, workers and the platform itself come and go. Counts, at the client, every
request that failed and every answer by a version that was not in force at any instant between its sending and its receipt.

    tests/soak.py --decalog target/release/decalog --open-loop target/release/examples/open_loop
    tests/soak.py --short          the same in miniature, as `make test` runs it
"""

import argparse
import array
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conftest import EXAMPLES, Platform, wait_for, write_model

MODEL = "def predict(x: list[float]) -> list[float]:\n    return x\n\nVERSION = {version}\n"
ROW = '{"x": [1.0, 2.0, 3.0, 4.0]}'
#: Of the measured capacity.
SHARE = 0.4
DEADLINE_MS = 10_000
FAILURES = {1: "no connection", 2: "the connection broke", 3: "no answer in time"}


class Soak:
    """One platform under load, and what is done to it."""

    def __init__(self, options):
        self.options = options
        self.directory = Path(tempfile.mkdtemp(prefix="decalog-soak-"))
        arguments = ["--log", options.log, "--keep-s", str(options.keep_s)]
        self.platform = Platform(self.directory / "data", arguments, binary=options.decalog)
        self.random = random.Random(options.seed)
        #: (version, from, until) in seconds since 1970: when it may have answered.
        self.in_force, self.live = [], None
        #: Moments at which the serving process was killed.
        self.kills = []
        self.counts, self.passed = {}, False
        #: (what, from, until): what was done when.
        self.done, self.action_since = [], None

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1
        self.done.append((what, self.action_since, time.time()))

    # ---- What is done ----------------------------------------------------------------------------------------------

    def start(self):
        self.platform.start()
        model = self.directory / "echo"
        for version in (1, 2, 3):
            files = {"model.py": MODEL.format(version=version),
                     "decalog.toml": f"[model]\ndeadline_ms = {DEADLINE_MS}\n[scale]\nmin = 1\nmax = 4\n"}
            self.platform.run("deploy", write_model(model, files))
        self.live = 3
        self.since = time.time()

    def release(self):
        """A release, or a rollback, to another version."""
        begin, before = time.time(), self.live
        # What a rollback goes back to depends on the history; the answer says it.
        back = self.random.random() < 0.25 and self.platform.run("rollback", "echo", "--json", ok=False)
        assert not back or back.code == 0 or "nothing was live" in back.err, back
        if back and back.code == 0:
            after = int(back.json()["version"].lstrip("v"))
        else:
            after = self.random.choice([version for version in (1, 2, 3) if version != before])
            self.platform.run("release", f"echo@v{after}")
        end = time.time()
        self.in_force.append((before, self.since, end))
        self.live, self.since = after, begin
        self.count("releases and rollbacks")

    def scale(self, up):
        """Another least number of replicas, by a deploy that changes nothing else."""
        files = {"model.py": MODEL.format(version=self.live),
                 "decalog.toml": f"[model]\ndeadline_ms = {DEADLINE_MS}\n[scale]\nmin = {3 if up else 1}\nmax = 4\nidle_s = 5\n"}
        self.platform.run("deploy", write_model(self.directory / "echo", files))
        self.count("scale-ups" if up else "scale-downs")

    def kill_worker(self):
        def killed():
            replicas = self.platform.run("show", "echo", "--json").json()["replicas"]
            ready = [replica["pid"] for replica in replicas if replica["state"] == "ready"]
            try:
                os.kill(self.random.choice(ready), signal.SIGKILL)
                return True
            except (IndexError, ProcessLookupError):
                return False

        wait_for(killed, "a replica to kill")
        self.count("worker kills")

    def upgrade(self):
        self.platform.takeover()
        self.count("platform upgrades")

    def kill_platform(self):
        self.kills.append(time.time())
        self.platform.kill()
        self.platform.arguments = [word for word in self.platform.arguments if word != "--takeover"]
        self.platform.start(same_address=True)
        self.kills[-1] = (self.kills[-1], time.time())
        self.count("kill -9 of up")

    # ---- The load --------------------------------------------------------------------------------------------------

    def open_loop(self, rate, output="-"):
        address = self.platform.url.removeprefix("http://")
        argv = [self.options.open_loop, address, "/v1/models/echo/predict", ROW, str(rate), str(output)]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def capacity(self):
        """Requests per second in closed loop: the median of three looks."""
        rates = []
        for _ in range(3):
            measuring = self.open_loop(0)
            time.sleep(self.options.measure_s)
            measuring.stdin.close()
            rates.append(float(measuring.stdout.read()))
            measuring.wait()
        return statistics.median(rates)

    def run(self):
        self.start()
        capacity = self.capacity()
        rate = SHARE * capacity
        rows = self.directory / "rows"
        load = self.open_loop(rate, rows)
        begin = time.time()
        actions = [action for action, times in self.plan() for _ in range(times)]
        self.random.shuffle(actions)
        for number, action in enumerate(actions):
            time.sleep(self.random.uniform(0, 2 * self.options.pause_s))
            self.action_since = time.time()
            action()
            if sys.stderr.isatty():
                print(f"\r{number + 1} of {len(actions)}  {self.counts}", end="", file=sys.stderr)
            elif number % 25 == 24:
                print(f"{time.time() - begin:.0f} s: {number + 1} of {len(actions)}  {self.counts}", file=sys.stderr, flush=True)
        # The last change is followed by load too.
        wait_for(lambda: time.time() > begin + self.options.seconds_min, "the end of the load", 3_600)
        load.stdin.close()
        load.wait(60)
        end = time.time()
        self.in_force.append((self.live, self.since, end + 60))
        self.platform.stop()
        return {"seed": self.options.seed, "capacity_per_s": round(capacity), "rate_per_s": round(rate), "seconds": round(end - begin), **self.counts, **self.judge(rows)}

    def plan(self):
        few = self.options
        return [
            (self.release, few.releases),
            (lambda: self.scale(True), few.scales),
            (lambda: self.scale(False), few.scales),
            (self.kill_worker, few.worker_kills),
            (self.upgrade, few.upgrades),
            (self.kill_platform, few.platform_kills),
        ]

    # ---- The verdict -----------------------------------------------------------------------------------------------

    def judge(self, rows):
        """Reads what the client saw."""
        raw = rows.read_bytes()
        whole = len(raw) // 24 * 24
        longs = array.array("Q")
        longs.frombytes(raw[:whole])
        intervals = {}
        for version, since, until in self.in_force:
            intervals.setdefault(version, []).append((since * 1e6, until * 1e6))
        failed, apart, misversioned, examples, latencies = 0, 0, 0, [], []
        for at in range(0, len(longs), 3):
            sent, received, packed = longs[at], longs[at + 1], longs[at + 2]
            status, version, failure = packed & 0xFFFF, packed >> 16 & 0xFFFF, packed >> 32 & 0xFFFF
            if failure or status != 200:
                if failure in (1, 2) and any(sent <= until * 1e6 and received >= since * 1e6 for since, until in self.kills):
                    apart += 1
                    continue
                failed += 1
                examples.append(self.describe(FAILURES.get(failure, f"status {status}"), sent, received))
                continue
            latencies.append(received - sent)
            if not any(since <= received and sent <= until for since, until in intervals.get(version, [])):
                misversioned += 1
                examples.append(self.describe(f"v{version}", sent, received))
        latencies.sort()
        quantile = lambda share: round(latencies[int(len(latencies) * share)] / 1_000, 2) if latencies else None
        return {"requests": whole // 24, "failed": failed, "misversioned": misversioned,
                "broken_by_kill_9_of_up": apart, "p50_ms": quantile(0.5), "p99_ms": quantile(0.99), "p999_ms": quantile(0.999),
                "examples": examples[:: max(len(examples) // 10, 1)]}

    def describe(self, what, sent, received):
        """A failure, and what was done about then."""
        about = [f"{name} {since:.3f}-{until:.3f}" for name, since, until in self.done if sent / 1e6 - 1 < until and since < received / 1e6 + 1]
        return f"{what}, sent {sent / 1e6:.3f}, ended {received / 1e6:.3f}; about then: {', '.join(about)}"


def options(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", default=os.environ.get("DECALOG"))
    parser.add_argument("--open-loop", default=str(EXAMPLES / "open_loop"))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", default="warn", help="of the platform")
    for name, long, short in [("releases", 200, 12), ("scales", 50, 3), ("worker-kills", 50, 4), ("upgrades", 20, 3),
                              ("platform-kills", 20, 2), ("seconds-min", 60, 20), ("measure-s", 5, 1), ("keep-s", 20, 10), ("pause-s", 1, 0)]:
        parser.add_argument(f"--{name}", type=float if name == "pause-s" else int, default=None, help=f"{long}, or {short} with --short")
        parser.set_defaults(**{f"{name.replace('-', '_')}_pair": (long, short)})
    chosen = parser.parse_args(argv)
    for name in [name for name in vars(chosen) if name.endswith("_pair")]:
        value = name.removesuffix("_pair")
        if getattr(chosen, value) is None:
            setattr(chosen, value, getattr(chosen, name)[chosen.short])
    return chosen


def main(argv=None):
    soak = Soak(options(argv))
    try:
        result = soak.run()
        print(json.dumps(result, indent=1))
        soak.passed = result["failed"] == result["misversioned"] == 0 and result["requests"] > 0
        return 0 if soak.passed else 1
    finally:
        if soak.platform.process and soak.platform.process.poll() is None:
            soak.platform.stop()
        if soak.passed:
            shutil.rmtree(soak.directory, ignore_errors=True)
        else:
            print(f"what it left: {soak.directory}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
