"""The minutes that a flight from New York spends in the air. ../linear-r is the same model in R: the one can replace the other
under load, and no caller notices."""

import json
from pathlib import Path
from typing import Literal


def load(path: Path) -> None:
    """Called once, before the first request."""
    global coefficients
    coefficients = json.loads((path / "coefficients.json").read_text())


def predict(distance: int, origin: Literal["EWR", "JFK", "LGA"]) -> dict[str, float]:
    return {"air_time": coefficients["intercept"] + coefficients["distance"] * distance + coefficients["origin"][origin]}
