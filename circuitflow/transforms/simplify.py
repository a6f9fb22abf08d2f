"""Algebraic simplifications: x + 0, x · 1, shapes known as numbers.

The facets of a gate's row say which apply; a node of a row without facets stays as it is. No simplification changes the
result: 0 · x stays, because it is not 0 for every x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from circuitflow.gates import ArrayType, Facets, Gate
from circuitflow.transforms.wires import Wire

if TYPE_CHECKING:
    from circuitflow.transforms.writer import Writer


def simplified(writer: Writer, gate: str, row: Gate, operands: Sequence[Wire], attributes: Mapping[str, Any],
               type_: ArrayType) -> Wire | None:
    """A wire that has the value of a gate of these operands already, with its shape and dtype, or None."""
    found = _candidates(writer, gate, row.facets, operands, attributes, type_)
    return next((wire for wire in found if wire is not None and wire.type == type_), None)


def fill_of(row: Gate, operands: Sequence[Wire]) -> float:
    """The number that all elements of a gate's output are, or NaN where that is not known."""
    return row.facets.fill(operands[0].fill) if row.facets.fill is not None else math.nan


def _candidates(writer: Writer, gate: str, facets: Facets, operands: Sequence[Wire], attributes: Mapping[str, Any],
                type_: ArrayType) -> Iterator[Wire | None]:
    if facets.neutral is not None:
        rest = [x for x in operands if x.fill != facets.neutral]
        if len(rest) < 2:
            yield (rest or operands)[0]
        elif len(rest) < len(operands):
            yield writer.emit(gate, *rest)
    if facets.last_neutral is not None and operands[-1].fill == facets.last_neutral:
        yield operands[0]
    if facets.undoes_itself and operands[0].record.gate == gate:
        yield next(iter(operands[0].record.operands.values()))
    if facets.keeps:
        yield operands[0]
    if facets.equal is not None:
        yield facets.equal(writer, type_, *operands, **attributes)
