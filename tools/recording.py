#!/usr/bin/env python3
"""Records the first minute with Decalog as an SVG: runs the real binary in a terminal of 80 columns, and draws what it
printed, when it printed it. No line is written by hand; only the pauses before a command are the script's.

    tools/recording.py --decalog ~/.cache/decalog/target/release/decalog --output docs/pictures/first-minute.svg
"""

import argparse
import datetime
import fcntl
import html
import os
import platform
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

COLUMNS, ROWS = 80, 30
#: What is typed, and the exit status that it must have. The first command stays in the background.
COMMANDS = [
    ("decalog up --data /tmp/decalog &", None),
    ("decalog new hello && cat hello/model.py", 0),
    ("decalog deploy hello", 0),
    ("decalog predict hello '{\"name\": \"world\", \"times\": 2}'", 0),
    ("sed -i 's/Hello/Good morning/' hello/model.py && decalog deploy hello", 1),
    ("sed -i 's/Hello/Good morning/' hello/tests/world.json && decalog deploy hello", 0),
    ("decalog predict hello '{\"name\": \"world\"}'", 0),
    ("decalog rollback hello && decalog predict hello '{\"name\": \"world\"}'", 0),
]
#: Seconds: before a command, to read what it printed, at the end of the picture, and the longest that a command may take.
TYPE_S, READ_S, REST_S, COMMAND_S_MAX = 0.8, 1.2, 6.0, 60.0
#: Where everything of the recording lies, and its data directory: a short path, as it is printed.
HOME, DATA = Path("/tmp/decalog-recording"), Path("/tmp/decalog")


class Screen:
    """What a terminal shows: text, line ends, carriage returns, and erasing a line are all that the verbs send."""

    def __init__(self):
        self.lines, self.times, self.row, self.column = [""], [0.0], 0, 0

    def feed(self, text, now):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.next_line()
            elif part.startswith("\x1b["):
                self.control(part[2:-1], part[-1])
            else:
                self.put(part, now)

    def control(self, argument, letter):
        line = self.lines[self.row]
        if letter == "K":
            self.lines[self.row] = "" if argument == "2" else line[: self.column]
        elif letter not in "mhl":  # colours and cursors are left out
            raise SystemExit(f"the recording does not know the sequence ESC[{argument}{letter}")

    def put(self, text, now):
        for character in text:
            if self.column == COLUMNS:
                self.next_line()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.times[self.row] = now
            self.column += 1

    def next_line(self):
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append("")
            self.times.append(self.times[-1])


def spawn(command, environment):
    """A command in a terminal of its own: its process and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(HOME)
        # A size of the terminal before the program asks for it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvpe("bash", ["bash", "-c", command], environment)
    return pid, terminal


def read(terminal, seconds):
    """What came within so many seconds: bytes, nothing, or None at the end."""
    if not select.select([terminal], [], [], seconds)[0]:
        return b""
    try:
        return os.read(terminal, 1 << 16) or None
    except OSError:
        return None


def record(environment):
    """Runs all commands; the screen, and the time of the last line."""
    screen, clock, server = Screen(), 0.0, None
    try:
        for command, expected in COMMANDS:
            clock += TYPE_S if server else 0.0
            screen.feed(f"$ {command}\r\n", clock)
            background = expected is None
            pid, terminal = spawn(f"exec {command[:-2]}" if background else command, environment)
            server = server or pid
            begin, waiting = time.monotonic(), b""
            while True:
                data = read(terminal, 0.5 if background else COMMAND_S_MAX)
                # A server is done when it has said all that it says: nothing more for half a second after its address.
                if data is None or (data == b"" and background and screen.row > 1):
                    break
                elapsed = time.monotonic() - begin
                if elapsed > COMMAND_S_MAX:
                    raise SystemExit(f"`{command}` took longer than {COMMAND_S_MAX:.0f} s")
                waiting += data
                whole = waiting.decode("utf-8", "ignore")
                waiting = waiting[len(whole.encode()) :]
                screen.feed(whole, clock + elapsed)
            if background:
                if data is None:
                    raise SystemExit("`decalog up` ended:\n" + "\n".join(screen.lines))
            elif os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != expected:
                raise SystemExit(f"`{command}` should end with {expected}:\n" + "\n".join(screen.lines))
            clock = screen.times[screen.row] + READ_S
    finally:
        if server:
            os.kill(server, signal.SIGTERM)  # one that has ended waits for this process, so its number is still its own
            os.waitpid(server, 0)
    while screen.lines and not screen.lines[-1]:
        screen.lines.pop()
    return screen, clock


def machine():
    """Processor, cores and the day, for the line below the picture."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    cores = len(os.sched_getaffinity(0))
    return f"{models[0] if models else platform.machine()}, {cores} cores, {datetime.date.today().isoformat()}"


def colour(line):
    if line.startswith("$ "):
        return "typed"
    return "wrong" if line.startswith("error:") else "printed"


def picture(screen, end, caption):
    """The SVG: each line appears when it was printed, and the page scrolls; without animation the first page is shown."""
    width_px, height_px, left_px, top_px = 8.4, 18, 16, 28
    total, style, body = end + REST_S, [], []
    scrolls, hidden = [(0.0, 0)], 0
    for row, (line, at) in enumerate(zip(screen.lines, screen.times)):
        share = 100 * at / total
        if row - hidden >= ROWS:
            hidden = row - ROWS + 1
            scrolls.append((share, hidden))
        shown = f"0%{{visibility:hidden}}{share:.2f}%,100%{{visibility:visible}}"
        style.append(f"@keyframes l{row}{{{shown}}}.l{row}{{animation-name:l{row}}}")
        if line.strip():
            y, length = top_px + row * height_px, len(line.rstrip())
            text = html.escape(line.rstrip(), quote=False)
            body.append(
                f'<text class="l l{row} {colour(line)}" x="{left_px}" y="{y}" textLength="{length * width_px:.1f}" '
                f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{text}</text>'
            )
    moves = "".join(f"{share:.2f}%{{transform:translateY({-rows * height_px}px)}}" for share, rows in scrolls)
    moves += f"100%{{transform:translateY({-hidden * height_px}px)}}"
    width, page = round(COLUMNS * width_px + 2 * left_px), ROWS * height_px
    height = page + 44
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>The first minute with Decalog</title>
<desc>{html.escape(caption)}</desc>
<style>
text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d0d7de}}
.typed{{fill:#7ee787;font-weight:600}}.wrong{{fill:#ff938a}}.caption{{font-size:12px;fill:#8b949e}}
.l,.page{{animation-duration:{total:.2f}s;animation-timing-function:step-end;animation-iteration-count:infinite}}
@keyframes page{{{moves}}}.page{{animation-name:page}}
{"".join(style)}
@media (prefers-reduced-motion:reduce){{.l,.page{{animation:none}}}}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#30363d"/>
<clipPath id="c"><rect x="0" y="{top_px - 13}" width="{width}" height="{page}"/></clipPath>
<g clip-path="url(#c)"><g class="page">
{chr(10).join(body)}
</g></g>
<text class="caption" x="{left_px}" y="{height - 10}">{html.escape(caption)}</text>
</svg>
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", type=Path, required=True, help="the binary")
    parser.add_argument("--output", type=Path, required=True, help="the SVG")
    options = parser.parse_args()
    for directory in (HOME, DATA):
        if directory.exists():
            raise SystemExit(f"{directory} is there already: remove it first")
    (HOME / "bin").mkdir(parents=True)
    (HOME / "bin/decalog").symlink_to(options.decalog.resolve())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DECALOG_URL", "XDG_"))}
    environment.update(PATH=f"{HOME}/bin:{os.environ['PATH']}", TERM="xterm-256color")
    try:
        screen, end = record(environment)
    finally:
        for directory in (HOME, DATA):
            subprocess.run(["chmod", "-R", "u+w", directory], stderr=subprocess.DEVNULL)
            shutil.rmtree(directory, ignore_errors=True)
    version = subprocess.run([options.decalog, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(picture(screen, end, f"{version} · {machine()} · recorded by tools/recording.py"))
    print(f"{options.output}: {len(screen.lines)} lines, {end:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
