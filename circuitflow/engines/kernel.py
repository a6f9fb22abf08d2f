"""The loops over a tape, made of the gate table: a body for each operation, forward and back.

The same text is compiled by numba, where the extra `fast` is installed, or run by Python over lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.native import jitted
from circuitflow.engines.program import Program, needed
from circuitflow.engines.scalars import COMPILED, FORMS, NAMES, inlinable, number, writable, written
from circuitflow.engines.source import Source, function
from circuitflow.engines.tape import Operation
from circuitflow.engines.trace import NUMPY, Trace, Value
from circuitflow.executor.vocabulary import Vocabulary
from circuitflow.gates import GateTable


class Untaped(TypeError):  # noqa: N818
    """A gate has no body of floats."""


class Body(NamedTuple):
    """What a loop does at one gate, in terms of x0, x1 and so on, the value y and the gradient g.

    Attributes:
        lines: statements.
        results: the value; or the contribution to each operand, "" for none.
        reads: the names that are read.
    """

    lines: Sequence[str]
    results: Sequence[str]
    reads: frozenset[str]


def bodies(operation: Operation, gates: GateTable, forms: dict[str, str]) -> tuple[Body, Body]:
    """Forward and backward body of an operation.

    Raises:
        Untaped: a rule does what floats cannot.
    """
    gate, attributes = gates[operation.kind], dict(operation.attributes)

    def operands(trace: Trace) -> dict[str, Value]:
        return {f"x{i}": Value.like(trace, _sample(truth)) for i, truth in enumerate(operation.truths)}

    try:
        trace = Trace(writable)
        xs = operands(trace)
        with np.errstate(all="ignore"):
            out = gate.forward(NUMPY, *xs.values(), **attributes)
        forward = _body(trace, xs, [out], forms)
        trace = Trace(writable)
        xs = operands(trace)
        given = {"g": Value.like(trace, _sample(False)), "y": Value.like(trace, _sample(operation.truth))}
        sent: Sequence[Any] = ()
        if operation.wanted:
            with np.errstate(all="ignore"):
                sent = gate.contributions(Vocabulary(NUMPY, gates), given["g"], given["y"], list(xs.values()),
                                          operation.wanted, attributes)
        sent = [x if want else None for x, want in zip(sent, operation.wanted, strict=False)]
        return forward, _body(trace, xs | given, sent, forms)
    except (TypeError, AttributeError):
        raise Untaped(operation.kind) from None


def _sample(truth: bool) -> Any:
    return np.bool_(False) if truth else np.float64(0)


def _body(trace: Trace, given: dict[str, Value], results: Sequence[Any], forms: dict[str, str]) -> Body:
    names = {id(value): name for name, value in given.items()}
    outputs = {str(i): x for i, x in enumerate(results) if x is not None}
    program = Program(dict(given), needed(trace.lines, outputs), outputs)
    source = Source(program, lambda value, position: names.get(id(value)) or f"t{position}")
    lines = [text for _, text in source.statements(lambda line, text: written(line, forms, text), number, inlinable)]
    texts = [source.text(x, number) if x is not None else "" for x in results]
    uses = program.uses()
    return Body(lines, texts, frozenset(name for name, value in given.items() if id(value) in uses))


class Python:
    """The loops in Python, over lists: a function forward and one back for each operation.

    Attributes:
        forward: for each operation; takes the values, the slots of the results, and a list of slots for each operand,
            or for each gate where there are any number of operands.
        backward: likewise, with the gradients after the values, and all lists from their ends.
    """

    def __init__(self, operations: Sequence[Operation], gates: GateTable) -> None:
        pairs = [_pair(operation, gates) for operation in operations]
        self.forward = [function(text, {**NAMES, **_BUILTINS}, (), {}) for text, _ in pairs]
        self.backward = [function(text, {**NAMES, **_BUILTINS}, (), {}) for _, text in pairs]


_BUILTINS = {"zip": zip, "range": range, "len": len}


def _pair(operation: Operation, gates: GateTable) -> tuple[str, str]:
    if operation.loop:
        forward, backward = _many(operation)
        return (_python("v, results, operands", "k, slots in zip(results, operands)", forward),
                _python("v, d, results, operands", "k, slots in zip(results, operands)", backward))
    columns = ", ".join(f"c{i}" for i in range(len(operation.truths)))
    each = ", ".join(f"i{i}" for i in range(len(operation.truths)))
    ahead, back = bodies(operation, gates, FORMS)
    loop = f"k, {each} in zip(results, {columns})"
    return (_python(f"v, results, {columns}", loop, _forward(operation, ahead)),
            _python(f"v, d, results, {columns}", loop, _backward(operation, back)))


def _python(parameters: str, loop: str, body: Sequence[str]) -> str:
    return "\n".join([f"def loop({parameters}):", f"    for {loop}:",
                      *(f"        {line}" for line in body or ["pass"])])


def _loads(operation: Operation, reads: frozenset[str], row: str) -> list[str]:
    return [f"x{i} = v[i{i}{row}]{' != 0.0' if truth else ''}" for i, truth in enumerate(operation.truths)
            if f"x{i}" in reads]


def _forward(operation: Operation, body: Body, row: str = "") -> list[str]:
    """Statements; `row` is the second index, where there are rows."""
    result = f"1.0 if {body.results[0]} else 0.0" if operation.truth else body.results[0]
    return [*_loads(operation, body.reads, row), *body.lines, f"v[k{row}] = {result}"]


def _backward(operation: Operation, body: Body, row: str = "") -> list[str]:
    given = {"g": f"g = d[k{row}]", "y": f"y = v[k{row}]"}
    return [*(text for name, text in given.items() if name in body.reads), *_loads(operation, body.reads, row),
            *body.lines, *(f"d[i{i}{row}] += {text}" for i, text in enumerate(body.results) if text)]


def _many(operation: Operation, row: str = "") -> tuple[list[str], list[str]]:
    """Statements for a sum or product of any number of operands, whose slots are `slots`."""
    if operation.loop == "sum":
        return (["y = -0.0", "for i in slots:", f"    y += v[i{row}]", f"v[k{row}] = y"],
                [f"g = d[k{row}]", "for i in slots:", f"    d[i{row}] += g"])
    return (["y = 1.0", "for i in slots:", f"    y *= v[i{row}]", f"v[k{row}] = y"],
            # The product of the others, from both ends.
            [f"g = d[k{row}]", "n = len(slots)", "before = [1.0] * n", "y = 1.0", "for m in range(n):",
             "    before[m] = y", f"    y *= v[slots[m]{row}]", "y = 1.0", "for m in range(n - 1, -1, -1):",
             f"    d[slots[m]{row}] += g * (before[m] * y)", f"    y *= v[slots[m]{row}]"])


def compiled(operations: Sequence[Operation], gates: GateTable, *, rows: bool = False) -> Callable[..., None]:
    """Compile the passes over these operations.

    Args:
        operations: what there is on the tape.
        gates: the gate table.
        rows: whether everything is done for each position of a last axis.

    Returns:
        A function of the runs, rows and operands of a tape; an array of values and one of gradients, stacked, which it
        fills in from the values of the sources; and the slots and numbers of the upstream gradients.

    Raises:
        Untaped: a gate has no body of floats.
        MissingExtraError: numba is not installed.
    """
    forward = ["def loop(runs, rows, operands, numbers, seeded, seeds):",
               "    v, d = numbers[0], numbers[1]",
               "    for r in range(len(runs) - 1):",
               "        code, start, stop, p = runs[r, 0], runs[r, 1], runs[r + 1, 1], runs[r, 2]"]
    backward = ["    d[:] = 0.0",
                "    for i in range(len(seeded)):",
                "        d[seeded[i]] = seeds[i]",
                "    for r in range(len(runs) - 2, -1, -1):",
                "        code, start, stop, p = runs[r, 0], runs[r, 1], runs[r + 1, 1], runs[r + 1, 2]"]
    header = len(backward)
    row = ", j" if rows else ""
    for code, operation in enumerate(operations):
        arity = len(operation.truths)
        if not operation.loop:
            one, other = bodies(operation, gates, COMPILED)
            ahead, back = _forward(operation, one, row), _backward(operation, other, row)
            slots = [f"i{i} = operands[p + {i}]" for i in range(arity)]
            onward, return_ = f"p += {arity}", f"p -= {arity}"
        else:
            ahead, back = _many(operation, row)
            slots, onward, return_ = ["slots = operands[rows[k]:rows[k + 1]]"], "", ""
        across = ["for j in range(v.shape[1]):"] if rows else []
        ahead, back = ([*across, *(f"    {line}" if rows else line for line in body)] for body in (ahead, back))
        forward += [f"        {'elif' if code else 'if'} code == {code}:", "            for k in range(start, stop):",
                    *(f"                {line}" for line in (*slots, *ahead, onward))]
        if any(operation.wanted):
            backward += [f"        {'if' if len(backward) == header else 'elif'} code == {code}:",
                         "            for k in range(stop - 1, start - 1, -1):",
                         *(f"                {line}" for line in (return_, *slots, *back))]
    return jitted("\n".join(forward + backward))
