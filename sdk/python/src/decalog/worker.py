"""Serves one Python model over the Open Inference Protocol on a Unix socket: `python worker.py`.

One file without dependencies, so that it can be put beside any model's own environment. It must not import numpy or
pandas unless the model does, and `--describe` must not run any of the model's code. It reads, in this order: what
annotations mean (hints), what a model takes and gives (schema), requests to values (readers), values to answers
(encoders), the kinds of models (forms), loading, the protocol, the server, forking, and the static description.

Arrays that a model gets are its own: writable, aligned, and never overwritten by a later request.
"""

import _socket
import ast
import atexit
import fcntl
import gc
import importlib.machinery
import inspect
import json
import math
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback
import typing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path


def own_copy(module):
    """A copy of a module: what a model puts into the module itself, as gevent does, is not what serves it."""
    copy = type(module)(module.__name__)
    vars(copy).update(vars(module))
    return copy


json, os, select, signal, socket, stat, struct, threading, time, traceback = map(
    own_copy, (json, os, select, signal, socket, stat, struct, threading, time, traceback)
)

HEAD_BYTES_MAX = 64 * 1024  # of a request's head; also what one connection can receive without a second buffer
BODY_BYTES_MAX = 1 << 30
KEPT_BYTES_MAX = 64 << 20  # a larger receive buffer is not kept for the next request
CACHED_KEY_BYTES_MAX = 8 * 1024
CACHE_ENTRIES_MAX = 512
JOINED_BYTES_MAX = 64 * 1024  # answers up to this size are sent in one piece
PEER_S_MAX = 60  # how long a peer may stall in the middle of a request or an answer
STALL_MS_MAX = 100  # how long others wait for the rest of a request, before it is waited for beside them
DETAIL_LINES_MAX = 40
MESSAGE_CHARS_MAX = 2_000
LOG_CHARS_MAX = 64 * 1024  # of what the worker itself writes at a time
SHOWN_CHARS_MAX = 200  # of a wrong value in a message
DIMENSIONS_MAX = 32
EMPTY_ROWS_MAX = 1 << 20  # rows and lists of a tensor that has no element, so that its bytes bound nothing
ORDER_BYTES_MAX = 256 * 1024  # of one packet of the supervisor to a process that forks
VARIABLES = dict(os.environ)  # as they were given: a model may change those of the process
MODULES_AT_START = frozenset(sys.modules)  # what an interpreter has before any model
MODULES_BYTES_MAX = 96 * 1024  # of the names of modules: they are passed on as one variable
AHEAD_PAUSE_MS = 50  # how long nothing is asked before the next process is forked ahead
AHEAD_S_MAX = 2.0  # how long a process that was forked ahead may take to do as it is told
THREADS_END_S_MAX = 0.1  # how long threads that are about to end may take before a fork is refused

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


class Problem(Exception):
    """An error as the platform shows it: a stable code, one sentence, details, and what to do."""

    def __init__(self, code, message, details=(), help=""):
        super().__init__(message)
        self.code, self.message, self.details, self.help = code, message, list(details), help

    def body(self):
        body = {"code": self.code, "error": self.message}
        if self.details:
            body["details"] = self.details
        if self.help:
            body["help"] = self.help
        return body


# ---- Hints: what an annotation means, the same from source text as from objects ----------------------------------
# ("scalar", datatype, python) · ("literal", values) · ("enum", values, class) · ("list", hint, length) · ("none",)
# ("optional", hint) · ("array", datatype, shape) · ("frame", {name: hint}) · ("record", ((name, hint), ...))
# ("dict", hint) · ("iterator", hint) · ("dtype", datatype) · ("unknown", text); None stands for no annotation.

JSON = ("scalar", "json", "json")
SCALARS = {
    "builtins.int": ("INT64", "int"), "builtins.float": ("FP64", "float"), "builtins.bool": ("BOOL", "bool"),
    "builtins.str": ("BYTES", "str"), "builtins.bytes": ("BYTES", "bytes"), "datetime.datetime": ("timestamp", "datetime"),
    "datetime.date": ("BYTES", "date"), "typing.Any": ("json", "json"), "builtins.object": ("json", "json"),
}  # fmt: skip
NUMPY_SCALARS = dict(
    {name: datatype for datatype, (_, name, _) in FIXED.items() if datatype != "BF16"},
    bool_="BOOL", half="FP16", single="FP32", double="FP64", float_="FP64", int_="INT64", intp="INT64", long="INT64",
    longlong="INT64", intc="INT32", short="INT16", byte="INT8", uint="UINT64", uintp="UINT64", ulong="UINT64",
    ulonglong="UINT64", uintc="UINT32", ushort="UINT16", ubyte="UINT8", str_="BYTES", bytes_="BYTES", object_="json",
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
        return ("dtype", args[0][1] if args and args[0][0] == "scalar" else None)
    if name in ("numpy.ndarray", "numpy.NDArray", "numpy.typing.NDArray", "numpy.typing.ArrayLike"):
        element = args[-1] if args else None
        datatype = element[1] if element and element[0] in ("dtype", "scalar") and element[1] != "json" else None
        return ("array", datatype, None)
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
            hint = ("array", item, hint[2])
        elif hint[0] == "array" and is_shape(item):
            hint = ("array", hint[1], [-1 if size is None else size for size in item])
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


def is_shape(item):
    return isinstance(item, (tuple, list)) and all(size is None or isinstance(size, int) for size in item)


def hint_from_object(annotation, scope):
    """The hint of an annotation that has been evaluated; `scope` resolves those that are still text."""

    def inner(item):
        return hint_from_object(item, scope)

    if annotation is None or annotation is type(None):
        return ("none",)
    if annotation is Ellipsis:
        return Ellipsis
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            return inner(eval(annotation, scope))  # the model's own text, in the model's own process
        except Exception:
            return hint_from_text(annotation, scope)
    if hasattr(annotation, "__metadata__") and hasattr(annotation, "__origin__"):
        metadata = [{name: inner(value) for name, value in item.items()} if isinstance(item, dict) else item
                    for item in annotation.__metadata__]  # fmt: skip
        return annotate(inner(annotation.__origin__), metadata)
    if hasattr(annotation, "__supertype__"):
        return inner(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        return inner(annotation.__value__)
    origin = typing.get_origin(annotation) or getattr(annotation, "__origin__", None)
    if origin is not None:
        name, args = full_name(origin), typing.get_args(annotation) or getattr(annotation, "__args__", ())
        if name in ("typing.Literal", "typing_extensions.Literal"):
            return ("literal", tuple(args))
        if origin is typing.Union:
            name = "typing.Union"
        return make_hint(name, [inner(arg) for arg in args if not isinstance(arg, list)])
    return hint_from_class(annotation, inner) or make_hint(full_name(annotation), [])


def hint_from_text(text, scope):
    """The hint of an annotation that cannot be evaluated: of a newer Python, or with names that only type checkers import."""
    try:
        return SourceHints(ast.parse(Path(scope["__file__"]).read_bytes())).hint(ast.parse(text, mode="eval").body)
    except (KeyError, OSError, SyntaxError, ValueError):
        return ("unknown", text)


def hint_from_class(annotation, inner):
    """The hint of a class with named fields or values, if it is one."""
    if not isinstance(annotation, type):
        return None
    import enum

    if issubclass(annotation, enum.Enum):
        return ("enum", tuple(member.value for member in annotation), annotation)
    is_typed_dict = issubclass(annotation, dict) and hasattr(annotation, "__total__")
    if (
        is_typed_dict
        or hasattr(annotation, "_fields")
        or hasattr(annotation, "__dataclass_fields__")
        or hasattr(annotation, "model_fields")
    ):
        fields = {}
        for base in reversed(annotation.__mro__):
            scope = vars(sys.modules.get(base.__module__, sys))
            own = base.__dict__.get("__annotations__") or (getattr(base, "__annotations__", {}) if base is annotation else {})
            fields.update({name: hint_from_object(value, scope) for name, value in own.items()})
        optional = getattr(annotation, "__optional_keys__", ()) if is_typed_dict else ()
        return ("record", tuple((name, union([hint, ("none",)]) if name in optional else hint) for name, hint in fields.items()))
    return None


def full_name(item):
    module = getattr(item, "__module__", "") or ""
    name = getattr(item, "__qualname__", None) or getattr(item, "_name", None) or str(item)
    root = module.split(".")[0]
    if root == "typing_extensions":
        root = module = "typing"
    return (root if root in ("numpy", "pandas") else module) + "." + name


class SourceHints:
    """Hints of annotations in source text that is parsed, never run."""

    def __init__(self, tree):
        self.imports, self.values, self.classes, self.open = {}, {}, {}, set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = node.module + "." + alias.name
        for node in top_level(tree):
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.values[node.target.id] = node.value
            elif type(node).__name__ == "TypeAlias":
                self.values[node.name.id] = node.value

    def name(self, node):
        """The full name of what an expression refers to, if it is a plain name."""
        if isinstance(node, ast.Attribute):
            owner = self.name(node.value)
            return owner and (owner + "." + node.attr).replace("typing_extensions.", "typing.")
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.imports:
            return self.imports[node.id].replace("typing_extensions.", "typing.")
        return "builtins." + node.id

    def hint(self, node):
        if isinstance(node, ast.Constant):
            if node.value is None:
                return ("none",)
            if node.value is Ellipsis:
                return Ellipsis
            if isinstance(node.value, str):
                try:
                    return self.hint(ast.parse(node.value, mode="eval").body)
                except SyntaxError:
                    return ("unknown", node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return union([self.hint(node.left), self.hint(node.right)])
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Name) and node.id in self.classes and node.id not in self.open:
            return self.guarded(node.id, lambda: self.class_hint(self.classes[node.id]))
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            return self.guarded(node.id, lambda: self.hint(self.values[node.id]))
        if isinstance(node, ast.Call) and self.name(node.func) == "typing.NewType" and len(node.args) == 2:
            return self.hint(node.args[1])
        name = self.name(node)
        return make_hint(name, []) if name else ("unknown", source_of(node))

    def guarded(self, name, resolve):
        """Resolves a name of the file once, whatever refers back to it."""
        self.open.add(name)
        try:
            return resolve()
        finally:
            self.open.discard(name)

    def subscript(self, node):
        inner = node.slice.value if type(node.slice).__name__ == "Index" else node.slice  # Index: Python 3.8
        items = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        name = self.name(node.value)
        if name == "typing.Literal":
            values = [self.constant(item) for item in items]
            return ("unknown", source_of(node)) if UNKNOWN in values else ("literal", tuple(values))
        if name == "typing.Annotated":
            return annotate(self.hint(items[0]), [self.metadata(item) for item in items[1:]])
        return make_hint(name, [self.hint(item) for item in items]) if name else ("unknown", source_of(node))

    def metadata(self, node):
        if isinstance(node, ast.Dict):
            return {self.constant(key): self.hint(value) for key, value in zip(node.keys, node.values)}
        return self.constant(node)

    def constant(self, node):
        """The value of an expression that is plainly one, else UNKNOWN."""
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            return self.guarded(node.id, lambda: self.constant(self.values[node.id]))
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            return UNKNOWN

    def class_hint(self, node):
        bases = [self.name(base) for base in node.bases]
        decorators = [self.name(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list]
        if any(base and base.startswith("enum.") for base in bases):
            values = [self.constant(item.value) for item in node.body if isinstance(item, ast.Assign)]
            return ("unknown", node.name) if UNKNOWN in values else ("enum", tuple(values), None)
        inherited = [self.hint(base) for base in node.bases if isinstance(base, ast.Name) and base.id in self.classes]
        fields = dict(field for hint in inherited if hint[0] == "record" for field in hint[1])
        known = {"typing.TypedDict", "typing.NamedTuple", "pydantic.BaseModel"}
        if not (known.intersection(bases) or "dataclasses.dataclass" in decorators or fields):
            return ("unknown", node.name)
        total = all(keyword.arg != "total" or self.constant(keyword.value) for keyword in node.keywords)
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                hint = self.hint(item.annotation)
                fields[item.target.id] = hint if total else union([hint, ("none",)])
        return ("record", tuple(fields.items()))


class Unknown:
    """A default that only a run can tell."""


UNKNOWN = Unknown()


def top_level(tree):
    """The statements of a module that run when it is imported, also those under `if` and `try`."""
    for node in tree.body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]:
                yield from top_level(ast.Module(body=block, type_ignores=[]))
            for handler in getattr(node, "handlers", []):
                yield from top_level(handler)


def source_of(node):
    return ast.unparse(node) if hasattr(ast, "unparse") else "this annotation"


# ---- Schema: what a model takes and gives ---------------------------------------------------------------------


class Parameter:
    def __init__(self, name, hint, default=inspect.Parameter.empty, keyword=False):
        self.name, self.hint, self.default, self.keyword = name, hint, default, keyword

    @property
    def is_optional(self):
        return self.default is not inspect.Parameter.empty


class Signature:
    """What is known of `predict`, from source text or from the function itself."""

    def __init__(self, parameters, returns, generates, takes_more, returned_keys):
        self.parameters, self.returns, self.takes_more, self.returned_keys = parameters, returns, takes_more, returned_keys
        self.streams = generates or bool(returns and returns[0] == "iterator")
        self.batch = any(kind_of(parameter.hint) in ("array", "frame") for parameter in parameters)

    @classmethod
    def from_function(cls, function):
        target = inspect.unwrap(function)
        scope = getattr(target, "__globals__", {})

        def hint(annotation):
            return None if annotation is inspect.Parameter.empty else hint_from_object(annotation, scope)

        signature = inspect.signature(function)
        parameters, takes_more = [], False
        for item in signature.parameters.values():
            takes_more = takes_more or item.kind == item.VAR_KEYWORD
            if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
                parameters.append(Parameter(item.name, hint(item.annotation), item.default, item.kind == item.KEYWORD_ONLY))
        generates = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
        returns = hint(signature.return_annotation)
        return cls(parameters, returns, generates, takes_more, lambda: keys_of(function_node(target)))

    @classmethod
    def from_node(cls, node, hints, is_method):
        arguments = node.args
        positional = list(getattr(arguments, "posonlyargs", [])) + arguments.args
        defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        pairs = list(zip(positional, defaults))[1 if is_method else 0 :]
        parameters = []
        for keyword, group in ((False, pairs), (True, zip(arguments.kwonlyargs, arguments.kw_defaults))):
            for argument, default in group:
                value = inspect.Parameter.empty if default is None else hints.constant(default)
                hint = hints.hint(argument.annotation) if argument.annotation else None
                parameters.append(Parameter(argument.arg, hint, value, keyword))
        returns = hints.hint(node.returns) if node.returns else None
        generates = any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in own_nodes(node))
        return cls(parameters, returns, generates, arguments.kwarg is not None, lambda: keys_of(node))


def kind_of(hint):
    """The kind of a hint, whether or not None is allowed too."""
    return hint and (hint[1][0] if hint[0] == "optional" else hint[0])


def own_nodes(function):
    """The nodes of a function without those of functions and classes within it."""
    stack = list(function.body)
    while stack:
        node = stack.pop(0)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield node
            stack[:0] = ast.iter_child_nodes(node)


def function_node(function):
    """The parsed source of a function, if it can be found."""
    code = getattr(function, "__code__", None)
    try:
        tree = ast.parse(Path(code.co_filename).read_bytes())
    except (AttributeError, OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == code.co_name:
            if code.co_firstlineno == min([node.lineno] + [item.lineno for item in node.decorator_list]):
                return node
    return None


def keys_of(node):
    """The keys that a function returns, with whether each is always there; None unless all returns are plain dicts."""
    returns = [inner.value for inner in own_nodes(node) if isinstance(inner, ast.Return)] if node else []
    sets = []
    for value in returns:
        if not isinstance(value, ast.Dict) or not all(
            isinstance(key, ast.Constant) and isinstance(key.value, str) for key in value.keys
        ):
            return None
        sets.append([key.value for key in value.keys])
    names = [name for keys in sets for name in keys]
    return {name: all(name in keys for keys in sets) for name in names} or None


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
        datatype = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}.get(types.pop()) if len(types) == 1 else None
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
                        'add them to decalog.toml, as in [schema] inputs = [{ name = "age", datatype = "INT64", shape = [] }], '
                        'or annotate: %s: Annotated[pd.DataFrame, {"age": int, "city": str}]' % parameter.name
                    ),
                )
            columns.extend(column_of(name, inner) for name, inner in hint[1].items())
            continue
        if hint is None and type(parameter.default) in (bool, int, float, str):
            hint = make_hint("builtins." + type(parameter.default).__name__, [])
        elif hint is None:
            notes.append(
                "`%s` has no type hint: it takes any JSON value; write `%s: float`, or whatever it is" % ((parameter.name,) * 2)
            )
        elif leaf(hint)[0] in ("unknown", "record"):
            what = leaf(hint)[1] if leaf(hint)[0] == "unknown" else "a record"
            notes.append(
                "`%s` is annotated %s, which has no datatype: it takes any JSON value, as it is" % (parameter.name, what)
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
        raise Problem("no_inputs", "predict takes no inputs", help="give it parameters, as in def predict(age: int) -> float")
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
            "the outputs are known when it runs; a return annotation such as -> float, a TypedDict or [schema] outputs tells them"
        )
    return schema


def check_overrides(signature, names):
    """Columns of the manifest must be parameters of the function."""
    if signature.takes_more or any(parameter.hint and parameter.hint[0] == "frame" for parameter in signature.parameters):
        return
    parameters = [parameter.name for parameter in signature.parameters]
    required = [parameter.name for parameter in signature.parameters if not parameter.is_optional]
    wrong = [name for name in names if name not in parameters] + [name for name in required if name not in names]
    if wrong:
        message = "[schema] inputs and the parameters of predict differ in `%s`" % "`, `".join(wrong)
        raise Problem("bad_schema", message, ["[schema] inputs: " + ", ".join(names), "predict takes: " + ", ".join(parameters)],
                      "name each column after a parameter")  # fmt: skip


def leaf(hint):
    """The innermost hint, without lists and `None`."""
    while hint and hint[0] in ("optional", "list"):
        hint = hint[1]
    return hint or JSON


# ---- Readers: from the bytes of a request to values --------------------------------------------------------------
# A reader takes (data, base, owned): the buffer, where its binary tensors begin, and whether views on it may be kept.


class Slot:
    """Where one input lies behind `base`, and the BOOL tensor that says which of its rows are there."""

    __slots__ = ("start", "end", "shape", "valid")

    def __init__(self, start, end, shape):
        self.start, self.end, self.shape, self.valid = start, end, shape, None

    def validity(self, data, base):
        """For each row whether it is there; None if all are."""
        return None if self.valid is None else data[base + self.valid : base + self.valid + self.shape[0]]


class Absent:
    """Stands for an input that the request leaves out, and that may be null."""


def bad_request(message, help=""):
    return Problem("bad_request", message, help=help)


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


RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z")


def parse_timestamp(text):
    match = RFC_3339.match(text)
    if not match:
        raise ValueError("%r is not a timestamp of RFC 3339" % text)
    fraction = int(((match.group(7) or "") + "000000")[:6])
    offset = timedelta(hours=int(match.group(9) or 0), minutes=int(match.group(10) or 0))
    zone = timezone(-offset if match.group(8) == "-" else offset) if offset else timezone.utc
    return datetime(*[int(part) for part in match.groups()[:6]], fraction, zone)


def element_decoder(column, hint):
    """From the bytes of an element of BYTES, or the number of another datatype, to what the model wants; None: as it is."""
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
        return None if inner[0] == "scalar" and inner[2] == "bytes" else bytes.decode
    if datatype == "BF16":
        return lambda bits: struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return None


def nest(flat, shape):
    """Lists of the shape out of a flat sequence; the first dimension is the rows."""
    for at in range(len(shape) - 1, 0, -1):
        size, count = shape[at], math.prod(shape[:at])
        flat = [list(flat[place * size : (place + 1) * size]) for place in range(count)]
    return flat


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
        return lambda data, base, owned: decode_all(name, unpack(data, base + slot.start), decode, slot.validity(data, base))
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
        return [value if is_valid else None for value, is_valid in zip(read(data, base, owned), slot.validity(data, base))]

    return read_nullable


def array_reader(slot, column, hint, rows):
    """Reads a column as one array with the rows as its leading dimension.

    Its dtype follows from the schema alone: a nullable column has NaN where a row is missing, or else None among objects.
    """
    import numpy

    def objects(values):
        array = numpy.empty(len(values), object)
        array[:] = values
        return array

    datatype = column["datatype"]
    if isinstance(slot, Absent):
        is_float, shape = datatype[:2] in ("FP", "BF"), (rows,) + tuple([max(size, 0) for size in column.get("shape") or []])
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
            read = lambda data, base, owned: (read_bits(data, base, owned).astype("uint32") << 16).view("float32")  # noqa: E731
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


# ---- Encoders: from a model's answer to output tensors -----------------------------------------------------------
# An output is (name, datatype, shape, data), where data is bytes or a contiguous array. The answer to a batch is a list of
# parts, (rows, outputs): rows beside each other whose outputs have the same names, datatypes and shapes, or (rows, problem).
# What a row becomes does not depend on the rows beside it. So rows are encoded together only if that gives each the same as
# alone; a function that cannot say so returns None, and for a single row it never does.


def utf8(text):
    """The bytes of a text; halves of surrogate pairs, which UTF-8 does not have, are replaced."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def to_json(value):
    """JSON text of any value that has a sensible one; numbers that are not finite become null."""
    try:
        return STRICT_JSON.encode(value)
    except ValueError:
        return STRICT_JSON.encode(finite(json.loads(LOOSE_JSON.encode(value))))


def finite(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    return {key: finite(item) for key, item in value.items()} if isinstance(value, dict) else value


def plain_value(value):
    """What json makes of values that it does not know."""
    if is_missing(value):
        return None
    if isinstance(value, datetime):
        return timestamp_text(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    row = as_row(value)
    if row is not value:
        return row
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "value") and hasattr(type(value), "__members__"):
        return value.value
    if type(value).__name__ in ("Decimal", "UUID", "PosixPath"):
        return float(value) if type(value).__name__ == "Decimal" else str(value)
    raise TypeError("a value of type %s has no JSON form" % type(value).__name__)


STRICT_JSON = json.JSONEncoder(default=plain_value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
LOOSE_JSON = json.JSONEncoder(default=plain_value)


def is_missing(value):
    """Whether a value stands for none: that of Python or those of pandas."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def timestamp_text(value):
    """RFC 3339; a time without a zone counts as UTC."""
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None).isoformat() + "Z"
    if offset.total_seconds() % 60:  # as zones had before there was standard time: RFC 3339 has no form for it
        value = value.astimezone(timezone.utc)
    return value.isoformat().replace("+00:00", "Z")


def as_row(value):
    """Records of all kinds as a dict; anything else as it is."""
    if isinstance(value, dict) or value is None or type(value) in (int, float, str, bool, list, tuple):
        return value
    if hasattr(value, "_asdict"):
        return value._asdict()
    if hasattr(type(value), "__dataclass_fields__"):
        return {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    if hasattr(type(value), "model_fields"):
        return value.model_dump()
    if type(value).__name__ == "Series" and type(value).__module__.startswith("pandas"):
        return value.to_dict()
    return value


def bytes_blob(elements):
    pack = LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def bad_output(message, help=""):
    return Problem("bad_output", message, help=help)


def wrong_rows(name, got, rows):
    where = "" if name == "output" else " in `%s`" % name
    return bad_output("predict gave %s%s for %d %s of input" % (got, where, rows, "row" if rows == 1 else "rows"),
                      "a batch must be answered with one row for each row of input")  # fmt: skip


def wrong_value(name, value, column):
    """The problem of a value that is not what the schema says."""
    shape = column.get("shape")
    wanted = column["datatype"] + ("" if shape == [] else " of any shape" if shape is None else " of the shape %s" % shape)
    if column.get("categories"):
        wanted = "one of %s" % to_json(column["categories"])
    if is_missing(value):
        return bad_output("the output `%s` is null where the schema says %s" % (name, wanted),
                          "return a value, or let the annotation say that it may be None")  # fmt: skip
    return bad_output("the output `%s` is %s, a %s, where the schema says %s"
                      % (name, shortened(value), type(value).__name__, wanted),
                      "return what the annotation of predict or [schema] outputs says, or change that")  # fmt: skip


def shortened(value):
    """A value as a message may show it, whatever its `__repr__` does."""
    try:
        text = repr(value)
    except BaseException as error:
        return "a value whose repr raises %s" % type(error).__name__
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def answer_parts(rows, encode):
    """The parts of an answer. `encode(begin, end)` gives the outputs of these rows, or None if they are not alike."""
    try:
        outputs = encode(0, rows)
        if outputs is not None:
            return [(rows, outputs)]
    except BaseException as error:
        if rows == 1:
            return [(1, unsendable(error))]
    parts = []
    for at in range(rows):
        try:
            parts.append((1, encode(at, at + 1)))
        except BaseException as error:
            parts.append((1, unsendable(error)))
    return joined(parts)


def unsendable(error):
    """The problem of an answer that cannot be encoded."""
    if isinstance(error, Problem):
        return error
    return bad_output("the answer of predict cannot be sent: " + sentence(error))


def joined(parts):
    """Parts with those put together that lie beside each other and are alike."""
    groups = []
    for rows, outputs in parts:
        key = None if isinstance(outputs, Problem) else [(name, datatype, shape[1:]) for name, datatype, shape, _ in outputs]
        if groups and key is not None and groups[-1][0] == key:
            groups[-1][1].append((rows, outputs))
        else:
            groups.append((key, [(rows, outputs)]))
    return [stacked(key, group) if len(group) > 1 else group[0] for key, group in groups]


def stacked(key, group):
    """One part of parts that are alike."""
    rows = sum(count for count, _ in group)
    outputs = [
        (name, datatype, (rows,) + tuple(shape), b"".join([bytes(outputs[at][3]) for _, outputs in group]))
        for at, (name, datatype, shape) in enumerate(key)
    ]
    return rows, outputs


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
    if hasattr(value, "dtype"):
        return encode_array(name, value, rows, column)
    outputs = encode_values(name, value, column)
    if outputs is None and rows > 1:
        parts = joined([(1, encode_values(name, [item], column)) for item in value])
        outputs = parts[0][1] if len(parts) == 1 else None
    return outputs


def encode_values(name, values, column):
    """The outputs of one Python value for each row: itself, and `NAME:valid` if it may be missing; None if they are not alike."""
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
    """(datatype, shape of a row, data) of values by the column; a list of lists of several lengths is JSON, which keeps them."""
    datatype, shape = column["datatype"], column.get("shape")
    if datatype == "json":
        return json_tensor(values)
    if shape == []:
        return datatype, (), pack_declared(name, values, column)
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


def shape_fits(wanted, got):
    return len(wanted) == len(got) and all(want in (-1, size) for want, size in zip(wanted, got))


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


def as_array(value):
    """A numpy array of what has a dtype: also of a Series or a tensor."""
    import numpy

    if hasattr(value, "detach"):
        value = value.detach().cpu()
    # The types that pandas adds have values for what is missing, which an object array keeps.
    return numpy.asarray(value, None if isinstance(value.dtype, numpy.dtype) or not hasattr(value, "to_numpy") else object)


def flatten(values):
    """The shape of nested lists and their leaves; (None, None) if they are ragged."""
    shape, level = (len(values),), values
    while level and isinstance(level[0], (list, tuple)) and not hasattr(level[0], "_fields"):
        size = len(level[0])
        if not all(isinstance(item, (list, tuple)) and len(item) == size for item in level):
            return None, None
        shape, level = shape + (size,), [leaf for item in level for leaf in item]
        if len(shape) > DIMENSIONS_MAX:
            return None, None
    if any(item is None or isinstance(item, (list, tuple, dict)) or hasattr(item, "shape") and item.shape for item in level):
        return None, None
    return shape, level


def scalars_of(values, is_alone):
    """(datatype, data) of scalars by what they are; None if they have none in common, or one that each row would not have."""
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
    if hasattr(value, "item") and hasattr(value, "dtype"):
        return value.item() if value.dtype.kind != "M" else value.astype("datetime64[us]").item()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, datetime):
        return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else value


def pack_declared(name, values, column):
    """The data of scalars as the column's datatype: what is exactly that, and not merely near it."""
    datatype, categories = column["datatype"], column.get("categories")
    code = FIXED[datatype][0] if datatype in FIXED else None
    kinds = set(map(type, values))
    if not kinds <= PLAIN.get(datatype, set()):
        values = [declared_scalar(name, value, column) for value in values]
    if categories:
        for value in values:
            if value not in categories and plain_value_of_bytes(value) not in categories:
                raise wrong_value(name, value, column)
    if code is None:
        return bytes_blob([utf8(value) if type(value) is str else value for value in values])
    try:
        return struct.pack("<%d%s" % (len(values), code), *values)
    except (struct.error, OverflowError):
        raise wrong_value(name, next((value for value in values if not can_pack(code, value)), None), column) from None


def plain_value_of_bytes(value):
    return value.decode("utf-8", "replace") if type(value) is bytes else value


def can_pack(code, value):
    try:
        return bool(struct.pack("<" + code, value))
    except (struct.error, OverflowError):
        return False


# The types of Python that need no look at each value.
PLAIN = dict(
    {datatype: {int, float} if datatype[:2] in ("FP", "BF") else {int} for datatype in FIXED}, BOOL={bool}, BYTES={str, bytes}
)


def declared_scalar(name, value, column):
    """A scalar as what `pack_declared` packs for the column's datatype."""
    datatype, got = column["datatype"], value
    if hasattr(value, "dtype") and getattr(value, "size", 1) == 1:
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
        if wanted[:2] == "FP" or (changed == array).all():
            return wanted, changed
    raise bad_output("the output `%s` is an array of %s where the schema says %s" % (name, array.dtype, wanted))


def encode_odd_array(name, array, rows, column):
    """Text, objects, times, and numbers that the protocol does not have."""
    kind = array.dtype.kind
    if kind == "M":
        values = [None if item != item else parse_timestamp(str(item) + "Z") for item in array.astype("datetime64[us]").ravel()]
        return encode_column(name, nest(values, array.shape), rows, column)
    if kind in "biuf":
        native = array.dtype.newbyteorder("=")
        return encode_array(name, array.astype("float64" if native.itemsize > 8 else native), rows, column)
    if kind in "USO" or kind == "T":
        values = array.tolist()
        if array.ndim == 1:  # pandas has NaN for what is missing among objects
            values = [None if is_missing(value) or type(value) is float and value != value else value for value in values]
        return encode_column(name, values, rows, column)
    raise bad_output("`%s` is an array of %s, which has no datatype in the protocol" % (name, array.dtype))


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
    if len(declared) < 2 and hasattr(result, "dtype") and type(result).__module__ == "numpy":  # the most usual, without detours
        name = next(iter(declared), "output")
        outputs = encode_array(name, result, rows, declared.get(name))
        if outputs is not None:
            return [(rows, outputs)]
    if hasattr(result, "_asdict") or not isinstance(result, (list, tuple)) and not hasattr(result, "dtype"):
        result = as_row(result)
    if type(result).__name__ == "DataFrame" and not isinstance(result, dict):
        result = {str(name): result[name] for name in result.columns} if len(result.columns) else {"output": result}
    if isinstance(result, (list, tuple)) and len(result) == rows and any(isinstance(as_row(item), dict) for item in result):
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


# ---- Forms: how a model is called ---------------------------------------------------------------------------------


class Coroutines:
    """Runs coroutines on one event loop: in the caller's thread if it is the only one, else in a thread of its own."""

    def __init__(self, concurrency):
        self.loop, self.own_thread = None, concurrency > 1

    def run(self, coroutine):
        import asyncio

        if self.loop is None:  # models without coroutines need none; the first call is while loading
            self.loop = asyncio.new_event_loop()
            if self.own_thread:
                threading.Thread(target=self.loop.run_forever, daemon=True).start()
        if self.own_thread:
            result, error = asyncio.run_coroutine_threadsafe(caught(coroutine), self.loop).result()
        else:
            result, error = self.loop.run_until_complete(caught(coroutine))
        if error is not None:
            raise error
        return result

    async def gather(self, coroutines):
        """A pair of result and error of each."""
        import asyncio

        return await asyncio.gather(*map(caught, coroutines))

    def iterate(self, generator):
        """The items of an asynchronous generator; closing this closes it."""
        try:
            while True:
                try:
                    yield self.run(generator.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self.run(generator.aclose())


async def caught(coroutine):
    """What a coroutine gave, and what it raised: some errors would end the loop, and with it all that runs there."""
    try:
        return await coroutine, None
    except GeneratorExit:
        raise
    except BaseException as error:
        return None, error


class Form:
    """A loaded model: its schema, readers for a request, and the call."""

    def __init__(self, schema, root):
        self.schema, self.root = schema, root
        self.declared = {column["name"]: column for column in schema["outputs"]}
        self.streams = schema.get("streams", False)

    def readers(self, slots, rows):
        raise NotImplementedError

    def call(self, values, rows):
        raise NotImplementedError

    def encode(self, result, rows):
        """The parts of the answer: what rows gave, or why they failed."""
        return encode_batch(result, rows, self.declared)

    def run(self, values, rows):
        """The parts of the answer for the values of a batch."""
        try:
            result = self.call(values, rows)
        except BaseException as error:
            raise raised(error, self.root) from None
        try:
            return self.encode(result, rows)
        except BaseException as error:
            raise unsendable(error) from None


class FunctionForm(Form):
    """A model written as a function or method."""

    def __init__(self, function, schema, signature, root, coroutines):
        super().__init__(schema, root)
        self.batch = signature.batch
        self.bindings, names, keywords = [], [column["name"] for column in schema["inputs"]], []
        own = {parameter.name for parameter in signature.parameters if not is_frame(parameter.hint)}
        for parameter in signature.parameters:
            if is_frame(parameter.hint):
                self.bindings.append((parameter.hint, [at for at, name in enumerate(names) if name not in own]))
            elif parameter.name in names:
                self.bindings.append((parameter.hint, [names.index(parameter.name)]))
            else:
                continue  # it keeps its default, and those after it go by keyword
            in_order = len(self.bindings) + len(keywords) == signature.parameters.index(parameter) + 1
            if parameter.keyword or keywords or not in_order:
                keywords.append(parameter.name)
        if not any(is_frame(hint) for hint, _ in self.bindings):
            for name in names:
                if name not in own:
                    self.bindings.append((None, [names.index(name)]))
                    keywords.append(name)
        target = inspect.unwrap(function)
        self.coroutines, self.is_async = coroutines, inspect.iscoroutinefunction(target)
        self.function = by_keyword(function, len(self.bindings) - len(keywords), keywords) if keywords else function

    def readers(self, slots, rows):
        readers, read = [], array_reader if self.batch else row_reader
        for hint, places in self.bindings:
            its_slots, columns = [slots[at] for at in places], [self.schema["inputs"][at] for at in places]
            if is_frame(hint):
                hints = [(hint[1] or {}).get(column["name"]) for column in columns]
                readers.append(frame_reader(its_slots, columns, hints, rows))
            else:
                readers.append(read(its_slots[0], columns[0], hint, rows))
        return readers

    def call(self, values, rows):
        if self.batch:
            result = self.function(*values)
            return self.coroutines.run(result) if self.is_async else result
        if self.is_async:
            results = self.coroutines.run(self.coroutines.gather([self.function(*row) for row in zip(*values)]))
            return [result if error is None else raised(error, self.root) for result, error in results]
        return self.call_rows(zip(*values))

    def call_rows(self, rows):
        """What each row gave, or the problem that it raised."""
        function, results = self.function, []
        while True:
            try:
                for row in rows:
                    results.append(function(*row))
                return results
            except BaseException as error:  # the next row is asked nevertheless
                results.append(raised(error, self.root))

    def encode(self, result, rows):
        if hasattr(result if self.batch else result[0], "__next__"):
            raise bad_output("predict returned an iterator", "to stream, write `yield`, or annotate it: -> Iterator[...]")
        if self.batch:
            return encode_batch(result, rows, self.declared)
        return answer_parts(rows, lambda begin, end: encode_rows(result[begin:end], self.declared))

    def items(self, values):
        """An iterator over the items of a stream, for one row."""
        result = self.function(*(values if self.batch else [value[0] for value in values]))
        if inspect.iscoroutine(result):
            result = self.coroutines.run(result)
        return self.coroutines.iterate(result) if hasattr(result, "__anext__") else iter(result)


def is_frame(hint):
    return bool(hint) and hint[0] == "frame"


def by_keyword(function, count, names):
    return lambda *values: function(*values[:count], **dict(zip(names, values[count:])))


class EstimatorForm(Form):
    """A scikit-learn model that was saved without any code."""

    # Those whose `predict` is the class of the highest probability; others are asked for both.
    ARGMAX = re.compile(
        r"sklearn\.(ensemble\._(forest|gb|hist_gradient_boosting)|linear_model\._logistic|naive_bayes|tree|discriminant_analysis)\b"
    )

    def __init__(self, estimator, inputs, root):
        self.estimator = estimator
        self.named = hasattr(estimator, "feature_names_in_")
        self.texts = len(inputs) == 1 and inputs[0]["datatype"] == "BYTES" and not self.named
        self.tensor = len(inputs) == 1 and inputs[0].get("shape") != []
        classes = getattr(estimator, "classes_", None)
        self.classes = classes if hasattr(classes, "dtype") and callable(getattr(estimator, "predict_proba", None)) else None
        last = estimator
        while hasattr(last, "steps") or hasattr(last, "best_estimator_"):
            last = last.best_estimator_ if hasattr(last, "best_estimator_") else last.steps[-1][1]
        self.argmax = bool(self.ARGMAX.match(type(last).__module__))
        super().__init__({"inputs": inputs, "outputs": []}, root)

    def readers(self, slots, rows):
        columns = self.schema["inputs"]
        if self.texts or self.tensor:
            return [array_reader(slots[0], columns[0], None, rows)]
        if self.named:
            return [frame_reader(slots, columns, [None] * len(columns), rows)]
        import numpy

        readers = [array_reader(slot, column, None, rows) for slot, column in zip(slots, columns)]
        return [lambda data, base, owned: numpy.column_stack([read(data, base, owned) for read in readers])]

    def call(self, values, rows):
        values = values[0]
        if self.classes is None:
            return {"output": self.estimator.predict(values)}
        probability = self.estimator.predict_proba(values)
        output = self.classes[probability.argmax(axis=1)] if self.argmax else self.estimator.predict(values)
        return {"output": output, "probability": probability}

    def try_out(self):
        """Learns the outputs from one row that is made up; without a usable one they are known when it runs."""
        inputs = []
        for column in self.schema["inputs"]:
            datatype, shape, data = default_input(dict(column, default=placeholder(column)), 1)
            inputs.append({"name": column["name"], "datatype": datatype, "shape": shape, "data": data})
        try:
            plan = make_plan(to_json({"inputs": inputs}), self)
            (_, outputs), *_ = self.run([read(plan.inline, 0, True) for read in plan.readers], 1)
        except Problem:
            return
        if isinstance(outputs, Problem):
            return
        columns = [
            {"name": name, "datatype": datatype, "shape": list(shape[1:])}
            for name, datatype, shape, _ in outputs
            if ":" not in name
        ]
        self.schema["outputs"] = columns
        self.declared = {column["name"]: column for column in columns}


def placeholder(column):
    if column.get("categories"):
        return column["categories"][0]
    value = {"BYTES": "text", "BOOL": False}.get(column["datatype"], 0.0 if column["datatype"][:2] == "FP" else 0)
    for size in reversed(column.get("shape") or []):
        value = [value] * max(size, 1)
    return value


def estimator_columns(estimator):
    """The input columns of a fitted estimator; None if it does not tell."""
    first = estimator
    while hasattr(first, "steps") or hasattr(first, "best_estimator_"):
        first = first.best_estimator_ if hasattr(first, "best_estimator_") else first.steps[0][1]
    names = fitted(estimator, "feature_names_in_")
    if names is not None:
        columns = {str(name): {"name": str(name), "datatype": "FP64", "shape": []} for name in names}
        learn_columns(first, list(columns), columns)
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


# ---- Loading ------------------------------------------------------------------------------------------------------


def raised(error, root):
    """The problem that an exception of the model becomes; the whole traceback goes to the log."""
    if is_bad_input(error):
        return Problem("bad_input", text_of(error)[:MESSAGE_CHARS_MAX] or "the model refuses this input")
    try:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        log(
            "".join(
                ["Traceback (most recent call last):\n"]
                + traceback.format_list(frames)
                + traceback.format_exception_only(type(error), error)
            )
        )
        lines = traceback_lines(error, root)
    except BaseException:  # an error that does not even let itself be told
        lines = []
    return Problem("model_raised", sentence(error), lines)


# What a model raises to say that a request is at fault, not itself.
BadInput = type("BadInput", (ValueError,), {"__module__": "decalog", "__doc__": "The row cannot be answered, whatever the model does."})


def is_bad_input(error):
    """Whether it is the BadInput of this file, or of the package `decalog` that the model has installed."""
    return any(kind.__name__ == "BadInput" and kind.__module__ == "decalog" for kind in type(error).__mro__)


class DecalogFinder:
    """Finds the module `decalog` where no package of that name is installed: it has what a model may use of the platform."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        import importlib.machinery

        return importlib.machinery.ModuleSpec(name, DecalogFinder) if name == "decalog" else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        module.BadInput = BadInput


def log(text):
    """Writes to the replica's log, whatever the model has made of `sys.stderr`."""
    data = utf8(text if len(text) <= LOG_CHARS_MAX else text[:LOG_CHARS_MAX] + "…\n")
    try:
        while data:
            data = data[os.write(LOG.number, data) :]
    except OSError:
        pass  # nobody reads it


class LOG:
    """Where the log goes: a worker keeps a descriptor of its own, as models close those that they know."""

    number = 2


def text_of(error):
    """The text of an exception, whatever its `__str__` does."""
    try:
        return str(error)
    except BaseException as another:
        return "its text cannot be told: %s" % type(another).__name__


def sentence(error):
    text = text_of(error)
    return ("%s: %s" % (type(error).__name__, text) if text else type(error).__name__)[:MESSAGE_CHARS_MAX]


def traceback_lines(error, root):
    """A traceback as its author would tell it: the frames of the model's own files, and the error."""
    root = os.path.join(os.path.abspath(root), "")
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__ and frame.filename[:1] != "<"
    ]
    own = [frame for frame in frames if frame.filename.startswith(root) and "site-packages" not in frame.filename]
    lines = []
    if isinstance(error, SyntaxError):
        frames = []  # the error itself names the place
    for frame in own or frames[-3:]:
        lines.append('File "%s", line %s, in %s' % (relative(frame.filename, root), frame.lineno, frame.name))
        if frame.line:
            lines.append("  " + frame.line)
    for line in traceback.format_exception_only(type(error), error):
        lines += [part.replace(root, "") for part in line.rstrip().splitlines()]
    if isinstance(error, SyntaxError):
        lines = [line[2:] if line.startswith("  ") else line for line in lines]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append("caused by " + sentence(cause).splitlines()[0])
    return [line[:MESSAGE_CHARS_MAX] for line in lines[-DETAIL_LINES_MAX:]]


def relative(name, root):
    return name[len(root) :] if name.startswith(root) else name


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Imports the files of a model and leaves no bytecode beside them: a version's files stay as they are."""

    def _cache_bytecode(self, *_):
        pass


def leave_no_bytecode(root):
    """Lets all modules below a model's directory be loaded by `SourceLoader`; those of its environment keep their bytecode."""
    machinery = importlib.machinery
    loaders = (
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (SourceLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    below = os.path.join(os.path.realpath(root), "")

    def hook(path):
        if not os.path.join(os.path.realpath(path), "").startswith(below) or not os.path.isdir(path):
            raise ImportError
        return machinery.FileFinder(path, *loaders)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


def load_module(path):
    """Runs a model's file as a module of its name."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, str(path), loader=SourceLoader(path.stem, str(path)))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def find_predict(module, root, coroutines):
    """The function of a loaded module that predicts; makes and loads its class if it has one."""
    function = getattr(module, "predict", None)
    if callable(function):
        settle(getattr(module, "load", None), root, coroutines)
        return function
    name = pick_class({name: callable(getattr(item, "predict", None)) for name, item in vars(module).items()
                       if isinstance(item, type) and item.__module__ == module.__name__})  # fmt: skip
    if name is None:
        names = [name for name, item in vars(module).items() if inspect.isfunction(item) and item.__module__ == module.__name__]
        raise no_predict(Path(module.__file__).name, names)
    settle(getattr(module, "load", None), root, coroutines)
    model = getattr(module, name)()
    settle(getattr(model, "load", None), root, coroutines)
    return model.predict


def settle(load, root, coroutines):
    """Calls `load(path)`, if there is one, with the model's directory."""
    if not callable(load):
        return
    result = load(Path(root)) if inspect.signature(load).parameters else load()
    if inspect.iscoroutine(result):
        coroutines.run(result)


def pick_class(classes):
    """The name of the class that is the model: `Model`, or the only public one that predicts."""
    public = [name for name, predicts in classes.items() if predicts and not name.startswith("_")]
    if "Model" in public:
        return "Model"
    if len(public) > 1:
        raise Problem("two_models", "there are several classes with `predict`: " + ", ".join(public),
                      help="call the one to serve `Model`, or let the names of the others begin with _")  # fmt: skip
    return public[0] if public else None


def no_predict(file, functions):
    details = ["its functions: " + ", ".join(functions)] if functions else ["it has no functions"]
    return Problem("no_predict", "%s has no function `predict` and no class with one" % file, details,
                   help="write def predict(age: int) -> float: in %s, or class Model with such a method" % file)  # fmt: skip


def load_form(root, file, overrides, concurrency):
    """The form of the model in a directory."""
    path = Path(root) / file
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return load_estimator(path, root, overrides)
    coroutines = Coroutines(concurrency)
    function = find_predict(load_module(path), root, coroutines)
    signature = Signature.from_function(function)
    return FunctionForm(function, schema_of(signature, overrides, []), signature, root, coroutines)


def load_estimator(path, root, overrides):
    try:
        import joblib

        estimator = joblib.load(str(path))
    except ModuleNotFoundError as error:
        if error.name != "joblib" or path.suffix == ".joblib":
            raise
        import pickle

        estimator = pickle.loads(path.read_bytes())
    if not callable(getattr(estimator, "predict", None)):
        raise Problem("no_predict", "%s holds a %s, which has no predict" % (path.name, type(estimator).__name__),
                      help="save the fitted estimator or pipeline itself, or write a model.py that loads the file")  # fmt: skip
    inputs = overrides.get("inputs") or estimator_columns(estimator)
    if not inputs:
        raise Problem(
            "no_columns",
            "%s does not tell its input columns" % path.name,
            help=(
                'fit it on a DataFrame, or add [schema] inputs = [{ name = "x", datatype = "FP64", shape = [4] }] to decalog.toml'
            ),
        )
    form = EstimatorForm(estimator, inputs, root)
    form.try_out()
    if overrides.get("outputs"):
        form.schema["outputs"] = overrides["outputs"]
        form.declared = {column["name"]: column for column in overrides["outputs"]}
    return form


def schema_overrides():
    """What the manifest says of columns."""
    return json.loads(VARIABLES.get("DECALOG_SCHEMA") or "{}")


# ---- Protocol: the Open Inference Protocol v2, as JSON and with binary tensors -----------------------------------


class Plan:
    """What a request's JSON means: how its tensors are read and how its answer is written."""

    __slots__ = ("rows", "readers", "blob_bytes", "inline", "wanted", "binary", "id", "is_plain")


def make_plan(text, form):
    """The plan of a request's JSON, checked against the schema."""
    try:
        header = json.loads(text)
        inputs, parameters = header["inputs"], header.get("parameters") or {}
        inputs = [
            (item["name"], item["datatype"], item["shape"], item.get("parameters") or {}, item.get("data")) for item in inputs
        ]
        # By name: an output that is asked for often is sent once.
        wanted = {str(item["name"]): (item.get("parameters") or {}).get("binary_data") for item in header.get("outputs") or []}
        binary = bool(parameters.get("binary_data_output"))
        for name, datatype, _, settings, _ in inputs:
            if not (isinstance(name, str) and isinstance(datatype, str) and isinstance(settings, dict)):
                raise TypeError("the name or the datatype of an input is no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bad_request("the request is not one of the Open Inference Protocol: %s" % sentence(error))
    plan = Plan()
    plan.inline, offset, found = bytearray(), 0, {}
    blob_bytes = sum(size_of(name, settings) for name, _, _, settings, data in inputs if data is None)
    for name, datatype, shape, settings, data in inputs:
        if name in found:
            raise bad_request("the input `%s` is there twice" % name)
        if datatype not in FIXED and datatype != "BYTES":
            raise bad_request("`%s` has the datatype `%s`, which the protocol does not know" % (name, datatype))
        if not is_shape(shape) or not shape or any(size is None or size < 0 for size in shape):
            raise bad_request("`%s` has the shape %s; the first dimension must be the rows" % (name, json.dumps(shape)[:SHOWN_CHARS_MAX]))
        if len(shape) > DIMENSIONS_MAX or 0 in shape and math.prod([size or 1 for size in shape]) > EMPTY_ROWS_MAX:
            raise bad_request("the shape of `%s` is too large: %s" % (name, json.dumps(shape)[:SHOWN_CHARS_MAX]))
        if data is not None:
            start = blob_bytes + len(plan.inline)
            plan.inline += pack_data(name, datatype, data, math.prod(shape))
            end = blob_bytes + len(plan.inline)
        else:
            start, end = offset, offset + size_of(name, settings)
            offset = end
        if datatype in FIXED and end - start != math.prod(shape) * FIXED[datatype][2]:
            raise bad_request("`%s` has %d bytes, which is not its shape %s of %s" % (name, end - start, list(shape), datatype))
        found[name] = (datatype, Slot(start, end, tuple(shape)))
    rows = next((slot.shape[0] for _, slot in found.values()), 0)
    for column in form.schema["inputs"]:
        if column["name"] not in found and column.get("default") is not None:
            datatype, shape, data = default_input(column, 1)
            start = blob_bytes + len(plan.inline)
            plan.inline += pack_data(column["name"], datatype, data, math.prod(shape)) * rows
            found[column["name"]] = (datatype, Slot(start, blob_bytes + len(plan.inline), (rows,) + shape[1:]))
    plan.rows, slots = match_slots(found, form.schema["inputs"])
    plan.readers = form.readers(slots, plan.rows)
    plan.blob_bytes, plan.wanted, plan.binary, plan.id = blob_bytes, wanted, binary, header.get("id")
    plan.is_plain = binary and not wanted and plan.id is None
    return plan


def size_of(name, settings):
    size = settings.get("binary_data_size")
    if not isinstance(size, int) or size < 0:
        raise bad_request("`%s` has neither data nor binary_data_size" % name)
    return size


def match_slots(found, columns):
    """The number of rows, and a slot for each column of the schema."""
    known = {column["name"] for column in columns} | {column["name"] + ":valid" for column in columns}
    unknown = [name for name in found if name not in known]
    if unknown:
        names = ", ".join(column["name"] for column in columns)
        raise bad_request("`%s` is not an input of this model; it has %s" % (unknown[0], names))
    rows = next((slot.shape[0] for _, slot in found.values()), 0)
    if rows == 0 or any(slot.shape[0] != rows for _, slot in found.values()):
        raise bad_request("the inputs must have the same number of rows, at least one, as their first dimension")
    slots = []
    for column in columns:
        name = column["name"]
        if name not in found:
            if not column.get("nullable"):
                raise bad_request("the input `%s` is missing" % name)
            slots.append(Absent())
            continue
        datatype, slot = found[name]
        if datatype != (column["datatype"] if column["datatype"] in FIXED else "BYTES"):
            raise bad_request("`%s` must be %s, not %s" % (name, column["datatype"], datatype))
        wanted = column.get("shape")
        if wanted == [] and slot.shape[1:] == (1,):
            slot.shape = slot.shape[:1]
        if wanted is not None and (
            len(wanted) != len(slot.shape) - 1 or any(want not in (-1, got) for want, got in zip(wanted, slot.shape[1:]))
        ):
            raise bad_request("`%s` must have rows of shape %s, not %s" % (name, wanted, list(slot.shape[1:])))
        if name + ":valid" in found:
            valid_datatype, valid = found[name + ":valid"]
            if valid_datatype != "BOOL" or valid.shape != (rows,):
                raise bad_request("`%s:valid` must be BOOL, one for each row" % name)
            slot.valid = valid.start
        slots.append(slot)
    return rows, slots


def default_input(column, rows):
    """(datatype, shape, data) of an input that has a default, as a request would give it in JSON."""
    value, datatype = column["default"], column["datatype"]
    if datatype == "json":
        return "BYTES", (rows,), [to_json(value)] * rows
    shape, level = (rows,), value
    while isinstance(level, list):
        shape, level = shape + (len(level),), level[0] if level else None
    return datatype if datatype in FIXED else "BYTES", shape, [value] * rows


def pack_data(name, datatype, data, count):
    """The `data` of a JSON request, flat or nested, as binary."""
    level = data if isinstance(data, list) else [data]
    while any(isinstance(item, list) for item in level):
        level = [leaf for item in level for leaf in (item if isinstance(item, list) else [item])]
    if len(level) != count:
        raise bad_request("`%s` has %d values where its shape says %d" % (name, len(level), count))
    allowed = {"BYTES": (str,), "BOOL": (bool, int)}.get(datatype, (int, float) if datatype[:2] == "FP" else (int,))
    wrong = [item for item in level if not isinstance(item, allowed) or isinstance(item, bool) and datatype != "BOOL"]
    if wrong or datatype == "BF16":
        raise bad_request("`%s` is %s, but holds %s" % (name, datatype, json.dumps(wrong[0]) if wrong else "JSON"))
    try:
        if datatype == "BYTES":
            return bytes_blob([item.encode() for item in level])
        return struct.pack("<%d%s" % (count, FIXED[datatype][0]), *level)
    except (struct.error, OverflowError, UnicodeError):
        raise bad_request("`%s` holds a value outside the range of %s" % (name, datatype))


def describe_output(name, datatype, shape, binary_size):
    """The JSON of an output, without its data."""
    described = {"name": name, "datatype": datatype if datatype in FIXED else "BYTES", "shape": list(shape)}
    settings = {} if binary_size is None else {"binary_data_size": binary_size}
    if datatype in ("json", "timestamp"):
        settings["content_type"] = datatype
    if settings:
        described["parameters"] = settings
    return described


def json_data(datatype, shape, data):
    """The elements of an output as JSON values."""
    data, count = bytes(data), math.prod(shape)
    if datatype in FIXED:
        return finite(list(struct.unpack("<%d%s" % (count, FIXED[datatype][0]), data)))
    return [element.decode("utf-8", "replace") for element in byte_elements("", data, 0, len(data), count)]


def select_outputs(outputs, wanted):
    """The outputs that were asked for, in that order, with the validity of each."""
    by_name = {output[0]: output for output in outputs}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise bad_request("the model has no output `%s`; it has %s" % (missing[0], ", ".join(by_name)))
    names = [part for name in wanted for part in (name, name + ":valid")]
    return [by_name[name] for name in names if name in by_name]


def describe_outputs(plan, outputs, blobs):
    """The JSON of outputs as they were asked for; the data of those in binary is appended to `blobs`."""
    if plan.wanted:
        outputs = select_outputs(outputs, plan.wanted)
    described = []
    for name, datatype, shape, data in outputs:
        owner = name[:-6] if name.endswith(":valid") else name
        in_binary = plan.wanted.get(name, plan.wanted.get(owner))
        if plan.binary if in_binary is None else in_binary:
            blobs.append(bytes(data))
            described.append(describe_output(name, datatype, shape, len(blobs[-1])))
        else:
            described.append(describe_output(name, datatype, shape, None))
            described[-1]["data"] = json_data(datatype, shape, data)
    return described


def binary_answer(described, blobs):
    """The answer with binary tensors behind its JSON, or in JSON alone."""
    return [binary_head(described, sum(map(len, blobs)))] + blobs if blobs else json_answer(200, described)


def http_head(status, content_type, length, more=""):
    reason = REASONS.get(status, "Error")
    return (
        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n" % (status, reason, content_type, more, length)
    ).encode()


REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 422: "Unprocessable Content"}
STATUSES = {"bad_request": 400, "bad_input": 422}  # of problems; that of all others is 500


def json_answer(status, value):
    body = utf8(to_json(value))
    return [http_head(status, "application/json", len(body)), body]


def problem_answer(problem):
    return json_answer(STATUSES.get(problem.code, 500), problem.body())


NUMBER = re.compile(r"[0-9]{1,19}\Z")


class Head:
    """The head of a request, as far as it matters."""

    __slots__ = ("method", "path", "length", "json_length", "closes", "refusal")

    def __init__(self, text):
        lines = text.decode("latin-1").split("\r\n")
        first = (lines[0].split(" ") + ["", ""])[:3]
        self.method, self.path = first[0], first[1].split("?")[0]
        self.length, self.json_length, self.closes, self.refusal = 0, None, first[2] != "HTTP/1.1", None
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if name in ("content-length", "inference-header-content-length"):
                if not NUMBER.match(value) or int(value) > BODY_BYTES_MAX:
                    self.refusal = "%s is %s; it must be a number of at most %d" % (name, value[:SHOWN_CHARS_MAX], BODY_BYTES_MAX)
                elif name == "content-length":
                    self.length = int(value)
                else:
                    self.json_length = int(value)
            elif name == "transfer-encoding":
                self.refusal = "a request needs Content-Length; it cannot be chunked"
            elif name == "connection":
                self.closes = value.lower() == "close"


class Worker:
    """Answers requests for one loaded model."""

    def __init__(self, form, name, concurrency):
        self.form, self.name, self.concurrency = form, name, concurrency
        self.plans, self.heads, self.reply_heads = {}, {}, {}
        self.infer_path = "/v2/models/%s/infer" % name

    def head(self, text):
        """The parsed head of a request; the same head is parsed once."""
        head = self.heads.get(text)
        if head is None:
            head = Head(text)
            remember(self.heads, text, head)
        return head

    def answer(self, head, data, at, end, owned):
        """The parts of the answer, and the values of the row whose answer streams, or None."""
        if head.method == "POST" and head.path == self.infer_path:
            try:
                return self.infer(head, data, at, end, owned)
            except Problem as problem:
                return problem_answer(problem), None
            except BaseException as error:  # whatever a request does, the next one is served
                log(traceback.format_exc())
                return problem_answer(bad_output("the worker failed: " + sentence(error))), None
        return self.inform(head), None

    def infer(self, head, data, at, end, owned):
        base = end if head.json_length is None else at + head.json_length
        if base > end:
            raise bad_request("Inference-Header-Content-Length is beyond the body")
        key = bytes(data[at:base])
        plan = self.plans.get(key)
        if plan is None:
            plan = make_plan(key, self.form)
            if not plan.inline and plan.id is None:
                remember(self.plans, key, plan)
        if plan.blob_bytes != end - base:
            raise bad_request("the binary tensors have %d bytes, but %d are announced" % (end - base, plan.blob_bytes))
        if plan.inline:
            data, base, owned = data[base:end] + plan.inline, 0, True
        values = [read(data, base, owned) for read in plan.readers]
        if self.form.streams:
            if plan.rows != 1:
                raise bad_request("a stream takes one row, not %d" % plan.rows)
            return None, values
        return self.reply(plan, self.form.run(values, plan.rows)), None

    def reply(self, plan, parts):
        if len(parts) == 1:
            outputs = parts[0][1]
            if isinstance(outputs, Problem):
                raise outputs
            return self.reply_plainly(outputs) if plan.is_plain else self.reply_as_asked(plan, outputs)
        answer, blobs = {"model_name": self.name, "parts": []}, []
        if plan.id is not None:
            answer["id"] = plan.id
        for rows, outputs in parts:
            try:
                if isinstance(outputs, Problem):
                    raise outputs
                answer["parts"].append({"rows": rows, "outputs": describe_outputs(plan, outputs, blobs)})
            except Problem as problem:
                answer["parts"].append({"rows": rows, "problem": problem.body()})
        return binary_answer(answer, blobs)

    def reply_plainly(self, outputs):
        key = tuple(
            [
                (output[0], output[1], output[2], len(output[3]) if type(output[3]) is bytes else output[3].nbytes)
                for output in outputs
            ]
        )
        head = self.reply_heads.get(key)
        if head is None:
            described = {"model_name": self.name, "outputs": [describe_output(*output) for output in key]}
            head = binary_head(described, sum(output[3] for output in key))
            remember(self.reply_heads, key, head)
        return [head] + [output[3] for output in outputs]

    def reply_as_asked(self, plan, outputs):
        blobs = []
        answer = {"model_name": self.name, "outputs": describe_outputs(plan, outputs, blobs)}
        if plan.id is not None:
            answer["id"] = plan.id
        return binary_answer(answer, blobs)

    def inform(self, head):
        """Answers all that is not an inference."""
        model = "/v2/models/" + self.name
        if head.path in (self.infer_path, model) and head.method != ("POST" if head.path == self.infer_path else "GET"):
            return problem_answer(bad_request("%s is not for %s" % (head.method, head.path)))
        if head.path in ("/v2/health/live", "/v2/health/ready", model + "/ready"):
            return json_answer(200, {})
        if head.path == "/v2":
            return json_answer(200, {"name": "decalog-python", "version": "0.1.0", "extensions": ["binary_tensor_data"]})
        if head.path == model:
            return json_answer(200, self.metadata())
        return json_answer(404, {"code": "bad_request", "error": "there is nothing at %s; the model is %s" % (head.path, model)})

    def metadata(self):
        def columns(kind):
            return [{"name": column["name"], "datatype": column["datatype"] if column["datatype"] in FIXED else "BYTES",
                     "shape": [-1] + column.get("shape", [-1])} for column in self.form.schema[kind]]  # fmt: skip

        extension = {
            "schema": self.form.schema,
            "prefetch": not self.form.streams,
            "concurrency": self.concurrency,
            "binary": True,
        }
        described = {"name": self.name, "versions": [], "platform": "python", "decalog": extension}
        return dict(described, inputs=columns("inputs"), outputs=columns("outputs"))


def binary_head(described, blob_bytes):
    body = utf8(to_json(described))
    more = "Inference-Header-Content-Length: %d\r\n" % len(body)
    return http_head(200, "application/octet-stream", len(body) + blob_bytes, more) + body


def remember(cache, key, value):
    """Keeps what is likely to come again, within limits."""
    if len(key) > CACHED_KEY_BYTES_MAX:
        return
    if len(cache) >= CACHE_ENTRIES_MAX:
        cache.clear()
    cache[key] = value


# ---- Server: connections on a Unix socket -------------------------------------------------------------------------


class Socket(_socket.socket):
    """A socket that needs nothing of the module `socket`, which a model may have changed; it blocks."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.setblocking(True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def socket_pair(kind=_socket.SOCK_STREAM):
    return [Socket(fileno=end.detach()) for end in _socket.socketpair(_socket.AF_UNIX, kind)]


class Connection:
    """One connection, with one request at a time."""

    def __init__(self, sock, server):
        self.sock, self.server = sock, server
        self.buffer = bytearray(HEAD_BYTES_MAX)
        self.view, self.used, self.large = memoryview(self.buffer), 0, None
        # Since when the rest of a request is missing; and of one with a large body its head, and how much of the buffer is filled.
        self.stalled_at, self.begun = None, None
        for option, value in (
            (socket.SO_RCVTIMEO, struct.pack("ll", 0, STALL_MS_MAX * 1_000)),
            (socket.SO_SNDTIMEO, struct.pack("ll", PEER_S_MAX, 0)),
            (socket.SO_SNDBUF, 1 << 20),
            (socket.SO_RCVBUF, 1 << 20),
        ):
            sock.setsockopt(socket.SOL_SOCKET, option, value)

    def ready(self):
        """Receives, and answers each whole request; False if the connection is of no use any more."""
        try:
            return self.finish_large(*self.begun) if self.begun else self.receive_requests()
        except OSError:  # the peer is gone, or stalls
            return False
        except BaseException:  # whatever one connection does, the others are served
            log(traceback.format_exc())
            return False

    def receive_requests(self):
        try:
            received = self.sock.recv_into(self.view[self.used :] if self.used else self.buffer)
        except BlockingIOError:  # nothing came after all
            return True
        self.used += received
        while received and self.used:
            head_end = self.buffer.find(b"\r\n\r\n", 0, self.used)
            if head_end < 0:
                return self.used < HEAD_BYTES_MAX and self.stall()
            head = self.server.worker.head(bytes(self.view[:head_end]))
            if head.refusal:
                self.send(problem_answer(bad_request(head.refusal)))
                return False
            if not self.one(head, head_end + 4):
                return False
            if self.stalled_at is not None:
                return True
        return received > 0

    def stall(self):
        """Waits for the rest of a request while others are served."""
        if self.stalled_at is None:
            self.stalled_at = time.monotonic()
            self.server.stalled.add(self)
        return True

    def go_on(self):
        """The whole request is there."""
        if self.stalled_at is not None:
            self.stalled_at = None
            self.server.stalled.discard(self)

    def one(self, head, at):
        """Receives the rest of a request and answers it."""
        end = at + head.length
        if end > HEAD_BYTES_MAX:
            return self.finish_large(head, self.begin_large(head, at))
        self.used = max(self.used, self.receive(self.view, self.used, end))
        if self.used < end:
            return self.stall()
        self.go_on()
        kept = self.answer(head, self.buffer, at, end, False)
        if self.used > end:
            self.buffer[: self.used - end] = self.buffer[end : self.used]
        self.used -= end
        return kept

    def receive(self, view, at, end):
        """Receives until `end`; how far it got when the peer stalled."""
        how = socket.MSG_WAITALL if self.stalled_at is None else socket.MSG_DONTWAIT
        while at < end:
            try:
                received = self.sock.recv_into(view[at:end], 0, how)
            except BlockingIOError:
                break
            if not received:
                raise ConnectionResetError("the request ended half-way")
            at += received
        return at

    def begin_large(self, head, at):
        """Makes room for a body that nobody else refers to, placed so that its tensors are aligned; how far it is filled."""
        start = -(head.json_length or 0) % 64
        if self.large is None or len(self.large) < start + head.length or sys.getrefcount(self.large) != UNSHARED:
            self.large = bytearray(start + head.length)
        there = self.used - at
        self.large[start : start + there] = self.view[at : self.used]
        self.used = 0
        return start + there

    def finish_large(self, head, at):
        """Receives the rest of a large body and answers it."""
        start = -(head.json_length or 0) % 64
        with memoryview(self.large) as view:
            at = self.receive(view, at, start + head.length)
        if at < start + head.length:
            self.begun = (head, at)
            return self.stall()
        self.begun = None
        self.go_on()
        data = self.large
        kept = self.answer(head, data, start, start + head.length, True)
        if len(data) > KEPT_BYTES_MAX:
            self.large = None
        return kept

    def answer(self, head, data, at, end, owned):
        parts, values = self.server.worker.answer(head, data, at, end, owned)
        if self.server.is_copy:
            os._exit(0)  # the model has forked, and both have returned: the answer is the other's
        closes = head.closes or self.server.is_stopping
        if values is not None:
            return self.stream(values) and not closes
        if closes:
            parts[0] = parts[0].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        self.send(parts)
        return not closes

    def send(self, parts):
        size = sum([len(part) if type(part) is bytes else part.nbytes for part in parts])
        if size <= JOINED_BYTES_MAX:
            self.sock.sendall(b"".join(parts))
            return
        sent = self.sock.sendmsg(parts)
        for part in parts:
            with memoryview(part) as whole, whole.cast("B") as view:
                if sent < len(view):
                    self.sock.sendall(view[sent:])
                sent = max(sent - len(view), 0)

    def is_gone(self):
        """Whether the peer has hung up."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stream(self, values):
        """Sends each item before the next is computed; hanging up closes the generator."""
        form, items, begun = self.server.worker.form, None, False
        try:
            try:
                items = form.items(values)
                for item in items:
                    chunk = event("", to_json(item))
                    self.sock.sendall(chunk if begun else STREAM_HEAD + chunk)
                    begun = True
                    if self.is_gone():
                        return False
            except OSError:
                if self.is_gone():
                    return False
                raise
        except BaseException as error:
            problem = raised(error, form.root)
            if not begun:
                self.send(problem_answer(problem))
                return True
            self.sock.sendall(event("event: error\n", to_json(problem.body())))
        finally:
            close_quietly(items)
        self.sock.sendall((b"" if begun else STREAM_HEAD) + b"0\r\n\r\n")
        return True


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def event(kind, text):
    """A server-sent event as one chunk."""
    body = utf8("%sdata: %s\n\n" % (kind, text))
    return b"%x\r\n%s\r\n" % (len(body), body)


def close_quietly(items):
    try:
        getattr(items, "close", lambda: None)()
    except BaseException:
        log(traceback.format_exc())


class Holder:
    """Tells how many references an attribute's value has while nobody else refers to it."""

    def __init__(self):
        self.large = bytearray(1)

    def count(self):
        return sys.getrefcount(self.large)


UNSHARED = Holder().count()


class Server:
    """Serves a worker; with a concurrency above 1 in as many threads, all waiting on the same connections.

    `begin` is called in each thread but this one before it serves.
    """

    def __init__(self, worker, path, begin=lambda: None):
        self.worker, self.path, self.begin, self.is_stopping = worker, os.path.abspath(path), begin, False
        self.connections, self.stalled, self.epoll = {}, set(), select.epoll()
        self.is_copy = False
        os.register_at_fork(after_in_child=self.set_copy)
        self.once = select.EPOLLONESHOT if worker.concurrency > 1 else 0
        self.wake_reader, self.wake_writer = os.pipe()
        self.epoll.register(self.wake_reader, select.EPOLLIN)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self.listener = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)

    def run(self):
        """Serves until `stop` is called, and what had arrived by then."""
        threads = [threading.Thread(target=self.begin_loop, daemon=True) for _ in range(self.worker.concurrency - 1)]
        for thread in threads:
            thread.start()
        self.loop()
        for thread in threads:
            thread.join()

    def set_copy(self):
        self.is_copy = True

    def stop(self, *_):
        self.is_stopping = True
        try:
            self.listener.close()
            os.write(self.wake_writer, b"x")
            os.unlink(self.path)
        except OSError:  # it is gone already; this may be anywhere in the model's code
            pass

    def begin_loop(self):
        self.begin()
        self.loop()

    def loop(self):
        while True:
            try:
                return self.serve()
            except BaseException:
                # An alarm that the model has set, or the like. Without the descriptors there is nothing to serve.
                log(traceback.format_exc())
                os.fstat(self.epoll.fileno())

    def cut_stalled(self):
        """Hangs up on those who have not sent the rest of a request for too long."""
        for connection in list(self.stalled):
            if time.monotonic() - (connection.stalled_at or time.monotonic()) > PEER_S_MAX:
                self.stalled.discard(connection)
                connection.sock.shutdown(socket.SHUT_RDWR)

    def serve(self):
        poll, connections, gone = self.epoll.poll, self.connections, select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        while not self.is_stopping:
            # One event at a time, so that it is never older than the request that ran before it: a peer that has
            # hung up meanwhile is seen to have done so, and its request is dropped without being run.
            for number, mask in poll(1 if self.stalled else -1, 1):
                connection = connections.get(number)
                if connection is None:
                    self.accept(number)
                else:
                    self.settle(number, connection, not mask & gone and connection.ready())
            if self.stalled:
                self.cut_stalled()
        while True:
            events = [(number, mask) for number, mask in poll(0) if number in connections]
            for number, mask in events:
                self.settle(number, connections[number], not mask & gone and connections[number].ready())
            if not events:
                return

    def settle(self, number, connection, is_open):
        """Waits for the next request of a connection, or forgets it."""
        if not is_open:
            del self.connections[number]
            self.stalled.discard(connection)
            connection.sock.close()
        elif self.once:
            self.epoll.modify(number, select.EPOLLIN | select.EPOLLRDHUP | self.once)

    def accept(self, number):
        if number == self.wake_reader:
            return
        try:
            sock = Socket(fileno=self.listener._accept()[0])
        except OSError:  # another thread took it, or the listener is closed
            return
        if sock.fileno() <= 2:
            sock = beyond_standard(sock)
        self.connections[sock.fileno()] = Connection(sock, self)
        self.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP | self.once)


def beyond_standard(sock):
    """A socket in the place of a standard descriptor that the model has closed: what is printed must not get there."""
    moved = Socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
    sock.close()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(LOG.number, number)
    return moved


def serve():
    """What a process does by its role, which a fork changes in the new process; returns the exit status."""
    role, control = os.environ.pop("DECALOG_ROLE", None) or "worker", os.environ.pop("DECALOG_CONTROL", None)
    begun, form, begin = time.monotonic(), None, lambda: None
    if role not in ("worker", "parent", "zygote") or role != "worker" and not control:
        return report_failure(["DECALOG_ROLE is %s, but DECALOG_CONTROL names no socket, or there is no such role" % role])
    if sys.path and os.path.abspath(sys.path[0] or ".") == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    if role != "zygote":
        sys.path.insert(0, os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # nothing that is printed is an error
    sys.meta_path.append(DecalogFinder)
    while True:
        if role != "worker":
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
            os.environ.update({name: os.environ.get(name, value) for name, value in QUIET_VARIABLES.items()})
        if role == "zygote":
            import_modules()
        elif form is None:
            root = os.getcwd()
            leave_no_bytecode(root)
            try:
                form = load_form(root, VARIABLES.get("DECALOG_FILE") or "model.py", schema_overrides(), concurrency())
            except Problem as problem:
                return report_failure([problem.message] + problem.details + ([problem.help] if problem.help else []))
            except BaseException as error:
                problem = raised(error, root)
                return report_failure(problem.details or [problem.message])
            gc.collect()
            gc.freeze()
        if role == "worker":
            return serve_form(form, begin)
        nursery = Nursery(int(control), form, begun)
        order = nursery.run()
        if order is None:
            return 0
        # From here on this is another process: the one that was forked, or the parent itself, now a worker.
        try:
            role, control, begun, begin = nursery.leave(order)
        except Exception as error:
            return report_failure(["the forked process could not be set up: " + sentence(error)])
        del nursery


def concurrency():
    return max(int(VARIABLES.get("DECALOG_CONCURRENCY") or 1), 1)


def serve_form(form, begin):
    """Binds the socket and serves a loaded model until a signal."""
    try:
        LOG.number = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:  # the model has closed it while it was loaded
        LOG.number = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    worker = Worker(form, VARIABLES.get("DECALOG_MODEL") or "model", concurrency())
    server = Server(worker, VARIABLES["DECALOG_SOCKET"], begin)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    server.run()
    return 0


def report_failure(lines):
    """Writes for the user why the model did not load."""
    text = "\n".join(lines) + "\n"
    log(text)
    if VARIABLES.get("DECALOG_FAILURE"):
        Path(VARIABLES["DECALOG_FAILURE"]).write_bytes(utf8(text))
    return 1


# ---- Forking: a zygote has the libraries, a parent the loaded model; both fork as they are told --------------------
# A fork copies only the thread that forks, and shares what lies behind descriptors. So none is taken while another
# thread runs, or while something is open that two processes cannot both use; the reason is told instead.


class Nursery:
    """Waits for orders on the control socket, and forks."""

    def __init__(self, control, form, begun):
        try:
            import ctypes

            self.libc = ctypes.CDLL(None)
        except (ImportError, OSError):
            self.libc = None
        self.control, self.form, self.begun = Socket(fileno=control), form, begun
        os.set_inheritable(control, False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.control.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.supervisor, self.is_stopping, self.is_new = os.getppid(), False, False
        # The process that was forked ahead, with this end of its socket; and whether one is to be forked.
        self.ahead, self.wants_ahead = None, form is not None
        self.wake_reader, self.wake_writer = os.pipe()
        for end in (self.wake_reader, self.wake_writer):
            os.set_blocking(end, False)
        self.own = {self.control.fileno(), self.wake_reader, self.wake_writer}

    def run(self):
        """Serves orders. Returns None when it is time to exit, and an order in the process that is to carry it out."""
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self.prepare()
        reason = self.obstacle()
        if not reason:
            self.tell_modules()
        ready = {"threads": len(os.listdir("/proc/self/task")), "can_fork": not reason, "reason": reason}
        self.send({"ready": dict(ready, elapsed_ms=round((time.monotonic() - self.begun) * 1e3))})
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_reader, select.POLLIN)
        while not self.is_stopping:
            events = poll.poll(AHEAD_PAUSE_MS if self.wants_ahead else None)
            if any(number == self.wake_reader for number, _ in events):
                os.read(self.wake_reader, 4096)
                continue
            order = self.receive() if events else self.fork_ahead()
            if order is not None:
                return order
        return None

    def stop(self, *_):
        self.is_stopping = True

    def prepare(self):
        """Keeps the pages that replicas share as they are, and gives back those that nobody uses."""
        gc.collect()
        gc.freeze()
        if hasattr(self.libc, "malloc_trim"):
            self.libc.malloc_trim(0)

    def tell_modules(self):
        """Writes which libraries the model needed: a zygote of this environment imports them beforehand."""
        if self.form is None or "DECALOG_MODULES" not in VARIABLES:
            return
        try:
            Path(VARIABLES["DECALOG_MODULES"]).write_text("\n".join(loaded_modules(Path(self.form.root))))
        except OSError as error:
            log("what it imported is not known: %s\n" % sentence(error))

    def send(self, message):
        try:
            self.control.send(utf8(to_json(message)))
        except OSError:  # the supervisor is gone
            self.is_stopping = True

    def receive(self):
        """Carries out one order here, or returns it."""
        try:
            room = socket.CMSG_SPACE(2 * 4)
            data, ancillary, _, _ = self.control.recvmsg(ORDER_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary = b"", []
        numbers = [number for _, _, part in ancillary for (number,) in struct.iter_unpack("i", part)]
        if not data:
            self.is_stopping = True
        try:
            return self.carry_out(data, numbers) if data else None
        finally:
            if not self.is_new:
                for number in numbers:
                    os.close(number)

    def carry_out(self, data, numbers):
        order_id = None
        try:
            ((kind, order),) = json.loads(data).items()
            order_id = order["id"]
            variables, directory = dict(order["variables"]), order["directory"]
            role = "worker" if kind == "serve" else order["role"]
            if kind not in ("fork", "serve") or kind == "serve" and self.form is None:
                raise ValueError("%s is no order for this process" % kind)
            if kind == "fork" and {"worker": 1, "parent": 2}.get(role) != len(numbers):
                raise ValueError("a fork of role %s came with %d descriptors" % (role, len(numbers)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if order_id is None:
                log("an order that cannot be understood: %s\n" % sentence(error))
            else:
                self.send({"refused": {"id": order_id, "reason": sentence(error)}})
            return None
        order = {"role": role, "variables": variables, "directory": directory, "numbers": numbers}
        if kind == "serve":
            return order
        reason, pid = self.obstacle(numbers), None
        if self.ahead:
            pid = self.use_ahead(data if role == "worker" and not reason else None, numbers)
        if not reason and pid is None:
            try:
                pid = self.fork()
            except ConnectionError:  # by what runs after a fork here, or as one that ends with this one
                reason = "the new process ended before it began"
            except OSError as error:  # the system is short of something
                reason = "fork: " + sentence(error)
        self.wants_ahead = self.form is not None and not reason
        if reason:
            self.send({"refused": {"id": order_id, "reason": reason}})
        elif self.is_new:
            return order
        else:
            self.send({"forked": {"id": order_id, "pid": pid}})
        return None

    def obstacle(self, received=()):
        """Why this process cannot be forked, or nothing."""
        if self.libc is None:
            return "this Python has no ctypes"
        cuda = getattr(sys.modules.get("torch"), "cuda", None)
        if cuda is not None and cuda.is_initialized():
            return "CUDA is initialised"
        if getattr(getattr(self.form, "coroutines", None), "loop", None) is not None:
            return "load() ran on an event loop"
        end = time.monotonic() + THREADS_END_S_MAX
        while len(os.listdir("/proc/self/task")) > 1:
            if time.monotonic() > end:
                names = thread_names()
                return "%d threads run: %s" % (len(names), ", ".join(names))
            time.sleep(0.002)
        return next((reason for reason in map(unsharable, self.descriptors(received)) if reason), "")

    def descriptors(self, received):
        """The descriptors that libraries and the model opened."""
        numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        return [number for number in numbers if number > 2 and number not in self.own and number not in received]

    def fork_ahead(self):
        """Forks the next worker before it is asked for: to copy the page tables takes longer than all else that a start does.

        It waits in the group of this process, and ends with it. Returns an order in the new process, once there is one.
        """
        self.wants_ahead = False
        if self.obstacle():
            return None
        ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            ours.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
            theirs.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.own |= {ours.fileno(), theirs.fileno()}
        try:
            pid = self.fork(has_group=False)
        except OSError as error:
            log("no process is forked ahead: %s\n" % sentence(error))
            pid = None
        if self.is_new:
            ours.close()
            with theirs:
                return self.wait_for_order(theirs)
        for end in (theirs,) if pid else (ours, theirs):
            self.own.discard(end.fileno())
            end.close()
        self.ahead = (pid, ours) if pid else None
        return None

    def wait_for_order(self, channel):
        """The order for a process that was forked ahead."""
        self.control.close()
        data, ancillary, _, _ = channel.recvmsg(ORDER_BYTES_MAX, socket.CMSG_SPACE(2 * 4), socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        os.setpgid(0, 0)
        channel.send(b"x")
        ((_, order),) = json.loads(data).items()
        numbers = [number for _, _, part in ancillary for (number,) in struct.iter_unpack("i", part)]
        return {"role": "worker", "variables": dict(order["variables"]), "directory": order["directory"], "numbers": numbers}

    def use_ahead(self, data, numbers):
        """Gives an order to the process that was forked ahead; its pid, or None if it is of no use. No data ends it."""
        (pid, channel), self.ahead = self.ahead, None
        with channel:
            self.own.discard(channel.fileno())
            if data is None:
                return None
            channel.settimeout(AHEAD_S_MAX)
            try:
                channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(numbers), *numbers))])
                return pid if channel.recv(1) == b"x" else None
            except socket.timeout:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended
                pass
            return None

    def fork(self, has_group=True):
        """The pid of a new process that is the supervisor's child; in that process `is_new` is set.

        A process in between forks it and ends, so that it passes to the nearest subreaper.
        """
        flush_standard()
        atexit._clear()  # what load() registered would remove, at the end of one process, what the others use
        ours, theirs = socket_pair()
        with ours, theirs:
            between = os.fork()
            if not between:
                self.fork_between(ours, theirs, has_group)
                return None
            theirs.close()
            try:
                os.waitpid(between, 0)
            except ChildProcessError:  # the model ignores SIGCHLD
                pass
            try:
                answer = ours.recv(1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                answer = b""
            if not answer:
                raise ConnectionAbortedError("the process in between died")
            if not answer.isdigit():
                raise OSError(answer.decode("utf-8", "replace"))
            ours.send(b"x")
            return int(answer)

    def fork_between(self, ours, theirs, has_group):
        """Forks the new process and ends; returns in the new process, once it belongs to the supervisor."""
        try:
            signal.set_wakeup_fd(-1)
            pid = os.fork()
        except BaseException as error:
            theirs.send(sentence(error).encode())
            os._exit(1)
        try:
            if pid:
                if has_group:
                    os.setpgid(pid, pid)
                theirs.send(b"%d" % pid)
                os._exit(0)
            ours.close()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if theirs.recv(1) == b"x" and not self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
                self.is_new = os.getppid() == self.supervisor
        finally:
            if not self.is_new:  # also when the parent or the supervisor died meanwhile
                os._exit(1)

    def leave(self, order):
        """Makes this process the one that an order asks for: its role, control socket, birth, and what its threads begin with."""
        begun, control, begin = time.monotonic(), None, lambda: None
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self.control.close()
        if self.ahead:
            self.ahead[1].close()
        os.close(self.wake_reader)
        os.close(self.wake_writer)
        if self.is_new:
            log, *rest = order["numbers"]
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            control = rest[0] if rest else None
            for number in self.descriptors(rest):
                reopen(number)
            reseed()
        directory, before = order["directory"], dict(os.environ)
        os.environ.clear()
        os.environ.update(order["variables"])
        VARIABLES.clear()
        VARIABLES.update(order["variables"])
        os.environ.pop("DECALOG_ROLE", None)
        os.environ.pop("DECALOG_CONTROL", None)
        time.tzset()
        if "tempfile" in sys.modules:
            sys.modules["tempfile"].tempdir = None  # it is kept from the TMPDIR of the parent
        if self.form is None or os.path.realpath(directory) != os.path.realpath(self.form.root):
            sys.path.insert(0, directory)
        os.chdir(directory)
        if hasattr(self.form, "coroutines"):
            self.form.coroutines.own_thread = concurrency() > 1
        threads = library_threads(os.environ)
        if order["role"] == "worker" and threads != library_threads(before):
            begin = lambda: set_library_threads(threads)
            begin()
        return order["role"], control, begun, begin


def thread_names():
    """The names of the threads of this process: those of the kernel, and of Python where they differ."""
    known = {thread.native_id: thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}
    names = []
    for number in sorted(map(int, os.listdir("/proc/self/task"))):
        try:
            name = Path("/proc/self/task/%d/comm" % number).read_text().strip()
        except OSError:  # it has just ended
            continue
        names.append("%s (%s)" % (name, known[number]) if known.get(number, name) != name else name)
    return names


def unsharable(number):
    """Why two processes cannot both have a descriptor, or nothing."""
    path = "/proc/self/fd/%d" % number
    try:
        mode, flags, target = os.fstat(number).st_mode, fcntl.fcntl(number, fcntl.F_GETFL), os.readlink(path)
    except OSError:  # it was open only to list the others
        return ""
    if stat.S_ISDIR(mode) or flags & os.O_PATH or target in HARMLESS_DEVICES:
        return ""
    if not stat.S_ISREG(mode):
        return "%s is open (descriptor %d)" % (DESCRIPTOR_KINDS.get(target.split(":")[0], target), number)
    if flags & os.O_ACCMODE == os.O_WRONLY and flags & os.O_APPEND:
        return ""  # whole lines of several processes, as in a log
    if flags & os.O_ACCMODE != os.O_RDONLY:
        return "%s is open for writing (descriptor %d)" % (target, number)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        is_database = os.pread(number, 16, 0) == b"SQLite format 3\0"
    except OSError as error:
        return "%s is open and cannot be opened again: %s (descriptor %d)" % (target, error.strerror, number)
    return "the SQLite database %s is open (descriptor %d)" % (target, number) if is_database else ""


DESCRIPTOR_KINDS = {"socket": "a socket", "pipe": "a pipe"}
HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
PR_SET_PDEATHSIG = 1


def reopen(number):
    """Gives this process a place of its own in a file that is open for reading: after a fork the place is shared."""
    try:
        is_shared = stat.S_ISREG(os.fstat(number).st_mode) and not fcntl.fcntl(number, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_PATH)
    except OSError:
        return
    if is_shared:
        place, again = os.lseek(number, 0, os.SEEK_CUR), os.open("/proc/self/fd/%d" % number, os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(again, place, os.SEEK_SET)
        os.dup2(again, number, os.get_inheritable(number))
        os.close(again)


def reseed():
    """Random numbers that no sibling draws."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed(list(struct.unpack("8I", os.urandom(32))))
    if "torch" in modules:
        modules["torch"].seed()


# Pools that a library starts when it is imported would rule out every fork; replicas get their threads after it.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# So would threads that only tidy up memory (Arrow, which pandas imports, and packages in Rust) or report their use.
QUIET_VARIABLES = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
    "ORT_DISABLE_TELEMETRY": "1",
}


def library_threads(variables):
    """How many threads numeric libraries may use: 0 stands for as many as they like."""
    text = variables.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(text) if text.isdigit() else 0


LIBRARIES = (
    (re.compile(r"openblas"), ["%sopenblas_set_num_threads%s" % (a, b) for a in ("", "scipy_") for b in ("64_", "", "_64")]),
    (re.compile(r"/lib(gomp|omp|iomp5)\b"), ["omp_set_num_threads"]),
    (re.compile(r"/libmkl_rt\b"), ["MKL_Set_Num_Threads"]),
)


def set_library_threads(count):
    """Tells libraries that are loaded already how many threads to use, for they read the variable when they start."""
    import ctypes

    count = count or len(os.sched_getaffinity(0))
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    for pattern, names in LIBRARIES:
        for path in filter(pattern.search, paths):
            try:
                library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            except OSError:
                continue
            for name in names:
                if hasattr(library, name):
                    getattr(library, name)(count)
                    break
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def import_modules():
    """What a zygote imports: the list that it is given, or else what the model's file tells. What fails is left out."""
    names = VARIABLES.get("DECALOG_IMPORTS")
    names = modules_of(Path(VARIABLES.get("DECALOG_FILE") or "model.py")) if names is None else names.split(",")
    for text in filter(None, map(str.strip, names)):
        module, _, name = text.partition(":")
        try:
            __import__(module, fromlist=[name] if name else [])
        except BaseException as error:
            log("%s is not imported beforehand: %s\n" % (module, sentence(error)))


def loaded_modules(root):
    """The modules of libraries that this process has, in the order in which they were ready."""
    found, is_library, left = [], {}, MODULES_BYTES_MAX
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if name in MODULES_AT_START or getattr(spec, "name", None) != name or not MODULE.match(name):
            continue
        top = name.split(".")[0]
        if top not in is_library:
            is_library[top] = not is_standard(top) and local_files(top, root) is None
        if is_library[top] and spec.has_location and left > len(name):
            left -= len(name) + 1
            found.append(name)
    return found


# ---- Description: what the source text tells, without running any of it ------------------------------------------


def describe(root, file, overrides):
    """The schema, form and imports of a model directory."""
    path = Path(root) / file
    version = "%d.%d" % sys.version_info[:2]
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return {"schema": None, "form": "sklearn", "python": version, "notes": ["the schema is known when it is loaded"],
                "imports": packages(pickle_modules(path)), "modules": pickle_modules(path)}  # fmt: skip
    tree = parse(path, file)
    notes = []
    node, is_method = find_predict_node(tree, file)
    if node is None:
        schema, form = None, "row"
        notes.append("`predict` is not written out in %s: its schema is known when it is loaded" % file)
    else:
        signature = Signature.from_node(node, SourceHints(tree), is_method)
        schema = schema_of(signature, overrides, notes)
        form = "stream" if signature.streams else "batch" if signature.batch else "row"
    return {
        "schema": schema,
        "form": form,
        "python": version,
        "notes": notes,
        "imports": sorted(imports_of(path, Path(root), set())),
        "modules": modules_of(path),
    }


def parse(path, file):
    try:
        return ast.parse(path.read_bytes(), file)
    except OSError as error:
        raise Problem(
            "no_model_file",
            "%s cannot be read: %s" % (file, error.strerror),
            help='add it, or name the model\'s file in decalog.toml: [model] file = "..."',
        )
    except (SyntaxError, ValueError) as error:
        details = traceback_lines(error, path.parent)
        raise Problem(
            "syntax_error",
            "%s is not valid Python %d.%d" % ((file,) + sys.version_info[:2]),
            details,
            help="correct the line, or choose another requires-python",
        ) from None


def find_predict_node(tree, file):
    """The function that predicts, and whether it takes `self`; (None, False) if it comes from elsewhere."""
    statements = list(top_level(tree))
    functions = {node.name: node for node in statements if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    classes = {node.name: node for node in statements if isinstance(node, ast.ClassDef)}
    if "predict" in functions:
        return functions["predict"], False
    hints = SourceHints(tree)
    if "predict" in hints.imports or "predict" in hints.values:
        return None, False
    methods = {name: method_of(node, classes) for name, node in classes.items()}
    name = pick_class({name: method is not None for name, method in methods.items()})
    if name is not None:
        is_static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in methods[name].decorator_list)
        return methods[name], not is_static
    if "Model" in classes and any(getattr(base, "id", None) not in classes for base in classes["Model"].bases):
        return None, False
    raise no_predict(file, list(functions))


def method_of(node, classes):
    """The method `predict` of a class or of the bases that the same file has."""
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == "predict":
            return item
    bases = [
        classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes and base.id != node.name
    ]
    return next((method for method in (method_of(base, classes) for base in bases) if method), None)


def imports_of(path, root, seen):
    """The packages outside the standard library that a file imports, also by way of other files of the model."""
    found = set()
    if path in seen:
        return found
    seen.add(path)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module and not node.level else []
        for name in names:
            local = local_files(name, root)
            if local is not None:
                found.update(*[imports_of(file, root, seen) for file in local])
            elif not is_standard(name.split(".")[0]):
                found.add(name.split(".")[0])
    return found


def local_files(name, root):
    """The files of the model that hold a module; None if it comes from elsewhere."""
    if not (root / name.split(".")[0]).is_dir() and not (root / (name.split(".")[0] + ".py")).is_file():
        return None
    files = [root.joinpath(*name.split(".")).with_suffix(".py"), root.joinpath(*name.split("."), "__init__.py")]
    return [file for file in files if file.is_file()]


def modules_of(path):
    """The modules outside the standard library that loading and asking a model imports, in order, by its text alone.

    `a.b` stands for `import a.b`, `a:b` for `from a import b`.
    """
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return pickle_modules(path)
    found, seen, root = {}, set(), path.parent

    def visit(file):
        if file in seen:
            return
        seen.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return
        for node in imports_that_run(tree.body):
            if isinstance(node, ast.Import):
                names = [(alias.name, alias.name) for alias in node.names]
            elif node.level or not node.module:
                continue
            else:
                names = [(node.module, node.module + (":" + alias.name if alias.name != "*" else "")) for alias in node.names]
            for module, text in names:
                local = local_files(module, root)
                if local is not None:
                    for inner in local:
                        visit(inner)
                elif not is_standard(module.split(".")[0]):
                    found[text] = True

    visit(path)
    return list(found)


def imports_that_run(body):
    """The import statements of a file but those for type checkers, for its use as a program, and in functions of other kinds."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in ("predict", "load", "__init__"):
                yield from imports_that_run(node.body)
        elif isinstance(node, ast.If) and any(
            getattr(inner, "id", getattr(inner, "attr", "")) in ("TYPE_CHECKING", "__name__") for inner in ast.walk(node.test)
        ):
            yield from imports_that_run(node.orelse)
        else:
            for block in ("body", "handlers", "orelse", "finalbody"):
                yield from imports_that_run(getattr(node, block, []))


def is_standard(name):
    """Whether a module needs no package: it is of the standard library, or what a worker gives to its model."""
    if name == "decalog":
        return True
    if hasattr(sys, "stdlib_module_names"):
        return name in sys.stdlib_module_names
    home = Path(os.__file__).parent
    return (
        name in sys.builtin_module_names
        or any((home / file).exists() for file in (name, name + ".py"))
        or any((home / "lib-dynload").glob(name + ".*"))
    )


def pickle_modules(path):
    """The modules that a pickle names near its beginning; it is not loaded."""
    import pickletools

    found, texts, memo, last = {"joblib": True} if path.suffix == ".joblib" else {}, [], {}, None
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                    memo[len(memo) if argument is None else argument] = last
                    continue
                last = memo.get(argument) if opcode.name in ("BINGET", "LONG_BINGET") else argument
                if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
                    module = argument.split(" ")[0] if opcode.name == "GLOBAL" else texts[-2]
                    if MODULE.match(module) and not is_standard(module.split(".")[0]):
                        found[module] = True
                elif isinstance(last, str):
                    texts.append(last)
    except Exception:  # compressed, or with arrays in between that only joblib can read
        pass
    return list(found)


MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")


def packages(modules):
    return sorted({module.split(".")[0] for module in modules})


def main(arguments):
    if arguments[:1] != ["--describe"]:
        return serve()
    root = arguments[1] if len(arguments) > 1 else "."
    file = arguments[arguments.index("--file") + 1] if "--file" in arguments[:-1] else "model.py"
    try:
        print(to_json(describe(root, file, schema_overrides())))
        return 0
    except Problem as problem:
        print(to_json(dict({"details": [], "help": ""}, **problem.body())))
        return 1


def run(arguments):
    """The whole life of the process. To start faster, import this file, so that its bytecode is kept, and call this."""
    status = main(arguments)
    # Threads that a model left running must not keep the process.
    try:
        atexit._run_exitfuncs()
    except BaseException:
        log(traceback.format_exc())
    flush_standard()
    os._exit(status)


def flush_standard():
    """Writes out what was printed, if the model has left where to."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


if __name__ == "__main__":
    run(sys.argv[1:])
