"""The datatypes of the Open Inference Protocol, and what Decalog adds: `timestamp` and `json`, both text in BYTES."""

from .problem import bad_request
from .standard import struct

# datatype: (code of struct, dtype of numpy, bytes of one element)
FIXED = {
    "BOOL": ("?", "bool", 1), "UINT8": ("B", "uint8", 1), "UINT16": ("H", "uint16", 2), "UINT32": ("I", "uint32", 4),
    "UINT64": ("Q", "uint64", 8), "INT8": ("b", "int8", 1), "INT16": ("h", "int16", 2), "INT32": ("i", "int32", 4),
    "INT64": ("q", "int64", 8), "FP16": ("e", "float16", 2), "FP32": ("f", "float32", 4), "FP64": ("d", "float64", 8),
    "BF16": ("H", "uint16", 2),
}  # fmt: skip
DATATYPES = set(FIXED) | {"BYTES", "timestamp", "json"}
DTYPES = {("|" if size == 1 else "<") + ("f" if name[0] == "f" else name[0]) + str(size): datatype
          for datatype, (_, name, size) in FIXED.items() if datatype != "BF16"}  # fmt: skip
LENGTH = struct.Struct("<I")
LENGTH_OF = LENGTH.unpack_from


def byte_elements(name, data, at, end, count):
    """The elements of a BYTES tensor."""
    blob, at, elements = bytes(data[at:end]), 0, []
    try:
        for _ in range(count):
            stop = at + 4 + LENGTH_OF(blob, at)[0]
            elements.append(blob[at + 4 : stop])
            at = stop
    except struct.error:
        at = -1
    if at != len(blob):
        raise bad_request("the elements of `%s` do not fit its shape" % name)
    return elements


def bytes_blob(elements):
    pack = LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])
