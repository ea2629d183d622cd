"""Hints of annotations in source text, which is parsed and never run."""

import ast

from .hints import REQUIRED, annotate, make_hint, union


class SourceHints:
    """Hints of annotations in source text that is parsed, never run."""

    def __init__(self, tree):
        self.imports, self.values, self.classes, self.open = {}, {}, {}, set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = node.module + "." + alias.name
        for node in top_level(tree):
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.values[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.values[node.target.id] = node.value
            elif type(node).__name__ == "TypeAlias":
                self.values[node.name.id] = node.value

    def name(self, node):
        """The full name of what an expression refers to, if it is a plain name."""
        if isinstance(node, ast.Attribute):
            owner = self.name(node.value)
            return owner and (owner + "." + node.attr).replace("typing_extensions.", "typing.")
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.imports:
            return self.imports[node.id].replace("typing_extensions.", "typing.")
        return "builtins." + node.id

    def hint(self, node):
        if isinstance(node, ast.Constant):
            if node.value is None:
                return ("none",)
            if node.value is Ellipsis:
                return Ellipsis
            if isinstance(node.value, str):
                try:
                    return self.hint(ast.parse(node.value, mode="eval").body)
                except SyntaxError:
                    return ("unknown", node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return union([self.hint(node.left), self.hint(node.right)])
        if isinstance(node, ast.Subscript):
            return self.subscript(node)
        if isinstance(node, ast.Name) and node.id in self.classes and node.id not in self.open:
            return self.guarded(node.id, lambda: self.class_hint(self.classes[node.id]))
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            return self.guarded(node.id, lambda: self.hint(self.values[node.id]))
        if isinstance(node, ast.Call) and self.name(node.func) == "typing.NewType" and len(node.args) == 2:
            return self.hint(node.args[1])
        name = self.name(node)
        return make_hint(name, []) if name else ("unknown", source_of(node))

    def guarded(self, name, resolve):
        """Resolves a name of the file once, whatever refers back to it."""
        self.open.add(name)
        try:
            return resolve()
        finally:
            self.open.discard(name)

    def subscript(self, node):
        inner = node.slice.value if type(node.slice).__name__ == "Index" else node.slice  # Index: Python 3.8
        items = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        name = self.name(node.value)
        if name == "typing.Literal":
            values = [self.constant(item) for item in items]
            return ("unknown", source_of(node)) if UNKNOWN in values else ("literal", tuple(values))
        if name == "typing.Annotated":
            return annotate(self.hint(items[0]), [self.metadata(item) for item in items[1:]])
        return make_hint(name, [self.hint(item) for item in items]) if name else ("unknown", source_of(node))

    def metadata(self, node):
        if isinstance(node, ast.Dict):
            return {self.constant(key): self.hint(value) for key, value in zip(node.keys, node.values)}
        return self.constant(node)

    def constant(self, node):
        """The value of an expression that is plainly one, else UNKNOWN."""
        if isinstance(node, ast.Name) and node.id in self.values and node.id not in self.open:
            return self.guarded(node.id, lambda: self.constant(self.values[node.id]))
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            return UNKNOWN

    def class_hint(self, node):
        bases = [self.name(base) for base in node.bases]
        decorators = [self.name(item.func if isinstance(item, ast.Call) else item) for item in node.decorator_list]
        if any(base and base.startswith("enum.") for base in bases):
            values = [self.constant(item.value) for item in node.body if isinstance(item, ast.Assign)]
            return ("unknown", node.name) if UNKNOWN in values else ("enum", tuple(values), None)
        inherited = [self.hint(base) for base in node.bases if isinstance(base, ast.Name) and base.id in self.classes]
        fields = {field[0]: field for hint in inherited if hint[0] == "record" for field in hint[1]}
        known = {"typing.TypedDict", "typing.NamedTuple", "pydantic.BaseModel"}
        if not (known.intersection(bases) or "dataclasses.dataclass" in decorators or fields):
            return ("unknown", node.name)
        total = all(keyword.arg != "total" or self.constant(keyword.value) for keyword in node.keywords)
        is_typed_dict = "typing.TypedDict" in bases
        for item in node.body:
            if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
                continue
            if "ClassVar" in source_of(item.annotation) or item.target.id.startswith("_"):
                continue
            hint, name, default = self.hint(item.annotation), item.target.id, REQUIRED
            if is_typed_dict and (not total or "NotRequired" in source_of(item.annotation)):
                hint, default = union([hint, ("none",)]), None
            elif item.value is not None:
                name, default = self.field(name, item.value)
            fields[name] = (name, hint, default)
        return ("record", tuple(fields.values()), None)

    def field(self, name, node):
        """(the name that values come under, the default) of a field by what is assigned to it."""
        called = self.name(node.func) if isinstance(node, ast.Call) else None
        if called not in ("pydantic.Field", "dataclasses.field", "pydantic.fields.Field"):
            return name, self.constant(node)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        for alias in ("validation_alias", "alias"):
            if isinstance(given.get(alias), ast.Constant):
                name = given[alias].value
                break
        default = given.get("default") or (node.args[0] if node.args else None)
        if default is not None:
            value = self.constant(default)
            return name, REQUIRED if value is Ellipsis else value
        factory = given.get("default_factory")
        if factory is None:
            return name, REQUIRED
        return name, {"list": [], "dict": {}, "set": []}.get(getattr(factory, "id", ""), UNKNOWN)


class Unknown:
    """A default that only a run can tell."""


UNKNOWN = Unknown()


def top_level(tree):
    """The statements of a module that run when it is imported, also those under `if` and `try`."""
    for node in tree.body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            for block in [node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])]:
                yield from top_level(ast.Module(body=block, type_ignores=[]))
            for handler in getattr(node, "handlers", []):
                yield from top_level(handler)


def source_of(node):
    return ast.unparse(node) if hasattr(ast, "unparse") else "this annotation"
