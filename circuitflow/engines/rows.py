"""A circuit of scalars over the rows of columns: in blocks that stay in cache, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.buffers import allot, compiled, is_elementwise
from circuitflow.engines.columns import columns_in, in_blocks, new_columns
from circuitflow.engines.derived import Derived
from circuitflow.engines.native import is_there, jitted
from circuitflow.engines.program import Program, program
from circuitflow.engines.scalars import COMPILED, inlinable, number, writable, written
from circuitflow.engines.selection import with_products
from circuitflow.engines.source import Source
from circuitflow.engines.tape import is_scalar
from circuitflow.engines.trace import Called, Trace, Value
from circuitflow.errors import InputError, printable

BLOCK = 2**16
"""Rows of a block: a thread must have far more to do in a NumPy function than in getting Python's lock back, which may
take 50 µs. Measured on two cores, blocks of 2^14 rows take twice as long, those of 2^18 and more a fifth longer."""

LINES = 2000
"""Of more lines numba makes no loop: it goes over them by recursion."""

CACHE = 2**24
"""Bytes that the intermediate results of a block may take."""


class Rows:
    """A question to a circuit of scalars, asked of every row; safe to call from several threads at once.

    Attributes:
        fast: whether it is one compiled loop over the rows.
    """

    def __init__(self, derived: Derived, *, fast: bool | None = None) -> None:
        """Write the stages down.

        Args:
            derived: the question.
            fast: whether the loop is compiled by numba; by default where it is installed and knows all functions.

        Raises:
            InputError: not every node is a float64 or a truth value, or a gate is no function of numbers.
            MissingExtraError: numba is asked for, and not installed.
        """
        self._derived = derived
        nodes = derived.circuit.nodes
        types = {name: nodes[name].types[0] for name in derived.plan.sources}
        if not is_scalar(derived.plan, types.values()):
            raise InputError(f"circuit '{printable(derived.primal.name, 60)}' is not one of float64 scalars alone, as "
                             "columns of rows need it")
        samples = {name: np.ones((), type_.dtype)[()] for name, type_ in types.items()
                   if nodes[name].kind != "constant"}
        self._stages = program(derived.plan, samples, derived.circuit.values, _is_by_row)
        for line in self._stages.lines:
            if isinstance(line.function, Called):
                raise InputError(f"node '{line.stage.id}': {line.stage.kind} is no function of numbers that could be "
                                 "applied to every row")
        knows = len(self._stages.lines) <= LINES and all(writable(line.function) for line in self._stages.lines)
        self.fast = is_there() and knows if fast is None else fast
        self._outputs = [self._stages.outputs[ref] for ref in (*derived.values.values(), *derived.gradients.values())]
        self._made: dict[frozenset[str], Callable[..., None]] = {}

    def __call__(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Values and gradients of every row.

        Args:
            given: a column or, where every row has the same, a number by the name of an input or a parameter.

        Returns:
            The column of the output, or a dictionary of columns where there are several; and the gradients by name.

        Raises:
            InputError: an unknown name, a missing value, a wrong dtype, columns of different lengths, or none.
        """
        derived = self._derived
        found = columns_in(given, {name: derived.type_of(name) for name in derived.inputs})
        arrays = derived.bind(found.scalars)
        arrays |= {derived.inputs[name]: column for name, column in found.arrays.items()}
        columns = frozenset(name for name in self._stages.inputs if np.ndim(arrays[name]))
        if columns not in self._made:
            self._made[columns] = (_loop if self.fast else _blocks)(self._stages, self._outputs, columns)
        dtypes = [np.result_type(x.sample if isinstance(x, Value) else x) for x in self._outputs]
        results = new_columns(dtypes, found.rows)
        self._made[columns](arrays, results, found.rows)
        values = dict(zip(derived.values, results, strict=False))
        return derived.packed(values), dict(zip(derived.gradients, results[len(values) :], strict=True))


def _is_by_row(function: Callable[..., Any]) -> bool:
    """Whether a function of numbers is one of columns too, row by row."""
    return is_elementwise(function) or function in (np.where, np.clip, np.astype, np.round)


def _blocks(stages: Program, outputs: Sequence[Any], columns: frozenset[str]) -> Callable[..., None]:
    """NumPy over blocks, a thread for every core."""
    buffers = len(allot(_over(stages, outputs, columns, BLOCK)[0]).kinds)
    block = max(2**10, min(BLOCK, CACHE // (8 * (buffers + 1))))
    stages, outputs = _over(stages, outputs, columns, block)
    run = compiled(stages, outputs, range(len(outputs)))

    def call(arrays: Mapping[str, Any], results: Sequence[Any], rows: int) -> None:
        def work(part: slice) -> None:
            run({name: array[part] if name in columns else array for name, array in arrays.items()},
                [result[part] for result in results])

        in_blocks(work, rows, block)

    return call


def _over(stages: Program, outputs: Sequence[Any], columns: frozenset[str], rows: int) -> tuple[Program, list[Any]]:
    """The same lines over columns of so many rows, of which nothing is computed."""
    trace = Trace()

    def column(dtype: Any) -> Value:
        return Value(trace, np.broadcast_to(np.zeros((), dtype), rows))

    now: dict[int, Any] = {}
    inputs = {}
    for name, value in stages.inputs.items():
        inputs[name] = now[id(value)] = column(value.dtype) if name in columns else value
    lines = []
    for line in stages.lines:
        operands = tuple(now.get(id(x), x) for x in line.operands)
        (value,) = line.results
        varies = any(isinstance(x, Value) and x.shape for x in operands)
        now[id(value)] = column(value.dtype) if varies else value
        lines.append(line._replace(operands=operands, results=(now[id(value)],)))
    outputs_now = {text: now.get(id(x), x) for text, x in stages.outputs.items()}
    return (with_products(Program(inputs, lines, outputs_now)),
            [now.get(id(x), x) for x in outputs])


def _loop(stages: Program, outputs: Sequence[Any], columns: frozenset[str]) -> Callable[..., None]:
    """One compiled loop over the rows, from the inputs to the outputs of each without a stop in memory."""
    source = Source(stages)
    lines = [text for _, text in source.statements(lambda line, text: written(line, COMPILED, text), number, inlinable)]
    names = {name: source.name(value) for name, value in stages.inputs.items()}
    given = [f"c{i}" if name in columns else names[name] for i, name in enumerate(names)]
    loop = jitted("\n".join([
        f"def loop({', '.join(['start', 'stop', *given, *(f'r{i}' for i in range(len(outputs)))])}):",
        "    for i in range(start, stop):",
        *(f"        {names[name]} = get(c{i}, i)" for i, name in enumerate(names) if name in columns),
        *(f"        {line}" for line in lines),
        *(f"        put(r{i}, {i}, i, {source.text(x, number)})" for i, x in enumerate(outputs))]), over_rows=True)

    def call(arrays: Mapping[str, Any], results: Sequence[Any], rows: int) -> None:
        given = [arrays[name] if name in columns else arrays[name].item() for name in names]
        # To wake another thread takes as long as a few 10,000 rows; then there are enough blocks for all to share.
        block = min(2 * BLOCK, max(BLOCK // 4, rows // 8)) if rows > BLOCK // 2 else BLOCK
        in_blocks(lambda part: loop(part.start, min(part.stop, rows), *given, *results), rows, block)

    return call
