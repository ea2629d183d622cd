"""Models that stream: items as they come, hanging up, and failures before and after the first item."""

import json

import pytest
from conftest import ask, binary_body, read_answer, request_bytes, tensor, wait_for


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
