"""Images taken at places that are computed: regions of interest, and convolutions whose windows are deformed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal
from circuitflow.onnx.operators.sampling import neighbour, neighbours
from circuitflow.onnx.operators.windows import frame

MOST = 2**24
"""Most places that an image is taken at, in a region or in all windows."""


def roi_align(call: Call) -> Any:
    """Means or maxima over a grid of places inside each bin of a region; gradients flow to the image and to regions."""
    w, x, rois, batch = call.w, call[0], call[1], call[2]
    mode, scale = call.attribute("mode"), call.attribute("spatial_scale")
    corner = 0.5 if call.attribute("coordinate_transformation_mode", "output_half_pixel") == "half_pixel" else 0.0
    bins = call.attribute("output_height"), call.attribute("output_width")
    images, channels, *sizes = call.numbers_of(x.type.shape)
    if mode not in ("avg", "max"):
        raise Refusal(f"has the mode {mode}; expected avg or max")
    grids = _grids(call, bins, scale, corner)
    if math.prod(bins) * math.prod(grids) > MOST or min(*bins, *grids) < 1:
        raise Refusal(f"takes x at {bins} times {grids} places in a region; expected at most {MOST}")
    sides = []
    for size, axis, count, grid in zip(sizes, (1, 0), bins, grids, strict=True):
        start, end = (w.sub(w.mul(w.slice(rois, axis=1, start=at, stop=at + 1), scale), corner)
                      for at in (axis, axis + 2))
        length = w.sub(end, start)
        length = length if corner else w.emit("max", length, 1.0)
        steps = np.arange(count)[:, None] + (np.arange(grid) + 0.5) / grid
        place = w.add(start, w.mul(w.div(length, float(count)), steps.reshape(1, -1).astype(x.type.dtype)))
        inside = w.emit("and", w.greater_or_equal(place, -1.0), w.less_or_equal(place, float(size)))
        place = w.clip(place, min=0.0, max=size - 1.0)
        low = w.floor(place)
        rest = w.sub(place, low)
        sides.append([(low, w.where(inside, w.sub(1.0, rest), 0.0)),
                      (w.clip(w.add(low, 1.0), min=0.0, max=size - 1.0), w.where(inside, rest, 0.0))])
    rows = w.reshape(w.transpose(x, axes=[0, 2, 3, 1]), shape=[images * math.prod(sizes), channels])
    first = w.mul(_integers(w, w.reshape(batch, shape=[-1, 1, 1])), np.int64(math.prod(sizes)))
    terms = []
    for y, y_weight in sides[0]:
        for u, u_weight in sides[1]:
            place = w.add(first, w.mul(_integers(w, w.unsqueeze(y, axis=2)), np.int64(sizes[1])),
                          _integers(w, w.unsqueeze(u, axis=1)))
            weight = w.mul(w.unsqueeze(y_weight, axis=2), w.unsqueeze(u_weight, axis=1))
            terms.append(w.mul(w.gather(rows, place, axis=0), w.unsqueeze(weight, axis=3)))
    out = w.reshape(w.emit("add" if mode == "avg" else "max", *terms),
                    shape=[-1, bins[0], grids[0], bins[1], grids[1], channels])
    out = w.emit("reduce_mean" if mode == "avg" else "reduce_max", out, axis=[2, 4])
    return w.transpose(out, axes=[0, 3, 1, 2])


def _grids(call: Call, bins: tuple[int, int], scale: float, corner: float) -> list[int]:
    """The number of places in a bin, along both axes."""
    ratio = call.attribute("sampling_ratio")
    if ratio > 0:
        return [ratio, ratio]
    rois = call.numbers(1, "rois, since sampling_ratio is 0") * np.float32(scale)
    lengths = rois[:, [3, 2]] - rois[:, [1, 0]]
    counts = np.ceil((lengths if corner else np.maximum(lengths, 1)) / np.asarray(bins)).astype(int)
    if not len(counts) or counts.min() < 1 or (counts != counts[0]).any():
        raise Refusal("has regions with different numbers of places in a bin, since sampling_ratio is 0")
    return [int(count) for count in counts[0]]


def _integers(w: Any, x: Any) -> Any:
    return x if x.type.dtype == "int64" else w.cast(x, dtype="int64")


def deform_conv(call: Call) -> Any:
    """A convolution whose window takes x at places moved by offsets; gradients flow to these too."""
    w, x, weight = call.w, call[0], call[1]
    outer, inner, *kernel = call.sizes(1)
    images, channels, *sizes = call.sizes(0)
    if (call.attribute("kernel_shape") or kernel) != kernel or len(kernel) != 2:
        raise Refusal(f"has the kernel {call.attribute('kernel_shape') or kernel} beside weights of {kernel}; expected "
                      "two axes")
    own, group, parts = frame(call, kernel, sizes), call.attribute("group"), call.attribute("offset_group")
    spans = [(size + sum(pads) - d * (k - 1) - 1) // s + 1
             for size, k, s, d, pads in zip(sizes, *own, strict=True)]
    window, count = math.prod(kernel), math.prod(spans)
    if window * count > MOST or min(spans) < 1:
        raise Refusal(f"takes x at {window} times {count} places; expected at most {MOST}")
    offsets = w.reshape(call[2], shape=[images, parts, window, 2, count])
    axes = []
    for axis, size in enumerate(sizes):
        at = [np.arange(kernel[axis]) * own.dilations[axis], np.arange(spans[axis]) * own.strides[axis]]
        lines = [np.broadcast_to(np.expand_dims(line, 1 - axis), shape).reshape(-1)
                 for line, shape in zip(at, (kernel, spans), strict=True)]
        base = (lines[0][:, None] + lines[1] - own.pads[axis][0]).astype(x.type.dtype)
        moved = w.squeeze(w.slice(offsets, axis=3, start=axis, stop=axis + 1), axis=3)
        place = w.reshape(w.add(moved, base), shape=[images, parts, window * count])
        axes.append([neighbour(w, at, by, size, "zeros", corners=False)
                     for at, by in neighbours(w, place, "linear")])
    flat = w.reshape(x, shape=[images, parts, channels // parts, math.prod(sizes)])
    terms = []
    for y, y_weight in axes[0]:
        for u, u_weight in axes[1]:
            place = w.add(w.mul(_integers(w, y), np.int64(sizes[1])), _integers(w, u))
            chosen = w.expand(w.unsqueeze(place, axis=2), shape=[channels // parts, 1])
            terms.append(w.mul(w.gather_elements(flat, chosen, axis=3), w.unsqueeze(w.mul(y_weight, u_weight), axis=2)))
    columns = w.reshape(w.add(*terms), shape=[images, parts, channels // parts, window, count])
    if call.has(4):
        columns = w.mul(columns, w.reshape(call[4], shape=[images, parts, 1, window, count]))
    columns = w.reshape(columns, shape=[images, group, inner * window, count])
    out = w.matmul(w.reshape(weight, shape=[group, outer // group, inner * window]), columns)
    out = w.reshape(out, shape=[images, outer, *spans])
    return w.add(out, w.reshape(call[3], shape=[outer, 1, 1])) if call.has(3) else out


def max_unpool(call: Call) -> Any:
    """The numbers of a pool put back where they stood, zeros elsewhere. Two of one place are refused at a run."""
    w, x, kernel = call.w, call[0], call.attribute("kernel_shape")
    rank = len(kernel)
    strides, pads = call.attribute("strides") or [1] * rank, call.attribute("pads") or [0] * 2 * rank
    sizes = call.sizes(0)
    shape = [*sizes[:2], *((size - 1) * s + k - before - after for size, s, k, before, after in zip(
        sizes[2:], strides, kernel, pads[:rank], pads[rank:], strict=True))]
    whole = call.numbers(2, "output_shape").tolist() if call.has(2) else shape
    if len(whole) != len(shape) or any(a < b for a, b in zip(whole, shape, strict=True)):
        raise Refusal(f"has the output_shape {whole}; expected {shape} or more")
    if min(shape, default=0) < 0 or math.prod(shape) > 2**31:
        raise Refusal(f"has a result of the shape {shape}")
    flat = w.expand(w.constant(0.0, x.type.dtype), shape=[math.prod(shape)])
    out = w.scatter_elements(flat, w.reshape(call[1], shape=[-1]), w.reshape(x, shape=[-1]))
    out = w.reshape(out, shape=shape)
    more = [[0, a - b] for a, b in zip(whole, shape, strict=True)]
    return w.pad(out, pad_width=more) if any(map(any, more)) else out


REGIONS: Mapping[str, Callable[[Call], Any]] = {
    "RoiAlign": roi_align, "DeformConv": deform_conv, "MaxUnpool": max_unpool}
