"""Measures least squares: the time beside SciPy's, the memory of data in blocks, right digits beside SciPy and lmfit.

    python -m benchmarks fitting
    python -m benchmarks.fitting

The first prints times and memory, the second digits on the sets of NIST.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.measure import Case
from benchmarks.nist import MODELS, Set, digits, read

BLOCK = 250_000
START = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.2}


def circuit() -> cf.Circuit:
    """Two exponentials: four parameters."""
    return cf.new("r = y - (a*exp(-b*t) + c*exp(-d*t))", START, parameters=list(START))


def rows(seed: int, count: int) -> dict[str, Any]:
    """Columns drawn by a seed."""
    random = np.random.default_rng(seed)
    t = random.uniform(0, 10, count)
    return {"t": t, "y": in_numpy(t, 2.0, 1.5, 0.8, 0.3) + random.normal(0, 0.1, count)}


def blocks(count: int) -> Callable[[], Iterator[dict[str, Any]]]:
    """A function that makes the rows block by block, as a file would give them."""
    return lambda: (rows(seed, BLOCK) for seed in range(count // BLOCK))


def cases() -> Iterator[Case]:
    """A million rows in memory beside SciPy; a million and ten million in blocks."""
    data, fitted = rows(0, 1_000_000), circuit()
    yield Case("least squares, 1,000,000 rows × 4 parameters", "fit", 1, lambda: cf.fit(fitted, data).x,
               lambda: {"curve_fit": lambda: by_scipy(**data)}, {"curve_fit": 0.5}, 9, rtol=1e-6, once=True)
    for count in (1_000_000, 10_000_000):
        yield Case(f"the same in blocks, {count:,} rows", "row", count,
                   lambda count=count: cf.fit(fitted, blocks(count)).x, dict, {}, 1, once=True)


def in_numpy(t: Any, a: float, b: float, c: float, d: float) -> Any:
    """The model by hand."""
    return a * np.exp(-b * t) + c * np.exp(-d * t)


def slopes(t: Any, a: float, b: float, c: float, d: float) -> Any:
    """Its Jacobian by hand."""
    first, second = np.exp(-b * t), np.exp(-d * t)
    return np.stack([first, -a * t * first, second, -c * t * second], axis=1)


def by_scipy(t: Any, y: Any) -> Any:
    """SciPy's function with the Jacobian by hand."""
    from scipy.optimize import curve_fit

    return curve_fit(in_numpy, t, y, list(START.values()), jac=slopes)[0]


# Digits ---------------------------------------------------------------------------------------------------------------


def ours(known: Set, start: int) -> tuple[float, float]:
    """Right digits of the values and of the standard errors, by the default method."""
    found = cf.fit(known.circuit(start), known.data)
    return digits(found.values, known.values), digits(found.errors, known.errors)


def scipys(known: Set, start: int, residuals: Callable[[Any], Any]) -> tuple[float, float]:
    """Those of `scipy.optimize.least_squares` with its differences and default options."""
    from scipy.optimize import least_squares

    names = list(known.values)
    try:
        found = least_squares(residuals, list(known.starts[start - 1].values()))
        covariance = np.linalg.inv(found.jac.T @ found.jac) * 2 * found.cost / (found.fun.size - len(names))
    except (ValueError, np.linalg.LinAlgError):
        return -np.inf, -np.inf
    return (digits(dict(zip(names, found.x, strict=True)), known.values),
            digits(dict(zip(names, np.sqrt(np.abs(np.diag(covariance))), strict=True)), known.errors))


def lmfits(known: Set, start: int, residuals: Callable[[Any], Any]) -> tuple[float, float]:
    """Those of `lmfit.minimize` with its differences and default options."""
    import lmfit

    parameters = lmfit.Parameters()
    for name, value in known.starts[start - 1].items():
        parameters.add(name, value)
    try:
        found = lmfit.minimize(lambda p: residuals([x.value for x in p.values()]), parameters)
    except ValueError:
        return -np.inf, -np.inf
    errors = {name: np.nan if x.stderr is None else x.stderr for name, x in found.params.items()}
    return digits(found.params.valuesdict(), known.values), digits(errors, known.errors)


def table() -> str:
    """Least right digits of values / of standard errors, for every set and start, as Markdown."""
    lines = ["| set | start | circuitflow | SciPy, differences | lmfit, differences |", "|---|---|---|---|---|"]
    for name in MODELS:
        known = read(name)
        for start in (1, 2):
            function = cf.Executor(known.circuit(start)).vmap("r", (), engine="staged")
            names = list(known.values)

            def residuals(x: Any, function: Any = function, known: Set = known, names: list[str] = names) -> Any:
                return function({**known.data, **{name: float(value) for name, value in zip(names, x, strict=True)}})[0]
            with np.errstate(all="ignore"):
                cells = [ours(known, start), scipys(known, start, residuals), lmfits(known, start, residuals)]
            shown = " | ".join(f"{_shown(values)} / {_shown(errors)}" for values, errors in cells)
            lines.append(f"| {name} | {start} | {shown} |")
    return "\n".join(lines)


def _shown(count: float) -> str:
    return f"{count:.1f}" if count > 0 else "none"


if __name__ == "__main__":
    print(table())
