"""Zygotes: processes that have the libraries and no model, and the modules that they import beforehand."""

import os
import signal

import pytest
from conftest import WAIT_S_MAX, binary_body, children_in_group, output, read_answer, request_bytes, tensor

from decalog_worker.modules import modules_of

ECHO = "def predict(x: int) -> int: return x"


def supervisor_parent(supervisor, directory):
    """A parent that was forked from a zygote, with its control socket."""
    zygote = supervisor.start("zygote", directory, DECALOG_IMPORTS="")
    zygote.ready()
    parent, process = zygote.fork_parent(more={"HOME": "/"})
    parent.ready()
    return parent, process


def test_a_zygote_has_what_the_file_imports_and_forks_workers_that_load(supervisor, model, tmp_path):
    directory = model(
        "import sys, json.tool, helper\nimport decimal as d\nfrom no_such_package import a\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import only_types\nif __name__ == '__main__':\n    import only_main\n"
        "def train():\n    import only_train\ndef load():\n    import xml_like.dom\n",
        helper="import pkg.sub\nfrom pkg import other, value\nfrom pkg2 import *\n",
    )
    libraries = tmp_path / "libraries"
    for name in ("pkg", "pkg2"):
        (libraries / name).mkdir(parents=True)
        (libraries / name / "__init__.py").write_text("value = 1\n")
    (libraries / "pkg" / "sub.py").write_text("")
    (libraries / "pkg" / "other.py").write_text("")
    control = supervisor.start("zygote", directory, PYTHONPATH=str(libraries))
    assert control.ready()["can_fork"] is True
    log = supervisor.logs[control.pid].read_text()
    assert "no_such_package is not imported beforehand: ModuleNotFoundError" in log and "xml_like.dom is not" in log
    assert "only_" not in log and "helper" not in log and "pkg" not in log
    other = model("import sys\nthere = [name in sys.modules for name in ('pkg.sub', 'pkg.other', 'pkg2', 'helper', 'model')]\n"
                  "import helper\ndef predict(x: int): return there + [helper.__file__]",
                  helper="")  # fmt: skip
    answer = control.fork(directory=other).ask_json()
    assert answer == [True, True, True, False, True, str(other / "helper.py")]


def test_a_zygote_imports_what_it_is_told(supervisor, model):
    control = supervisor.start("zygote", model(ECHO), DECALOG_IMPORTS="xml.dom.minidom,no_such, sqlite3:dbapi2")
    assert control.ready()["can_fork"] is True
    assert "no_such is not imported beforehand" in supervisor.logs[control.pid].read_text()
    directory = model(
        "import sys\nthere = [name in sys.modules for name in ('xml.dom.minidom', 'sqlite3.dbapi2')]\ndef predict(x: int): return there"
    )
    assert control.fork(directory=directory).ask_json() == [True, True]


def test_a_parent_forked_from_a_zygote(supervisor, model):
    directory = model(
        "import os\nhome = os.environ['HOME']\nloaded = os.getpid()\ndef predict(x: int): return [home, os.environ.get('HOME'), loaded, os.getpid(), os.getppid()]"
    )
    zygote = supervisor.start("zygote", directory, DECALOG_IMPORTS="")
    zygote.ready()
    parent, process = zygote.fork_parent(more={"HOME": "/of/the/parent"})
    ready = parent.ready()
    assert ready["can_fork"] is True and ready["elapsed_ms"] < 60_000
    replica = parent.fork()
    assert replica.ask_json() == ["/of/the/parent", None, process.pid, replica.pid, os.getpid()]
    zygote.ours.close()
    assert zygote.process.wait(WAIT_S_MAX) == 0
    assert parent.fork().ask_json()[2] == process.pid
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 0
    served, process = supervisor_parent(supervisor, directory)
    assert served.order("serve").ask_json()[2:] == [process.pid, process.pid, os.getpid()]


def test_a_forest_is_forked_and_predicts(supervisor, tmp_path):
    np = pytest.importorskip("numpy")
    ensemble = pytest.importorskip("sklearn.ensemble")
    joblib = pytest.importorskip("joblib")
    x = np.random.default_rng(1).random((200, 4))
    forest = ensemble.RandomForestClassifier(20, random_state=1, n_jobs=2).fit(x, x[:, 0] > 0.5)
    directory = tmp_path / "forest"
    directory.mkdir()
    joblib.dump(forest, directory / "forest.joblib")
    assert {"joblib", "sklearn.ensemble._forest", "sklearn.tree._classes"} <= set(
        modules_of(directory / "forest.joblib")
    )
    zygote = supervisor.start("zygote", directory, DECALOG_FILE="forest.joblib")
    ready = zygote.ready()
    assert (ready["threads"], ready["can_fork"], ready["reason"]) == (1, True, "")
    parent, _ = zygote.fork_parent(more={"DECALOG_FILE": "forest.joblib"})
    assert parent.ready()["reason"] == ""
    expected = forest.predict_proba(x[:1])[0].tolist()
    for replica in (parent.fork(), parent.fork(), zygote.fork(more={"DECALOG_FILE": "forest.joblib"})):
        with replica.connect() as connection:
            connection.sendall(request_bytes(*binary_body([tensor("x", "FP64", [1, 4], x[0].tolist())])))
            assert output(read_answer(connection), "probability") == pytest.approx(expected)


def test_a_zygote_forks_nothing_ahead(supervisor, model):
    control = supervisor.start("zygote", model(ECHO), process_group=0, DECALOG_IMPORTS="")
    control.ready()
    control.fork()
    assert not children_in_group(control)


def test_a_parent_tells_which_libraries_it_needed(supervisor, model, tmp_path):
    libraries = tmp_path / "libraries"
    (libraries / "pkg").mkdir(parents=True)
    (libraries / "pkg" / "__init__.py").write_text(
        "import importlib\nhidden = importlib.import_module('pkg.' + 'hidden')\n"
    )
    (libraries / "pkg" / "hidden.py").write_text("import sys\nsys.modules['pkg.alias'] = sys\n")
    directory = model("import json, helper\nimport pkg\ndef predict(x: int): return x", helper="")
    told = tmp_path / "modules"
    control = supervisor.start("parent", directory, PYTHONPATH=str(libraries), DECALOG_MODULES=str(told))
    control.ready()
    names = told.read_text().split("\n")
    assert sorted(name for name in names if name.startswith("pkg")) == ["pkg", "pkg.hidden"]
    assert not {"json", "helper", "model", "sys"} & set(names)
