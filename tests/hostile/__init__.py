"""A platform with models that attack it, and all that they are to have no hand in: a sibling, a process, sockets, files."""

import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path

from conftest import ROOT, Platform, wait_for, write_model
from test_faults import alive
from test_processes import supervisor_of

from .listeners import Caller, Listeners, Segment

HERE = Path(__file__).resolve().parent
#: Answers with its variables, and keeps something of its own in its home and in its log.
SIBLING = '''
import os
from pathlib import Path

MARK = "SIBLING_MARK"


def predict(name: str) -> str:
    if name == "keep":
        Path(os.environ["HOME"], "private").write_text(os.environ["SIBLING_SECRET_TOO"])
        print(os.environ["SIBLING_LOGS"], flush=True)
    return os.environ.get(name, "none")
'''
#: How long a victim waits for its end, in seconds.
VICTIM_SECONDS = 600
#: The longest path of a socket.
SOCKET_BYTES_MAX = 107
#: What has to be there for a language's model.
NEEDS = {"python": [], "node": ["node"], "r": ["Rscript"], "shell": ["bash", "curl", "python3"]}


def missing(language):
    """What a language's model lacks here."""
    lacks = [tool for tool in NEEDS[language] if not shutil.which(tool)]
    if language == "r" and not lacks:
        done = subprocess.run(["Rscript", "-e", "library(httpuv); library(jsonlite)"], capture_output=True, timeout=60)
        lacks = ["httpuv and jsonlite"] * (done.returncode != 0)
    return lacks


class Site:
    """Everything at one level of the sandbox."""

    def __init__(self, home, level, arguments):
        self.home, self.level, self.closing, self.process, self.facts = home, level, ExitStack(), None, {}
        self.arguments = arguments
        self.languages = [language for language in NEEDS if not missing(language)]
        self.platform = Platform(home / "data", arguments).start()
        self.closing.callback(self.platform.stop)
        self.outside, self.kept = home / "outside", home / "kept"
        self.secret_text = "secret-" + secrets.token_hex(12)
        self.greeting = "greeting-" + secrets.token_hex(12)
        write_model(home, {"secret": self.secret_text, "kept/file": "kept", "outside/none": "", "cwd/private": self.secret_text})
        self.make_memory()
        short = self.closing.enter_context(tempfile.TemporaryDirectory(prefix="d"))
        self.path_socket = (home if len(str(home)) < SOCKET_BYTES_MAX - 20 else Path(short)) / "path.sock"
        self.listeners = Listeners(self.greeting, str(self.path_socket), home / "secret")
        self.closing.callback(self.listeners.close)
        self.deploy()

    def make_memory(self):
        """Shared memory of both kinds, and a file that lies where everybody's do."""
        self.segment = Segment(self.secret_text)
        self.closing.callback(self.segment.close)
        files = [tempfile.NamedTemporaryFile("w", dir=where, prefix="decalog-hostile-") for where in ("/dev/shm", "/tmp")]
        for file in files:
            file.write(self.secret_text)
            file.flush()
            self.closing.enter_context(file)
        self.shared_file, self.tmp_file = (file.name for file in files)
        self.shared_made = Path(self.shared_file + "-made")
        self.closing.callback(lambda: self.shared_made.unlink(missing_ok=True))

    def deploy(self):
        """The sibling with its secrets, and a model in each language."""
        run = self.platform.run
        self.secrets = {name: secrets.token_hex(12) for name in ("SIBLING_SECRET", "SIBLING_SECRET_TOO")}
        manifest = '[scale]\nmin = 1\nmax = 1\n[env]\nSIBLING_LOGS = "SIBLING_LOGGED"\n'
        run("deploy", write_model(self.home / "sibling", {"model.py": SIBLING, "decalog.toml": manifest}))
        for name, value in self.secrets.items():
            run("env", "set", name, "--secret", "--model", "sibling", stdin=value)
            wait_for(lambda: self.ask_sibling(name) == value, "its secret")
        wait_for(lambda: len(self.platform.pids("sibling")) == 1, "one sibling")
        (self.sibling_pid,) = self.platform.pids("sibling")
        # What it keeps lies in the data directory, or where it says itself.
        assert self.ask_sibling("keep") == "none"
        self.sibling_private = next(self.platform.data.glob("run/replicas/*/home/private"), Path(self.ask_sibling("HOME"), "private"))
        self.run_directory = self.where_sockets_are()
        self.sibling_socket = self.run_directory.joinpath("w", *Path(self.ask_sibling("DECALOG_SOCKET")).parts[-2:])
        trees = self.platform.data.glob("trees/*/model.py")
        self.sibling_tree = next(path.parent for path in trees if "SIBLING_MARK" in path.read_text())
        self.sibling_logs = sorted(map(str, self.platform.data.glob("logs/default/sibling/*/*.log")))
        self.supervisor = supervisor_of(self.platform)
        for language in self.languages:
            run("deploy", HERE / language, "--name", language)

    def where_sockets_are(self):
        """Elsewhere, if the data directory has a long path."""
        run = self.platform.data / "run"
        if (run / "supervisor.sock").exists():
            return run
        name = hashlib.sha256(os.fsencode(self.platform.data)).hexdigest()
        return next(path for path in Path(f"/tmp/decalog-{os.getuid()}").iterdir() if name.startswith(path.name))

    def ask_sibling(self, name):
        answer = self.platform.predict("sibling", {"name": name})
        assert answer.status == 200, answer.body
        return answer.json()["output"]

    def victim(self):
        """A process to attack: the one there is, if it still is as it was."""
        if self.process is None or state_of(self.process.pid) not in ("S", "R"):
            self.end_victim()
            self.victim_secret = "victim-" + secrets.token_hex(12)
            command = [sys.executable, HERE / "victim.py", "victim", self.secret_text, self.home / "secret", str(VICTIM_SECONDS)]
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, env={"VICTIM": self.victim_secret}, cwd=self.home / "cwd",
                start_new_session=True,
            )
            self.facts = json.loads(self.process.stdout.readline())
        return self.process.pid

    def end_victim(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def prepare(self):
        """Everything as it is before an attack, and where it is."""
        victim, platform = self.victim(), self.platform
        shutil.rmtree(self.outside)
        self.outside.mkdir()
        for name in ("scratch", "replaced", "removed", "mode", "time", "attribute"):
            (self.outside / name).write_text("as before")
        (self.outside / "mode").chmod(0o600)
        (self.home / "cwd/through").unlink(missing_ok=True)
        self.shared_made.unlink(missing_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.free_port = free.getsockname()[1]
        paths = {
            "data": platform.data, "door": platform.door(), "run": self.run_directory,
            "outside": self.outside, "scratch": self.outside / "scratch",
            "secret": self.home / "secret", "source": ROOT / "Cargo.toml", "kept": self.kept, "path_socket": self.path_socket,
            "sibling_tree": self.sibling_tree, "sibling_private": self.sibling_private, "sibling_socket": self.sibling_socket,
            "shared_file": self.shared_file, "shared_made": self.shared_made, "tmp_file": self.tmp_file,
        }  # fmt: skip
        return {
            **{name: str(path) for name, path in paths.items()}, **self.facts, "victim": victim, "up": platform.process.pid,
            "supervisor": self.supervisor, "sibling": "sibling", "sibling_logs": self.sibling_logs, "segment": self.segment.number,
            "tcp": self.listeners.tcp, "udp": self.listeners.udp, "abstract": self.listeners.abstract, "free_port": self.free_port,
            "api": int(platform.url.rsplit(":", 1)[1]), "interface": first_interface(), "host": socket.gethostname(),
            "groups": control_groups(), "device": first_disk(),
        }  # fmt: skip

    def attempt(self, language, attack, **more):
        """What a model says came of an attack: an outcome and a detail. One that has ended says neither."""
        body = {"attack": attack, "target": json.dumps({**self.prepare(), **more})}
        with self.caller(attack) as caller:
            answer = self.platform.predict(language, body)
            self.is_fooled = lambda: caller.is_fooled
            if answer.status != 200:
                return "ended", f"{answer.status} {answer.body.decode(errors='replace')}"
            return answer.json()["outcome"], answer.json()["detail"]

    def caller(self, attack):
        """Whoever is there to be answered by the wrong one."""
        if attack == "sibling_impersonated":
            return Caller(socket.AF_UNIX, str(self.sibling_socket))
        if attack == "tcp_listen":
            return Caller(socket.AF_INET, ("127.0.0.1", self.free_port))
        return nullcontext()

    def attempt_outside(self, attack):
        """The same in a process that Decalog has nothing to do with, with a directory that somebody left open."""
        directory = os.open(self.home, os.O_RDONLY)
        program = "import json, sys, attacks; print(json.dumps(attacks.attempt(*sys.argv[1:])))"
        try:
            done = subprocess.run(
                [sys.executable, "-B", "-c", program, attack, json.dumps(self.prepare())],
                cwd=HERE / "python", capture_output=True, text=True, timeout=20, pass_fds=[directory],
            )  # fmt: skip
        finally:
            os.close(directory)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def is_well(self):
        """The platform and the sibling are who they were, and answer as before."""
        assert self.platform.process.poll() is None and alive(self.supervisor)
        assert self.ask_sibling("SIBLING_SECRET") == self.secrets["SIBLING_SECRET"]
        assert self.platform.pids("sibling") == [self.sibling_pid]
        assert (self.kept / "file").read_text() == "kept" and (self.home / "secret").read_text() == self.secret_text
        return True

    def descendants(self):
        """The processes below the supervisor."""
        return descendants(self.supervisor)

    def replace(self, model):
        """Ends a model's replica, as by a fault, and waits for the next."""
        before = self.platform.pids(model)
        for pid in before:
            if pid:
                os.kill(pid, signal.SIGKILL)
        now = lambda: [pid for pid in self.platform.pids(model) if pid and pid not in before]
        wait_for(lambda: now() and self.attempt(model, "none")[0] == "broken", "another replica", 30)

    def close(self):
        self.end_victim()
        self.closing.close()


def state_of(pid):
    """R, S, T, Z …; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def descendants(of):
    """The processes below one."""
    children, found, at = {}, [], [of]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if stat[0] != "Z":
            children.setdefault(int(stat[1]), []).append(int(pid))
    while at:
        at = [child for parent in at for child in children.get(parent, [])]
        found += at
    return set(found)


def control_groups():
    """The roots of all hierarchies."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [place for _, place, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]


def first_interface():
    """One through which this machine is in a network, with an address; else any."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    routes = [line.split()[0] for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return next((name for name in names if name in routes), [*names, "lo"][0])


def first_disk():
    """The number of this machine's first block device; that of no device if it has none."""
    lines = map(str.split, Path("/proc/partitions").read_text().splitlines()[2:])
    disks = [os.makedev(int(major), int(minor)) for major, minor, blocks, name in lines if not name.startswith(("loop", "ram"))]
    return disks[0] if disks else 0
