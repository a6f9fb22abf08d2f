"""Staged code of arrays: straight-line NumPy that writes intermediate results into buffers used again.

The plan follows from what functions are known to do (`functions.is_fresh`), never from what they did on samples:
whether `reshape` gives a view depends on the order of its operand in memory. So the order of an input or a result in
memory makes no difference. These invariants hold of every plan, and the tests check them on every program that they
make (`tests/support/memory_plans.py`):

1. A value may lie in the memory of each operand of its line, unless the line's function is fresh. Its *roots* are the
   fresh values in whose memory it may lie.
2. Only a fresh value lies in a buffer, and only one that is no root of an output: what a caller gets is never ours.
3. A buffer is written only when no later line reads a value whose root lies in it.
4. A line that goes element by element may write over operands that it is the last to read: NumPy computes overlapping
   operands as if they did not overlap. Other lines write into memory that no operand lies in.
5. Inputs and constants are never written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.program.functions import is_elementwise, is_fresh, is_weak_beside
from circuitflow.engines.program.fusing import OWN
from circuitflow.engines.program.program import Program
from circuitflow.engines.program.source import Statements, define, is_number, literal
from circuitflow.engines.program.trace import Line, RuleCall, Value, values_in
from circuitflow.gates.shapes import Shape, axis_of

Kind = tuple[Shape, np.dtype[Any]]


class Buffers(NamedTuple):
    """Where lines write their results.

    Attributes:
        kinds: shape and dtype of every buffer.
        of: the buffer that a value is written into, by identity.
    """

    kinds: Sequence[Kind]
    of: Mapping[int, int]

    def row_bytes(self) -> int:
        """Bytes that a row takes in them, where they have rows."""
        return sum(dtype.itemsize * math.prod(shape_for(shape, 1)) for shape, dtype in self.kinds)


def shape_for(shape: Shape, rows: int) -> tuple[int, ...]:
    """A shape whose named sizes are all so many rows."""
    return tuple(size if isinstance(size, int) else rows for size in shape)


def roots(program: Program) -> dict[int, frozenset[int]]:
    """The fresh values in whose memory each result may lie, by identity; those of inputs and constants are empty."""
    roots_of: dict[int, frozenset[int]] = {}
    for line in program.lines:
        fresh = is_fresh(line.function) or line.function in OWN
        below = frozenset[int]().union(*(roots_of.get(id(x), ()) for x in line.reads))
        for result in line.results:
            roots_of[id(result)] = frozenset({id(result)}) if fresh else below
    return roots_of


def allot(program: Program) -> Buffers:
    """A buffer for every result that can have one."""
    memory = roots(program)
    lasting = frozenset[int]().union(*(memory.get(id(x), ()) for x in values_in(list(program.outputs.values()))))
    last: dict[int, int] = {}
    for position, line in enumerate(program.lines):
        for x in (*line.reads, *line.results):
            last.update(dict.fromkeys(memory.get(id(x), ()), position))
    ending: dict[int, list[int]] = {}
    for root, position in last.items():
        ending.setdefault(position, []).append(root)
    kinds: list[Kind] = []
    of: dict[int, int] = {}
    free: dict[Kind, list[int]] = {}

    def release(values: Sequence[int]) -> None:
        for root in values:
            free.setdefault(kinds[of[root]], []).append(of[root])

    for position, line in enumerate(program.lines):
        ended = [root for root in ending.get(position, ()) if root in of]
        result = line.results[0]
        takes = writes_into(line) and id(result) not in lasting
        if takes and is_elementwise(line.function):
            release(ended)
            ended = []
        if takes:
            kind = result.shape, result.dtype
            if not free.get(kind):
                free.setdefault(kind, []).append(len(kinds))
                kinds.append(kind)
            of[id(result)] = free[kind].pop()
        release(ended)
    return Buffers(kinds, of)


def writes_into(line: Line) -> bool:
    """Whether a line can write its result into an array that is there already."""
    return line.function in OWN or (isinstance(line.function, np.ufunc) and len(line.results) == 1
                                    and line.results[0].shape != ())


class ArrayCode:
    """A program as a function of arrays; safe to call from several threads at once.

    Attributes:
        program: what it does.
        buffers: where it writes intermediate results.
    """

    SIZES = 4
    """Number of block sizes whose buffers are kept."""

    def __init__(self, program: Program, into: Sequence[Any] = ()) -> None:
        """Compile; `into` has the keys of outputs that a call writes into arrays of the caller's."""
        self.program = program
        self.buffers = allot(program)
        # A literal is weak: it takes the dtype of the arrays beside it.
        source = Statements(program, lambda x: literal(np.asarray(x).item()))
        targets = {value: f"buffers[{i}]" for value, i in self.buffers.of.items()}
        places = {key: f"results[{i}]" for i, key in enumerate(into)}
        first = {id(program.outputs[key]): place for key, place in reversed(places.items())}
        targets |= {id(line.results[0]): first[id(line.results[0])] for line in program.lines
                    if id(line.results[0]) in first and writes_into(line)}
        lines = [text for _, text in source.texts(
            lambda line, text: _right(source, targets.get(id(line.results[0])), line, text))]
        texts = {key: source.name(x) if isinstance(x, Value) else source.bind(np.asarray(x), "k")
                 for key, x in program.outputs.items()}
        lines += [f"{place}[...] = {texts[key]}" for key, place in places.items()
                  if targets.get(id(program.outputs[key])) != place]
        new = ", ".join(f"{source.bind(key, 'k')}: {text}" for key, text in texts.items() if key not in into)
        body = ["def stages(inputs, buffers, results, block, whole):",
                *(f"    {source.name(value)} = inputs[{source.bind(name, 'k')}]"
                  for name, value in program.inputs.items()),
                *(f"    {line}" for line in lines),
                f"    return {{{new}}}"]
        self._run = define("\n".join(body), source.bound)
        self._free: dict[int, list[list[Any]]] = {}

    def __call__(self, arrays: Mapping[Any, Any], results: Sequence[Any] = (), *, block: int = 0,
                 whole: int = 0) -> dict[Any, Any]:
        """The outputs by key, except those written into `results`; of `block` rows out of the `whole`, if any."""
        if block not in self._free and len(self._free) >= self.SIZES:
            self._free.clear()
        free = self._free.setdefault(block, [])
        try:
            buffers = free.pop()
        except IndexError:
            buffers = [np.empty(shape_for(shape, block), dtype) for shape, dtype in self.buffers.kinds]
        with np.errstate(all="ignore"):
            answer: dict[Any, Any] = self._run(arrays, buffers, results, block, whole)
        free.append(buffers)
        return answer


def _right(source: Statements, target: str | None, line: Line, text: Callable[[Any], str]) -> str:
    """A call; `target` is where it writes its result."""
    function, operands = line.function, line.operands
    if function is np.expand_dims:  # an index takes a fifth of the time
        axis = axis_of(line.keywords["axis"], len(line.results[0].shape))
        return f"{text(operands[0])}[{source.bind((slice(None),) * axis + (None,), 'k')}]"
    is_weak = is_weak_beside(function) or function in OWN
    beside = {x.dtype for x in operands if is_weak and isinstance(x, Value)}
    arguments = [text(x) if not isinstance(x, np.generic | np.ndarray) or (x.dtype in beside and is_number(x) and
                                                                           not isinstance(function, RuleCall))
                 else source.bind(x, "k") for x in operands]
    arguments += [f"{name}={text(x)}" for name, x in line.keywords.items()]
    return f"{source.bind(function, 'f')}({', '.join(arguments + ([f'out={target}'] if target else []))})"
