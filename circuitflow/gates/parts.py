"""Parts of arrays: joined, cut out, moved along an axis, repeated and surrounded by zeros."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from circuitflow.gates.record import AtLeast, Attributes, Axes, Facets, Gate, Length, Note, Onnx, family
from circuitflow.gates.shapes import (
    ArrayType,
    Dimension,
    Shape,
    ShapeError,
    axes_of,
    axis_of,
    count,
    divide,
    need_shape,
    promote,
    show,
    sum_of_sizes,
)


class JoinAxis(Attributes):
    axis: int = Field(0, description="the axis to join along")


class Part(Attributes):
    axis: int = Field(0, description="the axis to cut")
    start: int = Field(0, description="first position; negative ones count from the end")
    stop: int | None = Field(
        None, description="position after the last; negative ones count from the end; the end by default")
    step: int = Field(1, ge=1, description="distance between the positions that are taken")


class Sections(Attributes):
    axis: int = Field(0, description="the axis to cut")
    sections: Annotated[int, Field(ge=1, le=1000)] | Annotated[list[Length], Field(min_length=1)] = Field(
        description="how many equal parts, or the size of each")


class NewAxis(Attributes):
    axis: int = Field(0, description="position of the new axis in the result")


class Shift(Attributes):
    shift: int = Field(description="by how many places, towards the end of the axis")
    axis: int = Field(0, description="the axis to shift along")


class Repeats(Attributes):
    repeats: list[Annotated[int, Field(ge=1)]] = Field(description="for every axis, how often")


class Triangle(Attributes):
    upper: bool = Field(True, description="the upper triangle; the lower one otherwise")
    k: int = Field(0, description="the diagonal that bounds it: 0 the main one, above it positive")


class Cut(Attributes):
    axis: int = Field(1, description="the first axis of those that make the columns")


class Margins(Attributes):
    pad_width: list[Annotated[list[Length], Field(min_length=2, max_length=2)]] = Field(
        description="for every axis, how many zeros before and after")


def _concat_type(*types: ArrayType, axis: int) -> ArrayType:
    first = types[0].shape
    at = axis_of(axis, len(first))
    for i, x in enumerate(types[1:], 1):
        if len(x.shape) != len(first) or (*x.shape[:at], *x.shape[at + 1 :]) != (*first[:at], *first[at + 1 :]):
            raise ShapeError(f"needs equal shapes but along axis {axis}: operand 0 is {show(first)}, "
                             f"operand {i} is {show(x.shape)}")
    size = sum_of_sizes(x.shape[at] for x in types)
    return ArrayType((*first[:at], size, *first[at + 1 :]), promote(*(x.dtype for x in types)))


_FEW = 8
"""So many operands and fewer tell where the parts of a concatenation are, each by those before it."""


def _concat_backward(op: Any, g: Any, out: Any, *xs: Any, axis: int) -> tuple[Any, ...]:
    """The part of each; where sizes before and after are not known, it is told by the operands."""
    sizes = [x.shape[axis] for x in xs]
    if len(xs) > _FEW and not all(isinstance(size, int) for size in sizes):  # or each would read all before it
        first, second = xs[: len(xs) // 2], xs[len(xs) // 2 :]
        before, after = op.concat(*first, axis=axis), op.concat(*second, axis=axis)
        return (*_concat_backward(op, op.slice_like(g, before, axis=axis), before, *first, axis=axis),
                *_concat_backward(op, op.slice_like(g, after, before, axis=axis), after, *second, axis=axis))
    starts = list(itertools.accumulate(sizes, initial=0))
    ends = list(itertools.accumulate(reversed(sizes), initial=0))
    gradients = []
    for i, x in enumerate(xs):
        before, after = starts[i], ends[len(xs) - 1 - i]
        if isinstance(before, int) and isinstance(after, int):
            gradients.append(op.slice(g, axis=axis, start=before, stop=-after or None))
        else:
            gradients.append(op.slice_like(g, x, *xs[:i], axis=axis))
    return tuple(gradients)


def _part_like_type(x: ArrayType, like: ArrayType, *before: ArrayType, axis: int) -> ArrayType:
    at = axis_of(axis, len(x.shape))
    for y in (like, *before):
        if len(y.shape) != len(x.shape) or (
                *y.shape[:at], *y.shape[at + 1 :]) != (*x.shape[:at], *x.shape[at + 1 :]):
            raise ShapeError(f"needs equal shapes but along axis {axis}: {show(y.shape)} and {show(x.shape)}")
    return ArrayType(like.shape, x.dtype)


def _slice_like(xp: Any, x: Any, like: Any, *before: Any, axis: int) -> Any:
    start = sum(y.shape[axis] for y in before)
    return _slice(xp, x, axis=axis, start=start, stop=start + like.shape[axis], step=1)


def _pad_like(xp: Any, x: Any, like: Any, *before: Any, axis: int) -> Any:
    start = sum(y.shape[axis] for y in before)
    widths = [[0, 0] for _ in range(x.ndim)]
    widths[axis] = [start, like.shape[axis] - start - x.shape[axis]]
    return with_margins(xp, x, widths)


def _split_type(x: ArrayType, *, axis: int, sections: int | list[int]) -> tuple[ArrayType, ...]:
    at = axis_of(axis, len(x.shape))
    size = x.shape[at]
    part = divide(size, sections) if isinstance(sections, int) else None
    sizes: Sequence[Dimension] = sections if isinstance(sections, list) else [] if part is None else [part] * sections
    if not sizes or (isinstance(sections, list) and sum(sections) != size):
        raise ShapeError(f"cannot split {size} along axis {axis} of x {show(x.shape)} into {sections}")
    return tuple(ArrayType((*x.shape[:at], size, *x.shape[at + 1 :]), x.dtype) for size in sizes)


def _split(xp: Any, x: Any, *, axis: int, sections: int | list[int]) -> tuple[Any, ...]:
    sizes = [x.shape[axis] // sections] * sections if isinstance(sections, int) else sections
    ends = list(itertools.accumulate(sizes))
    return tuple(_slice(xp, x, axis=axis, start=end - size, stop=end, step=1)
                 for size, end in zip(sizes, ends, strict=True))


def _stack_type(*types: ArrayType, axis: int) -> ArrayType:
    shape = types[0].shape
    for i, x in enumerate(types):
        if x.shape != shape:
            raise ShapeError(f"needs equal shapes: operand 0 is {show(shape)}, operand {i} is {show(x.shape)}")
    at = axis_of(axis, len(shape) + 1)
    return ArrayType((*shape[:at], len(types), *shape[at:]), promote(*(x.dtype for x in types)))


def _along(x: ArrayType, *, axis: int | list[int] | None, shift: int = 0) -> ArrayType:
    axes_of(axis, len(x.shape))
    return x


def _tile_type(x: ArrayType, *, repeats: list[int]) -> ArrayType:
    if len(repeats) != len(x.shape):
        raise ShapeError(f"needs a number for every axis of x {show(x.shape)}, {len(x.shape)} of them; 'repeats' has "
                         f"{len(repeats)}")
    return ArrayType(tuple(size * n for size, n in zip(x.shape, repeats, strict=True)), x.dtype)


def _tile_backward(op: Any, g: Any, out: Any, x: Any, *, repeats: list[int]) -> Any:
    """Every axis as (times, size), the times summed."""
    template = x
    for axis in range(0, 2 * x.ndim, 2):
        template = op.unsqueeze(template, axis=axis)
    template = op.expand(template, shape=[n for times in repeats for n in (times, 1)])
    return op.reduce_sum(op.reshape_like(g, template), axis=list(range(0, 2 * x.ndim, 2)))


def _trilu_type(x: ArrayType, *, upper: bool, k: int) -> ArrayType:
    if len(x.shape) < 2:
        raise ShapeError(f"needs two dimensions or more; x is {show(x.shape)}")
    return x


def _matrix_shape(shape: Shape, axis: int) -> Shape:
    """The sizes before an axis as one, and those from it on as another; it may also be the one past the last."""
    rank = len(shape)
    if not -rank <= axis <= rank:
        raise ShapeError(f"needs an axis from {-rank} to {rank}, not {axis}")
    at = axis % rank if axis < 0 else axis
    return count(shape[:at]), count(shape[at:])


def _ends(size: int, start: int, stop: int | None) -> tuple[int, int]:
    """The first position and that after the last, counted from the front."""
    return start + size * (start < 0), size if stop is None else stop + size * (stop < 0)


def _slice_type(x: ArrayType, *, axis: int, start: int, stop: int | None, step: int) -> ArrayType:
    at = axis_of(axis, len(x.shape))
    size = x.shape[at]
    if isinstance(size, int):
        first, last = _ends(size, start, stop)
        if not 0 <= first <= last <= size:
            raise ShapeError(f"needs 0 <= start <= stop <= {size} along axis {axis} of {show(x.shape)}; "
                             f"start is {start}, stop is {stop}")
        length: Dimension = -(-(last - first) // step)
    else:  # whether there are so many is seen when the size is known
        same_end = (start < 0) == (stop is None or stop < 0)
        length = (stop or 0) - start if same_end or start < 0 else size + ((stop or 0) - start)
        if step > 1 or (start < 0 and not same_end) or (isinstance(length, int) and length < 0):
            raise ShapeError(f"needs a known size along axis {axis} of {show(x.shape)} for the positions {start} to "
                             f"{stop} in steps of {step}")
    return ArrayType((*x.shape[:at], length, *x.shape[at + 1 :]), x.dtype)


def _range(size: int, start: int, stop: int | None, step: int) -> slice:
    first, last = _ends(size, start, stop)
    if not 0 <= first <= last <= size:
        raise IndexError(f"positions {start} to {stop} are out of range for an axis of size {size}")
    return slice(first, last, step)


def _slice(xp: Any, x: Any, *, axis: int, start: int, stop: int | None, step: int) -> Any:
    part = _range(x.shape[axis], start, stop, step)
    return x[(slice(None),) * (axis % x.ndim) + (part, ...)]


def _slice_scatter_type(x: ArrayType, updates: ArrayType, **part: Any) -> ArrayType:
    need_shape("updates", updates, _slice_type(x, **part).shape, f"the part of x {show(x.shape)} that it replaces")
    return ArrayType(x.shape, promote(x.dtype, updates.dtype))


def _slice_scatter(xp: Any, x: Any, updates: Any, *, axis: int, **part: Any) -> Any:
    """By positions, which every library can do: each takes its element of x or of the updates."""
    size, axis = x.shape[axis], axis % x.ndim
    span = _range(size, **part)
    before = xp.arange(size)
    place = (before - span.start) // part["step"]
    inside = (before >= span.start) & (before < span.stop) & ((before - span.start) % part["step"] == 0)
    if not updates.shape[axis]:
        return xp.asarray(x, dtype=xp.result_type(x, updates))
    spread = xp.take(updates, xp.clip(place, 0, updates.shape[axis] - 1), axis=axis)
    return xp.where(xp.reshape(inside, (size,) + (1,) * (x.ndim - axis - 1)), spread, x)


def _pad_type(x: ArrayType, *, pad_width: list[list[int]]) -> ArrayType:
    if len(pad_width) != len(x.shape):
        raise ShapeError(f"needs one [before, after] for every axis of x {show(x.shape)}, "
                         f"{len(x.shape)} of them; 'pad_width' has {len(pad_width)}")
    shape: Shape = tuple(size + before + after for size, (before, after) in zip(x.shape, pad_width, strict=True))
    return ArrayType(shape, x.dtype)


def with_margins(xp: Any, x: Any, pad_width: Sequence[Sequence[int]], fill: float = 0.0) -> Any:
    """An array with margins before and after along every axis, zeros by default."""
    for axis, widths in enumerate(pad_width):
        shapes = [(*x.shape[:axis], width, *x.shape[axis + 1 :]) for width in widths]
        margins = [xp.full(shape, fill, dtype=x.dtype) if fill else xp.zeros(shape, dtype=x.dtype) for shape in shapes]
        if any(widths):
            x = xp.concat([margins[0], x, margins[1]], axis=axis)
    return x


def _pad_backward(op: Any, g: Any, out: Any, x: Any, *, pad_width: list[list[int]]) -> Any:
    for axis, (before, after) in enumerate(pad_width):
        if before or after:
            g = op.slice(g, axis=axis, start=before, stop=-after or None)
    return g


PARTS = family({
    "concat": Gate("x ‖ y ‖ …", "The operands one after the other along an axis.",
                   AtLeast(1), _concat_type, attributes=JoinAxis, symbol="concat",
                   forward=lambda xp, *xs, axis: xp.concat(xs, axis=axis),
                   backward=_concat_backward),
    "slice": Gate("x[start:stop:step]", "A range of positions along an axis.",
                  ("x",), _slice_type, attributes=Part, symbol="slice",
                  forward=_slice,
                  backward=(lambda op, g, out, x, **part: op.slice_scatter(op.zeros_like(x), g, **part),),
                  ).stating(Facets(view=True)),
    "slice_scatter": Gate("x with x[start:stop:step] = updates", "x with a range of positions along an axis replaced.",
                          ("x", "updates"), _slice_scatter_type, attributes=Part, symbol="slice",
                          forward=_slice_scatter,
                          backward=(lambda op, g, out, x, updates, **part:
                                    op.slice_scatter(g, op.zeros_like(updates), **part),
                                    lambda op, g, out, x, updates, **part: op.slice(g, **part))),
    "slice_like": Gate("x[n:n + m]", "A part of x along an axis: as long as the second operand, and behind a part as "
                                     "long as all other operands together.",
                       AtLeast(2), _part_like_type, attributes=JoinAxis, symbol="slice",
                       forward=_slice_like,
                       backward=lambda op, g, out, x, like, *before, axis: (
                           op.pad_like(g, x, *before, axis=axis), *(None,) * (1 + len(before)))),
    "pad_like": Gate("0 ‖ x ‖ 0", "x among zeros, in the shape of the second operand. Along an axis, x stands behind a "
                                  "part as long as all other operands together.",
                     AtLeast(2), _part_like_type, attributes=JoinAxis, symbol="pad",
                     forward=_pad_like,
                     backward=lambda op, g, out, x, like, *before, axis: (
                         op.slice_like(g, x, *before, axis=axis), *(None,) * (1 + len(before)))),
    "split": Gate("x cut", "The parts of x along an axis, called 0, 1, 2 and so on.",
                  ("x",), _split_type, attributes=Sections, symbol="split",
                  outputs=lambda *, axis, sections: tuple(
                      map(str, range(sections if isinstance(sections, int) else len(sections)))),
                  forward=_split,
                  backward=(lambda op, g, out, x, *, axis, sections: op.concat(*g, axis=axis),),
                  ).stating(Facets(view=True)),
    "stack": Gate("[x, y, …]", "Operands of one shape side by side along a new axis.",
                  AtLeast(1), _stack_type, attributes=NewAxis, symbol="stack",
                  forward=lambda xp, *xs, axis: xp.stack(xs, axis=axis),
                  backward=lambda op, g, out, *xs, axis: tuple(
                      op.squeeze(op.slice(g, axis=axis, start=i, stop=i + 1), axis=axis) for i in range(len(xs)))),
    "flip": Gate("x backwards", "The elements along axes in the opposite order.",
                 ("x",), _along, attributes=Axes, symbol="flip",
                 forward=lambda xp, x, *, axis: xp.flip(x, axis=axes_of(axis, x.ndim)),
                 backward=(lambda op, g, out, x, *, axis: op.flip(g, axis=axis),)).stating(Facets(view=True)),
    "roll": Gate("x shifted", "The elements shifted along an axis. Those that leave at one end come in at the other.",
                 ("x",), _along, attributes=Shift, symbol="roll",
                 forward=lambda xp, x, *, axis, shift: xp.roll(x, shift, axis=axis),
                 backward=(lambda op, g, out, x, *, axis, shift: op.roll(g, axis=axis, shift=-shift),)),
    "tile": Gate("x x x …", "x repeated along every axis.",
                 ("x",), _tile_type, attributes=Repeats, symbol="tile",
                 forward=lambda xp, x, *, repeats: xp.tile(x, tuple(repeats)),
                 backward=(_tile_backward,)),
    "trilu": Gate("x above, or below, a diagonal", "The upper or lower triangle of matrices, zeros elsewhere.",
                  ("x",), _trilu_type, attributes=Triangle, symbol="trilu",
                  forward=lambda xp, x, *, upper, k: (xp.triu if upper else xp.tril)(x, k=k),
                  backward=(lambda op, g, out, x, *, upper, k: op.trilu(g, upper=upper, k=k),)),
    "flatten": Gate("x", "A matrix: the axes before an axis become rows, the others columns.",
                    ("x",), lambda x, *, axis: ArrayType(_matrix_shape(x.shape, axis), x.dtype), attributes=Cut,
                    symbol="flatten",
                    forward=lambda xp, x, *, axis: xp.reshape(x, _matrix_shape(x.shape, axis)),
                    backward=(lambda op, g, out, x, *, axis: op.reshape_like(g, x),),
                    ).stating(Facets(keeps=True)),
    "pad": Gate("0 ‖ x ‖ 0", "x with zeros around it.",
                ("x",), _pad_type, attributes=Margins, symbol="pad",
                forward=lambda xp, x, *, pad_width: with_margins(xp, x, pad_width),
                backward=(_pad_backward,)),
}, {
    "concat": Note("the part of {g} that came from it to {operands}", onnx=Onnx("Concat", "axis"), numpy="concatenate",
                   also="cat concatenate hstack append join dstack"),
    "slice": Note("{g} in its place among zeros to {x}", onnx="Slice", also="narrow getitem slicing",
                  example={"start": 1}),
    "slice_scatter": Note("{g} to {x}, but 0 where it was replaced; that part of {g} to {updates}",
                          also="slice_update", example={"start": 1, "stop": 3}),
    "slice_like": Note("{g} in its place among zeros to the first of {all}"),
    "pad_like": Note("the part of {g} where it stands to the first of {all}"),
    "split": Note("the gradients on the parts, joined, to {x}", kinks="0 for a part that has none", onnx="Split",
                  numpy="split",
                  also="chunk unbind unstack array_split tensor_split hsplit vsplit dsplit unpack split_with_sizes",
                  example={"sections": 2}),
    "stack": Note("its slice of {g} to {operands}", numpy="stack", also="vstack row_stack pack"),
    "flip": Note("{g} turned round again to {x}", numpy="flip", also="reverse"),
    "roll": Note("{g} shifted back to {x}", numpy="roll", also="circshift shift", example={"shift": 1}),
    "tile": Note("{g}, summed over the repetitions, to {x}", onnx=Onnx("Tile", "repeats@1"), numpy="tile",
                 example={"repeats": [2]}),
    "trilu": Note("the same triangle of {g} to {x}", onnx=Onnx("Trilu", "k@1 upper"), numpy="triu, tril"),
    "flatten": Note("{g} in the shape of {x}", onnx=Onnx("Flatten", "axis")),
    "pad": Note("the part of {g} where {x} stands", onnx="Pad", numpy="pad", also="zero_pad zero_padding",
                example={"pad_width": [[1, 1]]}),
})
