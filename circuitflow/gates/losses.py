"""Losses: how far a prediction is from what it should be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from circuitflow.gates.record import Attributes, Gate, Reads
from circuitflow.gates.reductions import total
from circuitflow.gates.shapes import ArrayType, ShapeError, count, floating, need_float, need_indices, show
from circuitflow.gates.special import need_in_range


class Reduction(Attributes):
    """What becomes of the losses of the elements."""

    reduction: Annotated[Literal["mean", "sum", "none"], Field(description="what becomes of the losses of the elements")
                         ] = "mean"


class Ignored(Attributes):
    """Which labels count for nothing."""

    ignore_index: Annotated[int | None, Field(description="a label whose places count for nothing; none by default")
                            ] = None


class OfLabels(Ignored, Reduction):
    """What becomes of the losses, and which labels have none."""


class Logits(Reduction):
    """What becomes of the losses, and what the prediction is."""

    logits: Annotated[bool, Field(description="the prediction is what the logistic function makes a probability of")
                      ] = False


class Delta(Reduction):
    """What becomes of the losses, and where they turn linear."""

    delta: Annotated[float, Field(gt=0, description="where the loss turns from quadratic to linear")] = 1.0


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


def _indicated(x: ArrayType, labels: ArrayType, **_: Any) -> ArrayType:
    _labels_type(x, labels, reduction="none")
    return x


def _reduced(xp: Any, losses: Any, reduction: str, counted: Any = None) -> Any:
    if reduction == "none":
        return losses
    summed = total(xp, losses, axis=tuple(range(losses.ndim)), keepdims=False)
    return summed / (count(losses.shape) if counted is None else counted) if reduction == "mean" else summed


def _spread(op: Any, g: Any, x: Any, reduction: str) -> Any:
    """The gradient on every element's loss."""
    if reduction == "none":
        return g
    g = g / op.size(x) if reduction == "mean" else g
    for _ in range(x.ndim):
        g = op.unsqueeze(g, axis=0)
    return op.expand_like(g, x)


def _chosen(xp: Any, labels: Any, classes: int, ignored: int | None, dtype: Any) -> Any:
    """1 for the class of each label, 0 for all others and where a label is ignored: (batch, classes, …)."""
    outside = (labels < 0) | (labels >= classes)
    if ignored is not None:
        outside = outside & (labels != ignored)
    need_in_range(xp, outside, labels, f"label {{}} is out of range for {classes} classes")
    place = xp.reshape(xp.arange(classes, dtype=labels.dtype), (classes, *(1,) * (labels.ndim - 1)))
    hot = xp.expand_dims(labels, axis=1) == place
    if ignored is not None:
        hot = hot & (xp.expand_dims(labels, axis=1) != ignored)
    return xp.asarray(hot, dtype=dtype)


def _negative_log_likelihood(xp: Any, x: Any, labels: Any, *, reduction: str, ignore_index: int | None) -> Any:
    hot = _chosen(xp, labels, x.shape[1], ignore_index, x.dtype)
    losses = -xp.sum(xp.where(hot > 0, x, 0.0), axis=1, dtype=x.dtype)
    return _reduced(xp, losses, reduction, xp.sum(hot, dtype=x.dtype))


def _log_softmax(xp: Any, x: Any) -> Any:
    shifted = x - xp.max(x, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True, dtype=x.dtype))


def _cross_entropy(xp: Any, x: Any, labels: Any, **rest: Any) -> Any:
    return _negative_log_likelihood(xp, x if 0 in x.shape else _log_softmax(xp, x), labels, **rest)


def _on_labels(op: Any, g: Any, x: Any, labels: Any, reduction: str, ignore_index: int | None) -> tuple[Any, Any]:
    """The chosen classes, and the gradient on every label's loss, as (batch, 1, …)."""
    hot = op.label_indicator(x, labels, ignore_index=ignore_index)
    if reduction == "mean":
        g = g / op.reduce_sum(hot)
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
    hot, g = _on_labels(op, g, x, labels, reduction, ignore_index)
    return (op.softmax(x, axis=1) * op.reduce_sum(hot, axis=1, keepdims=True) - hot) * g


def _binary(xp: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    if logits:
        losses = xp.where(x > 0, x, 0.0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))
    else:
        losses = -(_times_log(xp, target, x) + _times_log(xp, 1 - target, 1 - x))
    return _reduced(xp, losses, reduction)


def _times_log(xp: Any, weight: Any, x: Any) -> Any:
    """The product weight · ln x, and 0 where the weight is 0."""
    return xp.where(weight == 0, 0.0, weight * xp.log(xp.where(weight == 0, 1.0, x)))


def _binary_x(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    g = _spread(op, g, x, reduction)
    if logits:
        return g * (op.sigmoid(x) - target)
    lost = op.where(target == 0, 0.0, target / op.where(target == 0, 1.0, x))
    gained = op.where(target == 1, 0.0, (1 - target) / op.where(target == 1, 1.0, 1 - x))
    return g * (gained - lost)


def _binary_target(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, logits: bool) -> Any:
    g = _spread(op, g, x, reduction)
    return -g * x if logits else g * (op.log(1 - x) - op.log(x))


def _huber(xp: Any, x: Any, target: Any, *, reduction: str, delta: float) -> Any:
    size = xp.abs(x - target)
    inside = xp.clip(size, None, delta)
    return _reduced(xp, inside * (size - 0.5 * inside), reduction)


def _huber_x(op: Any, g: Any, out: Any, x: Any, target: Any, *, reduction: str, delta: float) -> Any:
    return _spread(op, g, x, reduction) * op.clip(x - target, min=-delta, max=delta)


LOSSES = {
    "mean_squared_error": Gate("(x - target)²", "The squares of the differences, their mean by default.",
                               ("x", "target"), _loss_type, attributes=Reduction, symbol="MSE", reads=Reads.INPUTS,
                               forward=lambda xp, x, target, *, reduction:
                                   _reduced(xp, (x - target) * (x - target), reduction),
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
    "negative_log_likelihood_loss": Gate("-x[label]", "What log-probabilities (batch, classes, …) say against labels.",
                                         ("x", "labels"), _labels_type, attributes=OfLabels, symbol="NLL",
                                         reads=Reads.INPUTS,
                                         forward=_negative_log_likelihood,
                                         backward=(_nll_backward, None)),
    "softmax_cross_entropy_loss": Gate("-ln softmax(x)[label]",
                                       "The cross entropy of scores (batch, classes, …) and labels, without overflow.",
                                       ("x", "labels"), _labels_type, attributes=OfLabels, symbol="CE",
                                       reads=Reads.INPUTS,
                                       forward=_cross_entropy,
                                       backward=(_cross_entropy_backward, None)),
    "label_indicator": Gate("[label = class]", "1 for the class of each label, 0 elsewhere, in the shape of x.",
                            ("x", "labels"), _indicated, attributes=Ignored,
                            symbol="1-hot",
                            forward=lambda xp, x, labels, *, ignore_index:
                                _chosen(xp, labels, x.shape[1], ignore_index, x.dtype),
                            backward=(None, None)),
}
