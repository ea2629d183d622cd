"""Errors as the platform shows them, and how exceptions and wrong values are told whatever a model has made of them."""

from .limits import MESSAGE_CHARS_MAX, SHOWN_CHARS_MAX
from .masking import masked


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


def bad_request(message, help=""):
    return Problem("bad_request", message, help=help)


def bad_output(message, help=""):
    return Problem("bad_output", message, help=help)


def wrong_rows(name, got, rows):
    where = "" if name == "output" else " in `%s`" % name
    return bad_output("predict gave %s%s for %d %s of input" % (got, where, rows, "row" if rows == 1 else "rows"),
                      "a batch must be answered with one row for each row of input")  # fmt: skip


def text_of(error):
    """The text of an exception, whatever its `__str__` does, without secrets."""
    try:
        return masked(str(error))
    except BaseException as another:
        return "its text cannot be told: %s" % type(another).__name__


def sentence(error):
    text = text_of(error)
    return ("%s: %s" % (type(error).__name__, text) if text else type(error).__name__)[:MESSAGE_CHARS_MAX]


def shortened(value):
    """A value as a message may show it, whatever its `__repr__` does."""
    try:
        text = masked(repr(value))
    except BaseException as error:
        return "a value whose repr raises %s" % type(error).__name__
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"
