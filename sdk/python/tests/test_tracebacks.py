"""What a caller and the log are told of an exception of a model."""

import pytest
from conftest import Refused, tensor
from decalog_worker.settings import VARIABLES


def test_exceptions_are_told_with_the_models_own_frames(load, capfd):
    loaded = load(
        "import helper\ndef predict(x: int):\n    return helper.check(x)",
        helper="def check(x):\n    raise ValueError('no %d' % x)",
    )
    with pytest.raises(Refused, match="^ValueError: no 3$") as refused:
        loaded.infer(tensor("x", "INT64", [1], [3]))
    assert refused.value.code == "model_raised"
    assert refused.value.details == ['File "model.py", line 3, in predict', "  return helper.check(x)",
                                     'File "helper.py", line 2, in check', "  raise ValueError('no %d' % x)", "ValueError: no 3"]  # fmt: skip
    log = capfd.readouterr().err
    assert "Traceback" in log and "decalog_worker" not in log


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt()", "MemoryError()", "StopIteration()"])
def test_what_would_end_the_process_is_an_error(load, error):
    with pytest.raises(Refused) as refused:
        load("def predict(x: int): raise %s" % error).infer(tensor("x", "INT64", [1], [3]))
    assert refused.value.code == "model_raised" and str(refused.value).startswith(error.split("(")[0])


@pytest.mark.parametrize("error", ["ValueError('no %s' % TOKEN)", "KeyError(TOKEN)", "RuntimeError('x' * 1975 + TOKEN)"])
def test_secrets_are_not_told_to_callers(load, monkeypatch, error):
    for name, value in {"DECALOG_SECRETS": "TOKEN SHORT", "TOKEN": "correct horse", "SHORT": "no"}.items():
        monkeypatch.setitem(VARIABLES, name, value)
    with pytest.raises(Refused) as refused:
        load("TOKEN = 'correct horse'\ndef predict(x: int):\n    raise %s" % error).infer(tensor("x", "INT64", [1], [3]))
    told = str(refused.value) + "\n".join(refused.value.details)
    assert "correct" not in told and "[secret" in told, told


def test_what_an_exception_says_is_not_in_the_log_of_a_model_that_redacts(load, monkeypatch, capfd):
    monkeypatch.setitem(VARIABLES, "DECALOG_REDACTS", "1")
    with pytest.raises(Refused, match="nobody knows 47114711"):
        load("def predict(x: int):\n    raise ValueError('nobody knows %d' % x)").infer(tensor("x", "INT64", [1], [47114711]))
    log = capfd.readouterr().err
    assert "Traceback" in log and "line 2, in predict" in log and "ValueError" in log and "47114711" not in log


@pytest.mark.parametrize(
    "source, row",
    [
        ("def predict(x: int, city: str):\n    return x / (x - 3)", "x=3, city='Delft'"),
        ("from typing import TypedDict\nclass Row(TypedDict):\n    x: int\n    city: str\ndef predict(row: Row):\n    return row['x'] / (row['x'] - 3)", "x=3, city='Delft'"),
        ("async def predict(x: int, city: str):\n    return x / (x - 3)", "x=3, city='Delft'"),
        ("from typing import Annotated\nimport pandas\ndef predict(rows: Annotated[pandas.DataFrame, {'x': int, 'city': str}]):\n    raise ValueError(len(rows))", "x=1, city='Utrecht'"),
    ],
)
def test_the_log_has_the_row_if_that_is_wanted(load, monkeypatch, capfd, source, row):
    for names, is_there in [(("DECALOG_LOG_ROWS",), True), (("DECALOG_LOG_ROWS", "DECALOG_REDACTS"), False), ((), False)]:
        for name in ("DECALOG_LOG_ROWS", "DECALOG_REDACTS"):
            monkeypatch.delitem(VARIABLES, name, raising=False)
        for name in names:
            monkeypatch.setitem(VARIABLES, name, "1")
        loaded = load(source)
        try:
            loaded.infer_parts(tensor("x", "INT64", [2], [1, 3]), tensor("city", "BYTES", [2], ["Utrecht", "Delft"]))
        except (Refused, AssertionError):
            pass  # a batch fails as one
        log = capfd.readouterr().err
        assert "Traceback" in log and 'File "model.py", line' in log, log
        assert ("at the row: " + row in log) == is_there, (names, log)
