"""`cf.fit` of a loss beside published minima, closed forms, SciPy and JAX."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize

import circuitflow as cf
from circuitflow.fitting.data import Data
from circuitflow.fitting.loss import Loss
from circuitflow.fitting.parameters import Parameters

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


@pytest.mark.parametrize("engine", ["interpreter", "staged",
                                    *(pytest.param(engine, marks=pytest.mark.long) for engine in ("tape", "jax"))])
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


@pytest.mark.parametrize(("method", "digits"), [("auto", 7), ("SLSQP", 5), ("trust-constr", 4), (
    {"name": "differential_evolution", "maxiter": 2}, 7)])
def test_hock_and_schittkowski_71(method, digits):
    """Hock and Schittkowski 1981, problem 71, with its solution, as published with Ipopt."""
    found = cf.fit(HS71, loss="f", constraints={"product": "nonnegative", "squares": "zero"}, method=method,
                   bounds=dict.fromkeys("abcd", (1, 5)))
    assert found.converged
    right = {"a": 1, "b": 4.74299963, "c": 3.82114998, "d": 1.37940829}
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
                   {"x": 2.2, "y": -2.1}, parameters=["x", "y"])
"""Rastrigin 1974: about a hundred minima within 5.12 of 0, the least of which is 0 at 0."""


@pytest.mark.parametrize("keys", [{"method": "differential_evolution"}, {"method": "dual_annealing"}, {"starts": 80}],
                         ids=["evolution", "annealing", "starts"])
def test_rastrigin(keys):
    bounds = dict.fromkeys("xy", (-2.5, 2.5) if "starts" in keys else (-5.12, 5.12))
    assert cf.fit(RASTRIGIN, loss="f", bounds=bounds).objective > 1
    found = cf.fit(RASTRIGIN, loss="f", bounds=bounds, seed=1, **keys)
    np.testing.assert_allclose(found.x, 0, atol=1e-8)
    again = cf.fit(RASTRIGIN, loss="f", bounds=bounds, seed=1, **keys)
    assert again.x.tolist() == found.x.tolist()
    assert again.evaluations == found.evaluations


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e200])
def test_the_unit_of_the_loss_does_not_matter(scale):
    circuit = cf.new("f = s*((1 - x)**2 + 100*(y - x*x)**2)", {"x": -1.2, "y": 1.0, "s": scale}, parameters=["x", "y"])
    np.testing.assert_allclose(cf.fit(circuit, loss="f").x, 1, rtol=1e-12)


@pytest.mark.parametrize("name", ["L-BFGS-B", "trust-krylov", "trust-exact", "Newton-CG", "SLSQP", "trust-constr"])
@pytest.mark.parametrize("scale", [1e-100, 1e200])
def test_a_method_that_stops_early_by_its_units_is_noticed(name, scale):
    circuit = cf.new("f = s*((x - 3)**2 + (y + 1)**2)", {"x": 0.0, "y": 0.0, "s": scale}, parameters=["x", "y"])
    try:
        found = cf.fit(circuit, loss="f", method=name)
    except cf.InputError as error:  # SciPy's own check of the Hessian
        assert "must not contain infs or NaNs" in str(error)
        return
    assert np.isfinite(found.x).all()
    assert np.isfinite(found.objective)
    if not np.allclose(found.x, [3, -1]):
        assert any("stopped early: a Newton step would still" in x or "not converged" in x for x in found.warnings)


def test_of_one_number_for_a_batch_it_is_said_whether_it_is_a_sum():
    """As a mean over n rows, a sum of log-likelihoods would have standard errors too small by √n."""
    y = np.random.default_rng(1).normal(size=30)
    circuit = cf.new("l = reduce_sum((y - m)**2)/2", {"m": 0.0}, parameters=["m"], shapes={"y": ["N"]})
    with pytest.raises(cf.InputError, match="'l' is one number for all rows of a batch; say by reduction"):
        cf.fit(circuit, {"y": y}, loss="l", likelihood=True)
    found = cf.fit(circuit, {"y": y}, loss="l", likelihood=True, reduction="sum")
    assert found.standard_errors[0] == pytest.approx(1 / np.sqrt(30))


@pytest.mark.parametrize("method", ["smooth", "differential_evolution", "dual_annealing"])
def test_data_that_change_in_a_search_are_refused_in_our_words(sample, method):
    rows = [50] * 4 + [49] * 1000

    def batches():
        yield {"y": sample["y"][:rows.pop(0)]}
    with pytest.raises(cf.InputError, match="one pass had 50 rows and another has 49"):
        cf.fit(normal(), batches, loss="l", method=method, bounds={"m": (-5, 5), "s": (-3, 3)})


PUBLISHED = {
    # Dalal, Fowlkes and Hoadley 1989, "Risk analysis of the space shuttle": distress of O-rings by temperature (°F).
    "logistic": ("l = log1p(exp(a + b*t)) - y*(a + b*t)", {
        "t": [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58],
        "y": [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]},
        [15.0429, -0.2322], [7.3786, 0.1082], 24.315),
    # Dobson 1990, "An introduction to generalized linear models", page 93, as in R's help of glm.
    "poisson": ("e = a + b*o + c*p + d*t + f*u\nl = exp(e) - y*e", {
        "y": [18, 17, 15, 20, 10, 20, 25, 13, 12], "o": [0, 1, 0] * 3, "p": [0, 0, 1] * 3,
        "t": [0] * 3 + [1] * 3 + [0] * 3, "u": [0] * 6 + [1] * 3},
        [3.0445, -0.4543, -0.2930, 0, 0], [0.1709, 0.2022, 0.1927, 0.2, 0.2], 56.76)}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_maximum_likelihood_is_that_of_published_examples(name, reduction):
    text, data, values, errors, aic = PUBLISHED[name]
    names = list("abcdf")[:len(values)]
    found = cf.fit(cf.new(text, dict.fromkeys(names, 0.0), parameters=names), data, loss="l", reduction=reduction,
                   likelihood=True)
    np.testing.assert_allclose(found.x, values, rtol=0, atol=5e-5)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=0, atol=5e-5)
    shared = 2 * sum(math.lgamma(y + 1) for y in data["y"])  # of ln L, which does not depend on parameters
    assert found.criteria.aic + shared == pytest.approx(aic, abs=5e-3)
    assert found.to_dict()["bic"] - found.criteria.aic == pytest.approx((math.log(len(data["y"])) - 2) * len(values))
    assert not found.warnings


def test_many_parameters_are_polished_by_products_with_the_hessian():
    circuit = cf.new("f = reduce_sum((w - 1)**4) + reduce_sum(w*w)", {"w": np.linspace(0, 3, 210).tolist()},
                     parameters=["w"])
    found = cf.fit(circuit, loss="f")
    root = np.roots([4, -12, 14, -4])  # 4 (w - 1)³ + 2 w = 0
    np.testing.assert_allclose(found.x, root[np.isreal(root)].real[0], rtol=1e-7)
    assert "trust-krylov" in found.steps[-1]


def test_a_saddle_is_left():
    circuit = cf.new("f = x*x - y*y + y**4", {"x": 1.0, "y": 0.0}, parameters=["x", "y"])
    found = cf.fit(circuit, loss="f")
    assert found.objective == pytest.approx(-0.25)
    assert "left a saddle" in found.steps[1]


def test_a_bound_holds():
    found = cf.fit(ROSENBROCK, loss="f", bounds={"x": (None, 0.5)})
    np.testing.assert_allclose(found.x, [0.5, 0.25], rtol=1e-13)
    assert found.held.tolist() == [True, False]
    assert found.warnings == ("parameter 'x' ends at its upper bound 0.5: the loss falls beyond it",)


@pytest.mark.parametrize(("expression", "start", "keys", "words"), [
    ("f = a + 0*b", {"a": 1.0, "b": 1.0}, {}, "the loss falls as far as parameter 'a' goes"),
    ("f = (a + b - 1)**2", {"a": 1.0, "b": 2.0}, {}, "when one moves 'a' by +1, 'b' by -1, the loss stays as it is"),
    ("f = (a - 1)**2 + (b*10000000 - 3)**2", {"a": 3.0, "b": 1.0}, {}, "1e+07 times as much with parameter 'b'"),
    ("f = (1 - a)**2 + 100*(b - a*a)**2", {"a": -1.2, "b": 1.0}, {"max_evaluations": 15}, "the loss still falls"),
    ("f = a*a + b", {"a": 1.0, "b": 1.0}, {"bounds": {"b": (-1, 2)}, "constraints": {"f": "zero"}, "method": "SLSQP",
                                           "max_evaluations": 1}, "used up")])
def test_what_a_careful_reader_would_notice(expression, start, keys, words):
    found = cf.fit(cf.new(expression, start, parameters=list(start)), loss="f", **keys)
    assert any(words in warning for warning in found.warnings), found.warnings


def test_constraints_that_exclude_one_another_are_named():
    circuit = cf.new("f = x*x\nc = x - 2\nd = -x", {"x": 1.0}, parameters=["x"], outputs=["f", "c", "d"])
    found = cf.fit(circuit, loss="f", constraints={"c": "nonnegative", "d": "nonnegative"}, max_evaluations=300)
    assert not found.converged


def test_the_document_says_how_a_loss_is_minimised(sample):
    document = json.loads(cf.dumps(normal()))
    document |= {"circuitflow": "1.1", "fit": {"loss": "l", "reduction": "sum", "constraints": {"m": "nonnegative"},
                                               "starts": 2, "seed": 7, "method": {"name": "SLSQP"},
                                               "tolerance": 1e-12, "max_evaluations": 200}}
    found = cf.fit(cf.loads(json.dumps(document)), sample)
    assert found.method == "SLSQP"
    assert found.steps[0].startswith("2 starts, drawn by seed 7")
    assert found.objective == pytest.approx(50*(0.5 + np.log(sample["y"].std())), rel=1e-9)
    assert cf.fit(cf.loads(json.dumps(document)), sample, reduction="mean", method="auto", constraints={},
                  starts=1).objective == pytest.approx(found.objective / 50, rel=1e-9)


BOX = dict.fromkeys("xy", (-2, 2))


@pytest.mark.parametrize(("keys", "words"), [
    ({"loss": "g"}, "loss: there is no node 'g'"),
    ({"loss": "f", "residuals": "f"}, "exclude one another"),
    ({"loss": "f", "sigma": "f"}, "fit: 'sigma' goes with residuals; the method is smooth"),
    ({"residuals": "f", "constraints": {"f": "zero"}}, "'constraints' goes with a loss"),
    ({"loss": "f", "reduction": "max"}, "reduction is \"max\""),
    ({"loss": "f", "constraints": {"q": "zero"}}, "constraints: there is no node 'q'"),
    ({"loss": "f", "constraints": {"f": "positive"}}, "'f' is \"positive\"; expected \"nonnegative\" or \"zero\""),
    ({"loss": "f", "constraints": {"f": "zero"}, "method": "L-BFGS-B"}, "takes no constraints; take one that does: "
                                                                      "'smooth', 'SLSQP'"),
    ({"loss": "f", "bounds": BOX, "method": "trust-exact"}, "takes no bounds; take one that does: 'smooth'"),
    ({"loss": "f", "bounds": {"x": (0, 1)}, "start": {"x": 0.5}, "method": "dual_annealing"}, "parameter 'y' is open"),
    ({"loss": "f", "bounds": BOX, "starts": 3, "method": "dual_annealing"}, "leave starts out"),
    ({"loss": "f", "bounds": BOX, "method": {"name": "differential_evolution", "strategy": "no"}}, "mutation strategy"),
    ({"loss": "f", "method": {"name": "trust-krylov", "initial_trust_radius": 1e9}}, "initial trust radius"),
    ({"loss": "f", "method": {"name": "L-BFGS-B", "maxcro": 3}}, "did you mean 'maxcor'"),
    ({"loss": "f", "method": "lm"}, "the method lm is for least squares"),
    ({"loss": "f", "likelihood": True, "constraints": {"f": "zero"}}, "likelihood: standard errors from a Hessian"),
    ({"loss": "f", "starts": 0}, "starts is 0")])
def test_bad_options_are_named(keys, words):
    with pytest.raises(cf.InputError) as error:
        cf.fit(ROSENBROCK, **keys)
    assert words in str(error.value)


@pytest.mark.parametrize(("expression", "start", "data", "words"), [
    ("l = w*w", {"w": [1.0, 2.0]}, None, "'l' has shape (2,); expected ()"),
    ("l = log(a)", {"a": -1.0}, None, "'l' is nan at the start, a = -1"),
    ("l = sqrt(a)", {"a": 0.0}, None, "the derivative of 'l' by 'a' is inf at the start"),
    ("l = log(a*t)", {"a": 1.0}, {"t": [1.0, -2.0]}, "'l' is nan in row 2 at the start"),
    ("l = (y - a)**2", {"a": 1.0}, {"y": []}, "there are no rows"),
    ("l = (y - a)**2", {"a": 1.0}, None, "there is no column for input 'y'"),
    ("l = cast(a, dtype='int64')", {"a": 1.0}, None, "'l' is int64; expected floating-point numbers")])
def test_bad_losses_and_data_are_named(expression, start, data, words):
    with pytest.raises(cf.InputError) as error:
        cf.fit(cf.new(expression, start, parameters=list(start)), data, loss="l")
    assert words in str(error.value)
