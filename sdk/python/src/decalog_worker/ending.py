"""The end of the process, whatever the model has made of it."""

import atexit
import sys

from .log import log
from .standard import os, traceback


def end_process(status):
    """Ends the process: threads that a model left running must not keep it."""
    try:
        atexit._run_exitfuncs()
    except BaseException:
        log(traceback.format_exc())
    flush_standard()
    os._exit(status)


def flush_standard():
    """Writes out what was printed, if the model has left where to."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
