#!/usr/bin/env python3
"""Chaos: faults at random, by seed, under load. Every request must be answered, from its own input and by a version that was in force;
an error is accepted only of a kind that the fault of that moment explains; no replica may end that was not ended here; and after each
fault everything is as before. Prints how long that took.

    tests/chaos.py --decalog target/release/decalog --seed 7 --faults 200
    tests/chaos.py --short          each fault once, as `make test` runs it
"""

import argparse
import http.client
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from conftest import Platform, wait_for, write_model

ECHO = "def predict(x: int) -> dict:\n    return {{'x': x, 'version': {version}}}\n"
STREAM = "from collections.abc import Iterator\n\ndef predict(x: int) -> Iterator[str]:\n    while True:\n        yield 'x' * 65536\n"
VERSIONS = (1, 2, 3)
MANIFEST = "[scale]\nmin = 2\nmax = 4\n[model]\ndeadline_ms = 20000\n"
#: Callers that ask one after the other, and the pause between two questions of one, in seconds.
CALLERS, PAUSE_S = 6, 0.01
#: Answers in a row, over all callers, after which a fault counts as recovered from.
RECOVERED_ANSWERS = 40
#: A request that ends so long after a fault may still have met it, in seconds.
AFTERMATH_S = 1.0
SMALL_DISK = "300m"
#: Of Debian's libfaketime.
FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


@dataclass
class Fault:
    """What is done, how it is undone, and which errors it explains."""

    name: str
    begin: callable
    end: callable = lambda: None
    #: Codes of errors, or `connection`, that requests may meet meanwhile.
    explains: frozenset = frozenset()
    #: How long it stays, in seconds.
    seconds: tuple = (0.5, 2.0)
    recoveries: list = field(default_factory=list)


@dataclass
class Answer:
    """One request, as its caller saw it."""

    sent: float
    ended: float
    x: int
    status: int
    version: str
    body: dict


class Callers:
    """Ask for as long as the block runs, each question with an input of its own."""

    def __init__(self, platform):
        self.platform, self.answers, self.stopping = platform, [], threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(CALLERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def ask(self, number):
        connection, count = None, 0
        while not self.stopping.is_set():
            count += 1
            x, sent = number * 10**9 + count, time.time()
            try:
                connection = connection or http.client.HTTPConnection(self.platform.url.removeprefix("http://"), timeout=30)
                connection.request("POST", "/v1/models/echo/predict", json.dumps({"x": x}))
                answer = connection.getresponse()
                status, version, body = answer.status, answer.headers.get("Decalog-Version"), json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection, status, version, body = None, 0, None, {"code": "connection", "error": repr(error)}
            if number % 2:
                # Every other caller connects anew each time.
                connection = connection and connection.close()
            self.answers.append(Answer(sent, time.time(), x, status, version, body))
            time.sleep(PAUSE_S)

    def recovered(self):
        """Whether the last answers were all good."""
        last = self.answers[-RECOVERED_ANSWERS:]
        return len(last) == RECOVERED_ANSWERS and all(answer.status == 200 for answer in last)


class Chaos:
    """One platform, its callers, and what is done to them."""

    def __init__(self, options):
        self.options, self.random = options, random.Random(options.seed)
        self.directory = Path(tempfile.mkdtemp(prefix="decalog-chaos-"))
        self.disk = self.directory / "disk"
        self.disk.mkdir()
        self.is_mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(self.disk)], check=False).returncode == 0
        self.clock = self.directory / "clock"
        self.clock.write_text("+0")
        prefix = [] if FAKETIME is None else [
            "env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={self.clock}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        self.platform = Platform(self.disk / "data", ["--log", options.log, "--keep-s", "5"], binary=options.decalog, prefix=prefix)
        self.live, self.since, self.in_force = None, None, []
        #: Replicas that were ended here, and what was done when: (name, begin, end, what it explains).
        self.killed, self.done = set(), []
        self.readers, self.state = [], {}

    # ---- Faults ----------------------------------------------------------------------------------------------------

    def faults(self):
        """All that this machine allows."""
        found = [
            Fault("worker killed", self.kill_worker, seconds=(0, 0.2)),
            Fault("worker stopped and continued", lambda: self.stop(self.replica()["pid"]), self.go_on),
            Fault("supervisor stopped and continued", lambda: self.stop(self.supervisor()), self.go_on),
            Fault("slow readers of a stream", self.read_slowly, self.hang_up),
            Fault("out of descriptors", self.take_descriptors, self.give_descriptors, frozenset({"connection", "overloaded", "no_capacity", "too_many_connections"}),
                  seconds=(1, 4)),
            Fault("store gone", lambda: self.blobs().rename(self.away()), lambda: self.away().rename(self.blobs())),
            Fault("trees damaged, then another version released", self.damage_trees, self.release, seconds=(0, 0.2)),
        ]
        if self.is_mounted:
            found.append(Fault("disk full", self.fill_disk, lambda: (self.disk / "ballast").unlink()))
        if FAKETIME is not None:
            found.append(Fault("clock jumps", self.jump, lambda: self.clock.write_text("+0")))
        wanted = self.options.only
        return [fault for fault in found if not wanted or any(word in fault.name for word in wanted.split(","))]

    def replicas(self):
        replicas = self.platform.run("show", "echo", "--json").json()["replicas"]
        return [replica for replica in replicas if replica["state"] == "ready" and replica["version"] == f"v{self.live}"]

    def replica(self):
        return self.random.choice(wait_for(self.replicas, "a replica that is ready", 60))

    def kill_worker(self):
        replica = self.replica()
        self.killed.add(replica["replica"])
        os.kill(replica["pid"], signal.SIGKILL)

    def supervisor(self):
        """The parent of all workers."""
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"supervise" in words and str(self.platform.data).encode() in words:
                return int(entry)
        raise AssertionError("there is no supervisor")

    def stop(self, pid):
        self.state["stopped"] = pid
        os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.state.pop("stopped"), signal.SIGCONT)

    def read_slowly(self):
        host, port = self.platform.url.removeprefix("http://").split(":")
        body = b'{"x": 1}'
        head = f"POST /v1/models/ticks/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(20):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((host, int(port)))
            reader.sendall(head + body)
            self.readers.append(reader)

    def hang_up(self):
        while self.readers:
            self.readers.pop().close()

    def take_descriptors(self):
        pid = self.platform.process.pid
        self.state["limit"] = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, self.state["limit"][1]))
        host, port = self.platform.url.removeprefix("http://").split(":")
        self.readers = [socket.create_connection((host, int(port))) for _ in range(20)]

    def give_descriptors(self):
        resource.prlimit(self.platform.process.pid, resource.RLIMIT_NOFILE, self.state.pop("limit"))
        self.hang_up()

    def blobs(self):
        return self.platform.data / "artifacts" / "blobs"

    def away(self):
        return self.platform.data / "artifacts" / "blobs.away"

    def damage_trees(self):
        for model in self.platform.data.glob("trees/*/model.py"):
            if "version" in model.read_text():
                model.chmod(0o644)
                model.parent.chmod(0o755)
                # A file of its own: blobs that share their bytes with trees are another matter.
                text = model.read_text()
                model.unlink()
                model.write_text(text.replace("'version'", "'damaged'"))
        self.kill_worker()

    def fill_disk(self):
        with open(self.disk / "ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 65536)
            except OSError:
                pass

    def jump(self):
        self.clock.write_text(self.random.choice(["+3d", "-3d", "+1h", "-1h"]))

    # ---- The run ---------------------------------------------------------------------------------------------------

    def start(self):
        self.platform.start()
        for version in VERSIONS:
            self.platform.run("deploy", write_model(self.directory / "echo", {"model.py": ECHO.format(version=version), "decalog.toml": MANIFEST}))
        self.platform.run("deploy", write_model(self.directory / "ticks", {"model.py": STREAM}))
        self.live, self.since = VERSIONS[-1], time.time()

    def release(self):
        """Another version, between two faults."""
        before, begin = self.live, time.time()
        after = self.random.choice([version for version in VERSIONS if version != before])
        self.platform.run("release", f"echo@v{after}")
        self.in_force.append((f"v{before}", self.since, time.time()))
        self.live, self.since = after, begin

    def suffer(self, fault, callers):
        begin = time.time()
        fault.begin()
        try:
            time.sleep(self.random.uniform(*fault.seconds))
        finally:
            fault.end()
        undone, seen = time.time(), len(callers.answers)
        wait_for(lambda: len(callers.answers) >= seen + RECOVERED_ANSWERS and callers.recovered(), f"recovery from: {fault.name}", 90)
        last = max((answer.ended for answer in callers.answers[seen:] if answer.status != 200), default=undone)
        wait_for(lambda: len(self.replicas()) >= 2, f"two replicas after: {fault.name}", 90)
        fault.recoveries.append((max(0, last - undone), time.time() - undone))
        self.done.append((fault.name, begin, time.time(), fault.explains))

    def run(self):
        self.start()
        faults = self.faults()
        with Callers(self.platform) as callers:
            wait_for(callers.recovered, "load", 60)
            order = self.random.sample(faults, len(faults))
            order += [self.random.choice(faults) for _ in range(self.options.faults - len(order))]
            for fault in order:
                print(f"{time.strftime('%H:%M:%S')} {fault.name}", file=sys.stderr, flush=True)
                self.suffer(fault, callers)
                if self.random.random() < 0.3:
                    self.release()
        self.in_force.append((f"v{self.live}", self.since, time.time()))
        self.platform.run("ledger", "verify")
        return self.judge(callers.answers, faults)

    # ---- The verdict -----------------------------------------------------------------------------------------------

    def judge(self, answers, faults):
        wrong = {"foreign": [], "not in force": [], "not explained": [], "replicas": []}
        errors = {}
        for answer in answers:
            if answer.status == 200:
                if (answer.body.get("x"), f"v{answer.body.get('version')}") != (answer.x, answer.version):
                    wrong["foreign"].append(str(answer))
                if not any(version == answer.version and since <= answer.ended and answer.sent <= until for version, since, until in self.in_force):
                    wrong["not in force"].append(str(answer))
                continue
            code = answer.body.get("code")
            errors[code] = errors.get(code, 0) + 1
            if not any(code in explains and answer.sent <= end + AFTERMATH_S and begin <= answer.ended for _, begin, end, explains in self.done):
                about = [name for name, begin, end, _ in self.done if begin <= answer.ended and answer.sent <= end + AFTERMATH_S]
                wrong["not explained"].append(f"{answer} during {about}")
        for event in self.platform.run("events", "--kind", "replica_failed", "--json").json()["events"]:
            if event["body"]["replica"] not in self.killed:
                wrong["replicas"].append(f"{event['body']['replica']} of {event['subject']} ended: {event['body']['reason']}")
        table = {fault.name: self.figures(fault.recoveries) for fault in faults if fault.recoveries}
        return {"seed": self.options.seed, "requests": len(answers), "errors": errors, "faults": table,
                **{name: found[:10] for name, found in wrong.items()}, "ok": not any(wrong.values())}

    @staticmethod
    def figures(recoveries):
        """How long after a fault requests still failed, and until all replicas were there again, in seconds."""
        errors, whole = zip(*recoveries)
        return {"times": len(recoveries), "errors_s_max": round(max(errors), 2), "whole_s": round(statistics.median(whole), 2), "whole_s_max": round(max(whole), 2)}

    def close(self, keep):
        self.hang_up()
        if self.platform.process and self.platform.process.poll() is None:
            self.platform.stop()
        if keep:
            print(f"what it left: {self.directory}", file=sys.stderr)
            return
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def options(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", default=os.environ.get("DECALOG"))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=None, help="how many; 100, or each once with --short")
    parser.add_argument("--only", default="", help="faults whose name contains one of these words, with commas between them")
    parser.add_argument("--log", default="warn", help="of the platform")
    chosen = parser.parse_args(argv)
    chosen.faults = chosen.faults or (0 if chosen.short else 100)
    return chosen


def main(argv=None):
    chaos, passed = Chaos(options(argv)), False
    try:
        result = chaos.run()
        passed = result["ok"]
        print(json.dumps(result, indent=1, ensure_ascii=False))
        return 0 if passed else 1
    finally:
        chaos.close(keep=not passed)


if __name__ == "__main__":
    sys.exit(main())
