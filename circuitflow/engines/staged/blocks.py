"""Runs a batch in blocks when rows are independent or summed, so that only a block of them is in memory.

The stages are traced once for a batch of any size: its dimension is a name in every shape and number. The shapes alone
tell what each line does:

- A value with the batch as one of its axes is *of rows*. Every function that has a shape rule for named sizes takes the
  positions of such an axis one by one (`functions.shape_of`), so a block of its rows comes of a block of the others.
- A value without it that is made of values of rows is a *total*: the function reduces the axis, and `functions.PARTS`
  says how the totals of parts add up to that of the whole. Nothing is computed from a part.
- Every other value is *whole*: it is computed once, from totals that are complete.

So the stages go in rounds: first what is whole, then all blocks, for the totals and the rows that the round can give.
Rows of an earlier round are computed again where a later one needs them. A size as a number is that of the whole batch;
within the shape that a function is given it is that of the block.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.columns import in_blocks
from circuitflow.engines.program.functions import PARTS, PRODUCTS, is_named
from circuitflow.engines.program.fusing import branch_free
from circuitflow.engines.program.program import Program, needed_lines
from circuitflow.engines.program.trace import Inseparable, Line, Value, values_in
from circuitflow.engines.staged.buffers import ArrayCode, allot, shape_for
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.thresholds import Thresholds
from circuitflow.gates.shapes import Shape, Size


class Refused(ValueError):  # noqa: N818
    """A gate refuses an operand."""


ById = dict[int, Any]
"""Arrays by the identity of their value."""


class Round(NamedTuple):
    """The values that can be computed once the totals of earlier rounds are complete.

    Attributes:
        whole: computes values that are whole.
        rows: computes, for a block, rows that are asked for and totals.
        outputs: the rows that are asked for, and their axis.
        totals: the lines that give totals.
        checks: truth values among both that must be false.
    """

    whole: ArrayCode
    rows: ArrayCode
    outputs: Mapping[int, int]
    totals: Sequence[Line]
    checks: frozenset[int]


class Blocks:
    """Values and gradients of a batch, a block of rows at a time; safe to call from several threads at once."""

    def __init__(self, derived: Derived, arrays: Mapping[str, Any], thresholds: Thresholds) -> None:
        """Tell what goes row by row; `Inseparable` if rows depend on one another, there is no batch, or it is small.

        Raises:
            Inseparable: rows depend on one another, there is no batch, or it is small.
        """
        name, sizes = _batch(derived, arrays)
        self._count = sizes.pop(name)
        if self._count < max(2, thresholds.blocks * thresholds.block_rows):  # rules tell sizes of 0 and 1 from others
            raise Inseparable("a small batch")
        shapes = {id_: tuple(size.substitute(sizes) if isinstance(size, Size) else size
                             for size in derived.type_of(id_).shape) for id_ in arrays}
        stages = self._stages = _stages(derived, arrays, {id_: x for id_, x in shapes.items() if is_named(x)},
                                        thresholds)
        self._axes = {id(value): _axis(value.shape) for value in stages.inputs.values() if is_named(value.shape)}
        row_bytes = allot(stages).row_bytes()
        self._block = max(thresholds.block_rows, thresholds.block_bytes // max(row_bytes, 1))
        if self._count < thresholds.blocks * self._block:
            raise Inseparable("a small batch")
        self._outputs = [stages.outputs[reference] for reference in derived.results]
        self._rounds = _rounds(stages, [x for x in self._outputs if isinstance(x, Value)],
                               [check.outside for _, check in stages.checks if isinstance(check.outside, Value)])
        # Matrix products are spread over the cores by themselves.
        self._alone = any(line.function in PRODUCTS for line in stages.lines)

    def __call__(self, arrays: Mapping[str, Any]) -> list[Any]:
        """The outputs and gradients; `Refused` if a gate refuses an operand.

        Raises:
            Refused: a gate refuses an operand.
        """
        values: ById = {id(value): arrays[name] for name, value in self._stages.inputs.items()}
        results: ById = {id(x): np.empty(shape_for(x.shape, self._count), x.dtype)
                         for x in self._outputs if isinstance(x, Value) and is_named(x.shape)}
        for round_ in self._rounds:
            values |= self._run(round_.whole, round_, values, 0)
            values |= self._blocks(round_, values, results)
        return [results[id(x)] if id(x) in results else values[id(x)] if isinstance(x, Value) else np.array(x)
                for x in self._outputs]

    def _blocks(self, round_: Round, values: ById, results: ById) -> ById:
        """Compute the rows of a round into the results; gives the totals."""
        totals = _Totals(round_.totals, self._block)

        def work(part: slice) -> None:
            rows = slice(part.start, min(part.stop, self._count))
            block = {key: x[_at(self._axes[key], rows)] if key in self._axes else x for key, x in values.items()}
            part_results = self._run(round_.rows, round_, block, rows.stop - rows.start)
            totals.add(rows.start, part_results)
            for key, axis in round_.outputs.items():
                results[key][_at(axis, rows)] = part_results[key]

        if round_.rows.program.outputs:
            in_blocks(work, self._count, self._block, alone=self._alone)
        return totals.complete()

    def _run(self, part: ArrayCode, round_: Round, arrays: ById, rows: int) -> ById:
        outputs = part.program.outputs
        part_results = dict(zip(outputs, part(arrays, block=rows, whole=self._count), strict=True))
        if any(np.any(part_results[key]) for key in round_.checks.intersection(part_results)):
            raise Refused
        return part_results


def _at(axis: int, rows: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, rows)


def _batch(derived: Derived, arrays: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    """The name of the one leading dimension of sources, and the sizes of all names.

    Raises:
        Inseparable: there is none, or there are several.
    """
    sizes: dict[str, int] = {}
    leading: set[str] = set()
    for name, array in arrays.items():
        for i, (size, number) in enumerate(zip(derived.type_of(name).shape, array.shape, strict=True)):
            if isinstance(size, Size):
                sizes[str(size)] = number
                if i == 0:
                    leading.add(str(size))
    if len(leading) != 1:
        raise Inseparable("no batch, or several")
    return leading.pop(), sizes


def _stages(derived: Derived, arrays: Mapping[str, Any], shapes: Mapping[str, Shape],
            thresholds: Thresholds) -> Program:
    """The stages, every value of which has the batch as one axis or as none.

    Raises:
        Inseparable: a value has it otherwise, or there is no program for a batch of any size.
    """
    stages = branch_free(derived.named_program(arrays, shapes), thresholds.selected_size)
    for value in (*stages.inputs.values(), *(value for line in stages.lines for value in line.results)):
        if is_named(value.shape):
            _axis(value.shape)
    if any(np.any(check.outside) for _, check in stages.checks if not isinstance(check.outside, Value)):
        raise Inseparable("a gate refuses an operand")
    return stages


def _axis(shape: Shape) -> int:
    """The axis of the rows; `Inseparable` if there are several, or one for more than the rows.

    Raises:
        Inseparable: there are several, or one for more than the rows.
    """
    axes = [i for i, size in enumerate(shape) if isinstance(size, Size)]
    if len(axes) > 1 or not str(shape[axes[0]]).isidentifier():
        raise Inseparable("rows along several axes, or not alone along one")
    return axes[0]


def _rounds(stages: Program, outputs: Sequence[Value], checks: Sequence[Value]) -> list[Round]:
    """The rounds, in order."""
    first_round: dict[int, int] = {}  # the round from which on a value is there
    parts: dict[tuple[str, int], list[Line]] = {}
    for line in stages.lines:
        operands = list(values_in((line.operands, line.keywords)))
        here = max((first_round.get(id(x), 0) for x in operands), default=0)
        gives_rows, takes_rows = (any(is_named(x.shape) for x in some) for some in (line.results, operands))
        kind = "rows" if gives_rows else "totals" if takes_rows else "whole"
        parts.setdefault((kind, here), []).append(line)
        first_round.update((id(x), here + (kind == "totals")) for x in line.results)
    requested = {id(x): x for x in (*outputs, *checks)}
    rounds, so_far = [], list[Line]()
    for here in range(max((*(at for _, at in parts), *(first_round.get(key, 0) for key in requested)), default=0) + 1):
        whole, rows, added = (parts.get((kind, here), []) for kind in ("whole", "rows", "totals"))
        so_far += rows
        read = {id(x) for lines in parts.values() if lines is not whole for line in lines
                for x in values_in((line.operands, line.keywords))}
        kept = {id(x): x for line in whole for x in line.results if id(x) in requested or id(x) in read}
        shown = {key: x for key, x in requested.items() if is_named(x.shape) and first_round.get(key, 0) == here}
        rounds.append(Round(
            _code(whole, kept),
            _code([*so_far, *added], shown | {id(line.results[0]): line.results[0] for line in added}),
            {id(x): _axis(x.shape) for x in outputs if id(x) in shown}, added, frozenset(map(id, checks))))
    return rounds


def _code(lines: Sequence[Line], outputs: Mapping[int, Value]) -> ArrayCode:
    """Lines, whose operands from elsewhere are inputs by their identity."""
    lines = needed_lines(lines, outputs)
    produced = {id(x) for line in lines for x in line.results}
    read = (*values_in([(line.operands, line.keywords) for line in lines]), *outputs.values())
    return ArrayCode(Program({id(x): x for x in read if id(x) not in produced}, lines, outputs))


class _Totals:
    """Adds the totals of blocks up, in the order of the rows whichever thread comes first."""

    def __init__(self, lines: Sequence[Line], block: int) -> None:
        self._lines = {id(line.results[0]): line for line in lines}
        self._block, self._next = block, 0
        self._sums: ById = {}
        self._waiting: dict[int, ById] = {}
        self._lock = threading.Lock()

    def add(self, start: int, parts_of_block: ById) -> None:
        """The parts of the block that starts at a row; floats are added up in float64."""
        with self._lock, np.errstate(all="ignore"):
            self._waiting[start] = parts_of_block
            while (parts := self._waiting.pop(self._next, None)) is not None:
                for key, line in self._lines.items():
                    part = parts[key].astype(np.float64) if parts[key].dtype.kind == "f" else parts[key]
                    self._sums[key] = PARTS[line.function](self._sums[key], part) if self._next else part
                self._next += self._block

    def complete(self) -> ById:
        """The totals, in their dtypes."""
        with np.errstate(all="ignore"):
            return {key: np.asarray(x, self._lines[key].results[0].dtype)[()] for key, x in self._sums.items()}
