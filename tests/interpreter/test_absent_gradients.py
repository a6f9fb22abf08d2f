"""Where no gradient arrives there is none, not a zero that becomes NaN beside an infinity: units equal what they expand
to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from support.random_scans import circuits


def compared(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.sliced(seed=lambda seed: seed % 100)
@pytest.mark.parametrize("seed", range(400))
def test_a_scan_equals_the_calls_that_it_stands_for(seed):
    scan, calls = circuits(seed)
    expected, wrt = cf.Executor(calls).run(), ["h0", "k0", "w", "x"]
    for cache in ("all", "needed", "recompute"):
        result = cf.Executor(scan).run(wrt=wrt, cache=cache)
        compared(result.outputs["f"], expected.outputs["f"])
        for name in wrt:
            # A scan without an upstream gradient on a carry has zeros of a mask, which stay zeros beside an infinity.
            # Those
            # of the calls, which come about by numbers that cancel, do not.
            wanted = expected.gradients.get(name, np.zeros_like(result.gradients[name]))
            compared(np.where(np.isnan(wanted), wanted, result.gradients[name]), wanted)
    for name, found in zip(wrt, cf.Executor(cf.gradient(scan, wrt=wrt)).forward().outputs.values(), strict=True):
        compared(found, result.gradients[name])
