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
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import Moments, durbin_watson, goodness, moments, uncertainty
from circuitflow.fitting.weights import Comparison, Weighted, comparison, weighted
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
    """Find the parameters of a circuit that make the sum of the squares of its residuals, or a loss, smallest.

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
        loss: the reference of what is minimised instead: a scalar of every row, or of the batch.
        reduction: "mean" (by default) or "sum" of the loss over rows. A scalar of a batch that comes in blocks is
            averaged, each with the weight of its rows, or summed.
        likelihood: whether the loss is a negative log-likelihood, of each row or of all. Then the inverse of its
            Hessian is the covariance. Otherwise a loss has no standard errors, for its scale is arbitrary.
        constraints: reference → "nonnegative" or "zero", for all its elements in every row; for a loss.
        sigma: standard deviations of the residuals, a reference or `{"column": name}`: residuals are divided by them.
        absolute_sigma: whether standard errors take sigma as it is. Otherwise only its ratios count, and its size is
            estimated from the residuals, as in `scipy.optimize.curve_fit`.
        columns: input id → column; an input without an entry takes the column of its own name.
        method: a name, or `{"name": …}` with options; by default `auto`, which chooses, restarts and polishes; for a
            loss `smooth`, which is L-BFGS-B, or SLSQP with constraints, with a polish by Newton steps.
        bounds: parameter → (lower, upper), each a number, None, or nested lists of the parameter's shape.
        frozen: parameters that keep their values, instead of those that the document freezes.
        start: values instead of the document's, to start from or, if frozen, to keep.
        tolerance: relative changes of parameters and objective below which a method ends.
        max_evaluations: the most passes over the data.
        starts: from how many points a loss is minimised; 1 by default. All but the first are drawn by the seed: between
            the bounds, or where a side is open with the spread of the start. The best end is taken.
        seed: 0 by default; of starts that are drawn, and of global methods.
        engine: "auto", "interpreter", "staged", "tape" or "jax", as for `Executor.compile`.
        callback: is told every better point, a `Step`.

    Raises:
        InputError: an argument, the data or the circuit do not fit together; the message says what to change.
        GateError: a gate could not be applied.
    """
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
