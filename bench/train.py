"""Trains the forest of the benchmark once, on breast cancer cases that scikit-learn bundles, and writes it in both forms.

    train.py DIRECTORY   →  forest.joblib, forest.onnx, forest.json (one row and its answer)
"""

import json
import sys
from pathlib import Path

import joblib
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

TREES = 100

directory = Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
rows, labels = load_breast_cancer(return_X_y=True)
forest = RandomForestClassifier(n_estimators=TREES, random_state=0, n_jobs=1).fit(rows, labels)
graph = to_onnx(forest, initial_types=[("x", FloatTensorType([None, rows.shape[1]]))], options={"zipmap": False})
graph = select_model_inputs_outputs(graph, outputs=["probabilities"])

joblib.dump(forest, directory / "forest.joblib")
(directory / "forest.onnx").write_bytes(graph.SerializeToString())
# A row that the forest is unsure about: an answer of 0 and 1 would not tell a wrong one.
answers = forest.predict_proba(rows)
unsure = int(abs(answers[:, 0] - 0.4).argmin())
(directory / "forest.json").write_text(json.dumps({"row": rows[unsure].tolist(), "answer": answers[unsure].tolist()}))
