"""Four of the 150,000 numbers of each row: from all over it, so that all of it must have arrived."""

from typing import Annotated

import numpy as np

PLACES = [0, 50_000, 100_000, 149_999]


def predict(x: Annotated[np.ndarray, "FP32", (150_000,)]) -> np.ndarray:
    return x[:, PLACES]
