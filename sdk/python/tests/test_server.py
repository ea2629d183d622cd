"""A real worker process: connections, large bodies, streams, withdrawal, failure to load, the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from conftest import WORKER, ask, binary_body, output, read_answer, request_bytes, tensor, wait_for

ECHO = "def predict(x: int) -> int: return x"
SLOW = """
import os, time
def predict(x: int) -> int:
    open("begun%d" % x, "w").close()
    while not os.path.exists("go"):
        time.sleep(0.005)
    return x
"""


def test_one_connection_many_requests_in_pieces_and_together(serve):
    with serve(ECHO).connect() as connection:
        for x in range(50):
            connection.sendall(ask(x))
            assert output(read_answer(connection)) == [x]
        for at in range(len(ask(7))):
            connection.sendall(ask(7)[at : at + 1])
        assert output(read_answer(connection)) == [7]
        connection.sendall(ask(8) + request_bytes(path="/v2/health/ready", method="GET"))
        data = b""
        while data.count(b"HTTP/1.1 200 OK") < 2:
            data += connection.recv(65536)


def test_large_tensors_in_any_order_of_sizes(serve):
    np = pytest.importorskip("numpy")
    served = serve("""
        import numpy as np
        kept = []
        def predict(x: np.ndarray, k: bool) -> np.ndarray:
            kept.append(x)
            assert x.flags.writeable and x.flags.aligned
            return np.array([[x.sum(), kept[0][0, 0], len(kept)]])
    """)
    with served.connect() as connection:
        for count, size in enumerate([75_000, 8_192, 8_000, 75_000, 300_000, 10], 1):
            values = np.full((1, size), float(count))
            header = {"name": "x", "datatype": "FP64", "shape": [1, size], "parameters": {"binary_data_size": size * 8}}
            body, length = binary_body([(header, values.tobytes()), tensor("k", "BOOL", [1], [True])])
            connection.sendall(request_bytes(body, length))
            assert output(read_answer(connection)) == [size * count, 1.0, count]


def test_large_answers(serve):
    pytest.importorskip("numpy")
    with serve(
        "import numpy as np\ndef predict(x: np.ndarray): return np.full((1, int(x[0])), 1.5), np.zeros(1)"
    ).connect() as connection:
        connection.sendall(ask(1, "FP64"))
        assert read_answer(connection).status == 500
    with serve("import numpy as np\ndef predict(x: np.ndarray): return np.full((1, int(x[0])), 1.5)").connect() as connection:
        connection.sendall(ask(1_000_000, "FP64"))
        assert output(read_answer(connection)) == [1.5] * 1_000_000


def test_large_json(serve):
    with serve("from typing import List\ndef predict(x: List[int]) -> int: return sum(x)").connect() as connection:
        body = json.dumps({"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 100_000], "data": [1] * 100_000}]}).encode()
        connection.sendall(request_bytes(body))
        assert read_answer(connection).json()["outputs"][0]["data"] == [100_000]


def test_a_connection_that_was_closed_is_dropped_unrun(serve, tmp_path):
    served = serve(SLOW)
    directory = tmp_path / "model1"
    with served.connect() as first, served.connect() as third:
        second = served.connect()
        first.sendall(ask(1))
        wait_for((directory / "begun1").exists)
        second.sendall(ask(2))
        second.close()
        (directory / "go").touch()
        assert output(read_answer(first)) == [1]
        third.sendall(ask(3))
        assert output(read_answer(third)) == [3]
    assert not (directory / "begun2").exists()


def test_a_request_that_ends_half_way_harms_nobody(serve):
    served = serve(ECHO)
    for text in (ask(1)[:-3], b"POST /v2", request_bytes(b"x" * 200_000)[:100_000]):
        with served.connect() as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            try:
                assert connection.recv(100) == b""
            except ConnectionError:
                pass
    with served.connect() as connection:
        connection.sendall(ask(1))
        assert output(read_answer(connection)) == [1]


@pytest.mark.parametrize("text", [b"x" * 70_000, b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                  b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"])  # fmt: skip
def test_heads_that_cannot_be_served_close_the_connection(serve, text):
    with serve(ECHO).connect() as connection:
        connection.sendall(text)
        data = b""
        try:
            while True:
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
        except ConnectionError:
            pass
    assert data == b"" or data.startswith(b"HTTP/1.1 400 ")


def test_http_1_0_is_answered_and_closed(serve):
    with serve(ECHO).connect() as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        assert read_answer(connection).headers["connection"] == "close"
        assert connection.recv(10) == b""


def test_several_at_a_time(serve, tmp_path):
    served = serve(SLOW, DECALOG_CONCURRENCY="3")
    directory = tmp_path / "model1"
    connections = [served.connect() for _ in range(4)]
    for x, connection in enumerate(connections):
        connection.sendall(ask(x))
    wait_for(lambda: sum((directory / ("begun%d" % x)).exists() for x in range(4)) == 3)
    (directory / "go").touch()
    assert [output(read_answer(connection)) for connection in connections] == [[x] for x in range(4)]
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


def test_many_connections_from_threads(serve):
    served, wrong = serve("async def predict(x: int) -> int: return x", DECALOG_CONCURRENCY="2"), []

    def client(number):
        with served.connect() as connection:
            for x in range(100):
                connection.sendall(ask(number * 1000 + x))
                if output(read_answer(connection)) != [number * 1000 + x]:
                    wrong.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


def test_the_end_waits_for_what_runs_and_what_has_arrived(serve, tmp_path):
    served = serve(SLOW)
    directory = tmp_path / "model1"
    with served.connect() as first, served.connect() as second:
        first.sendall(ask(1))
        wait_for((directory / "begun1").exists)
        second.sendall(ask(2))
        served.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not os.path.exists(served.socket))
        with pytest.raises(OSError):
            served.connect()
        (directory / "go").touch()
        for connection, x in ((first, 1), (second, 2)):
            answer = read_answer(connection)
            assert output(answer) == [x] and answer.headers["connection"] == "close"
    assert served.process.wait(30) == 0


def test_threads_of_the_model_do_not_keep_the_process(serve):
    served = serve("import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + ECHO)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0


def test_leaving_is_the_models_own_death(serve):
    served = serve("import os\ndef predict(x: int): os._exit(7)")
    with served.connect() as connection:
        connection.sendall(ask(1))
        assert connection.recv(10) == b""
    assert served.process.wait(30) == 7


def read_events(connection):
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n") and not data.endswith(b"\r\n\r\n0\r\n\r\n"):
        piece = connection.recv(65536)
        assert piece, data
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    text = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text, rest = text + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return head.decode(), text.decode()


STREAM = """
import os, time
def predict(x: int):
    try:
        for i in range(x):
            if i == 99: raise ValueError("no more")
            yield {"i": i}
            if x == 50:
                while not os.path.exists("go%d" % i): time.sleep(0.005)
    finally:
        open("closed", "w").close()
"""


def test_streams(serve, tmp_path):
    served = serve(STREAM)
    with served.connect() as connection:
        for x in (2, 0):
            connection.sendall(ask(x))
            head, text = read_events(connection)
            assert "200 OK" in head and "text/event-stream" in head
            assert text == "".join('data: {"i":%d}\n\n' % i for i in range(x))
        connection.sendall(request_bytes(*binary_body([tensor("x", "INT64", [2], [1, 2])])))
        assert read_answer(connection).status == 400
        connection.sendall(ask(100))
        _, text = read_events(connection)
        assert '"i":98' in text
        problem = json.loads(text.partition("event: error\ndata: ")[2])
        assert (
            problem["code"] == "model_raised"
            and problem["error"] == "ValueError: no more"
            and 'File "model.py"' in problem["details"][0]
        )


def test_an_item_leaves_before_the_next_is_computed_and_hanging_up_closes(serve, tmp_path):
    served = serve(STREAM)
    directory = tmp_path / "model1"
    with served.connect() as connection:
        connection.sendall(ask(50))
        data = b""
        for i in range(3):
            while b'"i":%d}' % i not in data:
                data += connection.recv(65536)
            (directory / ("go%d" % i)).touch()
        while b'"i":3}' not in data:
            data += connection.recv(65536)
    (directory / "go3").touch()
    wait_for((directory / "closed").exists)
    assert not (directory / "go4").exists()
    with served.connect() as connection:
        connection.sendall(ask(1))
        read_events(connection)


@pytest.mark.parametrize("source", [
    "def predict(x: int):\n    raise KeyError('k')\n    yield 1",
    "def predict(x: int):\n    yield object()",
])  # fmt: skip
def test_a_stream_that_fails_before_its_first_item_is_an_error(serve, source):
    with serve(source).connect() as connection:
        connection.sendall(ask(1))
        answer = read_answer(connection)
        assert answer.status == 500 and answer.json()["code"] in ("model_raised", "bad_output")


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_asynchronous_streams(serve, concurrency):
    served = serve(
        "import asyncio\nasync def predict(x: int):\n    for i in range(x):\n        await asyncio.sleep(0)\n        yield i",
        DECALOG_CONCURRENCY=concurrency,
    )
    with served.connect() as connection:
        connection.sendall(ask(3))
        assert read_events(connection)[1] == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("source, expected", [
    ("import os\n\nclf = open('churn.jobli')\n" + ECHO,
     'File "model.py", line 3, in <module>\n  clf = open(\'churn.jobli\')\nFileNotFoundError: [Errno 2] No such file or directory: \'churn.jobli\'\n'),
    ("def predict(x: int:\n    pass\n", 'File "model.py", line 1\n  def predict(x: int:\n'),
    ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'\n"),
    ("raise SystemExit(3)\n", "SystemExit: 3\n"),
    ("class Model:\n    def load(self, path):\n        raise ValueError('weights')\n    def predict(self, x: int): ...", 'line 3, in load\n  raise ValueError(\'weights\')\nValueError: weights\n'),
    ("def train(): ...", "model.py has no function `predict`"),
    ("import pandas as pd\ndef predict(df: pd.DataFrame): ...", "[schema] inputs"),
])  # fmt: skip
def test_a_model_that_does_not_load(serve, source, expected):
    served = serve(source, wait=False)
    assert served.process.wait(60) == 1
    text = served.failure.read_text()
    assert expected in text and "worker.py" not in text and "importlib" not in text
    assert not os.path.exists(served.socket)


def test_errors_of_a_chain_name_the_cause(serve):
    served = serve("try:\n    {}['k']\nexcept KeyError as error:\n    raise RuntimeError('broken') from error", wait=False)
    assert served.process.wait(60) == 1
    assert served.failure.read_text().endswith("RuntimeError: broken\ncaused by KeyError: 'k'\n")


def test_the_manifest_arrives_by_variable(serve):
    columns = [{"name": "x", "datatype": "FP32", "shape": [2]}]
    served = serve("def predict(x): return sum(x)", DECALOG_SCHEMA=json.dumps({"inputs": columns}))
    with served.connect() as connection:
        connection.sendall(request_bytes(*binary_body([tensor("x", "FP32", [1, 2], [0.5, 1.0])])))
        assert output(read_answer(connection)) == [1.5]


def test_importing_the_worker_serves_as_well(model, tmp_path):
    """This is how its bytecode is kept; a module of the model's that is named like one of the worker's own does no harm."""
    directory = model(ECHO, select="raise ImportError('of the model')")
    start = "import sys; sys.path[0] = sys.argv.pop(1); import worker; worker.run(sys.argv[1:])"
    path = str(tmp_path / "s.sock")
    process = subprocess.Popen(
        [sys.executable, "-c", start, str(WORKER.parent)], cwd=str(directory), env={"DECALOG_SOCKET": path}
    )
    try:
        wait_for(lambda: os.path.exists(path) or process.poll() is not None)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
