"""`cf.fit` beside closed forms, SciPy and lmfit; by rows, by batch, in blocks, on every engine."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit, least_squares

import circuitflow as cf
from circuitflow.fitting.methods import METHODS
from circuitflow.fitting.minimize import GLOBAL

DECAY = "r = y - (a + b*exp(-c*t))"
STARTS = {"a": 1.0, "b": 2.0, "c": 0.5}


def decay(**shapes):
    return cf.new(DECAY, STARTS, parameters=list(STARTS), shapes=shapes)


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    t = np.linspace(0, 5, 60)
    return {"t": t, "y": 0.5 + 1.5 * np.exp(-1.2 * t) + random.normal(0, 0.02, t.size)}


def model(t, a, b, c):
    return a + b * np.exp(-c * t)


def line(x, y, **keys):
    return cf.fit(cf.new("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, parameters=["m", "k"]), {"x": x, "y": y}, **keys)


def test_a_line_has_a_closed_form():
    x, y = np.arange(8.0), np.array([1.0, 2.9, 5.2, 7.1, 8.8, 11.1, 13.2, 14.7])
    found = line(x, y)
    design = np.stack([x, np.ones(8)], axis=1)
    right = np.linalg.lstsq(design, y)[0]
    residuals = y - design @ right
    variance = residuals @ residuals / 6
    covariance = variance * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(found.x, right, rtol=1e-13)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-12)
    assert found.objective == pytest.approx(residuals @ residuals / 2, rel=1e-13)
    assert found.goodness.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-12)
    np.testing.assert_allclose(found.correlation[0, 1], covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
    # A confidence band: the mean at x has the variance s² (1/n + (x − x̄)² / Σ(x − x̄)²).
    band = np.sqrt(variance * (1 / 8 + (x - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2)))
    np.testing.assert_allclose(found.error_of(), band, rtol=1e-12)
    np.testing.assert_allclose(found.intervals(0.95)[0], right[0] + np.array([-1, 1]) * 2.446911851144969
                               * np.sqrt(covariance[0, 0]), rtol=1e-12)  # t of 6 degrees of freedom, by a table
    assert found.converged


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 30), st.floats(-6, 6))
def test_linear_problems_are_solved_in_any_scale(seed, size, more, exponent):
    random = np.random.default_rng(seed)
    design = random.normal(size=(size + more + 1, size)) * 10.0**exponent
    y = random.normal(size=len(design))
    names = [f"p{i}" for i in range(size)]
    circuit = cf.new("r = y - (" + " + ".join(f"{name}*x{i}" for i, name in enumerate(names)) + ")",
                     dict.fromkeys(names, 1.0), parameters=names)
    found = cf.fit(circuit, {"y": y, **{f"x{i}": design[:, i] for i in range(size)}})
    right = np.linalg.lstsq(design, y)[0]
    # Least squares by orthogonal transformations (Golub and Van Loan, section 5.3.7); a polish ends at 1e-14.
    condition, residual = np.linalg.cond(design), np.linalg.norm(y - design @ right)
    bound = condition * np.linalg.norm(right) + condition**2 * residual / np.linalg.norm(design, 2)
    np.testing.assert_allclose(found.x, right, rtol=0, atol=3e-14 * bound)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_values_and_errors_are_those_of_curve_fit(table, weights, absolute):
    sd = np.linspace(0.01, 0.1, 60)
    found = cf.fit(decay(), {**table, "sd": sd}, sigma={"column": "sd"} if weights else None, absolute_sigma=absolute)
    values, covariance = curve_fit(model, table["t"], table["y"], [1, 2, 0.5], sigma=sd if weights else None,
                                   absolute_sigma=absolute and weights, xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(found.x, values, rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.diag(covariance)), rtol=1e-5)
    np.testing.assert_allclose(found.predict(), model(table["t"], *found.x), rtol=1e-13)


def test_statistics_are_those_of_lmfit(table):
    lmfit = pytest.importorskip("lmfit")
    right = lmfit.Model(model).fit(table["y"], t=table["t"], a=1, b=2, c=0.5)
    found = cf.fit(decay(), table)
    assert found.goodness.aic == pytest.approx(right.aic)
    assert found.goodness.bic == pytest.approx(right.bic)
    assert found.goodness.r_squared == pytest.approx(right.rsquared)
    np.testing.assert_allclose(found.error_of(), right.eval_uncertainty(sigma=1) /
                               right.eval_uncertainty(sigma=1)[0] * found.error_of()[0], rtol=1e-4)


@pytest.mark.parametrize("loss", ["soft_l1", "huber", "cauchy", "arctan"])
@pytest.mark.parametrize("name", ["auto", "trf", "dogbox"])
def test_robust_losses_are_those_of_scipy(table, loss, name):
    y = table["y"].copy()
    y[10] = 5.0
    found = cf.fit(decay(), {"t": table["t"], "y": y}, method={"name": name, "loss": loss, "f_scale": 0.05},
                   tolerance=1e-10)
    right = least_squares(lambda p: model(table["t"], *p) - y, [1, 2, 0.5], loss=loss, f_scale=0.05, xtol=1e-12,
                          ftol=1e-12, gtol=1e-12)
    assert found.converged
    np.testing.assert_allclose(found.x, right.x, rtol=1e-5)
    assert found.objective == pytest.approx(right.cost, rel=1e-9)
    # Huber 1981, equation 7.6.5, from the loss itself: its slope by differences, and the Jacobian in closed form.
    b, c = found.x[1:]
    t, r, s, h = table["t"], y - model(table["t"], *found.x), 0.05, 1e-6
    rho = {"soft_l1": lambda r: s * s * (np.sqrt(1 + (r / s)**2) - 1), "cauchy": lambda r: s * s / 2 * np.log1p(
        (r / s)**2), "arctan": lambda r: s * s / 2 * np.arctan((r / s)**2), "huber": lambda r: np.where(
            abs(r) <= s, r * r / 2, s * abs(r) - s * s / 2)}[loss]
    psi, bent = (rho(r + h) - rho(r - h)) / (2 * h), (rho(r + h) - 2 * rho(r) + rho(r - h)) / h**2
    k = 1 + 3 / 60 * np.var(bent) / np.mean(bent)**2
    slopes = np.stack([np.ones(60), np.exp(-c * t), -b * t * np.exp(-c * t)], axis=1)
    covariance = k**2 * (psi @ psi / 57) / np.mean(bent)**2 * np.linalg.inv(slopes.T @ slopes)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3)
    assert found.goodness.residual_standard_deviation == pytest.approx(np.sqrt(r @ r / 57), rel=1e-6)
    assert found.goodness.r_squared == pytest.approx(1 - r @ r / np.sum((y - y.mean())**2), rel=1e-6)


def test_a_robust_loss_has_no_errors_without_a_minimum_of_its_own(table):
    """At two groups of rows far apart the mean of ψ′ is negative: the point is no minimum, and has no errors."""
    circuit = cf.new("r = y - a", {"a": 0.0}, parameters=["a"])
    found = cf.fit(circuit, {"y": [-5.0, -4.0, 4.0, 5.0]}, method={"name": "trf", "loss": "cauchy"})
    assert np.isnan(found.standard_errors[0])


def test_absolute_standard_deviations_give_intervals_of_the_normal_distribution():
    found = cf.fit(cf.new("r = y - a", {"a": 0.0}, parameters=["a"]), {"y": [1.0], "sd": [0.5]},
                   sigma={"column": "sd"}, absolute_sigma=True)
    np.testing.assert_allclose(found.intervals(), [[1 - 0.979981992, 1 + 0.979981992]], rtol=1e-7)


@pytest.mark.parametrize(("keys", "loss"), [
    ({}, False), ({"method": "trf"}, False), ({}, True), ({"method": "SLSQP"}, True), ({"method": "trust-exact"}, True),
    ({"method": "differential_evolution", "bounds": {"m": (0, 5), "k": (0, 5)}}, True), ({"starts": 3}, True)])
def test_a_callback_cannot_change_the_fit(keys, loss):
    circuit = cf.new("l = (y - (m*x + k))**2" if loss else "l = y - (m*x + k)", {"m": 0.0, "k": 0.0},
                     parameters=["m", "k"])
    data, what = {"x": np.arange(5.0), "y": [1.0, 3.1, 4.9, 7.2, 9.0]}, {"loss" if loss else "residuals": "l"}
    inner = []

    def callback(step):
        step.x[:] = 99.0
        if not inner:
            inner.append(cf.fit(circuit, data, **what, **keys))  # a fit within a fit is another one
    right = cf.fit(circuit, data, **what, **keys)
    for found in (cf.fit(circuit, data, callback=callback, **what, **keys), inner[0]):
        np.testing.assert_array_equal(found.x, right.x)
        assert found.steps == right.steps


@pytest.mark.parametrize("name", ["auto", "lm", "trf", "dogbox", "smooth", "L-BFGS-B", "trust-exact", "SLSQP",
                                  "differential_evolution", "dual_annealing"])
@pytest.mark.parametrize("error", [ValueError, TypeError, KeyboardInterrupt])
def test_what_a_callback_raises_ends_the_fit(table, name, error):
    loss = {"loss": "l"} if METHODS[name].kind == "a loss" else {"residuals": "r"}
    bounds = dict.fromkeys(STARTS, (0, 5)) if name in GLOBAL else None

    def callback(step):
        raise error("mine")
    with pytest.raises(error, match="^mine$"):
        cf.fit(cf.new(f"{DECAY}\nl = r*r", STARTS, parameters=list(STARTS)), table, callback=callback, method=name,
               bounds=bounds, **loss)


@pytest.mark.parametrize("name", ["lm", "trf", "dogbox"])
def test_a_method_by_name_takes_the_steps_of_scipy(table, name):
    """On rows reduced to as many as parameters it evaluates as many points as SciPy on all rows, and ends there."""
    seen = []
    found = cf.fit(decay(), table, method=name, callback=seen.append)
    t, y = table["t"], table["y"]
    right = least_squares(lambda p: y - model(t, *p), [1, 2, 0.5], method=name, x_scale="jac", jac=lambda p: -np.stack(
        [np.ones_like(t), np.exp(-p[2] * t), -p[1] * t * np.exp(-p[2] * t)], axis=1))
    np.testing.assert_allclose(found.x, right.x, rtol=1e-9)
    assert found.steps[0].startswith(f"{name}: {right.nfev} evaluations")
    assert [step.number for step in seen] == list(range(1, len(seen) + 1))
    assert [step.objective for step in seen] == sorted((step.objective for step in seen), reverse=True)
    assert seen[-1].objective == pytest.approx(found.objective)
    assert seen[-1].gradient_norm < 1e-3 * seen[0].gradient_norm


def in_blocks(table):
    def batches():
        for first, last in ((0, 7), (7, 7), (7, 40), (40, 60)):
            yield {name: column[first:last] for name, column in table.items()}
    return batches


@pytest.mark.parametrize("engine", ["interpreter", "staged", *(pytest.param(name, marks=pytest.mark.long) for name in (
    "tape", "jax"))])
def test_rows_batches_and_blocks_give_the_same_on_every_engine(table, engine):
    right = cf.fit(decay(), table)
    batch = decay(t=["N"], y=["N"])
    ways = [cf.fit(decay(), table, engine=engine), cf.fit(decay(), in_blocks(table), engine=engine)]
    if engine != "tape":  # it has no arrays
        ways += [cf.fit(batch, table, engine=engine), cf.fit(batch, in_blocks(table), engine=engine)]
    for found in ways:
        np.testing.assert_allclose(found.x, right.x, rtol=1e-12)
        np.testing.assert_allclose(found.standard_errors, right.standard_errors, rtol=1e-11)
        np.testing.assert_allclose(found.error_of(), right.error_of(), rtol=1e-10)
        np.testing.assert_allclose(found.predict(), right.predict(), rtol=1e-12)
        assert found.rows == 60
        assert found.data.digest == right.data.digest


def test_elements_of_a_parameter_have_bounds_of_their_own():
    x = np.random.default_rng(1).normal(size=(12, 3))
    circuit = cf.new("r = y - matmul(x, w)", {"w": [0.0, 0.0, 0.0]}, parameters=["w"], shapes={"x": [3]})
    y = x @ [1.0, -2.0, 0.5]
    rest = np.linalg.lstsq(x[:, [0, 2]], y + x[:, 1])[0]
    for lower in ([None, -1, None], [-np.inf, -1.0, -np.inf]):
        found = cf.fit(circuit, {"x": x, "y": y}, bounds={"w": (lower, None)})
        np.testing.assert_allclose(found.x, [rest[0], -1.0, rest[1]], rtol=1e-9)
        assert found.held.tolist() == [False, True, False]


@pytest.mark.parametrize("engine", ["auto", "jax"])
def test_tensors_of_a_row_and_tensor_parameters(engine):
    """Residuals of three elements a row, of a matrix and a vector; and a scalar residual of a vector."""
    random = np.random.default_rng(1)
    x, w = random.normal(size=(12, 2)), np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    y = x @ w + random.normal(0, 0.1, (12, 3))
    circuit = cf.new("r = y - matmul(x, w)", {"w": np.zeros((2, 3)).tolist()}, parameters=["w"],
                     shapes={"x": [2], "y": [3]})
    right = np.linalg.lstsq(x, y)[0]
    found = cf.fit(circuit, {"x": x, "y": y}, engine=engine)
    np.testing.assert_allclose(found.values["w"], right, rtol=1e-12)
    assert found.parameters.names[4] == "w[1, 1]"
    assert found.predict().shape == (12, 3)
    assert found.error_of().shape == (12, 3)
    batch = cf.new("r = y - matmul(x, w)", {"w": np.zeros((2, 3)).tolist()}, parameters=["w"],
                   shapes={"x": ["N", 2], "y": ["N", 3]})
    found = cf.fit(batch, {"x": x, "y": y}, engine=engine)
    np.testing.assert_allclose(found.values["w"], right, rtol=1e-12)
    assert found.error_of().shape == (12, 3)
    scalar = cf.new("r = y - reduce_sum(x*w)", {"w": [0.0, 0.0]}, parameters=["w"], shapes={"x": [2]})
    found = cf.fit(scalar, {"x": x, "y": y[:, 0]}, engine=engine)
    np.testing.assert_allclose(found.values["w"], right[:, 0], rtol=1e-12)


def test_a_circuit_without_columns(table):
    """Its inputs have sizes of their own, and the document's values or those of the data."""
    circuit = cf.new("r = y - (m*x + 1)", {"m": 0.0, "x": [1.0, 2.0, 3.0], "y": [3.1, 4.9, 7.2]}, parameters=["m"])
    slope = np.dot([2.1, 3.9, 6.2], [1, 2, 3]) / 14
    found = cf.fit(circuit)
    assert found.values["m"] == pytest.approx(slope, rel=1e-14)
    assert found.rows == 1
    assert cf.fit(circuit, {"y": [3.0, 5.0, 7.0]}).values["m"] == pytest.approx(2)
    assert found.predict().shape == (3,)
    assert found.error_of("m") == pytest.approx(found.standard_errors[0])


def test_a_value_for_all_rows(table):
    circuit = cf.new("r = y - (a + b*exp(-c*t))", {**STARTS, "b": 0.0}, parameters=["a", "c"])
    found = cf.fit(circuit, {**table, "b": 1.5})
    right = cf.fit(cf.new(DECAY, {**STARTS, "b": 1.5}, parameters=list(STARTS)), table, frozen=["b"])
    np.testing.assert_allclose(found.x, right.x, rtol=1e-13)


def test_sigma_that_depends_on_a_parameter_is_differentiated(table):
    circuit = cf.new("f = a + b*exp(-c*t)\ns = 0.1 + abs(f)\nr = y - f", STARTS, parameters=list(STARTS),
                     outputs="r")
    found = cf.fit(circuit, table, sigma="s")

    def weighted(p):
        f = model(table["t"], *p)
        return (table["y"] - f) / (0.1 + np.abs(f))
    right = least_squares(weighted, found.x, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    np.testing.assert_allclose(found.x, right.x, rtol=1e-6)
    assert found.goodness.r_squared is not None


def test_bounds_hold_and_the_rest_is_fitted_with_them(table):
    found = cf.fit(decay(), table, bounds={"c": (0, 1.0), "a": (None, 3)})
    right = cf.fit(decay(), table, start={"c": 1.0}, frozen=["c"])
    assert found.values["c"] == 1.0
    assert found.held.tolist() == [name == "c" for name in found.parameters.names]
    free = ~found.held
    np.testing.assert_allclose(found.x[free], right.x, rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors[free], right.standard_errors, rtol=1e-10)
    assert np.isnan(found.standard_errors[found.held][0])
    np.testing.assert_allclose(found.error_of(), right.error_of(), rtol=1e-9)
    assert any("'c' ends at its upper bound 1" in warning for warning in found.warnings)
    lower = cf.fit(decay(), table, bounds={"a": (0.6, 2)})
    assert any("'a' ends at its lower bound 0.6" in warning for warning in lower.warnings)


def test_the_document_says_how_it_is_fitted(tmp_path, table):
    document = json.loads(cf.dumps(decay()))
    document["circuitflow"] = "1.1"
    for node in document["nodes"]:
        if node["id"] == "c":
            node |= {"min": 0, "max": 1.0}
        elif node["id"] == "a":
            node["frozen"] = True
    document["fit"] = {"data": {"file": "rows.csv"}, "columns": {"t": "time"}, "residuals": "r",
                       "sigma": {"column": "sd"}, "method": {"name": "trf", "loss": "huber"}, "tolerance": 1e-9,
                       "max_evaluations": 90, "seed": 3}
    rows = "\n".join(f"{t!r},{y!r},0.5,text" for t, y in zip(table["t"].tolist(), table["y"].tolist(), strict=True))
    (tmp_path / "rows.csv").write_text(f"time,y, sd ,note\n{rows}\n", encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps(document), encoding="utf-8")
    circuit = cf.load(tmp_path / "c.json")
    found = cf.fit(circuit)
    right = cf.fit(decay(), {**table, "sd": np.full(60, 0.5)}, sigma={"column": "sd"}, frozen=["a"],
                   bounds={"c": (0, 1)}, method={"name": "trf", "loss": "huber"}, tolerance=1e-9)
    np.testing.assert_allclose(found.x, right.x, rtol=1e-13)
    assert found.method == "trf"
    assert found.circuit.values["c"] == found.values["c"]
    assert found.circuit.values["a"] == 1.0
    again = cf.fit(circuit, tmp_path / "rows.csv", frozen=[], bounds={"c": (0, 9)}, method="auto")
    np.testing.assert_allclose(again.x, cf.fit(decay(), table).x, rtol=1e-9)


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "list"])
def test_tables_of_other_libraries(table, kind):
    if kind == "arrow":
        data = pytest.importorskip("pyarrow").table(table)
    elif kind == "list":
        data = list(in_blocks(table)())
    else:
        data = pytest.importorskip(kind).DataFrame(table)
    np.testing.assert_allclose(cf.fit(decay(), data).x, cf.fit(decay(), table).x, rtol=1e-13)
