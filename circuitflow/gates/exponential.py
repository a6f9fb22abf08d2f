"""Exponentials and logarithms, each exact over the whole range of floats."""

from __future__ import annotations

import functools
import math
from typing import Any

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import floating
from circuitflow.gates.special import LIBRARIES, special

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


class DerivativeOrder(Attributes):
    n: int = Field(ge=0, description="order of the derivative of the digamma function")


def _polygamma(xp: Any, x: Any, *, n: int) -> Any:
    """By Hurwitz's zeta function, as SciPy does; torch's own trigamma has nine digits only.

    Below 0 by the reflection ψ⁽ⁿ⁾(x) = (-1)ⁿ ψ⁽ⁿ⁾(1 - x) - π dⁿ/dxⁿ cot πx (https://dlmf.nist.gov/5.15.E6): the
    series adds a term for every unit below 0, and the libraries' own reflections lose digits near the poles.
    """
    below = x < 0
    away = xp.where(below, 1 - x, x)
    if n == 0:
        out = special(xp, "digamma", away)
    else:
        out = (-1) ** (n + 1) * math.factorial(n) * special(xp, "zeta", away, float(n + 1))
        if type(x).__module__.partition(".")[0] in LIBRARIES:  # they have NaN where SciPy has 0
            out = xp.where(x == math.inf, 0.0, out)
    rest = xp.where(below, x - xp.round(x), 0.25)
    cot = xp.sin(math.pi * (0.5 - xp.abs(rest))) / xp.sin(math.pi * rest)
    slope = functools.reduce(lambda total, c: total * cot + c, _cotangent(n))
    if n % 2 == 0:  # the sides of a pole below 0 have opposite signs
        slope = xp.where(rest == 0, math.nan, slope)
    return xp.where(below, (-1) ** n * out - math.pi ** (n + 1) * slope, out)


@functools.cache
def _cotangent(n: int) -> list[float]:
    """The n-th derivative of cot t as a polynomial in it, the highest power first: the derivative of c is -(1 + c²)."""
    powers = [0, 1]
    for _ in range(n):
        slopes = [k * c for k, c in enumerate(powers)][1:]
        powers = [-(a + b) for a, b in zip([*slopes, 0, 0], [0, 0, *slopes], strict=True)]
    return [float(c) for c in reversed(powers)]


def _lgamma(xp: Any, x: Any) -> Any:
    """SciPy's is infinite for subnormal numbers, and -∞ at -∞; near 0 the function is -ln |x|, to all digits."""
    size = xp.abs(x)
    return xp.where(size < 1e-300, -xp.log(size), special(xp, "gammaln", xp.where(x == -math.inf, size, x)))


def _log_add_exp_backward(op: Any, g: Any, x: Any, y: Any) -> Any:
    """The slope in x: e^(x - out), which is σ(x - y), with a difference of 0 between equal infinities."""
    return g * op.sigmoid(op.where((x == y) & op.is_inf(x), 0.0, x - y))


EXPONENTIAL = family({
    "exp": Gate("e^x", "The exponential.",
                ("x",), floating, symbol="exp", reads=Reads.OUTPUT,
                forward=lambda xp, x: xp.exp(x),
                backward=(lambda op, g, out, x: op.mul_no_nan(g, out),)),
    "expm1": Gate("e^x - 1", "The exponential less 1, exact near 0.",
                  ("x",), floating, symbol="expm1", reads=Reads.INPUTS,
                  forward=lambda xp, x: xp.expm1(x),
                  backward=(lambda op, g, out, x: op.mul_no_nan(g, op.exp(x)),)),
    "log": Gate("ln x", "The natural logarithm.",
                ("x",), floating, symbol="ln", reads=Reads.INPUTS,
                forward=lambda xp, x: xp.log(x),
                backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / x),)),
    "log1p": Gate("ln(1 + x)", "The natural logarithm of 1 + x, exact near 0.",
                  ("x",), floating, symbol="log1p", reads=Reads.INPUTS,
                  forward=lambda xp, x: xp.log1p(x),
                  backward=(lambda op, g, out, x: op.mul_no_nan(g, 1 / (1 + x)),)),
    "log_add_exp": Gate("ln(e^x + e^y)", "The logarithm of a sum of exponentials, without overflow.",
                        ("x", "y"), floating, symbol="logaddexp", broadcasts=True, reads=Reads.INPUTS,
                        forward=lambda xp, x, y: xp.logaddexp(x, y),
                        backward=(lambda op, g, out, x, y: _log_add_exp_backward(op, g, x, y),
                                  lambda op, g, out, x, y: _log_add_exp_backward(op, g, y, x))),
    "erf": Gate("2/√π ∫₀ˣ e^-t² dt", "The error function.",
                ("x",), floating, symbol="erf", reads=Reads.INPUTS,
                forward=lambda xp, x: special(xp, "erf", x),
                backward=(lambda op, g, out, x: g * (TWO_OVER_ROOT_PI * op.exp(-(x * x))),)),
    "erfc": Gate("1 - erf x", "The complement of the error function, exact where that is near 1.",
                 ("x",), floating, symbol="erfc", reads=Reads.INPUTS,
                 forward=lambda xp, x: special(xp, "erfc", x),
                 backward=(lambda op, g, out, x: g * (-TWO_OVER_ROOT_PI * op.exp(-(x * x))),)),
    "lgamma": Gate("ln |Γ(x)|", "The logarithm of the absolute value of the gamma function.",
                   ("x",), floating, symbol="lnΓ", reads=Reads.INPUTS,
                   forward=_lgamma,
                   backward=(lambda op, g, out, x: op.mul_no_nan(g, op.polygamma(x, n=0)),)),
    "polygamma": Gate("ψ⁽ⁿ⁾(x)", "The derivatives of the logarithm of the gamma function; n = 0 is the first.",
                      ("x",), lambda x, *, n: floating(x), attributes=DerivativeOrder, symbol="ψ", reads=Reads.INPUTS,
                      forward=_polygamma,
                      backward=(lambda op, g, out, x, *, n: op.mul_no_nan(g, op.polygamma(x, n=n + 1)),)),
}, {
    "exp": Note("{g} · {out} to {x}", kinks="a gradient of 0 stays 0 where out is infinite", onnx=Onnx("Exp"),
                numpy="exp",
                also="exponential exponent e^x", words="scales its gradient by its own output", formula="own",
                dead="underflows"),
    "expm1": Note("{g} · e^{x} to {x}", kinks="exact far below 0", numpy="expm1", also="exp_minus_1", formula="own",
                  dead="is saturated"),
    "log": Note("{g} / {x} to {x}", kinks="infinite at 0, but a gradient of 0 stays 0", onnx=Onnx("Log"), numpy="log",
                also="ln natural_log loge logarithm", words="divides its gradient by its operand", formula="own"),
    "log1p": Note("{g} / (1 + {x}) to {x}", kinks="infinite at -1, but a gradient of 0 stays 0", numpy="log1p",
                  also="log_plus_1", formula="own"),
    "log_add_exp": Note("{g} · e^({x} - {out}) to {x}, {g} · e^({y} - {out}) to {y}",
                        kinks="half each where both are equally infinite", numpy="logaddexp", formula="own"),
    "erf": Note("{g} · 2/√π · e^-{x}² to {x}", onnx=Onnx("Erf", written="f"), numpy="scipy.special.erf",
                also="error_function", formula="erf(x)", dead="is saturated"),
    "erfc": Note("-{g} · 2/√π · e^-{x}² to {x}", numpy="scipy.special.erfc", also="complementary_error_function",
                 dead="is saturated"),
    "lgamma": Note("{g} · ψ({x}) to {x}", kinks="-∞ at 0, the slope from above",
                   numpy="scipy.special.gammaln", also="log_gamma", formula="own"),
    "polygamma": Note("{g} · ψ⁽ⁿ⁺¹⁾({x}) to {x}", numpy="scipy.special.polygamma", example={"n": 1}),
})
