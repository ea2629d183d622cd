"""A model that was saved without any code, by scikit-learn or a library like it: its columns, and how it is called."""

import re

from .boosters import told
from .datatypes import FIXED

from .problem import Problem
from .readers import array_reader, frame_reader
from .saved import SavedForm
from .schema import merged
from .standard import json
from .text import to_json


class EstimatorForm(SavedForm):
    """A model that was saved without any code. `categories` are those of columns that pandas must have as such."""

    # Versions of before have the columns of XGBoost as FP64, whatever they were trained on.
    takes_numbers = True
    # Those whose `predict` is the class of the highest probability; others are asked for both.
    ARGMAX = re.compile(
        r"sklearn\.(ensemble\._(forest|gb|hist_gradient_boosting)|linear_model\._logistic"
        r"|naive_bayes|tree|discriminant_analysis)\b"
    )

    def __init__(self, estimator, inputs, root, categories=None, named=False):
        self.estimator, self.categories = estimator, categories or {}
        self.named = named or fitted(estimator, "feature_names_in_") is not None
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
        self.predict = predict_matrix(estimator) if is_xgboost_booster(estimator) else estimator.predict
        super().__init__({"inputs": inputs, "outputs": []}, root)

    def whole_rows(self, names):
        """The vector of versions of before, where the library was not asked for the names of its columns."""
        columns = self.schema["inputs"]
        is_named = columns[0]["name"] != "x" and all(column["datatype"] in FIXED for column in columns)
        return {"name": "x", "datatype": "FP64", "shape": [len(columns)]} if is_named and list(names) == ["x"] else None

    def whole_reader(self, slot, column, rows):
        return array_reader(slot, column, None, rows)

    def readers(self, slots, rows):
        columns = [
            dict(column, datatype=slot.datatype) if getattr(slot, "datatype", None) in FIXED else column
            for column, slot in zip(self.schema["inputs"], slots)
        ]
        if self.texts or self.tensor:
            return [array_reader(slots[0], columns[0], None, rows)]
        if self.named:
            read = frame_reader(slots, columns, [None] * len(columns), rows)
            return [self.with_categories(read) if self.categories else read]
        import numpy

        readers = [array_reader(slot, column, None, rows) for slot, column in zip(slots, columns)]
        return [lambda data, base, owned: numpy.column_stack([read(data, base, owned) for read in readers])]

    def with_categories(self, read):
        """A reader of frames that have the categories which the model was trained with."""
        import pandas

        dtypes = {name: pandas.CategoricalDtype(values or None) for name, values in self.categories.items()}
        return lambda data, base, owned: read(data, base, owned).astype(dtypes)

    def call(self, values, rows):
        values = values[0]
        if self.classes is None:
            return {"output": flat(self.predict(values))}
        probability = self.estimator.predict_proba(values)
        output = self.classes[probability.argmax(axis=1)] if self.argmax else flat(self.predict(values))
        return {"output": output, "probability": probability}

    def labelled(self, columns):
        for column in columns if self.classes is not None else []:
            if column["name"] == "probability" and column["shape"] == [len(self.classes)]:
                column["labels"] = json.loads(to_json(self.classes))
        return columns


def flat(result):
    """A column of one value for each row as such: CatBoost gives classes as a matrix of one column."""
    return result.reshape(-1) if getattr(result, "ndim", 1) == 2 and result.shape[1] == 1 else result


def is_xgboost_booster(estimator):
    return type(estimator).__module__.split(".")[0] == "xgboost" and type(estimator).__name__ == "Booster"


def predict_matrix(booster):
    """How a booster of XGBoost is asked, which takes matrices of its own."""
    import xgboost

    def predict(values):
        names = None if hasattr(values, "columns") else booster.feature_names
        return booster.predict(xgboost.DMatrix(values, feature_names=names, enable_categorical=True))

    return predict


def make_form(estimator, said, root, name, signature=None):
    """The form of a model from the file `name`; `said` are the manifest's columns, `signature` those beside it."""
    inputs, categories = (signature, {}) if signature else estimator_columns(estimator)
    told_names = inputs is not None and (inputs[0].get("shape") == [] or len(inputs) > 1)
    if said and (not told_names or is_only_text(inputs)):
        inputs = merged([], said) if inputs is None or said[0]["name"] != inputs[0]["name"] else merged(inputs, said)
    elif said:
        inputs = merged(renamed(inputs, said, estimator, categories), said)
        for column in inputs:
            if column["name"] in categories and column.get("categories"):
                categories[column["name"]] = column["categories"]
    if not inputs:
        raise Problem(
            "no_columns",
            "%s does not tell its input columns" % name,
            help=(
                'fit it on a DataFrame, or add [schema] inputs = [{ name = "x", datatype = "FP64", shape = [4] }] '
                "to decalog.toml"
            ),
        )
    unknown = [name for name, values in categories.items() if not values]
    if unknown:
        raise Problem(
            "no_columns",
            "%s does not tell the categories of `%s`, in the order in which it has numbers for them"
            % (name, "`, `".join(unknown)),
            help='name them in decalog.toml, as in [schema] inputs = [{ name = "%s", datatype = "BYTES", shape = [], '
            'categories = ["a", "b"] }]; or save the model with XGBoost 3.1 or later' % unknown[0],
        )
    return EstimatorForm(estimator, inputs, root, categories, told_names and bool(signature or told(estimator)))


def is_only_text(inputs):
    return len(inputs) == 1 and inputs[0]["datatype"] == "BYTES" and inputs[0]["name"] == "text"


def renamed(inputs, said, estimator, categories):
    """Columns by the names that the manifest has: LightGBM keeps them with _ where they had blanks."""
    known = {column["name"] for column in inputs}
    blank = {re.sub(r"\s", "_", column["name"]): column["name"] for column in said if column["name"] not in known}
    is_positional = type(estimator).__module__.split(".")[0] == "lightgbm"
    wrong = [full for kept, full in blank.items() if kept not in known or not is_positional]
    if wrong:
        raise Problem(
            "bad_schema",
            "[schema] inputs names `%s`, which is no column of the model" % "`, `".join(wrong),
            ["it has " + ", ".join(column["name"] for column in inputs)],
            "name each column as the model was trained with it",
        )
    for kept, full in blank.items():
        if kept in categories:
            categories[full] = categories.pop(kept)
    return [dict(column, name=blank.get(column["name"], column["name"])) for column in inputs]


def estimator_columns(estimator):
    """The input columns of a fitted estimator, None if it does not tell; and the categories of those that have some."""
    first = estimator
    while hasattr(first, "steps") or hasattr(first, "best_estimator_"):
        first = first.best_estimator_ if hasattr(first, "best_estimator_") else first.steps[0][1]
    library = told(first)
    if library is not None:
        return library.columns, library.categories
    return scikit_columns(estimator, first), {}


def scikit_columns(estimator, first):
    names = fitted(estimator, "feature_names_in_")
    if names is not None:
        # It does not tell what it was fitted on: numbers, or truths that count as such.
        columns = {str(name): {"name": str(name), "datatype": "FP64", "shape": [], "booleans": True} for name in names}
        learn_columns(getattr(first, "_preprocessor", None) or first, list(columns), columns)
        for column in columns.values():
            if column["datatype"] != "FP64" or column.get("categories"):
                del column["booleans"]
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
