"""Circuits of any gates that fit, with forks and calls, made at random: value and gradient are those of JAX."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.gates import GATES, ShapeError
from support.edge_points import WHY
from support.gate_examples import EXAMPLES, attributes_of, types_of
from support.slices import few

SETTINGS = settings(max_examples=few(30), suppress_health_check=list(HealthCheck))

# Gates of floating-point operands that JAX has; without those that differ from it where operands are equal or 0.
CHOICES = [example for example in EXAMPLES
           if example.oracle and all(x.dtype.kind == "f" for x in example.operands)
           and not GATES[example.gate].output_names(attributes_of(example))
           and (example.gate not in WHY or example.attributes.get("ties") == "share")
           and example.gate not in ("sign", "floor", "ceil", "round", "mod", "arg_max", "arg_min", "is_nan", "is_inf",
                                    "sort", "arg_sort", "trilu",
                                    "binary_cross_entropy", "cholesky", "eye_like", "zeros_like", "ones_like", "cast")]
SHAPES: list[tuple[int, ...]] = [(), (3,), (4, 3), (3, 3), (2, 3, 4), (1, 3), (1, 2, 5)]


class Body:
    """Nodes of a body and the same in JAX; `values` are those at some operands."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.values: dict[str, np.ndarray] = {}
        self.functions: dict[str, Any] = {}

    def apply(self, *sources: Any) -> Any:
        """The last node as a JAX function of the sources."""
        values = dict(zip([node["id"] for node in self.nodes if node["gate"] == "input"], sources, strict=True))
        for name, (function, operands) in self.functions.items():
            values[name] = function(*(values[operand] for operand in operands))
        return values[self.nodes[-1]["id"]]

    def add(self, node: dict[str, Any], function: Any, operands: list[str]) -> bool:
        """A node, if what it computes is finite and of moderate size."""
        with np.errstate(all="ignore"):
            value = np.asarray(function(*(jnp.asarray(self.values[operand]) for operand in operands)))
        if not np.all(np.isfinite(value)) or np.max(np.abs(value),
                                                    initial=0) > 20 or value.size > 100 or value.dtype != np.float64:
            return False
        self.nodes.append(node)
        self.functions[node["id"]] = function, operands
        self.values[node["id"]] = value
        return True


def fill(draw: Any, body: Body, count: int, callee: Body | None) -> None:
    """Gates on what is there, as many as fit."""
    for i in range(count):
        if callee is not None and draw(st.integers(0, 5)) == 0:
            wanted = [callee.values[node["id"]].shape for node in callee.nodes if node["gate"] == "input"]
            choices = [[name for name, value in body.values.items() if value.shape == shape] for shape in wanted]
            if all(choices):
                operands = [draw(st.sampled_from(names)) for names in choices]
                body.add({"id": f"c{i}", "gate": "call", "circuit": "part", "inputs": operands}, callee.apply, operands)
            continue
        example = draw(st.sampled_from(CHOICES))
        operands = [draw(st.sampled_from(list(body.values))) for _ in example.operands]
        attributes = attributes_of(example)
        try:
            GATES[example.gate].shape(*types_of(*(body.values[name] for name in operands)), **attributes)
            body.add({"id": f"g{i}", "gate": example.gate, "inputs": operands, **attributes},
                     lambda *xs, example=example: example.oracle(*xs, **example.attributes), operands)
        except (ShapeError, IndexError, TypeError, ValueError):  # it does not fit, or the oracle is for other shapes
            continue


@st.composite
def circuits(draw: Any) -> tuple[dict[str, Any], Body]:
    random = np.random.RandomState(draw(st.integers(0, 2**31)))

    def begin(shapes: list[tuple[int, ...]]) -> Body:
        body = Body()
        for i, shape in enumerate(shapes):
            body.values[f"x{i}"] = random.uniform(0.2, 1.5, shape)
            body.nodes.append({"id": f"x{i}", "gate": "input"})
        return body

    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4))
    part = begin(draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=2)))
    fill(draw, part, 8, None)
    main = begin(shapes)
    fill(draw, main, draw(st.integers(5, 40)), part if part.functions else None)
    assume(main.functions)
    output = main.nodes[-1]["id"]
    value = main.values[output]
    for node in main.nodes:
        if node["gate"] == "input":
            node["value"] = {"data": main.values[node["id"]].ravel().tolist(),
                             "shape": list(main.values[node["id"]].shape)}
    upstream = {"data": random.uniform(-1, 1, value.size).tolist(), "shape": list(value.shape)}
    document = {"circuitflow": "1.0", "nodes": main.nodes, "outputs": [output], "upstream": {output: upstream},
                **({"circuits": {"part": {"nodes": part.nodes, "outputs": [part.nodes[-1]["id"]]}}} if part.functions
                   else {})}
    return document, main


@SETTINGS
@given(circuits())
def test_any_circuit_equals_jax_interpreted_and_as_a_document(made):
    document, body = made
    circuit = cf.loads(json.dumps(document))
    (output,) = circuit.outputs
    names = [node["id"] for node in document["nodes"] if node["gate"] == "input"]
    value, vjp = jax.vjp(body.apply, *(jnp.asarray(circuit.values[name]) for name in names))
    expected = vjp(jnp.asarray(circuit.upstream[output]))
    assume(all(np.all(np.isfinite(g)) and np.max(np.abs(g), initial=0) < 1e6 for g in expected))
    result = cf.Executor(circuit).run()
    np.testing.assert_allclose(result.outputs[output], value, rtol=1e-9, atol=1e-12)
    reached = [name for name in names if name in result.gradients]
    for name, theirs in zip(names, expected, strict=True):
        if name in reached:
            np.testing.assert_allclose(result.gradients[name], theirs, rtol=1e-7, atol=1e-8)
        else:
            np.testing.assert_array_equal(theirs, 0)
    if not reached:
        return
    gradient = cf.gradient(circuit)
    for name, found in zip(cf.Executor(circuit).plan().wrt, cf.Executor(gradient).forward().outputs.values(),
                           strict=True):
        np.testing.assert_allclose(found, result.gradients[name], rtol=1e-11, atol=1e-12)
    assert cf.loads(cf.dumps(circuit)) == circuit
    assert cf.loads(cf.dumps(gradient)) == gradient
