"""Attacks of the same kinds as published ones on other platforms, each made for real against a running server.

An attack is a function that gets a `Site`, sends what the attacker would, and says what must come of it. Whatever it is, afterwards the
server runs and answers, nothing was added to the ledger, nobody was called, and no command was run: `test_attacks.py` looks.
"""

import json
import socket
import threading
from dataclasses import dataclass
from typing import Callable

from conftest import ALL_SCOPES, ROW, Answer, wait_for, write_model

#: The version of Decalog that refuses all of them.
DECALOG = "0.1.0"
#: The longest that an answer to an attack may take, in seconds, on a slow machine with a debug binary.
SECONDS_MAX = 20
#: What a file that nobody may read begins with.
PASSWD = b"root:"
#: A page of this origin belongs to somebody else.
EVIL = "http://evil.example"


@dataclass(frozen=True)
class Attack:
    """One of them; `fixed` is the first release of the peer that refuses it."""

    cve: str
    kind: str
    peer: str
    fixed: str
    #: What it was there, in a few words.
    what: str
    run: Callable
    #: Whether the attacker may rightly do part of it, so that the ledger grows.
    writes: bool

    @property
    def name(self):
        return f"{self.cve}-{self.peer}-{self.kind}".replace(" ", "-")

    @property
    def here(self):
        """What comes of it here, as its function says."""
        return " ".join(self.run.__doc__.split())


ATTACKS = []


def attack(cve, kind, peer, fixed, what, writes=False):
    def add(run):
        ATTACKS.append(Attack(cve, kind, peer, fixed, what, run, writes))
        return run

    return add


class Canary:
    """A server that nobody is to call; it keeps what they send."""

    def __init__(self):
        self.calls, self.listener = [], socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"http://{self.address}/x"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                try:
                    self.calls.append(caller.recv(1000))
                    caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Site:
    """A server with the models fraud/churn and other/churn, and tokens: `owner` owns everything, `mallory` the project other and
    nothing else, `viewer` looks at fraud, and `shop` asks fraud/churn."""

    def __init__(self, platform, home):
        self.platform, self.home, self.canary = platform, home, Canary()
        self.port = int(platform.url.rsplit(":", 1)[1])
        #: A command that an attacker gets run makes this file.
        self.marker = home / "owned"
        model = write_model(home / "churn", {"model.py": ROW})
        for project in ("fraud", "other"):
            platform.run("deploy", model, "--project", project)
        self.tokens = {}
        for name, role, place in (("owner", "owner", "*"), ("mallory", "owner", "other"), ("viewer", "viewer", "fraud")):
            self.owner("POST", "/v1/members", {"name": name, "role": role, "in": place})
            self.tokens[name] = self.owner("POST", "/v1/tokens", {"owner": name, "scopes": ALL_SCOPES}).json()["secret"]
        shop = {"owner": "shop", "scopes": ["predict:fraud/churn"]}
        self.tokens["shop"] = self.owner("POST", "/v1/tokens", shop).json()["secret"]

    def owner(self, method, path, body=None):
        """What whoever owns the data directory is answered."""
        return self.platform.request(method, path, body)

    def ask(self, method, path, body=None, who=None, **headers):
        """What somebody over the network is answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            named["Authorization"] = f"Bearer {self.tokens[who]}"
        return self.platform.request_over_tcp(method, path, body, named, timeout=SECONDS_MAX)

    def raw(self, request, body=b""):
        """The answer to exactly these bytes; a status of 0 if the connection is closed without one."""
        with socket.create_connection(("127.0.0.1", self.port), SECONDS_MAX) as connection:
            answer = b""
            try:
                connection.sendall(request.encode("latin-1") + body)
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionError:
                pass
        head, _, text = answer.partition(b"\r\n\r\n")
        return Answer(int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0, head.decode("latin-1"), text)

    def get(self, target, *lines, who="owner", host=None):
        """The answer to a GET of exactly this target, with more lines in its head."""
        host = f"Host: {f'127.0.0.1:{self.port}' if host is None else host}"
        proof = [f"Authorization: Bearer {self.tokens[who]}"] if who else []
        return self.raw("\r\n".join([f"GET {target} HTTP/1.1", host, *proof, *lines, "Connection: close", "", ""]))

    def operations(self):
        """Method and path of each operation of the control API, with something in place of its parameters."""
        document = self.platform.get("/openapi.json").json()
        values = {"project": "fraud", "model": "churn", "environment": "production", "version": "v1", "action": "pause",
                  "digest": "0" * 64, "name": "NAME", "seq": "1", "id": "00000000"}
        return [(method.upper(), path.format(**values)) for path, methods in document["paths"].items() for method in methods]

    def predicts(self):
        return self.platform.predict("fraud/churn", {"age": 4}).body == b'{"output":2.0}'

    def head(self):
        """The last entry of the ledger."""
        return self.owner("GET", "/v1/status").json()["ledger"]["head"]

    def push(self, who, project, tree, **more):
        """Asks for a version of these files, whose bytes are uploaded as the owner."""
        return self.ask("POST", f"/v1/projects/{project}/models/churn/versions",
                        {"tree": tree, "runtime": "python", "file": "model.py", **more}, who)

    def close(self):
        self.canary.close()


def file(path, digest="0" * 64, size=1):
    """An entry of a tree."""
    return {"path": path, "digest": digest, "size": size, "executable": False}


def refused(answer, *statuses):
    """Fails unless it was refused with one of these, in few words."""
    assert answer.status in (statuses or range(400, 500)), (answer.status, answer.body[:500])
    assert len(answer.body) < 20_000 and b"panicked" not in answer.body
    return answer


def nothing_of(answer, *texts):
    """Fails if one of these is in an answer, or its head."""
    whole = answer.body + str(answer.headers).encode()
    assert not [text for text in texts if text in whole], whole[:1000]
    return answer


__all__ = ["ATTACKS", "DECALOG", "EVIL", "PASSWD", "SECONDS_MAX", "Attack", "Site", "attack", "file", "json", "nothing_of", "refused", "wait_for"]
