"""The schema: the columns that a model takes and gives, by its signature and the manifest."""

from .hints import JSON, REQUIRED, kind_of, leaf, make_hint, union
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


def input_columns(signature, notes, said=()):
    """The columns of a signature's parameters; `said` are the names of those that the manifest has."""
    if takes_whole_row(signature, said):
        return []
    if signature.record:
        return record_columns(signature.record, notes)
    columns = []
    for parameter in signature.parameters:
        hint = parameter.hint
        if hint and hint[0] == "frame":
            if hint[1] is None and said:
                continue  # its columns are those of the manifest that no other parameter takes
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
        has_form = add_default(column, parameter.default, notes)
        if has_form or not said or parameter.name in said:
            columns.append(column)
    return columns


def takes_whole_row(signature, said):
    """Whether the only parameter is a dict of the columns that the manifest names."""
    only = signature.only
    is_free = only is not None and (only.hint is None or only.hint == JSON or kind_of(only.hint) == "dict")
    return is_free and bool(said) and only.name not in said


def record_columns(record, notes):
    """The fields of a record as columns."""
    columns = []
    for name, hint, default in record[1]:
        column = column_of(name, hint)
        add_default(column, default, notes)
        columns.append(column)
    return columns


def add_default(column, default, notes):
    """Notes what a column is without a value; False if that has no JSON form."""
    if default is None:
        column["nullable"] = True
    elif default is UNKNOWN:
        notes.append("the default of `%s` is known when it is loaded" % column["name"])
    elif default is not REQUIRED:
        try:
            column["default"] = json.loads(to_json(default))
        except (TypeError, ValueError):
            notes.append("the default of `%s` has no JSON form: requests must give a value" % column["name"])
            return False
    return True


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
        return [column_of(name, inner) for name, inner, _ in hint[1]]
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


def merged(known, said):
    """Columns that the code tells, with what the manifest says of them, key by key; those that it alone has follow."""
    said = {column["name"]: column for column in said}
    columns = []
    for column in known:
        change = said.pop(column["name"], {})
        if change.get("datatype", column["datatype"]) != column["datatype"]:
            column = {key: column[key] for key in column if key not in ("categories", "default", "labels", "booleans")}
        columns.append(dict(column, **change))
    for column in said.values():
        if "datatype" not in column:
            raise Problem(
                "bad_schema",
                "[schema] names `%s`, which the code does not, without a datatype" % column["name"],
                ["the code tells: " + (", ".join(column["name"] for column in known) or "no columns")],
                'correct the name, or say what it is, as in datatype = "FP64", shape = []',
            )
        columns.append(column)
    return columns


def merged_outputs(known, said):
    """As `merged`; but the one output that has no name of its own gets that of the manifest."""
    if len(known) == 1 and known[0]["name"] == "output" and all(column["name"] != "output" for column in said):
        known = [dict(known[0], name=said[0]["name"])] if len(said) == 1 else []
    return merged(known, said)


def schema_of(signature, overrides, notes):
    """The schema, with what the manifest says on top of what the code tells."""
    said = overrides.get("inputs") or []
    if not signature.parameters and not ((signature.takes_more or signature.takes_places) and said):
        takes_any = signature.takes_more or signature.takes_places
        raise Problem(
            "no_inputs",
            "predict does not name its inputs" if takes_any else "predict takes no inputs",
            help='name them in decalog.toml, as in [schema] inputs = [{ name = "age", datatype = "INT64", shape = [] }]'
            if takes_any
            else "give it parameters, as in def predict(age: int) -> float",
        )
    names = [column["name"] for column in said]
    inputs = input_columns(signature, notes, names)
    if said:
        check_overrides(signature, inputs, names)
        inputs = merged(inputs, said)
    names = [column["name"] for column in inputs]
    if len(set(names)) < len(names):
        raise Problem("bad_schema", "two input columns have the same name", ["columns: " + ", ".join(names)])
    outputs = output_columns(signature)
    schema = {"inputs": inputs, "outputs": outputs}
    if overrides.get("outputs"):
        schema["outputs"] = merged_outputs(outputs, overrides["outputs"])
    if signature.streams:
        schema["streams"] = True
    if not schema["outputs"]:
        notes.append(
            "the outputs are %s; a return annotation such as -> float, a TypedDict or [schema] outputs tells them "
            "beforehand" % ("known when it runs" if signature.streams else "learned when it is tested")
        )
    return schema


def check_overrides(signature, inputs, said):
    """Columns of the manifest must be known to the code, unless it takes what it is given."""
    takes_any = signature.takes_more or signature.takes_places or takes_whole_row(signature, said)
    if takes_any or any(parameter.hint and parameter.hint[0] == "frame" for parameter in signature.parameters):
        return
    known = [column["name"] for column in inputs] + [parameter.name for parameter in signature.parameters]
    wrong = [name for name in said if name not in known]
    if wrong:
        message = "[schema] inputs names `%s`, which is no parameter of predict" % "`, `".join(wrong)
        details = ["[schema] inputs: " + ", ".join(said), "predict takes: " + ", ".join(dict.fromkeys(known))]
        raise Problem("bad_schema", message, details, "name each column after a parameter")
