"""The tree of a text that need not be complete."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitflow.lsp.completion import complete
from circuitflow.lsp.names import Names
from circuitflow.lsp.syntax import MOST_VALUES, cursor, parse
from circuitflow.lsp.text import Text
from support.suite import FILES, ROOT

CANONICAL = [path for path in FILES if path.stat().st_size < 10_000]


def plain(value):
    """What a tree says, as JSON does."""
    if value is None:
        return None
    if value.kind == "object":
        return {member.name: plain(member.value) for member in value.members}
    if value.kind == "list":
        return [plain(item) for item in value.items]
    return value.text if value.kind == "text" else json.loads("[]" if value.kind == "numbers" and not value.source
                                                              else value.source)


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "circuits/classics").glob("*.json"))],
                         ids=lambda path: path.stem)
def test_a_whole_document_is_read_as_json(path):
    text = path.read_text()
    assert plain(parse(text)) == json.loads(text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                    max_leaves=8)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON, max_size=3), st.sampled_from([None, 1]), st.booleans())
def test_any_json_is_read_as_json(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert plain(parse(text)) == json.loads(text)


@pytest.mark.parametrize("path", CANONICAL, ids=lambda path: path.stem)
def test_a_broken_line_leaves_the_nodes_of_all_other_lines_as_they_are(path):
    lines = path.read_text().splitlines(keepends=True)
    draw = random.Random(path.stem)
    at_nodes = [i for i, line in enumerate(lines) if line.lstrip().startswith('{"id"')]
    whole = {json.loads(lines[i].strip().rstrip(","))["id"] for i in at_nodes}
    for i in at_nodes:
        end = draw.randrange(lines[i].index("{") + 1, len(lines[i]) - 1)
        broken = "".join([*lines[:i], lines[i][:end] + "\n", *lines[i + 1:]])
        tree = parse(broken)
        pending, ids = [tree], set()
        while pending:
            body = pending.pop()
            ids |= {node.text_of("id") for node in body.list_of("nodes")}
            circuits = body.get("circuits")
            pending += [member.value for member in circuits.members if member.value] if circuits else []
        assert whole - {json.loads(lines[i].strip().rstrip(","))["id"]} <= ids, broken
        assert [value.text for value in tree.list_of("outputs")] == json.loads("".join(lines))["outputs"]


@given(st.text(alphabet='{}[]:,"\\ \nabc01.é🙂\u2028'), st.integers(0, 60))
def test_no_text_is_too_broken(text, offset):
    tree = parse(text)
    cursor(tree, offset)
    pending = [tree]
    while pending:
        value = pending.pop()
        assert 0 <= value.start <= value.end <= len(text)
        pending += [*value.items, *(member.value for member in value.members if member.value)]


def test_a_deep_text_takes_no_deep_calls():
    for text in ("[" * 20_000, '{"a":' * 20_000, "[\n" * 10_000 + "{}\n" * 10_000, "{" * 10_000 + "]" * 10_000,
                 '{"circuits":{"a":' * 10_000):
        Names(parse(text))


def test_a_text_of_too_many_values_has_no_tree():
    assert parse("[" * (MOST_VALUES + 1)).kind == "object"
    assert parse("[" + "1," * (2 * MOST_VALUES) + "1]").kind == "numbers"


def test_a_deep_place_is_found_by_its_body_alone():
    text = Text("file:///c.json", 1, "[" * 20_000)
    assert complete(text, text.position(20_000)).items == []


def test_references_that_mean_too_much_are_not_followed():
    circuits = ", ".join(f'"c{i}": {{"nodes": [{{"id": "f", "gate": "if", "then": "c{(2 * i + 1) % 100}", '
                         f'"else": "c{(2 * i + 2) % 100}"}}]}}' for i in range(100))
    references = ", ".join(['"f' + ".f" * 500 + '"'] * 10)
    names = Names(parse(f'{{"circuits": {{{circuits}}}, "outputs": [{references}], '
                        '"nodes": [{"id": "f", "gate": "call", "circuit": "c0"}]}'))
    assert names.mentions == []


def test_a_reference_through_circuits_that_apply_one_another_is_read_once():
    nodes = '"nodes": [{"id": "f", "gate": "if", "then": "a", "else": "a"}]'
    names = Names(parse(f'{{"circuits": {{"a": {{{nodes}}}}}, "outputs": ["f{".f" * 200}"], {nodes}}}'))
    assert len(names.mentions) < 1000


@pytest.mark.parametrize(("text", "path", "is_key"), [
    ('{"nodes": [{"id": "x", |}]}', ("nodes", 0), True),
    ('{"nodes": [{"id": "x", "ga|}]}', ("nodes", 0), True),
    ('{"nodes": [{"id": "x", "gate": |}]}', ("nodes", 0, "gate"), False),
    ('{"nodes": [{"id": "x", "gate": "a|"}]}', ("nodes", 0, "gate"), False),
    ('{"nodes": [{"id": "x", "inputs": ["a", "|"]}]}', ("nodes", 0, "inputs", 1), False),
    ('{"nodes": [{"id": "x", "inputs": [|]}]}', ("nodes", 0, "inputs", 0), False),
    ('{"nodes": [{"id": "x", "inputs": ["a", |', ("nodes", 0, "inputs", 1), False),
    ('{"nodes": [{"id": "x", "inputs": {"|', ("nodes", 0, "inputs"), True),
    ('{"nodes": [\n{"id": "x", "gate": "|\n{"id": "y"}], "outputs": []}', ("nodes", 0, "gate"), False),
    ('{|}', (), True),
])
def test_the_place_of_the_cursor(text, path, is_key):
    here = cursor(parse(text.replace("|", "")), text.index("|"))
    assert (here.path, here.is_key) == (path, is_key)
