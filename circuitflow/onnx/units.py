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

ENDLESS = 2**63
"""Steps of a loop that nothing counts."""


class _EndsEarly(Refusal):
    """A loop may end before its last step."""


class Scope(Protocol):
    """What writes the nodes of a graph: the values that are known by name, and the nodes written so far.

    Attributes:
        most_steps: how many steps a loop has at most that nothing else counts; None if that is not said.
    """

    most_steps: int | None

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
    """A `Loop`: of so many steps, known before a run, or as long as a condition holds that its steps compute."""
    graph = graph_of(call, "body")
    first = call.value(1) if call.has(1) else None
    is_over = first is not None and first.array is not None and not bool(np.all(call.numbers(1, "condition")))
    total = call.value(0) if call.has(0) else None
    is_counted = is_over or (total is not None and total.array is not None)
    steps = 0 if is_over else int(call.numbers(0, "number of steps").reshape(())) if is_counted else ENDLESS
    is_endless = steps > MOST
    if is_endless:
        if scope.most_steps is None:
            raise Refusal("needs to know its number of steps before a run; say by --most-steps N how many there are at "
                          "most, or give the input that it comes from by --set")
        steps = scope.most_steps
    if steps < 0:
        raise Refusal(f"has {steps} steps; expected 0 to {MOST}")
    count = call.w.as_wire(np.arange(steps, dtype=np.int64))
    states = [call[i] for i in range(2, len(call))]
    is_open = is_endless or (first is not None and first.array is None)
    if not is_open:
        known = {graph.inputs[1].name: Value(graph.inputs[1].name, "bool", np.asarray(True))}
        before = dict(call.circuits)
        try:
            results, stacked = _apply(call, scope, graph, states, [count], [1], known)
        except _EndsEarly:
            call.circuits.clear()  # of what the attempt has written
            call.circuits.update(before)
        else:
            return [*results, *stacked]
    go = call[1] if first is not None else call.w.as_wire(np.asarray(True))
    limit = None if is_counted or total is None else call[0]
    return _until(call, scope, graph, states, count, (go, limit), is_endless=is_endless)


def _until(call: Call, scope: Scope, graph: Graph, states: Sequence[Any], count: Any, ends: tuple[Any, Any], *,
           is_endless: bool) -> list[Any]:
    """A scan of a loop whose steps do nothing once its condition is false, by an `if` inside.

    Where the number of steps is a promise alone, a run that breaks it is refused: it takes its results by an index that
    is out of range.
    """
    if len(graph.outputs) != 1 + len(states) or len(graph.inputs) != 2 + len(states):
        raise Refusal("gives a value of each step, and how many there are is not known before a run")
    w, (go, limit) = call.w, ends
    for axis in range(go.ndim - 1, -1, -1):
        go = w.squeeze(go, axis=axis)
    if limit is not None:
        limit = w.reshape(limit, shape=[])
        go = w.emit("and", go, w.greater(limit, np.int64(0)))
    body, capture = call.body(), Capture(scope)
    values = capture.values(graph, body)
    at, is_on = body.port("at", ArrayType((), "int64")), body.port("is_on", go.type)
    ports = [body.port(f"state_{i}", state.type) for i, state in enumerate(states)]
    step, rest = body.body(), body.body()
    operands = dict[str, Any]()

    def inner(name: str, wire: Any) -> Value:
        """A value of the scan's body inside of the step."""
        key = f"value_{len(operands)}"
        operands[key] = wire
        return Value(name, wire.type.dtype, wire=step.port(key, wire.type))

    inside: dict[str, Value | None] = {
        name: inner(name, value.wire) if value is not None and value.wire is not None else value
        for name, value in values.items()}
    names = [port.name for port in graph.inputs]
    inside[names[0]] = inner(names[0], at)
    inside[names[1]] = Value(names[1], "bool", np.asarray(True))
    inside |= {name: inner(name, port) for name, port in zip(names[2:], ports, strict=True)}
    stop, *after = step.wires(scope.inside(graph, step, inside))
    for axis in range(stop.ndim - 1, -1, -1):
        stop = step.w.squeeze(stop, axis=axis)
    for i, (wire, state) in enumerate(zip(after, states, strict=True)):
        if wire.type != state.type:
            raise Refusal(f"changes the shape or dtype of state_{i}, which no scan does")
    same = [rest.port(f"same_{i}", state.type) for i, state in enumerate(states)]
    results = [f"out_{i}" for i in range(len(states))]
    types = [go.type, *(state.type for state in states)]
    branches = {
        "then": step.add("loop_step", dict(zip(["is_on", *results], [stop, *after], strict=True))),
        "else": rest.add("loop_rest", dict(zip(["is_on", *results], [rest.w.as_wire(np.asarray(False)), *same],
                                               strict=True)))}
    on, *after = body.w.apply("if", {"condition": is_on, **operands,
                                     **{f"same_{i}": port for i, port in enumerate(ports)}},
                              branches, ("is_on", *results), types)
    if limit is not None:
        end = body.port("end", limit.type)
        capture.operands["end"] = limit
        on = body.w.emit("and", on, body.w.less(body.w.add(at, np.int64(1)), end))
    nexts = {"is_on_next": on, **{f"state_{i}_next": wire for i, wire in enumerate(after)}}
    last, *out = body.scan("loop", {"at": count, "is_on": go, **{f"state_{i}": x for i, x in enumerate(states)},
                                    **capture.operands}, nexts, {name.removesuffix("_next"): name for name in nexts},
                           ["at"], dict(zip(nexts, types, strict=True)), reverse=False)
    if is_endless:
        last = w.reshape(w.cast(last, dtype="int64"), shape=[1])
        out = [w.squeeze(w.gather(w.unsqueeze(x, axis=0), last), axis=0) for x in out]
    return out


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
            raise _EndsEarly("may end before its last step")
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
