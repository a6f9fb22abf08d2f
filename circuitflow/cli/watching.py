"""Shows how a fit goes on, and lets Ctrl-C end it after a step."""

from __future__ import annotations

import signal
import sys
import time
from types import TracebackType
from typing import Any, Self

from circuitflow.cli.progress import DELAY
from circuitflow.fitting.outcome import Step

INTERVAL = 10.0
"""Seconds between two lines where standard error is no terminal."""


class Interruption(Exception):  # noqa: N818
    """Ctrl-C was pressed; the last step is done."""


class Watch:
    """A callback of a fit, and a context around it.

    On a terminal a line with a spinner shows the last step; elsewhere, such as in a log file, a plain line is printed
    every ten seconds. Nothing is shown in the first second. The first Ctrl-C raises `Interruption` after the step, the
    second one ends at once.

    Attributes:
        steps: all steps, in order.
    """

    def __init__(self, most: int | None) -> None:
        """Begin; `most` is the largest number of passes over the data, if it is known."""
        self.steps: list[Step] = []
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

    def __call__(self, step: Step) -> None:
        """Note a step, and show it.

        Raises:
            Interruption: Ctrl-C was pressed.
        """
        self.steps.append(step)
        now = time.monotonic()
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

    def _words(self, step: Step, seconds: float) -> str:
        speed = step.evaluations / seconds if seconds > 0 else 0.0
        words = (f"step {step.number}: objective {step.objective:.8g}, gradient norm {step.gradient_norm:.3g}, "
                 f"{step.evaluations} passes over the data, {speed:.3g} a second")
        if self._most is not None and speed > 0:
            words += f", at most {max(self._most - step.evaluations, 0) / speed:.0f} s left"
        return words

    def _show(self, step: Step, seconds: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
            self._bar = Progress(*columns, *([BarColumn()] if self._most else []), console=Console(stderr=True),
                                 transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self._most)
        self._bar.update(self._task, description=self._words(step, seconds), completed=step.evaluations)
