"""The circuit: references, operands, calls, cycles, order, shapes."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import networkx as nx
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates import ShapeError, shapes
from circuitflow.gates.shapes import Size, divide, promote, show, sum_of_sizes
from circuitflow.graph import collector
from support.documents import circuit, document, faults
from support.suite import ROOT

X = {"id": "x", "gate": "input"}
INDICES = {"id": "i", "gate": "constant", "value": [0, 0], "dtype": "int64"}
NEURON = {"nodes": [{"id": "x", "gate": "input", "shape": ["n"]}, {"id": "w", "gate": "input", "shape": ["n"]},
                    {"id": "b", "gate": "input", "value": 0.5}, {"id": "dot", "gate": "matmul", "inputs": ["x", "w"]},
                    {"id": "y", "gate": "add", "inputs": ["dot", "b"]}], "outputs": ["y"]}


def call(name, of, *inputs, **named):
    return {"id": name, "gate": "call", "circuit": of, "inputs": named or list(inputs)}


def test_the_graph_is_a_multigraph_keyed_by_port():
    c = circuit("x = 3", "f = mul(x, x)", {"id": "g", "gate": "sub", "inputs": {"y": "x", "x": "f"}})
    assert isinstance(c.graph, nx.MultiDiGraph)
    assert set(c.graph.edges(keys=True)) == {("x", "f", 0), ("x", "f", 1), ("f", "g", "x"), ("x", "g", "y")}
    assert nx.is_frozen(c.graph)
    assert c.graph.edges["x", "f", 1] == {"output": 0}


def test_the_graph_is_the_one_that_networkx_makes():
    for path in sorted((ROOT / "circuits").glob("*.json")):
        made = cf.load(path)
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(made.nodes)
        graph.add_edges_from((edge.source, node.id, edge.port, {"output": edge.output})
                             for node in made.nodes.values() for edge in node.operands)
        assert nx.utils.graphs_equal(made.graph, graph)
        assert list(made.graph.edges(keys=True, data=True)) == list(graph.edges(keys=True, data=True))
        assert list(made.graph.in_edges(keys=True)) == list(graph.in_edges(keys=True))
        assert made.graph is made.graph


def test_nodes_are_in_the_documents_order_as_far_as_that_is_topological():
    assert list(circuit("f = add(b, a)", "a = exp(x)", "x = 1", "b = neg(x)").nodes) == ["x", "a", "b", "f"]
    assert list(circuit("x = 1", "b = neg(x)", "a = exp(x)", "f = add(a, b)").nodes) == ["x", "b", "a", "f"]


def test_edges_fill_operands_in_the_order_of_the_file_or_by_port():
    nodes = ("x = 1", "y = 5", {"id": "f", "gate": "sub"})
    for edges, value in [([("x", None), ("y", None)], -4), ([("y", None), ("x", None)], 4),
                         ([("y", "y"), ("x", "x")], -4),
                         ([("y", 0), ("x", 1)], 4), ([("x", 1), ("y", "x")], 4)]:
        written = [{"source": source, "target": "f", **({} if port is None else {"port": port})} for source,
                   port in edges]
        assert cf.Executor(circuit(*nodes, edges=written)).run().outputs["f"] == value


def test_calls_are_expanded_to_paths():
    c = circuit("x = [1, 2]", {"id": "w", "gate": "parameter", "value": [3, 4]}, call("h", "neuron", "x", "w"),
                call("g", "neuron", x="x", w="w", b="h"), circuits={"neuron": NEURON})
    assert list(c.nodes) == ["x", "w", "h/x", "h/w", "h/b", "h/dot", "h/y", "g/x", "g/w", "g/b", "g/dot", "g/y"]
    assert c.nodes["h/b"].kind == "input"
    assert c.nodes["g/b"].kind == "identity"
    result = cf.Executor(c).run()
    assert result.outputs["g"] == 22.5
    assert cf.Executor(c).run({"h/b": 1}).outputs["g"] == 23
    np.testing.assert_array_equal(result.gradients["w"], [2, 4])


def test_a_circuit_within_a_circuit_sees_those_around_it():
    layer = {"nodes": [X, call("a", "twice", "x"), call("b", "inner", "a")], "outputs": ["b"],
             "circuits": {"inner": {"nodes": [X, call("t", "twice", "x"), {"id": "y", "gate": "neg", "inputs": ["t"]}],
                                    "outputs": ["y"]}}}
    twice = {"nodes": [X, {"id": "y", "gate": "add", "inputs": ["x", "x"]}], "outputs": ["y"]}
    c = circuit("x = 3", call("f", "layer", "x"), circuits={"layer": layer, "twice": twice})
    assert cf.Executor(c).run().outputs["f"] == -12
    assert "f/b/t/y" in c.nodes


def test_several_outputs_of_a_call_are_referred_to_by_name():
    pair = {"nodes": [X, {"id": "a", "gate": "exp", "inputs": ["x"]}, {"id": "b", "gate": "neg", "inputs": ["x"]}],
            "outputs": ["a", "b"]}
    outer = {"nodes": [X, call("p", "pair", "x")], "outputs": ["p.a", "p.b", "x"]}
    c = circuit("x = 0", call("q", "outer", "x"), "f = add(q.p.a, q.p.b, q.x)", circuits={"pair": pair, "outer": outer},
                outputs=["f", "q.x"])
    result = cf.Executor(c).run()
    assert result.outputs == {"f": 1, "q.x": 0}
    assert result.gradients["x"] == 2


def test_a_passed_through_input_that_feeds_its_own_call_is_a_cycle():
    through = {"nodes": [X], "outputs": ["x"]}
    (message,) = faults(document(call("h", "through", "h"), circuits={"through": through}))
    assert message.startswith("node 'h': a cycle: h → h")


def test_a_call_needs_all_of_its_operands_before_any_of_its_outputs():
    """Also where one output does not depend on one operand: a call is one application, as of any gate."""
    two = {"nodes": [X, {**X, "id": "y"}], "outputs": ["x", "y"]}
    (message,) = faults(document("a = 1", call("h", "two", "a", "n"), "n = neg(h.x)", circuits={"two": two}))
    assert message.startswith("node 'h': a cycle: h → n → h")


def test_a_cycle_in_a_subcircuit_is_one_fault_however_often_it_is_called():
    round_ = {"nodes": [X, {"id": "a", "gate": "add", "inputs": ["x", "b"]},
                        {"id": "b", "gate": "neg", "inputs": ["a"]}],
              "outputs": ["b"]}
    (message,) = faults(document("x = 1", call("h", "round", "x"), call("k", "round", "h"), "f = neg(k)",
                                 circuits={"round": round_}))
    assert message.startswith("node 'a': a cycle: a → b → a")


def test_subcircuits_from_files(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "neuron.json").write_text(json.dumps(
        {"circuitflow": "1.0", "dtype": "float32", **NEURON, "circuits": {"again": {"file": "leaf.json"}}}))
    (tmp_path / "parts" / "leaf.json").write_text(document("x = 1", "y = neg(x)"))
    text = document({"id": "x", "gate": "input", "value": [1, 2], "dtype": "float32"}, call("h", "neuron", "x", "x"),
                    call("g", "leaf", "h"), circuits={"neuron": {"file": "parts/neuron.json"},
                                                      "leaf": {"file": "parts/leaf.json"},
                                                      "unused": {"file": "parts/leaf.json"}})
    path = tmp_path / "c.json"
    path.write_text(text)
    c = cf.load(path)
    assert cf.Executor(c).run().outputs["g"] == -5.5
    assert c.nodes["h/b"].types[0].dtype == "float32"
    assert cf.loads(text, folder=tmp_path) == c
    (tmp_path / "parts" / "leaf.json").write_text("{")
    with pytest.raises(cf.DocumentError) as error:
        cf.load(path)
    assert [fault.file for fault in error.value.faults] == [str(tmp_path / "parts" / "leaf.json")]


def test_files_that_name_one_another_are_read_once(tmp_path):
    for i in range(30):  # read anew each time, this would be 2^30 reads
        following = {name: {"file": f"c{i + 1}.json"} for name in ("a", "b")} if i < 29 else {}
        (tmp_path / f"c{i}.json").write_text(document("x = 1", "y = neg(x)", circuits=following))
    assert len(cf.load(tmp_path / "c0.json").nodes) == 2


def test_subcircuits_of_the_document_are_not_seen_by_files(tmp_path):
    (tmp_path / "a.json").write_text(document("x = 1", call("y", "b", "x")))
    text = document("x = 1", call("f", "a", "x"), circuits={"a": {"file": "a.json"}, "b": NEURON})
    assert faults(text, folder=tmp_path) == ["node 'y': there is no circuit \"b\"; 'circuits' defines none"]


def test_unused_broken_subcircuits_are_faults_too():
    text = document("x = 1", "f = neg(x)",
                    circuits={"a": {"nodes": [X, {"id": "y", "gate": "nge", "inputs": ["x"]}], "outputs": ["y"]}})
    assert faults(text) == ["node 'y': there is no gate \"nge\"; did you mean 'neg'?"]


def test_a_fault_in_a_subcircuit_is_reported_once_however_often_it_is_called():
    bad = {"nodes": [{"id": "x", "gate": "input", "dtype": "int64", "shape": [2]},
                     {"id": "y", "gate": "exp", "inputs": ["x"]}],
           "outputs": ["y"]}
    text = document("x = [1, 2]", call("a", "bad", "x"), call("b", "bad", "x"), "f = add(a, b)", circuits={"bad": bad})
    assert faults(text) == ["node 'a/x': declared as int64, the call gives float64"]


def test_what_hangs_on_a_broken_call_is_left_alone():
    broken = {"nodes": [X, {"id": "y", "gate": "nge", "inputs": ["x"]}], "outputs": ["y"]}
    missing = {"nodes": [X], "outputs": ["z"]}
    text = document("x = 1", call("a", "broken", "x"), call("b", "missing", "x"),
                    call("c", "neuron", "a", "b", "x", "x"),
                    call("d", "nowhere", "x"), "f = add(a, b, c, d)", outputs=["f", "b", "d"],
                    circuits={"broken": broken, "missing": missing, "neuron": NEURON}, upstream={"d": 1, "b": 1})
    assert sorted(faults(text)) == [
        "node 'c': circuit 'neuron' takes 3 operands (x, w, b); it has 4",
        "node 'd': there is no circuit \"nowhere\"; 'circuits' defines 'broken', 'missing', 'neuron'",
        "node 'y': there is no gate \"nge\"; did you mean 'neg'?", "output 'z': there is no node 'z'"]


def test_an_edge_into_a_node_at_fault_is_no_second_fault():
    text = document("y = 1", {"id": "x", "gate": "input", "valeu": 1}, "f = add(x, y)",
                    edges=[{"source": "y", "target": "x"}])
    assert faults(text) == ["node 'x': unknown key 'valeu'; did you mean 'value'?"]


def test_a_circuit_without_inputs_can_be_called():
    c = circuit(call("h", "one"), "f = neg(h)", circuits={
        "one": {"nodes": [{"id": "c", "gate": "constant", "value": 1}], "outputs": ["c"]}})
    assert cf.Executor(c).forward().outputs["f"] == -1
    text = document("x = 1", call("h", "one", "x"), circuits={
        "one": {"nodes": [{"id": "c", "gate": "constant", "value": 1}], "outputs": ["c"]}})
    assert faults(text) == ["node 'h': circuit 'one' takes no operands; it has 1"]


def nested(depth):
    inner = {"nodes": [X], "outputs": ["x"]}
    for _ in range(depth):
        inner = {"nodes": [X, call("y", "a", "x")], "outputs": ["y"], "circuits": {"a": inner}}
    return inner


def test_definitions_and_calls_nest_to_a_limit():
    assert len(circuit("x = 1", call("f", "a", "x"), circuits={"a": nested(40)}).nodes) == 42
    text = document("x = 1", call("f", "a", "x"), circuits={"a": nested(70)})
    assert faults(text) == ["circuit 'a': subcircuits nest more than 64 deep (limit nesting)"]
    chain = {"c0": {"nodes": [X], "outputs": ["x"]},
             **{f"c{i}": {"nodes": [X, call("y", f"c{i - 1}", "x")], "outputs": ["y"]} for i in range(1, 70)}}
    assert faults(document("x = 1", call("f", "c69", "x"),
                           circuits=chain)) == ["node 'y': calls nest more than 64 deep (limit nesting)"]


def test_a_document_of_too_many_nodes():
    assert faults(document("x = 1", "a = neg(x)", "b = neg(a)", "c = neg(b)"), limits=cf.Limits(nodes=3)) == [
        "the circuit has 4 nodes once every call is expanded; at most 3 are allowed (limit nodes)"]


def test_references_are_found():
    c = circuit("x = [1, 2]", call("h", "neuron", "x", "x"), circuits={"neuron": NEURON}, outputs=["h", "x"])
    assert c.find("h") == c.find("h/y") == ("h/y", 0)
    assert c.find("x") == ("x", 0)
    assert c.find("h/z") is None
    assert c.find("x.y") is None
    assert c.suggestion("h/dott") == "; did you mean 'h/dot'?"


def test_nodes_that_reach_no_output():
    assert circuit("x = 1", "y = 2", "f = neg(x)", "g = exp(f)", outputs=["f"]).unused() == ["y", "g"]


@pytest.mark.parametrize(("nodes", "message"), [
    (["x = [1, 2]", "f = matmul(x, y)", "y = [[1, 2, 3]]"],
     "node 'f': matmul needs the last dimension of a (2,) to equal the first of b (1, 3): 2 is not 1"),
    (["x = [[1, 2]]", "y = [[[1, 2, 3]]]", "f = matmul(x, y)"],
     "node 'f': matmul needs the last dimension of a (1, 2) to equal the second to last of b (1, 1, 3): 2 is not 1"),
    (["x = 1", "y = [1]", "f = matmul(x, y)"],
     "node 'f': matmul needs vectors or matrices; a is (), b is (1,); use mul for a scalar"),
    (["x = true", "f = neg(x)"], "node 'f': neg needs numbers; x is bool"),
    (["x = true", "f = exp(x)"], "node 'f': exp needs floating-point numbers; x is bool; cast it"),
    (["x = true", "y = 1", "f = add(x, y)"], "node 'f': add needs numbers; operand 0 is bool"),
    (["x = true", "y = 1", "f = equal(x, y)"], "node 'f': equal cannot mix bool with float64; cast one of them"),
    (["x = 1", "y = true", "f = and(x, y)"], "node 'f': and needs booleans; x is float64"),
    (["x = 1", "y = true", "f = matmul(x, y)"], "node 'f': matmul needs floating-point numbers; b is bool; cast it"),
    (["x = 1", {"id": "f", "gate": "reduce_sum", "axis": 0, "inputs": ["x"]}],
     "node 'f': reduce_sum needs an operand with at least one axis, not a scalar"),
    (["x = [1]", {"id": "f", "gate": "reduce_sum", "axis": [0, -1], "inputs": ["x"]}],
     "node 'f': reduce_sum names an axis twice: [0, -1]"),
    (["x = []", "f = reduce_max(x)"],
     "node 'f': reduce_max needs at least one element; the largest of none is not defined"),
    (["x = []", "f = softmax(x)"], "node 'f': softmax needs at least one element along axis -1"),
    (["x = [[1]]", {"id": "f", "gate": "transpose", "axes": [0], "inputs": ["x"]}],
     "node 'f': transpose needs every axis of the 2 of x once in 'axes', not [0]"),
    (["x = [1]", "f = matrix_transpose(x)"], "node 'f': matrix_transpose needs two dimensions or more; x is (1,)"),
    (["x = [1, 2]", {"id": "f", "gate": "reshape", "shape": [-1, -1], "inputs": ["x"]}],
     "node 'f': reshape cannot turn shape (2,), 2 elements, into (-1, -1)"),
    (["x = [1, 2]", {"id": "f", "gate": "reshape", "shape": [3], "inputs": ["x"]}],
     "node 'f': reshape cannot turn shape (2,), 2 elements, into (3,)"),
    (["x = [1, 2]", {"id": "f", "gate": "reshape", "shape": [0, -1], "inputs": ["x"]}],
     "node 'f': reshape cannot turn shape (2,), 2 elements, into (0, -1)"),
    (["x = [1, 2]", "y = 1", "f = reshape_like(x, y)"],
     "node 'f': reshape_like cannot turn shape (2,) into (): the number of elements differs"),
    (["x = [1, 2]", "y = 1", "f = expand_like(x, y)"], "node 'f': expand_like cannot broadcast x (2,) to like ()"),
    (["x = 1", "y = [1, 2]", "f = sum_to_like(x, y)"], "node 'f': sum_to_like cannot sum x () to like (2,)"),
    (["x = [1, 2]", "y = [[1]]", "f = concat(x, y)"],
     "node 'f': concat needs equal shapes but along axis 0: operand 0 is (2,), operand 1 is (1, 1)"),
    (["x = [1, 2]", "y = 1", "f = concat(x, y)"],
     "node 'f': concat needs equal shapes but along axis 0: operand 0 is (2,), operand 1 is ()"),
    (["x = [1, 2]", {"id": "f", "gate": "slice", "start": 2, "stop": 1, "inputs": ["x"]}],
     "node 'f': slice needs 0 <= start <= stop <= 2 along axis 0 of (2,); start is 2, stop is 1"),
    (["x = [1, 2]", {"id": "f", "gate": "pad", "pad_width": [], "inputs": ["x"]}],
     "node 'f': pad needs one [before, after] for every axis of x (2,), 1 of them; 'pad_width' has 0"),
    (["x = [1, 2]", {"id": "f", "gate": "squeeze", "axis": 0, "inputs": ["x"]}],
     "node 'f': squeeze needs size 1 along axis 0 of (2,), not 2"),
    (["x = [1]", {"id": "i", "gate": "constant", "value": [0], "dtype": "int64"}, "y = [1, 2]",
      "f = scatter_add(x, i, y)"],
     "node 'f': scatter_add needs updates of shape (1,), one slice of x for every index; updates is (2,)"),
    (["x = [1]", "y = [1, 2]", "f = stack(x, y)"],
     "node 'f': stack needs equal shapes: operand 0 is (1,), operand 1 is (2,)"),
    (["x = [1]", {"id": "f", "gate": "tile", "repeats": [1, 2], "inputs": ["x"]}],
     "node 'f': tile needs a number for every axis of x (1,), 1 of them; 'repeats' has 2"),
    (["x = [1]", "f = trilu(x)"], "node 'f': trilu needs two dimensions or more; x is (1,)"),
    (["x = [1]", {"id": "f", "gate": "flatten", "axis": 2, "inputs": ["x"]}],
     "node 'f': flatten needs an axis from -1 to 1, not 2"),
    (["x = [[1]]", INDICES, "f = gather_elements(x, i)"],
     "node 'f': gather_elements needs indices of the shape of x (1, 1) but along axis 0; indices is (2,)"),
    (["x = [1]", "i = [0]", "f = gather_elements(x, i)"],
     "node 'f': gather_elements needs integer indices; indices is float64; declare its dtype as int64"),
    (["x = [1]", INDICES, "y = [1]", "f = scatter_elements(x, i, y)"],
     "node 'f': scatter_elements needs updates of the shape of indices (2,); updates is (1,)"),
    (["i = 1", {"id": "f", "gate": "one_hot", "depth": 2, "inputs": ["i"]}],
     "node 'f': one_hot needs integer indices; indices is float64; declare its dtype as int64"),
    (["x = [1]", "y = [1, 2]", "f = prelu(x, y)"], "node 'f': prelu cannot broadcast slope (2,) to x (1,)"),
    (["x = [1, 2]", {"id": "f", "gate": "expand", "shape": [3], "inputs": ["x"]}],
     "node 'f': expand cannot broadcast shapes (2,) and (3,): 3 is not 2"),
])
def test_operands_that_do_not_fit_say_what_is_needed(nodes, message):
    assert faults(document(*nodes, outputs=["f"])) == [message]


@pytest.mark.parametrize(("dtypes", "result"), [
    (("float32", "float64"), "float64"), (("float64", "float32"), "float64"), (("int8", "int32"), "int32"),
    (("uint8", "uint64"), "uint64"), (("uint8", "int8"), "int16"), (("int64", "uint32"), "int64"),
    (("uint16", "int8", "float32"), None), (("uint64", "int8"), None), (("bool", "int8"), None),
    (("bool", "bool"), "bool")])
def test_dtypes_promote_as_the_array_api_says(dtypes, result):
    if result is None:
        with pytest.raises(ShapeError, match="cannot mix"):
            promote(*dtypes)
    else:
        assert promote(*dtypes) == result
        assert np.result_type(*dtypes) == result


def test_sizes_are_polynomials():
    n, m = Size.named("n"), Size.named("m")
    assert str(n + n * m + 3 + n) == "m*n + 2*n + 3"
    assert n * 2 == n + n
    assert 2 + n == n + 2
    assert n * m == m * n
    assert n != m
    assert n + (n * -1) == 0
    assert n * 0 == 0
    assert divide(n * 784, 28) == n * 28
    assert divide(n * m + n, n) == m + 1
    assert divide(n * 3, 2) is None
    assert divide(n, m) is None
    assert divide(n, n + 1) is None
    assert divide(6, 0) is None
    assert divide(6, 3) == 2
    assert (n * m + 1).substitute({"n": 2, "m": 5}) == 11
    assert (n * m).substitute({"n": 2}) == m * 2
    assert show((n, 3)) == "(n, 3)"
    assert show((n,)) == "(n,)"
    assert show(()) == "()"


def test_polynomials_do_not_grow_without_end(monkeypatch):
    many = sum_of_sizes(Size.named(f"n{i}") for i in range(999))
    assert sum_of_sizes([2, many, many]) == 2 + many * 2
    assert str(many) == " + ".join(f"n{i}" for i in sorted(range(999), key=str)[:12]) + " + …"
    large = math.prod([Size.named("n")] * 64)
    assert str(large) == "*".join(["n"] * 12) + "*…"
    for grow in (lambda: many + Size.named("m") + 1, lambda: large * Size.named("n"), lambda: Size.named("n") * 2**63):
        with pytest.raises(ShapeError, match="needs sizes that are shorter sums of products of named dimensions, of at "
                                             "most 1000 terms of 64 names each"):
            grow()
    monkeypatch.setattr(shapes, "_dimension", lambda terms: pytest.fail(f"{len(terms)} terms were written down"))
    with pytest.raises(ShapeError):
        many * many


def _crossed(count):
    """A flat tensor whose size is a product of so many sums."""
    for i in range(count):
        yield from ({"id": f"{name}{i}", "gate": "input", "shape": [1] * i + [f"{name}{i}"] + [1] * (count - 1 - i)}
                    for name in "ab")
        yield {"id": f"c{i}", "gate": "concat", "inputs": [f"a{i}", f"b{i}"], "axis": i}
    yield {"id": "s", "gate": "add", "inputs": [f"c{i}" for i in range(count)]}
    yield {"id": "f", "gate": "reshape", "inputs": ["s"], "shape": [-1]}


def test_named_dimensions_that_would_grow_without_end():
    assert len(circuit(*_crossed(9)).nodes["f"].types[0].shape[0].terms) == 2**9
    too_large = ("needs sizes that are shorter sums of products of named dimensions, of at most 1000 terms of 64 names "
                 "each and coefficients below 2^63; give some of the dimensions numbers")
    assert faults(document(*_crossed(40))) == [f"node 'f': reshape {too_large}"]
    doubled = [{"id": f"x{i + 1}", "gate": "concat", "axis": 0, "inputs": [f"x{i}"] * 2} for i in range(100)]
    assert faults(document({"id": "x0", "gate": "input", "shape": ["n"]},
                           *doubled)) == [f"node 'x63': concat {too_large}"]


def test_named_dimensions_go_through():
    c = circuit({"id": "x", "gate": "input", "shape": ["batch", 28, 28]},
                {"id": "flat", "gate": "reshape", "shape": [-1, 784], "inputs": ["x"]},
                {"id": "W", "gate": "parameter", "value": {"random": "glorot_normal", "shape": [784, 10], "seed": 0}},
                "y = matmul(flat, W)", "both = concat(y, y)", {"id": "f", "gate": "reduce_mean", "inputs": ["both"]})
    types = {name: show(node.types[0].shape) for name, node in c.nodes.items()}
    assert types == {"x": "(batch, 28, 28)", "flat": "(batch, 784)", "W": "(784, 10)", "y": "(batch, 10)",
                     "both": "(2*batch, 10)", "f": "()"}
    for batch in (1, 3):
        result = cf.Executor(c).run({"x": np.ones((batch, 28, 28))})
        assert result.values["both"].shape == (2 * batch, 10)
        assert result.gradients["x"].shape == (batch, 28, 28)


def test_sizes_within_a_call_are_those_that_the_call_gives():
    c = circuit({"id": "x", "gate": "input", "shape": ["batch"]}, call("h", "neuron", "x", "x"),
                circuits={"neuron": NEURON})
    assert cf.Executor(c).run({"x": [1, 2, 3]}).outputs["h"] == 14.5


def test_upstream_gradients_of_a_document():
    assert faults(document("x = [1, 2]", "f = neg(x)", upstream={"f": {"data": [1, 2], "dtype": "float32"}})) == [
        "upstream 'f': it is float32 (2,); expected float64 (2,), as the output"]
    assert faults(document("x = [1, 2]", "f = neg(x)", upstream={"f": [1, "x"]})) == [
        "upstream 'f': \"x\" is text; expected a number without quotes, or \"NaN\", \"Infinity\" or \"-Infinity\""]
    c = circuit({"id": "x", "gate": "input", "shape": ["n"]}, "f = neg(x)", upstream={"f": [1, 2]})
    assert cf.Executor(c).run({"x": [0, 0]}).gradients["x"].tolist() == [-1, -2]
    with pytest.raises(cf.InputError, match=r"upstream 'f' has shape \(2,\); expected \(3,\), as the output"):
        cf.Executor(c).run({"x": [0, 0, 0]})


CUBE = cf.Gate("x³", "The cube.", ("x",), lambda x: x, forward=lambda xp, x: x * x * x,
               backward=(lambda op, g, out, x: 3 * g * x * x,), reads=cf.Reads.INPUTS)


@pytest.mark.parametrize(("change", "message"), [
    ({"attributes": int}, "attributes is <class 'int'>; expected a class made of cf.Attributes"),
    ({"attributes": cf.Attributes()}, "attributes is "),
    ({"operands": "x"}, "operands is \"x\"; expected"), ({"forward": None}, "forward is null; expected a function"),
    ({"reads": 1}, "reads is 1; expected"),
])
def test_a_row_that_is_none_is_refused_where_it_is_written(change, message):
    row = {"formula": "x", "summary": "Own.", "operands": ("x",), "shape": lambda x: x, "forward": lambda xp, x: x,
           "backward": (lambda op, g, out, x: g,)}
    assert cf.Gate(**row).attributes is cf.Attributes
    with pytest.raises(cf.GateError, match=f"a row of a gate table: {re.escape(message)}"):
        cf.Gate(**row | change)


def test_a_gate_of_ones_own_is_a_row_in_a_table_passed_in():
    c = circuit("x = 2", "f = cube(x)", gates={**cf.GATES, "cube": CUBE})
    assert cf.Executor(c).run().gradients["x"] == 12
    assert cf.check(c).ok
    assert faults(document("x = 2", "f = cube(x)")) == ["node 'f': there is no gate \"cube\"; write x ** 3"]
    with pytest.raises(TypeError):
        cf.GATES["cube"] = CUBE


def test_the_same_document_with_another_table_of_gates():
    c = circuit("x = 2", {"id": "w", "gate": "parameter", "value": [1, 2]}, "f = cube(x)", "g = add(f, w)",
                gates={**cf.GATES, "cube": CUBE})
    square = dataclasses.replace(CUBE, forward=lambda xp, x: x * x)
    other = c.with_gates({**cf.GATES, "cube": square})
    assert [cf.Executor(x).forward().values["g"].tolist() for x in (c, other)] == [[9, 10], [5, 6]]
    assert other.document is c.document
    with pytest.raises(cf.DocumentError, match=r"node 'f': there is no gate \"cube\""):
        c.with_gates(cf.GATES)


@pytest.mark.parametrize("gate", ["__class__", "os.system", "numpy", "__import__"])
def test_a_document_never_causes_an_import(gate):
    assert faults(document("x = 2",
                           {"id": "f", "gate": gate,
                            "inputs": ["x"]}))[0].startswith(f"node 'f': there is no gate \"{gate}\"")


def test_the_collector_is_left_as_it_was():
    import gc

    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            circuit("x = 1")
            assert gc.isenabled() == enabled
        finally:
            gc.enable()


def test_what_a_host_has_frozen_stays_frozen(monkeypatch):
    import gc

    monkeypatch.setattr(collector, "MANY", 0)
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        circuit("x = 1")
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("many", [0, 10**9])
def test_many_new_objects_count_as_old(monkeypatch, many):
    import gc

    monkeypatch.setattr(collector, "MANY", many)
    made = circuit("x = 1")
    assert any(old is made for old in gc.get_objects(generation=2)) == (many == 0)


def test_a_broken_definition_is_not_missed_where_it_is_called():
    for definition, message in [(5, "'a' is 5; expected an object"), ({"file": 5}, "'file' is 5; expected text"),
                                ({"nodes": [X], "outputs": ["x"], "colour": 1},
                                 "unknown key 'colour'; the keys here are 'name', "
                                 "'description', 'dtype', 'circuits', 'nodes', 'edges', 'outputs', 'upstream', "
                                 "'fit', 'layout', 'metadata', '$schema', 'circuitflow'")]:
        assert faults(document("x = 1", call("f", "a", "x"), circuits={"a": definition})) == [message]


def test_what_a_call_gives_is_compared_with_what_its_circuit_declares_whatever_stands_before():
    vector = {"nodes": [{**X, "shape": [3]}, {"id": "y", "gate": "neg", "inputs": ["x"]}], "outputs": ["y"]}
    assert faults(document("a = 1", "i = identity(a)", call("h", "vector", "i"), circuits={"vector": vector})) == [
        "node 'h/x': declared as (3,), the call gives ()"]


def test_every_call_of_a_circuit_counts_towards_the_limits_though_it_is_typed_once():
    wide = {"nodes": [X, {"id": "w", "gate": "parameter", "value": 1},
                      {"id": "y", "gate": "expand", "shape": [1000], "inputs": ["x"]},
                      {"id": "z", "gate": "reduce_sum", "inputs": ["y"]},
                      {"id": "s", "gate": "add", "inputs": ["z", "w"]}], "outputs": ["s"]}
    outer = {"nodes": [X, call("inner", "wide", "x")], "outputs": ["inner"]}
    text = document("a = 1", call("g", "outer", "a"), call("h", "outer", "g"), circuits={"wide": wide, "outer": outer})
    assert faults(text, limits=cf.Limits(run_bytes=12_000)) == [
        "node 'h/inner/y': with a float64 tensor of shape (1000,) the values so far take 15.62 KiB; "
        "at most 11.72 KiB are allowed (limit run_bytes)"]
    loaded = cf.loads(text)
    assert loaded.body.nodes["g"].attributes["circuit"] is loaded.body.nodes["h"].attributes["circuit"]
    assert list(loaded.body.nodes) == ["a", "g/inner/w", "g", "h/inner/w", "h"]
    assert list(loaded.nodes) == ["a", "g/x", "g/inner/x", "g/inner/w", "g/inner/y", "g/inner/z", "g/inner/s", "h/x",
                                  "h/inner/x", "h/inner/w", "h/inner/y", "h/inner/z", "h/inner/s"]


@pytest.mark.parametrize("example", ["staged.json", "neuron_layer.json", "rnn.json"])
def test_a_circuit_is_let_go_without_the_garbage_collector(example):
    import gc
    import weakref

    loaded = cf.load(ROOT / "circuits" / example)
    cf.Executor(loaded).run()
    body = weakref.ref(loaded.body)
    gc.disable()
    try:
        del loaded
        assert body() is None
    finally:
        gc.enable()
