"""The modules of libraries that a model needs: by its text, by its pickle, and by what it has loaded."""

import ast
import re
import sys
from pathlib import Path

from .limits import MODULES_BYTES_MAX
from .log import log
from .pickles import Pickle
from .problem import sentence
from .settings import VARIABLES
from .standard import os

MODULES_AT_START = frozenset(sys.modules)  # what an interpreter has before any model
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")


def import_modules():
    """What a zygote imports: the list that it is given, or else what the model's file tells. What fails is left out."""
    names = VARIABLES.get("DECALOG_IMPORTS")
    names = modules_of(Path(VARIABLES.get("DECALOG_FILE") or "model.py")) if names is None else names.split(",")
    for text in filter(None, map(str.strip, names)):
        module, _, name = text.partition(":")
        try:
            __import__(module, fromlist=[name] if name else [])
        except BaseException as error:
            log("%s is not imported beforehand: %s\n" % (module, sentence(error)))


def loaded_modules(root):
    """The modules of libraries that this process has, in the order in which they were ready."""
    found, is_library, left = [], {}, MODULES_BYTES_MAX
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if name in MODULES_AT_START or getattr(spec, "name", None) != name or not MODULE.match(name):
            continue
        top = name.split(".")[0]
        if top not in is_library:
            is_library[top] = not is_standard(top) and local_files(top, root) is None
        if is_library[top] and spec.has_location and left > len(name):
            left -= len(name) + 1
            found.append(name)
    return found


def modules_of(path, root=None):
    """The modules outside the standard library that loading and asking a model imports, in order, by its text alone.

    `a.b` stands for `import a.b`, `a:b` for `from a import b`.
    """
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return pickle_modules(path)
    if path.suffix != ".py":
        return []
    found, seen, root = {}, set(), root or path.parent

    def visit(file):
        if file in seen:
            return
        seen.add(file)
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return
        for node in imports_that_run(tree.body):
            if isinstance(node, ast.Import):
                names = [(alias.name, alias.name) for alias in node.names]
            else:
                module = relative_name(node, file, root) if node.level else node.module
                if module is None:
                    continue
                names = [(module, module + (":" + alias.name if alias.name != "*" else "")) for alias in node.names]
                names += [(".".join(filter(None, [module, alias.name])), "") for alias in node.names if node.level]
            for module, text in names:
                local = local_files(module, root)
                if local is not None:
                    for inner in local:
                        visit(inner)
                elif text and not is_standard(module.split(".")[0]):
                    found[text] = True

    visit(path)
    return list(found)


# The package that a model's file is taken to be in, if it imports its neighbours relative to itself but lies in none.
LONE = "model_directory"


def module_of(path, root):
    """The directory that a model's file is imported from, and the name of its module."""
    package = path.name == "__init__.py"
    names, top = [] if package else [path.stem], path.parent
    while (top / "__init__.py").is_file() and top != root and root in top.parents:
        names.insert(0, top.name)
        top = top.parent
    if package and not names:  # of the model's directory itself
        return top, path.parent.name if path.parent != root else LONE + "_itself"
    name = ".".join(names)
    return (top, LONE + "." + name) if "." not in name and not package and imports_relatively(path) else (top, name)


def imports_relatively(path):
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def relative_name(node, file, root):
    """The full name of the module that `from .x import y` names, as its files lie below the root; None if beyond it."""
    home = file.parent
    for _ in range(node.level - 1):
        home = home.parent
    if home != root and root not in home.parents:
        return None
    parts = list(home.relative_to(root).parts) + ([node.module] if node.module else [])
    return ".".join(parts)


def imports_that_run(body):
    """The import statements of a file that run in a worker.

    Not those for type checkers, for its use as a program, and in functions that a worker does not call.
    """
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in ("predict", "load", "__init__"):
                yield from imports_that_run(node.body)
        elif isinstance(node, ast.If) and any(
            getattr(inner, "id", getattr(inner, "attr", "")) in ("TYPE_CHECKING", "__name__")
            for inner in ast.walk(node.test)
        ):
            yield from imports_that_run(node.orelse)
        else:
            for block in ("body", "handlers", "orelse", "finalbody"):
                yield from imports_that_run(getattr(node, block, []))


def imports_of(path, root, seen):
    """The packages outside the standard library that a file imports, also by way of other files of the model."""
    found = set()
    if path in seen:
        return found
    seen.add(path)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level:
            module = relative_name(node, path, root)
            names = [".".join(filter(None, [module, alias.name])) for alias in node.names] + [module]
            for file in [file for name in names if name for file in local_files(name, root) or []]:
                found |= imports_of(file, root, seen)
            continue
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else []
        for name in names:
            local = local_files(name, root)
            if local is not None:
                found.update(*[imports_of(file, root, seen) for file in local])
            elif not is_standard(name.split(".")[0]):
                found.add(name.split(".")[0])
    return found


def local_files(name, root):
    """The files of the model that hold a module; None if it comes from elsewhere."""
    for base in (root, root / "src"):
        if (base / name.split(".")[0]).is_dir() or (base / (name.split(".")[0] + ".py")).is_file():
            files = [base.joinpath(*name.split(".")).with_suffix(".py"), base.joinpath(*name.split("."), "__init__.py")]
            return [file for file in files if file.is_file()]
    return None


def is_standard(name):
    """Whether a module needs no package: it is of the standard library, or what a worker gives to its model."""
    if name in ("decalog", "decalog_worker", "__main__"):
        return True
    if hasattr(sys, "stdlib_module_names"):
        return name in sys.stdlib_module_names
    home = Path(os.__file__).parent
    return (
        name in sys.builtin_module_names
        or any((home / file).exists() for file in (name, name + ".py"))
        or any((home / "lib-dynload").glob(name + ".*"))
    )


def pickle_modules(path):
    """The modules outside the standard library that a pickle names; it is not loaded."""
    try:
        named = Pickle(path).modules
    except (OSError, ValueError, EOFError):  # not what its name says
        named = {}
    found = dict({"joblib": True} if path.suffix == ".joblib" else {}, **named)
    return [module for module in found if MODULE.match(module) and not is_standard(module.split(".")[0])]


def packages(modules):
    return sorted({module.split(".")[0] for module in modules})
