"""Trains a classifier of handwritten digits and writes it as model.onnx, with test cases from images it has not seen.

    pip install -r requirements-train.txt && python train.py

The data is scikit-learn's own: 1,797 scanned digits, 8 by 8 pixels (UCI, Alpaydin and Kaynak, 1998).
"""

import json
import warnings
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
HIDDEN = 64

digits = load_digits()
images = (digits.images / 16).astype(np.float32)  # grey from 0 to 1
seen, unseen, seen_labels, unseen_labels = train_test_split(
    images, digits.target, test_size=0.25, random_state=7, stratify=digits.target
)


def moved(image, down, right):
    """The image moved by a pixel; what leaves it on one side does not come back on the other."""
    padded = np.pad(image, 1)
    return padded[1 - down : 9 - down, 1 - right : 9 - right]


# People do not write in the exact middle.
shifts = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
rows = np.stack([moved(image, *shift).ravel() for shift in shifts for image in seen])
labels = np.tile(seen_labels, len(shifts))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    network = MLPClassifier((HIDDEN,), alpha=1e-3, max_iter=60, random_state=7).fit(rows, labels)
accuracy = network.score(unseen.reshape(len(unseen), -1), unseen_labels)

# The same network as an ONNX graph: (rows, 1, 8, 8) -> digit (rows), probability (rows, 10).
(weights, last_weights), (bias, last_bias) = network.coefs_, network.intercepts_
parameters = {"weights": weights, "bias": bias, "last_weights": last_weights, "last_bias": last_bias}
graph = helper.make_graph(
    [
        helper.make_node("Flatten", ["image"], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "weights", "bias"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "last_weights", "last_bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probability"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["digit"], axis=1, keepdims=0),
    ],
    "digits",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 1, 8, 8])],
    [
        helper.make_tensor_value_info("digit", TensorProto.INT64, ["rows"]),
        helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 10]),
    ],
    [numpy_helper.from_array(value.astype(np.float32), name) for name, value in parameters.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
model.doc_string = f"Handwritten digits, 8 by 8 pixels; accuracy {accuracy:.3f} on {len(unseen)} images it has not seen."
checker.check_model(model, full_check=True)
save(model, HERE / "model.onnx")

# One case for every digit, with what scikit-learn itself answers.
(HERE / "tests").mkdir(exist_ok=True)
for digit in range(10):
    at = int(np.flatnonzero(unseen_labels == digit)[0])
    image = unseen[at]
    probability = network.predict_proba(image.reshape(1, -1))[0]
    case = {
        "input": {"image": [[[float(pixel) for pixel in line] for line in image]]},
        "expected": {"digit": int(np.argmax(probability)), "probability": [round(float(p), 6) for p in probability]},
        "tolerance": 1e-4,
    }
    (HERE / "tests" / f"digit-{digit}.json").write_text(json.dumps(case) + "\n")

print(f"model.onnx: accuracy {accuracy:.3f} on {len(unseen)} unseen images; 10 test cases")
