"""As much of HTTP/1.1 as a worker speaks: heads of requests, and answers."""

import re

from .limits import BODY_BYTES_MAX, SHOWN_CHARS_MAX
from .text import to_json, utf8

NUMBER = re.compile(r"[0-9]{1,19}\Z")


class Head:
    """The head of a request, as far as it matters."""

    __slots__ = ("method", "path", "length", "json_length", "closes", "refusal")

    def __init__(self, text):
        lines = text.decode("latin-1").split("\r\n")
        first = (lines[0].split(" ") + ["", ""])[:3]
        self.method, self.path = first[0], first[1].split("?")[0]
        self.length, self.json_length, self.closes, self.refusal = 0, None, first[2] != "HTTP/1.1", None
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if name in ("content-length", "inference-header-content-length"):
                if not NUMBER.match(value) or int(value) > BODY_BYTES_MAX:
                    self.refusal = "%s is %s; it must be a number of at most %d" % (
                        name,
                        value[:SHOWN_CHARS_MAX],
                        BODY_BYTES_MAX,
                    )
                elif name == "content-length":
                    self.length = int(value)
                else:
                    self.json_length = int(value)
            elif name == "transfer-encoding":
                self.refusal = "a request needs Content-Length; it cannot be chunked"
            elif name == "connection":
                self.closes = value.lower() == "close"


REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 422: "Unprocessable Content"}
STATUSES = {"bad_request": 400, "bad_input": 422}  # of problems; that of all others is 500


def http_head(status, content_type, length, more=""):
    reason = REASONS.get(status, "Error")
    return (
        "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n"
        % (status, reason, content_type, more, length)
    ).encode()


def json_answer(status, value):
    body = utf8(to_json(value))
    return [http_head(status, "application/json", len(body)), body]


def problem_answer(problem):
    return json_answer(STATUSES.get(problem.code, 500), problem.body())


def binary_head(described, blob_bytes):
    body = utf8(to_json(described))
    more = "Inference-Header-Content-Length: %d\r\n" % len(body)
    return http_head(200, "application/octet-stream", len(body) + blob_bytes, more) + body


def binary_answer(described, blobs):
    """The answer with binary tensors behind its JSON, or in JSON alone."""
    return [binary_head(described, sum(map(len, blobs)))] + blobs if blobs else json_answer(200, described)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def event(kind, text):
    """A server-sent event as one chunk."""
    body = utf8("%sdata: %s\n\n" % (kind, text))
    return b"%x\r\n%s\r\n" % (len(body), body)
