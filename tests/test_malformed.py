"""Thousands of malformed requests, by seed, to every endpoint of the control API: each is answered, soon, in few words, and never
as a fault of the server; whoever asks a model meanwhile notices nothing.

    DECALOG_MALFORMED=200000 DECALOG_SEED=7 pytest tests/test_malformed.py
"""

import copy
import http.client
import json
import os
import random
import time

from conftest import PUBLIC_KEY, constant, write_model

COUNT = int(os.environ.get("DECALOG_MALFORMED", 3000))
SEED = int(os.environ.get("DECALOG_SEED", 1))
#: Every answer comes within so long, also on a slow machine.
SECONDS = 20
#: The most that an error says.
ERROR_BYTES = 32 << 10
#: Faults of the server that its documentation names: not ready, being replaced, no disk.
DOCUMENTED = {503, 507}

LONG = "x" * 100_000
TEXTS = ["", " ", "..", "../..", "%", "%zz", "%00", "%ff%fe", "%2e%2e%2f", "%25", "ä€😀", "\x7f", LONG, "y" * 300, "v0", "v1", "v99999999999", "production",
         "-1", "0", "1e9", str(2**63 - 1), str(2**63), str(2**64), str(2**200), "NaN", "null", "true", "default/m", "m@production@v1", "a&b=c;d", "0" * 64, "f" * 64, "f" * 63]
NUMBERS = [0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400, 0.5, 1e308, float("nan"), float("inf")]


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def bodies(digest):
    """A body that could be right, by endpoint."""
    column = {"name": "x", "datatype": "INT64", "shape": [3, -1]}
    manifest = {"model": {"name": "m", "predict_ms_max": 1000}, "schema": {"inputs": [column], "outputs": []}, "env": {"A": "1"}, "tests": {"tolerance": 0.1},
                "scale": {"min": 0, "max": 2, "slo_ms": 5.0}, "batch": {"rows_max": 8}, "release": {"canary": [5, 50], "guards": ["errors<1%"]}}
    push = {"tree": [{"path": "model.py", "digest": digest, "size": 10, "executable": False}], "manifest": manifest, "runtime": "python", "file": "model.py",
            "provenance": {"author": "somebody", "git_commit": "abc", "git_dirty": True, "git_remote": "https://a:b@host/c", "environment": "staging",
                           "data": [{"name": "a.csv", "kind": "file", "digest": digest, "bytes": 10, "files": 1, "rows": 3}], "metrics": {"auc": 0.5}}}
    plan = {"canary": [5, 50], "every_ms": 1000, "guards": ["errors<1%"], "sticky": "X-User", "cause": "release", "breaking": False}
    return {
        "versions": push,
        "deployments": {"version": "v7", "environment": "staging", "plan": plan, "configuration": {"scale": {"min": 1}, "release": {}, "env": {"A": "b"}}},
        "{action}": {"environment": "staging"},
        "promotions": {"from": "nowhere", "to": "staging", "plan": plan},
        "rollbacks": {"environment": "nowhere"},
        "replay": {"ids": ["0199a3f2-0000-7000-8000-000000000001"], "environment": "production", "version": "v1", "on": "v1"},
        "test": {"version": "v7", "environment": "production"},
        "evaluate": {"version": "v7", "environment": "production", "rows": [{"age": 3, "city": "Delft"}]},
        "compare": {"before": "v7", "after": "v8", "environment": "production", "ids": ["0199a3f2-0000-7000-8000-000000000001"]},
        "feedback": [{"id": "0199a3f2-0000-7000-8000-000000000001", "row": 1, "truth": "left", "at": 1000}, {"key": "customer=42", "truth": [1, 0.5, None]}],
        "missing": {"blobs": [{"digest": digest, "size": 10}]},
        "{name}": {"value": "1", "secret": False, "model": "m", "ahead": True},
        "gc": {},
        "silences": {"model": "default/m", "environment": "staging", "kind": "errors", "for_ms": 60_000, "reason": "why"},
        "tests": {},
        "rotation": {"keep_old": True},
        "members": {"name": "ann", "kind": "person", "role": "viewer", "in": "default"},
        "tokens": {"owner": "shop", "scopes": ["predict:default/m", "read"], "limits": {"rate": "5/s", "burst": 3, "rows_day_max": 9}, "valid_ms": 1000},
        "rotations": {"overlap_ms": 10},
        "approvals": {},
        "rejections": {"why": "no"},
        "protection": {"approvals": 1, "signed": True},
        "trusted-keys": {"pem": PUBLIC_KEY, "name": "ann"},
    }


class Generator:
    """Makes requests that are wrong in one to three places."""

    def __init__(self, seed, endpoints):
        self.random, self.endpoints = random.Random(seed), endpoints
        self.digest = "ab" * 32
        self.bodies = bodies(self.digest)

    def request(self):
        choose = self.random.choice
        method, path, query, has_body = choose(self.endpoints)
        values = {"{project}": "default", "{model}": "m", "{version}": "v7", "{action}": choose(["pause", "resume", "abort"]), "{digest}": self.digest,
                  "{environment}": "staging", "{name}": "LEVEL", "{seq}": "1", "{id}": "00000001"}
        body = copy.deepcopy(self.bodies.get(path.rsplit("/", 1)[1], {})) if has_body else None
        parameters = {"size": "10", "offset": "0", "limit": "5", "after": "1", "lines": "5", "follow": "false", "model": "default/m", "version": "v1",
                      "kind": "release", "environment": "staging", "project": "default", "head": "0" * 64, "upload": "mine",
                      "checkpoint": "decalog%2Fx%0A1%0AAA==%0A%0A", "from": "1", "to": "2", "since": "2026-11-26T00:00:00Z", "format": "jsonl",
                      "who": "ann", "code": "BCDF-GHJK", "key": "x", "state": "x", "iss": "https://id.example.org", "error": "denied", "error_description": "no",
                      "column": "age", "by": "hour", "until": "2026-11-27T00:00:00Z", "where": "rows > 1", "truth": "left", "since_ms": "0", "until_ms": "9", "from_ms": "0", "to_ms": "9", "step": "day", "before": "1", "open": "true", "alarm": "9f31c2ab01de", "all": "true", "action": "release", "object": "default/m@staging", "in": "default", "id": "019ab1c2-3d4e-7000-8000-000000000001", "search": "fraud", "sort": "requests", "once": "true", "only": "requests", "trace": "4bf92f3577b34da6a3ce929d0e0e4736", "at": "1h", "metric": "latency", "detailed": "true"}
        # What has no end is asked for its beginning.
        pairs = [(name, parameters[name]) for name in query if name == "once" or self.random.random() < 0.7]
        raw = b"12345" if method == "PATCH" else None
        headers = {}
        for _ in range(self.random.randint(1, 3)):
            what = self.random.random()
            if what < 0.3:
                name = choose(list(values))
                values[name] = choose(TEXTS)
            elif what < 0.5 and pairs:
                at = self.random.randrange(len(pairs))
                pairs[at] = (pairs[at][0], choose(TEXTS))
            elif what < 0.55:
                pairs.append(choose(pairs) if pairs else (choose(TEXTS)[:50], choose(TEXTS)))
            elif what < 0.8 and body is not None and raw is None:
                body = self.broken(body)
            elif what < 0.9 and body is not None:
                text = json.dumps(body).encode()
                raw = choose([b"", b"\xff\xfe", text[: len(text) // 2], text + b"}", b"[" * 5000, b'{"a":' * 5000, text.replace(b'"', b"\xff"), b'{"a":1,"a":2}',
                              b"0" * 100_000, b'"' + b"\\u0000" * 1000 + b'"'])
            elif what < 0.95:
                headers[choose(["Authorization", "Decalog-Cookie", "Content-Type", "Accept", "If-None-Match", "Range"])] = choose(["", "\x01\x02", "ä", "y" * 5000, "text/plain", "*"])
            else:
                method = choose(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "NONSENSE"])
        if method == "DELETE" and values["{model}"] == "m":
            values["{model}"] = "nobody"
        for name, value in values.items():
            path = path.replace(name, value)
        if pairs:
            path += "?" + "&".join(f"{name}={value}" for name, value in pairs if (name, value) != ("follow", "true"))
        if raw is None and body is not None:
            raw = json.dumps(body).encode()
        return method, path.replace(" ", "%20"), raw, headers

    def broken(self, value):
        """The same with one place replaced, dropped, doubled or renamed."""
        choose = self.random.choice
        if isinstance(value, dict) and value and self.random.random() < 0.85:
            name = choose(list(value))
            what = self.random.random()
            if what < 0.1:
                return {other: value[other] for other in value if other != name}
            if what < 0.2:
                return {**value, choose(TEXTS): value[name]}
            return {**value, name: self.broken(value[name])}
        if isinstance(value, list) and value and self.random.random() < 0.7:
            at = self.random.randrange(len(value))
            if self.random.random() < 0.1:
                return value * 1000
            return [*value[:at], self.broken(value[at]), *value[at + 1:]]
        return choose([choose(TEXTS), choose(NUMBERS), None, True, [], {}, nested(65), nested(120), nested(300), [2**40] * 65, [1] * 10_000, {LONG: 1}])


class Connection(http.client.HTTPConnection):
    """Sends whatever it is told to."""

    def _validate_path(self, url):
        pass

    def _validate_method(self, method):
        pass

    def _encode_request(self, request):
        return request.encode("utf-8", "surrogateescape")


def ask(connection, method, path, body, headers, token):
    connection.putrequest(method, path)
    if "Authorization" not in headers:
        connection.putheader("Authorization", f"Bearer {token}")
    for name, value in headers.items():
        connection.putheader(name, value.encode())
    if body is not None or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders()
    if body:
        connection.send(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_malformed_requests_are_refused_in_few_words(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", constant(1)))
    document = platform.get("/openapi.json").json()
    endpoints = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            query = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"]
            endpoints.append((method.upper(), path, query, "requestBody" in operation or path == "/v1/gc"))
    token = platform.owners_token()
    generator = Generator(SEED, endpoints)
    host = platform.url.removeprefix("http://")
    connection, statuses, slowest = Connection(host, timeout=SECONDS), {}, 0
    for count in range(COUNT):
        method, path, body, headers = generator.request()
        begin = time.monotonic()
        what = f"request {count} of seed {SEED}: {method} {path[:300]} {str(headers)[:300]} {(body or b'')[:300]}"
        for attempt in range(3):
            try:
                status, answer = ask(connection, method, path, body, headers, token)
                break
            except TimeoutError:
                raise AssertionError(f"no answer within {SECONDS} s: {what}") from None
            except (http.client.HTTPException, OSError):
                # It was closed: after a request that is no HTTP, or before this one was read.
                connection.close()
                connection = Connection(host, timeout=SECONDS)
                status, answer = 0, b""
        slowest = max(slowest, time.monotonic() - begin)
        statuses[status] = statuses.get(status, 0) + 1
        assert status < 500 or status in DOCUMENTED, f"{status} {answer[:500]}: {what}"
        assert status < 400 or len(answer) <= ERROR_BYTES, f"{status} with {len(answer)} bytes: {what}"
        if count % 500 == 0:
            # It may have been told that predictions need a token, and rightly so.
            platform.run("auth", "open")
            assert platform.predict("m", {"x": 0}).json() == {"output": 1}, what
    print(f"{COUNT} requests of seed {SEED}: {statuses}, the slowest took {slowest:.2f} s")
    assert platform.process.poll() is None
    platform.run("auth", "open")
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    log = (platform.data.parent / f"{platform.data.name}.log").read_text()
    assert "panicked" not in log, log[-5000:]
    platform.run("ledger", "verify")
