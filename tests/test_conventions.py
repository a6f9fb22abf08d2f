"""The conventions of the numbers: what is promised at ties, kinks, zeros and the ends of the range of floats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from circuitflow.executor.vocabulary import Vocabulary
from circuitflow.gates import GATES

inf, nan = math.inf, math.nan


def pull(gate: str, *operands: Any, g: Any = 1.0, dtype: Any = np.float64, **attributes: Any) -> tuple[Any, list[Any]]:
    """Value and contributions of one gate."""
    row, op = GATES[gate], Vocabulary(np, GATES)
    attributes = {**row.defaults, **attributes}
    xs = [np.asarray(x, bool if isinstance(x, bool) else dtype) for x in operands]
    wanted = [x.dtype.kind == "f" and row.reaches(i) for i, x in enumerate(xs)]
    with np.errstate(all="ignore"):
        out = row.forward(np, *xs, **attributes)
        sent = row.contributions(op, np.broadcast_to(np.asarray(g, dtype), out.shape), out, xs, wanted, attributes)
    return out, [c for c, want in zip(sent, wanted, strict=True) if want]


# gate, operands, value, gradients
POINTS = [
    ("max", (2, 2), 2, (1, 0)),
    ("min", (2, 2), 2, (1, 0)),
    ("max", (1, 2, 2, 0), 2, (0, 1, 0, 0)),
    ("max", (nan, 1), nan, (1, 0)),
    ("max", (1, nan), nan, (0, 1)),
    ("max", (-inf, -inf), -inf, (1, 0)),
    ("max", (0.0, -0.0), 0, (1, 0)),
    ("relu", (0,), 0, (0,)),
    ("relu", (-0.0,), 0, (0,)),
    ("relu", (nan,), nan, (0,)),
    ("relu", (inf,), inf, (1,)),
    ("abs", (0,), 0, (0,)),
    ("abs", (-inf,), inf, (-1,)),
    ("sqrt", (0,), 0, (inf,)),
    ("sqrt", (inf,), inf, (0,)),
    ("log", (0,), -inf, (inf,)),
    ("log", (5e-324,), math.log(5e-324), (inf,)),
    ("reciprocal", (0,), inf, (-inf,)),
    ("reciprocal", (inf,), 0, (0,)),
    ("div", (1e200, 1e200), 1, (1e-200, -1e-200)),
    ("div", (0, 2), 0, (0.5, 0)),
    ("div", (1, 0), inf, (inf, -inf)),
    ("pow", (2, 0), 1, (0, math.log(2))),
    ("pow", (0, 0), 1, (0, 0)),
    ("pow", (0, 2), 0, (0, 0)),
    ("pow", (0, 1), 0, (1, 0)),
    ("pow", (-2, 3), -8, (12, nan)),
    ("pow", (-2, 2), 4, (-4, nan)),
    ("pow", (0, 0.5), 0, (inf, 0)),
    ("mul", (0, 0), 0, (0, 0)),
    ("mul", (0, 0, 3), 0, (0, 0, 0)),
    ("mul", (0, 2, 3), 0, (6, 0, 0)),
    ("mul", (1e200, 1e-200, 2), 2, (2e-200, 2e200, 1)),
    ("mul_no_nan", (0, inf), 0, (inf, 0)),
    ("mul_no_nan", (0, nan), 0, (nan, 0)),
    ("exp", (1000,), inf, (inf,)),
    ("exp", (-1000,), 0, (0,)),
    ("sigmoid", (0,), 0.5, (0.25,)),
    ("sigmoid", (1000,), 1, (0,)),
    ("sigmoid", (-1000,), 0, (0,)),
    ("sigmoid", (-700,), math.exp(-700), (math.exp(-700),)),
    ("tanh", (1000,), 1, (0,)),
    ("tanh", (1e-200,), 1e-200, (1,)),
    ("softplus", (0,), math.log(2), (0.5,)),
    ("softplus", (1000,), 1000, (1,)),
    ("softplus", (-1000,), 0, (0,)),
    ("softplus", (-700,), math.exp(-700), (math.exp(-700),)),
    ("where", (True, 1, nan), 1, (1, 0)),
    ("where", (False, inf, 2), 2, (0, 1)),
    ("log_softmax", ([1000.0, 0.0],), [0, -1000], ([-1, 1],)),
    ("log_softmax", ([-1e200, 1e200],), [-2e200, 0], ([1, -1],)),
    ("softmax", ([1000.0, -1000.0],), [1, 0], ([0, 0],)),
    ("square", (1e200,), inf, (2e200,)),
    ("hypot", (0, 0), 0, (0, 0)),
    ("hypot", (3e200, 4e200), 5e200, (0.6, 0.8)),
    ("hypot", (3e-200, 4e-200), 5e-200, (0.6, 0.8)),
    ("mod", (-7, 3), 2, (1, 3)),
    ("mod", (7, -3), -2, (1, 3)),
    ("floor", (-0.5,), -1, ()),
    ("ceil", (-0.5,), 0, ()),
    ("round", (2.5,), 2, ()),
    ("round", (-1.5,), -2, ()),
    ("expm1", (1e-20,), 1e-20, (1,)),
    ("expm1", (1000,), inf, (inf,)),
    ("expm1", (-50,), math.expm1(-50), (math.exp(-50),)),
    ("log1p", (1e-20,), 1e-20, (1,)),
    ("log1p", (-1,), -inf, (inf,)),
    ("log_add_exp", (1000, 1000), 1000 + math.log(2), (0.5, 0.5)),
    ("log_add_exp", (-1000, 1000), 1000, (0, 1)),
    ("log_add_exp", (-inf, -inf), -inf, (0.5, 0.5)),
    ("log_add_exp", (-inf, 0), 0, (0, 1)),
    ("log_add_exp", (inf, 0), inf, (1, 0)),
    ("erf", (10,), 1, (2 / math.sqrt(math.pi) * math.exp(-100),)),
    ("erfc", (10,), 2.088487583762545e-45, (-2 / math.sqrt(math.pi) * math.exp(-100),)),
    ("lgamma", (1,), 0, (-0.5772156649015329,)),
    ("lgamma", (0,), inf, (-inf,)),
    ("tan", (0,), 0, (1,)),
    ("asin", (1,), math.pi / 2, (inf,)),
    ("acos", (-1,), math.pi, (-inf,)),
    ("atan", (1e200,), math.pi / 2, (0,)),
    ("atan", (0,), 0, (1,)),
    ("atan2", (0, 0), 0, (0, 0)),
    ("atan2", (0, -1), math.pi, (-1, 0)),
    ("atan2", (3e-200, 4e-200), math.atan2(3, 4), (1.6e199, -1.2e199)),
    ("atan2", (3e200, 4e200), math.atan2(3, 4), (1.6e-201, -1.2e-201)),
    ("sinh", (-1000,), -inf, (inf,)),
    ("cosh", (0,), 1, (0,)),
    ("asinh", (1e200,), math.asinh(1e200), (1e-200,)),
    ("acosh", (1,), 0, (inf,)),
    ("atanh", (1,), inf, (inf,)),
    ("sinc", (0,), 1, (0,)),
    ("sinc", (1e-200,), 1, (-math.pi**2 / 3 * 1e-200,)),
    ("log_sigmoid", (-1000,), -1000, (1,)),
    ("log_sigmoid", (1000,), 0, (0,)),
    ("log_sigmoid", (0,), -math.log(2), (0.5,)),
    ("leaky_relu", (0,), 0, (0.01,)),
    ("prelu", (0, 0.25), 0, (0.25, 0)),
    ("elu", (1000,), 1000, (1,)),
    ("elu", (-1000,), -1, (0,)),
    ("elu", (0,), 0, (1,)),
    ("selu", (1000,), 1050.7009873554805, (1.0507009873554805,)),
    ("celu", (-1000,), -1, (0,)),
    ("gelu", (1000,), 1000, (1,)),
    ("softsign", (0,), 0, (1,)),
    ("softsign", (1e200,), 1, (0,)),
    ("swish", (-1000,), 0, (0,)),
    ("swish", (1000,), 1000, (1,)),
    ("mish", (1000,), 1000, (1,)),
    ("mish", (-1000,), 0, (0,)),
    ("hard_sigmoid", (2.5,), 1, (0.2,)),
    ("hard_sigmoid", (-2.5,), 0, (0.2,)),
    ("hard_swish", (3,), 3, (1,)),
    ("hard_swish", (-3,), 0, (0,)),
    ("thresholded_relu", (1,), 0, (0,)),
    ("reduce_prod", ([0.0, 2.0, 3.0],), 0, ([6, 0, 0],)),
    ("reduce_prod", ([0.0, 2.0, 0.0],), 0, ([0, 0, 0],)),
    ("reduce_prod", ([1e200, 1e-200, 3.0],), 3, ([3e-200, 3e200, 1],)),
    ("reduce_prod", ([],), 1, ([],)),
    ("cum_prod", ([2.0, 0.0, 3.0],), [2, 0, 0], ([1, 8, 0],)),
    ("cum_sum", ([1.0, 2.0, 3.0],), [1, 3, 6], ([3, 2, 1],)),
    ("reduce_min", ([3.0, 1.0, 1.0],), 1, ([0, 1, 0],)),
    ("reduce_l1", ([0.0, -2.0],), 2, ([0, -1],)),
    ("reduce_l2", ([0.0, 0.0],), 0, ([0, 0],)),
    ("reduce_l2", ([3e200, -4e200],), 5e200, ([0.6, -0.8],)),
    ("reduce_l2", ([3e-200, -4e-200],), 5e-200, ([0.6, -0.8],)),
    ("reduce_l2", ([inf, 1.0],), inf, ([nan, 0],)),
    ("reduce_log_sum_exp", ([1000.0, 1000.0],), 1000 + math.log(2), ([0.5, 0.5],)),
    ("reduce_log_sum_exp", ([-inf, -inf],), -inf, ([nan, nan],)),
    ("reduce_log_sum_exp", ([-inf, 0.0],), 0, ([0, 1],)),
    ("reduce_var", ([2.0, 2.0],), 0, ([0, 0],)),
    ("reduce_std", ([2.0, 2.0],), 0, ([0, 0],)),
    ("reduce_std", ([1.0, 3.0],), 1, ([-0.5, 0.5],)),
    ("reduce_max", ([1.0, 3.0, 3.0],), 3, ([0, 1, 0],)),
    ("reduce_max", ([1.0, nan, 3.0],), nan, ([0, 1, 0],)),
]


@pytest.mark.parametrize(("gate", "operands", "value", "gradients"), POINTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_points(gate, operands, value, gradients, dtype):
    everything = np.abs(np.concatenate([np.ravel(x) for x in (*operands, value, *gradients)]).astype(np.float64))
    if dtype == np.float32 and np.any(((everything > 0) & (everything < 1e-37)) | ((everything > 1e38) & (everything < inf))):
        pytest.skip("beyond the range of float32")
    out, contributions = pull(gate, *operands, dtype=dtype)
    tolerance = 2e-15 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(out, value, rtol=tolerance)
    for found, expected in zip(contributions, gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance)
        assert np.asarray(found).dtype == dtype


def test_gelu_is_exact_far_below_0():
    """Φ(-10) is 7.6e-24; the error is that of rounding x/√2, 100 times what it was."""
    below = 7.619853024160525e-24
    value, (slope,) = pull("gelu", -10)
    assert float(value) == pytest.approx(-10 * below, rel=2e-14)
    assert float(slope) == pytest.approx(below - 10 * math.exp(-50) / math.sqrt(2 * math.pi), rel=2e-14)


def test_shared_ties_split_evenly():
    assert pull("max", 2, 2, 2, 1, ties="share")[1] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    _, (gradient,) = pull("reduce_max", [3.0, 1.0, 3.0], ties="share")
    np.testing.assert_array_equal(gradient, [0.5, 0, 0.5])


def test_ties_over_several_axes_go_to_the_first_in_row_major_order():
    _, (gradient,) = pull("reduce_max", [[[0.0, 5.0], [5.0, 0.0]], [[5.0, 5.0], [1.0, 5.0]]], axis=[0, 2], g=[1.0, 1.0])
    np.testing.assert_array_equal(gradient, [[[0, 1], [1, 0]], [[0, 0], [0, 0]]])


@pytest.mark.parametrize(("x", "slope"), [(-2, 0), (-1, 1), (0, 1), (1, 1), (2, 0)])
def test_clip_at_a_bound_is_1(x, slope):
    assert pull("clip", x, min=-1.0, max=1.0)[1] == [slope]


@pytest.mark.parametrize(("gate", "x"), [("sqrt", 0.0), ("log", 0.0), ("log", -1.0), ("reciprocal", 0.0),
                                        ("exp", 1000.0)])
def test_a_dead_branch_sends_nothing_back_however_steep_it_is(gate, x):
    """As in where(x > 0, sqrt(x), 0): an upstream gradient of 0 stays 0, also where the slope is infinite or NaN."""
    assert pull(gate, x, g=0.0)[1] == [0.0]


def test_a_dead_quotient_and_power_send_nothing_back():
    assert pull("div", 1.0, 0.0, g=0.0)[1] == [0.0, 0.0]
    assert pull("div", nan, 0.0, g=0.0)[1] == [0.0, 0.0]
    assert pull("pow", -1.0, 0.5, g=0.0)[1] == [0.0, 0.0]


def test_repeated_indices_add_up():
    row, op = GATES["gather"], Vocabulary(np, GATES)
    x, indices = np.arange(3.0), np.array([1, 1, -2])
    sent = row.contributions(op, np.array([1.0, 10.0, 100.0]), x[indices], [x, indices], [True, False], {"axis": 0})
    np.testing.assert_array_equal(sent[0], [0, 111, 0])


@pytest.mark.parametrize("shape", [(10_000_000, 1), (1, 10_000_000), (10_000_000,)])
def test_long_float32_sums_keep_their_digits(shape):
    """Along axis 0, NumPy itself adds one float32 to another, and stops at 2^24."""
    x = np.full(shape, 0.1, np.float32)
    exact = 1e7 * float(np.float32(0.1))
    assert float(np.max(pull("reduce_sum", x, dtype=np.float32, axis=int(np.argmax(shape)))[0])) == pytest.approx(exact, rel=1e-6)
    assert float(pull("reduce_mean", x, dtype=np.float32)[0]) == pytest.approx(exact / 1e7, rel=1e-6)
    like = np.zeros((1,) * len(shape), np.float32)
    total = GATES["sum_to_like"].forward(np, x, like)
    assert float(total.ravel()[0]) == pytest.approx(exact, rel=1e-6)
    assert total.dtype == np.float32


def test_softmax_of_large_numbers_agrees_with_high_precision():
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    xs = [1000.5, 999.25, 1001.125]
    powers = [Decimal(x).exp() for x in xs]
    exact = [float(p / sum(powers)) for p in powers]
    np.testing.assert_allclose(pull("softmax", xs)[0], exact, rtol=1e-14)
    np.testing.assert_allclose(pull("log_softmax", xs)[0], np.log(exact), rtol=1e-13)


def test_integers_are_computed_exactly():
    assert GATES["add"].forward(np, np.int64(2**60), np.int64(1)) == 2**60 + 1
    assert GATES["reduce_sum"].forward(np, np.full(3, 2**60, np.int64), axis=None, keepdims=False) == 3 * 2**60


@pytest.mark.parametrize("indices", [[3], [0, -4]])
def test_indices_out_of_range_are_errors(indices):
    with pytest.raises(IndexError, match=rf"index {indices[-1]} is out of range for axis 0 of size 3"):
        GATES["gather"].forward(np, np.arange(3.0), np.array(indices), axis=0)
