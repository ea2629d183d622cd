"""BentoML: one worker; the model is called on the event loop, which is quicker here than its thread, with and without adaptive batching."""

import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import workload  # noqa: E402


@bentoml.service(workers=1, traffic={"timeout": 30})
class Model:
    def __init__(self) -> None:
        self.model = workload.load()

    if workload.WORKLOAD == "tensor":

        @bentoml.api
        async def predict(self, x: Annotated[Path, ContentType("application/octet-stream")], /) -> list[float]:
            return self.model(np.fromfile(x, dtype=np.float32)[None])[0].tolist()

    elif workload.BATCH:

        @bentoml.api(batchable=True, max_batch_size=workload.BATCH_ROWS_MAX, max_latency_ms=10_000)
        async def predict(self, x: list[list[float]]) -> list[list[float]]:
            return self.model(np.asarray(x, dtype=workload.DTYPE)).tolist()

    else:

        @bentoml.api
        async def predict(self, x: list[float]) -> list[float]:
            return self.model(np.asarray([x], dtype=workload.DTYPE))[0].tolist()
