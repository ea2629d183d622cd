"""How requests come in: over TCP, and over the Unix socket that the owner of the data directory has."""

import json
import os
import socket
import stat
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from conftest import BINARY, constant, wait_for, write_model
from test_upgrade import listening
from test_versions import Load

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def as_nobody(work):
    """What `work()` gives in a process of a user who owns nothing here, or its error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            result = work()
        except OSError as error:
            result = repr(error).encode()
        os.write(writer, result)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        result = pipe.read()
    os.waitpid(pid, 0)
    return result


def over(path, request):
    """What a socket answers to these bytes until it closes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        answer = b""
        try:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        return answer


@contextmanager
def recording(url):
    """Passes bytes to a server and back; gives its own URL, and the first bytes of each connection."""
    server, seen, port = socket.create_server(("127.0.0.1", 0)), [], int(url.rsplit(":", 1)[1])

    def copy(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            head = connection.recv(65536)
            seen.append(head.decode(errors="replace"))
            behind = socket.create_connection(("127.0.0.1", port))
            behind.sendall(head)
            for pair in [(connection, behind), (behind, connection)]:
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", seen
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_the_owner_goes_over_the_socket(platform, tmp_path):
    """All that comes over TCP is one question of what is there; deploying, following, reading logs and saving go over the socket."""
    for name in ["local.sock", "local.cookie"]:
        assert stat.S_IMODE(os.lstat(platform.data / name).st_mode) == 0o600, name
    with recording(platform.url) as (url, seen):
        def run(*arguments):
            seen.clear()
            result = platform.run(*arguments, "--url", url)
            assert [head.split(" HTTP")[0] for head in seen] == ["GET /v1/server"], seen
            assert "cookie" not in seen[0].lower() and "decalog-actor" not in seen[0].lower(), seen
            return result

        files = {"model.py": "def predict(x: int) -> int:\n    print('asked', flush=True)\n    return x + 1\n"}
        model = write_model(tmp_path / "m", files)
        (model / "weights.bin").write_bytes(os.urandom(20 << 20))
        run("deploy", model)
        assert "m" in run("ls").out
        assert json.loads(run("predict", "m", '{"x": 1}').out) == {"output": 2}
        assert "asked" in run("logs", "m").out
        run("backup", tmp_path / "backup.tar")
        assert (tmp_path / "backup.tar").stat().st_size > 20 << 20
        run("env", "set", "LEVEL=3", "--model", "m")
        seen.clear()
        environment = {**os.environ, "DECALOG_URL": url}
        following = subprocess.Popen([BINARY, "events", "m", "-f", "--json"], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            lines = iter(following.stdout.readline, "")
            assert any('"released"' in line for line in lines)
            platform.run("env", "set", "LEVEL=4", "--model", "m")
            assert any('"variable_set"' in line and '"4"' in line for line in lines)
            assert len(seen) == 1, seen
        finally:
            following.kill()
            following.wait()
            following.stdout.close()


def test_a_token_goes_by_the_url(platform):
    with recording(platform.url) as (url, seen):
        for arguments, environment, stdin in [([], {"DECALOG_TOKEN": "dcp_one"}, None), (["--token", "-"], {}, "dcp_one\n")]:
            seen.clear()
            platform.run("ls", "--url", url, *arguments, env=environment, stdin=stdin, ok=False)
            assert [head.split(" HTTP")[0] for head in seen] == ["GET /v1/models"], seen
            assert "authorization: bearer dcp_one\r\n" in seen[0].lower(), seen
    failed = platform.run("ls", "--token", "-", stdin="\n", ok=False)
    assert failed.code == 1 and "no token" in failed.err, failed
    assert platform.run("ls", "--token", "dcp_secret", ok=False).code == 2, "others would see it in the list of processes"


def test_a_server_elsewhere_with_a_directory_of_the_same_name(platform, fresh):
    """Through a tunnel, a server of another machine answers on loopback and names a directory that is here, too, with a server."""
    other = fresh("other").start()
    server = other.get("/v1/server").json()
    assert server["url"] == other.url and server["data"] == str(other.data)
    with listening(json.dumps(server | {"data": str(platform.data)}).encode()) as url:
        assert "not understood" in platform.run("ls", "--url", url, ok=False).err, "it was not asked over the socket of another server"


def test_the_cookie_is_new_at_each_start_and_stays_in_a_takeover(platform):
    cookie = platform.data / "local.cookie"
    first, server = cookie.read_text(), platform.get("/v1/server").json()
    assert len(first) == 64 and int(first, 16) and first not in json.dumps(server)
    platform.takeover()
    assert cookie.read_text() == first and platform.get("/v1/server").json()["instance"] == server["instance"]
    platform.run("ls")
    platform.stop()
    platform.start(same_address=True)
    assert cookie.read_text() != first and platform.get("/v1/server").json()["instance"] != server["instance"]
    platform.run("ls")


@needs_root
def test_another_user_is_not_let_in(platform):
    cookie = (platform.data / "local.cookie").read_text()
    request = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nDecalog-Cookie: {cookie}\r\nConnection: close\r\n\r\n".encode()
    assert over(platform.data / "local.sock", request).startswith(b"HTTP/1.1 200")
    assert b"PermissionError" in as_nobody(lambda: over(platform.data / "local.sock", request)), "the directory is closed"
    # Another name of the same socket, where everybody may connect.
    with tempfile.TemporaryDirectory() as door:
        os.chmod(door, 0o755)
        os.link(platform.data / "local.sock", f"{door}/s")
        os.chmod(f"{door}/s", 0o666)
        assert as_nobody(lambda: over(f"{door}/s", request)) == b"", "it is closed at once"
        assert over(f"{door}/s", request).startswith(b"HTTP/1.1 200"), "the same name lets the owner in"


@needs_root
def test_another_users_command_goes_by_the_url_and_never_reads_the_cookie(platform):
    with recording(platform.url) as (url, seen):
        try:
            subprocess.run([BINARY, "ls", "--url", url], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, timeout=60)
        except PermissionError:
            pytest.skip("another user cannot run this binary where it lies")
        assert [head.split(" HTTP")[0] for head in seen] == ["GET /v1/server", "GET /v1/models"], seen
        assert "cookie" not in "".join(seen).lower()


def test_a_data_directory_whose_path_is_too_long_for_a_socket(fresh):
    platform = fresh(name="long" * 30).start()
    assert len(str(platform.data / "local.sock")) > 108
    with recording(platform.url) as (url, seen):
        platform.run("ls", "--url", url)
        assert len(seen) == 1, seen
    platform.takeover().run("ls")


def test_takeover_under_load_over_the_socket_fails_nothing(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    body, done = b'{"x": 0}', threading.Event()
    cookie = (platform.data / "local.cookie").read_text()
    head = f"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nDecalog-Cookie: {cookie}\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answers, commands = [], []

    def ask():
        while not done.is_set():
            answers.append(over(platform.data / "local.sock", head.encode() + body))

    def command():
        while not done.is_set():
            commands.append(platform.run("show", "m", ok=False))

    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(ask) for _ in range(4)] + [pool.submit(command)]
        try:
            for _ in range(3):
                count = len(answers)
                platform.takeover()
                wait_for(lambda: len(answers) > count + 40, "answers of the new process")
        finally:
            done.set()
        [thread.result() for thread in running]
    assert not [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200")], len(answers)
    assert commands and not [result for result in commands if result.code != 0]
