"""Circuits as ONNX models give the same numbers in ONNX Runtime, gradients too."""

from __future__ import annotations

import importlib
import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import circuitflow as cf
from circuitflow.onnx.exporting import to_onnx
from support.commands import circuitflow  # noqa: F401
from support.documents import circuit
from support.edge_points import GIVEN, POINTS, as_array
from support.gate_examples import EXAMPLES, Example
from support.onnx_models import imported, model, port, tensor
from support.suite import ROOT

NOT_IN_ONNX = {"lgamma", "polygamma", "cofactor", "slogdet", "inv", "solve", "cholesky", "eigh", "qr", "svd", "det",
               "cum_prod"}
"""Gates of which ONNX has neither the value nor a way to compute it; `det` and `cum_prod` have no gradient, or need a
later opset."""


def run(content, **inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return dict(zip([out.name for out in session.get_outputs()], session.run(None, inputs), strict=True))


def circuit_of(example, dtype):
    c = cf.build(dtype=dtype)
    operands = [np.asarray(x) for x in example.operands]
    operands = [x.astype(dtype) if x.dtype.kind == "f" else x for x in operands]
    wires = [c.input(f"x{i}", x, dtype=str(x.dtype)) for i, x in enumerate(operands)]
    out = getattr(c, example.gate)(*wires, **example.attributes)
    for i, wire in enumerate(out if isinstance(out, tuple) else [out]):
        c.output(wire, f"f{i}")
    return c.circuit


def upstream_of(circuit):
    types = {name: circuit.type_of(output) for name, output in circuit.outputs.items()}
    return {name: np.linspace(0.5, 1.5, int(np.prod(type_.shape))).reshape(type_.shape).astype(type_.dtype)
            for name, type_ in types.items() if type_.is_float}


def differences(circuit, upstream, rtol, atol):
    """What ONNX Runtime gives that the interpreter does not, by name."""
    result = cf.Executor(circuit).run(upstream=upstream) if upstream else cf.Executor(circuit).forward()
    values = run(to_onnx(circuit, wrt=None if upstream else (), upstream=upstream or None))
    expected = dict(result.outputs)
    if upstream:
        arguments = [node.id for node in circuit.nodes.values() if node.id in result.gradients
                     and node.is_argument]
        expected |= {f"gradient on {name}": result.gradients[name] for name in arguments}
    return {name: (value, x) for (name, x), value in zip(expected.items(), values.values(), strict=True)
            if x is not None and (value.shape != np.shape(x) or value.dtype != np.asarray(x).dtype
                                  or not np.allclose(value, x, rtol=rtol, atol=atol, equal_nan=True))}


@pytest.mark.parametrize(("dtype", "tolerance", "every"), [
    pytest.param("float64", 1e-9, 1, marks=pytest.mark.long), ("float32", 1e-4, 3)])
def test_values_and_gradients_of_every_gate_are_those_of_the_interpreter(dtype, tolerance, every):
    wrong, refused = {}, set()
    for example in EXAMPLES[::every]:
        if example.gate in ("cast", "cast_like") and dtype == "float64":
            continue  # whose upstream gradients have another dtype
        circuit = circuit_of(example, dtype)
        try:
            if found := differences(circuit, upstream_of(circuit), tolerance, tolerance):
                wrong[str(example)] = found
        except cf.InputError as error:
            assert str(error).startswith("ONNX has no way to say node"), (str(example), str(error))
            refused.add(example.gate)
    assert wrong == {}
    assert refused <= NOT_IN_ONNX


def test_the_conventions_at_ties_and_edges_are_kept():
    wrong = {}
    for gate, operands, *_ in POINTS:
        if gate in NOT_IN_ONNX:
            continue
        circuit = circuit_of(Example(gate, tuple(as_array(x) for x in operands), GIVEN.get(gate, {})), "float64")
        ones = {name: np.ones(circuit.type_of(output).shape) for name, output in circuit.outputs.items()
                if circuit.type_of(output).is_float}
        if found := differences(circuit, ones, 1e-9, 1e-320):
            wrong[gate, operands] = found
    assert wrong == {}


@pytest.mark.parametrize("name", ["sigmoid_neuron", "staged", "attention", "tie", "hessian_of_staged"])
def test_gradients_of_gradients(name):
    gradient = cf.gradient(cf.load(ROOT / f"circuits/{name}.json"))
    assert differences(gradient, upstream_of(gradient), 1e-6, 1e-9) == {}


def test_named_dimensions_stay_open():
    with cf.build("mlp", dtype="float32") as c:
        x = c.input("x", shape=["batch", 3])
        w = c.parameter("w", np.arange(12).reshape(3, 4) / 10)
        c.output(c.reduce_mean(c.softmax(x @ w, axis=1) ** 2), "f")
    circuit = c.circuit
    content = to_onnx(circuit)
    for batch in (1, 5):
        data = np.random.default_rng(0).standard_normal((batch, 3)).astype(np.float32)
        result = cf.Executor(circuit).run({"x": data})
        values = run(content, x=data)
        assert np.allclose(values["f"], result.outputs["f"], rtol=1e-5)
        assert np.allclose(values["dw"], result.gradients["w"], rtol=1e-4, atol=1e-7)
        assert np.allclose(values["dx"], result.gradients["x"], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("gate", "attributes"), [
    *(("slice", {"axis": axis, "start": start, "stop": stop}) for axis, start, stop in (
        (1, 1, 3), (1, -2, None), (-1, -4, -1), (1, 2, 2), (0, 1, None), (0, -2, None))),
    ("reduce_prod", {"axis": 1}), ("reduce_max", {"axis": 1})], ids=str)
def test_gradients_beside_a_named_dimension(gate, attributes):
    with cf.build("part") as c:
        y = getattr(c, gate)(c.input("x", shape=["batch", 4]), **attributes)
        c.output(c.reduce_sum(y * y), "f")
    content = to_onnx(c.circuit)
    for batch in (2, 5):
        x = np.random.default_rng(0).standard_normal((batch, 4))
        expected = cf.Executor(c.circuit).run({"x": x}).gradients["x"]
        np.testing.assert_allclose(run(content, x=x)["dx"], expected, 1e-9, 1e-12)


POOLED = [  # shape, window, and whether its gradient is a scatter to where ONNX's own pool finds the largest
    (("batch", 2, 7), {"kernel_shape": [3]}, True),
    (("batch", 3, 7, 6), {"kernel_shape": [3, 2], "strides": [2, 1]}, True),
    ((2, 2, 6, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [[1, 0], [1, 2]]}, True),
    ((1, 2, 9, 8), {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [[2, 1], [0, 1]]}, True),
    ((1, 2, 5, 4, 6), {"kernel_shape": [2, 1, 2], "strides": [1, 2, 1]}, True),
    ((1, 1, 20, 20), {"kernel_shape": [9, 8]}, True),  # of more than 64 elements, added up in float64
    ((1, 2, 9), {"kernel_shape": [3], "dilations": [2], "pads": [[4, 4]]}, False),
    ((1, 1, 3, 3, 3, 3), {"kernel_shape": [2] * 4}, False)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "window", "is_scatter"), POOLED, ids=str)
def test_the_gradient_of_the_largest_of_windows(shape, window, is_scatter, dtype):
    """Of random numbers, of ties, and with infinities and NaN."""
    with cf.build("pool") as c:
        c.output(c.max_pool(c.input("x", shape=list(shape), dtype=dtype), **window), "y")
    content = to_onnx(c.circuit)
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert ("ArgMax" not in operators) == is_scatter
    chance, sizes = np.random.default_rng(0), [size if isinstance(size, int) else 2 for size in shape]
    ties = chance.integers(-2, 2, sizes)
    if not is_scatter:
        return  # ONNX Runtime does not pool so forward either
    for x in (chance.standard_normal(sizes), ties, np.where(ties < 0, -np.inf, ties), np.where(ties == 1, np.nan, ties),
              np.where(ties == 1, np.inf, ties)):
        x, executor = x.astype(dtype), cf.Executor(c.circuit)
        g = chance.standard_normal(executor.forward({"x": x}).outputs["y"].shape).astype(dtype)
        expected = executor.run({"x": x}, upstream={"y": g}).gradients["x"]
        rtol = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(run(content, x=x, dy=g)["dx"], expected, rtol, rtol)


WHOLE = sorted(path for folder in ("", "classics") for path in (ROOT / "circuits" / folder).glob("*.json")
               if path.stem not in ("newton_step", "conv_net"))  # which ONNX cannot say, or not with a named batch
AT_EDGES = {"tie": ("x", "y"), "logistic_regression": ("target",)}
"""Inputs at a tie or an edge, which a model of values says nothing of."""


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_a_model_that_was_written_is_read_again(path):
    """With the same arguments, and the same gradients on them: a weight that is read twice is one parameter."""
    circuit = cf.load(path)
    values = cf.Executor(circuit).forward()
    inputs = {name: values.values[name] for name in circuit.inputs if circuit.nodes[name].kind == "input"}
    dims = {str(size): n for name, x in inputs.items()
            for size, n in zip(circuit.nodes[name].types[0].shape, np.shape(x), strict=True)
            if not isinstance(size, int)}
    content = to_onnx(circuit, wrt=(), inputs=inputs)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    again = imported(onnx.load_from_string(content), dims=dims).circuit
    arguments = {name: [node for node in c.nodes.values() if node.is_argument] for name, c in
                 (("one", circuit), ("two", again))}
    names = {node.label or node.id: node.id for node in arguments["two"]}
    assert {(node.label or node.id, node.kind) for node in arguments["two"]} == {
        (node.id, node.kind) for node in arguments["one"]}
    upstream = {name: np.linspace(0.5, 1.5, np.size(x)).reshape(np.shape(x)).astype(np.asarray(x).dtype)
                for name, x in values.outputs.items() if np.asarray(x).dtype.kind == "f"}
    outputs = dict(zip(circuit.outputs, again.outputs, strict=True))
    one = cf.Executor(circuit).run(inputs, of=list(upstream), upstream=upstream)
    two = cf.Executor(again).run({names[name]: x for name, x in inputs.items()},
                                 of=[outputs[name] for name in upstream],
                                 upstream={outputs[name]: x for name, x in upstream.items()})
    rtol = 1e-4 if "float32" in {str(x.dtype) for x in upstream.values()} else 1e-9
    for node in arguments["one"]:
        expected, found = one.gradients.get(node.id), two.gradients.get(names[node.id])
        if node.id not in AT_EDGES.get(path.stem, ()) and expected is not None:
            assert np.allclose(np.zeros_like(expected) if found is None else found, expected, rtol=rtol,
                               atol=rtol * float(np.max(np.abs(expected), initial=0))), node.id


def test_what_onnx_cannot_say_is_refused_all_at_once():
    c = cf.build()
    x = c.input("x", 2.0)
    c.output(c.lgamma(x), "f")
    c.output(c.inv(c.reshape(x, shape=[1, 1])), "g")
    with pytest.raises(cf.InputError) as caught:
        to_onnx(c.circuit, wrt=())
    assert str(caught.value) == (
        "ONNX has no way to say node 'f': lgamma comes to gammaln, which ONNX does not have; node 'g': inv comes to "
        "inv, which ONNX does not have")
    with pytest.raises(cf.InputError, match="opset 17 is not written; expected 18 to"):
        to_onnx(c.circuit, opset=17)
    with pytest.raises(cf.InputError, match="opset an integer of more than 20 digits is not written"):
        to_onnx(c.circuit, opset=10**5000)


def test_scans_and_choices_are_graphs_inside_of_nodes():
    """What both branches compute of values from outside is computed in each."""
    half = {"nodes": [{"id": "x", "gate": "input"}, {"id": "e", "gate": "exp", "inputs": ["x"]},
                      {"id": "two", "gate": "constant", "value": 2.0}]}
    document = {"circuitflow": "1.0", "circuits": {
        "cell": {"nodes": [{"id": "s", "gate": "input"}, {"id": "x", "gate": "input"}, {"id": "w", "gate": "input"},
                           {"id": "sw", "gate": "mul", "inputs": ["s", "w"]},
                           {"id": "t", "gate": "add", "inputs": ["sw", "x"]},
                           {"id": "y", "gate": "tanh", "inputs": ["t"]}], "outputs": ["t", "y"]},
        "up": {**half, "nodes": [*half["nodes"], {"id": "f", "gate": "mul", "inputs": ["e", "two"]}], "outputs": ["f"]},
        "down": {**half, "nodes": [*half["nodes"], {"id": "f", "gate": "sub", "inputs": ["e", "two"]}],
                 "outputs": ["f"]},
        "kept": {"nodes": [{"id": "x", "gate": "input"}, {"id": "s", "gate": "sinh", "inputs": ["x"]}],
                 "outputs": ["s"]}},
        "nodes": [{"id": "a", "gate": "input", "value": 0.3}, {"id": "w", "gate": "parameter", "value": 0.5},
                  {"id": "xs", "gate": "input", "value": [1.0, 2.0, -0.7]},
                  {"id": "out", "gate": "scan", "circuit": "cell", "carry": {"s": "t"}, "over": ["x"], "reverse": True,
                   "inputs": {"s": "a", "x": "xs", "w": "w"}},
                  {"id": "c", "gate": "greater", "inputs": ["a", "w"]},
                  {"id": "e", "gate": "if", "then": "up", "else": "down", "inputs": {"condition": "c", "x": "out.t"}},
                  {"id": "k", "gate": "checkpoint", "circuit": "kept", "inputs": {"x": "e"}}],
        "outputs": ["k", "out.y"]}
    for value in (0.3, 0.9):
        document["nodes"][0]["value"] = value
        circuit = cf.loads(json.dumps(document))
        assert differences(circuit, upstream_of(circuit), 1e-9, 1e-12) == {}
        again = imported(onnx.load_from_string(to_onnx(circuit, wrt=()))).circuit
        assert {"scan", "if"} <= {node.kind for node in again.nodes.values()}
        ones = {name: np.ones(circuit.type_of(output).shape) for name, output in circuit.outputs.items()}
        one = cf.Executor(circuit).run(upstream=ones)
        two = cf.Executor(again).run(upstream=dict(zip(again.outputs, ones.values(), strict=True)))
        for x, y in zip(one.outputs.values(), two.outputs.values(), strict=True):
            assert np.allclose(x, y, rtol=1e-12)
        assert all(np.allclose(one.gradients[name], two.gradients[name], rtol=1e-9) for name in ("a", "w", "xs"))


def test_the_command_writes_a_model(tmp_path, circuitflow):  # noqa: F811
    path = tmp_path / "f.onnx"
    done = circuitflow("export", "circuits/staged.json", "--to", "onnx", "--set", "x=2", "--opset", "20",
                       "-o", str(path))
    assert (done.status, done.out, done.err) == (0, "", "")
    model = onnx.load(path)
    assert model.opset_import[0].version == 20
    result = cf.Executor(cf.load(ROOT / "circuits/staged.json")).run({"x": 2.0})
    values = run(path.read_bytes())
    assert np.allclose(values["dx"], result.gradients["x"])
    refusal = circuitflow("export", "circuits/staged.json", "--opset", "20").err
    assert refusal.startswith("error: --opset is of --to onnx; it has no meaning beside --to python")
    assert circuitflow("import", str(path)).status == 0


def test_weights_lie_beside_a_model(tmp_path, circuitflow, monkeypatch):  # noqa: F811
    with cf.build("layer", dtype="float32") as c:
        w = c.parameter("w", np.arange(600).reshape(20, 30) / 100)
        c.output(c.input("x", np.ones((2, 20))) @ w + c.parameter("b", [0.5]), "f")
    document = tmp_path / "layer.json"
    document.write_text(cf.dumps(c.circuit.document))
    path = tmp_path / "net.onnx"
    arguments = "export", str(document), "--to", "onnx", "--forward", "-o", str(path)
    assert circuitflow(*arguments, "--weights-beside").err == ""
    (weights,) = tmp_path.glob("net.*.safetensors")
    assert path.stat().st_size < 2000 < 2400 < weights.stat().st_size
    result = cf.Executor(c.circuit).run(upstream={"f": np.ones((2, 30))})
    assert np.allclose(run(path)["f"], result.outputs["f"])
    assert circuitflow("import", str(path), "-o", str(tmp_path / "again.json")).err == ""
    again = cf.load(tmp_path / "again.json")
    assert np.array_equal(cf.Executor(again).forward().outputs["f"], result.outputs["f"])
    assert np.array_equal(again.values["w"], c.circuit.values["w"])

    weights.unlink()
    assert circuitflow(*arguments).err == ""
    assert np.allclose(run(path)["f"], result.outputs["f"])
    monkeypatch.setattr("circuitflow.onnx.exporting.BESIDE", 2000)
    assert circuitflow(*arguments, "--weights-inside").err == ""
    assert [*tmp_path.glob("net.*")] == [path]
    assert circuitflow(*arguments).err == ""
    assert [*tmp_path.glob("net.*.safetensors")] == [weights]
    monkeypatch.setattr("circuitflow.onnx.exporting.LARGEST", 2000)
    with pytest.raises(cf.InputError, match="the tensors take 5148 bytes; a file of ONNX has room for 2000; put them"):
        to_onnx(c.circuit)
    assert "need a file for it; name one with -o" in circuitflow(*arguments[:-2], "--weights-beside").err


def test_an_input_that_nothing_reads_gives_no_name_its_size():
    made = circuit({"id": "a", "gate": "input", "shape": ["n"]}, {"id": "x", "gate": "input", "shape": ["n"],
                                                                  "value": [1, 3]}, "f = reduce_mean(x)")
    assert run(to_onnx(made, inputs={"a": np.ones(5)}))["f"] == 2
    assert "double a[5];" in cf.to_c(made, inputs={"a": np.ones(5)})


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "uint64", "int32", "float32"])
def test_a_choice_among_values_of_any_type(dtype):
    x, y = np.array([1, 0, 1]).astype(dtype), np.array([0, 0, 1]).astype(dtype)
    made = circuit({"id": "c", "gate": "input", "dtype": "bool", "value": [True, False, False]},
                   {"id": "x", "gate": "input", "dtype": dtype, "value": x.tolist()},
                   {"id": "y", "gate": "input", "dtype": dtype, "value": y.tolist()}, "f = where(c, x, y)")
    np.testing.assert_array_equal(run(to_onnx(made, wrt=()))["f"], np.where([True, False, False], x, y))


def test_a_gate_that_onnx_does_not_have_stands_twice():
    made = circuit("x = 2", "a = lgamma(x)", "b = lgamma(x)", "f = mul(a, b)")
    with pytest.raises(cf.InputError, match=r"node 'a': lgamma comes to gammaln, which ONNX does not have"):
        to_onnx(made, wrt=())


def test_an_if_of_constants_in_c():
    body = {"nodes": [{"id": "p", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["p"]}], "outputs": ["y"]}
    made = circuit({"id": "k", "gate": "constant", "value": 1}, {"id": "c", "gate": "less", "inputs": ["k", "k"]},
                   {"id": "f", "gate": "if", "then": "b", "else": "b", "inputs": {"condition": "c", "p": "k"}},
                   circuits={"b": body})
    assert "outputs->f = 2.718281828459045;" in cf.to_c(made)


def test_a_model_is_replaced_when_its_weights_are_there(tmp_path, monkeypatch, circuitflow):  # noqa: F811
    """So a process that ends between the two leaves no model without weights."""
    proto = model([("MatMul", "x,w", "y")], [port("x", 20)], [port("y", 20)], [tensor("w", np.ones((20, 20)))])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "out.onnx").write_text("an older model")
    module, order = importlib.import_module("circuitflow.cli.export"), []
    real, refused = module.writer, [".safetensors"]

    @contextmanager
    def writer(path):
        with real(path) as file:
            yield file
            if Path(path).suffix in refused:
                raise cf.InputError("the disk is full")
        order.append(Path(path).suffix)

    monkeypatch.setattr(module, "writer", writer)
    command = ("export", str(tmp_path / "m.onnx"), "--to", "onnx", "--weights-beside", "--forward", "-o",
               str(tmp_path / "out.onnx"))
    assert circuitflow(*command).status == 2
    assert ((tmp_path / "out.onnx").read_text(), order) == ("an older model", [])
    refused.clear()
    assert circuitflow(*command).status == 0
    assert order == [".safetensors", ".onnx"]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_of_no_steps_is_written_without_one(reverse):
    """ONNX Runtime has no `Scan` of 0 steps."""
    circuit = cf.loads(json.dumps({"circuitflow": "1.0", "circuits": {
        "cell": {"nodes": [{"id": "s", "gate": "input"}, {"id": "x", "gate": "input"}, {"id": "w", "gate": "input"},
                           {"id": "t", "gate": "mul", "inputs": ["s", "w"]},
                           {"id": "y", "gate": "add", "inputs": ["t", "x"]}], "outputs": ["y", "t"]}},
        "nodes": [{"id": "a", "gate": "input", "value": [0.3, 0.2]}, {"id": "w", "gate": "parameter", "value": 0.5},
                  {"id": "xs", "gate": "input", "shape": [0], "value": []},
                  {"id": "out", "gate": "scan", "circuit": "cell", "carry": {"s": "t"}, "over": ["x"],
                   "reverse": reverse, "inputs": {"s": "a", "x": "xs", "w": "w"}}],
        "outputs": ["out.y", "out.t"]}))
    assert differences(circuit, upstream_of(circuit), 1e-9, 1e-12) == {}
    assert "Scan" not in {node.op_type for node in onnx.load_from_string(to_onnx(circuit)).graph.node}


def test_a_quotient_of_one_is_a_reciprocal():
    """ONNX Runtime 1.23 to 1.30 does not load some models with `Div` here (microsoft/onnxruntime 32413)."""
    c = cf.build(dtype="float32")
    x, y = c.input("x", [2.0, 3.0]), c.input("y", [0.5, -1.0])
    c.output(1.0 / x * c.stop_gradient(y) + c.erf(1.0 / c.cosh(y)), "f")
    assert differences(c.circuit, upstream_of(c.circuit), 1e-4, 1e-5) == {}
    graph = onnx.load_from_string(to_onnx(c.circuit)).graph
    ones = {node.output[0] for node in graph.node if node.op_type == "Constant"
            and np.all(onnx.numpy_helper.to_array(node.attribute[0].t) == 1)}
    operators = [node.op_type for node in graph.node]
    assert ones
    assert "Reciprocal" in operators
    assert not [node for node in graph.node if node.op_type == "Div" and node.input[0] in ones]
