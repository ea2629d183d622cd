"""Starts the worker: `python decalog_worker/__main__.py`, or with `--describe DIRECTORY [--file FILE]`
or `--packages FILE`, `--needs DIRECTORY FILE`, `--installed`.

Its package is imported as byte code, which is kept beside it for each version of Python, whatever the variables of the
model say of byte code. It is found without a directory on `sys.path` that could stand for one of the model's.
"""

import os
import sys

PACKAGE = os.path.dirname(os.path.abspath(__file__))


def main(arguments):
    """Does the whole life of the process."""
    if arguments[:1] == ["--describe"]:
        imported("describe").run(arguments[1:])
    elif arguments[:1] == ["--packages"]:
        imported("describe").tell_packages(arguments[1])
    elif arguments[:1] == ["--needs"]:
        imported("describe").tell_needs(arguments[1], arguments[2])
    elif arguments[:1] == ["--installed"]:
        imported("describe").tell_installed()
    else:
        imported("roles").run()


def imported(name):
    """A module of the package that this file lies in."""
    if sys.path and os.path.abspath(sys.path[0] or ".") == PACKAGE:
        del sys.path[0]  # Python puts a program's directory there; the modules in it are not for the model
    settings = sys.dont_write_bytecode, sys.pycache_prefix
    if not sys.flags.isolated:  # else they are of whoever starts this
        sys.dont_write_bytecode, sys.pycache_prefix = False, None
    sys.path.insert(0, os.path.dirname(PACKAGE))
    try:
        return import_module(name)
    finally:
        del sys.path[0]
        sys.dont_write_bytecode, sys.pycache_prefix = settings


def import_module(name):
    name = "decalog_worker." + name
    try:
        __import__(name)
    except (EOFError, ValueError, TypeError):  # byte code that was cut short, as happens on a full disk
        forget_byte_code()
        __import__(name)
    return sys.modules[name]


def forget_byte_code():
    """Lets the package be imported from its source once, and its byte code be made again at the next start."""
    for name in [name for name in sys.modules if name.split(".")[0] == "decalog_worker"]:
        del sys.modules[name]
    sys.pycache_prefix = os.devnull
    kept = os.path.join(PACKAGE, "__pycache__")
    try:
        for name in os.listdir(kept):
            os.unlink(os.path.join(kept, name))
    except OSError:  # it is not ours to write: the next start does without byte code too
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
