"""Windows in each of the ways in which they are laid out: slices, positions, a view."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import GATES
from circuitflow.gates.convolution import FEW, MANY, Frame
from support.documents import circuit
from support.libraries import namespace

CASES = [  # shape, kernel and steps; a window of more than MANY elements at fewer than FEW places is taken by index
    ((2, 3, MANY + 40), [MANY], {}), ((2, 3, MANY + 40), [MANY + 1], {}),
    ((1, 1, MANY + FEW - 1), [MANY + 1], {}), ((1, 1, MANY + FEW), [MANY + 1], {}),
    ((2, 1, 12, 11), [6, 6], {"strides": [2, 3], "pads": [[1, 2], [0, 4]]}),
    ((1, 2, 14, 20), [7, 5], {"dilations": [2, 3], "strides": [1, 2]}), ((0, 2, 40), [MANY + 1], {}),
    ((1, 1, 5, 4, 6), [3, 3, 4], {"pads": [[1, 0], [0, 1], [2, 2]]}),
]


STEPS = {"strides": None, "pads": None, "dilations": None}


def by_definition(x, kernel, fill, strides=None, pads=None, dilations=None):
    rank = len(kernel)
    steps, spread, ends = strides or [1] * rank, dilations or [1] * rank, pads or [[0, 0]] * rank
    padded = np.pad(x, [(0, 0), (0, 0), *ends], constant_values=fill)
    spans = [d * (k - 1) + 1 for d, k in zip(spread, kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
    places = tuple(slice(None, None, s) for s in steps) + tuple(slice(None, None, d) for d in spread)
    windows = windows[(slice(None), slice(None), *places)]
    return np.moveaxis(windows, range(2, 2 + rank), range(2 + rank, 2 + 2 * rank))


def test_the_cases_stand_on_both_sides():
    taken = {(int(np.prod(kernel)) > MANY, int(np.prod(Frame(shape[2:], kernel, **{**STEPS, **steps}).windows)) < FEW)
             for shape, kernel, steps in CASES}
    assert taken == {(False, True), (True, True), (True, False)}


@pytest.mark.parametrize("name", ["numpy", "array_api_strict", "jax", "torch"])
@pytest.mark.parametrize(("shape", "kernel", "steps"), CASES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_windows_are_those_of_the_definition(name, shape, kernel, steps, order):
    x = np.asarray(np.random.RandomState(0).standard_normal(shape), order=order)
    xp = np if name == "numpy" else namespace(name)
    for fill, number in (("zero", 0.0), ("lowest", -np.inf)):
        expected = by_definition(x, kernel, number, **steps)
        found = GATES["unfold"].forward(xp, xp.asarray(x), kernel_shape=kernel, fill=fill, **{**STEPS, **steps})
        np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("strides", [None, [1, 1], [2, 1], [2, 3]])
@pytest.mark.parametrize("pads", [None, [[0, 0], [0, 0]], [[1, 0], [0, 2]]])
def test_a_window_of_one_element(strides, pads):
    """Without pads it is a view of x, which nothing may write into."""
    random = np.random.RandomState(1)
    x, w = random.standard_normal((2, 4, 5, 6)), random.standard_normal((6, 2, 1, 1))
    made = circuit({"id": "x", "gate": "input", "shape": [2, 4, 5, 6]},
                   {"id": "w", "gate": "input", "shape": [6, 2, 1, 1]},
                   {"id": "c", "gate": "conv", "inputs": ["x", "w"], "group": 2,
                    **{key: value for key, value in (("strides", strides), ("pads", pads)) if value}},
                   "f = reduce_sum_square(c)")

    def of(x, w):
        out = jax.lax.conv_general_dilated(x, w, strides or (1, 1), pads or [(0, 0)] * 2, feature_group_count=2)
        return jnp.sum(out * out)

    expected, slopes = jax.value_and_grad(of, (0, 1))(x, w)
    kept = x.copy()
    for engine in ("interpreter", "staged"):
        value, gradients = cf.Executor(made).compile(engine=engine)(x=x, w=w)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for name, slope in zip("xw", slopes, strict=True):
            np.testing.assert_allclose(gradients[name], slope, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(x, kept)
