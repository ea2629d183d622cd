"""Replicas follow load, to zero and back; every decision can be taken again from its record."""

import threading
from concurrent.futures import ThreadPoolExecutor

from conftest import Platform, constant, wait_for, write_model

SLOW = "import time\n\ndef predict(x: int) -> int:\n    time.sleep(0.05)\n    return x\n"
IDLE = "[scale]\nidle_s = 1\n"


def replicas(platform, model):
    return platform.run("show", model, "--json").json()["replicas"]


def scale_events(platform, model):
    return [event["body"]["record"] for event in platform.run("events", model, "--kind", "scale", "--json").json()["events"]]


def until_zero(platform, model):
    wait_for(lambda: not replicas(platform, model), f"no replica of {model}", 60)


def test_to_zero_and_back(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": IDLE}))
    until_zero(platform, "m")
    assert platform.get("/readyz").status == 200, "asleep is not broken"
    assert platform.get("/v2/models/m/ready").status == 200
    assert "wakes" in platform.run("ls").out
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: platform.predict("m", {"x": 0}), range(8)))
    assert {answer.status for answer in answers} == {200}, "requests wait for the replica that they started"
    rules = [record["decision"]["rule"] for record in scale_events(platform, "m")]
    assert rules[:2] == ["idle", "wake"], rules
    until_zero(platform, "m")
    platform.stop()
    platform.start()
    assert not replicas(platform, "m"), "what slept before the restart sleeps after it"
    assert platform.predict("m", {"x": 0}).json() == {"output": 1}


def test_use_does_not_grow_the_ledger(fresh, tmp_path):
    platform = fresh(arguments=["--park", "nothing"]).start()
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": IDLE}))
    entries = lambda: platform.run("status", "--json").json()["ledger"]["entries"]
    before = entries()
    for _ in range(2):
        until_zero(platform, "m")
        assert platform.predict("m", {"x": 0}).status == 200
    until_zero(platform, "m")
    assert entries() == before, "to wake and to sleep is nobody's decision"
    listed = lambda: [(event["kind"], event["place"]) for event in platform.run("events", "m", "--json").json()["events"]]
    kinds = [kind for kind, _ in listed()]
    assert kinds[:1] == ["version_pushed"] and kinds.count("scale_changed") == 5 and kinds.count("replica_ready") >= 2, kinds
    released = next(place for kind, place in listed() if kind == "released")
    later = platform.get(f"/v1/events?model=default/m&after={released}").json()
    assert [event["place"] for event in later["events"]] == [place for _, place in listed()][kinds.index("released") + 1:]
    # What is read page by page is the same, and a page ends somewhere however little is found.
    after, places = "0", []
    while True:
        page = platform.get(f"/v1/events?model=default/m&limit=2&after={after}").json()
        places += [event["place"] for event in page["events"]]
        after = page["next"]
        if not page["more"]:
            break
    assert places == [place for _, place in listed()]
    platform.stop()
    platform.start()
    assert not replicas(platform, "m") and [kind for kind, _ in listed()] == kinds
    platform.run("backup", tmp_path / "backup.tar")
    restored = fresh("restored")
    platform.run("restore", tmp_path / "backup.tar", "--data", restored.data)
    restored.start()
    assert not replicas(restored, "m"), "what slept sleeps after a restore"
    assert [event["kind"] for event in restored.run("events", "m", "--json").json()["events"]] == kinds


def test_a_deadline_that_a_start_cannot_meet(tmp_path):
    # Without a spare, which would answer at once.
    platform = Platform(tmp_path / "data", ["--park", "nothing"]).start()
    slow = {"model.py": "import time\ntime.sleep(1)\n\ndef predict(x: int) -> int:\n    return 1\n", "decalog.toml": IDLE}
    platform.run("deploy", write_model(tmp_path / "m", slow))
    until_zero(platform, "m")
    late = platform.predict("m", {"x": 0}, {"Decalog-Timeout-Ms": "1"})
    assert late.status == 503 and late.json()["code"] == "no_capacity", late.body
    assert platform.predict("m", {"x": 0}).status == 200
    assert platform.stop() == 0


def test_replicas_follow_load_and_every_decision_is_recorded(platform, tmp_path):
    manifest = "[batch]\nrows_max = 1\n[scale]\nmin = 1\nmax = 3\ntarget_concurrency = 2\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": SLOW, "decalog.toml": manifest}))
    assert len(replicas(platform, "m")) == 1
    stopping, failed = threading.Event(), []

    def ask():
        while not stopping.is_set():
            answer = platform.predict("m", {"x": 1})
            if answer.status != 200:
                failed.append(answer.body)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    [thread.start() for thread in threads]
    ready = lambda: [replica for replica in replicas(platform, "m") if replica["state"] == "ready"]
    wait_for(lambda: len(ready()) == 3, "three replicas", 60)
    stopping.set()
    [thread.join() for thread in threads]
    assert not failed
    records = scale_events(platform, "m")
    assert records[0]["decision"]["target"] > 1 and records[-1]["decision"]["target"] == 3, records
    assert records[0]["inputs"]["current"] == 1 and records[0]["inputs"]["target"] == 2.0
    assert "→" in platform.run("events", "m", "--kind", "scale").out
    assert platform.recompute()["scales"] == len(records)


def test_min_keeps_replicas_and_a_deploy_changes_it(platform, tmp_path):
    model = tmp_path / "m"
    platform.run("deploy", write_model(model, {**constant(1), "decalog.toml": "[scale]\nmin = 2\nidle_s = 1\n"}))
    wait_for(lambda: len([r for r in replicas(platform, "m") if r["state"] == "ready"]) == 2, "two replicas")
    again = platform.run("deploy", write_model(model, {"decalog.toml": IDLE}))
    assert "same content" in again.err
    until_zero(platform, "m")
    assert [version["version"] for version in platform.run("show", "m", "--json").json()["versions"]] == ["v1"]


def test_a_slow_model_does_not_starve_another(platform, tmp_path):
    platform.run("deploy", write_model(tmp_path / "slow", {"model.py": SLOW.replace("0.05", "2"), "decalog.toml": "[scale]\nmax = 1\n"}))
    platform.run("deploy", write_model(tmp_path / "quick", constant(1)))
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(platform.predict, "slow", {"x": 1}, {"Decalog-Timeout-Ms": "9000"}) for _ in range(12)]
        wait_for(lambda: float(platform.predict("quick", {"x": 0}).headers["Server-Timing"].split("total;dur=")[1]) >= 0, "an answer")
        took = [float(platform.predict("quick", {"x": 0}).headers["Server-Timing"].split("total;dur=")[1]) for _ in range(50)]
        assert not all(future.done() for future in waiting), "the slow model is still busy"
        for future in waiting:
            future.result()
    assert sorted(took)[25] < 500, took


def test_a_row_that_kills_every_worker_fails_alone(platform, tmp_path):
    source = "import os\n\ndef predict(x: int) -> int:\n    if x == 13:\n        os._exit(1)\n    return x\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "decalog.toml": "[scale]\nmin = 2\n"}))
    ready = lambda: [replica for replica in replicas(platform, "m") if replica["state"] == "ready"]
    wait_for(lambda: len(ready()) == 2, "two replicas")
    with ThreadPoolExecutor(8) as pool:
        asked = {x: pool.submit(platform.predict, "m", {"x": x}) for x in [*range(13), 13, *range(14, 60)]}
        answers = {x: future.result() for x, future in asked.items()}
    killer = answers.pop(13)
    assert killer.status == 500 and killer.json()["code"] == "worker_died", killer.body
    assert {answer.status for answer in answers.values()} == {200}
    assert all(answer.json() == {"output": x} for x, answer in answers.items())
    wait_for(lambda: len(ready()) == 2, "both replicas are back")


def test_replicas_say_how_they_were_started(platform, tmp_path):
    manifest = "[scale]\nmin = 1\nmax = 2\n"
    platform.run("deploy", write_model(tmp_path / "m", {**constant(1), "decalog.toml": manifest}))
    platform.run("deploy", write_model(tmp_path / "m", {"decalog.toml": "[scale]\nmin = 2\nmax = 2\n"}))
    ready = lambda: [replica for replica in replicas(platform, "m") if replica["state"] == "ready"]
    found = wait_for(lambda: len(ready()) == 2 and ready(), "two replicas")
    assert "warm" in {replica["temperature"] for replica in found}, found
    parked = platform.run("show", "m", "--json").json()["parked"]
    assert [one["kind"] for one in parked] == ["parent"], parked
    assert "warm" in platform.run("show", "m").out


def test_random_state_differs_between_siblings(platform, tmp_path):
    source = "import random\n\ndef predict(x: int) -> float:\n    return random.random()\n"
    manifest = "[scale]\nmin = 3\nmax = 3\n[batch]\nrows_max = 1\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "decalog.toml": manifest}))
    wait_for(lambda: len([r for r in replicas(platform, "m") if r["state"] == "ready"]) == 3, "three replicas")
    with ThreadPoolExecutor(12) as pool:
        drawn = [answer.json()["output"] for answer in pool.map(lambda _: platform.predict("m", {"x": 0}), range(120))]
    assert len(set(drawn)) == len(drawn)


def test_out_of_memory_is_said(platform, tmp_path):
    source = "def predict(x: int) -> int:\n    return len(bytearray(x << 20))\n"
    manifest = "[resources]\nmemory_mb_max = 150\n"
    platform.run("deploy", write_model(tmp_path / "m", {"model.py": source, "decalog.toml": manifest}))
    assert platform.predict("m", {"x": 1}).status == 200
    failed = platform.predict("m", {"x": 400})
    assert failed.status == 500 and failed.json()["code"] == "worker_died", failed.body
    reasons = lambda: [event["body"]["reason"] for event in platform.run("events", "m", "--kind", "replica_failed", "--json").json()["events"]]
    assert "out of memory" in wait_for(reasons, "the reason in the ledger")[0]
    assert platform.predict("m", {"x": 1}).status == 200, "the next replica answers"
