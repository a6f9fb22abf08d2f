"""Writes docs/reference/options.md from the help of the commands: `python docs/options.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from circuitflow.cli.main import COMMANDS, _app

PAGE = Path(__file__).parent / "reference" / "options.md"
COMMON = {
    "--limit": "[limits](limits.md): `NAME=N`",
    "--gates": "a gate table of [your own](../guides/your_own_gate.md): `MODULE:TABLE`",
    "--help": "the help of the command; `-h` does the same",
}
"""Options that many commands have with one meaning, told once."""


def command(name: str) -> Any:
    """A command with its arguments and options."""
    group: Any = typer.main.get_command(_app([name]))
    return group.commands[name]


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def spelling(parameter: Any) -> str:
    """An argument or an option as one writes it."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`" + ("" if parameter.required else ", if any")
    names = ", ".join(f"`{name}`" for name in [*sorted(parameter.opts, key=len, reverse=True),
                                               *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} `{parameter.metavar}`"


def meaning(parameter: Any) -> str:
    """What an argument or an option means, and its default."""
    default = parameter.default
    shown = parameter.show_default and isinstance(default, str | int) and not isinstance(default, bool)
    return str(parameter.help) + (f" Default: `{default}`." if shown else "")


def section(name: str) -> Iterator[str]:
    """The lines on a command."""
    subject = command(name)
    yield f"## {name}\n"
    for paragraph in subject.help.strip().split("\n\n"):
        text = " ".join(paragraph.split())
        example = text.removeprefix("Example: ")
        yield f"Example: `{example}`\n" if example != text else f"{cell(text)}\n"
    yield "| you write | meaning |\n|---|---|"
    for parameter in subject.params:
        if not COMMON.keys() & set(parameter.opts):
            yield f"| {cell(spelling(parameter))} | {cell(meaning(parameter))} |"
    also = [option for option in COMMON if any(option in parameter.opts for parameter in subject.params)]
    if also:
        yield f"\nAlso {' and '.join(f'`{option}`' for option in also)}."
    yield ""


def page() -> str:
    """The page, in Markdown."""
    common = "\n".join(f"| `{option}` | {meaning} |" for option, meaning in COMMON.items())
    beginning = ("# Every option\n\nThe commands with all that they take, as `circuitflow COMMAND --help` tells it. "
                 "[The command line](commands.md) is the\nintroduction. `python docs/options.py` writes this page.\n\n"
                 f"Most commands take these:\n\n| option | meaning |\n|---|---|\n{common}\n")
    return "\n".join([beginning, *(line for name in COMMANDS for line in section(name))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
