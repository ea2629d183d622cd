"""The module `decalog` that a worker provides, and the BadInput that a model raises."""

from pathlib import Path

import pytest
from conftest import ask, binary_body, read_answer, read_parts, request_bytes, tensor

from decalog_worker.describe import describe
from decalog_worker.provided import is_bad_input
from decalog_worker.tracebacks import raised


@pytest.mark.parametrize(
    "source, code",
    [("decalog.BadInput('x is \\ud83d')", "bad_input"), ("Worse()", "bad_input"), ("ValueError('x')", "model_raised")],
)
def test_a_model_refuses_a_row(serve, source, code):
    """Without any package: the worker gives `decalog` to the model."""
    model = (
        "import decalog\nclass Worse(decalog.BadInput): pass\ndef predict(x: int) -> int:\n    if x < 0: raise %s\n    return x"
        % source
    )
    served = serve(model)
    with served.connect() as connection:
        connection.sendall(ask(-1))
        alone = read_answer(connection)
        connection.sendall(request_bytes(*binary_body([tensor("x", "INT64", [3], [1, -1, 2])])))
        together = read_answer(connection)
    assert alone.status == (422 if code == "bad_input" else 500) and alone.json()["code"] == code
    parts = read_parts(together.body, together.json_length)
    assert parts[1] == (1, alone.json()) and parts[2][1]["output"][2] == [2]
    assert code != "bad_input" or "details" not in alone.json()


def test_a_stream_refuses_its_row(serve):
    with serve(
        "from decalog import BadInput\ndef predict(x: int):\n    if x: raise BadInput('no')\n    yield 1"
    ).connect() as connection:
        connection.sendall(ask(1))
        answer = read_answer(connection)
        assert answer.status == 422 and answer.json() == {"code": "bad_input", "error": "no"}


def test_a_model_may_use_the_client_that_it_has_installed():
    from decalog import BadInput

    assert is_bad_input(BadInput("x")) and not is_bad_input(ValueError("x"))
    assert raised(BadInput("x"), ".").body() == {"code": "bad_input", "error": "x"}
    assert "decalog" not in describe(str(Path(__file__).parent / "imports"), "model.py", {})["imports"]
