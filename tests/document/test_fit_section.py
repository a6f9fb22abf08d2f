"""The key `fit`: its form, its layout, the version that it needs."""

from __future__ import annotations

import json
import math

import pytest

import circuitflow as cf
from circuitflow.document.fit import Column, Fit, Fraction, Result
from circuitflow.document.model import Document
from circuitflow.document.rewriting import with_edges, with_fit
from circuitflow.document.versions import with_lowest_version
from support.documents import document, faults

NODES = [{"id": "t", "gate": "input", "value": 0},
         {"id": "a", "gate": "parameter", "value": 1, "min": 0, "max": "Infinity"},
         {"id": "b", "gate": "parameter", "value": [1, 2], "min": [0, "-Infinity"], "max": 3, "frozen": True},
         {"id": "r", "gate": "mul", "inputs": ["t", "a"]}]
RESULT = {"status": "converged", "method": "trf, polished", "objective": 0.5, "evaluations": 3, "rows": 4,
          "parameters": ["a", "b[0]"], "values": [1, 2.5], "standard_errors": [0.1, "NaN"],
          "confidence": {"level": 0.95, "intervals": [[0.5, 1.5], ["-Infinity", "Infinity"]]},
          "covariance": [[1, 0], [0, 1]], "correlation": [[1, 0], [0, 1]], "residual_standard_deviation": 0.25,
          "degrees_of_freedom": 2, "r_squared": 0.99, "aic": -3, "bic": -2.5, "warnings": ["b is at its bound"],
          "digests": {"document": "0" * 64, "data": "1" * 64}, "versions": {"circuitflow": "0.1.0", "numpy": "2.0"}}
FIT = {"data": {"file": "decay.csv", "sha256": "a" * 64}, "columns": {"t": "time, s"}, "residuals": "r",
       "sigma": {"column": "sd"}, "constraints": {"a": "nonnegative"}, "method": {"name": "trf", "loss": "huber"},
       "tolerance": 1e-9, "max_evaluations": 100, "starts": 3, "seed": 1, "batch_size": 2, "epochs": 3,
       "schedule": {"name": "cosine", "steps": [1, {"x": None}]}, "validation": {"fraction": 0.25}, "result": RESULT}


def written(fit, **changes):
    return document(*NODES, **{"circuitflow": "1.1", "fit": fit, **changes})


def test_a_fit_is_carried_through_as_it_is_written():
    text = written(FIT)
    circuit = cf.loads(text)
    again = cf.dumps(circuit)
    assert json.loads(again) == json.loads(text)
    assert cf.loads(again) == circuit
    assert list(json.loads(again)) == ["circuitflow", "nodes", "outputs", "fit"]
    fit = circuit.document.fit
    assert isinstance(fit, Fit)
    assert (fit.method.name, fit.method.options) == ("trf", {"loss": "huber"})
    assert fit.schedule.options == {"steps": [1, {"x": None}]}
    assert fit.sigma == Column(column="sd")
    assert fit.validation == Fraction(fraction=0.25)
    assert circuit != cf.loads(written({**FIT, "seed": 2}))
    assert "sigma" not in cf.loads(written({"loss": "r"})).document.fit.model_fields_set


def test_a_program_may_give_numbers_that_are_not_finite():
    result = Result(status="failed", objective=math.nan, evaluations=1, values=[math.inf, -math.inf, 2])
    assert (result.objective, result.values) == ("NaN", ["Infinity", "-Infinity", 2])


OTHER = 'a number, or "NaN", "Infinity" or "-Infinity"'


@pytest.mark.parametrize(("change", "message"), [
    ({"data": "decay.csv"}, "'data' is \"decay.csv\"; expected an object"),
    ({"data": {"file": ""}}, "'file' is empty; expected text"),
    ({"data": {"file": "x" * 1025}}, "is too long: at most 1024 characters"),
    ({"data": {"file": "x", "sha256": "1"}}, "expected a SHA-256 digest"),
    ({"data": {"file": "x", "sha": "1"}}, "unknown key 'sha'; did you mean 'sha256'?"),
    ({"columns": {"t": 1}}, "'t' is 1; expected text"),
    ({"columns": {"a b": "x"}}, "\"a b\" is not a name"),
    ({"sigma": {"colum": "x"}}, "unknown key 'colum'; did you mean 'column'?"),
    ({"sigma": 1}, "'sigma' is 1; expected text"),
    ({"constraints": {"a": "positive"}}, "'a' is \"positive\"; expected 'nonnegative', 'zero'"),
    ({"method": "trf"}, "'method' is \"trf\"; expected an object"),
    ({"method": {"loss": "huber"}}, "'name' is missing"),
    ({"tolerance": 0}, "'tolerance' is 0; expected more than 0"),
    ({"starts": 0}, "'starts' is 0; expected 1 or more"),
    ({"seed": 2**32}, "'seed' is 4294967296; expected less than 4294967296"),
    ({"epochs": 1.5}, "'epochs' is 1.5; expected an integer"),
    ({"validation": {"fraction": 1}}, "'fraction' is 1; expected less than 1"),
    ({"validation": {"fraction": 0.5, "file": "x"}}, "unknown key 'file'; the keys here are 'fraction'"),
    ({"validation": {"fil": "x"}}, "unknown key 'fil'; did you mean 'file'?"),
    ({"residual": "r"}, "unknown key 'residual'; did you mean 'residuals'?"),
    ({"result": {}}, "'status' is missing"),
    ({"result": {**RESULT, "objective": None}}, f"'objective' is null; expected {OTHER}"),
    ({"result": {**RESULT, "aic": True}}, f"'aic' is true; expected {OTHER}"),
    ({"result": {**RESULT, "values": ["x"]}}, f"item 0 is \"x\"; expected {OTHER}"),
    ({"result": {**RESULT, "confidence": {"level": 0.9, "interval": []}}},
     "unknown key 'interval'; did you mean 'intervals'?"),
    ({"result": {**RESULT, "confidence": {"level": 0.9, "intervals": [[1]]}}}, "expected 2 or more items"),
    ({"result": {**RESULT, "digests": {"dat": "1" * 64}}}, "unknown key 'dat'; did you mean 'data'?"),
    ({"result": {**RESULT, "versions": {"a b": "1"}}}, "\"a b\" is not a name"),
])
def test_faults_of_form(change, message):
    assert any(message in found for found in faults(written({**FIT, **change})))


def test_options_of_a_method_nest_as_deep_as_any_json():
    deep = []
    for _ in range(150):
        deep = [deep]
    assert "nested at most 100 levels deep" in faults(written({**FIT, "method": {"name": "trf", "x": deep}}))[0]


def test_all_faults_are_found_at_once_each_at_its_place():
    fit = {**FIT, "tolerance": "x", "columns": {"z": "time"}, "starts": 0, "method": {}}
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(written(fit, outputs=["q"]))
    assert {fault.pointer for fault in error.value.faults} == {
        "/outputs/0", "/fit/tolerance", "/fit/columns/z", "/fit/starts", "/fit/method"}
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(written(5, outputs=["q"]))
    assert [fault.pointer for fault in error.value.faults] == ["/outputs/0", "/fit"]


def test_a_circuit_may_be_called_fit():
    inner = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"], "node": 1}
    assert faults(document("x = 1", circuits={"fit": inner})) == ["unknown key 'node'; did you mean 'nodes'?"]


# Versions -----------------------------------------------------------------------------------------------------------


def inline(version, *nodes, **rest):
    return {**json.loads(document(*nodes, **rest)), "circuitflow": version}


PLAIN = {"id": "w", "gate": "parameter", "value": 1}


@pytest.mark.parametrize(("made", "lowest"), [
    (inline("1.1", PLAIN), "1.0"), (inline("1.0", {**PLAIN, "frozen": False}), "1.1"),
    (inline("1.0", {**PLAIN, "max": 1}), "1.1"), (inline("1.0", PLAIN, fit={"loss": "w"}), "1.1"),
    (inline("1.1", PLAIN, circuits={"a": inline("1.1", PLAIN), "b": {"file": "b.json"}}), "1.0"),
    (inline("1.0", PLAIN, circuits={"a": {"nodes": [{**PLAIN, "min": 1}], "outputs": ["w"]}}), "1.1"),
    (inline("1.0", PLAIN, circuits={"a": inline("1.0", PLAIN, fit={"loss": "w"})}), "1.1"),
])
def test_a_document_is_written_in_the_lowest_version_that_can_express_it(made, lowest):
    found = with_lowest_version(Document.model_validate(made))
    assert found.circuitflow == lowest
    inner = (found.circuits or {}).get("a")
    assert inner is None or inner.circuitflow in (None, lowest)
    assert with_lowest_version(found) == found


def test_a_fit_is_put_into_a_document_and_taken_out():
    plain = cf.loads(document("x = 1", PLAIN)).document
    fitted = with_fit(plain, Fit.model_validate({"loss": "w", "result": RESULT}))
    assert (fitted.circuitflow, fitted.fit.result.aic) == ("1.1", -3)
    assert cf.loads(cf.dumps(fitted)).document == fitted
    assert with_edges(fitted).fit == fitted.fit
    assert with_fit(fitted, None) == plain
    assert "fit" not in cf.dumps(with_fit(fitted, None))


def test_other_values_leave_the_fit_and_the_bounds():
    circuit = cf.loads(written(FIT)).with_values({"a": 2.0})
    assert circuit.document.fit == cf.loads(written(FIT)).document.fit
    assert json.loads(cf.dumps(circuit))["nodes"][1] == {**NODES[1], "value": 2}


def test_what_is_derived_states_the_lowest_version_too():
    assert cf.gradient(cf.loads(written(FIT, outputs=["r"]))).document.circuitflow == "1.1"
    later = cf.gradient(cf.loads(document("x = 1", "f = exp(x)", circuitflow="1.1", fit={"loss": "f"})))
    assert (later.document.circuitflow, later.document.fit) == ("1.0", None)
    assert cf.new("y = a * x").document.circuitflow == "1.0"


def test_fmt_states_the_lowest_version(circuitflow, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(written(FIT, circuitflow="1.0"))
    assert json.loads(circuitflow("fmt", str(path)).out) == json.loads(written(FIT))
    path.write_text(document("x = 1", circuitflow="1.1"))
    assert circuitflow("fmt", "--check", str(path)).status == 1
    assert circuitflow("fmt", "--write", str(path)).out == ""
    assert json.loads(path.read_text())["circuitflow"] == "1.0"
