"""The program: its commands, and the exit status and message of every error."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from typing import Annotated

import typer

from circuitflow import __version__
from circuitflow.cli.command import Command
from circuitflow.cli.failures import FAILURES, words
from circuitflow.cli.streams import prepare
from circuitflow.graph.collector import collector_paused

COMMANDS = {
    "run": "Compute values and gradients: a table of node, gate, value, gradient.",
    "check": "Validate, infer shapes, compare every gradient with central differences.",
    "fit": "Find the parameters of a circuit from data.",
    "explain": "Explain the staged computation in words and numbers, line by line.",
    "why": "Name the gates to blame for a gradient that is zero, vanishing, exploding or not finite.",
    "draw": "Draw the circuit: values in green, gradients in red.",
    "grad": "Write the gradient as a circuit document.",
    "new": "Write a document from an expression.",
    "import": "Write a document from an ONNX model, its weights beside it.",
    "export": "Write Python or an ONNX model that runs without circuitflow.",
    "diff": "Show what changed between two documents, by meaning.",
    "fmt": "Write a document in its canonical layout.",
    "examples": "List the examples that come with circuitflow, or copy them.",
    "lsp": "Answer an editor: faults, words, values and gradients beside the text.",
    "gates": "List the gates: operands, attributes, formulas.",
    "schema": "Write the JSON Schema of documents, for your editor.",
}


def _version(is_set: bool) -> None:
    if is_set:
        typer.echo(f"circuitflow {__version__}")
        raise typer.Exit


def _program(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                   help="Show the version and exit.")] = False) -> None:
    """Differentiable computations as JSON documents: values and gradients of every node.

    Start with: circuitflow run circuits/sigmoid_neuron.json
    """


def _app(arguments: list[str]) -> typer.Typer:
    """The program with its commands. Only the command to run is imported."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, context_settings={
        "help_option_names": ["-h", "--help"]})
    app.callback(no_args_is_help=True)(_program)
    choice = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == choice:
            with collector_paused():
                module = importlib.import_module(f"circuitflow.cli.{name}")
            app.command(name, short_help=summary, cls=getattr(module, "Command", Command))(module.command)
        else:
            app.command(name, short_help=summary)(lambda: None)
    return app


def _words() -> list[str]:
    """The words of the line that a shell completes; none when the program runs."""
    if "_CIRCUITFLOW_COMPLETE" not in os.environ:
        return []
    return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


def main() -> None:
    """Run the program. Exit status: 0 done, 1 the answer is no, 2 bad input of any kind."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that `circuitflow … | head` ends quietly
    atexit.register(gc.freeze)  # a process that ends need not search its objects for garbage once more
    prepare()
    try:
        try:
            _app(_words() or sys.argv[1:])(prog_name="circuitflow")
        finally:
            sys.stdout.flush()
    except FAILURES as error:
        message, status = words(error)
        print(message, file=sys.stderr)
        sys.exit(status)
