"""The schema: the columns that a model takes and gives, by its signature and the manifest."""

from .hints import JSON, leaf, make_hint, union
from .problem import Problem
from .source import UNKNOWN
from .standard import json
from .text import to_json


def column_of(name, hint):
    """The column of a hint. What has no datatype of its own is `json`."""
    kind = hint[0] if hint else ""
    column = {"name": name, "datatype": "json", "shape": []}
    if kind == "optional":
        column = column_of(name, hint[1])
        column["nullable"] = True
    elif kind == "scalar":
        column["datatype"] = hint[1]
    elif kind in ("literal", "enum"):
        values = [value for value in hint[1] if value is not None]
        types = {type(value) for value in values}
        datatype = (
            {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}.get(types.pop()) if len(types) == 1 else None
        )
        if datatype:
            column.update(datatype=datatype, categories=values)
        if len(values) < len(hint[1]):
            column["nullable"] = True
    elif kind == "list":
        inner = column_of(name, hint[1])
        if inner["datatype"] != "json" and not inner.get("nullable") and "shape" in inner:
            inner["shape"] = [hint[2]] + inner["shape"]
            column = inner
    elif kind == "array":
        column["datatype"] = hint[1] or "FP64"
        column["shape"] = hint[2]
        if hint[2] is None:
            del column["shape"]
    return column


def input_columns(signature, notes):
    """The columns of a signature's parameters."""
    columns = []
    for parameter in signature.parameters:
        hint = parameter.hint
        if hint and hint[0] == "frame":
            if hint[1] is None:
                raise Problem(
                    "no_columns",
                    "the columns of the DataFrame `%s` are not known" % parameter.name,
                    help=(
                        "add them to decalog.toml, as in "
                        '[schema] inputs = [{ name = "age", datatype = "INT64", shape = [] }], '
                        'or annotate: %s: Annotated[pd.DataFrame, {"age": int, "city": str}]' % parameter.name
                    ),
                )
            columns.extend(column_of(name, inner) for name, inner in hint[1].items())
            continue
        if hint is None and type(parameter.default) in (bool, int, float, str):
            hint = make_hint("builtins." + type(parameter.default).__name__, [])
        elif hint is None:
            notes.append(
                "`%s` has no type hint: it takes any JSON value; write `%s: float`, or whatever it is"
                % ((parameter.name,) * 2)
            )
        elif leaf(hint)[0] in ("unknown", "record"):
            what = leaf(hint)[1] if leaf(hint)[0] == "unknown" else "a record"
            notes.append(
                "`%s` is annotated %s, which has no datatype: it takes any JSON value, as it is"
                % (parameter.name, what)
            )
        column = column_of(parameter.name, hint)
        add_default(column, parameter, notes)
        columns.append(column)
    return columns


def add_default(column, parameter, notes):
    if parameter.default is None:
        column["nullable"] = True
    elif parameter.default is UNKNOWN:
        notes.append("the default of `%s` is known when it is loaded" % parameter.name)
    elif parameter.is_optional:
        try:
            column["default"] = json.loads(to_json(parameter.default))
        except (TypeError, ValueError):
            notes.append("the default of `%s` has no JSON form: requests must give a value" % parameter.name)


def output_columns(signature):
    """The columns of what a signature returns; empty where only a run can tell."""
    hint = signature.returns
    if hint and hint[0] == "iterator":
        hint = hint[1]
    if hint and hint[0] == "list" and signature.batch:
        hint = hint[1]
        if hint[0] not in ("scalar", "literal", "optional", "record"):
            return []
    elif hint and hint[0] in ("scalar", "literal", "enum", "list", "optional") and signature.batch:
        return []
    if hint and hint[0] == "record":
        return [column_of(name, inner) for name, inner in hint[1]]
    if hint and hint[0] == "frame" and hint[1]:
        return [column_of(name, inner) for name, inner in hint[1].items()]
    if hint and hint[0] == "dict" and is_definite(hint[1]) and not signature.streams:
        keys = signature.returned_keys() or {}
        return [column_of(name, hint[1] if always else union([hint[1], ("none",)])) for name, always in keys.items()]
    return [column_of("output", hint)] if is_definite(hint) else []


def is_definite(hint):
    """Whether a hint tells a datatype."""
    if not hint or hint[0] in ("none", "unknown", "dict", "iterator", "frame", "record"):
        return False
    return hint[1] is not None if hint[0] == "array" else hint != JSON and hint != ("list", JSON, -1)


def schema_of(signature, overrides, notes):
    """The schema, with what the manifest says instead of what the code tells."""
    if not signature.parameters and not (signature.takes_more and overrides.get("inputs")):
        raise Problem(
            "no_inputs", "predict takes no inputs", help="give it parameters, as in def predict(age: int) -> float"
        )
    inputs = overrides.get("inputs") or input_columns(signature, notes)
    names = [column["name"] for column in inputs]
    if len(set(names)) < len(names):
        raise Problem("bad_schema", "two input columns have the same name", ["columns: " + ", ".join(names)])
    if overrides.get("inputs"):
        check_overrides(signature, names)
    schema = {"inputs": inputs, "outputs": overrides.get("outputs") or output_columns(signature)}
    if signature.streams:
        schema["streams"] = True
    if not schema["outputs"]:
        notes.append(
            "the outputs are known when it runs; "
            "a return annotation such as -> float, a TypedDict or [schema] outputs tells them"
        )
    return schema


def check_overrides(signature, names):
    """Columns of the manifest must be parameters of the function."""
    if signature.takes_more or any(
        parameter.hint and parameter.hint[0] == "frame" for parameter in signature.parameters
    ):
        return
    parameters = [parameter.name for parameter in signature.parameters]
    required = [parameter.name for parameter in signature.parameters if not parameter.is_optional]
    wrong = [name for name in names if name not in parameters] + [name for name in required if name not in names]
    if wrong:
        message = "[schema] inputs and the parameters of predict differ in `%s`" % "`, `".join(wrong)
        details = ["[schema] inputs: " + ", ".join(names), "predict takes: " + ", ".join(parameters)]
        raise Problem("bad_schema", message, details, "name each column after a parameter")
