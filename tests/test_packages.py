"""Which packages a model needs: what its directory says, what it imports, which Python it asks for, and what stays at home."""

import base64
import hashlib
import io
import json
import os
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Platform, stored_files, write_model

SIX = "import six\n\ndef predict(x: int) -> str:\n    return six.__version__\n"
PLAIN = "def predict(x: int) -> int:\n    return x\n"
MINE = "from foo_bar import answer\n\ndef predict(x: int) -> int:\n    return x + answer\n"
WHEEL = "foo_bar-1.0-py3-none-any.whl"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"
ZEROS = "0" * 64


def wheel(answer=42):
    """A wheel with one module, which needs nothing."""
    files = {
        "foo_bar.py": f"answer = {answer}\n",
        "foo_bar-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0\n",
        "foo_bar-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {**files, "foo_bar-1.0.dist-info/RECORD": record + "foo_bar-1.0.dist-info/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return file.getvalue()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("packages") / "data").start()
    yield platform
    assert platform.stop() == 0


def outcomes(site, home, kinds):
    """Deploys directories and gives what became of each, by name."""
    with ThreadPoolExecutor(3) as pool:
        deploy = lambda name: site.run("deploy", write_model(home / name, kinds[name]), ok=False)
        return dict(zip(kinds, pool.map(deploy, kinds)))


def test_each_file_that_says_which_packages_is_read(site, tmp_path):
    poetry = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.8"\nsix = "~1.15.0"\n'
    lock = {"_meta": {}, "default": {"six": {"version": "==1.15.0", "hashes": ["sha256:8b74bedcbbbaca38ff6d7491d76f2b06b3592611af620f8426e82dddb04a5ced"]}}}
    project = '[project]\nname = "of-ours"\nversion = "1"\ndependencies = ["six==1.15.0"]\n'
    package = {"src/of_ours/__init__.py": "import six\nanswer = six.__version__\n"}
    own = "from of_ours import answer\n\ndef predict(x: int) -> str:\n    return answer\n"
    kinds = {
        "conda": {"model.py": SIX, "environment.yml": "dependencies:\n  - python>=3.8\n  - pip\n  - pip:\n    - six==1.15.0\n"},
        "poetry-lock": {"model.py": SIX, "pyproject.toml": poetry.replace("~1.15.0", "*"), "poetry.lock": '[[package]]\nname = "six"\nversion = "1.15.0"\n'},
        "pipfile-lock": {"model.py": SIX, "Pipfile": '[packages]\nsix = "*"\n', "Pipfile.lock": json.dumps(lock)},
        "included": {"model.py": SIX, "requirements.txt": "-r more/base.txt\n-c limits.txt\n", "more/base.txt": "six\n", "limits.txt": "six==1.15.0\n"},
        "own": {"model.py": own, "pyproject.toml": project, **package},
        "editable": {"model.py": own, "requirements.txt": "-e .\n", "pyproject.toml": project, **package},
    }
    for name, deployed in outcomes(site, tmp_path, kinds).items():
        assert deployed.code == 0, (name, deployed)
        assert site.predict(name, {"x": 1}).json() == {"output": "1.15.0"}, name
    both = write_model(tmp_path / "both", {**kinds["conda"], "requirements.txt": "six\n"})
    assert "environment.yml is not read: requirements.txt says which packages" in site.run("check", both).out
    # What is included is part of what a lock is made from.
    (tmp_path / "included/limits.txt").write_text("six==1.16.0\n")
    site.run("deploy", tmp_path / "included")
    assert site.predict("included", {"x": 1}).json() == {"output": "1.16.0"}
    for name, files, said in [
        ("gdal", {"environment.yml": "dependencies: [numpy, gdal=3]\n"}, ["not known to be the same on PyPI", "gdal=3", "pip:"]),
        ("either", {"pyproject.toml": poetry.replace("~1.15.0", "^1 || ^2")}, ["six", "^1 || ^2", "poetry export"]),
    ]:
        refused = site.run("deploy", write_model(tmp_path / name, {"model.py": PLAIN, **files}), ok=False)
        assert refused.code == 1 and all(words in refused.err for words in said), refused


def test_wheels_of_the_directory_and_pinned_hashes(site, tmp_path):
    good, real = hashlib.sha256(wheel()).hexdigest(), "8b74bedcbbbaca38ff6d7491d76f2b06b3592611af620f8426e82dddb04a5ced"
    kinds = {
        "wheel": {"model.py": MINE, f"wheels/{WHEEL}": wheel(), "requirements.txt": f"./wheels/{WHEEL}\n"},
        "links": {"model.py": MINE, f"wheels/{WHEEL}": wheel(7), "requirements.txt": "--find-links wheels\nfoo-bar==1.0\n"},
        "pinned": {"model.py": MINE, f"wheels/{WHEEL}": wheel(), "requirements.txt": f"./wheels/{WHEEL} --hash=sha256:{good}\n"},
        "pinned-six": {"model.py": SIX, "requirements.txt": f"six==1.15.0 --hash=sha256:{real}\n"},
    }
    done = outcomes(site, tmp_path, kinds)
    assert all(deployed.code == 0 for deployed in done.values()), done
    assert [site.predict(name, {"x": 1}).json()["output"] for name in kinds] == [43, 8, 43, "1.15.0"]
    # A wheel that was changed makes another lock, and an environment that was removed comes back from the store.
    (tmp_path / "wheel/wheels" / WHEEL).write_bytes(wheel(1))
    site.run("deploy", tmp_path / "wheel")
    assert site.predict("wheel", {"x": 1}).json() == {"output": 2}
    refused = {
        "zeros": ({"requirements.txt": f"six==1.15.0 --hash=sha256:{ZEROS}\n"}, ["hash mismatch", "six==1.15.0", f"expected sha256:{ZEROS}", real]),
        "changed": ({f"wheels/{WHEEL}": wheel(2), "requirements.txt": f"./wheels/{WHEEL} --hash=sha256:{good}\n"}, ["hash mismatch", "foo-bar==1.0"]),
        "some": ({"requirements.txt": f"six==1.15.0 --hash=sha256:{real}\ntoolz\n"}, ["not for all packages", "toolz=="]),
        "outside": ({"requirements.txt": "../wheels/x-1.0-py3-none-any.whl\n"}, ["../wheels/x-1.0", "not in the model directory"]),
        "absolute": ({"requirements.txt": "-f /etc\nsix\n"}, ["/etc", "not in the model directory"]),
        "sideways": ({"requirements.txt": "-e ../other\n"}, ["../other", "not in the model directory"]),
        "folder": ({"requirements.txt": "./lib\n", "lib/pyproject.toml": ""}, ["the folder lib", "pip wheel"]),
        "gone": ({"requirements.txt": "./wheels/gone-1.0-py3-none-any.whl\n"}, ["which is not there"]),
    }
    done = outcomes(site, tmp_path, {name: {"model.py": PLAIN, **files} for name, (files, _) in refused.items()})
    for name, (_, said) in refused.items():
        assert done[name].code == 1 and all(words in done[name].err for words in said), (name, done[name])
        assert "help:" in done[name].err


def test_the_server_does_not_rely_on_what_a_client_has_looked_at(site):
    """Paths and hashes are judged where the packages are installed, whoever pushes."""

    def pushed(requirements):
        files = []
        for name, text in {"model.py": PLAIN, "requirements.txt": requirements}.items():
            content, digest = text.encode(), hashlib.sha256(text.encode()).hexdigest()
            assert site.request("PATCH", f"/v1/blobs/{digest}?size={len(content)}&offset=0", content).status == 200
            files.append({"path": name, "digest": digest, "size": len(content), "executable": False})
        body = {"tree": files, "runtime": "python", "file": "model.py"}
        return site.request("POST", "/v1/projects/default/models/sly/versions", body)

    for requirements, words in [("-r /etc/passwd\n", "not a file beside it"), ("/etc/x-1.0.tar.gz\n", "not in the model directory"),
                                ("x @ file:///etc/x-1.0.tar.gz\n", "not in the model directory"), (f"six==1.15.0 --hash=sha256:{ZEROS}\n", "hash mismatch")]:
        refused = pushed(requirements)
        assert refused.status == 422 and words in refused.json()["error"], refused.body


def test_what_is_imported_is_compared_with_what_is_installed(site, tmp_path):
    source = "import cv2, numpy, sklearn.base, six\nfrom PIL import Image\nimport helpers, yaml\n\ndef predict(x: int) -> int:\n    return x\n"
    model = write_model(tmp_path / "lacks", {"model.py": source, "helpers.py": "import json\n", "requirements.txt": "scikit-learn"})
    checked = site.run("check", model, ok=False)
    for words in ("cv2  opencv-python-headless", "PIL  pillow", "yaml  pyyaml", "six  six", "model.py:1", "decalog check --fix"):
        assert checked.code == 1 and words in checked.err, checked
    assert "numpy" not in checked.err and "sklearn" not in checked.err and "helpers" not in checked.err
    deployed = site.run("deploy", model, ok=False)
    assert deployed.code == 1 and "cv2  opencv-python-headless" in deployed.err and "missing_packages" not in deployed.out, deployed
    # The directory's own environment tells versions.
    uv = os.environ.get("DECALOG_UV", "uv")
    subprocess.run([uv, "venv", "--quiet", "--no-project", model / ".venv"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", model / ".venv/bin/python", "six==1.15.0"], check=True)
    fixed = site.run("check", model, "--fix")
    assert "six==1.15.0" in fixed.out and ".venv" in fixed.out, fixed
    lines = (model / "requirements.txt").read_text().splitlines()
    assert lines == ["scikit-learn", "opencv-python-headless", "pillow", "pyyaml", "six==1.15.0"]
    nothing = write_model(tmp_path / "bare", {"model.py": "import six, of_nobody_at_all\n" + PLAIN})
    refused = site.run("deploy", nothing, ok=False)
    assert refused.code == 1 and "six  six" in refused.err and "of_nobody_at_all  no package is known" in refused.err, refused
    refused = site.run("check", nothing, "--fix", ok=False)
    assert refused.code == 1 and "of_nobody_at_all" in refused.err and (nothing / "requirements.txt").read_text().startswith("six"), refused
    conda = write_model(tmp_path / "elsewhere", {"model.py": SIX, "environment.yml": "dependencies: [numpy]\n"})
    refused = site.run("check", conda, "--fix", ok=False)
    assert refused.code == 1 and "environment.yml" in refused.err and not (conda / "requirements.txt").exists(), refused


def test_the_python_that_is_asked_for(site, tmp_path):
    source = "import sys\n\ndef predict(x: int) -> str:\n    return '%d.%d' % sys.version_info[:2]\n"
    project = '[project]\nname = "x"\nversion = "1"\nrequires-python = "{}"\n'
    usual = site.run("check", write_model(tmp_path / "usual", {"model.py": source}), "--json").json()
    versions = []
    for minor in (8, 10, 13):
        model = write_model(tmp_path / f"p{minor}", {"model.py": source, "pyproject.toml": project.format(f"==3.{minor}.*")})
        checked = site.run("check", model, ok=False)
        if checked.code == 0:
            assert f"python 3.{minor} " in checked.out, checked
            versions.append(minor)
        else:
            assert "no Python that fits" in checked.err and "there are: " in checked.err, checked
    for minor in versions[:1]:
        site.run("deploy", tmp_path / f"p{minor}")
        assert site.predict(f"p{minor}", {"x": 1}).json() == {"output": f"3.{minor}"}
    assert usual["environment"] is None
    for name, files in [("pinned", {".python-version": "3.99\n"}), ("old", {"pyproject.toml": project.format("==3.7.*")}), ("conda", {"environment.yml": "dependencies: [python=3.99]\n"})]:
        model = write_model(tmp_path / name, {"model.py": source, **files})
        for verb in ("check", "deploy") if name == "conda" else ("check",):
            refused = site.run(verb, model, ok=False)
            assert refused.code == 1 and "no Python that fits" in refused.err and "there are: 3." in refused.err, refused


def test_secrets_stay_at_home_and_that_is_said(site, tmp_path):
    files = {".env": "TOKEN=x\n", "keys/tls.pem": KEY, "authority.pem": "-----BEGIN CERTIFICATE-----\n", "id_rsa": KEY, ".netrc": "machine x\n",
             "node_modules/a/index.js": "", "conf/credentials": "[default]\n", ".env.example": "TOKEN=\n", "notes.csv": "a\n"}
    model = write_model(tmp_path / "careful", {"model.py": PLAIN, **files})
    checked = site.run("check", model).out
    deployed = site.run("deploy", model).err
    for said in (checked, deployed):
        flat = " ".join(said.split())
        for words in (".env, .netrc, conf/credentials, id_rsa: a secret by its name", "keys/tls.pem: a private key", "node_modules: packages", "`!.env` in .decalogignore"):
            assert words in flat, said
    stored = [content for _, content in stored_files(site.data)]
    assert any(PLAIN.encode() == content for content in stored) and not any(text in content for content in stored for text in (b"TOKEN=x", b"machine x"))
    assert site.run("check", model, "--json").json()["files"] == 4, "model.py, authority.pem, .env.example, notes.csv"
    write_model(model, {".decalogignore": "!.env\n!keys/*.pem\n*.csv\nnode_modules/\n"})
    checked = site.run("check", model, "--json").json()
    assert checked["files"] == 5 and not any("node_modules" in line or "tls.pem" in line for line in checked["left_out"]), checked
