"""Trains `iris.joblib` on the irises that scikit-learn bundles. There is no code to serve it: Decalog reads the columns from the
fitted pipeline, and answers the class with the probability of each.

    pip install -r requirements.txt && python train.py
"""

import json
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
CASES = {"setosa": 0, "versicolor": 60, "virginica": 120}


def main() -> None:
    iris = load_iris(as_frame=True)
    rows = iris.data.set_axis(COLUMNS, axis=1)
    species = iris.target_names[iris.target]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, species)
    joblib.dump(pipeline, HERE / "iris.joblib")
    for name, place in CASES.items():
        row = rows.iloc[[place]]
        probability = [round(float(value), 9) for value in pipeline.predict_proba(row)[0]]
        case = {
            "input": row.iloc[0].to_dict(),
            "expected": {"output": str(pipeline.predict(row)[0]), "probability": probability},
            "tolerance": 1e-6,
        }
        (HERE / "tests" / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    main()
