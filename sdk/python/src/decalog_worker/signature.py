"""What is known of a model's `predict`: its parameters, and what it returns."""

import ast
import inspect
from pathlib import Path

from .hints import kind_of
from .objects import hint_from_object


class Parameter:
    def __init__(self, name, hint, default=inspect.Parameter.empty, keyword=False):
        self.name, self.hint, self.default, self.keyword = name, hint, default, keyword

    @property
    def is_optional(self):
        return self.default is not inspect.Parameter.empty


class Signature:
    """What is known of `predict`, from source text or from the function itself."""

    def __init__(self, parameters, returns, generates, takes_more, returned_keys, takes_places=False):
        self.parameters, self.returns, self.takes_more, self.returned_keys = (
            parameters,
            returns,
            takes_more,
            returned_keys,
        )
        self.takes_places = takes_places
        self.streams = generates or bool(returns and returns[0] == "iterator")
        self.batch = any(kind_of(parameter.hint) in ("array", "frame") for parameter in parameters)

    @property
    def only(self):
        """The parameter that stands for a whole row, if there is one: the only one, and one that must be given."""
        alone = len(self.parameters) == 1 and not self.takes_more and not self.takes_places
        return self.parameters[0] if alone and not self.parameters[0].is_optional else None

    @property
    def record(self):
        """The hint of the record whose fields are the columns: of the only parameter; None if that is no record."""
        hint = self.only and self.only.hint
        return hint if hint and hint[0] == "record" and hint[1] else None

    @classmethod
    def from_function(cls, function):
        target = inspect.unwrap(function)
        scope = getattr(target, "__globals__", {})

        def hint(annotation):
            return None if annotation is inspect.Parameter.empty else hint_from_object(annotation, scope)

        signature = inspect.signature(function)
        parameters, takes_more, takes_places = [], False, False
        for item in signature.parameters.values():
            takes_more = takes_more or item.kind == item.VAR_KEYWORD
            takes_places = takes_places or item.kind == item.VAR_POSITIONAL
            if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD):
                parameters.append(
                    Parameter(item.name, hint(item.annotation), item.default, item.kind == item.KEYWORD_ONLY)
                )
        generates = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
        returns = hint(signature.return_annotation)
        keys = lambda: keys_of(function_node(target))  # noqa: E731
        return cls(parameters, returns, generates, takes_more, keys, takes_places)

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
        more, places = arguments.kwarg is not None, arguments.vararg is not None
        return cls(parameters, returns, generates, more, lambda: keys_of(node), places)


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
