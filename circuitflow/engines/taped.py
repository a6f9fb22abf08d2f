"""A circuit of scalars run on its tape: for thousands to millions of gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.columns import columns_in, in_blocks, new_columns
from circuitflow.engines.kernel import Python, compiled
from circuitflow.engines.native import is_there
from circuitflow.engines.tape import Tape, is_scalar, tape
from circuitflow.errors import InputError, printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import bind, upstream_gradients
from circuitflow.executor.interpreter import Interpreter
from circuitflow.gates import GateTable


class Seeds(NamedTuple):
    """The upstream gradients that the reverse sweep begins with, and their slots."""

    slots: np.ndarray[Any, np.dtype[np.int64]]
    numbers: np.ndarray[Any, np.dtype[np.float64]]


Loops = Callable[[np.ndarray[Any, Any], Seeds], tuple[list[float], list[float]]]
"""From the numbers in the first slots, and the upstream gradients, to values and gradients."""


class _Question:
    """A question to a circuit of scalars, laid out on a tape."""

    def __init__(self, interpreter: Interpreter, of: Sequence[str] | None, wrt: Sequence[str] | None, *,
                 fast: bool) -> None:
        self._interpreter, self._of, self._wrt = interpreter, of, wrt
        self._circuit, self._plan = interpreter.circuit, interpreter.plan(of, wrt)
        plan, nodes, known = self._plan, self._circuit.nodes, self._circuit.values
        self._types = {name: nodes[name].types[0] for name in plan.sources}
        if not is_scalar(plan, self._types.values()):
            raise InputError(f"circuit '{printable(self._circuit.name, 60)}' is not one of float64 scalars alone, as a "
                             "tape needs it; choose another engine")
        self._tape = tape(plan, {name: type_.dtype == "bool" for name, type_ in self._types.items()}, fast=fast)
        self._slots = self._tape.slots.tolist()
        self._value_slots = [self._slots[slot] for slot in plan.of.values()]
        self._gradient_slots = [self._slots[slot] for slot in plan.wrt.values()]
        self._at = {name: slot for slot, name in enumerate(plan.sources)}
        self._defaults = np.array([known[name].item() if name in known else np.nan for name in self._at])
        outputs = [output for output in map(self._circuit.find, plan.of) if output]
        self._truths = [self._circuit.type_of(output).dtype == "bool" for output in outputs]
        self._upstream_names = {f"d{text}": text for text in plan.of if text in self._circuit.upstream}
        self._seeds = self._upstream({})

    def _bound(self, given: Mapping[str, Any]) -> tuple[list[float], Seeds]:
        """The numbers in the first slots, and the upstream gradients, with the errors of the interpreter."""
        inputs, upstream = self._parted(given)
        library = Library.of({f"'{printable(name, 60)}'": value for name, value in given.items()})
        arrays = bind(self._circuit, self._plan, library, inputs).arrays
        return [arrays[name].item() for name in self._at], self._upstream(upstream)

    def _parted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        names = self._upstream_names
        return ({name: value for name, value in given.items() if name not in names},
                {names[name]: value for name, value in given.items() if name in names})

    def _upstream(self, given: Mapping[str, Any]) -> Seeds:
        seeds = upstream_gradients(self._circuit, self._plan, Library.of(given), {}, given, explicit=False)
        return Seeds(np.array([self._slots[slot] for slot in seeds], np.int64),
                     np.array([seed.item() for seed in seeds.values()], float))

    def _interpreted(self, given: Mapping[str, Any]) -> tuple[list[Any], list[float]]:
        inputs, upstream = self._parted(given)
        result = self._interpreter.run(inputs, of=self._of, wrt=self._wrt, upstream=upstream)
        return ([value.item() for value in result.outputs.values()],
                [result.gradients[name].item() for name in self._plan.wrt])

    def _packed(self, values: Sequence[Any], gradients: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        return (values[0] if len(values) == 1 else dict(zip(self._plan.of, values, strict=True)),
                dict(zip(self._plan.wrt, gradients, strict=True)))


class Taped(_Question):
    """A question to a circuit of scalars, as a function; safe to call from several threads at once.

    Attributes:
        fast: whether its loops are compiled.
    """

    def __init__(self, interpreter: Interpreter, of: Sequence[str] | None, wrt: Sequence[str] | None, *,
                 fast: bool | None = None) -> None:
        """Lay out the tape.

        Args:
            interpreter: of the circuit.
            of: the outputs.
            wrt: what to differentiate by.
            fast: whether loops are compiled by numba; by default where it is installed.

        Raises:
            InputError: not every node is a float64 or a truth value.
            Untaped: a gate cannot be written down as operations on floats.
            MissingExtraError: numba is asked for, and not installed.
        """
        self.fast = is_there() if fast is None else fast
        super().__init__(interpreter, of, wrt, fast=self.fast)
        self._run = (_compiled if self.fast else _in_python)(self._tape, self._circuit.gates, self._value_slots,
                                                             self._gradient_slots)
        self._missing = frozenset(name for name in self._at if name not in self._circuit.values)
        self._floats = frozenset(name for name, type_ in self._types.items()
                                 if type_.dtype != "bool" and self._circuit.nodes[name].kind != "constant")
        self._some_truths = any(self._truths)

    def __call__(self, **given: Any) -> tuple[Any, dict[str, float]]:
        """Value and gradients."""
        start, seeds = self._defaults, self._seeds
        if given or self._missing:
            start = start.copy()
            if (self._floats.issuperset(given) and self._missing.issubset(given)
                    and {*map(type, given.values())} <= {float}):
                for name, value in given.items():
                    start[self._at[name]] = value
            else:
                start[:], seeds = self._bound(given)
        try:
            values, gradients = self._run(start, seeds)
        except (ArithmeticError, ValueError):  # functions of Python raise where those of NumPy give an infinity or NaN
            values, gradients = self._interpreted(given)
        if self._some_truths:
            values = [bool(value) if truth else value for value, truth in zip(values, self._truths, strict=True)]
        return self._packed(values, gradients)


class TapedRows(_Question):
    """A question to a circuit of scalars, asked of every row; its loops are compiled, and run on all cores."""

    CACHE = 2**20
    """Bytes that the values and gradients of a block of rows may take, as long as it has a few."""

    def __init__(self, interpreter: Interpreter, of: Sequence[str] | None, wrt: Sequence[str] | None) -> None:
        """Lay out the tape; arguments and errors are those of `Taped`."""
        super().__init__(interpreter, of, wrt, fast=True)
        self._loop = compiled(self._tape.operations, self._circuit.gates, rows=True)
        self._size = len(self._tape.rows) - 1
        self._block = min(1024, max(16, self.CACHE // (16 * self._size)))

    def __call__(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Values and gradients of every row; arguments and errors are those of `Rows`."""
        types = {name: self._circuit.type_of(output) for name, text in self._upstream_names.items()
                 if (output := self._circuit.find(text))}
        found = columns_in(given, {**self._types, **types})
        start, seeds = self._bound(found.scalars)
        columns = {self._at[name]: column for name, column in found.arrays.items() if name in self._at}
        seeded = dict(zip(seeds.slots.tolist(), seeds.numbers, strict=True))
        for name, column in found.arrays.items():
            if name in self._upstream_names:
                seeded[self._slots[self._plan.of[self._upstream_names[name]]]] = column
        columns_out = new_columns([*(bool if truth else float for truth in self._truths),
                                   *(float for _ in self._gradient_slots)], found.rows)
        values, gradients = columns_out[: len(self._truths)], columns_out[len(self._truths) :]
        tape = self._tape

        def work(rows: slice) -> None:
            width = len(range(*rows.indices(found.rows)))
            numbers = np.empty((2, self._size, width))
            v, d = numbers
            v[: len(start)] = np.asarray(start)[:, None]
            for slot, column in columns.items():
                v[slot] = column[rows]
            upstream = np.empty((len(seeded), width))
            for i, seed in enumerate(seeded.values()):
                upstream[i] = seed[rows] if np.ndim(seed) else seed
            self._loop(tape.runs, tape.rows, tape.operands, numbers, seeds.slots, upstream)
            for results, slots, found_here in ((values, self._value_slots, v), (gradients, self._gradient_slots, d)):
                for result, slot in zip(results, slots, strict=True):
                    result[rows] = found_here[slot]

        in_blocks(work, found.rows, self._block)
        return self._packed(values, gradients)


def _in_python(laid: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loops = Python(laid.operations, gates)
    rows, operands = laid.rows.tolist(), laid.operands.tolist()
    ahead, back = [], []
    for (code, start, at), (_, stop, end) in pairwise(laid.runs.tolist()):
        operation, slots = laid.operations[code], range(start, stop)
        arity = len(operation.truths)
        columns = ([operands[at + i : end : arity] for i in range(arity)] if arity else
                   [[operands[rows[k] : rows[k + 1]] for k in slots]])
        ahead.append((loops.forward[code], slots, columns))
        if operation.wanted:
            back.append((loops.backward[code], slots[::-1], [column[::-1] for column in columns]))
    back.reverse()
    size = len(laid.rows) - 1

    def run(start: np.ndarray[Any, Any], seeds: Seeds) -> tuple[list[float], list[float]]:
        v = start.tolist()
        v += [0.0] * (size - len(v))
        for loop, slots, columns in ahead:
            loop(v, slots, *columns)
        d = [0.0] * size
        for slot, seed in zip(seeds.slots.tolist(), seeds.numbers.tolist(), strict=True):
            d[slot] = seed
        for loop, slots, columns in back:
            loop(v, d, slots, *columns)
        return [v[slot] for slot in values], [d[slot] for slot in gradients]

    return run


def _compiled(laid: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loop = compiled(laid.operations, gates)
    pool: list[Any] = []
    runs, rows, operands = laid.runs, laid.rows, laid.operands
    shape, at_values, at_gradients = (2, len(laid.rows) - 1), np.asarray(values), np.asarray(gradients, np.int64)

    def run(start: np.ndarray[Any, Any], seeds: Seeds) -> tuple[list[float], list[float]]:
        try:
            numbers = pool.pop()
        except IndexError:
            numbers = np.empty(shape)
        v, d = numbers
        v[: len(start)] = start
        loop(runs, rows, operands, numbers, seeds.slots, seeds.numbers)
        found = v.take(at_values).tolist(), d.take(at_gradients).tolist()
        pool.append(numbers)
        return found

    return run
