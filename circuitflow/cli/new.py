"""`circuitflow new`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import circuitflow as cf
from circuitflow.authoring.expression import MAX_LENGTH
from circuitflow.cli import command as common
from circuitflow.cli.arguments import Gates, NewDocument, Set, assigned_values, assignment, gate_files, split, table_of
from circuitflow.cli.documents import emit_document
from circuitflow.cli.output import apart
from circuitflow.errors import InputError
from circuitflow.text import printable


class Command(common.Command):
    """A command whose argument may begin with a minus sign, as an expression does."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Take what is no option for the expression, unless another argument is the expression."""
        options: list[Any] = [param for param in self.get_params(ctx) if param.param_type_name == "option"]
        takes_value = {name: not option.is_flag for option in options for name in option.opts}
        places, others, rest = [], False, iter(enumerate(args))
        for i, argument in rest:
            name, equals, _ = argument.partition("=")
            if argument in takes_value:
                if takes_value[argument]:
                    next(rest, None)
            elif argument in ("-", "--") or not argument.startswith("-"):
                others = True
            elif not (equals and takes_value.get(name)) and takes_value.get(f"-{argument}", True):
                places.append(i)  # also -oFILE, which is an option where there is an expression beside it
        if places and not others:
            args = [*args[: places[-1]], *args[places[-1] + 1 :], "--", args[places[-1]]]
        return super().parse_args(ctx, args)


def command(
    expression: Annotated[str, typer.Argument(metavar="EXPR", show_default=False,
                                              help="An expression such as \"f = sigmoid(w*x + b)\". Each stage "
                                                   "stands on a line of its own or after a ;. - reads standard "
                                                   "input.")],
    *,
    assignments: Set,
    parameters: Annotated[list[str], typer.Option("--parameters", metavar="ID,…", default_factory=list,
                                                  show_default=False, help="The inputs that are trainable.")],
    shapes: Annotated[list[str], typer.Option("--shape", metavar="ID=SIZE,…", default_factory=list, show_default=False,
                                              help="Shape of an input: sizes and names of dimensions.")],
    of: Annotated[list[str], typer.Option("--of", metavar="ID,…", default_factory=list, show_default=False,
                                          help="The outputs; by default, the stages that no other stage reads.")],
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name of the document.", show_default=False)] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float64 or float32.")] = "float64",
    output: NewDocument = None,
    gates: Gates = None,
) -> None:
    """Write a document from an expression.

    Example: circuitflow new "f = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)" --set x=3 --set y=-4
    """
    text = sys.stdin.buffer.read(MAX_LENGTH + 1).decode(errors="replace") if expression == "-" else expression
    table = table_of(gates)
    apart(output, [*assigned_values(assignments), *gate_files(gates)])
    values = {id_: value for id_, value, _ in (assignment(item, "--set") for item in assignments)}
    folder = Path() if output is None else Path(output).parent
    circuit = cf.new(text, values, shapes=dict(map(_shape, shapes)), parameters=split(parameters) or (),
                     outputs=split(of), name=name, dtype=dtype, gates=table, folder=folder)
    emit_document(circuit.document, output)


def _shape(text: str) -> tuple[str, list[int | str]]:
    """An option ID=SIZE,…, such as x=batch,784."""
    name, equals, sizes = text.partition("=")
    parts = [part.strip() for part in sizes.split(",") if part.strip()]
    if not equals or not name or not all(part.isdecimal() or part.isidentifier() for part in parts):
        raise InputError(f"--shape {printable(text, 60)}: expected ID=SIZE,… such as --shape x=batch,784")
    return name, [int(part) if part.isdecimal() else part for part in parts]
