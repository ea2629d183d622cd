"""Detectors in the real server: requests that become slow, that fail, and values that change."""

import threading
import time

import pytest
from conftest import LONG, constant, wait_for, write_model

#: Takes 10 ms, and while a file is there, as long as it is there: a dependency that hangs.
HANGS = """
import os, time

def predict(x: float) -> float:
    time.sleep(0.01)
    while os.path.exists({flag!r}):
        time.sleep(0.05)
    return x
"""

FAILS = """
import os

def predict(x: float) -> float:
    if os.path.exists({flag!r}):
        raise ValueError("the table is gone")
    return x
"""


def alarms(platform, *more):
    """Without what is said of the disk here."""
    listed = platform.run("alarms", "--json", *more).json()
    return [alarm for alarm in listed["open"] + listed["resolved"] if alarm["kind"] != "disk"]


def of_kind(platform, kind, *more):
    return [alarm for alarm in alarms(platform, *more) if alarm["kind"] == kind]


class Callers:
    """Callers that ask again and again, one request at a time each."""

    def __init__(self, platform, model, row, count=4):
        self.answers, self.over = [], threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(platform, model, row)) for _ in range(count)]
        [thread.start() for thread in self.threads]

    def ask(self, platform, model, row):
        while not self.over.is_set():
            self.answers.append(platform.predict(model, row).status)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        [thread.join() for thread in self.threads]


@pytest.mark.outside
def test_from_10_ms_to_52_s_is_told_within_a_minute_and_over_within_two(platform, tmp_path):
    flag = tmp_path / "hangs"
    manifest = "[model]\ndeadline_ms = 120000\npredict_ms_max = 120000\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": HANGS.format(flag=str(flag)), "decalog.toml": manifest}))
    with Callers(platform, "m", {"x": 1}) as callers:
        wait_for(lambda: len(callers.answers) > 600, "enough is known of what is usual")
        # Two more looks, so that it is.
        time.sleep(11)
        assert alarms(platform) == []
        flag.touch()
        begin = time.monotonic()
        (alarm,) = wait_for(lambda: of_kind(platform, "latency"), "an alarm", 60)
        print(f"told after {time.monotonic() - begin:.0f} s")
        assert "longer than" in alarm["what"] and alarm["severity"] == "alert", alarm
        time.sleep(max(0, 52 - (time.monotonic() - begin)))
        flag.unlink()
        begin = time.monotonic()
        wait_for(lambda: not of_kind(platform, "latency"), "it is over", 120)
        print(f"over after {time.monotonic() - begin:.0f} s")
    assert set(callers.answers) == {200}
    # It opened and resolved once.
    (resolved,) = of_kind(platform, "latency", "--all")
    assert resolved["id"] == alarm["id"] and resolved["status"] == "resolved" and resolved["flaps"] == 0, resolved


@pytest.mark.outside
def test_a_model_that_fails_is_told_and_survives_a_kill(platform, tmp_path):
    flag = tmp_path / "fails"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": FAILS.format(flag=str(flag))}))
    with Callers(platform, "m", {"x": 1}, 1) as callers:
        wait_for(lambda: len(callers.answers) > 300, "requests")
        flag.touch()
        (alarm,) = wait_for(lambda: of_kind(platform, "errors"), "an alarm", 60)
        assert "of requests fail" in alarm["what"] and alarm["version"] == 1, alarm
    platform.kill()
    platform.start()
    (still,) = of_kind(platform, "errors")
    assert still["id"] == alarm["id"] and still["opened_at_ms"] == alarm["opened_at_ms"]


def test_what_records_do_not_have_is_not_compared(platform, tmp_path):
    rows = "".join(f"{20 + n % 50},{n}\n" for n in range(2_000))
    manifest = '[data]\nreference = "../train.csv"\n[records]\nkey = "customer"\nredact = { salary = "hmac" }\n'
    (tmp_path / "train.csv").write_text("age,customer\n" + rows)
    model = "def predict(age: int, customer: int, salary: int = 1) -> int:\n    return age\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": model, "decalog.toml": manifest}))
    platform.predict("m", {"age": 30, "customer": 7})

    def columns():
        drift = platform.run("drift", "m", "--json", ok=False)
        return drift.code == 0 and [series["column"] for series in drift.json()["series"]]

    assert wait_for(columns, "the reference is known") == ["age"]
    # Nor is the key in what is kept of columns.
    metrics = wait_for(lambda: platform.run("metrics", "m", "--json").json()["columns"], "metrics")
    assert {column["column"] for column in metrics} == {"age", "salary", "output"}, metrics
