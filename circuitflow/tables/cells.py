"""Text to numbers and back: a cell is read exactly or refused, by the rules of documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from circuitflow.document.limits import Limits
from circuitflow.document.numbers import unfit
from circuitflow.document.reading import is_lost
from circuitflow.document.writing import spell
from circuitflow.text import printable

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NON_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,.' \u00a0\u202f]\d{3})+(?:[.,]\d*)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_BLANKS = " \t\r\n\u00a0"
_ODD = re.compile(r"[^ -^`-~\t\r\n]")
"""Characters that Python's `float` accepts and `number_in` refuses: underscores, digits of other scripts."""

_EXACT = 2.0**53
"""The first integer whose successor no float64 holds. Below it every integer is exact."""


class CellError(Exception):
    """A cell that cannot be read.

    Attributes:
        index: of the cell in its column.
    """

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


def number_in(text: str, dtype: str, limits: Limits) -> bool | int | float:
    """The number or truth value that a cell holds. Blanks around it do not count, nor does the case of names.

    Raises:
        CellError: it holds none, or one that the dtype cannot keep.
    """
    word = text.strip(_BLANKS)
    shown = f"'{printable(word, 40)}'"
    if not word:
        raise CellError("there is no value; write one, such as NaN, or take the row out" if dtype.startswith("float")
                        else "there is no value; write one, or take the row out")
    if dtype == "bool":
        if (truth := word.casefold()) in ("true", "false"):
            return truth == "true"
        raise CellError(f"{shown} is no truth value; write true or false")
    value: int | float
    if not _NUMBER.fullmatch(word) and not _NON_FINITE.fullmatch(word):
        raise CellError(f"{shown} is no number; {_remedy(word, dtype)}")
    if len(word) > limits.digits:
        raise CellError(f"a number of {len(word)} digits; at most {limits.digits} are read (limit digits)")
    if _INTEGER.fullmatch(word) and word.lstrip("-").strip("0"):
        value = int(word)
        message = unfit(value, dtype)
    else:  # -0 too, as in documents
        value = float(word)
        message = unfit(value, dtype)
        if _NUMBER.fullmatch(word) and is_lost(word, value):
            message = (f"{shown} is too large for a float64; write Infinity if you mean it" if value
                       else f"{shown} is too small for a float64, which makes it 0; write 0 if you mean it")
        elif "int" in dtype and message is None and abs(value) >= _EXACT:
            message = f"{shown} may be rounded on its way to {dtype}; write its digits alone"
    if message:
        raise CellError(message)
    return value


def _remedy(word: str, dtype: str) -> str:
    """What to write in place of a word that is no number."""
    if _NUMBER.fullmatch(plain := word.replace("_", "")):
        return f"write {printable(plain, 40)}"
    if _DECIMAL_COMMA.fullmatch(word) and not _THOUSANDS.fullmatch(word):
        return f"write {printable(word.replace(',', '.'), 40)}"
    if _THOUSANDS.fullmatch(word):
        return "write it without separators of thousands, and with a point before decimals"
    if word[:2].casefold() == "0x":
        return "write it in decimal digits"
    if word.casefold() in ("true", "false"):
        return f"expected {dtype}; write 1 or 0 if you mean that"
    if word.casefold() in ("na", "n/a", "null", "none", "nil", "-", "?"):
        return "write NaN, or take the row out" if dtype.startswith("float") else "take the row out"
    return f"expected {dtype}"


def numbers(texts: Sequence[str], dtype: str, limits: Limits) -> Any:
    """A column of cells as an array.

    Raises:
        CellError: with the first cell that cannot be read.
    """
    if dtype == "float64" and (array := _floats(texts, limits)) is not None:
        return array
    values = []
    for i, text in enumerate(texts):
        try:
            values.append(number_in(text, dtype, limits))
        except CellError as error:
            raise CellError(str(error), i) from None
    return np.array(values, dtype)


def _floats(texts: Sequence[str], limits: Limits) -> Any:
    """Cells as float64 by Python's own reading, or None where one may not be what `number_in` makes of it."""
    joined = "".join(texts)
    if _ODD.search(joined) or max(map(len, texts), default=0) > limits.digits:
        return None
    try:
        array = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    return array if are_kept({texts[i] for i in doubtful(array)}, limits) else None


def doubtful(array: Any) -> Any:
    """Where a float64 may be an integer that was rounded, or what was too large, too small or no number at all."""
    with np.errstate(invalid="ignore"):
        return np.flatnonzero(~(np.abs(array) < _EXACT) | (array == 0))


def are_kept(texts: set[str], limits: Limits) -> bool:
    """Whether a float64 keeps each of these numbers."""
    try:
        for text in texts:
            number_in(text, "float64", limits)
    except CellError:
        return False
    return True


def words(array: Any) -> list[str]:
    """An array as cells: the fewest digits that give the same float64 again, and names as documents have them."""
    if array.dtype.kind == "b":
        return ["true" if x else "false" for x in array.tolist()]
    if array.dtype.kind != "f":
        return list(map(str, array.tolist()))
    texts = [repr(x).removesuffix(".0") for x in array.tolist()]
    for i in np.flatnonzero(~np.isfinite(array)):
        texts[i] = spell(float(array[i]))
    return texts
