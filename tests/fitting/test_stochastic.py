"""Training by minibatches: the numbers of a loop written by hand, the same bits again, and what training changes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting import batches
from circuitflow.fitting.batches import Batches
from circuitflow.fitting.data import Data
from circuitflow.fitting.modes import as_seed, fresh_seed
from circuitflow.fitting.optimisers import make_optimiser
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.step import Objective
from circuitflow.fitting.stochastic import Training, train
from circuitflow.fitting.training_state import TrainingState

optax = pytest.importorskip("optax")

SOURCES = [{"id": "x", "gate": "input", "shape": ["N", 3]}, {"id": "y", "gate": "input", "shape": ["N"]},
           {"id": "W", "gate": "parameter", "value": {"random": "normal", "shape": [3, 4], "seed": 1}},
           {"id": "v", "gate": "parameter", "value": {"random": "normal", "shape": [4], "seed": 2}}]
HIDDEN = [{"id": "p", "gate": "matmul", "inputs": ["x", "W"]}, {"id": "h", "gate": "tanh", "inputs": ["p"]}]
LOSS = [{"id": "f", "gate": "matmul", "inputs": ["h", "v"]}, {"id": "r", "gate": "sub", "inputs": ["f", "y"]},
        {"id": "loss", "gate": "square", "inputs": ["r"]}]


def circuit_of(*nodes: Any, outputs: Any = ("loss",)) -> cf.Circuit:
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": list(outputs)}))


CIRCUIT = circuit_of(*SOURCES, *HIDDEN, *LOSS)


def table(rows=70, seed=0):
    random = np.random.RandomState(seed)
    x = random.standard_normal((rows, 3))
    return {"x": x, "y": np.sin(x).sum(axis=1) + 0.1 * random.standard_normal(rows)}


def trained(circuit=CIRCUIT, data=None, loss="loss", frozen=(), bounds=None, **options):
    data = table() if data is None else data
    return train(circuit, Data.of(circuit, data), Parameters.of(circuit, [loss], frozen=frozen, bounds=bounds), loss,
                 **{"batch_size": 16, "epochs": 4, "seed": 5, **options})


def by_hand(transformation, epochs=4, size=16, seed=5, after=lambda w: w):
    """JAX's own gradients, and a loop over the same rows."""
    import jax
    import jax.numpy as jnp

    data = table()
    with jax.enable_x64(True):
        w = {name: jnp.array(CIRCUIT.values[name]) for name in ("W", "v")}
        slopes = jax.jit(jax.grad(lambda w, x, y: jnp.mean((jnp.tanh(x @ w["W"]) @ w["v"] - y) ** 2)))
        update, state, walk = jax.jit(transformation.update), transformation.init(w), [w]
        for epoch in range(epochs):
            order = np.random.RandomState([seed, epoch]).permutation(70)
            for i in range(0, 70, size):
                rows = order[i:i + size]
                changes, state = update(slopes(w, data["x"][rows], data["y"][rows]), state, w)
                w = after(optax.apply_updates(w, changes))
                walk.append(w)
        return [{name: np.asarray(x) for name, x in w.items()} for w in walk]


CHAINS = {
    "adam": ({"learning_rate": 0.02}, None, lambda: optax.adam(0.02)),
    "sgd": ({"momentum": 0.9, "nesterov": True, "clip_by_global_norm": 0.5},
            {"name": "cosine_decay_schedule", "init_value": 0.1, "decay_steps": 15},
            lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(
                optax.cosine_decay_schedule(0.1, 15), momentum=0.9, nesterov=True))),
    "rmsprop": ({"weight_decay": 0.1, "clip": 1.0},
                {"name": "warmup_constant_schedule", "init_value": 0.0, "peak_value": 0.01, "warmup_steps": 7},
                lambda: optax.chain(optax.clip(1.0), optax.add_decayed_weights(0.1),
                                    optax.rmsprop(optax.warmup_constant_schedule(0.0, 0.01, 7)))),
    "lion": ({}, {"name": "piecewise_constant_schedule", "init_value": 0.01, "boundaries_and_scales": {"9": 0.1}},
             lambda: optax.lion(optax.piecewise_constant_schedule(0.01, {9: 0.1}))),
}


@pytest.mark.parametrize("method", ["adam", "sgd", *(pytest.param(name, marks=pytest.mark.long) for name in
                                                    ("rmsprop", "lion"))])
def test_twenty_steps_are_those_of_a_loop_written_by_hand(method):
    options, schedule, transformation = CHAINS[method]
    found, expected = trained(method=method, options=options, schedule=schedule), by_hand(transformation())
    assert found.state.step == 20
    for name, value in expected[-1].items():
        assert np.max(np.abs(value - CIRCUIT.values[name])) > 0.01
        np.testing.assert_allclose(found.values[name], value, rtol=1e-9, atol=1e-12)


def test_an_average_bounds_and_frozen_parameters():
    start = np.clip(CIRCUIT.values["W"], -0.5, 1.0)
    circuit = CIRCUIT.with_values({"W": start})
    found = trained(circuit, options={"learning_rate": 0.05, "average": 0.8}, frozen=["v"], bounds={"W": (-0.5, 1.0)})
    assert set(found.values) == {"W"}
    last = found.state.arrays["parameters/W"]
    assert last.min() == -0.5
    assert last.max() <= 1.0
    walk = []
    trained(circuit, options={"learning_rate": 0.05, "average": 0.8}, frozen=["v"], bounds={"W": (-0.5, 1.0)},
            callback=lambda told: None if told.record else walk.append(told.state().arrays["parameters/W"]))
    average = start
    for W in walk:
        average = 0.8 * average + 0.2 * W
    np.testing.assert_allclose(found.values["W"], average, rtol=1e-12)


OPTIONS = {"options": {"learning_rate": 0.02, "average": 0.9}, "validation": 0.2}


@pytest.mark.long
def test_a_run_that_stops_anywhere_goes_on_to_the_same_bits():
    whole, states = trained(**OPTIONS), []
    trained(**OPTIONS, callback=lambda told: states.append(told.state()))
    assert len(states) == 20
    for state in (states[2], states[3], states[4], states[-1]):  # in an epoch, after its last step, after its end
        numbers = json.loads(json.dumps(state.numbers))
        again = trained(**OPTIONS, state=TrainingState(state.arrays, **numbers))
        assert again.state.numbers == whole.state.numbers
        assert again.state.arrays.keys() == whole.state.arrays.keys()
        for name, array in whole.state.arrays.items():
            assert array.tobytes() == again.state.arrays[name].tobytes()
    stopped = trained(**OPTIONS, callback=lambda told: told.step == 6)
    assert stopped.status == "stopped by the callback after step 6"
    assert stopped.state.numbers == states[6].numbers
    assert states[2].step == 3  # what goes on from a state does not change it


def test_a_state_of_another_method_is_refused():
    state = trained(epochs=1).state
    with pytest.raises(cf.InputError, match="state of a run: 'optimiser.*trace/W' is missing; expected float64"):
        trained(method="sgd", options={"momentum": 0.5}, state=state)


def test_a_stream_trains_on_the_same_rows(monkeypatch):
    monkeypatch.setattr(batches, "MEMORY", 0)
    data = table()
    whole = trained(data=lambda: iter([{name: x[i:i + 30] for name, x in data.items()} for i in (0, 30, 60)]),
                    batch_size=70, validation=None, epochs=3)
    np.testing.assert_allclose(whole.values["W"], trained(batch_size=70, epochs=3).values["W"], rtol=1e-12)


def test_validation_measures_the_held_out_rows_and_the_best_epoch_is_kept():
    nodes = [*SOURCES, *HIDDEN, *LOSS, {"id": "size", "gate": "abs", "inputs": ["r"]}]
    circuit = circuit_of(*nodes, outputs=["loss", "size", "h"])
    found = trained(circuit, options={"learning_rate": 0.5, "patience": 2}, validation=0.3, epochs=50)
    history = found.state.history
    losses = [record["validation_loss"] for record in history]
    assert found.metrics == ("size",)
    assert found.state.best == {"epoch": 1 + int(np.argmin(losses)), "loss": min(losses)}
    assert len(history) == found.state.best["epoch"] + 2 < 50
    assert found.status.startswith(f"stopped after {len(history)} epochs: no better validation loss for 2")
    bound = Data.of(circuit, table())
    rows = Batches(bound, 70, 5, 0.3)
    held = rows.columns(next(rows.in_order(out=True)))
    values = cf.Executor(circuit).forward({**held, **found.values}, of=["loss", "size"]).values
    record = history[int(found.state.best["epoch"]) - 1]
    assert record["validation_loss"] == pytest.approx(values["loss"].mean(), rel=1e-12)
    assert record["validation_size"] == pytest.approx(values["size"].mean(), rel=1e-12)
    assert record["rows"] == 49
    other = trained(circuit, validation=Data.of(circuit, table(20, 9)), epochs=1).state.history[0]
    assert other["rows"] == 70
    assert other["validation_loss"] > 0


def test_a_circuit_of_one_row_trains_as_that_of_a_batch_and_a_sum_is_a_sum():
    row = circuit_of({"id": "x", "gate": "input", "shape": [3]}, {"id": "y", "gate": "input"}, *SOURCES[2:], *HIDDEN,
                     *LOSS)
    for options in ({"reduction": "mean"}, {"reduction": "sum", "options": {"learning_rate": 1e-3}, "method": "sgd"}):
        by_row, by_batch = trained(row, epochs=2, **options), trained(epochs=2, **options)
        for name in ("W", "v"):
            np.testing.assert_allclose(by_row.values[name], by_batch.values[name], rtol=1e-12)
        assert by_row.state.history[1]["loss"] == pytest.approx(by_batch.state.history[1]["loss"], rel=1e-12)
    slopes = trained(epochs=1, batch_size=70, reduction="sum", method="sgd", options={"learning_rate": 1e-3})
    mean = trained(epochs=1, batch_size=70, method="sgd", options={"learning_rate": 70e-3})
    np.testing.assert_allclose(slopes.values["W"], mean.values["W"], rtol=1e-12)


# What only training does ----------------------------------------------------------------------------------------------

SEED = {"id": "seed", "gate": "constant", "value": 7, "dtype": "int64"}
DROPPED = [{"id": "d", "gate": "dropout", "inputs": ["h", "seed"], "ratio": 0.5},
           {"id": "f", "gate": "matmul", "inputs": ["d", "v"]}, *LOSS[1:]]


def test_dropout_takes_a_fresh_seed_at_each_step_and_compiles_once():
    circuit = circuit_of(*SOURCES, SEED, *HIDDEN, *DROPPED)
    bound, told = Data.of(circuit, table()), []
    objective = Objective(circuit, "loss", "mean", Parameters.of(circuit, ["loss"]), bound, 5)
    rows = Batches(bound, 35, 5)
    training = Training(objective, make_optimiser("sgd", {"learning_rate": 1e-9}), rows, epochs=2, on_nan="stop",
                        patience=None)
    found = training.run(callback=lambda progress: told.append(progress))
    losses = [progress.loss for progress in told if progress.record is None]
    assert training._step_from._cache_size() == 1
    steps = [(step, batch) for epoch in (0, 1) for step, batch in enumerate(rows.epoch(epoch), 2 * epoch)]
    expected, plain = [], []
    for step, batch in steps:
        with np.errstate(over="ignore"):
            seed = as_seed(np, fresh_seed(np, np.int64(7), 5, step), np.dtype("int64"))
        for value, found_losses in ((seed, expected), (7, plain)):
            run = circuit.with_values({"seed": value})
            found_losses.append(float(cf.Executor(run).forward(rows.columns(batch)).values["loss"].mean()))
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert not np.isclose(losses, plain, rtol=1e-3).any()
    assert found.state.step == 4
    held = trained(circuit, epochs=1, validation=Data.of(circuit, table(20, 9)), options={"learning_rate": 1e-12})
    kept = cf.Executor(CIRCUIT).forward(table(20, 9)).values["loss"].mean()
    assert held.state.history[0]["validation_loss"] == pytest.approx(kept, rel=1e-9)


def test_in_a_circuit_of_one_row_every_row_draws_for_itself():
    base = {"id": "base", "gate": "input", "dtype": "int64", "value": 3}
    one = {"id": "one", "gate": "constant", "value": 1, "dtype": "int64"}
    row = circuit_of({"id": "x", "gate": "input"}, {"id": "a", "gate": "parameter", "value": 1.0}, base, one,
                     {"id": "seed", "gate": "add", "inputs": ["base", "one"]},
                     {"id": "d", "gate": "dropout", "inputs": ["x", "seed"], "ratio": 0.5},
                     {"id": "kept", "gate": "greater", "inputs": ["d", "x"]},
                     {"id": "loss", "gate": "mul", "inputs": ["d", "a"]}, outputs=["loss", "kept"])
    told = []
    trained(row, {"x": np.ones(200)}, batch_size=200, epochs=3, callback=told.append)
    shares = [progress.metrics["kept"] for progress in told if progress.record is None]
    assert all(0.35 < share < 0.65 for share in shares)
    assert len(set(shares)) == 3


NORMALISED = [
    {"id": "scale", "gate": "parameter", "value": [1, 1, 1, 1]}, {"id": "bias", "gate": "parameter", "value": [0] * 4},
    {"id": "mean", "gate": "constant", "value": [0, 0, 0, 0]}, {"id": "variance", "gate": "input", "value": [1] * 4,
                                                               "shape": [4]},
    {"id": "n", "gate": "batch_normalization", "inputs": ["p", "scale", "bias", "mean", "variance"],
     "training_mode": True},
    {"id": "h", "gate": "tanh", "inputs": ["n.y"]}]


def test_running_statistics_are_those_of_torch():
    torch = pytest.importorskip("torch")
    circuit = circuit_of(*SOURCES, HIDDEN[0], *NORMALISED, *LOSS)
    found = trained(circuit, options={"learning_rate": 0.02}, batch_size=35, validation=Data.of(circuit, table(20, 9)))
    data = {name: torch.tensor(x) for name, x in table().items()}
    W, v = (torch.tensor(np.array(circuit.values[name]), requires_grad=True) for name in ("W", "v"))
    norm = torch.nn.BatchNorm1d(4, eps=1e-5, momentum=0.1, dtype=torch.float64)
    optimiser = torch.optim.Adam([W, v, *norm.parameters()], 0.02)

    def loss(x, y):
        return ((torch.tanh(norm(x @ W)) @ v - y) ** 2).mean()

    for epoch in range(4):
        order = torch.from_numpy(np.random.RandomState([5, epoch]).permutation(70))
        for rows in order.split(35):
            optimiser.zero_grad()
            loss(data["x"][rows], data["y"][rows]).backward()
            optimiser.step()
    np.testing.assert_allclose(found.values["mean"], norm.running_mean, rtol=1e-6)
    start = 0.9**8  # torch divides by n - 1 in what it adds up, the gate and ONNX by n
    biased = start + (norm.running_var.numpy() - start) * 34 / 35
    np.testing.assert_allclose(found.values["variance"], biased, rtol=1e-6)
    norm.eval()
    norm.running_var = torch.tensor(found.values["variance"])
    held = table(20, 9)
    with torch.no_grad():
        expected = float(loss(torch.tensor(held["x"]), torch.tensor(held["y"])))
    assert found.state.history[-1]["validation_loss"] == pytest.approx(expected, rel=1e-6)


# What is refused ------------------------------------------------------------------------------------------------------

LOGARITHM = circuit_of(*SOURCES[1:2], {"id": "a", "gate": "parameter", "value": 0.5},
                       {"id": "s", "gate": "sub", "inputs": ["y", "a"]}, {"id": "l", "gate": "log", "inputs": ["s"]},
                       {"id": "loss", "gate": "square", "inputs": ["l"]})


@pytest.mark.parametrize("on_nan", ["stop", "raise", "skip"])
def test_a_number_that_is_not_finite_is_named_with_its_row_and_its_step(on_nan):
    y = np.arange(1, 41, dtype=np.float64)
    y[17] = 0.25
    step = next(i for i, batch in enumerate(Batches(Data.of(LOGARITHM, {"y": y}), 8, 5).epoch(0)) if 17 in batch.rows)
    words = f"step {step + 1} (epoch 1): row 18: node 'l': in the forward pass, log gives [nan] from s = [-0.2"

    def run(**options: Any) -> Any:
        return trained(LOGARITHM, {"y": y}, batch_size=8, epochs=2, on_nan=on_nan, frozen=(), **options)

    if on_nan == "raise":
        with pytest.raises(cf.GateError) as error:
            run()
        assert words in str(error.value)
        return
    found = run()
    if on_nan == "skip":
        assert found.state.skipped == 2
        assert found.state.step == 10
        assert found.state.history[0]["rows"] == 32
        assert np.isfinite(found.values["a"])
        return
    assert found.status.startswith(f"stopped before {words}")
    assert found.state.step == step
    before = run(callback=lambda told: told.step == step)
    assert before.state.arrays["parameters/a"] == found.state.arrays["parameters/a"]


def test_a_label_out_of_range_is_named_with_its_row():
    circuit = circuit_of({"id": "x", "gate": "input", "shape": ["N", 3]},
                         {"id": "y", "gate": "input", "shape": ["N"], "dtype": "int64"},
                         {"id": "W", "gate": "parameter", "value": {"random": "normal", "shape": [3, 4], "seed": 1}},
                         HIDDEN[0], {"id": "loss", "gate": "softmax_cross_entropy_loss", "inputs": ["p", "y"]})
    labels = np.arange(70) % 4
    labels[33] = 4
    found = trained(circuit, {"x": table()["x"], "y": labels})
    assert "row 34: node 'loss': softmax_cross_entropy_loss: label 4 is out of range for 4 classes" in found.status


@pytest.mark.parametrize(("options", "words"), [
    ({"on_nan": "skp"}, "on_nan is \"skp\"; did you mean 'skip'?; expected one of 'stop', 'skip', 'raise'"),
    ({"reduction": "max"}, "reduction is \"max\"; expected 'mean' or 'sum'"),
    ({"batch_size": 0}, "batch_size is 0; expected a whole number, 1 or more"),
    ({"epochs": 2.5}, "epochs is 2.5; expected a whole number, 1 or more"),
    ({"options": {"patience": 0}}, "patience is 0; expected a whole number, 1 or more"),
    ({"loss": "h"}, "loss: 'h' has shape (N, 4); expected a scalar, or one for each row, (N,); sum it"),
    ({"loss": "los"}, "loss: there is no node 'los'; did you mean 'loss'?"),
])
def test_a_wrong_argument_is_refused_in_words(options, words):
    with pytest.raises(cf.InputError) as error:
        train(CIRCUIT, Data.of(CIRCUIT, table()), Parameters.of(CIRCUIT, ["loss"]), **{"loss": "loss", **options})
    assert words in str(error.value)


def test_without_optax_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("circuitflow.fitting.optimisers.find_spec", lambda name: None)
    with pytest.raises(cf.MissingExtraError, match=r"stochastic methods need `pip install 'circuitflow\[train\]'`"):
        trained()
