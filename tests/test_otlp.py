"""Traces and metrics reach an OpenTelemetry collector, here one that decodes what it is sent, and a client is the real SDK."""

import contextlib
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import propagate, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from conftest import wait_for, write_model

MODEL = """
import time
import decalog

def predict(x: int, secret: str = "") -> str:
    if x < 0:
        raise ValueError(f"not {secret}")
    time.sleep(x / 1000)
    return str(decalog.traceparent())
"""
ALL = ("--records-per-s", "1000000")
CANARY = "canary-3f7a"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-0"


class Collector:
    """Decodes what it is sent. `answer` gives a status, headers and a body for each request of spans."""

    def __init__(self, port=0):
        self.spans, self.points, self.bodies, self.headers, self.resources = [], {}, [], [], []
        self.answer, self.times, self.connections = lambda: (200, {}, b""), [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["content-type"] == "application/x-protobuf"
                status, headers, answer = (200, {}, b"")
                if self.path == "/v1/traces":
                    status, headers, answer = outer.answer()
                    outer.take_traces(body, status, dict(self.headers))
                else:
                    assert self.path == "/v1/metrics"
                    outer.take_metrics(body)
                self.send_response(status)
                for name, value in {"Content-Length": len(answer), **headers}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads, self.server.handle_error = True, lambda *_: None
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def take_traces(self, body, status, headers):
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.times.append((time.monotonic(), status))
        if status != 200:
            return
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def take_metrics(self, body):
        self.bodies.append(body)
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                self.points[metric.name] = getattr(metric, metric.WhichOneof("data"))

    def named(self, name):
        return [span for span in list(self.spans) if span.name == name]

    def servers(self):
        return [span for span in list(self.spans) if span.kind == Span.SPAN_KIND_SERVER]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def attributes(of):
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in of.attributes}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


def start(fresh, tmp_path, collector, *arguments, manifest=""):
    platform = fresh(arguments=(*ALL, "--otlp", collector.url, "--otlp-metrics-every", "1", *arguments)).start()
    platform.run("deploy", write_model(tmp_path / "traced", {"model.py": MODEL, "decalog.toml": manifest}))
    return platform


def counted(platform, name):
    found = re.search(rf"^decalog_{name}_total (\d+)", platform.get("/metrics").body.decode(), re.MULTILINE)
    return int(found.group(1))


@pytest.mark.parametrize("protocol", ["simple", "open inference"])
def test_a_trace_goes_on_from_the_caller_to_the_models_code(fresh, tmp_path, collector, protocol):
    platform = start(fresh, tmp_path, collector)
    tracer = TracerProvider().get_tracer("caller")
    with tracer.start_as_current_span("asks") as asking:
        headers = {}
        propagate.inject(headers)
        if protocol == "simple":
            answer = platform.predict("traced", {"rows": [{"x": 20, "secret": CANARY}]}, headers)
            route, seen = "/v1/models/{model}/predict", answer.json()["rows"][0]["output"]
        else:
            tensors = [
                {"name": "x", "shape": [1], "datatype": "INT64", "data": [20]},
                {"name": "secret", "shape": [1], "datatype": "BYTES", "data": [CANARY]},
            ]
            answer = platform.request("POST", "/v2/models/traced/infer", {"inputs": tensors}, headers)
            route, seen = "/v2/models/{model}/infer", answer.json()["outputs"][0]["data"][0]
    assert answer.status == 200, answer.body
    caller = asking.get_span_context()
    wait_for(lambda: len([it for it in list(collector.spans) if it.trace_id == caller.trace_id.to_bytes(16, "big")]) == 4, "four spans")
    (own,) = [span for span in collector.servers() if span.trace_id == caller.trace_id.to_bytes(16, "big")]
    assert own.parent_span_id == caller.span_id.to_bytes(8, "big") and own.flags & 0x300 == 0x300
    queue, compute, batch = (
        next(span for span in collector.named(name) if span.trace_id == own.trace_id) for name in ("queue", "compute", "batch")
    )
    assert queue.parent_span_id == compute.parent_span_id == own.span_id
    assert batch.parent_span_id == compute.span_id and [link.span_id for link in batch.links] == [own.span_id]
    assert seen == f"00-{batch.trace_id.hex()}-{batch.span_id.hex()}-01"
    starts = [span.start_time_unix_nano for span in (own, queue, compute, batch)]
    ends = [span.end_time_unix_nano for span in (queue, compute, batch, own)]
    assert starts == sorted(starts) and ends[0] <= ends[1] == ends[2] <= ends[3]
    assert compute.end_time_unix_nano - compute.start_time_unix_nano >= 20_000_000
    assert abs(own.end_time_unix_nano / 1e9 - time.time()) < 60
    said = attributes(own)
    assert (said["http.request.method"], said["http.route"], said["http.response.status_code"]) == ("POST", route, 200)
    assert (said["decalog.model"], said["decalog.version"], said["decalog.environment"]) == ("traced", "v1", "production")
    assert said["decalog.request.id"] == answer.headers["decalog-request-id"]
    assert said["server.port"] == int(platform.url.rsplit(":", 1)[1]) and said["decalog.replica"]
    assert own.status.code == Status.STATUS_CODE_UNSET
    assert collector.resources[-1]["service.name"] == "decalog"
    assert not any(CANARY.encode() in body for body in collector.bodies)


def test_a_batch_has_links_to_its_requests(fresh, tmp_path, collector):
    platform = start(fresh, tmp_path, collector, manifest="[scale]\nmin = 1\nmax = 1\n")
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: platform.predict("traced", {"rows": [{"x": 30}]}), range(96)))
    assert all(answer.status == 200 for answer in answers)
    ids = {answer.headers["decalog-request-id"] for answer in answers}
    own = wait_for(lambda: len(found := [it for it in collector.servers() if attributes(it)["decalog.request.id"] in ids]) == 96 and found, "all spans")
    assert len({span.span_id for span in own}) == len({span.trace_id for span in own}) == 96
    wait_for(lambda: sum(len(batch.links) for batch in collector.named("batch")) >= 96, "all batches")
    batches = {batch.span_id: batch for batch in collector.named("batch")}
    shared = [batch for batch in batches.values() if len(batch.links) > 1]
    assert shared, "no batch of several requests"
    links = {(link.trace_id, link.span_id) for batch in batches.values() for link in batch.links}
    assert {(span.trace_id, span.span_id) for span in own} <= links
    traces = {span.trace_id for span in own}
    for batch in shared:
        assert attributes(batch)["decalog.batch.rows"] == len(batch.links)
        assert not batch.parent_span_id and batch.trace_id not in traces
    of_request = {attributes(span)["decalog.request.id"]: span for span in own}
    for answer in answers:
        _, trace_id, span_id, flags = answer.json()["rows"][0]["output"].split("-")
        batch, request = batches[bytes.fromhex(span_id)], of_request[answer.headers["decalog-request-id"]]
        assert (batch.trace_id.hex(), flags) == (trace_id, "01")
        assert request.span_id in [link.span_id for link in batch.links], "its own batch"
    computes = {compute.parent_span_id: compute for compute in collector.named("compute")}
    for batch in shared:
        assert {link.span_id for its in batch.links for link in computes[its.span_id].links} == {batch.span_id}


def test_errors_are_errors_and_what_is_drawn_or_asked_for_is_sent(fresh, tmp_path, collector):
    platform = start(fresh, tmp_path, collector, "--otlp-sample", "0")
    fine, bad = {"rows": [{"x": 1, "secret": CANARY}]}, {"rows": [{"x": -1, "secret": CANARY}]}
    sampled, unsampled = f"{CALLER}1", f"{CALLER}0".replace("4bf9", "aaaa")
    for body, headers, status in (
        (fine, {}, 200),
        (fine, {"traceparent": unsampled}, 200),
        (bad, {"traceparent": unsampled}, 500),
        (bad, {}, 500),
        ({"rows": [{"y": CANARY}]}, {}, 422),
        (fine, {"traceparent": sampled}, 200),
    ):
        answer = platform.predict("traced", body, headers)
        assert answer.status == status, answer.body
    wait_for(lambda: any(span.trace_id.hex() == TRACE for span in collector.servers()), "the last")
    by_status = {attributes(span)["http.response.status_code"]: span for span in collector.servers()}
    assert sorted(by_status) == [200, 422, 500] and len(collector.servers()) == 3
    failed, refused = by_status[500], by_status[422]
    assert failed.status.code == Status.STATUS_CODE_ERROR and failed.status.message
    assert attributes(failed)["error.type"] == "model_raised"
    for name in ("compute", "batch"):
        (part,) = [span for span in collector.named(name) if span.trace_id == failed.trace_id]
        assert part.status.code == Status.STATUS_CODE_ERROR
    assert refused.status.code == Status.STATUS_CODE_UNSET and attributes(refused)["error.type"]
    # The SDK's own decision reaches Decalog as a flag, too.
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("x").start_as_current_span("x"):
        headers = {}
        propagate.inject(headers, context=trace.set_span_in_context(trace.get_current_span()))
    assert headers["traceparent"].endswith("-00")
    wait_for(lambda: collector.points.get("decalog_requests"), "metrics")
    assert not any(CANARY.encode() in body for body in collector.bodies)
    everything = (platform.data.parent / "data.log").read_text()
    assert "panicked" not in everything


def test_metrics_are_those_of_prometheus(fresh, tmp_path, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%3Dt")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=ml")
    platform = start(fresh, tmp_path, collector)
    for _ in range(7):
        assert platform.predict("traced", {"rows": [{"x": 1}]}).status == 200

    def sums():
        sums = collector.points.get("decalog_requests")
        points = [(attributes(it), it) for it in sums.data_points] if sums else []
        return [point for labels, point in points if labels["model"] == "traced" and point.as_int == 7]

    (point,) = wait_for(sums, "seven requests are counted")
    assert collector.points["decalog_requests"].is_monotonic and point.start_time_unix_nano < point.time_unix_nano
    durations = collector.points["decalog_request_duration_seconds"].data_points
    (total,) = [it for it in durations if attributes(it)["part"] == "total" and attributes(it)["model"] == "traced"]
    assert total.count == 7 == sum(total.bucket_counts) and len(total.bucket_counts) == len(total.explicit_bounds) + 1
    assert 0.007 <= total.sum < 60
    (replicas,) = collector.points["decalog_replicas"].data_points
    assert replicas.as_int == 1
    exposed = {re.sub(r"_total$", "", name) for name in re.findall(r"^# TYPE (\w+)", platform.get("/metrics").body.decode(), re.MULTILINE)}
    assert set(collector.points) <= exposed
    wait_for(lambda: collector.headers, "spans")
    assert collector.headers[0]["api-key"] == "s=t"
    assert collector.resources[0]["team"] == "ml"


def test_a_collector_that_is_killed_costs_spans_and_no_request(fresh, tmp_path, collector):
    platform = start(fresh, tmp_path, collector, "--otlp-queue-bytes", "20000")
    stop, statuses = threading.Event(), []

    def ask():
        while not stop.is_set():
            begun = time.monotonic()
            statuses.append((platform.predict("traced", {"rows": [{"x": 0}]}).status, time.monotonic() - begun))

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask)
        try:
            wait_for(collector.servers, "the first spans")
            collector.close()
            wait_for(lambda: counted(platform, "otlp_spans_dropped") > 100, "spans are dropped")
            sent = counted(platform, "otlp_spans_sent")
            again = Collector(collector.port)
            wait_for(lambda: len(again.servers()) > 10, "spans come again")
            wait_for(lambda: counted(platform, "otlp_spans_sent") > sent, "and are counted")
            again.close()
        finally:
            stop.set()
    assert {status for status, _ in statuses} == {200}
    assert max(seconds for _, seconds in statuses) < 10
    assert platform.stop() == 0
    log = (platform.data.parent / "data.log").read_text()
    assert re.search(r"takes no traces, it is tried again", log) and "takes traces again" in log
    assert re.search(r"\d+ spans were dropped", log)


def test_what_a_collector_answers_is_heeded(fresh, tmp_path, collector):
    platform = start(fresh, tmp_path, collector)

    def ask():
        assert platform.predict("traced", {"rows": [{"x": 0}]}).status == 200

    def statuses():
        return [status for _, status in collector.times]

    partly = ExportTraceServiceResponse()
    partly.partial_success.rejected_spans = 1
    partly.partial_success.error_message = "too old"
    script = [(503, {"Retry-After": 3}, b""), (200, {}, b""), (400, {}, b""), (200, {}, partly.SerializeToString())]
    collector.answer = lambda: script.pop(0) if script else (200, {}, b"")
    before = counted(platform, "otlp_spans_dropped")
    collector.times.clear()
    ask()
    wait_for(lambda: statuses()[:2] == [503, 200], "it is tried again")
    assert collector.times[1][0] - collector.times[0][0] >= 2.9
    assert collector.bodies and counted(platform, "otlp_spans_dropped") == before
    ask()
    wait_for(lambda: statuses()[:3] == [503, 200, 400], "it is refused")
    wait_for(lambda: counted(platform, "otlp_spans_dropped") == before + 4, "what is refused is dropped")
    ask()
    wait_for(lambda: counted(platform, "otlp_spans_dropped") == before + 5, "one is not taken")
    assert platform.stop() == 0
    assert "too old" in (platform.data.parent / "data.log").read_text()


def test_the_last_spans_are_sent_at_the_end(fresh, tmp_path, collector):
    platform = start(fresh, tmp_path, collector)
    ids = {platform.predict("traced", {"rows": [{"x": 0}]}).headers["decalog-request-id"] for _ in range(20)}
    assert platform.stop() == 0
    assert ids <= {attributes(span)["decalog.request.id"] for span in collector.servers()}
    # One that hangs does not hold the end up.
    hanging = threading.Event()
    collector.answer = lambda: hanging.wait(60) and (200, {}, b"") or (200, {}, b"")
    platform.start()
    assert platform.predict("traced", {"rows": [{"x": 0}]}).status == 200
    begun = time.monotonic()
    assert platform.stop() == 0
    hanging.set()
    assert time.monotonic() - begun < 20


def test_where_nobody_traces_the_callers_trace_is_passed_on(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "traced", {"model.py": MODEL}))
    for header, seen in ((f"{CALLER}1", f"{CALLER}1"), (None, "None"), ("00-nonsense", "None")):
        answer = platform.predict("traced", {"rows": [{"x": 0}]}, {"traceparent": header} if header else {})
        assert answer.json()["rows"] == [{"output": seen}]


def test_an_address_that_is_none_is_refused_without_being_repeated(fresh):
    completed = fresh().run("up", "--data", "/nowhere", "--otlp", "grpc://me:hidden@collector", ok=False)
    assert completed.code != 0 and "--otlp" in completed.err and "hidden" not in completed.err
