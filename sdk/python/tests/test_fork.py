"""Zygotes and parents: replicas forked on command, what they share and what they must not, and refusals that say why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WAIT_S_MAX, WORKER, Process, ask, binary_body, output, read_answer, request_bytes, tensor, wait_for

from decalog import worker

ECHO = "def predict(x: int) -> int: return x"
BROKEN = "raise ValueError('weights')\n"


def test_replicas_of_a_loaded_model_answer_without_loading_it_again(parent, tmp_path):
    control = parent("""
        import os
        open("loaded", "a").write("x")
        def predict(x: int) -> int: return x * 2
    """)
    replicas = [control.fork() for _ in range(3)]
    for replica in replicas:
        assert output(replica.ask(21)) == [42]
    assert (tmp_path / "model1" / "loaded").read_text() == "x"
    assert len({replica.pid for replica in replicas} | {control.pid}) == 4


def test_a_replica_is_the_supervisors_child_in_a_group_of_its_own(parent):
    control = parent("import os\ndef predict(x: int): return [os.getppid(), os.getpid(), os.getpgid(0), os.getsid(0)]")
    replica = control.fork()
    assert replica.ask_json() == [os.getpid(), replica.pid, replica.pid, os.getsid(0)]
    os.kill(replica.pid, signal.SIGTERM)
    assert replica.wait() == 0


def test_the_end_of_a_parent_leaves_its_replicas(parent):
    control = parent(ECHO)
    replicas = [control.fork(), control.fork()]
    os.kill(control.pid, signal.SIGTERM)
    assert control.process.wait(WAIT_S_MAX) == 0
    assert [output(replica.ask(5)) for replica in replicas] == [[5], [5]]
    os.kill(replicas[0].pid, signal.SIGKILL)
    assert replicas[0].wait() == -signal.SIGKILL
    assert output(replicas[1].ask(6)) == [6]


@pytest.mark.parametrize("role", ["parent", "zygote"])
def test_a_closed_control_socket_ends_the_process_and_not_its_replicas(supervisor, model, role):
    control = supervisor.start(role, model(ECHO))
    control.ready()
    replica = control.fork()
    control.ours.close()
    assert control.process.wait(WAIT_S_MAX) == 0
    assert output(replica.ask(5)) == [5]


@pytest.mark.parametrize("role", ["parent", "zygote"])
def test_sigterm_ends_the_process_with_status_0(supervisor, model, role):
    control = supervisor.start(role, model(ECHO))
    control.ready()
    control.process.send_signal(signal.SIGTERM)
    assert control.process.wait(WAIT_S_MAX) == 0


def test_the_environment_is_replaced_whole(parent, tmp_path):
    control = parent("""
        import os, subprocess, tempfile
        tempfile.gettempdir()
        def predict(x: int) -> str:
            return "\\n".join([os.getcwd(), tempfile.gettempdir(), repr(dict(os.environ)), subprocess.check_output(["/usr/bin/env"], text=True)])
    """, SECRET="of the parent", TMPDIR=str(tmp_path))  # fmt: skip
    other, temporary = tmp_path / "other", tmp_path / "tmp"
    other.mkdir()
    temporary.mkdir()
    replica = control.fork(directory=other, more={"NEW": "1", "TMPDIR": str(temporary)})
    directory, found, environment, environment_of_c = output(replica.ask())[0].split("\n", 3)
    names = set(eval(environment))
    assert directory == str(other) and found == str(temporary)
    assert names == {"PATH", "DECALOG_SOCKET", "DECALOG_MODEL", "DECALOG_FAILURE", "NEW", "TMPDIR"}
    assert {line.split("=")[0] for line in environment_of_c.splitlines()} - {"_", "PWD", "SHLVL"} == names


def test_output_goes_to_the_replicas_own_log(parent, supervisor):
    control = parent(
        "import os, sys\nprint('loading')\ndef predict(x: int) -> int:\n    print('p%d' % x, flush=True)\n    os.write(2, b'raw')\n    return x"
    )
    replicas = [control.fork(), control.fork()]
    for x, replica in enumerate(replicas):
        replica.ask(x)
        assert replica.log.read_text() == "p%d\nraw" % x
    assert supervisor.logs[control.pid].read_text() == "loading\n"


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


def test_siblings_draw_different_random_numbers(parent):
    pytest.importorskip("numpy")
    control = parent("""
        import random, uuid
        import numpy
        random.seed(1)
        numpy.random.seed(1)
        def predict(x: int): return [random.random(), numpy.random.random(), float(uuid.uuid4().int % 10**15)]
    """)
    draws = [control.fork().ask_json() for _ in range(3)]
    for column in zip(*draws):
        assert len(set(column)) == 3


def test_a_model_may_seed_its_own_generators_after_the_fork(parent):
    control = parent("""
        import os, random
        own = random.Random(1)
        os.register_at_fork(after_in_child=own.seed)
        def predict(x: int): return own.random()
    """)
    assert len({control.fork().ask_json() for _ in range(3)}) == 3


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


def test_a_process_that_ends_when_it_is_forked_is_no_fault_of_the_system(parent):
    control = parent("""
        import os
        os.register_at_fork(after_in_child=lambda: os._exit(1))
        def predict(x: int) -> int: return x
    """)
    assert control.refused() == "the new process ended before it began"
    assert output(control.order("serve").ask(7)) == [7]


def test_a_name_of_a_python_thread_is_told(parent):
    control = parent(
        "import threading\nthreading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()\n" + ECHO,
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


def test_no_fork_after_cuda(parent, model, supervisor):
    directory = model("import torch\n" + ECHO, torch="class cuda:\n    is_initialized = staticmethod(lambda: True)\n")
    control = supervisor.start("parent", directory)
    assert control.ready()["reason"] == "CUDA is initialised"
    assert control.refused() == "CUDA is initialised"


def test_a_parent_that_serves_is_the_same_process_and_has_the_new_environment(parent):
    control = parent(
        "import os\nloaded = os.getpid()\ndef predict(x: int): return [loaded, os.getpid(), sorted(os.environ)]", SECRET="1"
    )
    process = control.order("serve", more={"NEW": "1", "DECALOG_CONCURRENCY": "2"})
    loaded, serving, names = process.ask_json()
    assert loaded == serving == control.pid
    assert names == ["DECALOG_CONCURRENCY", "DECALOG_FAILURE", "DECALOG_MODEL", "DECALOG_SOCKET", "NEW", "PATH"]
    assert control.ours.recv(10) == b""  # it has let go of its control socket
    wait_for(lambda: len(os.listdir("/proc/%d/task" % control.pid)) == 2)


def test_a_parent_may_serve_after_it_has_forked(parent):
    control = parent(ECHO)
    replica = control.fork()
    process = control.order("serve")
    assert output(process.ask(1)) == output(replica.ask(1)) == [1]


def test_a_zygote_has_what_the_file_imports_and_forks_workers_that_load(supervisor, model, tmp_path):
    directory = model(
        "import sys, json.tool, helper\nimport decimal as d\nfrom no_such_package import a\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import only_types\nif __name__ == '__main__':\n    import only_main\n"
        "def train():\n    import only_train\ndef load():\n    import xml_like.dom\n",
        helper="import pkg.sub\nfrom pkg import other, value\nfrom pkg2 import *\n",
    )
    libraries = tmp_path / "libraries"
    for name in ("pkg", "pkg2"):
        (libraries / name).mkdir(parents=True)
        (libraries / name / "__init__.py").write_text("value = 1\n")
    (libraries / "pkg" / "sub.py").write_text("")
    (libraries / "pkg" / "other.py").write_text("")
    control = supervisor.start("zygote", directory, PYTHONPATH=str(libraries))
    assert control.ready()["can_fork"] is True
    log = supervisor.logs[control.pid].read_text()
    assert "no_such_package is not imported beforehand: ModuleNotFoundError" in log and "xml_like.dom is not" in log
    assert "only_" not in log and "helper" not in log and "pkg" not in log
    other = model("import sys\nthere = [name in sys.modules for name in ('pkg.sub', 'pkg.other', 'pkg2', 'helper', 'model')]\n"
                  "import helper\ndef predict(x: int): return there + [helper.__file__]",
                  helper="")  # fmt: skip
    answer = control.fork(directory=other).ask_json()
    assert answer == [True, True, True, False, True, str(other / "helper.py")]


def test_a_zygote_imports_what_it_is_told(supervisor, model):
    control = supervisor.start("zygote", model(ECHO), DECALOG_IMPORTS="xml.dom.minidom,no_such, sqlite3:dbapi2")
    assert control.ready()["can_fork"] is True
    assert "no_such is not imported beforehand" in supervisor.logs[control.pid].read_text()
    directory = model(
        "import sys\nthere = [name in sys.modules for name in ('xml.dom.minidom', 'sqlite3.dbapi2')]\ndef predict(x: int): return there"
    )
    assert control.fork(directory=directory).ask_json() == [True, True]


def test_a_parent_forked_from_a_zygote(supervisor, model):
    directory = model(
        "import os\nhome = os.environ['HOME']\nloaded = os.getpid()\ndef predict(x: int): return [home, os.environ.get('HOME'), loaded, os.getpid(), os.getppid()]"
    )
    zygote = supervisor.start("zygote", directory, DECALOG_IMPORTS="")
    zygote.ready()
    parent, process = zygote.fork_parent(more={"HOME": "/of/the/parent"})
    ready = parent.ready()
    assert ready["can_fork"] is True and ready["elapsed_ms"] < 60_000
    replica = parent.fork()
    assert replica.ask_json() == ["/of/the/parent", None, process.pid, replica.pid, os.getpid()]
    zygote.ours.close()
    assert zygote.process.wait(WAIT_S_MAX) == 0
    assert parent.fork().ask_json()[2] == process.pid
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 0
    served, process = supervisor_parent(supervisor, directory)
    assert served.order("serve").ask_json()[2:] == [process.pid, process.pid, os.getpid()]


def supervisor_parent(supervisor, directory):
    zygote = supervisor.start("zygote", directory, DECALOG_IMPORTS="")
    zygote.ready()
    parent, process = zygote.fork_parent(more={"HOME": "/"})
    parent.ready()
    return parent, process


def test_failure_to_load_is_reported_as_before(supervisor, model):
    directory = model(BROKEN)
    control = supervisor.start("parent", directory)
    assert control.process.wait(WAIT_S_MAX) == 1
    expected = "File \"model.py\", line 1, in <module>\n  raise ValueError('weights')\nValueError: weights\n"
    assert (supervisor.home / "failure").read_text() == expected
    assert control.ours.recv(10) == b""
    zygote = supervisor.start("zygote", directory)
    zygote.ready()
    worker = zygote.fork()
    assert worker.wait() == 1 and worker.failure.read_text() == expected and "ValueError: weights" in worker.log.read_text()
    parent, process = zygote.fork_parent()
    assert process.wait() == 1 and process.failure.read_text() == expected
    assert parent.ours.recv(10) == b""


def test_a_directory_that_is_not_there_is_a_failure(parent, tmp_path):
    replica = parent(ECHO).fork(directory=tmp_path / "no_such")
    assert replica.wait() == 1
    assert "FileNotFoundError" in replica.failure.read_text()


def test_orders_that_cannot_be_understood_are_refused(supervisor, parent):
    control = parent(ECHO)
    for message in (b"{", b"[]", b'"x"', {"fork": {}}, {"stop": 1}):
        control.send(message)
    order = {"id": "a", "variables": {}, "directory": "/", "role": "worker"}
    for message in ({"fork": order}, {"fork": dict(order, role="zygote")}, {"melt": order}, {"fork": {"id": "a"}}):
        control.send(message)
        kind, answer = control.receive()
        assert kind == "refused" and answer["id"] == "a" and answer["reason"]
    assert output(control.fork().ask(3)) == [3]
    assert "an order that cannot be understood" in supervisor.logs[control.pid].read_text()
    zygote = supervisor.start("zygote", supervisor.directory)
    zygote.ready()
    zygote.send({"serve": order})
    assert zygote.receive()[0] == "refused"


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


def test_many_orders_at_once_are_carried_out_in_turn(parent):
    control = parent(ECHO)
    home = control.supervisor.home
    for number in range(10):
        variables = {"DECALOG_SOCKET": str(home / ("q%d" % number)), "DECALOG_MODEL": "m"}
        control.send({"fork": {"id": str(number), "role": "worker", "variables": variables, "directory": str(home)}}, [2])
    for number in range(10):
        kind, answer = control.receive()
        assert kind == "forked" and answer["id"] == str(number)
        process = Process(answer["pid"], home / ("q%d" % number), None, None)
        control.supervisor.processes.append(process)
        assert output(process.ask(number)) == [number]


def test_large_orders(parent):
    control = parent("import os\ndef predict(x: int): return len(os.environ['LARGE'])")
    assert control.fork(more={"LARGE": "x" * 200_000}).ask_json() == 200_000


def test_a_replica_ends_with_the_supervisor(model, tmp_path):
    """The supervisor is a process of its own here, and is killed."""
    script = tmp_path / "supervisor.py"
    script.write_text(
        "import sys, time, pathlib\nsys.path[:0] = %r\nimport conftest\n"
        "supervisor = conftest.Supervisor(pathlib.Path(sys.argv[1]))\ncontrol = supervisor.start('parent', pathlib.Path(sys.argv[2]))\n"
        "control.ready()\nreplica = control.fork()\nreplica.ask(1)\nprint(control.pid, replica.pid, flush=True)\ntime.sleep(600)\n"
        % [str(WORKER.parent.parent), os.path.dirname(os.path.abspath(__file__))]
    )
    home = tmp_path / "h"
    home.mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(home), str(model(ECHO))], stdout=subprocess.PIPE, text=True)
    parent, replica = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    process.stdout.close()
    # Both pass to a process further up: perhaps to this one, if a test before made it a subreaper.
    wait_for(lambda: all(is_gone(pid) for pid in (parent, replica)))


def is_gone(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_exit_handlers_of_load_do_not_remove_what_siblings_use(parent, tmp_path):
    control = parent("""
        import tempfile, pathlib
        kept = tempfile.TemporaryDirectory()
        path = pathlib.Path(kept.name) / "weights"
        path.write_text("7")
        def predict(x: int): return int(path.read_text())
    """, TMPDIR=str(tmp_path))  # fmt: skip
    first, second = control.fork(), control.fork()
    assert first.ask_json() == 7
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait() == 0
    os.kill(control.pid, signal.SIGTERM)
    assert control.process.wait(WAIT_S_MAX) == 0
    assert second.ask_json() == 7


def test_exit_handlers_of_a_replica_run(parent, tmp_path):
    control = parent("import atexit\ndef predict(x: int):\n    atexit.register(open, 'ended', 'w')\n    return x")
    replica = control.fork()
    replica.ask()
    os.kill(replica.pid, signal.SIGTERM)
    assert replica.wait() == 0
    assert (tmp_path / "model1" / "ended").exists()


def test_streams_in_a_forked_worker(parent):
    control = parent(
        "import asyncio\nasync def predict(x: int):\n    for i in range(x):\n        await asyncio.sleep(0)\n        yield i"
    )
    for replica in (control.fork(), control.fork(more={"DECALOG_CONCURRENCY": "2"})):
        with replica.connect() as connection:
            connection.sendall(ask(3))
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(65536)
        assert data.count(b"data: ") == 3


def test_prefetch_and_concurrency_in_a_forked_worker(parent):
    control = parent(ECHO)
    with control.fork().connect() as first, control.fork().connect() as second:
        for connection in (first, second):
            connection.sendall(ask(1) + ask(2))  # the second batch is there before the first is answered
            data = b""
            while data.count(b"HTTP/1.1 200 OK") < 2:
                data += connection.recv(65536)
    replica = control.fork(more={"DECALOG_CONCURRENCY": "3"})
    assert output(replica.ask(1)) == [1]
    wait_for(lambda: len(os.listdir("/proc/%d/task" % replica.pid)) == 3)


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


def test_a_role_without_a_control_socket_is_a_failure(serve):
    for variables in ({"DECALOG_ROLE": "parent"}, {"DECALOG_ROLE": "nurse", "DECALOG_CONTROL": "5"}):
        served = serve(ECHO, wait=False, **variables)
        assert served.process.wait(WAIT_S_MAX) == 1
        assert "DECALOG_CONTROL" in served.failure.read_text()


def test_a_forest_is_forked_and_predicts(supervisor, tmp_path):
    np = pytest.importorskip("numpy")
    ensemble = pytest.importorskip("sklearn.ensemble")
    joblib = pytest.importorskip("joblib")
    x = np.random.default_rng(1).random((200, 4))
    forest = ensemble.RandomForestClassifier(20, random_state=1, n_jobs=2).fit(x, x[:, 0] > 0.5)
    directory = tmp_path / "forest"
    directory.mkdir()
    joblib.dump(forest, directory / "forest.joblib")
    assert {"joblib", "sklearn.ensemble._forest", "sklearn.tree._classes"} <= set(worker.modules_of(directory / "forest.joblib"))
    zygote = supervisor.start("zygote", directory, DECALOG_FILE="forest.joblib")
    ready = zygote.ready()
    assert (ready["threads"], ready["can_fork"], ready["reason"]) == (1, True, "")
    parent, _ = zygote.fork_parent(more={"DECALOG_FILE": "forest.joblib"})
    assert parent.ready()["reason"] == ""
    expected = forest.predict_proba(x[:1])[0].tolist()
    for replica in (parent.fork(), parent.fork(), zygote.fork(more={"DECALOG_FILE": "forest.joblib"})):
        with replica.connect() as connection:
            connection.sendall(request_bytes(*binary_body([tensor("x", "FP64", [1, 4], x[0].tolist())])))
            assert output(read_answer(connection), "probability") == pytest.approx(expected)


def children_in_group(control):
    """Processes of the parent's group, itself left out."""
    groups = {int(name): os.getpgid(int(name)) for name in os.listdir("/proc") if name.isdigit() and is_alive(int(name))}
    return [pid for pid, group in groups.items() if group == os.getpgid(control.pid) and pid != control.pid]


def forked_ahead(control):
    wait_for(lambda: children_in_group(control))
    (ahead,) = children_in_group(control)
    return ahead


def is_alive(pid):
    try:
        os.getpgid(pid)
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ProcessLookupError):
        return False


@pytest.fixture
def grouped(supervisor, model):
    """A parent in a group of its own, as the supervisor starts it."""

    def start(source):
        control = supervisor.start("parent", model(source), process_group=0)
        assert control.ready()["can_fork"] is True
        return control

    return start


def test_the_next_process_is_forked_before_it_is_asked_for(grouped):
    control = grouped("import os\npid = os.getpid()\ndef predict(x: int): return [pid, os.getpid(), os.getpgid(0), x]")
    for number in range(3):
        ahead = forked_ahead(control)
        replica = control.fork(more={"NUMBER": str(number)})
        assert replica.pid == ahead and replica.ask_json(number) == [control.pid, ahead, ahead, number]
    first, second = control.fork(), control.fork()  # nothing waits for the second
    assert first.ask_json()[1] == first.pid != second.pid == second.ask_json()[1]


def test_a_process_forked_ahead_that_has_died_is_no_loss(grouped):
    control = grouped(ECHO)
    ahead = forked_ahead(control)
    os.kill(ahead, signal.SIGKILL)
    wait_for(lambda: not is_alive(ahead))
    replica = control.fork()
    assert replica.pid != ahead and output(replica.ask(5)) == [5]
    assert forked_ahead(control) != ahead


@pytest.mark.parametrize("end", ["close", "kill", "serve"])
def test_a_process_forked_ahead_ends_with_its_parent(grouped, end):
    control = grouped(ECHO)
    ahead = forked_ahead(control)
    if end == "close":
        control.ours.close()
    elif end == "kill":
        os.kill(control.pid, signal.SIGKILL)
    else:
        assert output(control.order("serve").ask(1)) == [1]
    wait_for(lambda: not is_alive(ahead))


def test_a_zygote_forks_nothing_ahead(supervisor, model):
    control = supervisor.start("zygote", model(ECHO), process_group=0, DECALOG_IMPORTS="")
    control.ready()
    control.fork()
    assert not children_in_group(control)


def test_a_parent_tells_which_libraries_it_needed(supervisor, model, tmp_path):
    libraries = tmp_path / "libraries"
    (libraries / "pkg").mkdir(parents=True)
    (libraries / "pkg" / "__init__.py").write_text("import importlib\nhidden = importlib.import_module('pkg.' + 'hidden')\n")
    (libraries / "pkg" / "hidden.py").write_text("import sys\nsys.modules['pkg.alias'] = sys\n")
    directory = model("import json, helper\nimport pkg\ndef predict(x: int): return x", helper="")
    told = tmp_path / "modules"
    control = supervisor.start("parent", directory, PYTHONPATH=str(libraries), DECALOG_MODULES=str(told))
    control.ready()
    names = told.read_text().split("\n")
    assert sorted(name for name in names if name.startswith("pkg")) == ["pkg", "pkg.hidden"]
    assert not {"json", "helper", "model", "sys"} & set(names)
