"""500 MB of weights, of which each prediction reads one row."""

import numpy as np

weights = np.random.default_rng(1).random(((500 << 20) // 8_000, 1_000))


def predict(row: int) -> float:
    return float(weights[row % len(weights)].sum())
