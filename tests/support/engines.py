"""What tests of engines share: thresholds at their ends, engines made directly, and answers compared."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np

import circuitflow as cf
from circuitflow.engines.staged.arrays import batch_code
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.tape.run import Taped
from circuitflow.interpreter.question import Question


def close(found, expected, rtol=1e-13, atol=1e-14):
    """The same keys in the same order, and the same arrays to the last few ulps of their largest number."""
    if isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            close(one, other, rtol, atol)
        return
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            close(found[key], value, rtol, atol)
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    if expected.dtype == np.float32:
        rtol, atol = 1e-5, 1e-6
    scale = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol * max(1.0, scale))


NATIVE = ["native"] if shutil.which("cc") else []
"""The engine native, where there is a compiler."""

SMALLEST = cf.Thresholds(selected_size=1, block_bytes=1, block_rows=1, blocks=1, column_rows=1, tape_bytes=1)
LARGEST = cf.Thresholds(**dict.fromkeys(dataclasses.asdict(SMALLEST), 2 ** 60))


def taped(executor, of, wrt, *, fast=None):
    return Taped(Question(executor, of, wrt), executor.thresholds, fast=fast)


SMALL = cf.Thresholds(block_bytes=2**8)


def batched(loaded, given, thresholds=SMALL):
    question = Question(cf.Executor(loaded), None, None)
    derived = Derived(question)
    return batch_code(derived, derived.arrays(*question.bind(inputs_of(given), upstream_of(given))), thresholds)


def inputs_of(given):
    return {name: x for name, x in given.items() if not name.startswith("d")}


def upstream_of(given):
    return {name[1:]: x for name, x in given.items() if name.startswith("d")}
