"""Pictures of a training run: losses and metrics by epoch, and how often one class was taken for another."""

from __future__ import annotations

from typing import Any

import numpy as np

from circuitflow.document.model import GateNode
from circuitflow.fitting.result import FitResult
from circuitflow.graph.circuit import Circuit
from circuitflow.text import printable

CLASSIFIERS = ("softmax_cross_entropy_loss", "negative_log_likelihood_loss")
"""Gates that take scores of classes and labels."""

MOST_ROWS = 1_000_000
"""Of more rows no confusion matrix is drawn."""

MOST_CLASSES = 100
"""Nor of more classes."""

NUMBERED = 12
"""The most classes whose counts are written into the matrix."""

_COLORS = ("#1f5fa8", "#d1701a", "#4d7a3a", "#8a4fa3", "#5b5b5b")
_TRAINING, _VALIDATION = "training", "validation_"


def draw_training(result: FitResult, figure: Any) -> None:
    """Draw losses, metrics and, for classes, the confusion matrix over the rows of the fit."""
    matrix = _confusion(result)
    names = [name for name in result.history[0] if name in result.metrics and not name.startswith(_VALIDATION)]
    metrics = [name for name in names if name != "loss"]
    figure.set_size_inches(7.0 + 4.5 * (matrix is not None), 5.5)
    left = figure if matrix is None else figure.subfigures(1, 2, width_ratios=(7.0, 4.5))
    if matrix is not None:
        left, right = left
        _draw_matrix(matrix, right.subplots())
    axes = np.atleast_1d(left.subplots(1 + bool(metrics), 1, sharex=True))
    _draw_lines(result, ["loss"], axes[0])
    axes[0].set_ylabel("loss")
    if metrics:
        _draw_lines(result, metrics, axes[1])
        axes[1].set_ylabel("metrics")
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)


def _draw_lines(result: FitResult, names: list[str], axes: Any) -> None:
    """Measures by epoch: of the rows for training, and dashed those of the validation."""
    epochs, positive = [record["epoch"] for record in result.history], True
    for name, color in zip(names, _COLORS * len(names), strict=False):
        for key, style in ((name, "-"), (f"{_VALIDATION}{name}", "--")):
            if key not in result.history[0]:
                continue
            values = [record[key] for record in result.history]
            positive = positive and min(values) > 0
            what = _TRAINING if style == "-" else "validation"
            label = what if len(names) == 1 and name == "loss" else f"{printable(name, 40)}, {what}"
            axes.plot(epochs, values, style, color=color, label=label)
    if names == ["loss"] and positive:
        set_log(axes)
    axes.legend(loc="best", frameon=False)


def set_log(axes: Any) -> None:
    """Make the ordinate logarithmic, with plain numbers: formulas are not typeset, for text of documents is none."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def _draw_matrix(matrix: Any, axes: Any) -> None:
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("class")
    axes.set_title(f"{np.trace(matrix) / matrix.sum():.2%} of {matrix.sum()} rows of the fit are right", fontsize=10)
    if len(matrix) <= NUMBERED:
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
        for i, j in np.ndindex(matrix.shape):
            if matrix[i, j]:
                axes.text(j, i, str(matrix[i, j]), ha="center", va="center", fontsize=8,
                          color="white" if shares[i, j] > 0.5 else "black")


def _confusion(result: FitResult) -> Any:
    """How often rows of a class, the first axis, were taken for another; None where the loss compares no classes."""
    found = _classifier(result.model)
    if found is None or found[1] not in result.data.columns or result.rows > MOST_ROWS:
        return None
    scores = np.asarray(result.predict(of=found[0]))
    labels = np.concatenate([block.columns[found[1]] for block in result.data.blocks()])
    classes = scores.shape[-1]
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or classes > MOST_CLASSES:
        return None
    kept = (labels >= 0) & (labels < classes)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels[kept].astype(np.int64), scores[kept].argmax(axis=1)), 1)
    return matrix if matrix.any() else None


def _classifier(circuit: Circuit) -> tuple[str, str] | None:
    """The references of the scores and the labels that the loss compares."""
    fit = circuit.document.fit
    node = next((node for node in circuit.document.nodes if fit is not None and node.id == fit.loss), None)
    if not isinstance(node, GateNode) or node.gate not in CLASSIFIERS:
        return None
    scores, labels, *others = [circuit.nodes[edge.source].name_of(edge.output)
                               for edge in circuit.nodes[node.id].operands]
    return None if others else (scores, labels)
