"""The Open Inference Protocol with its own clients: tritonclient and kserve, unmodified."""

import os
import subprocess

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from conftest import write_model

TYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}


@pytest.fixture(scope="module")
def echo(shared_platform, tmp_path_factory):
    """A model with one column of each datatype; it answers with its inputs."""
    columns = "\n".join(f'    {{ name = "{name.lower()}", datatype = "{name}", shape = [-1], nullable = false }},'
                        for name in [*TYPES, "BYTES"])
    hints = ", ".join(f"{name.lower()}: np.ndarray" for name in [*TYPES, "BYTES"])
    answer = ", ".join(f'"{name.lower()}": {name.lower()}' for name in [*TYPES, "BYTES"])
    model = write_model(tmp_path_factory.mktemp("models") / "everything", {
        "model.py": f"import numpy as np\n\ndef predict({hints}) -> dict:\n    return {{{answer}}}\n",
        "requirements.txt": "numpy\n",
        "decalog.toml": f"[schema]\ninputs = [\n{columns}\n]\n",
    })
    shared_platform.run("deploy", model)
    return shared_platform


def inputs(binary):
    tensors, values = [], {}
    for name, dtype in TYPES.items():
        values[name.lower()] = np.array([[0, 1, 1]], dtype=dtype) if name == "BOOL" else np.array([[1, 2, 100]], dtype=dtype)
    values["bytes"] = np.array([["a", "bb", "héé"]], dtype=object)
    for name, value in values.items():
        tensor = triton.InferInput(name, value.shape, name.upper())
        # The protocol's JSON has no form for FP16 in this client.
        tensor.set_data_from_numpy(value, binary_data=binary or name == "fp16")
        tensors.append(tensor)
    return tensors, values


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritonclient(echo, binary_in, binary_out):
    client = triton.InferenceServerClient(echo.url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("everything")
    assert client.get_server_metadata()["name"] == "decalog"
    assert client.get_model_metadata("everything")["versions"] == ["1"]
    tensors, values = inputs(binary_in)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out or name == "fp16") for name in values]
    result = client.infer("everything", tensors, outputs=outputs, request_id="abc", model_version="1")
    assert result.get_response()["id"] == "abc"
    for name, value in values.items():
        got = result.as_numpy(name)
        if name == "bytes":
            got = np.array([[item.decode() if isinstance(item, bytes) else item for item in got[0]]], dtype=object)
        assert got.shape == value.shape and (got == value).all(), name
    one = client.infer("everything", tensors, outputs=[triton.InferRequestedOutput("fp32")])
    assert [output["name"] for output in one.get_response()["outputs"]] == ["fp32"]
    assert client.infer("everything", tensors).as_numpy("int64").tolist() == [[1, 2, 100]]


def test_tritonclient_bf16(shared_platform, tmp_path):
    model = write_model(tmp_path / "half", {
        "model.py": "import numpy as np\n\ndef predict(x: np.ndarray) -> np.ndarray:\n    return x\n",
        "requirements.txt": "numpy\n",
        "decalog.toml": '[schema]\ninputs = [{ name = "x", datatype = "BF16", shape = [-1] }]\noutputs = [{ name = "output", datatype = "BF16", shape = [-1] }]\n',
    })
    shared_platform.run("deploy", model)
    client = triton.InferenceServerClient(shared_platform.url.removeprefix("http://"))
    tensor = triton.InferInput("x", [1, 3], "BF16")
    tensor.set_data_from_numpy(np.array([[1.0, 2.5, -3.0]], dtype=ml_dtypes.bfloat16))
    assert client.infer("half", [tensor]).as_numpy("output").astype(float).tolist() == [[1.0, 2.5, -3.0]]


def test_errors_reach_the_client(echo):
    client = triton.InferenceServerClient(echo.url.removeprefix("http://"))
    with pytest.raises(Exception, match="there is no model"):
        client.infer("nothing", [])
    tensors, _ = inputs(True)
    with pytest.raises(Exception, match="do not fit"):
        client.infer("everything", tensors[:-1])


KSERVE = """
import asyncio, sys
from kserve import InferenceRESTClient, InferRequest, InferInput
from kserve.inference_client import RESTConfig

async def main(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "kecho")
    data = InferInput("x", [1, 2], "FP64", data=[1.5, 2.5])
    request = InferRequest(model_name="kecho", infer_inputs=[data], request_id="77")
    answer = await client.infer(url, request, model_name="kecho")
    assert answer.id == "77", answer
    assert list(answer.outputs[0].data) == [3.0, 5.0], answer.outputs[0].data

asyncio.run(main(sys.argv[1]))
"""


def test_kserve_client(shared_platform, tmp_path):
    model = write_model(tmp_path / "kecho", {
        "model.py": "import numpy as np\n\ndef predict(x: np.ndarray) -> np.ndarray:\n    return x * 2\n",
        "requirements.txt": "numpy\n",
    })
    shared_platform.run("deploy", model)
    python = os.environ["DECALOG_KSERVE_PYTHON"]
    done = subprocess.run([python, "-c", KSERVE, shared_platform.url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
