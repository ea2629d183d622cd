"""What models that were saved without any code have in common: they tell their outputs when they are asked."""

from .forms import Form
from .plan import default_input, make_plan
from .problem import Problem
from .text import to_json


class SavedForm(Form):
    """A model without code."""

    def labelled(self, columns):
        """Output columns with what the model knows of their elements."""
        return columns

    def try_out(self):
        """Learns the outputs from one row that is made up; without a usable one they are known when it runs."""
        inputs = []
        for column in self.schema["inputs"]:
            datatype, shape, data = default_input(dict(column, default=placeholder(column)), 1)
            inputs.append({"name": column["name"], "datatype": datatype, "shape": shape, "data": data})
        try:
            plan = make_plan(to_json({"inputs": inputs}), self)
            (_, outputs), *_ = self.run([read(plan.inline, 0, True) for read in plan.readers], 1)
        except Problem:
            return
        if isinstance(outputs, Problem):
            return
        columns = [
            {"name": name, "datatype": datatype, "shape": list(shape[1:])}
            for name, datatype, shape, _ in outputs
            if ":" not in name
        ]
        self.schema["outputs"] = self.labelled(columns)
        self.declared = {column["name"]: column for column in self.schema["outputs"]}


def placeholder(column):
    if column.get("categories"):
        return column["categories"][0]
    value = {"BYTES": "text", "BOOL": False}.get(column["datatype"], 0.0 if column["datatype"][:2] == "FP" else 0)
    for size in reversed(column.get("shape") or []):
        value = [value] * max(size, 1)
    return value
