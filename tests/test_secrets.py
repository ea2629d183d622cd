"""Secrets: their keys are rotated while everything serves, and whatever is killed meanwhile."""

import base64
import random
import re
import secrets
import shutil
import string
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from conftest import stored_files, wait_for, write_model

#: So many secrets that a rotation takes long enough to be killed in the middle.
SECRETS = 1_200
KILLS = 30
ENVIRONMENT = "/v1/projects/many/environments/production/variables"
#: Answers with the value of a variable.
READS = {"model.py": "import os\n\ndef predict(name: str) -> str:\n    return os.environ.get(name, '')\n"}


def put(platform, number):
    """Sets a secret; whether it had another value, or None if the server did not answer."""
    body = {"value": f"value of secret {number}", "secret": True}
    answer = platform.request("PUT", f"{ENVIRONMENT}/SECRET_{number}", body, {"content-type": "application/json"})
    return answer.json()["changed"] if answer.status == 200 else None


def put_all(platform):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: put(platform, number), range(SECRETS)))


def rotation_ended(platform):
    keys = platform.get("/v1/keys").json()
    return keys if not keys["rotation"]["running"] else None


def test_keys_are_rotated_while_a_model_serves(platform, fresh, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", READS))
    assert platform.run("key", "ls", "--json").json() == {"keys": [], "lost": 0, "rotation": None}
    platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse")
    read = lambda: platform.predict("m", {"name": "TOKEN"}).json()["output"]
    wait_for(lambda: read() == "correct horse", "the secret")
    pids = platform.pids("m")
    (first,) = platform.run("key", "ls", "--json").json()["keys"]
    assert first == {"id": first["id"], "provider": "file", "current": True, "secrets": 1}
    platform.run("key", "rotate", "--keep-old")
    second, old = sorted(platform.run("key", "ls", "--json").json()["keys"], key=lambda key: not key["current"])
    assert old == {**first, "current": False, "secrets": 0} and second["secrets"] == 1
    printed = platform.run("key", "rotate")
    assert f"{first['id']} is deleted" in printed.out and f"{second['id']} is deleted" in printed.out, printed
    (third,) = platform.run("key", "ls", "--json").json()["keys"]
    assert sorted(path.name for path in (platform.data / "keys").iterdir()) == sorted([third["id"], "current", "lock", "rotation"])
    rotations = [(event["actor"], event["body"]) for event in platform.run("events", "--kind", "keys_rotated", "--json").json()["events"]]
    assert rotations == [
        ("owner (local)", {"from": first["id"], "to": second["id"]}),
        ("owner (local)", {"from": second["id"], "to": third["id"], "removed": rotations[1][1]["removed"]}),
    ]
    assert sorted(rotations[1][1]["removed"]) == sorted([first["id"], second["id"]])
    assert platform.pids("m") == pids, "nothing restarts"
    assert "already" in platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse").err
    # A backup does not hold the keys, and with them it is whole.
    platform.run("backup", tmp_path / "b.tar")
    assert (platform.data / "keys" / third["id"]).read_bytes() not in (tmp_path / "b.tar").read_bytes()
    restored = fresh("restored")
    platform.run("restore", tmp_path / "b.tar", "--data", restored.data)
    assert not (restored.data / "keys").exists() and not (restored.data / "key").exists()
    shutil.copytree(platform.data / "keys", restored.data / "keys")
    restored.start()
    assert "already" in restored.run("env", "set", "TOKEN", "--secret", stdin="correct horse").err
    wait_for(lambda: restored.predict("m", {"name": "TOKEN"}).json().get("output") == "correct horse", "the restored secret")
    # Without its key a secret is not read, and the command says so.
    key = platform.data / "keys" / third["id"]
    key.rename(tmp_path / "key")
    failed = platform.run("key", "rotate", ok=False)
    assert failed.code == 1 and "1 secret cannot be read" in failed.err, failed
    assert "1 secret cannot be read" in platform.run("key", "ls").out
    (tmp_path / "key").rename(key)
    platform.run("key", "rotate")
    platform.kill()
    platform.start(same_address=True)
    assert "already" in platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse").err


def test_no_secret_is_lost_when_the_server_is_killed_while_keys_are_rotated(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", READS))
    assert put_all(platform) == [True] * SECRETS
    choose, done, acknowledged, cut = random.Random(7), threading.Event(), [0], 0

    def deploy():
        """New values and new versions, as long as the server lives."""
        number = 0
        while not done.is_set():
            number += 1
            if platform.run("env", "set", "TOKEN", "--secret", stdin=f"token-{number:06}", ok=False).code == 0:
                acknowledged[0] = number
            write_model(tmp_path / "m", {**READS, "version.txt": str(number)})
            platform.run("deploy", tmp_path / "m", "--detach", ok=False)

    deploying = threading.Thread(target=deploy)
    deploying.start()
    try:
        for _ in range(KILLS):
            begun = platform.request("POST", "/v1/keys/rotation", {}, {"content-type": "application/json"})
            assert begun.status == 200, begun.body
            time.sleep(choose.random() ** 2)
            running = platform.get("/v1/keys").json()["rotation"]["running"]
            platform.kill()
            cut += running
            platform.start(same_address=True)
            assert platform.get("/v1/keys").json()["lost"] == 0
    finally:
        done.set()
        deploying.join()
    assert cut > KILLS // 4, f"only {cut} rotations were cut off"
    assert put_all(platform) == [False] * SECRETS, "every secret has its value still"
    platform.run("key", "rotate")
    keys = wait_for(lambda: rotation_ended(platform), "the end of the rotation")
    assert len(keys["keys"]) == 1 and keys["keys"][0]["secrets"] > SECRETS and keys["lost"] == 0, keys
    assert put_all(platform) == [False] * SECRETS, "also after a rotation that came to its end"
    token = lambda: int(platform.predict("m", {"name": "TOKEN"}).json()["output"].removeprefix("token-"))
    wait_for(lambda: token() >= acknowledged[0], "the token that was acknowledged last")


#: Prints its secret in many ways.
TELLTALE = {"model.py": """
import base64, ctypes, os, subprocess, sys, time, urllib.parse

TOKEN, KEY = os.environ["TOKEN"], os.environ["KEY"]


def forms():
    for value in [TOKEN, *KEY.splitlines()]:
        yield value
        for among in [value, "x" + value, "xy" + value + "z", "xyz" + value]:
            for encode in [base64.b64encode, base64.urlsafe_b64encode]:
                encoded = encode(among.encode()).decode()
                yield encoded
                yield encoded.rstrip("=")
        for safe in ["", "/"]:
            quoted = urllib.parse.quote(value, safe)
            yield quoted
            yield quoted.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d").replace("%26", "%26")
            yield urllib.parse.quote_plus(value, safe)


def predict(how: str) -> str:
    text = "begin " + how + "\\n" + "".join("<%s>\\n" % form for form in forms())
    if how == "print":
        print(text)
    elif how == "flush":
        for letter in text[:2000]:
            sys.stderr.write(letter)
            sys.stderr.flush()
        sys.stderr.write(text[2000:])
    elif how == "pause":
        print("<" + TOKEN[:12], end="", flush=True)
        time.sleep(0.3)
        print(TOKEN[12:] + ">")
    elif how == "c":
        libc, data = ctypes.CDLL(None), text.encode()
        for at in range(0, len(data), 7):
            assert libc.write(1, data[at : at + 7], len(data[at : at + 7])) > 0
        libc.printf(b"<%s>\\n", TOKEN.encode())
        libc.fflush(None)
    elif how == "child":
        script = "import os, sys; sys.stdout.write(sys.argv[1]); os.write(2, os.environ['TOKEN'].encode())"
        subprocess.run([sys.executable, "-c", script, text], check=True)
    elif how == "raise":
        raise ValueError("no connection with " + TOKEN)
    print("\\nend " + how)
    return how
"""}


def letters_of(length):
    return "".join(secrets.choice(string.ascii_letters + string.digits + "/+= &%") for _ in range(length)).strip().ljust(length, "=")


def set_secrets(platform, token, key):
    platform.run("env", "set", "TOKEN", "--secret", stdin=token)
    platform.run("env", "set", "KEY", "--secret", stdin=key)


def remains(token, key):
    """What must be nowhere: each value, and the middle of its encodings wherever in a group of three it begins."""
    for value in [token, *key.splitlines()]:
        yield value
        for before in range(3):
            for encode in [base64.b64encode, base64.urlsafe_b64encode]:
                yield encode(b"x" * before + value.encode()).decode()[4:-4]
        yield urllib.parse.quote(value, "")
        yield urllib.parse.quote_plus(value)


def assert_hidden(text, token, key):
    for form in remains(token, key):
        assert form not in text, (form, text)


def test_secrets_are_masked_in_what_a_model_prints(platform, tmp_path):
    token, key = letters_of(40), "-----BEGIN TEST KEY-----\n%s\n%s\n-----END TEST KEY-----" % (letters_of(64), letters_of(64))
    set_secrets(platform, token, key)
    platform.run("deploy", write_model(tmp_path / "m", TELLTALE))
    log = lambda: platform.run("logs", "m", "--lines", "5000").out

    def tell(how):
        answer = platform.predict("m", {"how": how})
        if how == "raise":
            assert answer.status == 500 and b"no connection with [secret TOKEN]" in answer.body, answer.body
            assert_hidden(answer.body.decode(), token, key)
            return log()
        assert answer.json() == {"output": how}, answer.body
        return wait_for(lambda: (text := log()) and f"end {how}\n" in text and text, f"all of {how}")

    for how in ["print", "flush", "pause", "c", "child", "raise"]:
        printed = tell(how)
        assert_hidden(printed, token, key)
        assert "<[secret TOKEN]>" in printed and (how == "pause" or "<[secret KEY]>" in printed)
    # All else is there, and in order; what the version was asked by its probe is left out.
    assert re.search(r"\[decalog: left out \d+ lines printed during the probe\]", printed)
    lines = [line for line in printed.splitlines() if line.startswith(("begin ", "end ")) and line != "end text"]
    assert lines == ["begin print", "end print", "begin flush", "end flush", "end pause", "begin c", "end c", "begin child", "end child"], lines
    # Whoever takes over finds the same processes, and their masks with them.
    pids = platform.pids("m")
    platform.takeover()
    assert platform.pids("m") == pids
    assert_hidden(tell("print"), token, key)
    platform.kill()
    platform.start(same_address=True)
    assert platform.pids("m") == pids
    assert_hidden(tell("child"), token, key)
    # New values are masked from their first word.
    token = letters_of(33)
    platform.run("env", "set", "TOKEN", "--secret", stdin=token)
    wait_for(lambda: (now := platform.pids("m")) and not set(now) & set(pids), "new replicas alone")
    assert_hidden(tell("c"), token, key)
    platform.stop()
    for path, content in stored_files(platform.data):
        if "pyc" not in path.name:
            assert not [form for form in remains(token, key) if form.encode() in content], path


def test_a_prompt_appears_at_once_and_a_secret_is_not_told_by_a_model_that_does_not_load(platform, tmp_path):
    platform.run("env", "set", "TOKEN", "--secret", stdin="correct-horse-battery")
    source = "import os\nprint('Password: c', end='', flush=True)\n\ndef predict(x: int) -> int:\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    wait_for(lambda: "Password: " in platform.run("logs", "m").out, "the prompt", 5)
    wait_for(lambda: "Password: c" in platform.run("logs", "m").out, "its last letter", 10)
    source = "import os\nraise ValueError('no connection with ' + os.environ['TOKEN'])\n\ndef predict(x: int) -> int:\n    return x\n"
    failed = platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}), ok=False)
    assert failed.code == 1 and "no connection with [secret TOKEN]" in failed.err and "battery" not in failed.err, failed
    assert "battery" not in platform.run("events", "m", "--json").out
    assert "battery" not in platform.run("logs", "m@v2").out
