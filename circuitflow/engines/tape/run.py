"""Runs a circuit of scalars on its tape: for thousands to millions of gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from circuitflow.engines.columns import OverRows, in_blocks
from circuitflow.engines.contract import Backed, CompiledFunction
from circuitflow.engines.numba_loops import is_there
from circuitflow.engines.tape.layout import Tape, loop_of, tape
from circuitflow.engines.tape.loops import compile_passes, python_loops
from circuitflow.engines.thresholds import Thresholds
from circuitflow.gates import GateTable
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question

Loops = Callable[[np.ndarray[Any, Any], Any, Any], tuple[list[float], list[float]]]
"""From numbers in the first slots, and slots and numbers of upstream gradients, to values and gradients."""


class _Laid(CompiledFunction):
    """A question to a circuit of scalars, laid out on a tape."""

    def __init__(self, question: Question, thresholds: Thresholds, *, fast: bool) -> None:
        super().__init__(question, thresholds)
        question.need_scalars("a tape needs scalars, so choose another engine")
        plan = question.plan
        self._tape = tape(question, fast=fast)
        self._slots = self._tape.slots.tolist()
        self._value_slots = [self._slots[slot] for slot in plan.of.values()]
        self._gradient_slots = [self._slots[slot] for slot in plan.wrt.values()]

    def _seed_slots(self, seeds: Mapping[int, Any]) -> np.ndarray[Any, Any]:
        """The slots of upstream gradients."""
        return np.array([self._slots[slot] for slot in seeds], np.int64)


class Taped(_Laid, Backed):
    """Answers a question to a circuit of scalars by loops over its tape.

    Attributes:
        fast: whether its loops are compiled.
    """

    def __init__(self, question: Question, thresholds: Thresholds, *, fast: bool | None = None) -> None:
        """Lay out the tape; loops are compiled by numba if `fast`, by default where it is installed.

        Raises:
            InputError: not every node is a float64 or a truth value.
            Untaped: a gate cannot be written down as operations on floats.
            MissingExtraError: `fast` is true and numba is not installed.
        """
        self.options = {"fast": fast}
        self.fast = is_there() if fast is None else fast
        super().__init__(question, thresholds, fast=self.fast)
        how = "compiled" if self.fast else "in Python; `pip install 'circuitflow[fast]'` compiles it"
        self.way = f"tape, {how}"
        circuit, plan = question.circuit, question.plan
        run = (_loops_compiled if self.fast else _loops_in_python)(self._tape, circuit.gates, self._value_slots,
                                                                   self._gradient_slots)
        truths = [type_.dtype == "bool" for type_ in question.outputs.values()]

        def with_truths(*numbers: Any) -> Answer:
            values, gradients = run(*numbers)
            return [bool(x) if truth else x for x, truth in zip(values, truths, strict=True)], gradients

        self._run: Callable[..., Answer] = with_truths if any(truths) else run
        defaults = circuit.values
        self._at = {name: slot for slot, name in enumerate(plan.sources)}
        self._floats = frozenset(name for name, type_ in question.sources.items()
                                 if type_.dtype != "bool" and circuit.nodes[name].kind != "constant")
        self._defaults: tuple[Any, Any, Any] | None = None  # arguments of the loops, where everything has a default
        if defaults.keys() >= self._at.keys():
            self._defaults = self._numbers(*question.bind({}, {}))

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        if (self._defaults is None or upstream or not self._floats.issuperset(inputs)
                or not {*map(type, inputs.values())} <= {float}):
            return super().answer(inputs, upstream)
        start, seed_slots, seeds = self._defaults
        if inputs:
            start = start.copy()
            for name, value in inputs.items():
                start[self._at[name]] = value
        try:
            return self._run(start, seed_slots, seeds)
        except self.raises:
            return self.question.interpret(*self.question.bind(inputs, upstream))

    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        return self._run(*self._numbers(bound, seeds))

    def _numbers(self, bound: Bound, seeds: Mapping[int, Any]) -> tuple[Any, Any, Any]:
        """The arguments of the loops."""
        return (np.array([bound.arrays[name].item() for name in self._at]), self._seed_slots(seeds),
                np.array([*seeds.values()], float))


class TapedRows(_Laid, OverRows):
    """Answers a question to a circuit of scalars for every row, by compiled loops over its tape, on all cores."""

    way = "tape, compiled, over rows"

    def __init__(self, question: Question, thresholds: Thresholds) -> None:
        """Lay out the tape; arguments and errors are those of `Taped`."""
        super().__init__(question, thresholds, fast=True)
        self._loop = compile_passes(self._tape, question.circuit.gates, rows=True)
        self._size = len(self._tape.rows) - 1
        self._block = min(1024, max(16, thresholds.tape_bytes // (16 * self._size)))

    def fill(self, bound: Bound, seeds: Mapping[int, Any], results: Sequence[Any], rows: int) -> None:
        start, upstream = (_RowsOf(list(values)) for values in
                           ((bound.arrays[name] for name in self.question.plan.sources), seeds.values()))
        slots, tape = self._seed_slots(seeds), self._tape
        places = [*((0, slot) for slot in self._value_slots), *((1, slot) for slot in self._gradient_slots)]

        def work(part: slice) -> None:
            width = len(range(*part.indices(rows)))
            numbers, seeds_of_part = np.empty((2, self._size, width)), np.empty((len(seeds), width))
            start.write(numbers[0], part)
            upstream.write(seeds_of_part, part)
            self._loop(tape.runs, tape.rows, tape.operands, numbers, slots, seeds_of_part)
            for result, place in zip(results, places, strict=True):
                result[part] = numbers[place]

        in_blocks(work, rows, self._block)


class _RowsOf:
    """Numbers and columns; writes the values of some rows, one operand below the other."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._same = np.array([0.0 if x.ndim else x for x in values])[:, None]
        self._columns = [(i, x) for i, x in enumerate(values) if x.ndim]

    def write(self, place: Any, part: slice) -> None:
        place[: len(self._same)] = self._same
        for i, column in self._columns:
            place[i] = column[part]


def _loops_in_python(layout: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loops = [python_loops(layout, step, gates) for step in layout.operations]
    rows, operands = layout.rows.tolist(), layout.operands.tolist()
    ahead, back = [], []
    for (code, start, at), (_, stop, end) in pairwise(layout.runs.tolist()):
        step, slots, (forward, backward) = layout.operations[code], range(start, stop), loops[code]
        arity = len(step.operands)
        columns = ([[operands[rows[k] : rows[k + 1]] for k in slots]] if loop_of(step) else
                   [operands[at + i : end : arity] for i in range(arity)])
        ahead.append((forward, slots, columns))
        if step.receivers:
            back.append((backward, slots[::-1], [column[::-1] for column in columns]))
    back.reverse()
    size = len(layout.rows) - 1

    def run(start: np.ndarray[Any, Any], seed_slots: Any, seeds: Any) -> tuple[list[float], list[float]]:
        v = start.tolist()
        v += [0.0] * (size - len(v))
        for loop, slots, columns in ahead:
            loop(v, slots, *columns)
        d = [0.0] * size
        for slot, seed in zip(seed_slots.tolist(), seeds.tolist(), strict=True):
            d[slot] = seed
        for loop, slots, columns in back:
            loop(v, d, slots, *columns)
        return [v[slot] for slot in values], [d[slot] for slot in gradients]

    return run


def _loops_compiled(layout: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loop = compile_passes(layout, gates)
    pool: list[Any] = []
    runs, rows, operands = layout.runs, layout.rows, layout.operands
    shape, at_values, at_gradients = (2, len(layout.rows) - 1), np.asarray(values), np.asarray(gradients, np.int64)

    def run(start: np.ndarray[Any, Any], seed_slots: Any, seeds: Any) -> tuple[list[float], list[float]]:
        try:
            numbers = pool.pop()
        except IndexError:
            numbers = np.empty(shape)
        v, d = numbers
        v[: len(start)] = start
        loop(runs, rows, operands, numbers, seed_slots, seeds)
        results = v.take(at_values).tolist(), d.take(at_gradients).tolist()
        pool.append(numbers)
        return results

    return run
