"""`circuitflow fit`: documents that are fitted again, bad input, plots and histories."""

from __future__ import annotations

import csv
import json
import math
import shutil

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.cli import fit_progress
from circuitflow.fitting.writing import fitted_document
from support.suite import ROOT


@pytest.fixture
def folder(tmp_path):
    for name in ("decay", "michaelis_menten"):
        for ending in (".json", ".csv"):
            shutil.copy(ROOT / "circuits" / (name + ending), tmp_path)
    return tmp_path


def entry(path):
    return json.loads(path.read_text())["fit"]["result"]


@pytest.mark.parametrize("name", ["decay", "michaelis_menten"])
def test_a_fitted_document_is_fitted_again_to_the_same(circuitflow, folder, name):
    old, new = folder / f"{name}.json", folder / "again.json"
    assert circuitflow("fit", str(old), "-o", str(new)).status == 0
    before, after = json.loads(old.read_text()), json.loads(new.read_text())
    for key in ("digests", "start", "parameters", "status", "rows", "degrees_of_freedom"):
        assert after["fit"]["result"][key] == before["fit"]["result"][key]
    assert after["fit"]["result"]["values"] == pytest.approx(before["fit"]["result"]["values"], rel=1e-12)
    third = folder / "third.json"
    assert circuitflow("fit", str(new), "-o", str(third)).status == 0
    assert third.read_bytes() == new.read_bytes()


def test_puromycin_is_as_published():
    """Bates and Watts 1988, section 2.2: 212.7 and 0.06412, with the standard errors 6.947 and 0.008281."""
    result = cf.fit(cf.load(ROOT / "circuits/michaelis_menten.json"))
    found = [f"{x:.4g}" for x in [*result.x, *result.standard_errors]]
    assert found == ["212.7", "0.06412", "6.947", "0.008281"]


def test_another_start_in_the_document_is_taken(circuitflow, folder):
    path = folder / "decay.json"
    text = path.read_text()
    value = entry(path)["values"][2]
    path.write_text(text.replace(f'"value": {value!r}', '"value": 0.5'))
    assert circuitflow("fit", str(path), "-o", str(folder / "new.json")).status == 0
    assert entry(folder / "new.json")["start"] == {"a": 0, "b": 1, "c": 0.5}


def test_options_are_written_into_the_document(circuitflow, folder):
    new = folder / "new.json"
    assert circuitflow("fit", str(folder / "decay.json"), "-o", str(new), "--max", "c=0.6", "--freeze", "a",
                       "--start", "a=0.5", "--start", "c=0.5", "--method", "trf", "--option", "loss=soft_l1",
                       "--tolerance", "1e-9").status == 0
    document = json.loads(new.read_text())
    nodes = {node["id"]: node for node in document["nodes"]}
    assert (nodes["c"]["max"], nodes["c"]["value"]) == (0.6, 0.6)
    assert (nodes["a"]["frozen"], nodes["a"]["value"]) == (True, 0.5)
    assert document["fit"]["method"] == {"name": "trf", "loss": "soft_l1"}
    assert document["fit"]["tolerance"] == 1e-9
    assert "upper bound" in document["fit"]["result"]["warnings"][0]


def test_large_parameters_go_into_a_file_named_by_its_digest(circuitflow, tmp_path):
    document = {"circuitflow": "1.1", "fit": {"residuals": "r"}, "nodes": [
        {"id": "w", "gate": "parameter", "value": {"data": 0, "shape": [70]}},
        {"id": "y", "gate": "input", "shape": ["n", 70]},
        {"id": "r", "gate": "sub", "inputs": ["y", "w"]}], "outputs": ["r"]}
    (tmp_path / "c.json").write_text(json.dumps(document))
    circuit = cf.load(tmp_path / "c.json")
    rows = [[float(i + j) for j in range(70)] for i in range(3)]
    fitted = fitted_document(cf.fit(circuit, {"y": rows}), None, "c")
    (tmp_path / fitted.tensor_file).write_bytes(fitted.tensors)
    (tmp_path / "d.json").write_text(cf.dumps(circuit.derived(fitted.document)))
    assert cf.load(tmp_path / "d.json").values["w"].tolist() == pytest.approx([j + 1 for j in range(70)])


@pytest.mark.parametrize(("rows", "arguments", "message"), [
    ("time,level\n0,1\n", [], "there is no column 'signal' for input 'y'"),
    ("time,signal\n0,1\n1,high\n", [], "high"),
    ("time,signal\n0,1\n1,\n", [], "row 2"),
    ("time,signal\n0,1\n1,NaN\n2,3\n3,1\n", [], "row 2"),
    ("time,signal\n", [], "there are no rows"),
    ("time,signal\n0,1\n1,1\n2,1\n3,1\n", [], "is constant"),
    (None, ["--min", "c=2", "--max", "c=1"], "its bounds cross"),
    (None, ["--min", "c=2", "--start", "c=1"], "outside of its bounds"),
    (None, ["--start", "q=1"], "--start: there is no parameter 'q'"),
    (None, ["--method", "tfr"], "did you mean 'trf'?"),
    (None, ["--constraint", "c"], "expected c=…, such as --constraint c=nonnegative"),
    (None, ["--columns", "t=hour"], "hour"),
])
def test_bad_input_is_one_error(circuitflow, folder, rows, arguments, message):
    data = []
    if rows is not None:
        (folder / "rows.csv").write_text(rows)
        data = [str(folder / "rows.csv")]
    outcome = circuitflow("fit", str(folder / "decay.json"), *data, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_a_file_that_changed_since_is_refused(circuitflow, folder):
    (folder / "decay.csv").write_text("time,signal\n1,2\n")
    outcome = circuitflow("fit", str(folder / "decay.json"))
    assert outcome.status == 2
    assert "has the SHA-256 digest" in outcome.err


def test_no_file_that_is_read_is_replaced(circuitflow, folder):
    for option, name in (("-o", "decay.json"), ("--history", "decay.csv")):
        old = (folder / name).read_bytes()
        outcome = circuitflow("fit", str(folder / "decay.json"), option, str(folder / name))
        assert (outcome.status, (folder / name).read_bytes()) == (2, old)


def test_status_and_json(circuitflow, folder):
    outcome = circuitflow("fit", str(folder / "decay.json"), "--json", "--method", "trf", "--max-evaluations", "3")
    assert outcome.status == 1
    assert json.loads(outcome.out)["converged"] is False


@pytest.mark.parametrize("form", ["svg", "png", "pdf", "html"])
def test_plots_and_history(circuitflow, folder, form, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(fit_progress, "INTERVAL", math.inf)  # on a busy machine a fit may take as long
    text = (folder / "decay.csv").read_text().replace("time", "$\\frac{<b>$")
    (folder / "rows.csv").write_text(text)
    outcome = circuitflow("fit", str(folder / "decay.json"), str(folder / "rows.csv"), "--columns", "t=$\\frac{<b>$",
                          "--plot", str(folder / f"p.{form}"), "--history", str(folder / "h.csv"))
    assert (outcome.status, outcome.err) == (0, "")
    begin = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}[form]
    assert (folder / f"p.{form}").read_bytes().startswith(begin)
    steps = list(csv.DictReader((folder / "h.csv").read_text().splitlines()))
    assert steps[0]["parameter a"] == "0"
    objectives = [float(step["objective"]) for step in steps]
    assert objectives == sorted(objectives, reverse=True)


def test_what_standard_errors_mean_stands_in_the_document(circuitflow, folder):
    (folder / "counts.csv").write_text("y\n3\n5\n4\n8\n")
    (folder / "poisson.json").write_text(cf.dumps(cf.new("l = exp(a) - y * a", {"a": 1.0}, parameters=["a"])))
    first, second = folder / "first.json", folder / "second.json"
    arguments = (str(folder / "poisson.json"), str(folder / "counts.csv"), "--loss", "l", "--likelihood")
    assert circuitflow("fit", *arguments, "-o", str(first)).status == 0
    assert json.loads(first.read_text())["fit"]["likelihood"] is True
    assert entry(first)["values"] == pytest.approx([np.log(5)])
    assert entry(first)["standard_errors"] == pytest.approx([1 / np.sqrt(20)])  # 1 / √(n mean)
    assert circuitflow("fit", str(first), "-o", str(second)).status == 0
    assert second.read_bytes() == first.read_bytes()
    decay = (str(folder / "decay.json"), "--sigma-column", "signal", "-o")
    errors = []
    for more in ((), ("--absolute-sigma",)):
        circuitflow("fit", *decay, str(first), *more)
        assert json.loads(first.read_text())["fit"].get("absolute_sigma", False) is bool(more)
        circuitflow("fit", str(first), "-o", str(second))
        assert entry(second)["standard_errors"] == entry(first)["standard_errors"]
        errors.append(entry(first)["standard_errors"][0])
    assert errors[0] != errors[1]
    assert circuitflow("fit", *arguments, "--absolute-sigma").status == 2
