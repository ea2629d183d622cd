"""What a model has no business to change. Whatever is not the test's own is put back as it was."""

import os
import stat
import sys
import sysconfig
import tempfile
from contextlib import contextmanager

from . import Denied, attack


@contextmanager
def kept(*paths):
    """Puts modes and times back."""
    before = [(path, os.stat(path)) for path in paths]
    try:
        yield
    finally:
        for path, status in before:
            os.chmod(path, stat.S_IMODE(status.st_mode))
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def open_up(path):
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IWUSR)


def alter(path):
    """Appends to a file, reads it, and cuts it off again."""
    with kept(path):
        open_up(path)
        with open(path, "r+b") as file:
            length = file.seek(0, os.SEEK_END)
            file.write(b"\n")
            file.flush()
            if os.stat(path).st_size != length + 1:
                raise Denied("it has not grown")
            file.truncate(length)
    return f"{path} has been longer"


def add(directory, name="hostile.txt"):
    """Makes a file in a directory, and removes it."""
    with kept(directory):
        open_up(directory)
        path = os.path.join(directory, name)
        with open(path, "x") as file:
            file.write("hostile")
        os.unlink(path)
    return f"{path} has been there"


@attack
def write_outside(target):
    with open(target.outside + "/made", "w") as file:
        file.write("hostile")
    return "made"


@attack
def make_directory_outside(target):
    os.mkdir(target.outside + "/made_directory")
    return "made"


@attack
def append_outside(target):
    with open(target.scratch, "a") as file:
        file.write("hostile")
    return "appended"


@attack
def rename_outside(target):
    """Moves something of its own over something outside."""
    own = os.path.join(tempfile.gettempdir(), "own")
    with open(own, "w") as file:
        file.write("hostile")
    os.rename(own, target.outside + "/replaced")
    return "replaced"


@attack
def remove_outside(target):
    os.unlink(target.outside + "/removed")
    return "removed"


@attack
def chmod_outside(target):
    os.chmod(target.outside + "/mode", 0o777)
    return "changed"


@attack
def utime_outside(target):
    os.utime(target.outside + "/time", (1, 1))
    return "changed"


@attack
def set_attribute_outside(target):
    os.setxattr(target.outside + "/attribute", "user.hostile", b"1")
    return "changed"


@attack
def write_through_victim(target):
    with open(f"/proc/{target.victim}/cwd/through", "w") as file:
        file.write("hostile")
    return "made"


@attack
def ledger_write(target):
    """Writes the bytes that are there."""
    with open(target.data + "/ledger.sqlite", "r+b") as file:
        begin = file.read(15)
        file.seek(0)
        file.write(begin)
    return "written"


@attack
def data_write(target):
    with open(target.data + "/hostile.txt", "x") as file:
        file.write("hostile")
    return "made"


@attack
def sibling_home_write(target):
    return add(os.path.dirname(target.sibling_private))


@attack
def sibling_log_write(target):
    with open(target.sibling_logs[0], "a") as file:
        file.write("hostile\n")
    return "appended"


@attack
def own_tree_plain_write(target):
    """Without a change of modes: what is read-only is so for its owner."""
    with open("model.py", "r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"")
    return "opened"


@attack
def own_tree_write(target):
    return alter("model.py")


@attack
def own_tree_create(target):
    return add(os.getcwd())


@attack
def own_tree_chmod(target):
    with kept("model.py"):
        os.chmod("model.py", 0o777)
        if stat.S_IMODE(os.stat("model.py").st_mode) != 0o777:
            raise Denied("the mode is as before")
    return "changed"


@attack
def own_tree_utime(target):
    with kept("model.py"):
        os.utime("model.py", (1, 1))
        if os.stat("model.py").st_mtime != 1:
            raise Denied("the time is as before")
    return "changed"


@attack
def own_tree_link(target):
    """A second name, where what is written is not watched."""
    path = os.path.join(tempfile.gettempdir(), "second")
    os.link("model.py", path)
    try:
        return alter(path)
    finally:
        os.unlink(path)


@attack
def own_tree_rename(target):
    root = os.getcwd()
    with kept(root):
        open_up(root)
        os.rename("model.py", "model.away")
        try:
            with open("model.py", "x") as file:
                file.write("hostile")
            os.unlink("model.py")
        finally:
            os.rename("model.away", "model.py")
    return "replaced"


@attack
def sibling_tree_write(target):
    return alter(target.sibling_tree + "/model.py")


@attack
def environment_write(target):
    return add(sysconfig.get_paths()["purelib"])


@attack
def interpreter_write(target):
    return alter(os.path.join(os.path.dirname(os.__file__), "this.py"))


@attack
def shim_write(target):
    return alter(sys.modules["decalog_worker"].__file__)


@attack
def shared_memory_file(target):
    """A file for shared memory that the test made."""
    with open(target.shared_file) as file:
        return file.read()


@attack
def shared_memory_create(target):
    with open(target.shared_made, "w") as file:
        file.write("hostile")
    return "made"


@attack
def temporary_of_others(target):
    """/tmp itself, which is everybody's."""
    with open(target.tmp_file) as file:
        return file.read()
