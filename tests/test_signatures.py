"""Signatures of models, with the tool of their format: what PyPI `model-signing` signs counts here, what Decalog signs counts there, and
what was changed, is by another key, or by one that is not trusted any more, does not."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess

import pytest

from conftest import Platform, constant, wait_for, write_model

CURVES = {"p256": "prime256v1", "p384": "secp384r1", "p521": "secp521r1"}
PROTECTION = "/v1/projects/default/environments/production/protection"


#: Several calls of the tool in one process, as it takes long to start: prints what each said, and whether it was satisfied.
CALLS = """
import json, sys
from click.testing import CliRunner
from model_signing._cli import main
done = [CliRunner().invoke(main, arguments) for arguments in json.load(sys.stdin)]
print(json.dumps([[result.exit_code == 0, result.output] for result in done]))
"""


def tool(*calls):
    """PyPI `model-signing`, called several times."""
    calls = [[str(argument) for argument in call] for call in calls]
    done = subprocess.run([os.environ["DECALOG_SIGNING_PYTHON"], "-c", CALLS], input=json.dumps(calls), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def signing(model, key, name="model.sig"):
    return ["sign", "key", model, "--private_key", key, "--signature", model / name]


def verifying(model, key, signature="model.sig"):
    return ["verify", "key", model, "--public_key", key, "--signature", model / signature]


def sign(model, key):
    [[is_done, said]] = tool(signing(model, key))
    assert is_done, said


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Pairs of keys by name, as OpenSSL makes them: `ann.key` and `ann.pem`."""
    home = tmp_path_factory.mktemp("keys")
    for name, curve in (("ann", "p256"), ("bob", "p384"), ("eve", "p521")):
        subprocess.run(["openssl", "ecparam", "-name", CURVES[curve], "-genkey", "-noout", "-out", home / f"{name}.key"], check=True)
        subprocess.run(["openssl", "ec", "-in", home / f"{name}.key", "-pubout", "-out", home / f"{name}.pem"], check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def served(tmp_path_factory, keys):
    """A platform that trusts ann, and whose production takes only what is signed."""
    platform = Platform(tmp_path_factory.mktemp("served") / "data").start()
    platform.run("trust", "add", keys / "ann.pem")
    platform.run("env", "protect", "production", "--signed")
    yield platform
    assert platform.stop() == 0


def refused(result, *words):
    text = " ".join(result.err.split())
    assert result.code == 1 and all(word in text for word in words), result


def version(platform, name):
    return platform.run("show", name, "--json").json()["versions"][-1]


def bodies(platform, kind):
    events = platform.run("events", "--kind", kind, "--json").json()["events"]
    return [event["body"] for event in events]


def test_what_the_tool_signs_goes_live_and_is_shown(served, keys, tmp_path):
    model = write_model(tmp_path / "scored", {**constant(1), "decalog.toml": "[model]\nname = 'scored'\n", "data/table.csv": "a,b\n1,2\n",
                                              ".gitignore": "x\n", ".decalogignore": "notes.txt\n", "__pycache__/model.pyc": "x"})
    sign(model, keys / "ann.key")
    done = served.run("deploy", model)
    assert "signed by ann" in done.err and served.predict("scored", {"x": 1}).json() == {"output": 1}
    shown = served.run("show", "scored@v1").out
    id = hashlib.sha256((keys / "ann.pem").read_bytes()).hexdigest()
    assert f"signed by ann ({id[:12]})" in shown
    assert version(served, "scored")["signature"] == {"key": id, "name": "ann", "trusted": True, "says": f"signed by ann ({id[:12]})"}
    # The key, the signer and what came of it are in the ledger.
    assert bodies(served, "trust_given")[0]["key"]["id"] == id
    pushed = [body for body in bodies(served, "version_pushed") if body["manifest"]["model"].get("name") == "scored"]
    assert pushed[0]["signature"] == {"key": id, "trusted_as": "ann"}
    assert bodies(served, "signature_judged")[0]["signature"]["trusted_as"] == "ann"
    assert bodies(served, "signatures_required") == [{"environment": "production", "required": True}]
    assert "production" in served.run("trust", "ls").out
    # What was not signed does not go live, and what is live stays so.
    (model / "model.sig").unlink()
    refused(served.run("deploy", model, ok=False), "production takes only signed versions", "it is not signed", "decalog sign")
    assert served.predict("scored", {"x": 1}).json() == {"output": 1}
    assert "not signed" in served.run("show", "scored@v2").out
    assert served.run("deploy", model, "--env", "staging").code == 0
    answer = served.request("POST", "/v1/projects/default/models/scored/promotions", {"from": "staging", "to": "production"})
    assert (answer.status, answer.json()["code"]) == (422, "not_signed")


def test_what_is_not_what_was_signed_is_refused_by_its_name(served, keys, tmp_path):
    files = {**constant(1), "weights.bin": bytes(range(256)), "sub/words.txt": "a\n", "decalog.toml": "[scale]\nmax = 2\n"}
    model = write_model(tmp_path / "changed", files)
    sign(model, keys / "ann.key")
    signature = json.loads((model / "model.sig").read_text())

    def push(*words):
        refused(served.run("deploy", model, "--env", "staging", ok=False), *words)
        for path in model.rglob("*"):
            if path.is_file() and path.name != "model.sig" and str(path.relative_to(model)) not in files:
                path.unlink()
        write_model(model, {**files, "model.sig": json.dumps(signature)})

    flipped = bytearray(files["weights.bin"])
    flipped[100] ^= 1
    (model / "weights.bin").write_bytes(flipped)
    push("not a signature of these files weights.bin has another content than what was signed help:", "decalog sign")
    (model / "sub/more.txt").write_text("x")
    (model / "sub/words.txt").unlink()
    push("these files sub/more.txt is not signed sub/words.txt is signed, and is not among the files")
    (model / "decalog.toml").write_text("[model]\ncommand = ['sh', '-c', 'evil']\n")
    push("decalog.toml")
    # Another key in the place of the one that signed, and a signature by another key under its name.
    forged = json.loads((model / "model.sig").read_text())
    forged["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    (model / "model.sig").write_text(json.dumps(forged))
    push("was not made with it")
    served.run("sign", model, "--key", keys / "eve.key")
    mixed = json.loads((model / "model.sig").read_text())
    mixed["verificationMaterial"] = signature["verificationMaterial"]
    (model / "model.sig").write_text(json.dumps(mixed))
    push("was not made with it")
    (model / "model.sig").write_text("[" * 5000)
    push("model.sig is not a signature of a model")
    # The manifest comes beside the files: somebody who sends another one is refused, too.
    assert served.run("show", "changed", ok=False).code == 1, "nothing of it became a version"
    assert served.run("deploy", model, "--env", "staging").code == 0
    tree = [body for body in bodies(served, "version_pushed") if any(file["path"] == "weights.bin" for file in body["tree"])][0]
    body = {"tree": tree["tree"], "runtime": "python", "file": "model.py", "manifest": {"model": {"command": ["evil"]}}}
    answer = served.request("POST", "/v1/projects/default/models/changed/versions", body)
    assert (answer.status, answer.json()["code"]) == (422, "bad_signature") and "decalog.toml" in str(answer.json()["details"])


def test_trust_counts_at_each_release_and_at_each_start(served, keys, tmp_path):
    model = write_model(tmp_path / "trusting", constant(1))
    sign(model, keys / "bob.key")
    id = hashlib.sha256((keys / "bob.pem").read_bytes()).hexdigest()
    # It is pushed, and marked.
    refused(served.run("deploy", model, ok=False), f"the key {id[:12]}, which project default does not trust")
    signature = version(served, "trusting")["signature"]
    assert signature["key"] == id and not signature["trusted"] and "does not trust" in signature["says"]
    served.run("deploy", model, "--env", "staging")
    served.run("trust", "add", keys / "bob.pem", "--name", "bobs-team")
    served.run("release", "trusting@v1")
    assert served.predict("trusting", {"x": 1}).json() == {"output": 1}
    assert version(served, "trusting")["signature"]["trusted"]
    removed = served.run("trust", "rm", id[:8])
    assert "bobs-team" in removed.err and "trusting@v1" in served.request("PUT", PROTECTION, {"signed": True}).body.decode()
    assert served.predict("trusting", {"x": 1}).json() == {"output": 1}, "what runs goes on"
    refused(served.run("release", "trusting@v1", ok=False), "does not trust")
    assert "does not trust any more" in served.run("show", "trusting").out
    # No new replica is laid out in production; elsewhere it is.
    replicas = served.run("show", "trusting", "--json").json()["replicas"]
    for replica in replicas:
        os.kill(replica["pid"], signal.SIGKILL)

    def failing():
        shown = served.run("show", "trusting", "--json").json()
        return [problem["code"] for environment, problem in shown["failing"] if environment == "production"] == ["not_signed"]

    wait_for(failing, "a start that is refused", 20)
    assert served.predict("trusting@staging", {"x": 1}).json() == {"output": 1}
    served.run("trust", "add", keys / "bob.pem")
    wait_for(lambda: served.predict("trusting", {"x": 1}).status == 200, "a start once the key is trusted again", 30)
    assert [body["name"] for body in bodies(served, "trust_withdrawn")] == ["bobs-team"]


def test_what_decalog_signs_is_right_by_the_tool(served, keys, tmp_path):
    files = {**constant(7), "decalog.toml": "[data]\ntrain = 'data.csv'\n", "data.csv": "x\n1\n", ".decalogignore": "*.tmp\n", "a.tmp": "x", "a/c": "1", "a-b/c": "2",
             "venv/pyvenv.cfg": "", ".env": "SECRET=1", "sub/__pycache__/x.pyc": "x", "sub/y.txt": "y", ".gitignore": "z"}
    model = write_model(tmp_path / "signed", files)
    signatures = {}
    for name in ("eve", "bob", "ann"):
        said = served.run("sign", model, "--key", keys / f"{name}.key", "--json").json()
        assert said["key"] == hashlib.sha256((keys / f"{name}.pem").read_bytes()).hexdigest()
        signatures[name] = (model / "model.sig").rename(tmp_path / f"{name}.sig")
    shutil.copy(signatures["ann"], model / "model.sig")
    changed, added = (shutil.copytree(model, tmp_path / name) for name in ("changed", "added"))
    (changed / "sub/y.txt").write_text("z")
    (added / "new.txt").write_text("z")
    pkcs8 = write_model(tmp_path / "other", constant(2))
    subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", keys / "ann.key", "-out", tmp_path / "ann8.key"], check=True)
    served.run("sign", pkcs8, "--key", tmp_path / "ann8.key")
    said = tool(
        *[verifying(model, keys / f"{name}.pem", signatures[name]) for name in signatures],
        verifying(pkcs8, keys / "ann.pem"),
        verifying(model, keys / "bob.pem"),
        verifying(changed, keys / "ann.pem"),
        verifying(added, keys / "ann.pem"),
    )
    assert [is_right for is_right, _ in said] == [True] * 4 + [False] * 3, said
    assert "mismatch" in said[4][1] and "sub/y.txt" in said[5][1] and "new.txt" in said[6][1]
    assert "signed by ann" in served.run("deploy", model).err


def test_keys_that_cannot_be_used_are_told_so(served, keys, tmp_path):
    refused(served.run("trust", "add", keys / "ann.key", ok=False), "private key", "openssl")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "ed.key"], check=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "ed.key", "-pubout", "-out", tmp_path / "ed.pem"], check=True)
    refused(served.run("trust", "add", tmp_path / "ed.pem", ok=False), "ECDSA")
    model = write_model(tmp_path / "m", constant(1))
    refused(served.run("sign", model, "--key", tmp_path / "ed.key", ok=False), "ECDSA")
    refused(served.run("sign", model, "--key", keys / "ann.pem", ok=False), "public key")
    refused(served.run("trust", "add", keys / "eve.pem", "--name", "ann", ok=False), "called ann")
    refused(served.run("trust", "rm", "nobody", ok=False), "trusts no key")
    assert served.request("PUT", PROTECTION, {"approvals": 1, "signed": True}).json()["code"] == "bad_request"
