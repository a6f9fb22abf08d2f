"""Positions in flat memory as sums of loop variables times numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Index(NamedTuple):
    """A position: a number, and integers of the code times numbers.

    Attributes:
        start: the number.
        terms: names of variables, each with its factor.
    """

    start: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    @classmethod
    def variable(cls, name: str) -> Index:
        """The position that a variable has."""
        return cls(0, ((name, 1),))

    def plus(self, other: Index) -> Index:
        """The sum of two positions."""
        factors = dict(self.terms)
        for name, factor in other.terms:
            factors[name] = factors.get(name, 0) + factor
        return Index(self.start + other.start, tuple((name, f) for name, f in factors.items() if f))

    def shifted(self, by: int) -> Index:
        """A position so many elements on."""
        return self._replace(start=self.start + by)

    def times(self, factor: int) -> Index:
        """A position times a number."""
        return Index(self.start * factor, tuple((name, f * factor) for name, f in self.terms) if factor else ())

    @property
    def text(self) -> str:
        """The position as an expression of C and of languages like it."""
        text = ""
        for name, factor in self.terms:
            product = name if abs(factor) == 1 else f"{abs(factor)} * {name}"
            text += f" {'-' if factor < 0 else '+'} {product}" if text else f"{'-' if factor < 0 else ''}{product}"
        if not text:
            return str(self.start)
        return text + (f" {'-' if self.start < 0 else '+'} {abs(self.start)}" if self.start else "")


Indices = tuple[Index, ...]
"""A position along each axis."""

ZERO = Index()


def strides_of(shape: Sequence[Any]) -> tuple[int, ...]:
    """How many elements apart neighbours along each axis lie where the last axis is dense."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def place(indices: Iterable[Index], strides: Iterable[int], offset: Index = ZERO) -> Index:
    """The position in memory of an element."""
    at = offset
    for index, stride in zip(indices, strides, strict=True):
        at = at.plus(index.times(stride))
    return at
