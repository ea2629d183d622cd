"""mosec: its Rust front end, one worker process, with and without dynamic batching."""

import sys
from pathlib import Path

import numpy as np
from mosec import Server, Worker

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import workload  # noqa: E402


class Model(Worker):
    def __init__(self):
        super().__init__()
        self.model = workload.load()

    def deserialize(self, data: bytes):
        return np.frombuffer(data, dtype=np.float32) if workload.WORKLOAD == "tensor" else super().deserialize(data)["x"]

    def serialize(self, data) -> bytes:
        return super().serialize({"output": data})

    def forward(self, data):
        rows = data if workload.BATCH else [data]
        answers = self.model(np.asarray(rows, dtype=workload.DTYPE)).tolist()
        return answers if workload.BATCH else answers[0]


if __name__ == "__main__":
    server = Server()
    if workload.BATCH:
        server.append_worker(Model, max_batch_size=workload.BATCH_ROWS_MAX, max_wait_time=workload.BATCH_WAIT_MS)
    else:
        server.append_worker(Model)
    server.run()
