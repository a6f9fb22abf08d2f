"""Minimises sums of squares: SciPy's methods, a ladder of restarts, and a polish to the last digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from circuitflow.errors import InputError
from circuitflow.fitting.driver import Driver, Exhausted
from circuitflow.fitting.outcome import Outcome, Settings
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.polish import linear_model, polish
from circuitflow.fitting.squares import SumOfSquares

EVALUATIONS = 2_000
"""The most passes over the data, unless another number is given."""

STARTS = 8
"""How many random starts follow where all methods failed from the start that was given."""


UNDETERMINED = "converged, with parameters that the data do not determine"


class LeastSquaresOptions(BaseModel):
    """Options of the methods of `scipy.optimize.least_squares`, by its names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    loss: Annotated[Literal["linear", "soft_l1", "huber", "cauchy", "arctan"], Field(
        description="the robust loss of every residual")] = "linear"
    f_scale: Annotated[float, Field(gt=0, allow_inf_nan=False, description="the residual at which the robust loss "
                                    "begins to count less than the square")] = 1.0
    x_scale: Annotated[Literal["jac"] | Annotated[float, Field(gt=0)] | list[Annotated[float, Field(gt=0)]], Field(
        description="the scale of every parameter; by the columns of the Jacobian for \"jac\"")] = "jac"


class _Attempt(NamedTuple):
    """One run of one method.

    Attributes:
        x, objective: where it ended.
        sound: whether that is a minimum that determines all parameters.
        singular: whether it ended well, with parameters that are not determined.
        words: what was done.
    """

    x: Vector
    objective: float
    sound: bool
    singular: bool
    words: tuple[str, ...]


def by_scipy(name: Literal["trf", "dogbox", "lm"]) -> Any:
    """The function of one of SciPy's methods, as it is: no restart, no polish."""
    def function(problem: SumOfSquares, options: LeastSquaresOptions, settings: Settings) -> Outcome:
        if name == "lm" and problem.parameters.bounded:
            raise InputError("the method lm takes no bounds; take trf or dogbox, or leave the method out")
        if name == "lm" and problem.robust != "linear":
            raise InputError(f"the method lm takes no robust loss, and loss is '{problem.robust}'; take trf or dogbox, "
                             "or leave the method out")
        most = settings.max_evaluations or EVALUATIONS
        driver = Driver(problem, settings, most)
        start = _inside(problem.parameters, problem.parameters.start)
        try:
            result = driver.solve(start, name, _x_scale(options, problem), settings.tolerance or 1e-8)
        except Exhausted:
            return _exhausted(driver, problem, most, (f"{name}: {driver.evaluations} evaluations",))
        return Outcome(result.x, result.status > 0, _reason(result.status),
                       (f"{name}: {driver.evaluations} evaluations, {_reason(result.status)}",))
    return function


def automatic(problem: SumOfSquares, options: LeastSquaresOptions, settings: Settings) -> Outcome:
    """The default: Levenberg–Marquardt, within bounds the trust-region reflective method, restarted where it fails.

    An attempt counts as failed if it does not converge, ends where parameters are not determined (on a plateau), or
    at a saddle. Then come the other methods, random starts, and the best point again; the first sound end is taken,
    else the best. If two attempts end equally low, with parameters that are not determined there nor at any of the
    random starts, the data do not determine them.
    The end is polished: Gauss–Newton steps, and Newton steps on the exact Hessian where these converge slowly.
    """
    most = settings.max_evaluations or EVALUATIONS
    driver = Driver(problem, settings, most)
    attempts: list[_Attempt] = []
    words: list[str] = []
    try:
        for method, x_scale, start, name in _ladder(driver, options, settings.seed):
            attempt = _attempt(driver, method, x_scale, start, settings.tolerance or 1e-10, name)
            words += attempt.words
            if attempt.sound:
                return Outcome(attempt.x, True, "converged", tuple(words))
            agree = attempt.singular and any(_equal(attempt, other) for other in attempts)
            if agree and _is_flat(driver, settings.seed):
                best = min([attempt, *attempts], key=lambda one: one.objective)
                return Outcome(best.x, True, UNDETERMINED, tuple(words))
            attempts.append(attempt)
    except Exhausted:
        return _exhausted(driver, problem, most, tuple(words))
    best = min(attempts, key=lambda one: one.objective)
    return Outcome(best.x, False, "not converged: no method found a minimum; this is the best point of all attempts",
                   tuple(words))


def _ladder(driver: Driver, options: LeastSquaresOptions, seed: int) -> Iterator[tuple[str, Any, Vector, str]]:
    """Methods with scales and starts, in the order in which they are tried."""
    problem = driver.problem
    start = _inside(problem.parameters, problem.parameters.start)
    first = _x_scale(options, problem)
    free = not problem.parameters.bounded and problem.robust == "linear"
    if free:
        yield "lm", first, start, "lm"
    yield "trf", first, start, "trf"
    yield "trf", np.maximum(np.abs(start), 1e-8), start, "trf with steps in proportion to the start"
    yield "dogbox", first, start, "dogbox"
    for number, moved in enumerate(_drawn(problem.parameters, seed), 1):
        yield "lm" if free else "trf", first, moved, f"start {number} drawn by seed {seed}"
    if driver.best is not None:
        yield "lm" if free else "trf", first, driver.best, "the best point again"


def _drawn(parameters: Parameters, seed: int) -> list[Vector]:
    """Starts drawn around the one that was given, each further from it; zeros move by sums, others by factors."""
    random, start = np.random.default_rng(seed), parameters.start
    moves = [random.normal(0.0, 0.5 * number, start.size) for number in range(1, STARTS + 1)]
    return [_inside(parameters, np.where(start == 0, move, start * np.exp(move))) for move in moves]


def _equal(one: _Attempt, other: _Attempt) -> bool:
    """Whether two attempts ended equally low, with parameters that are not determined."""
    return other.singular and bool(np.isclose(one.objective, other.objective, rtol=1e-6, atol=0))


def _is_flat(driver: Driver, seed: int) -> bool:
    """Whether parameters are determined at none of the random starts."""
    parameters = driver.problem.parameters
    everything = np.ones(parameters.size, bool)
    return not any(linear_model(driver.reduced(start), everything).full for start in _drawn(parameters, seed))


def _attempt(driver: Driver, method: str, x_scale: Any, start: Vector, tolerance: float, name: str) -> _Attempt:
    before = driver.evaluations
    if not np.isfinite(driver.reduced(start).objective):
        return _Attempt(start, np.inf, False, False, (f"{name}: the residuals are not finite at the start",))
    result = driver.solve(start, method, x_scale, tolerance)
    words = f"{name}: {driver.evaluations - before} evaluations, {_reason(result.status)}"
    objective = driver.reduced(result.x).objective
    if not np.isfinite(objective):
        return _Attempt(result.x, np.inf, False, False, (words,))
    polished = polish(driver, result.x)
    determined = linear_model(driver.reduced(polished.x), polished.free).full
    well = polished.converged and polished.convex
    return _Attempt(polished.x, driver.reduced(polished.x).objective, well and determined, well and not determined,
                    (words, *polished.words))


def _exhausted(driver: Driver, problem: SumOfSquares, most: int, words: tuple[str, ...]) -> Outcome:
    x = problem.parameters.start if driver.best is None else driver.best
    return Outcome(x, False, f"not converged: the {most} evaluations that were allowed are used up",
                   (*words, "ended by the limit of evaluations"))


def _reason(status: int) -> str:
    return {-1: "improper arguments", 0: "the limit of evaluations is reached", 1: "the gradient is small",
            2: "the objective changes no more", 3: "the parameters change no more",
            4: "objective and parameters change no more"}[status]


def _x_scale(options: LeastSquaresOptions, problem: SumOfSquares) -> Any:
    scale = options.x_scale
    if isinstance(scale, list) and len(scale) != problem.parameters.size:
        raise InputError(f"x_scale has {len(scale)} numbers; expected {problem.parameters.size}, one for each element "
                         "of the free parameters, or one for all")
    return scale


def _inside(parameters: Parameters, x: Vector) -> Vector:
    """A point clipped to the bounds."""
    return np.clip(x, parameters.lower, parameters.upper)
