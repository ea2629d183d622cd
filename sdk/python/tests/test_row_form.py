"""Models that take one row at a time."""

import json
import math

import pytest
from conftest import Refused, binary_body, tensor

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
    from conftest import read_answer, read_outputs, request_bytes

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
    loaded = load(
        "from typing import List\ndef predict(x: List[List[int]]) -> List[List[int]]: return [row[::-1] for row in x]"
    )
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


def test_enumerations(load):
    loaded = load(
        "import enum\nclass C(enum.Enum):\n    A = 'a'\n    B = 'b'\ndef predict(c: C): return C.B if c is C.A else c"
    )
    assert loaded.infer(tensor("c", "BYTES", [2], ["a", "b"])) == {"output": ("BYTES", [2], ["b", "b"])}


@pytest.mark.parametrize("expression, datatype, values", [
    ("x", "INT64", [0, 1, 2]),
    ("x / 2", "FP64", [0.0, 0.5, 1.0]),
    ("x > 0", "BOOL", [False, True, True]),
    ("2**63 + x", "UINT64", [2**63, 2**63 + 1, 2**63 + 2]),
    ("2**70 + x", "json", [2**70, 2**70 + 1, 2**70 + 2]),
    ("[x, x + 1]", "INT64", [0, 1, 1, 2, 2, 3]),
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


@pytest.mark.parametrize("expression, answers", [
    ("[7, 0.5, 2**53 + 1][x]", [("INT64", [1], [7]), ("FP64", [1], [0.5]), ("INT64", [1], [2**53 + 1])]),
    ("[1, 2**63, True][x]", [("INT64", [1], [1]), ("UINT64", [1], [2**63]), ("BOOL", [1], [True])]),
    ("[1, 'a', b'b'][x]", [("INT64", [1], [1]), ("BYTES", [1], ["a"]), ("BYTES", [1], ["b"])]),
    ("(0.5,) * x", [("json", [1], [[]]), ("FP64", [1, 1], [0.5]), ("FP64", [1, 2], [0.5, 0.5])]),
    ("[[1], [1.5], [1, 2.5]][x]", [("INT64", [1, 1], [1]), ("FP64", [1, 1], [1.5]), ("FP64", [1, 2], [1.0, 2.5])]),
    ("[[[], []], [[1], []], [[1], [2]]][x]", [("json", [1], [[[], []]]), ("json", [1], [[[1], []]]), ("INT64", [1, 2, 1], [1, 2])]),
    ("[None, 1.5, [None]][x]", [("json", [1], [None]), ("FP64", [1], [1.5]), ("json", [1], [[None]])]),
    ("[__import__('numpy').float32(1), 1.0, __import__('numpy').zeros(2)][x]", [("FP32", [1], [1.0]), ("FP64", [1], [1.0]), ("FP64", [1, 2], [0.0, 0.0])]),
])  # fmt: skip
def test_a_row_is_answered_as_if_it_were_alone(load, expression, answers):
    loaded = load("def predict(x: int): return %s" % expression)
    assert [loaded.infer(tensor("x", "INT64", [1], [x]))["output"] for x in range(3)] == answers
    found = []
    for rows, outputs in loaded.infer_parts(tensor("x", "INT64", [3], [0, 1, 2])):
        datatype, shape, values = outputs["output"]
        size = len(values) // rows
        found += [(datatype, [1] + shape[1:], values[at * size : (at + 1) * size]) for at in range(rows)]
    assert found == answers


def test_null_answers(load):
    loaded = load("def predict(x: int): return None if x == 1 else float(x)")
    assert loaded.infer_parts(tensor("x", "INT64", [4], [0, 2, 1, 3])) == [
        (2, {"output": ("FP64", [2], [0.0, 2.0])}), (1, {"output": ("json", [1], [None])}), (1, {"output": ("FP64", [1], [3.0])})]  # fmt: skip
    loaded = load("from typing import Optional\ndef predict(x: int) -> Optional[str]: return None if x == 1 else 'y'")
    assert loaded.infer(tensor("x", "INT64", [1], [1])) == {
        "output": ("BYTES", [1], [""]),
        "output:valid": ("BOOL", [1], [False]),
    }
    assert loaded.infer(tensor("x", "INT64", [3], [0, 1, 0]))["output:valid"][2] == [True, False, True]
    loaded = load(
        "from typing import List, Optional\ndef predict(x: int) -> Optional[List[int]]: return None if x == 1 else [x, x]"
    )
    assert loaded.infer_parts(tensor("x", "INT64", [2], [1, 2])) == [
        (1, {"output": ("INT64", [1, 0], []), "output:valid": ("BOOL", [1], [False])}),
        (1, {"output": ("INT64", [1, 2], [2, 2]), "output:valid": ("BOOL", [1], [True])}),
    ]


def test_dicts_with_other_keys(load):
    """Callers who shared a batch got each other's keys."""
    loaded = load("def predict(name: str) -> dict: return {'greeting': 'hi', name: len(name)}")
    parts = loaded.infer_parts(tensor("name", "BYTES", [3], ["bob", "bob", "dave"]))
    assert [(rows, list(outputs)) for rows, outputs in parts] == [(2, ["greeting", "bob"]), (1, ["greeting", "dave"])]
    assert parts[1][1]["dave"] == ("INT64", [1], [4])
    loaded = load("def predict(x: int): return [{}, {}, None, {1: 'a'}, 7][x]")
    assert loaded.infer_parts(tensor("x", "INT64", [5], [0, 1, 2, 3, 4])) == [
        (2, {}), (1, {"output": ("json", [1], [None])}), (1, {"1": ("BYTES", [1], ["a"])}), (1, {"output": ("INT64", [1], [7])})]  # fmt: skip


def test_an_output_that_the_schema_names_is_there_and_of_its_type(load):
    source = """
        from typing import Optional, TypedDict
        class Out(TypedDict, total=True):
            a: int
            b: Optional[str]
        def predict(x: int) -> Out:
            return [{"a": 1, "b": "u"}, {"a": 2}, {"b": "v"}, {"a": 2.5, "b": "w"}, {"a": None, "b": None}, None, {"a": True, "b": "z", "c": 0}][x]
    """
    loaded = load(source)
    parts = loaded.infer_parts(tensor("x", "INT64", [7], list(range(7))))
    assert [rows for rows, _ in parts] == [2, 1, 1, 1, 1, 1]
    assert parts[0][1] == {
        "a": ("INT64", [2], [1, 2]),
        "b": ("BYTES", [2], ["u", ""]),
        "b:valid": ("BOOL", [2], [True, False]),
    }
    assert parts[5][1]["a"] == ("INT64", [1], [1]) and parts[5][1]["c"] == ("INT64", [1], [0])
    for (_, problem), message in zip(parts[1:5], ["no output `a`; it gave b", "`a` is 2.5, a float, where the schema says INT64",
                                                  "`a` is null", "no output `a`; it gave output"]):  # fmt: skip
        assert problem["code"] == "bad_output" and message in problem["error"], problem
    for x, (_, problem) in zip(range(2, 6), parts[1:5]):
        with pytest.raises(Refused) as refused:
            loaded.infer(tensor("x", "INT64", [1], [x]))
        assert refused.value.body == problem


@pytest.mark.parametrize("hint, right, wrong", [
    ("int", ["7", "7.0", "True", "2**63 - 1", "np.int8(3)", "np.float64(2)", "np.array([4])", "E.ONE"], ["7.5", "'7'", "2**63", "None", "[7]", "float('nan')", "np.zeros(2)"]),
    ("float", ["1", "0.5", "True", "float('inf')", "np.float32(1)", "decimal.Decimal('0.5')", "np.array(2)"], ["'a'", "None", "[0.5]", "{}", "10**400"]),
    ("bool", ["True", "np.bool_(False)", "1", "0"], ["2", "'yes'", "0.0", "None"]),
    ("str", ["'a'", "np.str_('b')", "b'c'", "E.TWO", "datetime.date(2026, 1, 1)"], ["1", "None", "['a']", "object()"]),
    ("datetime.datetime", ["datetime.datetime(2026, 1, 1)", "'2026-01-01T00:00:00Z'", "np.datetime64('2026-01-01')"], ["'soon'", "1", "datetime.date(2026, 1, 1)"]),
    ("Literal['a', 'b']", ["'a'"], ["'c'", "1"]),
    ("List[float]", ["[]", "[1, 2.5]", "np.ones(3)", "(1,)"], ["1.0", "['a']", "[[1.0]]", "None", "[None]", "np.ones((1, 1))"]),
    ("List[List[int]]", ["[[], []]", "[]", "[[1, 2]]", "[[1], [2, 3]]", "np.zeros((2, 2), int)"], ["[1]", "[['a']]", "[[1], ['b', 'c']]", "[[1.5], []]"]),
    ("Tuple[float, float]", ["(1, 2)"], ["(1, 2, 3)", "()"]),
])  # fmt: skip
def test_annotations_are_kept_to(load, hint, right, wrong):
    pytest.importorskip("numpy")
    head = "import datetime, decimal, enum\nimport numpy as np\nfrom typing import *\n"
    head += "try:\n    from typing import Literal\nexcept ImportError: pass\nclass E(enum.Enum):\n    ONE = 1\n    TWO = 'two'\n"
    loaded = load(
        head
        + "def predict(x: int) -> %s: return [%s][x]" % (hint, ", ".join("lambda: " + text for text in right + wrong))
        + "()"
    )
    for x in range(len(right + wrong)):
        alone = loaded.post(*binary_body([tensor("x", "INT64", [1], [x])]))
        assert alone.status == (200 if x < len(right) else 500), ((right + wrong)[x], alone.body)
        assert alone.status == 200 or alone.json()["code"] == "bad_output"


def test_records(load):
    for source in (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    a: int\n    b: float\ndef predict(x: int) -> A: return A(x, x)",
        "from typing import NamedTuple\nclass A(NamedTuple):\n    a: int\n    b: float\ndef predict(x: int) -> A: return A(x, x)",
        "from typing import TypedDict\nclass A(TypedDict):\n    a: int\n    b: float\ndef predict(x: int) -> A: return {'b': x, 'a': x}",
    ):
        assert load(source).infer(tensor("x", "INT64", [1], [3])) == {
            "a": ("INT64", [1], [3]),
            "b": ("FP64", [1], [3.0]),
        }


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
    loaded = load(
        "def predict(a: int, b: int = 5, *, c: int, **more): return [a, b, c, more['z']]", {"inputs": columns}
    )
    assert loaded.infer(*[tensor(name, "INT64", [1], [at]) for at, name in enumerate("caz")])["output"][2] == [
        1,
        5,
        0,
        2,
    ]


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
