"""Measures the staged example over many rows: the value and two gradients of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case
from circuitflow.engines.staged.rows import Rows
from circuitflow.interpreter.question import Question


def cases() -> Iterator[Case]:
    """In NumPy and with numba, for several numbers of rows."""
    executor = cf.Executor(cf.load("circuits/staged.json"))
    question = Question(executor)
    ways = {"no extras": Rows(question, executor.thresholds, fast=False),
            "fast": Rows(question, executor.thresholds, fast=True)}
    for rows in (10_000, 1_000_000, 10_000_000):
        random = np.random.RandomState(0)
        x, y = random.standard_normal((2, rows))
        for way, function in ways.items():
            ours = lambda function=function, x=x, y=y: function(x=x, y=y)  # noqa: E731
            peers = (lambda x=x, y=y: {"NumPy": lambda: in_numpy(x, y), "torch": in_torch(x, y),
                                       "torch compiled": in_torch_compiled(x, y),
                                       "jax.jit + vmap": in_jax(x, y)}) if rows == 1_000_000 else dict
            most = {"NumPy": 0.4, "torch": 1.0} if way == "no extras" else {"torch|torch compiled|jax.jit + vmap": 0.7}
            yield Case(f"staged example, {rows:,} rows, {way}", "row", rows, ours, peers, most,
                       5 if rows > 1_000_000 else 15, rtol=1e-6)


def in_numpy(x: Any, y: Any) -> Any:
    """On whole arrays, written by hand."""
    sigy = 1 / (1 + np.exp(-y))
    num = x + sigy
    sigx = 1 / (1 + np.exp(-x))
    xpy = x + y
    den = sigx + xpy**2
    invden = 1 / den
    dden = (-1 / den**2) * num
    dxpy = 2 * xpy * dden
    return num * invden, dxpy + (1 - sigx) * sigx * dden + invden, dxpy + (1 - sigy) * sigy * invden


def in_torch(x: Any, y: Any) -> Any:
    """Eager torch."""
    import torch

    leaves = [torch.tensor(column, requires_grad=True) for column in (x, y)]

    def run() -> Any:
        for leaf in leaves:
            leaf.grad = None
        x, y = leaves
        f = (x + torch.sigmoid(y)) / (torch.sigmoid(x) + (x + y) ** 2)
        f.sum().backward()
        return f, x.grad, y.grad

    return run


def in_torch_compiled(x: Any, y: Any) -> Any:
    """One compiled function of values and gradients; it is several times as fast as a compiled forward pass."""
    import torch

    def f(x: Any, y: Any) -> Any:
        return (x + torch.sigmoid(y)) / (torch.sigmoid(x) + (x + y) ** 2)

    compiled = torch.compile(torch.func.vmap(torch.func.grad_and_value(f, argnums=(0, 1))))
    x, y = torch.tensor(x), torch.tensor(y)

    def run() -> Any:
        (dx, dy), value = compiled(x, y)
        return value, dx, dy

    return run


def in_jax(x: Any, y: Any) -> Any:
    """One compiled function."""
    import jax

    def f(x: Any, y: Any) -> Any:
        return (x + jax.nn.sigmoid(y)) / (jax.nn.sigmoid(x) + (x + y) ** 2)

    compiled = jax.jit(jax.vmap(jax.value_and_grad(f, (0, 1))))
    x, y = jax.device_put(x), jax.device_put(y)

    def run() -> Any:
        return jax.block_until_ready(compiled(x, y))

    return run
