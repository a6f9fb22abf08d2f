"""Activations, each stable over the whole range of floats."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, broadcast_shapes, floating, need_float, show
from circuitflow.gates.special import special
from circuitflow.gates.sums import total

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""The fixed point of Klambauer et al. 2017, arXiv:1706.02515."""

_GELU = 2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715
_ROOT_2, _ROOT_2_PI = math.sqrt(2), math.sqrt(2 * math.pi)

_GELU_END, _EXP_END = 50.0, 800.0
"""Where Φ(-x) and e^-x are 0, so that x may as well be this: a 0 times ∞ would be NaN."""


class Axis(Attributes):
    axis: int = Field(-1, description="the axis that is normalised; the last by default")


class Leak(Attributes):
    alpha: float = Field(0.01, description="slope below 0")


class Scale(Attributes):
    alpha: float = Field(1.0, gt=0, description="scale of the exponential below 0")


class Gain(Attributes):
    alpha: float = Field(1.0, description="gain inside the sigmoid")


class Ramp(Attributes):
    alpha: float = Field(0.2, description="slope of the line")
    beta: float = Field(0.5, description="value of the line at 0")


class Threshold(Attributes):
    alpha: float = Field(1.0, description="threshold; x itself above it, else 0")


class Approximation(Attributes):
    approximate: Literal["none", "tanh"] = Field(
        "none", description="none: with the error function; tanh: the approximation by tanh")


def _sigmoid(xp: Any, x: Any) -> Any:
    e = xp.minimum(xp.exp(x), 1e30)  # 1e30 / (1 + 1e30) is 1, while ∞ / ∞ is NaN
    return e / (1 + e)


def _sigmoid_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    """The slope σ(x) σ(-x). 1 - σ(x) loses its digits above 0; e^x is there in code that has computed the value."""
    return g * (out / (1 + op.exp(x)))


def _softplus(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _along_axis(x: ArrayType, *, axis: int) -> ArrayType:
    need_float("x", x)
    if x.shape[axis_of(axis, len(x.shape))] == 0:
        raise ShapeError(f"needs at least one element along axis {axis}")
    return x


def powers(xp: Any, x: Any, largest: Any) -> Any:
    """e^(x - largest). An infinity stands for the largest finite number, so that equal ones have equal powers."""
    end = float(xp.finfo(x.dtype).max)
    return xp.exp(xp.clip(x, -end, end) - xp.clip(largest, -end, end))


def _softmax(xp: Any, x: Any, *, axis: int) -> Any:
    e = powers(xp, x, xp.max(x, axis=axis, keepdims=True))
    return e / total(xp, e, axis=axis, keepdims=True)


def _log_softmax(xp: Any, x: Any, *, axis: int) -> Any:
    largest = xp.max(x, axis=axis, keepdims=True)
    distance = xp.where(x == largest, 0.0, x - largest)
    return distance - xp.log(total(xp, xp.exp(distance), axis=axis, keepdims=True))


def _below(op: Any, x: Any) -> Any:
    """The part of x below 0, so that an exponential of it does not overflow where it is not taken."""
    return op.where(x > 0, 0.0, x)


def _prelu_shape(x: ArrayType, slope: ArrayType) -> ArrayType:
    if broadcast_shapes(x.shape, slope.shape) != x.shape:
        raise ShapeError(f"cannot broadcast slope {show(slope.shape)} to x {show(x.shape)}")
    return floating(x, slope)


def _exponential_below(xp: Any, x: Any, scale: float, alpha: float) -> Any:
    """The identity above 0, scale (e^(x / alpha) - 1) below."""
    return xp.where(x > 0, x, scale * xp.expm1(xp.where(x > 0, 0.0, x) / alpha))


def _gelu_argument(x: Any) -> Any:
    """Twice the argument of tanh: (1 + tanh t) / 2 is σ(2t), to all digits."""
    return x * (_GELU[0] + _GELU[1] * (x * x))


def _gelu(xp: Any, x: Any, *, approximate: str) -> Any:
    if approximate == "tanh":
        return _sigmoid(xp, _gelu_argument(x)) * xp.maximum(x, -_GELU_END)
    return 0.5 * special(xp, "erfc", x / -_ROOT_2) * xp.maximum(x, -_GELU_END)


def _gelu_backward(op: Any, g: Any, out: Any, x: Any, *, approximate: str) -> Any:
    if approximate == "tanh":
        t, near = _gelu_argument(x), op.clip(x, min=-_GELU_END, max=_GELU_END)
        s = op.sigmoid(t)
        return g * (s + s / (1 + op.exp(t)) * (near * (_GELU[0] + 3 * _GELU[1] * (near * near))))
    return g * (0.5 * op.erfc(x / -_ROOT_2) + x * op.exp(-0.5 * (x * x)) / _ROOT_2_PI)


def _swish(xp: Any, x: Any, *, alpha: float) -> Any:
    if alpha == 0:
        return 0.5 * x
    return _sigmoid(xp, _times(alpha, x)) * (xp.maximum if alpha > 0 else xp.minimum)(x, -_EXP_END / alpha)


def _swish_backward(op: Any, g: Any, out: Any, x: Any, *, alpha: float) -> Any:
    if alpha == 0:
        return 0.5 * g
    t, end = _times(alpha, x), _EXP_END / abs(alpha)
    s = op.sigmoid(t)
    return g * (s + s / (1 + op.exp(t)) * _times(alpha, op.clip(x, min=-end, max=end)))


def _times(alpha: float, x: Any) -> Any:
    return x if alpha == 1 else alpha * x


def _mish(xp: Any, x: Any) -> Any:
    """By tanh(ln(1 + e)) = n / (n + 2) for n = e (e + 2), in which nothing cancels."""
    e = xp.exp(xp.minimum(x, 40.0))
    n = e * (e + 2)
    return n / (n + 2) * xp.maximum(x, -_EXP_END)


def _mish_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    near = op.clip(x, min=-_EXP_END, max=40.0)
    e = op.exp(near)
    below = e * (e + 2) + 2
    return g * (e / below * (e + 2 + near * (4 * (e + 1)) / below))


ACTIVATIONS = family({
    "sigmoid": Gate("1 / (1 + e^-x)", "The logistic function.",
                    ("x",), floating, symbol="σ", reads=Reads.INPUTS | Reads.OUTPUT,
                    forward=_sigmoid,
                    backward=(_sigmoid_backward,)),
    "relu": Gate("max(x, 0)", "The rectifier; its slope at 0 is 0.",
                 ("x",), floating, symbol="relu", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.where(x <= 0, 0.0, x),
                 backward=(lambda op, g, out, x: op.where(x > 0, g, 0.0),)),
    "softplus": Gate("ln(1 + e^x)", "The smooth rectifier.",
                     ("x",), floating, symbol="softplus", reads=Reads.INPUTS,
                     forward=_softplus,
                     backward=(lambda op, g, out, x: g * op.sigmoid(x),)),
    "softmax": Gate("e^x / Σ e^x", "Exponentials scaled to add up to 1 along an axis; equal infinities share evenly.",
                    ("x",), _along_axis, attributes=Axis, symbol="softmax", reads=Reads.OUTPUT,
                    forward=_softmax,
                    backward=(lambda op, g, out, x, *, axis:
                              out * (g - op.reduce_sum(g * out, axis=axis, keepdims=True)),)),
    "log_softmax": Gate("x - ln Σ e^x", "The logarithm of softmax along an axis.",
                        ("x",), _along_axis, attributes=Axis, symbol="ln softmax", reads=Reads.OUTPUT,
                        forward=_log_softmax,
                        backward=(lambda op, g, out, x, *, axis:
                                  g - op.exp(out) * op.reduce_sum(g, axis=axis, keepdims=True),)),
    "log_sigmoid": Gate("ln σ(x)", "The logarithm of the logistic function.",
                        ("x",), floating, symbol="ln σ", reads=Reads.INPUTS,
                        forward=lambda xp, x: -_softplus(xp, -x),
                        backward=(lambda op, g, out, x: g * op.sigmoid(-x),)),
    "leaky_relu": Gate("x if x > 0 else alpha x", "The rectifier with a slope below 0, which is also its slope at 0.",
                       ("x",), floating, attributes=Leak, symbol="lrelu", reads=Reads.INPUTS,
                       forward=lambda xp, x, *, alpha: xp.where(x > 0, x, alpha * x),
                       backward=(lambda op, g, out, x, *, alpha: op.where(x > 0, g, alpha * g),)),
    "prelu": Gate("x if x > 0 else slope · x", "The rectifier with a slope below 0 that is an operand.",
                  ("x", "slope"), _prelu_shape, symbol="prelu", broadcasts=True, reads=Reads.INPUTS,
                  forward=lambda xp, x, slope: xp.where(x > 0, x, slope * x),
                  backward=(lambda op, g, out, x, slope: op.where(x > 0, g, g * slope),
                            lambda op, g, out, x, slope: op.where(x > 0, 0.0, g * x))),
    "elu": Gate("x if x > 0 else alpha (e^x - 1)", "The exponential linear unit.",
                ("x",), floating, attributes=Scale, symbol="elu", reads=Reads.INPUTS,
                forward=lambda xp, x, *, alpha: _exponential_below(xp, x, alpha, 1.0),
                backward=(lambda op, g, out, x, *, alpha: op.where(x > 0, g, alpha * (g * op.exp(_below(op, x)))),)),
    "selu": Gate("λ x if x > 0 else λ α (e^x - 1)", "The exponential linear unit that normalises itself.",
                 ("x",), floating, symbol="selu", reads=Reads.INPUTS,
                 forward=lambda xp, x: SELU_SCALE * _exponential_below(xp, x, SELU_ALPHA, 1.0),
                 backward=(lambda op, g, out, x:
                           SELU_SCALE * op.where(x > 0, g, SELU_ALPHA * (g * op.exp(_below(op, x)))),)),
    "celu": Gate("x if x > 0 else alpha (e^(x/alpha) - 1)", "The exponential linear unit with a continuous slope.",
                 ("x",), floating, attributes=Scale, symbol="celu", reads=Reads.INPUTS,
                 forward=lambda xp, x, *, alpha: _exponential_below(xp, x, alpha, alpha),
                 backward=(lambda op, g, out, x, *, alpha: op.where(x > 0, g, g * op.exp(_below(op, x) / alpha)),)),
    "gelu": Gate("x Φ(x)", "The Gaussian error linear unit.",
                 ("x",), floating, attributes=Approximation, symbol="gelu", reads=Reads.INPUTS,
                 forward=_gelu,
                 backward=(_gelu_backward,)),
    "softsign": Gate("x / (1 + |x|)", "A sigmoid with algebraic tails.",
                     ("x",), floating, symbol="softsign", reads=Reads.INPUTS,
                     forward=lambda xp, x: x / (1 + xp.abs(x)),
                     backward=(lambda op, g, out, x: g * op.square(1 / (1 + op.abs(x))),)),
    "swish": Gate("x σ(alpha x)", "The sigmoid linear unit.",
                  ("x",), floating, attributes=Gain, symbol="swish", reads=Reads.INPUTS,
                  forward=_swish,
                  backward=(_swish_backward,)),
    "mish": Gate("x tanh(ln(1 + e^x))", "A smooth rectifier that dips below 0.",
                 ("x",), floating, symbol="mish", reads=Reads.INPUTS,
                 forward=_mish,
                 backward=(_mish_backward,)),
    "hard_sigmoid": Gate("min(max(alpha x + beta, 0), 1)", "A line clipped to [0, 1]; at both ends the slope is alpha.",
                         ("x",), floating, attributes=Ramp, symbol="hσ", reads=Reads.INPUTS,
                         forward=lambda xp, x, *, alpha, beta: xp.clip(alpha * x + beta, 0.0, 1.0),
                         # Not of alpha x + beta, which compilers compute without rounding alpha x.
                         backward=(lambda op, g, out, x, *, alpha, beta: op.where(
                             (alpha * x >= -beta) & (alpha * x <= 1 - beta), alpha * g, 0.0),)),
    "hard_swish": Gate("x min(max(x/6 + 1/2, 0), 1)", "swish with a clipped line for its sigmoid.",
                       ("x",), floating, symbol="hswish", reads=Reads.INPUTS,
                       forward=lambda xp, x: x * (xp.clip(x + 3, 0.0, 6.0) / 6),
                       backward=(lambda op, g, out, x:
                                 op.where(x <= -3, 0.0, op.where(x >= 3, g, g * (x / 3 + 0.5))),)),
    "thresholded_relu": Gate("x if x > alpha else 0", "x itself above a threshold, else 0.",
                             ("x",), floating, attributes=Threshold, symbol="trelu", reads=Reads.INPUTS,
                             forward=lambda xp, x, *, alpha: xp.where(x > alpha, x, 0.0),
                             backward=(lambda op, g, out, x, *, alpha: op.where(x > alpha, g, 0.0),)),
}, {
    "sigmoid": Note("{g} · {out} (1 - {out}) to {x}",
                    kinks="1 - out by 1 / (1 + e^x), exact where the output is rounded to 1",
                    onnx=Onnx("Sigmoid", written=""),
                    numpy="scipy.special.expit", also="logistic expit sigma σ",
                    words="scales its gradient by {out} (1 - {out}): a quarter at most, almost 0 where it is "
                          "saturated", formula="σ(x)", dead="is saturated"),
    "relu": Note("{g} to {x} where it is above 0, else 0", kinks="0 at 0", onnx=Onnx("Relu"), also="rectifier ramp",
                 words="lets its gradient through where its operand is above 0 and stops it elsewhere",
                 formula="relu(x)", dead="is inactive"),
    "softplus": Note("{g} · σ({x}) to {x}", kinks="exact at ±1000", onnx=Onnx("Softplus", written=""),
                     words="scales its gradient by the sigmoid of its operand", formula="softplus(x)",
                     dead="is saturated"),
    "softmax": Note("{out} · ({g} - Σ {g} {out}) to {x}", kinks="shifted by the largest, so nothing overflows",
                    onnx=Onnx("Softmax", "axis", since=13, written=""), numpy="scipy.special.softmax",
                    words="sends each score what is above the average of the gradient, weighted by the probability",
                    formula="softmax(x)", dead="is saturated"),
    "log_softmax": Note("{g} - softmax({x}) · Σ {g} to {x}", kinks="shifted by the largest, so nothing overflows",
                        onnx=Onnx("LogSoftmax", "axis", since=13, written=""), numpy="scipy.special.log_softmax",
                        formula="ln softmax(x)", dead="is saturated"),
    "log_sigmoid": Note("{g} · σ(-{x}) to {x}", kinks="exact at ±1000", numpy="scipy.special.log_expit",
                        also="log_expit", formula="own", dead="is saturated"),
    "leaky_relu": Note("{g} to {x} where it is above 0, {alpha} {g} elsewhere", kinks="alpha at 0",
                       onnx=Onnx("LeakyRelu", "alpha", written="f"), formula="own"),
    "prelu": Note("{g} to {x} where it is above 0, {slope} · {g} elsewhere; {g} · {x} to {slope} where {x} is not "
                  "above 0", kinks="the slope at 0", onnx=Onnx("PRelu", written="f"), formula="own"),
    "elu": Note("{g} to {x} where it is above 0, {alpha} e^{x} {g} elsewhere", kinks="alpha at 0",
                onnx=Onnx("Elu", "alpha", written="f"), formula="own", dead="is saturated"),
    "selu": Note("λ {g} to {x} where it is above 0, λ α e^{x} {g} elsewhere", kinks="λ α at 0",
                 onnx=Onnx("Selu", settings={"alpha": SELU_ALPHA, "gamma": SELU_SCALE}, written="f"),
                 dead="is saturated"),
    "celu": Note("{g} to {x} where it is above 0, e^({x}/{alpha}) {g} elsewhere", kinks="1 at 0",
                 onnx=Onnx("Celu", "alpha", written="f"), dead="is saturated"),
    "gelu": Note("{g} · (Φ({x}) + {x} φ({x})) to {x}", kinks="by erfc, exact far below 0",
                 onnx=Onnx("Gelu", "approximate", written=""), formula="own", dead="is saturated"),
    "softsign": Note("{g} / (1 + |{x}|)² to {x}", kinks="1 at 0", onnx=Onnx("Softsign", written=""), formula="own"),
    "swish": Note("{g} · (s + {alpha} {x} s (1 - s)) to {x}, s = σ({alpha} {x})",
                  onnx=Onnx("Swish", "alpha", written=""),
                  also="silu", dead="is saturated"),
    "mish": Note("{g} · (t + {x} (1 - t²) σ({x})) to {x}, t = tanh(softplus {x})", onnx=Onnx("Mish", written=""),
                 dead="is saturated"),
    "hard_sigmoid": Note("{alpha} {g} to {x} on the line, else 0", kinks="alpha at both ends",
                         onnx=Onnx("HardSigmoid", "alpha beta", written=""), dead="is saturated"),
    "hard_swish": Note("0 to {x} up to -3, {g} from 3 on, {g} ({x}/3 + 1/2) between", kinks="0 at -3, 1 at 3",
                       onnx=Onnx("HardSwish", written=""), also="hard_silu", dead="is saturated"),
    "thresholded_relu": Note("{g} to {x} where it is above {alpha}, else 0", kinks="0 at the threshold",
                             onnx=Onnx("ThresholdedRelu", "alpha", written="f"), formula="own", dead="is inactive"),
})
