"""Scans at random beside infinities, and the calls that they stand for."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

import circuitflow as cf

T = 4
ONE = ["tanh", "neg", "square", "exp"]
TWO = ["add", "sub", "mul"]


def body(chance: random.Random, sources: list[str], outputs: list[str],
         inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """Gates at random, now and then in a subcircuit that runs as a unit; outputs are any of them, forked or not."""
    nodes: list[dict[str, Any]] = [{"id": name, "gate": "input"} for name in sources]
    known = list(sources)
    for i in range(chance.randint(1, 5)):
        if inner and chance.random() < 0.4:
            operands = {name: chance.choice(known) for name in ("a", "b")}
            nodes.append({"id": f"u{i}", "gate": "checkpoint", "circuit": "inner", "inputs": operands})
            known += [f"u{i}.p", f"u{i}.q"]
            continue
        operands = [chance.choice(known) for _ in range(chance.randint(1, 2))]
        nodes.append({"id": f"n{i}", "gate": chance.choice(ONE if len(operands) == 1 else TWO), "inputs": operands})
        known.append(f"n{i}")
    nodes += [{"id": name, "gate": "identity", "inputs": [chance.choice(known)]} for name in outputs]
    return {"nodes": nodes, "outputs": outputs}


def value(x: np.ndarray) -> list[Any]:
    return [{"inf": "Infinity", "-inf": "-Infinity"}.get(str(v), v) for v in x.tolist()]


def circuits(seed: int) -> tuple[cf.Circuit, cf.Circuit]:
    """A scan over positions, and the same as calls."""
    chance = random.Random(seed)
    inner = body(chance, ["a", "b"], ["p", "q"])
    step = body(chance, ["h", "k", "x", "w"], ["h2", "k2", "y", "z"], inner)
    x = np.array([chance.choice([0.5, -1.5, 2.0, 1.0, np.inf, 0.0]) for _ in range(T)])
    back, every = chance.random() < 0.5, chance.choice([1, 2, 3])
    sources = [{"id": name, "gate": "parameter", "value": chance.choice([0.5, -2.0, 1.25])}
               for name in ("h0", "k0", "w")]
    asked = chance.sample(["h2", "k2", "y", "z"], chance.randint(1, 3))
    bodies = {"inner": inner, "step": step}
    used = {name: b for name, b in bodies.items() if name == "step"
            or any(n.get("circuit") == "inner" for n in step["nodes"])}
    scan = {"id": "s", "gate": "scan", "circuit": "step", "carry": {"h": "h2", "k": "k2"}, "over": ["x"],
            "reverse": back,
            "cache": every, "inputs": {"h": "h0", "k": "k0", "x": "x", "w": "w"}}
    picks = [{"id": f"t{t}", "gate": "slice", "inputs": ["x"], "start": t, "stop": t + 1} for t in range(T)]
    ends = [{"id": f"e{name}", "gate": "reduce_sum", "inputs": [f"s.{name}"]} for name in asked]
    total = {"id": "f", "gate": "add", "inputs": ["zero", "zero", *(f"e{name}" for name in asked)]}
    zero = {"id": "zero", "gate": "constant", "value": 0}
    given = {"id": "x", "gate": "input", "value": value(x)}
    one = {"circuitflow": "1.0", "circuits": used, "outputs": ["f"],
           "nodes": [*sources, given, zero, scan, *ends, total]}
    calls, h, k = [], "h0", "k0"
    for t in reversed(range(T)) if back else range(T):
        calls.append({"id": f"x{t}", "gate": "reduce_sum", "inputs": [f"t{t}"]})
        calls.append({"id": f"c{t}", "gate": "call", "circuit": "step",
                      "inputs": {"h": h, "k": k, "x": f"x{t}", "w": "w"}})
        h, k = f"c{t}.h2", f"c{t}.k2"
    last = {"h2": h, "k2": k}
    ends = [{"id": f"e{name}", "gate": "add",
             "inputs": ["zero", "zero", *([last[name]] if name in last else [f"c{t}.{name}" for t in range(T)])]}
            for name in asked]
    two = {"circuitflow": "1.0", "circuits": used, "outputs": ["f"],
           "nodes": [*sources, given, *picks, zero, *calls, *ends, total]}
    return cf.loads(json.dumps(one)), cf.loads(json.dumps(two))
