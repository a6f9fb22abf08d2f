"""A fit names nodes and inputs of its document, in a version that has one."""

from __future__ import annotations

import json

import pytest

import circuitflow as cf
from support.documents import call, document, faults

RESULT = {"status": "converged", "objective": 1, "evaluations": 2}


def fitted(**fit):
    return document("t = 0", {"id": "a", "gate": "parameter", "value": 1}, "r = mul(t, a)",
                    {"id": "s", "gate": "split", "inputs": ["v"], "sections": 2}, "v = [1, 2]", outputs=["r", "s.0"],
                    circuitflow="1.1", fit=fit)


@pytest.mark.parametrize("fit", [
    {"residuals": "r"}, {"loss": "r", "reduction": "sum"}, {"residuals": "s.1", "sigma": "s.0"},
    {"residuals": "r", "columns": {"t": "time", "v": "time"}, "data": {"file": "below/x.csv"}},
    {"loss": "r", "constraints": {"a": "zero", "s.1": "nonnegative"}, "validation": {"file": "x.csv"}},
    {"loss": "r", "result": {**RESULT, "warnings": []}},
    {"loss": "r", "result": {**RESULT, "parameters": ["a"], "values": [1], "covariance": [[1]]}},
])
def test_a_fit_that_fits(fit):
    cf.loads(fitted(**fit))


@pytest.mark.parametrize(("fit", "message", "pointer"), [
    ({}, "fit: neither 'residuals' nor 'loss' is there; name the node that is minimised by one of the two", ""),
    ({"residuals": "r", "loss": "r"}, "fit: 'residuals' and 'loss' exclude one another; keep one of the two", "/loss"),
    ({"loss": "r", "sigma": "s.0"}, "fit: 'sigma' goes with 'residuals'; weigh the loss in the circuit", "/sigma"),
    ({"residuals": "r", "reduction": "sum"}, "fit: 'reduction' goes with 'loss'; residuals are squared and added",
     "/reduction"),
    ({"residuals": "rr"}, "fit: 'residuals': there is no node 'rr'; did you mean 'r'?", "/residuals"),
    ({"loss": "s"}, "fit: 'loss': 's' has several outputs; name one: 's.0', 's.1'", "/loss"),
    ({"loss": "r.x"}, "fit: 'loss': 'r' has no output 'x'; it has one only, write 'r'", "/loss"),
    ({"residuals": "r", "sigma": "s.2"}, "fit: 'sigma': 's' has no output '2'; it has 's.0', 's.1'", "/sigma"),
    ({"loss": "r", "constraints": {"q": "zero"}}, "fit: constraints: there is no node 'q'", "/constraints/q"),
    ({"loss": "r", "columns": {"tt": "x"}}, "fit: columns: there is no input 'tt'; did you mean 't'?", "/columns/tt"),
    ({"loss": "r", "columns": {"zzzz": "x"}}, "fit: columns: there is no input 'zzzz'; its inputs are 't', 'v'",
     "/columns/zzzz"),
    ({"loss": "r", "data": {"file": "../x.csv"}}, "fit: 'data': '../x.csv' is not allowed: expected a relative path, "
     "with forward slashes and no '..', of a file beside or below the document", "/data/file"),
    ({"loss": "r", "validation": {"file": "/x.csv"}}, "fit: 'validation': '/x.csv' is not allowed: expected a relative "
     "path, with forward slashes and no '..', of a file beside or below the document", "/validation/file"),
    ({"loss": "r", "result": {**RESULT, "values": [1]}},
     "fit: result: values has 1 item; expected 0, one for each of 'parameters'", "/result/values"),
    ({"loss": "r", "result": {**RESULT, "parameters": ["a"], "covariance": [[1, 2]]}},
     "fit: result: covariance has 2 items; expected 1, one for each of 'parameters'", "/result/covariance/0"),
    ({"loss": "r", "result": {**RESULT, "parameters": ["a"], "confidence": {"level": 0.5, "intervals": []}}},
     "fit: result: confidence has 0 items; expected 1, one for each of 'parameters'", "/result/confidence/intervals"),
])
def test_a_fit_that_does_not(fit, message, pointer):
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(fitted(**fit))
    (fault,) = error.value.faults
    assert (fault.message, fault.pointer) == (message, f"/fit{pointer}")


def test_what_a_node_at_fault_would_be_is_not_guessed():
    text = document("x = 1", "f = nothing(x)", circuitflow="1.1", fit={"residuals": "f.a"})
    assert [message.partition(":")[0] for message in faults(text)] == ["node 'f'"]


def test_an_older_version_has_no_later_keys():
    later = [{"id": name, "gate": "parameter", "value": 1, "max": 2, "frozen": True} for name in "ab"]
    assert faults(document(*later, fit={"loss": "a"})) == [
        "node 'a': 'max' is a key of format 1.1; say \"circuitflow\": \"1.1\"",
        "'fit' is a key of format 1.1; say \"circuitflow\": \"1.1\""]
    assert faults(document("x = 1", fit=None)) == ["'fit' is a key of format 1.1; say \"circuitflow\": \"1.1\""]
    assert faults(document("x = 1", fit=None, circuitflow="1.1")) == []


INNER = {"nodes": [{"id": "x", "gate": "input"}], "outputs": ["x"], "fit": {"loss": "x"}}


def test_a_subcircuit_has_no_fit_unless_it_is_a_document():
    def outer(version, **inner):
        return document("x = 1", call("f", "x"), circuits={"block": {**INNER, **inner}}, circuitflow=version)

    assert faults(outer("1.1")) == ["'fit' stands at the top of a document; a subcircuit has none, so take it out"]
    assert faults(outer("1.0", circuitflow="1.1")) == [
        "circuit 'block' is a document of format 1.1 inside of one of format 1.0; say \"1.1\" there too"]
    assert faults(outer("1.1", circuitflow="1.0")) == ["'fit' is a key of format 1.1; say \"circuitflow\": \"1.1\""]
    circuit = cf.loads(outer("1.1", circuitflow="1.1"))
    assert circuit.document.fit is None
    assert cf.Executor(circuit).run().outputs["f"] == 1
    assert cf.loads(cf.dumps(circuit)) == circuit
    assert faults(outer("1.1", circuitflow="1.1", fit={"loss": "y"})) == ["fit: 'loss': there is no node 'y'"]
    assert faults(outer("1.1", circuitflow="1.1", fit={"los": "x"})) == ["unknown key 'los'; did you mean 'loss'?"]


def test_a_fitted_document_is_used_as_a_subcircuit_by_its_file(tmp_path):
    (tmp_path / "model.json").write_text(json.dumps({"circuitflow": "1.1", **INNER}))
    text = document("x = 2", call("f", "x"), circuits={"block": {"file": "model.json"}})
    assert cf.Executor(cf.loads(text, folder=tmp_path)).run().outputs["f"] == 2
