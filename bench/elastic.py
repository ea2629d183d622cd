#!/usr/bin/env python3
"""From zero and back, in figures: how long a request waits for a model at zero by what is kept of it, beside the start of other
servers; what each further replica of a large model costs in memory, and what a thousand registered models cost those that are used.
Writes bench/elastic.json and bench/ELASTIC.md.

    bench/elastic.py                                    everything: about an hour
    bench/elastic.py --only cold servers memory many    parts of it
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import load, machine, measure, tools, workloads  # noqa: E402
from harness.load import Request  # noqa: E402
from harness.paths import BENCH, RUN, WORK  # noqa: E402
from harness.processes import Running, family, free_port, memory_mb  # noqa: E402
from harness.servers import SERVERS, Server  # noqa: E402
from run import default_decalog  # noqa: E402

ROWS = {"forest": {"x": [0.5] * 30}, "forest-onnx": {"x": [0.5] * 30}, "torch": {"x": [0.5] * 30}, "weights": {"row": 7}, "echo": {"x": [1.0, 2.0, 3.0, 4.0]}}
#: What is kept of a model at zero, the warmest first.
PARKS = ["spare", "parent", "zygote", "nothing"]
PARTS = ["cold", "servers", "memory", "many"]
IDLE_S = 1
#: Longer than it takes `up` to look at what it keeps.
SETTLE_S = 4.0
WAIT_S_MAX = 120.0
DEPLOYS_AT_ONCE = 4
FAILURES = (measure.Broken, tools.Missing, OSError, subprocess.SubprocessError)


class Up:
    """One `decalog up` on a data directory of its own."""

    def __init__(self, decalog: Path, name: str, *options: str, keep: bool = False):
        self.decalog, self.directory, self.port = decalog, RUN / "elastic" / name, free_port()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.data = self.directory / "data"
        argv = [str(decalog), "up", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *options]
        self.running = Running(argv, dict(os.environ), self.directory, self.directory / "up.log", str(self.data))
        self.ready_s = measure.wait_for(self.running, "readiness", lambda: measure.ready(self.port))

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: Any) -> None:
        self.running.stop()

    def verb(self, *words: str) -> str:
        """What a verb prints."""
        argv = [str(self.decalog), *words, "--url", f"http://127.0.0.1:{self.port}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise measure.Broken(f"{' '.join(words)}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def deploy(self, directory: Path, manifest: str, name: str) -> None:
        """With this manifest."""
        (directory / "decalog.toml").write_text(manifest)
        self.verb("deploy", str(directory), "--name", name)

    def show(self, model: str) -> dict[str, Any]:
        """The model as it is."""
        return json.loads(self.verb("show", model, "--json"))

    def ask(self, model: str) -> float:
        """One request; its milliseconds."""
        body = json.dumps(ROWS[model.split("_")[0]]).encode()
        began = time.perf_counter()
        status, content = measure.ask(self.port, "POST", f"/v1/models/{model}/predict", body)
        if status != 200:
            raise measure.Broken(f"{model}: status {status}: {content[:300]!r}")
        return (time.perf_counter() - began) * 1_000

    def until(self, what: str, condition: Any) -> Any:
        """Waits for something."""
        end = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        raise measure.Broken(f"no {what} within {WAIT_S_MAX:g} s")


def quantile(values: list[float], share: float) -> float:
    """Of a few values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def cold(decalog: Path, model: str, park: str, times: int) -> dict[str, Any]:
    """The first request to a model at zero, as often as asked; the level and reason as `show` gives them."""
    directory = tools.model_directory(model)
    with Up(decalog, f"cold-{model}-{park}", "--park", park) as up:
        up.deploy(directory, f"[scale]\nidle_s = {IDLE_S}\n[resources]\nthreads = 1\n", model)
        waits, levels, reasons = [], [], []
        for _ in range(times):
            up.until("zero", lambda: not up.show(model)["replicas"])
            # What is kept settles in the background: what is not to be kept goes, and a zygote is made.
            time.sleep(SETTLE_S)
            waits.append(up.ask(model))
            replica = up.until("replica", lambda: up.show(model)["replicas"])[0]
            levels.append(replica["temperature"])
            reasons.append(replica.get("colder_because"))
        return {"model": model, "park": park, "times": times, "p50_ms": median(waits), "p99_ms": quantile(waits, 0.99),
                "first_ms": waits[0], "levels": sorted(set(levels)), "reasons": sorted({reason for reason in reasons if reason})}


def attempted(what: str, measured: Callable[[], dict[str, Any]], problems: list[str]) -> list[dict[str, Any]]:
    """What was measured, if it could be; else it is a problem, and the others go on."""
    try:
        found = measured()
    except FAILURES as error:
        problems.append(f"{what}: {error}")
        tools.say(problems[-1])
        return []
    tools.say(f"{what}: {found}")
    return [found]


def starts(decalog: Path, times: int, problems: list[str]) -> list[dict[str, Any]]:
    """Of each server, for each forest. Batching makes no difference to a start."""
    compared = [server for server in SERVERS if server.family != "hyper" and not server.name.endswith("-batch")]
    pairs = [(model, server) for model in ("forest", "forest-onnx") for server in compared]
    return [one for model, server in pairs for one in attempted(f"{model}, {server.name}", partial(started, server, model, decalog, times), problems)]


def started(server: Server, model: str, decalog: Path, times: int) -> dict[str, Any]:
    """From the start of a server's process to its first right answer: of Decalog too, with the model deployed and nothing kept."""
    workload = workloads.load(model)
    tools.server(server.family)
    if server.family == "decalog":
        measure.deploy(server, workload, decalog)
    waits = [start(server, workload, decalog) for _ in range(times)]
    return {"model": model, "server": server.name, "times": times, "p50_ms": median(waits), "worst_ms": max(waits)}


def start(server: Server, workload: workloads.Workload, decalog: Path) -> float:
    """Milliseconds to the first right answer."""
    port = free_port()
    running = measure.start(server, workload, port, decalog)
    try:
        return measure.wait_for(running, "right answer", lambda: measure.ask_and_check(server, workload, port)) * 1_000
    finally:
        measure.stop(server, port, running)


def colds(decalog: Path, models: list[str], parks: list[str], times: int, problems: list[str]) -> list[dict[str, Any]]:
    """Each model with each that may be kept of it."""
    pairs = [(model, park) for model in models for park in parks]
    return [one for model, park in pairs for one in attempted(f"{model}, {park}", partial(cold, decalog, model, park, times), problems)]


def memory(decalog: Path) -> list[dict[str, Any]]:
    """The summed PSS of all workers of a 500 MB model with 1, 2, 3 and 4 replicas, parent included, after 1,000 predictions each."""
    directory, found = tools.model_directory("weights"), []
    with Up(decalog, "memory") as up:
        for count in (1, 2, 3, 4):
            up.deploy(directory, f"[scale]\nmin = {count}\nmax = {count}\n[batch]\nrows_max = 1\n", "weights")
            view = up.until(f"{count} replicas", lambda: (v := up.show("weights")) and len([r for r in v["replicas"] if r["state"] == "ready"]) == count and v)
            request = Request("/v1/models/weights/predict", write("weights"), {"Content-Type": "application/json"})
            asked = 0
            while asked < 1_000 * count:
                asked += load.run(request, up.port, 4 * count, 2.0).requests
            # All of them: what a parent has forked ahead is in no list, and shares its pages too.
            total = memory_mb(family_workers(up))
            found.append({"replicas": count, "pss_mb": total, "predictions": asked, "levels": sorted({r["temperature"] for r in view["replicas"]})})
        return found


def write(model: str) -> Path:
    """The body of a request as a file."""
    path = WORK / f"elastic-{model}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ROWS[model]))
    return path


def cpu_us(pid: int) -> dict[str, float]:
    """Processor time of a process so far, in microseconds, by the names of its threads."""
    found: dict[str, float] = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        name, _, fields = (thread / "stat").read_text().partition("(")[2].rpartition(")")
        ticks = sum(map(int, fields.split()[11:13]))
        found[name] = found.get(name, 0.0) + ticks / os.sysconf("SC_CLK_TCK") * 1e6
    return found


def many(decalog: Path, registered: int, used: int, rounds: int, seconds: float) -> dict[str, Any]:
    """The gateway's processor time for a request with one registered model, and with many of which some are used; and how long `up` takes
    with many."""
    found: dict[str, Any] = {"registered": registered, "used": used}
    echo = tools.model_directory("echo")
    manifest = f"[scale]\nidle_s = {IDLE_S}\n"
    with Up(decalog, "many", "--park", "nothing", "--keep-s", "0") as up:
        began = time.monotonic()
        (echo / "decalog.toml").write_text(manifest)
        with ThreadPoolExecutor(DEPLOYS_AT_ONCE) as pool:
            deploys = [pool.submit(up.verb, "deploy", str(echo), "--name", f"echo_{number}") for number in range(registered)]
            for number, deployed in enumerate(deploys):
                deployed.result()
                if number % 100 == 99:
                    tools.say(f"  {number + 1} models after {time.monotonic() - began:.0f} s")
        found["deploys_s"] = time.monotonic() - began
        up.until("zero", lambda: not family_workers(up))
    return found | costs(decalog, used, rounds, seconds)


def costs(decalog: Path, used: int, rounds: int, seconds: float) -> dict[str, Any]:
    """What `many` finds once its models are deployed."""
    found: dict[str, Any] = {}
    echo = tools.model_directory("echo")
    with Up(decalog, "one") as up:
        up.deploy(echo, "", "echo_0")
    ready: list[float] = []
    taken: dict[str, list[tuple[float, float]]] = {"one": [], "many": []}
    for _ in range(rounds):
        for name, models in (("one", 1), ("many", used)):
            with Up(decalog, name, keep=True) as up:
                if name == "many":
                    ready.append(up.ready_s)
                [up.ask(f"echo_{number}") for number in range(models)]
                before, asked = cpu_us(up.running.process.pid), 0
                # As many loads, each on new connections, of one model as of many.
                for number in range(used):
                    request = Request(f"/v1/models/echo_{number % models}/predict", write("echo"), {"Content-Type": "application/json"})
                    asked += load.run(request, up.port, 16, seconds / used).requests
                after = cpu_us(up.running.process.pid)
                taken[name].append(((after["gateway"] - before["gateway"]) / asked, (sum(after.values()) - sum(before.values())) / asked))
    for name, pairs in taken.items():
        found |= {f"{name}_us": median(gateway for gateway, _ in pairs), f"{name}_whole_us": median(whole for _, whole in pairs)}
    return found | {"ready_s": median(ready), "rounds": rounds}


def family_workers(up: Up) -> set[int]:
    """Worker processes; one that ends meanwhile is none."""
    return {pid for pid in family(up.running.process.pid, str(up.data)) if b"worker" in command_line(pid)}


def command_line(pid: int) -> bytes:
    """Of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def row(cells: list[Any]) -> str:
    """Of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def markdown(found: dict[str, Any]) -> str:
    """The page."""
    about = found["machine"]
    lines = ["# From zero and back", "", "Written by `bench/elastic.py`; do not edit.", "",
             f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GiB, {about['system']}, Linux {about['kernel']}. {found['at']}.", ""]
    if "cold" in found:
        lines += ["## The first request to a model at zero", "",
                  "From sending it to its answer, on a new connection, by what is kept of the model (`--park`). *level*: how the replica was started, as `decalog show` tells.", "",
                  row(["model", "kept", "times", "p50 ms", "p99 ms", "level", "why not warmer"]), row(["---", "---"] + ["---:"] * 3 + ["---", "---"])]
        for one in found["cold"]:
            lines.append(row([one["model"], one["park"], one["times"], f"{one['p50_ms']:.1f}", f"{one['p99_ms']:.1f}", ", ".join(one["levels"]), "; ".join(one["reasons"]) or "–"]))
        lines.append("")
    if "servers" in found:
        lines += ["## Beside the start of other servers", "",
                  "From the start of the server's process to its first right answer, in the same run. Packages are installed, and in Decalog, whose whole platform starts here, the model is deployed before.", "",
                  row(["model", "server", "times", "p50 ms", "worst ms"]), row(["---", "---"] + ["---:"] * 3)]
        lines += [row([one["model"], one["server"], one["times"], f"{one['p50_ms']:.0f}", f"{one['worst_ms']:.0f}"]) for one in found["servers"]] + [""]
    if "memory" in found:
        base = found["memory"][0]["pss_mb"]
        lines += ["## Replicas of a 500 MB model", "", "Summed proportional set size of all its processes, the parent included, after 1,000 predictions for each replica.", "",
                  row(["replicas", "PSS MiB", "of one replica's", "level"]), row(["---:"] * 3 + ["---"])]
        lines += [row([one["replicas"], f"{one['pss_mb']:.0f}", f"{one['pss_mb'] / base:.2f}", ", ".join(one["levels"])]) for one in found["memory"]] + [""]
    if "many" in found:
        one = found["many"]
        lines += ["## Many models", "",
                  f"`decalog up` with {one['registered']:,} registered models is ready after {one['ready_s']:.2f} s. A request costs the gateway {one['one_us']:.1f} µs of "
                  f"processor time with one model, and {one['many_us']:.1f} µs with {one['registered']:,} of which {one['used']} are used: {one['many_us'] / one['one_us']:.2f} times as much "
                  f"(medians of {one['rounds']}). With the control plane, in the same process, it is {one['one_whole_us']:.1f} µs and {one['many_whole_us']:.1f} µs. "
                  f"All deploys, {DEPLOYS_AT_ONCE} at a time, took {one['deploys_s']:.0f} s.", ""]
    if found["problems"]:
        lines += ["## What could not be measured", ""] + [f"- {text}" for text in found["problems"]] + [""]
    return "\n".join(lines)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", default=["forest", "forest-onnx", "torch"])
    parser.add_argument("--parks", nargs="+", choices=PARKS, default=PARKS)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--starts", type=int, default=5, help="of each other server")
    parser.add_argument("--registered", type=int, default=1_000)
    parser.add_argument("--used", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--decalog", type=Path, default=default_decalog())
    parser.add_argument("--output", type=Path, default=BENCH)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    tools.oha()
    tools.forest()
    path = chosen.output / "elastic.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found |= {"at": time.strftime("%Y-%m-%d %H:%M %Z"), "machine": machine.describe(), "problems": []}
    parts = {
        "cold": lambda: colds(chosen.decalog, chosen.models, chosen.parks, chosen.times, found["problems"]),
        "servers": lambda: starts(chosen.decalog, chosen.starts, found["problems"]),
        "memory": lambda: memory(chosen.decalog),
        "many": lambda: many(chosen.decalog, chosen.registered, chosen.used, chosen.rounds, chosen.seconds),
    }
    for part in chosen.only:
        try:
            found[part] = parts[part]()
            tools.say(f"{part} is done")
        except FAILURES as error:
            found["problems"].append(f"{part}: {error}")
            tools.say(f"{part}: {error}")
        # After each part, so that an interruption costs only what follows.
        path.write_text(json.dumps(found, indent=1) + "\n")
        (chosen.output / "ELASTIC.md").write_text(markdown(found))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
