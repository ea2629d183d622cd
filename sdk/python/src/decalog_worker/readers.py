"""Readers: from the bytes of a request to the values that a model is called with.

A reader takes (data, base, owned): the buffer, where its binary tensors begin, and whether views on it may be kept.
Arrays that a model gets are its own: writable, aligned, and never overwritten by a later request.
"""

import math
from datetime import date

from .datatypes import FIXED, byte_elements
from .hints import leaf
from .problem import bad_request
from .shapes import nest
from .standard import json, struct
from .text import parse_timestamp


class Slot:
    """Where one input lies behind `base`, and the BOOL tensor that says which of its rows are there."""

    __slots__ = ("start", "end", "shape", "valid", "datatype")

    def __init__(self, start, end, shape):
        self.start, self.end, self.shape, self.valid, self.datatype = start, end, shape, None, None

    def validity(self, data, base):
        """For each row whether it is there; None if all are."""
        return None if self.valid is None else data[base + self.valid : base + self.valid + self.shape[0]]


class Absent:
    """Stands for an input that the request leaves out, and that may be null."""


def element_decoder(column, hint):
    """From the bytes of an element of BYTES, or the number of another datatype, to what the model wants.

    None if that is the element as it is.
    """
    datatype, inner = column["datatype"], leaf(hint)
    if datatype == "json":
        return json.loads
    if datatype == "timestamp":
        return lambda element: parse_timestamp(element.decode())
    if inner[0] == "enum" and inner[2]:
        return (lambda element: inner[2](element.decode())) if datatype == "BYTES" else inner[2]
    if datatype == "BYTES" and inner[0] == "scalar" and inner[2] == "date":
        return lambda element: date.fromisoformat(element.decode())
    if datatype == "BYTES":
        return None if inner[0] in ("scalar", "array") and inner[-1] == "bytes" else bytes.decode
    if datatype == "BF16":
        return lambda bits: struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return None


def flat_reader(slot, column, decode):
    """Reads all elements as one sequence."""
    name, count = column["name"], math.prod(slot.shape)
    if column["datatype"] not in FIXED:

        def read(data, base, owned):
            elements = byte_elements(name, data, base + slot.start, base + slot.end, count)
            return decode_all(name, elements, decode, slot.validity(data, base))

        return read  # fmt: skip
    unpack = struct.Struct("<%d%s" % (count, FIXED[column["datatype"]][0])).unpack_from
    if decode:
        return lambda data, base, owned: decode_all(
            name, unpack(data, base + slot.start), decode, slot.validity(data, base)
        )
    return lambda data, base, owned: unpack(data, base + slot.start)


def decode_all(name, elements, decode, valid):
    """The values of elements; what stands in for a missing row is none of its kind."""
    try:
        if not decode:
            return elements
        if valid is None:
            return [decode(element) for element in elements]
        size = len(elements) // len(valid) or 1
        return [decode(element) if valid[at // size] else None for at, element in enumerate(elements)]
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError and JSONDecodeError
        raise bad_request("`%s` holds a value that cannot be read: %s" % (name, error))


def row_reader(slot, column, hint, rows):
    """Reads one value for each row, as plain Python values."""
    if isinstance(slot, Absent):
        return lambda data, base, owned: [None] * rows
    inner = leaf(hint)
    if inner[0] == "scalar" and inner[2] == "numpy" and column["datatype"] in FIXED:
        read_array = array_reader(slot, column, hint, rows)
        return lambda data, base, owned: list(read_array(data, base, owned))
    read = read_flat = flat_reader(slot, column, element_decoder(column, hint))
    if len(slot.shape) > 1:
        read = lambda data, base, owned: nest(read_flat(data, base, owned), slot.shape)  # noqa: E731
    if slot.valid is None:
        return read

    def read_nullable(data, base, owned):
        return [
            value if is_valid else None for value, is_valid in zip(read(data, base, owned), slot.validity(data, base))
        ]

    return read_nullable


def mapping_reader(slots, columns, hints, rows):
    """Reads columns as one dict for each row."""
    names = [column["name"] for column in columns]
    readers = [row_reader(slot, column, hints.get(column["name"]), rows) for slot, column in zip(slots, columns)]
    return lambda data, base, owned: [
        dict(zip(names, row)) for row in zip(*[read(data, base, owned) for read in readers])
    ]


def array_reader(slot, column, hint, rows):
    """Reads a column as one array with the rows as its leading dimension.

    Its dtype follows from the schema alone: where a row is missing, a nullable column has NaN, or else None among
    objects.
    """
    import numpy

    def objects(values):
        array = numpy.empty(len(values), object)
        array[:] = values
        return array

    datatype = column["datatype"]
    if isinstance(slot, Absent):
        is_float, shape = (
            datatype[:2] in ("FP", "BF"),
            (rows,) + tuple([max(size, 0) for size in column.get("shape") or []]),
        )
        dtype = "float32" if datatype == "BF16" else FIXED[datatype][1] if is_float else object
        return lambda data, base, owned: numpy.full(shape, numpy.nan if is_float else None, dtype)
    if datatype not in FIXED:
        read_flat = flat_reader(slot, column, element_decoder(column, hint))
        read = lambda data, base, owned: objects(read_flat(data, base, owned)).reshape(slot.shape)  # noqa: E731
    else:
        array, dtype, size = numpy.ndarray, numpy.dtype(FIXED[datatype][1]), FIXED[datatype][2]
        shape, start, end = slot.shape, slot.start, slot.end

        def read(data, base, owned):
            if owned and (base + start) % size == 0:
                return array(shape, dtype, data, base + start)
            return array(shape, dtype, data[base + start : base + end])

        if datatype == "BF16":
            read_bits = read

            def read(data, base, owned):
                return (read_bits(data, base, owned).astype("uint32") << 16).view("float32")

    if slot.valid is None:
        return read

    def read_nullable(data, base, owned):
        values, valid = read(data, base, owned), numpy.frombuffer(data, bool, rows, base + slot.valid)
        values = values if values.dtype.kind in "fO" else values.astype(object)
        values[~valid] = numpy.nan if values.dtype.kind == "f" else None
        return values

    return read_nullable


def frame_reader(slots, columns, hints, rows):
    """Reads columns as one DataFrame, with dtypes that follow from the schema alone."""
    import pandas

    index = pandas.Index([column["name"] for column in columns])
    same = {column["datatype"] for column in columns} in ({"FP64"}, {"FP32"})
    plain = all(isinstance(slot, Slot) and slot.shape == (rows,) and slot.valid is None for slot in slots)
    if same and plain and all(slot.end == after.start for slot, after in zip(slots, slots[1:])):
        # The columns lie behind each other, just as a DataFrame keeps them.
        block = Slot(slots[0].start, slots[-1].end, (len(slots), rows))
        read = array_reader(block, columns[0], None, rows)
        return lambda data, base, owned: pandas.DataFrame(read(data, base, owned).T, columns=index, copy=False)
    readers = [series_reader(slot, column, hint, rows) for slot, column, hint in zip(slots, columns, hints)]

    def read(data, base, owned):
        values = {column["name"]: reader(data, base, owned) for reader, column in zip(readers, columns)}
        return pandas.DataFrame(values, columns=index, copy=False)

    return read


def series_reader(slot, column, hint, rows):
    """Reads a column for a DataFrame: what pandas has for its datatype, and for rows that may be missing."""
    import numpy
    import pandas

    datatype, inner, is_scalar = column["datatype"], leaf(hint), column.get("shape") == []
    read = array_reader(slot, column, hint, rows)
    if not is_scalar:
        return lambda data, base, owned: pandas.Series(list(read(data, base, owned)), dtype=object)
    if datatype == "timestamp":

        def read_times(data, base, owned):
            times = pandas.to_datetime(read(data, base, owned), utc=True)
            return times.as_unit("us") if hasattr(times, "as_unit") else times

        return read_times
    if datatype not in FIXED or inner[0] == "enum":
        is_text = datatype == "BYTES" and inner[0] != "enum" and inner[2:] not in (("bytes",), ("date",))
        dtype = "str" if is_text and int(pandas.__version__.split(".")[0]) >= 3 else object
        return lambda data, base, owned: pandas.Series(read(data, base, owned), dtype=dtype)
    if not column.get("nullable") or datatype[:2] in ("FP", "BF"):
        return read
    masked = pandas.arrays.BooleanArray if datatype == "BOOL" else pandas.arrays.IntegerArray
    if isinstance(slot, Absent):
        return lambda data, base, owned: masked(numpy.zeros(rows, FIXED[datatype][1]), numpy.ones(rows, bool))
    plain = Slot(slot.start, slot.end, slot.shape)
    read_all = array_reader(plain, column, hint, rows)

    def read_masked(data, base, owned):
        valid = slot.validity(data, base)
        missing = numpy.zeros(rows, bool) if valid is None else ~numpy.frombuffer(bytes(valid), bool)
        return masked(read_all(data, base, owned), missing)

    return read_masked
