"""The dashboard in a real Chromium: pages that are watched, sessions, and what is checked of every page."""

import base64
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, wait_for
from playwright.sync_api import sync_playwright

#: The longest that a page may take to show something, in seconds.
SECONDS_MAX = 60
NODE_MODULES = Path(os.environ.get("DECALOG_NODE_MODULES", ROOT / "tests/typescript/node_modules"))
#: What the browser says of every answer that is an error, and of every one that did not come.
NO_ANSWER = "Failed to load resource: "
#: Still being loaded: a skeleton, or a table that waits for its rows.
LOADING = ".mantine-Skeleton-root, [aria-busy='true']"
#: The widths of a desk, of a phone and of a wall, in pixels.
WIDE, NARROW, WALL = 1280, 390, 3840
#: What of axe depends on colours, and what does not: that is the same in both themes.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
SHAPE = {"type": "rule", "values": ["scrollable-region-focusable", "nested-interactive", "button-name", "link-name", "label", "aria-required-children", "aria-required-parent", "aria-allowed-attr",
                                    "aria-hidden-focus", "label-content-name-mismatch", "list", "listitem", "definition-list", "dlitem", "duplicate-id-aria", "landmark-one-main", "region"]}


class Watched:
    """A page of which everything is remembered that must not be: errors, refusals by its policy, requests to others."""

    def __init__(self, page, origin):
        self.page, self.origin = page, origin
        self.errors, self.elsewhere, self.running = [], [], set()
        #: Parts of the messages about answers that this test provokes.
        self.expected = []
        page.set_default_timeout(SECONDS_MAX * 1000)
        page.on("console", self.said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self.began)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: self.running.discard(request))

    def said(self, message):
        if message.type == "error" or "Content Security Policy" in message.text:
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def began(self, request):
        there = urlsplit(request.url)
        if there.scheme not in ("data", "blob") and f"{there.scheme}://{there.netloc}" != self.origin:
            self.elsewhere.append(request.url)
        if there.path != "/v1/live":
            self.running.add(request)

    def open(self, path):
        """Goes to an address of the dashboard and waits until all of it is there."""
        self.page.goto(self.origin + path)
        self.settled()

    def settled(self):
        """All that was asked for is there, and drawn."""

        def is_calm():
            self.page.wait_for_timeout(30)
            return not self.running and self.page.locator("h1").count() > 0 and self.page.locator(LOADING).count() == 0

        # Twice: what one answer says may lead to the next question.
        wait_for(lambda: is_calm() and is_calm(), f"all of {self.page.url}", SECONDS_MAX)

    def wait(self, condition, what):
        """Events of the browser are heard meanwhile."""

        def holds():
            self.page.wait_for_timeout(30)
            return condition()

        return wait_for(holds, what, SECONDS_MAX)

    def clean(self):
        errors = [error for error in self.errors if not (error.startswith(NO_ANSWER) and any(part in error for part in self.expected))]
        assert errors == [], errors
        assert self.elsewhere == [], "a request to another server"


class Dashboard:
    """Browsers of people, each with its own cookies."""

    def __init__(self):
        path = shutil.which("chromium")
        assert path, "chromium is missing: make tools installs it"
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        self.contexts, self.pages = [], []

    def enter(self, platform, path="/", token=None, **options):
        """A page of whoever owns the data directory, or of whoever has the token: both follow the link of `decalog dashboard`."""
        env = {"DECALOG_TOKEN": token} if token else {}
        link = platform.run("dashboard", "--print", env=env).out.strip()
        context = self.browser.new_context(viewport={"width": WIDE, "height": 800}, **options)
        self.contexts.append(context)
        there = urlsplit(link)
        watched = Watched(context.new_page(), f"{there.scheme}://{there.netloc}")
        self.pages.append(watched)
        watched.page.goto(link)
        watched.page.get_by_role("button", name="Go on").click()
        watched.page.wait_for_url(watched.origin + "/")
        watched.settled()
        if path != "/":
            watched.open(path)
        return watched

    def tab(self, watched, path=None):
        """Another tab of the same browser, of the same person; blank, unless it is to show a page."""
        other = Watched(watched.page.context.new_page(), watched.origin)
        self.pages.append(other)
        if path:
            other.open(path)
        return other

    def leave(self):
        """Closes all pages; what they said is judged by `clean`."""
        for context in self.contexts:
            context.close()
        self.contexts, self.pages = [], []

    def close(self):
        self.browser.close()
        self.playwright.stop()


@pytest.fixture(scope="module")
def browser():
    browser = Dashboard()
    yield browser
    browser.close()


@pytest.fixture
def dashboard(browser):
    """Every page that a test opened is silent, keeps its policy, and asks nobody else."""
    yield browser
    pages = browser.pages
    browser.leave()
    for page in pages:
        page.clean()


def row_of(watched, name):
    """The line of a model in the overview."""
    return watched.page.get_by_role("row").filter(has=watched.page.get_by_role("link", name=name, exact=True))


def live(platform, model="churn", environment="production"):
    """Which version is live."""
    return dict(platform.get(f"/v1/projects/default/models/{model}").json()["live"]).get(environment)


def axe_source():
    return (NODE_MODULES / "axe-core/axe.min.js").read_text()


def accessible(watched, what, only=None):
    """What axe finds that keeps people out, as lines; by the rules `only`, if they are said."""
    if not watched.page.evaluate("'axe' in window"):
        watched.page.evaluate(axe_source())
    # Colours are judged once they have changed.
    watched.wait(lambda: watched.page.evaluate("document.getAnimations().every((one) => !(one instanceof CSSTransition))"), "colours at rest")
    script = """async (only) => {
        const { violations } = await axe.run(document, { resultTypes: ['violations'], ...(only && { runOnly: only }) });
        return violations.filter((one) => ['serious', 'critical'].includes(one.impact)).flatMap((one) =>
            one.nodes.map((node) => `${one.id}: ${node.target} ${node.html.slice(0, 160)} ${node.any[0]?.message ?? node.all[0]?.message ?? ''}`));
    }"""
    return [f"{what}: {line}" for line in watched.page.evaluate(script, only)]


def overflow(watched, what):
    """Whether the document is wider than the window, as lines."""
    width, window = watched.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [f"{what}: {width} px wide in a window of {window}"] if width > window else []


#: The colour in each box of a picture that differs most from that of its corner.
SAMPLE = """async ([picture, boxes]) => {
    const image = new Image();
    image.src = `data:image/png;base64,${picture}`;
    await image.decode();
    const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
    const ink = canvas.getContext('2d');
    ink.drawImage(image, 0, 0);
    return boxes.map(({ x, y, width, height }) => {
        const { data } = ink.getImageData(x, y, width, height);
        let most = [0, 0, 0], far = -1;
        for (let at = 0; at < data.length; at += 4) {
            const distance = Math.hypot(data[at] - data[0], data[at + 1] - data[1], data[at + 2] - data[2]);
            if (distance > far) [far, most] = [distance, [data[at], data[at + 1], data[at + 2]]];
        }
        return most;
    });
}"""


def colours(watched, places):
    """The colour that each place has on the screen, as it is seen: in a picture, so also by the eye that the browser simulates."""
    picture = base64.b64encode(watched.page.screenshot()).decode()
    blank = watched.page.context.new_page()
    boxes = [{name: round(value) for name, value in place.bounding_box().items()} for place in places]
    try:
        return blank.evaluate(SAMPLE, [picture, boxes])
    finally:
        blank.close()


def apart(one, other):
    """How different two colours of sRGB look, from 0 to 1: their distance in Oklab (Ottosson, 2020)."""

    def oklab(colour):
        red, green, blue = ((part / 255 / 12.92) if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour)
        long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
        middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
        short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
        return (
            0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
            1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
            0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
        )

    return sum((a - b) ** 2 for a, b in zip(oklab(one), oklab(other))) ** 0.5
