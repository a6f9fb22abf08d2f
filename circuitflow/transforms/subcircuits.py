"""The subcircuits of a document that is written: those of the primal and their gradients, all at its top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from circuitflow.executor.passes import reverse_sweep
from circuitflow.executor.plan import Plan, Structure, make_plan
from circuitflow.gates import ArrayType, Gate, GateTable
from circuitflow.graph.definition import Definition
from circuitflow.graph.levels import Level
from circuitflow.graph.node import Node
from circuitflow.transforms import primal
from circuitflow.transforms.naming import Names, as_nodes, finished, name_gradients
from circuitflow.transforms.wires import Record, Wire
from circuitflow.transforms.writer import Writer


class Pullback(NamedTuple):
    """The gradient of a subcircuit, as a subcircuit.

    Attributes:
        name: what it is called.
        reads: its inputs that are those of the primal, by the position there.
        upstream: its inputs for upstream gradients, by position of the output of the primal.
        sends: its outputs, by position of the input of the primal; none where no gradient flows.
    """

    name: str
    reads: Mapping[int, str]
    upstream: Mapping[int, str]
    sends: Mapping[int, str]


class Subcircuits:
    """The bodies that are called, each written once.

    Attributes:
        bodies: as a document has them, by name.
    """

    def __init__(self, gates: GateTable, dtype: str, folder: Path | None) -> None:
        self.gates, self.dtype, self.folder = gates, dtype, folder
        self.bodies: dict[str, dict[str, Any]] = {}
        self._names = Names()
        self._primals: dict[Definition, str] = {}
        self._pullbacks: dict[Any, Pullback] = {}

    def called(self, nodes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The bodies that nodes need, in the order in which they were written."""
        pending, seen = list(nodes), set()
        while pending:
            name = pending.pop().get("circuit")
            if name is not None and name not in seen:
                seen.add(name)
                pending += self.bodies[name]["nodes"]
        return {name: body for name, body in self.bodies.items() if name in seen}

    # Forward

    def forward(self, writer: Writer, level: Level, nodes: Sequence[Node], sources: Mapping[str, Wire]) -> list[Wire]:
        """The values of nodes, one after the other; those of inputs and parameters are given."""
        wires: dict[str, tuple[Wire, ...]] = {}
        for node in nodes:
            if node.id in sources:
                wires[node.id] = (sources[node.id],)
            elif node.kind == "constant":
                wires[node.id] = (primal.source(writer, level, node, node.id, self.folder),)
            else:
                operands = [(edge.port, wires[edge.source][edge.output]) for edge in node.operands]
                if node.kind == "call":
                    inner = node.attributes["circuit"]
                    ports = primal.ids(inner)
                    named = {ports[str(port)]: wire for port, wire in operands}
                    circuit = self.primal(inner, node.attributes["name"])
                    wires[node.id] = primal.application(writer, level, node, named, circuit)
                else:
                    wires[node.id] = primal.application(
                        writer, level, node, dict(enumerate(wire for _, wire in operands)), None)
        return [wire for node in nodes for wire in wires[node.id]]

    def primal(self, level: Level, hint: str) -> str:
        """The name of a body of the primal: as it is, but that its parameters are inputs."""
        if level.definition not in self._primals:
            name = self._primals[level.definition] = self._names.unique(hint)
            writer, ids = Writer(self.gates, self.dtype), primal.ids(level)
            ports = {source: primal.port(writer, level, level.nodes[source], ids[source], declared=True)
                     for source in level.inputs}
            self.forward(writer, level, list(level.nodes.values()), ports)
            described = {"description": level.definition.body.description} if level.definition.body.description else {}
            self.bodies[name] = {**described, "nodes": list(as_nodes(writer.records)), "outputs": list(level.outputs)}
        return self._primals[level.definition]

    # Reverse

    def sweep(self, writer: Writer, plan: Plan, values: Sequence[Wire], seeds: Mapping[int, Wire]) -> list[Wire | None]:
        """The gradient in every slot, None where none arrives; the rules write it down."""
        def narrated(steps: Sequence[Any], _: str) -> Any:
            for step in steps:
                sources = ", ".join(edge.source for edge in step.node.operands[:4])
                more = ", …" if len(step.node.operands) > 4 else ""
                writer.stage = step.node.id
                writer.notes = {"description": f"from {step.node.id} = {step.node.kind}({sources}{more})"}
                yield step

        gradients, _ = reverse_sweep(replace(plan, wrt={}), writer, values, seeds, narrated)
        writer.stage, writer.notes = "", {}
        return gradients

    def rules(self, writer: Writer) -> Structure:
        """How calls are differentiated: by a call of their pullback."""
        def structure(node: Node, wanted: Sequence[bool]) -> Gate:
            def backward(op: Any, g: Any, out: Any, *operands: Wire) -> list[Wire | None]:
                upstream = g if node.outputs else (g,)
                given = tuple(wire.fill != 0 for wire in upstream)
                pullback = self.pullback(node.attributes["circuit"], node.attributes["name"], tuple(wanted), given)
                sent = self._call(writer, node, pullback, operands, upstream) if pullback.sends else {}
                return [sent.get(i) for i in range(len(operands))]

            return Gate("", "", (), _no_shape, backward, backward, outputs=node.outputs)

        return structure

    def _call(self, writer: Writer, node: Node, pullback: Pullback, operands: Sequence[Wire],
              upstream: Sequence[Wire]) -> dict[int, Wire]:
        """What a pullback sends, by position of the operand."""
        named = {port: operands[i] for i, port in pullback.reads.items()}
        named |= {port: upstream[i] for i, port in pullback.upstream.items()}
        outputs = tuple(pullback.sends.values()) if len(pullback.sends) > 1 else ()
        record = Record("call", named, {"circuit": pullback.name}, outputs, node.id, notes=writer.notes)
        return dict(zip(pullback.sends, writer.call(record, [operands[i].type for i in pullback.sends]), strict=True))

    def pullback(self, level: Level, hint: str, wanted: tuple[bool, ...], given: tuple[bool, ...]) -> Pullback:
        """The gradient of a body by the inputs wanted, from upstream gradients on the outputs given."""
        key = level, wanted, given
        if key not in self._pullbacks:
            self._pullbacks[key] = self._pullback(level, f"{hint}_gradient", wanted, given)
        return self._pullbacks[key]

    def _pullback(self, level: Level, hint: str, wanted: tuple[bool, ...], given: tuple[bool, ...]) -> Pullback:
        writer, ids = Writer(self.gates, self.dtype), primal.ids(level)
        outputs = list(level.outputs)
        plan = make_plan(level, [text for text, here in zip(outputs, given, strict=True) if here],
                         [name for name, here in zip(level.inputs, wanted, strict=True) if here],
                         self.rules(writer))
        ports = {name: primal.port(writer, level, level.nodes[name], ids[name], declared=False)
                 for name in level.inputs if name in plan.sources}
        values = self.forward(writer, level, planned(level, plan), ports)
        names = Names(ids.values())
        seeds: dict[int, Wire] = {}
        upstream: dict[int, Wire] = {}
        for i, text in enumerate(outputs):
            slot = plan.of.get(text)
            if given[i] and slot is not None and plan.active[slot]:
                record = Record("input", {}, {}, name=names.unique(f"d{text}"))
                (upstream[i],) = writer.write(record, [values[slot].type])
                seeds[slot] = seeds[slot] + upstream[i] if slot in seeds else upstream[i]
        gradients = self.sweep(writer, plan, values, seeds)
        asked = {name: gradients[slot] for name, slot in plan.wrt.items()}
        sent = {name: wire for name, wire in asked.items() if wire is not None}
        if not sent:
            return Pullback("", {}, {}, {})
        called = name_gradients(writer, plan.names, gradients, sent, names, lambda name: f"d{name}")
        records = finished(writer, names, [wire.record for wire in called.values()])
        kept = set(map(id, records))
        name = self._names.unique(hint)
        self.bodies[name] = {"description": f"the gradient of {hint.removesuffix('_gradient')}",
                             "nodes": list(as_nodes(records)), "outputs": [w.reference for w in called.values()]}
        return Pullback(name,
                        {i: ids[name] for i, name in enumerate(level.inputs)
                         if name in ports and id(ports[name].record) in kept},
                        {i: wire.reference for i, wire in upstream.items() if id(wire.record) in kept},
                        {i: called[name].reference for i, name in enumerate(level.inputs) if name in called})


def _no_shape(*types: ArrayType) -> ArrayType:
    raise AssertionError("the types of a call are known")


def planned(level: Level, plan: Plan) -> list[Node]:
    """The nodes of a plan in the order of its slots."""
    steps = {step.node.id for step in plan.steps}
    return [node for node in level.nodes.values() if node.id in steps or node.id in plan.sources]
