"""The fuzzer of engines: a fixed number of its circuits without a difference, and planted faults that it must find."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

import circuitflow as cf
from support.suite import ROOT

FOLDER = ROOT / "tests/fuzz"


@pytest.fixture(scope="module")
def fuzzer():
    """`tests/fuzz/engines.py` as a module, with those beside it."""
    sys.path.insert(0, str(FOLDER))
    specification = importlib.util.spec_from_file_location("fuzz_engines", FOLDER / "engines.py")
    module = sys.modules["fuzz_engines"] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("cases", [range(30), pytest.param(range(30, 120), marks=pytest.mark.long)],
                         ids=["first", "others"])
@pytest.mark.parametrize("thresholds", ["low", "default"])
def test_no_way_of_running_a_circuit_differs(fuzzer, thresholds, cases):
    report = fuzzer.fuzz(0, cases, thresholds)
    assert [f"{found.signature()}: {found.fault.sentence}" for found in report.found] == []
    assert report.tally.compared["differentiated by JAX"] > len(cases) / 6
    assert all(report.tally.compared[way] > len(cases) / 1.2
               for way in ("auto", "staged", "gradient document", "cache needed", "vmap"))


def planted(monkeypatch, spoil):
    """The interpreter's compiled functions of circuits with a tanh, spoiled: `spoil(compiled, *arguments,
    **upstream)` is called in their place."""
    original = cf.Executor.compile

    def spoiled_compile(self, of=None, wrt=None, *, engine="auto", **options):
        made = original(self, of, wrt, engine=engine, **options)
        if engine != "interpreter" or all(node.kind != "tanh" for node in self.circuit.nodes.values()):
            return made
        return lambda *arguments, **named: spoil(made, *arguments, **named)

    monkeypatch.setattr(cf.Executor, "compile", spoiled_compile)


def scaled(factor):
    def spoil(made, *arguments, **named):
        value, gradients = made(*arguments, **named)
        return value, {name: gradient * gradient.dtype.type(factor) if hasattr(gradient, "dtype") else gradient * factor
                       for name, gradient in gradients.items()}

    return spoil


@pytest.mark.long
def test_a_wrong_gradient_is_found_and_made_small_and_replayed(fuzzer, monkeypatch, tmp_path, capsys):
    with monkeypatch.context() as patch:
        planted(patch, scaled(1.001))
        report = fuzzer.fuzz(1, range(100), engines=["interpreter"])
        assert report.found
        for found in report.found:
            gates = [node["gate"] for node in found.case.document["nodes"]]
            assert (found.fault.way, found.fault.kind) == ("interpreter", "value")
            assert "tanh" in str(found.case.document)
            assert len(found.case.calls) == 1
        smallest = min(report.found, key=lambda found: len(found.case.document["nodes"]))
        gates = [node["gate"] for node in smallest.case.document["nodes"]]
        assert (len(gates), gates[1:]) == (2, ["tanh"])
        path = smallest.write(tmp_path)
        assert json.loads(path.read_text())["fault"]["sentence"] == smallest.fault.sentence
        assert fuzzer.main(["--replay", str(path)]) == 1
        assert "interpreter, value, call 0: gradient" in capsys.readouterr().out
    assert fuzzer.main(["--replay", str(path)]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_rounding_is_no_difference(fuzzer, monkeypatch):
    planted(monkeypatch, scaled(1 + 1e-14))
    report = fuzzer.fuzz(1, range(100), engines=["interpreter"])
    assert report.found == []
    assert report.tally.compared["interpreter"] > 500


def shared(made, *arguments, _results={}, **named):  # noqa: B006
    """The same array for every result of a shape and dtype."""
    value, gradients = made(*arguments, **named)
    for name, gradient in gradients.items():
        if isinstance(gradient, np.ndarray):
            buffer = _results.setdefault((name, gradient.shape, gradient.dtype), np.empty_like(gradient))
            buffer[...] = gradient
            gradients[name] = buffer
    return value, gradients


def spoiled(made, *arguments, **named):
    """Arguments that are written into."""
    found = made(*arguments, **named)
    for part in (*arguments, named):
        for argument in part.values() if isinstance(part, dict) else ():
            if isinstance(argument, np.ndarray) and argument.flags.writeable and argument.dtype == np.float64:
                argument += 1
    return found


def raises(made, *arguments, **named):
    raise KeyError("x")


@pytest.mark.parametrize(("spoil", "kind"), [
    (shared, "changed"), pytest.param(spoiled, "input", marks=pytest.mark.long), (raises, "error")])
def test_other_faults_are_found(fuzzer, monkeypatch, spoil, kind):
    planted(monkeypatch, spoil)
    assert kind in {found.fault.kind for found in fuzzer.fuzz(1, range(100), engines=["interpreter"]).found}


def test_an_answer_where_the_interpreter_refuses_is_a_fault(fuzzer, monkeypatch):
    planted(monkeypatch, lambda made, *arguments, **named: (np.float64(1.0), {}))
    case = fuzzer.Case({"circuitflow": "1.0",
                        "nodes": [{"id": "x", "gate": "input"}, {"id": "f", "gate": "tanh", "inputs": ["x"]}],
                        "outputs": ["f"]}, wrt=())
    (fault,) = fuzzer.go(case, ["interpreter"], fuzzer.Tally())
    assert (fault.kind, "no value for input 'x'" in fault.sentence) == ("answer", True)


def test_a_circuit_where_rounding_matters_is_run_again_with_other_digits(fuzzer):
    """(x + 1e8) - 1e8 has eight digits left, so an answer may differ in the ninth, but not in the fifth."""
    from rounding import Reference, compare

    nodes = [{"id": "x", "gate": "input", "value": 0.7}, {"id": "k", "gate": "constant", "value": 1e8},
             {"id": "s", "gate": "add", "inputs": ["x", "k"]},
             {"id": "f", "gate": "sub", "inputs": ["s", "k"]}]
    case = fuzzer.Case({"circuitflow": "1.0", "nodes": nodes, "outputs": ["f"]})
    circuit = case.circuit()
    reference = Reference(case, case.calls[0], circuit, cf.Executor(circuit))
    right = float(reference.answer["value f"])
    assert compare(right, "value f", reference).explained is False
    assert compare(right + 1e-8, "value f", reference).explained is True
    assert compare(right + 1e-4, "value f", reference).difference is not None
    assert compare(np.nan, "value f", reference).difference is not None


@pytest.mark.long
def test_every_gate_is_drawn(fuzzer):
    drawn = set()
    for index in range(3000):
        case = fuzzer.draw_case(0, index, low=True)
        bodies = [case.document, *case.document.get("circuits", {}).values()]
        drawn.update(node["gate"] for body in bodies for node in body["nodes"])
        if cf.GATES.keys() <= drawn:
            break
    assert cf.GATES.keys() | {"call", "scan", "if", "checkpoint"} <= drawn
