"""Operators with graphs inside: `If`, `Scan` and `Loop` as units of a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from circuitflow.gates import ArrayType
from circuitflow.onnx.calls import Body, Call, Refusal, Value
from circuitflow.onnx.reading import Graph
from circuitflow.text import printable

MOST = 2**20
"""Most steps of a loop."""


class Scope(Protocol):
    """What writes the nodes of a graph: the values that are known by name, and the nodes written so far."""

    def inside(self, graph: Graph, body: Body, values: dict[str, Value | None]) -> list[Value]:
        """Write a graph into a body, where some values are known; gives those of its outputs."""

    def outer(self, name: str) -> Value | None:
        """The value of a name outside of the graph."""

    def wire_of(self, value: Value) -> Any:
        """The wire of a value outside of the graph."""


class Capture:
    """The values from outside that graphs read, as ports of their bodies."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.operands: dict[str, Any] = {}
        self._names: dict[tuple[int, int], str] = {}

    def values(self, graph: Graph, body: Body) -> dict[str, Value | None]:
        """The values that a graph reads from outside, inside of its body."""
        values: dict[str, Value | None] = {}
        ports: dict[str, Any] = {}
        for name in dict.fromkeys(_free(graph)):
            outer = self.scope.outer(name)
            if outer is None:
                continue
            if outer.array is not None and not outer.is_parameter:
                values[name] = Value(name, outer.dtype, outer.array)
            else:
                wire = self.scope.wire_of(outer)
                port = self._names.setdefault((id(wire.record), wire.position), f"given_{len(self._names)}")
                self.operands[port] = wire
                if port not in ports:
                    ports[port] = body.port(port, wire.type)
                values[name] = Value(name, outer.dtype, wire=ports[port])
        return values


def _free(graph: Graph) -> Iterator[str]:
    """The names that a graph reads, and does not give."""
    own = {port.name for port in graph.inputs} | set(graph.tensors)
    for node in graph.nodes:
        yield from (name for name in node.inputs if name and name not in own)
        for inner in node.attributes.values():
            if isinstance(inner, Graph):
                yield from (name for name in _free(inner) if name not in own)
        own.update(node.outputs)
    yield from (port.name for port in graph.outputs if port.name not in own)


def graph_of(call: Call, attribute: str) -> Graph:
    """A graph among the attributes.

    Raises:
        Refusal: there is none.
    """
    graph = call.attribute(attribute)
    if not isinstance(graph, Graph):
        raise Refusal(f"has no graph '{printable(attribute, 40)}'")
    return graph


def choice(call: Call, scope: Scope) -> list[Any]:
    """An `If` whose condition is computed."""
    condition = call[0]
    for axis in range(condition.ndim - 1, -1, -1):
        condition = call.w.squeeze(condition, axis=axis)
    capture, names, types = Capture(scope), {}, []
    for key, attribute in (("then", "then_branch"), ("else", "else_branch")):
        graph, body = graph_of(call, attribute), call.body()
        wires = body.wires(scope.inside(graph, body, capture.values(graph, body)))
        types.append([wire.type for wire in wires])
        names[key] = body.add(f"{call.node.operator.casefold()}_{key}",
                              {f"out_{i}": wire for i, wire in enumerate(wires)})
    if types[0] != types[1]:
        raise Refusal("has branches with results of different shapes or dtypes; expected the same")
    outputs = tuple(f"out_{i}" for i in range(len(types[0])))
    operands = {"condition": condition, **capture.operands}
    return list(call.w.apply("if", operands, dict(names), outputs, types[0]))


def scan(call: Call, scope: Scope) -> list[Any]:
    """A `Scan`: states, and inputs that are taken one position at a time."""
    if call.version < 9:
        raise Refusal("is of version 8, which has a batch of its own; expected 9 or later")
    graph, w = graph_of(call, "body"), call.w
    number = call.attribute("num_scan_inputs")
    if not 1 <= number <= len(call):
        raise Refusal(f"has num_scan_inputs {number} of {len(call)} inputs")
    states = len(call) - number
    outputs = len(graph.outputs) - states
    axes = call.attribute("scan_input_axes") or [0] * number
    directions = call.attribute("scan_input_directions") or [0] * number
    out_axes = call.attribute("scan_output_axes") or [0] * outputs
    out_directions = call.attribute("scan_output_directions") or [0] * outputs
    stacks = []
    for i, (axis, direction) in enumerate(zip(axes, directions, strict=True)):
        x = _first(w, call[states + i], axis)
        stacks.append(w.flip(x, axis=0) if direction else x)
    results, stacked = _apply(call, scope, graph, [call[i] for i in range(states)], stacks, [])
    for i, (axis, direction) in enumerate(zip(out_axes, out_directions, strict=True)):
        x = w.flip(stacked[i], axis=0) if direction else stacked[i]
        stacked[i] = _last(w, x, axis)
    return [*results, *stacked]


def loop(call: Call, scope: Scope) -> list[Any]:
    """A `Loop` of so many steps, known before a run, that nothing ends early."""
    graph = graph_of(call, "body")
    if call.has(1) and not bool(np.all(call.numbers(1, "condition"))):
        raise Refusal("has a condition that is false at once")
    if not call.has(0):
        raise Refusal("has no number of steps; expected one that is known before a run")
    steps = int(call.numbers(0, "number of steps").reshape(()))
    if not 0 <= steps <= MOST:
        raise Refusal(f"has {steps} steps; expected 0 to {MOST}")
    known = {graph.inputs[1].name: Value(graph.inputs[1].name, "bool", np.asarray(True))}
    count = call.w.as_wire(np.arange(steps, dtype=np.int64))
    states = [call[i] for i in range(2, len(call))]
    results, stacked = _apply(call, scope, graph, states, [count], [1], known)
    return [*results, *stacked]


def _apply(call: Call, scope: Scope, graph: Graph, states: Sequence[Any], stacks: Sequence[Any], skip: Sequence[int],
           known: dict[str, Value] | None = None) -> tuple[list[Any], list[Any]]:
    """The scan of a graph over stacks; of a loop, the graph's first input is the step and its second is known."""
    body, capture = call.body(), Capture(scope)
    values = capture.values(graph, body)
    ports = [port for i, port in enumerate(graph.inputs) if i not in skip]
    is_loop = known is not None
    order = [*stacks, *states] if is_loop else [*states, *stacks]
    if len(ports) != len(order):
        raise Refusal(f"has a body of {len(ports)} inputs; expected {len(order)}")
    operands: dict[str, Any] = {}
    names = []
    for i, (port, wire) in enumerate(zip(ports, order, strict=True)):
        is_stack = (i < len(stacks)) if is_loop else i >= len(states)
        name = f"{'at' if is_stack else 'state'}_{i}"
        names.append((name, is_stack))
        type_ = wire.type._replace(shape=wire.type.shape[1:]) if is_stack else wire.type
        values[port.name] = Value(port.name, type_.dtype, wire=body.port(name, type_))
        operands[name] = wire
    inside = scope.inside(graph, body, {**values, **(known or {})})
    if is_loop:
        stop, inside = inside[0], inside[1:]
        if stop.array is None or not bool(np.all(stop.array)):
            raise Refusal("may end before its last step; expected a condition that stays true")
    wires = body.wires(inside)
    carried = [name for name, is_stack in names if not is_stack]
    outputs = {**{f"{name}_next": wire for name, wire in zip(carried, wires, strict=False)},
               **{f"out_{i}": wire for i, wire in enumerate(wires[len(carried) :])}}
    for name, wire, state in zip(carried, wires, states, strict=False):
        if wire.type != state.type:
            raise Refusal(f"changes the shape or dtype of {name}, which no scan does")
    length = stacks[0].type.shape[0]
    types = {name: wire.type if name.endswith("_next") else ArrayType((length, *wire.type.shape), wire.type.dtype)
             for name, wire in outputs.items()}
    results = list(body.scan(call.node.operator.casefold(), {**operands, **capture.operands}, outputs,
                             {name: f"{name}_next" for name in carried},
                             [name for name, is_stack in names if is_stack], types, reverse=False))
    return results[: len(carried)], results[len(carried) :]


def _first(w: Any, x: Any, axis: int) -> Any:
    """An array with an axis put first."""
    at = axis % x.ndim
    return w.transpose(x, axes=[at, *(i for i in range(x.ndim) if i != at)]) if at else x


def _last(w: Any, x: Any, axis: int) -> Any:
    """An array with its first axis put elsewhere."""
    at = axis % x.ndim
    return w.transpose(x, axes=[*range(1, at + 1), 0, *range(at + 1, x.ndim)]) if at else x


UNITS: dict[str, Callable[[Call, Scope], list[Any]]] = {"If": choice, "Scan": scan, "Loop": loop}
"""Functions that write a node with graphs inside."""
