"""Loading: where a model's code comes from, and what is told of a model that does not load."""

import json
import os

import pytest
from conftest import ask, binary_body, output, read_answer, request_bytes, tensor, wait_for

from decalog_worker.describe import describe

ECHO = "def predict(x: int) -> int: return x"


@pytest.mark.parametrize("source, expected", [
    ("import os\n\nclf = open('churn.jobli')\n" + ECHO,
     'File "model.py", line 3, in <module>\n  clf = open(\'churn.jobli\')\nFileNotFoundError: [Errno 2] No such file or directory: \'churn.jobli\'\n'),
    ("def predict(x: int:\n    pass\n", 'File "model.py", line 1\n  def predict(x: int:\n'),
    ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'\n"),
    ("raise SystemExit(3)\n", "SystemExit: 3\n"),
    ("class Model:\n    def load(self, path):\n        raise ValueError('weights')\n    def predict(self, x: int): ...", 'line 3, in load\n  raise ValueError(\'weights\')\nValueError: weights\n'),
    ("def train(): ...", "model.py has no function `predict`"),
    ("import pandas as pd\ndef predict(df: pd.DataFrame): ...", "[schema] inputs"),
])  # fmt: skip
def test_a_model_that_does_not_load(serve, source, expected):
    served = serve(source, wait=False)
    assert served.process.wait(60) == 1
    text = served.failure.read_text()
    assert expected in text and "decalog_worker" not in text and "importlib" not in text
    assert not os.path.exists(served.socket)


def test_errors_of_a_chain_name_the_cause(serve):
    served = serve(
        "try:\n    {}['k']\nexcept KeyError as error:\n    raise RuntimeError('broken') from error", wait=False
    )
    assert served.process.wait(60) == 1
    assert served.failure.read_text().endswith("RuntimeError: broken\ncaused by KeyError: 'k'\n")


def test_the_manifest_arrives_by_variable(serve):
    columns = [{"name": "x", "datatype": "FP32", "shape": [2]}]
    served = serve("def predict(x): return sum(x)", DECALOG_SCHEMA=json.dumps({"inputs": columns}))
    with served.connect() as connection:
        connection.sendall(request_bytes(*binary_body([tensor("x", "FP32", [1, 2], [0.5, 1.0])])))
        assert output(read_answer(connection)) == [1.5]


def test_no_bytecode_lies_beside_a_model(serve, tmp_path):
    served = serve(ECHO)
    served.stop()
    directory = tmp_path / "model1"
    (directory / "package").mkdir()
    (directory / "package" / "__init__.py").write_text("from . import inner\n")
    (directory / "package" / "inner.py").write_text("K = 3\n")
    (directory / "weights.txt").write_text("4")
    (directory / "model.py").write_text(
        "import package\nopen('weights.txt').read()\ndef predict(x: int) -> int:\n    import late\n    return package.inner.K + late.K"
    )
    (directory / "late.py").write_text("K = 4\n")
    os.chmod(str(directory), 0o555)
    try:
        with serve(directory).connect() as connection:
            connection.sendall(ask(1))
            assert output(read_answer(connection)) == [7]
        assert not list(directory.rglob("*.pyc"))
    finally:
        os.chmod(str(directory), 0o755)


def test_bytecode_of_libraries_is_kept(serve, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    (library / "elsewhere.py").write_text("K = 3\n")
    served = serve(
        "import sys\nsys.path.append(%r)\nimport elsewhere\ndef predict(x: int) -> int: return elsewhere.K"
        % str(library)
    )
    wait_for(lambda: list(library.rglob("*.pyc")))
    served.stop()


PREDICT = "from %s import double\ndef predict(x: int) -> int: return double(x)"


@pytest.mark.parametrize("file, files", [
    ("model.py", {"model.py": PREDICT % ".features", "features.py": "from .more import double", "more.py": "DOUBLE"}),
    ("churn/model.py", {"churn/__init__.py": "", "churn/model.py": PREDICT % ".features", "churn/features.py": "from churn.more import double", "churn/more.py": "DOUBLE"}),
    ("src/churn/model.py", {"src/churn/__init__.py": "", "src/churn/model.py": PREDICT % "churn.features", "src/churn/features.py": "DOUBLE"}),
    ("src/model.py", {"src/model.py": PREDICT % "features", "src/features.py": "DOUBLE"}),
    ("model/__init__.py", {"model/__init__.py": PREDICT % ".features", "model/features.py": "DOUBLE"}),
    ("model.py", {"model.py": PREDICT % "churn.features", "src/churn/__init__.py": "", "src/churn/features.py": "DOUBLE"}),
])  # fmt: skip
def test_code_lies_where_people_keep_it(serve, tmp_path, file, files):
    directory = tmp_path / "laid"
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text.replace("DOUBLE", "import json\ndef double(x): return 2 * x"))
    described = describe(str(directory), file, {})
    assert described["schema"]["inputs"][0]["name"] == "x" and described["imports"] == described["modules"] == []
    with serve(directory, DECALOG_FILE=file).connect() as connection:
        connection.sendall(ask(4))
        assert output(read_answer(connection)) == [8]


def test_the_libraries_of_neighbours_are_found(tmp_path):
    (tmp_path / "model.py").write_text("from .features import double\nfrom . import more\ndef predict(x: int): ...")
    (tmp_path / "features.py").write_text("import numpy\n")
    (tmp_path / "more.py").write_text("import pandas.api.types\n")
    described = describe(str(tmp_path), "model.py", {})
    assert described["imports"] == ["numpy", "pandas"] and sorted(described["modules"]) == ["numpy", "pandas.api.types"]


def test_a_pickle_of_a_script_finds_its_classes_in_the_model(serve, tmp_path):
    directory = tmp_path / "scripted"
    directory.mkdir()
    (directory / "scale.pkl").write_bytes(b"c__main__\nScale\n.")
    loads = "import pickle\nwith open('scale.pkl', 'rb') as file: made = pickle.load(file)\ndef predict(x: int) -> int: return made.K * x"
    (directory / "model.py").write_text("class Scale:\n    K = 3\n" + loads)
    with serve(directory).connect() as connection:
        connection.sendall(ask(4))
        assert output(read_answer(connection)) == [12]
    (directory / "model.py").write_text(loads)
    served = serve(directory, wait=False)
    assert served.process.wait(60) == 1
    text = served.failure.read_text()
    assert "a pickle needs `Scale` of the program that saved it" in text and "define `Scale` in model.py" in text
    assert 'File "model.py", line 2' in text


@pytest.mark.parametrize("source", [
    "def setup():\n    global K\n    K = 3\ndef predict(x: int) -> int: return K * x",
    "class Model:\n    def setup(self): self.k = 1\n    def load(self, path): self.k += 2\n    def predict(self, x: int) -> int: return self.k * x",
])  # fmt: skip
def test_setup_is_called_as_load_is(load, source):
    assert load(source).infer(tensor("x", "INT64", [1], [4]))["output"][2] == [12]
