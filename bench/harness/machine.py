"""What the figures were measured on and with."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from .paths import TOOLS, VENVS

PACKAGES = ["numpy", "scikit_learn", "onnxruntime"]
OF_FAMILY = {"fastapi": ["fastapi", "uvicorn", "uvloop", "httptools", "pydantic"], "mlserver": ["mlserver", "fastapi", "orjson"]}


def describe() -> dict[str, Any]:
    """The machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    release = Path("/etc/os-release")
    names = [line.split("=", 1)[1].strip('"') for line in release.read_text().splitlines() if line.startswith("PRETTY_NAME=")] if release.exists() else []
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[1]) / 2**20, 1),
        "kernel": platform.release(),
        "system": names[0] if names else platform.system(),
    }


def busy() -> float:
    """Processes that wanted a core over the last minute: above a few tenths, something else ran beside."""
    return os.getloadavg()[0]


def versions(families: list[str], decalog: Path) -> dict[str, str]:
    """Of the servers and what they compute with."""
    found = {"oha": output([str(TOOLS / "bin" / "oha"), "--version"]), "rustc": output(["rustc", "--version"])}
    for family in families:
        if family == "decalog":
            found["decalog"] = output([str(decalog), "--version"])
        elif family != "hyper":
            names = OF_FAMILY.get(family, [family]) + PACKAGES
            found[family] = ", ".join(f"{name} {version}" for name in names if (version := installed(family, name)))
    return found


def installed(family: str, package: str) -> str | None:
    """The version of a package in a server's environment."""
    for path in (VENVS / family).glob(f"lib/python*/site-packages/{package}-*.dist-info"):
        return path.name.removesuffix(".dist-info").rpartition("-")[2]
    return None


def output(argv: list[str]) -> str:
    """What a program says of itself."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10).stdout.strip()
    except OSError:
        return "missing"
