"""Faults: what they say, where they point, and that every one of them is found."""

from __future__ import annotations

import json
import os

import pytest

import circuitflow as cf
from circuitflow.document.positions import Place, locate, positions, tokens
from circuitflow.errors import Fault
from circuitflow.text import listing, nearest, printable, short
from support.documents import document, faults
from support.suite import ROOT

BROKEN = sorted((ROOT / "circuits" / "broken").glob("*.json"))


def test_there_are_enough_broken_documents():
    assert len(BROKEN) >= 120


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_broken_document_gives_exactly_its_errors(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(cf.DocumentError) as error:
        cf.load(file.relative_to(ROOT).as_posix())
    assert f"{error.value}\n" == file.with_suffix(".txt").read_text(encoding="utf-8")
    assert all(line.isprintable() for line in str(error.value).splitlines())
    for fault in error.value.faults:
        assert fault.file.startswith("circuits/broken/")
        if fault.line is not None:
            assert 1 <= fault.column <= len(fault.source) + 2
        if fault.line is not None and "UTF" not in fault.message:  # else the file has no lines of text
            line = (ROOT / fault.file).read_text(encoding="utf-8").split("\n")[fault.line - 1]
            assert fault.source == line.rstrip("\r")


def test_a_fault_is_data_for_tools():
    with pytest.raises(cf.DocumentError) as error:
        cf.loads('{"circuitflow": "1.0",\n "nodes": [{"id": "x", "gate": "input", "vlaue": 2}],\n "outputs": ["x"]}')
    (fault,) = error.value.faults
    assert fault == Fault("node 'x': unknown key 'vlaue'; did you mean 'value'?", "/nodes/0/vlaue", "x", "<document>",
                          2, 41,
                          ' "nodes": [{"id": "x", "gate": "input", "vlaue": 2}],')
    assert isinstance(error.value, ValueError)


def test_pointers_escape_slash_and_tilde():
    assert Place(("a/b", "c~d", 3)).pointer == "/a~1b/c~0d/3"
    assert Place(()).pointer == ""


def test_places_are_found_along_their_paths():
    text = '{"a": [1, {"b\\u0063": "x]"}],\n\t"d" : {} , "e":[[],[2]]}'
    found = locate(text, [Place(("a", 1, "bc")), Place(("a", 1, "bc"), key=True), Place(("d",)), Place(("e", 1, 0)),
                          Place(("e", 7)), Place(("a", 0, "scalar")), Place(("nowhere",)), Place(())])
    assert [text[offset:][:3] for offset in found.values()] == ['"x]', '"b\\', "{} ", "2]]", "[[]", "1, ", '{"a', '{"a']
    assert list(positions(text, [text.index('"d"')])) == [(2, 2, '\t"d" : {} , "e":[[],[2]]}')]
    assert list(positions("a\r\nb", [0])) == [(1, 1, "a")]


def test_tokens_carry_their_paths():
    assert [(t.text, t.path, t.is_repeat) for t in tokens('{"a": [1, {"b": NaN, "b": "c"}], "a": true} ')] == [
        ('"a"', ("a",), False), ("1", ("a", 0), False), ('"b"', ("a", 1, "b"), False), ("NaN", ("a", 1, "b"), False),
        ('"b"', ("a", 1, "b"), True), ('"c"', ("a", 1, "b"), False), ('"a"', ("a",), True), ("true", ("a",), False)]
    assert [t.text for t in tokens("3")] == ["3"]


def test_a_long_line_is_shown_around_the_fault():
    fault = Fault("m", "/x", None, "f", 1, 501, "a" * 500 + "b" + "c" * 500)
    _, line, caret = str(fault).splitlines()
    assert len(line) == 104
    assert line[caret.index("^")] == "b"
    fault = Fault("m", "/x", None, "f", 1, 3, "\t日\x1b[31m")
    assert str(fault).splitlines()[1:] == ["     ��[31m", "      ^"]


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[2Jb", "a\\x1b[2Jb"), ("x" * 300, "x" * 200 + "…"), ("σ", "σ"),
                                            ("\u202e\u200b\n", "\\u202e\\u200b\\n"), ("\ud800", "\\ud800")])
def test_text_from_a_file_is_made_safe(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(("value", "words"), [
    (None, "null"), (True, "true"), (False, "false"), ("a\x1b", '"a\\x1b"'), ([], "an empty list"),
    ([1, 2], "a list of 2"),
    ({}, "an empty object"), ({"a": 1}, "an object with 'a'"), (10**30, "an integer of more than 20 digits"),
    (1.5, "1.5"),
    ((1,), "a list of 1")])
def test_values_in_a_few_words(value, words):
    assert short(value) == words


def test_long_lists_are_shown_in_part():
    assert listing("abc") == "'a', 'b', 'c'"
    assert listing("abcdefghijkl") == ", ".join(f"'{word}'" for word in "abcdefghijkl")
    assert listing("abcdefghijklm") == ", ".join(f"'{word}'" for word in "abcdefghijkl") + ", …"
    assert listing(iter("abc"), 2) == "'a', 'b', …"


def test_the_nearest_spelling():
    assert nearest("sigmod", ["sigmoid", "sign"]) == "; did you mean 'sigmoid'?"
    assert nearest("ReduceSum", ["reduce_sum", "add"]) == "; did you mean 'reduce_sum'?"
    assert nearest("tahn", ["tan", "tanh"]) == "; did you mean 'tanh'?"
    assert nearest("xyz", ["add"]) == ""
    for known in (["add", "and", "pad"], ["pad", "and", "add"]):
        assert nearest("ad", known) == "; did you mean 'add'?"


def syntax(text: str) -> str:
    (message,) = faults(text)
    return message


@pytest.mark.parametrize(("text", "message"), [
    ("  \n", "the document is empty; expected a JSON object"),
    ('{"a": 1,}', "a comma too many before '}'; remove it"),
    ("[1,\n]", "a comma too many before ']'; remove it"),
    ('{"a" 1}', "a colon is missing before '1'"),
    ('{"a": 1 "b": 2}', "a comma is missing before '\"'"),
    ("{a: 1}", "a key in double quotes is expected in place of 'a'"),
    ('{"a": }', "a value is expected in place of '}'"),
    ('{"a": "b\n"}', "a control character inside text; write it as an escape such as \\n"),
    ('{"a": "\\x"}', "not an escape that JSON has; write \\\\ for a backslash"),
    ('{"a": "\\u12"}', "not an escape that JSON has; write \\\\ for a backslash"),
    ('{"a": "b', "text without its closing quote"),
    ('{"a": [', "the text ends in the middle of the document; a bracket is not closed"),
    ("{} x", "'x' after the end of the document; remove what follows it"),
    ("# hello", 'JSON has no comments; use a "description"'),
    ("['a']", "text stands in double quotes in JSON"),
    ("\x1b", "a value is expected in place of '\\x1b'"),
])
def test_syntax_errors_say_what_to_do(text, message):
    assert syntax(text) == message


def test_a_trailing_comma_is_pointed_at_whatever_the_parser_says():
    from circuitflow.document.reading import _syntax

    text = '{"a": 1,  }'
    for message, offset in [("Illegal trailing comma before end of object", 7), ("Expecting property name", 10)]:
        assert _syntax(text,
                       json.JSONDecodeError(message, text, offset)) == (7, "a comma too many before '}'; remove it")


def test_a_cycle_of_many_nodes_is_shown_in_part():
    nodes = [{"id": f"n{i}", "gate": "neg", "inputs": [f"n{(i + 1) % 20000}"]} for i in range(20000)]
    (message,) = faults(document(*nodes, outputs=["n0"]))
    assert message.startswith("node 'n0': a cycle: n0 → n19999 → n19998")
    assert "→ n1 → n0 (20000 in all)" in message
    assert len(message) < 300


def test_a_circle_of_many_circuits_is_shown_in_part():
    bodies = {f"c{i}": {"nodes": [{"id": "x", "gate": "input"},
                                  {"id": "y", "gate": "call", "circuit": f"c{(i + 1) % 2000}", "inputs": ["x"]}],
                        "outputs": ["y"]} for i in range(2000)}
    (message,) = faults(json.dumps({"circuitflow": "1.0",
                                    "nodes": [{"id": "x", "gate": "input"},
                                              {"id": "f", "gate": "call", "circuit": "c0", "inputs": ["x"]}],
                                    "outputs": ["f"], "circuits": bodies}))
    assert "a circuit cannot call itself: c0 → c1 → " in message
    assert message.endswith("→ c9 → … → c1999 → c0 (2000 in all)")


@pytest.mark.parametrize(("gate", "beginning", "end"), [
    ({"gate": "reduce_sum", "axis": [0] * 100000}, "node 'f': reduce_sum names an axis twice: [0, 0", "0, 0]"),
    ({"gate": "transpose", "axes": [0] * 100000},
     "node 'f': transpose needs every axis of the 1 of x once in 'axes', not [0, ", "0, 0]"),
    ({"gate": "split", "sections": [1] * 100000}, "node 'f': split cannot split 2 along axis 0 of x (2,) into [1, ",
     "1, 1]"),
    ({"gate": "reshape", "shape": [1] * 65},
     "node 'f': 'shape' is a list of 65; expected a list of integers, -1 or more, at most 64 of them", ""),
])
def test_long_attributes_make_no_long_messages(gate, beginning, end):
    message, *_ = faults(document({"id": "x", "gate": "input", "value": [1.0, 2.0]},
                                  {"id": "f", "inputs": ["x"], **gate}, outputs=["f"]))
    assert message.startswith(beginning)
    assert message.endswith(end)
    assert len(message) < 800


def test_all_faults_are_found_at_once_also_beside_those_of_form():
    text = document({"id": "x", "gate": "input", "vlaue": 2}, "f = mull(x, x)", "g = add(x, y)", "h = neg(f)",
                    {"id": "k", "gate": "exp"}, outputs=["h", "z"], edges=[{"source": "x", "target": "q"}],
                    colour="red")
    assert faults(text) == [
        "node 'x': unknown key 'vlaue'; did you mean 'value'?",
        "node 'f': there is no gate \"mull\"; did you mean 'mul'?",
        "node 'g': there is no node 'y'",
        "node 'k': exp takes 1 operand (x); it has none", "output 'z': there is no node 'z'",
        "edge to 'q': there is no such node", "unknown key 'colour'; the keys here are 'name', 'description', 'dtype', "
        "'circuits', 'nodes', 'edges', 'outputs', 'upstream', 'fit', 'layout', 'metadata', '$schema', 'circuitflow'"]


def test_what_a_place_lacks_is_a_fault_each():
    assert faults("{}") == ["'nodes' is missing", "'outputs' is missing", "'circuitflow' is missing"]
    assert faults('{"nodes": [], "edges": 1}') == ["'outputs' is missing", "'circuitflow' is missing",
                                                   "'edges' is 1; expected a list"]
    assert faults(document("x = 1", {"gate": "parameter"}, {"id": "f", "gate": "if"}, {}, {"id": "g", "gate": "call"},
                           outputs=["x"])) == [
        "'id' is missing", "'value' is missing", "node 'f': 'then' is missing", "node 'f': 'else' is missing",
        "'id' is missing", "'gate' is missing",
        "node 'g': 'circuit' is missing"]


def test_every_attribute_that_is_missing_is_named():
    from circuitflow.gates.record import Attributes, Gate

    class Two(Attributes):
        first: int
        second: int

    gates = {**cf.GATES, "two": Gate("", "", ("x",), lambda x, **_: x, lambda xp, x, **_: x, (None,), attributes=Two)}
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(document("x = 1", "f = two(x)"), gates=gates)
    assert [fault.message for fault in error.value.faults] == ["node 'f': two needs the attribute 'first': an integer",
                                                               "node 'f': two needs the attribute 'second': an integer"]


ALONE = [
    {"id": "n0", "gate": "input", "vlaue": 2}, {"id": "n1", "gate": "sum", "inputs": ["x"]},
    {"id": "n2", "gate": "add", "inputs": ["x", "nowhere"]},
    {"id": "n3", "gate": "add", "inputs": ["x", 1]}, {"id": "n4", "gate": "add", "inputs": {"0": "x", "1": 2.5}},
    {"id": "n5", "gate": "neg", "inputs": "x"},
    {"id": "n6", "gate": "exp"}, {"id": "n7", "gate": "neg", "inputs": ["x"], "axis": 1},
    {"id": "n8", "gate": "reduce_sum", "inputs": ["x"], "keepdims": 1},
    {"id": "n9", "gate": "constant"}, {"id": "n10", "gate": "constant", "value": "one"},
    {"id": "n11", "gate": "call", "circuit": "none", "inputs": []},
    {"id": "n12", "gate": "neg", "inputs": ["x", "x"]}, {"id": "n13", "gate": "neg", "inputs": ["svd"]},
    {"id": "n14", "gate": "reshape", "inputs": ["x"]},
    {"id": "n15", "gate": "neg", "inputs": ["x"], "label": 3},
    {"id": "n16", "gate": "parameter", "value": 1, "dtype": "complex"},
    {"id": "n17", "gate": "neg", "inputs": {"a b": "x"}},
    {"id": "n18", "gate": "neg", "inputs": ["x.y"]},
    {"id": "n19", "gate": "scan", "circuit": "inner", "over": [], "inputs": ["x"]},
]


def test_faults_that_have_nothing_to_do_with_one_another_are_found_at_once():
    around = {"circuits": {"inner": {"nodes": [{"id": "u", "gate": "input"}], "outputs": ["u"]}}, "outputs": ["x"]}
    sources = ["x = 1", {"id": "m", "gate": "constant", "value": [[1, 2], [3, 4]]},
               {"id": "svd", "gate": "svd", "inputs": ["m"]}]
    alone = [faults(document(*sources, node, **around)) for node in ALONE]
    assert all(len(found) == 1 for found in alone)
    together = faults(document(*sources, *ALONE, **around))
    assert sorted(together) == sorted(message for found in alone for message in found)


def test_of_a_reference_that_is_none_the_rest_of_the_node_is_checked():
    assert faults(document("x = 1", {"id": "f", "gate": "sum", "inputs": ["b", 1]}, outputs=["f", 2],
                           upstream={"g": 1})) == [
        "node 'f': there is no gate \"sum\"; write reduce_sum(x) or add(x, y)", "node 'f': there is no node 'b'",
        "node 'f': item 1 is 1; expected the id of a node; a number stands in a node of its own, {\"id\": \"c\", "
        "\"gate\": \"constant\", \"value\": 1}",
        "item 1 is 2; expected the id of a node"]
    assert faults(document("_ = 1", {"id": "f", "gate": "add", "inputs": ["_", [2]]},
                           {"id": "g", "gate": "neg", "inputs": ["f"]})) == [
        "node 'f': item 1 is a list of 1; expected the id of a node; a number stands in a node of its own, {\"id\": "
        "\"c\", \"gate\": \"constant\", \"value\": …}"]


@pytest.mark.parametrize(("data", "place", "message"), [
    ('{"a":\n "caf\xe9"}'.encode("latin-1"), (2, 6, ' "caf\ufffd"}'),
     "is not UTF-8 text: byte 0xe9 at offset 11; save it as UTF-8"),
    ('{"σ\ufffd":\n "\xe9σ\xe9"}'.encode().replace("é".encode(), b"\xe9"), (2, 3, ' "\ufffdσ\ufffd"}'),
     "is not UTF-8 text: byte 0xe9 at offset 12, and 1 more; save it as UTF-8"),
    ("\ufeff{}".encode(), (1, 1, "{}"), "begins with a byte order mark; save it as UTF-8 without one"),
    *[(prefix + '{"a": 1}\n'.encode(encoding), (1, 1, '{"a": 1}'),
       "is UTF-16 or UTF-32 text, or not text at all; save it as UTF-8")
      for prefix, encoding in [(b"", "utf-16"), (b"", "utf-16-le"), (b"", "utf-16-be"), (b"\xfe\xff", "utf-16-be")]],
])
def test_faults_of_encoding_have_a_place(tmp_path, data, place, message):
    (tmp_path / "c.json").write_bytes(data)
    with pytest.raises(cf.DocumentError) as error:
        cf.load(tmp_path / "c.json")
    (fault,) = error.value.faults
    assert (fault.line, fault.column, fault.source) == place
    assert fault.message == message


@pytest.mark.parametrize(("change", "message"), [
    ({"nodes": {}}, "'nodes' is an empty object; expected a list"),
    ({"nodes": [5]}, "item 0 is 5; expected an object"),
    ({"outputs": []}, "'outputs' is an empty list; expected 1 or more items"),
    ({"outputs": [3]}, "item 0 is 3; expected the id of a node"),
    ({"outputs": ["a b"]},
     '"a b" is not a name: expected letters, digits and underscores, not beginning with a digit, or id.port'),
    ({"edges": [5]}, "item 0 is 5; expected an object"),
    ({"circuits": {"a": 5}}, "'a' is 5; expected an object"),
    ({"circuits": {"1": {"file": "a.json"}}},
     '"1" is not a name: expected letters, digits and underscores, not beginning with a digit'),
    ({"circuits": {"a": {"nodes": [5], "outputs": ["x"]}}}, "item 0 is 5; expected an object"),
    ({"name": 5}, "'name' is 5; expected text"),
    ({"layout": {"x": [1]}}, "'x' is a list of 1; expected 2 or more items"),
    ({"layout": {"x": [1, 2, 3]}}, "'x' is a list of 3; expected at most 2 items"),
    ({"layout": {"x": [1, "2"]}}, 'item 1 is "2"; expected a number'),
    ({"metadata": []}, "'metadata' is an empty list; expected an object"),
    ({"dtype": "int64"}, "'dtype' is \"int64\"; expected 'float64', 'float32'"),
    ({"circuitflow": "one"}, "'circuitflow' is \"one\"; expected \"1.0\" or \"1.1\", the formats that this "
                              "circuitflow reads"),
    ({"circuitflow": "1.7"}, "'circuitflow' is \"1.7\"; expected \"1.0\" or \"1.1\", the formats that this "
                              "circuitflow reads"),
    ({"circuitflow": "1.0", "nodes": 3}, "'nodes' is 3; expected a list"),
])
def test_faults_of_form(change, message):
    found = faults(json.dumps({"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"],
                               **change}))
    assert message in found
    assert len(found) == 1


@pytest.mark.parametrize(("node", "message"), [
    ({"id": "f", "gate": 3}, "node 'f': 'gate' is 3; expected text"),
    ({"id": 3, "gate": "neg"}, "'id' is 3; expected text"),
    ({"id": "a" * 129, "gate": "neg", "inputs": ["x"]},
     f'node \'{"a" * 60}…\': "{"a" * 40}…" is too long: at most 128 characters'),
    ({"id": "f", "gate": "neg", "inputs": "x"},
     "node 'f': 'inputs' is \"x\"; expected a list of ids, or an object from port to id"),
    ({"id": "f", "gate": "neg", "inputs": [None]}, "node 'f': item 0 is null; expected the id of a node"),
    ({"id": "f", "gate": "neg", "inputs": {"a b": "x"}},
     'node \'f\': "a b" is not a name: expected letters, digits and '
                                                         "underscores, not beginning with a digit"),
    ({"id": "f", "gate": "call"}, "node 'f': 'circuit' is missing"),
    ({"id": "f", "gate": "parameter"}, "node 'f': 'value' is missing"),
    ({"id": "f", "gate": "input", "shape": [None]},
     "node 'f': item 0 is null; expected an integer, 0 or more, or a name"),
    ({"id": "f", "gate": "input", "value": None, "label": 3}, "node 'f': 'label' is 3; expected text"),
    ({"id": "f", "gate": "input", "value": {}},
     "node 'f': 'value' is an empty object; expected an object with 'data', 'file' or 'random'"),
    ({"id": "f", "gate": "parameter", "value": None},
     "node 'f': 'value' is null; expected a number, nested lists of numbers, or an "
                                                     "object with 'data', 'file' or 'random'"),
    ({"id": "f", "gate": "parameter", "value": {"random": "normal", "shape": [2.0], "seed": 0}},
     "node 'f': item 0 is 2.0; expected an integer"),
    ({"id": "f", "gate": "parameter", "value": {"random": "normal", "shape": [-2], "seed": 0}},
     "node 'f': item 0 is -2; expected 0 or more"),
    ({"id": "f", "gate": "reduce_sum", "inputs": ["x"], "keepdims": 1},
     "node 'f': 'keepdims' is 1; expected true or false"),
    ({"id": "f", "gate": "unsqueeze", "inputs": ["x"], "axis": 0.5}, "node 'f': 'axis' is 0.5; expected an integer"),
    ({"id": "f", "gate": "clip", "inputs": ["x"], "min": "0"}, "node 'f': 'min' is \"0\"; expected a number or null"),
    ({"id": "f", "gate": "slice", "inputs": ["x"], "step": 0}, "node 'f': 'step' is 0; expected an integer, 1 or more"),
])
def test_faults_of_nodes(node, message):
    assert faults(document("x = 1", node, outputs=["x"])) == [message]


def test_definitions_nested_beyond_what_the_validator_takes():
    inner = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"]}
    for _ in range(260):
        inner = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"], "circuits": {"a": inner}}
    assert any(message.endswith("nested too deep") for message in faults(json.dumps({"circuitflow": "1.0", **inner})))


def test_a_fault_in_what_a_repeated_key_drops():
    text = '{"circuitflow": "1.0", "nodes": [{"id": "a", "value": NaN}], "nodes": [], "outputs": ["x"]}'
    assert faults(text) == ['NaN is not JSON; write "NaN" in quotes',
                            'key "nodes" stands twice in one object; remove one of the two',
                            "output 'x': there is no node 'x'"]


@pytest.mark.parametrize("folder", [None, "."])
def test_a_lone_surrogate_in_a_string_of_a_program(folder):
    text = document({"id": "x", "gate": "input", "value": 1, "label": "?"},
                    circuits={"a": {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"]}})
    for lone in ("\ud800", "\udfff"):
        assert faults(text.replace("?", lone),
                      folder=folder) == ["text with a lone surrogate; write the whole pair or the character itself"]
    assert faults(text.replace("?", "\U0001f600"), folder=folder) == []


def test_of_a_value_at_fault_nothing_more_is_said():
    W = {"id": "W", "gate": "constant", "value": [[1, "a"]]}
    (fault,) = faults(document(W, "f = matmul(W, W)"))
    assert fault.startswith("node 'W': \"a\" is text")
    inner = {"nodes": [W, {"id": "y", "gate": "matmul", "inputs": ["W", "W"]}], "outputs": ["y"]}
    (fault,) = faults(document({"id": "h", "gate": "call", "circuit": "a"}, "f = reduce_sum(h)",
                               {"id": "s", "gate": "checkpoint", "circuit": "a"}, circuits={"a": inner}))
    assert fault.startswith("node 'W': \"a\" is text")


def test_no_more_than_a_thousand_faults_are_listed():
    found = faults(document("x = 1", *[f"n{i} = neg(y{i})" for i in range(1500)], outputs=["x"]))
    assert len(found) == 1001
    assert found[-1] == "more than 1000 faults; the rest is not listed"


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    def said(path):
        with pytest.raises(cf.DocumentError) as error:
            cf.load(path)
        return str(error.value).replace(str(tmp_path), "…")

    assert said(tmp_path) == "…: is a folder; expected a circuit document"
    assert said(tmp_path / "nowhere.json") == "…/nowhere.json: no such file"
    assert said(str(tmp_path) + "/a\0b") == "…/a\\x00b: cannot be read: not a file name"
    os.mkfifo(tmp_path / "pipe")
    assert said(tmp_path / "pipe") == "…/pipe: is not a regular file; expected a circuit document"
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert said(secret) == "…/secret.json: cannot be read: Permission denied"
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(IsADirectoryError(21, "Is a directory")))
    assert said(secret) == "…/secret.json: is a folder; expected a circuit document"


def test_a_document_larger_than_the_limit(tmp_path):
    (tmp_path / "c.json").write_text(" " * 11)
    with pytest.raises(cf.DocumentError,
                       match="is larger than 10 bytes, the largest document that is read \\(limit document_bytes\\)"):
        cf.load(tmp_path / "c.json", limits=cf.Limits(document_bytes=10))
