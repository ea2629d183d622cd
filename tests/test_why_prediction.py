"""What of one answer was unusual: how long it waited, what its inputs were, and which requests were like it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Platform, wait_for, write_model
from test_terminal import shown

CODE = """
import time

def predict(age: int, city: str, wait_ms: int = 0) -> float:
    time.sleep(wait_ms / 1000)
    return age / 100
"""
#: Others that it is compared with.
OTHERS = 200


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A model that was asked the usual, and three requests that were not."""
    tmp_path = tmp_path_factory.mktemp("asked")
    platform = Platform(tmp_path / "data", arguments=("--records-per-s", "1000000")).start()
    platform.run("deploy", write_model(tmp_path / "churn", {"model.py": CODE, "decalog.toml": "[scale]\nmax = 1\n"}))

    def ask(**row):
        answer = platform.predict("churn", row)
        assert answer.status == 200, answer.body
        return answer.headers["decalog-request-id"]

    cities = ["Utrecht", "Delft", "Gouda"]
    usual = [ask(age=20 + at % 50, city=cities[at % 3]) for at in range(OTHERS)]
    ids = {"slow": ask(age=40, city="Delft", wait_ms=300)}
    # It waits behind the other one, which has the only replica.
    with ThreadPoolExecutor(1) as callers:
        other = callers.submit(ask, age=41, city="Delft", wait_ms=900)
        time.sleep(0.3)
        ids["late"] = ask(age=42, city="Gouda")
        other.result()
    ids["odd"] = ask(age=97, city='Ghost "town"')
    ids["usual"] = ask(age=44, city="Gouda")
    platform.run("feedback", "churn", "-", stdin="\n".join(json.dumps({"id": id, "truth": 0.5}) for id in usual))
    yield platform, ids, usual
    platform.stop()


def usual_of(platform, id):
    return platform.run("why", "prediction", id, "--json").json()["prediction"]["usual"]


def told(platform, id):
    return " ".join(platform.run("why", "prediction", id).out.split())


def test_what_took_long_is_told_and_where(asked):
    platform, ids, _ = asked
    slow = told(platform, ids["slow"])
    assert "it took 3" in slow and "it was in the model for 3" in slow and "it waited" not in slow, slow
    assert "within 15 minutes" in slow and "input wait_ms 300 is above" in slow, slow
    late = told(platform, ids["late"])
    assert "it waited" in late and "it took" in late and "it was in the model" not in late, late


def test_inputs_that_few_others_had_are_told(asked):
    platform, ids, _ = asked
    odd = told(platform, ids["odd"])
    assert "input age 97 is above all of the 20" in odd and 'input city "Ghost \\"town\\"": none of the 20' in odd, odd
    assert "output 0.97 is above all" in odd, odd
    values = {value["column"]: value for value in usual_of(platform, ids["odd"])["values"]}
    assert values["in.age"]["below"] == 1 and values["in.age"]["above"] == 0, values
    assert abs(values["in.age"]["median"] - 44) <= 2 and values["in.city"]["same"] == 0, values


def test_of_a_usual_one_nothing_is_said(asked):
    platform, ids, _ = asked
    usual = told(platform, ids["usual"])
    assert "unusual nothing, among" in usual, usual


def test_the_requests_most_like_it_come_with_their_truth(asked):
    platform, ids, known = asked
    nearest = usual_of(platform, ids["usual"])["nearest"]
    assert len(nearest) == 3 and all(near["id"] != ids["usual"] for near in nearest)
    first = nearest[0]
    # 44 in Gouda was asked before, at least once: nothing is nearer than that.
    asked_before = [at for at in range(OTHERS) if 20 + at % 50 == 44 and at % 3 == 2]
    assert asked_before and first["apart"] == 0 and first["id"] in {known[at] for at in asked_before}, nearest
    assert first["values"] == {"in.age": 44, "in.city": "Gouda", "in.wait_ms": 0, "out.output": 0.44} and first["truth"] == 0.5, first
    assert [near["apart"] for near in nearest] == sorted(near["apart"] for near in nearest)


def test_it_reads_well_on_a_narrow_terminal(asked):
    platform, ids, _ = asked
    lines = shown(platform, 80, "why", "prediction", ids["odd"])
    assert lines[0].startswith(ids["odd"]) and any(line.startswith("  like it") for line in lines), lines
    assert max(len(line) for line in lines) <= 80, lines


def test_what_is_not_one_prediction_is_refused_with_a_remedy(asked):
    platform, ids, _ = asked
    refused = platform.run("why", "churn", ids["odd"], ok=False)
    assert refused.code == 1 and "one of them is too many" in refused.err and "decalog why prediction ID" in refused.err, refused
    refused = platform.run("why", "prediction", "0199ffff", ok=False)
    assert refused.code == 1 and "no record fits" in refused.err, refused
    refused = platform.run("why", "prediction", "xyz", ok=False)
    assert refused.code == 1 and "no id of a request" in refused.err, refused
    # A model may be called so.
    refused = platform.run("why", "prediction", ok=False)
    assert refused.code == 1 and "no model `prediction`" in refused.err, refused


def test_a_request_without_others_says_so(asked, tmp_path):
    platform, _, _ = asked
    platform.run("deploy", write_model(tmp_path / "alone", {"model.py": CODE, "decalog.toml": "[scale]\nmax = 1\n"}))
    answer = platform.predict("alone", {"age": 20, "city": "Delft"})
    id = answer.headers["decalog-request-id"]
    text = wait_for(lambda: told(platform, id), "its record")
    assert "not known: there are only 0 others" in text and "like it" not in text, text
