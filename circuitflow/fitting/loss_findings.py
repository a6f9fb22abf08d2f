"""What a careful reader would notice of the fit of a loss, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from circuitflow.fitting.newton import Spectrum
from circuitflow.fitting.parameters import Mask, Parameters, Vector
from circuitflow.text import few

UNFINISHED = 1e-3
"""The part of the loss, or of its fall, by which a Newton step may lower it at the end of a fit."""


def of_end(*, converged: bool, status: str) -> Iterator[str]:
    """A fit that did not end at a minimum."""
    if not converged:
        yield f"{status}; the values are no minimum"


def of_bounds(parameters: Parameters, x: Vector, free: Mask) -> Iterator[str]:
    """Elements held at a bound."""
    for i in np.flatnonzero(~free).tolist():
        side, bound = ("lower", parameters.lower[i]) if x[i] <= parameters.lower[i] else ("upper", parameters.upper[i])
        yield f"parameter '{parameters.names[i]}' ends at its {side} bound {bound:g}: the loss falls beyond it"


def of_hessian(parameters: Parameters, bent: Spectrum, free: Mask) -> Iterator[str]:
    """Combinations of elements along which the Hessian is not positive."""
    names = np.array(parameters.names, object)[free]
    for value, vector in zip(bent.values, bent.vectors.T, strict=True):
        if value > bent.zero:
            break
        way = vector / bent.scale
        way = way / way[np.argmax(np.abs(way))]
        terms = [(names[i], way[i]) for i in np.argsort(-np.abs(way), kind="stable") if abs(way[i]) > 1e-6]
        moves = ", ".join(few((f"'{name}' by {size:+.4g}" for name, size in terms), 6))
        what = ("falls further" if value < -bent.zero else
                "stays as it is, to the second order: it is not determined; freeze one of them, or take it out")
        yield f"the Hessian is not positive definite; when one moves {moves}, the loss {what}"


def of_rest(bent: Spectrum, slope: Vector, value: float, first: float) -> Iterator[str]:
    """A loss that a Newton step would still lower: some methods stop at gradients that are small in their units.

    The fall that the quadratic model promises, ½ gᵀH⁻¹g, is compared with the loss, and with its fall since the start.
    """
    steep = bent.values > bent.zero
    along = bent.vectors.T[steep] @ (slope / bent.scale)
    left = float(np.sum(along**2 / bent.values[steep])) / 2
    if left > UNFINISHED * max(abs(value), first - value):
        yield (f"the method stopped early: a Newton step would still lower the loss of {value:.4g} by {left:.2g}; give "
               "a smaller tolerance, or leave the method out")
