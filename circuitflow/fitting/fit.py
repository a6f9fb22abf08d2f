"""Fits a circuit to data: `fit(circuit, data, residuals="r")`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.fit import Column, Fit
from circuitflow.errors import InputError
from circuitflow.fitting import findings
from circuitflow.fitting.data import Data
from circuitflow.fitting.methods import choose
from circuitflow.fitting.outcome import Callback, Settings
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.polish import held
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import Moments, durbin_watson, goodness, moments, uncertainty
from circuitflow.fitting.weights import Comparison, Weighted, comparison, weighted
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing


@checked
def fit(circuit: Circuit, data: Any = None, *, residuals: str | None = None,
        sigma: str | Mapping[str, str] | None = None, absolute_sigma: bool = False,
        columns: Mapping[str, str] | None = None, method: str | Mapping[str, Any] | None = None,
        bounds: Mapping[str, Sequence[Any]] | None = None, frozen: Collection[str] | None = None,
        start: Mapping[str, Any] | None = None, tolerance: float | None = None,
        max_evaluations: int | None = None, seed: int | None = None, engine: str = "auto",
        callback: Callback | None = None) -> FitResult:
    """Find the parameters of a circuit that make the sum of the squares of its residuals smallest.

    What is left out is taken from the key `fit` of the document, and bounds from its parameters. Derivatives are exact.
    A circuit of one row has inputs that are columns: scalars or tensors, one for every row. A circuit of a batch has
    inputs with a dimension of one name in front. Data that do not fit into memory come as a function that returns an
    iterator over blocks: memory does not depend on the number of rows.

    Args:
        circuit: the circuit. All parameters that the residuals depend on are free; its other inputs keep the document's
            values, unless the data have them.
        data: a mapping from column to array, or to one value for all rows; a table of pyarrow, pandas or polars; a list
            of these; a function that returns an iterator over them, called for every pass; or the path of a CSV, JSON
            Lines, Parquet or Arrow file. The blocks of a batch must not depend on one another.
        residuals: the reference of the residuals; the only output of the circuit, where the document names none.
        sigma: standard deviations of the residuals, a reference or `{"column": name}`: residuals are divided by them.
        absolute_sigma: whether standard errors take sigma as it is. Otherwise only its ratios count, and its size is
            estimated from the residuals, as in `scipy.optimize.curve_fit`.
        columns: input id → column; an input without an entry takes the column of its own name.
        method: a name, or `{"name": …}` with options; by default `auto`, which chooses, restarts and polishes.
        bounds: parameter → (lower, upper), each a number, None, or nested lists of the parameter's shape.
        frozen: parameters that keep their values, instead of those that the document freezes.
        start: values instead of the document's, to start from or, if frozen, to keep.
        tolerance: relative changes of parameters and objective below which a method ends.
        max_evaluations: the most passes over the data.
        seed: 0 by default; of starts that the default method draws if it fails from the start given.
        engine: "auto", "interpreter", "staged", "tape" or "jax", as for `Executor.compile`.
        callback: is told every better point, a `Step`.

    Raises:
        InputError: an argument, the data or the circuit do not fit together; the message says what to change.
        GateError: a gate could not be applied.
    """
    stated = circuit.document.fit or Fit()
    residuals = residuals or stated.residuals or _only_output(circuit, stated)
    sigma = sigma or ({"column": stated.sigma.column} if isinstance(stated.sigma, Column) else stated.sigma)
    columns = {**(stated.columns or {}), **(columns or {})}
    if method is None and stated.method is not None:
        method = {"name": stated.method.name, **stated.method.options}
    tolerance = stated.tolerance if tolerance is None else tolerance
    max_evaluations = stated.max_evaluations if max_evaluations is None else max_evaluations
    seed = stated.seed or 0 if seed is None else seed
    _check_numbers(tolerance, max_evaluations, seed)
    name, row, options = choose(method, "least squares", "auto")
    frozen_ids = circuit.frozen if frozen is None else set(frozen)
    if still := {name: value for name, value in (start or {}).items() if name in frozen_ids}:
        circuit = circuit.with_values(still)
    prepared = weighted(circuit, residuals, sigma)
    parameters = Parameters.of(prepared.circuit, [prepared.residuals], bounds=bounds, frozen=frozen, start=start)
    output = prepared.circuit.find(prepared.residuals)
    needed = prepared.circuit.needed({output.node} if output is not None else set())
    bound = Data.of(prepared.circuit, data, {**columns, **prepared.columns}, needed=needed)
    problem = SumOfSquares(prepared.circuit, parameters, bound, prepared.residuals, robust=options.loss,  # type: ignore[attr-defined]
                           scale=options.f_scale, engine=engine)  # type: ignore[attr-defined]
    compares = comparison(circuit, residuals, parameters)
    observed = _observed(problem, compares, prepared)
    problem.check_start()
    with np.errstate(all="ignore"):
        outcome = row.function(problem, options, Settings(tolerance, max_evaluations, seed, callback))
        return _result(circuit, problem, outcome, name, compares, observed,
                       absolute=absolute_sigma and sigma is not None)


def _result(circuit: Circuit, problem: SumOfSquares, outcome: Any, name: str, compares: Comparison | None,
            observed: Moments | None, *, absolute: bool) -> FitResult:
    parameters = problem.parameters
    x, free = held(parameters, outcome.x, problem.reduce(outcome.x))
    reduced = problem.reduce(x)
    squares = float(reduced.right @ reduced.right + reduced.rest**2)
    good = goodness(squares, reduced.total, int(np.sum(free)), observed)
    errors = uncertainty(reduced, free, 1.0 if absolute else good.residual_standard_deviation**2)
    warnings = (*findings.of_end(converged=outcome.converged, status=outcome.status),
                *findings.of_bounds(parameters, x, free),
                *findings.of_rank(parameters, errors.undetermined),
                *findings.of_freedom(good.degrees_of_freedom),
                *findings.of_independence(durbin_watson(problem, x), reduced.total),
                *findings.of_scales(parameters, reduced))
    return FitResult(circuit, parameters, problem.data, x, ~free, name,
                     outcome.status, outcome.converged, outcome.steps, reduced.objective, problem.evaluations,
                     problem.data.rows, warnings, errors.covariance, errors.standard_errors, good, compares,
                     problem.engine)


def _only_output(circuit: Circuit, stated: Fit) -> str:
    if stated.loss is not None:
        raise InputError(f"the document says to minimise the loss '{stated.loss}'; least squares need residuals: name "
                         "them by residuals=…")
    if len(circuit.outputs) != 1:
        raise InputError(f"residuals: the circuit has the outputs {listing(circuit.outputs)}; name the one to make "
                         "small by residuals=…")
    return next(iter(circuit.outputs))


def _observed(problem: SumOfSquares, compares: Comparison | None, prepared: Weighted) -> Moments | None:
    """What was observed, where that is known.

    Raises:
        InputError: all observations are the same.
    """
    if compares is None:
        return None
    found = moments(problem, compares.observed, prepared.sigma)
    if found.constant and found.count > 1:
        raise InputError(f"data: what was observed, '{compares.observed}', is constant: {found.mean:g} in all "
                         f"{found.count} rows; there is nothing to fit; check its column")
    return found


def _check_numbers(tolerance: float | None, max_evaluations: int | None, seed: int) -> None:
    if tolerance is not None and not 1e-15 <= tolerance < 1:
        raise InputError(f"tolerance is {tolerance}; expected a number from 1e-15 to 1, such as 1e-8")
    if max_evaluations is not None and max_evaluations < 1:
        raise InputError(f"max_evaluations is {max_evaluations}; expected a whole number from 1")
    if seed < 0:
        raise InputError(f"seed is {seed}; expected a whole number from 0")
