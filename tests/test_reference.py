"""The file that [data] reference names is profiled where it lies; its profile goes into the version, and later values are compared with it."""

import hashlib
import json

import pandas

from conftest import wait_for, write_model

MODEL = """
def predict(age: float, city: str) -> dict[str, float]:
    return {"leave": age / 100}
"""
KEPT = ("--records-per-s", "1000000")
MANIFEST = '[data]\nreference = "{path}"\n'
PROFILE = "decalog.reference.json"


def frame(rows=4000):
    ages = [20 + row % 60 for row in range(rows)]
    cities = [("Utrecht", "Delft", "Gouda")[row % 3] for row in range(rows)]
    return pandas.DataFrame({"age": ages, "city": cities, "id": range(rows)})


def reference(platform, model="churn", query=""):
    return platform.get(f"/v1/projects/default/models/{model}/reference{query}")


def files(platform, version=-1):
    events = [json.loads(line) for line in platform.run("events", "--json").out.splitlines()]
    pushed = [event for event in events if event["kind"] == "version_pushed"]
    return {file["path"] for file in pushed[version]["body"]["tree"]}


def test_a_parquet_file_outside_the_model_is_what_values_are_compared_with(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    (tmp_path / "files").mkdir()
    file = tmp_path / "files/train.parquet"
    frame().to_parquet(file)
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": MANIFEST.format(path="../files/train.parquet")})
    told = platform.run("deploy", model).err
    assert "train.parquet, 2 of 3 columns, 4000 rows" in told and "not of the model: id" in told
    view = reference(platform).json()
    assert view["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (view["rows"], view["bytes"], view["file"], view["absent"]) == (4000, file.stat().st_size, "train.parquet", [])
    columns = {column["name"]: column for column in view["columns"]}
    assert (columns["age"]["is"], columns["id"].get("is")) == ("input", None)
    assert columns["age"]["finds_standard_deviations"] > 0
    assert "train.parquet, 4000 rows, sha256" in platform.run("show", "churn").out
    # The same file again is the same version; another one is another.
    platform.run("deploy", model)
    assert len(platform.get("/v1/projects/default/models/churn").json()["versions"]) == 1
    frame(5000).to_parquet(file)
    platform.run("deploy", model)
    assert (reference(platform).json()["rows"], reference(platform, query="?version=v1").json()["rows"]) == (5000, 4000)
    # The detectors compare with it from the first request on.
    rows = [{"age": 30, "city": "Utrecht"}] * 50
    assert platform.predict("churn", {"rows": rows}).status == 200
    wait_for(lambda: platform.get("/v1/projects/default/models/churn/drift").json().get("file") == "train.parquet"
             or "train.parquet" in json.dumps(platform.get("/v1/projects/default/models/churn/drift").json()), "it is compared with the file")


def test_a_csv_in_the_model_stays_here_unless_it_is_wanted(fresh, tmp_path):
    platform = fresh().start()
    manifest = MANIFEST.format(path="train.csv")
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": manifest})
    frame().rename(columns={"age": "in.age", "id": "age"}).to_csv(model / "train.csv", index=False)
    told = platform.run("deploy", model).err
    assert "train.csv stays here" in told
    view = {column["name"]: column for column in reference(platform).json()["columns"]}
    assert view["in.age"]["is"] == "input" and "is" not in view["age"]
    paths = set(path.name for path in platform.data.glob("trees/*/*"))
    assert PROFILE in paths and "train.csv" not in paths
    (model / "decalog.toml").write_text(manifest + "push = true\n")
    platform.run("deploy", model)
    assert "train.csv" in set(path.name for path in platform.data.glob("trees/*/*"))


def test_what_cannot_be_compared_is_refused_with_a_reason(fresh, tmp_path):
    platform = fresh().start()
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": MANIFEST.format(path="train.csv")})

    def refused(content=None):
        if content is not None:
            (model / "train.csv").write_text(content)
        return platform.run("deploy", model, ok=False).err

    assert "train.csv cannot be read" in refused()
    assert "line: 3" in refused("age,city\n1,a\n1,a,b\n")
    told = refused("agee,town\n1,a\n")
    assert "no column of train.csv is an input or output" in told and "`agee` may be `age`" in told
    assert "600 columns" in refused(",".join(f"c{number}" for number in range(600)) + "\n")
    (model / "train.csv").write_text("age,city\n1,a\n2,b\n")
    (model / PROFILE).write_text("{}")
    assert "is the name of the profile" in refused()
    (model / PROFILE).unlink()
    told = platform.run("deploy", model).err
    assert "2 of 2 columns, 2 rows" in told
    assert "too few rows" in platform.run("show", "churn").out
    # A version without one says what to do.
    plain = write_model(tmp_path / "plain", {"model.py": MODEL})
    platform.run("deploy", plain)
    assert reference(platform, "plain").json()["code"] == "no_reference"


def test_a_profile_that_somebody_made_up_is_not_used(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    for number, content in enumerate(("{", "{}", "[" * 100000, json.dumps({"version": 99}), "\x00" * 1000)):
        model = write_model(tmp_path / f"m{number}", {"model.py": MODEL, PROFILE: content})
        platform.run("deploy", model)
        answer = reference(platform, f"m{number}")
        assert answer.status >= 400 and "reference of" in answer.body.decode(), answer.body.decode()
        assert platform.predict(f"m{number}", {"age": 1, "city": "a"}).status == 200
    # The detectors go on without it.
    wait_for(lambda: platform.get("/v1/projects/default/models/m1/drift").status == 200, "its values are watched")
