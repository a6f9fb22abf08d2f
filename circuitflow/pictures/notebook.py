"""Circuits and results in notebooks: the picture and a table; plain text elsewhere.

IPython is told by name, so nothing is imported until something is shown.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from circuitflow.errors import CircuitflowError
from circuitflow.explanations.differences import Difference
from circuitflow.explanations.expressions import right_side
from circuitflow.explanations.forms import hypertext
from circuitflow.explanations.formulas import Symbols
from circuitflow.explanations.mathml import inline
from circuitflow.explanations.terms import Term
from circuitflow.gates.shapes import show
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.check import Report
from circuitflow.interpreter.result import Result
from circuitflow.pictures.drawing import draw
from circuitflow.text import few, number

ROWS = 60
"""The most rows of a table that are shown."""


def register(shell: Any) -> None:
    """Register the HTML of circuits and results with an IPython shell."""
    html, plain = (shell.display_formatter.formatters[f"text/{form}"] for form in ("html", "plain"))
    html.for_type_by_name("circuitflow.graph.circuit", "Circuit", circuit_as_html)
    html.for_type_by_name("circuitflow.interpreter.result", "Result", result_as_html)
    for module, name, as_html in (("explanations.differences", "Difference", difference_as_html),
                                  ("interpreter.check", "Report", report_as_html),
                                  ("errors", "DocumentError", text_as_html), ("errors", "Fault", text_as_html)):
        html.for_type_by_name(f"circuitflow.{module}", name, as_html)
        plain.for_type_by_name(f"circuitflow.{module}", name, _as_text)
    plain.for_type_by_name("circuitflow.explanations.forms", "ExplanationText", _as_text)


def _as_text(value: object, printer: Any, _: bool) -> None:
    printer.text(str(value))


def circuit_as_html(circuit: Circuit) -> str:
    """The structure of a circuit as a picture, or as a table if there is no Graphviz."""
    symbols = _symbols(circuit)
    rows = [[node.id, symbols.formula(right_side(node, circuit.operand_names(node))),
             ", ".join(f"{x.dtype} {show(x.shape)}" for x in node.types)] for node in circuit.nodes.values()]
    return _image(circuit) or "\n".join(_table(["node", "gate", "type"], rows))


def result_as_html(result: Result) -> str:
    """The picture of a run, and the value and gradient of every node in a table."""
    rows: list[list[str | Term]] = []
    symbols = _symbols(result.circuit)
    for node in result.circuit.nodes.values():
        for name in node.names:
            if name in result.values:
                gradient = number(result.gradients[name]) if name in result.gradients else ""
                formula = symbols.formula(right_side(node, result.circuit.operand_names(node)))
                rows.append([name, formula, number(result.values[name]), gradient])
    return _image(result) + "\n".join(_table(["node", "gate", "value", "gradient"], rows))


def _symbols(circuit: Circuit) -> Symbols:
    return Symbols({name: len(type_.shape) for node in circuit.nodes.values()
                    for name, type_ in zip(node.names, node.types, strict=True)}, circuit.gradient_name)


def difference_as_html(difference: Difference) -> str:
    """The changes in a table."""
    if not difference:
        return "<p>no difference</p>"
    rows = [[change.circuit, change.node or change.what, change.kind, change.what if change.node else "", change.was,
             change.now] for change in difference.changes]
    return "\n".join(_table(["circuit", "node", "change", "of", "before", "now"], rows))


def report_as_html(report: Report) -> str:
    """The comparisons of a report in a table, then the wrong rules."""
    rows = [[", ".join(few(row.nodes, 3)), row.where, number(row.worst.gradient), number(row.worst.difference),
             f"{row.worst.error:.1e}", row.worst.verdict] for row in report.compared]
    verdicts = str(report).splitlines()[len(report.compared) :]
    headings = ["node", "worst at", "gradient", "by differences", "relative error", ""]
    return "\n".join([*_table(headings, rows), *(f"<p>{hypertext(line)}</p>" for line in verdicts)])


def text_as_html(value: object) -> str:
    """Text in lines, with its alignment."""
    return f"<pre>{chr(10).join(map(hypertext, str(value).splitlines()))}</pre>"


def _image(subject: Circuit | Result) -> str:
    """The picture as an image, which runs no script; "" if it cannot be drawn."""
    try:
        picture = base64.b64encode(draw(subject)).decode()
    except CircuitflowError:
        return ""
    circuit = subject.circuit if isinstance(subject, Result) else subject
    return f'<img alt="circuit {hypertext(circuit.name)}" src="data:image/svg+xml;base64,{picture}">\n'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str | Term]]) -> Iterator[str]:
    """Rows of texts and formulas."""
    yield "<table>"
    yield f"<tr>{''.join(f'<th>{heading}</th>' for heading in headings)}</tr>"
    for row in rows[:ROWS]:
        cells = [hypertext(cell) if isinstance(cell, str) else inline(cell) for cell in row]
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    if len(rows) > ROWS:
        yield f'<tr><td colspan="{len(headings)}">… {len(rows) - ROWS} more</td></tr>'
    yield "</table>"
