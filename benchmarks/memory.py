"""Measures a deep network under each cache policy: memory and time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import circuitflow as cf
from benchmarks.measure import Case

DEPTH, BATCH, WIDTH = 256, 1024, 128


def cases() -> Iterator[Case]:
    """Each policy, beside the one that keeps everything."""
    executor = cf.Executor(deep())

    def run(cache: str) -> Any:
        result = executor.run(cache=cache)
        return result.outputs["f"], result.gradients["x"]

    work = f"network of {DEPTH} layers, {BATCH} × {WIDTH} each, cache"
    yield Case(f"{work} all", "call", 1, lambda: run("all"), dict, {}, 9)
    for cache in ("needed", "recompute"):
        yield Case(f"{work} {cache}", "call", 1, lambda cache=cache: run(cache),
                   lambda: {"cache all": lambda: run("all")}, {}, 9)


def deep() -> cf.Circuit:
    """Layers of tanh(x W) with one W."""
    nodes: list[dict[str, Any]] = [
        {"id": "x", "gate": "input", "value": {"random": "normal", "shape": [BATCH, WIDTH], "seed": 0}},
        {"id": "W", "gate": "parameter", "value": {"random": "glorot_normal", "shape": [WIDTH, WIDTH], "seed": 1}}]
    last = "x"
    for i in range(DEPTH):
        nodes += [{"id": f"p{i}", "gate": "matmul", "inputs": [last, "W"]},
                  {"id": f"h{i}", "gate": "tanh", "inputs": [f"p{i}"]}]
        last = f"h{i}"
    nodes.append({"id": "f", "gate": "reduce_sum", "inputs": [last]})
    return cf.loads(json.dumps({"circuitflow": "1.0", "name": "deep", "nodes": nodes, "outputs": ["f"]}))
