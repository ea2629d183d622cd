"""How requests come in: over TCP, in clear or over TLS, through a proxy, and over the Unix socket that the owner has."""

import hashlib
import json
import os
import pty
import signal
import socket
import ssl
import stat
import sys
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from conftest import BINARY, ROOT, constant, wait_for, write_model
from test_faults import alive
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


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Authority:
    """An authority in a directory, and pairs that it signs."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.certificate = directory / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={directory.name}",
                "-keyout", directory / "ca.key", "-out", self.certificate)

    def sign(self, name, usage="serverAuth"):
        """A certificate for 127.0.0.1 and its key; gives both texts."""
        key, request, made = (self.directory / f"{name}.{kind}" for kind in ["key", "csr", "pem"])
        extensions = self.directory / "extensions"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.directory / "ca.key", "-CAcreateserial", "-days", "20",
                "-extfile", extensions, "-out", made)
        return made.read_text(), key.read_text()


@pytest.fixture
def secure(fresh, tmp_path):
    """A platform with a model `m` that speaks TLS by an authority of its own."""

    def start(*arguments, trusting=None):
        platform = fresh("secure").start()
        platform.run("deploy", write_model(tmp_path / "m", constant(1)))
        platform.stop()
        platform.arguments += arguments or ["--tls"]
        platform.trusted = ssl.create_default_context(cafile=trusting)
        if trusting is None:
            platform.process, platform.url = platform.launch("--listen", "127.0.0.1:0")
            platform.trusted = ssl.create_default_context(cafile=platform.data / "tls/ca.pem")
            wait_for(lambda: platform.get("/readyz").status == 200, "readiness")
            return platform
        return platform.start()

    return start


def serial(platform):
    """Of the certificate that a new connection is shown."""
    host, port = platform.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), 20) as plain, platform.trusted.wrap_socket(plain, server_hostname=host) as connection:
        return connection.getpeercert()["serialNumber"]


class Secure:
    """Predictions over TLS from several connections that stay and several new ones, for as long as the block runs."""

    def __init__(self, platform, authority):
        self.url, self.authority, self.done, self.statuses = f"{platform.url}/v1/models/m/predict", str(authority), threading.Event(), []

    def ask(self, keep):
        session = requests.Session()
        while not self.done.is_set():
            if not keep:
                session.close()
                session = requests.Session()
            try:
                self.statuses.append(session.post(self.url, json={"x": 0}, verify=self.authority, timeout=60).status_code)
            except requests.RequestException as error:
                self.statuses.append(error)

    def __enter__(self):
        self.pool = ThreadPoolExecutor(6)
        self.running = [self.pool.submit(self.ask, keep) for keep in [True, False] * 3]
        self.more()
        return self

    def more(self):
        seen = len(self.statuses)
        wait_for(lambda: len(self.statuses) > seen + 60, "more answers over TLS")

    def __exit__(self, *error):
        self.done.set()
        self.pool.shutdown()
        [thread.result() for thread in self.running]


def test_clients_over_tls(secure):
    platform = secure()
    authority, body = platform.data / "tls/ca.pem", '{"x": 0}'
    path = "/v1/models/m/predict"
    for version, seen in [("--http1.1", "1.1"), ("--http2", "2")]:
        command = ["curl", "-sS", version, "--cacert", authority, "-d", body, "-w", " %{http_version}", platform.url + path]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == '{"output":1} ' + seen
    assert requests.post(platform.url + path, data=body, verify=str(authority)).json() == {"output": 1}
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(platform.url + path, data=body)
    import numpy
    import tritonclient.http as triton
    with triton.InferenceServerClient(platform.url.removeprefix("https://"), ssl=True, ssl_options={"ca_certs": str(authority)}) as client:
        column = triton.InferInput("x", [1], "INT64").set_data_from_numpy(numpy.array([0]))
        assert client.infer("m", [column]).as_numpy("output").tolist() == [1]
    program = "import decalog; print(decalog.Client().predict('m', {'x': 0}))"
    environment = {**os.environ, "DECALOG_URL": platform.url, "SSL_CERT_FILE": str(authority), "PYTHONPATH": str(ROOT / "sdk/python/src")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True).stdout == "{'output': 1}\n"


def test_plain_http_is_told_to_use_https(secure):
    platform = secure()
    answer = requests.get(platform.url.replace("https", "http") + "/v1/models")
    assert answer.status_code == 400 and answer.json()["code"] == "plain_text" and "https://" in answer.json()["help"]
    with socket.create_connection(("127.0.0.1", int(platform.url.rsplit(":", 1)[1])), 20) as connection:
        connection.sendall(b"\x16\x03\x01\x00\x05hello")
        assert b"HTTP" not in connection.recv(4096), "that is an alert of TLS"
    assert platform.get("/healthz").status == 200


def test_certificate_files_are_swapped_under_load(secure, tmp_path):
    authority, (certificate, key) = Authority(tmp_path / "authority"), (tmp_path / "cert.pem", tmp_path / "key.pem")

    def swap(pair):
        for path, text in zip([certificate, key], pair):
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").rename(path)

    swap(authority.sign("first"))
    platform = secure("--tls-cert", certificate, "--tls-key", key, trusting=authority.certificate)
    with Secure(platform, authority.certificate) as load:
        for name in ["second", "third"]:
            before = serial(platform)
            swap(authority.sign(name))
            wait_for(lambda: serial(platform) != before, "the new certificate")
            load.more()
        good = serial(platform)
        swap((authority.sign("fourth")[0], key.read_text()))
        log = tmp_path / "secure.log"
        wait_for(lambda: "the key is not that of the certificate" in log.read_text(), "the error in the log")
        load.more()
        assert serial(platform) == good, "a bad pair keeps the old one"
        key.unlink()
        wait_for(lambda: "key.pem cannot be read" in log.read_text(), "the next error in the log")
        assert serial(platform) == good
        swap(authority.sign("fifth"))
        wait_for(lambda: serial(platform) != good, "the new certificate")
        load.more()
    assert set(load.statuses) == {200}, len(load.statuses)


def test_takeover_under_load_over_tls_fails_nothing(secure):
    platform = secure()
    authority = platform.data / "tls/ca.pem"
    with Secure(platform, authority) as load:
        for _ in range(3):
            platform.takeover()
            load.more()
    assert set(load.statuses) == {200}, len(load.statuses)


def test_a_certificate_that_a_caller_shows_must_be_of_a_trusted_authority(secure, tmp_path):
    trusted, foreign = Authority(tmp_path / "trusted"), Authority(tmp_path / "foreign")
    platform = secure("--tls-client-ca", trusted.certificate)
    ask = {"json": {"x": 0}, "verify": str(platform.data / "tls/ca.pem")}
    url = f"{platform.url}/v1/models/m/predict"
    assert requests.post(url, **ask).status_code == 200, "nobody has to show one"
    for authority, is_let_in in [(trusted, True), (foreign, False)]:
        authority.sign("client", "clientAuth")
        pair = (str(authority.directory / "client.pem"), str(authority.directory / "client.key"))
        if is_let_in:
            assert requests.post(url, cert=pair, **ask).status_code == 200
        else:
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.post(url, cert=pair, **ask)


def test_a_server_without_a_certificate_that_fits_does_not_start(tmp_path):
    authority = Authority(tmp_path / "authority")
    (first, _), (_, second) = authority.sign("first"), authority.sign("second")
    (tmp_path / "cert.pem").write_text(first)
    (tmp_path / "key.pem").write_text(second)
    command = [BINARY, "up", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem"]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert completed.returncode == 1 and "the key is not that of the certificate" in completed.stderr and "key.pem" in completed.stderr, completed


def from_address(source, url, path, headers):
    """Status and JSON of an answer to a request that comes from this address of this machine."""
    host, port = url.removeprefix("http://").split(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((host, int(port)), 20, source_address=(source, 0)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else body


def own_address():
    """An address of this machine by which others reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def beyond(platform, *arguments):
    """Starts a platform on all addresses; gives the lines with which it greets, and its port."""
    log = platform.data.parent / "beyond.log"
    with open(log, "wb") as out:
        platform.process = subprocess.Popen([BINARY, "up", "--data", platform.data, "--listen", "0.0.0.0:0", *arguments], stdout=out, stderr=out)
    lines = wait_for(lambda: "Next:" in log.read_text() and log.read_text().splitlines(), "the greeting")
    return lines, int(lines[0].split("://")[1].split()[0].rsplit(":", 1)[1])


def test_behind_a_proxy(fresh):
    """What a proxy says of a request is believed of a proxy alone."""
    platform = fresh(arguments=["--behind-proxy", "127.0.0.2", "--allow-host", "ml.example.org"]).start()
    said = {"Host": "upstream", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "ml.example.org"}
    assert from_address("127.0.0.2", platform.url, "/healthz", said)[0] == 200
    # Predictions are not open to whoever a proxy lets through.
    assert from_address("127.0.0.2", platform.url, "/v2/models/m", said)[0] == 401
    status, problem = from_address("127.0.0.2", platform.url, "/v1/models", said | {"X-Forwarded-Host": "evil.example"})
    assert status == 403 and "evil.example" in problem["error"]
    status, problem = from_address("127.0.0.3", platform.url, "/v1/models", said)
    assert status == 403 and "upstream" in problem["error"], "the Host itself counts"


def test_beyond_loopback_only_a_proxy_may_speak_plain_http(fresh):
    address = own_address()
    if address is None or address.startswith("127."):
        pytest.skip("this machine has no address beyond loopback")
    _, port = beyond(fresh(), "--behind-proxy", "127.0.0.2", "--allow-host", address)
    answer = requests.get(f"http://{address}:{port}/v1/models")
    assert answer.status_code == 400 and answer.json()["code"] == "plain_text" and address in answer.json()["error"]
    assert requests.get(f"http://127.0.0.1:{port}/healthz").status_code == 200, "this machine"


def test_beyond_loopback_tls_is_spoken_by_itself(fresh):
    platform = fresh()
    greeting, port = beyond(platform, "--allow-host", "ml.example.org")
    assert "https://ml.example.org:" in greeting[0]
    digest = greeting[1].split("SHA-256 ")[1].strip()
    der = ssl.PEM_cert_to_DER_cert((platform.data / "tls/ca.pem").read_text())
    assert hashlib.sha256(der).hexdigest() == digest
    assert greeting[3].strip() == "You are owner (local).", "nobody gets in without a token"
    assert greeting[2].strip().endswith(f"decalog login https://ml.example.org:{port} --ca-sha256 {digest} --token -")
    platform.trusted = ssl.create_default_context(cafile=platform.data / "tls/ca.pem")
    for host in ["localhost", "127.0.0.1", own_address() or "127.0.0.1"]:
        platform.url = f"https://{host}:{port}"
        assert wait_for(lambda: platform.get("/healthz").status == 200, f"an answer at {host}", 20)
        assert platform.get("/v2/models/m").status == 401, "nobody is answered who has no token"


def token_of(platform):
    """A token that this server takes."""
    return platform.owners_token()


@pytest.fixture
def elsewhere(secure, tmp_path):
    """A platform that speaks TLS; how it is called by somebody who does not own it, and the SHA-256 of its authority."""
    platform = secure()
    der = ssl.PEM_cert_to_DER_cert((platform.data / "tls/ca.pem").read_text())

    def run(*words, **options):
        environment = {"DECALOG_URL": "", "XDG_CONFIG_HOME": str(tmp_path / "config")} | options.pop("env", {})
        return platform.run(*words, env=environment, **options)

    return platform, run, hashlib.sha256(der).hexdigest()


def test_login_and_every_command_over_tls(elsewhere, tmp_path):
    platform, run, digest = elsewhere
    token, url = token_of(platform), platform.url
    refused = run("ls", "--url", url, env={"DECALOG_TOKEN": token}, ok=False)
    assert refused.code == 1 and "UnknownIssuer" in refused.err and "decalog login" in refused.err, refused
    run("login", url, "--ca-sha256", digest, "--token", "-", stdin=token)
    known = tmp_path / "config/decalog/servers.toml"
    assert stat.S_IMODE(known.stat().st_mode) == 0o600 and token in known.read_text()
    # From here on everything goes to that server, without naming it.
    files = {"model.py": "def predict(x: int) -> int:\n    print('asked', flush=True)\n    return x + 1\n"}
    model = write_model(tmp_path / "n", files)
    (model / "weights.bin").write_bytes(os.urandom(20 << 20))
    run("deploy", model)
    assert {model["name"] for model in run("ls", "--json").json()["models"]} == {"m", "n"}
    assert json.loads(run("predict", "n", '{"x": 1}').out) == {"output": 2}
    assert "asked" in run("logs", "n").out
    run("backup", tmp_path / "backup.tar")
    assert (tmp_path / "backup.tar").stat().st_size > 20 << 20
    environment = {**os.environ, "DECALOG_URL": "", "XDG_CONFIG_HOME": str(tmp_path / "config")}
    following = subprocess.Popen([BINARY, "events", "n", "-f", "--json"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(following.stdout.readline, "")
        assert any('"released"' in line for line in lines)
        run("env", "set", "LEVEL=4", "--model", "n")
        assert any('"variable_set"' in line for line in lines)
    finally:
        following.kill()
        following.wait()
        following.stdout.close()
    run("logout")
    assert token not in known.read_text()
    assert "not logged in" in run("logout", ok=False).err


def test_a_server_that_is_not_the_expected_one(elsewhere, tmp_path, fresh):
    platform, run, digest = elsewhere
    token = token_of(platform)
    for wrong, says in [("0" * 64, digest), (None, digest)]:
        words = ["--ca-sha256", wrong] if wrong else []
        failed = run("login", platform.url, *words, "--token", "-", stdin=token, ok=False)
        assert failed.code == 1 and says in failed.err and not (tmp_path / "config").exists(), failed
    run("login", platform.url, "--ca-sha256", digest, "--token", "-", stdin=token)
    # At the same address somebody else answers: nothing of the token reaches him.
    platform.stop()
    other = fresh("other", arguments=["--tls"])
    other.url, other.trusted = platform.url, ssl._create_unverified_context()
    other.start(same_address=True)
    refused = run("ls", ok=False)
    assert refused.code == 1 and "not known" in refused.err, refused
    plain = run("ls", "--url", "http://192.0.2.1:8010", env={"DECALOG_TOKEN": token}, ok=False)
    assert plain.code == 1 and "not sent in clear" in plain.err, plain
    for words in [["http://192.0.2.1:8010"], ["ftp://nothing"]]:
        failed = run("login", *words, "--token", "-", stdin=token, ok=False)
        assert failed.code == 1 and "no https:// address" in failed.err, failed


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_login_asks_on_a_terminal(elsewhere, tmp_path, answer):
    platform, _, digest = elsewhere
    (tmp_path / "token").write_text(token_of(platform) + "\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["XDG_CONFIG_HOME"] = str(tmp_path / "config")
        os.dup2(os.open(tmp_path / "token", os.O_RDONLY), 0)
        os.execv(BINARY, ["decalog", "login", platform.url, "--token", "-"])
    seen = b""
    while b"[yes/no]" not in seen:
        seen += os.read(terminal, 4096)
    assert digest.encode() in seen
    os.write(terminal, answer.encode() + b"\n")
    try:
        while piece := os.read(terminal, 4096):
            seen += piece
    except OSError:
        pass  # the end of a terminal
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert (code, (tmp_path / "config/decalog/servers.toml").exists()) == ((0, True) if answer == "yes" else (1, False)), seen


def test_the_owner_of_a_server_that_speaks_tls_needs_no_login(elsewhere):
    """Not at its address, and not at the one that commands go to by themselves where it speaks TLS."""
    platform, run, _ = elsewhere
    for url in [platform.url, platform.url.replace("https", "http")]:
        assert [model["name"] for model in run("ls", "--json", "--url", url).json()["models"]] == ["m"]
    upgraded = run("upgrade", "--json", "--url", platform.url).json()
    assert platform.process.wait(60) == 0
    os.kill(upgraded["new"]["pid"], signal.SIGTERM)
    wait_for(lambda: not alive(upgraded["new"]["pid"]), "the end of the platform")
