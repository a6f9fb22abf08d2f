"""Normalisations: what is standardised together, and scaled and shifted after. Channels are the second axis."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from circuitflow.gates.convolution import need_images, need_one_a_channel, spatial, sum_to_channels
from circuitflow.gates.record import Attributes, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, broadcast_shapes, count, divide, need_float, promote, show
from circuitflow.gates.sums import magnitude, magnitude_of, total


class Epsilon(Attributes):
    epsilon: float = Field(1e-5, gt=0, description="what is added to the variance")


class Trailing(Epsilon):
    axis: int = Field(-1, description="first of the axes that are normalised together, to the last")


class ChannelGroups(Epsilon):
    num_groups: int = Field(ge=1, description="how many groups the channels are divided into")


class Training(Epsilon):
    training_mode: bool = Field(
        False, description="use the mean and variance of the batch, move the operands mean and variance towards them, "
                           "and give both as outputs")
    momentum: float = Field(0.9, ge=0, le=1, description="share of the old mean and variance that is kept")


def _mean(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return total(xp, x, axis=axes, keepdims=True) / math.prod(x.shape[axis] for axis in axes)


def _scale(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """What x is divided by so that its squares do not overflow; 1 in all ordinary cases."""
    scale = magnitude(xp, x, axes)
    return xp.where(scale > 1, scale, 1.0)


def _moments(xp: Any, x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """A scale; and of x divided by it the distances from the mean, that mean, and the variance."""
    scale = _scale(xp, x, axes)
    x = x / scale
    mean = _mean(xp, x, axes)
    distance = x - mean
    return scale, distance, mean, _mean(xp, distance * distance, axes)


def _deviation(op: Any, variance: Any, scale: Any, epsilon: float) -> Any:
    """What a centred x over its scale is divided by: √(variance + epsilon / scale²), where the quotient may underflow.

    `op` is a vocabulary or a namespace.
    """
    return op.where((variance == 0) & (scale > 1), math.sqrt(epsilon) / scale,
                    op.sqrt(variance + epsilon / scale / scale))


def _standardise(xp: Any, x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    scale, distance, _, variance = _moments(xp, x, axes)
    return distance / _deviation(xp, variance, scale, epsilon)


def _spread(op: Any, x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any]:
    """The operand standardised along axes, and the reciprocal of what it was divided by."""
    scale = magnitude_of(op, x, axes)
    x = x / scale
    distance = x - op.reduce_mean(x, axis=axes, keepdims=True)
    inverse = 1 / _deviation(op, op.reduce_mean(op.square(distance), axis=axes, keepdims=True), scale, epsilon)
    return distance * inverse, inverse / scale


def _standardise_backward(op: Any, g: Any, x: Any, axes: list[int], epsilon: float) -> Any:
    standard, inverse = _spread(op, x, axes, epsilon)
    mean = op.reduce_mean(g, axis=axes, keepdims=True)
    return inverse * (g - mean - standard * op.reduce_mean(g * standard, axis=axes, keepdims=True))


def _channel(op: Any, y: Any, x: Any) -> Any:
    """One number a channel, ready to be broadcast with images."""
    for _ in range(x.ndim - 2):
        y = op.unsqueeze(y, axis=-1)
    return y


def _channel_shape(x: Any) -> tuple[int, ...]:
    rank: int = x.ndim
    return (-1,) + (1,) * (rank - 2)


def _but_channels(x: Any) -> list[int]:
    return [0, *range(2, x.ndim)]


def _need_channels(x: ArrayType, **vectors: ArrayType) -> None:
    need_float("x", x)
    if len(x.shape) < 2:
        raise ShapeError(f"needs batch and channels; x is {show(x.shape)}")
    for name, y in vectors.items():
        need_one_a_channel(name, y, x.shape[1], f" of x {show(x.shape)}")


def _batch_type(x: ArrayType, scale: ArrayType, bias: ArrayType, mean: ArrayType, variance: ArrayType, *,
                training_mode: bool, **_: Any) -> ArrayType | tuple[ArrayType, ...]:
    _need_channels(x, scale=scale, bias=bias, mean=mean, variance=variance)
    y = ArrayType(x.shape, promote(*(t.dtype for t in (x, scale, bias, mean, variance))))
    return (y, mean, variance) if training_mode else y


def _batch(xp: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float, training_mode: bool,
           momentum: float) -> Any:
    shape = _channel_shape(x)
    scale, bias = xp.reshape(scale, shape), xp.reshape(bias, shape)
    if not training_mode:
        return (x - xp.reshape(mean, shape)) * (scale / xp.sqrt(xp.reshape(variance, shape) + epsilon)) + bias
    size, distance, new_mean, new_variance = _moments(xp, x, tuple(_but_channels(x)))
    y = distance / _deviation(xp, new_variance, size, epsilon) * scale + bias
    new_mean = xp.reshape(size * new_mean, mean.shape)
    new_variance = xp.reshape(size * (size * new_variance), variance.shape)
    return y, momentum * mean + (1 - momentum) * new_mean, momentum * variance + (1 - momentum) * new_variance


def _batch_x(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float,
             training_mode: bool, momentum: float) -> Any:
    if not training_mode:
        return g * _channel(op, scale / op.sqrt(variance + epsilon), x)
    g_y, g_mean, g_variance = g
    axes = _but_channels(x)
    size = op.size(x, axis=axes)
    by_values = _standardise_backward(op, g_y * _channel(op, scale, x), x, axes, epsilon)
    distance = x - op.reduce_mean(x, axis=axes, keepdims=True)
    by_moments = _channel(op, (1 - momentum) * g_mean / size, x) + 2 * distance * _channel(
        op, (1 - momentum) * g_variance / size, x)
    return by_values + by_moments


def _batch_scale(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *,
                 epsilon: float, training_mode: bool, momentum: float) -> Any:
    axes = _but_channels(x)
    if training_mode:
        return op.reduce_sum(g[0] * _spread(op, x, axes, epsilon)[0], axis=axes)
    return op.reduce_sum(g * (x - _channel(op, mean, x)), axis=axes) / op.sqrt(variance + epsilon)


def _batch_mean(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float,
                training_mode: bool, momentum: float) -> Any:
    if training_mode:
        return momentum * g[1]
    return -op.reduce_sum(g, axis=_but_channels(x)) * scale / op.sqrt(variance + epsilon)


def _batch_variance(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *,
                    epsilon: float, training_mode: bool, momentum: float) -> Any:
    if training_mode:
        return momentum * g[2]
    sums = op.reduce_sum(g * (x - _channel(op, mean, x)), axis=_but_channels(x))
    power = variance + epsilon
    return -0.5 * sums / power * scale / op.sqrt(power)


def _trailing(x: Any, axis: int) -> list[int]:
    return list(range(axis % x.ndim, x.ndim))


def _trailing_type(x: ArrayType, scale: ArrayType, bias: ArrayType | None = None, *, axis: int,
                   epsilon: float) -> ArrayType:
    need_float("x", x)
    rank = len(x.shape)
    if not rank or not -rank <= axis < rank:
        raise ShapeError(f"needs an axis from {-rank} to {rank - 1} of x {show(x.shape)}, not {axis}")
    for name, y in (("scale", scale), ("bias", bias)):
        if y is not None:
            need_float(name, y)
            if broadcast_shapes(y.shape, x.shape[axis % rank :]) != x.shape[axis % rank :]:
                raise ShapeError(f"cannot broadcast {name} {show(y.shape)} to the axes that are normalised, "
                                 f"{show(x.shape[axis % rank :])}")
    return ArrayType(x.shape, promote(*(y.dtype for y in (x, scale, bias) if y is not None)))


def _layer(xp: Any, x: Any, scale: Any, bias: Any = None, *, axis: int, epsilon: float) -> Any:
    y = _standardise(xp, x, tuple(_trailing(x, axis)), epsilon) * scale
    return y if bias is None else y + bias


def _rms_spread(op: Any, x: Any, axes: list[int], epsilon: float) -> tuple[Any, Any]:
    """The operand over its root mean square along axes, and the reciprocal of that."""
    scale = magnitude_of(op, x, axes)
    x = x / scale
    inverse = 1 / op.sqrt(op.reduce_mean(op.square(x), axis=axes, keepdims=True) + epsilon / scale / scale)
    return x * inverse, inverse / scale


def _rms(xp: Any, x: Any, scale: Any, *, axis: int, epsilon: float) -> Any:
    axes = tuple(_trailing(x, axis))
    size = _scale(xp, x, axes)
    x = x / size
    return x / xp.sqrt(_mean(xp, x * x, axes) + epsilon / size / size) * scale


def _rms_x(op: Any, g: Any, out: Any, x: Any, scale: Any, *, axis: int, epsilon: float) -> Any:
    axes = _trailing(x, axis)
    (standard, inverse), g = _rms_spread(op, x, axes, epsilon), g * scale
    return inverse * (g - standard * op.reduce_mean(g * standard, axis=axes, keepdims=True))


def _group_type(x: ArrayType, scale: ArrayType, bias: ArrayType, *, num_groups: int, epsilon: float) -> ArrayType:
    _need_channels(x, scale=scale, bias=bias)
    if divide(x.shape[1], num_groups) is None or not isinstance(count(x.shape[1:]), int):
        raise ShapeError(f"needs channels of known size that {num_groups} groups divide evenly; x is {show(x.shape)}")
    return ArrayType(x.shape, promote(x.dtype, scale.dtype, bias.dtype))


def _groups(op: Any, x: Any, num_groups: int) -> Any:
    return op.reshape(x, shape=[-1, num_groups, math.prod(x.shape[1:]) // num_groups])


def _group(xp: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    groups = xp.reshape(x, (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    shape = _channel_shape(x)
    standard = xp.reshape(_standardise(xp, groups, (2,), epsilon), x.shape)
    return standard * xp.reshape(scale, shape) + xp.reshape(bias, shape)


def _group_x(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    g = _groups(op, g * _channel(op, scale, x), num_groups)
    return op.reshape_like(_standardise_backward(op, g, _groups(op, x, num_groups), [2], epsilon), x)


def _group_scale(op: Any, g: Any, out: Any, x: Any, scale: Any, bias: Any, *, num_groups: int, epsilon: float) -> Any:
    standard = op.reshape_like(_spread(op, _groups(op, x, num_groups), [2], epsilon)[0], x)
    return op.reduce_sum(g * standard, axis=_but_channels(x))


def _instance_type(x: ArrayType, scale: ArrayType, bias: ArrayType, *, epsilon: float) -> ArrayType:
    _need_channels(x, scale=scale, bias=bias)
    need_images("x", x)
    return ArrayType(x.shape, promote(x.dtype, scale.dtype, bias.dtype))


def _instance(xp: Any, x: Any, scale: Any, bias: Any, *, epsilon: float) -> Any:
    shape = _channel_shape(x)
    return _standardise(xp, x, tuple(spatial(x)), epsilon) * xp.reshape(scale, shape) + xp.reshape(bias, shape)


_NORMALIZED = ("(h - avg h - z avg(h z)) / deviation to {x}, h = {scale} · {g}, z = {x} normalized; "
               "the sum of {g} z to {scale}")
_BIAS = "; the sum of {g} to {bias}"

NORMALIZATION = family({
    "batch_normalization": Gate(
        "scale (x - mean) / √(variance + epsilon) + bias",
        "Every channel standardised by a mean and a variance: the operands, or in training mode those of the batch.",
        ("x", "scale", "bias", "mean", "variance"), _batch_type, attributes=Training, symbol="norm",
        outputs=lambda *, training_mode, **_: ("y", "mean", "variance") if training_mode else (),
        reads=Reads.INPUTS,
        forward=_batch,
        backward=(_batch_x, _batch_scale,
                  lambda op, g, out, x, *_, training_mode, **__: op.reduce_sum(
                      g[0] if training_mode else g, axis=_but_channels(x)),
                  _batch_mean, _batch_variance)),
    "layer_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "The last axes of x standardised together; bias may be left out.",
        ("x", "scale", "bias"), _trailing_type, optional=1, attributes=Trailing, symbol="norm", broadcasts=True,
        reads=Reads.INPUTS,
        forward=_layer,
        backward=(lambda op, g, out, x, scale, *_, axis, epsilon: _standardise_backward(
                      op, g * scale, x, _trailing(x, axis), epsilon),
                  lambda op, g, out, x, *_, axis, epsilon: g * _spread(op, x, _trailing(x, axis), epsilon)[0],
                  lambda op, g, out, *_, **__: g)),
    "rms_normalization": Gate(
        "scale x / √(mean x² + epsilon)", "The last axes of x divided by their root mean square.",
        ("x", "scale"), _trailing_type, attributes=Trailing, symbol="norm", broadcasts=True, reads=Reads.INPUTS,
        forward=_rms,
        backward=(_rms_x,
                  lambda op, g, out, x, scale, *, axis, epsilon:
                  g * _rms_spread(op, x, _trailing(x, axis), epsilon)[0])),
    "group_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "Groups of channels standardised together, each channel scaled.",
        ("x", "scale", "bias"), _group_type, attributes=ChannelGroups, symbol="norm", reads=Reads.INPUTS,
        forward=_group,
        backward=(_group_x, _group_scale, sum_to_channels)),
    "instance_normalization": Gate(
        "scale (x - x̄) / √(var x + epsilon) + bias", "Every channel of every image standardised by itself.",
        ("x", "scale", "bias"), _instance_type, attributes=Epsilon, symbol="norm", reads=Reads.INPUTS,
        forward=_instance,
        backward=(lambda op, g, out, x, scale, bias, *, epsilon: _standardise_backward(
                      op, g * _channel(op, scale, x), x, spatial(x), epsilon),
                  lambda op, g, out, x, scale, bias, *, epsilon: op.reduce_sum(
                      g * _spread(op, x, spatial(x), epsilon)[0], axis=_but_channels(x)),
                  sum_to_channels)),
}, {
    "batch_normalization": Note("(h - avg h - z avg(h z)) / deviation to {x} in training mode, else h / deviation, "
                                "h = {scale} · {g}, z = {x} normalized; the sum of {g} z to {scale}; the sum of {g} to "
                                "{bias}; minus the sum of h / deviation to {mean} and of h z / (2 deviation²) to "
                                "{variance} outside of training mode",
                                onnx=Onnx("BatchNormalization", "epsilon momentum training_mode", since=9),
                                also="batch_norm batch_norm1d batch_norm2d batch_norm3d"),
    "layer_normalization": Note(_NORMALIZED + _BIAS, kinks="0 where all are equal",
                                onnx=Onnx("LayerNormalization", "axis epsilon", {"stash_type": 1}, written=""),
                                also="layer_norm"),
    "rms_normalization": Note("(h - z avg(h z)) / rms to {x}, h = {scale} · {g}, z = {x} normalized; the sum of {g} z "
                              "to {scale}",
                              onnx=Onnx("RMSNormalization", "axis epsilon", {"stash_type": 1}, written=""),
                              also="rms_norm"),
    "group_normalization": Note(f"as layer_normalization, group by group: {_NORMALIZED}{_BIAS}",
                                onnx=Onnx("GroupNormalization", "num_groups epsilon", {"stash_type": 1}, since=21,
                                           written=""),
                                also="group_norm", example={"num_groups": 1}),
    "instance_normalization": Note(f"as layer_normalization, channel by channel: {_NORMALIZED}{_BIAS}",
                                   onnx=Onnx("InstanceNormalization", "epsilon", written=""), also="instance_norm"),
})
