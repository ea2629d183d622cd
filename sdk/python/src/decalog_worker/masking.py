"""Keeps secrets out of what exceptions of a model tell its callers. Whoever keeps the log masks what is printed."""

from .settings import VARIABLES

#: Shorter values, and lines of values, are in many other words.
SECRET_CHARS_MIN = 8


def masked(text):
    """A text with the name of each secret in the place of its value."""
    for value, name in sorted(secrets(), key=lambda secret: -len(secret[0])):
        text = text.replace(value, "[secret %s]" % name)
    return text


def secrets():
    for name in VARIABLES.get("DECALOG_SECRETS", "").split():
        value = VARIABLES.get(name, "")
        for part in [value, *value.splitlines()]:
            if len(part) >= SECRET_CHARS_MIN:
                yield part, name
