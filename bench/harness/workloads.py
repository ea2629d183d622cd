"""The four workloads: what is sent, and what must come back."""

import array
import base64
import json
from dataclasses import dataclass
from pathlib import Path

from .paths import WORK

WORKLOADS = ["echo", "forest", "forest-onnx", "tensor"]
TENSOR_FLOATS = 150_000
TENSOR_PLACES = [0, 50_000, 100_000, 149_999]


@dataclass
class Workload:
    """One model with one row and its answer."""

    name: str
    row: list[float]
    answer: list[float]
    datatype: str
    tolerance: float


def load(name: str) -> Workload:
    """The workload of this name; `bench/train.py` must have run."""
    if name == "echo":
        row = [1.0, 2.0, 3.0, 4.0]
        return Workload(name, row, row, "FP64", 0.0)
    if name == "tensor":
        # Eighths are exact in every float, so that the answer must be equal, not near.
        row = [(place * 7 % 1_000) / 8 for place in range(TENSOR_FLOATS)]
        return Workload(name, row, [row[place] for place in TENSOR_PLACES], "FP32", 0.0)
    kept = json.loads((WORK / "forest.json").read_text())
    onnx = name == "forest-onnx"
    return Workload(name, kept["row"], kept["answer"], "FP32" if onnx else "FP64", 1e-5 if onnx else 1e-9)


def body(server: str, name: str, content: bytes) -> Path:
    """The file with this body; the same path every time."""
    path = WORK / "bodies" / f"{server}-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
    return path


def floats(row: list[float]) -> bytes:
    """The row as little-endian float32."""
    return array.array("f", row).tobytes()


def plain(workload: Workload) -> bytes:
    """`{"x": […]}`"""
    return json.dumps({"x": workload.row}).encode()


def protocol(workload: Workload) -> bytes:
    """An Open Inference Protocol request with one row."""
    data = workload.row
    tensor = {"name": "x", "datatype": workload.datatype, "shape": [1, len(data)], "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def protocol_binary(workload: Workload) -> tuple[bytes, int]:
    """The same in the protocol's binary extension, and the length of its JSON part."""
    data = floats(workload.row)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(workload.row)], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, len(head)


def protocol_base64(workload: Workload) -> bytes:
    """The same as base64 text in a BYTES tensor, for a server that takes no binary."""
    text = base64.b64encode(floats(workload.row)).decode()
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    return json.dumps({"inputs": [tensor]}).encode()


def multipart(workload: Workload, boundary: str) -> bytes:
    """The same as a file in a form, for a server that takes binary in no other way."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="x"; filename="x"\r\nContent-Type: application/octet-stream\r\n\r\n'
    return head.encode() + floats(workload.row) + f"\r\n--{boundary}--\r\n".encode()
