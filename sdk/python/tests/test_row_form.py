"""Models that take one row at a time."""

import datetime
import json
import math

import pytest
from conftest import Refused, tensor

CHURN = """
from typing import Dict, Literal, Optional
def predict(age: int, city: Literal["Utrecht", "Delft"], income: Optional[float] = None) -> Dict[str, float]:
    return {"leave": age + (income or 0.0) + (1000 if city == "Delft" else 0)}
"""


def test_rows_with_missing_values(load):
    inputs = [tensor("age", "INT64", [3], [1, 2, 3]), tensor("city", "BYTES", [3], ["Delft", "Utrecht", "Delft"]),
              tensor("income", "FP64", [3], [0.5, 0, 0.25]), tensor("income:valid", "BOOL", [3], [1, 0, 1])]  # fmt: skip
    loaded = load(CHURN)
    assert loaded.infer(*inputs) == {"leave": ("FP64", [3], [1001.5, 2.0, 1003.25])}
    assert loaded.infer(*inputs[:2])["leave"][2] == [1001, 2, 1003]


def test_numpy_is_not_imported_for_plain_values(serve):
    from conftest import binary_body, read_answer, read_outputs, request_bytes

    served = serve(
        "import sys\ndef predict(x: float) -> str: return ','.join(name for name in ('numpy', 'pandas', 'asyncio') if name in sys.modules)"
    )
    with served.connect() as connection:
        connection.sendall(request_bytes(*binary_body([tensor("x", "FP64", [1], [1.0])])))
        answer = read_answer(connection)
        assert read_outputs(answer.body, answer.json_length)["output"][2] == [""]


EVERY_DATATYPE = [
    ("BOOL", [True, False]), ("INT8", [-128, 127]), ("INT16", [-32768, 1]), ("INT32", [-(2**31), 1]), ("INT64", [-(2**63), 2**53 + 1]),
    ("UINT8", [0, 255]), ("UINT16", [0, 65535]), ("UINT32", [0, 2**32 - 1]), ("UINT64", [0, 2**64 - 1]),
    ("FP16", [0.5, -2.0]), ("FP32", [0.5, -2.0]), ("FP64", [0.1, 1e300]), ("BYTES", ["", "é"]),
]  # fmt: skip


@pytest.mark.parametrize("datatype, values", EVERY_DATATYPE)
def test_every_datatype(load, datatype, values):
    column = {"name": "x", "datatype": datatype, "shape": []}
    loaded = load("def predict(x): return x", {"inputs": [column], "outputs": [dict(column, name="y")]})
    assert loaded.infer(tensor("x", datatype, [2], values)) == {"y": (datatype, [2], values)}
    answer = loaded.infer_json([{"name": "x", "datatype": datatype, "shape": [2], "data": values}])
    assert answer["outputs"] == [{"name": "y", "datatype": datatype, "shape": [2], "data": values}]


def test_bf16_comes_in(load):
    loaded = load("def predict(x): return x", {"inputs": [{"name": "x", "datatype": "BF16", "shape": []}]})
    assert loaded.infer(tensor("x", "BF16", [2], [0x3F80, 0xC000])) == {"output": ("FP64", [2], [1.0, -2.0])}


def test_shapes(load):
    loaded = load("from typing import List\ndef predict(x: List[List[int]]) -> List[List[int]]: return [row[::-1] for row in x]")
    assert loaded.infer(tensor("x", "INT64", [2, 2, 2], list(range(8)))) == {
        "output": ("INT64", [2, 2, 2], [1, 0, 3, 2, 5, 4, 7, 6])
    }
    loaded = load("from typing import List\ndef predict(x: List[str]) -> str: return '+'.join(x)")
    assert loaded.infer(tensor("x", "BYTES", [2, 2], ["a", "b", "c", "d"]))["output"][2] == ["a+b", "c+d"]


def test_json_and_timestamps_and_dates_and_bytes(load):
    loaded = load("""
        from datetime import date, datetime, timedelta
        def predict(a: dict, t: datetime, d: date, b: bytes):
            return {"keys": sorted(a), "next": t + timedelta(days=1), "year": d.year, "size": len(b), "all": {"a": a, "t": t}}
    """)
    out = loaded.infer(tensor("a", "BYTES", [1], ['{"k": [1]}']), tensor("t", "BYTES", [1], ["2026-11-23T08:00:00.5Z"]),
                       tensor("d", "BYTES", [1], ["2024-02-29"]), tensor("b", "BYTES", [1], [b"\xff\x00"]))  # fmt: skip
    assert out["keys"] == ("BYTES", [1, 1], ["k"])
    assert out["next"] == ("timestamp", [1], ["2026-11-24T08:00:00.500000Z"])
    assert out["year"][2] == [2024] and out["size"][2] == [2]
    assert out["all"] == ("json", [1], [{"a": {"k": [1]}, "t": "2026-11-23T08:00:00.500000Z"}])


def test_timestamps_of_all_forms():
    from decalog.worker import parse_timestamp

    utc = datetime.timezone.utc
    assert parse_timestamp("2026-11-23T08:00:00Z") == datetime.datetime(2026, 11, 23, 8, tzinfo=utc)
    assert parse_timestamp("2026-11-23t08:00:00.1234567-01:30") == datetime.datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=utc)
    for wrong in ("2026-11-23", "2026-13-23T08:00:00Z", "2026-11-23T08:00:00"):
        with pytest.raises(ValueError):
            parse_timestamp(wrong)


def test_enumerations(load):
    loaded = load("import enum\nclass C(enum.Enum):\n    A = 'a'\n    B = 'b'\ndef predict(c: C): return C.B if c is C.A else c")
    assert loaded.infer(tensor("c", "BYTES", [2], ["a", "b"])) == {"output": ("BYTES", [2], ["b", "b"])}


@pytest.mark.parametrize("expression, datatype, values", [
    ("x", "INT64", [0, 1, 2]),
    ("x / 2", "FP64", [0.0, 0.5, 1.0]),
    ("x if x < 2 else 0.5", "FP64", [0.0, 1.0, 0.5]),
    ("x > 0", "BOOL", [False, True, True]),
    ("2**63 + x", "UINT64", [2**63, 2**63 + 1, 2**63 + 2]),
    ("2**70 + x", "json", [2**70, 2**70 + 1, 2**70 + 2]),
    ("x if x else 'none'", "json", ["none", 1, 2]),
    ("[x, x + 1]", "INT64", [0, 1, 1, 2, 2, 3]),
    ("(0.5,) * x", "json", [[], [0.5], [0.5, 0.5]]),
    ("[x, None]", "json", [[0, None], [1, None], [2, None]]),
    ("[{'x': x}]", "json", [[{"x": 0}], [{"x": 1}], [{"x": 2}]]),
    ("{x}", "json", [[0], [1], [2]]),
    ("[]", "json", [[], [], []]),
    ("b'ab'", "BYTES", ["ab", "ab", "ab"]),
])  # fmt: skip
def test_answers_of_all_kinds(load, expression, datatype, values):
    out = load("def predict(x: int): return %s" % expression).infer(tensor("x", "INT64", [3], [0, 1, 2]))
    assert out["output"][0] == datatype and out["output"][2] == values
    assert out["output"][1][0] == 3


def test_null_answers(load):
    loaded = load("def predict(x: int): return None if x == 1 else float(x)")
    out = loaded.infer(tensor("x", "INT64", [3], [0, 1, 2]))
    assert out == {"output": ("FP64", [3], [0.0, 0.0, 2.0]), "output:valid": ("BOOL", [3], [True, False, True])}
    assert loaded.infer(tensor("x", "INT64", [1], [1])) == {"output": ("json", [1], [None])}
    loaded = load("from typing import Optional\ndef predict(x: int) -> Optional[str]: return None if x == 1 else 'y'")
    assert loaded.infer(tensor("x", "INT64", [1], [1])) == {
        "output": ("BYTES", [1], [""]),
        "output:valid": ("BOOL", [1], [False]),
    }
    assert loaded.infer(tensor("x", "INT64", [1], [0]))["output:valid"][2] == [True]
    loaded = load("def predict(x: int): return None if x == 1 else [x, x]")
    assert loaded.infer(tensor("x", "INT64", [2], [1, 2]))["output"] == ("INT64", [2, 2], [0, 0, 2, 2])


def test_dicts_with_other_keys(load):
    out = load("def predict(x: int): return {'a': x} if x else {'a': x, 'b': 'z'}").infer(tensor("x", "INT64", [2], [0, 1]))
    assert out == {"a": ("INT64", [2], [0, 1]), "b": ("BYTES", [2], ["z", ""]), "b:valid": ("BOOL", [2], [True, False])}


def test_records(load):
    for source in (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int\n    b: float\ndef predict(x: int) -> A: return A(x, x)",
        "from typing import NamedTuple\nclass A(NamedTuple):\n    a: int\n    b: float\ndef predict(x: int) -> A: return A(x, x)",
        "from typing import TypedDict\nclass A(TypedDict):\n    a: int\n    b: float\ndef predict(x: int) -> A: return {'b': x, 'a': x}",
    ):
        assert load(source).infer(tensor("x", "INT64", [1], [3])) == {"a": ("INT64", [1], [3]), "b": ("FP64", [1], [3.0])}


def test_what_is_not_finite_stays_a_float(load):
    out = load("def predict(x: float) -> float: return x").infer(tensor("x", "FP64", [2], [math.nan, math.inf]))
    assert math.isnan(out["output"][2][0]) and out["output"][2][1] == math.inf
    out = load("def predict(x: float): return {'a': {'b': x}}").infer(tensor("x", "FP64", [1], [math.nan]))
    assert out["a"] == ("json", [1], [{"b": None}])
    answer = load("def predict(x: float) -> float: return x").infer_json(
        [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1e999]}]
    )
    assert answer["outputs"][0]["data"] == [None]


def test_numpy_answers(load):
    loaded = load(
        "import numpy as np\ndef predict(x: float): return {'a': np.float32(x), 'b': np.arange(2) + x, 'c': [np.int64(1), 2], 'd': {'e': np.ones(1)}}"
    )
    out = loaded.infer(tensor("x", "FP64", [2], [0.5, 1.5]))
    assert out["a"] == ("FP32", [2], [0.5, 1.5]) and out["b"] == ("FP64", [2, 2], [0.5, 1.5, 1.5, 2.5])
    assert out["c"] == ("INT64", [2, 2], [1, 2, 1, 2]) and out["d"][2] == [{"e": [1.0]}, {"e": [1.0]}]


def test_numpy_scalars_come_in(load):
    out = load("import numpy as np\ndef predict(x: np.float32) -> str: return type(x).__name__").infer(
        tensor("x", "FP32", [1], [0.5])
    )
    assert out["output"][2] == ["float32"]


def test_arguments_of_all_kinds(load):
    columns = [{"name": name, "datatype": "INT64", "shape": []} for name in ("c", "a", "z")]
    loaded = load("def predict(a: int, b: int = 5, *, c: int, **more): return [a, b, c, more['z']]", {"inputs": columns})
    assert loaded.infer(*[tensor(name, "INT64", [1], [at]) for at, name in enumerate("caz")])["output"][2] == [1, 5, 0, 2]


def test_classes_and_load(load):
    loaded = load("""
        class Model:
            def __init__(self): self.k = 1
            def load(self, path): self.k = len((path / "model.py").read_text())
            def predict(self, x: int) -> bool: return self.k > 1
    """)
    assert loaded.infer(tensor("x", "INT64", [1], [1]))["output"][2] == [True]
    loaded = load("k = 0\ndef load(path):\n    global k\n    k = 7\ndef predict(x: int) -> int: return k")
    assert loaded.infer(tensor("x", "INT64", [1], [1]))["output"][2] == [7]


def test_coroutines(load):
    loaded = load("""
        import asyncio
        class Model:
            async def load(self, path): self.k = 2
            async def predict(self, x: int) -> int:
                await asyncio.sleep(0)
                return x * self.k
    """)
    assert loaded.infer(tensor("x", "INT64", [3], [1, 2, 3]))["output"][2] == [2, 4, 6]


def test_exceptions_are_told_with_the_models_own_frames(load, capsys):
    loaded = load(
        "import helper\ndef predict(x: int):\n    return helper.check(x)",
        helper="def check(x):\n    raise ValueError('no %d' % x)",
    )
    with pytest.raises(Refused, match="^ValueError: no 3$") as refused:
        loaded.infer(tensor("x", "INT64", [1], [3]))
    assert refused.value.code == "model_raised"
    assert refused.value.details == ['File "model.py", line 3, in predict', "  return helper.check(x)",
                                     'File "helper.py", line 2, in check', "  raise ValueError('no %d' % x)", "ValueError: no 3"]  # fmt: skip
    log = capsys.readouterr().err
    assert "Traceback" in log and "worker.py" not in log


@pytest.mark.parametrize("error", ["SystemExit(3)", "KeyboardInterrupt()", "MemoryError()", "StopIteration()"])
def test_what_would_end_the_process_is_an_error(load, error):
    with pytest.raises(Refused) as refused:
        load("def predict(x: int): raise %s" % error).infer(tensor("x", "INT64", [1], [3]))
    assert refused.value.code == "model_raised" and str(refused.value).startswith(error.split("(")[0])


def test_what_has_no_json_form_is_a_bad_output(load):
    with pytest.raises(Refused, match="object has no JSON form") as refused:
        load("def predict(x: int): return object()").infer(tensor("x", "INT64", [1], [3]))
    assert refused.value.code == "bad_output"
    with pytest.raises(Refused, match="iterator") as refused:
        load("def predict(x: int): return iter([1])").infer(tensor("x", "INT64", [1], [3]))
    assert "yield" in json.dumps(refused.value.body)


def test_files_beside_the_model_can_be_imported(load):
    assert load("import limits\ndef predict(x: int) -> int: return limits.K", limits="K = 3").infer(
        tensor("x", "INT64", [1], [1])
    )["output"][2] == [3]


def test_inputs_that_are_left_out_get_their_default(load):
    loaded = load("""
        import enum
        from datetime import datetime
        from typing import List, Optional
        class C(enum.Enum):
            A = "a"
        def predict(x: int, c: C = C.A, l: List[int] = [1, 2], j: dict = {"k": 1}, n: Optional[float] = None, s: str = "t"):
            j["k"] += 1
            return [c is C.A, l == [1, 2], j == {"k": 2}, n is None, s == "t"]
    """)
    for _ in range(2):
        assert loaded.infer(tensor("x", "INT64", [2], [1, 2]))["output"] == ("BOOL", [2, 5], [True] * 10)


def test_load_and_predict_share_an_event_loop(load):
    loaded = load("""
        import asyncio
        class Model:
            async def load(self, path): self.loop = asyncio.get_running_loop()
            async def predict(self, x: int) -> bool: return self.loop is asyncio.get_running_loop()
    """)
    assert loaded.infer(tensor("x", "INT64", [1], [1]))["output"][2] == [True]
