"""Tokens over TLS: every client, and what becomes of many clients while certificates are swapped and a token is revoked."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ROOT, wait_for
from test_transport import Authority, secure, serial  # noqa: F401

KSERVE = """
import asyncio, os, ssl, sys
import httpx
from kserve import InferenceRESTClient, InferRequest, InferInput
from kserve.inference_client import RESTConfig

async def main(url, authority, token):
    trusting = ssl.create_default_context(cafile=authority)
    headers = {"Authorization": f"Bearer {token}"}
    request = InferRequest(model_name="m", infer_inputs=[InferInput("x", [1], "INT64", data=[0])], request_id="77")
    client = InferenceRESTClient(RESTConfig(protocol="v2", verify=trusting, retries=0))
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, "m", headers=headers)
    answer = await client.infer(url, request, model_name="m", headers=headers)
    assert answer.id == "77" and list(answer.outputs[0].data) == [1], answer
    for without in (None, {"Authorization": f"Bearer {token[:-1]}"}):
        try:
            await client.infer(url, request, model_name="m", headers=without)
            raise SystemExit("answered without a token")
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 401, error
    stranger = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    try:
        await stranger.infer(url, request, model_name="m", headers=headers)
        raise SystemExit("trusted an authority that it does not know")
    except httpx.ConnectError as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
    print("done")

asyncio.run(main(*sys.argv[1:]))
"""
#: What a revoked token may still be answered for, in seconds.
REVOKED_S_MAX = 1


def token(platform, owner):
    """The text and the id of a new token for predictions."""
    made = platform.request("POST", "/v1/tokens", {"owner": owner, "scopes": ["predict:default/m"]}).json()
    return made["secret"], made["id"]


def test_kserves_client_over_tls_with_a_token(secure):  # noqa: F811
    platform = secure()
    text, _ = token(platform, "kserve")
    platform.run("auth", "require")
    command = [os.environ["DECALOG_KSERVE_PYTHON"], "-c", KSERVE, platform.url, platform.data / "tls/ca.pem", text]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


class Clients:
    """Some with each of several tokens, half of them over connections that stay and half over a new one each time; keeps by token when each
    answer was asked for, whether over a connection that stayed, and its status."""

    def __init__(self, platform, authority, tokens, each=2):
        self.url, self.authority, self.each = f"{platform.url}/v1/models/m/predict", str(authority), each
        self.tokens, self.stopping = tokens, threading.Event()
        self.answers = {name: [] for name in tokens}

    def ask(self, name, stays):
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.tokens[name]}"
        headers = {} if stays else {"Connection": "close"}
        while not self.stopping.is_set():
            asked = time.monotonic()
            try:
                status = session.post(self.url, json={"x": 0}, headers=headers, verify=self.authority, timeout=60).status_code
            except requests.RequestException as error:
                status = error
            self.answers[name].append((asked, stays, status))

    def more(self):
        """Waits for more answers to each token, over both kinds of connections."""
        seen = {name: len(answers) for name, answers in self.answers.items()}
        enough = lambda name: {stays for _, stays, _ in self.answers[name][seen[name] + 4:]} == {True, False}
        wait_for(lambda: all(map(enough, self.answers)), "more answers over TLS")

    def __enter__(self):
        self.pool = ThreadPoolExecutor(len(self.tokens) * self.each)
        self.running = [self.pool.submit(self.ask, name, number % 2 == 0) for name in self.tokens for number in range(self.each)]
        self.more()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.pool.shutdown()
        [thread.result() for thread in self.running]


def test_certificates_are_swapped_and_a_token_is_revoked_under_load(secure, tmp_path):  # noqa: F811
    authority, (certificate, key) = Authority(tmp_path / "authority"), (tmp_path / "cert.pem", tmp_path / "key.pem")

    def swap(name):
        for path, text in zip([certificate, key], authority.sign(name)):
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").rename(path)

    swap("first")
    platform = secure("--tls-cert", certificate, "--tls-key", key, trusting=authority.certificate)
    made = {name: token(platform, name) for name in ("shop", "web", "app", "leaked")}
    platform.run("auth", "require")
    wait_for(lambda: platform.predict("m", {"x": 0}).status == 401, "that a token is needed", 5)
    with Clients(platform, authority.certificate, {name: text for name, (text, _) in made.items()}) as clients:
        for name in ("second", "third", "fourth", "fifth"):
            before = serial(platform)
            swap(name)
            if name == "third":
                # While a new certificate comes in.
                platform.run("token", "revoke", made["leaked"][1])
                revoked = time.monotonic()
            wait_for(lambda: serial(platform) != before, "the new certificate")
            clients.more()
        wait_for(lambda: time.monotonic() > revoked + REVOKED_S_MAX + 1, "some time after the revocation")
        clients.more()
    for name in ("shop", "web", "app"):
        assert {status for *_, status in clients.answers[name]} == {200}, name
    leaked = clients.answers["leaked"]
    assert {status for *_, status in leaked} == {200, 401}, "no connection broke"
    late = [answer for answer in leaked if answer[0] > revoked + REVOKED_S_MAX]
    assert {(stays, status) for _, stays, status in late} == {(True, 401), (False, 401)}
    served = [asked for asked, _, status in leaked if status == 200]
    refused = [asked for asked, _, status in leaked if status == 401]
    print(f"{sum(map(len, clients.answers.values()))} answers; the first refusal came {min(refused) - revoked:+.3f} s and the last prediction {max(served) - revoked:+.3f} s from the end of the command")
    assert max(served) < revoked + REVOKED_S_MAX


def test_clients_over_tls_with_a_token(secure):  # noqa: F811
    """curl, requests, tritonclient and the Python client, where nobody is answered without one."""
    platform = secure()
    platform.run("auth", "require")
    text, _ = token(platform, "clients")
    authority, path, body = str(platform.data / "tls/ca.pem"), platform.url + "/v1/models/m/predict", '{"x": 0}'
    bearer = {"Authorization": f"Bearer {text}"}
    for version in ("--http1.1", "--http2"):
        command = ["curl", "-sS", version, "--cacert", authority, "-d", body, path]
        assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["code"] == "unauthenticated"
        for proof in (["-H", f"Authorization: Bearer {text}"], ["-u", f"anybody:{text}"], ["-H", f"Authorization: Token {text}"]):
            assert json.loads(subprocess.run([*command, *proof], capture_output=True, check=True).stdout) == {"output": 1}, proof
    assert requests.post(path, data=body, verify=authority).status_code == 401
    assert requests.post(path, data=body, verify=authority, headers=bearer).json() == {"output": 1}
    import numpy
    import tritonclient.http as triton
    with triton.InferenceServerClient(platform.url.removeprefix("https://"), ssl=True, ssl_options={"ca_certs": authority}) as client:
        column = triton.InferInput("x", [1], "INT64").set_data_from_numpy(numpy.array([0]))
        with pytest.raises(triton.InferenceServerException, match="token"):
            client.infer("m", [column])
        assert client.infer("m", [column], headers=bearer).as_numpy("output").tolist() == [1]
    program = "import decalog; print(decalog.Client().predict('m', {'x': 0}))"
    environment = {**os.environ, "DECALOG_URL": platform.url, "SSL_CERT_FILE": authority, "PYTHONPATH": str(ROOT / "sdk/python/src")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True).returncode == 1
    asked = subprocess.run([sys.executable, "-c", program], env={**environment, "DECALOG_TOKEN": text}, capture_output=True, text=True, check=True)
    assert asked.stdout == "{'output': 1}\n"
