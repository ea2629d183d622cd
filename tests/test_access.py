"""Who may do what: every route by every kind of caller, tokens, roles, and what the ledger says of it."""

import base64
import re
import subprocess
import threading
import time
import zlib

import pytest

from conftest import ALL_SCOPES, ROW, stored_files, wait_for, write_model

# What each action needs, written down a second time: the roles from the least to the most, and the scope of a token.
ROLES = ["viewer", "operator", "deployer", "owner"]
NEEDS = {
    "predict": ("viewer", "predict"),
    "feedback": ("viewer", "predict"),
    "read": ("viewer", "read"),
    "rollback": ("operator", "operate"),
    "steer": ("operator", "operate"),
    "push": ("deployer", "deploy"),
    "release": ("deployer", "deploy"),
    "configure": ("deployer", "deploy"),
    "secret": ("deployer", "secrets"),
    "remove": ("deployer", "deploy"),
    "records": ("deployer", "records"),
    "audit": ("owner", "audit"),
    "administer": ("owner", "admin"),
    "protect": ("owner", "admin"),
    "expel": ("owner", "admin"),
}
DIGEST = "0" * 64
MODEL = "/v1/projects/fraud/models/churn"
ENVIRONMENT = "/v1/projects/fraud/environments/production"


class Route:
    """One route of the document: how it is called so that nothing changes, and what whoever may call it gets."""

    def __init__(self, operation, path, status=200, code=None, body=None, action=None, place="model", first=None, also=None):
        self.operation, self.path, self.body = operation, path, body
        self.answer, self.place = (status, code), place
        #: One of these is enough.
        self.actions = action.split() if action else []
        #: What is looked at before the body is read, if that is less.
        self.first = first or action
        #: What is needed beside it: a token for one thing only is for too little.
        self.also = also


ROUTES = [
    Route("platform_healthz", "/healthz", place="everybody"),
    Route("platform_readyz", "/readyz", place="everybody"),
    Route("platform_metrics", "/metrics", place="everybody"),
    Route("platform_openapi", "/openapi.json", place="everybody"),
    Route("platform_server", "/v1/server", place="everybody"),
    Route("dashboard_home", "/", place="everybody"),
    Route("login_account", "/login", place="everybody"),
    Route("login_start", "/login/start", 404, "no_such_path", place="everybody"),
    Route("login_callback", "/login/callback", 400, place="everybody"),
    Route("login_link", "/login/link?key=x", 400, place="everybody"),
    Route("login_open_link", "/login/link", 403, None, b"key=x", place="everybody"),
    Route("login_decide", "/login/device", 400, None, b"code=x&answer=deny", place="somebody"),
    Route("login_log_out", "/logout", 200, None, b"", place="somebody"),
    Route("login_begin_device", "/v1/login/devices", 200, None, {}, place="everybody"),
    Route("login_poll_device", "/v1/login/devices/poll", 400, "login_over", {"device_code": "x"}, place="everybody"),
    Route("login_make_link", "/v1/login/links", 200, None, {}, place="somebody"),
    Route("login_exchange", "/v1/login/exchange", 400, "bad_request", b"grant_type=x&subject_token=x&subject_token_type=x", place="everybody"),
    Route("login_end", "/v1/login", place="somebody"),
    Route("platform_status", "/v1/status", action="read", place="some project"),
    Route("models_list", "/v1/models", action="read", place="some project"),
    Route("models_show", MODEL, action="read"),
    Route("models_remove", "/v1/projects/fraud/models/nothing", 404, "no_such_model", action="remove", place="project"),
    Route("models_push", f"{MODEL}/versions", 422, "bad_manifest", {"tree": [], "runtime": "python", "file": "no.py"}, "push", "any environment"),
    Route("models_deploy", f"{MODEL}/deployments", 404, "no_such_version", {"version": "v99"}, "release", first="rollback"),
    Route("models_remove_version", f"{MODEL}/versions/v99", 404, "no_such_version", action="remove", place="project"),
    Route("releases_status", f"{MODEL}/release", action="read"),
    Route("releases_act", f"{MODEL}/release/pause", 409, "no_release", {}, "steer"),
    Route("releases_promote", f"{MODEL}/promotions", 404, "not_live", {"from": "nowhere", "to": "production"}, "rollback release"),
    Route("releases_rollback", f"{MODEL}/rollbacks", 409, "nothing_before", {}, "rollback"),
    Route("lineage_show", f"{MODEL}/lineage", action="read"),
    Route("truth_of_request", f"{MODEL}/truth?id=019ab1c2-3d4e-7000-8000-000000000001", action="records", place="any environment"),
    Route("records_list", f"{MODEL}/records", action="records", place="any environment"),
    Route("records_sql", "/v1/sql", 200, None, {"sql": "select 1"}, "records", "some project"),
    Route("replays_run", f"{MODEL}/replay", 200, None, {"ids": ["0199a3f2-0000-7000-8000-000000000000"]}, "records", also="read predict"),
    Route("replays_test", f"{MODEL}/test", 404, "no_such_version", {"version": "v99"}, "predict", also="read"),
    Route("sandbox_test", f"{MODEL}/sandbox", 404, "no_such_version", {"version": "v99"}, "steer"),
    Route("replays_evaluate", f"{MODEL}/evaluate", 404, "no_such_version", {"version": "v99", "rows": [{"age": 1}]}, "predict", also="read"),
    Route("replays_compare", f"{MODEL}/compare", 404, "no_such_version", {"before": "v99", "after": "v98", "last": 1}, "records", also="read predict"),
    Route("changes_between", f"{MODEL}/changes?from=v99&to=v99", 404, "no_such_version", action="read"),
    Route("models_logs", f"{MODEL}/logs", action="read"),
    Route("drift_status", f"{MODEL}/drift", 404, "nothing_watched", action="read"),
    Route("why_explained", f"{MODEL}/why", action="records"),
    Route("metrics_read", f"{MODEL}/metrics", action="read"),
    Route("reference_show", f"{MODEL}/reference", 404, "no_reference", action="read"),
    Route("feedback_take", f"{MODEL}/feedback", 422, "bad_feedback", {"truth": 1}, "feedback"),
    Route("feedback_quality", f"{MODEL}/quality", action="read"),
    Route("blobs_missing", "/v1/blobs/missing", body={"blobs": []}, action="push", place="some project"),
    Route("blobs_upload", f"/v1/blobs/{DIGEST}?size=1&offset=1", 409, "wrong_offset", b"x", "push", "some project"),
    Route("events_read", "/v1/events", action="read", place="some project"),
    Route("live_follow", "/v1/live?once=true", action="read", place="some project"),
    Route("variables_list", f"{ENVIRONMENT}/variables", action="read"),
    Route("variables_set", f"{ENVIRONMENT}/variables/1BAD", 422, "bad_variable", {"value": "x"}, "configure"),
    Route("variables_remove", f"{ENVIRONMENT}/variables/NONE", 404, "no_such_variable", action="configure"),
    Route("platform_collect", "/v1/gc", action="administer", place="platform"),
    Route("platform_backup", "/v1/backup", action="administer", place="platform"),
    Route("platform_verify", "/v1/ledger/verify", action="audit", place="platform"),
    Route("audit_checkpoint", "/v1/audit/checkpoint", action="audit", place="platform"),
    Route("audit_checkpoints", "/v1/audit/checkpoints", action="audit", place="platform"),
    Route("audit_proof", "/v1/audit/proof/1", action="audit", place="platform"),
    Route("audit_consistency", "/v1/audit/consistency?from=1&to=1", action="audit", place="platform"),
    Route("audit_key", "/v1/audit/key", action="audit", place="platform"),
    Route("audit_export", "/v1/audit/export", action="audit", place="platform"),
    Route("alarms_list", "/v1/alarms", action="read", place="some project"),
    Route("alarms_changes", "/v1/alarms/changes", action="read", place="some project"),
    Route("alarms_silences", "/v1/silences", action="read", place="some project"),
    Route("alarms_silence", "/v1/silences", 422, "bad_silence", {"for_ms": 0}, "steer", "some project"),
    Route("alarms_unsilence", "/v1/silences", 404, "no_such_alarm", action="steer", place="some project"),
    Route("alarms_slo", f"{MODEL}/slo", action="read"),
    Route("receivers_list", "/v1/alert-receivers", action="administer", place="platform"),
    Route("receivers_set", "/v1/alert-receivers/ops", 422, "bad_receiver", {"url": "x"}, "administer", "platform"),
    Route("receivers_remove", "/v1/alert-receivers/ops", 404, "no_such_receiver", action="administer", place="platform"),
    Route("receivers_test", "/v1/alert-receivers/ops/tests", 404, "no_such_receiver", {}, "administer", "platform"),
    Route("keys_list", "/v1/keys", action="administer", place="platform"),
    Route("keys_rotation", "/v1/keys/rotation", action="administer", place="platform"),
    Route("keys_rotate", "/v1/keys/rotation", action="administer", place="platform", body={}),
    Route("erasures_erase", "/v1/records?key=customer%3D1&project=fraud", action="administer", place="project"),
    Route("proposals_list", "/v1/proposals", place="somebody"),
    Route("proposals_show", "/v1/proposals/1", 404, "no_such_proposal", place="somebody"),
    Route("proposals_approve", "/v1/proposals/1/approvals", 404, "no_such_proposal", {}, place="somebody"),
    Route("proposals_reject", "/v1/proposals/1/rejections", 404, "no_such_proposal", {}, place="somebody"),
    Route("proposals_protect", f"{ENVIRONMENT}/protection", 400, "bad_request", {}, "protect"),
    Route("trust_list", "/v1/projects/fraud/trusted-keys", action="read", place="any environment"),
    Route("trust_add", "/v1/projects/fraud/trusted-keys", 422, "bad_key", {"pem": "x", "name": "x"}, "protect", "project"),
    Route("trust_remove", f"/v1/projects/fraud/trusted-keys/{DIGEST}", 404, "no_such_key", action="expel", place="project"),
    Route("members_who_am_i", "/v1/whoami", place="somebody"),
    Route("members_can", "/v1/can?action=read&object=*", place="somebody"),
    Route("members_list", "/v1/members", place="somebody"),
    Route("members_add", "/v1/members", 400, "bad_request", {"name": "x"}, place="somebody"),
    Route("members_remove", "/v1/members/nobody", 404, "no_such_member", place="somebody"),
    Route("members_erase", "/v1/people/nobody", 404, "no_such_member", action="administer", place="platform"),
    Route("tokens_list", "/v1/tokens", place="somebody"),
    Route("tokens_create", "/v1/tokens", 400, "bad_request", {}, place="somebody"),
    Route("tokens_rotate", "/v1/tokens/00000000/rotations", 404, "no_such_token", {}, place="somebody"),
    Route("tokens_revoke", "/v1/tokens/00000000", 404, "no_such_token", place="somebody"),
    Route("tokens_require", "/v1/access/tokens", 400, "bad_request", {}, "administer", "platform"),
]


def post(platform, path, body, token=None):
    """As the local owner, or with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return platform.request("POST", path, body, headers)


def member(platform, name, role, place="*", kind=None):
    answer = post(platform, "/v1/members", {"name": name, "role": role, "in": place, "kind": kind})
    assert answer.status == 200, answer.body


def token(platform, owner, scopes, **more):
    """The text and the id of a new token."""
    answer = post(platform, "/v1/tokens", {"owner": owner, "scopes": scopes, **more})
    assert answer.status == 200, answer.body
    return answer.json()["secret"], answer.json()["id"]


def with_checksum(text):
    """The CRC-32 of it in base 62 behind it, as tokens have."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    rest, checksum = zlib.crc32(text.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        checksum = digits[digit] + checksum
    return text + checksum


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """A platform with two projects and everybody who could call it; nothing of it is changed by the tests."""
    from conftest import Platform

    home = tmp_path_factory.mktemp("company")
    platform = Platform(home / "data", ("--records-per-s", "100")).start()
    model = write_model(home / "churn", {"model.py": ROW})
    for project in ("fraud", "other"):
        platform.run("deploy", model, "--project", project)
    callers = {"nobody": None}
    for role in ROLES:
        for name, place in (
            (f"{role} of all", "*"),
            (f"{role} of the project", "fraud"),
            (f"{role} of production", "fraud@production"),
            (f"{role} of staging", "fraud@staging"),
            (f"{role} of another project", "other"),
        ):
            member(platform, name, role, place)
            callers[name] = token(platform, name, ALL_SCOPES)[0]
    member(platform, "somebody", "owner", "*")
    for scope in ALL_SCOPES + ["predict:fraud/churn", "predict:other/churn"]:
        callers[f"only {scope}"] = token(platform, "somebody", [scope])[0]
    callers["revoked"], revoked = token(platform, "somebody", ALL_SCOPES)
    assert platform.request("DELETE", f"/v1/tokens/{revoked}").status == 200
    callers["expired"] = token(platform, "somebody", ALL_SCOPES, valid_ms=1)[0]
    member(platform, "gone", "owner", "*")
    callers["of somebody who is gone"] = token(platform, "gone", ALL_SCOPES)[0]
    assert platform.request("DELETE", "/v1/members/gone").status == 200
    callers["mistyped"] = callers["owner of all"][:-1] + ("a" if callers["owner of all"][-1] != "a" else "b")
    callers["unknown"] = with_checksum("dcs_" + "A" * 30)
    yield platform, callers
    platform.stop()


def expected(route, name):
    """What a caller gets, by the rules and not by the code: the status, and the problem's code where it is told."""
    if name == "mistyped" or name in ("unknown", "revoked", "expired", "of somebody who is gone"):
        return 401, "unauthenticated"
    if route.place == "everybody":
        return route.answer
    if name == "nobody":
        return 401, "unauthenticated"
    if route.place == "somebody":
        return route.answer
    not_found = {"some project": (403, "forbidden"), "platform": (403, "forbidden")}.get(route.place, (404, None))
    if name.startswith("only "):
        scope = name.removeprefix("only ")
        if scope in [NEEDS[action][1] for action in route.actions if not route.also] or scope == "predict:fraud/churn" and route.actions == ["feedback"]:
            return route.answer
        # A token for predictions shows no more than what may be asked.
        hides = scope == "predict:other/churn" or scope == "predict:fraud/churn" and "nothing" in route.path
        is_hidden = hides and route.place not in ("some project", "platform")
        return not_found if is_hidden else (403, "forbidden")
    role, place = name.split(" of ", 1)
    needed = min((NEEDS[action][0] for action in route.actions), key=ROLES.index)
    is_read = route.actions in (["read"], ["feedback"])
    sees = {
        "model": ("all", "the project", "production", "staging"),
        "project": ("all", "the project", "production", "staging"),
        "any environment": ("all", "the project", "production", "staging"),
        "some project": ("all", "the project", "production", "staging", "another project"),
        "platform": ("all",),
    }[route.place]
    if place not in sees:
        return not_found
    first = min((NEEDS[action][0] for action in route.first.split()), key=ROLES.index)
    if place == "staging" and route.path.startswith(ENVIRONMENT):
        # A role in one environment shows nothing of another.
        return not_found
    if ROLES.index(role) < ROLES.index(first):
        return 403, "forbidden"
    if place == "staging" and route.place == "model" and not is_read:
        return not_found
    if ROLES.index(role) < ROLES.index(needed):
        return 403, "forbidden"
    if route.place == "project" and place in ("production", "staging"):
        return 403, "forbidden"
    return route.answer


def methods(document):
    return {
        operation["operationId"]: method.upper()
        for path in document["paths"].values()
        for method, operation in path.items()
    }


def test_every_route_is_in_the_matrix(company):
    platform, _ = company
    known = {route.operation for route in ROUTES}
    assert set(methods(platform.get("/openapi.json").json())) == known


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_each_caller_gets_exactly_what_is_theirs(company, route):
    platform, callers = company
    method = methods(platform.get("/openapi.json").json())[route.operation]
    wrong = []
    for name, secret in callers.items():
        headers = {"Authorization": f"Bearer {secret}" if secret else ""}
        ask = lambda: platform.request_over_tcp(method, route.path, route.body, headers)
        answer = ask()
        if answer.status == 409 and route.operation == "keys_rotate":
            # The one of before may still be on its way.
            answer = wait_for(lambda: (again := ask()).status != 409 and again, "the end of a rotation")
        is_page = "html" in answer.headers.get("content-type", "")
        code = answer.json().get("code") if answer.status >= 400 and not is_page else None
        status, wanted = expected(route, name)
        if answer.status != status or (wanted and code != wanted):
            wrong.append(f"{name}: {answer.status} {code}, not {status} {wanted}")
    assert not wrong, "\n".join(wrong)


# ---- Tokens --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A platform with the models fraud/churn and other/churn, and a streaming one; each test makes its own tokens."""
    from conftest import Platform

    home = tmp_path_factory.mktemp("served")
    platform = Platform(home / "data").start()
    model = write_model(home / "churn", {"model.py": ROW})
    for project in ("fraud", "other"):
        platform.run("deploy", model, "--project", project)
    platform.run("deploy", model, "--project", "fraud", "--env", "staging")
    yield platform
    platform.stop()


def ask(platform, reference, secret=None, scheme="Bearer", body=None):
    headers = {"Authorization": f"{scheme} {secret}"} if secret else {}
    return platform.predict(reference, body or {"age": 4}, headers)


def test_a_token_may_ask_what_it_is_for_and_nothing_else_is_there(served):
    made = served.run("token", "create", "shop", "--predict", "fraud/churn", "--expires", "90d")
    secret = made.out.strip()
    assert re.fullmatch(r"dcs_[0-9A-Za-z]{36}", secret) and secret not in made.err
    assert ask(served, "fraud/churn", secret).json() == {"output": 2.0}
    hidden = ask(served, "other/churn", secret)
    missing = ask(served, "other/nothing", secret)
    assert (hidden.status, hidden.json()["code"]) == (404, "no_such_model")
    # The answer for what is there is the one for what is not.
    assert hidden.body.replace(b"churn", b"nothing") == missing.body
    for reference in ("fraud/churn@staging", "fraud/chur", "default/churn"):
        answer = ask(served, reference, secret)
        assert (answer.status, answer.json()["code"]) == (404, "no_such_model"), reference
        assert "fraud" not in answer.json().get("help", ""), "a name that is near is a name"
    for path in ("/v2/models/other%2Fchurn", "/v2/models/other%2Fchurn/ready"):
        assert served.request("GET", path, headers={"Authorization": f"Bearer {secret}"}).status == 404
    for path in ("/v1/models", "/v1/events", "/v1/status", "/v1/projects/fraud/models/churn"):
        assert served.request("GET", path, headers={"Authorization": f"Bearer {secret}"}).status == 403


def test_a_token_comes_in_by_every_scheme_that_clients_have(served):
    secret, _ = token(served, "schemes", ["predict:fraud/churn"])
    basic = lambda pair: base64.b64encode(pair.encode()).decode()
    for scheme, value in (
        ("Bearer", secret), ("bearer", secret), ("Token", secret),
        ("Basic", basic(f"anybody:{secret}")), ("Basic", basic(f"{secret}:")),
    ):
        assert ask(served, "fraud/churn", value, scheme).status == 200, scheme
    for scheme, value in (
        ("Bearer", secret[:-1]), ("Bearer", secret + "a"), ("Bearer", ""), ("Digest", secret), ("Basic", "?"),
        ("Basic", basic("anybody:wrong")), ("Bearer", secret.upper()), ("Bearer", "x" * 5000),
    ):
        answer = served.predict("fraud/churn", {"age": 4}, {"Authorization": f"{scheme} {value}"})
        assert answer.status == 401, (scheme, value)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert secret not in answer.body.decode()


def test_without_a_token_predictions_are_open_until_somebody_says_otherwise(served):
    assert ask(served, "fraud/churn").status == 200
    secret, _ = token(served, "auth", ["predict:fraud/churn"])
    served.run("auth", "require")
    try:
        wait_for(lambda: ask(served, "fraud/churn").status == 401, "that a token is needed", 2)
        assert served.request("GET", "/v2/models/fraud%2Fchurn").status == 401
        assert served.request("GET", "/v2/health/ready").status == 200
        assert ask(served, "fraud/churn", secret).status == 200
        # The owner of the machine needs none.
        assert served.run("predict", "fraud/churn", '{"age": 4}').json() == {"output": 2.0}
    finally:
        served.run("auth", "open")
    assert ask(served, "fraud/churn").status == 200


def test_the_header_of_before_names_nobody(served):
    served.request_over_tcp("POST", "/v1/members", {"name": "eve", "role": "owner"}, {"decalog-actor": "local"})
    assert "eve" not in served.run("member", "ls").out
    cookie = (served.data / "local.cookie").read_text().strip()
    answer = served.request_over_tcp("GET", "/v1/whoami", headers={"decalog-cookie": cookie})
    assert answer.status == 401, "the cookie is for the socket alone"


def test_a_rotated_token_is_valid_for_its_overlap_and_a_revoked_one_for_no_second(served):
    secret, id = token(served, "rotating", ["predict:fraud/churn"])
    rotated = served.run("token", "rotate", id, "--overlap", "2s").out.strip()
    began = time.monotonic()
    assert rotated != secret
    assert ask(served, "fraud/churn", secret).status == 200 and ask(served, "fraud/churn", rotated).status == 200
    wait_for(lambda: ask(served, "fraud/churn", secret).status == 401, "the end of the overlap", 10)
    assert time.monotonic() - began > 1.5
    served.run("token", "revoke", id)
    began = time.monotonic()
    wait_for(lambda: ask(served, "fraud/churn", rotated).status == 401, "the end of the token", 5)
    assert time.monotonic() - began < 1
    assert "revoked" in ask(served, "fraud/churn", rotated).json()["error"]


def test_limits_hold_and_say_when_to_go_on(served):
    secret, _ = token(served, "slow", ["predict:fraud/churn"], limits={"rate": "2/s", "burst": 2})
    answers = [ask(served, "fraud/churn", secret) for _ in range(4)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    refused = answers[-1]
    assert (refused.status, refused.json()["code"]) == (429, "token_limit")
    assert int(refused.headers["retry-after"]) >= 1
    wait_for(lambda: ask(served, "fraud/churn", secret).status == 200, "the rate", 5)
    rows, _ = token(served, "counted", ["predict:fraud/churn"], limits={"rows_day_max": 3})
    assert ask(served, "fraud/churn", rows, body={"rows": [{"age": 1}, {"age": 2}]}).status == 200
    over = ask(served, "fraud/churn", rows, body={"rows": [{"age": 1}, {"age": 2}]})
    assert over.status == 429 and int(over.headers["retry-after"]) > 1
    assert ask(served, "fraud/churn", rows).status == 200
    # Others are not slowed down.
    assert ask(served, "fraud/churn").status == 200


def test_what_goes_on_ends_with_the_token(served, tmp_path):
    stream = write_model(tmp_path / "ticks", {"model.py": STREAM})
    served.run("deploy", stream, "--project", "fraud")
    secret, id = token(served, "listener", ["predict:fraud/ticks"])
    curl = subprocess.Popen(
        ["curl", "-sN", f"{served.url}/v1/models/fraud/ticks/predict", "-d", '{"count": 600}', "-H", f"Authorization: Bearer {secret}"],
        stdout=subprocess.PIPE,
    )
    assert curl.stdout.readline().startswith(b"data:")
    served.run("token", "revoke", id)
    began = time.monotonic()
    threading.Thread(target=curl.stdout.read, daemon=True).start()
    assert curl.wait(10) != 0, "a stream that was cut is not a whole one"
    assert time.monotonic() - began < 2


STREAM = '''
import time
from typing import Iterator

def predict(count: int) -> Iterator[str]:
    for number in range(count):
        yield str(number)
        time.sleep(0.1)
'''


def test_roles_count_as_they_are_now(served):
    member(served, "rita", "viewer", "fraud")
    secret, _ = token(served, "rita", ALL_SCOPES)
    show = lambda: served.request_over_tcp("GET", MODEL, headers={"Authorization": f"Bearer {secret}"}).status
    pause = lambda: served.request_over_tcp("POST", f"{MODEL}/release/pause", {}, {"Authorization": f"Bearer {secret}"})
    assert show() == 200 and pause().status == 403
    help = pause().json()
    assert "rita" not in help["error"] and "viewer" in help["error"] and "operator" in help["error"]
    served.run("member", "add", "rita", "--role", "operator", "--project", "fraud")
    assert pause().json()["code"] == "no_release"
    served.run("member", "rm", "rita", "--project", "fraud")
    assert show() == 404
    served.run("member", "rm", "rita")
    assert show() == 401


def test_lists_and_events_show_no_more_than_a_role_does(served):
    member(served, "oscar", "viewer", "other")
    secret, _ = token(served, "oscar", ALL_SCOPES)
    get = lambda path: served.request_over_tcp("GET", path, headers={"Authorization": f"Bearer {secret}"}).json()
    assert [row["project"] for row in get("/v1/models")["models"]] == ["other"]
    subjects = {event["subject"] for event in get("/v1/events")["events"]}
    assert subjects == {"other/churn"}
    assert get("/v1/events?model=fraud/churn")["events"] == []
    status = get("/v1/status")
    assert (status["data"], status["models"], status["route_epoch"]) == (None, 1, None)
    assert (status["ledger"]["entries"], status["ledger"]["head"]) == (None, None)
    of_all = served.get("/v1/status").json()
    assert of_all["models"] > 1 and of_all["replicas"] > status["replicas"] and of_all["ledger"]["entries"] > 0
    assert [member["name"] for member in get("/v1/members")["members"]] == ["oscar"]


def test_nobody_gives_more_than_they_have(served):
    member(served, "dora", "deployer", "fraud")
    member(served, "owen", "owner", "fraud")
    dora, _ = token(served, "dora", ALL_SCOPES)
    narrow, _ = token(served, "owen", ["admin", "read"])
    owen, _ = token(served, "owen", ALL_SCOPES)
    # A deployer lets programs ask, and look; only owners give more.
    assert post(served, "/v1/tokens", {"owner": "web", "scopes": ["predict:fraud/churn"]}, dora).status == 200
    assert post(served, "/v1/tokens", {"owner": "other web", "scopes": ["predict:other/churn"]}, dora).status == 404
    assert post(served, "/v1/members", {"name": "dora", "role": "owner", "in": "fraud"}, dora).status == 403
    assert post(served, "/v1/members", {"name": "fay", "role": "owner", "in": "*"}, owen).status == 403
    assert post(served, "/v1/members", {"name": "fay", "role": "owner", "in": "other"}, owen).status == 404
    assert post(served, "/v1/members", {"name": "fay", "role": "viewer", "in": "fraud"}, owen).status == 200
    # Of a person who has more than the caller decides about, no tokens.
    for owner in ("owen", "somebody else"):
        assert post(served, "/v1/tokens", {"owner": owner, "scopes": ["read"]}, dora).status in (403, 404)
    member(served, "boss", "owner", "*")
    assert post(served, "/v1/tokens", {"owner": "boss", "scopes": ["read"]}, owen).status == 403
    # With a token, no token of more scopes.
    assert post(served, "/v1/tokens", {"scopes": ["deploy"]}, narrow).status == 403
    assert post(served, "/v1/tokens", {"scopes": ["read"]}, narrow).status == 200
    # Nobody was added on the way.
    assert not {"other web", "somebody else"} & {row["name"] for row in served.run("member", "ls", "--json").json()["members"]}


def test_can_says_yes_or_no_and_why(served):
    member(served, "cora", "deployer", "fraud@staging")
    yes = served.run("can", "cora", "release", "fraud/churn@staging")
    assert yes.out.strip() == "yes: cora is deployer of fraud@staging"
    no = served.run("can", "cora", "release", "fraud/churn", ok=False)
    assert no.code == 1 and no.out.startswith("no: ") and "deployer" in no.out
    assert served.run("can", "administer", "*").out.startswith("yes: ")
    assert served.run("can", "nobody at all", "read", "*", ok=False).code == 1
    secret, _ = token(served, "cora", ALL_SCOPES)
    mine = served.run("can", "release", "fraud/churn@staging", env={"DECALOG_TOKEN": secret})
    assert mine.out.strip() == "yes: you are deployer of fraud@staging"
    hidden = served.run("can", "read", "other/churn", env={"DECALOG_TOKEN": secret}, ok=False)
    assert "other" in hidden.out and "role" not in hidden.out, "why is only for who may see it"


def test_the_ledger_holds_numbers_and_a_name_can_be_erased(served):
    name = "Annabel Quaint-Lee"
    member(served, name, "deployer", "fraud")
    secret, _ = token(served, name, ALL_SCOPES)
    set = {"value": "1"}
    headers = {"Authorization": f"Bearer {secret}"}
    assert served.request_over_tcp("PUT", f"{ENVIRONMENT}/variables/BY_ANN", set, headers).status == 200
    events = lambda: [event for event in served.run("events", "fraud/churn", "--json").json()["events"] if event["kind"] == "variable_set"]
    assert events()[-1]["actor"] == name and events()[-1]["principal"].startswith("person:")
    hash = events()[-1]["hash"]
    text = name.encode()
    ledger = lambda: b"".join(path.read_bytes() for path in served.data.glob("ledger*"))
    assert text not in ledger()
    erased = served.run("erase", "person", name)
    person = events()[-1]["principal"]
    assert events()[-1]["actor"] == person.replace(":", " ") and events()[-1]["hash"] == hash
    assert person in erased.err
    everything = b"".join(content for _, content in stored_files(served.data))
    assert text not in everything
    assert served.run("ledger", "verify").code == 0
    assert served.request_over_tcp("GET", MODEL, headers=headers).status == 401


def test_tokens_outlive_the_process_and_are_kept_as_digests(served, tmp_path):
    from conftest import Platform

    platform = Platform(tmp_path / "data").start()
    try:
        platform.run("deploy", write_model(tmp_path / "m", {"model.py": ROW}))
        secret, id = token(platform, "shop", ["predict:default/m"])
        revoked, revoked_id = token(platform, "shop", ["predict:default/m"])
        platform.run("token", "revoke", revoked_id)
        kept = b"".join(content for _, content in stored_files(platform.data))
        assert secret.encode() not in kept and secret[4:34].encode() not in kept
        platform.kill()
        platform.start()
        wait_for(lambda: ask(platform, "m", secret).status == 200, "the model")
        assert ask(platform, "m", revoked).status == 401
        platform.takeover()
        assert ask(platform, "m", secret).status == 200
        assert ask(platform, "m", revoked).status == 401
        platform.run("token", "revoke", id)
        wait_for(lambda: ask(platform, "m", secret).status == 401, "the end of the token", 2)
    finally:
        platform.stop()


def test_a_restored_backup_revives_no_token(served, tmp_path):
    from conftest import Platform

    secret, id = token(served, "restored", ["predict:fraud/churn"])
    later, later_id = token(served, "restored", ["predict:fraud/churn"])
    served.run("backup", tmp_path / "b.tar")
    served.run("token", "revoke", later_id)
    for arguments, status in (([], 401), (["--keep-tokens"], 200)):
        restored = Platform(tmp_path / f"restored{status}" / "data")
        restored.data.parent.mkdir()
        told = served.run("restore", tmp_path / "b.tar", "--data", restored.data, *arguments).err
        assert ("tokens are revoked" in told) == (status == 401)
        restored.start()
        try:
            wait_for(lambda: ask(restored, "fraud/churn").status == 200, "the model")
            assert ask(restored, "fraud/churn", secret).status == status
            # The one that was revoked since is the reason.
            assert ask(restored, "fraud/churn", later).status == status
            names = {row["name"] for row in restored.run("member", "ls", "--json").json()["members"]}
            assert "restored" in names, "names are in the backup"
        finally:
            restored.stop()


# ---- What a second look found --------------------------------------------------------------------


def test_a_name_that_a_program_took_is_not_taken_for_a_person(served):
    member(served, "dan", "deployer", "fraud")
    dan, _ = token(served, "dan", ALL_SCOPES)
    assert post(served, "/v1/tokens", {"owner": "carla", "scopes": ["predict:fraud/churn"]}, dan).status == 200
    refused = served.run("member", "add", "carla", "--role", "owner", "--project", "fraud", ok=False)
    assert refused.code == 1 and "service" in refused.err, refused
    # Whoever lets programs look and ask makes no token that can do more once the program may.
    assert post(served, "/v1/tokens", {"owner": "carla", "scopes": ["admin"]}, dan).status == 403
    # Nor does he take a role from a program.
    member(served, "robot", "owner", "fraud", "service")
    lower = {"name": "robot", "kind": "service", "role": "viewer", "in": "fraud"}
    assert post(served, "/v1/members", lower, dan).status == 403


def test_a_request_that_is_on_its_way_when_its_token_ends_makes_nothing(served):
    import http.client

    member(served, "sluggish", "owner", "fraud")
    secret, id = token(served, "sluggish", ALL_SCOPES)
    body = b'{"scopes": ["admin"]}'
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/v1/tokens")
    connection.putheader("Authorization", f"Bearer {secret}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:5])
    served.run("token", "revoke", id)
    connection.send(body[5:])
    answer = connection.getresponse()
    assert answer.status == 401, answer.read()


def test_a_token_made_with_one_that_ends_ends_with_it(served):
    member(served, "brief", "owner", "fraud")
    secret, _ = token(served, "brief", ALL_SCOPES, valid_ms=60_000)
    made = post(served, "/v1/tokens", {"scopes": ["read"]}, secret).json()
    assert made["expires_ms"] is not None and made["expires_ms"] <= time.time() * 1000 + 60_000
    assert served.run("token", "create", "--scope", "read", ok=False).code == 1, "the local owner needs none"


def test_a_role_in_one_environment_shows_no_variables_of_another(served):
    member(served, "sten", "viewer", "fraud@staging")
    secret, _ = token(served, "sten", ALL_SCOPES)
    served.run("env", "set", "PW=prodvalue", "--project", "fraud")
    answer = served.request_over_tcp("GET", "/v1/events?model=fraud/churn", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["events"] and b"prodvalue" not in answer.body
    served.run("env", "unset", "PW", "--project", "fraud")


def test_who_decides_nothing_about_somebody_learns_nothing(served):
    member(served, "hidden person", "owner", "fraud")
    member(served, "zed", "viewer", "other")
    zed, _ = token(served, "zed", ALL_SCOPES)
    told = []
    for name in ("hidden%20person", "nobody%20at%20all"):
        for method, path in (
            ("DELETE", f"/v1/members/{name}"), ("DELETE", f"/v1/members/{name}?in=fraud"),
            ("GET", f"/v1/can?who={name}&action=read&object=fraud%2F*"),
        ):
            answer = served.request_over_tcp(method, path, headers={"Authorization": f"Bearer {zed}"})
            told.append((answer.status, answer.json()["code"], answer.json()["error"].replace(name.replace("%20", " "), "X")))
    assert told[:3] == told[3:] and {code for _, code, _ in told} == {"no_such_member"}


def test_what_was_passed_on_is_not_of_this_machine(served):
    for header in ({"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 nginx"}, {"Forwarded": "for=203.0.113.9"}):
        assert served.request_over_tcp("GET", "/metrics", headers=header).status == 401
        assert served.predict("fraud/churn", {"age": 4}, header).status == 401 or "authorization" in header
        assert served.request_over_tcp("GET", "/v1/server", headers=header).json()["data"] is None
