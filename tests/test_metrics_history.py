"""What columns and requests were like is kept by minute, hour and day, and outlives the server."""

import json
import time

from conftest import constant, wait_for, write_model

MODEL = """
from typing import Literal

def predict(age: int, city: Literal["Utrecht"] | None = None) -> dict[str, float]:
    if age == 13:
        raise ValueError("no thirteen")
    return {"leave": age / 100}
"""
KEPT = ("--records-per-s", "1000000")


def metrics(platform, model="churn", **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    answer = platform.get(f"/v1/projects/default/models/{model}/metrics?{text}")
    assert answer.status == 200, answer.body
    return answer.json()


def column(view, name, version="v1"):
    found = [row for row in view["columns"] if (row["column"], row["version"]) == (name, version)]
    return found[0] if found else {"count": 0}


def count(platform, name="age", **query):
    return sum(row["count"] for row in metrics(platform, **query)["columns"] if row["column"] == name)


def send(platform, ages, model="churn"):
    rows = [{"age": age, "city": None if age % 2 else "Utrecht"} for age in ages]
    assert platform.predict(model, {"rows": rows}).status == 200


def test_columns_and_requests_are_told_by_version_and_time(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    for begin in range(100, 600, 50):
        send(platform, range(begin, begin + 50))
    assert platform.predict("churn", {"age": 13}).status == 500
    wait_for(lambda: count(platform, by="all") == 500, "all rows are counted")
    view = metrics(platform, by="all")
    age, city, leave = (column(view, name) for name in ("age", "city", "leave"))
    assert (age["count"], age["missing"], age["min"], age["max"]) == (500, 0, 100, 599)
    assert abs(age["mean"] - 349.5) < 1e-6 and abs(age["p50"] - 349) < 15 and abs(age["p5"] - 125) < 15
    assert abs(age["distinct"] - 500) < 40 and age["kind"] == "integer" and age["direction"] == "in"
    assert (city["missing"], city["top"]) == (250, [{"value": "Utrecht", "count": 250}])
    assert leave["direction"] == "out" and abs(leave["p95"] - 5.74) < 0.2
    [requests] = view["requests"]
    assert (requests["count"], requests["failed"], requests["rows"]) == (11, 1, 500)
    assert requests["errors"] == {"model_raised": 1} and requests["p99_ms"] > 0
    # Another version has its own; by minute, hour and day the same rows are there.
    (tmp_path / "churn/model.py").write_text(MODEL.replace("100", "200"))
    platform.run("deploy", tmp_path / "churn")
    send(platform, range(100, 150))
    wait_for(lambda: column(metrics(platform, by="all"), "age", "v2")["count"] == 50, "the second version is there")
    for by in ("minute", "hour", "day", "all"):
        assert count(platform, by=by) == 550
        assert count(platform, by=by, version="v2") == 50
        assert count(platform, by=by, environment="staging") == 0
    assert count(platform, by="minute", to_ms=1, from_ms=0) == 0
    assert {row["column"] for row in metrics(platform, column="age")["columns"]} == {"age"}


def test_nothing_is_counted_twice_over_restarts_and_little_is_lost(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    sent = 0
    for _ in range(3):
        send(platform, range(100, 140))
        sent += 40
        # Once a snapshot has it, the process may be killed.
        wait_for(lambda sent=sent: count(platform, by="all") == sent, "the rows are in a snapshot")
        platform.kill()
        platform.start()
        assert count(platform, by="all") == sent
    send(platform, range(100, 140))
    assert platform.stop() == 0
    platform.start()
    assert count(platform, by="all") == sent + 40
    for by in ("minute", "hour", "day"):
        assert count(platform, by=by) == sent + 40
    # A file that is none is begun anew, and the models answer.
    assert platform.stop() == 0
    for end in ("-wal", "-shm"):
        (platform.data / f"metrics.sqlite{end}").unlink(missing_ok=True)
    (platform.data / "metrics.sqlite").write_bytes(b"no database " * 1000)
    platform.start()
    assert count(platform, by="all") == 0
    send(platform, range(100, 140))
    wait_for(lambda: count(platform, by="all") == 40, "it is counted again")


def test_a_takeover_loses_and_repeats_nothing(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    for _ in range(3):
        send(platform, range(100, 140))
        platform.takeover()
    send(platform, range(100, 140))
    wait_for(lambda: count(platform, by="all") == 160, "all four parts are there")
    time.sleep(1.5)
    assert count(platform, by="all") == 160


def test_the_verb_shows_a_table_that_fits(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    assert "nothing in the last 1d" in platform.run("metrics", "churn", "--since", "1d").out
    send(platform, range(100, 150))
    wait_for(lambda: count(platform, by="all") == 50, "the rows are counted")
    table = platform.run("metrics", "churn").out
    assert "in.age" in table and "out.leave" in table and "REQUESTS" in table and "Utrecht" in table
    one = platform.run("metrics", "churn", "--column", "age", "--since", "2h").out
    assert "in.age" in one and "out.leave" not in one and "REQUESTS" not in one
    narrow = platform.run("metrics", "churn", env={"COLUMNS": "80"}).out
    assert narrow
    view = json.loads(platform.run("metrics", "churn", "--json").out)
    assert column(view, "age")["count"] == 50
    assert "no model" in platform.run("metrics", "nothing", ok=False).err
    assert platform.run("metrics", "churn", "--since", "soon", ok=False).code != 0


def test_bad_questions_are_refused(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "one", constant(1)))
    path = "/v1/projects/default/models/one/metrics"
    for query in ("from_ms=5&to_ms=5", "from_ms=-1", "by=week", "version=x", "environment=%00", "from_ms=99999999999999999999"):
        assert platform.get(f"{path}?{query}").status in (400, 422), query
    for query in ("from_ms=0&to_ms=18446744073709551615&by=minute", "column=%00%FF", "column=" + "x" * 5000, "version=v4294967295"):
        answer = platform.get(f"{path}?{query}")
        assert answer.status in (200, 400), (query, answer.body)
    assert platform.get("/v1/projects/default/models/none/metrics").status == 404
