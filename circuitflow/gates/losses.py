"""Losses: how far a prediction is from what it should be."""

from __future__ import annotations

import functools
from typing import Any, Literal

from pydantic import Field

from circuitflow.gates.activations import powers
from circuitflow.gates.record import Attributes, Facets, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, floating, need_float, need_indices, show
from circuitflow.gates.special import need_in_range
from circuitflow.gates.sums import average, total


class LossReduction(Attributes):
    reduction: Literal["mean", "sum", "none"] = Field("mean", description="how the losses of the elements are combined")


class IgnoredLabel(Attributes):
    ignore_index: int | None = Field(None, description="a label that is ignored; none by default")


class OfLabels(IgnoredLabel, LossReduction):
    """What becomes of the losses, and which labels have none."""


class Logits(LossReduction):
    logits: bool = Field(False, description="the prediction is a logit, which the logistic function makes a "
                                            "probability")


class Delta(LossReduction):
    delta: float = Field(1.0, gt=0, description="where the loss turns from quadratic to linear")


def _loss_type(x: ArrayType, target: ArrayType, *, reduction: str, **_: Any) -> ArrayType:
    if x.shape != target.shape:
        raise ShapeError(f"needs a target of the shape of x {show(x.shape)}; target is {show(target.shape)}")
    common = floating(x, target)
    return common if reduction == "none" else ArrayType((), common.dtype)


def _labels_type(x: ArrayType, labels: ArrayType, *, reduction: str, **_: Any) -> ArrayType:
    need_float("x", x)
    if "int" not in labels.dtype:
        need_indices(labels)
    if len(x.shape) < 2 or labels.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(f"needs x (batch, classes, …) and labels of the same shape without the classes; x is "
                         f"{show(x.shape)}, labels is {show(labels.shape)}")
    return ArrayType(labels.shape if reduction == "none" else (), x.dtype)


def _indicator_type(x: ArrayType, labels: ArrayType, **_: Any) -> ArrayType:
    _labels_type(x, labels, reduction="none")
    return x


def _reduce(xp: Any, losses: Any, reduction: str, size: Any = None) -> Any:
    if reduction == "none":
        return losses
    reduce = total if reduction == "sum" else functools.partial(average, size=size)
    return reduce(xp, losses, axis=tuple(range(losses.ndim)))


def _spread(op: Any, g: Any, x: Any, reduction: str) -> Any:
    """The gradient on every element's loss."""
    if reduction == "none":
        return g
    g = g / op.size(x) if reduction == "mean" else g
    for _ in range(x.ndim):
        g = op.unsqueeze(g, axis=0)
    return op.expand_like(g, x)


def _indicator(xp: Any, labels: Any, classes: int, ignore_index: int | None, dtype: Any) -> Any:
    """1 for the class of each label, 0 for all others and where a label is ignored: (batch, classes, …)."""
    originals, labels = labels, xp.asarray(labels, dtype=xp.int64)  # negative where int64 does not have the number
    outside = (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        outside = outside & (labels != ignore_index)
    need_in_range(xp, outside, originals, f"label {{}} is out of range for {classes} classes")
    place = xp.reshape(xp.arange(classes, dtype=xp.int64), (classes, *(1,) * (labels.ndim - 1)))
    hot = xp.expand_dims(labels, axis=1) == place
    if ignore_index is not None:
        hot = hot & (xp.expand_dims(labels, axis=1) != ignore_index)
    return xp.asarray(hot, dtype=dtype)


def _of_labels(xp: Any, losses: Any, labels: Any, reduction: str, ignore_index: int | None) -> Any:
    """What becomes of the losses of labels, those of ignored ones left out."""
    if ignore_index is None:
        return _reduce(xp, losses, reduction)
    counts = labels != ignore_index
    return _reduce(xp, xp.where(counts, losses, 0.0), reduction, xp.sum(xp.asarray(counts, dtype=xp.float64)))


def _negative_log_likelihood(xp: Any, x: Any, labels: Any, *, reduction: str, ignore_index: int | None) -> Any:
    hot = _indicator(xp, labels, x.shape[1], ignore_index, x.dtype)
    return _of_labels(xp, -_at_labels(xp, hot, x), labels, reduction, ignore_index)


def _at_labels(xp: Any, hot: Any, x: Any) -> Any:
    return total(xp, xp.where(hot > 0, x, 0.0), axis=1)


def _cross_entropy(xp: Any, x: Any, labels: Any, *, reduction: str, ignore_index: int | None) -> Any:
    """By ln Σ e^(x - x[label]), where the small powers of other classes keep their digits beside that of the label."""
    hot = _indicator(xp, labels, x.shape[1], ignore_index, x.dtype)
    scores = _at_labels(xp, hot, x)
    if 0 in x.shape:
        return _of_labels(xp, scores, labels, reduction, ignore_index)
    largest = xp.max(x, axis=1, keepdims=True)
    others = total(xp, xp.where(hot > 0, 0.0, powers(xp, x, largest)), axis=1)
    largest = xp.squeeze(largest, axis=1)
    below = xp.where(scores == largest, 0.0, scores - largest)
    return _of_labels(xp, xp.log1p(others + xp.expm1(below)) - below, labels, reduction, ignore_index)


def _on_labels(op: Any, g: Any, x: Any, labels: Any, reduction: str, ignore_index: int | None) -> tuple[Any, Any]:
    """The chosen classes, and the gradient on every label's loss, as (batch, 1, …)."""
    hot = op.label_indicator(x, labels, ignore_index=ignore_index)
    if reduction == "mean":
        number = op.reduce_sum(hot)
        g = g / op.where(number == 0, 1.0, number)
    if reduction == "none":
        return hot, op.unsqueeze(g, axis=1)
    for _ in range(x.ndim):
        g = op.unsqueeze(g, axis=0)
    return hot, g


def _nll_backward(op: Any, g: Any, out: Any, x: Any, labels: Any, *, reduction: str, ignore_index: int | None) -> Any:
    hot, g = _on_labels(op, g, x, labels, reduction, ignore_index)
    return -hot * g


def _cross_entropy_backward(op: Any, g: Any, out: Any, x: Any, labels: Any, *, reduction: str,
                            ignore_index: int | None) -> Any:
    """The softmax less the indicator; for the label itself that is all that the others have, to the last digit."""
    hot, g = _on_labels(op, g, x, labels, reduction, ignore_index)
    if ignore_index is not None:
        counts = op.reduce_sum(hot, axis=1, keepdims=True)
        x, g = op.where(counts > 0, x, 0.0), g * counts
    others = op.where(hot > 0, 0.0, op.softmax(x, axis=1))
    return (others - hot * op.reduce_sum(others, axis=1, keepdims=True)) * g


def _binary(xp: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    if logits:
        size, weight = xp.abs(x), xp.where(x > 0, 1 - target, target)
        losses = xp.where(weight == 0, 0.0, weight * size) + xp.log1p(xp.exp(-size))
    else:
        rest = 1 - target
        losses = -(xp.where(target == 0, 0.0, target * xp.log(xp.where(target == 0, 1.0, x)))
                   + xp.where(rest == 0, 0.0, rest * xp.log1p(xp.where(rest == 0, 0.0, -x))))
    return _reduce(xp, losses, reduction)


def _binary_x(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    g = _spread(op, g, x, reduction)
    if logits:
        tail = op.sigmoid(op.where(x > 0, -x, x))
        return g * op.where(x > 0, (1 - target) - tail, tail - target)
    return g * (op.mul_no_nan(1 - target, 1 / (1 - x)) - op.mul_no_nan(target, 1 / x))


def _binary_target(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    g = _spread(op, g, x, reduction)
    return -g * x if logits else g * (op.log1p(-x) - op.log(x))


def _huber(xp: Any, x: Any, target: Any, *, reduction: str, delta: float) -> Any:
    size = xp.abs(x - target)
    inside = xp.clip(size, None, delta)
    return _reduce(xp, inside * (size - 0.5 * inside), reduction)


def _huber_x(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, delta: float) -> Any:
    return _spread(op, g, x, reduction) * op.clip(x - target, min=-delta, max=delta)


def _ignores(at: int, count: int, *, ignore_index: int | None, **_: Any) -> bool:
    return ignore_index is not None


LOSSES = family({
    "mean_squared_error": Gate("(x - target)²", "The squares of the differences, their mean by default.",
                               ("x", "target"), _loss_type, attributes=LossReduction, symbol="MSE", reads=Reads.INPUTS,
                               forward=lambda xp, x, target, *, reduction:
                                   _reduce(xp, (x - target) * (x - target), reduction),
                               backward=(lambda op, g, out, x, target, *, reduction:
                                         2 * _spread(op, g, x, reduction) * (x - target),
                                         lambda op, g, out, x, target, *, reduction:
                                         2 * _spread(op, g, x, reduction) * (target - x))),
    "huber": Gate("(x - target)² / 2, delta (|x - target| - delta / 2) beyond delta",
                  "Quadratic near the target, linear far from it.",
                  ("x", "target"), _loss_type, attributes=Delta, symbol="huber", reads=Reads.INPUTS,
                  forward=_huber,
                  backward=(_huber_x,
                            lambda op, g, out, x, target, **rest: -_huber_x(op, g, out, x, target, **rest))),
    "binary_cross_entropy": Gate("-(target ln x + (1 - target) ln(1 - x))",
                                 "The cross entropy of probabilities of two classes, or of their logits.",
                                 ("x", "target"), _loss_type, attributes=Logits, symbol="BCE", reads=Reads.INPUTS,
                                 forward=_binary,
                                 backward=(_binary_x, _binary_target)),
    "negative_log_likelihood_loss": Gate("-x[label]", "Minus the log-probability (batch, classes, …) of each label.",
                                         ("x", "labels"), _labels_type, attributes=OfLabels, symbol="NLL",
                                         reads=Reads.INPUTS,
                                         forward=_negative_log_likelihood,
                                         backward=(_nll_backward, None)).stating(Facets(masks=_ignores)),
    "softmax_cross_entropy_loss": Gate("-ln softmax(x)[label]",
                                       "The cross entropy of scores (batch, classes, …) and labels, without overflow.",
                                       ("x", "labels"), _labels_type, attributes=OfLabels, symbol="CE",
                                       reads=Reads.INPUTS,
                                       forward=_cross_entropy,
                                       backward=(_cross_entropy_backward, None)).stating(Facets(masks=_ignores)),
    "label_indicator": Gate("[label = class]", "1 for the class of each label, 0 elsewhere, in the shape of x.",
                            ("x", "labels"), _indicator_type, attributes=IgnoredLabel,
                            symbol="1-hot",
                            forward=lambda xp, x, labels, *, ignore_index:
                                _indicator(xp, labels, x.shape[1], ignore_index, x.dtype),
                            backward=(None, None)),
}, {
    "mean_squared_error": Note("2 {g} ({x} - {target}) to {x}, averaged; the opposite to {target}",
                               also="mse mse_loss l2_loss", words="sends each side twice the difference, averaged"),
    "huber": Note("{g} times {x} - {target}, clipped to ±{delta}, to {x}; the opposite to {target}",
                  numpy="scipy.special.huber", also="huber_loss smooth_l1_loss smooth_l1"),
    "binary_cross_entropy": Note("{g} times the slope of the loss to {x}: σ({x}) - {target} for a logit, (1 - "
                                 "{target}) / (1 - {x}) - {target} / {x} for a probability; its slope in {target} to "
                                 "{target}", kinks="0 · ln 0 is 0", also="bce bce_loss binary_crossentropy log_loss"),
    "negative_log_likelihood_loss": Note("-{g} to {x} at {labels}", kinks="ignored labels send nothing",
                                         onnx=Onnx("NegativeLogLikelihoodLoss", "reduction ignore_index", written=""),
                                         also="nll nll_loss"),
    "softmax_cross_entropy_loss": Note("{g} (softmax({x}) - 1 at {labels}) to {x}",
                                       kinks="ignored labels send nothing",
                                       onnx=Onnx("SoftmaxCrossEntropyLoss", "reduction ignore_index", written=""),
                                       also="cross_entropy cross_entropy_loss sparse_categorical_crossentropy "
                                            "softmax_cross_entropy sparse_softmax_cross_entropy",
                                       words="sends the scores the probabilities minus 1 at the label"),
    "label_indicator": Note(kinks="zeros for an ignored label"),
})
