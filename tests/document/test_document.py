"""Documents: values, layout, and what is written coming back as it was."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

import circuitflow as cf
from circuitflow.document.model import Document
from circuitflow.document.output import write
from circuitflow.document.rewriting import with_edges, with_inputs
from circuitflow.document.writing import dumps
from support.documents import circuit, document, faults


def value_of(value, folder=None, **node):
    return circuit({"id": "x", "gate": "input", "value": value, **node}, folder=folder).values["x"]


@pytest.mark.parametrize(("value", "shape", "dtype"), [
    (3, (), "float64"), (-0.5, (), "float64"), ("NaN", (), "float64"), ([1, 2.5], (2,), "float64"),
    ([[1], [2], [3]], (3, 1), "float64"), ([], (0,), "float64"), ([[], []], (2, 0), "float64"), (True, (), "bool"),
    ([True, False], (2,), "bool"), ({"data": [], "shape": [0, 5]}, (0, 5), "float64"),
    ({"data": [1, 2, 3, 4], "shape": [2, 2]}, (2, 2), "float64"), ({"data": 0, "shape": [2, 3]}, (2, 3), "float64"),
    ({"data": [[1]], "shape": [1, 1], "dtype": "int32"}, (1, 1), "int32"),
    ({"data": [1, 2], "dtype": "float32"}, (2,), "float32"), ({"data": ["Infinity"]}, (1,), "float64"),
    ({"random": "normal", "shape": [2, 3], "seed": 0}, (2, 3), "float64"),
    ({"random": "uniform", "shape": [4], "seed": 0, "dtype": "float32"}, (4,), "float32"),
])
def test_every_form_of_value(value, shape, dtype):
    array = value_of(value)
    assert array.shape == shape
    assert array.dtype == dtype
    assert not array.flags.writeable


def test_numbers_are_kept_exactly():
    assert value_of(2**53) == 2**53
    assert value_of(2**1000) == 2.0**1000
    assert value_of({"data": 2**63 - 1, "dtype": "int64"}) == 2**63 - 1
    assert str(value_of(-0.0)) == "-0.0"
    np.testing.assert_array_equal(value_of(["NaN", "Infinity", "-Infinity", 5e-324]), [np.nan, np.inf, -np.inf, 5e-324])
    np.testing.assert_array_equal(value_of([[[1, 2]], [[3, 4]]]), [[[1, 2]], [[3, 4]]])


@pytest.mark.parametrize(("value", "node", "message"), [
    ([1, [2]], {}, "node 'x': a list of 1 stands beside a number; expected lists of equal length"),
    ({"data": [[1], [2, 3]]}, {}, "node 'x': a list of 2 stands beside a list of 1; expected lists of equal length"),
    ({"data": [1.5], "dtype": "int64"}, {},
     "node 'x': 1.5 is not an int64: expected an integer from -9223372036854775808 to 9223372036854775807"),
    ([[1], 2], {}, "node 'x': 2 stands beside a list of 1; expected lists of equal length"),
    ([1, None], {}, "node 'x': null is not a number"),
    ([1, {"a": 1}], {}, "node 'x': an object with 'a' is not a number"),
    ([1, "two"], {},
     "node 'x': \"two\" is text; expected a number without quotes, or \"NaN\", \"Infinity\" or \"-Infinity\""),
    ([1, True], {}, "node 'x': true is not a float64; write a number"),
    (1, {"dtype": "bool"}, "node 'x': 1 is not a bool"),
    (300, {"dtype": "uint8"}, "node 'x': 300 is not an uint8: expected an integer from 0 to 255"),
    ("NaN", {"dtype": "int64"},
     "node 'x': nan is not an int64: expected an integer from -9223372036854775808 to 9223372036854775807"),
    (1e39, {"dtype": "float32"}, "node 'x': 1e+39 is too large for a float32"),
    (2**53 + 1, {}, "node 'x': 9007199254740993 cannot be kept exactly in a float64; write it as a float such as 1e20"),
    (10**400 + 1, {}, "node 'x': an integer of more than 20 digits cannot be kept exactly in a float64; write it as a "
                      "float such as 1e20"),
    ({"data": 1, "dtype": "float32"}, {"dtype": "float64"},
     "node 'x': dtype float32 of the value is not dtype float64 of the node; remove one of the two"),
    ({"data": [[1, 2], [3, 4]], "shape": [4, 1]}, {},
     "node 'x': shape (4, 1) has 4 elements, the data has shape (2, 2); expected equal shapes, a flat list of as many "
     "numbers, or one number that fills the shape"),
    ({"data": 0, "shape": [100000, 100000]}, {},
     "node 'x': a float64 tensor of shape (100000, 100000) takes 74.51 GiB; at most 4 GiB are allowed (limit "
     "tensor_bytes)"),
    ({"random": "normal", "shape": [2], "seed": 0}, {"dtype": "int64"},
     "node 'x': random values are float64 or float32, not int64"),
    ({"random": "he_normal", "shape": [2], "seed": 0}, {},
     "node 'x': he_normal needs a weight of shape (…, in, out), not (2,)"),
    ({"random": "normal", "shape": [2], "seed": -1}, {}, "node 'x': 'seed' is -1; expected 0 or more"),
    ({"random": "normal", "shape": [2], "seed": 2**32}, {},
     "node 'x': 'seed' is 4294967296; expected less than 4294967296"),
    ({"random": "normal", "shape": [1] * 65, "seed": 0}, {},
     "node 'x': 'shape' is a list of 65; expected at most 64 items"),
])
def test_values_that_cannot_be_used(value, node, message):
    assert faults(document({"id": "x", "gate": "input", "value": value, **node})) == [message]


def test_random_values_are_numpys_frozen_stream():
    draw = np.random.RandomState(7)
    np.testing.assert_array_equal(value_of({"random": "normal", "shape": [3], "seed": 7, "mean": 1, "std": 2}),
                                  1 + 2 * draw.standard_normal(3))
    draw = np.random.RandomState(7)
    np.testing.assert_array_equal(value_of({"random": "uniform", "shape": [3], "seed": 7, "low": -1, "high": 3}),
                                  -1 + 4 * draw.random_sample(3))


@pytest.mark.parametrize(("name", "std"), [("he_normal", np.sqrt(2 / 200)), ("he_uniform", np.sqrt(2 / 200)),
                                           ("glorot_normal", np.sqrt(2 / 500)), ("glorot_uniform", np.sqrt(2 / 500))])
def test_initialisers_scale_with_the_fan(name, std):
    array = value_of({"random": name, "shape": [2, 100, 150], "seed": 0})
    assert np.std(array) == pytest.approx(std, rel=0.02)
    assert np.mean(array) == pytest.approx(0, abs=0.001)
    if name.endswith("uniform"):
        assert np.max(np.abs(array)) <= std * np.sqrt(3)


@pytest.fixture
def folder(tmp_path):
    save_file({"W": np.arange(6.0).reshape(2, 3), "h": np.ones(2, np.complex64), "n": np.array([1, 2], np.int64)},
              tmp_path / "weights.safetensors")
    (tmp_path / "deep").mkdir()
    save_file({"W": np.ones(1, np.float32)}, tmp_path / "deep" / "w.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    return tmp_path


def test_tensor_files(folder):
    array = value_of({"file": "weights.safetensors", "tensor": "W", "shape": [2, 3], "dtype": "float64"}, folder)
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    assert value_of({"file": "weights.safetensors", "tensor": "n"}, folder).dtype == np.int64
    assert value_of({"file": "deep/w.safetensors", "tensor": "W"}, folder).dtype == np.float32
    path = folder / "c.json"
    path.write_text(document({"id": "x", "gate": "input", "value": {"file": "weights.safetensors", "tensor": "W"}}))
    np.testing.assert_array_equal(cf.load(path).values["x"], array)


@pytest.mark.parametrize(("value", "message"), [
    ({"tensor": "V"}, "no tensor 'V' in 'weights.safetensors'; it has 'W', 'h', 'n'"),
    ({"tensor": "WW"}, "no tensor 'WW' in 'weights.safetensors'; did you mean 'W'?"),
    ({"shape": [3, 2]}, "shape (3, 2) is declared, the file has (2, 3)"),
    ({"dtype": "float32"}, "dtype float32 is declared, the file has float64"),
    ({"tensor": "h"},
     "tensor 'h' is C64; expected one of 'float64', 'float32', 'float16', 'int64', 'int32', 'int16', 'int8', "
                      "'uint64', 'uint32', 'uint16', 'uint8', 'bool'"),
    ({"file": "text.safetensors"}, "'text.safetensors' is not a safetensors file"),
    ({"file": "nowhere.safetensors"}, "'nowhere.safetensors': no such file beside the document"),
    ({"file": "deep"}, "'deep': no such file beside the document"),
    *[({"file": name}, f"'{shown}' is not allowed: expected a relative path, with forward slashes and no '..', of a "
                       "file beside or below the document")
      for name,
      shown in [("../w.safetensors", "../w.safetensors"),
                ("deep/../weights.safetensors", "deep/../weights.safetensors"),
                          ("/etc/passwd", "/etc/passwd"), ("C:/w", "C:/w"), ("deep\\w", "deep\\w"), ("w\0", "w\\x00"),
                          ("", "")]],
])
def test_tensor_files_that_cannot_be_used(folder, value, message):
    value = {"file": "weights.safetensors", "tensor": "W", **value}
    assert faults(document({"id": "x", "gate": "input", "value": value}), folder=folder) == [f"node 'x': {message}"]


def test_a_tensor_file_larger_than_the_limit(folder):
    value = {"file": "weights.safetensors", "tensor": "W"}
    assert faults(document({"id": "x", "gate": "input", "value": value}), folder=folder,
                  limits=cf.Limits(tensor_bytes=40)) == [
        "node 'x': a float64 tensor of shape (2, 3) takes 48 bytes; at most 40 bytes are allowed (limit tensor_bytes)"]


def test_links_must_not_lead_out(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "w.safetensors"
    save_file({"W": np.ones(1)}, outside)
    (folder / "link.safetensors").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "inside.safetensors").symlink_to(folder / "weights.safetensors")
    text = document({"id": "x", "gate": "input", "value": {"file": "link.safetensors", "tensor": "W"}})
    assert faults(text,
                  folder=folder) == ["node 'x': 'link.safetensors' is not allowed: a link leads out of the document's "
                                     "folder"]
    assert faults(text.replace("link.safetensors", "loop"),
                  folder=folder) == ["node 'x': 'loop': no such file beside the document"]
    assert faults(text.replace("link.safetensors", "inside.safetensors"), folder=folder) == []
    assert faults(text) == ["node 'x': 'link.safetensors' cannot be read: a document without a folder has no files "
                            "beside it"]


FULL = {
    "$schema": "../schemas/circuit.schema.json", "circuitflow": "1.0", "name": "full", "description": "everything",
    "dtype": "float32",
    "circuits": {"a": {"name": "inner",
                       "nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["x"]}],
                       "outputs": ["y"]}},
    "nodes": [
        {"id": "x", "gate": "input", "value": [1, 2], "shape": ["n"], "label": "the ünput", "description": "d",
         "metadata": {"any": [{"thing": None}, 1.5, True, "x"]}},
        {"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [2], "seed": 0, "dtype": "float32"}},
        {"id": "c", "gate": "constant", "value": "NaN"},
        {"id": "h", "gate": "call", "circuit": "a", "inputs": {"x": "x"}},
        {"id": "m", "gate": "max", "ties": "share"},
        {"id": "s", "gate": "reduce_sum", "inputs": ["m"], "axis": 0, "keepdims": True},
        {"id": "f", "gate": "mul", "inputs": ["s", "c"]}],
    "edges": [{"source": "h", "target": "m", "port": 1}, {"source": "x", "target": "m", "port": 0}],
    "outputs": ["f", "h"], "upstream": {"f": [1]}, "layout": {"x": [0, 1.5]}, "metadata": {"tool": {"version": 3}},
}


def test_everything_is_carried_through():
    c = cf.loads(json.dumps(FULL))
    assert json.loads(cf.dumps(c)) == FULL
    assert cf.loads(cf.dumps(c)) == c
    assert cf.dumps(cf.loads(cf.dumps(c))) == cf.dumps(c)
    assert c.values["x"].dtype == np.float32
    assert c != cf.loads(json.dumps({**FULL, "description": "something"}))
    assert c != "full"
    assert repr(c) == "<Circuit 'full': 8 nodes, outputs f, h>"


def test_a_document_made_by_a_program():
    made = cf.Document.model_validate({"circuitflow": "1.0", "name": "made", "outputs": ["f"], "nodes": [
        {"id": "x", "gate": "input", "value": 2}, {"id": "f", "gate": "neg", "inputs": ["x"]}]})
    assert cf.Executor(cf.Circuit(made)).run().outputs["f"] == -2
    wrong = made.model_copy(update={"outputs": ["g"]})
    with pytest.raises(cf.DocumentError) as error:
        cf.Circuit(wrong)
    assert str(error.value) == "made: output 'g': there is no node 'g'"
    assert error.value.faults[0].pointer == "/outputs/0"
    assert error.value.faults[0].line is None


def test_a_document_can_be_made_of_its_models():
    from circuitflow.document import model

    made = cf.Document(circuitflow="1.0", outputs=["f"], nodes=[
        model.ParameterNode(id="w", gate="parameter", value=model.RandomNormal(random="normal", shape=[2], seed=0)),
        model.ParameterNode(id="v", gate="parameter", value=model.TensorData(data=[1, 2])),
        model.InputNode(id="x", gate="input", value=3.0),
        model.CallNode(id="h", gate="call", circuit="a", inputs=["w", "v"]),
        model.GateNode(id="f", gate="reduce_sum", inputs={"x": "h"}, axis=0)],
        circuits={"a": model.Body(nodes=[model.InputNode(id="x", gate="input"), model.InputNode(id="y", gate="input")],
                                  outputs=["y"]), "b": model.CircuitFile(file="b.json")})
    assert [type(node) for node in made.nodes] == [model.ParameterNode] * 2 + [model.InputNode, model.CallNode,
                                                                               model.GateNode]
    with pytest.raises(cf.DocumentError, match="'b.json' cannot be read: a document without a folder"):
        cf.Circuit(made)
    tensors = made.model_copy(update={"circuits": {"a": made.circuits["a"]}})
    assert cf.Executor(cf.Circuit(tensors)).run().outputs["f"] == 3
    file = cf.Document(circuitflow="1.0", outputs=["w"], nodes=[
        model.ParameterNode(id="w", gate="parameter", value=model.TensorFile(file="w.safetensors", tensor="w"))])
    assert type(file.nodes[0].value) is model.TensorFile


def test_a_program_cannot_put_into_a_document_what_json_has_not():
    with pytest.raises(ValueError, match="JSON values only"):
        Document.model_validate({"circuitflow": "1.0", "nodes": [], "outputs": ["x"], "metadata": {"a": object()}})


@pytest.mark.parametrize("where", ["metadata", "axis"])
def test_nesting_of_free_json_is_bounded(where):
    deep = nested = {}
    for _ in range(150):
        nested["a"] = [{}]
        nested = nested["a"][0]
    node = {"id": "f", "gate": "reduce_sum", "inputs": ["x"], where: deep}
    assert "expected nested at most 100 levels deep" in faults(document("x = [1]", node))[0]


def test_layout_is_one_node_a_line_and_breaks_what_is_too_long():
    nodes = [{"id": "x", "gate": "input", "value": list(range(100))},
             {"id": "y", "gate": "parameter", "value": [[0.123456789] * 8] * 3, "label": "weights"},
             {"id": "f", "gate": "matmul", "inputs": ["y", "x"]}]
    text = dumps(Document.model_validate({"circuitflow": "1.0", "nodes": nodes, "outputs": ["f"]}))
    assert max(map(len, text.splitlines())) <= 120
    assert json.loads(text)["nodes"] == nodes
    assert '    {"id": "f", "gate": "matmul", "inputs": ["y", "x"]}\n  ],' in text
    assert '        [0.123456789, 0.123456789,' in text


def test_text_is_written_so_that_a_terminal_is_safe_and_nothing_is_lost():
    label = "\x9b31m \x7f \u202e \u200b \U000e0001 ünput 日本"
    made = Document.model_validate({"circuitflow": "1.0", "outputs": ["x"],
                                    "nodes": [{"id": "x", "gate": "input", "label": label}]})
    text = dumps(made)
    assert all(line.isprintable() for line in text.splitlines())
    assert "ünput 日本" in text
    assert cf.loads(text).document == made


def test_operands_can_be_written_either_way():
    made = Document.model_validate(FULL | {"circuits": {"a": FULL["circuits"]["a"], "b": {"file": "b.json"}}})
    edges, inputs = with_edges(made), with_inputs(made)
    assert all(getattr(node, "inputs", None) is None for node in (*edges.nodes, *edges.circuits["a"].nodes))
    assert not inputs.edges
    assert [node.inputs for node in inputs.nodes[3:]] == [{"x": "x"}, ["x", "h"], ["m"], ["s", "c"]]
    assert with_inputs(edges) == with_inputs(with_edges(with_inputs(edges)))
    assert {(e.source, e.target, e.port) for e in edges.edges} == {
        ("h", "m", 1), ("x", "m", 0), ("x", "h", "x"), ("m", "s", None), ("s", "f", None), ("c", "f", None)}
    for one in (edges, inputs):
        circuit = cf.loads(dumps(one.model_copy(update={"circuits": {"a": one.circuits["a"]}})))
        assert cf.Executor(circuit).forward().outputs.keys() == {"f", "h"}


def test_operands_by_name_become_an_object():
    text = document("x = 1", "y = 2", {"id": "f", "gate": "sub"}, edges=[
        {"source": "x", "target": "f", "port": "y"}, {"source": "y", "target": "f", "port": 0}])
    made = with_inputs(cf.loads(text).document)
    assert made.nodes[2].inputs == {"y": "x", "0": "y"}
    assert cf.Executor(cf.Circuit(made)).run().outputs["f"] == 1
    again = cf.Circuit(with_edges(made))
    assert cf.Executor(again).run().outputs["f"] == 1


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    path.write_text("old")
    path.chmod(0o640)
    write(path, "new ü\n")
    assert path.read_text(encoding="utf-8") == "new ü\n"
    assert path.stat().st_mode & 0o777 == 0o640
    write(tmp_path / "fresh.json", "fresh")
    assert (tmp_path / "fresh.json").read_text() == "fresh"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(cf.InputError,
                       match=r"c.json' cannot be written: No space left on device; the file is as it was"):
        write(path, "newer")
    assert path.read_text(encoding="utf-8") == "new ü\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json", "fresh.json"]
    with pytest.raises(cf.InputError, match="cannot be written: No such file"):
        write(tmp_path / "nowhere" / "c.json", "x")
