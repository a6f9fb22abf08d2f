"""A circuit of scalars as flat arrays: gates by number, operands in compressed rows.

Gates that do not depend on one another stand side by side, those of one operation in a run: a loop then has no
operation to look up, none to guess wrong, and nothing to wait for between one gate and the next. The number of a gate
is also the place of its value, after those of the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from circuitflow.executor.plan import Plan
from circuitflow.gates import ArrayType
from circuitflow.graph.collector import collector_paused

UNROLLED = 8
"""`add` and `mul` of more operands than this are a loop over them."""

LOOPED = ("add", "mul")


class Operation(NamedTuple):
    """What gates of one run have in common.

    Attributes:
        kind: the gate.
        attributes: of the gate, in order of their names.
        truths: for every operand, whether it is a truth value; empty where there are any number of operands.
        truth: whether the output is one.
        wanted: for every operand, whether a contribution to it is asked for; empty where none is.
    """

    kind: str
    attributes: tuple[tuple[str, Any], ...]
    truths: tuple[bool, ...]
    truth: bool
    wanted: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Tape:
    """Flat arrays.

    Attributes:
        operations: what there is; a run has the index of one.
        runs: of shape (runs, 3), int64: operation, first slot, end.
        rows: of shape (slots + 1,), int64: where the operands of each slot begin; sources have none.
        operands: slots, uint32.
        slots: of shape (slots of the plan,), int64: where each slot of the plan is.
    """

    operations: Sequence[Operation]
    runs: np.ndarray[Any, np.dtype[np.int64]]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    operands: np.ndarray[Any, np.dtype[np.uint32]]
    slots: np.ndarray[Any, np.dtype[np.int64]]


def is_scalar(plan: Plan, sources: Iterable[ArrayType]) -> bool:
    """Whether every value of a schedule, and of its sources, is one float64 or truth value, and no gate has several."""
    types = {step.node.types[0] for step in plan.steps}.union(sources)
    return all(type_.shape == () and type_.dtype in ("float64", "bool") for type_ in types) and all(
        not step.outputs for step in plan.steps)


@collector_paused()
def tape(plan: Plan, sources: Mapping[str, bool]) -> Tape:
    """Lay out a schedule of scalars.

    Args:
        plan: the schedule.
        sources: whether each source is a truth value.
    """
    truth = [False] * len(plan.names)
    level = [0] * len(plan.names)
    for name, slot in plan.sources.items():
        truth[slot] = sources[name]
    reached = _reached(plan)
    codes: dict[Operation, int] = {}
    by_key: dict[Any, int] = {}
    code_of, levels, outputs, counts = [], [], [], []
    flat: list[int] = []
    for step in plan.steps:
        operands, output = step.operands, step.output
        here = level[output] = 1 + max([level[slot] for slot in operands])
        is_truth = truth[output] = step.node.types[0].dtype == "bool"
        wanted = step.wanted if reached[output] else ()
        truths = tuple([truth[slot] for slot in operands])
        key = (step.node.kind, truths, wanted, is_truth) if not step.attributes else None
        code = by_key.get(key) if key is not None else None
        if code is None:
            attributes = tuple((name, _frozen(value)) for name, value in sorted(step.attributes.items()))
            many = step.node.kind in LOOPED and len(operands) > UNROLLED
            operation = Operation(step.node.kind, attributes, () if many else truths, is_truth,
                                  (any(wanted),) if many else wanted)
            code = codes.setdefault(operation, len(codes))
            if key is not None:
                by_key[key] = code
        code_of.append(code)
        levels.append(here)
        outputs.append(output)
        counts.append(len(operands))
        flat += operands
    return _laid_out(plan, tuple(codes), *(np.asarray(x, np.int64) for x in (code_of, levels, outputs, counts, flat)))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _reached(plan: Plan) -> list[bool]:
    """Whether a gradient arrives in each slot; where none does, no rule may turn 0 into NaN."""
    reached = [False] * len(plan.names)
    for slot in plan.of.values():
        reached[slot] = True
    for step in reversed(plan.steps):
        if reached[step.output]:
            for slot, want in zip(step.operands, step.wanted, strict=False):
                if want:
                    reached[slot] = True
    return reached


def _laid_out(plan: Plan, operations: Sequence[Operation], codes: Any, levels: Any, outputs: Any, counts: Any,
              flat: Any) -> Tape:
    order = np.lexsort((codes, levels))
    first = len(plan.sources)
    slots = np.empty(len(plan.names), np.int64)
    slots[list(plan.sources.values())] = np.arange(first)
    slots[outputs[order]] = np.arange(first, first + len(order))
    rows = np.zeros(first + len(order) + 1, np.int64)
    np.cumsum(counts[order], out=rows[first + 1 :])
    starts = np.cumsum(counts) - counts
    where = np.repeat(starts[order] - rows[first:-1], counts[order]) + np.arange(len(flat))
    changes = np.flatnonzero(np.diff(codes[order], prepend=-1) | np.diff(levels[order], prepend=-1))
    runs = np.stack([codes[order][changes], changes + first, np.append(changes, len(order))[1:] + first], axis=1)
    return Tape(operations, runs, rows, slots[flat[where]].astype(np.uint32), slots)
