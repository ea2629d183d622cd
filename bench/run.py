#!/usr/bin/env python3
"""Decalog beside its alternatives: the same models, payloads, machine and run. Writes bench/results.json and bench/RESULTS.md.

    bench/run.py                      everything: about an hour and a half
    bench/run.py --quick              3 rounds of 2 s
    bench/run.py --servers decalog mosec-batch hyper --workloads echo --rounds 1 --output /tmp/bench
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import machine, measure, report, tools, workloads  # noqa: E402
from harness.paths import BENCH, CACHE, REPOSITORY  # noqa: E402
from harness.servers import SERVERS, Server, by_name  # noqa: E402
from harness.tools import say  # noqa: E402

FAILURES_MAX = 2
BUSY_MAX = 0.5


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="+", metavar="NAME", default=[server.name for server in SERVERS])
    parser.add_argument("--workloads", nargs="+", metavar="NAME", choices=workloads.WORKLOADS, default=workloads.WORKLOADS)
    parser.add_argument("--connections", nargs="+", type=int, metavar="N", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=float, help="of each load; default 5")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 2 s")
    parser.add_argument("--decalog", type=Path, help="the binary; default: where `cargo build --release` puts it")
    parser.add_argument("--output", type=Path, default=BENCH, help="directory for results.json and RESULTS.md; default bench/")
    parser.add_argument("--merge", action="store_true", help="keep what results.json holds of other servers and workloads")
    parser.add_argument("--prepare", action="store_true", help="install and build what is needed, measure nothing")
    parser.add_argument("--report", action="store_true", help="only write RESULTS.md again from results.json")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (3 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (2.0 if chosen.quick else 5.0)
    chosen.decalog = (chosen.decalog or default_decalog()).resolve()
    return chosen


def default_decalog() -> Path:
    """Where the release build is."""
    targets = [os.environ.get("CARGO_TARGET_DIR"), str(CACHE / "target"), str(REPOSITORY / "target")]
    candidates = [Path(target) / "release" / "decalog" for target in targets if target]
    return next((path for path in candidates if path.exists()), candidates[-1])


class Bench:
    """One run of the benchmark."""

    def __init__(self, chosen: argparse.Namespace):
        self.chosen = chosen
        self.servers = [by_name(name) for name in chosen.servers]
        self.broken: dict[tuple[str, str], int] = {}
        self.results: dict[str, Any] = {"runs": [], "start_up": [], "deploy_s": {}, "problems": []}

    def fail(self, server: Server, workload: str, reason: str, final: bool) -> None:
        """Notes that a server could not be measured; after the second time it is left alone."""
        say(f"  {server.name} {workload}: {reason}")
        known = [one for one in self.results["problems"] if (one["server"], one["workload"]) == (server.name, workload)]
        if not known:
            self.results["problems"].append({"server": server.name, "workload": workload, "reason": reason})
        self.broken[server.name, workload] = FAILURES_MAX if final else self.broken.get((server.name, workload), 0) + 1

    def prepare(self) -> None:
        """Installs, trains, deploys."""
        tools.oha()
        tools.forest()
        failed: dict[str, str] = {}
        for family in dict.fromkeys(server.family for server in self.servers):
            try:
                tools.server(family)
            except tools.Missing as missing:
                failed[family] = str(missing)
        for server in self.servers:
            for name in self.chosen.workloads:
                if server.family in failed:
                    self.fail(server, name, failed[server.family], final=True)
                elif name in server.without:
                    self.fail(server, name, server.note, final=True)
                elif server.family == "decalog" and not self.chosen.prepare:
                    self.deploy(server, name)

    def deploy(self, server: Server, name: str) -> None:
        """Puts one of Decalog's models live in a data directory of its own."""
        try:
            seconds = measure.deploy(server, workloads.load(name), self.chosen.decalog)
            self.results["deploy_s"][name] = round(seconds, 2)
            say(f"deployed {name} in {seconds:.1f} s")
        except (measure.Broken, OSError) as error:
            self.fail(server, name, str(error), final=True)

    def measure(self) -> None:
        """All rounds. Each server in turn has the machine for itself; the order rotates."""
        for index in range(self.chosen.rounds):
            for name in self.chosen.workloads:
                shift = (index + self.chosen.workloads.index(name)) % len(self.servers)
                for server in self.servers[shift:] + self.servers[:shift]:
                    if self.broken.get((server.name, name), 0) < FAILURES_MAX:
                        self.visit(server, name, index)
            self.start_up(index)

    def visit(self, server: Server, name: str, index: int) -> None:
        """One server, one workload, one round."""
        workload = workloads.load(name)
        try:
            found = measure.visit(server, workload, self.chosen.connections, self.chosen.seconds, self.chosen.decalog)
        except (measure.Broken, OSError) as error:
            self.fail(server, name, str(error), final=False)
            return
        self.results["runs"].append({"server": server.name, "workload": name, "round": index + 1, **found})
        loads = found["loads"].items()
        text = "   ".join(f"{count}: {one['requests_per_s']:,.0f}/s p50 {one['p50_ms']:.2f} p99 {one['p99_ms']:.2f}" for count, one in loads)
        errors = sum(one["errors"] for _, one in loads)
        say(
            f"round {index + 1}  {name:12} {server.name:15} {text}   {found['memory_mb']:.0f} MiB   "
            f"first answer {found['first_answer_s']:.2f} s{f'   {errors} ERRORS' if errors else ''}"
        )

    def start_up(self, index: int) -> None:
        """Decalog without a model."""
        server = next((server for server in self.servers if server.family == "decalog"), None)
        if server is None or self.broken.get(("decalog", "start-up"), 0) >= FAILURES_MAX:
            return
        nothing = workloads.Workload("start-up", [], [], "FP64", 0.0)
        try:
            found = measure.start_up(server, nothing, self.chosen.decalog)
        except (measure.Broken, OSError) as error:
            self.fail(server, "start-up", str(error), final=False)
            return
        self.results["start_up"].append({"round": index + 1, **found})
        say(f"round {index + 1}  up: ready after {found['new_s']:.3f} s, again {found['again_s']:.3f} s, {found['memory_mb']:.1f} MiB")

    def finish(self) -> None:
        """Writes both files."""
        chosen, path = self.chosen, self.chosen.output / "results.json"
        families = list(dict.fromkeys(server.family for server in self.servers))
        about = {
            "at": time.strftime("%Y-%m-%d %H:%M %Z"),
            "machine": machine.describe(),
            "versions": machine.versions(families, chosen.decalog),
            "settings": {"connections": chosen.connections, "rounds": chosen.rounds, "seconds": chosen.seconds, "busy_before": self.busy},
        }
        results = about | self.results
        if chosen.merge and path.exists():
            results = merged(json.loads(path.read_text()), results, chosen)
        results["targets"] = [target.as_json() for target in report.Results(results).targets()]
        chosen.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        write_report(chosen.output, results)

    def run(self) -> int:
        """All of it; the exit code says whether every server could be measured."""
        self.prepare()
        self.busy = machine.busy()
        if self.chosen.prepare:
            return 1 if self.results["problems"] else 0
        if self.busy > BUSY_MAX:
            say(f"warning: the machine is busy (load {self.busy:.1f}); the figures will be too low")
        try:
            self.measure()
        except KeyboardInterrupt:
            say("stopped; writing what was measured")
        self.finish()
        expected = {(server.name, name) for server in self.servers for name in server.without}
        return 1 if any((one["server"], one["workload"]) not in expected for one in self.results["problems"]) else 0


def merged(old: dict[str, Any], new: dict[str, Any], chosen: argparse.Namespace) -> dict[str, Any]:
    """The new figures in place of the old ones of the same servers and workloads; the others stay."""
    if old["machine"] != new["machine"]:
        sys.exit("results.json is of another machine: not merged")
    again = {(server, name) for server in chosen.servers for name in [*chosen.workloads, "start-up"]}
    for key in ("runs", "problems"):
        new[key] = [one for one in old[key] if (one["server"], one["workload"]) not in again] + new[key]
    new["start_up"] = new["start_up"] or old["start_up"]
    new["deploy_s"] = old["deploy_s"] | new["deploy_s"]
    new["versions"] = old["versions"] | new["versions"]
    connections = sorted(set(old["settings"]["connections"]) | set(chosen.connections))
    new["settings"] = new["settings"] | {"connections": connections}
    return new


def write_report(output: Path, results: dict[str, Any]) -> None:
    """RESULTS.md, and where it is."""
    path = output / "RESULTS.md"
    path.write_text(report.markdown(results))
    print(path)


def main() -> int:
    """The program."""
    chosen = arguments()
    if chosen.report:
        write_report(chosen.output, json.loads((chosen.output / "results.json").read_text()))
        return 0
    return Bench(chosen).run()


if __name__ == "__main__":
    sys.exit(main())
