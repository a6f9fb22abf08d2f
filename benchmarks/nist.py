"""The nonlinear regression sets of NIST: data, starts, certified values, and the models as expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import circuitflow as cf

FOLDER = Path(__file__).parent.parent / "tests/fitting/nist"

_GAUSS = "b1*exp(-b2*x) + b3*exp(-((x - b4)**2)/b5**2) + b6*exp(-((x - b7)**2)/b8**2)"
_LANCZOS = "b1*exp(-b2*x) + b3*exp(-b4*x) + b5*exp(-b6*x)"
_CUBIC = "(b1 + b2*x + b3*x**2 + b4*x**3) / (1 + b5*x + b6*x**2 + b7*x**3)"

MODELS = {
    "Bennett5": "b1 * (b2 + x)**(-1/b3)",
    "BoxBOD": "b1 * (1 - exp(-b2*x))",
    "Chwirut1": "exp(-b1*x) / (b2 + b3*x)",
    "Chwirut2": "exp(-b1*x) / (b2 + b3*x)",
    "DanWood": "b1 * x**b2",
    "ENSO": "b1 + b2*cos(2*pi*x/12) + b3*sin(2*pi*x/12) + b5*cos(2*pi*x/b4) + b6*sin(2*pi*x/b4) + b8*cos(2*pi*x/b7) "
            "+ b9*sin(2*pi*x/b7)",
    "Eckerle4": "(b1/b2) * exp(-0.5*((x - b3)/b2)**2)",
    "Gauss1": _GAUSS,
    "Gauss2": _GAUSS,
    "Gauss3": _GAUSS,
    "Hahn1": _CUBIC,
    "Kirby2": "(b1 + b2*x + b3*x**2) / (1 + b4*x + b5*x**2)",
    "Lanczos1": _LANCZOS,
    "Lanczos2": _LANCZOS,
    "Lanczos3": _LANCZOS,
    "MGH09": "b1 * (x**2 + x*b2) / (x**2 + x*b3 + b4)",
    "MGH10": "b1 * exp(b2/(x + b3))",
    "MGH17": "b1 + b2*exp(-x*b4) + b3*exp(-x*b5)",
    "Misra1a": "b1 * (1 - exp(-b2*x))",
    "Misra1b": "b1 * (1 - (1 + b2*x/2)**(-2))",
    "Misra1c": "b1 * (1 - (1 + 2*b2*x)**(-0.5))",
    "Misra1d": "b1*b2*x * (1 + b2*x)**(-1)",
    "Nelson": "b1 - b2*x1*exp(-b3*x2)",
    "Rat42": "b1 / (1 + exp(b2 - b3*x))",
    "Rat43": "b1 / (1 + exp(b2 - b3*x))**(1/b4)",
    "Roszman1": "b1 - b2*x - atan(b3/(x - b4))/pi",
    "Thurber": _CUBIC,
}
"""What each set predicts of `y`; for Nelson of its logarithm."""


@dataclass(frozen=True)
class Set:
    """One set of data.

    Attributes:
        name: its name.
        data: columns.
        starts: the two starts, each by parameter.
        values, errors: certified values and standard deviations, by parameter.
        squares: the certified residual sum of squares.
    """

    name: str
    data: dict[str, Any]
    starts: tuple[dict[str, float], dict[str, float]]
    values: dict[str, float]
    errors: dict[str, float]
    squares: float

    def circuit(self, start: int) -> cf.Circuit:
        """The model as a circuit, at the first start or the second (1 or 2)."""
        observed = "log(y)" if self.name == "Nelson" else "y"
        return cf.new(f"f = {MODELS[self.name]}\nr = {observed} - f", self.starts[start - 1],
                      parameters=list(self.starts[0]), outputs="r")


def read(name: str) -> Set:
    """Read a file of NIST."""
    lines = (FOLDER / f"{name}.dat").read_text(encoding="ascii").splitlines()
    rows = {match[1]: [float(x) for x in match[2].split()] for line in lines[40:58]
            if (match := re.match(r"\s*(b\d+)\s*=(.*)", line))}
    squares = next(float(line.partition(":")[2]) for line in lines if line.startswith("Residual Sum of Squares"))
    y, *x = np.array([[float(x) for x in line.split()] for line in lines[60:] if line.strip()]).T
    names = ["x"] if len(x) == 1 else [f"x{i + 1}" for i in range(len(x))]
    first, second, values, errors = ({parameter: row[i] for parameter, row in rows.items()} for i in range(4))
    return Set(name, {"y": y, **dict(zip(names, x, strict=True))}, (first, second), values, errors, squares)


def digits(values: dict[str, Any], certified: dict[str, float]) -> float:
    """The least number of right digits: −log₁₀ of the largest relative error, at most 11, as many as are certified."""
    worst = max(abs(float(values[name]) - right) / abs(right) for name, right in certified.items())
    return 11.0 if worst < 1e-11 else float(-np.log10(worst)) if np.isfinite(worst) else -np.inf
