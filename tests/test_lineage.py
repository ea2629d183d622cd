"""Where versions come from: code, data, metrics and parents, as they are pushed; and the way back from a prediction."""

import hashlib
import http.server
import importlib
import importlib.resources
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pandas
import pytest

from conftest import ALL_SCOPES, ROOT, Platform, stored_files, wait_for, write_model

MODEL = """
def predict(age: float, city: str | None = None) -> dict[str, float]:
    return {"leave": age / 100}
"""
KEPT = ("--records-per-s", "1000000")
CHURN = "/v1/projects/default/models/churn"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def home(tmp_path):
    """Where a user works: a cache of their own, and a git identity."""
    settings = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.org\n[init]\ndefaultBranch = main\n")
    return tmp_path, settings


def git(settings, directory, *arguments):
    run = subprocess.run(["git", "-C", directory, *arguments], env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def version(platform, number, model="churn"):
    shown = platform.get(f"/v1/projects/default/models/{model}").json()["versions"]
    return next(known for known in shown if known["version"] == f"v{number}")


def provenance(platform, number, model="churn"):
    return version(platform, number, model)["provenance"]


def lineage(platform, model="churn"):
    return platform.get(f"/v1/projects/default/models/{model}/lineage").json()


def trees(platform):
    """The files of each version that was pushed."""
    return [event["body"]["tree"] for event in platform.run("events", "--kind", "version_pushed", "--json").json()["events"]]


def change(model, number):
    """Another content, and so another version."""
    (model / "model.py").write_text(MODEL + f"# {number}\n")


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def deploy(platform, settings, model, *arguments, ok=True):
    return platform.run("deploy", model, *arguments, env=settings, ok=ok)


# ---- What is pushed --------------------------------------------------------------------------------


def test_code_is_a_commit_and_what_differs_from_it(platform, home):
    tmp_path, settings = home
    model = write_model(tmp_path / "repo/churn", {"model.py": MODEL})
    repo = tmp_path / "repo"
    git(settings, repo, "init", "-q")
    git(settings, repo, "remote", "add", "origin", "https://ann:s3cret-token@git.example.org/team/churn.git?private_token=hidden")
    git(settings, repo, "add", ".")
    git(settings, repo, "commit", "-q", "-m", "one")
    commit = git(settings, repo, "rev-parse", "HEAD")
    deploy(platform, settings, model)
    first = provenance(platform, 1)
    assert (first["author"], first["git_commit"], first["git_branch"], first["git_dirty"]) == ("Ann", commit, "main", False)
    assert first["git_remote"] == "https://git.example.org/team/churn.git"
    assert (first["host"], first["environment"]) == (socket.gethostname(), "production")
    assert "git_diff" not in first and "parent" not in first and "data" not in first
    # What differs is known by its digest: a change, and a file that git does not know.
    change(model, 2)
    deploy(platform, settings, model)
    changed = provenance(platform, 2)
    assert changed["git_dirty"] and re.fullmatch("[0-9a-f]{64}", changed["git_diff"])
    (model / "new.txt").write_text("one")
    deploy(platform, settings, model)
    with_file = provenance(platform, 3)["git_diff"]
    (model / "new.txt").write_text("two")
    deploy(platform, settings, model)
    with_other = provenance(platform, 4)["git_diff"]
    assert len({changed["git_diff"], with_file, with_other}) == 3
    # The same state has the same digest, whatever the user configured; another directory does not count.
    (model / "new.txt").write_text("one")
    (repo / "elsewhere.txt").write_text("x")
    with open(tmp_path / "gitconfig", "a") as config:
        config.write("[diff]\nnoprefix = true\ncontext = 9\nalgorithm = patience\nexternal = /bin/false\n[core]\nquotePath = false\n[color]\nui = always\n")
    platform.run("rm", "churn", "--yes")
    deploy(platform, settings, model)
    assert provenance(platform, 5)["git_diff"] == with_file
    # No secret is anywhere in what the server keeps.
    platform.stop()
    for path, content in stored_files(platform.data):
        assert b"s3cret-token" not in content and b"private_token" not in content, path


def test_the_server_takes_credentials_out_and_says_the_parent_itself(platform, tmp_path):
    model = write_model(tmp_path / "churn", {"model.py": MODEL})
    platform.run("deploy", model)
    tree = trees(platform)[0]
    data = {"name": "a.csv", "kind": "file", "digest": "0" * 64, "bytes": 1, "files": 1}

    def push(file="model.py", **claimed):
        body = {"tree": tree, "manifest": {"batch": {"rows_max": push.count}}, "runtime": "python", "file": file, "provenance": {"author": "eve", **claimed}}
        push.count += 1
        return platform.request("POST", f"{CHURN}/versions", body)

    push.count = 2
    claims = {"git_remote": "https://eve:hunter2@host/x", "parent": {"version": 77, "was": "live"}, "environment": "staging", "data": [data]}
    assert push(**claims).json()["version"] == "v2"
    known = provenance(platform, 2)
    assert known["git_remote"] == "https://host/x"
    # Nothing is live in staging: the newest version is what it came after.
    assert known["parent"] == {"version": 1, "was": "newest"}
    for wrong, says in [
        ({"host": "h" * 300}, "more than 256 bytes"),
        ({"author": "h" * 300}, "more than 256 bytes"),
        ({"data": [data] * 65}, "more than 64 data sets"),
        ({"data": [{**data, "name": ""}]}, "names no data"),
        ({"metrics": {f"m{n}": 1 for n in range(257)}}, "more than 256 metrics"),
        ({"metrics": {"x" * 200: 1}}, "names no metric"),
    ]:
        answer = push(**wrong)
        assert (answer.status, answer.json()["code"]) == (400, "bad_request") and says in answer.json()["error"], answer.body


def test_parents_are_what_was_live_where_it_was_pushed_for(platform, home):
    tmp_path, settings = home
    model = write_model(tmp_path / "churn", {"model.py": MODEL})
    deploy(platform, settings, model)
    deploy(platform, settings, model, "--env", "staging")
    change(model, 2)
    deploy(platform, settings, model, "--env", "staging")
    change(model, 3)
    deploy(platform, settings, model)
    assert provenance(platform, 2)["parent"] == {"version": 1, "was": "live"}
    assert provenance(platform, 3)["parent"] == {"version": 1, "was": "live"}, "v1 is live in production, though v2 is newer"


def test_data_that_agree_in_their_first_rows_have_different_digests(platform, home):
    tmp_path, settings = home
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": '[data]\ntrain = "../train.csv"\n'})
    rows = ["age,city"] + [f"{20 + row % 60},Delft" for row in range(10_000)]
    data = tmp_path / "train.csv"
    data.write_text("\n".join(rows + ["30,Gouda"]) + "\n")
    told = deploy(platform, settings, model).err
    first = provenance(platform, 1)["data"]
    assert first == [{"name": "../train.csv", "kind": "file", "digest": sha256(data), "bytes": data.stat().st_size, "files": 1}]
    assert "../train.csv" in told and first[0]["digest"][:12] in told
    data.write_text("\n".join(rows + ["31,Gouda"]) + "\n")
    change(model, 2)
    deploy(platform, settings, model)
    second = provenance(platform, 2)["data"]
    assert second[0]["bytes"] == first[0]["bytes"] and second[0]["digest"] == sha256(data) != first[0]["digest"]
    # They are told as two.
    nodes = {node["digest"]: node["names"] for node in lineage(platform)["data"]}
    assert nodes == {first[0]["digest"]: ["../train.csv"], second[0]["digest"]: ["../train.csv"]}


def test_directories_patterns_and_what_the_sdk_wrote_down(platform, home):
    tmp_path, settings = home
    manifest = '[data]\ntrain = ["data", "data/*.csv"]\n'
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": manifest, "data/a.csv": "age\n1\n", "data/deep/b.csv": "age\n2\n"})
    log = "import decalog; decalog.log_data('extra.csv', directory='churn'); decalog.log_metrics({'auc': 0.93, 'loss': 0.5}, directory='churn')"
    (tmp_path / "extra.csv").write_text("age\n3\n")
    subprocess.run(["python3", "-c", log], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "sdk/python/src")})
    told = deploy(platform, settings, model).err
    assert "2 files stay here" in told
    known = provenance(platform, 1)
    named = {data["name"]: (data["kind"], data["files"], data["bytes"]) for data in known["data"]}
    assert named == {"data": ("directory", 2, 12), "data/*.csv": ("pattern", 1, 6), "../extra.csv": ("file", 1, 6)}
    assert known["metrics"] == {"auc": 0.93, "loss": 0.5}
    tree = {file["path"] for file in trees(platform)[0]}
    assert tree == {"model.py", "metrics.json", "training-data.json"}, "the data stay where they are"
    (model / "decalog.toml").write_text(manifest + "push = true\n")
    deploy(platform, settings, model)
    assert {"data/a.csv", "data/deep/b.csv"} <= {path.relative_to(tree).as_posix() for tree in platform.data.glob("trees/*") for path in tree.rglob("*.csv")}
    shown = platform.run("show", "churn").out
    assert "auc 0.93, loss 0.5" in shown and "data/*.csv, 1 files, 6 bytes, sha256" in shown
    checked = platform.run("check", model, env=settings).out
    assert "data, data/*.csv, ../extra.csv" in checked


def test_what_cannot_be_recorded_is_refused_with_a_remedy(platform, home):
    tmp_path, settings = home
    model = write_model(tmp_path / "churn", {"model.py": MODEL})

    def refused(**files):
        for name, content in files.items():
            path = model / {"manifest": "decalog.toml", "metrics": "metrics.json", "named": "training-data.json"}[name]
            path.write_text(content)
        failed = deploy(platform, settings, model, ok=False)
        assert failed.code == 1 and "help" in failed.err, failed
        for path in ("decalog.toml", "metrics.json", "training-data.json"):
            (model / path).unlink(missing_ok=True)
        return failed.err

    assert "data at an address are not read yet" in refused(manifest='[data]\ntrain = "s3://lake/train.parquet"\n')
    assert "data at an address are not read yet" in refused(named='{"train": ["https://host/a.csv"]}')
    assert "`none.csv` cannot be read" in refused(manifest='[data]\ntrain = "none.csv"\n')
    assert "are no files at all" in refused(manifest='[data]\ntrain = "*.parquet"\n')
    assert "contain decalog.toml, which belongs to the model" in refused(manifest='[data]\ntrain = "."\n')
    assert "training-data.json cannot be understood" in refused(named='{"data": []}')
    assert "metrics.json cannot be understood" in refused(metrics='{"auc": NaN}')
    assert "expected f64" in refused(metrics='{"auc": "good"}')
    assert "`auc` is there twice" in refused(metrics='{"auc": 1, "auc": 2}')
    assert "more than 256 metrics" in refused(metrics=json.dumps({f"m{n}": n for n in range(257)}))
    os.mkfifo(tmp_path / "pipe")
    assert "are no file" in refused(manifest='[data]\ntrain = "../pipe"\n')
    assert platform.get("/v1/models").json()["models"] == []
    assert deploy(platform, settings, model).code == 0


def test_a_large_file_is_read_once(platform, home):
    tmp_path, settings = home
    data = tmp_path / "large.bin"
    size = 2 << 30
    with open(data, "wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"here")
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": '[data]\ntrain = "../large.bin"\n'})
    # What was just written may be written again unnoticed.
    time.sleep(2.1)

    def timed():
        begin = time.monotonic()
        deploy(platform, settings, model)
        return time.monotonic() - begin

    first = timed()
    expected = subprocess.run(["sha256sum", data], capture_output=True, text=True, check=True).stdout.split()[0]
    assert provenance(platform, 1)["data"][0] == {"name": "../large.bin", "kind": "file", "digest": expected, "bytes": size, "files": 1}
    remembered = json.loads((tmp_path / "cache/decalog/digests.json").read_text())
    assert remembered[str(data)]["digest"] == expected
    assert (tmp_path / "cache/decalog/digests.json").stat().st_mode & 0o077 == 0
    # From what is remembered: that is shown by a digest that could not be computed.
    remembered[str(data)]["digest"] = "ab" * 32
    (tmp_path / "cache/decalog/digests.json").write_text(json.dumps(remembered))
    change(model, 2)
    second = timed()
    assert provenance(platform, 2)["data"][0]["digest"] == "ab" * 32
    # A change is never missed, also one that keeps size and time.
    before = data.stat()
    with open(data, "r+b") as file:
        file.write(b"there")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    change(model, 3)
    deploy(platform, settings, model)
    third = provenance(platform, 3)["data"][0]["digest"]
    assert third not in ("ab" * 32, expected)
    print(f"2 GiB: {first:.1f} s, from what is remembered {second:.1f} s")


def test_progress_is_shown_where_somebody_looks(platform, home):
    tmp_path, settings = home
    data = tmp_path / "large.bin"
    with open(data, "wb") as file:
        file.truncate(4 << 30)
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": '[data]\ntrain = "../large.bin"\n'})
    ours, theirs = pty.openpty()
    environment = {**os.environ, **settings, "DECALOG_URL": platform.url, "TERM": "xterm"}
    process = subprocess.Popen([platform.binary, "deploy", model], env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass
    assert process.wait(120) == 0
    assert b"to go" in shown and b"GiB" in shown, shown.decode(errors="replace")


def test_what_is_older_is_read_as_before(platform, tmp_path):
    """A version without any of it: nothing is made up."""
    model = write_model(tmp_path / "churn", {"model.py": MODEL})
    platform.run("deploy", model, env={"GIT_DIR": "/nonexistent"})
    known = provenance(platform, 1)
    assert set(known) <= {"author", "git_dirty", "host", "environment"}, known
    graph = lineage(platform)
    assert (graph["data"], graph["code"]) == ([], [])
    assert {edge["is"] for edge in graph["edges"]} <= {"released", "runs", "answered"}


# ---- The way back ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A platform with two versions of known data, and predictions of both."""
    tmp_path = tmp_path_factory.mktemp("told")
    settings = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    (tmp_path / "gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.org\n[init]\ndefaultBranch = main\n")
    platform = Platform(tmp_path / "data", arguments=KEPT).start()
    train = tmp_path / "train.csv"
    cities = ["Utrecht"] * 96 + ["Delft"] * 4
    pandas.DataFrame({"age": [20 + row % 60 for row in range(4000)], "city": [cities[row % 100] for row in range(4000)]}).to_csv(train, index=False)
    manifest = '[data]\ntrain = "../train.csv"\nreference = "../train.csv"\n'
    model = write_model(tmp_path / "churn", {"model.py": MODEL, "decalog.toml": manifest, "metrics.json": '{"auc": 0.93}', "requirements.txt": ""})
    for arguments in (("init", "-q"), ("remote", "add", "origin", "git@git.example.org:team/churn.git"), ("add", "."), ("commit", "-q", "-m", "one")):
        git(settings, model, *arguments)
    platform.run("deploy", model, env=settings)
    change(model, 2)
    ids = {}

    def ask(name, body, headers=None, reference="churn"):
        answer = platform.predict(reference, body, headers)
        assert answer.status == 200, answer.body
        ids[name] = answer.headers["decalog-request-id"]

    ask("first", {"age": 42, "city": "Delft"}, {"Decalog-Key": "customer=42"})
    platform.run("deploy", model, env=settings)
    ask("second", {"age": 43, "city": "Utrecht"}, {"Decalog-Key": "customer=43"})
    ask("traced", {"age": 44}, {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Decalog-Key": "customer=44"})
    ask("again", {"age": 45}, {"Decalog-Key": "customer=43"})
    ask("old", {"age": 47}, reference="churn@v1")
    ask("rows", {"rows": [{"age": 1}, {"age": 2, "city": "Delft"}]})
    platform.run("feedback", "churn", "-", stdin=json.dumps({"id": ids["first"], "truth": "stayed"}))
    platform.run("feedback", "churn", "-", stdin=json.dumps({"key": "customer=44", "truth": True}))
    yield platform, ids, train
    platform.stop()


def traced(platform, *arguments):
    found = platform.run("trace", *arguments, "--json").json()
    return found["prediction"]


def test_a_prediction_leads_to_its_version_its_data_and_its_release(told):
    platform, ids, train = told
    shown = platform.run("trace", ids["first"][:18]).out
    commit = provenance(platform, 1)["git_commit"]
    for expected in (ids["first"], "v1", commit[:7], "git@git.example.org:team/churn.git", sha256(train)[:12], "auc 0.93", "customer=42", "age 42", '"Delft"',
                     "leave 0.42", "stayed", "live in production", "ms, of them", "by Ann"):
        assert expected in shown, f"{expected} in\n{shown}"
    whole = traced(platform, ids["first"])
    assert whole["version"]["version"] == "v1" and whole["version"]["digest"] == whole["records"][0]["digest"]
    assert whole["version"]["provenance"]["data"][0]["digest"] == sha256(train)
    assert whole["release"]["release"]["version"] == "v1" and whole["truth"]["rows"][0]["truth"] == "stayed"
    # The version that is live now was not live then.
    second = traced(platform, ids["second"])
    assert second["version"]["version"] == "v2" and second["version"]["provenance"]["parent"] == {"version": 1, "was": "live"}
    assert (second["release"]["how"], second["release"]["release"]["previous"]) == ("live", "v1")
    assert second["truth"] == {"rows": []}
    # The one of before, asked for by its number, after it had been replaced.
    old = traced(platform, ids["old"])
    assert (old["version"]["version"], old["release"]["how"]) == ("v1", "replaced")


def test_it_is_found_by_key_and_by_trace(told):
    platform, ids, _ = told
    by_key = traced(platform, "--key", "customer=44")
    assert by_key["records"][0]["id"] == ids["traced"] and by_key["truth"]["key"]["truth"] is True
    for text in (TRACE, f"00-{TRACE}-00f067aa0ba902b7-01", TRACE.upper()):
        assert traced(platform, text)["records"][0]["id"] == ids["traced"]
    assert traced(platform, ids["traced"].replace("-", ""))["records"][0]["trace"] == TRACE
    (row,) = platform.run("records", "churn", "--trace", TRACE, "--json").json()
    assert row["id"] == ids["traced"]
    rows = traced(platform, ids["rows"])["records"]
    assert [(row["row"], row["in.age"]) for row in rows] == [(0, 1.0), (1, 2.0)]
    # An input that the training data hardly had.
    wait_for(lambda: platform.get(f"{CHURN}/drift").status == 200, "its values are watched")
    rare = wait_for(lambda: traced(platform, ids["rows"])["rare"], "what is usual is known")
    assert [(one["row"], one["column"]) for one in rare if one["column"] == "city" and one["row"] == 1] == [(1, "city")]
    assert next(one for one in rare if one["row"] == 1)["share"] == pytest.approx(0.04)


def test_of_several_the_newest_are_listed_and_one_is_asked_for(told):
    platform, ids, _ = told
    several = platform.run("trace", "--key", "customer=43")
    lines = several.out.splitlines()
    assert len(lines) == 3 and ids["again"][:23] in lines[1] and ids["second"][:23] in lines[2]
    assert f"decalog trace {ids['again']}" in several.err
    found = platform.run("trace", "--key", "customer=43", "--json").json()
    assert [one["id"] for one in found["found"]] == [ids["again"], ids["second"]] and "prediction" not in found
    assert all(len(line) <= 100 for line in lines)


def test_where_nothing_is_found_it_says_since_when_there_are_records(told):
    platform, ids, _ = told
    for arguments in (("0199a3f2-7c1d",), ("--key", "customer=4711"), ("f" * 32,), (ids["first"], "--model", "other")):
        nothing = platform.run("trace", *arguments, ok=False)
        assert nothing.code == 1 and "no record fits" in nothing.err and "help" in nothing.err, nothing
    assert "the oldest record is of 20" in platform.run("trace", "--key", "customer=4711", ok=False).err
    assert "is no id of a request" in platform.run("trace", "customer=42", ok=False).err
    assert platform.run("trace", ok=False).code == 2


def test_who_may_not_read_records_traces_nothing(told):
    platform, ids, _ = told
    platform.run("member", "add", "looker", "--role", "viewer", "--project", "default")
    platform.run("member", "add", "stranger", "--role", "deployer", "--project", "elsewhere")
    scopes = [part for scope in ALL_SCOPES for part in ("--scope", scope)]
    tokens = {name: platform.run("token", "create", name, *scopes).out.strip() for name in ("looker", "stranger")}
    ask = lambda name, path: platform.request("GET", path, headers={"Authorization": f"Bearer {tokens[name]}"})
    assert ask("looker", f"{CHURN}/lineage").status == 200
    assert ask("looker", f"{CHURN}/truth?id={ids['first']}").status == 403
    for path in ("lineage", f"truth?id={ids['first']}"):
        hidden, missing = ask("stranger", f"{CHURN}/{path}"), ask("stranger", f"/v1/projects/default/models/nothing/{path}")
        assert (hidden.status, missing.status) == (404, 404)
        assert hidden.body.replace(b"churn", b"nothing") == missing.body
    for name in tokens:
        refused = platform.run("trace", ids["first"], env={"DECALOG_TOKEN": tokens[name]}, ok=False)
        assert refused.code == 1 and "leave" not in refused.out + refused.err, refused


# ---- The graph -------------------------------------------------------------------------------------


def test_the_graph_has_what_was_said_and_no_more(told):
    platform, _, train = told
    graph = lineage(platform)
    data = f"data:{sha256(train)}"
    edges = {(edge["from"].split("+")[0], edge["is"], edge["to"]) for edge in graph["edges"]}
    commit = provenance(platform, 1)["git_commit"]
    for number in (1, 2):
        assert {(data, "trained", f"version:v{number}"), (data, "compared", f"version:v{number}"), (f"code:{commit}", "made", f"version:v{number}")} <= edges
    assert ("version:v1", "before", "version:v2") in edges and ("version:v2", "before", "version:v1") not in edges
    ids = {node["id"] for part in ("versions", "releases", "data", "code", "packages", "requests") for node in graph[part]}
    assert all(edge["from"] in ids and edge["to"] in ids for edge in graph["edges"])
    assert graph["data"][0]["rows"] == 4000
    assert {version["version"]: version["live"] for version in graph["versions"]} == {"v1": [], "v2": ["production"]}
    wait_for(lambda: sum(asked["count"] for asked in lineage(platform)["requests"]) >= 6, "requests are counted")
    shown = platform.run("lineage", "churn")
    assert shown.out.index("v2 ") < shown.out.index("other versions") and "same data    v1" in shown.out
    assert "v1 → v2 in production" in shown.out
    assert platform.run("lineage", "churn@v1").out.splitlines()[1].startswith("  v1")
    missing = platform.run("lineage", "churn@v9", ok=False)
    assert missing.code == 1 and "no such version" in missing.err
    assert platform.get("/v1/projects/default/models/nothing/lineage").json()["code"] == "no_such_model"


def test_the_graph_can_be_drawn(told):
    platform, _, _ = told
    dot = platform.run("lineage", "churn", "--dot").out
    assert dot.startswith('digraph "default/churn" {') and dot.rstrip().endswith("}")
    names = {name for line in dot.splitlines() for name in re.findall(r'^  "((?:[^"\\]|\\.)*)" \[shape', line)}
    ends = [re.fullmatch(r'  "(.*)" -> "(.*)" \[label="\w+"\];', line) for line in dot.splitlines() if " -> " in line]
    assert ends and all(end and {end[1], end[2]} <= names for end in ends)
    if shutil.which("dot"):
        assert subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True).returncode == 0


def strict(kind, value):
    """Makes an object of a class that OpenLineage generates from its schemas; refuses what that does not know."""
    import attr

    known = {field.name.lstrip("_") if field.name in ("_producer", "_schemaURL", "_deleted") else field.name: field for field in attr.fields(kind)}
    given = {name.lstrip("_") if name.startswith("_") else name: item for name, item in value.items()}
    assert set(given) <= set(known), f"{kind.__name__} has no {set(given) - set(known)}"
    for name in ("schemaURL",):
        if name in given:
            assert given.pop(name) == kind._get_schema(), (kind.__name__, value)
    return kind(**given)


def checked(event):
    """Checks an event of OpenLineage against the classes of its own client."""
    base = importlib.import_module("openlineage.client.generated.base")

    def generated(module, name):
        return getattr(importlib.import_module(f"openlineage.client.generated.{module}"), name)

    facets = {
        "version": generated("dataset_version_dataset", "DatasetVersionDatasetFacet"),
        "jobType": generated("job_type_job", "JobTypeJobFacet"),
        "sourceCodeLocation": generated("source_code_location_job", "SourceCodeLocationJobFacet"),
    }
    lineage_module = importlib.import_module("openlineage.client.generated.lineage")

    def facet(of, name, value):
        value = dict(value)
        assert value["_producer"] and value["_schemaURL"]
        if name == "tags":
            field = generated(f"tags_{of}", f"Tags{of.title()}FacetFields")
            value["tags"] = [strict(field, tag) for tag in value["tags"]]
            return strict(generated(f"tags_{of}", f"Tags{of.title()}Facet"), value)
        if name == "lineage":
            entries = []
            for entry in value["entries"]:
                inputs = [strict(lineage_module.LineageDatasetInput, source) for source in entry["inputs"]]
                entries.append(strict(lineage_module.LineageDatasetEntry, {**entry, "inputs": inputs}))
            return strict(lineage_module.LineageJobFacet, {**value, "entries": entries})
        return strict(facets[name], value)

    def entity(kind, of, value):
        return strict(kind, {**value, "facets": {name: facet(of, name, item) for name, item in value.get("facets", {}).items()}})

    if "dataset" in event:
        return strict(base.DatasetEvent, {**event, "dataset": entity(base.StaticDataset, "dataset", event["dataset"])})
    parts = {"job": entity(base.Job, "job", event["job"])}
    for name, kind in (("inputs", base.InputDataset), ("outputs", base.OutputDataset)):
        parts[name] = [entity(kind, "dataset", item) for item in event[name]]
    return strict(base.JobEvent, {**event, **parts})


def test_events_of_openlineage_are_what_its_client_takes(told, tmp_path):
    pytest.importorskip("openlineage.client")
    platform, _, train = told
    platform.run("lineage", "churn", "--openlineage", tmp_path / "churn.jsonl")
    events = [json.loads(line) for line in (tmp_path / "churn.jsonl").read_text().splitlines()]
    for event in events:
        checked(event)
    jobs = {event["job"]["name"]: event for event in events if "job" in event}
    assert set(jobs) == {"default/churn@v1", "default/churn@v2", "default/churn@production"}
    made = jobs["default/churn@v2"]
    assert [data["name"] for data in made["inputs"]] == [f"sha256:{sha256(train)}"]
    location = made["job"]["facets"]["sourceCodeLocation"]
    assert location["url"] == "ssh://git@git.example.org/team/churn.git" and location["branch"] == "main"
    broken = json.loads(json.dumps(made))
    broken["job"]["facets"]["jobType"]["more"] = 1
    with pytest.raises(AssertionError):
        checked(broken)


def test_events_of_openlineage_are_sent_to_a_server(told):
    platform, _, _ = told
    taken = []

    class Marquez(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((self.path, self.headers["Content-Type"], body))
            self.send_response(201 if len(taken) < 100 else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Marquez)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    sent = platform.run("lineage", "churn", "--openlineage", url)
    assert {(path, kind) for path, kind, _ in taken} == {("/api/v1/lineage", "application/json")}
    assert f"{len(taken)} events" in sent.err and {"dataset", "job"} <= {name for _, _, body in taken for name in body}
    taken.extend([None] * 100)
    refused = platform.run("lineage", "churn", "--openlineage", url, ok=False)
    server.shutdown()
    assert refused.code == 1 and "took 0 of" in refused.err


def test_a_bill_of_materials_is_valid_and_complete(told, tmp_path):
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    pytest.importorskip("cyclonedx.schema")
    platform, _, train = told
    platform.run("lineage", "churn@v1", "--bom", tmp_path / "churn.cdx.json")
    document = json.loads((tmp_path / "churn.cdx.json").read_text())
    files = importlib.resources.files("cyclonedx.schema") / "_res"
    schema = lambda name: json.loads((files / f"{name}.SNAPSHOT.schema.json").read_text())
    others = {"spdx": "spdx", "jsf-0.82": "jsf-0.82", "cryptography-defs": "cryptography-defs"}

    def retrieve(uri):
        name = uri.rsplit("/", 1)[1].split(".SNAPSHOT")[0].removesuffix(".schema.json")
        return schema(others[name])

    validator = jsonschema_rs.validator_for(schema("bom-1.6"), retriever=retrieve)
    assert [error.message for error in validator.iter_errors(document)] == []
    assert not validator.is_valid({**document, "specVersion": 7})
    model = document["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "v1")
    card = model["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "auc", "value": "0.93"}]
    assert card["modelParameters"]["datasets"] == [{"ref": f"data:{sha256(train)}"}]
    data = [component for component in document["components"] if component["type"] == "data"]
    assert data[0]["hashes"] == [{"alg": "SHA-256", "content": sha256(train)}]
    assert model["externalReferences"][0]["url"] == "ssh://git@git.example.org/team/churn.git"
