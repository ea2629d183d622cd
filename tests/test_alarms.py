"""Alarms outlive the server, and receivers are told of them: in order, each once, however often they or the server fail."""

import base64
import hashlib
import hmac
import json
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import stored_files, wait_for, write_model

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CANARY = "x7kq9-canary-in-the-address"


class Receiver:
    """Somebody who is told of alarms; `answer` gives the status of each request, or takes as long as it pleases."""

    def __init__(self, answer=lambda count: 200):
        self.requests = requests = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append((dict((name.lower(), value) for name, value in self.headers.items()), body, self.path))
                status = answer(len(requests))
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{CANARY}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def messages(self):
        """What it was told, as it was told it."""
        return [json.loads(body) for _, body, _ in self.requests]

    def ids(self):
        return [headers["webhook-id"] for headers, _, _ in self.requests]


@pytest.fixture
def receiver():
    made = []

    def make(*arguments):
        made.append(Receiver(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()


def alarm(model, severity="alert", count=0, **more):
    """An alarm as the file keeps it."""
    at_ms = int(time.time() * 1_000)
    project, _, name = model.rpartition("/")
    return {
        "id": hashlib.sha256(f"{model} {count}".encode()).hexdigest()[:12],
        "model": f"{project or 'default'}/{name}", "environment": "production", "kind": "errors", "subject": "",
        "version": None, "severity": severity, "what": f"3.1% of 4,120 requests failed, usual is 0.1% ({count})", "since_ms": at_ms - 60_000,
        "confidence": {"by": "measured"}, "size": 0.03, "next": f"decalog logs {name}",
        "status": "open", "opened_at_ms": at_ms, "updated_at_ms": at_ms, "flaps": 0, **more,
    }


def write(platform, changes=(), open_ones=()):
    """Puts changes and open alarms into the file, as detectors do through a server. The server does not run."""
    assert platform.process.poll() is not None
    with sqlite3.connect(platform.data / "alarms.sqlite") as file:
        for step, one in changes:
            values = (one["opened_at_ms"], step, one["model"], ["notice", "warning", "alert"].index(one["severity"]),
                      json.dumps({"change": step, "alarm": one, "silenced": False}))
            file.execute("INSERT INTO changes (at_ms, step, model, severity, silenced, body) VALUES (?, ?, ?, ?, 0, ?)", values)
        for one in open_ones:
            key = {name: one[name] for name in ("model", "environment", "kind", "subject")}
            entry = {"alarm": one, "told_size": one["size"], "told_columns": [], "quiet_since_ms": None, "withheld": False, "announced": True}
            file.execute("INSERT OR REPLACE INTO alarms VALUES (?, ?)", (json.dumps(key, separators=(",", ":")), json.dumps({"key": key, "open": entry})))


def status(platform, name):
    listed = platform.run("alerts", "ls", "--json").json()["receivers"]
    return next((one["status"] for one in listed if one["name"] == name), None)


def signed(key, headers, body):
    """Whether it is as Standard Webhooks has it."""
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    secret = base64.b64decode(key.removeprefix("whsec_"))
    tag = base64.b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{tag}" and abs(int(headers["webhook-timestamp"]) - time.time()) < 60


# ---- Who is told -----------------------------------------------------------------------------------


def test_receivers_are_named_and_tested_and_their_addresses_are_secrets(platform, receiver):
    hook, team = receiver(), receiver(lambda count: 302)
    key = platform.run("alerts", "add", "ops", "-", stdin=hook.url).out.strip()
    assert key.startswith("whsec_")
    platform.run("alerts", "test", "ops")
    headers, body, path = hook.requests[0]
    assert path == f"/{CANARY}" and signed(key, headers, body), headers
    said = json.loads(body)
    assert said["type"] == "alarm.opened" and "this is a test" in said["data"]["alarm"]["what"]
    # One that sends elsewhere is not followed, and no error names the address.
    platform.run("alerts", "add", "team", team.url, "--slack", "--severity", "notice")
    refused = platform.run("alerts", "test", "team", ok=False)
    assert refused.code == 1 and "redirects are not followed" in refused.err and CANARY not in refused.err
    assert "text" in json.loads(team.requests[0][1])
    # Set again, it has another key.
    again = platform.run("alerts", "add", "ops", hook.url, "--model", "churn").out.strip()
    platform.run("alerts", "test", "ops")
    assert again != key and signed(again, *hook.requests[1][:2])
    listed = platform.run("alerts", "ls")
    assert "ops" in listed.out and "of default/churn" in listed.out and CANARY not in listed.out
    shown = [listed.out, platform.run("alerts", "ls", "--json").out, platform.run("events", "--json").out, platform.run("events").out]
    assert "alert_receiver_set" in shown[2] and not any(CANARY in text or key in text or again in text for text in shown)
    platform.stop()
    for path, content in stored_files(platform.data):
        assert CANARY.encode() not in content and again.encode() not in content, path
    platform.start()
    platform.run("alerts", "test", "ops")
    platform.run("alerts", "rm", "ops")
    assert platform.run("alerts", "rm", "ops", ok=False).code == 1
    assert [one["name"] for one in platform.run("alerts", "ls", "--json").json()["receivers"]] == ["team"]


@pytest.mark.parametrize("url", ["http://hooks.example.org/x7kq9", "http://8.8.8.8/x7kq9", "https://169.254.169.254/x7kq9", "ftp://localhost/x7kq9", "x7kq9", "https://a.example/" + "x7kq9" * 999])
def test_an_address_that_cannot_be_one_is_refused(shared_platform, url):
    refused = shared_platform.run("alerts", "add", "ops", url, ok=False)
    assert refused.code == 1 and "x7kq9" not in refused.err, refused
    answer = shared_platform.request("PUT", "/v1/alert-receivers/ops", {"url": url})
    assert (answer.status, answer.json()["code"]) == (422, "bad_receiver")


def test_there_are_not_more_receivers_than_there_may_be(platform, receiver):
    hook = receiver()
    for count in range(32):
        assert platform.request("PUT", f"/v1/alert-receivers/r{count}", {"url": hook.url}).status == 200
    answer = platform.request("PUT", "/v1/alert-receivers/one-more", {"url": hook.url})
    assert (answer.status, answer.json()["code"]) == (422, "bad_receiver")
    assert len(list((platform.data / "secrets").iterdir())) == 32, "what was refused leaves nothing"
    assert platform.request("PUT", "/v1/alert-receivers/r7", {"url": hook.url}).status == 200
    assert len(list((platform.data / "secrets").iterdir())) == 32


# ---- What they are told ----------------------------------------------------------------------------


def test_each_change_arrives_in_order_over_kill_9(platform, receiver):
    """What was on its way when the server was killed comes again with the same id: nothing is lost, and nothing looks new that is not."""
    hook = receiver(lambda count: time.sleep(0.15) or 200)
    platform.run("alerts", "add", "ops", hook.url)
    platform.kill()
    changes = [(step, alarm("churn", count=count)) for count in range(10) for step in ("opened", "resolved")]
    write(platform, changes)
    for count in range(1, 5):
        platform.start()
        wait_for(lambda: len(hook.requests) >= 4 * count, "some were told")
        platform.kill()
    platform.start()
    wait_for(lambda: status(platform, "ops")["waiting"] == 0, "all were told")
    first = {}
    for id, message in zip(hook.ids(), hook.messages()):
        assert first.setdefault(id, message) == message, "one id, one message"
    told = [(message["type"], message["data"]["alarm"]["id"]) for message in first.values()]
    assert told == [(f"alarm.{step}", one["id"]) for step, one in changes]
    assert len(hook.requests) <= len(changes) + 4, "one more at most each time"


def test_each_change_is_told_once_while_one_server_takes_over_from_another(platform, receiver):
    hook = receiver(lambda count: time.sleep(0.2) or 200)
    platform.run("alerts", "add", "ops", hook.url)
    platform.stop()
    write(platform, [("opened", alarm("churn", count=count)) for count in range(25)])
    platform.start()
    wait_for(lambda: len(hook.requests) >= 3, "it began")
    platform.takeover()
    wait_for(lambda: status(platform, "ops")["waiting"] == 0, "all were told")
    counts = [message["data"]["alarm"]["what"].rsplit("(")[-1] for message in hook.messages()]
    assert counts == [f"{count})" for count in range(25)]
    assert len(set(hook.ids())) == 25


def test_a_receiver_that_is_dead_delays_no_other_and_is_said_to_be(platform, receiver):
    hook = receiver()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        platform.run("alerts", "add", "dead", f"http://127.0.0.1:{silent.getsockname()[1]}")
        platform.run("alerts", "add", "severe", hook.url, "--severity", "alert")
        platform.stop()
        write(platform, [("opened", alarm("churn", "warning")), ("opened", alarm("fraud", "alert"))])
        platform.start()
        wait_for(lambda: hook.requests, "the other one is told", 5)
        assert [message["data"]["alarm"]["model"] for message in hook.messages()] == ["default/fraud"]
        wait_for(lambda: status(platform, "dead")["error"], "it does not answer")
    alarms = platform.run("alarms").out
    assert "receiver dead is not told of 2 changes: it did not answer within 10 s" in alarms
    assert "dead takes nothing since" in platform.run("alerts", "ls").out
    # It comes back at the same address, if nobody else has it meanwhile.
    platform.run("alerts", "add", "dead", hook.url)
    wait_for(lambda: status(platform, "dead")["waiting"] == 0, "what waited goes to the new address")
    assert status(platform, "dead") | {"told_ms": 0} == {"waiting": 0, "delivered": 2, "lost": 0, "told_ms": 0, "failing_since_ms": None, "error": None}


@pytest.mark.skipif(not ALERTMANAGER, reason="there is no Alertmanager: tools/install.sh")
def test_alertmanager_fires_and_resolves(platform, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "am.yml").write_text("route:\n  receiver: none\nreceivers:\n  - name: none\n")
    command = [ALERTMANAGER, f"--config.file={tmp_path / 'am.yml'}", f"--storage.path={tmp_path / 'am'}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def alerts():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=5) as answer:
                return {(alert["labels"]["alertname"], alert["labels"]["model"]): alert for alert in json.load(answer)}
        except OSError:
            return None

    try:
        wait_for(lambda: alerts() is not None, "Alertmanager")
        platform.run("alerts", "add", "am", f"http://127.0.0.1:{port}", "--alertmanager", "--severity", "notice")
        platform.run("alerts", "test", "am")
        assert ("DecalogRule", "test") in alerts()
        platform.stop()
        churn, fraud = alarm("churn", subject="v3"), alarm("team/fraud", "notice")
        write(platform, [("opened", churn), ("opened", fraud)], [churn, fraud])
        platform.start()
        found = wait_for(lambda: len(alerts()) >= 3 and alerts(), "both fire")
        labels = found["DecalogErrors", "churn"]["labels"]
        assert labels == {"alertname": "DecalogErrors", "project": "default", "model": "churn", "environment": "production", "severity": "alert", "kind": "errors", "subject": "v3"}
        assert found["DecalogErrors", "churn"]["annotations"]["next"] == "decalog logs churn"
        assert found["DecalogErrors", "fraud"]["labels"]["project"] == "team"
        ends = found["DecalogErrors", "fraud"]["endsAt"]
        platform.stop()
        over = churn | {"status": "resolved", "resolved_at_ms": churn["opened_at_ms"] + 1}
        write(platform, [("resolved", over)])
        with sqlite3.connect(platform.data / "alarms.sqlite") as file:
            file.execute("DELETE FROM alarms WHERE key LIKE '%churn%'")
        platform.start()
        wait_for(lambda: ("DecalogErrors", "churn") not in alerts(), "one is over")
        # What is still open is told again, before Alertmanager forgets it.
        wait_for(lambda: alerts()["DecalogErrors", "fraud"]["endsAt"] > ends, "it is told again", 90)
    finally:
        process.kill()
        process.wait()


# ---- What is shown ---------------------------------------------------------------------------------


@pytest.fixture
def alarmed(platform):
    """A platform with three open alarms, and who may see some of them."""
    for project in ("fraud", "other"):
        assert platform.request("POST", "/v1/members", {"name": f"{project}-viewer", "role": "viewer", "in": project, "kind": "service"}).status == 200
    assert platform.request("POST", "/v1/members", {"name": "fraud-operator", "role": "operator", "in": "fraud", "kind": "service"}).status == 200
    tokens = {}
    for owner, scopes in [("fraud-viewer", ["read"]), ("other-viewer", ["read"]), ("fraud-operator", ["read", "operate"])]:
        answer = platform.request("POST", "/v1/tokens", {"owner": owner, "scopes": scopes})
        assert answer.status == 200, answer.body
        tokens[owner] = {"Authorization": f"Bearer {answer.json()['secret']}"}
    platform.kill()
    open_ones = [alarm("fraud/churn", "notice", 1), alarm("fraud/churn", "alert", 2, kind="latency"), alarm("churn", "warning", 3)]
    write(platform, [("opened", one) for one in open_ones], open_ones)
    return platform.start(), tokens, open_ones


def test_alarms_are_listed_by_model_to_whom_may_see_it(alarmed):
    platform, tokens, open_ones = alarmed
    shown = platform.run("alarms")
    heads = [line for line in shown.out.splitlines() if not line.startswith(" ")]
    assert heads == ["churn in production", "fraud/churn in production"]
    # The most severe first.
    assert shown.out.index(open_ones[1]["id"]) < shown.out.index(open_ones[0]["id"])
    assert "decalog logs churn" in shown.out and "measured" in shown.out
    ids = lambda answer: {one["id"] for one in answer.json()["open"]}
    assert ids(platform.get("/v1/alarms")) == {one["id"] for one in open_ones}
    assert ids(platform.request("GET", "/v1/alarms", headers=tokens["fraud-viewer"])) == {one["id"] for one in open_ones[:2]}
    assert ids(platform.request("GET", "/v1/alarms", headers=tokens["other-viewer"])) == set()
    page = platform.request("GET", "/v1/alarms/changes?limit=2", headers=tokens["fraud-viewer"]).json()
    assert len(page["changes"]) == 2 and page["more"]
    page = platform.request("GET", f"/v1/alarms/changes?after={page['next']}", headers=tokens["fraud-viewer"]).json()
    assert page["changes"] == [] and not page["more"], "the third is none of theirs"
    assert platform.run("alarms", "fraud/churn", "--json").json()["open"][0]["id"] == open_ones[1]["id"]


def test_a_silence_is_for_who_steers_the_model_and_is_shown(alarmed):
    platform, tokens, open_ones = alarmed
    id = open_ones[1]["id"]
    ask = lambda who, body: platform.request("POST", "/v1/silences", body, tokens[who])
    assert ask("fraud-viewer", {"alarm": id, "for_ms": 60_000}).status == 403
    assert ask("other-viewer", {"alarm": id, "for_ms": 60_000}).status == 403
    assert ask("fraud-operator", {"alarm": open_ones[2]["id"], "for_ms": 60_000}).json()["code"] == "no_such_alarm"
    for wrong in [{"alarm": id, "for_ms": 1}, {"alarm": id, "for_ms": 10**12}, {"for_ms": 60_000}, {"alarm": id, "model": "fraud/churn", "for_ms": 60_000}, {"alarm": id, "for_ms": 60_000, "reason": "x" * 501}]:
        assert ask("fraud-operator", wrong).json()["code"] == "bad_silence", wrong
    kept = ask("fraud-operator", {"alarm": id[:8], "for_ms": 3_600_000, "reason": "we are on it"}).json()
    assert kept["alarm"] == id and kept["by"] == "fraud-operator (service)"
    platform.run("silence", "churn", "--for", "2h")
    platform.kill()
    platform.start()
    shown = platform.run("alarms").out
    assert shown.count("silenced until") == 2 and "by fraud-operator (service): we are on it" in shown
    assert "1 silences" in platform.run("unsilence", id).err
    assert platform.run("unsilence", id, ok=False).code == 1
    assert platform.run("alarms").out.count("silenced until") == 1
    silences = lambda who: platform.request("GET", "/v1/silences", headers=tokens[who]).json()["silences"]
    assert silences("fraud-viewer") == [] and len(platform.get("/v1/silences").json()["silences"]) == 1


def test_what_changes_is_followed_as_far_as_it_may_be_seen(alarmed):
    platform, tokens, open_ones = alarmed
    request = urllib.request.Request(f"{platform.url}/v1/alarms/changes?follow=true&after=0", headers=tokens["fraud-viewer"])
    with urllib.request.urlopen(request, timeout=60) as lines:
        told = [json.loads(lines.readline()) for _ in range(2)]
    assert [(one["change"], one["alarm"]["id"]) for one in told] == [("opened", one["id"]) for one in open_ones[:2]]


def test_a_lost_file_begins_anew_and_the_server_says_so(platform, receiver):
    hook = receiver()
    platform.run("alerts", "add", "ops", hook.url)
    platform.stop()
    file = platform.data / "alarms.sqlite"
    for path in platform.data.glob("alarms.sqlite*"):
        path.unlink()
    file.write_bytes(b"\x07" * 20_000)
    platform.start()
    assert "alarms begin anew" in (platform.data.parent / f"{platform.data.name}.log").read_text()
    assert (platform.data / "alarms.sqlite.broken").exists()
    platform.run("alerts", "test", "ops")
    assert platform.run("alarms").err.strip() == "no alarm is open"


def test_objectives_are_of_models_that_there_are(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "echo", {"model.py": "def predict(n: int) -> int:\n    return n\n"}))
    platform.run("slo", "echo")
    assert platform.get("/v1/projects/default/models/nothing/slo").status == 404


# ---- Of a model that runs --------------------------------------------------------------------------


def test_a_rule_of_ones_own_alarms_the_receiver_and_ends_with_the_rule(platform, receiver, tmp_path):
    hook = receiver()
    platform.run("alerts", "add", "ops", hook.url)
    model = {"model.py": "def predict(n: int) -> int:\n    return n\n", "decalog.toml": '[alarms]\nrules = ["alert: requests < 1/min for 1m"]\n'}
    platform.run("deploy", write_model(tmp_path / "echo", model))
    wait_for(lambda: hook.requests, "nobody asks, and it is told")
    told = hook.messages()[0]["data"]
    assert (told["change"], told["alarm"]["kind"], told["alarm"]["severity"]) == ("opened", "rule", "alert")
    assert told["alarm"]["subject"] == "alert: requests < 1/min for 1m"
    assert "requests is 0/min" in platform.run("alarms").out
    assert "requests is 0/min" in platform.run("ls").out
    platform.run("deploy", write_model(tmp_path / "echo", model | {"decalog.toml": ""}))
    wait_for(lambda: len(hook.requests) == 2, "the rule is gone")
    assert hook.messages()[1]["type"] == "alarm.resolved"
    wrong = write_model(tmp_path / "echo", model | {"decalog.toml": '[alarms]\nrules = ["p99 < 3 for 1m"]\n'})
    refused = platform.run("deploy", wrong, ok=False)
    assert refused.code == 1 and "is not a rule" in refused.err
