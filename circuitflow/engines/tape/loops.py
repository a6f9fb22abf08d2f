"""Generates the loops over a tape from the gate table: a body for each operation, forward and back.

numba compiles the text where the extra `fast` is installed; else Python runs it over lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from circuitflow.engines.numba_loops import jitted
from circuitflow.engines.program.dialects import COMPILED, FLOATS, NAMES, Dialect, writable
from circuitflow.engines.program.program import Program, needed_lines
from circuitflow.engines.program.source import define
from circuitflow.engines.program.trace import Trace, Value
from circuitflow.engines.tape.layout import Tape, loop_of
from circuitflow.errors import InputError
from circuitflow.gates import GateTable
from circuitflow.interpreter.masked import Masked, MaskedVocabulary, contributions_of, plain
from circuitflow.interpreter.plan import Step
from circuitflow.interpreter.vocabulary import Vocabulary


class Untaped(InputError):  # noqa: N818
    """A gate has no body of floats."""


def python_loops(tape: Tape, step: Step, gates: GateTable) -> tuple[Callable[..., None], Callable[..., None]]:
    """The loops over the gates of one operation of a tape in Python, over lists.

    The loop forward takes the values, the slots of the results, and a list of slots for each operand, or for each gate
    where there are any number of operands. The one back has the gradients after the values, and takes all lists from
    their ends.

    Raises:
        Untaped: the gate has no body of floats.
    """
    names = {**NAMES, "zip": zip, "range": range, "len": len}
    places = range(0 if loop_of(step) else len(step.operands))
    columns, each = [f"c{i}" for i in places] or ["operands"], [f"i{i}" for i in places] or ["slots"]

    def loop(parameters: Sequence[str], body: Sequence[str]) -> Callable[..., None]:
        return define("\n".join([f"def loop({', '.join([*parameters, 'results', *columns])}):",
                                 f"    for k, {', '.join(each)} in zip(results, {', '.join(columns)}):",
                                 *(f"        {line}" for line in body or ["pass"])]), names)

    forward, backward = _statements(tape, step, gates, FLOATS)
    return loop(["v"], forward), loop(["v", "d"], backward)


def _statements(tape: Tape, step: Step, gates: GateTable, dialect: Dialect,
                row: str = "") -> tuple[list[str], list[str]]:
    """Statements for one gate, forward and back; `row` is the second index, where there are rows.

    Raises:
        Untaped: a rule does what floats cannot.
    """
    masked, kind = tape.masked[step.output], step.node.kind
    if loop := loop_of(step):
        return _many(loop, row, masked=masked)
    gate, attributes = step.gate, step.attributes

    def forward(xp: Any, g: Any, y: Any, *xs: Any) -> Sequence[Any]:
        return [gate.forward(xp, *xs, **attributes)]

    def backward(xp: Any, g: Any, y: Any, *xs: Any) -> Sequence[Any]:
        if not step.receivers:
            return ()
        op = MaskedVocabulary(Vocabulary(xp, gates))
        upstream = Masked(op, g) if masked else g
        contributions = contributions_of(kind, gate, op, upstream, y, xs, step.receivers, attributes)
        return [plain(x) if receives else None for x, receives in zip(contributions, step.receivers, strict=True)]

    try:
        truth, truths = tape.truths[step.output], [tape.truths[slot] for slot in step.operands]
        ahead, (result,) = _trace(forward, truth, truths, dialect, row)
        back, contributions = _trace(backward, truth, truths, dialect, row)
    except (TypeError, AttributeError):
        raise Untaped(f"the tape cannot take {kind}, which is not an operation on floats; choose another engine"
                      ) from None
    return ([*ahead, f"v[k{row}] = {f'1.0 if {result} else 0.0' if truth else result}"],
            [*back, *(f"d[i{i}{row}] += {text}" for i, text in enumerate(contributions) if text)])


def _trace(rule: Callable[..., Sequence[Any]], truth: bool, truths: Sequence[bool], dialect: Dialect,
            row: str) -> tuple[list[str], list[str]]:
    """Statements for a rule of the gradient, the value and the operands; and its results, "" for None."""
    trace = Trace(writable)
    places = {"g": (f"d[k{row}]", False), "y": (f"v[k{row}]", truth),
              **{f"x{i}": (f"v[i{i}{row}]", is_truth) for i, is_truth in enumerate(truths)}}
    inputs = {name: Value.like(trace, np.bool_(False) if is_truth else np.float64(0))
              for name, (_, is_truth) in places.items()}
    with np.errstate(all="ignore"):
        results = rule(trace.namespace, *inputs.values())
    names = {id(value): name for name, value in inputs.items()}
    outputs = {str(i): x for i, x in enumerate(results) if x is not None}
    program = Program(inputs, needed_lines(trace.lines, outputs), outputs)
    source, lines = dialect.statements(program, lambda value, position: names.get(id(value)) or f"t{position}")
    uses = program.uses()
    loads = [f"{name} = {place}{' != 0.0' if is_truth else ''}" for name, (place, is_truth) in places.items()
             if id(inputs[name]) in uses]
    return [*loads, *lines], [source.text(x) if x is not None else "" for x in results]


def _many(loop: str, row: str, *, masked: bool) -> tuple[list[str], list[str]]:
    """Statements for a sum or product of any number of operands, whose slots are `slots`."""
    if loop == "sum":
        return (["y = -0.0", "for i in slots:", f"    y += v[i{row}]", f"v[k{row}] = y"],
                [f"g = d[k{row}]", "for i in slots:", f"    d[i{row}] += g"])
    keep = ["if g == 0.0: continue"] if masked else []
    return (["y = 1.0", "for i in slots:", f"    y *= v[i{row}]", f"v[k{row}] = y"],
            # The product of the others, from both ends; 0 where one of them is, as the rule of `mul` has it.
            [f"g = d[k{row}]", *keep, "n = len(slots)", "before = [1.0] * n", "y = 1.0", "for m in range(n):",
             "    before[m] = y", f"    x = v[slots[m]{row}]", "    y = 0.0 if x == 0.0 else y * x", "y = 1.0",
             "for m in range(n - 1, -1, -1):",
             f"    d[slots[m]{row}] += g * (0.0 if before[m] == 0.0 or y == 0.0 else before[m] * y)",
             f"    x = v[slots[m]{row}]", "    y = 0.0 if x == 0.0 else y * x"])


def compile_passes(tape: Tape, gates: GateTable, *, rows: bool = False) -> Callable[..., None]:
    """Compile the passes over a tape, for each position of a last axis if there are `rows`.

    The function takes the runs, rows and operands of a tape; an array of values and one of gradients, stacked, which it
    fills in from the values of the sources; and the slots and numbers of the upstream gradients.

    Raises:
        Untaped: a gate has no body of floats.
        MissingExtraError: numba is not installed.
    """
    forward = ["def loop(runs, rows, operands, numbers, seeded, seeds):",
               "    v, d = numbers[0], numbers[1]",
               "    for r in range(len(runs) - 1):",
               "        code, start, stop, p = runs[r, 0], runs[r, 1], runs[r + 1, 1], runs[r, 2]",
               "        if code < 0: pass"]
    backward = ["    d[:] = 0.0",
                "    for i in range(len(seeded)):",
                "        d[seeded[i]] = seeds[i]",
                "    for r in range(len(runs) - 2, -1, -1):",
                "        code, start, stop, p = runs[r, 0], runs[r, 1], runs[r + 1, 1], runs[r + 1, 2]",
                "        if code < 0: pass"]
    row = ", j" if rows else ""
    for code, step in enumerate(tape.operations):
        is_loop = bool(loop_of(step))
        arity = 0 if is_loop else len(step.operands)
        ahead, back = _statements(tape, step, gates, COMPILED, row)
        slots = (["slots = operands[rows[k]:rows[k + 1]]"] if is_loop else
                 [f"i{i} = operands[p + {i}]" for i in range(arity)])
        if rows:
            ahead, back = (["for j in range(v.shape[1]):", *(f"    {line}" for line in body)] for body in (ahead, back))
        forward += [f"        elif code == {code}:", "            for k in range(start, stop):",
                    *(f"                {line}" for line in (*slots, *ahead, f"p += {arity}"))]
        if any(step.receivers):
            backward += [f"        elif code == {code}:", "            for k in range(stop - 1, start - 1, -1):",
                         *(f"                {line}" for line in (f"p -= {arity}", *slots, *back))]
    return jitted("\n".join(forward + backward))
