"""How exactly answers can be repeated: what a candidate shows before it takes traffic, and recorded requests that are asked again."""

import http.client
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from conftest import ROW, Platform, wait_for, write_model

#: Requests that are replayed of each model: `DECALOG_REPLAYS=1000` for all that one replay takes.
REPLAYS = int(os.environ.get("DECALOG_REPLAYS", "100"))
CONNECTIONS = 64
FEATURES = 24
KEPT = ("--records-per-s", "1000000")

DRAWN = """
import numpy as np

def predict(x: np.ndarray) -> np.ndarray:
    return x + np.random.random(len(x))
"""
CENTRED = """
import numpy as np

def predict(x: np.ndarray) -> np.ndarray:
    return x - x.mean()
"""
ONE_ROW = """
import numpy as np

def predict(x: np.ndarray) -> np.ndarray:
    if len(x) > 1:
        {what}
    return x * 2
"""
SLOW = """
import time

def predict(x: float) -> float:
    time.sleep({seconds})
    return x * 2
"""
#: A network of PyTorch as Debian packages it for processors; PyPI has none that comes without the libraries of graphics cards.
DEBIAN_PYTHON = Path("/usr/lib/python3/dist-packages")
TORCH = f"""
import sys
import numpy as np
sys.path.append("{DEBIAN_PYTHON}")
import torch

class Model:
    def __init__(self):
        torch.manual_seed(7)
        self.network = torch.nn.Sequential(torch.nn.Linear(24, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3)).eval()

    def predict(self, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.network(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))).numpy()
"""
TORCH_SCHEMA = f"""
[schema]
inputs = [{{ name = "x", datatype = "FP32", shape = [{FEATURES}] }}]
outputs = [{{ name = "scores", datatype = "FP32", shape = [3] }}]
"""
STREAM = """
def predict(n: int):
    for part in range(n):
        yield part
"""


def fitted():
    data, truth = make_classification(4000, FEATURES, n_informative=12, n_classes=3, random_state=7)
    models = {
        "logistic": LogisticRegression(max_iter=300),
        "mlp": MLPClassifier((40, 20), max_iter=40, random_state=7),
        "forest": RandomForestClassifier(30, random_state=7),
        "boost": HistGradientBoostingClassifier(max_iter=20, random_state=7),
    }
    return data, {name: model.fit(data[:1500], truth[:1500]) for name, model in models.items()}


def has_torch():
    """Whether Debian's PyTorch is installed, and is for the Python that models run with here."""
    return any(DEBIAN_PYTHON.glob(f"torch/_C.cpython-{sys.version_info.major}{sys.version_info.minor}*.so"))


def joblib_of(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


def graph_of(model):
    from skl2onnx import to_onnx

    return to_onnx(model, np.zeros((1, FEATURES), np.float32), options={"zipmap": False}).SerializeToString()


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """Models of several kinds, and the rows that they are asked."""
    home = tmp_path_factory.mktemp("repeated")
    platform = Platform(home / "data", KEPT).start()
    data, models = fitted()
    for name, model in models.items():
        platform.run("deploy", write_model(home / name, {f"{name}.joblib": joblib_of(model)}))
    platform.run("deploy", write_model(home / "graph", {"graph.onnx": graph_of(models["mlp"])}))
    if has_torch():
        files = {"model.py": TORCH, "requirements.txt": "numpy<2\ntyping-extensions\n", "decalog.toml": TORCH_SCHEMA}
        platform.run("deploy", write_model(home / "torch", files))
    platform.run("deploy", write_model(home / "drawn", {"model.py": DRAWN, "requirements.txt": "numpy\n"}))
    platform.run("deploy", write_model(home / "centred", {"model.py": CENTRED, "requirements.txt": "numpy\n"}))
    yield platform, data
    assert platform.stop() == 0


class Load:
    """Many connections on each of which a model is asked for one row after another, all at once, until they are told to stop."""

    def __init__(self, platform, model, rows):
        url = urlsplit(platform.url)
        head = f"POST /v1/models/{model}/predict HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: "
        bodies = [json.dumps(row) for row in rows]
        self.requests = [f"{head}{len(body)}\r\n\r\n{body}".encode() for body in bodies]
        self.sockets = [socket.create_connection((url.hostname, url.port), 60) for _ in range(CONNECTIONS)]
        self.ended, self.answered, self.failed = threading.Event(), 0, []
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        at = 0
        while not self.ended.is_set():
            # What comes while the model is busy shares its next batch.
            for connection in self.sockets:
                connection.sendall(self.requests[at % len(self.requests)])
                at += 1
            for connection in self.sockets:
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                body = answer.read()
                if answer.status == 200:
                    self.answered += 1
                else:
                    self.failed.append(body)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        for connection in self.sockets:
            connection.close()


def probe_of(platform, model, environment="production"):
    version = platform.run("show", model, "--json").json()["versions"][-1]
    return version["probed"][environment]


def processes(platform):
    """The processes of a platform."""
    listed = subprocess.run(["ps", "-eo", "pid,etimes,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(platform.data) in line]


def replay(platform, *arguments):
    return platform.run("replay", *arguments, "--json").json()


def rows_of(platform, model, data):
    """Rows of the data as the model takes them."""
    schema = platform.run("show", model, "--schema", "--json").json()
    names = [column["name"] for column in schema["inputs"]]
    if len(names) == 1:
        return [{names[0]: row} for row in data.tolist()]
    return [dict(zip(names, row)) for row in data.tolist()]


WITH_TORCH = pytest.param("torch", marks=pytest.mark.skipif(not has_torch(), reason="apt-get install python3-torch, for this Python"))


@pytest.mark.parametrize("name", ["logistic", "mlp", "forest", "boost", "graph", WITH_TORCH])
def test_what_was_answered_under_load_is_answered_again_bit_for_bit(repeated, name):
    platform, data = repeated
    probe = probe_of(platform, name)
    assert probe["outcome"] in ("invariant", "size-dependent"), probe
    assert probe["repeats"] >= 8 and probe["rows"] >= 2 and max(probe["sizes"]) >= 8, probe
    batches = lambda report: [one for one in report["results"] if one["batch_rows"] > 1]

    def replayed():
        """The last requests, once enough of them shared a batch: where the caller is slow, they come one by one."""
        report = replay(platform, name, "--last", REPLAYS)
        others = [one for one in report["results"] if one["outcome"] != "same"]
        assert report["same"] == len(report["results"]) == REPLAYS, others[:3]
        has_moved = any(one["batch_offset"] > 0 for one in report["results"])
        return len(batches(report)) > REPLAYS // 10 and has_moved and report

    with Load(platform, name, rows_of(platform, name, data)) as load:
        wait_for(lambda: load.answered >= 2 * REPLAYS, "enough requests were answered")
        report = wait_for(replayed, "requests that shared batches", 120)
    assert not load.failed, load.failed[:3]
    if probe["outcome"] == "size-dependent":
        # By itself the same row is answered otherwise: it is the batch of its size that gives the same bits.
        columns = [column["name"] for column in platform.run("show", name, "--schema", "--json").json()["outputs"]]
        ids = ", ".join(f"'{one['id']}'" for one in batches(report)[:60])
        recorded = platform.run("sql", f"select * from records where model = '{name}' and id in ({ids})", "--json").json()
        alone = [platform.predict(name, {key.removeprefix("in."): value for key, value in row.items() if key.startswith("in.")}).json() for row in recorded]
        assert recorded and any(answer[column] != row[f"out.{column}"] for answer, row in zip(alone, recorded) for column in columns)
    shared, moved = len(batches(report)), sum(one["batch_offset"] > 0 for one in report["results"])
    print(f"{name}: {probe['outcome']} {probe.get('ulp_max')}; {shared} of {REPLAYS} were in batches, {moved} not first; {report['elapsed_ms']} ms")


def test_a_model_that_draws_its_answers_is_random(repeated):
    platform, _ = repeated
    assert probe_of(platform, "drawn")["outcome"] == "random"
    request = platform.predict("drawn", {"x": 3.5}).headers["decalog-request-id"]
    (result,) = replay(platform, request)["results"]
    assert result["outcome"] == "cannot" and "random" in result["why"] and result["runs"] == 3


def test_a_model_whose_rows_interact_is_advised(repeated, tmp_path):
    platform, _ = repeated
    probe = probe_of(platform, "centred")
    assert probe["outcome"] == "rows-interact" and "mix = false" in probe["advice"], probe
    shown = platform.run("show", "centred").out
    assert "rows-interact" in shown and "mix = false" in shown
    with Load(platform, "centred", [{"x": float(n)} for n in range(1, 600)]) as load:
        wait_for(lambda: load.answered >= 400, "requests shared batches")
    report = replay(platform, "centred", "--last", 100)
    shared = [one for one in report["results"] if one["batch_rows"] > one["rows"]]
    alone = [one for one in report["results"] if one["batch_rows"] == one["rows"]]
    assert shared and report["different"] == 0, report
    assert all(one["outcome"] == "same" for one in alone)
    refused = [one for one in shared if one["outcome"] == "cannot"]
    assert refused and all("rows interact" in one["why"] for one in refused)
    # With the advice taken, all rows of a batch are one caller's and are in its record.
    files = {"model.py": CENTRED, "requirements.txt": "numpy\n", "decalog.toml": "[batch]\nmix = false\n"}
    deployed = platform.run("deploy", write_model(tmp_path / "centred", files)).err
    assert "rows-interact" in deployed and "set [batch]" not in deployed
    asked = [platform.predict("centred", {"rows": [{"x": n}, {"x": 2.0 * n}, {"x": 0.5}]}) for n in range(1, 6)]
    ids = [answer.headers["decalog-request-id"] for answer in asked]
    report = replay(platform, *ids)
    assert report["same"] == 5 and all(one["rows"] == 3 for one in report["results"]), report


def test_what_changed_in_another_version_is_told(platform, tmp_path):
    platform.stop()
    platform.arguments = list(KEPT)
    platform.start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": ROW}))
    ids = [platform.predict("churn", {"age": age}).headers["decalog-request-id"] for age in (4, 40, 7)]
    failed = platform.predict("churn", {"age": "x"}).headers["decalog-request-id"]
    write_model(tmp_path / "churn", {"model.py": ROW.replace("age * 0.5", "age * 0.5 if age < 10 else 21.0")})
    platform.run("deploy", tmp_path / "churn")
    before = processes(platform)
    counted = "select count(*) as records from records"
    records = platform.run("sql", counted, "--json").json()
    metrics = [line for line in platform.get("/metrics").body.decode().splitlines() if line.startswith("decalog_requests_total")]
    # Each is asked of the version that answered it, although another one is live.
    report = replay(platform, *ids)
    assert report["same"] == 3 and [one["on"] for one in report["results"]] == ["v1"] * 3, report
    report = replay(platform, *ids, "--on", "churn@v2")
    outcomes = {one["id"]: one for one in report["results"]}
    assert [outcomes[id]["outcome"] for id in ids] == ["same", "different", "same"], report
    changed = outcomes[ids[1]]
    assert changed["runs"] == 3 and changed["differences"] == [{"column": "output", "row": 0, "before": 20.0, "after": 21.0}]
    shown = platform.run("replay", ids[1][:35].upper(), "--on", "v2").out
    assert "v1 → v2  different" in shown and "20.0 → 21.0" in shown
    (result,) = replay(platform, failed)["results"]
    assert result["outcome"] == "cannot" and "not answered: 422" in result["why"]
    (result,) = platform.request("POST", "/v1/projects/default/models/churn/replay", {"ids": [ids[0][:-4] + "0000"]}).json()["results"]
    assert result["outcome"] == "cannot" and "no record" in result["why"]
    # Nothing of it was traffic.
    assert platform.run("sql", counted, "--json").json() == records
    assert [line for line in platform.get("/metrics").body.decode().splitlines() if line.startswith("decalog_requests_total")] == metrics
    # The replicas of replays are nobody else's, and end with them.
    try:
        wait_for(lambda: len(processes(platform)) <= len(before), "the replicas of replays have ended")
    except AssertionError as error:
        raise AssertionError(f"{error}: {before} {processes(platform)}") from error
    told = platform.run("events", "churn", "--kind", "replica", "--json").json()["events"]
    assert not told, told
    for body in ({}, {"ids": []}, {"ids": ["x"]}, {"ids": [ids[0]], "last": 1}, {"last": 1001}, {"last": 0}):
        assert platform.request("POST", "/v1/projects/default/models/churn/replay", body).status == 400, body
    answer = platform.request("POST", "/v1/projects/default/models/churn/replay", {"last": 1, "on": "v9"})
    assert (answer.status, answer.json()["code"]) == (404, "no_such_version")


def test_what_was_not_recorded_cannot_be_asked_again(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    manifest = '[records]\nredact = { city = "%s" }\n'
    for rule in ("hmac", "drop"):
        files = {"model.py": ROW, "decalog.toml": manifest % rule}
        platform.run("deploy", write_model(tmp_path / rule, files), "--name", rule)
        request = platform.predict(rule, {"age": 4, "city": "Delft"}).headers["decalog-request-id"]
        (result,) = replay(platform, request)["results"]
        assert result["outcome"] == "cannot" and "`city` is redacted" in result["why"], result
    source = "def predict(text: str) -> int:\n    return len(text)\n"
    platform.run("deploy", write_model(tmp_path / "long", {"model.py": source}))
    platform.run("deploy", write_model(tmp_path / "parts", {"model.py": STREAM}))
    large = platform.predict("long", {"text": "x" * 100_000}).headers["decalog-request-id"]
    key = {"decalog-key": "customer=42"}
    erased = platform.predict("long", {"rows": [{"text": "a"}, {"text": "b"}]}, key).headers["decalog-request-id"]
    streamed = platform.predict("parts", {"n": 3}).headers["decalog-request-id"]
    why = lambda request: replay(platform, request)["results"][0]["why"]
    assert "64 KiB" in why(large)
    assert "stream" in why(streamed)
    assert replay(platform, erased)["same"] == 1
    platform.run("erase", "key", "customer=42")
    assert "no record" in platform.run("replay", erased, ok=False).err


def test_a_replay_ends_with_its_caller_and_is_one_at_a_time(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()
    platform.run("deploy", write_model(tmp_path / "slow", {"model.py": SLOW.format(seconds=0.2)}))
    for n in range(30):
        threading.Thread(target=platform.predict, args=("slow", {"x": n})).start()
    path, body = "/v1/projects/default/models/slow/replay", json.dumps({"last": 30})
    wait_for(lambda: platform.run("sql", "select count(*) as n from records", "--json").json()[0]["n"] == 30, "all were answered")
    token = platform.owners_token()
    another = lambda **which: platform.request("POST", path, {"last": 1, **which})

    def begin():
        """The connection of a long replay that is on its way, and how another one was refused."""
        connection = http.client.HTTPConnection(urlsplit(platform.url).netloc, timeout=60)
        connection.request("POST", path, body, {"authorization": f"Bearer {token}"})
        # If one of these, which find nothing to ask, was first, the long one has its answer.
        while not select.select([connection.sock], [], [], 0)[0]:
            answer = another(version="v9")
            if answer.status != 200:
                return connection, answer
        connection.close()
        return None

    connection, answer = wait_for(begin, "a replay is on its way", 20)
    assert answer.json()["code"] == "server_busy" and "already" in answer.json()["error"], answer.body
    connection.sock.close()
    connection.close()
    began = time.monotonic()
    report = wait_for(lambda: (it := another()).status == 200 and it.json(), "the turn is free again", 20)
    assert report["same"] == 1
    assert time.monotonic() - began < 10, "30 rows would take longer, alone and in batches"


@pytest.mark.alone
def test_a_candidate_is_probed_and_goes_live_whatever_comes_of_it(fresh, tmp_path):
    platform = fresh(arguments=KEPT).start()

    def deploy(name, source, *arguments, **files):
        directory = write_model(tmp_path / name, {"model.py": source, "requirements.txt": "numpy\n", **files})
        return platform.run("deploy", directory, *arguments)

    def probed(name):
        events = platform.run("events", name, "--json").json()["events"]
        return [event["body"] for event in events if event["kind"] == "determinism_probed"]

    assert "probe     invariant" in deploy("churn", ROW).err
    (event,) = probed("churn")
    assert event["environment"] == "production" and event["version"] == 1 and event["elapsed_ms"] < 1_000
    assert event["probe"]["processor"] and event["probe"]["calls"] > 20
    # Once in each environment.
    deploy("churn", ROW, "--env", "staging")
    deploy("churn", ROW.replace("0.5", "0.25"))
    platform.run("rollback", "churn")
    assert [(event["environment"], event["version"]) for event in probed("churn")] == [("production", 1), ("staging", 1), ("production", 2)]
    assert platform.run("sql", "select count(*) as n from records", "--json").json() == [{"n": 0}]
    raises = deploy("raises", ONE_ROW.format(what="raise ValueError('one at a time')"))
    assert "probe     unknown: 2 rows at once fail" in raises.err
    deploy("dies", ONE_ROW.format(what="import os; os._exit(3)"))
    assert probed("dies")[0]["probe"]["outcome"] == "unknown"
    deploy("slow", SLOW.format(seconds=0.12))
    slow = probed("slow")[0]
    assert slow["elapsed_ms"] < 1_000 and slow["probe"]["calls"] <= 10, slow
    assert slow["probe"]["outcome"] == "invariant" or "too long" in slow["probe"]["why"], slow
    deploy("slower", SLOW.format(seconds=1.2))
    slower = probed("slower")[0]
    assert slower["elapsed_ms"] < 1_000 and slower["probe"]["outcome"] == "unknown", slower
    deploy("parts", STREAM)
    assert "stream" in probed("parts")[0]["probe"]["why"]
    for name in ("raises", "dies", "slow", "slower"):
        assert platform.predict(name, {"x": 2}).json() == {"output": 4.0}, name
    # What was found is there after the ledger was folded anew.
    before = {name: probe_of(platform, name) for name in ("churn", "raises", "slow")}
    assert platform.stop() == 0
    for file in platform.data.glob("ledger.fold*"):
        file.unlink()
    platform.start()
    assert {name: probe_of(platform, name) for name in before} == before
