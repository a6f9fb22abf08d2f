"""Derivatives as documents: equal to the executor's, to JAX's, small, readable, and differentiable again."""

from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import circuitflow as cf
from circuitflow.gates import AtLeast
from circuitflow.transforms.writer import Writer
from support.derivatives import agrees, values
from support.documents import call, circuit, document
from support.random_circuits import SETTINGS, documents
from support.suite import FILES, ROOT

STAGED = cf.load(ROOT / "circuits" / "staged.json")


def staged(x, y):
    return (x + jax.nn.sigmoid(y)) / (jax.nn.sigmoid(x) + (x + y) ** 2)


def nodes(c: cf.Circuit) -> dict:
    return {node["id"]: node for node in json.loads(cf.dumps(c))["nodes"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_gradient_of_every_example_and_its_own_gradient(path):
    c = cf.load(path)
    gradient = agrees(c)
    ones = {name: np.ones_like(value) for name, value in values(gradient).items()}
    wrt = [name for name in cf.Executor(c).plan().wrt if name in gradient.nodes]
    again = cf.vjp(gradient, wrt=wrt)
    result = cf.Executor(gradient).run(upstream=ones)
    seeds = [name for name, node in again.nodes.items() if node.kind == "input" and name not in gradient.nodes]
    found = values(again, dict(zip(seeds, ones.values(), strict=True)))
    for name, value in zip(wrt, found.values(), strict=True):
        expected = result.gradients.get(name, np.zeros_like(value))
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["staged", "product", "patterns", "fork", "square", "tie", "sigmoid_neuron_fused"])
def test_documents_stay_small(name):
    c = cf.load(ROOT / "circuits" / f"{name}.json")
    gradient = cf.gradient(c)
    assert len(gradient.nodes) < 5 * len(c.nodes)
    rows = sum(len(cf.gradient(gradient, of=row).nodes) for row in gradient.outputs if len(gradient.outputs) <= 2)
    assert rows < 20 * len(c.nodes)


def test_second_derivatives_of_staged_equal_jax():
    jax_hessian = jax.hessian(staged, argnums=(0, 1))(3.0, -4.0)
    first = cf.gradient(STAGED)
    for row, expected in zip(first.outputs, jax_hessian, strict=True):
        found = values(cf.gradient(first, of=row, wrt=["x", "y"]))
        np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)
    third = jax.grad(jax.grad(jax.grad(staged)))(3.0, -4.0)
    (found,) = values(cf.gradient(cf.gradient(cf.gradient(STAGED, wrt="x"), wrt="x"), wrt="x")).values()
    np.testing.assert_allclose(found, third, rtol=1e-12)


def test_products_with_vectors_equal_jax():
    tangent = {"x_dot": 0.7, "y_dot": -1.3}
    value, derivative = jax.jvp(staged, (3.0, -4.0), (0.7, -1.3))
    found = values(cf.jvp(STAGED, values=True), tangent)
    assert list(found) == ["f", "f_dot"]
    np.testing.assert_allclose(list(found.values()), [value, derivative], rtol=1e-13)
    _, second = jax.jvp(jax.grad(staged, (0, 1)), (3.0, -4.0), (0.7, -1.3))
    np.testing.assert_allclose(list(values(cf.hvp(STAGED), tangent).values()), second, rtol=1e-12)
    assert len(cf.jvp(STAGED).nodes) < 3 * len(STAGED.nodes)
    assert len(cf.hvp(STAGED).nodes) < 6 * len(STAGED.nodes)


def test_a_product_with_the_jacobian_has_an_input_for_every_upstream_gradient():
    c = circuit("x = 2", "y = 3", "f = mul(x, y)", "g = exp(x)", outputs=["f", "g"])
    assert values(cf.vjp(c, values=True), {"df": 10, "dg": 1}) == {
        "f": 6, "g": np.exp(2), "dx": 30 + np.exp(2), "dy": 20}
    with pytest.raises(cf.InputError, match="no value for input 'df'"):
        values(cf.vjp(c, of="f"))


def test_forward_mode_of_what_does_not_depend_on_the_input_is_zero():
    c = circuit("x = 2", "y = 3", "f = neg(x)", "g = exp(y)", outputs=["f", "g"])
    assert values(cf.jvp(c, wrt="x"), {"x_dot": 5}) == {"f_dot": -5, "g_dot": 0}
    assert values(cf.jvp(c, of="g", wrt="x"), {"x_dot": 5}) == {"g_dot": 0}
    assert values(cf.hvp(c, wrt="x"), {"x_dot": 5}) == {"dx_dot": 0}


def test_a_gradient_is_called_after_its_node():
    gradient = agrees(circuit("x = 2", "q = exp(x)", "r = mul(q, x)", "f = sin(r)"))
    assert list(nodes(gradient)) == ["x", "q", "r", "dr", "dq", "r_back", "q_back", "dx"]
    assert nodes(gradient)["dr"] == {"id": "dr", "gate": "cos", "inputs": ["r"], "description": "from f = sin(r)"}
    taken = agrees(circuit("x = 2", "dx = exp(x)", "f = sin(dx)"))
    assert list(taken.outputs) == ["dx_2"]
    assert nodes(taken)["dx"]["gate"] == "exp"


def test_what_was_written_stays_and_what_is_not_needed_goes():
    c = circuit({"id": "x", "gate": "input", "value": 2, "label": "the input"}, "unused = exp(x)",
                {"id": "q", "gate": "mul", "inputs": ["x", "x"], "description": "squared", "metadata": {"by": "me"}},
                "f = mul(q, x)", outputs=["f"], name="cube")
    gradient = agrees(c)
    assert nodes(gradient)["x"] == {"id": "x", "gate": "input", "value": 2, "label": "the input"}
    assert nodes(gradient)["q"] == {"id": "q", "gate": "mul", "inputs": ["x", "x"], "description": "squared",
                                    "metadata": {"by": "me"}}
    assert not {"unused", "f"} & set(nodes(gradient))
    assert gradient.name == "gradient_of_cube"


def test_inputs_and_parameters_stay_even_if_the_gradient_needs_none_of_them():
    gradient = agrees(circuit("x = 2", "y = 3", "f = add(x, y)"))
    assert values(gradient, {"x": 5, "y": 6}) == {"dx": 1, "dy": 1}
    assert [node["gate"] for node in nodes(gradient).values()] == ["input", "input", "constant", "constant"]


def test_no_one_is_multiplied_and_no_zero_added():
    gradient = agrees(circuit("x = 2", "y = 3", "p = mul(x, y)", "q = add(p, x)", "f = identity(q)"))
    assert {node["gate"] for node in nodes(gradient).values()} == {"input", "constant", "add", "identity"}
    assert nodes(gradient)["dx"]["inputs"] == ["one", "y"]


def test_constants_are_folded():
    """pow with the exponent 1: no comparison of the exponent, no logarithm is left."""
    c = circuit("x = 2", {"id": "two", "gate": "constant", "value": 2}, "f = pow(x, two)")
    gradient = agrees(c)
    assert [(node["gate"], node.get("inputs")) for node in nodes(gradient).values()] == [
        ("input", None), ("constant", None), ("mul", ["two", "x"])]


def test_the_same_is_not_written_twice():
    gradient = agrees(circuit("x = 2", "a = exp(x)", "b = exp(x)", "f = mul(a, b)"))
    assert [node["gate"] for node in nodes(gradient).values()].count("exp") == 2  # both are the user's
    tan = agrees(circuit("x = 2", "y = 3", "a = tan(x)", "f = mul(a, y)"))
    assert [node["gate"] for node in nodes(tan).values()].count("tan") == 1


def test_an_output_that_is_no_scalar_adds_an_input():
    c = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]}, "f = exp(x)", upstream={"f": [1, 0, -1]})
    gradient = agrees(c)
    assert nodes(gradient)["df"] == {"id": "df", "gate": "input", "value": [1, 0, -1],
                                     "description": "upstream gradient on f"}
    bare = cf.gradient(circuit({"id": "x", "gate": "input", "value": [1, 2, 3]}, "f = exp(x)"))
    assert nodes(bare)["df"]["shape"] == [3]
    np.testing.assert_allclose(values(bare, {"df": [1, 0, -1]})["dx"], values(gradient)["dx"])
    scaled = agrees(circuit("x = 2", "f = exp(x)", upstream={"f": 10}))
    assert values(scaled) == {"dx": 10 * np.exp(2)}


def test_named_dimensions_stay():
    c = circuit({"id": "x", "gate": "input", "shape": ["batch", 3]},
                {"id": "w", "gate": "parameter", "value": [1, 2, 3]},
                "p = mul(x, w)", "s = sigmoid(p)", "f = reduce_sum(s)")
    for size in (1, 5):
        agrees(c, {"x": np.random.RandomState(size).standard_normal((size, 3))})
    free = cf.gradient(circuit({"id": "x", "gate": "input", "shape": ["batch", 3]}, "f = exp(x)"))
    assert nodes(free)["df"]["shape"] == ["batch", 3]
    agrees(circuit({"id": "x", "gate": "input", "shape": ["n"], "value": [1, 2, 3]}, "q = tanh(x)", "f = mul(q, x)",
                   upstream={"f": [1, 1, 2]}))
    agrees(circuit({"id": "x", "gate": "input", "shape": ["n"], "value": [1, 2]}, "f = concat(x, x)",
                   upstream={"f": [1, 1, 2, 1]}))
    with pytest.raises(cf.InputError, match=r"the upstream gradient on f needs an input with the dimension 2\*batch, "
                                            r"which none can declare"):
        cf.gradient(circuit({"id": "x", "gate": "input", "shape": ["batch"]}, "f = concat(x, x)"))


@pytest.mark.parametrize("nodes", [
    ["c = concat(x, y, x)"], ["c = concat(x, y)", {"id": "d", "gate": "slice", "start": 1, "stop": -1, "inputs": ["c"]},
                              "f = exp(d)"],
    [{"id": "t", "gate": "tile", "repeats": [3], "inputs": ["x"]}, "f = exp(t)"],
    [{"id": "p", "gate": "pad", "pad_width": [[1, 2]], "inputs": ["x"]}, "f = exp(p)"],
    [{"id": "p", "gate": "slice", "start": -2, "inputs": ["x"]}, "f = exp(p)"], ["p = reduce_prod(x)", "f = exp(p)"],
    [{"id": "s", "gate": "stack", "axis": 1, "inputs": ["x", "x"]},
     {"id": "p", "gate": "reduce_mean", "axis": 0, "inputs": ["s"]}],
    ["p = reduce_std(x)", "s = sum_to_like(x, p)", "f = mul(s, p)"], ["e = expand_like(w, x)", "f = mul(e, x)"],
    ["o = outer(x, y)", "f = exp(o)"], [{"id": "e", "gate": "einsum", "equation": "i,j->", "inputs": ["x", "y"]}],
    [{"id": "m", "gate": "cum_sum", "inputs": ["x"]}, "s = softmax(m)"],
    [{"id": "k", "gate": "top_k", "k": 2, "inputs": ["x"]}, "f = exp(k.values)"],
])
def test_rules_take_shapes_from_operands(nodes):
    """With sizes that are not known when the document is written, for any that come."""
    named = [{"id": "x", "gate": "input", "shape": ["n"]}, {"id": "y", "gate": "input", "shape": ["m"]},
             {"id": "w", "gate": "parameter", "value": 2}]
    made = [json.loads(document(node))["nodes"][0] for node in nodes]
    last = made[-1]["id"]
    c = circuit(*named, *made, {"id": "q", "gate": "reduce_l2", "inputs": [last]}, outputs=["q"])
    gradient = cf.gradient(c, wrt=[name for name in ("x", "y") if name in cf.Executor(c).plan().wrt])
    for n, m in [(4, 3), (7, 2)]:
        given = {"x": np.linspace(0.3, 1.7, n), "y": np.linspace(-0.5, 0.9, m)}
        result = cf.Executor(c).run(given)
        for name, value in values(gradient, given).items():
            np.testing.assert_allclose(value, result.gradients[name[1:]], rtol=1e-12, atol=1e-14)


def test_a_running_product_has_a_gradient_along_axes_of_known_size():
    c = circuit({"id": "x", "gate": "input", "shape": ["n"]}, "p = cum_prod(x)", "f = reduce_sum(p)")
    with pytest.raises(cf.GateError, match="node 'p': cum_prod: has a gradient along axes of known size only, not n"):
        cf.gradient(c)
    assert cf.Executor(c).run({"x": [2, 3]}).gradients["x"].tolist() == [4, 2]


def test_a_jacobian_needs_an_output_that_has_derivatives():
    c = circuit("x = 2", "y = 3", "f = less(x, y)")
    with pytest.raises(cf.InputError, match="circuit 'circuit' has no floating-point output to differentiate"):
        cf.jacobian(c, wrt="x")


def test_a_jacobian_by_a_carry_that_the_output_does_not_read_is_zeros():
    body = {"nodes": [{"id": "h", "gate": "input"}, {"id": "t", "gate": "input"},
                      {"id": "w", "gate": "mul", "inputs": ["t", "t"]},
                      {"id": "after", "gate": "tanh", "inputs": ["h"]}], "outputs": ["after", "w"]}
    c = circuit({"id": "x", "gate": "input", "value": [[1, 2], [3, 4]]},
                {"id": "h", "gate": "parameter", "value": [1, 2]},
                {"id": "s", "gate": "scan", "circuit": "body", "inputs": {"h": "h", "t": "x"},
                 "carry": {"h": "after"}, "over": ["t"]}, outputs=["s.w"], circuits={"body": body})
    found = cf.jacobian(c, wrt="h")
    assert not values(found)["ds_w_dh"].any()
    assert "scan" not in {node["gate"] for node in nodes(found).values()}


def test_jacobians_equal_jax():
    random = np.random.RandomState(0)
    arrays = {"x": random.standard_normal(3), "W": random.standard_normal((3, 2))}
    c = circuit(*({"id": name, "gate": "parameter", "value": value.tolist()} for name, value in arrays.items()),
                "m = matmul(x, W)", "y = tanh(m)", "z = mul(y, m)", "k = reduce_sum(x)", "s = stop_gradient(x)",
                outputs=["z", "k", "s"])

    def function(x, W):
        return jnp.tanh(x @ W) * (x @ W), x.sum(), jax.lax.stop_gradient(x)

    found = values(cf.jacobian(c))
    for output, row in zip("zks", jax.jacobian(function, (0, 1))(*arrays.values()), strict=True):
        for name, block in zip("xW", row, strict=True):
            np.testing.assert_allclose(found[f"d{output}_d{name}"], block, rtol=1e-12)
    scalar = circuit(*({"id": name, "gate": "parameter", "value": value.tolist()} for name, value in arrays.items()),
                     "m = matmul(x, W)", "y = tanh(m)", "z = mul(y, m)", "f = reduce_sum(z)")
    hessian = values(cf.hessian(scalar))
    theirs = jax.hessian(lambda x, W: function(x, W)[0].sum(), (0, 1))(*arrays.values())
    for one, row in zip("xW", theirs, strict=True):
        for other, block in zip("xW", row, strict=True):
            np.testing.assert_allclose(hessian[f"dd{one}_d{other}"], block, rtol=1e-10)
    named = circuit({"id": "x", "gate": "input", "shape": ["n", 3]}, "y = sin(x)")
    x = random.standard_normal((2, 3))
    np.testing.assert_allclose(values(cf.jacobian(named), {"x": x})["dy_dx"], jax.jacobian(jnp.sin)(x), rtol=1e-12)
    upstream = random.standard_normal((2, 3))
    again = values(cf.vjp(cf.jacobian(c), of="dz_dx", wrt="x"), {"ddz_dx": upstream})["dx"]
    expected = jax.grad(lambda x: jnp.sum(upstream
                                          * jax.jacobian(lambda x: function(x, arrays["W"])[0])(x)))(arrays["x"])
    np.testing.assert_allclose(again, expected, rtol=1e-10)


def test_float32_stays_float32():
    for dtype in ("float32", "float64"):
        c = circuit({"id": "x", "gate": "input", "value": [1, 2], "dtype": "float32"}, "s = sigmoid(x)",
                    "t = div(s, x)",
                    "f = reduce_mean(t)", dtype=dtype)
        agrees(c)
        assert values(cf.jvp(c), {"x_dot": np.ones(2, np.float32)})["f_dot"].dtype == np.float32


X = {"id": "x", "gate": "input"}
BLOCK = {"nodes": [X, {"id": "w", "gate": "parameter", "value": 3},
                   {"id": "p", "gate": "mul", "inputs": ["x", "w"]}, {"id": "y", "gate": "sigmoid", "inputs": ["p"]}],
         "outputs": ["y"]}


def test_the_gradient_of_a_subcircuit_is_a_subcircuit_whose_parameters_are_one():
    c = circuit("x = 0.5", call("a", "x"), call("b", "a"), circuits={"block": BLOCK})
    gradient = agrees(c)
    made = json.loads(cf.dumps(gradient))
    assert list(made["circuits"]) == ["block", "block_gradient"]
    assert [node["id"] for node in made["nodes"] if node["gate"] == "parameter"] == ["a_w", "b_w"]
    assert list(gradient.outputs) == ["dx", "da_w", "db_w"]
    moved = cf.Executor(c).run({"a/w": 1.5, "x": 2})
    found = values(gradient, {"a_w": 1.5, "x": 2})
    assert [found[name] for name in ("dx", "da_w", "db_w")] == pytest.approx(
        [moved.gradients[name] for name in ("x", "a/w", "b/w")], rel=1e-14)
    agrees(gradient, of="dx")
    agrees(cf.jvp(c), {"x_dot": 1, "a_w_dot": 2, "b_w_dot": 3})


def test_calls_in_calls():
    outer = {"nodes": [X, call("k", "x"), {"id": "y", "gate": "mul", "inputs": ["k", "x"]}], "outputs": ["y", "k"],
             "circuits": {"block": BLOCK}}
    c = circuit("x = 0.5", call("h", "x", gate="outer"), call("i", "h.y", gate="outer"), "f = add(h.k, i.y, i.k)",
                circuits={"outer": outer}, outputs=["f"])
    gradient = agrees(c)
    assert set(json.loads(cf.dumps(gradient))["circuits"]) == {"block", "block_gradient", "outer", "outer_gradient"}
    agrees(gradient, of="dx")
    agrees(cf.gradient(c, wrt="x", values=True), of=["f", "dx"])


def test_a_subcircuit_that_is_called_with_other_types_has_another_gradient():
    block = {"nodes": [X, {"id": "w", "gate": "input", "value": 3}, {"id": "p", "gate": "mul", "inputs": ["x", "w"]}],
             "outputs": ["p"]}
    c = circuit("x = 0.5", {"id": "v", "gate": "input", "value": [1, 2, 3]}, call("a", "x"), call("b", "v"),
                {**call("c", "v"), "inputs": ["v", "a"]}, "s = mul(b, c)", "f = reduce_sum(s)",
                circuits={"block": block})
    gradient = agrees(c)
    assert list(gradient.outputs) == ["dx", "dv", "da_w", "db_w"]
    assert len(json.loads(cf.dumps(gradient))["circuits"]) == 3


def test_outputs_of_a_call_that_send_nothing_back_are_not_differentiated():
    block = {"nodes": [X, {"id": "y", "gate": "exp", "inputs": ["x"]}, {"id": "z", "gate": "sin", "inputs": ["x"]},
                       {"id": "n", "gate": "greater", "inputs": ["x", "y"]}], "outputs": ["y", "z", "n"]}
    c = circuit("x = 0.5", call("a", "x"), "f = where(a.n, x, a.z)", circuits={"block": block})
    gradient = agrees(c)
    assert [node["gate"] for node in json.loads(cf.dumps(gradient))["circuits"]["block_gradient"]["nodes"]] == [
        "input", "input", "cos", "mul_no_nan"]
    nothing = {"nodes": [X, {"id": "y", "gate": "stop_gradient", "inputs": ["x"]}], "outputs": ["y"]}
    stopped = agrees(circuit("x = 0.5", call("a", "x", gate="nothing"), "f = mul(a, x)", circuits={"nothing": nothing}))
    assert values(stopped) == {"dx": 0.5}


def test_an_operand_that_a_call_does_not_need_has_no_gradient_by_default():
    first = {"nodes": [X, {**X, "id": "y"}, {"id": "z", "gate": "exp", "inputs": ["x"]}], "outputs": ["z"]}
    c = circuit("x = 0.5", "y = 2", call("a", "x", "y", gate="first"), circuits={"first": first})
    assert list(agrees(c).outputs) == ["dx"]
    assert values(agrees(c, wrt=["y", "x"])) == {"dy": 0, "dx": np.exp(0.5)}


def test_files_are_read_from_where_the_document_lies(tmp_path):
    from safetensors.numpy import save_file

    (tmp_path / "parts").mkdir()
    save_file({"w": np.array([1.0, 2.0])}, tmp_path / "parts" / "w.safetensors")
    block = {"nodes": [X, {"id": "w", "gate": "constant", "value": {"file": "w.safetensors", "tensor": "w"}},
                       {"id": "v", "gate": "parameter", "value": {"file": "w.safetensors", "tensor": "w"}},
                       {"id": "p", "gate": "mul", "inputs": ["x", "w", "v"]}], "outputs": ["p"]}
    (tmp_path / "parts" / "block.json").write_text(json.dumps({"circuitflow": "1.0", **block}))
    (tmp_path / "main.json").write_text(document("x = 3", call("a", "x"), "s = mul(a, a)", "f = reduce_sum(s)",
                                                 circuits={"block": {"file": "parts/block.json"}}))
    gradient = agrees(cf.load(tmp_path / "main.json"))
    assert '"parts/w.safetensors"' in cf.dumps(gradient)


def test_a_dtype_of_its_own_stays_with_a_file(tmp_path):
    block = {"circuitflow": "1.0", "dtype": "float32", "nodes": [
        X, {"id": "w", "gate": "parameter", "value": 2}, {"id": "c", "gate": "constant", "value": 0.5},
        {"id": "p", "gate": "mul", "inputs": ["x", "w", "c"]}], "outputs": ["p"]}
    (tmp_path / "block.json").write_text(json.dumps(block))
    c = circuit({"id": "x", "gate": "input", "value": 3, "dtype": "float32"}, call("a", "x"),
                circuits={"block": {"file": "block.json"}}, folder=tmp_path)
    assert str(values(agrees(c))["dx"].dtype) == "float32"


@pytest.mark.parametrize(("asked", "message"), [
    ({"of": "a/p"}, "of: 'a/p' lies inside a call, where a derivative has no name for it; make it an output of the "
                    "subcircuit"),
    ({"wrt": "a/p"}, "wrt: 'a/p' lies inside a call"),
    ({"wrt": "z"}, "wrt: there is no 'z' in circuit 'c'"),
    ({"wrt": "n"}, "wrt: 'n' is int64; integers and booleans have no gradient"),
    ({"of": "n"}, "circuit 'c' has no floating-point input or parameter that its outputs need; there is nothing to "
                  "differentiate by"),
])
def test_what_cannot_be_differentiated(asked, message):
    c = circuit("x = 0.5", {"id": "n", "gate": "input", "value": 3, "dtype": "int64"}, call("a", "x"), "f = neg(a)",
                circuits={"block": BLOCK}, name="c")
    with pytest.raises(cf.InputError) as error:
        cf.gradient(c, **asked)
    assert str(error.value).startswith(message)


def test_what_need_not_be_written():
    """Each simplification by itself: the wire that comes out is one that was there, or a smaller gate."""
    writer = Writer(cf.GATES, "float64")
    x = writer.port("x", cf.ArrayType((2, 3), "float64"))
    s = writer.port("s", cf.ArrayType((), "float64"))
    zeros, ones = writer.zeros_like(x), writer.ones_like(x)
    one, zero = writer.constant(1.0, "float64"), writer.constant(0.0, "float64")
    assert x + zeros is x
    assert zeros + zeros is zeros
    assert x * ones is x
    assert writer.mul(x, one, 1.0) is x
    assert (x * -1.0).record.gate == "neg"
    assert writer.neg(-x) is x
    assert writer.mul(x, one, x) is x * x
    assert [part.shape for part in writer.split(x, axis=1, sections=3)] == [(2, 1)] * 3
    assert writer.split(x, axis=1, sections=3)[0] is writer.split(x, axis=1, sections=3)[0]
    assert (0.0 - x).record.gate == "neg"
    assert x - 0.0 is x
    assert x / 1.0 is x
    assert x**1.0 is x
    assert (x * 0.0).record.gate == "mul"  # not 0 for every x
    assert writer.mul_no_nan(zeros, x) is zeros
    assert writer.mul_no_nan(one, s) is s
    assert writer.mul_no_nan(x, ones) is x
    assert writer.mul_no_nan(2.0, x).record.gate == "mul"
    assert writer.where(True, x, zeros) is x
    assert writer.where(False, x, zeros) is zeros
    assert writer.where(writer.is_nan(x), s, s).record.gate == "where"  # stretched by the condition
    assert writer.where(writer.is_nan(s), s, s) is s
    assert writer.zeros_like(s) is zero
    assert writer.size(x).fill == 6
    assert writer.matrix_transpose(writer.matrix_transpose(x)) is x
    assert writer.expand_like(x, ones) is x
    assert writer.cast_like(x, ones) is x
    assert writer.reshape(x, shape=[2, 3]) is x
    assert writer.constant(-0.0, "float64") is not zero
    assert [writer.constant(value, "float64").record.attributes["value"]
            for value in (np.inf, -np.inf, -0.0, 2.0, 0.5)] == [
        "Infinity", "-Infinity", -0.0, 2, 0.5]
    assert writer.add(one, 2.0) is writer.constant(3.0, "float64")
    assert writer.log(writer.constant(-1.0, "float64")).record.gate == "log"  # NaN is for the run to show
    with pytest.raises(TypeError, match="a backward rule must not branch on a value; select with op.where"):
        bool(x)
    with pytest.raises(AttributeError, match="there is no gate 'cube' in the table"):
        writer.cube(x)


def test_numbers_that_a_float_does_not_hold_are_not_folded():
    large = {"id": "n", "gate": "constant", "value": 2**53 + 1, "dtype": "int64"}
    one = {"id": "one", "gate": "constant", "value": 1, "dtype": "int64"}
    c = circuit("x = 2", large, one, "m = sub(n, one)",
                {"id": "w", "gate": "cast", "dtype": "float64", "inputs": ["m"]}, "f = mul(x, w)")
    assert values(agrees(c)) == {"dx": 2.0**53}
    writer = Writer(cf.GATES, "float64")
    half = writer.constant(1.5, "float64")
    assert np.isnan(writer.cast(half, dtype="bfloat16").fill)
    assert writer.cast(half, dtype="int64").record.attributes["value"] == 1


def test_a_folded_integer_is_exact():
    writer = Writer(cf.GATES, "int64")
    next_ = writer.constant(2**53, "int64") + 1
    assert next_.record.attributes["value"] == 2**53 + 1
    assert (next_ + 1).record.gate == "add"


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
@pytest.mark.parametrize("gate", sorted(cf.GATES))
def test_what_is_folded_has_the_dtype_and_the_value_of_the_gate(gate, dtype):
    row, writer = cf.GATES[gate], Writer(cf.GATES, "float64")
    count = row.operands.minimum if isinstance(row.operands, AtLeast) else len(row.operands)
    for numbers in ([10, 3, 2], [1, 1, 0], [0, 1, 1]):
        operands = [writer.constant(np.asarray(x, dtype)[()], dtype) for x in (numbers * 3)[:count]]
        try:
            out = writer.emit(gate, *operands)
            with np.errstate(all="ignore"):
                value = row.forward(np, *(np.asarray(x, dtype)[()] for x in (numbers * 3)[:count]), **row.defaults)
        except (cf.ShapeError, ValueError, TypeError, IndexError, AttributeError):  # no gate of such scalars
            continue
        if not isinstance(out, tuple) and out.record.gate == "constant":
            assert out.type == row.shape(*(x.type for x in operands), **row.defaults)
            np.testing.assert_array_equal(float(out.record.attributes["value"]), float(value))
            assert isinstance(out.record.attributes["value"], bool) == (out.dtype == "bool")


def test_a_gate_of_ones_own_is_differentiated_to_any_order():
    cube = cf.Gate("x³", "The cube.", ("x",), lambda x: x, reads=cf.Reads.INPUTS, forward=lambda xp, x: x * x * x,
                   backward=(lambda op, g, out, x: 3 * g * x * x,))
    c = circuit("x = 2", "f = cube(x)", gates={**cf.GATES, "cube": cube})
    assert values(cf.hessian(c)) == {"ddx_dx": 12}
    assert values(cf.gradient(c, values=True)) == {"f": 8, "dx": 12}


@pytest.mark.parametrize("count", [2, 8, 9, 150])
def test_the_gradient_of_a_concatenation_of_named_sizes_is_as_long_as_it_is(count):
    nodes = [{"id": f"x{i}", "gate": "input", "shape": [f"n{i}", 2]} for i in range(count)]
    c = circuit(*nodes, {"id": "y", "gate": "concat", "axis": 0, "inputs": [f"x{i}" for i in range(count)]},
                "z = mul(y, y)", {"id": "f", "gate": "reduce_sum", "inputs": ["z"]})
    made = cf.gradient(c)
    assert sum(len(node.operands) for node in made.nodes.values()) < 10 * count + 2 * count * math.log2(count)
    given = {f"x{i}": np.full((1 + i % 3, 2), float(i)) for i in range(count)}
    for name, gradient in cf.Executor(made).run(given, wrt=[]).outputs.items():
        np.testing.assert_array_equal(gradient, 2 * given[name[1:]])


def test_an_output_without_a_gradient_is_no_part_of_it():
    c = circuit("x = 2", "y = 3", "n = less(x, y)", "f = mul(x, y)", outputs=["n", "f"])
    assert values(cf.gradient(c, values=True)) == {"n": True, "f": 6, "dx": 3, "dy": 2}
    assert list(cf.jvp(c, values=True).outputs) == ["n", "f", "f_dot"]


def test_the_same_call_is_not_written_twice():
    """Two outputs of one call send the same back: one application of its gradient serves both paths."""
    c = circuit("x = 0.5", call("a", "x"), call("b", "x"), "f = add(a, b)",
                circuits={"block": {"nodes": [X, {"id": "y", "gate": "sin", "inputs": ["x"]}], "outputs": ["y"]}})
    made = json.loads(cf.dumps(agrees(c)))
    assert [node["gate"] for node in made["nodes"]].count("call") == 1


def test_with_respect_to_a_node_inside():
    c = circuit("x = 0.5", "q = exp(x)", "f = sin(q)")
    assert list(agrees(c, wrt=["q"]).outputs) == ["dq"]
    assert values(cf.jvp(c, wrt="q"), {"q_dot": 2})["f_dot"] == pytest.approx(2 * np.cos(np.exp(0.5)))


@SETTINGS
@given(documents())
def test_gradients_of_random_circuits(made):
    c = cf.loads(json.dumps(made[0]))
    agrees(c)
    tangents = {f"{name}_dot": np.cos(np.arange(value.size)).reshape(value.shape) for name, value in c.values.items()
                if name in cf.Executor(c).plan().wrt}
    forward = values(cf.jvp(c), tangents)
    result = cf.Executor(c).run()
    total = sum(np.sum(result.gradients[name.removesuffix("_dot")] * tangent) for name, tangent in tangents.items())
    (output,) = result.outputs
    np.testing.assert_allclose(np.sum(forward[f"{output}_dot"] * c.upstream[output]), total, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(3))
def test_a_network_of_calls_equals_jax(seed):
    random = np.random.RandomState(seed)
    layer = {"nodes": [{"id": "x", "gate": "input", "shape": ["n", "in"]}, {"id": "W", "gate": "input"},
                       {"id": "b", "gate": "input"}, {"id": "m", "gate": "matmul", "inputs": ["x", "W"]},
                       {"id": "a", "gate": "add", "inputs": ["m", "b"]}, {"id": "y", "gate": "tanh", "inputs": ["a"]}],
             "outputs": ["y"]}
    sizes = {"X": (4, 3), "W1": (3, 5), "b1": (5,), "W2": (5, 2), "b2": (2,)}
    arrays = {name: random.standard_normal(shape) for name, shape in sizes.items()}
    c = circuit(*({"id": name, "gate": "parameter", "value": value.tolist()} for name, value in arrays.items()),
                call("h", "X", "W1", "b1", gate="layer"), call("y", "h", "W2", "b2", gate="layer"), "s = square(y)",
                "f = reduce_sum(s)", circuits={"layer": layer})
    gradient = agrees(c)

    def network(X, W1, b1, W2, b2):
        return jnp.sum(jnp.tanh(jnp.tanh(X @ W1 + b1) @ W2 + b2) ** 2)

    expected = jax.grad(network, range(5))(*arrays.values())
    for found, theirs in zip(values(gradient).values(), expected, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-11, atol=1e-13)
    directions = {f"{name}_dot": random.standard_normal(shape) for name, shape in sizes.items()}
    _, second = jax.jvp(jax.grad(network, range(5)), tuple(arrays.values()), tuple(directions.values()))
    for found, theirs in zip(values(cf.hvp(c), directions).values(), second, strict=True):
        np.testing.assert_allclose(found, theirs, rtol=1e-9, atol=1e-11)


def test_second_derivatives_by_a_node_that_the_gradient_does_not_read():
    c = circuit("x = 2", "z = 3", "q = exp(x)", "f = mul(q, z)")
    assert cf.Executor(cf.hessian(c, wrt="q")).forward().outputs["ddq_dq"] == 0
    assert cf.Executor(cf.hvp(c, wrt="q")).forward({"q_dot": 1.0}).outputs["dq_dot"] == 0


@pytest.mark.parametrize("derivative", [cf.gradient, cf.vjp, cf.hvp, cf.hessian], ids=lambda f: f.__name__)
def test_no_node_to_differentiate_by(derivative):
    with pytest.raises(cf.InputError, match="wrt: names no node; name at least one to differentiate by"):
        derivative(cf.load(ROOT / "circuits/staged.json"), wrt=())
