"""What a derivative depends on: nothing that the question to the primal does not need."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.gates.shapes import Size
from circuitflow.transforms.writer import Writer
from support.slices import few

SETTINGS = settings(max_examples=few(80), suppress_health_check=list(HealthCheck))
SIZES = {"n": 3, "m": 2}
SHAPES = [["n"], ["n"], ["n", "m"], ["m"], []]
BLOCKS = {
    "both": {"nodes": [{"id": "a", "gate": "input"}, {"id": "b", "gate": "input"},
                       {"id": "p", "gate": "mul", "inputs": ["a", "a"]},
                       {"id": "q", "gate": "sin", "inputs": ["b"]}, {"id": "r", "gate": "reduce_sum", "inputs": ["q"]}],
             "outputs": ["p", "r"]},
    "step": {"nodes": [{"id": "h", "gate": "input"}, {"id": "x", "gate": "input"},
                       {"id": "s", "gate": "sub", "inputs": ["h", "x"]},
                       {"id": "after", "gate": "tanh", "inputs": ["s"]},
                       {"id": "y", "gate": "mul", "inputs": ["after", "x"]}],
             "outputs": ["after", "y"]},
}
TRANSFORMS = {"gradient": cf.gradient, "vjp": cf.vjp, "jvp": cf.jvp, "hvp": cf.hvp, "jacobian": cf.jacobian,
              "hessian": cf.hessian}


@st.composite
def questions(draw: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A document with outputs f and others that need other inputs of the same named dimensions; and values for all.

    Inputs have no default, or, where f does not need them, one of another size.
    """
    nodes: list[dict[str, Any]] = []
    shapes: dict[str, list[str]] = {}
    needs: dict[str, set[str]] = {}
    for i in range(draw(st.integers(2, 6))):
        shapes[f"x{i}"] = draw(st.sampled_from(SHAPES))
        needs[f"x{i}"] = {f"x{i}"}
    inputs = list(shapes)

    def add(gate: str, operands: list[str], shape: list[str], **more: Any) -> str:
        name = f"g{len(nodes)}"
        named = dict(zip(more["ports"], operands, strict=True)) if "ports" in more else operands
        nodes.append({"id": name, "gate": gate, "inputs": named,
                      **{key: x for key, x in more.items() if key != "ports"}})
        shapes[name] = shape
        needs[name] = set().union(*(needs[operand] for operand in operands))
        return name

    for _ in range(draw(st.integers(1, 10))):
        x = draw(st.sampled_from(list(shapes)))
        alike = [name for name in shapes if shapes[name] == shapes[x]]
        match draw(st.integers(0, 7)):
            case 0:
                add("reduce_sum", [x], [])
            case 1:
                add(draw(st.sampled_from(["tanh", "sin", "softplus"])), [x], shapes[x])
            case 2:
                small = [name for name in shapes if shapes[name] in ([], shapes[x])]
                add(draw(st.sampled_from(["add", "mul", "sub"])), [x, draw(st.sampled_from(small))], shapes[x])
            case 3 if shapes[x]:
                add("softmax", [x], shapes[x])
            case 4 if shapes[x] == ["n", "m"]:
                add("reduce_mean", [x], ["n"], axis=1)
            case 5:
                other = draw(st.sampled_from(alike))
                call = add("call", [x, other], shapes[x], circuit="both")
                for output, shape, needed in (("p", shapes[x], needs[x]), ("r", [], needs[other])):
                    shapes[f"{call}.{output}"], needs[f"{call}.{output}"] = shape, needed
                del shapes[call]
            case 6 if shapes[x][:1] == ["n"]:
                inner = [name for name in shapes if shapes[name] == shapes[x][1:]]
                if inner:
                    scan = add("scan", [draw(st.sampled_from(inner)), x], [], circuit="step", ports=["h", "x"],
                               carry={"h": "after"}, over=["x"])
                    shapes |= {f"{scan}.after": shapes[x][1:], f"{scan}.y": shapes[x]}
                    needs |= {f"{scan}.after": needs[scan], f"{scan}.y": needs[scan]}
                    del shapes[scan]
            case _ if len(shapes[x]) == 1:
                add("mul", [x, draw(st.sampled_from(alike))], shapes[x])
    f = draw(st.sampled_from([name for name in shapes if name not in inputs] or inputs))
    others = [name for name in shapes if name not in inputs and name != f]
    values = {name: np.sin(1 + i + np.arange(np.prod([SIZES[size] for size in shapes[name]], dtype=int))).reshape(
        [SIZES[size] for size in shapes[name]]) for i, name in enumerate(inputs)}
    sources = []
    for name in inputs:
        source: dict[str, Any] = {"id": name, "gate": "input", "shape": shapes[name]}
        if name not in needs[f] and draw(st.booleans()):
            source["value"] = np.full([SIZES[size] + 2 for size in shapes[name]], 0.5).tolist()
        sources.append(source)
    draw(st.randoms()).shuffle(sources)
    used = {node["circuit"] for node in nodes if "circuit" in node}
    document = {"circuitflow": "1.0", "nodes": sources + nodes, "outputs": [f, *others]}
    if used:
        document["circuits"] = {name: BLOCKS[name] for name in BLOCKS if name in used}
    return document, values


def needed(circuit: cf.Circuit, **question: Any) -> set[str]:
    return {name for name in cf.Executor(circuit).plan(**question).sources if circuit.nodes[name].kind != "constant"}


@pytest.mark.parametrize("transform", TRANSFORMS)
@SETTINGS
@given(questions())
def test_a_derivative_needs_no_source_that_the_primal_does_not_need(transform, made):
    document, values = made
    circuit = cf.loads(json.dumps(document))
    f = circuit.document.outputs[0]
    sources = needed(circuit, of=f, wrt=None)
    try:
        derivative = TRANSFORMS[transform](circuit, of=f)
    except cf.InputError as error:  # a seed of a shape that no input can declare
        assert "which none can declare" in str(error) or "nothing to differentiate by" in str(error)
        return
    seeds = {name for name in derivative.nodes if derivative.nodes[name].kind == "input" and name not in circuit.nodes}
    reads = needed(derivative, wrt=())
    assert reads <= sources | seeds
    for output in derivative.outputs:
        assert needed(derivative, of=output, wrt=()) <= sources | seeds
    given = {name: values[name] for name in sources}
    executor = cf.Executor(circuit)
    upstream = np.cos(1 + executor.forward(given, of=f).outputs[f])
    gradients = {name: value for name, value in executor.run(given, of=f, upstream={f: upstream}).gradients.items()
                 if name in executor.plan(f).wrt}
    if transform in ("gradient", "vjp"):
        if not seeds:
            gradients = {name: value / upstream for name, value in gradients.items()}
        found = cf.Executor(derivative).forward({**given, **dict.fromkeys(seeds, upstream)}).outputs
        for value, expected in zip(found.values(), gradients.values(), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)
    if transform == "jvp":
        tangents = {name: np.cos(2 + values[name]) for name in gradients}
        (along,) = cf.Executor(derivative).forward({**given,
                                                    **{f"{name}_dot": x for name,
                                                       x in tangents.items()}}).outputs.values()
        total = sum(np.sum(tangents[name] * gradients[name]) for name in tangents)
        np.testing.assert_allclose(np.sum(along * upstream), total, rtol=1e-9, atol=1e-11)


def test_a_product_of_several_known_numbers():
    """Minus one is a sign beside one operand alone."""
    writer = Writer(cf.GATES, "float64")
    x, y = (writer.port(name, cf.ArrayType((), "float64")) for name in "xy")
    assert writer.emit("mul", x, -1.0).record.gate == "neg"
    assert writer.emit("mul", x, y, -1.0).record.gate == "mul"


def test_sizes_are_multiplied_by_whole_numbers():
    size = Size.named("n")
    assert str(3 - size * 2 + 1) == "-2*n + 4"
    for wrong in (lambda: size * 2.0, lambda: size + 0.5, lambda: size - None):
        with pytest.raises(TypeError):
            wrong()
