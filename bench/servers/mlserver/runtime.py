"""MLServer: one inference worker process (its default), with and without adaptive batching.

Its REST interface does not take the binary tensor extension (1.7.1), so the tensor travels as base64 in a BYTES input, which is
the shortest form that it takes."""

import base64
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import workload  # noqa: E402


class Model(MLModel):
    async def load(self) -> bool:
        self.model = workload.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        if tensor.datatype == "BYTES":
            texts = tensor.data.root
            x = np.stack([np.frombuffer(base64.b64decode(text), dtype=np.float32) for text in texts])
        else:
            x = NumpyCodec.decode_input(tensor)
        output = NumpyCodec.encode_output("output", self.model(x))
        return InferenceResponse(model_name=self.name, outputs=[output])
