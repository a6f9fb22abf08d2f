"""What a document means: its faults, and the type, value and gradient of every node, and why a gradient is wrong."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from circuitflow.document import positions
from circuitflow.document.faults import Faults, Source
from circuitflow.errors import CircuitflowError, DocumentError, Fault, GateError
from circuitflow.executor import Executor
from circuitflow.gates import GATES, GateTable
from circuitflow.gates.shapes import show
from circuitflow.graph.bounds import check_start
from circuitflow.graph.circuit import Circuit, loads
from circuitflow.graph.typed import Node
from circuitflow.interpreter.result import Result
from circuitflow.interpreter.why import Diagnosis, arguments, suspects
from circuitflow.text import few, number, printable

NAME = Source().name
"""What faults call a document that is read from a text."""

MOST_BYTES = 2**28
"""Values of all nodes together that are computed for an editor, in bytes. Opening a file must not fill the memory."""

LONGEST_HINT = 100
"""The most characters at the end of a line."""

MOST_VALUES = 3
"""The most values that are listed of a node that several calls have."""

MOST_DIAGNOSES = 12
"""How many gradients are said to be wrong. In a large circuit, often one gate is to blame for all."""

MOST_HINTS = 4
"""The most gates to blame that are marked for one gradient. The rest stands where the gradient does."""

DIAGNOSING = 5.0
"""Seconds after which no further gradient is looked into. It takes a few runs for each."""

_NO_MEMORY = "not enough memory for this circuit"


class Facts(NamedTuple):
    """What is known of the node at a pointer into the text.

    Attributes:
        gate: its kind.
        types: dtype and shape of every output, in words.
        values, gradients: in short, one for every call that has the node; empty where they are not computed.
    """

    gate: str
    types: str
    values: tuple[str, ...] = ()
    gradients: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """Value and gradient on one line; "" where neither is known. A gradient has the shape of its value."""
        parts = [f"= {_listed(self.values)}"] if self.values else []
        if self.gradients:
            parts.append(f"∇ {_listed(tuple(re.sub(r'^[(].*?[)] ', '', text) for text in self.gradients))}")
        return printable("  ".join(parts), LONGEST_HINT)


class Why(NamedTuple):
    """Why the gradient on a node is wrong.

    Attributes:
        diagnosis: what is wrong.
        places: of every gate to blame, the pointer into the text to it, or to the call that leads there.
    """

    diagnosis: Diagnosis
    places: tuple[positions.Path, ...]


class Findings(NamedTuple):
    """What came of a look at a document.

    Attributes:
        faults: why it is not valid.
        warnings: what a run of it would complain of.
        facts: of every node of a valid document, by its pointer in the text.
        reason: why there are no values; "" where there are.
        hints: the gates to blame for gradients, and what for.
        whys: of the inputs and parameters whose gradient is wrong, by pointer; several, of one that several calls have.
    """

    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    facts: dict[positions.Path, Facts] = {}  # noqa: RUF012  (never changed)
    reason: str = ""
    hints: tuple[Fault, ...] = ()
    whys: dict[positions.Path, tuple[Why, ...]] = {}  # noqa: RUF012  (never changed)


def read(path: str | None, text: str, gates: GateTable = GATES) -> Iterator[Findings]:
    """What is known of a document before it is computed: faults, or warnings.

    Args:
        path: the file, beside which others are found; None for a text that has none.
        text: what the editor holds.
        gates: the gate table.
    """
    circuit = _circuit(path, text, gates)
    yield circuit if isinstance(circuit, Findings) else Findings(warnings=_warnings_of(circuit))


def compute(path: str | None, text: str, gates: GateTable = GATES) -> Iterator[Findings | None]:
    """What is known of a document as a run tells it, see `read`; then, if any gradient is wrong, also why.

    Between gradients it gives None, so that its caller can leave them for a newer text.
    """
    circuit = _circuit(path, text, gates)
    if isinstance(circuit, Findings):
        yield circuit
        return
    warnings = _warnings_of(circuit)
    result, reason = None, ""
    try:
        result, reason = _result(circuit)
    except (CircuitflowError, MemoryError) as error:
        reason = str(error) or _NO_MEMORY
        warnings += _warnings(circuit, [(error.at[0] if isinstance(error, GateError) and error.at else "", reason)])
    if result is not None and (culprit := result.non_finite()):
        warnings += _warnings(circuit, [(culprit.node, str(culprit))])
    findings = Findings((), warnings, _facts(circuit, result), reason)
    yield findings
    if result is not None:
        found: list[Diagnosis] = []
        for diagnosis in _diagnoses(circuit, result):
            found += [diagnosis] if diagnosis else []
            yield None
        if found:
            yield findings._replace(hints=_hints(circuit, found, warnings), whys=_whys(circuit, found))


def _circuit(path: str | None, text: str, gates: GateTable) -> Circuit | Findings:
    """The circuit of a document, or its faults."""
    try:
        return loads(text, gates=gates, folder=Path(path).parent if path is not None else None)
    except DocumentError as error:
        return Findings(faults=error.faults)
    except (CircuitflowError, MemoryError) as error:
        return Findings(faults=(Fault(str(error) or _NO_MEMORY),))


def _result(circuit: Circuit) -> tuple[Result | None, str]:
    """Values and gradients, and the reason where there are none."""
    missing = [node.id for node in circuit.nodes.values()
               if node.kind == "input" and (node.site is None or node.site.array is None)]
    if missing:
        return None, f"input '{missing[0]}' has no value"
    size = sum(np.dtype(type_.dtype).itemsize * math.prod(length for length in type_.shape if isinstance(length, int))
               for node in circuit.nodes.values() for type_ in node.types)
    if size > MOST_BYTES:
        return None, f"its values take {size / 2**20:,.0f} MiB; `circuitflow run` computes them"
    executor = Executor(circuit)
    is_float = any(circuit.nodes[output.node].types[output.position].is_float for output in circuit.outputs.values())
    return (executor.run() if is_float else executor.forward()), ""


def _facts(circuit: Circuit, result: Result | None) -> dict[positions.Path, Facts]:
    values, gradients = (result.values, result.gradients) if result else ({}, {})
    calls = [node for node in circuit.body.nodes.values() if node.id not in circuit.nodes]
    at: dict[positions.Path, list[Node]] = {}  # several, of a circuit that is called more than once
    for node in (*circuit.nodes.values(), *calls):
        if node.site is not None and node.site.source is circuit.definition.source:
            at.setdefault(node.site.pointer, []).append(node)
    facts = {}
    for pointer, nodes in at.items():
        outputs = [circuit.find(name) for node in nodes for name in circuit.names_of(node.id) or [node.id]]
        names = [circuit.nodes[output.node].name_of(output.position) for output in outputs if output]
        facts[pointer] = Facts(
            nodes[-1].kind, ", ".join(f"{type_.dtype} {show(type_.shape)}" for type_ in nodes[-1].types),
            tuple(number(values[name], 4) for name in names if name in values),
            tuple(number(gradients[name], 4) for name in names if name in gradients))
    return facts


def _diagnoses(circuit: Circuit, result: Result) -> Iterator[Diagnosis | None]:
    """What is wrong with gradients; None of one with nothing to blame. Of a node without an output a warning tells."""
    end, count, unused = time.monotonic() + DIAGNOSING, 0, set(circuit.unused())
    names = (name for name in arguments(circuit) if name not in unused)
    for name in suspects(names, result.values, result.gradients, result.upstream):
        diagnosis = None
        with suppress(CircuitflowError, MemoryError):
            diagnosis = result.why(name)
        is_wrong = diagnosis is not None and not diagnosis.ok
        yield diagnosis if is_wrong else None
        count += is_wrong
        if count == MOST_DIAGNOSES or time.monotonic() > end:
            break


def _whys(circuit: Circuit, found: list[Diagnosis]) -> dict[positions.Path, tuple[Why, ...]]:
    whys: dict[positions.Path, tuple[Why, ...]] = {}
    for diagnosis in found:
        pointer = _pointer(circuit, diagnosis.wrt)
        places = tuple(_pointer(circuit, blame.node) for blame in diagnosis.blamed)
        whys[pointer] = (*whys.get(pointer, ()), Why(diagnosis, places))
    return whys


def _hints(circuit: Circuit, found: list[Diagnosis], warnings: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """What each gate to blame does, and to which gradients; but for gates that a warning is about."""
    blamed: dict[tuple[str, str], list[tuple[str, Diagnosis]]] = {}
    for diagnosis in found:
        for blame in diagnosis.blamed[:MOST_HINTS]:
            blamed.setdefault((blame.node, diagnosis.verdict), []).append((str(blame), diagnosis))
    messages = []
    for (node, verdict), group in blamed.items():
        text, first = group[0]
        wrt = ", ".join(few([f"'{diagnosis.wrt}'" for _, diagnosis in group], 4))
        change = f"; smallest change for '{first.wrt}': {first.change}" if first.change else ""
        messages.append((node, f"{text}: the gradient on {wrt} is {verdict}{change}"))
    warned = {(fault.line, fault.column) for fault in warnings}
    return tuple(fault for fault in _warnings(circuit, messages) if (fault.line, fault.column) not in warned)


def _listed(texts: tuple[str, ...]) -> str:
    more = len(texts) - MOST_VALUES
    return ", ".join(texts[:MOST_VALUES]) + (f", … {more} more" if more > 0 else "")


# Warnings -------------------------------------------------------------------------------------------------------------

def _warnings(circuit: Circuit, messages: list[tuple[str, str]]) -> tuple[Fault, ...]:
    """Messages about nodes, by id, each with its place in the text; "" is the whole document."""
    faults = Faults()
    try:
        for node, message in messages:
            pointer = _pointer(circuit, node)
            faults.add(circuit.definition.source, message, *pointer, *(["id"] if pointer else []), node=node or None)
        faults.raise_if_any()
    except DocumentError as error:
        return error.faults
    return ()


def _warnings_of(circuit: Circuit) -> tuple[Fault, ...]:
    """Nodes that reach no output, and values outside of their bounds, which a fit refuses."""
    unused = _warnings(circuit, [(name, f"node '{name}' reaches no output") for name in circuit.unused()])
    try:
        check_start(circuit)
    except DocumentError as error:
        return unused + error.faults
    return unused


def _pointer(circuit: Circuit, name: str) -> positions.Path:
    """The place in the text of a node, or its output; of one in another file, that of the call that leads there."""
    name = name.partition(".")[0]
    while name:
        node = circuit.nodes.get(name) or circuit.body.nodes.get(name)
        if node is not None and node.site is not None and node.site.source is circuit.definition.source:
            return node.site.pointer
        name = name.rpartition("/")[0]
    return ()
