"""Runs a circuit of scalars over the rows of columns, on all cores: in blocks that stay in cache, or in one loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from circuitflow.engines.columns import OverRows, in_blocks
from circuitflow.engines.numba_loops import is_there, jitted
from circuitflow.engines.program.dialects import COMPILED, writable
from circuitflow.engines.program.functions import BY_ELEMENT, is_elementwise
from circuitflow.engines.program.fusing import branch_free
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.trace import Line, RuleCall, Trace, Value
from circuitflow.engines.staged.blocks import Blocks, rows_of_block
from circuitflow.engines.staged.derived import Derived, OfDerived
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import InputError
from circuitflow.gates.shapes import Size
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Question

Fill = Callable[[Mapping[str, Any], Sequence[Any], int], None]
"""Fills in columns of results; takes arrays by id, the columns, and the number of rows."""

FEWEST = 2**10
"""Smallest block of rows, unless `column_rows` is smaller."""


class Rows(OfDerived, OverRows):
    """Answers a question to a circuit of scalars for every row, by staged code.

    Attributes:
        fast: whether it is one compiled loop over the rows.
    """

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None, *,
                 fast: bool | None = None) -> None:
        """Write the stages down; `fast` as for `Taped`, by default where numba knows all functions.

        Raises:
            InputError: not every node is a float64 or a truth value, or a gate is no function of numbers.
        """
        question.need_scalars("columns of rows need scalars, so choose the engine jax, which takes arrays")
        super().__init__(question, thresholds, derived)
        derived = self.derived
        stages = trace_program(derived.plan, derived.zeros(), derived.circuit.values, _is_by_row)
        for line in stages.lines:
            if isinstance(line.function, RuleCall):
                raise InputError(f"node '{line.stage.id}': {line.stage.kind} cannot be applied row by row")
        self._stages = stages.with_outputs(derived.results)
        lines = self._stages.lines
        can_loop = is_there() and len(lines) <= thresholds.looped_lines and all(map(writable, lines))
        self.options = {"fast": fast}
        self.fast = can_loop if fast is None else fast
        self.way = f"staged, {'compiled' if self.fast else 'in blocks'}, over rows"
        self._fills: dict[frozenset[str], Fill] = {}

    def fill(self, bound: Bound, seeds: Mapping[int, Any], results: Sequence[Any], rows: int) -> None:
        arrays = self.derived.arrays(bound, seeds)
        varying = frozenset(name for name, array in arrays.items() if array.ndim)
        if varying not in self._fills:
            self._fills[varying] = (_loop if self.fast else _in_blocks)(self._stages, varying, self.thresholds)
        self._fills[varying](arrays, results, rows)


def _is_by_row(line: Line) -> bool:
    """Whether a line of numbers is right for columns too, row by row."""
    return is_elementwise(line.function) or line.function in BY_ELEMENT


def _in_blocks(stages: Program, columns: frozenset[str], thresholds: Thresholds) -> Fill:
    """NumPy over blocks that stay in cache, a thread for every core."""
    program = branch_free(_over(stages, columns), thresholds.selected_size)
    blocks = Blocks(program, rows_of_block(program, thresholds, FEWEST))

    def fill(arrays: Mapping[str, Any], results: Sequence[Any], rows: int) -> None:
        for i, value in blocks.fill(arrays, results, rows).items():
            results[i][...] = value

    return fill


def _over(stages: Program, columns: frozenset[str]) -> Program:
    """The same lines over columns of any length; computes nothing.

    A trace of columns would have a column for every number that a rule makes like its operand.
    """
    trace, shape = Trace(), (Size.named("rows"),)
    now: dict[int, Any] = {}
    inputs = {}
    for name, value in stages.inputs.items():
        inputs[name] = now[id(value)] = Value(trace, shape, value.dtype) if name in columns else value
    lines = []
    for line in stages.lines:
        operands = tuple(now.get(id(x), x) for x in line.operands)
        (value,) = line.results
        varies = any(isinstance(x, Value) and x.shape for x in operands)
        now[id(value)] = Value(trace, shape, value.dtype) if varies else value
        lines.append(line._replace(operands=operands, results=(now[id(value)],)))
    return Program(inputs, lines, {text: now.get(id(x), x) for text, x in stages.outputs.items()})


def _loop(stages: Program, columns: frozenset[str], thresholds: Thresholds) -> Fill:
    """One compiled loop over the rows; intermediate results stay in registers."""
    source, lines = COMPILED.statements(stages)
    names = {name: source.name(value) for name, value in stages.inputs.items()}
    arguments = [f"c{i}" if name in columns else names[name] for i, name in enumerate(names)]
    outputs = list(stages.outputs.values())
    loop = jitted("\n".join([
        f"def loop({', '.join(['start', 'stop', *arguments, *(f'r{i}' for i in range(len(outputs)))])}):",
        "    for i in range(start, stop):",
        *(f"        {names[name]} = get(c{i}, i)" for i, name in enumerate(names) if name in columns),
        *(f"        {line}" for line in lines),
        *(f"        put(r{i}, {i}, i, {source.text(x)})" for i, x in enumerate(outputs))]), over_rows=True)

    most = thresholds.column_rows

    def call(arrays: Mapping[str, Any], results: Sequence[Any], rows: int) -> None:
        arguments = [arrays[name] if name in columns else arrays[name].item() for name in names]
        # To wake another thread takes as long as a few 10,000 rows; then there are enough blocks for all to share.
        block = min(2 * most, max(1, most // 4, rows // 8)) if rows > most // 2 else most
        in_blocks(lambda part: loop(part.start, min(part.stop, rows), *arguments, *results), rows, block)

    return call
