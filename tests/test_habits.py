"""What people do at a terminal: they mistype, hurry, and look at a window of 80 columns."""

import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import termios
import time

import pytest
from conftest import BINARY, Platform, constant, wait_for, write_model

CARE = """
import os

print("loading at level", os.environ.get("LEVEL"))
if os.environ.get("LEVEL") == "bad":
    raise RuntimeError("LEVEL must not be bad")

def predict(x: int) -> int:
    return x
"""
TALKS = """
import os
import signal

print("loading the model")

def predict(x: int) -> int:
    print("WARNING: asked", x, flush=True)
    if x == 9:
        print("my last words", flush=True)
        os._exit(7)
    if x == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return x
"""
SLOW = "import time\ntime.sleep(20)\n\ndef predict(x: int) -> int:\n    return x\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("habits") / "data").start()
    yield platform
    assert platform.stop() == 0


def deployed(platform, tmp_path, name, files):
    model = write_model(tmp_path / name, files)
    platform.run("deploy", model)
    return model


class Terminal:
    """A verb on a terminal of 80 columns, to which somebody may type."""

    def __init__(self, platform, *arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        environment |= {"DECALOG_URL": platform.url, "TERM": "xterm", **variables}
        self.master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [BINARY, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True)
        os.close(terminal)
        self.shown = b""

    def read_until(self, text=None):
        """What is shown until that text comes, or all of it."""
        while text is None or text.encode() not in self.shown:
            try:
                piece = os.read(self.master, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            self.shown += piece
        return self.shown.decode()

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """All that was shown, and the exit code."""
        self.read_until()
        os.close(self.master)
        return self.shown.decode(), self.process.wait(30)


def uncoloured(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_what_is_live_is_not_removed_without_a_word(served, tmp_path):
    deployed(served, tmp_path, "kept", constant(1))
    refused = served.run("rm", "kept", ok=False, stdin="")
    assert refused.code == 1 and "kept is live: v1 in production" in refused.err and "decalog rm kept --yes" in refused.err, refused
    terminal = Terminal(served, "rm", "kept")
    terminal.read_until("type its name: ")
    terminal.type("no\n")
    shown, code = terminal.end()
    assert code == 1 and "kept is not removed" in shown, shown
    assert served.predict("kept", {"x": 1}).status == 200
    terminal = Terminal(served, "rm", "kept")
    terminal.read_until("type its name: ")
    terminal.type("kept\n")
    shown, code = terminal.end()
    assert code == 0 and "kept is removed" in shown, shown
    deployed(served, tmp_path, "kept", constant(2))
    assert "is removed" in served.run("rm", "kept", "--yes").err
    failed = served.run("deploy", write_model(tmp_path / "never", {"model.py": "raise ValueError('no')\n\ndef predict(x: int) -> int:\n    return x\n"}), ok=False)
    assert failed.code == 1
    assert "is removed" in served.run("rm", "never").err, "nothing of it is live"


def test_a_release_is_aborted_as_soon_as_it_was_asked_for(served, tmp_path):
    deployed(served, tmp_path, "hasty", constant(1))
    slow = write_model(tmp_path / "slow" / "hasty", {"model.py": SLOW})
    served.run("deploy", slow, "--detach")
    aborted = served.run("release", "abort", "hasty")
    assert "was aborted" in aborted.out or "did not go live" in aborted.out, aborted
    assert served.predict("hasty", {"x": 1}).json() == {"output": 1}
    listed = next(row for row in served.run("ls", "--json").json()["models"] if row["name"] == "hasty")
    assert (listed["live"], listed["state"]) == ("v1", "v2 was aborted")
    shown = served.run("release", "status", "hasty").out
    assert "did not go live" in shown and "aborted" in shown, shown


def test_a_secret_without_a_value_and_a_variable_of_nobody_are_refused(served, tmp_path):
    deployed(served, tmp_path, "careful", constant(1))
    refused = served.run("env", "set", "TOKEN", "--secret", "--model", "careful", ok=False, stdin="")
    assert refused.code == 1 and "no value for TOKEN" in refused.err, refused
    refused = served.run("env", "set", "TOKEN=", "--secret", "--model", "careful", ok=False)
    assert refused.code == 1 and "the secret TOKEN is empty" in refused.err, refused
    assert served.run("env", "ls", "--model", "careful").out == ""
    served.run("env", "set", "EMPTY=", "--model", "careful")
    assert served.run("env", "ls", "--model", "careful").out.startswith("EMPTY=")
    refused = served.run("env", "set", "LEVEL=3", "--model", "carefull", ok=False)
    assert refused.code == 1 and "there is no model `carefull`" in refused.err, refused
    assert "did you mean `careful`?" in refused.err and "--ahead" in refused.err, refused
    served.run("env", "set", "LEVEL=3", "--model", "later", "--ahead")
    deployed(served, tmp_path, "later", {"model.py": "import os\n\ndef predict(x: int) -> str:\n    return os.environ['LEVEL']\n"})
    assert served.predict("later", {"x": 1}).json() == {"output": "3"}


def test_a_variable_that_makes_replicas_fail_is_seen_wherever_somebody_looks(served, tmp_path):
    deployed(served, tmp_path, "fragile", {"model.py": CARE})
    served.run("env", "set", "LEVEL=bad", "--model", "fragile")

    def state():
        rows = served.run("ls", "--json").json()["models"]
        return next(row for row in rows if row["name"] == "fragile")["state"]

    wait_for(lambda: "LEVEL must not be bad" in state(), "the failure in ls", 30)
    assert state().startswith("new replicas fail: "), state()
    assert served.predict("fragile", {"x": 4}).json() == {"output": 4}, "the old ones serve"
    shown = served.run("show", "fragile").out
    assert "failing" in shown and "LEVEL must not be bad" in shown and "earlier replica answers" in shown, shown
    status = served.run("status").out
    assert "failing  default/fragile v1 in production: " in status and "LEVEL must not be bad" in status, status
    served.run("env", "set", "LEVEL=good", "--model", "fragile")
    wait_for(lambda: state() == "", "no failure any more", 30)
    assert "failing" not in served.run("status").out + served.run("show", "fragile").out


def test_logs_tell_how_processes_began_and_ended(served, tmp_path):
    deployed(served, tmp_path, "talks", {"model.py": TALKS})
    assert served.predict("talks", {"x": 9}).json()["code"] == "worker_died"
    assert "decalog logs talks" in served.predict("talks", {"x": 8}).json()["help"]
    wait_for(lambda: served.predict("talks", {"x": 1}).status == 200, "an answer", 30)

    def lines():
        return [json.loads(line) for line in served.run("logs", "talks", "--json").out.splitlines()]

    def said(*words):
        return [line for line in lines() if all(word in line["text"] for word in words)]

    wait_for(lambda: len(said("[decalog: exited with status 7]")) == 2, "how two replicas ended", 10)
    wait_for(lambda: len(said("[decalog: killed by signal 9 (SIGKILL)]")) == 2, "how two others did", 10)
    printed = lines()
    assert [line["at_ms"] for line in printed] == sorted(line["at_ms"] for line in printed)
    assert said("loading the model") and len(said("my last words")) == 2
    begins = {line["process"][0] for line in said("loading the model")}
    assert begins <= {"p", "r"}, "a parent that replicas are forked from, or a replica itself"
    assert len({line["process"] for line in printed}) >= 4 and {line["version"] for line in printed} == {"v1"}
    assert {line["level"] for line in said("asked")} == {"warning"}
    assert {line["level"] for line in said("killed by signal")} == {"error"}
    end = said("my last words")[0]
    follows = [line["text"] for line in printed if line["process"] == end["process"]]
    assert follows[follows.index("my last words") + 1] == "[decalog: exited with status 7]", follows
    # A pipe gets what was printed, a person when and by whom.
    assert "WARNING: asked 9\nmy last words\n[decalog: exited with status 7]\n" in served.run("logs", "talks").out
    shown = uncoloured(Terminal(served, "logs", "talks").end()[0])
    assert re.search(r"^\d\d-\d\d \d\d:\d\d:\d\d v1 [pr]\S+ +my last words", shown, re.M), shown
    deployed(served, tmp_path / "next", "talks", {"model.py": TALKS.replace("loading", "starting")})
    served.predict("talks", {"x": 2})
    wait_for(lambda: {"v1", "v2"} <= {line["version"] for line in lines()}, "both versions", 10)
    only = served.run("logs", "talks@v2").out
    assert "starting the model" in only and "loading" not in only, only


def test_events_of_nobody_are_told_so(served, tmp_path):
    deployed(served, tmp_path, "eventful", constant(1))
    refused = served.run("events", "eventfull", ok=False)
    assert refused.code == 1 and "there is no model `eventfull`" in refused.err and "did you mean `eventful`?" in refused.err, refused
    served.run("rm", "eventful", "--yes")
    assert "model_removed" in served.run("events", "eventful").out, "what was removed has events"


def test_a_shadow_is_called_what_it_is(served, tmp_path):
    deployed(served, tmp_path, "shaded", constant(1))
    model = write_model(tmp_path / "new" / "shaded", constant(1))
    (model / "model.py").write_text(constant(1)["model.py"] + "# another\n")
    served.run("deploy", model, "--shadow", "20%", "--detach")
    wait_for(lambda: "shadow" in served.run("ls").out, "the shadow", 60)
    shown = served.run("release", "status", "shaded").out
    assert "copies of 20% of the requests; v1 answers all callers" in shown, shown
    assert "copies of 20% of the requests; v1 answers all callers" in served.run("events", "shaded").out
    served.run("release", "abort", "shaded")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("form", ["{}", "localhost:{}", ":{}"])
def test_addresses_are_understood_as_people_write_them(tmp_path, form):
    port = free_port()
    log = tmp_path / "log"
    with open(log, "w") as out:
        up = subprocess.Popen([BINARY, "up", "--data", tmp_path / "data", "--listen", form.format(port)], stdout=out, stderr=out)
    try:
        wait_for(lambda: f"http://127.0.0.1:{port}" in log.read_text(), "the address", 30)
        for url in (f"localhost:{port}", f"127.0.0.1:{port}", str(port), f"http://127.0.0.1:{port}/"):
            asked = subprocess.run([BINARY, "--url", url, "status"], capture_output=True, text=True)
            assert asked.returncode == 0 and "Decalog" in asked.stdout, (url, asked)
        stopped = subprocess.run([BINARY, "stop", "--url", f"localhost:{port}"], capture_output=True, text=True)
        assert stopped.returncode == 0 and "has ended" in stopped.stderr, stopped
        assert up.wait(5) == 0
    finally:
        up.poll() is None and up.kill()
        up.wait()


def test_stop_ends_the_platform_and_its_models(fresh, tmp_path):
    platform = fresh().start()
    deployed(platform, tmp_path, "m", constant(1))
    pids = platform.pids("m")
    stopped = platform.run("stop", "--data", platform.data)
    assert f"(process {platform.process.pid})" in stopped.err, stopped
    assert platform.process.wait(5) == 0
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the end of the models", 10)
    again = platform.run("stop", "--data", platform.data, ok=False)
    assert again.code == 1 and "no decalog runs on" in again.err, again
    assert platform.run("stop", ok=False).code == 3


def test_an_upgrade_that_cannot_be_makes_nothing(served, tmp_path):
    nothing = tmp_path / "nothing"
    for arguments in (["--data", nothing], ["--data", nothing, "--binary", "/bin/true"]):
        failed = served.run("upgrade", *arguments, ok=False)
        assert failed.code == 1 and "no decalog runs on" in failed.err, failed
        assert not nothing.exists()
    up_log = served.data / "logs" / "up.log"
    for binary in (tmp_path / "none", write_model(tmp_path, {"text": "no program"}) / "text"):
        failed = served.run("upgrade", "--binary", binary, ok=False)
        assert failed.code == 1 and str(binary) in failed.err, failed
        assert not up_log.exists()


def test_the_first_page_is_one(served):
    page = served.request_over_tcp("GET", "/", headers={"Accept": "text/html"})
    assert page.status == 200 and page.headers["Content-Type"].startswith("text/html") and b"<html" in page.body


def test_80_columns_are_enough(served, tmp_path):
    name = "customer-churn-prediction-by-region-and-segment"
    model = write_model(tmp_path / name, {"model.py": CARE})
    terminal = Terminal(served, "deploy", model)
    shown, code = terminal.end()
    assert code == 0, shown
    # What turns while something is under way is written over.
    lines = [uncoloured(part) for line in shown.split("\r\n") for part in line.split("\r")]
    # An address to copy stays whole.
    assert [line for line in lines if "  curl http://" in line].pop().endswith("/predict \\")
    lines = [line for line in lines if "  curl http://" not in line]
    assert max(map(len, lines)) <= 80, [line for line in lines if len(line) > 80]
    for arguments in (["ls"], ["events"], ["events", name], ["show", name], ["status"], ["release", "status", name]):
        shown, code = Terminal(served, *arguments).end()
        lines = [uncoloured(line) for line in shown.splitlines()]
        assert code == 0 and lines and max(map(len, lines)) <= 80, (arguments, lines)
    listed = uncoloured(Terminal(served, "ls").end()[0])
    assert re.search(r"^customer-c\S*…\S*ment ", listed, re.M), listed


def test_a_command_to_copy_fits_and_a_wide_row_goes_into_a_file(served, tmp_path):
    columns = ", ".join(f"measured_value_{number}: float" for number in range(30))
    model = write_model(tmp_path / "wide", {"model.py": f"def predict({columns}) -> float:\n    return 1.0\n"})
    shown = uncoloured(Terminal(served, "deploy", model).end()[0])
    assert "decalog show wide --row > row.json" in shown and "predict -d @row.json" in shown, shown
    row = tmp_path / "row.json"
    row.write_text(served.run("show", "wide", "--row").out)
    command = re.search(r"curl \S+ -d @row.json", shown).group(0)
    answer = subprocess.run(["sh", "-c", command + " -sS"], cwd=tmp_path, capture_output=True, text=True).stdout
    assert json.loads(answer) == {"output": 1.0}
    assert "-d '{" in served.run("deploy", model).out, "a program gets one line"


def test_colour_is_for_terminals_that_have_it(served, tmp_path):
    deployed(served, tmp_path, "coloured", constant(1))
    broken = write_model(tmp_path / "broken" / "coloured", {"model.py": "raise ValueError('no')\n\ndef predict(x: int) -> int:\n    return x\n"})
    assert served.run("deploy", broken, ok=False).code == 1
    shown, _ = Terminal(served, "ls").end()
    assert re.search(r"\x1b\[31mv2 failed at start", shown), shown
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b[3" not in Terminal(served, "ls", **variables).end()[0], variables
    assert "\x1b" not in served.run("ls").out and "\x1b" not in served.run("deploy", broken, ok=False).err


def test_long_steps_say_what_they_do(served, tmp_path):
    model = write_model(tmp_path / "patient", {"model.py": "import time\ntime.sleep(2)\n\ndef predict(x: int) -> int:\n    return x\n"})
    shown, code = Terminal(served, "deploy", model).end()
    assert code == 0 and "start     loads the model" in shown and re.search(r"\b[12]s", uncoloured(shown)), shown


def test_times_for_programs_are_exact(served):
    events = served.run("events", "--json").json()["events"]
    now_ms = time.time() * 1_000
    assert events and all(isinstance(event["at_ms"], int) and now_ms - 3_600_000 < event["at_ms"] <= now_ms for event in events)
