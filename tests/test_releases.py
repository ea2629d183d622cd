"""Environments, canaries, shadows, guards, rollbacks: traffic moves, nothing fails, and what is bad goes back by itself."""

import json
import threading
from collections import Counter

from conftest import constant, wait_for, write_model
from test_versions import Load

#: Looks several times a second, so that a test need not wait for the usual five seconds.
QUICK = ["--judge-ms", "100"]
RAISES = "def predict(x: int) -> int:\n    raise ValueError('no')\n"
DIES = "import os\n\ndef predict(x: int) -> int:\n    os._exit(3)\n"


def versions(answers):
    return Counter(version for _, version, _ in answers)


def kinds(platform, model, kind):
    return platform.run("events", model, "--kind", kind, "--json").json()["events"]


def deploy(platform, directory, files, *options, ok=True):
    return platform.run("deploy", write_model(directory, files), *options, ok=ok)


def pushed(platform, directory, files):
    """Pushes a version, also a broken one, to an environment where it does no harm, so that it can be released elsewhere."""
    deploy(platform, directory, files, "--env", "staging", "--untested")
    return platform.run("show", directory.name, "--json").json()["versions"][-1]["version"]


def test_environments_and_promotion(platform, tmp_path):
    model = tmp_path / "m"
    deploy(platform, model, constant(1), "--env", "staging")
    assert platform.predict("m", {"x": 0}).status == 404, "nothing is live in production"
    assert platform.predict("m@staging", {"x": 0}).json() == {"output": 1}
    refused = platform.run("promote", "m", "production", "staging", ok=False)
    assert refused.code == 1 and "no version of `m` is live in production" in refused.err, refused
    platform.run("promote", "m", "staging", "production")
    assert kinds(platform, "m", "environment_built")[-1]["body"]["cached"], "nothing is built again"
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    assert platform.predict("m", {"x": 0}).headers["Decalog-Version"] == "v1"
    deploy(platform, model, constant(2), "--env", "staging")
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    assert platform.predict("m@staging", {"x": 0}).json() == {"output": 2}
    live = dict(platform.run("show", "m", "--json").json()["live"])
    assert live == {"production": "v1", "staging": "v2"}


def test_a_canary_takes_over_step_by_step(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    with Load(platform, "m", {"x": 0}) as load:
        done = platform.run("release", f"m@{v2}", "--canary", "20,60", "--every", "2s", "--guard", "errors<20%")
        assert "canary" in done.err and "20%" in done.err and "60%" in done.err and "live" in done.err, done
    assert not [answer for answer in load.answers if answer[0] != 200]
    for _, version, body in load.answers:
        assert json.loads(body) == {"output": int(version[1:])}
    shifts = [event["body"]["phase"]["percent"] for event in kinds(platform, "m", "traffic_shifted")]
    assert shifts == [20, 60]
    assert platform.predict("m", {"x": 0}).headers["Decalog-Version"] == v2
    status = platform.run("release", "status", "m", "--json").json()
    assert status["outcome"] == "live"


def test_a_canary_with_errors_is_rolled_back(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, {"model.py": RAISES})
    with Load(platform, "m", {"x": 0}) as load:
        done = platform.run("release", f"m@{v2}", "--canary", "30", "--every", "60s", "--guard", "errors<5%", ok=False)
        assert done.code == 1 and "rolled back" in done.err and "errors" in done.err and "v1 keeps serving" in done.err, done
        seen = len(load.answers)
        wait_for(lambda: len(load.answers) > seen + 50, "answers after the rollback")
        after = load.answers[seen + 20 :]
        assert versions(after) == {"v1": len(after)}
    assert {status for status, version, _ in load.answers if version == "v1"} == {200}
    judged = kinds(platform, "m", "guards_judged")
    assert judged[-1]["body"]["judgements"]["verdict"] == "roll_back"
    assert judged[-1]["body"]["inputs"]["guards"], "a verdict carries what it was taken on"
    assert platform.recompute()["verdicts"] == len(judged)


def test_a_canary_whose_worker_dies_harms_nobody_for_long(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, {"model.py": DIES})
    with Load(platform, "m", {"x": 0}) as load:
        done = platform.run("release", f"m@{v2}", "--canary", "30", "--every", "60s", ok=False)
        assert done.code == 1 and "v1 keeps serving" in done.err, done
        seen = len(load.answers)
        wait_for(lambda: len(load.answers) > seen + 50, "answers after the rollback")
        assert {status for status, _, _ in load.answers[seen + 20 :]} == {200}
    assert {status for status, version, _ in load.answers if version == "v1"} == {200}


def test_a_canary_without_traffic_holds_and_can_be_aborted(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    platform.run("release", f"m@{v2}", "--canary", "50", "--every", "1s", "--detach")
    said = wait_for(lambda: platform.run("release", "status", "m", "--json").json()["said"], "a verdict")
    assert "hold" in said, said
    again = platform.run("release", f"m@{v2}", "--canary", "10", ok=False)
    assert again.code == 1 and "on its way" in again.err and "abort" in again.err, again
    platform.run("release", "pause", "m")
    assert platform.run("release", "status", "m", "--json").json()["progress"]["paused"]
    assert "paused" in platform.run("ls").out
    platform.run("release", "resume", "m")
    platform.run("release", "abort", "m")
    assert platform.predict("m", {"x": 0}).headers["Decalog-Version"] == "v1"
    none = platform.run("release", "abort", "m", ok=False)
    assert none.code == 1 and "no release" in none.err, none
    assert platform.run("release", "status", "m", "--json").json()["outcome"]["failed"]["step"] == "aborted"


def test_a_canary_survives_kill_9(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    platform.run("release", f"m@{v2}", "--canary", "50", "--every", "600s", "--detach")
    wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"], "the canary")
    platform.kill()
    platform.start()
    seen = Counter()
    wait_for(lambda: seen.update([platform.predict("m", {"x": 0}).headers["Decalog-Version"]]) or len(seen) == 2, "both versions")
    rolled = platform.run("rollback", "m")
    assert "v1" in rolled.err, rolled
    assert {platform.predict("m", {"x": 0}).headers["Decalog-Version"] for _ in range(30)} == {"v1"}


def test_sticky_callers_stay_with_their_version(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))

    def ask():
        return {
            user: {platform.predict("m", {"x": 0}, {"X-User": f"user-{user}"}).headers["Decalog-Version"] for _ in range(3)}
            for user in range(60)
        }

    platform.run("release", f"m@{v2}", "--canary", "20,60", "--every", "500ms", "--sticky", "X-User", "--detach")
    wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"], "the canary")
    platform.run("release", "pause", "m")
    first = ask()
    assert all(len(seen) == 1 for seen in first.values()), "nobody sees two versions"
    early = {user for user, seen in first.items() if seen == {v2}}
    assert 2 <= len(early) <= 30, early
    platform.run("release", "resume", "m")
    with Load(platform, "m", {"x": 0}):
        wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"]["step"] == 1, "the second step")
    platform.run("release", "pause", "m")
    late = {user for user, seen in ask().items() if seen == {v2}}
    assert early < late, "the set only grows"
    platform.run("release", "abort", "m")


def test_a_shadow_is_compared_and_never_answers(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, {"model.py": "def predict(x: int) -> int:\n    return x\n"})
    v2 = pushed(platform, model, {"model.py": "def predict(x: int) -> int:\n    return x if x % 2 else -x\n"})
    platform.run("release", f"m@{v2}", "--shadow", "100%", "--guard", "disagreement<90%", "--detach")
    wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"], "the shadow")

    def copies():
        text = platform.get("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("decalog_shadow_copies_total{")]
        return {result: sum(float(line.rsplit(" ", 1)[1]) for line in lines if f'result="{result}"' in line) for result in ("agrees", "differs")}

    def asked():
        for x in range(1, 41):
            answer = platform.predict("m", {"x": x})
            assert answer.json() == {"output": x} and answer.headers["Decalog-Version"] == "v1"
        return all(count >= 10 for count in copies().values())

    wait_for(asked, "copies that agree and copies that differ")
    status = platform.run("release", "status", "m").out
    assert "shadow 100%" in status and "disagreement" in status, status
    platform.run("release", "abort", "m")


def test_a_shadow_that_disagrees_ends(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    with Load(platform, "m", {"x": 0}) as load:
        done = platform.run("release", f"m@{v2}", "--shadow", "100%", "--guard", "disagreement<5%", ok=False)
        assert done.code == 1 and "disagreement" in done.err, done
    assert {(status, version) for status, version, _ in load.answers} == {(200, "v1")}


def test_what_breaks_callers_needs_a_word(platform, tmp_path):
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    files = {"model.py": "def predict(x: int, y: int) -> int:\n    return 2\n"}
    refused = deploy(platform, model, files, ok=False)
    assert refused.code == 1 and "would break" in refused.err and "input y" in refused.err and "--breaking" in refused.err, refused
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
    deploy(platform, model, files, "--breaking")
    assert platform.predict("m", {"x": 0, "y": 1}).json() == {"output": 2}
    platform.run("rollback", "m")
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_rollback_goes_back_step_by_step(platform, tmp_path):
    model = tmp_path / "m"
    for value in (1, 2, 3):
        deploy(platform, model, constant(value))
    with Load(platform, "m", {"x": 0}) as load:
        first = platform.run("rollback", "m")
        assert "v2" in first.err, first
        second = platform.run("rollback", "m")
        assert "v1" in second.err, second
    assert not [answer for answer in load.answers if answer[0] != 200]
    happened = platform.run("events", "m", "--kind", "deploy_started").out
    assert happened.count("a rollback") == 2 and "untested" not in happened, happened
    nothing = platform.run("rollback", "m", ok=False)
    assert nothing.code == 1 and "nothing was live" in nothing.err, nothing
    platform.run("release", "m@v3")
    assert platform.predict("m", {"x": 0}).json() == {"output": 3}


def test_a_version_that_is_gone_is_not_released(platform, tmp_path):
    model = tmp_path / "m"
    for value in (1, 2):
        deploy(platform, model, constant(value))
    used = platform.run("rm", "m@v2", ok=False)
    assert used.code == 1 and "is live in production" in used.err, used
    platform.run("rm", "m@v1")
    gone = platform.run("release", "m@v1", ok=False)
    assert gone.code == 1 and "no version v1" in gone.err and "v2" in gone.err, gone
    assert platform.predict("m", {"x": 0}).json() == {"output": 2}
    deploy(platform, model, constant(3))
    assert platform.predict("m", {"x": 0}).headers["Decalog-Version"] == "v3", "numbers are not used again"


def test_a_canary_that_never_starts(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    broken = {"model.py": "raise RuntimeError('not today')\n\ndef predict(x: int) -> int:\n    return 2\n"}
    failed = deploy(platform, model, broken, "--canary", "50", ok=False)
    assert failed.code == 1 and "not today" in failed.err and "v1 keeps serving" in failed.err, failed
    slow = {"model.py": "import time\ntime.sleep(600)\n\ndef predict(x: int) -> int:\n    return 2\n",
            "decalog.toml": "[model]\nstart_ms_max = 500\n"}
    failed = deploy(platform, model, slow, "--canary", "50", ok=False)
    assert failed.code == 1 and "start_ms_max" in failed.err, failed
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_two_releases_at_once(fresh, tmp_path):
    platform = fresh(arguments=QUICK).start()
    model = tmp_path / "m"
    deploy(platform, model, constant(1))
    v2 = pushed(platform, model, constant(2))
    v3 = pushed(platform, model, constant(3))
    results = {}

    def release(version):
        results[version] = platform.run("release", f"m@{version}", "--canary", "50", "--every", "600s", "--detach", ok=False)

    threads = [threading.Thread(target=release, args=(version,)) for version in (v2, v3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    progress = wait_for(lambda: platform.run("release", "status", "m", "--json").json()["progress"], "one of them")
    assert progress["baseline"] == 1
    late = platform.run("release", f"m@{v2}", "--canary", "50", ok=False)
    assert late.code == 1 and "on its way" in late.err, late
    platform.run("release", "abort", "m")
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}
