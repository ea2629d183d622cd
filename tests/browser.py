"""A real Chromium without a window, driven by its DevTools protocol over two pipes."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections import Counter

from conftest import wait_for

#: Protections that a browser has of itself are off, so that it is the server that refuses. Nothing is asked of anybody else.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-default-apps", "--disable-dev-shm-usage", "--disable-features=LocalNetworkAccessChecks,HttpsUpgrades", "--remote-debugging-pipe"]
#: The longest that anything in a browser may take, in seconds.
SECONDS_MAX = 90


class Browser:
    """One Chromium with one page. Names of `names` are this machine."""

    def __init__(self, directory, names, *flags):
        path = shutil.which("chromium")
        assert path, "chromium is missing: make tools installs it"
        from_us, to_them = os.pipe()
        from_them, to_us = os.pipe()
        rules = ", ".join(f"MAP {name} 127.0.0.1" for name in names)
        # The protocol is spoken over the descriptors 3 and 4.
        script = f'exec "$@" 3<&{from_us} 4>&{to_us} {from_us}<&- {to_us}>&-'
        command = ["bash", "-c", script, "-", path, *FLAGS, *flags, f"--user-data-dir={directory}", f"--host-resolver-rules={rules}", "about:blank"]
        with open(f"{directory}.log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[from_us, to_us], start_new_session=True)
        os.close(from_us)
        os.close(to_us)
        self.writer, self.reader = os.fdopen(to_them, "wb", 0), os.fdopen(from_them, "rb")
        self.session, self.last, self.answers = None, 0, {}
        self.urls, self.seen = {}, []
        threading.Thread(target=self.read, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def read(self):
        buffer = b""
        while piece := self.reader.raw.read(1 << 20):
            *messages, buffer = (buffer + piece).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self.answers[message["id"]].put(message)
                elif message["method"] == "Network.requestWillBeSent":
                    self.urls[message["params"]["requestId"]] = message["params"]["request"]["url"]
                elif message["method"] == "Network.responseReceivedExtraInfo":
                    self.seen.append((message["params"]["requestId"], message["params"]["statusCode"]))

    def statuses(self, begin):
        """How often which status was answered to URLs that begin so, also where pages are not told."""
        return Counter(status for request, status in self.seen if self.urls.get(request, "").startswith(begin))

    def call(self, method, **parameters):
        self.last += 1
        number, answer = self.last, queue.Queue()
        self.answers[number] = answer
        message = {"id": number, "method": method, "params": parameters}
        if self.session and not method.startswith("Target."):
            message["sessionId"] = self.session
        self.writer.write(json.dumps(message).encode() + b"\0")
        result = answer.get(timeout=SECONDS_MAX)
        assert "error" not in result, (method, result)
        return result["result"]

    def visit(self, url):
        """Goes to a page and waits until it is there."""
        went = self.call("Page.navigate", url=url)
        assert "errorText" not in went, (url, went)
        wait_for(lambda: self.run("document.readyState + ' ' + location.href") == f"complete {url}", url, SECONDS_MAX)

    def run(self, script):
        """What a script of the page gives, once it is settled; as if somebody had clicked."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def carry(self, headers):
        """Sends these headers with every request of every page, whatever it is and wherever it goes."""
        self.call("Network.setExtraHTTPHeaders", headers=headers)

    def close(self):
        self.call("Browser.close")
        self.writer.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
