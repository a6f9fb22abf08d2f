"""Trains a small convolutional net on scikit-learn's 8 × 8 digits with Adam: minibatches of 32 in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case
from circuitflow.fitting.batches import Batches
from circuitflow.fitting.data import Data
from circuitflow.fitting.optimisers import make_optimiser
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.step import Objective
from circuitflow.fitting.stochastic import Training

EPOCHS, BATCH, STEP, SEED = 5, 32, 1e-3, 0
"""Epochs of a call, rows of a batch, the step size, and the seed for the order of the rows."""

Weights = dict[str, Any]


def network(first: int = 16, second: int = 32) -> cf.Circuit:
    """Convolution, ReLU and pool twice, then scores; the mean cross entropy of labels."""
    def weight(name: str, seed: int, **value: Any) -> dict[str, Any]:
        return {"id": name, "gate": "parameter", "value": {**value, "seed": seed}}

    def bias(name: str, size: int) -> dict[str, Any]:
        return {"id": name, "gate": "parameter", "value": {"data": 0, "shape": [size]}}

    def layer(i: int, x: str) -> list[dict[str, Any]]:
        return [{"id": f"c{i}", "gate": "conv", "inputs": [x, f"w{i}", f"b{i}"], "pads": [[1, 1], [1, 1]]},
                {"id": f"r{i}", "gate": "relu", "inputs": [f"c{i}"]},
                {"id": f"p{i}", "gate": "max_pool", "inputs": [f"r{i}"], "kernel_shape": [2, 2], "strides": [2, 2]}]

    nodes = [
        {"id": "x", "gate": "input", "shape": ["batch", 1, 8, 8]},
        {"id": "labels", "gate": "input", "shape": ["batch"], "dtype": "int64"},
        weight("w1", 1, random="normal", shape=[first, 1, 3, 3], std=0.4), bias("b1", first),
        weight("w2", 2, random="normal", shape=[second, first, 3, 3], std=0.1), bias("b2", second),
        weight("w3", 3, random="he_normal", shape=[second * 4, 10]), bias("b3", 10),
        *layer(1, "x"), *layer(2, "p1"),
        {"id": "features", "gate": "flatten", "inputs": ["p2"]},
        {"id": "m", "gate": "matmul", "inputs": ["features", "w3"]},
        {"id": "scores", "gate": "add", "inputs": ["m", "b3"]},
        {"id": "loss", "gate": "softmax_cross_entropy_loss", "inputs": ["scores", "labels"]}]
    return cf.loads(json.dumps({"circuitflow": "1.0", "name": "digits", "dtype": "float32", "nodes": nodes,
                                "outputs": ["loss"]}))


def cases() -> Iterator[Case]:
    """The losses of the epochs, beside JAX with Optax and torch."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, labels = (digits.images / 16).astype(np.float32)[:, None], digits.target.astype(np.int64)
    circuit = network()
    weights = {name: circuit.values[name] for name, node in circuit.nodes.items() if node.kind == "parameter"}
    yield Case("digits, a small convolutional net, Adam", "epoch", EPOCHS, in_circuitflow(circuit, x, labels),
               lambda: {"hand-written JAX + Optax": in_jax(x, labels, weights), "torch": in_torch(x, labels, weights)},
               {"hand-written JAX + Optax": 1.05, "torch": 1.0}, rounds=9, rtol=1e-2, once=True)


def in_circuitflow(circuit: cf.Circuit, x: Any, labels: Any) -> Any:
    """The stochastic method, compiled once."""
    data = Data.of(circuit, {"x": x, "labels": labels})
    objective = Objective(circuit, "loss", "mean", Parameters.of(circuit, ["loss"]), data, SEED)
    training = Training(objective, make_optimiser("adam", {"learning_rate": STEP}), Batches(data, BATCH, SEED),
                        epochs=EPOCHS, on_nan="stop", patience=None)
    start = training.begin()
    return lambda: [record["loss"] for record in training.run(start).state.history]


def orders(rows: int) -> Iterator[list[Any]]:
    """For each epoch the rows of every batch, the same for all."""
    for epoch in range(EPOCHS):
        order = np.random.RandomState([SEED, epoch]).permutation(rows)
        yield [order[i:i + BATCH] for i in range(0, rows, BATCH)]


def in_jax(x: Any, labels: Any, weights: Weights) -> Any:
    """JAX and Optax, written by hand, with the data and the parameters on the device."""
    from functools import partial

    import jax
    import jax.numpy as jnp
    import optax

    optimiser = optax.adam(STEP)

    def layer(x: Any, w: Any, b: Any) -> Any:
        x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        x = jax.nn.relu(x + b[:, None, None])
        return jax.lax.reduce_window(x, -np.float32(np.inf), jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss(w: Any, x: Any, labels: Any) -> Any:
        h = layer(layer(x, w["w1"], w["b1"]), w["w2"], w["b2"])
        scores = h.reshape(len(h), -1) @ w["w3"] + w["b3"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(w: Any, state: Any, table: Any, rows: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(w, *(column[rows] for column in table))
        updates, state = optimiser.update(gradients, state, w)
        return optax.apply_updates(w, updates), state, value

    table = jax.device_put((x, labels))

    def run() -> list[float]:
        w = jax.tree.map(jnp.array, dict(weights))
        state, losses = optimiser.init(w), []
        for order in orders(len(x)):
            values = []
            for rows in order:
                w, state, value = step(w, state, table, rows)
                values.append(value)
            losses.append(np.array(values) @ [len(rows) for rows in order] / len(x))
        return losses

    return run


def in_torch(x: Any, labels: Any, weights: Weights) -> Any:
    """Eager torch, with the table in tensors."""
    import torch
    from torch.nn.functional import cross_entropy, max_pool2d

    x, labels = torch.tensor(x), torch.tensor(labels)

    def run() -> list[float]:
        w = {name: torch.tensor(np.array(value), requires_grad=True) for name, value in weights.items()}
        optimiser, losses = torch.optim.Adam(w.values(), STEP), []
        for order in orders(len(x)):
            summed = torch.zeros(())
            for rows in map(torch.from_numpy, order):
                optimiser.zero_grad()
                h = x[rows]
                for i in "12":
                    h = max_pool2d(torch.relu(torch.conv2d(h, w[f"w{i}"], w[f"b{i}"], padding=1)), 2)
                loss = cross_entropy(h.flatten(1) @ w["w3"] + w["b3"], labels[rows])
                loss.backward()
                optimiser.step()
                summed += loss.detach() * len(rows)
            losses.append(float(summed) / len(x))
        return losses

    return run
