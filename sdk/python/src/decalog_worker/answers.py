"""From what a model gave for a batch, in any of the forms that it may have, to the parts of the answer."""

from .encoders import encode_array, encode_columns
from .parts import answer_parts
from .problem import Problem, bad_output, wrong_rows
from .scalars import as_array, without_gaps, without_numpy
from .text import as_row


def encode_rows(results, declared):
    """The outputs of one result for each row: the columns of dicts, else one column; None if they are not alike."""
    kinds = set(map(type, results))
    if Problem in kinds:
        if len(results) == 1:
            raise results[0]
        return None
    if not kinds <= {dict, float, int, str, bool}:
        results = [as_row(result) for result in results]
        kinds = set(map(type, results))
    are_dicts = {issubclass(kind, dict) for kind in kinds}
    if len(are_dicts) > 1:
        return None
    if True not in are_dicts:
        name = next(iter(declared)) if len(declared) == 1 else "output"
        return encode_columns({name: results}, len(results), declared)
    keys = results[0].keys()
    if len(results) > 1 and not all([result.keys() == keys for result in results]):
        return None
    columns = {key if type(key) is str else str(key): [result[key] for result in results] for key in keys}
    if len(columns) < len(keys):
        raise bad_output("two keys of the answer are the same as text: %s" % ", ".join(map(repr, keys)))
    return encode_columns(columns, len(results), declared)


def encode_batch(result, rows, declared):
    """The parts of what a batch form gave."""
    if (
        len(declared) < 2 and hasattr(result, "dtype") and type(result).__module__ == "numpy"
    ):  # the most usual, without detours
        name = next(iter(declared), "output")
        outputs = encode_array(name, result, rows, declared.get(name))
        if outputs is not None:
            return [(rows, outputs)]
    if hasattr(result, "_asdict") or not isinstance(result, (list, tuple)) and not hasattr(result, "dtype"):
        result = as_row(result)
    if type(result).__name__ == "DataFrame" and not isinstance(result, dict):
        result = {str(name): result[name] for name in result.columns} if len(result.columns) else {"output": result}
    if (
        isinstance(result, (list, tuple))
        and len(result) == rows
        and any(isinstance(as_row(item), dict) for item in result)
    ):
        return answer_parts(rows, lambda begin, end: encode_rows(result[begin:end], declared))
    if not isinstance(result, dict):
        result = {next(iter(declared)) if len(declared) == 1 else "output": result}
    columns = {str(name): as_column(str(name), value, rows) for name, value in result.items()}

    def encode(begin, end):
        if end - begin == rows:
            return encode_columns(columns, rows, declared)
        return encode_columns({name: value[begin:end] for name, value in columns.items()}, end - begin, declared)

    return answer_parts(rows, encode)


def as_column(name, value, rows):
    """One column of a batch as an array or a list, with as many rows as the input."""
    value = without_gaps(without_numpy(value))
    if hasattr(value, "detach") or hasattr(value, "dtype") and type(value).__module__ != "numpy":
        value = as_array(value)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if not value.shape or value.shape[0] != rows:
            raise wrong_rows(name, "%d rows" % value.shape[0] if value.shape else "a single value", rows)
        return value
    if not isinstance(value, (list, tuple)):
        raise wrong_rows(name, "a single %s" % type(value).__name__, rows)
    if len(value) != rows:
        raise wrong_rows(name, "%d rows" % len(value), rows)
    return list(value)
