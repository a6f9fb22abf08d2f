"""Small circuits that failed once, each with its right answer on every engine that takes it, in an exported file and as
a document."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.transforms.derivatives import reverse
from support.exported import written


def node(name: str, gate: str, *inputs: str, **rest: Any) -> dict[str, Any]:
    return {"id": name, "gate": gate, **({"inputs": list(inputs)} if inputs else {}), **rest}


def circuit(*nodes: dict[str, Any], **rest: Any) -> cf.Circuit:
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": ["f"], **rest}))


def given(name: str, value: Any, gate: str = "input") -> dict[str, Any]:
    return node(name, gate, value=value)


def of(gate: str, *values: Any, dtype: str = "float64", upstream: Any = None, **attributes: Any) -> cf.Circuit:
    """A gate of inputs x0, x1, …"""
    inputs = [given(f"x{i}", value) for i, value in enumerate(values)]
    return circuit(*inputs, node("f", gate, *(x["id"] for x in inputs), **attributes), dtype=dtype,
                   **({"upstream": {"f": upstream}} if upstream else {}))


LABELS = {"data": [0, -100], "dtype": "int64"}
LAST = {"data": [-1], "dtype": "int8"}
X_LOG_X = circuit(given("x", 0), given("zero", 0, "constant"), node("log", "log", "x"),
                  node("product", "mul", "x", "log"),
                  node("above", "greater", "x", "zero"), node("f", "where", "above", "product", "zero"))
GUARDED_LOSS = circuit(given("never", False, "constant"), given("x", [1]), given("target", [0], "constant"),
                       given("zero", 0, "constant"),
                       node("loss", "binary_cross_entropy", "x", "target"), node("f", "where", "never", "loss", "zero"))
SQUARED_EIGENVALUES = circuit(
    given("A", [[1, 0], [0, 1]]), given("M", [[1, 2], [2, 5]], "constant"), node("e", "eigh", "A"),
    node("squares", "square", "e.eigenvalues"),
    node("scaled", "mul", "e.eigenvectors", "squares"), node("back", "matrix_transpose", "e.eigenvectors"),
    node("B", "matmul", "scaled", "back"),
    node("product", "mul", "B", "M"), node("f", "reduce_sum", "product"))

ANSWERS: dict[str, tuple[cf.Circuit, Any, dict[str, Any]]] = {
    "an output of 4096 elements": (circuit(given("x", {"data": 3, "shape": [4096]}), given("two", 2, "constant"),
                                           node("f", "pow", "x", "two"),
                                           upstream={"f": {"data": 1, "shape": [4096]}}), np.full(4096, 9),
                                   {"x": np.full(4096, 6)}),
    "x log x": (X_LOG_X, 0, {"x": 0}),
    "a guarded loss": (GUARDED_LOSS, 0, {"x": [0]}),
    "output_padding": (of("conv_transpose", [[[1, 2]]], [[[1, 1]]], strides=[1], dilations=[2], output_padding=[1],
                          upstream=[[[1] * 5]]),
                       [[[1, 2, 1, 2, 0]]], {"x0": [[[2, 2]]]}),
    "an input called self": (circuit(given("self", 3), node("f", "square", "self")), 9, {"self": 6}),
    "an index of 8 bits": (circuit(given("x", {"data": 1, "shape": [200]}), given("i", LAST, "constant"),
                                   node("f", "gather", "x", "i"), upstream={"f": [1]}),
                           [1], {"x": np.arange(200) == 199}),
    "polygamma below 0": (of("polygamma", -16.5, n=1), 9.8107978, {}),
    "polygamma far below 0": (of("polygamma", -1e7 - 0.5, n=1), 9.8696043, {}),
    "an angle of large numbers": (of("atan2", 3e200, 4e200), math.atan2(3, 4), {"x0": 1.6e-201, "x1": -1.2e-201}),
    "the deviation of equal values": (of("reduce_std", [0.1] * 3), None, {"x0": [0] * 3}),
    "a row that is ignored": (circuit(given("x", [[1, 2], ["NaN", 0]]), given("y", LABELS, "constant"),
                                      node("f", "softmax_cross_entropy_loss", "x", "y", ignore_index=-100)),
                              math.log1p(math.e), {"x": [[1 / (1 + math.e) - 1, 1 - 1 / (1 + math.e)], [0, 0]]}),
    "a mean near the end of float32": (of("reduce_mean", [3e38, 3e38], dtype="float32"), 3e38, {"x0": [0.5, 0.5]}),
    "equal eigenvalues": (SQUARED_EIGENVALUES, 6, {"A": [[2, 4], [4, 10]]}),
    "a remainder": (of("mod", 1, 0.1), math.fmod(1, 0.1), {"x0": 1, "x1": -9}),
    "a small probability": (circuit(given("x", [1e-10]), given("t", [0], "constant"),
                                    node("f", "binary_cross_entropy", "x", "t")),
                            1.00000000005e-10, {"x": [1 + 1e-10]}),
    "a large layer": (of("layer_normalization", [1e30, 2e30, 3e30], [1, 1, 1], dtype="float32", upstream=[1, 0, 0]),
                      np.sqrt(1.5) * np.array([-1, 0, 1]), {"x0": np.array([1, -2, 1]) / np.sqrt(24) * 1e-30}),
    "a zero beside an overflow": (of("mul", 0, 1e200, 1e200, 1e200), 0, {"x0": math.inf, "x1": 0, "x2": 0, "x3": 0}),
    "the length of 0": (of("hypot", 0, 0), 0, {"x0": 0, "x1": 0}),
    "a sigmoid near 1": (of("sigmoid", 40), 1, {"x0": 4.248354255e-18}),
    "lgamma of a subnormal number": (of("lgamma", 1e-320), -math.log(1e-320), {}),
}


def interpreted(library: str) -> Any:
    def way(made: cf.Circuit, wrt: list[str]) -> Any:
        xp = pytest.importorskip(library)
        result = cf.Executor(made).run({name: xp.asarray(np.array(made.values[name])) for name in wrt}, wrt=wrt)
        return result.outputs["f"], result.gradients

    return way


def compiled(engine: str) -> Any:
    return lambda made, wrt: cf.Executor(made).compile(wrt=wrt, engine=engine)()


def exported(made: cf.Circuit, wrt: list[str]) -> Any:
    upstream = {"df": made.upstream["f"]} if made.upstream else {}
    return written(made, wrt)(**{name: made.values[name] for name in wrt}, **upstream)


def of_document(made: cf.Circuit, wrt: list[str]) -> Any:
    gradient = reverse(made, None, wrt, values=True)
    found = cf.Executor(cf.loads(cf.dumps(gradient.circuit))).forward().outputs
    return found[gradient.values["f"]], {name: found[gradient.gradients[name]] for name in wrt}


WAYS = {
    "interpreter": interpreted("numpy"), "torch": interpreted("torch"), "JAX": interpreted("jax.numpy"),
    **{engine: compiled(engine) for engine in ("staged", "tape", "jax")},
    "export": exported, "gradient document": of_document,
}


TAPED = {"x log x", "an input called self", "an angle of large numbers", "a remainder", "a zero beside an overflow",
         "the length of 0", "a sigmoid near 1"}
NOT_EXPORTED = {"output_padding", "equal eigenvalues", "an index of 8 bits"}
NOT_BY_XLA = {"lgamma of a subnormal number"}


def takes(way: str, name: str) -> bool:
    return {"tape": name in TAPED, "export": name not in NOT_EXPORTED, "JAX": name not in NOT_BY_XLA,
            "jax": name not in NOT_BY_XLA}.get(way, True)


@pytest.mark.sliced
@pytest.mark.parametrize(("way", "name"), [(way, name) for name in ANSWERS for way in WAYS if takes(way, name)])
def test_a_circuit_that_failed(way, name):
    made, value, gradients = ANSWERS[name]
    found, sent = WAYS[way](made, list(gradients) or ["x0"])
    rtol, atol = (1e-6, 1e-7) if made.document.dtype == "float32" else (2e-9, 0)
    if value is not None:
        np.testing.assert_allclose(np.asarray(found), value, rtol=rtol, atol=atol)
    for wrt, expected in gradients.items():
        np.testing.assert_allclose(np.asarray(sent[wrt]), expected, rtol=rtol,
                                   atol=atol and atol * np.max(np.abs(expected)))


DOUBLE = 2 * np.eye(2)
OF_DET = np.zeros((2, 2, 2, 2))
OF_DET[0, 0, 1, 1] = OF_DET[1, 1, 0, 0] = 1
OF_DET[0, 1, 1, 0] = OF_DET[1, 0, 0, 1] = -1


@pytest.mark.parametrize("engine", ["interpreter", "staged", "jax"])
@pytest.mark.parametrize(("made", "expected"), [
    (circuit(given("x", [0, 0]), node("length", "reduce_l2", "x"), node("f", "square", "length")), DOUBLE),
    (of("det", [[1, 2], [2, 4]]), OF_DET),
], ids=["a squared length", "a singular determinant"])
def test_a_hessian_that_failed(engine, made, expected):
    hessian = cf.hessian(made)
    found = cf.Executor(hessian).compile(engine=engine, wrt=[])()
    np.testing.assert_allclose(np.asarray(found[0] if isinstance(found, tuple) else found), expected, rtol=1e-14,
                               atol=1e-15)


def test_a_window_of_padding_is_refused():
    with pytest.raises(cf.DocumentError,
                       match=r"node 'f': average_pool needs an element of x in every window; window 0 along axis 2"):
        of("average_pool", [[[3, 5]]], kernel_shape=[2], dilations=[3], pads=[[1, 1]])


@pytest.mark.parametrize("way", ["interpreter", "torch", "JAX", "staged", "jax"])
@pytest.mark.parametrize(("made", "refusal"), [
    (circuit(given("x", [0, 0, 0]), {**given("i", [1, 1], "constant"), "dtype": "int64"}, given("u", [5, 7]),
             node("f", "scatter_elements", "x", "i", "u"), upstream={"f": [1, 1, 1]}),
     "node 'f': scatter_elements: index 1 repeats"),
    (circuit(given("x", {"data": [100, 100], "dtype": "int8"}), node("f", "reduce_sum", "x")),
     "node 'f': reduce_sum: 200 does not fit int8"),
], ids=["repeated indices", "a sum of 8 bits"])
def test_a_silent_change_is_refused(way, made, refusal):
    with pytest.raises(cf.CircuitflowError, match=refusal):
        WAYS[way](made, ["x"] if made.upstream else [])


@pytest.mark.parametrize(("table", "shown"), [
    (b"x,y\r1,2\r3,4\r", "f,dx,dy\n2,2,1\n12,4,3\n"),
    (b"x,y\n1,nan\n", "f,dx,dy\nNaN,NaN,1\n"),
    (b"x,y\n9007199254740993,1\n", "row 1 (line 2), column 'x': 9007199254740993 cannot be kept exactly in a float64"),
    ("x , y\n 1 , 2 \n".encode("utf-16"), "UTF-16 or UTF-32 text, or no text at all; save it as UTF-8"),
], ids=["lines of old Macs", "NaN", "an integer above 2^53", "UTF-16"])
def test_a_table_that_failed(circuitflow, tmp_path, table, shown):
    (tmp_path / "product.json").write_text(json.dumps({"circuitflow": "1.0", "outputs": ["f"],
                                                       "nodes": [{"id": "x", "gate": "input"},
                                                                 {"id": "y", "gate": "input"},
                                                                 node("f", "mul", "x", "y")]}))
    (tmp_path / "rows.csv").write_bytes(table)
    outcome = circuitflow("run", str(tmp_path / "product.json"), "--table", str(tmp_path / "rows.csv"))
    if shown.startswith("f,"):
        assert (outcome.status, outcome.out) == (0, shown)
    else:
        assert outcome.status == 2
        assert shown in outcome.err
        assert outcome.err.count("\n") == 1
