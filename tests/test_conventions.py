"""The conventions of the numbers: what is promised at ties, kinks, zeros and the ends of the range of floats."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from typing import Any

import jax
import numpy as np
import pytest
from mpmath import mp

import circuitflow as cf
from circuitflow.gates import GATES
from circuitflow.interpreter.vocabulary import Vocabulary
from support.accuracy import HEADING
from support.edge_points import POINTS, WHY, WHY_AT_NAN, equal, in_jax, in_torch, inf, nan, page, pull, reason
from support.libraries import namespace
from support.slices import family_of
from support.suite import ROOT

PAGE = ROOT / "docs" / "conventions.md"
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None,
                                 reason="torch is not installed: it is too large to be a dependency of the tests")


def test_there_are_enough_points():
    assert len(POINTS) >= 173 + 100


@pytest.mark.sliced(by=["gate"], gate=family_of, times=2)
@pytest.mark.parametrize(("gate", "operands", "value", "gradients"), POINTS)
def test_where_we_differ_from_jax_there_is_a_reason(gate, operands, value, gradients):
    assert equal(pull(gate, *operands), in_jax(gate, operands)) or reason(gate, operands)


@pytest.mark.sliced(by=["gate"])
@needs_torch
@pytest.mark.parametrize(("gate", "operands", "value", "gradients"), POINTS)
def test_where_we_differ_from_torch_there_is_a_reason(gate, operands, value, gradients):
    assert equal(pull(gate, *operands), in_torch(gate, operands)) or reason(gate, operands)


@needs_torch
@pytest.mark.long
def test_the_page_of_conventions_is_current():
    """Checked with the versions that it names: others may have other edges."""
    import torch

    version = torch.__version__.partition("+")[0]
    text, heading, rest = PAGE.read_text(encoding="utf-8").partition(HEADING)
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        text = "\n".join([*page(version), "", ""])
        PAGE.write_text(text + heading + rest, encoding="utf-8")
    if f"JAX {jax.__version__}, torch {version}." not in text:
        pytest.skip("the page was written with other versions of JAX and torch")
    assert text == "\n".join([*page(version), "", ""])


def test_the_page_has_every_row_once_and_whole():
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = [line for line in part.splitlines() if line.startswith("|") and not line.startswith("|---")]
        assert len(rows) == len(set(rows))
        assert len({row.count("|") for row in rows}) == 1


@pytest.mark.long
@needs_torch
def test_every_reason_is_needed():
    differing = {(gate, reason(gate, operands)) for gate, operands, _, _ in POINTS
                 if not all(equal(pull(gate, *operands), theirs)
                            for theirs in (in_jax(gate, operands), in_torch(gate, operands)))}
    assert {*WHY.items(), *WHY_AT_NAN.items()} <= differing


@pytest.mark.parametrize(("gate", "operands", "value", "gradients"), POINTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_points(gate, operands, value, gradients, dtype):
    everything = np.abs(np.concatenate([np.ravel(x) for x in (*operands, value, *gradients)]).astype(np.float64))
    if dtype == np.float32 and np.any(((everything > 0) & (everything < 1e-37))
                                      | ((everything > 1e38) & (everything < inf))):
        pytest.skip("beyond the range of float32")
    if dtype == np.float32 and any(is_neighbour(x) for operand in operands for x in np.ravel(operand)):
        pytest.skip("float32 has no such number beside the kink")
    out, contributions = pull(gate, *operands, dtype=dtype)
    tolerance = 2e-15 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(out, value, rtol=tolerance)
    for found, expected in zip(contributions, gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance)
        assert np.asarray(found).dtype == dtype


def is_neighbour(x: Any) -> bool:
    """Whether a number is beside one of few digits."""
    return bool(0 < abs(float(x) - float(np.float32(x))) < 1e-14 * abs(float(x)))


def test_gelu_is_exact_far_below_0():
    """Φ(-10) is 7.6e-24; the error is that of rounding x/√2, 100 times what it was."""
    below = 7.619853024160525e-24
    value, (slope,) = pull("gelu", -10)
    assert float(value) == pytest.approx(-10 * below, rel=2e-14)
    assert float(slope) == pytest.approx(below - 10 * math.exp(-50) / math.sqrt(2 * math.pi), rel=2e-14)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("n", range(5))
def test_polygamma_far_below_0_is_exact_and_quick(library, n):
    """There is no sum of a term for every unit. In the middle between poles the cotangent is 0, and its slope is -1."""
    xp = library_of(library)
    with np.errstate(all="ignore"):
        found = float(GATES["polygamma"].forward(xp, xp.asarray(-1e7 - 0.5, dtype=xp.float64), n=n))
    middle = [0, mp.pi**2, 0, 2 * mp.pi**4, 0][n]
    assert found == pytest.approx(float(middle + (-1) ** n * mp.psi(n, 1e7 + 1.5)), rel=1e-14)


@pytest.mark.parametrize("zero", range(5))
def test_a_product_with_a_zero_beside_an_overflow_is_right_to_second_order(zero):
    """The slope of the slope is not masked: ∂²/∂x_zero∂x_i is the product of the others."""
    xs = [1e200, 1e200, 1e200, 2.0, 3.0]
    xs[zero] = 0.0
    names = [f"x{i}" for i in range(5)]
    document = {"circuitflow": "1.0",
                "nodes": [*({"id": name, "gate": "input", "value": x} for name, x in zip(names, xs, strict=True)),
                                                {"id": "f", "gate": "mul", "inputs": names}], "outputs": ["f"]}
    first = cf.gradient(cf.loads(json.dumps(document)), wrt=names)
    others = [math.prod(xs[:zero] + xs[zero + 1 :]) if i == zero else 0 for i in range(5)]
    assert list(cf.Executor(first).forward().outputs.values()) == others
    second = cf.gradient(first, of=[f"dx{(zero + 1) % 5}"], wrt=[names[zero]])
    rest = [x for i, x in enumerate(xs) if i not in (zero, (zero + 1) % 5)]
    assert list(cf.Executor(second).forward().outputs.values()) == [math.prod(rest)]


@pytest.mark.parametrize(("gate", "attributes", "x", "value", "slope"), [
    ("swish", {"alpha": 2.0}, -inf, 0, 0), ("swish", {"alpha": 2.0}, inf, inf, 1),
    ("swish", {"alpha": -1.5}, -inf, -inf, 1),
    ("swish", {"alpha": -1.5}, inf, 0, 0), ("swish", {"alpha": 0.0}, -inf, -inf, 0.5),
    ("swish", {"alpha": 0.0}, 3, 1.5, 0.5),
    ("swish", {"alpha": -1.5}, -2, -2 / (1 + math.exp(-3)),
     1 / (1 + math.exp(-3)) + 3 * math.exp(-3) / (1 + math.exp(-3)) ** 2),
    ("gelu", {"approximate": "tanh"}, -inf, 0, 0), ("gelu", {"approximate": "tanh"}, inf, inf, 1),
    ("polygamma", {"n": 0}, inf, inf, 0), ("polygamma", {"n": 3}, inf, 0, 0)])
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_limits_with_other_attributes(gate, attributes, x, value, slope, library):
    xp, row = library_of(library), GATES[gate]
    x = xp.asarray([x] * 3, dtype=xp.float64)
    with np.errstate(all="ignore"):
        out = row.forward(xp, x, **attributes)
        (sent,) = row.contributions(Vocabulary(xp, GATES), xp.ones_like(x), out, [x], [True], attributes)
    np.testing.assert_allclose(np.asarray(out), [value] * 3, rtol=2e-15)
    np.testing.assert_allclose(np.asarray(sent), [slope] * 3, rtol=2e-15)


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
    assert float(np.max(pull("reduce_sum", x, dtype=np.float32,
                             axis=int(np.argmax(shape)))[0])) == pytest.approx(exact, rel=1e-6)
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


def library_of(name: str) -> Any:
    return np if name == "numpy" else namespace(name)


SPECIAL = [-math.inf, -2.5, -2.0, -1.0, -0.5, -5e-324, -0.0, 0.0, 5e-324, 1e-310, 0.5, 1.0, 1.5, 3.0, math.inf,
           math.nan]


def c_pow(x: float, y: float) -> float:
    """`math.pow`, which is IEEE's but for what it raises."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        odd = y % 2 == 1
        return math.copysign(math.inf, x) if x == 0 and odd else math.inf if x == 0 else math.nan


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (5,)])
def test_a_power_is_that_of_ieee(library, dtype, shape):
    xp = library_of(library)
    kind = getattr(xp, dtype)
    for x in SPECIAL:
        for y in SPECIAL:
            if (dtype == "float32" or library == "jax") and any(0 < abs(v) < 1e-300 for v in (x, y)):
                continue  # 0 there
            with np.errstate(all="ignore"):
                found = np.asarray(GATES["pow"].forward(xp, xp.asarray(np.full(shape, x).tolist(), dtype=kind),
                                                        xp.asarray(y, dtype=kind)))
            expected = c_pow(x, y)
            np.testing.assert_allclose(found, np.full(shape, expected), rtol=1e-6 if dtype == "float32" else 1e-14,
                                       err_msg=f"{x}^{y}")
            if expected == 0:
                assert np.all(np.signbit(found) == (math.copysign(1, expected) < 0)), f"{x}^{y}"


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lgamma_near_zero_and_at_its_ends(library, dtype):
    xp = library_of(library)
    points = [5e-324, -5e-324, 1e-310, -1e-310, 3e-308, 1e-301, 1e-299, -1e-200, 1e-46, 1e-40, -1e-40, 1e-30, 1e-3, 2.5,
              -1.5, 170.0, math.inf]
    for x in map(float, np.asarray(points, dtype)):
        if x == 0 or (library == "jax" and abs(x) < np.finfo(dtype).tiny):  # XLA takes subnormal numbers for 0
            continue
        with np.errstate(all="ignore"):
            found = np.asarray(GATES["lgamma"].forward(xp, xp.asarray(x, dtype=getattr(xp, dtype))))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, math.lgamma(x), rtol=2e-6 if dtype == "float32" else 1e-13, err_msg=str(x))
    for x, expected in ((0.0, math.inf), (-0.0, math.inf), (-math.inf, math.inf), (math.nan, math.nan)):
        with np.errstate(all="ignore"):
            found = np.asarray(GATES["lgamma"].forward(xp, xp.asarray(x, dtype=getattr(xp, dtype))))
        np.testing.assert_array_equal(found, np.asarray(expected, dtype))
