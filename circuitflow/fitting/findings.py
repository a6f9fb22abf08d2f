"""What a careful reader would notice of a fit, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from circuitflow.fitting.parameters import Mask, Parameters, Vector
from circuitflow.fitting.squares import Reduced
from circuitflow.text import few, listing

APART = 1e6
"""The ratio of the largest slope to the smallest above which parameters count as badly scaled."""

TINY = 1e-150
"""Residuals below this size have squares with fewer digits than others, or none."""

DEVIATIONS = 3.3
"""Standard deviations from 2 of the Durbin–Watson statistic that count: one in a thousand by chance."""

FEWEST = 20
"""The fewest residuals for which their independence is tested."""


def of_bounds(parameters: Parameters, x: Vector, free: Mask) -> Iterator[str]:
    """Elements held at a bound."""
    for i in np.flatnonzero(~free).tolist():
        side, bound = ("lower", parameters.lower[i]) if x[i] <= parameters.lower[i] else ("upper", parameters.upper[i])
        yield (f"parameter '{parameters.names[i]}' ends at its {side} bound {bound:g}: the data would move it further; "
               "it has no standard error, and those of the others hold it there")


def of_calls(parameters: Parameters) -> Iterator[str]:
    """Parameters inside calls, which look as if they were fitted."""
    if parameters.inside:
        what = "its value" if len(parameters.inside) == 1 else "their values"
        yield (f"inside calls {listing(parameters.inside)} kept {what}: to fit one, make it an input of the "
               "subcircuit; to keep it, freeze it there")


def of_rank(parameters: Parameters, undetermined: Sequence[Vector]) -> Iterator[str]:
    """Combinations of elements that the data do not determine."""
    for way in undetermined:
        way = way / way[np.argmax(np.abs(way))]
        terms = [(parameters.names[i], way[i]) for i in np.argsort(-np.abs(way), kind="stable")
                 if abs(way[i]) > 1e-6]
        if len(terms) == 1:
            yield (f"the data do not determine parameter '{terms[0][0]}': the residuals stay as they are when it "
                   "changes; freeze it, or take it out")
        else:
            moves = ", ".join(few((f"{name} by {value:+.4g}" for name, value in terms), 6))
            yield (f"the data do not determine a combination of parameters: the residuals stay as they are when one "
                   f"moves {moves}; freeze one of them, or take it out")


def of_scales(what: str, names: Sequence[str], slopes: Vector) -> Iterator[str]:
    """Slopes, or roots of curvatures, of very different sizes; those of 0 do not count.

    Args:
        what: what changes, as the subject of a sentence with its verb.
        names: of what it changes with.
        slopes: their sizes.
    """
    some = np.flatnonzero(slopes > 0)
    if some.size > 1:
        large, small = some[np.argmax(slopes[some])], some[np.argmin(slopes[some])]
        if slopes[large] > APART * slopes[small]:
            yield (f"{what} {slopes[large] / slopes[small]:.0e} times as much with parameter '{names[large]}' as with "
                   f"'{names[small]}'; measure them, or the data, in other units")


def of_underflow(reduced: Reduced) -> Iterator[str]:
    """Residuals whose squares are 0 to float64, or nearly, though they are not."""
    if 0 < max(float(np.max(np.abs(reduced.right), initial=0.0)), abs(reduced.rest)) < TINY:
        yield ("the residuals are so small that their squares are not numbers of float64 any more: standard errors and "
               "what else is computed of squares are wrong; measure the data in other units")


def of_independence(statistic: float | None, count: int) -> Iterator[str]:
    """Residuals that depend on the row before.

    For independent residuals 1 − d/2, the correlation of neighbours, has the standard deviation 1/√n, nearly.
    """
    if statistic is None or count < FEWEST or abs(1 - statistic / 2) * math.sqrt(count) <= DEVIATIONS:
        return
    alike = "alike" if statistic < 2 else "opposite"
    yield (f"residuals of neighbouring rows are {alike} (Durbin–Watson {statistic:.2f}, 2 if they are independent): "
           "the circuit may lack a term, or the rows depend on one another; then standard errors are "
           f"{'too small' if statistic < 2 else 'not right'}")


def of_end(*, converged: bool, status: str) -> Iterator[str]:
    """A fit that did not end at a minimum."""
    if not converged:
        yield f"{status}; the values are no minimum, and standard errors mean little"


def of_freedom(freedom: int) -> Iterator[str]:
    """As many parameters as residuals."""
    if freedom <= 0:
        yield "there are as many free parameters as residuals: nothing is left from which errors could be told"
