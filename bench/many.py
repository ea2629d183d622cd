#!/usr/bin/env python3
"""What age and number cost: a ledger of many models with many versions and a year of events, made by `crates/ledger/examples/history.rs` out of the
events of one real deployment. Prints a table for docs/evidence/performance.md, beside the limits that must hold.

    bench/many.py                                       ten thousand models, a few minutes
    bench/many.py --models 1000 --in-use 20             less
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from elastic import Up  # noqa: E402
from harness import machine, measure  # noqa: E402
from harness.paths import RUN  # noqa: E402
from run import default_decalog  # noqa: E402

NAME = "age"
ECHO = "def predict(x: int) -> int:\n    return x\n"
IDLE = "[scale]\nidle_s = 1\n"
ASKED = 2_000
EVENTS = 100
IDLE_S = 20.0
ROW = b'{"x": 1}'


def options() -> argparse.Namespace:
    """As said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", type=Path, default=None, help="the binary [default: target/release/decalog]")
    parser.add_argument("--history", type=Path, default=None, help="the example `history` [default: beside the binary]")
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--versions", type=int, default=10)
    parser.add_argument("--in-use", type=int, default=200)
    parser.add_argument("--changes", type=int, default=200_000, help="changed numbers of replicas within the year")
    return parser.parse_args()


def pid_of(up: Up) -> int:
    """Of `decalog up` itself, without its workers."""
    return up.running.process.pid


def cpu_s(pid: int) -> float:
    """Processor time of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of one process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1_024


def timed(up: Up, times: int, method: str, path: str, body: Any, expected: set[int]) -> tuple[float, float]:
    """Median time of a request over one connection, and the processor time of `up` for each, both in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=60)
    waits = []
    before = cpu_s(pid_of(up))
    for number in range(times):
        began = time.perf_counter()
        connection.request(method, path, body(number))
        response = connection.getresponse()
        content = response.read()
        waits.append((time.perf_counter() - began) * 1_000)
        if response.status not in expected:
            raise measure.Broken(f"{method} {path}: {response.status} {content[:300]!r}")
    connection.close()
    return median(waits), (cpu_s(pid_of(up)) - before) * 1_000 / times


def fsync_ms(directory: Path) -> float:
    """What this disk takes to keep a page."""
    waits = []
    with open(directory / "fsync", "wb", buffering=0) as file:
        for _ in range(EVENTS):
            began = time.perf_counter()
            file.write(b"x" * 4_096)
            os.fsync(file.fileno())
            waits.append((time.perf_counter() - began) * 1_000)
    return median(waits)


def figures(up: Up, model: str) -> dict[str, float]:
    """What can be asked of a platform however many models it has."""
    up.ask_row(model)
    found: dict[str, float] = {}
    timed(up, ASKED, "POST", f"/v1/models/{model}/predict", lambda _: ROW, {200})
    found["request_ms"], found["request_cpu_ms"] = timed(up, ASKED, "POST", f"/v1/models/{model}/predict", lambda _: ROW, {200})
    found["unknown_ms"], found["unknown_cpu_ms"] = timed(up, EVENTS, "POST", f"/v1/models/{model}x/predict", lambda _: ROW, {404})
    variable = "/v1/projects/default/environments/elsewhere/variables/A"
    body = lambda number: json.dumps({"value": str(number), "model": model})  # noqa: E731
    found["event_ms"], found["event_cpu_ms"] = timed(up, EVENTS, "PUT", variable, body, {200, 201, 204})
    began = time.perf_counter()
    found["metrics_kb"] = len(measure.ask(up.port, "GET", "/metrics")[1]) / 1_024
    found["metrics_ms"] = (time.perf_counter() - began) * 1_000
    return found


class Aged(Up):
    """One with `x` as its only column."""

    def ask_row(self, model: str) -> None:
        """One request."""
        status, content = measure.ask(self.port, "POST", f"/v1/models/{model}/predict", ROW)
        if status != 200:
            raise measure.Broken(f"{model}: status {status}: {content[:300]!r}")


def idle_share(up: Up) -> float:
    """The part of a core that `up` takes while nobody asks."""
    before, began = cpu_s(pid_of(up)), time.monotonic()
    time.sleep(IDLE_S)
    return (cpu_s(pid_of(up)) - before) / (time.monotonic() - began)


def template(decalog: Path) -> dict[str, float]:
    """Deploys the one model, lets it go to zero, and takes the figures of a platform without age."""
    with Aged(decalog, NAME, "--park", "nothing", "--keep-s", "0") as up:
        directory = up.directory / "echo"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.py").write_text(ECHO)
        up.deploy(directory, IDLE, "first")
        up.until("zero", lambda: not up.show("first")["replicas"])
        (up.directory / "events.json").write_text(up.verb("events", "first", "--json"))
        return figures(up, "first")


def aged(decalog: Path, in_use: int) -> dict[str, float]:
    """The figures with all of it."""
    found: dict[str, float] = {}
    with Aged(decalog, NAME, "--park", "nothing", "--keep-s", "0", keep=True) as up:
        found["first_ready_s"] = up.ready_s
        # The snapshot is written beside what serves.
        up.until("snapshot", lambda: rest(up))
    with Aged(decalog, NAME, "--park", "nothing", "--keep-s", "0", keep=True) as up:
        found["ready_s"] = up.ready_s
        found["rss_start_mb"] = rss_mb(pid_of(up))
        found["idle_share"] = idle_share(up)
        for number in range(in_use):
            up.ask_row(f"m{number:05}")
        found |= figures(up, "m00000")
        found["rss_mb"] = rss_mb(pid_of(up))
    return found


def rest(up: Up) -> bool:
    """Whether `up` has nothing more to do than to look."""
    before = cpu_s(pid_of(up))
    time.sleep(2)
    return cpu_s(pid_of(up)) - before < 0.5


def table(one: dict[str, float], many: dict[str, float], asked: argparse.Namespace, made: dict[str, Any], fsync: float) -> str:
    """As it stands in docs/evidence/performance.md."""
    rows = [
        ("ready after a start", "", f"{many['ready_s']:.2f} s", "< 2 s"),
        ("ready after the first start, which reads the whole history", "", f"{many['first_ready_s']:.1f} s", ""),
        ("an event, the disk's part included", f"{one['event_ms']:.2f} ms", f"{many['event_ms']:.2f} ms", f"< 1 ms + {fsync:.2f} ms for the disk"),
        ("processor time of an event", f"{one['event_cpu_ms']:.2f} ms", f"{many['event_cpu_ms']:.2f} ms", ""),
        ("idle, of one core", "", f"{many['idle_share'] * 100:.1f}%", "< 3%"),
        ("a request, median at one connection", f"{one['request_ms']:.3f} ms", f"{many['request_ms']:.3f} ms", "within 5%"),
        ("processor time of a request", f"{one['request_cpu_ms']:.3f} ms", f"{many['request_cpu_ms']:.3f} ms", "within 5%"),
        ("a name that does not exist", f"{one['unknown_ms']:.2f} ms", f"{many['unknown_ms']:.2f} ms", ""),
        ("`/metrics`", f"{one['metrics_kb']:.0f} KiB", f"{many['metrics_kb']:.0f} KiB in {many['metrics_ms']:.0f} ms", "< 16 MiB"),
        ("resident memory of `up`", "", f"{many['rss_start_mb']:.0f} MiB, {many['rss_mb']:.0f} with {asked.in_use} in use", "< 600 MiB"),
    ]
    head = f"| | one model | {asked.models:,} models × {asked.versions} versions, {made['entries']:,} entries | limit |\n| --- | --- | --- | --- |\n"
    return head + "".join(f"| {what} | {alone} | {all_} | {limit} |\n" for what, alone, all_, limit in rows)


def main() -> None:
    """All of it."""
    asked = options()
    decalog = asked.decalog or default_decalog()
    history = asked.history or decalog.parent / "examples" / "history"
    one = template(decalog)
    place = RUN / "elastic" / NAME
    began = time.monotonic()
    numbers = [str(number) for number in (asked.models, asked.versions, asked.in_use, asked.changes)]
    with open(place / "events.json") as events:
        done = subprocess.run([history, place / "data/ledger.sqlite", *numbers], stdin=events, capture_output=True, text=True)
    if done.returncode != 0:
        raise measure.Broken(done.stderr)
    made = json.loads(done.stdout)
    print(f"{made['entries']:,} entries in {time.monotonic() - began:.0f} s", file=sys.stderr)
    fsync = fsync_ms(place)
    many = aged(decalog, asked.in_use)
    print(json.dumps({"one": one, "many": many, "machine": machine.describe(), "busy": machine.busy()}), file=sys.stderr)
    print(table(one, many, asked, made, fsync))


if __name__ == "__main__":
    main()
