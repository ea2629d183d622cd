"""Who may do what, at its corners: names that look alike, rights that end while something runs, what a token inherits."""

import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import ALL_SCOPES, ROW, Platform, write_model
from test_access import member, post, token

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A platform without models; each test has its own people."""
    platform = Platform(tmp_path_factory.mktemp("house") / "data").start()
    yield platform
    platform.stop()


# ---- Names ---------------------------------------------------------------------------------------


def test_nobody_gets_a_name_that_reads_like_another(house):
    member(house, "Ann Weiß", "viewer")
    for alike in ("ann weiß", "ANN WEISS", "\uff21nn Weiß"):
        refused = post(house, "/v1/members", {"name": alike, "role": "owner"})
        assert (refused.status, refused.json()["code"]) == (409, "conflict"), refused.body
        assert "Ann Weiß" in refused.json()["error"]
        made = post(house, "/v1/tokens", {"owner": alike, "scopes": ["predict:fraud/churn"]})
        assert made.status == 409, made.body
    for strange in ("Local", "\u0430nn"):
        assert post(house, "/v1/members", {"name": strange, "role": "viewer"}).status == 400, strange
    # Whoever is gone stands in nobody's way.
    house.run("member", "rm", "Ann Weiß")
    member(house, "ann weiss", "viewer")


def test_a_group_called_like_somebody_is_not_taken_for_them(house):
    member(house, "ops", "operator", kind="group")
    member(house, "ops", "viewer", kind="service")
    refused = house.run("member", "rm", "ops", ok=False)
    assert refused.code == 1 and "--group" in refused.err, refused
    house.run("member", "rm", "ops", "--group")
    kinds = lambda: [one["kind"] for one in house.run("member", "ls", "--json").json()["members"] if one["name"] == "ops"]
    assert kinds() == ["service"]
    assert house.run("member", "rm", "ops", "--person", ok=False).code == 1
    house.run("member", "rm", "ops")
    assert kinds() == []


def test_of_those_who_add_one_name_at_once_one_wins_and_nobody_is_without_a_name(house):
    names = [f"race {number}" for number in range(16)]
    answers = {name: [] for name in names}

    def add(turn):
        for name in names:
            if turn % 2:
                answer = post(house, "/v1/tokens", {"owner": name, "scopes": ["predict:fraud/churn"]})
            else:
                answer = post(house, "/v1/members", {"name": name, "role": "viewer", "in": "fraud", "kind": "service"})
            answers[name].append((answer.status, answer.json().get("code")))

    threads = [threading.Thread(target=add, args=(turn,)) for turn in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for name, got in answers.items():
        assert (200, None) in got and set(got) <= {(200, None), (409, "conflict")}, (name, got)
    known = {one["principal"] for one in house.run("member", "ls", "--json").json()["members"] if one["principal"]}
    with sqlite3.connect(f"file:{house.data}/names.sqlite?mode=ro", uri=True) as table:
        called = dict(table.execute("SELECT principal, name FROM names"))
    assert known <= set(called), "somebody is without a name"
    raced = [principal for principal, name in called.items() if name.startswith("race ")]
    assert len(raced) == len(names) and set(raced) <= known, "a name is nobody's"


# ---- Rights that end while something runs --------------------------------------------------------


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    """A platform with a model that yields for a minute."""
    home = tmp_path_factory.mktemp("streaming")
    platform = Platform(home / "data").start()
    platform.run("deploy", write_model(home / "ticks", {"model.py": STREAM}), "--project", "fraud")
    yield platform
    platform.stop()


def begun(platform, path, secret=None, body=None):
    """An answer that has begun and goes on."""
    curl = ["curl", "-sN", platform.url + path]
    curl += ["-d", body] if body else []
    curl += ["-H", f"Authorization: Bearer {secret}"] if secret else []
    following = subprocess.Popen(curl, stdout=subprocess.PIPE)
    assert following.stdout.readline(), "it has not begun"
    threading.Thread(target=following.stdout.read, daemon=True).start()
    return following


def assert_cut(following):
    """It ends within a second and is not taken for a whole answer."""
    began = time.monotonic()
    assert following.wait(10) != 0
    assert time.monotonic() - began < 1.5, "a second, and something for a busy machine"


PREDICT = "/v1/models/fraud/ticks/predict"
ENDS = {
    "a role taken away": lambda platform, name: platform.run("member", "rm", name, "--project", "fraud"),
    "somebody removed": lambda platform, name: platform.run("member", "rm", name),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("what", ["a prediction", "events", "events of a model"])
def test_what_runs_ends_with_the_role(streaming, end, what):
    name = f"{what} {end}"
    member(streaming, name, "viewer", "fraud")
    if what == "events of a model":
        # Another role does not keep it alive.
        member(streaming, name, "viewer", "other")
    secret, _ = token(streaming, name, ALL_SCOPES)
    path, body = {
        "a prediction": (PREDICT, '{"count": 600}'),
        "events": ("/v1/events?follow=true", None),
        "events of a model": ("/v1/events?follow=true&model=fraud/ticks", None),
    }[what]
    following = begun(streaming, path, secret, body)
    # What changes nothing of this ends nothing.
    member(streaming, f"{name} other", "viewer", "other")
    with pytest.raises(subprocess.TimeoutExpired):
        following.wait(1.2)
    ENDS[end](streaming, name)
    assert_cut(following)


def test_predictions_of_nobody_end_when_they_need_a_token(streaming):
    following = begun(streaming, PREDICT, body='{"count": 600}')
    streaming.run("auth", "require")
    try:
        assert_cut(following)
    finally:
        streaming.run("auth", "open")


# ---- What a token inherits -----------------------------------------------------------------------


def test_a_token_made_with_another_may_be_used_no_more_than_it(house):
    member(house, "lotte", "owner", "fraud")
    limits = {"rate": "5/s", "burst": 7, "concurrent_requests_max": 2, "rows_day_max": 100}
    secret, own = token(house, "lotte", ALL_SCOPES, limits=limits, valid_ms=3_600_000)
    wide = {"rate": "9000/min", "burst": 1_000, "concurrent_requests_max": 1, "rows_day_max": 5_000}
    for asked, expected in ((None, limits), (wide, {**limits, "concurrent_requests_max": 1}), ({"rate": "10/h"}, {**limits, "rate": "10/h", "burst": 1})):
        made = post(house, "/v1/tokens", {"scopes": ["read"], **({"limits": asked} if asked else {})}, secret).json()
        got = dict(made["limits"])
        if expected["burst"] == 1:
            # As many as come in a second anyway.
            expected = {name: limit for name, limit in expected.items() if name != "burst"}
        assert got == expected, (asked, got)
    # Another text of an unlimited token is no way around it; of its own it is the way to go on.
    _, unlimited = token(house, "lotte", ALL_SCOPES)
    rotated = post(house, f"/v1/tokens/{unlimited}/rotations", {}, secret).json()
    assert rotated["limits"] == limits and rotated["expires_ms"] <= time.time() * 1000 + 3_600_000
    assert post(house, f"/v1/tokens/{own}/rotations", {}, secret).json()["limits"] == limits


def test_what_a_token_has_used_of_its_day_outlives_the_process(tmp_path):
    platform = Platform(tmp_path / "data").start()
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": ROW}))
    secret, _ = token(platform, "shop", ["predict:default/m"], limits={"rows_day_max": 1_000})

    def ask(rows):
        body = {"rows": [{"age": 1}] * rows}
        return platform.predict("m", body, {"Authorization": f"Bearer {secret}"}).status

    day = time.time() // 86_400
    assert [ask(1), ask(600), ask(1_001)] == [200, 200, 429]
    platform.kill()
    platform.start()
    # At most the rest of a lease is lost, and nothing is gained.
    assert [ask(399), ask(380)] == [429, 200] or time.time() // 86_400 != day
    platform.kill()
    platform.start()
    used = [ask(1) for _ in range(25)].count(200)
    assert used == 10 or time.time() // 86_400 != day, used
    assert ask(1) == 429 or time.time() // 86_400 != day
    platform.stop()


# ---- What a token allows that others have known --------------------------------------------------


def asks(platform, path, secret):
    return platform.request_over_tcp("GET", path, headers={"Authorization": f"Bearer {secret}"}).status


def test_who_made_a_token_gets_no_more_by_it_than_they_may_themselves(house):
    member(house, "mara", "owner", "fraud")
    member(house, "robot", "deployer", "fraud", "service")
    mara, _ = token(house, "mara", ALL_SCOPES)
    made = post(house, "/v1/tokens", {"owner": "robot", "scopes": ["read", "deploy"]}, mara).json()
    robot = made["secret"]
    assert made["known_to"] == ["mara"]
    # The program gets more, and its token does not.
    member(house, "robot", "viewer", "other", "service")
    variables = "/v1/projects/{}/environments/production/variables"
    assert asks(house, variables.format("fraud"), robot) == 200
    assert asks(house, variables.format("other"), robot) == 404
    # What mara loses, the token that she knows loses, too.
    can = lambda: house.request_over_tcp("GET", "/v1/can?action=release&object=fraud/churn", headers={"Authorization": f"Bearer {robot}"}).json()
    assert can()["allowed"] is True
    member(house, "mara", "viewer", "fraud")
    assert can()["allowed"] is False and "made the token" in can()["says"]
    member(house, "mara", "viewer", "fraud@staging")
    house.run("member", "rm", "mara", "--project", "fraud")
    assert asks(house, variables.format("fraud"), robot) == 404
    # Another text, which she does not know, does what the program may; hers not even in the overlap.
    new = post(house, f"/v1/tokens/{made['id']}/rotations", {"overlap_ms": 3_600_000}).json()
    assert new["known_to"] == []
    assert asks(house, variables.format("other"), new["secret"]) == 200
    assert asks(house, variables.format("fraud"), robot) == 404


def test_a_token_ends_with_who_made_it_and_the_removal_says_so(house):
    member(house, "leon", "deployer", "fraud")
    leon, _ = token(house, "leon", ALL_SCOPES)
    made = post(house, "/v1/tokens", {"owner": "till", "scopes": ["predict:fraud/*"]}, leon).json()
    assert asks(house, "/v1/whoami", made["secret"]) == 200
    gone = house.run("member", "rm", "leon")
    assert made["id"] in gone.err and "rotate" in gone.err
    assert asks(house, "/v1/whoami", made["secret"]) == 401
    states = {one["id"]: one["state"] for one in house.run("token", "ls", "--json").json()["tokens"]}
    assert states[made["id"]] == "maker_gone"
    new = house.run("token", "rotate", made["id"]).out.strip()
    assert asks(house, "/v1/whoami", new) == 200


def test_what_is_made_with_a_token_that_others_know_is_known_to_them_too(house):
    member(house, "nora", "owner", "fraud")
    member(house, "paul", "owner", "fraud")
    nora, _ = token(house, "nora", ALL_SCOPES)
    of_paul = post(house, "/v1/tokens", {"owner": "paul", "scopes": ALL_SCOPES}, nora).json()["secret"]
    again = post(house, "/v1/tokens", {"scopes": ALL_SCOPES}, of_paul).json()
    assert again["known_to"] == ["nora"], again
    house.run("member", "rm", "nora")
    assert asks(house, "/v1/whoami", again["secret"]) == 401


STREAM = '''
import time
from typing import Iterator

def predict(count: int) -> Iterator[str]:
    for number in range(count):
        yield str(number)
        time.sleep(0.1)
'''
