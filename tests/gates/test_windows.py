"""Windows in each of the ways in which they are laid out: slices, positions, a view."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import GATES, sliding
from circuitflow.gates.convolution import FEW, MANY, Frame
from circuitflow.interpreter.libraries import JaxNumpy
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


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("strides", [None, [1, 1], [2, 1], [2, 3]])
@pytest.mark.parametrize("pads", [None, [[0, 0], [0, 0]], [[1, 0], [0, 2]]])
def test_a_window_of_one_element(strides, pads, group):
    """Without pads it is a view of x, which nothing may write into."""
    random = np.random.RandomState(1)
    x, w = random.standard_normal((2, 4, 5, 6)), random.standard_normal((6, 4 // group, 1, 1))
    made = circuit({"id": "x", "gate": "input", "shape": [2, 4, 5, 6]},
                   {"id": "w", "gate": "input", "shape": [6, 4 // group, 1, 1]},
                   {"id": "c", "gate": "conv", "inputs": ["x", "w"], "group": group,
                    **{key: value for key, value in (("strides", strides), ("pads", pads)) if value}},
                   "f = reduce_sum_square(c)")

    def of(x, w):
        out = jax.lax.conv_general_dilated(x, w, strides or (1, 1), pads or [(0, 0)] * 2, feature_group_count=group)
        return jnp.sum(out * out)

    expected, slopes = jax.value_and_grad(of, (0, 1))(x, w)
    kept = x.copy()
    for engine in ("interpreter", "staged"):
        value, gradients = cf.Executor(made).compile(engine=engine)(x=x, w=w)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for name, slope in zip("xw", slopes, strict=True):
            np.testing.assert_allclose(gradients[name], slope, rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(x, kept)


# Convolutions and pools -----------------------------------------------------------------------------------------------

LAID_OUT = [  # shape, kernels, group and steps
    ((2, 4, 9), (6, 4, 3), 1, {}), ((1, 6, 7, 5), (4, 3, 3, 2), 2, {"pads": [[1, 2], [0, 1]]}),
    ((2, 4, 7, 8), (8, 1, 3, 3), 4, {"pads": [[1, 1], [1, 1]]}), ((3, 1, 8, 9), (5, 1, 3, 3), 1, {}),
    ((1, 4, 8, 9), (4, 1, 2, 3), 4, {"strides": [2, 3], "pads": [[0, 1], [2, 0]]}),
    ((2, 3, 9, 8), (2, 3, 3, 2), 1, {"strides": [1, 2], "dilations": [2, 3]}),
    ((1, 2, 5, 1, 6), (3, 2, 3, 1, 2), 1, {"dilations": [2, 1, 3]}),
    ((2, 3, 4, 4), (2, 3, 1, 1), 1, {"pads": [[1, 0], [1, 0]]}),
    ((0, 4, 5, 5), (2, 4, 3, 3), 1, {}), ((1, 2, 40), (2, 1, MANY), 2, {}), ((1, 2, 40), (2, 1, MANY + 1), 2, {}),
    ((1, 3, 40), (20, 3, 3), 1, {"pads": [[1, 1]]}),
]


def library(name):
    """What a run of arrays of a library computes with."""
    return np if name == "numpy" else JaxNumpy()


def convolved(x, w, group, **steps):
    """By definition, in float64."""
    windows = by_definition(np.asarray(x, np.float64), list(w.shape[2:]), 0.0, **steps)
    rank, (out, inner) = x.ndim - 2, w.shape[:2]
    windows = windows.reshape(len(x), group, inner, *windows.shape[2:])
    kernels = np.asarray(w, np.float64).reshape(group, out // group, *w.shape[1:], *(1,) * rank)
    products = windows[:, :, None] * kernels[None]
    sums = products.sum(axis=tuple(range(3, 4 + rank)))
    return sums.reshape(len(x), out, *sums.shape[3:])


def layouts(x):
    """The same numbers in other orders of memory."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    back = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    swapped = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    return {"C": x, "F": np.asfortranarray(x), "every other": wide[..., ::2], "backwards": back,
            "channels last": np.moveaxis(swapped, -1, 1), "other bytes": x.astype(x.dtype.newbyteorder())}


@pytest.mark.parametrize("sizes", [(1, 1), (200, 1), (200, 7), (1 << 20, 512)], ids=str)
@pytest.mark.parametrize(("shape", "kernels", "group", "steps"), LAID_OUT, ids=str)
def test_convolutions_in_blocks_are_those_of_the_definition(shape, kernels, group, steps, sizes, monkeypatch):
    """With one position a block, or some groups, some positions, or all of them."""
    monkeypatch.setattr(sliding, "BLOCK", sizes[0])
    monkeypatch.setattr(sliding, "COLUMNS", sizes[1])
    monkeypatch.setattr(sliding, "_layout", sliding._layout.__wrapped__)  # that of other sizes is kept
    random = np.random.default_rng(0)
    forward, steps = GATES["conv"].forward, {**STEPS, **steps}
    for dtype, rtol in (("float32", 1e-5), ("float64", 1e-13)):
        x, w = random.standard_normal(shape).astype(dtype), random.standard_normal(kernels).astype(dtype)
        expected = convolved(x, w, group, **steps)
        for name, given in layouts(x).items():
            kept = given.copy()
            found = forward(np, given, w, group=group, **steps)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol, rtol * 4, err_msg=name)
            np.testing.assert_array_equal(given, kept)


@pytest.mark.parametrize(("name", "shape", "kernels", "group", "steps"), [
    *(("numpy", *case) for case in LAID_OUT), *(("jax", *case) for case in LAID_OUT[3:5])], ids=str)
def test_what_is_not_finite_reaches_what_the_definition_says(name, shape, kernels, group, steps):
    """Also a pad times an infinite weight, which is NaN."""
    xp, forward, steps = library(name), GATES["conv"].forward, {**STEPS, **steps}
    random = np.random.default_rng(0)
    x, w = random.standard_normal(shape), random.standard_normal(kernels)
    w.flat[-1] = -np.inf
    for places, number in ((x[..., :1], np.nan), (x[..., -1:], np.inf), (w[:1, :1], np.inf)):
        before = places.copy()
        places[...] = number
        with np.errstate(all="ignore"):
            expected, found = convolved(x, w, group, **steps), forward(xp, xp.asarray(x), xp.asarray(w), group=group,
                                                                       **steps)
        np.testing.assert_allclose(np.asarray(found), expected, 1e-12, 1e-12)
        places[...] = before


@pytest.mark.parametrize("kept", [0, 1 << 24])
def test_no_result_lies_in_memory_that_is_kept(kept, monkeypatch):
    """Also in threads, of which each keeps its own."""
    monkeypatch.setattr(sliding, "KEPT", kept)
    monkeypatch.setattr(sliding, "_OWN", threading.local())
    forward, random = GATES["conv"].forward, np.random.default_rng(0)
    made = []
    for shape, kernels, group, steps in LAID_OUT * 2:
        x, w = random.standard_normal(shape), random.standard_normal(kernels)
        made.append((x, w, group, {**STEPS, **steps}))

    def run(cases):
        return [forward(np, x, w, group=group, **steps) for x, w, group, steps in cases]

    orders = [made, made[::-1], made]
    with ThreadPoolExecutor(3) as pool:
        for ours, found in zip([made, *orders], (run(made), *pool.map(run, orders)), strict=True):
            for (x, w, group, steps), result in zip(ours, found, strict=True):
                np.testing.assert_allclose(result, convolved(x, w, group, **steps), 1e-12, 1e-12)
    memory = getattr(sliding._OWN, "memory", None)
    assert (memory is not None) == bool(kept)
    assert not any(np.shares_memory(result, memory) for result in run(made) if memory is not None)


def test_images_with_rows_of_weights_that_are_one_number():
    x, w = np.random.default_rng(0).standard_normal((1, 6, 7, 5)), np.broadcast_to(np.float64(0.1), (6, 1, 3, 3))
    found = GATES["conv"].forward(np, x, w, group=6, **STEPS)
    np.testing.assert_allclose(found, convolved(x, w, 6, **STEPS), 1e-12)


@pytest.mark.parametrize("name", ["numpy", "jax"])
@pytest.mark.parametrize(("shape", "kernel", "steps"), [
    *CASES, ((2, 3, 5, 4), [1, 1], {}), ((2, 3, 5, 4), [1, 1], {"strides": [2, 3]}),
    ((2, 1, 5, 6), [3, 2], {"strides": [1, 2], "pads": [[2, 1], [0, 1]], "dilations": [2, 1]})], ids=str)
def test_the_largest_of_windows(name, shape, kernel, steps):
    xp, steps = library(name), {**STEPS, **steps}
    x = np.random.default_rng(0).integers(-3, 3, shape) / 2
    x[..., ::3] = -np.inf
    for number in (0.0, np.nan, np.inf):
        x[..., -1:] = number
        windows = by_definition(x, kernel, -np.inf, **steps)
        expected = windows.max(axis=tuple(range(2, 2 + len(kernel))))
        found = GATES["max_pool"].forward(xp, xp.asarray(x), kernel_shape=kernel, **steps)
        np.testing.assert_array_equal(np.asarray(found), expected)
    if name == "numpy":
        assert not np.shares_memory(found, x)


@pytest.mark.parametrize("engine", ["interpreter", "staged", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "kernels", "group", "steps"), LAID_OUT[1:6], ids=str)
def test_engines_give_the_same_convolution_and_pool(engine, dtype, shape, kernels, group, steps):
    c = circuit({"id": "x", "gate": "input", "shape": list(shape), "dtype": dtype},
                {"id": "w", "gate": "input", "shape": list(kernels), "dtype": dtype},
                {"id": "b", "gate": "input", "shape": [kernels[0]], "dtype": dtype},
                {"id": "c", "gate": "conv", "inputs": ["x", "w", "b"], "group": group, **steps},
                {"id": "m", "gate": "max_pool", "inputs": ["c"], "kernel_shape": [1] * (len(shape) - 2)},
                "f = reduce_sum_square(m)")
    random = np.random.default_rng(0)
    given = {name: random.standard_normal(c.nodes[name].types[0].shape).astype(dtype) for name in "xwb"}
    out = convolved(given["x"], given["w"], group, **{**STEPS, **steps})
    bias = given["b"].astype(float).reshape(-1, *(1,) * (len(shape) - 2))
    value, gradients = cf.Executor(c).compile(engine=engine)(given)
    rtol = 2e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(value, np.sum((out + bias) ** 2), rtol)
    np.testing.assert_allclose(gradients["b"], 2 * (out + bias).sum(axis=(0, *range(2, out.ndim))), rtol, rtol * 100)
