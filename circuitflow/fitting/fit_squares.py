"""Fits residuals: sets the sum of their squares up, minimises it, and says what came of it."""

from __future__ import annotations

import numpy as np

from circuitflow.errors import InputError
from circuitflow.fitting import findings
from circuitflow.fitting.checkpoint import journal
from circuitflow.fitting.data import Data
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.memory import check_memory
from circuitflow.fitting.outcome import Outcome
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import Cluster
from circuitflow.fitting.request import Request
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import Moments, durbin_watson, goodness, moments, uncertainty, variance
from circuitflow.fitting.weights import Comparison, Weighted, check_sigma, comparison, weighted
from circuitflow.fitting.workers import cluster_of
from circuitflow.rows.fixed_order import one_thread


def fit_squares(request: Request) -> FitResult:
    """Make the squares of residuals smallest.

    Raises:
        InputError: a reference, the data, the start or the method do not fit.
    """
    circuit = request.circuit
    prepared = weighted(circuit, request.reference, request.sigma)
    parameters = Parameters.of(prepared.circuit, [prepared.residuals], bounds=request.bounds, frozen=request.frozen,
                               start=request.start)
    check_memory(parameters.size**2, f"method {request.name}: the square of {parameters.size} free elements",
                 "freeze parameters, or minimise a loss by L-BFGS-B or by training", circuit.limits)
    output = prepared.circuit.find(prepared.residuals)
    needed = prepared.circuit.needed({output.node} if output is not None else set())
    data = Data.of(prepared.circuit, request.data, {**request.columns, **prepared.columns}, needed=needed)
    with (journal(request, data) as answers, cluster_of(request, data) as cluster,
          one_thread(over_rows=data.over_rows)):
        return _fit(request, prepared, parameters, data, answers, cluster)


def _fit(request: Request, prepared: Weighted, parameters: Parameters, data: Data,
         answers: Journal | None, cluster: Cluster | None) -> FitResult:
    options = request.options
    problem = SumOfSquares(prepared.circuit, parameters, data, prepared.residuals, robust=options.loss,  # type: ignore[attr-defined]
                           scale=options.f_scale, engine=request.engine, journal=answers,  # type: ignore[attr-defined]
                           cluster=cluster)
    compares = comparison(request.circuit, request.reference, parameters)
    check_sigma(problem, prepared, request.sigma)
    observed = _observed(problem, compares, prepared)
    problem.check_start()
    assert request.method.function is not None  # noqa: S101
    with np.errstate(all="ignore"):
        outcome = request.method.function(problem, options, request.settings)
        return _result(request, problem, outcome, compares, observed)


def _result(request: Request, problem: SumOfSquares, outcome: Outcome, compares: Comparison | None,
            observed: Moments | None) -> FitResult:
    parameters = problem.parameters
    x, free = parameters.held(outcome.x, problem.reduce(outcome.x).gradient)
    reduced = problem.reduce(x)
    plain, count = problem.plain.reduce(x), int(np.sum(free))
    good = goodness(plain.squares, plain.total, count, observed)
    absolute = request.absolute_sigma and request.sigma is not None
    errors = uncertainty(reduced, free, 1.0) if absolute else uncertainty(
        plain, free, variance(problem, x, plain.squares, plain.total, count))
    warnings = (*findings.of_end(converged=outcome.converged, status=outcome.status),
                *findings.of_calls(parameters),
                *findings.of_bounds(parameters, x, free),
                *findings.of_rank(parameters, errors.undetermined),
                *findings.of_freedom(good.degrees_of_freedom),
                *findings.of_independence(durbin_watson(problem, x), reduced.total),
                *findings.of_scales("the residuals change", parameters.names, np.linalg.norm(reduced.triangle, axis=0)),
                *findings.of_underflow(plain))
    return FitResult(request.circuit, parameters, problem.data, x, ~free, request.name,
                     outcome.status, outcome.converged, outcome.steps, reduced.objective, problem.evaluations,
                     problem.data.rows, warnings, errors.covariance, errors.standard_errors, good, compares,
                     problem.engine, absolute=absolute)


def _observed(problem: SumOfSquares, compares: Comparison | None, prepared: Weighted) -> Moments | None:
    """What was observed, where that is known.

    Raises:
        InputError: all observations are the same.
    """
    if compares is None:
        return None
    found = moments(problem, compares.observed, prepared.sigma)
    if found.low == found.high and found.number > 1:
        raise InputError(f"data: what was observed, '{compares.observed}', is constant: {found.mean:g} in all "
                         f"{found.number} rows; there is nothing to fit; check its column")
    return found
