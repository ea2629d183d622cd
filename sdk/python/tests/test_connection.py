"""Connections: heads that are wrong, requests that stall, and what a peer can make a worker reserve."""

import json
import socket

import pytest
from conftest import ask, binary_body, output, read_answer, request_bytes, tensor

ECHO = "def predict(x: int) -> int: return x"


@pytest.mark.parametrize("text", [
    b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", b"\r\n\r\n", b"\0" * 70_000,
    b"POST /v2/models/m/infer HTTP/1.1\r\nInference-Header-Content-Length: \xbc\r\nContent-Length: 2\r\n\r\n{}", b"\xff\xfe\r\n\r\n", b":\r\n:\r\n\r\n",
    b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe", b"GET " + b"/" * 60_000 + b" HTTP/1.1\r\n\r\n",
])  # fmt: skip
def test_a_head_that_is_wrong_harms_its_connection_alone(serve, text):
    served = serve(ECHO)
    with served.connect() as wrong, served.connect() as other:
        wrong.sendall(text)
        wrong.shutdown(socket.SHUT_WR)
        other.sendall(ask(1))
        assert output(read_answer(other)) == [1]
    assert served.process.poll() is None


@pytest.mark.parametrize(
    "begin",
    [ask(1)[:50], ask(1)[:-3], request_bytes(b"x" * 200_000)[:100_000], request_bytes(b"x" * 5_000_000)[:4_000_000]],
)
def test_a_request_that_stalls_delays_nobody(serve, begin):
    served = serve(ECHO)
    with served.connect() as slow, served.connect() as other:
        slow.sendall(begin)
        for x in range(20):
            other.sendall(ask(x))
            assert output(read_answer(other)) == [x]
        if len(begin) < 60_000:
            for at in range(len(begin), len(ask(1))):
                slow.sendall(ask(1)[at : at + 1])
                other.sendall(ask(2))
                assert output(read_answer(other)) == [2]
            assert output(read_answer(slow)) == [1]
            slow.sendall(ask(3))
            assert output(read_answer(slow)) == [3]


def test_a_large_request_that_stalls_is_answered_when_it_is_whole(serve):
    served = serve("from typing import List\ndef predict(x: List[int]) -> int: return sum(x)")
    body, length = binary_body([tensor("x", "INT64", [1, 100_000], [1] * 100_000)])
    whole = request_bytes(body, length)
    with served.connect() as slow, served.connect() as other:
        for begin, end in ((0, 100_000), (100_000, 500_000), (500_000, len(whole))):
            slow.sendall(whole[begin:end])
            other.sendall(request_bytes(*binary_body([tensor("x", "INT64", [1, 2], [begin, 1])])))
            assert output(read_answer(other)) == [begin + 1]
        assert output(read_answer(slow)) == [100_000]


@pytest.mark.parametrize("wanted", [300, 30_000])
def test_an_output_asked_for_often_is_sent_once(load, wanted):
    loaded = load("def predict(x: int): return {'a': 'v' * 100_000, 'b': x}")
    out = loaded.infer(tensor("x", "INT64", [1], [1]), outputs=[{"name": "a"}] * wanted + [{"name": "b"}])
    assert list(out) == ["a", "b"] and out["a"][2] == ["v" * 100_000]


@pytest.mark.parametrize(
    "shape", [[2**62, 0], [1, 2**40, 0], [2**21, 0], [0, 2**62], [1] * 65 + [0], [2**62, 2**62, 0], [2**62]]
)
def test_a_shape_reserves_nothing(load, shape):
    loaded = load("from typing import List\ndef predict(x: List[int], y: int = 1, z: str = 'a' * 1000): return 1", {"inputs": [
        {"name": "x", "datatype": "INT64", "shape": [-1] * (len(shape) - 1)}, {"name": "y", "datatype": "INT64", "shape": [], "default": 1},
        {"name": "z", "datatype": "BYTES", "shape": [], "default": "a" * 1_000}]})  # fmt: skip
    header = {"inputs": [{"name": "x", "datatype": "INT64", "shape": shape, "parameters": {"binary_data_size": 0}}]}
    text = json.dumps(header).encode()
    answer = loaded.post(text, len(text))
    assert answer.status == 400 and len(answer.body) < 1_000
