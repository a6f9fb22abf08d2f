"""Models of other frameworks come in as ONNX: values and gradients are those of the framework."""

from __future__ import annotations

import io

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.onnx.importing import import_model
from circuitflow.onnx.reading import model_of

CHANCE = np.random.default_rng(0)


def imported(content, **options):
    """The circuit, and the ids of its inputs by their names in the model."""
    circuit = import_model(model_of(content, "model.onnx"), **options).circuit
    return circuit, {node.label or node.id: node.id for node in circuit.nodes.values() if node.kind == "input"}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["layers", "images", "transformer", "gru"])
def test_torch_by_dynamo(kind):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed, by which torch exports")
    nn = torch.nn
    torch.manual_seed(0)
    module, shape = {
        "layers": lambda: (nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3),
                                         nn.Softmax(-1)), (5, 4)),
        "images": lambda: (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.SiLU(),
                                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 2)), (2, 2, 8, 8)),
        "transformer": lambda: (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        "gru": lambda: (nn.GRU(3, 6, num_layers=2, bidirectional=True, batch_first=True), (2, 4, 3)),
    }[kind]()
    module = module.eval()
    x = torch.tensor(CHANCE.standard_normal(shape).astype(np.float32), requires_grad=True)
    file = io.BytesIO()
    torch.onnx.export(module, (x.detach(),), dynamo=True, verbose=False).save(file)
    circuit, ids = imported(file.getvalue())
    out = module(x)
    out = out if isinstance(out, torch.Tensor) else out[0]
    seed = torch.tensor(CHANCE.standard_normal(out.shape).astype(np.float32))
    out.backward(seed)
    first = next(iter(circuit.outputs))
    run = cf.Executor(circuit).run(dict(zip(ids.values(), [x.detach().numpy()], strict=True)), of=first,
                                   upstream={first: seed.numpy()})
    np.testing.assert_allclose(run.outputs[first], out.detach().numpy(), 1e-5, 1e-5)
    np.testing.assert_allclose(run.gradients[next(iter(ids.values()))], x.grad.numpy(), 1e-4, 1e-5)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lines", "classes", "network", "process", "vectors", "polynomial", "neighbours"])
def test_scikit_learn_by_skl2onnx(kind):
    """Its models have no gradients: beside differences of what they predict."""
    sklearn = pytest.importorskip("sklearn")
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn import gaussian_process, linear_model, neighbors, neural_network, pipeline, preprocessing, svm

    assert sklearn.__version__
    x = CHANCE.standard_normal((40, 3))
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2]
    model = {
        "lines": lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()),
        "classes": lambda: linear_model.LogisticRegression(),
        "network": lambda: neural_network.MLPRegressor(hidden_layer_sizes=(8, 8), activation="tanh", max_iter=50),
        "process": lambda: gaussian_process.GaussianProcessRegressor(alpha=0.1),
        "vectors": lambda: svm.SVR(kernel="poly", degree=2),
        "polynomial": lambda: pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.Ridge()),
        "neighbours": lambda: neighbors.KNeighborsRegressor(),
    }[kind]()
    is_classifier = kind == "classes"
    model.fit(x, (y > 0).astype(int) if is_classifier else y)
    proto = skl2onnx.to_onnx(model, x[:1], options={id(model): {"zipmap": False}} if is_classifier else None)
    circuit, ids = imported(proto.SerializeToString(), dims={"X_0": 4} if kind in ("process", "polynomial") else {})
    predict = model.predict_proba if is_classifier else lambda x: model.predict(x).reshape(-1, 1)
    (name,), output = ids.values(), list(circuit.outputs)[-1]
    want = predict(x[:4])
    seed, along = CHANCE.standard_normal(want.shape), CHANCE.standard_normal((4, 3))
    run = cf.Executor(circuit).run({name: x[:4]}, of=output, upstream={output: seed})
    rtol = 1e-4 if kind == "vectors" else 1e-6  # support vectors are float32 in ONNX
    np.testing.assert_allclose(run.outputs[output], want, rtol, rtol)
    if kind != "neighbours":
        slope = np.sum(seed * (predict(x[:4] + 1e-5 * along) - predict(x[:4] - 1e-5 * along))) / 2e-5
        assert np.isclose(np.sum(run.gradients[name] * along), slope, rtol=100 * rtol)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["network", "scan", "cond", "sort", "gradient"])
def test_jax_by_jax2onnx(kind):
    jax = pytest.importorskip("jax")
    pytest.importorskip("flax", reason="flax is not installed, which jax2onnx needs")
    to_onnx = pytest.importorskip("jax2onnx").to_onnx
    jnp = jax.numpy
    w = jnp.asarray(CHANCE.standard_normal((4, 5)), jnp.float32)
    function = {
        "network": lambda x: jax.nn.softmax(jnp.tanh(x @ w)),
        "scan": lambda x: jax.lax.scan(lambda c, v: (jnp.tanh(c + v), c), jnp.zeros(4, jnp.float32), x)[0],
        "cond": lambda x: jax.lax.cond(x.sum() > 0, lambda v: v * v, lambda v: v - 1, x),
        "sort": lambda x: jnp.sort(x, axis=1) ** 2,
        "gradient": jax.grad(lambda x: jnp.tanh(x @ w).sum()),
    }[kind]
    x = jnp.asarray(CHANCE.standard_normal((3, 4)), jnp.float32)
    circuit, ids = imported(to_onnx(function, [(3, 4)]).SerializeToString())
    want, back = jax.vjp(function, x)
    seed = CHANCE.standard_normal(want.shape).astype(np.float32)
    (name,), (output,) = ids.values(), circuit.outputs
    run = cf.Executor(circuit).run({name: np.asarray(x)}, upstream={output: seed})
    np.testing.assert_allclose(run.outputs[output], want, 1e-5, 1e-5)
    np.testing.assert_allclose(run.gradients[name], back(jnp.asarray(seed))[0], 1e-4, 1e-5)
