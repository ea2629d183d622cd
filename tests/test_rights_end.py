"""Who may do what, at its corners: names that look alike, rights that end while something runs, what a token inherits."""

import sqlite3
import threading

import pytest

from conftest import Platform
from test_access import member, post


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
