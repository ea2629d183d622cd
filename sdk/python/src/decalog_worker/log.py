"""The replica's log."""

from .limits import LOG_CHARS_MAX
from .standard import os
from .text import utf8


class LOG:
    """Where the log goes: a worker keeps a descriptor of its own, as models close those that they know."""

    number = 2


def log(text):
    """Writes to the replica's log, whatever the model has made of `sys.stderr`."""
    data = utf8(text if len(text) <= LOG_CHARS_MAX else text[:LOG_CHARS_MAX] + "…\n")
    try:
        while data:
            data = data[os.write(LOG.number, data) :]
    except OSError:
        pass  # nobody reads it
