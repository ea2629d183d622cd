"""Work that people do on the dashboard, from its beginning to its end, in a real browser: a canary is watched and ended, an alarm leads to
the way back, a record is found, a change is agreed to, and a session ends in the middle of it all."""

import re

import pytest
from conftest import ALL_SCOPES, constant, wait_for, write_model
from pages import accessible, browser, dashboard, live, overflow, row_of  # noqa: F401
from test_access import member, token
from test_detectors import Callers
from test_releases import QUICK, deploy, pushed
from test_versions import Load

#: Clicks of somebody who is woken by an alarm, from the overview to the version of before.
CLICKS_MAX = 4
#: Every third request fails.
FAILS = """from itertools import count

numbers = count()

def predict(x: int) -> int:
    if next(numbers) % 3 == 0:
        raise ValueError("the table is gone")
    return x
"""
KEYED = """def predict(customer: int, age: int) -> float:
    if age > 150:
        raise ValueError("nobody is that old")
    return age * 0.5
"""
#: What alarms say of requests that fail.
FAILURES = re.compile("requests fail")
#: How a guard says what it measured.
AGAINST = re.compile("between .* and .*; at most")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Hand:
    """Clicks, and counts them."""

    def __init__(self):
        self.clicks = 0

    def click(self, place):
        place.click()
        self.clicks += 1


def release_page(watched, model):
    watched.open(f"/models/default/{model}?tab=release")
    return watched.page.get_by_role("region", name="The release on its way")


def confirm(page, name):
    """Does what a dialog asks about."""
    page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()
    page.get_by_role("dialog").wait_for(state="hidden")


# ---- A canary ---------------------------------------------------------------------------------------


def evidence(region):
    """What the guard of errors says: estimate, bounds and limit in percent, and how many requests of the canary that is taken from."""
    told = region.get_by_role("img", name=AGAINST)
    if told.count() == 0:
        return None
    words = told.first.get_attribute("aria-label")
    found = re.fullmatch(r"([\d.]+)%.*, between ([\d.]+)% and ([\d.]+)%; at most ([\d.]+)%.*", words)
    row = region.get_by_role("row").filter(has=region.page.get_by_role("img", name=AGAINST)).first
    n = re.match(r"[\d,]+", row.get_by_role("cell").last.inner_text())
    assert found and n, words
    return (*map(float, found.groups()), int(n.group().replace(",", "")))


def test_a_canary_is_watched_ended_and_another_one_goes_everywhere(fresh, dashboard, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "churn"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    v3 = pushed(platform, model, constant(3))
    watched = dashboard.enter(platform, f"/models/default/churn?tab=versions&version={v2}")
    page = watched.page
    with Load(platform, "churn", {"x": 0}, threads=2) as load:
        # Released step by step from the page.
        page.get_by_role("button", name=f"Release {v2}…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Step by step").click()
        dialog.get_by_label("Shares of the traffic").fill("30, 20")
        assert dialog.get_by_role("button", name="Release", exact=True).is_disabled(), "shares rise"
        dialog.get_by_label("Shares of the traffic").fill("40")
        dialog.get_by_label("Each for at least").fill("10m")
        dialog.get_by_label("Guards").fill("errors<5%")
        assert f"decalog release churn@{v2} --canary 40 --every 10m --guard 'errors<5%'" in dialog.inner_text()
        confirm(page, "Release")
        # What it is judged by is seen, and narrows while requests come.
        region = release_page(watched, "churn")
        region.get_by_text("errors<5%").wait_for()
        first = watched.wait(lambda: evidence(region), "the evidence of its guard")
        later = watched.wait(lambda: (now := evidence(region)) and now[4] > 4 * first[4] and now[2] - now[1] < 0.7 * (first[2] - first[1]) and now, "it narrows")
        print("evidence: estimate, low, high, limit, n:", first, later)
        for estimate, low, high, limit, _ in (first, later):
            assert low <= estimate <= high and limit == 5, (first, later)
        faults = [*accessible(watched, "a canary"), *overflow(watched, "a canary")]
        # Rolled back from the page.
        page.get_by_role("button", name=f"End the release of {v2}…").click()
        page.get_by_role("dialog").get_by_text(f"{v2} takes none any more").wait_for()
        confirm(page, "End the release")
        page.get_by_role("region", name="The last release").wait_for()
        seen = len(load.answers)
        wait_for(lambda: len(load.answers) > seen + 60, "answers after it")
        assert {version for _, version, _ in load.answers[seen + 30:]} == {"v1"} and live(platform) == "v1"
        # Another one keeps its guard, and goes live by itself.
        platform.run("release", f"churn@{v3}", "--canary", "50", "--every", "1s", "--guard", "errors<20%", "--detach")
        page.get_by_role("region", name="The release on its way").get_by_text(f"{v3} to production").wait_for()
        page.get_by_role("region", name="The last release").get_by_text("went live").wait_for()
        page.locator("h1").get_by_text(v3, exact=True).wait_for()
    assert not [answer for answer in load.answers if answer[0] != 200]
    # Promoted from the page.
    page.get_by_role("button", name=f"Promote {v3}").click()
    page.get_by_role("menuitem", name="staging").click()
    assert "decalog promote churn production staging" in page.get_by_role("dialog").inner_text()
    confirm(page, f"Promote {v3}")
    wait_for(lambda: live(platform, environment="staging") == v3, "it is live in staging")
    assert faults == [], faults


# ---- An alarm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["by its alarm", "by its model"])
def test_from_an_alarm_to_the_version_of_before_in_four_clicks(platform, dashboard, tmp_path, way):
    write_model(tmp_path / "churn", {"model.py": "def predict(x: int) -> int:\n    return x\n"})
    platform.run("deploy", tmp_path / "churn")
    watched = dashboard.enter(platform)
    page, hand = watched.page, Hand()
    with Callers(platform, "churn", {"x": 1}, 2) as callers:
        wait_for(lambda: len(callers.answers) > 300, "what is usual is known")
        platform.run("deploy", write_model(tmp_path / "churn", {"model.py": FAILS}), "--untested")
        row = row_of(watched, "churn")
        # On the overview it is told what is wrong with whom.
        row.get_by_text(FAILURES).wait_for()
        page.get_by_role("link", name=re.compile("^Alarms.* open$")).wait_for()
        if way == "by its alarm":
            hand.click(page.get_by_role("link", name=re.compile("^Alarms")))
            alarm = page.get_by_role("region", name="Alarms of default/churn")
            alarm.get_by_text(FAILURES).first.wait_for()
            faults = accessible(watched, "an open alarm")
            hand.click(alarm.get_by_role("link", name="default/churn"))
        else:
            faults = accessible(watched, "the overview with an open alarm")
            hand.click(row.get_by_role("link", name="churn", exact=True))
        hand.click(page.get_by_role("button", name="Roll back to v1…"))
        page.get_by_role("dialog").get_by_text("from v2 to v1?").wait_for()
        hand.click(page.get_by_role("dialog").get_by_role("button", name="Roll back", exact=True))
        page.locator("h1").get_by_text("v1", exact=True).wait_for()
        assert live(platform) == "v1" and hand.clicks <= CLICKS_MAX, hand.clicks
        print(f"{way}: {hand.clicks} clicks")
        seen = len(callers.answers)
        wait_for(lambda: len(callers.answers) > seen + 60, "answers after it")
    assert set(callers.answers[seen + 20:]) == {200}, "nothing fails any more"
    assert faults == [], faults


# ---- A record ---------------------------------------------------------------------------------------


def test_a_record_is_found_and_says_where_it_came_from(platform, dashboard, tmp_path):
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": KEYED, "decalog.toml": '[records]\nkey = "customer"\n'}))
    for customer in range(30):
        age = 160 if customer % 10 == 3 else customer
        answer = platform.predict("churn", {"customer": customer, "age": age}, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if customer == 13 else {})
        if customer == 13:
            asked = answer.headers["decalog-request-id"]
    watched = dashboard.enter(platform, "/models/default/churn?tab=records")
    page = watched.page
    rows = page.get_by_role("grid", name="Records of churn").get_by_role("row")
    watched.wait(lambda: rows.count() > 20, "all records")
    # Those that failed.
    page.get_by_role("combobox", name="Status").click()
    page.get_by_role("option", name="Failed").click()
    watched.wait(lambda: rows.count() == 4, "the head and three that failed")
    assert "status=failed" in page.url
    # And of these the one of a customer.
    page.get_by_role("textbox", name="Key").fill("customer=13")
    page.keyboard.press("Enter")
    watched.wait(lambda: rows.count() == 2, "the one of this customer")
    rows.nth(1).click()
    record = page.get_by_role("dialog", name="Request")
    record.get_by_text("nobody is that old").wait_for()
    told = record.inner_text()
    for part in ("v1", "customer=13", asked, TRACE, "160", "Queue", "Batch"):
        assert part in told, (part, told)
    assert re.search(r"Answered by\s+v1\s+on r1-\d+", told) and re.search(r"Batch\s+\d+ rows?, from place \d+", told), told
    # Its way goes from the data of its version to what was true.
    way = record.get_by_role("region", name="Its way").get_by_role("listitem")
    watched.wait(lambda: way.count() == 8, "all steps of its way")
    steps = way.all_inner_texts()
    for step, begin in zip(steps, ("Trained with", "Made from", "Version v1", "Released", "Asked", "Replica r1-", "Answered ", "What was true"), strict=True):
        assert step.startswith(begin), steps
    assert "all of production" in steps[3] and "not known yet" in steps[7], steps
    faults = accessible(watched, "an open record")
    # The address leads somebody else to the same.
    other = dashboard.enter(platform, page.url.removeprefix(watched.origin))
    other.page.get_by_role("dialog", name="Request").get_by_text(asked, exact=True).wait_for()
    assert faults == [], faults


# ---- A change that others agree to ------------------------------------------------------------------


def test_what_one_proposes_another_approves(platform, dashboard, tmp_path):
    people = {}
    for name, role in (("dora", "deployer"), ("dirk", "deployer"), ("olga", "owner"), ("vera", "viewer")):
        member(platform, name, role, "default")
        people[name] = token(platform, name, ALL_SCOPES)[0]
    as_dora = {"env": {"DECALOG_TOKEN": people["dora"]}}
    platform.run("deploy", write_model(tmp_path / "churn", constant(1)), **as_dora)
    platform.run("deploy", write_model(tmp_path / "churn", constant(2)), "--env", "staging", **as_dora)
    platform.run("env", "protect", "production", "--approvals", "1")
    # Dirk proposes from the page; it says so, and nothing is live.
    dirk = dashboard.enter(platform, "/models/default/churn?tab=versions&version=v2", token=people["dirk"])
    dirk.page.get_by_role("button", name="Propose: release v2…").click()
    dialog = dirk.page.get_by_role("dialog")
    dialog.get_by_role("combobox", name="Environment").click()
    dirk.page.get_by_role("option", name="production").click()
    dialog.get_by_role("button", name="Release", exact=True).click()
    dialog.get_by_text(re.compile("proposed as", re.IGNORECASE)).wait_for()
    dialog.get_by_role("button", name="Cancel").click()
    assert live(platform) == "v1"
    # Where proposals are listed, and at the release itself, he may take it back, and nothing else.
    for path in ("/access?tab=proposals", "/models/default/churn?tab=release"):
        dirk.open(path)
        dirk.page.get_by_role("button", name="Take back").wait_for()
        assert dirk.page.get_by_role("button", name="Approve").count() == 0
    refused = platform.request("POST", "/v1/proposals/1/approvals", {}, {"Authorization": f"Bearer {people['dirk']}"})
    assert refused.status in (404, 409), refused.body
    # Who may only look sees what it would take.
    vera = dashboard.enter(platform, "/models/default/churn?tab=release", token=people["vera"])
    approve = vera.page.get_by_role("button", name="Approve")
    watched = vera.wait(lambda: approve.get_attribute("aria-disabled") == "true", "she may not")
    approve.click(force=True)
    assert watched and vera.page.get_by_role("dialog").count() == 0
    # Olga approves at the release, and it is made.
    olga = dashboard.enter(platform, "/models/default/churn?tab=release", token=people["olga"])
    proposals = olga.page.get_by_role("region", name="Proposals")
    proposals.get_by_text("asked by dirk").wait_for()
    faults = [*accessible(olga, "a proposal"), *overflow(olga, "a proposal")]
    proposals.get_by_role("button", name="Approve").click()
    confirm(olga.page, "Approve")
    wait_for(lambda: live(platform) == "v2", "the approved release")
    olga.page.locator("h1").get_by_text("v2", exact=True).wait_for()
    proposals.wait_for(state="detached")
    # On dirk's page it moves by itself.
    dirk.page.locator("h1").get_by_text("v2", exact=True).wait_for()
    assert faults == [], faults


# ---- The end of a session ---------------------------------------------------------------------------


def test_a_session_ends_and_no_form_is_lost(platform, dashboard, tmp_path):
    deploy(platform, tmp_path / "churn", {"model.py": KEYED})
    watched = dashboard.enter(platform, "/models/default/churn?tab=try")
    page = watched.page
    watched.expected += ["status of 401", "/login/link", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
    age = page.get_by_role("textbox", name=re.compile("^age"))
    customer = page.get_by_role("textbox", name=re.compile("^customer"))
    customer.fill("7")
    age.fill("42")
    session = page.evaluate("fetch('/v1/whoami').then((answer) => answer.json())")["token"]
    platform.run("token", "revoke", session)
    ended = page.get_by_role("alert").filter(has_text="Your session has ended")
    ended.wait_for()
    assert "decalog dashboard" in ended.inner_text() and ended.get_by_role("link", name="log in").get_attribute("href") == "/login"
    faults = [*accessible(watched, "a session that ended"), *overflow(watched, "a session that ended")]
    # One goes on to type meanwhile.
    age.fill("43")
    # The way in: a link that is over is told so, a new one lets this very page go on.
    field = ended.get_by_role("textbox", name="The link that it prints")
    field.fill(f"{watched.origin}/login/link?key=over")
    ended.get_by_role("button", name="Go on").click()
    ended.get_by_text("It is good once").wait_for()
    field.fill(platform.run("dashboard", "--print").out)
    ended.get_by_role("button", name="Go on").click()
    ended.wait_for(state="detached")
    assert (customer.input_value(), age.input_value()) == ("7", "43")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("region", name="The answer").get_by_text("21.5").wait_for()
    assert faults == [], faults
