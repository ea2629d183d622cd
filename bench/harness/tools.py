"""Makes what the benchmark needs, once: the load generator, the bare echo, a virtual environment per server, the trained forest."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import BENCH, CACHE, TOOLS, VENVS, WORK

OHA_VERSION = "1.16.0"
PYTHON = "3.11"
UV = CACHE / "bench" / "uv" / "bin" / "uv"


class Missing(Exception):
    """Something cannot be made, and why."""


def call(argv: list[str], what: str, **variables: str) -> None:
    """Runs a command quietly; its output only if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | variables)
    if done.returncode != 0:
        raise Missing(f"{what}: {(done.stderr or done.stdout).strip()[-1_500:]}")


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def oha() -> None:
    """The load generator. Only plain HTTP is used, but it does not compile without TLS: with the system's OpenSSL if its headers
    are there, which is much the quicker build."""
    if (TOOLS / "bin" / "oha").exists():
        return
    say("building oha (a few minutes, once)")
    native = shutil.which("pkg-config") and subprocess.run(["pkg-config", "--exists", "openssl"]).returncode == 0
    features = ["--no-default-features", "--features", "native-tls"] if native else []
    profile = {"LTO": "off", "CODEGEN_UNITS": "16", "DEBUG": "false"}
    variables = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in profile.items()}
    variables["CARGO_TARGET_DIR"] = str(CACHE / "tools-target")
    argv = ["cargo", "install", "oha", "--version", OHA_VERSION, "--locked", "--root", str(TOOLS), *features]
    call(argv, "oha cannot be built", **variables)


def hyper_echo() -> None:
    """The ceiling: hyper with nothing behind it, compiled like Decalog."""
    argv = ["cargo", "build", "--release", "--locked", "--manifest-path", str(BENCH / "hyper-echo" / "Cargo.toml")]
    call(argv, "hyper-echo cannot be built", CARGO_TARGET_DIR=str(CACHE / "tools-target"))


def uv() -> str:
    """The installer of packages."""
    found = shutil.which("uv")
    if found:
        return found
    if not UV.exists():
        say("installing uv")
        call([sys.executable, "-m", "venv", str(UV.parent.parent)], "no virtual environment for uv")
        call([str(UV.parent / "pip"), "install", "-q", "uv"], "uv cannot be installed")
    return str(UV)


def environment(name: str, requirements: Path) -> Path:
    """The virtual environment of one server; rebuilt when its requirements change."""
    directory, stamp = VENVS / name, VENVS / f"{name}.txt"
    wanted = "".join(path.read_text() for path in (requirements, BENCH / "servers" / "base.txt"))
    if stamp.exists() and stamp.read_text() == wanted:
        return directory
    say(f"installing {name}")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    installer = uv()
    call([installer, "venv", "-q", "--python", PYTHON, str(directory)], f"{name}: no virtual environment")
    install = [installer, "pip", "install", "-q", "--python", str(directory / "bin" / "python"), "-r", str(requirements)]
    call(install, f"{name} cannot be installed")
    stamp.write_text(wanted)
    return directory


def server(family: str) -> None:
    """What one server needs to run."""
    if family == "hyper":
        hyper_echo()
    elif family != "decalog":
        environment(family, BENCH / "servers" / family / "requirements.txt")


def forest() -> None:
    """The trained forest, in both forms."""
    script, stamp = BENCH / "train.py", WORK / "train.py"
    if stamp.exists() and stamp.read_text() == script.read_text() and (WORK / "forest.json").exists():
        return
    directory = environment("train", BENCH / "train-requirements.txt")
    say("training the forest")
    call([str(directory / "bin" / "python"), str(script), str(WORK)], "the forest cannot be trained")
    stamp.write_text(script.read_text())


def model_directory(name: str) -> Path:
    """The model as Decalog deploys it: `bench/models/NAME` with the trained file beside."""
    directory = WORK / "models" / name
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(BENCH / "models" / name, directory)
    trained = {"forest": ("forest.joblib", "forest.joblib"), "forest-onnx": ("forest.onnx", "model.onnx")}
    if name in trained:
        source, target = trained[name]
        shutil.copy(WORK / source, directory / target)
    return directory
