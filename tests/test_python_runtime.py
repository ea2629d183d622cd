"""Python models in both forms, by their hints."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import wait_for, write_model

NUMPY = {"requirements.txt": "numpy\n"}


def deploy(platform, tmp_path, name, source, **files):
    model = write_model(tmp_path / name, {"model.py": source, **files})
    return platform.run("deploy", model)


def test_row_form(shared_platform, tmp_path):
    source = '''
from typing import Literal, Optional

def predict(age: int, city: Literal["Utrecht", "Delft"], income: Optional[float] = None, level: int = 3) -> dict[str, float]:
    return {"score": age + level + (income or 0.0), "bonus": 1.0 if city == "Delft" else 0.0}
'''
    deploy(shared_platform, tmp_path, "rowform", source)
    predict = lambda row: shared_platform.predict("rowform", row)
    assert predict({"age": 1, "city": "Delft"}).json() == {"score": 4.0, "bonus": 1.0}
    assert predict({"age": 1, "city": "Utrecht", "income": 0.5, "level": 0}).json() == {"score": 1.5, "bonus": 0.0}
    assert predict({"age": 1, "city": "Utrecht", "income": None}).json()["score"] == 4.0
    assert predict({"rows": [{"age": 1, "city": "Delft"}, {"age": 2, "city": "Delft"}]}).json() == {
        "rows": [{"score": 4.0, "bonus": 1.0}, {"score": 5.0, "bonus": 1.0}]}
    refused = predict({"age": "1", "city": "Rome", "typo": 1})
    assert refused.status == 422
    details = "\n".join(refused.json()["details"])
    for expected in ["age  expected INT64", 'city  expected one of "Utrecht", "Delft"', "typo  is not a column"]:
        assert expected in details


def test_batch_form_and_class(shared_platform, tmp_path):
    source = '''
import numpy as np

class Model:
    def load(self, path):
        self.scale = float((path / "scale.txt").read_text())

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x.sum(axis=1) * self.scale
'''
    deploy(shared_platform, tmp_path, "batchform", source, **NUMPY, **{"scale.txt": "2"})
    assert shared_platform.predict("batchform", {"x": [1, 2, 3]}).json() == {"output": 12.0}
    answer = shared_platform.predict("batchform", {"rows": [{"x": [1, 2]}, {"x": [3, 4]}]})
    assert answer.json() == {"rows": [{"output": 6.0}, {"output": 14.0}]}


def test_data_frame(shared_platform, tmp_path):
    source = '''
import pandas as pd

def predict(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"total": frame["a"] + frame["b"], "label": frame["name"].str.upper()})
'''
    manifest = '''
[schema]
inputs = [
    { name = "a", datatype = "FP64", shape = [] },
    { name = "b", datatype = "INT64", shape = [] },
    { name = "name", datatype = "BYTES", shape = [] },
]
'''
    deploy(shared_platform, tmp_path, "frame", source, **{"requirements.txt": "pandas\n", "decalog.toml": manifest})
    assert shared_platform.predict("frame", {"a": 1.5, "b": 2, "name": "ann"}).json() == {"total": 3.5, "label": "ANN"}


def test_scikit_learn_without_code(shared_platform, tmp_path):
    import io

    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    model = LogisticRegression(max_iter=500).fit(data.data, data.target)
    file = io.BytesIO()
    joblib.dump(model, file)
    directory = write_model(tmp_path / "petals", {"iris.joblib": file.getvalue()})
    shared_platform.run("deploy", directory)
    answer = shared_platform.predict("petals", {"x": data.data[100].tolist()}).json()
    assert answer["output"] == int(model.predict(data.data[100:101])[0])
    assert np.allclose(answer["probability"], model.predict_proba(data.data[100:101])[0])


@pytest.mark.outside
def test_a_generator_streams_and_hanging_up_stops_it(platform, tmp_path):
    trace = tmp_path / "trace.txt"
    source = f'''
import time
from typing import Iterator

def predict(n: int) -> Iterator[int]:
    try:
        for i in range(n):
            yield i
            time.sleep(0.01)
    finally:
        with open({str(trace)!r}, "a") as out:
            out.write("closed\\n")
'''
    deploy(platform, tmp_path, "counter", source)
    answer = platform.predict("counter", {"n": 3})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    items = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert [item if isinstance(item, int) else item["output"] for item in items] == [0, 1, 2]
    request = urllib.request.Request(platform.url + "/v1/models/counter/predict", data=b'{"n": 100000}')
    hanging = urllib.request.urlopen(request)
    assert hanging.readline()
    hanging.close()
    wait_for(lambda: trace.exists() and trace.read_text().count("closed") == 2, "the generator is closed", 30)
    assert platform.predict("counter", {"n": 1}).status == 200


def test_a_model_that_raises(shared_platform, tmp_path):
    source = 'def predict(x: int) -> float:\n    if x < 0:\n        raise ValueError(f"negative: {x}")\n    return x ** 0.5\n'
    deploy(shared_platform, tmp_path, "raises", source)
    failed = shared_platform.predict("raises", {"x": -4})
    assert failed.status == 500 and "ValueError: negative: -4" in failed.json()["error"]
    assert "line 3" in "\n".join(failed.json()["details"])
    assert shared_platform.predict("raises", {"x": 4}).json() == {"output": 2.0}


def test_a_model_refuses_a_row(shared_platform, tmp_path):
    source = """
import decalog

def predict(x: int) -> int:
    if x < 0:
        raise decalog.BadInput(f"{x} lies below zero")
    return x
"""
    deploy(shared_platform, tmp_path, "refuses", source)
    refused = shared_platform.predict("refuses", {"x": -4})
    assert (refused.status, refused.json()) == (422, {"code": "bad_input", "error": "-4 lies below zero"})
    assert shared_platform.predict("refuses", {"rows": [{"x": 1}, {"x": -1}]}).json()["error"] == "-1 lies below zero"
    assert shared_platform.predict("refuses", {"x": 4}).json() == {"output": 4}


def test_an_output_that_the_schema_names_is_given(shared_platform, tmp_path):
    source = """
from typing import TypedDict

class Out(TypedDict):
    a: int
    b: str

def predict(x: int) -> Out:
    return {7: {"b": "u"}, 8: {"a": "one", "b": "u"}}.get(x, {"a": 1, "b": "u"})
"""
    deploy(shared_platform, tmp_path, "gives", source)
    assert shared_platform.predict("gives", {"x": 0}).json() == {"a": 1, "b": "u"}
    for x, message in ((7, "no output `a`"), (8, "`a` is 'one', a str, where the schema says INT64")):
        failed = shared_platform.predict("gives", {"x": x})
        assert failed.status == 500 and failed.json()["code"] == "bad_output" and message in failed.json()["error"]


def test_callers_do_not_get_each_others_keys(shared_platform, tmp_path):
    source = 'import time\n\ndef predict(name: str) -> dict:\n    time.sleep(0.01)\n    return {"greeting": "hi", name: len(name)}\n'
    deploy(shared_platform, tmp_path, "greets", source)
    names = ["bob", "dave", "ann", "eve"] * 10
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda name: shared_platform.predict("greets", {"name": name}).json(), names)
    assert list(answers) == [{"greeting": "hi", name: len(name)} for name in names]


@pytest.mark.parametrize("source, message", [
    ('import joblib_of_another_world\n\ndef predict(x: int) -> int:\n    return x\n', "joblib_of_another_world"),
    ('def predict(x: int) -> int:\n    return x\n\nopen("nowhere.bin")\n', "FileNotFoundError"),
    ("def predict(x: int) -> int:\n    return (x\n", "SyntaxError"),
])
def test_a_model_that_does_not_load(shared_platform, tmp_path, source, message):
    failed = shared_platform.run("deploy", write_model(tmp_path / "unloadable", {"model.py": source}), ok=False)
    assert failed.code == 1 and message in failed.err and 'model.py' in failed.err, failed


def test_requirements_that_do_not_resolve(shared_platform, tmp_path):
    model = write_model(tmp_path / "unresolvable", {"model.py": "def predict(x: int) -> int:\n    return x\n",
                                                    "requirements.txt": "numpy==0.0.0.1\n"})
    failed = shared_platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "numpy" in failed.err and "requirements.txt" in failed.err, failed


def test_the_worker_is_compiled_once_and_installed_nowhere(shared_platform, tmp_path):
    deploy(shared_platform, tmp_path, "kept", "def predict(x: int) -> int: return x")
    (package,) = (shared_platform.data / "shim").glob("worker-*/decalog_worker")
    serving = {file.stem for file in package.glob("*.py")} - {"__main__", "describe", "installed", "needs"}
    made = {file: file.stat().st_mtime_ns for file in package.glob("__pycache__/*.pyc")}
    assert serving <= {file.name.split(".")[0] for file in made}
    deploy(shared_platform, tmp_path, "kept", "def predict(x: int) -> int: return x + 1")
    assert shared_platform.predict("kept", {"x": 1}).json() == {"output": 2}
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert not list((shared_platform.data / "environments").glob("**/decalog_worker*"))
