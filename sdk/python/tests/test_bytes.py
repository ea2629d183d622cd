"""Bytes reach a model as they were sent, and callers as it gave them."""

import json

import pytest
from conftest import Refused, read_bytes, tensor

BYTES = [b"", b"\xff\x00", b"a\x00b", "\u00e9\ufffd".encode(), b"\xed\xa0\x80", bytes(range(256))]
READ = list(map(read_bytes, BYTES))


@pytest.mark.parametrize("answer", [
    "image", "bytearray(image)", "memoryview(image)", "numpy.array(image, object)[()]",
])  # fmt: skip
def test_a_scalar(load, answer):
    loaded = load("import numpy\ndef predict(image: bytes) -> bytes: return %s" % answer)
    assert loaded.infer(tensor("image", "BYTES", [6], BYTES)) == {"output": ("BYTES", [6], READ)}


def test_lists_and_arrays(load):
    loaded = load("def predict(images: list[bytes]) -> list[bytes]: return images[::-1]")
    assert loaded.infer(tensor("images", "BYTES", [3, 2], BYTES))["output"][2] == [
        READ[at] for at in (1, 0, 3, 2, 5, 4)
    ]
    loaded = load("""
        import numpy as np
        from numpy.typing import NDArray
        def predict(x: NDArray[np.bytes_], y: np.ndarray):
            assert all(type(value) is bytes for value in x.ravel())
            return {"same": x, "fixed": np.array([b"\\xff\\x00\\xfe"] * len(x)), "objects": x[:, ::-1]}
    """)
    out = loaded.infer(tensor("x", "BYTES", [3, 2], BYTES), tensor("y", "FP64", [3], [0.0] * 3))
    assert out["same"] == ("BYTES", [3, 2], READ)
    assert out["fixed"] == ("BYTES", [3], [b"\xff\x00\xfe"] * 3)
    assert out["objects"][2][:2] == READ[1::-1]


def test_bytes_within_json_are_base64_where_they_are_no_text(load):
    loaded = load("""
        from dataclasses import dataclass
        @dataclass
        class Page:
            image: bytes
        def predict(pages: list[Page]):
            return {"all": {"images": [page.image for page in pages]}, "ragged": [[pages[0].image], []]}
    """)
    pages = ['[{"image": {"b64": "/wA"}}, {"image": "h\u00e9"}]']
    out = loaded.infer(tensor("pages", "BYTES", [1], pages))
    assert out["all"][2] == [{"images": [{"b64": "/wA="}, "h\u00e9"]}]
    assert out["ragged"][2] == [[[{"b64": "/wA="}], []]]
    for wrong in ('[{"image": {"b64": "?"}}]', '[{"image": 3}]', '[{"image": {"b64": "", "a": 1}}]'):
        with pytest.raises(Refused, match="a bytes"):
            loaded.infer(tensor("pages", "BYTES", [1], [wrong]))


def test_a_default_of_bytes(load):
    loaded = load("def predict(x: int, image: bytes = b'\\xff\\x00') -> bytes: return image")
    assert loaded.form.schema["inputs"][1]["default"] == {"b64": "/wA="}
    assert loaded.infer(tensor("x", "INT64", [1], [1])) == {"output": ("BYTES", [1], [b"\xff\x00"])}


def test_an_answer_in_json_has_what_json_can_have(load):
    loaded = load("def predict(x: str) -> dict: return {'raw': b'\\xff', 'text': b'a\\0'}")
    answer = loaded.post(b'{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": [""]}]}')
    raw, text = json.loads(answer.body[: answer.json_length])["outputs"]
    assert raw["parameters"] == {"binary_data_size": 5} and "data" not in raw
    assert text["data"] == ["a\0"] and "parameters" not in text
    assert answer.body.endswith(b"\1\0\0\0\xff")
