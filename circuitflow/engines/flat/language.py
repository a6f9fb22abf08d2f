"""What a language has to say about lines of numbers: data and a few functions. The lowering knows no other language."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.graph.typed import Node

DType = np.dtype[Any]

BOOL, INT64, FLOAT64 = np.dtype(bool), np.dtype(np.int64), np.dtype(np.float64)


WIDTH = 100
"""Longest line of numbers."""

_KINDS = {FLOAT64: "d", np.dtype(np.float32): "f", BOOL: "b"}


class Unwritable(ValueError):  # noqa: N818
    """A line has no form; the message continues the node and the gate."""


class Expr(NamedTuple):
    """An expression.

    Attributes:
        text: its text.
        is_atom: whether it may stand beside an operator without parentheses.
    """

    text: str
    is_atom: bool = True

    def __str__(self) -> str:
        return self.text if self.is_atom else f"({self.text})"


class Language(ABC):
    """How a language spells lines.

    Attributes:
        title: its name.
        forms: the expression for a function of NumPy or SciPy by its name and the kind of its operands: f and d for
            floats of 32 and 64 bits, i and u for integers, b for truth values. `{0}` is the first operand, and each
            operand stands in a form once. A form that begins with "=" is a call, which needs no parentheses, nor do its
            operands; one that begins with "~" needs none, but its operands do.
        helpers: functions that the file defines where it uses them, by name; a form calls one as `@name(`.
        arrow: what stands between a struct and its member.
        part: statements of a function before the next begins, where compilers need much time for long ones.
    """

    title: str
    forms: Mapping[str, Mapping[str, str]]
    helpers: Mapping[str, str]
    arrow: str
    part: int

    def __init__(self) -> None:
        self.used: dict[str, None] = {}
        self._ready: dict[tuple[str, DType], str] = {}

    @abstractmethod
    def literal(self, x: Any, dtype: DType) -> Expr:
        """A number of a dtype."""

    def numbers(self, array: Any, dtype: DType) -> list[str]:
        """The elements of an array, separated by commas, in lines."""
        lines, line = list[str](), ""
        for x in np.asarray(array, dtype).reshape(-1):
            text = self.literal(x, dtype).text
            if len(line) + len(text) > WIDTH:
                lines.append(line.rstrip())
                line = ""
            line += f"{text}, "
        return [*lines, line.removesuffix(", ")]

    @abstractmethod
    def cast(self, x: Expr, old: DType, new: DType) -> Expr:
        """A number of another dtype."""

    def argument(self, x: Expr, dtype: DType) -> Expr:
        """A number of a dtype, as a caller gives it."""
        return x

    def truth(self, x: Expr) -> Expr:
        """A truth value as a caller gets it."""
        return x

    @abstractmethod
    def constant(self, name: str, dtype: DType, x: Expr | None) -> str:
        """A statement that declares a variable, which never changes if it has a value."""

    @abstractmethod
    def variable(self, name: str, dtype: DType, x: Expr) -> str:
        """A statement that declares a variable that changes."""

    @abstractmethod
    def loop(self, variable: str, size: int, *, backwards: bool = False) -> str:
        """The head of a loop."""

    @abstractmethod
    def comment(self, text: str) -> str:
        """A comment; the text may be anything."""

    @abstractmethod
    def refusal(self, number: int, node: Node) -> str:
        """A statement that ends the function because a node, which has a number, refuses its operands."""

    @abstractmethod
    def address(self, name: str, at: str) -> str:
        """The place in memory of an element, for a helper; `at` is "0" for the first."""

    @abstractmethod
    def helper_name(self, name: str) -> str:
        """What a helper is called in the file."""

    def call(self, name: str, *operands: str) -> str:
        """A call of a helper."""
        self.used[name] = None
        return f"{self.helper_name(name)}({', '.join(operands)})"

    def form(self, name: str, dtype: DType) -> str:
        """How a function of operands of a dtype is written.

        Raises:
            Unwritable: there is no form for it.
        """
        kind = _KINDS.get(dtype) or dtype.kind
        form = self.forms.get(name, {}).get(kind)
        if form is None:
            raise Unwritable(f"comes to {name} of {dtype.name}, which has no form")
        return form

    def apply(self, name: str, dtype: DType, operands: Sequence[Expr]) -> Expr:
        """A function of NumPy or SciPy, by name, of operands of a dtype; errors are those of `form`."""
        form = self._ready.get((name, dtype))
        if form is None:
            form = self._ready[name, dtype] = self._with_helpers(self.form(name, dtype))
        is_atom = form[0] in "=~"
        parts = [x.text if form[0] == "=" else str(x) for x in operands]
        return Expr(form[is_atom:].format(*parts, type=self.type_name(dtype)), is_atom)

    def _with_helpers(self, form: str) -> str:
        """A form with the names of helpers, which the file then has to define."""
        while "@" in form:
            before, _, rest = form.partition("@")
            helper, bracket, after = rest.partition("(")
            self.used[helper] = None
            form = before + self.helper_name(helper) + bracket + after
        return form

    @abstractmethod
    def type_name(self, dtype: DType) -> str:
        """What a dtype is called; "" in a language without types.

        Raises:
            Unwritable: there is no such type.
        """
