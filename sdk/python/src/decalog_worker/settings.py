"""What the process is told by its variables: the model, its columns, how many requests at a time."""

from .standard import json, os

VARIABLES = dict(os.environ)  # as they were given: a model may change those of the process


def concurrency():
    return max(int(VARIABLES.get("DECALOG_CONCURRENCY") or 1), 1)


def redacts():
    """Whether some values of requests must not be kept, in the log neither."""
    return bool(VARIABLES.get("DECALOG_REDACTS"))


def logs_rows():
    """Whether the log has the row at which a model raised."""
    return bool(VARIABLES.get("DECALOG_LOG_ROWS")) and not redacts()


def schema_overrides():
    """What the manifest says of columns."""
    return json.loads(VARIABLES.get("DECALOG_SCHEMA") or "{}")
