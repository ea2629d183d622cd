"""A [schema] that names some columns: the others stay as the code tells."""

from . import At, section
from .libraries import ROW, SHARED

kind = section("A partial [schema]")

CODE = 'def predict(age: int, plan: str, note: str = "none") -> dict[str, float]:\n    return {"leave": age / 100, "stay": 1 - age / 100}\n'


def schema(inputs="", outputs=""):
    lines = [f"{key} = [{columns}]" for key, columns in (("inputs", inputs), ("outputs", outputs)) if columns]
    return "[schema]\n" + "\n".join(lines) + "\n"


kind("merged_inputs", "categories for one of three inputs", {"model.py": CODE, "decalog.toml": schema('{ name = "plan", categories = ["free"] }')},
     {"age": 42, "plan": "free"}, {"leave": 0.42, "stay": 0.58}, schema=["age: INT64", "plan: one of 1", 'note: BYTES = "none"', "stay: FP64"])
kind("merged_refuses", "the same, asked with another category",
     {"model.py": CODE, "decalog.toml": schema('{ name = "plan", categories = ["free"] }')}, {"age": 42, "plan": "pro"},
     refused='plan  expected one of "free"', by="predict")
kind("merged_outputs", "a datatype for one of two outputs",
     {"model.py": CODE, "decalog.toml": schema(outputs='{ name = "leave", datatype = "FP32" }')}, {"age": 50, "plan": "free"},
     {"leave": 0.5, "stay": 0.5}, schema=["leave: FP32", "stay: FP64", "age: INT64"])
kind("renamed_output", "a name for the only output", {"model.py": "def predict(x: float) -> float:\n    return x\n", "decalog.toml": schema(outputs='{ name = "leave" }')},
     {"x": 0.5}, {"leave": 0.5}, schema=["leave: FP64"])
kind("nullable_input", "one input that may be null, in a pipeline", {"pipeline.joblib": At("pipeline.joblib"), "decalog.toml": schema('{ name = "calls", default = 3 }')},
     {name: value for name, value in ROW.items() if name != "calls"}, At("pipeline.joblib"), schema=["calls: FP64 = 3", "plan: one of 3"])
kind("unknown_input", "an input that the code does not have", {"model.py": CODE, "decalog.toml": schema('{ name = "plam", categories = ["free"] }')},
     refused=["[schema] inputs names `plam`", "predict takes: age, plan, note"])
kind("unknown_column", "a column that the pipeline does not have",
     {"line.joblib": At("line.joblib"), "decalog.toml": schema('{ name = "cals", datatype = "INT64", shape = [] }')},
     refused=["[schema] inputs names `cals`, which is no column of the model", "it has calls"])
kind("frame_columns", "columns of a frame beside a parameter of its own",
     {"model.py": "import pandas as pd\n\n\ndef predict(frame: pd.DataFrame) -> pd.DataFrame:\n    return pd.DataFrame({'total': frame['a'] + frame['b']})\n",
      **SHARED, "decalog.toml": schema('{ name = "a", datatype = "FP64", shape = [] }, { name = "b", datatype = "INT64", shape = [] }')},
     {"a": 1.5, "b": 2}, {"total": 3.5})
