"""Measures the worker alone: its start, and over its Unix socket its CPU and the round trip of one client by request.

python measure.py        # in an environment with numpy
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "src"), str(Path(__file__).parent / "tests")]

from conftest import WORKER, Served, binary_body, request_bytes, tensor  # noqa: E402

ECHO = "import numpy as np\ndef predict(x: np.ndarray) -> np.ndarray: return x"
ROW = """
from typing import Dict, Literal, Optional
def predict(age: int, city: Literal["Utrecht", "Delft"], income: Optional[float] = None) -> Dict[str, float]:
    return {"leave": age * 0.5 + (income or 0)}
"""
TENSOR = """
import numpy as np
from numpy.typing import NDArray
def predict(x: NDArray[np.float32]) -> NDArray[np.float32]: return x[:, [0, 50_000, 100_000, 149_999]]
"""


def table(rows):
    return [
        tensor("age", "INT64", [rows], list(range(rows))),
        tensor("city", "BYTES", [rows], ["Delft"] * rows),
        tensor("income", "FP64", [rows], [0.5] * rows),
        tensor("income:valid", "BOOL", [rows], [True] * rows),
    ]


def cpu_us(process: subprocess.Popen) -> float:
    """CPU time of a process so far, in microseconds."""
    return int(Path("/proc/%d/schedstat" % process.pid).read_text().split()[0]) / 1e3


def measure(label, source, inputs, requests):
    with tempfile.TemporaryDirectory() as home:
        directory = Path(home) / "model"
        directory.mkdir()
        (directory / "model.py").write_text(source)
        served = Served(directory, {}).wait_ready()
        request, buffer, times = request_bytes(*binary_body(inputs)), bytearray(1 << 20), []
        with served.connect() as connection:
            connection.settimeout(None)
            for at in range(requests + 200):
                if at == 200:  # warm
                    before, times = cpu_us(served.process), []
                start = time.perf_counter()
                connection.sendall(request)
                assert connection.recv_into(buffer) and buffer[9:12] == b"200"
                times.append(time.perf_counter() - start)
            cpu = (cpu_us(served.process) - before) / requests
        served.stop()
    print("%-28s CPU %6.1f us, round trip p50 %6.1f us" % (label, cpu, sorted(times)[requests // 2] * 1e6))


def measure_start(starts):
    """From the start of the interpreter to ready: with the byte code that is kept, and where it is compiled anew."""
    with tempfile.TemporaryDirectory() as home:
        directory, package = Path(home) / "model", Path(home) / "copy" / WORKER.parent.name
        directory.mkdir()
        (directory / "model.py").write_text("def predict(x: int) -> int: return x")
        shutil.copytree(str(WORKER.parent), str(package), ignore=shutil.ignore_patterns("__pycache__"))
        times = {True: [], False: []}
        for _ in range(starts):
            for is_kept in (False, True):
                if not is_kept:
                    shutil.rmtree(str(package / "__pycache__"), ignore_errors=True)
                start = time.perf_counter()
                served = Served(directory, {}, program=package / "__main__.py").wait_ready(pause_s=0.0005)
                times[is_kept].append(time.perf_counter() - start)
                served.stop()
    for is_kept, label in ((True, "start"), (False, "start without byte code")):
        print("%-28s to ready %6.1f ms" % (label, statistics.median(times[is_kept]) * 1e3))


if __name__ == "__main__":
    measure_start(20)
    measure("batch echo, 1 row", ECHO, [tensor("x", "FP64", [1, 4], [0.5] * 4)], 20_000)
    measure("batch echo, 64 rows", ECHO, [tensor("x", "FP64", [64, 4], [0.5] * 256)], 20_000)
    measure("row form, 4 inputs, 1 row", ROW, table(1), 20_000)
    measure("row form, 4 inputs, 64 rows", ROW, table(64), 5_000)
    measure("600 KB tensor", TENSOR, [tensor("x", "FP32", [1, 150_000], [0.5] * 150_000)], 2_000)
