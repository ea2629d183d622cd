"""Bytes reach a model as they were sent, and callers as it gave them, whichever protocol each of them speaks."""

import asyncio
import base64
import csv
import io
import json
import os
import random
import struct
import subprocess
import urllib.request
from urllib.parse import urlsplit

import aiohttp
import httpx
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from conftest import Platform, write_model

ECHO = """
def predict(image: bytes, top: int = 3) -> dict:
    if top == 13:
        return {"all": {"images": [image]}, "size": len(image)}
    return {"image": image, "top": top}
"""
BYTES = "def predict(image: bytes) -> bytes:\n    return image\n"
LISTS = "def predict(images: list[bytes], name: str = 'none') -> list[bytes]:\n    return images\n"
ARRAYS = """
import numpy as np
from numpy.typing import NDArray

def predict(images: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    assert all(type(image) is bytes for image in images.ravel())
    return images
"""
STREAM = "from typing import Iterator\n\ndef predict(image: bytes) -> Iterator[bytes]:\n    yield image\n    yield b'end'\n"
NUMBER = "def predict(x: float, tall: bool = False) -> float:\n    return x\n"
PLAIN = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        assert all(isinstance(row["image"], str) or list(row["image"]) == ["b64"] for row in rows)
        body = json.dumps({"rows": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PLAIN_TOML = """
[model]
runtime = "command"
command = ["python3", "serve.py"]
path = "/predict"

[schema]
inputs = [{ name = "image", datatype = "BYTES", shape = [] }]
outputs = [{ name = "image", datatype = "BYTES", shape = [] }]
"""
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))
#: What is easily damaged: nothing, a zero byte, a replacement character, a half of a surrogate pair, what looks like base64.
SIBLINGS = [b"", b"\0", b"a\0", b"\xff\0", "\ufffd".encode(), "é".encode()[:1], b"\xed\xa0\x80", b'{"b64": "aGk="}', b"NA", b" ", b"\r\n--X--", PNG]


def b64(value):
    return {"b64": base64.b64encode(value).decode()}


def as_json(value):
    """As an answer in JSON has bytes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64(value)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("bytes") / "data", arguments=("--records-per-s", "1000000")).start()
    models = tmp_path_factory.mktemp("models")
    case = {"rows": [{"image": b64(PNG)}, {"image": "hi"}], "expected": [{"image": b64(PNG)}, {"image": b64(b"hi")}]}
    files = {
        "echo": {"model.py": ECHO, "tests/png.json": json.dumps(case)},
        "raw": {"model.py": BYTES},
        "lists": {"model.py": LISTS},
        "arrays": {"model.py": ARRAYS, "requirements.txt": "numpy\n"},
        "stream": {"model.py": STREAM},
        "number": {"model.py": NUMBER},
        "plain": {"serve.py": PLAIN, "decalog.toml": PLAIN_TOML},
    }
    try:
        for name, content in files.items():
            platform.run("deploy", write_model(models / name, content))
        yield platform
    finally:
        code = platform.stop()
    assert code == 0


@pytest.fixture(scope="module")
def client(served):
    with triton.InferenceServerClient(urlsplit(served.url).netloc) as client:
        yield client


def ok(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def asked(served, model, body, kind=""):
    return served.predict(model, body, {"Content-Type": kind})


def form(*parts, boundary="XX"):
    """The body of a form; a name that begins with @ is a file's."""
    body = b""
    for name, content in parts:
        file = '; filename="f"' if name.startswith("@") else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name.lstrip("@")}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


FORM = "multipart/form-data; boundary=XX"


# Ways in and out: each takes and gives bytes.


def tensor(served, model, value, binary_in, binary_out, encoded=False):
    blob = struct.pack("<I", len(value)) + value
    described = {"name": "image", "datatype": "BYTES", "shape": [1]}
    if binary_in:
        described["parameters"] = {"binary_data_size": len(blob)}
    elif encoded:
        described.update(parameters={"content_type": "base64"}, data=[b64(value)["b64"]])
    else:
        described["data"] = [value.decode()]
    text = json.dumps({"inputs": [described], "outputs": [{"name": "image", "parameters": {"binary_data": binary_out}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary_in else {}
    answer = served.request("POST", f"/v2/models/{model}/infer", text + blob * binary_in, headers)
    assert answer.status == 200, answer.body
    length = answer.headers["Inference-Header-Content-Length"]
    (output,) = json.loads(answer.body[: int(length)] if length else answer.body)["outputs"]
    if "data" in output:
        return output["data"][0].encode()
    blob = answer.body[int(length) :]
    assert struct.unpack_from("<I", blob)[0] == len(blob) - 4 == output["parameters"]["binary_data_size"] - 4
    return blob[4:]


def of_json(value):
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value.encode()


WAYS = {
    "json": lambda served, model, value: of_json(ok(asked(served, model, {"image": as_json(value)}))["image"]),
    "b64": lambda served, model, value: of_json(ok(asked(served, model, {"rows": [{"image": b64(value)}]}))["rows"][0]["image"]),
    "form": lambda served, model, value: of_json(ok(asked(served, model, form(("@image", value)), FORM))["image"]),
    "part": lambda served, model, value: of_json(ok(asked(served, model, form(("image", value)), FORM))["image"]),
    "body": lambda served, model, value: of_json(ok(asked(served, model, value, "image/png"))["image"]),
    "octets": lambda served, model, value: of_json(ok(asked(served, model, value, "application/octet-stream"))["image"]),
    "binary": lambda served, model, value: tensor(served, model, value, True, True),
    "base64": lambda served, model, value: tensor(served, model, value, False, True, True),
    "to json": lambda served, model, value: tensor(served, model, value, True, False),
}


@pytest.mark.parametrize("model", ["echo", "plain"])
def test_any_bytes_come_back_by_each_way(served, model):
    draw = random.Random(7)
    values = SIBLINGS + [draw.randbytes(draw.choice([1, 2, 3, 5, 63, 4_000])) for _ in range(8)]
    values += [bytes(draw.choices(b'\xff\xc3\xa9\0"\\{}[]:-\r\nX=', k=draw.randrange(12))) for _ in range(8)]
    for value in values:
        for name, way in WAYS.items():
            assert way(served, model, value) == value, (name, value)
    large = draw.randbytes(1 << 20)
    for name, way in WAYS.items():
        assert way(served, model, large) == large, name


def test_rows_and_lists(served):
    rows = [{"image": as_json(value), "top": at} for at, value in enumerate(SIBLINGS)]
    assert ok(asked(served, "echo", {"rows": rows}))["rows"] == rows
    lists = [as_json(value) for value in SIBLINGS]
    assert ok(asked(served, "lists", {"images": [b64(value) for value in SIBLINGS]})) == {"output": lists}
    assert ok(asked(served, "lists", {"rows": [{"images": lists}, {"images": lists[::-1]}]}))["rows"][1]["output"] == lists[::-1]
    assert ok(asked(served, "arrays", {"images": [lists[:6], lists[6:]]}))["output"] == [lists[:6], lists[6:]]
    assert ok(asked(served, "lists", form(*[("@images", value) for value in SIBLINGS], ("name", b"x")), FORM)) == {"output": lists}
    assert ok(asked(served, "lists", form(("@images", PNG)), FORM)) == {"output": [b64(PNG)]}
    assert ok(asked(served, "lists", form(("images", json.dumps(lists).encode())), FORM)) == {"output": lists}
    nested = ok(asked(served, "echo", {"image": b64(PNG), "top": 13}))
    assert nested == {"all": {"images": [b64(PNG)]}, "size": len(PNG)}
    events = asked(served, "stream", PNG, "image/png").body.decode().split("\n\n")
    assert [json.loads(event.removeprefix("data: ")) for event in events if event] == [b64(PNG), "end"]


def test_what_is_no_bytes_is_refused_by_name(served):
    def told(model, body, kind="", status=422):
        answer = asked(served, model, body, kind)
        assert answer.status == status, answer.body
        body = answer.json()
        return "; ".join([body["error"], *body.get("details", []), body.get("help", "")])

    assert 'image  has a "b64" that is not base64' in told("echo", {"image": {"b64": "?"}})
    for wrong in ({}, {"b64": 1}, {"b64": "", "a": 1}, {"B64": ""}, {"b64": {"b64": ""}}):
        assert "image  expected BYTES" in told("echo", {"image": wrong}), wrong
    assert "row 1: image" in told("echo", {"rows": [{"image": ""}, {"image": {"b64": "a"}}]})
    assert "x  expected FP64" in told("number", {"x": {"b64": "AA=="}})
    none = told("number", PNG, "image/png", 415)
    assert "one column of BYTES, and this model has none" in none and "application/json" in none
    assert "curl -F image=@FILE" not in none
    assert "application/octet-stream" in told("number", PNG, "application/octet-stream", 415)
    assert ok(asked(served, "number", b' {"x": 1}', "application/octet-stream")) == {"output": 1.0}
    assert "multipart/form-data with a part" in told("echo", b"x", "multipart/mixed; boundary=x", 415)
    assert "top  expected INT64" in told("echo", form(("@image", b""), ("top", b"many")), FORM)
    assert "did you mean `image`" in told("echo", form(("@imag", b"")), FORM)
    assert "is there 2 times" in told("echo", form(("@image", b""), ("@image", b"")), FORM)
    assert "the form ends" in told("echo", form(("@image", PNG))[:40], FORM, 400)
    assert "no boundary" in told("echo", form(("@image", PNG)), "multipart/form-data", 400)
    assert "4096 parts" in told("echo", form(*[("a", b"")] * 5_000), FORM, 400)
    assert "8192 bytes" in told("echo", form(("n" * 9_000, b"")), FORM, 400)
    for at, cut in enumerate(random.Random(3).choices(range(200), k=60)):
        body = bytearray(form(("@image", PNG), ("top", b"3")))
        body[cut] ^= 1 << at % 8
        assert asked(served, "echo", bytes(body), FORM).status in (200, 400, 422)


def test_clients_of_all_kinds(served, client):
    url = f"{served.url}/v1/models/echo/predict"
    wanted = {"image": b64(PNG), "top": 5}
    assert requests.post(url, files={"image": ("scan.png", PNG, "image/png")}, data={"top": 5}).json() == wanted
    assert httpx.post(url, files={"image": ("größe \" ; name=x.png", PNG)}, data={"top": "5"}).json() == wanted

    async def by_aiohttp():
        async with aiohttp.ClientSession() as session:
            fields = aiohttp.FormData({"image": io.BytesIO(PNG), "top": "5"})
            async with session.post(url, data=fields) as answer:
                assert await answer.json() == wanted
            async with session.post(url, data=PNG) as answer:  # application/octet-stream
                assert await answer.json() == {"image": b64(PNG), "top": 3}

    asyncio.run(by_aiohttp())
    curl = ["curl", "-sS", url]
    done = subprocess.run([*curl, "-F", "image=@-;filename=scan.png", "-F", "top=5"], input=PNG, capture_output=True, check=True)
    assert json.loads(done.stdout) == wanted
    done = subprocess.run([*curl, "-H", "Content-Type: image/png", "--data-binary", "@-"], input=PNG, capture_output=True, check=True)
    assert json.loads(done.stdout) == {"image": b64(PNG), "top": 3}
    done = subprocess.run([*curl, "-d", json.dumps(wanted)], capture_output=True, check=True)
    assert json.loads(done.stdout) == wanted
    value = np.array([PNG, b"hi"], dtype=object)
    given = triton.InferInput("image", [2], "BYTES")
    given.set_data_from_numpy(value)
    for binary in (True, False):
        answer = client.infer("echo", [given], outputs=[triton.InferRequestedOutput("image", binary_data=binary)])
        assert answer.as_numpy("image").tolist() == [PNG, b"hi"]


KSERVE = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferRequest, InferInput
from kserve.inference_client import RESTConfig

async def main(url):
    image, top = InferInput("image", [1], "BYTES"), InferInput("top", [1], "INT64")
    image.set_data_from_numpy(np.array([b"\\xff\\0"], dtype=object), binary_data=True)
    top.set_data_from_numpy(np.array([13], dtype="int64"), binary_data=True)
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    answer = await client.infer(url, InferRequest(model_name="echo", infer_inputs=[image, top]), model_name="echo")
    # This client itself takes no bytes that are not UTF-8.
    assert {output.name: output.data for output in answer.outputs} == {
        "all": ['{"images":[{"b64":"/wA="}]}'], "size": [2]
    }, answer

asyncio.run(main(sys.argv[1]))
"""


def test_kserve_client(served):
    done = subprocess.run([os.environ["DECALOG_KSERVE_PYTHON"], "-c", KSERVE, served.url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_command_line(served, tmp_path):
    image, rows = tmp_path / "scan.png", tmp_path / "row.json"
    image.write_bytes(PNG)
    assert served.run("predict", "echo", f"image=@{image}", "top=5").json() == {"image": b64(PNG), "top": 5}
    assert served.run("predict", "echo", "image=a=b").json() == {"image": "a=b", "top": 3}
    assert served.run("predict", "lists", f"images=@{image}", f"images=@{image}").json() == {"output": [b64(PNG)] * 2}
    assert served.run("predict", "stream", f"image=@{image}").out.splitlines() == [json.dumps(b64(PNG)).replace(" ", ""), '"end"']
    rows.write_text(json.dumps({"rows": [{"image": b64(PNG)}, {"image": "x"}]}))
    written = served.run("predict", "echo", f"@{rows}", "--csv").out
    cells = [row["image"] for row in csv.DictReader(io.StringIO(written))]
    assert json.loads(cells[0]) == b64(PNG) and cells[1] == "x"
    wrong = served.run("predict", "echo", f"@{image}", ok=False)
    assert wrong.code == 1 and f"COLUMN=@{image}" in wrong.err
    assert "none.png, for image" in served.run("predict", "echo", "image=@none.png", ok=False).err
    assert "several inputs" in served.run("predict", "echo", '{"image": ""}', "top=3", ok=False).err
    assert "top  expected INT64" in served.run("predict", "echo", "image=a", "top=many", ok=False).err


def test_records_have_them_as_they_were(served):
    ids = {}
    for value in (PNG, b"hi", b"\xff\0"):
        request = urllib.request.Request(f"{served.url}/v1/models/raw/predict", value, {"Content-Type": "image/png"})
        with urllib.request.urlopen(request) as answer:
            assert of_json(json.load(answer)["output"]) == value
            ids[answer.headers["Decalog-Request-Id"]] = value
    kept = {row["id"]: row for row in served.run("records", "raw", "--json").json()}
    for request, value in ids.items():
        assert (kept[request]["in.image"], kept[request]["out.output"]) == (as_json(value), as_json(value))
    (replayed,) = served.run("replay", next(iter(ids)), "--json").json()["results"]
    assert not replayed.get("differences"), replayed
    rows = served.run("sql", """select "in.image" image from records where model = 'raw' order by id""", "--json").json()
    assert [row["image"] for row in rows] == [as_json(value) for value in ids.values()]
    found = served.run("sql", "select id from records where model = 'raw' and \"in.image\" = 'hi'", "--json").json()
    assert [ids[row["id"]] for row in found] == [b"hi"]
    written = served.run("records", "raw", "--csv").out
    assert {row["in.image"] for row in csv.DictReader(io.StringIO(written))} == {
        value.decode() if value == b"hi" else json.dumps(b64(value), separators=(",", ":")) for value in ids.values()
    }
