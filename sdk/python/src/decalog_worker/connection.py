"""One connection of a client: receives whole requests, answers them, and streams."""

import sys

from .http import STREAM_HEAD, event, problem_answer
from .limits import HEAD_BYTES_MAX, JOINED_BYTES_MAX, KEPT_BYTES_MAX, PEER_S_MAX, STALL_MS_MAX
from .problem import bad_request
from .standard import os, socket, struct, time
from .text import to_json
from .tracebacks import log_failure, raised
from .tracing import Continued, parted


class Connection:
    """One connection, with one request at a time."""

    def __init__(self, sock, server):
        self.sock, self.server = sock, server
        self.buffer = bytearray(HEAD_BYTES_MAX)
        self.view, self.used, self.large = memoryview(self.buffer), 0, None
        # Since when the rest of a request is missing; and of one with a large body its head, and how much of the
        # buffer is filled.
        self.stalled_at, self.begun = None, None
        # The trace of the request that is received or answered.
        self.trace = None
        for option, value in (
            (socket.SO_RCVTIMEO, struct.pack("ll", 0, STALL_MS_MAX * 1_000)),
            (socket.SO_SNDTIMEO, struct.pack("ll", PEER_S_MAX, 0)),
            (socket.SO_SNDBUF, 1 << 20),
            (socket.SO_RCVBUF, 1 << 20),
        ):
            sock.setsockopt(socket.SOL_SOCKET, option, value)

    def ready(self):
        """Receives, and answers each whole request; False if the connection is of no use any more."""
        try:
            return self.finish_large(*self.begun) if self.begun else self.receive_requests()
        except OSError:  # the peer is gone, or stalls
            return False
        except BaseException as error:  # whatever one connection does, the others are served
            log_failure(error)
            return False

    def receive_requests(self):
        try:
            received = self.sock.recv_into(self.view[self.used :] if self.used else self.buffer)
        except BlockingIOError:  # nothing came after all
            return True
        self.used += received
        while received and self.used:
            head_end = self.buffer.find(b"\r\n\r\n", 0, self.used)
            if head_end < 0:
                return self.used < HEAD_BYTES_MAX and self.stall()
            text, self.trace = parted(bytes(self.view[:head_end]))
            head = self.server.worker.head(text)
            if head.refusal:
                self.send(problem_answer(bad_request(head.refusal)))
                return False
            if not self.one(head, head_end + 4):
                return False
            if self.stalled_at is not None:
                return True
        return received > 0

    def stall(self):
        """Waits for the rest of a request while others are served."""
        if self.stalled_at is None:
            self.stalled_at = time.monotonic()
            self.server.stalled.add(self)
        return True

    def go_on(self):
        """The whole request is there."""
        if self.stalled_at is not None:
            self.stalled_at = None
            self.server.stalled.discard(self)

    def one(self, head, at):
        """Receives the rest of a request and answers it."""
        end = at + head.length
        if end > HEAD_BYTES_MAX:
            return self.finish_large(head, self.begin_large(head, at))
        self.used = max(self.used, self.receive(self.view, self.used, end))
        if self.used < end:
            return self.stall()
        self.go_on()
        kept = self.answer(head, self.buffer, at, end, False)
        if self.used > end:
            self.buffer[: self.used - end] = self.buffer[end : self.used]
        self.used -= end
        return kept

    def receive(self, view, at, end):
        """Receives until `end`; how far it got when the peer stalled."""
        how = socket.MSG_WAITALL if self.stalled_at is None else socket.MSG_DONTWAIT
        while at < end:
            try:
                received = self.sock.recv_into(view[at:end], 0, how)
            except BlockingIOError:
                break
            if not received:
                raise ConnectionResetError("the request ended half-way")
            at += received
        return at

    def begin_large(self, head, at):
        """Makes room for a body that nobody else refers to, placed so that its tensors are aligned.

        Gives how far it is filled.
        """
        start = -(head.json_length or 0) % 64
        if self.large is None or len(self.large) < start + head.length or sys.getrefcount(self.large) != UNSHARED:
            self.large = bytearray(start + head.length)
        there = self.used - at
        self.large[start : start + there] = self.view[at : self.used]
        self.used = 0
        return start + there

    def finish_large(self, head, at):
        """Receives the rest of a large body and answers it."""
        start = -(head.json_length or 0) % 64
        with memoryview(self.large) as view:
            at = self.receive(view, at, start + head.length)
        if at < start + head.length:
            self.begun = (head, at)
            return self.stall()
        self.begun = None
        self.go_on()
        data = self.large
        kept = self.answer(head, data, start, start + head.length, True)
        if len(data) > KEPT_BYTES_MAX:
            self.large = None
        return kept

    def answer(self, head, data, at, end, owned):
        if self.trace is None:
            return self.answer_untraced(head, data, at, end, owned)
        with Continued(self.trace):
            return self.answer_untraced(head, data, at, end, owned)

    def answer_untraced(self, head, data, at, end, owned):
        parts, values = self.server.worker.answer(head, data, at, end, owned)
        if self.server.is_copy:
            os._exit(0)  # the model has forked, and both have returned: the answer is the other's
        closes = head.closes or self.server.is_stopping
        if values is not None:
            return self.stream(values) and not closes
        if closes:
            parts[0] = parts[0].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        self.send(parts)
        return not closes

    def send(self, parts):
        size = sum([len(part) if type(part) is bytes else part.nbytes for part in parts])
        if size <= JOINED_BYTES_MAX:
            self.sock.sendall(b"".join(parts))
            return
        sent = self.sock.sendmsg(parts)
        for part in parts:
            with memoryview(part) as whole, whole.cast("B") as view:
                if sent < len(view):
                    self.sock.sendall(view[sent:])
                sent = max(sent - len(view), 0)

    def is_gone(self):
        """Whether the peer has hung up."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stream(self, values):
        """Sends each item before the next is computed; hanging up closes the generator."""
        form, items, begun = self.server.worker.form, None, False
        try:
            try:
                items = form.items(values)
                for item in items:
                    chunk = event("", to_json(item))
                    self.sock.sendall(chunk if begun else STREAM_HEAD + chunk)
                    begun = True
                    if self.is_gone():
                        return False
            except OSError:
                if self.is_gone():
                    return False
                raise
        except BaseException as error:
            problem = raised(error, form.root)
            if not begun:
                self.send(problem_answer(problem))
                return True
            self.sock.sendall(event("event: error\n", to_json(problem.body())))
        finally:
            close_quietly(items)
        self.sock.sendall((b"" if begun else STREAM_HEAD) + b"0\r\n\r\n")
        return True


def close_quietly(items):
    try:
        getattr(items, "close", lambda: None)()
    except BaseException as error:
        log_failure(error)


class Holder:
    """Tells how many references an attribute's value has while nobody else refers to it."""

    def __init__(self):
        self.large = bytearray(1)

    def count(self):
        return sys.getrefcount(self.large)


UNSHARED = Holder().count()
