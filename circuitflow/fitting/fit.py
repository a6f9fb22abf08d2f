"""Fits a circuit to data: `fit(circuit, data, residuals="r")`, or `loss="l"`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from circuitflow.arguments import checked
from circuitflow.document.fit import Column, DataFile, Fit
from circuitflow.errors import InputError
from circuitflow.fitting.fit_loss import fit_loss
from circuitflow.fitting.fit_squares import fit_squares
from circuitflow.fitting.fit_training import fit_training
from circuitflow.fitting.methods import choose, kind_of
from circuitflow.fitting.request import Request, Way
from circuitflow.fitting.rerun import as_before
from circuitflow.fitting.result import FitResult
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing

_WAYS: Mapping[Way, Callable[[Request], FitResult]] = {
    "least squares": fit_squares, "smooth": fit_loss, "stochastic": fit_training}


@checked
def fit(circuit: Circuit, data: Any = None, *, residuals: str | None = None,
        loss: str | None = None, reduction: Literal["mean", "sum"] | None = None, likelihood: bool | None = None,
        constraints: Mapping[str, str] | None = None,
        sigma: str | Mapping[str, str] | None = None, absolute_sigma: bool | None = None,
        columns: Mapping[str, str] | None = None, method: str | Mapping[str, Any] | None = None,
        bounds: Mapping[str, Sequence[Any]] | None = None, frozen: Collection[str] | None = None,
        start: Mapping[str, Any] | None = None, tolerance: float | None = None,
        max_evaluations: int | None = None, starts: int | None = None, seed: int | None = None,
        batch_size: int | None = None, epochs: int | None = None, schedule: str | Mapping[str, Any] | None = None,
        validation: Any = None, on_nan: Literal["stop", "skip", "raise"] | None = None, engine: str = "auto",
        device: Any = None, callback: Callable[[Any], object] | None = None,
        checkpoint: str | os.PathLike[str] | None = None, client: Any = None) -> FitResult:
    """Find the parameters of a circuit that make the squares of its residuals, or a loss, smallest.

    What is left out is taken from the key `fit` of the document; if it was fitted, the fit begins where that one began.

    Args:
        circuit: of one row, or of a batch, whose inputs have a named dimension in front. Other inputs keep their value.
        data: arrays by column; a table; a list of these, or a function that iterates anew over them; or a path.
        residuals: a reference, by default the only output.
        loss: instead, a scalar of every row, or of the batch.
        reduction: "mean" (by default) or "sum" of the loss over rows.
        likelihood: whether the loss is a negative log-likelihood; then there are standard errors.
        constraints: reference → "nonnegative" or "zero" in every row; for a loss.
        sigma: standard deviations of the residuals, a reference or `{"column": name}`.
        absolute_sigma: whether sigma counts as it is, or only its ratios.
        columns: input → column, where the names differ.
        method: a name, or `{"name": …}` with options; `auto` by default. Optimisers of Optax, such as `adam`, train.
        bounds: parameter → (lower, upper), each a number, None, or nested lists of its shape.
        frozen: parameters that keep their values, instead of the document's.
        start: parameter → value to start from or, if frozen, to keep.
        tolerance: relative change of parameters and objective below which a method ends.
        max_evaluations: the most passes over the data.
        starts: from how many points a loss is minimised; all but the first are drawn.
        seed: of everything that is drawn; 0 by default.
        batch_size: rows of a training step, 32 by default.
        epochs: passes of training over the rows, 10 by default.
        schedule: of the step size in training, as a method.
        validation: in training, the fraction of rows that is held out, or other rows; the best epoch is kept.
        on_nan: "stop" (by default) before a training step that is not finite, "skip" it, or "raise".
        engine: "auto", "interpreter", "staged", "tape" or "jax".
        device: in training "cpu", "gpu", a JAX device, or "all", which share the rows of every step.
        callback: is told every better point, a `Step`; in training each step and epoch, a `Progress`; True ends it.
        checkpoint: a folder from which the same call goes on if this one is interrupted.
        client: a `distributed.Client`, on whose workers a fit that does not train computes, of rows in files.

    Raises:
        InputError, GateError: arguments, data and circuit do not fit together; the message says what to change.
    """
    circuit = as_before(circuit)
    stated = circuit.document.fit or Fit()
    if residuals is not None and loss is not None:
        raise InputError("fit: residuals and loss exclude one another; give one of the two")
    if method is None and stated.method is not None:
        method = {"name": stated.method.name, **stated.method.options}
    if residuals is None and loss is None:
        residuals, loss = stated.residuals, stated.loss
        if residuals is None and loss is None:
            residuals, loss = (None, _only_output(circuit)) if kind_of(method) == "a loss" else (
                _only_output(circuit), None)
    if loss is not None:
        reduction = stated.reduction if reduction is None else reduction
    name, row, options = choose(method, "least squares" if loss is None else "a loss")
    if sigma is None:
        sigma = {"column": stated.sigma.column} if isinstance(stated.sigma, Column) else stated.sigma
    if schedule is None and stated.schedule is not None:
        schedule = {"name": stated.schedule.name, **stated.schedule.options}
    if validation is None and stated.validation is not None:
        validation = stated.validation if isinstance(stated.validation, DataFile) else stated.validation.fraction
    frozen_ids = circuit.frozen if frozen is None else set(frozen)
    if still := {name: value for name, value in (start or {}).items() if name in frozen_ids}:
        circuit = circuit.with_values(still)
    request = Request(
        circuit=circuit, data=data, columns={**(stated.columns or {}), **(columns or {})}, engine=engine,
        callback=callback, bounds=bounds, frozen=frozen, start=start, reference=loss or residuals or "", name=name,
        method=row, options=options, tolerance=stated.tolerance if tolerance is None else tolerance,
        max_evaluations=stated.max_evaluations if max_evaluations is None else max_evaluations,
        seed=stated.seed or 0 if seed is None else seed, sigma=sigma,
        absolute_sigma=bool(stated.absolute_sigma if absolute_sigma is None else absolute_sigma),
        reduction=reduction, likelihood=bool(stated.likelihood if likelihood is None else likelihood),
        constraints=dict(stated.constraints or {}) if constraints is None else constraints,
        starts=stated.starts if starts is None else starts,
        batch_size=stated.batch_size if batch_size is None else batch_size,
        epochs=stated.epochs if epochs is None else epochs,
        schedule={"name": schedule} if isinstance(schedule, str) else schedule, validation=validation, on_nan=on_nan,
        device=device, checkpoint=checkpoint, client=client)
    return _WAYS[request.way](request)


def _only_output(circuit: Circuit) -> str:
    if len(circuit.outputs) != 1:
        raise InputError(f"residuals: the circuit has the outputs {listing(circuit.outputs)}; name the one to minimise "
                         "by residuals=… or loss=…")
    return next(iter(circuit.outputs))
