"""`cf.fit` of a loss beside published minima, closed forms, SciPy and JAX."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

import circuitflow as cf
from circuitflow.fit.data import Data
from circuitflow.fit.loss import Loss
from circuitflow.fit.parameters import Parameters

ROSENBROCK = cf.new("f = (1 - x)**2 + 100*(y - x*x)**2", {"x": -1.2, "y": 1.0}, parameters=["x", "y"])
"""Rosenbrock 1960: the minimum is 0 at (1, 1)."""

NORMAL = "l = 0.5*((y - m)/exp(s))**2 + s"
"""The negative log-likelihood of a normal distribution with mean m and standard deviation exp(s), less ½ ln 2π."""


def normal(**shapes):
    return cf.new(NORMAL, {"m": 0.0, "s": 0.0}, parameters=["m", "s"], shapes=shapes)


@pytest.fixture(scope="module")
def sample():
    return {"y": np.random.default_rng(2).normal(3.0, 0.7, 50)}


@pytest.mark.parametrize(("name", "digits"), [
    ("auto", 13), ("L-BFGS-B", 4), ("trust-krylov", 3), ("trust-exact", 7), ("Newton-CG", 3), ("SLSQP", 3),
    ("trust-constr", 7)])
def test_rosenbrock(name, digits):
    found = cf.fit(ROSENBROCK, loss="f", method=name)
    assert found.converged
    np.testing.assert_allclose(found.x, 1, rtol=10.0**-digits)
    assert found.warnings == ()
    assert found.method == ("smooth" if name == "auto" else name)


def test_a_method_by_name_takes_the_steps_of_scipy():
    seen = []
    found = cf.fit(ROSENBROCK, loss="f", method={"name": "L-BFGS-B", "maxcor": 5}, callback=seen.append)

    def value(p):
        return (1 - p[0])**2 + 100*(p[1] - p[0]**2)**2

    def slope(p):
        return np.array([-2*(1 - p[0]) - 400*p[0]*(p[1] - p[0]**2), 200*(p[1] - p[0]**2)])
    right = minimize(value, [-1.2, 1.0], jac=slope, method="L-BFGS-B", options={"maxcor": 5})
    np.testing.assert_allclose(found.x, right.x, rtol=1e-6)
    assert found.steps[0].startswith(f"L-BFGS-B: {right.nfev} evaluations")
    assert [step.objective for step in seen] == sorted((step.objective for step in seen), reverse=True)
    assert seen[-1].objective == found.objective
    np.testing.assert_allclose(seen[-1].gradient_norm, np.linalg.norm(slope(seen[-1].x)), rtol=1e-9)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_maximum_likelihood_of_a_normal_distribution_has_a_closed_form(sample, reduction):
    y = sample["y"]
    found = cf.fit(normal(), sample, loss="l", reduction=reduction, likelihood=True)
    np.testing.assert_allclose(found.values["m"], y.mean(), rtol=1e-13)
    np.testing.assert_allclose(np.exp(found.values["s"]), y.std(), rtol=1e-13)
    least = 0.5 + np.log(y.std())
    assert found.objective == pytest.approx(least * (50 if reduction == "sum" else 1), rel=1e-13)
    np.testing.assert_allclose(found.standard_errors, [y.std() / np.sqrt(50), 1 / np.sqrt(100)], rtol=1e-10)
    np.testing.assert_allclose(found.intervals()[0], y.mean() + np.array([-1, 1]) * 1.959963984540054
                               * y.std() / np.sqrt(50), rtol=1e-10)
    np.testing.assert_allclose(found.error_of("m"), found.standard_errors[0], rtol=1e-13)
    assert json.loads(json.dumps(found.to_dict()))["standard_errors"] == found.standard_errors.tolist()
    plain = cf.fit(normal(), sample, loss="l", reduction=reduction)
    assert plain.covariance is None
    with pytest.raises(cf.InputError, match="likelihood=True"):
        plain.intervals()


def in_blocks(table):
    def batches():
        for first, last in ((0, 7), (7, 7), (7, 40), (40, 50)):
            yield {name: column[first:last] for name, column in table.items()}
    return batches


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", pytest.param("jax", marks=pytest.mark.long)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_rows_batches_and_blocks_give_the_same_on_every_engine(sample, engine, reduction):
    """By rows, by a batch whose loss has a row for each, and by a batch with one loss."""
    scalar = cf.new(f"each = {NORMAL[4:]}\nl = reduce_{reduction}(each)", {"m": 0.0, "s": 0.0}, outputs=["l"],
                    parameters=["m", "s"], shapes={"y": ["N"]})
    circuits = [normal(), *([normal(y=["N"]), scalar] if engine != "tape" else [])]  # it has no arrays
    x, v = np.array([2.5, 0.3]), np.array([0.7, -1.1])
    r = sample["y"] - x[0]
    n = 50 if reduction == "mean" else 1
    weight = np.exp(-2*x[1])
    value = (0.5*weight*np.sum(r*r) + 50*x[1]) / n
    slope = np.array([-weight*r.sum(), 50 - weight*np.sum(r*r)]) / n
    bent = np.array([[50*weight, 2*weight*r.sum()], [2*weight*r.sum(), 2*weight*np.sum(r*r)]]) / n
    for circuit in circuits:
        for data in (sample, in_blocks(sample)):
            problem = Loss(circuit, Parameters.of(circuit, ["l"]), Data.of(circuit, data), "l", reduction=reduction,
                           engine=engine)
            assert problem.objective(x) == pytest.approx(value, rel=1e-12)
            np.testing.assert_allclose(problem.gradient(x), slope, rtol=1e-12)
            assert problem.objective(x) == pytest.approx(value, rel=1e-12)
            np.testing.assert_allclose(problem.hvp(x, v), bent @ v, rtol=1e-12)
            np.testing.assert_allclose(problem.hessian(x), bent, rtol=1e-12)


def test_derivatives_are_those_of_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    random = np.random.default_rng(4)
    w, x = random.normal(size=(2, 3)), random.normal(size=(9, 2))
    circuit = cf.new("l = reduce_sum(tanh(matmul(x, w))**2) + reduce_sum(w**4)", {"w": w.tolist()}, parameters=["w"],
                     shapes={"x": [2]})
    problem = Loss(circuit, Parameters.of(circuit, ["l"]), Data.of(circuit, {"x": x}), "l", reduction="sum")

    def loss(flat):
        u = flat.reshape(2, 3)
        return jnp.sum(jnp.tanh(x @ u)**2) + 9*jnp.sum(u**4)
    with jax.enable_x64(True):
        np.testing.assert_allclose(problem.objective(w.ravel()), loss(w.ravel()), rtol=1e-12)
        np.testing.assert_allclose(problem.gradient(w.ravel()), jax.grad(loss)(w.ravel()), rtol=1e-11)
        np.testing.assert_allclose(problem.hessian(w.ravel()), jax.hessian(loss)(w.ravel()), rtol=1e-10, atol=1e-12)


def test_logistic_regression_is_that_of_iteratively_reweighted_least_squares():
    random = np.random.default_rng(5)
    x = random.normal(size=80)
    y = (random.uniform(size=80) < 1 / (1 + np.exp(-(0.5 + 2*x)))).astype(float)
    circuit = cf.new("z = a + b*x\nl = log(1 + exp(z)) - y*z", {"a": 0.0, "b": 0.0}, parameters=["a", "b"], outputs="l")
    design, beta = np.stack([np.ones(80), x], axis=1), np.zeros(2)
    for _ in range(12):
        p = 1 / (1 + np.exp(-design @ beta))
        information = design.T @ (design * (p*(1 - p))[:, None])
        beta = beta + np.linalg.solve(information, design.T @ (y - p))
    found = cf.fit(circuit, {"x": x, "y": y}, loss="l", reduction="sum", likelihood=True)
    np.testing.assert_allclose(found.x, beta, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(information), rtol=1e-9)


HS71 = cf.new("f = a*d*(a + b + c) + c\nproduct = a*b*c*d - 25\nsquares = a*a + b*b + c*c + d*d - 40",
              {"a": 1.0, "b": 5.0, "c": 5.0, "d": 1.0}, parameters=["a", "b", "c", "d"],
              outputs=["f", "product", "squares"])


@pytest.mark.parametrize(("name", "digits"), [("auto", 6), ("SLSQP", 5), ("trust-constr", 4), (
    "differential_evolution", 6)])
def test_hock_and_schittkowski_71(name, digits):
    """Hock and Schittkowski 1981, problem 71, with its published solution."""
    found = cf.fit(HS71, loss="f", constraints={"product": "nonnegative", "squares": "zero"}, method=name,
                   bounds=dict.fromkeys("abcd", (1, 5)))
    assert found.converged
    right = {"a": 1, "b": 4.742999, "c": 3.8211503, "d": 1.3794082}
    for element, value in right.items():
        assert found.values[element] == pytest.approx(value, rel=10.0**-digits)
    assert found.objective == pytest.approx(17.0140173, rel=10.0**-digits)


def test_a_constraint_of_every_row():
    """The line nearest to the points that is nowhere below them is on an edge of their convex hull."""
    x, y = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5, 2.0])
    circuit = cf.new("r = k + m*x - y\nl = r*r", {"k": 5.0, "m": 0.0}, parameters=["k", "m"], outputs=["l", "r"])
    found = cf.fit(circuit, {"x": x, "y": y}, loss="l", constraints={"r": "nonnegative"})
    np.testing.assert_allclose(found.x, [0.5, 0.5], atol=1e-6)


RASTRIGIN = cf.new("f = 20 + x*x + y*y - 10*cos(6.283185307179586*x) - 10*cos(6.283185307179586*y)",
                   {"x": 3.2, "y": -4.1}, parameters=["x", "y"])
"""Rastrigin 1974: about a hundred minima within 5.12 of 0, the least of which is 0 at 0."""


@pytest.mark.parametrize("keys", [{"method": "differential_evolution"}, {"method": "dual_annealing"}, {"starts": 150}],
                         ids=["evolution", "annealing", "starts"])
def test_rastrigin(keys):
    bounds = {"x": (-5.12, 5.12), "y": (-5.12, 5.12)}
    assert cf.fit(RASTRIGIN, loss="f", bounds=bounds).objective > 20
    found = cf.fit(RASTRIGIN, loss="f", bounds=bounds, seed=1, **keys)
    np.testing.assert_allclose(found.x, 0, atol=1e-8)
    again = cf.fit(RASTRIGIN, loss="f", bounds=bounds, seed=1, **keys)
    assert again.x.tolist() == found.x.tolist()
    assert again.evaluations == found.evaluations
