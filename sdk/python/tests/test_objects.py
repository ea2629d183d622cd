"""Parameters that are objects: records of all kinds, enumerations, and what a function takes without naming it."""

import sys

import pytest
from conftest import Refused, tensor

from decalog_worker.describe import describe
from decalog_worker.problem import Problem

RECORDS = {
    "dataclass": "from dataclasses import dataclass, field\n@dataclass\nclass Customer:",
    "named tuple": "from typing import NamedTuple\nclass Customer(NamedTuple):",
    "pydantic": "from pydantic import BaseModel\nclass Customer(BaseModel):",
}
FIELDS = """
    age: int
    city: Literal["Delft", "Utrecht"] = "Delft"
    income: Optional[float] = None

def predict(customer: Customer) -> str:
    return "%s %s %s %s" % (type(customer).__name__, customer.age, customer.city, customer.income)
"""
HEAD = "from typing import Literal, Optional\n"


def row(age=42, *more):
    return (tensor("age", "INT64", [1], [age]), *more)


def value(outputs, name="output"):
    return outputs[name][2][0]


@pytest.mark.parametrize("kind", RECORDS)
def test_the_fields_of_the_only_parameter_are_the_columns(kind, load, model):
    pytest.importorskip("pydantic" if kind == "pydantic" else "json")
    source = HEAD + RECORDS[kind] + FIELDS
    loaded = load(source)
    assert loaded.form.schema["inputs"] == [
        {"name": "age", "datatype": "INT64", "shape": []},
        {"name": "city", "datatype": "BYTES", "shape": [], "categories": ["Delft", "Utrecht"], "default": "Delft"},
        {"name": "income", "datatype": "FP64", "shape": [], "nullable": True},
    ]
    assert describe(str(model(source)), "model.py", {})["schema"] == loaded.form.schema
    assert value(loaded.infer(*row())) == "Customer 42 Delft None"
    whole = tensor("customer", "BYTES", [1], ['{"age": 41, "city": "Utrecht"}'])
    assert value(loaded.infer(whole)) == "Customer 41 Utrecht None", "as versions of before take it"
    with pytest.raises(Refused, match="age"):
        loaded.infer(tensor("customer", "BYTES", [1], ['{"city": "Utrecht"}']))


def test_a_typed_dict_is_a_dict_without_what_is_not_there(load):
    if sys.version_info < (3, 11):
        pytest.skip("NotRequired")
    loaded = load(
        "from typing import NotRequired, TypedDict\nclass Row(TypedDict):\n    a: int\n    b: NotRequired[str]\n"
        "def predict(row: Row) -> str: return repr(dict(row))"
    )
    assert value(loaded.infer(tensor("a", "INT64", [1], [1]))) == "{'a': 1}"
    assert value(loaded.infer(tensor("a", "INT64", [1], [1]), tensor("b", "BYTES", [1], ["x"]))) == "{'a': 1, 'b': 'x'}"


def test_records_within_records_and_beside_other_parameters(load):
    loaded = load(
        "from dataclasses import dataclass\nimport datetime\nfrom enum import Enum\n"
        "class Kind(Enum):\n    A = 1\n    B = 'b'\n"
        "@dataclass\nclass Item:\n    kind: Kind\n    day: datetime.date\n    size: float = 1.0\n"
        "def predict(items: list[Item], scale: float) -> str:\n"
        "    return ' '.join('%s %s %r' % (item.kind, item.day, item.size * scale) for item in items)"
    )
    ask = lambda text: loaded.infer(tensor("items", "BYTES", [1], [text]), tensor("scale", "FP64", [1], [2.0]))  # noqa: E731
    assert value(ask('[{"kind": "b", "day": "2026-01-31", "size": 3}]')) == "Kind.B 2026-01-31 6.0"
    for text, told in [
        ('[{"kind": "c", "day": "2026-01-31"}]', "`items.kind` is 'c' where the model takes one of 1, \"b\""),
        ('[{"kind": 1, "day": "yesterday"}]', "`items.day` is 'yesterday' where the model takes a date"),
        ('[{"kind": 1, "day": "2026-01-31", "size": true}]', "`items.size` is True where the model takes a number"),
        ('[{"day": "2026-01-31"}]', "an object with kind"),
        ('[{"kind": 1, "day": "2026-01-31", "sise": 1}]', "an object with kind, day, size"),
        ('{"kind": 1}', "where the model takes a list"),
    ]:
        with pytest.raises(Refused) as refused:
            ask(text)
        assert told in str(refused.value) and refused.value.code == "bad_input"


def test_a_bad_row_does_not_fail_its_neighbours(load):
    loaded = load("from typing import Literal\ndef predict(x: Literal[1, 'a']) -> str: return repr(x)")
    (first, one), (second, two) = loaded.infer_parts(tensor("x", "BYTES", [2], ['"a"', "2"]))
    assert (first, one["output"][2]) == (1, ["'a'"]) and (second, two["code"]) == (1, "bad_input")
    parts = loaded.infer_parts(tensor("x", "BYTES", [2], ["true", "1"]))
    assert parts[0][1]["code"] == "bad_input" and parts[1][1]["output"][2] == ["1"], "true is not 1"


def test_pydantic_has_its_own_words(load):
    pytest.importorskip("pydantic")
    loaded = load(
        "from pydantic import BaseModel, Field\nclass Customer(BaseModel):\n    age: int = Field(ge=18)\n"
        "    charge: float = Field(alias='monthly charge')\n"
        "def predict(customer: Customer) -> float: return customer.age * customer.charge"
    )
    charge = tensor("monthly charge", "FP64", [1], [2.0])
    assert value(loaded.infer(*row(20), charge)) == 40.0
    with pytest.raises(Refused, match="greater than or equal to 18"):
        loaded.infer(*row(5), charge)


@pytest.mark.parametrize("parameters, gives", [
    ("**columns", "sorted(columns.items())"),
    ("*values", "[('a', values[0]), ('b', values[1])]"),
    ("row: dict", "sorted(row.items())"),
    ("row", "sorted(row.items())"),
    ("a, **more", "[('a', a), *more.items()]"),
    ("a, *more", "[('a', a), ('b', *more)]"),
])  # fmt: skip
def test_what_the_manifest_names_is_given(parameters, gives, load):
    columns = [{"name": name, "datatype": "INT64", "shape": []} for name in "ab"]
    loaded = load("def predict(%s) -> str: return repr(%s)" % (parameters, gives), {"inputs": columns})
    answer = loaded.infer(tensor("a", "INT64", [1], [1]), tensor("b", "INT64", [1], [2]))
    assert value(answer) == "[('a', 1), ('b', 2)]"


def test_a_function_that_names_nothing_says_what_to_do(load):
    with pytest.raises(Problem) as problem:
        load("def predict(**columns): ...")
    assert "name them in decalog.toml" in problem.value.help


def test_a_coroutine_gets_its_object(load):
    loaded = load(
        "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
        "async def predict(point: Point) -> int: return point.x + 1"
    )
    assert value(loaded.infer(tensor("x", "INT64", [1], [1]))) == 2


def test_a_tensor_needs_no_numpy(load, monkeypatch):
    source = """
class Tensor:
    dtype = "torch.float32"
    def __init__(self, values): self.values = values
    def detach(self): return self
    def cpu(self): return self
    def tolist(self): return self.values
    def item(self): return self.values
def predict(x: float): return {"y": Tensor([x, 2.0]), "z": Tensor(x)}
"""
    loaded = load(source)
    monkeypatch.setitem(sys.modules, "numpy", None)
    outputs = loaded.infer(tensor("x", "FP64", [1], [1.5]))
    assert outputs == {"y": ("FP64", [1, 2], [1.5, 2.0]), "z": ("FP64", [1], [1.5])}
