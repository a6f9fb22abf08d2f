"""Functions that ONNX, or ONNX Runtime in float64, does not have, from those that it has."""

from __future__ import annotations

import math

import numpy as np

from circuitflow.onnx.writing import Formulas

ERFC = (
    -0.65132685989085472, 0.64196979235649026, 0.019476473204185836, -0.0095615147868086316, -0.00094659534448203687,
    0.00036683949785276145, 4.2523324806907772e-5, -2.0278578112534243e-5, -1.6242900046470255e-6,
    1.3036558355805232e-6, 1.5626441722066143e-8, -8.5238095914926543e-8, 6.5290544390988515e-9,
    5.0593434955514689e-9, -9.9136415649303309e-10, -2.2736512229318359e-10, 9.6467911020155268e-11,
    2.3940380830391147e-12, -6.8860275264975534e-12, 8.9448792730907257e-13, 3.1309213993429581e-13,
    -1.1270822361367252e-13, 3.8109052551892321e-16, 7.106097613609237e-15, -1.5230282014571043e-15,
)
"""Coefficients, in Chebyshev polynomials of 2t - 1, of ln(erfc(z) / t) + z² for t = 2 / (2 + z), z from 0 on.

The substitution is that of Press et al., Numerical Recipes, 3rd edition, section 6.2.2; computed with 40 digits.
"""

ERF_TERMS = [(-1) ** n * 2 / math.sqrt(math.pi) / (math.factorial(n) * (2 * n + 1)) for n in range(18)]
"""Taylor coefficients of erf(x) / x in x²."""


def expm1(f: Formulas, x: str) -> str:
    """By (u - 1) x / ln u, u = e^x, whose errors cancel (Kahan)."""
    u = f("Exp", x)
    less = f("Sub", u, 1.0)
    quotient = f("Mul", less, f("Div", x, f("Log", u)))
    plain = f.writer.add("Or", f("Equal", less, -1.0), f.writer.add("IsInf", u))
    return f.where(f("Equal", u, 1.0), x, f.where(plain, less, quotient))


def log1p(f: Formulas, x: str) -> str:
    """By x ln u / (u - 1), u = 1 + x, whose errors cancel (Kahan)."""
    u = f("Add", x, 1.0)
    less = f("Sub", u, 1.0)
    log = f("Log", u)
    quotient = f("Mul", log, f("Div", x, less))
    plain = f.writer.add("Or", f.writer.add("IsInf", u), f("LessOrEqual", u, 0.0))
    return f.where(f("Equal", less, 0.0), x, f.where(plain, log, quotient))


def hypot(f: Formulas, x: str, y: str) -> str:
    """The larger side times √(1 + r²), r the quotient of the smaller by it."""
    x, y = f("Abs", x), f("Abs", y)
    large, small = f("Max", x, y), f("Min", x, y)
    ratio = f("Div", small, f.where(f("Equal", large, 0.0), 1.0, large))
    length = f("Mul", large, f("Sqrt", f("Add", f("Mul", ratio, ratio), 1.0)))
    infinite = f.writer.add("Or", f.writer.add("IsInf", x), f.writer.add("IsInf", y))
    return f.where(infinite, math.inf, length)


def logaddexp(f: Formulas, x: str, y: str) -> str:
    """The larger plus ln(1 + e^-|x - y|), where the difference of equal infinities is 0."""
    gap = f.where(f("Equal", x, y), 0.0, f("Abs", f("Sub", x, y)))
    return f("Add", f("Max", x, y), log1p(f, f("Exp", f("Neg", gap))))


def tan(f: Formulas, x: str) -> str:
    """The sine over the cosine."""
    return f("Div", f("Sin", x), f("Cos", x))


def sinh(f: Formulas, x: str) -> str:
    """By e^|x| - 1, in halves so that it does not overflow early."""
    size = f("Abs", x)
    e = expm1(f, f("Min", size, 20.0))
    near = f("Mul", f("Add", e, f("Div", e, f("Add", e, 1.0))), 0.5)
    half = f("Exp", f("Mul", size, 0.5))
    far = f("Mul", f("Mul", half, 0.5), half)
    return f("Mul", f("Sign", x), f.where(f("Less", size, 20.0), near, far))


def cosh(f: Formulas, x: str) -> str:
    """The mean of e^|x| and its reciprocal, in halves so that it does not overflow early."""
    half = f("Exp", f("Mul", f("Abs", x), 0.5))
    inverse = f("Div", 1.0, half)
    return f("Add", f("Mul", f("Mul", half, 0.5), half), f("Mul", f("Mul", inverse, 0.5), inverse))


def asinh(f: Formulas, x: str) -> str:
    """By ln(1 + |x| + x² / (1 + √(1 + x²))); far out by ln 2|x|."""
    size = f("Abs", x)
    near = f("Min", size, 1e8)
    square = f("Mul", near, near)
    inner = f("Add", near, f("Div", square, f("Add", f("Sqrt", f("Add", square, 1.0)), 1.0)))
    far = f("Add", f("Log", f("Max", size, 1e8)), math.log(2))
    return f("Mul", f("Sign", x), f.where(f("Less", size, 1e8), log1p(f, inner), far))


def acosh(f: Formulas, x: str) -> str:
    """By ln(1 + t + √(t (t + 2))), t = x - 1; far out by ln 2x."""
    t = f("Sub", f("Min", x, 1e8), 1.0)
    near = log1p(f, f("Add", t, f("Sqrt", f("Mul", t, f("Add", t, 2.0)))))
    far = f("Add", f("Log", f("Max", x, 1e8)), math.log(2))
    return f.where(f("Less", x, 1e8), near, far)


def atanh(f: Formulas, x: str) -> str:
    """Half of ln(1 + 2x / (1 - x)), of |x|."""
    size = f("Abs", x)
    return f("Mul", f("Sign", x), f("Mul", log1p(f, f("Div", f("Mul", size, 2.0), f("Sub", 1.0, size))), 0.5))


def atan(f: Formulas, x: str) -> str:
    """A step from float32: to the angle y the arc tangent of (x cos y - sin y) / (cos y + x sin y), which is small.

    Beyond 1 it is π/2 less the angle of the reciprocal.
    """
    size = f("Abs", x)
    inside = f("LessOrEqual", size, 1.0)
    z = f.where(inside, size, f("Div", 1.0, f("Max", size, 1.0)))
    y = f.writer.cast(f.writer.add("Atan", f.writer.cast(z, np.float32)), f.dtype)
    sine, cosine = f("Sin", y), f("Cos", y)
    d = f("Div", f("Sub", f("Mul", z, cosine), sine), f("Add", cosine, f("Mul", z, sine)))
    angle = f("Add", y, d)
    return f("Mul", f("Sign", x), f.where(inside, angle, f("Sub", math.pi / 2, angle)))


def asin(f: Formulas, x: str) -> str:
    """The angle of the sides x and √((1 - x) (1 + x))."""
    side = f("Sqrt", f("Mul", f("Sub", 1.0, x), f("Add", 1.0, x)))
    return atan(f, f("Div", x, side))


def acos(f: Formulas, x: str) -> str:
    """Twice the angle of √((1 - x) / (1 + x))."""
    return f("Mul", atan(f, f("Sqrt", f("Div", f("Sub", 1.0, x), f("Add", 1.0, x)))), 2.0)


def atan2(f: Formulas, y: str, x: str) -> str:
    """By the arc tangent of the smaller side over the larger; a side of -0 counts as below 0, as IEEE 754 has it."""
    arc = atan if f.dtype == np.float64 else (lambda f, x: f("Atan", x))
    a, b = f("Abs", y), f("Abs", x)
    large, small = f("Max", a, b), f("Min", a, b)
    is_same = f("Equal", a, b)  # both infinite or both 0 among them
    some = f.where(is_same, 1.0, f.where(f("Equal", large, 0.0), 1.0, large))
    ratio = f.where(is_same, f.where(f("Equal", a, 0.0), 0.0, 1.0), f("Div", small, some))
    angle = arc(f, ratio)
    angle = f.where(f("Greater", a, b), f("Sub", math.pi / 2, angle), angle)
    angle = f.where(below(f, x), f("Sub", math.pi, angle), angle)
    angle = f.where(below(f, y), f("Neg", angle), angle)
    missing = f.writer.add("Or", f.writer.add("IsNaN", x), f.writer.add("IsNaN", y))
    return f.where(missing, math.nan, angle)


def below(f: Formulas, x: str) -> str:
    """Whether the sign is minus, also of 0."""
    result: str = f.writer.add("Or", f("Less", x, 0.0), f("Less", f("Reciprocal", x), 0.0))
    return result


def erfc(f: Formulas, x: str) -> str:
    """By a series of Chebyshev polynomials, to 16 digits from 0 to the end of the range."""
    z = f("Abs", x)
    t = f("Div", 2.0, f("Add", z, 2.0))
    y = f("Sub", f("Mul", t, 4.0), 2.0)
    first: str | float = ERFC[-1]
    second: str | float = 0.0
    for c in ERFC[-2:0:-1]:
        first, second = f("Add", f("Sub", f("Mul", y, first), second), c), first
    series = f("Add", f("Sub", f("Mul", f("Mul", y, 0.5), first), second), ERFC[0])
    value = f("Mul", t, f("Exp", f("Sub", series, f("Mul", z, z))))
    value = f.where(f.writer.add("IsInf", z), 0.0, value)
    return f.where(f("Less", x, 0.0), f("Sub", 2.0, value), value)


def erf(f: Formulas, x: str) -> str:
    """By its Taylor series near 0, and by erfc elsewhere."""
    size = f("Abs", x)
    near = f("Min", size, 1.0)
    series = f("Mul", near, f.horner(f("Mul", near, near), ERF_TERMS[::-1]))
    return f("Mul", f("Sign", x), f.where(f("Less", size, 1.0), series, f("Sub", 1.0, erfc(f, size))))
