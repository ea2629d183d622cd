"""Versions, releases without a failed request, gates, variables and secrets."""

import contextlib
import json
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, constant, stored_files, wait_for, write_model


class Load:
    """Asks a model from several threads for as long as the block runs, and keeps every answer."""

    def __init__(self, platform, model, row, threads=4):
        self.platform, self.model, self.row = platform, model, row
        self.threads, self.stopping, self.answers = threads, threading.Event(), []

    def __enter__(self):
        self.pool = ThreadPoolExecutor(self.threads)
        self.futures = [self.pool.submit(self.ask) for _ in range(self.threads)]
        wait_for(lambda: len(self.answers) > 20, "load")
        return self

    def ask(self):
        while not self.stopping.is_set():
            answer = self.platform.predict(self.model, self.row)
            self.answers.append((answer.status, answer.headers.get("Decalog-Version"), answer.body))

    def __exit__(self, *error):
        seen = len(self.answers)
        wait_for(lambda: len(self.answers) > seen + 20, "load after the change")
        self.stopping.set()
        self.pool.shutdown()
        for future in self.futures:
            future.result()


def test_a_new_version_takes_over_under_load(fresh, tmp_path):
    platform = fresh(arguments=["--keep-s", "1"]).start()
    model = write_model(tmp_path / "m", constant(1))
    platform.run("deploy", model)
    with Load(platform, "m", {"x": 0}) as load:
        for value in [2, 3]:
            write_model(model, constant(value))
            platform.run("deploy", model)
    failed = [answer for answer in load.answers if answer[0] != 200]
    assert not failed, failed[:3]
    assert {version for _, version, _ in load.answers} == {"v1", "v2", "v3"}
    for _, version, body in load.answers:
        assert json.loads(body) == {"output": int(version[1:])}
    wait_for(lambda: len(platform.pids("m")) == 1, "the old replicas have stopped")


def test_equal_content_is_the_same_version(platform, tmp_path):
    model = write_model(tmp_path / "m", constant(1))
    platform.run("deploy", model)
    write_model(model, constant(2))
    platform.run("deploy", model)
    write_model(model, constant(1))
    again = platform.run("deploy", model)
    assert "m v1" in again.err, again
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    assert [version["version"] for version in platform.run("show", "m", "--json").json()["versions"]] == ["v1", "v2"]
    once_more = platform.run("deploy", model)
    assert "m v1" in once_more.err


def test_a_removed_model_never_answers_for_a_new_one_of_its_name(platform, tmp_path):
    model = tmp_path / "m"
    for value in range(10):
        case = {"tests/own.json": json.dumps({"input": {"x": 0}, "expected": {"output": value}})}
        sleeps = value % 2 == 1
        manifest = {"decalog.toml": f"[scale]\nidle_s = {1 if sleeps else 600}\n"}
        platform.run("deploy", write_model(model, {**constant(value), **case, **manifest}))
        if sleeps:
            wait_for(lambda: not platform.pids("m"), "zero replicas")
        for _ in range(3):
            answer = platform.predict("m", {"x": 0})
            assert (answer.json(), answer.headers["Decalog-Version"]) == ({"output": value}, f"v{value + 1}"), answer.body
        if sleeps:
            wait_for(lambda: not platform.pids("m"), "zero replicas again, with a parent")
        platform.run("rm", "m", "--yes")
    assert platform.predict("m", {"x": 0}).status == 404


def test_cases_and_gates_stop_a_deploy(platform, tmp_path):
    case = {"tests/young.json": json.dumps({"input": {"x": 1}, "expected": {"output": 1}, "tolerance": 0.001})}
    model = write_model(tmp_path / "m", {**constant(1), **case})
    platform.run("deploy", model)
    write_model(model, constant(2))
    failed = platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "young" in failed.err and "expected 1" in failed.err and "got 2" in failed.err, failed
    assert "v1 keeps serving" in failed.err
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}

    slow = {"model.py": "import time\n\ndef predict(x: int) -> int:\n    time.sleep(0.03)\n    return 1\n",
            "decalog.toml": "[gates]\np99_ms_max = 10\n"}
    write_model(model, slow)
    failed = platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "p99" in failed.err and "10" in failed.err, failed

    write_model(model, {"model.py": constant(1)["model.py"] + "\nimport os\n\nBALLAST = os.urandom(80 << 20)\n",
                        "decalog.toml": "[gates]\nmemory_mb_max = 60\n"})
    failed = platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "memory" in failed.err, failed
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    kinds = [event["kind"] for event in platform.run("events", "m", "--json").json()["events"]]
    assert kinds.count("deploy_failed") == 3


def test_variables_and_secrets(platform, tmp_path):
    source = "import os\n\ndef predict(name: str) -> str:\n    return os.environ.get(name, '')\n"
    model = write_model(tmp_path / "m", {"model.py": source, "decalog.toml": '[env]\nLEVEL = "1"\n[records]\nredact = { output = "drop" }\n'})
    platform.run("deploy", model)
    read = lambda name: platform.predict("m", {"name": name}).json()["output"]
    assert read("LEVEL") == "1"
    secret = "correct-horse-battery-staple"
    with Load(platform, "m", {"name": "LEVEL"}) as load:
        platform.run("env", "set", "LEVEL=2", "--model", "m")
        platform.run("env", "set", "TOKEN", "--secret", stdin=secret)
        wait_for(lambda: read("TOKEN") == secret and read("LEVEL") == "2", "the new variables")
    assert not [answer for answer in load.answers if answer[0] != 200]
    listed = platform.run("env", "ls", "--model", "m", "--json")
    assert secret not in listed.out and "TOKEN" in listed.out
    platform.stop()
    for path, content in stored_files(platform.data):
        assert secret.encode() not in content, path
    assert (platform.data / "keys").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (platform.data / "keys").iterdir())
    assert platform.data.stat().st_mode & 0o777 == 0o700
    platform.start()
    assert read("TOKEN") == secret
    platform.run("env", "unset", "TOKEN")
    wait_for(lambda: read("TOKEN") == "", "the secret is gone")


#: A model that cannot be forked, so that each replica loads by itself; with new variables it waits for a ticket first.
SLOW_TO_CHANGE = """
import os
import threading
import time

LEVEL = os.environ.get("LEVEL", "old")
threading.Thread(target=threading.Event().wait, daemon=True).start()


def takes_ticket():
    for ticket in os.listdir({tickets!r}):
        try:
            os.unlink(os.path.join({tickets!r}, ticket))
            return True
        except FileNotFoundError:
            pass
    return False


while LEVEL == "new" and not takes_ticket():
    time.sleep(0.02)


def predict(x: int) -> dict:
    time.sleep(0.2)
    return {{"level": LEVEL, "pid": os.getpid()}}
"""


@pytest.mark.outside
def test_new_variables_are_rolled_out_without_a_dip(platform, tmp_path):
    tickets = tmp_path / "tickets"
    tickets.mkdir()
    manifest = "[scale]\nmin = 3\nmax = 3\n[batch]\nrows_max = 1\n"
    model = write_model(tmp_path / "m", {"model.py": SLOW_TO_CHANGE.format(tickets=str(tickets)), "decalog.toml": manifest})
    platform.run("deploy", model)
    ready = lambda: [r["state"] for r in platform.run("show", "m", "--json").json()["replicas"]].count("ready")

    def at_once():
        """What three callers at the same time are answered."""
        with ThreadPoolExecutor(3) as callers:
            answers = list(callers.map(lambda _: platform.predict("m", {"x": 1}), range(3)))
        assert all(answer.status == 200 for answer in answers), answers
        outputs = [answer.json() for answer in answers]
        outputs = [output.get("output", output) for output in outputs]
        return {output["level"] for output in outputs}, len({output["pid"] for output in outputs})

    wait_for(lambda: ready() == 3, "three replicas")
    (tickets / "first").touch()
    platform.run("env", "set", "LEVEL=new", "--model", "m")
    wait_for(lambda: ready() == 4, "the first replica with the new variables")
    assert [at_once() for _ in range(8)] == [({"old"}, 3)] * 8, "those with the old ones serve on"
    (tickets / "second").touch()
    (tickets / "third").touch()
    seen = wait_for(lambda: (levels := at_once()) and "new" in levels[0] and levels, "the new variables are in force")
    assert seen[1] == 3 and at_once() == ({"new"}, 3), "by as many replicas at once"
    wait_for(lambda: ready() == 3, "those with the old ones are gone")


def test_from_python_to_r_is_a_release(platform, tmp_path):
    import shutil

    shutil.copytree(ROOT / "examples/linear-python", tmp_path / "python")
    shutil.copytree(ROOT / "examples/linear-r", tmp_path / "r")
    platform.run("deploy", tmp_path / "python", "--name", "linear")
    case = json.loads(next(iter(sorted((tmp_path / "r/tests").glob("*.json")))).read_text())
    before = platform.predict("linear", case["input"]).json()
    with Load(platform, "linear", case["input"]) as load:
        platform.run("deploy", tmp_path / "r", "--name", "linear")
    assert not [answer for answer in load.answers if answer[0] != 200]
    assert {version for _, version, _ in load.answers} == {"v1", "v2"}
    for _, _, body in load.answers:
        answer = json.loads(body)
        assert answer.keys() == before.keys()
        for name, value in before.items():
            assert abs(answer[name] - value) < 1e-9


def test_the_ledger_names_a_bad_entry(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    good = platform.run("ledger", "verify", "--json").json()
    platform.run("ledger", "verify", "--head", good["head"])
    platform.stop()
    assert platform.run("ledger", "verify", "--data", platform.data, "--json").json()["entries"] >= good["entries"]
    with sqlite3.connect(platform.data / "ledger.sqlite") as connection:
        table = next(name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
                     if "seq" in [row[1] for row in connection.execute(f"pragma table_info({name})")] and "hash" in
                     [row[1] for row in connection.execute(f"pragma table_info({name})")])
        connection.execute(f"update {table} set actor = 'mallory' where seq = 2")
    bad = platform.run("ledger", "verify", "--data", platform.data, ok=False)
    assert bad.code == 1 and "2" in bad.err, bad


def refused(platform, *arguments):
    """Starts a platform that must not start; what it says."""
    command = [platform.binary, "up", "--data", platform.data, "--listen", "127.0.0.1:0", *arguments]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended
    return ended.stderr


def test_a_ledger_that_is_gone_or_cut_off_is_not_begun_anew(fresh, tmp_path):
    platform = fresh().start()
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    platform.stop()
    ledger, marker = platform.data / "ledger.sqlite", platform.data / "ledger.head"

    def change(sql):
        # The last connection that closes leaves one file.
        with contextlib.closing(sqlite3.connect(ledger)) as connection:
            connection.execute(sql)
            connection.commit()

    change("pragma user_version = 1")
    whole, head = ledger.read_bytes(), marker.read_bytes()
    ledger.unlink()
    assert "is not in it" in refused(platform)
    marker.unlink()
    missing = refused(platform)
    assert "there is no ledger" in missing and "--accept-damaged-ledger" in missing, missing
    ledger.write_bytes(whole)
    marker.write_bytes(head)
    for left in platform.data.glob("ledger.sqlite-*"):
        left.unlink()
    change("delete from entries where seq > 4")
    assert "it was cut off or replaced" in refused(platform)
    change("update entries set actor = 'mallory' where seq = 3")
    assert "entry 3" in refused(platform)
    verified = platform.run("ledger", "verify", "--data", platform.data, ok=False)
    assert verified.code == 1 and "3" in verified.err, verified
    # Somebody says by name that it is to be used as it is.
    platform.arguments.append("--accept-damaged-ledger")
    platform.start()
    assert platform.run("ls", "--json").json()["models"][0]["name"] == "m"


def test_a_changed_snapshot_changes_nothing_that_is_served(fresh, tmp_path):
    platform = fresh().start()
    for value in (1, 2):
        platform.run("deploy", write_model(tmp_path / "m", constant(value)))
    platform.stop()
    # Another start keeps what the entries give.
    platform.start()
    snapshot = next(file for file in platform.data.glob("ledger.fold*") if "-" not in file.name)

    def kept():
        with contextlib.closing(sqlite3.connect(snapshot)) as connection:
            rows = connection.execute("select body from parts where key = 'model default/m'").fetchall()
        return rows and b'"version":2' in rows[0][0]

    wait_for(kept, "a snapshot of the model")
    platform.stop()
    with contextlib.closing(sqlite3.connect(snapshot)) as connection:
        (body,) = connection.execute("select body from parts where key = 'model default/m'").fetchone()
        state = json.loads(body)
        state["live"]["production"]["version"] = 1
        connection.execute("update parts set body = ? where key = 'model default/m'", (json.dumps(state).encode(),))
        connection.commit()
    found = platform.run("ledger", "verify", "--data", platform.data, ok=False)
    assert found.code == 1 and "snapshot" in found.err, found
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 2}
    wait_for(lambda: platform.run("ledger", "verify", ok=False).code == 0, "the snapshot is made again")


def test_backup_restore_and_gc(platform, fresh, tmp_path):
    model = write_model(tmp_path / "m", constant(7))
    platform.run("deploy", model)
    file = tmp_path / "backup.tar"
    platform.run("backup", file)
    other = fresh("other")
    platform.run("restore", file, "--data", other.data)
    other.start()
    wait_for(lambda: other.predict("m", {"x": 0}).status == 200, "the restored model")
    assert other.predict("m", {"x": 0}).json() == {"output": 7}
    other.run("gc", "--json")
    assert other.predict("m", {"x": 0}).json() == {"output": 7}
    refused = platform.run("restore", file, "--data", other.data, ok=False)
    assert refused.code != 0 and "empty" in refused.err, refused
