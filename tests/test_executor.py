from __future__ import annotations

import math
import re
import threading

import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.gates.shapes import promote
from circuitflow.interpreter.libraries import Library
from support.documents import circuit, document, faults
from support.gate_examples import POLAR

PRODUCT = ("x = -2", "y = 5", {"id": "z", "gate": "parameter", "value": -4}, "q = add(x, y)", "f = mul(q, z)")


@pytest.fixture
def product() -> cf.Executor:
    return cf.Executor(circuit(*PRODUCT, name="product"))


def test_a_result_carries_values_gradients_and_contributions(product):
    result = product.run({"x": -2.0})
    assert result.outputs["f"] == -12
    assert result.values["q"] == 3
    assert dict(result.gradients) == {"x": -4, "y": -4, "z": 3, "q": -4, "f": 1}
    assert result.contribution("q", "f") == -4
    assert [(c.source, c.target, c.port) for c in result.contributions] == [
        ("q", "f", 0), ("z", "f", 1), ("x", "q", 0), ("y", "q", 1)]


def test_what_is_given_wins_over_the_document(product):
    assert product.run({"x": 1, "z": [[2.0]][0][0]}).outputs["f"] == 12
    assert product.run().outputs["f"] == -12


def test_only_what_the_outputs_need_runs():
    executor = cf.Executor(circuit("x = 1", {"id": "lost", "gate": "input"}, "u = neg(lost)", "f = neg(x)",
                                   "g = exp(x)",
                                   outputs=["f", "g"]))
    assert set(executor.run(of="f").values) == {"x", "f"}
    assert set(executor.run().values) == {"x", "f", "g"}


def test_of_may_be_any_node_and_wrt_any_node(product):
    result = product.run(of="q", wrt="x")
    assert dict(result.gradients) == {"x": 1, "q": 1}
    result = product.run(wrt=["q"])
    assert dict(result.gradients) == {"q": -4, "f": 1}
    assert [(c.source, c.target) for c in result.contributions] == [("q", "f")]


def test_a_node_that_an_output_does_not_depend_on_has_gradient_zero(product):
    result = product.run(of="q", wrt=["z", "x"])
    assert result.gradients["z"] == 0
    assert result.gradients["x"] == 1


def test_wrt_an_intermediate_node_and_what_it_is_computed_from(product):
    result = product.run(wrt=["q", "x"])
    assert dict(result.gradients) == {"x": -4, "q": -4, "f": 1}


def test_several_outputs_are_differentiated_together():
    executor = cf.Executor(circuit("x = 3", "f = mul(x, x)", "g = neg(x)", outputs=["f", "g"]))
    assert executor.run().gradients["x"] == 5
    assert executor.run(upstream={"g": 10}).gradients["x"] == -4
    assert executor.run(of=["g"]).gradients["x"] == -1


def test_an_output_that_another_is_computed_from_gets_both_gradients():
    result = cf.Executor(circuit("x = 3", "f = mul(x, x)", "g = neg(f)", outputs=["f", "g"])).run()
    assert result.gradients["f"] == 0
    assert result.gradients["x"] == 0


def test_two_references_to_one_node_add_their_upstream_gradients():
    inner = {"a": {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "exp", "inputs": ["x"]}],
                   "outputs": ["y"]}}
    executor = cf.Executor(circuit("x = 0", {"id": "h", "gate": "call", "circuit": "a", "inputs": ["x"]},
                                   circuits=inner))
    assert executor.run(of=["h", "h/y"]).gradients["x"] == 2


def test_an_upstream_gradient_is_needed_for_what_is_not_a_scalar():
    executor = cf.Executor(circuit("x = [1, 2]", "f = mul(x, x)"))
    with pytest.raises(cf.InputError, match=r"'f' has shape \(2,\), so its gradients need the upstream gradient on it"):
        executor.run()
    np.testing.assert_array_equal(executor.run(upstream={"f": [1, 10]}).gradients["x"], [2, 40])
    np.testing.assert_array_equal(executor.forward().outputs["f"], [1, 4])
    assert not executor.forward().gradients


def test_upstream_gradients_of_the_document_are_defaults():
    executor = cf.Executor(circuit("x = [1, 2]", "f = mul(x, x)", upstream={"f": [1, 10]}))
    np.testing.assert_array_equal(executor.run().gradients["x"], [2, 40])
    np.testing.assert_array_equal(executor.run(upstream={"f": [0, 1]}).gradients["x"], [0, 4])


@pytest.mark.parametrize(("upstream", "message"), [
    ({"g": 1}, "upstream 'g': not one of the outputs asked for, which are f"),
    ({"ff": 1}, "upstream 'ff': not one of the outputs asked for; did you mean 'f'?"),
    ({"f": [1, 2, 3]}, r"upstream 'f' has shape (3,); expected (2,), as the output"),
    ({"f": "one"}, "upstream 'f' is \"one\"; expected numbers of dtype float64"),
])
def test_wrong_upstream_gradients(upstream, message):
    with pytest.raises(cf.InputError) as error:
        cf.Executor(circuit("x = [1, 2]", "f = mul(x, x)")).run(upstream=upstream)
    assert str(error.value) == message


SIZED = ({"id": "x", "gate": "input", "shape": ["batch", 2]}, {"id": "y", "gate": "input", "shape": ["batch"]},
         {"id": "i", "gate": "input", "value": [0], "dtype": "int64"}, {"id": "c", "gate": "constant", "value": 2},
         {"id": "m", "gate": "input", "value": True, "dtype": "bool"},
         {"id": "s", "gate": "reduce_sum", "axis": 1, "inputs": ["x"]}, "p = add(s, y)", "q = mul(p, c)",
         {"id": "w", "gate": "where", "inputs": ["m", "q", "p"]}, {"id": "t", "gate": "gather", "inputs": ["w", "i"]},
         {"id": "f", "gate": "reduce_sum", "inputs": ["t"]})
X, Y = np.ones((3, 2)), np.ones(3)


@pytest.mark.parametrize(("inputs", "message"), [
    ({},
     "no value for input 'x' (float64 (batch, 2)), 'y' (float64 (batch,)); it has no default, so give it one (--set "
     "x=…)"),
    ({"xx": 1}, "there is no input 'xx' in circuit 'circuit'; did you mean 'x'?"),
    ({"unknown": 1}, "there is no input 'unknown' in circuit 'circuit'; it has x, y, i, m"),
    ({"c": 1}, "'c' cannot be given a value: it is a constant; inputs and parameters can"),
    ({"s": 1}, "'s' cannot be given a value: it is computed, by reduce_sum; inputs and parameters can"),
    ({"x": X, "y": np.ones(4)}, "'y' has shape (4,); expected (batch,), and 'x' has batch = 3"),
    ({"x": np.ones((3, 4)), "y": Y}, "'x' has shape (3, 4); expected (batch, 2)"),
    ({"x": np.ones(3), "y": Y}, "'x' has shape (3,); expected (batch, 2)"),
    ({"x": X, "y": Y, "i": [0.5]}, "'i' is float64; expected int64, so cast it first"),
    ({"x": X, "y": Y, "i": np.array([1.0])}, "'i' is float64; expected int64, so cast it first"),
    ({"x": X, "y": Y, "i": [True]}, "'i' is bool; expected int64, so cast it first"),
    ({"x": X, "y": Y, "m": 1}, "'m' is int64; expected bool, so cast it first"),
    ({"x": X, "y": [True, False, True]}, "'y' is bool; expected float64, so cast it first"),
    ({"x": "hello", "y": Y}, "'x' is \"hello\"; expected numbers of dtype float64"),
    ({"x": np.complex128(1j), "y": Y}, "'x' is np.complex128(1j); expected numbers, not complex128; a circuit has no "
                                       "complex numbers, so give real and imaginary part as two inputs"),
    ({"x": object(), "y": Y}, "'x' is a object; expected a number, lists of numbers or an array"),
    ({"x": [[1, 2], [3]], "y": Y}, "'x' is a list of 2 of unequal lengths; expected a rectangular array"),
])
def test_wrong_inputs(inputs, message):
    with pytest.raises(cf.InputError) as error:
        cf.Executor(circuit(*SIZED)).run(inputs)
    assert str(error.value) == message
    assert str(error.value).isprintable()


def test_inputs_of_every_kind_take_the_declared_dtype():
    executor = cf.Executor(circuit(*SIZED))
    for x in (X, X.astype(np.float32), X.astype(np.int32), X.tolist(), [[1, 1]] * 3, tuple(map(tuple, X))):
        result = executor.run({"x": x, "y": Y, "i": [2], "m": False})
        assert result.outputs["f"] == 3
        assert result.values["x"].dtype == np.float64
    np.testing.assert_array_equal(result.gradients["x"], [[0, 0], [0, 0], [1, 1]])


def test_an_empty_list_is_of_any_dtype():
    c = circuit({"id": "m", "gate": "input", "shape": ["n"], "dtype": "bool"},
                {"id": "x", "gate": "input", "shape": ["n"]},
                "w = where(m, x, x)", {"id": "f", "gate": "reduce_sum", "inputs": ["w"]})
    result = cf.Executor(c).run({"m": [], "x": []})
    assert result.outputs["f"] == 0
    assert result.gradients["x"].shape == (0,)


def test_a_named_dimension_that_makes_a_tensor_too_large():
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "shape": ["n", 1]},
                                   {"id": "y", "gate": "transpose", "inputs": ["x"]}, "z = mul(x, y)"))
    with pytest.raises(cf.InputError, match=r"node 'z': a float64 tensor of shape \(100000, 100000\) takes 74.51 GiB"):
        executor.run({"x": np.zeros((100000, 1))})


@pytest.mark.parametrize(("question", "message"), [
    ({"of": "g"}, "of: there is no 'g' in circuit 'circuit'"),
    ({"of": "polar"}, "of: 'polar' has several outputs; name one of its outputs: polar.radius, polar.angle"),
    ({"wrt": "radios"}, "wrt: there is no 'radios' in circuit 'circuit'"),
    ({"wrt": "n"}, "wrt: 'n' is int64; integers and booleans have no gradient"),
    ({"wrt": "c"}, "wrt: 'c' is a constant, to which no gradient flows; make it a parameter"),
    ({"of": "n"}, "'n' is int64; integers and booleans have no gradient"),
    ({"upstream": {"n": 1}}, "'n' is int64; integers and booleans have no gradient"),
])
def test_wrong_questions(question, message):
    executor = cf.Executor(circuit(
        "x = 3", "y = 4", {"id": "c", "gate": "constant", "value": 1},
        {"id": "n", "gate": "input", "value": 1, "dtype": "int64"},
        "polar = polar(x, y)", outputs=["polar.radius", "n"], gates={**cf.GATES, "polar": POLAR}))
    with pytest.raises(cf.InputError) as error:
        executor.run(**question)
    assert str(error.value).startswith(message)


def test_an_integer_output_that_is_asked_for_by_name_is_not_compiled_with_gradients():
    executor = cf.Executor(circuit("x = 2", {"id": "k", "gate": "cast", "inputs": ["x"], "dtype": "int64"}))
    with pytest.raises(cf.InputError, match="'k' is int64; integers and booleans have no gradient"):
        executor.compile(of="k")


def test_an_integer_output_is_computed_and_not_differentiated():
    result = cf.Executor(circuit("x = 2", {"id": "k", "gate": "cast", "inputs": ["x"], "dtype": "int64"},
                                 "f = mul(x, x)", outputs=["k", "f"])).run()
    assert result.outputs["k"] == 2
    assert result.gradients["x"] == 4


def test_a_gate_with_several_outputs():
    gates = {**cf.GATES, "polar": POLAR}
    c = circuit("x = 3", "y = 4", "p = polar(x, y)", "f = mul(p.radius, p.angle)", outputs=["f", "p.radius"],
                gates=gates)
    result = cf.Executor(c).run(upstream={"p.radius": 0})
    angle = math.atan2(4, 3)
    assert result.values["p.radius"] == 5
    assert result.values["p.angle"] == pytest.approx(angle)
    assert result.gradients["x"] == pytest.approx(angle * 3 / 5 - 4 / 5)
    assert result.gradients["p.radius"] == pytest.approx(angle)
    assert result.contribution("p.angle", "f") == 5
    assert cf.check(c).ok
    only_radius = cf.Executor(c).run(of="p.radius")
    assert only_radius.gradients["y"] == pytest.approx(4 / 5)
    assert cf.Executor(c).run(of="x").gradients["x"] == 1
    assert cf.Executor(c).run(of=["x"], wrt=["p.angle"]).gradients["p.angle"] == 0


def test_gradients_come_back_in_shape_and_dtype_of_their_operand():
    result = cf.Executor(circuit({"id": "x", "gate": "input", "value": [[1], [2]], "dtype": "float32"}, "y = [1, 2, 3]",
                                 "p = mul(x, y)", {"id": "f", "gate": "reduce_sum", "inputs": ["p"]})).run()
    assert result.gradients["x"].dtype == np.float32
    np.testing.assert_array_equal(result.gradients["x"], [[6], [6]])
    assert result.contribution("x", "p").dtype == np.float32
    np.testing.assert_array_equal(result.gradients["y"], [3, 3, 3])


def test_stop_gradient_and_constants_take_no_part():
    result = cf.Executor(circuit("x = 3", "s = stop_gradient(x)", "f = mul(x, s)")).run()
    assert result.gradients["x"] == 3
    assert "s" not in result.gradients


def test_no_gradient_is_formed_for_an_operand_that_nobody_asks_for():
    calls = []
    spy = cf.Gate("x y", "A product that notes which gradients are formed.", ("x", "y"), cf.GATES["div"].shape,
                  forward=lambda xp, x, y: x * y,
                  backward=(lambda op, g, out, x, y: calls.append("x") or g * y,
                            lambda op, g, out, x, y: calls.append("y") or g * x))
    executor = cf.Executor(circuit("x = 2", {"id": "c", "gate": "constant", "value": 3}, "f = spy(x, c)",
                                   gates={**cf.GATES, "spy": spy}))
    assert executor.run().gradients["x"] == 3
    assert calls == ["x"]


def test_a_rule_may_find_that_no_gradient_flows():
    gate = cf.Gate("0", "Zero.", cf.AtLeast(1), lambda x, y: x, forward=lambda xp, x, y: x * 0,
                   backward=lambda op, g, out, *xs: (None, None))
    result = cf.Executor(circuit("x = 2", "y = 3", "f = zero(x, y)", gates={**cf.GATES, "zero": gate})).run()
    assert dict(result.gradients) == {"x": 0, "y": 0, "f": 1}
    assert not result.contributions


def test_a_gradient_that_never_arrives_is_zero():
    gate = cf.Gate("0", "Zero.", cf.AtLeast(1), lambda x: x, forward=lambda xp, x: x * 0,
                   backward=lambda op, g, out, x: (None,))
    result = cf.Executor(circuit("x = 2", "e = exp(x)", "p = polar(e, e)", "f = zero(p.radius)",
                                 gates={**cf.GATES, "zero": gate, "polar": POLAR})).run()
    assert result.gradients["x"] == 0
    assert "e" not in result.gradients


def test_contributions_by_edge():
    result = cf.Executor(circuit("x = 3", "f = mul(x, x)", "g = neg(f)")).run()
    with pytest.raises(cf.InputError, match=r"several edges lead from 'x' to 'f': name the port, one of \[0, 1\]"):
        result.contribution("x", "f")
    assert result.contribution("x", "f", 1) == -3
    with pytest.raises(cf.InputError, match="no gradient flowed along an edge from 'x' to 'g'"):
        result.contribution("x", "g")
    with pytest.raises(cf.InputError, match="from 'f' to 'g', port 2"):
        result.contribution("f", "g", 2)


@pytest.mark.parametrize(("nodes", "said"), [
    (("x = 2", "f = neg(x)"), None),
    (("x = 0", "r = reciprocal(x)", "f = neg(r)"),
     "node 'r': in the forward pass, reciprocal gives inf from x = 0"),
    (("x = 0", "r = sqrt(x)", "f = neg(r)"),
     "node 'r': in the reverse sweep, sqrt sends back -inf from x = 0, dr = -1"),
    (('x = ["NaN", 1, "Infinity"]', "s = exp(x)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}),
     "node 'x': in the forward pass, input gives [nan, 1, inf]"),
    (("x = [0, 1]", "s = log(x)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}),
     "node 's': in the forward pass, log gives [-inf, 0] from x = [0, 1]"),
    (("x = [[0, 1]]", "s = log(x)", {"id": "f", "gate": "reduce_sum", "inputs": ["s"]}),
     "node 's': in the forward pass, log gives float64 (1, 2), 1 of 2 not finite, the first -inf at [0, 0] "
     "from x = float64 (1, 2)"),
])
def test_who_turned_a_number_non_finite_first(nodes, said):
    found = cf.Executor(circuit(*nodes)).run().non_finite()
    assert (str(found) if found else None) == said


@pytest.mark.parametrize(("nodes", "message"), [
    (("x = [1, 2]", {"id": "i", "gate": "input", "value": [0, 2], "dtype": "int64"}, "f = gather(x, i)"),
     "node 'f': gather: index 2 is out of range for axis 0 of size 2"),
])
def test_a_gate_that_fails_names_its_node(nodes, message):
    with pytest.raises(cf.GateError) as error:
        cf.Executor(circuit(*nodes)).run(upstream={"f": [1, 1]})
    assert str(error.value) == message


@pytest.mark.parametrize(("rule", "message"), [
    (lambda op, g, out, x: op.reduce_sum(g),
     "node 'f': the backward rule of bad gives shape () for operand 'x' of shape (2,); "
                                             "correct the rule"),
    (lambda op, g, out, x: op.cube(g), "node 'f': bad: there is no gate 'cube' in the table"),
])
def test_a_wrong_rule_of_ones_own_is_named(rule, message):
    gates = {**cf.GATES, "bad": cf.Gate("x", "Bad.", ("x",), lambda x: x, forward=lambda xp, x: x, backward=(rule,))}
    with pytest.raises(cf.GateError) as error:
        cf.Executor(circuit("x = [1, 2]", "f = bad(x)", gates=gates)).run(upstream={"f": [1, 1]})
    assert str(error.value) == message


def test_one_executor_serves_many_threads():
    executor = cf.Executor(circuit("x = 1", "a = exp(x)", "b = mul(a, x)", "f = tanh(b)"))
    expected = {x: executor.run({"x": x}).gradients["x"] for x in np.linspace(-1, 1, 50)}
    wrong = []

    def work():
        for x, gradient in expected.items():
            if executor.run({"x": x}, wrt="x").gradients["x"] != gradient:
                wrong.append(x)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_documents_arrays_cannot_be_changed_through_a_result():
    result = cf.Executor(circuit("x = [1, 2]", "f = neg(x)")).forward()
    with pytest.raises(ValueError, match="read-only"):
        result.values["x"][0] = 5


def test_progress_can_be_followed():
    seen = []

    def track(steps, description):
        for step in steps:
            seen.append((description, step.node.id))
            yield step

    cf.Executor(circuit("x = 2", "a = exp(x)", "f = neg(a)")).run(track=track)
    assert seen == [("forward pass", "a"), ("forward pass", "f"), ("reverse sweep", "f"), ("reverse sweep", "a")]


@pytest.mark.parametrize("track", [print, len, np.ndarray])
@pytest.mark.parametrize("cache", ["all", "needed"])
def test_a_progress_bar_that_shows_nothing_to_go_over_is_refused(track, cache):
    made = circuit("x = 2", "f = exp(x)")
    for call in (lambda: cf.Executor(made).run(track=track, cache=cache), lambda: cf.check(made, track=track)):
        with pytest.raises(cf.InputError, match=r"track is .*, which fails: .*; expected a function"):
            call()


def test_arrays_of_other_libraries_stay_in_their_library():
    import array_api_strict
    import jax.numpy as jnp

    c = circuit({"id": "x", "gate": "input", "shape": [2]}, {"id": "w", "gate": "parameter", "value": [1, 2]},
                "p = mul(x, w)", "s = sigmoid(p)", upstream={"s": [1, 1]})
    expected = cf.Executor(c).run({"x": np.array([0.5, -1.0])})
    for xp in (array_api_strict, jnp):
        result = cf.Executor(c).run({"x": xp.asarray([0.5, -1.0]), "w": [1.0, 2.0]})
        assert type(result.gradients["w"]) is type(xp.asarray(1.0))
        np.testing.assert_allclose(np.asarray(result.gradients["w"]), expected.gradients["w"], rtol=1e-14)
        seeded = cf.Executor(c).run({"x": xp.asarray([0.5, -1.0])}, upstream={"s": xp.asarray([1.0, 0.0])})
        assert float(seeded.gradients["x"][1]) == 0
        scalar = cf.Executor(circuit("x = 2", "f = mul(x, x)")).run({"x": xp.asarray(3.0)})
        assert float(scalar.gradients["x"]) == 6
    with pytest.raises(cf.InputError, match="arrays of different libraries in one run: array_api_strict and jax"):
        cf.Executor(c).run({"x": jnp.asarray([0.5, -1.0]), "w": array_api_strict.asarray([1.0, 2.0])})
    with pytest.raises(cf.InputError, match="'x' is .*int64; expected float64, so cast it first"):
        cf.Executor(c).run({"x": array_api_strict.asarray([1, 2])})


def test_without_array_api_compat_the_error_names_the_extra(monkeypatch):
    import sys

    import jax.numpy as jnp

    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    with pytest.raises(cf.MissingExtraError, match=r"'x' is a .*; arrays other than NumPy's need `pip install "
                                                   r"'circuitflow\[arrays\]'`"):
        cf.Executor(circuit("x = 2", "f = neg(x)")).run({"x": jnp.asarray(1.0)})


def test_torch_tensors_stay_torch_tensors():
    torch = pytest.importorskip("torch",
                                reason="torch is not installed: it is too large to be a dependency of the tests")
    c = circuit("x = [1, 2]", {"id": "w", "gate": "parameter", "value": [3, 4]}, "p = mul(x, w)",
                {"id": "f", "gate": "reduce_sum", "inputs": ["p"]})
    result = cf.Executor(c).run({"x": torch.tensor([1.0, 2.0], dtype=torch.float64)})
    assert isinstance(result.gradients["w"], torch.Tensor)
    assert result.gradients["x"].tolist() == [3, 4]


def test_floats_of_16_bits_are_for_storage(tmp_path):
    """Kept short, added up long, and cast to compute."""
    from safetensors.numpy import save_file

    weights = np.array([0.1, 0.2, 65504.0], np.float16)
    save_file({"w": weights}, tmp_path / "w.safetensors")
    c = circuit({"id": "w", "gate": "parameter", "value": {"file": "w.safetensors", "tensor": "w"}},
                {"id": "b", "gate": "parameter", "value": [1, 2, 3], "dtype": "float16"},
                {"id": "wide", "gate": "cast", "dtype": "float32", "inputs": ["w"]}, "p = mul(wide, b)",
                "f = reduce_sum(p)", folder=tmp_path)
    assert [str(c.nodes[name].types[0].dtype)
            for name in ("w", "b", "wide", "p")] == ["float16", "float16", "float32", "float32"]
    result = cf.Executor(c).run()
    assert [result.gradients[name].dtype for name in ("w", "b")] == [np.float16, np.float16]
    np.testing.assert_array_equal(result.gradients["b"], weights)
    np.testing.assert_array_equal(cf.Executor(cf.gradient(c)).forward().outputs["db"], weights)
    ones = circuit({"id": "x", "gate": "input", "shape": ["n"], "dtype": "float16"}, "f = reduce_sum(x)")
    assert cf.Executor(ones).run({"x": np.ones(4096, np.float16)}).outputs["f"] == 4096
    (message,) = faults(document({"id": "x", "gate": "input", "value": 70000, "dtype": "float16"}))
    assert message == "node 'x': 70000 is too large for a float16"


SHORT = [{"id": "x", "gate": "input", "value": [1, 2, 3], "dtype": "float32"},
         {"id": "s", "gate": "cast", "dtype": "bfloat16", "inputs": ["x"]},
         "y = mul(s, s)", "f = reduce_sum(y)"]


def test_bfloat16_is_where_the_array_library_has_it():
    with pytest.raises(cf.GateError,
                       match="node 's': cast: numpy has no bfloat16; give the circuit arrays of a library that has, "
                             "such as "
                                           "torch or JAX"):
        cf.Executor(circuit(*SHORT)).forward()
    with pytest.raises(cf.InputError, match="numpy has no bfloat16; give arrays of a library that has"):
        cf.Executor(circuit(*SHORT)).run(of="y", wrt="s", upstream={"y": [1, 2, 3]})
    given = {"x": jnp.asarray([1.0, 2.0, 3.0], jnp.float32)}
    squares = cf.Executor(circuit(*SHORT)).run(given, of="y", wrt="s", upstream={"y": [1, 0, 1]})
    assert squares.gradients["s"].tolist() == [2, 0, 6]
    result = cf.Executor(circuit(*SHORT)).run({"x": jnp.asarray([1.0, 2.0, 3.0], jnp.float32)})
    assert str(result.outputs["f"].dtype) == "bfloat16"
    assert (float(result.outputs["f"]), str(result.gradients["x"].dtype)) == (14, "float32")
    np.testing.assert_array_equal(result.gradients["x"], [2, 4, 6])
    gradient = cf.gradient(circuit(*SHORT))
    np.testing.assert_array_equal(cf.Executor(gradient).forward(given).outputs["dx"], [2, 4, 6])
    scalar = circuit({"id": "x", "gate": "input", "value": 3, "dtype": "float32"}, SHORT[1], "y = mul(s, s)")
    (slope,) = cf.Executor(cf.gradient(scalar)).forward({"x": jnp.asarray(3, jnp.float32)}).outputs.values()
    assert (float(slope), str(slope.dtype)) == (6, "float32")


def test_floats_of_16_bits_mix_to_what_holds_both():
    assert [promote(*pair) for pair in [("float16", "float32"), ("float64", "float16"), ("float16", "bfloat16"),
                                        ("bfloat16", "float32")]] == [
        "float32", "float64", "float32", "float32"]


def test_a_result_says_what_it_is_in_a_line():
    result = cf.Executor(circuit("x = 2", "f = neg(x)", name="n\x1b")).run()
    assert repr(result) == "<Result of 'n\\\\x1b': f = -2; 2 values, 2 gradients>"
    many = cf.Executor(circuit("x = 2", *(f"f{i} = neg(x)" for i in range(5)),
                               outputs=[f"f{i}" for i in range(5)])).run()
    assert "f3 = -2, …; 6 values" in repr(many)


WRONG = (None, b"abc", 1j, object(), {1}, {"a": 1}, len, np.float64, np.dtype("float64"), memoryview(b"ab"),
         (i for i in "a"), "1", ["1"], [None],
         np.array([None]), np.array(["a"]), np.zeros(2, [("a", float)]), np.zeros(2, complex), [[1.0], [2.0, 3.0]],
         [[[[1.0]]]], np.ones((2, 3)),
         jnp.ones(2, complex), jnp.ones((2, 3)))


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_a_value_of_a_wrong_kind_is_refused_in_a_sentence(value):
    c = circuit({"id": "x", "gate": "input", "shape": ["n"]},
                {"id": "i", "gate": "input", "value": [1], "dtype": "int64"}, "k = neg(x)", "f = square(x)")
    executor = cf.Executor(c)
    for ask in (lambda: executor.run({"x": value}, upstream={"f": [1.0]}), lambda: executor.forward({"x": value}),
                lambda: cf.check(c, {"x": value}),
                lambda: executor.run({"x": [1.0]}, upstream={"f": value}),
                lambda: executor.run({"x": value}, upstream={"f": value}),
                lambda: cf.check(c, {"x": [1.0]}, upstream={"f": value}),
                lambda: executor.run({"x": [1.0]}, wrt=(), upstream={"f": value}),
                lambda: executor.compile(engine="interpreter")(x=value)):
        with pytest.raises(cf.InputError) as error:
            ask()
        assert re.match(r"'x' |upstream 'f' ", str(error.value)), error.value
        assert str(error.value).isprintable()


@pytest.mark.parametrize(("asked", "message"), [
    ({"inputs": 3}, "inputs is 3; expected a mapping by id, such as {'x': 1.0}"),
    ({"inputs": [("x", 1)]}, "inputs is a list of 1; expected a mapping"),
    ({"inputs": {1: 2.0}}, "inputs: 1 is no id; expected a mapping by id"),
    ({"upstream": "f"}, "upstream is \"f\"; expected a mapping"),
    ({"upstream": {("f",): 1.0}}, "upstream: a list of 1 is no id; expected a mapping"),
    ({"of": 3}, "of is 3; expected a reference to a node, or several"),
    ({"wrt": b"x"}, "wrt is b'x'; expected a reference to a node, or several"),
    ({"of": [None]}, "of: null is no reference to a node; expected its id as a string"),
    ({"wrt": [["x"]]}, "wrt: a list of 1 is no reference to a node"), ({"cache": 3}, "run: cache is 3; expected text"),
])
def test_a_question_of_a_wrong_kind_is_refused_in_a_sentence(asked, message):
    executor = cf.Executor(circuit("x = 3", "f = square(x)"))
    asks = [executor.run]
    if not {"inputs", "upstream", "cache"} & set(asked):
        asks.append(lambda **asked: cf.gradient(executor.circuit, **asked))
    for ask in asks:
        with pytest.raises(cf.InputError) as error:
            ask(**asked)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize("upstream", [np.arange(6.0), list(range(6)), jnp.arange(6.0)])
def test_an_upstream_gradient_of_a_size_made_of_named_ones(upstream):
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "shape": ["batch"]},
                                   {"id": "f", "gate": "concat", "inputs": ["x", "x"], "axis": 0}))
    for cache in ("all", "needed", "recompute"):
        found = executor.run({"x": np.arange(3.0)}, upstream={"f": upstream}, cache=cache).gradients["x"]
        np.testing.assert_array_equal(np.asarray(found), [3, 5, 7])
    with pytest.raises(cf.InputError, match=r"upstream 'f' has shape \(5,\); expected \(6,\), as the output"):
        executor.run({"x": np.arange(3.0)}, upstream={"f": upstream[:5]})


def test_an_upstream_gradient_that_flows_nowhere_must_fit_all_the_same():
    executor = cf.Executor(circuit("x = [1, 2]", {"id": "k", "gate": "constant", "value": [1, 2]}, "f = neg(k)",
                                   "g = neg(x)", outputs=["f", "g"]))
    assert executor.run(upstream={"f": [1, 2], "g": [1, 2]}).gradients["x"].tolist() == [-1, -2]
    with pytest.raises(cf.InputError, match=r"upstream 'f' has shape \(3,\); expected \(2,\), as the output"):
        executor.run(upstream={"f": [1, 2, 3], "g": [1, 2]})


def test_what_only_looks_like_an_array_is_refused():
    class Looks:
        dtype, shape = "float64", (2,)

    loaded = circuit("x = 1", "f = exp(x)")
    with pytest.raises(cf.InputError, match=r"'x' is a .*Looks; expected a number, lists of numbers or an array"):
        cf.Executor(loaded).run({"x": Looks()})
    with pytest.raises(cf.InputError, match=r"'x' is a .*Looks; expected a number, lists of numbers or an array"):
        Library.of({}).convert(Looks(), cf.ArrayType((), "float64"), "'x'")


def test_arrays_of_torch_that_numpy_has_not():
    torch = pytest.importorskip("torch")
    library = Library.of({"x": torch.ones(2)})
    assert library.to_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
    with pytest.raises(cf.InputError, match="a Tensor cannot become an array of NumPy"):
        library.to_numpy(torch.eye(2).to_sparse())
