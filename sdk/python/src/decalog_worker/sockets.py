"""Sockets that need nothing of the module `socket`, which a model may have changed."""

import _socket
import fcntl

from .log import LOG
from .standard import os


class Socket(_socket.socket):
    """A socket that needs nothing of the module `socket`, which a model may have changed; it blocks."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.setblocking(True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def socket_pair(kind=_socket.SOCK_STREAM):
    return [Socket(fileno=end.detach()) for end in _socket.socketpair(_socket.AF_UNIX, kind)]


def beyond_standard(sock):
    """A socket in the place of a standard descriptor that the model has closed: what is printed must not get there."""
    moved = Socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))
    sock.close()
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(LOG.number, number)
    return moved
