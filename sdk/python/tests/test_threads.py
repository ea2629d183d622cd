"""Threads: none but the main one runs in a process that forks, and libraries get theirs after it."""

import os
import signal

import pytest
from conftest import ask, output, read_answer, wait_for

ECHO = "def predict(x: int) -> int: return x"


def test_a_name_of_a_python_thread_is_told(parent):
    control = parent(
        "import threading\nthreading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n"
        + ECHO,
        can_fork=False,
    )
    assert "poller" in control.reason


def test_threads_that_are_about_to_end_are_waited_for(parent):
    parent("import threading, time\nthreading.Thread(target=time.sleep, args=(0.03,)).start()\n" + ECHO)


def test_threads_and_sockets_that_come_later_are_noticed(parent, tmp_path):
    """Nothing runs in a parent but what load() left, such as a timer by signal."""
    control = parent("""
        import signal, socket, os
        kept = []
        def later(*_):
            kept.append(socket.socket())
            open("later", "w").close()
        signal.signal(signal.SIGUSR1, later)
        def predict(x: int) -> int: return x
    """)
    assert output(control.fork().ask(1)) == [1]
    os.kill(control.pid, signal.SIGUSR1)
    wait_for((tmp_path / "model1" / "later").exists)
    assert "a socket is open" in control.refused()


def test_libraries_get_the_threads_of_the_replica(parent):
    pytest.importorskip("sklearn")
    control = parent("""
        import numpy, sklearn.ensemble, threadpoolctl
        numpy.ones((2, 2)) @ numpy.ones((2, 2))
        def predict(x: int): return sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
    """)
    assert control.fork(more={"OMP_NUM_THREADS": "1"}).ask_json() == [1]
    replica = control.fork(more={"OMP_NUM_THREADS": "3"})
    assert replica.ask_json() == [3]
    assert control.fork(more={"OMP_NUM_THREADS": "1"}).ask_json() == [1]


def test_each_thread_that_serves_gets_the_libraries_threads(parent):
    pytest.importorskip("sklearn")
    control = parent("""
        import sklearn.ensemble, threadpoolctl, threading
        both = threading.Barrier(2)
        def predict(x: int):
            both.wait(60)
            return sorted({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
    """)
    replica = control.fork(more={"OMP_NUM_THREADS": "3", "DECALOG_CONCURRENCY": "2"})
    with replica.connect() as first, replica.connect() as second:
        for connection in (first, second):
            connection.sendall(ask(1))
        assert [output(read_answer(connection)) for connection in (first, second)] == [[3], [3]]
