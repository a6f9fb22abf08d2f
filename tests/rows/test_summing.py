"""Sums over rows: the tree is one, whatever the blocks, and what rounding loses is kept."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.interpreter.question import Question
from circuitflow.rows import summing
from circuitflow.rows.answering import RowFunction
from circuitflow.rows.fixed_order import RowAdder, cut, join, joined, rounded, two_sum
from circuitflow.rows.summing import sum_rows
from circuitflow.rows.task import RowTask
from circuitflow.tables.reader import Batch
from support.documents import circuit


def batches(columns, parts):
    """Parts of columns as batches, which name rows by the number of the part."""
    first, made = 0, []
    for i, rows in enumerate(parts):
        made.append(Batch(1, rows, {name: column[first : first + rows] for name, column in columns.items()}, [],
                          lambda row, i=i: f"part {i}: row {row}"))
        first += rows
    return made


def answering(made, *, engine="auto", of=None, wrt=(), sizes=None):
    executor = cf.Executor(made)
    return RowFunction(RowTask(executor, Question(executor, of, wrt), engine=engine), sizes or {})


# The order ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rows", [*range(1, 20), 64, 65, 127])
def test_rows_and_blocks_are_one_tree(rows):
    random = np.random.default_rng(rows)
    column = random.standard_normal((rows, 3)) * 10.0 ** random.integers(-20, 20, (rows, 3))
    one_by_one = join(((row, np.zeros(3)) for row in column), two_sum)
    add = RowAdder()
    for size in (1, 2, 4, 32, 128):
        in_blocks = join((add(column[i : i + size]) for i in range(0, rows, size)), two_sum)
        np.testing.assert_array_equal(in_blocks, one_by_one)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_what_is_rounded_away_is_kept(shape):
    random = np.random.default_rng(0)
    column = random.standard_normal((1001, *shape)) * 10.0 ** random.integers(-9, 9, (1001, *shape))
    exact = [float(sum(map(Fraction, numbers))) for numbers in column.reshape(1001, -1).T]
    np.testing.assert_array_equal(np.ravel(rounded(RowAdder()(column))), exact)


def test_another_column_is_added_up_in_the_same_memory():
    """Workers of Dask give memory back at once, and fresh pages took most of the time of a sum."""
    add, column = RowAdder(), np.random.default_rng(0).standard_normal(2**16 + 1)
    first = add(column)
    tracemalloc.start()
    try:
        assert add(column) == first
        assert tracemalloc.get_traced_memory()[1] < column.nbytes / 8
    finally:
        tracemalloc.stop()
    assert first == add(column.reshape(-1, 1)) == RowAdder()(column)


def test_blocks_end_where_they_end_however_the_rows_come():
    for parts in ([10], [1, 9], [4, 4, 2], [0, 3, 0, 5, 2, 0], [1] * 10):
        made = batches({"x": np.arange(10)}, parts)
        blocks = [joined([batch.inputs["x"][part] for batch, part in block]) for block in cut(made, lambda _: 4)]
        assert [block.tolist() for block in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], parts
    assert list(cut([], lambda _: 4)) == []


# Sums of answers ------------------------------------------------------------------------------------------------------

TENSORS = circuit({"id": "x", "gate": "input", "shape": [2, 3]}, {"id": "k", "gate": "input", "dtype": "int64"},
                  {"id": "w", "gate": "parameter", "value": [1, -2, 0.5]}, "h = matmul(x, w)", "t = tanh(h)",
                  "s = reduce_sum(t)", "n = add(k, k)", "big = greater(k, n)",
                  outputs=["s", "t", "n", "big"], upstream={"s": 1, "t": [0, 1]})


def tensors(rows):
    random = np.random.default_rng(1)
    return {"x": random.standard_normal((rows, 2, 3)), "k": random.integers(-9, 9, rows)}


PARTS = [[100], [1, 99], [50, 50], [7] * 14 + [2], [32, 32, 32, 4], [31] * 3 + [7], [0, 95, 0, 5]]


@pytest.mark.parametrize("most", [16 * 100, 2**22])
def test_tensors_integers_and_truth_values(most, monkeypatch):
    columns = tensors(100)
    x, k, w = columns["x"], columns["k"], np.array([1, -2, 0.5])
    monkeypatch.setattr(summing, "BYTES", most)
    function = answering(TENSORS, wrt=["w"])
    t = np.tanh(x @ w)
    found = [sum_rows(function, batches(columns, parts)) for parts in PARTS]
    sums, means = found[0].sums(), found[0].means()
    assert {name: (str(column.dtype), column.shape) for name, column in sums.items()} == {
        "s": ("float64", ()), "t": ("float64", (2,)), "n": ("int64", ()), "big": ("uint64", ()),
        "dw": ("float64", (3,))}
    slopes = (1 - t * t) * [1, 2]  # of s + t[1]
    for name, expected in {"s": t.sum(), "t": t.sum(0), "n": 2 * k.sum(), "big": (k < 0).sum(),
                           "dw": np.einsum("ri,rij->j", slopes, x)}.items():
        np.testing.assert_allclose(sums[name], expected, rtol=1e-12)
        np.testing.assert_allclose(means[name], expected / 100, rtol=1e-12)
        assert means[name].dtype == "float64"
    for other in found[1:]:
        for name, column in other.sums().items():
            assert column.tobytes() == sums[name].tobytes()
        for name, column in other.means().items():
            assert column.tobytes() == means[name].tobytes()


def test_no_rows_have_the_sum_0_and_no_mean():
    totals = sum_rows(answering(TENSORS, wrt=["w"]), batches(tensors(0), [0]))
    assert {name: column.tolist() for name, column in totals.sums().items()} == {
        "s": 0, "t": [0, 0], "n": 0, "big": 0, "dw": [0, 0, 0]}
    for column in totals.means().values():
        assert column.dtype == "float64"
        assert np.isnan(column).all()


def identity(dtype):
    return answering(circuit({"id": "x", "gate": "input", "dtype": dtype}, "f = identity(x)"))


@pytest.mark.parametrize(("dtype", "numbers", "expected"), [
    ("int64", [2**63 - 1, 2**63 - 1, -(2**63), -(2**63), 5], 3), ("int64", [-(2**63)], -(2**63)),
    ("uint64", [2**64 - 6, 5], 2**64 - 1), ("int8", [-128, -128, 127], -129), ("uint8", [255, 255], 510),
    ("int32", [2**31 - 1] * 3, 3 * (2**31 - 1)), ("bool", [True, False, True], 2)])
def test_integers_are_exact(dtype, numbers, expected):
    totals = sum_rows(identity(dtype), batches({"x": np.array(numbers, dtype)}, [1, len(numbers) - 1]))
    assert totals.sums()["f"] == expected
    assert totals.means()["f"] == expected / len(numbers)


@pytest.mark.parametrize(("dtype", "numbers", "message"), [
    ("int64", [2**63 - 1, 1], "column 'f': the sum is 9223372036854775808, and int64 ends at 9223372036854775807; "),
    ("int64", [-(2**63), -1], "column 'f': the sum is -9223372036854775809, and int64 ends at -9223372036854775808; "),
    ("uint64", [2**64 - 1, 1], "column 'f': the sum is 18446744073709551616, and uint64 ends at ")])
def test_a_sum_that_does_not_fit_is_refused(dtype, numbers, message):
    totals = sum_rows(identity(dtype), batches({"x": np.array(numbers, dtype)}, [2]))
    with pytest.raises(cf.InputError) as error:
        totals.sums()
    assert str(error.value).startswith(message)
    assert totals.means()["f"] == sum(numbers) / 2


@pytest.mark.parametrize(("numbers", "expected"), [
    ([1e308, 1e308, 1.0], math.inf), ([math.inf, 1.0], math.inf), ([math.inf, -math.inf], math.nan),
    ([1.0, math.nan], math.nan), ([-math.inf, -1e308], -math.inf)])
def test_what_is_not_finite_is_as_ieee_754_has_it(numbers, expected):
    totals = sum_rows(identity("float64"), batches({"x": np.array(numbers)}, [1, len(numbers) - 1]))
    np.testing.assert_equal(float(totals.sums()["f"]), expected)
    np.testing.assert_equal(float(totals.means()["f"]), expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_small_floats_are_added_in_float64(dtype):
    numbers = np.array([3e4, 1e-3] * 60, dtype)
    (found,) = sum_rows(identity(dtype), batches({"x": numbers}, [120])).sums().values()
    assert (found.dtype, float(found)) == ("float64", math.fsum(numbers.tolist()))


# What is refused ------------------------------------------------------------------------------------------------------

def test_a_row_is_named_by_where_it_comes_from(monkeypatch):
    monkeypatch.setattr(summing, "ROWS", 8)
    function = answering(circuit({"id": "k", "gate": "input", "dtype": "int64"},
                                 {"id": "v", "gate": "constant", "value": [1, 2, 3]},
                                 {"id": "f", "gate": "gather", "inputs": ["v", "k"]}))
    for wrong, place in ((0, "part 0: row 1: "), (4, "part 0: row 5: "), (5, "part 2: row 1: "), (9, "part 2: row 5: "),
                         (10, "part 3: row 1: ")):
        k = np.zeros(12, np.int64)
        k[wrong] = 3
        with pytest.raises(cf.GateError) as error:
            sum_rows(function, batches({"k": k}, [5, 0, 5, 2]))
        assert str(error.value).startswith(place), wrong


@pytest.mark.parametrize("most", [1, 2**22])
def test_lists_have_one_shape_in_all_rows(most, monkeypatch):
    monkeypatch.setattr(summing, "BYTES", most)
    function = answering(circuit({"id": "x", "gate": "input", "shape": ["n"]}, "f = reduce_sum(x)"))
    (first,), (other,) = batches({"x": np.ones((2, 3))}, [2]), batches({"x": np.ones((2, 5))}, [2])
    assert sum_rows(function, [first, first]).sums() == {"f": 12}
    with pytest.raises(cf.InputError, match=r"part 0: row 1: input 'x' has shape \(5,\); expected \(3,\), as"):
        sum_rows(function, [first, other])
