"""From values as JSON has them to what a model's annotations ask for: records, members of enumerations, dates, bytes.

A builder takes one value and gives another, or raises the problem of a value that is not what the annotation says.
Hints that JSON already has a value for need none.
"""

from datetime import date

from .hints import REQUIRED
from .problem import Problem, shortened, text_of
from .text import bytes_of_json, parse_timestamp, to_json

# What JSON has for each plain type, and how a message calls it.
PLAIN = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
}


def refusal(place, value, wanted):
    """The problem of a value that is not what the annotation of `place` says."""
    return Problem("bad_input", "`%s` is %s where the model takes %s" % (place, shortened(value), wanted))


def builder(hint, place):
    """What makes values of a hint out of those of JSON; None if they are the same. `place` is what messages name."""
    kind = hint[0] if hint else ""
    if kind == "optional":
        inner = builder(hint[1], place)
        return inner and (lambda value: None if value is None else inner(value))
    if kind == "record":
        return record_builder(hint, place)
    if kind == "list":
        inner = builder(hint[1], place)
        return inner and (lambda value: [inner(item) for item in listed(value, place)])
    if kind == "dict":
        inner = builder(hint[1], place)
        return inner and (lambda value: {key: inner(item) for key, item in named(value, place).items()})
    if kind in ("literal", "enum"):
        return choice_builder(hint, place)
    return scalar_builder(hint[2], place) if kind == "scalar" else None


def listed(value, place):
    if not isinstance(value, (list, tuple)):
        raise refusal(place, value, "a list")
    return value


def named(value, place):
    if not isinstance(value, dict):
        raise refusal(place, value, "an object")
    return value


def choice_builder(hint, place):
    """Takes one of the values of a `Literal`, or of an enumeration, whose member it gives."""
    values, made = hint[1], hint[2] if hint[0] == "enum" else None

    def build(value):
        for known in values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return made(known) if made else known
        if made and isinstance(value, made):
            return value
        raise refusal(place, value, "one of " + ", ".join(map(to_json, values)))

    return build


def scalar_builder(kind, place):
    """Of a plain type, a date or time, or bytes."""
    if kind in PLAIN:
        types, wanted = PLAIN[kind]

        def check(value):
            if not isinstance(value, types) or isinstance(value, bool) and kind != "bool":
                raise refusal(place, value, wanted)
            return float(value) if kind == "float" else value

        return check
    parse = {"datetime": parse_timestamp, "date": date.fromisoformat, "bytes": bytes_of_json}.get(kind)
    if not parse:
        return None

    def build(value):
        if isinstance(value, (date, bytes)):  # also a datetime: a column of its own has been read already
            return value
        try:
            return parse(value)
        except (ValueError, TypeError):
            raise refusal(place, value, "a %s" % kind) from None

    return build


def record_builder(hint, place):
    """Makes an object of a class with named fields."""
    fields, made = hint[1], hint[2]
    if hasattr(made, "model_fields"):
        return pydantic_builder(made, place, {name for name, _, default in fields if default is None})
    builders = {name: builder(inner, "%s.%s" % (place, name) if place else name) for name, inner, _ in fields}
    defaults = {name: default for name, _, default in fields}
    stays_dict = made is None or issubclass(made, dict)

    def build(value):
        if made and not stays_dict and isinstance(value, made):
            return value
        found = {}
        for name, item in named(value, place).items():
            if name not in builders:
                raise refusal(place, value, "an object with " + ", ".join(builders))
            if item is None and defaults[name] is None:
                continue  # it is as it is without a value
            found[name] = builders[name](item) if builders[name] else item
        missing = [name for name, default in defaults.items() if default is REQUIRED and name not in found]
        if missing:
            raise refusal(place, value, "an object with " + ", ".join(missing))
        if stays_dict:
            return found
        try:
            return made(**found)
        except (TypeError, ValueError) as error:  # as what `__post_init__` does not take
            raise Problem("bad_input", text_of(error) or "the model refuses this input") from None

    return build


def pydantic_builder(made, place, optional):
    """Lets pydantic make its own: it knows more of its fields than a hint tells; `optional` may be None."""

    def build(value):
        if isinstance(value, made):
            return value
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if item is not None or name not in optional}
        try:
            return made.model_validate(value)
        except ValueError as error:
            found = getattr(error, "errors", lambda: [])()
            told = ["%s  %s" % (".".join([str(part) for part in item["loc"]]) or place, item["msg"]) for item in found]
            what = "`%s`" % place if place else "the input"
            first = ": " + told[0] if told else ""
            raise Problem("bad_input", "%s is no %s%s" % (what, made.__name__, first), told[1:]) from None

    return build
