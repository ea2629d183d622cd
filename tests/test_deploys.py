"""What a version must do before it goes live, and deploys that are overtaken by something else."""

import json
import os
import subprocess

import pytest
from conftest import BINARY, constant, wait_for, write_model

SLOW_START = "import time\nfrom pathlib import Path\n\nPath({mark!r}).touch()\ntime.sleep(60)\n\ndef predict(x: int) -> int:\n    return 1\n"


def kinds(platform, model):
    return [event["kind"] for event in platform.run("events", model, "--json").json()["events"]]


def started(platform, *arguments):
    """A verb that runs on beside the test."""
    environment = {**os.environ, "DECALOG_URL": platform.url}
    return subprocess.Popen([BINARY, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process, seconds=60):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out + err


def processes_in(directory):
    """Processes whose working directory lies below this one."""
    def opened(pid):
        try:
            return os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            return ""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and str(directory) in opened(pid)]


def test_a_version_that_fails_each_request_does_not_go_live(platform, tmp_path):
    model = write_model(tmp_path / "m", constant(1))
    first = platform.run("deploy", model)
    assert "a made-up row was answered" in first.err, first
    write_model(model, {"model.py": "def predict(x: int) -> int:\n    return undefined_name * x\n"})
    failed = platform.run("deploy", model, ok=False)
    assert failed.code == 1, failed
    for part in ["made-up row", '{"x":1}', "NameError", "undefined_name", "line 2", "--untested", "v1 keeps serving"]:
        assert part in failed.err, (part, failed)
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    # Whoever means it may do it, and the ledger says so.
    meant = platform.run("deploy", model, "--untested")
    assert "untested" in meant.err, meant
    assert platform.predict("m", {"x": 0}).status == 500
    events = platform.run("events", "m", "--json").json()["events"]
    assert [event for event in events if event["kind"] == "deploy_started"][-1]["body"]["plan"] == {"untested": True}
    assert platform.run("rollback", "m").code == 0
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_the_rows_of_test_cases_count_instead(platform, tmp_path):
    source = "def predict(x: int) -> int:\n    return 10 // (x - 1)\n"
    model = write_model(tmp_path / "m", {"model.py": source})
    assert "ZeroDivisionError" in platform.run("deploy", model, ok=False).err
    write_model(model, {"tests/two.json": json.dumps({"input": {"x": 2}, "expected": {"output": 10}})})
    assert "1 of 1 cases" in platform.run("deploy", model).err


def test_a_made_up_row_that_takes_too_long_fails_the_deploy(platform, tmp_path):
    source = "import time\n\ndef predict(x: int) -> int:\n    time.sleep(600)\n"
    model = write_model(tmp_path / "m", {"model.py": source, "decalog.toml": "[model]\npredict_ms_max = 300\n"})
    failed = platform.run("deploy", model, ok=False)
    assert failed.code == 1 and "longer than 300 ms" in failed.err, failed


def test_streams_are_tried_too_and_need_not_end(platform, tmp_path):
    source = "import time\nfrom collections.abc import Iterator\n\ndef predict(x: int) -> Iterator[int]:\n    while True:\n        yield x\n        time.sleep(0.01)\n"
    assert "answered" in platform.run("deploy", write_model(tmp_path / "ticks", {"model.py": source})).err
    source = "from collections.abc import Iterator\n\ndef predict(x: int) -> Iterator[int]:\n    yield x\n    raise KeyError('later')\n"
    failed = platform.run("deploy", write_model(tmp_path / "breaks", {"model.py": source}), ok=False)
    assert failed.code == 1 and "KeyError" in failed.err, failed


@pytest.mark.outside
def test_rm_during_a_deploy_ends_it(platform, tmp_path):
    mark = tmp_path / "loading"
    model = write_model(tmp_path / "m", {"model.py": SLOW_START.format(mark=str(mark))})
    deploy = started(platform, "deploy", model)
    wait_for(mark.exists, "the model loads")
    platform.run("rm", "m", "--yes")
    code, said = ended(deploy)
    assert code == 1 and "removed" in said, said
    assert platform.run("show", "m", ok=False).code == 1
    trees = platform.data / "trees"
    wait_for(lambda: not processes_in(trees), "the candidate has ended")
    # The name is free again.
    platform.run("deploy", write_model(tmp_path / "m", constant(3)))
    assert platform.predict("m", {"x": 0}).json() == {"output": 3}


@pytest.mark.outside
def test_a_newer_deploy_and_an_abort_end_the_one_that_loads(platform, tmp_path):
    model = write_model(tmp_path / "m", {"model.py": SLOW_START.format(mark=str(tmp_path / "one"))})
    first = started(platform, "deploy", model)
    wait_for((tmp_path / "one").exists, "the first loads")
    write_model(model, {"model.py": SLOW_START.format(mark=str(tmp_path / "two"))})
    second = started(platform, "deploy", model)
    code, said = ended(first)
    assert code == 1 and "somebody began to deploy v" in said, said
    wait_for((tmp_path / "two").exists, "the second loads")
    assert "in_use" in json.dumps(platform.request("DELETE", "/v1/projects/default/models/m/versions/v2").json())
    platform.run("release", "abort", "m")
    code, said = ended(second)
    assert code == 1 and "aborted" in said, said
    platform.run("deploy", write_model(model, constant(3)))
    assert platform.predict("m", {"x": 0}).json() == {"output": 3}


def test_equal_deploys_at_once_end_each(platform, tmp_path):
    model = write_model(tmp_path / "m", constant(5))
    both = [started(platform, "deploy", model) for _ in range(4)]
    results = [ended(process) for process in both]
    assert 0 in [code for code, _ in results], results
    assert all(code == 0 or "somebody began to deploy v" in said for code, said in results), results
    assert platform.predict("m", {"x": 0}).json() == {"output": 5}
    assert len(platform.run("show", "m", "--json").json()["versions"]) == 1


@pytest.mark.outside
def test_a_deploy_outlives_a_restart_of_the_platform(platform, tmp_path):
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    source = (f"import os, time\n\nopen({str(mark)!r}, 'w').close()\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\n\n"
              "def predict(x: int) -> int:\n    return 7\n")
    deploy = started(platform, "deploy", write_model(tmp_path / "m", {"model.py": source}))
    wait_for(mark.exists, "the model loads")
    platform.stop()
    gate.touch()
    platform.start(same_address=True)
    code, said = ended(deploy, 90)
    assert code == 0 and "live" in said, said
    assert platform.predict("m", {"x": 0}).json() == {"output": 7}
    assert "deploy_failed" not in kinds(platform, "m")


def test_a_made_up_row_that_the_model_refuses_is_noted(platform, tmp_path):
    source = ("import datetime\nimport decalog\n\ndef predict(day: str) -> int:\n    try:\n        return datetime.date.fromisoformat(day).day\n"
              "    except ValueError as error:\n        raise decalog.BadInput(f'no date: {day}') from error\n")
    done = platform.run("deploy", write_model(tmp_path / "m", {"model.py": source}))
    assert "refused" in done.err and "no date: text" in done.err and "tests/NAME.json" in done.err, done
    assert platform.predict("m", {"day": "2026-11-26"}).json() == {"output": 26}
    refused = platform.predict("m", {"day": "soon"})
    assert refused.status == 422 and refused.json()["code"] == "bad_input", refused.body
