"""What differs between two versions: what they were made of, how they served, and what they answer to the same requests."""

import io
import json

import joblib
import numpy as np
import pytest
from conftest import wait_for, write_model
from sklearn.datasets import make_regression
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_terminal import shown

KEPT = ("--records-per-s", "1000000")
FEATURES = 4
MANIFEST = '[data]\ntrain = "../{data}"\n\n[batch]\nrows_max = {rows}\n'


def joblib_of(alpha, rows):
    data, truth = make_regression(400, FEATURES, noise=5.0, random_state=7)
    model = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(data[:rows], truth[:rows])
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue(), data


def deployed(platform, home):
    """Two versions of a scikit-learn model that were trained on other data, with requests to the first."""
    content, data = joblib_of(1.0, 400)
    home.mkdir(exist_ok=True)
    (home / "october.csv").write_text("a,b\n1,2\n")
    (home / "november.csv").write_text("a,b\n1,2\n3,4\n")
    files = {"model.joblib": content, "notes.md": "first\nsame\n", "old.txt": "gone\n"}
    directory = write_model(home / "price", {**files, "decalog.toml": MANIFEST.format(data="october.csv", rows=32), "metrics.json": '{"r2": 0.91}'})
    platform.run("deploy", directory)
    (directory / "old.txt").unlink()
    changed = {"model.joblib": joblib_of(300.0, 200)[0], "notes.md": "second\nsame\n", "new.txt": "new\n"}
    write_model(directory, {**changed, "decalog.toml": MANIFEST.format(data="november.csv", rows=16), "metrics.json": '{"r2": 0.88}'})
    platform.run("deploy", directory)
    platform.run("rollback", "price")
    schema = platform.run("show", "price", "--schema", "--json").json()
    names = [column["name"] for column in schema["inputs"]]
    row = lambda values: {names[0]: values} if len(names) == 1 else dict(zip(names, values))
    ids = [platform.predict("price", row(values)).headers["decalog-request-id"] for values in np.asarray(data[:60]).tolist()]
    return ids


def test_a_diff_tells_what_changed_and_what_is_answered(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    ids = deployed(platform, tmp_path / "home")
    diff = platform.run("diff", "price@v1", "price@v2", "--replay", 50, "--json").json()
    changes = {file["path"]: file for file in diff["changes"]["files"]}
    assert changes["old.txt"]["change"] == "removed" and changes["new.txt"]["change"] == "added"
    assert "-first\n+second" in changes["notes.md"]["lines"] and "no text" in changes["model.joblib"]["no_lines"]
    assert diff["changes"]["manifest"] and any(one["key"] == "batch.rows_max" for one in diff["changes"]["manifest"])
    assert {one["name"] for one in diff["data"]} == {"../october.csv", "../november.csv"}, diff["data"]
    assert diff["metrics"] == [{"name": "r2", "before": "0.91", "after": "0.88"}]
    assert diff["packages"] == [] and diff["inputs"] == [] and diff["outputs"] == []
    replay = diff["replay"]
    assert (replay["requests"], replay["rows"], replay["failed_before"]["rows"], replay["failed_after"]["rows"]) == (50, 50, 0, 0), replay
    (output,) = replay["outputs"]
    assert output["differing"] == 50 and output["kind"] == "number", output
    mean = output["mean_difference"]
    assert mean["low"] <= mean["value"] <= mean["high"]
    largest = [abs(b - a) for _, a, b in output["largest"]]
    assert largest == sorted(largest, reverse=True)
    assert replay["worst"][0]["id"] in ids and replay["latency"]["value"] > 0 and replay["agreeing"]["value"] == 0
    # What it says of a request is what a replay says of it.
    worst = replay["worst"][0]
    (again,) = platform.run("replay", worst["id"], "--on", "price@v2", "--json").json()["results"]
    assert again["differences"][0]["after"] == worst["after"] and again["differences"][0]["before"] == worst["before"]
    # The same version answers the same.
    same = platform.run("diff", "price@v1", "v1", "--replay", 20, "--json").json()
    assert same["changes"]["files"] == [] and same["replay"]["agreeing"]["value"] == 1.0, same
    # How both served, and how good they were by the truth.
    names = [column["name"] for column in platform.run("show", "price", "--schema", "--json").json()["inputs"]]
    values = [0.5] * FEATURES
    platform.predict("price@v2", {names[0]: values} if len(names) == 1 else dict(zip(names, values)))
    served = lambda: platform.run("diff", "price@v1", "v2", "--json").json()["service"]
    service = wait_for(lambda: (it := served())["before"]["requests"] == 60 and it["after"]["requests"] == 1 and it, "requests are counted")
    assert service["before"]["failed"]["value"] == 0 and 0 < service["before"]["failed"]["high"] < 0.1 and service["before"]["p99_ms"] > 0, service
    truth = tmp_path / "truth.jsonl"
    truth.write_text("".join(json.dumps({"id": id, "truth": 1.5 * at}) + "\n" for at, id in enumerate(ids)))
    platform.run("feedback", "price", truth)
    quality = platform.run("diff", "price@v1", "v2", "--replay", 50, "--json").json()["replay"]["quality"]
    assert [one["metric"] for one in quality] == ["rmse", "mae"], quality
    for one in quality:
        assert one["difference"]["value"] == pytest.approx(one["after"] - one["before"]) and one["difference"]["n"] == 49, one  # of the last there is no truth
    # On a terminal it fits.
    lines = shown(platform, 80, "diff", "price", "v1", "v2", "--replay", "20")
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80, [line for line in lines if len(line) > 80]
    for words in ("files", "~ notes.md", "+ new.txt", "packages  the same", "manifest", "../november.csv added", "r2 0.91 → 0.88", "service", "requests", "replay",
                  "ROWS THAT DIFFER", "RMSE", "p99", "a call takes", "worst", "Next: decalog replay", "-first", "+second"):  # fmt: skip
        assert words in text, (words, text)
    refused = platform.run("diff", "price@v1", "price@v9", ok=False)
    assert refused.code == 1 and "no version v9" in refused.err and "it has v2, v1" in refused.err
    refused = platform.run("diff", "price", "price@v1", ok=False)
    assert refused.code == 1 and "names no version" in refused.err


def test_lines_of_code_are_for_whoever_may_push(fresh, tmp_path):
    platform = fresh().start()
    for text in ("one", "two"):
        platform.run("deploy", write_model(tmp_path / "echo", {"model.py": f"def predict(x: int) -> str:\n    return '{text}'\n"}))
    path = "/v1/projects/default/models/echo/changes?from=v1&to=v2"
    (file,) = platform.get(path).json()["files"]
    assert "+    return 'two'" in file["lines"]
    platform.run("member", "add", "ann", "--role", "viewer", "--project", "default")
    token = platform.run("token", "create", "ann", "--scope", "read").out.strip()
    answer = platform.request_over_tcp("GET", path, headers={"authorization": f"Bearer {token}"})
    (file,) = answer.json()["files"]
    assert "lines" not in file and "push" in file["no_lines"] and file["path"] == "model.py"
    assert platform.get("/v1/projects/default/models/echo/changes?from=v1&to=v7").json()["code"] == "no_such_version"
    assert platform.get("/v1/projects/default/models/echo/changes?from=v1&to=x").json()["code"] == "bad_name"
