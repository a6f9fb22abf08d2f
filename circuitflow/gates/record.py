"""The gate record: everything that is known of a gate, on one row."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from enum import Flag, auto
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from circuitflow.arguments import expected, fits
from circuitflow.errors import GateError
from circuitflow.gates.shapes import ArrayType
from circuitflow.text import short

__all__ = ["FIRST_OF_TIES", "AtLeast", "Attributes", "Axes", "Facets", "Gate", "GateTable", "Length", "Note", "Onnx",
           "Reads", "Rule", "Ties", "family", "spell_out"]


class Attributes(BaseModel):
    """Base of the attribute models: strict and closed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


Length = Annotated[int, Field(ge=0)]
"""The size of an axis, or a part of one, in an attribute."""


class Axes(Attributes):
    axis: int | list[int] | None = Field(None, description="axis or axes; all by default")


class Ties(Attributes):
    ties: Literal["first", "share"] = Field(
        "first", description="first: the first of the tied takes the whole gradient; share: they split it evenly")


FIRST_OF_TIES = ("the first of several equal ones takes the whole gradient; with ties: share they split it; where the "
                 "output is NaN, the NaN takes it")
"""What a note says of kinks where a gate has `Ties`."""


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


@dataclass(frozen=True, slots=True)
class Onnx:
    """The ONNX operator of a gate: how it is read and written. Operands stand in the gate's order.

    Attributes:
        operator: its name in ONNX's own domain.
        attributes: the gate's attributes, separated by spaces. One that ONNX names otherwise stands as `axes=perm`; one
            that is an input there has its place, as `axis=axes@1`: in early versions it is an attribute. Pairs of
            [before, after] are written as ONNX writes pads.
        settings: attributes of the operator that the gate has none for, and their values that mean the gate.
        since: the first version of the operator that means the gate.
        dtypes: the kinds of operands for which it means the gate: f, i, u and b, as NumPy calls them.
        written: the floats for which it is written in place of the gate: f for float32, d for float64. The lines of the
            gate's rule are written where it would not keep the gate's conventions at ties and edges, or ONNX Runtime
            does not have it.
    """

    operator: str
    attributes: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    since: int = 1
    dtypes: str = "fiub"
    written: str = "fd"

    def __str__(self) -> str:
        return self.operator


class Note(NamedTuple):
    """The words of a gate for the catalogue and for explanations.

    `gradient` and `words` have names in braces: `{g}` is the upstream gradient, `{out}` the output, `{operands}` and
    `{all}` the operands of a gate that takes any number; operands and attributes have their own names. Of several
    outputs it is `{g.name}`.

    Attributes:
        gradient: the backward rule as a formula for each operand; "" where nothing is said of the gate.
        kinks: the conventions where the function has no derivative, or its formula no value.
        onnx: the ONNX operator as an `Onnx`; its name alone where it differs from the gate in more than that tells; or
            "".
        numpy: the functions in NumPy or SciPy, or "".
        also: what it is called in torch, Keras and elsewhere, by operators and in plain words, separated by spaces.
        words: the rule as a clause that the gate's name begins, for those who read no formulas, or "".
        dead: why the gate sends nothing back where its rule could, as such a clause; "" where all that is known is that
            its slope is 0.
        routes: whether the gradient goes to some of the operands and not to others.
        elements: the gate that does to the elements of one operand what this one does to several operands, or "".
        notation: what explanations write for the gate: an operator of Python, or a text with {} for the operand; "" for
            the gate's name, or for its own operator.
        formula: what formulas of mathematics show of the gate, in the notation of `Gate.formula`: a short name such as
            `σ(x)` that says more than the expansion, "own" for `Gate.formula` itself, or "" for a function of operands
            and attributes.
        example: attributes for a document that shows the gate; those that have no default, at least.
    """

    gradient: str = "none flows"
    kinks: str = ""
    onnx: Onnx | str = ""
    numpy: str = ""
    also: str = ""
    words: str = ""
    routes: bool = False
    example: Mapping[str, Any] = {}
    elements: str = ""
    notation: str = ""
    formula: str = ""
    dead: str = ""

    @property
    def names(self) -> list[str]:
        """What the gate is called elsewhere, one by one."""
        return [*str(self.onnx).split(), *self.numpy.replace(",", "").split(), *self.also.split()]


_NO_WORDS = Note("")


def spell_out(text: str, names: Mapping[str, str] | None = None) -> str:
    """A text of a note with names in place of those in braces; by default with the gate's own.

    A clause is left out if one of its names is missing, as for an operand that may be left out.
    """
    if names is None:
        return _NAME.sub(lambda match: _FORMAL.get(match[1], match[1].replace(".", "_")), text)
    clauses = [clause for clause in _CLAUSE.findall(text) if all(name in names for name in _NAME.findall(clause))]
    return _NAME.sub(lambda match: names[match[1]], "".join(clauses)).strip(" ,;")


_CLAUSE = re.compile(r"[^,;]+[,;]?")
_NAME = re.compile(r"{([\w.]+)}")
_FORMAL = {"operands": "every operand", "all": "the operands"}


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
        division: how to divide what the gate gives by a factor, a rule of `circuitflow.gates.factors`.
        view: NumPy keeps the result in the memory of the operand, so that a change of one changes the other.
        at_once: the forward rule computes arrays of NumPy faster than the lines that it comes to.
        note: the gate in words; without a gradient where there are none.
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
    division: Rule | None = None
    view: bool = False
    at_once: bool = False
    note: Note = _NO_WORDS


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
        row = copy(self)
        object.__setattr__(row, "facets", facets)
        object.__setattr__(row, "whole", row if self.whole is self else self.whole)
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

    def contributions(self, op: Any, g: Any, out: Any, operands: Sequence[Any], receivers: Sequence[bool],
                      attributes: Mapping[str, Any]) -> Sequence[Any]:
        """What the gate sends back to each operand; None where nothing flows or the operand is no receiver."""
        if callable(self.backward):
            contributions: Sequence[Any] = self.backward(op, g, out, *operands, **attributes)
            return contributions
        return [rule(op, g, out, *operands, **attributes) if rule is not None and want else None
                for rule, want in zip(self.backward, receivers, strict=False)]


@functools.cache
def _fields() -> dict[str, tuple[Any, Any]]:
    """The default and the type of everything that a row is made with."""
    hints = typing.get_type_hints(Gate)
    return {field.name: (field.default, hints[field.name]) for field in fields(Gate) if field.init}


GateTable = Mapping[str, Gate]


def family(rows: GateTable, notes: Mapping[str, Note]) -> dict[str, Gate]:
    """The rows of a family with their words.

    Raises:
        GateError: a row has no words, or words have no row.
    """
    if alone := rows.keys() ^ notes.keys():
        raise GateError(f"a family needs words for each of its gates, and no others; see {', '.join(sorted(alone))}")
    return {name: gate.stating(replace(gate.facets, note=notes[name])) for name, gate in rows.items()}
