"""The attacks by name. Each is a function of its targets, gives what it got, and fails with what kept it from it.

An attack that got what it wanted is `possible`, one that the system or what it met refused is `denied`. One that failed
for another reason is `broken`: that says nothing of whether anything is confined.
"""

import errno
import importlib
import json
from types import SimpleNamespace

ATTACKS = {}


class Denied(Exception):
    """Something answered, but not with what the attack wants."""


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def attempt(name, target):
    """What came of an attack: its outcome, and what it got or what kept it from it."""
    if name not in ATTACKS:
        return "broken", f"there is no attack {name!r}"
    try:
        return "possible", str(ATTACKS[name](SimpleNamespace(**json.loads(target))))
    except Denied as reason:
        return "denied", str(reason)
    except OSError as error:
        code = errno.errorcode.get(error.errno, type(error).__name__)
        return "denied", f"{code}: {error.filename or error.strerror or error}"
    except Exception as error:
        return "broken", f"{type(error).__name__}: {error}"


for module in ("reading", "writing", "sockets", "processes", "kernel", "hoarding"):
    importlib.import_module("attacks." + module)
