"""Makes a directory as MLflow saves it, below the directory that is named, and adds its answer to `answers.json`.

    python tests/zoo/saved_by_mlflow.py DIRECTORY

It runs with the packages `mlflow` and `scikit-learn`.
"""

import json
import sys
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression


def main(directory):
    frame = pd.DataFrame({"calls": [1, 2, 3, 4]})
    line = LinearRegression().fit(frame, [2.0, 4.0, 6.0, 8.5])
    asked = pd.DataFrame({"calls": [3]})
    mlflow.sklearn.save_model(line, str(directory / "mlflow"), signature=infer_signature(frame, line.predict(frame)))
    answers = json.loads((directory / "answers.json").read_text())
    answers["mlflow"] = {"output": float(line.predict(asked)[0])}
    (directory / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
