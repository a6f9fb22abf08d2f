"""Circuits written in Python, as NumPy functions and as expressions: the same mathematics gives equal numbers."""

from __future__ import annotations

import copy
import json
import keyword
import math
import pickle

import numpy as np
import pytest
import scipy.special
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.authoring.functions import FUNCTIONS
from circuitflow.authoring.ufuncs import UFUNCS
from circuitflow.gates import GATES
from support.gate_examples import EXAMPLES, attributes_of
from support.slices import few
from support.suite import ROOT


def values(circuit, **inputs):
    return cf.Executor(circuit).forward(inputs).outputs


def only(circuit, **inputs):
    (value,) = values(circuit, **inputs).values()
    return value


def nodes(circuit):
    return [f"{node.id} = {node.kind}({', '.join(edge.source for edge in node.operands)})"
            for node in circuit.nodes.values() if not node.is_source]


# The builder ----------------------------------------------------------------------------------------------------------

def test_a_circuit_is_written_gate_by_gate():
    with cf.build("neuron", description="one neuron") as c:
        x, w, b = c.input("x", -1.0, label="pixel"), c.parameter("w", 2.0), c.constant("b", 0.5)
        s = c.name(x * w + b, "s")
        c.output(s.sigmoid(), "f")
    assert json.loads(cf.dumps(c.circuit)) == {
        "circuitflow": "1.0", "name": "neuron", "description": "one neuron", "nodes": [
            {"id": "x", "gate": "input", "value": -1, "label": "pixel"}, {"id": "w", "gate": "parameter", "value": 2},
            {"id": "b", "gate": "constant", "value": 0.5}, {"id": "mul_x_w", "gate": "mul", "inputs": ["x", "w"]},
            {"id": "s", "gate": "add", "inputs": ["mul_x_w", "b"]}, {"id": "f", "gate": "sigmoid", "inputs": ["s"]}],
        "outputs": ["f"]}
    assert only(c.circuit) == pytest.approx(1 / (1 + math.exp(1.5)))


def test_what_is_written_twice_is_there_twice_and_what_nothing_reads_is_not():
    c = cf.build()
    x = c.input("x", 2.0)
    x.exp()
    c.output(x.sigmoid() + x.sigmoid() * 1, "f")
    assert nodes(c.circuit) == ["sigmoid_x = sigmoid(x)", "sigmoid_x_2 = sigmoid(x)", "mul = mul(sigmoid_x_2, one)",
                                "f = add(sigmoid_x, mul)"]


def test_named_stages_stay_and_names_pass_on_what_has_a_name_already():
    c = cf.build()
    x = c.input("x", 2.0)
    y = c.name(x.exp(), "y")
    c.name(x.neg(), "unread")
    c.output(c.name(y, "z"))
    c.output(x, "w")
    assert nodes(c.circuit) == ["y = exp(x)", "unread = neg(x)", "z = identity(y)", "w = identity(x)"]
    assert list(c.circuit.outputs) == ["z", "w"]


def test_every_value_that_a_document_can_have_can_be_given():
    c = cf.build(dtype="float32")
    wires = [c.input("a", [[1, 2], [3, 4.5]]), c.parameter("b", {"random": "normal", "shape": [2], "seed": 1}),
             c.input("c", np.arange(2)),
             c.input("d", np.array([True, False])), c.input("e", math.inf), c.input("g", shape=["n", 2]),
             c.input("h", 1, dtype="int8"),
             c.input("i", {"data": [1, 2], "dtype": "int64"}), c.input("j", np.float64(2)),
             c.input("k", np.zeros((0, 3)), dtype="float64"),
             c.input("m", [1.0, 2.0], shape=["n"]), c.input("n", True)]
    assert [(w.dtype, len(w.shape)) for w in wires] == [
        ("float32", 2), ("float32", 1), ("int64", 1), ("bool", 1), ("float32", 0), ("float32", 2), ("int8", 0),
        ("int64", 1), ("float64", 0),
        ("float64", 2), ("float32", 1), ("bool", 0)]
    for i, wire in enumerate(wires):
        c.output(wire, f"out{i}")
    written = json.loads(cf.dumps(c.circuit))
    assert written["dtype"] == "float32"
    assert written["nodes"][:12] == [
        {"id": "a", "gate": "input", "value": [[1, 2], [3, 4.5]]},
        {"id": "b", "gate": "parameter", "value": {"random": "normal", "shape": [2], "seed": 1}},
        {"id": "c", "gate": "input", "value": [0, 1], "dtype": "int64"},
        {"id": "d", "gate": "input", "value": [True, False]},
        {"id": "e", "gate": "input", "value": "Infinity"}, {"id": "g", "gate": "input", "shape": ["n", 2]},
        {"id": "h", "gate": "input", "value": 1, "dtype": "int8"},
        {"id": "i", "gate": "input", "value": {"data": [1, 2], "dtype": "int64"}},
        {"id": "j", "gate": "input", "value": 2, "dtype": "float64"},
        {"id": "k", "gate": "input", "value": {"data": [], "shape": [0, 3], "dtype": "float64"}},
        {"id": "m", "gate": "input", "value": [1, 2], "shape": ["n"]}, {"id": "n", "gate": "input", "value": True}]


def test_numbers_take_the_dtype_beside_them_if_it_can_hold_them():
    c = cf.build()
    i = c.input("i", np.array([1, 2]))
    x = c.input("x", np.float32(2))
    assert (i + 1).dtype == "int64"
    assert (x * 2).dtype == (x * 0.5).dtype == c.mul(x, 0.5).dtype == "float32"
    assert (2 ** c.input("y", 3.0)).dtype == "float64"
    assert (i * 0.5).dtype == (x * np.float64(2)).dtype == (x * i).dtype == "float64"  # operators are NumPy's
    with pytest.raises(cf.InputError, match="mul .*int64"):
        c.mul(i, 0.5)


@pytest.mark.parametrize(("write", "message"), [
    (lambda c: c.input("2x"),
     '"2x" cannot be the name of a node: expected letters, digits and underscores, not beginning with a digit, at most '
     '128'),
    (lambda c: c.input("x" * 129), "cannot be the name of a node"),
    (lambda c: (c.input("x"), c.parameter("x", 1)), "there is a node 'x' already; give this one another name"),
    (lambda c: c.sigmod(c.input("x")), "there is no gate \"sigmod\"; did you mean 'sigmoid'\\?"),
    (lambda c: c.expit(c.input("x")), "there is no gate \"expit\"; here it is called 'sigmoid'"),
    (lambda c: c.maximum(c.input("x"), 1), "there is no gate \"maximum\"; here it is called 'max'"),
    (lambda c: c.Relu(c.input("x")), "there is no gate \"Relu\"; here it is called 'relu'"),
    (lambda c: c.sigmoid(c.input("x"), 2), "sigmoid takes 1 operand \\(x\\), not 2"),
    (lambda c: c.add(c.input("x")), "add takes 2 operands or more, not 1; did you mean 'reduce_sum'\\?"),
    (lambda c: c.mean(c.input("x", [1, 2])), "mean takes 2 operands or more, not 1; did you mean 'reduce_mean'\\?"),
    (lambda c: c.gemm(c.input("x")), "gemm takes 2 to 3 operands \\(a, b, c\\), not 1"),
    (lambda c: c.reduce_sum(c.input("x"), axs=1), "reduce_sum has no attribute 'axs'; did you mean 'axis'\\?"),
    (lambda c: c.reduce_sum(c.input("x"), axis="a"), "'axis' is \"a\"; expected"),
    (lambda c: c.matmul(c.input("x", [1, 2]), c.input("y", [1, 2, 3])), "matmul .*2.*3"),
    (lambda c: c.output(3.0), "output: wire is 3.0; expected a wire of cf.build"),
    (lambda c: c.add(c.input("x"), "y"),
     "an operand is \"y\"; expected a wire, a number or a rectangular array of them"),
    (lambda c: c.add(c.input("x"), ["y"]),
     "an operand is a list of 1; expected a wire, a number or a rectangular array of them"),
    (lambda c: c.add(c.input("x"), cf.build().input("y")),
     "a wire of another circuit; every wire of a circuit comes from its own builder"),
    (lambda c: c.input("x", dtype="float"),
     "'x': there is no dtype \"float\"; did you mean 'float64'\\?; there are float64"),
    (lambda c: c.input("x", object()), "'x' is a object; expected a number, lists of numbers or an array"),
    (lambda c: c.input("x", 1, unit="m"),
     "'x': there is no \"unit\"; beside its value, shape and dtype a node has a label, a description and metadata"),
    (lambda c: c.input("x", np.array(["a"])), "expected numbers, not <U1"),
    (lambda c: c.circuit, 'a circuit needs an output: c.output\\(wire, "f"\\)'),
])
def test_what_cannot_be_written_is_refused(write, message):
    with pytest.raises(cf.InputError, match=message):
        write(cf.build())


def test_a_value_that_is_none_of_a_document_is_refused_with_its_place():
    for value, message in [("text", "value of 'x':1:1: .*without quotes"), ([[1], [1, 2]], "value of 'x':1:"),
                           ({"random": "normal"}, "value of 'x':1:"),
                           (2**70 + 1, "value of 'x'")]:
        with pytest.raises(cf.DocumentError, match=message):
            cf.build().input("x", value)
    with pytest.raises(cf.InputError, match="the dtype of a circuit is float64 or float32, not \"int64\""):
        cf.build(dtype="int64")
    with pytest.raises(cf.InputError, match="needs an output"), cf.build() as c:
        c.input("x")
    with pytest.raises(ZeroDivisionError), cf.build():
        1 / 0  # noqa: B018
    with pytest.raises(AttributeError):
        cf.build()._nothing  # noqa: B018


def test_tensor_files_are_looked_for_in_the_folder_given(tmp_path):
    from safetensors.numpy import save_file

    save_file({"W": np.eye(2)}, tmp_path / "w.safetensors")
    c = cf.build(folder=tmp_path)
    c.output(c.parameter("W", {"file": "w.safetensors", "tensor": "W"}).reduce_sum(), "f")
    assert only(c.circuit) == 2
    with pytest.raises(cf.DocumentError, match="a document without a folder has no files beside it"):
        cf.build().parameter("W", {"file": "w.safetensors", "tensor": "W"})


def test_a_wire_says_what_it_is():
    c = cf.build()
    x = c.input("x", shape=["n", 3])
    assert repr(x) == "<wire x: float64 (n, 3)>"
    assert repr(x + 1) == "<wire add: float64 (n, 3)>"
    with pytest.raises(AttributeError, match="a wire has no 'sigmod'; did you mean 'sigmoid'\\?"):
        x.sigmod  # noqa: B018


@pytest.mark.parametrize("of", [lambda c, x: c, lambda c, x: x, lambda c, x: x.sigmoid(), lambda c,
                                x: c.conv(x, np.ones((1, 1, 1)))])
def test_what_has_gates_as_methods_is_an_object_like_any_other(of):
    c = cf.build()
    thing = of(c, c.input("x", shape=[1, 1, 3]))
    assert not hasattr(thing, "no_such_gate")
    assert not hasattr(thing, "__no_such_protocol__")
    assert getattr(thing, "sigmod", None) is None
    with pytest.raises(cf.InputError, match="did you mean 'sigmoid'\\?") as caught:
        thing.sigmod  # noqa: B018
    assert isinstance(caught.value, AttributeError)
    assert repr(pickle.loads(pickle.dumps(caught.value))) == repr(caught.value)
    assert {"sigmoid", "conv", *dir(type(thing))} <= set(dir(thing))
    for twin in (copy.copy(thing), copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert type(twin) is type(thing)
        assert twin.sigmoid is not None


def test_a_copy_of_a_builder_goes_on_by_itself():
    c = cf.build()
    x = c.input("x", 2.0)
    twin, its_x = copy.deepcopy((c, x))
    twin.output(its_x * 3, "f")
    c.output(x * 5, "f")
    assert only(twin.circuit) == 6
    assert only(c.circuit) == 10
    with pytest.raises(cf.InputError, match="a wire of another circuit"):
        twin.sigmoid(x)


# NumPy on wires -------------------------------------------------------------------------------------------------------

RANDOM = np.random.RandomState(0)
A, B, V, P = RANDOM.standard_normal((3,
                                     4)), RANDOM.standard_normal((3,
                                                                  4)), RANDOM.standard_normal(4), np.abs(
                                                                      RANDOM.standard_normal((3, 4))) + 0.1
S = RANDOM.standard_normal((3, 3)) + 3 * np.eye(3)
T = RANDOM.standard_normal((2, 3, 1, 4))
I = np.array([2, 0])  # noqa: E741

CALLS = {
    "fix": [lambda a: np.fix(a * 3)], "isposinf": [lambda a: np.isposinf(a)], "isneginf": [lambda a: np.isneginf(a)],
    "sum": [lambda a: np.sum(a), lambda a: np.sum(a, axis=1), lambda a: np.sum(a, axis=(0, 1), keepdims=True),
            lambda a: a.sum(0)],
    "mean": [lambda a: a.mean(axis=-1, keepdims=True)], "prod": [lambda a: np.prod(a, 0)], "max": [lambda a: a.max(1)],
    "min": [lambda a: np.min(a)],
    "argmax": [lambda a: np.argmax(a, axis=1) + 0], "argmin": [lambda a: np.argmin(a, axis=0) + 0],
    "var": [lambda a: np.var(a, axis=1, ddof=1)], "std": [lambda a: a.std(axis=0)],
    "cumsum": [lambda a: np.cumsum(a), lambda a: np.cumsum(a, axis=1)], "cumprod": [lambda a: np.cumprod(a, axis=0)],
    "cumulative_sum": [lambda a: np.cumulative_sum(a, axis=0)],
    "cumulative_prod": [lambda a: np.cumulative_prod(a, axis=1)],
    "matrix_norm": [lambda a: np.linalg.matrix_norm(a), lambda a: np.linalg.matrix_norm(a, ord="nuc", keepdims=True)],
    "eigvalsh": [lambda a: np.linalg.eigvalsh(a @ a.T)], "svdvals": [lambda a: np.linalg.svdvals(a)],
    "norm": [lambda a: np.linalg.norm(a), lambda a: np.linalg.norm(a, axis=1), lambda a: np.linalg.norm(a[0], 1)],
    "vector_norm": [lambda a: np.linalg.vector_norm(a),
                    lambda a: np.linalg.vector_norm(a, axis=0, ord=1, keepdims=True)],
    "dot": [lambda a: np.dot(a, V), lambda a: a[0].dot(a[1]), lambda a: np.dot(a, 2.0)],
    "outer": [lambda a: np.outer(a[0], a[1])],
    "einsum": [lambda a: np.einsum("ij, kj -> ik", a, B)], "trace": [lambda a: np.trace(a), lambda a: a.trace(1)],
    "diagonal": [lambda a: np.diagonal(a), lambda a: a.diagonal(-1)],
    "transpose": [lambda a: np.transpose(a), lambda a: a.transpose(1, 0), lambda a: a.T, lambda a: a.transpose((1, 0))],
    "matrix_transpose": [lambda a: np.matrix_transpose(a), lambda a: a.mT if not isinstance(a, np.ndarray) else a.T],
    "swapaxes": [lambda a: np.swapaxes(a, 0, 1), lambda a: a.swapaxes(-1, 0)],
    "moveaxis": [lambda a: np.moveaxis(np.stack([a, a, a, a, a]), 0, -1)],
    "reshape": [lambda a: np.reshape(a, (4, 3)), lambda a: a.reshape(2, -1), lambda a: a.reshape(-1),
                lambda a: a.reshape((6, 2)), lambda a: np.reshape(a, 12)],
    "ravel": [lambda a: np.ravel(a), lambda a: a.ravel(), lambda a: a.flatten()],
    "squeeze": [lambda a: np.squeeze(a.reshape(1, 3, 1, 4)), lambda a: a.reshape(1, 3, 1, 4).squeeze(axis=(0, 2))],
    "expand_dims": [lambda a: np.expand_dims(a, 1), lambda a: np.expand_dims(a, (0, -1))],
    "broadcast_to": [lambda a: np.broadcast_to(a, (2, 3, 4))],
    "concatenate": [lambda a: np.concatenate([a, B], axis=1), lambda a: np.concatenate([a, B], axis=None)],
    "stack": [lambda a: np.stack([a, B], axis=-1)],
    "split": [lambda a: np.split(a, 3)[1], lambda a: np.split(a, [1, 3], axis=1)[1]],
    "flip": [lambda a: np.flip(a, 0), lambda a: np.flip(a)],
    "roll": [lambda a: np.roll(a, 2, axis=1), lambda a: np.roll(a, 5)],
    "tile": [lambda a: np.tile(a, 2), lambda a: np.tile(a, (2, 1, 3))],
    "pad": [lambda a: np.pad(a, ((1, 0), (2, 1))), lambda a: np.pad(a, 1)], "triu": [lambda a: np.triu(a, 1)],
    "tril": [lambda a: np.tril(a)],
    "where": [lambda a: np.where(a > 0, a, -1.0)],
    "clip": [lambda a: np.clip(a, -0.5, 0.5), lambda a: a.clip(max=0.5), lambda a: np.clip(a, B - 1, B + 1),
                                                            lambda a: np.clip(a, None, B)],
    "round": [lambda a: np.round(3 * a), lambda a: (3 * a).round()], "sinc": [lambda a: np.sinc(a)],
    "take": [lambda a: np.take(a, I, axis=1), lambda a: np.take(a, I), lambda a: a.take(np.array([[0, 1]]), axis=0)],
    "take_along_axis": [lambda a: np.take_along_axis(a, np.array([[1], [0], [3]]), axis=1)],
    "sort": [lambda a: np.sort(a), lambda a: np.sort(a, axis=0)], "argsort": [lambda a: np.argsort(a, axis=0) + 0],
    "zeros_like": [lambda a: a + np.zeros_like(a)], "ones_like": [lambda a: a + np.ones_like(a)],
    "shape": [lambda a: a * np.shape(a)[1]],
    "ndim": [lambda a: a * np.ndim(a)], "size": [lambda a: a * np.size(a), lambda a: a * a.size],
    "copy": [lambda a: np.copy(a) + a.copy()],
    "det": [lambda a: np.linalg.det(a[:, :3] + 3 * np.eye(3))],
    "inv": [lambda a: np.linalg.inv(a[:, :3] + 3 * np.eye(3))],
    "slogdet": [lambda a: np.linalg.slogdet(a[:, :3] + 3 * np.eye(3))[1]], "solve": [lambda a: np.linalg.solve(S, a)],
    "cholesky": [lambda a: np.linalg.cholesky(a @ a.T + np.eye(3))], "eigh": [lambda a: np.linalg.eigh(a @ a.T)[0]],
    "qr": [lambda a: np.abs(np.linalg.qr(a)[1])], "svd": [lambda a: np.linalg.svd(a, full_matrices=False)[1]],
    "amax": [lambda a: np.amax(a, axis=0)], "amin": [lambda a: np.amin(a)],
}


def test_every_function_has_a_call():
    assert set(CALLS) == {f.__name__ for f in FUNCTIONS}


@pytest.mark.parametrize("call", [call for calls in CALLS.values() for call in calls],
                         ids=[f"{name}-{i}" for name, calls in CALLS.items() for i in range(len(calls))])
def test_a_numpy_function_is_the_gate_that_it_is(call):
    expected = np.asarray(call(A))
    found = np.asarray(only(cf.trace(call, A)))
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_a_ufunc_is_the_gate_that_it_is(ufunc):
    name = ufunc.__name__
    logical = name.startswith(("logical", "bitwise", "invert"))
    first = P + 1 if name in ("arccosh",) else P / (1 + P)
    operands = [first, P + 0.25][: ufunc.nin] if not logical else [A > 0, B > 0][: ufunc.nin]
    if name in ("matmul", "vecmat"):
        operands[1] = operands[1].T
    expected = ufunc(*operands)
    found = only(cf.trace(lambda *xs: ufunc(*xs), *operands))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("call", [lambda a, b: a // b, lambda a, b: np.stack(divmod(a, b)), lambda a,
                                  b: np.stack(divmod(7, b)), lambda a, b: 3 // b, lambda a, b: +a, lambda a, b: -a,
                                  lambda a, b: abs(a), lambda a, b: a % b, lambda a, b: b**a,
                                  lambda a, b: 2**a, lambda a, b: a @ b.T, lambda a, b: B @ a.T, lambda a, b: B * a,
                                  lambda a, b: np.float64(2) * a,
                                  lambda a, b: 1 / b, lambda a, b: 1 - a, lambda a,
                                  b: np.where((a > b) & ~(a == b) | (a != 0), a, b),
                                  lambda a, b: np.where((a >= 0) ^ (b <= 1), a, b), lambda a, b: a.astype("float32"),
                                  lambda a, b: a.astype(float),
                                  lambda a, b: sum(row * 2 for row in a), lambda a, b: len(a) * b])
def test_operators(call):
    expected = call(A, P)
    found = only(cf.trace(call, A, P))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12)


index = st.one_of(st.none(), st.integers(-3, 2), st.slices(4), st.just(Ellipsis))


@settings(max_examples=few(200))
@given(st.lists(index, max_size=5).map(tuple))
def test_indices_are_numpys(key):
    x = np.arange(24.0).reshape(4, 3, 2)
    try:
        expected = x[key]
    except IndexError:
        with pytest.raises(cf.InputError, match="index|indices"):
            cf.trace(lambda x: x[key], x)
        return
    assume(expected.size)
    np.testing.assert_array_equal(only(cf.trace(lambda x: x[key] + 0.0, x)), expected)


def test_an_index_of_indices_gathers():
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(only(cf.trace(lambda x: x[[2, 0]], x)), x[[2, 0]])
    np.testing.assert_array_equal(only(cf.trace(lambda x, i: x[:, i], x, np.array([3, 1]))), x[:, [3, 1]])


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: x if x[0, 0] > 0 else -x,
     "this asks for the truth of a wire \\(bool \\(\\)\\), which is known only when the circuit runs: choose between "
     "values "
                                         "with np.where, and decide outside of the circuit which gates there are"),
    (lambda x: float(x[0, 0]) * x, "asks for a value of a wire \\(float64 \\(\\)\\)"),
    (lambda x: int(x[0, 0]) * x, "a value"),
    (lambda x: x[0, 0].item() * x, "a value"), (lambda x: x.tolist(), "a value"), (lambda x: range(x[0, 0]), "a value"),
    (lambda x: np.asarray(x) + 1, "a value"),
    (lambda x: math.sin(x[0, 0]), "a value"),
    (lambda x: x[x > 0], "an index is a mask, so the shape would depend on a value: choose with np.where"),
    (lambda x: x[..., ...], "an index has one ellipsis at most"),
    (lambda x: x[0, 0, 0], "3 indices for a wire of 2 dimensions"),
    (lambda x: x[7], "index 7 is outside of dimension 0, which has size 3"),
    (lambda x: x[::0], "an index has the step 0; expected another whole number"),
    (lambda x: x[[0, 9]], "index 9 is outside of dimension 0"),
    (lambda x: x[[0, 1], [1, 2, 3]], "the arrays of an index: cannot broadcast"),
    (lambda x: x[[True, False]], "a mask of shape \\(2,\\) for dimensions of sizes \\(3,\\)"),
    (lambda x: x[[0.5]], "an index is float64; expected whole numbers, so cast it"),
    (lambda x: x.__setitem__(0, 1.0), "the elements of a wire cannot be assigned to: choose with np.where"),
    (lambda x: x.sort(), "a wire is not sorted in place; write np.sort\\(x\\)"),
    (lambda x: x.astype("f4", casting="safe"), "float64 is not cast to float32 by the rule \"safe\""),
    (lambda x: f"{x:.2f}", "asks for a value"), (lambda x: round(x), "asks for a whole number of Python"),
    (lambda x: math.trunc(x), "asks for a whole number of Python"),
    (lambda x: np.array([x, x]), "np.stack and np.concatenate make one array of wires"),
    (lambda x: x << 1, "np.left_shift cannot be written as a gate"),
    (lambda x: pow(x, 2, 3), "np.power of wires does not take that"),
    (lambda x: x * np.asarray(V).view(np.matrix),
     "an operand is a matrix of NumPy, whose product \\* is no product of elements; expected an array, so give "
     "numpy.asarray"),
    (lambda x: x * np.ma.array(V), "an operand is a masked array, .* so fill it, as x.filled\\(0.0\\) does"),
    (lambda x: x * V.astype(object), "an operand is an array of objects"),
    (lambda x: np.sum(x, axis=[[0]]), "'axis' is a list of 1"),
    (lambda x: np.reshape(x, (4, 3), order="F"),
     "np.reshape of wires takes 'a', 'shape', not 'order': rows come first"),
    (lambda x: np.argmax(x) // 2, "np.floor_divide of wires does not take that: whole numbers; cast one of them to "
                                  "float64"),
    (lambda x: np.where(x > 0), "the condition alone; how many places there are depends on its values"),
    (lambda x: x[1.5:], "expected whole numbers that are known before the circuit runs"),
    (lambda x: np.linalg.matrix_rank(x), "np.matrix_rank cannot be written as a gate"),
    (lambda x: np.nextafter(x, x), "np.nextafter cannot be written as a gate; `circuitflow gates` lists them"),
    (lambda x: np.copysign(x, x),
     "np.copysign cannot be written as a gate; write where\\(y < 0, -abs\\(x\\), abs\\(x\\)\\), where y is not -0"),
    (lambda x: np.ptp(x), "np.ptp cannot be written as a gate; write reduce_max\\(x\\) - reduce_min\\(x\\)"),
    (lambda x: np.fmod.reduce(x), "np.fmod.reduce cannot be written as a gate$"),
    (lambda x: np.add.reduce(x), "np.add.reduce cannot be written as a gate; write np.sum"),
    (lambda x: np.exp(x, where=True), "np.exp with where cannot be written as a gate: leave out all but the operands"),
    (lambda x: np.sum(x, initial=3), "np.sum of wires takes 'a', 'axis', 'dtype', 'keepdims', not 'initial': add it to "
                                     "the elements"),
    (lambda x: np.pad(x, 1, mode="edge"), "np.pad of wires takes .* not 'mode'"),
    (lambda x: np.linalg.norm(x, 3), "np.norm of wires does not take that: ord=3 for matrices; 'fro', 'nuc', 1"),
    (lambda x: np.linalg.vector_norm(x, ord=3), "ord=3 for vectors; 1, 2, np.inf or -np.inf"),
    (lambda x: np.linalg.svd(x), "full_matrices=True"),
    (lambda x: np.dot(x, np.ones((2, 2, 2))), "einsum needs equal sizes"),
    (lambda x: x + np.ones(7), "add cannot broadcast"),
    (lambda x: "x", "the function gives \"x\" for 'f', which depends on no input"),
    (lambda x: None, "the function gives null for 'f'"),
])
def test_what_is_no_circuit_is_refused(call, message):
    with pytest.raises(cf.InputError, match=message):
        cf.trace(call, A)
    with pytest.raises(TypeError, match="a scalar wire has no length"):
        cf.trace(lambda x: len(x), 1.0)


def test_named_dimensions_have_no_length():
    c = cf.build()
    x = c.input("x", shape=["n", 2])
    for ask in (lambda: len(x), lambda: x.size, lambda: list(x)):
        with pytest.raises(cf.InputError,
                           match="this asks for (its length|the number of its elements) of a wire \\(float64 \\(n, "
                                 "2\\)\\)"):
            ask()
    c.output(np.zeros_like(x) + x[:, 1:] * np.ones_like(x), "f")
    assert "zeros_like" in [node.kind for node in c.circuit.nodes.values()]
    np.testing.assert_array_equal(only(c.circuit, x=np.ones((3, 2))), np.ones((3, 2)))


def test_what_was_changed_in_place_is_not_read_any_more():
    def good(x):
        y = x + 0
        y += 1
        v = y[0].copy()
        v *= 2
        s = v.sum()
        t = s
        s -= 1  # a number
        return (y * v * s - t) // 2

    np.testing.assert_array_equal(only(cf.trace(good, A)), good(A.copy()))
    for bad in (lambda x, y: x, lambda x, y: x[0] + y, lambda x, y: y, lambda x, y: np.concatenate([x, y])):
        def f(x, bad=bad):
            y = x.T
            z = y[:1]
            z += 1
            return bad(x, y)

        with pytest.raises(cf.InputError, match="this array shares its memory with one that was changed in place, as "
                                                "by y \\+= 1; a circuit keeps no memory: write y = y \\+ 1, or begin "
                                                "with"):
            cf.trace(f, A)

    def wider(x):
        x += np.ones((5, 3, 4))
        return x

    with pytest.raises(cf.InputError,
                       match="float64 \\(5, 3, 4\\) does not go in place of float64 \\(3, 4\\); give the result a name "
                             "of its own"):
        cf.trace(wider, A)


def test_indices_beside_named_dimensions():
    c = cf.build()
    x = c.input("x", shape=["n", 2])
    with pytest.raises(cf.InputError,
                       match="an index goes backward along n, of which the size is not known; flip first"):
        x[5:0:-1]
    i = c.input("i", shape=["m"], dtype="int64")
    c.output(x[::-1][i, [1]], "f")
    np.testing.assert_array_equal(only(c.circuit, x=np.arange(6.0).reshape(3, 2), i=[0, 2]), [5, 1])


def test_bfloat16_which_numpy_has_not_is_left_alone():
    c = cf.build()
    y = c.cast(c.input("y", [1.0]), dtype="bfloat16")
    assert (y + y).dtype == np.concatenate([y, y]).dtype == "bfloat16"


# Tracing --------------------------------------------------------------------------------------------------------------

def layer(params, x):
    return np.tanh(x @ params["W"] + params["b"])


def test_a_function_of_a_dictionary_becomes_a_circuit_with_parameters():
    params = {"W": A.T, "b": V[:3]}
    circuit = cf.trace(layer, params, B, parameters=["params"])
    assert [(n.id, n.kind) for n in circuit.nodes.values()
            if n.is_source] == [("params_W", "parameter"), ("params_b", "parameter"), ("x", "input")]
    assert circuit.name == "layer"
    assert list(circuit.outputs) == ["layer"]
    np.testing.assert_array_equal(only(circuit), layer(params, B))
    assert [n.kind for n in cf.trace(layer, params, B, parameters="params_b", name="other").nodes.values()
            if n.is_source] == ["input", "parameter", "input"]


def test_outputs_of_every_kind_and_names_that_collide():
    assert list(cf.trace(lambda x: {"a": x + 1, "b c": x * 2}, 1.0).outputs) == ["a", "b_c"]
    assert list(cf.trace(lambda x: (x + 1, x * 2), 1.0).outputs) == ["f_0", "f_1"]
    def x(x):
        return x + 1
    assert list(cf.trace(x, 1.0).outputs) == ["x_"]
    assert list(cf.trace(lambda f: f, 1.0).outputs) == ["f"]
    assert values(cf.trace(lambda xs: xs[0] + xs[1], [1.0, 2.0])) == {"f": 3.0}
    assert values(cf.trace(lambda *xs: xs[0] + xs[1], 1.0, 2.0)) == {"f": 3.0}
    assert values(cf.trace(np.hypot, 3.0, 4.0)) == {"hypot": 5.0}


def test_float32_examples_make_a_float32_circuit():
    circuit = cf.trace(lambda x, i: np.take(x, i) * 2, np.ones(3, np.float32), np.array([0, 2]))
    assert circuit.document.dtype == "float32"
    assert only(circuit).dtype == np.float32


def test_examples_that_do_not_fit_are_refused():
    with pytest.raises(cf.InputError, match="the examples do not fit the function: too many positional arguments"):
        cf.trace(lambda x: x, 1.0, 2.0)
    with pytest.raises(cf.InputError, match="the example for 'mode' is \"fast\"; expected a number or a rectangular "
                                            "array of numbers, or lists and dictionaries of them. Keep what "
                                            "is no number out of the arguments: functools.partial gives it beforehand"):
        cf.trace(lambda x, mode: x, 1.0, "fast")
    with pytest.raises(cf.InputError, match="parameters: the function has no input \"z\"; it has 'x'"):
        cf.trace(lambda x: x, 1.0, parameters=["z"])


# Expressions ----------------------------------------------------------------------------------------------------------

def test_an_expression_becomes_a_document():
    circuit = cf.new("f = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)", {"x": 3, "y": -4})
    assert nodes(circuit) == ["sigmoid_y = sigmoid(y)", "add = add(x, sigmoid_y)", "sigmoid_x = sigmoid(x)",
                              "add_x_y = add(x, y)",
                              "pow = pow(add_x_y, two)", "add_2 = add(sigmoid_x, pow)", "f = div(add, add_2)"]
    result = cf.Executor(circuit).run()
    expected = cf.Executor(cf.load(ROOT / "circuits/staged.json")).run()
    for name in ("x", "y"):
        assert result.gradients[name] == pytest.approx(expected.gradients[name], rel=1e-14)


def test_stages_share_what_a_name_shares():
    circuit = cf.new("s = sigmoid(x)  # once\nf = s * s; g = sigmoid(x) + w", {"w": 2}, parameters=["w"], name="two",
                     dtype="float32")
    assert nodes(circuit) == ["s = sigmoid(x)", "f = mul(s, s)", "sigmoid_x = sigmoid(x)", "g = add(sigmoid_x, w)"]
    assert list(circuit.outputs) == ["f", "g"]
    assert (circuit.name, circuit.document.dtype, circuit.nodes["w"].kind) == ("two", "float32", "parameter")
    assert list(cf.new("s = sigmoid(x)\nf = s * 2", outputs=["s", "f"]).outputs) == ["s", "f"]


def test_chains_are_one_gate_and_a_bare_expression_is_f():
    assert nodes(cf.new("sigmoid(w0*x0 + w1*x1 + w2)")) == ["mul_w0_x0 = mul(w0, x0)", "mul_w1_x1 = mul(w1, x1)",
                                                            "add = add(mul_w0_x0, mul_w1_x1, w2)", "f = sigmoid(add)"]
    assert nodes(cf.new("a * b * c - d - e")) == ["mul_a_b_c = mul(a, b, c)", "sub = sub(mul_a_b_c, d)",
                                                  "f = sub(sub, e)"]
    assert nodes(cf.new("a + (b + c)")) == ["add_b_c = add(b, c)", "f = add(a, add_b_c)"]
    assert nodes(cf.new("f = " + " + ".join(f"x{i}" for i in range(500))))[0].startswith("f = add(x0, x1, ")


def test_names_numbers_and_tensors_alone():
    assert nodes(cf.new("f = x")) == ["f = identity(x)"]
    assert only(cf.new("f = [[1, -2], [3, 4]] @ x", {"x": [1, 1]})).tolist() == [-1, 7]
    assert only(cf.new("f = 2.5")) == 2.5
    assert only(cf.new("f = -x * -2 + +1", {"x": 3})) == 7
    assert only(cf.new("f = where((a < b) & ~(a == b) | (a != 0), a, b)", {"a": 1, "b": 2})) == 1
    assert only(cf.new("f = where(True, a, b)", {"a": 1, "b": 2})) == 1
    assert only(cf.new("f = (a >= 1) ^ (a <= 0) ^ (a > 7)", {"a": 1})) == np.True_
    assert only(cf.new("f = a % 2", {"a": 5})) == 1


def test_outputs_of_a_gate_with_several_and_parts_of_a_tensor():
    x = {"x": [3, 1, 2]}
    assert only(cf.new('t = top_k(x, k=2)\nf = t["values"]', x)).tolist() == [3, 2]
    assert only(cf.new("t = top_k(x, k=2); f = t[1] + 0", x)).tolist() == [0, 2]
    assert {k: v.tolist() for k,
            v in values(cf.new("values, indices = top_k(x, k=1)", x)).items()} == {"values": [3], "indices": [0]}
    assert list(cf.new("t = top_k(x, k=2)", x).outputs) == ["t.values", "t.indices"]
    m = {"x": np.arange(12.0).reshape(3, 4)}
    assert only(cf.new("x[1, ::2]", m)).tolist() == [4, 6]
    assert only(cf.new("x[..., -1]", m)).tolist() == [3, 7, 11]
    assert only(cf.new("x[[0, 2], 1:2]", m)).tolist() == [[1], [9]]
    assert only(cf.new("x[i]", {**m, "i": np.array([2])})).tolist() == [[8, 9, 10, 11]]
    assert only(cf.new("reduce_sum(x, axis=[0, 1], keepdims=True)", m)).tolist() == [[66]]
    assert only(cf.new('max(a, b, ties="share")', {"a": 1, "b": 2})) == 2


def test_shapes_of_inputs_without_values():
    circuit = cf.new("y = relu(x @ W)", {"W": np.ones((3, 2))}, shapes={"x": ["batch", 3]})
    assert only(circuit, x=np.ones((5, 3))).shape == (5, 2)


REFUSED = [
    ("f = x.y",
     "1:5: this has no meaning in a circuit; gates are called by their names alone; an output of t is t[\"values\"]"),
    ("f = np.exp(x)", "1:5: only gates are called, by their names"),
    ("f = exp(x)(y)", "1:5: only gates are called, by their names"),
    ("f = __import__('os')", "1:5: there is no gate \"__import__\"; `circuitflow gates` lists them"),
    ("f = eval('1')", "1:5: there is no gate \"eval\""),
    ("f = y[0]['a']", "1:5: "),
    ("f = lambda x: x", "1:5: this has no meaning in a circuit; a circuit has no functions; name a stage"),
    ("f = [x for x in y]", "1:5: this has no meaning in a circuit; write every gate down"),
    ("f = {x for x in y}", "1:5: this has no meaning in a circuit; write every gate down"),
    ("f = {x: x for x in y}", "1:5: "), ("f = (x for x in y)", "1:5: "),
    ("f = f'{x}'", "1:5: this has no meaning in a circuit; text is the value of an attribute, such as ties=\"share\""),
    ("f = 'x'", "1:5: this has no meaning in a circuit: expected stages, operators and gates"),
    ("f = None", "1:5: this has no meaning"), ("f = ...", "1:5: this has no meaning"),
    ("f = 1j", "1:5: this has no meaning"),
    ("f = a < b < c", "1:5: a chain of comparisons; write (a < b) & (b < c)"),
    ("f = a is b", "1:5: this has no meaning"),
    ("f = a and b", "1:5: this has no meaning in a circuit; write & for and, | for or"),
    ("f = not a", "1:5: this has no meaning in a circuit; write ~ for not"),
    ("f = a if b else c", "1:5: this has no meaning in a circuit; write where(condition, a, b)"),
    ("f = a // b", "1:5: this has no meaning in a circuit; floor(x / y) is a gate of its own"),
    ("f = a << b", "1:5: this has no meaning"),
    ("f = (g := a)", "1:6: this has no meaning"), ("f = add(*a)", "1:9: this has no meaning"),
    ("f = add(a, b, **c)", "1:17: attributes are written one by one, name=value"),
    ("f += 1", "1:1: this has no meaning in a circuit; a stage has one value; name another one"),
    ("import os", "1:1: this has no meaning in a circuit; nothing is imported; the gates are there"),
    ("del x", "1:1: this has no meaning"),
    ("if a:\n  f = b", "1:1: this has no meaning in a circuit; write where(condition, a, b)"),
    ("for a in b: c = a", "1:1: this has no meaning"),
    ("def f(x): return x", "1:1: this has no meaning in a circuit; a circuit has no functions; name a stage"),
    ("f = g = x", "1:1: this has no meaning"),
    ("f[0] = x", "1:1: this has no meaning"), ("f: int = x", "1:1: this has no meaning"),
    ("f = (yield x)", "1:6: this has no meaning"), ("f = await x", "1:5: this has no meaning"),
    ("f = sigmod(x)", "1:5: there is no gate \"sigmod\"; did you mean 'sigmoid'?"),
    ("f = maximum(x, y)", "1:5: there is no gate \"maximum\"; here it is called 'max'"),
    ("f = mean(x)", "1:5: mean takes 2 operands or more, not 1; did you mean 'reduce_mean'?"),
    ("f = max(x)", "1:5: max takes 2 operands or more, not 1; did you mean 'reduce_max'?"),
    ("f = exp(x, y)", "1:5: exp takes 1 operand (x), not 2"),
    ("f = reduce_sum(x, axs=1)", "1:5: reduce_sum has no attribute 'axs'; did you mean 'axis'?"),
    ("f = reduce_sum(x, axis=n)", "1:24: expected a number, text in quotes, True, False, None, or a list of them"),
    ("f = reduce_sum(x, axis=0, axis=1)", "1:2"),
    ("f = [1, x]", "1:9: expected a number, text"),
    ("f = [1, 'a']", "1:5: a tensor is written as lists of numbers; stack(a, b) makes one of wires"),
    ("f = [1, 2] + [1, 2, 3]", "1:5: add cannot broadcast"),
    ("f = [[1], [1, 2]]", "1:1: an operand is a list of 2; expected a wire, a number or a rectangular array of them"),
    ("f = top_k([1, 2], k=1) + 1", "1:5: this has several outputs; take one: [\"values\"], of \"values\", \"indices\""),
    ("f = top_k([1, 2], k=1)['x']", "1:24: there is no such output; there are \"values\", \"indices\""),
    ("t = top_k([1, 2], k=1); u = t", "1:25: this is what 't' gives, which has several"),
    ("a, b, c = top_k([1, 2], k=1)", "1:11: this has 2 outputs, there are 3 names"),
    ("a, b = exp(x)", "1:8: this has 1 output, there are 2 names"),
    ("x = 1\nx = 2", "2:1: 'x' is the name of a stage already; a stage has one value"),
    ("a, a = top_k([1, 2], k=1)", "1:4: "),
    ("f = g + 1\ng = 2", "1:5: 'g' is read before it is assigned; put its line first"),
    ("f = f + 1", "1:5: 'f' is read before it is assigned"),
    ("x\ny", "2:1: an expression that is assigned to nothing is called f, which is taken; give it a name"),
    ("f = σ + 1", "1:5: \"σ\" cannot be the name of a node"), ("α = x", "1:1: "), ("é = ü = x.y", "1:1: "),
    ("f = é(x).a", "1:5: "), ("ü = 1; f = x.y", "1:"),
    ("f = " + "9" * 30, "1:5: an integer of more than 63 bits; write it with a point"),
    ("f = 1e999", "1:5: this number is larger than any float"),
    ("f = (x", "1:5: '(' was never closed; expected expressions as Python writes them"), ("f = ", "1:"),
    ("f = 1or x", "1:5: invalid decimal literal; expected"), ("f = max(x, y, ties='\\\u202e')", "1:"),
    ("f = max(x, y, ties='\\d')", "1:"), ("f = x\x00", "1"), ("", "there is no expression"),
    ("# only", "there is no expression"),
    ("f = x[1.5]", "1:"), ("f = x[0]", "1:5: 1 indices for a wire of 0 dimensions"), ("f = \u202ex", "1:5"),
    ("'''", "1:"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_everything_outside_the_language_is_refused_with_its_place(text, message):
    with pytest.raises(cf.DocumentError) as caught:
        cf.new(text)
    first = str(caught.value.faults[0])
    assert first.removeprefix("<expression>:").lstrip().startswith(message), first
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))


@pytest.mark.parametrize("text", ["(" * 100_000 + "x" + ")" * 100_000, "[" * 100_000, "-" * 100_000 + "x",
                                  "~" * 100_000 + "x", " + ".join(["x"] * 100_000), "x" + ".y" * 100_000,
                                  "x" + "[0]" * 100_000, "f(" * 50_000, "x" + " if x else y" * 50_000,
                                  "x = " * 50_000 + "1", "x" * 2_000_000, "x < " * 50_000 + "y", "not " * 50_000 + "x"],
                         ids=lambda text: text[:12])
def test_texts_that_nest_or_chain_without_end_are_refused(text):
    with pytest.raises(cf.DocumentError) as caught:
        cf.new(text)
    assert len(str(caught.value)) < 2000


def test_deep_but_readable_expressions_are_read():
    assert only(cf.new("f = " + "(" * 150 + "x" + ")" * 150, {"x": 3})) == 3
    assert only(cf.new("f = " + "-" * 700 + "x", {"x": 3})) == 3
    assert only(cf.new("f = " + " - ".join(["x"] * 700), {"x": 1})) == -698


def test_every_fault_is_told_and_what_follows_from_one_is_not():
    with pytest.raises(cf.DocumentError) as caught:
        cf.new("a = sigmod(x)\nb = a + 1\nc = y.z\nd = b * c\ng = exp(x)")
    assert [fault.line for fault in caught.value.faults] == [1, 3]
    assert str(caught.value.faults[0]) == ("<expression>:1:5: there is no gate \"sigmod\"; did you mean 'sigmoid'?\n   "
                                           " a = sigmod(x)\n        ^")


def test_the_caret_is_under_the_character_whatever_stands_before_it():
    text = "g = exp(x, k='日本é'); f = x.y"
    with pytest.raises(cf.DocumentError) as caught:
        cf.new(text)
    assert caught.value.faults[1].column == text.index("x.y") + 1


def test_values_shapes_parameters_and_outputs_belong_to_the_expression():
    for options, message in [
        ({"values": {"z": 1}}, "value: the expression has no input 'z'; it has x, y"),
        ({"values": {"f": 1}}, "value: the expression has no input 'f'"),
        ({"shapes": {"xx": [1]}}, "shape: the expression has no input 'xx'; did you mean 'x'\\?; it has x, y"),
        ({"parameters": ["w"]}, "parameters: the expression has no input 'w'"),
        ({"outputs": ["g"]}, "outputs: the expression has no stage 'g'"),
        ({"dtype": "int8"}, "the dtype of a circuit is float64 or float32"),
    ]:
        with pytest.raises(cf.InputError, match=message):
            cf.new("f = x * y", **options)
    with pytest.raises(cf.DocumentError, match="parameter 'x' needs a value: give one \\(--set x=…\\)"):
        cf.new("f = x * y", parameters=["x"])


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate_is_called_by_its_name_and_as_a_method(example):
    gate, given = GATES[example.gate], example.attributes
    if not all(json.dumps(v) for v in given.values()) or any(isinstance(v, float) and not math.isfinite(v)
                                                             for v in given.values()):
        pytest.skip("an attribute that text cannot say")
    names = [f"x{i}" for i in range(len(example.operands))]
    attributes = "".join(f", {name}={value!r}" for name, value in given.items())
    call = f"{example.gate}({', '.join(names)}{attributes})"
    if keyword.iskeyword(example.gate):  # which has a sign
        call = f"~{names[0]}" if example.gate == "not" else {"and": " & ", "or": " | "}[example.gate].join(names)
    circuit = cf.new(f"t = {call}", dict(zip(names, example.operands, strict=True)))
    with np.errstate(all="ignore"):
        expected = gate.forward(np, *example.operands, **attributes_of(example))
    expected = expected if gate.output_names(attributes_of(example)) else (expected,)
    for found, wanted in zip(values(circuit).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    c = cf.build()
    wires = [c.input(name, x) for name, x in zip(names, example.operands, strict=True)]
    made = getattr(c, example.gate)(*wires, **given)
    for i, wire in enumerate(made if isinstance(made, tuple) else (made,)):
        c.output(wire, f"out{i}")
    for found, wanted in zip(values(c.circuit).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


# The same mathematics, however it is written --------------------------------------------------------------------------

def staged(x, y):
    return (x + scipy.special.expit(y)) / (scipy.special.expit(x) + (x + y)**2)


def test_traced_written_and_loaded_are_one():
    written = cf.new("f = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)", {"x": 3, "y": -4})
    traced = cf.trace(staged, 3.0, -4.0)
    loaded = cf.loads(cf.dumps(written))
    c = cf.build()
    x, y = c.input("x", 3), c.input("y", -4)
    c.output((x + y.sigmoid()) / (x.sigmoid() + (x + y)**2), "f")
    results = [cf.Executor(circuit).run() for circuit in (written, traced, loaded, c.circuit)]
    assert len({float(next(iter(r.outputs.values()))) for r in results}) == 1
    assert len({(float(r.gradients["x"]), float(r.gradients["y"])) for r in results}) == 1
    assert nodes(traced)[:-1] == nodes(written)[:-1] == nodes(c.circuit)[:-1]


leaves = st.sampled_from(["x", "y", "z", "2", "0.5", "3"])
expressions = st.recursive(leaves, lambda e: st.one_of(
    st.tuples(e, st.sampled_from(["+", "-", "*", "/"]), e).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    e.map(lambda x: f"tanh({x})"), e.map(lambda x: f"(-{x})"),
    st.tuples(e, e).map(lambda t: f"where({t[0]} < {t[1]}, {t[0]}, {t[1]})"), e.map(lambda x: f"exp({x})"),
    e.map(lambda x: f"({x})**2")), max_leaves=12)


@settings(max_examples=few(150))
@given(expressions, st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=3, max_size=3))
def test_any_expression_means_what_numpy_says(text, numbers):
    inputs = dict(zip("xyz", numbers, strict=True))
    names = {"tanh": np.tanh, "exp": np.exp, "where": np.where}
    assume(any(name in text for name in "xyz"))
    function = eval(f"lambda x, y, z: {text} + 0 * (x + y + z)", names)
    with np.errstate(all="ignore"):
        expected = function(*(np.full(1, x) for x in numbers))[0]  # arrays: scalars have another power of 2
        traced = cf.trace(function, *numbers)
    written = cf.new(f"{text} + 0 * (x + y + z)", inputs)
    again = cf.loads(cf.dumps(written))
    for circuit in (written, traced, again):
        np.testing.assert_array_equal(only(circuit), expected)
    gradients = [cf.Executor(circuit).run().gradients for circuit in (written, traced, again)]
    for name in "xyz":
        np.testing.assert_array_equal(gradients[0][name], gradients[1][name])
        np.testing.assert_array_equal(gradients[0][name], gradients[2][name])


@pytest.mark.parametrize(("text", "message"), [
    ("x^2", "1:1: ^ is the exclusive or of booleans; a power is written **"),
    ("x**2 ^ y", "1:1: ^ is the exclusive or of booleans; a power is written **"),
    ("(x > 0) ^ 2", "1:1: ^ is the exclusive or of booleans; a power is written **"),
    ("sum(x)", '1:1: there is no gate "sum"; write reduce_sum(x) or add(x, y)'),
    ("log10(x)", '1:1: there is no gate "log10"; write log(x) / 2.302585092994046'),
    ("np.tanh(x)", "1:1: only gates are called, by their names alone; write tanh(…)"),
    ("torch.nn.functional.relu6(x)", "1:1: only gates are called, by their names alone; write clip(x, min=0, max=6)"),
    ("x.sum()", "1:1: only gates are called, by their names alone; write reduce_sum(x) or add(x, y)"),
    ("x.frobnicate()", "1:1: only gates are called, by their names alone; `circuitflow gates` lists them"),
    ("np.pi * x", "1:1: write pi"), ("math.e", "1:1: write e"), ("x.T @ y", "1:1: write matrix_transpose(…)"),
    ("3(x + 1)", "1:1: only gates are called, by their names; a product is written with *"),
    ("2x", "1:1: a product is written with *"), ("x²", "1:2: ; write **2"), ("3 × y", "1:3: ; write *"),
    ("x − y", "1:3: ; write -"), ("sin x", "1:5: operands stand in parentheses: sin(…)"),
    ("or(x, y)", "1:1: ; write x | y"),
    ("and(x, y)", "1:1: ; write x & y"), ("f(x) = x**2", "1:1: a stage is a name alone, f = …"),
    ("x y", "1:3: expected expressions as Python writes them"),
])
def test_what_people_write_is_answered_with_what_to_write(text, message):
    with pytest.raises(cf.DocumentError) as caught:
        cf.new(text)
    place, _, remedy = message.partition(" ")
    said = str(caught.value).splitlines()[0].removeprefix("<expression>:")
    assert said.startswith(place)
    assert said.endswith(remedy)  # behind what Python says, which depends on its version


def test_pi_and_e_are_numbers_unless_they_are_something_else():
    assert cf.Executor(cf.new("f = e**(2 * π * x) + pi",
                              {"x": 0.5})).run().outputs["f"] == pytest.approx(np.e**np.pi + np.pi, rel=1e-15)
    circuit = cf.new("f = pi * x")
    assert [node.kind for node in circuit.nodes.values()] == ["constant", "input", "mul"]
    assert circuit.values["pi"] == np.pi
    assert cf.new("f = e * x", {"e": 3}).nodes["e"].kind == "input"
    assert cf.new("f = e * x", {"e": 3}, parameters=["e"]).nodes["e"].kind == "parameter"
    assert cf.new("f = e * x", shapes={"e": [2]}).nodes["e"].kind == "input"
    assert cf.new("e = x + 1; f = e * x").nodes["e"].kind == "add"
    with pytest.raises(cf.DocumentError, match="'e' is read before it is assigned"):
        cf.new("f = e * x; e = 3 * x")


def test_what_a_document_cannot_say_is_a_fault_of_it():
    """A builder takes a shape of any length; documents do not."""
    c = cf.build()
    c.output(c.exp(c.input("x", shape=[1] * 65)), "f")
    with pytest.raises(cf.DocumentError, match="node 'x': 'shape' is a list of 65; expected at most 64 items"):
        c.circuit  # noqa: B018
