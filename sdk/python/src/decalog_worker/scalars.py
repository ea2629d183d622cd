"""Scalars to bytes: by what they are where nothing is declared, or else as exactly what the column says."""

from datetime import date, datetime

from .datatypes import FIXED, bytes_blob
from .problem import bad_output, shortened
from .standard import struct
from .text import RFC_3339, is_missing, json_of_bytes, timestamp_text, to_json, utf8


def wrong_value(name, value, column):
    """The problem of a value that is not what the schema says."""
    shape = column.get("shape")
    wanted = column["datatype"] + (
        "" if shape == [] else " of any shape" if shape is None else " of the shape %s" % shape
    )
    if column.get("categories"):
        wanted = "one of %s" % to_json(column["categories"])
    if is_missing(value):
        return bad_output("the output `%s` is null where the schema says %s" % (name, wanted),
                          "return a value, or let the annotation say that it may be None")  # fmt: skip
    return bad_output("the output `%s` is %s, a %s, where the schema says %s"
                      % (name, shortened(value), type(value).__name__, wanted),
                      "return what the annotation of predict or [schema] outputs says, or change that")  # fmt: skip


def scalars_of(values, is_alone):
    """(datatype, data) of scalars by what they are.

    None if they have no datatype in common, or one that each row alone would not have.
    """
    kinds = set(map(type, values))
    if len(kinds) > 1 and not is_alone:
        return None
    if not kinds <= {bool, int, float, str, bytes}:
        values = [plain_scalar(value) for value in values]
        kinds = set(map(type, values))
        if len(kinds) > 1 and not is_alone:
            return None
    if kinds == {bool}:
        return "BOOL", bytes(values)
    if kinds == {int}:
        for datatype in ("INT64", "UINT64") if is_alone else ("INT64",):
            try:
                return datatype, struct.pack("<%d%s" % (len(values), FIXED[datatype][0]), *values)
            except struct.error:
                pass
        return None
    if kinds and kinds <= {int, float}:
        exact = all(type(value) is float or abs(value) <= 1 << 53 for value in values)
        return ("FP64", struct.pack("<%dd" % len(values), *values)) if exact else None
    if kinds == {str} or kinds == {bytes}:
        return "BYTES", bytes_blob([utf8(value) for value in values] if kinds == {str} else values)
    if kinds == {datetime}:
        return "timestamp", bytes_blob([utf8(timestamp_text(value)) for value in values])
    return None


def plain_scalar(value):
    """Members of enumerations, dates and the scalars of numpy as plain values; subclasses as what they are."""
    if hasattr(type(value), "__members__") and hasattr(value, "value"):
        return value.value
    if hasattr(value, "detach"):
        return value.item()
    if hasattr(value, "item") and hasattr(value, "dtype"):
        return value.item() if value.dtype.kind != "M" else value.astype("datetime64[us]").item()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, datetime):
        return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value


def pack_declared(name, values, column):
    """The data of scalars as the column's datatype: what is exactly that, and not merely near it."""
    datatype, categories = column["datatype"], column.get("categories")
    code = FIXED[datatype][0] if datatype in FIXED else None
    kinds = set(map(type, values))
    if not kinds <= PLAIN.get(datatype, set()):
        values = [declared_scalar(name, value, column) for value in values]
    if categories:
        for value in values:
            if value not in categories and (type(value) is not bytes or json_of_bytes(value) not in categories):
                raise wrong_value(name, value, column)
    if code is None:
        return bytes_blob([utf8(value) if type(value) is str else value for value in values])
    try:
        return struct.pack("<%d%s" % (len(values), code), *values)
    except (struct.error, OverflowError):
        raise wrong_value(name, next((value for value in values if not can_pack(code, value)), None), column) from None


def can_pack(code, value):
    try:
        return bool(struct.pack("<" + code, value))
    except (struct.error, OverflowError):
        return False


# The types of Python that need no look at each value.
PLAIN = dict(
    {datatype: {int, float} if datatype[:2] in ("FP", "BF") else {int} for datatype in FIXED},
    BOOL={bool},
    BYTES={str, bytes},
)


def declared_scalar(name, value, column):
    """A scalar as what `pack_declared` packs for the column's datatype."""
    datatype, got = column["datatype"], value
    if hasattr(value, "detach"):
        got = value.detach().cpu().reshape(-1)[0] if value.numel() == 1 else value
    elif hasattr(value, "dtype") and getattr(value, "size", 1) == 1:
        got = as_array(value).reshape(-1)[0]  # an array of one value is that value
    got = plain_scalar(got)
    if datatype == "timestamp":
        if isinstance(got, datetime):
            return timestamp_text(got)
        if isinstance(got, str) and RFC_3339.match(got):
            return got
    elif datatype == "BYTES":
        got = str(got) if type(got).__name__ in ("UUID", "PosixPath") else got
        if isinstance(got, (str, bytes)):
            return got
    elif datatype == "BOOL":
        if type(got) is bool or type(got) is int and got in (0, 1):
            return bool(got)
    elif datatype[:2] in ("FP", "BF"):
        if type(got).__name__ == "Decimal" or isinstance(got, (bool, int, float)):
            return float(got)
    elif isinstance(got, (bool, int)) or isinstance(got, float) and got.is_integer():
        return int(got)
    raise wrong_value(name, value, column)


def without_numpy(value):
    """A tensor as nested lists where numpy is not installed, as it need not be beside torch; else it is as it was."""
    if not hasattr(value, "detach"):
        return value
    try:
        import numpy  # noqa: F401
    except ModuleNotFoundError:
        return value.detach().cpu().tolist()
    return value


def without_gaps(value):
    """A masked array, or a column of pandas that may have gaps, as exact values: a list, with None in the gaps."""
    dtype = getattr(getattr(value, "dtype", None), "numpy_dtype", None)
    if hasattr(value, "mask") and hasattr(value, "filled"):  # numpy.ma
        return value.tolist() if value.mask.any() else value.data
    if getattr(dtype, "kind", "") not in ("b", "i", "u", "f") or not hasattr(value, "isna"):
        return value
    missing = value.isna()
    values = value.to_numpy(dtype=dtype, na_value=dtype.type(0))
    return [None if gone else item for item, gone in zip(values, missing)] if missing.any() else values


def as_array(value):
    """A numpy array of what has a dtype: also of a Series or a tensor."""
    import numpy

    if hasattr(value, "detach"):
        value = value.detach().cpu()
    # The types that pandas adds have values for what is missing, which an object array keeps.
    return numpy.asarray(
        value, None if isinstance(value.dtype, numpy.dtype) or not hasattr(value, "to_numpy") else object
    )
