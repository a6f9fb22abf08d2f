"""Text from a file made safe to show: characters that are invisible, or that hide others, become escapes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

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


def is_shown(text: str) -> bool:
    """Whether every character of a text is one that a reader sees, or a space."""
    return text.isprintable() and (text.isascii() or all(shown for _, shown in _told(text)))


def shown(text: str, escape: Callable[[str], str]) -> str:
    """The text with an escape in place of every character that `is_shown` refuses."""
    return text if is_shown(text) else "".join(c if seen else escape(c) for c, seen in _told(text))


def _told(text: str) -> Iterator[tuple[str, bool]]:
    """Pairs of a character and whether a reader sees it."""
    marks = 0
    for c in text:
        if c.isascii():
            marks = 0
            yield c, c.isprintable()
            continue
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") else 0
        yield c, c.isprintable() and c not in _HIDDEN and marks <= MARKS
