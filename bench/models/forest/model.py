"""The forest that bench/train.py trains; the harness puts forest.joblib beside this file."""

from pathlib import Path
from typing import Annotated

import joblib
import numpy as np

forest = joblib.load(Path(__file__).parent / "forest.joblib")


def predict(x: Annotated[np.ndarray, "FP64", (30,)]) -> np.ndarray:
    return forest.predict_proba(x)
