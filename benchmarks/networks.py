"""Measures a multilayer perceptron, 784-512-512-10, with a batch of 256 in float32: the loss and all gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case


def perceptron(batch: int, *sizes: int) -> cf.Circuit:
    """The circuit: ReLU between the layers, the mean cross entropy of labels at the end."""
    nodes: list[dict[str, Any]] = [
        {"id": "x", "gate": "input", "shape": [batch, sizes[0]], "dtype": "float32"},
        {"id": "labels", "gate": "input", "shape": [batch], "dtype": "int64"}]
    last = "x"
    for i in range(1, len(sizes)):
        shape = [sizes[i - 1], sizes[i]]
        nodes += [{"id": f"W{i}", "gate": "parameter", "value": {"random": "he_normal", "shape": shape, "seed": i}},
                  {"id": f"b{i}", "gate": "parameter", "value": {"data": 0, "shape": [sizes[i]]}},
                  {"id": f"p{i}", "gate": "matmul", "inputs": [last, f"W{i}"]},
                  {"id": f"a{i}", "gate": "add", "inputs": [f"p{i}", f"b{i}"]}]
        last = f"a{i}"
        if i < len(sizes) - 1:
            nodes.append({"id": f"h{i}", "gate": "relu", "inputs": [last]})
            last = f"h{i}"
    nodes.append({"id": "loss", "gate": "softmax_cross_entropy_loss", "inputs": [last, "labels"]})
    return cf.loads(json.dumps({"circuitflow": "1.0", "name": "mlp", "dtype": "float32", "nodes": nodes,
                                "outputs": ["loss"]}))


def cases(batch: int = 256, sizes: tuple[int, ...] = (784, 512, 512, 10)) -> Iterator[Case]:
    """In NumPy beside torch, and under JAX beside a function written by hand."""
    circuit = perceptron(batch, *sizes)
    random = np.random.RandomState(0)
    x, labels = random.standard_normal((batch, sizes[0])).astype(np.float32), random.randint(0, 10, batch)
    wrt = [name for name, node in circuit.nodes.items() if node.kind == "parameter"]
    weights = [circuit.values[name] for name in wrt]
    shown = "-".join(map(str, sizes))
    in_numpy = cf.Executor(circuit).compile(wrt=wrt)
    yield Case(f"MLP {shown}, batch {batch}, NumPy", "call", 1, lambda: in_numpy(x=x, labels=labels),
               lambda: {"torch": in_torch(x, labels, weights), "torch compiled": in_torch(x, labels, weights, True)},
               {"torch|torch compiled": 1.0}, rtol=1e-4)
    import jax

    in_xla = cf.Executor(circuit).compile(wrt=wrt, engine="jax")
    given = {"x": jax.device_put(x), "labels": None}
    with jax.enable_x64(True):
        given["labels"] = jax.device_put(labels)
    yield Case(f"MLP {shown}, batch {batch}, jax", "call", 1, lambda: jax.block_until_ready(in_xla(**given)),
               lambda: {"hand-written jax.jit": in_jax(x, labels, weights)}, {"hand-written jax.jit": 1.05}, rtol=1e-4)


def in_torch(x: Any, labels: Any, weights: Any, compiled: bool = False) -> Any:
    """Eager or compiled torch."""
    import torch

    x, labels = torch.tensor(x), torch.tensor(labels)
    leaves = [torch.tensor(np.array(weight), requires_grad=True) for weight in weights]

    def forward(x: Any, labels: Any, leaves: Any) -> Any:
        h = x
        for i in range(0, len(leaves), 2):
            h = h @ leaves[i] + leaves[i + 1]
            h = torch.relu(h) if i + 2 < len(leaves) else h
        return torch.nn.functional.cross_entropy(h, labels)

    function = torch.compile(forward) if compiled else forward

    def run() -> Any:
        for leaf in leaves:
            leaf.grad = None
        loss = function(x, labels, leaves)
        loss.backward()
        return loss, [leaf.grad for leaf in leaves]

    return run


def in_jax(x: Any, labels: Any, weights: Any) -> Any:
    """JAX, written by hand."""
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, x: Any, labels: Any) -> Any:
        h = x
        for i in range(0, len(weights), 2):
            h = h @ weights[i] + weights[i + 1]
            h = jax.nn.relu(h) if i + 2 < len(weights) else h
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h), labels[:, None], axis=1))

    compiled = jax.jit(jax.value_and_grad(loss))
    weights, x, labels = jax.device_put((list(map(np.array, weights)), x, labels))

    def run() -> Any:
        return jax.block_until_ready(compiled(weights, x, labels))

    return run
