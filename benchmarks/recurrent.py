"""Measures recurrent cells: a network of 256 steps that trains under JAX, and one of scalars step by step.

The training has the time to compile in it. The cell of scalars has three gates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case

RATE = 0.002


def network(steps: int, batch: int, features: int, states: int) -> cf.Circuit:
    """The circuit: h' = tanh(h W + x U + b) at every step, and the mean squared error of h v at the end."""
    ports = [{"id": name, "gate": "input"} for name in ("h", "x", "W", "U", "b")]
    cell = [{"id": "p", "gate": "matmul", "inputs": ["h", "W"]}, {"id": "q", "gate": "matmul", "inputs": ["x", "U"]},
            {"id": "s", "gate": "add", "inputs": ["p", "q", "b"]}, {"id": "after", "gate": "tanh", "inputs": ["s"]}]
    shapes = {"W": [states, states], "U": [features, states], "v": [states]}
    nodes: list[dict[str, Any]] = [
        {"id": "xs", "gate": "input", "shape": [steps, batch, features]},
        {"id": "target", "gate": "input", "shape": [batch]},
        {"id": "start", "gate": "constant", "value": {"data": 0, "shape": [batch, states]}},
        *({"id": name, "gate": "parameter", "value": {"random": "normal" if name == "v" else "glorot_normal",
                                                      "shape": shape, "seed": i}}
          for i, (name, shape) in enumerate(shapes.items())),
        {"id": "b", "gate": "parameter", "value": {"data": 0, "shape": [states]}},
        {"id": "run", "gate": "scan", "circuit": "cell", "carry": {"h": "after"}, "over": ["x"],
         "inputs": {"h": "start", "x": "xs", "W": "W", "U": "U", "b": "b"}},
        {"id": "y", "gate": "matmul", "inputs": ["run", "v"]},
        {"id": "loss", "gate": "mean_squared_error", "inputs": ["y", "target"]}]
    return cf.loads(json.dumps({"circuitflow": "1.0", "name": "rnn", "dtype": "float32", "outputs": ["loss"],
                                "circuits": {"cell": {"nodes": [*ports, *cell], "outputs": ["after"]}},
                                "nodes": nodes}))


def scalars() -> cf.Circuit:
    """The circuit: h' = tanh(h w + x), from a sequence of numbers."""
    cell = [*({"id": name, "gate": "input"} for name in ("h", "x", "w")),
            {"id": "p", "gate": "mul", "inputs": ["h", "w"]}, {"id": "s", "gate": "add", "inputs": ["p", "x"]},
            {"id": "after", "gate": "tanh", "inputs": ["s"]}]
    nodes = [{"id": "start", "gate": "parameter", "value": 0.1}, {"id": "w", "gate": "parameter", "value": 0.7},
             {"id": "xs", "gate": "input", "shape": ["steps"]},
             {"id": "run", "gate": "scan", "circuit": "cell", "carry": {"h": "after"}, "over": ["x"],
              "inputs": {"h": "start", "x": "xs", "w": "w"}}]
    return cf.loads(json.dumps({"circuitflow": "1.0", "outputs": ["run"], "nodes": nodes,
                                "circuits": {"cell": {"nodes": cell, "outputs": ["after"]}}}))


def cases(steps: int = 256, batch: int = 32, features: int = 16, states: int = 64,
          updates: int = 200) -> Iterator[Case]:
    """Training beside JAX with `lax.scan` written by hand; steps of scalars beside a loop written by hand."""
    circuit, random = network(steps, batch, features, states), np.random.RandomState(0)
    xs = random.standard_normal((steps, batch, features)).astype(np.float32)
    target = random.standard_normal(batch).astype(np.float32)
    start = {name: circuit.values[name] for name, node in circuit.nodes.items() if node.kind == "parameter"}
    yield Case(f"RNN, {steps} steps, batch {batch}, {states} states: compile and {updates} updates, jax", "training", 1,
               lambda: trained(circuit, xs, target, start, updates),
               lambda: {"hand-written lax.scan": lambda: trained_by_hand(xs, target, start, updates)},
               {"hand-written lax.scan": 1.1}, rounds=5, rtol=1e-3, once=True)
    cell, x = scalars(), np.cos(np.arange(steps))
    values = [cell.values[name].item() for name in ("start", "w")]
    for engine in ("interpreter", "staged"):
        function = cf.Executor(cell).compile(engine=engine)
        yield Case(f"cell of three scalar gates, {steps} steps, {engine}", "step", steps,
                   lambda function=function: function(xs=x), lambda: {"Python by hand": lambda: by_hand(*values, x)},
                   {})


def trained(circuit: cf.Circuit, xs: Any, target: Any, start: Any, updates: int) -> Any:
    """The loss and the parameters after some updates, from nothing compiled."""
    import jax

    function = cf.Executor(circuit).compile(wrt=list(start), engine="jax")
    update = jax.jit(lambda now, slopes: {name: now[name] - RATE * slopes[name] for name in now})
    now, xs, target = jax.device_put((start, xs, target))
    for _ in range(updates):
        loss, slopes = function({**now, "xs": xs, "target": target})
        now = update(now, slopes)
    return jax.block_until_ready((loss, *now.values()))


def trained_by_hand(xs: Any, target: Any, start: Any, updates: int) -> Any:
    """The same in JAX."""
    import jax
    import jax.numpy as jnp

    def loss(now: Any, xs: Any, target: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            return jnp.tanh(h @ now["W"] + x @ now["U"] + now["b"]), None

        h, _ = jax.lax.scan(step, jnp.zeros((xs.shape[1], len(now["b"])), xs.dtype), xs)
        return jnp.mean((h @ now["v"] - target) ** 2)

    @jax.jit
    def update(now: Any, xs: Any, target: Any) -> Any:
        value, slopes = jax.value_and_grad(loss)(now, xs, target)
        return value, {name: now[name] - RATE * slopes[name] for name in now}

    now, xs, target = jax.device_put((start, xs, target))
    for _ in range(updates):
        value, now = update(now, xs, target)
    return jax.block_until_ready((value, *now.values()))


def by_hand(start: float, w: float, xs: Any) -> Any:
    """The cell of scalars, forward and back, as a loop of Python."""
    from math import tanh

    values = [start]
    for x in xs.tolist():
        values.append(tanh(values[-1] * w + x))
    g, dw, dxs = 1.0, 0.0, []
    for before, after in zip(values[-2::-1], values[:0:-1], strict=True):
        s = g * (1 - after * after)
        dxs.append(s)
        dw += s * before
        g = s * w
    return values[-1], g, dw, dxs[::-1]
