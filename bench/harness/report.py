"""The tables: bench/RESULTS.md from what bench/results.json holds, computed and never typed."""

from statistics import median
from typing import Any

from . import targets
from .servers import SERVERS
from .workloads import WORKLOADS

TITLES = {
    "echo": "Python echo of 4 floats, JSON",
    "forest": "scikit-learn forest of 100 trees, one row, JSON",
    "forest-onnx": "the same forest in ONNX, JSON",
    "tensor": "150,000 float32 (600 KB) in binary, answered by 4 floats",
}


class Results:
    """Medians over the rounds of what was measured."""

    def __init__(self, results: dict[str, Any]):
        self.results = results
        self.runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for run in results["runs"]:
            self.runs.setdefault((run["server"], run["workload"]), []).append(run)

    def load(self, server: str, workload: str, connections: int, key: str) -> float | None:
        """Of one figure under load."""
        values = [run["loads"][str(connections)][key] for run in self.runs.get((server, workload), []) if str(connections) in run["loads"]]
        return median(values) if values else None

    def visit(self, server: str, workload: str, key: str) -> float | None:
        """Of one figure of the whole visit."""
        values = [run[key] for run in self.runs.get((server, workload), [])]
        return median(values) if values else None

    def errors(self, server: str, workload: str) -> int:
        """In all rounds together."""
        return sum(load["errors"] for run in self.runs.get((server, workload), []) for load in run["loads"].values())

    def open_loop(self) -> list[dict[str, float]]:
        """Decalog's echo at half of its maximum."""
        return [run["open_loop"] for run in self.runs.get(("decalog", "echo"), []) if "open_loop" in run]

    def targets(self) -> list[targets.Target]:
        """What was to be reached."""
        others = [server for server in SERVERS if server.family not in ("decalog", "hyper")]
        return targets.all_targets(self.load, self.visit, others, self.results["start_up"], self.open_loop())


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separated; a dash for what was not measured."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown, numbers to the right."""
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def targets_table(results: Results) -> str:
    """The ratios."""
    rows = []
    for target in results.targets():
        found = "–" if target.found is None else f"{target.found:.2f}"
        rows.append(f"| {target.figure} | {target.condition} | {found} | {target.verdict()} |")
    return "\n".join(["| figure | reach | measured | |", "| --- | --- | ---: | --- |", *rows])


def workload_table(results: Results, workload: str) -> str:
    """One row per server."""
    connections = results.results["settings"]["connections"]
    header = ["server"]
    for count in connections:
        header += [f"req/s at {count}", "p50 ms", "p99 ms"]
    header += ["errors", "memory MiB", "first answer s"]
    rows = []
    for server in SERVERS:
        if (server.name, workload) not in results.runs:
            continue
        row = [server.name]
        for count in connections:
            row.append(number(results.load(server.name, workload, count, "requests_per_s")))
            row += [number(results.load(server.name, workload, count, key), 2) for key in ("p50_ms", "p99_ms")]
        row.append(str(results.errors(server.name, workload)))
        row += [number(results.visit(server.name, workload, "memory_mb")), number(results.visit(server.name, workload, "first_answer_s"), 2)]
        rows.append(row)
    return table(header, rows)


def start_up_text(results: Results) -> list[str]:
    """The platform alone, and the open loop."""
    lines = []
    start_up = results.results["start_up"]
    if start_up:
        new, again, memory = (median(one[key] for one in start_up) for key in ("new_s", "again_s", "memory_mb"))
        lines.append(
            f"`decalog up` is ready after {new * 1000:.0f} ms in a new data directory and {again * 1000:.0f} ms in the same again, "
            f"with {memory:.1f} MiB resident in all its processes and no model."
        )
    loop = results.open_loop()
    if loop:
        rate, answered, p50, p99 = (median(one[key] for one in loop) for key in ("rate", "requests_per_s", "p50_ms", "p99_ms"))
        lines.append(
            f"Decalog's echo in open loop, latency counted from when a request was due: {rate:,.0f} requests/s sent, half of its maximum, "
            f"{answered:,.0f} answered, p50 {p50:.2f} ms, p99 {p99:.2f} ms."
        )
    return lines


def markdown(data: dict[str, Any]) -> str:
    """The whole of RESULTS.md."""
    results, machine, settings = Results(data), data["machine"], data["settings"]
    counts = [len(runs) for runs in results.runs.values()] or [0]
    rounds = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    parts = [
        "# Benchmark",
        "Written by `make bench`; do not edit. What is measured and how: [README.md](README.md).",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GiB, {machine['system']}, Linux {machine['kernel']}. "
        f"Load generator and server share the machine. Interleaved rounds: {rounds}, of {settings['seconds']:g} s per "
        f"connection count; the figures are medians. {data['at']}.",
        "## What was to be reached",
        targets_table(results),
        *start_up_text(results),
    ]
    for workload in WORKLOADS:
        if any(run["workload"] == workload for run in data["runs"]):
            parts += [f"## {workload}: {TITLES[workload]}", workload_table(results, workload)]
    parts.append("## Servers")
    parts.append("\n".join(f"- **{server.name}**: {server.note}" for server in SERVERS if server.note))
    parts.append("\n".join(f"- {name}: {version}" for name, version in data["versions"].items()))
    if data["problems"]:
        parts.append("## What could not be measured")
        parts.append("\n".join(f"- {one['server']}, {one['workload']}: {one['reason']}" for one in data["problems"]))
    return "\n\n".join(parts) + "\n"
