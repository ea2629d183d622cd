"""HTTP as clients speak it: compressed bodies and answers, methods, HEAD, refusals of what is still being sent, pages from elsewhere."""

import gzip
import http.client
import io
import json
import os
import socket
import subprocess
import zlib
from urllib.parse import urlsplit

import pyarrow
import pytest
from conftest import BINARY, Platform, write_model

#: The largest body that the server of these tests takes, in bytes.
BODY_BYTES_MAX = 1 << 20
PAGE = "https://app.example.org"
LENGTHS = "def predict(text: str) -> dict:\n    return {'length': len(text)}\n"
ECHO = "def predict(text: str) -> str:\n    return text\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a small limit on bodies, with two models, and open to the pages of one origin."""
    arguments = ["--body-bytes-max", str(BODY_BYTES_MAX), "--cors-origin", PAGE]
    platform = Platform(tmp_path_factory.mktemp("http") / "data", arguments).start()
    models = tmp_path_factory.mktemp("models")
    for name, source in {"lengths": LENGTHS, "echo": ECHO}.items():
        platform.run("deploy", write_model(models / name, {"model.py": source}))
    yield platform
    assert platform.stop() == 0


def ask(platform, method, path, body=None, headers=None):
    """An answer with its headers as they came, and its body not unpacked."""
    connection = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd(data):
    return pyarrow.compress(data, codec="zstd", asbytes=True)


def unzstd(data):
    return pyarrow.CompressedInputStream(io.BytesIO(data), "zstd").read()


PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "raw deflate": raw_deflate, "zstd": zstd}


@pytest.mark.parametrize("how", PACKED)
def test_a_compressed_request_is_understood(served, how):
    body = json.dumps({"text": "x" * 300_000}).encode()
    headers = {"Content-Encoding": how.split()[-1]}
    status, _, answer = ask(served, "POST", "/v1/models/lengths/predict", PACKED[how](body), headers)
    assert (status, json.loads(answer)) == (200, {"length": 300_000})
    small = PACKED[how](b'{"text": "abc"}')
    status, _, answer = ask(served, "POST", "/v1/models/lengths/predict", small, headers)
    assert (status, json.loads(answer)) == (200, {"length": 3})


@pytest.mark.parametrize("how", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused_and_nobody_else_notices(served, how):
    body = json.dumps({"text": "x" * (200 * BODY_BYTES_MAX)}).encode()
    bomb = PACKED[how](body)
    assert len(bomb) < BODY_BYTES_MAX
    before = memory_kib(served.process.pid)
    status, _, answer = ask(served, "POST", "/v1/models/lengths/predict", bomb, {"Content-Encoding": how})
    problem = json.loads(answer)
    assert (status, problem["code"]) == (413, "body_too_large") and "unpacked" in problem["error"], problem
    assert memory_kib(served.process.pid) - before < 100 * 1024, "a part of it was unpacked at most"
    assert served.predict("lengths", {"text": "abc"}).json() == {"length": 3}


def memory_kib(pid):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "compress", "nonsense"])
def test_another_encoding_is_refused_with_a_remedy(served, coding):
    status, headers, answer = ask(served, "POST", "/v1/models/lengths/predict", b"whatever", {"Content-Encoding": coding})
    problem = json.loads(answer)
    assert (status, problem["code"]) == (415, "unsupported_encoding"), problem
    assert "gzip, deflate and zstd" in problem["help"] and headers["Accept-Encoding"] == "gzip, deflate, zstd"


def test_a_damaged_body_is_refused(served):
    whole = gzip.compress(json.dumps({"text": "x" * 1_000}).encode())
    for body in (whole[:-4], whole + b"garbage", b"not gzip at all"):
        status, _, answer = ask(served, "POST", "/v1/models/lengths/predict", body, {"Content-Encoding": "gzip"})
        assert (status, json.loads(answer)["code"]) == (400, "bad_request"), answer
    status, _, answer = ask(served, "POST", "/v1/models/lengths/predict", b'{"text": "abc"}', {"Content-Encoding": "identity"})
    assert (status, json.loads(answer)) == (200, {"length": 3})


def test_the_control_plane_takes_no_compressed_body(served):
    body = gzip.compress(b'{"blobs": []}')
    refused = served.request("POST", "/v1/blobs/missing", body, {"Content-Encoding": "gzip"})
    assert refused.status == 415 and refused.json()["help"] == "send it as it is"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_the_client_of_triton_compresses_both_ways(served, algorithm):
    import numpy
    import tritonclient.http

    client = tritonclient.http.InferenceServerClient(urlsplit(served.url).netloc)
    text = numpy.array(["y" * 200_000], dtype=object)
    tensor = tritonclient.http.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(text)
    for answered in (None, algorithm):
        answer = client.infer("echo", [tensor], request_compression_algorithm=algorithm, response_compression_algorithm=answered)
        assert answer.as_numpy("output")[0] == text[0].encode()
    client.close()


def test_a_large_answer_is_compressed_for_who_asks(served):
    row = {"text": "z" * 400_000}
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": unzstd}
    plain = ask(served, "POST", "/v1/models/echo/predict", json.dumps(row))
    assert plain[1]["Content-Encoding"] is None and json.loads(plain[2]) == {"output": row["text"]}
    for accepted, used in [("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate, br, zstd", "zstd"), ("gzip;q=1, zstd;q=0.1", "gzip")]:
        status, headers, body = ask(served, "POST", "/v1/models/echo/predict", json.dumps(row), {"Accept-Encoding": accepted})
        assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, used, "accept-encoding")
        assert len(body) == int(headers["Content-Length"]) < 50_000 and unpack[used](body) == plain[2]
    for accepted in ("identity", "br", "gzip;q=0"):
        headers = ask(served, "POST", "/v1/models/echo/predict", json.dumps(row), {"Accept-Encoding": accepted})[1]
        assert headers["Content-Encoding"] is None, accepted
    small = ask(served, "POST", "/v1/models/echo/predict", json.dumps({"text": "abc"}), {"Accept-Encoding": "gzip"})
    assert small[1]["Content-Encoding"] is None and small[1]["Vary"] is None and json.loads(small[2]) == {"output": "abc"}
    # What cannot be made shorter goes as it is.
    random = {"text": os.urandom(150_000).hex()}
    headers = ask(served, "POST", "/v1/models/echo/predict", json.dumps(random), {"Accept-Encoding": "gzip"})[1]
    assert headers["Content-Encoding"] == "gzip", "hexadecimal digits are half as long"
    _, headers, body = ask(served, "GET", "/openapi.json", None, {"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip" and json.loads(gzip.decompress(body))["openapi"].startswith("3.")
    assert json.loads(ask(served, "GET", "/openapi.json")[2])["openapi"].startswith("3.")


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/v1/models/echo/predict", "POST"),
        ("DELETE", "/v2/models/echo/infer", "POST"),
        ("POST", "/v2/models/echo", "GET, HEAD"),
        ("PUT", "/v2/health/ready", "GET, HEAD"),
        ("OPTIONS", "/v1/models/echo/predict", "POST"),
        ("PATCH", "/healthz", "GET,HEAD"),
    ],
)
def test_what_a_path_takes_is_named(served, method, path, allowed):
    status, headers, body = ask(served, method, path, b"{}" if method in ("PUT", "PATCH") else None)
    assert (status, headers["Allow"], json.loads(body)["code"]) == (405, allowed, "method_not_allowed")


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/echo", "/v2/models/echo/ready", "/healthz", "/readyz", "/metrics", "/openapi.json"]
)
def test_head_says_what_get_would(served, path):
    got, asked = ask(served, "GET", path), ask(served, "HEAD", path)
    assert got[0] == asked[0] == 200 and asked[2] == b""
    assert asked[1]["Content-Type"] == got[1]["Content-Type"]
    if path != "/metrics":
        assert asked[1]["Content-Length"] == str(len(got[2]))
    assert ask(served, "HEAD", "/v2/models/nope")[0] == 404
    assert ask(served, "HEAD", "/v1/models/echo/predict")[0] == 405


def send_all(platform, head, bytes_sent):
    """Sends a head and so many bytes after it, as a program that reads no answer before; gives the answer."""
    host = urlsplit(platform.url)
    with socket.create_connection((host.hostname, host.port), timeout=30) as connection:
        connection.sendall(head)
        for _ in range(bytes_sent >> 16):
            connection.sendall(b"x" * (1 << 16))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(
    "path, headers, status, code",
    [
        ("/v1/models/lengths/predict", "", 413, "body_too_large"),
        ("/v1/models/nope/predict", "", 413, "body_too_large"),
        ("/v1/models/lengths/predict", "Content-Encoding: br\r\n", 415, "unsupported_encoding"),
        ("/v1/models/lengths/predict", "Authorization: Bearer dcs_nonsense\r\n", 401, "unauthenticated"),
        ("/v2/models/lengths", "", 405, "method_not_allowed"),
        ("/v1/blobs/missing", "", 401, "unauthenticated"),
    ],
)
def test_who_still_sends_gets_the_refusal(served, path, headers, status, code):
    # More than sockets hold, where it is not refused for that already.
    size = BODY_BYTES_MAX if status == 415 else 16 << 20
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {size}\r\n\r\n".encode()
    got, problem = send_all(served, head, size)
    assert (got, problem["code"]) == (status, code)


def test_a_body_of_unknown_length_that_is_too_long_is_told_so(served):
    host = urlsplit(served.url)
    with socket.create_connection((host.hostname, host.port), timeout=30) as connection:
        connection.sendall(b"POST /v1/models/lengths/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(64):
            connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 413 and json.loads(answer.read())["code"] == "body_too_large"
        # The connection is of use afterwards.
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200


def test_who_waits_for_leave_to_send_does_not_send(served):
    host = urlsplit(served.url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/models/lengths/predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 50000000\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_the_command_tells_of_a_body_that_is_too_large(served, tmp_path):
    file = tmp_path / "row.json"
    file.write_text(json.dumps({"text": "x" * (8 * BODY_BYTES_MAX)}))
    refused = served.run("predict", "lengths", f"@{file}", ok=False)
    assert refused.code == 1 and "over the limit of 1048576 bytes" in refused.err and "--body-bytes-max" in refused.err, refused


def test_pages_of_the_origin_that_was_named_may_ask(served):
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
    status, headers, body = ask(served, "OPTIONS", "/v1/models/echo/predict", None, asked)
    assert (status, body) == (204, b"")
    assert headers["Access-Control-Allow-Origin"] == PAGE and headers["Vary"] == "origin"
    assert "POST" in headers["Access-Control-Allow-Methods"] and headers["Access-Control-Allow-Headers"] == "content-type,authorization"
    assert headers["Access-Control-Allow-Credentials"] is None
    status, headers, body = ask(served, "POST", "/v1/models/echo/predict", b'{"text": "abc"}', {"Origin": PAGE})
    assert (status, json.loads(body), headers["Access-Control-Allow-Origin"]) == (200, {"output": "abc"}, PAGE)
    assert "decalog-version" in headers["Access-Control-Expose-Headers"]
    status, headers, body = ask(served, "POST", "/v1/models/nope/predict", b"{}", {"Origin": PAGE})
    assert (status, headers["Access-Control-Allow-Origin"]) == (404, PAGE), "a page may read why"
    for origin in ("https://evil.example", "http://app.example.org", "null"):
        status, headers, _ = ask(served, "POST", "/v1/models/echo/predict", b'{"text": "abc"}', {"Origin": origin})
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None), origin
    for path in ("/v1/models", "/metrics", "/v1/status"):
        status, headers, _ = ask(served, "GET", path, None, {"Origin": PAGE})
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None), path
        assert ask(served, "OPTIONS", path, None, asked)[0] == 403


def test_without_that_option_there_are_no_pages_from_elsewhere(shared_platform):
    status, headers, _ = ask(shared_platform, "GET", "/v2/health/live", None, {"Origin": PAGE})
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    assert ask(shared_platform, "OPTIONS", "/v1/models/m/predict", None, asked)[0] == 403


def test_an_origin_must_be_one():
    refused = subprocess.run([BINARY, "up", "--cors-origin", "app.example.org"], capture_output=True, text=True)
    assert refused.returncode == 2 and "write https://app.example.org" in refused.stderr, refused.stderr

