"""A real worker process: connections, large bodies, streams, withdrawal, failure to load, the end."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from conftest import ask, binary_body, output, read_answer, request_bytes, tensor, wait_for

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
    with serve(
        "import numpy as np\ndef predict(x: np.ndarray): return np.full((1, int(x[0])), 1.5)"
    ).connect() as connection:
        connection.sendall(ask(1_000_000, "FP64"))
        assert output(read_answer(connection)) == [1.5] * 1_000_000


def test_large_json(serve):
    with serve("from typing import List\ndef predict(x: List[int]) -> int: return sum(x)").connect() as connection:
        body = json.dumps(
            {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 100_000], "data": [1] * 100_000}]}
        ).encode()
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


@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_signals_of_the_model_neither_keep_it_busy_nor_from_its_end(serve, concurrency):
    source = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n"
    served = serve(source + ECHO, DECALOG_CONCURRENCY=concurrency)

    def ticks():
        fields = Path("/proc/%d/stat" % served.process.pid).read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    for _ in range(50):
        served.process.send_signal(signal.SIGUSR1)
    with served.connect() as connection:
        connection.sendall(ask(4))
        assert output(read_answer(connection)) == [4]
    quiet = []
    for _ in range(100):  # of many short looks, most find a worker that does nothing
        before = ticks()
        time.sleep(0.01)
        quiet.append(ticks() == before)
    assert sum(quiet) > 50
    served.process.send_signal(signal.SIGTERM)
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
