"""One table of examples for all gates: every test of gates runs over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from circuitflow.gates import GATES, ArrayType, Gate, Reads


@dataclass(frozen=True)
class Example:
    """Operands for a gate, and the same in JAX as an oracle."""

    gate: str
    operands: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    oracle: Callable[..., Any] | None = None
    atol: float = 1e-15

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, x.shape)) or "scalar" for x in self.operands)
        attributes = "-".join(f"{k}={v}" for k, v in self.attributes.items())
        return "-".join(filter(None, [self.gate, shapes, attributes.replace(" ", "")]))


def _normal(*shape: int, seed: int = 0, low: float | None = None) -> np.ndarray:
    values = np.asarray(np.random.RandomState(seed).standard_normal(shape))
    return values if low is None else np.abs(values) + low


def _definite(*shape: int) -> np.ndarray:
    """Symmetric matrices with eigenvalues that are positive and far apart."""
    x = _normal(*shape)
    return x @ np.swapaxes(x, -1, -2) + np.diag(np.arange(1.0, 1 + shape[-1]))


def _jax_signs(vectors: Any) -> Any:
    """So that the first large component of every column is positive: the vectors are defined but for the sign."""
    large = jnp.abs(vectors) >= 0.5 * jnp.max(jnp.abs(vectors), axis=-2, keepdims=True)
    first = jnp.take_along_axis(vectors, jnp.argmax(large, axis=-2, keepdims=True), axis=-2)
    return jax.lax.stop_gradient(jnp.where(first < 0, -1.0, 1.0))


def _jax_eigh(x: Any) -> Any:
    values, vectors = jnp.linalg.eigh(x)
    return values, vectors * _jax_signs(vectors)


def _jax_svd(x: Any) -> Any:
    u, s, vh = jnp.linalg.svd(x, full_matrices=False)
    signs = _jax_signs(u)
    return u * signs, s, vh * jnp.swapaxes(signs, -1, -2)


def _jax_qr(x: Any) -> Any:
    q, r = jnp.linalg.qr(x)
    signs = jax.lax.stop_gradient(jnp.where(jnp.diagonal(r, 0, -2, -1) < 0, -1.0, 1.0))[..., None, :]
    return q * signs, r * jnp.swapaxes(signs, -1, -2)


def _ints(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def _bools(*shape: int, seed: int = 5) -> np.ndarray:
    return np.asarray(np.random.RandomState(seed).standard_normal(shape) > 0)


# Shapes of two operands that broadcast: equal, all distinct, stretched both ways, of size 1 and 0, scalars.
PAIRS = [((), ()), ((2, 3), (2, 3)), ((2, 3, 4), (3, 1)), ((4, 1), (2, 1, 3)), ((5,), ()), ((), (2, 3)),
         ((1,), (1, 1)), ((0, 3), (3,)), ((2, 0), (1, 1))]
SINGLES: list[tuple[int, ...]] = [(), (3,), (2, 3, 4), (1, 1), (0, 2)]


def _each(gate: str, oracle: Callable[..., Any], low: float | None = None, **attributes: Any) -> list[Example]:
    return [Example(gate, (_normal(*shape, low=low),), attributes, oracle) for shape in SINGLES]


def _pairs(gate: str, oracle: Callable[..., Any], low: float | None = None, **attributes: Any) -> list[Example]:
    return [Example(gate, (_normal(*a, seed=1, low=low), _normal(*b, seed=2, low=low)), attributes, oracle)
            for a, b in PAIRS]


def _logical(gate: str, oracle: Callable[..., Any]) -> list[Example]:
    return [Example(gate, (_bools(*a), _bools(*b, seed=6)), {}, oracle) for a, b in PAIRS]


A, B, C = _normal(2, 3, 4), _normal(3, 1, seed=1), _normal(4, seed=2)

EXAMPLES = [
    *_pairs("add", lambda x, y: x + y),
    Example("add", (A, B, C, _normal(seed=3)), {}, lambda *xs: xs[0] + xs[1] + xs[2] + xs[3]),
    *_pairs("sub", lambda x, y: x - y),
    *_pairs("mul", lambda x, y: x * y),
    Example("mul", (A, B, C, _normal(seed=3)), {}, lambda *xs: xs[0] * xs[1] * xs[2] * xs[3]),
    *_pairs("div", lambda x, y: x / y),
    *_pairs("pow", lambda x, y: x**y, low=0.1),
    Example("pow", (_normal(4), np.float64(3.0) * np.ones(())), {}, None),
    *_each("neg", lambda x: -x),
    *_each("reciprocal", lambda x: 1 / x),
    *_each("sqrt", lambda x: jnp.sqrt(x), low=0.1),
    *_each("abs", lambda x: jnp.abs(x)),
    *_each("sign", lambda x: jnp.sign(x)),
    *_pairs("max", lambda x, y, ties: jnp.maximum(x, y), ties="first"),
    *_pairs("min", lambda x, y, ties: jnp.minimum(x, y), ties="first"),
    Example("max", (A, B, C), {"ties": "share"}, lambda x, y, z, ties: jnp.maximum(jnp.maximum(x, y), z)),
    Example("min", (A, B, C), {"ties": "share"}, lambda x, y, z, ties: jnp.minimum(jnp.minimum(x, y), z)),
    *_each("clip", lambda x, min, max: jnp.clip(x, min, max), min=-0.5, max=0.7),
    Example("clip", (A,), {"min": 0.1, "max": None}, lambda x, min, max: jnp.clip(x, min, max)),
    Example("clip", (A,), {"min": None, "max": 0.1}, lambda x, min, max: jnp.clip(x, min, max)),
    *_pairs("mul_no_nan", lambda x, y: x * y),
    *[Example("mul_div_no_nan", (_normal(*x), _normal(*y, seed=1), _normal(*z, seed=2, low=0.1)), {}, lambda x, y,
              z: x * y / z, 1e-14)
      for x, y, z in [((), (), ()), ((2, 3), (2, 3), (2, 3)), ((2, 1), (2, 3), (3,)), ((1,), (4, 1), (0, 1, 2))]],
    *_each("identity", lambda x: x),
    *_each("stop_gradient", lambda x: jax.lax.stop_gradient(x)),
    *_each("exp", lambda x: jnp.exp(x)),
    *_each("log", lambda x: jnp.log(x), low=0.1),
    *_each("sigmoid", lambda x: jax.nn.sigmoid(x)),
    *_each("tanh", lambda x: jnp.tanh(x)),
    *_each("relu", lambda x: jax.nn.relu(x)),
    *_each("softplus", lambda x: jax.nn.softplus(x)),
    *[Example(gate, (x,), {"axis": axis}, oracle)
      for gate, oracle in [("softmax", lambda x, axis: jax.nn.softmax(x, axis)),
                           ("log_softmax", lambda x, axis: jax.nn.log_softmax(x, axis))]
      for x, axis in [(_normal(5), -1), (A, 0), (A, 1), (A, -1), (_normal(3, 1), 1), (_normal(0, 2), 1)]],
    *_each("square", lambda x: x * x),
    *_pairs("hypot", jnp.hypot),
    *_pairs("mod", jnp.remainder),
    *_each("floor", jnp.floor), *_each("ceil", jnp.ceil), *_each("round", jnp.round),
    Example("mean", (A, B, C), {}, lambda x, y, z: (x + y + z) / 3),
    *_each("expm1", jnp.expm1), *_each("log1p", jnp.log1p, low=0.1),
    *_pairs("log_add_exp", jnp.logaddexp),
    *_each("erf", jax.scipy.special.erf), *_each("erfc", jax.scipy.special.erfc),
    *_each("lgamma", jax.scipy.special.gammaln, low=0.3),
    *[Example("polygamma", (_normal(2, 3, low=0.3),), {"n": n}, lambda x, n: jax.scipy.special.polygamma(n, x))
      for n in (0, 1, 3)],
    *_each("sin", jnp.sin), *_each("cos", jnp.cos), *_each("tan", jnp.tan), *_each("atan", jnp.atan),
    *_each("sinh", jnp.sinh), *_each("cosh", jnp.cosh), *_each("asinh", jnp.asinh), *_each("acosh", jnp.acosh, low=1.1),
    *[Example(gate, (0.9 * np.tanh(_normal(*shape)),), {}, oracle) for shape in SINGLES
      for gate, oracle in [("asin", jnp.asin), ("acos", jnp.acos), ("atanh", jnp.atanh)]],
    *_pairs("atan2", jnp.atan2),
    *_each("sinc", jnp.sinc), Example("sinc", (np.array([0.01, -0.1, 0.16, 0.17, 3.0]),), {}, jnp.sinc),
    *_each("log_sigmoid", jax.nn.log_sigmoid),
    *_each("leaky_relu", lambda x, alpha: jax.nn.leaky_relu(x, alpha), alpha=0.1),
    *[Example("prelu", (A, slope), {}, lambda x, slope: jnp.where(x > 0, x, slope * x))
      for slope in (B, _normal(), _normal(2, 3, 4, seed=7))],
    *_each("elu", lambda x, alpha: jax.nn.elu(x, alpha), alpha=0.7),
    *_each("selu", jax.nn.selu),
    *_each("celu", lambda x, alpha: jax.nn.celu(x, alpha), alpha=0.7),
    *_each("gelu", lambda x, approximate: jax.nn.gelu(x, approximate=False), approximate="none"),
    *_each("gelu", lambda x, approximate: jax.nn.gelu(x, approximate=True), approximate="tanh"),
    *_each("softsign", jax.nn.soft_sign),
    *_each("swish", lambda x, alpha: x * jax.nn.sigmoid(alpha * x), alpha=1.5),
    *_each("mish", jax.nn.mish),
    *_each("hard_sigmoid", lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1), alpha=0.4, beta=0.3),
    *_each("hard_swish", jax.nn.hard_swish), Example("hard_swish", (4 * A,), {}, jax.nn.hard_swish),
    *_each("thresholded_relu", lambda x, alpha: jnp.where(x > alpha, x, 0), alpha=0.3),
    *_each("is_nan", jnp.isnan), *_each("is_inf", jnp.isinf),
    *_logical("xor", lambda x, y: x ^ y),
    *_pairs("equal", lambda x, y: x == y),
    *_pairs("equal_nan", lambda x, y: x == y),
    *_pairs("less", lambda x, y: x < y),
    *_pairs("less_or_equal", lambda x, y: x <= y),
    *_pairs("greater", lambda x, y: x > y),
    *_pairs("greater_or_equal", lambda x, y: x >= y),
    *_logical("and", lambda x, y: x & y),
    *_logical("or", lambda x, y: x | y),
    *[Example("not", (_bools(*shape),), {}, lambda x: ~x) for shape in SINGLES],
    *[Example("where", (_bools(*c), _normal(*a), _normal(*b, seed=1)), {}, lambda c, x, y: jnp.where(c, x, y))
      for c, a, b in [((), (), ()), ((2, 3), (2, 3), (2, 3)), ((3, 1), (4,), (2, 1, 1)), ((5,), (), (5,)),
                      ((), (2, 3), (3,)), ((0,), (1,), ())]],
    *[Example("reduce_sum", (x,), {"axis": axis, "keepdims": keepdims},
              lambda x, axis, keepdims: jnp.sum(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (A, None), (A, 0), (A, -2), (A, (0, 2)), (_normal(0, 3), 0),
                      (_normal(1, 1), 1)]
      for keepdims in (False, True)],
    *[Example("reduce_mean", (x,), {"axis": axis, "keepdims": keepdims},
              lambda x, axis, keepdims: jnp.mean(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (A, None), (A, 0), (A, -2), (A, (0, 2)), (_normal(0, 3), 1),
                      (_normal(1, 1), 1)]
      for keepdims in (False, True)],
    *[Example("reduce_max", (x,), {"axis": axis, "keepdims": keepdims, "ties": ties},
              lambda x, axis, keepdims, ties: jnp.max(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (A, None), (A, 0), (A, -2), (A, (0, 2)), (_normal(0, 3), 1),
                      (_normal(1, 1), 1)]
      for keepdims in (False, True) for ties in ("first", "share")],
    *[Example("reduce_min", (x,), {"axis": axis, "keepdims": keepdims, "ties": ties},
              lambda x, axis, keepdims, ties: jnp.min(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (A, None), (A, (0, 2)), (_normal(0, 3), 1)]
      for keepdims in (False, True) for ties in ("first", "share")],
    *[Example(gate, (x,), {"axis": axis, "keepdims": keepdims}, oracle)
      for gate, oracle in [
          ("reduce_l1", lambda x, axis, keepdims: jnp.sum(jnp.abs(x), axis=axis, keepdims=keepdims)),
          ("reduce_sum_square", lambda x, axis, keepdims: jnp.sum(x * x, axis=axis, keepdims=keepdims)),
          ("reduce_l2", lambda x, axis, keepdims: jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=keepdims)))]
      for x, axis in [(_normal(), None), (A, None), (A, -2), (A, (0, 2)), (_normal(0, 3), 1), (_normal(1, 1), 1)]
      for keepdims in (False, True)],
    *[Example("reduce_log_sum_exp", (x,), {"axis": axis, "keepdims": keepdims},
              lambda x, axis, keepdims: jax.nn.logsumexp(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (A, None), (A, -2), (A, (0, 2)), (_normal(0, 3), 1), (_normal(1, 1), 1)]
      for keepdims in (False, True)],
    *[Example(gate, (x,), {"axis": axis, "keepdims": keepdims, "ddof": ddof}, oracle)
      for gate, oracle in [("reduce_var", jnp.var), ("reduce_std", jnp.std)]
      for x, axis, ddof in [(A, None, 0), (A, -2, 1), (A, (0, 2), 2), (_normal(0, 3), 1, 0)]
      for keepdims in (False, True)],
    *[Example("cum_sum", (x,), {"axis": axis, "reverse": reverse}, lambda x, axis, reverse:
              jnp.flip(jnp.cumsum(jnp.flip(x, axis), axis), axis) if reverse else jnp.cumsum(x, axis))
      for x, axis in [(_normal(5), 0), (A, 0), (A, -2), (_normal(0, 3), 0), (_normal(1, 1), 1)]
      for reverse in (False, True)],
    *[Example(gate, (A,), {"axis": axis, "keepdims": keepdims}, oracle)
      for gate, oracle in [("arg_max", jnp.argmax), ("arg_min", jnp.argmin)]
      for axis in (0, -1) for keepdims in (False, True)],
    *[Example("reduce_prod", (x,), {"axis": axis, "keepdims": keepdims},
              lambda x, axis, keepdims: jnp.prod(x, axis=axis, keepdims=keepdims))
      for x, axis in [(_normal(), None), (_normal(5), 0), (A, None), (A, -2), (A, (0, 2)), (_normal(0, 3), 0),
                      (_normal(1, 1), 1)]
      for keepdims in (False, True)],
    *[Example("reduce_prod", (np.array(x),), {"axis": None, "keepdims": False}, lambda x, axis, keepdims: jnp.prod(x))
      for x in ([0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 3.0], [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])],
    *[Example("cum_prod", (x,), {"axis": axis, "reverse": reverse}, lambda x, axis, reverse:
              jnp.flip(jnp.cumprod(jnp.flip(x, axis), axis), axis) if reverse else jnp.cumprod(x, axis))
      for x, axis in [(_normal(5), 0), (A, 0), (A, -2), (_normal(0, 3), 0), (_normal(1, 1), 1),
                      (np.array([2.0, 0, 3, 0, 4]), 0)]
      for reverse in (False, True)],
    *[Example("stack", xs, {"axis": axis}, lambda *xs, axis: jnp.stack(xs, axis))
      for xs, axis in [((A, 2 * A, -A), 0), ((A, 2 * A), -1), ((A, A + 1), 2), ((_normal(),), 0),
                       ((_normal(0, 2),) * 2, 1)]],
    *[Example("flip", (x,), {"axis": axis}, lambda x, axis: jnp.flip(x, axis))
      for x, axis in [(A, None), (A, 1), (A, (0, -1)), (_normal(), None), (_normal(0, 2), 0)]],
    *[Example("roll", (x,), {"axis": axis, "shift": shift}, lambda x, axis, shift: jnp.roll(x, shift, axis))
      for x, axis, shift in [(A, 1, 2), (A, -1, -5), (_normal(0, 2), 1, 1)]],
    *[Example("tile", (x,), {"repeats": repeats}, lambda x, repeats: jnp.tile(x, repeats))
      for x, repeats in [(A, [2, 1, 3]), (_normal(3), [4]), (_normal(), []), (_normal(0, 2), [2, 2])]],
    *[Example("trilu", (x,), {"upper": upper, "k": k}, lambda x, upper, k: jnp.triu(x, k) if upper else jnp.tril(x, k))
      for x in (A, _normal(4, 4), _normal(0, 2)) for upper in (False, True) for k in (-1, 0, 2)],
    *[Example("flatten", (x,), {"axis": axis}, lambda x, axis:
              jnp.reshape(x, (int(np.prod(x.shape[:axis])) if axis else 1, -1 if x.size else 0)))
      for x, axis in [(A, 0), (A, 1), (A, -1), (_normal(3), 1)]],
    *[Example("is_first_max", (x,), {"axis": axis}) for x,
      axis in [(A, None), (A, 1), (A, (0, 2)), (_normal(0, 2), 1)]],
    *[Example("sum_to_like", (_normal(*a), _normal(*b)), {}, None)
      for a, b in [((2, 3, 4), (3, 1)), ((2, 3), (2, 3)), ((2, 3), ()), ((0, 3), (1, 3)), ((1,), (1,))]],
    *[Example("size", (A,), {"axis": axis}, lambda x, axis: jnp.max(jnp.sum(jnp.ones_like(x), axis)))
      for axis in (None, 1, (0, 2))],
    *[Example("matmul", (_normal(*a), _normal(*b, seed=1)), {}, lambda a, b: jnp.matmul(a, b))
      for a, b in [((5, 10), (10, 3)), ((4,), (4,)), ((4,), (4, 3)), ((2, 4), (4,)), ((6, 2, 4), (4, 3)),
                   ((2, 4), (6, 4, 3)), ((7, 1, 2, 4), (6, 4, 3)), ((4,), (6, 4, 3)), ((6, 2, 4), (4,)),
                   ((2, 0), (0, 3)), ((1, 1), (1, 1)), ((4,), (2, 3, 4, 5))]],
    *[Example("transpose", (A,), {"axes": axes}, lambda x, axes: jnp.transpose(x, axes))
      for axes in (None, [1, 2, 0], [0, -1, 1])],
    Example("transpose", (_normal(),), {"axes": None}, lambda x, axes: x),
    *[Example("matrix_transpose", (x,), {}, lambda x: jnp.swapaxes(x, -1, -2))
      for x in (A, _normal(2, 3), _normal(0, 3))],
    *[Example("reshape", (x,), {"shape": shape}, lambda x, shape: jnp.reshape(x, shape))
      for x, shape in [(A, [6, 4]), (A, [-1]), (A, [4, -1, 2]), (_normal(), [1, 1]), (_normal(1), []),
                       (_normal(0, 3), [5, 0])]],
    Example("reshape_like", (A, _normal(6, 4)), {}, lambda x, like: jnp.reshape(x, like.shape)),
    *[Example("expand", (x,), {"shape": shape}, oracle) for x, shape, oracle in [
        (_normal(3, 1), [2, 3, 4], lambda x, shape: jnp.broadcast_to(x, shape)),
        (_normal(), [2, 0], lambda x, shape: jnp.broadcast_to(x, shape)),
        (A, [4], lambda x, shape: x), (_normal(3, 1), [4], lambda x, shape: jnp.broadcast_to(x, (3, 4)))]],
    *[Example("expand_like", (x, A), {}, lambda x, like: jnp.broadcast_to(x, like.shape)) for x in (B, C, _normal())],
    *[Example("concat", xs, {"axis": axis}, lambda *xs, axis: jnp.concatenate(xs, axis))
      for xs, axis in [((_normal(2, 3), _normal(4, 3)), 0), ((A, _normal(2, 5, 4), _normal(2, 1, 4)), -2),
                       ((_normal(2),), 0), ((_normal(0, 3), _normal(2, 3)), 0)]],
    *[Example("slice", (A,), {"axis": axis, "start": start, "stop": stop},
              lambda x, axis, start, stop: jnp.take(x, np.arange(start, stop), axis))
      for axis, start, stop in [(0, 0, 1), (1, 1, 3), (-1, 0, 4), (2, 2, 2)]],
    *[Example("pad", (x,), {"pad_width": widths}, lambda x, pad_width: jnp.pad(x, pad_width) if x.ndim else x)
      for x, widths in [(_normal(2, 3), [[1, 2], [0, 3]]), (_normal(3), [[0, 0]]), (_normal(), []),
                        (_normal(0), [[1, 1]])]],
    *[Example("unsqueeze", (x,), {"axis": axis}, lambda x, axis: jnp.expand_dims(x, axis))
      for x, axis in [(A, 0), (A, 3), (A, -2), (_normal(), 0)]],
    *[Example("squeeze", (x,), {"axis": axis}, lambda x, axis: jnp.squeeze(x, axis))
      for x, axis in [(_normal(1, 3), 0), (_normal(2, 1, 3), -2), (_normal(1), 0)]],
    *[Example("cast", (A,), {"dtype": dtype}, lambda x, dtype: x.astype(dtype))
      for dtype in ("float64", "float32", "int32", "bool")],
    *[Example("cast_like", (A, like), {}, lambda x, like: x.astype(like.dtype)) for like in (C, C.astype(np.float32))],
    *[Example("eye_like", (_normal(*shape),), {}, lambda x: jnp.eye(*x.shape))
      for shape in [(3, 3), (2, 4), (0, 2), (1, 1)]],
    *_each("zeros_like", lambda x: jnp.zeros_like(x)),
    *_each("ones_like", lambda x: jnp.ones_like(x)),
    *[Example("gather", (A, indices), {"axis": axis}, lambda x, indices, axis: jnp.take(x, indices, axis))
      for indices, axis in [(_ints(1, 0, 1, 1), 0), (_ints([2, 0], [-1, 2]), 1), (np.array(3), -1),
                            (np.zeros((0,), np.int64), 1)]],
    *[Example("gather_elements", (A, indices), {"axis": axis}, lambda x, i, axis: jnp.take_along_axis(x, i, axis))
      for indices, axis in [(_ints(*[[[1, 0, 1, 1]] * 3]), 0), (_ints(*[[[2, 0, -1, 1]] * 2] * 2), 1),
                            (_ints(*[[[3, 0], [-4, 2], [1, 1]]] * 2), -1), (np.zeros((2, 0, 4), np.int64), 1)]],
    *[Example("scatter_elements", (A, indices, _normal(*indices.shape, seed=4)), {"axis": axis, "reduction": reduction},
              lambda x, i, u, axis, reduction: (x if reduction == "add" else jnp.put_along_axis(
                  x, i, 0.0, axis, inplace=False)) + jnp.put_along_axis(jnp.zeros_like(x), i, u, axis, inplace=False))
      for indices, axis in [(_ints(*[[[1, 0, -1, 0]] * 3]), 0), (_ints(*[[[3, 0], [-3, 2], [1, 0]]] * 2), 2)]
      for reduction in ("none", "add")],
    Example("scatter_elements", (_normal(3), _ints(1, 1, 2), _normal(3, seed=4)), {"axis": 0, "reduction": "add"},
            lambda x, i, u, axis, reduction: x.at[i].add(u)),
    *[Example("arg_sort", (A,), {"axis": axis, "descending": descending},
              lambda x, axis, descending: jnp.argsort(x, axis=axis, descending=descending))
      for axis in (0, -1) for descending in (False, True)],
    *[Example("sort", (x,), {"axis": axis, "descending": descending},
              lambda x, axis, descending: jnp.sort(x, axis=axis, descending=descending))
      for x, axis in [(A, 0), (A, -1), (_normal(1), 0)] for descending in (False, True)],
    Example("sort", (_normal(0, 2),), {"axis": 0, "descending": True}),  # JAX 0.4 cannot sort nothing
    *[Example("one_hot", (i,), {"depth": 4, "dtype": dtype}, lambda i, depth, dtype: jax.nn.one_hot(
        jnp.where(i < 0, i + depth, i), depth, dtype=dtype))
      for i in (_ints(0, 3, 7), _ints([1, -1]), np.array(2)) for dtype in ("float64", "int32")],
    *[Example("scatter_add", (A, indices, _normal(*shape, seed=4)), {"axis": axis}, oracle)
      for indices, shape, axis, oracle in [
          (_ints(1, 0, 1, 1), (4, 3, 4), 0, lambda x, i, u, axis: x.at[i].add(u)),
          (_ints([2, 0], [-1, 2]), (2, 2, 2, 4), 1, lambda x, i, u, axis: x.at[:, i].add(u)),
          (np.array(3), (2, 3), -1, lambda x, i, u, axis: x.at[..., i].add(u)),
          (np.zeros((0,), np.int64), (2, 0, 4), 1, lambda x, i, u, axis: x)]],
]

EXAMPLES += [
    # linear algebra
    *[Example("gemm", (_normal(*((3, 2) if ta else (2, 3))), _normal(*((4, 3) if tb else (3, 4)), seed=1), *c),
              {"alpha": 0.5, "beta": 2.0, "trans_a": ta, "trans_b": tb},
              lambda a, b, c=0.0, *, alpha, beta, trans_a, trans_b:
              alpha * (a.T if trans_a else a) @ (b.T if trans_b else b) + beta * c)
      for ta in (False, True) for tb in (False, True)
      for c in ((), (_normal(2, 4, seed=2),), (_normal(4, seed=2),), (_normal(2, 1),))],
    *[Example("outer", (_normal(a), _normal(b, seed=1)), {}, jnp.outer) for a, b in [(2, 3), (1, 4), (0, 2)]],
    *[Example(gate, tuple(_normal(*shape, seed=i) for i, shape in enumerate(shapes)), {"equation": equation},
              lambda *xs, equation: jnp.einsum(equation, *xs))
      for gate in ("einsum", "einsum_no_nan") for equation,
      shapes in [("ij,jk->ik", [(2, 3), (3, 4)]), ("bij,bjk->bki", [(5, 2, 3), (5, 3, 4)]), ("ij->ji", [(2, 3)]),
                               ("ij->", [(2, 3)]), ("ijk->j", [(2, 3, 4)]), ("i,j,k->kij", [(2,), (3,), (4,)]),
                               ("ij,j->j", [(2, 3), (3,)]), ("i,i->", [(4,), (4,)]), (",ij->ij", [(), (2, 3)]),
                                                                       ("ij,jk->ik", [(2, 0), (0, 3)])]],
    *[Example("diagonal", (_normal(*shape),), {"offset": offset}, lambda x, offset: jnp.diagonal(x, offset, -2, -1))
      for shape in [(3, 3), (2, 4), (5, 4, 2), (1, 1)] for offset in (0, 1, -1)],
    *[Example("diagonal_like", (_normal(*d), _normal(*like)), {"offset": offset})
      for d, like, offset in [((3,), (3, 3), 0), ((2,), (3, 2), -1), ((1,), (3, 2), 1), ((5, 3), (5, 3, 4), 1),
                              ((0,), (0, 2), 0)]],
    *[Example("trace", (_normal(*shape),), {"offset": offset}, lambda x, offset: jnp.trace(x, offset, -2, -1))
      for shape in [(3, 3), (2, 4), (5, 4, 2)] for offset in (0, 1, -1)],
    *[Example("det", (_normal(*shape),), {}, jnp.linalg.det, 1e-13) for shape in [(3, 3), (1, 1), (2, 4, 4)]],
    *[Example("cofactor", (_normal(*shape),), {},
              lambda x: jnp.linalg.det(x)[..., None, None] * jnp.swapaxes(jnp.linalg.inv(x), -1, -2), 1e-13)
      for shape in [(3, 3), (2, 4, 4), (1, 1)]],
    *[Example("cofactor", (_normal(*shape), _normal(*shape, seed=1)), {}, lambda x, along: jax.jvp(
        lambda x: jnp.linalg.det(x)[..., None, None] * jnp.swapaxes(jnp.linalg.inv(x), -1, -2), (x,), (along,))[1],
              1e-12)
      for shape in [(3, 3), (2, 4, 4), (2, 2)]],
    Example("cofactor", (_normal(0, 0),), {}), Example("cofactor", (_normal(0, 0), _normal(0, 0)), {}),
    Example("eigh", (_normal(0, 0),), {}),
    *[Example("slogdet", (_normal(*shape),), {}, lambda x: tuple(jnp.linalg.slogdet(x)), 1e-13)
      for shape in [(3, 3), (2, 4, 4)]],
    *[Example("inv", (_normal(*shape),), {}, jnp.linalg.inv, 1e-13) for shape in [(3, 3), (1, 1), (2, 4, 4)]],
    *[Example("solve", (_normal(*a), _normal(*b, seed=1)), {},
              (lambda a, b: jnp.linalg.solve(a, b[:, None])[..., 0]) if len(b) == 1 else jnp.linalg.solve, 1e-13)
      for a, b in [((3, 3), (3,)), ((3, 3), (3, 2)), ((5, 3, 3), (5, 3, 2)), ((3, 3), (5, 3, 2)),
                   ((5, 3, 3), (1, 3, 2)), ((2, 3, 3), (3,))]],
    *[Example("cholesky", (_definite(*shape),), {}, jnp.linalg.cholesky, 1e-13)
      for shape in [(3, 3), (1, 1), (2, 4, 4)]],
    *[Example("eigh", (_definite(*shape),), {}, _jax_eigh, 1e-12) for shape in [(3, 3), (1, 1), (2, 4, 4)]],
    *[Example("qr", (_normal(*shape),), {}, _jax_qr if shape[-2] >= shape[-1] else None, 1e-12)
      for shape in [(3, 3), (5, 2), (2, 4, 3), (2, 4)]],
    *[Example("svd", (_normal(*shape),), {}, _jax_svd, 1e-12)
      for shape in [(3, 3), (5, 2), (2, 4), (2, 4, 3)]],
    # layout and indexing
    *[Example("slice", (A,), {"axis": axis, "start": start, "stop": stop, "step": step},
              lambda x, axis, start, stop, step: jnp.take(x, np.arange(x.shape[axis])[start:stop:step], axis))
      for axis, start, stop,
      step in [(2, 0, None, 2), (2, 1, -1, 1), (1, -2, None, 1), (2, 1, None, 2), (-1, -3, -1, 2)]],
    *[Example("slice_scatter", (A, _normal(*shape, seed=1)), {"axis": axis, "start": start, "stop": stop, "step": step})
      for axis, start, stop, step,
      shape in [(2, 0, None, 2, (2, 3, 2)), (1, 1, -1, 1, (2, 1, 4)), (-1, 1, 3, 1, (2, 3, 2)),
                (0, 1, 1, 1, (0, 3, 4))]],
    *[Example(gate, (_normal(*x), _normal(*like, seed=1), *(_normal(*b, seed=2) for b in before)), {"axis": axis})
      for gate, x, like, before,
      axis in [("slice_like", (5, 3), (2, 3), [(1, 3)], 0), ("slice_like", (2, 5), (2, 2), [], 1),
                                          ("slice_like", (2, 6), (2, 1), [(2, 2), (2, 2)], -1),
                                          ("pad_like", (2, 3), (5, 3), [(1, 3)], 0),
                                          ("pad_like", (2, 2), (2, 5), [], 1)]],
    *[Example("split", (x,), {"axis": axis, "sections": sections},
              lambda x, axis,
              sections: tuple(jnp.split(x, sections if isinstance(sections, int) else np.cumsum(sections)[:-1], axis)))
      for x, axis, sections in [(A, 2, 2), (A, 1, [1, 2]), (A, -1, [1, 0, 3]), (A, 0, 1)]],
    *[Example("gather_nd", (A, indices), {}, lambda x, i: x[tuple(jnp.moveaxis(i, -1, 0))])
      for indices in [_ints([1, 2, 3], [0, 0, -1]), _ints([[1, 2], [0, -1]]), _ints([1], [1], [0]), _ints(1, 0),
                      np.zeros((0, 2), np.int64)]],
    *[Example("scatter_nd", (A, indices, _normal(*shape, seed=3)), {"reduction": reduction},
              lambda x, i, u, reduction: (x.at[tuple(jnp.moveaxis(i, -1, 0))].add(u) if reduction == "add"
                                          else x.at[tuple(jnp.moveaxis(i, -1, 0))].set(u)))
      for indices, shape in [(_ints([1, 2, 3], [0, 0, -1]), (2,)), (_ints([[1, 2], [0, -1]]), (1, 2, 4)),
                             (_ints([1]), (1, 3, 4))]
      for reduction in ("none", "add")],
    Example("scatter_nd", (A, _ints([1, 1], [1, 1]), _normal(2, 4, seed=3)), {"reduction": "add"},
            lambda x, i, u, reduction: x.at[tuple(jnp.moveaxis(i, -1, 0))].add(u)),
    *[Example("top_k", (A,), {"k": k, "axis": axis, "largest": largest},
              (lambda x, k, axis, largest: tuple(jax.lax.top_k(x, k))) if largest and axis == -1 else None)
      for k, axis, largest in [(2, -1, True), (1, 0, True), (2, 1, False), (3, -1, False)]],
]


def _images(*shape: int, seed: int = 0) -> np.ndarray:
    return _normal(*shape, seed=seed)


def _jax_conv(x: Any, w: Any, b: Any = None, *, strides: Any, pads: Any, dilations: Any, group: int) -> Any:
    rank = x.ndim - 2
    out = jax.lax.conv_general_dilated(x, w, strides or (1,) * rank, pads or [(0, 0)] * rank,
                                       rhs_dilation=dilations or (1,) * rank,
                                       feature_group_count=group)
    return out if b is None else out + b.reshape(-1, *(1,) * rank)


def _jax_conv_transpose(x: Any, w: Any, b: Any = None, *, strides: Any, pads: Any, dilations: Any, group: int,
                        output_padding: Any) -> Any:
    """The adjoint of the convolution, by JAX's own transposition."""
    rank = x.ndim - 2
    s, p, d, o = strides or [1] * rank, pads or [[0, 0]] * rank, dilations or [1] * rank, output_padding or [0] * rank
    sizes = [(n - 1) * s[i] + d[i] * (w.shape[2 + i] - 1) + 1 - sum(p[i]) + o[i] for i, n in enumerate(x.shape[2:])]
    shape = jax.ShapeDtypeStruct((x.shape[0], w.shape[1] * group, *sizes), x.dtype)
    (out,) = jax.linear_transpose(lambda y: _jax_conv(y, w, strides=strides, pads=pads, dilations=dilations,
                                                      group=group), shape)(x)
    return out if b is None else out + b.reshape(-1, *(1,) * rank)


STEPS = {"strides": None, "pads": None, "dilations": None}
CONVOLUTIONS = [
    ((2, 3, 7), (4, 3, 3), {}), ((2, 4, 8), (6, 2, 3), {"strides": [2], "pads": [[1, 2]], "group": 2}),
    ((1, 2, 9), (3, 2, 2), {"dilations": [3]}),
    ((2, 3, 5, 6), (4, 3, 2, 3), {"strides": [2, 1], "pads": [[1, 0], [0, 2]]}),
    ((1, 4, 6, 7), (4, 1, 3, 3), {"group": 4, "dilations": [1, 2]}),
    ((1, 2, 4, 3, 5), (2, 2, 2, 1, 3), {"strides": [1, 2, 2]}), ((0, 3, 7), (4, 3, 3), {}), ((1, 1, 1), (1, 1, 1), {}),
]
TRANSPOSED = [
    ((2, 3, 5), (3, 4, 3), {}),
    ((2, 4, 4), (4, 3, 3), {"strides": [2], "pads": [[1, 0]], "group": 2, "output_padding": [1]}),
    ((1, 2, 4), (2, 3, 2), {"dilations": [3]}),
    ((2, 3, 3, 2), (3, 2, 2, 3), {"strides": [2, 3], "pads": [[1, 0], [0, 1]]}),
    ((1, 2, 2, 3, 2), (2, 1, 2, 1, 2), {"strides": [1, 2, 1]}),
]
WINDOWS = [((2, 3, 7), {"kernel_shape": [3]}), ((1, 2, 6), {"kernel_shape": [2], "strides": [2], "pads": [[1, 1]]}),
           ((1, 2, 5, 6), {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [[1, 0], [0, 2]]}),
           ((1, 1, 7, 5), {"kernel_shape": [2, 2], "dilations": [3, 1]}),
           ((1, 1, 3, 4, 2), {"kernel_shape": [2, 2, 1]})]


def _jax_pool(x: Any, start: float, function: Any, kernel_shape: Any, strides: Any, pads: Any, dilations: Any) -> Any:
    rank = len(kernel_shape)
    return jax.lax.reduce_window(x, start, function, (1, 1, *kernel_shape), (1, 1, *(strides or (1,) * rank)),
                                 [(0, 0), (0, 0), *map(tuple, pads or [(0, 0)] * rank)],
                                 window_dilation=(1, 1, *(dilations or (1,) * rank)))


def _jax_average(x: Any, count_include_pad: bool, **window: Any) -> Any:
    total = _jax_pool(x, 0.0, jax.lax.add, **window)
    return total / (np.prod(window["kernel_shape"]) if count_include_pad
                    else _jax_pool(jnp.ones_like(x), 0.0, jax.lax.add, **window))


def _jax_standard(x: Any, axes: Any, epsilon: float) -> Any:
    return (x - x.mean(axes, keepdims=True)) / jnp.sqrt(x.var(axes, keepdims=True) + epsilon)


def _by_channel(y: Any, x: Any) -> Any:
    return y.reshape(-1, *(1,) * (x.ndim - 2))


def _jax_batch(x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, epsilon: float, training_mode: bool,
               momentum: float) -> Any:
    axes = (0, *range(2, x.ndim))
    if training_mode:
        y = _jax_standard(x, axes, epsilon) * _by_channel(scale, x) + _by_channel(bias, x)
        return y, momentum * mean + (1 - momentum) * x.mean(axes), momentum * variance + (1 - momentum) * x.var(axes)
    return ((x - _by_channel(mean, x)) / jnp.sqrt(_by_channel(variance, x) + epsilon) * _by_channel(scale, x)
            + _by_channel(bias, x))


def _jax_attention(q: Any, k: Any, v: Any, mask: Any = None, *, scale: Any, causal: bool) -> Any:
    scores = q @ jnp.swapaxes(k, -1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = jnp.where(np.tri(q.shape[-2], k.shape[-2], dtype=bool), scores, -jnp.inf)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    weights = jax.nn.softmax(scores, -1)
    return weights if v is None else weights @ v


def _reduce(losses: Any, reduction: str, count: Any = None) -> Any:
    if reduction == "none":
        return losses
    return losses.sum() / (losses.size if count is None else count) if reduction == "mean" else losses.sum()


def _jax_labels(log_p: Any, labels: Any, reduction: str, ignore_index: Any) -> Any:
    seen = jnp.ones(labels.shape, bool) if ignore_index is None else labels != ignore_index
    picked = jnp.take_along_axis(log_p, jnp.expand_dims(jnp.where(seen, labels, 0), 1), 1).squeeze(1)
    return _reduce(jnp.where(seen, -picked, 0.0), reduction, seen.sum())


def _jax_binary(x: Any, t: Any, *, reduction: str, logits: bool) -> Any:
    log_p, log_q = (jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)) if logits else (jnp.log(x), jnp.log(1 - x))
    return _reduce(-(t * log_p + (1 - t) * log_q), reduction)


SEEN = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
LABELS = [(_normal(4, 3), _ints(2, 0, 1, 1)), (_normal(2, 3, 2), _ints([0, 2], [1, 1]))]

EXAMPLES += [
    *[Example("unfold", (_images(*shape),), {**STEPS, **window}) for shape, window in WINDOWS],
    Example("unfold", (_images(1, 2, 4),), {**STEPS, "kernel_shape": [2], "fill": "zero"}),
    *[Example("fold", (_images(*window), _images(*shape)), {**STEPS, **how}) for window, shape, how in [
        ((2, 3, 3, 5), (2, 3, 7), {"kernel_shape": [3]}),
        ((1, 2, 2, 4), (1, 2, 6), {"kernel_shape": [2], "strides": [2], "pads": [[1, 1]]}),
        ((1, 1, 2, 2, 4, 4), (1, 1, 7, 5), {"kernel_shape": [2, 2], "dilations": [3, 1]})]],
    *[Example("conv", (_images(*x), _images(*w, seed=1), *b), {**STEPS, "group": 1, **how}, _jax_conv, 1e-13)
      for x, w, how in CONVOLUTIONS for b in ((), (_normal(w[0], seed=2),))],
    *[Example("conv_transpose", (_images(*x), _images(*w, seed=1), *b),
              {**STEPS, "group": 1, "output_padding": None, **how}, _jax_conv_transpose, 1e-13)
      for x, w, how in TRANSPOSED for b in ((), (_normal(w[1] * how.get("group", 1), seed=2),))],
    *[Example("max_pool", (_images(*x),), {**STEPS, **how},
              (lambda x, **window: _jax_pool(x, -np.inf, jax.lax.max, **window)) if "dilations" not in how else None)
      for x, how in WINDOWS],
    *[Example("average_pool", (_images(*x),), {**STEPS, **how, "count_include_pad": include}, _jax_average)
      for x, how in WINDOWS[:3] for include in (False, True)],
    *[Example("global_max_pool", (_images(*shape),), {}, lambda x: x.max(tuple(range(2, x.ndim)), keepdims=True))
      for shape in [(2, 3, 4), (1, 2, 3, 2)]],
    *[Example("global_average_pool", (_images(*shape),), {}, lambda x: x.mean(tuple(range(2, x.ndim)), keepdims=True))
      for shape in [(2, 3, 4), (1, 2, 3, 2)]],
    *[Example("batch_normalization",
              (_images(*shape), *(_normal(shape[1], seed=i) for i in (1, 2, 3)), _normal(shape[1], seed=4, low=0.5)),
              {"epsilon": 0.01, "training_mode": training, "momentum": 0.7}, _jax_batch, 1e-14)
      for shape in [(4, 3), (2, 3, 5), (3, 2, 2, 4)] for training in (False, True)],
    *[Example("layer_normalization", (_images(4, 3, 5), _normal(*scale, seed=1), *bias),
              {"axis": axis, "epsilon": 0.01},
              lambda x, scale, bias=0.0, *, axis, epsilon: _jax_standard(x, tuple(range(axis % 3, 3)), epsilon) * scale
              + bias, 1e-14)
      for axis, scale in [(-1, (5,)), (1, (3, 5)), (1, (5,)), (-2, (3, 1))]
      for bias in ((), (_normal(*scale, seed=2),))],
    *[Example("rms_normalization", (_images(4, 3, 5), _normal(*scale, seed=1)), {"axis": axis, "epsilon": 0.01},
              lambda x, scale, axis,
              epsilon: x / jnp.sqrt((x * x).mean(tuple(range(axis % 3, 3)), keepdims=True) + epsilon) * scale, 1e-14)
      for axis, scale in [(-1, (5,)), (1, (3, 5)), (1, (5,))]],
    *[Example("group_normalization", (_images(*shape), _normal(shape[1], seed=1), _normal(shape[1], seed=2)),
              {"num_groups": groups, "epsilon": 0.01},
              lambda x, s, b, num_groups,
              epsilon: _jax_standard(x.reshape(x.shape[0], num_groups, -1), 2, epsilon).reshape(x.shape)
              * _by_channel(s, x) + _by_channel(b, x), 1e-14)
      for shape, groups in [((2, 4, 3), 2), ((2, 6, 2, 3), 3), ((3, 4), 2)]],
    *[Example("instance_normalization", (_images(*shape), _normal(shape[1], seed=1), _normal(shape[1], seed=2)),
              {"epsilon": 0.01},
              lambda x, s, b, epsilon: _jax_standard(x, tuple(range(2, x.ndim)), epsilon) * _by_channel(s, x)
              + _by_channel(b, x), 1e-14)
      for shape in [(2, 3, 5), (2, 2, 3, 4)]],
    *[Example("dropout", (_normal(*shape), np.array(seed)), {"ratio": ratio})
      for shape in [(), (50,), (2, 3, 4), (0, 2)]
      for seed, ratio in [(0, 0.5), (7, 0.2), (-1, 0.0)]],
    *[Example("attention", (_normal(*q), _normal(*k, seed=1), _normal(*v, seed=2), *mask),
              {"scale": scale, "causal": causal}, _jax_attention, 1e-14)
      for q, k, v, mask, scale, causal in [
          ((3, 5), (4, 5), (4, 2), (), None, False), ((2, 3, 5), (2, 4, 5), (2, 4, 2), (SEEN,), 0.7, False),
          ((4, 5), (4, 5), (4, 2), (), None, True),
          ((2, 1, 3, 5), (6, 4, 5), (1, 4, 2), (), 1.0, False), ((1, 1), (1, 1), (1, 1), (), None, False),
          ((3, 5), (4, 5), (4, 2), (SEEN,), None, True)]],
    *[Example("attention_weights", (_normal(*q), _normal(*k, seed=1), *mask), {"scale": scale, "causal": causal},
              lambda q, k, mask=None, **how: _jax_attention(q, k, None, mask, **how), 1e-14)
      for q, k, mask, scale, causal in [((3, 5), (4, 5), (), None, False), ((2, 3, 5), (4, 5), (SEEN,), 0.7, False),
                                        ((4, 5), (4, 5), (), None, True)]],
    *[Example("mean_squared_error", (_normal(*shape), _normal(*shape, seed=1)), {"reduction": reduction},
              lambda x, t, reduction: _reduce((x - t) ** 2, reduction))
      for shape in [(), (5,), (2, 3)] for reduction in ("mean", "sum", "none")],
    *[Example("huber", (2 * _normal(*shape), _normal(*shape, seed=1)), {"reduction": reduction, "delta": 0.8},
              lambda x, t, reduction,
              delta: _reduce(jnp.where(jnp.abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (jnp.abs(x - t) - delta / 2)),
                             reduction))
      for shape in [(), (5,), (2, 3)] for reduction in ("mean", "sum", "none")],
    *[Example("binary_cross_entropy", (x, np.abs(np.tanh(_normal(2, 3, seed=1)))),
              {"reduction": reduction, "logits": logits}, _jax_binary, 1e-14)
      for x, logits in [(0.05 + 0.9 * np.abs(np.tanh(_normal(2, 3))), False), (_normal(2, 3), True)]
      for reduction in ("mean", "sum", "none")],
    *[Example("negative_log_likelihood_loss", (x, labels), {"reduction": reduction, "ignore_index": ignored},
              lambda x, labels, reduction, ignore_index: _jax_labels(x, labels, reduction, ignore_index))
      for x, labels in LABELS for reduction in ("mean", "sum", "none") for ignored in (None, 1)],
    *[Example("softmax_cross_entropy_loss", (x, labels), {"reduction": reduction, "ignore_index": ignored},
              lambda x, labels, reduction,
              ignore_index: _jax_labels(jax.nn.log_softmax(x, 1), labels, reduction, ignore_index), 1e-14)
      for x, labels in LABELS for reduction in ("mean", "sum", "none") for ignored in (None, 1)],
    *[Example("label_indicator", (x, labels), {"ignore_index": ignored}) for x,
      labels in LABELS for ignored in (None, 1)],
]


def attributes_of(example: Example) -> dict[str, Any]:
    """All attributes of an example, defaults included, as the gate's model leaves them."""
    written = {key: list(value) if isinstance(value, tuple) else value for key, value in example.attributes.items()}
    return dict(GATES[example.gate].attributes.model_validate(written))


def types_of(*arrays: Any) -> list[ArrayType]:
    return [ArrayType(tuple(x.shape), str(x.dtype)) for x in arrays]


def wanted(example: Example, gate: Gate | None = None) -> list[bool]:
    gate = gate or GATES[example.gate]
    return [x.dtype.kind == "f" and gate.reaches(i) for i, x in enumerate(example.operands)]


def _polar_shape(x: ArrayType, y: ArrayType) -> tuple[ArrayType, ArrayType]:
    return x, y


# A gate of one's own, with two outputs: what a user would add to the table.
POLAR = Gate(
    "(√(x² + y²), atan2(y, x))", "Polar coordinates.", ("x", "y"), _polar_shape,
    outputs=("radius", "angle"), reads=Reads.INPUTS | Reads.OUTPUT,
    forward=lambda xp, x, y: (xp.sqrt(x * x + y * y), xp.atan2(y, x)),
    backward=(lambda op, g, out, x, y: g[0] * x / out[0] - g[1] * y / (out[0] * out[0]),
              lambda op, g, out, x, y: g[0] * y / out[0] + g[1] * x / (out[0] * out[0])),
)
