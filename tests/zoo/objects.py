"""Code: objects as parameters, what a function takes without naming it, and where people keep their code."""

from . import At, section
from .libraries import SHARED

kind = section("Objects")

PYDANTIC = """from typing import Literal

from pydantic import BaseModel, Field


class Customer(BaseModel):
    age: int = Field(ge=18)
    plan: Literal["free", "pro"] = "free"
    charge: float = Field(alias="monthly charge")


def predict(customer: Customer) -> str:
    return f"{type(customer).__name__} {customer.age} {customer.plan} {customer.charge}"
"""
RECORD = """

def predict(customer: Customer) -> str:
    return f"{type(customer).__name__} {customer.age} {customer.plan}"
"""
kind("pydantic", "a pydantic model as the only parameter: its fields are the columns", {"model.py": PYDANTIC, **SHARED},
     {"age": 42, "monthly charge": 4.5}, {"output": "Customer 42 free 4.5"}, schema=["age: INT64", "plan: one of 2", "monthly charge: FP64"])
kind("pydantic_refuses", "the same, asked with a value that its validation refuses", {"model.py": PYDANTIC, **SHARED},
     {"age": 5, "monthly charge": 4.5}, refused="greater than or equal to 18", by="predict")
kind("dataclass", "a dataclass as the only parameter",
     {"model.py": 'from dataclasses import dataclass\n\n\n@dataclass\nclass Customer:\n    age: int\n    plan: str = "free"\n' + RECORD},
     {"age": 42}, {"output": "Customer 42 free"}, schema=["age: INT64", 'plan: BYTES = "free"'])
kind("named_tuple", "a NamedTuple as the only parameter",
     {"model.py": 'from typing import NamedTuple\n\n\nclass Customer(NamedTuple):\n    age: int\n    plan: str = "free"\n' + RECORD},
     {"age": 42, "plan": "pro"}, {"output": "Customer 42 pro"})
kind("typed_dict", "a TypedDict as the only parameter, with a key that may be missing",
     {"model.py": "from typing import NotRequired, TypedDict\n\n\nclass Row(TypedDict):\n    age: int\n    plan: NotRequired[str]\n\n\n"
      "def predict(row: Row) -> int:\n    return len(row)\n"},
     {"age": 42}, {"output": 1}, schema=["plan: BYTES?"])
kind("dataclass_beside", "a dataclass beside another parameter, with a list of dataclasses in it",
     {"model.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Item:\n    price: float\n    count: int = 1\n\n\n@dataclass\n"
      "class Order:\n    items: list[Item]\n\n\ndef predict(discount: float, order: Order | None = None) -> float:\n"
      "    items = order.items if order else []\n    return sum(item.price * item.count for item in items) * (1 - discount)\n"},
     {"discount": 0.5, "order": {"items": [{"price": 2, "count": 3}, {"price": 4}]}}, {"output": 5.0})
kind("dataclass_refuses", "the same, asked with a field of another type",
     {"model.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Item:\n    price: float\n\n\n"
      "def predict(discount: float, item: Item | None = None) -> float:\n    return item.price if item else 0.0\n"},
     {"discount": 0.5, "item": {"price": "4"}}, refused="`item.price` is '4' where the model takes a number", by="predict")
CHOICE = "from typing import Literal\n\n\ndef predict(level: Literal[1, 'top']) -> str:\n    return repr(level)\n"
kind("mixed_literal", "a Literal of a number and a text", {"model.py": CHOICE}, {"level": "top"}, {"output": "'top'"})
kind("mixed_literal_refuses", "the same, asked with another value", {"model.py": CHOICE}, {"level": 2},
     refused='`level` is 2 where the model takes one of 1, "top"', by="predict")
kind("mixed_enum", "an enumeration of a number and a text: the member arrives",
     {"model.py": "from enum import Enum\n\n\nclass Level(Enum):\n    LOW = 1\n    TOP = 'top'\n\n\n"
      "def predict(level: Level) -> str:\n    return level.name\n"}, {"level": 1}, {"output": "LOW"})
kind("integer_enum", "an IntEnum", {"model.py": "from enum import IntEnum\n\n\nclass Level(IntEnum):\n    LOW = 1\n    TOP = 9\n\n\n"
      "def predict(level: Level) -> str:\n    return level.name\n"}, {"level": 9}, {"output": "TOP"})
NAMED = '[schema]\ninputs = [{ name = "age", datatype = "INT64", shape = [] }, { name = "plan", datatype = "BYTES", shape = [] }]\n'
for name, parameter, gives in (
    ("keywords", "**columns", "sorted(columns)"),
    ("places", "*values", "list(values)"),
    ("row_dict", "row: dict", "sorted(row)"),
):
    kind(name, f"`predict({parameter})`, with its columns in decalog.toml",
         {"model.py": f"def predict({parameter}) -> str:\n    return repr({gives})\n", "decalog.toml": NAMED},
         {"age": 42, "plan": "pro"}, {"output": "[42, 'pro']" if name == "places" else "['age', 'plan']"})
kind("unnamed", "`predict(**columns)` without a decalog.toml", {"model.py": "def predict(**columns): ...\n"},
     refused=["predict does not name its inputs", "name them in decalog.toml"])
kind("tensor", "tensors of torch (here an object that is like one) returned where numpy is not installed",
     {"model.py": "class Tensor:\n    dtype = 'torch.float32'\n\n    def detach(self):\n        return self\n\n    cpu = detach\n\n"
      "    def tolist(self):\n        return [1.5, 2.5]\n\n\ndef predict(x: float):\n    return {'y': Tensor()}\n"}, {"x": 1.0}, {"y": [1.5, 2.5]})

kind = section("Where the code lies")

FEATURES = "def double(x):\n    return 2 * x\n"
PREDICT = "from {features} import double\n\n\ndef predict(x: float) -> float:\n    return double(x)\n"
for name, brings, files in (
    ("relative", "`model.py` that imports its neighbour as `from .features import …`",
     {"model.py": PREDICT.format(features=".features"), "features.py": FEATURES}),
    ("package", "a package `churn` with a `model.py`, which imports relatively and by name",
     {"churn/__init__.py": "", "churn/model.py": PREDICT.format(features=".features"), "churn/features.py": "from churn.more import double\n",
      "churn/more.py": FEATURES}),
    ("source_layout", "`src/churn/model.py`, which imports `churn.features`",
     {"src/churn/__init__.py": "", "src/churn/model.py": PREDICT.format(features="churn.features"), "src/churn/features.py": FEATURES}),
    ("source_library", "`model.py` that imports a package in `src`",
     {"model.py": PREDICT.format(features="churn.features"), "src/churn/__init__.py": "", "src/churn/features.py": FEATURES}),
    ("source_model", "`src/model.py` with a neighbour",
     {"src/model.py": PREDICT.format(features="features"), "src/features.py": FEATURES}),
    ("package_model", "a package `model`",
     {"model/__init__.py": PREDICT.format(features=".features"), "model/features.py": FEATURES}),
):
    kind(name, brings, files, {"x": 1.5}, {"output": 3.0})
kind("setup", "a class with `setup()`, as other tools call it, and `load()`",
     {"model.py": "class Predictor:\n    def setup(self):\n        self.factor = 2\n\n    def load(self):\n        self.factor += 1\n\n"
      "    def predict(self, x: float) -> float:\n        return self.factor * x\n"}, {"x": 1.5}, {"output": 4.5})
kind("main_with_code", "a pickle that refers to a class of the script that saved it, and a `model.py` that has that class",
     {"model.py": "import pickle\n\n\nclass Scale:\n    def predict(self, values):\n        return [value * self.factor for value in values]\n\n\n"
      "scale = pickle.load(open('scale.pkl', 'rb'))\n\n\ndef predict(x: float) -> float:\n    return scale.predict([x])[0]\n",
      "scale.pkl": At("scale.pkl")}, {"x": 1.5}, {"output": 3.0})
kind("main_alone", "the same pickle alone", {"scale.pkl": At("scale.pkl"), **SHARED},
     refused=["a pickle needs `Scale` of the program that saved it", "define `Scale` in model.py before that loads the file"])
