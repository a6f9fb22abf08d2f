"""A circuit whose outputs are all that a run shows: every value, every gradient, the contribution of every edge.

It is made for a choice of arguments. Upstream gradients are inputs, and every gate can be set by hand: a gate n becomes
`where(n_is_set, n_set, n)` before the derivative is taken, so that what lies behind it follows, and no gradient goes
back through it. An input says whether a gradient of 0 times an infinity is 0, as where a gate is set or an output
gets no gradient; otherwise it is NaN, as in a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.document.model import Document
from circuitflow.document.versions import with_lowest_version
from circuitflow.gates import IDENTITY, ArrayType
from circuitflow.gates.integers import name_of
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.typed import Node
from circuitflow.interpreter.masked import Masked, plain
from circuitflow.interpreter.result import Result
from circuitflow.transforms import primal
from circuitflow.transforms.derivation import Derivation
from circuitflow.transforms.naming import Names, as_nodes
from circuitflow.transforms.subcircuits import Subcircuits
from circuitflow.transforms.units import gradients_of_units
from circuitflow.transforms.writer import Record, Wire, Writer

Edge = tuple[str, str, str | int]
"""Source, target and port of a contribution."""


class Observed(NamedTuple):
    """A circuit that computes what a run shows, and the references to it there.

    Attributes:
        circuit: its inputs have no values, and the shapes of the run.
        sources: the inputs for inputs and parameters, by id.
        settings: for each value of a gate that can be set, the input that says so and the one for its value.
        keeps: the input that says whether zeros of gradients are kept.
        upstream: the inputs for upstream gradients, which are outputs too, by the value that they arrive on.
        values, gradients: the outputs for each value and for the gradient on it.
        contributions: the outputs for what every edge sends back.
    """

    circuit: Circuit
    sources: Mapping[str, str]
    settings: Mapping[str, tuple[str, str]]
    keeps: str
    upstream: Mapping[str, str]
    values: Mapping[str, str]
    gradients: Mapping[str, str]
    contributions: Mapping[Edge, str]


@collector_paused()
def observed(result: Result) -> Observed:
    """The circuit that computes again what a result shows, for other arguments of the same shapes."""
    settable = _Settable(result)
    names = settable.references
    own = {reference: name for name, reference in names.items()}
    by = [names[name] for name in result.gradients if name in names]
    derivation = Derivation(settable.circuit, [*own], by)
    seeds = {text: derivation.seed(f"d{text}", wire.type, f"upstream gradient on {text}")
             for text, wire in derivation.outputs().items() if own[text] in result.upstream}
    keeps = derivation.seed("keeps_zeros", ArrayType((), "bool"), "whether 0 times an infinite slope is 0")
    marked = {text: Masked(derivation.writer, wire, keeps) for text, wire in seeds.items()}
    sweep, sent = derivation.marked_sweep(derivation.plan.seeds(marked), settable.switches)
    gradients = derivation.requested([*map(plain, sweep)])  # of all that a result has a gradient on
    outputs: list[tuple[Any, Wire]] = [
        *((("value", own[name]), wire) for name, wire in zip(derivation.plan.names, derivation.forward.wires,
                                                             strict=True) if name in own),
        *((("gradient", own[name]), wire) for name, wire in gradients.items()),
        *((("upstream", own[text]), wire) for text, wire in seeds.items()),
        *((("contribution", own[c.source], settable.nodes[c.target], c.port), c.value) for c in sent
          if c.source in own and c.target in settable.nodes)]
    circuit = derivation.finish([wire for _, wire in outputs], f"{result.circuit.name}_observed",
                                f"every value and gradient of {result.circuit.name}")
    found: dict[str, dict[Any, str]] = {"upstream": {}, "value": {}, "gradient": {}, "contribution": {}}
    for (kind, *key), wire in outputs:
        found[kind][key[0] if len(key) == 1 else tuple(key)] = wire.reference
    return Observed(circuit, settable.sources, settable.settings, keeps.reference, *found.values())


class _Settable:
    """The primal, with calls expanded, in which every gate that gives floats can be set.

    Attributes:
        circuit: its outputs are all of its values.
        references: what it calls each value.
        nodes: what each of its gates is in the original, by id.
        sources: the inputs for inputs and parameters, by id.
        settings: see `Observed`.
        switches: the ids of the nodes that take what is set.
    """

    def __init__(self, result: Result) -> None:
        circuit, values = result.circuit, result.values
        ids = primal.ids(circuit)
        self._result, self._names = result, Names(ids.values())
        self._writer = Writer(circuit.gates, circuit.definition.dtype)
        self.nodes = {ids[name]: name for name in circuit.nodes}
        self.settings: dict[str, tuple[str, str]] = {}
        self.switches: set[str] = set()
        nodes = [node for node in circuit.nodes.values() if node.name_of(0) in values]
        subcircuits = Subcircuits(circuit.gates, circuit.definition.dtype, circuit.definition.source.folder,
                                  gradients_of_units)
        sources = {node.id: self._input(ids[node.id], _type(values[node.id])) for node in nodes if node.is_argument}
        self.sources = {name: wire.reference for name, wire in sources.items()}
        wires = iter(subcircuits.forward(self._writer, circuit, nodes, sources, settle=self._settle).wires)
        self.references = {name: next(wires).reference for node in nodes for name in node.names}
        content = list(as_nodes(self._writer.records))
        document = {
            "circuitflow": circuit.document.circuitflow, "name": circuit.name, "dtype": circuit.document.dtype,
            "circuits": subcircuits.applied_by(content) or None, "nodes": content,
            "outputs": [*self.references.values()]}
        self.circuit = circuit.derived(with_lowest_version(Document.model_validate(
            {key: value for key, value in document.items() if value is not None})))

    def _input(self, name: str, type_: ArrayType) -> Wire:
        attributes = {"shape": [*type_.shape], "dtype": type_.dtype}
        return self._writer.write(Record("input", {}, attributes, name=name), [type_])[0]

    def _settle(self, node: Node, wires: Sequence[Wire]) -> Sequence[Wire]:
        if node.kind == IDENTITY and primal.site(node).node.gate != IDENTITY:
            return wires  # the input of a call: its operand can be set
        return [self._settled(name, wire) for name, wire in zip(node.names, wires, strict=True)]

    def _settled(self, name: str, wire: Wire) -> Wire:
        type_ = _type(self._result.values[name])
        if not wire.type.is_float:
            return wire
        flag, value = (self._input(self._names.unique(f"{name}_{end}"), of)
                       for end, of in (("is_set", ArrayType((), "bool")), ("set", type_)))
        self.settings[name] = flag.reference, value.reference
        self._writer.row("where")
        record = Record("where", dict(enumerate((flag, value, wire))), {}, name=self._names.unique(f"{name}_or_set"))
        (settled,) = self._writer.write(record, [wire.type])
        self.switches.add(settled.reference)
        return settled


def _type(value: Any) -> ArrayType:
    return ArrayType(tuple(value.shape), name_of(value.dtype))


