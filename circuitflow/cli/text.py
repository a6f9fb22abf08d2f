"""Prints numbers and tables on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from circuitflow.text import COLUMNS, number, rows

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 400
"""The most rows of a table; of a longer one the beginning and the end are printed."""

CELL = 10
"""The most rows of an array that is shown whole in a table."""

MARGIN = 40
"""The width of a table without values and gradients, in characters."""

UNUSED = 20
"""The most nodes that a warning names."""


def whole(value: Any, *, full: bool = False) -> str:
    """An array row by row. Several rows begin on a new line. Without `full`, a large array is cut."""
    array = np.asarray(value)
    text = rows(array, columns=None, lines=None) if full else rows(array)
    on_one_line = (array.ndim < 2 and "\n" not in text) or not array.size
    return text if on_one_line else f"{array.shape}\n{text}"


def cell(value: Any) -> str:
    """An array in a cell of a table: row by row if it is small, else its shape and range."""
    array = np.asarray(value)
    if array.ndim > 2 or array.shape[-1:] > (COLUMNS,) or array.shape[:-1] > (CELL,):
        return number(array, 4)
    text = rows(array)
    return text if max(map(len, text.splitlines())) <= (console().width - MARGIN) // 2 else number(array, 4)


def warn(texts: Iterable[str]) -> None:
    """Warn of something, on standard error."""
    sys.stdout.flush()
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)


def warn_of(unused: Sequence[str]) -> None:
    """Warn of nodes that reach no output, on standard error."""
    warn(f"node '{name}' reaches no output" for name in unused[:UNUSED])
    if len(unused) > UNUSED:
        warn([f"{len(unused) - UNUSED} more nodes reach no output"])


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    json.dump(value, sys.stdout, allow_nan=False)
    print()


def console() -> Console:
    """Standard output: colour on a terminal only, room for long lines elsewhere, no text taken for markup.

    FORCE_COLOR asks for colour elsewhere too; NO_COLOR wins over it.
    """
    return _console(sys.stdout)


@lru_cache(1)
def _console(stream: TextIO) -> Console:
    """The console of a stream, made once: it takes long to look at the terminal."""
    from rich.console import Console

    is_terminal = stream.isatty()
    return Console(markup=False, highlight=False, emoji=False, width=None if is_terminal else 160,
                   force_terminal=is_terminal if os.environ.get("NO_COLOR") else None)


def print_line(text: str, style: str = "") -> None:
    """Print a line without breaks; in colour on a terminal."""
    if console().is_terminal:
        console().print(text, style=style, soft_wrap=True)
    else:  # without Rich, which is slow for hundreds of thousands of lines
        print(text)


def print_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text. A column has a heading and a style, in which "right" means right-aligned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading, style in columns:
        colour = style.removeprefix("right").strip()
        table.add_column(heading, style=colour or None, justify="left" if colour == style else "right", overflow="fold")
    half = ROWS // 2
    visible = rows if len(rows) <= ROWS else [*rows[:half], *rows[-half:]]
    for i, row in enumerate(visible):
        if len(rows) > ROWS and i == half:
            table.add_row(f"… {len(rows) - ROWS} more; --json has them all")
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
