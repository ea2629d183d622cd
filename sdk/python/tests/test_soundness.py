"""Whatever a model raises, prints, returns or changes, and whatever one connection sends, the next request is answered."""

import signal
import socket
import sys
import threading

import pytest
from conftest import ask, binary_body, output, read_answer, read_parts, request_bytes, tensor

HEAD = """
import builtins, datetime, enum, gc, io, json, os, select, signal, socket, struct, sys, threading, time, traceback, warnings

class Odd:
    def __init__(self, *names): self.names = names
    def fail(self, name):
        if name in self.names: raise SystemExit(name)
    def __len__(self): self.fail("len"); return 1
    def __iter__(self): self.fail("iter"); return iter([1])
    def __str__(self): self.fail("str"); return "odd"
    def __repr__(self): self.fail("repr"); return "odd"
    def __hash__(self): self.fail("hash"); return 1
    def __eq__(self, other): self.fail("eq"); return self is other
    def __getattr__(self, name):
        if "getattr" in self.names and not name.startswith("__"): raise KeyboardInterrupt(name)
        raise AttributeError(name)

class Zone(datetime.tzinfo):
    def utcoffset(self, at): raise ValueError("nowhere")

class Broken(Exception):
    def __str__(self): raise KeyboardInterrupt("no text")

class Deleted:
    def __del__(self): raise ValueError("deleted")

def cycle():
    items = [1]
    items.append(items)
    return items

def deep(depth):
    items = []
    for _ in range(depth): items = [items]
    return items

def throw(error): raise error

def recurse(x): return recurse(x)
"""

RAISED = [
    "ValueError('\\ud83d')", "ValueError(b'\\xff')", "SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()", "RecursionError('r')", "MemoryError()",
    "StopIteration(1)", "StopAsyncIteration()", "Broken()", "OSError(9, 'x')", "BrokenPipeError()", "TimeoutError('t')", "ValueError('x' * 10_000_000)",
    "ValueError(*['\\0\\r\\n'] * 9)", "type('É\\ud83d', (Exception,), {})('x')", "UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'no')", "KeyError(Odd('repr'))",
]  # fmt: skip
RETURNED = [
    "cycle()", "deep(100_000)", "10 ** 5_000", "[10 ** 5_000]", "Odd('len', 'iter')", "[Odd('len')]", "Odd('str', 'repr')", "{Odd('str'): 1}", "Odd('getattr')",
    "{'a': Odd('repr', 'str')}", "{float('nan'): 1, 'nan': 2}", "{1: 1, '1': 2}", "object()", "lambda: 1", "iter([1])", "(i for i in [1])", "Ellipsis",
    "datetime.datetime(2026, 1, 1, tzinfo=Zone())", "threading.Lock()", "type", "NotImplemented", "{(1, 2): {(1, 2): 3}}", "__import__('decimal').Decimal('sNaN')",
]  # fmt: skip
ANSWERED = [
    ("'\\ud83d'", "\ufffd"), ("'\\ud83d\\ude00'", "\U0001f600"), ("{'a': ['\\ud83d']}", None), ("{'\\udfff': 1}", None), ("b'\\xff'", None), ("'\\0'", "\0"),
    ("datetime.datetime(1900, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=1172)))", "1899-12-31T23:40:28Z"),
    ("print('\\ud83d', file=sys.stderr) or print('\\udcff') or 1", 1), ("{float('nan'): 1}", None), ("Deleted() and 1", 1), ("gc.collect() and 1 or 1", 1),
    ("[print('x' * 1000) for _ in range(300)] and 1", 1), ("warnings.warn('w') or 1", 1), ("sys.settrace(None) or 1", 1), ("[float('nan')]", None),
    ("threading.Thread(target=throw, args=(ValueError('in a thread'),)).start() or 1", 1), ("exec('raise SystemExit') if 0 else True", True),
]  # fmt: skip


def one_by_one(served, count):
    """The answers to x = 0, 1, … over one connection, and then of all in one batch."""
    answers = []
    threading.Thread(target=served.process.stderr.read, daemon=True).start()  # as the supervisor does
    with served.connect() as connection:
        for x in range(count):
            connection.sendall(ask(x))
            answers.append(read_answer(connection))
        connection.sendall(request_bytes(*binary_body([tensor("x", "INT64", [count], list(range(count)))])))
        together = read_answer(connection)
    assert together.status == 200 and served.process.poll() is None
    return answers, read_parts(together.body, together.json_length)


def lambdas(items):
    return "[%s]" % ", ".join("lambda: " + item for item in items)


def test_what_a_model_raises_fails_its_row_alone(serve):
    served = serve(
        HEAD
        + "\nDO = %s\ndef predict(x: int): return DO[x]()"
        % lambdas(["throw(%s)" % error for error in RAISED] + ["recurse(1)", "7"])
    )
    answers, parts = one_by_one(served, len(RAISED) + 2)
    for answer, (rows, part) in zip(answers[:-1], parts):
        assert answer.status == 500 and rows == 1 and answer.json() == part and part["code"] == "model_raised", part
        assert len(part["error"]) <= 2_000
    assert output(answers[-1]) == [7] and parts[-1][1]["output"][2] == [7]


def test_what_a_model_returns_fails_its_row_alone(serve):
    served = serve(HEAD + "\nDO = %s\ndef predict(x: int): return DO[x]()" % lambdas(RETURNED + ["7"]))
    answers, parts = one_by_one(served, len(RETURNED) + 1)
    for source, answer, (rows, part) in zip(RETURNED, answers, parts):
        assert answer.status == 500 and answer.json()["code"] == "bad_output", (source, answer.body)
        assert rows == 1 and part["code"] == "bad_output", (source, part)
    assert output(answers[-1]) == [7] and parts[-1][1]["output"][2] == [7]


def test_odd_text_and_side_effects_are_answered(serve):
    served = serve(
        HEAD + "\nDO = %s\ndef predict(x: int): return DO[x]()" % lambdas([source for source, _ in ANSWERED])
    )
    answers, _ = one_by_one(served, len(ANSWERED))
    for (source, expected), answer in zip(ANSWERED, answers):
        assert answer.status == 200, (source, answer.body)
        if expected is not None:
            assert output(answer) == [expected], source


def test_numpy_values_of_all_kinds(serve):
    pytest.importorskip("numpy")
    good = [
        "np.array(5)",
        "np.float16(1)",
        "np.array([{}, 1], object)",
        "np.array(None)",
        "np.zeros((2, 0))",
        "np.array(['\\ud83d'])",
        "np.datetime64('NaT')",
        "np.ma.masked_array([1], [True])",
    ]
    bad = [
        "np.zeros(1, dtype=[('a', int), ('b', float)])",
        "np.complex128(1)",
        "np.timedelta64(1, 'D')",
        "np.array([object()])",
        "np.array([lambda: 1])",
    ]
    served = serve(HEAD + "\nimport numpy as np\nDO = %s\ndef predict(x: int): return DO[x]()" % lambdas(good + bad))
    answers, parts = one_by_one(served, len(good + bad))
    statuses = dict(zip(good + bad, [answer.status for answer in answers]))
    assert statuses == dict.fromkeys(good, 200) | dict.fromkeys(bad, 500) if sys.version_info >= (3, 9) else True


CHANGES = [
    "sys.stderr = sys.stdout = None", "sys.stderr.close(); sys.stdout.close()", "os.close(1); os.close(2)", "os.close(0); os.close(1); os.close(2); open('/dev/null')",
    "os.chdir('/')", "os.mkdir('/tmp/decalog-%d' % os.getpid()); os.chdir('/tmp/decalog-%d' % os.getpid()); os.rmdir(os.getcwd())",
    "socket.setdefaulttimeout(0.001)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "os.environ.clear()", "sys.modules.clear()", "sys.path.clear()",
    "warnings.simplefilter('error')", "sys.setrecursionlimit(120)", "gc.disable(); gc.set_threshold(1)", "sys.meta_path.clear(); sys.path_hooks.clear()",
    "threading.Thread(target=threading.Event().wait).start()", "signal.setitimer(signal.ITIMER_REAL, 0.01)", "os.umask(0o777)", "json.dumps = json.loads = None",
]  # fmt: skip
PATCHED = (
    "socket.socket socket.socketpair select.epoll select.poll os.write os.read os.close os.dup2 os.fork os.stat struct.pack struct.unpack struct.Struct json.dumps \
           json.loads json.JSONEncoder traceback.format_exc traceback.extract_tb traceback.format_list threading.Thread threading.Lock time.sleep time.monotonic builtins.open \
           builtins.print signal.signal os.path.exists os.unlink os.getcwd"
)


@pytest.mark.parametrize("when", ["loaded", "asked"])
@pytest.mark.parametrize("change", CHANGES + ["PATCH"])
def test_what_a_model_changes_of_its_process(serve, change, when):
    if change == "PATCH":
        change = "throw_ = lambda *a, **k: throw(RuntimeError('patched')); %s" % "; ".join(
            "%s = throw_" % name for name in PATCHED.split()
        )
    alarm = "\ndef ring(*_): raise TimeoutError('alarm')\nsignal.signal(signal.SIGALRM, ring)\n"
    if "itimer" in change and when == "loaded":
        pytest.skip("an alarm that rings while a model is loaded fails its load")
    do = "    if x == 0: exec(CHANGE, globals())\n    return x\n"
    now = "\nexec(CHANGE, globals())\n" if when == "loaded" else "\n"
    served = serve(
        HEAD
        + alarm
        + "CHANGE = %r%sdef predict(x: int) -> int:\n%s" % (change, now, do if when == "asked" else "    return x\n")
    )
    for _ in range(2):
        for x in (0, 5, 6):
            with served.connect() as connection:
                connection.sendall(ask(x))
                try:
                    answer = read_answer(connection)
                except (AssertionError, ConnectionError):
                    assert "itimer" in change  # it rang while the worker read
                    continue
                assert answer.status == 200 or "itimer" in change, answer.body
    assert served.process.poll() is None
    if "SIG_IGN" not in change or when == "loaded":
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0


def test_a_descriptor_that_a_model_closes_is_nobodys_answer(serve):
    """The next connection would get the number of standard output, and with it what is printed."""
    served = serve(
        "import os\ndef predict(x: int) -> int:\n    if x == 0: os.close(1); os.close(2)\n    else:\n        os.write(1, b'out'); os.write(2, b'err')\n    return x"
    )
    for x in (0, 1, 2):
        with served.connect() as connection:
            connection.sendall(ask(x))
            assert output(read_answer(connection)) == [x]


def test_a_model_that_forks_answers_once(serve):
    served = serve("import os\ndef predict(x: int) -> int:\n    return os.fork() and 7 if x else 7")
    with served.connect() as connection:
        for x in (1, 0):
            connection.sendall(ask(x))
            assert output(read_answer(connection)) == [7]
        connection.settimeout(0.2)
        with pytest.raises(socket.timeout):
            connection.recv(1)


@pytest.mark.parametrize("concurrency", ["1", "2"])
@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "KeyboardInterrupt()", "asyncio.CancelledError()", "ValueError('\\ud83d')"]
)
def test_coroutines_fail_alone(serve, error, concurrency):
    served = serve("import asyncio\nasync def predict(x: int) -> int:\n    await asyncio.sleep(0)\n    if x == 0: raise %s\n    return x" % error,
                   DECALOG_CONCURRENCY=concurrency)  # fmt: skip
    answers, parts = one_by_one(served, 3)
    assert [answer.status for answer in answers] == [500, 200, 200]
    assert parts[0][1]["code"] == "model_raised" and parts[1][1]["output"][2] == [1, 2]


ECHO = "def predict(x: int) -> int: return x"
