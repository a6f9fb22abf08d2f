"""Windows, normalisation, attention and losses in mpmath: the second half of the gates of `exact.gates`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from mpmath import mp, mpf

from exact.gates import (
    ELEMENTS,
    EXP,
    INDEXING,
    LAYOUT,
    LN,
    MATRICES,
    REDUCTIONS,
    ROOT,
    Array,
    average,
    normal,
    number,
    total,
    variance,
    where,
)

Numbers = Sequence[int] | None
Pairs = Sequence[Sequence[int]] | None


class Windows:
    """The windows that slide over images of a shape (batch, channels, *sizes)."""

    def __init__(self, sizes: Sequence[int], kernel_shape: Sequence[int], strides: Numbers = None, pads: Pairs = None,
                 dilations: Numbers = None) -> None:
        rank = len(sizes)
        self.sizes, self.kernel = sizes, kernel_shape
        self.strides, self.dilations = strides or [1] * rank, dilations or [1] * rank
        self.pads = pads or [[0, 0]] * rank
        self.counts = [(size + before + after - d * (k - 1) - 1) // s + 1 for size, (before, after), d, k, s in
                       zip(sizes, self.pads, self.dilations, kernel_shape, self.strides, strict=True)]

    def elements(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | None]]:
        """Every window, every place in it, and where that is in the image; None beside it."""
        for window in np.ndindex(*self.counts):
            for place in np.ndindex(*self.kernel):
                spot = tuple(w * s + p * d - before for w, s, p, d, (before, _) in
                             zip(window, self.strides, place, self.dilations, self.pads, strict=True))
                inside = all(0 <= i < size for i, size in zip(spot, self.sizes, strict=True))
                yield window, place, spot if inside else None


def unfold(x: Array, kernel_shape: Sequence[int], fill: str = "zero", **steps: Any) -> Array:
    windows = Windows(x.shape[2:], kernel_shape, **steps)
    result = np.full((*x.shape[:2], *kernel_shape, *windows.counts), mpf(0) if fill == "zero" else -mp.inf, object)
    for window, place, spot in windows.elements():
        if spot is not None:
            result[(slice(None), slice(None), *place, *window)] = x[(slice(None), slice(None), *spot)]
    return result


def fold(x: Array, like: Array, kernel_shape: Sequence[int], **steps: Any) -> Array:
    result = np.full(like.shape, mpf(0), object)
    for window, place, spot in Windows(like.shape[2:], kernel_shape, **steps).elements():
        if spot is not None:
            result[(slice(None), slice(None), *spot)] += x[(slice(None), slice(None), *place, *window)]
    return result


def conv(x: Array, w: Array, b: Array | None = None, group: int = 1, **steps: Any) -> Array:
    windows = unfold(x, w.shape[2:], **steps)
    n, channels = x.shape[:2]
    rank, each_in, each_out = x.ndim - 2, channels // group, w.shape[0] // group
    size, counts = math.prod(windows.shape[2:2 + rank]), windows.shape[2 + rank:]
    parts = []
    for g in range(group):
        columns = windows[:, g * each_in:(g + 1) * each_in].reshape(n, each_in * size, math.prod(counts))
        kernel = w[g * each_out:(g + 1) * each_out].reshape(each_out, -1)
        parts.append(np.matmul(kernel, columns).reshape(n, each_out, *counts))
    result = np.concatenate(parts, 1)
    return result if b is None else result + b.reshape(-1, *(1,) * rank)


def conv_transpose(x: Array, w: Array, b: Array | None = None, group: int = 1, strides: Numbers = None,
                   pads: Pairs = None, dilations: Numbers = None, output_padding: Numbers = None) -> Array:
    rank = x.ndim - 2
    steps, spread, ends = strides or [1] * rank, dilations or [1] * rank, pads or [[0, 0]] * rank
    more = output_padding or [0] * rank
    sizes = [(size - 1) * s + d * (k - 1) + 1 + o - before - after for size, s, d, k, o, (before, after) in
             zip(x.shape[2:], steps, spread, w.shape[2:], more, ends, strict=True)]
    each_in, each_out = x.shape[1] // group, w.shape[1]
    result = np.full((x.shape[0], each_out * group, *sizes), mpf(0), object)
    for window in np.ndindex(*x.shape[2:]):
        for place in np.ndindex(*w.shape[2:]):
            spot = tuple(i * s + p * d - before for i, s, p, d, (before, _) in
                         zip(window, steps, place, spread, ends, strict=True))
            if not all(0 <= i < size for i, size in zip(spot, sizes, strict=True)):
                continue
            for g in range(group):
                taken = x[(slice(None), slice(g * each_in, (g + 1) * each_in), *window)]
                kernel = w[(slice(g * each_in, (g + 1) * each_in), slice(None), *place)]
                result[(slice(None), slice(g * each_out, (g + 1) * each_out), *spot)] += np.matmul(taken, kernel)
    return result if b is None else result + b.reshape(-1, *(1,) * rank)


def max_pool(x: Array, kernel_shape: Sequence[int], **steps: Any) -> Array:
    axes = tuple(range(2, x.ndim))
    return REDUCTIONS["reduce_max"](unfold(x, kernel_shape, "lowest", **steps), axes)


def average_pool(x: Array, kernel_shape: Sequence[int], count_include_pad: bool = False, **steps: Any) -> Array:
    axes = tuple(range(2, x.ndim))
    sums = total(unfold(x, kernel_shape, **steps), axes)
    if count_include_pad:
        return sums / math.prod(kernel_shape)
    return sums / total(unfold(LAYOUT["ones_like"](x), kernel_shape, **steps), axes)


def channels(y: Array, x: Array) -> Array:
    return y.reshape(-1, *(1,) * (x.ndim - 2))


def batch_normalization(x: Array, scale: Array, bias: Array, mean: Array, spread: Array, epsilon: float = 1e-5,
                        training_mode: bool = False, momentum: float = 0.9) -> Any:
    if not training_mode:
        z = (x - channels(mean, x)) / ROOT(channels(spread, x) + number(epsilon))
        return z * channels(scale, x) + channels(bias, x)
    axes, m = (0, *range(2, x.ndim)), number(momentum)
    return (normal(x, axes, epsilon) * channels(scale, x) + channels(bias, x),
            m * mean + (1 - m) * average(x, axes), m * spread + (1 - m) * variance(x, axes))


def layer_normalization(x: Array, scale: Array, bias: Any = 0, axis: int = -1, epsilon: float = 1e-5) -> Array:
    return normal(x, range(axis % x.ndim, x.ndim), epsilon) * scale + bias


def rms_normalization(x: Array, scale: Array, axis: int = -1, epsilon: float = 1e-5) -> Array:
    axes = range(axis % x.ndim, x.ndim)
    return x / ROOT(average(x * x, axes, True) + number(epsilon)) * scale


def group_normalization(x: Array, scale: Array, bias: Array, num_groups: int, epsilon: float = 1e-5) -> Array:
    groups = normal(x.reshape(x.shape[0], num_groups, -1), 2, epsilon).reshape(x.shape)
    return groups * channels(scale, x) + channels(bias, x)


def mixed(x: int) -> int:
    """The finaliser of MurmurHash3, of 32 bits: https://github.com/aappleby/smhasher, public domain."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ x >> shift) * factor & 0xFFFFFFFF
    return x ^ x >> 16


def dropout(x: Array, seed: Array, ratio: float = 0.5) -> Array:
    """An element stays where the hash of its position and of the seed's two halves is at least ratio · 2³²."""
    low, high = (mixed(int(seed) >> shift & 0xFFFFFFFF) for shift in (0, 32))
    hashes = [mixed((mixed((place ^ high) & 0xFFFFFFFF) + low) & 0xFFFFFFFF) for place in range(x.size)]
    stays = np.array([h >= int(ratio * 2**32) for h in hashes], bool).reshape(x.shape)
    return where(stays, x / (1 - number(ratio)), mpf(0))


def attention_weights(q: Array, k: Array, mask: Array | None = None, scale: float | None = None,
                      causal: bool = False) -> Array:
    factor = 1 / mp.sqrt(q.shape[-1]) if scale is None else number(scale)
    scores = EXP(np.matmul(q, np.swapaxes(k, -1, -2)) * factor)
    seen = np.tri(*scores.shape[-2:], dtype=bool) if causal else np.ones(scores.shape, bool)
    scores = where(seen if mask is None else seen & mask, scores, mpf(0))
    sums = total(scores, -1, True)
    return scores / where((sums == 0).astype(bool), mpf(1), sums)


def reduced(losses: Array, reduction: str = "mean", count: int | None = None) -> Array:
    if reduction == "none":
        return losses
    return total(losses) / (1 if reduction == "sum" else np.size(losses) if count is None else count)


def huber(x: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Array:
    size, d = np.asarray(np.abs(x - target), object), number(delta)
    return reduced(where(np.asarray(size <= d, bool), size * size / 2, d * (size - d / 2)), reduction)


def binary_cross_entropy(x: Array, target: Array, reduction: str = "mean", logits: bool = False) -> Array:
    p = ELEMENTS["sigmoid"](x) if logits else x
    return reduced(-(target * LN(p) + (1 - target) * LN(1 - p)), reduction)


def negative_log_likelihood_loss(x: Array, labels: Array, reduction: str = "mean",
                                 ignore_index: int | None = None) -> Array:
    seen = labels != ignore_index if ignore_index is not None else np.ones(labels.shape, bool)
    picked = np.take_along_axis(x, np.expand_dims(np.where(seen, labels, 0), 1), 1).squeeze(1)
    return reduced(where(seen, -picked, mpf(0)), reduction, int(seen.sum()))


def label_indicator(x: Array, labels: Array, ignore_index: int | None = None) -> Array:
    classes = np.arange(x.shape[1]).reshape(-1, *(1,) * (x.ndim - 2))
    hit = np.expand_dims(labels, 1) == classes
    return where(hit & np.expand_dims(labels != ignore_index, 1), mpf(1), mpf(0))


GATES: dict[str, Callable[..., Any]] = {
    **ELEMENTS, **REDUCTIONS, **MATRICES, **LAYOUT, **INDEXING,
    "unfold": unfold, "fold": fold, "conv": conv, "conv_transpose": conv_transpose, "max_pool": max_pool,
    "average_pool": average_pool,
    "global_max_pool": lambda x: REDUCTIONS["reduce_max"](x, range(2, x.ndim), True),
    "global_average_pool": lambda x: average(x, range(2, x.ndim), True),
    "batch_normalization": batch_normalization, "layer_normalization": layer_normalization,
    "rms_normalization": rms_normalization, "group_normalization": group_normalization,
    "instance_normalization": lambda x, scale, bias, epsilon=1e-5:
        normal(x, range(2, x.ndim), epsilon) * channels(scale, x) + channels(bias, x),
    "dropout": dropout, "attention_weights": attention_weights,
    "attention": lambda q, k, v, *mask, **how: np.matmul(attention_weights(q, k, *mask, **how), v),
    "mean_squared_error": lambda x, target, reduction="mean": reduced((x - target) ** 2, reduction), "huber": huber,
    "binary_cross_entropy": binary_cross_entropy, "negative_log_likelihood_loss": negative_log_likelihood_loss,
    "softmax_cross_entropy_loss": lambda x, labels, reduction="mean", ignore_index=None:
        negative_log_likelihood_loss(REDUCTIONS["log_softmax"](x, 1), labels, reduction, ignore_index),
    "label_indicator": label_indicator,
}
"""Every gate: operands as arrays, attributes by name; an array, or a tuple of them."""
