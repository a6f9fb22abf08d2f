"""What a circuit does only while it is trained: gates draw from a seed, and running statistics move.

In training every gate with an operand `seed` gets a fresh one at each step, made of the document's seed and the number
of the step. The statistics that `batch_normalization` gives out in training mode are fed back to the nodes that they
came from. For validation `dropout` lets everything through, and `batch_normalization` uses its running statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.gates import GateTable
from circuitflow.graph.bodies import Operand
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.text import printable

_SEED = "seed"
_STATISTICS = {"mean": 3, "variance": 4}
"""The outputs of `batch_normalization` in training mode, and the operands that they are fed back to."""


def seeds_of(circuit: Circuit) -> list[str]:
    """The sources that gates with an operand `seed` draw from: integers, by id.

    Where a seed is computed, they are the integers that it is computed from, apart from constants.

    Raises:
        InputError: a gate inside a scan or a choice has a constant seed, which no step can change.
    """
    sources: dict[str, None] = {}
    for node in circuit.nodes.values():
        draws = [edge for body in _bodies(node) for edge in _edges(body) if edge[1].port == _SEED]
        if any(body.nodes[edge.source].kind == "constant" for body, edge in draws):
            raise InputError(f"node '{printable(node.id, 60)}': a gate inside has a constant seed, so that it would "
                             "draw the same at every step; make the seed an input of the subcircuit")
        for edge in node.operands:
            if edge.port == _SEED or draws:
                needed = circuit.needed({edge.source})
                sources |= dict.fromkeys(name for name, source in circuit.nodes.items() if name in needed and _is_seed(
                    source, is_direct=name == edge.source))
    return list(sources)


def _is_seed(node: Node, *, is_direct: bool) -> bool:
    """Whether a source takes another value at every step."""
    return (node.is_source and node.types[0].shape == () and "int" in node.types[0].dtype
            and (is_direct or node.kind != "constant"))


def _bodies(node: Node) -> Iterator[TypedBody]:
    """The bodies inside of a node with subcircuits, at any depth."""
    for value in node.attributes.values() if node.gate is None else ():
        if isinstance(value, TypedBody):
            yield value.expansion
            for inner in value.expansion.nodes.values():
                yield from _bodies(inner)


def _edges(body: TypedBody) -> Iterator[tuple[TypedBody, Operand]]:
    """The operands of all nodes of a body, with the body."""
    for node in body.nodes.values():
        for edge in node.operands:
            yield body, edge


def statistics_of(circuit: Circuit) -> dict[str, str]:
    """Source → the output that is fed back to it: running means and variances in training mode.

    Raises:
        InputError: two gates share a source, or a gate is inside a scan or a choice.
    """
    fed: dict[str, str] = {}
    for node in circuit.nodes.values():
        for body in _bodies(node):
            if any(inner.kind == "batch_normalization" and inner.outputs for inner in body.nodes.values()):
                raise InputError(f"node '{printable(node.id, 60)}': a batch_normalization inside is in training "
                                 "mode, and its running statistics cannot be fed back from there; put it outside, or "
                                 "use layer_normalization")
        if node.kind != "batch_normalization" or not node.outputs:
            continue
        for output, position in _STATISTICS.items():
            source = circuit.nodes[node.operands[position].source]
            if not source.is_source:
                continue
            if source.id in fed:
                raise InputError(f"'{printable(source.id, 60)}' has the running {output} of '{node.id}' and of "
                                 f"'{fed[source.id].partition('.')[0]}'; give each one of its own")
            fed[source.id] = f"{node.id}.{output}"
    return fed


def evaluation(circuit: Circuit) -> Circuit:
    """The same document for validation: dropout lets everything through, running statistics are used and stay."""
    return circuit.with_gates(_evaluating(circuit.gates))


def _evaluating(gates: GateTable) -> GateTable:
    table = dict(gates)
    if (dropout := gates.get("dropout")) is not None:
        table["dropout"] = replace(dropout, forward=lambda xp, x, seed, *, ratio: x)
    if (normalization := gates.get("batch_normalization")) is not None:
        table["batch_normalization"] = replace(normalization, forward=_with_running_statistics(normalization.forward))
    return table


def _with_running_statistics(forward: Any) -> Any:
    def normalized(xp: Any, *operands: Any, training_mode: bool, **attributes: Any) -> Any:
        y = forward(xp, *operands, training_mode=False, **attributes)
        return (y, *(operands[position] for position in _STATISTICS.values())) if training_mode else y

    return normalized


def fresh_seed(xp: Any, seed: Any, run: int, step: Any, row: Any = 0) -> Any:
    """A seed for a step, in the dtype of the document's: SplitMix64 of the seed, the fit's seed, the step and the row.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014. `seed`, `step` and `row` are
    arrays of a namespace; integers wrap around.
    """
    state = xp.asarray(seed, dtype=xp.uint64)
    for part in (run % 2**64, step, row):
        state = _mixed(xp, state ^ _mixed(xp, xp.asarray(part, dtype=xp.uint64)))
    return state


def _mixed(xp: Any, x: Any) -> Any:
    x = x + xp.asarray(0x9E3779B97F4A7C15, dtype=xp.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> xp.asarray(shift, dtype=xp.uint64))) * xp.asarray(factor, dtype=xp.uint64)
    return x ^ (x >> xp.asarray(31, dtype=xp.uint64))


def as_seed(xp: Any, bits: Any, dtype: Any) -> Any:
    """The lowest bits of a mix as a number from 0 on that an integer dtype holds."""
    return xp.asarray(bits & xp.asarray(np.iinfo(dtype).max, dtype=xp.uint64), dtype=dtype)
