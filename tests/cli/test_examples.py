"""`circuitflow examples`: what it lists, what it copies, and where it finds the examples."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

import circuitflow as cf
from support.suite import FILES, GUARD, ROOT

EXAMPLES = [*FILES, *sorted((ROOT / "circuits/classics").glob("*.json"))]


def test_every_example_is_listed_once_with_its_description(circuitflow):
    heading, *lines = circuitflow("examples").out.splitlines()
    assert heading.split() == ["example", "what", "it", "is"]
    listed = []
    for line in lines:
        name, text = line[:22].strip(), line[22:].strip()
        if name:
            listed.append((name, text))
        else:  # a long description goes on
            listed[-1] = (listed[-1][0], f"{listed[-1][1]} {text}")
    assert listed == [(file.stem, cf.load(file).document.description) for file in EXAMPLES]


def test_an_example_is_printed(circuitflow):
    text = (ROOT / "circuits/classics/olah.json").read_text()
    assert circuitflow("examples", "olah").out == text
    assert circuitflow("examples", "olah", "-o", "-").out == text


def test_an_example_is_copied_with_its_table(circuitflow, tmp_path):
    folder = tmp_path / "new" / "folder"
    outcome = circuitflow("examples", "decay", "-o", str(folder))
    assert (outcome.status, outcome.out.split()) == (0, [str(folder / "decay.csv"), str(folder / "decay.json")])
    assert (folder / "decay.csv").read_bytes() == (ROOT / "circuits/decay.csv").read_bytes()
    assert json.loads((folder / "decay.json").read_text())["$schema"] == "circuit.schema.json"
    assert sorted(os.listdir(folder)) == ["circuit.schema.json", "decay.csv", "decay.json"]
    assert cf.fit(cf.load(folder / "decay.json")).status == "converged"


def test_all_examples_are_copied_in_their_folders(circuitflow, tmp_path):
    assert circuitflow("examples", "-o", str(tmp_path)).status == 0
    for file in EXAMPLES:
        copy = tmp_path / file.relative_to(ROOT / "circuits")
        document = json.loads(copy.read_text())
        assert (copy.parent / document["$schema"]).resolve() == tmp_path / "circuit.schema.json"
        assert document | {"$schema": ""} == json.loads(file.read_text()) | {"$schema": ""}


@pytest.mark.parametrize("name", ["decay.csv", "decay.json"])
def test_no_file_is_replaced_and_nothing_else_is_written(circuitflow, tmp_path, name):
    (tmp_path / name).write_text("mine")
    for arguments in (["decay"], []):
        outcome = circuitflow("examples", *arguments, "-o", str(tmp_path))
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err == (f"error: '{tmp_path / name}' is there already, and nothing is written; choose another "
                               "folder with -o\n")
        assert os.listdir(tmp_path) == [name]
        assert (tmp_path / name).read_text() == "mine"


def test_what_is_no_example_and_what_is_no_folder(circuitflow, tmp_path):
    assert circuitflow("examples", "olha").err == ("error: there is no example 'olha'; did you mean 'olah'?; "
                                                   "`circuitflow examples` lists them\n")
    (tmp_path / "file").write_text("mine")
    outcome = circuitflow("examples", "olah", "-o", str(tmp_path / "file"))
    assert outcome.err == f"error: '{tmp_path / 'file'}' is not a folder; -o names the folder to copy to\n"
    assert (tmp_path / "file").read_text() == "mine"


def test_an_installed_package_has_its_examples_inside(tmp_path):
    """As a wheel places them; a folder `circuits` beside the package is another's there."""
    wheel = (ROOT / "pyproject.toml").read_text()
    assert 'only-include = ["circuitflow", "circuits"]' in wheel
    assert 'sources = {"circuits" = "circuitflow/circuits"}' in wheel
    shutil.copytree(ROOT / "circuitflow", tmp_path / "circuitflow", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "circuits").mkdir()
    (tmp_path / "circuitflow/circuits/classics").mkdir(parents=True)
    shutil.copy(ROOT / "circuits/product.json", tmp_path / "circuitflow/circuits")
    shutil.copy(ROOT / "circuits/classics/olah.json", tmp_path / "circuitflow/circuits/classics")
    listed = subprocess.run([sys.executable, "-m", "circuitflow", "examples"], cwd=tmp_path, capture_output=True,
                            text=True, encoding="utf-8", timeout=GUARD, check=True,
                            env={**os.environ, "PYTHONPATH": str(tmp_path)}).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["example", "product", "olah"]


def test_a_shell_completes_names():
    from circuitflow.cli.examples import _complete

    assert _complete("sig") == ["sigmoid_neuron", "sigmoid_neuron_fused"]
