"""The dashboard as people use it, in a real browser: what they see, what they do, and who they are."""

import re
from itertools import combinations

from conftest import ALL_SCOPES, ROW, write_model
from pages import COLOURS, NARROW, SHAPE, WALL, WIDE, accessible, apart, browser, colours, dashboard, live, overflow, row_of  # noqa: F401
from test_access import member, token
from test_releases import QUICK

CHECKED = """def predict(age: int, city: str = "Utrecht") -> float:
    if age > 150:
        raise ValueError("nobody is that old")
    return age * 0.5
"""
MODEL_TABS = ("now", "why", "versions", "try", "logs", "data", "truth", "release", "records", "lineage", "compare")
OTHER_PAGES = ("/", "/alarms", "/alarms?tab=receivers", "/events", "/events?tab=proof", "/access", "/access?tab=tokens", "/access?tab=proposals", "/access?tab=me", "/system")
#: Those that show more with models, members and tokens.
FILLED_PAGES = ("/", "/alarms", "/events", "/events?tab=proof", "/access", "/access?tab=tokens", "/system")


def deploy(platform, tmp_path, name, source=ROW, *arguments):
    platform.run("deploy", write_model(tmp_path / name, {"model.py": source}), *arguments)


# ---- What changes is seen ---------------------------------------------------------------------------


def test_models_appear_and_move_while_the_page_is_open(platform, dashboard, tmp_path):
    watched = dashboard.enter(platform)
    page = watched.page
    page.get_by_text("No model yet").wait_for()
    page.evaluate("window.isTheSame = true")
    for name in ("churn", "fraud"):
        deploy(platform, tmp_path, name)
    for name in ("churn", "fraud"):
        row_of(watched, name).get_by_text("v1", exact=True).wait_for()
    requests = row_of(watched, "churn").get_by_role("gridcell").filter(has_text=re.compile("/s$"))
    assert requests.inner_text().startswith("0")

    def moved():
        assert platform.predict("churn", {"age": 42}).status == 200
        return re.match(r"0*[.]?0*[1-9]", requests.inner_text())

    watched.wait(moved, "requests move the numbers")
    row_of(watched, "churn").get_by_text("production", exact=True).click()
    page.wait_for_url("**/models/default/churn**")
    page.get_by_role("heading", name="churn").wait_for()
    watched.settled()
    assert page.evaluate("window.isTheSame"), "nothing was loaded anew"


def test_the_page_comes_back_with_its_server(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn")
    watched = dashboard.enter(platform, "/models/default/churn?tab=try")
    page = watched.page
    watched.expected.append("ERR_")
    age_of(page).fill("77")
    platform.kill()
    page.get_by_role("alert").filter(has_text="The server does not answer").wait_for()
    page.get_by_text("stale since").first.wait_for()
    platform.start(same_address=True)
    page.get_by_role("alert").wait_for(state="detached")
    assert age_of(page).input_value() == "77", "what was typed is still there"
    deploy(platform, tmp_path, "churn", CHECKED)
    page.locator("h1").get_by_text("v2", exact=True).wait_for()
    page.get_by_role("button", name="Send").click()
    page.get_by_role("region", name="The answer").get_by_text("38.5").wait_for()


def age_of(page):
    return page.get_by_role("textbox", name=re.compile("^age"))


# ---- What is done there is done ---------------------------------------------------------------------


def test_going_back_says_to_what_and_does_it(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn")
    watched = dashboard.enter(platform, "/models/default/churn")
    page = watched.page
    assert page.get_by_role("button", name="Roll back").count() == 0, "there is nothing to go back to"
    deploy(platform, tmp_path, "churn", CHECKED)
    page.get_by_role("button", name="Roll back to v1").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Roll back churn in production from v2 to v1?").wait_for()
    assert "decalog rollback churn" in dialog.inner_text()
    # Nothing is done by asking.
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="hidden")
    assert live(platform) == "v2"
    page.get_by_role("button", name="Roll back to v1").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back", exact=True).click()
    dialog.wait_for(state="hidden")
    page.locator("h1").get_by_text("v1", exact=True).wait_for()
    assert live(platform) == "v1"
    assert platform.predict("churn", {"age": 200}).json() == {"output": 100.0}


def test_a_row_is_tried(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn", CHECKED)
    watched = dashboard.enter(platform, "/models/default/churn?tab=try")
    page = watched.page
    watched.expected.append("status of ")
    answer = page.get_by_role("region", name="The answer")
    age_of(page).fill("42")
    page.get_by_role("button", name="Send").click()
    answer.get_by_text("200", exact=True).wait_for()
    answer.get_by_role("gridcell", name="21", exact=True).wait_for()
    # What the server says against a row stands where the answer would, in its words.
    age_of(page).fill("151")
    page.get_by_role("button", name="Send").click()
    refused = platform.predict("churn", {"age": 151})
    assert refused.status >= 400
    answer.get_by_text(f"{refused.status} {refused.json()['code']}", exact=True).wait_for()
    told = answer.get_by_role("alert").inner_text()
    assert plain(refused.json()["error"]) in plain(told)
    # What is no number is not sent.
    age_of(page).fill("old")
    page.get_by_role("button", name="Send").click()
    assert age_of(page).get_attribute("aria-invalid") == "true"
    age_of(page).fill("10")
    page.get_by_role("button", name="Send").click()
    answer.get_by_role("gridcell", name="5", exact=True).wait_for()
    # A file is sent as its bytes, and named in what is to be typed elsewhere.
    deploy(platform, tmp_path, "turned", "def predict(image: bytes) -> bytes:\n    return image[::-1]\n")
    watched.open("/models/default/turned?tab=try")
    page.locator("input[type=file]").set_input_files({"name": "scan.png", "mimeType": "image/png", "buffer": b"\x89PNG\0\xff"})
    assert page.get_by_role("textbox", name=re.compile("^image")).input_value() == "scan.png: 6 bytes"
    assert "-F 'image=@FILE'" in page.get_by_label("The call in curl", exact=True).inner_text()
    page.get_by_role("button", name="Send").click()
    answer.get_by_text("6 bytes").wait_for()
    answer.get_by_text("Raw", exact=True).click()
    assert "/wBHTlCJ" in page.get_by_label("The answer as it came").inner_text()


def plain(text):
    """Pages show as code what stands between backticks, and begin with a capital."""
    return text.replace("`", "").casefold()


# ---- Who one is -------------------------------------------------------------------------------------


def test_a_viewer_sees_a_project_and_is_told_what_is_missing(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn")
    deploy(platform, tmp_path, "fraud", ROW, "--project", "team")
    deploy(platform, tmp_path, "fraud", CHECKED, "--project", "team")
    platform.run("member", "add", "ann", "--role", "viewer", "--project", "team")
    token = platform.run("token", "create", "ann", "--scope", "read").out.strip()
    watched = dashboard.enter(platform, token=token)
    page = watched.page
    watched.expected += ["status of 403", "status of 404"]
    row_of(watched, "fraud").wait_for()
    assert row_of(watched, "churn").count() == 0
    watched.open("/models/default/churn")
    assert page.get_by_role("button", name="Roll back").count() == 0 and page.get_by_text("v1", exact=True).count() == 0
    watched.open("/models/team/fraud")
    for name in ("Roll back to v1…", "Release…"):
        button = page.get_by_role("button", name=name)
        assert button.get_attribute("aria-disabled") == "true", name
        button.focus()
        reason = page.get_by_role("tooltip")
        reason.wait_for()
        assert "team" in reason.inner_text() or "ann" in reason.inner_text(), reason.inner_text()
        button.click(force=True)
        assert page.get_by_role("dialog").count() == 0
        button.blur()
        reason.wait_for(state="hidden")
    assert dict(platform.get("/v1/projects/team/models/fraud").json()["live"]) == {"production": "v2"}


def test_who_was_logged_out_elsewhere_is_led_to_the_way_in(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn")
    watched = dashboard.enter(platform)
    page = watched.page
    # The stream ends at once.
    watched.expected += ["status of 401", "ERR_INCOMPLETE_CHUNKED_ENCODING"]
    session = page.evaluate("fetch('/v1/whoami').then((answer) => answer.json())")["token"]
    platform.run("token", "revoke", session)
    # What is on the page stays, and it says what happened.
    ended = page.get_by_role("alert").filter(has_text="Your session has ended")
    ended.wait_for()
    assert row_of(watched, "churn").count() == 1 and "decalog dashboard" in ended.inner_text()
    page.reload()
    page.get_by_text("Log in by your identity provider").wait_for()
    assert "decalog dashboard" in page.locator("main").inner_text() and row_of(watched, "churn").count() == 0


# ---- By keyboard ------------------------------------------------------------------------------------


def test_a_model_is_opened_by_keys_alone(platform, dashboard, tmp_path):
    deploy(platform, tmp_path, "churn")
    deploy(platform, tmp_path, "fraud")
    watched = dashboard.enter(platform)
    page = watched.page
    keys = page.keyboard
    keys.press("Control+k")
    find = page.get_by_role("dialog").get_by_role("searchbox").or_(page.get_by_placeholder("A model, a version"))
    find.first.wait_for()
    watched.wait(lambda: page.evaluate("document.activeElement?.tagName") == "INPUT", "the field to type in")
    keys.press("Escape")
    find.first.wait_for(state="hidden")
    assert page.url == watched.origin + "/"
    keys.press("Control+k")
    watched.wait(lambda: page.evaluate("document.activeElement?.getAttribute('aria-label')") == "Find" and find.first.is_visible(), "the field again")
    keys.type("fraud")
    page.get_by_role("button", name="fraud default, v1 live in production").or_(page.locator("[data-action]", has_text="v1 live in production")).first.wait_for()
    watched.wait(lambda: page.get_by_text("v1 live in production").count() == 1, "no other model")
    keys.press("Enter")
    page.wait_for_url("**/models/default/fraud**")
    watched.settled()
    find.first.wait_for(state="hidden")
    keys.press("?")
    page.get_by_role("dialog").get_by_text("Find a model, a version").wait_for()
    keys.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    # From the overview by arrows.
    for key in ("g", "m"):
        keys.press(key)
    row_of(watched, "churn").wait_for()
    row_of(watched, "churn").focus()
    keys.press("ArrowDown")
    watched.wait(lambda: "fraud" in page.evaluate("document.activeElement.innerText"), "the next row")
    keys.press("Enter")
    page.wait_for_url("**/models/default/fraud**")
    watched.settled()


# ---- All pages --------------------------------------------------------------------------------------


def look_at(watched, paths):
    """What is wrong with pages, in both themes, at a desk, on a phone and on a wall."""
    page, faults = watched.page, []
    for path in paths:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDE, "height": 800})
        watched.open(path)
        faults += overflow(watched, f"{path}, wide") + accessible(watched, f"{path}, wide")
        page.set_viewport_size({"width": NARROW, "height": 800})
        watched.settled()
        faults += overflow(watched, f"{path}, narrow") + accessible(watched, f"{path}, narrow", SHAPE)
        page.emulate_media(color_scheme="dark")
        faults += accessible(watched, f"{path}, dark", COLOURS)
        page.set_viewport_size({"width": WALL, "height": 2160})
        watched.settled()
        faults += overflow(watched, f"{path}, on a wall")
    return faults


def test_every_page_without_anything_to_show_is_whole(platform, dashboard, tmp_path):
    watched = dashboard.enter(platform)
    # Who does not exist has no page, and what never was asked has no drift.
    watched.expected += ["/default/models/nobody", "/default/models/quiet/drift"]
    faults = look_at(watched, [*OTHER_PAGES, "/models/default/nobody", "/nowhere"])
    deploy(platform, tmp_path, "quiet")
    faults += look_at(watched, [f"/models/default/quiet?tab={tab}" for tab in MODEL_TABS])
    assert faults == [], "\n".join(faults)


def test_every_page_with_much_to_show_is_whole(platform, dashboard, tmp_path):
    for source in (ROW, CHECKED):
        deploy(platform, tmp_path, "churn", source)
    deploy(platform, tmp_path, "fraud", CHECKED, "--project", "team")
    platform.run("member", "add", "ann", "--role", "viewer", "--project", "team")
    platform.run("member", "add", "bob", "--role", "deployer")
    platform.run("token", "create", "ann", "--scope", "read")
    for age in range(120):
        platform.predict("churn", {"age": age, "city": "Delft"})
        platform.predict("team/fraud", {"age": 160})
    watched = dashboard.enter(platform)
    watched.page.get_by_role("link", name=re.compile("^Alarms.* open$")).wait_for()
    faults = look_at(watched, [*FILLED_PAGES, *(f"/models/default/churn?tab={tab}" for tab in MODEL_TABS), "/models/team/fraud", "/models/default/churn?tab=versions&version=v1"])
    assert faults == [], "\n".join(faults)


def test_what_is_on_its_way_or_went_wrong_is_whole(fresh, dashboard, tmp_path):
    platform = fresh(arguments=QUICK).start()
    deploy(platform, tmp_path, "churn")
    deploy(platform, tmp_path, "churn", CHECKED, "--env", "staging")
    deploy(platform, tmp_path, "fraud", CHECKED)
    platform.run("release", "churn@v2", "--canary", "20", "--every", "10m", "--detach")
    for age in range(120):
        platform.predict("churn", {"age": age})
        asked = platform.predict("fraud", {"age": 160}).headers["decalog-request-id"]
    for name in ("ann", "bob"):
        member(platform, name, "deployer", "default")
    platform.run("env", "protect", "staging", "--approvals", "1")
    assert platform.run("release", "fraud@v1", "--env", "staging", env={"DECALOG_TOKEN": token(platform, "ann", ALL_SCOPES)[0]}, ok=False).code == 4
    watched = dashboard.enter(platform)
    watched.page.get_by_role("link", name=re.compile("^Alarms.* open$")).wait_for()
    # A condition that is none is an error of whoever wrote it, and what never was released in staging has no release.
    watched.expected += ["status of 400", "release?environment=staging"]
    seen = {
        "/": "requests fail", "/alarms": "requests fail", "/models/default/churn?tab=release": "of the traffic", "/access?tab=proposals": "asked by ann",
        "/models/default/fraud?tab=release&environment=staging": "asked by ann", f"/models/default/fraud?tab=records&status=failed&id={asked}": "nobody is that old",
        "/?search=nothing": "No model is called like", "/models/default/fraud?tab=records&where=in.age+%3E%3E": "Try again",
    }
    faults = look_at(watched, seen)
    for path, text in seen.items():
        watched.page.set_viewport_size({"width": WIDE, "height": 800})
        watched.open(path)
        if watched.page.get_by_text(text).count() == 0:
            faults.append(f"{path}: nothing says “{text}”")
    assert faults == [], "\n".join(faults)


#: How far apart two colours have to be, from 0 to 1 (Oklab, where 0.02 is just seen); without any colour a dash says more.
APART_MIN, APART_GREY_MIN = 0.06, 0.02
EYES = ("none", "protanopia", "deuteranopia", "tritanopia", "achromatopsia")


def test_series_are_told_apart_by_any_eye(platform, dashboard, tmp_path):
    for source in (ROW, CHECKED):
        deploy(platform, tmp_path, "churn", source)
        for age in range(30):
            platform.predict("churn", {"age": age})
    watched = dashboard.enter(platform, "/models/default/churn")
    page = watched.page
    # All charts are in one picture.
    page.set_viewport_size({"width": WIDE, "height": 1_600})
    charts = page.locator(".chart").filter(has=page.locator(".chart-key"))
    watched.wait(lambda: max((chart.locator(".chart-key").count() for chart in charts.all()), default=0) >= 4, "the latency of two versions")
    faults, least = [], {}
    for chart in charts.all():
        dashes = [line.get_attribute("stroke-dasharray") for line in chart.locator(".chart-key line").all()]
        words = chart.locator(".chart-key").all_inner_texts()
        if len(set(dashes)) < len(dashes) or len(set(words)) < len(words):
            faults.append(f"{words}: two have the same dash, {dashes}")
    session = page.context.new_cdp_session(page)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        watched.settled()
        for eye in EYES:
            session.send("Emulation.setEmulatedVisionDeficiency", {"type": eye})
            page.wait_for_timeout(100)
            keys = page.locator(".chart-key").all()
            seen = list(zip(keys, colours(watched, [key.locator("svg") for key in keys])))
            for chart in charts.all():
                of_chart, seen = seen[:chart.locator(".chart-key").count()], seen[chart.locator(".chart-key").count():]
                for (one, its), (other, others) in combinations(of_chart, 2):
                    distance = apart(its, others)
                    least[scheme, eye] = min(least.get((scheme, eye), 1.0), distance)
                    if distance < (APART_GREY_MIN if eye == "achromatopsia" else APART_MIN):
                        faults.append(f"{scheme}, {eye}: {one.inner_text()} and {other.inner_text()} are {distance:.3f} apart, {its} {others}")
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})
    print({f"{scheme}, {eye}": round(distance, 3) for (scheme, eye), distance in least.items()})
    assert faults == [], "\n".join(faults)


def test_what_lies_over_a_page_or_is_still_loaded_is_whole(platform, dashboard, tmp_path):
    for source in (ROW, CHECKED):
        deploy(platform, tmp_path, "churn", source)
    assert platform.predict("churn", {"age": 42}).status == 200
    watched = dashboard.enter(platform, "/models/default/churn")
    page, faults = watched.page, []
    dialog = page.get_by_role("dialog")

    def look(what):
        seen = accessible(watched, what)
        page.emulate_media(color_scheme="dark")
        seen += accessible(watched, f"{what}, dark", COLOURS)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": NARROW, "height": 800})
        seen += overflow(watched, f"{what}, narrow")
        page.set_viewport_size({"width": WIDE, "height": 800})
        return seen

    page.get_by_role("button", name="Roll back to v1").click()
    dialog.get_by_text("decalog rollback churn").wait_for()
    faults += look("the question before going back")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("?")
    dialog.get_by_text("Find a model, a version").wait_for()
    faults += look("the help")
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.keyboard.press("Control+k")
    page.get_by_text("v2 live in production").wait_for()
    faults += look("finding")
    page.keyboard.press("Escape")
    # Lists that never come.
    page.route(re.compile("/v1/models[?]"), lambda route: None)
    page.goto(watched.origin + "/")
    page.locator(".table-loading").wait_for()
    faults += look("while models are loaded")
    page.unroute_all(behavior="ignoreErrors")
    assert faults == [], "\n".join(faults)
