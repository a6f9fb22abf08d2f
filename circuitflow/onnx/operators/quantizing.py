"""Numbers as small integers times a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal
from circuitflow.onnx.operators.linear import shifted
from circuitflow.onnx.operators.windows import frame


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


def conv_integer(call: Call) -> Any:
    """The convolution of integers less their zero points, as 32-bit integers."""
    return call.w.cast(_convolved(call, shifted(call, 0, 2), shifted(call, 1, 3, 0)), dtype="int32")


def _convolved(call: Call, x: Any, weight: Any, at: int = 1) -> Any:
    kernel = call.attribute("kernel_shape") or call.sizes(at)[2:]
    group = call.attribute("group")
    return call.w.conv(x, weight, **frame(call, kernel, call.shape(0)[2:]).steps,
                       **({"group": group} if group != 1 else {}))


def quantized_product(call: Call) -> Any:
    """The product of two quantized matrices, quantized."""
    return _requantized(call, call.w.matmul(shifted(call, 0, 2, -2), shifted(call, 3, 5, -1)), [])


def quantized_conv(call: Call) -> Any:
    """The convolution of quantized images, quantized; a bias has the scale of the product."""
    w, out = call.w, _convolved(call, shifted(call, 0, 2), shifted(call, 3, 5, 0), 3)
    ones = [1] * (out.ndim - 2)
    if call.has(8):
        out = w.add(out, w.reshape(w.cast(call[8], dtype="float64"), shape=[-1, *ones]))
    return _requantized(call, out, ones)


def _requantized(call: Call, y: Any, ones: list[int]) -> Any:
    """An exact product times its scales, rounded, and kept in the range of the integers; no gradient flows through."""
    w, dtype = call.w, call.type(7).dtype
    if "int" not in dtype:
        raise Refusal(f"gives {dtype}; expected integers")
    scales = []
    for at in (1, 4, 6):
        scale = w.cast(call[at], dtype="float64") if call.type(at).dtype != "float64" else call[at]
        if scale.ndim == 1 and scale.type.shape != (1,):
            if not ones or at != 4:
                raise Refusal("has a scale for each row or column; expected one number")
            scale = w.reshape(scale, shape=[-1, *ones])
        scales.append(w.squeeze(scale, axis=0) if scale.ndim == 1 else scale)
    y = w.round(w.mul(y, w.div(w.mul(scales[0], scales[1]), scales[2])))
    zero = w.cast(call[7], dtype="float64")
    y = w.add(y, w.squeeze(zero, axis=0) if zero.ndim else zero)
    limits = np.iinfo(dtype)
    return w.cast(w.clip(y, min=float(limits.min), max=float(limits.max)), dtype=dtype)


QUANTIZING: Mapping[str, Callable[[Call], Any]] = {
    "DequantizeLinear": dequantize, "QuantizeLinear": quantize, "ConvInteger": conv_integer,
    "QLinearConv": quantized_conv, "QLinearMatMul": quantized_product}
