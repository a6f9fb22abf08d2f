"""A program's row under the name of a built-in gate: nothing takes the built-in's mathematics for granted of it."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.table import ENGINES
from circuitflow.engines.tape.layout import loop_of
from circuitflow.engines.tape.loops import Untaped
from circuitflow.engines.tape.run import Taped
from circuitflow.gates import GATES, AtLeast, Facets
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question
from circuitflow.interpreter.vocabulary import Vocabulary
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES, wanted

TAILS = {1: ["tanh", "sin", "softplus", "neg", "square", "identity", "relu", "abs", "ones_like", "zeros_like"],
         2: ["add", "sub", "mul", "max", "min", "hypot", "mul_no_nan"], 3: ["add", "mul", "mean"]}


def halved(out: Any) -> Any:
    if isinstance(out, tuple):
        return tuple(map(halved, out))
    return ~out if out.dtype == bool else out * 0.5 if "float" in str(out.dtype) else out


def doubled(out: Any) -> Any:
    if isinstance(out, tuple):
        return tuple(map(doubled, out))
    return ~out if out.dtype == bool else out + out if "float" in str(out.dtype) else out


def altered(row: cf.Gate) -> cf.Gate:
    """Twice the result, and not for a truth value; with the right gradient."""
    def forward(xp: Any, *operands: Any, **attributes: Any) -> Any:
        return doubled(row.forward(xp, *operands, **attributes))

    def of(rule: Any) -> Any:
        def backward(op: Any, g: Any, out: Any, *operands: Any, **attributes: Any) -> Any:
            sent = rule(op, g, halved(out), *operands, **attributes)
            parts = sent if isinstance(sent, tuple | list) else [sent]
            twice = [None if part is None else part * 2.0 for part in parts]
            return twice if isinstance(sent, tuple | list) else twice[0]
        return backward

    backward = of(row.backward) if callable(row.backward) else tuple(rule and of(rule) for rule in row.backward)
    return dataclasses.replace(row, forward=forward, backward=backward)


def example_of(name: str) -> Any:
    found = [e for e in EXAMPLES if e.gate == name and all(0 < x.size < 150 for x in e.operands)
             and all(x.dtype in (np.float64, bool, np.int64) for x in e.operands)]
    return max(found, key=lambda e: (any(wanted(e)), len(e.operands), sum(x.size > 1 for x in e.operands)))


def with_a_tail(name: str, seed: int, gates: Any) -> cf.Circuit:
    """An example of a gate, and other gates at random on what it gives, down to a number."""
    chance = random.Random(f"{name} {seed}")
    example = example_of(name)
    document = circuit_of(example, GATES).document.model_dump(mode="python", exclude_unset=True, by_alias=True)
    nodes, plain = document["nodes"], circuit_of(example, GATES)
    floats = [text for text in document["outputs"] if plain.type_of(plain.find(text)).dtype == "float64"]
    truths = [text for text in document["outputs"] if plain.type_of(plain.find(text)).dtype == "bool"]
    floats += [node["id"] for node in nodes if node["gate"] == "parameter"]
    nodes += [{"id": "p", "gate": "parameter", "value": 0.3}, {"id": "q", "gate": "parameter", "value": -0.8}]

    def add(gate: str, *operands: str) -> str:
        nodes.append({"id": f"t{len(nodes)}", "gate": gate, "inputs": list(operands)})
        return nodes[-1]["id"]

    floats += ["p", *(add("where", truth, "p", "q") for truth in truths)]
    scalars = [add("tanh", add("reduce_mean", x)) for x in floats]
    for _ in range(8):
        count = chance.choice([1, 2, 2, 3])
        scalars.append(add(chance.choice(TAILS[count]), *(chance.choice(scalars) for _ in range(count))))
    f = add("add", *(add("tanh", x) for x in scalars))
    written = {"circuitflow": "1.0", "nodes": nodes,
               "outputs": [f, *(text for text in document["outputs"] if text not in floats)]}
    return cf.Circuit(cf.Document.model_validate(written), gates=gates)


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(GATES))
def test_a_row_of_ones_own_is_what_runs_and_what_is_differentiated(name, seed):
    gates = {**GATES, name: altered(GATES[name])}
    circuit = with_a_tail(name, seed, gates)
    f = circuit.document.outputs[0]
    result = cf.Executor(circuit).run(of=f)
    assert cf.check(circuit, of=f).ok
    try:
        found = cf.Executor(cf.gradient(circuit, of=f)).forward().outputs
    except cf.InputError as error:
        assert f"the built-in gate '{name}'" in str(error)
        return
    for source, value in zip(cf.Executor(circuit).plan(f).wrt, found.values(), strict=True):
        same(value, result.gradients[source])


SCALARS = [f"x{i}" for i in range(12)]


@pytest.mark.parametrize("count", [2, 12])
@pytest.mark.parametrize("name",
                         sorted(name for name,
                                row in GATES.items() if row.operands in (AtLeast(1), AtLeast(2), ("x",), ("x", "y"))))
def test_a_tape_runs_a_row_of_ones_own(name, count):
    row = altered(GATES[name])
    if isinstance(row.operands, tuple):
        count = len(row.operands)
    nodes = [{"id": x, "gate": "parameter", "value": 0.3 + i / 20} for i, x in enumerate(SCALARS)]
    try:
        circuit = cf.Circuit(cf.Document.model_validate({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
            *nodes, {"id": "a", "gate": name, "inputs": SCALARS[:count]}, {"id": "b", "gate": "tanh", "inputs": ["a"]},
            {"id": "f", "gate": "mul", "inputs": ["b", "x0", "x1"]}]}), gates={**GATES, name: row})
        taped = Taped(Question(Interpreter(circuit), None, None), cf.Thresholds(), fast=False)
    except (cf.DocumentError, Untaped, cf.InputError):  # no gate of scalars
        pytest.skip("no gate of scalars")
    result = cf.Executor(circuit).run()
    value, gradients = taped()
    same(value, result.outputs["f"])
    for x, gradient in gradients.items():
        same(gradient, result.gradients[x])


@pytest.mark.parametrize("engine", ["auto", *ENGINES, "python"])
def test_a_product_that_is_a_maximum_is_one_on_every_engine(engine):
    """Of more operands than a tape writes out one by one."""
    gates = {**GATES, "mul": dataclasses.replace(GATES["max"])}
    nodes = [{"id": x, "gate": "parameter", "value": float(i + 1)} for i, x in enumerate(SCALARS[:9])]
    circuit = cf.Circuit(cf.Document.model_validate({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
        *nodes, {"id": "f", "gate": "mul", "inputs": SCALARS[:9]}]}), gates=gates)
    if engine == "python":
        names: dict[str, Any] = {}
        exec(cf.to_python(circuit, wrt=()), names)
        assert names["value"]() == 9.0
        return
    executor = cf.Executor(circuit)
    assert executor.compile(wrt=(), engine=engine)() == (9.0, {})
    if engine in ("auto", "interpreter", "tape", "jax"):
        value, gradients = executor.compile(engine=engine)()
        assert (value, [float(x) for x in gradients.values()]) == (9.0, [*[0.0] * 8, 1.0])
    if engine not in ("interpreter", "native"):  # these take one row at a time
        values, _ = executor.vmap(wrt=(), engine=engine)(x0=[0.0, 20.0])
        assert np.asarray(values).tolist() == [9.0, 20.0]


def own(name: str) -> cf.Gate:
    """The same mathematics, in another row."""
    return dataclasses.replace(GATES[name], summary="One's own.")


def neuron(gates: Any) -> cf.Circuit:
    return cf.Circuit(cf.Document.model_validate({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
        {"id": "x", "gate": "parameter", "value": 0.5}, {"id": "t", "gate": "tanh", "inputs": ["x"]},
        {"id": "f", "gate": "square", "inputs": ["t"]}]}), gates=gates)


def test_a_row_that_states_the_facets_of_the_built_in_gate_is_written():
    plain = cf.gradient(neuron(GATES))
    with pytest.raises(cf.InputError, match="the gradient of node '.' needs the built-in gate 'mul'.*another name"):
        cf.gradient(neuron({**GATES, "mul": own("mul")}))
    stated = cf.gradient(neuron({**GATES, "mul": own("mul").stating(GATES["mul"].facets)}))
    assert stated.document == plain.document


def test_a_table_without_a_gate_that_a_gradient_needs():
    with pytest.raises(cf.InputError, match="needs the built-in gate 'mul', and the table of gates has none"):
        cf.gradient(neuron({name: row for name, row in GATES.items() if name != "mul"}))


@pytest.mark.parametrize("row", [altered(GATES["mul"]), None], ids=["own", "none"])
def test_a_rule_without_the_built_in_gate_that_it_needs_is_explained_in_numbers(row):
    square = cf.Gate("x^2", "Mine.", ("x",), lambda x: x, lambda xp, x: x * x, (lambda op, g, out, x: g * (x + x),))
    gates = {name: gate for name, gate in {**GATES, "mul": row, "own": square}.items() if gate is not None}
    circuit = cf.loads('{"circuitflow": "1.0", "outputs": ["f"], "nodes": [{"id": "x", "gate": "input", "value": 3},'
                       '{"id": "f", "gate": "own", "inputs": ["x"]}]}', gates=gates)
    result = cf.Executor(circuit).run()
    assert "dx" in str(cf.explain(result))
    assert cf.draw(result, "html")


def test_facets_are_stated_and_never_copied():
    mul = GATES["mul"]
    assert mul.facets.neutral == 1
    copy = dataclasses.replace(mul, forward=lambda xp, *xs: xs[0])
    assert copy.facets.neutral is None
    assert copy.stating(mul.facets).facets is mul.facets
    assert mul.stating(Facets()).facets is not mul.facets
    assert all(row.facets is not other.facets for row in GATES.values() for other in GATES.values() if row is not other)


def test_facets_of_ones_own_are_used():
    """A sum of one's own: zeros are left out of its document, and the tape loops over it."""
    plus = dataclasses.replace(GATES["add"], summary="Mine.").stating(Facets(neutral=0.0, loop="sum"))
    twice = cf.Gate("2x", "Twice.", ("x",), lambda x: x, lambda xp, x: x + x,
                    (lambda op, g, out, x: op.plus(g, g, op.zeros_like(x)),))
    gates = {**GATES, "plus": plus, "twice": twice}
    circuit = cf.Circuit(cf.Document.model_validate({"circuitflow": "1.0", "outputs": ["f"], "nodes": [
        *({"id": x, "gate": "parameter", "value": 0.5} for x in SCALARS),
        {"id": "t", "gate": "twice", "inputs": ["x0"]},
        {"id": "f", "gate": "plus", "inputs": ["t", *SCALARS]}]}), gates=gates)
    gradient = cf.gradient(circuit, wrt="x0")
    assert not [node for node in gradient.nodes.values() if node.kind == "zeros_like" or len(node.operands) > 2]
    assert cf.Executor(gradient).forward().outputs["dx0"] == cf.Executor(circuit).run().gradients["x0"] == 3
    taped = Taped(Question(Interpreter(circuit), None, None), cf.Thresholds(), fast=False)
    assert [loop_of(step) for step in taped._tape.operations if step.node.kind == "plus"] == ["sum"]
    assert taped()[0] == 7


def test_a_rule_means_the_built_in_gates():
    op = Vocabulary(np, {"mul": altered(GATES["mul"]), "cube": altered(GATES["neg"])})
    assert op.mul(2.0, 3.0) == 6
    assert op.cube(np.float64(2)) == -4
    assert op.tanh(0.0) == 0
