"""Scans as loops, under jax and in staged code, beside `lax.scan` by hand and the interpreter."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.barriers import as_written
from circuitflow.engines.program.program import trace_program
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.staged.loops import with_loops
from circuitflow.interpreter.question import Question
from support.documents import call, circuit, document
from support.random_scans import circuits

CELL = ("mul(h, w)", "mul(k, x)", "add(p, q)", "tanh(s)", "mul(after, k)", "sub(next, x)")
NAMES = ("p", "q", "s", "after", "next", "y")


def gate(text: str) -> dict[str, Any]:
    return json.loads(document(text))["nodes"][0]


def inputs(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "gate": "input"} for name in names]


def cell(**attributes: Any) -> cf.Circuit:
    """Two carries, of which one goes into the other, and an output at every position."""
    body = {"nodes": [*inputs("h", "k", "x", "w"),
                      *(gate(f"{name} = {text}") for name, text in zip(NAMES, CELL, strict=True))],
            "outputs": ["after", "next", "y"]}
    return circuit("h0 = 0.1", "k0 = 0.9", "w = 0.7", {"id": "xs", "gate": "input", "shape": ["n"]},
                   {"id": "r", "gate": "scan", "circuit": "cell", "carry": {"h": "after", "k": "next"}, "over": ["x"],
                    "inputs": {"h": "h0", "k": "k0", "x": "xs", "w": "w"}, **attributes},
                   "e = reduce_sum(r.y)", "f = add(e, r.after, r.next)", circuits={"cell": body}, outputs=["f"])


def by_hand(reverse: bool):
    def function(h, k, w, xs):
        def step(carry, x):
            h, k = carry
            after = jnp.tanh(h * w + k * x)
            following = after * k
            return (after, following), following - x

        (h, k), ys = jax.lax.scan(step, (h, k), xs, reverse=reverse)
        return ys.sum() + h + k

    return jax.jit(jax.value_and_grad(function, (0, 1, 2, 3)))


@pytest.mark.parametrize(("length", "attributes"), [
    (0, {}), (1, {"cache": 3}), (2, {"reverse": True}), (255, {"cache": 16, "reverse": True}),
    (256, {}), (256, {"cache": 16}), (0, {"cache": 2}),
    *(pytest.param(length, {"reverse": reverse, "cache": cache}, marks=pytest.mark.long)
      for length in (0, 1, 2, 255, 256) for reverse in (False, True) for cache in (1, 2, 100, 300))])
def test_a_scan_is_lax_scan_by_hand(length, attributes):
    xs = np.cos(np.arange(length))
    with jax.enable_x64(True):
        expected, theirs = by_hand(attributes.get("reverse", False))(0.1, 0.9, 0.7, jnp.asarray(xs))
    for engine in ("jax", "staged", "interpreter"):
        value, gradients = cf.Executor(cell(**attributes)).compile(engine=engine)(xs=xs)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for name, x in zip(("h0", "k0", "w", "xs"), theirs, strict=True):
            assert gradients[name].dtype == np.float64
            np.testing.assert_allclose(gradients[name], x, rtol=1e-9, atol=1e-12, err_msg=f"{engine} {name}")


def operations(jaxpr: Any) -> list[str]:
    """The names of all operations of a program, those inside of others too."""
    names = []
    for step in jaxpr.eqns:
        names.append(step.primitive.name)
        for value in step.params.values():
            for inner in value if isinstance(value, tuple | list) else [value]:
                if hasattr(inner := getattr(inner, "jaxpr", inner), "eqns"):
                    names += operations(inner)
    return names


@pytest.mark.parametrize("attributes", [{}, {"cache": 4}])
def test_the_program_of_a_scan_does_not_grow_with_its_length(attributes):
    function = cf.Executor(cell(**attributes)).compile(engine="jax")
    function(xs=np.ones(3))
    (compiled,) = function._compiled.values()

    def program(length: int) -> list[str]:
        with jax.enable_x64(True):
            arrays = {**function._defaults, (0, "xs"): np.ones(length)}
            return operations(jax.make_jaxpr(compiled)(arrays).jaxpr)

    found = program(16)
    assert found.count("scan") >= 2
    assert program(256) == found


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.long] if seed % 20 else [])
                                  for seed in range(100)])
def test_random_scans_beside_infinities_have_the_interpreters_gradients(seed):
    """Gradients that arrive at some positions only, and infinities where none arrives."""
    scan, _ = circuits(seed)
    wrt = ["h0", "k0", "w", "x"]
    expected = cf.Executor(scan).run(wrt=wrt)
    for engine in ("jax", "staged"):
        value, gradients = cf.Executor(scan).compile(wrt=wrt, engine=engine)()
        np.testing.assert_allclose(value, expected.outputs["f"], rtol=1e-9, atol=1e-12)
        for name in wrt:
            np.testing.assert_allclose(gradients[name], expected.gradients[name], rtol=1e-9, atol=1e-12, err_msg=name)


def nested(**attributes: Any) -> cf.Circuit:
    """A scan of rows in a scan of matrices, with calls and checkpoints in it, and a counter and a flag that are
    carried."""
    inner = {"nodes": [*inputs("c", "x", "w"), gate("m = matmul(w, c)"), gate("v = add(m, x)"),
                       call("s", "v", gate="squash")], "outputs": ["s"]}
    squash = {"nodes": [*inputs("x"), gate("y = tanh(x)")], "outputs": ["y"]}
    block = {"nodes": [*inputs("x", "n"), {"id": "m", "gate": "cast", "inputs": ["n"], "dtype": "float32"},
                       gate("y = mul(x, m)")], "outputs": ["y"]}
    outer = {"nodes": [*inputs("h", "n", "odd", "rows", "w", "one"),
                       {"id": "in", "gate": "scan", "circuit": "inner", "carry": {"c": "s"}, "over": ["x"],
                        "inputs": {"c": "h", "x": "rows", "w": "w"}, **attributes},
                       {"id": "b", "gate": "checkpoint", "circuit": "block", "inputs": ["in", "n"]},
                       gate("kept = where(odd, b, h)"), gate("other = not(odd)"), gate("after = add(n, one)"),
                       gate("y = square(kept)")], "outputs": ["kept", "after", "other", "y"]}
    random = np.random.RandomState(0)
    sources = {"h0": (random.standard_normal(2), "float32"), "n0": (np.array(1), "int64"),
               "flag": (np.array(False), "bool"), "xs": (random.standard_normal((5, 3, 2)), "float32"),
               "w": (random.standard_normal((2, 2)), "float32"), "one": (np.array(1), "int64")}
    return circuit(*({"id": name, "gate": "input", "value": x.tolist(), "dtype": dtype}
                     for name, (x, dtype) in sources.items()),
                   {"id": "r", "gate": "scan", "circuit": "outer", "carry": {"h": "kept", "n": "after", "odd": "other"},
                    "over": ["rows"], "inputs": ["h0", "n0", "flag", "xs", "w", "one"], **attributes},
                   "e = reduce_sum(r.y)", "d = reduce_sum(r.kept)", "f = add(e, d)", dtype="float32",
                   circuits={"inner": inner, "outer": outer, "block": block, "squash": squash},
                   outputs=["f", "r.after", "r.other"])


@pytest.mark.parametrize("attributes", [{}, {"reverse": True, "cache": 2}])
def test_scans_in_scans_of_several_dtypes(attributes):
    made = cf.Executor(nested(**attributes))
    expected = made.run(of="f")
    for engine in ("jax", "staged"):
        value, gradients = made.compile(of="f", engine=engine)()
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected.outputs["f"], rtol=1e-6)
        for name in ("h0", "xs", "w"):
            assert gradients[name].dtype == np.float32
            np.testing.assert_allclose(gradients[name], expected.gradients[name], rtol=1e-4, atol=1e-6)
        values, _ = made.compile(wrt=(), engine=engine)()
        assert {name: (x.item(), str(x.dtype)) for name, x in values.items() if name != "f"} == {
            "r.after": (6, "int64"), "r.other": (True, "bool")}


def test_a_scan_over_rows_is_that_of_each_row():
    made = cf.Executor(nested())
    columns = np.random.RandomState(1).standard_normal((4, 5, 3, 2)).astype(np.float32)
    values, gradients = made.vmap(of="f", wrt=["xs", "w"], engine="jax")(xs=columns)
    for row, x in enumerate(columns):
        expected = made.run({"xs": x}, of="f", wrt=["xs", "w"])
        np.testing.assert_allclose(values[row], expected.outputs["f"], rtol=1e-6)
        for name in ("xs", "w"):
            np.testing.assert_allclose(gradients[name][row], expected.gradients[name], rtol=1e-4, atol=1e-6)


def test_a_scan_without_a_carry_is_a_map():
    body = {"nodes": [*inputs("x", "w"), gate("p = mul(x, w)"), gate("y = tanh(p)")], "outputs": ["y"]}
    c = circuit("w = 0.5", {"id": "x", "gate": "input", "value": [1, 2, 3]},
                {"id": "m", "gate": "scan", "circuit": "body", "over": ["x"], "inputs": ["x", "w"]},
                "f = reduce_sum(m)", circuits={"body": body})
    x = np.arange(1, 4)
    slope = 1 - np.tanh(x / 2) ** 2
    for engine in ("jax", "staged"):
        value, gradients = cf.Executor(c).compile(engine=engine)()
        np.testing.assert_allclose([value, gradients["w"]], [np.tanh(x / 2).sum(), (slope * x).sum()], rtol=1e-13)
        np.testing.assert_allclose(gradients["x"], slope / 2, rtol=1e-13)


PICK = {"nodes": [*inputs("h", "i", "table"), gate("row = gather(table, i)"), gate("after = mul(row, h)")],
        "outputs": ["after"]}


@pytest.mark.parametrize("cache", [1, 2])
def test_a_rule_that_refuses_says_so_as_the_interpreter_does(cache):
    """Of several positions with an index out of range the first is named, in the order in which they come."""
    c = circuit("h0 = 2", {"id": "table", "gate": "input", "value": [1.0, 2.0, 3.0]},
                {"id": "ids", "gate": "input", "value": [0, 1, 2, 0, 1], "dtype": "int64"},
                {"id": "r", "gate": "scan", "circuit": "pick", "carry": {"h": "after"}, "over": ["i"], "reverse": True,
                 "cache": cache, "inputs": {"h": "h0", "i": "ids", "table": "table"}}, circuits={"pick": PICK})
    wrong = np.array([0, 7, 1, -9, 2])
    message = "node 'r/row': gather: index -9 is out of range for axis 0 of size 3"
    for engine in ("jax", "staged"):
        function = cf.Executor(c).compile(engine=engine)
        value, gradients = function()
        assert value == 24
        np.testing.assert_allclose(gradients["table"], [48, 24, 8])
        with pytest.raises(cf.GateError, match=message):
            function(ids=wrong)
    rows = cf.Executor(c).vmap(engine="jax")
    with pytest.raises(cf.GateError, match=message):
        rows(ids=np.array([[0, 1, 2, 0, 1], wrong]))


def test_a_branch_by_value_inside_of_a_scan_is_refused_with_a_remedy():
    one = {"nodes": [*inputs("x"), gate("y = neg(x)")], "outputs": ["y"]}
    body = {"nodes": [*inputs("c", "x"), {"id": "y", "gate": "if", "then": "one", "else": "one",
                                          "inputs": {"condition": "c", "x": "x"}}], "outputs": ["y"]}
    c = circuit({"id": "c", "gate": "input", "value": True}, {"id": "x", "gate": "input", "value": [1.0, 2.0]},
                {"id": "m", "gate": "scan", "circuit": "body", "over": ["x"], "inputs": ["c", "x"]},
                "f = reduce_sum(m)", circuits={"one": one, "body": body})
    with pytest.raises(cf.InputError, match="^node 'm/y': if depends on a value that is not known.*choose another "
                                            "engine"):
        cf.Executor(c).compile(engine="jax")()


def test_the_staged_lines_of_a_scan_do_not_grow_with_its_length():
    derived, lines = Derived(Question(cf.Executor(cell()))), []
    for length in (3, 256):
        arrays = {name: np.ones(length) if name == "xs" else np.ones(()) for name in derived.zeros()}
        lines.append(len(trace_program(derived.plan, arrays, derived.circuit.values, rule_of=with_loops(1)).lines))
    assert lines[0] == lines[1]


def test_a_loop_over_floats_that_raises_is_one_over_arrays():
    body = {"nodes": [*inputs("h", "x"), gate("e = exp(x)"),
                      {"id": "d", "gate": "polygamma", "inputs": ["e"], "n": 0}, gate("s = sub(e, d)"),
                      gate("after = add(h, s)"), gate("big = greater(after, x)")], "outputs": ["after", "big"]}
    c = circuit("h0 = 0", {"id": "x", "gate": "input", "value": [0, 0, 0]},
                {"id": "r", "gate": "scan", "circuit": "body", "carry": {"h": "after"}, "over": ["x"],
                 "inputs": ["h0", "x"], "reverse": True}, circuits={"body": body}, outputs=["r.after", "r.big"])
    made = cf.Executor(c)
    for x in ([0.5, 1.0, 1.5], [800.0, 1.0, np.inf]):  # e^800 raises in Python
        expected = made.run({"x": x}).outputs
        values, _ = made.compile(wrt=(), engine="staged")(x=x)
        for name in expected:
            assert values[name].dtype == expected[name].dtype
            np.testing.assert_allclose(values[name], expected[name], rtol=1e-14)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_barriers_go_into_loops_and_around_those_of_one_step(length):
    """Two divisions stay two, in the body and across its borders: x / b / c is 0 where x / (b c) is not."""
    def loop(step, x):
        return jax.lax.scan(lambda h, _: (step(h), None), x, None, length=length)[0]

    for function in (lambda x: loop(lambda h: h / 1e200 / 1e-200, x), lambda x: loop(lambda h: h / 1e-200, x / 1e200),
                     lambda x: loop(lambda h: h / 1e200, x) / 1e-200):
        with jax.enable_x64(True):
            assert jax.jit(as_written(function))(jnp.asarray(1e-200)) == 0
