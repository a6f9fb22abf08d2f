"""Operators with attributes at random agree with ONNX Runtime, or with ONNX's evaluator."""

from __future__ import annotations

import collections

import pytest

from support.onnx_variants import VARIANTS, drawn, verdict


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_attributes(name):
    """More of them: tests/fuzz/onnx_variants.py."""
    results = {seed: verdict(*drawn(name, seed)) for seed in range(6)}
    assert {seed: result for seed, result in results.items() if result[0] in ("wrong", "refused")} == {}
    assert collections.Counter(status for status, _ in results.values())["equal"] >= 1
