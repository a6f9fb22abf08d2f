"""What a least-squares fit says of its parameters, and how well it describes the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from circuitflow.fitting.data import Block
from circuitflow.fitting.parameters import Mask, Vector
from circuitflow.fitting.polish import SINGULAR, lengths
from circuitflow.fitting.problem import Matrix, Problem
from circuitflow.fitting.squares import Reduced, SumOfSquares


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """The covariance of the parameters, from the linear model at the minimum.

    Attributes:
        covariance: s² (JᵀJ)⁻¹, of shape (size, size). Rows of elements held at a bound, or that the data do not
            determine, are NaN.
        standard_errors: square roots of its diagonal; infinite where the data do not determine an element.
        undetermined: directions, of length 1 in elements scaled by their columns, that leave the residuals as they are.
    """

    covariance: Matrix
    standard_errors: Vector
    undetermined: tuple[Vector, ...]


def uncertainty(reduced: Reduced, free: Mask, variance: float) -> Uncertainty:
    """The covariance from the triangle of the Jacobian's QR decomposition, without forming JᵀJ.

    Args:
        reduced: the linear model.
        free: marks the elements that are not held at a bound; the others count as known.
        variance: s².
    """
    size = free.size
    covariance, errors = np.full((size, size), np.nan), np.full(size, np.nan)
    scale = lengths(reduced.triangle[:, free])
    unit = np.where(scale > 0, scale, 1)
    _, values, directions = np.linalg.svd(reduced.triangle[:, free] / unit)
    null = values <= SINGULAR * max(values[0], 1e-300) if values.size else np.zeros(0, bool)
    lost = np.any(np.abs(directions[null]) > 1e-6, axis=0)
    kept = (directions[~null].T / values[~null]) / unit[:, None]
    inner = variance * (kept @ kept.T)
    inner[lost, :] = inner[:, lost] = np.nan
    covariance[np.ix_(free, free)] = inner
    errors[free] = np.where(lost, np.inf, np.sqrt(np.diag(inner)))
    ways = []
    for direction in directions[null]:
        way = np.zeros(size)
        way[free] = direction / unit
        ways.append(way)
    return Uncertainty(covariance, errors, tuple(ways))


def variance(problem: SumOfSquares, x: Vector, squares: float, count: int, free: int) -> float:
    """s², by which (JᵀJ)⁻¹ becomes the covariance; NaN without degrees of freedom.

    For squares it is Σr² / (n − p). For a robust loss with the slope ψ it is k² [Σψ² / (n − p)] / (mean ψ′)², where
    k = 1 + (p/n) var ψ′ / (mean ψ′)² (Huber 1981, "Robust Statistics", section 7.6, equation 6.5); NaN where the mean
    of ψ′ is not positive.

    Args:
        problem: the problem.
        x: the minimum.
        squares: Σr².
        count: n, the number of residuals.
        free: p, the number of elements that are not held at a bound.
    """
    if count <= free:
        return math.nan
    if problem.robust == "linear":
        return squares / (count - free)
    slopes, bent, bent_squares = problem.influence(x)
    mean = bent / count
    if not mean > 0:
        return math.nan
    k = 1 + free / count * (bent_squares / count - mean**2) / mean**2
    return k**2 * slopes / (count - free) / mean**2


class Moments(NamedTuple):
    """What is known of observations.

    Attributes:
        number: their number.
        weight: the sum of their weights.
        mean: their weighted mean.
        about_mean: the weighted sum of squares about it.
        low, high: the least and the greatest.
    """

    number: int
    weight: float
    mean: float
    about_mean: float
    low: float
    high: float


def moments(problem: SumOfSquares, observed: str, sigma: str | None) -> Moments:
    """The moments of a node over all rows, weighted by 1/σ² (Chan, Golub and LeVeque 1983).

    Args:
        problem: the problem; parameters are at their start, on which what was observed does not depend.
        observed: the reference.
        sigma: that of the standard deviations, if there are some.
    """
    references = (observed,) if sigma is None else (observed, sigma)
    found = problem.fold(_moments, (problem.parameters.start, *references), _joined_moments)
    return found._replace(about_mean=float(found.about_mean))  # NumPy's until here: what overflows is ∞, no error


def _moments(problem: Problem, block: Block, x: Vector, *references: str) -> Moments:
    outputs, _ = problem.evaluation(*references)(block, problem.parameters.values(x))
    y, *sigma = (np.asarray(output, np.float64) for output in outputs)
    w = np.broadcast_to(1 / sigma[0]**2 if sigma else np.float64(1), y.shape)
    weight = w.sum()
    mean = (w * y).sum() / weight
    return Moments(y.size, weight, mean, (w * (y - mean)**2).sum(), y.min(), y.max())


def _joined_moments(x: Moments, y: Moments) -> Moments:
    weight, far = x.weight + y.weight, y.mean - x.mean
    return Moments(x.number + y.number, weight, x.mean + far * y.weight / weight,
                   x.about_mean + y.about_mean + far**2 * x.weight * y.weight / weight,
                   min(x.low, y.low), max(x.high, y.high))


class _Residuals(NamedTuple):
    """Of residuals that follow one another: Σeᵢ², Σ(eᵢ − eᵢ₋₁)², the first and the last."""

    squares: float
    differences: float
    first: float
    last: float


def durbin_watson(problem: SumOfSquares, x: Vector) -> float | None:
    """The statistic of Durbin and Watson 1950: Σ(eᵢ − eᵢ₋₁)² / Σeᵢ²; 2 for residuals that are independent.

    None where a row has more than one residual, or all are 0.
    """
    if len(problem.shape) > bool(problem.data.batch):
        return None
    found = problem.fold(_residuals, (x,), _joined_residuals)
    return float(found.differences / found.squares) if found.squares > 0 else None


def _residuals(problem: SumOfSquares, block: Block, x: Vector) -> _Residuals:
    e = problem.of_block(block, x)
    return _Residuals(np.square(e).sum(), np.square(np.diff(e)).sum(), e[0], e[-1])


def _joined_residuals(x: _Residuals, y: _Residuals) -> _Residuals:
    return _Residuals(x.squares + y.squares, x.differences + y.differences + (y.first - x.last)**2, x.first, y.last)


@dataclass(frozen=True, eq=False)
class Goodness:
    """How well a fit describes the data.

    Attributes:
        residual_standard_deviation: √(Σr² / degrees of freedom), also where a robust loss was minimised; NaN without
            any.
        degrees_of_freedom: residuals less free elements that are not held at a bound.
        r_squared: 1 − Σr² / Σ(y − ȳ)², weighted; None where it is not known what was observed.
        aic, bic: n ln(Σr²/n) + 2k, and with k ln n: Akaike 1974 and Schwarz 1978 for normal residuals, without terms
            that all models share (Burnham and Anderson 2002, section 2.2), as lmfit; k counts the free elements.
    """

    residual_standard_deviation: float
    degrees_of_freedom: int
    r_squared: float | None
    aic: float
    bic: float


class Criteria(NamedTuple):
    """For comparing models of the same data by their likelihoods: the smaller, the better.

    Attributes:
        aic, bic: 2k − 2 ln L, and with k ln n: Akaike 1974 and Schwarz 1978; k counts the free elements, n the rows.
    """

    aic: float
    bic: float


def of_likelihood(negative_logarithm: float, rows: int, free: int) -> Criteria:
    """The criteria from −ln L of all rows."""
    return Criteria(2 * free + 2 * negative_logarithm, math.log(rows) * free + 2 * negative_logarithm)


def goodness(squares: float, count: int, free: int, observed: Moments | None) -> Goodness:
    """How well a fit describes the data.

    Args:
        squares: Σr².
        count: the number of residuals.
        free: the number of elements.
        observed: the moments of what was observed.
    """
    freedom = count - free
    likelihood = count * math.log(squares / count) if squares / count > 0 else -math.inf
    r_squared = 1 - squares / observed.about_mean if observed is not None and observed.about_mean > 0 else None
    return Goodness(math.sqrt(squares / freedom) if freedom > 0 else math.nan, freedom, r_squared,
                    likelihood + 2 * free, likelihood + math.log(count) * free)


def intervals(values: Vector, errors: Vector, freedom: float, level: float) -> Any:
    """Confidence intervals by Student's t, of shape (size, 2); NaN or infinite where the standard error is."""
    quantile = student.ppf((1 + level) / 2, freedom) if freedom > 0 else math.nan
    with np.errstate(invalid="ignore"):
        return np.stack([values - quantile * errors, values + quantile * errors], axis=1)


def correlation(covariance: Matrix) -> Matrix:
    """The correlation matrix of a covariance matrix."""
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.sqrt(np.diag(covariance))
        return np.asarray(covariance / np.outer(deviations, deviations))
