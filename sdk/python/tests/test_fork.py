"""Zygotes and parents: replicas forked on command, what they share and what they must not, and refusals that say why."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import WAIT_S_MAX, WORKER, Process, ask, children_in_group, is_alive, is_gone, output, wait_for

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


def test_a_process_that_ends_when_it_is_forked_is_no_fault_of_the_system(parent):
    control = parent("""
        import os
        os.register_at_fork(after_in_child=lambda: os._exit(1))
        def predict(x: int) -> int: return x
    """)
    assert control.refused() == "the new process ended before it began"
    assert output(control.order("serve").ask(7)) == [7]


def test_no_fork_after_cuda(parent, model, supervisor):
    directory = model("import torch\n" + ECHO, torch="class cuda:\n    is_initialized = staticmethod(lambda: True)\n")
    control = supervisor.start("parent", directory)
    assert control.ready()["reason"] == "CUDA is initialised"
    assert control.refused() == "CUDA is initialised"


def test_a_parent_that_serves_is_the_same_process_and_has_the_new_environment(parent):
    control = parent(
        "import os\nloaded = os.getpid()\ndef predict(x: int): return [loaded, os.getpid(), sorted(os.environ)]",
        SECRET="1",
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
    assert (
        worker.wait() == 1
        and worker.failure.read_text() == expected
        and "ValueError: weights" in worker.log.read_text()
    )
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


def test_many_orders_at_once_are_carried_out_in_turn(parent):
    control = parent(ECHO)
    home = control.supervisor.home
    for number in range(10):
        variables = {"DECALOG_SOCKET": str(home / ("q%d" % number)), "DECALOG_MODEL": "m"}
        control.send(
            {"fork": {"id": str(number), "role": "worker", "variables": variables, "directory": str(home)}}, [2]
        )
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
    process = subprocess.Popen(
        [sys.executable, str(script), str(home), str(model(ECHO))], stdout=subprocess.PIPE, text=True
    )
    parent, replica = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    process.stdout.close()
    # Both pass to a process further up: perhaps to this one, if a test before made it a subreaper.
    wait_for(lambda: all(is_gone(pid) for pid in (parent, replica)))


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


def test_a_role_without_a_control_socket_is_a_failure(serve):
    for variables in ({"DECALOG_ROLE": "parent"}, {"DECALOG_ROLE": "nurse", "DECALOG_CONTROL": "5"}):
        served = serve(ECHO, wait=False, **variables)
        assert served.process.wait(WAIT_S_MAX) == 1
        assert "DECALOG_CONTROL" in served.failure.read_text()


def forked_ahead(control):
    seen = [[], []]

    def stays():
        # Whoever forks it is there for a moment, too.
        seen.append(children_in_group(control))
        return len(seen[-1]) == 1 and seen[-1] == seen[-2] == seen[-3]

    wait_for(stays)
    return seen[-1][0]


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
