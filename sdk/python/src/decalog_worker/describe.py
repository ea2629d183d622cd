"""The static description: what the source text of a model tells, without running any of it."""

import ast
import sys
from pathlib import Path

from .ending import end_process
from .installed import installed
from .modules import imports_of, modules_of, packages, pickle_modules
from .native import NETWORKS, PICKLES, library_of, mlflow_columns, packages_of
from .needs import needs_of
from .predictor import no_predict, pick_class
from .problem import Problem
from .schema import merged, schema_of
from .settings import schema_overrides
from .signature import Signature
from .source import SourceHints, top_level
from .text import to_json
from .tracebacks import traceback_lines


def describe(root, file, overrides):
    """The schema, form and imports of a model directory."""
    path = Path(root) / file
    version = "%d.%d" % sys.version_info[:2]
    library = library_of(path)
    if path.suffix in PICKLES or library:
        modules = pickle_modules(path) if path.suffix in PICKLES else imported_by(library)
        columns = mlflow_columns(root) if library == "mlflow" else None
        return {
            "schema": columns and {"inputs": merged(columns, overrides.get("inputs") or []), "outputs": []},
            "form": library or "sklearn",
            "python": version,
            "notes": ["the %s known when it is loaded" % ("outputs are" if columns else "schema is")],
            "imports": packages(modules),
            "modules": modules,
            "needs": needs_of(root, file),
        }
    tree = parse(path, file)
    notes = []
    node, is_method = find_predict_node(tree, file)
    if node is None:
        schema, form = None, "row"
        notes.append("`predict` is not written out in %s: its schema is known when it is loaded" % file)
    else:
        signature = Signature.from_node(node, SourceHints(tree), is_method)
        schema = schema_of(signature, overrides, notes)
        form = "stream" if signature.streams else "batch" if signature.batch else "row"
    return {
        "schema": schema,
        "form": form,
        "python": version,
        "notes": notes,
        "imports": sorted(imports_of(path, Path(root), set())),
        "modules": modules_of(path, Path(root)),
        "needs": needs_of(root, file),
    }


def parse(path, file):
    try:
        return ast.parse(path.read_bytes(), file)
    except OSError as error:
        raise Problem(
            "no_model_file",
            "%s cannot be read: %s" % (file, error.strerror),
            help='add it, or name the model\'s file in decalog.toml: [model] file = "..."',
        )
    except (SyntaxError, ValueError) as error:
        details = traceback_lines(error, path.parent)
        raise Problem(
            "syntax_error",
            "%s is not valid Python %d.%d" % ((file,) + sys.version_info[:2]),
            details,
            help="correct the line, or choose another requires-python",
        ) from None


def find_predict_node(tree, file):
    """The function that predicts, and whether it takes `self`; (None, False) if it comes from elsewhere."""
    statements = list(top_level(tree))
    functions = {node.name: node for node in statements if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    classes = {node.name: node for node in statements if isinstance(node, ast.ClassDef)}
    if "predict" in functions:
        return functions["predict"], False
    hints = SourceHints(tree)
    if "predict" in hints.imports or "predict" in hints.values:
        return None, False
    methods = {name: method_of(node, classes) for name, node in classes.items()}
    name = pick_class({name: method is not None for name, method in methods.items()})
    if name is not None:
        is_static = any(
            isinstance(item, ast.Name) and item.id == "staticmethod" for item in methods[name].decorator_list
        )
        return methods[name], not is_static
    if "Model" in classes and any(getattr(base, "id", None) not in classes for base in classes["Model"].bases):
        return None, False
    raise no_predict(file, list(functions))


def method_of(node, classes):
    """The method `predict` of a class or of the bases that the same file has."""
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == "predict":
            return item
    bases = [
        classes[base.id]
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in classes and base.id != node.name
    ]
    return next((method for method in (method_of(base, classes) for base in bases) if method), None)


def imported_by(library):
    """The modules that reading a library's own file imports."""
    if library in NETWORKS:
        # What Keras calculates with has threads, which no process that forks may have.
        return ["torch", "numpy"] if library == "torch" else ["numpy"]
    return ["skops.io", "sklearn"] if library == "skops" else [library, "pandas"]


def tell_packages(file):
    """The whole life of a process that tells which packages a library's own file needs, as JSON."""
    try:
        print(to_json(packages_of(Path(file))))
        status = 0
    except (OSError, ValueError, KeyError):  # not what its name says
        status = 1
    end_process(status)


def tell_needs(root, file):
    """The whole life of a process that tells which modules a model needs, as JSON."""
    print(to_json(needs_of(root, file)))
    end_process(0)


def tell_installed():
    """The whole life of a process that tells which packages its interpreter has, as JSON."""
    print(to_json(installed()))
    end_process(0)


def run(arguments):
    """The whole life of a process that describes the model in a directory, `DIRECTORY [--file FILE]`, as JSON."""
    root = arguments[0] if arguments else "."
    file = arguments[arguments.index("--file") + 1] if "--file" in arguments[:-1] else "model.py"
    try:
        print(to_json(describe(root, file, schema_overrides())))
        status = 0
    except Problem as problem:
        print(to_json(dict({"details": [], "help": ""}, **problem.body())))
        status = 1
    end_process(status)
