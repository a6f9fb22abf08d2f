"""ONNX models become documents with the same values."""

from __future__ import annotations

import hashlib
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import circuitflow as cf
from circuitflow.document.limits import Limits
from circuitflow.onnx.importing import ROUNDS, import_model
from circuitflow.onnx.reading import model_of, read_model
from support.commands import circuitflow  # noqa: F401
from support.onnx_cases import outcomes
from support.onnx_models import FLOAT, imported, model, port, tensor
from support.onnx_page import page
from support.suite import ROOT

X = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]], np.float32)


def affine(**rest):
    return model([("MatMul", "x,w", "h"), ("Add", "h,b", "layer/out:0"), ("Relu", "layer/out:0", "y")],
                 [port("x", "batch", 3)], [port("y", "batch", 2)],
                 [tensor("w", np.arange(6).reshape(3, 2) / 10), tensor("b", [1, -1])], **rest)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.long
def test_no_operator_of_the_backend_tests_is_wrong():
    results = outcomes()
    assert {name: result for name, result in results.items() if result.status == "wrong"} == {}
    assert sum(result.status == "passed" for result in results.values()) >= 1457


@pytest.mark.filterwarnings("ignore")
def test_the_page_says_what_is_so():
    """`CIRCUITFLOW_GOLDEN=write` writes it. Another version of onnx has other tests."""
    path = ROOT / "docs/onnx.md"
    if os.environ.get("CIRCUITFLOW_GOLDEN") == "write":
        path.write_text(page(), encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__}," in text:
        assert text == page()


def test_a_model_is_a_document_that_a_person_reads():
    result = imported(affine(producer_name="maker", doc_string="what it is for"))
    document = json.loads(cf.dumps(result.document))
    assert result.tensors == {}
    assert document["description"] == "what it is for"
    assert document["metadata"] == {"onnx": {"opset": 21, "producer": "maker"}}
    assert document["dtype"] == "float32"
    assert document["nodes"] == [
        {"id": "x", "gate": "input", "shape": ["batch", 3]},
        {"id": "w", "gate": "parameter", "value": [[0, 0.10000000149011612], [0.20000000298023224, 0.30000001192092896],
                                                   [0.4000000059604645, 0.5]]},
        {"id": "h", "gate": "matmul", "inputs": ["x", "w"]},
        {"id": "b", "gate": "parameter", "value": [1, -1]},
        {"id": "layer_out_0", "gate": "add", "inputs": ["h", "b"], "label": "layer/out:0"},
        {"id": "y", "gate": "relu", "inputs": ["layer_out_0"]}]
    result = cf.Executor(result.circuit).run({"x": X}, upstream={"y": np.ones((2, 2), np.float32)})
    assert np.allclose(result.outputs["y"], np.maximum(X @ np.arange(6).reshape(3, 2) / 10 + [1, -1], 0))
    assert result.gradients["b"].tolist() == [2, 0]


def test_large_weights_lie_in_a_file_beside_the_document(tmp_path, circuitflow):  # noqa: F811
    proto = model([("MatMul", "x,w", "y")], [port("x", 4)], [port("y", 5)], [tensor("w", np.ones((4, 5)))])
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    assert circuitflow("import", str(path)).err == ("error: there are more weights than a document holds; write it to "
                                                    "a file with -o, and they go into a tensor file beside it\n")
    assert circuitflow("import", str(path), "-o", str(path)).status == 2
    done = circuitflow("import", str(path), "-o", str(tmp_path / "net.json"))
    assert (done.status, done.err) == (0, "")
    (weights,) = (name for name in os.listdir(tmp_path) if name.endswith(".safetensors"))
    content = (tmp_path / weights).read_bytes()
    assert weights == f"net.{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    circuit = cf.load(tmp_path / "net.json")
    assert cf.Executor(circuit).forward({"x": np.ones(4, np.float32)}).outputs["y"].tolist() == [4] * 5


def test_named_dimensions_keep_their_names_or_get_sizes(tmp_path, circuitflow):  # noqa: F811
    proto = model([("Shape", "x", "s"), ("Gather", "s,zero", "n"), ("Unsqueeze", "n,axes", "n1"),
                   ("Concat", "n1,rest", "t", {"axis": 0}), ("Reshape", "x,t", "y")],
                  [port("x", "batch", 4, 6)], [port("y", "batch", 24)],
                  [tensor("zero", 0, np.int64), tensor("axes", [0], np.int64), tensor("rest", [-1], np.int64)])
    circuit = imported(proto).circuit
    assert [str(size) for size in circuit.nodes["y"].types[0].shape] == ["batch", "24"]
    assert set(circuit.nodes) == {"x", "y"}
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    out = json.loads(circuitflow("import", str(path), "--dim", "batch=7").out)
    assert out["nodes"][0]["shape"] == [7, 4, 6]
    assert "no dimension 'bitch' in" in circuitflow("import", str(path), "--dim", "bitch=7").err
    for text in ("batch", "batch=x", "batch=" + "9" * 5000):
        assert circuitflow("import", str(path), "--dim", text).err.startswith(
            f"error: --dim {text[:20]}"), text


def test_every_command_takes_sizes_of_a_models_dimensions(tmp_path, circuitflow):  # noqa: F811
    path = str(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(affine().SerializeToString())
    fixed = circuitflow("import", path, "--dim", "batch=2").out
    (tmp_path / "fixed.json").write_text(fixed)
    both = path, str(tmp_path / "fixed.json")
    assert (circuitflow("diff", *both).status, circuitflow("diff", *both, "--dim", "batch=2").status) == (1, 0)
    assert "is a document" in circuitflow("diff", both[1], both[1], "--dim", "batch=2").err
    for command, text in (("draw", "(2, 3)"), ("grad", '"shape": [2, 3]'), ("export", "(2, 3)")):
        more = ["--no-values"] if command == "draw" else []
        assert text in circuitflow(command, path, "--dim", "batch=2", *more).out, command
    values = ["--set", "x=[[1,2,3],[4,5,6]]", "--upstream", "y=[[1,1],[1,1]]"]
    for command in ("run", "check", "explain"):
        assert circuitflow(command, path, "--dim", "batch=2", *values).status == 0, command
        assert circuitflow(command, path, "--dim", "batch=3", *values).err == (
            "error: 'x' has shape (2, 3); expected (3, 3)\n"), command
    assert circuitflow("run", str(tmp_path / "fixed.json"), "--dim", "batch=2").err == (
        f"error: --dim gives a dimension of an ONNX model its size; '{tmp_path / 'fixed.json'}' is a document, whose "
        "named dimensions have the sizes of the values of its inputs\n")
    assert circuitflow("fmt", path).err == (
        f"error: '{path}' is an ONNX model; `circuitflow import` writes a document of it\n")


def test_a_default_of_another_size_than_the_one_given_is_left_out(tmp_path, circuitflow):  # noqa: F811
    proto = model([("Neg", "x", "y")], [port("x", "batch", 2)], [port("y", "batch", 2)], [tensor("x", [[1, 2]])])
    path, document = tmp_path / "m.onnx", tmp_path / "m.json"
    path.write_bytes(proto.SerializeToString())
    for batch, err in ((1, ""), (3, "warning: input 'x' has no default now: the model's has the shape (1, 2), and the "
                                    "sizes given make it (3, 2)\n")):
        assert circuitflow("import", str(path), "--dim", f"batch={batch}", "-o", str(document)).err == err
        values = [] if batch == 1 else ["--set", "x=[[1,2],[1,2],[1,2]]"]
        assert circuitflow("run", str(document), "--forward", *values).status == 0


@pytest.mark.parametrize("value", [tensor("x", [[1.0]]), tensor("x", [1.0, 2.0]), tensor("x", [[1, 2]], np.int64)])
def test_a_default_that_is_none_of_its_input_is_refused(value):
    proto = model([("Neg", "x", "y")], [port("x", "batch", 2)], [port("y", "batch", 2)], [value])
    with pytest.raises(cf.DocumentError, match=r"input 'x' has a default of .*; expected float32 and \(batch, 2\)"):
        imported(proto)


def test_several_named_sizes_survive_a_reshape():
    proto = model([("Shape", "x", "s"), ("Slice", "s,zero,two", "bt"), ("Concat", "bt,heads", "t", {"axis": 0}),
                   ("Reshape", "x,t", "y")], [port("x", "b", "t", 6)], [port("y", "b", "t", 2, 3)],
                  [tensor("zero", [0], np.int64), tensor("two", [2], np.int64), tensor("heads", [2, 3], np.int64)])
    circuit = imported(proto).circuit
    assert [str(size) for size in circuit.nodes["y"].types[0].shape] == ["b", "t", "2", "3"]
    x = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    assert cf.Executor(circuit).forward({"x": x}).outputs["y"].tolist() == x.reshape(2, 4, 2, 3).tolist()


@pytest.mark.parametrize("nodes", [
    [("Shape", "x", "y")], [("Shape", "x", "s"), ("Cast", "s", "y", {"to": FLOAT})],
    [("Shape", "x", "s"), ("Concat", "s,two", "t", {"axis": 0}), ("Add", "s,s", "u"), ("ConstantOfShape", "u", "y")],
    [("Reshape", "x,five", "y")], [("Shape", "x", "s", {"end": 1}), ("Slice", "x,two,s", "y")],
    [("ReduceMax", "none", "y", {"axes": [0]})], [("Squeeze", "x", "y")]])
def test_a_named_dimension_that_needs_a_size_is_named(nodes):
    proto = model(nodes, [port("x", "batch/n", 3), port("none", 0, "batch/n")], [port("y", None, None)], [
        tensor("one", [[1.0]]), tensor("five", [5, -1], np.int64), tensor("two", [2], np.int64)], 17)
    with pytest.raises(cf.DocumentError, match="--dim batch_n=N"):
        imported(proto)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL])
@pytest.mark.parametrize("nodes", [
    [("ConstantOfShape", "s", "y", {"value": tensor("", [1.5])})],
    [("Concat", "two,s", "t", {"axis": 0}), ("ConstantOfShape", "t", "h"), ("Add", "h,row", "y")],
    [("Expand", "one,s", "y")], [("Concat", "two,s", "t", {"axis": 0}), ("Expand", "row,t", "y")],
    [("Concat", "s,two", "t", {"axis": 0}), ("Expand", "flags,t", "h"), ("Cast", "h", "y", {"to": FLOAT})],
    [("Split", "w", "y,z", {"axis": 1, "num_outputs": 2})]])
def test_named_sizes_are_those_of_inputs(nodes, dtype):
    """Zeros of a batch, as a recurrent network begins with; the input may have any dtype."""
    proto = model([("Shape", "x", "s"), *nodes], [port("x", "batch", "n", dtype=dtype), port("w", "batch", 4)],
                  [port("y")], [tensor("one", [[1.0]]), tensor("two", [2], np.int64),
                                tensor("row", [[[1.0]], [[2.0]]]),
                   tensor("flags", [[[True, False]]], bool)])
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    circuit = imported(proto).circuit
    for batch, n in ((1, 3), (3, 2), (2, 2)):
        given = {"x": np.zeros((batch, n), helper.tensor_dtype_to_np_dtype(dtype)),
                 "w": np.arange(4 * batch, dtype=np.float32).reshape(batch, 4)}
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        expected = session.run(None, given)[0]
        own = {name: x for name, x in given.items() if name in circuit.inputs}
        found = cf.Executor(circuit).forward(own).outputs["y"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_a_value_that_sizes_depend_on_is_given(tmp_path, circuitflow):  # noqa: F811
    proto = model([("Reshape", "x,shape", "y")], [port("x", 6), port("shape", 2, dtype=TensorProto.INT64)],
                  [port("y", None, None)])
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert circuitflow("import", str(path)).err == (
        f"{path}: node 'y' (Reshape) needs to know its input 'shape' (shape) before a run, since sizes or gates depend "
        "on it; make it an initializer of the model, or give it by --set if it is an input\n")
    document = json.loads(circuitflow("import", str(path), "--set", "shape=[2,3]").out)
    assert document["nodes"][-1]["shape"] == [2, 3]
    assert "there is no input 'shop'" in circuitflow("import", str(path), "--set", "shop=[2,3]").err


def test_a_default_that_sizes_depend_on_is_a_constant(tmp_path, circuitflow):  # noqa: F811
    """Models whose initializers are all listed among the inputs too; a value that is computed from several of them."""
    nodes = [("Concat", "rows,columns", "shape", {"axis": 0}), ("Reshape", "x,shape", "h"), ("Mul", "h,scale", "y")]
    ints = [port(name, 1, dtype=TensorProto.INT64) for name in ("rows", "columns")]
    tensors = [tensor("rows", [2], np.int64), tensor("columns", [-1], np.int64), tensor("scale", [2.0])]
    proto = model(nodes, [port("x", 6), *ints, port("scale", 1)], [port("y", None, None)], tensors)
    path, document = tmp_path / "m.onnx", tmp_path / "m.json"
    path.write_bytes(proto.SerializeToString())
    shown = circuitflow("import", str(path), "-o", str(document))
    assert shown.status == 0
    assert "input 'rows' is a constant here, since sizes or gates depend on it: the default that" in shown.err
    circuit = cf.load(document)
    assert [node.id for node in circuit.nodes.values() if node.is_argument] == ["x", "scale"]
    x = np.arange(6, dtype=np.float32)
    assert cf.Executor(circuit).forward({"x": x}).outputs["y"].tolist() == (2 * x).reshape(2, 3).tolist()
    assert circuitflow("import", str(path), "--set", "rows=[3]", "--set", "columns=[2]", "-o", str(document)).err == ""
    assert cf.load(document).nodes["y"].types[0].shape == (3, 2)
    proto.graph.initializer.pop(0)  # of which one has no default
    path.write_bytes(proto.SerializeToString())
    assert "needs to know its input 'shape' (shape) before a run" in circuitflow("import", str(path)).err


def test_defaults_that_sizes_depend_on_one_after_the_other():
    """They are found in one round, and what is wrong elsewhere is told."""
    names, count = "x", 3 * ROUNDS
    nodes, ints = [], []
    for i in range(count):
        nodes += [("Concat", f"rows{i},rest", f"shape{i}", {"axis": 0}), ("Reshape", f"{names},shape{i}", f"h{i}")]
        ints.append(port(f"rows{i}", 1, dtype=TensorProto.INT64))
        names = f"h{i}"
    tensors = [tensor(f"rows{i}", [2 + i % 2], np.int64) for i in range(count)]
    proto = model(nodes, [port("x", 6), *ints], [port(names, None, None)],
                  [*tensors, tensor("rest", [-1], np.int64)])
    found = imported(proto)
    assert found.circuit.nodes[names].types[0].shape == (2 + (count - 1) % 2, 6 // (2 + (count - 1) % 2))
    assert len(found.notes) == count
    proto.graph.node.append(helper.make_node("Foo", ["x"], ["z"]))
    with pytest.raises(cf.DocumentError, match="has no gate"):
        imported(proto)


def test_every_fault_is_told_at_once():
    proto = model([("Relu", "x", "a"), ("NonMaxSuppression", "x,x", "b"), ("Relu", "b", "c"),
                   helper.make_node("Foo", ["a"], ["d"], domain="my.ops"),
                   ("Relu", "x", "e", {"slope": 1.0}), ("Relu", "nowhere", "f")],
                  [port("x", 2), port("t", 2, dtype=TensorProto.STRING), port("u", 2, dtype=TensorProto.INT4)],
                  [port("a", 2), port("c", 2), port("z", 2)])
    with pytest.raises(cf.DocumentError) as caught:
        imported(proto)
    assert [fault.message for fault in caught.value.faults] == [
        "input 't' is a tensor of string; expected a tensor of numbers or booleans, with a shape",
        "input 'u' is a tensor of int4; expected a tensor of numbers or booleans, with a shape",
        "node 'b' (NonMaxSuppression) leaves out boxes that overlap others, so the shape of its result depends on "
        "values; a document has shapes before a run; cut the model before it, as onnx.utils.extract_model does",
        "node 'd' (Foo) has no gate: circuitflow does not have this operator of the domain 'my.ops'",
        "node 'e' (Relu) has the attribute 'slope', which is not understood",
        "node 'f' (Relu) reads 'nowhere', which is no earlier value",
        "output 'z' is no value of the graph"]


def test_functions_of_a_model_stand_in_the_place_of_their_nodes():
    body = helper.make_function("my", "Twice", ["v"], ["r"], [
        helper.make_node("Constant", [], ["k"], value=tensor("", 2.0)),
        helper.make_node("Mul", ["v", "k"], ["s"]), helper.make_node("Elu", ["s"], ["r"])],
        [helper.make_opsetid("", 21)], [])
    alpha = onnx.AttributeProto(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    body.node[2].attribute.append(alpha)
    body.attribute.append("a")
    node = helper.make_node("Twice", ["x"], ["y"], domain="my", a=0.5)
    proto = model([node], [port("x", 2)], [port("y", 2)], functions=[body])
    proto.opset_import.append(helper.make_opsetid("my", 1))
    out = cf.Executor(imported(proto).circuit).forward({"x": np.array([1, -1], np.float32)}).outputs
    assert np.allclose(next(iter(out.values())), [2, 0.5 * np.expm1(-2)])


def with_functions(*bodies):
    """A model that applies the first of functions, which apply others of them to one value."""
    functions = [helper.make_function("my", name, ["v"], ["r"], [
        *(helper.make_node(other, ["v"], [f"s{i}"], domain="my") for i, other in enumerate(others)),
        helper.make_node("Identity", ["v"], ["r"])], [helper.make_opsetid("", 21), helper.make_opsetid("my", 1)], [])
        for name, others in bodies]
    node = helper.make_node(bodies[0][0], ["x"], ["y"], domain="my")
    proto = model([node], [port("x", 2)], [port("y", 2)], functions=functions)
    proto.opset_import.append(helper.make_opsetid("my", 1))
    return proto


@pytest.mark.parametrize(("bodies", "message"), [
    ([*((f"f{i}", 2 * [f"f{i + 1}"]) for i in range(40)), ("f40", [])], "comes to more than 2000000 nodes, with the"),
    ([("f", ["g"]), ("g", ["f", "f"])], "has functions that apply themselves: "),
    ([*((f"f{i}", [f"f{i + 1}"]) for i in range(70)), ("f70", [])], "more than 64 deep (limit nesting)")])
def test_functions_inside_of_functions_are_counted_before_they_are_written(bodies, message):
    with pytest.raises(cf.InputError) as caught:
        imported(with_functions(*bodies))
    assert message in str(caught.value)


def test_what_operators_come_to_by_their_own_bodies_is_counted():
    proto = model([("HannWindow", "n", "y")], [], [port("y", 4)], [tensor("n", 4, np.int64)])
    plain = model_of(proto.SerializeToString(), "m.onnx", None, Limits.of(nodes=3))
    with pytest.raises(cf.InputError, match="comes to more than 3 nodes"):
        import_model(plain)


def test_functions_of_one_name_are_told_apart_by_their_overload():
    proto = with_functions(("f", []), ("f", []))
    with pytest.raises(cf.DocumentError, match="there are 2 functions 'f'; expected one of each name"):
        imported(proto)
    proto.functions[1].node[0].op_type = "Neg"
    proto.functions[1].overload = proto.graph.node[0].overload = "other"
    out = cf.Executor(imported(proto).circuit).forward({"x": np.ones(2, np.float32)}).outputs
    assert out["y"].tolist() == [-1, -1]


@pytest.mark.parametrize(("change", "message"), [
    (lambda graph: graph.input.append(graph.input[0]), "there are 2 inputs 'x'; expected one of each name"),
    (lambda graph: graph.initializer.append(graph.initializer[0]), "there are 2 initializers 'w'; expected one of"),
    (lambda graph: graph.node.append(helper.make_node("Neg", ["x"], ["y"])),
     "node 'y' (Neg) gives 'y', which is an earlier value; expected one of each name"),
    (lambda graph: graph.node.append(helper.make_node("Neg", ["x"], ["w"])), "node 'w' (Neg) gives 'w', which is an"),
    (lambda graph: graph.node[0].attribute.extend(2 * [helper.make_attribute("beta", 1.0)]),
     "node 'h' (MatMul): attribute 'beta' stands there twice; expected it once")])
def test_a_name_stands_for_one_thing(change, message):
    """As onnx.checker has it."""
    proto = affine()
    change(proto.graph)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(proto)
    with pytest.raises(cf.DocumentError) as caught:
        imported(proto)
    assert message in str(caught.value)


@pytest.mark.parametrize("passing", [
    ("Identity", "w", "v"), ("Cast", "w", "v", {"to": FLOAT}), ("CastLike", "w,x", "v"), ("Dropout", "w", "v"),
    ("If", "true", "v", {f"{key}_branch": helper.make_graph([helper.make_node("Identity", ["w"], ["r"])], key, [],
                                                             [port("r", 2)]) for key in ("then", "else")})])
def test_a_weight_of_two_names_is_one_parameter(passing):
    """A fit that moved them apart would fit another model."""
    circuit = imported(model([passing, ("Mul", "x,w", "a"), ("Mul", "a,v", "y")], [port("x", 2)], [port("y", 2)],
                             [tensor("w", [3, 5]), tensor("true", True, bool)])).circuit
    assert [node.id for node in circuit.nodes.values() if node.kind == "parameter"] == ["w"]
    run = cf.Executor(circuit).run({"x": np.ones(2, np.float32)}, upstream={"y": np.ones(2, np.float32)})
    assert run.gradients["w"].tolist() == [6, 10]


@pytest.mark.parametrize(("node", "message"), [
    (("Transpose", "x", "y", {"perm": [0, 0]}), "transpose names an axis twice"),
    (("Transpose", "x", "y", {"perm": 1.5}), "has a float for its attribute 'perm'; expected ints"),
    (("MaxPool", "x", "y", {"kernel_shape": [2**40, 1]}), "max_pool needs batch, channels"),
    (("Mul", "x", "y"), "has 1 inputs; expected 2 to 2"), (("Mul", "x,", "y"), "needs its input 1, 'B'"),
    (("LRN", "x", "y", {"size": 2**62}), "has the size 4611686018427387904 over 3 channels"),
    (("Split", "x", "a,b", {"axis": 5}), "has inputs or attributes that do not fit it"),
    (("Cast", "x", "y", {"to": 99}), "needs the type type 99")])
def test_what_does_not_fit_an_operator_is_refused(node, message):
    with pytest.raises(cf.DocumentError) as caught:
        imported(model([node], [port("x", 2, 3)], [port(node[2].split(",")[0], 2)]))
    assert message in caught.value.faults[0].message


def test_text_that_is_no_text_does_not_reach_the_terminal():
    content = model([("Relu", "x", "yyyy")], [port("x", 2)], [port("yyyy", 2)]).SerializeToString()
    circuit = import_model(model_of(content.replace(b"yyyy", b"\xff\x1b[2"), "m.onnx")).circuit
    assert list(circuit.outputs) == ["v_2"]
    assert circuit.nodes["v_2"].label == "\ufffd\\x1b[2"


@pytest.mark.parametrize("place", ["raw_data", "int32_data", "external", "constant", "function"])
def test_bfloat16_is_read_as_float32_with_a_warning(tmp_path, circuitflow, place):  # noqa: F811
    """Its numbers are float32 with 16 bits less, so they stay what they are."""
    values = np.array([1.5, -3.140625, 1e-40, np.inf], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    weights = TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[4])
    if place == "int32_data":
        weights.int32_data.extend(bits.tolist())
    elif place == "external":
        weights = external("w.bin").graph.initializer[0]
        weights.data_type, weights.dims[0] = TensorProto.BFLOAT16, 4
        (tmp_path / "w.bin").write_bytes(bits.tobytes())
    else:
        weights.raw_data = bits.tobytes()
    node = helper.make_node("Constant", [], ["w"], value=weights)
    nodes, functions = [("Mul", "x,w", "y")], []
    if place == "constant":
        nodes.insert(0, node)
    elif place == "function":
        functions = [helper.make_function("my", "f", ["x"], ["y"], [node, helper.make_node("Mul", ["x", "w"], ["y"])],
                                          [helper.make_opsetid("", 21)], [])]
        nodes = [helper.make_node("f", ["x"], ["y"], domain="my")]
    f32 = place in ("constant", "function")
    proto = model(nodes, [port("x", dtype=FLOAT if f32 else TensorProto.BFLOAT16)],
                  [port("y", 4, dtype=FLOAT if f32 else TensorProto.BFLOAT16)], [] if f32 else [weights],
                  functions=functions)
    proto.opset_import.append(helper.make_opsetid("my", 1))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    done = circuitflow("run", str(tmp_path / "m.onnx"), "--set", "x=1", "--forward", "--json")
    assert done.err == ("warning: bfloat16 is read as float32, which has more digits: results differ from the model's "
                        "by its rounding\n")
    expected = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(np.asarray(json.loads(done.out)["outputs"]["y"], float), expected)
    assert circuitflow("import", str(tmp_path / "m.onnx")).err == done.err


# Graphs inside of nodes ----------------------------------------------------------------------------------------------

def branch(operator, name):
    return helper.make_graph([helper.make_node(operator, ["x", "w"], [name])], name, [], [port(name, 2)])


def test_a_branch_is_chosen_at_a_run_and_gradients_flow_through_it():
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("Mul", "t"), else_branch=branch("Add", "e"))
    circuit = imported(model([node], [port("c", dtype=TensorProto.BOOL), port("x", 2)], [port("y", 2)],
                             [tensor("w", [3, 4])])).circuit
    for choice, value, slope in ((True, [3, 8], [3, 4]), (False, [4, 6], [1, 1])):
        result = cf.Executor(circuit).run({"c": choice, "x": np.array([1, 2], np.float32)},
                                          upstream={"y": np.ones(2, np.float32)})
        assert result.outputs["y"].tolist() == value
        assert result.gradients["x"].tolist() == slope


def test_the_names_of_a_branch_are_its_own():
    """Of a branch that is known too: outside, a name stands for what it stood for before, or for nothing."""
    inner = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["r"])], "then", [], [port("r", 2)],
                              [tensor("w", [7, 7])])
    node = helper.make_node("If", ["true"], ["y"], then_branch=inner, else_branch=branch("Add", "e"))
    proto = model([node, ("Mul", "x,w", "z")], [port("x", 2)], [port("y", 2), port("z", 2)],
                  [tensor("w", [3, 4]), tensor("true", True, bool)])
    outputs = cf.Executor(imported(proto).circuit).forward({"x": np.ones(2, np.float32)}).outputs
    assert {name: value.tolist() for name, value in outputs.items()} == {"y": [7, 7], "z": [3, 4]}
    proto.graph.node[1].input[1] = "r"
    with pytest.raises(cf.DocumentError, match="reads 'r', which is no earlier value"):
        imported(proto)


def test_a_loop_of_so_many_steps_is_a_scan():
    ports = [port("i", dtype=TensorProto.INT64), port("go", dtype=TensorProto.BOOL), port("s", 2)]
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["still"]),
                              helper.make_node("Mul", ["s", "w"], ["t"]), helper.make_node("Neg", ["t"], ["out"])],
                             "body", ports, [port("still", dtype=TensorProto.BOOL), port("t", 2), port("out", 2)])
    node = helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body)
    circuit = imported(model([node], [port("x", 2)], [port("last", 2), port("all", 3, 2)],
                             [tensor("n", 3, np.int64), tensor("w", [2, 3])])).circuit
    result = cf.Executor(circuit).run({"x": np.array([1, 1], np.float32)}, of="last",
                                      upstream={"last": np.ones(2, np.float32)})
    assert result.outputs["last"].tolist() == [8, 27]
    assert result.gradients["x"].tolist() == [8, 27]
    assert cf.Executor(circuit).forward({"x": np.array([1, 1], np.float32)}).outputs["all"].tolist() == [
        [-2, -3], [-4, -9], [-8, -27]]
    body.node[0].CopyFrom(helper.make_node("Less", ["i", "i"], ["still"]))
    with pytest.raises(cf.DocumentError, match=r"node 'last' \(Loop\) gives a value of each step, and how many"):
        imported(model([helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body)], [port("x", 2)],
                       [port("last", 2)], [tensor("n", 3, np.int64), tensor("w", [2, 3])]))


def newton(count):
    """The square root of a by Newton's steps from x on, until its square is near a, at most `count` steps."""
    nodes = [("Div", "a,s", "q"), ("Add", "s,q", "sum"), ("Mul", "sum,half", "t"), ("Mul", "t,t", "square"),
             ("Sub", "square,a", "e"), ("Abs", "e", "size"), ("Greater", "size,near", "go_on")]
    f64 = {"dtype": TensorProto.DOUBLE}
    body = helper.make_graph([helper.make_node(name, x.split(","), [y]) for name, x, y in nodes], "body",
                             [port("i", dtype=TensorProto.INT64), port("go", dtype=TensorProto.BOOL), port("s", **f64)],
                             [port("go_on", dtype=TensorProto.BOOL), port("t", **f64)])
    node = helper.make_node("Loop", [count, "start" if count == "m" else "", "x"], ["y"], body=body)
    more = [port("m", 1, dtype=TensorProto.INT64), port("start", dtype=TensorProto.BOOL)] if count == "m" else []
    tensors = [tensor("half", 0.5, np.float64), tensor("near", 1e-3, np.float64), tensor("n", 9, np.int64)]
    return model([node], [port("a", **f64), port("x", **f64), *more], [port("y", **f64)], tensors)


def steps_of_newton(a, x, most):
    for _ in range(most):
        x = (x + a / x) / 2
        if abs((x * x - a).real) <= 1e-3:
            break
    return x


@pytest.mark.parametrize(("count", "most_steps"), [("n", None), ("", 20), ("m", 20)])
def test_a_loop_that_its_data_end_takes_as_many_steps(count, most_steps):
    """Gradients too are those of as many steps: beside derivatives by a complex step."""
    circuit = imported(newton(count), most_steps=most_steps).circuit
    for a, x, bound in ((2.0, 1.0, 9), (100.0, 3.0, 9), (100.0, 3.0, 2), (100.0, 3.0, 0)):
        inputs, most = {"a": a, "x": x}, 9
        if count == "m":
            inputs |= {"m": np.array([bound]), "start": True}
            most = bound
        result = cf.Executor(circuit).run(inputs)
        assert np.isclose(result.outputs["y"], steps_of_newton(a, x, most), rtol=1e-14)
        assert np.isclose(result.gradients["a"], steps_of_newton(a + 1e-30j, x, most).imag / 1e-30, rtol=1e-12)
        assert np.isclose(result.gradients["x"], steps_of_newton(a, x + 1e-30j, most).imag / 1e-30, rtol=1e-12)


@pytest.mark.parametrize("count", ["n", ""])
def test_a_loop_whose_condition_is_false_at_once_has_no_steps(count):
    ports = [port("i", dtype=TensorProto.INT64), port("go", dtype=TensorProto.BOOL), port("s", 2)]
    body = helper.make_graph([helper.make_node("Neg", ["s"], ["t"])], "body", ports,
                             [port("go", dtype=TensorProto.BOOL), port("t", 2)])
    node = helper.make_node("Loop", [count, "no", "x"], ["y"], body=body)
    circuit = imported(model([node], [port("x", 2)], [port("y", 2)],
                             [tensor("n", 3, np.int64), tensor("no", False, bool)])).circuit
    ones = np.ones(2, np.float32)
    run = cf.Executor(circuit).run({"x": 5 * ones}, upstream={"y": ones})
    assert (run.outputs["y"].tolist(), run.gradients["x"].tolist()) == ([5, 5], [1, 1])


def test_a_loop_without_an_end_needs_one(tmp_path, circuitflow):  # noqa: F811
    with pytest.raises(cf.DocumentError, match="say by --most-steps N how many there are at most"):
        imported(newton(""))
    circuit = imported(newton(""), most_steps=3).circuit
    assert np.isclose(cf.Executor(circuit).forward({"a": 2.0, "x": 1.0}).outputs["y"], 2**0.5, rtol=1e-5)
    with pytest.raises(cf.GateError, match="index 1 is out of range"):
        cf.Executor(circuit).forward({"a": 100.0, "x": 3.0})
    with pytest.raises(cf.InputError, match="expected 1 to 1048576"):
        imported(newton(""), most_steps=2**21)
    with pytest.raises(cf.InputError, match="cannot have an integer of more than 20 digits steps at most"):
        imported(newton(""), most_steps=10**5000)
    (tmp_path / "m.onnx").write_bytes(newton("").SerializeToString())
    assert circuitflow("import", str(tmp_path / "m.onnx"), "--most-steps", "3").status == 0


def test_large_constants_inside_of_a_scan_lie_in_the_file_too():
    table = helper.make_node("Constant", [], ["k"], value=tensor("", np.arange(40).reshape(20, 2)))
    body = helper.make_graph([table, helper.make_node("ReduceSum", ["k"], ["r"], keepdims=0),
                              helper.make_node("Add", ["s", "v"], ["u"]), helper.make_node("Add", ["u", "r"], ["t"])],
                             "body", [port("s"), port("v")], [port("t")])
    node = helper.make_node("Scan", ["x", "xs"], ["y"], body=body, num_scan_inputs=1)
    result = imported(model([node], [port("x"), port("xs", 3)], [port("y")]))
    assert len(result.tensors) == 1
    out = cf.Executor(result.circuit).forward({"x": np.float32(1), "xs": np.ones(3, np.float32)}).outputs
    assert float(next(iter(out.values()))) == 1 + 3 * (1 + 780)


# Files from strangers -------------------------------------------------------------------------------------------------

def external(location, **entries):
    weights = TensorProto(name="w", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        weights.external_data.add(key=key, value=value)
    return model([("Mul", "x,w", "y")], [port("x", 2)], [port("y", 2)], [weights])


def read_in(folder, proto, limits=Limits()):  # noqa: B008
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return read_model(folder / "m.onnx", limits)


def test_tensors_lie_beside_the_model(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"junk" + np.array([2, 3], "<f4").tobytes())
    graph = read_in(tmp_path, external("./w.bin", offset="4", length="8")).graph
    assert graph.tensors["w"].tolist() == [2, 3]


@pytest.mark.parametrize(("location", "entries", "message"), [
    ("../w.bin", {}, "is not allowed"), ("/etc/passwd", {}, "is not allowed"), ("link", {}, "a link leads out"),
    ("none", {}, "no such file"), ("", {}, "is not allowed"),
    ("w.bin", {"length": "4"}, "lies at 0 in another file with 4 bytes; its shape says 8 bytes"),
    ("w.bin", {"offset": "-1"}, "lies at -1"),
    ("w.bin", {"offset": "9" * 4000}, "ends at an integer of more than 20 digits in 'w.bin'"),
    ("w.bin", {"offset": "9" * 5000}, "is no number"), ("w.bin", {"length": "9" * 4000}, "an integer of more than 20"),
    ("w.bin", {"offset": "x"}, "is no number")])
def test_tensors_lie_nowhere_else(tmp_path, location, entries, message):
    (tmp_path / "w.bin").write_bytes(b"12345678")
    (tmp_path / "link").symlink_to("/etc/passwd")
    faults = read_in(tmp_path, external(location, **entries)).graph.faults
    assert len(faults) == 1
    assert faults[0].startswith("initializer 'w' ")
    assert message in faults[0]


def test_sizes_that_a_model_states_are_not_trusted(tmp_path):
    huge = TensorProto(name="w", data_type=FLOAT, dims=[2**40, 2**20], raw_data=b"1234")
    negative = TensorProto(name="v", data_type=FLOAT, dims=[-1], raw_data=b"1234")
    few = TensorProto(name="u", data_type=FLOAT, dims=[7], raw_data=b"1234")
    loose = TensorProto(name="t", data_type=FLOAT, dims=[7], float_data=[1.0])
    quarter = TensorProto(name="s", data_type=TensorProto.INT4, dims=[1])
    empty = TensorProto(name="r", data_type=FLOAT, dims=[0, 2**62, 2**62])
    wide = TensorProto(name="q", data_type=FLOAT, dims=[2**20] * 64)
    proto = model([("Relu", "x", "y")], [port("x", 0, 2**62, 2**62)], [port("y", 2)],
                  [huge, negative, few, loose, quarter, empty, wide])
    faults = read_in(tmp_path, proto).graph.faults
    assert [fault.split("; ")[0] for fault in faults] == [
        "initializer 'w' cannot be read: a float32 tensor of shape (1099511627776, 1048576) takes 4.295e+09 GiB",
        "initializer 'v' has the shape (-1,)", "initializer 'u' has 4 bytes",
        "initializer 't' has another number of elements than its shape (7,) says",
        "initializer 's' is of the type int4",
        "initializer 'r' cannot be read: no array has the shape (0, 4611686018427387904, 4611686018427387904)",
        "initializer 'q' cannot be read: a float32 tensor of shape " + (
            f"{str((2**20,) * 64)[:80]}… takes more than 10^300 GiB"),
        "input 'x' is too large: no array has the shape (0, 4611686018427387904, 4611686018427387904)"]
    assert "limit tensor_bytes" in faults[0]


@pytest.mark.parametrize(("content", "message"), [
    (b"\xff\xff\xff", "is no ONNX model"), (b"", "it has no graph"), (b"{}", "is no ONNX model"),
    (affine(opset=6).SerializeToString(), "has opset 6; expected 7 to"),
    (affine(opset=99).SerializeToString(), "a newer package onnx may know it")])
def test_what_is_no_model_of_our_time_is_refused(content, message):
    with pytest.raises(cf.InputError, match=message):
        model_of(content, "m.onnx")


def test_files_and_graphs_have_limits(tmp_path):
    with pytest.raises(cf.InputError, match="larger than 10 bytes"):
        read_in(tmp_path, affine(), Limits.of(document_bytes=10))
    with pytest.raises(cf.InputError, match="at most 3 are allowed"):
        read_in(tmp_path, affine(), Limits.of(nodes=3))
    with pytest.raises(cf.InputError, match="cannot be read: No such file"):
        read_model(tmp_path / "none.onnx")
    graph = helper.make_graph([], "g", [], [port("y", 2)])
    for _ in range(5):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [port("c", dtype=TensorProto.BOOL)], [port("y", 2)])
    with pytest.raises(cf.InputError, match="nested more than 3 deep"):
        read_in(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), Limits.of(nesting=3))


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(cf.MissingExtraError, match=r"circuitflow\[onnx\]"):
        read_model("m.onnx")
