"""Where a gradient grows or shrinks: the factors along the strongest path, and where a number stops being finite."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from circuitflow.interpreter.rerun import Sweep, size_of

OUTPUT = -1
"""In place of a gate: an output whose upstream gradient is smaller than that of another."""


class Factor(NamedTuple):
    """What one gate, or one fork, does to the largest magnitude of the gradient that passes.

    Attributes:
        step: the position of the gate in the schedule; None for a fork, `OUTPUT` for an output.
        operand: the position of its operand that is on the path; of a fork or an output, its slot.
        upstream: the largest magnitude that arrives: at the gate's output, from one branch at the fork, or at any
            output.
        sent: the largest magnitude that goes on.
    """

    step: int | None
    operand: int
    upstream: float
    sent: float

    @property
    def logarithm(self) -> float:
        """Of sent over upstream."""
        return _logarithm(self.sent) - _logarithm(self.upstream)


def _logarithm(magnitude: float) -> float:
    """Of a number that may be 0, infinite or NaN, as where a gate ignores or masks what arrives."""
    return math.log(max(math.ulp(0.0), min(sys.float_info.max, magnitude)))


def strongest_path(sweep: Sweep, arriving: float) -> list[Factor]:
    """The factors from the node up to an output, each time along the edge that sends the largest number.

    Their product is the magnitude of the gradient over that of all upstream gradients, `arriving`.
    """
    slot, path = sweep.target, list[Factor]()
    while True:
        total = size_of(sweep.gradients[slot])
        (k, i), largest = max(((edge, size_of(x)) for edge, x in sweep.arriving(slot)), key=lambda pair: pair[1],
                              default=((-1, -1), 0.0))
        seed = size_of(sweep.seeds.get(slot, 0.0))
        if total not in (0.0, strongest := max(largest, seed)):
            path.append(Factor(None, slot, strongest, total))
        if seed >= largest:
            return path if seed == arriving else [*path, Factor(OUTPUT, slot, arriving, seed)]
        step = sweep.plan.steps[k]
        slot = max((s for s in step.slots if sweep.gradients[s] is not None),
                   key=lambda s: size_of(sweep.gradients[s]))
        path.append(Factor(k, i, size_of(sweep.gradients[slot]), largest))


def fewest(path: list[Factor], allowed: float) -> list[Factor]:
    """The fewest factors without which the product of the others is no smaller, or larger, than is allowed."""
    sign = 1 if allowed < 1 else -1
    ordered = sorted(path, key=lambda factor: sign * factor.logarithm)
    rest, count = sum(factor.logarithm for factor in path), 0
    while count < len(ordered) and sign * rest < sign * math.log(allowed):
        rest -= ordered[count].logarithm
        count += 1
    return ordered[:count]


class Origins(NamedTuple):
    """Where numbers that are not finite come from.

    Attributes:
        forward: gates whose values are not finite though those of their operands are.
        backward: gates that send what is not finite though what arrives is finite, with the operand.
        sources: slots of sources that are not finite.
        forks: slots where finite contributions add up to what is not finite.
        upstream: slots of outputs whose upstream gradient is not finite.
    """

    forward: list[int]
    backward: list[tuple[int, int]]
    sources: list[int]
    forks: list[int]
    upstream: list[int]


def origins(sweep: Sweep) -> Origins:
    """All places that make the gradient on the node infinite or NaN."""
    found = Origins([], [], [], [], [])
    steps = {slot: k for k, step in enumerate(sweep.plan.steps) for slot in step.slots}
    waiting, seen, values = [sweep.target], {sweep.target}, list[int]()
    while waiting:
        slot = waiting.pop()
        bad = [edge for edge, x in sweep.arriving(slot) if not _finite(x)]
        if slot in sweep.seeds and not _finite(sweep.seeds[slot]):
            found.upstream.append(slot)
        elif not bad:
            found.forks.append(slot)
        for k, i in bad:
            step = sweep.plan.steps[k]
            above = [s for s in step.slots if sweep.gradients[s] is not None and not _finite(sweep.gradients[s])]
            read = [s for s in (*step.operands, *step.slots) if not _finite(sweep.values[s])]
            if read and above:  # such as a mask of -∞, which does no harm
                _, sent = sweep.alone(step, [sweep.values[s] for s in step.operands], sweep.probe(step))
                read = [] if _finite(sent.get(i, 0.0)) else read
            if read:
                values += read
            elif not above:
                found.backward.append((k, i))
            waiting += [s for s in above if s not in seen]
            seen.update(above)
    seen = set()
    while values:
        slot = values.pop()
        if slot in seen:
            continue
        seen.add(slot)
        if slot not in steps:
            found.sources.append(slot)
            continue
        read = [s for s in sweep.plan.steps[steps[slot]].operands if not _finite(sweep.values[s])]
        values += read
        if not read and steps[slot] not in found.forward:
            found.forward.append(steps[slot])
    return found


def _finite(x: object) -> bool:
    return bool(np.all(np.isfinite(np.asarray(x))))
