"""Secrets: their keys are rotated while everything serves, and whatever is killed meanwhile."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from conftest import wait_for, write_model

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


def test_keys_are_rotated_while_a_model_serves(platform, tmp_path):
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
    assert platform.pids("m") == pids, "nothing restarts"
    assert "already" in platform.run("env", "set", "TOKEN", "--secret", stdin="correct horse").err
    # A backup does not hold the keys, and with them it is whole.
    platform.run("backup", tmp_path / "b.tar")
    assert third["id"].encode() not in (tmp_path / "b.tar").read_bytes()
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
    assert len(keys["keys"]) == 1 and keys["keys"][0]["secrets"] == SECRETS + 1, keys
    assert put_all(platform) == [False] * SECRETS, "also after a rotation that came to its end"
    token = lambda: int(platform.predict("m", {"name": "TOKEN"}).json()["output"].removeprefix("token-"))
    wait_for(lambda: token() >= acknowledged[0], "the token that was acknowledged last")
