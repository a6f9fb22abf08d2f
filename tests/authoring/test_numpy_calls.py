"""What NumPy computes of arrays, circuits traced from it compute: values, dtypes and shapes, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from support.numpy_calls import FAMILIES, calls, outcome
from support.slices import few


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=few(60))  # the search for others is tests/fuzz/calls.py
@given(data=st.data())
def test_a_circuit_gives_what_numpy_gives_or_is_refused(family, data):
    call = data.draw(calls(family))
    wrong = outcome(call)
    assert wrong is None, f"{wrong}{call}"


@pytest.mark.parametrize("call", [lambda x: np.take(x, 0, axis=True), lambda x: np.squeeze(x, axis=False),
                                  lambda x: np.swapaxes(x, np.True_, 0), lambda x: np.sum(x, axis=(True,))])
def test_a_truth_value_is_not_an_axis(call):
    with pytest.raises(cf.InputError, match="expected an integer"):
        cf.trace(call, np.ones((1, 3)))


@pytest.mark.parametrize("x", [np.array(2.0), np.ones(3)])
def test_a_width_of_padding_is_not_negative(x):
    with pytest.raises(cf.InputError, match="pad_width=-1; whole numbers, 0 or more"):
        cf.trace(lambda x: np.pad(x, -1), x)
