"""Callers that stall, hang up or take too much, and a server that runs out of descriptors: others are served, and no
replica and no version pays for it."""

import json
import os
import resource
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from conftest import constant, wait_for, write_model
from test_processes import supervisor_of
from test_releases import QUICK, deploy, kinds, pushed

pytestmark = pytest.mark.alone

STREAMS = """
from typing import Iterator
import time

def predict(x: int) -> Iterator[str]:
    while True:
        yield "x" * 10000
        time.sleep(0.001)
"""

HANGS = """
import random, time

def predict(x: int) -> int:
    if random.random() < 0.3:
        time.sleep(30)
    return 2
"""


def connect(platform, text=""):
    host, port = platform.url.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)))
    opened.sendall(text.encode())
    return opened


def head(path, length, body=""):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"


def test_without_descriptors_no_replica_is_killed(fresh, tmp_path):
    platform = fresh(arguments=["--park", "nothing"]).start()
    deploy(platform, tmp_path / "a", constant(1))
    deploy(platform, tmp_path / "b", constant(2))
    assert platform.predict("a", {"x": 0}).status == 200
    pids = platform.pids("a"), platform.pids("b")
    up = platform.process.pid
    before = resource.prlimit(up, resource.RLIMIT_NOFILE)
    quiet = []
    try:
        # Nothing is left beyond what is open now: neither for callers, nor for the first connection to the worker of b.
        used = len(os.listdir(f"/proc/{up}/fd"))
        resource.prlimit(up, resource.RLIMIT_NOFILE, (used + 4, before[1]))
        for _ in range(30):
            quiet.append(connect(platform))
        for model in ("a", "b", "a", "b"):
            answer = platform.predict(model, {"x": 0})
            assert answer.status in (200, 503, 0), answer.body
            if answer.status == 503:
                assert answer.json()["code"] == "server_busy", answer.body
    finally:
        resource.prlimit(up, resource.RLIMIT_NOFILE, before)
        for opened in quiet:
            opened.close()
    for model in ("a", "b"):
        wait_for(lambda: platform.predict(model, {"x": 0}).status == 200, "answers")
    assert (platform.pids("a"), platform.pids("b")) == pids, "the same workers"


def test_silent_connections_do_not_lock_callers_out(fresh, tmp_path):
    platform = fresh(prefix=["prlimit", "--nofile=1024:1024"]).start()
    deploy(platform, tmp_path / "m", constant(1))
    silent = []
    try:
        for _ in range(1200):
            silent.append(connect(platform))
        for _ in range(20):
            assert platform.predict("m", {"x": 0}).status == 200
        (pid,) = platform.pids("m")
        os.kill(pid, 9)
        wait_for(lambda: platform.predict("m", {"x": 0}).status == 200 and platform.pids("m") != [pid], "another worker")
    finally:
        for opened in silent:
            opened.close()


def test_sigterm_waits_for_nobody_who_stalls(fresh, tmp_path):
    platform = fresh().start()
    deploy(platform, tmp_path / "m", constant(1))
    deploy(platform, tmp_path / "s", {"model.py": STREAMS})
    stalled = [connect(platform, head("/v1/models/m/predict", 100, '{"x"')) for _ in range(20)]
    stalled += [connect(platform, head("/v1/projects/default/models/m/versions", 100, '{"x"')) for _ in range(100)]
    stalled.append(connect(platform, "GET /v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    stream = urllib.request.urlopen(platform.url + "/v1/models/s/predict", data=json.dumps({"x": 1}).encode())
    assert stream.read(20)
    begin = time.monotonic()
    assert platform.stop() == 0
    # Half of what an answer in flight would be given.
    assert time.monotonic() - begin < 15
    for opened in stalled:
        opened.close()


def test_a_reader_that_stops_gives_its_replica_back(fresh, tmp_path):
    platform = fresh().start()
    deploy(platform, tmp_path / "s", {"model.py": STREAMS})
    text = json.dumps({"x": 1})
    with closing(connect(platform, head("/v1/models/s/predict", len(text), text))) as stops:
        assert stops.recv(100)
        with urllib.request.urlopen(platform.url + "/v1/models/s/predict", data=text.encode(), timeout=90) as next_one:
            assert next_one.read(10)


class Impatient:
    """Callers who hang up after a while, until the end of the block."""

    def __init__(self, platform, model, patience_s, callers=6):
        self.stopping, self.given_up = threading.Event(), 0
        self.threads = [threading.Thread(target=self.call, args=(platform, model, patience_s)) for _ in range(callers)]

    def call(self, platform, model, patience_s):
        text = json.dumps({"x": 0})
        while not self.stopping.is_set():
            with closing(connect(platform, head(f"/v1/models/{model}/predict", len(text), text))) as opened:
                opened.settimeout(patience_s)
                try:
                    opened.recv(1000)
                except TimeoutError:
                    self.given_up += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def test_a_canary_whose_callers_give_up_is_rolled_back(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    write_model(model, {"decalog.toml": "[scale]\nmin = 4\n"})
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, {"model.py": HANGS})
    with Impatient(platform, "m", 2.0) as callers:
        done = platform.run("release", f"m@{v2}", "--canary", "30", "--every", "60s", ok=False)
        assert done.code == 1 and "rolled back" in done.err, done
    assert callers.given_up > 0
    judged = kinds(platform, "m", "guards_judged")
    assert judged[-1]["body"]["judgements"]["verdict"] == "roll_back"
    assert platform.recompute()["verdicts"] == len(judged)


def test_a_restart_does_not_give_a_release_its_evidence_budget_again(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    platform.run("release", f"m@{v2}", "--canary", "50", "--every", "600s", "--detach")
    for segment in (1, 2, 3):

        def judged():
            events = kinds(platform, "m", "guards_judged")
            return len(events) >= segment and events

        events = wait_for(judged, "a verdict")
        assert events[-1]["body"]["inputs"]["segment"] == segment
        platform.kill()
        platform.start()
    platform.run("release", "abort", "m")


def test_pages_of_other_ports_do_not_manage(platform):
    proof = {"Authorization": f"Bearer {platform.owners_token()}"}

    def status(method, path, **headers):
        headers = {**proof, **headers}
        return platform.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}).status

    assert status("GET", "/v1/models") == 200
    assert status("GET", "/v1/models", Origin=platform.url) == 200
    for headers in (
        {"Origin": "http://localhost:3000"},
        {"Origin": platform.url.replace("http:", "https:")},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert status("GET", "/v1/models", **headers) == 403, headers


def test_a_deploy_outlasts_a_shortage_of_this_machine(fresh, tmp_path):
    platform = fresh(arguments=["--park", "nothing"]).start()
    deploy(platform, tmp_path / "a", constant(1))
    supervisor = supervisor_of(platform)
    before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    try:
        # No descriptor is left for another process.
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{supervisor}/fd")), before[1]))
        with ThreadPoolExecutor(1) as pool:
            deployed = pool.submit(platform.run, "deploy", write_model(tmp_path / "b", constant(2)))
            wait_for(lambda: "is tried again" in (tmp_path / "data.log").read_text(), "a start that fails")
            assert not deployed.done()
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
            deployed.result()
    finally:
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
    assert platform.predict("b", {"x": 0}).json() == {"output": 2}
    assert kinds(platform, "b", "deploy_failed") == []
