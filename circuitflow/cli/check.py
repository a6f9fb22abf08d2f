"""`circuitflow check`."""

from __future__ import annotations

from typing import Any

import typer

from circuitflow.cli.arguments import Json, Options
from circuitflow.cli.progress import track
from circuitflow.cli.text import console, print_json, print_table, warn_of
from circuitflow.cli.watching import watched
from circuitflow.document.values import from_array
from circuitflow.gates.shapes import show
from circuitflow.graph.bounds import check_start
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.check import TOLERANCE, NodeCheck, Report, check
from circuitflow.text import number, printable


@watched
def command(options: Options, *, json: Json = False) -> None:
    """Validate a document, infer its shapes, compare every gradient with central differences.

    The values of parameters must lie within their bounds.

    If a gradient is wrong, the exit status is 1, and the output names the gate whose rule is wrong.

    Example: circuitflow check circuits/staged.json
    """
    request = options.request()
    circuit = request.circuit
    check_start(circuit)
    report = check(circuit, request.inputs, of=request.of, wrt=request.wrt, upstream=request.upstream, track=track)
    if json:
        print_json(_as_object(circuit, report))
    else:
        _print(circuit, report)
    warn_of(report.unused)
    if not report.ok:
        raise typer.Exit(1)


def _as_object(circuit: Circuit, report: Report) -> dict[str, Any]:
    return {
        "circuit": circuit.name,
        "ok": report.ok,
        "compared": [{"nodes": list(row.nodes), "where": row.where, **_difference(row.worst)}
                     for row in report.compared],
        "blamed": [{"node": b.node, "gate": b.gate, "port": b.port, **_difference(b.worst)} for b in report.blamed],
        "unused": list(report.unused),
    }


def _difference(worst: Any) -> dict[str, Any]:
    return {key: from_array(value) if key != "verdict" else value for key, value in worst._asdict().items()}


_REMARKS = {
    "kink": "at a kink the one-sided differences disagree, and the gradient lies between them",
    "undefined": "a value or gradient near here is not finite, so there is nothing to compare",
}


def _print(circuit: Circuit, report: Report) -> None:
    console().print(f"{printable(circuit.name)}: {len(circuit.nodes)} nodes, every shape inferred", style="bold")
    rows = [[_nodes(row), _shape(circuit, row), row.where.replace("[]", ""), number(row.worst.gradient),
             number(row.worst.difference), f"{row.worst.error:.1e}", row.worst.verdict] for row in report.compared]
    print_table([("node", ""), ("shape", "dim"), ("worst at", "dim"), ("gradient", "right red"),
                 ("by differences", "right"), ("relative error", "right"), ("", "")], rows)
    for suspect in report.blamed:
        rule = "the backward rule of" if circuit.nodes[suspect.node].gate else "a backward rule inside of"
        along = f"{number(suspect.worst.gradient)}, differences {number(suspect.worst.difference)}"
        console().print(f"node '{suspect.node}': {rule} {suspect.gate} is wrong for operand {suspect.port!r}: along a "
                        f"random direction it gives {along}", style="red")
    for row in report.compared:
        if row.worst.verdict in _REMARKS:
            console().print(f"{_nodes(row)}: {_REMARKS[row.worst.verdict]}")
    errors = [row.worst.error for row in report.compared if row.worst.verdict == "ok"]
    if not report.ok:
        verdict = "wrong: a gradient is not that of the function"
    elif errors:
        verdict = f"ok: largest relative error {max(errors):.1e}; up to {TOLERANCE:.0e} passes"
    else:
        verdict = "ok: there was nothing that could be compared"
    console().print(verdict, style="bold green" if report.ok else "bold red")


def _nodes(row: NodeCheck) -> str:
    return row.nodes[0] if len(row.nodes) == 1 else f"{row.nodes[0]} … {row.nodes[-1]} ({len(row.nodes)})"


def _shape(circuit: Circuit, row: NodeCheck) -> str:
    output = circuit.find(row.nodes[0])
    return show(circuit.type_of(output).shape) if len(row.nodes) == 1 and output else ""
