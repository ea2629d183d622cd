"""Shapes of tensors, and nested lists that have one."""

import math

from .limits import DIMENSIONS_MAX


def is_shape(item):
    return isinstance(item, (tuple, list)) and all(size is None or isinstance(size, int) for size in item)


def shape_fits(wanted, got):
    return len(wanted) == len(got) and all(want in (-1, size) for want, size in zip(wanted, got))


def nest(flat, shape):
    """Lists of the shape out of a flat sequence; the first dimension is the rows."""
    for at in range(len(shape) - 1, 0, -1):
        size, count = shape[at], math.prod(shape[:at])
        flat = [list(flat[place * size : (place + 1) * size]) for place in range(count)]
    return flat


def flatten(values):
    """The shape of nested lists and their leaves; (None, None) if they are ragged."""
    shape, level = (len(values),), values
    while level and isinstance(level[0], (list, tuple)) and not hasattr(level[0], "_fields"):
        size = len(level[0])
        if not all(isinstance(item, (list, tuple)) and len(item) == size for item in level):
            return None, None
        shape, level = shape + (size,), [leaf for item in level for leaf in item]
        if len(shape) > DIMENSIONS_MAX:
            return None, None
    if any(
        item is None or isinstance(item, (list, tuple, dict)) or hasattr(item, "shape") and item.shape for item in level
    ):
        return None, None
    return shape, level
