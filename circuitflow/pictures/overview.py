"""A large circuit drawn in bands: so many levels each, what is in them, and how much crosses from one to the next.

The level of a node is the length of the longest path to it from a source. A value that is read beyond the next band
crosses every boundary on its way, so wires only ever lead from band to band, however tangled the circuit is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from circuitflow.graph.bodies import SOURCES
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.result import Result
from circuitflow.pictures.detail import called, unit_of
from circuitflow.pictures.marks import norm, number
from circuitflow.pictures.picture import Kind, Mark, Picture, Vertex, Wire
from circuitflow.text import printable

BANDS = 8
KINDS = 6
"""So many kinds of nodes are told of a band."""


def overview(circuit: Circuit, result: Result | None) -> Picture:
    """The picture of a circuit in bands, its calls closed."""
    units = {name: unit_of(name, 0) for name in circuit.nodes}
    kinds = _kinds(circuit, units)
    levels = _levels(circuit, units)
    bands = _bands(levels, kinds)
    band_of = {level: i for i, band in enumerate(bands) for level in band}
    place = {unit: -1 if kinds[unit] in SOURCES else band_of[level] for unit, level in levels.items()}
    picture = Picture(printable(circuit.name, 100), notes=(
        f"an overview of {len(circuit.nodes):,} nodes; --depth draws them all",))
    members: dict[int, list[str]] = {i: [] for i in range(-1, len(bands))}
    for unit, band in place.items():
        members[band].append(unit)
    for band, found in members.items():
        title = "sources" if band < 0 else _span(bands[band])
        counts = Counter(kinds[unit] for unit in found).most_common()
        told = [f"{count:,} {printable(kind, 40)}" for kind, count in counts[:KINDS]]
        if len(counts) > KINDS:
            told.append(f"{sum(count for _, count in counts[KINDS:]):,} others")
        picture.vertices.append(Vertex(f"n{band + 2}", Kind.BAND, (title, *told), tip="\n".join(
            f"{count:,} {kind}" for kind, count in counts[:40])))
    for i, names in enumerate(_crossings(circuit, units, place, len(bands))):
        value, gradient = _marks(result, names)
        picture.wires.append(Wire(f"w{i + 1}", f"n{i + 1}", f"n{i + 2}", "", value, gradient))
    outputs = list(circuit.outputs if result is None else result.outputs)
    shown = tuple(outputs[:KINDS]) + ((f"{len(outputs) - KINDS:,} others",) if len(outputs) > KINDS else ())
    last = len(bands) + 1
    picture.vertices.append(Vertex(f"n{last + 1}", Kind.BAND, ("outputs", *shown)))
    picture.wires.append(Wire(f"w{last}", f"n{last}", f"n{last + 1}", "", Mark(_count(outputs))))
    return picture


def _kinds(circuit: Circuit, units: dict[str, str]) -> dict[str, str]:
    """What each unit is: a gate, a kind of source, or the name of the circuit that a call applies."""
    kinds: dict[str, str] = {}
    for name, unit in units.items():
        if unit not in kinds:
            inner = called(circuit.definition, unit) if unit != name else None
            kinds[unit] = inner.name if inner else circuit.nodes[name].kind
    return kinds


def _levels(circuit: Circuit, units: dict[str, str]) -> dict[str, int]:
    """The level of every unit, calls being one."""
    levels = dict.fromkeys(units.values(), 0)
    for name, node in circuit.nodes.items():
        unit = units[name]
        for edge in node.operands:
            if units[edge.source] != unit:
                levels[unit] = max(levels[unit], levels[units[edge.source]] + 1)
    return levels


def _bands(levels: dict[str, int], kinds: dict[str, str]) -> list[range]:
    """Runs of levels with about as many units each; none where there are sources alone."""
    sizes = Counter(level for unit, level in levels.items() if kinds[unit] not in SOURCES)
    if not sizes:
        return []
    total, done, start = sizes.total(), 0, min(sizes)
    bands: list[range] = []
    for level in range(start, max(sizes) + 1):
        done += sizes[level]
        if done * BANDS >= total * (len(bands) + 1):
            bands.append(range(start, level + 1))
            start = level + 1
    return bands


def _span(band: range) -> str:
    return f"level {band[0]:,}" if len(band) == 1 else f"levels {band[0]:,} to {band[-1]:,}"


def _crossings(circuit: Circuit, units: dict[str, str], place: dict[str, int], bands: int) -> Iterable[list[str]]:
    """For every boundary between bands, the values that cross it."""
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
    """How many values there are, and the norm of their gradients."""
    if result is None:
        return Mark(_count(names)), None
    values = _flat([result.values[name] for name in names if name in result.values])
    gradients = _flat([result.gradients[name] for name in names if name in result.gradients])
    told = f"{values.size:,} numbers, {values.min():.6g} to {values.max():.6g}" if values.size else ""
    value = Mark(_count(names), (), told)
    if not gradients.size:
        return value, None
    size = norm(gradients)
    return value, Mark(f"‖·‖ {number(size)}", (), f"norm of {gradients.size:,} numbers: {size!r}")


def _count(names: Sequence[str]) -> str:
    return f"{len(names):,} value{'s' * (len(names) != 1)}"


def _flat(arrays: Sequence[Any]) -> Any:
    return np.concatenate([np.ravel(np.asarray(x)).astype(np.float64) for x in arrays]) if arrays else np.zeros(0)
