"""The control API does what its OpenAPI document says: requests are made up after the document and asked of a real
server, and every answer must have a status, a content type and a form that the document names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import LONG, ROOT, ROW, write_model

#: So that the same requests are made in every run.
SEED = 20261126
#: Made-up requests of each endpoint, beside those that cover each parameter.
EXAMPLES_MAX = 5
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
#: What good requests name, so that more of them come to more than "there is no such model".
NAMES = {"project": "default", "model": "churn", "environment": "production", "version": "v1"}


def asked(document, names):
    """The document as it is asked: without answers that never end, and without the form that answers of a newer server
    have, as each of this one must be named. What is removed as a whole has a name of its own."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            del operation["responses"]["default"]
            operation["parameters"] = [p for p in operation["parameters"] if p["name"] != "follow"]
            for parameter in operation["parameters"]:
                name = names.get(parameter["name"])
                if name and parameter["in"] == "path":
                    is_removed = method == "delete" and parameter["name"] == "model"
                    parameter["schema"] = {"type": "string", "enum": ["removed" if is_removed else name]}
    return document


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_as_the_document_says(platform, tmp_path, mode):
    for name in ["churn", "removed"]:
        platform.run("deploy", write_model(tmp_path / name, {"model.py": ROW}))
    names, checks = (NAMES, CHECKS) if mode == "positive" else ({}, [*CHECKS, "negative_data_rejection"])
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(asked(platform.get("/openapi.json").json(), names)))
    command = [Path(sys.executable).parent / "schemathesis", "run", document, "--url", platform.url, "--mode", mode]
    command += ["--seed", SEED, "--max-examples", EXAMPLES_MAX, "--checks", ",".join(checks)]
    command += ["--phases", "coverage,fuzzing", "--continue-on-failure", "--warnings", "off"]
    run = subprocess.run([str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, timeout=LONG)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    assert platform.get("/healthz").status == 200


def test_the_committed_document_is_what_the_server_serves(shared_platform):
    assert json.loads((ROOT / "docs/openapi.json").read_text()) == shared_platform.get("/openapi.json").json()


@pytest.mark.parametrize(
    "method, path, status, code",
    [
        ("GET", "/v1/projects/Default/models/churn", 400, "bad_name"),
        ("GET", "/v1/projects/default/models/Churn", 400, "bad_name"),
        ("GET", "/v1/projects/default/models/%FF", 400, "bad_request"),
        ("DELETE", "/v1/projects/default/models/churn/versions/3", 400, "bad_name"),
        ("GET", "/v1/projects/default/models/churn/release?environment=v1", 400, "bad_name"),
        ("POST", "/v1/projects/default/models/churn/release/stop", 404, "no_such_action"),
        ("GET", "/v1/projects/default/models/churn/logs?version=x", 400, "bad_name"),
        ("GET", "/v1/projects/default/models/churn/logs?lines=x", 400, "bad_request"),
        ("GET", "/v1/projects/default/environments/v1/variables", 400, "bad_name"),
        ("GET", "/v1/models?project=A", 400, "bad_name"),
        ("GET", "/v1/events?model=churn", 400, "bad_name"),
        ("GET", "/v1/events?after=x", 400, "bad_request"),
        ("GET", "/v1/ledger/verify?head=x", 400, "bad_name"),
        ("PATCH", "/v1/blobs/x?size=1&offset=0", 400, "bad_name"),
        ("PATCH", f"/v1/blobs/{'0' * 64}?size=1&offset=0&upload=a/b", 400, "bad_name"),
        ("PATCH", f"/v1/blobs/{'0' * 64}", 400, "bad_request"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_code(shared_platform, method, path, status, code):
    body = None if method == "GET" else b"{}"
    answer = shared_platform.request(method, path, body)
    assert (answer.status, answer.json()["code"]) == (status, code), answer.body
