"""Turns records into the nodes of a document: selects them, names them, writes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from circuitflow.gates import IDENTITY
from circuitflow.graph.reachable import reachable
from circuitflow.transforms.writer import Record, Wire, Writer


class Names:
    """Gives out ids, each once."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._in_use = set(names)
        self._numbers: dict[str, int] = {}

    def unique(self, hint: str) -> str:
        """A name for a node, or the name with the first number that is free."""
        return self.free(hint.replace("/", "_").replace(".", "_")[:100])

    def free(self, base: str) -> str:
        """A name as it is, or with the first number that is free."""
        name = base
        while name in self._in_use:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = f"{base}_{self._numbers[base]}"
        self._in_use.add(name)
        return name


def name_gradients(writer: Writer, slots: Sequence[str], gradients: Sequence[Wire | None],
                   requested: Mapping[str, Wire], names: Names, label: Callable[[str], str | None],
                   what: str) -> dict[str, Wire]:
    """Name gradients after their nodes; returns the requested ones, each a node of its own.

    Where a gradient passes through a gate unchanged, it is called after the node nearest to the output.
    """
    owner: dict[int, str] = {}
    for name, wire in zip(reversed(slots), reversed(gradients), strict=True):
        if wire is None or wire.record.name is not None or wire.record.gate == "constant" or wire.record.outputs:
            continue
        hint = label(name)
        if hint is not None:
            wire.record.name = names.unique(hint)
            owner[id(wire.record)] = name
    return {name: wire if owner.get(id(wire.record)) == name
            else with_name(writer, wire, names.unique(label(name) or name), {"description": f"{what} {name}"})
            for name, wire in requested.items()}


def with_name(writer: Writer, wire: Wire, name: str, notes: Mapping[str, Any] = MappingProxyType({})) -> Wire:
    """Name the node of a wire, or add a named identity if it has a name already."""
    record = wire.record
    if record.gate == "constant":
        record = Record("constant", {}, record.attributes, name=name, notes=notes)
    elif record.name is not None or record.outputs:
        writer.row(IDENTITY)
        record = Record(IDENTITY, {0: wire}, {}, name=name, notes=notes)
    else:
        record.name = name
        return wire
    return writer.write(record, [wire.type], wire.fill)[0]


def finish_records(writer: Writer, names: Names, outputs: Iterable[Record]) -> list[Record]:
    """The records that outputs need, with names. Sums of sums become one sum."""
    outputs = list(outputs)
    ancestors = needed_records(outputs)
    records = _with_longer_sums(writer, [record for record in writer.records if record in ancestors], outputs)
    _name(records, names)
    return records


def close_over(writer: Writer, records: Sequence[Record], results: Sequence[Wire],
               outputs: Sequence[str]) -> dict[str, Any]:
    """The body of a closure: its records with names, and results that are called as the outputs."""
    names = Names([*(record.name for record in records if record.name is not None), *outputs])
    start = len(writer.records)
    ends = [with_name(writer, wire, name) for wire, name in zip(results, outputs, strict=True)]
    records = [*records, *writer.records[start:]]
    del writer.records[start:]
    _name(records, names)
    return as_body(records, ends)


def _name(records: Iterable[Record], names: Names) -> None:
    """Name the records that have no name after the node that they come from."""
    for record in records:
        if record.name is None:
            is_back = record.stage and record.gate != "constant"
            record.name = names.unique(f"{record.stage}_back" if is_back else record.stage or record.gate)


def as_nodes(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Records with names as the nodes of a document."""
    for record in records:
        node = {"id": record.name, "gate": record.gate, **record.attributes}
        if record.operands:
            references = {str(port): wire.reference for port, wire in record.operands.items()}
            by_position = all(isinstance(port, int) for port in record.operands)
            node["inputs"] = list(references.values()) if by_position else references
        yield {**node, **record.notes}


def as_body(records: Iterable[Record], outputs: Iterable[Wire]) -> dict[str, Any]:
    """Records with names as a body of a document, with these outputs."""
    return {"nodes": list(as_nodes(records)), "outputs": [wire.reference for wire in outputs]}


def needed_records(outputs: Iterable[Record]) -> Collection[Record]:
    """These records and their ancestors."""
    return reachable(outputs, lambda record: [wire.record for wire in record.operands.values()])


def _with_longer_sums(writer: Writer, records: Sequence[Record], outputs: Iterable[Record]) -> list[Record]:
    """Replace the first operand of a sum by its operands where it is a sum without a name and without another use."""
    sums = {name for name in {record.gate for record in records}
            if name in writer.gates and writer.gates[name].facets.loop == "sum"}
    uses = dict.fromkeys(map(id, outputs), 1)
    for record in records:
        for wire in record.operands.values():
            uses[id(wire.record)] = uses.get(id(wire.record), 0) + 1
    terms: dict[int, list[Wire]] = {}
    inner: set[int] = set()
    for record in records:
        if record.gate in sums:
            first, *rest = record.operands.values()
            if first.record.gate == record.gate and first.record.name is None and uses[id(first.record)] == 1:
                inner.add(id(first.record))
                terms[id(record)] = terms.pop(id(first.record))  # one list grows, so the time is linear
                terms[id(record)] += rest
            else:
                terms[id(record)] = [first, *rest]
    for record in records:
        if id(record) in terms:
            record.operands = dict(enumerate(terms[id(record)]))
    return [record for record in records if id(record) not in inner]
