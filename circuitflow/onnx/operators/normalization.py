"""Normalisations and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from circuitflow.onnx.calls import Call, Refusal


def batch_normalization(call: Call) -> Any:
    """By mean and variance that are inputs, or in training by those of the batch."""
    epsilon = call.attribute("epsilon")
    momentum = call.attribute("momentum")
    if call.version < 9:
        call.expect(spatial=1)
    operands = [call[i] for i in range(5)]
    if call.version >= 14 and call.attribute("training_mode", 0):
        return call.w.batch_normalization(*operands, epsilon=epsilon, momentum=momentum, training_mode=True)
    if call.outputs > 1:
        raise Refusal("gives mean and variance as in training, which versions before 14 do not say; expected one "
                      "output")
    dtype = operands[0].type.dtype
    out = call.w.batch_normalization(*operands, epsilon=epsilon)
    return out if out.type.dtype == dtype else call.w.cast(out, dtype=dtype)


def layer_normalization(call: Call) -> Any:
    """The last axes standardised together, with their mean and the reciprocal of their deviation."""
    axis, epsilon, w, x = call.attribute("axis"), call.attribute("epsilon"), call.w, call[0]
    call.expect(stash_type=1)
    bias = [call[2]] if call.has(2) else []
    out = w.layer_normalization(x, call[1], *bias, axis=axis, epsilon=epsilon)
    if call.outputs < 2:
        return out
    axes = list(range(axis % x.ndim, x.ndim))
    mean = w.reduce_mean(x, axis=axes, keepdims=True)
    variance = w.reduce_var(x, axis=axes, keepdims=True)
    return out, mean, w.div(1.0, w.sqrt(w.add(variance, epsilon)))


def rms_normalization(call: Call) -> Any:
    """The last axes over their root mean square."""
    call.expect(stash_type=1)
    return call.w.rms_normalization(call[0], call[1], axis=call.attribute("axis"), epsilon=call.attribute("epsilon"))


def group_normalization(call: Call) -> Any:
    """Groups of channels standardised; before version 21 scale and bias have a number for each group."""
    groups, epsilon, w, x = call.attribute("num_groups"), call.attribute("epsilon"), call.w, call[0]
    call.attribute("stash_type")
    scale, bias = call[1], call[2]
    if call.version < 21:
        channels = call.numbers_of(call.shape(0))[1]
        scale, bias = (w.reshape(w.expand(w.unsqueeze(y, axis=1), shape=[groups, channels // groups]),
                                 shape=[channels]) for y in (scale, bias))
    return w.group_normalization(x, scale, bias, num_groups=groups, epsilon=epsilon)


def mean_variance_normalization(call: Call) -> Any:
    """Standardised along axes."""
    w, x = call.w, call[0]
    axes = call.attribute("axes") or [0, 2, 3]
    distance = w.sub(x, w.reduce_mean(x, axis=axes, keepdims=True))
    deviation = w.sqrt(w.sub(w.reduce_mean(w.square(x), axis=axes, keepdims=True),
                             w.square(w.reduce_mean(x, axis=axes, keepdims=True))))
    return w.div(distance, w.add(deviation, 1e-9))


def lrn(call: Call) -> Any:
    """Divided by a power of the squares of neighbouring channels."""
    w, x, size = call.w, call[0], call.attribute("size")
    channels = call.numbers_of(call.shape(0)[1:2])[0]
    if not 1 <= size <= 2 * channels + 1:  # neighbours beyond the channels count for nothing
        raise Refusal(f"has the size {size} over {channels} channels")
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = w.pad(w.square(x), pad_width=[[0, 0], [before, after], *[[0, 0]] * (x.ndim - 2)])
    parts = [w.slice(squares, axis=1, start=i, stop=i + channels) for i in range(size)]
    total = w.add(*parts) if size > 1 else parts[0]
    scale = w.add(w.mul(total, call.attribute("alpha") / size), call.attribute("bias"))
    return w.div(x, w.pow(scale, call.attribute("beta")))


def negative_log_likelihood(call: Call) -> Any:
    """Log-probabilities against labels."""
    if call.has(2):
        return _weighted(call, call[0])
    return call.w.negative_log_likelihood_loss(call[0], call[1], **_loss(call))


def softmax_cross_entropy(call: Call) -> Any:
    """Scores against labels, and if asked the log-probabilities."""
    w = call.w
    if call.has(2):
        log = w.log_softmax(call[0], axis=1)
        loss = _weighted(call, log)
    else:
        loss = w.softmax_cross_entropy_loss(call[0], call[1], **_loss(call))
        log = w.log_softmax(call[0], axis=1) if call.outputs > 1 else None
    return (loss, log) if call.outputs > 1 else loss


def _loss(call: Call) -> dict[str, Any]:
    ignore = call.attribute("ignore_index")
    return {"reduction": call.attribute("reduction"), **({} if ignore is None else {"ignore_index": ignore})}


def _weighted(call: Call, x: Any) -> Any:
    """The loss of log-probabilities with a weight for every class."""
    w, labels, weights = call.w, call[1], call[2]
    options = _loss(call)
    reduction = options.pop("reduction")
    hot = w.label_indicator(x, labels, **options)
    for _ in range(x.ndim - 2):
        weights = w.unsqueeze(weights, axis=-1)
    weight = w.reduce_sum(w.mul(hot, weights), axis=1)
    loss = w.mul(w.negative_log_likelihood_loss(x, labels, reduction="none", **options), weight)
    if reduction == "none":
        return loss
    total = w.reduce_sum(loss)
    return total if reduction == "sum" else w.div(total, w.reduce_sum(weight))


NORMALIZATION: Mapping[str, Callable[[Call], Any]] = {
    "BatchNormalization": batch_normalization, "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization, "GroupNormalization": group_normalization,
    "MeanVarianceNormalization": mean_variance_normalization, "LRN": lrn,
    "NegativeLogLikelihoodLoss": negative_log_likelihood, "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
}
