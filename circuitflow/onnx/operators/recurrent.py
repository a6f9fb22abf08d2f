"""Recurrent layers as scans over their equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.gates import ArrayType
from circuitflow.onnx.calls import Body, Call, Refusal

ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softsign": "softsign", "Softplus": "softplus",
               "HardSigmoid": "hard_sigmoid", "LeakyRelu": "leaky_relu", "Elu": "elu"}
"""Gates of activations, by ONNX's name in any case; with the constants that are their defaults."""


class Cell(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
        gates: how many matrices stand in one.
        activations: the default ones.
        step: `step(s)` gives the next states.
        states: how many states there are.
    """

    gates: int
    activations: tuple[str, ...]
    step: Callable[[Step], list[Any]]
    states: int = 1


class Step:
    """One step of a layer inside of the body of its scan.

    Attributes:
        w: writes the body.
        parts: what the input comes to, for each gate, with the biases that do not depend on the state.
        states: the states before.
        matrix: of the state, (size, gates · size).
    """

    def __init__(self, body: Body, call: Call, size: int, functions: list[str], x: Any, states: list[Any],
                 matrix: Any, bias: Any, peepholes: Any) -> None:
        self.w, self.call, self.size, self.functions = body.w, call, size, functions
        self.x, self.states, self.matrix, self.bias, self.peepholes = x, states, matrix, bias, peepholes
        self.limit = call.attribute("clip")

    def part(self, x: Any, position: int) -> Any:
        """The columns of a gate."""
        return self.w.slice(x, axis=-1, start=position * self.size, stop=(position + 1) * self.size)

    def activate(self, number: int, x: Any) -> Any:
        """An activation, of what is kept between bounds if the layer has them."""
        if self.limit is not None:
            x = self.w.clip(x, min=-self.limit, max=self.limit)
        return self.w.emit(self.functions[number], x)

    def peep(self, position: int, x: Any, state: Any) -> Any:
        """What a gate sees of the cell."""
        if self.peepholes is None:
            return x
        weights = self.w.slice(self.peepholes, axis=0, start=position * self.size, stop=(position + 1) * self.size)
        return self.w.add(x, self.w.mul(weights, state))


def _rnn(s: Step) -> list[Any]:
    return [s.activate(0, s.w.add(s.x, s.w.matmul(s.states[0], s.matrix)))]


def _gru(s: Step) -> list[Any]:
    w, (h,) = s.w, s.states
    together = w.matmul(h, s.w.slice(s.matrix, axis=1, start=0, stop=2 * s.size))
    z, r = (s.activate(0, w.add(s.part(s.x, i), s.part(together, i))) for i in (0, 1))
    if s.call.attribute("linear_before_reset"):
        inner = w.matmul(h, s.part(s.matrix, 2))
        inner = w.mul(r, inner if s.bias is None else w.add(inner, s.bias))
    else:
        inner = w.matmul(w.mul(r, h), s.part(s.matrix, 2))
    new = s.activate(1, w.add(s.part(s.x, 2), inner))
    return [w.add(w.mul(w.sub(1.0, z), new), w.mul(z, h))]


def _lstm(s: Step) -> list[Any]:
    w, (h, c) = s.w, s.states
    total = w.add(s.x, w.matmul(h, s.matrix))
    i = s.activate(0, s.peep(0, s.part(total, 0), c))
    f = s.activate(0, s.peep(2, s.part(total, 2), c))
    cell = w.add(w.mul(f, c), w.mul(i, s.activate(1, s.part(total, 3))))
    o = s.activate(0, s.peep(1, s.part(total, 1), cell))
    return [w.mul(o, s.activate(2, cell)), cell]


CELLS = {"RNN": Cell(1, ("Tanh",), _rnn), "GRU": Cell(3, ("Sigmoid", "Tanh"), _gru),
         "LSTM": Cell(4, ("Sigmoid", "Tanh", "Tanh"), _lstm, 2)}


def recurrent(call: Call) -> Any:
    """A layer in one direction or both."""
    cell, w = CELLS[call.node.operator], call.w
    direction = call.attribute("direction")
    backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}.get(direction)
    if backward is None:
        raise Refusal(f"has the direction {direction}")
    if call.attribute("input_forget", 0):
        raise Refusal("couples input and forget gate; expected input_forget 0")
    for name in ("activation_alpha", "activation_beta"):
        if call.attribute(name):
            raise Refusal(f"has {name}; expected activations with their default constants")
    batch_first = bool(call.attribute("layout", 0))
    size = call.numbers_of(call.shape(2))[2]
    if call.attribute("hidden_size", size) != size:
        raise Refusal(f"has the hidden_size {call.attribute('hidden_size')} beside weights of {size}")
    call.attribute("linear_before_reset")
    call.attribute("output_sequence")
    functions = _functions(call, cell, len(backward))
    x = w.transpose(call[0], axes=[1, 0, 2]) if batch_first else call[0]
    sequences: list[Any] = []
    ends: list[list[Any]] = [[] for _ in range(cell.states)]
    for number, reverse in enumerate(backward):
        stack, states = _direction(call, cell, x, size, number, functions[number], reverse=reverse,
                                   batch_first=batch_first)
        sequences.append(w.unsqueeze(stack, axis=1))
        for end, state in zip(ends, states, strict=True):
            end.append(w.unsqueeze(state, axis=0))
    y = w.concat(*sequences, axis=1) if len(sequences) > 1 else sequences[0]
    outs = [w.concat(*end, axis=0) if len(end) > 1 else end[0] for end in ends]
    if batch_first:
        y = w.transpose(y, axes=[2, 0, 1, 3])
        outs = [w.transpose(out, axes=[1, 0, 2]) for out in outs]
    return [y, *outs]


def _functions(call: Call, cell: Cell, directions: int) -> list[list[str]]:
    """The gates of the activations of each direction."""
    names = call.attribute("activations") or list(cell.activations) * directions
    if not call.has_attribute("activations"):  # ONNX has them for two directions by default
        names = names[: len(cell.activations) * directions]
    by_name = {name.casefold(): gate for name, gate in ACTIVATIONS.items()}
    gates = [by_name.get(str(name).casefold()) for name in names]
    if None in gates or len(gates) != len(cell.activations) * directions:
        raise Refusal(f"has the activations {names}; expected {len(cell.activations) * directions} of "
                      f"{', '.join(ACTIVATIONS)}")
    each = len(cell.activations)
    return [[str(gate) for gate in gates[i * each : (i + 1) * each]] for i in range(directions)]


def _direction(call: Call, cell: Cell, x: Any, size: int, number: int, functions: list[str], *, reverse: bool,
               batch_first: bool) -> tuple[Any, list[Any]]:
    """The states of every step, and the last ones."""
    w, wide = call.w, cell.gates * size

    def own(position: int) -> Any:
        """The part of an operand that belongs to the direction."""
        return w.squeeze(w.slice(call[position], axis=0, start=number, stop=number + 1), axis=0)

    matrix = w.matrix_transpose(own(2))
    parts = w.matmul(x, w.matrix_transpose(own(1)))
    bias = None
    if call.has(3):
        both = own(3)
        first, second = (w.slice(both, axis=0, start=start, stop=start + wide) for start in (0, wide))
        parts = w.add(parts, first)
        if call.node.operator == "GRU" and call.attribute("linear_before_reset"):
            bias = w.slice(second, axis=0, start=2 * size, stop=wide)
            second = w.concat(w.slice(second, axis=0, start=0, stop=2 * size), w.zeros_like(bias), axis=0)
        parts = w.add(parts, second)
    step = ArrayType(parts.type.shape[1:], parts.type.dtype)
    type_ = ArrayType((*step.shape[:-1], size), step.dtype)
    states = []
    for i in range(cell.states):
        if call.has(5 + i):
            state = call[5 + i]
            state = w.transpose(state, axes=[1, 0, 2]) if batch_first else state
            states.append(w.squeeze(w.slice(state, axis=0, start=number, stop=number + 1), axis=0))
        else:
            first = w.squeeze(w.slice(parts, axis=0, start=0, stop=1), axis=0)
            states.append(w.zeros_like(w.slice(first, axis=1, start=0, stop=size)))
    names = ["h", "c"][: cell.states]
    body = call.body()
    inside = body.port("x", step)
    before = [body.port(name, type_) for name in names]
    operands = {"x": parts, **dict(zip(names, states, strict=True)), "r": matrix}
    arguments: list[Any] = [body.port("r", matrix.type)]
    for name, wire in (("b", bias), ("p", own(7) if call.has(7) else None)):
        operands |= {name: wire} if wire is not None else {}
        arguments.append(body.port(name, wire.type) if wire is not None else None)
    after = cell.step(Step(body, call, size, functions, inside, before, *arguments))
    y, over = after[0], ["x"]
    if call.has(4):
        steps = call.numbers_of(x.type.shape[:1])[0]
        lengths = call[4]
        alive = body.w.unsqueeze(body.w.less(body.port("t", ArrayType((), lengths.type.dtype)),
                                             body.port("n", lengths.type)), axis=-1)
        operands |= {"t": np.arange(steps).astype(lengths.type.dtype), "n": lengths}
        over.append("t")
        y = body.w.where(alive, y, body.w.zeros_like(y))
        after = [body.w.where(alive, new, old) for new, old in zip(after, before, strict=True)]
    outputs = {"y": y, **{f"{name}_next": state for name, state in zip(names, after, strict=True)}}
    stack = ArrayType((x.type.shape[0], *type_.shape), type_.dtype)
    carry = {name: f"{name}_next" for name in names}
    results = body.scan(call.node.operator.casefold(), operands, outputs, carry, over,
                        {"y": stack, **dict.fromkeys(carry.values(), type_)}, reverse=reverse)
    return results[0], list(results[1:])


RECURRENT: Mapping[str, Callable[[Call], Any]] = dict.fromkeys(CELLS, recurrent)
