"""The catalogue in words: the page of a gate, the page of all, and an example document for each."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from circuitflow.document.faults import expected
from circuitflow.gates import FAMILIES, GATES, NOTES, ArrayType, AtLeast, Gate, GateTable, ShapeError
from circuitflow.gates.names import called, instead
from circuitflow.gates.notes import told


class Attribute(NamedTuple):
    """One attribute of a gate, in words."""

    name: str
    meaning: str
    takes: str
    default: str


def operands(gate: Gate) -> str:
    """The operands of a gate in a few words; those that may be left out in brackets."""
    if isinstance(gate.operands, AtLeast):
        return f"{gate.operands.minimum} or more"
    needed = len(gate.operands) - gate.optional
    return ", ".join(name if i < needed else f"[{name}]" for i, name in enumerate(gate.operands))


def attributes(gate: Gate) -> list[Attribute]:
    """The attributes of a gate in words."""
    return [Attribute(name, str(field["description"]), expected(field),
                      json.dumps(field["default"]) if "default" in field else "required")
            for name, field in gate.attributes.model_json_schema().get("properties", {}).items()]


def facts(name: str, gate: Gate) -> Iterator[tuple[str, str]]:
    """What there is to say of a gate, by heading."""
    yield "operands", operands(gate)
    if not is_built_in(name, gate):
        return
    note = NOTES[name]
    if outputs := _outputs(name):
        yield "outputs", ", ".join(outputs)
    yield "gradient", told(note.gradient)
    if note.kinks:
        yield "conventions", note.kinks
    if note.onnx:
        yield "ONNX", note.onnx
    if note.numpy:
        yield "NumPy or SciPy", note.numpy
    if note.also:
        yield "also called", note.also.replace(" ", ", ")


def _outputs(name: str) -> tuple[str, ...]:
    written = _ATTRIBUTES.get(name, {})
    return GATES[name].output_names({**GATES[name].defaults, **written})


def is_built_in(name: str, gate: Gate) -> bool:
    """Whether a row is that of the built-in table: of another one it is known only what stands in it."""
    return GATES.get(name) is gate


def families(table: GateTable) -> dict[str, GateTable]:
    """The rows of a table by family; those that are not built in are a family of their own, the last."""
    built_in = {family: {name: table[name] for name, gate in gates.items() if table.get(name) is gate}
                for family, gates in FAMILIES.items()}
    return {**built_in, "own": {name: gate for name, gate in table.items() if not is_built_in(name, gate)}}


def found(words: str, table: GateTable) -> list[str]:
    """The gates that have a text in their name, formula, summary, or in what they are called elsewhere."""
    wanted = words.casefold()
    remedy = instead(words, table) or ""
    named = {*called(remedy), *re.findall(r"'(\w+)'", remedy)}
    notes = {name: NOTES[name] for name, gate in table.items() if is_built_in(name, gate)}
    known = {name: [note.onnx, note.numpy, note.also] for name, note in notes.items()}
    return [name for name, gate in table.items() if name in named or wanted in " ".join(
        [name, gate.formula, gate.summary, *known.get(name, ())]).casefold()]


def page() -> Iterator[str]:
    """The catalogue as a page of Markdown."""
    yield "# The gates"
    yield ""
    yield (f"{len(GATES)} gates in {len(FAMILIES)} families; `circuitflow gates` lists them, `circuitflow gates NAME` "
           "shows one. In the rules, g is the upstream gradient. What holds at ties, zeros and the ends of the range "
           "of floats is in [conventions.md](conventions.md), point by point. Written by `circuitflow gates --page`.")
    for family, gates in FAMILIES.items():
        yield ""
        yield f"## {family.capitalize()}"
        for name, gate in gates.items():
            yield ""
            yield f"### {name}: {gate.formula}"
            yield ""
            yield gate.summary
            yield ""
            yield from (f"- {heading}: {text}" for heading, text in facts(name, GATES[name]))
            if rows := attributes(gate):
                yield ""
                yield "| attribute | meaning | takes | default |"
                yield "|---|---|---|---|"
                yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
            yield ""
            yield "```json"
            yield example(name)
            yield "```"


# Examples -------------------------------------------------------------------------------------------------------------

_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "reshape": {"shape": [2, 2]}, "expand": {"shape": [2, 1]}, "tile": {"repeats": [2]}, "roll": {"shift": 1},
    "unsqueeze": {"axis": 0}, "squeeze": {"axis": 0}, "cast": {"dtype": "int64"}, "split": {"sections": 2},
    "slice": {"start": 1}, "slice_scatter": {"start": 1, "stop": 3}, "pad": {"pad_width": [[1, 1]]},
    "one_hot": {"depth": 3}, "top_k": {"k": 1}, "einsum": {"equation": "i,i->"},
    "einsum_no_nan": {"equation": "i,i->"}, "polygamma": {"n": 1},
    "unfold": {"kernel_shape": [2]}, "fold": {"kernel_shape": [1]}, "max_pool": {"kernel_shape": [2]},
    "average_pool": {"kernel_shape": [2]}, "group_normalization": {"num_groups": 1}, "clip": {"min": 0, "max": 1},
}
_FLOATS: list[Any] = [0.5, [1, 2, 3, 4], [1, 2], [[2, 1], [1, 3]], [[[1, 2, 4]]], [1], [[[1, 1]]], [[1]],
                      [[[[1, 2, 4]]]]]
_TRUTHS: list[Any] = [True, [True, False]]
_INDICES: list[Any] = [1, [0, 1], [[0, 1]], [[0], [1]]]


def example(name: str) -> str:
    """A document that applies a gate: the first operands of a few that fit."""
    gate = GATES[name]
    ports = gate.operands if not isinstance(gate.operands, AtLeast) else tuple("xyz"[: max(2, gate.operands.minimum)])
    written = _ATTRIBUTES.get(name, {})
    for values in itertools.product(*(_candidates(name, port) for port in ports)):
        try:
            gate.shape(*map(_type, ports, values), **{**gate.defaults, **written})
        except ShapeError:
            continue
        return _document(name, ports, values, written)
    raise AssertionError(f"no operands fit {name}")


_WHOLE = ("indices", "labels", "seed")


def _candidates(name: str, port: str) -> list[Any]:
    if port in _WHOLE:
        return _INDICES
    return _TRUTHS if port in ("condition", "mask") or name in ("and", "or", "xor", "not") else _FLOATS


def _type(port: str, value: Any) -> ArrayType:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0]
    return ArrayType(tuple(shape), "bool" if isinstance(value, bool) else "int64" if port in _WHOLE else "float64")


def _document(name: str, ports: Sequence[str], values: Sequence[Any], written: dict[str, Any]) -> str:
    nodes: list[dict[str, Any]] = [{"id": port, "gate": "input", "value": value,
                                    **({"dtype": "int64"} if port in _WHOLE else {})}
                                   for port, value in zip(ports, values, strict=True)]
    nodes.append({"id": "f", "gate": name, "inputs": list(ports), **written})
    lines = ",\n".join(f"    {json.dumps(node)}" for node in nodes)
    outputs = [f"f.{output}" for output in _outputs(name)] or ["f"]
    return f'{{\n  "circuitflow": "1.0",\n  "nodes": [\n{lines}\n  ],\n  "outputs": {json.dumps(outputs)}\n}}'
