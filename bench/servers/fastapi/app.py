"""FastAPI with one uvicorn worker on uvloop and httptools. The model is called on the event loop: for calls this short the
thread pool that a plain `def` gets costs more than it brings (measured on all four workloads)."""

import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import workload  # noqa: E402

app = FastAPI()
model = workload.load()


class Row(BaseModel):
    x: list[float]


class Answer(BaseModel):
    output: list[float]


if workload.WORKLOAD == "tensor":

    @app.post("/predict")
    async def predict(request: Request) -> Answer:
        x = np.frombuffer(await request.body(), dtype=np.float32)[None]
        return Answer(output=model(x)[0].tolist())

else:

    @app.post("/predict")
    async def predict(row: Row) -> Answer:
        return Answer(output=model(np.array([row.x], dtype=workload.DTYPE))[0].tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=workload.PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")
