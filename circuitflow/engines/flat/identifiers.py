"""Identifiers that are given out once."""

from __future__ import annotations

from collections.abc import Callable

LONGEST = 60
"""Characters of a reference that its identifier has."""


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
