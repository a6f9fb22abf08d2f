"""Functions of JAX arrays where XLA's own lose digits. It imports JAX, so it is imported for JAX arrays alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ZETA_LESS_1: Any = import_module("scipy.special").zetac

_NEAR_2 = (1 - float(np.euler_gamma), *((-1) ** k * float(_ZETA_LESS_1(k)) / k for k in range(2, 30)))
"""Coefficients of ln Γ(2 + z) in z, z² …, |z| ≤ 1/2: https://dlmf.nist.gov/5.7.E3 with Γ(2 + z) = (1 + z) Γ(1 + z)."""

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
"""Coefficients of ln Γ(x) - (x - 1/2) ln x + x - ln(2π) / 2 in 1/x, 1/x³ …: https://dlmf.nist.gov/5.11.E1."""

_FAR = 10.5
"""From here on Stirling's series has all digits."""


@jax.jit
def sinh(x: Any) -> Any:
    """XLA's loses three digits, because it takes ln 2 from the exponent; this takes half of it."""
    size = jnp.abs(x)
    root, less = jnp.exp(size / 2), jnp.expm1(jnp.minimum(size, 1))
    far, near = 0.5 * root * root - 0.5 / (root * root), 0.5 * (less + less / (less + 1))
    return jnp.copysign(jnp.where(size > 1, far, near), x)


@jax.jit
def cosh(x: Any) -> Any:
    """As `sinh`."""
    root = jnp.exp(jnp.abs(x) / 2)
    return 0.5 * root * root + 0.5 / (root * root)


@jax.jit
def atanh(x: Any) -> Any:
    """By the logarithm of 1 + x for x above 0: XLA's loses two digits between -0.41 and -0.29."""
    size = jnp.abs(x)
    return jnp.copysign(0.5 * jnp.log1p(2 * size / (1 - size)), x)


@jax.jit
def digamma(x: Any) -> Any:
    """The slope of ln Γ; at 0 it is infinite, as the side of the zero has it."""
    return jnp.where(x == 0, -1 / x, jax.scipy.special.digamma(x))


@jax.jit
def gammaln(x: Any) -> Any:
    """The logarithm of |Γ(x)|; XLA's loses digits around 1 and 2, where it is 0.

    Up to 1/2 by Γ(x) = Γ(1 + x) / x, below 0 by the reflection Γ(x) Γ(-x) = -π / (x sin πx).
    """
    size = jnp.abs(x)
    shifts = jnp.clip(jnp.round(size) - 2, -1, 8)
    near, product = size - (2 + shifts), jnp.where(shifts == -1, size, 1)
    for k in range(1, 9):
        product = product * jnp.where(shifts >= k, size - k, 1)
    small = size < 0.5
    near, product = jnp.where(small, size, near), jnp.where(small, size * (1 + size), product)
    short = reduce(lambda total, c: total * near + c, _NEAR_2[::-1], jnp.zeros_like(x)) * near
    logarithm = jnp.log(product)
    short = jnp.where(shifts > 0, short + logarithm, short - logarithm)
    far = jnp.maximum(size, _FAR)
    series = reduce(lambda total, c: total / (far * far) + c, _STIRLING[::-1], jnp.zeros_like(x)) / far
    long = (far - 0.5) * (jnp.log(far) - 1) + (0.5 * math.log(2 * math.pi) - 0.5) + series
    above = jnp.where(size < _FAR, short, long)
    rest = jnp.abs(x - jnp.round(x))
    below = -jnp.log(size) - jnp.log(jnp.sin(math.pi * rest) / math.pi) - above
    return jnp.where(size == jnp.inf, size, jnp.where(x < 0, jnp.where(rest == 0, jnp.inf, below), above))


OWN: Mapping[str, Any] = {"atanh": atanh, "cosh": cosh, "digamma": digamma, "gammaln": gammaln, "sinh": sinh}
"""By the name of what they are instead of, in `jax.numpy` or `jax.scipy.special`."""
