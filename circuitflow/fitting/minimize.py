"""Minimises a smooth function: SciPy's local and global methods, and a default that chooses, polishes and says so."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import Bounds, OptimizeResult, differential_evolution, dual_annealing, lsq_linear, minimize

from circuitflow.errors import CircuitflowError, InputError
from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.descent import FEASIBLE, Descent
from circuitflow.fitting.driver import Exhausted
from circuitflow.fitting.newton import newton
from circuitflow.fitting.outcome import Outcome, Settings
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Problem
from circuitflow.text import listing, printable

EVALUATIONS = 10_000
"""The most evaluations, unless another number is given; of a global method a hundred times as many."""

FAR = 1e9
"""How many times its start an element moves where a function has no minimum, unless a method converges there."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=1)]


class _Options(BaseModel):
    """Options by SciPy's names; those left out are SciPy's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NoOptions(_Options):
    """A method without options."""


class LimitedMemoryOptions(_Options):
    """Options of L-BFGS-B."""

    maxcor: Annotated[Whole | None, Field(description="how many steps the Hessian is approximated by")] = None
    maxls: Annotated[Whole | None, Field(description="the most evaluations of a line search")] = None


class NewtonOptions(_Options):
    """Options of Newton-CG."""

    c1: Annotated[Positive | None, Field(description="of the line search: sufficient fall")] = None
    c2: Annotated[Positive | None, Field(description="of the line search: curvature")] = None


class TrustRegionOptions(_Options):
    """Options of trust-krylov and trust-exact."""

    initial_trust_radius: Positive | None = None
    max_trust_radius: Positive | None = None
    eta: Annotated[float | None, Field(ge=0, lt=0.25, description="the fall, as a part of the model's, that a step "
                                    "needs")] = None


class ConstrainedOptions(_Options):
    """Options of trust-constr."""

    initial_tr_radius: Positive | None = None
    initial_constr_penalty: Positive | None = None
    initial_barrier_parameter: Positive | None = None


class GlobalOptions(_Options):
    """What global methods share."""

    polish: Annotated[bool, Field(description="whether the default local method goes on from the end")] = True
    maxiter: Annotated[Whole | None, Field(description="the most generations or iterations")] = None


class EvolutionOptions(GlobalOptions):
    """Options of differential_evolution."""

    strategy: str | None = None
    popsize: Annotated[Whole | None, Field(description="members of the population for each parameter")] = None
    mutation: Positive | list[Positive] | None = None
    recombination: Annotated[float | None, Field(ge=0, le=1)] = None


class AnnealingOptions(GlobalOptions):
    """Options of dual_annealing."""

    initial_temp: Positive | None = None
    restart_temp_ratio: Annotated[float | None, Field(gt=0, lt=1)] = None
    visit: Annotated[float | None, Field(gt=1, le=3)] = None
    accept: float | None = None
    no_local_search: bool | None = None


@dataclass(frozen=True)
class Traits:
    """What a method takes.

    Attributes:
        bounds, constraints: whether it takes them.
        curvature: the argument of SciPy for second derivatives: "hessp", "hess" or none.
    """

    bounds: bool = False
    constraints: bool = False
    curvature: Literal["", "hess", "hessp"] = ""


LOCAL: Mapping[str, Traits] = {
    "L-BFGS-B": Traits(bounds=True),
    "trust-krylov": Traits(curvature="hessp"),
    "trust-exact": Traits(curvature="hess"),
    "Newton-CG": Traits(curvature="hessp"),
    "SLSQP": Traits(bounds=True, constraints=True),
    "trust-constr": Traits(bounds=True, constraints=True, curvature="hessp"),
}
"""SciPy's local methods; each is a row of the table of methods too."""

GLOBAL: Mapping[str, Traits] = {
    "differential_evolution": Traits(bounds=True, constraints=True),
    "dual_annealing": Traits(bounds=True),
}
"""SciPy's global methods; they need bounds on both sides."""

ACTIVE = 1e-6
"""An inequality is active within this distance from 0, and a gradient of this size relative to others counts as 0."""

SQUARE = frozenset({"trust-exact", "SLSQP", "trust-constr"})
"""Methods that keep a matrix of all elements by all."""

DEFAULT = Traits(bounds=True, constraints=True)


def check_traits(name: str, parameters: Parameters, constraints: Constraints | None) -> None:
    """Refuse a method that does not take the bounds or the constraints of a fit.

    Raises:
        InputError: it does not, or is a global method without bounds on both sides; the message names methods that do.
    """
    rows = {"smooth": DEFAULT, **LOCAL, **GLOBAL}
    traits = rows[name]
    if constraints is not None and not traits.constraints:
        able = listing(other for other, row in rows.items() if row.constraints)
        raise InputError(f"the method {name} takes no constraints; take one that does: {able}")
    if parameters.bounded and not traits.bounds:
        able = listing(other for other, row in rows.items() if row.bounds)
        raise InputError(f"the method {name} takes no bounds; take one that does: {able}")
    if name in GLOBAL:
        ends = np.isfinite(parameters.lower) & np.isfinite(parameters.upper)
        if not ends.all():
            raise InputError(f"the method {name} searches between bounds, and parameter "
                             f"'{parameters.names[int(np.argmin(ends))]}' is open; give it a lower and an upper bound")


def working_memory(name: str, options: BaseModel, size: int, *, needs_square: bool) -> tuple[int, str]:
    """How many numbers a fit of so many elements keeps, and the words for what it keeps of them.

    `needs_square` says that the fit keeps a matrix of all elements by all, whatever the method.
    """
    parts = [(size, "the vector")]
    if needs_square or name in SQUARE:
        parts.append((size**2, "the square"))
    if isinstance(options, LimitedMemoryOptions) and options.maxcor is not None:
        parts.append((2 * options.maxcor * (size + 2 * options.maxcor), f"maxcor = {options.maxcor} steps"))
    if isinstance(options, EvolutionOptions):
        members = options.popsize or 15  # as SciPy's default
        parts.append((members * size**2, f"popsize = {members} members for each"))
    return max(parts)


def local(name: str) -> Callable[..., Outcome]:
    """The function of one of SciPy's local methods, as it is: no polish."""
    def function(problem: Problem, options: _Options, settings: Settings,
                 constraints: Constraints | None = None) -> Outcome:
        check_traits(name, problem.parameters, constraints)
        descent = Descent(problem, settings, settings.max_evaluations or EVALUATIONS, constraints)
        try:
            result = _run(descent, name, problem.parameters.start, settings.tolerance, _stated(options))
        except Exhausted:
            return _exhausted(descent, (f"{name}: {descent.evaluations} evaluations",))
        success, status, words = _end(descent, name, result)
        return Outcome(np.asarray(result.x, np.float64), success, status, (words,))
    return function


def automatic(problem: Problem, options: NoOptions, settings: Settings,
              constraints: Constraints | None = None) -> Outcome:
    """The default: L-BFGS-B within bounds, polished by Newton steps on the exact Hessian.

    A stop at a saddle is left along a direction in which the Hessian is negative. With constraints it is SLSQP, and
    trust-constr from its end where it fails.
    """
    descent = Descent(problem, settings, settings.max_evaluations or EVALUATIONS, constraints)
    words: list[str] = []
    try:
        if constraints is not None:
            return _constrained(descent, settings, words)
        return _unconstrained(descent, problem.parameters.start, settings, words)
    except Exhausted:
        return _exhausted(descent, tuple(words))


def globally(name: str) -> Callable[..., Outcome]:
    """The function of one of SciPy's global methods, followed by the default method from its end."""
    def function(problem: Problem, options: GlobalOptions, settings: Settings,
                 constraints: Constraints | None = None) -> Outcome:
        check_traits(name, problem.parameters, constraints)
        descent = Descent(problem, settings, settings.max_evaluations or 100 * EVALUATIONS, constraints)
        stated = {key: value for key, value in _stated(options).items() if key != "polish"}
        words: list[str] = []
        try:
            result = _search(descent, name, settings, stated)
            words.append(f"{name}: {descent.evaluations} evaluations")
            if not options.polish:
                return Outcome(descent.best, bool(result.success), _sentence(result), tuple(words))
            if constraints is not None:
                return _constrained(descent, settings, words)
            return _unconstrained(descent, descent.best, settings, words)
        except Exhausted:
            return _exhausted(descent, tuple(words))
    return function


def _unconstrained(descent: Descent, start: Vector, settings: Settings, words: list[str]) -> Outcome:
    tolerance = settings.tolerance or 1e-10
    x = start
    for _ in range(3):
        before = descent.evaluations
        result = _run(descent, "L-BFGS-B", x, tolerance, {}, _unit(descent))
        words.append(f"L-BFGS-B: {descent.evaluations - before} evaluations")
        end = newton(descent, np.asarray(result.x, np.float64), tolerance)
        words += end.words
        x = end.x
        if end.escape is None:
            lost = "not converged: the gradient is not small, and no step goes lower"
            status = "converged" if end.converged else _no_minimum(descent, x) or lost
            return Outcome(x, end.converged, status, tuple(words))
        words.append("left a saddle along a direction of negative curvature")
        x = end.escape
    lost = "not converged: the Hessian is negative wherever a method ended"
    return Outcome(descent.best, False, _no_minimum(descent, descent.best) or lost, tuple(words))


def _constrained(descent: Descent, settings: Settings, words: list[str]) -> Outcome:
    assert descent.constraints is not None  # noqa: S101
    x, success, status = descent.best, False, ""
    for name in ("SLSQP", "trust-constr"):
        before = descent.evaluations
        result = _run(descent, name, x, settings.tolerance or (1e-14 if name == "SLSQP" else 1e-10), {},
                      _unit(descent))
        words.append(f"{name}: {descent.evaluations - before} evaluations")
        success, status, _ = _end(descent, name, result)
        end = np.asarray(result.x, np.float64)
        if success or _is_stationary(descent, end):
            return Outcome(end, True, "converged", tuple(words))
        x = descent.best
    return Outcome(descent.best, False, status, tuple(words))


def _is_stationary(descent: Descent, x: Vector) -> bool:
    """Whether a point satisfies the constraints and the conditions of Karush, Kuhn and Tucker for a minimum.

    There the gradient is a combination of the slopes of constraints and bounds that are active, with multipliers that
    are not negative for inequalities.
    """
    constraints, parameters = descent.constraints, descent.problem.parameters
    assert constraints is not None  # noqa: S101
    if not constraints.violation(x) <= FEASIBLE:
        return False
    units = np.eye(x.size)
    near = ACTIVE * np.maximum(np.abs(x), 1)
    slopes = [units[x - parameters.lower <= near], -units[parameters.upper - x <= near]]
    signs = [np.zeros(sum(map(len, slopes)))]
    for part in constraints.parts:
        zero = part.kind == "zero"
        active = part.jacobian(x)[np.abs(part.values(x)) <= (np.inf if zero else ACTIVE)]
        slopes.append(active)
        signs.append(np.full(len(active), -np.inf if zero else 0.0))
    slope, matrix = descent.gradient(x), np.concatenate(slopes).T
    if not matrix.size:
        return False
    rest = slope - matrix @ lsq_linear(matrix, slope, (np.concatenate(signs), np.inf), tol=1e-14).x
    return bool(np.linalg.norm(rest) <= ACTIVE * np.linalg.norm(slope))


def _unit(descent: Descent) -> float:
    """The power of 2 that brings the largest slope at the start to about 1: SciPy's tolerances know no units."""
    slope = float(np.max(np.abs(descent.gradient(descent.problem.parameters.start)), initial=0.0))
    return 2.0**-math.frexp(slope)[1] if 0 < slope < math.inf else 1.0


def _run(descent: Descent, name: str, start: Vector, tolerance: float | None,
         stated: Mapping[str, Any], unit: float = 1.0) -> OptimizeResult:
    """One run of a method of `scipy.optimize.minimize`, on the loss times a unit."""
    traits, parameters, keys = LOCAL[name], descent.problem.parameters, dict[str, Any]()
    options: dict[str, Any] = dict(stated)
    if name == "L-BFGS-B":
        slope = float(np.max(np.abs(descent.gradient(start)), initial=0.0))
        options |= {"maxfun": 10**9, "maxiter": 10**9}
        if tolerance is not None:
            options |= {"ftol": tolerance * min(abs(descent.value(start)) * unit, 1.0),
                        "gtol": min(tolerance * slope * unit, 1e-5)}
    else:
        options["maxiter"] = 10_000
    if traits.curvature:
        bent: Callable[..., Any] = descent.hvp if traits.curvature == "hessp" else descent.hessian
        keys[traits.curvature] = lambda *point: bent(*point) * unit
    if traits.bounds and parameters.bounded:
        keys["bounds"] = Bounds(parameters.lower, parameters.upper)
    if descent.constraints is not None:
        keys["constraints"] = (descent.constraints.for_slsqp() if name == "SLSQP" else
                               descent.constraints.for_trust_region())
    with _quiet(descent, name):
        result = minimize(lambda x: descent.value(x) * unit, np.clip(start, parameters.lower, parameters.upper),
                          method=name, jac=lambda x: descent.gradient(x) * unit,
                          tol=None if name == "L-BFGS-B" else tolerance, options=options, **keys)
    if not (np.isfinite(result.x).all() and math.isfinite(descent.problem.objective(result.x))):
        result.update(x=descent.best, success=False, message="a step led to where the loss is not finite")
    return result


def _search(descent: Descent, name: str, settings: Settings, stated: dict[str, Any]) -> OptimizeResult:
    parameters = descent.problem.parameters
    ends = Bounds(parameters.lower, parameters.upper)
    random = np.random.default_rng(settings.seed)
    if name == "dual_annealing":
        with _quiet(descent, name):
            return dual_annealing(descent.value_alone, list(zip(parameters.lower, parameters.upper, strict=True)),
                                  seed=random, x0=parameters.start, maxfun=10**9, **stated)
    if isinstance(stated.get("mutation"), list):
        stated["mutation"] = tuple(stated["mutation"])
    if descent.constraints is not None:
        stated["constraints"] = descent.constraints.for_trust_region()
    if settings.tolerance is not None:
        stated["tol"] = settings.tolerance
    with _quiet(descent, name):
        return differential_evolution(descent.value_alone, ends, seed=random, x0=parameters.start, polish=False,
                                      **stated)


@contextmanager
def _quiet(descent: Descent, name: str) -> Iterator[None]:
    """Leaves out SciPy's warnings, and turns its refusal of an option into an error of ours.

    What was raised in an evaluation is raised as it was: SciPy makes another error of some.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:
            if descent.raised is not None:
                raise descent.raised from None
            if isinstance(error, CircuitflowError) or not isinstance(error, ValueError):
                raise
            raise InputError(f"method {name}: {printable(str(error))}") from error


def _end(descent: Descent, name: str, result: OptimizeResult) -> tuple[bool, str, str]:
    """Whether a run ended at a minimum, why it ended, and what was done."""
    x = np.asarray(result.x, np.float64)
    success, status = bool(result.success) and math.isfinite(float(result.fun)), ""
    if not success and (no_minimum := _no_minimum(descent, x)):
        status = no_minimum
    elif descent.constraints is not None and (violation := descent.constraints.violation(x)) > FEASIBLE * 1e2:
        success, status = False, f"not converged: a constraint is violated by {violation:.3g} at the best point"
    else:
        status = "converged" if success else f"not converged: {_sentence(result)}"
    return success, status, f"{name}: {descent.evaluations} evaluations, {_sentence(result)}"


def _no_minimum(descent: Descent, x: Vector) -> str:
    """The words for a function that falls for ever; "" where it does not."""
    start = descent.problem.parameters.start
    far = np.abs(x) > FAR * np.maximum(np.abs(start), 1)
    if not far.any():
        return ""
    i = int(np.argmax(np.abs(x)))
    return (f"not converged: the loss falls as far as parameter '{descent.problem.parameters.names[i]}' goes, to "
            f"{x[i]:.3g}, so it has no minimum; bound the parameter, or check the sign of the loss")


def _exhausted(descent: Descent, words: tuple[str, ...]) -> Outcome:
    if no_minimum := _no_minimum(descent, descent.best):
        return Outcome(descent.best, False, no_minimum, words)
    fall = descent.fall()
    still = f", and the loss still falls: {fall:.1%} of its fall came in the last tenth of them" if fall > 1e-3 else ""
    return Outcome(descent.best, False, f"not converged: the {descent.evaluations} evaluations that were allowed are "
                   f"used up{still}; allow more by max_evaluations", (*words, "ended by the limit of evaluations"))


def _stated(options: _Options) -> dict[str, Any]:
    return options.model_dump(exclude_none=True)


def _sentence(result: OptimizeResult) -> str:
    """SciPy's reason, as words within a sentence."""
    message = result.message if isinstance(result.message, str) else " ".join(map(str, result.message))
    return " ".join(message.split()).rstrip(".").lower()
