"""The loops over a tape, made of the gate table: a body for each operation, forward and back.

The same text is compiled by numba, where the extra `fast` is installed, or run by Python over lists.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.program import Program, needed
from circuitflow.engines.scalars import COMPILED, FORMS, NAMES, inlinable, number, writable, written
from circuitflow.engines.source import Source, function
from circuitflow.engines.tape import Operation
from circuitflow.engines.trace import NUMPY, Trace, Value
from circuitflow.errors import MissingExtraError
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
        return {f"x{i}": Value(trace, _sample(truth)) for i, truth in enumerate(operation.truths)}

    try:
        trace = Trace(writable)
        xs = operands(trace)
        with np.errstate(all="ignore"):
            out = gate.forward(NUMPY, *xs.values(), **attributes)
        forward = _body(trace, xs, [out], forms)
        trace = Trace(writable)
        xs = operands(trace)
        given = {"g": Value(trace, _sample(False)), "y": Value(trace, _sample(operation.truth))}
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
        backward: likewise, with the gradients after the values.
    """

    def __init__(self, operations: Sequence[Operation], gates: GateTable) -> None:
        pairs = [_pair(operation, gates) for operation in operations]
        self.forward = [function(text, {**NAMES, **_BUILTINS}, (), {}) for text, _ in pairs]
        self.backward = [function(text, {**NAMES, **_BUILTINS}, (), {}) for _, text in pairs]


_BUILTINS = {"zip": zip, "range": range, "len": len}


def _pair(operation: Operation, gates: GateTable) -> tuple[str, str]:
    if not operation.truths:
        forward, backward = _MANY[operation.kind]
        return (_python("v, slots, rows", "k, row in zip(slots, rows)", forward),
                _python("v, d, slots, rows", "k, row in zip(slots, rows)", backward))
    columns = ", ".join(f"c{i}" for i in range(len(operation.truths)))
    each = ", ".join(f"i{i}" for i in range(len(operation.truths)))
    ahead, back = bodies(operation, gates, FORMS)
    loop = f"k, {each} in zip(slots, {columns})"
    return (_python(f"v, slots, {columns}", loop, _forward(operation, ahead)),
            _python(f"v, d, slots, {columns}", loop, _backward(operation, back)))


def _python(parameters: str, loop: str, body: Sequence[str]) -> str:
    return "\n".join([f"def loop({parameters}):", f"    for {loop}:",
                      *(f"        {line}" for line in body or ["pass"])])


def _loads(operation: Operation, reads: frozenset[str]) -> list[str]:
    return [f"x{i} = v[i{i}]{' != 0.0' if truth else ''}" for i, truth in enumerate(operation.truths)
            if f"x{i}" in reads]


def _forward(operation: Operation, body: Body) -> list[str]:
    result = f"1.0 if {body.results[0]} else 0.0" if operation.truth else body.results[0]
    return [*_loads(operation, body.reads), *body.lines, f"v[k] = {result}"]


def _backward(operation: Operation, body: Body) -> list[str]:
    given = {"g": "g = d[k]", "y": "y = v[k]"}
    return [*(text for name, text in given.items() if name in body.reads), *_loads(operation, body.reads), *body.lines,
            *(f"d[i{i}] += {text}" for i, text in enumerate(body.results) if text)]


_MANY = {
    "add": (["y = 0.0", "for i in row:", "    y += v[i]", "v[k] = y"],
            ["g = d[k]", "for i in row:", "    d[i] += g"]),
    "mul": (["y = 1.0", "for i in row:", "    y *= v[i]", "v[k] = y"],
            # The product of the others, from both ends.
            ["g = d[k]", "n = len(row)", "before = [1.0] * n", "y = 1.0", "for j in range(n):", "    before[j] = y",
             "    y *= v[row[j]]", "y = 1.0", "for j in range(n - 1, -1, -1):", "    d[row[j]] += g * (before[j] * y)",
             "    y *= v[row[j]]"]),
}
"""Gates of any number of operands: `row` has their slots."""


class Compiled(NamedTuple):
    """The loops compiled by numba.

    Attributes:
        forward: takes runs, rows and operands of a tape, and the values.
        backward: likewise, with the gradients after the values.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]


@lru_cache(maxsize=64)
def _jitted(text: str) -> Callable[..., None]:
    """A compiled loop; numba keeps its machine code beside this module, or in the user's cache."""
    try:
        from numba import njit
    except ImportError:
        raise MissingExtraError("compiled loops need `pip install 'circuitflow[fast]'`") from None
    # numba keeps machine code by the file and the name of a function.
    code = next(x for x in compile(text, __file__, "exec").co_consts if isinstance(x, CodeType))
    name = f"loop_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    names = {name: getattr(math, name) for name in NAMES if hasattr(math, name)}
    loop = FunctionType(code.replace(co_name=name, co_qualname=name), {**names, "rint": np.rint, "__name__": __name__})
    return njit(cache=True, error_model="numpy", nogil=True)(loop)


def compiled(operations: Sequence[Operation], gates: GateTable) -> Compiled:
    """Compile the loops over these operations.

    Raises:
        Untaped: a gate has no body of floats.
        MissingExtraError: numba is not installed.
    """
    forward = ["def loop(runs, rows, operands, v):", "    for r in range(len(runs)):"]
    backward = ["def loop(runs, rows, operands, v, d):", "    for r in range(len(runs) - 1, -1, -1):"]
    for lines in (forward, backward):
        lines += ["        code, start, stop = runs[r, 0], runs[r, 1], runs[r, 2]", "        p = rows[start]"]
    for code, operation in enumerate(operations):
        if operation.truths:
            ahead, back = bodies(operation, gates, COMPILED)
            parts = _forward(operation, ahead), _backward(operation, back) if operation.wanted else []
            prefix = [f"i{i} = operands[p + {i}]" for i in range(len(operation.truths))]
            suffix = [f"p += {len(operation.truths)}"]
        else:
            parts, prefix, suffix = _MANY[operation.kind], ["row = operands[rows[k]:rows[k + 1]]"], []
        for lines, body in zip((forward, backward), parts, strict=True):
            if body:
                lines += [f"        {'if' if len(lines) == 4 else 'elif'} code == {code}:",
                          "            for k in range(start, stop):",
                          *(f"                {line}" for line in (*prefix, *body, *suffix))]
    return Compiled(_jitted("\n".join(forward)), _jitted("\n".join(backward)))
