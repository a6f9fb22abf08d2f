"""What every minimiser takes besides a problem, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from circuitflow.fitting.parameters import Vector


class Step(NamedTuple):
    """A better point that a minimiser reached; a callback is told each.

    Attributes:
        number: from 1.
        evaluations: passes over the data so far.
        objective: what is minimised, at the point.
        gradient_norm: the Euclidean norm of its gradient.
        x: the parameters, as a vector of its own.
    """

    number: int
    evaluations: int
    objective: float
    gradient_norm: float
    x: Vector


Callback = Callable[[Any], object]
"""Told of every `Step`, or in training of every `Progress`."""


@dataclass(frozen=True)
class Settings:
    """Options that all methods share.

    Attributes:
        tolerance: relative changes of parameters and objective below which a method ends; None for the method's own.
        max_evaluations: the most passes over the data; None for the method's own.
        seed: of random starts.
        callback: is told every better point.
    """

    tolerance: float | None = None
    max_evaluations: int | None = None
    seed: int = 0
    callback: Callback | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a minimiser ended.

    Attributes:
        x: the best point.
        converged: whether it is a minimum, as far as the method can tell.
        status: why the method ended, in words.
        steps: what was done, in words, in order.
    """

    x: Vector
    converged: bool
    status: str
    steps: tuple[str, ...]
