"""The server: connections on a Unix socket, all waited for on one epoll, in one thread or several."""

from .connection import Connection
from .limits import PEER_S_MAX
from .log import log
from .sockets import Socket, beyond_standard
from .standard import os, select, signal, socket, threading, time, traceback


class Server:
    """Serves a worker; with a concurrency above 1 in as many threads, all waiting on the same connections.

    `begin` is called in each thread but this one before it serves. `bound` is the descriptor of a socket that is bound
    to the path already: within its walls a process may not see the place where it lies.
    """

    def __init__(self, worker, path, begin=lambda: None, bound=None):
        self.worker, self.path, self.begin, self.is_stopping = worker, os.path.abspath(path), begin, False
        self.connections, self.stalled, self.epoll = {}, set(), select.epoll()
        self.is_copy = False
        os.register_at_fork(after_in_child=self.set_copy)
        self.once = select.EPOLLONESHOT if worker.concurrency > 1 else 0
        self.wake_reader, self.wake_writer = os.pipe()
        for end in (self.wake_reader, self.wake_writer):
            os.set_blocking(end, False)
        self.epoll.register(self.wake_reader, select.EPOLLIN)
        self.is_bound = bound is not None
        self.listener = Socket(fileno=int(bound)) if self.is_bound else Socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def listen(self):
        """Takes connections from now on, and signals to stop from before that."""
        # A signal that comes just before the wait for the next event ends that wait, too.
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        if not self.is_bound:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass
            self.listener.bind(self.path)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)

    def run(self):
        """Serves until `stop` is called, and what had arrived by then."""
        threads = [threading.Thread(target=self.begin_loop, daemon=True) for _ in range(self.worker.concurrency - 1)]
        for thread in threads:
            thread.start()
        self.loop()
        for thread in threads:
            thread.join()

    def set_copy(self):
        self.is_copy = True

    def stop(self, *_):
        self.is_stopping = True
        try:
            self.listener.close()
            os.write(self.wake_writer, b"x")
            os.unlink(self.path)
        except OSError:  # it is gone already; this may be anywhere in the model's code
            pass

    def begin_loop(self):
        self.begin()
        self.loop()

    def loop(self):
        while True:
            try:
                return self.serve()
            except BaseException:
                # An alarm that the model has set, or the like. Without the descriptors there is nothing to serve.
                log(traceback.format_exc())
                os.fstat(self.epoll.fileno())

    def drain(self):
        """Forgets what signals have written; a stop is told anew."""
        try:
            os.read(self.wake_reader, 4096)
        except BlockingIOError:
            return
        if self.is_stopping:
            os.write(self.wake_writer, b"x")

    def cut_stalled(self):
        """Hangs up on those who have not sent the rest of a request for too long."""
        for connection in list(self.stalled):
            if time.monotonic() - (connection.stalled_at or time.monotonic()) > PEER_S_MAX:
                self.stalled.discard(connection)
                connection.sock.shutdown(socket.SHUT_RDWR)

    def serve(self):
        poll, connections, gone = (
            self.epoll.poll,
            self.connections,
            select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
        )
        while not self.is_stopping:
            # One event at a time, so that it is never older than the request that ran before it: a peer that has
            # hung up meanwhile is seen to have done so, and its request is dropped without being run.
            for number, mask in poll(1 if self.stalled else -1, 1):
                connection = connections.get(number)
                if connection is None:
                    self.accept(number)
                else:
                    self.settle(number, connection, not mask & gone and connection.ready())
            if self.stalled:
                self.cut_stalled()
        while True:
            events = [(number, mask) for number, mask in poll(0) if number in connections]
            for number, mask in events:
                self.settle(number, connections[number], not mask & gone and connections[number].ready())
            if not events:
                return

    def settle(self, number, connection, is_open):
        """Waits for the next request of a connection, or forgets it."""
        if not is_open:
            del self.connections[number]
            self.stalled.discard(connection)
            connection.sock.close()
        elif self.once:
            self.epoll.modify(number, select.EPOLLIN | select.EPOLLRDHUP | self.once)

    def accept(self, number):
        if number == self.wake_reader:
            # Signals run their handlers in the main thread alone: until that has woken, what woke it stays.
            if not self.is_stopping and threading.current_thread() is threading.main_thread():
                self.drain()
            return
        try:
            sock = Socket(fileno=self.listener._accept()[0])
        except OSError:  # another thread took it, or the listener is closed
            return
        if sock.fileno() <= 2:
            sock = beyond_standard(sock)
        self.connections[sock.fileno()] = Connection(sock, self)
        self.epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP | self.once)
