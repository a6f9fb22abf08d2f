"""The corpus of `circuits/conformance/`: it is what mathematics says, and circuitflow passes it."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from jsonschema import Draft202012Validator

import circuitflow as cf
from circuitflow.gates import GATES
from exact.corpus import FOLDER, files, lines
from exact.windows import GATES as EXACT_GATES
from support.corpus import WAYS, cases, outcomes
from support.slices import few
from support.suite import ROOT

PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
SCHEMA = Draft202012Validator(json.loads((ROOT / "schemas" / "conformance.schema.json").read_text(encoding="utf-8")))
FILES = sorted(FOLDER.glob("*.json"))
EVERY = {"interpreter": 1, "derivatives as documents": 1, "staged code": 3, "Python": 3, "ONNX Runtime": 3,
         "the engine native": 20, "the engine jax": 40, "C": 3, "JavaScript": 3}
"""The tests take one of so many cases, `python tests/exact/passes.py` takes all."""


def test_every_gate_has_cases():
    assert {path.stem for path in FILES} == {*GATES, "circuits", "faults"}
    assert set(EXACT_GATES) | {"stop_gradient"} == set(GATES)


def test_every_file_follows_the_schema():
    for path in FILES:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert [error.message for error in SCHEMA.iter_errors(content)] == [], path.name
        assert content["title"] == path.stem
        names = [found["name"] for found in content["cases"]]
        assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("gate", [pytest.param(gate, marks=[] if i % 20 == 0 else pytest.mark.long)
                                  for i, gate in enumerate(GATES)])
def test_the_numbers_are_those_of_mathematics(gate):
    ((_, found),) = files(gate)
    assert lines(gate, found) == (FOLDER / f"{gate}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("way", WAYS)
def test_circuitflow_passes(way):
    """What the page lists as refused or outside of the tolerance is that, and nothing else."""
    refused, others = (re.search(rf"^- {way}: (.*)$", part, re.MULTILINE) for part in
                       PAGE.split("Refused, by file:")[1].split("Outside of the tolerance:"))
    expected = set(re.findall(r"(\w+) \(\d+\)", refused[1])) if refused else set()
    listed = set(re.findall(r"`([^`]+)`", others[1])) if others else set()
    needed = {"C": "gcc", "JavaScript": "node", "the engine native": "cc"}.get(way)
    if needed and not shutil.which(needed):
        pytest.skip(f"{needed} is not installed")
    for case, status, text in outcomes(way, cases()[::EVERY[way] * 10 // few(10)]):
        assert (status == "passed" or (status == "refused" and case.file in expected)
                or (status == "other" and str(case) in listed)), f"{case}: {status}: {text}"


@pytest.mark.parametrize("fault", json.loads((FOLDER / "faults.json").read_text(encoding="utf-8"))["cases"],
                         ids=lambda fault: fault["name"])
def test_faults_are_refused_and_name_their_nodes(fault):
    with pytest.raises(cf.DocumentError) as caught:
        cf.loads(json.dumps(fault["document"]))
    assert set(fault["nodes"]) <= set(re.findall(r"\w+", str(caught.value)))
