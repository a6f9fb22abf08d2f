"""The command line: a file a command, imported once the command is known."""

from circuitflow.cli.main import main

__all__ = ["main"]
