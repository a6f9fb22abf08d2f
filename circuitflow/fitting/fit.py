"""Fits a circuit to data: `fit(circuit, data, residuals="r")`, or `loss="l"`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.fit import Column, Fit
from circuitflow.errors import InputError
from circuitflow.fitting import findings
from circuitflow.fitting.data import Data
from circuitflow.fitting.fit_loss import LossFit
from circuitflow.fitting.methods import choose
from circuitflow.fitting.outcome import Callback, Settings
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.rerun import as_before
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import Moments, durbin_watson, goodness, moments, uncertainty, variance
from circuitflow.fitting.weights import Comparison, Weighted, check_sigma, comparison, weighted
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing

_KEYS = {"data", "columns", "residuals", "sigma", "loss", "reduction", "constraints", "starts", "method", "tolerance",
         "max_evaluations", "seed", "result"}
"""What the methods take of a document's fit. Of a loss and residuals, those count that the caller names."""


@checked
def fit(circuit: Circuit, data: Any = None, *, residuals: str | None = None,
        loss: str | None = None, reduction: Literal["mean", "sum"] | None = None, likelihood: bool = False,
        constraints: Mapping[str, str] | None = None,
        sigma: str | Mapping[str, str] | None = None, absolute_sigma: bool = False,
        columns: Mapping[str, str] | None = None, method: str | Mapping[str, Any] | None = None,
        bounds: Mapping[str, Sequence[Any]] | None = None, frozen: Collection[str] | None = None,
        start: Mapping[str, Any] | None = None, tolerance: float | None = None,
        max_evaluations: int | None = None, starts: int | None = None, seed: int | None = None, engine: str = "auto",
        callback: Callback | None = None) -> FitResult:
    """Find the parameters of a circuit that make the squares of its residuals, or a loss, smallest.

    What is left out is taken from the key `fit` of the document. A document that was fitted is fitted again from where
    that fit began, except for parameters with new values. Derivatives are exact. A circuit of one row has inputs that
    are columns: scalars or tensors for each row. A circuit of a batch has inputs with a named dimension in front.

    Args:
        circuit: the circuit. Inputs that are not in the data keep the document's values.
        data: a mapping from column to array, or to one value for all rows; a table of pyarrow, pandas or polars; a list
            of these; a function that returns an iterator over them, which is called for every pass, for data that do
            not fit into memory; or the path of a CSV, JSON Lines, Parquet or Arrow file.
        residuals: a reference, by default the only output.
        loss: instead, a scalar of every row, or of the batch.
        reduction: "mean" (by default) or "sum" of the loss over rows.
        likelihood: whether the loss is a negative log-likelihood; then the inverse of its Hessian is the covariance.
        constraints: reference → "nonnegative" or "zero" in every row; for a loss.
        sigma: standard deviations of the residuals, a reference or `{"column": name}`.
        absolute_sigma: whether sigma counts as it is, or only its ratios. With a robust loss the covariance then is
            that of a negative log-likelihood, else Huber's.
        columns: input → column, where the names differ.
        method: a name, or `{"name": …}` with options. By default `auto` chooses, restarts and polishes; for a loss
            `smooth` does.
        bounds: parameter → (lower, upper), each a number, None, or nested lists of its shape.
        frozen: parameters that keep their values, instead of those that the document freezes.
        start: parameter → value to start from or, if frozen, to keep.
        tolerance: relative change of parameters and objective below which a method ends.
        max_evaluations: the most passes over the data.
        starts: from how many points a loss is minimised; all but the first are drawn, between bounds where there are.
        seed: of everything that is drawn; 0 by default.
        engine: "auto", "interpreter", "staged", "tape" or "jax".
        callback: is told every better point, a `Step`.

    Raises:
        InputError: an argument, the data or the circuit do not fit together; the message says what to change.
        GateError: a gate could not be applied.
    """
    circuit = as_before(circuit)
    stated = circuit.document.fit or Fit()
    _check_keys(stated)
    if residuals is not None and loss is not None:
        raise InputError("fit: residuals and loss exclude one another; give one of the two")
    loss = stated.loss if loss is None and residuals is None else loss
    sigma = sigma or ({"column": stated.sigma.column} if isinstance(stated.sigma, Column) else stated.sigma)
    columns = {**(stated.columns or {}), **(columns or {})}
    if method is None and stated.method is not None:
        method = {"name": stated.method.name, **stated.method.options}
    tolerance = stated.tolerance if tolerance is None else tolerance
    max_evaluations = stated.max_evaluations if max_evaluations is None else max_evaluations
    seed = stated.seed or 0 if seed is None else seed
    _check_numbers(tolerance, max_evaluations, seed)
    starts = stated.starts if starts is None else starts
    reduction = stated.reduction if reduction is None and loss is not None else reduction
    constraints = dict(stated.constraints or {}) if constraints is None else constraints
    if starts is not None and starts < 1:
        raise InputError(f"starts is {starts}; expected a whole number from 1")
    frozen_ids = circuit.frozen if frozen is None else set(frozen)
    if still := {name: value for name, value in (start or {}).items() if name in frozen_ids}:
        circuit = circuit.with_values(still)
    if loss is not None:
        if sigma is not None:
            raise InputError("fit: sigma goes with residuals; weigh the loss in the circuit")
        name, row, options = choose(method, "a loss", "smooth")
        return LossFit(loss, reduction or "mean", constraints, likelihood, columns, bounds, frozen, start, name, row,
                       options, Settings(tolerance, max_evaluations, seed, callback), starts or 1,
                       engine).run(circuit, data)
    for option, value in {"reduction": reduction, "constraints": constraints, "likelihood": likelihood,
                          "starts": starts}.items():
        if value:
            raise InputError(f"fit: '{option}' needs a loss, and residuals are fitted; name the loss by loss=…, such "
                             "as the square of the residuals")
    name, row, options = choose(method, "least squares", "auto")
    residuals = residuals or stated.residuals or _only_output(circuit)
    prepared = weighted(circuit, residuals, sigma)
    parameters = Parameters.of(prepared.circuit, [prepared.residuals], bounds=bounds, frozen=frozen, start=start)
    output = prepared.circuit.find(prepared.residuals)
    needed = prepared.circuit.needed({output.node} if output is not None else set())
    bound = Data.of(prepared.circuit, data, {**columns, **prepared.columns}, needed=needed)
    problem = SumOfSquares(prepared.circuit, parameters, bound, prepared.residuals, robust=options.loss,  # type: ignore[attr-defined]
                           scale=options.f_scale, engine=engine)  # type: ignore[attr-defined]
    compares = comparison(circuit, residuals, parameters)
    check_sigma(problem, prepared, sigma)
    observed = _observed(problem, compares, prepared)
    problem.check_start()
    with np.errstate(all="ignore"):
        outcome = row.function(problem, options, Settings(tolerance, max_evaluations, seed, callback))
        return _result(circuit, problem, outcome, name, compares, observed,
                       absolute=absolute_sigma and sigma is not None)


def _result(circuit: Circuit, problem: SumOfSquares, outcome: Any, name: str, compares: Comparison | None,
            observed: Moments | None, *, absolute: bool) -> FitResult:
    parameters = problem.parameters
    x, free = parameters.held(outcome.x, problem.reduce(outcome.x).gradient)
    reduced = problem.reduce(x)
    plain = problem.plain.reduce(x)
    good = goodness(plain.squares, plain.total, int(np.sum(free)), observed)
    errors = uncertainty(reduced, free, 1.0) if absolute else uncertainty(
        plain, free, variance(problem, x, plain.squares, plain.total, int(np.sum(free))))
    warnings = (*findings.of_end(converged=outcome.converged, status=outcome.status),
                *findings.of_calls(parameters),
                *findings.of_bounds(parameters, x, free),
                *findings.of_rank(parameters, errors.undetermined),
                *findings.of_freedom(good.degrees_of_freedom),
                *findings.of_independence(durbin_watson(problem, x), reduced.total),
                *findings.of_scales(parameters, reduced),
                *findings.of_underflow(plain))
    return FitResult(circuit, parameters, problem.data, x, ~free, name,
                     outcome.status, outcome.converged, outcome.steps, reduced.objective, problem.evaluations,
                     problem.data.rows, warnings, errors.covariance, errors.standard_errors, good, compares,
                     problem.engine, absolute)


def _check_keys(stated: Fit) -> None:
    """Refuse keys of a document that no method here takes: to pass over one would be a silent wrong answer."""
    others = [name for name, value in stated if name not in _KEYS and value is not None]
    if others:
        raise InputError(f"the document's fit has {listing(others)}, which neither least squares nor a loss "
                         f"takes; remove {'it' if len(others) == 1 else 'them'}")


def _only_output(circuit: Circuit) -> str:
    if len(circuit.outputs) != 1:
        raise InputError(f"residuals: the circuit has the outputs {listing(circuit.outputs)}; name the one to make "
                         "small by residuals=… or loss=…")
    return next(iter(circuit.outputs))


def _observed(problem: SumOfSquares, compares: Comparison | None, prepared: Weighted) -> Moments | None:
    """What was observed, where that is known.

    Raises:
        InputError: all observations are the same.
    """
    if compares is None:
        return None
    with np.errstate(all="ignore"):
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
