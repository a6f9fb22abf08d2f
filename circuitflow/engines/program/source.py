"""Writes a program as Python source. The text has generated names and numbers, and nothing of the document."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from circuitflow.engines.program.program import Program
from circuitflow.engines.program.trace import Line, Value
from circuitflow.gates.shapes import Size

INLINED = 100
"""Longest expression, in characters, that stands in another: Python takes no more than 200 pairs of parentheses."""

Write = Callable[[Line, Callable[[Any], str]], str]
"""Writes the right side of a line; its second argument writes an operand."""

Namer = Callable[[Value, int], str]
"""Names a value; the second argument is the number of values named before."""


def by_position(value: Value, position: int) -> str:
    """The name of a value where any will do."""
    return f"v{position}"


class Statements:
    """The statements of a program, under construction.

    Attributes:
        program: the program.
        bound: what the names in the statements stand for: functions, arrays, texts.
    """

    def __init__(self, program: Program, number: Callable[[Any], str], name: Namer = by_position) -> None:
        """No statements yet; `number` writes a number, `name` names a value."""
        self.program = program
        self.bound: dict[str, Any] = {}
        self._number, self._name = number, name
        self._names_of: dict[int, tuple[str, Any]] = {}
        self._names: dict[int, str] = {}
        self._inlined: dict[int, str] = {}

    def name(self, value: Value) -> str:
        """The name of a value."""
        if id(value) not in self._names:
            self._names[id(value)] = self._name(value, len(self._names))
        return self._names[id(value)]

    def bind(self, object_: Any, prefix: str) -> str:
        """A name for an object, the same for the same object."""
        if id(object_) not in self._names_of:
            name = f"{prefix}{len(self.bound)}"
            self._names_of[id(object_)] = name, object_  # held, so that no other object gets its identity
            if isinstance(object_, np.ndarray):  # a caller may get it, and a rule may own it
                object_ = object_.view()
                object_.setflags(write=False)
            self.bound[name] = object_
            return name
        return self._names_of[id(object_)][0]

    def text(self, operand: Any) -> str:
        """The text of an operand."""
        if isinstance(operand, Value):
            return self._inlined.pop(id(operand), None) or self.name(operand)
        if is_number(operand):
            return self._number(operand)
        if operand is None or operand is Ellipsis:
            return "None" if operand is None else "..."
        if isinstance(operand, Size):
            return polynomial(operand, lambda name: "whole")
        if isinstance(operand, tuple | list):
            inside = ", ".join(self._element(x) for x in operand)
            return f"[{inside}]" if isinstance(operand, list) else f"({inside}{',' if len(operand) == 1 else ''})"
        return self.bind(operand, "k")

    def _element(self, x: Any) -> str:
        """An element of a list: a size is that of a block, and a number beside arrays has its own dtype."""
        if isinstance(x, Size):
            return polynomial(x, lambda name: "block")
        return self.bind(x, "k") if isinstance(x, np.generic | np.ndarray) else self.text(x)

    def texts(self, write: Write,
              inline: Callable[[Line, Value], bool] = lambda line, operand: False) -> Iterator[tuple[Line, str]]:
        """The statement of each line, except those that stand in another.

        `write` writes the right side of a line. `inline` tells whether an operand may stand in its only reader's line.
        """
        uses = self.program.uses()
        readers = {id(value): line for line in self.program.lines for value in line.reads}
        for line in self.program.lines:
            right = write(line, self.text)
            (first, *_), reader = line.results, readers.get(id(line.results[0]))
            if (not line.several and uses[id(first)] == 1 and reader is not None and reader.stage is line.stage
                    and len(right) <= INLINED and inline(reader, first)):
                self._inlined[id(first)] = f"({right})"
                continue
            yield line, f"{', '.join(map(self.name, line.results))}{',' if line.several else ''} = {right}"


def polynomial(size: Size, variable: Callable[[str], str]) -> str:
    """A size as an expression; `variable` names the variable of a dimension."""
    return " + ".join("*".join([*([str(factor)] if factor != 1 or not names else []), *map(variable, names)])
                      for names, factor in size.terms)


def is_number(x: Any) -> bool:
    """Whether an operand is a number that depends on nothing."""
    return isinstance(x, bool | int | float | np.generic) or (isinstance(x, np.ndarray) and not x.ndim)


def literal(x: Any) -> str:
    """The text of a Python number; those that are not finite have the names `inf` and `nan`."""
    return f"({x!r})" if repr(x).startswith("-") else repr(x)


def define(source: str, bound: Mapping[str, Any]) -> FunctionType:
    """The one function that a source defines; `bound` is what the names in it stand for."""
    module = compile(source, "<staged circuit>", "exec")
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    return FunctionType(code, {"inf": math.inf, "nan": math.nan, **bound, "__builtins__": {}})
