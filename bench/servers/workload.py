"""What every alternative server runs: the same model code on the same files, so that only the servers differ.

The harness sets BENCH_WORKLOAD (which model), BENCH_WORK (where the trained files lie), BENCH_BATCH (0 or 1) and PORT.
"""

import os
from pathlib import Path
from typing import Callable

import numpy as np

WORKLOAD = os.environ["BENCH_WORKLOAD"]
WORK = Path(os.environ["BENCH_WORK"])
BATCH = os.environ.get("BENCH_BATCH", "0") == "1"
PORT = int(os.environ["PORT"])

# What served most requests at 64 connections of 16, 32, 48 and 64 rows (by mosec; the others hardly differ): a full batch is
# waiting whenever the one before it is done, so that no timer has to run out.
BATCH_ROWS_MAX = 48 if WORKLOAD == "forest" else 32
BATCH_WAIT_MS = int(os.environ.get("BENCH_BATCH_WAIT_MS", "5"))

# The dtype of the rows of each workload, and the places of the tensor that are answered: all of it must have arrived.
DTYPE = {"echo": np.float64, "forest": np.float64, "forest-onnx": np.float32, "tensor": np.float32}[WORKLOAD]
PLACES = [0, 50_000, 100_000, 149_999]


def load() -> Callable[[np.ndarray], np.ndarray]:
    """The model: rows in, rows out."""
    if WORKLOAD == "echo":
        return lambda x: x
    if WORKLOAD == "tensor":
        return lambda x: x[:, PLACES]
    if WORKLOAD == "forest":
        import joblib

        return joblib.load(WORK / "forest.joblib").predict_proba
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(WORK / "forest.onnx", options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]
