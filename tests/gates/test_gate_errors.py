"""Operands that gates cannot take: every message of a shape rule and of a gate at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import GATES, ArrayType, ShapeError, Size
from circuitflow.gates.shapes import show
from support.documents import document, faults

N = Size.named("n")


def f(*shape: Any) -> ArrayType:
    return ArrayType(shape, "float64")


def i(*shape: Any) -> ArrayType:
    return ArrayType(shape, "int64")


def b(*shape: Any) -> ArrayType:
    return ArrayType(shape, "bool")


def typed(gate: str, types: tuple[ArrayType, ...], attributes: dict[str, Any]) -> Any:
    return GATES[gate].shape(*types, **dict(GATES[gate].attributes.model_validate(attributes)))


W = {"kernel_shape": [2]}


@pytest.mark.parametrize(("gate", "types", "attributes", "message"), [
    ("gemm", (f(2), f(2, 3)), {}, "needs matrices; a is (2,)"),
    ("gemm", (f(2, 3), f(4, 3)), {}, "needs the last dimension of a (2, 3) to equal the first of b (4, 3): 3 is not 4"),
    ("gemm", (f(2, 3), f(3, 4), f(3, 4)), {}, "cannot broadcast shapes (3, 4) and (2, 4): 2 is not 3"),
    ("gemm", (f(2, 3), f(3, 4), f(5, 2, 4)), {}, "cannot broadcast c (5, 2, 4) to the product (2, 4)"),
    ("outer", (f(2, 1), f(2)), {}, "needs vectors; a is (2, 1)"),
    ("einsum", (f(2),), {"equation": "i,j->ij"},
     "needs as many operands as the equation i,j->ij has terms, 2; it has 1"),
    ("einsum", (f(2, 3),), {"equation": "i->i"},
     "needs a letter for every axis of operand 0 (2, 3); the equation has 'i'"),
    ("einsum", (f(2), f(3)), {"equation": "i,i->i"}, "needs equal sizes along 'i' of i,i->i: 3 is not 2"),
    ("diagonal", (f(2),), {}, "needs two dimensions or more; x is (2,)"),
    ("diagonal", (f(2, N),), {}, "needs a matrix of known size; x is (2, n)"),
    ("diagonal", (f(2, 3),), {"offset": 4}, "needs an offset from -2 to 3 for x (2, 3), not 4"),
    ("diagonal_like", (f(3), f(2, 3)), {}, "needs x of shape (2,), the diagonal of like (2, 3); x is (3,)"),
    ("eye_like", (f(3),), {}, "needs a matrix; x is (3,)"),
    ("inv", (f(2, 3),), {}, "needs square matrices; x is (2, 3)"),
    ("solve", (f(2, 2), f()), {}, "needs a vector or matrices on the right side; b is ()"),
    ("solve", (f(2, 2), f(3, 1)), {}, "needs as many rows of b (3, 1) as a (2, 2) has: 3 is not 2"),
    ("slice", (f(N),), {"start": 1, "stop": 3, "step": 2},
     "needs a known size along axis 0 of (n,) for the positions 1 to 3 in steps of 2"),
    ("slice", (f(N),), {"start": -1, "stop": 3},
     "needs a known size along axis 0 of (n,) for the positions -1 to 3 in steps of 1"),
    ("slice", (f(3),), {"start": -4}, "needs 0 <= start <= stop <= 3 along axis 0 of (3,); start is -4, stop is None"),
    ("slice_scatter", (f(3), f(3)), {"start": 1},
     "needs updates of shape (2,), the part of x (3,) that it replaces; updates is (3,)"),
    ("slice_like", (f(2, 3), f(2, 4)), {}, "needs equal shapes but along axis 0: (2, 4) and (2, 3)"),
    ("split", (f(5),), {"sections": 2}, "cannot split 5 along axis 0 of x (5,) into 2"),
    ("split", (f(5),), {"sections": [2, 2]}, "cannot split 5 along axis 0 of x (5,) into [2, 2]"),
    ("gather_nd", (f(2, 3), i(4, 3)), {},
     "needs indices whose last axis holds at most 2 positions, one for each of the first axes "
                                          "of x (2, 3); indices is (4, 3)"),
    ("gather_nd", (f(2, 3), i()), {},
     "needs indices whose last axis holds at most 2 positions, one for each of the first axes "
                                      "of x (2, 3); indices is ()"),
    ("scatter_nd", (f(2, 3), i(4, 1), f(4)), {},
     "needs updates of shape (4, 3), a slice of x for every index; updates is (4,)"),
    ("top_k", (f(2),), {"k": 3}, "needs at least k = 3 elements along axis -1 of x (2,)"),
    ("unfold", (f(2, 3),), W, "needs batch, channels and at least one more axis; x is (2, 3)"),
    ("unfold", (f(1, 1, 3),), {"kernel_shape": [2, 2]},
     "needs 1 in 'kernel_shape', one for every axis behind the first two; it has 2"),
    ("unfold", (f(1, 1, 3),), {**W, "strides": [1, 1]},
     "needs 1 in 'strides', one for every axis behind the first two; it has 2"),
    ("unfold", (f(1, 1, N),), W, "needs axes of known size behind the first two, not (n,)"),
    ("unfold", (f(1, 1, 3),), {"kernel_shape": [5]},
     "needs a window no larger than what it moves over: it is (5,), over (3,)"),
    ("fold", (f(1, 1, 2, 3), f(1, 1, 3)), W,
     "needs x of shape (1, 1, 2, 2), the windows over like (1, 1, 3); x is (1, 1, 2, 3)"),
    ("conv", (f(1, 2, 5), f(3, 2, 2, 2)), {},
     "needs kernels w with as many axes as x (1, 2, 5) has; w is (3, 2, 2, 2)"),
    ("conv", (f(1, 2, 5), f(3, 1, 2)), {},
     "needs kernels w (out channels, in channels / group, …) with in channels 2 and group 1; "
                                           "w is (3, 1, 2)"),
    ("conv", (f(1, 2, 5), f(N, 2, 2)), {}, "needs kernels of known size; w is (n, 2, 2)"),
    ("conv", (f(1, 2, 5), f(3, 2, 2), f(2)), {}, "needs b of shape (3,), one for every channel; b is (2,)"),
    ("conv_transpose", (f(1, 2, 5), f(2, 2)), {}, "needs kernels w with as many axes as x (1, 2, 5) has; w is (2, 2)"),
    ("conv_transpose", (f(1, 2, 5), f(3, 1, 2)), {},
     "needs kernels w (in channels, out channels / group, …) with in channels 2 and "
                                                     "group 1; w is (3, 1, 2)"),
    ("conv_transpose", (f(1, 2, N), f(2, 1, 2)), {}, "needs axes of known size behind the first two, not (n,)"),
    ("conv_transpose", (f(1, 2, 5), f(2, 1, 2)), {"output_padding": [1]},
     "needs an output_padding below the stride 1 or the dilation 1, not 1"),
    ("conv_transpose", (f(1, 2, 1), f(2, 1, 1)), {"pads": [[1, 1]]},
     "needs pads no larger than the result; it would be (-1,)"),
    ("max_pool", (f(1, 1, 3),), {**W, "pads": [[2, 0]]},
     "needs an element of x in every window; window 0 along axis 2 has positions -2 to -1 in "
                                                        "steps of 1, none of which is in 0 to 2; give smaller pads"),
    ("global_max_pool", (f(1, 1, 0),), {}, "needs at least one element in every channel; x is (1, 1, 0)"),
    ("batch_normalization", (f(2), f(2), f(2), f(2), f(2)), {}, "needs batch and channels; x is (2,)"),
    ("batch_normalization", (f(4, 3), f(3), f(3), f(2), f(3)), {},
     "needs mean of shape (3,), one for every channel of x (4, 3); mean is (2,)"),
    ("layer_normalization", (f(4, 3), f(3)), {"axis": 2}, "needs an axis from -2 to 1 of x (4, 3), not 2"),
    ("layer_normalization", (f(4, 3), f(4, 3)), {},
     "cannot broadcast scale (4, 3) to the axes that are normalised, (3,)"),
    ("group_normalization", (f(2, 4), f(4), f(4)), {"num_groups": 3},
     "needs channels of known size that 3 groups divide evenly; x is (2, 4)"),
    ("instance_normalization", (f(2, 4), f(4), f(4)), {},
     "needs batch, channels and at least one more axis; x is (2, 4)"),
    ("dropout", (f(2), f()), {}, "needs one integer as seed; it is float64 ()"),
    ("attention", (f(2), f(3, 2), f(3, 4)), {}, "needs two dimensions or more; q is (2,)"),
    ("attention", (f(2, 3), f(4, 2), f(4, 5)), {},
     "needs q (…, queries, size), k (…, keys, size) and v (…, keys, values); they are (2, 3), "
                                                   "(4, 2) and (4, 5)"),
    ("attention", (f(2, 3), f(4, 3), f(4, 5), b(3, 2, 4)), {}, "cannot broadcast mask (3, 2, 4) to the scores (2, 4)"),
    ("attention", (f(2, N), f(4, N), f(4, 5)), {}, "needs a 'scale' where the size of a key is not known; q is (2, n)"),
    ("mean_squared_error", (f(2), f(3)), {}, "needs a target of the shape of x (2,); target is (3,)"),
    ("softmax_cross_entropy_loss", (f(2, 3), f(2)), {},
     "needs integer indices; indices is float64; declare its dtype as int64"),
    ("softmax_cross_entropy_loss", (f(2, 3), i(3)), {},
     "needs x (batch, classes, …) and labels of the same shape without the classes; x is "
                                                        "(2, 3), labels is (3,)"),
])
def test_what_does_not_fit_says_what_is_needed(gate, types, attributes, message):
    with pytest.raises(ShapeError) as error:
        typed(gate, types, attributes)
    assert str(error.value) == message


@pytest.mark.parametrize(("types", "attributes", "shape"), [
    ((f(N),), {"start": 1}, "(n + -1,)"), ((f(N),), {"start": 1, "stop": -1}, "(n + -2,)"),
    ((f(N),), {"start": -3}, "(3,)"),
    ((f(N),), {"start": -3, "stop": -1}, "(2,)"), ((f(N),), {"start": 1, "stop": 4}, "(3,)"),
])
def test_slices_of_named_dimensions(types, attributes, shape):
    assert show(typed("slice", types, attributes).shape) == shape


@pytest.mark.parametrize("equation", ["ij,jk", "ii->i", "i->j", "i...->i"])
def test_equations_are_explicit(equation):
    node = {"id": "y", "gate": "einsum", "inputs": ["x"], "equation": equation}
    assert faults(document("x = [1]", node)) == [
        f"node 'y': 'equation' is \"{equation}\"; expected letters, commas and an arrow, such as ij,jk->ik, no letter "
        f"twice in a term"]


@pytest.mark.parametrize(("gate", "operands", "attributes", "message"), [
    ("slice", (np.zeros(2),), {"axis": 0, "start": 1, "stop": 4, "step": 1},
     "positions 1 to 4 are out of range for an axis of size 2"),
    ("negative_log_likelihood_loss", (np.zeros((2, 3)), np.array([0, 3])), {"reduction": "mean", "ignore_index": None},
     "label 3 is out of range for 3 classes"),
    ("gather_nd", (np.zeros((2, 3)), np.array([[0, -4]])), {}, "index -4 is out of range for axis 1 of size 3"),
])
def test_what_only_values_show(gate, operands, attributes, message):
    with pytest.raises(IndexError, match=message):
        GATES[gate].forward(np, *operands, **attributes)


def test_operands_that_may_be_left_out():
    conv = {"id": "y", "gate": "conv", "inputs": ["x", "w"]}
    x = {"id": "x", "gate": "input", "value": [[[1, 2, 3]]]}
    w = {"id": "w", "gate": "parameter", "value": [[[1, 1]]]}
    without = cf.Executor(cf.loads(document(x, w, conv))).forward().outputs["y"]
    np.testing.assert_array_equal(without, [[[3, 5]]])
    bias = {"id": "b", "gate": "parameter", "value": [10]}
    given = cf.Executor(cf.loads(document(x, w, bias,
                                          {**conv, "inputs": {"x": "x", "w": "w", "b": "b"}}))).forward().outputs["y"]
    np.testing.assert_array_equal(given, [[[13, 15]]])
    assert faults(document(x, bias, {**conv, "inputs": {"x": "x", "b": "b"}})) == [
        "node 'y': conv takes 3 operands (x, w, b); it has 2; missing: 'w'"]


def test_a_dropout_keeps_about_as_many_as_it_says_and_the_same_ones_again():
    x, row = np.ones(100_000), GATES["dropout"]
    kept = row.forward(np, x, np.int64(3), ratio=0.3)
    assert np.mean(kept > 0) == pytest.approx(0.7, abs=0.005)
    assert set(np.unique(kept)) == {0, 1 / 0.7}
    np.testing.assert_array_equal(kept, row.forward(np, x, np.int64(3), ratio=0.3))
    assert np.mean((kept > 0) == (row.forward(np, x, np.int64(4), ratio=0.3) > 0)) == pytest.approx(0.58, abs=0.01)
    runs = np.convolve(kept > 0, np.ones(10), "valid")
    assert np.var(runs) == pytest.approx(10 * 0.7 * 0.3, rel=0.1)


def test_the_gradient_of_a_determinant_is_exact_for_singular_matrices():
    c = cf.loads(document({"id": "x", "gate": "input", "value": [[1, 2], [2, 4]]}, "f = det(x)"))
    np.testing.assert_allclose(cf.Executor(c).run().gradients["x"], [[4, -2], [-2, 1]], atol=1e-14)
    zero = cf.loads(document({"id": "x", "gate": "input", "value": [[0, 0], [0, 0]]}, "f = det(x)"))
    np.testing.assert_array_equal(cf.Executor(zero).run().gradients["x"], [[0, 0], [0, 0]])


def test_a_query_that_sees_nothing_gives_nothing():
    mask = np.array([[False, False], [True, False]])
    q, k, v = np.ones((2, 3)), np.ones((2, 3)), np.array([[1.0], [2.0]])
    np.testing.assert_array_equal(GATES["attention"].forward(np, q, k, v, mask, scale=None, causal=False), [[0], [1]])
    np.testing.assert_array_equal(GATES["attention"].forward(np, q, k[:0], v[:0], scale=None, causal=False), [[0], [0]])
