"""The default method on the nonlinear regression sets of NIST, from both starts, with nothing given by hand."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from benchmarks.nist import MODELS, digits, read

ROUNDED = "Lanczos1"
"""Its residuals are 1e-13 of its data: the decimals that float64 cannot hold are a thousandth of them. What is left of
its residual sum of squares, and so of its standard errors, are three digits, for whoever reads it into float64."""


@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_values_and_errors_are_those_certified(name, start):
    known = read(name)
    found = cf.fit(known.circuit(start), known.data)
    assert found.converged
    assert digits(found.values, known.values) >= 10
    assert digits(found.errors, known.errors) >= (2.5 if name == ROUNDED else 10)
    assert 2 * found.objective == pytest.approx(known.squares, rel=1e-2 if name == ROUNDED else 1e-9)
    assert found.goodness.degrees_of_freedom == len(known.data["y"]) - len(known.values)


def test_the_sets_are_those_of_nist():
    known = read("Misra1a")
    assert known.data["x"][:2].tolist() == [77.6, 114.9]
    assert known.starts[1] == {"b1": 250.0, "b2": 0.0005}
    assert digits({"a": 1.0 + 1e-7}, {"a": 1.0}) == pytest.approx(7)
    assert digits({"a": np.nan}, {"a": 1.0}) == -np.inf


def test_what_was_done_is_said():
    known = read("ENSO")
    found = cf.fit(known.circuit(1), known.data)
    assert any("Newton steps on the exact Hessian" in step for step in found.steps)
    assert found.steps[0].startswith("lm: ")
