"""Why a number changed, and where versions come from, on the dashboard in a real browser: an alarm and a chart lead to what it comes
from, and from there to the way back. The server's clock is set from request to request, as in `test_why.py`."""

import re

from conftest import constant, wait_for
from pages import NARROW, WIDE, accessible, browser, dashboard, live, overflow  # noqa: F401
from test_access import member, token
from test_dashboard_work import CLICKS_MAX, Hand, confirm
from test_diff import KEPT, deployed
from test_releases import deploy
from test_why import AFTER, BUCKET_S, FailingVersion, play, world_of

#: How much of the time before now is shown, and how far from the change one drags to both sides, in milliseconds.
SHOWN_MS, AROUND_MS = 1_500_000, 120_000
#: What the first cause is called.
FAILS = re.compile("v2 fails")


def whole(watched, what):
    """What keeps people out of a page, and whether it is too wide, at a desk and on a phone."""
    faults = []
    for width in (NARROW, WIDE):
        watched.page.set_viewport_size({"width": width, "height": 800})
        faults += [*accessible(watched, f"{what} at {width} px"), *overflow(watched, f"{what} at {width} px")]
    return faults


def cause_of(watched):
    return watched.page.get_by_role("region", name="What it comes from").get_by_role("listitem", name=FAILS)


def resting(page, plot):
    """Where a chart is, if it has not moved for a moment: others are drawn above it."""
    before = plot.bounding_box()
    page.wait_for_timeout(300)
    return before if before == plot.bounding_box() else None


def test_an_alarm_and_a_chart_lead_to_the_cause_and_to_the_way_back(fresh, dashboard, tmp_path):
    world = world_of(fresh, tmp_path, 1)
    fault = FailingVersion(world, "churn")
    play(world, [fault])
    began_s = world.now_s - AFTER * BUCKET_S

    def alarmed():
        """Requests go on to fail while the detectors, which look once a second, come to it."""
        world.now_s += BUCKET_S
        world.set_clock()
        fault.ask(True)
        return [alarm for alarm in world.run("alarms", "--json").json()["open"] if alarm["kind"] == "errors"]

    wait_for(alarmed, "an alarm about requests that fail")
    # Dragging over the time at which it began offers to ask why.
    end_ms, began_ms = int(world.now_s * 1000), int(began_s * 1000)
    watched = dashboard.enter(world.platform, f"/models/default/churn?from={end_ms - SHOWN_MS}&to={end_ms}")
    page = watched.page
    page.get_by_role("list", name="Open alarms").get_by_role("link", name=re.compile(r"^Why\?")).first.wait_for()
    faults = accessible(watched, "a model with an open alarm")
    plot = page.get_by_role("figure", name="Errors by code", exact=True).locator(".u-over")
    # Charts are drawn as they come into sight.
    page.get_by_role("figure", name="Latency", exact=True).scroll_into_view_if_needed()
    while plot.count() == 0:
        page.mouse.wheel(0, 200)
        page.wait_for_timeout(50)
    plot.scroll_into_view_if_needed()
    box = wait_for(lambda: resting(page, plot), "a chart that stays where it is")
    place = lambda at_ms: box["x"] + box["width"] * (1 - (end_ms - at_ms) / SHOWN_MS)
    page.mouse.move(place(began_ms - AROUND_MS), box["y"] + 40)
    page.mouse.down()
    page.mouse.move(place(began_ms + AROUND_MS), box["y"] + 40, steps=5)
    page.mouse.up()
    page.get_by_role("button", name=re.compile(r"^Why\?")).click()
    # The chart says of which number: where a machine is busy its times have changed as well.
    page.wait_for_url(re.compile(r"tab=why.*at=\d+.*metric=errors"))
    assert page.get_by_role("combobox", name="Which number").input_value() == "Errors"
    cause_of(watched).wait_for()
    assert "p < 0.001" in page.get_by_role("region", name="What changed").inner_text(), "at a moment that is named an alarm of now is no proof"
    faults += whole(watched, "why, asked of a chart")
    # It is found by its question, too.
    watched.open("/")
    page.keyboard.press("Control+k")
    page.get_by_role("textbox", name="Find").fill("why did churn change")
    page.get_by_role("button", name=re.compile("Why did churn change")).click()
    cause_of(watched).wait_for()
    # From the overview by the alarm to the way back.
    watched.open("/")
    hand = Hand()
    hand.click(page.get_by_role("link", name=re.compile("^Alarms")))
    alarm = page.get_by_role("region", name="Alarms of default/churn")
    hand.click(alarm.get_by_role("link", name=re.compile(r"^Why\? .*% of requests fail")).first)
    cause = cause_of(watched)
    cause.wait_for()
    assert "metric=errors" in page.url
    told = page.get_by_role("region", name="What changed").inner_text()
    assert "an alarm says so" in told and re.search(r"n = [\d,]+ against [\d,]+", told), told
    # The same cause with the same share as the command has it.
    first = world.why("churn")["causes"][0]
    shown = float(re.search(r"([\d.]+)%\s+of the change", cause.inner_text())[1])
    assert first["kind"] == "failing_version" and abs(shown - first["share"] * 100) < 1, (shown, first)
    assert "decalog rollback churn" in cause.inner_text()
    # A table is behind its chart.
    cause.get_by_role("button", name=re.compile("as a table$")).click()
    table = cause.get_by_role("grid")
    assert table.get_by_role("columnheader").all_inner_texts() == ["Time", "v2", "others"]
    faults += whole(watched, "why, asked of an alarm")
    hand.click(cause.get_by_role("button", name="Roll back to v1…"))
    page.get_by_role("dialog").get_by_text("from v2 to v1?").wait_for()
    hand.click(page.get_by_role("dialog").get_by_role("button", name="Roll back", exact=True))
    page.locator("h1").get_by_text("v1", exact=True).wait_for()
    assert live(world.platform) == "v1" and hand.clicks <= CLICKS_MAX, hand.clicks
    assert faults == [], faults


def test_why_says_what_it_lacks(platform, dashboard, tmp_path):
    deploy(platform, tmp_path / "churn", constant(1))
    member(platform, "vera", "viewer", "default")
    watched = dashboard.enter(platform, "/models/default/churn?tab=why")
    watched.page.get_by_text("There are no records of this time").wait_for()
    faults = whole(watched, "why without records")
    for number in range(50):
        platform.predict("churn", {"x": number})
    # An answer stands until somebody asks again.
    again = watched.page.get_by_role("button", name="Ask again")

    def told():
        again.click()
        watched.settled()
        return watched.page.get_by_text(re.compile("There are too few requests|There is too little before it|Nothing beyond noise")).count() > 0

    watched.wait(told, "it is told that there is too little")
    faults += whole(watched, "why with too little")
    vera = dashboard.enter(platform, "/models/default/churn?tab=why", token=token(platform, "vera", ["read"])[0])
    vera.expected += ["status of 403"]
    vera.page.get_by_text("You may not see this").wait_for()
    faults += accessible(vera, "why without the right")
    assert faults == [], faults


def test_where_a_version_comes_from_is_drawn_and_listed(platform, dashboard, tmp_path):
    (tmp_path / "train.csv").write_text("x,y\n1,2\n")
    manifest = '[data]\ntrain = "../train.csv"\n'
    for value in (1, 2):
        deploy(platform, tmp_path / "churn", {**constant(value), "decalog.toml": manifest})
    for number in range(5):
        platform.predict("churn", {"x": number})
    watched = dashboard.enter(platform, "/models/default/churn?tab=lineage")
    page = watched.page
    picture = page.get_by_role("figure", name="Where v2 comes from")
    node = lambda name: picture.get_by_role("button", name=re.compile(f"^{name}"))
    for name in ("Data .*train.csv", "Version v1", "Version v2", "Release production"):
        node(name).first.wait_for()
    faults = whole(watched, "lineage")
    # By the keyboard to the data, which both versions have.
    node("Data .*train.csv").focus()
    page.keyboard.press("Enter")
    about = page.get_by_role("region", name=re.compile("^Data .*train.csv"))
    about.get_by_role("button", name="v1").click()
    page.get_by_role("figure", name="Where v1 comes from").wait_for()
    assert "version=v1" in page.url
    # The list behind it has the same.
    page.get_by_role("button", name=re.compile("as a table$")).click()
    rows = page.get_by_role("grid", name="Lineage").get_by_role("row")
    edges = platform.get("/v1/projects/default/models/churn/lineage").json()["edges"]
    # Requests are counted by the minute: that a version was asked comes later.
    fixed = [edge for edge in edges if edge["is"] != "answered"]
    watched.wait(lambda: len(fixed) < rows.count() <= len(edges) + 1, "the head, and all edges")
    faults += whole(watched, "lineage as a table")
    assert faults == [], faults


def test_versions_are_compared_by_what_they_answer(fresh, dashboard, tmp_path):
    platform = fresh(arguments=KEPT).start()
    ids = deployed(platform, tmp_path / "home")
    watched = dashboard.enter(platform, "/models/default/price?tab=compare&a=v1&b=v2")
    page = watched.page
    page.get_by_text(re.compile("files differ")).wait_for()
    lines = page.get_by_role("group").filter(has_text="notes.md")
    lines.get_by_text("notes.md", exact=True).click()
    assert "+second" in lines.inner_text() and "-first" in lines.inner_text()
    training = page.get_by_role("table").filter(has_text="november.csv")
    assert "november.csv" in training.inner_text() and "october.csv" in training.inner_text()
    assert "0.88" in page.get_by_role("table").filter(has_text="r2").inner_text()
    # Nothing is started before somebody asks for it.
    page.get_by_role("button", name="Ask both", exact=True).click()
    told = page.get_by_text(re.compile(r"rows have the same answer"))
    told.wait_for(timeout=60_000)
    assert "0%" in told.inner_text() and "60 rows" in told.inner_text()
    of = platform.request("POST", "/v1/projects/default/models/price/compare", {"before": "v1", "after": "v2", "last": 60}).json()
    assert of["requests"] == 60 and of["failed_before"] == {"rows": 0} and of["worst"][0]["id"] in ids
    # The same requests have the same differences, whoever asks.
    (output,) = of["outputs"]
    shown = page.get_by_role("table").filter(has_text="Rows that differ").inner_text()
    mean = output["mean_difference"]["value"]
    assert ("−" if mean < 0 else "+") + f"{abs(mean):,.3g}".rstrip("0").rstrip(".") in shown.replace(",", ""), (mean, shown)
    faults = whole(watched, "compared")
    page.get_by_role("link", name=re.compile(of["worst"][0]["id"][:8])).first.click()
    page.wait_for_url(re.compile(f"tab=records.*{of['worst'][0]['id']}"))
    assert not faults, "\n".join(faults)
