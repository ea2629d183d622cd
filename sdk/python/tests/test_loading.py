"""Loading: where a model's code comes from, and what is told of a model that does not load."""

import json
import os

import pytest
from conftest import ask, binary_body, output, read_answer, request_bytes, tensor, wait_for

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
