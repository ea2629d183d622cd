"""Pages of other origins in a real Chromium cannot drive the server, nor read from it, even if the browser sends the owner's token with all
that they ask for; a page of the server itself can."""

import hashlib
import http.server
import json
import re
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import Browser
from conftest import PUBLIC_KEY, ROW, Platform, write_model

PAGE = Path(__file__).with_name("page.js").read_text()
#: Names that are this machine to the browser, and to nobody else.
EVIL, REBOUND = "evil.example", "rebound.example"
SOURCE = b"def predict(x: int) -> int:\n    return 666\n"
FRAUD, CHURN = "/v1/projects/fraud", "/v1/projects/fraud/models/churn"
PRODUCTION = f"{FRAUD}/environments/production"
DIGEST = hashlib.sha256(SOURCE).hexdigest()
#: Each operation that can change something, as an attacker would ask for it, in an order in which all could come to something.
OPERATIONS = {
    "blobs_missing": ("POST", "/v1/blobs/missing", {"blobs": []}),
    "blobs_upload": ("PATCH", f"/v1/blobs/{DIGEST}?size={len(SOURCE)}&offset=0", SOURCE.decode()),
    "models_push": ("POST", f"{CHURN}/versions", {"tree": [{"path": "model.py", "digest": DIGEST, "size": len(SOURCE), "executable": False}], "runtime": "python", "file": "model.py"}),
    "models_deploy": ("POST", f"{CHURN}/deployments", {"version": "v1"}),
    "releases_act": ("POST", f"{CHURN}/release/abort", {}),
    "releases_promote": ("POST", f"{CHURN}/promotions", {"from": "production", "to": "staging"}),
    "releases_rollback": ("POST", f"{CHURN}/rollbacks", {}),
    "feedback_take": ("POST", f"{CHURN}/feedback", {"key": "customer=42", "truth": "left"}),
    "variables_set": ("PUT", f"{PRODUCTION}/variables/LEVEL", {"value": "evil"}),
    "variables_remove": ("DELETE", f"{PRODUCTION}/variables/OLD", None),
    "members_add": ("POST", "/v1/members", {"name": "eve", "role": "owner", "in": "*"}),
    "members_remove": ("DELETE", "/v1/members/ann", None),
    "members_erase": ("DELETE", "/v1/people/bob", None),
    "tokens_create": ("POST", "/v1/tokens", {"owner": "shop", "scopes": ["predict:fraud/churn"]}),
    "tokens_rotate": ("POST", "/v1/tokens/TOKEN/rotations", {}),
    "tokens_revoke": ("DELETE", "/v1/tokens/TOKEN", None),
    "tokens_require": ("PUT", "/v1/access/tokens", {"required": True}),
    "proposals_protect": ("PUT", f"{FRAUD}/environments/staging/protection", {"approvals": 1}),
    "trust_add": ("POST", f"{FRAUD}/trusted-keys", {"name": "evil", "pem": PUBLIC_KEY}),
    "trust_remove": ("DELETE", f"{FRAUD}/trusted-keys/{'0' * 64}", None),
    "proposals_approve": ("POST", "/v1/proposals/1/approvals", None),
    "proposals_reject": ("POST", "/v1/proposals/1/rejections", {"why": "x"}),
    "login_begin_device": ("POST", "/v1/login/devices", None),
    "login_poll_device": ("POST", "/v1/login/devices/poll", {"device_code": "x"}),
    "login_make_link": ("POST", "/v1/login/links", None),
    "login_exchange": ("POST", "/v1/login/exchange", "grant_type=x"),
    "login_open_link": ("POST", "/login/link", "key=x"),
    "login_decide": ("POST", "/login/device", "code=x&answer=allow"),
    "login_log_out": ("POST", "/logout", None),
    "login_end": ("DELETE", "/v1/login", None),
    "alarms_silence": ("POST", "/v1/silences", {"model": "fraud/churn", "for_ms": 60_000}),
    "alarms_unsilence": ("DELETE", "/v1/silences?model=fraud%2Fchurn", None),
    "receivers_set": ("PUT", "/v1/alert-receivers/evil", {"url": "https://evil.example"}),
    "receivers_remove": ("DELETE", "/v1/alert-receivers/evil", None),
    "receivers_test": ("POST", "/v1/alert-receivers/evil/tests", {}),
    "keys_rotate": ("POST", "/v1/keys/rotation", {}),
    "erasures_erase": ("DELETE", "/v1/records?key=customer%3D1&project=fraud", None),
    "replays_run": ("POST", f"{CHURN}/replay", {"last": 1}),
    "replays_test": ("POST", f"{CHURN}/test", {"version": "v1"}),
    "sandbox_test": ("POST", f"{CHURN}/sandbox", {"version": "v1"}),
    "replays_evaluate": ("POST", f"{CHURN}/evaluate", {"version": "v1", "rows": [{"age": 1}]}),
    "replays_compare": ("POST", f"{CHURN}/compare", {"before": "v1", "after": "v1", "last": 1}),
    "records_sql": ("POST", "/v1/sql", {"sql": "select 1"}),
    "platform_collect": ("POST", "/v1/gc", None),
    "models_remove_version": ("DELETE", f"{CHURN}/versions/v1", None),
    "models_remove": ("DELETE", "/v1/projects/fraud/models/spare", None),
}
#: What can be read, and asked of a model.
READS = ["/v1/models", CHURN, "/v1/events", "/v1/tokens", "/v1/members", f"{PRODUCTION}/variables", "/v1/status", "/v1/audit/checkpoint", "/openapi.json", "/metrics",
         "/v2/models/fraud%2Fchurn"]
PREDICTS = [("POST", "/v1/models/fraud/churn/predict", {"age": 4}), ("POST", "/v2/models/fraud%2Fchurn/infer", {"inputs": []})]


class Evil(http.server.BaseHTTPRequestHandler):
    """Serves an empty page, with whatever would help it."""

    def do_GET(self):
        body = b"<!doctype html><title>win</title><body></body>"
        self.send_response(200)
        for name, value in (("Content-Type", "text/html"), ("Content-Length", len(body)), ("Set-Cookie", "session=x; Path=/"), ("Connection", "close")):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def evil():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class Rebinding:
    """A port whose connections go to a page first, and to the server once the page is there: as when a name is bent to another address."""

    def __init__(self, first, then):
        self.port_behind, self.then, self.listener = first, then, socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(caller,), daemon=True).start()

    def pass_on(self, caller):
        # Browsers open connections before they need them.
        first = caller.recv(65536)
        if not first:
            return caller.close()
        behind = socket.create_connection(("127.0.0.1", self.port_behind))
        threading.Thread(target=self.copy, args=(behind, caller), daemon=True).start()
        self.copy(caller, behind, first)

    def copy(self, source, target, first=b""):
        try:
            target.sendall(first)
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def bend(self):
        self.port_behind = self.then

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def victim(tmp_path):
    """A platform on which each of the operations comes to something, and the token of its owner."""
    platform = Platform(tmp_path / "data").start()
    for name in ("churn", "spare"):
        platform.run("deploy", write_model(tmp_path / name, {"model.py": ROW}), "--project", "fraud")
    for name in ("ann", "bob"):
        platform.run("member", "add", name, "--role", "viewer")
    platform.run("env", "set", "OLD=1", "--project", "fraud")
    made = platform.request("POST", "/v1/tokens", {"owner": "other", "scopes": ["predict:fraud/churn"]}).json()
    yield platform, platform.owners_token(), made["id"]
    platform.stop()


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "browser", [EVIL, REBOUND])
    yield browser
    browser.close()


def requests(platform, token_id):
    """The operations, all of those of the document that change something, with what they are asked for."""
    document = platform.get("/openapi.json").json()
    changing = {one["operationId"] for path in document["paths"].values() for method, one in path.items() if method != "get"}
    assert changing == set(OPERATIONS), "an operation that changes something is missing here"
    text = lambda body: body if body is None or isinstance(body, str) else json.dumps(body)
    return [[method, path.replace("TOKEN", token_id), text(body)] for method, path, body in OPERATIONS.values()]


def state(platform):
    """All that a request could change: the ledger, and what is stored."""
    stored = sorted(str(path) for path in (platform.data / "artifacts").rglob("*"))
    return platform.request("GET", "/v1/status").json()["ledger"]["head"], stored, sorted(path.name for path in (platform.data / "keys").glob("*"))


def attack(browser, target, operations, forged=True):
    """Runs the page's script; what it could read, and the statuses that the browser saw, also those that it hides from pages."""
    script = f"({PAGE.split(chr(10), 1)[1].strip().rstrip(';')})({json.dumps(target)}, {json.dumps(operations)}, {json.dumps(forged)})"
    read = browser.run(script)
    return read, browser.statuses(f"{target}/v")


@pytest.mark.parametrize("place", ["another site", "another port of this machine", "a name bent to this machine"])
def test_a_page_of_another_origin_changes_and_reads_nothing(victim, browser, place):
    platform, token, token_id = victim
    port = int(platform.url.rsplit(":", 1)[1])
    operations = requests(platform, token_id) + [["GET", path, None] for path in READS]
    if place != "another port of this machine":
        # Pages of this machine may ask models: somebody writes one.
        operations += [[method, path, json.dumps(body)] for method, path, body in PREDICTS]
    with evil() as evil_port:
        rebinding = Rebinding(evil_port, port)
        page, target = {
            "another site": (f"http://{EVIL}:{evil_port}/", platform.url),
            "another port of this machine": (f"http://127.0.0.1:{evil_port}/", platform.url),
            "a name bent to this machine": (f"http://{REBOUND}:{rebinding.port}/", f"http://{REBOUND}:{rebinding.port}"),
        }[place]
        browser.visit(page)
        rebinding.bend()
        # As if it were logged in everywhere, with a cookie that goes to every site.
        browser.carry({"Authorization": f"Bearer {token}"})
        before = state(platform)
        read, statuses = attack(browser, target, operations)
        rebinding.close()
    assert state(platform) == before
    assert platform.predict("fraud/churn", {"age": 4}).json() == {"output": 2.0}
    if place == "a name bent to this machine":
        # The browser takes it for the same origin and lets it read: refusals, with nothing in them.
        assert {status for _, status, _ in read} <= {0, 403}, Counter(status for _, status, _ in read)
        assert not [text for *_, text in read if "foreign_host" not in text], read
    else:
        assert read == []
    assert statuses[403] > 5 * len(OPERATIONS) and statuses[200] < 10, f"they reached the server: {statuses}"
    if place == "a name bent to this machine":
        assert set(statuses) == {403}, statuses


def test_a_page_of_the_server_itself_does_all_of_it(victim, browser):
    """The same script, from the server's own origin: what is refused above is refused for where it comes from."""
    platform, token, token_id = victim
    browser.carry({"Authorization": f"Bearer {token}"})
    # The server lets scripts into none of its answers.
    browser.call("Page.setBypassCSP", enabled=True)
    browser.visit(f"{platform.url}/healthz")
    before = state(platform)
    # A frame of metrics becomes a download.
    shown = [["GET", path, None] for path in READS if path != "/metrics"]
    read, statuses = attack(browser, platform.url, requests(platform, token_id) + shown, forged=False)
    after = state(platform)
    assert all(old != new for old, new in zip(before[:2], after[:2])), "the ledger and the store have changed"
    assert statuses[403] == 0 and not [answer for answer in read if answer[1] == 403], statuses
    done = {what.split(" ", 1)[1] for what, status, _ in read if what.startswith("preflighted") and status == 200}
    assert len(done) > 18, done
    members = platform.run("member", "ls", "--json").json()["members"]
    assert "eve" in {row["name"] for row in members}
    assert re.search(r'"fraud"', str(read)), "and it could read"
