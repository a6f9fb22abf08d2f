"""Makes a case that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import circuitflow as cf
from cases import Call, Case, Given
from circuitflow.gates.shapes import Size
from ways import WAYS, Fault, Tally, go

SECONDS = 20.0
"""So long at most."""


def shrunk(case: Case, fault: Fault, seconds: float = SECONDS) -> tuple[Case, Fault]:
    """The smallest case found that fails like this one, and how it fails."""
    end = time.monotonic() + seconds
    phases = (_fewer_calls, _earlier_output, _fewer_outputs, _fewer_nodes, _simpler_question, _simpler_arguments)
    progress = True
    while progress:
        progress = False
        for phase in phases:
            tried = 0
            while (smaller := _first(phase(case), fault, tried, end)) is not None:
                case, fault, tried = smaller
                progress = True
    return case, fault


def _first(smaller: Iterator[Case], fault: Fault, tried: int, end: float) -> tuple[Case, Fault, int] | None:
    """The first case that still fails, and its number; those that failed no more before it are not tried again at
    once."""
    for number, case in enumerate(smaller):
        if time.monotonic() > end:
            return None
        if number >= tried and (found := fails(case, fault)):
            return case, found, number
    return None


def fails(case: Case, fault: Fault) -> Fault | None:
    """The fault of a case in the same way, if it is of the same kind."""
    try:
        found = go(case, [fault.way] if fault.way in WAYS else [], Tally())
    except Exception:  # no circuit any more
        return None
    return next((other for other in found if (other.way, other.kind) == (fault.way, fault.kind)
                 and _gist(other) == _gist(fault)), None)


def _gist(fault: Fault) -> str:
    """What an error is about: its type, and its first words."""
    return fault.sentence.split(":")[0] if fault.kind == "error" else ""


def _fewer_calls(case: Case) -> Iterator[Case]:
    if len(case.calls) > 1:
        for i in range(len(case.calls)):
            yield replace(case, calls=(case.calls[i],))
        for i in range(len(case.calls)):
            yield replace(case, calls=case.calls[:i] + case.calls[i + 1 :])
    if case.rows > 1:
        yield replace(case, rows=1)


def _fewer_outputs(case: Case) -> Iterator[Case]:
    outputs = case.document["outputs"]
    if len(outputs) > 1:
        for name in outputs:
            yield _with(case, outputs=[other for other in outputs if other != name])
    if case.of and case.of != tuple(outputs):
        yield replace(_with(case, outputs=list(case.of)), of=None)
    for key in ("of", "wrt"):
        asked = getattr(case, key)
        for name in asked or ():
            if len(asked) > 1:
                yield replace(case, **{key: tuple(other for other in asked if other != name)})


def _earlier_output(case: Case) -> Iterator[Case]:
    """One inner value as the output, with what it needs."""
    nodes = {node["id"]: node for node in case.document["nodes"]}
    asked = case.of or case.document["outputs"]
    for name, node in nodes.items():
        if not references(node) or name in asked:
            continue
        needed, left = {name}, [name]
        while left:
            left = [ref.partition(".")[0] for ref in references(nodes[left.pop()])] + left
            left = [ref for ref in left if ref not in needed]
            needed.update(left)
        try:
            circuit = case.circuit()
            values = [np.asarray(cf.Executor(circuit).forward({key: x.values for key, x in call.inputs.items()},
                                                              of=name).outputs[name]) for call in case.calls]
        except cf.CircuitflowError:
            continue
        calls = tuple(Call({key: x for key, x in call.inputs.items() if key in needed},
                           {name: Given(np.ones_like(value))} if value.ndim and case.wrt != () else {})
                      for call, value in zip(case.calls, values, strict=True))
        wrt = case.wrt and tuple(other for other in case.wrt if other in needed)
        yield replace(_with(case, nodes=[node for node in nodes.values() if node["id"] in needed], outputs=[name],
                            upstream=None),
                      of=None, wrt=None if case.wrt and not wrt else wrt, calls=calls)


def _with(case: Case, **changes: Any) -> Case:
    document = {**case.document, **changes}
    return replace(case, document={key: value for key, value in document.items() if value not in (None, {})})


def _fewer_nodes(case: Case) -> Iterator[Case]:
    nodes = case.document["nodes"]
    read = {ref.partition(".")[0] for node in nodes for ref in references(node)} | {
        name.partition(".")[0] for name in (*case.document["outputs"], *(case.of or ()), *(case.wrt or ()))}
    for node in reversed(nodes):
        if node["id"] not in read:
            yield without(case, node["id"])
    try:
        circuit = case.circuit()
        values = [cf.Executor(circuit).forward({name: given.values for name, given in call.inputs.items()},
                                               of=[*circuit.outputs, *(case.of or ())]).values
                  for call in case.calls]
    except cf.CircuitflowError:
        return
    for node in reversed(nodes):  # an operand in its place
        for ref in references(node):
            yield _instead(case, node["id"], ref)
    for node in reversed(nodes):  # an input in its place
        if references(node) and node["id"] in circuit.nodes and all(node["id"] in found for found in values):
            made = circuit.nodes[node["id"]]
            source = {"id": node["id"], "gate": "input", "dtype": made.types[0].dtype,
                      "shape": [str(size) if isinstance(size, Size) else size for size in made.types[0].shape]}
            calls = tuple(Call({**call.inputs, node["id"]: Given(np.array(found[node["id"]]))}, call.upstream)
                          for call, found in zip(case.calls, values, strict=True))
            yield replace(_with(case, nodes=[source if other is node else other for other in nodes]), calls=calls)


def references(node: dict[str, Any]) -> list[str]:
    inputs = node.get("inputs", [])
    return list(inputs.values()) if isinstance(inputs, dict) else list(inputs)


def without(case: Case, name: str) -> Case:
    """The case without a node that nothing reads."""
    calls = tuple(Call({key: value for key, value in call.inputs.items() if key != name}, call.upstream)
                  for call in case.calls)
    return replace(_with(case, nodes=[node for node in case.document["nodes"] if node["id"] != name]), calls=calls)


def _instead(case: Case, name: str, ref: str) -> Case:
    """The case with a reference in place of a node."""
    def other(text: str) -> str:
        return ref if text.partition(".")[0] == name else text

    nodes = []
    for node in copy.deepcopy(case.document["nodes"]):
        if node["id"] == name:
            continue
        if "inputs" in node:
            node["inputs"] = ({port: other(text) for port, text in node["inputs"].items()}
                              if isinstance(node["inputs"], dict) else
                              [other(text) for text in node["inputs"]])
        nodes.append(node)
    outputs = list(dict.fromkeys(map(other, case.document["outputs"])))
    of, wrt = (None if asked is None else tuple(dict.fromkeys(map(other, asked))) for asked in (case.of, case.wrt))
    calls = tuple(Call(call.inputs, {other(text): value for text, value in call.upstream.items()})
                  for call in case.calls)
    upstream = {other(text): value for text, value in case.document.get("upstream", {}).items()}
    return replace(_with(case, nodes=nodes, outputs=outputs, upstream=upstream), of=of, wrt=wrt, calls=calls)


def _simpler_question(case: Case) -> Iterator[Case]:
    if case.document.get("upstream"):
        yield _with(case, upstream=None)
    if case.document.get("circuits"):
        used = {value for node in case.document["nodes"] for key,
                value in node.items() if key in ("circuit", "then", "else")}
        if used != set(case.document["circuits"]):
            yield _with(case, circuits={key: value for key, value in case.document["circuits"].items() if key in used})
    for name in case.own:
        yield replace(case, own={key: value for key, value in case.own.items() if key != name})
    if case.low:
        yield replace(case, low=False)
    if case.of:
        yield replace(case, of=None)
    if case.wrt:
        yield replace(case, wrt=None)
    for node in case.document["nodes"]:
        for key in node:
            if key not in ("id", "gate", "inputs", "value", "shape", "dtype", "circuit", "then", "else", "over",
                           "carry"):
                yield _with(case, nodes=[{k: v for k, v in other.items() if other is not node or k != key}
                                         for other in case.document["nodes"]])


def _simpler_arguments(case: Case) -> Iterator[Case]:
    for i, call in enumerate(case.calls):
        for key in ("inputs", "upstream"):
            part = getattr(call, key)
            for name, given in part.items():
                for simpler in (None, *_simpler(given)):
                    changed = {k: v for k,
                               v in part.items() if k != name} if simpler is None else {**part, name: simpler}
                    yield replace(case, calls=(*case.calls[:i], replace(call, **{key: changed}), *case.calls[i + 1 :]))


def _simpler(given: Given) -> Iterator[Given]:
    values = given.values
    if given.layout != "plain":
        yield Given(values)
    if values.dtype.kind == "f" and values.size:
        ones, rounded = np.ones_like(values), np.round(values)
        for other in (ones, rounded):
            if not np.array_equal(other, values, equal_nan=True) and not np.array_equal(values, ones):
                yield Given(other, given.layout)


