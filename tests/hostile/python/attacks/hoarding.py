"""What takes more than its share, or outlives its process. All of it is limited by what the test says."""

import os
import signal
import sys
import tempfile
import time

from . import attack

MIB = 1 << 20


@attack
def fork_bomb(target):
    """Children that wait, each with children, until none more are given."""
    made = [os.fork() for _ in range(target.children.bit_length() - 1)].count(0)
    if made:
        signal.alarm(target.seconds)
        while True:
            signal.pause()
    return "forked"


@attack
def memory_hog(target):
    held = []
    for _ in range(target.mib):
        held.append(bytearray(os.urandom(4096)) * (MIB // 4096))
    time.sleep(target.seconds)
    return f"{len(held)} MiB"


@attack
def disk_hog(target):
    path = os.path.join(tempfile.gettempdir(), "hog")
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, target.mib * MIB)
    return path


@attack
def log_flood(target):
    line = "hostile " * 127 + "hostile"
    for _ in range(target.mib * 1024):
        print(line)
    sys.stdout.flush()
    return "printed"


@attack
def outlive(target):
    """A process that has left its session and its parent, and keeps nothing open."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child:
            os.write(writer, str(child).encode())
            os._exit(0)
        os.closerange(0, 1024)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(target.seconds)
        while True:
            signal.pause()
    os.close(writer)
    with open(reader) as file:
        pid = int(file.read())
    os.wait()
    return pid


@attack
def stop_itself(target):
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


@attack
def leave_links(target):
    """Links where whoever clears up after it comes by."""
    places = [tempfile.gettempdir(), os.environ["HOME"], os.path.dirname(os.environ["HOME"])]
    made = 0
    for place in places:
        try:
            os.symlink(target.kept, os.path.join(place, "link"))
            made += 1
        except OSError:
            pass
    return made
