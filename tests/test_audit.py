"""What somebody outside can check of the ledger, without trusting whoever has the machine: everything here is compared
with the standards' own words (tlog.py), and the attacks are made on the real files."""

import hashlib
import json
import os
import select
import shutil
import subprocess
import threading

import tlog
from conftest import LONG, wait_for

SECRET = "correct horse battery staple"


def set_variables(platform, count, name="A"):
    """So many entries."""
    for number in range(count):
        path = f"/v1/projects/default/environments/production/variables/{name}"
        assert platform.request("PUT", path, {"value": str(number)}).status == 200


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def entry_hash(entry, body):
    fields = [entry[key] for key in ["seq", "at_ms", "actor", "subject", "subject_seq", "writer_epoch", "kind", "body_version"]]
    return tlog.hash_of(*fields, body, bytes.fromhex(entry["previous_hash"]))


def body_of(line):
    """The exact bytes of a line's body."""
    return line.split('"body":', 1)[1].rsplit(',"previous_hash":', 1)[0].encode()


def head_of(platform):
    return platform.run("status", "--json").json()["ledger"]


def test_checkpoints_and_proofs_are_what_their_standards_say(platform, tmp_path):
    set_variables(platform, 20)
    key = platform.run("audit", "key").out
    exported = platform.run("audit", "export").out.splitlines()
    hashes = []
    for line in exported:
        entry = json.loads(line)
        hashes.append(entry_hash(entry, body_of(line)))
        assert hashes[-1].hex() == entry["hash"]
    leaves = [tlog.leaf(entry) for entry in hashes]
    note = platform.run("audit", "checkpoint").out
    origin, size, root = tlog.read_checkpoint(note, key)
    assert origin == f"decalog/{hashes[0].hex()[:32]}" == tlog.read_key(key)[0]
    assert (size, root) == (22, tlog.root(leaves))
    assert platform.run("audit", "checkpoint").out == note, "nothing came since"
    for seq in range(1, size + 1):
        index, proof, checkpoint, carried = tlog.read_receipt(platform.get(f"/v1/audit/proof/{seq}").body.decode())
        assert (index, proof, checkpoint) == (seq - 1, tlog.path(seq - 1, leaves), note)
        assert carried.decode() == exported[seq - 1]
    for old in range(1, size):
        answer = platform.get(f"/v1/audit/consistency?from={old}&to={size}").json()
        assert [bytes.fromhex(h) for h in answer["proof"]] == tlog.consistency(old, leaves), old
    # A witness's signature is of its own kind.
    seen = platform.run("audit", "witness", tmp_path / "w", "--json").json()
    assert tlog.read_checkpoint(seen["note"], key, seen["witness"]) == (origin, size, root)


def test_a_receipt_is_checked_without_a_server_and_no_byte_of_it_can_be_changed(platform, tmp_path):
    set_variables(platform, 10)
    key, receipt = tmp_path / "ledger.pub", tmp_path / "receipt"
    key.write_text(platform.run("audit", "key").out)
    made = platform.run("audit", "prove", 7, "--out", receipt)
    assert "shows that entry 7 (variable_set, default, by" in made.err, made
    assert "name a new file" in platform.run("audit", "prove", 7, "--out", receipt, ok=False).err
    assert "no entry 99" in platform.run("audit", "prove", 99, ok=False).err
    assert platform.stop() == 0
    text = receipt.read_bytes()
    verify = ["audit", "verify", receipt, "--key"]
    proved = platform.run(*verify, key)
    assert proved.out.startswith("proved: entry 7 (variable_set, default, by "), proved
    assert platform.run(*verify, key.read_text().strip(), "--json").json()["entry"]["seq"] == 7
    for at in [*range(0, len(text), 29), len(text) - 1]:
        changed = bytearray(text)
        changed[at] ^= 1
        receipt.write_bytes(changed)
        refused = platform.run(*verify, key, ok=False)
        assert refused.code == 1 and not refused.out, (at, refused)
    receipt.write_bytes(text)
    other = key.read_text().replace("+A", "+B", 1)
    assert platform.run(*verify, other, ok=False).code == 1


def witnessed(platform, tmp_path, entries):
    """A platform whose witness and whose auditor have seen so many entries, and which has gone on since."""
    set_variables(platform, entries - 2)
    platform.run("audit", "witness", tmp_path / "witness")
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(platform.run("audit", "checkpoint").out)
    (tmp_path / "ledger.pub").write_text(platform.run("audit", "key").out)
    set_variables(platform, 5, "B")
    seen = platform.run("audit", "witness", tmp_path / "witness")
    assert f"its {entries + 5} entries continue the {entries} seen before" in seen.out, seen
    assert platform.stop() == 0
    return kept


def assert_found_out(platform, tmp_path, kept, told, at_the_second_site):
    """The ledger looks whole, and everybody who kept something knows better."""
    assert platform.run("ledger", "verify", "--data", platform.data).code == 0
    against = ["ledger", "verify", "--checkpoint", kept, "--key", tmp_path / "ledger.pub"]
    found = platform.run(*against, "--data", platform.data, ok=False)
    assert found.code == 1 and told in found.err, found
    platform.start()
    assert platform.run("ledger", "verify").code == 0
    found = platform.run(*against, ok=False)
    assert found.code == 1 and told in found.err, found
    memory = (tmp_path / "witness").read_text()
    for _ in range(2):
        refused = platform.run("audit", "witness", tmp_path / "witness", ok=False)
        assert refused.code == 1 and at_the_second_site in refused.err, refused
    assert (tmp_path / "witness").read_text() == memory, "what it refuses it has not seen"


def test_a_ledger_written_anew_is_found_out_by_who_kept_a_checkpoint_and_by_a_witness(platform, tmp_path):
    kept = witnessed(platform, tmp_path, 12)
    file = tlog.File(platform.data)
    rows = file.rows()
    assert rows[6][2] != "mallory"
    rows[6][2] = "mallory"
    file.write(rows)
    assert_found_out(platform, tmp_path, kept, "the ledger was written anew since", "does not continue the one with 17")


def test_a_ledger_that_was_cut_off_is_found_out_by_who_kept_a_checkpoint_and_by_a_witness(platform, tmp_path):
    kept = witnessed(platform, tmp_path, 12)
    file = tlog.File(platform.data)
    file.write(file.rows()[:8])
    assert_found_out(platform, tmp_path, kept, "had 12 entries when the checkpoint was signed", "cannot have become one of 9")


def test_another_ledger_is_told_from_the_one_of_a_checkpoint(platform, tmp_path):
    kept = witnessed(platform, tmp_path, 12)
    file = tlog.File(platform.data)
    rows = file.rows()
    rows[0][1] += 1
    file.write(rows)
    # The key is of the other one.
    signing = hashlib.sha256(b"decalog\nthe key that signs checkpoints").hexdigest()
    (platform.data / "secrets" / signing).unlink()
    assert_found_out(platform, tmp_path, kept, "it is another one, or its first entry was changed", "is not signed by")


def test_a_platform_does_not_sign_what_does_not_continue_its_own_checkpoint(platform, tmp_path):
    kept = witnessed(platform, tmp_path, 12)
    file = tlog.File(platform.data)
    rows = file.rows()
    rows[6][2] = "mallory"
    file.write(rows, checkpoints=True)
    platform.start()
    refused = platform.run("audit", "checkpoint", ok=False)
    assert refused.code == 1 and "does not continue its own checkpoint" in refused.err, refused
    assert platform.get("/v1/audit/checkpoint").json()["code"] == "ledger_broken"
    assert platform.run("audit", "witness", tmp_path / "witness", ok=False).code == 1
    assert platform.stop() == 0
    platform.arguments = ["--accept-damaged-ledger"]
    platform.start()
    platform.run("audit", "checkpoint")
    assert platform.run("ledger", "verify", "--checkpoint", kept, ok=False).code == 1


def test_a_checkpoint_of_another_key_is_refused(platform, fresh, tmp_path):
    platform.run("audit", "witness", tmp_path / "witness")
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(platform.run("audit", "checkpoint").out)
    other = fresh("other").start()
    key = other.run("audit", "key").out.strip()
    refused = platform.run("ledger", "verify", "--checkpoint", kept, "--key", key, ok=False)
    assert refused.code == 1 and "is not signed by" in refused.err, refused
    refused = other.run("audit", "witness", tmp_path / "witness", ok=False)
    assert refused.code == 1 and "is not signed by" in refused.err, refused
    refused = platform.run("audit", "witness", tmp_path / "witness", "--key", key, ok=False)
    assert refused.code == 1 and "was made for another ledger" in refused.err, refused


def test_a_restored_backup_signs_on_with_its_key_and_a_witness_sees_that_it_went_back(platform, fresh, tmp_path):
    set_variables(platform, 3)
    platform.run("audit", "witness", tmp_path / "witness")
    early, late = tmp_path / "early.tar", tmp_path / "late.tar"
    platform.run("backup", early)
    set_variables(platform, 3)
    platform.run("audit", "witness", tmp_path / "witness")
    platform.run("backup", late)
    key = platform.run("audit", "key").out
    assert platform.stop() == 0
    for name, backup, told in [("late", late, None), ("early", early, "cannot have become")]:
        restored = fresh(name)
        platform.run("restore", backup, "--data", restored.data)
        restored.start()
        # Without the key of the data directory a backup signs nothing, and says what is missing.
        refused = restored.run("audit", "checkpoint", ok=False)
        assert refused.code == 1 and "DATA/key" in refused.err, refused
        assert restored.stop() == 0
        shutil.copytree(platform.data / "keys", restored.data / "keys", dirs_exist_ok=True)
        restored.start()
        assert restored.run("audit", "key").out == key
        page = restored.get("/v1/audit/checkpoints").json()
        assert page["checkpoints"] and not page["more"], "those of before are in it"
        witness = restored.run("audit", "witness", tmp_path / "witness", ok=False)
        assert witness.code == (1 if told else 0) and (told or "") in witness.err, witness


def test_a_process_that_ends_or_is_replaced_signs_what_it_wrote(platform):
    set_variables(platform, 3)
    platform.takeover()
    key, last = platform.run("audit", "key").out, head_of(platform)["entries"]
    kept = platform.get("/v1/audit/checkpoints").json()["checkpoints"]
    assert kept[-1]["size"] == 5, "before it handed over"
    assert platform.stop() == 0
    file = tlog.File(platform.data)
    number, size, note = file.connection.execute("SELECT number, size, note FROM checkpoints ORDER BY number DESC").fetchone()
    assert size == last and tlog.read_checkpoint(note, key)[1] == last
    file.connection.close()
    platform.start()
    later = platform.get(f"/v1/audit/checkpoints?after={number}").json()
    assert later == {"checkpoints": [], "more": False}


def long_ledger(platform, entries):
    """So many entries, as an earlier program wrote them: without a tree over them."""
    set_variables(platform, 1)
    assert platform.stop() == 0
    file = tlog.File(platform.data)
    rows = file.rows()
    file.write(rows + [rows[-1]] * (entries - len(rows)), tree=False)
    return platform.start()


def test_an_export_that_is_killed_loses_nothing(platform, tmp_path):
    long_ledger(platform, 8_000)
    last = head_of(platform)["entries"]
    assert last > 8_000
    cursor = tmp_path / "cursor"
    command = [platform.binary, "--url", platform.url, "audit", "export", "--cursor", str(cursor)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
    # It is killed as soon as it remembers its place, before it can write more than it should have by then.
    taken = b""
    while not cursor.exists():
        if select.select([process.stdout], [], [], 0.001)[0]:
            part = os.read(process.stdout.fileno(), 65_536)
            assert part, "it ended too early"
            taken += part
    process.kill()
    taken += process.stdout.read()
    process.wait()
    whole = taken[: taken.rindex(b"\n") + 1].decode()
    at = int(cursor.read_text())
    assert 0 < at <= lines(whole)[-1]["seq"] < last
    rest = platform.run("audit", "export", "--cursor", cursor).out
    assert lines(rest)[0]["seq"] == at + 1
    assert {entry["seq"] for entry in lines(whole) + lines(rest)} == set(range(1, last + 1))
    assert int(cursor.read_text()) == last
    assert platform.run("audit", "export", "--cursor", cursor).out == ""
    # The tree of such a ledger was made when it was opened.
    key = platform.run("audit", "key").out
    leaves = [tlog.leaf(bytes.fromhex(entry["hash"])) for entry in lines(platform.run("audit", "export").out)]
    assert tlog.read_checkpoint(platform.run("audit", "checkpoint").out, key)[1:] == (last, tlog.root(leaves))


def test_exports_beside_appends_have_every_entry_once_and_in_order(platform, tmp_path):
    cursor, parts, done = tmp_path / "cursor", [], threading.Event()

    def append():
        set_variables(platform, 300)
        done.set()

    thread = threading.Thread(target=append)
    thread.start()
    while not done.is_set():
        parts.append(platform.run("audit", "export", "--cursor", cursor).out)
    thread.join()
    parts.append(platform.run("audit", "export", "--cursor", cursor).out)
    assert len([part for part in parts if part]) > 1
    assert "".join(parts) == platform.run("audit", "export").out
    assert [entry["seq"] for entry in lines("".join(parts))] == list(range(1, 303))


def test_an_export_begins_at_a_time(platform):
    set_variables(platform, 3)
    entries = lines(platform.run("audit", "export").out)
    since = entries[2]["time"]
    wanted = [entry["seq"] for entry in entries if entry["at_ms"] >= entries[2]["at_ms"]]
    assert [entry["seq"] for entry in lines(platform.run("audit", "export", "--since", since).out)] == wanted
    with_offset = since.replace("Z", "+00:00")
    assert [entry["seq"] for entry in lines(platform.run("audit", "export", "--since", with_offset).out)] == wanted
    assert platform.run("audit", "export", "--since", "2100-01-01T00:00:00Z").out == ""
    refused = platform.run("audit", "export", "--since", "yesterday", ok=False)
    assert refused.code == 1 and "since" in refused.err, refused


#: What OCSF 1.3.0 requires of API Activity, with types; of objects, what they require in turn.
REQUIRED = {
    "activity_id": int, "category_uid": int, "class_uid": int, "severity_id": int, "time": int, "type_uid": int,
    "actor": {"user": {"name": str, "type_id": int}}, "api": {"operation": str, "service": {"name": str}},
    "metadata": {"version": str, "product": {"vendor_name": str, "name": str}}, "src_endpoint": {"name": str},
}  # fmt: skip


def check_form(value, form, place=""):
    for name, kind in form.items():
        if isinstance(kind, dict):
            check_form(value[name], kind, f"{place}.{name}")
        else:
            assert type(value[name]) is kind, f"{place}.{name}"


def test_exports_for_stores_of_security_logs_have_what_their_schema_requires_and_no_secret(platform):
    set_variables(platform, 2)
    platform.run("env", "set", "TOKEN", "--secret", stdin=SECRET)
    platform.run("env", "unset", "TOKEN")
    stored = platform.run("audit", "export").out
    text = platform.run("audit", "export", "--format", "ocsf").out
    assert SECRET not in stored + text
    events, entries = lines(text), lines(stored)
    assert [event["metadata"]["sequence"] for event in events] == [entry["seq"] for entry in entries]
    for event, entry, line in zip(events, entries, stored.splitlines()):
        check_form(event, REQUIRED)
        assert (event["class_uid"], event["category_uid"]) == (6003, 6)
        assert event["type_uid"] == 600300 + event["activity_id"] and event["activity_id"] in (1, 2, 3, 4)
        assert (event["time"], event["metadata"]["uid"]) == (entry["at_ms"], entry["hash"])
        # The entry goes with it as it is: its hash can be computed again.
        assert event["unmapped"]["entry"] == entry
        assert entry_hash(entry, body_of(line)).hex() == entry["hash"]
    assert [event["activity_name"] for event in events] == ["Create", "Update", "Update", "Update", "Update", "Delete"]


def test_a_witness_that_ends_between_seeing_and_signing_goes_on(platform, tmp_path):
    memory = tmp_path / "witness"
    platform.run("audit", "witness", memory)
    seen = json.loads(memory.read_text())
    assert memory.stat().st_mode & 0o777 == 0o600
    set_variables(platform, 2)
    # It had kept what it saw, and had not signed it yet.
    newest = platform.run("audit", "checkpoint", "--json").json()
    _, _, root = tlog.read_checkpoint(newest["note"])
    memory.write_text(json.dumps({**seen, "size": newest["size"], "root": root.hex()}))
    again = platform.run("audit", "witness", memory)
    assert f"its {newest['size']} entries continue the {newest['size']} seen before" in again.out, again
    # Two at once say the same.
    set_variables(platform, 1)
    both = [subprocess.Popen([platform.binary, "--url", platform.url, "audit", "witness", memory]) for _ in range(2)]
    assert [process.wait(LONG) for process in both] == [0, 0]
    wait_for(lambda: json.loads(memory.read_text())["size"] == newest["size"] + 1, "the newest checkpoint", 1)
    memory.write_text("{")
    refused = platform.run("audit", "witness", memory, ok=False)
    assert refused.code == 1 and "is no memory of a witness" in refused.err, refused
