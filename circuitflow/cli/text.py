"""Numbers and tables as a terminal shows them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitflow.explanations.numbers import number

if TYPE_CHECKING:
    from rich.console import Console

ROWS = 400
"""Longest table; of a longer one the beginning and the end are printed."""


def whole(value: Any) -> str:
    """An array with all of its numbers, up to a thousand of them; a matrix begins on a line of its own."""
    array = np.asarray(value)
    if array.ndim == 0:
        return number(array)
    text = np.array2string(array, precision=6, threshold=1000, max_line_width=100)
    return text if array.ndim == 1 else f"{array.shape}\n{text}"


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    json.dump(value, sys.stdout, allow_nan=False)
    print()


def console() -> Console:
    """Standard output: colour on a terminal only, room for long lines elsewhere, no text taken for markup.

    FORCE_COLOR asks for colour elsewhere too; NO_COLOR wins over it.
    """
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    return Console(markup=False, highlight=False, emoji=False, width=None if is_terminal else 160,
                   force_terminal=is_terminal if os.environ.get("NO_COLOR") else None)


def print_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> None:
    """A table of text; each column a heading and a style, where "right" means right-aligned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading, style in columns:
        colour = style.removeprefix("right").strip()
        table.add_column(heading, style=colour or None, justify="left" if colour == style else "right", overflow="fold")
    half = ROWS // 2
    shown = rows if len(rows) <= ROWS else [*rows[:half], *rows[-half:]]
    for i, row in enumerate(shown):
        if len(rows) > ROWS and i == half:
            table.add_row(f"… {len(rows) - ROWS} more; --json has them all")
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
