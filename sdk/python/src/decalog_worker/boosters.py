"""What models of LightGBM, XGBoost and CatBoost tell of their columns: names, datatypes and categories, as saved."""

from .standard import json


class Told:
    """The columns of a model, and for those that pandas must have as categories, what they are."""

    def __init__(self, columns, categories=None):
        self.columns, self.categories = columns, categories or {}


def told(estimator):
    """What a model of these libraries tells of its columns; None if it is of another, or does not tell."""
    library = type(estimator).__module__.split(".")[0]
    tell = {"lightgbm": tell_lightgbm, "xgboost": tell_xgboost, "catboost": tell_catboost}.get(library)
    return tell(estimator) if tell else None


def number(name):
    """A column of numbers, of which these libraries take missing ones; nothing says whether it was one of truths."""
    return {"name": name, "datatype": "FP64", "shape": [], "nullable": True, "booleans": True}


def unnamed(count):
    return Told([{"name": "x", "datatype": "FP64", "shape": [count]}])


def datatype_of(values):
    """The datatype of categories."""
    kinds = {type(value) for value in values}
    return {bool: "BOOL", int: "INT64", float: "FP64"}.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"


def tell_lightgbm(estimator):
    booster = getattr(estimator, "booster_", estimator)
    names = booster.feature_name()
    # Its header says which columns are categories; their values follow in the same order.
    header = booster.model_to_string(num_iteration=1).splitlines()
    lines = dict(line.strip("[]").split(": ", 1) for line in header if line.startswith("[") and ": " in line)
    places = [int(place) for place in lines.get("categorical_feature", "").split(",") if place.strip().isdigit()]
    categories = booster.pandas_categorical or []
    is_unnamed = names == ["Column_%d" % place for place in range(len(names))] and not categories
    if is_unnamed and not hasattr(estimator, "feature_names_in_"):
        return unnamed(len(names))
    columns, known = [number(name) for name in names], {}
    if len(places) == len(categories):
        for place, values in zip(places, categories):
            known[names[place]] = values
            columns[place] = {"name": names[place], "datatype": datatype_of(values), "shape": [], "nullable": True}
    return Told(columns, known)


def tell_xgboost(estimator):
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    names, types = booster.feature_names, booster.feature_types
    if not names:
        return unnamed(booster.num_features())
    columns, known = [], {}
    categories = xgboost_categories(booster) if types and "c" in types else []
    for place, name in enumerate(names):
        kind = types[place] if types else "q"
        column = number(name)
        if kind == "i":
            column = {"name": name, "datatype": "BOOL", "shape": []}
        elif kind == "int":
            column = {"name": name, "datatype": "INT64", "shape": [], "nullable": True}
        elif kind == "c":
            values = categories[place] if place < len(categories) else []
            column = {"name": name, "datatype": datatype_of(values), "shape": [], "nullable": True}
            if values:
                column["categories"] = values  # it refuses others
            known[name] = values
        columns.append(column)
    return Told(columns, known)


def xgboost_categories(booster):
    """The categories of each column; none before version 3.1, which kept numbers in their place."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    model = model.get("gbtree", model)["model"]
    found = []
    for told_of in model.get("cats", {}).get("enc", []):
        values = told_of.get("values", [])
        ends = told_of.get("offsets", [])
        if ends:
            text = bytes(value & 255 for value in values)
            values = [text[begin:end].decode() for begin, end in zip(ends, ends[1:])]
        found.append(values)
    return found


def tell_catboost(estimator):
    names, places = estimator.feature_names_, set(estimator.get_cat_feature_indices())
    texts = set(estimator.get_text_feature_indices())
    if names == [str(place) for place in range(len(names))] and not places and not texts:
        return unnamed(len(names))
    columns = [{"name": name, "datatype": "BYTES", "shape": []} if place in places | texts else number(name)
               for place, name in enumerate(names)]  # fmt: skip
    return Told(columns)
