"""Who may do what: every route by every kind of caller, tokens, roles, and what the ledger says of it."""

import base64
import json
import re
import subprocess
import threading
import time
import zlib

import pytest

from conftest import BINARY, ROW, wait_for, write_model

# What each action needs, written down a second time: the roles from the least to the most, and the scope of a token.
ROLES = ["viewer", "operator", "deployer", "owner"]
NEEDS = {
    "read": ("viewer", "read"),
    "rollback": ("operator", "operate"),
    "steer": ("operator", "operate"),
    "push": ("deployer", "deploy"),
    "release": ("deployer", "deploy"),
    "configure": ("deployer", "deploy"),
    "secret": ("deployer", "secrets"),
    "remove": ("deployer", "deploy"),
    "audit": ("owner", "audit"),
    "administer": ("owner", "admin"),
}
ALL_SCOPES = ["predict", "read", "operate", "deploy", "secrets", "audit", "admin"]
DIGEST = "0" * 64
MODEL = "/v1/projects/fraud/models/churn"
ENVIRONMENT = "/v1/projects/fraud/environments/production"


class Route:
    """One route of the document: how it is called so that nothing changes, and what whoever may call it gets."""

    def __init__(self, operation, path, status=200, code=None, body=None, action=None, place="model", first=None):
        self.operation, self.path, self.body = operation, path, body
        self.answer, self.place = (status, code), place
        #: One of these is enough.
        self.actions = action.split() if action else []
        #: What is looked at before the body is read, if that is less.
        self.first = first or action


ROUTES = [
    Route("platform_healthz", "/healthz", place="everybody"),
    Route("platform_readyz", "/readyz", place="everybody"),
    Route("platform_metrics", "/metrics", place="everybody"),
    Route("platform_openapi", "/openapi.json", place="everybody"),
    Route("platform_server", "/v1/server", place="everybody"),
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
    Route("models_logs", f"{MODEL}/logs", action="read"),
    Route("blobs_missing", "/v1/blobs/missing", body={"blobs": []}, action="push", place="some project"),
    Route("blobs_upload", f"/v1/blobs/{DIGEST}?size=1&offset=1", 409, "wrong_offset", b"x", "push", "some project"),
    Route("events_read", "/v1/events", action="read", place="some project"),
    Route("variables_list", f"{ENVIRONMENT}/variables", action="read"),
    Route("variables_set", f"{ENVIRONMENT}/variables/1BAD", 422, "bad_variable", {"value": "x"}, "configure"),
    Route("variables_remove", f"{ENVIRONMENT}/variables/NONE", 404, "no_such_variable", action="configure"),
    Route("platform_collect", "/v1/gc", action="administer", place="platform"),
    Route("platform_backup", "/v1/backup", action="administer", place="platform"),
    Route("platform_verify", "/v1/ledger/verify", action="audit", place="platform"),
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
    platform = Platform(home / "data").start()
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
        if scope in [NEEDS[action][1] for action in route.actions]:
            return route.answer
        # A token for predictions shows no more than what may be asked.
        hides = scope == "predict:other/churn" or scope == "predict:fraud/churn" and "nothing" in route.path
        is_hidden = hides and route.place not in ("some project", "platform")
        return not_found if is_hidden else (403, "forbidden")
    role, place = name.split(" of ", 1)
    needed = min((NEEDS[action][0] for action in route.actions), key=ROLES.index)
    is_read = route.actions == ["read"]
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
        answer = platform.request_over_tcp(method, route.path, route.body, headers)
        code = answer.json().get("code") if answer.status >= 400 else None
        status, wanted = expected(route, name)
        if answer.status != status or (wanted and code != wanted):
            wrong.append(f"{name}: {answer.status} {code}, not {status} {wanted}")
    assert not wrong, "\n".join(wrong)
