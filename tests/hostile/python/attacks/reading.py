"""What a model has no business to read."""

import hashlib
import os
import tempfile

from . import Denied, attack


def text(path):
    with open(path, "rb") as file:
        return file.read(1 << 20).decode(errors="replace")


def through(link, target):
    """What is read through a link of its own."""
    path = os.path.join(tempfile.gettempdir(), link)
    if os.path.lexists(path):
        os.unlink(path)
    return path, target


@attack
def read_secret(target):
    return text(target.secret)


@attack
def read_source(target):
    return text(target.source)[:80]


@attack
def read_keys(target):
    digests = []
    for name in sorted(os.listdir(target.data + "/keys")):
        with open(f"{target.data}/keys/{name}", "rb") as file:
            digests.append(name + " " + hashlib.sha256(file.read()).hexdigest())
    if not digests:
        raise Denied("no keys")
    return "\n".join(digests)


@attack
def read_ledger(target):
    with open(target.data + "/ledger.sqlite", "rb") as file:
        begin = file.read(15)
    if begin != b"SQLite format 3":
        raise Denied(repr(begin))
    return begin.decode()


@attack
def list_data(target):
    return " ".join(sorted(os.listdir(target.data)))


@attack
def stat_secret(target):
    return os.stat(target.secret).st_size


@attack
def read_sibling_tree(target):
    return text(target.sibling_tree + "/model.py")


@attack
def read_sibling_home(target):
    return text(target.sibling_private)


@attack
def read_sibling_log(target):
    return "\n".join(text(path) for path in target.sibling_logs)


@attack
def symlink_to_secret(target):
    path, secret = through("link", target.secret)
    os.symlink(secret, path)
    return text(path)


@attack
def hard_link_to_secret(target):
    path, secret = through("hard", target.secret)
    os.link(secret, path)
    try:
        return text(path)
    finally:
        os.unlink(path)


@attack
def list_processes(target):
    """Also numbers that the directory does not list, if they can be entered."""
    for pid in (target.victim, target.supervisor, target.up):
        if str(pid) not in os.listdir("/proc") or not os.path.isdir(f"/proc/{pid}"):
            raise Denied(f"{pid} is not seen")
    return "all are seen"


@attack
def victim_cmdline(target):
    return text(f"/proc/{target.victim}/cmdline").replace("\0", " ")


@attack
def victim_environ(target):
    return text(f"/proc/{target.victim}/environ").replace("\0", " ")


@attack
def victim_cwd(target):
    return text(f"/proc/{target.victim}/cwd/private")


@attack
def victim_root(target):
    return text(f"/proc/{target.victim}/root{target.secret}")


@attack
def victim_descriptor(target):
    return text(f"/proc/{target.victim}/fd/{target.descriptor}")


@attack
def victim_maps(target):
    found = text(f"/proc/{target.victim}/maps")
    if "[stack]" not in found:
        raise Denied("no maps")
    return "its maps"


@attack
def victim_memory_file(target):
    number = os.open(f"/proc/{target.victim}/mem", os.O_RDONLY)
    try:
        return os.pread(number, target.length, target.address).decode()
    finally:
        os.close(number)


@attack
def init_root(target):
    return " ".join(sorted(os.listdir("/proc/1/root/")))


@attack
def kernel_log(target):
    number = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(number, 8192)[:60].decode(errors="replace")
    finally:
        os.close(number)
