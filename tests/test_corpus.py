"""A row is alone: models of every form answer it in the company of others exactly as by itself, and errors too.

The seed is fixed, so that a run takes the same requests. `DECALOG_CORPUS_SECONDS=600` goes on drawing others for that long,
`DECALOG_CORPUS_SEED` begins elsewhere; what fails names the seed, the model and the request.
"""

import json
import os
import random
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Platform, write_model
from corpus import models
from corpus.rows import Requests

SEED = int(os.environ.get("DECALOG_CORPUS_SEED", "11"))
SECONDS = float(os.environ.get("DECALOG_CORPUS_SECONDS", "0"))
CALLERS = 64
REQUESTS_PER_MODEL = 24
#: How often the requests of each deployment are drawn together, at least.
ROUNDS = 3
DEPLOYS_AT_ONCE = 4


class Caller:
    """One connection, which can have a request under way while others do."""

    def __init__(self, platform):
        host, port = platform.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def send(self, request):
        path, body = request
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def answer(self):
        """Status and body, the latter without what may differ: the order of keys in JSON."""
        status = int(self.reader.readline().split()[1])
        headers = {}
        while line := self.reader.readline().strip().decode().lower():
            name, _, value = line.partition(": ")
            headers[name] = value
        body = self.reader.read(int(headers["content-length"]))
        size = int(headers.get("inference-header-content-length", len(body)))
        return status, json.dumps(json.loads(body[:size]), sort_keys=True), body[size:]

    def ask(self, request):
        self.send(request)
        return self.answer()

    def close(self):
        self.reader.close()
        self.socket.close()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """All models, deployed; the platform and their requests by name."""
    home = tmp_path_factory.mktemp("corpus")
    platform = Platform(home / "data").start()
    files = {**models.python_files(), **models.program_files(), **models.graph_files()}

    def deploy(name):
        platform.run("deploy", write_model(home / name, files[name]))

    try:
        first, *rest = files
        deploy(first)  # so that the environment of those without packages is made once
        with ThreadPoolExecutor(DEPLOYS_AT_ONCE) as pool:
            list(pool.map(deploy, rest))
        draw, requests = random.Random(SEED), {}
        for name in files:
            (version,) = platform.run("show", name, "--json").json()["versions"]
            requests[name] = Requests(draw, name, version["schema"])
        yield platform, requests
    finally:
        assert platform.stop() == 0


def test_answers_in_company_are_those_alone(corpus):
    platform, requests = corpus
    assert models.count() >= 60
    draw, end = random.Random(SEED), time.monotonic() + SECONDS
    callers = [Caller(platform) for _ in range(CALLERS)]
    seen, rounds = set(), 0
    while rounds < 1 or time.monotonic() < end:
        alone = {}
        for name, drawn in requests.items():
            for _ in range(REQUESTS_PER_MODEL):
                request = drawn.draw()
                alone[name, request] = callers[0].ask(request)
                seen.add(alone[name, request][0])
        for names in company(draw, list(requests)):
            pool = [key for key in alone if key[0] in names]
            asked = [draw.choice(pool) for _ in callers]
            for caller, (_, request) in zip(callers, asked):
                caller.send(request)
            for caller, (name, request) in zip(callers, asked):
                got = caller.answer()
                assert got == alone[name, request], (
                    f"{name}, seed {SEED}, round {rounds}: {request}\nalone      {alone[name, request]}\nin company {got}"
                )
        rounds += 1
    for caller in callers:
        caller.close()
    assert {200, 422, 500} <= seen, seen
    assert largest_batch(platform) > 8, "requests were hardly ever answered together"


def company(draw, names):
    """Which deployments are asked at the same time, burst by burst: each alone, and a few beside each other."""
    bursts = [[name] for name in names for _ in range(ROUNDS)] + [draw.sample(names, 3) for _ in names]
    draw.shuffle(bursts)
    return bursts


def largest_batch(platform):
    """By the metrics: at least this many rows were once answered together."""
    text = platform.get("/metrics").body.decode()
    buckets = re.findall(r'^decalog_batch_rows_bucket\{(.*?),?le="([^"]+)"[^}]*\} (\d+)', text, re.M)
    below, largest = {}, 0.0
    for labels, bound, count in buckets:
        if int(count) > below.get(labels, 0) and labels in below:
            largest = max(largest, float(bound.replace("+Inf", "1e9")))
        below[labels] = int(count)
    return largest
