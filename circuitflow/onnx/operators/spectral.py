"""Fourier transforms: products with matrices of cosines and sines. Complex numbers are a last axis of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal

LARGEST = 2**24
"""Most elements of a matrix."""


def dft(call: Call) -> Any:
    """The discrete Fourier transform along an axis, or its inverse."""
    return _in_dtype(call, call.type(0).dtype, _dft(call))


def _wide(call: Call, x: Any) -> Any:
    """In float64: terms of a transform cancel."""
    return x if x.type.dtype == "float64" else call.w.cast(x, dtype="float64")


def _in_dtype(call: Call, dtype: str, x: Any) -> Any:
    return x if x.type.dtype == dtype else call.w.cast(x, dtype=dtype)


def _dft(call: Call) -> Any:
    x, inverse, onesided = _wide(call, call[0]), bool(call.attribute("inverse")), bool(call.attribute("onesided"))
    rank = x.ndim
    if call.version >= 20:
        axis = int(call.numbers(2, "axis").reshape(())) if call.has(2) else -2
    else:
        axis = call.attribute("axis")
    axis %= rank
    size = call.numbers_of(call.shape(0))[axis]
    length = int(call.numbers(1, "dft_length").reshape(())) if call.has(1) else None
    parts = call.numbers_of(x.type.shape)[-1]
    if axis == rank - 1 or parts not in (1, 2):
        raise Refusal(f"needs a last axis of 1 or 2 for real or complex numbers, and another one to transform; it is "
                      f"{parts}")
    if inverse and onesided:
        if parts != 2:
            raise Refusal("is an inverse one-sided transform of real numbers")
        return _real_inverse(call, x, axis, length or 2 * (size - 1))
    length = length or size
    return _transform(call, _fit(call, x, axis, length), axis, length, inverse=inverse, onesided=onesided)


def _fit(call: Call, x: Any, axis: int, length: int) -> Any:
    """With zeros at the end of an axis, or cut off."""
    size = call.numbers_of(x.type.shape)[axis]
    if length < size:
        return call.w.slice(x, axis=axis, start=0, stop=length)
    widths = [[0, length - size if i == axis else 0] for i in range(x.ndim)]
    return call.w.pad(x, pad_width=widths) if length > size else x


def _matrices(length: int, rows: int, sign: int, dtype: str) -> tuple[Any, Any]:
    """Cosines and sines of the angles 2π j k / length: k by column, j by row."""
    if length < 1 or length * rows > LARGEST:
        raise Refusal(f"has a length of {length}; expected 1 or more, and a matrix of at most {LARGEST} elements")
    angles = 2 * np.pi * ((np.arange(rows)[:, None] * np.arange(length)) % length) / length
    return np.cos(angles).astype(dtype), (sign * np.sin(angles)).astype(dtype)


def _along(call: Call, x: Any, axis: int, matrix: Any) -> Any:
    """The product of an axis with a matrix."""
    w, rank = call.w, x.ndim
    order = [i for i in range(rank) if i != axis]
    y = w.matmul(w.transpose(x, axes=[*order, axis]), matrix.T.copy())
    return w.transpose(y, axes=[*range(axis), rank - 1, *range(axis, rank - 1)])


def _part(call: Call, x: Any, position: int) -> Any:
    return call.w.squeeze(call.w.slice(x, axis=-1, start=position, stop=position + 1), axis=-1)


def _transform(call: Call, x: Any, axis: int, length: int, *, inverse: bool, onesided: bool) -> Any:
    w = call.w
    rows = length // 2 + 1 if onesided else length
    cosines, sines = _matrices(length, rows, 1 if inverse else -1, x.type.dtype)
    if inverse:
        cosines, sines = cosines / cosines.dtype.type(length), sines / sines.dtype.type(length)
    real = _part(call, x, 0)
    out = _along(call, real, axis, cosines), _along(call, real, axis, sines)
    if x.type.shape[-1] == 2:
        other = _part(call, x, 1)
        out = (w.sub(out[0], _along(call, other, axis, sines)), w.add(out[1], _along(call, other, axis, cosines)))
    return w.stack(*out, axis=-1)


def _real_inverse(call: Call, x: Any, axis: int, length: int) -> Any:
    """Real numbers from the first half of their spectrum."""
    w, rows = call.w, length // 2 + 1
    x = _fit(call, x, axis, rows)
    cosines, sines = _matrices(length, rows, -1, "float64")
    weights = np.where((np.arange(rows) == 0) | (2 * np.arange(rows) == length), 1.0, 2.0)[:, None] / length
    dtype = x.type.dtype
    real = _along(call, _part(call, x, 0), axis, (cosines * weights).T.astype(dtype))
    other = _along(call, _part(call, x, 1), axis, (sines * weights).T.astype(dtype))
    return w.unsqueeze(w.add(real, other), axis=-1)


def stft(call: Call) -> Any:
    """The transforms of windows that move over a signal."""
    w, x = call.w, _wide(call, call[0])
    onesided = bool(call.attribute("onesided"))
    step = int(call.numbers(1, "frame_step").reshape(()))
    window = _wide(call, call[2]) if call.has(2) else None
    sizes = call.numbers_of(x.type.shape)
    length = int(call.numbers(3, "frame_length").reshape(())) if call.has(3) else (
        call.numbers_of(window.type.shape)[0] if window is not None else sizes[1])
    if step < 1 or not 1 <= length <= sizes[1]:
        raise Refusal(f"has frames of {length} every {step} of {sizes[1]} positions")
    frames = 1 + (sizes[1] - length) // step
    if frames * length > LARGEST:
        raise Refusal(f"has {frames} frames of {length}; expected at most {LARGEST} elements")
    places = np.arange(frames)[:, None] * step + np.arange(length)
    parts = x if x.ndim == 3 else w.unsqueeze(x, axis=-1)
    y = w.gather(parts, places, axis=1)
    if window is not None:
        y = w.mul(y, w.unsqueeze(window, axis=-1))
    return _in_dtype(call, call.type(0).dtype, _transform(call, y, 2, length, inverse=False, onesided=onesided))


SPECTRAL: Mapping[str, Callable[[Call], Any]] = {"DFT": dft, "STFT": stft}
