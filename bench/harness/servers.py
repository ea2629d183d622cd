"""The servers that are compared: how each is started, asked and understood."""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import workloads
from .load import Request
from .paths import BENCH, CACHE, RUN, VENVS, WORK
from .workloads import Workload

JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}
BOUNDARY = "decalog-bench-boundary"


@dataclass
class Server:
    """One row of the tables."""

    name: str
    family: str
    batching: bool | None = None  # None: it has none
    batch_wait_ms: int = 5  # of 1, 5 and 10 the one that served most requests
    own_process: bool = True  # whether the model runs in a process of its own
    note: str = ""
    without: list[str] = field(default_factory=list)  # workloads that it cannot serve this way

    def environment(self, workload: Workload, port: int) -> dict[str, str]:
        """All that its processes get: nothing of the caller's, and one thread for numeric libraries."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "SSL_CERT_FILE") if name in os.environ}
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
        ours = {
            "LANG": "C.UTF-8",
            "PORT": str(port),
            "BENCH_WORKLOAD": workload.name,
            "BENCH_WORK": str(WORK),
            "BENCH_BATCH": "1" if self.batching else "0",
            "BENCH_BATCH_WAIT_MS": str(self.batch_wait_ms),
            "DO_NOT_TRACK": "1",
            "BENTOML_DO_NOT_TRACK": "true",
        }
        return kept | threads | ours

    def directory(self, workload: Workload) -> Path:
        """Where it runs."""
        return RUN / self.name / workload.name

    def marker(self, workload: Workload) -> str | None:
        """An argument by which processes of its that are no descendants are known."""
        return str(self.directory(workload) / "data") if self.family == "decalog" else None

    def argv(self, workload: Workload, port: int, decalog: Path) -> list[str]:
        """Its command line."""
        python = str(VENVS / self.family / "bin" / "python")
        app = str(BENCH / "servers" / self.family / "app.py")
        if self.family == "decalog":
            return [str(decalog), "up", "--data", str(self.marker(workload)), "--listen", f"127.0.0.1:{port}"]
        if self.family == "hyper":
            return [str(CACHE / "tools-target" / "release" / "hyper-echo"), str(port)]
        if self.family == "mosec":
            settings = {"address": "127.0.0.1", "port": port, "path": self.sockets(port), "timeout": 30_000, "log-level": "warning"}
            return [python, app] + [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        if self.family == "bentoml":
            bentoml = str(VENVS / "bentoml" / "bin" / "bentoml")
            return [bentoml, "serve", "app:Model", "--working-dir", str(Path(app).parent), "--host", "127.0.0.1", "--port", str(port)]
        if self.family == "mlserver":
            self.write_mlserver_settings(workload, port)
            return [str(VENVS / "mlserver" / "bin" / "mlserver"), "start", str(self.directory(workload))]
        return [python, app]

    def sockets(self, port: int) -> Path:
        """Where mosec puts its sockets: their paths must be short."""
        return Path(f"/tmp/decalog-bench-{os.getpid()}-{port}")

    def write_mlserver_settings(self, workload: Workload, port: int) -> None:
        """MLServer reads its ports and the model from files."""
        from .processes import free_port

        directory = self.directory(workload)
        directory.mkdir(parents=True, exist_ok=True)
        settings = {"debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        model: dict[str, Any] = {"name": workload.name, "implementation": "runtime.Model"}
        if self.batching:
            model |= {"max_batch_size": 32, "max_batch_time": self.batch_wait_ms / 1_000}
        (directory / "settings.json").write_text(json.dumps(settings))
        (directory / "model-settings.json").write_text(json.dumps(model))
        (directory / "runtime.py").write_text((BENCH / "servers" / "mlserver" / "runtime.py").read_text())
        (directory.parent / "workload.py").write_text((BENCH / "servers" / "workload.py").read_text())

    def request(self, workload: Workload) -> Request:
        """One row, in the form that this server takes."""
        path, content, headers = self.form(workload)
        return Request(path, workloads.body(self.name, workload.name, content), headers)

    def form(self, workload: Workload) -> tuple[str, bytes, dict[str, str]]:
        tensor = workload.name == "tensor"
        if self.family == "decalog" and tensor:
            content, head = workloads.protocol_binary(workload)
            return f"/v2/models/{workload.name}/infer", content, BINARY | {"Inference-Header-Content-Length": str(head)}
        if self.family == "mlserver":
            content = workloads.protocol_base64(workload) if tensor else workloads.protocol(workload)
            return f"/v2/models/{workload.name}/infer", content, JSON
        if self.family == "litserve" and tensor:
            return "/predict", workloads.multipart(workload, BOUNDARY), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        path = {"decalog": f"/v1/models/{workload.name}/predict", "mosec": "/inference"}.get(self.family, "/predict")
        if tensor:
            return path, workloads.floats(workload.row), BINARY
        if self.family == "bentoml" and self.batching:
            return path, json.dumps({"x": [workload.row]}).encode(), JSON
        return path, workloads.plain(workload), JSON

    def is_right(self, workload: Workload, content: bytes) -> bool:
        """Whether the body of an answer is what the model must answer."""
        if self.family == "hyper":
            sent = self.form(workload)[1]
            return content == (sent if len(sent) <= 4_096 else sent[:16])
        try:
            found = numbers(json.loads(content))
        except (ValueError, KeyError, TypeError):
            return False
        close = (abs(a - b) <= workload.tolerance for a, b in zip(found, workload.answer))
        return len(found) == len(workload.answer) and all(close)


def numbers(value: Any) -> list[float]:
    """The numbers of an answer: of the first output of the protocol, of the only column of a row, or of plain lists."""
    if isinstance(value, dict) and "outputs" in value:
        return numbers(value["outputs"][0]["data"])
    if isinstance(value, dict):
        if len(value) != 1:
            raise ValueError("more than one output")
        return numbers(next(iter(value.values())))
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)]


SERVERS = [
    Server("decalog", "decalog", batching=True, note="always batches; the model in a worker process"),
    Server("hyper", "hyper", own_process=False, note="no model: returns the body, or 16 bytes of one above 4 KiB"),
    Server("fastapi", "fastapi", own_process=False, note="uvicorn, uvloop, httptools, one worker"),
    Server("mosec", "mosec", batching=False, note="one worker"),
    Server("mosec-batch", "mosec", batching=True, note="one worker; batches of up to 32 rows (48 of the forest), 5 ms"),
    Server("litserve", "litserve", batching=False, note="fast_queue; the tensor as a multipart file, its only binary form"),
    Server("litserve-batch", "litserve", batching=True, batch_wait_ms=1, note="fast_queue; the tensor as a multipart file, its only binary form"),
    Server("bentoml", "bentoml", batching=False, own_process=False, note="the tensor as a raw body, which it keeps in a file"),
    Server("bentoml-batch", "bentoml", batching=True, own_process=False, without=["tensor"], note="does not batch raw bodies"),
    Server("mlserver", "mlserver", batching=False, note="one inference worker; the tensor as base64: its REST takes no binary"),
    Server("mlserver-batch", "mlserver", batching=True, batch_wait_ms=1, note="one inference worker; the tensor as base64: its REST takes no binary"),
]


def by_name(name: str) -> Server:
    """The server of this name."""
    for server in SERVERS:
        if server.name == name:
            return server
    sys.exit(f"there is no server `{name}`; there are {', '.join(server.name for server in SERVERS)}")
