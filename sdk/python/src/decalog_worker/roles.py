"""The life of the process, by its role: a worker, or a zygote or parent that forks."""

import fcntl
import gc
import sys
from pathlib import Path

from .ending import end_process
from .fork import Nursery
from .loading import leave_no_bytecode, load_form
from .log import LOG, log
from .modules import import_modules
from .problem import Problem, sentence
from .protocol import Worker
from .provided import DecalogFinder
from .server import Server
from .settings import VARIABLES, concurrency, schema_overrides
from .standard import os, signal, time
from .text import utf8
from .threads import QUIET_VARIABLES, THREAD_VARIABLES
from .tracebacks import raised


def serve():
    """What a process does by its role, which a fork changes in the new process; returns the exit status."""
    role, control = os.environ.pop("DECALOG_ROLE", None) or "worker", os.environ.pop("DECALOG_CONTROL", None)
    begun, form, begin = time.monotonic(), None, lambda: None
    filter_of_calls = os.environ.pop("DECALOG_FILTER", "")
    if role not in ("worker", "parent", "zygote") or role != "worker" and not control:
        return report_failure(
            ["DECALOG_ROLE is %s, but DECALOG_CONTROL names no socket, or there is no such role" % role]
        )
    if role != "zygote":
        sys.path.insert(0, os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # nothing that is printed is an error
    sys.meta_path.append(DecalogFinder)
    while True:
        if role != "worker":
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
            os.environ.update({name: os.environ.get(name, value) for name, value in QUIET_VARIABLES.items()})
        if role == "zygote":
            import_modules()
        elif form is None:
            root = os.getcwd()
            leave_no_bytecode(root)
            try:
                form = load_form(root, VARIABLES.get("DECALOG_FILE") or "model.py", schema_overrides(), concurrency())
            except Problem as problem:
                return report_failure([problem.message] + problem.details + ([problem.help] if problem.help else []))
            except BaseException as error:
                problem = raised(error, root, of_request=False)
                return report_failure((problem.details or [problem.message]) + remedy(error))
            gc.collect()
            gc.freeze()
        if role == "worker":
            return serve_form(form, begin)
        nursery = Nursery(int(control), form, begun, filter_of_calls)
        order = nursery.run()
        if order is None:
            return 0
        # From here on this is another process: the one that was forked, or the parent itself, now a worker.
        try:
            role, control, begun, begin = nursery.leave(order)
            filter_of_calls = ""
        except Exception as error:
            return report_failure(["the forked process could not be set up: " + sentence(error)])
        del nursery


def remedy(error):
    """What to do about an error while a model is loaded, as lines."""
    if not isinstance(error, ModuleNotFoundError) or not getattr(error, "name", None):
        return []
    text = "nothing that is installed brings %s: add its package to the requirements (decalog check --fix)"
    return [text % error.name]


def serve_form(form, begin):
    """Binds the socket and serves a loaded model until a signal."""
    try:
        LOG.number = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:  # the model has closed it while it was loaded
        LOG.number = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    worker = Worker(form, VARIABLES.get("DECALOG_MODEL") or "model", concurrency())
    server = Server(worker, VARIABLES["DECALOG_SOCKET"], begin, VARIABLES.get("DECALOG_LISTENER"))
    server.listen()
    server.run()
    return 0


def report_failure(lines):
    """Writes for the user why the model did not load."""
    text = "\n".join(lines) + "\n"
    log(text)
    if VARIABLES.get("DECALOG_FAILURE"):
        try:
            Path(VARIABLES["DECALOG_FAILURE"]).write_bytes(utf8(text))
        except OSError:  # its directory is gone, or the disk is full: the log has it
            pass
    return 1


def run():
    """The whole life of the process."""
    end_process(serve())
