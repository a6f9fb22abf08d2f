"""Measures the logarithm of the likelihood of a mixture of Gaussians of 128 dimensions, and all gradients, in float64.

The function is that of ADBench: F. Šrajer, Z. Kukelova, A. Fitzgibbon, "A Benchmark of Selected Algorithmic
Differentiation Tools on Some Problems in Computer Vision and Machine Learning", Optimization Methods and Software 33
(2018). The inverse of a covariance is the square of a lower triangular matrix, whose diagonal is e^q.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case

GAMMA, FREEDOM = 1.0, 0
"""The parameters of the Wishart prior."""

WRT = ("alphas", "means", "icf")
"""For each component its weight, its mean (d), and q (d) followed by what is below the diagonal, column by column."""


def cases(points: int = 1000, dimensions: int = 128, components: int = 10) -> Iterator[Case]:
    """By the interpreter and as staged code, which are NumPy, beside JAX."""
    circuit, values = mixture(points, dimensions, components), sample(points, dimensions, components)
    for engine in ("interpreter", "staged"):
        compiled = partial(cf.Executor(circuit).compile(wrt=list(WRT), engine=engine), **values)
        yield Case(f"Gaussian mixture, {points} × {dimensions}, {components} components, {engine}", "call", 1,
                   compiled, lambda: {"jax.jit": in_jax(values)},
                   {"jax.jit": 3.0}, rtol=1e-8)


def sample(points: int, dimensions: int, components: int) -> dict[str, Any]:
    """Points and parameters."""
    random = np.random.default_rng(0)
    return {"x": random.standard_normal((points, dimensions)), "alphas": random.standard_normal(components),
            "means": random.standard_normal((components, dimensions)),
            "icf": 0.1 * random.standard_normal((components, dimensions * (dimensions + 1) // 2))}


def places(dimensions: int) -> Any:
    """For every element of a lower triangular matrix with zeros on its diagonal, its place after a zero and q."""
    columns, rows = np.triu_indices(dimensions, 1)
    places = np.zeros((dimensions, dimensions), np.int64)
    places[rows, columns] = 1 + dimensions + np.arange(len(rows))
    return places


def mixture(points: int, dimensions: int, components: int) -> cf.Circuit:
    """The circuit."""
    with cf.Builder("mixture") as c:
        x, alphas = c.input("x", shape=[points, dimensions]), c.input("alphas", shape=[components])
        means = c.input("means", shape=[components, dimensions])
        icf = c.input("icf", shape=[components, dimensions * (dimensions + 1) // 2])
        triangles = np.take(np.concatenate([np.zeros((components, 1)), icf], axis=1), places(dimensions), axis=1)
        q, below = icf[:, :dimensions], icf[:, dimensions:]
        centred = x[:, None] - means
        scaled = np.exp(q) * centred + np.einsum("kij,nkj->nki", triangles, centred)
        of_points = c.reduce_log_sum_exp(alphas + np.sum(q, axis=1) - 0.5 * np.sum(scaled**2, axis=2), axis=1)
        c.output(np.sum(of_points) - points * c.reduce_log_sum_exp(alphas)
                 + _prior(np.sum, np.exp, q, below) + _constant(points, dimensions, components), "f")
    return c.circuit


def in_jax(values: Mapping[str, Any]) -> Callable[[], Any]:
    """JAX, written by hand."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import logsumexp

    (points, dimensions), components = values["x"].shape, len(values["alphas"])
    columns, rows = np.triu_indices(dimensions, 1)

    def likelihood(alphas: Any, means: Any, icf: Any, x: Any) -> Any:
        q, below = icf[:, :dimensions], icf[:, dimensions:]
        triangles = jnp.zeros((components, dimensions, dimensions)).at[:, rows, columns].set(below)
        centred = x[:, None] - means
        scaled = jnp.exp(q) * centred + jnp.einsum("kij,nkj->nki", triangles, centred)
        of_points = logsumexp(alphas + jnp.sum(q, axis=1) - 0.5 * jnp.sum(scaled**2, axis=2), axis=1)
        return (jnp.sum(of_points) - points * logsumexp(alphas) + _prior(jnp.sum, jnp.exp, q, below)
                + _constant(points, dimensions, components))

    compiled = jax.jit(jax.value_and_grad(likelihood, argnums=(0, 1, 2)))
    operands = jax.device_put([values[name] for name in (*WRT, "x")])

    def run() -> Any:
        return jax.block_until_ready(compiled(*operands))  # type: ignore[no-untyped-call]

    return run


def _prior(total: Callable[[Any], Any], exp: Callable[[Any], Any], q: Any, below: Any) -> Any:
    """What of the Wishart prior depends on the parameters."""
    return 0.5 * GAMMA**2 * (total(exp(q) ** 2) + total(below**2)) - FREEDOM * total(q)


def _constant(points: int, dimensions: int, components: int) -> float:
    """The rest of the likelihood and of the prior."""
    n = dimensions + FREEDOM + 1
    gamma = 0.25 * dimensions * (dimensions - 1) * math.log(math.pi) + sum(
        math.lgamma(0.5 * (n - i)) for i in range(dimensions))
    wishart = n * dimensions * (math.log(GAMMA) - 0.5 * math.log(2)) - gamma
    return -points * dimensions * 0.5 * math.log(2 * math.pi) - components * wishart
