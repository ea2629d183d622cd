"""What hints become, and that reading the source and loading the model agree."""

import json
import sys

import pytest

from decalog_worker.describe import describe
from decalog_worker.problem import Problem
from decalog_worker.text import to_json


def scalar(name, datatype, **more):
    return dict({"name": name, "datatype": datatype, "shape": []}, **more)


# name: (source, inputs, outputs); None where only the inputs matter
MODELS = {
    "scalars": ("def predict(a: int, b: float, c: bool, d: str, e: bytes) -> float: ...",
                [scalar("a", "INT64"), scalar("b", "FP64"), scalar("c", "BOOL"), scalar("d", "BYTES"), scalar("e", "BYTES")],
                [scalar("output", "FP64")]),
    "times": ("from datetime import datetime, date\nimport datetime as dt\ndef predict(a: datetime, b: date, c: dt.datetime) -> str: ...",
              [scalar("a", "timestamp"), scalar("b", "BYTES"), scalar("c", "timestamp")], [scalar("output", "BYTES")]),
    "sketch": ("""
from typing import Literal, Dict, Optional
def predict(age: int, city: Literal["Utrecht", "Delft"], income: Optional[float] = None) -> Dict[str, float]:
    stay, leave = 0.1, 0.9
    return {"leave": leave}
""", [scalar("age", "INT64"), scalar("city", "BYTES", categories=["Utrecht", "Delft"]), scalar("income", "FP64", nullable=True)],
               [scalar("leave", "FP64")]),
    "unions": ("from typing import Union, Optional\ndef predict(a: Union[int, None], b: Union[int, float], c: Optional[str] = 'x', d: float = None) -> Optional[int]: ...",
               [scalar("a", "INT64", nullable=True), scalar("b", "FP64"), scalar("c", "BYTES", nullable=True, default="x"),
                scalar("d", "FP64", nullable=True)], [scalar("output", "INT64", nullable=True)]),
    "type checking": ("from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from typing import Optional as O\ndef predict(a: O[int]) -> float | None: ...",
                      [scalar("a", "INT64", nullable=True)], [scalar("output", "FP64", nullable=True)]),
    "future": ("from __future__ import annotations\nfrom typing import Optional\ndef predict(a: list[float], b: Optional[int]) -> list[list[int]]: ...",
               [dict(scalar("a", "FP64"), shape=[-1]), scalar("b", "INT64", nullable=True)], [dict(scalar("output", "INT64"), shape=[-1, -1])]),
    "defaults": ("LIMIT = 7\ndef predict(a: int = LIMIT, b=0.5, c='x', d=True, e: list = [1]) -> bool: ...",
                 [scalar("a", "INT64", default=7), scalar("b", "FP64", default=0.5), scalar("c", "BYTES", default="x"),
                  scalar("d", "BOOL", default=True), scalar("e", "json", default=[1])], [scalar("output", "BOOL")]),
    "json": ("from typing import Any, Dict, List\ndef predict(a: dict, b: Any, c: List[dict], d, e: Dict[str, int]): return a",
             [scalar(name, "json") for name in "abcde"], []),
    "lists": ("from typing import List, Tuple\ndef predict(a: List[float], b: List[List[int]], c: List[str], d: Tuple[float, float], e: Tuple[int, str]) -> List[float]: ...",
              [dict(scalar("a", "FP64"), shape=[-1]), dict(scalar("b", "INT64"), shape=[-1, -1]), dict(scalar("c", "BYTES"), shape=[-1]),
               dict(scalar("d", "FP64"), shape=[2]), scalar("e", "json")], [dict(scalar("output", "FP64"), shape=[-1])]),
    "literals": ("from typing import Literal\nCity = Literal['a', 'b']\ndef predict(a: Literal[1, 2], b: City, c: Literal['x', None], d: Literal[1, 'x']) -> City: ...",
                 [scalar("a", "INT64", categories=[1, 2]), scalar("b", "BYTES", categories=["a", "b"]),
                  scalar("c", "BYTES", categories=["x"], nullable=True), scalar("d", "json")], [scalar("output", "BYTES", categories=["a", "b"])]),
    "enum": ("import enum\nclass Color(enum.Enum):\n    RED = 'red'\n    BLUE = 'blue'\ndef predict(color: Color) -> int: ...",
             [scalar("color", "BYTES", categories=["red", "blue"])], [scalar("output", "INT64")]),
    "typed dict": ("from typing import TypedDict, List\nclass Answer(TypedDict):\n    a: int\n    b: List[float]\ndef predict(x: int) -> Answer: ...",
                   [scalar("x", "INT64")], [scalar("a", "INT64"), dict(scalar("b", "FP64"), shape=[-1])]),
    "dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass Answer:\n    a: int\n    b: str = ''\ndef predict(x: int) -> Answer: ...",
                  [scalar("x", "INT64")], [scalar("a", "INT64"), scalar("b", "BYTES")]),
    "named tuple": ("from typing import NamedTuple\nclass Answer(NamedTuple):\n    a: int\n    b: float\ndef predict(x: int) -> 'Answer': ...",
                    [scalar("x", "INT64")], [scalar("a", "INT64"), scalar("b", "FP64")]),
    "branches": ("from typing import Dict\ndef predict(x: int) -> Dict[str, int]:\n    if x:\n        return {'a': 1, 'b': 2}\n    return {'a': 1}",
                 [scalar("x", "INT64")], [scalar("a", "INT64"), scalar("b", "INT64", nullable=True)]),
    "computed keys": ("from typing import Dict\ndef predict(x: int) -> Dict[str, int]:\n    return {k: 1 for k in 'ab'}", [scalar("x", "INT64")], []),
    "class": ("class Helper:\n    pass\nclass Churn:\n    def load(self, path): self.k = 2\n    def predict(self, x: int) -> int: return x * self.k",
              [scalar("x", "INT64")], [scalar("output", "INT64")]),
    "Model": ("class Base:\n    def predict(self, x: int) -> int: return x\nclass Other(Base): pass\nclass Model(Base): pass",
              [scalar("x", "INT64")], [scalar("output", "INT64")]),
    "keyword only": ("def predict(a: int, *, b: float = 1.5) -> float: return a + b",
                     [scalar("a", "INT64"), scalar("b", "FP64", default=1.5)], [scalar("output", "FP64")]),
    "conditional": ("try:\n    import quick as q\nexcept ImportError:\n    q = None\nif True:\n    def predict(x: int) -> int: return x",
                    [scalar("x", "INT64")], [scalar("output", "INT64")]),
    "stream": ("from typing import Iterator\ndef predict(n: int) -> Iterator[str]:\n    yield 'a'", [scalar("n", "INT64")], [scalar("output", "BYTES")]),
    "bare stream": ("def predict(n: int):\n    for i in range(n):\n        yield i", [scalar("n", "INT64")], []),
    "async": ("async def predict(n: int) -> int: return n", [scalar("n", "INT64")], [scalar("output", "INT64")]),
    "array": ("import numpy as np\ndef predict(x: np.ndarray) -> np.ndarray: return x", [{"name": "x", "datatype": "FP64"}], []),
    "typed array": ("import numpy as np\nimport numpy.typing as npt\ndef predict(x: npt.NDArray[np.float32], n: int) -> npt.NDArray[np.int64]: return x",
                    [{"name": "x", "datatype": "FP32"}, scalar("n", "INT64")], [{"name": "output", "datatype": "INT64"}]),
    "shaped array": ("""
import numpy as np
from numpy.typing import NDArray
from typing import Annotated
def predict(image: Annotated[np.ndarray, "FP32", (3, 224, None)], mask: Annotated[NDArray[np.bool_], (4,)]) -> Annotated[NDArray[np.float32], (4,)]: return image
""", [dict(scalar("image", "FP32"), shape=[3, 224, -1]), dict(scalar("mask", "BOOL"), shape=[4])], [dict(scalar("output", "FP32"), shape=[4])]),
    "numpy scalars": ("import numpy as np\ndef predict(a: np.float32, b: np.int8, c: np.double) -> np.uint8: ...",
                      [scalar("a", "FP32"), scalar("b", "INT8"), scalar("c", "FP64")], [scalar("output", "UINT8")]),
    "frame": ("import pandas as pd\nfrom typing import Annotated\ndef predict(df: Annotated[pd.DataFrame, {'age': int, 'city': str}]) -> pd.DataFrame: return df",
              [scalar("age", "INT64"), scalar("city", "BYTES")], []),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_source_and_model_agree(name, load, model):
    source, inputs, outputs = MODELS[name]
    if sys.version_info < (3, 9):
        source = source.replace("typing import Annotated", "typing_extensions import Annotated")
    described = describe(str(model(source)), "model.py", {})["schema"]
    loaded = load(source).form.schema
    assert loaded["inputs"] == inputs
    assert loaded["outputs"] == outputs
    assert json.loads(to_json(described)) == json.loads(to_json(loaded))


def test_the_manifest_changes_columns_by_name(load):
    inputs, outputs = (
        [{"name": "x", "datatype": "FP32", "shape": [4]}],
        [{"name": "y", "datatype": "FP32", "shape": [4]}],
    )
    source = "import numpy as np\ndef predict(x: np.ndarray) -> np.ndarray: return x"
    assert load(source, {"inputs": inputs, "outputs": outputs}).form.schema == {"inputs": inputs, "outputs": outputs}
    with pytest.raises(Problem, match="names `z`, which is no parameter"):
        load("def predict(x: int): ...", {"inputs": inputs + [scalar("z", "INT64")]})
    two = "def predict(age: int, city: str, note: str = 'none') -> dict[str, float]: return {'a': 1.0, 'b': 2.0}"
    said = {"inputs": [{"name": "city", "categories": ["Delft"]}], "outputs": [{"name": "b", "nullable": True}]}
    assert load(two, said).form.schema == {
        "inputs": [scalar("age", "INT64"), dict(scalar("city", "BYTES"), categories=["Delft"]),
                   dict(scalar("note", "BYTES"), default="none")],
        "outputs": [scalar("a", "FP64"), dict(scalar("b", "FP64"), nullable=True)],
    }  # fmt: skip
    renamed = load("def predict(x: int) -> float: return 1.5", {"outputs": [{"name": "leave"}]}).form.schema
    assert renamed["outputs"] == [scalar("leave", "FP64")]
    other = load("def predict(x: Literal['a']): ...\nfrom typing import Literal".replace("def", "from typing import Literal\ndef", 1),
                 {"inputs": [{"name": "x", "datatype": "INT64"}]}).form.schema  # fmt: skip
    assert other["inputs"] == [scalar("x", "INT64")], "the categories were of texts"
    with pytest.raises(Problem, match="names `y`, which the code does not, without a datatype"):
        load("def predict(**columns): ...", {"inputs": [{"name": "y"}]})
