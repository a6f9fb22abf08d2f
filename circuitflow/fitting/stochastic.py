"""Stochastic methods: minibatches, Optax's optimisers, and our rules under JAX.

Parameters and the state of the optimiser stay on the device. A step is one compiled function. The host reads the report
of a step a few steps later, so that it prepares batches while the device computes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from circuitflow.errors import GateError, InputError
from circuitflow.fitting.batches import Batch, Batches
from circuitflow.fitting.data import Data
from circuitflow.fitting.devices import Devices
from circuitflow.fitting.memory import check_memory
from circuitflow.fitting.optimisers import Optimiser, load_optax, make_optimiser
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.replay import words_of_failure
from circuitflow.fitting.step import Objective, Report, State, make_step, report_of
from circuitflow.fitting.training_state import TrainingState, flattened, restored
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing, nearest, short

LAG = 8
"""How many steps the device may be ahead of the host."""

INTERVAL = 2.0
"""Seconds between two states that are kept."""

ON_NAN = ("stop", "skip", "raise")
"""What is done when a loss or a gradient is not finite, or a gate refuses a value."""


@dataclass(frozen=True)
class Progress:
    """What a callback is told after each step, and once more after each epoch.

    Attributes:
        step: how many steps were taken, from 1.
        epoch: the epoch in progress, from 0.
        position: how many batches of the epoch were taken.
        steps: how many batches the epoch has; None where it is not known.
        rows: how many rows the last batch has.
        loss, gradient_norm: of the last batch.
        metrics: the other outputs of the last batch, averaged over its rows.
        epochs: how many epochs the run has at most.
        record: the record of the epoch that has just ended, as in `TrainingState.history`; None after a step.
        state: gives the whole state of the run.
    """

    step: int
    epoch: int
    position: int
    steps: int | None
    rows: int
    loss: float
    gradient_norm: float
    metrics: Mapping[str, float]
    epochs: int
    record: Mapping[str, float] | None
    state: Callable[[], TrainingState]


Callback = Callable[[Progress], object]
"""Told of every step; the run ends after the step when it returns True."""

Keeper = Callable[[TrainingState], None]
"""Keeps a state from which the run may go on."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run found.

    Attributes:
        status: how it ended, in words.
        is_complete: whether all epochs are done, or patience ended the run.
        values: parameters and running statistics by id: of the best epoch by validation, or the last without it.
        state: the whole state, to go on from.
        metrics: the names of the metrics.
        measure: gives the loss and the metrics with the values, over the rows that were trained on, and over those of
            the validation as `validation_…`.
    """

    status: str
    is_complete: bool
    values: Mapping[str, Any]
    state: TrainingState
    metrics: tuple[str, ...]
    measure: Callable[[], Mapping[str, float]]


def train(circuit: Circuit, data: Data, parameters: Parameters, loss: str, *, reduction: str = "mean",
          method: str = "adam", options: Mapping[str, Any] | None = None, schedule: Mapping[str, Any] | None = None,
          batch_size: int = 32, epochs: int = 10, seed: int = 0, validation: float | Data | None = None,
          on_nan: str = "stop", callback: Callback | None = None, state: TrainingState | None = None,
          keeper: Keeper | None = None, devices: Devices | None = None) -> Trained:
    """Minimise a loss over minibatches.

    Args:
        circuit: the circuit.
        data: the rows.
        parameters: the free parameters, their start and their bounds; updates are clipped to the bounds.
        loss: a scalar for each row; in a circuit of a batch also one that is reduced over the batch already.
        reduction: of a loss for each row: "mean" or "sum".
        method: one of `optimisers.OPTIMISERS`.
        options: those of `optimisers.make_optimiser`, and `patience`: the run ends when so many epochs brought no
            better loss.
        schedule: of the step size; see `optimisers.make_schedule`.
        batch_size: the most rows of a batch. The last batch of an epoch has the rows that are left.
        epochs: how many times the data is gone through, in all.
        seed: of the order of rows, of held-out rows, and with the document's seeds of gates that draw.
        validation: the fraction of the rows that is held out, or other rows.
        on_nan: when a number is not finite, "stop" ends the run before that step, "skip" leaves the step out, "raise"
            raises.
        callback: see `Callback`.
        state: where another run was; it goes on from there, to the same bits as if it had not stopped.
        keeper: is given the state every two seconds, at the end, and when the callback raises.
        devices: where it is computed; by default on one, of JAX's choice.

    Raises:
        InputError: an option does not fit.
        GateError: a number is not finite and `on_nan` is "raise".
        MissingExtraError: the extra `train` is not installed.
    """
    load_optax()
    if on_nan not in ON_NAN:
        raise InputError(f"on_nan is {short(on_nan)}{nearest(str(on_nan), ON_NAN)}; expected one of {listing(ON_NAN)}")
    if reduction not in ("mean", "sum"):
        raise InputError(f"reduction is {short(reduction)}; expected 'mean' or 'sum'")
    options = dict(options or {})
    patience = options.pop("patience", None)
    for name, value, least in (("batch_size", batch_size, 1), ("epochs", epochs, 1), ("patience", patience, 1),
                               ("seed", seed, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**32):
            raise InputError(f"{name} is {short(value)}; expected a whole number, {least} or more")
    fraction = 0.0 if validation is None or isinstance(validation, Data) else validation
    optimiser = make_optimiser(method, options, schedule, seed)
    training = Training(Objective(circuit, loss, reduction, parameters, data, seed), optimiser,
                        Batches(data, batch_size, seed, fraction), on_nan=on_nan, patience=patience, epochs=epochs,
                        validation=Batches(validation, batch_size, seed) if isinstance(validation, Data) else None,
                        devices=devices)
    return training.run(state, callback, keeper)


class Training:
    """A run, compiled: from a state to a later one."""

    def __init__(self, objective: Objective, optimiser: Optimiser, batches: Batches, *, epochs: int, on_nan: str,
                 patience: int | None, validation: Batches | None = None, devices: Devices | None = None) -> None:
        import jax

        self._jax, self._objective, self._optimiser, self._batches = jax, objective, optimiser, batches
        self._epochs, self._on_nan, self._patience = epochs, on_nan, patience
        self._validation = validation or (batches if batches.holds_out else None)
        self._devices = devices = devices or Devices()
        step, evaluate = make_step(objective, optimiser, skips=on_nan == "skip"), objective.evaluate()

        def step_of(state: State, held: Any, columns: Any) -> Any:
            return step(state, held, devices.shared(columns))

        def step_from(state: State, held: Any, table: Any, rows: Any) -> Any:
            return step_of(state, held, _rows_of(table, rows))

        def evaluate_of(parameters: Any, running: Any, held: Any, columns: Any) -> Any:
            return evaluate(parameters, running, held, devices.shared(columns))

        def evaluate_from(parameters: Any, running: Any, held: Any, table: Any, rows: Any) -> Any:
            return evaluate_of(parameters, running, held, _rows_of(table, rows))

        with jax.enable_x64(True):
            self._held = jax.tree.map(devices.put, dict(objective.fixed))
            self._tables = {id(source): jax.tree.map(devices.put, source.table)
                            for source in (batches, self._validation) if source is not None}
            self._step, self._step_from = (devices.compiled(f, donate_argnums=0) for f in (step_of, step_from))
            self._evaluate, self._evaluate_from = (devices.compiled(f) for f in (evaluate_of, evaluate_from))

    def begin(self) -> TrainingState:
        """The state before the first step."""
        with self._jax.enable_x64(True):
            start, init = self._objective.start(), self._optimiser.transformation.init
            kept = self._jax.eval_shape(init, start["parameters"])
            check_memory(sum(x.size for x in self._jax.tree.leaves(kept)), "what the optimiser keeps of the parameters",
                         "take another optimiser, or other options", self._objective.circuit.limits)
            parameters = {name: self._jax.numpy.array(x) for name, x in start["parameters"].items()}
            arrays = {**flattened(parameters, "parameters"), **flattened(start["running"], "running"),
                      **flattened(init(parameters), "optimiser")}
            if self._optimiser.average is not None:
                arrays |= flattened(parameters, "average")
        return TrainingState(arrays)

    def run(self, state: TrainingState | None = None, callback: Callback | None = None,
            keeper: Keeper | None = None) -> Trained:
        """Go on from a state to the end.

        Raises:
            GateError: a number is not finite and that is to be raised.
            InputError: the state belongs to another run, or the data cannot be read.
        """
        with self._jax.enable_x64(True):
            run = _Run(self, state or self.begin(), callback, keeper)
            status, early = self._ended(run.progress), None
            while status is None:
                early = run.epoch()
                status = early or self._ended(run.progress)
            final = run.state()
        if keeper is not None:
            keeper(final)
        values = final.values(best=self._validation is not None)
        return Trained(status, early is None, values, final, tuple(self._objective.names),
                       partial(self.measure, values))

    def measure(self, values: Mapping[str, Any]) -> dict[str, float]:
        """The loss and the metrics with some values; see `Trained.measure`."""
        with self._jax.enable_x64(True):
            running = {name: values[name] for name in self._objective.statistics}
            parameters = {name: values[name] for name in self._objective.wrt}
            return {**self._means(self._batches, parameters, running, ""), **self._means(
                self._validation, parameters, running, "validation_")}

    def _ended(self, progress: TrainingState) -> str | None:
        """Why a run is over between two epochs, in words; None if it goes on."""
        epoch = progress.epoch
        if self._patience is not None and progress.best and not progress.position and (
                epoch - progress.best["epoch"] >= self._patience):
            which = "validation loss" if self._validation else "loss"
            return (f"stopped after {epoch} epochs: no better {which} for {self._patience}; the best was "
                    f"{progress.best['loss']:.6g}, after epoch {int(progress.best['epoch'])}")
        return f"trained for {epoch} epochs, {progress.step} steps" if epoch >= self._epochs else None

    def to_device(self, state: TrainingState) -> State:
        """The state of a step."""
        start, put = self._objective.start(), self._devices.put
        inner = self._jax.eval_shape(self._optimiser.transformation.init, start["parameters"])
        average = start["parameters"] if self._optimiser.average is not None else {}
        parts = {**start, "average": average, "optimiser": inner}
        return {**{name: restored(part, name, state.arrays, put) for name, part in parts.items()},
                "step": put(np.array(state.step, np.int64)), "failed": put(np.array(-1, np.int64))}

    def step(self, state: State, batch: Batch) -> tuple[State, Any]:
        """One step; the state that goes in is gone."""
        if batch.columns is not None:
            stepped: tuple[State, Any] = self._step(state, self._held, dict(batch.columns))
        else:
            stepped = self._step_from(state, self._held, self._tables[id(self._batches)], batch.rows)
        return stepped

    def validate(self, state: State) -> dict[str, float]:
        """The loss and the metrics over the rows that are held out; empty without validation."""
        return self._means(self._validation, state["average"] or state["parameters"], state["running"], "validation_")

    def _means(self, source: Batches | None, parameters: Any, running: Any, prefix: str) -> dict[str, float]:
        """The loss and the metrics over rows for training or validation, by name; empty without rows."""
        if source is None:
            return {}
        arguments, table = (parameters, running, self._held), id(source)
        parts, rows = [], []
        for batch in source.in_order(out=bool(prefix) and source.holds_out):
            rows.append(len(batch.rows))
            parts.append(self._evaluate(*arguments, dict(batch.columns)) if batch.columns is not None else
                         self._evaluate_from(*arguments, self._tables[table], batch.rows))
        if not rows:
            raise InputError("validation: there are no rows; expected one or more")
        weights = np.array(rows, np.float64)
        numbers = np.stack([np.asarray(part) for part in parts])
        means = weights @ numbers / weights.sum()
        if self._objective.reduction == "sum":
            means[0] = numbers[:, 0].sum()
        names = ["loss", *self._objective.names]
        return {f"{prefix}{name}": float(x) for name, x in zip(names, means, strict=True)}

    def failure(self, state: State, batch: Batch, progress: TrainingState) -> str:
        """What was not finite in a step that was refused, in words."""
        arrays = {**self._objective.fixed, **flattened(state["parameters"], ""), **flattened(state["running"], "")}
        return (f"step {progress.step + 1} (epoch {progress.epoch + 1}): "
                + words_of_failure(self._objective, arrays, batch.rows, self._batches.columns(batch), progress.step))


class _Run:
    """A run in progress: the state on the device, and what the host knows of it."""

    def __init__(self, training: Training, state: TrainingState, callback: Callback | None,
                 keeper: Keeper | None) -> None:
        self._training, self._callback, self._keeper = training, callback, keeper
        self._kept = time.monotonic()
        self.progress = TrainingState({}, **state.numbers)
        self._best = {key: array for key, array in state.arrays.items() if key.startswith("best/")}
        self._device = training.to_device(state)
        self._waiting: deque[tuple[Batch, Any]] = deque()

    def state(self) -> TrainingState:
        """The whole state, copied from the device."""
        device = self._device
        arrays = {name: array for part in ("parameters", "running", "average", "optimiser")
                  for name, array in flattened(device[part], part).items()}
        return TrainingState({**arrays, **self._best}, **self.progress.numbers)

    def epoch(self) -> str | None:
        """Take the steps of an epoch that are left; how the run ended, if it did."""
        training, progress = self._training, self.progress
        for batch in training._batches.epoch(progress.epoch, progress.position):
            self._device, numbers = training.step(self._device, batch)
            self._waiting.append((batch, numbers))
            while len(self._waiting) > (0 if self._callback else LAG):
                if (status := self._note()) is not None:
                    return status
            if self._is_due() and (status := self._note_all()) is not None:
                return status
        return self._note_all() or self._close()

    def _note_all(self) -> str | None:
        """Take account of all steps, and keep the state if it is time to; how the run ends, if it does."""
        while self._waiting:
            if (status := self._note()) is not None:
                return status
        if self._is_due():
            self._keep()
        return None

    def _is_due(self) -> bool:
        return self._keeper is not None and time.monotonic() - self._kept >= INTERVAL

    def _keep(self) -> None:
        """Keep the state, which holds all steps that the device has taken: none is waiting."""
        if self._keeper is not None:
            self._keeper(self.state())
            self._kept = time.monotonic()

    def _note(self) -> str | None:
        """Take account of the earliest step that is not yet; how the run ends, if it does."""
        batch, numbers = self._waiting.popleft()
        progress, training = self.progress, self._training
        report = report_of(numbers, len(training._objective.metrics))
        if report.failed:
            self._waiting.clear()
            words = training.failure(self._device, batch, progress)
            if training._on_nan == "raise":
                raise GateError(words)
            return f"stopped before {words}"
        rows = len(batch.rows)
        progress.step, progress.position = progress.step + 1, progress.position + 1
        progress.skipped += not report.applied
        if report.applied:
            weight = rows if training._objective.reduction == "mean" else 1
            for name, value in (("rows", rows), ("loss", weight * report.loss),
                                *((name, rows * x) for name, x in self._metrics(report).items())):
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.sums["gradient_norm"] = report.gradient_norm
            for name, norm in zip(training._objective.wrt, report.norms, strict=True):
                progress.gradient_norms[name] = max(norm, progress.gradient_norms.get(name, 0.0))
        return self._tell(report, rows, None)

    def _close(self) -> str | None:
        """End an epoch: validate, write its record, keep the best."""
        progress, training = self.progress, self._training
        sums, rows = progress.sums, progress.sums.get("rows", 0)
        whole = rows or np.nan
        record = {"epoch": progress.epoch + 1, "step": progress.step, "rows": rows,
                  "loss": sums.get("loss", np.nan) / (whole if training._objective.reduction == "mean" else 1),
                  "gradient_norm": sums.get("gradient_norm", np.nan),
                  **{name: sums.get(name, np.nan) / whole for name in training._objective.names}}
        record |= training.validate(self._device)
        monitored = record.get("validation_loss", record["loss"])
        if monitored < progress.best.get("loss", np.inf):
            progress.best = {"epoch": progress.epoch + 1, "loss": monitored}
            device = self._device
            self._best = {**flattened(device["average"] or device["parameters"], "best/parameters"),
                          **flattened(device["running"], "best/running")}
        progress.history.append(record)
        progress.epoch, progress.position, progress.sums = progress.epoch + 1, 0, {}
        return self._tell(None, 0, record)

    def _metrics(self, report: Report) -> dict[str, float]:
        return dict(zip(self._training._objective.names, report.metrics, strict=True))

    def _tell(self, report: Report | None, rows: int, record: Mapping[str, float] | None) -> str | None:
        if self._callback is None:
            return None
        progress = self.progress
        told = Progress(progress.step, progress.epoch, progress.position, self._training._batches.steps, rows,
                        report.loss if report else record["loss"],  # type: ignore[index]
                        report.gradient_norm if report else record["gradient_norm"],  # type: ignore[index]
                        self._metrics(report) if report else {}, self._training._epochs, record, self.state)
        try:
            ends = self._callback(told) is True
        except BaseException:
            self._keep()
            raise
        return f"stopped by the callback after step {progress.step}" if ends else None


def _rows_of(table: Any, rows: Any) -> Any:
    return {name: column.at[rows].get(mode="promise_in_bounds") for name, column in table.items()}
