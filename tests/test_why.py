"""Whom `why` blames for a gradient, and what it suggests."""

from __future__ import annotations

import json

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.interpreter import rerun
from support.documents import call, circuit, document
from support.faulty_circuits import KINDS, faulty, healthy


def why(subject, wrt, **options):
    return cf.Executor(subject).run(**options).why(wrt)


def blamed(diagnosis):
    return {blame.node for blame in diagnosis.blamed}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_is_blamed_alone(kind, seed):
    subject, culprit = faulty(kind, seed)
    found = why(subject, "x")
    assert (found.verdict, blamed(found), found.ok) == (KINDS[kind], {culprit}, False)


def test_nothing_is_blamed_in_healthy_circuits():
    for seed in range(100):
        result = cf.Executor(healthy(seed)).run()
        for name in result.circuit.inputs:
            found = result.why(name)
            assert (found.verdict, found.blamed) == ("healthy", ()), (seed, str(found))


def test_two_culprits_in_parallel_are_both_blamed():
    found = why(circuit("x = 2", "a = stop_gradient(x)", "n = neg(x)", "b = relu(n)", "f = add(a, b)"), "x")
    assert (found.verdict, blamed(found)) == ("zero", {"a", "b"})


def test_one_gate_that_all_paths_meet_at_is_blamed_alone():
    found = why(circuit("x = 2", "h = neg(x)", "a = relu(h)", "b = relu(h)", "c = add(a, b)", "f = stop_gradient(c)"),
                "x")
    assert (found.verdict, blamed(found)) == ("zero", {"f"})


def test_a_culprit_inside_a_call_has_its_path():
    inner = {"nodes": [{"id": "a", "gate": "input"}, {"id": "w", "gate": "parameter", "value": -1},
                       {"id": "s", "gate": "add", "inputs": ["a", "w"]},
                       {"id": "y", "gate": "relu", "inputs": ["s"]}], "outputs": ["y"]}
    subject = circuit("x = 0", call("h", "x"), "f = exp(h)", circuits={"block": inner})
    for name in ("x", "h/w"):
        found = why(subject, name)
        assert (found.verdict, blamed(found)) == ("zero", {"h/y"})
        assert found.change.node in ("x", "h/w")


def test_a_dead_branch_beside_one_that_lives_is_not_blamed():
    found = why(circuit("x = 2", "n = neg(x)", "a = relu(n)", "b = exp(x)", "f = add(a, b)"), "x")
    assert (found.verdict, found.blamed) == ("healthy", ())


def test_rows_that_are_dead_are_a_share():
    found = why(circuit("x = [3, -1, -2, 5]", "r = relu(x)", "f = reduce_sum(r)"), "x")
    (share,) = found.blamed
    assert (found.verdict, found.ok, found.zeros, found.elements) == ("healthy", True, 2, 4)
    assert (share.node, share.killed, share.elements) == ("r", 2, 4)


@pytest.mark.parametrize(("expression", "x"), [("f = (x - 3)**2", 3.0), ("f = cos(x)", 0.0), ("f = x * x", 0.0),
                                               ("f = reduce_sum((x - 1)**2)", [1.0, 1.0]), ("f = abs(x)", 0.0)])
def test_no_gate_is_blamed_at_an_optimum(expression, x):
    found = why(cf.new(expression, {"x": x}), "x")
    assert (found.verdict, found.ok, found.blamed) == ("stationary", True, ())


def test_contributions_that_cancel_name_the_fork():
    found = why(circuit("x = 2", "n = neg(x)", "s = sin(x)", "f = add(n, x, s)"), "x")
    assert found.verdict == "healthy"
    found = why(circuit("x = 2", "n = neg(x)", "f = add(n, x)"), "x")
    assert (found.verdict, [(blame.node, blame.gate) for blame in found.blamed]) == ("zero", [("x", "fork")])


def test_an_upstream_gradient_of_zero_is_named():
    found = why(circuit("x = 2", "f = exp(x)"), "x", upstream={"f": 0.0})
    assert (found.verdict, [(blame.node, blame.gate) for blame in found.blamed]) == ("zero", [("f", "output")])


def test_a_value_that_was_not_finite_already_is_named():
    found = why(circuit('y = ["Infinity"]', "x = [2]", "p = mul(x, y)", "f = reduce_sum(p)"), "x")
    assert (found.verdict, blamed(found)) == ("not finite", {"y"})


def test_a_slope_that_is_infinite_is_blamed_where_the_value_is_finite():
    found = why(circuit("x = 0", "s = sqrt(x)", "f = neg(s)"), "x")
    assert (found.verdict, blamed(found), found.change.node) == ("not finite", {"s"}, "x")


def test_a_deep_chain_names_as_many_factors_as_it_takes():
    subject = circuit("x = 0", *(f"s{i} = sigmoid({f's{i - 1}' if i else 'x'})" for i in range(20)))
    found = why(subject, "x")
    assert found.verdict == "vanishing"
    product = found.gradient
    for i, blame in enumerate(found.blamed):  # without all of these factors, not with one more
        assert product < 1e-8, i
        product *= blame.upstream / blame.sent
    assert product >= 1e-8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 3])
def test_a_change_gives_a_healthy_gradient(kind, seed):
    """It is put into the document, where it is at a source, and the run is another one."""
    subject, _ = faulty(kind, seed)
    change = why(subject, "x").change
    if change is None or change.shift is None or not subject.nodes[change.node].is_source:
        return
    value = np.asarray(subject.values[change.node]) + change.shift
    found = why(subject.with_values({change.node: value}), "x")
    assert found.verdict == "healthy"
    assert found.gradient == pytest.approx(change.gradient, rel=1e-6)


def test_changes_are_found_for_most_faults():
    found = {kind for kind in KINDS if why(faulty(kind, 1).circuit, "x").change is not None}
    assert found >= {"saturated sigmoid", "dead relu", "stop_gradient", "zero factor", "overflow", "division by zero",
                     "clip", "max"}


def test_a_gradient_through_a_scan_or_an_if_blames_the_node():
    branch = {"nodes": [{"id": "a", "gate": "input"}, {"id": "y", "gate": "stop_gradient", "inputs": ["a"]}],
              "outputs": ["y"]}
    other = {"nodes": [{"id": "a", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["a"]}], "outputs": ["y"]}
    subject = circuit("x = 1", "zero = 0", "c = less(x, zero)",
                      {"id": "h", "gate": "if", "then": "live", "else": "dead",
                       "inputs": {"condition": "c", "a": "x"}}, "f = neg(h)",
                      circuits={"live": other, "dead": branch})
    found = why(subject, "x")
    assert (found.verdict, blamed(found)) == ("zero", {"h"})


def test_what_cannot_be_looked_into_is_refused():
    subject = circuit("x = 2", "f = exp(x)")
    with pytest.raises(cf.InputError, match="why: there is no 'y'"):
        why(subject, "y")
    with pytest.raises(cf.InputError, match="why: the run has no value of 'x'; run with cache=\"all\""):
        why(subject, "x", cache="needed")


def test_a_diagnosis_is_json():
    found = why(circuit("x = 0", "l = log(x)", "f = neg(l)"), "x").to_dict()
    assert json.loads(json.dumps(found, allow_nan=False))["blamed"][0]["node"] == "l"


def test_ten_thousand_gates_take_a_few_runs(monkeypatch):
    """Counted in gates that are applied: of the passes, of the tries of each gate, and of changes."""
    applied = []
    real = rerun.apply
    monkeypatch.setattr(rerun, "apply", lambda *arguments: applied.append(1) or real(*arguments))
    chain = [f"h{i} = tanh(h{i - 1})" for i in range(1, 10_000)]
    subject = circuit("x = 1", "h0 = neg(x)", *chain, "f = relu(h9999)", limits=cf.Limits())
    found = why(subject, "x")
    assert (found.verdict, blamed(found)) == ("zero", {"f"})
    assert len(applied) < 8 * len(subject.nodes)


def test_the_command_says_no_and_yes(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(document("x = 2", "y = 1", "s = stop_gradient(x)", "f = mul(s, y)"))
    outcome = circuitflow("why", str(path))
    assert (outcome.status, outcome.err) == (1, "")
    assert "node 's': stop_gradient lets no gradient through" in outcome.out
    assert circuitflow("why", str(path), "--wrt", "y").status == 0
    found = circuitflow("why", str(path), "--json")
    assert found.status == 1
    assert [(row["wrt"], row["verdict"]) for row in json.loads(found.out)["gradients"]] == [("x", "zero"),
                                                                                          ("y", "healthy")]
    assert circuitflow("why", str(path), "--wrt", "z").status == 2


def test_only_some_of_many_gradients_are_looked_into(circuitflow, tmp_path):
    path = tmp_path / "c.json"
    names = [f"x{i}" for i in range(20)]
    path.write_text(document(*(f"{name} = 1" for name in names), f"s = add({', '.join(names)})",
                             "f = stop_gradient(s)"))
    outcome = circuitflow("why", str(path))
    assert outcome.status == 1
    assert outcome.out.endswith("… 8 more; --wrt names those to look into\n")
