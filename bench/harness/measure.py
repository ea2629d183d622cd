"""One visit to one server: start it, wait for its first right answer, load it, look at its memory, stop it."""

import http.client
import os
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import load, tools
from .paths import RUN
from .processes import Running, free_port
from .servers import Server
from .workloads import Workload

FIRST_ANSWER_S_MAX = 60.0
WARM_UP_S = 1.0
WARM_UP_CONNECTIONS = 16
ASK_S_MAX = 30.0
POLL_S = 0.002
OPEN_LOOP_CONNECTIONS = 64


class Broken(Exception):
    """A server that cannot be measured, and why."""


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S_MAX)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(running: Running, what: str, is_there: Any) -> float:
    """Asks until `is_there` says yes; the seconds since the start."""
    while True:
        last = "nothing listens"
        try:
            found, last = is_there()
            if found:
                return time.monotonic() - running.started
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        if running.has_ended():
            raise Broken(f"ended before {what}: {running.last_words()}")
        if time.monotonic() - running.started > FIRST_ANSWER_S_MAX:
            raise Broken(f"no {what} within {FIRST_ANSWER_S_MAX:g} s ({last}): {running.last_words()}")
        time.sleep(POLL_S)


def ask_and_check(server: Server, workload: Workload, port: int) -> tuple[bool, str]:
    """Whether one request gets the right answer, and what came instead."""
    request = server.request(workload)
    status, content = ask(port, "POST", request.path, request.body.read_bytes(), request.headers)
    if status == 200 and not server.is_right(workload, content):
        raise Broken(f"a wrong answer: {content[:300]!r}")
    return status == 200, f"status {status}: {content[:300]!r}"


def ready(port: int) -> tuple[bool, str]:
    """Whether Decalog says that it is."""
    status, content = ask(port, "GET", "/readyz")
    return status == 200, f"status {status}: {content[:300]!r}"


def visit(server: Server, workload: Workload, connections: list[int], seconds: float, decalog: Path) -> dict[str, Any]:
    """All figures of one round for one server and workload."""
    port = free_port()
    running = start(server, workload, port, decalog)
    try:
        first_answer_s = wait_for(running, "right answer", lambda: ask_and_check(server, workload, port))
        memory_idle_mb = running.memory_mb()
        request = server.request(workload)
        load.run(request, port, WARM_UP_CONNECTIONS, min(seconds, WARM_UP_S))
        loads = {str(count): asdict(load.run(request, port, count, seconds)) for count in connections}
        found = {"first_answer_s": first_answer_s, "memory_idle_mb": memory_idle_mb, "loads": loads}
        if server.family == "decalog" and workload.name == "echo":
            rate = max(one["requests_per_s"] for one in loads.values()) / 2
            found["open_loop"] = asdict(load.run(request, port, OPEN_LOOP_CONNECTIONS, seconds, rate)) | {"rate": rate}
        right, got = ask_and_check(server, workload, port)
        if not right:
            raise Broken(f"no answer after the load: {got}")
        found["memory_mb"] = running.memory_mb()
        return found
    except RuntimeError as error:
        raise Broken(str(error)) from error
    finally:
        stop(server, port, running)


def stop(server: Server, port: int, running: Running) -> None:
    """Ends the server, and says so if it would not go by itself."""
    if not running.stop():
        tools.say(f"  {server.name} did not end when it was told to, and was killed")
    shutil.rmtree(server.sockets(port), ignore_errors=True)


def start(server: Server, workload: Workload, port: int, decalog: Path) -> Running:
    """The server's processes, on their way."""
    log = RUN / "logs" / f"{server.name}-{workload.name}.log"
    argv = server.argv(workload, port, decalog)
    if not Path(argv[0]).exists():
        raise Broken(f"{argv[0]} is not there")
    return Running(argv, server.environment(workload, port), server.directory(workload), log, server.marker(workload))


def deploy(server: Server, workload: Workload, decalog: Path) -> float:
    """A fresh data directory with this model live in it, as the visits find it; the seconds that the deployment took."""
    directory = server.directory(workload)
    shutil.rmtree(directory, ignore_errors=True)
    port = free_port()
    running = start(server, workload, port, decalog)
    try:
        wait_for(running, "readiness", lambda: ready(port))
        model = tools.model_directory(workload.name)
        argv = [str(decalog), "deploy", str(model), "--name", workload.name, "--url", f"http://127.0.0.1:{port}"]
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), timeout=600)
        if done.returncode != 0:
            raise Broken(f"decalog deploy {workload.name}: {(done.stderr or done.stdout).strip()[-1_500:]}")
        return time.monotonic() - began
    finally:
        stop(server, port, running)


def start_up(server: Server, workload: Workload, decalog: Path) -> dict[str, float]:
    """`decalog up` without a model: seconds to ready in a new data directory and again in the same, and its resident memory."""
    found = {}
    directory = server.directory(workload)
    shutil.rmtree(directory, ignore_errors=True)
    for key in ("new_s", "again_s"):
        port = free_port()
        running = start(server, workload, port, decalog)
        try:
            found[key] = wait_for(running, "readiness", lambda: ready(port))
            found["memory_mb"] = running.memory_mb()
        finally:
            stop(server, port, running)
    return found
