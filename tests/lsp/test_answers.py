"""Words that are offered, what is shown beside a word, nearer spellings, layout, hints."""

import json
import re

import pytest
from lsprotocol import types

import circuitflow as cf
from circuitflow.lsp.completion import complete
from circuitflow.lsp.editing import corrections, formatted, hints
from circuitflow.lsp.findings import Findings, compute, read
from circuitflow.lsp.hover import code, hover
from circuitflow.lsp.text import Text
from circuitflow.text import nearest, suggestion_in
from support.faulty_circuits import KINDS, faulty, healthy
from support.hostile import HOSTILE
from support.suite import FILES, ROOT

MarkdownIt = pytest.importorskip("markdown_it", reason="rich brings it").MarkdownIt
START = '{"circuitflow": "1.1", "circuits": {"cell": {"nodes": [{"id": "u", "gate": "input"}], "outputs": ["u"]}}, '
NODES = '"nodes": [{"id": "x", "gate": "input"}, {"id": "w", "gate": "topk", "inputs": ["x"]}, '


def words(source, folder=None):
    """What is offered at the place of a bar: the text that it makes, by word."""
    text = Text("file:///c.json", 1, source.replace("|", "", 1), folder=folder)
    answer = complete(text, text.position(source.index("|")))
    return {item.label: text.source[: text.offset(item.text_edit.range.start)] + item.text_edit.new_text
            + text.source[text.offset(item.text_edit.range.end):] for item in answer.items}


@pytest.mark.parametrize(("source", "some", "none"), [
    ("{|}", {"circuitflow", "nodes", "outputs", "fit"}, {"id"}),
    (START + "|", {"nodes", "outputs"}, {"circuitflow", "circuits"}),
    (START + NODES + '{"|', {"id", "gate", "inputs"}, {"axis"}),
    (START + NODES + '{"id": "f", "gate": "|"}]}', {"add", "conv", "input", "scan"}, {"id"}),
    (START + NODES + '{"id": "f", "gate": "softmax", |}]}', {"axis", "inputs"}, {"id", "gate", "value"}),
    (START + NODES + '{"id": "f", "gate": "max", "ties": "|', {"first", "share"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "reduce_sum", "keepdims": |}]}', {"true", "false"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "add", "inputs": ["x", "|"]}]}', {"x"}, {"u", "f"}),
    (START + NODES + '{"id": "f", "gate": "pow", "inputs": {"|', {"x", "y"}, {"w"}),
    (START + NODES + '{"id": "f", "gate": "call", "circuit": |', {"cell"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "call", "circuit": "cell", "inputs": {|', {"u"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "if", "then": "cell", "else": "cell", "inputs": {|', {"u", "condition"},
     {"x"}),
    (START + NODES + '{"id": "f", "gate": "scan", "circuit": "cell", "over": ["|', {"u"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "scan", "circuit": "cell", "carry": {"|', {"u"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "scan", "circuit": "cell", "carry": {"u": "|', {"u"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "parameter", "value": {|', {"data", "file", "random"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "parameter", "value": {"random": "|', {"normal", "he_uniform"}, {"x"}),
    (START + NODES + '{"id": "f", "gate": "parameter", "value": {"random": "normal", |', {"std", "seed"}, {"low"}),
    (START + NODES + '{"id": "f", "gate": "input", "dtype": "|', {"float64", "int8"}, {"x"}),
    (START + NODES + '], "outputs": ["|"', {"x"}, {"u"}),
    (START + NODES + '], "edges": [{"source": "|"', {"x"}, {"u"}),
    (START + NODES + '], "edges": [{"target": "|"', {"x", "w"}, {"u"}),
    (START + NODES + '{"id": "p", "gate": "pow"}], "edges": [{"target": "p", "port": "|"', {"x", "y"}, {"w"}),
    (START + NODES + '], "outputs": ["x"], "upstream": {"|', {"x"}, {"w"}),
    (START + NODES + '], "fit": {"|', {"data", "loss", "method"}, {"id"}),
    (START + NODES + '], "fit": {"loss": "|', {"x"}, {"u"}),
    (START + NODES + '], "fit": {"method": {"name": "|', {"auto"}, {"x"}),
    (START + NODES + '], "fit": {"reduction": "|', {"mean", "sum"}, {"x"}),
    (START + NODES + '], "layout": {"|', {"x", "w"}, {"u"}),
    ('{"circuitflow": "|"}', {"1.0", "1.1"}, {"x"}),
    ('{"nodes": [], "nodes": [{"gate": "softmax", |}]}', {"axis", "inputs"}, {"nodes"}),
    ('{"nodes": 1, "nodes": [{"gate": "pow", "inputs": {"|"}}]}', {"x", "y"}, {"axis"}),
    ('{"nodes": [], "nodes": [{"gate": "parameter", "value": {"random": "normal", |}}]}', {"std"}, {"low"}),
    ("|", set(), {"nodes"}),
])
def test_the_words_of_a_place(source, some, none):
    offered = words(source)
    assert some <= offered.keys()
    assert not none & offered.keys()


def test_a_word_takes_the_place_of_what_is_typed():
    assert words('{"nodes": [{"id": "x", "ga|}]}')["gate"] == '{"nodes": [{"id": "x", "gate": '
    assert words('{"nodes": [{"id": "x", "ga|": 1}]}')["gate"] == '{"nodes": [{"id": "x", "gate": 1}]}'
    assert words('{"circuitflow": "|"}')["1.1"] == '{"circuitflow": "1.1"}'
    assert words('{"circuitflow": |}')["1.1"] == '{"circuitflow": "1.1"}'
    assert words(START + NODES + '{"id": "f", "gate": "reduce_sum", "keepdims": t|}]}')["true"].endswith(": true}]}")


def test_the_files_of_the_folder_are_offered(tmp_path):
    for name in ("a.safetensors", "b.json", "c\u202e.json", "d.csv"):
        (tmp_path / name).touch()
    assert set(words('{"circuits": {"a": {"file": "|', tmp_path)) == {"b.json"}
    assert set(words('{"nodes": [{"id": "x", "value": {"file": "|', tmp_path)) == {"a.safetensors"}
    assert "d.csv" in words('{"fit": {"data": {"file": "|', tmp_path)
    assert words('{"circuits": {"a": {"file": "|', tmp_path / "gone") == {}


def found(source, folder=None):
    """All that is known of a text."""
    path = str(folder / "c.json") if folder else None
    (*_, findings), (first,) = filter(None, compute(path, source)), read(path, source)
    assert first.faults == findings.faults
    assert set(first.warnings) <= set(findings.warnings)
    return findings


def shown(source, word, findings=None, uri="file:///c.json"):
    """What is shown beside a word."""
    text = Text(uri, 1, source)
    answer = hover(text, findings or Findings(), text.position(source.index(word) + 1))
    return answer.contents.value if answer else None


def test_what_is_shown_beside_a_word():
    source = (ROOT / "circuits/staged.json").read_text()
    findings = found(source)
    result = cf.Executor(cf.loads(source)).run()
    assert shown(source, '"sigy"', findings).split("\n\n")[:4] == [
        "`sigy`: `sigmoid` `1 / (1 + e^-x)`", "`float64 ()`", f"value `{result.values['sigy']:.6g}`",
        f"gradient `{result.gradients['sigy']:.6g}`"]
    assert "Operands" not in shown(source, '"sigmoid"')
    assert "**sigmoid**" in shown(source, '"sigmoid"')
    assert shown(source, '"gate"').startswith("**gate**")
    assert shown(source, '"description"').startswith("**description**")
    assert shown(source, "{") is None
    assert shown('{"nodes": [], "nodes": [{"id": "x"}]}', '"id"').startswith("**id**")
    empty = source.replace('"value": 3', '"shape": []')
    assert "no value: `input 'x' has no value`" in shown(empty, '"sigy"', found(empty))


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_no_word_of_a_document_means_anything_where_it_is_shown(words):
    source = json.dumps({"circuitflow": "1.0", "nodes": [
        {"id": "x", "gate": "input", "value": 1, "label": words, "description": words}], "outputs": ["x"]},
        ensure_ascii=False)
    wrong = json.dumps({"nodes": [{"id": words, "gate": words}]}, ensure_ascii=False)
    for markdown in (shown(source, '"x"', found(source)), shown(wrong, '"id'), code(words)):
        html = MarkdownIt("commonmark", {"html": True}).render(markdown)
        assert set(re.findall("<[^>]*>?", html)) <= {f"<{end}{tag}>" for end in ("", "/")
                                                     for tag in ("p", "code", "strong")}


BROKEN = sorted((ROOT / "circuits/broken").glob("*.json"))


@pytest.mark.parametrize("path", [path for path in BROKEN if "; did you mean" in path.with_suffix(".txt").read_text()],
                         ids=lambda path: path.stem)
def test_a_nearer_spelling_is_an_edit_that_mends(path):
    text = Text("file:///c.json", 1, path.read_text())
    faults = [fault for fault in found(text.source, path.parent).faults if fault.file == "<document>"]
    offered = 0
    for fault in faults:
        place = text.position(text.place(fault.line, fault.column))
        diagnostic = types.Diagnostic(types.Range(place, place), fault.message)
        for action in corrections(text, [diagnostic]):
            (edit,) = action.edit.changes[text.uri]
            source = text.source[: text.offset(edit.range.start)] + edit.new_text + text.source[text.offset(
                edit.range.end):]
            try:
                left = [other.message for other in cf.loads(source, folder=path.parent) and ()]
            except cf.DocumentError as error:
                left = [other.message for other in error.faults]
            assert fault.message not in left
            offered += 1
    assert offered == sum(suggestion_in(fault.message) is not None and "'no?des'" not in fault.message
                          for fault in faults)


def test_a_word_with_escapes_is_corrected_whole():
    text = Text("file:///c.json", 1, '{"nodes": [{"id": "x", "gate": "sigmoi\\u0064d"}]}')
    at = text.position(text.source.index('"sigmoi'))
    (action,) = corrections(text, [types.Diagnostic(types.Range(at, at), "no 'sigmoidd'; did you mean 'sigmoid'?")])
    (edit,) = action.edit.changes[text.uri]
    assert text.source[text.offset(edit.range.start):text.offset(edit.range.end)] == "sigmoi\\u0064d"


def test_of_many_words_only_some_are_offered():
    ids = ", ".join(f'{{"id": "node{i}", "gate": "input"}}' for i in range(2000))
    source = f'{{"nodes": [{ids}], "outputs": ["de199|"]}}'
    text = Text("file:///c.json", 1, source.replace("|", ""))
    answer = complete(text, text.position(source.index("|")))
    assert answer.is_incomplete
    assert [item.label for item in answer.items] == ["node199", *(f"node199{i}" for i in range(10))]


def test_words_that_nobody_sees_are_not_offered():
    circuits = json.dumps({"a\u202e": {"nodes": []}, "b" * 1000: {"nodes": []}, "good": {"nodes": []}})
    assert set(words(f'{{"circuits": {circuits}, "nodes": [{{"gate": "call", "circuit": "|"}}]}}')) == {"good"}
    assert words('{"nodes": [{"id": "s", "gate": "split", "sections": 1000000000}], "outputs": ["|"]}').keys() == {"s"}


def test_more_faults_than_are_listed_make_no_layout():
    source = json.dumps({"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "call", **{f"k{i}": 1 for i in range(
        2000)}}], "outputs": ["x"]})
    assert formatted(Text("file:///c.json", 1, source)) == []


def test_a_suggestion_is_read_as_it_is_written():
    assert suggestion_in("there is no node 'wieght'" + nearest("wieght", ["weight"])) == "weight"
    assert suggestion_in("there is no node 'q'" + nearest("q", ["weight"])) is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_layout_is_that_of_fmt(path):
    source = json.dumps(json.loads(path.read_text()), indent=1)
    text = Text("file:///c.json", 1, source)
    (edit,) = formatted(text)
    assert edit.new_text == path.read_text()
    assert formatted(Text("file:///c.json", 1, path.read_text())) == []
    assert formatted(Text("file:///c.json", 1, source[:-2])) == []


def test_hints_stand_at_the_ends_of_lines():
    source = (ROOT / "circuits/product.json").read_text()
    text = Text("file:///c.json", 1, source)
    lines = source.splitlines()
    answer = {lines[hint.position.line].strip().partition(",")[0]: hint for hint in hints(
        text, found(source), text.whole)}
    assert {line: hint.label for line, hint in answer.items()} == {
        '{"id": "x"': "= -2  ∇ -4", '{"id": "y"': "= 5  ∇ -4", '{"id": "z"': "= -4  ∇ 3", '{"id": "q"': "= 3  ∇ -4",
        '{"id": "f"': "= -12  ∇ 1"}
    assert all(hint.position.character == len(lines[hint.position.line]) for hint in answer.values())
    first = types.Range(types.Position(0, 0), types.Position(2, 0))
    assert hints(text, found(source), first) == []


def test_a_node_of_several_calls_has_several_values():
    source = json.dumps({"circuitflow": "1.0", "circuits": {"s": {
        "nodes": [{"id": "a", "gate": "input"}, {"id": "b", "gate": "square", "inputs": ["a"]}], "outputs": ["b"]}},
        "nodes": [{"id": "x", "gate": "input", "value": 3},
                  *({"id": f"f{i}", "gate": "call", "circuit": "s", "inputs": [f"f{i - 1}" if i else "x"]}
                    for i in range(4))], "outputs": ["f3"]})
    facts = found(source).facts
    assert facts["circuits", "s", "nodes", 1].hint == (
        "= 9, 81, 6561, … 1 more  ∇ 3.82638e+07, 2.12576e+06, 13122, … 1 more")
    assert facts["nodes", 1].values == ("9",)


def test_a_hint_is_one_short_line():
    source = (ROOT / "circuits/mlp.json").read_text()
    texts = [facts.hint for facts in found(source).facts.values()]
    assert max(map(len, texts)) <= 70
    assert any(re.fullmatch(r"= \(2, 10\) \S+ to \S+  ∇ \S+ to \S+", text) for text in texts)


@pytest.mark.parametrize(("change", "warning"), [
    ({"nodes": [{"id": "y", "gate": "exp", "inputs": ["x"]}]}, "node 'y' reaches no output"),
    ({"nodes": [{"id": "y", "gate": "log", "inputs": ["x"]}], "outputs": ["y"]}, "log gives -inf"),
    ({"nodes": [{"id": "p", "gate": "parameter", "value": 3, "max": 2}], "outputs": ["x", "p"]}, "between 'min'"),
])
def test_warnings(change, warning):
    document = {"circuitflow": "1.1", "nodes": [{"id": "x", "gate": "input", "value": 0}], "outputs": ["x"]}
    document = {**document, **change, "nodes": document["nodes"] + change["nodes"]}
    findings = found(json.dumps(document))
    assert findings.faults == ()
    assert [warning in fault.message for fault in findings.warnings] == [True]
    assert findings.warnings[0].line == 1


@pytest.mark.parametrize(("document", "reason"), [
    ({"nodes": [{"id": "x", "gate": "input", "shape": [3]}], "outputs": ["x"]}, "input 'x' has no value"),
    ({"nodes": [{"id": "x", "gate": "parameter", "value": {"random": "normal", "shape": [1, 1], "seed": 1}},
                {"id": "y", "gate": "expand", "shape": [10_000, 10_000], "inputs": ["x"]}], "outputs": ["y"]}, "MiB"),
])
def test_why_there_are_no_values(document, reason):
    findings = found(json.dumps({"circuitflow": "1.0", **document}))
    assert reason in findings.reason
    assert all(facts.hint == "" for facts in findings.facts.values())


# Why a gradient is wrong ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("frozen", "detached")])
def test_a_planted_fault_is_shown_where_it_is_and_where_its_gradient_is(kind):
    planted = faulty(kind, 3)
    source = cf.dumps(planted.circuit)
    findings = found(source)
    at = next(i for i, line in enumerate(source.splitlines(), 1) if f'"id": "{planted.culprit}"' in line)
    diagnosis = cf.Executor(planted.circuit).run().why("x")
    ((line, message),) = {(fault.line, fault.message) for fault in (*findings.warnings, *findings.hints)
                          if "'x'" in fault.message or diagnosis.verdict == "not finite"}
    assert line == at
    assert findings.warnings or re.search(f"the gradient on 'x'(, '.*)? is {diagnosis.verdict}", message)
    beside = shown(source, '"x"', findings)
    for line in str(diagnosis).splitlines():
        assert f"`{line.strip()}`" in beside
    assert f"([line {at}](file:///c.json#L{at}))" in beside
    text = Text("file:///c.json", 1, source)
    assert str(diagnosis) in "\n".join(hint.tooltip for hint in hints(text, findings, text.whole))


def test_what_a_warning_tells_is_told_once():
    unused = found(cf.dumps(faulty("detached", 3).circuit))
    assert (unused.hints, unused.whys) == ((), {})
    assert any("reaches no output" in fault.message for fault in unused.warnings)
    infinite = found(cf.dumps(faulty("division by zero", 3).circuit))
    assert infinite.hints == ()
    assert infinite.whys
    assert len(infinite.warnings) == 1


def test_nothing_is_said_of_healthy_gradients():
    for source in (*(path.read_text() for path in FILES if path.stem != "patterns"),
                   *(cf.dumps(healthy(seed)) for seed in range(20))):
        *_, findings = compute(str(ROOT / "circuits/c.json"), source)
        assert (findings.hints, findings.whys) == ((), {})
    assert [fault.node for fault in found((ROOT / "circuits/patterns.json").read_text()).hints] == ["larger"]


def test_the_culprit_in_a_subcircuit_is_linked_for_every_call(tmp_path):
    part = {"circuitflow": "1.0", "nodes": [{"id": "u", "gate": "input"}, {"id": "w", "gate": "parameter", "value": -9},
                                            {"id": "r", "gate": "relu", "inputs": ["w"]},
                                            {"id": "m", "gate": "mul", "inputs": ["u", "r"]}], "outputs": ["m"]}
    inline = {key: part[key] for key in ("nodes", "outputs")}
    nodes = [{"id": "x", "gate": "input", "value": 3},
             *({"id": f"f{i}", "gate": "call", "circuit": "part", "inputs": ["x"]} for i in range(2)),
             {"id": "f", "gate": "add", "inputs": ["f0", "f1"]}]
    document = {"circuitflow": "1.0", "circuits": {"part": inline}, "nodes": nodes, "outputs": ["f"]}
    findings = found(json.dumps(document, indent=1))
    assert [why.diagnosis.wrt for why in findings.whys["circuits", "part", "nodes", 1]] == ["f0/w", "f1/w"]
    assert all(why.places == (("circuits", "part", "nodes", 2),)
               for why in findings.whys["circuits", "part", "nodes", 1])
    (tmp_path / "part.json").write_text(json.dumps(part))
    source = json.dumps({**document, "circuits": {"part": {"file": "part.json"}}}, indent=1)
    findings = found(source, tmp_path)
    assert findings.whys["nodes", 1][0].places == (("nodes", 1),)
    assert [fault.message.partition(":")[0] for fault in findings.hints] == ["node 'f0/m'", "node 'f1/m'"]


def test_of_many_culprits_few_are_listed():
    nodes = [{"id": "x", "gate": "parameter", "value": 0.5}]
    for i in range(40):
        nodes.append({"id": f"g{i}", "gate": "mul", "inputs": [nodes[-1]["id"], "k"]})
    nodes.insert(1, {"id": "k", "gate": "constant", "value": 0.2})
    source = json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": [nodes[-1]["id"]]}, indent=1)
    findings = found(source)
    (why,) = findings.whys["nodes", 0]
    assert len(why.diagnosis.blamed) > 12
    assert len(findings.hints) == 4
    assert shown(source, '"x"', findings).count("[line") == 12
    assert f"… {len(why.diagnosis.blamed) - 12} more gates are to blame" in shown(source, '"x"', findings)


@pytest.mark.parametrize("name", ["a](http://evil) b.json", "<script>.json", "c.json)[x](javascript:alert(1))", "a\nb"])
def test_a_link_leads_into_the_document_alone(name):
    source = cf.dumps(cf.new("f = sigmoid(x) * 2", {"x": 800}))
    reader = MarkdownIt("commonmark", {"html": True})
    reader.validateLink = lambda link: True
    html = reader.render(shown(source, '"x"', found(source), f"file:///{name}"))
    (link,) = re.findall("<a [^>]*>", html)
    assert re.fullmatch('<a href="file:///[^"]*#L5">', link)
    assert "<script" not in html
    assert "](" not in shown(source, '"x"', found(source), f"untitled:{name}")
