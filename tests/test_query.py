"""Records are read again: by verbs, over HTTP and in SQL, by whoever may."""

import http.client
import io
import json
import threading
import time
from urllib.parse import urlsplit

import pandas
import pyarrow.parquet
import pytest

from conftest import ALL_SCOPES, Platform, wait_for, write_model

CHURN = """
def predict(age: int, city: str | None = None) -> dict[str, float]:
    if age == 13:
        raise ValueError("no thirteen \\x1b[31m")
    return {"leave": age / 100}
"""
SECOND = """
def predict(age: float, city: str | None = None, income: int = 0) -> dict[str, float]:
    return {"leave": age / 100 + income}
"""
OTHER = "def predict(city: int) -> dict[str, str]:\n    return {'leave': str(city)}\n"
ALL = ("--records-per-s", "1000000")
RECORDS = "/v1/projects/fraud/models/churn/records"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A platform with some records of two models in two projects."""
    home = tmp_path_factory.mktemp("kept")
    platform = Platform(home / "data", arguments=ALL).start()
    platform.run("deploy", write_model(home / "churn", {"model.py": CHURN}), "--project", "fraud")
    platform.run("deploy", write_model(home / "churn2", {"model.py": OTHER}), "--name", "price", "--project", "other")
    ids = []
    for age in range(40):
        answer = platform.predict("fraud/churn", {"age": age, "city": ["Delft", "Utrecht"][age % 2]}, {"decalog-key": f"customer={age}"})
        ids.append(answer.headers["decalog-request-id"])
    platform.predict("other/price", {"city": 7})
    platform.run("deploy", write_model(home / "churn", {"model.py": SECOND}), "--project", "fraud", "--breaking")
    for age in range(40, 60):
        ids.append(platform.predict("fraud/churn", {"age": age + 0.5, "city": "Delft", "income": age}).headers["decalog-request-id"])
    yield platform, ids
    platform.stop()


def sql(platform, text, format="json", headers=None):
    return platform.request("POST", "/v1/sql", {"sql": text, "format": format}, headers)


def test_a_record_is_read_as_soon_as_it_was_answered(kept):
    platform, _ = kept
    for _ in range(3):
        answer = platform.predict("fraud/churn", {"age": 1, "city": "Utrecht", "income": 5}, {"decalog-key": "now"})
        request = answer.headers["decalog-request-id"]
        (row,) = platform.run("records", "fraud/churn", "--id", request, "--json").json()
        assert (row["id"], row["in.city"], row["out.leave"], row["key"]) == (request, "Utrecht", 5.01, "now")


def test_sql_reads_all_versions_of_a_model(kept):
    platform, ids = kept
    text = "select city, count(*) n, avg(leave) mean from records where model = 'churn' and status = 200 and key != 'now' group by city order by city"
    found = platform.run("sql", text, "--json").json()
    ages = [age for age in range(40) if age != 13]
    utrecht = [age / 100 for age in ages if age % 2]
    assert [row["city"] for row in found] == ["Delft", "Utrecht"]
    assert found[1]["n"] == len(utrecht) and found[1]["mean"] == pytest.approx(sum(utrecht) / len(utrecht))
    # What the first version does not have is null there; what has two types is of the wider one.
    found = sql(platform, "select version, min(in.age) a, count(income) n from records where model = 'churn' and key is null group by version order by 1").json()
    assert found == [{"version": "v2", "a": 40.5, "n": 20}]
    found = sql(platform, "select count(*) n, count(income) i, max(age) a from records where model = 'churn' and version = 'v1'").json()
    assert found == [{"n": 40, "i": 0, "a": 39.0}]
    assert sql(platform, f"select age from records where id = '{ids[7]}'").json() == [{"age": 7.0}]
    assert sql(platform, "select sum(records) n from gaps").json() == [{"n": None}]
    names = [row["column_name"] for row in sql(platform, "describe records").json()]
    assert "in.city" in names and "out.leave" in names
    table = platform.run("sql", "select model, count(*) n from records group by model order by model").out.splitlines()
    assert table[0].split() == ["model", "n"] and table[1].split()[0] == "churn" and table[2].split() == ["price", "1"]


def test_records_of_a_model_are_a_table_of_the_newest(kept):
    platform, ids = kept
    shown = platform.run("records", "fraud/churn", "-n", "3", env={"COLUMNS": "80"})
    lines = shown.out.splitlines()
    assert lines[0].split() == ["TIME", "ID", "VERSION", "STATUS", "MS", "INPUTS", "→", "OUTPUTS"] and len(lines) == 4
    lines = platform.run("records", "fraud/churn", "--where", "status != 200").out.splitlines()
    (line,) = lines[1:]
    assert ids[13][:13] in line and "500" in line and "age=13.0 city=Utrecht → model_raised" in line
    assert "\x1b" not in line
    assert len(platform.run("records", "fraud/churn").out.splitlines()) == 21
    rows = platform.run("records", "fraud/churn", "--json", "--key", "customer=3").json()
    assert [row["id"] for row in rows] == [ids[3]]
    rows = platform.run("records", "fraud/churn", "--json", "--where", "in.city = 'Delft' and version = 'v2'").json()
    assert [row["id"] for row in rows] == ids[:39:-1]
    assert platform.run("records", "fraud/churn", "--json", "--until", "2020-01-01").json() == []
    assert len(platform.run("records", "fraud/churn", "--json", "--since", "1h", "-n", "7").json()) == 7
    none = platform.run("records", "fraud/churn", "--until", "30d")
    assert none.out == "" and "no records" in none.err
    bad = platform.run("records", "fraud/churn", "--where", "citty = 1", ok=False)
    assert bad.code == 1 and "no column `citty`" in bad.err and "did you mean" in bad.err
    bad = platform.run("records", "fraud/churn", "--since", "yesterday", ok=False)
    assert "`yesterday` is no time" in bad.err
    assert "no model `chur`" in platform.run("records", "fraud/chur", ok=False).err


def test_other_tools_read_what_is_written(kept, tmp_path):
    platform, ids = kept
    file = tmp_path / "churn.parquet"
    said = platform.run("records", "fraud/churn", "--parquet", str(file))
    assert said.out == "" and "churn.parquet" in said.err
    frame = pandas.read_parquet(file)
    assert set(ids) <= set(frame["id"]) and frame["in.age"].dtype == float
    assert list(frame["id"]) == sorted(frame["id"], reverse=True)
    frame = frame[frame["status"] == 200].sort_values("id")
    assert (abs(frame["out.leave"] - frame["in.age"] / 100 - frame["in.income"].fillna(0)) < 1e-9).all()
    platform.run("sql", "select id, time, city from records where model = 'churn' order by id", "--parquet", str(file))
    table = pyarrow.parquet.read_table(file)
    assert table.column_names == ["id", "time", "city"] and table.column("id").to_pylist()[:40] == ids[:40]
    csv = platform.run("sql", "select id, age, city from records where model = 'churn' and version = 'v1' order by id", "--csv").out
    frame = pandas.read_csv(io.StringIO(csv))
    assert list(frame["id"]) == ids[:40] and list(frame["age"]) == list(range(40))
    missing = platform.run("sql", "select 1", "--parquet", str(tmp_path / "no/where.parquet"), ok=False)
    assert "cannot be written" in missing.err
    assert [path.name for path in tmp_path.iterdir()] == ["churn.parquet"]


def test_only_who_may_read_payloads_reads_them(kept):
    platform, _ = kept

    def caller(name, role, place, scopes):
        answer = platform.request("POST", "/v1/members", {"name": name, "role": role, "in": place, "kind": None})
        assert answer.status == 200, answer.body
        made = platform.request("POST", "/v1/tokens", {"owner": name, "scopes": scopes})
        assert made.status == 200, made.body
        return {"Authorization": f"Bearer {made.json()['secret']}"}

    ours = caller("ann", "deployer", "fraud", ["records"])
    theirs = caller("bob", "deployer", "other", ALL_SCOPES)
    for headers, models in ((ours, ["churn"]), (theirs, ["price"])):
        found = sql(platform, "select distinct model from records order by 1", headers=headers).json()
        assert [row["model"] for row in found] == models
    assert platform.request("GET", RECORDS + "?limit=1", headers=ours).json()[0]["model"] == "churn"
    hidden = platform.request("GET", RECORDS, headers=theirs)
    missing = platform.request("GET", RECORDS.replace("churn", "nothing"), headers=theirs)
    assert hidden.status == missing.status == 404
    assert hidden.body.replace(b"churn", b"nothing") == missing.body
    # Neither rows nor the names of columns, nor files in a plan.
    problem = sql(platform, "select in.age from records", headers=theirs).json()
    assert problem["code"] == "bad_query" and "income" not in json.dumps(problem)
    plan = sql(platform, "explain select id from records", headers=theirs)
    assert plan.status == 200 and b"churn" not in plan.body
    for headers in (
        caller("vic", "viewer", "fraud", ALL_SCOPES),
        caller("oli", "operator", "fraud", ALL_SCOPES),
        caller("dan", "deployer", "fraud", ["read", "deploy", "predict"]),
    ):
        assert platform.request("GET", RECORDS, headers=headers).status == 403
        assert sql(platform, "select 1", headers=headers).status == 403
    said = platform.run("can", "vic", "records", "fraud/churn@production", ok=False)
    assert "deployer" in said.out + said.err


HOSTILE = [
    ("select " + "(" * 10_000 + "1" + ")" * 10_000, "query_limit"),
    ("select " + "+".join(["1"] * 20_000), "query_limit"),
    ("select 1 " + "union all select 1 " * 3_000, "query_limit"),
    ("select count(*) from records where id in (" + ",".join(["'x'"] * 30_000) + ")", "query_limit"),
    ("select " + "x" * 70_000, "query_limit"),
    ("with recursive t as (select 1 n union all select n + 1 from t) select count(*) from t", None),
    ("select count(*) from generate_series(1, 10000000000)", "bad_query"),
    ("select repeat('x', 2000000000)", "bad_query"),
    ("select regexp_like(id, '((a{100}){100}){100}') from records", "bad_query"),
    ("select 1 / 0", "bad_query"),
    ("select * from '/etc/passwd'", "bad_query"),
    ("copy records to '/tmp/stolen.csv'", "bad_query"),
    ("create external table t stored as csv location '/etc/passwd'", "bad_query"),
    ("drop table records", "bad_query"),
    ("set datafusion.execution.target_partitions = 1000", "bad_query"),
    ("", "bad_query"),
]


def test_a_query_that_would_take_the_machine_ends_and_models_answer_meanwhile(kept):
    platform, _ = kept
    slow, ended = [], threading.Event()

    def ask():
        while not ended.is_set():
            begun = time.monotonic()
            assert platform.predict("fraud/churn", {"age": 1}).status == 200
            slow.append(time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for text, code in HOSTILE:
            answer = sql(platform, text)
            problem = answer.json()
            assert answer.status in (400, 422), (text[:60], answer.status)
            assert code is None or problem["code"] == code, (text[:60], problem)
            assert problem["help"] and len(problem["error"]) < 500
        assert sql(platform, "select 1 as one").json() == [{"one": 1}]
    finally:
        ended.set()
        asking.join()
    slow.sort()
    assert len(slow) > 10 and slow[len(slow) // 2] < 1, slow[-5:]


def test_who_hangs_up_ends_the_query(kept):
    platform, _ = kept
    some = "(select total_us from records limit 50)"
    endless = f"select count(*) from {some} a, {some} b, {some} c, {some} d, {some} e, {some} f where a.total_us + b.total_us + c.total_us + d.total_us + e.total_us + f.total_us = 1"
    connections = []
    for _ in range(2):
        connection = http.client.HTTPConnection(urlsplit(platform.url).netloc)
        headers = {"Authorization": f"Bearer {platform.owners_token()}"}
        connection.request("POST", "/v1/sql", json.dumps({"sql": endless}), headers)
        connections.append(connection)
    wait_for(lambda: sql(platform, "select 1").status == 503, "both have their turn")
    for connection in connections:
        connection.close()
    wait_for(lambda: sql(platform, "select 1").status == 200, "their turn is over", 30)


def test_without_records_it_says_how_to_keep_some(fresh, tmp_path):
    platform = fresh(arguments=("--records-per-s", "0")).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": CHURN}))
    answer = sql(platform, "select 1")
    assert (answer.status, answer.json()["code"]) == (409, "no_records")
    said = platform.run("records", "churn", ok=False)
    assert said.code == 1 and "--records-per-s" in said.err
