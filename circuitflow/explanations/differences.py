"""Compares two circuits by meaning: the order of nodes, layout and labels do not count."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.values import from_array
from circuitflow.explanations.fits import fit_changes
from circuitflow.gates.shapes import show
from circuitflow.graph.bodies import Definition, Operand, Site
from circuitflow.graph.circuit import Circuit
from circuitflow.text import application, number, short

ChangeKind = Literal["removed", "added", "renamed", "changed", "rewired", "circuit"]

_FEW = 16
"""The largest array that is compared number by number; larger ones are compared by a digest."""

_EXACT = 60
"""Longest exact text of numbers that look the same in short, in characters."""


class Change(NamedTuple):
    """One thing that differs.

    Attributes:
        kind: the change of the node; "circuit" for a change that belongs to no node.
        circuit: name of the subcircuit; "" for the circuit itself.
        node: id of the node now; "" where there is none.
        what: the part that changed: "gate", "value", an attribute, an operand by its port; "" for the whole node.
        was, now: before and after, in short; "" for nothing.
    """

    kind: ChangeKind
    circuit: str
    node: str
    what: str = ""
    was: str = ""
    now: str = ""

    def __str__(self) -> str:
        where = f"{self.circuit}: " if self.circuit else ""
        match self.kind:
            case "removed":
                return f"{where}- {self.node} = {self.was}"
            case "added":
                return f"{where}+ {self.node} = {self.now}"
            case "renamed":
                return f"{where}> {self.was} is now called {self.node}"
            case "circuit":
                return f"{where}~ {self.what}: {self.was or 'none'} → {self.now or 'none'}"
        return f"{where}~ {self.node}: {self.what}: {self.was or 'none'} → {self.now or 'none'}"


@dataclass(frozen=True)
class Difference:
    """Everything that differs.

    Attributes:
        changes: what changed, subcircuits after the circuit.
        before: the old id of every node that both circuits have, by the new one.
    """

    changes: Sequence[Change]
    before: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no difference"


@checked
def diff(old: Circuit, new: Circuit) -> Difference:
    """The changes from one circuit to another.

    Bounds of parameters and the fit count too, with its result; they say what the circuit is for.

    A node with a new id counts as renamed if it has the same meaning and the same neighbours: it reads the same nodes,
    or the same nodes read it. A source needs only a meaning that no other source has.

    Args:
        old: before.
        new: after.
    """
    changes: list[Change] = []
    pending = [("", old.definition, new.definition)]
    pairs: set[tuple[Definition, Definition]] = set()
    meanings, first = _Meanings(), None
    for name, before, after in pending:  # grows by subcircuits that differ
        if (before, after) in pairs:
            continue
        pairs.add((before, after))
        comparison = _Comparison(name, before, after, meanings)
        first = first or comparison
        changes += comparison.changes()
        pending += comparison.subcircuits()
    for text in {**old.upstream, **new.upstream}:
        values = [_array(circuit.upstream[text]) if text in circuit.upstream else None for circuit in (old, new)]
        if values[0] != values[1]:
            was, now = (number(c.upstream[text], 4) if text in c.upstream else "" for c in (old, new))
            changes.append(Change("circuit", "", "", f"upstream of {text}", was, now))
    changes += [Change("circuit", "", "", *change) for change in fit_changes(old.document.fit, new.document.fit)]
    assert first is not None  # noqa: S101
    return Difference(tuple(changes), first.before)


class _Meanings:
    """The meaning of nodes and bodies, computed once for each body."""

    def __init__(self) -> None:
        self._digests: dict[Definition, str] = {}

    def digest(self, definition: Definition) -> str:
        """A digest that is equal for bodies of the same gates on inputs of the same names."""
        if definition not in self._digests:
            marks: dict[str, str] = {}
            for site in definition.order:
                name = site.node.id if site.node.gate in ("input", "parameter") else ""
                operands = [(marks.get(edge.source, ""), edge.output, str(edge.port)) for edge in site.operands]
                marks[site.node.id] = hashlib.sha256(repr((name, self.meaning(site), operands)).encode()).hexdigest()
            outputs = [(text if len(definition.outputs) > 1 else "", marks.get(output.node, ""), output.position)
                       for text, output in definition.outputs.items()]
            self._digests[definition] = hashlib.sha256(repr((definition.dtype, outputs)).encode()).hexdigest()
        return self._digests[definition]

    def meaning(self, site: Site) -> Hashable:
        """The meaning of a node without its operands."""
        return tuple((part, key) for part, (_, key) in self.parts(site).items())

    def parts(self, site: Site) -> dict[str, tuple[str, Hashable]]:
        """The parts of a node by name: gate, value, attributes; each in short, and as a value to compare."""
        node = site.node
        parts: dict[str, tuple[str, Hashable]] = {"gate": (node.gate, node.gate)}
        if site.is_source:
            value, shape, dtype = node.value, getattr(node, "shape", None), node.dtype  # type: ignore[union-attr]
            if site.array is not None:
                parts["value"] = number(site.array, 4), _array(site.array)
                dtype = None  # which the array has
            elif value is not None:
                parts["value"] = short(value), repr(value)
            if shape is not None:
                parts["shape"] = show(tuple(shape)), show(tuple(shape))  # a tuple is an array here
            if dtype is not None:
                parts["dtype"] = dtype, dtype
            for key, side in zip(("min", "max"), site.bounds or (), strict=False):
                if np.any(np.isfinite(side)):
                    parts[key] = number(side, 4), _array(side)
            if getattr(node, "frozen", False):
                parts["frozen"] = "yes", True
            return parts
        for name, value in site.attributes.items():
            parts[name] = json.dumps(value), json.dumps(value)
        for key, body in site.bodies.items():
            parts[key] = node.circuits[key], self.digest(body)  # type: ignore[union-attr]
        if site.bodies:
            rest = node.model_dump(exclude=_ASIDE | set(site.bodies))
            parts |= {name: (json.dumps(value), json.dumps(value)) for name, value in rest.items()}
        return parts


class _Comparison:
    """Two bodies side by side."""

    def __init__(self, name: str, old: Definition, new: Definition, meanings: _Meanings) -> None:
        self.name, self.old, self.new, self.digests = name, old, new, meanings
        self.outputs: dict[Definition, dict[str, tuple[str, ...]]] = {old: {}, new: {}}
        self.before = {id_: id_ for id_ in new.sites if id_ in old.sites}
        self.after = dict(self.before)
        self.meanings = {id(site): meanings.meaning(site) for body in (old, new) for site in body.sites.values()}
        around = [(_reads(old), _reads(new), new.order), (_read_by(old), _read_by(new), new.order[::-1])]
        while self._match(*around[0]) or self._match(*around[1]) or self._match_sources():
            pass

    def _match(self, old: Mapping[str, _Context], new: Mapping[str, _Context], order: Sequence[Site]) -> bool:
        """Pair nodes without a partner that have the same meaning and neighbours. Returns whether there were any.

        Neighbours are those that the old and the new nodes read, or that read them; they come first in the order.
        """
        waiting: dict[Hashable, deque[str]] = defaultdict(deque)
        for id_, site in self.old.sites.items():
            if id_ not in self.after and old[id_]:
                waiting[self.meanings[id(site)], tuple(sorted(old[id_]))].append(id_)
        any_pair = False
        for site in order if waiting else ():
            id_ = site.node.id
            if id_ in self.before or not new[id_] or not all(name in self.before or not name for name, *_ in new[id_]):
                continue
            context = sorted((self.before.get(name, ""), *rest) for name, *rest in new[id_])
            partners = waiting.get((self.meanings[id(site)], tuple(map(tuple, context))))
            if partners:
                partner = partners.popleft()
                self.before[id_], self.after[partner] = partner, id_
                any_pair = True
        return any_pair

    def _match_sources(self) -> bool:
        """Pair sources without a partner whose meaning is unique. Returns whether there were any."""
        sides = []
        for body, partners in ((self.old, self.after), (self.new, self.before)):
            alike: dict[Hashable, list[str]] = defaultdict(list)
            for id_, site in body.sites.items():
                if id_ not in partners and not site.operands:
                    alike[self.meanings[id(site)]].append(id_)
            sides.append(alike)
        pairs = [(sides[0][meaning][0], ids[0]) for meaning, ids in sides[1].items()
                 if len(ids) == 1 == len(sides[0].get(meaning, ()))]
        self.after.update(pairs)
        self.before.update((new, old) for old, new in pairs)
        return bool(pairs)

    # What differs

    def changes(self) -> Iterator[Change]:
        for id_, site in self.old.sites.items():
            if id_ not in self.after:
                yield Change("removed", self.name, id_, was=self._whole(self.old, site))
        for id_, site in self.new.sites.items():
            if id_ not in self.before:
                yield Change("added", self.name, id_, now=self._whole(self.new, site))
            elif self.before[id_] != id_:
                yield Change("renamed", self.name, id_, was=self.before[id_])
        for id_, was in self.before.items():
            yield from self._node(id_, self.old.sites[was], self.new.sites[id_])
        outputs = [[Operand(output.node, output.position, 0) for output in body.outputs.values()]
                   for body in (self.old, self.new)]
        names = [self._reference(self.new, edge) for edge in outputs[1]]
        if [self._reference(self.old, edge, by_new_id=True) for edge in outputs[0]] != names:
            before = [self._reference(self.old, edge) for edge in outputs[0]]
            yield Change("circuit", self.name, "", "outputs", ", ".join(before), ", ".join(names))
        if self.old.dtype != self.new.dtype:
            yield Change("circuit", self.name, "", "dtype", self.old.dtype, self.new.dtype)

    def _node(self, id_: str, old: Site, new: Site) -> Iterator[Change]:
        if self.meanings[id(old)] != self.meanings[id(new)]:
            parts = [self.digests.parts(site) for site in (old, new)]
            for what in dict.fromkeys((*parts[0], *parts[1])):
                was, now = (side.get(what, ("", None)) for side in parts)
                if was[1] != now[1]:
                    exact = [str(side[1][-1]) for side in (was, now) if isinstance(side[1], tuple)]
                    alike = was[0] == now[0] and len(exact) == 2 and max(map(len, exact)) <= _EXACT
                    yield Change("changed", self.name, id_, what, *(exact if alike else (was[0], now[0])))
        edges = [{edge.port if site.bodies else i: edge for i, edge in enumerate(site.operands)} for site in (old, new)]
        for place in dict.fromkeys((*edges[0], *edges[1])):
            left, right = edges[0].get(place), edges[1].get(place)
            before = self._reference(self.old, left, by_new_id=True) if left else ""
            after = self._reference(self.new, right) if right else ""
            if before != after:
                port = (right or left).port  # type: ignore[union-attr]
                source = self._reference(self.old, left) if left else ""
                yield Change("rewired", self.name, id_, f"operand {port}", source, after)

    def _reference(self, body: Definition, edge: Operand, *, by_new_id: bool = False) -> str:
        """The reference to the value of an edge; with `by_new_id`, by the new id of an old node."""
        if edge.source not in self.outputs[body]:  # once for each source: listing them for each of n readers takes n²
            self.outputs[body][edge.source] = tuple(body.sites[edge.source].outputs)
        outputs = self.outputs[body][edge.source]
        name = self.after.get(edge.source, f"the old {edge.source}") if by_new_id else edge.source
        return f"{name}.{outputs[edge.output]}" if len(outputs) > 1 else name

    def _whole(self, body: Definition, site: Site) -> str:
        """A node in short."""
        parts = self.digests.parts(site)
        if site.is_source:
            return " ".join([site.node.gate, *(text for what, (text, _) in parts.items() if what == "value")])
        return application(parts["gate"][0], (self._reference(body, edge) for edge in site.operands))

    def subcircuits(self) -> Iterator[tuple[str, Definition, Definition]]:
        """The circuits of nodes before and after that differ."""
        for id_, was in self.before.items():
            old, new = self.old.sites[was], self.new.sites[id_]
            for key in old.bodies.keys() & new.bodies.keys():
                if self.digests.digest(old.bodies[key]) != self.digests.digest(new.bodies[key]):
                    name = new.node.circuits[key]  # type: ignore[union-attr]
                    yield f"{self.name}/{name}" if self.name else name, old.bodies[key], new.bodies[key]


_Context = list[tuple[Any, ...]]
"""Neighbours of a node, each with the output and the port of the edge; "" stands for the outputs of a body."""


def _reads(body: Definition) -> dict[str, _Context]:
    return {id_: [(edge.source, edge.output, str(edge.port)) for edge in site.operands]
            for id_, site in body.sites.items()}


def _read_by(body: Definition) -> dict[str, _Context]:
    readers: dict[str, _Context] = {id_: [] for id_ in body.sites}
    for id_, site in body.sites.items():
        for edge in site.operands:
            readers[edge.source].append((id_, edge.output, str(edge.port)))
    for place, output in enumerate(body.outputs.values()):
        readers[output.node].append(("", output.position, str(place)))
    return readers


_ASIDE = {"id", "gate", "inputs", "else_", "label", "description", "metadata"}


def _array(array: Any) -> Hashable:
    """A key of an array: its numbers if they are few, else a digest of its bytes. Every NaN is the same."""
    array = np.ascontiguousarray(array) if array.ndim else np.asarray(array)
    if array.size <= _FEW:
        return str(array.dtype), array.shape, json.dumps(from_array(array))
    if array.dtype.kind == "f":
        array = np.where(array != array, array.dtype.type(math.nan), array)
    return str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()
