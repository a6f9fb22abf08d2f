"""Points at ties, kinks, zeros and the ends of the range of floats: what we promise, beside what JAX and torch give.

`CIRCUITFLOW_GOLDEN=write python -m pytest tests/test_conventions.py` writes the table as docs/conventions.md; that
needs
torch.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from circuitflow.gates import GATES
from circuitflow.interpreter.vocabulary import Vocabulary
from support.gate_examples import EXAMPLES
from support.integer_points import section

inf, nan = math.inf, math.nan
LABEL = np.array([1])


def pull(gate: str, *operands: Any, g: Any = 1.0, dtype: Any = np.float64, **attributes: Any) -> tuple[Any, list[Any]]:
    """Value and contributions of one gate."""
    row, op = GATES[gate], Vocabulary(np, GATES)
    attributes = {**row.defaults, **GIVEN.get(gate, {}), **attributes}
    xs = [as_array(x, dtype) for x in operands]
    wanted = [x.dtype.kind == "f" and row.reaches(i) for i, x in enumerate(xs)]
    with np.errstate(all="ignore"):
        out = row.forward(np, *xs, **attributes)
        sent = row.contributions(op, np.broadcast_to(np.asarray(g, dtype), out.shape), out, xs, wanted, attributes)
        sent = [op.sum_to_like(c, x) if c is not None and c.shape != x.shape else c for c,
                x in zip(sent, xs, strict=True)]
    return out, [c for c, want in zip(sent, wanted, strict=True) if want]


def as_array(x: Any, dtype: Any = np.float64) -> np.ndarray:
    return np.asarray(x, x.dtype if isinstance(x, np.ndarray) and x.dtype.kind == "i" else bool if isinstance(x, bool)
                      else dtype)


GIVEN: dict[str, dict[str, Any]] = {"polygamma": {"n": 1}, "clip": {"min": -1.0, "max": 1.0}}
"""The attributes at the points of gates that are nothing without."""

# gate, operands, value, gradients
POINTS = [
    ("max", (2, 2), 2, (1, 0)),
    ("min", (2, 2), 2, (1, 0)),
    ("max", (1, 2, 2, 0), 2, (0, 1, 0, 0)),
    ("max", (nan, 1), nan, (1, 0)),
    ("max", (1, nan), nan, (0, 1)),
    ("max", (-inf, -inf), -inf, (1, 0)),
    ("max", (0.0, -0.0), 0, (1, 0)),
    ("max", (-0.0, 0.0), 0, (1, 0)),
    ("relu", (0,), 0, (0,)),
    ("relu", (-0.0,), 0, (0,)),
    ("relu", (nan,), nan, (0,)),
    ("relu", (inf,), inf, (1,)),
    ("abs", (0,), 0, (0,)),
    ("abs", (-inf,), inf, (-1,)),
    ("sqrt", (0,), 0, (inf,)),
    ("sqrt", (inf,), inf, (0,)),
    ("log", (0,), -inf, (inf,)),
    ("log", (5e-324,), math.log(5e-324), (inf,)),
    ("reciprocal", (0,), inf, (-inf,)),
    ("reciprocal", (inf,), 0, (0,)),
    ("div", (1e200, 1e200), 1, (1e-200, -1e-200)),
    ("div", (0, 2), 0, (0.5, 0)),
    ("div", (1, 0), inf, (inf, -inf)),
    ("pow", (2, 0), 1, (0, math.log(2))),
    ("pow", (0, -1), inf, (-inf, -inf)),
    ("pow", (0, 0), 1, (0, 0)),
    ("pow", (0, 2), 0, (0, 0)),
    ("pow", (0, 1), 0, (1, 0)),
    ("pow", (-2, 3), -8, (12, nan)),
    ("pow", (-2, 2), 4, (-4, nan)),
    ("pow", (0, 0.5), 0, (inf, 0)),
    ("pow", (-0.0, 0.5), 0, (inf, 0)),
    ("pow", (-inf, 0.5), inf, (0, nan)),
    ("mul", (0, 0), 0, (0, 0)),
    ("mul", (0, 0, 3), 0, (0, 0, 0)),
    ("mul", (0, 2, 3), 0, (6, 0, 0)),
    ("mul", (1e200, 1e-200, 2), 2, (2e-200, 2e200, 1)),
    ("mul", (0, 1e200, 1e200, 1e200), 0, (inf, 0, 0, 0)),
    ("mul", (1e200, 0, 1e-200, 1e200, 1e200), 0, (0, inf, 0, 0, 0)),
    ("mean", (1.5e308, 1.5e308), 1.5e308, (0.5, 0.5)),
    ("mean", (inf, 1), inf, (0.5, 0.5)),
    ("mul_no_nan", (0, inf), 0, (inf, 0)),
    ("mul_no_nan", (0, nan), 0, (nan, 0)),
    ("exp", (1000,), inf, (inf,)),
    ("exp", (-1000,), 0, (0,)),
    ("sigmoid", (0,), 0.5, (0.25,)),
    ("sigmoid", (1000,), 1, (0,)),
    ("sigmoid", (-1000,), 0, (0,)),
    ("sigmoid", (-700,), math.exp(-700), (math.exp(-700),)),
    ("sigmoid", (40,), 1, (math.exp(-40),)),
    ("sigmoid", (-710,), math.exp(-710), (math.exp(-710),)),
    ("tanh", (1000,), 1, (0,)),
    ("tanh", (20,), 1, (4 * math.exp(-40),)),
    ("tanh", (-360,), -1, (4 * math.exp(-720),)),
    ("tanh", (1e-200,), 1e-200, (1,)),
    ("softplus", (0,), math.log(2), (0.5,)),
    ("softplus", (1000,), 1000, (1,)),
    ("softplus", (-1000,), 0, (0,)),
    ("softplus", (-700,), math.exp(-700), (math.exp(-700),)),
    ("where", (True, 1, nan), 1, (1, 0)),
    ("where", (False, inf, 2), 2, (0, 1)),
    ("log_softmax", ([1000.0, 0.0],), [0, -1000], ([-1, 1],)),
    ("log_softmax", ([-1e200, 1e200],), [-2e200, 0], ([1, -1],)),
    ("softmax", ([1000.0, -1000.0],), [1, 0], ([0, 0],)),
    ("square", (1e200,), inf, (2e200,)),
    ("hypot", (0, 0), 0, (0, 0)),
    ("hypot", (3e200, 4e200), 5e200, (0.6, 0.8)),
    ("hypot", (3e-200, 4e-200), 5e-200, (0.6, 0.8)),
    ("mod", (-7, 3), 2, (1, 3)),
    ("mod", (7, -3), -2, (1, 3)),
    ("mod", (1, 0.1), 1 % 0.1, (1, -9)),
    ("floor", (-0.5,), -1, ()),
    ("ceil", (-0.5,), 0, ()),
    ("round", (2.5,), 2, ()),
    ("round", (-1.5,), -2, ()),
    ("expm1", (1e-20,), 1e-20, (1,)),
    ("expm1", (1000,), inf, (inf,)),
    ("expm1", (-50,), math.expm1(-50), (math.exp(-50),)),
    ("log1p", (1e-20,), 1e-20, (1,)),
    ("log1p", (-1,), -inf, (inf,)),
    ("log_add_exp", (1000, 1000), 1000 + math.log(2), (0.5, 0.5)),
    ("log_add_exp", (-1000, 1000), 1000, (0, 1)),
    ("log_add_exp", (-inf, -inf), -inf, (0.5, 0.5)),
    ("log_add_exp", (-inf, 0), 0, (0, 1)),
    ("log_add_exp", (inf, 0), inf, (1, 0)),
    ("erf", (10,), 1, (2 / math.sqrt(math.pi) * math.exp(-100),)),
    ("erfc", (10,), 2.088487583762545e-45, (-2 / math.sqrt(math.pi) * math.exp(-100),)),
    ("lgamma", (1,), 0, (-0.5772156649015329,)),
    ("lgamma", (0,), inf, (-inf,)),
    ("lgamma", (5e-324,), 744.4400719213812, (-inf,)),
    ("lgamma", (1e-320,), -math.log(1e-320), (-inf,)),
    ("lgamma", (-inf,), inf, (nan,)),
    ("tan", (0,), 0, (1,)),
    ("asin", (1,), math.pi / 2, (inf,)),
    ("acos", (-1,), math.pi, (-inf,)),
    ("atan", (1e200,), math.pi / 2, (0,)),
    ("atan", (0,), 0, (1,)),
    ("atan2", (0, 0), 0, (0, 0)),
    ("atan2", (0, -1), math.pi, (-1, 0)),
    ("atan2", (3e-200, 4e-200), math.atan2(3, 4), (1.6e199, -1.2e199)),
    ("atan2", (3e200, 4e200), math.atan2(3, 4), (1.6e-201, -1.2e-201)),
    ("sinh", (-1000,), -inf, (inf,)),
    ("cosh", (0,), 1, (0,)),
    ("asinh", (1e200,), math.asinh(1e200), (1e-200,)),
    ("acosh", (1,), 0, (inf,)),
    ("atanh", (1,), inf, (inf,)),
    ("sinc", (0,), 1, (0,)),
    ("sinc", (3,), 0, (-1 / 3,)),
    ("sinc", (1e300,), 0, (1e-300,)),
    ("sinc", (1e-200,), 1, (-math.pi**2 / 3 * 1e-200,)),
    ("log_sigmoid", (-1000,), -1000, (1,)),
    ("log_sigmoid", (1000,), 0, (0,)),
    ("log_sigmoid", (0,), -math.log(2), (0.5,)),
    ("leaky_relu", (0,), 0, (0.01,)),
    ("prelu", (0, 0.25), 0, (0.25, 0)),
    ("elu", (1000,), 1000, (1,)),
    ("elu", (-1000,), -1, (0,)),
    ("elu", (0,), 0, (1,)),
    ("selu", (1000,), 1050.7009873554805, (1.0507009873554805,)),
    ("celu", (-1000,), -1, (0,)),
    ("gelu", (1000,), 1000, (1,)),
    ("softsign", (0,), 0, (1,)),
    ("softsign", (1e200,), 1, (0,)),
    ("swish", (-1000,), 0, (0,)),
    ("swish", (1000,), 1000, (1,)),
    ("mish", (1000,), 1000, (1,)),
    ("mish", (-1000,), 0, (0,)),
    ("hard_sigmoid", (2.5,), 1, (0.2,)),
    ("hard_sigmoid", (-2.5,), 0, (0.2,)),
    ("hard_swish", (3,), 3, (1,)),
    ("hard_swish", (-3,), 0, (0,)),
    ("thresholded_relu", (1,), 0, (0,)),
    ("reduce_prod", ([0.0, 2.0, 3.0],), 0, ([6, 0, 0],)),
    ("reduce_prod", ([0.0, 2.0, 0.0],), 0, ([0, 0, 0],)),
    ("reduce_prod", ([1e200, 1e-200, 3.0],), 3, ([3e-200, 3e200, 1],)),
    ("reduce_prod", ([],), 1, ([],)),
    ("cum_prod", ([2.0, 0.0, 3.0],), [2, 0, 0], ([1, 8, 0],)),
    ("cum_sum", ([1.0, 2.0, 3.0],), [1, 3, 6], ([3, 2, 1],)),
    ("reduce_min", ([3.0, 1.0, 1.0],), 1, ([0, 1, 0],)),
    ("reduce_l1", ([0.0, -2.0],), 2, ([0, -1],)),
    ("reduce_l2", ([0.0, 0.0],), 0, ([0, 0],)),
    ("reduce_l2", ([3e200, -4e200],), 5e200, ([0.6, -0.8],)),
    ("reduce_l2", ([3e-200, -4e-200],), 5e-200, ([0.6, -0.8],)),
    ("reduce_l2", ([inf, 1.0],), inf, ([nan, 0],)),
    ("reduce_log_sum_exp", ([1000.0, 1000.0],), 1000 + math.log(2), ([0.5, 0.5],)),
    ("reduce_log_sum_exp", ([-inf, -inf],), -inf, ([0.5, 0.5],)),
    ("reduce_log_sum_exp", ([inf, 0.0],), inf, ([1, 0],)),
    ("reduce_log_sum_exp", ([inf, inf],), inf, ([0.5, 0.5],)),
    ("reduce_log_sum_exp", ([],), -inf, ([],)),
    ("reduce_log_sum_exp", ([-inf, 0.0],), 0, ([0, 1],)),
    ("reduce_var", ([2.0, 2.0],), 0, ([0, 0],)),
    ("reduce_std", ([2.0, 2.0],), 0, ([0, 0],)),
    ("reduce_std", ([1.0, 3.0],), 1, ([-0.5, 0.5],)),
    ("reduce_std", ([1e200, 3e200],), 1e200, ([-0.5, 0.5],)),
    ("reduce_std", ([1e-200, 3e-200],), 1e-200, ([-0.5, 0.5],)),
    ("reduce_var", ([1e200, 3e200],), inf, ([-1e200, 1e200],)),
    ("reduce_mean", ([1e308, 1e308],), 1e308, ([0.5, 0.5],)),
    ("reduce_mean", ([],), nan, ([],)),
    ("mean", (1e308, 1e308), 1e308, (0.5, 0.5)),
    ("mul_div_no_nan", (2, 0, 0), 0, (0, inf, nan)),
    ("reduce_max", ([1.0, 3.0, 3.0],), 3, ([0, 1, 0],)),
    ("reduce_max", ([1.0, nan, 3.0],), nan, ([0, 1, 0],)),
    ("add", (inf, -inf), nan, (1, 1)),
    ("sub", (inf, inf), nan, (1, -1)),
    ("mul", (5e-324, 0.5), 0, (0.5, 5e-324)),
    ("square", (1e-200,), 0, (2e-200,)),
    ("sqrt", (5e-324,), math.sqrt(5e-324), (0.5 / math.sqrt(5e-324),)),
    ("exp", (710,), inf, (inf,)),
    ("exp", (-inf,), 0, (0,)),
    ("log", (inf,), inf, (0,)),
    ("sigmoid", (inf,), 1, (0,)),
    ("sigmoid", (-inf,), 0, (0,)),
    ("sigmoid", (nan,), nan, (nan,)),
    ("tanh", (-1000,), -1, (0,)),
    ("tanh", (inf,), 1, (0,)),
    ("softplus", (inf,), inf, (1,)),
    ("softplus", (-inf,), 0, (0,)),
    ("relu", (-inf,), 0, (0,)),
    ("log_sigmoid", (-inf,), -inf, (1,)),
    ("atan", (inf,), math.pi / 2, (0,)),
    ("sign", (0,), 0, ()),
    ("min", (nan, 1), nan, (1, 0)),
    ("pow", (inf, 2), inf, (inf, inf)),
    ("swish", (0,), 0, (0.5,)),
    ("elu", (-0.0,), 0, (1,)),
    ("softmax", ([2.0, 2.0],), [0.5, 0.5], ([0, 0],)),
    ("softmax", ([inf, 0.0],), [1, 0], ([0, 0],)),
    ("softmax", ([-inf, -inf],), [0.5, 0.5], ([0, 0],)),
    ("log_softmax", ([inf, 0.0],), [0, -inf], ([-1, 1],)),
    ("log_softmax", ([-inf, -inf],), [-math.log(2), -math.log(2)], ([0, 0],)),
    ("log_softmax", ([3.0, 3.0],), [-math.log(2), -math.log(2)], ([0, 0],)),
    ("reduce_sum", ([],), 0, ([],)),
    ("reduce_l2", ([],), 0, ([],)),
    ("reduce_l1", ([inf, 1.0],), inf, ([1, 1],)),
    ("reduce_prod", ([inf, 0.0],), nan, ([0, inf],)),
    ("reduce_sum_square", ([0.0, 1e200],), inf, ([0, 2e200],)),
    ("cum_prod", ([0.0, 0.0],), [0, 0], ([1, 0],)),
    ("mean_squared_error", ([1.0], [1.0]), 0, ([0], [0])),
    ("huber", ([2.0], [1.0]), 0.5, ([1], [-1])),
    ("binary_cross_entropy", ([1.0], [1.0]), 0, ([-1], [-inf])),
    ("binary_cross_entropy", ([0.0], [0.0]), 0, ([1], [inf])),
    ("binary_cross_entropy", ([1e-20], [0.0]), 1e-20, ([1], [20 * math.log(10)])),
    ("softmax_cross_entropy_loss", ([[1000.0, 0.0]], LABEL), 1000, ([[1, -1]],)),
    ("softmax_cross_entropy_loss", ([[0.0, -1000.0]], LABEL), 1000, ([[1, -1]],)),
    ("softmax_cross_entropy_loss", ([[0.0, 50.0]], LABEL), math.exp(-50), ([[math.exp(-50), -math.exp(-50)]],)),
    ("softmax_cross_entropy_loss", ([[0.0, inf]], LABEL), 0, ([[0, 0]],)),
    ("layer_normalization", ([2.0, 2.0], [1.0, 1.0]), [0, 0], ([0, 0], [0, 0])),
    ("layer_normalization", ([-1e200, 1e200], [1.0, 1.0]), [-1, 1], ([0, 0], [-1, 1])),
    ("rms_normalization", ([1e200, 1e200], [1.0, 1.0]), [1, 1], ([0, 0], [1, 1])),
    ("det", ([[1.0, 2.0], [2.0, 4.0]],), 0, ([[4, -2], [-2, 1]],)),
    ("det", ([[inf, 0], [0, 1]],), nan, ([[nan, nan], [nan, nan]],)),
]

MOST, LEAST = sys.float_info.max, 5e-324
ABOVE, BELOW = math.nextafter(1, 2), math.nextafter(1, 0)
GAMMA, ROOT_PI = 0.5772156649015329, math.sqrt(math.pi)

# Neighbours of kinks, zeros of both signs, what is not finite, and the ends of the range.
POINTS += [
    ("add", (MOST, MOST), inf, (1, 1)),
    ("add", (-0.0, 0.0), 0, (1, 1)),
    ("add", (nan, 1), nan, (1, 1)),
    ("sub", (MOST, -MOST), inf, (1, -1)),
    ("sub", (LEAST, LEAST), 0, (1, -1)),
    ("mul", (inf, 0), nan, (0, inf)),
    ("mul", (-0.0, 5), 0, (5, 0)),
    ("mul", (MOST, 2), inf, (2, MOST)),
    ("div", (-1, 0), -inf, (inf, inf)),
    ("div", (1, inf), 0, (0, 0)),
    ("div", (MOST, 0.5), inf, (2, -inf)),
    ("reciprocal", (-0.0,), -inf, (-inf,)),
    ("reciprocal", (1e300,), 1e-300, (0,)),
    ("neg", (-0.0,), 0, (-1,)),
    ("neg", (inf,), -inf, (-1,)),
    ("sqrt", (-1,), nan, (nan,)),
    ("sqrt", (MOST,), math.sqrt(MOST), (0.5 / math.sqrt(MOST),)),
    ("square", (-0.0,), 0, (0,)),
    ("square", (-inf,), inf, (-inf,)),
    ("abs", (-0.0,), 0, (0,)),
    ("abs", (nan,), nan, (nan,)),
    ("abs", (-LEAST,), LEAST, (-1,)),
    ("sign", (-inf,), -1, ()),
    ("sign", (nan,), nan, ()),
    ("floor", (math.nextafter(3, 0),), 2, ()),
    ("floor", (-inf,), -inf, ()),
    ("ceil", (math.nextafter(2, 3),), 3, ()),
    ("ceil", (nan,), nan, ()),
    ("round", (0.5,), 0, ()),
    ("round", (math.nextafter(0.5, 1),), 1, ()),
    ("max", (1, ABOVE), ABOVE, (0, 1)),
    ("max", (inf, nan), nan, (0, 1)),
    ("min", (-inf, 0), -inf, (1, 0)),
    ("min", (1, BELOW), BELOW, (0, 1)),
    ("clip", (-1,), -1, (1,)),
    ("clip", (math.nextafter(-1, -2),), -1, (0,)),
    ("clip", (1,), 1, (1,)),
    ("clip", (ABOVE,), 1, (0,)),
    ("clip", (inf,), 1, (0,)),
    ("clip", (nan,), nan, (0,)),
    ("mean", (inf, -inf), nan, (0.5, 0.5)),
    ("mul_no_nan", (2, 0), 0, (0, 2)),
    ("identity", (nan,), nan, (1,)),
    ("exp", (0,), 1, (1,)),
    ("exp", (709.7,), math.exp(709.7), (math.exp(709.7),)),
    ("exp", (-745,), LEAST, (LEAST,)),
    ("exp", (nan,), nan, (nan,)),
    ("expm1", (-0.0,), 0, (1,)),
    ("expm1", (-inf,), -1, (0,)),
    ("log", (1,), 0, (1,)),
    ("log", (-1,), nan, (-1,)),
    ("log", (1e300,), math.log(1e300), (1e-300,)),
    ("log1p", (-0.0,), 0, (1,)),
    ("log1p", (inf,), inf, (0,)),
    ("log1p", (-BELOW,), math.log1p(-BELOW), (2.0**53,)),
    ("log1p", (-0.4,), math.log1p(-0.4), (1 / 0.6,)),
    ("log_add_exp", (0, 0), math.log(2), (0.5, 0.5)),
    ("log_add_exp", (inf, inf), inf, (0.5, 0.5)),
    ("log_add_exp", (nan, 0), nan, (nan, nan)),
    ("erf", (0,), 0, (2 / ROOT_PI,)),
    ("erf", (-inf,), -1, (0,)),
    ("erf", (nan,), nan, (nan,)),
    ("erfc", (0,), 1, (-2 / ROOT_PI,)),
    ("erfc", (inf,), 0, (0,)),
    ("erfc", (-10,), 2, (-2 / ROOT_PI * math.exp(-100),)),
    ("lgamma", (2,), 0, (1 - GAMMA,)),
    ("lgamma", (-1.5,), 0.860047015376481, (0.7031566406452432,)),
    ("lgamma", (inf,), inf, (inf,)),
    ("lgamma", (nan,), nan, (nan,)),
    ("polygamma", (1,), math.pi**2 / 6, (-2.404113806319188,)),
    ("sin", (-0.0,), 0, (1,)),
    ("sin", (inf,), nan, (nan,)),
    ("sin", (2.0**70,), -0.9981794021933068, (0.060314849224819785,)),
    ("cos", (0,), 1, (0,)),
    ("cos", (-inf,), nan, (nan,)),
    ("tan", (inf,), nan, (nan,)),
    ("asin", (-0.0,), 0, (1,)),
    ("asin", (ABOVE,), nan, (nan,)),
    ("acos", (1,), 0, (-inf,)),
    ("acos", (nan,), nan, (nan,)),
    ("atan", (-0.0,), 0, (1,)),
    ("atan", (-inf,), -math.pi / 2, (0,)),
    ("atan2", (0, 1), 0, (1, 0)),
    ("atan2", (-0.0, -1), -math.pi, (-1, 0)),
    ("atan2", (1, 0), math.pi / 2, (0, -1)),
    ("sinh", (-0.0,), 0, (1,)),
    ("sinh", (500,), math.sinh(500), (math.cosh(500),)),
    ("sinh", (710,), math.sinh(710), (math.cosh(710),)),
    ("cosh", (-1000,), inf, (-inf,)),
    ("cosh", (554.5,), math.cosh(554.5), (math.sinh(554.5),)),
    ("asinh", (-0.0,), 0, (1,)),
    ("asinh", (-inf,), -inf, (0,)),
    ("acosh", (0.5,), nan, (nan,)),
    ("acosh", (inf,), inf, (0,)),
    ("atanh", (-1,), -inf, (inf,)),
    ("atanh", (0.41,), math.atanh(0.41), (1 / (1 - 0.41**2),)),
    ("atanh", (2,), nan, (-1 / 3,)),
    ("sinc", (nan,), nan, (nan,)),
    ("sigmoid", (-0.0,), 0.5, (0.25,)),
    ("tanh", (-0.0,), 0, (1,)),
    ("tanh", (nan,), nan, (nan,)),
    ("softplus", (nan,), nan, (nan,)),
    ("relu", (LEAST,), LEAST, (1,)),
    ("relu", (-LEAST,), 0, (0,)),
    ("log_sigmoid", (inf,), 0, (0,)),
    ("leaky_relu", (-0.0,), 0, (0.01,)),
    ("leaky_relu", (-inf,), -inf, (0.01,)),
    ("leaky_relu", (nan,), nan, (0.01,)),
    ("prelu", (-1, 0.25), -0.25, (0.25, -1)),
    ("prelu", (nan, 0.25), nan, (0.25, nan)),
    ("elu", (-inf,), -1, (0,)),
    ("elu", (nan,), nan, (nan,)),
    ("selu", (0,), 0, (1.7580993408473766,)),
    ("selu", (-inf,), -1.7580993408473766, (0,)),
    ("celu", (0,), 0, (1,)),
    ("celu", (inf,), inf, (1,)),
    ("gelu", (0,), 0, (0.5,)),
    ("gelu", (-1000,), 0, (0,)),
    ("softsign", (-0.0,), 0, (1,)),
    ("softsign", (nan,), nan, (nan,)),
    ("mish", (0,), 0, (0.6,)),
    ("hard_sigmoid", (math.nextafter(2.5, 3),), 1, (0,)),
    ("hard_sigmoid", (math.nextafter(2.5, 0),), 1, (0.2,)),
    ("hard_sigmoid", (math.nextafter(-2.5, -3),), 0, (0,)),
    ("hard_sigmoid", (-inf,), 0, (0,)),
    ("hard_sigmoid", (nan,), nan, (0,)),
    ("hard_swish", (0,), 0, (0.5,)),
    ("hard_swish", (math.nextafter(3, 4),), math.nextafter(3, 4), (1,)),
    ("hard_swish", (math.nextafter(-3, 0),), -2.2204460492503126e-16, (-0.5,)),
    ("hard_swish", (MOST,), MOST, (1,)),
    ("thresholded_relu", (ABOVE,), ABOVE, (1,)),
    ("thresholded_relu", (inf,), inf, (1,)),
    ("where", (True, nan, 1), nan, (1, 0)),
    ("softmax", ([0.0],), [1], ([0],)),
    ("softmax", ([-inf, 0.0],), [0, 1], ([0, 0],)),
    ("log_softmax", ([-inf, 0.0],), [-inf, 0], ([1, -1],)),
    ("cum_sum", ([inf, -inf],), [inf, nan], ([2, 1],)),
    ("cum_sum", ([],), [], ([],)),
    ("cum_prod", ([2.0, nan],), [2, nan], ([nan, 2],)),
    ("reduce_sum", ([inf, -inf],), nan, ([1, 1],)),
    ("reduce_mean", ([nan, 1.0],), nan, ([0.5, 0.5],)),
    ("reduce_prod", ([nan, 2.0],), nan, ([2, nan],)),
    ("reduce_prod", ([-0.0, 5.0],), 0, ([5, 0],)),
    ("reduce_max", ([-inf, -inf],), -inf, ([1, 0],)),
    ("reduce_max", ([0.0, -0.0],), 0, ([1, 0],)),
    ("reduce_min", ([nan, 1.0],), nan, ([1, 0],)),
    ("reduce_l1", ([],), 0, ([],)),
    ("reduce_l1", ([-0.0, nan],), nan, ([0, nan],)),
    ("reduce_l2", ([-5.0],), 5, ([-1],)),
    ("reduce_l2", ([nan, 1.0],), nan, ([nan, nan],)),
    ("reduce_sum_square", ([],), 0, ([],)),
    ("reduce_sum_square", ([nan, 1.0],), nan, ([nan, 2],)),
    ("reduce_log_sum_exp", ([-1000.0, 0.0],), 0, ([0, 1],)),
    ("reduce_log_sum_exp", ([nan, 0.0],), nan, ([nan, nan],)),
    ("reduce_var", ([5.0],), 0, ([0],)),
    ("reduce_var", ([1.0, 3.0],), 1, ([-1, 1],)),
    ("reduce_std", ([5.0],), 0, ([0],)),
    ("mean_squared_error", ([0.0], [2.0]), 4, ([-4], [4])),
    ("huber", ([3.0], [1.0]), 1.5, ([1], [-1])),
    ("huber", ([inf], [0.0]), inf, ([1], [-1])),
    ("binary_cross_entropy", ([0.5], [1.0]), math.log(2), ([-2], [0])),
    ("binary_cross_entropy", ([0.0], [1.0]), inf, ([-inf], [inf])),
    ("negative_log_likelihood_loss", ([[nan, -2.0]], LABEL), 2, ([[0, -1]],)),
    ("softmax_cross_entropy_loss", ([[0.0, 0.0]], LABEL), math.log(2), ([[0.5, -0.5]],)),
    ("softmax_cross_entropy_loss", ([[-inf, 0.0]], LABEL), 0, ([[0, 0]],)),
    ("layer_normalization", ([0.0, 0.0], [2.0, 3.0]), [0, 0], ([-158.11388300841895, 158.11388300841895], [0, 0])),
    ("rms_normalization", ([0.0, 0.0], [1.0, 1.0]), [0, 0], ([316.2277660168379, 316.2277660168379], [0, 0])),
    ("global_max_pool", ([[[2.0, 2.0]]],), [[[2]]], ([[[1, 0]]],)),
    ("matmul", ([[inf, 0.0]], [[0.0], [1.0]]), [[nan]], ([[0, 1]], [[inf], [0]])),
    ("trace", ([[1.0, nan], [0.0, 2.0]],), 3, ([[1, 0], [0, 1]],)),
    ("det", ([[0.0]],), 0, ([[1]],)),
    ("det", ([[0.0, 0.0], [0.0, 0.0]],), 0, ([[0, 0], [0, 0]],)),
    ("inv", ([[0.5]],), [[2]], ([[-4]],)),
    ("inv", ([[nan]],), [[nan]], ([[nan]],)),
    ("cholesky", ([[4.0]],), [[2]], ([[0.25]],)),
]

# Infinities, where there is a limit; NaN is left where one would cost more than 3 % of the time of ordinary points.
POINTS += [
    ("lgamma", (-0.5,), 1.2655121234846454, (0.03648997397857652,)),
    ("polygamma", (-16.5,), 9.810797812993575, (-0.00345722037203431,)),
    ("polygamma", (inf,), 0, (0,)),
    ("gelu", (inf,), inf, (nan,)),
    ("gelu", (-inf,), 0, (nan,)),
    ("swish", (inf,), inf, (1,)),
    ("swish", (-inf,), 0, (0,)),
    ("mish", (inf,), inf, (1,)),
    ("mish", (-inf,), 0, (0,)),
    ("hard_swish", (inf,), inf, (1,)),
    ("hard_swish", (-inf,), nan, (0,)),
    ("softsign", (inf,), nan, (0,)),
    ("softsign", (-inf,), nan, (0,)),
    ("hypot", (inf, 1), inf, (nan, 0)),
    ("hypot", (1, -inf), inf, (0, nan)),
    ("atan2", (inf, 1), math.pi / 2, (0, 0)),
    ("atan2", (-inf, -2), -math.pi / 2, (0, 0)),
    ("atan2", (1, inf), 0, (0, 0)),
    ("atan2", (1, -inf), math.pi, (0, 0)),
    ("atan2", (-inf, inf), -math.pi / 4, (0, 0)),
]

WHY = {
    "max": "the whole gradient goes to one operand, as in the classic max gate; `ties: share` splits it",
    "min": "as max",
    "reduce_max": "as max", "reduce_min": "as max",
    "abs": "0, the middle of the two slopes; JAX takes the right one", "reduce_l1": "as abs",
    "div": "formed as -out / y, which does not underflow as x / y² does",
    "mul": "0 where an operand is, even if others overflow before they meet it",
    "mean": "where the sum overflows, that of smaller operands",
    "sigmoid": "1 - out as 1 / (1 + e^x), which keeps its digits where out is rounded to 1; no overflow far below 0",
    "tanh": "1 / cosh², which keeps its digits where 1 - out² has none",
    "pow": "the slope of x⁰ is 0 for every x; 0^y falls from ∞ to 1 and 0",
    "mul_no_nan": "0 is kept at 0 on purpose: that is what the gate is for",
    "mod": "the quotient that the value uses, not the one that is rounded up",
    "mul_div_no_nan": "0 where the length z is 0, its derivative in y is not",
    "hypot": "x / out needs no square; 0 at the origin, NaN for an infinite operand",
    "expm1": "e^x itself: expm1(x) + 1 has lost the digits",
    "log_add_exp": "equal operands share evenly, infinite or not",
    "lgamma": "the slope from above 0",
    "atan2": "divided one after the other, so no square leaves the range; 0 at the origin and at ∞",
    "asinh": "formed by hypot, which does not overflow",
    "sinc": "a series near 0; 0 at integers",
    "leaky_relu": "the slope below 0 holds at 0",
    "softsign": "1 / (1 + abs(x))², which is 1e-400 here; JAX divides once less; NaN at ∞",
    "hard_sigmoid": "the slope of the line holds at both ends, as clip has slope 1 at its bounds",
    "reduce_l2": "scaled before it is squared, so nothing leaves the range; 0 at the origin",
    "binary_cross_entropy": "0 · ln 0 is 0, and ln(1 - x) is exact near 0",
    "det": "the cofactors, exact where the matrix is singular; NaN for a matrix that is not finite",
    "reduce_std": "0 where all values are equal; scaled before it is squared",
    "reduce_mean": "the sum may leave the range where the mean does not",
    "reduce_log_sum_exp": "equal infinities share evenly, as the operands of log_add_exp do",
    "softmax": "as reduce_log_sum_exp", "log_softmax": "as reduce_log_sum_exp",
    "softmax_cross_entropy_loss": "a probability near 1 is told by the others, and one infinite score is the whole of "
                                  "it",
    "layer_normalization": "scaled before it is squared", "rms_normalization": "scaled before it is squared",
    "clip": "the slope is 1 from bound to bound; JAX halves it at them",
    "gelu": "0 in value far below 0; JAX and torch multiply it by -∞",
    "swish": "0 far below 0, 1 far above, also in the limit",
    "mish": "as swish", "polygamma": "by reflection below 0, and 0 at ∞",
    "hard_swish": "divided before it is multiplied, so nothing leaves the range",
    "huber": "the slope beyond delta is ±1, however far",
    "global_max_pool": "as max",
}
"""Where we differ from JAX or torch, why."""

WHY_AT_NAN = {
    **dict.fromkeys(["max", "min", "reduce_max", "reduce_min"], "the whole gradient goes to the first NaN"),
    "relu": "NaN is not above 0", "elu": "NaN goes through; torch takes the slope above 0",
    **dict.fromkeys(["abs", "reduce_l1", "sign"], "NaN has no sign"),
    **dict.fromkeys(["cum_prod", "reduce_prod"], "the product of the others"),
}
"""Likewise, where an operand is or has NaN."""


def reason(gate: str, operands: tuple[Any, ...]) -> str:
    """Why we differ from JAX or torch at a point; a KeyError where nothing is stated."""
    numbers = np.abs(np.concatenate([np.ravel(x) for x in operands]).astype(np.float64))
    if np.any((numbers > 0) & (numbers < sys.float_info.min)):
        return "JAX takes subnormal numbers for 0 here"
    return WHY_AT_NAN[gate] if gate in WHY_AT_NAN and np.any(np.isnan(numbers)) else WHY[gate]


SUBNORMAL = "on a CPU, XLA takes subnormal numbers for 0, as operands and as results; no setting changes that"
XLA_FUSED = "XLA rounds a product and a sum once, so terms of 1e-200 that cancel leave 1e-216"
XLA_LOG1P = "from -0.41 to -0.29 XLA's has 14 digits; one with all would make softplus slower"
DIGAMMA = "digamma has 14 digits near its zero at 1.46, and so has its value at -0.5; also on torch arrays"

EXCEPTIONS: list[tuple[str, tuple[Any, ...], str]] = [
    ("log", (LEAST,), SUBNORMAL),
    ("mul", (LEAST, 0.5), SUBNORMAL),
    ("sqrt", (LEAST,), SUBNORMAL),
    ("lgamma", (LEAST,), SUBNORMAL),
    ("lgamma", (1e-320,), SUBNORMAL),
    ("lgamma", (-0.5,), DIGAMMA),
    ("abs", (-LEAST,), SUBNORMAL),
    ("exp", (-745,), SUBNORMAL),
    ("relu", (LEAST,), SUBNORMAL),
    ("sigmoid", (-710,), SUBNORMAL),
    ("tanh", (-360,), SUBNORMAL),
    ("log1p", (-0.4,), XLA_LOG1P),
    ("layer_normalization", ([-1e200, 1e200], [1.0, 1.0]), XLA_FUSED),
]
"""The points at which XLA gives something else, and why: on JAX arrays, and by the engine jax.

Of other ways torch has the one of `DIGAMMA`.
"""

# Where the oracle of the examples is for other operands.
JAX = {
    "max": lambda *xs, ties: functools.reduce(jnp.maximum, xs), "min": lambda *xs,
    ties: functools.reduce(jnp.minimum, xs),
    "mean": lambda *xs: functools.reduce(jnp.add, xs) / len(xs),
    "mul": lambda *xs: functools.reduce(jnp.multiply, xs), "add": lambda *xs: functools.reduce(jnp.add, xs),
    "rms_normalization": lambda x, scale, axis, epsilon: x / jnp.sqrt((x * x).mean() + epsilon) * scale,
    "layer_normalization": lambda x, scale, axis, epsilon: (x - x.mean()) / jnp.sqrt(x.var() + epsilon) * scale,
}


def in_jax(gate: str, operands: tuple[Any, ...]) -> tuple[Any, list[Any]] | None:
    """Value and gradients in JAX; None where it has no such operation."""
    function = JAX.get(gate) or next((e.oracle for e in EXAMPLES if e.gate == gate and e.oracle), None)
    if function is None:
        return None
    xs = list(map(as_array, operands))
    moving = [i for i, x in enumerate(xs) if x.dtype.kind == "f" and GATES[gate].reaches(i)]

    def of(*moved: Any) -> Any:
        values = list(map(jnp.asarray, xs))
        for i, x in zip(moving, moved, strict=True):
            values[i] = x
        return function(*values, **{**GATES[gate].defaults, **GIVEN.get(gate, {})})

    value, vjp = jax.vjp(of, *(jnp.asarray(xs[i]) for i in moving))
    return value, list(vjp(jnp.ones_like(value))) if moving else []


def in_torch(gate: str, operands: tuple[Any, ...]) -> tuple[Any, list[Any]] | None:
    """Value and gradients in torch; None where it has no such operation."""
    import torch
    import torch.nn.functional as nn

    functions = {
        **{name: lambda *xs, name=name: functools.reduce(getattr(torch, name), xs)
           for name in ("add", "sub", "mul", "div", "pow")},
        **{name: getattr(torch, name) for name in ["abs", "sqrt", "log", "reciprocal", "exp", "sigmoid", "tanh",
                                                   "where", "square", "hypot", "floor", "ceil", "round", "expm1",
                                                   "log1p", "erf", "erfc", "lgamma", "tan", "asin", "acos", "atan",
                                                   "atan2", "sinh", "cosh", "asinh", "acosh", "atanh", "sinc", "sign",
                                                   "det"]},
        **{name: getattr(nn, name) for name in ["relu", "softplus", "leaky_relu", "prelu", "elu", "selu", "celu",
                                                "gelu", "softsign", "mish"]},
        "max": lambda *xs: functools.reduce(torch.maximum, xs), "min": lambda *xs: functools.reduce(torch.minimum, xs),
        "mod": torch.remainder, "log_add_exp": torch.logaddexp, "log_sigmoid": nn.logsigmoid, "swish": nn.silu,
        "hard_swish": nn.hardswish, "softmax": lambda x: nn.softmax(x, -1),
        "log_softmax": lambda x: nn.log_softmax(x, -1),
        "reduce_sum": torch.sum, "reduce_prod": torch.prod, "reduce_max": torch.amax, "reduce_min": torch.amin,
        "cum_prod": lambda x: torch.cumprod(x, 0), "cum_sum": lambda x: torch.cumsum(x, 0),
        "reduce_l1": lambda x: torch.linalg.vector_norm(x, 1), "reduce_l2": torch.linalg.vector_norm,
        "reduce_sum_square": lambda x: (x * x).sum(), "reduce_log_sum_exp": lambda x: torch.logsumexp(x, 0),
        "reduce_var": lambda x: torch.var(x, correction=0), "reduce_std": lambda x: torch.std(x, correction=0),
        "mean_squared_error": nn.mse_loss, "huber": nn.huber_loss, "softmax_cross_entropy_loss": nn.cross_entropy,
    }
    if gate not in functions:
        return None
    xs = [torch.tensor(as_array(x)) for x in operands]
    moving = [x.requires_grad_() for i, x in enumerate(xs) if x.dtype == torch.float64 and GATES[gate].reaches(i)]
    value = functions[gate](*xs)
    if moving:
        value.backward(torch.ones_like(value))
    return value.detach().numpy(), [x.grad.numpy() if x.grad is not None else np.zeros(x.shape) for x in moving]


def equal(ours: tuple[Any, list[Any]], theirs: tuple[Any, list[Any]] | None) -> bool:
    if theirs is None:
        return True
    pairs = zip([ours[0], *ours[1]], [theirs[0], *theirs[1]], strict=True)
    return all(np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-6, atol=1e-300, equal_nan=True) for a,
               b in pairs)


def page(torch: str) -> Iterator[str]:
    """The tables of edges, engines and integers, with the versions that JAX and torch had."""
    yield "# What we promise of numbers"
    yield ""
    yield ("This page has the edge cases, the exceptions of engines, the rules of integers, and how exact the gates "
           "are. Tests write and check it.")
    yield ""
    yield "## At the edges"
    yield ""
    yield ("The table has values and gradients at ties, kinks, zeros and the ends of the range of floats, in float64."
           " The upstream gradient is 1, and attributes have their defaults (`polygamma` has n = 1, `clip` goes from "
           "-1 to 1). Operands are exact, results have 6 digits. Where JAX or torch gives something else, its result "
           "stands beside ours, with our reason. A value or slope is NaN, although it has a limit, where computing the "
           "limit would make all other points more than 3 % slower: the values of `softsign` and of `hard_swish` at "
           "-∞, the slopes of `gelu` at ±∞ and "
           "that of `hypot` in an infinite operand. `tests/test_conventions.py` checks the table.")
    yield ""
    yield f"JAX {jax.__version__}, torch {torch}."
    yield ""
    yield "| gate | operands | value | gradients | JAX | torch | why we differ |"
    yield "|---|---|---|---|---|---|---|"
    places = {gate: i for i, (gate, *_) in reversed(list(enumerate(POINTS)))}
    for gate, operands, value, gradients in sorted(POINTS, key=lambda point: places[point[0]]):
        ours = pull(gate, *operands)
        others = [in_jax(gate, operands), in_torch(gate, operands)]
        shown = ["" if equal(ours, theirs) else f"{_said(theirs[0])}; {_list(theirs[1])}" for theirs in others]
        yield " | ".join([f"| {gate}", _given(operands), _said(value), _list(gradients), *shown,
                          reason(gate, operands) if any(shown) else "",
                          ""]).rstrip()
    yield ""
    yield "## On every engine"
    yield ""
    yield ("These keep the promises to 2e-15: the interpreter on arrays of NumPy, torch and JAX, staged code on "
           "floats, arrays and rows, tapes, the engine jax, exported Python, and gradients as documents. "
           "`tests/test_conformance.py` checks them at every point. Tapes and staged code over rows refuse gates of "
           "arrays, and a tape refuses `lgamma` and `polygamma`. JAX arrays and the engine jax have these exceptions:")
    yield ""
    yield "| gate | operands | why |"
    yield "|---|---|---|"
    for gate, operands, why in EXCEPTIONS:
        yield f"| {gate} | {_given(operands)} | {why} |"
    yield ""
    yield from section()


def _said(x: Any, number: Callable[[float], str] = "{:.6g}".format) -> str:
    array = np.asarray(x)
    if array.ndim:
        return "[" + ", ".join(_said(element, number) for element in array) + "]"
    return str(array[()]).lower() if array.dtype.kind == "b" else number(float(array[()]))


def _list(xs: Any) -> str:
    return ", ".join(map(_said, xs))


def _given(operands: Any) -> str:
    """With all digits: an operand may be the float beside a kink."""
    return ", ".join(_said(x, lambda number: repr(number).removesuffix(".0")) for x in operands)
