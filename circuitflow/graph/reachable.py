"""What a search along edges finds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def reachable(starts: Iterable[T], following: Callable[[T], Iterable[T]]) -> dict[T, None]:
    """The starts and everything that edges lead to from there, in the order in which it is found."""
    members = dict.fromkeys(starts)
    pending = list(members)
    for one in pending:  # grows
        for other in following(one):
            if other not in members:
                members[other] = None
                pending.append(other)
    return members
