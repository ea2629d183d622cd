"""What a pickle, also one of joblib, needs: the modules that its opcodes name, and versions that it tells.

It is read, and never loaded. What joblib writes between the opcodes, the bytes of arrays, is stepped over.
"""

import io
import re

# How files begin that joblib compresses, and the module that opens them.
COMPRESSED = [(b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ", "lzma"), (b"\x5d\x00", "lzma")]
ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
# Where modules are named by GLOBAL, and by STACK_GLOBAL with the name of what they have.
GLOBAL = re.compile(rb"c([A-Za-z_][\w.]*)\n[A-Za-z_][\w.]*\n")
STACK_GLOBAL = re.compile(rb"\x8c.([A-Za-z_][\w.]*)(?:\x94|q.)\x8c.[A-Za-z_][\w.]*(?:\x94|q.)\x93", re.S)
VERSIONS = [
    ("scikit-learn", re.compile(rb"_sklearn_version.{1,8}?(\d+\.\d+(?:\.\w+)*)", re.S)),
    ("xgboost", re.compile(rb"version\[#L.{8}i(.)i(.)i(.)", re.S)),
]
FRAMES = {"catboost", "lightgbm", "xgboost"}
ARRAY = "NumpyArrayWrapper"  # what joblib puts before the bytes of an array
MARK, UNKNOWN = object(), object()
DATA_BYTES_MAX = 1 << 28  # of what a compressed file holds, that is looked at
OPCODES_MAX = 5_000_000  # that are followed one by one


class Pickle:
    """What a file of pickle or joblib says of itself."""

    def __init__(self, path):
        data = unpacked(path)
        self.modules, self.is_whole = modules_of_data(data)
        self.versions = {}
        for name, pattern in VERSIONS:
            found = pattern.search(data)
            if found:
                parts = found.groups()
                self.versions[name] = parts[0].decode() if len(parts) == 1 else ".".join(str(part[0]) for part in parts)
        # Columns by name are asked with a frame, of which these libraries take the categories too.
        is_named = any(data.find(word, 0) >= 0 for word in (b"ColumnTransformer", b"feature_names_in_"))
        self.takes_frames = is_named or any(name.split(".")[0] in FRAMES for name in self.modules)


def unpacked(path):
    """What is in a file, decompressed as joblib would: bytes, or a map of the file."""
    import importlib
    import mmap

    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        if head[:2] in ZLIB:
            return importlib.import_module("zlib").decompressobj().decompress(file.read(), DATA_BYTES_MAX)
        for begins, module in COMPRESSED:
            if head.startswith(begins):
                with importlib.import_module(module).open(file) as inner:
                    return inner.read(DATA_BYTES_MAX)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if head else b""


def modules_of_data(data):
    """The modules that are named, in order, as the keys of a dict; and whether all of it could be followed."""
    found, file = {}, io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        Machine(file, found).run()
        return found, True
    except Exception:  # a form that is not known here: what is left is searched for names
        if not found and data[:1] not in (b"\x80", b"(", b"c"):
            raise ValueError("no pickle") from None
        for pattern in (GLOBAL, STACK_GLOBAL):
            for match in pattern.finditer(data):
                found[match.group(1).decode("ascii", "replace")] = True
        return found, False


class Machine:
    """Follows the opcodes of a pickle with as much of its stack as tells names, and the sizes of arrays."""

    def __init__(self, file, found):
        import pickletools

        self.marked, self.opcodes = pickletools.markobject, pickletools.genops
        self.file, self.found, self.stack, self.memo = file, found, [], {}

    def run(self):
        for count, (opcode, argument, _) in enumerate(self.opcodes(self.file)):
            if count > OPCODES_MAX:
                raise ValueError("too long")
            self.step(opcode, argument)

    def pop_to_mark(self):
        items = []
        while self.stack[-1] is not MARK:
            items.insert(0, self.stack.pop())
        self.stack.pop()
        return items

    def step(self, opcode, argument):
        name, stack = opcode.name, self.stack
        if name == "MARK":
            stack.append(MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo.get(int(argument), UNKNOWN))
        elif name in ("GLOBAL", "STACK_GLOBAL", "INST"):
            self.name(name, argument)
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET"):
            items = self.pop_to_mark()
            stack.append(tuple(items) if name == "TUPLE" else pairs(items) if name == "DICT" else UNKNOWN)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("SETITEMS", "SETITEM"):
            items = self.pop_to_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                stack[-1].update(pairs(items))
        elif name in ("NEWTRUE", "NEWFALSE"):
            stack.append(name == "NEWTRUE")
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            given = [stack.pop() for _ in range(len(opcode.stack_before) - 1)]
            stack[-1] = (stack[-1], given[-1])
        elif name == "BUILD":
            self.build()
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            self.other(opcode, argument)

    def name(self, name, argument):
        """A module is named, with what it has."""
        if name == "INST":
            self.pop_to_mark()
        if name == "STACK_GLOBAL":
            what, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, what = argument.partition(" ")
        if isinstance(module, str):
            self.found[module] = True
        self.stack.append(what)

    def build(self):
        state = self.stack.pop()
        made = self.stack[-1]
        if isinstance(made, tuple) and made[:1] == (ARRAY,) and isinstance(state, dict):
            self.pass_array(state)

    def pass_array(self, state):
        """Steps over the bytes of an array that joblib has written behind this."""
        code = state["dtype"][1][0]  # of the call dtype("f8", …)
        if code[:1] == "O":  # a pickle of its own
            Machine(self.file, self.found).run()
            return
        elements = 1
        for size in state["shape"]:
            elements *= size
        if state.get("numpy_array_alignment_bytes"):
            self.file.seek(self.file.read(1)[0], 1)
        end = self.file.tell() + elements * int(code[1:] if code[:1] != "U" else 4 * int(code[1:]))
        self.file.seek(end)

    def other(self, opcode, argument):
        """Whatever only moves values: its place on the stack counts, and a plain value."""
        before, after = opcode.stack_before, opcode.stack_after
        if self.marked in before:
            self.pop_to_mark()
            before = before[: before.index(self.marked)]
        kept = self.stack[-1] if before and len(before) == len(after) == 1 else UNKNOWN
        if before:
            del self.stack[-len(before) :]
        is_value = not before and isinstance(argument, (str, int))
        self.stack.extend([argument if is_value else kept] * len(after))


def pairs(items):
    """A dict of keys and values in turn, with those keys that can be one here."""
    return {key: value for key, value in zip(items[::2], items[1::2]) if isinstance(key, (str, int))}
