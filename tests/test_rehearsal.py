"""Rehearsals: recorded requests are asked of a candidate before any caller is, and the guards of its release are judged on them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import LONG, wait_for, write_model
from test_access import member, post, token

pytestmark = pytest.mark.alone

KEPT = ("--records-per-s", "1000000")
#: Requests that are recorded before a release: as many as show that fewer than 1% fail, and those that warm up.
RECORDED = 420
HALF = "def predict(x: int) -> float:\n    return x * 0.5\n"
SAME = "def predict(x: int) -> float:\n    return 0.5 * x\n"
RAISES = "def predict(x: int) -> float:\n    if x % 20 == 3:\n        raise ValueError(f'secret {x}')\n    return x * 0.5\n"
REFUSES = "import decalog\n\ndef predict(x: int) -> float:\n    if x % 20 == 3:\n        raise decalog.BadInput('not this one')\n    return x * 0.5\n"
DIES = "import os\n\ndef predict(x: int) -> float:\n    if x % 20 == 3:\n        os._exit(3)\n    return x * 0.5\n"
HOPELESS = "def predict(x: int) -> float:\n    raise ValueError('no')\n"
OTHER = "def predict(x: int) -> float:\n    return x * 0.5 + (10.0 if x % 10 == 3 else 0.0)\n"
#: What takes so long that the noise of a busy machine is little beside it, so that its tail can be told.
STEADY = "import time\n\ndef predict(x: int) -> float:\n    time.sleep(0.004)\n    return {product}\n"
SLEEPS = "import time\n\ndef predict(x: int) -> float:\n    time.sleep({seconds})\n    return x * 0.5\n"


class Callers:
    """Ask a model for one row after another from several threads, for as long as the block runs, and keep every answer."""

    def __init__(self, platform, model, threads=3):
        self.platform, self.model, self.threads = platform, model, threads
        self.ended, self.answers = threading.Event(), []

    def ask(self, thread):
        x = thread
        while not self.ended.is_set():
            answer = self.platform.predict(self.model, {"x": x % 100})
            self.answers.append((answer.status, answer.headers.get("Decalog-Version")))
            x += self.threads

    def __enter__(self):
        self.pool = ThreadPoolExecutor(self.threads)
        self.futures = [self.pool.submit(self.ask, thread) for thread in range(self.threads)]
        wait_for(lambda: len(self.answers) >= RECORDED, "enough requests were answered")
        return self

    def __exit__(self, *_):
        seen = len(self.answers)
        wait_for(lambda: len(self.answers) > seen + 10, "answers afterwards")
        self.ended.set()
        self.pool.shutdown()
        for future in self.futures:
            future.result()


def ask(platform, model, count):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda x: platform.predict(model, {"x": x % 100}), range(count)))
    assert {answer.status for answer in answers} == {200}


def deploy(platform, directory, source, *options, **files):
    return platform.run("deploy", write_model(directory, {"model.py": source, **files}), *options)


def pushed(platform, directory, source, **files):
    """A version that is live where it does no harm, so that it can be released elsewhere."""
    deploy(platform, directory, source, "--env", "staging", "--untested", **files)
    return platform.run("show", directory.name, "--json").json()["versions"][-1]["version"]


def kinds(platform, model):
    return [event["kind"] for event in platform.run("events", model, "--kind", "release", "--json").json()["events"]]


def rehearsals(platform, model):
    events = platform.run("events", model, "--kind", "rehearsed", "--json").json()["events"]
    return [event["body"] for event in events]


def guard(rehearsal, metric):
    (found,) = [one for one in rehearsal["guards"] if one["guard"].startswith(metric)]
    return found


@pytest.fixture
def recording(fresh):
    return fresh(arguments=KEPT).start()


def test_a_candidate_that_fails_on_recorded_requests_is_stopped_before_any_caller_sees_it(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, HALF)
    for source, code in [(RAISES, "model_raised"), (REFUSES, "bad_input"), (DIES, "worker_died"), (HOPELESS, "model_raised")]:
        version = pushed(platform, model, source)
        with Callers(platform, "m") as callers:
            done = platform.run("release", f"m@{version}", "--rehearse", RECORDED, ok=False)
            assert done.code == 1 and f"{version} fails its rehearsal" in done.err and "v1 keeps serving" in done.err, done
        assert set(callers.answers) == {(200, "v1")}, "not one caller got an answer of the candidate"
        seen = rehearsals(platform, "m")[-1]
        rehearsal = seen["rehearsal"]
        assert (seen["version"], seen["baseline"], rehearsal["verdict"]) == (int(version[1:]), 1, "broken"), seen
        assert rehearsal["candidate"]["failed"] >= 5 and rehearsal["live"]["failed"] == 0, rehearsal
        worst = rehearsal["examples"][0]
        assert worst["code"] == code, rehearsal["examples"]
        assert f"decalog replay {worst['id']} --on m@{version}" in done.err, done
        again = platform.run("replay", worst["id"], "--on", f"m@{version}", "--json").json()["results"][0]
        assert again["outcome"] in ("different", "cannot"), again
        if source == RAISES:
            errors = guard(rehearsal, "errors")
            assert errors["verdict"] == "broken" and errors["estimate"]["low"] > errors["limit"] == 0.005, errors
            assert rehearsal["asked"] == rehearsal["found"] == rehearsal["wanted"] == RECORDED, rehearsal
            assert 0.03 < rehearsal["candidate"]["errors"]["value"] < 0.07, rehearsal
            assert guard(rehearsal, "p95")["requests"] > 300
            # What was asked is in records, which can be erased; the ledger is for ever.
            assert "secret" not in json.dumps(platform.run("events", "m", "--json").json()), "no value is in the ledger"
        elif source == DIES:
            assert "5 replicas of" in rehearsal["why"] and rehearsal["left_out"], rehearsal
        elif source == HOPELESS:
            assert rehearsal["asked"] == 20 and "answered none of the first 20" in rehearsal["left_out"][0]["why"], rehearsal
    assert "traffic_shifted" not in kinds(platform, "m")
    status = platform.run("release", "status", "m", "--json").json()
    assert status["outcome"]["failed"]["step"] == "rehearsal" and status["rehearsed"]["verdict"] == "broken", status
    shown = platform.run("release", "status", "m").out
    assert "rehearsal" in shown and "failed: 20 of 420 requests were asked" in shown, shown
    assert platform.run("show", "m", "--json").json()["deployments"][-1]["rehearsed"]["verdict"] == "broken"
    assert platform.run("show", "m", "--json").json()["live"][0] == ["production", "v1"]


def test_a_candidate_that_answers_the_same_passes_and_goes_live(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, STEADY.format(product="x * 0.5"))
    version = pushed(platform, model, STEADY.format(product="0.5 * x"))
    ask(platform, "m", RECORDED)
    counted = platform.run("sql", "select count(*) as n from records", "--json").json()
    done = platform.run("release", f"m@{version}", "--rehearse", 5000)
    assert "rehearse" in done.err and "passed: 420 of 420 requests that are recorded were asked" in done.err, done
    assert "p95" in done.err and "median of pairs" in done.err and "live      m v2" in done.err, done
    assert platform.predict("m", {"x": 4}).headers["Decalog-Version"] == version
    (seen,) = rehearsals(platform, "m")
    rehearsal = seen["rehearsal"]
    assert rehearsal["verdict"] == "holds" and {one["verdict"] for one in rehearsal["guards"]} == {"holds"}, rehearsal
    assert (rehearsal["wanted"], rehearsal["found"], rehearsal["compared"]) == (5000, RECORDED, RECORDED)
    assert rehearsal["differ"]["value"] == 0 and rehearsal["differ"]["high"] < 0.01, rehearsal
    (output,) = rehearsal["outputs"]
    assert output["same"]["value"] == 1 and output["difference"]["value"] == 0 and output["live_mean"] > 20, output
    latency = rehearsal["latency"]
    assert latency["low"] <= latency["value"] <= latency["high"] and 0.5 < latency["value"] < 2, latency
    told = kinds(platform, "m")
    assert told[told.index("rehearsal_started") :] == ["rehearsal_started", "rehearsed", "released"], told
    # A version that was live before is rehearsed as well, and what was asked is no traffic.
    assert platform.run("sql", "select count(*) as n from records", "--json").json()[0]["n"] == counted[0]["n"] + 1
    few = platform.run("release", "m@v1", "--rehearse", 5000, ok=False)
    assert few.code == 1 and "1 asked, about" in few.err and "more requests are wanted" in few.err, few
    # What was passed is known after the ledger was folded anew.
    assert platform.stop() == 0
    for file in platform.data.glob("ledger.fold*"):
        file.unlink()
    platform.start()
    deployments = platform.run("show", "m", "--json").json()["deployments"]
    assert [one.get("rehearsed", {}).get("verdict") for one in deployments] == [None, None, "holds", "undecided"]


def test_a_slow_candidate_is_stopped(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, SLEEPS.format(seconds=0.004))
    version = pushed(platform, model, SLEEPS.format(seconds=0.012))
    ask(platform, "m", RECORDED)
    done = platform.run("release", f"m@{version}", "--rehearse", RECORDED, "--canary", "50", ok=False)
    assert done.code == 1 and "fails its rehearsal" in done.err and "against at most 1.2x" in done.err, done
    assert "canary" not in done.err, done
    (seen,) = rehearsals(platform, "m")
    p95 = guard(seen["rehearsal"], "p95")
    assert p95["verdict"] == "broken" and p95["estimate"]["low"] > 1.2 and p95["candidate"] > p95["live"] > 4, p95
    assert guard(seen["rehearsal"], "errors")["verdict"] == "holds"
    assert seen["rehearsal"]["latency"]["low"] > 1.5
    # It is as slow as it may be.
    platform.run("release", f"m@{version}", "--rehearse", RECORDED, "--guard", "p95<10x")
    assert platform.predict("m", {"x": 4}).headers["Decalog-Version"] == version


def test_answers_that_differ_stop_a_release_if_that_is_asked(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, HALF)
    version = pushed(platform, model, OTHER)
    ask(platform, "m", RECORDED)
    limited = ("--guard", "disagreement<1%")
    done = platform.run("release", f"m@{version}", "--rehearse", RECORDED, *limited, ok=False)
    assert done.code == 1 and "disagreement" in done.err and "against at most 1.0%" in done.err, done
    (seen,) = rehearsals(platform, "m")
    rehearsal = seen["rehearsal"]
    assert [one["guard"] for one in rehearsal["guards"]] == ["disagreement<1%", "errors<baseline+0.5%"], "failures always count"
    assert 0.08 < rehearsal["differ"]["value"] < 0.12 and rehearsal["differ"]["low"] > 0.05, rehearsal
    (output,) = rehearsal["outputs"]
    assert 0.8 < output["difference"]["value"] < 1.2 and output["difference"]["low"] > 0.5, output
    worst = rehearsal["examples"][0]
    assert "code" not in worst
    result = platform.run("replay", worst["id"], "--on", f"m@{version}", "--json").json()["results"][0]
    (difference,) = result["differences"]
    assert result["outcome"] == "different" and difference["after"] == difference["before"] + 10, result
    # It is only told where nobody asks for more.
    done = platform.run("release", f"m@{version}", "--rehearse", RECORDED)
    assert "answers 10.0%" in done.err and "differ" in done.err and "the same, by" in done.err, done
    assert platform.predict("m", {"x": 4}).headers["Decalog-Version"] == version


def test_a_rehearsal_that_can_say_nothing_is_no_pass(fresh, recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, HALF)
    nothing = platform.run("release", "m@v1", "--rehearse", "100", "--env", "elsewhere", ok=False)
    assert nothing.code == 1 and "nothing is live in elsewhere" in nothing.err, nothing
    version = pushed(platform, model, SAME)
    release = ("release", f"m@{version}", "--rehearse", "500")
    none = platform.run(*release, ok=False)
    assert none.code == 1 and "no request that v1 answered in production is recorded" in none.err and "--canary" in none.err, none
    ask(platform, "m", 100)
    few = platform.run(*release, ok=False)
    assert few.code == 1 and "100 asked, about" in few.err and "more requests are wanted" in few.err, few
    seen = rehearsals(platform, "m")
    assert [one["rehearsal"]["verdict"] for one in seen] == ["undecided"] * 2
    missing = guard(seen[-1]["rehearsal"], "errors")["missing"]
    assert 250 <= missing <= 300, missing
    # As many as it said are enough.
    ask(platform, "m", missing)
    platform.run(*release)
    assert platform.predict("m", {"x": 4}).headers["Decalog-Version"] == version
    for bad in ("0", "5001"):
        refused = platform.run("release", "m@v1", "--rehearse", bad, ok=False)
        assert refused.code == 1 and "from 1 to 5000" in refused.err, refused
    answer = platform.request("POST", "/v1/projects/default/models/m/deployments", {"version": "v1", "plan": {"rehearse": 5001, "cause": "release"}})
    assert (answer.status, answer.json()["code"]) == (422, "bad_plan")
    without = fresh("without", arguments=("--records-per-s", "0")).start()
    deploy(without, model, HALF)
    refused = without.run("release", f"m@{pushed(without, model, SAME)}", "--rehearse", "100", ok=False)
    assert refused.code == 1 and "keeps no records" in refused.err and "no_records" in json.dumps(without.run("events", "m", "--json").json()), refused


def test_a_rehearsal_that_kill_9_interrupts_is_held_again(fresh, tmp_path):
    platform, model = fresh(arguments=[*KEPT, "--keep-s", "1"]).start(), tmp_path / "m"
    deploy(platform, model, SLEEPS.format(seconds=0.01))
    version = pushed(platform, model, SLEEPS.format(seconds=0.0101))
    ask(platform, "m", RECORDED)
    platform.run("release", f"m@{version}", "--rehearse", RECORDED, "--detach")
    said = lambda: platform.run("release", "status", "m", "--json").json()["said"]
    wait_for(lambda: "100 of 420 requests were asked" in said(), "the middle of the rehearsal")
    platform.kill()
    platform.start()
    with Callers(platform, "m") as callers:
        wait_for(lambda: platform.run("release", "status", "m", "--json").json()["outcome"] == "live", "the release")
    versions = [of for status, of in callers.answers if status == 200]
    assert len(versions) == len(callers.answers), "no request failed"
    # Those that were on their way end where they are.
    assert versions[versions.index(version) :].count("v1") < callers.threads, "v1 answered until v2 did"
    told = kinds(platform, "m")
    assert told.count("rehearsal_started") == 2 and told.count("rehearsed") == 1, told
    assert told.index("rehearsed") < len(told) - 1 - told[::-1].index("released")
    # The replicas of both rehearsals have ended, and so has what was live.
    def only_live():
        view = platform.run("show", "m", "--json").json()
        here = [one["version"] for one in view["replicas"] if one["environment"] == "production"]
        return set(here) == {version}

    wait_for(only_live, "no replica of a rehearsal is left", 60)


def test_a_rehearsal_can_be_aborted(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, SLEEPS.format(seconds=0.02))
    version = pushed(platform, model, SLEEPS.format(seconds=0.021))
    ask(platform, "m", RECORDED)
    platform.run("release", f"m@{version}", "--rehearse", RECORDED, "--detach")
    status = lambda: platform.run("release", "status", "m", "--json").json()
    wait_for(lambda: "requests were asked" in status()["said"], "the rehearsal")
    platform.run("release", "abort", "m")
    assert status()["outcome"]["failed"]["step"] == "aborted" and not rehearsals(platform, "m")
    # The turn is free again.
    wait_for(lambda: platform.run("replay", "m", "--last", "1", ok=False).code == 0, "a replay", 20)


def test_what_was_never_recorded_or_is_erased_is_not_asked(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    source = 'def predict(age: int, city: str = "Utrecht") -> float:\n    return age * 0.5\n'
    deploy(platform, model, source, **{"decalog.toml": '[records]\nredact = { city = "hmac" }\n'})
    version = pushed(platform, model, source.replace("age * 0.5", "0.5 * age"))
    for age in range(30):
        platform.predict("m", {"age": age, "city": "Delft"})
    erased = [platform.predict("m", {"rows": [{"age": age}, {"age": 2}]}, {"decalog-key": "customer=42"}) for age in range(5)]
    assert {answer.status for answer in erased} == {200}
    platform.run("erase", "key", "customer=42")
    done = platform.run("release", f"m@{version}", "--rehearse", "500", ok=False)
    assert done.code == 1 and "30 not asked: `city` is redacted" in done.err, done
    (seen,) = rehearsals(platform, "m")
    assert (seen["rehearsal"]["found"], seen["rehearsal"]["asked"]) == (30, 0), seen


def test_who_may_not_read_records_may_not_rehearse(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    deploy(platform, model, HALF)
    version = pushed(platform, model, SAME)
    member(platform, "job", "deployer", kind="service")
    secret, _ = token(platform, "job", ["read", "deploy", "predict"])
    path, body = "/v1/projects/default/models/m/deployments", {"version": version, "plan": {"rehearse": 100, "cause": "release"}}
    refused = post(platform, path, body, secret)
    assert refused.status == 403 and "rehearsal asks recorded requests again" in json.dumps(refused.json()), refused.body
    assert post(platform, path, {**body, "plan": {"cause": "release"}}, secret).status == 200
    wait_for(lambda: platform.predict("m", {"x": 4}).headers["Decalog-Version"] == version, "the release without a rehearsal", LONG)


def test_the_manifest_may_ask_for_a_rehearsal(recording, tmp_path):
    platform, model = recording, tmp_path / "m"
    manifest = {"decalog.toml": '[release]\nrehearse = 420\nguards = ["errors<1%"]\n'}
    first = deploy(platform, model, HALF, **manifest)
    assert "rehearse" not in first.err, "there is nothing to compare the first version with"
    ask(platform, "m", RECORDED)
    assert "passed: 420 of 420" in deploy(platform, model, SAME, **manifest).err
    ask(platform, "m", RECORDED)
    failed = platform.run("deploy", write_model(model, {"model.py": RAISES, **manifest}), ok=False)
    assert failed.code == 1 and "v3 fails its rehearsal" in failed.err and "v2 keeps serving" in failed.err, failed
    assert platform.run("rollback", "m").code == 0, "what was live before needs no rehearsal"
