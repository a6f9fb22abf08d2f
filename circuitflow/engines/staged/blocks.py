"""Runs a program over rows, a block of them at a time, so that only a block of intermediate results is in memory.

The program is traced once for any number of rows: the dimension is a name in every shape and number. The shapes alone
tell what each line does:

- A value with the rows as one of its axes is *of rows*. Every function that has a shape rule for named sizes takes the
  positions of such an axis one by one (`functions.shape_of`), so a block of its rows comes of a block of the others.
- A value without it that is made of values of rows is a *total*: the function reduces the axis, and `functions.PARTS`
  says how the totals of parts add up to that of the whole. Nothing is computed from a part.
- Every other value is *whole*: it is computed once, from totals that are complete.

So the lines go in rounds: first what is whole, then all blocks, for the totals and the rows that the round can give.
Rows of an earlier round are computed again where a later one needs them. A size as a number is that of all rows; within
the shape that a function is given it is that of the block.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.columns import in_blocks
from circuitflow.engines.program.functions import PARTS, PRODUCTS, is_named
from circuitflow.engines.program.program import Program, needed_lines
from circuitflow.engines.program.trace import Inseparable, Line, Value, values_in
from circuitflow.engines.staged.buffers import ArrayCode, allot, shape_for
from circuitflow.engines.thresholds import Thresholds
from circuitflow.gates.shapes import Shape, Size


class Refused(ValueError):  # noqa: N818
    """A gate refuses an operand."""


Values = dict[Any, Any]
"""Arrays by the name of an input, and by the identity of any other value."""


class Round(NamedTuple):
    """The values that can be computed once the totals of earlier rounds are complete.

    Attributes:
        whole: computes values that are whole.
        rows: computes, for a block, outputs with rows and totals.
        into: the positions of these outputs, and their axes.
        totals: the lines that give totals.
        checks: truth values among both that must be false, by identity.
    """

    whole: ArrayCode
    rows: ArrayCode
    into: Sequence[tuple[int, int]]
    totals: Sequence[Line]
    checks: Sequence[int]


class Blocks:
    """A program over rows, a block of them at a time; safe to call from several threads at once.

    Attributes:
        block: the number of rows of a block.
    """

    def __init__(self, program: Program, block: int) -> None:
        """Sort the lines into rounds.

        Args:
            program: each of its values has at most one axis with a named size, which is that of the rows.
            block: the number of rows of a block.

        Raises:
            Inseparable: a value has several such axes, or one for more than the rows.
        """
        self._axes = {name: _axis(value.shape) for name, value in program.inputs.items() if is_named(value.shape)}
        self._outputs, self.block = list(program.outputs.values()), block
        self._rounds = _rounds(program)
        self._names = {id(value): name for name, value in program.inputs.items()}
        self._others = [(i, x) for i, x in enumerate(self._outputs) if not _has_rows(x)]
        # Matrix products are spread over the cores by themselves.
        self._alone = any(line.function in PRODUCTS for line in program.lines)

    def __call__(self, arrays: Mapping[Any, Any]) -> list[Any]:
        """The outputs; arguments and errors are those of `fill`."""
        rows = next((arrays[name].shape[axis] for name, axis in self._axes.items()), 0)
        new = {id(x): np.empty(shape_for(x.shape, rows), x.dtype) for x in self._outputs if _has_rows(x)}
        others = self.fill(arrays, [new.get(id(x)) for x in self._outputs], rows)
        return [new.get(id(x), others.get(i)) for i, x in enumerate(self._outputs)]

    def fill(self, arrays: Mapping[Any, Any], results: Sequence[Any], rows: int) -> dict[int, Any]:
        """Write the outputs with rows into results, at their position; gives the other outputs, by position.

        Raises:
            Refused: a gate refuses an operand.
        """
        values: Values = {**arrays}
        for round_ in self._rounds:
            if round_.whole.program.outputs:
                values |= _run(round_, round_.whole, values, (), 0, rows)
            if round_.rows.program.outputs:
                values |= self._blocks(round_, values, results, rows)
        return {i: values[self._names.get(id(x), id(x))] if isinstance(x, Value) else np.array(x)
                for i, x in self._others}

    def _blocks(self, round_: Round, values: Values, results: Sequence[Any], rows: int) -> Values:
        """Write the outputs of a round with rows; gives its totals."""
        totals = _Totals(round_.totals, self.block) if round_.totals else None

        def work(part: slice) -> None:
            block = values | {name: values[name][_at(axis, part)] for name, axis in self._axes.items()}
            into = [results[i][_at(axis, part)] for i, axis in round_.into]
            parts = _run(round_, round_.rows, block, into, min(part.stop, rows) - part.start, rows)
            if totals:
                totals.add(part.start, parts)

        in_blocks(work, rows, self.block, alone=self._alone)
        return totals.complete() if totals else {}


def rows_of_block(program: Program, thresholds: Thresholds, fewest: int) -> int:
    """The number of rows whose intermediate results, and one output, take the bytes of a block, between limits."""
    return min(thresholds.column_rows, max(fewest, thresholds.block_bytes // (allot(program).row_bytes() + 8)))


def _has_rows(output: Any) -> bool:
    return isinstance(output, Value) and is_named(output.shape)


def _run(round_: Round, code: ArrayCode, values: Values, results: Sequence[Any], block: int, rows: int) -> Values:
    outputs = code(values, results, block=block, whole=rows)
    if round_.checks and any(np.any(outputs[key]) for key in round_.checks if key in outputs):
        raise Refused
    return outputs


def _at(axis: int, rows: slice) -> slice | tuple[slice, ...]:
    return (*(slice(None),) * axis, rows) if axis else rows


def _axis(shape: Shape) -> int:
    """The axis of the rows.

    Raises:
        Inseparable: there are several, or one for more than the rows.
    """
    axes = [i for i, size in enumerate(shape) if isinstance(size, Size)]
    if len(axes) > 1 or not str(shape[axes[0]]).isidentifier():
        raise Inseparable("rows along several axes, or not alone along one")
    return axes[0]


def _rounds(program: Program) -> list[Round]:
    """The rounds, in order.

    Raises:
        Inseparable: a value has several axes of rows, or one for more than the rows.
    """
    first_round: dict[int, int] = {}  # the round from which on a value is there
    parts: dict[tuple[str, int], list[Line]] = {}
    for value in (x for line in program.lines for x in line.results if is_named(x.shape)):
        _axis(value.shape)
    for line in program.lines:
        here = max((first_round.get(id(x), 0) for x in line.reads), default=0)
        gives_rows, takes_rows = (any(is_named(x.shape) for x in some) for some in (line.results, line.reads))
        kind = "rows" if gives_rows else "totals" if takes_rows else "whole"
        parts.setdefault((kind, here), []).append(line)
        first_round.update((id(x), here + (kind == "totals")) for x in line.results)
    outputs = {i: x for i, x in enumerate(program.outputs.values()) if isinstance(x, Value)}
    checks = {id(check.outside): check.outside for _, check in program.checks if isinstance(check.outside, Value)}
    last = max((*(at for _, at in parts), *(first_round.get(id(x), 0) for x in (*outputs.values(), *checks.values()))),
               default=0)
    names = {id(value): name for name, value in program.inputs.items()}
    rounds, so_far = [], list[Line]()
    for here in range(last + 1):
        whole, rows, totals = (parts.get((kind, here), []) for kind in ("whole", "rows", "totals"))
        so_far += rows
        readers = [line.reads for lines in parts.values() if lines is not whole for line in lines]
        reads = {id(x) for x in values_in([readers, list(outputs.values()), list(checks.values())])}
        into, new_checks = ({key: x for key, x in values.items() if _has_rows(x) and first_round.get(id(x), 0) == here}
                            for values in (outputs, checks))
        rounds.append(Round(
            _code(names, whole, {id(x): x for line in whole for x in line.results if id(x) in reads}),
            _code(names, [*so_far, *totals], new_checks | {id(x): x for line in totals for x in line.results}, into),
            [(i, _axis(x.shape)) for i, x in into.items()], totals, list(checks)))
    return rounds


def _code(names: Mapping[int, Any], lines: Sequence[Line], outputs: Mapping[int, Value],
          into: Mapping[int, Value] = MappingProxyType({})) -> ArrayCode:
    """Lines, whose operands from elsewhere are inputs; outputs by identity, and those written into arrays in order."""
    in_place: dict[Any, Value] = {("result", i): x for i, x in into.items()}
    lines = needed_lines(lines, [*outputs.values(), *into.values()])
    produced = {id(x) for line in lines for x in line.results}
    reads = values_in([[line.reads for line in lines], *outputs.values(), *into.values()])
    inputs = {names.get(id(x), id(x)): x for x in reads if id(x) not in produced}
    return ArrayCode(Program(inputs, lines, {**in_place, **outputs}), list(in_place))


class _Totals:
    """Adds the totals of blocks up, in the order of the rows whichever thread comes first."""

    def __init__(self, lines: Sequence[Line], block: int) -> None:
        self._lines = {id(line.results[0]): line for line in lines}
        self._block, self._next = block, 0
        self._sums: Values = {}
        self._waiting: dict[int, Values] = {}
        self._lock = threading.Lock()

    def add(self, start: int, parts_of_block: Values) -> None:
        """The parts of the block that starts at a row; floats are added up in float64."""
        with self._lock, np.errstate(all="ignore"):
            self._waiting[start] = parts_of_block
            while (parts := self._waiting.pop(self._next, None)) is not None:
                for key, line in self._lines.items():
                    part = parts[key].astype(np.float64) if parts[key].dtype.kind == "f" else parts[key]
                    self._sums[key] = PARTS[line.function](self._sums[key], part) if self._next else part
                self._next += self._block

    def complete(self) -> Values:
        """The totals, in their dtypes."""
        with np.errstate(all="ignore"):
            return {key: np.asarray(x, self._lines[key].results[0].dtype)[()] for key, x in self._sums.items()}
