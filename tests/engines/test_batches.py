"""A large batch goes through a circuit in blocks, and gives what it gives whole."""

from __future__ import annotations

import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.program.trace import Inseparable
from circuitflow.engines.staged.arrays import batch_code
from circuitflow.engines.staged.derived import Derived
from circuitflow.gates import GATES
from circuitflow.interpreter.question import Question
from support.documents import circuit
from support.engines import SMALL, batched, close, inputs_of, upstream_of
from support.gate_examples import EXAMPLES, attributes_of
from support.slices import gate_of

ROWS = 1001
RANDOM = np.random.RandomState(0)




def given_x(shape=("batch", 5), **rest):
    return {"id": "x", "gate": "input", "shape": list(shape), **rest}


def parameter(name, *shape, seed=0):
    return {"id": name, "gate": "parameter", "value": {"random": "normal", "shape": list(shape), "seed": seed}}


def gate(name, kind, *operands, **attributes):
    return {"id": name, "gate": kind, "inputs": list(operands), **attributes}


LAYER = [given_x(), parameter("W", 5, 4), parameter("b", 4, seed=1), gate("p", "matmul", "x", "W"),
         gate("a", "add", "p", "b")]
LABELS = {"id": "t", "gate": "input", "shape": ["batch"], "dtype": "int64"}
NETWORK = [*LAYER, LABELS, gate("h", "relu", "a"), parameter("V", 4, 3, seed=2), gate("q", "matmul", "h", "V"),
           gate("loss", "softmax_cross_entropy_loss", "q", "t")]
X = RANDOM.standard_normal((ROWS, 5))
T = RANDOM.randint(0, 3, ROWS)

SEPARABLE = {
    "loss of a network": (circuit(*NETWORK, outputs=["loss"]), {"x": X, "t": T}),
    "outputs by row": (circuit(*LAYER, gate("f", "tanh", "a")), {"x": X, "df": RANDOM.standard_normal((ROWS, 4))}),
    "sum and rows": (circuit(*LAYER, gate("r", "softmax", "a"), gate("f", "reduce_mean", "r"), outputs=["f", "r"]),
                     {"x": X, "dr": RANDOM.standard_normal((ROWS, 4))}),
    "rows along another axis, and the same rows twice": (
        circuit(*LAYER, gate("t", "tanh", "a"), gate("u", "matrix_transpose", "t"), gate("s", "sin", "u"),
                gate("v", "neg", "a"), outputs=["u", "s", "v", "t"]),
        {"x": X, **{f"d{name}": RANDOM.standard_normal((4, ROWS)) for name in "us"},
         **{f"d{name}": RANDOM.standard_normal((ROWS, 4)) for name in "vt"}}),
    "of float32": (circuit(*LAYER, gate("s", "sigmoid", "a"), gate("f", "reduce_sum", "s"), dtype="float32"),
                   {"x": X.astype(np.float32)}),
    "a function of a mean": (circuit(*LAYER, gate("m", "reduce_mean", "a"), gate("e", "exp", "m"),
                                     gate("f", "mul", "e", "m")), {"x": X}),
    "rows divided by a sum": (circuit(*LAYER, gate("e", "exp", "a"), gate("s", "reduce_sum", "e"),
                                      gate("r", "div", "e", "s"),
                                      gate("l", "log", "r"), gate("m", "mul", "r", "l"), gate("f", "reduce_sum", "m")),
                              {"x": X}),
    "batch normalisation": (circuit(*LAYER, gate("m", "reduce_mean", "a", axis=0, keepdims=True),
                                    gate("c", "sub", "a", "m"),
                                    gate("s", "square", "c"), gate("v", "reduce_mean", "s", axis=0),
                                    gate("d", "sqrt", "v"),
                                    gate("n", "div", "c", "d"), gate("t", "tanh", "n"), gate("f", "reduce_sum", "t")),
                            {"x": X}),
    "layer normalisation": (circuit(*LAYER, parameter("g", 4, seed=3), parameter("o", 4, seed=4),
                                    gate("n", "layer_normalization", "a", "g", "o"),
                                    gate("s", "swish", "n"), gate("f", "reduce_mean", "s")), {"x": X}),
    "matrices in a batch": (circuit(given_x(("batch", 3, 5)), parameter("W", 5, 4), gate("p", "matmul", "x", "W"),
                                    gate("t", "matrix_transpose", "p"),
                                    gate("m", "matmul", "p", "t"), gate("r", "reshape", "m", shape=[-1, 9]),
                                    gate("s", "tanh", "r"),
                                    gate("f", "reduce_sum", "s")), {"x": RANDOM.standard_normal((ROWS, 3, 5))}),
    "scalars in a batch": (circuit(given_x(("batch",)), parameter("w"), gate("p", "mul", "x", "w"),
                                   gate("s", "sin", "p"),
                                   gate("f", "reduce_mean", "s")), {"x": X[:, 0]}),
    "a number of the batch that is selected": (
        circuit(*LAYER, gate("s", "reduce_mean", "a", axis=1), gate("r", "relu", "s"), gate("m", "reduce_mean", "r"),
                {"id": "z", "gate": "constant", "value": 0.5}, gate("c", "max", "r", "z"),
                gate("k", "reduce_mean", "c"),
                gate("f", "add", "m", "k")), {"x": X}),
    "several names": (circuit(given_x(("batch", "time")), gate("e", "exp", "x"), gate("s", "reduce_sum", "e", axis=1),
                              gate("l", "log", "s"),
                              gate("f", "reduce_mean", "l")), {"x": RANDOM.standard_normal((ROWS, 7))}),
    "joined and stacked": (circuit(*LAYER, gate("e", "exp", "x"), gate("c", "concat", "a", "e", axis=1),
                                   gate("t", "tanh", "a"),
                                   gate("k", "stack", "a", "t", axis=2), gate("m", "reduce_max", "k", axis=[1, 2]),
                                   gate("u", "reduce_sum", "c", axis=1),
                                   gate("f", "mul", "u", "m"), gate("g", "reduce_sum", "f"), outputs=["g"]), {"x": X}),
    "what no row reaches": (circuit(*LAYER, gate("e", "exp", "b"), gate("s", "reduce_sum", "a"), outputs=["s", "e"]),
                            {"x": X, "de": np.ones(4)}),
}

INSEPARABLE = {
    "sorted": circuit(*LAYER, gate("s", "sort", "a", axis=0), gate("m", "tanh", "s"), gate("f", "reduce_sum", "m")),
    "running sum": circuit(*LAYER, gate("s", "cum_sum", "a", axis=0), gate("m", "tanh", "s"),
                           gate("f", "reduce_sum", "m")),
    "largest": circuit(*LAYER, gate("f", "reduce_max", "a")),
    "every row with every row": circuit(*LAYER, gate("t", "matrix_transpose", "a"), gate("m", "matmul", "a", "t"),
                                        gate("e", "tanh", "m"),
                                        gate("f", "reduce_sum", "e")),
    "flattened": circuit(*LAYER, gate("r", "reshape", "a", shape=[-1]), gate("e", "tanh", "r"),
                         gate("f", "reduce_sum", "e")),
}


@pytest.mark.parametrize("name", SEPARABLE)
@pytest.mark.parametrize("rows", [ROWS, 640])
def test_blocks_give_what_the_whole_gives(name, rows):
    loaded, given = SEPARABLE[name]
    given = {key: x[:rows] if len(x) == ROWS else x[:, :rows] if x.shape[1:] == (ROWS,) else x
             for key, x in given.items()}
    assert batched(loaded, given).block <= 128
    executor = cf.Executor(loaded, thresholds=SMALL)
    compiled = executor.compile(engine="staged")
    expected = executor.compile(engine="interpreter")(inputs_of(given), upstream=upstream_of(given))
    for _ in range(2):
        close(compiled(inputs_of(given), upstream=upstream_of(given)), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", INSEPARABLE)
def test_rows_that_depend_on_one_another_stay_together(name):
    with pytest.raises(Inseparable):
        batched(INSEPARABLE[name], {"x": X})
    executor = cf.Executor(INSEPARABLE[name], thresholds=SMALL)
    close(executor.compile(engine="staged")(x=X), executor.compile(engine="interpreter")(x=X), rtol=1e-11, atol=1e-12)


def test_a_small_batch_is_not_cut():
    loaded, given = SEPARABLE["loss of a network"]
    with pytest.raises(Inseparable, match="a small batch"):
        batched(loaded, {name: x[:200] for name, x in given.items()})
    with pytest.raises(Inseparable, match="no batch, or several"):
        batched(circuit(parameter("w", 500), gate("f", "reduce_sum", "w")), {})


def test_an_operand_that_a_gate_refuses_is_told_as_by_the_interpreter():
    loaded, _ = SEPARABLE["loss of a network"]
    labels = T.copy()
    labels[700] = 3
    with pytest.raises(cf.GateError,
                       match=re.escape("node 'loss': softmax_cross_entropy_loss: label 3 is out of range for 3 "
                                       "classes")):
        cf.Executor(loaded, thresholds=SMALL).compile(engine="staged")(x=X, t=labels)


TABLE = {"id": "table", "gate": "constant", "value": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}
INDICES = {"id": "i", "gate": "input", "shape": [2], "dtype": "int64"}
LOOKED_UP = circuit(given_x(("batch", 2)), TABLE, INDICES, gate("g", "gather", "table", "i"),
                    gate("p", "matmul", "x", "g"), gate("f", "reduce_sum", "p"))


def test_a_rule_that_is_one_line_makes_its_checks_itself():
    """A gather from a constant cannot be written down; what it had put aside before that was found goes with it."""
    given = {"x": X[:, :2], "i": np.array([2, 0])}
    batched(LOOKED_UP, given)
    executor = cf.Executor(LOOKED_UP, thresholds=SMALL)
    close(executor.compile()(**given), executor.compile(engine="interpreter")(**given), rtol=1e-11)
    with pytest.raises(cf.GateError, match=re.escape("node 'g': gather: ")):
        executor.compile()(x=given["x"], i=np.array([0, 3]))


def random_batch(seed):
    """Gates on rows, sums of them that others need whole, and numbers that go by the size of the batch."""
    random = np.random.RandomState(seed)
    nodes = [given_x(), {"id": "u", "gate": "input", "shape": ["batch"], "value": [0.5] * 3}, parameter("W", 5, 5),
             parameter("b", 5, seed=1)]
    rows, totals = ["x"], ["b"]
    for i in range(random.randint(4, 12)):
        a, t, name = str(random.choice(rows)), str(random.choice(totals)), f"g{i}"
        kind = random.choice(["tanh", "square", "matmul", "add", "sub", "sum", "mean", "max", "total", "size",
                              "product", "divided", "turned",
                              "several", "negative", "variance", "cast", "softmax", "gram", "normalized"])
        match kind:
            case "tanh" | "square" | "softmax":
                nodes.append(gate(name, kind, a))
            case "matmul":
                nodes.append(gate(name, "matmul", a, "W"))
            case "add" | "sub":
                nodes.append(gate(name, kind, a, t))
            case "divided":
                nodes += [gate(f"{name}_e", "exp", t), gate(name, "div", a, f"{name}_e")]
            case "turned":
                nodes += [gate(f"{name}_t", "matrix_transpose", a), gate(f"{name}_s", "sin", f"{name}_t"),
                          gate(name, "matrix_transpose", f"{name}_s")]
            case "several":
                nodes += [gate(f"{name}_r", "reshape", a, shape=[-1, 5, 1]), gate(f"{name}_n", "neg", f"{name}_r"),
                          gate(name, "reshape", f"{name}_n", shape=[-1, 5])]
            case "normalized":
                nodes += [gate(f"{name}_m", "reduce_mean", a, axis=0), gate(f"{name}_c", "sub", a, f"{name}_m"),
                          gate(f"{name}_v", "reduce_var", a, axis=0), gate(f"{name}_e", "exp", f"{name}_v"),
                          gate(name, "div", f"{name}_c", f"{name}_e")]
            case "sum" | "mean" | "max":
                nodes.append(gate(name, f"reduce_{kind}", a, axis=0))
            case "variance":
                nodes.append(gate(name, "reduce_var", a, axis=0, ddof=1))
            case "total":
                nodes += [gate(f"{name}_s", "reduce_sum", a), gate(name, "mul", f"{name}_s", "b")]
            case "size":
                nodes += [gate(f"{name}_n", "size", a), gate(name, "div", "b", f"{name}_n")]
            case "gram":
                nodes += [gate(f"{name}_t", "matrix_transpose", a), gate(f"{name}_m", "matmul", f"{name}_t", a),
                          gate(name, "reduce_mean", f"{name}_m", axis=0)]
            case "product":
                nodes.append(gate(name, "mul", t, str(random.choice(totals))))
            case "negative":
                nodes.append(gate(name, "neg", t))
            case "cast":
                nodes += [gate(f"{name}_i", "cast", t, dtype="int64"), gate(name, "cast", f"{name}_i", dtype="float64")]
        (rows if kind in ("tanh", "square", "softmax", "matmul", "add", "sub", "divided", "turned", "several",
                          "normalized") else totals).append(name)
    nodes += [gate("last", "tanh", rows[-1]), gate("f", "reduce_mean", "last"), gate("n", "size", "x")]
    return circuit(*nodes, gate("unneeded", "reduce_sum", "u"),
                   outputs=["f", "n", rows[-1], *dict.fromkeys(totals[1:])])


@pytest.mark.sliced(seed=lambda seed: seed % 30)
@pytest.mark.parametrize("seed", range(120))
def test_random_batches(seed):
    """Values alone, and gradients of all that is no size, in blocks of several sizes."""
    loaded = random_batch(seed)
    x = np.random.RandomState(seed).standard_normal((300, 5)) / 4
    of = [name for name in loaded.outputs if name != "n"]
    upstream = {name: np.random.RandomState(1).standard_normal([300 if not isinstance(size, int) else size
                                                                for size in loaded.type_of(
        loaded.outputs[name]).shape]) for name in of}
    interpreter = cf.Executor(loaded)
    expected = interpreter.compile(wrt=(), engine="interpreter")(x=x)
    slopes = interpreter.compile(of, ["x", "W", "b"], engine="interpreter")(x=x, upstream=upstream)
    for thresholds in (SMALL, cf.Thresholds(block_rows=1, block_bytes=1), cf.Thresholds(block_rows=7, block_bytes=1)):
        executor = cf.Executor(loaded, thresholds=thresholds)
        close(executor.compile(wrt=())(x=x), expected, rtol=1e-10, atol=1e-11)
        close(executor.compile(of, ["x", "W", "b"])(x=x, upstream=upstream), slopes, rtol=1e-10, atol=1e-11)


def test_random_batches_are_cut():
    """So that the test of them has something to test."""
    for seed in range(120):
        question = Question(cf.Executor(random_batch(seed)), None, ())
        derived = Derived(question)
        bound = question.bind({"x": np.zeros((300, 5))}, {})
        batch_code(derived, derived.arrays(*bound), SMALL)


def batch_of(example):
    """A gate on operands whose leading axis is a batch of many rows, and something after it; None where that cannot
    be."""
    first = example.operands[0].shape[:1]
    if not first or first[0] < 2:
        return None
    nodes, given = [], {}
    for i, x in enumerate(example.operands):
        is_batch = x.shape[:1] == first
        shape = ["batch", *x.shape[1:]] if is_batch else list(x.shape)
        nodes.append({"id": f"x{i}", "gate": "input", "shape": shape, "dtype": str(x.dtype)})
        given[f"x{i}"] = np.concatenate([x] * (650 // first[0])) if is_batch else x
    names = [node["id"] for node in nodes]
    outputs = GATES[example.gate].output_names(attributes_of(example))
    nodes += [gate("y", example.gate, *names, **attributes_of(example)),
              gate("z", "tanh", f"y.{outputs[0]}" if outputs else "y"),
              gate("f", "reduce_mean", "z")]
    try:
        return circuit(*nodes), given
    except cf.DocumentError:
        return None


@pytest.mark.sliced(example=gate_of)
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate_on_a_batch(example):
    made = batch_of(example)
    if made is None or not all(x.dtype == np.float64 or x.dtype.kind in "bi" for x in example.operands):
        return
    loaded, given = made
    executor = cf.Executor(loaded, thresholds=SMALL)
    try:
        expected = executor.compile(engine="interpreter")(inputs_of(given), upstream=upstream_of(given))
        compiled = executor.compile(engine="staged")
    except cf.CircuitflowError:
        return
    close(compiled(inputs_of(given), upstream=upstream_of(given)), expected, rtol=1e-11, atol=1e-12)


def test_most_gates_take_a_batch_apart():
    """So that the test of every gate has something to test."""
    found = set()
    for example in EXAMPLES:
        made = batch_of(example)
        if made is not None:
            try:
                batched(*made)
            except (Inseparable, cf.CircuitflowError):
                continue
            found.add(example.gate)
    assert len(found) >= 90
    assert found >= {"add", "mul", "relu", "softmax", "matmul", "layer_normalization", "reduce_sum",
                     "softmax_cross_entropy_loss"}


def test_memory_does_not_grow_with_the_rows():
    loaded = circuit(given_x(), *LAYER[1:], *(gate(f"t{i}", "tanh", f"t{i - 1}" if i else "a") for i in range(20)),
                     gate("f", "reduce_sum", "t19"))
    compiled = cf.Executor(loaded, thresholds=cf.Thresholds(block_bytes=2**20)).compile(wrt=["W", "b"], engine="staged")

    def peak(rows):
        x = np.ones((rows, 5))
        compiled(x=x)
        tracemalloc.start()
        compiled(x=x)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(20_000), peak(200_000)
    assert large < 1.2 * small < 200_000 * 8 * 4  # one result of a layer


def test_threads_share_a_function():
    loaded, given = SEPARABLE["rows divided by a sum"]
    compiled = cf.Executor(loaded, thresholds=SMALL).compile(engine="staged")
    alone = [compiled(x=given["x"] * k)[0] for k in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda k: compiled(x=given["x"] * k)[0], range(1, 9))) == alone
