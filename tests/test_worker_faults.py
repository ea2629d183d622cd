"""What is wrong with a worker's answer is the worker's fault, and is no other caller's answer; what a caller sends ends nobody."""

import json
from concurrent.futures import ThreadPoolExecutor

from conftest import constant, write_model

#: Doubles; answers nulls where a row is odd, and two answers to one request where a row is 1000.
PROGRAM = '''
import http.server, json, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def text(self, value):
        body = json.dumps(value).encode()
        return b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body)
    def do_GET(self):
        column = lambda name: {"name": name, "datatype": "FP64", "shape": [-1]}
        self.wfile.write(self.text({"name": "faulty", "platform": "mine", "inputs": [column("x")], "outputs": [column("y")]}))
    def do_POST(self):
        x = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0]
        def doubled(values):
            return self.text({"outputs": [{"name": "y", "datatype": "FP64", "shape": x["shape"], "data": values}]})
        if any(v % 2 == 1 for v in x["data"]):
            self.wfile.write(doubled([None] * len(x["data"])))
        elif 1000 in x["data"]:
            self.wfile.write(doubled([2 * v for v in x["data"]]) + doubled([-1.0] * len(x["data"])))
        else:
            self.wfile.write(doubled([2 * v for v in x["data"]]))
    def log_message(self, *_): pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''
MANIFEST = '[model]\nruntime = "command"\ncommand = ["python3", "serve.py"]\n'


def test_nulls_and_second_answers_of_a_worker_are_its_fault_and_nobody_elses_answer(shared_platform, tmp_path):
    shared_platform.run("deploy", write_model(tmp_path / "faulty", {"serve.py": PROGRAM, "decalog.toml": MANIFEST}))

    def ask(n):
        x = 1000 if n % 7 == 0 else n
        answer = shared_platform.predict("faulty", {"x": x})
        if x % 2:
            assert answer.status == 500 and answer.json()["code"] == "bad_output", answer.body
            assert "worker" in answer.json()["error"] + answer.json()["help"], answer.body
        elif x == 1000 and answer.status != 200:
            # What comes behind an answer may be seen with it.
            assert answer.status == 500 and answer.json()["code"] == "bad_worker", answer.body
        else:
            assert (answer.status, answer.json()) == (200, {"y": 2 * x}), answer.body

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(1, 400)))
    for n in range(20):
        ask(1000)
        ask(2 * n)


def test_a_shape_that_somebody_names_ends_nobody(platform, tmp_path):
    source = "def predict(x: list[float], y: float | None = None) -> int:\n    return len(x)\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    platform.run("deploy", write_model(tmp_path / "c", constant(1)))
    shapes = [[2**62, 0], [0, 2**62], [2**62, 0, 0], [2**20 + 1, 0], [2**64 - 1], [2**32, 2**32], [1] * 65, [2**40, 1, 0]]
    for shape in shapes:
        for name, datatype in [("m", "FP64"), ("c", "INT64")]:
            tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": []}
            answer = platform.request("POST", f"/v2/models/{name}/infer", {"inputs": [tensor]})
            assert 400 <= answer.status < 500 and answer.json()["error"], (shape, answer.body)
            header = json.dumps({"inputs": [{**tensor, "data": None, "parameters": {"binary_data_size": 0}}]}).encode()
            binary = {"Inference-Header-Content-Length": str(len(header))}
            answer = platform.request("POST", f"/v2/models/{name}/infer", header, binary)
            assert 400 <= answer.status < 500 and answer.json()["error"], (shape, answer.body)
    assert platform.process.poll() is None
    assert platform.predict("m", {"x": [1, 2]}).json() == {"output": 2}
    memory = next(line for line in open(f"/proc/{platform.process.pid}/status") if line.startswith("VmHWM"))
    assert int(memory.split()[1]) < 512 << 10, memory
