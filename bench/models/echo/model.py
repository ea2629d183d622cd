"""Answers what it is given."""

from typing import Annotated

import numpy as np


def predict(x: Annotated[np.ndarray, "FP64", (4,)]) -> np.ndarray:
    return x
