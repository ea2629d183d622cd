"""While a model is written: its cases without a deployment, a deployment with each save, and the row beside the traceback."""

import json
import os
import re
import subprocess
import time

import pytest
from conftest import BINARY, Platform, wait_for, write_model

SHARE = "def predict(age: int, city: str) -> dict:\n    return {'share': %s / age, 'city': city}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("develop") / "data").start()
    yield platform
    assert platform.stop() == 0


def case(model, name, **text):
    (model / "tests").mkdir(exist_ok=True)
    (model / "tests" / f"{name}.json").write_text(json.dumps(text))


def test_cases_are_asked_without_a_deployment(served, tmp_path):
    model = write_model(tmp_path / "tested", {"model.py": SHARE % 1})
    alone = served.run("test", model)
    assert "made up" in alone.err and f"decalog test {model} --accept NAME" in alone.err, alone.err
    case(model, "young", input={"age": 4, "city": "Delft"}, expected={"share": 0.3}, tolerance=0.001)
    case(model, "right", input={"age": 2, "city": "Delft"}, expected={"share": 0.5, "city": "Delft"})
    case(model, "misfit", input={"age": "four", "city": "Delft"}, expected={"share": 1})
    case(model, "zero", rows=[{"age": 1, "city": "a"}, {"age": 0, "city": "b"}], expected=[{"share": 1}, {"share": 0}])
    failed = served.run("test", model, ok=False).err
    assert "share  expected 0.3 ± 0.001, got 0.25" in failed, failed
    assert re.search(r"right +as expected", failed), failed
    # The row that fails stands beside the lines of the model.
    assert re.search(r'zero +ZeroDivisionError.*\n +row 1: {"age":0,"city":"b"}\n +File "model.py", line 2', failed), failed
    assert "3 of 4 cases failed: misfit, young, zero" in failed and f"decalog test {model} --accept young" in failed, failed
    # A deployment is told the same of the case that fails.
    refused = served.run("deploy", model, ok=False).err
    assert "tests/misfit.json fails" in refused and 'at the row {"age":"four","city":"Delft"}' in refused, refused
    assert "zero.json got no answer" in served.run("test", model, "--accept", "zero", ok=False).err
    assert "there is no case `old`" in served.run("test", model, "--accept", "old", ok=False).err
    served.run("test", model, "--accept", "young", ok=False)
    young = json.loads((model / "tests" / "young.json").read_text())
    assert young == {"input": {"age": 4, "city": "Delft"}, "expected": {"share": 0.25}, "tolerance": 0.001}
    for gone in ("zero", "misfit"):
        (model / "tests" / f"{gone}.json").unlink()
    passed = served.run("test", model)
    assert f"2 cases; decalog deploy {model} takes v" in passed.err, passed.err
    report = json.loads(served.run("--json", "test", model).out)
    assert [one["name"] for one in report["cases"]] == ["tests/right.json", "tests/young.json"]
    assert report["cases"][0]["answers"] == [{"share": 0.5, "city": "Delft"}] and report["count"] == 2
    # No traffic went to any of it.
    assert served.predict("tested", {"age": 1, "city": "a"}).status == 404
    assert json.loads(served.run("--json", "show", "tested").out)["replicas"] == []


def test_the_first_case_is_made_of_a_row_that_fits(served, tmp_path):
    model = write_model(tmp_path / "first", {"model.py": SHARE % 1})
    served.run("test", model, "--accept", "first")
    text = (model / "tests" / "first.json").read_text()
    written = json.loads(text)
    assert list(written) == ["input", "expected"] and set(written["input"]) == {"age", "city"}, text
    assert "1 case; " in served.run("test", model).err
    assert "no name of a case" in served.run(
        "test", write_model(tmp_path / "other", {"model.py": SHARE % 1}), "--accept", "../first", ok=False
    ).err


class Session:
    """`decalog watch` or `decalog dev`, and what it has printed."""

    def __init__(self, platform, path, *words):
        self.path = path
        self.file = open(path, "w")
        self.process = subprocess.Popen(
            [BINARY, *map(str, words)], stdout=self.file, stderr=self.file, env={**os.environ, "DECALOG_URL": platform.url}
        )

    def text(self):
        return self.path.read_text()

    def wait(self, text, count=1):
        try:
            wait_for(lambda: self.text().count(text) >= count, text, 30)
        except AssertionError:
            raise AssertionError(self.text()) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.file.close()


def answer(platform, reference):
    got = platform.predict(reference, {"age": 1, "city": "Delft"})
    return got.json()["output"]["share"] if got.status == 200 and "output" in got.json() else got.json().get("share")


def test_what_is_saved_is_live_and_what_fails_is_told(served, tmp_path):
    model = write_model(tmp_path / "watched", {"model.py": SHARE % 1})
    with Session(served, tmp_path / "said", "watch", model) as session:
        session.wait("for the next change")
        assert answer(served, "watched") == 1
        (model / "model.py").write_text(SHARE % 2)
        session.wait("for the next change", 2)
        assert answer(served, "watched") == 2
        # What is written in two pieces, and what is no part of the model.
        (model / "__pycache__").mkdir()
        (model / "__pycache__" / "model.pyc").write_text("no matter")
        with open(model / "model.py", "w") as file:
            file.write((SHARE % 3)[:30])
            file.flush()
            time.sleep(0.05)
            file.write((SHARE % 3)[30:])
        session.wait("for the next change", 3)
        assert answer(served, "watched") == 3
        (model / "model.py").write_text("def predict(age: int, city: str) -> dict:\n    return {\n")
        session.wait("was never closed")
        session.wait("for the next change", 4)
        (model / "model.py").write_text("raise RuntimeError('no weights')\n" + SHARE % 4)
        session.wait("RuntimeError: no weights")
        session.wait("for the next change", 5)
        assert answer(served, "watched") == 3, "what works stays live"
        (model / "model.py").write_text((SHARE % 5).replace("age: int", "years: int").replace("/ age", "/ years"))
        session.wait("for the next change", 6)
        assert "--breaking" in session.text() and answer(served, "watched") == 3
        (model / "model.py").write_text(SHARE % 6)
        session.wait("for the next change", 7)
        assert answer(served, "watched") == 6
        assert session.process.poll() is None


def test_the_row_stands_beside_the_traceback(served, tmp_path):
    model = write_model(tmp_path / "mine", {"model.py": SHARE % 1})
    served.run("deploy", model)
    with Session(served, tmp_path / "said", "dev", model) as session:
        session.wait("for the next change")
        served.predict("mine", {"age": 0, "city": "Utrecht"})
        assert served.predict("mine@dev", {"age": 0, "city": "Delft"}).status == 500
        session.wait("at the row: age=0, city='Delft'")
        text = session.text()
        assert 'File "model.py", line 2, in predict' in text and "ZeroDivisionError" in text, text
        assert "Utrecht" not in text, "production logs no rows"
        # It may break callers of its own environment, whose other versions nobody relies on.
        (model / "model.py").write_text((SHARE % 5).replace("age: int", "years: int").replace("/ age", "/ years"))
        session.wait("for the next change", 2)
        assert served.predict("mine@dev", {"years": 1, "city": "Delft"}).status == 200
        assert served.predict("mine", {"age": 1, "city": "Delft"}).status == 200
        (model / "decalog.toml").write_text('[records]\nredact = { city = "drop" }\n')
        session.wait("for the next change", 3)
        session.wait("exited with status 0", 2)  # the replica of the version before, and the one that logged rows
        served.predict("mine@dev", {"years": 0, "city": "Breda"})
        served.predict("mine@dev", {"years": 0, "city": "Gouda"})
        session.wait("ZeroDivisionError", 3)  # what belongs to the one before was printed before it
        assert "Breda" not in session.text(), session.text()
    (model / "decalog.toml").write_text('[records]\nlog_rows = true\nredact = { city = "drop" }\n')
    assert "records.log_rows" in served.run("check", model, ok=False).err
