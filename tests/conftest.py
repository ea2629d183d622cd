"""Starts the real binary on a free port with a data directory of its own, and drives it as a user would."""

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("DECALOG", str(ROOT / "target/debug/decalog"))
#: Small programs that tests use: a load generator, and one that takes decisions again from their records.
EXAMPLES = Path(os.environ.get("DECALOG_EXAMPLES", Path(BINARY).parent / "examples"))
#: The longest that anything here may take, in seconds.
LONG = 180


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Short paths: a path of a socket holds 107 bytes, and a server that has longer ones puts its sockets elsewhere."""
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="d")



def wait_for(condition, what, seconds=LONG):
    """Polls until `condition()` is true and returns what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Result:
    """A finished command."""

    def __init__(self, completed):
        self.code, self.out, self.err = completed.returncode, completed.stdout, completed.stderr

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Answer:
    """An HTTP answer, also of an error."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


ALL_SCOPES = ["predict", "read", "operate", "deploy", "secrets", "records", "audit", "admin"]
# What anybody may ask at this machine.
OPEN_PATHS = ("/v2", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/server")


class LocalConnection(http.client.HTTPConnection):
    """HTTP over the socket in the data directory."""

    def __init__(self, path, timeout):
        super().__init__("local", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Platform:
    """One `decalog up`."""

    def __init__(self, data, arguments=(), binary=BINARY, prefix=()):
        self.data, self.binary = Path(data), binary
        self.arguments, self.prefix = list(arguments), list(prefix)
        #: Options for how far models are confined; by default as far as they can be.
        self.sandbox = []
        self.process = self.url = None
        #: What TLS is to trust; by default what the system does.
        self.trusted = None

    def start(self, same_address=False):
        listen = urlsplit(self.url).netloc if same_address else "127.0.0.1:0"
        self.process, self.url = self.launch("--listen", listen)
        wait_for(lambda: self.get("/readyz").status == 200, "readiness")
        return self

    def takeover(self):
        """Another process takes over; returns once the old one has ended."""
        old, (self.process, url) = self.process, self.launch("--takeover")
        assert url == self.url
        assert old.wait(60) == 0
        return self

    def launch(self, *more):
        """Starts a process and waits for its address; gives both."""
        log = self.data.parent / f"{self.data.name}.log"
        command = [*self.prefix, self.binary, "up", "--data", str(self.data), *self.sandbox, *self.arguments, *more]
        with open(log, "ab") as out:
            begin = out.tell()
            process = subprocess.Popen(command, stdout=out, stderr=out)

        def printed():
            text = log.read_bytes()[begin:].decode()
            found = re.search(r"https?://127\.0\.0\.1:\d+", text)
            if found:
                return found.group(0)
            assert process.poll() is None, f"decalog up ended:\n{text}"
            return None

        return process, wait_for(printed, "the address of decalog up", 30)

    def kill(self):
        """kill -9"""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def run(self, *arguments, cwd=None, env=None, stdin=None, ok=True):
        """Runs a verb against this platform."""
        environment = {**os.environ, "DECALOG_URL": self.url or "", **(env or {})}
        completed = subprocess.run(
            [self.binary, *map(str, arguments)], cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, timeout=LONG
        )
        result = Result(completed)
        if ok:
            assert result.code == 0, result
        return result

    def request(self, method, path, body=None, headers=None, timeout=60):
        """A request as whoever owns the data directory, unless it proves otherwise or needs no proof."""
        headers = headers or {}
        is_open = path.startswith(OPEN_PATHS) or path.endswith("/predict")
        speaks_for_itself = any(name.lower() in ("authorization", "host", "origin") for name in headers)
        if is_open or speaks_for_itself:
            return self.request_over_tcp(method, path, body, headers, timeout)
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        try:
            cookie = (self.door() / "local.cookie").read_text().strip()
            connection = LocalConnection(self.door() / "local.sock", timeout)
        except OSError as error:
            return Answer(0, {}, str(error).encode())
        try:
            connection.request(method, path, data, {"Host": "local", "decalog-cookie": cookie, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except OSError as error:
            return Answer(0, {}, str(error).encode())
        finally:
            connection.close()

    def request_over_tcp(self, method, path, body=None, headers=None, timeout=60):
        headers = {name: value for name, value in (headers or {}).items() if value != ""}
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.trusted) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())
        except OSError as error:
            return Answer(0, {}, str(error).encode())

    def get(self, path):
        return self.request("GET", path)

    def predict(self, reference, body, headers=None):
        return self.request("POST", f"/v1/models/{reference}/predict", body, headers)

    def recompute(self):
        """Takes all decisions in the ledger again from their records; how many there were."""
        events = self.run("events", "--json").out
        completed = subprocess.run([EXAMPLES / "recompute"], input=events, capture_output=True, text=True, timeout=LONG)
        assert completed.returncode == 0, completed.stderr
        return json.loads(completed.stdout)

    def door(self):
        """Where the socket of the owner is: elsewhere if the data directory takes no files."""
        path = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        beside = Path(tempfile.gettempdir()) / f"decalog-{os.getuid()}-{path}"
        return beside if (beside / "local.sock").exists() else self.data

    def owners_token(self):
        """The token of somebody who may do everything."""
        self.run("member", "add", "tester", "--role", "owner")
        scopes = [part for scope in ALL_SCOPES for part in ("--scope", scope)]
        return self.run("token", "create", "tester", *scopes).out.strip()

    def pids(self, model):
        """Process ids of a model's replicas."""
        return sorted(replica["pid"] for replica in self.run("show", model, "--json").json()["replicas"])


def paths_below(folder):
    """All paths below a folder of a server that may be at work, with their status: what is removed meanwhile is left out."""
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            try:
                yield (path := Path(at) / name), path.lstat()
            except FileNotFoundError:
                pass


def stored_files(folder):
    """All files below such a folder, with what is in them."""
    for path, status in paths_below(folder):
        if stat.S_ISREG(status.st_mode):
            try:
                yield path, path.read_bytes()
            except FileNotFoundError:
                pass


def write_model(directory, files):
    """Makes a model directory of texts and bytes."""
    directory = Path(directory)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content)
    return directory


@pytest.fixture(scope="session")
def shared_platform(tmp_path_factory):
    """One platform for tests that do no harm to it."""
    platform = Platform(tmp_path_factory.mktemp("shared") / "data").start()
    yield platform
    assert platform.stop() == 0


def sandbox_of(request):
    """Options: none, but for tests whose models tell them things by files that are not the models' own."""
    return ["--sandbox", "off"] if request.node.get_closest_marker("outside") else []


@pytest.fixture
def platform(tmp_path, request):
    """A platform of the test's own."""
    platform = Platform(tmp_path / "data")
    platform.sandbox = sandbox_of(request)
    platform.start()
    yield platform
    platform.stop()


@pytest.fixture
def fresh(tmp_path, request):
    """Makes platforms that are not started yet."""
    made = []

    def make(name="data", **options):
        platform = Platform(tmp_path / name, **options)
        platform.sandbox = sandbox_of(request)
        made.append(platform)
        return platform

    yield make
    for platform in made:
        if platform.process:
            platform.stop()


#: A key that could check signatures of models; whose it is, nobody knows.
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMNEwTFte836XH/rKMpH2QsbS+Oib
+U0iPlQ/qo4PIeZFUy539uOyJ/k37/3V6GIEABDC1hWA+Lt4Pd4/iHqU1g==
-----END PUBLIC KEY-----
"""

ROW = 'def predict(age: int, city: str = "Utrecht") -> float:\n    return age * 0.5\n'
CONSTANT = "def predict(x: int) -> int:\n    return {value}\n"


def constant(value):
    """A model that always answers the same."""
    return {"model.py": CONSTANT.format(value=value)}
