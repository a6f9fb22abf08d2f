"""The staged computation in words: every expression is evaluated again, every number is the run's."""

from __future__ import annotations

import ast
import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.explanations.catalogue import example
from circuitflow.explanations.explanation import explanation
from circuitflow.explanations.expressions import Phrase, apply_gate, python, sent_back, stage
from circuitflow.gates import GATES, ArrayType
from circuitflow.gates.operators import BINARY, PREFIXES
from circuitflow.gates.record import spell_out
from circuitflow.graph.bodies import Operand
from circuitflow.graph.typed import Node
from circuitflow.interpreter.vocabulary import Vocabulary
from circuitflow.text import number, printable, rows
from support.documents import circuit, document
from support.gate_examples import EXAMPLES, attributes_of, types_of, wanted
from support.hostile import HOSTILE
from support.suite import ROOT


def names_of(example):
    return [f"x{i}" for i in range(len(example.operands))]


def node_of(example):
    gate = GATES[example.gate]
    types = gate.shape(*types_of(*example.operands), **attributes_of(example))
    outputs = gate.output_names(attributes_of(example))
    return Node("f", example.gate, gate, attributes_of(example),
                tuple(Operand(x, 0, i) for i, x in enumerate(names_of(example))),
                outputs, (types,) if isinstance(types, ArrayType) else types)


class Attributes(dict):
    """Names in an expression: arrays, and gates by name, an attribute that is a bare word being its own name."""

    def __missing__(self, name):
        if name in GATES:
            op = Vocabulary(np, GATES)
            return lambda *operands, **attributes: getattr(op, name)(*map(np.asarray, operands), **attributes)
        return name


def evaluate(text, values):
    """An expression of several outputs, `f.q`, is the output of that name."""
    names = Attributes(values)
    tree = ast.parse(text, mode="eval")
    with np.errstate(all="ignore"):
        return eval(compile(tree, "expression", "eval"), {"__builtins__": {}}, names)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if any(wanted(e))], ids=str)
def test_what_a_rule_is_said_to_send_is_what_it_sends(example):
    node, names = node_of(example), names_of(example)
    if node.outputs:
        pytest.skip("outputs with names are written f.q, which is no Python name")
    sent = sent_back(node, GATES, names, types_of(*example.operands), ["f"], wanted(example))
    assert len(sent) == len(names)
    with np.errstate(all="ignore"):
        out = np.asarray(GATES[example.gate].forward(np, *example.operands, **attributes_of(example)))
        g = np.asarray(np.random.RandomState(3).standard_normal(out.shape), out.dtype)
        op = Vocabulary(np, GATES)
        rules = GATES[example.gate].contributions(op, g, out, example.operands, wanted(example), attributes_of(example))
    values = dict(zip(names, example.operands, strict=True)) | {"f": out, "df": g}
    for expression, rule, operand, want in zip(sent, rules, example.operands, wanted(example), strict=True):
        if expression is None:
            continue
        text = python(expression).text
        assert want
        assert len(text) <= 60
        expected = np.asarray(rule)
        if expected.shape != operand.shape:
            expected = op.sum_to_like(expected, operand)
        np.testing.assert_allclose(np.asarray(evaluate(text, values), float), expected, rtol=1e-12, atol=1e-14)


def test_most_simple_gates_say_what_they_send():
    telling = {e.gate for e in EXAMPLES if any(wanted(e)) and not node_of(e).outputs and any(
        sent_back(node_of(e), GATES, names_of(e), types_of(*e.operands), ["f"], wanted(e)))}
    assert telling >= {"add", "sub", "mul", "div", "neg", "reciprocal", "exp", "log", "sigmoid", "tanh", "relu", "max",
                       "matmul",
                       "reduce_sum", "where", "sin", "square", "sqrt", "transpose", "reshape"}


@pytest.mark.parametrize("example", [e for e in EXAMPLES if GATES[e.gate].output_names(attributes_of(e)) == ()],
                         ids=str)
def test_the_stage_of_a_gate_is_the_gate(example):
    text = stage(node_of(example), names_of(example))
    with np.errstate(all="ignore"):
        expected = np.asarray(GATES[example.gate].forward(np, *example.operands, **attributes_of(example)))
    if example.gate == "equal_nan":
        assert text == "x0 == x1"
        return
    found = np.asarray(evaluate(text, dict(zip(names_of(example), example.operands, strict=True))))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=1e-12, atol=1e-14)


def application(name, operands):
    return apply_gate(name, GATES[name], operands, {})


@pytest.mark.parametrize(("text", "tree"), [
    ("a - (b - c)", ("sub", "a", ("sub", "b", "c"))), ("a - b - c", ("sub", ("sub", "a", "b"), "c")),
    ("a + b - c", ("add", "a", ("sub", "b", "c"))), ("a - (b + c)", ("sub", "a", ("add", "b", "c"))),
    ("a * (b @ c)", ("mul", "a", ("matmul", "b", "c"))), ("a @ b * c", ("mul", ("matmul", "a", "b"), "c")),
    ("a * (b % c)", ("mul", "a", ("mod", "b", "c"))), ("(a**b)**c", ("pow", ("pow", "a", "b"), "c")),
    ("a**(b**c)", ("pow", "a", ("pow", "b", "c"))), ("(-a)**b", ("pow", ("neg", "a"), "b")),
    ("-a**b", ("neg", ("pow", "a", "b"))), ("-(a * b)", ("neg", ("mul", "a", "b"))),
    ("(a < b) == c", ("equal", ("less", "a", "b"), "c")), ("1 / (a * b)", ("reciprocal", ("mul", "a", "b"))),
    ("1 / a * b", ("mul", ("reciprocal", "a"), "b")), ("a * (1 / b)", ("mul", "a", ("reciprocal", "b"))),
    ("~(a & b) | c", ("or", ("not", ("and", "a", "b")), "c")), ("(a + b).T", ("matrix_transpose", ("add", "a", "b"))),
    ("a * -b", ("mul", "a", ("neg", "b"))), ("exp(a + b)", ("exp", ("add", "a", "b"))),
    ("a + b + c", ("add", "a", "b", "c")),
])
def test_parentheses_stand_where_they_are_needed_and_nowhere_else(text, tree):
    def phrase(x):
        return Phrase(x) if isinstance(x, str) else application(x[0], list(map(phrase, x[1:])))

    assert phrase(tree).text == text


# The explanation ------------------------------------------------------------------------------------------------------

def explained(name, **options):
    return explanation(cf.Executor(cf.load(ROOT / f"circuits/{name}.json")).run(**options))


@pytest.mark.parametrize("path", sorted((ROOT / "circuits").glob("*.json")), ids=lambda path: path.stem)
def test_every_value_and_contribution_is_told_once_and_adds_up(path):
    result = cf.Executor(cf.load(path)).run()
    told = explanation(result)
    assert [s.of for s in (*told.sources, *told.forward) if s.sign == "="] == [
        name for node in sorted(result.circuit.nodes.values(), key=lambda node: not node.is_source)
        for name in node.names]
    stages = [s for block in told.backward for s in block.stages]
    assert len(stages) == len(result.contributions) + len(result.upstream)
    assert {s.of for s in stages} == {name for name in result.gradients
                                      if name in {c.source for c in result.contributions} | set(result.upstream)}
    for name in {s.of for s in stages}:
        signs = [s.sign for s in stages if s.of == name]
        assert signs == ["="] + ["+="] * (len(signs) - 1)
        assert [bool(s.total) for s in stages if s.of == name] == [False] * (len(signs) - 1) + [len(signs) > 1]


def test_what_it_means_is_true():
    run = cf.Executor(cf.load(ROOT / "circuits/staged.json"))
    for sentence in explained("staged").meaning:
        name, way, by = re.fullmatch(r"(\w): raise it by 0.01, and f (rises|falls) by about ([\d.]+) .*",
                                     sentence).groups()
        before = run.run()
        after = run.run({name: float(before.values[name]) + 0.01})
        moved = float(after.outputs["f"] - before.outputs["f"])
        assert (moved > 0) == (way == "rises")
        assert abs(moved) == pytest.approx(float(by), rel=0.02)
    assert [s.partition(":")[0] for s in explained("staged").meaning] == ["x", "y"]  # the strongest first


def test_a_dead_input_an_infinite_gradient_and_several_outputs_are_told():
    assert "w: a small change leaves f where it is" in explained("patterns").meaning
    assert explained("tie").meaning[0].startswith("x: raise it by 0.01, and the sum of the outputs rises by")
    assert "the sum of D times dD falls by" in explained("matrix_product").meaning[0]
    root = explanation(cf.Executor(circuit("x = 0", "f = sqrt(x)")).run())
    assert root.meaning == ["x: its gradient is inf, which tells nothing of f"]
    weighted = explanation(cf.Executor(circuit("x = 2", "f = neg(x)", "g = exp(x)",
                                               outputs=["f", "g"])).run(upstream={"f": 3.0}))
    assert "the sum of the outputs, each times its upstream gradient, rises" in weighted.meaning[0]
    empty = explanation(cf.Executor(circuit({"id": "x", "gate": "input", "value": {"data": [], "shape": [0]}},
                                            "f = reduce_sum(x)")).run())
    assert empty.meaning == ["x: a small change leaves f where it is"]


def test_a_sum_beyond_all_numbers_is_told_without_a_warning():
    told = cf.explain(cf.Executor(circuit("x = 1e308", "y = mul(x, x)")).run())
    assert "dx += dy * x = 1e+308  # x forks, its contributions add up: inf" in told


def test_a_forward_pass_alone_has_no_backward_lines():
    told = explanation(cf.Executor(cf.load(ROOT / "circuits/staged.json")).forward())
    assert told.backward == []
    assert told.meaning == []
    text = cf.explain(cf.Executor(cf.load(ROOT / "circuits/staged.json")).forward())
    assert "Forward pass" in text
    assert "Reverse sweep" not in text


def test_a_gate_of_ones_own_and_one_without_words_tell_what_they_can():
    cube = cf.Gate("x³", "The cube.", ("x",), lambda x: x, reads=cf.Reads.INPUTS,
                   forward=lambda xp, x: x * x * x, backward=(lambda op, g, out, x: 3 * g * x * x,))
    told = explanation(cf.Executor(circuit("x = 2", "f = cube(x)", gates={**cf.GATES, "cube": cube})).run())
    assert told.backward[1].words == "cube: The cube."
    assert told.backward[1].stages[0].right == "3 * df * x * x"
    told = explanation(cf.Executor(circuit("x = 2", "f = sin(x)")).run())
    assert told.backward[1].words == "sin: df · cos x to x"


def test_a_rule_that_looks_at_numbers_is_told_in_words_alone():
    def rule(op, g, out, x):
        return g if bool(x > 0) else -g

    size = cf.Gate("|x|", "The size.", ("x",), lambda x: x, reads=cf.Reads.INPUTS, forward=lambda xp, x: abs(x),
                   backward=(rule,))
    told = explanation(cf.Executor(circuit("x = -2", "f = size_of(x)", gates={**cf.GATES, "size_of": size})).run())
    assert [(s.right, s.value) for s in told.backward[1].stages] == [("", "-1")]


def test_a_gate_with_several_outputs_names_them():
    told = explanation(cf.Executor(circuit("x = [1, 3, 2]", {"id": "t", "gate": "top_k", "inputs": ["x"], "k": 1},
                                           "f = reduce_sum(t.values)")).run())
    assert [s.left for s in told.forward] == ["t.values", "t.indices", "f"]
    assert [s.right for s in told.forward] == ["top_k(x, k=1).values", "top_k(x, k=1).indices", "reduce_sum(t.values)"]
    assert told.backward[2].heading == "t.values and t.indices = top_k(x, k=1)"


def test_a_result_without_the_values_of_its_nodes_is_refused():
    result = cf.Executor(cf.load(ROOT / "circuits/staged.json")).run(cache="needed")
    with pytest.raises(cf.InputError,
                       match="this result has outputs only; an explanation needs the value of every node, which run "
                             "gives with cache='all'"):
        cf.explain(result)


def test_an_unknown_form_is_refused():
    result = cf.Executor(cf.load(ROOT / "circuits/staged.json")).run()
    with pytest.raises(cf.InputError, match="there is no form 'markdow' of explanation; did you mean 'markdown'\\?; "
                                            "there are text, markdown, html, latex, mathml"):
        cf.explain(result, "markdow")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(hostile):
    subject = circuit({"id": "x", "gate": "input", "value": 1, "label": hostile},
                      {"id": "f", "gate": "neg", "inputs": ["x"], "label": hostile},
                      name=hostile, description=hostile)
    result = cf.Executor(subject).run()
    for form in ("text", "markdown", "html", "latex", "mathml"):
        text = cf.explain(result, form)
        assert all(c.isprintable() or c == "\n" for c in text), form
    page = cf.explain(result, "html")
    body = page[page.index("<main>"):]
    tags = "main h1 p h2 table tr th td span h3 ul li math mrow mi mo mn mover".split()
    assert set(re.findall(r"</?[a-z!?][^>\s]*", body)) <= {
        *(f"<{x}" for x in tags), *(f"</{x}" for x in tags), "</html"}
    marked = cf.explain(result, "markdown")
    unescaped = re.sub(r"\\[\\`*_{}\[\]<>()#+!|~&:@$-]", "", marked)
    rows = [line for line in unescaped.splitlines() if line and not line.startswith(("# ", "## ", "### ", "- ", "|"))]
    assert not any(re.search(r"[<>`\[\]*_|]", row) for row in rows)
    assert all(row.count("|") == 4 for row in unescaped.splitlines() if row.startswith("|"))
    if len(hostile) < 40:
        assert printable(hostile, 60).partition("\\")[0].strip() in cf.explain(result)


def test_all_words_are_clauses():
    for name, note in ((name, gate.facets.note) for name, gate in GATES.items()):
        assert not note.words or (note.words[0].islower() and not note.words.endswith(".")), name


@pytest.mark.parametrize("gate", GATES)
def test_rules_name_the_operands_of_this_circuit(gate):
    """Of every gate each line is an expression of this circuit, or the words name what it is about; no name of the
    gate's own is left."""
    written = json.loads(example(gate))
    written.pop("upstream", None)
    called = {node["id"]: f"their_{i}" for i, node in enumerate(written["nodes"])} | {"f": "result"}
    for node in written["nodes"]:
        node["id"] = called[node["id"]]
        node["inputs"] = [called[name] for name in node["inputs"]] if "inputs" in node else None
    written["nodes"] = [{key: value for key, value in node.items() if value is not None} for node in written["nodes"]]
    written["outputs"] = [re.sub("^f", "result", name) for name in written["outputs"]]
    subject = cf.loads(json.dumps(written))
    upstream = {name: np.ones(subject.type_of(output).shape) for name, output in subject.outputs.items()
                if subject.type_of(output).is_float}
    if not upstream:
        return
    told = explanation(cf.Executor(subject).run(of=list(upstream), upstream=upstream))
    formal = {"g", "out", *(GATES[gate].operands if isinstance(GATES[gate].operands, tuple) else ()),
              *({*GATES[gate].attributes.model_fields} - {"axes", "shape"})}
    for block in told.backward:
        for words in ([block.words] if block.node else []):
            assert not formal & set(re.findall(r"\w+", words)), words
            for line in block.stages:
                assert line.right or line.of in words, (line, words)
                assert not line.right or re.search("result|their_", line.right)


def test_a_clause_about_an_operand_that_is_left_out_is_left_out():
    nodes = [{"id": "image", "gate": "input", "value": [[[1, 2, 3]]]},
             {"id": "kernel", "gate": "input", "value": [[[1, 2]]]},
             {"id": "h", "gate": "conv", "inputs": ["image", "kernel"]},
             {"id": "f", "gate": "reduce_sum", "inputs": ["h"]}]
    text = cf.explain(cf.Executor(circuit(*nodes)).run())
    assert "  · conv: dh ⋆ᵀ kernel to image, the windows of image times dh to kernel\n" in text
    assert spell_out("{g} to {x}; {g} to {y}", {"g": "df", "x": "u"}) == "df to u"
    assert spell_out("{g.q} to {x}, {out}") == "g_q to x, out"
    assert spell_out("{g} to {operands}") == "g to every operand"


@pytest.mark.parametrize(("row", "words"), [(GATES["neg"], "conv turns the sign of its gradient"),
                                            (replace(GATES["neg"]), "conv: The negative.")])
def test_a_row_tells_its_own_words_under_any_name(row, words):
    result = cf.Executor(cf.loads(document("x = 2", "h = conv(x)", "f = exp(h)"), gates={**GATES, "conv": row})).run()
    assert f"  · {words}" in cf.explain(result)
    assert cf.draw(result, "html")


def test_minus_zero_is_zero():
    subject = circuit({"id": "x", "gate": "input", "value": -0.0}, {"id": "v", "gate": "input", "value": [-0.0, 1]},
                      {"id": "h", "gate": "mul", "inputs": ["x", "v"]},
                      {"id": "f", "gate": "reduce_sum", "inputs": ["h"]})
    text = cf.explain(cf.Executor(subject).run())
    assert not re.search(r"(?<![\d.e])-0(?![.\d])", text)
    assert number(np.array([[-0.0], [-1e-9]])) == "[[0], [-1e-09]]"


@pytest.mark.parametrize(("array", "text"), [
    (3.0, "3"), (np.zeros((0, 3)), "(0, 3) empty"), ([1, 2.5], "[1, 2.5]"),
    ([[1, -2.5], [10, 0]], "[[   1, -2.5],\n [  10,    0]]"),
    (np.arange(15), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 3 more]"), ([[True, False]], "[[ True, False]]"),
    (np.arange(8).reshape(2, 2, 2), "[[[0, 1],\n  [2, 3]],\n [[4, 5],\n  [6, 7]]]"),
    (np.arange(4).reshape(2, 1, 2), "[[[0, 1]],\n [[2, 3]]]"),
])
def test_arrays_stand_by_rows(array, text):
    assert rows(np.asarray(array)) == text


def test_a_large_array_is_cut_with_a_count():
    array = np.arange(3000).reshape(1500, 2)
    lines = rows(array).splitlines()
    assert len(lines) == 21
    assert lines[-1] == " … 1,480 more rows"
    assert rows(np.zeros((1, 2000))).endswith(", … 1,988 more]]")
    for x in (array, np.random.RandomState(0).standard_normal((3, 2, 40)), np.arange(1000.0)):
        whole = rows(x, columns=None, lines=None, to_text=lambda x: repr(x.item()))
        assert max(map(len, whole.splitlines())) <= 100
        np.testing.assert_array_equal(json.loads(whole), x)


def test_operators_hold_together_as_python_has_them():
    """Parentheses stand just where the grammar needs them to tell two operators apart."""
    x, y, z = map(Phrase, "xyz")
    for sign, outer in BINARY.items():
        for inner_sign, inner in BINARY.items():
            for operands, meant in [((application(inner.gate, [x, y]), z), f"(x {inner_sign} y) {sign} z"),
                                    ((x, application(inner.gate, [y, z])), f"x {sign} (y {inner_sign} z)")]:
                written = application(outer.gate, operands).text
                plain = f"x {inner_sign} y {sign} z" if meant[0] == "(" else f"x {sign} y {inner_sign} z"
                same = ast.dump(ast.parse(plain)) == ast.dump(ast.parse(meant))
                associative = sign in "+*|^&" and inner_sign in ("+-" if sign == "+" else sign)
                needless = sign == inner_sign == "**"  # but easier to read
                assert ("(" in written) != (same or (associative and meant[0] == "x")) or needless, (written, meant)
                if not associative:
                    assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(meant))
        for prefix, unary in PREFIXES.items():
            for operands, meant in [((application(unary.gate, [x]), y), f"({prefix}x) {sign} y"),
                                    ((x, application(unary.gate, [y])), f"x {sign} ({prefix}y)")]:
                assert ast.dump(ast.parse(application(outer.gate, operands).text)) == ast.dump(ast.parse(meant))
            written = application(unary.gate, [application(outer.gate, [x, y])]).text
            assert ast.dump(ast.parse(written)) == ast.dump(ast.parse(f"{prefix}(x {sign} y)"))


COLLIDING = ("f", "df", "ddf", "df_2", "ddf_2", "f_2", "df_2_2", "f_2_3", "df_3", "x", "dx", "dx_2")


@given(st.permutations(COLLIDING), st.integers(1, 3), st.data())
def test_a_name_has_one_meaning_however_ids_and_gradients_collide(ids, sources, data):
    """Every line is evaluated with the names before it; a value and a gradient of one name would show."""
    count = data.draw(st.integers(sources + 1, 7))
    nodes = [f"{name} = {number}" for name, number in zip(ids[:sources], (2, 3, 5), strict=False)]
    for i in range(sources, count):
        operands = data.draw(st.lists(st.sampled_from(ids[:i]), min_size=2, max_size=3))
        nodes.append(f"{ids[i]} = {data.draw(st.sampled_from(['mul', 'add']))}({', '.join(operands)})")
    result = cf.Executor(circuit(*nodes)).run()
    told = explanation(result)
    values = {name: float(value) for name, value in result.values.items()}
    for line in told.forward:
        assert evaluate(line.right, values) == pytest.approx(values[line.left])
    called = {stage.of: stage.left for block in told.backward for stage in block.stages}
    assert all(stage.left == called[stage.of] for block in told.backward for stage in block.stages)
    assert len(set(called.values())) == len(called)
    assert not set(called.values()) & set(values)
    names = values | {called[name]: float(gradient) for name, gradient in result.gradients.items() if name in called}
    for block in told.backward:
        for line in block.stages:
            if line.right:
                assert f"{evaluate(line.right, names):.6g}" == line.value
    assert all(re.fullmatch(rf"d{name}(_\d+)?", gradient) for name, gradient in called.items())
    for form in ("text", "markdown", "html"):
        cf.explain(result, form)


def test_collisions_in_every_place_that_names_gradients(circuitflow, tmp_path):
    product = circuit("x = 2", "df = 3", "f = mul(x, df)", upstream={"f": 10})
    result = cf.Executor(product).run()
    for form in ("text", "html"):
        told = html.unescape(re.sub(r'<[^>]*?(?:title="([^"]*)")?>', r"\1", cf.explain(result, form)))
        assert re.search(r"dx\s+= df_2 \* df", told)
        assert re.search(r"ddf\s+= df_2 \* x", told)
        assert "the sum of f times df_2 rises by about 0.3" in told
    assert '"text":"df_2 =","remark":"the upstream gradient"' in cf.draw(result, "html").decode()
    infinite = circuit("x = 0", "dr = 1", "r = sqrt(x)", "f = mul(r, dr)")
    assert cf.Executor(infinite).run().non_finite().operands == {"x": 0, "dr_2": 1}
    (tmp_path / "c.json").write_text(cf.dumps(product))
    traced = circuitflow("run", str(tmp_path / "c.json"), "--trace").out
    assert "df_2 = 10  the upstream gradient" in traced
    assert "ddf = 20" in traced
    for engine in (["--cache", "needed"], ["--engine", "staged"]):
        assert "\nddf = 20" in circuitflow("run", str(tmp_path / "c.json"), *engine).out
    twice = circuit("f = 2", "df = 3", "g = mul(f, df)")
    (tmp_path / "c.json").write_text(cf.dumps(twice))
    assert "df_2 = 3\nddf = 2\n" in circuitflow("run", str(tmp_path / "c.json"), "--cache", "needed").out


def test_gradients_inside_calls_and_on_several_outputs_have_names_of_their_own():
    c = circuit("x = 2", {"id": "dh", "gate": "call", "circuit": "C", "inputs": ["x"]},
                {"id": "h", "gate": "call", "circuit": "C", "inputs": ["x"]}, "f = mul(h, dh)",
                circuits={"C": {"nodes": [{"id": "p", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["p"]}],
                                "outputs": ["y"]}})
    told = explanation(cf.Executor(c).run())
    lefts = {stage.of: stage.left for block in told.backward for stage in block.stages}
    assert (lefts["h/y"], lefts["dh/y"]) == ("dh/y_2", "ddh/y")


def test_a_row_is_written_with_its_own_sign_under_any_name():
    gates = {**GATES, "mul": replace(GATES["max"]), "conv": GATES["mul"]}
    result = cf.Executor(cf.loads(document("x = 2", "y = 3", "h = mul(x, y)", "f = conv(h, y)"), gates=gates)).run()
    assert "mul(x, y)" in cf.explain(result)
    assert "h * y" in cf.explain(result)


def test_bounds_stand_beside_what_was_given():
    def parameter(name, value, **keys):
        return {"id": name, "gate": "parameter", "value": value, **keys}

    subject = circuit(parameter("a", 1, min=0), parameter("b", 2, min=-1, max=5, frozen=True),
                      parameter("c", [1, 2], max=[3, 4]), parameter("d", 1, frozen=True, label="the offset"),
                      "f = add(a, b, c, d)", circuitflow="1.1")
    text = cf.explain(cf.Executor(subject).run(upstream={"f": [1, 1]}))
    given = text.partition("Given\n")[2].partition("\n\n")[0]
    assert [line.partition("# ")[2] for line in given.splitlines()] == [
        "parameter ≥ 0", "parameter ≥ -1, ≤ 5 (frozen)", "parameter ≤ [3, 4]", "parameter (frozen): the offset"]
