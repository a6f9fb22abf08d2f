"""Circuits made from a seed: healthy ones, and ones with one planted fault that is to blame for the gradient on `x`."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

import circuitflow as cf

KINDS = {
    "saturated sigmoid": "zero", "nearly saturated": "vanishing", "dead relu": "zero", "stop_gradient": "zero",
    "detached": "zero", "zero factor": "zero", "underflow": "zero", "overflow": "not finite",
    "division by zero": "not finite", "log of zero": "not finite", "clip": "zero", "max": "zero", "frozen": "frozen",
    "wrong axis": "zero", "steep": "exploding",
}
"""The kinds of faults, with the verdict on each."""


class Planted(NamedTuple):
    circuit: cf.Circuit
    culprit: str


class _Network:
    """A document that grows by random layers; every value keeps the shape of `x`."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.random, self.shape, self.nodes = np.random.RandomState(seed), shape, []

    def add(self, gate: str, *operands: str, **more: Any) -> str:
        name = f"{gate}_{len(self.nodes)}"
        self.nodes.append({"id": name, "gate": gate, **({"inputs": list(operands)} if operands else {}), **more})
        return name

    def source(self, kind: str, value: Any, name: str | None = None, **more: Any) -> str:
        name = name or f"{kind}_{len(self.nodes)}"
        data = np.broadcast_to(value, self.shape).ravel().tolist()
        self.nodes.append({"id": name, "gate": kind, "value": {"data": data, "shape": list(self.shape)}, **more})
        return name

    def uniform(self, low: float, high: float) -> Any:
        return self.random.uniform(low, high, self.shape)

    def layer(self, h: str) -> str:
        """A layer through which a gradient passes well; some fork, and some skip."""
        weighted = self.add("mul", h, self.source("parameter", self.uniform(0.6, 1.4)))
        shifted = self.add("add", weighted, self.source("parameter", self.uniform(-0.3, 0.3)))
        choice = self.random.randint(5)
        if choice == 0:
            return self.add("tanh", shifted)
        if choice == 1:
            return self.add("add", self.add("sigmoid", shifted), h)
        if choice == 2:
            return self.add("softplus", shifted)
        if choice == 3:
            return self.add("mul", self.add("tanh", shifted), self.add("sigmoid", shifted))
        return self.add("mean", shifted, self.add("sin", shifted), h)

    def layers(self, h: str, most: int) -> str:
        for _ in range(self.random.randint(1, most + 1)):
            h = self.layer(h)
        return h

    def circuit(self, h: str) -> cf.Circuit:
        if self.shape:
            h = self.add("reduce_mean" if self.random.randint(2) else "reduce_sum", h)
        return cf.loads(json.dumps({"circuitflow": "1.1", "nodes": self.nodes, "outputs": [h]}))


def _shape(random: Any) -> tuple[int, ...]:
    return [(), (4,), (3, 2)][random.randint(3)]


def healthy(seed: int) -> cf.Circuit:
    """A network of some depth and width, with nothing wrong."""
    network = _Network(seed, _shape(np.random.RandomState(seed)))
    x = network.source("parameter", network.uniform(-1, 1), "x")
    return network.circuit(network.layers(x, 8))


def faulty(kind: str, seed: int) -> Planted:
    """A network in which one gate, between random layers, is to blame for the gradient on `x`."""
    network = _Network(seed, (4, 1) if kind == "wrong axis" else _shape(np.random.RandomState(seed)))
    x = network.source("parameter", network.uniform(-1, 1), "x", **({"frozen": True} if kind == "frozen" else {}))
    before = network.layers(x, 4)
    shifted = {"saturated sigmoid": 1000.0, "nearly saturated": 40.0, "dead relu": -40.0, "underflow": -900.0,
               "overflow": 900.0, "clip": 20.0}
    if kind in shifted:
        before = network.add("add", before, network.source("parameter", shifted[kind]))
    if kind in ("saturated sigmoid", "nearly saturated"):
        culprit = network.add("sigmoid", before)
    elif kind == "dead relu":
        culprit = network.add("relu", before)
    elif kind in ("underflow", "overflow"):
        culprit = network.add("exp", before)
    elif kind == "clip":
        culprit = network.add("clip", before, min=-1, max=1)
    elif kind == "stop_gradient":
        culprit = network.add("stop_gradient", before)
    elif kind == "max":
        culprit = network.add("max", before, network.source("input", 50.0))
    elif kind == "zero factor":
        culprit = network.add("mul", before, network.source("parameter", 0.0))
    elif kind == "steep":
        culprit = network.add("mul", before, network.source("parameter", 1e13))
    elif kind == "division by zero":
        culprit = network.add("div", before, network.source("input", 0.0))
    elif kind == "log of zero":
        value = cf.Executor(cf.loads(json.dumps({"circuitflow": "1.1", "nodes": network.nodes,
                                                 "outputs": [before]}))).forward().values[before]
        culprit = network.add("log", network.add("sub", before, network.source("constant", value)))
    elif kind == "wrong axis":
        culprit = network.add("softmax", before, axis=1)
    else:
        culprit = network.add("tanh", before)
    if kind == "detached":
        return Planted(network.circuit(network.layers(network.source("parameter", 0.5), 4)), culprit)
    after = culprit if KINDS[kind] in ("not finite", "exploding") else network.layers(culprit, 4)
    beside = network.layers(network.source("parameter", network.uniform(-1, 1), "y"), 3)
    return Planted(network.circuit(network.add("add", after, beside)), "x" if kind == "frozen" else culprit)


UNITS = ("checkpoint", "if", "scan", "scan of ifs")
"""Kinds of nodes that run a circuit as a unit."""


def within(planted: Planted, unit: str) -> Planted:
    """A circuit that runs another one as a unit, at each of three positions where that is a scan."""
    document = json.loads(cf.dumps(planted.circuit))
    x, = (node for node in document["nodes"] if node["id"] == "x")
    value = np.asarray(planted.circuit.values["x"])
    nodes = [{key: node[key] for key in node if key not in ("frozen", "min", "max") or node["gate"] == "clip"}
             | ({"gate": "constant"} if node["gate"] in ("parameter", "input") else {})
             for node in document["nodes"] if node is not x]
    operand = {"id": "x", "gate": "input", "shape": list(value.shape)}
    circuits = {"inner": {"nodes": [operand, *nodes], "outputs": document["outputs"]},
                "other": {"nodes": [operand, {"id": document["outputs"][0], "gate": "reduce_sum", "inputs": ["x"]}],
                          "outputs": document["outputs"]}}
    choice = {"id": "k", "gate": "if", "then": "inner", "else": "other", "inputs": {"condition": "c", "x": "x"}}
    condition = {"id": "c", "gate": "constant", "value": True}
    path = "k/then/" if "if" in unit else "h/"
    if unit.startswith("scan"):
        value = np.stack([value] * 3)
        step = [*nodes] if unit == "scan" else [condition, choice]
        result = document["outputs"][0] if unit == "scan" else "k"
        circuits["step"] = {"nodes": [operand, {"id": "s", "gate": "input"}, *step,
                                      {"id": "n", "gate": "add", "inputs": [result, "s"]}], "outputs": ["n"]}
        path = "h/" + path.removeprefix("h/")
        body = [{"id": "zero", "gate": "constant", "value": 0}, {
            "id": "h", "gate": "scan", "circuit": "step", "carry": {"s": "n"}, "over": ["x"],
            "inputs": {"x": "x", "s": "zero"}}]
    else:
        body = [condition, choice] if unit == "if" else [
            {"id": "h", "gate": "checkpoint", "circuit": "inner", "inputs": ["x"]}]
    source = {**x, "value": {"data": value.ravel().tolist(), "shape": list(value.shape)}}
    return Planted(cf.loads(json.dumps({**document, "circuits": circuits, "nodes": [source, *body],
                                        "outputs": [body[-1]["id"]]})), path + planted.culprit)
