"""The Open Inference Protocol as any client may speak it, and requests that are wrong."""

import json

import pytest
from conftest import Refused, binary_body, tensor

SOURCE = "def predict(a: int, s: str = 'd') -> dict: return {'a': a + 1, 's': s}"
A = {"name": "a", "datatype": "INT64", "shape": [2], "data": [1, 2]}


def get(loaded, path, method="GET"):
    parts, _ = loaded.worker.answer(
        loaded.worker.head(("%s %s HTTP/1.1" % (method, path)).encode()), bytearray(), 0, 0, False
    )
    return b"".join(parts)


def test_metadata(load):
    loaded = load(SOURCE)
    body = json.loads(get(loaded, "/v2/models/m").partition(b"\r\n\r\n")[2])
    assert body["name"] == "m" and body["platform"] == "python"
    assert body["inputs"] == [
        {"name": "a", "datatype": "INT64", "shape": [-1]},
        {"name": "s", "datatype": "BYTES", "shape": [-1]},
    ]
    assert body["decalog"] == {"schema": loaded.form.schema, "prefetch": True, "concurrency": 1, "binary": True}
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2"):
        assert get(loaded, path).startswith(b"HTTP/1.1 200 ")
    assert get(loaded, "/v2/models/other").startswith(b"HTTP/1.1 404 ")
    assert get(loaded, "/v2/models/m/infer").startswith(b"HTTP/1.1 400 ")


def test_json_in_and_out(load):
    answer = load(SOURCE).infer_json([A], id="7")
    assert answer == {"model_name": "m", "id": "7", "outputs": [{"name": "a", "datatype": "INT64", "shape": [2], "data": [2, 3]},
                                                                {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["d", "d"]}]}  # fmt: skip


def test_nested_data_and_columns_of_one(load):
    answer = load(SOURCE).infer_json(
        [
            dict(A, shape=[2, 1], data=[[1], [2]]),
            {"name": "s", "datatype": "BYTES", "shape": [2, 1], "data": [["x"], ["y"]]},
        ]
    )
    assert [output["data"] for output in answer["outputs"]] == [[2, 3], ["x", "y"]]


def test_json_and_binary_mixed(load):
    described, blob = tensor("a", "INT64", [2], [1, 2])
    text = json.dumps(
        {"inputs": [{"name": "s", "datatype": "BYTES", "shape": [2], "data": ["x", "y"]}, described]}
    ).encode()
    answer = load(SOURCE).post(text + blob, len(text)).json()
    assert [output["data"] for output in answer["outputs"]] == [[2, 3], ["x", "y"]]


def test_requested_outputs(load):
    loaded = load(SOURCE)
    answer = loaded.infer_json([A], outputs=[{"name": "s"}])
    assert [output["name"] for output in answer["outputs"]] == ["s"]
    assert list(loaded.infer(tensor("a", "INT64", [1], [1]), outputs=[{"name": "s"}, {"name": "a"}])) == ["s", "a"]
    body, length = binary_body(
        [tensor("a", "INT64", [1], [1])], outputs=[{"name": "a", "parameters": {"binary_data": False}}, {"name": "s"}]
    )
    answer = loaded.post(body, length)
    outputs = json.loads(answer.body[: answer.json_length])["outputs"]
    assert outputs[0]["data"] == [2] and outputs[1]["parameters"] == {"binary_data_size": 5}
    with pytest.raises(Refused, match="no output `z`; it has a, s"):
        loaded.infer_json([A], outputs=[{"name": "z"}])


def test_requested_outputs_bring_their_validity(load):
    loaded = load("from typing import Optional\ndef predict(x: int): return {'a': None, 'b': 1}", {"outputs": [
        {"name": "a", "datatype": "FP64", "shape": [], "nullable": True}]})  # fmt: skip
    assert list(loaded.infer(tensor("x", "INT64", [1], [1]), outputs=[{"name": "a"}])) == ["a", "a:valid"]


@pytest.mark.parametrize("inputs, message", [
    ([], "same number of rows, at least one"),
    ([dict(A, name="b")], "`b` is not an input of this model; it has a, s"),
    ([{"name": "s", "datatype": "BYTES", "shape": [1], "data": ["x"]}], "the input `a` is missing"),
    ([dict(A, datatype="FP64")], "`a` must be INT64, not FP64"),
    ([dict(A, datatype="INT65")], "does not know"),
    ([dict(A, data=[1, "2"])], '`a` is INT64, but holds "2"'),
    ([dict(A, data=[1, 2.5])], "holds 2.5"),
    ([dict(A, data=[True, 1])], "holds true"),
    ([dict(A, data=[1, 2**63])], "outside the range"),
    ([dict(A, data=[1])], "1 values where its shape says 2"),
    ([dict(A, shape=[0], data=[])], "at least one"),
    ([dict(A, shape=[])], "the first dimension must be the rows"),
    ([dict(A, shape=[-1])], "the first dimension must be the rows"),
    ([dict(A, shape=[1, 2])], "rows of shape"),
    ([A, A], "there twice"),
    ([A, {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["x"]}], "same number of rows"),
    ([{"name": "a", "datatype": "INT64", "shape": [2]}], "neither data nor binary_data_size"),
    ([{"name": "a"}], "not one of the Open Inference Protocol"),
    ("x", "not one of the Open Inference Protocol"),
])  # fmt: skip
def test_wrong_requests_are_refused(load, inputs, message):
    loaded = load(SOURCE)
    with pytest.raises(Refused) as refused:
        loaded.infer_json(inputs)
    assert message in str(refused.value) and refused.value.code == "bad_request"
    assert loaded.infer_json([A])["outputs"]


def test_wrong_binary_is_refused(load):
    loaded = load("def predict(s: str, n: int) -> str: return s")
    s, n = tensor("s", "BYTES", [1], ["abc"]), tensor("n", "INT64", [1], [1])
    body, length = binary_body([s, n])
    for wrong in (body[:-1], body + b"x", body[:length] + b"\xff" * (len(body) - length), b"{"):
        assert loaded.post(wrong, min(length, len(wrong))).status == 400
    assert loaded.post(body, len(body) + 1).status == 400
    assert loaded.post(body, length).status == 200
    for values in ([b"\xff"], ["a", "b"]):
        with pytest.raises(Refused):
            loaded.infer(tensor("s", "BYTES", [1], values), n)


def test_caches_are_bounded(load):
    from decalog_worker.limits import CACHE_ENTRIES_MAX

    loaded = load("def predict(s: str) -> str: return s")
    for size in range(CACHE_ENTRIES_MAX * 2 + 10):
        assert loaded.infer(tensor("s", "BYTES", [1], ["x" * size]))["output"][2] == ["x" * size]
    assert max(map(len, (loaded.worker.plans, loaded.worker.heads, loaded.worker.reply_heads))) <= CACHE_ENTRIES_MAX


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"inputs": [{"name": ["a"], "datatype": "INT64", "shape": [1], "data": [1]}]}', '{"inputs": [{"name": "a", "datatype": {}, "shape": [1], "data": [1]}]}',
    '{"inputs": [{"name": "a", "datatype": "INT64", "shape": [1], "parameters": 3}]}', '{"inputs": [{"name": "a", "datatype": "INT64", "shape": [1, 1e3], "data": 1}]}',
    '{"inputs": [{"name": "a", "datatype": "INT64", "shape": [1e400], "data": 1}]}', '{"inputs": {"a": 1}}', "null", "", '{"inputs": [{"name": "a", "datatype": "INT64", "shape": [99999999999999999999], "data": []}]}',
])  # fmt: skip
def test_hostile_requests_are_refused(load, text):
    answer = load(SOURCE).post(text.encode())
    assert answer.status == 400 and answer.json()["code"] == "bad_request"


def test_deep_json_values_are_refused(load):
    with pytest.raises(Refused):
        load("def predict(x: dict): return 1").infer(tensor("x", "BYTES", [1], ["[" * 100_000]))
