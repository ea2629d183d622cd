"""Those whom a model is not to reach: each says one greeting to whoever comes."""

import ctypes
import os
import socket
import threading
import time

IPC_PRIVATE, IPC_RMID = 0, 0


class Listeners:
    """Sockets of all kinds, until they are closed."""

    def __init__(self, greeting, path, secret):
        self.greeting, self.secret = greeting.encode(), os.open(secret, os.O_RDONLY)
        self.abstract = f"decalog-hostile-{os.getpid()}-{time.monotonic_ns()}"
        self.open = [socket.create_server(("127.0.0.1", 0)), self.unix(path), self.unix("\0" + self.abstract)]
        self.tcp = self.open[0].getsockname()[1]
        # So that who connects by sending is told apart from nobody.
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        self.udp = datagrams.getsockname()[1]
        for listener in self.open:
            threading.Thread(target=self.serve, args=[listener], daemon=True).start()
        threading.Thread(target=self.echo, args=[datagrams], daemon=True).start()
        self.open.append(datagrams)

    @staticmethod
    def unix(path):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        return listener

    def serve(self, listener):
        while True:
            try:
                caller, _ = listener.accept()
                with caller:
                    if listener.family == socket.AF_UNIX:
                        socket.send_fds(caller, [self.greeting], [self.secret])
                    else:
                        caller.sendall(self.greeting + b"\n")
                    caller.shutdown(socket.SHUT_WR)
                    caller.settimeout(1)
                    caller.recv(4096)
            except OSError:
                if listener.fileno() < 0:
                    return

    def echo(self, datagrams):
        while True:
            try:
                _, caller = datagrams.recvfrom(4096)
                if caller is None:  # it is closed
                    return
                datagrams.sendto(self.greeting, caller)
            except OSError:
                return

    def close(self):
        for listener in self.open:
            # Else one that waits in accept goes on to hold it open.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        os.close(self.secret)


class Segment:
    """Shared memory of System V with a text in it."""

    def __init__(self, text):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.shmat.restype = ctypes.c_void_p
        self.libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        self.libc.shmdt.argtypes = [ctypes.c_void_p]
        self.number = self.libc.shmget(IPC_PRIVATE, ctypes.c_size_t(4096), 0o1600)
        assert self.number >= 0, os.strerror(ctypes.get_errno())
        address = self.libc.shmat(self.number, None, 0)
        ctypes.memmove(address, text.encode() + b"\0", len(text) + 1)
        self.libc.shmdt(address)

    def close(self):
        self.libc.shmctl(self.number, IPC_RMID, None)


class Caller:
    """Asks at an address again and again, and takes note of whether somebody else answered than should."""

    def __init__(self, family, address):
        self.family, self.address, self.is_fooled, self.ends = family, address, False, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ends.wait(0.02):
            with socket.socket(self.family) as other:
                other.settimeout(1)
                try:
                    other.connect(self.address)
                    other.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n")
                    self.is_fooled |= b"hostile" in other.recv(4096)
                except OSError:
                    pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()
