"""What the tests share: models in directories of their own, in this process or served by a real worker process."""

import array
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import decalog_worker
from decalog_worker.datatypes import FIXED
from decalog_worker.loading import load_form
from decalog_worker.protocol import Worker

WORKER = Path(decalog_worker.__file__).parent / "__main__.py"
CODES = {name: code for name, (code, _, _) in FIXED.items()}
WAIT_S_MAX = 60
PR_SET_CHILD_SUBREAPER = 36


def tensor(name, datatype, shape, values):
    """An input as it is described in JSON, and its bytes."""
    if datatype == "BYTES":
        blob = b"".join(
            struct.pack("<I", len(item)) + item for item in (v if isinstance(v, bytes) else v.encode() for v in values)
        )
    else:
        blob = struct.pack("<%d%s" % (len(values), CODES[datatype]), *values)
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(blob)}}, blob


def binary_body(tensors, **more):
    """The body of a request with binary tensors, and the length of its JSON."""
    header = dict(
        {"inputs": [described for described, _ in tensors], "parameters": {"binary_data_output": True}}, **more
    )
    text = json.dumps(header).encode()
    return text + b"".join(blob for _, blob in tensors), len(text)


def read_bytes(value):
    """Text, or bytes that are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def read_outputs(body, json_length):
    """Outputs by name: (datatype, shape, values); text for BYTES that are text, parsed for JSON columns."""
    ((_, outputs),) = read_parts(body, json_length)
    return outputs


def read_parts(body, json_length):
    """The parts of an answer: how many rows, and their outputs by name or the problem."""
    header, place = json.loads(body[:json_length]), [json_length]

    def read(output):
        size = output["parameters"]["binary_data_size"]
        blob = body[place[0] : place[0] + size]
        place[0] += size
        kind, datatype = output["parameters"].get("content_type"), output["datatype"]
        if datatype != "BYTES":
            values = struct.unpack("<%d%s" % (size // struct.calcsize(CODES[datatype]), CODES[datatype]), blob)
            return kind or datatype, output["shape"], list(values)
        values, at = [], 0
        while at < len(blob):
            (length,) = struct.unpack_from("<I", blob, at)
            values.append(read_bytes(blob[at + 4 : at + 4 + length]))
            at += 4 + length
        return kind or datatype, output["shape"], [json.loads(value) for value in values] if kind == "json" else values

    parts = []
    for part in header.get("parts") or [{"rows": None, "outputs": header["outputs"]}]:
        outputs = {output["name"]: read(output) for output in part.get("outputs", ())}
        parts.append((part["rows"], part.get("problem", outputs)))
    assert place[0] == len(body)
    return parts


class Loaded:
    """A model loaded in this process, asked without sockets."""

    def __init__(self, form):
        self.form = form
        self.worker = Worker(form, "m", 1)

    def post(self, body, json_length=None):
        text = "POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: %d" % len(body)
        if json_length is not None:
            text += "\r\nInference-Header-Content-Length: %d" % json_length
        parts, _ = self.worker.answer(self.worker.head(text.encode()), bytearray(body), 0, len(body), False)
        head, _, answer = b"".join(bytes(part) for part in parts).partition(b"\r\n\r\n")
        return Answer(head, answer)

    def infer(self, *tensors, **more):
        """Outputs of a request in binary form; raises what the worker refuses."""
        answer = self.post(*binary_body(tensors, **more))
        if answer.status != 200:
            raise Refused(answer.json())
        return read_outputs(answer.body, answer.json_length)

    def infer_parts(self, *tensors, **more):
        """The parts of the answer to a request in binary form; one if all rows are alike."""
        answer = self.post(*binary_body(tensors, **more))
        assert answer.status == 200, answer.body
        return read_parts(answer.body, answer.json_length)

    def infer_json(self, inputs, **more):
        answer = self.post(json.dumps(dict({"inputs": inputs}, **more)).encode())
        if answer.status != 200:
            raise Refused(answer.json())
        return answer.json()


class Answer:
    def __init__(self, head, body):
        lines = head.decode().split("\r\n")
        self.status, self.body = int(lines[0].split(" ")[1]), body
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self.json_length = int(self.headers.get("inference-header-content-length", len(body)))
        assert int(self.headers.get("content-length", len(body))) == len(body)

    def json(self):
        return json.loads(self.body)


class Refused(Exception):
    def __init__(self, body):
        super().__init__(body["error"])
        self.body = body
        self.code, self.details = body["code"], body.get("details", [])


class Served:
    """A real worker process."""

    def __init__(self, directory, variables, python=sys.executable, program=WORKER):
        self.socket = str(directory.parent / (directory.name + ".sock"))
        self.failure = directory.parent / (directory.name + ".failure")
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DECALOG_SOCKET": self.socket, "DECALOG_MODEL": "m",
                       "DECALOG_FAILURE": str(self.failure)}  # fmt: skip
        environment.update(variables)
        self.process = subprocess.Popen(
            [python, str(program)], cwd=str(directory), env=environment, stderr=subprocess.PIPE
        )

    def wait_ready(self, pause_s=0.005):
        end = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            try:
                self.connect().close()
                return self
            except OSError:
                select.select([], [], [], pause_s)
        raise AssertionError("the worker did not become ready")

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S_MAX)
        try:
            connection.connect(self.socket)
        except OSError:
            connection.close()
            raise
        return connection

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def request_bytes(body=b"", json_length=None, path="/v2/models/m/infer", method="POST"):
    length = "" if json_length is None else "Inference-Header-Content-Length: %d\r\n" % json_length
    return (
        "%s %s HTTP/1.1\r\nHost: worker\r\n%sContent-Length: %d\r\n\r\n" % (method, path, length, len(body))
    ).encode() + body


def read_answer(connection):
    """One whole answer with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, "closed without an answer: %r" % data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b": ")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    while len(body) < length:
        piece = connection.recv(1 << 20)
        assert piece
        body += piece
    return Answer(head, body)


def wait_for(condition):
    end = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end, "waited too long"
        select.select([], [], [], 0.005)


def ask(x, datatype="INT64"):
    """A request of one row for a model with the input `x`."""
    return request_bytes(*binary_body([tensor("x", datatype, [1], [x])]))


def output(answer, name="output"):
    assert answer.status == 200, answer.body
    return read_outputs(answer.body, answer.json_length)[name][2]


def is_alive(pid):
    """Whether a process is there and has not ended."""
    try:
        os.getpgid(pid)
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ProcessLookupError):
        return False


def is_gone(pid):
    """Whether a process has ended; collects it if it is a child."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def children_in_group(control):
    """Processes of the parent's group, itself left out."""
    groups = {
        int(name): os.getpgid(int(name)) for name in os.listdir("/proc") if name.isdigit() and is_alive(int(name))
    }
    return [pid for pid, group in groups.items() if group == os.getpgid(control.pid) and pid != control.pid]


class Process:
    """A process that was forked: as the supervisor knows it, its child that it did not start."""

    def __init__(self, pid, path, log, failure):
        self.pid, self.socket, self.log, self.failure, self.status = pid, str(path), log, failure, None

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def wait(self):
        wait_for(lambda: self.poll() is not None)
        return self.status

    def stop(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def connect(self):
        """A connection to its socket, as soon as it serves."""
        end = time.monotonic() + WAIT_S_MAX
        while True:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(WAIT_S_MAX)
            try:
                connection.connect(self.socket)
                return connection
            except OSError:
                connection.close()
                assert self.poll() is None, "status %s: %s" % (self.status, self.log.read_text())
                assert time.monotonic() < end
                select.select([], [], [], 0.0005)

    def ask(self, x=1, datatype="INT64"):
        with self.connect() as connection:
            connection.sendall(ask(x, datatype))
            return read_answer(connection)

    def ask_json(self, x=1):
        """What it predicts for `x`: a value, or a list."""
        answer = self.ask(x)
        assert answer.status == 200, answer.body
        _, shape, values = read_outputs(answer.body, answer.json_length)["output"]
        return values if len(shape) > 1 else values[0]


class Control:
    """The supervisor's end of a control socket."""

    def __init__(self, supervisor, pid):
        self.supervisor, self.pid, self.made = supervisor, pid, 0
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.ours, self.theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.ours.settimeout(WAIT_S_MAX)

    def send(self, message, numbers=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))] if numbers else []
        self.ours.sendmsg([message if isinstance(message, bytes) else json.dumps(message).encode()], ancillary)

    def receive(self):
        data = self.ours.recv(1 << 18)
        assert data, "the control socket was closed"
        ((kind, value),) = json.loads(data).items()
        return kind, value

    def ready(self):
        kind, value = self.receive()
        assert kind == "ready", value
        return value

    def order(self, kind, role="worker", directory=None, more=None, control=None):
        """Sends an order; the answer, and where the new process is to be found."""
        self.made += 1
        home = self.supervisor.home / ("p%d-%d" % (id(self) % 10_000, self.made))
        home.mkdir()
        log, failure = home / "log", home / "failure"
        variables = {
            "PATH": os.environ["PATH"],
            "DECALOG_SOCKET": str(home / "s"),
            "DECALOG_MODEL": "m",
            "DECALOG_FAILURE": str(failure),
        }
        variables.update(more or {})
        order = {"id": home.name, "variables": variables, "directory": str(directory or self.supervisor.directory)}
        if kind == "serve":
            self.send({"serve": order})
            return Process(self.pid, home / "s", self.supervisor.logs[self.pid], failure)
        with log.open("wb") as file:
            numbers = [file.fileno()] + ([control.theirs.fileno()] if control else [])
            self.send({"fork": dict(order, role=role)}, numbers)
        kind, answer = self.receive()
        assert answer["id"] == home.name
        return kind, answer, home / "s", log, failure

    def fork(self, **more):
        kind, answer, path, log, failure = self.order("fork", **more)
        assert kind == "forked", answer
        process = Process(answer["pid"], path, log, failure)
        self.supervisor.processes.append(process)
        return process

    def fork_parent(self, **more):
        control = Control(self.supervisor, None)
        process = self.fork(role="parent", control=control, **more)
        control.theirs.close()
        control.pid, self.supervisor.logs[process.pid] = process.pid, process.log
        return control, process

    def refused(self, **more):
        kind, answer, *_ = self.order("fork", **more)
        assert kind == "refused", answer
        return answer["reason"]


class Supervisor:
    """Starts zygotes and parents as the real one does, and takes in what they fork."""

    def __init__(self, home):
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        self.home, self.processes, self.directory, self.logs = home, [], None, {}

    def start(self, role, directory, python=sys.executable, process_group=None, **variables):
        self.directory = directory
        control = Control(self, None)
        log = self.home / ("log-" + role)
        environment = {"PATH": os.environ["PATH"], "DECALOG_ROLE": role, "DECALOG_CONTROL": str(control.theirs.fileno()),
                       "DECALOG_FAILURE": str(self.home / "failure")}  # fmt: skip
        environment.update(variables)
        with log.open("wb") as file:
            process = subprocess.Popen([python, str(WORKER)], cwd=str(directory), env=environment, stdout=file, stderr=file,
                                       stdin=subprocess.DEVNULL, pass_fds=[control.theirs.fileno()], process_group=process_group)  # fmt: skip
        control.theirs.close()
        control.pid, control.process, self.logs[process.pid] = process.pid, process, log
        self.processes.append(process)
        return control

    def stop(self):
        for process in self.processes:
            if isinstance(process, Process):
                process.stop()
            elif process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def model(tmp_path):
    """Writes a model directory."""
    count = [0]

    def write(source, **files):
        count[0] += 1
        directory = tmp_path / ("model%d" % count[0])
        directory.mkdir()
        (directory / "model.py").write_text(textwrap.dedent(source))
        for name, text in files.items():
            (directory / (name + ".py")).write_text(textwrap.dedent(text))
        return directory

    return write


@pytest.fixture
def load(model, monkeypatch):
    """Loads a model in this process."""

    def load(source, schema=None, file="model.py", **files):
        directory = source if isinstance(source, Path) else model(source, **files)
        monkeypatch.setattr(sys, "path", [str(directory)] + sys.path)
        monkeypatch.chdir(directory)
        for name in ["model"] + list(files):
            sys.modules.pop(name, None)
        return Loaded(load_form(str(directory), file, schema or {}, 1))

    return load


@pytest.fixture
def serve(model):
    """Serves a model in a real process."""
    running = []

    def start(source, python=sys.executable, program=WORKER, wait=True, **variables):
        directory = source if isinstance(source, Path) else model(source)
        served = Served(directory, variables, python, program)
        running.append(served)
        return served.wait_ready() if wait else served

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def supervisor(tmp_path):
    # Paths of sockets are short: those of pytest may not be.
    home = tmp_path / "s"
    home.mkdir()
    supervisor = Supervisor(home)
    yield supervisor
    supervisor.stop()


@pytest.fixture
def parent(supervisor, model):
    """A parent that has loaded a model and can fork, unless `can_fork` is False."""

    def start(source, can_fork=True, **variables):
        control = supervisor.start("parent", model(source), **variables)
        ready = control.ready()
        assert ready["can_fork"] is can_fork, ready
        control.reason = ready["reason"]
        assert bool(ready["reason"]) is not can_fork and ready["elapsed_ms"] >= 0
        return control

    return start
