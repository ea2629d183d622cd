"""Models that try to leave their process, in four languages: what becomes of each attempt at each level of the sandbox.

    pytest tests/test_hostile.py -k "python and read_keys"
    DECALOG_SANDBOX_LEVELS=off,reduced,full pytest tests/test_hostile.py        each level on a platform of its own

Where nothing is confined, each attack must work: one that would not work anyway shows nothing. tests/hostile has the models,
and in expected.py what is expected of them.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from conftest import BINARY, LONG, ROOT, Platform, constant, paths_below, wait_for, write_model
from hostile import HERE, NEEDS, Site, descendants, missing, state_of
from hostile.expected import DEPENDS, EITHER, EXPECTED, EXPECTED_AT_LOAD, SHOWN_OUTSIDE, TRIED
from hostile.proof import contradiction, seen
from test_processes import supervisor_of

LEVELS = os.environ.get("DECALOG_SANDBOX_LEVELS", "full").split(",")
#: Attacks by the languages of the models that make them.
CASES = [(language, attack) for language in NEEDS for attack in TRIED[language]]
#: How long somebody may take who tells how a model failed, in seconds.
TELL_SECONDS = 8
#: How long such a model may take to start, in milliseconds.
START_MS_MAX = 5000


PAGE = ROOT / "docs/sandbox.md"
#: What came of each attack, by level; the same in all languages.
OUTCOMES = {}


@pytest.fixture(scope="module", autouse=True)
def page():
    """Writes what came of the attacks into the page, if all of them were made at all levels."""
    yield
    if os.environ.get("DECALOG_WRITE_SANDBOX"):
        before, after = PAGE.read_text().split("<!-- attacks -->")[0], PAGE.read_text().split("<!-- end of attacks -->")[1]
        table = ["| attack | off | reduced | full |", "| --- | --- | --- | --- |"]
        for attack in EXPECTED:
            told = [OUTCOMES.get((attack, level), "–") for level in ("off", "reduced", "full")]
            table.append(f"| {attack.replace('_', ' ')} | {' | '.join(told)} |")
        PAGE.write_text(before + "<!-- attacks -->\n" + "\n".join(table) + "\n<!-- end of attacks -->" + after)


def test_the_page_has_each_attack_and_claims_no_more_than_is_expected():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    told = {name: outcomes for name, *outcomes in rows}
    for attack, levels in EXPECTED.items():
        for level, outcome in zip(("off", "reduced", "full"), told[attack.replace("_", " ")]):
            assert outcome == "refused to all" or levels[level] in (EITHER, outcome), (attack, level, outcome)


@pytest.fixture(scope="module", params=LEVELS)
def site(request, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"), request.param, ["--sandbox", request.param])
    yield site
    site.close()


@pytest.mark.parametrize(("language", "attack"), CASES, ids=[f"{language}-{attack}" for language, attack in CASES])
def test_attack(site, language, attack):
    if language not in site.languages:
        pytest.skip("there is no " + ", ".join(missing(language)))
    outcome, detail = seen(site, attack, *site.attempt(language, attack))
    said = f"{outcome}: {detail}"
    assert outcome in ("possible", "denied"), said
    assert not contradiction(site, attack, outcome, detail), said
    expected = EXPECTED[attack][site.level]
    if attack in DEPENDS and outcome == "denied" and expected == "possible":
        outside, reason = site.attempt_outside(attack)
        assert outside == "denied", f"{said}; outside it is {outside}: {reason}"
        OUTCOMES[attack, site.level] = "refused to all"
        pytest.skip(f"this machine refuses it to any process: {reason}")
    assert expected in (EITHER, outcome), said
    OUTCOMES[attack, site.level] = outcome
    assert site.is_well()


@pytest.mark.parametrize("attack", sorted(SHOWN_OUTSIDE))
def test_attack_that_no_model_may_make_works_elsewhere(site, attack):
    outcome, detail = site.attempt_outside(attack)
    assert outcome == "possible" and not contradiction(site, attack, outcome, detail), f"{outcome}: {detail}"


def test_each_attack_is_tried_and_each_that_is_tried_is_expected():
    assert {attack for tried in TRIED.values() for attack in tried} == set(EXPECTED) >= DEPENDS
    assert all(len(tried) == len(set(tried)) >= 12 for tried in TRIED.values())


# ---- Made while a model loads, on those who start it --------------------------------------------------------------------------


def deployed_with(platform, tmp_path, attack, target):
    """What `decalog deploy` says of a model that attacks when it is loaded; nothing if it does not come to say it."""
    model = tmp_path / "model"
    shutil.copytree(HERE / "python", model, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = (model / "decalog.toml").read_text().replace("[model]", f"[model]\nstart_ms_max = {START_MS_MAX}", 1)
    write_model(model, {"decalog.toml": f'{manifest}\n[env]\nHOSTILE_AT_LOAD = "{attack}"\nHOSTILE_TARGET = "{target}"\n'})
    command = [BINARY, "deploy", str(model), "--name", attack.replace("_", "-")]
    environment = {**os.environ, "DECALOG_URL": platform.url}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        return process.communicate(timeout=TELL_SECONDS)[0]
    except subprocess.TimeoutExpired:
        wait_for(lambda: open_pipes(platform) or process.poll() is not None, "the pipe is opened for whoever waits", 60)
        process.communicate(timeout=LONG)
        return None


def open_pipes(platform):
    """Gives those an end who wait for somebody to write why a model failed."""
    for path in platform.data.glob("run/replicas/*/failure"):
        if path.is_fifo():
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                pass


def judge(site, attack, outcome, detail):
    assert EXPECTED_AT_LOAD[attack][site.level] in (EITHER, outcome), f"{outcome}: {detail}"
    site.platform.run("rm", attack.replace("_", "-"), "--yes", ok=False)
    assert site.is_well()


def test_why_a_model_failed_is_not_read_where_a_link_leads(site, tmp_path):
    said = deployed_with(site.platform, tmp_path, "failure_link", site.home / "secret")
    judge(site, "failure_link", "possible" if site.secret_text in (said or "") else "denied", said)


def test_nobody_waits_for_a_model_to_say_why_it_failed(site, tmp_path):
    said = deployed_with(site.platform, tmp_path, "failure_pipe", "none")
    judge(site, "failure_pipe", "possible" if said is None else "denied", said)


def test_nobody_is_ended_because_a_model_says_that_it_forked_them(site, tmp_path):
    victim = site.victim()
    said = deployed_with(site.platform, tmp_path, "forged_fork", victim)
    judge(site, "forged_fork", "denied" if state_of(victim) in ("S", "R") else "possible", said)


def test_no_model_takes_anothers_process_for_its_own(site, tmp_path):
    """On a platform of its own, which may not be able to end afterwards."""
    platform = Platform(tmp_path / "data", site.arguments).start()
    supervisor = supervisor_of(platform)
    try:
        platform.run("deploy", write_model(tmp_path / "bystander", {**constant(7), "decalog.toml": "[scale]\nmin = 1\n"}))
        (before,) = platform.pids("bystander")
        said = deployed_with(platform, tmp_path, "forged_child", before)
        platform.run("rm", "forged-child", "--yes", ok=False)
        end = time.monotonic() + 5
        while state_of(before) in ("S", "R") and time.monotonic() < end:
            time.sleep(0.05)
        outcome = "denied" if state_of(before) in ("S", "R") and platform.pids("bystander") == [before] else "possible"
        assert EXPECTED_AT_LOAD["forged_child"][site.level] in (EITHER, outcome), f"{outcome}: {said}"
        assert outcome == "possible" or platform.predict("bystander", {"x": 0}).json() == {"output": 7}
        assert outcome == "possible" or platform.stop() == 0
    finally:
        platform.kill()  # First: it would start another supervisor.
        for pid in [supervisor, *descendants(supervisor)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# ---- What takes more than its share: contained at each level ------------------------------------------------------------------


def test_what_a_model_leaves_behind_goes_with_it(site):
    before = site.descendants()
    attempt = lambda attack, **more: site.attempt("python", attack, **more)
    assert attempt("leave_links")[0] == "possible"
    disk, hog = attempt("disk_hog", mib=64)
    assert disk in ("possible", "denied"), hog
    assert attempt("outlive", seconds=60)[0] == "possible"
    bombed, detail = attempt("fork_bomb", children=64, seconds=60)
    assert bombed in ("possible", "denied"), detail
    wait_for(lambda: bombed == "denied" or len(site.descendants() - before) >= 40, "its children run")
    assert site.is_well()
    site.replace("python")
    wait_for(lambda: len(site.descendants()) <= len(before) + 1, "its children have ended", 20)
    wait_for(lambda: disk == "denied" or not os.path.exists(hog), "what it stored is gone", 20)
    assert site.is_well(), "and nothing that its links lead to"


def test_a_model_that_takes_too_much_memory_is_ended(site):
    outcome, detail = site.attempt("python", "memory_hog", mib=1200, seconds=4)
    assert outcome in ("ended", "denied") or outcome == "broken" and "MemoryError" in detail, f"{outcome}: {detail}"
    assert site.is_well()
    wait_for(lambda: site.attempt("python", "none")[0] == "broken", "it answers again", 30)


def test_a_model_that_prints_without_end_fills_no_disk(site):
    assert site.attempt("python", "log_flood", mib=30)[0] == "possible"
    wait_for(lambda: log_bytes(site) > 1 << 20, "some of it is in the log")
    time.sleep(0.2)  # More of it may be on its way.
    assert log_bytes(site) < 24 << 20
    assert site.is_well()


def log_bytes(site):
    return sum(status.st_size for _, status in paths_below(site.platform.data / "logs/default/python"))


def test_a_model_that_stops_itself_is_replaced(site):
    outcome, detail = site.attempt("python", "stop_itself")
    assert outcome == "ended" and "predict_timeout" in detail, f"{outcome}: {detail}"
    assert site.is_well()
    wait_for(lambda: site.attempt("python", "none")[0] == "broken", "it answers again", 30)


def test_nothing_is_left_in_the_end(site):
    """The last: it stops the platform."""
    assert site.is_well()
    running = site.descendants()
    assert site.platform.stop() == 0
    wait_for(lambda: not any(state_of(pid) not in ("", "Z") for pid in running), "all have ended", 20)
    assert (site.kept / "file").read_text() == "kept"
