"""The program: which commands there are, and how every error ends."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Annotated

import typer

from circuitflow.cli.command import Command
from circuitflow.cli.streams import prepare
from circuitflow.errors import CircuitflowError, DocumentError, VerificationError
from circuitflow.text import printable

COMMANDS = {
    "run": "Forward pass and reverse sweep: a table of node, gate, value, gradient.",
    "check": "Validate, infer shapes, compare every gradient with central differences.",
    "explain": "The staged computation in words and numbers, line by line.",
    "draw": "The circuit as a picture: values in green, gradients in red.",
    "grad": "The gradient, as a circuit document.",
    "new": "A document from an expression.",
    "export": "Staged code in Python, which runs without circuitflow.",
    "diff": "What changed between two documents, by meaning.",
    "fmt": "The canonical layout of a document.",
    "gates": "The catalogue: operands, attributes, formulas.",
    "schema": "The JSON Schema of documents, for your editor.",
}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"circuitflow {version('circuitflow')}")
        raise typer.Exit


def _program(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                   help="Show the version and exit.")] = False) -> None:
    """Differentiable computations as JSON documents: values and gradients of every node.

    Start with: circuitflow run circuits/sigmoid_neuron.json
    """


def _app(arguments: list[str]) -> typer.Typer:
    """The program with its commands, of which only the one to run is imported."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={
        "help_option_names": ["-h", "--help"]})
    app.callback(no_args_is_help=True)(_program)
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == wanted:
            module = importlib.import_module(f"circuitflow.cli.{name}")
            app.command(name, short_help=summary, cls=getattr(module, "Command", Command))(module.command)
        else:
            app.command(name, short_help=summary)(lambda: None)
    return app


def _words() -> list[str]:
    """The words that a shell asks to complete; none where it runs the program."""
    if "_CIRCUITFLOW_COMPLETE" not in os.environ:
        return []
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def main() -> None:
    """Run the program. Exit status: 0 done, 1 the answer is no, 2 bad input of any kind."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough ends the program quietly
    prepare()
    try:
        try:
            _app(_words() or sys.argv[1:])(prog_name="circuitflow")
        finally:
            sys.stdout.flush()
    except DocumentError as error:
        _fail(str(error))
    except VerificationError as error:
        _fail(f"error: {error}", 1)
    except CircuitflowError as error:
        _fail(f"error: {error}")
    except MemoryError:
        _fail("error: not enough memory for this circuit")
    except OSError as error:
        place = f"{printable(str(error.filename), 1000)}: " if error.filename is not None else ""
        _fail(f"error: {place}{error.strerror}")


def _fail(message: str, status: int = 2) -> None:
    print(message, file=sys.stderr)
    sys.exit(status)
