"""A large circuit drawn in bands of levels: the contents of each band, and the values that cross to the next.

The level of a node is the length of the longest path to it from a source. A value that is read beyond the next band
crosses every boundary on its way, so every wire leads from one band to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from circuitflow.graph.bodies import SOURCES
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.detail import callee_at, unit_of
from circuitflow.pictures.marks import brief, norm
from circuitflow.pictures.picture import MOST, Kind, Mark, Picture
from circuitflow.text import number, printable

BANDS = 8
_NAMES = 6
"""The most kinds of nodes, or outputs, that a band lists."""


def overview(circuit: Circuit, result: Result | None) -> Picture:
    """The picture of a circuit in bands, its calls closed."""
    units = {name: unit_of(name, 0) for name in circuit.nodes}
    kinds = _kinds(circuit, units)
    levels = _levels(circuit, units)
    bands = _bands(levels, kinds)
    band_of = {level: i for i, band in enumerate(bands) for level in band}
    place = {unit: -1 if kinds[unit] in SOURCES else band_of[level] for unit, level in levels.items()}
    wires = sum(len(node.operands) for node in circuit.nodes.values()) + len(circuit.outputs)
    rest = "; --depth draws them all" if MOST.holds(len(circuit.nodes), wires) else ""
    picture = Picture(printable(circuit.name, 100), notes=(f"an overview of {len(circuit.nodes):,} nodes{rest}",))
    members: dict[int, list[str]] = {i: [] for i in range(-1, len(bands))}
    for unit, band in place.items():
        members[band].append(unit)
    for band, contents in members.items():
        title = "sources" if band < 0 else _span(bands[band])
        counts = Counter(kinds[unit] for unit in contents).most_common()
        lines = [f"{count:,} {printable(kind, 40)}" for kind, count in counts[:_NAMES]]
        if len(counts) > _NAMES:
            lines.append(f"{sum(count for _, count in counts[_NAMES:]):,} others")
        picture.add(Kind.BAND, (title, *lines), tip="\n".join(f"{count:,} {kind}" for kind, count in counts[:40]),
                    members=tuple(contents))
    for i, names in enumerate(_crossings(circuit, units, place, len(bands))):
        value, gradient = _marks(result, names)
        picture.connect(f"n{i + 1}", f"n{i + 2}", value=value, gradient=gradient, values=tuple(names))
    outputs = list(circuit.outputs if result is None else result.outputs)
    first = tuple(outputs[:_NAMES]) + ((f"{len(outputs) - _NAMES:,} others",) if len(outputs) > _NAMES else ())
    last = len(bands) + 1
    picture.connect(f"n{last}", picture.add(Kind.BAND, ("outputs", *first)).key, value=Mark(_count(outputs)))
    return picture


def _kinds(circuit: Circuit, units: dict[str, str]) -> dict[str, str]:
    """The kind of each unit: a gate, a kind of source, or the circuit that a call applies."""
    kinds: dict[str, str] = {}
    for name, unit in units.items():
        if unit not in kinds:
            kinds[unit] = callee_at(circuit.definition, unit).name if unit != name else circuit.nodes[name].kind
    return kinds


def _levels(circuit: Circuit, units: dict[str, str]) -> dict[str, int]:
    """The level of every unit; a call is one unit."""
    levels = dict.fromkeys(units.values(), 0)
    for name, node in circuit.nodes.items():
        unit = units[name]
        for edge in node.operands:
            if units[edge.source] != unit:
                levels[unit] = max(levels[unit], levels[units[edge.source]] + 1)
    return levels


def _bands(levels: dict[str, int], kinds: dict[str, str]) -> list[range]:
    """Bands of levels with about the same number of units each; none if there are only sources."""
    sizes = Counter(level for unit, level in levels.items() if kinds[unit] not in SOURCES)
    if not sizes:
        return []
    total, count, start = sizes.total(), 0, min(sizes)
    bands: list[range] = []
    for level in range(start, max(sizes) + 1):
        count += sizes[level]
        if count * BANDS >= total * (len(bands) + 1):
            bands.append(range(start, level + 1))
            start = level + 1
    return bands


def _span(band: range) -> str:
    return f"level {band[0]:,}" if len(band) == 1 else f"levels {band[0]:,} to {band[-1]:,}"


def _crossings(circuit: Circuit, units: dict[str, str], place: dict[str, int], bands: int) -> Iterable[list[str]]:
    """The values that cross each boundary between bands."""
    nodes = circuit.nodes
    furthest: dict[str, int] = {}
    for name, node in nodes.items():
        here = place[units[name]]
        for edge in node.operands:
            source = nodes[edge.source].name_of(edge.output)
            furthest[source] = max(furthest.get(source, -1), here)
    for output in circuit.outputs.values():
        furthest[nodes[output.node].name_of(output.position)] = bands
    starts: dict[int, list[str]] = {i: [] for i in range(-1, bands)}
    for source in furthest:
        starts[place[units[source.partition(".")[0]]]].append(source)
    crossing: list[str] = []
    for boundary in range(-1, bands - 1):
        crossing = [name for name in (*crossing, *starts[boundary]) if furthest[name] > boundary]
        yield crossing


def _marks(result: Result | None, names: Sequence[str]) -> tuple[Mark, Mark | None]:
    """Marks with the number of values, and with the norm of their gradients."""
    if result is None:
        return Mark(_count(names)), None
    values = _flat([result.values[name] for name in names if name in result.values])
    gradients = _flat([result.gradients[name] for name in names if name in result.gradients])
    value = Mark(_count(names), (), _together(values))
    return value, Mark(f"‖·‖ {brief(norm(gradients))}", (), _together(gradients)) if gradients.size else None


def _together(floats: Any) -> str:
    """The range and the norm of many numbers; "" of none."""
    return (f"{floats.size:,} numbers, {number(floats.min())} to {number(floats.max())}, norm {norm(floats)!r}"
            if floats.size else "")


def _count(names: Sequence[str]) -> str:
    return f"{len(names):,} value{'s' * (len(names) != 1)}"


def _flat(arrays: Sequence[Any]) -> Any:
    return np.concatenate([np.ravel(np.asarray(x)).astype(np.float64) for x in arrays]) if arrays else np.zeros(0)
