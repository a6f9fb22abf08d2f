"""Numbers in text: six digits, tensors by shape and range."""

from __future__ import annotations

from typing import Any

import numpy as np


def number(value: Any) -> str:
    """A scalar with six digits, a small vector in full, any other tensor by its shape and range."""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array[()]:.6g}" if array.dtype.kind == "f" else str(array[()])
    if array.ndim == 1 and array.size <= 4:
        return f"[{', '.join(number(item) for item in array)}]"
    if not array.size:
        return f"{array.shape} empty"
    low, high = array.min(), array.max()
    return f"{array.shape} " + (f"all {number(low)}" if low == high else f"{number(low)} to {number(high)}")
