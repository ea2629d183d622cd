"""Threads: those that run, and how many the numeric libraries may use before and after a fork."""

import re
import sys
from pathlib import Path

from .standard import os, threading

# Pools that a library starts when it is imported would rule out every fork; replicas get their threads after it.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# So would threads that only tidy up memory (Arrow, which pandas imports, and packages in Rust) or report their use.
QUIET_VARIABLES = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
    "ORT_DISABLE_TELEMETRY": "1",
}


def library_threads(variables):
    """How many threads numeric libraries may use: 0 stands for as many as they like."""
    text = variables.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(text) if text.isdigit() else 0


LIBRARIES = (
    (
        re.compile(r"openblas"),
        ["%sopenblas_set_num_threads%s" % (a, b) for a in ("", "scipy_") for b in ("64_", "", "_64")],
    ),
    (re.compile(r"/lib(gomp|omp|iomp5)\b"), ["omp_set_num_threads"]),
    (re.compile(r"/libmkl_rt\b"), ["MKL_Set_Num_Threads"]),
)


def set_library_threads(count):
    """Tells libraries that are loaded already how many threads to use, for they read the variable when they start."""
    import ctypes

    count = count or len(os.sched_getaffinity(0))
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    for pattern, names in LIBRARIES:
        for path in filter(pattern.search, paths):
            try:
                library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
            except OSError:
                continue
            for name in names:
                if hasattr(library, name):
                    getattr(library, name)(count)
                    break
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def thread_names():
    """The names of the threads of this process: those of the kernel, and of Python where they differ."""
    known = {thread.native_id: thread.name for thread in threading.enumerate() if thread is not threading.main_thread()}
    names = []
    for number in sorted(map(int, os.listdir("/proc/self/task"))):
        try:
            name = Path("/proc/self/task/%d/comm" % number).read_text().strip()
        except OSError:  # it has just ended
            continue
        names.append("%s (%s)" % (name, known[number]) if known.get(number, name) != name else name)
    return names
