"""Forking: a zygote has the libraries, a parent the loaded model; both fork as they are told.

A fork copies only the thread that forks, and shares what lies behind descriptors. So none is taken while another thread
runs, or while something is open that two processes cannot both use; the reason is told instead.
"""

import atexit
import gc
import sys
from pathlib import Path

from .descriptors import reopen, unsharable
from .ending import flush_standard
from .limits import AHEAD_PAUSE_MS, AHEAD_S_MAX, ORDER_BYTES_MAX, THREADS_END_S_MAX
from .log import log
from .modules import loaded_modules
from .problem import sentence
from .settings import VARIABLES, concurrency
from .sockets import Socket, socket_pair
from .standard import json, os, select, signal, socket, struct, time
from .text import to_json, utf8
from .threads import library_threads, set_library_threads, thread_names
from .walls import close_in

PR_SET_PDEATHSIG = 1
# What may come with an order: the log, a parent's own control socket, the socket to serve, rules for files.
DESCRIPTORS_MAX = 4
# What came with an order of a supervisor that did not name it.
DESCRIPTORS = {"worker": ["log"], "parent": ["log", "control"]}


class Nursery:
    """Waits for orders on the control socket, and forks."""

    def __init__(self, control, form, begun, filter_of_calls=""):
        try:
            import ctypes

            self.libc = ctypes.CDLL(None, use_errno=True)
        except (ImportError, OSError):
            self.libc = None
        self.control, self.form, self.begun = Socket(fileno=control), form, begun
        # What a fork may no longer ask of the kernel, where this process may do more than a model.
        self.filter_of_calls = filter_of_calls
        os.set_inheritable(control, False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            self.control.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.supervisor, self.is_stopping, self.is_new = os.getppid(), False, False
        # The process that was forked ahead, with this end of its socket; and whether one is to be forked.
        self.ahead, self.wants_ahead = None, form is not None
        self.wake_reader, self.wake_writer = os.pipe()
        for end in (self.wake_reader, self.wake_writer):
            os.set_blocking(end, False)
        self.own = {self.control.fileno(), self.wake_reader, self.wake_writer}

    def run(self):
        """Serves orders. Returns None when it is time to exit, and an order in the process that is to carry it out."""
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        self.prepare()
        reason = self.obstacle()
        if not reason:
            self.tell_modules()
        ready = {"threads": len(os.listdir("/proc/self/task")), "can_fork": not reason, "reason": reason}
        self.send({"ready": dict(ready, elapsed_ms=round((time.monotonic() - self.begun) * 1e3))})
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_reader, select.POLLIN)
        while not self.is_stopping:
            events = poll.poll(AHEAD_PAUSE_MS if self.wants_ahead else None)
            if any(number == self.wake_reader for number, _ in events):
                os.read(self.wake_reader, 4096)
                continue
            order = self.receive() if events else self.fork_ahead()
            if order is not None:
                return order
        return None

    def stop(self, *_):
        self.is_stopping = True

    def prepare(self):
        """Keeps the pages that replicas share as they are, and gives back those that nobody uses."""
        gc.collect()
        gc.freeze()
        if hasattr(self.libc, "malloc_trim"):
            self.libc.malloc_trim(0)

    def tell_modules(self):
        """Writes which libraries the model needed: a zygote of this environment imports them beforehand."""
        if self.form is None or "DECALOG_MODULES" not in VARIABLES:
            return
        try:
            Path(VARIABLES["DECALOG_MODULES"]).write_text("\n".join(loaded_modules(Path(self.form.root))))
        except OSError as error:
            log("what it imported is not known: %s\n" % sentence(error))

    def send(self, message):
        try:
            self.control.send(utf8(to_json(message)))
        except OSError:  # the supervisor is gone
            self.is_stopping = True

    def receive(self):
        """Carries out one order here, or returns it."""
        try:
            room = socket.CMSG_SPACE(DESCRIPTORS_MAX * 4)
            data, ancillary, _, _ = self.control.recvmsg(
                ORDER_BYTES_MAX, room, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return None
        except OSError:
            data, ancillary = b"", []
        numbers = [number for _, _, part in ancillary for (number,) in struct.iter_unpack("i", part)]
        if not data:
            self.is_stopping = True
        order = None
        try:
            order = self.carry_out(data, numbers) if data else None
        finally:
            if order is None:
                for number in numbers:
                    os.close(number)
        return order

    def carry_out(self, data, numbers):
        order_id = None
        try:
            ((kind, order),) = json.loads(data).items()
            order_id = order["id"]
            variables, directory = dict(order["variables"]), order["directory"]
            role = "worker" if kind == "serve" else order["role"]
            names = order.get("descriptors", [] if kind == "serve" else DESCRIPTORS.get(role))
            if kind not in ("fork", "serve") or kind == "serve" and self.form is None:
                raise ValueError("%s is no order for this process" % kind)
            if names is None or len(names) != len(numbers):
                raise ValueError("a fork of role %s came with %d descriptors" % (role, len(numbers)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if order_id is None:
                log("an order that cannot be understood: %s\n" % sentence(error))
            else:
                self.send({"refused": {"id": order_id, "reason": sentence(error)}})
            return None
        order = dict(order, role=role, variables=variables, numbers=dict(zip(names, numbers)))
        if kind == "serve":
            return order
        reason, pid = self.obstacle(numbers), None
        if self.ahead:
            pid = self.use_ahead(data if role == "worker" and not reason else None, numbers)
        if not reason and pid is None:
            try:
                pid = self.fork()
            except ConnectionError:  # by what runs after a fork here, or as one that ends with this one
                reason = "the new process ended before it began"
            except OSError as error:  # the system is short of something
                reason = "fork: " + sentence(error)
        self.wants_ahead = self.form is not None and not reason
        if reason:
            self.send({"refused": {"id": order_id, "reason": reason}})
        elif self.is_new:
            return order
        else:
            self.send({"forked": {"id": order_id, "pid": pid}})
        return None

    def obstacle(self, received=()):
        """Why this process cannot be forked, or nothing."""
        if self.libc is None:
            return "this Python has no ctypes"
        cuda = getattr(sys.modules.get("torch"), "cuda", None)
        if cuda is not None and cuda.is_initialized():
            return "CUDA is initialised"
        if getattr(getattr(self.form, "coroutines", None), "loop", None) is not None:
            return "load() ran on an event loop"
        end = time.monotonic() + THREADS_END_S_MAX
        while len(os.listdir("/proc/self/task")) > 1:
            if time.monotonic() > end:
                names = thread_names()
                return "%d threads run: %s" % (len(names), ", ".join(names))
            time.sleep(0.002)
        return next((reason for reason in map(unsharable, self.descriptors(received)) if reason), "")

    def descriptors(self, received):
        """The descriptors that libraries and the model opened."""
        numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        return [number for number in numbers if number > 2 and number not in self.own and number not in received]

    def fork_ahead(self):
        """Forks the next worker before it is asked for: to copy the page tables takes longer than the rest of a start.

        It waits in the group of this process, and ends with it. Returns an order in the new process, once there is one.
        """
        self.wants_ahead = False
        if self.obstacle():
            return None
        ours, theirs = socket_pair(socket.SOCK_SEQPACKET)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            ours.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
            theirs.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.own |= {ours.fileno(), theirs.fileno()}
        try:
            pid = self.fork(has_group=False)
        except OSError as error:
            log("no process is forked ahead: %s\n" % sentence(error))
            pid = None
        if self.is_new:
            ours.close()
            with theirs:
                return self.wait_for_order(theirs)
        for end in (theirs,) if pid else (ours, theirs):
            self.own.discard(end.fileno())
            end.close()
        self.ahead = (pid, ours) if pid else None
        return None

    def wait_for_order(self, channel):
        """The order for a process that was forked ahead."""
        self.control.close()
        data, ancillary, _, _ = channel.recvmsg(
            ORDER_BYTES_MAX, socket.CMSG_SPACE(DESCRIPTORS_MAX * 4), socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            os._exit(0)
        os.setpgid(0, 0)
        channel.send(b"x")
        ((_, order),) = json.loads(data).items()
        numbers = [number for _, _, part in ancillary for (number,) in struct.iter_unpack("i", part)]
        names = order.get("descriptors", DESCRIPTORS["worker"])
        return dict(order, role="worker", variables=dict(order["variables"]), numbers=dict(zip(names, numbers)))

    def use_ahead(self, data, numbers):
        """Gives an order to the process that was forked ahead; its pid, or None if it is of no use. No data ends it."""
        (pid, channel), self.ahead = self.ahead, None
        with channel:
            self.own.discard(channel.fileno())
            if data is None:
                return None
            channel.settimeout(AHEAD_S_MAX)
            try:
                channel.sendmsg(
                    [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("%di" % len(numbers), *numbers))]
                )
                return pid if channel.recv(1) == b"x" else None
            except socket.timeout:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended
                pass
            return None

    def fork(self, has_group=True):
        """The pid of a new process that is the supervisor's child; in that process `is_new` is set.

        A process in between forks it and ends, so that it passes to the nearest subreaper.
        """
        flush_standard()
        atexit._clear()  # what load() registered would remove, at the end of one process, what the others use
        ours, theirs = socket_pair()
        with ours, theirs:
            between = os.fork()
            if not between:
                self.fork_between(ours, theirs, has_group)
                return None
            theirs.close()
            try:
                os.waitpid(between, 0)
            except ChildProcessError:  # the model ignores SIGCHLD
                pass
            try:
                answer = ours.recv(1024, socket.MSG_DONTWAIT)
            except BlockingIOError:
                answer = b""
            if not answer:
                raise ConnectionAbortedError("the process in between died")
            if not answer.isdigit():
                raise OSError(answer.decode("utf-8", "replace"))
            ours.send(b"x")
            return int(answer)

    def fork_between(self, ours, theirs, has_group):
        """Forks the new process and ends; returns in the new process, once it belongs to the supervisor."""
        try:
            signal.set_wakeup_fd(-1)
            pid = os.fork()
        except BaseException as error:
            theirs.send(sentence(error).encode())
            os._exit(1)
        try:
            if pid:
                if has_group:
                    os.setpgid(pid, pid)
                theirs.send(b"%d" % pid)
                os._exit(0)
            ours.close()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if theirs.recv(1) == b"x" and not self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
                self.is_new = os.getppid() == self.supervisor
        finally:
            if not self.is_new:  # also when the parent or the supervisor died meanwhile
                os._exit(1)

    def leave(self, order):
        """Makes this process the one that an order asks for.

        Gives its role, its control socket, its birth, and what its threads begin with.
        """
        begun, control, begin = time.monotonic(), None, lambda: None
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self.control.close()
        if self.ahead:
            self.ahead[1].close()
        os.close(self.wake_reader)
        os.close(self.wake_writer)
        numbers = order["numbers"]
        if self.is_new:
            log = numbers.pop("log")
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            control = numbers.get("control")
            close_in(self.libc, order.get("walls") or {}, numbers.pop("rules", None), self.filter_of_calls)
            for number in self.descriptors(numbers.values()):
                reopen(number)
            reseed()
        directory, before = order["directory"], dict(os.environ)
        os.environ.clear()
        os.environ.update(order["variables"])
        VARIABLES.clear()
        VARIABLES.update(order["variables"])
        if "socket" in numbers:
            VARIABLES["DECALOG_LISTENER"] = str(numbers["socket"])
        os.environ.pop("DECALOG_ROLE", None)
        os.environ.pop("DECALOG_CONTROL", None)
        time.tzset()
        if "tempfile" in sys.modules:
            sys.modules["tempfile"].tempdir = None  # it is kept from the TMPDIR of the parent
        if self.form is None or os.path.realpath(directory) != os.path.realpath(self.form.root):
            sys.path.insert(0, directory)
        os.chdir(directory)
        if hasattr(self.form, "coroutines"):
            self.form.coroutines.own_thread = concurrency() > 1
        threads = library_threads(os.environ)
        if order["role"] == "worker" and threads != library_threads(before):
            begin = lambda: set_library_threads(threads)
            begin()
        return order["role"], control, begun, begin


def reseed():
    """Random numbers that no sibling draws."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed(list(struct.unpack("8I", os.urandom(32))))
    if "torch" in modules:
        modules["torch"].seed()
