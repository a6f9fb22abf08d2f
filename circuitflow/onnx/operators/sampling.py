"""Images taken at places between their pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.gates.shapes import show
from circuitflow.onnx.calls import Call, Refusal

MOST = 2**24
"""Most places of a grid that an affine map makes."""

CUBIC = -0.75
"""The constant of Keys's cubic convolution in ONNX and torch."""


def grid_sample(call: Call) -> Any:
    """The elements of x at places that a grid says, from -1 to 1 along every axis; gradients flow to both."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(call.attribute("mode"), call.attribute("mode"))
    padding, corners = call.attribute("padding_mode"), bool(call.attribute("align_corners"))
    if mode not in ("nearest", "linear", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise Refusal(f"has the mode {mode} and the padding_mode {padding}")
    w, x, grid = call.w, call[0], call[1]
    sizes, places = call.numbers_of(x.type.shape[2:]), call.numbers_of(grid.type.shape[1:-1])
    channels = call.numbers_of(x.type.shape[1:2])[0]
    if not sizes or call.numbers_of(grid.type.shape[-1:])[0] != len(sizes) or 0 in sizes:
        raise Refusal(f"has a grid of {grid.type.shape[-1]} coordinates for {len(sizes)} axes")
    grid = grid if grid.type.dtype == x.type.dtype else w.cast(grid, dtype=x.type.dtype)
    axes = []
    for axis, size in enumerate(sizes):
        at = len(sizes) - 1 - axis  # the last axis has the first coordinate
        u = w.reshape(w.squeeze(w.slice(grid, axis=-1, start=at, stop=at + 1), axis=-1), shape=[-1, math.prod(places)])
        u = w.add(u, 1.0)
        u = w.mul(u, (size - 1) / 2) if corners else w.div(w.sub(w.mul(u, float(size)), 1.0), 2.0)
        axes.append([neighbour(w, place, weight, size, padding, corners=corners)
                     for place, weight in neighbours(w, u, mode)])
    flat = w.reshape(x, shape=[-1, channels, math.prod(sizes)])
    terms = []
    for choice in itertools.product(*axes):
        index = None
        weight = None
        for size, (place, factor) in zip(sizes, choice, strict=True):
            index = place if index is None else w.add(w.mul(index, float(size)), place)
            weight = factor if weight is None else weight if factor is None else w.mul(weight, factor)
        chosen = w.expand(w.unsqueeze(w.cast(index, dtype="int64"), axis=1), shape=[channels, 1])
        value = w.gather_elements(flat, chosen, axis=2)
        terms.append(value if weight is None else w.mul(value, w.unsqueeze(weight, axis=1)))
    out = w.add(*terms) if len(terms) > 1 else terms[0]
    return w.reshape(out, shape=[-1, channels, *places])


def neighbours(w: Any, u: Any, mode: str) -> list[tuple[Any, Any]]:
    """The positions that a place lies between, each with its weight; halves are rounded to even numbers."""
    if mode == "nearest":
        return [(w.round(u), None)]
    base = w.floor(u)
    t = w.sub(u, base)
    rest = w.sub(1.0, t)
    if mode == "linear":
        return [(base, rest), (w.add(base, 1.0), t)]
    return [(w.add(base, -1.0), _far(w, w.add(t, 1.0))), (base, _near(w, t)), (w.add(base, 1.0), _near(w, rest)),
            (w.add(base, 2.0), _far(w, w.add(rest, 1.0)))]


def _near(w: Any, t: Any) -> Any:
    square = w.mul(t, t)
    return w.add(w.mul(w.sub(w.mul(t, CUBIC + 2), CUBIC + 3), square), 1.0)


def _far(w: Any, t: Any) -> Any:
    return w.add(w.mul(w.add(w.mul(w.sub(w.mul(t, CUBIC), 5 * CUBIC), t), 8 * CUBIC), t), -4 * CUBIC)


def neighbour(w: Any, place: Any, weight: Any, size: int, padding: str, *, corners: bool) -> tuple[Any, Any]:
    """A position inside of the axis for one that may be outside, and its weight."""
    if padding == "reflection":
        low, span = (0.0, size - 1.0) if corners else (-0.5, float(size))
        if span:
            turn = w.mod(w.sub(place, low), 2 * span)
            place = w.add(w.where(w.greater(turn, span), w.sub(2 * span, turn), turn), low)
    inside = w.clip(place, min=0.0, max=size - 1.0)
    if padding == "zeros":
        is_inside = w.emit("and", w.greater_or_equal(place, 0.0), w.less_or_equal(place, size - 1.0))
        some = w.ones_like(place) if weight is None else weight
        weight = w.where(is_inside, some, 0.0)
    return inside, weight


def affine_grid(call: Call) -> Any:
    """The places, from -1 to 1, to which an affine map takes the pixels of an image.

    ONNX's own body for this takes no batch of one.
    """
    w, theta = call.w, call[0]
    sizes, corners = call.numbers_of(call.known(1, "size").reshape(-1).tolist()[2:]), call.attribute("align_corners")
    rank, shape = len(sizes), theta.type.shape
    if rank not in (2, 3) or shape[1:] != (rank, rank + 1):
        raise Refusal(f"has maps of shape {show(shape)} for {rank} axes; expected 2 or 3 axes, and one more column")
    if min(sizes) < 1 or math.prod(sizes) > MOST or (corners and 1 in sizes):
        raise Refusal(f"has the sizes {show(sizes)}; expected {2 if corners else 1} or more each, and {MOST} together")
    columns = [w.reshape(w.slice(theta, axis=2, start=i, stop=i + 1), shape=[-1, *[1] * rank, rank])
               for i in range(rank + 1)]
    out = columns[-1]
    for axis, size in enumerate(sizes):
        at = np.linspace(-1, 1, size) if corners else (2 * np.arange(size) + 1) / size - 1
        line = at.astype(theta.type.dtype).reshape([size, *[1] * (rank - axis)])
        out = w.add(out, w.mul(columns[rank - 1 - axis], line))  # the last axis has the first coordinate
    return out


SAMPLING: Mapping[str, Callable[[Call], Any]] = {"AffineGrid": affine_grid, "GridSample": grid_sample}
