"""Hints: what an annotation means, the same from source text (`source`) as from objects (`objects`).

A hint is ("scalar", datatype, python) · ("literal", values) · ("enum", values, class) · ("list", hint, length)
("none",) · ("optional", hint) · ("array", datatype, shape, "bytes" if that is what its elements are)
("frame", {name: hint})
("record", ((name, hint, default), ...), class) · ("dict", hint) · ("iterator", hint)
("dtype", datatype, hint) · ("unknown", text)
None stands for no annotation. The class is None where only source text is known; a field without a default has
`REQUIRED`.
"""

import inspect

from .datatypes import DATATYPES, FIXED
from .shapes import is_shape

JSON = ("scalar", "json", "json")
SCALAR_BYTES = ("scalar", "BYTES", "bytes")
REQUIRED = inspect.Parameter.empty
SCALARS = {
    "builtins.int": ("INT64", "int"), "builtins.float": ("FP64", "float"), "builtins.bool": ("BOOL", "bool"),
    "builtins.str": ("BYTES", "str"), "builtins.bytes": ("BYTES", "bytes"),
    "datetime.datetime": ("timestamp", "datetime"), "datetime.date": ("BYTES", "date"),
    "typing.Any": ("json", "json"), "builtins.object": ("json", "json"),
}  # fmt: skip
NUMPY_SCALARS = dict(
    {name: datatype for datatype, (_, name, _) in FIXED.items() if datatype != "BF16"},
    bool_="BOOL", half="FP16", single="FP32", double="FP64", float_="FP64", int_="INT64", intp="INT64", long="INT64",
    longlong="INT64", intc="INT32", short="INT16", byte="INT8", uint="UINT64", uintp="UINT64", ulong="UINT64",
    ulonglong="UINT64", uintc="UINT32", ushort="UINT16", ubyte="UINT8", str_="BYTES", object_="json",
)  # fmt: skip
LISTS = {"builtins.list", "builtins.set", "typing.List", "typing.Sequence", "typing.Iterable", "typing.Collection",
         "collections.abc.Sequence", "collections.abc.Iterable", "collections.abc.Collection"}  # fmt: skip
DICTS = {"builtins.dict", "typing.Dict", "typing.Mapping", "collections.abc.Mapping", "collections.OrderedDict"}
ITERATORS = {home + name for home in ("typing.", "collections.abc.")
             for name in ("Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "AsyncIterable")}  # fmt: skip
WRAPPERS = {"typing.Final", "typing.ClassVar", "typing.Required", "typing.ReadOnly", "typing.Awaitable"}


def make_hint(name, args):
    """The hint of a type by its full name and the hints of its arguments."""
    if name in SCALARS:
        return ("scalar",) + SCALARS[name]
    if name == "numpy.bytes_":
        return SCALAR_BYTES
    if name.startswith("numpy.") and name[6:] in NUMPY_SCALARS:
        return ("scalar", NUMPY_SCALARS[name[6:]], "numpy")
    if name in LISTS:
        return ("list", args[0], -1) if args else ("list", JSON, -1)
    if name in ("builtins.tuple", "typing.Tuple"):
        if len(args) == 2 and args[1] is Ellipsis:
            return ("list", args[0], -1)
        return ("list", args[0], len(args)) if args and all(arg == args[0] for arg in args) else JSON
    if name in DICTS:
        return ("dict", args[1] if len(args) == 2 else None)
    if name in ITERATORS:
        return ("iterator", args[0] if args else None)
    if name == "numpy.dtype":
        return ("dtype", args[0][1] if args and args[0][0] == "scalar" else None) + tuple(args[:1])
    if name in ("numpy.ndarray", "numpy.NDArray", "numpy.typing.NDArray", "numpy.typing.ArrayLike"):
        element = args[-1] if args else None
        element = element[2] if element and element[0] == "dtype" and len(element) > 2 else element
        datatype = element[1] if element and element[0] in ("dtype", "scalar") and element[1] != "json" else None
        return ("array", datatype, None) + (("bytes",) if element == SCALAR_BYTES else ())
    if name == "pandas.DataFrame":
        return ("frame", None)
    if name in ("typing.Union", "types.UnionType"):
        return union(args)
    if name == "typing.Optional":
        return union(list(args) + [("none",)])
    if name == "typing.NotRequired":
        return union(list(args) + [("none",)])
    if name in WRAPPERS and args:
        return args[0]
    return ("unknown", name.replace("builtins.", ""))


def union(hints):
    """The hint of one of several types."""
    rest = []
    for hint in hints:
        inner = hint[1] if hint[0] == "optional" else hint
        if inner[0] != "none" and inner not in rest:
            rest.append(inner)
    if not rest:
        return ("none",)
    if len(rest) == 1:
        merged = rest[0]
    elif all(hint[0] == "literal" for hint in rest):
        merged = ("literal", tuple(value for hint in rest for value in hint[1]))
    elif all(hint[0] == "scalar" and hint[1] in ("INT64", "FP64") and hint[2] != "numpy" for hint in rest):
        merged = ("scalar", "FP64", "float")
    else:
        merged = JSON
    nullable = any(hint[0] in ("none", "optional") for hint in hints)
    return ("optional", merged) if nullable else merged


def annotate(hint, metadata):
    """`Annotated`: a datatype by name, a shape as a tuple, the columns of a frame as a dict."""
    for item in metadata:
        if hint[0] == "array" and isinstance(item, str) and item in DATATYPES:
            hint = ("array", item) + hint[2:]
        elif hint[0] == "array" and is_shape(item):
            hint = ("array", hint[1], [-1 if size is None else size for size in item]) + hint[3:]
        elif hint[0] == "list" and is_shape(item):
            hint = with_lengths(hint, item)
        elif hint[0] == "frame" and isinstance(item, dict):
            hint = ("frame", item)
    return hint


def with_lengths(hint, sizes):
    """Nested lists of known lengths."""
    if hint[0] != "list" or not sizes:
        return hint
    return ("list", with_lengths(hint[1], sizes[1:]), -1 if sizes[0] is None else sizes[0])


def kind_of(hint):
    """The kind of a hint, whether or not None is allowed too."""
    return hint and (hint[1][0] if hint[0] == "optional" else hint[0])


def leaf(hint):
    """The innermost hint, without lists and `None`."""
    while hint and hint[0] in ("optional", "list"):
        hint = hint[1]
    return hint or JSON
