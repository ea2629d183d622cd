"""The static description: what a model's source tells, without any of it being run."""

import json
import subprocess
import sys

from conftest import WORKER

from decalog_worker.describe import describe


def test_describing_runs_nothing(model):
    directory = model(
        "raise SystemExit('run')\nimport sklearn.base, helpers, os\ndef predict(x: int) -> int: ...",
        helpers="import pandas, json",
    )
    done = subprocess.run(
        [sys.executable, str(WORKER), "--describe", str(directory)], stdout=subprocess.PIPE, check=True
    )
    described = json.loads(done.stdout)
    assert described["imports"] == ["pandas", "sklearn"]
    assert described["modules"] == ["sklearn.base", "pandas"]
    assert described["form"] == "row" and described["notes"] == []
    assert described["python"] == "%d.%d" % sys.version_info[:2]


def describe_failure(directory):
    done = subprocess.run(
        [sys.executable, str(WORKER), "--describe", str(directory), "--file", "model.py"], stdout=subprocess.PIPE
    )
    assert done.returncode == 1
    return json.loads(done.stdout)


def test_refusals_name_the_place_and_the_remedy(model):
    problem = describe_failure(model("import os\ndef predict(:\n    pass\n"))
    assert problem["code"] == "syntax_error"
    assert problem["details"][:2] == ['File "model.py", line 2', "  def predict(:"]
    problem = describe_failure(model("def train(): ...\ndef score(): ..."))
    assert problem["code"] == "no_predict" and problem["details"] == ["its functions: train, score"] and problem["help"]
    problem = describe_failure(
        model("class A:\n    def predict(self, x: int): ...\nclass B:\n    def predict(self, x: int): ...")
    )
    assert problem["code"] == "two_models" and "A, B" in problem["error"]
    problem = describe_failure(model("import pandas as pd\ndef predict(df: pd.DataFrame): ..."))
    assert problem["code"] == "no_columns" and "[schema] inputs" in problem["help"]
    assert describe_failure(model("def predict(): ..."))["code"] == "no_inputs"


def test_what_only_a_run_can_tell_is_noted(model):
    described = describe(str(model("from impl import predict", impl="def predict(x: int) -> int: ...")), "model.py", {})
    assert described["schema"] is None and "known when it is loaded" in described["notes"][0]
    described = describe(
        str(model("import lib\ndef predict(x: lib.Thing, y=lib.DEFAULT, z=None): ...")), "model.py", {}
    )
    assert "lib.Thing" in described["notes"][0] and "default of `y`" in described["notes"][2]
