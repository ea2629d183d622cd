"""Loads a model: runs its file or reads its pickle, and finds what predicts."""

import importlib.machinery
import inspect
import sys
from pathlib import Path

from .coroutines import Coroutines
from .estimator import EstimatorForm, estimator_columns
from .forms import FunctionForm
from .predictor import no_predict, pick_class
from .problem import Problem
from .schema import schema_of
from .signature import Signature
from .standard import os


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


def load_module(path):
    """Runs a model's file as a module of its name."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, str(path), loader=SourceLoader(path.stem, str(path)))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def find_predict(module, root, coroutines):
    """The function of a loaded module that predicts; makes and loads its class if it has one."""
    function = getattr(module, "predict", None)
    if callable(function):
        settle(getattr(module, "load", None), root, coroutines)
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
    settle(getattr(module, "load", None), root, coroutines)
    model = getattr(module, name)()
    settle(getattr(model, "load", None), root, coroutines)
    return model.predict


def settle(load, root, coroutines):
    """Calls `load(path)`, if there is one, with the model's directory."""
    if not callable(load):
        return
    result = load(Path(root)) if inspect.signature(load).parameters else load()
    if inspect.iscoroutine(result):
        coroutines.run(result)


def load_form(root, file, overrides, concurrency):
    """The form of the model in a directory."""
    path = Path(root) / file
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return load_estimator(path, root, overrides)
    coroutines = Coroutines(concurrency)
    function = find_predict(load_module(path), root, coroutines)
    signature = Signature.from_function(function)
    return FunctionForm(function, schema_of(signature, overrides, []), signature, root, coroutines)


def load_estimator(path, root, overrides):
    try:
        import joblib

        estimator = joblib.load(str(path))
    except ModuleNotFoundError as error:
        if error.name != "joblib" or path.suffix == ".joblib":
            raise
        import pickle

        estimator = pickle.loads(path.read_bytes())
    if not callable(getattr(estimator, "predict", None)):
        raise Problem(
            "no_predict",
            "%s holds a %s, which has no predict" % (path.name, type(estimator).__name__),
            help="save the fitted estimator or pipeline itself, or write a model.py that loads the file",
        )
    inputs = overrides.get("inputs") or estimator_columns(estimator)
    if not inputs:
        raise Problem(
            "no_columns",
            "%s does not tell its input columns" % path.name,
            help=(
                'fit it on a DataFrame, or add [schema] inputs = [{ name = "x", datatype = "FP64", shape = [4] }] '
                "to decalog.toml"
            ),
        )
    form = EstimatorForm(estimator, inputs, root)
    form.try_out()
    if overrides.get("outputs"):
        form.schema["outputs"] = overrides["outputs"]
        form.declared = {column["name"]: column for column in overrides["outputs"]}
    return form
