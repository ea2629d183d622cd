"""Each request of a model leaves a record: in memory that outlives the server, then on disk, then as Parquet that other programs read."""

import http.client
import io
import json
import random
import signal
import socket
import sqlite3
import struct
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet

from conftest import Platform, wait_for, write_model
from stopped import DRAIN, Stopped

MODEL = """
import time

def predict(age: int, city: str | None = None) -> dict[str, float]:
    if age == 13:
        raise ValueError("no thirteen")
    if age == 14:
        time.sleep(3)
    return {"leave": age / 100}
"""
STREAM = """
def predict(n: int):
    for part in range(n):
        if part == 3:
            raise ValueError("three is too many")
        yield {"part": part}
"""
ALL = ("--records-per-s", "1000000")


def catalogue(platform, table):
    path = platform.data / "records/catalogue.sqlite"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return [json.loads(body) for (body,) in connection.execute(f"SELECT body FROM {table}")]


def segments(platform):
    return list((platform.data / "records").glob("*.segment"))


def restart(platform):
    """What is on the way to Parquet becomes it when the server starts."""
    if platform.process.poll() is None:
        assert platform.stop() == 0
    platform.start()
    wait_for(lambda: not segments(platform), "all segments are Parquet")


def rows(platform):
    """All rows of all files, as a program of others reads them."""
    found = []
    for file in catalogue(platform, "files"):
        content = (platform.data / "artifacts/records" / file["path"]).read_bytes()
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        assert table.num_rows == file["rows"]
        ids = table.column("id").to_pylist()
        assert ids == sorted(ids) and ids[0] == file["first_id"] and ids[-1] == file["last_id"]
        found += table.to_pylist()
    return found


def by_id(platform):
    found = {}
    for row in rows(platform):
        found.setdefault(row["id"], []).append(row)
    return found


def test_a_record_says_who_asked_what_and_what_came_of_it(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    platform.run("deploy", write_model(tmp_path / "parts", {"model.py": STREAM}))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    asked = {"decalog-key": "customer=42", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}

    def ask(model, body, headers=None):
        answer = platform.predict(model, body, headers)
        return answer.status, answer.headers["decalog-request-id"]

    whole = ask("churn", {"rows": [{"age": 40, "city": "Delft"}, {"age": 41}]}, asked)
    named = ask("churn@production@v1", {"age": 7})
    raised = ask("churn", {"age": 13})
    refused = ask("churn", {"age": "x"})
    large = ask("churn", {"age": 1, "city": "x" * 200_000})
    cut = ask("parts", {"n": 5})
    streamed = ask("parts", {"n": 2})
    connection = http.client.HTTPConnection(urlsplit(platform.url).netloc)
    connection.request("POST", "/v1/models/churn/predict", json.dumps({"age": 14}), {"decalog-key": "gone"})
    wait_for(lambda: platform.run("status", "--json").json() is not None, "the server goes on")
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    restart(platform)

    found = by_id(platform)
    first, second = found[whole[1]]
    assert uuid.UUID(first["id"]).version == 7
    assert (first["row"], second["row"], first["rows"]) == (0, 1, 2)
    assert (first["in.age"], first["in.city"], first["out.leave"]) == (40, "Delft", 0.4)
    assert (second["in.age"], second["in.city"], second["out.leave"]) == (41, None, 0.41)
    assert (first["status"], first["code"], first["payload"], first["weight"]) == (200, None, "whole", 1.0)
    assert (first["model"], first["environment"], first["version"], first["reference"]) == ("churn", "production", "v1", "churn")
    assert (first["key"], first["trace"]) == ("customer=42", trace)
    assert first["replica"].startswith("r") and first["batch_rows"] == 2 and first["batch_offset"] == 0
    assert first["total_us"] >= first["worker_us"] + first["queue_us"] > 0
    assert len(first["digest"]) == 64 and first["epoch"] > 0
    assert found[named[1]][0]["reference"] == "churn@production@v1" and found[named[1]][0]["key"] is None
    (row,) = found[raised[1]]
    assert (row["status"], row["code"], row["in.age"], row["out.leave"]) == (500, "model_raised", 13, None)
    assert "thirteen" in row["error"]
    (row,) = found[refused[1]]
    assert (refused[0], row["status"], row["code"], row["payload"], row["rows"]) == (422, 422, "schema_mismatch", "none", 0)
    (row,) = found[large[1]]
    assert (row["payload"], row["rows"], row["in.age"]) == ("large", 1, None)
    (row,) = found[cut[1]]
    assert (row["status"], row["code"], row["in.n"]) == (500, "model_raised", 5), row
    assert found[streamed[1]][0]["status"] == 200
    (row,) = [row for each in found.values() for row in each if row["key"] == "gone"]
    assert (row["status"], row["code"], row["model"]) == (499, "abandoned", "churn")
    assert catalogue(platform, "gaps") == []


def anonymous_mb(platform):
    """Memory of the serving process that is in no file."""
    status = Path(f"/proc/{platform.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


class Load:
    """Callers that ask one request after the other until they are stopped or cut off; keeps the id of each answer."""

    def __init__(self, platform, callers=8):
        self.ids, self.over = [[] for _ in range(callers)], False
        address = urlsplit(platform.url).netloc
        self.threads = [threading.Thread(target=self.ask, args=(address, ids)) for ids in self.ids]
        for thread in self.threads:
            thread.start()

    def ask(self, address, ids):
        try:
            connection = http.client.HTTPConnection(address, timeout=30)
            while not self.over:
                connection.request("POST", "/v1/models/churn/predict", b'{"age": 40, "city": "Delft"}')
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    ids.append(answer.headers["decalog-request-id"])
        except (OSError, http.client.HTTPException):
            pass

    def count(self):
        return sum(map(len, self.ids))

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join(60)
        return [one for ids in self.ids for one in ids]


def test_every_answer_has_its_record_however_often_the_server_is_killed(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    answered, seed = [], random.Random(7)
    for _ in range(10):
        load = Load(platform)
        wanted = seed.randrange(100, 1_500)
        wait_for(lambda: load.count() > wanted, "answers")
        platform.kill()
        answered += load.end()
        platform.start()
    wait_for(lambda: len(segments(platform)) <= 1, "what was left is Parquet")
    restart(platform)
    found = by_id(platform)
    missing = [one for one in answered if one not in found]
    counted = sum(gap["records"] for gap in catalogue(platform, "gaps"))
    assert len(set(answered)) == len(answered) > 5_000
    assert len(missing) <= counted, f"{len(missing)} of {len(answered)} are in no record, {counted} in gaps"
    assert all(len(each) == 1 for each in found.values()), "none is there twice"


def test_requests_go_on_when_nothing_takes_records_out_of_memory_and_the_loss_is_told(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "long", {"model.py": "def predict(text: str) -> int:\n    return len(text)\n"}))
    body, ids = {"text": "é" * 10_000}, []

    def ask(_):
        answer = platform.predict("long", body)
        assert answer.status == 200
        return answer.headers["decalog-request-id"]

    def lost():
        listed = platform.run("alarms", "--all", "--json").json()
        return [alarm for alarm in listed["open"] + listed["resolved"] if alarm["kind"] == "records_lost"]

    with ThreadPoolExecutor(8) as callers:
        ids += callers.map(ask, range(100))
        before = anonymous_mb(platform)
        with Stopped(platform.process.pid, DRAIN):
            # More than there is room for: 16 MiB.
            ids += callers.map(ask, range(2_000))
            assert anonymous_mb(platform) < before + 40
            (alarm,) = wait_for(lost, "an alarm")
    assert "model" not in alarm and alarm["severity"] == "warning", alarm
    assert "the platform" in platform.run("alarms").out
    wait_for(lambda: lost()[0]["status"] == "resolved", "its end")
    restart(platform)
    found, gaps = by_id(platform), catalogue(platform, "gaps")
    missing = [one for one in ids if one not in found]
    assert len(missing) <= sum(gap["records"] for gap in gaps)
    assert sum(gap["values"] for gap in gaps) + len(missing) > 200, "memory was full"


def test_of_many_requests_some_are_kept_that_stand_for_all(fresh, tmp_path):
    platform = fresh(arguments=("--records-per-s", "50")).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    load = Load(platform)
    wait_for(lambda: load.count() > 5_000, "answers")
    answered = load.end()
    for _ in range(5):
        assert platform.predict("churn", {"age": 13}).status == 500
    restart(platform)
    kept = rows(platform)
    good = [row for row in kept if row["status"] == 200]
    assert len([row for row in kept if row["status"] == 500]) == 5, "all errors are kept"
    assert 0 < len(good) < len(answered) / 2
    assert 0.6 < sum(row["weight"] for row in good) / len(answered) < 1.6


def test_a_server_that_is_replaced_loses_no_record(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    load = Load(platform, callers=2)
    wait_for(lambda: load.count() > 200, "answers")
    platform.takeover()
    answered = load.end()
    later = Load(platform, callers=2)
    wait_for(lambda: later.count() > 200, "answers of the next")
    answered += later.end()
    restart(platform)
    found = by_id(platform)
    assert [one for one in answered if one not in found] == []


def test_without_records_nothing_is_kept(fresh, tmp_path):
    platform = fresh(arguments=("--records-per-s", "0")).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    assert platform.predict("churn", {"age": 40}).status == 200
    assert not (platform.data / "records").exists()


def test_records_are_kept_unless_told_otherwise(fresh, tmp_path):
    platform = fresh().start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    answer = platform.predict("churn", {"age": 40})
    restart(platform)
    assert list(by_id(platform)) == [answer.headers["decalog-request-id"]]
