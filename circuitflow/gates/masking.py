"""Products in which a 0 stays 0 beside an infinity or NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def kept(op: Any, zeros: Any, product: Any) -> Any:
    """A product element by element, 0 where it is NaN and its factor is 0. Elsewhere it is as it is, to any order."""
    return op.where((zeros == 0) & op.is_nan(product), 0.0, product)


def sums_kept(xp: Any, product: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """Sums of products x · y in which a 0 of either is 0, whatever the other is.

    What is not finite is left out, and its products with what is not 0 are counted, and counted by sign.

    Args:
        xp: the namespace of the arrays.
        product: the sums as they are, of arrays like x and y; bilinear.
        x: an operand.
        y: the other one.
    """
    if type(x).__module__ == type(y).__module__ == "numpy" and np.isfinite(x).all() and np.isfinite(y).all():
        return product(x, y)  # the same sooner
    (fx, sx, ix, nx), (fy, sy, iy, ny) = _parts(xp, x), _parts(xp, y)
    net = product(ix, sy + iy) + product(sx, iy)
    count = product(nx, xp.abs(sy) + ny) + product(xp.abs(sx), ny)
    infinite = xp.where(xp.abs(net) == count, net, math.nan) * math.inf
    return xp.where(count == 0, product(fx, fy), infinite)


def _parts(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """What is finite, its signs, those of what is infinite, and a 1 for what is not finite; zeros elsewhere."""
    nothing, is_finite = xp.zeros_like(x), xp.isfinite(x)
    finite = xp.where(is_finite, x, nothing)
    return (finite, xp.sign(finite), xp.where(xp.isinf(x), xp.sign(x), nothing),
            xp.where(is_finite, nothing, xp.ones_like(x)))
