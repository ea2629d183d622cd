"""Hints of annotations that a loaded model has evaluated."""

import ast
import sys
import typing
from pathlib import Path

from .hints import JSON, REQUIRED, annotate, make_hint, union
from .source import SourceHints


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
    """The hint of an annotation that cannot be evaluated: of a newer Python, or with names for type checkers alone."""
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
        return ("record", tuple(fields_of(annotation, is_typed_dict)), annotation)
    return None


def fields_of(record, is_typed_dict):
    """(name, hint, default) of each field of a class, by the name that its values come under."""
    hints = {}
    for base in reversed(record.__mro__):
        scope = vars(sys.modules.get(base.__module__, sys))
        own = base.__dict__.get("__annotations__") or (getattr(base, "__annotations__", {}) if base is record else {})
        hints.update({name: hint_from_object(value, scope) for name, value in own.items()})
    if is_typed_dict:
        for name, hint in hints.items():
            is_optional = name in record.__optional_keys__
            yield name, union([hint, ("none",)]) if is_optional else hint, None if is_optional else REQUIRED
    elif hasattr(record, "model_fields"):
        for name, field in record.model_fields.items():
            alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias
            default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
            yield alias or name, hints.get(name, JSON), default
    elif hasattr(record, "__dataclass_fields__"):
        for name, field in record.__dataclass_fields__.items():
            if field.init and field._field_type.name == "_FIELD":
                yield name, hints.get(name, JSON), default_of(field)
    else:
        for name in record._fields:
            yield name, hints.get(name, JSON), getattr(record, "_field_defaults", {}).get(name, REQUIRED)


def default_of(field):
    """What a field of a dataclass is where no value is given."""
    import dataclasses

    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else REQUIRED


def full_name(item):
    module = getattr(item, "__module__", "") or ""
    name = getattr(item, "__qualname__", None) or getattr(item, "_name", None) or str(item)
    root = module.split(".")[0]
    if root == "typing_extensions":
        root = module = "typing"
    return (root if root in ("numpy", "pandas") else module) + "." + name
