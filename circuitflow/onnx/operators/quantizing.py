"""Numbers as small integers times a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal


def _spread(call: Call, y: Any, x: Any) -> Any:
    """A scale or zero point over x: one number, one for each position of an axis, or one for each block along it."""
    axis, block = call.attribute("axis", 1), call.attribute("block_size", 0)
    w, rank = call.w, x.ndim
    if y.ndim == 0 or (y.ndim == 1 and y.type.shape == (1,) and not block):
        return w.squeeze(y, axis=0) if y.ndim else y
    axis %= max(rank, 1)
    if block:
        size = call.numbers_of(x.type.shape)[axis]
        places = np.arange(size) // block
        return w.gather(y, places, axis=axis)
    for _ in range(rank - 1 - axis):
        y = w.unsqueeze(y, axis=-1)
    return y


def dequantize(call: Call) -> Any:
    """(x - zero point) · scale."""
    w, x, scale = call.w, call[0], call[1]
    number = call.attribute("output_dtype", 0)
    dtype = call.dtype(number) if number else scale.type.dtype
    y = w.cast(x, dtype=dtype)
    if call.has(2):
        y = w.sub(y, _spread(call, w.cast(call[2], dtype=dtype), x))
    out = w.mul(y, _spread(call, scale if scale.type.dtype == dtype else w.cast(scale, dtype=dtype), x))
    return out if out.type.dtype == dtype else w.cast(out, dtype=dtype)


def quantize(call: Call) -> Any:
    """X / scale + zero point, rounded, and kept in the range of the integers; no gradient flows through."""
    w, x = call.w, call[0]
    call.attribute("saturate")
    if call.attribute("precision", 0):
        raise Refusal("has a precision of its own; expected 0")
    number = call.attribute("output_dtype", 0)
    dtype = call.type(2).dtype if call.has(2) else call.dtype(number) if number else "uint8"
    if "int" not in dtype:
        raise Refusal(f"gives {dtype}; expected integers")
    scale = call[1]
    scale = scale if scale.type.dtype == x.type.dtype else w.cast(scale, dtype=x.type.dtype)
    y = w.round(w.div(x, _spread(call, scale, x)))
    if call.has(2):
        y = w.add(y, _spread(call, w.cast(call[2], dtype=x.type.dtype), x))
    limits = np.iinfo(dtype)
    return w.cast(w.clip(y, min=float(limits.min), max=float(limits.max)), dtype=dtype)


QUANTIZING: Mapping[str, Callable[[Call], Any]] = {"DequantizeLinear": dequantize, "QuantizeLinear": quantize}
