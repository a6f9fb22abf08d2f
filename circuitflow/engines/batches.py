"""A batch in blocks: where every row goes through a circuit by itself, or into a sum, only a block is in memory.

The stages are written down for two small sizes of the batch. What differs between the two is the batch: an axis of a
shape, a number such as the n of a mean. For a block, and for what is left after the last, they are written again, with
the numbers of the whole batch. Where stages need a sum over all rows before they can go on, as to divide by it, the
blocks are gone through once for the sum and once again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.buffers import allot, compiled, is_elementwise
from circuitflow.engines.columns import in_blocks
from circuitflow.engines.derived import Derived
from circuitflow.engines.program import Program, needed, program
from circuitflow.engines.selection import with_products
from circuitflow.engines.trace import Called, Line, Value, values_in
from circuitflow.errors import GateError
from circuitflow.executor.binding import concrete
from circuitflow.gates import Size

CACHE = 2**24
"""Bytes that the results of a block may take; a batch of which all take less than four times as many is not cut."""

SMALLEST = 64
"""Rows of a block, however large they are."""

PROBES = 37, 41
"""Sizes of the batch for which stages are written down to be compared: unlike any that a circuit is likely to have."""

SUM = -1
"""The kind of a value that is a sum over the rows."""


class Inseparable(TypeError):  # noqa: N818
    """Rows depend on one another."""


class Batched:
    """Values and gradients of a batch, a block of rows at a time; safe to call from several threads at once."""

    def __init__(self, derived: Derived, arrays: Mapping[str, Any]) -> None:
        """Find out what is done row by row.

        Args:
            derived: the question.
            arrays: inputs by id, for their shapes.

        Raises:
            Inseparable: rows depend on one another, there is no batch, or it is small.
        """
        self._derived = derived
        self._name, self._sizes = _batch(derived, arrays)
        self._rows = self._sizes[self._name]
        if self._rows < 4 * SMALLEST:
            raise Inseparable("a small batch")
        self._probes = [self._program(size) for size in PROBES]
        first = self._probes[0]
        buffers = sum(math.prod(shape) * dtype.itemsize for shape, dtype in allot(first).kinds)
        self._block = max(SMALLEST, CACHE * PROBES[0] // max(buffers, 1))
        if self._rows < 4 * self._block:
            raise Inseparable("a small batch")
        self._kinds, self._phases = _separated(*self._probes)
        self._inputs = {name: self._kinds.get(id(value)) for name, value in first.inputs.items()}
        self._references = [*derived.values.values(), *derived.gradients.values()]
        self._outputs = [first.outputs[reference] for reference in self._references]
        # Matrix products are spread over the cores by themselves.
        self._alone = any(line.function is np.matmul for line in first.lines)
        self._made = {size: self._compiled(size) for size in {self._block, self._rows % self._block} - {0}}

    def _program(self, rows: int) -> Program:
        derived = self._derived
        nodes, sizes = derived.circuit.nodes, {**self._sizes, self._name: rows}
        samples = {name: np.zeros(concrete(nodes[name].types[0], sizes), nodes[name].types[0].dtype)
                   for name in derived.plan.sources if nodes[name].kind != "constant"}
        try:
            return program(derived.plan, samples, derived.circuit.values, checked=True)
        except GateError as error:
            raise Inseparable(f"zeros are no values to write stages down with: {error}") from None

    def _compiled(self, rows: int) -> list[Callable[..., list[Any]]]:
        """The stages for a block, phase by phase, with the numbers that the whole batch has."""
        stages = self._program(rows)
        if not _alike(stages, self._probes[0]):
            raise Inseparable("other stages for a block")
        lines = [line._replace(operands=tuple(self._number(line, x, *pair) for x, *pair in zip(
            line.operands, one.operands, other.operands, strict=True)))
            for line, one, other in zip(stages.lines, *(probe.lines for probe in self._probes), strict=True)]
        checks = [check for _, check in stages.checks]
        made, inputs, done = [], dict(stages.inputs), set()
        for phase in self._phases:
            sums = [lines[i].results[0] for i in phase]
            made.append(_compiled(inputs, [line for i, line in enumerate(lines) if i not in done], sums))
            done.update(phase)
            inputs |= {f"sum {i}": lines[i].results[0] for i in phase}
        asked = [*(stages.outputs[reference] for reference in self._references), *checks]
        return [*made, _compiled(inputs, [line for i, line in enumerate(lines) if i not in done], asked)]

    def _number(self, line: Line, x: Any, one: Any, other: Any) -> Any:
        """An operand of a line; a number that goes by the size of the batch is that of the whole batch.

        Raises:
            Inseparable: it is not known how it goes by the size.
        """
        if isinstance(x, Value) or not isinstance(x, bool | int | float | np.generic | np.ndarray):
            return x
        first, second = np.asarray(one), np.asarray(other)
        if first.shape == second.shape and np.array_equal(first, second, equal_nan=first.dtype.kind == "f"):
            return x
        if not (isinstance(line.function, np.ufunc) or line.function in _ELEMENTWISE):
            raise Inseparable("a parameter that goes by the size of the batch")
        if not first.size or (first != first.reshape(-1)[0]).any() or (second != second.reshape(-1)[0]).any():
            raise Inseparable("an array that goes by the size of the batch")
        number = _fitted(first.reshape(-1)[0].item(), second.reshape(-1)[0].item(), self._rows)
        return type(x)(number) if not isinstance(x, np.ndarray) else np.full(x.shape, number, x.dtype)

    def __call__(self, arrays: Mapping[str, Any]) -> list[Any] | None:
        """The outputs and gradients; None where a gate refuses an operand."""
        given = dict(arrays)
        for i, phase in enumerate(self._phases):
            sums = _Sums(self._block)
            self._each_block(i, given, sums.add)
            for line, total in zip(phase, sums.totals, strict=True):
                given[f"sum {line}"] = total.astype(self._probes[0].lines[line].results[0].dtype)
        kinds = [self._kinds.get(id(x)) for x in self._outputs]
        results = [self._result(x) for x in self._outputs]
        sums = _Sums(self._block)
        refused: list[int] = []

        def put(start: int, found: Sequence[Any]) -> None:
            if any(np.any(check) for check in found[len(results) :]):
                refused.append(start)
            for i, (kind, x) in enumerate(zip(kinds, found, strict=False)):
                if kind is None and start == 0:
                    results[i] = x
                elif kind is not None and kind != SUM:
                    results[i][(slice(None),) * kind + (slice(start, start + self._block),)] = x
            sums.add(start, [x for kind, x in zip(kinds, found, strict=False) if kind == SUM])

        self._each_block(len(self._phases), given, put)
        if refused:
            return None
        totals = iter(sums.totals)
        return [next(totals).astype(x.dtype) if kind == SUM else result
                for kind, x, result in zip(kinds, self._outputs, results, strict=True)]

    def _each_block(self, phase: int, given: Mapping[str, Any], put: Callable[[int, list[Any]], None]) -> None:
        """Run a phase for every block, and give where the block starts and what was found to a function."""
        def work(part: slice) -> None:
            rows = slice(part.start, min(part.stop, self._rows))
            block = {name: array if (axis := self._inputs.get(name)) is None else
                     array[(slice(None),) * axis + (rows,)] for name, array in given.items()}
            put(rows.start, self._made[rows.stop - rows.start][phase](block))

        if self._alone:
            for start in range(0, self._rows, self._block):
                work(slice(start, start + self._block))
        else:
            in_blocks(work, self._rows, self._block)

    def _result(self, x: Any) -> Any:
        kind = self._kinds.get(id(x))
        return None if kind is None or kind == SUM else np.empty((*x.shape[:kind], self._rows, *x.shape[kind + 1 :]),
                                                                 x.dtype)


def _compiled(inputs: Mapping[str, Value], lines: Sequence[Line], outputs: Sequence[Any]) -> Callable[..., list[Any]]:
    asked = {str(i): x for i, x in enumerate(outputs)}
    stages = with_products(Program(inputs, needed(lines, asked), asked))
    return compiled(stages, outputs)


class _Sums:
    """The sums of blocks, added up in the order of the rows whichever thread comes first."""

    def __init__(self, block: int) -> None:
        self.totals: list[Any] = []
        self._block, self._next = block, 0
        self._waiting: dict[int, Sequence[Any]] = {}
        self._lock = threading.Lock()

    def add(self, start: int, parts: Sequence[Any]) -> None:
        """Those of the block that starts at a row; float32 is added up in float64."""
        with self._lock:
            self._waiting[start] = parts
            while self._next in self._waiting:
                wide = [part.astype(np.float64) if part.dtype.kind == "f" else part
                        for part in self._waiting.pop(self._next)]
                self.totals = [x + part for x, part in zip(self.totals, wide, strict=True)] if self._next else wide
                self._next += self._block


def _batch(derived: Derived, arrays: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    """The name of the leading dimension of inputs, and the sizes of all names."""
    sizes: dict[str, int] = {}
    leading: dict[str, None] = {}
    for name, array in arrays.items():
        for i, (size, found) in enumerate(zip(derived.circuit.nodes[name].types[0].shape, array.shape, strict=True)):
            if isinstance(size, Size):
                sizes[str(size)] = found
                if i == 0:
                    leading[str(size)] = None
    if len(leading) != 1:
        raise Inseparable("no batch, or several")
    return next(iter(leading)), sizes


def _alike(one: Program, other: Program) -> bool:
    """Whether two programs differ in numbers and shapes among their operands alone."""
    def outline(program: Program) -> list[Any]:
        return [(line.function, {name: id(x) if isinstance(x, np.ndarray) else x for name, x in line.keywords.items()
                                 if not isinstance(x, Value)}) for line in program.lines]

    return outline(one) == outline(other)


def _fitted(one: float, other: float, rows: int) -> float:
    """A number that goes by the size of the batch, for another size: it is proportional to a power of it."""
    for power in (0, 1, 2) if isinstance(one, int) else (0, -1, 1, -2, 2):
        if math.isclose(one * PROBES[0] ** -power, other * PROBES[1] ** -power, rel_tol=1e-14):
            if isinstance(one, int):
                return one * rows**power // PROBES[0] ** power
            return one * (rows / PROBES[0]) ** power
    raise Inseparable("a number that goes by the size of the batch")


def _separated(one: Program, other: Program) -> tuple[dict[int, int], list[list[int]]]:
    """What each value is, by its identity in the first program: the axis of its rows, or a sum over them; else neither.

    Returns:
        These kinds; and the sums that other stages need as a whole, by the index of their line, phase by phase.

    Raises:
        Inseparable: rows depend on one another.
    """
    if not _alike(one, other):
        raise Inseparable("other stages for another size")
    whole: set[int] = set()
    while True:
        count = len(whole)
        kinds = _kinds(one, other, whole)
        if len(whole) == count:
            break
    for x in one.outputs.values():
        if not isinstance(x, Value) and any(size in PROBES for size in np.shape(x)):
            raise Inseparable("an output that depends on nothing but the size of the batch")
    phases: dict[int, list[int]] = {}
    phase_of: dict[int, int] = {}
    for i, line in enumerate(one.lines):
        phase = max((phase_of.get(id(x), 0) for x in values_in((line.operands, line.keywords))), default=0)
        if i in whole:
            phases.setdefault(phase, []).append(i)
        for result in line.results:
            phase_of[id(result)] = phase + (i in whole)
    return kinds, [phases[phase] for phase in sorted(phases)]


def _kinds(one: Program, other: Program, whole: set[int]) -> dict[int, int]:
    """The kinds of values; a sum that is needed as a whole is added to those that are known to be."""
    kinds = {id(value): axis for name, value in one.inputs.items()
             if (axis := _axis(value, other.inputs[name])) is not None}
    made: dict[int, int] = {}
    for i, (line, same) in enumerate(zip(one.lines, other.lines, strict=True)):
        operands = list(values_in((line.operands, line.keywords)))
        sums = {id(x) for x in operands if kinds.get(id(x)) == SUM}
        axis = _axis(line.results[0], same.results[0]) if not line.several else None
        alone = all(id(x) in sums or id(x) not in kinds for x in operands)
        if sums and not (alone and axis is None and _is_linear(line, sums)):
            whole.update(made[x] for x in sums)
            return kinds
        if sums:
            kind: int | None = SUM
        elif not any(id(x) in kinds for x in operands):
            kind = axis  # what is the same in every row may be spread over them
        elif isinstance(line.function, Called) or line.several or any(values_in(line.keywords)):
            raise Inseparable(line.stage.kind)
        else:
            kind = _kind(line, axis, list(_by_row(line.operands, same.operands, kinds)))
        if kind is not None and i not in whole:
            kinds[id(line.results[0])] = kind
        made[id(line.results[0])] = i
    for _, check in one.checks:
        if kinds.get(id(check)) == SUM:
            whole.add(made[id(check)])
    return kinds


def _axis(one: Any, other: Any) -> int | None:
    """The axis of the rows, of a value or an array.

    Raises:
        Inseparable: there are several, or one for more than the rows.
    """
    differing = [i for i, pair in enumerate(zip(one.shape, other.shape, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return None
    if len(differing) > 1 or (one.shape[differing[0]], other.shape[differing[0]]) != PROBES:
        raise Inseparable("rows along several axes, or not alone along one")
    return differing[0]


class _Operand(NamedTuple):
    """An operand that goes by the rows, a value or an array, and the axis of its rows, counted from the last."""

    array: Any
    axis: int


def _by_row(operands: Sequence[Any], others: Sequence[Any], kinds: Mapping[int, int]) -> Iterator[_Operand]:
    """The operands of a line that go by the rows; `others` are those for another size of the batch."""
    for x, other in zip(operands, others, strict=True):
        if isinstance(x, tuple | list):
            yield from _by_row(x, other, kinds)
        elif id(x) in kinds:
            yield _Operand(x, kinds[id(x)] - x.ndim)
        elif isinstance(x, np.ndarray) and (axis := _axis(x, other)) is not None:
            yield _Operand(x, axis - x.ndim)


def _kind(line: Line, axis: int | None, rows: Sequence[_Operand]) -> int:
    """What a line makes of rows: the axis of its own, or a sum over them.

    Raises:
        Inseparable: it mixes them in another way, or it is not known how.
    """
    function = line.function
    if is_elementwise(function) or function in _ELEMENTWISE or function is np.broadcast_to:
        if axis is not None and all(x.axis == axis - line.results[0].ndim for x in rows):
            return axis
    elif function in _REDUCTIONS:
        (x,) = rows
        given = line.keywords.get("axis")
        reduced = range(-x.array.ndim, 0) if given is None else [a % x.array.ndim - x.array.ndim for a in (
            given if isinstance(given, tuple | list) else (given,))]
        if x.axis not in reduced and axis is not None:
            return axis
        if function is np.sum and axis is None:
            return SUM
    elif function is np.matmul:
        return _product(line, axis, rows)
    elif function is np.reshape:
        (x,) = rows
        if axis is not None and math.prod(x.array.shape[: x.axis]) == math.prod(line.results[0].shape[:axis]):
            return axis
    elif function in _REARRANGING and axis is not None:
        return axis
    raise Inseparable(f"{line.stage.kind}: {getattr(function, '__name__', '')}")


_ELEMENTWISE = (np.where, np.clip, np.astype, np.round)
_REDUCTIONS = (np.sum, np.max, np.min, np.prod, np.argmax, np.argmin, np.any, np.all)
_REARRANGING = (np.matrix_transpose, np.transpose, np.expand_dims, np.squeeze)
_LINEAR = (np.negative, np.astype, np.reshape, np.matrix_transpose, np.transpose, np.expand_dims, np.squeeze, np.sum)


def _is_linear(line: Line, sums: Collection[int]) -> bool:
    """Whether the sum of what a line makes of parts is what it makes of their sum."""
    function, summed = line.function, [id(x) in sums for x in line.operands]
    if function in (np.add, np.subtract):
        return all(summed)
    if function in (np.multiply, np.matmul):
        return sum(summed) == 1
    return (function is np.divide and summed == [True, False]) or (function in _LINEAR and summed[0])


def _product(line: Line, axis: int | None, rows: Sequence[_Operand]) -> int:
    """Of a matrix product: rows stay apart, or are what is summed over."""
    at = [next((row.axis for row in rows if row.array is x), None) for x in line.operands]
    inner = [-1, -2 if line.operands[1].ndim > 1 else -1]
    if axis is None and at == inner:
        return SUM
    if axis is not None and all(place != here for place, here in zip(at, inner, strict=True)) and (
            None in at or at[0] == at[1]):
        return axis
    raise Inseparable("matmul")
