"""What people call gates elsewhere: NumPy, SciPy, torch, Keras, ONNX, operators and plain words.

The other names of a gate are in the note of its row. `RECIPES` has functions that need a gate with attributes, or
several gates. Documents, expressions, the catalogue and tracing all suggest by this one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import MappingProxyType

from circuitflow.gates.record import GateTable
from circuitflow.gates.table import GATES
from circuitflow.text import nearest

_CLOSE = 0.75
"""Least similarity of a word to a gate's name at which it counts as a misspelling of it."""


KINDS: Mapping[str, str] = MappingProxyType({
    "input": "placeholder feed data_input arg argument",
    "parameter": "param weight trainable learnable",
    "constant": "const literal number value full fill zeros ones empty eye arange range linspace logspace tri "
                "constant_of_shape",
    "call": "subcircuit function module subgraph",
    "checkpoint": "remat rematerialize",
    "scan": "loop for while while_loop fori_loop rnn lstm gru foreach",
    "if": "cond conditional",
})
"""Other names of the kinds of nodes that are no gates."""

_SEVERAL: Mapping[str, str] = {
    "sum total": "reduce_sum(x) or add(x, y)",
    "product": "reduce_prod(x) or mul(x, y)",
    "^": "pow(x, y) or xor(x, y)",
    "variable": "input or parameter",
}

_EXACT: Mapping[str, str] = {
    "not_equal ne neq != <> ≠": "~(x == y)",
    "exp2": "2.0 ** x",
    "exp10": "10.0 ** x",
    "log2 lb": "log(x) / 0.6931471805599453",
    "log10 lg": "log(x) / 2.302585092994046",
    "logaddexp2": "log_add_exp(x * 0.6931471805599453, y * 0.6931471805599453) / 0.6931471805599453",
    "cbrt cube_root": "sign(x) * abs(x) ** 0.3333333333333333",
    "cube cubed": "x ** 3",
    "rsqrt inverse_sqrt": "1 / sqrt(x)",
    "isfinite": "~(is_nan(x) | is_inf(x))",
    "isposinf": "is_inf(x) & (x > 0)",
    "isneginf": "is_inf(x) & (x < 0)",
    "trunc fix truncate": "sign(x) * floor(abs(x))",
    "frac": "x - sign(x) * floor(abs(x))",
    "fmod": "sign(x) * mod(abs(x), abs(y))",
    "deg2rad radians": "x * 0.017453292519943295",
    "rad2deg degrees": "x * 57.29577951308232",
    "heaviside step unit_step": "where(x == 0, y, (sign(x) + 1) / 2)",
    "fmax": "where(is_nan(x), y, where(is_nan(y), x, max(x, y)))",
    "fmin": "where(is_nan(x), y, where(is_nan(y), x, min(x, y)))",
    "cosm1": "-2 * square(sin(x / 2))",
    "ndtr normal_cdf": "erfc(x * -0.7071067811865476) / 2",
    "psi digamma": "polygamma(x, n=0)",
    "logit": "log(x) - log1p(-x)",
    "xlogy multiply_log": "mul_no_nan(x, log(where(x == 0, 1.0, y)))",
    "xlog1py": "mul_no_nan(x, log1p(where(x == 0, 0.0, y)))",
    "vecdot": "reduce_sum(x * y, axis=-1)",
    "matvec mv": "squeeze(x @ unsqueeze(y, axis=-1), axis=-1)",
    "vecmat": "squeeze(unsqueeze(x, axis=-2) @ y, axis=-2)",
}
"""Recipes that equal the named function wherever it is defined."""

_OTHERS: Mapping[str, str] = {
    "floor_divide floordiv int_div //": "floor(x / y)  # to the rounding of x / y",
    "betaln": "lgamma(x) + lgamma(y) - lgamma(x + y)  # for x and y above 0",
    "log_base": "log(x) / log(y)",
    "copysign": "where(y < 0, -abs(x), abs(x))  # where y is not -0",
    "signbit": "x < 0  # where x is not -0",
    "ldexp": "x * 2.0 ** y  # of floats",
    "gamma": "exp(lgamma(x))  # for x above 0",
    "factorial": "exp(lgamma(x + 1))  # for x above -1",
    "beta": "exp(lgamma(x) + lgamma(y) - lgamma(x + y))  # for x and y above 0",
    "binom comb": "exp(lgamma(x + 1) - lgamma(y + 1) - lgamma(x - y + 1))  # for x above y above 0",
    "multigammaln mvlgamma": "lgamma(x) + lgamma(x - 0.5) + 0.5723649429247001  # of order 2",
    "poch": "exp(lgamma(x + y) - lgamma(x))  # for x and x + y above 0",
    "entr": "-mul_no_nan(x, log(x))  # where x is not below 0",
    "rel_entr": "mul_no_nan(x, log(x / y))  # for x and y above 0",
    "kl_div": "mul_no_nan(x, log(x / y)) - x + y or reduce_mean(y * (log(y) - x))  # as SciPy and as torch have it",
    "erfcx": "exp(square(x)) * erfc(x)  # for x below 26",
    "rgamma": "exp(-lgamma(x))  # for x above 0",
    "rsub": "y - x",
    "divide_no_nan": "where(y == 0, 0.0, x / where(y == 0, 1.0, y))",
    "exprel": "expm1(x) / x  # where x is not 0",
    "powm1": "expm1(y * log(x))  # for x above 0",
    "boxcox": "(x ** y - 1) / y  # where y is not 0",
    "boxcox1p": "((1 + x) ** y - 1) / y  # where y is not 0",
    "inv_boxcox": "(x * y + 1) ** (1 / y)  # where y is not 0",
    "pseudo_huber": "square(x) * (sqrt(1 + square(y / x)) - 1)  # x is delta",
    "sindg": "sin(x * 0.017453292519943295)",
    "cosdg": "cos(x * 0.017453292519943295)",
    "tandg": "tan(x * 0.017453292519943295)",
    "sec": "1 / cos(x)",
    "csc cosec": "1 / sin(x)",
    "cot cotangent": "1 / tan(x)",
    "coth": "1 / tanh(x)",
    "sech": "1 / cosh(x)",
    "csch": "1 / sinh(x)",
    "divmod": "floor(x / y)  # and mod(x, y)",
    "modf": "x - sign(x) * floor(abs(x))  # and sign(x) * floor(abs(x))",
    "isclose": "abs(x - y) <= 1e-08 + 1e-05 * abs(y)",
    "allclose": "reduce_min(where(abs(x - y) <= 1e-08 + 1e-05 * abs(y), 1, 0)) == 1",
    "nan_to_num": "where(is_nan(x), 0.0, x)  # and infinities by clip",
    "imag": "zeros_like(x)  # numbers are real",
    # arrays
    "any reduce_any": "reduce_max(where(x, 1, 0)) == 1  # of booleans",
    "all reduce_all": "reduce_min(where(x, 1, 0)) == 1  # of booleans",
    "count_nonzero": "reduce_sum(where(x == 0, 0.0, 1.0))",
    "nansum": "reduce_sum(where(is_nan(x), 0.0, x))",
    "nanprod": "reduce_prod(where(is_nan(x), 1.0, x))",
    "nanmean": "reduce_sum(where(is_nan(x), 0.0, x)) / reduce_sum(where(is_nan(x), 0.0, 1.0))",
    "nancumsum": "cum_sum(where(is_nan(x), 0.0, x))",
    "nancumprod": "cum_prod(where(is_nan(x), 1.0, x))",
    "ptp": "reduce_max(x) - reduce_min(x)",
    "aminmax": "reduce_min(x)  # and reduce_max(x)",
    "var": "reduce_var(x)  # in torch reduce_var(x, ddof=1)",
    "std": "reduce_std(x)  # in torch reduce_std(x, ddof=1)",
    "var_mean": "reduce_var(x, ddof=1)  # and reduce_mean(x)",
    "std_mean": "reduce_std(x, ddof=1)  # and reduce_mean(x)",
    "moments": "reduce_mean(x)  # and reduce_var(x)",
    "diff ediff1d": "x[1:] - x[:-1]",
    "trapezoid trapz": "reduce_sum((x[1:] + x[:-1]) / 2)",
    "polyval": "(a * x + b) * x + c",
    "norm vector_norm": "reduce_l2(x) or reduce_l1(x)",
    "logsumexp": "reduce_log_sum_exp(x) or log_add_exp(x, y)",
    "reduce_log_sum": "log(reduce_sum(x))",
    "triu upper_triangle": "trilu(x, upper=True)",
    "tril lower_triangle": "trilu(x, upper=False)",
    "fliplr": "flip(x, axis=1)",
    "flipud": "flip(x, axis=0)",
    "rot90": "flip(transpose(x), axis=0)",
    "expand_dims": "unsqueeze(x, axis=0)",
    "atleast_1d": "reshape(x, shape=[-1])",
    "atleast_2d": "reshape(x, shape=[1, -1])",
    "atleast_3d": "reshape(x, shape=[1, -1, 1])",
    "column_stack": "stack(x, y, axis=1)",
    "repeat repeat_interleave": "tile(x, repeats=[2])  # or gather, to repeat each element in turn",
    "full_like": "ones_like(x) * 3.0",
    "empty_like": "zeros_like(x)",
    "masked_fill index_fill putmask where_fill": "where(condition, y, x)",
    "slice_inverse select_scatter index_copy": "slice_scatter(x, updates, start=1, stop=3)",
    "matrix_power": "x @ x",
    "lstsq": "solve(matrix_transpose(a) @ a, matrix_transpose(a) @ b)",
    "addbmm addr": "x + outer(a, b)",
    "addcmul": "x + a * b",
    "addcdiv": "x + a / b",
    "lerp": "x + w * (y - x)",
    "dist pairwise_distance": "reduce_l2(x - y, axis=-1)",
    "cosine_similarity": "reduce_sum(x * y) / (reduce_l2(x) * reduce_l2(y))",
    "normalize l2_normalize": "x / reduce_l2(x, axis=-1, keepdims=True)",
    "lp_normalization": "x / reduce_l2(x, axis=-1, keepdims=True)",
    "mean_variance_normalization": "layer_normalization(x, scale)",
    # layers, activations and losses
    "linear": "x @ w + b or identity(x)",
    "dense affine fully_connected": "x @ w + b or gemm(x, w, b, trans_b=True)",
    "bilinear": "einsum(x, w, y, equation='bi,kij,bj->bk')",
    "relu6": "clip(x, min=0, max=6)",
    "hardsigmoid": "hard_sigmoid(x)  # in torch hard_sigmoid(x, alpha=0.16666666666666666)",
    "hardtanh": "clip(x, min=-1, max=1)",
    "hardshrink shrink": "where(abs(x) > 0.5, x, 0.0)",
    "softshrink": "sign(x) * relu(abs(x) - 0.5)",
    "hardmax": "where(is_first_max(x, axis=-1), 1.0, 0.0)",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d": "global_average_pool(x)  # for an output of size 1",
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d": "global_max_pool(x)  # for an output of size 1",
    "tanhshrink": "x - tanh(x)",
    "threshold": "where(x > 1, x, 0.0)",
    "squareplus": "(x + sqrt(square(x) + 4)) / 2",
    "sparse_plus": "where(x < 1, where(x > -1, square(x + 1) / 4, 0.0), x)",
    "sparse_sigmoid": "clip((x + 1) / 2, min=0, max=1)",
    "softmin": "softmax(-x)",
    "glu": "a, b = split(x, axis=-1, sections=2); f = a * sigmoid(b)",
    "scaled_tanh": "a * tanh(b * x)",
    "clamp_min": "max(x, y)",
    "clamp_max": "min(x, y)",
    "gelu_tanh gelu_new": "gelu(x, approximate='tanh')",
    "l1_loss mae mean_absolute_error": "reduce_mean(abs(x - y))",
    "bce_with_logits binary_cross_entropy_with_logits sigmoid_cross_entropy_with_logits":
        "binary_cross_entropy(x, target, logits=True)",
    "categorical_cross_entropy": "-reduce_sum(target * log_softmax(x))",
    "hinge hinge_loss": "reduce_mean(relu(1 - x * y))",
    "soft_margin_loss": "reduce_mean(softplus(-x * y))",
    "margin_ranking_loss": "reduce_mean(relu(-y * (a - b)))",
    "poisson_nll_loss": "reduce_mean(exp(x) - y * x)",
    "gaussian_nll_loss": "reduce_mean(log(y) + square(x - a) / y) / 2",
}
"""Recipes for one use of a name, or under the condition that follows them."""

RECIPES: Mapping[str, str] = MappingProxyType(
    {name: recipe for names, recipe in _EXACT.items() for name in names.split()})
"""The exact recipes by every name, as expressions of x and y: tracing writes them down."""

UNLIKE = """
    argwhere ber cov cross custom_gradient eig erfi exp1 expi expn frexp geqrf geterr igamma igammac in_top_k isin
    iv linear_cross_entropy lu lu_solve median mode nanargmax nanargmin pinv rand rand_like randn randn_like resize
    rrelu shape sici
"""
"""Names of functions that no gate computes, and no recipe: the nearest spelling would mislead."""


def _key(word: str) -> str:
    """A name without module, capitals and underscores, for comparison."""
    last = word.strip().rpartition(".")[2] or word
    return re.sub(r"(?<=\w)[_\- ]|[_\- ](?=\w)", "", last.casefold() if last.isascii() else last)


@cache
def _table() -> Mapping[str, str]:
    """What to write for each name, by its key."""
    table: dict[str, str] = {}
    for names, recipe in (*_SEVERAL.items(), *_EXACT.items(), *_OTHERS.items()):
        table |= dict.fromkeys(map(_key, names.split()), recipe)
    for gate, row in GATES.items():
        for name in row.facets.note.names:
            table.setdefault(_key(name), gate)
    for kind, names in KINDS.items():
        table |= {_key(name): kind for name in names.split() if _key(name) not in table}
    return {_key(name): "" for name in UNLIKE.split()} | table


def instead(word: str, vocabulary: Collection[str]) -> str | None:
    """A clause with the name here for a name from elsewhere, with or without its module.

    `vocabulary` has the gates, and the kinds of nodes where those may stand. "" where nothing here computes that; None
    for a word that is no such name.
    """
    remedy = _table().get(_key(word))
    if remedy is None:
        return None
    text, _, remark = remedy.partition("  # ")
    choices = [choice for choice in text.split(" or ") if choice in vocabulary or _is_expression(choice, vocabulary)]
    if not text or not choices:
        return ""
    if all(choice in vocabulary for choice in choices):
        return f"; here it is called {' or '.join(map(repr, choices))}"
    return f"; write {' or '.join(choices)}" + (f", {remark}" if remark else "")


def _is_expression(choice: str, vocabulary: Collection[str]) -> bool:
    """Whether a choice is an expression of gates that there are."""
    return not choice.isidentifier() and all(name in vocabulary for name in names_in(choice))


def of_elements(name: str, operands: int, table: GateTable) -> str:
    """A clause with the gate for the elements of one operand, where a gate of several operands has a single one."""
    other = table[name].facets.note.elements if operands == 1 and name in table else ""
    return f"; did you mean '{other}'?" if other in table else ""


def names_in(text: str) -> list[str]:
    """The gates that an expression, or a clause with expressions, applies by their names."""
    return re.findall(r"\b([a-z]\w*)\(", text)


def suggestion(word: str, vocabulary: Collection[str],
               near: Callable[[str, Collection[str], float], str] = nearest) -> str:
    """A clause with the remedy for an unknown gate; `near` gives the nearest right spelling among the `vocabulary`."""
    remedy = instead(word, vocabulary)
    return (near(word, vocabulary, _CLOSE) if remedy is None else remedy) or "; `circuitflow gates` lists them"
