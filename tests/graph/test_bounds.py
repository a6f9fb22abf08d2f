"""Bounds of parameters: arrays of their shape, and values that lie outside."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.graph.bounds import check_start
from support.documents import call, document, faults


def parameter(name="w", value=1, **keys):
    return {"id": name, "gate": "parameter", "value": value, **keys}


def bounded(*nodes, **rest):
    return document(*nodes, circuitflow="1.1", **rest)


def test_bounds_have_the_shape_and_dtype_of_the_value():
    circuit = cf.loads(bounded(
        parameter("a", [1, 2], min=[0, "-Infinity"], dtype="float32"), parameter("b", 3, max=3, frozen=True),
        parameter("c", {"random": "normal", "shape": [2, 3], "seed": 0}, min=-1, max=[[1, 2, 3], [1, 2, 3]]),
        parameter("d", 1), parameter("e", 2, min=None), parameter("g", {"data": [], "shape": [0, 2]}, min=0)))
    assert set(circuit.bounds) == {"a", "b", "c", "g"}
    assert circuit.frozen == {"b"}
    for name, sides in circuit.bounds.items():
        for side in sides:
            assert (side.shape, side.dtype) == (circuit.values[name].shape, circuit.values[name].dtype)
            assert not side.flags.writeable
    assert np.array_equal(circuit.bounds["a"], [[0, -math.inf], [math.inf, math.inf]])
    assert np.array_equal(circuit.bounds["b"], [-math.inf, 3])
    assert np.array_equal(circuit.bounds["c"], [np.full((2, 3), -1), [[1, 2, 3]] * 2])
    assert pickle.loads(pickle.dumps(circuit)).bounds["b"][1] == 3


def test_every_call_has_the_bounds_of_its_circuit():
    inner = {"nodes": [{"id": "x", "gate": "input"}, parameter(min=0, frozen=True),
                       {"id": "y", "gate": "mul", "inputs": ["x", "w"]}], "outputs": ["y"]}
    circuit = cf.loads(bounded("x = 1", call("f", "x"), call("g", "f"), circuits={"block": inner}))
    assert set(circuit.bounds) == circuit.frozen == {"f/w", "g/w"}


def test_a_run_does_not_look_at_them():
    plain = cf.loads(document("x = 2", parameter(), "f = mul(x, w)"))
    bound = cf.loads(bounded("x = 2", parameter(max=0, frozen=True), "f = mul(x, w)"))
    results = [cf.Executor(circuit).run() for circuit in (plain, bound)]
    assert results[0].gradients == results[1].gradients
    assert results[1].gradients["w"] == 2


@pytest.mark.parametrize(("node", "message", "pointer"), [
    (parameter(min=2, max=1), "its bounds cross: 'min' is 2, 'max' is 1; expected min ≤ max", "/max"),
    (parameter(value=[[1, 2]], min=[[0, 1.5]], max=1), "its bounds cross at [0, 1]: 'min' is 1.5, 'max' is 1; expected "
     "min ≤ max", "/max"),
    (parameter(value=[1, 2], min=[0, 2], max=[1, 1]), "its bounds cross at [1]: 'min' is 2, 'max' is 1; expected min ≤ "
     "max", "/max/1"),
    (parameter(value=[1, 2], max=[1, 2, 3]), "'max' has shape (3,); expected a number, or nested lists of shape (2,), "
     "as the value", "/max"),
    (parameter(min=[1]), "'min' has shape (1,); expected a number, or nested lists of shape (), as the value", "/min"),
    (parameter(value=[1, 2], min=[[1], 2]), "'min': 2 stands beside a list of 1; expected lists of equal length",
     "/min/1"),
    (parameter(value=[1, 2], max=[1, "x"]), "'max': \"x\" is text; expected a number without quotes, or \"NaN\", "
     "\"Infinity\" or \"-Infinity\"", "/max/1"),
    (parameter(min=True), "'min': true is not a float64; write a number", "/min"),
    (parameter(value=[1, 2], max=[1, "NaN"]), "'max' is NaN, so no value is allowed; write a number, or leave it out",
     "/max/1"),
    (parameter(min="Infinity"), "'min' is Infinity, so no value is allowed; write a number, or leave it out", "/min"),
    (parameter(max="-Infinity"), "'max' is -Infinity, so no value is allowed; write a number, or leave it out", "/max"),
    (parameter(max=2, dtype="int8"), "a parameter of dtype int8 has no bounds, because nothing can be fitted; make it "
     "float64, or take the bounds out", "/max"),
    (parameter(min=0, max=2, dtype="int8"), "a parameter of dtype int8 has no bounds, because nothing can be fitted; "
     "make it float64, or take the bounds out", "/min"),
    (parameter(min={"data": 1}), "'min' is an object with 'data'; expected a number, or nested lists of numbers in "
     "the parameter's shape", "/min"),
    (parameter(frozen=1), "'frozen' is 1; expected true or false", "/frozen"),
])
def test_bounds_at_fault(node, message, pointer):
    with pytest.raises(cf.DocumentError) as error:
        cf.loads(bounded(node))
    (fault,) = error.value.faults
    assert (fault.message, fault.pointer) == (f"node 'w': {message}", f"/nodes/0{pointer}")


def test_both_sides_are_told_at_once():
    assert len(faults(bounded(parameter(min="NaN", max="NaN")))) == 2


def test_a_value_outside_is_no_start():
    nodes = [parameter("a", 1, min=2), parameter("b", [1, 2], max=[1, 1]), parameter("c", "NaN", max=3),
             parameter("d", 5, max=1, frozen=True), parameter("e", 1, min=1, max=1), parameter("f", 7)]
    circuit = cf.loads(bounded(*nodes))
    with pytest.raises(cf.DocumentError) as error:
        check_start(circuit)
    assert [fault.message for fault in error.value.faults] == [
        "node 'a': its value is 1; expected a start between 'min' 2 and 'max' Infinity",
        "node 'b': its value at [1] is 2; expected a start between 'min' -Infinity and 'max' 1",
        "node 'c': its value is NaN; expected a start between 'min' -Infinity and 'max' 3"]
    assert [fault.pointer for fault in error.value.faults] == [f"/nodes/{i}/value" for i in range(3)]
    check_start(circuit.with_values({"a": 2, "b": [1, 1], "c": 3}))


def test_check_refuses_a_value_outside(circuitflow, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(bounded("x = 1", parameter(min=2), "f = mul(x, w)"))
    outcome = circuitflow("check", str(path))
    assert outcome.status == 2
    assert "x.json:1:118: node 'w': its value is 1; expected a start between 'min' 2 and 'max' Infinity" in outcome.err
