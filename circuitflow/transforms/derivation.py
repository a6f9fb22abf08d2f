"""A derivative under construction: the primal as wires, reverse sweeps over them, the resulting circuit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from circuitflow.document.model import Document
from circuitflow.document.versions import with_lowest_version
from circuitflow.errors import InputError
from circuitflow.gates import ArrayType
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.typed import expand
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.masked import plain
from circuitflow.interpreter.plan import make_plan, output_of, references
from circuitflow.interpreter.units import unit_gate
from circuitflow.text import printable
from circuitflow.transforms import primal
from circuitflow.transforms.naming import Names, as_nodes, finish_records, name_gradients, with_name
from circuitflow.transforms.subcircuits import Gradient, Subcircuits, differentiated_ids, planned_nodes
from circuitflow.transforms.units import gradients_of_units
from circuitflow.transforms.writer import Record, Wire, Writer

References = str | Sequence[str] | None


class Derivation:
    """The forward part of a circuit written down, ready for reverse sweeps.

    Attributes:
        plan: the schedule: outputs, and the nodes to differentiate by.
        sources: inputs and parameters, by id: those of the primal, and seeds.
        forward: what is in every slot of the plan.
        names: the ids that are taken.
    """

    def __init__(self, circuit: Circuit, of: References, wrt: References) -> None:
        """Schedule and write the forward part.

        Raises:
            InputError: a node is unknown, has no gradient, or lies inside a call.
        """
        self.circuit = circuit
        options = {"of": references(of, "of"), "wrt": references(wrt, "wrt")}
        body = circuit.body
        paths: set[str] = set()  # of the calls that are expanded
        for option, names in options.items():
            for name in names or ():
                output, place = output_of(circuit, name, option), body.find(name)
                if place is not None and (option == "of" or body.nodes[place.node].kind != "call"):
                    continue
                if name in circuit.nodes or name in circuit.nodes[output.node].names:
                    raise InputError(f"{option}: '{printable(name)}' lies inside a call, where a derivative has no "
                                     "name for it; make it an output of the subcircuit")
                # An output of a call may be read inside the call too: the gradient on it needs the nodes there.
                paths.update(_calls(output.node))
        if paths:
            body = expand(circuit.body, paths)
        self.subcircuits = Subcircuits(circuit.gates, circuit.definition.dtype, circuit.definition.source.folder,
                                       gradients_of_units)
        self.writer = Writer(circuit.gates, circuit.definition.dtype)
        # A call needs all of its operands; what the nodes inside need tells the executor's plan.
        by = tuple(make_plan(circuit, options["of"], None, unit_gate).wrt) if wrt is None else options["wrt"]
        self.plan = make_plan(body, options["of"], by, gradients_of_units(self.subcircuits))
        if not by and wrt is None:
            raise InputError(f"circuit '{printable(circuit.name, 60)}' has no floating-point input or parameter that "
                             "its outputs need; there is nothing to differentiate by")
        ids = primal.ids(body)
        self.names = Names(ids.values())
        self.sources = {name: primal.source(self.writer, body.nodes[name], ids[name], self.subcircuits.folder)
                        for name in body.inputs}
        self.forward = self.subcircuits.forward(self.writer, body, planned_nodes(body, self.plan), self.sources,
                                                differentiated_ids(self.plan))

    def outputs(self) -> dict[str, Wire]:
        """The outputs of the plan."""
        return {text: self.forward.wires[slot] for text, slot in self.plan.of.items()}

    def seed(self, hint: str, type_: ArrayType, description: str, **attributes: Any) -> Wire:
        """A new input: the derivative that a sweep begins with, which keeps the named dimensions of what it is of.

        No input can declare a composed size, so a value keeps its own shape there.

        Raises:
            InputError: it has no value, and its shape has a size that is composed of named dimensions.
        """
        shape = [size if isinstance(size, int) else str(size) for size in type_.shape]
        composed = [size for size in shape if isinstance(size, str) and not size.isidentifier()]
        if "value" not in attributes:
            if composed:
                raise InputError(f"the {description} needs an input with the dimension {composed[0]}, which none can "
                                 "declare; give the circuit a dimension of its own for it")
            attributes["shape"] = shape
        elif not composed and any(isinstance(size, str) for size in shape):
            attributes["shape"] = shape
        own = attributes["value"].get("dtype") if isinstance(attributes.get("value"), dict) else None
        if type_.dtype != self.writer.dtype and own is None:
            attributes["dtype"] = type_.dtype
        record = Record("input", {}, attributes, name=self.names.unique(hint), notes={"description": description})
        (wire,) = self.writer.write(record, [type_])
        self.sources[wire.reference] = wire
        return wire

    def sweep(self, seeds: Mapping[str, Wire]) -> list[Wire | None]:
        """The gradient in every slot from gradients on outputs; None where none arrives."""
        return [*map(plain, self.marked_sweep(self.plan.seeds(seeds))[0])]

    def marked_sweep(self, seeds: Mapping[int, Gradient], plain_nodes: Collection[str] = ()
                     ) -> tuple[list[Gradient], list[Contribution]]:
        """The gradient in every slot, with marks, from gradients by slot; and the contribution of every edge.

        Nodes in `plain_nodes` do not mark.
        """
        return self.subcircuits.sweep(self.writer, self.plan, self.forward, seeds, plain_nodes)

    def requested(self, gradients: Sequence[Wire | None]) -> dict[str, Wire]:
        """The gradients by `wrt`, zeros where none arrived."""
        pairs = {name: (gradients[slot], self.forward.wires[slot]) for name, slot in self.plan.wrt.items()}
        return {name: self.writer.zeros_like(wire) if gradient is None else gradient
                for name, (gradient, wire) in pairs.items()}

    def hollow(self, sources: Mapping[str, Wire]) -> None:
        """Replace inputs that are read for their shapes alone by zeros like other wires."""
        after: dict[int, list[Record]] = {}  # by the node that they follow
        for name, like in sources.items():
            self.writer.row("zeros_like")
            record = self.sources[name].record
            like = self.writer.oldest(like)
            record.gate, record.operands, record.attributes, record.notes = "zeros_like", {0: like}, {}, {}
            after.setdefault(id(like.record), []).append(record)
        hollows = {id(record) for records in after.values() for record in records}
        rest = [record for record in self.writer.records if id(record) not in hollows]
        self.writer.records = [record for one in rest for record in (one, *reversed(after.get(id(one), ())))]

    def with_name(self, wire: Wire, hint: str) -> Wire:
        """A node of its own for a wire."""
        return with_name(self.writer, wire, self.names.unique(hint))

    def name_gradients(self, gradients: Sequence[Wire | None], requested: Mapping[str, Wire],
                       label: Callable[[str], str | None], what: str) -> dict[str, Wire]:
        """Name the requested gradients, each a node of its own.

        `label` gives the name of the gradient on a node, `what` begins its description.
        """
        return name_gradients(self.writer, self.plan.names, gradients, requested, self.names, label, what)

    def finish(self, outputs: Iterable[Wire], name: str, description: str, *, without: Iterable[str] = (),
               also: Iterable[Wire] = ()) -> Circuit:
        """The circuit with these outputs, the inputs of the primal, some of them left out, and other nodes to keep."""
        left_out, outputs = set(without), list(outputs)
        if not outputs:
            raise InputError("wrt: names no node; name at least one to differentiate by")
        outputs = list({(id(wire.record), wire.position): wire for wire in outputs}.values())
        interface = [wire.record for name, wire in self.sources.items() if name not in left_out]
        records = finish_records(self.writer, self.names, [*(wire.record for wire in outputs), *interface,
                                                           *(wire.record for wire in also)])
        nodes, primal = list(as_nodes(records)), self.circuit.document
        document = {
            "$schema": primal.schema_, "circuitflow": primal.circuitflow, "name": name, "description": description,
            "dtype": primal.dtype, "circuits": self.subcircuits.applied_by(nodes) or None, "nodes": nodes,
            "outputs": list(dict.fromkeys(wire.reference for wire in outputs)),
        }
        return self.circuit.derived(with_lowest_version(Document.model_validate(
            {key: value for key, value in document.items() if value is not None})))


def _calls(name: str) -> Iterator[str]:
    """The paths of the calls that a node is inside of."""
    return itertools.accumulate(name.split("/")[:-1], lambda path, part: f"{path}/{part}")
