"""Robust losses of residuals: ρ(z) and its first two derivatives, for z = (residual / scale)².

Names and formulas are those of `scipy.optimize.least_squares`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Robust = Callable[[Any], tuple[Any, Any, Any]]
"""z → ρ, ρ′, ρ″."""


def _linear(z: Any) -> tuple[Any, Any, Any]:
    return z, np.ones_like(z), np.zeros_like(z)


def _soft_l1(z: Any) -> tuple[Any, Any, Any]:
    t = 1 + z
    return 2 * (np.sqrt(t) - 1), t**-0.5, -0.5 * t**-1.5


def _huber(z: Any) -> tuple[Any, Any, Any]:
    t = np.maximum(z, 1)
    inside = z <= 1
    return (np.where(inside, z, 2 * np.sqrt(t) - 1), np.where(inside, 1.0, t**-0.5),
            np.where(inside, 0.0, -0.5 * t**-1.5))


def _cauchy(z: Any) -> tuple[Any, Any, Any]:
    t = 1 + z
    return np.log1p(z), 1 / t, -1 / t**2


def _arctan(z: Any) -> tuple[Any, Any, Any]:
    t = 1 + z**2
    return np.arctan(z), 1 / t, -2 * z / t**2


ROBUST: Mapping[str, Robust] = {
    "linear": _linear,
    "soft_l1": _soft_l1,
    "huber": _huber,
    "cauchy": _cauchy,
    "arctan": _arctan,
}
