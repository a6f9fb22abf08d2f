"""`cf.fit` with an optimiser: the document's entries, the result, its warnings, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import circuitflow as cf
from circuitflow.fitting import fit_training
from circuitflow.fitting.batches import Batches
from circuitflow.fitting.data import Data
from circuitflow.fitting.methods import METHODS
from circuitflow.fitting.optimisers import OPTIMISERS
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.rerun import as_before
from circuitflow.fitting.stochastic import train
from circuitflow.fitting.writing import fitted_document

pytest.importorskip("optax")

NODES = [{"id": "x", "gate": "input", "shape": ["N", 3]}, {"id": "y", "gate": "input", "shape": ["N"]},
         {"id": "W", "gate": "parameter", "value": {"random": "normal", "shape": [3, 20], "seed": 1}},
         {"id": "v", "gate": "parameter", "value": {"random": "normal", "shape": [20], "seed": 2}},
         {"id": "p", "gate": "matmul", "inputs": ["x", "W"]}, {"id": "h", "gate": "tanh", "inputs": ["p"]},
         {"id": "f", "gate": "matmul", "inputs": ["h", "v"]}, {"id": "r", "gate": "sub", "inputs": ["f", "y"]},
         {"id": "l", "gate": "square", "inputs": ["r"]}, {"id": "size", "gate": "abs", "inputs": ["r"]}]
FIT = {"loss": "l", "reduction": "mean", "method": {"name": "adam"}, "seed": 3, "batch_size": 16, "epochs": 4,
       "validation": {"fraction": 0.2},
       "schedule": {"name": "exponential_decay", "init_value": 0.02, "transition_steps": 3, "decay_rate": 0.9}}


def circuit_of(nodes=NODES, outputs=("l", "size"), **fit):
    return cf.loads(json.dumps({"circuitflow": "1.1", "nodes": nodes, "outputs": list(outputs),
                                **({"fit": fit} if fit else {})}))


def table(rows=70):
    random = np.random.RandomState(0)
    x = random.standard_normal((rows, 3))
    return {"x": x, "y": np.sin(x).sum(axis=1)}


def test_the_optimisers_are_rows_of_the_table_of_methods():
    assert {name for name, row in METHODS.items() if row.is_stochastic} == set(OPTIMISERS)


def test_every_entry_of_the_document_counts_and_an_argument_more(monkeypatch):
    told = []

    def note(*arguments, **options):
        told.append(options)
        return train(*arguments, **options)

    monkeypatch.setattr(fit_training, "train", note)
    circuit, data = circuit_of(**{**FIT, "method": {"name": "adam", "average": 0.9, "patience": 3}}), table()
    found, plain = cf.fit(circuit, data), circuit_of()
    stated = {name: FIT[name] for name in ("reduction", "seed", "batch_size", "epochs", "schedule")}
    stated |= {"validation": 0.2, "method": "adam", "options": {"average": 0.9, "patience": 3}}
    assert told[0] == {**stated, "callback": None, "state": None, "keeper": None, "devices": told[0]["devices"]}
    assert [entry["devices"].words for entry in told] == [None]
    expected = train(plain, Data.of(plain, data), Parameters.of(plain, ["l"]), "l", **stated)
    assert found.values["W"].tobytes() == expected.values["W"].tobytes()
    others = {"seed": 4, "batch_size": 20, "epochs": 1, "validation": 0.4, "reduction": "sum", "on_nan": "skip"}
    cf.fit(circuit, data, **others, schedule={"name": "constant_schedule", "value": 0.01}, method="sgd")
    assert told[1] == {**others, "schedule": {"name": "constant_schedule", "value": 0.01}, "method": "sgd",
                       "options": {}, "callback": None, "state": None, "keeper": None, "devices": told[1]["devices"]}


def test_a_result_has_the_best_values_with_their_loss_and_metrics():
    told = []
    data = table()
    found = cf.fit(circuit_of(**FIT), data, epochs=6, callback=told.append)
    assert (found.converged, found.rows, found.evaluations, found.engine) == (True, 70, 6, "jax")
    assert found.status == "trained for 6 epochs, 24 steps"
    assert [p.record for p in told if p.record] == list(found.history)
    best = found.history[int(np.argmin([record["validation_loss"] for record in found.history]))]
    assert found.metrics["validation_loss"] == best["validation_loss"]
    assert found.metrics["validation_size"] == best["validation_size"]
    batches = Batches(Data.of(found.model, data), 70, 3, 0.2)
    rows = next(batches.in_order(out=False)).rows
    assert len(rows) == 56
    f = found.predict({"x": data["x"]}, of="f")
    assert found.metrics["size"] == pytest.approx(np.mean(np.abs(f - data["y"])[rows]), rel=1e-12)
    assert found.objective == found.metrics["loss"] == pytest.approx(np.mean((f - data["y"])[rows] ** 2), rel=1e-12)
    summary = found.summary()
    assert re.search(r"^W +60 +\S+ +\S+$", summary, re.MULTILINE)  # parameters, not elements
    assert f"size: {found.metrics['size']:.6g}" in summary
    assert f"validation size: {found.metrics['validation_size']:.6g}" in summary
    assert found.to_dict()["metrics"] == dict(found.metrics)
    assert found.to_dict()["versions"].keys() >= {"jax", "optax"}


def test_other_rows_for_validation_and_rows_one_by_one():
    nodes = [{"id": "x", "gate": "input", "shape": [3]}, {"id": "y", "gate": "input"}, *NODES[2:]]
    data = table()
    row = cf.fit(circuit_of(nodes), data, loss="l", method="adam", epochs=2, validation=table(20))
    batch = cf.fit(circuit_of(), data, loss="l", method="adam", epochs=2, validation=lambda: iter([table(20)]))
    assert row.metrics == pytest.approx(batch.metrics, rel=1e-12)
    assert row.metrics.keys() == {"loss", "size", "validation_loss", "validation_size"}


@pytest.mark.parametrize("ending", ["parquet", "safetensors"])
def test_tensors_of_rows_are_streamed_from_a_file(tmp_path, monkeypatch, ending):
    path, data = tmp_path / f"rows.{ending}", table()
    if ending == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table({"x": pa.FixedSizeListArray.from_arrays(data["x"].ravel(), 3), "y": data["y"]}), path)
    else:
        save_file(data, path)
    monkeypatch.setattr("circuitflow.tables.opening.NUMBERS", 60)  # twenty rows at a time
    monkeypatch.setattr("circuitflow.tables.tensors.BYTES", 640)
    monkeypatch.setattr("circuitflow.fitting.batches.MEMORY", 0)
    options = {"loss": "l", "method": "adam", "epochs": 2, "batch_size": 70}
    streamed = cf.fit(circuit_of(), path, **options)
    assert len(list(streamed.data.blocks())) == 4
    monkeypatch.undo()
    whole = cf.fit(circuit_of(), data, **options)
    assert streamed.values["W"] == pytest.approx(whole.values["W"], rel=1e-12)
    assert streamed.to_dict()["digests"] == whole.to_dict()["digests"]
    assert streamed.metrics == pytest.approx(whole.metrics, rel=1e-12)


NORMALISED = [*NODES[:5], *({"id": name, "gate": "constant", "value": [value] * 20}
                            for name, value in (("scale", 1), ("bias", 0), ("mean", 0), ("variance", 1))),
              {"id": "n", "gate": "batch_normalization", "inputs": ["p", "scale", "bias", "mean", "variance"],
               "training_mode": True},
              {"id": "seed", "gate": "constant", "value": 7, "dtype": "int64"},
              {"id": "d", "gate": "dropout", "inputs": ["n.y", "seed"], "ratio": 0.5},
              {"id": "h", "gate": "tanh", "inputs": ["d"]}, *NODES[6:]]


def test_running_statistics_are_stored_predictions_use_them_and_the_document_is_fitted_again_to_the_same():
    circuit, data = circuit_of(NORMALISED, **{**FIT, "epochs": 3}), table()
    found = cf.fit(circuit, data)
    assert {"mean", "variance"} <= found.values.keys()
    assert found.circuit.values["mean"].tolist() == found.values["mean"].tolist() != [0] * 20
    p = (data["x"] @ found.values["W"] - found.values["mean"]) / np.sqrt(found.values["variance"] + 1e-5)
    np.testing.assert_allclose(found.predict(of="f"), np.tanh(p) @ found.values["v"], rtol=1e-9)
    fitted = circuit.derived(fitted_document(found, None, "c").document)
    entry = fitted.document.fit.result
    assert entry.parameters[0] == "W[0, 0]"
    assert entry.parameters[-1] == "variance[19]"
    assert entry.metrics.keys() == {"loss", "size", "validation_loss", "validation_size"}
    again = as_before(fitted)
    assert again.values["mean"].tolist() == [0] * 20
    assert again.values["v"].tolist() == circuit.values["v"].tolist()


# Warnings -------------------------------------------------------------------------------------------------------------


def line(*, rows=40, **changes):
    t = np.linspace(0, 1, rows)
    circuit = cf.new("l = (y - a*t - b*scale)**2", {"a": 0.0, "b": 0.0, "scale": 1.0}, parameters=["a", "b"])
    return circuit, {"t": t, "y": 2 * t + 1, **changes}


@pytest.mark.parametrize(("changes", "options", "words"), [
    ({}, {"epochs": 5, "method": {"name": "sgd", "learning_rate": 0.01}},
     r"the loss still falls at the end, from 3.\d+ to 2.\d+ in the last epoch; train for longer"),
    ({"scale": 0.0}, {}, "the gradient on parameter 'b' was 0 at every step: it did not move; is a gate"),
    ({"scale": 1e-8}, {}, "the loss changes .e.* times as much with parameter 'a' as with 'b'; measure them"),
    ({}, {"bounds": {"a": (-1, 0.5)}, "method": {"name": "sgd", "learning_rate": 0.2}},
     "parameter 'a' ends at its upper bound 0.5: the loss falls beyond it"),
    ({}, {"callback": lambda told: told.step == 2},
     "stopped by the callback after step 2; the values are those of an unfinished run"),
])
def test_what_a_careful_reader_notices(changes, options, words):
    circuit, data = line(**changes)
    found = cf.fit(circuit, data, loss="l", **{"method": "adam", "epochs": 2, **options})
    assert [warning for warning in found.warnings if re.match(words, warning)]
    assert found.converged == ("callback" not in options)


def test_a_fit_that_is_done_has_nothing_to_say():
    found = cf.fit(*line(), loss="l", method={"name": "sgd", "learning_rate": 0.3}, epochs=150)
    assert found.warnings == ()
    assert found.values == pytest.approx({"a": 2, "b": 1}, abs=1e-3)


def test_steps_that_were_left_out_and_a_validation_loss_that_rose():
    circuit = cf.new("l = (log(y - a))**2", {"a": 0.5}, parameters=["a"])
    y = np.array([0.1, *range(1, 20)])
    found = cf.fit(circuit, {"y": y}, loss="l", method={"name": "sgd", "learning_rate": 1e-3}, batch_size=4, epochs=2,
                   on_nan="skip", validation={"y": np.array([1.0, 2.0])})
    assert [words for words in found.warnings if words.startswith("2 of 10 steps changed nothing, because")]
    stopped = cf.fit(circuit, {"y": y[:1]}, loss="l", method="adam", on_nan="skip", epochs=1)
    assert np.isnan(stopped.history[0]["loss"])
    circuit, data = line()
    rose = cf.fit(circuit, data, loss="l", method={"name": "sgd", "learning_rate": 0.1}, epochs=8,
                  validation={"t": data["t"], "y": 0.6 * data["t"] + 0.3})
    assert [words for words in rose.warnings if re.match(
        r"the validation loss was best after epoch \d of 8, .*, and rose to .*: the circuit learns the rows", words)]
    with pytest.raises(cf.GateError, match=r"step \d \(epoch 1\): row 1: node '.*': in the forward pass, log gives"):
        cf.fit(cf.new("l = (log(y - a))**2", {"a": 0.5}, parameters=["a"]), {"y": y}, loss="l", method="adam",
               on_nan="raise")


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"engine": "tape"}, "the method adam runs on the engine jax, and engine is \"tape\"; leave it out"),
    ({"method": {"name": "adam", "lr": 1.0}}, "method 'adam' has no option 'lr'; it has 'learning_rate'"),
    ({"method": {"name": "adam", "patience": 0}}, "method adam: patience is 0; input should be greater than or equal"),
    ({"method": "adma"}, "there is no method 'adma'; did you mean 'adam'?"),
    ({"loss": None, "residuals": "y"}, "the method adam is for a loss; expected one for least squares: 'auto'"),
    ({"schedule": "cosine"}, "schedule: there is no schedule 'cosine'"),
    ({"validation": 2}, "validation is 2; expected a fraction between 0 and 1, or rows"),
    ({"validation": {"t": [1.0]}}, "data: there is no column for input 'y'"),
    ({"validation": {"t": [1.0], "y": 2.0}}, "validation: there are no columns for 'y'; expected those of the data"),
    ({"validation": {"t": [1.0], "y": [2.0], "scale": 3.0}}, "validation: input 'scale' has another value than in"),
    ({"batch_size": 0}, "batch_size is 0; expected a whole number, 1 or more"),
    ({"device": "abacus"}, "there is no device 'abacus' for the engine jax; there is "),
    ({"device": "all", "method": "smooth"}, "fit: 'device' goes with a loss and stochastic methods, such as adam; the "
                                            "method is smooth, for a loss; leave 'device' out, or take another"),
    ({"on_nan": "skp"}, "fit: on_nan is \"skp\"; expected one of 'stop', 'skip', 'raise'"),
])
def test_what_does_not_fit_is_refused_in_words(options, message):
    with pytest.raises(cf.InputError, match=re.escape(message)):
        cf.fit(*line(), **{"loss": "l", "method": "adam", **options})


def test_metrics_do_not_take_the_names_of_other_numbers():
    nodes = [*NODES, {"id": "loss", "gate": "neg", "inputs": ["size"]}]
    found = cf.fit(circuit_of(nodes, ["l", "loss"]), table(), loss="l", method="adam", epochs=1)
    assert found.metrics["loss"] > 0 > found.metrics["output loss"]
