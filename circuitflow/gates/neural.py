"""Dropout and attention."""

from __future__ import annotations

import math
import operator
from typing import Any

from pydantic import Field

from circuitflow.gates.products import matmul_kept
from circuitflow.gates.record import Attributes, Facets, Gate, Note, Reads, Rule, family
from circuitflow.gates.shapes import ArrayType, ShapeError, broadcast_shapes, need_bool, need_float, promote, show
from circuitflow.gates.special import Namespace
from circuitflow.gates.sums import product, product_kept, total


class Ratio(Attributes):
    ratio: float = Field(0.5, ge=0, lt=1, description="probability that an element is dropped")


class Scores(Attributes):
    scale: float | None = Field(None, description="factor of the products; 1 / √(size of a key) by default")
    causal: bool = Field(False, description="a query sees no key after its own position")


# Dropout --------------------------------------------------------------------------------------------------------------

def _dropout_type(x: ArrayType, seed: ArrayType, *, ratio: float) -> ArrayType:
    need_float("x", x)
    if seed.shape or "int" not in seed.dtype:
        raise ShapeError(f"needs one integer as seed; it is {seed.dtype} {show(seed.shape)}")
    return x


def murmur(xp: Any, x: Any) -> Any:
    """The finaliser of MurmurHash3 on 32 bits: every bit of the input changes half of the output's."""
    if isinstance(xp, Namespace) and hasattr(xp, "murmur"):
        return xp.murmur(x)
    low = 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (((x ^ (x >> shift)) & low) * factor) & low
    return x ^ (x >> 16)


def _dropout(xp: Any, x: Any, seed: Any, *, ratio: float) -> Any:
    """An element stays or goes by a hash of the seed and its position: the same everywhere, and again in a gradient.

    All 64 bits of a seed count; the upper ones are 0 for small seeds, and 0 is its own hash.
    """
    place = xp.arange(math.prod(x.shape), dtype=xp.int64)
    seed = xp.reshape(xp.asarray(seed, dtype=xp.int64), (1,))
    halves = murmur(xp, (seed >> (32 * xp.arange(2, dtype=xp.int64))) & 0xFFFFFFFF)
    number = murmur(xp, (murmur(xp, (place ^ halves[1:2]) & 0xFFFFFFFF) + halves[0:1]) & 0xFFFFFFFF)
    stays = xp.reshape(number >= int(ratio * 2**32), x.shape)
    return xp.where(stays, x / (1 - ratio), xp.zeros((), dtype=x.dtype))


# Attention ------------------------------------------------------------------------------------------------------------

def _attention_type(q: ArrayType, k: ArrayType, v: ArrayType, mask: ArrayType | None = None, *, scale: float | None,
                    causal: bool) -> ArrayType:
    for name, x in (("q", q), ("k", k), ("v", v)):
        need_float(name, x)
        if len(x.shape) < 2:
            raise ShapeError(f"needs two dimensions or more; {name} is {show(x.shape)}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"needs q (…, queries, size), k (…, keys, size) and v (…, keys, values); they are "
                         f"{show(q.shape)}, {show(k.shape)} and {show(v.shape)}")
    batch = broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        need_bool("mask", mask)
        scores = (*batch, q.shape[-2], k.shape[-2])
        if broadcast_shapes(mask.shape, scores) != scores:
            raise ShapeError(f"cannot broadcast mask {show(mask.shape)} to the scores {show(scores)}")
    if not isinstance(q.shape[-1], int) and scale is None:
        raise ShapeError(f"needs a 'scale' where the size of a key is not known; q is {show(q.shape)}")
    return ArrayType((*batch, q.shape[-2], v.shape[-1]), promote(q.dtype, k.dtype, v.dtype))


def _factor(q: Any, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _weights(xp: Any, q: Any, k: Any, mask: Any, scale: float | None, causal: bool) -> Any:
    """How much of every key a query takes; nothing of any where it sees none."""
    scores = _factor(q, scale) * product(xp, q, xp.matrix_transpose(k))
    visible = mask
    if causal:
        below = xp.reshape(xp.arange(q.shape[-2]), (-1, 1)) >= xp.reshape(xp.arange(k.shape[-2]), (1, -1))
        visible = below if visible is None else visible & below
    if not scores.shape[-1]:
        return scores
    if visible is not None:
        scores = xp.where(visible, scores, xp.asarray(-math.inf, dtype=scores.dtype))
    highest = float(xp.finfo(scores.dtype).max)
    largest = xp.clip(xp.max(scores, axis=-1, keepdims=True), -highest, highest)
    e = xp.exp(xp.clip(scores - largest, None, 0.0))  # equal infinities share evenly, all of -∞ have nothing
    sums = total(xp, e, axis=-1, keepdims=True)
    return e / xp.where(sums == 0, 1.0, sums)


def _attention(xp: Any, q: Any, k: Any, v: Any, mask: Any = None, *, scale: float | None, causal: bool) -> Any:
    weights = _weights(xp, q, k, mask, scale, causal)
    return (product if mask is None and not causal else product_kept)(xp, weights, v)


def _of_attention(rule: Rule) -> Rule:
    """A rule of the weights as one of attention."""
    return lambda op, g, out, q, k, v, *mask, **scores: rule(
        op, op.matmul(g, op.matrix_transpose(v)), op.attention_weights(q, k, *mask, **scores), q, k, *mask, **scores)


def _weights_q(op: Any, g: Any, weights: Any, q: Any, k: Any, *mask: Any, scale: float | None, causal: bool) -> Any:
    scores = _softmax_backward(op, g, weights, causal or mask)
    return _factor(q, scale) * (matmul_kept(op, scores, k) if causal or mask else op.matmul(scores, k))


def _weights_k(op: Any, g: Any, weights: Any, q: Any, k: Any, *mask: Any, scale: float | None, causal: bool) -> Any:
    scores = op.matrix_transpose(_softmax_backward(op, g, weights, causal or mask))
    return _factor(q, scale) * (matmul_kept(op, scores, q) if causal or mask else op.matmul(scores, q))


def _softmax_backward(op: Any, g: Any, weights: Any, is_masked: object) -> Any:
    """The gradient on the scores; nothing of keys that a query does not see, whatever they are."""
    times = op.mul_no_nan if is_masked else operator.mul
    return times(weights, g - op.reduce_sum(times(weights, g), axis=-1, keepdims=True))


def _weights_type(q: ArrayType, k: ArrayType, mask: ArrayType | None = None, **scores: Any) -> ArrayType:
    shape = _attention_type(q, k, k, mask, **scores).shape
    return ArrayType((*shape[:-1], k.shape[-2]), promote(q.dtype, k.dtype))


NEURAL = family({
    "dropout": Gate("x / (1 - ratio) or 0", "Elements dropped at random, by a seed: the same ones for the same seed.",
                    ("x", "seed"), _dropout_type, attributes=Ratio, symbol="drop", reads=Reads.INPUTS,
                    forward=_dropout,
                    backward=(lambda op, g, out, x, seed, *, ratio: op.dropout(g, seed, ratio=ratio), None)),
    "attention": Gate("softmax(scale q kᵀ) v", "Scaled dot-product attention; a mask says what a query sees, and may "
                                               "be left out. A query that sees nothing gives 0.",
                      ("q", "k", "v", "mask"), _attention_type, optional=1, attributes=Scores, symbol="attend",
                      broadcasts=True, reads=Reads.INPUTS,
                      forward=_attention,
                      backward=(_of_attention(_weights_q), _of_attention(_weights_k),
                                lambda op, g, out, q, k, v, *mask, scale, causal: op.matmul(op.matrix_transpose(
                                    op.attention_weights(q, k, *mask, scale=scale, causal=causal)), g),
                                None),
                      ).stating(Facets(masks=lambda at, count, *, causal, **_: causal or count == 4)),
    "attention_weights": Gate("softmax(scale q kᵀ)", "The weight that each query gives to each key; a mask may be left "
                                                     "out.",
                              ("q", "k", "mask"), _weights_type, optional=1, attributes=Scores, symbol="attend",
                              broadcasts=True, reads=Reads.INPUTS | Reads.OUTPUT,
                              forward=lambda xp, q, k, mask=None, *, scale, causal:
                                  _weights(xp, q, k, mask, scale, causal),
                              backward=(_weights_q, _weights_k, None),
                              ).stating(Facets(masks=lambda at, count, *, causal, **_: causal or count == 3)),
}, {
    "dropout": Note("{g} to {x}, dropped and scaled in the same places", kinks="the same seed drops the same elements",
                    onnx="Dropout", also="dropout1d dropout2d dropout3d feature_dropout"),
    "attention": Note("the weightsᵀ times {g} to {v}; {g} times {v}ᵀ through the softmax and the scores to {q} and "
                      "{k}", kinks="a query that sees nothing gives 0", onnx="Attention",
                      also="scaled_dot_product_attention multi_head_attention multi_head_attention_forward "
                           "dot_product_attention"),
    "attention_weights": Note("{g} through the softmax and the scores to {q} and {k}",
                              kinks="a query that sees nothing gives 0"),
})
