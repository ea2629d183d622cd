"""Descriptors: what two processes can both have after a fork, and what rules one out."""

import os
import signal

import pytest
from conftest import WAIT_S_MAX, output, wait_for

ECHO = "def predict(x: int) -> int: return x"


def test_siblings_share_no_descriptor_but_standard_input(parent):
    control = parent("""
        import os
        def predict(x: int):
            numbers = os.listdir("/proc/self/fd")  # the last of them was open only for this list
            return [[int(n), os.readlink("/proc/self/fd/" + n)] for n in numbers if os.path.exists("/proc/self/fdinfo/" + n)]
    """)
    own = [os.readlink("/proc/%d/fd/%s" % (control.pid, number)) for number in os.listdir("/proc/%d/fd" % control.pid)]
    first, second = (
        {target for number, target in replica.ask_json() if number > 0} for replica in (control.fork(), control.fork())
    )
    anonymous = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}
    assert first & second <= anonymous and not (first | second) & set(own) - anonymous
    assert len(first) == 5  # its log, its epoll, its wake-up pipe, its listener, the connection


def test_a_file_opened_by_load_is_usable_and_its_place_is_not_shared(parent, tmp_path):
    control = parent("""
        import mmap, os
        open("table", "w").write("".join("%05d\\n" % i for i in range(100_000)))
        raw = open("table", "rb", buffering=0)
        text = open("table")
        mapped = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        text.readline(), raw.read(6)
        os.unlink("table")
        directory = os.open(".", os.O_RDONLY)
        log = open("log", "a")
        def predict(x: int):
            log.write("%d\\n" % x)
            log.flush()
            return [int(raw.read(6)), int(text.readline()), int(mapped[600:605]), "model.py" in os.listdir(directory)]
    """)
    first, second = control.fork(), control.fork()
    for at in range(1, 50):
        assert first.ask_json(1) == [at, at, 100, True]
    assert second.ask_json(2) == [1, 1, 100, True]
    assert control.fork().ask_json(3) == [1, 1, 100, True]
    assert (tmp_path / "model1" / "log").read_text() == "1\n" * 49 + "2\n3\n"


@pytest.mark.parametrize("source, reason", [
    ("import socket\nkept = socket.socket()\n", "a socket is open (descriptor "),
    ("import os\nkept = os.pipe()\n", "a pipe is open (descriptor "),
    ("import select\nkept = select.epoll()\n", "[eventpoll] is open (descriptor "),
    ("kept = open('state', 'w+')\n", "model1/state is open for writing (descriptor "),
    ("import sqlite3\nsqlite3.connect('d.db').execute('create table t (a)')\nkept = sqlite3.connect('file:d.db?mode=ro', uri=True)\nkept.execute('select * from t').fetchall()\n", "the SQLite database"),
    ("import asyncio\nasync def load(): await asyncio.sleep(0)\n", "load() ran on an event loop"),
    ("import threading\nthreading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n", "2 threads run: "),
])  # fmt: skip
def test_what_cannot_be_had_twice_is_told_and_the_parent_itself_serves(parent, source, reason):
    control = parent(source + ECHO, can_fork=False)
    assert reason in control.reason
    assert reason in control.refused()
    process = control.order("serve", more={"MORE": "1"})
    control.ours.close()
    assert output(process.ask(7)) == [7]
    control.process.send_signal(signal.SIGTERM)
    assert control.process.wait(WAIT_S_MAX) == 0


def test_a_parent_keeps_no_descriptor_of_what_it_forked(parent):
    control = parent(ECHO)

    def count():
        return len(os.listdir("/proc/%d/fd" % control.pid))

    before = count()
    for _ in range(5):
        control.fork()
    control.send({"melt": {"id": "a", "variables": {}, "directory": "/"}}, [0, 1])
    control.receive()
    wait_for(lambda: count() <= before + 1)  # it answers first, and keeps one forked ahead
