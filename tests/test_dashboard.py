"""The dashboard as a browser asks for it: its files, the stream of what changes, and lists in pages."""

import http.client
import json
import re
import threading
from urllib.parse import urlsplit

import pytest
from conftest import LocalConnection, wait_for, write_model

MODEL = "def predict(age: int) -> float:\n    return age / 100\n"
HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def served(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": MODEL}))
    return platform


def fetch(platform, path, **headers):
    """Status, headers and body, as they come: nothing is decompressed."""
    connection = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=30)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


class Stream:
    """What `/v1/live` tells the owner, or whoever has a token; read by a thread."""

    def __init__(self, platform, token=None, after=None):
        self.events, self.ended = [], False
        if token:
            self.connection = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=60)
            headers = {"Authorization": f"Bearer {token}"}
        else:
            self.connection = LocalConnection(platform.door() / "local.sock", 60)
            headers = {"Host": "local", "Decalog-Cookie": (platform.door() / "local.cookie").read_text().strip()}
        self.connection.request("GET", "/v1/live", headers=headers | ({"Last-Event-ID": after} if after else {}))
        self.answer = self.connection.getresponse()
        assert (self.answer.status, self.answer.headers["content-type"]) == (200, "text/event-stream")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        event = {}
        try:
            for line in self.answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    event[name] = value
                elif event:
                    self.events.append(event)
                    event = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # Closed while it was read.
            pass
        self.ended = True

    def of(self, kind):
        return [json.loads(event["data"]) for event in self.events if event.get("event") == kind]

    def models(self):
        """By name, as they were told last."""
        return {model["name"]: model for told in self.of("models") for model in told["models"]}

    def close(self):
        self.connection.close()


# ---- The page --------------------------------------------------------------------------------------


def test_the_page_lets_nothing_in_but_its_own_and_has_another_number_each_time(served):
    pages = [fetch(served, path, **HTML) for path in ("/", "/", "/models/default/churn?tab=data", "/alarms")]
    numbers = []
    for status, headers, body in pages:
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "text/html; charset=utf-8", "no-store")
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        (number,) = re.findall(r"'nonce-([\w-]{22})'", policy["style-src"])
        assert f'content="{number}"'.encode() in body and b"%NONCE%" not in body
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
        assert not re.search(rb"(?:src|href)=\"(?!/)", body), "all that it loads is this server's"
        assert headers["x-content-type-options"] == "nosniff"
        numbers.append(number)
    assert len(set(numbers)) == len(numbers)


def test_files_never_change_and_come_as_small_as_is_understood(served):
    page = fetch(served, "/", **HTML)[2].decode()
    scripts = re.findall(r'src="(/assets/[^"]+\.js)"', page)
    assert scripts
    sizes = {}
    for accepted, encoding in [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None)]:
        status, headers, body = fetch(served, scripts[0], Accept_Encoding=accepted)
        assert (status, headers.get("content-encoding")) == (200, encoding)
        assert headers["cache-control"] == "public, max-age=31536000, immutable" and headers["vary"] == "accept-encoding"
        assert headers["content-type"] == "text/javascript; charset=utf-8"
        sizes[encoding] = len(body)
    assert sizes["br"] < sizes["gzip"] < sizes[None]


def test_a_program_that_got_an_address_wrong_is_told_so_and_given_no_page(served):
    for path, headers in [("/models", {}), ("/nothing", {"Accept": "application/json"}), ("/v1/nothing", HTML), ("/assets/nothing.js", {}), ("/assets/../index.html", {})]:
        status, answer, body = fetch(served, path, **headers)
        assert status == 404 and answer["content-type"] == "application/json", (path, body)
    assert served.request("POST", "/alarms", {}, headers=HTML).status == 404


# ---- What changes ----------------------------------------------------------------------------------


def test_the_stream_tells_models_as_they_change_and_whom_entries_are_about(served, tmp_path):
    stream = Stream(served)
    wait_for(lambda: "churn" in stream.models(), "all models at first")
    assert stream.events[0]["event"] == "hello" and stream.of("hello")[0]["version"]
    known = stream.models()["churn"]
    assert (known["live"], known["replicas"], known["environment"], known["alarms"]) == ("v1", 1, "production", 0)
    told = len(stream.of("models"))
    served.run("deploy", write_model(tmp_path / "other", {"model.py": MODEL}))
    wait_for(lambda: "other" in stream.models(), "the other one")
    wait_for(lambda: any("default/other" in ledger["subjects"] for ledger in stream.of("ledger")), "its entries")
    changed = {model["name"] for told in stream.of("models")[told:] for model in told["models"]}
    assert changed == {"other"}, "who did not change is not told again"
    for _ in range(20):
        assert served.predict("churn", {"age": 42}).status == 200
    wait_for(lambda: stream.models()["churn"]["requests_per_s"] > 0, "requests are seen")
    # Who was away hears whom the entries since then are about, and all models.
    last = [event["id"] for event in stream.events if event.get("event") == "ledger"][0]
    stream.close()
    served.run("deploy", write_model(tmp_path / "third", {"model.py": MODEL}))
    back = Stream(served, after=last)
    wait_for(lambda: any("default/third" in ledger["subjects"] for ledger in back.of("ledger")), "what was missed")
    wait_for(lambda: set(back.models()) == {"churn", "other", "third"}, "all models")
    back.close()


def test_the_stream_shows_what_its_reader_may_see_and_ends_with_the_right_to(served, tmp_path):
    served.run("deploy", write_model(tmp_path / "fraud", {"model.py": MODEL}), "--project", "team")
    assert served.request("POST", "/v1/members", {"name": "ann", "role": "viewer", "in": "team", "kind": "service"}).status == 200
    made = served.request("POST", "/v1/tokens", {"owner": "ann", "scopes": ["read"]}).json()
    stream = Stream(served, made["secret"])
    wait_for(lambda: "fraud" in stream.models(), "her project")
    served.run("deploy", write_model(tmp_path / "again", {"model.py": MODEL}))
    # What came before the last one that she sees, she would have seen.
    served.run("deploy", write_model(tmp_path / "later", {"model.py": MODEL}), "--project", "team")
    wait_for(lambda: "later" in stream.models(), "another one of her project")
    assert set(stream.models()) == {"fraud", "later"}
    assert all(subject.startswith("team") for told in stream.of("ledger") for subject in told["subjects"])
    assert served.request("DELETE", f"/v1/tokens/{made['id']}").status == 200
    wait_for(lambda: stream.ended, "the end", 10)


# ---- Lists -----------------------------------------------------------------------------------------


def test_models_come_in_pages_in_the_order_that_is_asked_for(platform, tmp_path):
    for name in ("alpha", "beta", "gamma"):
        platform.run("deploy", write_model(tmp_path / name, {"model.py": MODEL}))
    for name, count in (("beta", 30), ("gamma", 10)):
        for _ in range(count):
            assert platform.predict(name, {"age": 42}).status == 200
    names = lambda query: [model["name"] for model in platform.get(f"/v1/models?{query}").json()["models"]]
    assert names("") == ["alpha", "beta", "gamma"]
    wait_for(lambda: names("sort=requests") == ["beta", "gamma", "alpha"], "the last minute")
    assert names("search=MM") == ["gamma"] and names("search=production") == ["alpha", "beta", "gamma"] and names("search=v2") == []
    first = platform.get("/v1/models?limit=2").json()
    assert (len(first["models"]), first["total"], first["next"]) == (2, 3, 2)
    rest = platform.get("/v1/models?limit=2&after=2").json()
    assert ([model["name"] for model in rest["models"]], rest["next"]) == (["gamma"], None)
    assert platform.get("/v1/models?limit=2&after=99").json()["models"] == []
    model = first["models"][1]
    assert (model["wanted"], model["temperature"] in ("cold", "tepid", "warm"), len(model["requests"])) == (1, True, 60)
    assert platform.get("/v1/models?sort=nonsense").status == 400
