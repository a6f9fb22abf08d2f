"""The comparison of gradients with differences: what it passes, what it does not, and what it says of kinks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.interpreter.check import compare
from support.documents import circuit


@pytest.mark.parametrize(("function", "slope", "verdict"), [
    (lambda t: 3 * t, 3, "ok"),
    (lambda t: 3 * t, 3.001, "wrong"),
    (lambda t: 3 * t, -3, "wrong"),
    (lambda t: 3 * t, 0, "wrong"),
    (lambda t: 5.0, 0, "ok"),
    (lambda t: 5.0, 1e-3, "wrong"),
    (lambda t: 0.0, 1e-9, "wrong"),
    (lambda t: 1e8 + t, 1, "ok"),
    (lambda t: 1e8 + t, 2, "wrong"),
    (lambda t: 1 + 1e-4 * t, 1.001e-4, "wrong"),
    (lambda t: 1e-8 * t, 1e-8, "ok"),
    (lambda t: 1e-8 * t, 2e-8, "wrong"),
    (lambda t: math.exp(10 * t), 10, "ok"),
    (lambda t: 1 / (t + 1e-3), -1e6, "ok"),
    (lambda t: 1 / (t + 1e-3), -1.1e6, "wrong"),
    (lambda t: math.sin(100 * t), 100, "ok"),
    (abs, 0, "ok"),
    (abs, 1, "kink"),
    (abs, 2, "wrong"),
    (lambda t: max(t, 0), 0.5, "ok"),
    (lambda t: max(t, 0), 0.25, "kink"),
    (lambda t: max(t, 0), -0.5, "wrong"),
    (lambda t: max(t, 0) + 1e-3 * t * t, 1, "kink"),
    (lambda t: float(t > 0), 0, "kink"),
    (lambda t: float(np.sign(t)), 0, "kink"),
    (lambda t: math.sqrt(t) if t >= 0 else math.nan, math.inf, "undefined"),
    (lambda t: math.inf * t if t else 0.0, math.inf, "ok"),
    (lambda t: t, math.nan, "wrong"),
    (lambda t: t, math.inf, "undefined"),
    (lambda t: math.nan, 1, "undefined"),
    (lambda t: math.log(t + 3e-5) if t > -3e-5 else math.nan, 1 / 3e-5, "ok"),
    (lambda t: math.copysign(abs(t) ** (1 / 3), t), math.inf, "undefined"),
    (lambda t: math.sin(1e9 * t + 1), 1e9 * math.cos(1), "ok"),
    (lambda t: math.sin(1e9 * t + 1), 1.001e9 * math.cos(1), "wrong"),
    (lambda t: (1e-6 + t) ** 3, 3e-12, "ok"),
    (lambda t: (1e-6 + t) ** 3, 3.0002e-12, "wrong"),
    (lambda t: 1e9 + math.sin(5e5 * t), 5e5, "ok"),
    (lambda t: 1e9 + math.sin(5e5 * t), 6e5, "wrong"),
    (lambda t: abs(t - 1e-9), -1, "ok"),
    (lambda t: abs(t - 1e-9), 0.5, "wrong"),
    (lambda t: 3 * t, 3.0002, "wrong"),
    (lambda t: 0.0, 1e-39, "ok"),
])
def test_one_derivative(function, slope, verdict):
    assert compare(function, slope).verdict == verdict


SMOOTH = ("exp(k*x) sin(k*x) cos(k*x) tanh(k*x) sigmoid(k*x) log(k*x) sqrt(k*x) 1/(k*x) x**3*k (k*x)**5 "
          "exp(-square(k*x)) sin(k*x)/(k*x) softplus(k*x) gelu(k*x) swish(k*x) erf(k*x) log1p(square(k*x)) "
          "x/(k+square(x)) exp(k*sin(x)) k*x+1e8 sin(x)+1e6*k lgamma(abs(k*x)+0.1) atan2(k*x,1.0) hypot(x,k) "
          "square(x-k)*square(x-k) tan(k*x) x**k cosh(k*x) log(1+exp(k*x)) sqrt(square(x)+k*k)").split()


@pytest.mark.parametrize("text", SMOOTH)
def test_smooth_functions_have_no_kinks_at_any_scale(text):
    random, c = np.random.default_rng(0), cf.new(f"f = {text}", {"x": 1.0, "k": 1.0})
    for _ in range(25):
        x, k = (float(random.choice([-1, 1]) * 10.0 ** random.uniform(-6, end)) for end in (6, 4))
        verdicts = {row.worst.verdict for row in cf.check(c, {"x": x, "k": k}).compared}
        assert verdicts <= {"ok", "undefined"}, (x, k)


def test_a_difference_computes_what_depends_on_what_moves_and_nothing_else():
    calls = []

    def counted(xp, x):
        calls.append(1)
        return xp.tanh(x)

    n = 300
    c = circuit(*(f"x{i} = {i / n}" for i in range(n)), *(f"y{i} = counted(x{i})" for i in range(n)),
                {"id": "f", "gate": "add", "inputs": [f"y{i}" for i in range(n)]},
                gates={**cf.GATES, "counted": dataclasses.replace(cf.GATES["tanh"], forward=counted)})
    assert cf.check(c).ok
    assert len(calls) == n + n * 4 * 2  # once, then twice along every direction of its group


def test_every_input_and_parameter_is_a_row():
    report = cf.check(circuit("x = [1, 2]",
                              {"id": "w", "gate": "parameter",
                               "value": {"random": "normal", "shape": [5, 5], "seed": 0}},
                              "y = [[]]", "s = mul(x, x)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]},
                              {"id": "g", "gate": "reduce_sum", "inputs": ["w"]},
                              {"id": "e", "gate": "reduce_sum", "inputs": ["y"]},
                              outputs=["f", "g", "e"]))
    assert report.ok
    assert [row.nodes for row in report.compared] == [("x",), ("w",), ("y",)]
    assert [row.where for row in report.compared[1:]] == ["4 directions", "no elements"]
    assert report.compared[0].worst.gradient in (2.0, 4.0)


def test_groups_of_empty_inputs_have_nothing_wrong(monkeypatch):
    monkeypatch.setattr("circuitflow.interpreter.check.GROUPS", 1)
    report = cf.check(circuit("x = []", "y = []", "s = add(x, y)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}))
    assert report.ok


def test_a_wrong_element_among_right_ones_is_shown():
    bad = cf.Gate("x²", "A square, wrong in one element.", ("x",), lambda x: x, forward=lambda xp, x: x * x,
                  backward=(lambda op, g, out, x: 2 * g * x * np.array([1, 1, 1.1]),))
    report = cf.check(circuit("x = [1, 2, 3]", "s = bad(x)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]},
                              gates={**cf.GATES, "bad": bad}))
    (row,) = report.compared
    assert (row.where, row.worst.verdict) == ("[2]", "wrong")
    assert row.worst.gradient == pytest.approx(6.6)
    assert row.worst.difference == pytest.approx(6)
    (blamed,) = report.blamed
    assert (blamed.node, blamed.gate, blamed.port) == ("s", "bad", "x")


def test_only_the_wrong_gate_is_blamed():
    wrong = dataclasses.replace(cf.GATES["add"], backward=lambda op, g, out, *xs: (g, None))
    c = circuit("x = [[1, 2]]", "y = [[3], [4]]", {"id": "k", "gate": "constant", "value": -2}, "c = neg(k)",
                "a = mul(c, x)", "b = div(x, c)",
                "s = add(a, y)", "t = matmul(y, b)", "u = mul(s, t)",
                {"id": "f", "gate": "reduce_sum", "inputs": ["u"]},
                gates={**cf.GATES, "add": wrong})
    report = cf.check(c)
    assert not report.ok
    assert [(b.node, b.port) for b in report.blamed] == [("s", 1)]


def test_several_outputs_are_checked_and_blamed():
    from support.gate_examples import POLAR

    nodes = ("x = 3", "y = 4", "p = polar(x, y)", "f = mul(p.radius, p.angle)")
    assert cf.check(circuit(*nodes, gates={**cf.GATES, "polar": POLAR})).ok
    wrong = dataclasses.replace(POLAR, backward=(POLAR.backward[0], lambda op, g, out, x, y: g[0]))
    report = cf.check(circuit(*nodes, gates={**cf.GATES, "polar": wrong}))
    assert [(b.node, b.port) for b in report.blamed] == [("p", "y")]


def test_nodes_within_the_circuit_are_compared_too(monkeypatch):
    from support.gate_examples import POLAR

    c = circuit("x = 3", "y = 4", "p = polar(x, y)", "q = exp(p.angle)", "f = mul(q, p.radius, x)",
                gates={**cf.GATES, "polar": POLAR})
    wrt = ["p.angle", "p.radius", "q", "x", "f"]
    report = cf.check(c, wrt=wrt)
    assert [(row.nodes[0], row.worst.verdict) for row in report.compared] == [(name, "ok") for name in wrt]
    assert cf.check(c, wrt="q").ok
    # together, each moves those that are computed from it
    monkeypatch.setattr("circuitflow.interpreter.check.GROUPS", 1)
    assert cf.check(c, wrt=wrt).ok


def test_operands_without_gradient_are_held():
    """stop_gradient, and the condition of where, are meant to differ from what differences would see."""
    assert cf.check(circuit("x = 2", "s = stop_gradient(x)", "f = mul(x, s)")).ok
    report = cf.check(circuit("x = 0", {"id": "zero", "gate": "constant", "value": 0}, "c = greater(x, zero)",
                              "n = neg(x)",
                              "f = where(c, x, n)"))
    assert report.ok
    assert report.compared[0].worst.verdict == "ok"


@pytest.mark.parametrize(("nodes", "verdict"), [
    (("x = 0", "f = relu(x)"), "kink"), (("x = 0", "f = abs(x)"), "ok"), (("x = 0", "f = sqrt(x)"), "undefined"),
    (("x = 2", "y = 2", "f = max(x, y)"), "kink"), (("x = -1", "f = log(x)"), "undefined"),
    (("x = 1", {"id": "f", "gate": "clip", "inputs": ["x"], "min": 0, "max": 1}), "kink")])
def test_kinks_and_edges_are_said_and_do_not_fail(nodes, verdict):
    report = cf.check(circuit(*nodes))
    assert report.ok
    assert report.compared[0].worst.verdict == verdict


def test_float32_circuits_are_checked_in_float64():
    report = cf.check(circuit({"id": "x", "gate": "input", "value": [0.1, 0.2], "dtype": "float32"}, "e = exp(x)",
                              {"id": "f", "gate": "reduce_sum", "inputs": ["e"]}))
    assert report.ok
    assert max(row.worst.error for row in report.compared) < 1e-8


def test_it_takes_the_terms_of_run():
    c = circuit({"id": "x", "gate": "input", "shape": ["n"]}, {"id": "w", "gate": "parameter", "value": 3},
                "p = mul(x, w)", "s = exp(p)")
    report = cf.check(c, {"x": [0.1, 0.2]}, of="p", wrt="w", upstream={"p": [1, 2]})
    assert [row.nodes for row in report.compared] == [("w",)]
    assert report.compared[0].worst.gradient == pytest.approx(0.5)
    with pytest.raises(cf.InputError, match="upstream gradient"):
        cf.check(c, {"x": [0.1, 0.2]})


@pytest.mark.parametrize("library", ["jax.numpy", "torch", "array_api_strict"])
def test_arrays_of_other_libraries_are_checked_as_numpys_are(library):
    xp = pytest.importorskip(library)
    c = circuit({"id": "x", "gate": "input", "shape": [2]}, {"id": "w", "gate": "parameter", "value": [1, 2]},
                "f = mul(x, w)")
    x, upstream = (xp.asarray(numbers, dtype=xp.float64) for numbers in ([3.0, 4.0], [1.0, 10.0]))
    if library == "torch":
        x.requires_grad_()
    assert cf.check(c, {"x": x}, upstream={"f": upstream}).ok
