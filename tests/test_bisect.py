"""The first bad version is found in few tries, among versions that were never deployed, by a file with the truth, by recorded truth, or by other answers alone."""

import csv
import hashlib
import json
import random

import pytest
from conftest import ROW, Platform, wait_for, write_model
from test_terminal import shown

KEPT = ("--records-per-s", "1000000")
MODEL = """
def predict(x: float, name: str = "a") -> float:
    {before}return 2.0 * x + {more} + {number} * 1e-6
"""
LABELS = """
def predict(x: float) -> str:
    return "high" if x > {limit} else "low"
"""


def push(platform, model, files):
    """Pushes a version that is not deployed; gives its number, as `v3`."""
    tree = []
    for path, text in files.items():
        content = text.encode()
        digest = hashlib.sha256(content).hexdigest()
        answer = platform.request("PATCH", f"/v1/blobs/{digest}?size={len(content)}&offset=0", content)
        assert answer.status in (200, 409), answer.body
        tree.append({"path": path, "digest": digest, "size": len(content)})
    body = {"tree": tree, "runtime": "python", "file": "model.py", "provenance": {"author": "ann", "git_commit": "a91f3c2" + "0" * 33}}
    answer = platform.request("POST", f"/v1/projects/default/models/{model}/versions", body)
    assert answer.status == 200, answer.body
    return answer.json()["version"]


def versions(platform, model, count, fault, broken=(), more=0.0):
    """Versions of which those from `fault` on are wrong, and some cannot be loaded."""
    for number in range(1, count + 1):
        before = "" if number not in broken else "pass\nraise RuntimeError('no such file')\n#"
        wrong = more if number >= fault else 0.0
        assert push(platform, model, {"model.py": MODEL.format(before=before, more=wrong, number=number)}) == f"v{number}"


def holdout(path, rows=400, column="output"):
    """Rows with what is true of them, as far as it can be known."""
    draw = random.Random(7)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "x", "name", column])
        for at in range(rows):
            x = draw.uniform(-5, 5)
            writer.writerow([at, x, draw.choice(["a", "7"]), 2 * x + draw.gauss(0, 0.5)])
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """32 versions, the 21st of which is the first bad one; the one that is tried first cannot be loaded."""
    home = tmp_path_factory.mktemp("many")
    platform = Platform(home / "data", KEPT).start()
    versions(platform, "churn", 32, fault=21, broken=(17,), more=0.4)
    yield platform, home
    assert platform.stop() == 0


def bisect(platform, home, *arguments, ok=True):
    return platform.run("bisect", "churn", *arguments, env={"XDG_CACHE_HOME": str(home / "cache")}, ok=ok)


def test_the_fault_among_32_versions_is_found_in_six_tries(many):
    platform, home = many
    data = holdout(home / "holdout.csv")
    search = ("--good", "v1", "--bad", "v32", "--metric", "rmse", "--data", data)
    result = bisect(platform, home, *search)
    assert "v21 is the first bad version" in result.out, result
    lines = result.out.splitlines()
    tries = [line.split() for line in lines if line[:4].strip().isdigit()]
    assert 1 <= len(tries) <= 6, lines
    assert tries[0][1] == "v17" and "skipped" in tries[0] and "RuntimeError" in result.out
    assert "pushed by ann" in result.out and "a91f3c2" in result.out
    assert "Next: decalog diff churn@v20 v21" in result.out
    assert "files     model.py" in result.out
    # The second time nothing is asked.
    again = bisect(platform, home, *search, "--json").json()
    assert (again["outcome"], again["first_bad"], again["last_good"]) == ("first", "v21", "v20"), again
    assert all(one["is_cached"] for one in [again["good"], again["bad"], *again["tries"]]), again
    assert len(again["tries"]) == len(tries)
    asked = {one["version"] for one in [again["good"], again["bad"], *again["tries"]]}
    assert {"v20", "v21"} <= asked
    # Other data have other answers.
    other = bisect(platform, home, *search[:-1], holdout(home / "other.csv", 300), "--json").json()
    assert not any(one["is_cached"] for one in other["tries"]) and other["first_bad"] == "v21"
    mode = (home / "cache/decalog/evaluations").stat().st_mode & 0o777
    assert mode == 0o700


def test_all_of_it_fits_a_terminal(many, monkeypatch):
    platform, home = many
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.chdir(home)
    holdout(home / "wide.csv")
    lines = shown(platform, 80, "bisect", "churn", "--good", "v1", "--bad", "v32", "--data", "wide.csv")
    assert "RuntimeError" in "".join(lines) and max(map(len, lines)) <= 80, [line for line in lines if len(line) > 80]


def test_a_version_that_fails_more_often_is_found_by_its_errors(platform, tmp_path):
    source = "def predict(x: float) -> float:\n    if x < {limit}:\n        raise ValueError('too small')\n    return x * 2\n"
    for number in range(1, 7):
        assert push(platform, "picky", {"model.py": source.format(limit=-4.9 if number < 5 else -3) + f"# {number}\n"}) == f"v{number}"
    data = holdout(tmp_path / "holdout.csv")
    search = ("bisect", "picky", "--good", "v1", "--bad", "v6", "--data", data)
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = platform.run(*search, "--metric", "errors", "--json", env=home).json()
    assert found["first_bad"] == "v5" and found["by"] == "errors" and found["difference"]["n"] == 400, found
    # By their truth they do not differ, and it is said that rows fail.
    other = platform.run(*search, "--metric", "rmse", env=home, ok=False)
    assert other.code == 1 and "nothing to find" in other.out and "rows fail in v6" in other.out, other


def test_versions_that_do_not_differ_have_nothing_to_find(many):
    platform, home = many
    data = holdout(home / "same.csv", 200)
    same = bisect(platform, home, "--good", "v1", "--bad", "v20", "--metric", "rmse", "--data", data, ok=False)
    assert same.code == 1 and "nothing to find" in same.out, same
    swapped = bisect(platform, home, "--good", "v20", "--bad", "v19", "--data", data, ok=False)
    assert swapped.code == 1 and "comes after" in swapped.err
    for option, value, why in (("--truth", "nothing", "no column"), ("--metric", "log_loss", "cannot be measured")):
        refused = bisect(platform, home, "--good", "v1", "--bad", "v20", "--data", data, option, value, ok=False)
        assert refused.code == 1 and why in refused.err, refused


def test_a_version_that_is_between_removed_ones_is_given_as_a_range(many):
    platform, home = many
    data = holdout(home / "removed.csv", 200)
    assert push(platform, "gone", {"model.py": MODEL.format(before="", more=0.0, number=1)}) == "v1"
    versions_of = range(2, 9)
    for number in versions_of:
        push(platform, "gone", {"model.py": MODEL.format(before="", more=0.0 if number < 5 else 0.6, number=number)})
    for number in (4, 5):
        platform.run("rm", f"gone@v{number}")
    found = platform.run("bisect", "gone", "--good", "v1", "--bad", "v8", "--data", data, "--json").json()
    assert found["outcome"] == "between" and found["between"] == ["v4", "v6"] and found["removed"] == ["v4", "v5"], found
    assert len(found["tries"]) <= 3


def test_without_truth_the_first_that_answers_otherwise_is_found(platform, tmp_path):
    platform.stop()
    platform.arguments = list(KEPT)
    platform.start()
    for number in range(1, 9):
        source = LABELS.format(limit=1.0 if number < 6 else 3.0) + f"# {number}\n"
        assert push(platform, "labels", {"model.py": source}) == f"v{number}"
    platform.run("release", "labels@v1")
    ids = [platform.predict("labels", {"x": at / 10}).headers["decalog-request-id"] for at in range(60)]
    search = ("bisect", "labels", "--good", "v1", "--bad", "v8", "--replay", 100, "--json")
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = platform.run(*search, env=home).json()
    assert found["first_bad"] == "v6" and found["by"] == "other answers" and len(found["tries"]) <= 3, found
    again = platform.run(*search, env=home).json()
    assert all(one["is_cached"] for one in [again["good"], again["bad"], *again["tries"]]), again
    # Now with what was true of them.
    refused = platform.run(*search[:-1], "--metric", "accuracy", env=home, ok=False)
    assert refused.code == 1 and "no truth" in refused.err
    truth = tmp_path / "truth.jsonl"
    truth.write_text("".join(json.dumps({"id": id, "truth": "high" if at > 10 else "low"}) + "\n" for at, id in enumerate(ids)))
    platform.run("feedback", "labels", truth)
    found = platform.run(*search, "--metric", "accuracy", env=home).json()
    assert found["first_bad"] == "v6" and found["good"]["value"]["value"] == 1.0, found
    assert platform.run("rollback", "labels", ok=False).code == 1


def test_one_bad_row_harms_no_other(platform, tmp_path):
    source = "def predict(x: float) -> float:\n    if x < 0:\n        raise ValueError('negative')\n    return x * 2\n"
    push(platform, "careful", {"model.py": source})
    path = "/v1/projects/default/models/careful/evaluate"
    rows = [{"x": 1.0, "unknown": 3}, {"x": -1.0}, {"x": 2.5}, {"x": "text"}, {}]
    report = platform.request("POST", path, {"version": "v1", "rows": rows}).json()
    assert [row.get("outputs") for row in report["rows"]] == [{"output": 2.0}, None, {"output": 5.0}, None, None], report
    assert [row["error"]["code"] for row in report["rows"] if "error" in row] == ["model_raised", "schema_mismatch", "schema_mismatch"]
    assert report["ignored"] == ["unknown"] and report["schema"]["inputs"][0]["name"] == "x"
    # It was not deployed, and is not now.
    assert platform.run("show", "careful", "--json").json()["live"] == []
    died = "import os\n\ndef predict(x: float) -> float:\n    if x < 0:\n        os._exit(3)\n    return x * 2\n"
    push(platform, "careful", {"model.py": died})
    report = platform.request("POST", path, {"version": "v2", "rows": [{"x": 1.0}, {"x": -1.0}, {"x": 2.0}]}).json()
    assert [row.get("outputs") for row in report["rows"]] == [{"output": 2.0}, None, {"output": 4.0}], report
    push(platform, "careful", {"model.py": "raise RuntimeError('broken')\n" + ROW})
    answer = platform.request("POST", path, {"version": "v3", "rows": rows})
    assert answer.json()["code"] == "load_failed" and "broken" in str(answer.json()), answer.body
    for body in ({}, {"rows": []}, {"rows": rows, "last": 1}, {"rows": [{}] * 20_001}, {"last": 5_001}, {"ids": ["x"]}):
        assert platform.request("POST", path, {"version": "v1", **body}).status == 400, body
    assert platform.request("POST", path, {"version": "v9", "rows": rows}).json()["code"] == "no_such_version"
    streams = "def predict(n: int):\n    for part in range(n):\n        yield part\n"
    push(platform, "careful", {"model.py": streams})
    assert platform.request("POST", path, {"version": "v4", "rows": [{"n": 1}]}).json()["code"] == "streams"


def test_what_was_never_recorded_is_not_asked(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    files = {"model.py": ROW, "decalog.toml": '[records]\nredact = { city = "drop" }\n'}
    platform.run("deploy", write_model(tmp_path / "careful", files))
    platform.predict("careful", {"age": 4, "city": "Delft"})
    path = "/v1/projects/default/models/careful/evaluate"
    (row,) = wait_for(lambda: platform.request("POST", path, {"version": "v1", "last": 5}).json()["rows"], "the request is recorded")
    assert "outputs" not in row and "`city` is redacted" in row["error"]["error"] and "call" not in row, row
    unknown = row["id"][:-4] + "0000"
    report = platform.request("POST", path, {"version": "v1", "ids": [unknown]}).json()
    assert (report["missing"], report["rows"]) == ([unknown], []), report
    # What others asked is for whoever may read records; rows of one's own are for whoever may ask.
    platform.run("member", "add", "ann", "--role", "viewer", "--project", "default")
    token = platform.run("token", "create", "ann", "--scope", "read", "--scope", "predict").out.strip()
    ask = lambda **what: platform.request_over_tcp("POST", path, {"version": "v1", **what}, {"authorization": f"Bearer {token}"})
    assert ask(last=1).status == 403
    assert ask(rows=[{"age": 4}]).json()["rows"][0]["outputs"] == {"output": 2.0}


def test_parquet_and_json_are_read_too(many, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    platform, home = many
    draw = random.Random(3)
    x = [draw.uniform(-5, 5) for _ in range(300)]
    y = [2 * value + draw.gauss(0, 0.5) for value in x]
    table = pyarrow.table({"x": x, "name": ["a"] * 300, "left": y})
    parquet.write_table(table, tmp_path / "holdout.parquet")
    (tmp_path / "holdout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    values = []
    for file in ("holdout.parquet", "holdout.jsonl"):
        arguments = ("--good", "v19", "--bad", "v22", "--truth", "left", "--data", tmp_path / file, "--json")
        found = bisect(platform, home, *arguments).json()
        assert found["first_bad"] == "v21" and found["by"] == "RMSE", found
        values.append(found["good"]["value"])
    assert values[0] == values[1]
