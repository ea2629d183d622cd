"""Protected environments: who must agree to what, and that nothing goes around it."""

import pytest

from conftest import ALL_SCOPES, PUBLIC_KEY, Platform, constant, wait_for, write_model
from test_access import member, post, token

MODEL = "/v1/projects/default/models/m"
PRODUCTION = "/v1/projects/default/environments/production"


@pytest.fixture
def guarded(tmp_path):
    """Production of the project is protected; v1 is live and v2 is pushed by dora. Gives the platform and everybody's token."""
    platform = Platform(tmp_path / "data").start()
    people = {}
    for name, role in (("dora", "deployer"), ("dirk", "deployer"), ("olga", "owner"), ("otto", "operator"), ("vera", "viewer")):
        member(platform, name, role, "default")
        # Made by the owner of the machine, so that nobody else among them knows it.
        people[name] = token(platform, name, ALL_SCOPES)[0]
    model = write_model(tmp_path / "m", constant(1))
    platform.run("deploy", model, env={"DECALOG_TOKEN": people["dora"]})
    write_model(tmp_path / "m", constant(2))
    platform.run("deploy", model, "--env", "staging", env={"DECALOG_TOKEN": people["dora"]})
    platform.run("env", "protect", "production", "--approvals", "1")
    yield platform, people
    platform.stop()


def as_(people, name):
    return {"env": {"DECALOG_TOKEN": people[name]}}


def live(platform):
    return platform.predict("m", {"x": 1}).json()


def propose(platform, people, name, *arguments):
    result = platform.run(*arguments, ok=False, **as_(people, name))
    assert result.code == 4, result
    return int(result.err.split("proposed as ")[1].split(":")[0])


def refusal(platform, people, name, id, verb="approvals"):
    answer = post(platform, f"/v1/proposals/{id}/{verb}", {}, people[name])
    return answer.status, answer.json().get("code", answer.json().get("says"))


def test_a_release_waits_for_somebody_else_and_is_carried_out_with_the_approval(guarded):
    platform, people = guarded
    id = propose(platform, people, "dirk", "release", "m@v2")
    assert live(platform) == {"output": 1}
    listed = platform.run("proposals", **as_(people, "vera")).out
    assert str(id) in listed and "release of default/m@production" in listed and "dirk" in listed
    shown = platform.run("proposals", str(id)).out
    assert "v2 to production" in shown and "dora" in shown
    # Neither who proposed it, nor who pushed it, nor who could not have proposed it, nor who is nobody in particular.
    assert refusal(platform, people, "dirk", id) == (409, "not_approved")
    assert refusal(platform, people, "dora", id) == (409, "not_approved")
    assert refusal(platform, people, "otto", id)[0] == 403
    assert refusal(platform, people, "vera", id)[0] == 403
    assert platform.run("approve", str(id), ok=False).code == 1
    assert live(platform) == {"output": 1}
    platform.run("approve", str(id), **as_(people, "olga"))
    wait_for(lambda: live(platform) == {"output": 2}, "the approved release")
    assert refusal(platform, people, "olga", id) == (409, "not_approved")
    events = platform.run("events", "m", "--json").json()["events"]
    started = [event for event in events if event["kind"] == "deploy_started"][-1]
    assert (started["actor"], started["body"]["proposal"]) == ("dirk", id)
    # Back to what was live before needs nobody.
    platform.run("rollback", "m", **as_(people, "otto"))
    wait_for(lambda: live(platform) == {"output": 1}, "the rollback")


def test_nothing_goes_around_an_approval(guarded):
    platform, people = guarded
    events = lambda: [event["kind"] for event in platform.run("events", "--json").json()["events"]]
    before = events()
    for arguments in (
        ("release", "m@v2", "--canary", "50"),
        ("promote", "m", "staging", "production"),
        ("env", "set", "LEVEL=3", "--model", "m"),
        ("env", "set", "LEVEL=3"),
        ("rm", "m", "--yes"),
    ):
        propose(platform, people, "dora", *arguments)
    secret = platform.run("env", "set", "KEY", "--secret", stdin="hush, hush", ok=False, **as_(people, "dora"))
    assert secret.code == 4 and "hush" not in secret.err
    propose(platform, people, "olga", "env", "unprotect", "production")
    propose(platform, people, "olga", "member", "add", "dora", "--role", "owner", "--project", "default")
    # Nor does the owner of the machine.
    assert platform.run("release", "m@v2", ok=False).code == 4
    new = [kind for kind in events()[len(before):]]
    assert set(new) == {"proposed"}, new
    assert live(platform) == {"output": 1}
    # What is not of production needs nobody.
    platform.run("env", "set", "LEVEL=3", "--model", "m", "--env", "staging", **as_(people, "dora"))


def test_what_was_approved_and_no_other_change_is_made(guarded):
    platform, people = guarded
    result = platform.run("env", "set", "KEY", "--secret", "--model", "m", stdin="hush, hush", ok=False, **as_(people, "dora"))
    secret = int(result.err.split("proposed as ")[1].split(":")[0])
    level = propose(platform, people, "dora", "env", "set", "LEVEL=1", "--model", "m")
    platform.run("gc")
    platform.run("approve", str(secret), **as_(people, "olga"))
    assert "KEY=(secret)" in platform.run("env", "ls", "--model", "m").out
    # The configuration is another one by now.
    assert refusal(platform, people, "olga", level) == (409, "not_approved")
    assert "LEVEL" not in platform.run("env", "ls", "--model", "m").out
    assert "propose it again" in platform.run("proposals", str(level)).out


def test_an_approval_counts_while_the_approver_could_still_give_it(guarded):
    platform, people = guarded
    platform.run("env", "protect", "staging", "--approvals", "2")
    result = platform.run("env", "set", "A=1", "--env", "staging", ok=False, **as_(people, "otto"))
    assert result.code == 1, "an operator does not configure"
    id = propose(platform, people, "dora", "env", "set", "A=1", "--env", "staging")
    assert post(platform, f"/v1/proposals/{id}/approvals", {}, people["dirk"]).json()["open"]
    # dirk cannot do it any more when olga agrees.
    platform.run("member", "add", "dirk", "--role", "viewer", "--project", "default", ok=False)
    platform.run("member", "rm", "dirk", "--project", "default")
    after = post(platform, f"/v1/proposals/{id}/approvals", {}, people["olga"]).json()
    assert after["open"] and "1 more" in after["says"]
    assert "A=1" not in platform.run("env", "ls", "--env", "staging").out


def test_proposals_are_taken_back_and_rejected_and_outlive_the_process(guarded):
    platform, people = guarded
    first = propose(platform, people, "dora", "release", "m@v2")
    second = propose(platform, people, "dirk", "release", "m@v2")
    platform.kill()
    platform.start()
    platform.run("reject", str(first), **as_(people, "dora"))
    platform.run("reject", str(second), "--why", "not on a Friday", **as_(people, "olga"))
    says = {row["id"]: row["says"] for row in platform.run("proposals", "--json").json()["proposals"]}
    assert (says[first], says[second]) == ("withdrawn", "rejected by olga")
    assert platform.run("proposals").err.strip() == "nothing waits for approval"
    assert refusal(platform, people, "olga", first) == (409, "not_approved")
    # Another project's people know nothing of it.
    member(platform, "nora", "owner", "other")
    nora = token(platform, "nora", ALL_SCOPES)[0]
    assert post(platform, f"/v1/proposals/{first}/approvals", {}, nora).json()["code"] == "no_such_proposal"


def test_whose_signatures_count_takes_two_and_to_take_trust_away_one(platform, tmp_path):
    people = {}
    for name in ("olga", "oscar"):
        member(platform, name, "owner", "default")
        people[name] = token(platform, name, ALL_SCOPES)[0]
    platform.run("env", "protect", "production")
    key = write_model(tmp_path, {"ann.pem": PUBLIC_KEY}) / "ann.pem"
    trusted = lambda: platform.request("GET", "/v1/projects/default/trusted-keys").json()
    id = propose(platform, people, "olga", "trust", "add", key)
    assert trusted() == {"keys": [], "signed": []} and "trust_given" in platform.run("proposals", str(id)).out
    assert refusal(platform, people, "oscar", id)[0] == 200
    assert [key["name"] for key in trusted()["keys"]] == ["ann"]
    id = propose(platform, people, "olga", "env", "protect", "production", "--signed")
    assert refusal(platform, people, "oscar", id)[0] == 200 and trusted()["signed"] == ["production"]
    assert platform.run("trust", "rm", "ann", **as_(people, "olga")).code == 0 and trusted()["keys"] == []


def test_a_protection_that_nobody_could_meet_is_refused(platform):
    refused = platform.run("env", "protect", "production", "--approvals", "1", ok=False)
    assert refused.code == 1 and "deployer" in refused.err


def test_whoever_owns_the_machine_gets_out_of_a_protection_that_nobody_can_meet(guarded):
    platform, people = guarded
    for name in ("dirk", "olga", "otto", "vera"):
        platform.run("member", "rm", name, ok=False)
    refused = platform.run("recover", "--data", platform.data, ok=False)
    assert refused.code == 1, "a server runs there"
    platform.stop()
    assert "production" in platform.run("recover", "--data", platform.data).err
    platform.start()
    platform.run("release", "m@v2", **as_(people, "dora"))
    assert live(platform) == {"output": 2}
    platform.run("ledger", "verify")
    ended = [event for event in platform.run("events", "m", "--json").json()["events"] if event["kind"] == "environment_unprotected"]
    assert ended[-1]["principal"] == "local"


def test_a_token_that_somebody_else_made_stands_for_nobody_in_particular(guarded):
    platform, people = guarded
    id = propose(platform, people, "olga", "env", "set", "EVIL=1")
    made = post(platform, "/v1/tokens", {"owner": "dirk", "scopes": ALL_SCOPES}, people["olga"])
    if made.status == 200:
        secret = made.json()["secret"]
        assert refusal(platform, {"x": secret}, "x", id) == (409, "not_approved")
        # Nor after it was rotated with itself.
        rotated = post(platform, f"/v1/tokens/{made.json()['id']}/rotations", {}, secret).json()["secret"]
        assert refusal(platform, {"x": rotated}, "x", id) == (409, "not_approved")
        # What is proposed with it needs one person more.
        other = propose(platform, {"x": rotated}, "x", "env", "set", "EVIL=2")
        assert post(platform, f"/v1/proposals/{other}/approvals", {}, people["olga"]).json()["open"]
    assert "EVIL" not in platform.run("env", "ls").out


def test_secrets_are_not_guessed_by_proposals(guarded):
    platform, people = guarded
    result = platform.run("env", "set", "PIN", "--secret", stdin="4711", ok=False, **as_(people, "dora"))
    platform.run("approve", result.err.split("proposed as ")[1].split(":")[0], **as_(people, "olga"))
    for guess in ("1111", "4711"):
        assert platform.run("env", "set", "PIN", "--secret", stdin=guess, ok=False, **as_(people, "dirk")).code == 4


def test_who_may_only_go_back_cannot_come_forward_again(guarded):
    platform, people = guarded
    id = propose(platform, people, "dirk", "release", "m@v2")
    platform.run("approve", str(id), **as_(people, "olga"))
    wait_for(lambda: live(platform) == {"output": 2}, "the approved release")
    back = platform.run("release", "m@v1", **as_(people, "otto"))
    assert back.code == 0
    wait_for(lambda: live(platform) == {"output": 1}, "the way back")
    assert platform.run("release", "m@v2", ok=False, **as_(people, "dirk")).code == 4


def test_a_removal_is_of_what_was_there_when_it_was_proposed(guarded, tmp_path):
    platform, people = guarded
    whole = propose(platform, people, "dirk", "rm", "m", "--yes")
    shown = platform.run("proposals", str(whole), "--json").json()
    assert [removed["version"] for removed in shown["removes"]] == [1, 2], shown
    assert "removes" in platform.run("proposals", str(whole)).out
    # Somebody adds a version, which nobody agreed to remove.
    write_model(tmp_path / "m", constant(3))
    platform.run("deploy", tmp_path / "m", "--env", "staging", **as_(people, "dora"))
    assert refusal(platform, people, "olga", whole) == (409, "not_approved")
    shown = platform.run("proposals", str(whole), "--json").json()
    assert "changed since" in shown["says"] and "removes" not in shown
    assert live(platform) == {"output": 1}
    # What is as it was is removed.
    again = propose(platform, people, "dirk", "rm", "m", "--yes")
    assert [removed["version"] for removed in platform.run("proposals", str(again), "--json").json()["removes"]] == [1, 2, 3]
    platform.run("approve", str(again), **as_(people, "olga"))
    wait_for(lambda: "m" not in platform.run("ls").out.split(), "the removal")


def test_proposals_are_read_page_by_page(guarded):
    platform, people = guarded
    made = [propose(platform, people, "dora", "env", "set", f"A{number}=1", "--model", "m") for number in range(5)]
    platform.run("reject", str(made[1]), **as_(people, "dora"))

    def page(**query):
        query = "&".join(f"{name}={value}" for name, value in query.items())
        answer = platform.request("GET", f"/v1/proposals?{query}").json()
        return [one["id"] for one in answer["proposals"]], answer["more"]

    newest = made[::-1]
    assert page(limit=2) == (newest[:2], True)
    assert page(limit=2, before=newest[1]) == (newest[2:4], True)
    assert page(limit=2, before=newest[3]) == (newest[4:], False)
    assert page(open="true") == ([id for id in newest if id != made[1]], False)
    assert page(limit=5) == (newest, False)
    # The command shows all.
    assert [one["id"] for one in platform.run("proposals", "--json").json()["proposals"]] == newest
