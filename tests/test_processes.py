"""Processes: what becomes of the platform when a worker, a supervisor or the machine does not do its part."""

import os
import resource
import shutil
import signal
import threading
import time

import pytest
from conftest import constant, wait_for, write_model
from test_faults import alive, processes_of

LENGTH = "def predict(text: str) -> int:\n    return len(text)\n"


def test_a_worker_that_dies_while_a_large_request_is_written_to_it_costs_only_itself(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": LENGTH}))
    text = "x" * (40 << 20)
    for _ in range(2):
        wait_for(lambda: platform.predict("m", {"text": "x"}).status == 200, "a replica")
        worker = wait_for(lambda: max(platform.pids("m"), default=0), "a worker")
        # It reads no more, so that most of the request is still on its way when it ends.
        os.kill(worker, signal.SIGSTOP)
        answers = []
        caller = threading.Thread(target=lambda: answers.append(platform.predict("m", {"text": text})))
        caller.start()
        wait_for(lambda: in_flight(platform, "m"), "the request is being written")
        os.kill(worker, signal.SIGKILL)
        caller.join()
        assert platform.process.poll() is None, "the platform goes on"
        assert answers[0].status == 200 and answers[0].json() == {"output": len(text)}, answers[0].body


def test_numbers_beyond_any_machine_are_refused_and_many_replicas_start_a_few_at_a_time(platform, tmp_path):
    model = write_model(tmp_path / "m", {**constant(1), "decalog.toml": "[scale]\nmin = 4000000000\n"})
    refused = platform.run("deploy", model, ok=False)
    assert refused.code == 1 and "scale.min must be at most 256" in refused.err, refused
    platform.run("deploy", write_model(model, {"decalog.toml": "[scale]\nmin = 24\nmax = 24\n"}))
    at_once_max = max(4, 2 * os.cpu_count())
    seen = []

    def all_ready():
        states = [replica["state"] for replica in replicas(platform, "m")]
        seen.append(states.count("starting"))
        return states.count("ready") == 24

    wait_for(all_ready, "24 replicas")
    assert max(seen) <= at_once_max, seen


def test_variables_that_change_fast_are_rolled_out_once(platform, tmp_path):
    source = "import os\n\ndef predict(x: int) -> str:\n    return os.environ.get('LEVEL', 'none')\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    path = "/v1/projects/default/environments/production/variables/LEVEL"
    most = 0
    for level in range(150):
        assert platform.request("PUT", path, {"value": str(level)}).status == 200
        if level % 10 == 0:
            most = max(most, len(processes_of(platform.data)))
    wait_for(lambda: platform.predict("m", {"x": 0}).json() == {"output": "149"}, "the last value is in use")
    most = max(most, len(processes_of(platform.data)))
    # Platform, supervisor, zygote, and for the old and the new variables a parent, a worker and one forked ahead.
    assert most <= 14, most
    wait_for(lambda: len(platform.pids("m")) == 1, "one replica is left")


def wake_ups(pid, thread):
    """How often the threads of that name have gone to sleep."""
    count = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as comm, open(f"/proc/{pid}/task/{task}/status") as status:
            if comm.read().strip() == thread:
                count += int(next(line for line in status if line.startswith("voluntary")).split()[1])
    return count


def test_a_platform_without_models_sleeps(platform, tmp_path):
    # Its replica has failed and is to be started again when it is removed.
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": "[scale]\nmin = 1\n"}))
    for _ in range(3):
        pid = wait_for(lambda: max(platform.pids("m"), default=0), "a replica with a process")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in platform.pids("m"), "it has ended")
    platform.run("rm", "m", "--yes")
    wait_for(lambda: len(processes_of(platform.data)) <= 2, "nothing runs but the platform and its supervisor")
    before, seconds = wake_ups(platform.process.pid, "control"), 4
    time.sleep(seconds)  # This measures, and waits for nothing.
    per_second = (wake_ups(platform.process.pid, "control") - before) / seconds
    assert per_second < 25, per_second


DEADLY = """
import os

def predict(x: int) -> int:
    if x < 0:
        os._exit(3)
    return x
"""


def test_rows_that_kill_the_worker_do_not_lock_others_out(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": DEADLY}))
    for _ in range(12):
        assert platform.predict("m", {"x": -1}).status == 500
        answer = platform.predict("m", {"x": 1}, {"Decalog-Timeout-Ms": "5000"})
        assert answer.status == 200, answer.body
    failed = [event["body"] for event in platform.run("events", "m", "--json").json()["events"] if event["kind"] == "replica_failed"]
    assert failed and max(event["restart_in_ms"] for event in failed) < 2_000, failed


@pytest.mark.outside
def test_a_start_that_fails_is_told_by_readiness(platform, tmp_path):
    flag = tmp_path / "broken"
    source = f"import os\n\nif os.path.exists({str(flag)!r}):\n    raise ValueError('the weights are gone')\n\n\ndef predict(x: int) -> int:\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "decalog.toml": "[scale]\nmin = 1\n"}))
    flag.touch()
    platform.stop()
    process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    platform.process = process
    told = wait_for(lambda: platform.get("/readyz").status == 503 and b"did not load" in platform.get("/readyz").body, "readiness tells")
    assert told
    flag.unlink()
    wait_for(lambda: platform.get("/readyz").status == 200, "it starts again")
    assert platform.predict("m", {"x": 2}).json() == {"output": 2}


def supervisor_of(platform):
    """The process number of the supervisor."""
    for pid in processes_of(platform.data):
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            if b"\0supervise\0" in command.read():
                return pid
    return None


def soft_limit(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def test_kill_9_of_everything_and_a_start_at_once_comes_up(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": "[scale]\nmin = 1\n"}))
    for _ in range(4):
        old, supervisor = platform.process, wait_for(lambda: supervisor_of(platform), "a supervisor")
        os.kill(old.pid, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)
        # Before they are gone, and at the same address.
        platform.process, platform.url = platform.launch("--listen", platform.url.removeprefix("http://"))
        old.wait()
        wait_for(lambda: platform.get("/readyz").status == 200, "readiness")
        assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_readiness_tells_of_a_supervisor_that_does_not_answer(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    before, supervisor = platform.pids("m"), supervisor_of(platform)
    os.kill(supervisor, signal.SIGSTOP)
    try:
        wait_for(lambda: platform.get("/readyz").status == 503, "readiness tells", 60)
        assert b"does not answer" in platform.get("/readyz").body, platform.get("/readyz").body
        assert platform.predict("m", {"x": 0}).json() == {"output": 1}, "what runs goes on"
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_for(lambda: platform.get("/readyz").status == 200, "readiness")
    assert platform.pids("m") == before and supervisor_of(platform) == supervisor, "nothing was ended for it"


def test_a_directory_for_sockets_that_is_removed_is_made_again(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    before, supervisor = platform.pids("m"), supervisor_of(platform)
    assert before[0] > 0
    (platform.data / "run").rename(tmp_path / "removed")
    shutil.rmtree(tmp_path / "removed")
    sockets = [platform.data / "run" / name for name in ["supervisor.sock", "up.sock", "w"]]
    wait_for(lambda: all(path.exists() for path in sockets), "the sockets are there again")
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: platform.predict("m", {"x": 0}).status == 200, "a new replica")
    platform.takeover()
    assert supervisor_of(platform) == supervisor
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_what_lies_in_the_way_of_a_start_is_moved(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    platform.stop()
    run = platform.data / "run"
    shutil.rmtree(run / "old", ignore_errors=True)
    (run / "old").write_text("no directory")
    shutil.rmtree(run / "replicas")
    (run / "replicas").write_text("no directory either")
    (run / "supervisor.sock").write_text("no socket")
    (platform.data / "lock").write_text("x" * 100_000)
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_a_worker_that_is_busy_is_found_again(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    before = platform.pids("m")
    # It answers nothing, as one that computes for long.
    os.kill(before[0], signal.SIGSTOP)
    platform.kill()
    platform.start()
    assert platform.pids("m") == before
    os.kill(before[0], signal.SIGCONT)
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_descriptors_are_raised_for_the_platform_and_given_back_to_workers(fresh, tmp_path):
    platform = fresh(prefix=["prlimit", "--nofile=300:5000"]).start()
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    assert soft_limit(platform.process.pid) == soft_limit(supervisor_of(platform)) == 5000
    assert soft_limit(platform.pids("m")[0]) == 300


def test_a_start_without_descriptors_is_nobodys_fault(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": "[scale]\nmin = 1\n"}))
    supervisor = supervisor_of(platform)
    limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    worker = platform.pids("m")[0]
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(worker, signal.SIGKILL)
    log = platform.data / "logs/supervisor.log"
    wait_for(lambda: log.read_text().count("could not be started") > 1, "the start is tried, and tried again")
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: platform.predict("m", {"x": 0}).status == 200, "a new replica", 10)
    reasons = [event["body"]["reason"] for event in platform.run("events", "m", "--json").json()["events"]
               if event["kind"] == "replica_failed"]
    assert all("SIGKILL" in reason or "cannot do it now" in reason for reason in reasons), reasons


def memory_mb(pid, what):
    """The resident memory (Rss) of a process, or its part of what it shares (Pss), in MiB."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith(what + ":")) / 1024


def test_the_libraries_of_a_model_are_in_memory_once(platform, tmp_path):
    source = "import numpy as np\n\ndef predict(x: float) -> float:\n    return float(np.sqrt(x))\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "requirements.txt": "numpy\n"}))
    assert platform.predict("m", {"x": 4.0}).json() == {"output": 2.0}
    own = [platform.process.pid, supervisor_of(platform)]
    pids = lambda: [pid for pid in processes_of(platform.data) if pid not in own]
    # Parent, worker, and one that is forked ahead, beside a zygote as long as it is of use; each has the library.
    loaded = lambda: len(pids()) >= 3 and min(memory_mb(pid, "Rss") for pid in pids()) > 20 and pids()
    pids = wait_for(loaded, "all processes of the model")
    largest, together = max(memory_mb(pid, "Rss") for pid in pids), sum(memory_mb(pid, "Pss") for pid in pids)
    assert together < 1.7 * largest, (together, largest)


def replicas(platform, model):
    return platform.run("show", model, "--json").json()["replicas"]


def in_flight(platform, model):
    """Batches at a model's replicas, by the metrics."""
    lines = platform.get("/metrics").body.decode().splitlines()
    values = [line for line in lines if "in_flight" in line and f'"{model}"' in line and not line.startswith("#")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in values)
