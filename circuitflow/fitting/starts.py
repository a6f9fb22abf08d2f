"""Starts of a fit, drawn by a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.descent import FEASIBLE
from circuitflow.fitting.outcome import Outcome, Settings
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Problem


def draw_starts(parameters: Parameters, count: int, seed: int) -> Iterator[Vector]:
    """The start of the parameters, and others drawn by a seed.

    An element with bounds on both sides is drawn uniformly between them. Any other is drawn from a normal distribution
    about its start, and put on a bound that it passes; the standard deviation is the root mean square of the starts of
    all elements of the parameter, or 1 where these are 0.
    """
    random, start = np.random.default_rng(seed), parameters.start
    spread = np.ones(parameters.size)
    for part in parameters.slices():
        spread[part] = np.sqrt(np.mean(start[part]**2)) or 1.0
    closed = np.isfinite(parameters.lower) & np.isfinite(parameters.upper)
    low, high = np.where(closed, parameters.lower, 0.0), np.where(closed, parameters.upper, 1.0)
    yield start
    for _ in range(count - 1):
        inside, about = random.uniform(low, high), random.normal(start, spread)
        yield np.asarray(np.clip(np.where(closed, inside, about), parameters.lower, parameters.upper))


def best_of_starts(problem: Problem, minimise: Callable[[Settings], Outcome], settings: Settings, count: int,
                   constraints: Constraints | None = None) -> Outcome:
    """The best of the outcomes from several starts.

    One that converged within the constraints comes before any other; among these the lowest objective is best.
    `max_evaluations` is shared: a start that has none left is not tried.

    Args:
        problem: the problem; `minimise` starts at the start of its parameters.
        minimise: a method with its options.
        settings: what all methods share.
        count: the number of starts; the first is the parameters' own.
        constraints: what must hold at the end.
    """
    parameters, most, used = problem.parameters, settings.max_evaluations, 0
    outcomes: list[tuple[tuple[bool, bool, float], Outcome]] = []
    for start in draw_starts(parameters, count, settings.seed):
        if most is not None and used >= most:
            break
        problem.parameters = dataclasses.replace(parameters, start=start)
        before = problem.evaluations
        with np.errstate(all="ignore"):
            usable = bool(np.isfinite(problem.gradient(start)).all() and np.isfinite(problem.objective(start)))
        if usable:
            outcome = minimise(dataclasses.replace(settings, max_evaluations=None if most is None else most - used))
            value = problem.objective(outcome.x)
            out = constraints is not None and constraints.violation(outcome.x) > 1e2 * FEASIBLE
            outcomes.append(((out, not outcome.converged, value), outcome))
        used += problem.evaluations - before
    problem.parameters = parameters
    rank, best = min(outcomes, key=lambda pair: pair[0])
    number = [outcome for _, outcome in outcomes].index(best) + 1
    equal = sum(other[0] <= rank[0] and bool(np.isclose(other[2], rank[2], rtol=1e-6, atol=0)) for other, _ in outcomes)
    words = (f"{count} starts, drawn by seed {settings.seed} after the first: {len(outcomes)} were tried, {equal} "
             f"ended at the best objective; the best of them, number {number}, is described here")
    return dataclasses.replace(best, steps=(words, *best.steps))
