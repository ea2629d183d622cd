"""Measures replicas forked from a zygote or a parent: time to the first answer, and memory that siblings share.

python measure_fork.py [--forks 200]        # in an environment with numpy, joblib and scikit-learn

Time: from the order to fork, or the start of the process where it is cold, to the answer of the first prediction.
Memory: the proportional set size (PSS) of the parent and its replicas together, after 1,000 predictions each; growth is
what each added replica adds to the sum, by the sum with one replica.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "src"), str(Path(__file__).parent / "tests")]

from conftest import Served, Supervisor, binary_body, read_answer, request_bytes, tensor  # noqa: E402

COLUMNS = 20
REPLICAS_MAX = 4
PREDICTIONS = 1_000
ARRAY = """
import numpy as np
def load(path):
    global weights
    weights = np.random.default_rng(1).random((62_500_000 // %d, %d))  # 500 MB
def predict(x: np.ndarray) -> np.ndarray:
    return x @ weights[: x.shape[1] * 1000].reshape(-1, x.shape[1]).T[:, :8] + weights[::5000].sum()
""" % (COLUMNS, COLUMNS)


def request():
    return request_bytes(*binary_body([tensor("x", "FP64", [1, COLUMNS], [0.5] * COLUMNS)]))


def answer(process, count=1):
    with process.connect() as connection:
        for _ in range(count):
            connection.sendall(request())
            assert read_answer(connection).status == 200


def forest(home):
    """A directory with a forest of 100 trees."""
    import joblib
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    random = numpy.random.default_rng(1)
    x = random.random((20_000, COLUMNS))
    y = x[:, 0] + random.normal(0, 0.3, len(x)) > 0.5
    directory = home / "forest"
    directory.mkdir()
    joblib.dump(RandomForestClassifier(100, random_state=1).fit(x, y), directory / "forest.joblib")
    return directory, "forest.joblib"


def array(home):
    """A directory with a model of 500 MB of numbers."""
    directory = home / "array"
    directory.mkdir()
    (directory / "model.py").write_text(ARRAY)
    return directory, "model.py"


def pss_mb(pids):
    total = 0
    for pid in pids:
        lines = Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def report(label, times):
    times = sorted(time * 1e3 for time in times)

    def at(share):
        return times[min(int(len(times) * share), len(times) - 1)]

    shares = (label, len(times), at(0.5), at(0.9), at(0.99), times[-1])
    print("%-34s n %4d  p50 %7.1f ms  p90 %7.1f ms  p99 %7.1f ms  max %7.1f ms" % shares, flush=True)


def variables(file):
    return {"DECALOG_FILE": file, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def forks(label, control, file, count):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        process = control.fork(more=variables(file))
        answer(process)
        times.append(time.perf_counter() - start)
        process.stop()
    report(label, times)


def latency(home, directory, file, count):
    supervisor = Supervisor(home)
    zygote = supervisor.start("zygote", directory, DECALOG_FILE=file)
    print("zygote of %s ready after %.0f ms" % (file, zygote.ready()["elapsed_ms"]))
    parent, process = zygote.fork_parent(more=variables(file))
    ready = parent.ready()
    print("parent of %s ready after %.0f ms, %.0f MB" % (file, ready["elapsed_ms"], pss_mb([process.pid])))
    forks("%s, warm (from a parent)" % file, parent, file, count)
    forks("%s, tepid (from a zygote)" % file, zygote, file, max(count // 4, 1))
    times = []
    for _ in range(max(count // 40, 1)):
        start = time.perf_counter()
        served = Served(directory, variables(file)).wait_ready()
        answer(served)
        times.append(time.perf_counter() - start)
        served.stop()
    report("%s, cold" % file, times)
    supervisor.stop()


def memory(home, directory, file):
    supervisor = Supervisor(home)
    parent = supervisor.start("parent", directory, DECALOG_FILE=file)
    parent.ready()
    replicas, sums = [], [pss_mb([parent.pid])]
    for _ in range(REPLICAS_MAX):
        replicas.append(parent.fork(more=variables(file)))
        answer(replicas[-1], PREDICTIONS)
        sums.append(pss_mb([parent.pid] + [replica.pid for replica in replicas]))
    growth = [(after - before) / sums[1] for before, after in zip(sums[1:], sums[2:])]
    added = ", ".join("%.1f%%" % (share * 100) for share in growth)
    sums_text = ", ".join("%.0f" % total for total in sums[1:])
    print(
        "%s: parent %.0f MB, with 1 to %d replicas %s MB; growth by each added one %s"
        % (file, sums[0], REPLICAS_MAX, sums_text, added)
    )
    supervisor.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--forks", type=int, default=200)
    count = parser.parse_args().forks
    with tempfile.TemporaryDirectory(prefix="f") as home:
        for make in (forest, array):
            directory, file = make(Path(home))
            for part, *more in ((memory,), (latency, count)):
                place = Path(home) / (part.__name__[0] + make.__name__[0])
                place.mkdir()
                part(place, directory, file, *more)
