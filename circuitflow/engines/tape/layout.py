"""A circuit of scalars as flat arrays: gates by number, operands in compressed rows.

Gates of one operation stand in a run, as long as the order of the circuit allows: mispredicted branches cost most in a
loop over gates. The number of a gate is also the place of its value, after those of the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitflow.engines.numba_loops import jitted
from circuitflow.graph.collector import collector_paused
from circuitflow.interpreter.plan import Plan, Step
from circuitflow.interpreter.question import Question

UNROLLED = 8
"""A sum or product of more operands than this is a loop over them."""


@dataclass(frozen=True, eq=False)
class Tape:
    """Flat arrays.

    Attributes:
        operations: a gate for each kind of run. Gates of a run differ in their slots alone, so they have one loop.
        truths: for each slot of the plan, whether it is a truth value.
        masked: for each slot of the plan, whether the gradient on it may have zeros of a mask.
        runs: of shape (runs + 1, 3), int64: operation, first slot, and where its operands begin; the last is the end.
        rows: of shape (slots + 1,), int64: where the operands of each slot begin; sources have none.
        operands: slots, uint32.
        slots: of shape (slots of the plan,), int64: where each slot of the plan is.
    """

    operations: Sequence[Step]
    truths: Sequence[bool]
    masked: Sequence[bool]
    runs: np.ndarray[Any, np.dtype[np.int64]]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    operands: np.ndarray[Any, np.dtype[np.uint32]]
    slots: np.ndarray[Any, np.dtype[np.int64]]


def loop_of(step: Step) -> str:
    """The "sum" or "product" that a loop over the operands of a gate computes; "" where there is no loop."""
    return step.gate.facets.loop or "" if len(step.operands) > UNROLLED else ""


@collector_paused()
def tape(question: Question, *, fast: bool) -> Tape:
    """Lay out a schedule of scalars; numba does it if `fast`."""
    plan = question.plan
    truth = [False] * len(plan.names)
    for name, slot in plan.sources.items():
        truth[slot] = question.sources[name].dtype == "bool"
    arrives, masked = _arrivals(plan)
    codes: dict[tuple[Any, ...], int] = {}  # by what the gates of an operation share
    operations: list[Step] = []
    lists: tuple[list[int], ...] = [], [], [], []
    code_of, outputs, counts, flat = lists
    for step in plan.steps:
        operands, output = step.operands, step.output
        is_truth = truth[output] = step.node.types[0].dtype == "bool"
        receivers = step.receivers if arrives[output] else ()
        attributes = tuple((name, _frozen(x)) for name, x in sorted(step.attributes.items())) if step.attributes else ()
        if len(operands) > UNROLLED and (loop := loop_of(step)):
            signature: Any = loop, any(receivers)
        else:
            signature = tuple([truth[slot] for slot in operands]), receivers
        key = step.node.kind, attributes, is_truth, masked[output], signature
        code = codes.setdefault(key, len(codes))
        if code == len(operations):
            operations.append(step._replace(receivers=receivers))
        code_of.append(code)
        outputs.append(output)
        counts.append(len(operands))
        flat += operands
    return _laid_out(plan, operations, truth, masked, *(np.array(x, np.int64) for x in lists), fast=fast)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _arrivals(plan: Plan) -> tuple[list[bool], list[bool]]:
    """Whether a gradient arrives in each slot, and whether it may have zeros of a mask, as `Masked` tells.

    Where none arrives, no rule may turn 0 into NaN.
    """
    arrives, masked = [False] * len(plan.names), [False] * len(plan.names)
    for slot in plan.of.values():
        arrives[slot] = True
    for step in reversed(plan.steps):
        if arrives[step.output]:
            masks, count, is_masked = step.gate.facets.masks, len(step.operands), masked[step.output]
            for i, receives in enumerate(step.receivers):
                if receives:
                    slot = step.operands[i]
                    arrives[slot] = True
                    if is_masked or (masks is not None and masks(i, count, **step.attributes)):
                        masked[slot] = True
    return arrives, masked


def _laid_out(plan: Plan, operations: Sequence[Step], truths: Sequence[bool], masked: Sequence[bool], codes: Any,
              outputs: Any, counts: Any, flat: Any, *, fast: bool) -> Tape:
    starts = np.cumsum(counts) - counts
    order = _order(plan, len(operations), codes, outputs, counts, flat, fast=fast)
    first, count = len(plan.sources), len(order)
    slots = np.empty(len(plan.names), np.int64)
    slots[list(plan.sources.values())] = np.arange(first)
    slots[outputs[order]] = np.arange(first, first + count)
    rows = np.zeros(first + count + 1, np.int64)
    np.cumsum(counts[order], out=rows[first + 1 :])
    where = np.repeat(starts[order] - rows[first:-1], counts[order]) + np.arange(len(flat))
    begin = np.append(np.flatnonzero(np.diff(codes[order], prepend=-1)), count)
    runs = np.stack([np.append(codes[order], 0)[begin], begin + first, rows[begin + first]], axis=1)
    return Tape(operations, truths, masked, runs, rows, slots[flat[where]].astype(np.uint32), slots)


def _order(plan: Plan, operations: int, codes: Any, outputs: Any, counts: Any, flat: Any, *, fast: bool) -> Any:
    """The order of the gates on the tape."""
    gate_of = np.full(len(plan.names), -1)
    gate_of[outputs] = np.arange(len(codes))
    sources, readers = gate_of[flat], np.repeat(np.arange(len(codes)), counts)
    inner = sources >= 0
    sources, readers = sources[inner], readers[inner]
    waiting = np.bincount(readers, minlength=len(codes))
    starts = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(np.bincount(sources, minlength=len(codes)), out=starts[1:])
    arrays = (codes, waiting, starts, readers[np.argsort(sources, kind="stable")], np.full(operations, -1),
              np.zeros(operations, np.int64), np.full(len(codes), -1), np.empty(len(codes), np.int64))
    if fast:
        jitted(_put_in_runs)(*arrays)
        return arrays[-1]
    lists = [array.tolist() for array in arrays]
    _put_in_runs(*lists)
    return np.array(lists[-1], np.int64)


def _put_in_runs(codes: Any, waiting: Any, starts: Any, readers: Any, top: Any, height: Any, below: Any,
                 order: Any) -> None:
    """Greedy scheduling that lengthens runs.

    Repeats an operation while a gate of it is ready, then takes the most frequent one.

    Args:
        codes: the operation of each gate.
        waiting: how many operands of each gate are still missing.
        starts: where the readers of each gate begin.
        readers: the gates that read it.
        top: for each operation, a gate that is ready, or -1.
        height: for each operation, how many are.
        below: for each gate that is ready, another of the same operation, or -1.
        order: is filled in.
    """
    for i in range(len(codes) - 1, -1, -1):
        if waiting[i] == 0:
            below[i], top[codes[i]] = top[codes[i]], i
            height[codes[i]] += 1
    count = 0
    while count < len(codes):
        code = 0
        for other in range(len(top)):
            if height[other] > height[code]:
                code = other
        while top[code] >= 0:
            i = top[code]
            top[code] = below[i]
            height[code] -= 1
            order[count] = i
            count += 1
            for at in range(starts[i], starts[i + 1]):
                reader = readers[at]
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    below[reader], top[codes[reader]] = top[codes[reader]], reader
                    height[codes[reader]] += 1
