"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

import functools
import math
from typing import Any

from circuitflow.gates.record import Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import floating

_SINC_SERIES = [(-1) ** k * 2 * k / math.factorial(2 * k + 1) for k in range(1, 12)]
"""Taylor coefficients of the derivative of sin(t) / t, in t, t³, t⁵ …"""


def _sinc(xp: Any, x: Any) -> Any:
    """By sin πr for what is left of x without whole turns, |r| ≤ 1/2, which is exact."""
    some = xp.where(x == 0, 1.0, x)
    rest = some - 2 * xp.round(some / 2)
    rest = xp.where(xp.abs(rest) > 0.5, xp.sign(rest) - rest, rest)
    return xp.where(x == 0, 1.0, xp.sin(math.pi * rest) / (math.pi * some))


def _sinc_backward(op: Any, g: Any, out: Any, x: Any) -> Any:
    """The slope (cos πx - sinc x) / x; near 0, where that cancels, its Taylor series."""
    t = math.pi * x
    near = op.abs(t) < 1.5
    series = functools.reduce(lambda total, c: total * (t * t) + c, _SINC_SERIES[-2::-1], _SINC_SERIES[-1]) * t
    far = op.where(near, 1.0, x)
    turn = op.cos(math.pi * (far - 2 * op.round(far / 2)))
    return g * op.where(near, math.pi * series, (turn - op.sinc(far)) / far)


def _angle_slope(op: Any, g: Any, side: Any, size: Any) -> Any:
    """The slope side / size², without overflow; 0 where the size is 0 or infinite."""
    return g * op.where(size == 2 * size, 0.0, (side / size) / size)


TRIGONOMETRIC = family({
    "sin": Gate("sin x", "The sine of an angle in radians.",
                ("x",), floating, symbol="sin", reads=Reads.INPUTS,
                forward=lambda xp, x: xp.sin(x),
                backward=(lambda op, g, out, x: g * op.cos(x),)),
    "cos": Gate("cos x", "The cosine of an angle in radians.",
                ("x",), floating, symbol="cos", reads=Reads.INPUTS,
                forward=lambda xp, x: xp.cos(x),
                backward=(lambda op, g, out, x: -g * op.sin(x),)),
    "tan": Gate("tan x", "The tangent of an angle in radians.",
                ("x",), floating, symbol="tan", reads=Reads.OUTPUT,
                forward=lambda xp, x: xp.tan(x),
                backward=(lambda op, g, out, x: g * (1 + out * out),)),
    "asin": Gate("sin⁻¹ x", "The angle whose sine is x, from -π/2 to π/2.",
                 ("x",), floating, symbol="asin", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.asin(x),
                 backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / op.sqrt((1 - x) * (1 + x))),)),
    "acos": Gate("cos⁻¹ x", "The angle whose cosine is x, from 0 to π.",
                 ("x",), floating, symbol="acos", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.acos(x),
                 backward=(lambda op, g, out, x: op.mul_no_nan(g, -1 / op.sqrt((1 - x) * (1 + x))),)),
    "atan": Gate("tan⁻¹ x", "The angle whose tangent is x, from -π/2 to π/2.",
                 ("x",), floating, symbol="atan", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.atan(x),
                 backward=(lambda op, g, out, x: g * op.square(1 / op.hypot(x, op.ones_like(x))),)),
    "atan2": Gate("∠(x, y)", "The angle of the point (x, y), from -π to π; its slope at the origin is 0.",
                  ("y", "x"), floating, symbol="atan2", broadcasts=True, reads=Reads.INPUTS,
                  forward=lambda xp, y, x: xp.atan2(y, x),
                  backward=(lambda op, g, out, y, x: _angle_slope(op, g, x, op.hypot(y, x)),
                            lambda op, g, out, y, x: _angle_slope(op, -g, y, op.hypot(y, x)))),
    "sinh": Gate("(e^x - e^-x) / 2", "The hyperbolic sine.",
                 ("x",), floating, symbol="sinh", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.sinh(x),
                 backward=(lambda op, g, out, x: op.mul_no_nan(g, op.cosh(x)),)),
    "cosh": Gate("(e^x + e^-x) / 2", "The hyperbolic cosine.",
                 ("x",), floating, symbol="cosh", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.cosh(x),
                 backward=(lambda op, g, out, x: op.mul_no_nan(g, op.sinh(x)),)),
    "tanh": Gate("tanh x", "The hyperbolic tangent.",
                 ("x",), floating, symbol="tanh", reads=Reads.INPUTS,
                 forward=lambda xp, x: xp.tanh(x),
                 backward=(lambda op, g, out, x: g * op.square(1 / op.cosh(x)),)),
    "asinh": Gate("ln(x + √(x² + 1))", "The inverse of the hyperbolic sine.",
                  ("x",), floating, symbol="asinh", reads=Reads.INPUTS,
                  forward=lambda xp, x: xp.asinh(x),
                  backward=(lambda op, g, out, x: g / op.hypot(x, op.ones_like(x)),)),
    "acosh": Gate("ln(x + √(x² - 1))", "The inverse of the hyperbolic cosine.",
                  ("x",), floating, symbol="acosh", reads=Reads.INPUTS,
                  forward=lambda xp, x: xp.acosh(x),
                  backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / (op.sqrt(x - 1) * op.sqrt(x + 1))),)),
    "atanh": Gate("ln((1 + x) / (1 - x)) / 2", "The inverse of the hyperbolic tangent.",
                  ("x",), floating, symbol="atanh", reads=Reads.INPUTS,
                  forward=lambda xp, x: xp.atanh(x),
                  backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / ((1 - x) * (1 + x))),)),
    "sinc": Gate("sin(πx) / (πx)", "The cardinal sine, 1 at 0.",
                 ("x",), floating, symbol="sinc", reads=Reads.INPUTS,
                 forward=_sinc,
                 backward=(_sinc_backward,)),
}, {
    "sin": Note("{g} · cos {x} to {x}", onnx=Onnx("Sin"), numpy="sin", also="sine", formula="own"),
    "cos": Note("-{g} · sin {x} to {x}", onnx=Onnx("Cos"), numpy="cos", also="cosine", formula="own"),
    "tan": Note("{g} · (1 + {out}²) to {x}", onnx=Onnx("Tan", written="f"), numpy="tan", also="tangent tg",
                formula="own"),
    "asin": Note("{g} / √(1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0",
                 onnx=Onnx("Asin", written="f"),
                 numpy="arcsin", also="arc_sin arcsine", formula="own"),
    "acos": Note("-{g} / √(1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0",
                 onnx=Onnx("Acos", written="f"),
                 numpy="arccos", also="arc_cos arccosine", formula="own"),
    "atan": Note("{g} / (1 + {x}²) to {x}", onnx=Onnx("Atan", written="f"), numpy="arctan",
                 also="arc_tan arctg arctangent", formula="own"),
    "atan2": Note("{g} · {x} / r² to {y}, -{g} · {y} / r² to {x}, r² = {x}² + {y}²",
                  kinks="0 at the origin; no square leaves the range", numpy="arctan2", also="arctan_2"),
    "sinh": Note("{g} · cosh {x} to {x}", onnx=Onnx("Sinh", written="f"), numpy="sinh", also="sh", formula="sinh x"),
    "cosh": Note("{g} · sinh {x} to {x}", onnx=Onnx("Cosh", written="f"), numpy="cosh", also="ch", formula="cosh x"),
    "tanh": Note("{g} · (1 - {out}²) to {x}", kinks="by 1 / cosh², exact where the output is rounded to ±1",
                 onnx=Onnx("Tanh"), numpy="tanh", also="th tanhf",
                 words="scales its gradient by 1 - {out}²: all of it at 0, almost 0 where it is saturated",
                 formula="own", dead="is saturated"),
    "asinh": Note("{g} / √(1 + {x}²) to {x}", kinks="no square leaves the range", onnx=Onnx("Asinh", written="f"),
                  numpy="arcsinh",
                  also="arsinh"),
    "acosh": Note("{g} / √({x}² - 1) to {x}", kinks="infinite at 1, but a gradient of 0 stays 0",
                  onnx=Onnx("Acosh", written="f"),
                  numpy="arccosh", also="arcosh"),
    "atanh": Note("{g} / (1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0",
                  onnx=Onnx("Atanh", written="f"),
                  numpy="arctanh", also="artanh"),
    "sinc": Note("{g} · (cos π{x} - {out}) / {x} to {x}", kinks="by a series near 0, exact there; 0 at integers",
                 numpy="sinc"),
})
