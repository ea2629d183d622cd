"""What happens to stored things behind the platform's back, and what becomes of them: models that write where they lie,
files cut short, a store that is away, garbage collected all the time."""

import hashlib
import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from conftest import constant, paths_below, wait_for, write_model

WRITER = """
import os
HERE = os.path.dirname(os.path.abspath(__file__))

def attempt(what):
    try:
        what()
        return "done"
    except OSError as error:
        return type(error).__name__

def predict(what: str) -> str:
    path = os.path.join(HERE, "data.txt")
    if what == "read":
        return open("data.txt").read()
    if what == "write":
        return attempt(lambda: open(path, "w").write("written"))
    if what == "delete":
        return attempt(lambda: os.remove(path))
    if what == "create":
        return attempt(lambda: open("new.txt", "w").write("new"))
    if what == "scratch":
        import tempfile
        return attempt(lambda: tempfile.NamedTemporaryFile("w").write("x"))
    if what == "force":
        os.chmod(path, 0o644)
        open(path, "w").write("forced!")
        return "forced"
    return "nothing"
"""


def used_bytes(*folders):
    """What folders take of the disk; a file with several names counts once."""
    blocks = {}
    for folder in folders:
        for _, status in paths_below(folder):
            blocks[(status.st_dev, status.st_ino)] = status.st_blocks * 512
    return sum(blocks.values())


def tree_of(platform):
    """The only tree that is laid out."""
    (tree,) = [path for path in (platform.data / "trees").iterdir() if len(path.name) == 64]
    return tree


def blob_of(platform, content):
    name = hashlib.sha256(content.encode()).hexdigest()
    return platform.data / "artifacts/blobs" / name[:2] / name


def overwrite(path, content):
    """As root or the owner may, whatever the mode."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_text(content)
    path.chmod(mode)


def ask(platform, model, what):
    return platform.predict(model, {"what": what}).json()["output"]


def test_a_model_cannot_change_its_version_by_mistake(platform, tmp_path):
    model = write_model(tmp_path / "m", {"model.py": WRITER, "data.txt": "as pushed"})
    platform.run("deploy", model)
    for what in ["write", "delete", "create"]:
        assert ask(platform, "m", what) in ("PermissionError", "OSError"), what
    assert ask(platform, "m", "scratch") == "done"
    assert ask(platform, "m", "read") == "as pushed"
    files = {str(path.relative_to(tree_of(platform))) for path in tree_of(platform).rglob("*")}
    assert files == {"model.py", "data.txt"}, "nothing else lies there, such as bytecode"


@pytest.mark.outside
def test_what_a_model_forces_is_found_at_the_next_start_and_a_deploy_heals_it(platform, tmp_path):
    model = write_model(tmp_path / "m", {"model.py": WRITER, "data.txt": "as pushed"})
    platform.run("deploy", model)
    assert ask(platform, "m", "force") == "forced"
    assert platform.stop() == 0
    process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    platform.process = process
    # Never the wrong answer: either the file could be laid out again, or the version does not serve until it is pushed.
    platform.run("deploy", model)
    assert wait_for(lambda: platform.predict("m", {"what": "read"}).status == 200, "the healed model")
    assert ask(platform, "m", "read") == "as pushed"


@pytest.mark.parametrize("damage", ["", "as", "other!!!!", None])
def test_a_damaged_tree_and_blob_come_back_with_the_next_deploy(platform, tmp_path, damage):
    content = "as pushed"
    model = write_model(tmp_path / "m", {"model.py": WRITER, "data.txt": content})
    platform.run("deploy", model)
    platform.stop()
    tree, blob = tree_of(platform), blob_of(platform, content)
    if damage is None:
        blob.unlink()
        tree.chmod(0o755)
        (tree / "data.txt").unlink()
    else:
        overwrite(tree / "data.txt", damage)
        overwrite(blob, damage)
    verified = platform.run("doctor", "--verify", "--data", platform.data, ok=False)
    assert verified.code == 1 and "data.txt of default/m v1" in verified.out and "deploy" in verified.out, verified
    platform.process, platform.url = platform.launch("--listen", "127.0.0.1:0")
    platform.run("deploy", model)
    wait_for(lambda: platform.predict("m", {"what": "read"}).status == 200, "the healed model")
    assert ask(platform, "m", "read") == content
    assert platform.run("doctor", "--verify", "--data", platform.data).code == 0


def test_a_damaged_tree_heals_from_its_blob_at_the_next_start(platform, tmp_path):
    model = write_model(tmp_path / "m", {"model.py": WRITER, "data.txt": "as pushed"})
    platform.run("deploy", model)
    platform.stop()
    tree = tree_of(platform)
    tree.chmod(0o755)
    (tree / "data.txt").unlink()
    (tree / "data.txt").write_text("foreign")
    (tree / "json.py").write_text("raise SystemExit")
    platform.start()
    assert ask(platform, "m", "read") == "as pushed"
    assert not (tree / "json.py").exists()


def test_what_is_laid_out_starts_without_the_store(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(5), "requirements.txt": "six==1.17.0\n"}))
    platform.stop()
    (platform.data / "artifacts").rename(platform.data / "away")
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": 5}


def test_three_edits_beside_large_weights_cost_the_weights_once(platform, tmp_path):
    weights = os.urandom(8 << 20)
    for edit in range(3):
        platform.run("deploy", write_model(tmp_path / "m", {**constant(edit), "weights.bin": weights}))
        assert platform.predict("m", {"x": 0}).json() == {"output": edit}
    used = used_bytes(platform.data / "artifacts", platform.data / "trees")
    assert used < 1.5 * len(weights) or "clones" in os.environ.get("DECALOG_TEST_DISK", ""), used


def test_gc_frees_what_a_removed_model_took_and_says_how_much(platform, tmp_path):
    weights = os.urandom(4 << 20)
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "weights.bin": weights}))
    platform.run("deploy", write_model(tmp_path / "kept", constant(2)))
    platform.run("rm", "m", "--yes")
    wait_for(lambda: "m" not in platform.run("ls").out.split(), "the model is gone")
    freed = 0

    def collected():
        nonlocal freed
        freed += platform.run("gc", "--json").json()["bytes"]
        return freed >= len(weights)

    wait_for(collected, "its replicas have ended and its weights are free", 60)
    assert used_bytes(platform.data / "artifacts", platform.data / "trees") < len(weights)
    assert "free" in platform.run("gc").out
    assert platform.predict("kept", {"x": 0}).json() == {"output": 2}


def test_deploys_beside_endless_garbage_collection_all_succeed(platform, tmp_path):
    stop, failures = threading.Event(), []

    def collect():
        while not stop.is_set():
            result = platform.run("gc", "--json", ok=False)
            if result.code:
                failures.append(result)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        # Contents that come again after they were removed: old blobs that nothing refers to any more.
        for round in range(24):
            model = write_model(tmp_path / "m", {**constant(round % 4), "data.txt": str(round % 6)})
            platform.run("deploy", model)
            assert platform.predict("m", {"x": 0}).json() == {"output": round % 4}
            if round % 3 == 2:
                platform.run("rm", "m", "--yes")
    finally:
        stop.set()
        collector.join()
    assert not failures, failures[0]


def test_parallel_backups_are_whole_and_leave_nothing_behind(platform, fresh, tmp_path):
    for number in range(3):
        platform.run("deploy", write_model(tmp_path / f"m{number}", {**constant(number), "w.bin": os.urandom(1 << 20)}))
    platform.run("env", "set", "TOKEN", "--secret", stdin="hush")
    files = [tmp_path / f"{number}.tar" for number in range(4)]
    threads = [threading.Thread(target=platform.run, args=("backup", file)) for file in files]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert list((platform.data / "uploads").iterdir()) == []
    for number, file in enumerate(files):
        restored = fresh(f"restored{number}")
        platform.run("restore", file, "--data", restored.data)
        assert platform.run("doctor", "--verify", "--data", restored.data).code == 0


def test_after_a_restore_it_is_said_that_environments_are_being_built(platform, fresh, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "requirements.txt": "six==1.17.0\n"}))
    platform.run("backup", tmp_path / "b.tar")
    restored = fresh("restored")
    platform.run("restore", tmp_path / "b.tar", "--data", restored.data)
    slow = tmp_path / "uv"
    # Waits until it may go on, like an index that is far away.
    slow.write_text(f'#!/bin/sh\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\nexit 1\n')
    slow.chmod(0o755)
    restored.prefix = ["env", f"DECALOG_UV={slow}"]
    restored.process, restored.url = restored.launch("--listen", "127.0.0.1:0")
    try:
        said = wait_for(lambda: (answer := restored.get("/readyz")).status == 503 and answer.json()["details"], "what it waits for")
        assert "its environment is being built" in said[0], said
    finally:
        (tmp_path / "go").touch()


def test_a_backup_that_was_cut_short_or_changed_is_refused(platform, fresh, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "w.bin": os.urandom(1 << 16)}))
    whole = tmp_path / "whole.tar"
    platform.run("backup", whole)
    assert tarfile.open(whole).getnames()[-1] == "contents.json"
    content = whole.read_bytes()
    data = tmp_path / "restored"
    end = content.index(b"contents.json")
    for name, bad in {
        "cut": content[:end],
        "torn": content[: end - 700],
        "flipped": content.replace(b"def predict", b"def predlct"),
        "without a blob": content[: content.index(b"blobs/")] + content[end:],
    }.items():
        file = tmp_path / "bad.tar"
        file.write_bytes(bad)
        refused = platform.run("restore", file, "--data", data, ok=False)
        assert refused.code == 1, (name, refused)
        assert not data.exists() or list(data.iterdir()) == [], name
    platform.run("restore", whole, "--data", data)


def test_a_backup_without_a_lost_blob_fails_and_says_so(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "data.txt": "content"}))
    overwrite(blob_of(platform, "content"), "c0ntent")
    failed = platform.run("backup", tmp_path / "b.tar", ok=False)
    assert failed.code == 1 and "damaged" in failed.err, failed
    assert not (tmp_path / "b.tar").exists()


def test_paths_that_no_disk_takes_are_refused_by_name(platform):
    digest = hashlib.sha256(b"").hexdigest()
    assert platform.request("PATCH", f"/v1/blobs/{digest}?size=0&offset=0", b"").json()["complete"] is True
    for path in ["x" * 300, "a/" * 600 + "b", "../x", "a\u0000b"]:
        push = {"tree": [{"path": path, "digest": digest, "size": 0}], "runtime": "python"}
        refused = platform.request("POST", "/v1/projects/default/models/m/versions", push)
        assert refused.status in (400, 422), refused.body
        assert path[:1] in refused.json()["error"]
    push = {"tree": [{"path": "model.py", "digest": digest, "size": 7}], "runtime": "python"}
    refused = platform.request("POST", "/v1/projects/default/models/m/versions", push)
    assert refused.status == 422 and "model.py has 0 bytes, not 7" in refused.json()["error"], refused.body


def test_environments_share_no_file_with_the_cache_and_heal(platform, tmp_path):
    source = "import six\n\ndef predict(x: int) -> str:\n    return six.__version__\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "requirements.txt": "six==1.17.0\n"}))
    (library,) = (platform.data / "environments").glob("*/lib/*/site-packages/six.py")
    assert library.stat().st_nlink == 1 and library.stat().st_mode & 0o222 == 0
    platform.stop()
    overwrite(library, library.read_text().replace("1.17.0", "6.6.6"))
    platform.start()
    assert platform.predict("m", {"x": 0}).json() == {"output": "1.17.0"}


def test_two_pushes_that_claim_one_digest(platform):
    content = os.urandom(1 << 16)
    digest = hashlib.sha256(content).hexdigest()
    path = f"/v1/blobs/{digest}?size={len(content)}"
    assert platform.request("PATCH", f"{path}&offset=0&upload=bad", bytes(1 << 15)).status == 200
    assert platform.request("PATCH", f"{path}&offset=0&upload=good", content[: 1 << 15]).status == 200
    bad = platform.request("PATCH", f"{path}&offset={1 << 15}&upload=bad", bytes(1 << 15))
    assert bad.status == 400 and bad.json()["code"] == "wrong_content"
    good = platform.request("PATCH", f"{path}&offset={1 << 15}&upload=good", content[1 << 15 :])
    assert good.json() == {"offset": len(content), "complete": True}


def test_kills_in_the_middle_of_a_push_leave_nothing_wrong(platform, tmp_path):
    model = write_model(tmp_path / "m", {**constant(6), **{f"w{n}.bin": os.urandom(2 << 20) for n in range(8)}})
    moments = {
        "an upload has begun": lambda: list((platform.data / "uploads").iterdir()),
        "some blobs are there": lambda: len(list((platform.data / "artifacts").rglob("*"))) > 6,
        "the tree is there": lambda: list((platform.data / "trees").glob("*")),
    }
    for what, reached in moments.items():
        deploy = threading.Thread(target=platform.run, args=("deploy", model), kwargs={"ok": False})
        deploy.start()
        wait_for(reached, what)
        platform.kill()
        deploy.join()
        process, platform.url = platform.launch("--listen", "127.0.0.1:0")
        platform.process = process
    platform.run("deploy", model)
    assert platform.predict("m", {"x": 0}).json() == {"output": 6}
    assert platform.run("doctor", "--verify", "--data", platform.data).code == 0


def small_disk(directory, size):
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True)
    return mounted.returncode == 0


def test_a_full_disk_is_said_and_what_runs_goes_on(fresh, tmp_path):
    if not small_disk(tmp_path / "disk", "24m"):
        pytest.skip("only root may mount a small disk")
    platform = fresh("disk/data")
    try:
        platform.start()
        platform.run("deploy", write_model(tmp_path / "m", constant(3)))
        big = write_model(tmp_path / "big", {**constant(4), "weights.bin": os.urandom(32 << 20)})
        failed = platform.run("deploy", big, ok=False)
        assert failed.code == 1 and "disk is full" in failed.err, failed
        assert platform.predict("m", {"x": 0}).json() == {"output": 3}
        assert json.loads(platform.get("/v1/status").body)["models"] == 1
    finally:
        platform.stop()
        subprocess.run(["umount", "-l", tmp_path / "disk"], check=True)
