"""The schedule for one choice of outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from circuitflow.errors import InputError
from circuitflow.gates import ArrayType, Gate
from circuitflow.graph.bodies import Output
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.text import few, printable, short


class Step(NamedTuple):
    """One gate of a schedule: where its values stand, and which gradients one question needs of it.

    Attributes:
        node: the node of the graph.
        gate: the node's gate.
        attributes: the gate's attributes.
        operands: slots that the operands are read from.
        output: slot of the output; several outputs fill as many slots from there on.
        outputs: how many outputs there are; 0 where there is one that has no name.
        receivers: for every operand, whether it receives a contribution; empty where none does.
    """

    node: Node
    gate: Gate
    attributes: Mapping[str, Any]
    operands: tuple[int, ...]
    output: int
    outputs: int
    receivers: tuple[bool, ...]

    @property
    def slots(self) -> range:
        """The slots of the outputs."""
        return range(self.output, self.output + (self.outputs or 1))


@dataclass(frozen=True, eq=False)
class Plan:
    """The schedule of one question; a circuit has one for each choice of outputs and gradients.

    Attributes:
        of: the slots of the outputs, by reference.
        wrt: the slots of the nodes to differentiate by, by reference.
        outputs: shape and dtype of every output in `of`.
        sources: inputs, parameters and constants, with their slots.
        steps: gates in topological order; the reverse sweep takes those with receivers, in the opposite order.
        names: what is in each slot: `id`, or `id.output` where a gate has several.
        active: whether a gradient can arrive in each slot.
    """

    of: Mapping[str, int]
    wrt: Mapping[str, int]
    outputs: Mapping[str, ArrayType]
    sources: Mapping[str, int]
    steps: Sequence[Step]
    names: Sequence[str]
    active: Sequence[bool]

    def seeds(self, upstream: Mapping[str, Any]) -> dict[int, Any]:
        """The upstream gradients that a sweep begins with, by slot. Outputs that are the same node have one."""
        seeds: dict[int, Any] = {}
        for text, g in upstream.items():
            slot = self.of[text]
            if g is not None and self.active[slot]:
                seeds[slot] = seeds[slot] + g if slot in seeds else g
        return seeds


UnitGate = Callable[[Node, Sequence[bool]], Gate]
"""Gives a node with subcircuits as a gate, with contributions to the operands that receive one.

The outputs of the gate are the node's, by reference; after them may stand what the reverse sweep needs.
"""


def references(spelling: object, option: str) -> tuple[str, ...] | None:
    """One reference or several as a tuple, or None for the default; `option` is what an error names.

    Raises:
        InputError: it is neither; the message begins with the name of the option.
    """
    if spelling is None or isinstance(spelling, str):
        return None if spelling is None else (spelling,)
    refusal = InputError(f"{option} is {short(spelling)}; expected a reference to a node, or several")
    if not isinstance(spelling, Iterable) or isinstance(spelling, bytes):
        raise refusal
    try:
        names = tuple(spelling)
    except Exception:  # an array without axes says that it can be iterated
        raise refusal from None
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{option}: {short(name)} is no reference to a node; expected its id as a string")
    return names


def make_plan(circuit: TypedBody, of: Sequence[str] | None, wrt: Sequence[str] | None,
              unit_gate: UnitGate | None = None) -> Plan:
    """Schedule what some outputs need.

    All outputs by default, and all floating-point inputs and parameters to differentiate by. `unit_gate` gives the gate
    of a node with a subcircuit.

    Raises:
        InputError: a reference that the circuit does not have, or a gradient that cannot be.
    """
    results = {text: output_of(circuit, text, "of") for text in (circuit.outputs if of is None else of)}
    targets = {text: differentiable(circuit, text, output_of(circuit, text, "wrt")) for text in wrt or ()}
    ancestors = circuit.needed({output.node for output in (*results.values(), *targets.values())})
    first: dict[str, int] = {}
    reaching: dict[tuple[str, tuple[bool, ...]], tuple[bool, ...]] = {}
    names: list[str] = []
    active: list[bool] = []
    sources: dict[str, int] = {}
    steps: list[Step] = []
    positions: dict[str, set[int]] = {}
    for output in targets.values():
        positions.setdefault(output.node, set()).add(output.position)
    for name, node in circuit.nodes.items():
        if name not in ancestors:
            continue
        slot = first[name] = len(names)
        here = positions.get(name, ()) if positions else ()
        gate = node.gate
        if gate is None and node.is_source:
            names.append(node.id)
            sources[node.id] = slot
            active.append(node.types[0].is_float and (node.kind != "constant" if wrt is None else 0 in here))
            continue
        if gate is not None and gate.integers is not None:
            gate = gate.giving(node.types[0])
        operands = tuple([first[source] + output for source, output, _ in node.operands])
        flowing = tuple([active[operand] for operand in operands])
        if gate is not None and not node.outputs:
            receivers = reaching.get((node.kind, flowing))
            if receivers is None:
                receivers = tuple(flow and gate.reaches(i) for i, flow in enumerate(flowing))
                receivers = reaching[node.kind, flowing] = receivers if any(receivers) else ()
            active.append((True if receivers else 0 in here) and node.types[0].is_float)
            names.append(name)
            steps.append(Step(node, gate, node.attributes, operands, slot, 0, receivers))
            continue
        attributes, outputs, labels = node.attributes, node.outputs, node.names
        if gate is None:
            assert unit_gate is not None  # noqa: S101
            gate, attributes = unit_gate(node, flowing), {}
            outputs = gate.output_names({})
            labels = [*outputs] or labels
        receivers = tuple(flow and gate.reaches(i) for i, flow in enumerate(flowing))
        flows = any(receivers)
        active += [type_.is_float and (flows or i in here) for i, type_ in enumerate(node.types)]
        active += [False] * (len(labels) - len(node.types))
        names += labels
        steps.append(Step(node, gate, attributes, operands, slot, len(outputs), receivers if flows else ()))
    slots = {text: first[output.node] + output.position for text, output in results.items()}
    if wrt is None:
        by = {name: slot for name, slot in sources.items() if active[slot]}
    else:
        by = {text: first[output.node] + output.position for text, output in targets.items()}
    types = {text: circuit.type_of(output) for text, output in results.items()}
    return Plan(slots, by, types, sources, steps, names, active)


def output_of(circuit: TypedBody, reference: str, option: str) -> Output:
    """The output that a reference means; `option` is where the reference stands, such as "wrt".

    Raises:
        InputError: there is none; the message begins with the option.
    """
    output = circuit.find(reference)
    if output is None:
        if names := circuit.names_of(reference):
            raise InputError(f"{option}: '{reference}' has several outputs; name one of its outputs: "
                             f"{', '.join(few(names))}")
        raise InputError(f"{option}: there is no '{printable(reference, 60)}' in circuit "
                         f"'{printable(circuit.name, 60)}'{circuit.suggestion(reference)}")
    return output


def differentiable(circuit: TypedBody, reference: str, output: Output) -> Output:
    """The output, if a gradient can flow to it; `reference` is how an error names it.

    Raises:
        InputError: it is no floating-point number, or a constant.
    """
    node, type_ = circuit.nodes[output.node], circuit.type_of(output)
    if not type_.is_float:
        raise InputError(f"wrt: '{reference}' is {type_.dtype}; integers and booleans have no gradient")
    if node.kind == "constant":
        raise InputError(f"wrt: '{reference}' is a constant, to which no gradient flows; make it a parameter")
    return output
