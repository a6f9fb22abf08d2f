"""Fits a loss by minibatches: binds rows and validation, trains, and says what came of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.fitting.checkpoint import STATE, checkpoint, identity_of
from circuitflow.fitting.data import Data
from circuitflow.fitting.devices import Devices
from circuitflow.fitting.findings import of_calls
from circuitflow.fitting.modes import evaluation
from circuitflow.fitting.optimisers import load_optax
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import find_type
from circuitflow.fitting.request import Request
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.state_file import read_state, write_state
from circuitflow.fitting.stochastic import Trained, train
from circuitflow.fitting.training_findings import of_training
from circuitflow.text import listing, short


def fit_training(request: Request) -> FitResult:
    """Train.

    Raises:
        InputError: a reference, the data, the validation, an option or the engine do not fit.
        GateError: a number is not finite, and that is to be raised.
        MissingExtraError: the extra `train` is not installed.
    """
    circuit, loss = request.circuit, request.reference
    load_optax()  # and JAX, before the data are read
    find_type(circuit, loss, "loss")
    if request.engine not in ("auto", "jax"):
        raise InputError(f"the method {request.name} runs on the engine jax, and engine is {short(request.engine)}; "
                         "leave it out, or take another method")
    parameters = Parameters.of(circuit, [loss], bounds=request.bounds, frozen=request.frozen, start=request.start)
    outputs = [circuit.find(text) for text in (loss, *circuit.outputs)]
    needed = circuit.needed({output.node for output in outputs if output is not None})
    data = Data.of(circuit, request.data, request.columns, needed=needed)
    numbers: dict[str, Any] = {"batch_size": request.batch_size, "epochs": request.epochs, "on_nan": request.on_nan,
                               "reduction": request.reduction}
    validation = _validation(request, data, needed)
    devices = Devices(request.device)
    devices.agree(lambda: identity_of(request, data, validation, devices.words))
    keeping = request if devices.is_first else replace(request, checkpoint=None)
    with checkpoint(keeping, data, validation, devices.words) as folder:
        state = devices.of_first(None if folder is None else read_state(folder / STATE))
        keeper = None if folder is None else partial(write_state, folder / STATE)
        trained = train(circuit, data, parameters, loss, method=request.name, options={
            **(request.options.model_extra or {}), **request.options.model_dump(exclude_unset=True)},
            schedule=request.schedule, seed=request.seed, validation=validation, callback=request.callback, state=state,
            keeper=keeper, devices=devices, **{name: value for name, value in numbers.items() if value is not None})
    return _result(request, parameters, data, trained)


def _validation(request: Request, data: Data, needed: Any) -> float | Data | None:
    """The fraction of the rows that is held out, or other rows.

    Raises:
        InputError: the fraction is none, or other rows do not have what those for training have.
    """
    stated = request.validation
    if stated is None or (isinstance(stated, int | float) and not isinstance(stated, bool)):
        if stated is not None and not 0 < stated < 1:
            raise InputError(f"validation is {short(stated)}; expected a fraction between 0 and 1, or rows")
        return stated
    rows = Data.of(request.circuit, stated, request.columns, needed=needed)
    if missing := data.columns.keys() - rows.columns.keys():
        raise InputError(f"validation: there are no columns for {listing(sorted(missing))}; expected those of the data")
    for name, value in rows.fixed.items():
        if not np.array_equal(value, data.fixed.get(name, request.circuit.values.get(name))):
            raise InputError(f"validation: input '{name}' has another value than in training; give it in both, or as "
                             "a column")
    return rows


def _result(request: Request, parameters: Parameters, data: Data, trained: Trained) -> FitResult:
    x, state, measures = parameters.vector(trained.values), trained.state, dict(trained.measure())
    free = (x > parameters.lower) & (x < parameters.upper)
    warnings = *of_calls(parameters), *of_training(trained, parameters, x, validates=request.validation is not None)
    running = {name: value for name, value in trained.values.items() if name not in parameters.types}
    steps: tuple[str, ...] = ()
    if request.validation is not None and state.best:
        steps = (f"the values are those after epoch {state.best['epoch']:g}, by the validation loss",)
    return FitResult(request.circuit, parameters, data, x, ~free, request.name, trained.status, trained.is_complete,
                     steps, measures["loss"], state.epoch, data.rows, warnings, engine="jax", running=running,
                     metrics=measures, history=tuple(state.history),
                     predictor=evaluation(request.circuit.with_values(running)))
