"""The catalogue in words: the page of a gate, the page of all, and an example document for each."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from circuitflow.document.faults import in_words
from circuitflow.explanations import tex
from circuitflow.gates import FAMILIES, GATES, ArrayType, AtLeast, Gate, GateTable, ShapeError
from circuitflow.gates.names import instead, names_in
from circuitflow.gates.record import spell_out


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
    least = len(gate.operands) - gate.optional
    return ", ".join(name if i < least else f"[{name}]" for i, name in enumerate(gate.operands))


def attributes(gate: Gate) -> list[Attribute]:
    """The attributes of a gate in words."""
    return [Attribute(name, str(field["description"]), in_words(field),
                      json.dumps(field["default"]) if "default" in field else "required")
            for name, field in gate.attributes.model_json_schema().get("properties", {}).items()]


def facts(gate: Gate) -> Iterator[tuple[str, str]]:
    """What there is to say of a gate, by heading."""
    yield "operands", operands(gate)
    note = gate.facets.note
    if not note.gradient:
        return
    if outputs := _outputs(gate):
        yield "outputs", ", ".join(outputs)
    yield "gradient", spell_out(note.gradient)
    if note.kinks:
        yield "conventions", note.kinks
    if note.onnx:
        yield "ONNX", str(note.onnx)
    if note.numpy:
        yield "NumPy or SciPy", note.numpy
    if note.also:
        yield "also called", note.also.replace(" ", ", ")


def _outputs(gate: Gate) -> tuple[str, ...]:
    return gate.output_names({**gate.defaults, **gate.facets.note.example})


def families(table: GateTable) -> dict[str, GateTable]:
    """The rows of a table by family; those that are not built in are a family of their own, the last."""
    built_in = {family: {name: table[name] for name, gate in gates.items() if table.get(name) is gate}
                for family, gates in FAMILIES.items()}
    return {**built_in, "own": {name: gate for name, gate in table.items() if GATES.get(name) is not gate}}


def search(words: str, table: GateTable) -> list[str]:
    """The gates that have a text in their name, formula, summary, or in what they are called elsewhere."""
    text = words.casefold()
    remedy = instead(words, table) or ""
    matches = {*names_in(remedy), *re.findall(r"'(\w+)'", remedy)}

    def has_text(name: str, gate: Gate) -> bool:
        note = gate.facets.note
        return text in " ".join([name, gate.formula, gate.summary, str(note.onnx), note.numpy, note.also]).casefold()

    return [name for name, gate in table.items() if name in matches or has_text(name, gate)]


def page(table: GateTable = GATES) -> Iterator[str]:
    """The catalogue as a page of Markdown, with formulas in TeX between dollar signs."""
    groups = {family: gates for family, gates in families(table).items() if gates}
    yield "# The gates\n"
    yield (f"{len(table)} gates in {len(groups)} families; `circuitflow gates` lists them, `circuitflow gates NAME` "
           "shows one. In the rules, $g$ is the upstream gradient. What holds at ties, zeros and the ends of the range "
           "of floats is in [conventions.md](conventions.md), point by point. Written by `circuitflow gates --page`.")
    for family, gates in groups.items():
        yield f"\n## {family.capitalize()}"
        for name in gates:
            yield from ["", f"### {name}", "", *entry(name, table)]
            yield from details("attribute", attributes(table[name]), example(name, table))


def entry(name: str, table: GateTable = GATES) -> Iterator[str]:
    """What there is to say of a gate, in Markdown: the formula, the sentence, and what stands in its note."""
    gate = table[name]
    yield f"$${tex.formula(gate)}$$\n"
    yield f"{gate.summary}\n"
    for heading, text in facts(gate):
        yield f"- {heading}: {tex.gradient(gate) if heading == 'gradient' else text}"


def details(heading: str, rows: Sequence[Attribute], document: str) -> Iterator[str]:
    """A table of attributes or keys, and an example, in Markdown; each of them may be empty."""
    if rows:
        yield f"\n| {heading} | meaning | takes | default |\n|---|---|---|---|"
        yield from (f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
    if document:
        yield f"\n```json\n{document}\n```"


# Examples -------------------------------------------------------------------------------------------------------------

_SCALARS = (0.5, 0.8, 0.3)
_FLOATS: list[Any] = [0.5, [1, 2, 3, 4], [1, 2], [[2, 1], [1, 3]], [[[1, 2, 4]]], [1], [[[1, 1]]], [[1]],
                      [[[[1, 2, 4]]]]]
_TRUTHS: list[Any] = [True, [True, False]]
_INDICES: list[Any] = [1, [0, 1], [[0, 1]], [[0], [1]]]
_WHOLE = ("indices", "labels", "seed")


def example(name: str, table: GateTable = GATES) -> str:
    """A document that applies a gate: the first operands of a few that fit; "" for a gate of which nothing is said."""
    gate = table[name]
    note = gate.facets.note
    ports = gate.operands if not isinstance(gate.operands, AtLeast) else tuple("xyz"[: max(2, gate.operands.minimum)])
    floats = _FLOATS[1:] if {"axis", "axes"} & gate.attributes.model_fields.keys() else _FLOATS
    for numbers in (floats, _TRUTHS) if note.gradient else ():
        for values in itertools.product(*(_candidates(port, numbers) for port in ports)):
            try:
                types = gate.shape(*map(_type, ports, values), **{**gate.defaults, **note.example})
            except ShapeError:
                continue
            values = tuple(_SCALARS[i % 3] if value == 0.5 else value for i, value in enumerate(values))
            if values == (0.5,) and not _is_defined(gate, 0.5):
                values = (1.5,)
            nodes: list[dict[str, Any]] = [{"id": port, "gate": "input", "value": value,
                                            **({"dtype": "int64"} if port in _WHOLE else {})}
                                           for port, value in zip(ports, values, strict=True)]
            nodes.append({"id": "f", "gate": name, "inputs": list(ports), **note.example})
            outputs = [f"f.{output}" for output in _outputs(gate)] or ["f"]
            arrays = {output: {"data": 1, "shape": list(type_.shape)} for output, type_ in
                      zip(outputs, (types,) if isinstance(types, ArrayType) else types, strict=True)
                      if type_.is_float and type_.shape}
            return document_of(map(json.dumps, nodes), outputs, upstream=arrays)
    return ""


def _is_defined(gate: Gate, x: float) -> bool:
    """Whether a function of one number has a value there; the gate of a program's own may say anything."""
    with np.errstate(all="ignore"):
        try:
            out = gate.forward(np, np.float64(x), **{**gate.defaults, **gate.facets.note.example})
            return bool(np.all(np.isfinite(out)))
        except Exception:
            return True


def _candidates(port: str, numbers: list[Any]) -> list[Any]:
    return _INDICES if port in _WHOLE else _TRUTHS if port in ("condition", "mask") else numbers


def _type(port: str, value: Any) -> ArrayType:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0]
    return ArrayType(tuple(shape), "bool" if isinstance(value, bool) else "int64" if port in _WHOLE else "float64")


def document_of(nodes: Iterable[str], outputs: Sequence[str], circuits: str = "", *,
                upstream: Mapping[str, Any] | None = None) -> str:
    """The text of a document, from the JSON of its nodes and of the members of its `circuits`."""
    lines = ",\n".join(f"    {node}" for node in nodes)
    inner = ",\n".join(f"    {line}" for line in circuits.strip().splitlines())
    before = f'  "circuits": {{\n{inner}\n  }},\n' if inner else ""
    after = f',\n  "upstream": {json.dumps(upstream)}' if upstream else ""
    return (f'{{\n  "circuitflow": "1.0",\n{before}  "nodes": [\n{lines}\n  ],\n'
            f'  "outputs": {json.dumps(outputs)}{after}\n}}')
