"""The modules of libraries that a model needs: by its text, by its pickle, and by what it has loaded."""

import ast
import re
import sys
from pathlib import Path

from .limits import MODULES_BYTES_MAX
from .log import log
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


def modules_of(path):
    """The modules outside the standard library that loading and asking a model imports, in order, by its text alone.

    `a.b` stands for `import a.b`, `a:b` for `from a import b`.
    """
    if path.suffix in (".joblib", ".pkl", ".pickle"):
        return pickle_modules(path)
    found, seen, root = {}, set(), path.parent

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
            elif node.level or not node.module:
                continue
            else:
                names = [
                    (node.module, node.module + (":" + alias.name if alias.name != "*" else "")) for alias in node.names
                ]
            for module, text in names:
                local = local_files(module, root)
                if local is not None:
                    for inner in local:
                        visit(inner)
                elif not is_standard(module.split(".")[0]):
                    found[text] = True

    visit(path)
    return list(found)


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
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module and not node.level else []
        for name in names:
            local = local_files(name, root)
            if local is not None:
                found.update(*[imports_of(file, root, seen) for file in local])
            elif not is_standard(name.split(".")[0]):
                found.add(name.split(".")[0])
    return found


def local_files(name, root):
    """The files of the model that hold a module; None if it comes from elsewhere."""
    if not (root / name.split(".")[0]).is_dir() and not (root / (name.split(".")[0] + ".py")).is_file():
        return None
    files = [root.joinpath(*name.split(".")).with_suffix(".py"), root.joinpath(*name.split("."), "__init__.py")]
    return [file for file in files if file.is_file()]


def is_standard(name):
    """Whether a module needs no package: it is of the standard library, or what a worker gives to its model."""
    if name in ("decalog", "decalog_worker"):
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
    """The modules that a pickle names near its beginning; it is not loaded."""
    import pickletools

    found, texts, memo, last = {"joblib": True} if path.suffix == ".joblib" else {}, [], {}, None
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                    memo[len(memo) if argument is None else argument] = last
                    continue
                last = memo.get(argument) if opcode.name in ("BINGET", "LONG_BINGET") else argument
                if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
                    module = argument.split(" ")[0] if opcode.name == "GLOBAL" else texts[-2]
                    if MODULE.match(module) and not is_standard(module.split(".")[0]):
                        found[module] = True
                elif isinstance(last, str):
                    texts.append(last)
    except Exception:  # compressed, or with arrays in between that only joblib can read
        pass
    return list(found)


def packages(modules):
    return sorted({module.split(".")[0] for module in modules})
