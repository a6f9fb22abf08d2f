"""Staged code of arrays: straight-line NumPy that writes intermediate results into buffers used again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.program import Program
from circuitflow.engines.selection import drop, is_selectable, is_zero, keep, product, select
from circuitflow.engines.source import Source, function, is_number
from circuitflow.engines.trace import Called, Line, Value, values_in


class Buffers(NamedTuple):
    """Where lines write their results.

    Attributes:
        kinds: shape and dtype of every buffer.
        of: the buffer that a value is written into, by identity.
    """

    kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    of: Mapping[int, int]


def is_elementwise(function: Callable[..., Any]) -> bool:
    """Whether a function takes arrays element by element, and can write into one."""
    return isinstance(function, np.ufunc) and function.signature is None


def writes_into(line: Line) -> bool:
    """Whether a line can write its result into an array that is there already."""
    result = line.results[0]
    return ((isinstance(line.function, np.ufunc) and len(line.results) == 1 and result.shape != ())
            or line.function is product or _selects(line))


def allot(stages: Program) -> Buffers:
    """A buffer for every result that can have one; it is free again when nothing reads what is in it any more.

    Outputs, and what shares memory with one, get none: they are the caller's.
    """
    roots: dict[int, frozenset[int]] = {}
    for line in stages.lines:
        for result in line.results:
            shared = [roots.get(id(x), frozenset()) for x in values_in((line.operands, line.keywords))
                      if np.may_share_memory(result.sample, x.sample)]
            roots[id(result)] = frozenset({id(result)}).union(*shared)
    kept = frozenset().union(*(roots.get(id(x), frozenset()) for x in values_in(stages.outputs)))
    last: dict[int, int] = {}
    for position, line in enumerate(stages.lines):
        for x in (*values_in((line.operands, line.keywords)), *line.results):
            last.update(dict.fromkeys(roots.get(id(x), ()), position))
    ends: dict[int, list[int]] = {}
    for root, position in last.items():
        ends.setdefault(position, []).append(root)
    kinds: list[tuple[tuple[int, ...], np.dtype[Any]]] = []
    of: dict[int, int] = {}
    free: dict[Any, list[int]] = {}
    for position, line in enumerate(stages.lines):
        ending = [root for root in ends.get(position, ()) if root in of]
        result = line.results[0]
        takes = writes_into(line) and id(result) not in kept
        if takes and is_elementwise(line.function):  # may write over an operand
            _release(ending, kinds, of, free)
            ending = []
        if takes:
            kind = result.shape, result.dtype
            if not free.get(kind):
                free.setdefault(kind, []).append(len(kinds))
                kinds.append(kind)
            of[id(result)] = free[kind].pop()
        _release(ending, kinds, of, free)
    return Buffers(kinds, of)


def _selects(line: Line) -> bool:
    """Whether a line is a `where` that is faster without a branch."""
    result = line.results[0]
    return line.function is np.where and is_selectable(result.shape, result.dtype, line.operands[0])


def _release(roots: Sequence[int], kinds: Sequence[Any], of: Mapping[int, int], free: dict[Any, list[int]]) -> None:
    for root in roots:
        free.setdefault(kinds[of[root]], []).append(of[root])


def compiled(stages: Program, outputs: Sequence[Any], own: Collection[int] = ()) -> Callable[..., list[Any]]:
    """A function from arrays by id to these outputs, safe to call from several threads at once.

    Args:
        stages: what it does.
        outputs: values, numbers or arrays.
        own: positions of outputs that are written into arrays which are given as second argument, by position; these,
            and all results in between, may then have a shorter leading axis than that which the stages were traced for.
    """
    source = Source(stages)
    into = {id(outputs[i]): f"results[{i}]" for i in sorted(own, reverse=True)}
    buffers = allot(stages)
    targets = {name: f"buffers[{i}]" for name, i in buffers.of.items()} | {
        id(line.results[0]): into[id(line.results[0])] for line in stages.lines
        if id(line.results[0]) in into and writes_into(line)}
    lines = [text for _, text in source.statements(
        lambda line, text: _right(source, targets.get(id(line.results[0])), line, text), repr_of)]
    texts = [source.name(x) if isinstance(x, Value) else source.bind(np.asarray(x), "k") for x in outputs]
    lines += [f"results[{i}][...] = {texts[i]}" for i in own if targets.get(id(outputs[i])) != f"results[{i}]"]
    body = ["def stages(inputs, buffers, results):",
            *(f"    {source.name(value)} = inputs[{source.bind(name, 'k')}]" for name, value in stages.inputs.items()),
            *(f"    {line}" for line in lines),
            f"    return [{''.join(f'{text}, ' for i, text in enumerate(texts) if i not in own)}]"]
    run = function("\n".join(body), source.bound, (), {})
    pool: list[list[Any]] = []

    def call(arrays: Mapping[str, Any], results: Sequence[Any] = ()) -> list[Any]:
        try:
            buffers_here = pool.pop()
        except IndexError:
            buffers_here = [np.empty(*kind) for kind in buffers.kinds]
        with np.errstate(all="ignore"):
            short = [buffer[: len(results[0])] for buffer in buffers_here] if results else buffers_here
            found: list[Any] = run(arrays, short, results)
        pool.append(buffers_here)
        return found

    return call


def repr_of(x: Any) -> str:
    """A number as it is written: weak, so that it takes the dtype of the arrays beside it."""
    if isinstance(x, np.generic | np.ndarray):
        x = x.item()
    if isinstance(x, float) and x - x != 0:
        return "nan" if x != x else "inf" if x > 0 else "(-inf)"
    return f"({x!r})" if not isinstance(x, bool) and x < 0 else repr(x)


def _right(source: Source, target: str | None, line: Line, text: Callable[[Any], str]) -> str:
    """A call; `target` is where it writes its result."""
    function, operands = line.function, line.operands
    if target and _selects(line):
        condition, x, y = operands
        if is_zero(x):
            function, operands = drop, (condition, y)
        elif is_zero(y):
            function, operands = keep, (condition, x)
        else:
            function = select
    beside = {x.dtype for x in operands if isinstance(x, Value)}
    given = [text(x) if not isinstance(x, np.generic | np.ndarray) or (x.dtype in beside and is_number(x) and
                                                                       not isinstance(function, Called))
             else source.bind(x, "k") for x in operands]
    given += [f"{name}={text(x)}" for name, x in line.keywords.items()]
    return f"{source.bind(function, 'f')}({', '.join(given + ([f'out={target}'] if target else []))})"
