"""LitServe: one API server, one worker process, its ZeroMQ queue for high rates, with and without batching."""

import sys
from pathlib import Path

import litserve
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import workload  # noqa: E402


class Model(litserve.LitAPI):
    def setup(self, device):
        self.model = workload.load()

    def decode_request(self, request):
        if workload.WORKLOAD == "tensor":
            return np.frombuffer(request["x"].file.read(), dtype=np.float32)
        return request["x"]

    def batch(self, inputs):
        return np.asarray(inputs, dtype=workload.DTYPE)

    def predict(self, x):
        return self.model(x) if workload.BATCH else self.model(np.asarray([x], dtype=workload.DTYPE))[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    batching = {"max_batch_size": workload.BATCH_ROWS_MAX, "batch_timeout": workload.BATCH_WAIT_MS / 1000} if workload.BATCH else {}
    server = litserve.LitServer(Model(**batching), accelerator="cpu", workers_per_device=1, fast_queue=True, timeout=30)
    server.run(host="127.0.0.1", port=workload.PORT, num_api_servers=1, log_level="warning", generate_client_file=False, access_log=False)
