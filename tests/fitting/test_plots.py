"""What a picture of a training run says."""

from __future__ import annotations

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting.plots import plot
from circuitflow.fitting.plots_of_training import draw_training
from support.suite import ROOT


@pytest.fixture(scope="module")
def spiral():
    pytest.importorskip("optax")
    return cf.fit(cf.load(ROOT / "circuits/spiral.json"), epochs=20, validation=0.2)


def drawn(result):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure()
    draw_training(result, figure)
    figure.canvas.draw()
    parts = figure.subfigs or [figure]
    return [axes for part in parts for axes in part.axes]


def test_losses_and_metrics_are_drawn_by_epoch(spiral):
    loss, metrics, _ = drawn(spiral)
    assert [line.get_label() for line in loss.get_lines()] == ["training", "validation"]
    assert [line.get_label() for line in metrics.get_lines()] == ["correct, training", "correct, validation"]
    np.testing.assert_array_equal(loss.get_lines()[1].get_ydata(), [x["validation_loss"] for x in spiral.history])
    np.testing.assert_array_equal(metrics.get_lines()[0].get_ydata(), [x["correct"] for x in spiral.history])
    assert metrics.get_xlabel() == "epoch"
    ticks = [label.get_text() for label in loss.get_yticklabels(which="both")]
    assert any(ticks)
    assert not any("$" in text for text in ticks)  # which would not be typeset


def test_the_confusion_matrix_counts_every_row(spiral):
    matrix = drawn(spiral)[2]
    guesses = spiral.predict(of="scores").argmax(axis=1)
    labels = np.concatenate([block.columns["arm"] for block in spiral.data.blocks()])
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, guesses), 1)
    shown = {(int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text()) for text in matrix.texts}
    assert shown == {index: count for index, count in np.ndenumerate(expected) if count}
    assert matrix.get_title() == f"{np.mean(labels == guesses):.2%} of 300 rows of the fit are right"


def test_a_loss_that_compares_no_classes_has_no_matrix():
    pytest.importorskip("optax")
    circuit = cf.new("f = (w * x - 1)**2", {"w": 0.5, "x": 0.0}, parameters=["w"])
    result = cf.fit(circuit, {"x": np.linspace(1, 2, 20)}, loss="f", method="sgd", epochs=3)
    loss, = drawn(result)
    assert len(loss.get_lines()) == 1
    assert plot(result, (), "svg").startswith(b"<?xml")
