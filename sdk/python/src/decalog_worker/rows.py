"""The rows that a model failed at, in its log: for the time in which it is written."""

from .limits import LOGGED_ROWS_MAX, MESSAGE_CHARS_MAX
from .log import log
from .problem import Problem

#: What the model is to blame for, and no caller.
OWN_FAULTS = ("model_raised", "bad_output")


def log_rows(form, values, parts):
    """Writes the first rows of a batch that have such a problem. `parts` are those of its answer."""
    begin, left = 0, LOGGED_ROWS_MAX
    for rows, outputs in parts:
        if isinstance(outputs, Problem) and outputs.code in OWN_FAULTS:
            for at in range(begin, min(begin + rows, begin + left)):
                log("at the row: %s\n" % row_text(form.names(), values, at)[:MESSAGE_CHARS_MAX])
            left -= min(rows, left)
        begin += rows


def row_text(names, values, at):
    """A row of the values that a call got, as `age=42, city='Utrecht'`."""
    try:
        return ", ".join([value_text(name, of, at) for name, of in zip(names, values)])
    except BaseException as error:  # the model has changed it, or its own `repr` fails
        return "(it cannot be shown: %s)" % type(error).__name__


def value_text(name, of, at):
    value = of.iloc[at].to_dict() if hasattr(of, "iloc") else of[at]
    value = value.tolist() if hasattr(value, "tolist") else value
    if name is None and isinstance(value, dict):
        return ", ".join(["%s=%r" % item for item in value.items()])
    return repr(value) if name is None else "%s=%r" % (name, value)
