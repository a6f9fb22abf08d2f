"""Windows, normalisations, attention, dropout. Images stand as (batch, channels, …); windows go over what follows.

Everything that slides a window is made of `unfold`, which lays the windows side by side, and of its adjoint `fold`,
which adds them up again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.reductions import total
from circuitflow.gates.shapes import (
    ArrayType,
    Dimension,
    ShapeError,
    broadcast_shapes,
    count,
    divide,
    need_bool,
    need_float,
    promote,
    show,
)

_Positive = Annotated[int, Field(ge=1)]
_Pair = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


class Steps(Attributes):
    """How a window moves: for every spatial axis."""

    strides: Annotated[list[_Positive] | None, Field(description="for every axis, how far apart windows stand; 1 by "
                                                                 "default")] = None
    pads: Annotated[list[_Pair] | None, Field(description="for every axis, how many zeros before and after; none by "
                                                          "default")] = None
    dilations: Annotated[list[_Positive] | None, Field(description="for every axis, how far apart the elements of a "
                                                                   "window stand; 1 by default")] = None


class Window(Steps):
    """A window and how it moves."""

    kernel_shape: Annotated[list[_Positive], Field(min_length=1, description="size of the window along every axis")]


class Filled(Window):
    """A window, how it moves, and what stands around."""

    fill: Annotated[Literal["zero", "lowest"], Field(description="what stands around x where there are pads: 0, or "
                                                                 "-infinity")] = "zero"


class Averaged(Window):
    """A window, and whether it counts what stands around."""

    count_include_pad: Annotated[bool, Field(description="count the zeros around x among the elements")] = False


class Groups(Steps):
    """How a kernel moves, and how many groups of channels there are."""

    group: Annotated[_Positive, Field(description="how many groups the channels are divided into")] = 1


class Transposed(Groups):
    """How a kernel moves, and what is added to the result's shape."""

    output_padding: Annotated[list[Annotated[int, Field(ge=0)]] | None, Field(
        description="for every axis, how much longer the result is; 0 by default")] = None


class Epsilon(Attributes):
    """What is added to the variance."""

    epsilon: Annotated[float, Field(gt=0, description="what is added to the variance")] = 1e-5


class Trailing(Epsilon):
    """The axes that are normalised together."""

    axis: Annotated[int, Field(description="first of the axes that are normalised together, to the last")] = -1


class Grouped(Epsilon):
    """How many groups of channels are normalised together."""

    num_groups: Annotated[_Positive, Field(description="how many groups the channels are divided into")]


class Training(Epsilon):
    """Whose statistics are used."""

    training_mode: Annotated[bool, Field(description="use mean and variance of the batch; those given are moved "
                                                     "towards them and come out too")] = False
    momentum: Annotated[float, Field(ge=0, le=1, description="how much of a mean or variance given stays")] = 0.9


class Ratio(Attributes):
    """How much is dropped."""

    ratio: Annotated[float, Field(ge=0, lt=1, description="probability that an element is dropped")] = 0.5


class Scores(Attributes):
    """How queries and keys are compared."""

    scale: Annotated[float | None, Field(description="factor of the products; 1 / √(size of a key) by default")] = None
    causal: Annotated[bool, Field(description="a query sees no key behind its own position")] = False


# Windows --------------------------------------------------------------------------------------------------------------

class _Frame:
    """The geometry of a window over the spatial axes of a shape."""

    def __init__(self, spatial: Sequence[Dimension], kernel_shape: Sequence[int], strides: list[int] | None,
                 pads: list[list[int]] | None, dilations: list[int] | None) -> None:
        rank = len(spatial)
        for name, given in (("kernel_shape", kernel_shape), ("strides", strides), ("pads", pads),
                            ("dilations", dilations)):
            if given is not None and len(given) != rank:
                raise ShapeError(f"needs {rank} in '{name}', one for every axis behind the first two; it has "
                                 f"{len(given)}")
        if not rank or not all(isinstance(size, int) for size in spatial):
            raise ShapeError(f"needs axes of known size behind the first two, not {show(spatial)}")
        self.kernel = list(kernel_shape)
        self.strides, self.dilations = strides or [1] * rank, dilations or [1] * rank
        self.pads = pads or [[0, 0]] * rank
        self.sizes = [size for size in spatial if isinstance(size, int)]
        extents = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        padded = [before + size + after for size, (before, after) in zip(self.sizes, self.pads, strict=True)]
        if any(extent > size for extent, size in zip(extents, padded, strict=True)):
            raise ShapeError(f"needs a window no larger than what it moves over: it is {show(extents)}, over "
                             f"{show(padded)}")
        self.windows = [(size - extent) // stride + 1
                        for size, extent, stride in zip(padded, extents, self.strides, strict=True)]

    def places(self) -> Iterator[tuple[slice, ...]]:
        """For every element of the window, where it stands over the padded axes as the window moves."""
        for place in itertools.product(*map(range, self.kernel)):
            starts = [p * d for p, d in zip(place, self.dilations, strict=True)]
            yield tuple(slice(start, start + stride * (n - 1) + 1, stride)
                        for start, stride, n in zip(starts, self.strides, self.windows, strict=True))


def _need_images(name: str, x: ArrayType) -> None:
    need_float(name, x)
    if len(x.shape) < 3:
        raise ShapeError(f"needs batch, channels and at least one more axis; {name} is {show(x.shape)}")


def _unfolded(x: ArrayType, *, kernel_shape: list[int], strides: Any, pads: Any, dilations: Any,
              fill: str = "zero") -> ArrayType:
    _need_images("x", x)
    frame = _Frame(x.shape[2:], kernel_shape, strides, pads, dilations)
    return ArrayType((*x.shape[:2], *frame.kernel, *frame.windows), x.dtype)


def _padded(xp: Any, x: Any, pads: Sequence[Sequence[int]], fill: float) -> Any:
    for axis, widths in enumerate(pads, 2):
        margins = [xp.full((*x.shape[:axis], width, *x.shape[axis + 1 :]), fill, dtype=x.dtype) for width in widths]
        if any(widths):
            x = xp.concat([margins[0], x, margins[1]], axis=axis)
    return x


def _unfold(xp: Any, x: Any, *, kernel_shape: list[int], strides: Any, pads: Any, dilations: Any,
            fill: str = "zero") -> Any:
    frame = _Frame(x.shape[2:], kernel_shape, strides, pads, dilations)
    x = _padded(xp, x, frame.pads, 0.0 if fill == "zero" else -math.inf)
    parts = xp.stack([x[(slice(None), slice(None), *place)] for place in frame.places()], axis=2)
    return xp.reshape(parts, (*x.shape[:2], *frame.kernel, *frame.windows))


def _folded(x: ArrayType, like: ArrayType, **window: Any) -> ArrayType:
    expected = _unfolded(like, **window).shape
    if x.shape != expected:
        raise ShapeError(f"needs x of shape {show(expected)}, the windows over like {show(like.shape)}; "
                         f"x is {show(x.shape)}")
    return ArrayType(like.shape, x.dtype)


def _fold(xp: Any, x: Any, like: Any, *, kernel_shape: list[int], strides: Any, pads: Any, dilations: Any) -> Any:
    return _fold_to(xp, x, _Frame(like.shape[2:], kernel_shape, strides, pads, dilations))


def _fold_to(xp: Any, x: Any, frame: _Frame) -> Any:
    rank = len(frame.kernel)
    shape = (*x.shape[:2], *(before + size + after for size, (before, after) in
                             zip(frame.sizes, frame.pads, strict=True)))
    parts = xp.reshape(x, (*x.shape[:2], math.prod(frame.kernel), *frame.windows))
    out = xp.zeros(shape, dtype=x.dtype)
    for i, place in enumerate(frame.places()):
        at = (slice(None), slice(None), *place)
        if hasattr(out, "at"):  # JAX, whose arrays cannot be written
            out = out.at[at].add(parts[:, :, i, ...])
        else:
            out[at] += parts[:, :, i, ...]
    inner = tuple(slice(before, before + size) for size, (before, _) in zip(frame.sizes, frame.pads, strict=True))
    return out[(slice(None), slice(None), *inner[:rank])]


# Convolutions ---------------------------------------------------------------------------------------------------------

def _conv_type(x: ArrayType, w: ArrayType, b: ArrayType | None = None, *, strides: Any, pads: Any, dilations: Any,
               group: int) -> ArrayType:
    _need_images("x", x)
    need_float("w", w)
    if len(w.shape) != len(x.shape):
        raise ShapeError(f"needs kernels w with as many axes as x {show(x.shape)} has; w is {show(w.shape)}")
    kernel = _known("w", w.shape)
    if x.shape[1] != kernel[1] * group or kernel[0] % group:
        raise ShapeError(f"needs kernels w (out channels, in channels / group, …) with in channels {x.shape[1]} and "
                         f"group {group}; w is {show(w.shape)}")
    _need_bias(b, kernel[0])
    frame = _Frame(x.shape[2:], kernel[2:], strides, pads, dilations)
    return ArrayType((x.shape[0], kernel[0], *frame.windows), promote(x.dtype, w.dtype))


def _known(name: str, shape: Sequence[Dimension]) -> list[int]:
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        raise ShapeError(f"needs kernels of known size; {name} is {show(shape)}")
    return sizes


def _need_bias(b: ArrayType | None, channels: int) -> None:
    if b is not None:
        need_float("b", b)
        if b.shape != (channels,):
            raise ShapeError(f"needs b of shape ({channels},), one for every channel; b is {show(b.shape)}")


def _columns(op: Any, x: Any, w: Any, group: int, **steps: Any) -> Any:
    """The windows over x: (batch, group, channels of a group · elements of a window, windows)."""
    windows = op.unfold(x, kernel_shape=list(w.shape[2:]), **steps)
    return op.reshape(windows, shape=[-1, group, math.prod(w.shape[1:]), math.prod(windows.shape[x.ndim :])])


def _kernels(op: Any, w: Any, group: int) -> Any:
    """The kernels: (group, first channels of a group, second channels · elements of a window)."""
    return op.reshape(w, shape=[group, w.shape[0] // group, math.prod(w.shape[1:])])


def _by_group(op: Any, x: Any, group: int) -> Any:
    """Images as (batch, group, channels of a group, positions)."""
    return op.reshape(x, shape=[-1, group, x.shape[1] // group, math.prod(x.shape[2:])])


class _Arrays:
    """The few gates of the forward rules, on arrays."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    def unfold(self, x: Any, **window: Any) -> Any:
        return _unfold(self.xp, x, **window)

    def reshape(self, x: Any, *, shape: list[int]) -> Any:
        if -1 in shape and not x.size:  # nothing to divide by
            shape = [x.shape[0] if size == -1 else size for size in shape]
        return self.xp.reshape(x, tuple(shape))


def _conv(xp: Any, x: Any, w: Any, b: Any = None, *, group: int, **steps: Any) -> Any:
    frame = _Frame(x.shape[2:], w.shape[2:], steps["strides"], steps["pads"], steps["dilations"])
    op = _Arrays(xp)
    product = xp.matmul(_kernels(op, w, group), _columns(op, x, w, group, **steps))
    out = xp.reshape(product, (x.shape[0], w.shape[0], *frame.windows))
    return out if b is None else out + xp.reshape(b, (-1,) + (1,) * (x.ndim - 2))


def _conv_x(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, **steps: Any) -> Any:
    kernels = op.matrix_transpose(_kernels(op, w, group))
    windows = op.unfold(x, kernel_shape=list(w.shape[2:]), **steps)
    columns = op.matmul(kernels, _by_group(op, g, group))
    return op.fold(op.reshape_like(columns, windows), x, kernel_shape=list(w.shape[2:]), **steps)


def _conv_w(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, **steps: Any) -> Any:
    columns = op.matrix_transpose(_columns(op, x, w, group, **steps))
    return op.reshape_like(op.reduce_sum(op.matmul(_by_group(op, g, group), columns), axis=0), w)


def _bias(op: Any, g: Any, out: Any, *_: Any, **__: Any) -> Any:
    return op.reduce_sum(g, axis=[0, *range(2, g.ndim)])


def _transposed_frame(spatial: Sequence[Dimension], kernel: Sequence[int], strides: list[int] | None,
                      pads: list[list[int]] | None, dilations: list[int] | None,
                      output_padding: list[int] | None) -> _Frame:
    """The frame over the result, whose windows are the positions of the operand."""
    rank = len(kernel)
    if len(spatial) != rank or not all(isinstance(size, int) for size in spatial):
        raise ShapeError(f"needs axes of known size behind the first two, not {show(spatial)}")
    sizes: list[Dimension] = []
    for size, k, s, (before, after), d, more in zip(spatial, kernel, strides or [1] * rank, pads or [[0, 0]] * rank,
                                                    dilations or [1] * rank, output_padding or [0] * rank,
                                                    strict=False):
        if more >= max(s, d):
            raise ShapeError(f"needs an output_padding below the stride {s} or the dilation {d}, not {more}")
        sizes.append((size - 1) * s + d * (k - 1) + 1 - before - after + more)
    if any(isinstance(size, int) and size < 0 for size in sizes):
        raise ShapeError(f"needs pads no larger than the result; it would be {show(sizes)}")
    return _Frame(sizes, kernel, strides, pads, dilations)


def _conv_transpose_type(x: ArrayType, w: ArrayType, b: ArrayType | None = None, *, strides: Any, pads: Any,
                         dilations: Any, group: int, output_padding: Any) -> ArrayType:
    _need_images("x", x)
    need_float("w", w)
    if len(w.shape) != len(x.shape):
        raise ShapeError(f"needs kernels w with as many axes as x {show(x.shape)} has; w is {show(w.shape)}")
    kernel = _known("w", w.shape)
    if x.shape[1] != kernel[0] or kernel[0] % group:
        raise ShapeError(f"needs kernels w (in channels, out channels / group, …) with in channels {x.shape[1]} and "
                         f"group {group}; w is {show(w.shape)}")
    _need_bias(b, kernel[1] * group)
    frame = _transposed_frame(x.shape[2:], kernel[2:], strides, pads, dilations, output_padding)
    return ArrayType((x.shape[0], kernel[1] * group, *frame.sizes), promote(x.dtype, w.dtype))


def _conv_transpose(xp: Any, x: Any, w: Any, b: Any = None, *, group: int, output_padding: Any, **steps: Any) -> Any:
    frame = _transposed_frame(x.shape[2:], w.shape[2:], steps["strides"], steps["pads"], steps["dilations"],
                              output_padding)
    op = _Arrays(xp)
    columns = xp.matmul(xp.matrix_transpose(_kernels(op, w, group)), _by_group(op, x, group))
    channels = w.shape[1] * group
    windows = xp.reshape(columns, (x.shape[0], channels, *frame.kernel, *frame.windows))
    out = _fold_to(xp, windows, frame)
    return out if b is None else out + xp.reshape(b, (-1,) + (1,) * (x.ndim - 2))


def _conv_transpose_x(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, output_padding: Any,
                      **steps: Any) -> Any:
    return op.reshape_like(op.matmul(_kernels(op, w, group), _columns(op, g, w, group, **steps)), x)


def _conv_transpose_w(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, output_padding: Any,
                      **steps: Any) -> Any:
    columns = op.matrix_transpose(_columns(op, g, w, group, **steps))
    return op.reshape_like(op.reduce_sum(op.matmul(_by_group(op, x, group), columns), axis=0), w)


# Pools ----------------------------------------------------------------------------------------------------------------

def _pooled(x: ArrayType, *, kernel_shape: list[int], strides: Any, pads: Any, dilations: Any,
            **_: Any) -> ArrayType:
    _need_images("x", x)
    frame = _Frame(x.shape[2:], kernel_shape, strides, pads, dilations)
    if any(width >= size for size, pair in zip(kernel_shape, frame.pads, strict=True) for width in pair):
        raise ShapeError(f"needs pads smaller than the window, so that no window is empty; pads is {pads}")
    return ArrayType((*x.shape[:2], *frame.windows), x.dtype)


def _in_window(rank: int) -> list[int]:
    return list(range(2, 2 + rank))


def _max_pool_backward(op: Any, g: Any, out: Any, x: Any, **window: Any) -> Any:
    axes = _in_window(x.ndim - 2)
    windows = op.unfold(op.stop_gradient(x), fill="lowest", **window)
    return op.fold(op.where(op.is_first_max(windows, axis=axes), _over_window(op, g, windows, axes), 0.0), x, **window)


def _over_window(op: Any, g: Any, windows: Any, axes: list[int]) -> Any:
    for axis in axes:
        g = op.unsqueeze(g, axis=axis)
    return op.expand_like(g, windows)


def _average_pool(xp: Any, x: Any, *, count_include_pad: bool, **window: Any) -> Any:
    axes = tuple(_in_window(x.ndim - 2))
    summed = xp.sum(_unfold(xp, x, **window), axis=axes, dtype=x.dtype)
    if count_include_pad:
        return summed / math.prod(window["kernel_shape"])
    return summed / xp.sum(_unfold(xp, xp.ones_like(x), **window), axis=axes, dtype=x.dtype)


def _average_pool_backward(op: Any, g: Any, out: Any, x: Any, *, count_include_pad: bool, **window: Any) -> Any:
    axes = _in_window(x.ndim - 2)
    windows = op.unfold(op.ones_like(x), **window)
    size = math.prod(window["kernel_shape"]) if count_include_pad else op.reduce_sum(windows, axis=axes)
    return op.fold(_over_window(op, g / size, windows, axes), x, **window)


def _global(x: ArrayType) -> ArrayType:
    _need_images("x", x)
    if any(size == 0 for size in x.shape[2:]):
        raise ShapeError(f"needs at least one element in every channel; x is {show(x.shape)}")
    return ArrayType((*x.shape[:2], *(1,) * (len(x.shape) - 2)), x.dtype)


def _spatial(x: Any) -> list[int]:
    return list(range(2, x.ndim))


# Normalisations -------------------------------------------------------------------------------------------------------

def _standardised(xp: Any, x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    size = math.prod(x.shape[axis] for axis in axes)
    centred = x - total(xp, x, axis=axes, keepdims=True) / size
    return centred / xp.sqrt(total(xp, centred * centred, axis=axes, keepdims=True) / size + epsilon)


def _spread(op: Any, x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any]:
    """The operand standardised along axes, and the reciprocal of what it was divided by."""
    centred = x - op.reduce_mean(x, axis=axes, keepdims=True)
    inverse = 1 / op.sqrt(op.reduce_mean(op.square(centred), axis=axes, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _standardised_backward(op: Any, g: Any, x: Any, axes: list[int], epsilon: float) -> Any:
    standard, inverse = _spread(op, x, axes, epsilon)
    mean = op.reduce_mean(g, axis=axes, keepdims=True)
    return inverse * (g - mean - standard * op.reduce_mean(g * standard, axis=axes, keepdims=True))


def _channel(op: Any, y: Any, x: Any) -> Any:
    """One number a channel, ready to be broadcast with images."""
    for _ in range(x.ndim - 2):
        y = op.unsqueeze(y, axis=-1)
    return y


def _channel_shape(x: Any) -> tuple[int, ...]:
    rank: int = x.ndim
    return (-1,) + (1,) * (rank - 2)


def _but_channels(x: Any) -> list[int]:
    return [0, *range(2, x.ndim)]


def _need_channels(x: ArrayType, **given: ArrayType) -> None:
    need_float("x", x)
    if len(x.shape) < 2:
        raise ShapeError(f"needs batch and channels; x is {show(x.shape)}")
    for name, y in given.items():
        need_float(name, y)
        if y.shape != (x.shape[1],):
            raise ShapeError(f"needs {name} of shape {show((x.shape[1],))}, one for every channel of x "
                             f"{show(x.shape)}; {name} is {show(y.shape)}")


def _batch_type(x: ArrayType, scale: ArrayType, bias: ArrayType, mean: ArrayType, variance: ArrayType, *,
                training_mode: bool, **_: Any) -> ArrayType | tuple[ArrayType, ...]:
    _need_channels(x, scale=scale, bias=bias, mean=mean, variance=variance)
    y = ArrayType(x.shape, promote(*(t.dtype for t in (x, scale, bias, mean, variance))))
    return (y, mean, variance) if training_mode else y


def _batch(xp: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float, training_mode: bool,
           momentum: float) -> Any:
    shape = _channel_shape(x)
    scale, bias = xp.reshape(scale, shape), xp.reshape(bias, shape)
    if not training_mode:
        return (x - xp.reshape(mean, shape)) / xp.sqrt(xp.reshape(variance, shape) + epsilon) * scale + bias
    axes = tuple(_but_channels(x))
    size = math.prod(x.shape[axis] for axis in axes)
    new_mean = total(xp, x, axis=axes, keepdims=False) / size
    centred = x - xp.reshape(new_mean, shape)
    new_variance = total(xp, centred * centred, axis=axes, keepdims=False) / size
    y = centred / xp.sqrt(xp.reshape(new_variance, shape) + epsilon) * scale + bias
    return y, momentum * mean + (1 - momentum) * new_mean, momentum * variance + (1 - momentum) * new_variance


def _batch_g(g: Any, training_mode: bool) -> Any:
    return g[0] if training_mode else g


def _batch_x(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float,
             training_mode: bool, momentum: float) -> Any:
    if not training_mode:
        return g * _channel(op, scale / op.sqrt(variance + epsilon), x)
    g_y, g_mean, g_variance = g
    axes = _but_channels(x)
    size = op.size(x, axis=axes)
    sent = _standardised_backward(op, g_y * _channel(op, scale, x), x, axes, epsilon)
    centred = x - op.reduce_mean(x, axis=axes, keepdims=True)
    moved = _channel(op, (1 - momentum) * g_mean / size, x) + 2 * centred * _channel(
        op, (1 - momentum) * g_variance / size, x)
    return sent + moved


def _batch_scale(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *,
                 epsilon: float, training_mode: bool, momentum: float) -> Any:
    axes = _but_channels(x)
    if training_mode:
        return op.reduce_sum(g[0] * _spread(op, x, axes, epsilon)[0], axis=axes)
    return op.reduce_sum(g * (x - _channel(op, mean, x)), axis=axes) / op.sqrt(variance + epsilon)


def _batch_mean(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float,
                training_mode: bool, momentum: float) -> Any:
    if training_mode:
        return momentum * g[1]
    return -op.reduce_sum(g, axis=_but_channels(x)) * scale / op.sqrt(variance + epsilon)


def _batch_variance(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *,
                    epsilon: float, training_mode: bool, momentum: float) -> Any:
    if training_mode:
        return momentum * g[2]
    moved = op.reduce_sum(g * (x - _channel(op, mean, x)), axis=_but_channels(x))
    deviation = op.sqrt(variance + epsilon)
    return -0.5 * moved * scale / (deviation * deviation * deviation)


def _trailing(x: Any, axis: int) -> list[int]:
    return list(range(axis % x.ndim, x.ndim))


def _trailing_type(x: ArrayType, scale: ArrayType, bias: ArrayType | None = None, *, axis: int,
                   epsilon: float) -> ArrayType:
    need_float("x", x)
    rank = len(x.shape)
    if not rank or not -rank <= axis < rank:
        raise ShapeError(f"needs an axis from {-rank} to {rank - 1} of x {show(x.shape)}, not {axis}")
    for name, y in (("scale", scale), ("bias", bias)):
        if y is not None:
            need_float(name, y)
            if broadcast_shapes(y.shape, x.shape[axis % rank :]) != x.shape[axis % rank :]:
                raise ShapeError(f"cannot broadcast {name} {show(y.shape)} to the axes that are normalised, "
                                 f"{show(x.shape[axis % rank :])}")
    return ArrayType(x.shape, promote(*(y.dtype for y in (x, scale, bias) if y is not None)))


def _layer(xp: Any, x: Any, scale: Any, bias: Any = None, *, axis: int, epsilon: float) -> Any:
    y = _standardised(xp, x, tuple(_trailing(x, axis)), epsilon) * scale
    return y if bias is None else y + bias


def _rms_inverse(op: Any, x: Any, axes: list[int], epsilon: float) -> Any:
    return 1 / op.sqrt(op.reduce_mean(op.square(x), axis=axes, keepdims=True) + epsilon)


def _rms(xp: Any, x: Any, scale: Any, *, axis: int, epsilon: float) -> Any:
    axes = tuple(_trailing(x, axis))
    size = math.prod(x.shape[a] for a in axes)
    return x / xp.sqrt(total(xp, x * x, axis=axes, keepdims=True) / size + epsilon) * scale


def _rms_x(op: Any, g: Any, out: Any, x: Any, scale: Any, *, axis: int, epsilon: float) -> Any:
    axes = _trailing(x, axis)
    inverse, g = _rms_inverse(op, x, axes, epsilon), g * scale
    standard = x * inverse
    return inverse * (g - standard * op.reduce_mean(g * standard, axis=axes, keepdims=True))


def _group_type(x: ArrayType, scale: ArrayType, bias: ArrayType, *, num_groups: int, epsilon: float) -> ArrayType:
    _need_channels(x, scale=scale, bias=bias)
    if divide(x.shape[1], num_groups) is None or not isinstance(count(x.shape[1:]), int):
        raise ShapeError(f"needs channels of known size that {num_groups} groups divide evenly; x is {show(x.shape)}")
    return ArrayType(x.shape, promote(x.dtype, scale.dtype, bias.dtype))


def _grouped(op: Any, x: Any, num_groups: int) -> Any:
    return op.reshape(x, shape=[-1, num_groups, math.prod(x.shape[1:]) // num_groups])


def _group(xp: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    groups = _grouped(_Arrays(xp), x, num_groups)
    shape = _channel_shape(x)
    standard = xp.reshape(_standardised(xp, groups, (2,), epsilon), x.shape)
    return standard * xp.reshape(scale, shape) + xp.reshape(bias, shape)


def _group_x(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    g = _grouped(op, g * _channel(op, scale, x), num_groups)
    return op.reshape_like(_standardised_backward(op, g, _grouped(op, x, num_groups), [2], epsilon), x)


def _group_scale(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    standard = op.reshape_like(_spread(op, _grouped(op, x, num_groups), [2], epsilon)[0], x)
    return op.reduce_sum(g * standard, axis=_but_channels(x))


def _instance_type(x: ArrayType, scale: ArrayType, bias: ArrayType, *, epsilon: float) -> ArrayType:
    _need_channels(x, scale=scale, bias=bias)
    _need_images("x", x)
    return ArrayType(x.shape, promote(x.dtype, scale.dtype, bias.dtype))


def _instance(xp: Any, x: Any, scale: Any, bias: Any, *, epsilon: float) -> Any:
    shape = _channel_shape(x)
    return _standardised(xp, x, tuple(_spatial(x)), epsilon) * xp.reshape(scale, shape) + xp.reshape(bias, shape)


# Dropout --------------------------------------------------------------------------------------------------------------

def _dropped_type(x: ArrayType, seed: ArrayType, *, ratio: float) -> ArrayType:
    need_float("x", x)
    if seed.shape or "int" not in seed.dtype:
        raise ShapeError(f"needs one integer as seed; it is {seed.dtype} {show(seed.shape)}")
    return x


def _hashed(xp: Any, x: Any) -> Any:
    """The finaliser of MurmurHash3 on 32 bits: every bit of the input changes half of the output's."""
    low = 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (((x ^ (x >> shift)) & low) * factor) & low
    return x ^ (x >> 16)


def _dropout(xp: Any, x: Any, seed: Any, *, ratio: float) -> Any:
    """An element stays or goes by a hash of the seed and its position: the same everywhere, and again in a gradient."""
    place = xp.arange(math.prod(x.shape), dtype=xp.int64)
    start = _hashed(xp, xp.reshape(xp.asarray(seed, dtype=xp.int64), (1,)) & 0xFFFFFFFF)
    number = _hashed(xp, (_hashed(xp, place & 0xFFFFFFFF) + start) & 0xFFFFFFFF)
    stays = xp.reshape(number >= int(ratio * 2**32), x.shape)
    return xp.where(stays, x / (1 - ratio), xp.zeros((), dtype=x.dtype))


# Attention ------------------------------------------------------------------------------------------------------------

def _attention_type(q: ArrayType, k: ArrayType, v: ArrayType, mask: ArrayType | None = None, *, scale: float | None,
                    causal: bool) -> ArrayType:
    for name, x in (("q", q), ("k", k), ("v", v)):
        need_float(name, x)
        if len(x.shape) < 2:
            raise ShapeError(f"needs two dimensions or more; {name} is {show(x.shape)}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"needs q (…, queries, size), k (…, keys, size) and v (…, keys, values); they are "
                         f"{show(q.shape)}, {show(k.shape)} and {show(v.shape)}")
    batch = broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        need_bool("mask", mask)
        scores = (*batch, q.shape[-2], k.shape[-2])
        if broadcast_shapes(mask.shape, scores) != scores:
            raise ShapeError(f"cannot broadcast mask {show(mask.shape)} to the scores {show(scores)}")
    if not isinstance(q.shape[-1], int) and scale is None:
        raise ShapeError(f"needs a 'scale' where the size of a key is not known; q is {show(q.shape)}")
    return ArrayType((*batch, q.shape[-2], v.shape[-1]), promote(q.dtype, k.dtype, v.dtype))


def _factor(q: Any, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _weights(xp: Any, q: Any, k: Any, mask: Any, scale: float | None, causal: bool) -> Any:
    """How much of every key a query takes; nothing of any where it sees none."""
    scores = _factor(q, scale) * xp.matmul(q, xp.matrix_transpose(k))
    seen = mask
    if causal:
        below = xp.reshape(xp.arange(q.shape[-2]), (-1, 1)) >= xp.reshape(xp.arange(k.shape[-2]), (1, -1))
        seen = below if seen is None else seen & below
    if not scores.shape[-1]:
        return scores
    if seen is not None:
        scores = xp.where(seen, scores, xp.asarray(-math.inf, dtype=scores.dtype))
    largest = xp.max(scores, axis=-1, keepdims=True)
    e = xp.exp(scores - xp.where(xp.isinf(largest), 0.0, largest))
    summed = xp.sum(e, axis=-1, keepdims=True)
    return e / xp.where(summed == 0, 1.0, summed)


def _attention(xp: Any, q: Any, k: Any, v: Any, mask: Any = None, *, scale: float | None, causal: bool) -> Any:
    return xp.matmul(_weights(xp, q, k, mask, scale, causal), v)


def _scores_backward(op: Any, g: Any, q: Any, k: Any, v: Any, *mask: Any, scale: float | None,
                     causal: bool) -> tuple[Any, Any]:
    """The weights, and the gradient on the scaled scores."""
    weights = op.attention_weights(q, k, *mask, scale=scale, causal=causal)
    g_weights = op.matmul(g, op.matrix_transpose(v))
    return weights, _softmax_backward(op, g_weights, weights)


def _softmax_backward(op: Any, g: Any, weights: Any) -> Any:
    return weights * (g - op.reduce_sum(g * weights, axis=-1, keepdims=True))


def _weights_type(q: ArrayType, k: ArrayType, mask: ArrayType | None = None, **scores: Any) -> ArrayType:
    shape = _attention_type(q, k, k, mask, **scores).shape
    return ArrayType((*shape[:-1], k.shape[-2]), promote(q.dtype, k.dtype))


NEURAL = {
    "unfold": Gate("windows of x", "The windows that slide over images: (batch, channels, window, positions).",
                   ("x",), _unfolded, attributes=Filled, symbol="unfold",
                   forward=_unfold,
                   backward=(lambda op, g, out, x, *, fill, **window: op.fold(g, x, **window),)),
    "fold": Gate("Σ windows", "Windows added up where they stood over images in the shape of another operand.",
                 ("x", "like"), _folded, attributes=Window, symbol="fold",
                 forward=_fold,
                 backward=(lambda op, g, out, x, like, **window: op.unfold(g, **window), None)),
    "conv": Gate("x ⋆ w + b", "The convolution of neural networks, of 1 to 3 dimensions or more; b may be left "
                              "out.",
                 ("x", "w", "b"), _conv_type, optional=1, attributes=Groups, symbol="conv", reads=Reads.INPUTS,
                 forward=_conv,
                 backward=(_conv_x, _conv_w, _bias)),
    "conv_transpose": Gate("x ⋆ᵀ w + b", "The adjoint of a convolution, which spreads every element over a window; b "
                                         "may be left out.",
                           ("x", "w", "b"), _conv_transpose_type, optional=1, attributes=Transposed, symbol="convᵀ",
                           reads=Reads.INPUTS,
                           forward=_conv_transpose,
                           backward=(_conv_transpose_x, _conv_transpose_w, _bias)),
    "max_pool": Gate("max of windows", "The largest in every window; the first of several takes the gradient.",
                     ("x",), _pooled, attributes=Window, symbol="max", reads=Reads.INPUTS,
                     forward=lambda xp, x, **window: xp.max(_unfold(xp, x, fill="lowest", **window),
                                                            axis=tuple(_in_window(x.ndim - 2))),
                     backward=(_max_pool_backward,)),
    "average_pool": Gate("mean of windows", "The mean of every window.",
                         ("x",), _pooled, attributes=Averaged, symbol="mean",
                         forward=_average_pool,
                         backward=(_average_pool_backward,)),
    "global_max_pool": Gate("max of a channel", "The largest in every channel; the first of several has the gradient.",
                            ("x",), _global, symbol="max", reads=Reads.INPUTS,
                            forward=lambda xp, x: xp.max(x, axis=tuple(_spatial(x)), keepdims=True),
                            backward=(lambda op, g, out, x: op.where(
                                op.is_first_max(x, axis=_spatial(x)), op.expand_like(g, x), 0.0),)),
    "global_average_pool": Gate("mean of a channel", "The mean of every channel.",
                                ("x",), _global, symbol="mean",
                                forward=lambda xp, x: total(xp, x, axis=tuple(_spatial(x)), keepdims=True)
                                / math.prod(x.shape[2:]),
                                backward=(lambda op, g, out, x: op.expand_like(
                                    g / op.size(x, axis=_spatial(x)), x),)),
    "batch_normalization": Gate(
        "scale (x - mean) / √(variance + epsilon) + bias",
        "Every channel standardised by a mean and a variance: those given or, in training mode, the batch's own.",
        ("x", "scale", "bias", "mean", "variance"), _batch_type, attributes=Training, symbol="norm",
        outputs=lambda *, training_mode, **_: ("y", "mean", "variance") if training_mode else (),
        reads=Reads.INPUTS,
        forward=_batch,
        backward=(_batch_x, _batch_scale,
                  lambda op, g, out, x, *_, training_mode, **__: op.reduce_sum(
                      _batch_g(g, training_mode), axis=_but_channels(x)),
                  _batch_mean, _batch_variance)),
    "layer_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "The last axes of x standardised together; bias may be left out.",
        ("x", "scale", "bias"), _trailing_type, optional=1, attributes=Trailing, symbol="norm", broadcasts=True,
        reads=Reads.INPUTS,
        forward=_layer,
        backward=(lambda op, g, out, x, scale, *_, axis, epsilon: _standardised_backward(
                      op, g * scale, x, _trailing(x, axis), epsilon),
                  lambda op, g, out, x, *_, axis, epsilon: g * _spread(op, x, _trailing(x, axis), epsilon)[0],
                  lambda op, g, out, *_, **__: g)),
    "rms_normalization": Gate(
        "scale x / √(mean x² + epsilon)", "The last axes of x divided by their root mean square.",
        ("x", "scale"), _trailing_type, attributes=Trailing, symbol="norm", broadcasts=True, reads=Reads.INPUTS,
        forward=_rms,
        backward=(_rms_x,
                  lambda op, g, out, x, scale, *, axis, epsilon:
                  g * x * _rms_inverse(op, x, _trailing(x, axis), epsilon))),
    "group_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "Groups of channels standardised together, each channel scaled.",
        ("x", "scale", "bias"), _group_type, attributes=Grouped, symbol="norm", reads=Reads.INPUTS,
        forward=_group,
        backward=(_group_x, _group_scale,
                  lambda op, g, out, x, *_, **__: op.reduce_sum(g, axis=_but_channels(x)))),
    "instance_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "Every channel of every image standardised by itself.",
        ("x", "scale", "bias"), _instance_type, attributes=Epsilon, symbol="norm", reads=Reads.INPUTS,
        forward=_instance,
        backward=(lambda op, g, out, x, scale, bias, *, epsilon: _standardised_backward(
                      op, g * _channel(op, scale, x), x, _spatial(x), epsilon),
                  lambda op, g, out, x, scale, bias, *, epsilon: op.reduce_sum(
                      g * _spread(op, x, _spatial(x), epsilon)[0], axis=_but_channels(x)),
                  lambda op, g, out, x, *_, **__: op.reduce_sum(g, axis=_but_channels(x)))),
    "dropout": Gate("x / (1 - ratio) or 0", "Elements dropped at random, by a seed: the same ones for the same seed.",
                    ("x", "seed"), _dropped_type, attributes=Ratio, symbol="drop", reads=Reads.INPUTS,
                    forward=_dropout,
                    backward=(lambda op, g, out, x, seed, *, ratio: op.dropout(g, seed, ratio=ratio), None)),
    "attention": Gate("softmax(scale q kᵀ) v", "Scaled dot-product attention; a mask of what is seen may be left out. "
                                               "A query that sees nothing gives 0.",
                      ("q", "k", "v", "mask"), _attention_type, optional=1, attributes=Scores, symbol="attend",
                      broadcasts=True, reads=Reads.INPUTS,
                      forward=_attention,
                      backward=(lambda op, g, out, q, k, v, *mask, scale, causal: _factor(q, scale) * op.matmul(
                                    _scores_backward(op, g, q, k, v, *mask, scale=scale, causal=causal)[1], k),
                                lambda op, g, out, q, k, v, *mask, scale, causal: _factor(q, scale) * op.matmul(
                                    op.matrix_transpose(_scores_backward(
                                        op, g, q, k, v, *mask, scale=scale, causal=causal)[1]), q),
                                lambda op, g, out, q, k, v, *mask, scale, causal: op.matmul(op.matrix_transpose(
                                    op.attention_weights(q, k, *mask, scale=scale, causal=causal)), g),
                                None)),
    "attention_weights": Gate("softmax(scale q kᵀ)", "How much of every key a query takes; a mask may be left out.",
                              ("q", "k", "mask"), _weights_type, optional=1, attributes=Scores, symbol="attend",
                              broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                              forward=lambda xp, q, k, mask=None, *, scale, causal:
                                  _weights(xp, q, k, mask, scale, causal),
                              backward=(lambda op, g, out, q, k, *mask, scale, causal:
                                        _factor(q, scale) * op.matmul(_softmax_backward(op, g, out), k),
                                        lambda op, g, out, q, k, *mask, scale, causal:
                                        _factor(q, scale) * op.matmul(
                                            op.matrix_transpose(_softmax_backward(op, g, out)), q),
                                        None)),
}
