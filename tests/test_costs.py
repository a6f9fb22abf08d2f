"""What a small document can cost: work is counted at n and at 4n, and never grows by more than the document does."""

from __future__ import annotations

import json
import sys
import unicodedata

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.document.positions import positions
from circuitflow.document.writing import dumps
from circuitflow.interpreter.units import unit_gate
from circuitflow.pictures.changes import changes
from circuitflow.pictures.drawing import picture
from circuitflow.pictures.picture import Kind
from circuitflow.text import escape_hidden, is_shown


def document(nodes, outputs, **rest):
    return cf.loads(json.dumps({"circuitflow": "1.0", **rest, "nodes": nodes, "outputs": outputs}))


def source(name, value=0.5):
    return {"id": name, "gate": "input", "value": value}


def gate(name, kind, inputs):
    return {"id": name, "gate": kind, "inputs": inputs}


def wires(n):
    return document([source("x"), gate("f", "add", ["x"] * n)], ["f"])


def operands(n):
    names = [f"x{i}" for i in range(n)]
    return document([*map(source, names), gate("f", "add", names)], ["f"])


def chain(n):
    return document([source("x"), *(gate(f"g{i}", "tanh", [f"g{i - 1}" if i else "x"]) for i in range(n))],
                    [f"g{n - 1}"])


def taken(n):
    """A call whose outputs stand where the gradients on a gate would."""
    names = [f"b{i}" for i in range(n)]
    body = {"nodes": [{"id": "a", "gate": "input"}, *(gate(name, "tanh", ["a"]) for name in names)], "outputs": names}
    nodes = [source("x"), {"id": "dg", "gate": "call", "circuit": "h", "inputs": ["x"]}, gate("g", "tanh", ["x"]),
             *(gate(f"y{i}", "tanh", ["g"]) for i in range(n))]
    return document(nodes, [*(f"dg.{name}" for name in names), *(f"y{i}" for i in range(n))], circuits={"h": body})


def carried(n):
    """A scan of which one carry is read, to which a gradient goes back through all the others in turn."""
    names = [f"a{i}" for i in range(n)]
    body = {"nodes": [{"id": "e", "gate": "input"}, *({"id": name, "gate": "input"} for name in names),
                      *(gate(f"b{i}", "mul", ["e", f"a{(i + 1) % n}"]) for i in range(n))],
            "outputs": [f"b{i}" for i in range(n)]}
    scan = {"id": "s", "gate": "scan", "circuit": "h", "carry": {f"a{i}": f"b{i}" for i in range(n)}, "over": ["e"],
            "inputs": {"e": "e", **dict.fromkeys(names, "x")}}
    return document([source("x"), source("e", [1.0, 2.0]), scan, gate("f", "tanh", ["s.b0"])], ["f"],
                    circuits={"h": body})


def work(function, *arguments):
    """Lines that Python executes, and the elements that its lists and generators go over with them."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


COMMANDS = {
    "explain": lambda c: cf.explain(cf.Executor(c).run()), "diff": lambda c: cf.diff(c, chain(3)),
    "python": cf.to_python,
    "gradient": cf.gradient, "jvp": cf.jvp, "dot": lambda c: cf.draw(cf.Executor(c).run(), "dot"),
    "mmd": lambda c: cf.draw(c, "mmd"), "text": lambda c: dumps(c.document),
    "non_finite": lambda c: cf.Executor(c).run().non_finite(),
}
LISTED = [(family, name) for family in (wires, operands, chain, taken, carried) for name in COMMANDS]


@pytest.mark.parametrize(("family", "command"), LISTED, ids=lambda x: getattr(x, "__name__", x))
def test_work_grows_with_the_document(family, command):
    small, large = family(60), family(240)
    COMMANDS[command](family(5))  # what is imported and made once
    assert work(COMMANDS[command], large) < 5 * work(COMMANDS[command], small)


class Places(int):
    """A port that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Places.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_an_explanation_looks_up_each_operand_once():
    result = cf.Executor(operands(500)).run()
    sent = [c._replace(port=Places(c.port)) for c in result.contributions]
    Places.compared = 0
    cf.explain(cf.Result(result.circuit, result.outputs, result.values, result.gradients, sent, result.upstream))
    assert Places.compared < 5 * 500


def test_pictures_are_bounded_by_their_wires():
    dense = document([*(source(f"x{i}") for i in range(60)),
                      *(gate(f"g{i}", "add", [f"x{j}" for j in range(60)]) for i in range(60)),
                      gate("f", "add", [f"g{i}" for i in range(60)])], ["f"])
    for c in (dense, wires(1001)):
        assert {vertex.kind for vertex in picture(c).vertices} == {Kind.BAND}
    assert len(picture(wires(999)).wires) == 1001
    with pytest.raises(cf.InputError,
                       match="open to depth 0 the circuit has 121 nodes and closed calls with 3661 wires, which nobody "
                             "could read"):
        picture(dense, 0)
    with pytest.raises(cf.InputError,
                       match="the picture of the changes has 121 nodes and 3660 wires, .*; leave the picture out"):
        changes(dense, dense, cf.diff(dense, dense))


def test_arrays_are_compared_by_their_bytes():
    def holding(array):
        return cf.Circuit(cf.loads(json.dumps({"circuitflow": "1.0", "nodes": [source("x", array)],
                                               "outputs": ["x"]})).document)

    assert not cf.diff(holding(["NaN", 1.0]), holding(["NaN", 1]))
    assert cf.diff(holding([0.0]), holding([-0.0]))
    large = [document([source("x", {"random": "normal", "shape": [n, 100], "seed": 1})], ["x"]) for n in (10, 1000)]
    cf.diff(*large)
    assert work(cf.diff, large[1], large[1]) == work(cf.diff, large[0], large[0])


def nested(depth):
    circuits = {"h0": {"nodes": [{"id": "a", "gate": "input"}, gate("b", "log", ["a"])], "outputs": ["b"]}}
    for i in range(1, depth):
        circuits[f"h{i}"] = {"nodes": [{"id": "a", "gate": "input"}, {"id": "z", "gate": "constant", "value": 0.0},
                                       gate("p", "greater", ["a", "z"]),
                                       {"id": "f", "gate": "if", "then": f"h{i - 1}", "else": f"h{i - 1}",
                                        "inputs": {"condition": "p", "a": "a"}}],
                             "outputs": ["f"]}
    return document([source("x"), {"id": "f", "gate": "call", "circuit": f"h{depth - 1}", "inputs": ["x"]}], ["f"],
                    circuits=circuits)


def test_nested_choices_take_the_time_of_their_text():
    for function in (nested, lambda n: cf.Executor(nested(n)).run(), lambda n: cf.gradient(nested(n))):
        function(3)
        assert work(function, 16) < 3 * work(function, 8)


def test_the_default_of_nodes_is_what_a_machine_can_hold():
    assert cf.Limits().nodes * 4 * 2**10 <= 8 * 2**30


def test_what_fails_inside_is_named_by_the_path_that_leads_there():
    cube = cf.Gate("cube", "x³", ("x",), lambda x: x, lambda xp, x: x * xp.missing, lambda op, g, out, x: [g])
    body = {"nodes": [{"id": "a", "gate": "input"}, gate("b", "cube", ["a"])], "outputs": ["b"]}
    text = json.dumps({"circuitflow": "1.0",
                       "nodes": [source("x"),
                                 *({"id": name, "gate": "checkpoint", "circuit": "h", "inputs": ["x"]}
                                   for name in "uv"),
                                                      gate("f", "add", ["u", "v"])], "outputs": ["f"],
                       "circuits": {"h": body}})
    circuit = cf.loads(text, gates={**cf.GATES, "cube": cube})
    assert circuit.nodes["u"].attributes["circuit"] is circuit.nodes["v"].attributes["circuit"]
    for name in "uv":
        with pytest.raises(cf.GateError, match=f"^node '{name}/b': cube: "):
            unit_gate(circuit.nodes[name], [True]).forward(np, 1.0)


def test_jacobians_are_bounded_by_their_blocks():
    circuit = cf.Circuit(operands(30).document, limits=cf.Limits(nodes=500))
    with pytest.raises(cf.InputError, match=r"the Hessian has 900 blocks, one for each of 30 by each of 30; at most "
                                            r"500 are allowed \(limit nodes\); name fewer"):
        cf.hessian(circuit)
    assert len(cf.jacobian(circuit).outputs) == 30


def test_faults_on_one_line_share_its_text():
    text = "x" * 1000 + "\n"
    assert len({id(at.source) for at in positions(text, range(0, 1000, 10))}) == 1


@pytest.mark.parametrize("code", [0x34F, 0x115F, 0x3164, 0x17B4, 0xFE0F, 0xE0100, 0xE01EF, 0x200B, 0x202E, 0x2800, 0xA0,
                                  0xFEFF, 0x1D159, 0x7F, 0xAD])
def test_no_hidden_character_is_shown(code):
    assert not is_shown(f"a{chr(code)}b")
    told = cf.explain(cf.Executor(document([{**source("x"), "label": f"a{chr(code)}b"}, gate("f", "tanh", ["x"])],
                                           ["f"])).run())
    assert chr(code) not in told
    assert chr(code) not in cf.dumps(document([{**source("x"), "label": f"a{chr(code)}b"}], ["x"]))


def test_shown_text_is_what_a_reader_sees():
    for text in ("ordinary", "naïve 数 ∂ а", "e" + "\u0301" * 8, "한글", "e\u0301" * 9):
        assert is_shown(text)
        assert escape_hidden(text, ascii) == text
    assert escape_hidden("e" + "\u0301" * 10, lambda c: "!") == "e" + "\u0301" * 8 + "!!"
    assert escape_hidden("a\u200bb\n", lambda c: "!") == "a!b!"
    assert all(not is_shown(chr(code)) for code in range(sys.maxunicode + 1)
               if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Co", "Cn"))


@pytest.mark.parametrize("fails", [lambda op, g, out, x: [op.missing], lambda op, g, out,
                                   x: exec("raise cf.GateError('no rule')", {"cf": cf})])
def test_what_fails_inside_on_the_way_back_is_named_by_its_path(fails):
    cube = cf.Gate("cube", "x³", ("x",), lambda x: x, lambda xp, x: x * x * x, fails)
    body = {"nodes": [{"id": "a", "gate": "input"}, gate("b", "cube", ["a"])], "outputs": ["b"]}
    text = json.dumps({"circuitflow": "1.0",
                       "nodes": [source("x"), {"id": "u", "gate": "checkpoint", "circuit": "h", "inputs": ["x"]}],
                       "outputs": ["u"], "circuits": {"h": body}})
    with pytest.raises(cf.GateError, match="^node 'u/b': cube: "):
        cf.Executor(cf.loads(text, gates={**cf.GATES, "cube": cube})).run()


def test_a_wrong_rule_among_many_operands_is_found():
    def backward(op, g, out, *xs):
        return [g * 2 if i == 137 else g for i in range(len(xs))]

    plus = cf.Gate("plus", "x + …", cf.AtLeast(1), lambda *x: x[0], lambda xp, *x: sum(x), backward)
    names = [f"x{i}" for i in range(250)]
    text = json.dumps({"circuitflow": "1.0", "nodes": [*map(source, names), gate("f", "plus", names)],
                       "outputs": ["f"]})
    report = cf.check(cf.loads(text, gates={**cf.GATES, "plus": plus}))
    assert [(blamed.node, blamed.port) for blamed in report.blamed] == [("f", 137)]
