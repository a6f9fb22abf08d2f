"""Singular points: derivatives that exist there are right, and others are infinite or NaN, never a finite wrong
number."""

from __future__ import annotations

import itertools
import json
from typing import Any

import mpmath
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import GATES
from support.edge_points import pull
from support.libraries import namespace

inf, nan = np.inf, np.nan


def circuit(*nodes: str, dtype: str = "float64", **sources: Any) -> cf.Circuit:
    """A circuit of lines such as `n = reduce_l2 x`; a source in capitals is a constant."""
    written: list[dict[str, Any]] = [{"id": name, "gate": "constant" if name.isupper() else "input",
                                      "value": np.asarray(x).tolist()}
                                     for name, x in sources.items()]
    for node in nodes:
        name, _, gate, *operands = node.split()
        written.append({"id": name, "gate": gate, "inputs": operands})
    return cf.loads(json.dumps({"circuitflow": "1.0", "dtype": dtype, "nodes": written,
                                "outputs": [written[-1]["id"]]}))


def hessian(c: cf.Circuit) -> list[np.ndarray]:
    """The blocks of the Hessian; the engines agree on them."""
    document = cf.hessian(c)
    found = cf.Executor(document).forward().outputs
    for engine in ("staged", "jax"):
        values, _ = cf.Executor(document).compile(wrt=(), engine=engine)()
        for name, value in (values if isinstance(values, dict) else {next(iter(found)): values}).items():
            np.testing.assert_allclose(value, found[name], rtol=1e-9, atol=1e-11, err_msg=engine)
    return [np.asarray(block) for block in found.values()]


SQUARES = {
    "square": (["f = square n"], 1), "product": (["f = mul n n"], 1), "power": (["f = pow n TWO"], 1),
    "three factors": (["f = mul n n TWO"], 2), "half": (["m = mul n n", "f = div m TWO"], 0.5),
    "sum": (["a = square n", "b = mul n n", "d = square b", "e = neg a", "g = sub b e", "f = add g d"], 2),
    "difference": (["a = square n", "b = pow a TWO", "f = sub a b"], 1),
    "mean": (["a = square n", "f = reduce_mean a"], 1), "loss": (["f = mean_squared_error n ZERO"], 1),
}
"""Functions of a length n that are so many times n² next to 0."""

LENGTHS = {
    "reduce_l2": (["n = reduce_l2 x"], {"x": [0.0, 0.0, 0.0]}, 2 * np.eye(3)),
    "abs": (["n = abs x"], {"x": 0.0}, np.array(2.0)),
    "reduce_std": (["n = reduce_std x"], {"x": [0.7, 0.7, 0.7, 0.7]}, 2 * (np.eye(4) - 0.25) / 4),
}


@pytest.mark.parametrize("function", SQUARES)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_square_of_a_length_is_smooth_where_it_is_0(length, function):
    lines, sources, expected = LENGTHS[length]
    more, factor = SQUARES[function]
    (block,) = hessian(circuit(*lines, *more, **sources, TWO=2.0, ZERO=0.0))
    np.testing.assert_allclose(block, factor * expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("function", SQUARES)
def test_the_square_of_a_hypotenuse_is_smooth_at_the_origin(function):
    more, factor = SQUARES[function]
    found = hessian(circuit("n = hypot x y", *more, x=0.0, y=0.0, TWO=2.0, ZERO=0.0))
    np.testing.assert_array_equal(found, [2 * factor, 0, 0, 2 * factor])


def test_the_square_of_norms_along_an_axis_is_smooth_where_one_is_0():
    c = circuit("n = reduce_l2 y", "s = square n", "f = reduce_sum s", x=0.0, y=[[0.0, 0.0], [3.0, 4.0]])
    document = c.document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for keepdims in (False, True):
        node = next(node for node in document["nodes"] if node["id"] == "n")
        node.update(axis=1, keepdims=keepdims)
        (block,) = hessian(cf.loads(json.dumps(document)))
        np.testing.assert_allclose(block, 2 * np.eye(4).reshape(2, 2, 2, 2), atol=1e-15)


@pytest.mark.parametrize("line", ["f = reduce_l2 x", "f = reduce_std x"])
def test_the_hessian_of_a_length_is_not_finite_where_it_is_0(line):
    (block,) = hessian(circuit(line, x=[0.0, 0.0]))
    assert not np.isfinite(block).any()


def test_the_hessian_of_a_hypotenuse_is_not_finite_at_the_origin():
    assert not np.isfinite(hessian(circuit("f = hypot x y", x=0.0, y=0.0))).any()


@pytest.mark.parametrize("x", [[3e-9, -4e-9], [1.0, 2.0], [0.0, 5.0]])
def test_the_hessian_of_a_norm_is_right_elsewhere(x):
    (block,) = hessian(circuit("f = reduce_l2 x", x=x))
    n = np.linalg.norm(x)
    np.testing.assert_allclose(block, np.eye(2) / n - np.outer(x, x) / n**3, rtol=1e-12, atol=1e-12 / n)


def test_a_factor_far_away_is_not_looked_for():
    """The gradient of a long chain is written in time that grows as its length does."""
    lines = ["n = abs x", "a0 = mul n TWO", *(f"a{i} = add a{i - 1} n" for i in range(1, 300)), "f = square a299"]
    (block,) = hessian(circuit(*lines, x=0.0, TWO=2.0))
    assert block in (0.0, 2.0 * 301**2)


def minors(a: np.ndarray) -> np.ndarray:
    """The Hessian of the determinant: minors without two rows and two columns."""
    n = len(a)
    found = np.zeros((n,) * 4)
    for i, j, k, m in itertools.product(range(n), repeat=4):
        if i != k and j != m:
            rows, columns = ([x for x in range(n) if x not in pair] for pair in ((i, k), (j, m)))
            sign = (-1) ** (i + j + k - (k > i) + m - (m > j))
            found[i, j, k, m] = sign * (mpmath.det(mpmath.matrix(a[np.ix_(rows, columns)].tolist())) if rows else 1)
    return found


RANDOM = np.random.RandomState(3).standard_normal


@pytest.mark.sliced(a=len)
@pytest.mark.parametrize("a", [np.array([[1.0, 2.0], [2.0, 4.0]]), np.zeros((2, 2)), np.zeros((3, 3)), np.eye(3),
                               np.outer([1, 2, 3], [1, 1, 2.0]),
                               np.diag([1.0, 0, 0, 2]), RANDOM((4, 2)) @ RANDOM((2, 4)),
                               0.1 * np.outer([1, 2, 3], [1, 1, 2.0]), RANDOM((3, 3)),
                               np.array([[3.0]])], ids=lambda a: f"{len(a)} of rank {np.linalg.matrix_rank(a)}")
def test_the_hessian_of_det_is_that_of_the_minors(a):
    (block,) = hessian(circuit("f = det x", x=a))
    np.testing.assert_allclose(block, minors(a), rtol=1e-12, atol=1e-14 * max(1, np.abs(a).max()) ** len(a))


def test_cofactors_along_a_direction_refuse_another_shape():
    with pytest.raises(cf.ShapeError, match=r"needs a direction of the shape of x \(2, 2\); along is \(2, 3\)"):
        GATES["cofactor"].shape(cf.ArrayType((2, 2), "float64"), cf.ArrayType((2, 3), "float64"))


FUNCTIONS = {"square": (lambda x: x * x, lambda x: 2 * x), "exp": (mpmath.exp, mpmath.exp),
             "sqrt": (mpmath.sqrt, lambda x: 0.5 / mpmath.sqrt(x)),
             "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2), "tanh": (mpmath.tanh, lambda x: mpmath.sech(x) ** 2)}
ROTATION = np.linalg.qr(RANDOM((4, 4)))[0]
UPSTREAM = RANDOM((4, 4))


def of_function(a: np.ndarray, function: str, dtype: str = "float64") -> cf.Circuit:
    """The sum of M times V f(v) Vᵀ."""
    return circuit("e = eigh x", f"w = {function} e.eigenvalues", "vw = mul e.eigenvectors w",
                   "vt = matrix_transpose e.eigenvectors",
                   "b = matmul vw vt", "p = mul b M", "f = reduce_sum p", x=a, M=UPSTREAM[:len(a), :len(a)],
                   dtype=dtype)


def divided(values: list[float], function: str) -> np.ndarray:
    """The matrix of divided differences (Daleckii and Krein 1965)."""
    f, slope = FUNCTIONS[function]
    with mpmath.workdps(40):
        xs = list(map(mpmath.mpf, values))
        return np.array([[float(slope(x) if x == y else (f(x) - f(y)) / (x - y)) for x in xs] for y in xs])


@pytest.mark.sliced
@pytest.mark.parametrize("basis", [np.eye(4), ROTATION], ids=["diagonal", "rotated"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("values", [[1, 1, 1, 1], [2, 2, 3, 3], [1, 2, 2, 4], [2, 2 + 1e-13, 2 + 1e-9, 3],
                                    [2, 2 + 3e-8, 3, 4], [1, 2, 3, 4]])
def test_a_function_of_a_matrix_has_a_gradient_among_equal_eigenvalues(values, function, basis):
    a = (basis * np.array(values, float)) @ basis.T
    c = of_function(a, function)
    symmetric = (UPSTREAM + UPSTREAM.T) / 2
    expected = basis @ (divided(values, function) * (basis.T @ symmetric @ basis)) @ basis.T
    found = cf.Executor(c).run().gradients["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    for engine in ("staged", "jax"):
        _, gradients = cf.Executor(c).compile(engine=engine)()
        np.testing.assert_allclose(gradients["x"], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max(),
                                   err_msg=engine)


def test_in_float32_too():
    found = cf.Executor(of_function(np.eye(3), "exp", "float32")).run().gradients["x"]
    np.testing.assert_allclose(found, np.e * (UPSTREAM + UPSTREAM.T)[:3, :3] / 2, rtol=1e-5)
    assert found.dtype == np.float32


def test_the_second_derivative_of_a_function_of_a_matrix_is_right_or_nan_among_equal_eigenvalues():
    (block,) = hessian(of_function(np.eye(2), "square"))
    m = (UPSTREAM + UPSTREAM.T)[:2, :2] / 2
    for i, j in itertools.product(range(2), repeat=2):
        turned = np.zeros((2, 2))
        turned[i, j] = turned[j, i] = 1 if i == j else 0.5
        assert np.isnan(block[i, j]).all() or np.allclose(block[i, j], m @ turned + turned @ m)
    assert np.isnan(block).any()


LOSSES = {
    "the vectors": ["s = mul e.eigenvectors U", "f = reduce_sum s"],
    "two functions": ["p = mul e.eigenvectors e.eigenvalues", "t = matrix_transpose e.eigenvectors", "b = matmul p t",
                      "s = mul b M", "f1 = reduce_sum s",
                      "w = square e.eigenvalues", "q = mul e.eigenvectors w", "d = matmul q t", "r = mul d U",
                      "f2 = reduce_sum r", "f = add f1 f2"],
    "logarithm of 1": ["w = log e.eigenvalues", "p = mul e.eigenvectors w", "t = matrix_transpose e.eigenvectors",
                       "b = matmul p t", "s = mul b M",
                       "f = reduce_sum s"],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_the_vectors_do_not_tell_is_nan(loss):
    c = circuit("e = eigh x", *LOSSES[loss], x=np.eye(2), M=UPSTREAM[:2, :2], U=RANDOM((2, 2)))
    assert np.isnan(cf.Executor(c).run().gradients["x"]).any()


def test_the_other_vectors_keep_their_gradient():
    """The first vector of a matrix whose other eigenvalues are equal, and the space that the equal ones span."""
    a = (ROTATION * np.array([1.0, 3, 3, 3])) @ ROTATION.T
    select = np.array([1.0, 0, 0, 0])
    for mask in (select, 1 - select):
        c = circuit("e = eigh x", "p = mul e.eigenvectors K", "t = matrix_transpose e.eigenvectors", "b = matmul p t",
                    "s = mul b M", "f = reduce_sum s",
                    x=a, K=mask, M=UPSTREAM)
        turned = ROTATION.T @ (UPSTREAM + UPSTREAM.T) @ ROTATION / 2
        differences = (mask[:, None] - mask) / np.where(select[:, None] == select, 1, -2 * (select[:, None] - select))
        expected = ROTATION @ (turned * differences) @ ROTATION.T
        np.testing.assert_allclose(cf.Executor(c).run().gradients["x"], expected, atol=1e-13)


def test_functions_of_eigenvalues_alone_have_a_gradient_everywhere():
    c = circuit("e = eigh x", "l = log e.eigenvalues", "f = reduce_sum l", x=np.eye(3))
    np.testing.assert_allclose(cf.Executor(c).run().gradients["x"], np.eye(3))
    assert not any(node["gate"] == "where" for node in cf.gradient(c).document.model_dump()["nodes"])
    c = circuit("e = svd x", "f = reduce_sum e.s", x=2 * np.eye(3)[:, :2])
    np.testing.assert_allclose(cf.Executor(c).run().gradients["x"], np.eye(3)[:, :2])


def of_singular_values(a: np.ndarray, lines: list[str]) -> cf.Circuit:
    """The sum of M times U f(s) Vᵀ; the lines make w of d.s."""
    return circuit("d = svd x", *lines, "p = mul d.u w", "b = matmul p d.vh", "q = mul b M", "f = reduce_sum q", x=a,
                   M=UPSTREAM[:a.shape[0], :a.shape[1]])


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
@pytest.mark.parametrize("values", [[1, 1, 1], [3, 2, 2], [3, 2, 1], [2, 2, 1e-3]])
def test_an_odd_function_of_singular_values_has_a_gradient_among_equal_ones(values, shape):
    u, v = (np.linalg.qr(RANDOM((n, 3)))[0] for n in shape)
    a = (u * np.array(values, float)) @ v.T
    found = cf.Executor(of_singular_values(a, ["w = mul d.s d.s d.s"])).run().gradients["x"]
    m = UPSTREAM[:shape[0], :shape[1]]
    np.testing.assert_allclose(found, m @ a.T @ a + a @ m.T @ a + a @ a.T @ m, rtol=1e-6, atol=1e-8)  # of a aᵀ a


@pytest.mark.parametrize("values", [[1, 1, 0], [1, 0, 0], [0, 0, 0]])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
def test_a_rank_below_the_size_is_right_or_nan(values, shape):
    """The cube is flat at 0; the identity is not, and vectors and slopes do not tell its gradient, which is M."""
    u, v = (np.linalg.qr(RANDOM((n, 3)))[0] for n in shape)
    for a in ((u * np.array(values, float)) @ v.T, np.eye(*shape) * np.resize(values, shape[1])):
        m = UPSTREAM[:shape[0], :shape[1]]
        found = cf.Executor(of_singular_values(a, ["w = mul d.s d.s d.s"])).run().gradients["x"]
        np.testing.assert_allclose(found, m @ a.T @ a + a @ m.T @ a + a @ a.T @ m, rtol=1e-6, atol=1e-8)
        found = cf.Executor(of_singular_values(a, ["w = identity d.s"])).run().gradients["x"]
        assert np.isnan(found).any() or np.allclose(found, m)


def test_one_side_of_a_singular_value_decomposition():
    a = RANDOM((4, 3))
    for side in ("u", "vh"):
        c = circuit("d = svd x", f"s = mul d.{side} K", "f = reduce_sum s", x=a, K=UPSTREAM[:4, :3] if side == "u"
                    else UPSTREAM[:3, :3])
        assert cf.check(c).ok


def test_values_that_are_equal_but_for_rounding_have_a_standard_deviation_with_a_gradient_of_0():
    for x in ([0.1, 0.1, 0.1], [0.7] * 1000, [1e200] * 3):
        np.testing.assert_array_equal(pull("reduce_std", x)[1][0], 0)
    x = np.float32([0.1] * 3)
    np.testing.assert_array_equal(pull("reduce_std", x, dtype=np.float32)[1][0], 0)


@pytest.mark.parametrize("ddof", [2, 3])
def test_a_variance_without_freedom_is_not_finite(ddof):
    for gate in ("reduce_var", "reduce_std"):
        value, (gradient,) = pull(gate, [1.0, 2.0], ddof=ddof)
        assert value == inf
        assert not np.isfinite(gradient).any()
        assert np.isnan(pull(gate, [1.0, 1.0], ddof=ddof)[0])


@pytest.mark.parametrize(("x", "y", "quotient"),
                         [(1.0, 0.1, 9), (-1.0, 0.1, -10), (7.0, -3.0, -3), (0.3, 0.1, 2), (6.0, 3.0, 2)])
def test_the_slope_of_a_remainder_is_the_quotient_of_its_value(x, y, quotient):
    value, slopes = pull("mod", x, y)
    assert slopes == [1, -quotient]
    assert float(value) == pytest.approx(x - quotient * y, abs=1e-15)


def test_the_mixed_derivatives_of_a_power_are_equal_at_a_base_of_0():
    for y in (1.0, 1.5, 2.0, 3.0):
        _, first, second, _ = hessian(circuit("f = pow x y", x=0.0, y=y))
        assert first == second == (1 if y == 1 else 0)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("size", [1, 17])
def test_0_is_larger_than_its_negative(library, size):
    """As IEEE 754-2019 has it, in every order and on every library."""
    xp = np if library == "numpy" else namespace(library)
    for signs in itertools.product([0.0, -0.0], repeat=2):
        x, y = (xp.asarray(np.full(size, sign)) for sign in signs)
        larger, smaller = (np.asarray(GATES[gate].forward(xp, x, y, ties="first")) for gate in ("max", "min"))
        np.testing.assert_array_equal(np.signbit(larger), np.signbit(signs).all())
        np.testing.assert_array_equal(np.signbit(smaller), np.signbit(signs).any())
        both = xp.stack([x, y])
        larger, smaller = (np.asarray(GATES[gate].forward(xp, both, axis=0, keepdims=False, ties="first"))
                           for gate in ("reduce_max", "reduce_min"))
        np.testing.assert_array_equal(np.signbit(larger), np.signbit(signs).all())
        np.testing.assert_array_equal(np.signbit(smaller), np.signbit(signs).any())


@pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
def test_0_is_larger_than_its_negative_on_every_engine(engine):
    for x, y in itertools.product([0.0, -0.0], repeat=2):
        value, _ = cf.Executor(circuit("m = max x y", "n = min x y", "a = reciprocal m", "b = reciprocal n",
                                       "f = atan2 b a", x=x, y=y)).compile(
            wrt=(), engine=engine)()
        assert float(np.asarray(value)) == pytest.approx(np.arctan2(-inf if np.signbit([x, y]).any() else inf,
                                                                    -inf if np.signbit([x, y]).all() else inf))


def test_a_higher_power_of_a_length():
    c = cf.loads(json.dumps({"circuitflow": "1.0", "nodes": [
        {"id": "x", "gate": "input", "shape": [2]}, {"id": "n", "gate": "reduce_l2", "inputs": ["x"]},
        {"id": "four", "gate": "constant", "value": 4},
        {"id": "f", "gate": "pow", "inputs": ["n", "four"]}], "outputs": ["f"]}))
    hessian = cf.Executor(cf.hessian(c))
    np.testing.assert_array_equal(hessian.forward({"x": [0.0, 0.0]}).outputs["ddx_dx"], np.zeros((2, 2)))
    x = np.array([0.5, -1.0])
    np.testing.assert_allclose(hessian.forward({"x": x}).outputs["ddx_dx"],
                               4 * (x @ x) * np.eye(2) + 8 * np.outer(x, x), rtol=1e-14)
