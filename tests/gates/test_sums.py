"""Every gate that adds up keeps its digits: in float32 as in float64 to 1e-6, with any library, on every engine."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.program.functions import long_product
from circuitflow.export.dialect import HELPERS
from circuitflow.gates import GATES, sums
from circuitflow.gates.sums import FEW, MATRIX, VECTOR, longest, product
from circuitflow.interpreter.libraries import JaxNumpy
from support.exported import function_of
from support.libraries import namespace

TENTH = np.float32(0.1)
MANY = 10**7
LONG = 3 * MATRIX + 5
"""Longer than each threshold, and no multiple of it."""


def forward(gate, *xs, xp=np, **attributes):
    return GATES[gate].forward(xp, *xs, **{**GATES[gate].defaults, **attributes})


def error(found, expected, least=1e-300):
    """The largest error beside the largest number."""
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    assert found.shape == expected.shape
    return np.max(np.abs(found - expected), initial=0.0) / np.max(np.abs(expected), initial=least)


def arrays(xp, *xs):
    return [xp.asarray(x) for x in xs]


LIBRARIES = [*(name for name in ("numpy", "torch", "jax", "array_api_strict"))]


def library(name):
    return np if name == "numpy" else JaxNumpy() if name == "jax" else namespace(name)


# Products, in every arrangement ---------------------------------------------------------------------------------------

SIZES = [2, VECTOR, VECTOR + 1, 2 * VECTOR, 2 * VECTOR + 1, MATRIX, MATRIX + 1, LONG]
SHAPES = [(1, 1), (1, 3), (3, 1), (FEW - 1, FEW), (FEW, FEW), (FEW + 1, 40)]


def laid_out(x, layout):
    """A matrix of equal numbers, laid out in memory in some way."""
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "strided":
        wide = np.zeros((2 * x.shape[0], 3 * x.shape[1]), x.dtype)
        wide[::2, ::3] = x
        return wide[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    return np.broadcast_to(x.ravel()[0], x.shape) if layout == "broadcast" else x


def limit(rows, size, columns):
    """Beyond the longest that goes in one it is ours, else the library's."""
    return 1e-6 if size > longest(rows, columns) or size == 2 else 2e-5


@pytest.mark.parametrize("layout", ["in rows", "transposed", "strided", "reversed", "broadcast"])
@pytest.mark.parametrize("size", SIZES)
def test_products_near_every_threshold(size, layout):
    for rows, columns in SHAPES:
        for other in (TENTH, np.float32(1)):
            a, b = (laid_out(np.full(*x), layout) for x in (((rows, size), TENTH), ((size, columns), other)))
            exact = np.full((rows, columns), size * float(TENTH) * float(other))
            for x, y in ((a, b), (a, np.ascontiguousarray(b)), (np.ascontiguousarray(a), b)):
                found = product(np, x, y)
                assert found.dtype == np.float32
                assert error(found, exact) <= limit(rows, size, columns)


@pytest.mark.sliced
@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("size", SIZES)
def test_products_of_other_libraries(name, size):
    xp = library(name)
    for rows, columns in SHAPES:
        with jax.enable_x64(True):
            a, b = arrays(xp, np.full((rows, size), TENTH), np.ones((size, columns), np.float32))
            found = product(xp, a, b)
        assert str(found.dtype).endswith("float32")
        assert error(found, np.full((rows, columns), size * float(TENTH))) <= limit(rows, size, columns)


@pytest.mark.sliced
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("shapes", [((), (LONG,), (LONG,)), ((), (2, LONG), (LONG,)), ((), (LONG,), (LONG, 2)),
                                    ((5,), (LONG,), (5, LONG, 2)),
                                    ((5,), (5, 1, LONG), (LONG, 3)), ((4, 5), (4, 1, 2, LONG), (5, LONG, 3)),
                                    ((), (20, LONG), (LONG, 20)),
                                    ((2,), (2, 20, LONG), (LONG, 20)), ((0,), (0, 2, LONG), (LONG, 3)),
                                    ((), (0, LONG), (LONG, 3))], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_products_have_the_shape_and_the_numbers_of_matmul(name, shapes, dtype):
    xp, (_, *operands) = library(name), shapes
    if name == "array_api_strict" and dtype == "float16":
        pytest.skip("the standard has no float16")
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(shape).astype(dtype) for shape in operands)
    exact = np.matmul(*(x.astype(np.float64) for x in (a, b)))
    with jax.enable_x64(True):
        found = product(xp, *arrays(xp, a, b))
    assert tuple(found.shape) == exact.shape
    assert str(found.dtype).endswith(dtype)
    np.testing.assert_allclose(np.asarray(found), exact, atol={"float32": 1e-3, "float16": 0.5}[dtype])


def test_short_products_and_those_of_float64_are_the_library_s_own(monkeypatch):
    monkeypatch.setattr(sums, "in_parts", None)
    for dtype, size in ((np.float32, VECTOR), (np.float64, LONG)):
        a, b = np.full((2, size), 0.1, dtype), np.full((size, 3), 0.1, dtype)
        np.testing.assert_array_equal(product(np, a, b), a @ b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_floats_of_16_bits_are_added_up_in_float32(name, dtype):
    """To their last digit, where in 16 bits a sum stops growing at 256 or 2048."""
    xp, size = library(name), 40_000
    kind, eps = getattr(xp, dtype), {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    with jax.enable_x64(True):
        x = xp.asarray(np.full(size, 0.1, np.float32), dtype=kind)
        tenth = float(x[0])
        for found, exact in ((forward("matmul", x, x, xp=xp), size * tenth**2),
                             (forward("einsum", x, xp=xp, equation="i->"), size * tenth),
                             (forward("einsum", x, x, xp=xp, equation="i,i->"), size * tenth**2),
                             (forward("add", *[x[0]] * 3000, xp=xp), 3000 * tenth),
                             (forward("scatter_add", xp.zeros((1,), dtype=kind), xp.zeros(3000, dtype=xp.int64),
                                      x[:3000], xp=xp)[0], 3000 * tenth)):
            assert found.dtype == kind
            assert float(found) == pytest.approx(exact, rel=eps)


def test_floats_of_16_bits_in_numpy():
    x = np.full((40_000, 2), 0.1, np.float16)
    tenth = float(x[0, 0])
    for equation, exact in (("ij->j", 40_000 * tenth), ("ij,ij->j", 40_000 * tenth**2),
                            ("ij,ik->jk", 40_000 * tenth**2)):
        found = forward("einsum", *[x] * equation.partition("->")[0].count("i"), equation=equation)
        assert found.dtype == np.float16
        np.testing.assert_allclose(found, exact, rtol=2**-11)


# Ten million terms ----------------------------------------------------------------------------------------------------

ROW = np.broadcast_to(TENTH, (MANY,))


@pytest.mark.parametrize(("terms", "found"), [
    pytest.param(terms, found, id=f"{i}") for i, (terms, found) in enumerate([
        (MANY, lambda: forward("matmul", ROW.copy(), ROW.copy())),
        (MANY, lambda: forward("matmul", ROW, ROW)),
        (MANY // 2, lambda: forward("matmul", ROW.copy()[::2], ROW.copy()[1::2])),
        (MANY // 2, lambda: forward("matmul", ROW.reshape(-1, 2).copy().T, ROW.reshape(-1, 2).copy())),
        (MANY // 2, lambda: forward("gemm", ROW.reshape(2, -1).copy(), ROW.reshape(2, -1).copy(), trans_b=True)),
        (MANY // 2,
         lambda: forward("einsum", ROW.reshape(2, -1).copy(), ROW.reshape(2, -1).copy(), equation="ij,ij->i")),
        (MANY // 2,
         lambda: forward("einsum", ROW.reshape(-1, 2).copy(), ROW.reshape(-1, 2).copy(), equation="ij,ij->j")),
        (MANY, lambda: forward("einsum", ROW.reshape(-1, 2).copy(), ROW.reshape(-1, 2).copy(), equation="ij,ij->")),
    ])])
def test_ten_million_products(terms, found):
    result = found()
    assert error(result, np.full(result.shape, terms * float(TENTH) ** 2)) <= 1e-6


@pytest.mark.parametrize("found", [
    lambda: forward("einsum", ROW.reshape(-1, 1).copy(), equation="ij->j"),
    lambda: forward("einsum", ROW.reshape(1, -1).copy(), equation="ij->i"),
    lambda: forward("scatter_add", np.zeros(1, np.float32), np.zeros(MANY, np.int64), ROW, axis=0),
    lambda: forward("scatter_elements", np.zeros(1, np.float32), np.zeros(MANY, np.int64), ROW, reduction="add"),
    lambda: forward("scatter_nd", np.zeros(1, np.float32), np.zeros((MANY, 1), np.int64), ROW, reduction="add"),
    lambda: forward("cum_sum", ROW.copy())[-1:],
    lambda: forward("global_average_pool", ROW.reshape(1, 1, -1).copy()) * np.float32(MANY)],
                         ids=["rows", "columns", "slices", "elements", "places", "running", "pool"])
def test_ten_million_terms(found):
    result = found()
    assert result.dtype == np.float32
    assert error(result, np.full(result.shape, MANY * float(TENTH))) <= 1e-6


@pytest.mark.parametrize("gate", ["reduce_mean", "mean"])
def test_a_mean_is_within_the_range_of_its_operands(gate):
    large = np.float32(3e38)
    operands = [np.full(2, large)] if gate == "reduce_mean" else [large, large]
    assert forward(gate, *operands) == large
    image = np.full((1, 1, 2, 2), large)
    assert forward("global_average_pool", image).item() == large
    assert forward("average_pool", image, kernel_shape=[2, 2], count_include_pad=True).item() == large


# Every gate, on every engine, beside itself in float64 ----------------------------------------------------------------

def circuit(dtype, kinds, *gates, seeds=()):
    """A circuit of inputs full of tenths, and of indices that are zeros; its last gate is the output."""
    tenth = float(TENTH)
    nodes = [{"id": name, "gate": "input", "shape": list(shape), "value": {"data": tenth, "shape": list(shape)}}
             for name, shape in kinds.items()]
    nodes += [{"id": name, "gate": "constant", "dtype": "int64", "value": {"data": 0, "shape": list(shape)}} for name,
              shape in dict(seeds).items()]
    nodes += [{"id": f"f{i}" if i < len(gates) - 1 else "f", **gate} for i, gate in enumerate(gates)]
    return cf.loads(json.dumps({"circuitflow": "1.0", "dtype": dtype, "nodes": nodes, "outputs": ["f"]}))


def gate(kind, *inputs, **attributes):
    return {"gate": kind, "inputs": list(inputs), **attributes}


N = 30_000
CASES = {
    "dot": ({"x": (N,), "y": (N,)}, gate("matmul", "x", "y")),
    "rows": ({"x": (2, N), "y": (N,)}, gate("matmul", "x", "y")),
    "columns": ({"x": (N,), "y": (N, 2)}, gate("matmul", "x", "y")),
    "weights": ({"x": (N, 2), "w": (2, 3)}, gate("matmul", "x", "w")),
    "wide weights": ({"x": (N // 4, 16), "w": (16, 17)}, gate("matmul", "x", "w")),
    "weights of a batch": ({"x": (2, N, 1), "w": (1, 2)}, gate("matmul", "x", "w")),
    "gemm": ({"x": (N, 2), "w": (3, N), "c": (3,)}, gate("gemm", "x", "w", "c", trans_a=True, trans_b=True)),
    "outer": ({"x": (N,), "y": (2,)}, gate("outer", "x", "y")),
    **{f"einsum {equation}": ({f"x{i}": tuple(N if letter == "n" else 2 for letter in term) for i,
                               term in enumerate(equation.partition("->")[0].split(","))},
                              gate("einsum", *(f"x{i}" for i in range(equation.count(",") + 1)), equation=equation))
       for equation in ("n->", "nj->j", "jn->j", "nj,nj->j", "jn,jn->j", "jn,kn->jk", "nj,nk->kj", "n,n,n->",
                        "nj,jk,nk->", "n,j->nj", "ijn,ijn->i")},
    "trace": ({"x": (400, 400)}, gate("trace", "x")),
    "average_pool": ({"x": (1, 1, 600)}, gate("average_pool", "x", kernel_shape=[600])),
    "average_pool, all": ({"x": (1, 1, 600)}, gate("average_pool", "x", kernel_shape=[600], count_include_pad=True)),
    "global_average_pool": ({"x": (1, 2, N)}, gate("global_average_pool", "x")),
    "conv, long": ({"x": (1, 1, 700), "w": (1, 1, 700)}, gate("conv", "x", "w")),
    "conv, positions": ({"x": (1, 1, N), "w": (1, 1, 3), "b": (1,)}, gate("conv", "x", "w", "b")),
    "conv, batch": ({"x": (N // 3, 1, 3), "w": (2, 1, 3)}, gate("conv", "x", "w")),
    "conv_transpose": ({"x": (1, 2000, 4), "w": (2000, 1, 3)}, gate("conv_transpose", "x", "w")),
    "fold": ({"x": (1, 1, 400, 401), "like": (1, 1, 800)}, gate("fold", "x", "like", kernel_shape=[400])),
    "softmax": ({"x": (N, 1)}, gate("softmax", "x", axis=0)),
    "log_softmax": ({"x": (N,)}, gate("log_softmax", "x")),
    "mean_squared_error": ({"x": (N,), "t": (N,)}, gate("exp", "x"), gate("mean_squared_error", "f0", "t")),
    "huber": ({"x": (N,), "t": (N,)}, gate("exp", "x"), gate("huber", "f0", "t", reduction="sum")),
    "binary_cross_entropy": ({"x": (N,), "t": (N,)}, gate("binary_cross_entropy", "x", "t")),
    "attention": ({"q": (2, 3), "k": (N, 3), "v": (N, 2)}, gate("attention", "q", "k", "v")),
    "attention, queries": ({"q": (N, 3), "k": (2, 3), "v": (2, 2)}, gate("attention", "q", "k", "v")),
    "cum_sum": ({"x": (N,)}, gate("cum_sum", "x", reverse=True)),
    "add": ({"x": (2,)}, gate("add", *["x"] * 700)),
    "mean": ({f"x{i}": (2,) for i in range(700)}, gate("mean", *(f"x{i}" for i in range(700)))),
    "broadcast": ({"x": (N, 2), "y": (2,)}, gate("mul", "x", "y")),
    "rms_normalization": ({"x": (N,), "scale": (N,)}, gate("rms_normalization", "x", "scale")),
}
INDEXED = {
    "gather": ({"x": (2, 3)}, gate("gather", "x", "i"), {"i": (N,)}),
    "gather, wide": ({"x": (2, 9)}, gate("gather", "x", "i"), {"i": (N // 9,)}),
    "gather, last": ({"x": (9, 2)}, gate("gather", "x", "i", axis=1), {"i": (N // 9,)}),
    "gather_elements": ({"x": (2, 2)}, gate("gather_elements", "x", "i"), {"i": (N, 2)}),
    "gather_nd": ({"x": (2, 2)}, gate("gather_nd", "x", "i"), {"i": (N, 1)}),
    "scatter_add": ({"x": (3,), "u": (2000,)}, gate("scatter_add", "x", "i", "u"), {"i": (2000,)}),
    "negative_log_likelihood_loss": ({"x": (N // 2, 2)}, gate("negative_log_likelihood_loss", "x", "i"),
                                     {"i": (N // 2,)}),
    "softmax_cross_entropy_loss": ({"x": (1, N)}, gate("softmax_cross_entropy_loss", "x", "i"), {"i": (1,)}),
}
UNWRITABLE_BACKWARD = {"fold", "conv", "conv_transpose", "average_pool", "gather", "gather_elements", "gather_nd",
                       "scatter_add"}
ALL = {name: (kinds, gates, {}) for name,
       (kinds, *gates) in CASES.items()} | {name: (kinds, [one], seeds) for name,
                                            (kinds, one, seeds) in INDEXED.items()}


def asked(made, function, put=np.asarray):
    """Value and gradients, for an upstream gradient that not all elements share."""
    shape = made.nodes["f"].types[0].shape
    upstream = np.where(np.arange(np.prod(shape)).reshape(shape) % 2 == 0, 1.0,
                        0.25).astype(made.nodes["f"].types[0].dtype)
    inputs = {name: put(np.array(made.values[name])) for name, node in made.nodes.items() if node.kind == "input"}
    value, gradients = function(inputs, {"f": put(upstream)})
    return [value, *(gradients[name] for name in sorted(inputs))]


def on(engine):
    return lambda made: asked(made, lambda inputs,
                              upstream: cf.Executor(made).compile(engine=engine)(inputs, upstream=upstream))


def in_library(name):
    def run(made):
        with jax.enable_x64(True):
            return asked(made, lambda inputs,
                         upstream: cf.Executor(made).compile(engine="interpreter")(inputs, upstream=upstream),
                         library(name).asarray)
    return run


def exported(made):
    return asked(made, lambda inputs,
                 upstream: function_of(cf.to_python(made))(**inputs,
                                                           **({"df": upstream["f"]} if upstream["f"].ndim else {})))


WAYS = {**{engine: on(engine) for engine in ("interpreter", "staged", "jax")}, "torch": in_library("torch"),
        "jax arrays": in_library("jax"),
        "export": exported}


def takes(way, case):
    if way == "jax":
        # XLA takes a minute for a window of hundreds
        return case not in ("average_pool", "average_pool, all", "conv, long", "fold")
    return way != "export" or not {one["gate"] for one in ALL[case][1]} & UNWRITABLE_BACKWARD


@pytest.mark.sliced(by=["way"], times=2)
@pytest.mark.parametrize(("case", "way"), [(case, way) for case in ALL for way in WAYS if takes(way, case)])
def test_every_gate_that_adds_up(case, way):
    kinds, gates, seeds = ALL[case]
    if way == "torch" and case.startswith("gather"):
        seeds = {name: (min(shape[0], 1000), *shape[1:]) for name, shape in seeds.items()}  # an index at a time
    exact = WAYS["interpreter"](circuit("float64", kinds, *gates, seeds=seeds))
    found = WAYS[way](circuit("float32", kinds, *gates, seeds=seeds))
    for one, other in zip(found, exact, strict=True):
        assert str(one.dtype).endswith("float32")
        # attention to equal keys has no gradient
        assert error(one, other, least=1e-2 * np.max(np.abs(exact[0]))) <= 1e-6


# Sizes that are names -------------------------------------------------------------------------------------------------

def test_a_product_over_a_dimension_without_a_size():
    """Its parts are cut in a run, of a block as of all rows, and in an exported file."""
    def made(dtype):
        return cf.loads(json.dumps({"circuitflow": "1.0", "dtype": dtype, "nodes": [
            {"id": "x", "gate": "input", "shape": ["rows", 2]},
            {"id": "w", "gate": "parameter", "value": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]},
            gate("matmul", "x", "w") | {"id": "y"}, gate("einsum", "y", "x", equation="nj,nk->jk") | {"id": "z"},
            gate("reduce_sum", "z") | {"id": "f"}],
            "outputs": ["f"]}))

    for rows in (5, VECTOR + 1, 10**6):
        x = np.full((rows, 2), TENTH)
        exact = answers(cf.Executor(made("float64")).compile(engine="interpreter")(x=x))
        single = made("float32")
        text = cf.to_python(single)
        assert "def long_product" in text
        for found in (cf.Executor(single).compile(engine="staged")(x=x), cf.Executor(single).compile(engine="jax")(x=x),
                      function_of(text)(x=x)):
            for one, other in zip(answers(found), exact, strict=True):
                assert error(one, other) <= (1e-6 if rows != VECTOR + 1 else 2e-6)


@pytest.mark.parametrize("shapes", [((LONG,), (LONG,)), ((LONG,), (LONG, 2)), ((5, 2, LONG), (LONG,)),
                                    ((20, LONG), (LONG, 20)), ((2, 3), (3,)), ((2, 0), (0, 3))], ids=str)
def test_an_exported_product_is_ours(shapes):
    namespace = {"np": np}
    exec(HELPERS["long_product"], namespace)
    a, b = (np.random.default_rng(0).random(shape, np.float32) for shape in shapes)
    found, ours = namespace["long_product"](a, b), long_product(a, b)
    assert (found.shape, found.dtype) == (ours.shape, ours.dtype)
    np.testing.assert_allclose(found, ours, rtol=2e-7)


def answers(found):
    value, gradients = found
    return [value, *(gradients[name] for name in sorted(gradients))]
