"""How exact every element-wise gate is, value and slopes, over the whole range of floats: bounds, and what is measured.

mpmath gives the exact numbers from the operands as they are, with as many digits as they need. An error is counted in
ulps: the distance between neighbouring floats at the exact number, that of subnormal numbers included.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mpmath import mp, mpf

from circuitflow.gates.activations import SELU_ALPHA, SELU_SCALE
from support.edge_points import pull

MANY = 10_000
"""Points of the long test and of the page; half of them are in the range of everyday numbers."""

BITS = 200
"""Of precision of the exact numbers: three times as many as a float has, for where they are small differences."""

ULPS = 4.0
"""The bound where a row states no other."""


@dataclass(frozen=True)
class Row:
    """A gate against mpmath.

    Attributes:
        exact: functions of mpmath: the value, then the slope in each operand.
        bounds: ulps that are promised, likewise, where they are not 4.
        scale: a number of the smallest normal float and the operands. Where the exact number is smaller, ulps are those
            of this one: the gate is the difference of two numbers of this size, or the product of a subnormal one.
        why: where a bound above 4 or a scale comes from.
        domain: where the gate has a value, of the smallest normal float and the operands.
        attributes: of the gate, where they are not the defaults.
    """

    exact: tuple[Callable[..., Any], ...]
    bounds: tuple[float, ...] = ()
    scale: Callable[..., Any] | None = None
    why: str = ""
    domain: Callable[..., Any] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def _exp(x: Any) -> Any:
    """Of a number that is far out of range, the infinity or zero that it is rounded to: mpmath would compute its
    digits."""
    return mp.exp(x) if abs(x) < 1e5 else mpf(0) if x < 0 else mp.inf


def _expm1(x: Any) -> Any:
    return mp.expm1(x) if abs(x) < 1 else _exp(x) - 1


def _cosh(x: Any) -> Any:
    return (_exp(x) + _exp(-x)) / 2


def _sinh(x: Any) -> Any:
    return mp.sinh(x) if abs(x) < 1 else (_exp(x) - _exp(-x)) / 2


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + _exp(-x))


def _softplus(x: Any) -> Any:
    return mp.log1p(_exp(x)) if x < 0 else x + mp.log1p(_exp(-x))


def _phi(x: Any) -> Any:
    return _exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _erfc(x: Any) -> Any:
    return mp.erfc(x) if abs(x) < 1e4 else mpf(0 if x > 0 else 2)


def _cdf(x: Any) -> Any:
    return _erfc(-x / mp.sqrt(2)) / 2


def _gelu_tanh(x: Any) -> Any:
    t = 2 * mp.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3)
    return x * _sigmoid(t)


def _gelu_tanh_slope(x: Any) -> Any:
    c = mp.sqrt(2 / mp.pi)
    t = 2 * c * (x + mpf(0.044715) * x**3)
    return _sigmoid(t) + x * _sigmoid(t) * _sigmoid(-t) * 2 * c * (1 + 3 * mpf(0.044715) * x**2)


def _mish_slope(x: Any) -> Any:
    t = mp.tanh(_softplus(x))
    return t + x / _cosh(_softplus(x)) ** 2 * _sigmoid(x)


def _lgamma(x: Any) -> Any:
    if x > 0:
        return mp.loggamma(x)
    return mp.log(mp.pi / abs(mp.sinpi(x))) - mp.loggamma(1 - x)


def _polygamma(n: int, x: Any) -> Any:
    """The reflection formula below 0."""
    if x > 0:
        return mp.psi(n, x)
    return (-1) ** n * mp.psi(n, 1 - x) - mp.pi ** (n + 1) * _cotangent(n, mp.cospi(x) / mp.sinpi(x))


def _gamma_scale(tiny: Any, x: Any) -> Any:
    if x > 0:
        return mpf(0 if x > 3 else 1)
    return max(mpf(1), mp.log(1 - x), mp.loggamma(1 - x) if x > -10 else 0)


def _no_pole(tiny: float, x: Any) -> Any:
    return (x > 0) | ((x != np.floor(x)) & (x > -1e6))


def _dip(factor: Callable[[Any], Any], lost: int = 0) -> Callable[..., Any]:
    """The scale of a slope that is 0 in a dip below 0: its first term; further down, x times a subnormal factor,
    which may have lost bits."""
    return lambda tiny, x: min(factor(x), abs(x)) if x > -3 else tiny * abs(x) * mpf(2) ** (lost if x < -37 else 0)


def _cotangent(n: int, c: Any) -> Any:
    return (c, -(1 + c * c), 2 * c * (1 + c * c), -2 * (1 + c * c) * (1 + 3 * c * c))[n]


def _sinc(x: Any) -> Any:
    return mp.sinpi(x) / (mp.pi * x) if x else mpf(1)


def _sinc_slope(x: Any) -> Any:
    return (mp.cospi(x) - _sinc(x)) / x if abs(x) > 1e-18 else -mp.pi**2 / 3 * x


def _gaussian(x: Any) -> Any:
    return 2 / mp.sqrt(mp.pi) * _exp(-x * x)


def _one(*_: Any) -> Any:
    return mpf(1)


def _log_add_exp(x: Any, y: Any) -> Any:
    high, low = max(x, y), min(x, y)
    return high + mp.log1p(_exp(low - high))


def _pow_y(x: Any, y: Any) -> Any:
    return x**y * mp.log(x)


def _clamp(x: Any) -> Any:
    return min(max(x, mpf(0)), mpf(1))


_alpha, _scale = mpf(SELU_ALPHA), mpf(SELU_SCALE)
_ROUNDED = "the argument of an exponential is rounded, and is up to 745 (104 in float32)"
_SUBNORMAL = "a factor that is subnormal has fewer digits"
_ZERO = "two numbers of like size cancel where the slope is 0"

ROWS: dict[str, Row] = {
    # arithmetic
    "add": Row((lambda x, y: x + y, _one, _one)),
    "sub": Row((lambda x, y: x - y, _one, lambda x, y: mpf(-1))),
    "mul": Row((lambda x, y: x * y, lambda x, y: y, lambda x, y: x)),
    "mul_no_nan": Row((lambda x, y: x * y, lambda x, y: y, lambda x, y: x)),
    "div": Row((lambda x, y: x / y, lambda x, y: 1 / y, lambda x, y: -x / y**2),
               scale=lambda tiny, x, y: tiny / abs(y), why=_SUBNORMAL),
    "reciprocal": Row((lambda x: 1 / x, lambda x: -1 / x**2)),
    "pow": Row((lambda x, y: x**y, lambda x, y: y * x ** (y - 1), _pow_y), (4, 520, 4),
               scale=lambda tiny, x, y: tiny * max(abs(y), abs(mp.log(x))),
               domain=lambda tiny, x, y: (x > math.sqrt(tiny)) & (x < 1 / math.sqrt(tiny)),
               why=f"y - 1 is rounded; {_SUBNORMAL}; for x within the root of the range: beyond, x^(y - 1) may leave "
                   f"it"),
    "sqrt": Row((mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x))), domain=lambda tiny, x: x > 0),
    "square": Row((lambda x: x * x, lambda x: 2 * x)),
    "hypot": Row((mp.hypot, lambda x, y: x / mp.hypot(x, y), lambda x, y: y / mp.hypot(x, y)),
                 scale=lambda tiny, x, y: tiny / mp.hypot(x, y), why=_SUBNORMAL),
    "mean": Row((lambda x, y: (x + y) / 2, lambda x, y: mpf(0.5), lambda x, y: mpf(0.5))),
    # exponential
    "exp": Row((_exp, _exp)),
    "expm1": Row((_expm1, _exp)),
    "log": Row((mp.log, lambda x: 1 / x), domain=lambda tiny, x: x > 0),
    "log1p": Row((mp.log1p, lambda x: 1 / (1 + x)), domain=lambda tiny, x: x > -1),
    "log_add_exp": Row((_log_add_exp, lambda x, y: _sigmoid(x - y), lambda x, y: _sigmoid(y - x)), (520, 520, 520),
                       scale=lambda tiny, x, y: abs(max(x, y)) if -1 < max(x, y) < 0 else mpf(0), why=_ROUNDED),
    "erf": Row((mp.erf, _gaussian), (4, 520), why=_ROUNDED),
    "erfc": Row((_erfc, lambda x: -_gaussian(x)), (520, 520),
                scale=lambda tiny, x: tiny * mpf(2) ** 50 if x > 26.5 else mpf(0),
                why=f"{_ROUNDED}; SciPy's value is 0 below the smallest normal number"),
    "lgamma": Row((_lgamma, lambda x: _polygamma(0, x)), (8, 4), domain=_no_pole, scale=_gamma_scale,
                  why="SciPy's and Python's own; near zeros ulps of 1, below 0 of ln Γ(1 - x) or ln(abs(x))"),
    "polygamma": Row((lambda x: _polygamma(1, x), lambda x: _polygamma(2, x)), (8, 8), domain=_no_pole,
                     scale=_gamma_scale, attributes={"n": 1},
                     why="a power of the cotangent below 0; as lgamma near zeros"),
    # trigonometric
    "sin": Row((mp.sin, mp.cos)),
    "cos": Row((mp.cos, lambda x: -mp.sin(x))),
    "tan": Row((mp.tan, lambda x: 1 / mp.cos(x) ** 2), (4, 8), why="a square doubles the error of tan"),
    "asin": Row((mp.asin, lambda x: 1 / mp.sqrt(1 - x * x)), domain=lambda tiny, x: abs(x) < 1),
    "acos": Row((mp.acos, lambda x: -1 / mp.sqrt(1 - x * x)), domain=lambda tiny, x: abs(x) < 1),
    "atan": Row((mp.atan, lambda x: 1 / (1 + x * x))),
    "atan2": Row((mp.atan2, lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y)),
                 scale=lambda tiny, y, x: tiny / mp.hypot(x, y) * (1 + 2 / mp.hypot(x, y)), why=_SUBNORMAL),
    "sinh": Row((_sinh, _cosh)),
    "cosh": Row((_cosh, _sinh)),
    "tanh": Row((mp.tanh, lambda x: 1 / _cosh(x) ** 2), (4, 8), why="a square doubles the error of cosh"),
    "asinh": Row((mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x))),
    "acosh": Row((mp.acosh, lambda x: 1 / mp.sqrt(x * x - 1)), domain=lambda tiny, x: x > 1),
    "atanh": Row((mp.atanh, lambda x: 1 / (1 - x * x)), domain=lambda tiny, x: abs(x) < 1),
    "sinc": Row((_sinc, _sinc_slope), scale=lambda tiny, x: 1 / abs(x) if abs(x) > 0.25 else mpf(0), why=_ZERO),
    # activations
    "sigmoid": Row((_sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x)),
                   scale=lambda tiny, x: tiny * mpf(2) ** 50 if x > 88 else mpf(0),
                   why="far above 0, a slope below a quarter of the smallest normal number is 0"),
    "softplus": Row((_softplus, _sigmoid)),
    "log_sigmoid": Row((lambda x: -_softplus(-x), lambda x: _sigmoid(-x))),
    "elu": Row((lambda x: x if x > 0 else _expm1(x), lambda x: mpf(1) if x > 0 else _exp(x))),
    "selu": Row((lambda x: _scale * (x if x > 0 else _alpha * _expm1(x)),
                 lambda x: _scale * (1 if x > 0 else _alpha * _exp(x)))),
    "celu": Row((lambda x: x if x > 0 else _expm1(x), lambda x: mpf(1) if x > 0 else _exp(x))),
    "gelu": Row((lambda x: x * _cdf(x), lambda x: _cdf(x) + x * _phi(x)), (2900, 2900), scale=_dip(_cdf, 50),
                why=f"{_ROUNDED}; {_ZERO}"),
    "gelu, approximate: tanh": Row((_gelu_tanh, _gelu_tanh_slope), (4500, 4500), scale=_dip(_cdf),
                                   attributes={"approximate": "tanh"}, why=f"{_ROUNDED}, after a cube; {_ZERO}"),
    "softsign": Row((lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2)),
    "swish": Row((lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) + x * _sigmoid(x) * _sigmoid(-x)),
                 (4, 8), scale=_dip(_sigmoid), why=f"{_ZERO}; {_SUBNORMAL}"),
    "mish": Row((lambda x: x * mp.tanh(_softplus(x)), _mish_slope), (4, 16), scale=_dip(_sigmoid),
                why=f"{_ZERO}; a square doubles the error of cosh; {_SUBNORMAL}"),
    "hard_sigmoid": Row((lambda x: _clamp(mpf(0.2) * x + mpf(0.5)), lambda x: mpf(0.2) if abs(x) <= 2.5 else mpf(0)),
                        scale=lambda tiny, x: mpf(0.5), why="ulps of 1/2, which alpha · x is added to"),
    "hard_swish": Row((lambda x: x * _clamp(x / 6 + mpf(0.5)),
                       lambda x: mpf(0) if x <= -3 else mpf(1) if x >= 3 else x / 3 + mpf(0.5)),
                      scale=lambda tiny, x: min(mpf(0.5), abs(x) / 2), why="ulps of 1/2, which x / 6 is added to"),
    "leaky_relu": Row((lambda x: x if x > 0 else mpf(0.01) * x, lambda x: mpf(1) if x > 0 else mpf(0.01))),
    "prelu": Row((lambda x, s: x if x > 0 else s * x, lambda x, s: mpf(1) if x > 0 else s,
                  lambda x, s: mpf(0) if x > 0 else x)),
}
"""By the gate's name, and what tells its attributes."""

EXACT = ("neg", "identity", "stop_gradient", "abs", "sign", "max", "min", "clip", "floor", "ceil", "round", "mod",
         "relu",
         "thresholded_relu")
"""Element-wise gates that choose, or round to integers."""


def points(row: Row, count: int, dtype: Any) -> tuple[np.ndarray, ...]:
    """Operands in the domain: half log-spaced over the whole range of magnitudes, half from 2⁻¹² to 2¹¹; of both
    signs."""
    info = np.finfo(dtype)
    ranges = [(math.log2(float(info.smallest_subnormal)), math.log2(float(info.max))), (-12.0, 11.0)]
    columns = []
    for i in range(len(row.exact) - 1):
        random = np.random.RandomState(17 + i)
        sizes = [2.0 ** np.linspace(least, most - 1e-9, count // 2) for least, most in ranges]
        halves = [np.where(np.arange(count // 2) % 2, -size, size).astype(dtype) for size in sizes]
        columns.append(np.concatenate([random.permutation(half) for half in halves]))
    inside = np.ones(count // 2 * 2, bool) if row.domain is None else row.domain(float(info.tiny), *columns)
    return tuple(x[inside] for x in columns)


def exact(row: Row, xs: tuple[np.ndarray, ...], tiny: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Value and slopes as sums of two float64, and the scale likewise."""
    functions = [*row.exact, *([functools.partial(row.scale, mpf(tiny))] if row.scale else [])]
    found = np.empty((len(functions), 2, len(xs[0])))
    with mp.workprec(BITS):
        for i, operands in enumerate(zip(*(x.tolist() for x in xs), strict=True)):
            given = list(map(mpf, operands))
            for k, function in enumerate(functions):
                value = function(*given)
                high = _float(value)
                found[k, :, i] = high, _float(value - mpf(high)) if math.isfinite(high) else 0.0
    return [(high, low) for high, low in found]


def _float(x: Any) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.copysign(math.inf, x)


def errors(found: Any, wanted: tuple[np.ndarray, np.ndarray], scale: np.ndarray | None, dtype: Any) -> np.ndarray:
    """Errors in ulps; 0 where both are infinite, or the exact number rounds to infinity or nearly so."""
    high, low = wanted
    found = np.asarray(found, np.float64)
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        size = np.abs(high) if scale is None else np.maximum(np.abs(high), np.abs(scale))
        ulp = np.spacing(np.minimum(size, info.max).astype(dtype)).astype(np.float64)
        error = np.abs((found - high) - low) / ulp
        clipped = np.clip(found, -float(info.max), float(info.max))
        beyond = np.abs(np.clip(high, -float(info.max), float(info.max)) - clipped) / ulp
    over = ~np.isfinite(found) & ~np.isnan(found) | (np.abs(high) > float(info.max))
    return np.where(np.isnan(found) | np.isnan(error) & ~over, math.inf, np.where(over, beyond, error))


def measured(name: str, count: int, dtype: Any) -> Iterator[tuple[float, tuple[float, ...]]]:
    """The largest error of the value and of each slope, in ulps, and the operands where it is."""
    row = ROWS[name]
    xs = points(row, count, dtype)
    value, slopes = pull(name.partition(",")[0], *xs, g=np.ones(len(xs[0])), dtype=dtype, **row.attributes)
    wanted = exact(row, xs, float(np.finfo(dtype).tiny))
    scale = wanted.pop()[0] if row.scale else None
    for found, right in zip([value, *slopes], wanted, strict=True):
        error = errors(found, right, scale, dtype)
        worst = int(np.argmax(error))
        yield float(error[worst]), tuple(float(x[worst]) for x in xs)


def bounds(row: Row, dtype: Any) -> tuple[float, ...]:
    """What is promised, for the value and each slope.

    Large bounds grow with an exponent, of which float32 has fewer.
    """
    share = 1.0 if dtype == np.float64 else 104 / 745
    return tuple(bound * share if bound > 100 else bound for bound in row.bounds or (ULPS,) * len(row.exact))


def table(cells: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """The part of the page of conventions; `cells` are what was measured in float64 and float32, by row."""
    yield HEADING
    yield ""
    yield ("The table has errors of values and slopes of every element-wise gate against mpmath, in ulps (the "
           "distance between neighbouring floats at the exact number): the largest that is allowed, and the largest "
           f"that was measured at {MANY:,} points of both signs. Half of the points are log-spaced over the whole "
           f"range of magnitudes, with subnormal numbers, and half lie from 2⁻¹² to 2¹¹. {ULPS:g} ulps are allowed, or"
           " what the table has with its reason; float32 is allowed a seventh of what is more than 100. The errors "
           f"were measured with NumPy on one machine; other machines have other exponentials. {', '.join(EXACT[:-1])} "
           f"and {EXACT[-1]} choose or round, so they are exact. `tests/gates/test_accuracy.py` checks the table, by "
           "default on fewer points.")
    yield ""
    yield "| gate | allowed: value; slopes | measured in float64 | in float32 | why more, or of what |"
    yield "|---|---|---|---|---|"
    for name, row in ROWS.items():
        allowed = said(bounds(row, np.float64))
        yield " | ".join([f"| {name}", allowed, *cells.get(name, ("", "")), row.why, ""]).rstrip()


HEADING = "## How exact"


def said(numbers: Sequence[float]) -> str:
    """A value's number, and those of the slopes."""
    value, *slopes = (f"{x:.2g}" if x < 100 else f"{x:.0f}" for x in numbers)
    return f"{value}; {', '.join(slopes)}"
