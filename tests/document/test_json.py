"""The JSON Parsing Test Suite by Nicolas Seriot (MIT licence, github.com/nst/JSONTestSuite), each case as a part of a
document.

`json_parsing.json` has its cases by name: what begins with y is to be accepted, with n to be refused, with i either.
Bytes that
are not UTF-8 stand there as U+FFFD. Two cases that are long are made here.
"""

from __future__ import annotations

import json

import pytest

import circuitflow as cf
from support.suite import ROOT

CASES = json.loads((ROOT / "tests/document/json_parsing.json").read_text()) | {
    "n_structure_100000_opening_arrays": "[" * 100_000, "n_structure_open_array_object": '[{"":' * 50_000}
STRICTER = {"y_object_duplicated_key", "y_object_duplicated_key_and_value"}
"""A document's keys stand once."""


def as_bytes(text: str) -> bytes:
    return text.encode().replace("\ufffd".encode(), b"\xff")


def placed(case: str) -> list[bytes]:
    """A document that has the case as metadata, and as a whole."""
    around = ('{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": 1}], "outputs": ["x"], '
              '"metadata": {"case": @}}')
    return [around.encode().replace(b"@", as_bytes(case)), as_bytes(case)]


def outcome(path, text: bytes) -> str:
    path.write_bytes(text)
    try:
        cf.load(path)
    except cf.DocumentError as error:
        assert all(c.isprintable() or c == "\n" for c in str(error))
        return "\n".join(fault.message for fault in error.faults)
    return ""


def test_there_are_all_cases():
    assert len(CASES) == 318
    assert {name[0] for name in CASES} == {"y", "n", "i"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_case_is_accepted_or_refused_as_its_name_says(name, tmp_path):
    inside, whole = (outcome(tmp_path / "c.json", text) for text in placed(CASES[name]))
    if name in STRICTER:
        assert "stands twice in one object" in inside
    elif name[0] == "y":
        assert inside == ""
        assert whole  # a document it is not, but JSON: what is said is of the document
        assert not any(words in whole for words in ("is expected in place", "is missing before", "not closed",
                                                    "after the end", "is not JSON"))
    elif name[0] == "n":
        assert inside
        assert whole
    else:
        assert whole
