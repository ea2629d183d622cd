"""Which modules of libraries a model needs, and where it says so: by its text, and by the pickles that it loads."""

import ast
import re
from pathlib import Path

from .modules import MODULE, is_standard, local_files, relative_name
from .native import PICKLES, library_of
from .pickles import Pickle
from .standard import os

# Folders that hold no modules of a model.
PASSED_OVER = {"node_modules", "site-packages", "__pycache__", "venv"}
FILES_MAX = 20_000
# Modules that are packages of several distributions: what is below them tells which.
SHARED = {"google", "azure", "zope"}
FORGIVING = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def needs_of(root, file):
    """What a model in a directory needs: `{"module", "place", "lazy"}`, each module once.

    `lazy` is what only a function imports that need not run. What a pickle needs has `within`, all that it names of the
    module, and `versions`, those that it tells by package.
    """
    root = Path(root)
    path = root / file
    if path.suffix in PICKLES:
        return of_pickle(path, root, True)
    if library_of(path) or path.suffix != ".py":
        return []
    search = Search(root)
    search.visit(path, False)
    found = search.found
    for pickle in pickles_that_are_named(root, search.texts):
        for need in of_pickle(pickle, root):
            known = found.setdefault(key_of(need["module"]), need)
            known.setdefault("versions", need["versions"])
    if any("sys.path" in text for text in search.texts):
        for need in found.values():
            need["lazy"] = True  # it may come from wherever that leads
    # What lies anywhere in the directory may be found by a path that the model sets.
    own = own_names(root) if found else set()
    return [need for need in found.values() if need["module"].split(".")[0] not in own]


def key_of(module):
    """Of the modules that come with the same package."""
    parts = module.split(".")
    return ".".join(parts[:3]) if parts[0] in SHARED else parts[0]


def of_pickle(path, root, is_model=False):
    """What a pickle needs; it is not loaded. One that is the model may also be asked with a frame."""
    try:
        pickle = Pickle(path)
    except (OSError, ValueError, EOFError):  # not what its name says
        return []
    place, own, found = str(path.relative_to(root)), own_names(root), {}
    modules = dict({"joblib": True} if path.suffix == ".joblib" else {}, **pickle.modules)
    if is_model and pickle.takes_frames:
        modules.setdefault("pandas", True)
    for module in modules:
        top = module.split(".")[0]
        if MODULE.match(module) and top not in own and top != "__main__" and not is_standard(top):
            found.setdefault(key_of(module), set()).add(module)
    return [
        {"module": key, "place": place, "lazy": False, "within": sorted(names), "versions": pickle.versions}
        for key, names in found.items()
    ]


def pickles_that_are_named(root, texts):
    """The pickles of a directory whose name stands in the text of the model."""
    found = []
    for folder, folders, names in os.walk(str(root)):
        folders[:] = [name for name in folders if name not in PASSED_OVER and not name.startswith(".")]
        for name in names:
            if name.endswith(PICKLES) and any(name in text for text in texts):
                found.append(Path(folder) / name)
    return sorted(found)


def own_names(root):
    """The names of all modules that lie in a directory, however deep."""
    found, count = set(), 0
    for _, folders, names in os.walk(str(root)):
        folders[:] = [name for name in folders if name not in PASSED_OVER and not name.startswith(".")]
        found.update(folders)
        found.update(name.split(".")[0] for name in names if name.endswith((".py", ".so", ".pyd")))
        count += len(names)
        if count > FILES_MAX:
            break
    return found


class Search:
    """Follows the imports of a model's files."""

    def __init__(self, root):
        self.root, self.found, self.seen, self.texts = root, {}, set(), []

    def visit(self, file, is_lazy):
        if file in self.seen:
            return
        self.seen.add(file)
        try:
            data = file.read_bytes()
            tree = ast.parse(data)
        except (OSError, SyntaxError, ValueError):
            return
        self.texts.append(data.decode("utf-8", "replace"))
        for node, inner_is_lazy in needed(tree.body, is_lazy):
            for module in self.named(node, file):
                local = local_files(module, self.root)
                for inner in local or []:
                    self.visit(inner, inner_is_lazy)
                if local is None and not is_standard(module.split(".")[0]):
                    self.take(module, file, node, inner_is_lazy)

    def take(self, module, file, node, is_lazy):
        known = self.found.get(key_of(module))
        if known is None or known["lazy"] and not is_lazy:
            place = "%s:%d" % (file.relative_to(self.root), node.lineno)
            self.found[key_of(module)] = {"module": key_of(module), "place": place, "lazy": is_lazy}

    def named(self, node, file):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        module = relative_name(node, file, self.root) if node.level else node.module
        if node.level:
            inner = [".".join(filter(None, [module, alias.name])) for alias in node.names]
            return [name for name in inner + [module] if name and local_files(name, self.root) is not None]
        if module and module.split(".")[0] in SHARED:
            return [module + "." + alias.name for alias in node.names]
        return [module] if module else []


def needed(body, is_lazy):
    """The imports of a file that must succeed, each with whether only a function does it that need not run."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, is_lazy
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            is_called = node.name in ("predict", "load", "setup", "__init__")
            for item in needed(node.body, is_lazy or not is_called):
                yield item
        elif isinstance(node, ast.If) and re.search(r"TYPE_CHECKING|__name__|version_info", ast.dump(node.test)):
            if not re.search("version_info", ast.dump(node.test)):
                for item in needed(node.orelse, is_lazy):
                    yield item
        elif isinstance(node, ast.Try) and any(forgives(handler) for handler in node.handlers):
            for item in needed(node.finalbody, is_lazy):
                yield item
        else:
            for block in ("body", "handlers", "orelse", "finalbody"):
                for item in needed(getattr(node, block, []), is_lazy):
                    yield item


def forgives(handler):
    """Whether an import that fails is expected."""
    if handler.type is None:
        return True
    names = {getattr(node, "id", getattr(node, "attr", "")) for node in ast.walk(handler.type)}
    return bool(names & FORGIVING)
