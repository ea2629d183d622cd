"""What people bring, as small model directories, one for each kind, on the real binary. docs/zoo.md lists them.

    pytest tests/test_zoo.py -k pydantic
    DECALOG_ZOO_ALL=1 pytest tests/test_zoo.py        also those whose packages are too heavy for each run
    DECALOG_WRITE_ZOO=1 pytest tests/test_zoo.py -k page      writes docs/zoo.md anew (with DECALOG_ZOO_ALL=1, all of it)
"""

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zoo.files  # noqa: F401
import zoo.frames  # noqa: F401
import zoo.merges  # noqa: F401
import zoo.objects  # noqa: F401
import zoo.packages  # noqa: F401
import zoo.values  # noqa: F401
from conftest import LONG, ROOT, Platform, write_model
from zoo import KINDS, At

PAGE = ROOT / "docs/zoo.md"
#: Directories that are deployed at a time.
AT_ONCE = 3
#: Numbers are compared, and shown, to this many digits after the point.
DIGITS = 3
CACHE = Path(os.environ.get("DECALOG_CACHE", Path.home() / ".cache/decalog"))
IS_ALL = os.environ.get("DECALOG_ZOO_ALL") == "1"
TRIED = [kind for kind in KINDS if IS_ALL or not kind.is_heavy]
SECTIONS = list(dict.fromkeys(kind.section for kind in KINDS))
BEGIN = """# What people bring

Model directories as people have them, one of each kind, deployed with `decalog deploy DIRECTORY` and asked once. This page is written by `tests/test_zoo.py`,
which tries all of them on the real binary; `tests/zoo` has what is in each. Numbers are shown to a thousandth.

"""


def uv():
    return os.environ.get("DECALOG_UV") or shutil.which("uv") or str(CACHE / "venvs/test/bin/uv")


def python_with(name, packages):
    """The interpreter of a virtual environment with packages: that of tools/install.sh, or one made at its first use."""
    directory = CACHE / "venvs" / name
    python, installed = directory / "bin/python", directory / "installed.txt"
    if not installed.exists() or installed.read_text() != packages:
        subprocess.run([uv(), "venv", "--quiet", "--clear", "--no-project", directory], check=True, timeout=LONG)
        lines = [line for line in packages.splitlines() if line]
        subprocess.run([uv(), "pip", "install", "--quiet", "--python", python, *lines], check=True, timeout=LONG)
        installed.write_text(packages)
    return python


def as_answered(value):
    """A value as it is compared and shown."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [as_answered(item) for item in value]
    return {key: as_answered(item) for key, item in value.items()} if isinstance(value, dict) else value


class Zoo:
    """A platform with all kinds deployed, and what came of each."""

    def __init__(self, platform, home):
        self.platform, self.home, self.made = platform, home, home / "made"
        self.make("saved.py", python_with("zoo", (ROOT / "tests/requirements-zoo.txt").read_text()))
        if IS_ALL:
            self.make("saved_by_mlflow.py", python_with("zoo-mlflow", "mlflow==3.17.2\nscikit-learn==1.9.1\n"))
        self.answers = json.loads((self.made / "answers.json").read_text())
        # What is the same, asked otherwise, is deployed once.
        first = {}
        self.owner = {kind.name: first.setdefault(repr((kind.files, kind.options)), kind) for kind in TRIED}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            kinds = list(first.values())
            self.deployed = dict(zip([kind.name for kind in kinds], pool.map(self.deploy, kinds)))

    def make(self, script, python):
        subprocess.run([python, ROOT / "tests/zoo" / script, self.made], check=True, timeout=LONG, stdout=subprocess.DEVNULL)

    def deploy(self, kind):
        files = {
            path: (self.made / content.name).read_bytes() if isinstance(content, At) else content
            for path, content in kind.files.items()
        }
        directory = write_model(self.home / model_of(kind), files)
        return self.platform.run("deploy", directory, *kind.options, ok=False)

    def outcome(self, kind):
        """What happened, checked against what should: as the page says it."""
        owner = self.owner[kind.name]
        deployed, model = self.deployed[owner.name], model_of(owner)
        if kind.refused and kind.by == "deploy":
            assert deployed.code != 0, deployed
            return "not deployed: " + told(deployed.out + deployed.err, kind)
        assert deployed.code == 0, deployed
        if kind.schema:
            shown = re.sub(r"\s+", " ", self.platform.run("show", model, "--schema").out)
            for words in kind.schema:
                assert words in shown, shown
        answer = self.platform.predict(model, kind.row)
        if kind.refused:
            assert answer.status == 422 or answer.status == 500 and "the output" in answer.body.decode(), answer.body
            body = answer.json()
            text = "\n".join([body["error"], *body.get("details", []), body.get("help", "")])
            return f"{answer.status}: " + told(text, kind)
        assert answer.status == 200, answer.body
        got, wanted = answer.json(), kind.gives
        wanted = self.answers[wanted.name] if isinstance(wanted, At) else wanted
        shown = as_answered(got)
        assert {**shown, **{name: ... for name, value in wanted.items() if value is ...}} == as_answered(wanted), got
        said = f"`{json.dumps(shown)}`"
        return said + (f"; {kind.more(self.platform, model)}" if kind.more else "")


def model_of(kind):
    return kind.name.replace("_", "-")


def told(text, kind):
    """The words of a refusal, which must all be there."""
    flat = re.sub(r"\s+", " ", text)
    said = [re.sub(r"\s+", " ", words) for words in kind.refused]
    for words in said:
        assert words in flat, text
    return "; ".join(f"`{words}`" for words in said)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    home = tmp_path_factory.mktemp("zoo")
    platform = Platform(home / "data").start()
    yield Zoo(platform, home)
    assert platform.stop() == 0


@pytest.mark.parametrize("kind", TRIED, ids=lambda kind: kind.name)
def test_what_people_bring(kind, zoo):
    zoo.outcome(kind)


def test_each_kind_is_there_once():
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) and len(names) >= 60


def test_the_page_says_what_happens(zoo):
    """Of those that are not tried in this run, the page keeps its lines."""
    kept = dict(re.findall(r"^\| ([\w-]+) \|(.*)$", PAGE.read_text() if PAGE.exists() else "", re.M))
    text, tried = BEGIN, {kind.name for kind in TRIED}
    for section in SECTIONS:
        text += f"## {section}\n\n| name | what is brought | asked | what happens |\n| --- | --- | --- | --- |\n"
        for kind in [kind for kind in KINDS if kind.section == section]:
            line = kept.get(kind.name)
            if kind.name in tried:
                asked = f"`{json.dumps(kind.row)}`" if kind.row else ""
                line = f" {kind.brings} | {asked} | {zoo.outcome(kind)} |"
            if line:
                text += f"| {kind.name} |{line}\n"
        text += "\n"
    text = text.rstrip() + "\n"
    if os.environ.get("DECALOG_WRITE_ZOO") == "1":
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "DECALOG_WRITE_ZOO=1 writes it anew"
