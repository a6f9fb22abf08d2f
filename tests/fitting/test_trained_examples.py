"""The trained examples in `circuits/`: their data, the accuracy that they state, and training them again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting.batches import Batches
from circuitflow.fitting.data import Data
from support.suite import ROOT

pytest.importorskip("optax")


def load(name):
    return cf.load(ROOT / "circuits" / f"{name}.json")


def accuracy(circuit, rows, label):
    """The part of the rows in which the largest score is that of the label."""
    guesses = np.argmax(cf.Executor(circuit).forward(rows, of="scores").values["scores"], axis=1)
    return float(np.mean(guesses == rows[label]))


def spiral():
    """The data of https://cs231n.github.io/neural-networks-case-study/, as lines of text."""
    random, lines = np.random.RandomState(0), ["x,y,arm"]
    for arm in range(3):
        r = np.linspace(0.0, 1, 100)
        t = np.linspace(arm * 4, (arm + 1) * 4, 100) + random.randn(100) * 0.2
        lines += [f"{x:.6f},{y:.6f},{arm}" for x, y in zip(r * np.sin(t), r * np.cos(t), strict=True)]
    return lines


def test_the_spiral_needs_two_layers():
    assert (ROOT / "circuits" / "spiral.csv").read_text().splitlines() == spiral()
    circuit = load("spiral")
    x, y, arm = (np.array(column) for column in zip(*(map(float, line.split(",")) for line in spiral()[1:]),
                                                    strict=True))
    rows = {"x": x, "y": y, "arm": arm.astype(np.int64)}
    assert accuracy(circuit, rows, "arm") == circuit.document.fit.result.metrics["correct"] >= 0.98
    again = cf.fit(circuit)
    assert accuracy(again.circuit, rows, "arm") == again.metrics["correct"] >= 0.98
    assert again.warnings == ()
    nodes = {node["id"]: node for node in json.loads(cf.dumps(circuit))["nodes"]}
    nodes["W2"]["value"] = {"data": 0, "shape": [2, 3]}
    nodes["p2"]["inputs"][0] = "points"
    linear = cf.loads(json.dumps({"circuitflow": "1.0", "outputs": ["loss"], "nodes": [
        nodes[name] for name in ("x", "y", "arm", "W2", "b2", "points", "p2", "scores", "loss")]}))
    assert 0.45 < accuracy(cf.fit(linear, rows, loss="loss").circuit, rows, "arm") < 0.6


def test_the_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed: pip install scikit-learn")
    table, digits = Batches(Data.of(load("digits")), 32, 0, 0.2).table, datasets.load_digits()
    assert np.array_equal(table["image"], digits.images)
    assert np.array_equal(table["digit"], digits.target)


@pytest.mark.long
def test_digits():
    circuit = load("digits")
    rows = Batches(Data.of(circuit), 32, 0, 0.2)
    held = np.concatenate([batch.rows for batch in rows.in_order(out=True)])
    columns = {name: column[held] for name, column in rows.table.items()}
    assert accuracy(circuit, columns, "digit") == circuit.document.fit.result.metrics["validation_correct"] >= 0.98
    again = cf.fit(circuit)
    assert accuracy(again.circuit, columns, "digit") == again.metrics["validation_correct"] >= 0.98
    assert again.warnings == ()
