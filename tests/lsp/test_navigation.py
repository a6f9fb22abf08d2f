"""Definitions, references, new names, outline."""

import json
import os

import pytest
from lsprotocol.types import Position

import circuitflow as cf
from circuitflow.lsp.completion import complete
from circuitflow.lsp.findings import Findings
from circuitflow.lsp.hover import hover
from circuitflow.lsp.navigation import RenameError, definition, folds, references, rename, renamed_word, symbols
from circuitflow.lsp.text import LARGEST_FILE, MOST_FILES, Text
from support.suite import FILES, ROOT

CLASSICS = sorted((ROOT / "circuits/classics").glob("*.json"))


def applied(text, edits):
    """A text after edits that do not overlap."""
    source = text.source
    for edit in sorted(edits, key=lambda edit: text.offset(edit.range.start), reverse=True):
        source = source[:text.offset(edit.range.start)] + edit.new_text + source[text.offset(edit.range.end):]
    return source


def run(source, folder):
    """The outputs and the gradients of all arguments, in the order of the document."""
    circuit = cf.loads(source, folder=folder)
    result = cf.Executor(circuit).run()
    return [[value.tolist() for value in values.values()] for values in (
        result.outputs, {name: result.gradients[name] for name, node in circuit.nodes.items()
                         if node.is_argument and name in result.gradients})]


@pytest.mark.parametrize("path", FILES + CLASSICS, ids=lambda path: path.stem)
def test_a_new_name_changes_no_number(path):
    text = Text("file:///c.json", 1, path.read_text(), folder=path.parent)
    before = run(text.source, path.parent)
    names = text.names
    tried = set()
    for mention in names.mentions:
        bound = names.bound_to({mention.symbol})
        if not mention.is_definition or bound & tried or len(tried) > 12:
            continue
        tried |= bound
        new = f"{mention.symbol.name}_renamed"
        source = applied(text, rename(text, text.position(mention.start), new))
        assert run(source, path.parent) == before, new
        again = Text("file:///c.json", 2, source, folder=path.parent)
        assert len(again.names.mentions) == len(names.mentions)
        back = next(m for m in again.names.mentions if m.symbol.name == new)
        assert applied(again, rename(again, again.position(back.start), mention.symbol.name)) == text.source
    assert tried


IF = """{"circuitflow": "1.0", "circuits": {
  "a": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["x"]}], "outputs": ["y"]},
  "b": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "neg", "inputs": ["x"]}], "outputs": ["y"]}},
 "nodes": [{"id": "t", "gate": "constant", "value": true}, {"id": "u", "gate": "input", "value": 1},
  {"id": "f", "gate": "if", "then": "a", "else": "b", "inputs": {"condition": "t", "x": "u"}},
  {"id": "g", "gate": "call", "circuit": "a"}, {"id": "h", "gate": "mul", "inputs": ["f.y", "g.y"]}],
 "edges": [{"source": "u", "target": "g", "port": "x"}], "outputs": ["h"], "upstream": {"h": 2},
 "layout": {"u": [0, 1]}}
"""


@pytest.mark.parametrize(("word", "count"), [('"x", "gate": "input"}, {"id": "y", "gate": "exp"', 6),
                                             ('"a": {', 3), ('"u", "gate"', 4), ('"h", "gate"', 3)])
def test_what_one_word_means_in_two_circuits_is_renamed_in_both(word, count):
    text = Text("file:///c.json", 1, IF)
    before = run(IF, None)
    at = text.position(IF.index(word) + 1)
    edits = rename(text, at, "new")
    assert len(edits) == count
    assert run(applied(text, edits), None) == before


def test_a_name_written_with_escapes_is_renamed_too():
    source = IF.replace('"x": "u"', '"\\u0078": "\\u0075"')
    text = Text("file:///c.json", 1, source)
    for word in ('"u", "gate"', '"x", "gate": "input"}, {"id": "y", "gate": "exp"'):
        edits = rename(text, text.position(source.index(word) + 1), "new")
        assert run(applied(text, edits), None) == run(IF, None)


def test_one_word_may_bind_a_chain_of_circuits():
    circuits = ", ".join(f'"c{i}": {{"nodes": [{{"id": "x", "gate": "input"}}]}}' for i in range(2000))
    nodes = ", ".join(f'{{"gate": "if", "then": "c{i}", "else": "c{i + 1}", "inputs": {{"x": "y"}}}}'
                      for i in range(1999))
    source = f'{{"circuits": {{{circuits}}}, "nodes": [{nodes}]}}'
    text = Text("file:///c.json", 1, source)
    assert len(rename(text, text.position(source.index('"x"') + 1), "new")) == 2000 + 1999


def test_references_are_those_of_the_word_alone():
    text = Text("file:///c.json", 1, IF)
    at = text.position(IF.index('"x", "gate": "input"}, {"id": "y", "gate": "exp"') + 1)
    assert len(references(text, at, with_definition=True)) == 4
    assert len(references(text, at, with_definition=False)) == 3


@pytest.mark.parametrize(("word", "new", "message"), [
    ('"u", "gate"', "f", "there is a node 'f' already"),
    ('"u", "gate"', "2u", "'2u' is no id"),
    ('"u", "gate"', "u" * 129, "128 at most"),
    ('"u", "gate"', "", "'' is no id"),
    ('"a": {', "b", "there is a circuit 'b' already"),
    ('"gate"', "b", "there is no id here"),
    ('"x", "gate": "input"}, {"id": "y", "gate": "exp"', "y", "there is a node 'y' already"),
])
def test_a_name_that_cannot_be(word, new, message):
    text = Text("file:///c.json", 1, IF)
    with pytest.raises(RenameError, match=message):
        rename(text, text.position(IF.index(word) + 1), new)


def test_a_definition_in_the_text_and_in_a_file(tmp_path):
    (tmp_path / "part.json").write_text((ROOT / "circuits/square.json").read_text())
    source = ('{"circuitflow": "1.0", "circuits": {"part": {"file": "part.json"}}, "outputs": ["f"], "nodes": ['
              '{"id": "x", "gate": "input"}, {"id": "f", "gate": "call", "circuit": "part", "inputs": ["x"]}]}')

    def goal(word, folder=tmp_path):
        text = Text("file:///c.json", 1, source, folder=folder)
        return [(place.uri, place.range.start.character) for place in definition(
            text, text.position(source.index(word) + 1))]

    assert goal('"x"]}') == [("file:///c.json", source.index('"x"') + 1)]
    part = ((tmp_path / "part.json").as_uri(), 0)
    assert goal('"part", "inputs"') == [part]
    assert goal('"part.json"') == [part]
    assert goal('"part.json"', None) == []
    (tmp_path / "part.json").unlink()
    (tmp_path / "part.json").symlink_to("/etc/passwd")
    assert goal('"part.json"') == []
    assert goal('"gate"') == []


PART = """{"circuitflow": "1.0", "nodes": [{"id": "é", "gate": "input"}, {"id": "u", "gate": "input", "value": 1},
  {"id": "y", "gate": "mul", "inputs": ["é", "u"]}], "outputs": ["y"]}"""
WHOLE = """{"circuitflow": "1.0", "circuits": {"part": {"file": "part.json"}, "own": {"nodes": [
  {"id": "é", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["é"]}], "outputs": ["y"]}}, "nodes": [
  {"id": "x", "gate": "input", "value": 1}, {"id": "yes", "gate": "constant", "value": true},
  {"id": "c", "gate": "call", "circuit": "part", "inputs": {"é": "x", "u": "x"}},
  {"id": "i", "gate": "if", "then": "part", "else": "own", "inputs": {"condition": "yes", "é": "x"}}],
  "outputs": ["c.y"]}"""


def test_ports_of_a_circuit_in_a_file(tmp_path):
    (tmp_path / "part.json").write_text(PART)
    text = Text("file:///c.json", 1, WHOLE, folder=tmp_path)
    part = Text((tmp_path / "part.json").as_uri(), 1, PART)

    def at(word, more=1):
        return text.position(WHOLE.index(word) + more)

    def goals(word, more=1):
        return sorted((place.uri, place.range) for place in definition(text, at(word, more)))

    def in_part(word):
        start = PART.index(word) + 1
        return part.uri, part.range(start, start + 1)

    own = WHOLE.index('"é"') + 1
    assert goals('"u": "x"') == [in_part('"u"')]
    assert goals('c.y"', 2) == [in_part('"y"')]
    assert goals('c.y"', 0) == [("file:///c.json", text.range(WHOLE.index('"c"') + 1, WHOLE.index('"c"') + 2))]
    assert goals('"é": "x"}}]') == [("file:///c.json", text.range(own, own + 1)), in_part('"é"')]
    assert len(references(text, at('"u": "x"'), with_definition=True)) == 1
    assert "in the file `part.json`" in hover(text, Findings(), at('"u": "x"')).contents.value
    for word in ('"u": "x"', '"é": "x"}}]', '"é"'):  # the file would have to change too
        with pytest.raises(RenameError, match="'[éu]' stands in part.json, which others may use"):
            rename(text, at(word), "new")
    assert rename(text, at('"x", "gate"'), "new")
    offered = [item.label for item in complete(text, at('"u": "x"')).items]
    assert offered == ["u"]
    (tmp_path / "part.json").write_text(PART.replace('"id": "u"', '"id": "uu"'))
    text = Text("file:///c.json", 2, WHOLE, folder=tmp_path)
    assert goals('"u": "x"') == []


def test_files_that_are_not_looked_into(tmp_path):
    names = [f"part{i}.json" for i in range(MOST_FILES + 1)]
    for name in names:
        (tmp_path / name).write_text(PART)
    (tmp_path / "large.json").write_text(PART + " " * LARGEST_FILE)
    (tmp_path / "bytes.json").write_bytes(b'{"nodes": [{"id": "\xff"}]}')
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.json")
    text = Text("file:///c.json", 1, "{}", folder=tmp_path)
    for name in ("large.json", "bytes.json", "link.json", "pipe.json", "no.json", "../part0.json", "/etc/hosts", "\0"):
        assert text.file(name) is None
    text = Text("file:///c.json", 1, "{}", folder=tmp_path)
    assert [text.file(name) is not None for name in names] == [True] * MOST_FILES + [False]
    assert text.file(names[0]) is Text("file:///c.json", 2, "{}", folder=tmp_path).file(names[0])
    assert Text("file:///c.json", 1, "{}").file(names[0]) is None


def test_the_outline():
    text = Text("file:///c.json", 1, IF)
    outline = symbols(text)
    assert [(entry.name, entry.detail, [child.name for child in entry.children or []]) for entry in outline] == [
        ("a", "circuit", ["x", "y"]), ("b", "circuit", ["x", "y"]), ("t", "constant", []), ("u", "input", []),
        ("f", "if", []), ("g", "call", []), ("h", "mul", [])]
    for entry in outline:
        inner, outer = entry.selection_range, entry.range
        assert text.offset(outer.start) <= text.offset(inner.start) < text.offset(inner.end) <= text.offset(outer.end)
    assert [(fold.start_line, fold.end_line) for fold in folds(text)] == [(0, 6), (0, 1), (3, 4)]


def test_what_cannot_be_renamed_is_said_before():
    text = Text("file:///c.json", 1, IF)
    assert renamed_word(text, text.position(IF.index('"gate"') + 1)) is None
    word = renamed_word(text, text.position(IF.index('"u"') + 1))
    assert (text.offset(word.start), text.offset(word.end)) == (IF.index('"u"') + 1, IF.index('"u"') + 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_places_are_those_of_the_editor(encoding, ends):
    lines = ['{"description": "🙂 é \u2028 x", ', '"nodes": [{"id": "é🙂", "gate": "x"}]', "}"]
    text = Text("file:///c.json", 1, ends.join(lines), encoding)
    for offset in range(len(text.source) + 1):
        place = text.position(offset)
        if text.source[offset - 1 : offset + 1] == "\r\n":
            continue  # between the two, where no cursor stands
        assert text.offset(place) == offset
    width = {"utf-8": (1, 2, 4), "utf-16": (1, 1, 2), "utf-32": (1, 1, 1)}[encoding]
    assert text.position(len(lines[0]) + len(ends) + lines[1].index('", "gate')).character == (
        len('"nodes": [{"id": "') + width[1] + width[2])
    assert text.offset(Position(0, 10_000)) == len(lines[0])
    assert text.offset(Position(10_000, 0)) == len(text.source)


def test_a_document_that_names_nothing_has_no_names():
    for source in ("", "[]", "1", '"x"', '{"nodes": 1, "circuits": [], "edges": {}}',
                   json.dumps({"nodes": [1, [], {}]})):
        text = Text("file:///c.json", 1, source)
        assert text.names.mentions == []
        assert symbols(text) == []
