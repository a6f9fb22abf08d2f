"""`circuitflow why`."""

from __future__ import annotations

import json as json_library

import typer

import circuitflow as cf
from circuitflow.cli.arguments import Json, Options, OutputFile, Request
from circuitflow.cli.output import apart, emit
from circuitflow.cli.watching import watched
from circuitflow.interpreter.why import Diagnosis, arguments
from circuitflow.text import few, printable

MOST = 12
"""How many gradients are looked into where none are named; each takes a few runs."""


@watched
def command(options: Options, *, json: Json = False, output: OutputFile = None) -> None:
    """Name the gates to blame for a gradient that is zero, vanishing, exploding or not finite.

    The smallest set of gates, the numbers there, and the smallest change that revives the gradient. Without --wrt: of
    all inputs and parameters, but for frozen parameters. If there is a gate to blame, the exit status is 1.

    Example: circuitflow why circuits/staged.json --wrt x
    """
    request = options.request()
    apart(output, request.sources)
    result = request.run(forward=False)
    found, left = _diagnoses(request, result)
    is_ok = all(diagnosis.ok for diagnosis in found)
    if json:
        text = json_library.dumps({"circuit": request.circuit.name, "ok": is_ok,
                                   "gradients": [diagnosis.to_dict() for diagnosis in found]}, allow_nan=False) + "\n"
    else:
        text = "".join(f"{line}\n" for line in _lines(request, found, left))
    emit(output, text)
    if not is_ok:
        raise typer.Exit(1)


def _diagnoses(request: Request, result: cf.Result) -> tuple[list[Diagnosis], int]:
    """The diagnosis of each gradient, and how many there was no time for."""
    names = request.wrt or [name for name in arguments(request.circuit) if request.of is None or name in result.values]
    found: list[Diagnosis] = []
    for i, name in enumerate(names):
        if request.wrt is None and sum(bool(diagnosis.blamed) for diagnosis in found) == MOST:
            return found, len(names) - i
        found.append(result.why(name))
    return found, 0


def _lines(request: Request, found: list[Diagnosis], left: int) -> list[str]:
    lines = [printable(request.circuit.name)]
    quiet = [diagnosis.wrt for diagnosis in found
             if request.wrt is None and diagnosis.verdict == "healthy" and not diagnosis.blamed]
    lines += [str(diagnosis) for diagnosis in found if diagnosis.wrt not in quiet]
    if quiet:
        lines.append(f"nothing is wrong with the gradient on {', '.join(few(quiet))}")
    if left:
        lines.append(f"… {left} more; --wrt names those to look into")
    return lines
