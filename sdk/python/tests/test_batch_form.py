"""Models that take rows together: arrays and frames."""

import math

import pytest
from conftest import Loaded, Refused, binary_body, read_outputs, tensor

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

F4 = tensor("x", "FP64", [2, 4], [float(i) for i in range(8)])


def test_echo(load):
    out = load("import numpy as np\ndef predict(x: np.ndarray) -> np.ndarray: return x").infer(F4)
    assert out == {"output": ("FP64", [2, 4], [float(i) for i in range(8)])}


def test_arrays_are_writable_aligned_and_kept(load):
    loaded = load("""
        import numpy as np
        kept = []
        def predict(x: np.ndarray, n: np.ndarray) -> np.ndarray:
            assert x.flags.writeable and x.flags.aligned and n.flags.aligned
            kept.append(x)
            x += 1
            return kept[0]
    """)
    first = loaded.infer(F4, tensor("n", "FP64", [2], [1, 2]))
    assert loaded.infer(tensor("x", "FP64", [2, 4], [9.0] * 8), tensor("n", "FP64", [2], [1, 2])) == first


def test_other_columns_are_arrays_too(load):
    loaded = load("""
        import numpy as np
        from typing import Optional
        def predict(x: np.ndarray, n: int, s: str, m: Optional[float], k: Optional[int], f: int = 3):
            assert n.dtype == np.int64 and s.dtype == object and k.dtype == object and f.tolist() == [3, 3]
            return {"a": x.sum(axis=1) + n, "s": s + "!", "m": m, "k": [v is None for v in k]}
    """)
    out = loaded.infer(F4, tensor("n", "INT64", [2], [10, 20]), tensor("s", "BYTES", [2], ["u", "v"]), tensor("m", "FP64", [2], [1, 0]),
                       tensor("m:valid", "BOOL", [2], [1, 0]), tensor("k", "INT64", [2], [1, 0]), tensor("k:valid", "BOOL", [2], [1, 0]))  # fmt: skip
    assert out["a"][2] == [16.0, 42.0] and out["s"] == ("BYTES", [2], ["u!", "v!"])
    assert out["m"][2][0] == 1 and math.isnan(out["m"][2][1]) and out["k"][2] == [False, True]


@pytest.mark.parametrize("expression, datatype, shape, values", [
    ("x[:, 0].astype('float32')", "FP32", [2], [0.0, 4.0]),
    ("x[:, ::2]", "FP64", [2, 2], [0.0, 2.0, 4.0, 6.0]),
    ("x[:, :1].astype('>i4')", "INT32", [2, 1], [0, 4]),
    ("np.array(['a', 'bc'])", "BYTES", [2], ["a", "bc"]),
    ("np.array([{'k': 1}, {}], dtype=object)", "json", [2], [{"k": 1}, {}]),
    ("np.array(['2026-01-01', '2026-01-02'], 'datetime64[D]')", "BYTES", [2], ["2026-01-01", "2026-01-02"]),
    ("x[:, 0] > 1", "BOOL", [2], [False, True]),
    ("list(x[:, 0])", "FP64", [2], [0.0, 4.0]),
    ("['a', 'b']", "BYTES", [2], ["a", "b"]),
    ("[[1, 2], [3, 4]]", "INT64", [2, 2], [1, 2, 3, 4]),
    ("pd.Series([1.5, 2.5])", "FP64", [2], [1.5, 2.5]),
    ("x.astype('longdouble')[:, 0]", "FP64", [2], [0.0, 4.0]),
])  # fmt: skip
def test_answers_of_all_kinds(load, expression, datatype, shape, values):
    loaded = load("import numpy as np, pandas as pd\ndef predict(x: np.ndarray): return %s" % expression)
    assert loaded.infer(F4) == {"output": (datatype, shape, values)}


def test_several_outputs(load):
    for source in (
        "{'a': x[:, 0], 'b': ['u', 'v']}",
        "[{'a': r[0], 'b': w} for r, w in zip(x, 'uv')]",
        "pd.DataFrame({'a': x[:, 0], 'b': ['u', 'v']})",
    ):
        out = load("import numpy as np, pandas as pd\ndef predict(x: np.ndarray): return %s" % source).infer(F4)
        assert out == {"a": ("FP64", [2], [0.0, 4.0]), "b": ("BYTES", [2], ["u", "v"])}


def test_missing_values_of_frames_are_null(load):
    source = "import pandas as pd, numpy as np\ndef predict(x: np.ndarray): return pd.DataFrame({'s': ['u', None], 'n': pd.array([1, None], 'Int64')})"
    assert load(source).infer_parts(F4) == [
        (1, {"s": ("BYTES", [1], ["u"]), "n": ("INT64", [1], [1])}),
        (1, {"s": ("json", [1], [None]), "n": ("json", [1], [None])}),
    ]
    columns = [
        {"name": name, "datatype": datatype, "shape": [], "nullable": True}
        for name, datatype in (("s", "BYTES"), ("n", "INT64"))
    ]
    out = load(source, {"outputs": columns}).infer(F4)
    assert (
        out["s:valid"][2] == [True, False] and out["n"] == ("INT64", [2], [1, 0]) and out["n:valid"][2] == [True, False]
    )


def test_declared_outputs_are_kept_to(load):
    loaded = load(
        "import numpy as np\ndef predict(x: np.ndarray): return x",
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [4]}]},
    )
    assert loaded.infer(F4) == {"y": ("FP32", [2, 4], [float(i) for i in range(8)])}


@pytest.mark.parametrize(
    "expression, got",
    [
        ("x[:1]", "1 rows"),
        ("x.sum()", "a single"),
        ("[1, 2, 3]", "3 rows"),
        ("{'a': x[0, :3]}", "3 rows in `a`"),
        ("1.5", "a single float"),
    ],
)
def test_the_number_of_rows_must_agree(load, expression, got):
    with pytest.raises(Refused, match="predict gave %s.* for 2 rows of input" % got) as refused:
        load("import numpy as np\ndef predict(x: np.ndarray): return %s" % expression).infer(F4)
    assert refused.value.code == "bad_output"


def test_frames(load):
    loaded = load("""
        from typing import Optional
        try:
            from typing import Annotated
        except ImportError:
            from typing_extensions import Annotated
        import pandas as pd
        def predict(df: Annotated[pd.DataFrame, {"age": int, "city": str, "income": Optional[float], "n": Optional[int]}], k: float = 2.0):
            assert list(df.columns) == ["age", "city", "income", "n"] and df.age.dtype == "int64"
            return df.age * k[0] + df.income.fillna(0) + df.n.fillna(100) + (df.city == "Delft")
    """)
    out = loaded.infer(tensor("age", "INT64", [2], [1, 2]), tensor("city", "BYTES", [2], ["Delft", "x"]), tensor("income", "FP64", [2], [0.5, 0]),
                       tensor("income:valid", "BOOL", [2], [1, 0]), tensor("n", "INT64", [2], [1, 0]), tensor("n:valid", "BOOL", [2], [1, 0]))  # fmt: skip
    assert out["output"][2] == [4.5, 104.0]


def test_a_frame_of_one_datatype_needs_no_copying(load):
    columns = [{"name": name, "datatype": "FP64", "shape": []} for name in "ab"]
    loaded = load("import pandas as pd\ndef predict(df: pd.DataFrame): return df.a - df['b']", {"inputs": columns})
    assert loaded.infer(tensor("a", "FP64", [2], [3, 4]), tensor("b", "FP64", [2], [1, 1]))["output"][2] == [2.0, 3.0]
    assert loaded.infer(tensor("b", "FP64", [2], [1, 1]), tensor("a", "FP64", [2], [3, 4]))["output"][2] == [2.0, 3.0]


def test_bf16_arrays(load):
    loaded = load(
        "import numpy as np\ndef predict(x: np.ndarray): return x",
        {"inputs": [{"name": "x", "datatype": "BF16", "shape": [2]}]},
    )
    assert loaded.infer(tensor("x", "BF16", [1, 2], [0x3F80, 0xC000])) == {"output": ("FP32", [1, 2], [1.0, -2.0])}


def test_large_tensors_in_odd_places(load):
    """A tensor behind one of an odd length is copied into alignment; the worker's own buffer is never handed out."""
    loaded = load("import numpy as np\ndef predict(f: bool, x: np.ndarray): return x[:, -1]")
    assert isinstance(loaded, Loaded)
    body, length = binary_body(
        [tensor("f", "BOOL", [3], [1, 0, 1]), tensor("x", "FP64", [3, 10], [float(i) for i in range(30)])]
    )
    assert read_outputs(*[(a.body, a.json_length) for a in [loaded.post(body, length)]][0])["output"][2] == [
        9.0,
        19.0,
        29.0,
    ]


NULLABLE = """
    import enum
    from datetime import datetime
    from typing import Annotated, List, Optional
    import numpy as np, pandas as pd
    class C(enum.Enum):
        A = "a"
        B = "b"
    COLUMNS = {"i": Optional[int], "u": Optional[bool], "f": Optional[float], "s": Optional[str], "t": Optional[datetime], "c": Optional[C], "j": Optional[dict]}
"""
VALUES = [("i", "INT64", 2**53 + 1, 0), ("u", "BOOL", True, False), ("f", "FP64", 0.5, 0.0), ("s", "BYTES", "x", ""),
          ("t", "BYTES", "9999-01-01T00:00:00Z", ""), ("c", "BYTES", "b", ""), ("j", "BYTES", '{"k": 1}', "null")]  # fmt: skip


def nullable_rows(*there):
    """Tensors of rows that have all values, or none."""
    tensors = []
    for name, datatype, value, filler in VALUES:
        tensors.append(tensor(name, datatype, [len(there)], [value if is_there else filler for is_there in there]))
        tensors.append(tensor(name + ":valid", "BOOL", [len(there)], list(there)))
    return tensors


def test_dtypes_do_not_depend_on_the_rows(load):
    frame = load(NULLABLE + """
    def predict(f: Annotated[pd.DataFrame, COLUMNS]):
        return {"dtypes": [" ".join(map(str, f.dtypes))] * len(f), "i": f.i, "t": f.t, "s": f.s, "u": f.u, "c": [None if c is None else c.value for c in f.c]}
""")  # fmt: skip
    arrays = load(NULLABLE + """
    def predict(x: np.ndarray, i: Optional[int], u: Optional[bool], f: Optional[float], s: Optional[str], t: Optional[datetime], c: Optional[C], j: Optional[dict]):
        return {"dtypes": [" ".join(str(a.dtype) for a in (i, u, f, s, t, c, j))] * len(i), "i": i, "c": [None if v is None else v.value for v in c]}
""")  # fmt: skip
    for loaded, extra, kinds in (
        (frame, [], "Int64 boolean float64 %s datetime64" % ("str" if pd.__version__ >= "3" else "object")),
        (arrays, ["x"], "object object float64 object object object object"),
    ):
        found = set()
        for there in ([True], [False], [True, False], [False, False], [True, True]):
            tensors = [tensor("x", "FP64", [len(there), 1], [0.0] * len(there)) for _ in extra] + nullable_rows(*there)
            at = 0
            for rows, outputs in loaded.infer_parts(*tensors):
                rows = rows or len(there)
                found.update(outputs["dtypes"][2])
                if there[at]:
                    assert outputs["i"] == ("INT64", [rows], [2**53 + 1] * rows) and outputs["c"][2] == ["b"] * rows
                else:
                    assert outputs["i"] == ("json", [rows], [None] * rows) and outputs["c"][2] == [None] * rows
                at += rows
        assert len(found) == 1 and found.pop().startswith(kinds)


def test_missing_rows_of_all_kinds(load):
    """What stands in for a missing row is no enumeration, no timestamp and no JSON."""
    loaded = load(NULLABLE + """
    def predict(i: Optional[int], u: Optional[bool], f: Optional[float], s: Optional[str], t: Optional[datetime], c: Optional[C], j: Optional[dict]) -> int:
        return [i, u, f, s, t, c, j].count(None)
""")  # fmt: skip
    assert loaded.infer(*nullable_rows(True, False, True))["output"][2] == [0, 7, 0]


def test_lists_and_null_rows(load):
    loaded = load("from typing import List, Optional\ndef predict(x: Optional[List[List[int]]]): return x")
    assert loaded.infer(tensor("x", "INT64", [1, 2, 0], []), tensor("x:valid", "BOOL", [1], [True]))["output"] == (
        "json",
        [1],
        [[[], []]],
    )
    assert loaded.infer(tensor("x", "INT64", [1, 0, 0], []), tensor("x:valid", "BOOL", [1], [False]))["output"] == (
        "json",
        [1],
        [None],
    )
    parts = loaded.infer_parts(
        tensor("x", "INT64", [2, 1, 2], [0, 0, 1, 2]), tensor("x:valid", "BOOL", [2], [False, True])
    )
    assert [part["output"] for _, part in parts] == [("json", [1], [None]), ("INT64", [1, 1, 2], [1, 2])]


BIG = 2**62 + 1


@pytest.mark.parametrize("expression, parts", [
    ("pd.array([%d, None], 'Int64')" % BIG, [("INT64", [BIG]), ("json", [None])]),
    ("pd.array([1, 2], 'Int32')", [("INT32", [1, 2])]),
    ("pd.array([True, None], 'boolean')", [("BOOL", [True]), ("json", [None])]),
    ("np.ma.masked_array([%d, 2], [False, True])" % BIG, [("INT64", [BIG]), ("json", [None])]),
    ("np.ma.masked_array([1, 2], [False, False])", [("INT64", [1, 2])]),
    ("np.array(['2026-01-31', 'NaT'], 'datetime64[D]')", [("BYTES", ["2026-01-31"]), ("json", [None])]),
    ("pd.to_datetime(['2026-01-31', None])", [("timestamp", ["2026-01-31T00:00:00Z"]), ("json", [None])]),
])  # fmt: skip
def test_gaps_are_null_and_what_is_beside_them_stays_exact(load, expression, parts):
    source = "import numpy as np, pandas as pd\ndef predict(x: np.ndarray): return {'y': pd.Series(%s)}" % expression
    if ".ma." in expression or "'M8" in expression or "datetime64" in expression:
        source = source.replace("pd.Series(%s)" % expression, expression)
    answered = load(source).infer_parts(F4)
    assert [(outputs["y"][0], outputs["y"][2]) for _, outputs in answered] == parts


@pytest.mark.parametrize("datatype, expression", [
    ("INT32", "[2**40, 1]"), ("UINT8", "[-1, 1]"), ("INT64", "[2.0**63, 1]"), ("UINT64", "[2.0**64, 1]"), ("INT8", "[0.5, 1]"),
    ("INT64", "[float('nan'), 1]"), ("FP32", "[1e39, 1]"), ("FP16", "[70000, 1]"), ("FP16", "[-1e9, 1]"),
])  # fmt: skip
def test_a_number_beyond_its_column_is_an_error_and_never_wrapped(load, datatype, expression):
    outputs = [{"name": "y", "datatype": datatype, "shape": []}]
    loaded = load("import numpy as np\ndef predict(x: np.ndarray): return {'y': np.array(%s)}" % expression, {"outputs": outputs})
    (_, wrong), (_, right) = loaded.infer_parts(F4)
    assert wrong["code"] == "bad_output" and right["y"][2] == [1]


def test_infinity_stays_infinity(load):
    outputs = [{"name": "y", "datatype": "FP32", "shape": []}]
    source = "import numpy as np\ndef predict(x: np.ndarray): return {'y': np.array([np.inf, -np.inf])}"
    assert load(source, {"outputs": outputs}).infer(F4)["y"][2] == [math.inf, -math.inf]
