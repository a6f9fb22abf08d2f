"""Products in which a 0 stays 0 beside an infinity or NaN."""

from __future__ import annotations

from typing import Any


def kept(op: Any, zeros: Any, product: Any) -> Any:
    """A product element by element, 0 where it is NaN and its factor is 0. Elsewhere it is as it is, to any order."""
    return op.where((zeros == 0) & op.is_nan(product), 0.0, product)
