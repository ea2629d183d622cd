"""What a model needs of libraries: by its text and by its pickles, neither of which is run."""

import bz2
import gzip
import json
import lzma
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from conftest import WORKER
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from decalog_worker.installed import installed
from decalog_worker.needs import needs_of
from decalog_worker.pickles import Pickle, modules_of_data

X, Y = np.arange(40.0).reshape(20, 2), [0, 1] * 10


def places(directory, file="model.py"):
    return {need["module"]: (need["place"], need["lazy"]) for need in needs_of(directory, file)}


def test_imports_that_must_succeed_are_needed(model):
    directory = model(
        "import os, cv2\nfrom PIL import Image\nimport helpers\nfrom google.cloud import storage\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
        "try:\n    import orjson as json\nexcept ImportError:\n    import json\n"
        "try:\n    import yaml\nfinally:\n    pass\n"
        "def predict(x: int) -> int:\n    import six\ndef train():\n    import matplotlib.pyplot\n"
        "if __name__ == '__main__':\n    import click\n",
        helpers="import pandas, json, decalog\n",
    )
    assert places(directory) == {
        "cv2": ("model.py:1", False),
        "PIL": ("model.py:2", False),
        "pandas": ("helpers.py:1", False),
        "google.cloud.storage": ("model.py:4", False),
        "yaml": ("model.py:13", False),
        "six": ("model.py:17", False),
        "matplotlib": ("model.py:19", True),
    }


def test_what_lies_in_the_directory_is_its_own(model):
    directory = Path(str(model("import sys\nsys.path.insert(0, 'lib')\nimport mine, torch\ndef predict(x: int): ...")))
    (directory / "lib").mkdir()
    (directory / "lib/mine.py").write_text("")
    assert places(directory) == {"torch": ("model.py:3", True)}, "the path may lead to it"


def test_pickles_that_are_named_are_needed(model):
    directory = Path(str(model("import joblib\nforest = joblib.load('forest.joblib')\ndef predict(x: int): ...")))
    joblib.dump(RandomForestClassifier(2).fit(X, Y), directory / "forest.joblib")
    joblib.dump({"x": np.zeros(3)}, directory / "unused.joblib")
    found = places(directory)
    assert found["sklearn"] == ("forest.joblib", False) and found["joblib"] == ("model.py:1", False)
    (sklearn,) = [need for need in needs_of(directory, "model.py") if need["module"] == "sklearn"]
    assert sklearn["versions"]["scikit-learn"]
    assert {"sklearn", "numpy", "joblib"} == set(places(directory, "forest.joblib"))


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_arrays_of_joblib_are_stepped_over(tmp_path, compress):
    objects = np.array([1, "x", None, np.float64(2)], object)
    times = np.array(["2026-01-01"], "M8[s]")
    record = np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")])
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(X, Y)
    path = tmp_path / "m.joblib"
    joblib.dump([np.zeros((0, 3)), objects, times, record, np.array(["ab", "c"]), model, np.asfortranarray(X)], path, compress=compress)
    read = Pickle(path)
    assert read.is_whole and "sklearn.ensemble._forest" in read.modules and "sklearn.pipeline" in read.modules
    assert read.versions["scikit-learn"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_protocols_are_read_and_nothing_is_run(tmp_path, protocol):
    class Boom:
        def __reduce__(self):
            return sys.exit, ("run",)

    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps([RandomForestClassifier(2).fit(X, Y), Boom(), {"a": (1, 2.5, b"x", True)}], protocol))
    read = Pickle(path)
    assert read.is_whole and "sklearn.ensemble._forest" in read.modules and "sys" in read.modules


def test_a_model_fitted_on_a_frame_is_asked_with_one(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b"])
    for name, data, asked in (("named", frame, True), ("unnamed", X, False)):
        joblib.dump(StandardScaler().fit(data), tmp_path / (name + ".joblib"))
        assert Pickle(tmp_path / (name + ".joblib")).takes_frames == asked
        assert ("pandas" in places(tmp_path, name + ".joblib")) == asked


def test_what_cannot_be_followed_is_searched(tmp_path):
    data = pickle.dumps(StandardScaler().fit(X), 4)
    cut = data[: len(data) // 2] + b"\xff\x00garbage" + data[len(data) // 2 :]
    found, is_whole = modules_of_data(cut)
    assert not is_whole and "sklearn.preprocessing._data" in found
    for pack in (gzip.compress, bz2.compress, lzma.compress, zlib.compress):
        path = tmp_path / "m.pkl"
        path.write_bytes(pack(data))
        assert "sklearn.preprocessing._data" in Pickle(path).modules
    for no_pickle in (b"", b"hello", b"\x1f\x8bx"):
        (tmp_path / "no.pkl").write_bytes(no_pickle)
        assert needs_of(tmp_path, "no.pkl") == []


def test_what_is_installed_is_told():
    found = installed()
    assert "numpy" in found["numpy"]["modules"] and found["numpy"]["version"] == np.__version__
    scikit = next(of for name, of in found.items() if name.lower().replace("_", "-") == "scikit-learn")
    assert "sklearn" in scikit["modules"] and "scipy" in scikit["requires"]
    done = subprocess.run([sys.executable, "-I", str(WORKER), "--installed"], stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout)["numpy"] == found["numpy"]
