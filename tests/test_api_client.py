"""A TypeScript client generated from the OpenAPI document compiles, refuses what the document does not allow, and works
against a real server."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import LONG, ROOT, constant, write_model

#: Where tools/install.sh puts the generator and the compiler.
MODULES = Path(os.environ.get("DECALOG_NODE_MODULES", "missing"))
SOURCE = ROOT / "tests/typescript"


@pytest.mark.skipif(not MODULES.is_dir(), reason="tools/install.sh installs the TypeScript compiler")
def test_a_generated_client_compiles_and_releases(platform, tmp_path):
    def run(*command):
        command = [str(part) for part in command]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=LONG)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    project = shutil.copytree(SOURCE, tmp_path / "project")
    (project / "node_modules").symlink_to(MODULES)
    generate = [MODULES / ".bin/openapi-typescript", ROOT / "docs/openapi.json", "--output", "schema.d.ts"]
    run(*generate, "--default-non-nullable=false")
    run(MODULES / ".bin/tsc")
    for value in [1, 2]:
        platform.run("deploy", write_model(tmp_path / "churn", constant(value)))
    name, deployment = run("node", "built/release.js", platform.url, platform.owners_token()).split()
    release = platform.get("/v1/projects/default/models/churn/release").json()
    assert (name, int(deployment)) == ("churn", release["deployment"])
    assert (release["version"], release["actor"], release["plan"]["canary"]) == ("v1", "tester", [5, 25, 50])
