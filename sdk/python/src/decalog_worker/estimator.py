"""A scikit-learn model that was saved without any code: its columns, and how it is called."""

import re

from .forms import Form
from .plan import default_input, make_plan
from .problem import Problem
from .readers import array_reader, frame_reader
from .text import to_json


class EstimatorForm(Form):
    """A scikit-learn model that was saved without any code."""

    # Those whose `predict` is the class of the highest probability; others are asked for both.
    ARGMAX = re.compile(
        r"sklearn\.(ensemble\._(forest|gb|hist_gradient_boosting)|linear_model\._logistic"
        r"|naive_bayes|tree|discriminant_analysis)\b"
    )

    def __init__(self, estimator, inputs, root):
        self.estimator = estimator
        self.named = hasattr(estimator, "feature_names_in_")
        self.texts = len(inputs) == 1 and inputs[0]["datatype"] == "BYTES" and not self.named
        self.tensor = len(inputs) == 1 and inputs[0].get("shape") != []
        classes = getattr(estimator, "classes_", None)
        self.classes = (
            classes if hasattr(classes, "dtype") and callable(getattr(estimator, "predict_proba", None)) else None
        )
        last = estimator
        while hasattr(last, "steps") or hasattr(last, "best_estimator_"):
            last = last.best_estimator_ if hasattr(last, "best_estimator_") else last.steps[-1][1]
        self.argmax = bool(self.ARGMAX.match(type(last).__module__))
        super().__init__({"inputs": inputs, "outputs": []}, root)

    def readers(self, slots, rows):
        columns = self.schema["inputs"]
        if self.texts or self.tensor:
            return [array_reader(slots[0], columns[0], None, rows)]
        if self.named:
            return [frame_reader(slots, columns, [None] * len(columns), rows)]
        import numpy

        readers = [array_reader(slot, column, None, rows) for slot, column in zip(slots, columns)]
        return [lambda data, base, owned: numpy.column_stack([read(data, base, owned) for read in readers])]

    def call(self, values, rows):
        values = values[0]
        if self.classes is None:
            return {"output": self.estimator.predict(values)}
        probability = self.estimator.predict_proba(values)
        output = self.classes[probability.argmax(axis=1)] if self.argmax else self.estimator.predict(values)
        return {"output": output, "probability": probability}

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
        self.schema["outputs"] = columns
        self.declared = {column["name"]: column for column in columns}


def placeholder(column):
    if column.get("categories"):
        return column["categories"][0]
    value = {"BYTES": "text", "BOOL": False}.get(column["datatype"], 0.0 if column["datatype"][:2] == "FP" else 0)
    for size in reversed(column.get("shape") or []):
        value = [value] * max(size, 1)
    return value


def estimator_columns(estimator):
    """The input columns of a fitted estimator; None if it does not tell."""
    first = estimator
    while hasattr(first, "steps") or hasattr(first, "best_estimator_"):
        first = first.best_estimator_ if hasattr(first, "best_estimator_") else first.steps[0][1]
    names = fitted(estimator, "feature_names_in_")
    if names is not None:
        columns = {str(name): {"name": str(name), "datatype": "FP64", "shape": []} for name in names}
        learn_columns(first, list(columns), columns)
        return list(columns.values())
    if type(first).__name__.endswith("Vectorizer"):
        return [{"name": "text", "datatype": "BYTES", "shape": []}]
    count = fitted(estimator, "n_features_in_")
    return [{"name": "x", "datatype": "FP64", "shape": [int(count)]}] if count is not None else None


def fitted(estimator, name):
    try:
        return getattr(estimator, name, None)
    except Exception:  # some estimators raise where they do not know
        return None


def learn_columns(transformer, names, columns):
    """Datatypes and categories of columns, from the transformer that they go through first."""
    for name, inner, selected in getattr(transformer, "transformers_", []):
        if name != "remainder" or not isinstance(inner, str):
            learn_columns(inner, names_of(selected, names), columns)
    steps = [step for _, step in getattr(transformer, "steps", [])] or [transformer]
    imputes = [step for step in steps if type(step).__name__.endswith("Imputer")]
    encoder = next((step for step in steps if type(step).__name__.endswith(("Encoder", "Vectorizer"))), None)
    if imputes and steps[0] is imputes[0]:
        for name in names:
            columns[name]["nullable"] = True
    categories = getattr(encoder, "categories_", None)
    for at, name in enumerate(names if encoder is not None else []):
        columns[name]["datatype"] = "BYTES"
        if isinstance(categories, list) and len(categories) == len(names):
            learn_categories(columns[name], categories[at], getattr(encoder, "handle_unknown", "error") == "error")


def learn_categories(column, categories, is_strict):
    values = [value for value in categories.tolist() if value is not None and value == value]
    datatype = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}.get(type(values[0])) if values else None
    column["datatype"] = datatype or "BYTES"
    if len(values) < len(categories):
        column["nullable"] = True
    if is_strict and datatype:
        column["categories"] = values


def names_of(selected, names):
    """The names that a ColumnTransformer's selection stands for."""
    if isinstance(selected, slice):
        return names[selected]
    if isinstance(selected, (str, int)):
        selected = [selected]
    selected = list(selected)
    if selected and all(isinstance(item, bool) or type(item).__name__ in ("bool_", "bool") for item in selected):
        return [name for name, is_in in zip(names, selected) if is_in]
    return [item if isinstance(item, str) else names[item] for item in selected]
