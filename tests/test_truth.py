"""The truth comes late, twice, corrected, in part and in four forms; the numbers are those of scikit-learn on the same rows."""

import csv
import io
import json
import os
import random
import sqlite3
import subprocess
import threading
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from sklearn import metrics

from conftest import stored_files, wait_for, write_model
from test_records import segments

ALL = ("--records-per-s", "1000000")
FEEDBACK = "/v1/projects/default/models/{}/feedback"
SCORE = """
def predict(x: float) -> dict[str, float]:
    return {"leave": x}
"""
TEXT_CSV = {"content-type": "text/csv"}
PARQUET = {"content-type": "application/vnd.apache.parquet"}


def in_files(platform):
    """What is on the way to Parquet becomes it when the server starts."""
    if platform.process.poll() is None:
        assert platform.stop() == 0
    platform.start()
    wait_for(lambda: not segments(platform), "all segments are Parquet")


def ask(platform, model, rows, headers=None):
    answer = platform.predict(model, {"rows": rows}, headers)
    assert answer.status == 200, answer
    return answer.headers["decalog-request-id"], answer.json()["rows"]


def send(platform, model, body, headers=None, query="", status=200):
    answer = platform.request("POST", FEEDBACK.format(model) + query, body, headers)
    assert answer.status == status, answer.body
    return answer.json()


def windows(platform, model, *options):
    return platform.run("quality", model, *options, "--json").json()["windows"]


def known(platform, model, count, *options):
    """The only window, once so much of its truth is known."""

    found = []

    def enough():
        found[:] = windows(platform, model, *options)
        return found and sum(window["known"] for window in found) == count

    try:
        wait_for(enough, f"{count} truths are joined")
    except AssertionError as error:
        raise AssertionError(f"{error}: {found}") from error
    return found


def number(window, metric, of=None):
    found = [one for one in window["numbers"] if one["metric"] == metric and one.get("class") == of]
    assert len(found) == 1, (metric, of, window["numbers"])
    assert found[0]["low"] <= found[0]["value"] <= found[0]["high"]
    return found[0]["value"]


def as_csv(rows, names):
    out = io.StringIO()
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(columns):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def test_numbers_are_those_of_scikit_learn_on_the_same_rows(fresh, tmp_path):
    import joblib
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    data, truth = make_classification(600, 5, flip_y=0.2, random_state=3)
    file = io.BytesIO()
    joblib.dump(LogisticRegression().fit(data[:200], truth[:200]), file)
    manifest = '[truth]\noutput = "probability[1]"\ncolumn = "churned"\n'
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"churn.joblib": file.getvalue(), "decalog.toml": manifest}))
    asked, scores = [], []
    for begin in range(200, 600, 10):
        one, answers = ask(platform, "churn", [{"x": row.tolist()} for row in data[begin : begin + 10]])
        asked += [(one, row) for row in range(10)]
        scores += [answer["probability"][1] for answer in answers]
    truth, scores = truth[200:], np.array(scores)
    # Before any record is in a file: a CSV file with the truth of some rows, some of it wrong, and columns of others.
    first = [{"id": asked[at][0], "row": asked[at][1], "age": "x", "churned": 1 - truth[at] if at % 7 == 0 else truth[at]} for at in range(150)]
    report = send(platform, "churn", as_csv(first, ["age", "row", "churned", "id"]), TEXT_CSV)
    assert (report["accepted"], report["corrected"], report["refused"], report["unknown"]) == (150, 0, 0, 0)
    again = send(platform, "churn", as_csv(first, ["age", "row", "churned", "id"]), TEXT_CSV)
    assert (again["accepted"], again["repeated"]) == (0, 150)
    in_files(platform)
    (window,) = known(platform, "churn", 150)
    assert (window["predictions"], window["maturity"], window["kind"]) == (400, "partial", "score")
    # The rest comes as Parquet, with nothing for some, and puts right what was wrong.
    later = as_parquet(
        {
            "id": pyarrow.array([one for one, _ in asked]).dictionary_encode(),
            "row": pyarrow.array([row for _, row in asked], pyarrow.int32()),
            "churned": pyarrow.array([None if at >= 390 else int(truth[at]) for at in range(400)], pyarrow.int64()),
        }
    )
    path = tmp_path / "truth.parquet"
    path.write_bytes(later)
    printed = platform.run("feedback", "churn", path).out
    assert "262 taken" in printed and "22 of them correct" in printed and "128 were known" in printed and "10 have no truth" in printed, printed
    (window,) = known(platform, "churn", 390)
    y, p = truth[:390], scores[:390]
    assert number(window, "accuracy") == pytest.approx(metrics.accuracy_score(y, p >= 0.5), abs=1e-9)
    assert number(window, "f1", "true") == pytest.approx(metrics.f1_score(y, p >= 0.5), abs=1e-9)
    assert number(window, "precision", "true") == pytest.approx(metrics.precision_score(y, p >= 0.5), abs=1e-9)
    assert number(window, "brier") == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-9)
    assert number(window, "log_loss") == pytest.approx(metrics.log_loss(y, p), abs=1e-6)
    assert number(window, "auc") == pytest.approx(metrics.roc_auc_score(y, p), abs=2e-3)
    table = platform.run("quality", "churn", env={"COLUMNS": "80"}).out
    assert "ACCURACY" in table and "97%" in table and all(len(line) <= 80 for line in table.splitlines()), table


def test_a_number_by_its_key_corrected_and_dated(fresh, tmp_path):
    source = "def predict(distance: float) -> dict[str, float]:\n    return {'minutes': distance * 0.1 + 5}\n"
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "delay", {"model.py": source}))
    seed = random.Random(5)
    rows = [{"flight": at, "distance": seed.uniform(100, 3_000)} for at in range(200)]
    for row in rows:
        row["predicted"] = ask(platform, "delay", [{"distance": row["distance"]}], {"decalog-key": f"flight={row['flight']}"})[1][0]["minutes"]
        row["minutes"] = row["distance"] * 0.1 + seed.gauss(4, 9)
    in_files(platform)
    # All at once with mistakes, then those put right; keys that nobody asked about do no harm.
    wrong = [{"flight": row["flight"], "minutes": row["minutes"] * 3} for row in rows] + [{"flight": 9_999, "minutes": 1}]
    assert send(platform, "delay", as_csv(wrong, ["flight", "minutes"]), TEXT_CSV, "?key=flight")["accepted"] == 201
    (window,) = known(platform, "delay", 200)
    right = "\n".join(json.dumps({"key": f"flight={row['flight']}", "truth": row["minutes"]}) for row in rows)
    report = send(platform, "delay", right.encode(), {"content-type": "application/x-ndjson"})
    assert (report["accepted"], report["corrected"]) == (200, 200)
    y, p = [row["minutes"] for row in rows], [row["predicted"] for row in rows]
    expected = metrics.mean_absolute_error(y, p)
    (window,) = wait_for(
        lambda: [one for one in windows(platform, "delay") if abs(number(one, "mae") - expected) < 1e-9], "what is right is joined"
    )
    assert window["kind"] == "number" and window["known"] == 200
    assert number(window, "rmse") == pytest.approx(metrics.root_mean_squared_error(y, p))
    assert number(window, "r2") == pytest.approx(metrics.r2_score(y, p))
    assert number(window, "bias") == pytest.approx(np.mean(np.array(p) - np.array(y)))
    # One that is dated before the prediction is of an earlier one.
    send(platform, "delay", {"key": "flight=0", "truth": 1e6, "at": "2020-01-01T00:00:00Z"})
    # One that is dated after it goes before all that is not.
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    send(platform, "delay", {"key": "flight=1", "truth": p[1], "at": today})
    expected -= abs(y[1] - p[1]) / 200
    wait_for(lambda: abs(number(windows(platform, "delay")[0], "mae") - expected) < 1e-9, "what is dated is joined")


def test_what_is_acknowledged_is_kept_however_often_the_server_is_killed(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": SCORE}))
    seed = random.Random(11)
    asked = {}
    for _ in range(60):
        one, _ = ask(platform, "churn", [{"x": row / 20} for row in range(20)])
        asked.update({(one, row): seed.random() < row / 20 for row in range(20)})
    waiting, sent = list(asked), {}

    def feed():
        while waiting:
            some = [waiting.pop() for _ in range(min(10, len(waiting)))]
            body = [{"id": one, "row": row, "truth": asked[one, row]} for one, row in some]
            answer = platform.request("POST", FEEDBACK.format("churn"), body)
            if answer.status != 200:
                waiting.extend(some)
                return
            sent.update({place: asked[place] for place in some})

    for wanted in (100, 400, 700):
        thread = threading.Thread(target=feed)
        thread.start()
        wait_for(lambda: len(sent) > wanted, "truth is taken")
        platform.kill()
        thread.join(60)
        platform.start(same_address=True)
    feed()
    assert len(sent) == 1_200
    in_files(platform)
    (window,) = known(platform, "churn", 1_200)
    y = [sent[place] for place in asked]
    p = [row / 20 for _, row in asked]
    assert number(window, "accuracy") == pytest.approx(metrics.accuracy_score(y, np.array(p) >= 0.5))
    # As the server is killed while it sums up, nothing is counted twice.
    platform.kill()
    platform.start(same_address=True)
    send(platform, "churn", [{"id": one, "row": row, "truth": asked[one, row]} for one, row in list(asked)[:500]])
    (window,) = known(platform, "churn", 1_200)
    assert number(window, "auc") == pytest.approx(metrics.roc_auc_score(y, p), abs=2e-3)


def test_quality_is_estimated_until_the_truth_comes(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    model = write_model(tmp_path / "churn", {"model.py": SCORE})
    platform.run("deploy", model)
    seed, rows = random.Random(2), [{"x": (row + 0.5) / 20} for row in range(20)]
    asked = [ask(platform, "churn", rows)[0] for _ in range(40)]
    said = [{"id": one, "truth": [seed.random() < row["x"] for row in rows]} for one in asked]
    send(platform, "churn", said)
    in_files(platform)
    known(platform, "churn", 800)
    write_model(model, {"model.py": SCORE + "# another\n"})
    platform.run("deploy", model)
    asked = [ask(platform, "churn", rows)[0] for _ in range(20)]
    in_files(platform)

    def later():
        found = [window for window in windows(platform, "churn") if window["version"] == "v2" and window["estimates"]]
        return found and found[0]

    window = wait_for(later, "an estimate")
    assert (window["maturity"], window["known"], window["numbers"]) == ("estimated", 0, []) and window["is_estimate_trusted"]
    (accuracy,) = [one for one in window["estimates"] if one["metric"] == "accuracy"]
    assert accuracy["value"] == pytest.approx(np.mean([max(row["x"], 1 - row["x"]) for row in rows]), abs=0.06)
    printed = platform.run("quality", "churn").out
    assert "~0.7" in printed and "~ is an estimate" in printed, printed
    # The truth is the contrary: the estimate is believed no more.
    send(platform, "churn", [{"id": one, "truth": [row["x"] < 0.5 for row in rows]} for one in asked])

    def distrusted():
        return [one for one in windows(platform, "churn") if one["version"] == "v2" and one["is_estimate_trusted"] is False]

    (window,) = wait_for(distrusted, "truth that contradicts the estimate")
    assert number(window, "accuracy") == 0.0
    assert "~" not in platform.run("quality", "churn").out


def test_who_may_say_what_is_true(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    for name in ("churn", "other"):
        platform.run("deploy", write_model(tmp_path / name, {"model.py": SCORE}))
    one, _ = ask(platform, "churn", [{"x": 0.5}])
    app = platform.run("token", "create", "shop", "--predict", "default/churn").out.strip()
    platform.run("member", "add", "ann", "--role", "viewer")
    reader = platform.run("token", "create", "ann", "--scope", "read").out.strip()

    def tell(token, model="churn"):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        answer = platform.request("POST", FEEDBACK.format(model), {"id": one, "truth": True}, headers)
        return answer.status, answer.json().get("code")

    assert tell(app) == (200, None)
    assert tell(app, "other") == (404, "no_such_model")
    assert tell(reader) == (403, "forbidden")
    assert tell("dcs_wrong")[0] == 401
    quality = "/v1/projects/default/models/churn/quality"
    assert platform.request("GET", quality, headers={"authorization": f"Bearer {reader}"}).status == 200
    assert platform.request("GET", quality, headers={"authorization": f"Bearer {app}"}).status == 403
    assert "yes" in platform.run("can", "ann", "feedback", "default/churn").out


def test_what_cannot_be_understood_is_said_line_by_line(fresh, tmp_path):
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": SCORE}))
    one, _ = ask(platform, "churn", [{"x": 0.25}, {"x": 0.75}])
    body = f'{{"id": "{one}", "truth": [0, 1]}}\nnonsense\n{{"id": "7", "truth": 1}}\n{{"id": "{one}", "row": 1, "truth": null}}\n'
    report = send(platform, "churn", body.encode(), {"content-type": "application/x-ndjson"})
    assert (report["accepted"], report["refused"], report["empty"]) == (2, 2, 1)
    assert [refusal["line"] for refusal in report["refusals"]] == [2, 3]
    old = "01890000-0000-7000-8000-000000000000"
    assert send(platform, "churn", {"id": old, "truth": 1})["unknown"] == 1
    problem = send(platform, "churn", b"a,b\n1,2\n", TEXT_CSV, status=422)
    assert problem["code"] == "bad_feedback" and "`truth`" in problem["details"][0]
    assert send(platform, "churn", b"PAR1 and nothing", PARQUET, status=422)["code"] == "bad_feedback"
    assert send(platform, "churn", b"x", {"content-type": "image/png"}, status=400)["code"] == "bad_request"
    assert send(platform, "nobody", {"id": one, "truth": 1}, status=404)["code"] == "no_such_model"
    many = as_csv([{"id": "x", "truth": 1}] * 50_000, ["id", "truth"])
    assert len(send(platform, "churn", many, TEXT_CSV, status=422)["details"]) == 20
    nothing = platform.run("feedback", "churn", "-", stdin="", ok=True).out
    assert nothing.startswith("0 taken")
    platform.stop()
    silent = fresh("silent", arguments=("--records-per-s", "0")).start()
    silent.run("deploy", tmp_path / "churn")
    assert send(silent, "churn", {"id": one, "truth": 1}, status=409)["code"] == "no_records"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_truth_that_finds_no_room_is_not_acknowledged(fresh, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        platform = fresh("small/data", arguments=ALL).start()
        platform.run("deploy", write_model(tmp_path / "churn", {"model.py": SCORE}))
        asked = [ask(platform, "churn", [{"x": row / 50} for row in range(50)])[0] for _ in range(50)]
        with open(small / "ballast", "wb", buffering=0) as ballast:
            for size in (65_536, 512):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    pass
        body = as_csv([{"id": one, "row": row, "truth": row % 2} for one in asked for row in range(50)], ["id", "row", "truth"])
        answer = platform.request("POST", FEEDBACK.format("churn"), body, TEXT_CSV)
        assert answer.status == 507 and answer.json()["code"] == "no_space", answer.body
        assert platform.predict("churn", {"x": 0.5}).status == 200
        os.unlink(small / "ballast")
        assert send(platform, "churn", body, TEXT_CSV)["accepted"] == 2_500
        in_files(platform)
        assert known(platform, "churn", 2_500)[0]["coverage"] > 0.99
        platform.stop()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_keys_that_are_disguised_join_and_keys_that_are_erased_are_gone(fresh, tmp_path):
    source = "def predict(x: float, customer: str) -> dict[str, float]:\n    return {'leave': x}\n"
    manifest = '[records]\nkey = "customer"\nredact = { customer = "hmac" }\n'
    platform = fresh(arguments=ALL).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": source, "decalog.toml": manifest}))
    customers = [f"canary-{at}" for at in range(40)]
    ask(platform, "churn", [{"x": at / 40, "customer": customer} for at, customer in enumerate(customers)])
    in_files(platform)
    said = as_csv([{"customer": customer, "truth": at % 2} for at, customer in enumerate(customers)], ["customer", "truth"])
    assert send(platform, "churn", said, TEXT_CSV, "?key=customer")["accepted"] == 40
    known(platform, "churn", 40)
    stored = lambda: sqlite3.connect(f"file:{platform.data / 'records/truth.sqlite'}?mode=ro", uri=True).execute("SELECT count(*) FROM keys").fetchone()[0]
    assert stored() == 40
    platform.run("erase", "key", "customer=canary-7")
    assert stored() == 39
    assert platform.stop() == 0
    for path, content in stored_files(platform.data):
        assert b"canary-" not in content, path
