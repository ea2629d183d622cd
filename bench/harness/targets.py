"""What Decalog must reach, as ratios within one run, and whether it did."""

from dataclasses import dataclass
from statistics import median
from typing import Any, Callable

# figure(server, workload, connections, key) → median over the rounds, or None if it was not measured
Figure = Callable[[str, str, int, str], float | None]

# visit(server, workload, key) → median over the rounds of what is measured once a visit
Visit = Callable[[str, str, str], float | None]

RATE, P50, P99 = "requests_per_s", "p50_ms", "p99_ms"
CONNECTIONS = (1, 16, 64)


@dataclass
class Target:
    """One condition: `found` against `limit`, both ratios or plain numbers."""

    figure: str
    condition: str
    found: float | None
    limit: float
    at_least: bool

    def verdict(self) -> str:
        """`reached`, by how much it was missed, or that it was not measured."""
        if self.found is None:
            return "not measured"
        if (self.found >= self.limit) if self.at_least else (self.found <= self.limit):
            return "reached"
        return f"missed by {abs(self.found / self.limit - 1):.0%}"

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {"figure": self.figure, "condition": self.condition, "found": self.found, "limit": self.limit, "verdict": self.verdict()}


def ratio(above: float | None, below: float | None) -> float | None:
    """Of two figures, if both were measured."""
    return above / below if above is not None and below else None


def best(values: list[float | None], largest: bool) -> float | None:
    """Of those that were measured."""
    there = [value for value in values if value is not None]
    return (max if largest else min)(there) if there else None


def all_targets(
    figure: Figure, visit: Visit, others: list[Any], start_up: list[dict[str, float]], open_loop: list[dict[str, float]]
) -> list[Target]:
    """All of them. `others`: the servers that are neither Decalog nor the bare echo."""

    def rate(server: str, workload: str) -> float | None:
        return figure(server, workload, 64, RATE)

    def p50(server: str, workload: str) -> float | None:
        return figure(server, workload, 1, P50)

    def against(workload: str, server: str, times: float, title: str) -> Target:
        found = ratio(rate("decalog", workload), rate(server, workload))
        return Target(title, f"at least {times:g} times {server}", found, times, True)

    def below_best(workload: str, names: list[str], title: str, condition: str) -> Target:
        found = ratio(p50("decalog", workload), best([p50(name, workload) for name in names], largest=False))
        return Target(title, condition, found, 1.0, False)

    names = [server.name for server in others]
    echo_64, echo_1 = "Python echo, 64 connections, requests/s", "Python echo, 1 connection, p50"
    onnx, forest = "ONNX forest, 64 connections, requests/s", "scikit-learn forest, 64 connections, requests/s"
    forest_1 = "scikit-learn forest, 1 connection, p50"
    targets = [
        against("echo", "mosec-batch", 2.6, echo_64),
        against("echo", "mosec", 7, echo_64),
        against("echo", "fastapi", 10, echo_64),
        against("echo", "hyper", 0.6, echo_64),
        below_best("echo", [name for name in names if name.startswith("mosec")], echo_1, "below mosec's (the better of its two)"),
        Target(echo_1, "at most 1.7 times the bare echo's", ratio(p50("decalog", "echo"), p50("hyper", "echo")), 1.7, False),
        against("forest-onnx", "hyper", 0.7, onnx),
    ]
    onnx_best = best([rate(name, "forest-onnx") for name in names], largest=True)
    targets.append(Target(onnx, "at least 5 times the best of the others", ratio(rate("decalog", "forest-onnx"), onnx_best), 5.0, True))
    targets.append(against("forest", "mosec-batch", 1.3, forest))
    for server in others:
        if server.family != "mosec" and server.batching is not False:
            targets.append(against("forest", server.name, 4, forest))
    targets.append(below_best("forest", names, forest_1, "the lowest of all"))
    targets += tensor_targets(figure, names)
    memory = ratio(visit("decalog", "forest", "memory_mb"), visit("fastapi", "forest", "memory_mb"))
    targets.append(Target("scikit-learn forest, one replica, memory", "at most 1.15 times fastapi's", memory, 1.15, False))
    targets += start_up_targets(start_up)
    tail = median(one["p99_ms"] / one["p50_ms"] for one in open_loop) if open_loop else None
    targets.append(Target("echo, open loop at half of the maximum rate", "p99 / p50 at most 2.5", tail, 2.5, False))
    return targets


def tensor_targets(figure: Figure, names: list[str]) -> list[Target]:
    """Large tensors: the best of all servers in everything."""
    targets = []
    for count in CONNECTIONS:
        for key, title, largest in ((RATE, "requests/s", True), (P50, "p50", False), (P99, "p99", False)):
            found = ratio(figure("decalog", "tensor", count, key), best([figure(name, "tensor", count, key) for name in names], largest))
            what = f"600 KB tensor, {count} connection{'s' if count > 1 else ''}, {title}"
            targets.append(Target(what, "the highest of all" if largest else "the lowest of all", found, 1.0, largest))
    return targets


def start_up_targets(start_up: list[dict[str, float]]) -> list[Target]:
    """Of the platform without a model."""

    def middle(key: str) -> float | None:
        return median(one[key] for one in start_up) if start_up else None

    title = "`decalog up` without a model"
    return [
        Target(title, "ready within 0.3 s, new data directory", middle("new_s"), 0.3, False),
        Target(title, "ready within 0.3 s, the same again", middle("again_s"), 0.3, False),
        Target(title, "resident under 40 MiB, all processes", middle("memory_mb"), 40.0, False),
    ]
