"""Routes without a lock, other people's things, passwords that everybody knows, and doors that stand open."""

import base64
import hashlib
import statistics
import time
import zlib
from pathlib import Path

from attacks import attack, file, json, nothing_of, refused
from conftest import ROW

#: What anybody may ask at the machine itself.
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/server"}


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


#: What leads to a login: pages, and what a terminal or a job asks first.
LOGIN = {"/": [200], "/login": [200], "/login/start": [404], "/login/callback": [400], "/login/link": [400, 403], "/v1/login/devices": [200],
         "/v1/login/devices/poll": [400], "/v1/login/exchange": [400]}


@attack("CVE-2026-0545", "forgotten route", "MLflow", "3.11.0", "the routes for jobs asked for no password")
def every_route_without_a_token(site):
    """All operations of the API description answer 401 without a token, but for those that somebody without one logs in by, which give nothing."""
    operations = site.operations()
    assert len(operations) > 50
    for method, path in operations:
        answer = site.ask(method, path, b"{}" if method != "GET" else None)
        if path in LOGIN:
            assert answer.status in LOGIN[path] and b"dcp_" not in answer.body and b"dcj_" not in answer.body, (method, path, answer)
        else:
            assert answer.status == 401 or (method, path in OPEN) == ("GET", True), (method, path, answer)


@attack("CVE-2026-2652", "forgotten route", "MLflow", "3.10.0", "only paths that began with /gateway/ were checked")
def the_same_route_in_another_spelling(site):
    """A path in any other spelling is another path, and there is nothing there; nothing is normalised after the check."""
    assert site.ask("GET", "/v1/tokens", who="owner").status == 200
    for path in ("//v1/tokens", "/v1//tokens", "/v1/tokens/", "/V1/tokens", "/./v1/tokens", "/healthz/../v1/tokens", "/v1/%74okens",
                 "/v2/../v1/tokens", "/v1/tokens;/healthz", "/v1/tokens%00", "/%2fv1/tokens", "/healthz%2f..%2fv1%2ftokens"):
        refused(site.get(path, who=None), 400, 401, 404)
    refused(site.get(f"http://127.0.0.1:{site.port}/v1/tokens", who=None), 401)


@attack("CVE-2026-48746", "forgotten route", "vLLM", "0.22.0", "what was checked was a path made of the Host header, not the path that was called")
def another_path_in_a_header(site):
    """The path that is called is the one that is checked; no header changes it."""
    assert site.get("/v1/tokens").status == 200
    for host in (f"127.0.0.1:{site.port}/healthz?", "127.0.0.1/healthz#", f"127.0.0.1:{site.port}@evil", "localhost/v2/?x="):
        refused(site.get("/v1/tokens", who=None, host=host), 400, 401, 403)
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-HTTP-Method-Override"):
        refused(site.get("/v1/tokens", f"{name}: /healthz", who=None), 401)
        assert nothing_of(site.get("/healthz", f"{name}: /v1/tokens", who=None), b"mallory").status in (200, 401)


@attack("CVE-2025-15381", "object authorisation", "MLflow", "unknown", "whoever had any account read and wrote traces of all experiments")
def reading_another_project(site):
    """What belongs to a project in which the caller has no role is answered as what does not exist."""
    model = "/v1/projects/fraud/models/churn"
    paths = (model, f"{model}/release", f"{model}/logs", "/v1/projects/fraud/environments/production/variables")
    for path in paths:
        assert site.ask("GET", path, who="owner").status in (200, 404)
        nothing_of(refused(site.ask("GET", path, who="mallory"), 404), b"age", b"FP64")
    assert site.ask("GET", model, who="owner").status == 200
    for path in ("/v1/models", "/v1/events", "/v1/members", "/v1/tokens"):
        assert nothing_of(site.ask("GET", path, who="mallory"), b'"fraud', b"fraud/churn").status == 200, path
        assert b"fraud" in site.ask("GET", path, who="owner").body, path
    assert site.ask("POST", "/v2/models/fraud%2Fchurn/infer", b"{}", "mallory").status == 404


@attack("CVE-2026-2651", "object authorisation", "MLflow", "3.10.0", "uploads in parts overwrote files of other users")
def writing_into_another_project(site):
    """Files have the digest of their content as their name, so that nobody overwrites any; pushing to a project needs a role there."""
    digest = hashlib.sha256(ROW.encode()).hexdigest()
    other = ROW.replace("0.5", "9.9").encode()
    assert len(other) == len(ROW)
    site.ask("PATCH", f"/v1/blobs/{digest}?size={len(other)}&offset=0", other, "mallory")
    (stored,) = [path for path in (site.platform.data / "artifacts").rglob(f"*{digest[2:]}*") if path.is_file() and "uploads" not in str(path)][:1]
    assert stored.read_text() == ROW
    tree = [file("model.py", digest, len(ROW))]
    refused(site.push("mallory", "fraud", tree), 404)
    refused(site.ask("POST", "/v1/projects/fraud/models/churn/deployments", {"version": "v1"}, "mallory"), 404)
    refused(site.ask("DELETE", "/v1/projects/fraud/models/churn", who="mallory"), 404)


@attack("CVE-2026-2635", "default password", "MLflow", "3.16.1", "admin had the password that the documentation shows")
def passwords_that_everybody_knows(site):
    """There are no accounts with passwords; what is sent as one must be a token."""
    for user, password in (("admin", "password1234"), ("admin", "admin"), ("admin", "password"), ("root", "root"), ("decalog", "decalog"),
                           ("local", "local"), ("owner", "owner"), ("admin", "changeme")):
        refused(site.ask("GET", "/v1/whoami", Authorization=basic(user, password)), 401)
    assert site.ask("GET", "/v1/whoami", Authorization=basic("admin", site.tokens["owner"])).status == 200


@attack("CVE-2025-11200", "default password", "MLflow", "2.22.0", "weak and empty passwords were taken")
def empty_and_guessable_tokens(site):
    """An empty, short or regular text is no token, not even with the right checksum."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for value in ("Bearer", "Bearer ", "Bearer null", "Bearer undefined", "Token x", basic("", ""), basic("admin", ""), basic("owner", "")):
        refused(site.ask("GET", "/v1/whoami", Authorization=value), 401)
    for begin in ("dcp_", "dcs_"):
        for filler in "0Aaz":
            text, rest, checksum = begin + filler * 30, 0, ""
            rest = zlib.crc32(text.encode())
            for _ in range(6):
                rest, digit = divmod(rest, 62)
                checksum = digits[digit] + checksum
            refused(site.ask("GET", "/v1/whoami", Authorization=f"Bearer {text}{checksum}"), 401)
    assert len(site.tokens["owner"]) == 40


@attack("CVE-2023-6014", "forgotten route", "MLflow", "2.8.0", "anybody made themselves an account")
def making_oneself_an_account(site):
    """Nobody becomes a member or gets a token without a token, and with one nobody gives more than they have."""
    member = {"name": "eve", "role": "owner", "in": "*"}
    for body, kind in ((member, "application/json"), (b"name=eve&role=owner&in=*", "application/x-www-form-urlencoded")):
        refused(site.ask("POST", "/v1/members", body, Content_Type=kind), 401)
    refused(site.ask("POST", "/v1/tokens", {"owner": "eve", "scopes": ["admin"]}), 401)
    for who in ("mallory", "viewer", "shop"):
        refused(site.ask("POST", "/v1/members", member, who), 403)
    assert b"eve" not in site.owner("GET", "/v1/members").body


@attack("CVE-2023-48022", "open control plane", "Ray", "not fixed", "whoever reached the dashboard ran code on the cluster")
def running_code_without_a_token(site):
    """Each step of a deployment, and asking what is there, needs a token with the right to it."""
    digest = hashlib.sha256(b"x").hexdigest()
    steps = (("POST", "/v1/blobs/missing", {"blobs": []}), ("PATCH", f"/v1/blobs/{digest}?size=1&offset=0", b"x"),
             ("POST", "/v1/projects/default/models/evil/versions", {"tree": [file("model.py", digest)], "runtime": "command", "file": "x"}),
             ("POST", "/v1/projects/fraud/models/churn/deployments", {"version": "v1"}), ("POST", "/api/jobs/", {"entrypoint": "id"}))
    for method, path, body in steps:
        refused(site.ask(method, path, body), 401, 404)
        refused(site.ask(method, path, body, "shop"), 403, 404)
    assert site.ask(*steps[0][:2], steps[0][2], "owner").status == 200


@attack("CVE-2024-35199", "open control plane", "TorchServe", "0.11.0", "gRPC listened on all addresses, whatever was configured")
def what_listens_beyond_this_machine(site):
    """All that the server and its processes listen to over TCP is one port of 127.0.0.1."""
    inodes = set()
    processes = [int(site.platform.process.pid)] + [int(path.name) for path in Path("/proc").glob("[0-9]*") if of_this_data(path, site)]
    for pid in processes:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = str(descriptor.readlink())
            except OSError:
                continue
            if name.startswith("socket:["):
                inodes.add(name[8:-1])
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.add(fields[1])
    assert listening == {f"0100007F:{site.port:04X}"}, listening


def of_this_data(process, site):
    try:
        return str(site.platform.data).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


@attack("CVE-2025-59425", "timing", "vLLM", "0.11.0", "the comparison of keys took longer the more of it was right")
def guessing_a_token_letter_by_letter(site):
    """A token is looked up by its SHA-256: that of one which is nearly right is as far from it as any other, and takes as long."""
    right = site.tokens["owner"]
    body, digits = right[:34], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

    def checked(text):
        rest, checksum = zlib.crc32(text.encode()), ""
        for _ in range(6):
            rest, digit = divmod(rest, 62)
            checksum = digits[digit] + checksum
        return text + checksum

    assert checked(body) == right
    near, far = checked(body[:-1] + ("a" if body[-1] != "a" else "b")), checked(body[:4] + "q" * 30)
    took = {near: [], far: []}
    for _ in range(200):
        for text in took:
            begin = time.perf_counter()
            answer = site.ask("GET", "/v1/whoami", Authorization=f"Bearer {text}")
            took[text].append(time.perf_counter() - begin)
            refused(answer, 401)
            assert json.loads(answer.body)["error"] == "the token is not one of this server's"
    medians = [statistics.median(times) for times in took.values()]
    spread = statistics.quantiles(took[far], n=4)
    assert abs(medians[0] - medians[1]) < max(spread[2] - spread[0], 0.001), medians


@attack("CVE-2026-27893", "opt-out ignored", "vLLM", "0.18.0", "code of strangers ran although the operator had forbidden it", writes=True)
def a_way_around_what_was_switched_off(site):
    """Once predictions need a token, no path to a model answers without one, in either protocol, also if it says it is a browser or local."""
    site.platform.run("auth", "require")
    try:
        paths = [("POST", "/v1/models/fraud/churn/predict"), ("POST", "/v1/models/fraud%2Fchurn%40production%40v1/predict"),
                 ("POST", "/v2/models/fraud%2Fchurn/infer"), ("POST", "/v2/models/fraud%2Fchurn/infer/"), ("POST", "/v2/models/fraud%2Fchurn/versions/1/infer"),
                 ("GET", "/v2/models/fraud%2Fchurn"), ("GET", "/v2/models/fraud%2Fchurn/ready")]
        for method, path in paths:
            for headers in ({}, {"Decalog_Actor": "local"}, {"X_Forwarded_For": "127.0.0.1"}, {"Decalog_Cookie": "0" * 64}):
                refused(site.ask(method, path, b'{"age": 4}' if method == "POST" else None, **headers), 401)
        assert site.ask("POST", paths[0][1], b'{"age": 4}', "shop").status == 200
    finally:
        site.platform.run("auth", "open")


