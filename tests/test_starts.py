"""`decalog up` that cannot start says why and what to do, in a few lines; and what it needs from whoever starts it."""

import os
import shutil
import socket
import stat
import subprocess
import tempfile

import pytest
from conftest import BINARY, wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="other users and small file systems need root")


def refused(data, listen="127.0.0.1:0"):
    """What `decalog up` says as it ends."""
    command = [BINARY, "up", "--data", str(data), "--listen", listen]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, ended
    # What the log says of it comes before.
    said = [line for line in ended.stderr.strip().splitlines() if " WARN " not in line]
    assert said[0].startswith("error: ") and any(line.startswith("help: ") for line in said), ended.stderr
    assert len(said) <= 4 and "panicked" not in ended.stderr, ended.stderr
    return ended.stderr


def test_a_directory_in_use(platform):
    assert f"in use by process {platform.process.pid}" in refused(platform.data)
    assert platform.get("/readyz").status == 200


def test_a_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(tmp_path / "data", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "in use" in said and "--listen" in said


def test_a_directory_that_is_a_file(tmp_path):
    (tmp_path / "data").write_text("")
    assert "is a file" in refused(tmp_path / "data")
    assert "is a file" in refused(tmp_path / "data" / "below")


@pytest.fixture
def reachable(tmp_path_factory):
    """A binary and a directory that other users can get to."""
    directory = tmp_path_factory.mktemp("reachable")
    for folder in [directory, *(one for one in directory.parents if one.is_relative_to(tempfile.gettempdir()))][:-1]:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IROTH | stat.S_IXGRP | stat.S_IRGRP)
    binary = directory / "decalog"
    shutil.copy(BINARY, binary)
    return directory, binary


@needs_root
def test_a_directory_of_another_user_or_without_rights(reachable):
    directory, binary = reachable

    def as_nobody(data):
        ended = subprocess.run([binary, "up", "--data", str(data), "--listen", "127.0.0.1:0"], capture_output=True, text=True,
                               timeout=60, user=65534, group=65534, extra_groups=[], env={"PATH": os.environ["PATH"]})
        assert ended.returncode == 1 and "help: " in ended.stderr, ended
        return ended.stderr

    others = directory / "others"
    others.mkdir(mode=0o777)
    others.chmod(0o777)
    assert "belongs to another user" in as_nobody(others)
    closed = directory / "closed"
    closed.mkdir(mode=0o755)
    assert "Permission denied" in as_nobody(closed / "data")
    own = directory / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    (own / "ledger.sqlite").write_text("")
    said = as_nobody(own)
    assert "ledger.sqlite belongs to another user" in said and "chown" in said


@pytest.fixture
def small(tmp_path):
    """A small file system."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@needs_root
def test_a_read_only_file_system(small):
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    said = refused(small / "data")
    assert "Read-only file system" in said and "--data" in said


@needs_root
def test_a_full_disk(small):
    with open(small / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 4096)
        except OSError:
            pass
    said = refused(small / "data")
    assert "space" in said, said


def test_a_variable_that_stays_as_it_is_is_no_change(platform):
    def entries():
        return platform.get("/v1/status").json()["ledger"]["entries"]

    first = platform.run("env", "set", "LEVEL=3")
    assert "is set" in first.err
    platform.run("env", "set", "TOKEN", "--secret", stdin="one")
    before = entries()
    for _ in range(20):
        assert "already" in platform.run("env", "set", "LEVEL=3").err
    assert "already" in platform.run("env", "set", "TOKEN", "--secret", stdin="one").err
    assert entries() == before
    platform.run("env", "set", "TOKEN", "--secret", stdin="two")
    platform.run("env", "set", "TOKEN=plain")
    platform.run("env", "set", "TOKEN", "--secret", stdin="two")
    assert wait_for(entries, "entries") == before + 3
