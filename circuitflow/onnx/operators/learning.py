"""Operators of the domain `ai.onnx.ml` that are formulas: what scikit-learn's models come to by skl2onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal

DOMAIN = "ai.onnx.ml"


def _numbers(call: Call, name: str) -> Any:
    """An attribute that is a list of floats, in the dtype of the input."""
    return np.asarray(call.attribute(name, []), call.type(0).dtype)


def _floats(call: Call) -> Any:
    """The input, which is to be floats."""
    x = call[0]
    if not x.type.is_float:
        raise Refusal(f"of {x.type.dtype} has no gate; expected floats")
    return x


def features(call: Call) -> Any:
    """Columns by index."""
    w, x = call.w, call[0]
    out = w.gather(x, w.reshape(call[1], shape=[-1]), axis=-1)
    return w.unsqueeze(out, axis=0) if out.ndim == 1 else out  # of a vector it is a row


def scaler(call: Call) -> Any:
    """Columns less an offset, times a scale."""
    x = _floats(call)
    return call.w.mul(call.w.sub(x, _numbers(call, "offset")), _numbers(call, "scale"))


def binarizer(call: Call) -> Any:
    """1 above a threshold, 0 elsewhere."""
    x = _floats(call)
    return call.w.cast(call.w.greater(x, float(call.attribute("threshold", 0.0))), dtype=x.type.dtype)


def normalizer(call: Call) -> Any:
    """Rows divided by their norm; rows of zeros stay."""
    w, x, norm = call.w, _floats(call), call.attribute("norm", "MAX")
    if norm not in ("MAX", "L1", "L2"):
        raise Refusal(f"has the norm {norm}; expected MAX, L1 or L2")
    size = {"MAX": lambda: w.reduce_max(x, axis=-1, keepdims=True),
            "L1": lambda: w.emit("reduce_l1", x, axis=-1, keepdims=True),
            "L2": lambda: w.emit("reduce_l2", x, axis=-1, keepdims=True)}[norm]()
    return w.div(x, w.where(w.equal(size, 0.0), 1.0, size))


def _scores(call: Call, names: tuple[str, str], targets: int) -> Any:
    """The product of the rows with coefficients, and what is added to it."""
    x = _floats(call)
    slopes, start = _numbers(call, names[0]), _numbers(call, names[1])
    if targets < 1 or not slopes.size or slopes.size % targets or (start.size not in (0, targets)):
        raise Refusal(f"has {slopes.size} coefficients and {start.size} intercepts for {targets} targets")
    out = call.w.matmul(x, slopes.reshape(targets, -1).T.copy())
    return call.w.add(out, start) if start.size else out


def linear_regressor(call: Call) -> Any:
    """The linear model."""
    if call.attribute("post_transform", "NONE") != "NONE":
        raise Refusal("has a post_transform; expected NONE")
    return _scores(call, ("coefficients", "intercepts"), call.attribute("targets", 1))


def linear_classifier(call: Call) -> list[Any]:
    """The class of the largest score, and the scores; of two classes of one score the sign decides."""
    w, labels, after = call.w, call.attribute("classlabels_ints"), call.attribute("post_transform", "NONE")
    call.attribute("multi_class", 0)
    starts = call.attribute("intercepts", [])
    if not labels or after not in ("NONE", "LOGISTIC", "SOFTMAX"):
        raise Refusal(f"has no classlabels_ints, or the post_transform {after}; expected NONE, LOGISTIC or SOFTMAX")
    if len(starts) != len(labels):
        raise Refusal(f"has {len(starts)} intercepts for {len(labels)} classes; expected one for each")
    scores = _scores(call, ("coefficients", "intercepts"), len(labels))
    best = w.gather(np.asarray(labels, np.int64), w.emit("arg_max", scores, axis=1))
    scores = w.sigmoid(scores) if after == "LOGISTIC" else w.softmax(scores, axis=1) if after == "SOFTMAX" else scores
    return [best, scores]


def support_vectors(call: Call) -> Any:
    """A sum of kernels between the rows and support vectors."""
    w, x = call.w, _floats(call)
    kernel, rho = call.attribute("kernel_type", "LINEAR"), _numbers(call, "rho")
    weights = _numbers(call, "coefficients")
    vectors, count = _numbers(call, "support_vectors"), call.attribute("n_supports", 0)
    gamma, shift, degree = (*call.attribute("kernel_params", []), 0.0, 0.0, 0.0)[:3]
    if call.attribute("post_transform", "NONE") != "NONE" or call.attribute("one_class", 0) or count < 1:
        raise Refusal("is of one class, or has a post_transform or no support vectors; expected a plain regression")
    if vectors.size % count or weights.size != count or rho.size != 1:
        raise Refusal(f"has {vectors.size} numbers for {count} support vectors, {weights.size} coefficients and "
                      f"{rho.size} rho")
    vectors = vectors.reshape(count, -1)
    products = w.matmul(x, vectors.T.copy())
    if kernel == "RBF":
        squares = w.add(w.reduce_sum(w.square(x), axis=1, keepdims=True), np.sum(vectors**2, axis=1))
        kernels = w.exp(w.mul(w.sub(squares, w.mul(products, 2.0)), -float(gamma)))
    elif kernel in ("POLY", "SIGMOID"):
        inner = w.add(w.mul(products, float(gamma)), float(shift))
        kernels = w.tanh(inner) if kernel == "SIGMOID" else w.pow(inner, float(degree))
    elif kernel == "LINEAR":
        kernels = products
    else:
        raise Refusal(f"has the kernel {kernel}; expected LINEAR, POLY, RBF or SIGMOID")
    return w.add(w.matmul(kernels, weights.reshape(count, 1)), rho)


LEARNING: Mapping[str, Callable[[Call], Any]] = {
    "ArrayFeatureExtractor": features, "Scaler": scaler, "Binarizer": binarizer, "Normalizer": normalizer,
    "LinearRegressor": linear_regressor, "LinearClassifier": linear_classifier, "SVMRegressor": support_vectors,
}
