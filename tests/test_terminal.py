"""What a person sees: lists fit the terminal, and what goes elsewhere is whole."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest
from conftest import BINARY, constant, write_model

MODEL = "customer-churn-prediction-by-region-and-segment"


def shown(platform, columns, *arguments):
    """The lines that a verb prints on a terminal of so many columns."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"DECALOG_URL": platform.url}
    with subprocess.Popen([BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.PIPE, env=environment) as process:
        os.close(terminal)
        pieces = []
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            if not piece:
                break
            pieces.append(piece)
    os.close(master)
    return b"".join(pieces).decode().splitlines()


@pytest.mark.parametrize("columns", [60, 80])
def test_lists_fit_the_terminal(platform, tmp_path, columns):
    model = write_model(tmp_path / MODEL, constant(1))
    platform.run("deploy", model)
    platform.run("deploy", model, "--env", "staging", "--project", "fraud-and-risk-analytics")
    platform.run("env", "set", f"LONG={'x' * 200}", "--model", MODEL)
    platform.predict(MODEL, {"x": 0})
    reading = [
        ("ls",), ("events",), ("events", MODEL), ("show", MODEL), ("show", MODEL, "--schema"), ("env", "ls", "--model", MODEL),
        ("release", "status", MODEL), ("doctor", "--data", platform.data),
    ]  # fmt: skip
    for arguments in reading:
        lines = shown(platform, columns, *arguments)
        assert lines and max(map(len, lines)) <= columns, (arguments, lines)
    names = [line.split()[0] for line in shown(platform, columns, "ls")]
    assert names[0] == "MODEL" and names[1].startswith("customer-") and names[1].endswith("ment") and names[2].startswith("fraud-and"), names
    assert "released" in "".join(shown(platform, columns, "events"))


def test_what_goes_to_a_program_is_whole(platform, tmp_path):
    model = write_model(tmp_path / MODEL, constant(1))
    platform.run("deploy", model)
    platform.run("deploy", model, "--env", "staging")
    listed = [line.split()[0] for line in platform.run("ls").out.splitlines()]
    assert listed == ["MODEL", MODEL, f"{MODEL}@staging"]
    events = platform.run("events", MODEL)
    assert "…" not in events.out
    assert len(events.out.splitlines()) == len(platform.run("events", MODEL, "--json").json()["events"])
