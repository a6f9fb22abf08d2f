"""The subcircuits of a derivative: those of the primal and their gradients, all at the top of the document."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from circuitflow.gates import IDENTITY, ArrayType, GateTable
from circuitflow.graph.bodies import Definition
from circuitflow.graph.reachable import reachable
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.masked import Masked, plain
from circuitflow.interpreter.passes import marked_sweep
from circuitflow.interpreter.plan import Plan, Step, UnitGate, make_plan
from circuitflow.interpreter.scans import arrivals
from circuitflow.text import application
from circuitflow.transforms import primal
from circuitflow.transforms.naming import Names, as_body, as_nodes, finish_records, name_gradients
from circuitflow.transforms.writer import Record, Wire, Writer

Gradient = Wire | Masked | None
"""What a sweep over wires gives for a slot."""

Settle = Callable[[Node, Sequence[Wire]], Sequence[Wire]]
"""Gives the wires to read in place of those that a node has written."""


class Pullback(NamedTuple):
    """The gradient of a subcircuit, as a subcircuit.

    Attributes:
        name: what it is called.
        reads: its inputs that are those of the primal, by the name there.
        upstream: its inputs for upstream gradients, by output of the primal.
        sends: its outputs, by input of the primal; none where no gradient flows.
        types: shape and dtype of everything that it reads, takes or sends, by its own name.
        masked: of the inputs of the primal, those on which the gradient may have zeros of a mask.
    """

    name: str
    reads: Mapping[str, str]
    upstream: Mapping[str, str]
    sends: Mapping[str, str]
    types: Mapping[str, ArrayType]
    masked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Forward:
    """The forward part of a body, written.

    Attributes:
        wires: what every output of every node is, one node after the other.
        carries: for a scan that is differentiated, the carries before every step, by the id of the node.
    """

    wires: list[Wire]
    carries: Mapping[str, Mapping[str, Wire]]


class Subcircuits:
    """Writes each applied body once.

    Attributes:
        bodies: as a document has them, by name.
    """

    def __init__(self, gates: GateTable, dtype: str, folder: Path | None,
                 rules: Callable[[Subcircuits], UnitGate]) -> None:
        self.gates, self.dtype, self.folder, self._rules = gates, dtype, folder, rules
        self.bodies: dict[str, dict[str, Any]] = {}
        self._names = Names()
        self._primals: dict[tuple[Definition, tuple[str, ...]], str] = {}
        self._pullbacks: dict[Any, Pullback] = {}

    def applied_by(self, nodes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The bodies that nodes need, oldest first."""
        def circuits(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
            return [node[key] for node in nodes for key in ("circuit", "then", "else") if key in node]

        names = reachable(circuits(nodes), lambda name: circuits(self.bodies[name]["nodes"]))
        return {name: body for name, body in self.bodies.items() if name in names}

    def add(self, hint: str, body: dict[str, Any]) -> str:
        """Add a body; returns its name."""
        name = self._names.unique(hint)
        self.bodies[name] = body
        return name

    # Forward

    def forward(self, writer: Writer, body: TypedBody, nodes: Sequence[Node], sources: Mapping[str, Wire],
                differentiated_ids: Collection[str] = (), settle: Settle | None = None) -> Forward:
        """Write nodes, one after the other; `sources` has those of inputs and parameters.

        `settle` gives the wires that other nodes read in place of a gate's own.
        """
        ids = primal.ids(body)
        wires: dict[str, Sequence[Wire]] = {}
        carries: dict[str, Mapping[str, Wire]] = {}
        for node in nodes:
            operands = [wires[edge.source][edge.output] for edge in node.operands]
            if node.id in sources:
                wires[node.id] = [sources[node.id]]
            elif node.kind == "constant":
                wires[node.id] = [primal.source(writer, node, ids[node.id], self.folder)]
            elif node.gate is not None:
                wires[node.id] = primal.gate(writer, node, ids[node.id], operands)
            else:
                by_port = dict(zip(ports(node), operands, strict=True))
                more = node.attributes["carry"] if node.kind == "scan" and node.id in differentiated_ids else {}
                circuits = {key: self.primal(node.attributes[key], name, tuple(more))
                            for key, name in primal.circuits(node).items()}
                before = list(_before(node.attributes["circuit"], more).values()) if more else ()
                length = by_port[node.attributes["over"][0]].shape[0] if more else 0
                types = [ArrayType((length, *by_port[name].shape), by_port[name].dtype) for name in more]
                outputs = primal.application(writer, node, ids[node.id], by_port, circuits, before, types)
                wires[node.id] = outputs[: len(node.types)]
                carries[node.id] = dict(zip(more, outputs[len(node.types) :], strict=True))
            if settle is not None and not node.is_source:
                wires[node.id] = settle(node, wires[node.id])
        return Forward([wire for node in nodes for wire in wires[node.id]], carries)

    def primal(self, body: TypedBody, hint: str, also: tuple[str, ...] = ()) -> str:
        """The name of a body of the primal, whose parameters become inputs; `also` are inputs that are outputs too."""
        key = body.definition, also
        if key not in self._primals:
            self._primals[key] = self._names.unique(f"{hint}_with_carry" if also else hint)
            writer, ids = Writer(self.gates, self.dtype), primal.ids(body)
            inputs = {name: primal.port(writer, body.nodes[name], ids[name], with_type=True)
                      for name in body.inputs}
            self.forward(writer, body, list(body.nodes.values()), inputs)
            before = _before(body, also)
            for name, output in before.items():
                writer.row(IDENTITY)
                writer.write(Record(IDENTITY, {0: inputs[name]}, {}, name=output), [inputs[name].type])
            notes = {"description": body.definition.body.description} if body.definition.body.description else {}
            self.bodies[self._primals[key]] = {**notes, "nodes": list(as_nodes(writer.records)),
                                               "outputs": [*body.outputs, *before.values()]}
        return self._primals[key]

    # Reverse

    def sweep(self, writer: Writer, plan: Plan, forward: Forward,
              seeds: Mapping[int, Gradient], plain_nodes: Collection[str] = ()
              ) -> tuple[list[Gradient], list[Contribution]]:
        """Write the reverse sweep; returns the gradient in every slot, None where none arrives, and contributions.

        Nodes in `plain_nodes` do not mark.
        """
        def narrate(steps: Sequence[Step], _: str) -> Iterator[Step]:
            for step in steps:
                origin = application(step.node.kind, (edge.source for edge in step.node.operands), 4)
                writer.stage, writer.notes = step.node.id, {"description": f"from {step.node.id} = {origin}"}
                yield step

        writer.carries = forward.carries
        results = marked_sweep(plan, writer, forward.wires, seeds, narrate, plain_nodes=plain_nodes)
        writer.stage, writer.notes = "", {}
        return results

    def arrivals(self, body: TypedBody, carry: Mapping[str, str], upstream: Collection[str]) -> tuple[list[str], bool]:
        """The carries of a scan on which a gradient arrives; see `arrivals` of the interpreter."""
        plan = make_plan(body, list(body.outputs), list(carry), self._rules(self))
        return arrivals(plan, {name: plan.wrt[name] for name in carry}, carry, upstream)

    def pullback(self, body: TypedBody, hint: str, wrt: Collection[str], of: Collection[str],
                 masked: Collection[str]) -> Pullback:
        """The gradient of a body by the inputs `wrt`, from upstream gradients on the outputs `of`; some are masked."""
        key = body, frozenset(wrt), frozenset(of), frozenset(masked)
        if key not in self._pullbacks:
            self._pullbacks[key] = self._pullback(body, hint, *key[1:])
        return self._pullbacks[key]

    def _pullback(self, body: TypedBody, hint: str, wrt: Collection[str], of: Collection[str],
                  masked: Collection[str]) -> Pullback:
        writer, ids = Writer(self.gates, self.dtype), primal.ids(body)
        plan = make_plan(body, [text for text in body.outputs if text in of],
                         [name for name in body.inputs if name in wrt], self._rules(self))
        inputs = {name: primal.port(writer, body.nodes[name], ids[name], with_type=False)
                  for name in body.inputs if name in plan.sources}
        forward = self.forward(writer, body, planned_nodes(body, plan), inputs, differentiated_ids(plan))
        names = Names(ids.values())
        upstream = {text: writer.port(names.unique(f"d{text}"), forward.wires[slot].type)
                    for text, slot in plan.of.items() if plan.active[slot]}
        seeds = plan.seeds({text: Masked(writer, wire) if text in masked else wire for text, wire in upstream.items()})
        sweep, _ = self.sweep(writer, plan, forward, seeds)
        gradients: list[Wire | None] = [*map(plain, sweep)]
        requested = {name: gradients[slot] for name, slot in plan.wrt.items()}
        sends = {name: wire for name, wire in requested.items() if wire is not None}
        if not sends:
            return Pullback("", {}, {}, {}, {})
        outputs = name_gradients(writer, plan.names, gradients, sends, names, lambda name: f"d{name}", "gradient on")
        records = finish_records(writer, names, [wire.record for wire in outputs.values()])
        members = set(map(id, records))
        name = self.add(f"{hint}_gradient", {"description": f"the gradient of {hint}",
                                             **as_body(records, outputs.values())})
        reads = {name: wire for name, wire in inputs.items() if id(wire.record) in members}
        starts = {text: wire for text, wire in upstream.items() if id(wire.record) in members}
        return Pullback(name, _references(reads), _references(starts), _references(outputs),
                        {wire.reference: wire.type for wires in (reads, starts, outputs) for wire in wires.values()},
                        frozenset(name for name, slot in plan.wrt.items() if isinstance(sweep[slot], Masked)))


def _references(wires: Mapping[str, Wire]) -> dict[str, str]:
    return {key: wire.reference for key, wire in wires.items()}


def _before(body: TypedBody, carry: Iterable[str]) -> dict[str, str]:
    """The names of the outputs that are carried inputs."""
    names = Names(primal.ids(body).values())
    return {name: names.unique(f"{name}_before") for name in carry}


def ports(node: Node) -> list[str]:
    """The names of the operands of a node that applies circuits, as they are in the written circuit."""
    names = {name: id_ for key in primal.circuits(node) for name, id_ in primal.ids(node.attributes[key]).items()}
    return [names.get(str(edge.port), str(edge.port)) for edge in node.operands]


def differentiated_ids(plan: Plan) -> set[str]:
    """The nodes that the reverse sweep goes through."""
    return {step.node.id for step in plan.steps if step.receivers}


def planned_nodes(body: TypedBody, plan: Plan) -> list[Node]:
    """The nodes of a plan in the order of its slots."""
    steps = {step.node.id for step in plan.steps}
    return [node for node in body.nodes.values() if node.id in steps or node.id in plan.sources]
