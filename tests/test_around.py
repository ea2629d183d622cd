"""What surrounds a prediction: batches, limits, headers, metrics, other programs and tools."""

import hashlib
import json
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BINARY, ROOT, constant, wait_for, write_model


def test_http_2_and_headers(shared_platform, tmp_path):
    shared_platform.run("deploy", write_model(tmp_path / "headers", constant(7)))
    url = f"{shared_platform.url}/v1/models/headers/predict"
    command = ["curl", "-sS", "--http2-prior-knowledge", "-D", "-", url, "-d", '{"x": 1}']
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert out.startswith("HTTP/2 200") and out.endswith('{"output":7}'), out
    answer = shared_platform.predict("headers", {"x": 1})
    assert answer.headers["Decalog-Version"] == "v1" and answer.headers["Decalog-Request-Id"]
    for part in ["queue;dur=", "worker;dur=", "total;dur="]:
        assert part in answer.headers["Server-Timing"], answer.headers["Server-Timing"]


def test_health_and_metrics(shared_platform, tmp_path):
    shared_platform.run("deploy", write_model(tmp_path / "measured", constant(1)))
    assert shared_platform.get("/healthz").status == shared_platform.get("/readyz").status == 200
    for body in [{"x": 1}, {"x": 2}, {"x": "no"}]:
        shared_platform.predict("measured", body)

    def value(name, *labels):
        lines = shared_platform.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.startswith(name) and all(label in line for label in ['model="measured"', *labels])]
        return float(found[0].rsplit(" ", 1)[1]) if found else None

    wait_for(lambda: value("decalog_requests_total", 'status="422"') == 1.0, "the wrong request is counted", 5)
    assert value("decalog_requests_total", 'status="200"') == 2.0
    assert value("decalog_errors_total", "schema_mismatch") == 1.0
    for part in ["queue", "worker", "overhead", "total"]:
        assert value("decalog_request_duration_seconds_count", f'part="{part}"') == 2.0, part
    assert value("decalog_batch_rows_count") == 2.0
    assert value("decalog_queue_rows") == 0.0 and value("decalog_replicas") == 1.0


def test_a_bad_row_fails_its_own_request(shared_platform, tmp_path):
    source = ("import time\nimport numpy as np\n\ndef predict(x: np.ndarray) -> np.ndarray:\n    time.sleep(0.02)\n"
              "    if (x < 0).any():\n        raise ValueError('negative')\n    return np.full(len(x), len(x), dtype=float)\n")
    shared_platform.run("deploy", write_model(tmp_path / "mixed", {"model.py": source, "requirements.txt": "numpy\n"}))
    with ThreadPoolExecutor(24) as pool:
        values = [-1 if at % 80 == 5 else at for at in range(320)]
        answers = list(pool.map(lambda value: shared_platform.predict("mixed", {"x": value}), values))
    for value, answer in zip(values, answers):
        assert answer.status == (500 if value < 0 else 200), answer.body
        assert value >= 0 or "negative" in answer.json()["error"]
    assert max(answer.json()["output"] for answer in answers if answer.status == 200) > 1, "nothing was batched"


def test_limits(shared_platform, tmp_path):
    source = "import time\n\ndef predict(s: float) -> float:\n    time.sleep(s)\n    return s\n"
    manifest = "[batch]\nqueue_rows_max = 2\nmix = false\n[scale]\nmax = 1\n"
    shared_platform.run("deploy", write_model(tmp_path / "narrow", {"model.py": source, "decalog.toml": manifest}))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared_platform.predict("narrow", {"s": 0.3}), range(8)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and refused[0].headers["Retry-After"] and refused[0].json()["code"] == "queue_full"
    assert sum(answer.status == 200 for answer in answers) == 8 - len(refused)
    late = shared_platform.predict("narrow", {"s": 0.5}, {"Decalog-Timeout-Ms": "100"})
    assert late.status == 504 and late.json()["code"] == "deadline", late.body
    waited = shared_platform.predict("narrow", {"s": 0}, {"Decalog-Timeout-Ms": "50"})
    assert waited.status == 503 and waited.json()["code"] == "no_capacity", waited.body
    # A model that was slow is not thought slow for ever.
    shared_platform.predict("narrow", {"s": 0})
    assert shared_platform.predict("narrow", {"s": 0}, {"Decalog-Timeout-Ms": "90"}).status == 200


PROGRAM = '''
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        column = lambda name: {"name": name, "datatype": "FP64", "shape": [-1]}
        self.answer({"name": "doubled", "platform": "mine", "inputs": [column("x")], "outputs": [column("y")]})
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        x = request["inputs"][0]
        self.answer({"model_name": "doubled", "outputs": [{**x, "name": "y", "data": [2 * v for v in x["data"]]}]})
    def log_message(self, *arguments):
        print("asked for", self.path, flush=True)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


def test_any_program_that_speaks_the_protocol_on_a_port(shared_platform, tmp_path):
    manifest = '[model]\nruntime = "command"\ncommand = ["python3", "serve.py"]\n'
    model = write_model(tmp_path / "doubled", {"serve.py": PROGRAM, "decalog.toml": manifest})
    shared_platform.run("deploy", model)
    assert shared_platform.predict("doubled", {"x": 1.5}).json() == {"y": 3.0}
    rows = shared_platform.predict("doubled", {"rows": [{"x": 1}, {"x": 2}]})
    assert rows.json() == {"rows": [{"y": 2.0}, {"y": 4.0}]}
    assert "asked for /v2/models/doubled/infer" in shared_platform.run("logs", "doubled").out


def test_logs_follow(shared_platform, tmp_path):
    model = write_model(tmp_path / "chatty", {"model.py": "def predict(x: int) -> int:\n    print('got', x)\n    return x\n"})
    shared_platform.run("deploy", model)
    shared_platform.predict("chatty", {"x": 11})
    command = [BINARY, "--url", shared_platform.url, "logs", "chatty", "-f"]
    follow = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(follow.stdout), daemon=True)
    reader.start()
    try:
        wait_for(lambda: "got 11\n" in lines, "what was printed before", 10)
        shared_platform.predict("chatty", {"x": 12})
        wait_for(lambda: "got 12\n" in lines, "what is printed now", 10)
        assert follow.poll() is None
    finally:
        follow.terminate()
        reader.join(10)
    assert lines.count("got 11\n") == 1


def test_python_is_chosen_by_the_project(shared_platform, tmp_path):
    project = '[project]\nname = "p"\nversion = "1"\nrequires-python = "{}"\ndependencies = ["packaging"]\n'
    source = "import packaging.version\n\ndef predict(x: str) -> bool:\n    return packaging.version.parse(x).is_prerelease\n"
    # Not every text is a version: the row to try it with is a case.
    case = {"tests/final.json": json.dumps({"input": {"x": "1.0"}, "expected": {"output": False}})}
    model = write_model(tmp_path / "packaged", {"model.py": source, "pyproject.toml": project.format(">=3.8"), **case})
    shared_platform.run("deploy", model)
    assert shared_platform.predict("packaged", {"x": "1.0rc1"}).json() == {"output": True}
    assert "packaging==" in shared_platform.run("show", "packaged", "--json").out
    subprocess.run([os.environ.get("DECALOG_UV", "uv"), "lock", "--quiet"], cwd=model, check=True)
    shared_platform.run("deploy", model)
    assert shared_platform.predict("packaged", {"x": "1.0"}).json() == {"output": False}
    write_model(model, {"pyproject.toml": project.format("<3")})
    (model / "uv.lock").unlink()
    failed = shared_platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "<3" in failed.err and "requires-python" in failed.err, failed


def test_the_python_client(shared_platform, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "sdk/python/src"))
    import decalog

    shared_platform.run("deploy", write_model(tmp_path / "asked", constant(5)))
    client = decalog.Client(shared_platform.url, token=shared_platform.owners_token())
    assert client.predict("asked", {"x": 1}) == {"output": 5}
    assert client.predict_rows("asked", [{"x": 1}, {"x": 2}]) == [{"output": 5}] * 2
    assert "asked" in [model["name"] for model in client.models()]
    with pytest.raises(decalog.Error) as caught:
        client.predict("asked", {"x": "one"})
    assert caught.value.code == "schema_mismatch" and caught.value.status == 422 and caught.value.details


@pytest.mark.parametrize("example, name", [("flights", "flights"), ("iris-sklearn", "iris"), ("digits-onnx", "digits"), ("stream", "stream")])
def test_examples(shared_platform, example, name):
    deployed = shared_platform.run("deploy", ROOT / "examples" / example, "--name", name)
    assert f"{name} v1" in deployed.err
    curl = next(line.strip() for line in (deployed.out + deployed.err).splitlines() if line.strip().startswith("curl "))
    out = subprocess.run(["sh", "-c", curl + " -sS -f"], check=True, capture_output=True, text=True).stdout
    assert out, curl


def test_an_upload_goes_on_after_kill_9(platform):
    content = os.urandom(3 << 20)
    digest, half = hashlib.sha256(content).hexdigest(), 1 << 20
    path = f"/v1/blobs/{digest}?size={len(content)}"
    assert platform.request("PATCH", f"{path}&offset=0", content[:half]).status == 200
    platform.kill()
    platform.start()
    missing = platform.request("POST", "/v1/blobs/missing", {"blobs": [{"digest": digest, "size": len(content)}]}).json()
    assert missing["missing"] == [{"digest": digest, "offset": half}]
    again = platform.request("PATCH", f"{path}&offset=0", content[:half])
    assert again.status == 409 and again.json()["code"] == "wrong_offset"
    assert platform.request("PATCH", f"{path}&offset={half}", content[half:]).json()["complete"] is True
    assert platform.request("POST", "/v1/blobs/missing", {"blobs": [{"digest": digest, "size": 1}]}).json() == {"missing": []}


def test_doctor_and_status(shared_platform):
    doctor = shared_platform.run("doctor", "--json")
    names = json.dumps(doctor.json())
    assert "uv" in names and "python" in names
    status = shared_platform.run("status", "--json").json()
    assert status["version"] and "uv" in shared_platform.run("doctor").out


@pytest.mark.outside
def test_ctrl_c_leaves_the_deployment_to_the_server(platform, tmp_path):
    source = "import os, time\n\nwhile not os.path.exists({!r}):\n    time.sleep(0.01)\n\ndef predict(x: int) -> int:\n    return x\n"
    model = write_model(tmp_path / "slow", {"model.py": source.format(str(tmp_path / "go"))})
    deploy = subprocess.Popen([BINARY, "--url", platform.url, "deploy", model], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: deploy.stderr.readline().startswith("  build"), "the environment")
    deploy.send_signal(signal.SIGINT)
    assert "goes on at the server" in deploy.stderr.read() and deploy.wait() == 130
    (tmp_path / "go").touch()
    wait_for(lambda: platform.predict("slow", {"x": 1}).status == 200, "the model")
    unknown = platform.run("show", "slow@v9", ok=False)
    assert unknown.code == 1 and "it has v1" in unknown.err, unknown
