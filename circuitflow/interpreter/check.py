"""Compares gradients with central differences.

Everything runs in float64, whatever the circuit's dtype, so that the rules are compared and not the rounding. An
operand that no gradient flows to (of `stop_gradient`, the condition of `where`) stays fixed during the differences.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from circuitflow.arguments import checked
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.binding import Bound, bind_call
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.libraries import Library
from circuitflow.interpreter.passes import Track, fit, forward_pass, reverse_sweep, tracked, untracked
from circuitflow.interpreter.plan import Plan, Step
from circuitflow.interpreter.vocabulary import Vocabulary
from circuitflow.text import few, number

TOLERANCE = 1e-5
"""Largest relative difference that passes, on top of the rounding of the differences themselves."""

EACH_ELEMENT = 16
"""The largest tensor that is compared element by element; larger ones are compared along random directions."""

DIRECTIONS = 4
GROUPS = 100
"""The most groups of inputs and parameters; a group of several is compared along random directions."""

EPSILON = float(np.finfo(np.float64).eps)

STEPS = (4.0, *(4.0**-i for i in range(1, 15)))
"""The other steps, as multiples of the first: each is a quarter of the one before."""

RESOLUTION = 1e-2
"""Steps shrink until rounding may reach this fraction of the difference."""

Verdict = Literal["ok", "wrong", "kink", "undefined"]
Floats = NDArray[np.float64]
T = TypeVar("T")


class Comparison(NamedTuple):
    """One derivative, by the rules and by differences.

    Attributes:
        verdict: "kink" if the one-sided differences disagree at every step and the gradient lies between them;
            "undefined" if a value is not finite, so that there is no difference.
        gradient: the derivative by the rules.
        difference: the derivative by central differences.
        error: relative difference of the two; for a pass, relative to what rounding can show too.
    """

    verdict: Verdict
    gradient: float
    difference: float
    error: float


class NodeCheck(NamedTuple):
    """The comparison for some nodes.

    Attributes:
        nodes: their ids.
        where: the element with the worst comparison, as an index, or "4 directions".
        worst: the worst comparison.
    """

    nodes: tuple[str, ...]
    where: str
    worst: Comparison


class WrongRule(NamedTuple):
    """A node whose backward rule disagrees with differences of its forward rule."""

    node: str
    gate: str
    port: str | int
    worst: Comparison


@dataclass(frozen=True)
class Report:
    """The report of a check.

    Attributes:
        compared: a row for every input and parameter, or for every group of them.
        blamed: if a gradient is wrong, the nodes whose rules are wrong.
        unused: nodes that reach no output.
    """

    compared: Sequence[NodeCheck]
    blamed: Sequence[WrongRule]
    unused: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether no gradient is wrong."""
        return not any(row.worst.verdict == "wrong" for row in self.compared)

    def __str__(self) -> str:
        compared = [f"{', '.join(few(row.nodes, 3))} at {row.where}: {number(row.worst.gradient)}, by differences "
                    f"{number(row.worst.difference)}: {row.worst.verdict}" for row in self.compared]
        blamed = [f"node '{one.node}': the backward rule of {one.gate} is wrong for operand {one.port!r}"
                  for one in self.blamed]
        unused = [f"node '{name}' reaches no output" for name in few(self.unused)]
        return "\n".join([*compared, *blamed, *unused, "ok" if self.ok else "wrong"])


@checked
def check(circuit: Circuit, inputs: Mapping[str, Any] | None = None, *, of: str | Sequence[str] | None = None,
          wrt: str | Sequence[str] | None = None, upstream: Mapping[str, Any] | None = None,
          track: Track = untracked) -> Report:
    """Compare every gradient with central differences, in NumPy; terms and errors are those of `Interpreter.run`."""
    plan = Interpreter(circuit).plan(of, wrt)
    library, bound, seeds = bind_call(circuit, plan, inputs, upstream, explicit=of is not None)
    seeds = {slot: _wide(library, seed) for slot, seed in seeds.items()}
    with np.errstate(all="ignore"):
        wide = Bound(np, {name: _wide(library, array) for name, array in bound.arrays.items()}, bound.sizes)
        values = forward_pass(plan, wide)
        op = Vocabulary(np, circuit.gates)
        gradients, _ = reverse_sweep(plan, op, values, seeds)
        problem = _Problem(plan, values, seeds)
        targets = list(plan.wrt.items())
        rows = [_compare(problem, group, gradients) for group in tracked(track, _groups(targets), "differences")]
        wrong = any(row.worst.verdict == "wrong" for row in rows)
        culprits = list(_blame(plan, op, values)) if wrong else []
    return Report(rows, culprits, circuit.unused())


def _groups(items: Sequence[T]) -> list[Sequence[T]]:
    """Items one by one, or several together to have at most `GROUPS` groups."""
    size = max(1, math.ceil(len(items) / GROUPS))
    return [items[i : i + size] for i in range(0, len(items), size)]


def _wide(library: Library, array: Any) -> Any:
    array = library.to_numpy(array)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


@dataclass(frozen=True)
class _Problem:
    """The sum of the outputs, weighted by their upstream gradients, as a function of additions to some slots."""

    plan: Plan
    values: Sequence[Any]
    seeds: Mapping[int, Floats]

    @functools.cached_property
    def here(self) -> float:
        """Its value at 0."""
        return self.total(self.values)

    def total(self, values: Sequence[Any]) -> float:
        """The sum of the outputs among these values."""
        return float(sum(np.sum(seed * values[slot]) for slot, seed in self.seeds.items()))

    def after(self, slots: Iterable[int]) -> list[Step]:
        """The steps whose results change when these slots move."""
        moving, steps = set(slots), []
        for step in self.plan.steps:
            if step.receivers and any(slot in moving and step.gate.reaches(i) for i, slot in enumerate(step.operands)):
                moving.update(step.slots)
                steps.append(step)
        return steps

    def __call__(self, t: float, directions: Mapping[int, Floats], steps: Iterable[Step]) -> float:
        values = list(self.values)
        for slot, direction in directions.items():
            values[slot] = values[slot] + t * direction
        for step in steps:
            operands = [values[slot] if step.gate.reaches(i) else self.values[slot]
                        for i, slot in enumerate(step.operands)]
            out = step.gate.forward(np, *operands, **step.attributes)
            for slot, value in enumerate(out if step.outputs else (out,), step.output):
                values[slot] = value + t * directions[slot] if slot in directions else value
        return self.total(values)


def _compare(problem: _Problem, group: Sequence[tuple[str, int]], gradients: Sequence[Any]) -> NodeCheck:
    starts = {slot: problem.values[slot] for _, slot in group}
    names = tuple(name for name, _ in group)
    comparisons = []
    steps = problem.after(starts)
    for where, directions in _directions(starts):
        slope = float(sum(np.sum(gradients[slot] * direction) for slot, direction in directions.items()))
        scale = max(float(np.max(np.abs(d), initial=0.0)) for d in directions.values()) if len(where) else 1.0
        difference = compare(functools.partial(problem, directions=directions, steps=steps), slope, problem.here)
        if where:  # one element: its derivative, not that along the scaled step
            difference = difference._replace(gradient=difference.gradient / scale,
                                             difference=difference.difference / scale)
        comparisons.append((where, difference))
    if not comparisons:
        return NodeCheck(names, "no elements", Comparison("ok", 0.0, 0.0, 0.0))
    order = ["ok", "undefined", "kink", "wrong"]
    where, worst = max(comparisons, key=lambda f: (order.index(f[1].verdict), f[1].error))
    return NodeCheck(names, where or f"{len(comparisons)} directions", worst)


def _directions(starts: Mapping[int, Floats]) -> Iterator[tuple[str, dict[int, Floats]]]:
    """The directions of the steps: each element by itself, or random signs; steps grow with the element."""
    steps = {slot: np.maximum(1.0, np.abs(start)) for slot, start in starts.items()}
    total = sum(start.size for start in starts.values())
    if len(starts) == 1 and total <= EACH_ELEMENT:
        ((slot, step),) = steps.items()
        for index in np.ndindex(step.shape):
            direction = np.zeros(step.shape)
            direction[index] = step[index]
            yield f"[{', '.join(map(str, index))}]", {slot: direction}
    else:
        random = np.random.default_rng(0)
        for _ in range(DIRECTIONS):
            yield "", {slot: step * random.choice([-1.0, 1.0], step.shape) for slot, step in steps.items()}


class _Sample(NamedTuple):
    """One-sided differences at one step, and a bound on their rounding."""

    above: float
    below: float
    noise: float

    @property
    def largest(self) -> float:
        return max(abs(self.above), abs(self.below))

    @property
    def central(self) -> float:
        return (self.above + self.below) / 2


class _Estimate(NamedTuple):
    """A derivative by differences, and a bound on its error from rounding and from the step."""

    value: float
    slack: float


def compare(function: Callable[[float], float], slope: float, here: float | None = None) -> Comparison:
    """Compares a derivative at 0, the slope, with central differences; `here` is the value at 0, where that is known.

    A step of ε^(1/3) balances truncation with rounding for a well-scaled function. Where it does not confirm the slope,
    one longer step follows, then shorter ones as long as rounding leaves two digits; neighbours are extrapolated to a
    step of 0 by Richardson's rule. An estimate confirms the slope if it is as sharp as the tolerance, or the sharpest.
    """
    here = function(0.0) if here is None else here
    samples: dict[float, _Sample] = {}
    central, moves = math.nan, False
    for scale in (1.0, *STEPS):
        step = scale * EPSILON ** (1 / 3)
        above, below = function(step), function(-step)
        central = (above - below) / (2 * step)
        size = max(abs(slope), abs(central))
        noise = 100 * EPSILON * max(abs(above), abs(below), abs(here)) / step + EPSILON / 2 / step * size
        if scale == 1.0 and (central == slope or abs(slope - central) <= TOLERANCE * size + noise < math.inf):
            return _confirmation(slope, _Estimate(central, noise))
        if scale < 1 and not noise <= RESOLUTION * size:
            break
        moves |= not above == below == here
        if math.isfinite(central):
            samples[scale] = _Sample((above - here) / step, (here - below) / step, noise)
    if not samples or math.isinf(slope):
        return Comparison("undefined", slope, central, math.inf)
    if math.isnan(slope):
        return Comparison("wrong", slope, samples[max(samples)].central, math.inf)
    if not moves and abs(slope) <= EPSILON * max(1.0, abs(here)) / EPSILON ** (1 / 3):
        return Comparison("ok", slope, 0.0, 0.0)  # values of order 1 inside may hide a slope as small as this
    estimates = list(_estimates([samples[scale] for scale in sorted(samples, reverse=True)]))
    # A function may turn many times within a long step; estimates that contradict the shortest step are dropped.
    last = estimates[-1]
    estimates = [estimate for estimate in estimates if abs(estimate.value - last.value) <= estimate.slack + last.slack]
    sharpest = min(estimates, key=lambda estimate: estimate.slack)
    for estimate in estimates:
        size = max(abs(slope), abs(estimate.value))
        if estimate.slack <= max(TOLERANCE * size, sharpest.slack) and (
                abs(slope - estimate.value) <= TOLERANCE * size + estimate.slack):
            return _confirmation(slope, estimate)
    size = max(abs(slope), abs(sharpest.value))
    fine = sorted(samples)
    kink = _is_kink(samples[fine[min(2, len(fine) - 1)]], samples[fine[0]], slope)
    return Comparison("kink" if kink else "wrong", slope, sharpest.value, abs(slope - sharpest.value) / size)


def _confirmation(slope: float, estimate: _Estimate) -> Comparison:
    if estimate.value == slope:
        return Comparison("ok", slope, slope, 0.0)
    size = max(abs(slope), abs(estimate.value))
    return Comparison("ok", slope, estimate.value, abs(slope - estimate.value) / (size + estimate.slack / TOLERANCE))


def _estimates(samples: Sequence[_Sample]) -> Iterator[_Estimate]:
    """Estimates from shorter and shorter steps, one by one and extrapolated.

    The error of a central difference falls as the square of the step, so a neighbour with a step of a quarter is off by
    1/15 of what lies between the two.
    """
    yield _Estimate(samples[0].central, samples[0].noise if len(samples) == 1 else math.inf)
    for coarse, fine in pairwise(samples):
        between = fine.central - coarse.central
        yield _Estimate(fine.central, fine.noise + abs(between))
        yield _Estimate(fine.central + between / 15, 1.2 * fine.noise + abs(between) / 15)


def _is_kink(coarse: _Sample, fine: _Sample, slope: float) -> bool:
    """Whether one-sided differences stay apart as the step shrinks, with the slope between, or grow at a jump."""
    jumps = fine.largest > max(5 * coarse.largest, fine.noise)
    gap = abs(fine.above - fine.below)
    apart = gap > max(0.5 * abs(coarse.above - coarse.below), 1e-3 * fine.largest, fine.noise)
    slack = TOLERANCE * fine.largest + fine.noise
    between = min(fine.above, fine.below) - slack <= slope <= max(fine.above, fine.below) + slack
    return jumps or (apart and between)


def _blame(plan: Plan, op: Vocabulary, values: Sequence[Any]) -> Iterator[WrongRule]:
    """The nodes whose backward rule disagrees with differences of their own forward rule."""
    random = np.random.default_rng(0)
    for step in plan.steps:
        if not step.receivers:
            continue
        slots = range(step.output, step.output + len(step.node.types))
        upstream = [random.standard_normal(np.shape(values[slot])) for slot in slots]
        hidden = values[slots.stop : step.output + step.outputs]
        upstream += map(np.zeros_like, hidden)
        out = [*(values[slot] for slot in slots), *hidden]
        operands = [values[slot] for slot in step.operands]
        ends: tuple[Any, Any] = (tuple(upstream), tuple(out)) if step.outputs else (upstream[0], out[0])
        contributions = step.gate.contributions(op, *ends, operands, step.receivers, step.attributes)
        slopes: dict[int, float] = {}
        directions: dict[int, Floats] = {}
        for i, contribution in enumerate(contributions):
            if step.receivers[i]:
                directions[i] = random.standard_normal(np.shape(operands[i]))
                gradient = 0.0 if contribution is None else fit(step, i, op, contribution, operands[i])
                slopes[i] = float(np.sum(gradient * directions[i]))

        def worst(some: Sequence[int], step: Step = step, operands: list[Any] = operands,
                  upstream: list[Floats] = upstream, slopes: dict[int, float] = slopes,
                  directions: dict[int, Floats] = directions) -> Comparison:
            def along(t: float) -> float:
                there = list(operands)
                for i in some:
                    there[i] = there[i] + t * directions[i]
                result = step.gate.forward(np, *there, **step.attributes)
                return float(sum(np.sum(u * y) for u, y in
                                 zip(upstream, result if step.outputs else (result,), strict=True)))

            return compare(along, sum(slopes[i] for i in some))

        # Operands one by one; if there are very many, only those in groups that are wrong.
        for group in _groups(list(slopes)):
            for i in group if len(group) == 1 or worst(group).verdict == "wrong" else ():
                if (difference := worst([i])).verdict == "wrong":
                    yield WrongRule(step.node.id, step.node.kind, step.node.operands[i].port, difference)
