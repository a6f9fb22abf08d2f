"""Numbers given at run time: kept exactly or refused, as a document's are."""

from __future__ import annotations

import decimal
import enum
import fractions
import json
import tracemalloc

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.document.base import DTYPES, MAX_DIMENSIONS
from circuitflow.document.numbers import copy_in, native
from support.documents import circuit

ENGINES = ("interpreter", "staged", "tape", "jax")
BIG = 2**53 + 1


class Whole(enum.IntEnum):
    SEVEN = 7


class Metres(np.ndarray):
    """Numbers with a unit, which NumPy would drop."""


CASES = [
    # (value, dtype, what it becomes, or the refusal)
    (3, "float64", 3.0), (True, "bool", True), (0.1, "float32", np.float32(0.1)), (2.0, "int64", 2),
    (Whole.SEVEN, "int8", 7),
    (np.float32(0.1), "float64", float(np.float32(0.1))), (np.int8(-3), "float16", -3.0),
    (np.array(2.5), "float64", 2.5),
    ([1, 2.5], "float64", [1.0, 2.5]), ((1, (2)), "int32", [1, 2]),
    ([np.float64(1), 2, np.int64(3)], "float32", [1.0, 2.0, 3.0]),
    ([np.ones(2), np.zeros(2)], "float64", [[1.0, 1.0], [0.0, 0.0]]),
    ([[1, 2], np.array([3, 4])], "float64", [[1.0, 2.0], [3.0, 4.0]]),
    ([np.array(1.5), 2], "float64", [1.5, 2.0]), ([], "bool", []), ([[], []], "int64", [[], []]),
    (np.array([1.0, 2.0], ">f8"), "float64", [1.0, 2.0]), (np.ones((1, 2)).view(np.matrix), "float64", [[1.0, 1.0]]),
    (np.ma.array([1.0, 2.0]), "float64", [1.0, 2.0]), (np.ma.array([1.0], mask=[False]), "float64", [1.0]),
    ([float("nan"), float("inf")], "float32", [float("nan"), float("inf")]),
    (np.array([np.nan, 1e308]), "float64", [np.nan, 1e308]),
    (2**53, "float64", 2.0**53), (2**60, "float64", 2.0**60), (2**1000, "float64", 2.0**1000),
    (2**24, "float32", 2.0**24),
    (np.array([2**53, -2**63, 3 * 2**61]), "float64", [2.0**53, -2.0**63, 3 * 2.0**61]),
    (np.array([2**63, 2**64 - 2**11], np.uint64), "float64", [2.0**63, 2.0**64 - 2.0**11]),
    (2**63 - 1, "int64", 2**63 - 1), (2**64 - 1, "uint64", 2**64 - 1),
    ([2**63 - 1, -(2**63)], "int64", [2**63 - 1, -(2**63)]),
    (3.4028234e38, "float32", np.float32(3.4028234e38)), (1e-45, "float32", np.float32(1e-45)),

    (BIG, "float64", "'x': 9007199254740993 cannot be kept exactly in a float64; write it as a float such as 1e20"),
    (np.int64(BIG), "float64",
     "'x': 9007199254740993 cannot be kept exactly in a float64; write it as a float such as 1e20"),
    ([[1, 2], [BIG, 4]], "float64", "'x' at [1, 0]: 9007199254740993 cannot be kept"),
    (np.array([[1, 2], [3, -BIG]]), "float64", "'x' at [1, 1]: -9007199254740993 cannot be kept"),
    (np.array([2**63 - 1]), "float64", "'x' at [0]: 9223372036854775807 cannot be kept"),
    (np.array([2**64 - 1], np.uint64), "float64", "'x' at [0]: 18446744073709551615 cannot be kept"),
    ([2**63, -1, BIG], "float64", "'x' at [2]: 9007199254740993 cannot be kept"),
    (10**400, "float64", "'x': an integer of more than 20 digits cannot be kept"),
    (2**24 + 1, "float32", "'x': 16777217 cannot be kept exactly in a float32"),
    (2049, "float16", "'x': 2049 cannot be kept exactly in a float16"),
    ([1, np.int64(2**24 + 1)], "float32", "'x' at [1]: 16777217 cannot be kept"),
    ([[0, BIG], np.array([3, 4])], "float64", "'x' at [0, 1]: 9007199254740993"),
    (1e39, "float32", "'x': 1e+39 is too large for a float32"),
    ([0.1, -1e39], "float32", "'x' at [1]: -1e+39 is too large for a float32"),
    ([1, 1e39], "float32", "'x' at [1]: 1e+39 is too large"),
    ([1.0, 1e-50], "float32", "'x' at [1]: 1e-50 is too small for a float32, which would make it 0"),
    (70000.0, "float16", "'x': 70000.0 is too large for a float16"),
    (2**63, "int64", "'x': 9223372036854775808 is not an int64: expected an integer from"),
    ([1, -1], "uint8", "'x' at [1]: -1 is not an uint8: expected an integer from 0 to 255"),
    (0.5, "int64", "'x' is float64; expected int64, so cast it first"),
    (float("nan"), "int64", "'x' is float64; expected int64"),
    (np.array([1.0]), "int64", "'x' is float64; expected int64, so cast it first"),
    (np.array([1.0]), "float32", "'x' is float64; expected float32, so cast it first"),
    (np.array([1]), "float32", "'x' is int64; expected float32, so cast it first"),
    ([np.ones(2)], "float32", "'x' is float64; expected float32, so cast it first"),
    (np.longdouble(1), "float64", "'x' is "),
    (True, "float64", "'x' is bool; expected float64, so cast it first"),
    (1, "bool", "'x' is int64; expected bool, so cast it first"),
    ([True, 2.0], "float64", "'x' has booleans beside numbers; expected numbers of dtype float64"),
    ([[1], [False]], "bool", "'x' has booleans beside numbers; expected booleans"),
    ([np.bool_(True), 2], "int64", "'x' has booleans beside numbers; expected numbers of dtype int64"),
    (np.array([True]), "float64", "'x' is bool; expected float64"),
    (np.ma.array([1.0, 1e9], mask=[0, 1]), "float64", "'x' has masked elements, for which there is no number"),
    (np.ma.masked, "float64", "'x' has masked elements"),
    ([1.0, np.ma.masked], "float64", "'x' has masked elements"),
    ([np.ma.array([1.0], mask=True)], "float64", "'x' has masked elements"),
    (np.ones(2).view(Metres), "float64",
     "'x' is a Metres, and NumPy would keep only its numbers; expected a plain array"),
    (None, "float64", "'x' is None; expected a number, lists of numbers or an array; leave it out"),
    ([1.0, None], "float64", "'x' at [1] is None; expected a number, lists of numbers or an array"),
    (b"abc", "float64", "'x' is a bytes; expected a number"),
    ("1.5", "float64", "'x' is \"1.5\"; expected numbers of dtype float64"),
    (["NaN"], "float64", "'x' is a list of 1; expected numbers of dtype float64, and there is \"NaN\" at [0]"),
    (decimal.Decimal("0.1"), "float64", 0.1), ([decimal.Decimal(1), decimal.Decimal("NaN")], "float64",
                                               [1.0, float("nan")]),
    (decimal.Decimal("2.50"), "int64", "'x' is float64; expected int64"), (decimal.Decimal("3.0"), "int64", 3),
    (decimal.Decimal("9007199254740993"), "float64", "'x': 9007199254740993 cannot be kept"),
    (decimal.Decimal("1e999999"), "float64", "'x' is Decimal('1E+999999'), which is no float64"),
    (decimal.Decimal("-Infinity"), "float64", float("-inf")),
    (decimal.Decimal("1e-999999"), "float64", "'x' is Decimal('1E-999999'), which is too small for a float64"),
    (decimal.Decimal("sNaN"), "float64", "'x' is Decimal('sNaN'), which is no float64"),
    (decimal.Decimal("-0.0"), "float64", -0.0),
    (fractions.Fraction(1, 3), "float64", 1 / 3), (fractions.Fraction(10**400, 3), "float64", "'x' is Fraction(1000"),
    ([[fractions.Fraction(1, 10**400)]], "float64", "'x' at [0, 0] is "),
    (1j, "float64", "'x' is a complex; expected a number, lists of numbers or an array; a circuit has no complex "
                    "numbers"), ([1j], "float64", "'x' at [0] is a complex; expected a number"),
    (np.array([1j]), "float64", "'x' is array([0.+1.j]); expected numbers, not complex128; a circuit has no complex "
                                "numbers"), (np.array([1], object), "float64", [1.0]),
    (np.array([[1], None], object), "float64", "'x' at [1] is None"),
    (np.array(decimal.Decimal(2), object), "float64", 2.0),
    (np.zeros(2, [("a", "f8"), ("b", "i8")]), "float64", "'x' has the fields 'a', 'b'; expected an array of numbers"),
    (np.array(["2020"], "datetime64[ns]"), "int64", "'x' is array(['2020"),
    ([np.datetime64("2020", "ns")], "int64", "'x' is np.datetime64('2020-01-01"),
    (object(), "float64", "'x' is a object; expected a number"), ({1.0}, "float64", "'x' is a set; expected a number"),
    ({"data": 1}, "float64", "'x' is a dict; expected a number"),
    ((i for i in [1]), "float64", "'x' is a generator; expected a number"),
    (range(3), "float64", "'x' is a range; expected a number"), ([jnp.ones(2)], "float64", [[1.0, 1.0]]),
    ([object()], "float64", "'x' at [0] is a object; expected a number"),
    ([[1, 2], [3]], "float64", "'x' is a list of 2 of unequal lengths; expected a rectangular array"),
    ([1, [2]], "float64", "'x' is a list of 2 of unequal lengths"),
    ([np.ones(2), np.ones(3)], "float64", "'x' is a list of 2 of unequal lengths"),
    (float, "float64", "'x' is a type; expected a number"),
]


def _nested(value, times):
    for _ in range(times):
        value = [value]
    return value


@pytest.mark.parametrize("leaf", [decimal.Decimal(1), np.ones(1), "NaN"])
def test_lists_are_as_deep_as_arrays_have_dimensions(leaf):
    for times in (MAX_DIMENSIONS + 1, 5000):  # beyond what Python's stack holds
        with pytest.raises(cf.InputError,
                           match=f"'x' is a list of 1 nested more than {MAX_DIMENSIONS} deep; expected a rectangular "
                                 "array"):
            native(_nested(leaf, times), "'x'")
    assert native(_nested(decimal.Decimal(1), MAX_DIMENSIONS), "'x'") == _nested(1, MAX_DIMENSIONS)


def test_a_list_that_contains_itself_is_refused():
    value = [1.0]
    value.append([value])
    with pytest.raises(cf.InputError, match=r"'x' at \[1, 0\] is a list that contains itself; expected a rect"):
        native(value, "'x'")


def test_missing_values_of_another_library_are_refused():
    arrow = pytest.importorskip("pyarrow")
    with pytest.raises(cf.InputError, match="'x' has missing values, for which there is no number; fill them in"):
        copy_in(arrow.array([1.0, None]), "'x'")


@pytest.mark.parametrize("of", [jnp.asarray, np.asarray])
def test_a_constant_of_short_floats_is_of_the_next_ones_that_numpy_has(of):
    c = cf.build()
    c.output(c.mul(c.input("x", 1.0, dtype="float32"), of(jnp.full(2, 0.1, jnp.bfloat16))), "f")
    (constant,) = [node for node in json.loads(cf.dumps(c.circuit))["nodes"] if node["gate"] == "constant"]
    assert constant == {"id": "c", "gate": "constant", "value": [0.10009765625] * 2, "dtype": "float32"}


def _rank(value, expected):
    return np.ndim(expected) if not isinstance(expected, str) else (1 if isinstance(value, list | np.ndarray) else 0)


def _identity(dtype, rank):
    return circuit({"id": "x", "gate": "input", "shape": list("abc"[:rank]), "dtype": dtype}, "f = identity(x)")


def _check(run, value, dtype, expected):
    if isinstance(expected, str):
        with pytest.raises(cf.InputError) as error:
            run(value)
        assert str(error.value).startswith(expected)
        assert str(error.value).isprintable()
        return
    found = np.asarray(run(value))
    np.testing.assert_array_equal(found, np.asarray(expected, dtype))
    assert found.dtype in (dtype, "float64" if dtype == "float64" else dtype)


def _named(case):
    return f"{case[1]}-{type(case[0]).__name__}-{str(case[2])[:30]}"


@pytest.mark.parametrize(("value", "dtype", "expected"), CASES, ids=map(_named, CASES))
def test_a_number_is_kept_exactly_or_refused(value, dtype, expected):
    executor = cf.Executor(_identity(dtype, _rank(value, expected)))
    _check(lambda value: executor.forward({"x": value}).outputs["f"], value, dtype, expected)
    _check(lambda value: executor.run({"x": value}, wrt=(), upstream={}).outputs["f"] if dtype == "int64" else
           executor.forward({"x": value}).outputs["f"], value, dtype, expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_keeps_it_exactly_or_refuses_it(engine):
    for value, dtype, expected in CASES:
        rank = _rank(value, expected)
        if engine == "staged" and value is None:  # which stands for the default there
            continue
        if engine != "tape" or (dtype == "float64" and rank == 0):
            compiled = cf.Executor(_identity(dtype, rank)).compile("f", (), engine=engine)
            _check(lambda value, compiled=compiled: compiled(x=value)[0], value, dtype, expected)


@pytest.mark.parametrize(("value", "dtype", "expected"), [case for case in CASES if case[1].startswith("float")])
def test_an_upstream_gradient_is_held_to_the_same(value, dtype, expected):
    rank = _rank(value, expected)
    shape = np.shape(expected) if not isinstance(expected, str) else (2,) * rank
    executor = cf.Executor(_identity(dtype, rank))
    inputs = {"x": np.ones(shape, dtype)}
    if isinstance(expected, str):
        expected = expected.replace("'x'", "upstream 'f'")
    _check(lambda value: executor.run(inputs, upstream={"f": value}).gradients["x"], value, dtype, expected)


@pytest.mark.parametrize("xp", [np, jnp])
@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_arrays_of_every_dtype_are_taken_where_they_lose_nothing(xp, source, target):
    """What is taken is what NumPy casts without loss; 64-bit integers are floats as long as they are small enough."""
    executor = cf.Executor(_identity(target, 1))
    value = xp.asarray(np.array([1, 0], source))
    if np.can_cast(source, target) and (source == "bool") == (target == "bool"):
        found = executor.forward({"x": value}).outputs["f"]
        assert (np.asarray(found).tolist(), str(found.dtype)) == ([1, 0], target)
    else:
        with pytest.raises(cf.InputError, match=f"'x' is {source}; expected {target}, so cast it first"):
            executor.forward({"x": value})


@pytest.mark.parametrize("xp", [jnp, array_api_strict])
def test_other_libraries_integers_are_held_to_it_too(xp):
    executor = cf.Executor(_identity("float64", 1))
    if xp is jnp:
        for dtype, number in (("int64", -BIG), ("int64", 2**63 - 1), ("uint64", 2**64 - 1)):
            with pytest.raises(cf.InputError, match=f"'x' at .1.: {number} cannot be kept exactly in a float64"):
                executor.forward({"x": xp.asarray(np.array([1, number], dtype))})
    for value in (BIG, [1, BIG]):
        with pytest.raises(cf.InputError, match="9007199254740993 cannot be kept exactly in a float64"):
            cf.Executor(circuit("x = [1, 2]", {"id": "w", "gate": "input", "value": np.ones(np.shape(value)).tolist()},
                                "f = mul(x, w)")).forward({"x": xp.asarray([1.0, 2.0], dtype=xp.float64), "w": value})


@given(st.integers(-(2**70), 2**70), st.sampled_from(["float64", "float32", "float16", "int64", "uint64", "int8"]))
def test_integers_of_any_size_are_what_they_were_or_refused(number, dtype):
    executor = cf.Executor(_identity(dtype, 0))
    with np.errstate(over="ignore"):
        try:
            kept = int(np.array(number, dtype)) == number
        except OverflowError:
            kept = False
    try:
        found = executor.forward({"x": number}).outputs["f"]
    except cf.InputError:
        assert not kept
    else:
        assert kept
        assert int(found) == number


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 8).map(lambda i: 2**53 + i), min_size=1, max_size=4))
def test_arrays_of_integers_and_lists_of_them_are_judged_alike(numbers):
    executor = cf.Executor(_identity("float64", 1))
    said = []
    for value in (numbers, np.array(numbers)):
        try:
            said.append(executor.forward({"x": value}).outputs["f"].tolist())
        except cf.InputError as error:
            said.append(str(error))
    assert said[0] == said[1]
    lost = [i for i, number in enumerate(numbers) if int(float(number)) != number]
    assert said[0] == numbers if not lost else said[0].startswith(f"'x' at [{lost[0]}]: {numbers[lost[0]]} ")


def test_a_large_float_array_is_neither_copied_nor_looked_at():
    executor, value = cf.Executor(_identity("float64", 1)), np.ones(10**6)
    executor.forward({"x": value})
    tracemalloc.start()
    try:
        found = executor.forward({"x": value}).values["x"]
        assert tracemalloc.get_traced_memory()[1] < 10**5
    finally:
        tracemalloc.stop()
    assert np.shares_memory(found, value)
