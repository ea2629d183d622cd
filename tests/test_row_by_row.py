"""Models that are asked one row at a time: each caller gets the numbers of his own rows, and several rows one answer."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import write_model
from corpus.models import graph_files

CALLERS = 32


@pytest.fixture(scope="module")
def graphs(shared_platform, tmp_path_factory):
    """Graphs whose outputs do not have a row for each row of their inputs."""
    home = tmp_path_factory.mktemp("graphs")
    files = graph_files()
    for name in ("totals", "total", "marked", "places"):
        shared_platform.run("deploy", write_model(home / name, files[name]))
    return shared_platform


def infer(platform, name, tensor, binary=False):
    body = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    answer = platform.request("POST", f"/v2/models/{name}/infer", body)
    assert answer.status == 200, answer.body
    return answer.json()["outputs"][0]


def tensor(shape, data):
    return {"name": "x", "datatype": "FP32", "shape": shape, "data": data}


def at_once(ask):
    """What each of many callers got."""
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(ask, range(8 * CALLERS)))


def test_a_sum_over_the_rows_is_each_callers_own(graphs):
    (version,) = graphs.run("show", "totals", "--json").json()["versions"]
    assert version["schema"]["alone"], "found out when it was deployed"

    def ask(n):
        if n % 2:
            return graphs.predict("totals", {"x": [n, 0, 1]}).json() == {"y": [n, 0, 1]}
        output = infer(graphs, "totals", tensor([3, 3], [n, 1, 2] * 2 + [0, 0, n]))
        return (output["shape"], output["data"]) == ([3, 3], [n, 1, 2] * 2 + [0, 0, n])

    assert all(at_once(ask))
    # A graph that says so itself gets a request of the Open Inference Protocol as it is: the sum is over this caller's rows.
    def ask_whole(n):
        output = infer(graphs, "total", tensor([3, 3], [n, 1, 2] * 2 + [0, 0, n]))
        return (output["shape"], output["data"]) == ([3], [2 * n, 2, 4 + n])

    assert all(at_once(ask_whole))
    rows = graphs.predict("total", {"rows": [{"x": [[n, 0, 1], [1, 1, 1]]} for n in range(5)]})
    assert rows.json() == {"rows": [{"y": [n + 1, 1, 2]} for n in range(5)]}


def test_places_that_are_not_zero_are_each_callers_own(graphs):
    def ask(n):
        row = {"x": [[n % 2, 0, 1], [0, n % 3, 0]]}
        expected = [[at, column] for at, line in enumerate(row["x"]) for column, value in enumerate(line) if value]
        return graphs.predict("places", row).json() == {"y": [list(axis) for axis in zip(*expected)]}

    assert all(at_once(ask))

    def ask_marked(n):
        # Answers of different lengths are joined as JSON.
        output = infer(graphs, "marked", tensor([3], [n % 2, 0, 5]))
        found = [json.loads(text) for text in output["data"]] if output["datatype"] == "BYTES" else output
        return found == [[0]] * (n % 2) + [[]] * (1 - n % 2) + [[], [0]]

    assert all(at_once(ask_marked))
    rows = graphs.predict("marked", {"rows": [{"x": 1}, {"x": 0}, {"x": 2}]})
    assert rows.json() == {"rows": [{"y": [0]}, {"y": []}, {"y": [0]}]}, rows.body
    too_many = graphs.predict("marked", {"rows": [{"x": 1}] * 5000})
    assert too_many.status == 400 and "at most 4096 rows" in too_many.json()["help"], too_many.body
