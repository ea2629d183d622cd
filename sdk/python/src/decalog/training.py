"""For training code: writes down how good a model is and what it was trained with. `decalog deploy` reads it."""

import fcntl
import glob
import json
import math
import os
import tempfile
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, TypeVar, Union

METRICS_FILE = "metrics.json"
DATA_FILE = "training-data.json"
#: What a version takes.
METRICS_MAX = 256
METRIC_BYTES_MAX = 128
DATA_SETS_MAX = 64
NAME_BYTES_MAX = 1024

Path = Union[str, "os.PathLike[str]"]
Content = TypeVar("Content")


def log_metrics(metrics: Mapping[str, Any], directory: Path = ".") -> None:
    """Adds numbers by name, as `{"auc": 0.93}`, to `metrics.json` of a model directory; the last of a name holds.

    The file is replaced as a whole: whoever reads it meanwhile sees all of the numbers of one call, or none.
    """
    new = {_metric(name): _number(name, value) for name, value in metrics.items()}

    def merged(known: Dict[str, Any]) -> Dict[str, Any]:
        known.update(new)
        if len(known) > METRICS_MAX:
            raise ValueError("there are %d metrics, and a version takes %d" % (len(known), METRICS_MAX))
        return known

    _change(directory, METRICS_FILE, {}, merged)


def log_data(name: Path, directory: Path = ".") -> None:
    """Names a file, a directory or a pattern such as `data/*.parquet` as data that the model was trained with.

    A relative name is one from the current directory. The digest is computed by `decalog deploy`: of data that change
    between training and that, it is the wrong one.
    """
    text = os.fspath(name)
    if "://" in text:
        raise ValueError("data at an address are not read yet: copy %r to a file and name that" % text)
    if not os.path.exists(text) and not glob.glob(text, recursive=True):
        raise FileNotFoundError("there are no data at %r" % text)
    kept = text if os.path.isabs(text) else os.path.relpath(text, os.path.realpath(directory))
    if not 0 < len(kept.encode()) <= NAME_BYTES_MAX:
        raise ValueError("the name of data has at most %d bytes" % NAME_BYTES_MAX)

    def added(known: Dict[str, List[str]]) -> Dict[str, List[str]]:
        names = known["train"]
        if kept not in names:
            names.append(kept)
        if len(names) > DATA_SETS_MAX:
            raise ValueError("a version takes %d data sets: name a directory or a pattern" % DATA_SETS_MAX)
        return known

    _change(directory, DATA_FILE, {"train": []}, added)


def _metric(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= METRIC_BYTES_MAX:
        raise ValueError("%r names no metric: it takes a text of 1 to %d bytes" % (name, METRIC_BYTES_MAX))
    return name


def _number(name: str, value: Any) -> Union[int, float]:
    """A plain number; those of NumPy and of frameworks have `item`."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise TypeError("the metric %r is %r, not a number" % (name, value))
    try:
        is_finite = math.isfinite(plain)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise ValueError("the metric %r is %r: only finite numbers are kept" % (name, value))
    return plain


def _change(directory: Path, name: str, empty: Content, change: Callable[[Content], Content]) -> None:
    path = os.path.join(os.fspath(directory), name)
    with _alone(directory):
        try:
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        except FileNotFoundError:
            known = empty
        except ValueError as failure:
            raise ValueError("%s is no JSON: correct or remove it" % path) from failure
        is_right = isinstance(known, dict) and (name == METRICS_FILE or isinstance(known.get("train"), list))
        if not is_right:
            raise ValueError("%s is not what is written there: correct or remove it" % path)
        _replace(path, json.dumps(change(known), indent=2, sort_keys=name == METRICS_FILE, allow_nan=False) + "\n")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Lets others that log to this directory wait. The directory itself is locked: no file is left behind."""
    descriptor = os.open(os.fspath(directory), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: str, text: str) -> None:
    descriptor, part = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # As any new file: mkstemp lets only its owner read.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
