#!/usr/bin/env python3
"""Takes pictures of every page of the dashboard and of its states, in both themes, at a desk and on a phone: of the real binary with
the example models, a day of flights, data that changed, truth that came later, a canary on its way and an alarm that is open.

    tools/shots.py --decalog ~/.cache/decalog/target/release/decalog --output /tmp/shots
    tools/shots.py --decalog … --output /tmp/shots --only 'overview|release'      some of them
    tools/shots.py --decalog … --output /tmp/shots --pictures docs/pictures       and the few that the documents show
"""

import argparse
import base64
import csv
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import pandas  # noqa: E402
from conftest import Platform, wait_for, write_model  # noqa: E402
from pages import NARROW, WIDE, Dashboard  # noqa: E402
from test_clock import LIBRARY  # noqa: E402
from test_walkthroughs import DATA  # noqa: E402

EXAMPLES = ROOT / "examples"
#: The day before the pictures: how many minutes lie between two looks at it, and what part of it is another kind of flights.
STEP_MINUTES, DAY_MINUTES, CHANGED_MINUTES = 20, 20 * 60, 4 * 60
#: Truth is known of what was asked longer ago than this, in minutes.
TOLD_MINUTES = 3 * 60
#: Detectors look once a second by a clock that is not faked.
LOOK_S = 1.05
#: How long requests go on before pictures are taken, in seconds: the numbers of a minute fill.
WARM_UP_S = 45
HEIGHT, PHONE_HEIGHT = 800, 844
#: Of the pictures in documents: their quality as WebP, from 0 to 100.
QUALITY = 82

FLIGHTS_MANIFEST = """[model]
description = "How likely a flight from New York is to arrive more than 15 minutes late"

[data]
reference = "../flights.csv"

[truth]
output = "late"
column = "was_late"
"""
FRAUD = '''"""How suspicious a payment is."""


def predict(amount: float, country: str = "NL", hour: int = 12) -> dict[str, float]:
    {check}return {{"suspicious": min(1.0, amount / 1000 + (0.2 if hour < 6 else 0.0))}}
'''
BROKEN = 'if country == "BE":\n        raise KeyError("no rate for country BE")\n    '


class Scene:
    """Servers with something to show, and callers that ask."""

    def __init__(self, binary, directory):
        self.directory, self.clock, self.over = directory, directory / "clock", threading.Event()
        self.clock.write_text("+0")
        variables = [f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={self.clock}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        self.empty = Platform(directory / "empty", binary=binary).start()
        self.platform = Platform(directory / "data", binary=binary, prefix=["env", *variables])
        self.threads = []

    def make(self):
        """All of it; takes some minutes."""
        self.at(-DAY_MINUTES)
        self.platform.start()
        for step in (self.deploy, self.live_through_a_day, self.people, self.trouble, self.canary, self.proposal):
            began = time.monotonic()
            step()
            print(f"· {step.__name__.replace('_', ' ')}: {time.monotonic() - began:.0f} s", flush=True)
        time.sleep(WARM_UP_S)

    def at(self, minutes):
        """Sets the server's clock: so many minutes from now."""
        self.clock.write_text(f"{minutes * 60:+.0f}")

    def deploy(self):
        table = pandas.read_csv(DATA / "flights.csv.zip").dropna(subset=["arr_delay"])
        table = table[table.month == 3].assign(late=lambda all: (all.arr_delay > 15).astype(int), departure=lambda all: all.time_hour)
        self.flights = table
        table.rename(columns={"late": "was_late"})[["carrier", "origin", "distance", "was_late"]].to_csv(self.directory / "flights.csv", index=False)
        flights = shutil.copytree(EXAMPLES / "flights", self.directory / "flights")
        (flights / "decalog.toml").write_text(FLIGHTS_MANIFEST)
        self.platform.run("deploy", flights)
        for name, example in (("iris", "iris-sklearn"), ("digits", "digits-onnx"), ("air-time", "linear-python"), ("stream", "stream")):
            self.platform.run("deploy", EXAMPLES / example, "--name", name)
        self.platform.run("deploy", write_model(self.directory / "fraud", {"model.py": FRAUD.format(check="")}), "--project", "payments")

    def live_through_a_day(self):
        """What was asked of the flights at each hour is what left then; towards the end only flights that go far are asked about."""
        waiting = []
        by_hour = {hour: rows for hour, rows in self.flights.groupby("hour")}
        for minutes in range(-DAY_MINUTES, 0, STEP_MINUTES):
            self.at(minutes)
            hour = time.gmtime(time.time() + minutes * 60).tm_hour
            rows = by_hour.get(hour, by_hour[6])
            if minutes > -CHANGED_MINUTES:
                rows = rows[(rows.distance > 1800) & (rows.origin == "JFK")] if hour in by_hour else self.flights[self.flights.distance > 1800]
            rows = rows.sample(min(len(rows), 12 + 3 * (hour % 12)), random_state=minutes + DAY_MINUTES)
            for number, row in enumerate(rows.itertuples()):
                body = {"carrier": row.carrier, "origin": row.origin, "distance": int(row.distance), "departure": row.departure, "visibility": 10.0}
                answer = self.platform.predict("flights", body, {"traceparent": f"00-{minutes + 10**6:032x}-{number + 1:016x}-01"})
                assert answer.status == 200, answer.body
                waiting.append((minutes, answer.headers["decalog-request-id"], row.late))
            for _ in range(6):
                self.platform.predict("air-time", {"distance": 1400, "origin": "EWR"})
                self.platform.predict("iris", {"sepal_length": 5.9, "sepal_width": 3.2, "petal_length": 4.8, "petal_width": 1.8})
                self.platform.predict("payments/fraud", {"amount": 20.0 * (hour + 1), "hour": hour})
            time.sleep(LOOK_S)
        self.at(0)
        told = [(one, late) for minutes, one, late in waiting if minutes < -TOLD_MINUTES]
        path = self.directory / "truth.csv"
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([("id", "was_late"), *told])
        self.platform.run("feedback", "flights", path)

    def people(self):
        for name, role, where in (("ann", "deployer", ()), ("bob", "operator", ()), ("carl", "viewer", ("--project", "payments")), ("dora", "owner", ())):
            self.platform.run("member", "add", name, "--role", role, *where)
        self.platform.run("token", "create", "shop", "--predict", "default/flights", "--rate", "100/s", "--expires", "90d")

    def ask(self, model, row, per_s, headers=None):
        """Somebody who asks until the pictures are taken."""

        def go_on():
            while not self.over.is_set():
                self.platform.predict(model, row() if callable(row) else row, headers)
                self.over.wait(1 / per_s)

        self.threads.append(threading.Thread(target=go_on, daemon=True))
        self.threads[-1].start()

    def trouble(self):
        """A new version that fails for some callers."""
        countries = iter(("NL", "DE", "BE", "FR", "NL") * 10**6)
        self.ask("payments/fraud", lambda: {"amount": 120.0, "country": next(countries), "hour": 14}, 12)
        self.ask("iris", {"sepal_length": 5.9, "sepal_width": 3.2, "petal_length": 4.8, "petal_width": 1.8}, 5)
        self.ask("flights", {"carrier": "B6", "origin": "JFK", "distance": 2475, "departure": "2013-03-08T18:10:00Z"}, 2)
        time.sleep(20)
        write_model(self.directory / "fraud", {"model.py": FRAUD.format(check=BROKEN)})
        self.platform.run("deploy", self.directory / "fraud", "--project", "payments")
        wait_for(lambda: self.platform.run("alarms", "payments/fraud", "--json").json()["open"], "an alarm", 120)

    def canary(self):
        """R takes over from Python, step by step."""
        self.ask("air-time", {"distance": 1400, "origin": "EWR"}, 15)
        self.ask("air-time", {"distance": 187, "origin": "LGA"}, 15)
        self.platform.run("deploy", EXAMPLES / "linear-r", "--name", "air-time", "--env", "staging")
        self.platform.run("release", "air-time@v2", "--canary", "10,25,50", "--every", "10m", "--guard", "errors<1%", "--guard", "p99<1s", "--guard", "mean<100ms", "--detach")
        wait_for(lambda: self.platform.get("/v1/projects/default/models/air-time/release").json().get("progress"), "a share of the traffic", 120)

    def proposal(self):
        token = self.platform.run("token", "create", "ann", "--scope", "read", "--scope", "deploy", "--scope", "operate").out.strip()
        write_model(self.directory / "fraud", {"model.py": FRAUD.format(check="") + "\n# Rates of Belgium are there again.\n"})
        self.platform.run("env", "protect", "production", "--approvals", "1", "--project", "payments")
        proposed = self.platform.run("deploy", self.directory / "fraud", "--project", "payments", env={"DECALOG_TOKEN": token}, ok=False)
        assert proposed.code == 4, proposed

    def viewer(self):
        """The token of somebody who may look at one project."""
        return self.platform.run("token", "create", "carl", "--scope", "read").out.strip()

    def close(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for platform in (self.platform, self.empty):
            platform.stop()


class Camera:
    """Takes pictures of a page in both themes and at both widths."""

    def __init__(self, options):
        self.output, self.pictures, self.only = options.output, options.pictures, re.compile(options.only)
        self.output.mkdir(parents=True, exist_ok=True)
        self.count = 0

    def wants(self, name):
        return self.only.search(name)

    def take(self, watched, name, phone=True):
        """What is there now."""
        if not self.wants(name):
            return
        page = watched.page
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            self.shoot(page, f"{name}-{scheme}")
        page.emulate_media(color_scheme="light")
        if phone:
            page.set_viewport_size({"width": NARROW, "height": PHONE_HEIGHT})
            page.wait_for_timeout(250)
            self.shoot(page, f"{name}-phone")
            page.set_viewport_size({"width": WIDE, "height": HEIGHT})
            page.wait_for_timeout(150)

    def shoot(self, page, name):
        page.screenshot(path=self.output / f"{name}.png")
        self.count += 1

    def document(self, watched, name, scheme="light"):
        """One for the documents: small, at the size of a laptop."""
        if not self.pictures:
            return
        page = watched.page
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(150)
        taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
        (self.pictures / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
        page.emulate_media(color_scheme="light")


#: Name, address, and the name among the pictures of documents with its theme.
FILLED = [
    ("overview", "/", ("dashboard", "light")),
    ("overview-flat", "/?flat=true&sort=alarms", None),
    ("overview-none-found", "/?search=nothing-like-this", None),
    ("now", "/models/payments/fraud", None),
    ("now-day", "/models/default/flights?since=24h", ("dashboard-now", "light")),
    ("why", "/models/payments/fraud?tab=why", None),
    ("versions", "/models/payments/fraud?tab=versions&version=v2", None),
    ("try", "/models/default/flights?tab=try", None),
    ("logs", "/models/payments/fraud?tab=logs", None),
    ("data", "/models/default/flights?tab=data", ("dashboard-data", "light")),
    ("data-column", "/models/default/flights?tab=data&column=distance", None),
    ("truth", "/models/default/flights?tab=truth&by=hour&since=24h", ("dashboard-truth", "dark")),
    ("release", "/models/default/air-time?tab=release", ("dashboard-release", "dark")),
    ("release-proposed", "/models/payments/fraud?tab=release", None),
    ("records", "/models/payments/fraud?tab=records&status=failed", None),
    ("lineage", "/models/default/flights?tab=lineage", None),
    ("compare", "/models/payments/fraud?tab=compare", None),
    ("alarms", "/alarms", ("dashboard-alarms", "light")),
    ("alarms-receivers", "/alarms?tab=receivers", None),
    ("events", "/events", None),
    ("events-proof", "/events?tab=proof", None),
    ("access", "/access", None),
    ("access-tokens", "/access?tab=tokens", None),
    ("access-proposals", "/access?tab=proposals", None),
    ("access-me", "/access?tab=me", None),
    ("system", "/system", None),
    ("missing", "/models/default/nobody", None),
    ("no-page", "/nowhere", None),
]
EMPTY = [("overview", "/"), ("alarms", "/alarms"), ("receivers", "/alarms?tab=receivers"), ("events", "/events"), ("access", "/access"), ("proposals", "/access?tab=proposals")]
#: What each page asks for, to see it wait and fail.
ASKED = [("overview", "/", "/v1/models[?]"), ("alarms", "/alarms", "/v1/alarms"), ("events", "/events", "/v1/events"), ("model", "/models/default/flights", "/v1/projects/default/models/flights$"),
         ("records", "/models/default/flights?tab=records", "/records"), ("data", "/models/default/flights?tab=data", "/drift")]
#: What somebody opens who may look at one project alone.
REFUSED = [("model", "/models/payments/fraud"), ("records", "/models/payments/fraud?tab=records"), ("missing", "/models/default/flights"),
           ("tokens", "/access?tab=tokens"), ("system", "/system")]
PROBLEM = '{"type": "about:blank", "title": "internal", "status": 500, "code": "internal", ' \
          '"error": "the ledger could not be read: disk I/O error", "help": "`decalog doctor` says what is missing on this machine"}'


def filled(camera, scene, watched):
    for name, path, picture in FILLED:
        if camera.wants(name) or (picture and camera.pictures):
            watched.open(path)
            # Charts and the numbers of this second come after the page.
            watched.page.wait_for_timeout(1_300)
            camera.take(watched, name)
            if picture:
                camera.document(watched, *picture)
    for name, take in (("record", record), ("dialog", dialog), ("find", find), ("menu", menu), ("table", table)):
        if camera.wants(name):
            take(camera, watched)


def record(camera, watched):
    watched.open("/models/payments/fraud?tab=records&status=failed")
    watched.page.get_by_role("row").nth(1).click()
    watched.settled()
    watched.page.wait_for_timeout(300)
    camera.take(watched, "record")


def dialog(camera, watched):
    watched.open("/models/payments/fraud")
    watched.page.get_by_role("button", name=re.compile("^Roll back to")).click()
    watched.page.get_by_role("dialog").get_by_text("decalog rollback").wait_for()
    camera.take(watched, "dialog")


def find(camera, watched):
    watched.open("/")
    watched.page.keyboard.press("Control+k")
    watched.page.get_by_placeholder("A model, a version").wait_for()
    watched.page.keyboard.type("fl")
    watched.page.wait_for_timeout(700)
    camera.take(watched, "find", phone=False)


def menu(camera, watched):
    watched.open("/")
    watched.page.set_viewport_size({"width": NARROW, "height": PHONE_HEIGHT})
    watched.page.get_by_role("button", name="Menu").click()
    watched.page.wait_for_timeout(200)
    camera.shoot(watched.page, "menu-phone")
    watched.page.set_viewport_size({"width": WIDE, "height": HEIGHT})


def table(camera, watched):
    watched.open("/models/payments/fraud")
    watched.page.get_by_role("button", name=re.compile("as a table$")).first.click()
    watched.page.wait_for_timeout(200)
    camera.take(watched, "table", phone=False)


def troubled(camera, scene, dashboard):
    """Pages that wait, that fail, that one may not see, and whose server is away."""
    watched = dashboard.enter(scene.platform)
    for name, path, asked in ASKED:
        for state, answer in (("loading", lambda route: None), ("error", lambda route: route.fulfill(status=500, content_type="application/json", body=PROBLEM))):
            if camera.wants(f"{state}-{name}"):
                watched.page.route(re.compile(asked), answer)
                watched.page.goto(watched.origin + path)
                watched.page.wait_for_timeout(1_500)
                camera.take(watched, f"{state}-{name}")
                watched.page.unroute_all(behavior="ignoreErrors")
    if camera.wants("refused"):
        refused = dashboard.enter(scene.platform, token=scene.viewer())
        for name, path in REFUSED:
            refused.open(path)
            camera.take(refused, f"refused-{name}")
    if camera.wants("stranger"):
        stranger = dashboard.enter(scene.platform)
        stranger.page.context.clear_cookies()
        stranger.page.goto(stranger.origin + "/")
        stranger.page.wait_for_timeout(1_000)
        camera.take(stranger, "stranger")
    if camera.wants("ended"):
        ended = dashboard.enter(scene.platform, "/models/default/flights?tab=try")
        session = ended.page.evaluate("fetch('/v1/whoami').then((answer) => answer.json())")["token"]
        scene.platform.run("token", "revoke", session)
        ended.page.get_by_text("Your session has ended").wait_for()
        camera.take(ended, "ended")
    if camera.wants("stale"):
        watched.open("/")
        away = dashboard.enter(scene.platform, "/models/payments/fraud")
        scene.platform.kill()
        for page, name in ((watched, "stale-overview"), (away, "stale-model")):
            page.page.get_by_text("The server does not answer").wait_for()
            camera.take(page, name)


def empty(camera, scene, dashboard):
    watched = dashboard.enter(scene.empty)
    for name, path in EMPTY:
        if camera.wants(f"empty-{name}"):
            watched.open(path)
            camera.take(watched, f"empty-{name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decalog", type=Path, required=True, help="the binary")
    parser.add_argument("--output", type=Path, required=True, help="where the pictures go")
    parser.add_argument("--pictures", type=Path, help="where the few that documents show go")
    parser.add_argument("--only", default="", help="names that are taken, as a regular expression")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="decalog-shots-"))
    scene, camera = Scene(options.decalog, directory), Camera(options)
    try:
        scene.make()
        dashboard = Dashboard()
        try:
            filled(camera, scene, dashboard.enter(scene.platform))
            empty(camera, scene, dashboard)
            troubled(camera, scene, dashboard)
        finally:
            dashboard.close()
    finally:
        scene.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{camera.count} pictures in {options.output}")


if __name__ == "__main__":
    main()
