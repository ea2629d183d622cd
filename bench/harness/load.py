"""One load, by `oha`: as many requests as the server answers over some connections, or a fixed rate without waiting for answers."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .paths import TOOLS

# oha cuts off what is in flight when the time is up; that is its own doing, and no error of the server.
CUT_OFF = "aborted due to deadline"
GRACE_S = 30.0


@dataclass
class Request:
    """What is sent: always POST."""

    path: str
    body: Path
    headers: dict[str, str]


@dataclass
class Load:
    """What came of it. Times in milliseconds."""

    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    requests: int
    errors: int
    error_kinds: dict[str, int]


def run(request: Request, port: int, connections: int, seconds: float, rate: float | None = None) -> Load:
    """Sends `request` for that long; with `rate`, that many a second, their latency counted from when they were due."""
    argv = [str(TOOLS / "bin" / "oha"), "--no-tui", "--output-format", "json", "--disable-compression", "--redirect", "0"]
    argv += ["-z", f"{seconds:g}s", "-c", str(connections), "-m", "POST", "-D", str(request.body)]
    for name, value in request.headers.items():
        argv += ["-H", f"{name}: {value}"]
    if rate:
        argv += ["-q", f"{max(1, round(rate))}", "--latency-correction"]
    argv.append(f"http://127.0.0.1:{port}{request.path}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + GRACE_S)
    if done.returncode != 0:
        raise RuntimeError(f"oha failed: {done.stderr.strip()[-500:]}")
    return parse(json.loads(done.stdout))


def parse(report: dict) -> Load:
    """The figures of one report of oha."""
    statuses = {code: count for code, count in report["statusCodeDistribution"].items()}
    good = sum(count for code, count in statuses.items() if code.startswith("2"))
    kinds = {f"status {code}": count for code, count in statuses.items() if not code.startswith("2")}
    kinds |= {kind: count for kind, count in report["errorDistribution"].items() if kind != CUT_OFF}
    milliseconds = {key: (value or 0.0) * 1_000 for key, value in report["latencyPercentiles"].items()}
    return Load(
        requests_per_s=good / report["summary"]["total"],
        p50_ms=milliseconds["p50"],
        p90_ms=milliseconds["p90"],
        p99_ms=milliseconds["p99"],
        requests=good,
        errors=sum(kinds.values()),
        error_kinds=kinds,
    )
