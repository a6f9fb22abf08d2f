"""Differentiates nodes that apply circuits: the gradient applies the circuits' gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from circuitflow.gates import ArrayType, Gate
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.masked import Masked, mark, may_mask, plain
from circuitflow.interpreter.plan import UnitGate
from circuitflow.transforms import primal
from circuitflow.transforms.naming import Names, as_body, finish_records, with_name
from circuitflow.transforms.subcircuits import Gradient, Pullback, Subcircuits
from circuitflow.transforms.writer import Wire, Writer

Wires = Mapping[str, Wire]
Sent = tuple[Mapping[str, Wire], Collection[str]]
"""The contributions to operands, and the operands whose contribution may have zeros of a mask."""


def gradients_of_units(subcircuits: Subcircuits) -> UnitGate:
    """The rule for each node that applies circuits."""
    def rule(node: Node, receivers: Sequence[bool]) -> Gate:
        differentiate: Callable[..., Sent] = {"scan": _scan, "if": _if}.get(node.kind, _application)
        names = [str(edge.port) for edge in node.operands]
        # Quick to look up.
        wrt = dict.fromkeys(name for name, receives in zip(names, receivers, strict=True) if receives)

        def backward(writer: Writer, g: Any, out: Any, *operands: Wire) -> list[Gradient]:
            outputs = list(next(node.attributes[key] for key in primal.circuits(node)).outputs)
            arrivals = {name: wire for name, wire in zip(outputs, g if node.outputs else (g,), strict=True)
                       if wire is not None}
            upstream = {name: plain(wire) for name, wire in arrivals.items()}
            keeps = [wire.keeps for wire in arrivals.values() if isinstance(wire, Masked)]
            masked = {name for name, wire in arrivals.items() if isinstance(wire, Masked) and wire.keeps is None}
            by_name = dict(zip(names, operands, strict=True))
            parts, zeros = differentiate(subcircuits, writer, node, wrt, by_name, upstream, masked)
            return [mark(writer, parts.get(name), None if name in zeros else keeps[0]) if name in zeros or keeps else
                    parts.get(name) for name in names]

        return Gate(node.kind, "", tuple(names), ArrayType, backward, backward, outputs=node.outputs)

    return rule


def _apply(writer: Writer, gate: str, pullback: Pullback, operands: Wires, upstream: Wires,
           names: Collection[str]) -> dict[str, Wire]:
    """Apply a pullback; returns what it sends, by input of the primal."""
    if not pullback.sends:
        return {}
    inputs = {port: operands[name] for name, port in pullback.reads.items()}
    inputs |= {port: upstream[name] for name, port in pullback.upstream.items()}
    types = [pullback.types[port] for port in pullback.sends.values()]
    results = writer.apply(gate, inputs, {"circuit": pullback.name}, tuple(pullback.sends.values()), types)
    return {name: wire for name, wire in zip(pullback.sends, results, strict=True) if name in names}


def _application(subcircuits: Subcircuits, writer: Writer, node: Node, wrt: Collection[str], operands: Wires,
                 upstream: Wires, masked: Collection[str]) -> Sent:
    """The gradient of a call is a call, that of a checkpoint a checkpoint."""
    pullback = subcircuits.pullback(node.attributes["circuit"], primal.circuits(node)["circuit"], wrt, upstream,
                                    masked)
    return _apply(writer, node.kind, pullback, operands, upstream, wrt), pullback.masked


def _if(subcircuits: Subcircuits, writer: Writer, node: Node, wrt: Collection[str], operands: Wires,
        upstream: Wires, masked: Collection[str]) -> Sent:
    """The gradient of the branch that was taken; zeros for what that does not read.

    Values decide the branch, so a document cannot leave a gradient out: where the interpreter has none, it has zeros,
    as of a mask.
    """
    names = Names(operands)
    seed_names = {text: names.unique(f"d{text}") for text in upstream}
    ids = {name: names.unique(f"d{name}") for name in wrt}
    outer: dict[str, Wire] = {"condition": operands["condition"]}
    circuits = {}
    for key, name in primal.circuits(node).items():
        branch: TypedBody = node.attributes[key]
        pullback = subcircuits.pullback(branch, name, [name for name in wrt if name in branch.inputs], upstream,
                                        masked)
        inner = Writer(writer.gates, writer.dtype)
        ports = {port: inner.port(port, operands[port].type) for port in dict.fromkeys([*pullback.reads, *wrt])}
        seeds = {text: inner.port(port, upstream[text].type) for text, port in seed_names.items()}
        gradients = _apply(inner, "call", pullback, ports, seeds, wrt)
        results = {port: gradients[port] if port in gradients else inner.zeros_like(ports[port]) for port in wrt}
        body = _body(inner, {**ports, **seeds}, results, ids)
        circuits[key] = subcircuits.add(f"{name}_gradient_of_{node.id}", body)
        outer |= {port: operands[port] for port in ports}
    outer |= {port: upstream[text] for text, port in seed_names.items()}
    outputs = writer.apply("if", outer, circuits, tuple(ids.values()), [operands[name].type for name in wrt])
    return dict(zip(wrt, outputs, strict=True)), wrt


def _scan(subcircuits: Subcircuits, writer: Writer, node: Node, wrt: Collection[str], operands: Wires,
          upstream: Wires, masked: Collection[str]) -> Sent:
    """A scan in the opposite direction, which carries the gradient on the carry, and sums those that add up.

    A carry on which no gradient arrives at any position is left out. One on which a gradient arrives at some positions
    carries zeros at the others, as of a mask.
    """
    body: TypedBody = node.attributes["circuit"]
    carry: Mapping[str, str] = node.attributes["carry"]
    over = dict.fromkeys(node.attributes["over"])
    first = next(iter(over))
    hint = primal.circuits(node)["circuit"]
    floats, everywhere = subcircuits.arrivals(
        body, {name: carry[name] for name in carry if operands[name].type.is_float}, upstream)
    arriving = list(dict.fromkeys([*upstream, *(carry[name] for name in floats)]))
    is_masked = may_mask(body) or bool(masked) or not everywhere
    pullback = subcircuits.pullback(body, hint, dict.fromkeys([*wrt, *floats]), arriving,
                                    arriving if is_masked else ())
    sums = dict.fromkeys(name for name in wrt
                         if name in pullback.sends and name not in carry and name not in over)

    names = Names([*operands, *pullback.types])
    inner = Writer(writer.gates, writer.dtype)
    step = {name: ArrayType(wire.shape[1:], wire.dtype) if name in over else wire.type
            for name, wire in operands.items()}
    before = writer.carries[node.id]
    outer: dict[str, Wire] = {}  # the operands of the reverse scan
    inputs: dict[str, Wire] = {}  # the same inside
    along: list[str] = []

    def port(name: str, wire: Wire, *, sliced: bool) -> Wire:
        outer[name] = wire
        if sliced:
            along.append(name)
        inputs[name] = inner.port(name, ArrayType(wire.shape[1:], wire.dtype) if sliced else wire.type)
        return inputs[name]

    reads = {name: port(name, before[name] if name in carry else operands[name], sliced=name in carry or name in over)
             for name in pullback.reads}
    last = {output: name for name, output in carry.items()}
    seeds: dict[str, Wire] = {}
    carry_ids: dict[str, str] = {}
    for text in arriving:
        if text in last:
            start = upstream.get(text)
            name = carry_ids[last[text]] = names.unique(f"d{last[text]}_after")
            seeds[text] = port(name, writer.zeros_like(operands[last[text]]) if start is None else start, sliced=False)
        else:
            seeds[text] = port(names.unique(f"d{text}_here"), upstream[text], sliced=True)
    totals = {name: port(names.unique(f"d{name}_after"), writer.zeros_like(operands[name]), sliced=False)
              for name in sums}
    if not along:  # A scan needs one operand to know its length.
        port(first, operands[first], sliced=True)
    gradients = _apply(inner, "call", pullback, reads, seeds, pullback.sends)
    results = {name: gradients[name] if name in gradients else inner.zeros_like(seeds[carry[name]]) for name in floats}
    results |= {name: gradients[name] for name in wrt if name in gradients and name in over}
    results |= {name: totals[name] + gradients[name] for name in sums}
    if not results:  # no gradient flows
        return {}, ()
    ids = {name: names.unique(f"d{name}_sum" if name in sums else f"d{name}_sent") for name in results}
    circuit = subcircuits.add(f"{hint}_gradient_step", _body(inner, inputs, results, ids))
    attributes: dict[str, Any] = {
        "circuit": circuit,
        "carry": {**{carry_ids[name]: ids[name] for name in floats},
                  **{totals[name].reference: ids[name] for name in sums}},
        "over": along,
    }
    if not node.attributes["reverse"]:
        attributes["reverse"] = True
    if node.attributes["cache"] > 1:
        attributes["cache"] = node.attributes["cache"]
    length = operands[first].shape[0]
    types = [ArrayType((length, *step[name].shape), step[name].dtype) if name in over else operands[name].type
             for name in results]
    stacked = writer.apply("scan", outer, attributes, tuple(ids.values()), types)
    sends = {name: wire for name, wire in zip(results, stacked, strict=True) if name in wrt}
    return sends, wrt if is_masked else ()


def _body(writer: Writer, inputs: Wires, results: Wires, outputs: Mapping[str, str]) -> dict[str, Any]:
    """A body with these inputs and results; `outputs` names the results."""
    ends = [with_name(writer, wire, outputs[name]) for name, wire in results.items()]
    names = Names(record.name for record in writer.records if record.name is not None)
    records = finish_records(writer, names, [wire.record for wire in (*inputs.values(), *ends)])
    return as_body(records, ends)
