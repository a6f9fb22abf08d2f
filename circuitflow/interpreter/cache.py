"""Cache policies: all, needed, recompute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from circuitflow.gates import Reads
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.masked import plain
from circuitflow.interpreter.passes import Track, apply, fill_in, send_back, tracked, untracked
from circuitflow.interpreter.plan import Plan

CACHES = ("all", "needed", "recompute")
"""Keep all values; those that a backward rule reads; or few of them, and compute the others again."""


class FrugalPasses:
    """Both passes over a schedule; a value is released after its last reader.

    The schedule is cut into segments. The forward pass keeps what later segments read, and the reverse sweep computes
    the values of a segment again before it goes through it. With √n segments of n gates about 2√n values exist at a
    time, for one more forward pass. This is one level of the scheme of Griewank 1992, "Achieving logarithmic growth of
    temporal and spatial complexity in reverse automatic differentiation"; Chen et al. 2016, arXiv:1604.06174, use it
    for networks. With one segment nothing is computed again.
    """

    def __init__(self, plan: Plan, cache: str) -> None:
        """Plan how long each value is kept; `cache` is "needed" or "recompute"."""
        self.plan = plan
        count = len(plan.steps)
        self.size = max(1, math.isqrt(max(count - 1, 0)) + 1 if cache == "recompute" else count)
        segment: dict[int, int] = {}
        last: dict[int, int] = {}
        requested = {*plan.of.values(), *plan.wrt.values()}
        self.lasting = set(requested)
        self.sweep_reads: set[int] = set()
        for i, step in enumerate(plan.steps):
            outputs = step.slots
            segment.update(dict.fromkeys(outputs, i // self.size))
            last.update(dict.fromkeys((*step.operands, *outputs), i))
            self.lasting.update(slot for slot in step.operands if segment.get(slot, i // self.size) < i // self.size)
            if step.receivers:
                self.sweep_reads.update(step.operands if Reads.INPUTS in step.gate.reads else ())
                self.sweep_reads.update(outputs if Reads.OUTPUT in step.gate.reads else ())
        self.ending: list[list[int]] = [[] for _ in plan.steps]
        for slot, i in last.items():
            if slot in segment and slot not in self.lasting:
                self.ending[i].append(slot)
        self.again = self._again()
        self.releases = [[slot for slot in step.slots if slot not in requested] for step in plan.steps]

    def _again(self) -> list[bool]:
        """Whether a gate is computed again: the sweep reads its output, or another that is computed again does."""
        again = [False] * len(self.plan.steps)
        reads = self.sweep_reads - self.lasting
        for i in range(len(again) - 1, -1, -1):
            step = self.plan.steps[i]
            again[i] = any(slot in reads for slot in step.slots)
            if again[i]:
                reads.update(slot for slot in step.operands if slot not in self.lasting)
        return again

    def run(self, bound: Bound, op: Any, seeds: Mapping[int, Any],
            track: Track = untracked) -> tuple[list[Any], list[Any]]:
        """The value of every output and the gradient on every target, by slot; other slots have no meaning.

        Arguments and errors are those of `forward_pass` and `reverse_sweep`.
        """
        plan, xp = self.plan, bound.xp
        values: list[Any] = [None] * len(plan.names)
        gradients: list[Any] = [None] * len(plan.names)
        for name, slot in plan.sources.items():
            values[slot] = bound.arrays[name]
        count = len(plan.steps)
        final = (count - 1) // self.size * self.size
        for i in tracked(track, range(count), "forward pass"):
            self._forward(i, xp, values, for_sweep=i >= final)
        for slot, seed in seeds.items():
            gradients[slot] = seed
        for i in tracked(track, range(count - 1, -1, -1), "reverse sweep"):
            if i < final and i % self.size == self.size - 1:
                for j in range(i + 1 - self.size, i + 1):
                    if self.again[j]:
                        self._forward(j, xp, values, for_sweep=True)
            if plan.steps[i].receivers:
                for _ in send_back(plan.steps[i], op, values, gradients):
                    pass
            for slot in self.releases[i]:
                values[slot] = gradients[slot] = None
        fill_in(plan, op, values, gradients)
        return values, [*map(plain, gradients)]

    def _forward(self, i: int, xp: Any, values: list[Any], *, for_sweep: bool) -> None:
        """One gate; of what is read for the last time here only shape and dtype are kept."""
        apply(self.plan.steps[i], xp, values)
        for slot in self.ending[i]:
            if not (for_sweep and slot in self.sweep_reads):
                values[slot] = _hollow(xp, values[slot])


def _hollow(xp: Any, x: Any) -> Any:
    """An array like another that takes no memory."""
    return x if x.ndim == 0 else xp.broadcast_to(xp.zeros((), dtype=x.dtype, device=x.device), x.shape)
