"""What NumPy computes of arrays, circuits traced from it compute: values, dtypes and shapes, or a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpy_calls import FAMILIES, calls, outcome


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None, derandomize=True)  # the search for others is tests/fuzz/calls.py
@given(data=st.data())
def test_a_circuit_gives_what_numpy_gives_or_is_refused(family, data):
    call = data.draw(calls(family))
    wrong = outcome(call)
    assert wrong is None, f"{wrong}{call}"
