"""The circuit whose outputs are everything that a run shows, against the runs themselves."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.transforms.observed import observed
from support.documents import document
from support.suite import ROOT

EXAMPLES = sorted([*(ROOT / "circuits").glob("*.json"), *(ROOT / "circuits/classics").glob("*.json")])


def run(circuit, values=None, **options):
    return cf.Executor(circuit).run(values or {}, **options)


def again(result, *, held=None, upstream=None, moved=None):
    """What the observed circuit computes, with the shape of a result's parts."""
    view = observed(result)
    arguments = {view.sources[name]: value for name, value in result.values.items() if name in view.sources}
    arguments |= {view.sources[name]: value for name, value in (moved or {}).items()}
    for name, (flag, value) in view.settings.items():
        arguments[flag] = name in (held or {})
        arguments[value] = (held or {}).get(name, np.zeros_like(result.values[name]))
    arguments[view.keeps] = bool(held or upstream)
    for name, reference in view.upstream.items():
        arguments[reference] = (upstream or result.upstream)[name]
    found = run(view.circuit, arguments, wrt=()).values
    return {kind: {key: found[reference] for key, reference in part.items()}
            for kind, part in (("values", view.values), ("gradients", view.gradients),
                               ("contributions", view.contributions))}


def assert_same(found, result):
    """All that the page shows of a result is in what was found. Sums may be in another order."""
    for name, value in found["values"].items():
        assert np.array_equal(value, result.values[name], equal_nan=True), name
    own = {name for node in result.circuit.nodes.values() for name in node.names}
    assert set(found["values"]) == own & set(result.values)
    assert set(found["gradients"]) >= own & set(result.gradients)
    for name, gradient in found["gradients"].items():
        assert_close(gradient, result.gradients[name], name)
    for c in result.contributions:
        assert_close(found["contributions"][c.source, c.target, c.port], c.value, c)


def assert_close(found, expected, name):
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    part = 1e4 * np.finfo(expected.dtype).eps
    assert np.allclose(found, expected, rtol=part, atol=part * scale, equal_nan=True), name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_computes_what_a_run_shows(path):
    result = run(cf.load(path))
    assert_same(again(result), result)


def test_other_arguments_give_another_run():
    result = run(cf.load(ROOT / "circuits/staged.json"))
    assert_same(again(result, moved={"x": 0.5, "y": 2.0}), run(result.circuit, {"x": 0.5, "y": 2.0}))


def test_a_gate_that_is_set_cuts_the_circuit():
    """Set q by hand, and it is as if q were an input: the same gradients behind it, none before it."""
    text = ("x = 2", "y = 3", "q = mul(x, y)", "p = mul(q, x)", "e = exp(q)", "f = add(p, e)")
    result = run(cf.loads(document(*text)))
    found = again(result, held={"q": 1.5})
    cut = run(cf.loads(document("x = 2", "y = 3", "q = 1.5", *text[3:])))
    for kind in ("values", "gradients"):
        for name, value in getattr(cut, kind).items():
            if name in found[kind] and (kind, name) != ("gradients", "y"):
                assert found[kind][name] == value, (kind, name)
    assert found["gradients"]["y"] == 0
    assert not any(found["contributions"][c.source, "q", c.port] for c in result.contributions if c.target == "q")


def test_an_infinite_slope_before_a_gate_that_is_set_stays_away():
    result = run(cf.loads(document("x = 0", "r = sqrt(x)", "f = neg(r)")))
    assert np.isinf(result.gradients["x"])
    assert again(result, held={"r": 4.0})["gradients"]["x"] == 0


def test_upstream_gradients_choose_the_output():
    circuit = cf.loads(document("x = 0", "y = 3", "f = sqrt(x)", "g = mul(x, y)", outputs=["f", "g"]))
    result = run(circuit)
    found = again(result, upstream={"f": 0.0, "g": 2.0})
    assert (found["gradients"]["x"], found["gradients"]["y"]) == (6.0, 0.0)  # 0 times an infinite slope is 0
    assert_same(again(result), result)


@pytest.mark.parametrize("outputs", [["f"], ["f", "g"]])
@pytest.mark.parametrize("unit", [False, True])
def test_an_undefined_gradient_stays_undefined(outputs, unit):
    """0 times an infinite slope is NaN in a run, whether or not gates could be set."""
    p = {"id": "p", "gate": "mul", "inputs": ["x", "i"]}
    body = {"nodes": [{"id": "x", "gate": "input"}, {"id": "i", "gate": "input"}, p], "outputs": ["p"]}
    if unit:
        p = {"id": "p", "gate": "checkpoint", "circuit": "body", "inputs": {"x": "x", "i": "i"}}
    result = run(cf.loads(document("x = 1", "z = 0", "one = 1", "i = div(one, z)", p, "f = mul(p, z)", "g = mul(x, z)",
                                   outputs=outputs, circuits={"body": body})))
    found = again(result)
    assert np.isnan(found["gradients"]["x"])
    assert_same(found, result)
    if not unit:
        assert again(result, held={"f": 1.0})["gradients"]["x"] == 0


def test_a_where_masks_whatever_is_set():
    result = run(cf.loads(document("x = 1", "z = 0", "c = greater(x, z)", "i = div(x, z)", "p = mul(x, i)",
                                   "f = where(c, x, p)")))
    assert result.gradients["x"] == 1
    for held in ({}, {"i": 1.0}):
        assert again(result, held=held)["gradients"]["x"] == 1


def test_a_forward_pass_alone_has_no_gradients():
    view = observed(run(cf.load(ROOT / "circuits/staged.json"), wrt=()))
    assert (view.gradients, view.upstream, view.contributions) == ({}, {}, {})
    assert set(view.values) == {"x", "y", "sigy", "num", "sigx", "xpy", "two", "xpysqr", "den", "invden", "f"}


def test_integers_and_inputs_of_calls_are_not_set():
    result = run(cf.load(ROOT / "circuits/neuron_layer.json"))
    ports = {name for name, node in result.circuit.nodes.items() if "/" in name and node.kind == "identity"}
    assert ports
    assert not ports & set(observed(result).settings)
    result = run(cf.loads(document({"id": "n", "gate": "input", "value": [2, 1], "dtype": "int64"}, "i = arg_max(n)")))
    assert observed(result).settings == {}
