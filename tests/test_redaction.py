"""What a model redacts is left out of everything that is kept of its requests, or disguised in it."""

import http.client
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pyarrow.parquet
from conftest import stored_files, wait_for, write_model

from test_records import restart, rows

MODEL = """
def predict(customer: str, city: str, age: int = 1, number: int = 0) -> dict:
    if age == 13:
        raise ValueError(f"nobody knows {customer} of {city}")
    return {"leave": age / 100, "echo": customer, "said": f"{customer} lives in {city}"}
"""
SCHEMA = """
[schema]
outputs = [
    { name = "leave", datatype = "FP64", shape = [] },
    { name = "echo", datatype = "BYTES", shape = [] },
    { name = "said", datatype = "BYTES", shape = [] },
]
"""
RECORDS = """
[records]
key = "customer"
redact = { customer = "hmac", city = "drop", number = "hmac", echo = "hmac", said = "drop" }
"""
STREAM = """
def predict(customer: str, parts: int):
    for part in range(parts):
        if part == 3:
            raise ValueError(f"{customer} is too many")
        yield {"customer": customer, "part": part}
"""
STREAM_RECORDS = '[records]\nredact = { customer = "hmac" }\n'
CANARIES = [f"canary-{name}-7f3a" for name in ("hmac", "drop", "header", "stream", "large", "left")]
NUMBER = 7_234_567_891_234_567
ALL = ("--records-per-s", "1000000", "--log", "debug")


def everything(platform):
    """All that is on the disk, by what it is: files as they are, and the values of those that are compressed."""
    for path, content in stored_files(platform.data):
        yield str(path), content
        if path.suffix == ".parquet":
            yield f"{path}, read", repr(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()).encode()
    yield "the log", (platform.data.parent / f"{platform.data.name}.log").read_bytes()


def leaks(platform, words):
    binary = [int(word).to_bytes(8, "little") for word in words if word.isdigit()]
    pattern = re.compile(b"|".join(re.escape(word) for word in [*binary, *(word.encode() for word in words)]))
    return [(where, found.group()) for where, content in everything(platform) if (found := pattern.search(content))]


def deploy(platform, directory, model, manifest, *arguments, ok=True):
    return platform.run("deploy", write_model(directory, {"model.py": model, "decalog.toml": manifest}), *arguments, ok=ok)


def test_a_redacted_value_is_found_nowhere(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn", MODEL, SCHEMA + RECORDS)
    deploy(platform, tmp_path / "parts", STREAM, STREAM_RECORDS)
    hmac, drop, header, stream, large, left = CANARIES
    row = {"customer": hmac, "city": drop, "number": NUMBER}

    def ask(model, body, key=None, status=200):
        answer = platform.predict(model, body, {"decalog-key": key} if key else {})
        assert answer.status == status, answer.body
        return answer

    ids = {}
    answer = ask("churn", {"rows": [row, {**row, "customer": "other"}]})
    assert hmac in answer.body.decode() and drop in answer.body.decode(), "the caller gets the answer as it is"
    ids["whole"] = answer.headers["decalog-request-id"]
    answer = ask("churn", {**row, "age": 13}, status=500)
    assert hmac in answer.body.decode(), "the caller gets the error as it is"
    ids["raised"] = answer.headers["decalog-request-id"]
    answer = ask("churn", {**row, "age": drop}, status=422)
    ids["refused"] = answer.headers["decalog-request-id"]
    ask("churn", {**row, hmac: 1}, status=422)
    ask("churn", f'{{"customer": "{hmac}", city}}'.encode(), status=400)
    for key in (f"customer={header}", f"city={header}", f"order={header}", header, f"{header}=1", f"age={1}"):
        ask("churn", row, key)
    ids["named"] = ask("churn", row, "order=5").headers["decalog-request-id"]
    ids["large"] = ask("churn", {**row, "customer": large, "city": drop * 10_000}).headers["decalog-request-id"]
    ask("parts", {"customer": stream, "parts": 2}, f"customer={stream}")
    # It has begun when it fails, or it has not.
    assert stream in platform.predict("parts", {"customer": stream, "parts": 5}).body.decode()
    connection = http.client.HTTPConnection(urlsplit(platform.url).netloc)
    connection.request("POST", "/v1/models/parts/predict", json.dumps({"customer": left, "parts": 3}), {"decalog-key": left})
    connection.close()
    # Copies go to another version that knows of no redaction of its own.
    deploy(platform, tmp_path / "churn", MODEL + "\n# next\n", SCHEMA + RECORDS, "--shadow", "100%", "--detach")
    wait_for(lambda: "shadow" in platform.run("release", "status", "churn").out, "a shadow")
    for _ in range(20):
        ask("churn", row, hmac)
    metrics = platform.get("/metrics").body.decode()
    assert not [word for word in CANARIES if word in metrics] and str(NUMBER) not in metrics
    assert leaks(platform, [*CANARIES, str(NUMBER)]) == [], "while it runs"
    restart(platform)
    kept = rows(platform)
    found = {}
    for one in kept:
        found.setdefault(one["id"], []).append(one)
    assert platform.stop() == 0
    assert leaks(platform, [*CANARIES, str(NUMBER)]) == []

    first, second = found[ids["whole"]]
    pseudonym = first["in.customer"]
    assert re.fullmatch("[0-9a-f]{32}", pseudonym) and pseudonym != second["in.customer"]
    assert first["out.echo"] == pseudonym, "the same value is the same text"
    assert first["key"] == f"customer={pseudonym}" and second["key"] == f"customer={second['in.customer']}"
    assert (first["in.city"], first.get("out.said"), first["in.age"], first["out.leave"]) == (None, None, 1, 0.01)
    assert re.fullmatch("[0-9a-f]{32}", first["in.number"])
    (raised,) = found[ids["raised"]]
    assert raised["code"] == "model_raised" and "nobody" not in raised["error"] and raised["error"]
    assert found[ids["refused"]][0]["code"] == "schema_mismatch"
    assert re.fullmatch("[0-9a-f]{32}", found[ids["named"]][0]["key"]), "it could quote anything"
    assert found[ids["large"]][0]["payload"] == "large" and found[ids["large"]][0]["key"].startswith("customer=")
    assert {one["key"] for one in kept if one["model"] == "churn" and one["key"] == "age=1"}, "a column that is kept"


def test_values_stay_joined_over_restarts_models_and_types(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "texts", "def predict(customer: str) -> float:\n    return 1.0\n", STREAM_RECORDS)
    deploy(platform, tmp_path / "numbers", "def predict(customer: int) -> float:\n    return 1.0\n", STREAM_RECORDS)
    for model, value in (("texts", "42"), ("numbers", 42)):
        assert platform.predict(model, {"customer": value}).status == 200
    restart(platform)
    assert platform.predict("numbers", {"customer": 42}, {"decalog-key": "customer=42"}).status == 200
    restart(platform)
    kept = rows(platform)
    assert len(kept) == 3 and len({row["in.customer"] for row in kept}) == 1, kept
    assert [row["key"] for row in kept if row["key"]] == [f"customer={kept[0]['in.customer']}"]
    key = platform.data / "keys/records-default"
    assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_size == 32
    backup = tmp_path / "backup.tar"
    platform.run("backup", backup)
    assert key.read_bytes() not in backup.read_bytes()
    assert b"records/" not in backup.read_bytes() and b"PAR1" not in backup.read_bytes(), "records are not in a backup"


def test_a_deploy_that_redacts_holds_from_then_on(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    schema = SCHEMA + '[scale]\nmin = 1\n'
    deploy(platform, tmp_path / "churn", MODEL, schema)
    assert platform.predict("churn", {"customer": "before", "city": "Delft"}).status == 200
    pids = platform.pids("churn")
    with ThreadPoolExecutor(4) as callers:
        over = []

        def call():
            while not over:
                assert platform.predict("churn", {"customer": "meanwhile", "city": "Delft"}).status == 200

        calls = [callers.submit(call) for _ in range(4)]
        deploy(platform, tmp_path / "churn", MODEL, schema + RECORDS)
        over.append(True)
        [done.result() for done in calls]
    wait_for(lambda: (now := platform.pids("churn")) and not set(now) & set(pids), "replicas that quote nothing in their logs")
    assert platform.predict("churn", {"customer": "after-all", "city": "Delft", "age": 13}).status == 500
    assert "after-all" not in platform.run("logs", "churn").out
    after = [platform.predict("churn", {"customer": "after", "city": "Delft"}) for _ in range(20)]
    restart(platform)
    again = platform.predict("churn", {"customer": "after", "city": "Delft"})
    restart(platform)
    kept = rows(platform)
    by_id = {row["id"]: row for row in kept}
    assert "before" in {row["in.customer"] for row in kept}
    hidden = {by_id[answer.headers["decalog-request-id"]]["in.customer"] for answer in (*after, again)}
    assert len(hidden) == 1 and "after" not in hidden
    assert "after" not in {row["in.customer"] for row in kept}
    assert not [row for row in kept if row["in.customer"] == "after" or row["out.echo"] == "after"]
    # Not one is half redacted.
    for row in kept:
        assert (row["in.customer"] in ("before", "meanwhile")) == (row["in.city"] == "Delft") == (row.get("out.said") is not None), row


def test_names_that_no_column_has_are_refused(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    wrong = SCHEMA + '[records]\nredact = { custmer = "hmac" }\n'
    refused = deploy(platform, tmp_path / "churn", MODEL, wrong, ok=False)
    assert refused.code != 0 and "custmer" in refused.err and "`customer`?" in refused.err, refused
    refused = platform.run("check", tmp_path / "churn", ok=False)
    assert refused.code != 0 and "`customer`?" in refused.err, refused
    deploy(platform, tmp_path / "churn", MODEL, SCHEMA + RECORDS)
    checked = platform.run("check", tmp_path / "churn").out
    assert "without city, said, customer, echo, number disguised, key customer" in " ".join(checked.split()), checked
    both = SCHEMA + '[records]\nkey = "city"\nredact = { city = "drop" }\n'
    refused = deploy(platform, tmp_path / "churn", MODEL, both, ok=False)
    assert refused.code != 0 and 'city = "hmac"' in refused.err, refused
    assert platform.predict("churn", {"customer": "c", "city": "d"}).status == 200


def test_each_row_has_its_own_key(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn", MODEL, SCHEMA + '[records]\nkey = "number"\n')
    body = {"rows": [{"customer": "a", "city": "x", "number": number} for number in (5, 6, 5)]}
    assert platform.predict("churn", body).status == 200
    assert platform.predict("churn", body, {"decalog-key": "trip=1"}).status == 200
    restart(platform)
    assert sorted(row["key"] for row in rows(platform)) == ["number=5", "number=5", "number=6", "trip=1", "trip=1", "trip=1"]


