"""Warnings in words, restarts, the result as text."""

from __future__ import annotations

import json

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.document.fit import Result
from circuitflow.fitting.data import Data
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.squares import SumOfSquares

X = np.linspace(0, 5, 40)
NOISE = np.random.default_rng(3).normal(0, 0.05, 40)


def fit(text, starts, data, **keys):
    return cf.fit(cf.new(text, starts, parameters=list(starts)), data, **keys)


def warnings(found):
    return " | ".join(found.warnings)


def test_a_sound_fit_has_no_warnings():
    found = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, {"x": X, "y": 2 * X + 1 + NOISE})
    assert found.warnings == ()
    assert found.status == "converged"


def test_a_combination_that_the_data_do_not_determine_is_named():
    found = fit("r = y - (a + 2*b + m*x)", {"a": 1.0, "b": 1.0, "m": 0.0}, {"x": X, "y": 2 * X + 1 + NOISE})
    assert "when one moves a by +1, b by -0.5; freeze one of them" in warnings(found)
    assert found.status == "converged, with parameters that the data do not determine"
    errors = found.errors
    assert errors["a"] == errors["b"] == np.inf
    right = fit("r = y - (a + m*x)", {"a": 1.0, "m": 0.0}, {"x": X, "y": 2 * X + 1 + NOISE})
    assert errors["m"] == pytest.approx(right.errors["m"], rel=0.02)  # one degree of freedom less
    assert np.isnan(found.covariance[0]).all()
    json.dumps(found.to_dict())


def test_a_parameter_that_the_residuals_do_not_feel_is_named():
    found = fit("r = y - (m*x + 0*k)", {"m": 0.0, "k": 1.0}, {"x": X, "y": 2 * X + NOISE})
    assert "the data do not determine parameter 'k'" in warnings(found)
    assert found.errors["k"] == np.inf


def test_residuals_that_follow_one_another_are_noticed():
    smooth = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, {"x": X, "y": np.sin(X)})
    assert "residuals of neighbouring rows are alike (Durbin–Watson 0." in warnings(smooth)
    jumping = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, {"x": X, "y": np.resize([1.0, -1.0], 40)})
    assert "are opposite (Durbin–Watson 3.9" in warnings(jumping)
    few = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, {"x": X[:19], "y": np.sin(X[:19])})
    assert few.warnings == ()


def test_slopes_far_apart_are_noticed():
    found = fit("r = y - (m*x*1e8 + k)", {"m": 0.0, "k": 0.0}, {"x": X, "y": 2 * X + 1 + NOISE})
    assert "times as much with parameter 'm' as with 'k'; measure them, or the data, in other units" in warnings(found)


def test_as_many_parameters_as_residuals():
    found = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.0}, {"x": [1.0, 2.0], "y": [3.0, 5.0]})
    assert found.values["m"] == pytest.approx(2)
    assert "as many free parameters as residuals" in warnings(found)
    assert np.isnan(found.standard_errors).all()
    assert np.isnan(found.intervals()).all()


def test_an_exact_fit():
    found = fit("r = y - m*x", {"m": 0.0}, {"x": X, "y": 2.0 * X})
    assert found.values["m"] == 2.0
    assert found.objective == 0.0
    assert found.goodness.aic == -np.inf
    assert found.converged


@pytest.mark.parametrize("factor", [1e-170, 1e-300])
def test_squares_that_are_0_though_the_residuals_are_not(factor):
    found = fit("r = y - m*x", {"m": 0.0}, {"x": X, "y": factor * (X + NOISE)})
    assert found.values["m"] == pytest.approx(factor * X @ (X + NOISE) / (X @ X), rel=1e-13, abs=0)
    assert "the residuals are so small that their squares are not numbers of float64 any more" in warnings(found)


def test_a_column_whose_square_is_0_is_determined():
    found = fit("r = y - m*x", {"m": 0.0}, {"x": 1e-200 * X, "y": X + NOISE})
    right = fit("r = y - m*x", {"m": 0.0}, {"x": X, "y": X + NOISE})
    assert found.x[0] == pytest.approx(1e200 * right.x[0])
    assert not found.warnings


@pytest.mark.parametrize("method", ["auto", "trf"])
def test_a_limit_of_evaluations(method):
    found = fit("r = y - a*exp(-b*x)", {"a": 1.0, "b": 3.0}, {"x": X, "y": 2 * np.exp(-0.3 * X) + NOISE}, method=method,
                max_evaluations=3)
    assert not found.converged
    assert found.status == "not converged: the 3 evaluations that were allowed are used up"
    assert warnings(found).startswith("not converged: the 3 evaluations")


def test_a_plateau_is_left_by_another_start():
    """Where exp(−b x) underflows the model is flat in b: no step from there leads anywhere."""
    x = X + 5
    y = 3 * np.exp(-0.5 * x) + NOISE
    found = fit("r = y - a*exp(-b*x)", {"a": 1.0, "b": 200.0}, {"x": x, "y": y})
    assert found.converged
    assert found.values["b"] == pytest.approx(0.5, abs=0.1)
    assert any("drawn by seed 0" in step for step in found.steps)
    again = fit("r = y - a*exp(-b*x)", {"a": 1.0, "b": 200.0}, {"x": x, "y": y})
    assert again.steps == found.steps
    assert again.x.tolist() == found.x.tolist()


def test_no_minimum_anywhere_is_said():
    """exp(a) has no least value: it falls for ever."""
    found = fit("r = exp(a) + 0*y", {"a": 0.0}, {"y": [1.0, 2.0, 3.0]})
    assert found.values["a"] < -10
    assert found.warnings


@pytest.mark.parametrize("robust", ["linear", "cauchy"])
def test_derivatives_of_a_problem_are_those_of_differences(robust):
    circuit = cf.new("r = y - a*exp(-b*x)", {"a": 1.0, "b": 0.3}, parameters=["a", "b"])
    data = {"x": X, "y": 2 * np.exp(-0.4 * X) + NOISE}
    parameters = Parameters.of(circuit, ["r"])
    problem = SumOfSquares(circuit, parameters, Data.of(circuit, data), "r", robust=robust, scale=0.3)
    x, step = parameters.start, 1e-6

    def slope(function, i):
        unit = step * np.eye(2)[i]
        return (function(x + unit) - function(x - unit)) / (2 * step)
    gradient = problem.gradient(x)
    np.testing.assert_allclose(gradient, [slope(problem.objective, i) for i in range(2)], rtol=1e-6)
    np.testing.assert_allclose(problem.jacobian(x).T, [slope(problem.residuals, i) for i in range(2)], rtol=1e-5,
                               atol=1e-9)
    hessian = np.array([slope(problem.gradient, i) for i in range(2)])
    np.testing.assert_allclose(problem.hessian(x), hessian, rtol=1e-5)
    np.testing.assert_allclose(problem.hvp(x, np.array([1.0, -2.0])), hessian @ [1, -2], rtol=1e-5)
    assert problem.value_and_gradient(x)[0] == pytest.approx(problem.objective(x), rel=1e-14)


def test_the_result_as_text_and_for_a_document():
    found = fit("r = y - (m*x + k)", {"m": 0.0, "k": 0.5}, {"x": X, "y": 2 * X + 1 + NOISE}, bounds={"k": (None, 0.8)})
    lines = found.summary().splitlines()
    assert lines[0].startswith("converged (method auto, ")
    header = next(i for i, line in enumerate(lines) if line.startswith("parameter"))
    assert lines[header].split() == ["parameter", "value", "standard", "error", "95", "%", "interval", "start", "bound"]
    assert lines[header + 2].split()[0] == "k"
    assert lines[header + 2].endswith("0.5  upper")
    assert any(line.startswith("R²: 0.99") for line in lines)
    assert "warning: parameter 'k' ends at its upper bound 0.8" in found.summary()
    assert "<td>k</td>" in found._repr_html_()
    assert repr(found).startswith("<FitResult: converged; m = 2.")
    stated = Result.model_validate(found.to_dict())
    assert stated.parameters == ["m", "k"]
    assert stated.values == found.x.tolist()
    assert stated.digests.data == found.data.digest


def test_predictions_and_errors_of_other_rows_and_nodes():
    circuit = cf.new("f = m*x + k\ng = m/k\nh = 2*x\nr = y - f", {"m": 1.0, "k": 1.0}, parameters=["m", "k"],
                     outputs="r")
    found = cf.fit(circuit, {"x": X, "y": 2 * X + 1 + NOISE})
    np.testing.assert_allclose(found.predict({"x": [0.0, 10.0]}), [found.values["k"], found.values["k"]
                                                                  + 10 * found.values["m"]])
    np.testing.assert_allclose(found.predict({"z": [1.0]}, columns={"x": "z"}), found.values["m"] + found.values["k"])
    assert found.predict(of="g") == pytest.approx(found.values["m"] / found.values["k"])
    gradient = np.array([1 / found.values["k"], -found.values["m"] / found.values["k"] ** 2])
    assert found.error_of("g") == pytest.approx(np.sqrt(gradient @ found.covariance @ gradient))
    assert found.error_of("h").tolist() == [0.0] * 40
    assert found.error_of(data={"x": [0.0]})[0] == pytest.approx(found.errors["k"])
    with pytest.raises(cf.InputError, match="level is 95.0; expected a number between 0 and 1"):
        found.intervals(95.0)
    with pytest.raises(cf.InputError, match="of: there is no node 'q'"):
        found.predict(of="q")
    with pytest.raises(cf.InputError, match="of: there is no node 'q'"):
        found.error_of("q")


def test_residuals_that_are_no_difference_predict_what_is_named():
    found = fit("f = m*x\nr = (y - f)/2", {"m": 1.0}, {"x": X, "y": 2 * X + NOISE})
    assert found.goodness.r_squared is None
    assert "r_squared" not in found.to_dict()
    with pytest.raises(cf.InputError, match="what the fit predicts is not clear"):
        found.predict()
    assert found.predict(of="f").shape == (40,)


def test_a_parameter_inside_a_call_keeps_its_value_and_that_is_said():
    def circuit(**keys):
        cell = {"nodes": [{"id": "u", "gate": "input"}, {"id": "b", "gate": "parameter", "value": 2.0, **keys},
                          {"id": "o", "gate": "mul", "inputs": ["b", "u"]}], "outputs": ["o"]}
        nodes = [{"id": "x", "gate": "input"}, {"id": "y", "gate": "input"},
                 {"id": "a", "gate": "parameter", "value": 1.0},
                 {"id": "c", "gate": "call", "circuit": "cell", "inputs": {"u": "x"}},
                 {"id": "f", "gate": "mul", "inputs": ["a", "c"]}, {"id": "r", "gate": "sub", "inputs": ["y", "f"]},
                 {"id": "l", "gate": "square", "inputs": ["r"]}]
        return cf.loads(json.dumps({"circuitflow": "1.1", "nodes": nodes, "circuits": {"cell": cell},
                                    "outputs": ["r"]}))
    data = {"x": X, "y": X + NOISE}
    pytest.importorskip("optax")
    for keys in ({"residuals": "r"}, {"loss": "l"}, {"loss": "l", "method": "sgd", "epochs": 1}):
        assert "inside calls 'c/b' kept its value: to fit one, make it an input" in warnings(
            cf.fit(circuit(), data, **keys))
        assert "inside calls" not in warnings(cf.fit(circuit(frozen=True), data, **keys))
    for keys in ({"bounds": {"c/b": (0, 1)}}, {"frozen": ["c/b"]}, {"start": {"c/b": 1.0}}):
        with pytest.raises(cf.InputError, match="parameter 'c/b' lies inside a call, where it keeps its value; make"):
            cf.fit(circuit(), data, **keys)


def test_the_curvature_of_what_is_linear_in_the_parameters_is_not_computed():
    """The Hessian of residuals that are linear costs no pass over the data: rows of tensors are read one by one."""
    for text, linear in (("r = y - reduce_sum(w*x)", True), ("r = y - reduce_sum(exp(w*x))", False),
                         ("r = y - reduce_sum(w*x)*w", False)):
        circuit = cf.new(text, {"w": [1.0, 2.0]}, parameters=["w"], shapes={"x": [2]})
        parameters = Parameters.of(circuit, ["r"])
        data = Data.of(circuit, {"x": np.stack([X, X**2], axis=1), "y": X})
        problem = SumOfSquares(circuit, parameters, data, "r")
        x, v = parameters.start, np.array([1.0, -1.0])
        before = problem.evaluations
        bent = problem.curvature(x, [v])[0]
        assert (problem.evaluations == before) == linear
        slopes = [problem.jacobian(x + h * v) for h in (1e-6, -1e-6)]
        np.testing.assert_allclose(bent, (slopes[0] - slopes[1]).T @ problem.residuals(x) / 2e-6, rtol=1e-6, atol=1e-8)
