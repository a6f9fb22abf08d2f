"""Measures random scalar circuits in which every gate reaches the output: on the tape, and from the document."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case
from circuitflow.engines.tape.run import Taped
from circuitflow.interpreter.question import Question

INPUTS = 10
_UNARY = {"tanh": math.tanh, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "relu": lambda x: max(x, 0.0)}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {"add": lambda a, b: a + b, "mul": lambda a, b: a * b,
                                                 "sub": lambda a, b: a - b}
_KINDS = ["add"] * 4 + ["mul"] * 3 + ["sub"] * 2 + ["tanh", "sigmoid", "relu"]

Gates = list[tuple[str, tuple[int, ...]]]


def dag(size: int) -> tuple[list[float], Gates]:
    """Values of the inputs, and gates with operands by number, inputs first. The last gate adds what nothing reads."""
    chance = random.Random(size)
    values = [chance.uniform(-1, 1) for _ in range(INPUTS)]
    inputs, free, gates = list(values), list(range(INPUTS)), []
    for _ in range(size - 1):
        at = chance.randrange(len(free))
        a, free[at] = free[at], free[-1]
        free.pop()
        kind = "tanh" if abs(values[a]) > 4 else chance.choice(_KINDS)
        if kind in _UNARY:
            operands: tuple[int, ...] = (a,)
            values.append(_UNARY[kind](values[a]))
        else:
            operands = a, chance.randrange(len(values))
            values.append(_BINARY[kind](*(values[i] for i in operands)))
        free.append(len(values) - 1)
        gates.append((kind, operands))
    return inputs, [*gates, ("add", tuple(free))]


def document(inputs: list[float], gates: Gates) -> str:
    """The circuit as text."""
    names = [f"x{i}" for i in range(len(inputs))] + [f"g{i}" for i in range(len(gates))]
    nodes: list[dict[str, Any]] = [{"id": name, "gate": "input", "value": value}
                                   for name, value in zip(names, inputs, strict=False)]
    nodes += [{"id": names[INPUTS + i], "gate": kind, "inputs": [names[j] for j in operands]}
              for i, (kind, operands) in enumerate(gates)]
    return json.dumps({"circuitflow": "1.0", "name": "dag", "nodes": nodes, "outputs": [names[-1]]})


def evaluated(inputs: list[Any], gates: Gates, functions: Any) -> Any:
    """The output, computed with operators and functions of another library."""
    values = list(inputs)
    for kind, operands in gates:
        if kind in _UNARY:
            values.append(getattr(functions, kind)(values[operands[0]]))
        elif len(operands) == 2:
            values.append(_BINARY[kind](values[operands[0]], values[operands[1]]))
        else:
            values.append(functions.total([values[i] for i in operands]))
    return values[-1]


def cases(sizes: tuple[int, ...] = (1_000, 10_000, 100_000, 500_000, 1_000_000)) -> Iterator[Case]:
    """On the tape, with and without numba, and from the document to the first gradient (with compiled code)."""
    for size in sizes:
        inputs, gates = dag(size)
        text = document(inputs, gates)
        executor = cf.Executor(cf.loads(text))
        taped = tape(executor, fast=True)
        few = 5 if size >= 100_000 else 15
        if size > 500_000:
            yield Case(f"DAG of {size:,} gates, tape", "gate", size, taped, dict, {}, few)
            return
        yield Case(f"DAG of {size:,} gates, tape", "gate", size, taped,
                   lambda inputs=inputs, gates=gates: {"CasADi": Casadi(inputs, gates), "torch": Torch(inputs, gates)},
                   {"CasADi": 0.5, "torch": 0.005}, few)
        yield Case(f"the same {size:,} gates, from the document to the first gradient", "gate", size,
                   lambda text=text: tape(cf.Executor(cf.loads(text)), fast=True)(),
                   lambda inputs=inputs, gates=gates: {"CasADi": lambda: Casadi(inputs, gates)(),
                                                       "torch": lambda: Torch(inputs, gates)()},
                   {"CasADi": 0.5, "torch": 1.0}, 3 if size >= 100_000 else 7, once=True)
        if size <= 10_000:
            yield Case(f"DAG of {size:,} gates, without numba", "gate", size, tape(executor, fast=False),
                       lambda inputs=inputs, gates=gates: {"micrograd": Micrograd(inputs, gates)},
                       {"micrograd": 0.2}, few)


def tape(executor: cf.Executor, *, fast: bool) -> Taped:
    """The engine, whatever the size of the circuit."""
    return Taped(Question(executor), executor.thresholds, fast=fast)


class Casadi:
    """Its virtual machine over an expression and its gradient, with buffers made beforehand."""

    def __init__(self, inputs: list[float], gates: Gates) -> None:
        import casadi

        class Functions:
            tanh = staticmethod(casadi.tanh)
            sigmoid = staticmethod(lambda x: 1 / (1 + casadi.exp(-x)))
            relu = staticmethod(lambda x: casadi.fmax(x, 0))
            total = staticmethod(lambda xs: sum(xs[1:], xs[0]))

        x = casadi.SX.sym("x", len(inputs))
        out = evaluated(casadi.vertsplit(x), gates, Functions)
        self.function = casadi.Function("f", [x], [out, casadi.gradient(out, x)])
        self.buffer, self.trigger = self.function.buffer()
        self.value, self.slopes, self.argument = np.zeros(1), np.zeros(len(inputs)), np.array(inputs)
        self.buffer.set_arg(0, memoryview(self.argument))
        self.buffer.set_res(0, memoryview(self.value))
        self.buffer.set_res(1, memoryview(self.slopes))

    def __call__(self) -> Any:
        """Value and gradient."""
        self.trigger()
        return self.value[0], self.slopes


class Torch:
    """Eager torch."""

    def __init__(self, inputs: list[float], gates: Gates) -> None:
        self.inputs, self.gates = inputs, gates

    def __call__(self) -> Any:
        """Value and gradient."""
        import torch

        class Functions:
            tanh, sigmoid, relu = torch.tanh, torch.sigmoid, torch.relu
            total = staticmethod(lambda xs: torch.stack(xs).sum())

        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in self.inputs]
        out = evaluated(leaves, self.gates, Functions)
        out.backward()
        return out, [leaf.grad for leaf in leaves]


class Micrograd:
    """micrograd, with tanh and sigmoid added."""

    def __init__(self, inputs: list[float], gates: Gates) -> None:
        sys.setrecursionlimit(10**6)
        self.inputs, self.gates = inputs, gates

    def __call__(self) -> Any:
        """Value and gradient."""
        from micrograd.engine import Value

        def function(forward: Callable[[float], float], slope: Callable[[float], float]) -> Any:
            def apply(x: Any) -> Any:
                out = Value(forward(x.data), (x,))

                def backward() -> None:
                    x.grad += slope(out.data) * out.grad

                out._backward = backward
                return out

            return staticmethod(apply)

        class Functions:
            tanh = function(math.tanh, lambda y: 1 - y * y)
            sigmoid = function(_UNARY["sigmoid"], lambda y: (1 - y) * y)
            relu = staticmethod(lambda x: x.relu())
            total = staticmethod(lambda xs: sum(xs[1:], xs[0]))

        leaves = [Value(x) for x in self.inputs]
        out = evaluated(leaves, self.gates, Functions)
        out.backward()
        return out.data, [leaf.grad for leaf in leaves]
