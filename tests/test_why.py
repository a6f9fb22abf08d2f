"""Whom `why` blames for a gradient, and what it suggests."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates.record import Note
from circuitflow.interpreter import opened, rerun
from circuitflow.interpreter.why import arguments, look_inside, suspects
from support.documents import call, circuit, document
from support.faulty_circuits import KINDS, UNITS, Planted, faulty, healthy, within
from support.suite import FILES


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


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "frozen"])
def test_a_planted_fault_inside_a_subcircuit_is_blamed_alone(kind, unit):
    for seed in range(2):
        subject, culprit = within(faulty(kind, seed), unit)
        found = why(subject, "x")
        assert (found.verdict, blamed(found), found.ok) == (KINDS[kind], {culprit}, False), str(found)


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_is_blamed_in_healthy_subcircuits(unit):
    for seed in range(10):
        found = why(within(Planted(healthy(seed), ""), unit).circuit, "x")
        assert (found.verdict, found.blamed) == ("healthy", ()), (seed, str(found))


def test_nothing_is_blamed_in_healthy_circuits():
    for seed in range(100):
        result = cf.Executor(healthy(seed)).run()
        for name in result.circuit.inputs:
            found = result.why(name)
            assert (found.verdict, found.blamed) == ("healthy", ()), (seed, str(found))


def test_suspects_are_at_least_those_with_something_to_blame():
    for subject in (*(faulty(kind, 5).circuit for kind in KINDS), *(healthy(seed) for seed in range(2))):
        result = cf.Executor(subject).run()
        found = {name for name in arguments(subject) if not result.why(name).ok}
        doubted = set(suspects(arguments(subject), result.values, result.gradients, result.upstream))
        assert found <= doubted
        assert "x" not in arguments(subject) or ("x" in found) == ("x" in doubted)


@pytest.mark.parametrize("upstream", [{"f": 1.0, "g": 1e-20}, {"f": 1e-20, "g": 1.0}, {"f": 0.0, "g": 1e-20},
                                      {"f": 1.0, "g": 1e-9}, {"f": 1e-20, "g": 1e20}])
def test_suspects_with_several_upstream_gradients(upstream):
    result = cf.Executor(cf.new("f = x * y\ng = z * 1e9", {"x": 2, "y": 3, "z": 4})).run(upstream=upstream)
    found = {name for name in "xyz" if not result.why(name).ok}
    assert found <= set(suspects("xyz", result.values, result.gradients, result.upstream))


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


def test_of_two_changes_as_large_the_one_up_is_named():
    """A square root of 0 cannot be lowered."""
    change = why(circuit("x = 0", "y = 0", "r = sqrt(x)", "f = mul(r, y)"), "y").change
    assert (change.node, change.shift) == ("r", 0.001)


def test_a_gradient_through_an_if_blames_the_gate_in_the_branch_that_ran():
    branch = {"nodes": [{"id": "a", "gate": "input"}, {"id": "y", "gate": "stop_gradient", "inputs": ["a"]}],
              "outputs": ["y"]}
    other = {"nodes": [{"id": "a", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["a"]}], "outputs": ["y"]}
    subject = circuit("x = 1", "zero = 0", "c = less(x, zero)",
                      {"id": "h", "gate": "if", "then": "live", "else": "dead",
                       "inputs": {"condition": "c", "a": "x"}}, "f = neg(h)",
                      circuits={"live": other, "dead": branch})
    found = why(subject, "x")
    assert (found.verdict, blamed(found)) == ("zero", {"h/else/y"})
    assert str(found.change) == "leave out 'h/else/y'"


def test_what_cannot_be_looked_into_is_refused():
    subject = circuit("x = 2", "f = exp(x)")
    with pytest.raises(cf.InputError, match="why: there is no 'y'"):
        why(subject, "y")
    with pytest.raises(cf.InputError, match="why: the run has no value of 'x'; run with cache=\"all\""):
        why(subject, "x", cache="needed")


def test_a_diagnosis_of_many_elements_counts_those_that_are_zero():
    x = {"id": "x", "gate": "input", "value": [-1, -2, 3]}
    diagnosis = why(circuit(x, "h = relu(x)", "f = reduce_sum(h)"), "x")
    assert "2 of 3 elements are 0" in str(diagnosis).splitlines()[0]


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


def test_only_outputs_that_the_gradient_flows_from_are_compared():
    subject = circuit("x = 1", "y = 1", "a = exp(x)", "n = neg(x)", "b = relu(n)", "c = exp(y)",
                      outputs=["a", "b", "c"])
    assert why(subject, "x", of=["a", "c"], upstream={"a": 1.0, "c": 1e12}).verdict == "healthy"
    assert why(subject, "x", of=["a", "c"], upstream={"a": 1e-20, "c": 1.0}).verdict == "healthy"
    found = why(subject, "x", of=["a", "b"], upstream={"a": 1e-20, "b": 1.0})
    assert (found.verdict, [(blame.node, blame.gate) for blame in found.blamed]) == ("vanishing", [("a", "output")])


def test_a_dead_end_of_one_output_of_a_gate_is_named():
    subject = circuit("x = [1, 2]", {"id": "s", "gate": "top_k", "inputs": ["x"], "k": 1}, "t = [3.0, 4.0]",
                      "g = gather(t, s.indices)", "f = reduce_sum(g)", outputs=["f"])
    assert [str(blame) for blame in why(subject, "s.values").blamed] == ["node 's.values': top_k does not lead to f"]
    assert blamed(why(subject, "x")) == {"g"}


@pytest.mark.parametrize("source", [{"gate": "input", "value": 1, "dtype": "int64"}, {"gate": "constant", "value": 1}])
def test_what_has_no_gradient_is_refused_where_it_leads_nowhere_too(source):
    with pytest.raises(cf.InputError, match="'i' is"):
        why(circuit("x = 2", {"id": "i", **source}, "f = exp(x)"), "i")


@pytest.mark.parametrize(("nodes", "cause"), [
    ([{"id": "e", "gate": "input", "value": {"data": [], "shape": [0]}}, "g = mul(x, e)", "f = reduce_sum(g)"],
     "mul has no elements"),
    (["v = [0, 0]", "b = add(x, v)", "g = softmax(b)", "f = reduce_sum(g)"],
     "softmax sends nothing of the gradient that arrives"),
    (["v = [1, -1]", "g = mul(x, v)", "f = reduce_sum(g)"], "mul sends nothing of the gradient that arrives"),
    (["t = 1e-200", "g = mul(x, t)", "f = mul(g, t)"], "mul underflows"),
    (["t = 1e-300", "z = -200", "e = exp(z)", "g = mul(x, t)", "f = mul(g, e)"], "mul underflows"),
    (["v = [0, 1]", "u = [1, 0]", "g = mul(x, v)", "h = mul(g, u)", "f = reduce_sum(h)"],
     "mul multiplies by 0 where the gradient arrives"),
    (["z = 0", "c = less(x, z)", "e = exp(x)", "g = where(c, e, z)", "f = exp(g)"], "where takes the other branch"),
    (["v = [[0]]", "b = add(x, v)", "g = softmax(b)", "f = reduce_sum(g)"], "softmax goes along axis -1, which has one "
                                                                           "element"),
])
def test_the_cause_is_in_words(nodes, cause):
    found = why(circuit("x = 3", *nodes), "x")
    assert found.verdict == "zero"
    assert cause in str(found)


def test_an_optimum_with_dead_elements_is_one():
    found = why(circuit("x = [3, -1]", "r = relu(x)", "t = [3, 0]", "d = sub(r, t)", "q = square(d)",
                        "f = reduce_sum(q)"), "x")
    assert (found.verdict, found.blamed) == ("stationary", ())


def test_an_infinity_that_does_no_harm_is_not_blamed():
    found = why(circuit("x = [1, 0]", 'm = ["-Infinity", 0]', "a = add(x, m)", "e = exp(a)", "o = [0, 1]",
                        "d = sub(e, o)", "s = sqrt(d)", "f = reduce_sum(s)"), "x")
    assert (found.verdict, blamed(found)) == ("not finite", {"s"})


def test_an_upstream_gradient_or_a_sum_that_is_not_finite_is_named():
    found = why(circuit("x = 1", "f = exp(x)"), "x", upstream={"f": float("nan")})
    assert [(blame.node, blame.gate) for blame in found.blamed] == [("f", "output")]
    found = why(circuit("x = 1", "w = 1e308", "a = mul(x, w)", "b = mul(x, w)", "n = neg(b)", "f = sub(a, n)"), "x")
    assert [(blame.node, blame.gate) for blame in found.blamed] == [("x", "fork")]


def test_a_factor_near_the_largest_float_is_written():
    assert "times 1e+306" in str(why(circuit("x = 705", "f = exp(x)"), "x"))


STEP = {"nodes": [{"id": "c", "gate": "input"}, {"id": "u", "gate": "input"}, {"id": "w", "gate": "input"},
                  {"id": "m", "gate": "mul", "inputs": ["c", "w"]}, {"id": "s", "gate": "add", "inputs": ["m", "u"]},
                  {"id": "n", "gate": "relu", "inputs": ["s"]}, {"id": "y", "gate": "tanh", "inputs": ["n"]}],
        "outputs": ["n", "y"]}


def recurrent(xs, reverse=False, body=STEP, outputs=("f",)):
    h = {"id": "h", "gate": "scan", "circuit": "step", "carry": {"c": "n"}, "over": ["u"], "reverse": reverse,
         "inputs": {"c": "c0", "u": "x", "w": "w"}}
    return circuit(f"x = {xs}", "c0 = 1", "w = 0.5", h, "f = exp(h.n)", outputs=list(outputs), circuits={"step": body})


@pytest.mark.parametrize(("xs", "reverse", "wrt", "where"), [
    ([-5, 1, 2], False, "c0", "(h[0]/s = -4.5) at position 0 of 3"),
    ([-5, 1, 2], True, "c0", "(h[0]/s = -3.875) at position 0 of 3"),
    ([1, -6, 2], False, "c0", "(h[1]/s = -5.25) at position 1 of 3"),
    ([-5, -6, -7], False, "c0", "(h[0]/s = -4.5) at position 0 of 3, and sends nothing back at 3"),
    ([-5, -6, -7], False, "w", "(h[2]/s = -7) at position 2 of 3, and sends nothing back at 3"),
])
def test_blame_in_a_scan_has_its_positions(xs, reverse, wrt, where):
    found = why(recurrent(xs, reverse), wrt)
    assert found.verdict == "zero"
    assert [str(blame) for blame in found.blamed] == [f"node 'h/n': relu is inactive {where}"]


def test_a_change_inside_a_scan_is_one_at_all_positions():
    change = why(recurrent([-5, -6, -7]), "w").change
    assert (change.node, change.shift) == ("h/s", 7.1)
    mended = json.loads(json.dumps(STEP))
    mended["nodes"][5:5] = [{"id": "k", "gate": "constant", "value": 7.1}, {"id": "t", "gate": "add",
                                                                             "inputs": ["s", "k"]}]
    mended["nodes"][7]["inputs"] = ["t"]
    assert why(recurrent([-5, -6, -7], body=mended), "w").gradient == pytest.approx(change.gradient, rel=1e-9)


def test_a_share_of_positions_is_reported():
    (share,) = why(recurrent([-5, -6, 7]), "x").blamed
    assert (share.node, share.killed, share.elements) == ("h/n", 1, 1)
    assert "at position 1 of 3" in share.cause  # and none arrives at position 0


def test_a_scan_of_no_position_and_one_of_too_many_are_one_gate(monkeypatch):
    empty = {"id": "x", "gate": "input", "value": {"data": [], "shape": [0]}}
    subject = recurrent([0])
    assert blamed(why(circuit(empty, *json.loads(cf.dumps(subject))["nodes"][1:], outputs=["f"],
                              circuits={"step": STEP}), "w")) == {"h"}
    monkeypatch.setattr(opened, "MOST_NODES", 10)
    assert blamed(why(recurrent([-5, -6, -7]), "w")) == {"h"}


def test_what_a_scan_makes_no_use_of_is_said():
    idle = {"nodes": [{"id": "c", "gate": "input"}, {"id": "u", "gate": "input"}, {"id": "w", "gate": "input"},
                      {"id": "n", "gate": "mul", "inputs": ["c", "w"]}], "outputs": ["n"]}
    found = why(circuit("x = [1, 2]", "c0 = 1", "w = 0.5", {
        "id": "h", "gate": "scan", "circuit": "step", "carry": {"c": "n"}, "over": ["u"],
        "inputs": {"c": "c0", "u": "x", "w": "w"}}, "f = exp(h)", circuits={"step": idle}), "x")
    assert (found.verdict, blamed(found), found.change) == ("zero", {"h"}, None)


def test_what_the_branch_that_ran_does_not_take_is_said():
    one, other = ({"nodes": [{"id": "a", "gate": "input"}, {"id": "b", "gate": "input"},
                             {"id": "y", "gate": "exp", "inputs": [taken]}], "outputs": ["y"]} for taken in "ab")
    subject = circuit("x = 1", "z = 2", "c = less(x, z)",
                      {"id": "h", "gate": "if", "then": "one", "else": "other",
                       "inputs": {"condition": "c", "a": "z", "b": "x"}}, "f = neg(h)",
                      circuits={"one": one, "other": other})
    found = why(subject, "x")
    assert [str(blame) for blame in found.blamed] == ["node 'h': if takes the other branch (h/then/y = 7.38906, x = 1)"]
    assert blamed(why(subject, "z")) == set()


@pytest.mark.parametrize("path", [path for path in FILES if re.search('"(scan|if|checkpoint)"', path.read_text())],
                         ids=lambda path: path.stem)
def test_what_is_inside_of_subcircuits_gives_the_same_gradient(path):
    result = cf.Executor(cf.load(path)).run()
    for name in result.circuit.inputs:
        if name not in result.gradients:
            continue
        sweep = rerun.Sweep.of(result.circuit, list(result.outputs), name, result.values,
                               {text: np.ones_like(value) for text, value in result.outputs.items()})
        _, inside = look_inside(result.circuit, sweep, result.values)
        assert not any(step.node.gate is None and step.receivers for step in inside.plan.steps)
        np.testing.assert_allclose(inside.gradient, sweep.gradient, rtol=1e-9, atol=1e-12 * np.abs(
            sweep.gradient).max())


def test_a_subcircuit_is_blamed_only_for_what_it_stops_itself():
    inner = {"nodes": [{"id": "a", "gate": "input"}, {"id": "b", "gate": "input"},
                       {"id": "s", "gate": "stop_gradient", "inputs": ["a"]}, {"id": "y", "gate": "add",
                                                                               "inputs": ["s", "b"]}],
             "outputs": ["y"]}
    h = {**call("h", "p", "q"), "gate": "checkpoint"}
    stops = why(circuit("x = 1", "p = neg(x)", "q = 2", h, "f = exp(h)", circuits={"block": inner}), "x")
    assert (stops.verdict, [str(blame) for blame in stops.blamed]) == (
        "zero", ["node 'h/s': stop_gradient lets no gradient through (p = -1)"])
    before = why(circuit("x = 1", "p = floor(x)", "q = ceil(x)", h, "f = exp(h)", circuits={"block": inner}), "x")
    assert (before.verdict, blamed(before)) == ("zero", {"p", "q"})


def test_a_gate_that_refuses_other_values_is_blamed_without_a_change():
    def forward(xp, x):
        if x != 1:
            raise ValueError("only 1")
        return x

    gate = cf.Gate("only", "", ("x",), lambda x: x, forward, lambda op, g, out, x: (op.zeros_like(g),))
    found = why(circuit("x = 1", "f = only(x)", gates={**cf.GATES, "only": gate}), "x")
    assert (found.verdict, blamed(found), found.change) == ("zero", {"f"}, None)


def test_numbers_of_every_size_are_looked_at():
    """Without a warning of NumPy, which a test run takes for an error."""
    for x, y in [(5e-324, 0.0), (-1e300, 1e308), (float("inf"), float("-inf")), (float("nan"), 0.0)]:
        for gate in ("max", "mul", "div", "log_add_exp"):
            json.dumps(why(circuit(
                {"id": "x", "gate": "input", "value": 0}, {"id": "y", "gate": "input", "value": 0}, f"g = {gate}(x, y)",
                "f = relu(g)"), "x", inputs={"x": x, "y": y}).to_dict(), allow_nan=False)


def test_gates_that_only_move_elements_are_not_reported():
    found = why(circuit("x = [1, -2, 3]", {"id": "p", "gate": "flip", "inputs": ["x"]}, "r = relu(p)",
                        "f = reduce_sum(r)"), "x")
    assert blamed(found) == {"r"}


def test_a_change_is_in_words():
    words = {"raise": ["x = 2", "w = -5", "s = add(x, w)", "f = relu(s)"], "lower": ["x = 800", "f = sigmoid(x)"],
             "leave out": ["x = 2", "f = stop_gradient(x)"]}
    for verb, nodes in words.items():
        assert f"smallest change: {verb} '" in str(why(circuit(*nodes), "x"))


def test_a_fork_where_contributions_nearly_cancel_is_blamed():
    found = why(circuit("x = 2", "w = 1.000000000001", "a = mul(x, w)", "f = sub(a, x)"), "x")
    assert (found.verdict, [(blame.node, blame.gate) for blame in found.blamed]) == ("vanishing", [("x", "fork")])


def test_a_gate_that_stops_what_never_arrives_stays():
    found = why(circuit("x = -2", "s = stop_gradient(x)", "f = relu(s)"), "x")
    assert (found.verdict, blamed(found), found.change) == ("zero", {"s"}, None)


def test_an_output_that_is_no_float_has_no_upstream_gradient():
    found = why(circuit("x = 3", "y = 2", "f = less(x, y)"), "x")
    assert (found.verdict, blamed(found), found.upstream) == ("zero", {"f"}, 0.0)


def test_a_row_says_why_it_is_dead():
    mine = {**cf.GATES, "relu": cf.GATES["relu"].stating(cf.Facets(note=Note("", dead="sleeps")))}
    blame, = cf.Executor(cf.new("f = relu(x)", {"x": -1.0}, gates=mine)).run().why("x").blamed
    assert blame.cause == "sleeps (x = -1)"


@pytest.mark.parametrize(("text", "node", "shift"), [
    ("f = relu(x - w)", "w", -2.1), ("f = relu(neg(w) + x)", "x", 2.1),
    ("f = relu(mean(w, x) - 9)", "sub", 7.1)])
def test_a_change_of_a_parameter_goes_before_one_of_what_it_is_added_to(text, node, shift):
    change = cf.Executor(cf.new(text, {"x": 1.0, "w": 3.0}, parameters=["w"])).run().why("w").change
    assert (change.node, change.shift) == (node, shift)
