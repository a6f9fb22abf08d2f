"""A document evaluated in mpmath, and its derivatives as differences of its values: no backward rule is needed.

With 100 digits a central difference with steps of 1e-25 has 45 digits, so what is rounded to floats is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from mpmath import mp, mpf

from exact.gates import Array, exact
from exact.windows import GATES

mp.dps = 100
STEP = mpf(10) ** -25
NOISE = mpf(10) ** -40
KINK = mpf(10) ** -15
"""One-sided slopes that differ by more are those of a kink."""

UNITS = ("scan", "if", "checkpoint")
WORDS = ("id", "gate", "inputs", "label", "description", "metadata")
Wire = tuple[str, Array]
"""What a value is called, and the value."""

Nudge = Callable[[str, str | None, Array], Array]
"""What is added: to the value of a node, or to the operand at a port of one."""


def array(value: Any, dtype: str) -> Array:
    """A value of a document."""
    if isinstance(value, dict):
        dtype, shape = value.get("dtype", dtype), value.get("shape")
        data = np.array(value["data"], object)
        value = data if shape is None else np.resize(data, shape) if math.prod(shape) else np.empty(shape, object)
    numbers = np.array(value, object)
    if dtype == "bool":
        return numbers.astype(bool)
    return numbers.astype(dtype) if "int" in dtype else exact(np.frompyfunc(spoken, 1, 1)(numbers))


def spoken(x: Any) -> Any:
    return {"NaN": mp.nan, "Infinity": mp.inf, "-Infinity": -mp.inf}.get(x, x) if isinstance(x, str) else x


def plain(wires: Mapping[str, Wire]) -> dict[str, Array]:
    return {reference: x for reference, (_, x) in wires.items()}


class Run:
    """One evaluation of a document.

    Attributes:
        values: by name: `f`, `f.output`, `call/f`.
        outputs: those of the document.
        stopped: what goes into each `stop_gradient`; `still` has what comes out of it instead.
        edges: (source, target, port) of every edge outside of scans, branches and checkpoints.
    """

    def __init__(self, nudge: Nudge | None = None, still: Mapping[str, Array] | None = None) -> None:
        self.nudge, self.still = nudge or (lambda name, port, x: x), still or {}
        self.values: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        self.stopped: dict[str, Array] = {}
        self.edges: list[tuple[str, str, str | int]] = []

    def circuit(self, document: Mapping[str, Any], inputs: Mapping[str, Array], path: str = "",
                around: Mapping[str, Any] | None = None, wires: Mapping[str, str] | None = None) -> dict[str, Wire]:
        """The outputs. Of a call, `wires` says what its inputs are called outside; each hands on an operand `x`."""
        circuits = {**(around or {}), **document.get("circuits", {})}
        local: dict[str, Wire] = {}
        waiting = list(document["nodes"])
        while waiting:
            ids = {node["id"] for node in waiting}
            node = next(node for node in waiting
                        if not ids & {source.split(".")[0] for _, source in self.operands(document, node)})
            waiting.remove(node)
            name, gate = node["id"], node["gate"]
            if gate in ("input", "parameter", "constant"):
                x = inputs.get(name) if gate != "constant" else None
                if x is None:
                    x = array(node["value"], node.get("dtype", document.get("dtype", "float64")))
                if name in (wires or {}):
                    x = self.operand(wires[name], path + name, "x", x)
                local[name] = self.put(path + name, x)
                continue
            sources = {port: local[source] for port, source in self.operands(document, node)}
            attributes = {key: value for key, value in node.items() if key not in WORDS}
            if gate == "call":
                outputs = self.circuit(circuits[attributes["circuit"]], {port: x for port, (_, x) in sources.items()},
                                       f"{path}{name}/", circuits, {port: wire for port, (wire, _) in sources.items()})
                for key, wire in outputs.items():
                    local[name if len(outputs) == 1 else f"{name}.{key}"] = wire
                continue
            operands = {port: self.operand(wire, path + name, port, x) for port, (wire, x) in sources.items()}
            apply = self.gate if gate not in UNITS else partial(self.unit, circuits=circuits)
            for key, x in apply(gate, attributes, operands, path + name).items():
                reference = f"{name}.{key}" if key else name
                local[reference] = self.put(path + reference, x)
        return {reference: local[reference] for reference in document["outputs"]}

    def put(self, name: str, x: Array) -> Wire:
        self.values[name] = self.nudge(name, None, x)
        return name, self.values[name]

    def operand(self, source: str, target: str, port: str | int, x: Array) -> Array:
        self.edges.append((source, target, port))
        return self.nudge(target, str(port), x)

    def gate(self, gate: str, attributes: Any, operands: Mapping[str | int, Array], name: str) -> dict[str, Array]:
        by_name = {port: x for port, x in operands.items() if isinstance(port, str)}
        by_place = [operands[port] for port in sorted(port for port in operands if isinstance(port, int))]
        if gate == "stop_gradient":
            self.stopped[name] = by_place[0]
            return {"": self.still.get(name, by_place[0])}
        result = GATES[gate](*by_place, **by_name, **attributes)
        if not isinstance(result, tuple):
            return {"": np.asarray(result)}
        keys = {"slogdet": ("sign", "logabsdet"), "eigh": ("eigenvalues", "eigenvectors"), "qr": ("q", "r"),
                "svd": ("u", "s", "vh"), "top_k": ("values", "indices"),
                "batch_normalization": ("y", "mean", "variance")}.get(gate, tuple(map(str, range(len(result)))))
        return dict(zip(keys, map(np.asarray, result), strict=True))

    def unit(self, gate: str, attributes: Any, operands: dict[str, Array], name: str,
             circuits: Any) -> dict[str, Array]:
        """A circuit that runs as a unit: its inner values stay inside."""
        inner = Run(still={key: x for key, x in self.still.items() if key.startswith(name)})
        if gate == "scan":
            outputs = self.scan(inner, attributes, operands, circuits, name)
        else:
            body = circuits[attributes["circuit"] if gate == "checkpoint" else
                            attributes["then" if operands["condition"] else "else"]]
            ids = {node["id"] for node in body["nodes"]}
            outputs = plain(inner.circuit(body, {key: x for key, x in operands.items() if key in ids}, f"{name}/",
                                          circuits))
        self.stopped |= inner.stopped
        return outputs if len(outputs) > 1 else {"": next(iter(outputs.values()))}

    @staticmethod
    def scan(inner: Run, attributes: Any, operands: dict[str, Array], circuits: Any, name: str) -> dict[str, Array]:
        body, carry, over = circuits[attributes["circuit"]], dict(attributes["carry"]), attributes["over"]
        state = {key: operands[key] for key in carry}
        steps = range(len(operands[over[0]]))
        stacks: dict[str, list[Array]] = {key: [] for key in body["outputs"] if key not in carry.values()}
        for step in reversed(steps) if attributes.get("reverse") else steps:
            here = {key: operands[key][step] for key in over}
            outputs = plain(inner.circuit(body, {**operands, **here, **state}, f"{name}/{step}/", circuits))
            state = {key: outputs[after] for key, after in carry.items()}
            for key, stack in stacks.items():
                stack.append(outputs[key])
        order = reversed if attributes.get("reverse") else list
        last = {after: state[key] for key, after in carry.items()}
        return {key: last[key] if key in last else np.stack(list(order(stacks[key]))) for key in body["outputs"]}

    @staticmethod
    def operands(document: Mapping[str, Any], node: Mapping[str, Any]) -> list[tuple[Any, str]]:
        """Ports and what is connected to them; positions where ports have no names."""
        inputs = node.get("inputs", [])
        if isinstance(inputs, dict):
            return list(inputs.items())
        edges = [(edge.get("port", i), edge["source"]) for i, edge in
                 enumerate(edge for edge in document.get("edges", ()) if edge["target"] == node["id"])]
        return [*enumerate(inputs), *edges]


class Exact:
    """The values and derivatives of a document at inputs, for upstream gradients and along tangents."""

    def __init__(self, document: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        self.document = document
        sources = {node["id"]: node.get("dtype", document.get("dtype", "float64")) for node in document["nodes"]
                   if node["gate"] == "input"}
        self.inputs = {name: array(x, sources[name]) for name, x in inputs.items()}
        self.still: Mapping[str, Array] = {}
        base = self.at({})
        self.outputs, self.values, self.still, self.edges = base.outputs, base.values, base.stopped, base.edges

    def sources(self) -> Iterator[str]:
        """Inputs and parameters of floating-point numbers."""
        kinds = {node["id"]: node["gate"] for node in self.document["nodes"]}
        for name, x in self.values.items():
            if kinds.get(name) in ("input", "parameter") and x.dtype == object:
                yield name

    def at(self, shifts: Mapping[tuple[str, str | None], Array]) -> Run:
        """An evaluation where nodes, or operands, are shifted."""

        def nudge(name: str, port: str | None, x: Array) -> Array:
            return np.asarray(x + shifts[name, port], object) if (name, port) in shifts else x

        run = Run(nudge, self.still)
        run.outputs = plain(run.circuit(self.document, self.inputs))
        return run

    def moved(self, tangents: Mapping[tuple[str, str | None], Array]) -> set[str]:
        """The values that change along tangents."""
        values = self.at({key: STEP * t for key, t in tangents.items()}).values
        return {name for name, x in values.items() if x.dtype == object and np.any(x != self.values[name])}

    def scalar(self, upstream: Mapping[str, Array], shifts: Mapping[tuple[str, str | None], Array]) -> Any:
        outputs = self.at(shifts).outputs
        return sum((np.sum(g * outputs[name]) for name, g in upstream.items()), mpf(0))

    def slope(self, upstream: Mapping[str, Array], name: str, port: str | None, x: Array,
              tangents: Mapping[tuple[str, str | None], Array] | None = None) -> Array:
        """The gradient on a node or on an operand; with tangents, its derivative along them.

        Raises:
            ValueError: there is a kink.
        """
        result = np.full(x.shape, mpf(0), object)
        for place in np.ndindex(*x.shape):
            unit = np.full(x.shape, mpf(0), object)
            unit[place] = STEP

            def at(sign: int, along: int, unit: Array = unit) -> Any:
                shifts = {key: along * STEP * t for key, t in (tangents or {}).items()}
                shifts[name, port] = shifts.get((name, port), 0) + sign * unit
                return self.scalar(upstream, shifts)

            if tangents is None:
                above, here, below = at(1, 0), at(0, 0), at(-1, 0)
                if abs((above - here) - (here - below)) > KINK * STEP * (1 + abs(above - below) / STEP):
                    raise ValueError(f"a kink at {name}{list(place)}")
                result[place] = (above - below) / (2 * STEP)
            else:
                result[place] = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * STEP**2)
        return result

    def tangent(self, tangents: Mapping[tuple[str, str | None], Array]) -> dict[str, Array]:
        """The derivatives of the outputs along tangents."""
        above, below = (self.at({key: sign * STEP * t for key, t in tangents.items()}).outputs for sign in (1, -1))
        return {name: np.asarray((above[name] - below[name]) / (2 * STEP), object) for name in above
                if above[name].dtype == object}


def rounded(x: Array) -> Any:
    """As JSON: the nearest floats, in the fewest digits that read back as them."""
    x = np.asarray(x)
    if x.ndim:
        return [rounded(row) for row in x]
    value = x[()]
    if x.dtype == bool:
        return bool(value)
    if x.dtype.kind in "iu":
        return int(value)
    if abs(value) < NOISE:  # a difference of equal numbers; no example has such a small one
        return 0.0
    if mp.isnan(value) or mp.isinf(value):
        return "NaN" if mp.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    with mp.workprec(53):
        return float(+value)

