"""The clock of the serving process jumps by days, forwards and back, under load."""

import json
from pathlib import Path

from conftest import constant, wait_for, write_model
from test_releases import QUICK, deploy, kinds, pushed
from test_versions import Load

#: Of Debian's libfaketime.
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def test_clock_jumps(fresh, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    variables = [f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={clock}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    platform = fresh(prefix=["env", *variables], arguments=QUICK).start()
    deploy(platform, tmp_path / "m", constant(1))
    v2 = pushed(platform, tmp_path / "m", constant(2))
    deploy(platform, tmp_path / "seldom", {**constant(7), "decalog.toml": "[scale]\nidle_s = 1\n"})

    def seldom():
        """To zero and back."""
        wait_for(lambda: not platform.pids("seldom"), "zero")
        assert platform.predict("seldom", {"x": 0}).json() == {"output": 7}

    with Load(platform, "m", {"x": 0}) as load:
        workers = platform.pids("m")
        platform.run("release", f"m@{v2}", "--canary", "20,60", "--every", "2s", "--guard", "errors<20%", "--detach")
        for jump in ["+3d", "-3d", "+0"]:
            clock.write_text(jump)
            seldom()
        wait_for(lambda: platform.run("release", "status", "m", "--json").json()["outcome"] == "live", "the end of the release")
        clock.write_text("-3d")
        platform.run("release", "m@v1")
        clock.write_text("+3d")
        platform.run("release", f"m@{v2}")
        seldom()
    assert not [answer for answer in load.answers if answer[0] != 200]
    for _, version, body in load.answers:
        assert json.loads(body) == {"output": int(version[1:])}
    assert platform.predict("m", {"x": 0}).headers["Decalog-Version"] == v2
    assert workers and not kinds(platform, "m", "replica_failed")
    times = [event["at_ms"] for event in platform.run("events", "--json").json()["events"]]
    assert times != sorted(times), "the clock has jumped"
    platform.run("ledger", "verify")
    platform.recompute()
    # Days ahead of the ledger's last entry, and days before it.
    for jump in ["-3d", "+0"]:
        clock.write_text(jump)
        platform.takeover()
        assert platform.predict("m", {"x": 0}).json() == {"output": 2}
