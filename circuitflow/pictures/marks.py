"""Numbers on the wires of a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import show
from circuitflow.pictures.picture import Mark
from circuitflow.text import few, number, rows

CELLS = 8
"""The most cells of a strip."""

EVERY = 1000
"""The most numbers of a tensor that are shown in full."""


def value_mark(value: Any, *, is_gradient: bool = False) -> Mark:
    """The mark of a value, with its shape, or of a gradient, with its norm."""
    array = np.asarray(value)
    if array.ndim == 0:
        return Mark(brief(array[()]), (), full(array), array)
    if array.size <= 3 and array.ndim == 1:
        return Mark(f"[{', '.join(brief(x) for x in array)}]", (), full(array), array)
    floats = array.astype(np.float64)
    text = f"‖·‖ {brief(norm(floats))}" if is_gradient else show(array.shape)
    return Mark(text, _strip(floats), full(array), array)


def shape_mark(type_: ArrayType) -> Mark | None:
    """The mark of a value before a run: its shape, or None for a scalar."""
    text = show(type_.shape)
    return Mark(text, (), f"{type_.dtype} {text}") if type_.shape else None


def brief(x: Any) -> str:
    """A number with two digits after the point; a small one with two significant digits."""
    if isinstance(x, bool | np.bool_):
        return "true" if x else "false"
    if isinstance(x, int | np.integer):
        return str(x) if abs(int(x)) < 10**6 else f"{float(x):.1e}"
    x = float(x) + 0.0  # -0 is 0
    size = abs(x)
    if not math.isfinite(x):
        return {"inf": "∞", "-inf": "-∞"}.get(str(x), "NaN")
    if size >= 1e5 or 0 < size < 1e-3:
        return f"{x:.1e}"
    return f"{x:.2f}" if size == 0 or size >= 0.0995 else f"{x:.2g}"


def full(array: Any) -> str:
    """A number in full, or the shape, range and norm of a tensor with its first numbers."""
    array = np.asarray(array)
    if array.ndim == 0:
        return repr(array.item())
    if not array.size:
        return f"{array.dtype} {show(array.shape)}, empty"
    floats = array.astype(np.float64)
    first = ", ".join(few(map(number, floats.ravel()), 6))
    return (f"{array.dtype} {show(array.shape)}, {number(floats.min())} to {number(floats.max())}, norm "
            f"{number(norm(floats))}: [{first}]")


def every(array: Any, most: int = EVERY) -> str:
    """All numbers in full, row by row, or the first of them with a count."""
    array = np.asarray(array)
    if array.ndim == 0 or not array.size:
        return full(array)
    length = array.shape[-1]
    text = rows(array, to_text=lambda x: repr(x.item()), columns=most, lines=max(1, most // length))
    return f"{full(array).partition(': ')[0]}\n{text}"


def norm(floats: Any) -> float:
    """The square root of the sum of squares."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.sum(floats * floats)))


def _strip(floats: Any) -> tuple[float, ...]:
    """The element of the largest size in each of a few pieces of a tensor, the largest of all scaled to 1."""
    flat = np.where(np.isfinite(floats), floats, np.sign(np.nan_to_num(floats)) * np.finfo(np.float64).max).ravel()
    if not flat.size:
        return ()
    pieces = np.array_split(flat, min(CELLS, flat.size))
    peaks = np.array([piece[np.argmax(np.abs(piece))] for piece in pieces])
    largest = np.abs(peaks).max()
    return tuple((peaks / largest).tolist()) if largest else (0.0,) * len(peaks)
