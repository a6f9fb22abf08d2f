"""Columns to CSV: what is written is read again as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.tables.cells import words
from circuitflow.text import printable

_SPECIAL = re.compile('[",\r\n]')
_SEPARATING = re.compile('[",;\t\r\n]')
"""What a name has quotes for: the header says which character separates."""


def header(names: Sequence[str]) -> bytes:
    """The first line."""
    return (",".join(_quoted(name, _SEPARATING) for name in names) + "\n").encode()


def line_writer(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    """A function from columns, which are arrays, lists of text or Arrow arrays, to the bytes of their lines.

    By pyarrow where it is installed, for speed; the numbers are the same. The function raises an InputError for a
    column that is no text, by its name.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return _by_python
    return lambda columns: _by_arrow(names, columns)


def _by_python(columns: Sequence[Any]) -> bytes:
    cells = [list(map(_quoted, column)) if isinstance(column, list) else words(np.asarray(column))
             for column in columns]
    return "".join([",".join(row) + "\n" for row in zip(*cells, strict=True)]).encode()


def _by_arrow(names: Sequence[str], columns: Sequence[Any]) -> Any:
    import pyarrow as pa

    cells = []
    for name, column in zip(names, columns, strict=True):
        try:
            cells.append(_cells(column))
        except pa.ArrowException:  # nested, or bytes that are no UTF-8
            raise InputError(f"column '{printable(name, 60)}' is {printable(str(column.type), 60)} and cannot be "
                             "written as text; write .parquet or .arrow, or leave it out") from None
    return _joined(_joined(*cells, by=","), "", by="\n").buffers()[2] or b""


def _cells(column: Any) -> Any:
    """The text of a column's cells, of which none is null."""
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(column, list):
        return _quoted_where_needed(pa.array(column, pa.large_string()))
    if not isinstance(column, pa.Array):
        column = pa.array(np.asarray(column))
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
    text = compute.fill_null(column.cast(pa.large_string()), "")
    if pa.types.is_floating(column.type):
        # Arrow has other words for what is not finite.
        odd = compute.invert(compute.fill_null(compute.is_finite(column), True))
        if compute.any(odd).as_py():
            named = pa.array(words(column.filter(odd).to_numpy(zero_copy_only=False)), pa.large_string())
            text = compute.replace_with_mask(text, odd, named)
        return text
    return text if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type) else _quoted_where_needed(text)


def _quoted_where_needed(text: Any) -> Any:
    from pyarrow import compute

    if compute.any(compute.match_substring_regex(text, _SPECIAL.pattern)).as_py():
        doubled = compute.replace_substring(text, '"', '""')
        quoted = _joined('"', doubled, '"', by="")
        return compute.if_else(compute.match_substring_regex(text, _SPECIAL.pattern), quoted, text)
    return text


def _joined(*columns: Any, by: str) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    return compute.binary_join_element_wise(
        *(pa.scalar(x, pa.large_string()) if isinstance(x, str) else x for x in (*columns, by)))


def _quoted(text: str, special: re.Pattern[str] = _SPECIAL) -> str:
    return '"' + text.replace('"', '""') + '"' if special.search(text) else text
