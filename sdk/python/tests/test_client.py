"""The client against a small real HTTP server."""

import datetime
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

import decalog


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.ports.append(self.client_address[1])
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/v1/models":
            self.answer(200, {"models": [{"name": "churn", "project": query.get("project")}]})
        elif url.path == "/v1/events" and "follow" in query:
            self.answer(200, b'{"seq":1}\n\n{"seq":2}\n')
        elif url.path == "/v1/events":
            # A page looks at so much and no more, whatever it finds there.
            events = [query] if query["after"] == "9.1" else []
            self.answer(200, {"events": events, "next": "9.1", "more": not events})
        elif url.path == "/v1/status":
            self.answer(200, b"<html>")
        else:
            self.answer(200, {"path": url.path})

    def do_POST(self):
        self.server.ports.append(self.client_address[1])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "/stream/" in self.path:
            return self.stream(body)
        if "/broken/" in self.path:
            return self.answer(502, b"bad gateway")
        if "/silent/" in self.path:
            return self.server.released.wait()
        if "/refused/" in self.path:
            problem = {
                "code": "schema_mismatch",
                "error": "the row does not fit churn v1",
                "details": ["age  expected INT64"],
                "help": "decalog show churn",
            }
            return self.answer(422, problem, Decalog_Request_Id="r1")
        if "/closing/" in self.path:
            self.answer(200, body)
            self.close_connection = True
            return None
        echo = lambda row: dict(row, path=self.path, deadline=self.headers["Decalog-Timeout-Ms"])  # noqa: E731
        return self.answer(200, {"rows": [echo(row) for row in body["rows"]]} if "rows" in body else echo(body))

    def stream(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        texts = ["data: %d\n\n" % i for i in range(body["n"])]
        if body.get("fails"):
            texts.append('event: error\ndata: {"code":"model_raised","error":"ValueError: no"}\n\n')
        for text in texts + [""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ports, server.released = [], threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(server):
    with decalog.Client("http://127.0.0.1:%d/" % server.server_address[1], timeout=30) as client:
        yield client


def test_one_row_and_many(client):
    assert client.predict("churn", {"age": 1}) == {"age": 1, "path": "/v1/models/churn/predict", "deadline": None}
    rows = client.predict_rows("p/churn@staging@v3", iter([{"age": 1}, {"age": 2}]), deadline_ms=50)
    assert [row["age"] for row in rows] == [1, 2]
    assert rows[0]["path"] == "/v1/models/p/churn@staging@v3/predict" and rows[0]["deadline"] == "50"


def test_a_connection_is_kept_and_each_thread_has_its_own(client, server):
    for _ in range(3):
        client.predict("churn", {})
    thread = threading.Thread(target=client.predict, args=("churn", {}))
    thread.start()
    thread.join()
    assert len(set(server.ports[:3])) == 1 and server.ports[3] not in server.ports[:3]


def test_a_connection_that_was_closed_is_opened_again(client, server):
    client.predict("closing", {})
    assert client.predict("churn", {"a": 1})["a"] == 1
    client.predict("churn", {})
    client._local.connection.sock.shutdown(socket.SHUT_RDWR)
    assert client.predict("churn", {"a": 2})["a"] == 2


def test_errors_carry_what_the_server_said(client):
    with pytest.raises(decalog.Error) as caught:
        client.predict("refused", {})
    error = caught.value
    assert (error.code, error.status, error.request_id) == ("schema_mismatch", 422, "r1")
    assert str(error) == "the row does not fit churn v1\n  age  expected INT64\nhelp: decalog show churn"
    with pytest.raises(decalog.Error, match="502") as caught:
        client.predict("broken", {})
    assert caught.value.code == "http_502"
    with pytest.raises(decalog.Error, match="not JSON"):
        client.status()


def test_nobody_there_and_nobody_answering(client, server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(decalog.Error, match="cannot be reached") as caught:
            decalog.Client("http://127.0.0.1:%d" % unused.getsockname()[1]).predict("churn", {})
    assert caught.value.code == "unreachable" and "decalog up" in caught.value.help
    client.timeout = 0.05
    with pytest.raises(decalog.Error) as caught:
        client.predict("silent", {})
    assert caught.value.code == "timeout"
    with pytest.raises(ValueError):
        decalog.Client("127.0.0.1:8010")


def test_streams(client):
    assert list(client.stream("stream", {"n": 3})) == [0, 1, 2]
    items = client.stream("stream", {"n": 1, "fails": True})
    assert next(items) == 0
    with pytest.raises(decalog.Error, match="ValueError: no") as caught:
        next(items)
    assert caught.value.code == "model_raised"
    early = client.stream("stream", {"n": 100})
    assert next(early) == 0
    early.close()
    with pytest.raises(decalog.Error):
        next(client.stream("refused", {}))


def test_values_of_other_libraries(client):
    np, pd = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    row = {
        "a": np.float32(0.5),
        "b": np.arange(2),
        "c": float("nan"),
        "d": datetime.datetime(2026, 1, 1),
        "e": datetime.date(2026, 1, 2),
    }
    answer = client.predict("churn", row)
    assert [answer[name] for name in "abcde"] == [0.5, [0, 1], None, "2026-01-01T00:00:00Z", "2026-01-02"]
    rows = client.predict_rows("churn", pd.DataFrame({"n": [1, 2], "s": ["x", None]}))
    assert [(row["n"], row["s"]) for row in rows] == [(1, "x"), (2, None)]
    with pytest.raises(TypeError, match="object cannot be sent"):
        client.predict("churn", {"a": object()})


def test_the_control_plane(client):
    assert client.models() == [{"name": "churn", "project": None}]
    assert client.models("risk") == [{"name": "churn", "project": "risk"}]
    assert client.show("churn") == {"path": "/v1/projects/default/models/churn"}
    assert client.show("risk/churn") == {"path": "/v1/projects/risk/models/churn"}
    assert client.events("churn", after=3, limit=2) == [{"model": "default/churn", "after": "9.1", "limit": "2"}]
    assert list(client.follow()) == [{"seq": 1}, {"seq": 2}]


def test_the_url_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("DECALOG_URL", "http://example.test:1/base/")
    assert decalog.Client().url == "http://example.test:1/base"
    monkeypatch.delenv("DECALOG_URL")
    assert decalog.Client().url == "http://127.0.0.1:8010"


def test_bytes_are_sent_and_read(client):
    sent = {"image": b"\xff\0", "list": [bytearray(b"hi"), memoryview(b"")]}
    answer = client.predict("ocr", sent)
    assert answer["image"] == {"b64": "/wA="}
    assert decalog.as_bytes(answer["image"]) == sent["image"] and decalog.as_bytes("hé") == "hé".encode()
    assert [decalog.as_bytes(value) for value in answer["list"]] == [b"hi", b""]
