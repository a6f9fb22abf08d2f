"""What changed between two documents, by meaning."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.pictures.changes import changes
from circuitflow.pictures.picture import Sign
from support.documents import circuit
from support.slices import few
from support.suite import ROOT

CIRCUITS = sorted((ROOT / "circuits").glob("*.json"))
PRODUCT = ["x = -2", "y = 5", "z = -4", "q = add(x, y)", "f = mul(q, z)"]


def told(old, new):
    return [str(change) for change in cf.diff(old, new).changes]


@pytest.mark.parametrize("path", CIRCUITS, ids=lambda path: path.stem)
def test_a_circuit_does_not_differ_from_itself_however_it_is_written(path):
    from circuitflow.document.rewriting import with_edges, with_inputs

    subject = cf.load(path)
    for rewrite in (with_edges, with_inputs):
        raw = rewrite(subject.document).model_dump(mode="python", by_alias=True, exclude_unset=True)
        raw |= {"name": "another name", "description": "other words", "metadata": {"a": 1}, "layout": {}}
        for node in raw["nodes"]:
            node |= {"label": "a label", "description": "about it"}
        other = cf.Circuit(cf.Document.model_validate(raw), folder=path.parent)
        assert told(subject, other) == []
        assert not cf.diff(subject, other)


def test_order_defaults_and_ways_to_write_a_value_do_not_count():
    old = circuit("x = [1, 2]", "y = reduce_sum(x)", "f = exp(y)")
    new = circuit({"id": "x", "gate": "input", "value": {"data": [1.0, 2.0], "shape": [2], "dtype": "float64"}},
                  {"id": "f", "gate": "exp", "inputs": {"x": "y"}},
                  {"id": "y", "gate": "reduce_sum", "inputs": ["x"], "keepdims": False, "axis": None}, outputs=["f"])
    assert told(old, new) == []


@pytest.mark.parametrize(("nodes", "expected"), [
    (["x = -3", *PRODUCT[1:]], ["~ x: value: -2 → -3"]),
    ([*PRODUCT[:4], "f = sub(q, z)"], ["~ f: gate: mul → sub"]),
    ([*PRODUCT[:4], "f = mul(q, x)"], ["~ f: operand 1: z → x"]),
    ([*PRODUCT[:3], "sum = add(x, y)", "f = mul(sum, z)"], ["> q is now called sum"]),
    ([*PRODUCT[:2], "w = -4", "q = add(x, y)", "f = mul(q, w)"], ["> z is now called w"]),
    ([*PRODUCT[:3], "sum = sub(x, y)", "f = mul(sum, z)"],
     ["- q = add(x, y)", "+ sum = sub(x, y)", "~ f: operand 0: q → sum"]),
    ([*PRODUCT, "g = exp(f)"], ["+ g = exp(f)", "~ outputs: f → g"]),
    (["x = -2", "z = -4", "f = mul(x, z)"], ["- y = input 5", "- q = add(x, y)", "~ f: operand 0: q → x"]),
    ([*PRODUCT[:4], "f = mul(q, z, x)"], ["~ f: operand 2: none → x"]),
    ([{"id": "x", "gate": "parameter", "value": -2}, *PRODUCT[1:]], ["~ x: gate: input → parameter"]),
    ([{"id": "x", "gate": "input"}, *PRODUCT[1:]], ["~ x: value: -2 → none"]),
])
def test_what_changed_is_told(nodes, expected):
    assert told(circuit(*PRODUCT), circuit(*nodes)) == expected


def test_attributes_shapes_outputs_upstream_and_dtype():
    old = circuit({"id": "x", "gate": "input", "shape": ["n", 2]},
                  {"id": "f", "gate": "reduce_sum", "inputs": ["x"], "axis": 0},
                  {"id": "t", "gate": "top_k", "inputs": ["f"], "k": 1}, outputs=["f", "t.values"],
                  upstream={"f": [1, 2]})
    new = circuit({"id": "x", "gate": "input", "shape": ["n", 3], "dtype": "float32"},
                  {"id": "f", "gate": "reduce_sum", "inputs": ["x"], "axis": 0, "keepdims": True},
                  {"id": "t", "gate": "top_k", "inputs": ["f"], "k": 2}, outputs=["t.values", "f", "t.indices"],
                  dtype="float32")
    assert told(old, new) == [
        "~ x: shape: (n, 2) → (n, 3)", "~ x: dtype: none → float32", "~ f: keepdims: false → true", "~ t: k: 1 → 2",
        "~ outputs: f, t.values → t.values, f, t.indices", "~ dtype: float64 → float32",
        "~ upstream of f: [1, 2] → none"]


def neuron(gate="sigmoid", **more):
    return {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": gate, "inputs": ["x"], **more}],
            "outputs": ["y"]}


def calling(body, name="neuron", key="call", **more):
    return circuit("x = 1", {"id": "h", "gate": key, "circuit": name, "inputs": {"x": "x"}, **more}, "f = neg(h)",
                   circuits={name: body})


def test_a_change_inside_of_a_circuit_is_told_once_where_it_is():
    assert told(calling(neuron()), calling(neuron("tanh"))) == ["~ h: circuit: neuron → neuron",
                                                                "neuron: ~ y: gate: sigmoid → tanh"]
    twice = [circuit("x = 1", *({"id": f"h{i}", "gate": "call", "circuit": "n", "inputs": ["x"]} for i in range(2)),
                     "f = add(h0, h1)", circuits={"n": body})
             for body in (neuron(), neuron("leaky_relu", alpha=0.5))]
    assert told(*twice) == ["~ h0: circuit: n → n", "~ h1: circuit: n → n", "n: ~ y: gate: sigmoid → leaky_relu",
                            "n: ~ y: alpha: none → 0.5"]


def test_a_circuit_of_another_name_that_is_the_same_is_the_same():
    assert told(calling(neuron()), calling(neuron(), "cell")) == []
    renamed = {"nodes": [{"id": "x", "gate": "input"}, {"id": "z", "gate": "sigmoid", "inputs": ["x"]}],
               "outputs": ["z"]}
    assert told(calling(neuron()), calling(renamed)) == []


def test_what_a_scan_carries_counts():
    def loop(**more):
        cell = {"nodes": [{"id": "h", "gate": "input"}, {"id": "x", "gate": "input"},
                          {"id": "y", "gate": "add", "inputs": ["h", "x"]}], "outputs": ["y"]}
        return circuit("xs = [1, 2]", "s = 0", {"id": "run", "gate": "scan", "circuit": "cell", "carry": {"h": "y"},
                                                "over": ["x"], "inputs": {"h": "s", "x": "xs"}, **more},
                       outputs=["run"], circuits={"cell": cell})
    assert told(loop(), loop(reverse=True)) == ["~ run: reverse: false → true"]
    assert told(loop(), loop()) == []


def test_a_difference_is_data():
    difference = cf.diff(circuit(*PRODUCT), circuit("x = -3", *PRODUCT[1:3], "sum = add(x, y)", "f = mul(sum, z)"))
    assert [tuple(change) for change in difference.changes] == [("renamed", "", "sum", "", "q", ""),
                                                                ("changed", "", "x", "value", "-2", "-3")]
    assert dict(difference.before) == {"x": "x", "y": "y", "z": "z", "f": "f", "sum": "q"}
    assert str(difference) == "> q is now called sum\n~ x: value: -2 → -3"


gates = st.sampled_from(["add", "mul", "sub", "tanh", "exp"])


@settings(max_examples=few(60))
@given(st.lists(st.tuples(gates, st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=15), st.randoms())
def test_new_names_and_another_order_are_renames_alone(plan, random):
    nodes = [{"id": f"x{i}", "gate": "input", "value": 1} for i in range(3)]
    for i, (gate, _, b) in enumerate(plan):
        operands = [nodes[-1]["id"],
                    nodes[b % len(nodes)]["id"]] if gate in ("add", "mul", "sub") else [nodes[-1]["id"]]
        nodes.append({"id": f"n{i}", "gate": gate, "inputs": operands})
    old = circuit(*nodes)
    used = old.needed({nodes[-1]["id"]})
    kept = [node for node in nodes if node["id"] in used]
    old = circuit(*kept)
    names = {node["id"]: f"m{random.randrange(10**9)}_{i}" for i, node in enumerate(kept)}
    renamed = [{**node, "id": names[node["id"]],
                **({"inputs": [names[x] for x in node["inputs"]]} if "inputs" in node else {})} for node in kept]
    last = renamed[-1]["id"]
    random.shuffle(renamed)
    difference = cf.diff(old, circuit(*renamed, outputs=[last]))
    assert {change.kind for change in difference.changes} == {"renamed"}
    assert dict(difference.before) == {new: was for was, new in names.items()}


def test_nodes_that_nothing_reads_do_not_stand_in_the_way_of_renames():
    old = circuit("x = 1", "y = 2", "q = add(x, y)", "unread = exp(q)", "f = neg(q)")
    new = circuit("a = 1", "b = 2", "c = add(a, b)", "d = exp(c)", "e = neg(c)", outputs=["e"])
    assert dict(cf.diff(old, new).before) == {"a": "x", "b": "y", "c": "q", "d": "unread", "e": "f"}
    alike = circuit("x = 1", "y = 1", "q = sub(x, y)", "unread = exp(q)",
                    "f = neg(q)"), circuit("a = 1", "b = 1", "q = sub(b, a)", "unread = exp(q)", "f = neg(q)")
    assert dict(cf.diff(*alike).before) == {"q": "q", "unread": "unread", "f": "f", "b": "x", "a": "y"}


# The picture and the command ------------------------------------------------------------------------------------------

def test_the_picture_has_what_was_added_removed_and_changed():
    old, new = circuit(*PRODUCT), circuit("x = -3", "y = 5", "w = 2", "q = add(x, y)", "f = mul(q, w)", outputs=["f"])
    made = changes(old, new, cf.diff(old, new))
    assert [(v.node, v.lines, v.sign) for v in made.vertices] == [
        ("x", ("x", "value: -2 → -3"), Sign.CHANGED), ("y", ("y",), Sign.SAME), ("w", ("w",), Sign.ADDED),
        ("q", ("+", "q"), Sign.SAME),
        ("f", ("*", "f", "operand 1: z → w"), Sign.CHANGED), ("z", ("z",), Sign.REMOVED)]
    keys = {v.key: v.node for v in made.vertices}
    assert [(keys[w.source], keys[w.target], w.sign) for w in made.wires] == [
        ("x", "q", "same"), ("y", "q", "same"), ("q", "f", "same"), ("w", "f", "added"), ("z", "f", "removed")]
    assert changes(calling(neuron()), calling(neuron("tanh")),
                   cf.diff(calling(neuron()), calling(neuron("tanh")))).notes == ("circuit neuron differs inside",)


@pytest.fixture
def documents(tmp_path):
    for name, value in (("old", -2), ("new", -3)):
        (tmp_path / f"{name}.json").write_text(cf.dumps(circuit(f"x = {value}", *PRODUCT[1:])))
    return str(tmp_path / "old.json"), str(tmp_path / "new.json")


def test_the_command_says_so_by_its_exit_status(circuitflow, documents, tmp_path):
    def run(*arguments):
        outcome = circuitflow("diff", *arguments)
        return outcome.status, outcome.out, outcome.err

    old, new = documents
    assert run(old, old) == (0, "", "")
    assert run(old, new) == (1, "~ x: value: -2 → -3\n", "")
    status, out, _ = run(old, new, "--json")
    assert status == 1
    assert json.loads(out) == {"same": False,
                               "changes": [{"kind": "changed", "circuit": "", "node": "x", "what": "value", "was": "-2",
                                            "now": "-3"}]}
    assert json.loads(run(old, old, "--json")[1]) == {"same": True, "changes": []}
    for ending in ("svg", "html", "dot", "mmd", "png", "pdf"):
        path = tmp_path / f"changes.{ending}"
        assert run(old, new, "-o", str(path), "--theme", "dark")[0] == 1
        assert path.stat().st_size > 100
    assert "value: -2 → -3" in (tmp_path / "changes.svg").read_text()
    assert run(old, new, "-o",
               "changes.jpg") == (2, "",
                                  "error: changes.jpg: expected a picture as .svg, .png, .pdf, .html, .dot, .mmd\n")
    assert run(old, "nowhere.json")[0] == 2


def test_values_are_compared_to_the_last_bit():
    values = [np.random.RandomState(0).standard_normal((3, 4)).tolist() for _ in range(2)]
    values[1][2][3] = float(np.nextafter(values[1][2][3], 1))
    old, new = (circuit({"id": "x", "gate": "input", "value": value}, "f = reduce_sum(x)") for value in values)
    assert len(told(old, new)) == 1
    assert told(old, new)[0].startswith("~ x: value: (3, 4) ")


def test_numbers_that_look_the_same_in_short_are_told_exactly():
    old, new = (circuit({"id": "x", "gate": "constant", "value": value}, "f = neg(x)") for value in (0.0, -0.0))
    assert told(old, new) == ["~ x: value: 0.0 → -0.0"]
    old, new = (circuit({"id": "x", "gate": "constant", "value": value}, "f = neg(x)") for value in (2.9, 2.9000000001))
    assert told(old, new) == ["~ x: value: 2.9 → 2.9000000001"]


# Fits and bounds ----------------------------------------------------------------------------------------------------

FIT = {"data": {"file": "decay.csv"}, "columns": {"x": "time"}, "residuals": "f", "tolerance": 1e-9,
       "method": {"name": "trf"}}
RESULT = {"status": "converged", "objective": 0.5, "evaluations": 3, "parameters": ["w"], "values": [1.5],
          "standard_errors": [0.1], "covariance": [[0.01]], "warnings": ["w is at its bound"],
          "digests": {"data": "a" * 64}}


def fitted(fit, **parameter):
    return circuit("x = 2", {"id": "w", "gate": "parameter", "value": 1, **parameter}, "f = mul(x, w)",
                   circuitflow="1.1", **({"fit": fit} if fit else {}))


def test_a_fit_is_told_key_by_key():
    assert told(fitted(FIT), fitted(FIT)) == []
    after = {**FIT, "columns": {"x": "t", "w": "s"}, "tolerance": 1e-8, "method": {"name": "lm", "scale": [1] * 99}}
    with pytest.raises(cf.DocumentError):
        fitted(after)
    after["columns"].pop("w")
    assert told(fitted(FIT), fitted(after)) == [
        "~ fit: columns: x: time → t", "~ fit: method: name: trf → lm", "~ fit: tolerance: 1e-09 → 1e-08",
        "~ fit: method: scale: none → a list of 99"]
    assert told(fitted(None), fitted({"loss": "f"})) == ["~ fit: loss: none → f"]
    assert told(fitted({"loss": "f"}), fitted(None)) == ["~ fit: loss: f → none"]


def test_a_result_is_told_parameter_by_parameter():
    before, after = fitted(FIT), fitted({**FIT, "result": RESULT}, value=1.5)
    assert told(before, after) == [
        "~ w: value: 1 → 1.5", "~ fit: result: w: none → 1.5 ± 0.1", "~ fit: result: status: none → converged",
        "~ fit: result: objective: none → 0.5", "~ fit: result: evaluations: none → 3",
        "~ fit: result: covariance: none → [[0.01]]", "~ fit: result: warnings: none → [\"w is at its bound\"]",
        f"~ fit: result: digests: data: none → {'a' * 64}"]
    near = {**RESULT, "values": [1.5 + 1e-12], "objective": 0.5 + 1e-13}
    assert told(after, fitted({**FIT, "result": near}, value=1.5)) == [
        "~ fit: result: w: 1.5 ± 0.1 → 1.500000000001 ± 0.1",
        "~ fit: result: objective: 0.5 → 0.5000000000001"]
    bare = {key: RESULT[key] for key in ("status", "objective", "evaluations", "parameters")}
    assert told(fitted({**FIT, "result": {**bare, "values": [2]}}), fitted({**FIT, "result": bare})) == [
        "~ fit: result: w: 2 → none"]


def test_a_hostile_fit_is_escaped():
    hostile = "\x1b[31m\u202e"
    change = told(fitted({"loss": "f"}), fitted({"loss": "f", "method": {"name": hostile, hostile: hostile}}))
    assert change == ["~ fit: method: name: none → \\x1b[31m\\u202e",
                      "~ fit: method: \\x1b[31m\\u202e: none → \\x1b[31m\\u202e"]


@pytest.mark.parametrize(("old", "new", "expected"), [
    ({}, {"min": 0, "max": 3}, ["~ w: min: none → 0", "~ w: max: none → 3"]),
    ({"min": 0}, {"min": 0.0, "max": "Infinity"}, []),
    ({"max": 2, "frozen": True}, {"max": 2, "frozen": False}, ["~ w: frozen: yes → none"]),
    ({"value": [1, 2], "min": 0}, {"value": [1, 2], "min": [0, 0]}, []),
    ({"value": [1, 2], "min": 0}, {"value": [1, 2], "min": [0, 1]}, ["~ w: min: [0, 0] → [0, 1]"]),
])
def test_bounds_are_told(old, new, expected):
    assert told(fitted(None, **old), fitted(None, **new)) == expected
