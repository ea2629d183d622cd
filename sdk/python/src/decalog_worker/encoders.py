"""Encoders: from columns of a model's answer to output tensors.

An output is (name, datatype, shape, data), where data is bytes or a contiguous array. What a row becomes does not
depend on the rows beside it. So rows are encoded together only if that gives each the same as alone; a function that
cannot say so returns None, and for a single row it never does.
"""

import math

from .datatypes import DTYPES, FIXED, LENGTH, byte_elements, bytes_blob
from .parts import joined
from .problem import bad_output, wrong_rows
from .scalars import as_array, pack_declared, scalars_of, without_numpy, wrong_value
from .shapes import flatten, nest, shape_fits
from .standard import struct
from .text import is_missing, parse_timestamp, to_json, utf8


def encode_columns(columns, rows, declared):
    """The outputs of columns by name, those of the schema first; None if rows are not alike."""
    outputs = []
    for name, column in declared.items():
        if name not in columns and not column.get("nullable"):
            raise bad_output("predict gave no output `%s`; it gave %s" % (name, ", ".join(columns) or "none"),
                             "return all outputs that the annotation of predict or [schema] outputs names")  # fmt: skip
    for name in [*declared, *[name for name in columns if name not in declared]] if declared else columns:
        found = encode_column(name, columns[name] if name in columns else [None] * rows, rows, declared.get(name))
        if found is None:
            return None
        outputs += found
    return outputs


def encode_column(name, value, rows, column):
    """The outputs of one column of a batch, an array or a list; None if rows are not alike."""
    value = without_numpy(value)
    if hasattr(value, "dtype"):
        return encode_array(name, value, rows, column)
    outputs = encode_values(name, value, column)
    if outputs is None and rows > 1:
        parts = joined([(1, encode_values(name, [item], column)) for item in value])
        outputs = parts[0][1] if len(parts) == 1 else None
    return outputs


def encode_values(name, values, column):
    """The outputs of one Python value for each row; None if they are not alike.

    They are the value itself, and `NAME:valid` if it may be missing.
    """
    rows = len(values)
    if column is None:
        found = tensor_of(values)
        return found and [(name, found[0], (rows,) + tuple(found[1]), found[2])]
    shape, nullable = column.get("shape"), column.get("nullable", False)
    if column["datatype"] == "FP64" and shape == [] and not nullable and not column.get("categories"):
        try:
            return [(name, "FP64", (rows,), struct.pack("<%dd" % rows, *values))]
        except (struct.error, TypeError, ValueError, OverflowError):
            pass  # not plain numbers after all
    valid = [not is_missing(value) for value in values]
    present = values if all(valid) else [value for value, is_valid in zip(values, valid) if is_valid]
    if len(present) == rows:
        found = declared_tensor(name, present, column)
    elif not nullable:
        raise wrong_value(name, None, column)
    elif not present:
        found = missing_rows(column, rows)
    elif shape is None or -1 in shape:
        return None  # alone, a missing row has no dimensions of others
    else:
        found = declared_tensor(name, present, column)
        found = found and (found[0], found[1], spread(found[0], found[1], found[2], valid))
    if found is None:
        return None
    output = (name, found[0], (rows,) + tuple(found[1]), found[2])
    return [output, (name + ":valid", "BOOL", (rows,), bytes(valid))] if nullable and found[0] != "json" else [output]


def missing_rows(column, rows):
    """(datatype, shape of a row, data) of rows that are all missing."""
    datatype, shape = column["datatype"], tuple([max(size, 0) for size in column.get("shape") or []])
    if datatype == "json":
        return datatype, (), bytes_blob([b"null"] * rows)
    return datatype, shape, bytes((FIXED[datatype][2] if datatype in FIXED else LENGTH.size) * math.prod(shape) * rows)


def spread(datatype, shape, data, valid):
    """Puts elements that stand for nothing where rows are missing."""
    count = math.prod(shape)
    if datatype in FIXED:
        size, data = FIXED[datatype][2] * count, bytes(data)
        parts, empty = (data[at : at + size] for at in range(0, len(data), size or 1)), bytes(size)
    else:
        elements, empty = (
            byte_elements("", data, 0, len(data), count * sum(valid)),
            bytes_blob([b"null" if datatype == "json" else b""] * count),
        )
        parts = (bytes_blob(elements[at : at + count]) for at in range(0, len(elements), count or 1))
    return b"".join([next(parts, b"") if is_valid else empty for is_valid in valid])


def json_tensor(values):
    return "json", (), bytes_blob([utf8(to_json(value)) for value in values])


def tensor_of(values):
    """(datatype, shape of a row, data) of values by what they are; JSON where one has no datatype of the protocol."""
    values = list(map(without_numpy, values))
    is_alone, kinds = len(values) == 1, set(map(type, values))
    if len(kinds) > 1:
        return None
    first, found = values[0], None
    if hasattr(first, "dtype"):
        found = numpy_tensor(values)
    elif isinstance(first, (list, tuple)):
        shape, leaves = flatten(values)
        if shape is not None and leaves:
            found = scalars_of(leaves, is_alone)
            found = found and (found[0], shape[1:], found[1])
    elif isinstance(first, dict) or is_missing(first):
        return json_tensor(values)
    else:
        found = scalars_of(values, is_alone)
        found = found and (found[0], (), found[1])
    return json_tensor(values) if found is None and is_alone else found


def declared_tensor(name, values, column):
    """(datatype, shape of a row, data) of values by the column.

    A list of lists of several lengths is JSON, which keeps them.
    """
    datatype, shape = column["datatype"], column.get("shape")
    if datatype == "json":
        return json_tensor(values)
    if shape == []:
        return datatype, (), pack_declared(name, values, column)
    values = list(map(without_numpy, values))
    if any(hasattr(value, "dtype") for value in values):
        if not all(hasattr(value, "dtype") for value in values):
            return None
        return numpy_tensor(values, name, column)
    full, leaves = flatten(values)
    if full is None:
        if len(values) > 1:
            return None
        check_leaves(name, values[0], column, len(shape) if shape is not None else None)
        return json_tensor(values)
    if shape is not None and not leaves and len(full) - 1 < len(shape):
        full += (0,) * (len(shape) + 1 - len(full))  # `[]` where lists of lists are expected
    if shape is not None and not shape_fits(shape, full[1:]):
        if len(values) > 1:
            return None
        raise wrong_value(name, values[0], column)
    return datatype, full[1:], pack_declared(name, leaves, column)


def check_leaves(name, value, column, depth):
    """Refuses a ragged list whose depth or scalars are not what the column says, or that must have other lengths."""
    level = [value]
    for at in range(depth if depth is not None else 0):
        size = column["shape"][at]
        if not all(isinstance(item, (list, tuple)) and size in (-1, len(item)) for item in level):
            raise wrong_value(name, value, column)
        level = [inner for item in level for inner in item]
    if depth is not None:
        pack_declared(name, level, column)


def numpy_tensor(values, name="", column=None):
    """Of numpy scalars or arrays, one for each row; None if they differ in datatype or shape."""
    import numpy

    arrays = [as_array(value) for value in values]
    if any(array.shape != arrays[0].shape or array.dtype != arrays[0].dtype for array in arrays):
        return None
    if column:
        column = {key: column[key] for key in column if key != "nullable"}
    outputs = encode_array(name, numpy.stack(arrays), len(arrays), column)
    return outputs and (outputs[0][1], outputs[0][2][1:], outputs[0][3])


def encode_array(name, array, rows, column):
    """The outputs of an array with the rows as its leading dimension; None if it holds objects that are not alike."""
    shape = array.shape
    if not shape or shape[0] != rows:
        raise wrong_rows(name, "%d rows" % shape[0] if shape else "a single value", rows)
    datatype = DTYPES.get(array.dtype.str)
    if datatype is None:
        return encode_odd_array(name, array, rows, column)
    if column:
        if column.get("shape") == [] and shape[1:] == (1,):
            array, shape = array.reshape(rows), shape[:1]
        if column["datatype"] == "json":
            return encode_values(name, array.tolist(), column)
        if column.get("shape") is not None and not shape_fits(column["shape"], shape[1:]):
            raise bad_output("the output `%s` has rows of the shape %s where the schema says %s"
                             % (name, list(shape[1:]), column["shape"]))  # fmt: skip
        if column["datatype"] != datatype:
            datatype, array = cast(name, array, column)
    if not array.flags.c_contiguous:
        array = array.copy("C")
    if column and column.get("nullable"):
        return [(name, datatype, shape, array), (name + ":valid", "BOOL", (rows,), b"\1" * rows)]
    return [(name, datatype, shape, array)]


def cast(name, array, column):
    """An array as the column's datatype, if that has each of its values; floats may lose digits."""
    import numpy

    wanted = column["datatype"]
    if wanted == "BF16":
        return "FP32", array.astype("float32")
    if wanted in FIXED:
        with numpy.errstate(invalid="ignore", over="ignore"):
            changed = array.astype(FIXED[wanted][1])
        if wanted[:2] == "FP":
            beyond = numpy.isinf(changed) & numpy.isfinite(array)
            if beyond.any():
                raise wrong_value(name, array[beyond][0], dict(column, shape=[]))
            return wanted, changed
        if (changed == array).all() and (array.dtype.kind != "f" or (array < 2.0**64).all()):
            return wanted, changed
    raise bad_output("the output `%s` is an array of %s where the schema says %s" % (name, array.dtype, wanted))


def encode_odd_array(name, array, rows, column):
    """Text, objects, times, and numbers that the protocol does not have."""
    kind = array.dtype.kind
    if kind == "M":
        is_date = array.dtype.str[1:] == "M8[D]" and (column is None or column["datatype"] != "timestamp")
        values = [
            None if item != item else str(item)[:10] if is_date else parse_timestamp(str(item) + "Z")
            for item in array.astype("datetime64[us]").ravel()
        ]
        return encode_column(name, nest(values, array.shape), rows, column)
    if kind in "biuf":
        native = array.dtype.newbyteorder("=")
        return encode_array(name, array.astype("float64" if native.itemsize > 8 else native), rows, column)
    if kind in "USO" or kind == "T":
        values = array.tolist()
        if array.ndim == 1:  # pandas has NaN for what is missing among objects
            values = [
                None if is_missing(value) or type(value) is float and value != value else value for value in values
            ]
        return encode_column(name, values, rows, column)
    raise bad_output("`%s` is an array of %s, which has no datatype in the protocol" % (name, array.dtype))
