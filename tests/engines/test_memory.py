"""Memory that is used again: whatever the order of arrays in memory, and whatever a caller still holds."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.program.functions import BY_ELEMENT, OWN_PRODUCTS, REDUCTIONS, is_fresh
from circuitflow.engines.program.fusing import OWN, product, select
from circuitflow.engines.program.program import Program
from circuitflow.engines.program.trace import Line, Trace, Value
from circuitflow.engines.staged import buffers
from circuitflow.engines.staged.blocks import Blocks
from circuitflow.engines.staged.rows import Rows
from circuitflow.interpreter.question import Question
from support.documents import circuit
from support.engines import LARGEST, SMALLEST, close
from support.memory_plans import check

THRESHOLDS = {"smallest": SMALLEST, "default": cf.Thresholds(), "largest": LARGEST}


def strided(x):
    return np.repeat(x, 2, axis=-1)[..., ::2]


def reversed_(x):
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1]


def read_only(x):
    x = x.copy()
    x.setflags(write=False)
    return x


LAYOUTS = {"C": np.ascontiguousarray, "Fortran": np.asfortranarray, "strided": strided, "reversed": reversed_,
           "transposed": lambda x: np.ascontiguousarray(x.T).T, "read-only": read_only,
           "swapped": lambda x: np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)}


def network(random, size):
    """Gates that rearrange, beside others that go element by element, on arrays of one size; all that can is read
    twice."""
    nodes = [{"id": "x", "gate": "input", "shape": [size, size]}, {"id": "y", "gate": "input", "shape": [size, size]},
             {"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [size, size], "seed": 0}}]
    square, flat = ["x", "y", "w"], []
    for i in range(random.randint(4, 14)):
        kind = random.choice(["transpose", "exp", "neg", "relu", "tanh", "square", "mul", "sub", "where", "matmul",
                              "reshape", "unflatten",
                              "flip", "div", "sqrt", "roll"])
        a, b = (str(random.choice(square)) for _ in range(2))
        name = f"g{i}"
        match kind:
            case "matmul":
                nodes += [{"id": f"{name}_m", "gate": "matmul", "inputs": [a, b]},
                          {"id": name, "gate": "tanh", "inputs": [f"{name}_m"]}]
            case "mul" | "sub":
                nodes.append({"id": name, "gate": kind, "inputs": [a, b]})
            case "div":
                nodes += [{"id": f"{name}_e", "gate": "exp", "inputs": [b]},
                          {"id": name, "gate": "div", "inputs": [a, f"{name}_e"]}]
            case "sqrt":
                nodes += [{"id": f"{name}_a", "gate": "square", "inputs": [a]},
                          {"id": name, "gate": "sqrt", "inputs": [f"{name}_a"]}]
            case "where":
                nodes += [{"id": f"{name}_c", "gate": "less", "inputs": [a, b]},
                          {"id": name, "gate": "where", "inputs": [f"{name}_c", b, a]}]
            case "reshape":
                nodes.append({"id": name, "gate": "reshape", "inputs": [a], "shape": [size * size]})
                flat.append(name)
                continue
            case "unflatten":
                if not flat:
                    continue
                nodes.append({"id": name, "gate": "reshape", "inputs": [str(random.choice(flat))],
                              "shape": [size, size]})
            case "exp":
                nodes += [{"id": f"{name}_t", "gate": "tanh", "inputs": [a]},
                          {"id": name, "gate": "exp", "inputs": [f"{name}_t"]}]
            case "roll":
                nodes.append({"id": name, "gate": "roll", "inputs": [a], "shift": 1, "axis": 0})
            case "flip":
                nodes.append({"id": name, "gate": "flip", "inputs": [a], "axis": 1})
            case _:
                nodes.append({"id": name, "gate": kind, "inputs": [a]})
        square.append(name)
    outputs = [str(name) for name in random.choice(square[3:], min(3, len(square) - 3), replace=False)] + flat[-1:]
    nodes.append({"id": "total", "gate": "reduce_sum", "inputs": [square[-1]]})
    return circuit(*nodes, outputs=["total", *dict.fromkeys(outputs)])


@pytest.mark.parametrize("thresholds", THRESHOLDS)
@pytest.mark.parametrize("seed", range(40))
def test_networks_that_rearrange(seed, thresholds):
    """Three calls, each in another order in memory, are right; results of earlier ones stay as they were."""
    random = np.random.RandomState(seed)
    size = 70 if seed % 8 == 0 else 5
    made = network(random, size)
    executor = cf.Executor(made, thresholds=THRESHOLDS[thresholds])
    interpreter = cf.Executor(made).compile(engine="interpreter")
    compiled, forward = executor.compile(engine="staged"), executor.compile(wrt=(), engine="staged")
    held = []
    for layout in random.choice(list(LAYOUTS), 3):
        x, y = (LAYOUTS[layout](random.standard_normal((size, size))) for _ in range(2))
        before = x.copy(), y.copy()
        shapes = {name: made.type_of(output).shape for name, output in made.outputs.items()}
        upstream = {name: LAYOUTS[layout](random.standard_normal(shape)) if shape else 0.5 for name,
                    shape in shapes.items()}
        expected = interpreter(x=x, y=y, upstream=upstream)
        found = compiled(x=x, y=y, upstream=upstream)
        held.append((found, expected))
        held.append((forward(x=x, y=y)[0], expected[0]))
        for one, other in held:
            close(one, other, rtol=1e-11)
        np.testing.assert_array_equal((x, y), before)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 4), (64, 64), (65, 65), (16, 16, 17)])
def test_a_result_is_the_callers(layout, shape):
    """Every result of one call, changed by the caller, leaves the next call as it is."""
    names = ["t", "e", "r", "n", "s"]
    made = circuit({"id": "x", "gate": "input", "shape": list(shape)},
                   {"id": "t", "gate": "transpose", "inputs": ["x"]},
                   {"id": "e", "gate": "exp", "inputs": ["t"]},
                   {"id": "r", "gate": "reshape", "inputs": ["e"], "shape": [-1]},
                   {"id": "n", "gate": "neg", "inputs": ["e"]}, {"id": "s", "gate": "reduce_sum", "inputs": ["n"]},
                   outputs=names)
    compiled = cf.Executor(made).compile(wrt=(), engine="staged")
    x = LAYOUTS[layout](np.random.RandomState(0).standard_normal(shape))
    expected = cf.Executor(made).compile(wrt=(), engine="interpreter")(x=x)
    for _ in range(3):
        found = compiled(x=x)
        close(found, expected)
        for name in names[1:]:  # t is a view of what the caller gave
            found[0][name] = np.asarray(found[0][name])
            if found[0][name].flags.writeable:
                found[0][name][...] = -1.0


ARRAYS = [np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.ones((1, 1)),
          np.ones((3, 1)).T, np.ones((0, 2)),
          np.arange(24.0).reshape(2, 3, 4)[:, ::2]]


@pytest.mark.parametrize("function", [*REDUCTIONS, *BY_ELEMENT, np.add, np.negative, np.positive, np.abs, np.matmul,
                                      *OWN_PRODUCTS, *OWN],
                         ids=lambda f: f.__name__)
def test_what_is_fresh(function):
    """It never has the memory of an operand, not for axes of size 1 or none either."""
    assert is_fresh(function) or function in OWN
    for x in ARRAYS:
        if function in (np.add, np.matmul, *OWN_PRODUCTS, product):
            found = [function(x, np.matrix_transpose(x) if function in (np.matmul, *OWN_PRODUCTS) else x)]
        elif function in (np.where, select):
            found = [function(True, x, x), function(x > 0, x, x)]
        elif function is np.clip:
            found = [np.clip(x, None, 9.0), np.clip(x, -9.0, 99.0)]
        elif function is np.astype:
            found = [np.astype(x, x.dtype), np.astype(x, np.float32)]
        elif function in REDUCTIONS:
            axes = [] if function in (np.argmax, np.argmin) else [(), (0, 1)]
            found = [function(x, axis=axis, keepdims=keepdims) for axis in (0, 1, -1, *axes)
                     for keepdims in (False, True)
                     if x.size or function in (np.sum, np.prod, np.any, np.all)]
        else:
            found = [function(x), function(x.astype(np.int64)) if function is not np.isnan else x > 0]
        assert not any(np.shares_memory(x, y) for y in found)


def lines(*made):
    trace = Trace()
    x = Value.like(trace, np.ones((3, 3)))
    known, result = {"x": x}, []
    for name, function, *operands in made:
        known[name] = Value.like(trace, np.ones((3, 3)))
        result.append(Line(function,
                           tuple(known.get(operand, operand) if isinstance(operand, str) else operand
                                 for operand in operands),
                           {}, (known[name],), False, None))
    return Program({"x": x}, result, {"f": known[made[-1][0]]}), known


def test_the_check_of_plans_finds_what_is_wrong():
    """Were a view not to count, or an output ours, it would be found."""
    program, known = lines(("a", np.exp, "x"), ("v", np.transpose, "a"), ("b", np.exp, "x"), ("f", np.add, "b", "v"))
    kind = (3, 3), np.dtype(float)
    good = buffers.allot(program)
    assert len(good.kinds) == 2
    check(program, good)
    for of, message in [({"a": 0, "b": 0}, "reads what is gone"), ({"a": 0, "b": 1, "f": 2}, "given to the caller")]:
        with pytest.raises(AssertionError, match=message):
            check(program, buffers.Buffers([kind] * 3, {id(known[name]): buffer for name, buffer in of.items()}))
    program, known = lines(("a", np.exp, "x"), ("p", np.matmul, "a", "a"), ("f", np.negative, "p"))
    with pytest.raises(AssertionError, match="writes over an operand"):
        check(program, buffers.Buffers([kind], {id(known["a"]): 0, id(known["p"]): 0}))


def test_a_constant_beside_arrays_keeps_its_dtype():
    """Where a function does not go by element, a plain number would be a float64 to it."""
    x = {"id": "x", "gate": "parameter", "dtype": "float32", "value": [1.0, 2.0, 3.0]}
    product = {"id": "f", "gate": "einsum", "inputs": ["x", "x"], "equation": "i,i->"}
    other = {"id": "k", "gate": "constant", "dtype": "float32", "value": 0.1}
    for made in (circuit(x, product),
                 circuit(x, product, other, {"id": "s", "gate": "stack", "inputs": ["f", "k"]}, outputs=["s"])):
        upstream = {} if "f" in made.outputs else {"s": [1.0, 1.0]}
        close(cf.Executor(made).compile(engine="staged")(upstream=upstream),
              cf.Executor(made).compile(engine="interpreter")(upstream=upstream))


def test_buffers_of_few_sizes_are_kept():
    """However many lengths columns have."""
    made = circuit({"id": "x", "gate": "input"}, {"id": "e", "gate": "exp", "inputs": ["x"]},
                   {"id": "f", "gate": "sin", "inputs": ["e"]})
    rows = Rows(Question(cf.Executor(made), None, None), cf.Thresholds(), fast=False)
    for count in range(1, 40):
        close(rows(x=np.full(count, 0.5))[0], np.full(count, np.sin(np.exp(0.5))))
    (blocks,) = (cell.cell_contents for made in rows._fills.values() for cell in made.__closure__
                 if isinstance(cell.cell_contents, Blocks))
    (round_,) = blocks._rounds
    assert 0 < len(round_.rows._free) <= round_.rows.SIZES


def test_plans_are_made_and_checked():
    count = buffers.allot.count
    cf.Executor(cf.load("circuits/mlp.json")).compile()()
    assert buffers.allot.count > count


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [7, 5000])
def test_a_rectifier_keeps_nan_and_has_no_sign_of_zero(size, dtype):
    """As the rule does, on both sides of the size from which `select` is faster: so 1 / relu(x) is ∞, never -∞."""
    c = circuit({"id": "x", "gate": "input", "shape": [size], "dtype": dtype},
                {"id": "f", "gate": "relu", "inputs": ["x"]})
    x = np.resize(np.array([-0.0, np.nan, -np.inf, np.inf, 1.5, -2.0, 0.0], dtype), size)
    with np.errstate(all="ignore"):
        found = cf.Executor(c).compile(wrt=(), engine="staged")(x=x)[0]
        np.testing.assert_array_equal(found, np.where(x <= 0, 0, x))
    assert not np.signbit(found[~np.isnan(found)]).any()
