"""kill -9, full disks, dying workers, bad bodies: what was acknowledged stays, and others are not harmed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager

import pytest
from conftest import BINARY, constant, wait_for, write_model


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def processes_of(data):
    """Everything that runs for a data directory."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as environ, open(f"/proc/{entry}/cmdline", "rb") as command:
                    text = environ.read() + command.read()
            except OSError:
                continue
            if str(data).encode() in text and int(entry) != os.getpid():
                found.append(int(entry))
    return found


def test_kill_9_and_restart_keep_the_workers(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    before = platform.pids("m")
    platform.kill()
    assert all(alive(pid) for pid in before)
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    assert platform.pids("m") == before, "the same processes serve"


def test_sigterm_leaves_no_orphan_and_a_restart_restores(platform, tmp_path):
    for name in ["a", "b"]:
        platform.run("deploy", write_model(tmp_path / name, constant(1)), "--name", name)
    pids = platform.pids("a") + platform.pids("b")
    assert platform.stop() == 0
    wait_for(lambda: not any(alive(pid) for pid in pids), "the workers have ended", 20)
    wait_for(lambda: not processes_of(platform.data), "no process is left", 20)
    platform.start()
    for name in ["a", "b"]:
        assert platform.predict(name, {"x": 0}).json() == {"output": 1}


def test_a_reboot_restores_every_live_model(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    platform.kill()
    for pid in processes_of(platform.data):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not processes_of(platform.data), "everything has ended")
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_a_killed_worker_is_replaced_and_costs_nothing(platform, tmp_path):
    source = "import time\n\ndef predict(x: int) -> int:\n    time.sleep(0.05)\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    answers = []
    threads = [threading.Thread(target=lambda: answers.extend(platform.predict("m", {"x": 1}).status for _ in range(20)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answers) > 4, "answers")
    os.kill(platform.pids("m")[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert answers == [200] * 80
    kinds = [event["kind"] for event in platform.run("events", "m", "--json").json()["events"]]
    assert "replica_failed" in kinds


def test_a_row_that_kills_its_worker_fails_alone(platform, tmp_path):
    source = "import os\n\ndef predict(x: int) -> int:\n    if x < 0:\n        os._exit(3)\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    failed = platform.predict("m", {"x": -1})
    assert failed.status == 500 and failed.json()["code"] == "worker_died", failed.body
    wait_for(lambda: platform.predict("m", {"x": 1}).status == 200, "a new replica")


def test_a_prediction_that_never_returns_is_ended(platform, tmp_path):
    source = "import time\n\ndef predict(x: int) -> int:\n    while x < 0:\n        time.sleep(1)\n    return x\n"
    manifest = "[model]\npredict_ms_max = 300\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "decalog.toml": manifest}))
    stuck = platform.pids("m")
    failed = platform.predict("m", {"x": -1})
    assert failed.status == 504 and failed.json()["code"] == "predict_timeout", failed.body
    assert platform.predict("m", {"x": 1}).json() == {"output": 1}
    wait_for(lambda: not any(alive(pid) for pid in stuck), "the stuck worker has ended")


def test_a_data_directory_in_use_is_refused(platform):
    second = subprocess.run([BINARY, "up", "--data", str(platform.data), "--listen", "127.0.0.1:0"],
                            capture_output=True, text=True, timeout=30)
    assert second.returncode != 0 and "in use" in second.stderr, second.stderr
    assert platform.get("/readyz").status == 200


def test_raw_bodies(shared_platform, tmp_path):
    shared_platform.run("deploy", write_model(tmp_path / "raw", constant(1)))
    host, port = shared_platform.url.removeprefix("http://").split(":")

    def send(text, close=False):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(text.encode())
            if close:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(65536).decode()

    head = "POST /v1/models/raw/predict HTTP/1.1\r\nHost: localhost\r\n"
    assert " 413 " in send(head + "Content-Length: 10000000000\r\n\r\n").splitlines()[0]
    assert " 400 " in send(head + "Content-Length: 1\r\n\r\n{").splitlines()[0]
    send(head + 'Content-Length: 100\r\n\r\n{"x": 1', close=True)
    assert " 400 " in send("NONSENSE\r\n\r\n").splitlines()[0]
    tensors = [
        {"name": "x", "shape": [2], "datatype": "INT64", "data": [1]},
        {"name": "x", "shape": [4611686018427387904, 4], "datatype": "INT64", "data": [1]},
        {"name": "x", "shape": [1], "datatype": "INT63", "data": [1]},
    ]
    for tensor in tensors:
        answer = shared_platform.request("POST", "/v2/models/raw/infer", {"inputs": [tensor]})
        assert answer.status == 400 and answer.json()["error"], answer.body
    assert shared_platform.predict("raw", {"x": 1}).status == 200


@pytest.mark.parametrize("manifest, message", [
    ("[model", "decalog.toml"),
    ("[batch]\nrows_max = 0\n", "batch.rows_max"),
    ("[resources]\ngpu = 1\n", "gpu"),
    ("[model]\nnaem = 'x'\n", "naem"),
])
def test_manifests_that_cannot_be_used(shared_platform, tmp_path, manifest, message):
    model = write_model(tmp_path / "unusable", {**constant(1), "decalog.toml": manifest})
    for verb in ["check", "deploy"]:
        failed = shared_platform.run(verb, model, ok=False)
        assert failed.code == 1 and message in failed.err, failed


def test_links_that_leave_the_tree_are_refused(shared_platform, tmp_path):
    model = write_model(tmp_path / "linked", constant(1))
    (model / "shadow").symlink_to("/etc/passwd")
    failed = shared_platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "shadow" in failed.err, failed


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_stops_writes_and_not_answers(fresh, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], check=True)
    try:
        platform = fresh("small/data")
        platform.start()
        platform.run("deploy", write_model(tmp_path / "m", constant(1)))
        with open(small / "ballast", "wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 65536)
            except OSError:
                pass
        failed = platform.run("deploy", write_model(tmp_path / "big", {**constant(2), "big.bin": os.urandom(4 << 20)}), ok=False)
        assert failed.code == 1 and "disk" in failed.err, failed
        answer = platform.request("PUT", "/v1/projects/default/environments/production/variables/A", {"value": "x" * 30000})
        assert answer.status in (200, 507), answer.body
        for _ in range(20):
            assert platform.predict("m", {"x": 0}).json() == {"output": 1}
        os.unlink(small / "ballast")
        platform.run("deploy", write_model(tmp_path / "big", constant(2)))
        platform.run("ledger", "verify")
        platform.stop()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_what_runs_is_served_by_a_start_on_a_full_disk(fresh, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(data)], check=True)
    try:
        platform = fresh("data").start()
        platform.run("deploy", write_model(tmp_path / "m", constant(1)))
        platform.kill()
        with open(data / "ballast", "wb", buffering=0) as ballast:
            for size in (65536, 512):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    pass
        platform.start()
        assert platform.predict("m", {"x": 0}).json() == {"output": 1}
        ready = platform.get("/readyz").body.decode()
        assert "read-only" in ready and "disk" in ready, ready
        assert "disk" in platform.run("status", "--json").json()["ledger"]["read_only"]["error"]
        refused = platform.request("PUT", "/v1/projects/default/environments/production/variables/A", {"value": "x"})
        assert refused.status == 507, refused.body
        os.unlink(data / "ballast")
        wait_for(lambda: platform.get("/readyz").body == b"ready\n", "the ledger is written again")
        platform.run("deploy", write_model(tmp_path / "m", constant(2)))
        assert platform.predict("m", {"x": 0}).json() == {"output": 2}
        platform.run("ledger", "verify")
        platform.stop()
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def can_mount():
    """Whether this user may mount a directory read-only, as root of a container often may not."""
    with tempfile.TemporaryDirectory() as directory:
        made = subprocess.run(["mount", "--bind", directory, directory], capture_output=True).returncode == 0
        if made:
            subprocess.run(["umount", "-l", directory], check=True)
        return made


@contextmanager
def read_only(directory):
    """Whoever opens something below it from now on can only read."""
    subprocess.run(["mount", "--bind", str(directory), str(directory)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.skipif(not can_mount(), reason="mounting needs root, and the right to")
def test_what_runs_is_served_by_a_start_on_a_read_only_disk(fresh, tmp_path):
    platform = fresh("data").start()
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    pids = platform.pids("m")
    platform.kill()
    with read_only(platform.data):
        platform.start()
        assert [platform.predict("m", {"x": 0}).json() for _ in range(20)] == [{"output": 1}] * 20
        assert platform.pids("m") == pids, "the workers that ran"
        ready = platform.get("/readyz")
        assert ready.status == 200 and b"read-only" in ready.body, ready.body
        refused = platform.request("PUT", "/v1/projects/default/environments/production/variables/A", {"value": "x"})
        assert refused.status == 507 and refused.json()["help"], refused.body
        failed = platform.run("deploy", write_model(tmp_path / "m2", {**constant(2), "new.txt": "new"}), ok=False)
        assert failed.code == 1 and "read-only" in failed.err.lower() or "disk" in failed.err, failed
        platform.kill()
    platform.start()
    assert platform.pids("m") == pids
    platform.run("deploy", write_model(tmp_path / "m", constant(2)))
    assert platform.predict("m", {"x": 0}).json() == {"output": 2}
    platform.run("ledger", "verify")


@pytest.mark.skipif(not can_mount(), reason="mounting needs root, and the right to")
def test_a_start_on_a_read_only_disk_where_nothing_runs_says_so(fresh, tmp_path):
    platform = fresh("data").start()
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    platform.stop()
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    for data in (platform.data, empty):
        with read_only(data):
            command = [BINARY, "up", "--data", str(data), "--listen", "127.0.0.1:0"]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 1 and "read-only" in ended.stderr.lower(), ended
            assert "mount" in ended.stderr and "panicked" not in ended.stderr, ended.stderr
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_a_large_file_uploads_in_little_memory(fresh, tmp_path):
    size = int(os.environ.get("DECALOG_UPLOAD_BYTES", 2 << 30))
    if shutil.disk_usage(tmp_path).free < 3 * size:
        pytest.fail(f"the test needs {3 * size >> 30} GiB of free disk; set DECALOG_UPLOAD_BYTES to a smaller number")
    platform = fresh().start()
    model = write_model(tmp_path / "heavy", constant(1))
    with open(model / "weights.bin", "wb") as weights:
        weights.truncate(size)
        for at in range(0, size, size // 64):
            weights.seek(at)
            weights.write(os.urandom(4096))
    peak = 0
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.05):
            with open(f"/proc/{platform.process.pid}/status") as status:
                rss = next(line for line in status if line.startswith("VmHWM"))
            peak = max(peak, int(rss.split()[1]) // 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        platform.run("deploy", model)
    finally:
        done.set()
        watcher.join()
    assert platform.predict("heavy", {"x": 0}).status == 200
    assert peak < 150, f"the server's resident memory reached {peak} MB"
