"""The platform is replaced under load: by itself, by what cannot read its ledger, by what is no Decalog at all."""

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from conftest import BINARY, LONG, constant, wait_for, write_model
from test_faults import alive
from test_processes import supervisor_of
from test_versions import Load


@contextmanager
def listening(answer):
    """A server that gives everybody the same JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_takeover_under_load_fails_nothing(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    pids, before = platform.pids("m"), platform.process.pid
    with Load(platform, "m", {"x": 0}) as load:
        for _ in range(3):
            platform.takeover()
    assert not [answer for answer in load.answers if answer[0] != 200]
    assert platform.process.pid != before and platform.pids("m") == pids, "the same workers serve"
    kinds = [event["kind"] for event in platform.run("events", "--kind", "writer", "--json").json()["events"]]
    assert kinds == ["writer_started"] + ["writer_handed_over", "writer_started"] * 3
    platform.run("ledger", "verify")
    platform.run("deploy", write_model(tmp_path / "m", constant(2)))
    assert platform.predict("m", {"x": 0}).json() == {"output": 2}


def test_a_request_in_flight_is_answered_by_the_old_process(platform, tmp_path):
    slow = "import time\n\ndef predict(x: int) -> int:\n    time.sleep(2)\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": slow}))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(platform.predict, "m", {"x": 7})
        wait_for(lambda: platform.run("show", "m", "--json").json()["replicas"][0]["in_flight"] == 1, "the request at the worker")
        platform.takeover()
        assert answer.result().json() == {"output": 7}


def test_upgrade_verb(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    old = platform.process
    done = platform.run("upgrade", "--data", platform.data, "--json").json()
    try:
        assert done["old"]["pid"] == old.pid and done["new"]["url"] == platform.url
        assert old.wait(60) == 0
        assert platform.predict("m", {"x": 0}).json() == {"output": 1}
        again = platform.run("upgrade", "--json").json()  # of the server at DECALOG_URL
        assert again["old"]["pid"] == done["new"]["pid"]
        done = again
    finally:
        os.kill(done["new"]["pid"], 15)
        wait_for(lambda: not alive(done["new"]["pid"]), "the end of the platform")


def test_a_server_that_cannot_be_upgraded_from_here(platform, tmp_path):
    """Behind a tunnel, a server may be on another machine, with a data directory of the same name or none."""
    server = platform.get("/v1/server").json()
    for change in [{"instance": "0" * 64}, {"data": str(tmp_path)}, {"data": None}, {"instance": None}]:
        answer = json.dumps(server | change).encode()
        with listening(answer) as url:
            failed = platform.run("upgrade", "--url", url, ok=False)
        assert failed.code == 1 and url in failed.err and "run this on its machine" in failed.err, failed
    unreachable = platform.run("upgrade", "--url", "http://127.0.0.1:9", ok=False)
    assert unreachable.code == 3 and "--data" in unreachable.err, unreachable
    assert platform.get("/v1/status").json()["pid"] == platform.process.pid


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho no such option >&2\nexit 2\n", "not a program"])
def test_a_binary_that_is_no_decalog(platform, tmp_path, text):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    binary = tmp_path / "decalog-9"
    binary.write_text(text)
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    failed = platform.run("upgrade", "--binary", binary, "--data", platform.data, ok=False)
    assert failed.code == 1 and "upgrade" not in failed.out and ("ended" in failed.err or "cannot be started" in failed.err), failed
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    platform.run("deploy", write_model(tmp_path / "m", constant(2)))


def test_a_binary_that_cannot_read_the_ledger(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    # What a newer program would have written: this one must not take over.
    with sqlite3.connect(platform.data / "ledger.sqlite") as connection:
        columns = "seq, at, actor, subject, subject_seq, writer_epoch, kind, body_version, body, previous_hash, hash"
        row = list(connection.execute(f"select {columns} from entries order by seq desc limit 1").fetchone())
        row[0], row[3], row[4], row[6] = row[0] + 1, "elsewhere/x", 1, "teleported"
        connection.execute(f"insert into entries ({columns}) values ({', '.join('?' * len(row))})", row)
    completed = subprocess.run([BINARY, "up", "--data", platform.data, "--takeover"], capture_output=True, text=True, timeout=60)
    assert completed.returncode == 1 and "teleported" in completed.stderr, completed
    assert "newer" in completed.stderr or "cannot read" in completed.stderr, completed
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_a_binary_that_speaks_to_its_supervisor_in_another_way(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    pids, path = platform.pids("m"), platform.data / "run/supervisor.sock"
    # What another version's supervisor would say; the old process keeps its connection to the real one, which would
    # bind its path again if it saw that it is gone.
    supervisor, real = supervisor_of(platform), path.with_name("real.sock")
    os.kill(supervisor, signal.SIGSTOP)
    path.rename(real)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.settimeout(LONG)
        other.listen()

        def answer():
            connection, _ = other.accept()
            connection.settimeout(LONG)
            with connection, connection.makefile("rw") as lines:
                call = json.loads(lines.readline())
                lines.write(json.dumps({"reply": {"id": call["id"], "result": {"Ok": {"version": 1}}}}) + "\n")
                lines.flush()
                return call["request"], lines.readline()

        try:
            with ThreadPoolExecutor(1) as pool, Load(platform, "m", {"x": 0}) as load:
                asked = pool.submit(answer)
                command = [BINARY, "up", "--data", platform.data, "--takeover"]
                completed = subprocess.run(command, capture_output=True, text=True, timeout=60)
                assert asked.result() == ("hello", ""), "nobody was asked to end"
        finally:
            path.unlink()
            real.rename(path)
            os.kill(supervisor, signal.SIGCONT)
    assert completed.returncode == 1 and "speaks version 1 of its protocol" in completed.stderr, completed
    assert "stop it with its workers" in completed.stderr, completed
    assert load.answers and not [answer for answer in load.answers if answer[0] != 200]
    assert platform.pids("m") == pids
    platform.run("deploy", write_model(tmp_path / "m", constant(2)))
    platform.takeover()


def test_a_new_process_that_dies_half_way_leaves_the_old_one_in_charge(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    with Load(platform, "m", {"x": 0}) as load:
        talk = socket.socket(socket.AF_UNIX)
        talk.connect(str(platform.data / "run/up.sock"))
        talk.sendall(json.dumps({"write": {"pid": os.getpid()}}).encode() + b"\n")
        assert b"written" in talk.recv(65_536)
        refused = platform.run("deploy", write_model(tmp_path / "m", constant(2)), ok=False)
        assert refused.code == 1 and "takes over" in refused.err, refused
        talk.close()
        wait_for(lambda: platform.run("deploy", tmp_path / "m", ok=False).code == 0, "deploys work again")
    assert not [answer for answer in load.answers if answer[0] != 200]
    kinds = [event["kind"] for event in platform.run("events", "--kind", "writer", "--json").json()["events"]]
    assert kinds == ["writer_started", "writer_handed_over", "writer_started"]


def test_a_data_directory_in_use(platform):
    completed = subprocess.run(
        [BINARY, "up", "--data", platform.data, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60
    )
    assert completed.returncode == 1 and "in use by process" in completed.stderr and "--takeover" in completed.stderr, completed


def test_takeover_of_nothing_is_a_start(fresh):
    platform = fresh(arguments=["--takeover"]).start()
    assert platform.get("/readyz").status == 200


def test_a_canary_goes_on_after_a_takeover(fresh, tmp_path):
    platform = fresh(arguments=["--judge-ms", "100"]).start()
    model = tmp_path / "m"
    platform.run("deploy", write_model(model, constant(1)))
    platform.run("deploy", write_model(model, constant(2)), "--env", "staging")
    with Load(platform, "m", {"x": 0}) as load:
        platform.run("release", "m@v2", "--canary", "50", "--every", "3s", "--guard", "errors<20%", "--detach")
        wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"], "the canary")
        platform.takeover()
        wait_for(lambda: platform.run("release", "status", "m", "--json").json()["outcome"] == "live", "the end of the release")
    assert not [answer for answer in load.answers if answer[0] != 200]
