"""How likely a flight from New York is to arrive more than 15 minutes late. One row at a time; the hints are the schema."""

from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import joblib

Carrier = Literal["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
Origin = Literal["EWR", "JFK", "LGA"]
CARRIERS, ORIGINS = get_args(Carrier), get_args(Origin)


def features(carrier, origin, distance, departure, wind_speed, visibility, precipitation) -> list[float]:
    """The numbers that the model takes; train.py uses the same. `None` becomes NaN, which the trees understand."""
    weather = [float("nan") if value is None else value for value in (wind_speed, visibility, precipitation)]
    minute_of_day = departure.hour * 60 + departure.minute
    return [CARRIERS.index(carrier), ORIGINS.index(origin), distance, minute_of_day, departure.weekday(), *weather]


def load(path: Path) -> None:
    """Called once, before the first request."""
    global classifier
    classifier = joblib.load(path / "late.joblib")


def predict(
    carrier: Carrier,
    origin: Origin,
    distance: int,  # miles
    departure: datetime,  # as on the ticket
    wind_speed: float | None = None,  # miles an hour
    visibility: float | None = None,  # miles
    precipitation: float = 0.0,  # inches an hour
) -> dict[str, float]:
    row = features(carrier, origin, distance, departure, wind_speed, visibility, precipitation)
    return {"late": classifier.predict_proba([row])[0, 1]}
