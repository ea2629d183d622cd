"""Loads a model: runs its file or reads its pickle, and finds what predicts."""

import importlib.machinery
import inspect
import re
import sys
from pathlib import Path

from .coroutines import Coroutines
from .estimator import make_form
from .forms import FunctionForm
from .native import NETWORKS, PICKLES, library_of, mlflow_columns, read_native
from .networks import read_network
from .predictor import no_predict, pick_class
from .problem import Problem
from .schema import merged_outputs, schema_of
from .signature import Signature
from .modules import LONE, module_of
from .standard import os
from .tracebacks import traceback_lines


class SourceLoader(importlib.machinery.SourceFileLoader):
    """Imports the files of a model and leaves no bytecode beside them: a version's files stay as they are."""

    def _cache_bytecode(self, *_):
        pass


def leave_no_bytecode(root):
    """Lets all modules below a model's directory be loaded by `SourceLoader`; libraries keep their bytecode."""
    machinery = importlib.machinery
    loaders = (
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (SourceLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    below = os.path.join(os.path.realpath(root), "")

    def hook(path):
        if not os.path.join(os.path.realpath(path), "").startswith(below) or not os.path.isdir(path):
            raise ImportError
        return machinery.FileFinder(path, *loaders)

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


def load_module(path, root):
    """Runs a model's file as a module of its name, within the packages that it lies in."""
    import importlib.util

    top, name = module_of(path, Path(root))
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    parent = name.rpartition(".")[0]
    if parent == LONE:
        lone = type(sys)(LONE)
        lone.__path__ = [str(path.parent)]
        sys.modules[LONE] = lone
    elif parent:
        __import__(parent)
    spec = importlib.util.spec_from_file_location(name, str(path), loader=SourceLoader(name, str(path)))
    if path.name == "__init__.py":
        spec.submodule_search_locations = [str(path.parent)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    stand_in_for_main(module)
    if parent == LONE:
        sys.modules[path.stem] = module  # it is also found by the name that its neighbours know
    spec.loader.exec_module(module)
    return module


def stand_in_for_main(module):
    """Lets pickles find in the model's file what they have by the name of the program that saved them, `__main__`."""

    def find(name):
        if name.startswith("__") or name not in vars(module):
            raise AttributeError("module '__main__' has no attribute %r" % name)
        return vars(module)[name]

    sys.modules["__main__"].__getattr__ = find


def find_predict(module, root, coroutines):
    """The function of a loaded module that predicts; makes and loads its class if it has one."""
    function = getattr(module, "predict", None)
    if callable(function):
        prepare(module, root, coroutines)
        return function
    name = pick_class({name: callable(getattr(item, "predict", None)) for name, item in vars(module).items()
                       if isinstance(item, type) and item.__module__ == module.__name__})  # fmt: skip
    if name is None:
        names = [
            name
            for name, item in vars(module).items()
            if inspect.isfunction(item) and item.__module__ == module.__name__
        ]
        raise no_predict(Path(module.__file__).name, names)
    prepare(module, root, coroutines)
    model = getattr(module, name)()
    prepare(model, root, coroutines)
    return model.predict


def prepare(owner, root, coroutines):
    """Calls what a module or an object has to be made ready by."""
    for name in ("setup", "load"):
        settle(getattr(owner, name, None), root, coroutines)


def settle(load, root, coroutines):
    """Calls `load(path)` or `setup(path)`, if there is one, with the model's directory if it takes it."""
    if not callable(load):
        return
    result = load(Path(root)) if inspect.signature(load).parameters else load()
    if inspect.iscoroutine(result):
        coroutines.run(result)


def load_form(root, file, overrides, concurrency):
    """The form of the model in a directory."""
    path = Path(root) / file
    if (Path(root) / "src").is_dir():
        sys.path.append(os.path.join(root, "src"))
    if path.suffix in PICKLES or library_of(path):
        return load_estimator(path, root, overrides)
    coroutines = Coroutines(concurrency)
    try:
        function = find_predict(load_module(path, root), root, coroutines)
    except AttributeError as error:
        problem = needs_main(error)
        if problem is None:
            raise
        problem.details = traceback_lines(error, root) + problem.details
        raise problem from None
    signature = Signature.from_function(function)
    return FunctionForm(function, schema_of(signature, overrides, []), signature, root, coroutines)


def unpickled(path):
    """What a file of joblib or pickle holds."""
    try:
        import joblib
    except ModuleNotFoundError:
        if path.suffix == ".joblib":
            raise
        import pickle

        return pickle.loads(path.read_bytes())
    return joblib.load(str(path))


def load_pickle(path):
    """What a file of joblib or pickle holds; names what it needs of the program that saved it."""
    try:
        return unpickled(path)
    except AttributeError as error:
        raise needs_main(error) or error from None


def needs_main(error):
    """The problem of a pickle that needs what only the program had that saved it; None if it is another error."""
    missing = re.search(r"Can't get attribute '(\w+)' on <module '__main__'", str(error))
    if not missing:
        return None
    name = missing.group(1)
    return Problem(
        "no_predict",
        "a pickle needs `%s` of the program that saved it, which is not in the file" % name,
        ["it has no functions and classes, only where to import them from, and says __main__"],
        help="define `%s` in model.py before that loads the file; or move it to a module beside the file, import it "
        "from there, and save again" % name,
    )


def load_estimator(path, root, overrides):
    """The form of a model in a file without code."""
    if library_of(path) in NETWORKS:
        return with_outputs(read_network(path, overrides.get("inputs") or [], root), overrides)
    estimator = read_native(path) if library_of(path) else load_pickle(path)
    if not callable(getattr(estimator, "predict", None)):
        raise Problem(
            "no_predict",
            "%s holds a %s, which has no predict" % (path.name, type(estimator).__name__),
            help="save the fitted estimator or pipeline itself, or write a model.py that loads the file",
        )
    columns = mlflow_columns(root) if library_of(path) == "mlflow" else None
    return with_outputs(make_form(estimator, overrides.get("inputs") or [], root, path.name, columns), overrides)


def with_outputs(form, overrides):
    """A form that knows its outputs, as far as one row that is made up tells, and the manifest."""
    form.try_out()
    if overrides.get("outputs"):
        form.schema["outputs"] = merged_outputs(form.schema["outputs"], overrides["outputs"])
        form.declared = {column["name"]: column for column in form.schema["outputs"]}
    return form
