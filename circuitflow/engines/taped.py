"""A circuit of scalars run on its tape: for thousands to millions of gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from circuitflow.engines.kernel import Python, compiled
from circuitflow.engines.tape import Tape, is_scalar, tape
from circuitflow.errors import InputError, printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import bind, upstream_gradients
from circuitflow.executor.interpreter import Interpreter
from circuitflow.gates import GateTable

Loops = Callable[[np.ndarray[Any, Any], Mapping[int, float]], tuple[list[float], list[float]]]
"""From the numbers in the first slots, and the upstream gradients by slot, to values and gradients."""


class Taped:
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
        self._interpreter, self._of, self._wrt = interpreter, of, wrt
        self._circuit, self._plan = interpreter.circuit, interpreter.plan(of, wrt)
        types = {name: self._circuit.nodes[name].types[0] for name in self._plan.sources}
        if not is_scalar(self._plan, types.values()):
            raise InputError(f"circuit '{printable(self._circuit.name, 60)}' is not one of float64 scalars alone, as a "
                             "tape needs it; choose another engine")
        self._truths = {name: type_.dtype == "bool" for name, type_ in types.items()}
        laid = tape(self._plan, self._truths)
        self.fast = find_spec("numba") is not None if fast is None else fast
        self._slots = laid.slots.tolist()
        self._at = {name: slot for slot, name in enumerate(self._plan.sources)}
        known = self._circuit.values
        self._defaults = np.array([known[name].item() if name in known else np.nan for name in self._at])
        self._missing = frozenset(name for name in self._at if name not in known)
        self._floats = frozenset(name for name, truth in self._truths.items()
                                 if not truth and self._circuit.nodes[name].kind != "constant")
        self._of_truths = [self._circuit.type_of(output).dtype == "bool" for output in
                           map(self._circuit.find, self._plan.of) if output]
        self._some_truths = any(self._of_truths)
        self._seeds = self._upstream({})
        self._upstream_names = {f"d{text}": text for text in self._plan.of if text in self._circuit.upstream}
        self._run = (_compiled if self.fast else _in_python)(
            laid, self._circuit.gates, [self._slots[slot] for slot in self._plan.of.values()],
            [self._slots[slot] for slot in self._plan.wrt.values()])

    def __call__(self, **given: Any) -> tuple[Any, dict[str, float]]:
        """Value and gradients."""
        start = self._defaults.copy()
        seeds: Mapping[int, float] = self._seeds
        if self._floats.issuperset(given) and {*map(type, given.values())} <= {float} and self._missing.issubset(given):
            for name, value in given.items():
                start[self._at[name]] = value
        else:
            start[:], seeds = self._bound(given)
        try:
            values, gradients = self._run(start, seeds)
        except (ArithmeticError, ValueError):  # functions of Python raise where those of NumPy give an infinity or NaN
            values, gradients = self._interpreted(given)
        if self._some_truths:
            values = [bool(value) if truth else value for value, truth in zip(values, self._of_truths, strict=True)]
        return (values[0] if len(values) == 1 else dict(zip(self._plan.of, values, strict=True)),
                dict(zip(self._plan.wrt, gradients, strict=True)))

    def _bound(self, given: Mapping[str, Any]) -> tuple[list[float], Mapping[int, float]]:
        """The numbers in the first slots, and the upstream gradients, with the errors of the interpreter."""
        inputs, upstream = self._parted(given)
        library = Library.of({f"'{printable(name, 60)}'": value for name, value in given.items()})
        arrays = bind(self._circuit, self._plan, library, inputs).arrays
        return [arrays[name].item() for name in self._at], self._upstream(upstream)

    def _parted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        names = self._upstream_names
        return ({name: value for name, value in given.items() if name not in names},
                {names[name]: value for name, value in given.items() if name in names})

    def _upstream(self, given: Mapping[str, Any]) -> dict[int, float]:
        seeds = upstream_gradients(self._circuit, self._plan, Library.of(given), {}, given, explicit=False)
        return {self._slots[slot]: seed.item() for slot, seed in seeds.items()}

    def _interpreted(self, given: Mapping[str, Any]) -> tuple[list[Any], list[float]]:
        inputs, upstream = self._parted(given)
        result = self._interpreter.run(inputs, of=self._of, wrt=self._wrt, upstream=upstream)
        return ([value.item() for value in result.outputs.values()],
                [result.gradients[name].item() for name in self._plan.wrt])


def _in_python(laid: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loops = Python(laid.operations, gates)
    rows, operands = laid.rows.tolist(), laid.operands.tolist()
    ahead, back = [], []
    for code, start, stop in laid.runs.tolist():
        operation, slots = laid.operations[code], range(start, stop)
        arity = len(operation.truths)
        columns = ([operands[rows[start] + i : rows[stop] : arity] for i in range(arity)] if arity else
                   [[operands[rows[k] : rows[k + 1]] for k in slots]])
        ahead.append((loops.forward[code], slots, columns))
        if operation.wanted:
            back.append((loops.backward[code], slots, columns))
    back.reverse()
    size = len(laid.rows) - 1

    def run(start: np.ndarray[Any, Any], seeds: Mapping[int, float]) -> tuple[list[float], list[float]]:
        v = start.tolist()
        v += [0.0] * (size - len(v))
        for loop, slots, columns in ahead:
            loop(v, slots, *columns)
        d = [0.0] * size
        for slot, seed in seeds.items():
            d[slot] = seed
        for loop, slots, columns in back:
            loop(v, d, slots, *columns)
        return [v[slot] for slot in values], [d[slot] for slot in gradients]

    return run


def _compiled(laid: Tape, gates: GateTable, values: Sequence[int], gradients: Sequence[int]) -> Loops:
    loops = compiled(laid.operations, gates)
    pool: list[tuple[Any, Any]] = []
    size, at_values, at_gradients = len(laid.rows) - 1, np.asarray(values), np.asarray(gradients, np.int64)

    def run(start: np.ndarray[Any, Any], seeds: Mapping[int, float]) -> tuple[list[float], list[float]]:
        try:
            v, d = pool.pop()
        except IndexError:
            v, d = np.empty(size), np.empty(size)
        v[: len(start)] = start
        loops.forward(laid.runs, laid.rows, laid.operands, v)
        d.fill(0.0)
        for slot, seed in seeds.items():
            d[slot] = seed
        loops.backward(laid.runs, laid.rows, laid.operands, v, d)
        found = v[at_values].tolist(), d[at_gradients].tolist()
        pool.append((v, d))
        return found

    return run
