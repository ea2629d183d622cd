"""The dashboard in a real Chromium: pages that are watched, sessions, and what is checked of every page."""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from conftest import ROOT, wait_for
from playwright.sync_api import sync_playwright

#: The longest that a page may take to show something, in seconds.
SECONDS_MAX = 60
NODE_MODULES = Path(os.environ.get("DECALOG_NODE_MODULES", ROOT / "tests/typescript/node_modules"))
#: What the browser says of every answer that is an error, and of every one that did not come.
NO_ANSWER = "Failed to load resource: "
#: Still being loaded: a skeleton, or a table that waits for its rows.
LOADING = ".mantine-Skeleton-root, [aria-busy='true']"
#: The widths of a desk and of a phone.
WIDE, NARROW = 1280, 390
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

    def leave(self):
        """Closes all pages; what they said is judged by `clean`."""
        for context in self.contexts:
            context.close()
        self.contexts, self.pages = [], []

    def close(self):
        self.browser.close()
        self.playwright.stop()


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
