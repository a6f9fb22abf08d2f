"""Measures one call from Python: value and all gradients of the sigmoid neuron and of the staged example."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import circuitflow as cf
from benchmarks.measure import Case

MOST = {"hand-written": 2.0, "micrograd|jax.jit|CasADi|torch|autograd": 0.15}


def cases() -> Iterator[Case]:
    """The neuron and the staged example."""
    neuron = {"w0": 2.0, "x0": -1.0, "w1": -3.0, "x1": -2.0, "w2": -3.0}
    staged = {"x": 3.0, "y": -4.0}
    yield _case("neuron, one call", "circuits/sigmoid_neuron_fused.json", neuron, _neuron_by_hand, _neuron)
    yield _case("staged example, one call", "circuits/staged.json", staged, _staged_by_hand, _staged)


def _case(work: str, path: str, given: Mapping[str, float], by_hand: Callable[..., Any],
          function: Callable[..., Any]) -> Case:
    compiled = cf.Executor(cf.load(path)).compile(wrt=list(given))
    return Case(work, "call", 1, lambda: compiled(**given),
                lambda: {"hand-written": lambda: by_hand(**given), **_peers(given, function)}, MOST)


def _neuron(f: Any, w0: Any, x0: Any, w1: Any, x1: Any, w2: Any) -> Any:
    return f.sigmoid(w0 * x0 + w1 * x1 + w2)


def _neuron_by_hand(w0: float, x0: float, w1: float, x1: float, w2: float) -> tuple[float, dict[str, float]]:
    dot = w0 * x0 + w1 * x1 + w2
    f = 1.0 / (1.0 + math.exp(-dot))
    ddot = (1 - f) * f
    return f, {"w0": x0 * ddot, "x0": w0 * ddot, "w1": x1 * ddot, "x1": w1 * ddot, "w2": ddot}


def _staged(f: Any, x: Any, y: Any) -> Any:
    return (x + f.sigmoid(y)) / (f.sigmoid(x) + (x + y) ** 2)


def _staged_by_hand(x: float, y: float) -> tuple[float, dict[str, float]]:
    """Stage by stage, as in the classic notes."""
    sigy = 1.0 / (1 + math.exp(-y))
    num = x + sigy
    sigx = 1.0 / (1 + math.exp(-x))
    xpy = x + y
    xpysqr = xpy**2
    den = sigx + xpysqr
    invden = 1.0 / den
    f = num * invden
    dnum = invden
    dinvden = num
    dden = (-1.0 / (den**2)) * dinvden
    dsigx = dden
    dxpysqr = dden
    dxpy = (2 * xpy) * dxpysqr
    dx = dxpy
    dy = dxpy
    dx += ((1 - sigx) * sigx) * dsigx
    dx += dnum
    dsigy = dnum
    dy += ((1 - sigy) * sigy) * dsigy
    return f, {"x": dx, "y": dy}


def _peers(given: Mapping[str, float], function: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    import autograd
    import autograd.numpy
    import casadi
    import jax
    import numpy as np
    import torch
    from micrograd.engine import Value

    names, values = list(given), list(given.values())

    class Micrograd:
        @staticmethod
        def sigmoid(x: Any) -> Any:
            out = Value(1 / (1 + math.exp(-x.data)), (x,), "sigmoid")  # micrograd has relu only

            def backward() -> None:
                x.grad += (1 - out.data) * out.data * out.grad

            out._backward = backward
            return out

    def micrograd() -> Any:
        leaves = [Value(x) for x in values]
        out = function(Micrograd, *leaves)
        out.backward()
        return out.data, [leaf.grad for leaf in leaves]

    in_jax = jax.jit(jax.value_and_grad(lambda *xs: function(jax.nn, *xs), tuple(range(len(values)))))

    class Casadi:
        sigmoid = staticmethod(lambda x: 1 / (1 + casadi.exp(-x)))

    symbols = [casadi.SX.sym(name) for name in names]
    expression = function(Casadi, *symbols)
    gradient = casadi.gradient(expression, casadi.vertcat(*symbols))
    in_casadi = casadi.Function("f", [casadi.vertcat(*symbols)], [expression, gradient])
    buffer, trigger = in_casadi.buffer()
    argument, value, slopes = np.array(values), np.zeros(1), np.zeros(len(values))
    buffer.set_arg(0, memoryview(argument))
    buffer.set_res(0, memoryview(value))
    buffer.set_res(1, memoryview(slopes))

    def by_casadi(held: Any = (in_casadi, buffer)) -> Any:  # its buffers do not keep it alive
        argument[:] = values
        trigger()
        return value[0], slopes

    def by_torch() -> Any:
        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in values]
        out = function(torch, *leaves)
        out.backward()
        return out, [leaf.grad for leaf in leaves]

    class Autograd:
        sigmoid = staticmethod(lambda x: 1 / (1 + autograd.numpy.exp(-x)))

    in_autograd = autograd.value_and_grad(lambda xs: function(Autograd, *xs))
    return {"micrograd": micrograd, "jax.jit": lambda: jax.block_until_ready(in_jax(*values)), "CasADi": by_casadi,
            "torch": by_torch, "autograd": lambda: in_autograd(values)}
