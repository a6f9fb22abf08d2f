"""Pools: the largest or the mean of the windows over images, and of whole channels."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from circuitflow.gates.convolution import Frame, Window, frame_of, need_images, spatial, unfold
from circuitflow.gates.record import Facets, Gate, Note, Onnx, Reads, family
from circuitflow.gates.reductions import restore
from circuitflow.gates.shapes import ArrayType, ShapeError, show
from circuitflow.gates.sliding import largest
from circuitflow.gates.special import own_products
from circuitflow.gates.sums import average, total


class AverageWindow(Window):
    count_include_pad: bool = Field(False, description="count the zeros around x among the elements")


def _pool_type(x: ArrayType, *, count_include_pad: bool = False, **window: Any) -> ArrayType:
    need_images("x", x)
    frame = Frame(x.shape[2:], **window)
    if empty := frame.empty_window():
        raise ShapeError(f"needs an element of x in every window; {empty}; give smaller pads")
    return ArrayType((*x.shape[:2], *frame.windows), x.dtype)


def _max_pool(xp: Any, x: Any, **window: Any) -> Any:
    own, frame = own_products(xp), frame_of(x.shape[2:], **window)
    out = own.largest(x, frame) if own else None
    if out is None and type(x).__module__ == "numpy":
        out = largest(xp, x, frame)
    return xp.max(unfold(xp, x, fill="lowest", **window), axis=tuple(spatial(x))) if out is None else out


def _max_pool_backward(op: Any, g: Any, out: Any, x: Any, **window: Any) -> Any:
    axes = spatial(x)
    windows = op.unfold(op.stop_gradient(x), fill="lowest", **window)
    return op.fold(op.where(op.is_first_max(windows, axis=axes), restore(op, g, windows, axes), 0.0), x, **window)


def _average_pool(xp: Any, x: Any, *, count_include_pad: bool, **window: Any) -> Any:
    axes = tuple(spatial(x))
    size = None if count_include_pad else total(xp, unfold(xp, xp.ones_like(x), **window), axis=axes)
    return average(xp, unfold(xp, x, **window), axis=axes, size=size)


def _average_pool_backward(op: Any, g: Any, out: Any, x: Any, *, count_include_pad: bool, **window: Any) -> Any:
    axes = spatial(x)
    windows = op.unfold(op.ones_like(x), **window)
    size = math.prod(window["kernel_shape"]) if count_include_pad else op.reduce_sum(windows, axis=axes)
    return op.fold(restore(op, g / size, windows, axes), x, **window)


def _global(x: ArrayType) -> ArrayType:
    need_images("x", x)
    if any(size == 0 for size in x.shape[2:]):
        raise ShapeError(f"needs at least one element in every channel; x is {show(x.shape)}")
    return ArrayType((*x.shape[:2], *(1,) * (len(x.shape) - 2)), x.dtype)


POOLS = family({
    "max_pool": Gate("max of windows", "The largest in every window; the first of several takes the gradient.",
                     ("x",), _pool_type, attributes=Window, symbol="max", reads=Reads.INPUTS,
                     forward=_max_pool,
                     backward=(_max_pool_backward,)).stating(Facets(at_once=True)),
    "average_pool": Gate("mean of windows", "The mean of every window.",
                         ("x",), _pool_type, attributes=AverageWindow, symbol="mean",
                         forward=_average_pool,
                         backward=(_average_pool_backward,)),
    "global_max_pool": Gate("max of a channel", "The largest in every channel; the first of several has the gradient.",
                            ("x",), _global, symbol="max", reads=Reads.INPUTS,
                            forward=lambda xp, x: xp.max(x, axis=tuple(spatial(x)), keepdims=True),
                            backward=(lambda op, g, out, x: op.where(
                                op.is_first_max(x, axis=spatial(x)), op.expand_like(g, x), 0.0),)),
    "global_average_pool": Gate("mean of a channel", "The mean of every channel.",
                                ("x",), _global, symbol="mean",
                                forward=lambda xp, x: average(xp, x, axis=tuple(spatial(x)), keepdims=True),
                                backward=(lambda op, g, out, x: op.expand_like(
                                    g / op.size(x, axis=spatial(x)), x),)),
}, {
    "max_pool": Note("{g} goes to the largest of each window of {x}", kinks="of several the first, in row-major order",
                     onnx=Onnx("MaxPool", "kernel_shape strides pads dilations", {"ceil_mode": 0, "storage_order": 0}),
                     also="max_pool1d max_pool2d max_pool3d max_pooling",
                     example={"kernel_shape": [2]}, dead="takes other elements"),
    "average_pool": Note("{g} / n to every element of a window of {x}",
                         kinks="zeros around x count only with count_include_pad",
                         onnx=Onnx("AveragePool", "kernel_shape strides pads dilations count_include_pad",
                                   {"ceil_mode": 0}, written="f"),
                         also="avg_pool avg_pool1d avg_pool2d avg_pool3d average_pooling mean_pool",
                         example={"kernel_shape": [2]}),
    "global_max_pool": Note("{g} goes to the largest of a channel of {x}",
                            kinks="of several the first, in row-major order", onnx=Onnx("GlobalMaxPool", written="f"),
                            also="global_max_pooling adaptive_max_pool", dead="takes other elements"),
    "global_average_pool": Note("{g} / n to every element of a channel of {x}",
                                onnx=Onnx("GlobalAveragePool", written="f"),
                                also="global_avg_pool global_average_pooling"),
})
