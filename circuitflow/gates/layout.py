"""Shape and dtype without arithmetic, and the gates that take a shape or a dtype from another operand."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.document.base import DType
from circuitflow.gates.factors import of_rearrangement
from circuitflow.gates.integers import cast, cast_like
from circuitflow.gates.record import Attributes, Facets, Gate, Length, Note, Onnx, family
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, broadcast_shapes, count, divide, same, show


class NewShape(Attributes):
    shape: list[Annotated[int, Field(ge=-1)]] = Field(
        max_length=64, description="the new shape; one -1 stands for what is left")


class Stretch(Attributes):
    shape: list[Length] = Field(max_length=64, description="the shape to broadcast with")


class OneAxis(Attributes):
    axis: int = Field(description="the axis, counted in the larger of the two shapes")


class NewType(Attributes):
    dtype: DType | Literal["bfloat16"] = Field(
        description="dtype of the result; bfloat16 where the array library has it")


def _reshape_type(x: ArrayType, *, shape: list[int]) -> ArrayType:
    total_size = count(x.shape)
    product = math.prod(size for size in shape if size >= 0)
    rest = divide(total_size, product) if shape.count(-1) == 1 else 1 if total_size == product else None
    if rest is None or shape.count(-1) > 1:
        raise ShapeError(f"cannot turn shape {show(x.shape)}, {total_size} elements, into {show(shape)}")
    return ArrayType(tuple(rest if size == -1 else size for size in shape), x.dtype)


def _reshape_like_type(x: ArrayType, like: ArrayType) -> ArrayType:
    if count(x.shape) != count(like.shape):
        raise ShapeError(f"cannot turn shape {show(x.shape)} into {show(like.shape)}: the number of elements differs")
    return ArrayType(like.shape, x.dtype)


def _expand_like_type(x: ArrayType, like: ArrayType) -> ArrayType:
    if broadcast_shapes(x.shape, like.shape) != like.shape:
        raise ShapeError(f"cannot broadcast x {show(x.shape)} to like {show(like.shape)}")
    return ArrayType(like.shape, x.dtype)


def _unsqueeze_type(x: ArrayType, *, axis: int) -> ArrayType:
    at = axis_of(axis, len(x.shape) + 1)
    return ArrayType((*x.shape[:at], 1, *x.shape[at:]), x.dtype)


def _squeeze_type(x: ArrayType, *, axis: int) -> ArrayType:
    at = axis_of(axis, len(x.shape))
    if x.shape[at] != 1:
        raise ShapeError(f"needs size 1 along axis {axis} of {show(x.shape)}, not {x.shape[at]}")
    return ArrayType((*x.shape[:at], *x.shape[at + 1 :]), x.dtype)


def _matrix(x: ArrayType) -> ArrayType:
    if len(x.shape) != 2:
        raise ShapeError(f"needs a matrix; x is {show(x.shape)}")
    return x


def _cast_to(xp: Any, x: Any, *, dtype: str) -> Any:
    if not hasattr(xp, dtype):
        raise TypeError(f"{xp.__name__.rpartition('.')[2]} has no {dtype}; give the circuit arrays of a library that "
                        "has, such as torch or JAX")
    return cast(xp, x, dtype)


def _same_fill(fill: float) -> float:
    return fill


def _number(value: float) -> Any:
    """A scalar is a number."""
    return lambda op, type_, x: None if type_.shape else op.constant(value, type_.dtype)


def _by_shape(gate: str) -> Any:
    """The gate that takes the shape as an attribute, where that is known."""
    return lambda op, type_, x, like: (getattr(op, gate)(x, shape=list(type_.shape))
                                       if all(isinstance(size, int) for size in type_.shape) else None)


SHAPES = family({
    "reshape": Gate("x", "The same elements in row-major order, in another shape.",
                    ("x",), _reshape_type, attributes=NewShape, symbol="reshape",
                    forward=lambda xp, x, *, shape: xp.reshape(x, tuple(shape)),
                    backward=(lambda op, g, out, x, *, shape: op.reshape_like(g, x),),
                    ).stating(Facets(keeps=True, fill=_same_fill, division=of_rearrangement, view=True)),
    "reshape_like": Gate("x", "The same elements in row-major order, in the shape of another operand.",
                         ("x", "like"), _reshape_like_type, symbol="reshape",
                         forward=lambda xp, x, like: xp.reshape(x, like.shape),
                         backward=(lambda op, g, out, x, like: op.reshape_like(g, x), None),
                         ).stating(Facets(keeps=True, reads_type=True, fill=_same_fill, equal=_by_shape("reshape"),
                                          division=of_rearrangement)),
    "expand": Gate("x", "x broadcast with a shape.",
                   ("x",), lambda x, *, shape: ArrayType(broadcast_shapes(x.shape, tuple(shape)), x.dtype),
                   attributes=Stretch, symbol="expand", broadcasts=True,
                   forward=lambda xp, x, *, shape: xp.broadcast_to(x, broadcast_shapes(x.shape, tuple(shape))),
                   backward=(lambda op, g, out, x, *, shape: g,)).stating(Facets(keeps=True, fill=_same_fill,
                                                                                 division=of_rearrangement, view=True)),
    "expand_like": Gate("x", "x broadcast to the shape of another operand.",
                        ("x", "like"), _expand_like_type, symbol="expand", broadcasts=True,
                        forward=lambda xp, x, like: xp.broadcast_to(x, like.shape),
                        backward=(lambda op, g, out, x, like: g, None),
                        ).stating(Facets(keeps=True, reads_type=True, fill=_same_fill, equal=_by_shape("expand"),
                                         division=of_rearrangement)),
}, {
    "reshape": Note("{g} in the shape of {x}", onnx=Onnx("Reshape", "shape@1", written=""), numpy="reshape",
                    also="view ravel unflatten newshape",
                    words="sends its gradient back in the old shape", example={"shape": [2, 2]}),
    "reshape_like": Note("{g} in the shape of {x}", numpy="reshape", also="view_as reshape_as"),
    "expand": Note("{g}, summed over what was stretched, to {x}", onnx=Onnx("Expand", "shape@1", written=""),
                   numpy="broadcast_to",
                   also="broadcast", example={"shape": [2, 1]}),
    "expand_like": Note("{g}, summed over what was stretched, to {x}", numpy="broadcast_to", also="expand_as"),
})

TYPES = family({
    "unsqueeze": Gate("x", "x with a new axis of size 1.",
                      ("x",), _unsqueeze_type, attributes=OneAxis, symbol="unsqueeze",
                      forward=lambda xp, x, *, axis: xp.expand_dims(x, axis=axis),
                      backward=(lambda op, g, out, x, *, axis: op.squeeze(g, axis=axis),),
                      ).stating(Facets(fill=_same_fill, division=of_rearrangement, view=True)),
    "squeeze": Gate("x", "x without an axis of size 1.",
                    ("x",), _squeeze_type, attributes=OneAxis, symbol="squeeze",
                    forward=lambda xp, x, *, axis: xp.squeeze(x, axis=axis),
                    backward=(lambda op, g, out, x, *, axis: op.unsqueeze(g, axis=axis),),
                    ).stating(Facets(fill=_same_fill, division=of_rearrangement, view=True)),
    "cast": Gate("x", "x in another dtype.",
                 ("x",), lambda x, *, dtype: ArrayType(x.shape, dtype), attributes=NewType, symbol="cast",
                 forward=_cast_to,
                 backward=(lambda op, g, out, x, *, dtype: op.cast_like(g, x),),
                 # 0 and 1 are the same in every dtype.
                 ).stating(Facets(keeps=True, fill=lambda fill: fill if fill in (0.0, 1.0) else math.nan)),
    "cast_like": Gate("x", "x in the dtype of another operand.",
                      ("x", "like"), lambda x, like: ArrayType(x.shape, like.dtype), symbol="cast",
                      forward=cast_like,
                      backward=(lambda op, g, out, x, like: op.cast_like(g, x), None),
                      ).stating(Facets(equal=lambda op, type_, x, like: op.cast(x, dtype=type_.dtype),
                                       division=of_rearrangement)),
    "zeros_like": Gate("0", "Zeros in the shape and dtype of x.",
                       ("x",), same, symbol="0",
                       forward=lambda xp, x: xp.zeros_like(x),
                       backward=(None,),
                       ).stating(Facets(reads_type=True, fill=lambda _: 0.0, equal=_number(0.0))),
    "eye_like": Gate("[i = j]", "Ones on the diagonal and zeros elsewhere, in the shape and dtype of a matrix.",
                     ("x",), _matrix, symbol="I",
                     forward=lambda xp, x: xp.eye(*x.shape, dtype=x.dtype),
                     backward=(None,)).stating(Facets(reads_type=True)),
    "ones_like": Gate("1", "Ones in the shape and dtype of x.",
                      ("x",), same, symbol="1",
                      forward=lambda xp, x: xp.ones_like(x),
                      backward=(None,),
                      ).stating(Facets(reads_type=True, fill=lambda _: 1.0, equal=_number(1.0))),
}, {
    "unsqueeze": Note("{g} in the shape of {x}", onnx=Onnx("Unsqueeze", "axis=axes@1"), numpy="expand_dims",
                      also="expand_dim add_axis newaxis", example={"axis": 0}),
    "squeeze": Note("{g} in the shape of {x}", onnx=Onnx("Squeeze", "axis=axes@1"), numpy="squeeze", also="drop_axis",
                    example={"axis": 0}),
    "cast": Note("{g} in the dtype of {x}, if both are floating-point", onnx="Cast", numpy="astype",
                 also="to_dtype astype type_as convert convert_type", example={"dtype": "int64"}),
    "cast_like": Note("{g} in the dtype of {x}, if both are floating-point", onnx=Onnx("CastLike", written=""),
                      numpy="astype"),
    "zeros_like": Note(numpy="zeros_like", also="zeroslike"),
    "eye_like": Note(onnx="EyeLike", numpy="eye"),
    "ones_like": Note(numpy="ones_like"),
})
