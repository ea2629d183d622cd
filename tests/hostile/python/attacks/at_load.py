"""Attacks on those who start a model and ask how it began: they are made while it loads."""

import json
import os
import socket
import sys


def failure_link(target):
    """Says why it failed by a link to what others may read."""
    path = os.environ["DECALOG_FAILURE"]
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)
    os._exit(1)


def failure_pipe(target):
    """Whoever opens it waits for somebody who writes."""
    path = os.environ["DECALOG_FAILURE"]
    if os.path.lexists(path):
        os.unlink(path)
    os.mkfifo(path)
    os._exit(1)


def forged_fork(target):
    """Says to the supervisor that it has forked somebody, whom that does not know, and ends."""
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            control = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        if control.family == socket.AF_UNIX and control.type == socket.SOCK_SEQPACKET:
            control.send(json.dumps({"forked": {"id": "nobody", "pid": int(target)}}).encode())
            print("said so", file=sys.stderr)
        control.close()


def forged_child(target):
    """Gives out another model's process as the one that it was told to fork."""
    nursery = sys.modules["decalog_worker.fork"].Nursery
    send = nursery.send

    def forged(self, message):
        if "forked" in message:
            message["forked"]["pid"] = int(target)
        send(self, message)

    nursery.send = forged


ATTACKS = {attack.__name__: attack for attack in (failure_link, failure_pipe, forged_fork, forged_child)}
