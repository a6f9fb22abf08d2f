"""Text for people: safe characters only, lists cut short, spellings suggested, numbers and arrays in few digits."""

from __future__ import annotations

import difflib
import itertools
import math
import operator
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

MARKS = 8
"""Longest run of marks on one letter that is shown as it is; more of them would cover the lines above and below."""

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), which is kept stable.
_IGNORABLE = ((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
              (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
              (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
              (0xE0000, 0xE0FFF))
# Neither spaces nor ignorable, but drawn as nothing: blanks of Braille, hieroglyphs and Khitan, a note.
_BLANK = ((0x2800, 0x2800), (0x13441, 0x13442), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159))
_HIDDEN = frozenset(chr(code) for first, last in (*_IGNORABLE, *_BLANK) for code in range(first, last + 1))


def own_version() -> str:
    """The version of circuitflow, whether it is installed or not."""
    return str(sys.modules["circuitflow"].__version__)


def is_shown(text: str) -> bool:
    """Whether every character of a text is one that a reader sees, or a space."""
    return text.isprintable() and (text.isascii() or all(visible for _, visible in _visibility(text)))


def escape_hidden(text: str, escape: Callable[[str], str]) -> str:
    """The text with an escape in place of every character that `is_shown` refuses."""
    return text if is_shown(text) else "".join(c if visible else escape(c) for c, visible in _visibility(text))


def _visibility(text: str) -> Iterator[tuple[str, bool]]:
    """Each character, and whether a reader sees it."""
    marks = 0
    for c in text:
        if c.isascii():
            marks = 0
            yield c, c.isprintable()
            continue
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") else 0
        yield c, c.isprintable() and c not in _HIDDEN and marks <= MARKS


def excerpt(line: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a long line around a column, every character one cell wide; and the column within it."""
    start = 0 if len(line) <= width else max(0, min(column - width // 2, len(line) - width))
    visible = escape_hidden(line[start : start + width].replace("\t", " "), lambda c: "\ufffd")
    cells = ("\ufffd" if unicodedata.east_asian_width(c) in "WF" or unicodedata.category(c) in ("Mn", "Me") else c
             for c in visible)
    return "".join(cells), column - start


def printable(text: str, limit: int = 200) -> str:
    """Text that is safe for a terminal: hidden characters become escapes, a long text is cut."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return escape_hidden(cut, lambda c: c.encode("unicode_escape").decode("ascii"))


def short(value: object) -> str:
    """A JSON value in a few words, safe for a terminal however large, deep or hostile it is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{printable(value, 40)}"'
        case list() | tuple():
            return "an empty list" if not value else f"a list of {len(value)}"
        case dict():
            return "an empty object" if not value else f"an object with {listing(value, 4)}"
        case int() if abs(value) >= 10**20:
            return "an integer of more than 20 digits"
        case _:
            try:
                return printable(repr(value), 40)
            except Exception:  # repr of a class of the calling program
                return f"a {printable(type(value).__qualname__, 40)}"


def few(words: Iterable[str], most: int = 12) -> list[str]:
    """The first words, with an ellipsis for the others."""
    first = list(itertools.islice(words, most + 1))
    return first if len(first) <= most else [*first[:most], "…"]


def duplicate(words: Iterable[str]) -> str | None:
    """The first word that stands twice, or None."""
    earlier: set[str] = set()
    for word in words:
        if word in earlier:
            return word
        earlier.add(word)
    return None


def circle(names: Sequence[str]) -> str:
    """Names with arrows between them, back to the first; of more than 12 the first 10, the last and their number."""
    if len(names) <= 12:
        return " → ".join((*names, names[0]))
    return " → ".join((*names[:10], "…", names[-1], names[0])) + f" ({len(names)} in all)"


def listing(words: Iterable[object], most: int = 12) -> str:
    """The first words in quotes, separated by commas."""
    return ", ".join(few((f"'{printable(str(word), 60)}'" for word in words), most))


def application(gate: str, operands: Iterable[str], most: int = 12) -> str:
    """A gate applied to its first operands, such as "mul(q, z)"; the name alone where there are none."""
    arguments = ", ".join(few(operands, most))
    return f"{gate}({arguments})" if arguments else gate


def sum_of(outputs: Collection[str], *, is_weighted: bool) -> str:
    """The sum as which several outputs are differentiated, in words; weighted by upstream gradients, if there are."""
    sum_ = " + ".join(outputs) if len(outputs) <= 4 else f"of the {len(outputs)} outputs"
    return f"gradients of the sum {sum_}" + (", each times its upstream gradient" if is_weighted else "")


def nearest(word: str, spellings: Collection[str], least: float = 0.6) -> str:
    """A clause that suggests the nearest right spelling, or ""; looks at no more than a thousand candidates.

    `least` is the smallest similarity that counts, by difflib's measure, in which equal words have 1.
    """
    candidates = list(itertools.islice((k for k in spellings if abs(len(k) - len(word)) <= 3), 1000))
    anagrams = [k for k in candidates if sorted(k) == sorted(word)]  # two letters in the wrong order
    # Of equally similar words, one with the same first letters wins: those are rarely misspelled.
    matches = anagrams or sorted(difflib.get_close_matches(word, candidates, n=3, cutoff=least), reverse=True, key=(
        lambda k: (difflib.SequenceMatcher(None, word, k).ratio(), k[:2] == word[:2])))
    if not matches:
        by_key = {k.casefold().replace("_", ""): k for k in itertools.islice(spellings, 1000)}
        matches = [by_key[key]] if (key := word.casefold().replace("_", "")) in by_key else []
    return f"; did you mean '{matches[0]}'?" if matches else ""


def suggestion_in(message: str) -> str | None:
    """The spelling that a clause of `nearest` suggests, with which the message ends; None where there is none."""
    match = re.search(r"; did you mean '([^']+)'\?$", message)
    return match[1] if match else None


# Numbers --------------------------------------------------------------------------------------------------------------

INLINE = 12
"""The most elements of an array that a line shows one by one."""

LINES, COLUMNS = 20, 12
"""The most rows, and elements of a row, that `rows` shows by default."""

_WIDTH = 100
"""The longest line of a row that is shown whole, in characters."""


def number(value: Any, inline: int = INLINE) -> str:
    """A number with six digits, a small array element by element, a larger one by its shape and range. −0 is 0.

    Arrays may be of any library; this module imports none.
    """
    shape = getattr(value, "shape", ())
    if not shape:
        item = value.item() if hasattr(value, "item") else value
        return f"{item + 0.0:.6g}" if isinstance(item, float) else str(item)
    if 0 in shape:
        return f"{tuple(shape)} empty"
    if math.prod(shape) <= inline:
        return f"[{', '.join(number(x, inline) for x in value)}]"
    low, high = value.min(), value.max()
    return f"{tuple(shape)} " + (f"all {number(low)}" if low == high else f"{number(low)} to {number(high)}")


def rows(value: Any, *, columns: int | None = COLUMNS, lines: int | None = LINES,
         to_text: Callable[[Any], str] = number) -> str:
    """An array row by row, each on a line of its own. The text counts the rows and elements that it leaves out.

    `lines` is the most rows and `columns` the most elements of a row; None is all. `to_text` writes a number.
    """
    shape = getattr(value, "shape", ())
    if not shape or 0 in shape:
        return number(value) if shape else to_text(value)
    lead, length = shape[:-1], shape[-1]
    count = math.prod(lead)
    texts = [[to_text(x) for x in row[:columns]] for row in value.reshape(count, length)[:lines]]
    widest = max(len(text) for row in texts for text in row)
    breaks = columns is None and len(lead) + length * (widest + 2) > _WIDTH
    width = widest if lead or breaks else 0
    each = max(1, (_WIDTH - len(lead) - 1) // (width + 2)) if breaks else length
    text = []
    for i, row in enumerate(texts):
        opening, closing = _brackets(i, lead), _brackets(count - 1 - i, lead)
        more = f", … {length - len(row):,} more" if len(row) < length else ""
        parts = [", ".join(cell.rjust(width) for cell in row[at : at + each]) for at in range(0, len(row), each)]
        inside = f",\n{' ' * (len(lead) + 1)}".join(parts)
        text.append(f"{' ' * (len(lead) - opening)}{'[' * (opening + 1)}{inside}{more}{']' * (closing + 1)}"
                    f"{',' * (i < count - 1)}")
    if len(texts) < count:
        text.append(f"{' ' * len(lead)}… {count - len(texts):,} more rows")
    return "\n".join(text)


def _brackets(rows: int, lead: Sequence[int]) -> int:
    """How many outer brackets open at a row, by the number of rows before it, or close, by the number after it."""
    sizes = itertools.accumulate(reversed(lead), operator.mul)
    return sum(rows % size == 0 for size in sizes)
