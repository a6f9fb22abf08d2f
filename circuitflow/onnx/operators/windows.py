"""Windows over images: convolutions and pools, with the pads that ONNX may leave to be computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.onnx.calls import Call, Refusal
from circuitflow.onnx.operators.layout import surround
from circuitflow.onnx.operators.reductions import power_mean


class Frame(NamedTuple):
    """The geometry of a window: a list for every spatial axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[list[int]]

    @property
    def steps(self) -> dict[str, Any]:
        """The attributes that differ from their defaults."""
        return {**({"strides": self.strides} if any(n != 1 for n in self.strides) else {}),
                **({"pads": self.pads} if any(map(any, self.pads)) else {}),
                **({"dilations": self.dilations} if any(n != 1 for n in self.dilations) else {})}

    @property
    def window(self) -> dict[str, Any]:
        """The steps and the kernel."""
        return {"kernel_shape": self.kernel, **self.steps}


def frame(call: Call, kernel: list[int], sizes: Any) -> Frame:
    """The window of a node over spatial axes."""
    rank = len(kernel)
    if any(not isinstance(n, int) or n < 1 for n in kernel):
        raise Refusal(f"has the kernel {kernel}; expected sizes of 1 or more")
    strides = call.attribute("strides") or [1] * rank
    dilations = call.attribute("dilations") or [1] * rank
    auto = call.attribute("auto_pad", "NOTSET")
    pads = call.attribute("pads") or [0] * (2 * rank)
    if len(strides) != rank or len(dilations) != rank or len(pads) != 2 * rank or min(*strides, *dilations) < 1:
        raise Refusal(f"has strides {strides}, dilations {dilations} and pads {pads} for {rank} axes")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for size, k, s, d in zip(call.numbers_of(sizes), kernel, strides, dilations, strict=True):
            total = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            small = total // 2
            pairs.append([small, total - small] if auto == "SAME_UPPER" else [total - small, small])
    elif auto == "VALID":
        pairs = [[0, 0] for _ in kernel]
    elif auto == "NOTSET":
        pairs = [[before, after] for before, after in zip(pads[:rank], pads[rank:], strict=True)]
    else:
        raise Refusal(f"has auto_pad {auto}")
    return Frame(list(kernel), list(strides), list(dilations), pairs)


def conv(call: Call) -> Any:
    """The convolution."""
    shape = call.numbers_of(call.shape(1))
    kernel = call.attribute("kernel_shape") or shape[2:]
    if kernel != shape[2:]:
        raise Refusal(f"has kernel_shape {kernel} beside weights of {shape[2:]}")
    steps = frame(call, kernel, call.shape(0)[2:]).steps
    group = call.attribute("group")
    bias = [call[2]] if call.has(2) else []
    return call.w.conv(call[0], call[1], *bias, **steps, **({"group": group} if group != 1 else {}))


def conv_transpose(call: Call) -> Any:
    """The transposed convolution; ONNX may say the size of the result instead of the pads."""
    shape = call.numbers_of(call.shape(1))
    kernel = call.attribute("kernel_shape") or shape[2:]
    rank = len(kernel)
    group, target = call.attribute("group"), call.attribute("output_shape")
    more = call.attribute("output_padding") or [0] * rank
    auto = call.attribute("auto_pad", "NOTSET")
    if kernel != shape[2:]:
        raise Refusal(f"has kernel_shape {kernel} beside weights of {shape[2:]}")
    strides = call.attribute("strides") or [1] * rank
    dilations = call.attribute("dilations") or [1] * rank
    pads = call.attribute("pads") or [0] * (2 * rank)
    pairs = [[before, after] for before, after in zip(pads[:rank], pads[rank:], strict=True)]
    sizes = call.numbers_of(call.shape(0)[2:])
    if auto == "VALID":
        pairs = [[0, 0] for _ in kernel]
    if target or auto in ("SAME_UPPER", "SAME_LOWER"):
        target = list(target or [size * s for size, s in zip(sizes, strides, strict=True)])[-rank:]
        pairs = []
        for size, k, s, d, extra, end in zip(sizes, kernel, strides, dilations, more, target, strict=True):
            total = s * (size - 1) + extra + (k - 1) * d + 1 - end
            small = total // 2
            pairs.append([small, total - small] if auto == "SAME_UPPER" else [total - small, small])
    beyond = [[max(0, -before), max(0, -after)] for before, after in pairs]
    pairs = [[max(0, before), max(0, after)] for before, after in pairs]
    steps = Frame(kernel, strides, dilations, pairs).steps
    large = [max(0, extra - max(s, d) + 1) for extra, s, d in zip(more, strides, dilations, strict=True)]
    padding = [extra - rest for extra, rest in zip(more, large, strict=True)]
    beyond = [[before, after + rest] for (before, after), rest in zip(beyond, large, strict=True)]
    w, is_larger = call.w, any(map(any, beyond))
    bias = [call[2]] if call.has(2) else []
    out = w.conv_transpose(call[0], call[1], *(bias if not is_larger else []), **steps,
                           **({"group": group} if group != 1 else {}),
                           **({"output_padding": padding} if any(padding) else {}))
    if not is_larger:
        return out
    out = w.pad(out, pad_width=[[0, 0], [0, 0], *beyond])
    return w.add(out, w.reshape(bias[0], shape=[-1, *[1] * rank])) if bias else out


def _pool_frame(call: Call) -> tuple[Frame, list[int]]:
    """The window of a pool, and by how much it goes beyond the pads where sizes are rounded up."""
    kernel = call.attribute("kernel_shape")
    if not kernel:
        raise Refusal("has no kernel_shape")
    spatial = call.shape(0)[2:]
    own = frame(call, kernel, spatial)
    beyond = [0] * len(kernel)
    if call.attribute("ceil_mode", 0):
        for axis, (size, k, s, d, (before, after)) in enumerate(zip(
                call.numbers_of(spatial), *own[:3], own.pads, strict=True)):
            room = size + before + after - d * (k - 1) - 1
            steps = -(-room // s)
            if steps * s >= size + before:  # such a window would begin behind x and its pads
                steps -= 1
            beyond[axis] = max(0, steps * s - room)
    return own, beyond


def _wider(own: Frame, beyond: list[int]) -> Frame:
    return own._replace(pads=[[before, after + more] for (before, after), more in zip(own.pads, beyond, strict=True)])


def max_pool(call: Call) -> Any:
    """The largest of every window, and where it stands."""
    own, beyond = _pool_frame(call)
    w, window, x = call.w, _wider(own, beyond), call[0]
    order = call.attribute("storage_order", 0)
    if not x.type.is_float:
        if call.outputs > 1 or np.dtype(x.type.dtype).itemsize > 4:
            raise Refusal(f"of {x.type.dtype} has no gate; expected floats")
        return w.cast(w.max_pool(w.cast(x, dtype="float64"), **window.window), dtype=x.type.dtype)
    out = w.max_pool(x, **window.window)
    if call.outputs < 2:
        return out
    sizes = call.sizes(0)
    if (total := math.prod(sizes)) > 2**24:
        raise Refusal(f"gives positions among {total} elements; expected at most {2**24}")
    inner = sizes[2:]
    plane = np.arange(math.prod(inner)).reshape(inner[::-1] if order else inner)
    plane = plane.T if order else plane  # in column-major order the first of the axes of an image goes fastest
    images = np.arange(math.prod(sizes[:2])).reshape(*sizes[:2], *[1] * len(inner))
    where = (images * plane.size + plane).astype(np.float64)
    axes = list(range(2, x.ndim))
    windows = w.unfold(w.stop_gradient(x), fill="lowest", **window.window)
    places = w.unfold(where, **window.window)
    chosen = w.where(w.is_first_max(windows, axis=axes), places, w.zeros_like(places))
    return out, w.cast(w.reduce_sum(chosen, axis=axes), dtype="int64")


def average_pool(call: Call) -> Any:
    """The mean of every window; what sizes rounded up add does not count."""
    own, beyond = _pool_frame(call)
    include = bool(call.attribute("count_include_pad", 0))
    if include and any(beyond):
        w, x = call.w, surround(call, call[0], [[0, 0], [0, 0], *own.pads], 0)
        inner = own._replace(pads=[[0, more] for more in beyond])
        return w.average_pool(x, **inner.window)
    more = {"count_include_pad": True} if include else {}
    return call.w.average_pool(call[0], **_wider(own, beyond).window, **more)


def lp_pool(call: Call) -> Any:
    """The p-norm of every window."""
    own, beyond = _pool_frame(call)
    x = call.w.unfold(call[0], **_wider(own, beyond).window)
    return power_mean(call, x, call.attribute("p"), list(range(2, 2 + len(own.kernel))), keepdims=False)


def col2im(call: Call) -> Any:
    """Columns added up where their windows stood."""
    w, x = call.w, call[0]
    image, block = call.numbers(1, "image_shape").tolist(), call.numbers(2, "block_shape").tolist()
    own = frame(call, block, image)
    n, rows, _ = call.sizes(0)
    channels = rows // math.prod(block)
    spans = [size + before + after for size, (before, after) in zip(image, own.pads, strict=True)]
    counts = [(span - d * (k - 1) - 1) // s + 1
              for span, k, s, d in zip(spans, block, own.strides, own.dilations, strict=True)]
    windows = w.reshape(x, shape=[n, channels, *block, *counts])
    like = w.expand(w.constant(0.0, x.type.dtype), shape=[n, channels, *image])
    return w.fold(windows, like, **own.window)


WINDOWS: Mapping[str, Callable[[Call], Any]] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": max_pool, "AveragePool": average_pool,
    "LpPool": lp_pool, "Col2Im": col2im,
}
