"""`decalog erase key`: records of a key are gone for good, all others stay, and the ledger says that it was done."""

import io
import re
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet
from conftest import paths_below, wait_for, write_model

from test_records import ALL, catalogue, restart, rows
from test_redaction import leaks

MODEL = "def predict(customer: str, age: int = 1) -> float:\n    return age * 0.5\n"
CANARY = "canary-erased-91c2"


def deploy(platform, directory, manifest="", *arguments):
    platform.run("deploy", write_model(directory, {"model.py": MODEL, "decalog.toml": manifest}), *arguments)


def ask(platform, customer, key=None, model="churn"):
    answer = platform.predict(model, {"customer": customer}, {"decalog-key": key} if key else {})
    assert answer.status == 200, answer.body
    return answer.headers["decalog-request-id"]


def erased(platform, key, *arguments):
    return platform.run("erase", "key", key, *arguments, "--json").json()


def events_of(platform):
    return platform.run("events", "--kind", "records_erased", "--json").json()["events"]


def test_what_is_erased_is_found_nowhere_and_all_else_stays(fresh, tmp_path):
    platform = fresh(arguments=(*ALL, "--log", "debug")).start()
    deploy(platform, tmp_path / "churn", '[records]\nkey = "customer"\n')
    deploy(platform, tmp_path / "plain")
    gone, kept = [], []
    for turn in range(3):
        gone += [ask(platform, CANARY), ask(platform, "x", f"customer={CANARY}"), ask(platform, CANARY, "trip=1")]
        gone.append(ask(platform, CANARY, model="plain"))
        kept += [ask(platform, f"other-{turn}"), ask(platform, CANARY[:-1], "customer=someone")]
        if turn < 2:
            restart(platform)
    body = {"rows": [{"customer": CANARY}, {"customer": "beside"}]}
    both = platform.predict("churn", body).headers["decalog-request-id"]
    assert leaks(platform, [CANARY]), "it is there before"
    result = erased(platform, f"customer={CANARY}")
    assert (result["records"], result["rows"], result["unread"]) == (13, 13, 0) and result["files"] >= 4, result
    assert leaks(platform, [CANARY]) == [], "at once"
    # What comes later is another matter.
    later = ask(platform, "later", "customer=7")
    assert erased(platform, "customer=nobody")["records"] == 0
    restart(platform)
    found = {}
    for row in rows(platform):
        found.setdefault(row["id"], []).append(row)
    assert not set(gone) & set(found)
    assert set(kept) | {both, later} <= set(found)
    assert [row["in.customer"] for row in found[both]] == ["beside"]
    gaps = [gap for gap in catalogue(platform, "gaps") if gap["reason"] == "erased by key"]
    assert sum(gap["records"] for gap in gaps) == 12, "of the last request a row is left"
    (event, other) = events_of(platform)
    assert event["body"]["records"] == 13, event
    assert re.fullmatch("[0-9a-f]{64}", event["body"]["key"]) and event["body"]["key"] != other["body"]["key"]
    platform.run("ledger", "verify")
    assert "13 records" in platform.run("events", "--kind", "records_erased").out
    assert platform.stop() == 0
    assert leaks(platform, [CANARY]) == []


def test_a_disguised_key_is_erased_by_its_name(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn", '[records]\nkey = "customer"\nredact = { customer = "hmac" }\n')
    gone = [ask(platform, "42"), ask(platform, "x", "customer=42"), ask(platform, "y", "order=42")]
    kept = ask(platform, "43")
    assert erased(platform, "customer=42")["records"] == 2
    assert erased(platform, "order=42", "--model", "other")["records"] == 0
    assert erased(platform, "order=42", "--model", "churn")["records"] == 1
    said = platform.run("erase", "key", "customer=42").out
    assert said == "erased 0 records in 0 files\n"
    restart(platform)
    assert [row["id"] for row in rows(platform)] == [kept] and gone


def test_an_erasure_that_is_killed_is_completed(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn")
    kept = []
    with ThreadPoolExecutor(1) as aside:
        for turn in range(6):
            kept += [ask(platform, f"other-{turn}-{at}") for at in range(5)]
            for _ in range(5):
                ask(platform, CANARY, f"customer={CANARY}")
            restart(platform)
        before = len(catalogue(platform, "files"))
        assert before >= 6
        for turn in range(4):
            for _ in range(20):
                ask(platform, CANARY, f"customer={CANARY}")
            erasing = aside.submit(platform.run, "erase", "key", f"customer={CANARY}", ok=False)
            path = platform.data / "records/catalogue.sqlite"

            def began():
                with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                    return connection.execute("SELECT count(*) FROM erasures").fetchone()[0] > turn

            wait_for(began, "the erasure is noted")
            time.sleep(turn * 0.02)
            platform.kill()
            erasing.result()
            platform.start()
    wait_for(lambda: len(events_of(platform)) >= 4, "the ledger has them")
    restart(platform)
    found = [row["in.customer"] for row in rows(platform)]
    assert sorted(found) == sorted(row for row in found if row.startswith("other-")) and len(found) == len(kept)
    known = {file["path"] for file in catalogue(platform, "files")}
    area = platform.data / "artifacts/records"
    wait_for(lambda: {str(path.relative_to(area)) for path, _ in paths_below(area) if path.suffix == ".parquet"} == known, "no file is left over")
    gaps = [gap for gap in catalogue(platform, "gaps") if gap["reason"] == "erased by key"]
    assert sum(gap["records"] for gap in gaps) == 6 * 5 + 4 * 20
    platform.run("ledger", "verify")
    assert platform.stop() == 0
    assert leaks(platform, [CANARY]) == []


def test_others_go_on_while_records_are_erased(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn")
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, platform, f"c{at % 10}") for at in range(600)]
        erasing = [pool.submit(erased, platform, f"customer=c{at}") for at in range(3)]
        ids = [one.result() for one in asked]
        assert all(one.result()["unread"] == 0 for one in erasing)
    for at in range(3):
        erased(platform, f"customer=c{at}")
    restart(platform)
    found = {row["id"]: row["in.customer"] for row in rows(platform)}
    assert {customer for customer in found.values()} == {f"c{at}" for at in range(3, 10)}
    assert [one for at, one in enumerate(ids) if at % 10 >= 3 and one not in found] == []
    assert len(events_of(platform)) == 6


def test_only_an_owner_of_the_project_erases(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn", "", "--project", "shop")
    ids = [ask(platform, "42", "customer=42", "shop/churn") for _ in range(3)]
    assert len(set(ids)) == 3
    assert erased(platform, "customer=42")["records"] == 0, "it is another project"
    refused = platform.run("erase", "key", "", "--project", "shop", ok=False)
    assert refused.code != 0 and "1 to 1024 bytes" in refused.err
    refused = platform.request("DELETE", "/v1/records?key=" + "x" * 2_000)
    assert refused.status == 400
    refused = platform.request("DELETE", "/v1/records?key=a=b&project=..%2Fetc")
    assert refused.status in (400, 422), refused.body
    assert erased(platform, "customer=42", "--project", "shop")["records"] == 3


def test_without_records_there_is_nothing_to_erase(fresh):
    platform = fresh(arguments=("--records-per-s", "0")).start()
    refused = platform.run("erase", "key", "customer=42", ok=False)
    assert refused.code != 0 and "no records" in refused.err, refused


def test_a_damaged_file_is_named_and_stops_nothing(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn")
    ask(platform, "42")
    restart(platform)
    (file,) = catalogue(platform, "files")
    path = platform.data / "artifacts/records" / file["path"]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    ask(platform, "42")
    result = platform.run("erase", "key", "customer=42", ok=False)
    assert result.code != 0 and "erased 1 record in 1 file" in result.out and "damaged" in result.err, result
    assert pyarrow.parquet.read_table(io.BytesIO(content)).num_rows == 1


def test_the_server_can_be_stopped_while_it_erases(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    deploy(platform, tmp_path / "churn")
    for _ in range(50):
        ask(platform, "42")
    with ThreadPoolExecutor(1) as aside:
        erasing = aside.submit(platform.run, "erase", "key", "customer=42", ok=False)
        platform.process.send_signal(signal.SIGTERM)
        assert platform.process.wait(60) == 0
        erasing.result()
    platform.start()
    if not events_of(platform):
        erased(platform, "customer=42")
    restart(platform)
    assert rows(platform) == []
