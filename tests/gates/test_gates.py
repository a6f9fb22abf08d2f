"""Every gate, from one table of examples."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import GATES, Reads, ShapeError
from circuitflow.gates.shapes import ArrayType, Size
from circuitflow.interpreter.vocabulary import Vocabulary
from support.example_circuits import bare, circuit_of, each, run, upstream_of
from support.gate_examples import EXAMPLES, Example, attributes_of, types_of, wanted
from support.libraries import namespace
from support.slices import family_of, gate_of

everything = pytest.mark.parametrize("example", EXAMPLES, ids=str)
differentiable = pytest.mark.parametrize("example", [e for e in EXAMPLES if any(wanted(e))], ids=str)
to_float64 = pytest.mark.parametrize("example",
                                     [e for e in EXAMPLES if any(wanted(e)) and upstream_of(e)[0].dtype == np.float64],
                                     ids=str)
known_to_jax = pytest.mark.parametrize("example", [e for e in EXAMPLES if e.oracle is not None], ids=str)


def floats(arrays: Any) -> bool:
    """Whether any output has a gradient."""
    return any(x.dtype.kind == "f" for x in arrays)


def pull(example: Example, xp: Any, operands: Any, g: Any) -> list[Any]:
    gate, attributes = GATES[example.gate], attributes_of(example)
    op = Vocabulary(xp, GATES)
    with np.errstate(all="ignore"):
        out = gate.forward(xp, *operands, **attributes)
        sent = gate.contributions(op, bare(example, g), out, operands, wanted(example), attributes)
        return [op.sum_to_like(c, x) if want and c is not None and c.shape != x.shape else c if want else None
                for c, x, want in zip(sent, operands, wanted(example), strict=True)]


def test_every_gate_has_an_example():
    assert {example.gate for example in EXAMPLES} == set(GATES)


@everything
def test_inferred_shape_and_dtype_are_those_computed(example):
    inferred = GATES[example.gate].shape(*types_of(*example.operands), **attributes_of(example))
    assert inferred == bare(example, tuple(types_of(*map(np.asarray, each(run(example))))))


@everything
def test_float32_stays_float32(example):
    operands = [x.astype(np.float32) if x.dtype == np.float64 else x for x in example.operands]
    inferred = GATES[example.gate].shape(*types_of(*operands), **attributes_of(example))
    assert inferred == bare(example, tuple(types_of(*map(np.asarray, each(run(example, operands=operands))))))


# What they compute depends on the very size of some axis.
NEED_SIZES = {"slice", "slice_scatter", "split", "reshape", "expand", "reshape_like", "concat", "scatter_add",
              "gather_nd",
              "scatter_nd", "diagonal", "diagonal_like", "trace", "qr", "svd", "unfold", "fold", "conv",
              "conv_transpose",
              "max_pool", "average_pool", "group_normalization", "attention", "attention_weights"}


@everything
def test_named_dimensions_are_inferred_as_the_sizes_they_stand_for(example):
    names = {f"d{size}": size for x in example.operands for size in x.shape if size > 1}
    types = [ArrayType(tuple(Size.named(f"d{size}") if size > 1 else size for size in x.shape), str(x.dtype))
             for x in example.operands]
    try:
        named = GATES[example.gate].shape(*types, **attributes_of(example))
    except ShapeError:
        assert example.gate in NEED_SIZES
        return
    for type_, out in zip([named] if isinstance(named, ArrayType) else named, each(run(example)), strict=True):
        shape = tuple(size.substitute(names) if isinstance(size, Size) else size for size in type_.shape)
        assert shape == np.shape(out)


@differentiable
def test_contributions_agree_with_differences(example):
    g = upstream_of(example)
    if not floats(g):
        pytest.skip("the output is no floating-point number")
    contributions = pull(example, np, example.operands, g)
    wide = g[0].dtype == np.float64
    step = 1e-6 if wide else 1e-2  # the float32 outputs are those of cast, which is linear
    direction = [np.random.RandomState(i).standard_normal(x.shape) for i, x in enumerate(example.operands)]
    for i, contribution in enumerate(contributions):
        if contribution is None:
            continue
        assert contribution.shape == example.operands[i].shape

        def along(t: float, i: int = i) -> float:
            moved = [x + t * direction[k] if k == i else x for k, x in enumerate(example.operands)]
            outputs = each(run(example, operands=moved))
            return float(sum(np.sum(u * out, dtype=np.float64) for u, out in zip(g, outputs, strict=True)))

        difference = (along(step) - along(-step)) / (2 * step)
        tolerance = 1e-6 if wide else 1e-4
        assert np.sum(contribution * direction[i]) == pytest.approx(difference, rel=tolerance, abs=tolerance / 10)


@pytest.mark.sliced(example=gate_of)
@to_float64
def test_the_gradient_document_is_the_interpreted_gradient_and_right_to_second_order(example):
    """The rules over wires give a document; it computes the contributions, and its own gradients pass `check`."""
    g = upstream_of(example)
    sent = pull(example, np, example.operands, g)
    asked = [f"x{i}" for i, contribution in enumerate(sent) if contribution is not None]
    eager = [contribution for contribution in sent if contribution is not None]
    document = cf.gradient(circuit_of(example), wrt=asked)
    names = list(document.outputs)
    assert names == [f"d{name}" for name in asked]
    values = cf.Executor(document).forward().outputs
    for name, expected in zip(names, eager, strict=True):
        np.testing.assert_allclose(values[name], expected, rtol=1e-13, atol=1e-15)
    random = np.random.RandomState(11)
    report = cf.check(document, upstream={name: random.standard_normal(eager[i].shape) for i, name in enumerate(names)})
    assert report.ok, report


@pytest.mark.sliced(example=gate_of)
@to_float64
def test_the_gradient_document_holds_for_named_dimensions(example):
    """Written without knowing a size, run with those of the example."""
    def named(x: np.ndarray) -> list[Any]:
        return [f"d{size}" if size > 1 else size for size in x.shape]

    g = upstream_of(example)
    moving = [f"x{i}" for i, contribution in enumerate(pull(example, np, example.operands, g))
              if contribution is not None]
    nodes = [{"id": f"x{i}", "gate": "input", "shape": named(x), "dtype": str(x.dtype)} for i,
             x in enumerate(example.operands)]
    names = [f"out.{name}" for name in GATES[example.gate].output_names(attributes_of(example))] or ["out"]
    nodes.append({"id": "out", "gate": example.gate, "inputs": [node["id"] for node in nodes],
                  **attributes_of(example)})
    squares = [{"id": f"s{i}", "gate": "reduce_sum_square", "inputs": [name]} for i,
               (name, u) in enumerate(zip(names, g, strict=True))
               if u.dtype.kind == "f"]
    nodes += [*squares, {"id": "s", "gate": "stack", "inputs": [node["id"] for node in squares]},
              {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}]
    try:
        circuit = cf.Circuit(cf.Document.model_validate({"circuitflow": "1.0", "nodes": nodes, "outputs": ["f"]}))
    except cf.DocumentError:
        assert example.gate in NEED_SIZES
        return
    try:
        gradient = cf.gradient(circuit, wrt=moving)
    except cf.GateError:
        assert example.gate == "cum_prod"
        return
    given = {f"x{i}": x for i, x in enumerate(example.operands)}
    expected = cf.Executor(circuit).run(given, wrt=moving).gradients
    found = cf.Executor(gradient).forward(given).outputs
    for name in moving:
        np.testing.assert_allclose(found[f"d{name}"], expected[name], rtol=1e-11, atol=1e-13)


@pytest.mark.sliced(example=family_of)
@known_to_jax
def test_value_and_contributions_equal_jax(example):
    moving = [i for i, x in enumerate(example.operands) if x.dtype.kind == "f"]

    def function(*moved: Any) -> Any:
        operands = list(example.operands)
        for i, x in zip(moving, moved, strict=True):
            operands[i] = x
        value = example.oracle(*map(jax.numpy.asarray, operands), **example.attributes)
        return tuple(value) if isinstance(value, tuple | list) else value

    value, vjp = jax.vjp(function, *(example.operands[i] for i in moving))
    for mine, theirs in zip(each(run(example)), each(value), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=example.atol)
    g = upstream_of(example)
    if not floats(g) or not moving:
        return
    ours = pull(example, np, example.operands, g)
    cotangents = tuple(jax.numpy.asarray(u) if u.dtype.kind == "f" else np.zeros(u.shape, jax.dtypes.float0) for u in g)
    for i, theirs in zip(moving, vjp(cotangents if isinstance(value, tuple) else cotangents[0]), strict=True):
        mine = np.zeros_like(theirs) if ours[i] is None else ours[i]
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=10 * example.atol)


ONE_OF_EACH = {example.gate: example for example in EXAMPLES}.values()
IN_LIBRARIES = [*itertools.product(EXAMPLES, ["array_api_strict", "torch"]), *itertools.product(ONE_OF_EACH, ["jax"])]
"""JAX compiles every operation for every shape, so one example of each gate is enough here; tests/engines take all."""


@pytest.mark.sliced(example=family_of)
@pytest.mark.parametrize(("example", "library"), IN_LIBRARIES, ids=str)
def test_other_array_libraries_agree_with_numpy(example, library):
    xp = namespace(library)
    operands = [xp.asarray(x) for x in example.operands]
    for theirs, mine in zip(each(run(example, xp, operands)), each(run(example)), strict=True):
        np.testing.assert_allclose(np.asarray(theirs), mine, rtol=1e-12, atol=example.atol)
    g = upstream_of(example)
    if not floats(g) or not any(wanted(example)):
        return
    theirs = pull(example, xp, operands, tuple(map(xp.asarray, g)))
    for mine, other in zip(pull(example, np, example.operands, g), theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            np.testing.assert_allclose(np.asarray(other), mine, rtol=1e-11, atol=10 * example.atol)


@differentiable
def test_a_rule_reads_no_more_than_its_row_says(example):
    """What the row says is not read may be anything of the same shape."""
    gate, attributes, g = GATES[example.gate], attributes_of(example), upstream_of(example)
    if not floats(g):
        pytest.skip("the output is no floating-point number")
    op, out = Vocabulary(np, GATES), run(example)
    g = bare(example, g)
    rubbish = [np.full_like(x, 123) for x in example.operands]
    operands = list(example.operands) if Reads.INPUTS in gate.reads else rubbish
    rest = bare(example, tuple(np.full_like(o, 456) for o in each(out)))
    output = out if Reads.OUTPUT in gate.reads else rest
    right = gate.contributions(op, g, out, example.operands, wanted(example), attributes)
    same = gate.contributions(op, g, output, operands, wanted(example), attributes)
    for expected, found in zip(right, same, strict=True):
        np.testing.assert_array_equal(found, expected)


def _spoil(rule: Any, how: Any) -> Any:
    return lambda *arguments, **attributes: how(rule(*arguments, **attributes))


def _wrong_rules(gate: cf.Gate) -> list[cf.Gate]:
    """The gate with each of its rules wrong in turn, in ways that people make mistakes."""
    mistakes = [lambda c: -c, lambda c: c * 1.001, lambda c: c + 1e-3]
    if callable(gate.backward):
        return [dataclasses.replace(gate, backward=_spoil(gate.backward, lambda cs, m=m: (m(cs[0]), *cs[1:])))
                for m in mistakes]
    return [dataclasses.replace(gate, backward=tuple(_spoil(rule, m) if k == i else rule
                                                     for k, rule in enumerate(gate.backward)))
            for i, right in enumerate(gate.backward) if right is not None for m in mistakes]


@pytest.mark.parametrize("name", sorted({e.gate for e in EXAMPLES if any(wanted(e))}))
def test_check_catches_a_wrong_rule_and_names_the_gate(name):
    most = max(len(e.operands) for e in EXAMPLES if e.gate == name)
    example = next(e for e in EXAMPLES if e.gate == name and any(wanted(e)) and len(e.operands) == most
                   and all(x.size > 1 for x in e.operands[:2] if x.dtype.kind == "f")
                   and upstream_of(e)[0].size > 0 and upstream_of(e)[0].dtype == np.float64)
    assert cf.check(circuit_of(example, GATES)).ok
    for wrong in _wrong_rules(GATES[name]):
        report = cf.check(circuit_of(example, {**GATES, name: wrong}))
        assert not report.ok
        assert {blamed.gate for blamed in report.blamed} == {name}


@pytest.mark.parametrize("name", sorted(GATES))
def test_every_row_is_complete(name):
    gate = GATES[name]
    assert gate.formula
    assert gate.summary.endswith(".")
    assert gate.symbol
    for field in gate.attributes.model_fields.values():
        assert field.description
    if not callable(gate.backward):
        assert len(gate.backward) == len(gate.operands)
