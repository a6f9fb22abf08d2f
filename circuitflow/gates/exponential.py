"""Exponentials and logarithms, and the activations made of them; each stable over the whole range of floats."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, floating, need_float


class Axis(Attributes):
    """The axis that is normalised."""

    axis: Annotated[int, Field(description="the axis that is normalised; the last by default")] = -1


def _sigmoid(xp: Any, x: Any) -> Any:
    e = xp.exp(-xp.abs(x))  # at most 1, so that nothing overflows
    return xp.where(x >= 0, 1.0, e) / (1 + e)


def _softplus(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _along_axis(x: ArrayType, *, axis: int) -> ArrayType:
    need_float("x", x)
    if x.shape[axis_of(axis, len(x.shape))] == 0:
        raise ShapeError(f"needs at least one element along axis {axis}")
    return x


def _softmax(xp: Any, x: Any, *, axis: int) -> Any:
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def _log_softmax(xp: Any, x: Any, *, axis: int) -> Any:
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


EXPONENTIAL = {
    "exp": Gate("e^x", "The exponential.",
                ("x",), floating, symbol="exp", reads=Reads.OUTPUT,
                forward=lambda xp, x: xp.exp(x),
                backward=(lambda op, g, out, x: op.mul_no_nan(g, out),)),
    "log": Gate("ln x", "The natural logarithm.",
                ("x",), floating, symbol="ln", reads=Reads.INPUTS,
                forward=lambda xp, x: xp.log(x),
                backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / x),)),
    "sigmoid": Gate("1 / (1 + e^-x)", "The logistic function.",
                    ("x",), floating, symbol="σ", reads=Reads.OUTPUT,
                    forward=_sigmoid,
                    backward=(lambda op, g, out, x: g * ((1 - out) * out),)),
    "tanh": Gate("tanh x", "The hyperbolic tangent.",
                 ("x",), floating, symbol="tanh", reads=Reads.OUTPUT,
                 forward=lambda xp, x: xp.tanh(x),
                 backward=(lambda op, g, out, x: g * (1 - out * out),)),
    "relu": Gate("max(x, 0)", "The rectifier; its slope at 0 is 0.",
                 ("x",), floating, symbol="relu", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.where(x <= 0, 0.0, x),
                 backward=(lambda op, g, out, x: op.where(x > 0, g, 0.0),)),
    "softplus": Gate("ln(1 + e^x)", "The smooth rectifier.",
                     ("x",), floating, symbol="softplus", reads=Reads.INPUTS,
                     forward=_softplus,
                     backward=(lambda op, g, out, x: g * op.sigmoid(x),)),
    "softmax": Gate("e^x / Σ e^x", "Exponentials scaled to add up to 1 along an axis.",
                    ("x",), _along_axis, attributes=Axis, symbol="softmax", reads=Reads.OUTPUT,
                    forward=_softmax,
                    backward=(lambda op, g, out, x, *, axis:
                              out * (g - op.reduce_sum(g * out, axis=axis, keepdims=True)),)),
    "log_softmax": Gate("x - ln Σ e^x", "The logarithm of softmax along an axis.",
                        ("x",), _along_axis, attributes=Axis, symbol="ln softmax", reads=Reads.OUTPUT,
                        forward=_log_softmax,
                        backward=(lambda op, g, out, x, *, axis:
                                  g - op.exp(out) * op.reduce_sum(g, axis=axis, keepdims=True),)),
}
