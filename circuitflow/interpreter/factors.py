"""Where a gradient grows or shrinks: the factors along the strongest path, and where a number stops being finite."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from circuitflow.interpreter.rerun import Sweep, size_of


class Factor(NamedTuple):
    """What one gate, or one fork, does to the largest magnitude of the gradient that passes.

    Attributes:
        step: the position of the gate in the schedule; None for a fork.
        operand: the position of its operand that is on the path; of a fork, its slot.
        upstream: the largest magnitude that arrives: at the gate's output, or from one branch at the fork.
        sent: the largest magnitude that goes on.
    """

    step: int | None
    operand: int
    upstream: float
    sent: float

    @property
    def logarithm(self) -> float:
        """Of sent over upstream."""
        return math.log(self.sent) - math.log(self.upstream)


def strongest_path(sweep: Sweep) -> list[Factor]:
    """The factors from the node up to an output, each time along the edge that sends the largest number.

    Their product is the magnitude of the gradient over that of the upstream gradient where the path ends.
    """
    slot, path = sweep.target, list[Factor]()
    while True:
        total = size_of(sweep.gradients[slot])
        (k, i), largest = max(((edge, size_of(x)) for edge, x in sweep.arriving(slot)), key=lambda pair: pair[1],
                              default=((-1, -1), 0.0))
        if largest == 0 or size_of(sweep.seeds.get(slot, 0.0)) > largest:
            return path
        if total != largest and total > 0:
            path.append(Factor(None, slot, largest, total))
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
