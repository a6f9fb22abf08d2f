"""Nodes that apply circuits as a unit: scan, if and checkpoint, run and differentiated, with JAX as the oracle."""

from __future__ import annotations

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitflow as cf
from support.derivatives import SCHEMA, agrees, values
from support.documents import call, circuit, document, faults
from support.random_circuits import is_valid_or_has_faults
from support.slices import few
from support.suite import ROOT


def inputs(*names: str) -> list[dict]:
    return [{"id": name, "gate": "input"} for name in names]


def gate(text: str) -> dict:
    return json.loads(document(text))["nodes"][0]


STEP = {"nodes": [*inputs("h", "x", "W", "U"), gate("a = matmul(h, W)"), gate("b = matmul(x, U)"),
                  gate("s = add(a, b)"),
                  gate("next = tanh(s)"), gate("y = square(next)")], "outputs": ["next", "y"]}
ARRAYS = {name: np.random.RandomState(i).standard_normal(shape)
          for i, (name, shape) in enumerate({"h0": 3, "xs": (5, 2), "W": (3, 3), "U": (2, 3)}.items())}
PARAMETERS = [{"id": name, "gate": "parameter", "value": value.tolist()} for name, value in ARRAYS.items()]
SCAN = {"id": "r", "gate": "scan", "circuit": "step", "carry": {"h": "next"}, "over": ["x"],
        "inputs": {"h": "h0", "x": "xs", "W": "W", "U": "U"}}


def rnn(**attributes) -> cf.Circuit:
    return circuit(*PARAMETERS, {**SCAN, **attributes}, "e = reduce_sum(r.next)", "f = reduce_sum(r.y)",
                   "g = add(e, f)",
                   circuits={"step": STEP}, outputs=["g"])


def jax_rnn(reverse: bool):
    def function(h0, xs, W, U):
        def step(h, x):
            following = jnp.tanh(h @ W + x @ U)
            return following, following**2

        last, ys = jax.lax.scan(step, h0, xs, reverse=reverse)
        return last.sum() + ys.sum()

    return function


@pytest.mark.sliced
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cache", [1, 2, 5, 100])
def test_a_scan_equals_jax_to_second_order(reverse, cache):
    c, function = rnn(reverse=reverse, cache=cache), jax_rnn(reverse)
    value, expected = jax.value_and_grad(function, (0, 1, 2, 3))(*ARRAYS.values())
    result = cf.Executor(c).run()
    np.testing.assert_allclose(result.outputs["g"], value, rtol=1e-13)
    assert result.values["r/h"].shape == (-(-5 // cache), 3)
    for name, theirs in zip(ARRAYS, expected, strict=True):
        np.testing.assert_allclose(result.gradients[name], theirs, rtol=1e-10, atol=1e-12)
    agrees(c)
    directions = {f"{name}_dot": np.cos(np.arange(value.size)).reshape(value.shape) for name, value in ARRAYS.items()}
    _, second = jax.jvp(jax.grad(function, (0, 1, 2, 3)), tuple(ARRAYS.values()), tuple(directions.values()))
    for found, theirs in zip(values(cf.hvp(c), directions).values(), second, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-9, atol=1e-11)


def test_the_check_goes_through_a_scan():
    assert cf.check(rnn()).ok
    assert cf.check(cf.gradient(rnn(), wrt="W"), upstream={"dW": np.ones((3, 3))}).ok
    wrong = {**cf.GATES, "tanh": cf.GATES["tanh"].__class__(**{
        **{f: getattr(cf.GATES["tanh"], f) for f in ("formula", "summary", "operands", "shape", "forward", "symbol",
                                                     "reads")},
        "backward": (lambda op, g, out, x: g,)})}
    report = cf.check(circuit(*PARAMETERS, SCAN, "f = reduce_sum(r.y)", circuits={"step": STEP}, gates=wrong))
    assert not report.ok
    assert next(blamed.gate for blamed in report.blamed) == "scan"


def test_the_gradient_of_a_scan_is_a_scan_in_the_opposite_direction():
    made = json.loads(cf.dumps(agrees(rnn())))
    scans = [node for node in made["nodes"] if node["gate"] == "scan"]
    assert [scan.get("reverse", False) for scan in scans] == [False, True]
    assert scans[0]["circuit"] == "step_with_carry"
    assert scans[1]["over"] == ["h", "x", "dy_here"]
    assert list(made["circuits"]) == ["step_with_carry", "step_gradient", "step_gradient_step"]
    again = json.loads(cf.dumps(agrees(rnn(reverse=True, cache=3))))
    assert [scan.get("reverse", False) for scan in again["nodes"] if scan["gate"] == "scan"] == [True, False]


def test_a_scan_over_nothing_gives_back_its_carry():
    c = circuit({"id": "xs", "gate": "input", "shape": ["n", 2]}, *[p for p in PARAMETERS if p["id"] != "xs"], SCAN,
                "e = reduce_sum(r.next)", "f = reduce_sum(r.y)", "g = add(e, f)", circuits={"step": STEP},
                outputs=["g", "r.y"])
    result = cf.Executor(c).run({"xs": np.zeros((0, 2))}, of="g")
    np.testing.assert_allclose(result.outputs["g"], ARRAYS["h0"].sum())
    np.testing.assert_array_equal(result.gradients["h0"], np.ones(3))
    np.testing.assert_array_equal(result.gradients["W"], np.zeros((3, 3)))
    assert result.gradients["xs"].shape == (0, 2)
    assert cf.Executor(c).forward({"xs": np.zeros((0, 2))}).outputs["r.y"].shape == (0, 3)
    agrees(c, {"xs": np.zeros((0, 2))}, of="g")
    agrees(c, {"xs": ARRAYS["xs"]}, of="g")


def test_a_scan_without_a_carry_is_a_map():
    body = {"nodes": [*inputs("x"), gate("y = exp(x)")], "outputs": ["y"]}
    c = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]},
                {"id": "m", "gate": "scan", "circuit": "body", "over": ["x"], "inputs": ["x"]}, "f = reduce_sum(m)",
                circuits={"body": body})
    np.testing.assert_allclose(values(agrees(c))["dx"], np.exp([1, 2, 3]))


def test_a_scan_whose_gradient_reads_nothing_knows_how_often():
    """h' = h + c: nothing of the forward pass is read on the way back, but the gradient on c adds up once a step."""
    body = {"nodes": [*inputs("h", "x", "c"), gate("after = add(h, c)")], "outputs": ["after"]}
    c = circuit("h0 = 1", "c = 2", {"id": "xs", "gate": "input", "value": [0, 0, 0], "dtype": "int64"},
                {"id": "r", "gate": "scan", "circuit": "body", "carry": {"h": "after"}, "over": ["x"],
                 "inputs": ["h0", "xs", "c"]},
                circuits={"body": body})
    assert values(agrees(c)) == {"dh0": 1, "dc": 3}


def test_a_scan_over_integers_with_a_carry_of_integers():
    """The rows of a table that are chosen, weighted by a counter."""
    body = {"nodes": [*inputs("n", "i", "table", "one"), gate("row = gather(table, i)"), gate("after = add(n, one)"),
                      {"id": "w", "gate": "cast", "inputs": ["n"], "dtype": "float64"}, gate("y = mul(row, w)")],
            "outputs": ["after", "y"]}
    c = circuit({"id": "table", "gate": "parameter", "value": [[1, 2], [3, 4], [5, 6]]},
                {"id": "ids", "gate": "input", "value": [2, 0, 2, 1], "dtype": "int64"},
                *({"id": name, "gate": "constant", "value": value, "dtype": "int64"} for name,
                  value in (("start", 10), ("one", 1))),
                {"id": "r", "gate": "scan", "circuit": "body", "carry": {"n": "after"}, "over": ["i"],
                 "inputs": ["start", "ids", "table", "one"]}, "f = reduce_sum(r.y)", circuits={"body": body},
                outputs=["f", "r.after"])
    result = cf.Executor(c).run(of="f")
    np.testing.assert_array_equal(result.gradients["table"], [[11, 11], [13, 13], [22, 22]])
    assert cf.Executor(c).forward().outputs["r.after"] == 14
    agrees(c, of="f")


def test_scans_in_scans_and_calls_in_scans():
    inner = {"nodes": [*inputs("c", "x", "w"), gate("p = mul(c, w)"), gate("after = add(p, x)")], "outputs": ["after"]}
    outer = {"nodes": [*inputs("total", "row", "w"),
                       {"id": "in", "gate": "scan", "circuit": "inner", "carry": {"c": "after"}, "over": ["x"],
                        "inputs": ["total", "row", "w"]}, call("s", "in", gate="squash")], "outputs": ["s"]}
    squash = {"nodes": [*inputs("x"), gate("y = tanh(x)")], "outputs": ["y"]}
    x = np.random.RandomState(0).standard_normal((3, 4))
    c = circuit({"id": "x", "gate": "input", "value": x.tolist()}, {"id": "w", "gate": "parameter", "value": 0.7},
                {"id": "zero", "gate": "constant", "value": 0},
                {"id": "f", "gate": "scan", "circuit": "outer", "carry": {"total": "s"}, "over": ["row"],
                 "inputs": ["zero", "x", "w"]},
                circuits={"inner": inner, "outer": outer, "squash": squash})

    def function(x, w):
        def step(total, row):
            total = jax.lax.scan(lambda c, x: (c * w + x, None), total, row)[0]
            return jnp.tanh(total), None

        return jax.lax.scan(step, 0.0, x)[0]

    expected = jax.grad(function, (0, 1))(x, 0.7)
    gradient = agrees(c)
    for found, theirs in zip(values(gradient).values(), expected, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-11)
    hessian = values(cf.hessian(c))
    theirs = jax.hessian(function, (0, 1))(x, 0.7)
    for name, block in zip(("ddx_dx", "ddx_dw", "ddw_dx", "ddw_dw"), (theirs[i][j] for i in (0, 1) for j in (0, 1)),
                           strict=True):
        np.testing.assert_allclose(hessian[name], block, rtol=1e-9, atol=1e-11)


UP = {"nodes": [*inputs("x", "w"), gate("y = mul(x, w)"), gate("z = exp(y)")], "outputs": ["y", "z"]}
DOWN = {"nodes": [*inputs("x", "v"), gate("z = sin(x)"), gate("y = sub(z, v)")], "outputs": ["z", "y"]}


def choice(**more) -> cf.Circuit:
    return circuit("x = 0.5", "w = 2", "v = 3", "limit = 0", "c = greater(x, limit)",
                   {"id": "i", "gate": "if", "then": "up", "else": "down",
                    "inputs": {"condition": "c", "x": "x", "w": "w", "v": "v"}},
                   "p = mul(i.y, i.z)", "f = add(p, i.z)", circuits={"up": UP, "down": DOWN}, **more)


@pytest.mark.parametrize("x", [0.5, -0.5])
def test_an_if_runs_one_circuit_and_differentiates_that(x):
    def function(x, w, v):
        y, z = (x * w, jnp.exp(x * w)) if x > 0 else (jnp.sin(x) - v, jnp.sin(x))
        return y * z + z

    gradient = agrees(choice(), {"x": x})
    expected = jax.grad(function, (0, 1, 2))(x, 2.0, 3.0)
    np.testing.assert_allclose([values(gradient, {"x": x})[f"d{name}"] for name in "xwv"], expected, rtol=1e-13)
    second = values(cf.hvp(choice(), wrt=["x", "w", "v"]), {"x": x, "x_dot": 1, "w_dot": 0.5, "v_dot": -1})
    theirs = jax.jvp(jax.grad(function, (0, 1, 2)), (x, 2.0, 3.0), (1.0, 0.5, -1.0))[1]
    np.testing.assert_allclose([second[f"d{name}_dot"] for name in "xwv"], theirs, rtol=1e-12, atol=1e-14)
    assert cf.check(choice(), {"x": x}).ok


def test_the_circuit_that_is_not_chosen_does_not_run():
    bad = {"nodes": [*inputs("x", "i"), gate("y = gather(x, i)")], "outputs": ["y"]}
    good = {"nodes": [*inputs("x"), {"id": "y", "gate": "reduce_sum", "inputs": ["x"]}], "outputs": ["y"]}
    c = circuit({"id": "x", "gate": "input", "value": [1, 2]},
                {"id": "i", "gate": "input", "value": 7, "dtype": "int64"},
                {"id": "c", "gate": "input", "value": False},
                {"id": "f", "gate": "if", "then": "bad", "else": "good",
                 "inputs": {"condition": "c", "x": "x", "i": "i"}},
                circuits={"bad": bad, "good": good})
    result = cf.Executor(c).run()
    assert result.outputs == {"f": 3}
    agrees(c)
    with pytest.raises(cf.GateError, match="node 'f/then/y': gather: index 7 is out of range for axis 0 of size 2"):
        cf.Executor(c).run({"c": True})


def test_a_checkpoint_equals_a_call_and_stays_one():
    block = {"nodes": [*inputs("x", "w"), gate("p = mul(x, w)"), gate("y = tanh(p)"), gate("z = exp(p)")],
             "outputs": ["y", "z"]}

    def made(kind: str) -> cf.Circuit:
        return circuit("x = 0.5", "w = 2", {"id": "b", "gate": kind, "circuit": "block", "inputs": ["x", "w"]},
                       "f = mul(b.y, b.z)", circuits={"block": block})

    kept, computed_again = cf.Executor(made("call")).run(), cf.Executor(made("checkpoint")).run()
    assert "b/p" in kept.values
    assert "b/p" not in computed_again.values
    for name in ("x", "w"):
        assert kept.gradients[name] == computed_again.gradients[name]
    gradient = agrees(made("checkpoint"))
    assert [node["gate"] for node in json.loads(cf.dumps(gradient))["nodes"] if "circuit" in node] == ["checkpoint"] * 2
    agrees(gradient, of="dx")


@pytest.mark.parametrize("library", ["array_api_strict", "jax", "torch"])
def test_arrays_of_other_libraries_go_through(library):
    if library == "torch":
        pytest.importorskip("torch", reason="torch is not installed: it is too large to be a dependency of the tests")
    xp = {"array_api_strict": "array_api_strict", "jax": "jax.numpy", "torch": "torch"}[library]
    asarray = importlib.import_module(xp).asarray
    half = {"nodes": [*inputs("x"), {"id": "c", "gate": "constant", "value": 0.5}, gate("y = mul(x, c)")],
            "outputs": ["y"]}
    c = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]},
                {"id": "m", "gate": "scan", "circuit": "half", "over": ["x"], "inputs": ["x"]},
                {"id": "k", "gate": "checkpoint", "circuit": "half", "inputs": ["m"]}, "f = reduce_sum(k)",
                circuits={"half": half})
    result = cf.Executor(c).run({"x": asarray(np.array([1.0, 2, 3]))})
    np.testing.assert_array_equal(np.asarray(result.gradients["x"]), [0.25] * 3)
    assert type(result.outputs["f"]) is type(asarray(np.zeros(())))


def scan(**changes) -> list[str]:
    return faults(document(*PARAMETERS, {**SCAN, **changes}, "f = reduce_sum(r.y)", circuits={"step": STEP}))


@pytest.mark.parametrize(("changes", "message"), [
    ({"over": ["z"]}, "node 'r': over: circuit 'step' has no input 'z'; it has 'h', 'x', 'W', 'U'"),
    ({"over": ["h"]}, "node 'r': over: input 'h' is carried; an input is carried or taken apart, once"),
    ({"over": ["x", "x"]}, "node 'r': over: input 'x' stands twice; an input is carried or taken apart, once"),
    ({"over": []}, "node 'r': 'over' is an empty list; expected 1 or more items"),
    ({"carry": {"k": "next"}}, "node 'r': carry: circuit 'step' has no input 'k'; it has 'h', 'x', 'W', 'U'"),
    ({"carry": {"h": "nxt"}}, "node 'r': carry: circuit 'step' has no output 'nxt'; did you mean 'next'?"),
    ({"carry": {"h": "next", "x": "next"}, "over": ["U"]},
     "node 'r': carry: output 'next' is the next value of two inputs"),
    ({"carry": {"h": "y"}}, None),
    ({"carry": {"W": "next"}},
     "node 'r': scan needs a carry that keeps its type: W is float64 (3, 3), its next value next is "
                               "float64 (3,)"),
    ({"over": ["x", "W"]}, "node 'r': scan goes over axes of equal size; x has 5, W has 3"),
    ({"circuit": "stepp"}, "node 'r': there is no circuit \"stepp\"; did you mean 'step'?"),
    ({"inputs": {"h": "h0", "x": "xs", "W": "W"}},
     "node 'r': scan takes 4 operands (h, x, W, U); it has 3; missing: 'U'"),
    ({"cache": 0}, "node 'r': 'cache' is 0; expected 1 or more"),
])
def test_faults_of_a_scan(changes, message):
    found = scan(**changes)
    if message is None:
        assert found == []
    else:
        assert message in "\n".join(found)


def test_faults_of_an_if_and_of_what_runs_as_a_unit():
    def found(*nodes, **circuits):
        return faults(document("x = 1", *nodes, outputs=[nodes[-1]["id"]] if isinstance(nodes[-1], dict) else None,
                               circuits=circuits))

    one = {"nodes": [*inputs("x"), gate("y = neg(x)")], "outputs": ["y"]}
    other = {"nodes": [*inputs("x"), gate("z = neg(x)")], "outputs": ["z"]}
    pair = {"nodes": [*inputs("x"), gate("y = stack(x)")], "outputs": ["y"]}
    node = {"id": "f", "gate": "if", "then": "one", "else": "other", "inputs": {"condition": "c", "x": "x"}}
    true = {"id": "c", "gate": "constant", "value": True}
    assert found(true, node, one=one, other=other) == [
        "node 'f': the two circuits need the same outputs; 'one' has 'y', 'other' has 'z'"]
    assert found(true, node, one=one, other=pair) == [
        "node 'f': if needs equal outputs of both circuits; y is float64 () in 'one', float64 (1,) in 'other'"]
    assert found(gate("c = neg(x)"), node, one=one, other=one) == [
        "node 'f': if needs a scalar condition of dtype bool; it is float64 ()"]
    assert found({"id": "f", "gate": "scan", "circuit": "one", "over": ["x"], "inputs": ["x"]}, one=one) == [
        "node 'f': scan goes over x, which needs at least one axis; it is a scalar"]
    held = {"nodes": [*inputs("x"), {"id": "w", "gate": "parameter", "value": 2}, gate("y = mul(x, w)")],
            "outputs": ["y"]}
    assert found({"id": "f", "gate": "checkpoint", "circuit": "held", "inputs": ["x"]}, held=held) == [
        "node 'f/w': inside a node that runs as a unit there are no parameters of its own; make it an input of the "
        "circuit and "
        "give it a value from outside"]
    around = {"nodes": [*inputs("x"), {"id": "y", "gate": "checkpoint", "circuit": "around", "inputs": ["x"]}],
              "outputs": ["y"]}
    assert found({"id": "f", "gate": "checkpoint", "circuit": "around", "inputs": ["x"]}, around=around) == [
        "node 'y': a circuit cannot call itself: around → around"]
    broken = {"nodes": [*inputs("x"), gate("y = matmul(x, x)")], "outputs": ["y"]}
    (message,) = found({"id": "f", "gate": "checkpoint", "circuit": "broken", "inputs": ["x"]}, broken=broken)
    assert message.startswith("node 'f/y': matmul needs vectors or matrices")
    (message,) = found(true, node, one=one, other=broken)
    assert message.startswith("node 'f/else/y': matmul needs vectors or matrices")
    (message,) = found({"id": "v", "gate": "input", "shape": [3]},
                       {"id": "f", "gate": "scan", "circuit": "broken", "over": ["x"], "inputs": ["v"]}, broken=broken)
    assert message.startswith("node 'f/y': matmul needs vectors or matrices")


@pytest.mark.parametrize("body", [
    {"nodes": [*inputs("x"), gate("y = sinn(x)")], "outputs": ["y"]},
    {"nodes": [*inputs("x"), gate("y = add(x, z)"), gate("z = neg(y)")], "outputs": ["y"]},
    {"nodes": [*inputs("x"), gate("y = exp(x)")], "outputs": ["w"]},
    {"nodes": [*inputs("x"), gate("y = exp(w)")], "outputs": ["y"]},
    {"nodes": [*inputs("x")], "outputs": ["x", "x"]},
])
def test_a_fault_inside_of_a_unit_is_one_fault(body):
    for node in ({"gate": "checkpoint", "circuit": "body", "inputs": ["x"]},
                 {"gate": "scan", "circuit": "body", "over": ["x"], "inputs": ["x"]},
                 {"gate": "if", "then": "body", "else": "body", "inputs": {"condition": "c", "x": "x"}}):
        made = [{"id": "x", "gate": "input", "value": [1, 2]}, {"id": "c", "gate": "constant", "value": True},
                {"id": "f", **node}, gate("g = neg(f)")]
        assert len(faults(document(*made, circuits={"body": body}))) == 1


def test_documents_with_structure_follow_the_schema_and_come_back():
    for c in (rnn(reverse=True, cache=2), choice()):
        SCHEMA.validate(json.loads(cf.dumps(c)))
        assert cf.loads(cf.dumps(c)) == c
        from circuitflow.document.rewriting import with_edges, with_inputs
        from circuitflow.document.writing import dumps

        for rewrite in (with_edges, with_inputs):
            assert cf.Executor(cf.loads(dumps(rewrite(c.document)))).run().outputs == cf.Executor(c).run().outputs


@settings(max_examples=few(300))
@given(st.sampled_from([rnn(), choice(), cf.gradient(rnn(), wrt=["W", "xs"])]), st.data())
def test_structure_with_something_else_in_one_place_is_valid_or_has_faults(made, data):
    is_valid_or_has_faults(json.loads(cf.dumps(made)), data)


def test_a_body_has_no_calls_to_name():
    """They are expanded in it, so that a reference to an output of one finds nothing."""
    loaded = cf.load(ROOT / "circuits/rnn.json")
    body = next(node.attributes["circuit"] for node in loaded.nodes.values() if node.kind == "scan")
    assert body.find("nowhere.h") is None
    assert body.find("nowhere") is None
