"""Integers: every result is the exact one, or it is refused; on every engine, export and array library."""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import math
import operator
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.gates import ArrayType
from circuitflow.gates.convolution import Frame
from circuitflow.gates.shapes import ShapeError, promote
from support.documents import circuit
from support.exported import function_of
from support.integer_points import RULES
from support.slices import few

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
OF_TORCH = ["int8", "int16", "int32", "int64", "uint8"]
ENGINES = ["interpreter", "staged", "blocks", "jax", "python", "torch", "array_api_strict"]
N = 6
SMALL = cf.Thresholds(block_rows=2, block_bytes=1, blocks=1)


class Made:
    """A circuit, and zeros like each of its inputs; an object that a cache can go by."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.circuit = circuit(*nodes)
        self.zeros = {node["id"]: np.zeros([N if isinstance(size, str) else size for size in node["shape"]],
                                           node["dtype"])
                      for node in nodes if node["gate"] == "input"}


def answer(engine: str, made: Made, arrays: dict[str, Any]) -> Any:
    """The one output on an engine, as an array of NumPy."""
    if engine in ("torch", "array_api_strict"):
        library = pytest.importorskip(engine,
                                      reason=f"{engine} is not installed: it is too large to be a dependency of the "
                                             f"tests"
                                      if engine == "torch" else None)
        of = importlib.import_module("array_api_compat.torch") if engine == "torch" else library
        arrays = {name: of.asarray(x) for name, x in arrays.items()}
        return np.asarray(compiled("interpreter", made)(arrays)[0])
    with np.errstate(all="raise"):
        found = compiled(engine, made)(**arrays)[0] if engine == "python" else compiled(engine, made)(arrays)[0]
    return np.asarray(found)


@functools.lru_cache(maxsize=64)
def compiled(engine: str, made: Made) -> Any:
    if engine == "python":
        return function_of(cf.to_python(made.circuit, wrt=(), inputs=made.zeros))
    return cf.Executor(made.circuit, thresholds=SMALL if engine == "blocks" else cf.Thresholds()).compile(
        engine="staged" if engine == "blocks" else engine, wrt=())


@functools.cache
def of_gate(gate: str, dtypes: tuple[str, ...], shapes: tuple[tuple[Any, ...], ...],
            attributes: tuple[tuple[str, Any], ...]) -> Made:
    names = "xyz"[: len(dtypes)]
    return Made(*({"id": name, "gate": "input", "shape": list(shape), "dtype": dtype} for name, shape,
                  dtype in zip(names, shapes, dtypes, strict=True)),
                {"id": "f", "gate": gate, "inputs": list(names), **dict(attributes)})


def numbers(dtype: str) -> st.SearchStrategy[int]:
    """Numbers of a dtype, often at the ends of its range, at 0, or about the root of its end."""
    kept = np.iinfo(dtype)
    ends = [x for n in (0, kept.max, kept.min, math.isqrt(kept.max), -math.isqrt(kept.max), kept.max // 2,
                        kept.min // 2)
            for x in range(n - 2, n + 3) if kept.min <= x <= kept.max]
    return st.one_of(st.sampled_from(ends), st.integers(kept.min, kept.max), st.integers(max(-3, kept.min), 3))


def arrays(data: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    drawn = data.draw(st.lists(numbers(dtype), min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(drawn, dtype).reshape(shape)


def sign(x: Any) -> Any:
    return (x > 0).astype(object) * 1 - (x < 0).astype(object) * 1


X, ROW = ("n", 3), (3,)
CASES = {  # gate, shapes, attributes → the same over Python's integers
    "add": ("add", (X, ROW), {}, operator.add),
    "add of three": ("add", (X, ROW, X), {}, lambda x, y, z: x + y + z),
    "sub": ("sub", (X, ROW), {}, operator.sub),
    "mul": ("mul", (X, ROW), {}, operator.mul),
    "mul of three": ("mul", (X, X, ROW), {}, lambda x, y, z: x * y * z),
    "mod": ("mod", (X, ROW), {}, operator.mod),
    "neg": ("neg", (X,), {}, operator.neg),
    "abs": ("abs", (X,), {}, abs),
    "square": ("square", (X,), {}, lambda x: x * x),
    "sign": ("sign", (X,), {}, sign),
    "max": ("max", (X, ROW), {}, np.maximum),
    "min": ("min", (X, ROW, X), {}, lambda x, y, z: np.minimum(np.minimum(x, y), z)),
    "reduce_sum": ("reduce_sum", (X,), {}, np.sum),
    "reduce_sum of rows": ("reduce_sum", (X,), {"axis": 1, "keepdims": True},
                           lambda x: np.sum(x, axis=1, keepdims=True)),
    "reduce_sum of columns": ("reduce_sum", (X,), {"axis": 0}, lambda x: np.sum(x, axis=0)),
    "reduce_prod": ("reduce_prod", (X,), {"axis": 1}, lambda x: np.prod(x, axis=1)),
    "reduce_max": ("reduce_max", (X,), {}, np.max),
    "reduce_min": ("reduce_min", (X,), {"axis": 0}, lambda x: np.min(x, axis=0)),
    "cum_sum": ("cum_sum", (X,), {"axis": 1}, lambda x: np.cumsum(x, axis=1)),
    "cum_prod": ("cum_prod", (X,), {"axis": 1, "reverse": True}, lambda x: np.cumprod(x[:, ::-1], axis=1)[:, ::-1]),
    "sum_to_like": ("sum_to_like", (X, ROW), {}, lambda x, like: np.sum(x, axis=0)),
    "trace": ("trace", ((2, 3, 3),), {}, lambda x: np.trace(x, axis1=1, axis2=2)),
    "less": ("less", (X, ROW), {}, operator.lt),
    "equal": ("equal", (X, ROW), {}, operator.eq),
}


@pytest.mark.sliced
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=few(40))
@given(data=st.data())
def test_a_result_is_exact_or_refused(case, engine, data):
    gate, shapes, attributes, oracle = CASES[case]
    mixed = engine not in ("jax", "torch") and len(shapes) > 1
    possible = OF_TORCH if engine == "torch" else ["int8", "uint8", "int64", "uint64"] if engine == "jax" else DTYPES
    dtypes = tuple(data.draw(st.sampled_from(possible)) for _ in shapes) if mixed and data.draw(st.booleans()) else (
        (data.draw(st.sampled_from(possible)),) * len(shapes))
    try:
        result = "bool" if gate in ("less", "equal") else dtypes[0] if gate == "sum_to_like" else promote(*dtypes)
        promote(*dtypes)
    except ShapeError:
        return  # 64 bits with and without sign: refused in the document
    made = of_gate(gate, dtypes, shapes, tuple(attributes.items()))
    xs = [arrays(data, dtype, tuple(N if size == "n" else size for size in shape)) for dtype,
          shape in zip(dtypes, shapes, strict=True)]
    given_ = dict(zip("xyz", xs, strict=False))
    try:
        exact = np.asarray(oracle(*(x.astype(object) for x in xs)), object)
    except ZeroDivisionError:
        with pytest.raises((cf.GateError, ZeroDivisionError), match="f'?: mod: division by 0; give"):
            answer(engine, made, given_)
        return
    kept = (0, 1) if result == "bool" else (np.iinfo(result).min, np.iinfo(result).max)
    if any(not kept[0] <= x <= kept[1] for x in exact.ravel()):
        with pytest.raises((cf.GateError, OverflowError),
                           match=rf"f'?: {gate}: \S+ does not fit {result}, .*; cast the operands to "):
            answer(engine, made, given_)
        return
    found = answer(engine, made, given_)
    assert found.dtype == result
    assert found.tolist() == exact.tolist()


def test_the_number_that_does_not_fit_is_told():
    made = of_gate("add", ("int8",) * 2, ((2,), (2,)), ())
    given_ = {"x": np.array([1, 100], np.int8), "y": np.array([1, 100], np.int8)}
    for engine in ("interpreter", "staged", "jax", "python"):
        with pytest.raises((cf.GateError, OverflowError),
                           match=r"f'?: add: 200 does not fit int8, -128 to 127; cast the operands to int64"):
            answer(engine, made, given_)


def test_a_result_that_fits_may_come_by_way_of_one_that_does_not():
    made = of_gate("reduce_sum", ("int8",), ((3,),), ())
    assert answer("interpreter", made, {"x": np.array([100, 100, -100], np.int8)}) == 100
    made = of_gate("reduce_prod", ("int64",), ((5,),), ())
    assert answer("interpreter", made, {"x": np.array([2**62, 2**62, 2**62, 0, 2**62])}) == 0


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_long_sums_at_the_end_of_the_range(dtype):
    """Each of a million terms has 44 bits: the float64 beside the sum is rounded in every step."""
    end = int(np.iinfo(dtype).max)
    x = np.full(10**6, end // 10**6, dtype)
    x[0] += end - int(x.sum())
    made = of_gate("reduce_sum", (dtype,), ((10**6,),), ())
    assert answer("interpreter", made, {"x": x}) == end
    x[-1] += 1
    with pytest.raises(cf.GateError, match=f"does not fit {dtype}"):
        answer("interpreter", made, {"x": x})


def cast_of(value: Any, old: str, new: str) -> Any:
    """What a cast gives in Python's numbers; None where it is refused."""
    if new == "bool":
        return value != 0
    if new in DTYPES:
        if value != value or abs(value) == math.inf:
            return None
        value = math.trunc(value)
        return value if np.iinfo(new).min <= value <= np.iinfo(new).max else None
    with np.errstate(over="ignore"):
        found = np.array([value]).astype(object).astype(new)[0] if old == "bool" else np.array([value],
                                                                                               old).astype(new)[0]
    return found if old not in DTYPES or (np.isfinite(found) and int(found) == value) else None


@pytest.mark.sliced
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gate", ["cast", "cast_like"])
@settings(max_examples=few(150))
@given(data=st.data())
def test_a_cast_keeps_every_integer_or_refuses_it(gate, engine, data):
    possible = [*(OF_TORCH if engine == "torch" else ["int8", "uint8", "int64", "uint64"] if engine == "jax"
                  else DTYPES), "bool",
                *(FLOATS if engine not in ("array_api_strict", "jax") else ["float32", "float64"])]
    old, new = (data.draw(st.sampled_from(possible)) for _ in "xy")
    ends = sorted({s * (2.0**n + d) for n in (7, 8, 15, 16, 31, 32, 63, 64) for d in (-1, -0.5, 0, 0.5)
                   for s in (-1, 1)})
    drawn = st.booleans() if old == "bool" else numbers(old) if old in DTYPES else st.one_of(
        # which XLA takes for 0
        st.sampled_from([*ends, 0.5, -0.5, -0.9, math.nan, math.inf, -math.inf]),
        st.floats(-200, 300, allow_subnormal=engine != "jax"))
    with np.errstate(over="ignore"):
        x = np.array([data.draw(drawn) for _ in range(N)], old)
    attributes = (("dtype", new),) if gate == "cast" else ()
    dtypes = (old,) if gate == "cast" else (old, new)
    made = of_gate(gate, dtypes, (("n",),) * len(dtypes), attributes)
    given_ = {"x": x, "y": np.zeros(N, new)}
    given_ = {name: given_[name] for name in "xy"[: len(dtypes)]}
    expected = [cast_of(value, old, new) for value in x.tolist()]
    if any(value is None for value in expected):
        with pytest.raises((cf.GateError, OverflowError),
                           match=rf"f'?: {gate}: \S+ (does not fit {new}, .*|is no {new} exactly); (cast|keep|clip) "
                                 rf"it"):
            answer(engine, made, given_)
        return
    found = answer(engine, made, given_)
    assert found.dtype == new
    np.testing.assert_array_equal(found, np.array(expected, new))


@pytest.mark.parametrize(("old", "new", "value", "message"), [
    ("float64", "int8", 300.7, "300.7 does not fit int8, -128 to 127; clip it, or select another number by where"),
    ("float64", "int64", 1e300, "1e+300 does not fit int64, -9223372036854775808 to 9223372036854775807; clip it, or"),
    ("float32", "uint64", math.nan, "nan does not fit uint64, 0 to 18446744073709551615; clip it, or"),
    ("int64", "uint8", -1, "-1 does not fit uint8, 0 to 255; cast it to int64"),
    ("int64", "float64", 2**53 + 1, "9007199254740993 is no float64 exactly; keep it an integer"),
    ("int64", "float32", 2**24 + 1,
     "16777217 is no float32 exactly; cast it to float64, where it is exact, and that to float32, which rounds it"),
])
def test_a_cast_says_what_is_lost(old, new, value, message):
    made = of_gate("cast", (old,), ((),), (("dtype", new),))
    for engine in ("interpreter", "staged", "jax", "python"):
        with pytest.raises((cf.GateError, OverflowError), match=re.escape(message)):
            answer(engine, made, {"x": np.array(value, old)})


def test_a_cast_by_way_of_float64_rounds():
    made = circuit({"id": "x", "gate": "input", "value": {"data": 2**24 + 1, "dtype": "int64"}},
                   {"id": "d", "gate": "cast", "inputs": ["x"], "dtype": "float64"},
                   {"id": "f", "gate": "cast", "inputs": ["d"], "dtype": "float32"})
    assert cf.Executor(made).forward().outputs["f"] == 2**24


# Indices --------------------------------------------------------------------------------------------------------------

LONG = 300
LOOKED_UP = {  # operands, attributes → the same in Python
    "gather": (["x", "i"], {"axis": -1}, lambda x, i, u: [x[k] for k in i]),
    "gather_elements": (["x", "i"], {}, lambda x, i, u: [x[k] for k in i]),
    "gather_nd": (["x", "p"], {}, lambda x, i, u: [x[k] for k in i]),
    "scatter_add": (["x", "i", "u"], {}, lambda x, i, u: added(x, i, u)),
    "scatter_elements": (["x", "i", "u"], {"reduction": "add"}, lambda x, i, u: added(x, i, u)),
    "scatter_nd": (["x", "p", "u"], {"reduction": "add"}, lambda x, i, u: added(x, i, u)),
}


def added(x: list[float], indices: list[int], updates: list[float]) -> list[float]:
    x = list(x)
    for k, update in zip(indices, updates, strict=True):
        x[k] += update
    return x


@functools.cache
def looked_up(gate: str, dtype: str, reduction: str) -> Made:
    operands, attributes, _ = LOOKED_UP[gate]
    attributes = attributes | ({"reduction": reduction} if reduction else {})
    return Made({"id": "x", "gate": "input", "shape": [LONG], "dtype": "float64"},
                {"id": "i", "gate": "input", "shape": [4], "dtype": dtype},
                {"id": "u", "gate": "input", "shape": [4], "dtype": "float64"},
                {"id": "p", "gate": "unsqueeze", "inputs": ["i"], "axis": 1},
                {"id": "f", "gate": gate, "inputs": operands, **attributes})


@pytest.mark.sliced
@pytest.mark.parametrize(("gate", "engine"),
                         [(gate, engine) for gate in LOOKED_UP for engine in ENGINES if engine != "blocks"
                                              and not (engine == "python" and gate.startswith("scatter"))])
@settings(max_examples=few(30))
@given(data=st.data())
def test_indices_of_every_dtype_go_along_a_long_axis(gate, engine, data):
    dtype = data.draw(st.sampled_from(OF_TORCH if engine == "torch" else DTYPES))
    kept = np.iinfo(dtype)
    inside = st.integers(max(-LONG, kept.min), min(LONG - 1, kept.max))
    # 2^64 - 1 is -1 in int64.
    ends = [x for n in (-LONG, LONG, kept.min, kept.max, 0) for x in (n - 1, n, n + 1) if kept.min <= x <= kept.max]
    indices = data.draw(st.lists(st.one_of(inside, inside, inside, st.sampled_from(ends)), min_size=4, max_size=4))
    given_ = {"x": np.arange(float(LONG)), "i": np.array(indices, dtype), "u": np.array([1.0, 2.0, 4.0, 8.0])}
    if LOOKED_UP[gate][0][-1] != "u":
        del given_["u"]
    reduction = data.draw(st.sampled_from(["add", "none"])) if gate in ("scatter_elements", "scatter_nd") else ""
    made = looked_up(gate, dtype, reduction)
    outside = [k for k in indices if not -LONG <= k < LONG]
    places = [k % LONG for k in indices]
    if outside:
        with pytest.raises((cf.GateError, IndexError),
                           match=f"f'?: {gate}: index {outside[0]} is out of range for axis 0 of size {LONG}"):
            answer(engine, made, given_)
    elif reduction == "none" and len(set(places)) < 4:
        with pytest.raises((cf.GateError, ValueError),
                           match=rf"f'?: {gate}: index -?\d+ (of the flattened axes )?repeats, so it is not said which "
                                 rf"update stays; leave one"):
            answer(engine, made, given_)
    else:
        expected = LOOKED_UP[gate][2](given_["x"].tolist(), indices, [1.0, 2.0, 4.0, 8.0])
        if reduction == "none":
            expected = given_["x"].tolist()
            for k, update in zip(indices, [1.0, 2.0, 4.0, 8.0], strict=True):
                expected[k] = update
        assert answer(engine, made, given_).tolist() == expected


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "blocks"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot_over_more_places_than_the_dtype_has(dtype, engine):
    if engine == "torch" and dtype not in OF_TORCH:
        pytest.skip("torch cannot compare these")
    kept = np.iinfo(dtype)
    indices = [0, 5, kept.max, kept.min]
    made = of_gate("one_hot", (dtype,), ((4,),), (("depth", LONG),))
    expected = [[float(k % LONG == j and -LONG <= k < LONG) for j in range(LONG)] for k in indices]
    assert answer(engine, made, {"x": np.array(indices, dtype)}).tolist() == expected


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ("blocks", "torch")])
@pytest.mark.parametrize(("dtype", "outside"), [("int8", -1), ("uint64", 2**64 - 1), ("int16", 300)])
def test_labels_of_more_classes_than_the_dtype_has(dtype, outside, engine):
    made = Made({"id": "x", "gate": "input", "shape": [2, LONG], "dtype": "float64"},
                {"id": "y", "gate": "input", "shape": [2], "dtype": dtype},
                   {"id": "f", "gate": "negative_log_likelihood_loss", "inputs": ["x", "y"], "reduction": "none"})
    x = np.arange(2.0 * LONG).reshape(2, LONG)
    assert answer(engine, made, {"x": x, "y": np.array([7, 100], dtype)}).tolist() == [-7.0, -400.0]
    with pytest.raises((cf.GateError, IndexError), match=f"label {outside} is out of range for 300 classes"):
        answer(engine, made, {"x": x, "y": np.array([7, outside], dtype)})


def test_positions_that_repeat_are_refused_by_their_place():
    made = circuit({"id": "x", "gate": "input", "value": [[0.0, 0.0], [0.0, 0.0]]},
                   {"id": "i", "gate": "constant", "value": [[1, 0], [-1, -2]], "dtype": "int8"},
                   {"id": "u", "gate": "input", "value": [5.0, 7.0]},
                   {"id": "f", "gate": "scatter_nd", "inputs": ["x", "i", "u"]})
    with pytest.raises(cf.GateError, match="node 'f': scatter_nd: index 2 of the flattened axes repeats"):
        cf.Executor(made).forward()


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "blocks"])
@pytest.mark.parametrize("point", list(itertools.chain.from_iterable(RULES.values())), ids=lambda point: point.gate)
def test_the_points_of_the_page(point, engine):
    """Those of docs/conventions.md."""
    xs = [np.array(x, dtype) for dtype, x in point.operands]
    made = of_gate(point.gate, tuple(dtype for dtype, _ in point.operands), tuple(x.shape for x in xs),
                   tuple(point.attributes.items()))
    given_ = dict(zip("xyz", xs, strict=False))
    if engine == "torch" and any(dtype in ("uint16", "uint32", "uint64") for dtype, _ in point.operands):
        pytest.skip("torch has few functions of this dtype")
    if isinstance(point.outcome, str):
        with pytest.raises((cf.GateError, ArithmeticError, IndexError, ValueError), match=re.escape(point.outcome)):
            answer(engine, made, given_)
    else:
        assert answer(engine, made, given_).tolist() == point.outcome


# Elsewhere ------------------------------------------------------------------------------------------------------------

def test_blocks_are_blocks():
    """Or the tests above would not go over a batch in parts."""
    from support.engines import batched

    for gate, dtype in (("reduce_sum", "int8"), ("mul", "uint64")):
        made = of_gate(gate, (dtype,) * (1 + (gate == "mul")), (X,) * (1 + (gate == "mul")), ())
        assert batched(made.circuit, {"x": np.ones((N, 3), dtype), "y": np.ones((N, 3), dtype)} if gate == "mul"
                       else {"x": np.ones((N, 3), dtype)}, SMALL)


def test_a_number_that_a_sum_of_constants_makes_is_refused_after_it_is_differentiated():
    made = circuit({"id": "x", "gate": "input", "value": 3.0},
                   {"id": "c", "gate": "constant", "value": 100, "dtype": "int8"},
                   {"id": "s", "gate": "add", "inputs": ["c", "c"]},
                   {"id": "d", "gate": "cast", "inputs": ["s"], "dtype": "float64"},
                   {"id": "f", "gate": "mul", "inputs": ["x", "d"]})
    with pytest.raises(cf.GateError, match="200 does not fit int8"):
        cf.Executor(made).run()
    with pytest.raises(cf.GateError, match="200 does not fit int8"):
        cf.Executor(cf.gradient(made)).forward()


def test_sizes_that_the_dtype_does_not_hold():
    made = circuit({"id": "x", "gate": "input", "shape": ["n"], "dtype": "int8"},
                   {"id": "f", "gate": "size", "inputs": ["x"]})
    assert cf.Executor(made).forward({"x": np.zeros(127, np.int8)}).outputs["f"] == 127
    with pytest.raises(cf.GateError, match="128 does not fit int8"):
        cf.Executor(made).forward({"x": np.zeros(128, np.int8)})


def test_a_scan_without_steps_divides_by_nothing():
    """The shapes of its outputs are those of a step on zeros."""
    body = {"nodes": [{"id": "a", "gate": "input", "shape": [], "dtype": "int64"},
                      {"id": "t", "gate": "input", "shape": [], "dtype": "int64"},
                      {"id": "r", "gate": "mod", "inputs": ["a", "t"]}], "outputs": ["r"]}
    made = cf.loads(json.dumps({
        "circuitflow": "1.0", "circuits": {"step": body},
        "nodes": [{"id": "a", "gate": "input", "value": {"data": 7, "dtype": "int64"}},
                  {"id": "ts", "gate": "input", "shape": ["n"], "dtype": "int64"},
                  {"id": "s", "gate": "scan", "circuit": "step", "inputs": ["a", "ts"], "over": ["t"]}],
        "outputs": ["s"]}))
    assert cf.Executor(made).forward({"ts": np.zeros(0, np.int64)}).outputs["s"].shape == (0,)
    assert cf.Executor(made).forward({"ts": np.array([4, -5])}).outputs["s"].tolist() == [3, -3]


# Seeds ----------------------------------------------------------------------------------------------------------------

def dropped(seed: int, dtype: str = "int64", engine: str = "interpreter") -> tuple[bool, ...]:
    made = Made({"id": "x", "gate": "input", "shape": [64], "dtype": "float64"},
                {"id": "s", "gate": "input", "shape": [], "dtype": dtype},
                   {"id": "f", "gate": "dropout", "inputs": ["x", "s"]})
    return tuple((answer(engine, made, {"x": np.ones(64), "s": np.array(seed, dtype)}) == 0).tolist())


def test_every_bit_of_a_seed_counts():
    seeds = [0, *(sign * 2**n for n in range(63) for sign in (1, -1)), -(2**63), 2**63 - 1, 2**32 + 1, 2**33 - 1,
             1 + 2**40]
    masks = {seed: dropped(seed) for seed in seeds}
    for one, other in itertools.combinations(masks.values(), 2):
        assert 8 < sum(map(operator.ne, one, other)) < 56  # of 64, of which 32 are expected to differ


@pytest.mark.parametrize("engine", ENGINES)
def test_seeds_drop_the_same_everywhere(engine):
    for seed in (0, 7, 2**32 - 1, 2**32, 2**62 + 12345, -1, -(2**40)):
        assert dropped(seed, engine=engine) == dropped(seed)
    assert dropped(-1, "int8", engine) == dropped(-1)


def test_small_seeds_drop_what_they_always_did():
    assert [i for i, gone in enumerate(dropped(7)) if gone][:8] == [0, 2, 3, 5, 6, 7, 12, 14]


# Windows --------------------------------------------------------------------------------------------------------------

@given(size=st.integers(0, 8), k=st.integers(1, 5), s=st.integers(1, 6), d=st.integers(1, 7), before=st.integers(0, 9),
       after=st.integers(0, 9))
@settings(max_examples=few(500))
def test_a_window_of_padding_alone_is_found(size, k, s, d, before, after):
    try:
        frame = Frame((size,), [k], [s], [[before, after]], [d])
    except ShapeError:
        return
    empty = [w for w in range(frame.windows[0]) if not any(0 <= w * s - before + j * d < size for j in range(k))]
    found = frame.empty_window()
    assert found is None if not empty else int(found.split()[1]) in empty


@pytest.mark.parametrize("gate", ["max_pool", "average_pool"])
def test_pools_name_the_window_that_is_empty(gate):
    x = ArrayType((1, 1, 9, 2), "float64")
    window = {**cf.GATES[gate].defaults, "kernel_shape": [1, 2], "strides": None, "dilations": [1, 3],
              "pads": [[0, 0], [1, 1]]}
    with pytest.raises(ShapeError,
                       match=re.escape("needs an element of x in every window; window 0 along axis 3 has positions -1 "
                                       "to 2 in steps of 3, "
                                                   "none of which is in 0 to 1; give smaller pads")):
        cf.GATES[gate].shape(x, **window)
    # wider than the window, and yet each has an element
    wide = {**window, "pads": [[0, 0], [2, 2]], "dilations": [1, 2]}
    assert cf.GATES[gate].shape(x, **wide).shape == (1, 1, 9, 4)


@settings(max_examples=few(60))
@given(data=st.data(), rank=st.integers(1, 2))
def test_output_padding_is_that_of_torch(data, rank):
    """Above the stride, where the dilation allows it, there is room for more windows than x has positions."""
    torch = pytest.importorskip("torch",
                                reason="torch is not installed: it is too large to be a dependency of the tests")
    strides, dilations, kernel, size = (data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
                                        for _ in range(4))
    more = [data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(strides, dilations, strict=True)]
    rng = np.random.default_rng(0)
    given_ = {"x": rng.standard_normal((2, 2, *size)), "w": rng.standard_normal((2, 1, *kernel))}
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in given_.items()}
    convolved = torch.nn.functional.conv_transpose1d if rank == 1 else torch.nn.functional.conv_transpose2d
    theirs = convolved(tensors["x"], tensors["w"], None, strides, 0, more, 2, dilations)
    upstream = rng.standard_normal(theirs.shape)
    slopes = torch.autograd.grad(theirs, list(tensors.values()), torch.tensor(upstream))
    made = circuit(*({"id": name, "gate": "input", "shape": list(x.shape), "dtype": "float64"} for name,
                     x in given_.items()),
                   {"id": "f", "gate": "conv_transpose", "inputs": ["x", "w"], "strides": strides,
                    "dilations": dilations, "output_padding": more, "group": 2})
    for engine in ("interpreter", "staged", "jax")[: 3 if data.draw(st.integers(0, 9)) == 0 else 2]:
        value, gradients = cf.Executor(made).compile(engine=engine)(given_, upstream={"f": upstream})
        np.testing.assert_allclose(value, theirs.detach(), atol=1e-12)
        for found, expected in zip(gradients.values(), slopes, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_output_padding_for_every_axis():
    types = [ArrayType((1, 1, 3), "float64"), ArrayType((1, 1, 2), "float64")]
    with pytest.raises(ShapeError,
                       match="needs 1 in 'output_padding', one for every axis behind the first two; it has 2"):
        cf.GATES["conv_transpose"].shape(*types, **{**cf.GATES["conv_transpose"].defaults, "output_padding": [0, 5]})
