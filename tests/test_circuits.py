"""The examples in `circuits/`: the published figures of the classic notes, to their last digit."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from support.slices import alike
from support.suite import FILES, ROOT


def run(name: str, inputs=None, **question) -> cf.Result:
    return cf.Executor(cf.load(ROOT / "circuits" / f"{name}.json")).run(inputs, **question)


def digits(value: float, published: str) -> bool:
    """Whether a number is the published one, in as many digits as were published."""
    mantissa = published.lstrip("-").replace(".", "").lstrip("0")
    return float(f"{value:.{len(mantissa)}g}") == float(published)


def test_product():
    result = run("product")
    assert dict(result.values) == {"x": -2, "y": 5, "z": -4, "q": 3, "f": -12}
    assert dict(result.gradients) == {"x": -4, "y": -4, "z": 3, "q": -4, "f": 1}


def test_patterns():
    result = run("patterns")
    assert result.outputs["f"] == -20
    assert [result.gradients[name] for name in "xyzw"] == [-8, 6, 2, 0]


SIGMOID_NEURON = {"w0": "-0.19661193324148185", "x0": "0.3932238664829637", "w1": "-0.3932238664829637",
                  "x1": "-0.5898357997244455", "w2": "0.19661193324148185"}


def test_sigmoid_neuron_with_the_fused_gate():
    result = run("sigmoid_neuron_fused")
    assert repr(float(result.outputs["f"])) == "0.7310585786300049"
    for name, published in SIGMOID_NEURON.items():
        np.testing.assert_array_max_ulp(result.gradients[name], np.float64(published), maxulp=1)
        if name != "x1":  # -3 times the gradient on dot is -0.5898357997244456 in float64
            assert repr(float(result.gradients[name])) == published


def test_sigmoid_neuron_gate_by_gate():
    """The notes print these to 12 digits, and that the two ways differ by -2.78e-17 in the last bit: so do ours."""
    result = run("sigmoid_neuron")
    assert repr(float(result.outputs["f"])) == "0.7310585786300049"
    way_back = [result.gradients[name] for name in ("plus_one", "e", "minus", "dot", "sum", "w0x0", "w1x1")]
    published = ["-0.534446645389", "-0.534446645389", "-0.196611933241", *["0.196611933241"] * 4]
    assert all(map(digits, way_back, published))
    for name, figure in SIGMOID_NEURON.items():
        np.testing.assert_array_max_ulp(result.gradients[name], np.float64(figure), maxulp=1)
    fused = run("sigmoid_neuron_fused")
    assert fused.gradients["dot"] - result.gradients["dot"] == -2.7755575615628914e-17


def test_the_two_sigmoid_neurons_are_equal():
    one, other = run("sigmoid_neuron"), run("sigmoid_neuron_fused")
    for name in ("w0", "w1", "w2", "x0", "x1", "dot", "w0x0", "w1x1", "f"):
        assert one.values[name] == other.values[name]
        np.testing.assert_array_max_ulp(one.gradients[name], other.gradients[name], maxulp=1)


def test_staged():
    result = run("staged")
    assert digits(result.gradients["x"], "2.05956979557")
    assert digits(result.gradients["y"], "1.59223275148")
    assert {c.target for c in result.contributions if c.source == "x"} == {"num", "sigx", "xpy"}
    assert {c.target for c in result.contributions if c.source == "y"} == {"sigy", "xpy"}


def test_matrix_product():
    result = run("matrix_product")
    W, X = result.values["W"], result.values["X"]
    dD = cf.load(ROOT / "circuits/matrix_product.json").upstream["D"]
    np.testing.assert_array_equal(W, np.random.RandomState(0).standard_normal((5, 10)))
    np.testing.assert_array_equal(result.gradients["D"], dD)
    np.testing.assert_allclose(result.values["D"], W @ X, rtol=1e-15)
    np.testing.assert_allclose(result.gradients["W"], dD @ X.T, rtol=1e-15)
    np.testing.assert_allclose(result.gradients["X"], W.T @ dD, rtol=1e-15)


def test_fork_and_square():
    assert dict(run("fork").gradients) == {"x": -3, "y": 3, "xy": 1, "f": 1}
    result = run("square")
    assert result.gradients["x"] == 6
    assert [result.contribution("x", "f", port) for port in (0, 1)] == [3, 3]


def test_tie():
    assert dict(run("tie", of="first").gradients) == {"x": 1, "y": 0, "first": 1}
    assert dict(run("tie", of="shared").gradients) == {"x": 0.5, "y": 0.5, "shared": 1}


def test_neuron_layer():
    result = run("neuron_layer")
    x = result.values["x"]
    total, dx = 0.0, np.zeros(2)
    for i in "123":
        y = 1 / (1 + np.exp(-(x @ result.values[f"w{i}"] + result.values[f"b{i}"])))
        total += y
        dx += y * (1 - y) * result.values[f"w{i}"]
        np.testing.assert_allclose(result.gradients[f"w{i}"], y * (1 - y) * x, rtol=1e-14)
        np.testing.assert_allclose(result.values[f"h{i}/y"], y, rtol=1e-15)
    np.testing.assert_allclose(result.outputs["f"], total, rtol=1e-15)
    np.testing.assert_allclose(result.gradients["x"], dx, rtol=1e-14)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_is_described_and_checks(file):
    circuit = cf.load(file)
    assert circuit.name == file.stem
    assert circuit.document.description
    report = cf.check(circuit)
    assert report.ok
    assert not report.unused
    assert {row.worst.verdict for row in report.compared} == ({"kink"} if file.stem == "tie" else {"ok"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_contributions_sum_to_the_gradient_at_every_node(file):
    result = cf.Executor(cf.load(file)).run()
    sums = {}
    for c in result.contributions:
        sums[c.source] = sums.get(c.source, 0.0) + c.value
    assert sums
    for name, total in sums.items():
        np.testing.assert_array_equal(total, result.gradients[name])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_is_in_canonical_layout_and_loads_again(file):
    circuit = cf.load(file)
    assert cf.dumps(circuit) == file.read_text()
    assert cf.loads(cf.dumps(circuit), folder=file.parent) == circuit
    assert json.loads(cf.dumps(circuit)) == json.loads(file.read_text())


def test_documents_of_derivatives_are_what_the_commands_write():
    staged = cf.load(ROOT / "circuits" / "staged.json")
    assert cf.dumps(cf.gradient(staged)) == (ROOT / "circuits" / "gradient_of_staged.json").read_text()
    assert cf.dumps(cf.hessian(staged)) == (ROOT / "circuits" / "hessian_of_staged.json").read_text()


def test_newtons_first_step_down_the_valley():
    """At (-1.2, 1) the gradient is (-215.6, -88), the Hessian ((1330, 480), (480, 200)) with the determinant 35600."""
    result = run("newton_step")
    np.testing.assert_allclose(result.outputs["next"], [-1.2 + 880 / 35600, 1 + 13552 / 35600], rtol=1e-13)


def _cross_entropy(scores, labels):
    return -jax.nn.log_softmax(scores)[jnp.arange(labels.size), labels].mean()


def _pool(x):
    return x.reshape(*x.shape[:2], 4, 2, 4, 2).max((3, 5))


def _conv(x, w, b):
    return jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]


def _conv_net(image, label, w1, b1, w2, b2, W, b):
    x = jax.nn.relu(_conv(_pool(jax.nn.relu(_conv(image, w1, b1))), w2, b2)).mean((2, 3))
    return _cross_entropy(x @ W + b, label)


def _rnn(xs, target, state, W, U, b, v):
    state, _ = jax.lax.scan(lambda h, x: (jnp.tanh(h @ W + x @ U + b), None), state, xs)
    return (state @ v - target) ** 2


def _attention(x, Wq, Wk, Wv, Wo, scale, bias):
    scores = jnp.einsum("nhd,mhd->hnm", *(jnp.einsum("pi,hid->phd", x, w) for w in (Wq, Wk))) / 2
    weights = jax.nn.softmax(jnp.where(np.tri(5, dtype=bool), scores, -jnp.inf))
    heads = jnp.einsum("hnm,mhd->nhd", weights, jnp.einsum("pi,hid->phd", x, Wv))
    y = x + heads.reshape(5, 8) @ Wo
    y = (y - y.mean(1, keepdims=True)) / jnp.sqrt(y.var(1, keepdims=True) + 1e-5) * scale + bias
    return jnp.sum(y * np.random.RandomState(5).standard_normal((5, 8)))


def _logistic(x, target, w, b):
    logit = x @ w + b
    return -jnp.mean(target * jax.nn.log_sigmoid(logit) + (1 - target) * jax.nn.log_sigmoid(-logit))


NETWORKS = {
    "logistic_regression": _logistic, "rnn": _rnn, "attention": _attention, "conv_net": _conv_net,
    "mlp": lambda image, label, W1, b1, W2, b2: _cross_entropy(jax.nn.relu(image @ W1 + b1) @ W2 + b2, label),
}


@pytest.mark.sliced(name=alike)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_equal_jax_interpreted_and_as_documents(name):
    circuit = cf.load(ROOT / "circuits" / f"{name}.json")
    sources = {key: value for key, value in circuit.values.items() if circuit.nodes[key].kind != "constant"}
    moving = [i for i, value in enumerate(sources.values()) if value.dtype.kind == "f"]
    value, expected = jax.value_and_grad(NETWORKS[name], moving)(*sources.values())
    result = cf.Executor(circuit).run()
    document = cf.Executor(cf.gradient(circuit)).forward().outputs
    if name != "attention":
        np.testing.assert_allclose(result.outputs["loss"], value, rtol=1e-13)
    for i, theirs in zip(moving, expected, strict=True):
        key = list(sources)[i]
        np.testing.assert_allclose(result.gradients[key], theirs, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(document[f"d{key}"], result.gradients[key], rtol=1e-12, atol=1e-15)
