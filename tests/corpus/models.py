"""Small models of every form: what they take, what they give, and how they fail.

Functions without a return annotation that take the same share one deployment, whose batches hold the answers of several: `MANY`.
All others are deployments of their own: `FILES`, files by name.
"""

HEAD = """
import dataclasses, datetime, decimal, enum, math, uuid
from typing import *
import decalog

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

@dataclasses.dataclass
class Point:
    a: int
    b: float

class Pair(NamedTuple):
    left: str
    right: Optional[int]

def throw(error):
    raise error
"""

#: By parameters: functions by name, as expressions of these parameters.
MANY = {
    "x: int": {
        "itself": "x",
        "half": "x / 2",
        "text_of": "str(x)",
        "sign": "x > 0",
        "nothing": "None",
        "missing_at_odds": "None if x % 2 else x",
        "whole_or_half": "x if x % 2 else x + 0.5",
        "number_or_text": "x if x % 3 else 'three'",
        "large_beside_fraction": "2**53 + 1 + x % 5 if x % 2 else 0.5",
        "beyond_64_bits": "2**(60 + x % 8)",
        "own_key": "{'greeting': 'hi', 'k%d' % (x % 7): x}",
        "keys_or_none": "{} if x % 3 == 0 else {'a': x} if x % 3 == 1 else {'a': str(x), 'b': None}",
        "record_or_scalar": "{'a': x} if x % 2 else x",
        "own_length": "[x] * (x % 4)",
        "ragged": "[[1] * n for n in range(x % 4)]",
        "square": "[[x, x + 1], [x + 2, x + 3]]",
        "mixed_list": "[x, None, 'a', 0.5][: x % 5]",
        "nested": "{'a': {'b': [x, {'c': None}]}, 'd': (x, 'e')}",
        "a_set": "{x % 3, x % 5}",
        "a_point": "Point(x, x / 4) if x % 2 else Point(0, 1)",
        "a_pair": "Pair(str(x), None if x % 2 else x)",
        "a_color": "Color.RED if x % 2 else Color.BLUE",
        "a_date": "datetime.date(2000 + x % 50, 1, 1)",
        "a_time": "datetime.datetime(2000 + x % 50, 1, 1, 12, 30, 15, x % 1000)",
        "a_time_elsewhere": "datetime.datetime(1900 + x % 90, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=1172 * (x % 3))))",
        "some_bytes": "bytes([x % 256, 255])",
        "a_decimal": "decimal.Decimal(x) / 8",
        "an_id": "uuid.UUID(int=abs(x) % 2**64)",
        "not_finite": "[math.nan, math.inf, -math.inf, 1.5][x % 4]",
        "half_a_pair": "'\\ud83d' if x % 2 else '\\U0001f600'",
        "raises": "throw(ValueError('odd: %d' % x)) if x % 2 else x",
        "raises_oddly": "throw(KeyError('\\ud83d')) if x % 5 == 0 else {'x': x}",
        "leaves": "throw(SystemExit(x)) if x % 7 == 0 else [x]",
        "refuses": "throw(decalog.BadInput('%d is too odd' % x)) if x % 3 == 0 else x",
        "without_form": "object() if x % 4 == 0 else {'x': x}",
    },
    "text: str": {
        "echo": "text",
        "length": "{'greeting': 'hi', text: len(text)}",
        "letters": "{letter: text.count(letter) for letter in text[:5]}",
        "words": "text.split()",
        "reversed_text": "text[::-1]",
        "as_bytes": "text.encode()",
        "as_number": "float(text)",
        "first": "text[0]",
    },
}  # fmt: skip

#: By name: the parameters, the return annotation and the body.
DECLARED = {
    "whole": ("x: int", "int", "x if x % 5 else x + 0.5"),
    "fraction": ("x: float", "float", "x / 3"),
    "word": ("x: str", "str", "x.upper() if x else None"),
    "truth": ("x: bool, y: bool = True", "bool", "x and y"),
    "maybe": ("x: Optional[int] = None", "Optional[float]", "None if x is None else x / 2"),
    "maybe_list": ("x: Optional[List[float]] = None", "Optional[List[float]]", "None if x is None else x[::-1]"),
    "sums": ("x: List[List[int]]", "List[int]", "[sum(row) for row in x]"),
    "transposed": ("x: List[List[float]]", "List[List[float]]", "[list(row) for row in zip(*x)]"),
    "triangle": ("n: int", "List[List[int]]", "[list(range(k)) for k in range(n % 4)]"),
    "two": ("x: Tuple[float, float]", "Tuple[float, float]", "(x[1], x[0])"),
    "keyed": ("x: int, y: Optional[float] = None", "Dict[str, float]", 'return {"a": x, "b": x / 2} if y is None else {"a": x, "c": y}'),
    "record": ("x: int, c: Color", "Point", "Point(x, 0.5) if c is Color.RED else throw(decalog.BadInput('blue'))"),
    "pair": ("x: dict", "Pair", "Pair(str(sorted(x)), len(x) or None)"),
    "grade": ('x: Literal[1, 2, 3], y: str = "z"', 'Literal["low", "high", "other"]', '{1: "low", 2: "high"}.get(x, y)'),
    "tomorrow": ("t: datetime.datetime", "datetime.datetime", "t + datetime.timedelta(days=1)"),
    "anything": ("x: Any", "Any", "x"),
    "raw": ("x: bytes, k: int = 3", "bytes", "x * (k % 4)"),
    "greeting": ("name: str", "dict", "{'greeting': 'hi', name: len(name)}"),
    "lengths": ("n: int", "list", "[n / 2] * (n % 4)"),
    "either": ("n: int", "Any", "n if n % 2 else n + 0.5"),
    "gap": ("n: int", "Dict[str, Any]", "{'a': n} if n % 2 else {'a': None, 'b': [n]}"),
    "later": ("x: int", "int", "ASYNC x if x % 3 else throw(RuntimeError('later'))"),
}  # fmt: skip

#: Models that take all rows at once.
TOGETHER = {
    "matrix": "def predict(x: np.ndarray) -> np.ndarray: return x * 2",
    "single": "def predict(x: NDArray[np.float32]) -> NDArray[np.float32]: return x.sum(axis=tuple(range(1, x.ndim)))",
    "fixed": "def predict(x: Annotated[np.ndarray, 'INT64', (2, 3)]): return {'t': x.transpose(0, 2, 1), 'm': x.max(axis=(1, 2))}",
    "beside": "def predict(x: np.ndarray, n: Optional[int], s: str, b: bool): return {'n': n, 's': [t + '!' for t in s], 'b': ~b, 'kind': [str(n.dtype)] * len(n)}",
    "listed": "def predict(x: np.ndarray): return [float(row.sum()) if row.sum() > 0 else None if row.sum() == 0 else 'minus' for row in x]",
    "rows": "def predict(x: np.ndarray): return [{'k%d' % (row.size and int(abs(row.flat[0])) % 3): row.sum()} for row in x]",
    "strict": "def predict(x: np.ndarray) -> np.ndarray:\n    if (x < 0).any(): raise decalog.BadInput('negative')\n    return np.sqrt(x)",
    "frame": "def predict(f: Annotated[pd.DataFrame, {'i': Optional[int], 'u': Optional[bool], 'f': Optional[float], 's': Optional[str], 't': Optional[datetime.datetime], 'n': int}]):\n"
             "    return pd.DataFrame({'i': f.i, 'u': f.u, 'f': f.f, 's': f.s, 't': f.t, 'sum': f.n + f.n, 'kinds': [' '.join(map(str, f.dtypes))] * len(f)})",
    "mixed_frame": "def predict(f: Annotated[pd.DataFrame, {'a': float, 'b': float}]): return pd.DataFrame({'o': [a if a > 1 else str(b) for a, b in zip(f.a, f.b)]}, dtype=object)",
}  # fmt: skip
TOGETHER_HEAD = HEAD + "import numpy as np, pandas as pd\nfrom numpy.typing import NDArray\n"

#: A program that speaks plain JSON: keys, types and failures of each row are its own.
PROGRAM = '''
import json, os, socketserver
from http.server import BaseHTTPRequestHandler

def answer(row):
    x = row["x"]
    if x % 5 == 0:
        raise ValueError("five divides %d" % x)
    return {KEYS}

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.reply(200, {})
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        try:
            self.reply(200, {"rows": [answer(row) for row in rows]})
        except ValueError as error:
            self.reply(500, {"error": str(error)})

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = daemon_threads = True

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''
PROGRAM_MANIFEST = """
[model]
runtime = "command"
command = ["python3", "serve.py"]
path = "/predict"
[schema]
inputs = [{ name = "x", datatype = "INT64", shape = [] }]
"""
PROGRAM_OUTPUTS = 'outputs = [{ name = "a", datatype = "INT64", shape = [] }, { name = "b", datatype = "BYTES", shape = [], nullable = true }]\n'


def python_files():
    """Directories of Python models by name."""
    files = {}
    for at, (parameters, functions) in enumerate(MANY.items()):
        name = parameters.split(":")[0]
        source = HEAD + "".join(f"def {function}({name}): return {body}\n" for function, body in functions.items())
        names = ", ".join(map(repr, functions))
        source += f"def predict(which: Literal[{names}], {parameters}): return globals()[which]({name})\n"
        files[f"many{at}"] = {"model.py": source}
    for name, (parameters, returns, body) in DECLARED.items():
        kind = "async def" if body.startswith("ASYNC ") else "def"
        body = body.removeprefix("ASYNC ")
        body = body if body.startswith("return") else "return " + body
        files[name] = {"model.py": f"{HEAD}\n{kind} predict({parameters}) -> {returns}:\n    {body}\n"}
    for name, source in TOGETHER.items():
        files[name] = {"model.py": TOGETHER_HEAD + source + "\n", "requirements.txt": "numpy\npandas\n"}
    return files


def program_files():
    """Directories of programs by name."""
    own = PROGRAM.replace("{KEYS}", "{'k%d' % (x % 3): x, 'z': None if x % 2 else str(x)}")
    fixed = PROGRAM.replace("{KEYS}", "{'a': x, 'b': None if x % 2 else str(x)}")
    return {
        "program": {"serve.py": own, "decalog.toml": PROGRAM_MANIFEST},
        "typed_program": {"serve.py": fixed, "decalog.toml": PROGRAM_MANIFEST + PROGRAM_OUTPUTS},
    }


def graph_files():
    """Directories of ONNX graphs by name."""
    import numpy as np
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    def graph(name, nodes, inputs, outputs, constants=()):
        tensors = [[helper.make_tensor_value_info(*item) for item in items] for items in (inputs, outputs)]
        made = helper.make_graph(nodes, name, *tensors, [numpy_helper.from_array(value, key) for key, value in constants])
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return {f"{name}.onnx": model.SerializeToString()}

    node = helper.make_node
    return {
        "affine": graph("affine", [node("Gemm", ["x", "w"], ["y"])], [("x", T.FLOAT, ["n", 3])], [("y", T.FLOAT, ["n", 2])],
                        [("w", np.float32([[1, 2], [3, 4], [5, 6]]))]),
        "passed": graph("passed", [node("Identity", [name], [name + "_out"]) for name in "abc"],
                        [("a", T.INT64, ["n"]), ("b", T.STRING, ["n", 2]), ("c", T.BOOL, ["n", 1])],
                        [("a_out", T.INT64, ["n"]), ("b_out", T.STRING, ["n", 2]), ("c_out", T.BOOL, ["n", 1])]),
        "largest": graph("largest", [node("ArgMax", ["x"], ["at"], axis=1, keepdims=0), node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0)],
                         [("x", T.DOUBLE, ["n", "m"])], [("at", T.INT64, ["n"]), ("sum", T.DOUBLE, ["n"])], [("axis", np.int64([1]))]),
        # Sums over all rows, and places of what is not zero: the first says that it gives rows, the second that it does not.
        "totals": graph("totals", [node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)], [("x", T.FLOAT, ["n", 3])],
                        [("y", T.FLOAT, ["m", 3])], [("axis", np.int64([0]))]),
        "total": graph("total", [node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)], [("x", T.FLOAT, ["n", 3])],
                       [("y", T.FLOAT, [3])], [("axis", np.int64([0]))]),
        "marked": graph("marked", [node("NonZero", ["x"], ["y"])], [("x", T.FLOAT, ["n"])], [("y", T.INT64, [1, "k"])]),
        "places": graph("places", [node("NonZero", ["x"], ["y"])], [("x", T.FLOAT, ["n", 3])], [("y", T.INT64, [2, "k"])]),
    }  # fmt: skip


def count():
    """How many models there are, however many deployments they share."""
    many = sum(len(functions) for functions in MANY.values())
    return many + len(DECLARED) + len(TOGETHER) + len(program_files()) + len(graph_files())
