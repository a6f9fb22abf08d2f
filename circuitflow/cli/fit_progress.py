"""Shows how a fit goes on, and lets Ctrl-C end it after a step."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from circuitflow.cli.progress import DELAY
from circuitflow.fitting.outcome import Step
from circuitflow.fitting.stochastic import Progress

INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""


class Interruption(Exception):  # noqa: N818
    """Ctrl-C was pressed; the last step is done."""


class FitProgress:
    """A callback of a fit, and a context around it.

    On a terminal a line with a spinner shows the last step; elsewhere, such as in a log file, a plain line is printed
    every ten seconds. Nothing is shown in the first second. The first Ctrl-C raises `Interruption` after the step, the
    second one ends at once.

    Attributes:
        steps: all steps of a method that is not stochastic, in order.
        records: the records of the epochs of a training run, in order.
        last: the last step; None before the first.
    """

    def __init__(self, most: int | None) -> None:
        """Begin; `most` is the largest number of passes over the data, if it is known."""
        self.steps: list[Step] = []
        self.records: list[Mapping[str, float]] = []
        self.last: Step | Progress | None = None
        self._rows = 0  # after the first step
        self._first: tuple[float, float] | None = None  # when it was done, and how many epochs were then
        self._most, self._stop = most, False
        self._bar: Any = None
        self._task: Any = None
        self._begin = time.monotonic()
        self._shown = self._begin
        self._old: Any = None

    def __enter__(self) -> Self:
        self._old = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: Step | Progress) -> None:
        """Note a step, and show it.

        Raises:
            Interruption: Ctrl-C was pressed.
        """
        now = time.monotonic()
        if self.last is None and isinstance(step, Progress) and step.epoch:  # an earlier run was interrupted
            self.records += step.state().history[:-1 if step.record is not None else None]
        if isinstance(step, Step):
            self.steps.append(step)
        elif step.record is not None:
            self.records.append(step.record)
        else:
            if self._first is None:
                self._first = now, _epochs(step)
            else:
                self._rows += step.rows
        self.last = step
        if sys.stderr.isatty():
            if now - self._begin > DELAY:
                self._show(step, now - self._begin)
        elif now - self._shown > INTERVAL:
            self._shown = now
            print(self._words(step, now - self._begin), file=sys.stderr, flush=True)
        if self._stop:
            raise Interruption

    def _interrupt(self, *_: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._stop = True

    def _words(self, step: Step | Progress, seconds: float) -> str:
        if isinstance(step, Progress):
            return self._words_of_training(step)
        speed = step.evaluations / seconds if seconds > 0 else 0.0
        words = (f"step {step.number}: objective {step.objective:.8g}, gradient norm {step.gradient_norm:.3g}, "
                 f"{step.evaluations} passes over the data, {speed:.3g} a second")
        if self._most is not None and speed > 0:
            words += f", at most {max(self._most - step.evaluations, 0) / speed:.0f} s left"
        return words

    def _words_of_training(self, progress: Progress) -> str:
        epoch = min(progress.epoch + 1, progress.epochs)
        words = (f"step {progress.step}, epoch {epoch} of {progress.epochs}: loss {progress.loss:.6g}, gradient norm "
                 f"{progress.gradient_norm:.3g}")
        if self.records and "validation_loss" in self.records[-1]:
            words += f", validation loss {self.records[-1]['validation_loss']:.6g}"
        if self._first is not None and self._rows and (seconds := time.monotonic() - self._first[0]) > 0:
            words += f", {self._rows / seconds:.3g} rows a second"
            if (taken := _epochs(progress) - self._first[1]) > 0:
                words += f", {max(progress.epochs - _epochs(progress), 0) / taken * seconds:.0f} s left"
        return words

    def _show(self, step: Step | Progress, seconds: float) -> None:
        most, taken = (self._most, step.evaluations) if isinstance(step, Step) else (step.epochs, _epochs(step))
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
            self._bar = Progress(*columns, *([BarColumn()] if most else []), console=Console(stderr=True),
                                 transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=most)
        self._bar.update(self._task, description=self._words(step, seconds), completed=taken)


def _epochs(progress: Progress) -> float:
    """How many epochs are done, the one in progress in part where its length is known."""
    return progress.epoch + (progress.position / progress.steps if progress.steps else 0.0)
