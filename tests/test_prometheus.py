"""Prometheus scrapes Decalog in each of its formats, and the rules and the dashboard that come with it ask for what is there."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from conftest import ROOT, wait_for, write_model
from test_alarms import alarm, write
from test_releases import pushed
from test_truth import in_files, known, send

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
RULES = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/decalog.json"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MODEL = "import time\n\ndef predict(x: int) -> int:\n    time.sleep({wait})\n    if x < 0:\n        raise ValueError('negative')\n    return x\n"
NATIVE = ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
          "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")

pytestmark = pytest.mark.skipif(not PROMETHEUS or not PROMTOOL, reason="there is no Prometheus: tools/install.sh")


class Prometheus:
    """A server that scrapes one Decalog every second, natively or not."""

    def __init__(self, directory, target, is_native):
        directory.mkdir()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "decalog.rules.yml")],
            "scrape_configs": [{"job_name": "decalog", "static_configs": [{"targets": [target]}]}],
        }
        # JSON is YAML, too.
        (directory / "prometheus.yml").write_text(json.dumps(config))
        features = "exemplar-storage,native-histograms" if is_native else "exemplar-storage"
        command = [PROMETHEUS, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'data'}",
                   "--web.listen-address=127.0.0.1:0", f"--enable-feature={features}"]
        self.log = directory / "log"
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        found = wait_for(lambda: re.search(r'"Listening on" address=(\S+)', self.log.read_text()), "the address of Prometheus", 60)
        self.url = f"http://{found.group(1)}/api/v1"

    def ask(self, path, **parameters):
        url = f"{self.url}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from None

    def query(self, expression):
        """Series with their values now."""
        return self.ask("query", query=expression)["result"]

    def number(self, expression):
        """The value of the only series; `None` if there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def exemplars(self, selector):
        """By series, of the last hour."""
        now = time.time()
        return self.ask("query_exemplars", query=selector, start=now - 3600, end=now + 60)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Traffic:
    """Requests of all kinds, until it is stopped."""

    def __init__(self, platform):
        self.platform, self.ended = platform, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            for body in [{"x": 1}, {"x": 2}, {"x": -1}, {"x": "no"}]:
                self.platform.predict("busy", body)
            self.platform.predict("nobody", {"x": 1})

    def stop(self):
        self.ended.set()
        self.thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A Decalog in which there is something of everything, and two servers that scrape it."""
    from conftest import Platform

    directory = tmp_path_factory.mktemp("prometheus")
    platform = Platform(directory / "data").start()
    platform.run("deploy", write_model(directory / "timed", {"model.py": MODEL.format(wait=0.02)}))
    platform.run("deploy", write_model(directory / "busy", {"model.py": MODEL.format(wait=0.001)}))
    version = pushed(platform, directory / "busy", {"model.py": MODEL.format(wait=0.002)})
    platform.run("release", f"busy@{version}", "--shadow", "100%", "--guard", "disagreement<90%", "--detach")
    write_model(directory / "judged", {"model.py": MODEL.format(wait=0)})
    platform.run("deploy", str(directory / "judged"))
    for x in range(20):
        assert platform.predict("judged", {"x": x}, {"decalog-key": f"at={x}"}).status == 200
    in_files(platform)
    send(platform, "judged", "\n".join(json.dumps({"key": f"at={x}", "truth": x + 2.5}) for x in range(20)).encode(), {"content-type": "application/x-ndjson"})
    known(platform, "judged", 20)
    # Nobody listens there.
    platform.run("alerts", "add", "ops", "http://127.0.0.1:9/hook")
    platform.stop()
    one = alarm("gone", kind="quality")
    write(platform, [("opened", one)], [one])
    platform.start()
    target = urllib.parse.urlsplit(platform.url).netloc
    servers = [Prometheus(directory / name, target, name == "native") for name in ("native", "classic")]
    traffic = Traffic(platform)
    yield platform, *servers
    traffic.stop()
    for server in servers:
        server.stop()
    platform.stop()


def texts(platform, accept=None):
    answer = platform.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
    assert answer.status == 200
    return answer


def exposed(platform):
    """Names of samples, without what histograms add."""
    names = set()
    for line in texts(platform).body.decode().splitlines():
        if line.startswith("# TYPE "):
            names.add(line.split()[2])
    return names


def expressions():
    """Those of the dashboard, as Grafana asks them with everything chosen."""
    def all_of(panels):
        for panel in panels:
            yield from all_of(panel.get("panels", []))
            for target in panel.get("targets", []):
                yield panel["title"], target["expr"]

    for title, expression in all_of(json.loads(DASHBOARD.read_text())["panels"]):
        expression = expression.replace("$__rate_interval", "20s")
        yield title, re.sub(r"\$(project|model|environment|version)\b", ".*", expression)


def metrics_of(expression):
    """Names of metrics in an expression."""
    return set(re.findall(r"(?<![:\w])(?:decalog|process)_\w+", expression))


# ---- Formats ---------------------------------------------------------------------------------------


def test_each_format_is_what_it_says(place):
    platform, *_ = place
    wait_for(lambda: b"decalog_shadow_copies_total" in texts(platform).body, "traffic")
    plain = texts(platform)
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert plain.headers["vary"].lower() == "accept"
    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=plain.body, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), checked
    opened = texts(platform, "application/openmetrics-text;version=1.0.0,*/*;q=0.1")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    text = opened.body.decode()
    assert text.endswith("\n# EOF\n") and "# UNIT decalog_request_duration_seconds seconds" in text
    assert "# TYPE decalog_requests counter" in text and ' # {request_id="' in text
    native = texts(platform, NATIVE)
    assert native.headers["content-type"].startswith("application/vnd.google.protobuf")
    # Each message has its length before it: they end where the answer ends.
    at, messages = 0, 0
    while at < len(native.body):
        length, shift = 0, 0
        while True:
            byte = native.body[at]
            length |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        at, messages = at + length, messages + 1
    # More may have come between two scrapes.
    before, after = (each.body.count(b"# TYPE ") for each in (plain, texts(platform)))
    assert at == len(native.body) and before <= messages <= after


def test_the_table_names_all_metrics_and_no_others(place):
    platform, *_ = place
    page = (ROOT / "docs/monitoring.md").read_text()
    section = page.split("## Prometheus and Grafana")[1].split("\n## ")[0]
    named = set(re.findall(r"`((?:decalog|process)_\w+)`", "\n".join(line for line in section.splitlines() if line.startswith("| `"))))
    wait_for(lambda: exposed(platform) >= named, "all that the table names", 60)
    assert exposed(platform) == named


# ---- A real Prometheus -----------------------------------------------------------------------------


def test_prometheus_takes_every_scrape(place):
    platform, *servers = place
    for server in servers:
        wait_for(lambda: server.number("count_over_time(up[1h]) > 3"), "scrapes", 60)
        assert server.number('min_over_time(up{job="decalog"}[1h])') == 1.0, server.ask("targets")
        [active] = server.ask("targets")["activeTargets"]
        assert active["lastError"] == ""
        wait_for(lambda: server.number('decalog_error_budget_left_ratio{model="busy",objective="availability"}') is not None, "an error budget", 60)
        assert server.number('decalog_alarms{severity="alert"}') >= 1
        kinds = {one["metric"]["kind"] for one in server.query('decalog_open_alarms{model="gone"}')}
        assert kinds == {"quality"}
        wait_for(lambda: server.number('decalog_quality{model="judged",measure="mae",by="truth"}') == 2.5, "quality by the truth", 90)


def test_quantiles_and_exemplars_are_those_of_the_requests(place):
    platform, native, classic = place
    asked = {}
    for x in range(40):
        answer = platform.predict("timed", {"x": x}, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        assert answer.status == 200
        total_ms = float(re.search(r"total;dur=([\d.]+)", answer.headers["Server-Timing"]).group(1))
        asked[answer.headers["Decalog-Request-Id"]] = total_ms / 1e3
    times = sorted(asked.values())
    selector = '{model="timed",part="total"}'
    wait_for(lambda: native.number(f"histogram_count(decalog_request_duration_seconds{selector})") == 40, "all requests", 30)
    wait_for(lambda: classic.number(f"decalog_request_duration_seconds_count{selector}") == 40, "all requests", 30)
    [series] = native.query(f"decalog_request_duration_seconds{selector}")
    assert int(float(series["histogram"][1]["count"])) == 40, "it is a native histogram"
    for share in (0.5, 0.9):
        # A bucket is 9% wide, and so may the gap between two requests be.
        low, high = times[int(40 * share) - 2] / 1.1, times[min(int(40 * share) + 1, 39)] * 1.1
        found = native.number(f"histogram_quantile({share}, decalog_request_duration_seconds{selector})")
        assert low <= found <= high, (share, found, times)
        # Classic buckets are wider.
        found = classic.number(f"histogram_quantile({share}, decalog_request_duration_seconds_bucket{selector})")
        assert low / 2.5 <= found <= high * 2.5, (share, found, times)
    assert abs(native.number(f"histogram_sum(decalog_request_duration_seconds{selector})") - sum(times)) < 0.05 * sum(times)
    for server, name in [(native, "decalog_request_duration_seconds"), (classic, "decalog_request_duration_seconds_bucket")]:
        found = wait_for(lambda: server.exemplars(name + selector), "exemplars", 30)
        for one in (one for of in found for one in of["exemplars"]):
            labels = one["labels"]
            assert labels["trace_id"] == TRACE and labels["request_id"] in asked, one
            assert abs(float(one["value"]) - asked[labels["request_id"]]) < 0.001
            assert abs(one["timestamp"] - time.time()) < 120
        failed = wait_for(lambda: server.exemplars('decalog_errors_total{model="busy",code="model_raised"}'), "an error's exemplar", 30)
        assert set(failed[0]["exemplars"][0]["labels"]) == {"request_id"}


# ---- What is in deploy/ ----------------------------------------------------------------------------


def test_rules_are_valid_and_do_what_they_say():
    for arguments in (["check", "config", "prometheus.yml"], ["check", "rules", "decalog.rules.yml"], ["test", "rules", "decalog.rules.test.yml"]):
        done = subprocess.run([PROMTOOL, *arguments], cwd=RULES, capture_output=True, text=True)
        assert done.returncode == 0 and "FAILED" not in done.stdout, done


def test_rules_are_evaluated_where_there_is_traffic(place):
    platform, *servers = place
    names = exposed(platform)
    histograms = {name + part for name in names for part in ("_bucket", "_sum", "_count")}
    for server in servers:
        def rules():
            return [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]

        wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), "all rules", 60)
        assert len(rules()) > 15
        for rule in rules():
            assert rule["health"] == "ok" and not rule.get("lastError"), rule
            assert metrics_of(rule["query"]) <= names | histograms, rule
        for recorded in (rule["name"] for rule in rules() if rule["type"] == "recording"):
            wait_for(lambda: server.query(recorded + '{model="busy"}'), recorded, 60)
        firing = wait_for(lambda: [one for one in server.ask("alerts")["alerts"] if one["labels"]["alertname"] == "DecalogModelAlarm"], "the alarm", 60)
        assert [one["labels"]["model"] for one in firing if one["labels"]["kind"] == "quality"] == ["gone"]


def test_every_panel_shows_something(place):
    platform, *servers = place
    found = list(expressions())
    assert len(found) > 30
    names = exposed(platform)
    histograms = {name + part for name in names for part in ("_bucket", "_sum", "_count")}
    for title, expression in found:
        assert metrics_of(expression) and metrics_of(expression) <= names | histograms, title
        for server in servers:
            shown = wait_for(lambda: server.query(expression), f"{title}: {expression}", 60)
            assert all("value" in one for one in shown), (title, shown)
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+).*, (\w+)\)", variable["definition"]).groups()
            assert servers[0].query(f'{metric}{{{label}!=""}}'), variable["name"]
