"""Windows over images: convolutions and pools. Images stand as (batch, channels, …); windows go over what follows.

Everything that slides a window is made of `unfold`, which lays the windows side by side, and of its adjoint `fold`,
which adds them up again.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.gates.parts import with_margins
from circuitflow.gates.products import matmul_kept
from circuitflow.gates.record import Attributes, Facets, Gate, Length, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, Dimension, ShapeError, need_float, need_shape, promote, show
from circuitflow.gates.sliding import convolution
from circuitflow.gates.special import Namespace, own_products
from circuitflow.gates.sums import product, wider_for

_Positive = Annotated[int, Field(ge=1)]
_Pair = Annotated[list[Length], Field(min_length=2, max_length=2)]


class Steps(Attributes):
    strides: list[_Positive] | None = Field(
        None, description="for every axis, how far apart windows stand; 1 by default")
    pads: list[_Pair] | None = Field(
        None, description="for every axis, how many zeros before and after; none by default")
    dilations: list[_Positive] | None = Field(
        None, description="for every axis, how far apart the elements of a window stand; 1 by default")


class Window(Steps):
    kernel_shape: list[_Positive] = Field(min_length=1, description="size of the window along every axis")


class FilledWindow(Window):
    fill: Literal["zero", "lowest"] = Field(
        "zero", description="what stands around x where there are pads: 0, or -infinity")


class Groups(Steps):
    group: _Positive = Field(1, description="how many groups the channels are divided into")


class Transposition(Groups):
    output_padding: list[Length] | None = Field(
        None, description="for every axis, how much longer the result is; 0 by default")


# Windows --------------------------------------------------------------------------------------------------------------

class Frame:
    """The geometry of a window over the spatial axes of a shape."""

    def __init__(self, spatial: Sequence[Dimension], kernel_shape: Sequence[int], strides: list[int] | None,
                 pads: list[list[int]] | None, dilations: list[int] | None) -> None:
        rank = len(spatial)
        for name, values in (("kernel_shape", kernel_shape), ("strides", strides), ("pads", pads),
                             ("dilations", dilations)):
            if values is not None and len(values) != rank:
                raise ShapeError(f"needs {rank} in '{name}', one for every axis behind the first two; it has "
                                 f"{len(values)}")
        if not rank or not all(isinstance(size, int) for size in spatial):
            raise ShapeError(f"needs axes of known size behind the first two, not {show(spatial)}")
        self.kernel = list(kernel_shape)
        self.strides, self.dilations = strides or [1] * rank, dilations or [1] * rank
        self.pads = pads or [[0, 0]] * rank
        self.sizes = [size for size in spatial if isinstance(size, int)]
        extents = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        spans = [before + size + after for size, (before, after) in zip(self.sizes, self.pads, strict=True)]
        if any(extent > size for extent, size in zip(extents, spans, strict=True)):
            raise ShapeError(f"needs a window no larger than what it moves over: it is {show(extents)}, over "
                             f"{show(spans)}")
        self.windows = [(size - extent) // stride + 1
                        for size, extent, stride in zip(spans, extents, self.strides, strict=True)]

    def empty_window(self) -> str | None:
        """A window none of whose elements stands over x, in words; None where there is none.

        A window is empty where it is empty along one axis. One that begins before x meets it at the first element
        that is not before x, if it has so many: the earlier the window, the more it needs. Where x is longer than the
        elements are apart that element is in x; else its position repeats as windows move on.
        """
        for axis, (size, (before, _), k, s, d, n) in enumerate(zip(
                self.sizes, self.pads, self.kernel, self.strides, self.dilations, self.windows, strict=True), 2):
            ahead = min(n, -(-before // s), d // math.gcd(s, d))
            empty = next((w for w in range(ahead) if -(-(before - w * s) // d) >= k or (w * s - before) % d >= size),
                         -(-(size + before) // s))
            if empty < n:
                start = empty * s - before
                return (f"window {empty} along axis {axis} has positions {start} to {start + d * (k - 1)} in steps of "
                        f"{d}, none of which is in 0 to {size - 1}")
        return None

    def places(self) -> Iterator[tuple[slice, ...]]:
        """For every element of the window, where it stands over the padded axes as the window moves."""
        for place in itertools.product(*map(range, self.kernel)):
            starts = [p * d for p, d in zip(place, self.dilations, strict=True)]
            yield tuple(slice(start, start + stride * (n - 1) + 1, stride)
                        for start, stride, n in zip(starts, self.strides, self.windows, strict=True))


def frame_of(spatial: Sequence[int], kernel_shape: Sequence[int], *, strides: Sequence[int] | None,
             pads: Sequence[Sequence[int]] | None, dilations: Sequence[int] | None) -> Frame:
    """The frame over arrays, made once for a geometry, since that takes as long as a small convolution.

    It is shared: nothing may write into it.
    """
    return _frame(tuple(spatial), tuple(kernel_shape), strides and tuple(strides), pads and tuple(map(tuple, pads)),
                  dilations and tuple(dilations))


@functools.lru_cache(1024)
def _frame(spatial: tuple[int, ...], kernel_shape: tuple[int, ...], strides: tuple[int, ...] | None,
           pads: tuple[tuple[int, ...], ...] | None, dilations: tuple[int, ...] | None) -> Frame:
    return Frame(spatial, kernel_shape, strides and list(strides), pads and [list(pair) for pair in pads],
                 dilations and list(dilations))


def need_images(name: str, x: ArrayType) -> None:
    """Refuse an operand that is no batch of images."""
    need_float(name, x)
    if len(x.shape) < 3:
        raise ShapeError(f"needs batch, channels and at least one more axis; {name} is {show(x.shape)}")


def _unfold_type(x: ArrayType, *, fill: str = "zero", **window: Any) -> ArrayType:
    need_images("x", x)
    frame = Frame(x.shape[2:], **window)
    return ArrayType((*x.shape[:2], *frame.kernel, *frame.windows), x.dtype)


def unfold(xp: Any, x: Any, *, fill: str = "zero", **window: Any) -> Any:
    """The windows over images, as the gate `unfold`."""
    frame = frame_of(x.shape[2:], **window)
    x = with_margins(xp, x, [(0, 0), (0, 0), *frame.pads], 0.0 if fill == "zero" else -math.inf)
    if math.prod(frame.kernel) > MANY and math.prod(frame.windows) < FEW:
        row = xp.reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))
        parts = xp.take(row, xp.reshape(_positions(xp, frame), (-1,)), axis=2)
    else:
        parts = xp.stack([x[(slice(None), slice(None), *place)] for place in frame.places()], axis=2)
    return xp.reshape(parts, (*x.shape[:2], *frame.kernel, *frame.windows))


MANY, FEW = 32, 1024
"""A large window that stands at few places is taken by index, since a slice for each of its elements takes long."""


def _positions(xp: Any, frame: Frame) -> Any:
    """The position of every element of every window in the row of the padded axes: (window, positions)."""
    rank = len(frame.kernel)
    total: Any = None
    for axis, (size, (before, after), k, s, d, n) in enumerate(zip(
            frame.sizes, frame.pads, frame.kernel, frame.strides, frame.dilations, frame.windows, strict=True)):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = k, n
        own = xp.reshape(xp.expand_dims(d * xp.arange(k, dtype=xp.int64), axis=1) + s * xp.arange(n, dtype=xp.int64),
                         tuple(shape))
        total = own if total is None else total * (before + size + after) + own
    return total


def _fold_type(x: ArrayType, like: ArrayType, **window: Any) -> ArrayType:
    need_shape("x", x, _unfold_type(like, **window).shape, f"the windows over like {show(like.shape)}")
    return ArrayType(like.shape, x.dtype)


def _fold_to(xp: Any, x: Any, frame: Frame) -> Any:
    if isinstance(xp, Namespace) and hasattr(xp, "fold"):
        return xp.fold(x, frame)
    rank = len(frame.kernel)
    shape = (*x.shape[:2], *(before + size + after for size, (before, after) in
                             zip(frame.sizes, frame.pads, strict=True)))
    parts = xp.reshape(x, (*x.shape[:2], math.prod(frame.kernel), *frame.windows))
    out = xp.zeros(shape, dtype=wider_for(xp, x.dtype, math.prod(frame.kernel)))
    for i, place in enumerate(frame.places()):
        at = (slice(None), slice(None), *place)
        if hasattr(out, "at"):  # JAX, whose arrays cannot be written
            out = out.at[at].add(parts[:, :, i, ...])
        else:
            out[at] += parts[:, :, i, ...]
    inner = tuple(slice(before, before + size) for size, (before, _) in zip(frame.sizes, frame.pads, strict=True))
    return xp.asarray(out[(slice(None), slice(None), *inner[:rank])], dtype=x.dtype)


# Convolutions ---------------------------------------------------------------------------------------------------------

def _conv_type(x: ArrayType, w: ArrayType, b: ArrayType | None = None, *, group: int, **steps: Any) -> ArrayType:
    kernel = _sizes_of_kernels(x, w)
    if x.shape[1] != kernel[1] * group or kernel[0] % group:
        raise ShapeError(f"needs kernels w (out channels, in channels / group, …) with in channels {x.shape[1]} and "
                         f"group {group}; w is {show(w.shape)}")
    need_one_a_channel("b", b, kernel[0])
    frame = Frame(x.shape[2:], kernel[2:], **steps)
    return ArrayType((x.shape[0], kernel[0], *frame.windows), promote(x.dtype, w.dtype))


def _sizes_of_kernels(x: ArrayType, w: ArrayType) -> list[int]:
    need_images("x", x)
    need_float("w", w)
    if len(w.shape) != len(x.shape):
        raise ShapeError(f"needs kernels w with as many axes as x {show(x.shape)} has; w is {show(w.shape)}")
    sizes = [size for size in w.shape if isinstance(size, int)]
    if len(sizes) < len(w.shape):
        raise ShapeError(f"needs kernels of known size; w is {show(w.shape)}")
    return sizes


def need_one_a_channel(name: str, y: ArrayType | None, channels: Dimension, of: str = "") -> None:
    """Refuse an operand that is there and is not a number for every channel; `of` says what the channels are of."""
    if y is not None:
        need_float(name, y)
        need_shape(name, y, (channels,), f"one for every channel{of}")


def _columns(op: Any, x: Any, w: Any, group: int, like: Any = None, **steps: Any) -> Any:
    """The windows over x: (batch, group, channels of a group · elements of a window, windows).

    Where `like` has positions for windows, there are as many along each axis as it has.
    """
    windows = op.unfold(x, kernel_shape=list(w.shape[2:]), **steps)
    for axis, size in () if like is None else enumerate(like.shape[2:], x.ndim):
        if windows.shape[axis] != size:
            windows = op.slice(windows, axis=axis, start=0, stop=size)
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
        """The windows, without a copy where each has one element."""
        frame = frame_of(x.shape[2:], **window)
        if math.prod(frame.kernel) > 1 or any(map(any, frame.pads)):
            return unfold(self.xp, x, **window)
        (place,) = frame.places()
        part = x if frame.windows == frame.sizes else x[(slice(None), slice(None), *place)]
        return self.xp.reshape(part, (*x.shape[:2], *frame.kernel, *frame.windows))

    def reshape(self, x: Any, *, shape: list[int]) -> Any:
        if -1 in shape and 0 in x.shape:  # nothing to divide by
            shape = [x.shape[0] if size == -1 else size for size in shape]
        return self.xp.reshape(x, tuple(shape))


def _conv(xp: Any, x: Any, w: Any, b: Any = None, *, group: int, **steps: Any) -> Any:
    out = _sums(xp, x, w, group, **steps)
    return out if b is None else _with_bias(xp, out, b)


def _with_bias(xp: Any, out: Any, b: Any) -> Any:
    """Images that nothing else refers to, with a number added to every channel: in their memory where that serves."""
    b = xp.reshape(b, (-1,) + (1,) * (out.ndim - 2))
    is_room = type(out).__module__ == "numpy" and out.flags.c_contiguous and out.dtype == b.dtype
    return xp.add(out, b, out=out) if is_room else out + b


def _sums(xp: Any, x: Any, w: Any, group: int, **steps: Any) -> Any:
    """The convolution: where windows have several elements, in a way of the library's own if there is one."""
    frame, own = frame_of(x.shape[2:], w.shape[2:], **steps), own_products(xp)
    if math.prod(frame.kernel) > 1 or any(map(any, frame.pads)):
        out = own.convolution(x, w, frame, group) if own else None
        if out is not None:
            return out
        if type(x).__module__ == "numpy" and x.size and w.size:
            return convolution(xp, x, w, frame, group)
    elif frame.windows == frame.sizes and group == 1:  # the images are the windows
        sums = product(xp, xp.reshape(w, w.shape[:2]), xp.reshape(x, (*x.shape[:2], math.prod(frame.sizes))))
        return xp.reshape(sums, (x.shape[0], w.shape[0], *frame.windows))
    sums = product(xp, _kernels(_Arrays(xp), w, group), _columns(_Arrays(xp), x, w, group, **steps))
    return xp.reshape(sums, (x.shape[0], w.shape[0], *frame.windows))


def _conv_x(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, **steps: Any) -> Any:
    """The adjoint; what no window reaches at the end is the output padding, less than a stride."""
    frame = Frame(x.shape[2:], w.shape[2:], **steps)
    rest = [(before + size + after - d * (k - 1) - 1) % s for size, (before, after), k, s, d in zip(
        frame.sizes, frame.pads, frame.kernel, frame.strides, frame.dilations, strict=True)]
    return op.conv_transpose(g, w, group=group, output_padding=rest if any(rest) else None, **steps)


def _conv_w(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, **steps: Any) -> Any:
    columns = op.matrix_transpose(_columns(op, x, w, group, **steps))
    return op.reshape_like(op.reduce_sum(op.matmul(_by_group(op, g, group), columns), axis=0), w)


def sum_to_channels(op: Any, g: Any, out: Any, *_: Any, **__: Any) -> Any:
    """The gradient on one number for every channel that was added to images."""
    return op.reduce_sum(g, axis=[0, *range(2, g.ndim)])


def transposed_frame(spatial: Sequence[Dimension], kernel: Sequence[int], strides: list[int] | None,
                      pads: list[list[int]] | None, dilations: list[int] | None,
                      output_padding: list[int] | None) -> Frame:
    """The frame over the result, whose windows are the positions of the operand.

    Where the result is longer by a stride or more, there would be room for windows that are no position of it.
    """
    rank = len(kernel)
    if len(spatial) != rank or not all(isinstance(size, int) for size in spatial):
        raise ShapeError(f"needs axes of known size behind the first two, not {show(spatial)}")
    if output_padding is not None and len(output_padding) != rank:
        raise ShapeError(f"needs {rank} in 'output_padding', one for every axis behind the first two; it has "
                         f"{len(output_padding)}")
    sizes: list[Dimension] = []
    for size, k, s, (before, after), d, more in zip(spatial, kernel, strides or [1] * rank, pads or [[0, 0]] * rank,
                                                    dilations or [1] * rank, output_padding or [0] * rank,
                                                    strict=False):
        if more >= max(s, d):
            raise ShapeError(f"needs an output_padding below the stride {s} or the dilation {d}, not {more}")
        sizes.append((size - 1) * s + d * (k - 1) + 1 - before - after + more)
    if any(isinstance(size, int) and size < 0 for size in sizes):
        raise ShapeError(f"needs pads no larger than the result; it would be {show(sizes)}")
    frame = Frame(sizes, kernel, strides, pads, dilations)
    frame.windows = [size for size in spatial if isinstance(size, int)]
    return frame


def _conv_transpose_type(x: ArrayType, w: ArrayType, b: ArrayType | None = None, *, group: int,
                         **steps: Any) -> ArrayType:
    kernel = _sizes_of_kernels(x, w)
    if x.shape[1] != kernel[0] or kernel[0] % group:
        raise ShapeError(f"needs kernels w (in channels, out channels / group, …) with in channels {x.shape[1]} and "
                         f"group {group}; w is {show(w.shape)}")
    need_one_a_channel("b", b, kernel[1] * group)
    frame = transposed_frame(x.shape[2:], kernel[2:], **steps)
    return ArrayType((x.shape[0], kernel[1] * group, *frame.sizes), promote(x.dtype, w.dtype))


def _conv_transpose(xp: Any, x: Any, w: Any, b: Any = None, *, group: int, **steps: Any) -> Any:
    frame, op = transposed_frame(x.shape[2:], w.shape[2:], **steps), _Arrays(xp)
    columns = product(xp, xp.matrix_transpose(_kernels(op, w, group)), _by_group(op, x, group))
    channels = w.shape[1] * group
    windows = xp.reshape(columns, (x.shape[0], channels, *frame.kernel, *frame.windows))
    out = _fold_to(xp, windows, frame)
    return out if b is None else out + xp.reshape(b, (-1,) + (1,) * (x.ndim - 2))


def _conv_transpose_x(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, output_padding: Any,
                      **steps: Any) -> Any:
    return op.reshape_like(op.matmul(_kernels(op, w, group), _columns(op, g, w, group, x, **steps)), x)


def _conv_transpose_w(op: Any, g: Any, out: Any, x: Any, w: Any, *_: Any, group: int, output_padding: Any,
                      **steps: Any) -> Any:
    columns = op.matrix_transpose(_columns(op, g, w, group, x, **steps))
    return op.reshape_like(op.reduce_sum(op.matmul(_by_group(op, x, group), columns), axis=0), w)


def _conv_transpose_kept(op: Any, _: int, x: Any, w: Any, *b: Any, group: int = 1, output_padding: Any = None,
                         **steps: Any) -> Any:
    """As the forward rule, in which 0 times an infinity or NaN is 0: only the product of matrices multiplies."""
    steps = {"strides": None, "pads": None, "dilations": None, **steps}
    frame, rank = transposed_frame(x.shape[2:], w.shape[2:], output_padding=output_padding, **steps), x.ndim - 2
    columns = matmul_kept(op, op.matrix_transpose(_kernels(op, w, group)), _by_group(op, x, group))
    channels = w.shape[1] * group
    windows = op.reshape(columns, shape=[-1, channels, *frame.kernel, *frame.windows])
    more = [have - n for have, n in zip(Frame(frame.sizes, frame.kernel, **steps).windows, frame.windows, strict=True)]
    if any(more):  # windows over the output padding
        windows = op.pad(windows, pad_width=[[0, 0]] * (2 + rank) + [[0, n] for n in more])
    like = op.tile(op.reduce_sum(x, axis=list(range(1, x.ndim)), keepdims=True),
                   repeats=[1, channels, *frame.sizes])  # of which only the shape is read
    out = op.fold(windows, like, kernel_shape=frame.kernel, **steps)
    return out + op.reshape(b[0], shape=[-1, *[1] * rank]) if b else out


def spatial(x: Any) -> list[int]:
    """The axes behind batch and channels."""
    return list(range(2, x.ndim))


CONVOLUTION = family({
    "unfold": Gate("windows of x", "The windows that slide over images: (batch, channels, window, positions).",
                   ("x",), _unfold_type, attributes=FilledWindow, symbol="unfold",
                   forward=unfold,
                   backward=(lambda op, g, out, x, *, fill, **window: op.fold(g, x, **window),)),
    "fold": Gate("Σ windows", "Windows added up where they stood over images in the shape of another operand.",
                 ("x", "like"), _fold_type, attributes=Window, symbol="fold",
                 forward=lambda xp, x, like, **window: _fold_to(xp, x, Frame(like.shape[2:], **window)),
                 backward=(lambda op, g, out, x, like, **window: op.unfold(g, **window), None)),
    "conv": Gate("x ⋆ w + b", "The convolution of neural networks, of 1 to 3 dimensions or more; b may be left "
                              "out.",
                 ("x", "w", "b"), _conv_type, optional=1, attributes=Groups, symbol="conv", reads=Reads.INPUTS,
                 forward=_conv,
                 backward=(_conv_x, _conv_w, sum_to_channels)).stating(Facets(at_once=True)),
    "conv_transpose": Gate("x ⋆ᵀ w + b", "The adjoint of a convolution, which spreads every element over a window; b "
                                         "may be left out.",
                           ("x", "w", "b"), _conv_transpose_type, optional=1, attributes=Transposition, symbol="convᵀ",
                           reads=Reads.INPUTS,
                           forward=_conv_transpose,
                           backward=(_conv_transpose_x, _conv_transpose_w, sum_to_channels),
                           ).stating(Facets(product=_conv_transpose_kept)),
}, {
    "unfold": Note("{g} folded back to {x}", numpy="lib.stride_tricks.sliding_window_view",
                   also="im2col extract_patches as_windows", example={"kernel_shape": [2]}),
    "fold": Note("{g} unfolded to {x}", onnx="Col2Im", also="col2im", example={"kernel_shape": [1]}),
    "conv": Note("{g} ⋆ᵀ {w} to {x}, the windows of {x} times {g} to {w}, the sum of {g} to {b}",
                 onnx=Onnx("Conv", "strides pads dilations group", written="f"),
                 also="conv1d conv2d conv3d convolution convolve correlate cross_correlation depthwise_conv"),
    "conv_transpose": Note("{g} ⋆ {w} to {x}, the windows of {g} times {x} to {w}, the sum of {g} to {b}",
                           onnx=Onnx("ConvTranspose", "strides pads dilations group output_padding", written="f"),
                           also="conv_transpose1d conv_transpose2d conv_transpose3d conv1d_transpose "
                                "conv2d_transpose conv3d_transpose deconv deconvolution"),
})
