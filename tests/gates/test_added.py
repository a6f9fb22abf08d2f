"""A gate is one row: a row that is made here goes through all of the machinery of the table."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.cli.schema import Which
from circuitflow.cli.schema import text as schema_text
from circuitflow.errors import GateError
from circuitflow.explanations.catalogue import example, facts, page, search
from circuitflow.gates import GATES, Note
from circuitflow.gates.record import family
from circuitflow.gates.shapes import elementwise, floating
from support.documents import circuit

LOGIT = family({
    "logit": cf.Gate("ln(x / (1 - x))", "The logarithm of the odds of a probability.",
                     ("x",), floating, symbol="logit", reads=cf.Reads.INPUTS,
                     forward=lambda xp, x: xp.log(x / (1 - x)),
                     backward=(lambda op, g, out, x: g / (x * (1 - x)),)),
}, {
    "logit": Note("{g} / ({x} (1 - {x})) to {x}", kinks="infinite at 0 and 1", numpy="scipy.special.logit",
                  also="log_odds", words="scales its gradient by the slope of the log odds"),
})
TABLE = {**GATES, **LOGIT}
P = np.array([0.1, 0.5, 0.8])
SLOPES = 1 / (P * (1 - P))


def odds():
    return circuit({"id": "p", "gate": "input", "value": P.tolist()}, "z = logit(p)", "f = reduce_sum(z)", gates=TABLE)


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_every_engine_runs_it(engine):
    c = circuit({"id": "p", "gate": "input"}, "f = logit(p)", gates=TABLE) if engine == "tape" else odds()
    compiled = cf.Executor(c).compile(engine=engine)
    value, gradients = compiled(p=0.8 if engine == "tape" else P)
    np.testing.assert_allclose(value, np.log(4) if engine == "tape" else np.sum(np.log(P / (1 - P))), rtol=1e-12)
    np.testing.assert_allclose(gradients["p"], SLOPES[2] if engine == "tape" else SLOPES, rtol=1e-12)


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_a_row_under_the_name_of_a_looped_gate_is_what_runs(engine):
    largest = cf.Gate("max", "The largest.", cf.AtLeast(2), elementwise, broadcasts=True,
                      reads=cf.Reads.INPUTS | cf.Reads.OUTPUT,
                      forward=lambda xp, *xs: functools.reduce(xp.maximum, xs),
                      backward=lambda op, g, out, *xs: tuple(op.where(x == out, g, 0.0) for x in xs))
    names = [f"x{i}" for i in range(9)]
    c = circuit(*(f"{name} = {i + 1}" for i, name in enumerate(names)), f"f = mul({', '.join(names)})",
                gates={**GATES, "mul": largest})
    value, gradients = cf.Executor(c).compile(engine=engine)()
    assert (float(value), [float(gradients[name]) for name in names]) == (9, [0] * 8 + [1])


def test_it_runs_over_rows_and_is_checked():
    c = circuit("p = 0.5", "f = logit(p)", gates=TABLE)
    values, gradients = cf.Executor(c).vmap()(p=P)
    np.testing.assert_allclose(values, np.log(P / (1 - P)), atol=1e-15)
    np.testing.assert_allclose(gradients["p"], SLOPES, rtol=1e-12)
    assert cf.check(odds())


def test_its_derivatives_are_documents():
    first = cf.gradient(odds())
    second = cf.hessian(odds())
    outputs = [np.asarray(x) for x in cf.Executor(first).forward().outputs.values()]
    assert any(x.shape == P.shape and np.allclose(x, SLOPES) for x in outputs)
    outputs = [np.asarray(x) for x in cf.Executor(second).forward().outputs.values()]
    assert any(x.shape == (3, 3) and np.allclose(x, np.diag((2 * P - 1) * SLOPES**2)) for x in outputs)


def test_it_is_exported():
    program: dict = {}
    exec(cf.to_python(circuit("p = 0.8", "f = logit(p)", gates=TABLE)), program)
    value, gradients = program["value_and_grad"](p=0.8)
    np.testing.assert_allclose([value, gradients["p"]], [np.log(4), SLOPES[2]], rtol=1e-12)


def test_it_is_explained_and_drawn():
    text = cf.explain(cf.Executor(odds()).run())
    assert "logit(p)" in text
    assert "logit scales its gradient by the slope of the log odds" in text
    assert b"logit" in cf.draw(odds())


def test_the_catalogue_and_the_schema_have_it():
    told = "\n".join(page(TABLE))
    assert f"{len(GATES) + 1} gates in 15 families" in told
    assert r"""### logit

$$\ln\left(\frac{x}{1 - x}\right)$$
""" in told
    assert r"- gradient: $\frac{g}{x \, (1 - x)}$ to $x$" in told
    assert dict(facts(TABLE["logit"]))["gradient"] == "g / (x (1 - x)) to x"
    assert search("log_odds", TABLE) == ["logit"]
    assert cf.Executor(cf.loads(example("logit", TABLE), gates=TABLE)).forward().outputs["f"] == 0
    assert '"const": "logit"' in schema_text(Which.DOCUMENT, TABLE)


def test_a_family_has_words_for_each_gate_and_no_others():
    with pytest.raises(GateError, match="a family needs words for each of its gates, and no others; see logit"):
        family(LOGIT, {})
    with pytest.raises(GateError, match="see cube"):
        family({}, {"cube": Note()})
