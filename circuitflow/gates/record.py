"""The gate record: everything that is known of a gate, on one row."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Flag, auto
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from circuitflow.arguments import expected, fits
from circuitflow.errors import GateError
from circuitflow.gates.shapes import ArrayType
from circuitflow.text import short

__all__ = ["AtLeast", "Attributes", "Facets", "Gate", "GateTable", "Reads"]


class Attributes(BaseModel):
    """Base of the attribute models: strict and closed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Operands without names, so many or more; their ports are positions."""

    minimum: int


class Reads(Flag):
    """Which values a backward rule reads. Reading a shape does not count."""

    NOTHING = 0
    INPUTS = auto()
    OUTPUT = auto()


Rule = Callable[..., Any]


@dataclass(frozen=True, eq=False, slots=True)
class Facets:
    """What transforms and engines may take for granted of a row beyond its rules.

    A row has those that it states, and no others: not by its name, nor by the row that it was made of. One object
    stands for one mathematics: a row that states the facets of a built-in gate says that it computes the same.

    Attributes:
        neutral: an operand that is this number everywhere may be left out.
        last_neutral: the gate gives its first operand where the last is this number everywhere.
        undoes_itself: applied to its own result, the gate gives the operand.
        keeps: the gate gives its first operand where that has the result's shape and dtype.
        reads_type: the gate reads the shape and dtype of its last operand, and none of its values.
        fill: the number that every element of the result is, of that which every element of the first operand is; NaN
            where there is none.
        equal: `equal(op, type, *operands, **attributes)` gives something with the gate's value, written with other
            gates, or None; `type` is the result's. Operands have a `type`, and a number `fill` that all of their
            elements are, or NaN.
        loop: what a loop over any number of scalar operands computes: their "sum" or their "product", with its
            gradient.
        masks: `masks(position, count, **attributes)` tells whether the gradient on an operand, of so many, has zeros
            where the gate leaves the operand out.
        product: `product(op, position, *operands, **attributes)` gives something with the gate's value, but that the
            products of what is 0 at the position are 0, whatever the others are. A gate without it gives sums of
            elements of any operand that is a gradient, times finite numbers.
    """

    neutral: float | None = None
    last_neutral: float | None = None
    undoes_itself: bool = False
    keeps: bool = False
    reads_type: bool = False
    fill: Callable[[float], float] | None = None
    equal: Rule | None = None
    loop: Literal["sum", "product"] | None = None
    masks: Callable[..., bool] | None = None
    product: Rule | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One kind of operation.

    Attributes:
        formula: what it computes, in the notation of mathematics.
        summary: one sentence for the catalogue.
        operands: names in order, or `AtLeast` so many.
        shape: `shape(*types, **attributes)` gives the output's `ArrayType`, a tuple of them where there are several
            outputs, and raises `ShapeError` for operands that do not fit.
        forward: `forward(xp, *operands, **attributes)` computes the output with an Array API namespace.
        integers: gives the forward rule for results that are integers, of `forward`; the same rule by default.
        whole: the row with that rule as `forward`.
        backward: one rule an operand, `rule(op, g, out, *operands, **attributes)`, giving the contribution to that
            operand, or None where no gradient flows to it. Gates of any number of operands have a single rule, which
            gives all contributions as a tuple. `op` has every gate of the table as a function, `g` is the upstream
            gradient; with several outputs, `g` and `out` are tuples. Rules never branch on a value and never undo
            broadcasting: the reverse sweep does that.
        optional: how many of the last operands may be left out.
        attributes: pydantic model of the attributes.
        outputs: names of the outputs where there are several, or `outputs(**attributes)` that gives them.
        reads: whose values the backward rule reads.
        partial: whether the rule takes None for the gradient on one of several outputs that none reaches; else zeros.
        broadcasts: whether operands are broadcast together, so that the sweep sums contributions to their shapes.
        symbol: what is drawn in the gate's circle.
        facets: what else may be taken for granted; nothing, but for a row that comes of `stating`.
    """

    formula: str
    summary: str
    operands: tuple[str, ...] | AtLeast
    shape: Callable[..., ArrayType | tuple[ArrayType, ...]]
    forward: Rule
    backward: tuple[Rule | None, ...] | Rule
    integers: Callable[[Rule], Rule] | None = field(default=None, kw_only=True)
    optional: int = field(default=0, kw_only=True)
    attributes: type[Attributes] = Attributes
    outputs: tuple[str, ...] | Callable[..., tuple[str, ...]] = ()
    reads: Reads = Reads.NOTHING
    partial: bool = False
    broadcasts: bool = False
    symbol: str = ""
    defaults: Mapping[str, Any] = field(init=False, repr=False)
    whole: Gate = field(init=False, repr=False, compare=False)
    facets: Facets = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, (default, hint) in _fields().items():
            if (value := getattr(self, name)) is not default and not fits(value, hint):
                raise GateError(f"a row of a gate table: {name} is {short(value)}; expected {expected(hint)}")
        if not issubclass(self.attributes, Attributes):
            raise GateError(f"a row of a gate table: attributes is {short(self.attributes)}; expected a class made of "
                            "cf.Attributes")
        optional = {name: f.default for name, f in self.attributes.model_fields.items() if not f.is_required()}
        object.__setattr__(self, "defaults", optional)
        object.__setattr__(self, "facets", Facets())
        whole = self if self.integers is None else replace(self, forward=self.integers(self.forward), integers=None)
        object.__setattr__(self, "whole", whole)

    def stating(self, facets: Facets) -> Gate:
        """The same row with these facets. `dataclasses.replace` does not copy them: other rules may not have them."""
        row = replace(self)
        object.__setattr__(row, "facets", facets)
        return row

    def giving(self, result: ArrayType) -> Gate:
        """The row with the forward rule for a result of this type."""
        return self if result.is_float else self.whole

    def output_names(self, attributes: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the outputs where there are several."""
        return self.outputs(**attributes) if callable(self.outputs) else self.outputs

    def reaches(self, position: int) -> bool:
        """Whether a gradient can flow to the operand at a position."""
        return callable(self.backward) or self.backward[position] is not None

    def contributions(self, op: Any, g: Any, out: Any, operands: Sequence[Any], wanted: Sequence[bool],
                      attributes: Mapping[str, Any]) -> Sequence[Any]:
        """What the gate sends back to each operand; None where nothing flows or nothing is wanted."""
        if callable(self.backward):
            contributions: Sequence[Any] = self.backward(op, g, out, *operands, **attributes)
            return contributions
        return [rule(op, g, out, *operands, **attributes) if rule is not None and want else None
                for rule, want in zip(self.backward, wanted, strict=False)]


@functools.cache
def _fields() -> dict[str, tuple[Any, Any]]:
    """The default and the type of everything that a row is made with."""
    hints = typing.get_type_hints(Gate)
    return {field.name: (field.default, hints[field.name]) for field in fields(Gate) if field.init}


GateTable = Mapping[str, Gate]
