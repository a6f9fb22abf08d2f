"""Identifiers that are given out once."""

from __future__ import annotations

import re
from collections.abc import Callable

_OTHER = re.compile(r"\W", re.ASCII)

LONGEST = 60
"""Characters of a reference that its identifier has."""


def word_of(reference: str) -> str:
    """A reference with an underscore for what no identifier may have, and an `n` before a digit or one at the start."""
    word = reference if reference.isascii() and reference.isidentifier() else _OTHER.sub("_", reference)
    return f"n{word}" if not word or word[0].isdigit() or word[0] == "_" else word


class Identifiers:
    """Gives out identifiers, each once."""

    def __init__(self, identifier: Callable[[str], str]) -> None:
        """None yet; `identifier` makes one of a reference, always the same."""
        self._identifier = identifier
        self._in_use: set[str] = set()
        self._numbers: dict[str, int] = {}

    def new(self, reference: str) -> str:
        """An identifier that nothing else has."""
        base = name = self._identifier(reference[:LONGEST])
        while name in self._in_use:
            self._numbers[base] = self._numbers.get(base, 1) + 1
            name = self._identifier(f"{base.removesuffix('_')}_{self._numbers[base]}")
        self._in_use.add(name)
        return name
