"""Images in other sizes: along each axis a gather, or a product with a matrix that is known before a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.onnx.calls import Call, Refusal

LARGEST = 2**24
"""Most elements of the matrix of an axis."""


class Axis(NamedTuple):
    """How an axis changes its size.

    Attributes:
        axis: which.
        size, new: its sizes.
        scale: their quotient as the model has it; the new size is rounded.
        roi: the part that is taken, from 0 to 1.
    """

    axis: int
    size: int
    new: int
    scale: float
    roi: tuple[float, float]


def resize(call: Call) -> Any:
    """In another size, by `scales` or `sizes`."""
    mode, x = call.attribute("mode"), call[0]
    if call.version < 11:  # and Upsample
        scales = call.attribute("scales") if call.has_attribute("scales") else call.numbers(1, "scales").tolist()
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        axes, rois = _axes(call, list(range(len(scales))), scales, None, "stretch", {}), {}
    else:
        how = {name: call.attribute(name) for name in ("coordinate_transformation_mode", "nearest_mode")}
        numbers = call.attribute("axes")
        numbers = list(range(x.ndim)) if numbers is None else [axis % x.ndim for axis in numbers]
        is_cropped = how["coordinate_transformation_mode"] == "tf_crop_and_resize"
        roi = call.numbers(1, "roi").tolist() if call.has(1) else []
        rois = dict(zip(numbers, zip(roi[: len(roi) // 2], roi[len(roi) // 2 :], strict=True), strict=False)) \
            if is_cropped else {}
        scales = call.numbers(2, "scales").tolist() if call.has(2) else []
        sizes = call.known(3, "sizes").tolist() if call.has(3) else None
        policy = call.attribute("keep_aspect_ratio_policy", "stretch")
        axes = _axes(call, numbers, scales, sizes, policy, rois)
    axes = [axis._replace(roi=rois.get(axis.axis, (0.0, 1.0))) for axis in axes]
    coordinates = how["coordinate_transformation_mode"]
    cubic = call.attribute("cubic_coeff_a", -0.75)
    exclude, antialias = bool(call.attribute("exclude_outside", 0)), bool(call.attribute("antialias", 0))
    value, outside = call.attribute("extrapolation_value", 0.0), {}
    for axis in axes:
        if coordinates == "align_corners" and axis.scale * axis.size != axis.new:
            call.notes.add(f"{call.node.label} aligns corners at a length of {axis.scale * axis.size:g}, as ONNX says; "
                           f"ONNX Runtime and torch do it at {axis.new}; give it sizes in place of scales for theirs")
        places = _coordinates(axis, coordinates)
        if coordinates == "tf_crop_and_resize":
            outside[axis.axis] = (places < 0) | (places > axis.size - 1)
        if mode == "nearest":
            chosen = _nearest(places, how["nearest_mode"])
            x = call.w.gather(x, np.clip(chosen, 0, axis.size - 1).astype(np.int64), axis=axis.axis)
            continue
        if not x.type.is_float:
            raise Refusal(f"of {x.type.dtype} has no gate; expected floats, or mode nearest")
        matrix = _matrix(axis, places, mode, cubic, exclude=exclude, antialias=antialias)
        x = _along(call, x, axis.axis, matrix.astype(x.type.dtype))
    for number, mask in outside.items():
        if mask.any():
            shape = [1] * x.ndim
            shape[number] = len(mask)
            x = call.w.where(mask.reshape(shape), call.w.constant(float(value), x.type.dtype), x)
    return x if axes else call.value(0)


def _axes(call: Call, numbers: list[int], scales: list[float], sizes: list[Any] | None, policy: str,
          rois: Mapping[int, tuple[float, float]]) -> list[Axis]:
    """The axes that change."""
    shape, cropped = call.shape(0), {axis for axis, roi in rois.items() if roi != (0, 1)}
    if sizes is None:
        if len(scales) != len(numbers):
            raise Refusal(f"has {len(scales)} scales for {len(numbers)} axes")
        changes = [(axis, scale) for axis, scale in zip(numbers, scales, strict=True)
                   if scale != 1 or axis in cropped]
        olds = call.numbers_of([shape[axis] for axis, _ in changes])
        return [_axis(axis, old, math.floor(old * scale), scale)
                for (axis, scale), old in zip(changes, olds, strict=True)]
    if len(sizes) != len(numbers):
        raise Refusal(f"has {len(sizes)} sizes for {len(numbers)} axes")
    pairs = [(axis, size) for axis, size in zip(numbers, sizes, strict=True) if size != shape[axis]
             or policy != "stretch" or axis in cropped]
    olds = call.numbers_of([shape[axis] for axis, _ in pairs])
    news = call.numbers_of([size for _, size in pairs])
    if policy == "stretch":
        return [_axis(axis, old, new, new / old) for (axis, _), old, new in zip(pairs, olds, news, strict=True)]
    if policy not in ("not_larger", "not_smaller"):
        raise Refusal(f"has the keep_aspect_ratio_policy {policy}")
    scale = (min if policy == "not_larger" else max)(new / old for old, new in zip(olds, news, strict=True))
    return [_axis(axis, old, math.floor(scale * old + 0.5), scale)
            for (axis, _), old in zip(pairs, olds, strict=True)]


def _axis(axis: int, size: int, new: int, scale: float) -> Axis:
    if size < 1 or new < 0 or not scale > 0 or size * new > LARGEST:
        raise Refusal(f"changes a size of {size} to {new}; expected at least 1, and a product of at most {LARGEST}")
    return Axis(axis, size, new, scale, (0.0, 1.0))


def _coordinates(axis: Axis, mode: str) -> Any:
    """Where the elements of the result lie in x."""
    y, width, (start, end) = np.arange(axis.new, dtype=np.float64), axis.scale * axis.size, axis.roi
    match mode:
        case "align_corners":
            return np.zeros(axis.new) if width == 1 else y * (axis.size - 1) / (width - 1)
        case "asymmetric":
            return y / axis.scale
        case "tf_crop_and_resize":
            span = (end - start) * (axis.size - 1)
            return (np.full(axis.new, span / 2) if width == 1 else y * span / (width - 1)) + start * (axis.size - 1)
        case "pytorch_half_pixel" if width == 1:
            return np.full(axis.new, -0.5)
        case "half_pixel" | "pytorch_half_pixel":
            return (y + 0.5) / axis.scale - 0.5
        case "half_pixel_symmetric":
            return axis.size / 2 * (1 - axis.new / width) + (y + 0.5) / axis.scale - 0.5
    raise Refusal(f"has the coordinate_transformation_mode {mode}")


def _nearest(places: Any, mode: str) -> Any:
    """The nearest position; of two equally near ones that which the mode prefers."""
    match mode:
        case "round_prefer_floor":
            return np.ceil(places - 0.5)
        case "round_prefer_ceil":
            return np.floor(places + 0.5)
        case "floor":
            return np.floor(places)
        case "ceil":
            return np.ceil(places)
    raise Refusal(f"has the nearest_mode {mode}")


def _matrix(axis: Axis, places: Any, mode: str, cubic: float, *, exclude: bool, antialias: bool) -> Any:
    """The weights of x in the result, a row for every new position; what lies outside counts as the edge."""
    if mode not in ("linear", "cubic"):
        raise Refusal(f"has the mode {mode}; expected nearest, linear or cubic")
    reach = 1 if mode == "linear" else 2
    shrink = min(axis.scale, 1.0) if antialias else 1.0
    first = math.floor(-reach / shrink) + 1
    left = np.ceil(places) - 1
    columns = left[:, None] + np.arange(first, 2 - first)
    distance = np.abs(columns - places[:, None]) * shrink
    weights = np.clip(1 - distance, 0, 1) if mode == "linear" else _cubic(distance, cubic)
    if antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    if exclude:
        weights = np.where((columns < 0) | (columns >= axis.size), 0.0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.new, axis.size))
    rows = np.broadcast_to(np.arange(axis.new)[:, None], columns.shape)
    np.add.at(matrix, (rows, np.clip(columns, 0, axis.size - 1).astype(int)), weights)
    return matrix


def _cubic(distance: Any, a: float) -> Any:
    """Keys's cubic convolution, 1981."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def _along(call: Call, x: Any, axis: int, matrix: Any) -> Any:
    """The product with a matrix along an axis."""
    w, rank = call.w, x.ndim
    if axis == rank - 1:
        return w.matmul(x, matrix.T.copy())
    if axis == rank - 2:
        return w.matmul(matrix, x)
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return w.transpose(w.matmul(w.transpose(x, axes=order), matrix.T.copy()), axes=order)


RESIZING: Mapping[str, Callable[[Call], Any]] = {"Resize": resize, "Upsample": resize}
