"""What the catalogue says of a gate beside its row: how its gradient flows, what holds at kinks, other names of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["NOTES", "Note"]

_CLAUSE = re.compile(r"[^,;]+[,;]?")
_NAME = re.compile(r"{([\w.]+)}")


class Note(NamedTuple):
    """Words for the catalogue and for explanations.

    `gradient` and `words` have names in braces: `{g}` is the upstream gradient, `{out}` the output, `{operands}` and
    `{all}` the operands of a gate that takes any number; operands and attributes have their own names. Of several
    outputs it is `{g.name}`.

    Attributes:
        gradient: the backward rule as a formula for each operand.
        kinks: the conventions where the function has no derivative, or its formula no value.
        onnx: the ONNX operator, or "".
        numpy: the functions in NumPy or SciPy, or "".
        also: what it is called in torch, Keras and elsewhere, by operators and in plain words, separated by spaces.
        words: the rule as a clause that the gate's name begins, for those who read no formulas, or "".
        routes: whether the gradient goes to some of the operands and not to others.
    """

    gradient: str
    kinks: str = ""
    onnx: str = ""
    numpy: str = ""
    also: str = ""
    words: str = ""
    routes: bool = False


def told(text: str, names: Mapping[str, str] | None = None) -> str:
    """A rule with names in place of those in braces: a gate's own, as in the catalogue, or those of a circuit.

    Args:
        text: `gradient` or `words` of a note.
        names: what each name in braces stands for. A clause about an operand that is left out is left out.
    """
    if names is None:
        return _NAME.sub(lambda found: _FORMAL.get(found[1], found[1].replace(".", "_")), text)
    clauses = [clause for clause in _CLAUSE.findall(text) if all(name in names for name in _NAME.findall(clause))]
    return _NAME.sub(lambda found: names[found[1]], "".join(clauses)).strip(" ,;")


_FORMAL = {"operands": "every operand", "all": "the operands"}
_NONE = "none flows"
_FIRST = "of several equal ones the first takes all of it; with ties: share they split it; a NaN output goes to the NaN"

_NORMALIZED = ("(h - avg h - z avg(h z)) / deviation to {x}, h = {scale} · {g}, z = {x} normalized; "
               "the sum of {g} z to {scale}")
_BIAS = "; the sum of {g} to {bias}"

NOTES: dict[str, Note] = {
    # arithmetic
    "add": Note("{g} to {operands}", onnx="Add", numpy="add", also="plus addition +",
                words="passes its gradient to every operand unchanged"),
    "sub": Note("{g} to {x}, -{g} to {y}", onnx="Sub", numpy="subtract", also="minus difference subtraction -",
                words="passes its gradient to {x} unchanged, and to {y} with the sign turned"),
    "mul": Note("{g} times the product of the others, to {operands}",
                kinks="exact where operands are 0, also beside others whose product overflows",
                onnx="Mul", numpy="multiply", also="times hadamard * · × ⋅ ∗",
                words="sends each operand the gradient times all other operands"),
    "div": Note("{g} / {y} to {x}, -{g} · {out} / {y} to {y}", kinks="a gradient of 0 stays 0 where y is 0",
                onnx="Div", numpy="divide", also="divided_by true_divide quotient over ratio truediv / ÷",
                words="sends {x} the gradient divided by {y}, and {y} the part by which a larger {y} shrinks the "
                      "quotient"),
    "neg": Note("-{g} to {x}", onnx="Neg", numpy="negative",
                also="unary_minus negate negation opposite additive_inverse", words="turns the sign of its gradient"),
    "reciprocal": Note("-{g} · {out}² to {x}", kinks="a gradient of 0 stays 0 where x is 0", onnx="Reciprocal",
                       numpy="reciprocal", also="inverse_of one_over multiplicative_inverse",
                       words="scales its gradient by minus the square of its output"),
    "pow": Note("{g} · {y} · {x}^({y} - 1) to {x}, {g} · {out} · ln {x} to {y}",
                kinks="0 in x where the exponent is 0; NaN in y for x < 0", onnx="Pow", numpy="power",
                also="float_power exponentiate raise to_the_power powi powf **",
                words="scales its gradient by the slope of the power: exponent times base to one power less"),
    "sqrt": Note("{g} / (2 {out}) to {x}", kinks="infinite at 0, but a gradient of 0 stays 0", onnx="Sqrt",
                 numpy="sqrt", also="square_root root √", words="divides its gradient by twice its output"),
    "square": Note("2 {g} {x} to {x}", numpy="square", also="squared sqr sq ²",
                   words="scales its gradient by twice its operand"),
    "hypot": Note("{g} · {x} / {out} to {x}, {g} · {y} / {out} to {y}", kinks="0 at the origin", numpy="hypot",
                  also="hypotenuse"),
    "mod": Note("{g} to {x}, -{g} ⌊{x} / {y}⌋ to {y}", kinks="as between the jumps", onnx="Mod", numpy="remainder",
                also="modulo modulus floor_mod remainder rem %"),
    "floor": Note(_NONE, kinks="0 also at the jumps", onnx="Floor", numpy="floor", also="round_down"),
    "ceil": Note(_NONE, kinks="0 also at the jumps", onnx="Ceil", numpy="ceil", also="ceiling round_up"),
    "round": Note(_NONE, kinks="0 also at the jumps; halves go to the even number", onnx="Round", numpy="round",
                  also="rint around nearest_integer"),
    "mean": Note("{g} / n to {operands}", onnx="Mean", words="sends every operand an equal share of its gradient"),
    "abs": Note("{g} · sign {x} to {x}", kinks="0 at 0", onnx="Abs", numpy="abs",
                also="absolute fabs absolute_value magnitude",
                words="passes its gradient on with the sign of its operand"),
    "sign": Note(_NONE, kinks="0 also at 0", onnx="Sign", numpy="sign", also="sgn signum"),
    "max": Note("{g} to the one of {all} that equals {out}", kinks=_FIRST, onnx="Max", numpy="maximum",
                words="routes its gradient to the largest operand", routes=True),
    "min": Note("{g} to the one of {all} that equals {out}", kinks=_FIRST, onnx="Min", numpy="minimum",
                words="routes its gradient to the smallest operand", routes=True),
    "clip": Note("{g} to {x} where it is inside the bounds, else 0", kinks="1 at a bound", onnx="Clip", numpy="clip",
                 also="clamp clip_by_value saturate",
                 words="lets its gradient through inside the bounds and stops it outside"),
    "mul_no_nan": Note("as mul, by the same gate: {g} times {y} to {x}, {x} times {g} to {y}",
                       kinks="0 · ∞ and 0 · NaN are 0 where the 0 is x", also="multiply_no_nan"),
    "mul_div_no_nan": Note("{g} · {y} / {z} to {x}, {g} · {x} / {z} to {y}, -{g} · {out} / {z} to {z}",
                           kinks="infinite or NaN where z is 0", also="div_no_nan"),
    "identity": Note("{g} to {x}", onnx="Identity",
                     also="positive conj conjugate real resolve_conj conj_physical clone copy noop"
                          "linear_activation id", words="passes its gradient on unchanged"),
    "stop_gradient": Note(_NONE, also="detach no_grad stop_grad freeze", words="lets no gradient through"),
    # exponential
    "exp": Note("{g} · {out} to {x}", kinks="a gradient of 0 stays 0 where out is infinite", onnx="Exp", numpy="exp",
                also="exponential exponent e^x", words="scales its gradient by its own output"),
    "expm1": Note("{g} · e^{x} to {x}", kinks="exact far below 0", numpy="expm1", also="exp_minus_1"),
    "log": Note("{g} / {x} to {x}", kinks="infinite at 0, but a gradient of 0 stays 0", onnx="Log", numpy="log",
                also="ln natural_log loge logarithm", words="divides its gradient by its operand"),
    "log1p": Note("{g} / (1 + {x}) to {x}", kinks="infinite at -1, but a gradient of 0 stays 0", numpy="log1p",
                  also="log_plus_1"),
    "log_add_exp": Note("{g} · e^({x} - {out}) to {x}, {g} · e^({y} - {out}) to {y}",
                        kinks="half each where both are equally infinite", numpy="logaddexp"),
    "erf": Note("{g} · 2/√π · e^-{x}² to {x}", onnx="Erf", numpy="scipy.special.erf", also="error_function"),
    "erfc": Note("-{g} · 2/√π · e^-{x}² to {x}", numpy="scipy.special.erfc", also="complementary_error_function"),
    "lgamma": Note("{g} · polygamma({x}), n = 0 to {x}", kinks="-∞ at 0, the side where it is defined",
                   numpy="scipy.special.gammaln", also="log_gamma"),
    "polygamma": Note("{g} times the next polygamma at {x} to {x}", numpy="scipy.special.polygamma"),
    # trigonometric
    "sin": Note("{g} · cos {x} to {x}", onnx="Sin", numpy="sin", also="sine"),
    "cos": Note("-{g} · sin {x} to {x}", onnx="Cos", numpy="cos", also="cosine"),
    "tan": Note("{g} · (1 + {out}²) to {x}", onnx="Tan", numpy="tan", also="tangent tg"),
    "asin": Note("{g} / √(1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0", onnx="Asin",
                 numpy="arcsin", also="arc_sin arcsine"),
    "acos": Note("-{g} / √(1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0", onnx="Acos",
                 numpy="arccos", also="arc_cos arccosine"),
    "atan": Note("{g} / (1 + {x}²) to {x}", onnx="Atan", numpy="arctan", also="arc_tan arctg arctangent"),
    "atan2": Note("{g} · {x} / r² to {y}, -{g} · {y} / r² to {x}, r² = {x}² + {y}²",
                  kinks="0 at the origin; no square leaves the range", numpy="arctan2", also="arctan_2"),
    "sinh": Note("{g} · cosh {x} to {x}", onnx="Sinh", numpy="sinh", also="sh"),
    "cosh": Note("{g} · sinh {x} to {x}", onnx="Cosh", numpy="cosh", also="ch"),
    "tanh": Note("{g} · (1 - {out}²) to {x}", kinks="by 1 / cosh², exact where the output is rounded to ±1",
                 onnx="Tanh", numpy="tanh", also="th tanhf",
                 words="scales its gradient by 1 - {out}²: all of it at 0, almost 0 where it is saturated"),
    "asinh": Note("{g} / √(1 + {x}²) to {x}", kinks="no square leaves the range", onnx="Asinh", numpy="arcsinh",
                  also="arsinh"),
    "acosh": Note("{g} / √({x}² - 1) to {x}", kinks="infinite at 1, but a gradient of 0 stays 0", onnx="Acosh",
                  numpy="arccosh", also="arcosh"),
    "atanh": Note("{g} / (1 - {x}²) to {x}", kinks="infinite at ±1, but a gradient of 0 stays 0", onnx="Atanh",
                  numpy="arctanh", also="artanh"),
    "sinc": Note("{g} · (cos π{x} - {out}) / {x} to {x}", kinks="by a series near 0, exact there; 0 at integers",
                 numpy="sinc"),
    # activations
    "sigmoid": Note("{g} · {out} (1 - {out}) to {x}",
                    kinks="1 - out by 1 / (1 + e^x), exact where the output is rounded to 1", onnx="Sigmoid",
                    numpy="scipy.special.expit", also="logistic expit sigma σ",
                    words="scales its gradient by {out} (1 - {out}): a quarter at most, almost 0 where it is "
                          "saturated"),
    "relu": Note("{g} to {x} where it is above 0, else 0", kinks="0 at 0", onnx="Relu", also="rectifier ramp",
                 words="lets its gradient through where its operand is above 0 and stops it elsewhere"),
    "softplus": Note("{g} · σ({x}) to {x}", kinks="exact at ±1000", onnx="Softplus",
                     words="scales its gradient by the sigmoid of its operand"),
    "softmax": Note("{out} · ({g} - Σ {g} {out}) to {x}", kinks="shifted by the largest, so nothing overflows",
                    onnx="Softmax", numpy="scipy.special.softmax",
                    words="sends each score what is above the average of the gradient, weighted by the probability"),
    "log_softmax": Note("{g} - softmax({x}) · Σ {g} to {x}", kinks="shifted by the largest, so nothing overflows",
                        onnx="LogSoftmax", numpy="scipy.special.log_softmax"),
    "log_sigmoid": Note("{g} · σ(-{x}) to {x}", kinks="exact at ±1000", numpy="scipy.special.log_expit",
                        also="log_expit"),
    "leaky_relu": Note("{g} to {x} where it is above 0, {alpha} {g} elsewhere", kinks="alpha at 0", onnx="LeakyRelu"),
    "prelu": Note("{g} to {x} where it is above 0, {slope} · {g} elsewhere; {g} · {x} to {slope} where {x} is not "
                  "above 0", kinks="the slope at 0", onnx="PRelu"),
    "elu": Note("{g} to {x} where it is above 0, {alpha} e^{x} {g} elsewhere", kinks="alpha at 0", onnx="Elu"),
    "selu": Note("λ {g} to {x} where it is above 0, λ α e^{x} {g} elsewhere", kinks="λ α at 0", onnx="Selu"),
    "celu": Note("{g} to {x} where it is above 0, e^({x}/{alpha}) {g} elsewhere", kinks="1 at 0", onnx="Celu"),
    "gelu": Note("{g} · (Φ({x}) + {x} φ({x})) to {x}", kinks="by erfc, exact far below 0", onnx="Gelu"),
    "softsign": Note("{g} / (1 + |{x}|)² to {x}", kinks="1 at 0", onnx="Softsign"),
    "swish": Note("{g} · (s + {alpha} {x} s (1 - s)) to {x}, s = σ({alpha} {x})", onnx="Swish", also="silu"),
    "mish": Note("{g} · (t + {x} (1 - t²) σ({x})) to {x}, t = tanh(softplus {x})", onnx="Mish"),
    "hard_sigmoid": Note("{alpha} {g} to {x} on the line, else 0", kinks="alpha at both ends", onnx="HardSigmoid"),
    "hard_swish": Note("to {x} 0 up to -3, {g} from 3 on, {g} ({x}/3 + 1/2) between", kinks="0 at -3, 1 at 3",
                       onnx="HardSwish", also="hard_silu"),
    "thresholded_relu": Note("{g} to {x} where it is above {alpha}, else 0", kinks="0 at the threshold",
                             onnx="ThresholdedRelu"),
    # logic
    "equal": Note(_NONE, onnx="Equal", numpy="equal", also="eq equals is_equal =="),
    "equal_nan": Note(_NONE, kinks="NaN equals NaN"),
    "less": Note(_NONE, onnx="Less", numpy="less", also="lt less_than <"),
    "less_or_equal": Note(_NONE, onnx="LessOrEqual", numpy="less_equal", also="le lte leq less_than_or_equal <= ≤"),
    "greater": Note(_NONE, onnx="Greater", numpy="greater", also="gt greater_than >"),
    "greater_or_equal": Note(_NONE, onnx="GreaterOrEqual", numpy="greater_equal",
                             also="ge gte geq greater_than_or_equal >= ≥"),
    "and": Note(_NONE, onnx="And", numpy="logical_and", also="bitwise_and & && ∧"),
    "or": Note(_NONE, onnx="Or", numpy="logical_or", also="bitwise_or | || ∨"),
    "xor": Note(_NONE, onnx="Xor", numpy="logical_xor", also="bitwise_xor exclusive_or ⊕"),
    "not": Note(_NONE, onnx="Not", numpy="logical_not",
                also="invert bitwise_not bitwise_invert logical_negation ~ ! ¬"),
    "is_nan": Note(_NONE, onnx="IsNaN", numpy="isnan"),
    "is_inf": Note(_NONE, onnx="IsInf", numpy="isinf", also="is_infinite"),
    "where": Note("{g} to {x} where {condition} is true, to {y} elsewhere",
                  kinks="what the other branch computes never leaks, infinite or NaN", onnx="Where", numpy="where",
                  also="select if_else ternary iff choose piecewise switch",
                  words="routes its gradient to the operand that was chosen"),
    # reductions
    "reduce_sum": Note("{g}, spread over the axes, to {x}", kinks="float32 is accumulated in float64",
                       onnx="ReduceSum", numpy="sum", also="sum_over Σ ∑",
                       words="sends its gradient to everything that it added up"),
    "reduce_mean": Note("{g} / n, spread over the axes, to {x}", kinks="NaN of no elements", onnx="ReduceMean",
                        numpy="mean", also="average avg",
                        words="sends an equal share of its gradient to everything that it averaged"),
    "reduce_prod": Note("{g} times the product of all others to {x}", kinks="exact where elements are 0",
                        onnx="ReduceProd", numpy="prod", also="reduce_product Π ∏"),
    "reduce_max": Note("{g} goes to the element of {x} that equals {out}", kinks=_FIRST, onnx="ReduceMax", numpy="max",
                       also="amax", words="routes its gradient to the largest element"),
    "reduce_min": Note("{g} goes to the element of {x} that equals {out}", kinks=_FIRST, onnx="ReduceMin", numpy="min",
                       also="amin", words="routes its gradient to the smallest element"),
    "reduce_l1": Note("{g} · sign {x} to {x}", kinks="0 at 0", onnx="ReduceL1", also="l1_norm"),
    "reduce_l2": Note("{g} · {x} / {out} to {x}", kinks="0 where the norm is 0; no square leaves the range",
                      onnx="ReduceL2", numpy="linalg.vector_norm",
                      also="l2_norm matrix_norm euclidean_norm frobenius_norm length"),
    "reduce_sum_square": Note("2 {g} {x} to {x}", onnx="ReduceSumSquare", also="sum_of_squares"),
    "reduce_log_sum_exp": Note("{g} · softmax({x}) to {x}", kinks="shifted by the largest, so nothing overflows",
                               onnx="ReduceLogSumExp", numpy="scipy.special.logsumexp", also="lse"),
    "reduce_var": Note("2 {g} ({x} - its mean) / (n - {ddof}) to {x}", numpy="var", also="variance reduce_variance"),
    "reduce_std": Note("{g} ({x} - its mean) / ({out} (n - {ddof})) to {x}", kinks="0 where all values are equal",
                       numpy="std", also="stddev standard_deviation"),
    "arg_max": Note(_NONE, kinks="the first of several", onnx="ArgMax", numpy="argmax"),
    "arg_min": Note(_NONE, kinks="the first of several", onnx="ArgMin", numpy="argmin"),
    "is_first_max": Note(_NONE, kinks="a NaN counts as the largest"),
    "sum_to_like": Note("{g}, spread over the axes, to {x}", also="unbroadcast"),
    "size": Note(_NONE, numpy="size", also="numel count"),
    # running
    "cum_sum": Note("the running sum of {g} in the opposite direction to {x}",
                    kinks="float32 is accumulated in float64", onnx="CumSum", numpy="cumulative_sum", also="cumsum"),
    "cum_prod": Note("the products of the others, summed as they run, times {g} to {x}",
                     kinks="exact where elements are 0", onnx="CumProd", numpy="cumulative_prod",
                     also="cumprod cumproduct"),
    # linear
    "matmul": Note("{g} @ {b}ᵀ to {a}, {a}ᵀ @ {g} to {b}", onnx="MatMul", numpy="matmul",
                   also="mm bmm dot inner vdot matrix_multiply mat_mul multi_dot @",
                   words="sends each operand the gradient times the other operand, transposed"),
    "transpose": Note("{g} with the axes put back to {x}", onnx="Transpose", numpy="transpose",
                      also="permute permute_dims moveaxis movedim swapaxes swapdims rollaxis t",
                      words="sends its gradient back with the axes put back"),
    "matrix_transpose": Note("{g}ᵀ to {x}", numpy="matrix_transpose", also="mt adjoint matrix_adjoint"),
    "gemm": Note("{alpha} {g} @ {b}ᵀ to {a}, {alpha} {a}ᵀ @ {g} to {b}, {beta} {g} to {c}", onnx="Gemm",
                 also="addmm baddbmm addmv"),
    "outer": Note("{g} @ {b} to {a}, {a} @ {g} to {b}", numpy="outer", also="ger tensor_product"),
    "einsum": Note("the sum of products of {g} and all others to {operands}", onnx="Einsum", numpy="einsum",
                   also="tensordot"),
    "einsum_no_nan": Note("as einsum, by the same gate",
                          kinks="0 · ∞ and 0 · NaN are 0"),
    "diagonal": Note("{g} on the diagonal of {x}, zeros elsewhere", numpy="diagonal", also="diag diag_part"),
    "diagonal_like": Note("the diagonal of {g} to {x}", numpy="diagflat", also="diag_embed"),
    "trace": Note("{g} on the diagonal of {x}", numpy="trace"),
    "det": Note("{g} times the cofactors of {x}", kinks="exact for singular matrices", onnx="Det", numpy="linalg.det",
                also="determinant"),
    "cofactor": Note("the derivative of the cofactors of {x} in the direction {g} to {x}; to {along} too",
                     kinks="exact for singular matrices; with a direction it needs an inverse where it is "
                           "differentiated by {x}"),
    "slogdet": Note("the inverse of {x}, transposed, times {g.logabsdet}", kinks="none by the sign",
                    numpy="linalg.slogdet", also="logdet"),
    "inv": Note("-{out}ᵀ {g} {out}ᵀ to {x}", onnx="Inverse", numpy="linalg.inv", also="inverse matrix_inverse"),
    "solve": Note("{a}⁻ᵀ {g} to {b}, minus that times {out}ᵀ to {a}", numpy="linalg.solve",
                  also="linsolve linear_solve"),
    "cholesky": Note("L⁻ᵀ Φ(Lᵀ {g}) L⁻¹ to {x}, made symmetric; L is {out}, Φ the lower triangle with half the "
                     "diagonal", kinks="of the mean of x and its transpose", numpy="linalg.cholesky"),
    "eigh": Note("v (diag {g.eigenvalues} + F ∘ vᵀ {g.eigenvectors}) vᵀ to {x}, made symmetric; v are the "
                 "eigenvectors, F has 1 / (λ_j - λ_i)",
                 kinks="among equal eigenvalues that of v f(λ) vᵀ, NaN for what depends on the choice of vectors or is "
                       "more than one such function; the first large component of a vector is positive",
                 numpy="linalg.eigh", also="eigvalsh"),
    "qr": Note("({g.q} + q copyltu(r {g.r}ᵀ - {g.q}ᵀ q)) r⁻ᵀ to {x}", kinks="the diagonal of r is positive",
               numpy="linalg.qr"),
    "svd": Note("u (F ∘ …) vh to {x}, as Townsend has it; F has 1 / (s_j² - s_i²)",
                kinks="among equal values that of u f(s) vh, NaN for what depends on the choice of vectors or is more "
                      "than one such function; the first large component of a column of u is positive",
                numpy="linalg.svd", also="svdvals"),
    # layout
    "reshape": Note("{g} in the shape of {x}", onnx="Reshape", numpy="reshape", also="view ravel unflatten newshape",
                    words="sends its gradient back in the old shape"),
    "reshape_like": Note("{g} in the shape of {x}", numpy="reshape", also="view_as reshape_as"),
    "expand": Note("{g}, summed over what was stretched, to {x}", onnx="Expand", numpy="broadcast_to",
                   also="broadcast"),
    "expand_like": Note("{g}, summed over what was stretched, to {x}", numpy="broadcast_to", also="expand_as"),
    "concat": Note("the part of {g} that came from it to {operands}", onnx="Concat", numpy="concatenate",
                   also="cat concatenate hstack append join dstack"),
    "slice": Note("{g} in its place among zeros to {x}", onnx="Slice", also="narrow getitem slicing"),
    "slice_scatter": Note("{g} to {x}, but 0 where it was replaced; that part of {g} to {updates}",
                          also="slice_update"),
    "slice_like": Note("{g} in its place among zeros to the first of {all}"),
    "pad_like": Note("the part of {g} where it stands to the first of {all}"),
    "split": Note("the gradients on the parts, joined, to {x}", kinks="0 for a part that has none", onnx="Split",
                  numpy="split",
                  also="chunk unbind unstack array_split tensor_split hsplit vsplit dsplit unpack split_with_sizes"),
    "stack": Note("its slice of {g} to {operands}", numpy="stack", also="vstack row_stack pack"),
    "flip": Note("{g} turned round again to {x}", numpy="flip", also="reverse"),
    "roll": Note("{g} shifted back to {x}", numpy="roll", also="circshift shift"),
    "tile": Note("{g}, summed over the repetitions, to {x}", onnx="Tile", numpy="tile"),
    "trilu": Note("the same triangle of {g} to {x}", onnx="Trilu", numpy="triu, tril"),
    "flatten": Note("{g} in the shape of {x}", onnx="Flatten"),
    "pad": Note("the part of {g} where {x} stands", onnx="Pad", numpy="pad", also="zero_pad zero_padding"),
    "unsqueeze": Note("{g} in the shape of {x}", onnx="Unsqueeze", numpy="expand_dims",
                      also="expand_dim add_axis newaxis"),
    "squeeze": Note("{g} in the shape of {x}", onnx="Squeeze", numpy="squeeze", also="drop_axis"),
    "cast": Note("{g} in the dtype of {x}, if both are floating-point", onnx="Cast", numpy="astype",
                 also="to_dtype astype type_as convert convert_type"),
    "cast_like": Note("{g} in the dtype of {x}, if both are floating-point", onnx="CastLike", numpy="astype"),
    "zeros_like": Note(_NONE, numpy="zeros_like", also="zeroslike"),
    "eye_like": Note(_NONE, onnx="EyeLike", numpy="eye"),
    "ones_like": Note(_NONE, numpy="ones_like"),
    # indexing
    "gather": Note("every slice of {g} added where it came from in {x}", kinks="repeated indices add up",
                   onnx="Gather", numpy="take", also="take index_select embedding lookup index embedding_lookup"),
    "scatter_add": Note("{g} to {x}; to {updates} the slices of {g} at {indices}", kinks="repeated indices add up",
                        numpy="add.at", also="index_add segment_sum"),
    "gather_elements": Note("every element of {g} added where it came from in {x}", kinks="repeated indices add up",
                            onnx="GatherElements", numpy="take_along_axis", also="take_along_dim"),
    "scatter_elements": Note("{g} to {x}, but 0 where it was replaced; to {updates} {g} at {indices}",
                             kinks="indices that are replaced must not repeat", onnx="ScatterElements",
                             numpy="put_along_axis", also="scatter put"),
    "gather_nd": Note("every slice of {g} added where it came from in {x}", kinks="repeated indices add up",
                      onnx="GatherND"),
    "scatter_nd": Note("{g} to {x}, but 0 where it was replaced; to {updates} {g} at {indices}",
                       kinks="indices that are replaced must not repeat", onnx="ScatterND",
                       also="index_put scatter_update tensor_scatter_update"),
    "top_k": Note("{g.values}, put where they came from in {x}", kinks="of equal elements the first", onnx="TopK",
                  also="kthlargest"),
    "arg_sort": Note(_NONE, kinks="equal elements keep their order", numpy="argsort"),
    "sort": Note("{g} put back where each came from in {x}", kinks="equal elements keep their order", numpy="sort",
                 also="msort"),
    "one_hot": Note(_NONE, kinks="zeros for an index out of range", onnx="OneHot", also="onehot_encode"),
    # convolution
    "unfold": Note("{g} folded back to {x}", numpy="lib.stride_tricks.sliding_window_view",
                   also="im2col extract_patches as_windows"),
    "fold": Note("{g} unfolded to {x}", onnx="Col2Im", also="col2im"),
    "conv": Note("{g} ⋆ᵀ {w} to {x}, the windows of {x} times {g} to {w}, the sum of {g} to {b}", onnx="Conv",
                 also="conv1d conv2d conv3d convolution convolve correlate cross_correlation depthwise_conv"),
    "conv_transpose": Note("{g} ⋆ {w} to {x}, the windows of {g} times {x} to {w}, the sum of {g} to {b}",
                           onnx="ConvTranspose",
                           also="conv_transpose1d conv_transpose2d conv_transpose3d conv1d_transpose "
                                "conv2d_transpose conv3d_transpose deconv deconvolution"),
    "max_pool": Note("{g} goes to the largest of each window of {x}", kinks="of several the first, in row-major order",
                     onnx="MaxPool", also="max_pool1d max_pool2d max_pool3d max_pooling"),
    "average_pool": Note("{g} / n to every element of a window of {x}",
                         kinks="what stands around x counts only if asked", onnx="AveragePool",
                         also="avg_pool avg_pool1d avg_pool2d avg_pool3d average_pooling mean_pool"),
    "global_max_pool": Note("{g} goes to the largest of a channel of {x}",
                            kinks="of several the first, in row-major order", onnx="GlobalMaxPool",
                            also="global_max_pooling adaptive_max_pool"),
    "global_average_pool": Note("{g} / n to every element of a channel of {x}", onnx="GlobalAveragePool",
                                also="global_avg_pool global_average_pooling"),
    # normalization
    "batch_normalization": Note("(h - avg h - z avg(h z)) / deviation to {x} in training mode, else h / deviation, "
                                "h = {scale} · {g}, z = {x} normalized; the sum of {g} z to {scale}; the sum of {g} to "
                                "{bias}; minus the sum of h / deviation to {mean} and of h z / (2 deviation²) to "
                                "{variance} outside of training mode", onnx="BatchNormalization",
                                also="batch_norm batch_norm1d batch_norm2d batch_norm3d"),
    "layer_normalization": Note(_NORMALIZED + _BIAS, kinks="0 where all are equal", onnx="LayerNormalization",
                                also="layer_norm"),
    "rms_normalization": Note("(h - z avg(h z)) / rms to {x}, h = {scale} · {g}, z = {x} normalized; the sum of {g} z "
                              "to {scale}", onnx="RMSNormalization", also="rms_norm"),
    "group_normalization": Note(f"as layer_normalization, group by group: {_NORMALIZED}{_BIAS}",
                                onnx="GroupNormalization", also="group_norm"),
    "instance_normalization": Note(f"as layer_normalization, channel by channel: {_NORMALIZED}{_BIAS}",
                                   onnx="InstanceNormalization", also="instance_norm"),
    # neural
    "dropout": Note("{g} to {x}, dropped and scaled in the same places", kinks="the same seed drops the same elements",
                    onnx="Dropout", also="dropout1d dropout2d dropout3d feature_dropout"),
    "attention": Note("the weightsᵀ times {g} to {v}; {g} times {v}ᵀ through the softmax and the scores to {q} and "
                      "{k}", kinks="a query that sees nothing gives 0", onnx="Attention",
                      also="scaled_dot_product_attention multi_head_attention multi_head_attention_forward "
                           "dot_product_attention"),
    "attention_weights": Note("{g} through the softmax and the scores to {q} and {k}",
                              kinks="a query that sees nothing gives 0"),
    # losses
    "mean_squared_error": Note("2 {g} ({x} - {target}) to {x}, averaged; the opposite to {target}",
                               also="mse mse_loss l2_loss", words="sends each side twice the difference, averaged"),
    "huber": Note("{g} times {x} - {target}, clipped to ±{delta}, to {x}; the opposite to {target}",
                  numpy="scipy.special.huber", also="huber_loss smooth_l1_loss smooth_l1"),
    "binary_cross_entropy": Note("{g} times the slope of the loss to {x}: σ({x}) - {target} for a logit, (1 - "
                                 "{target}) / (1 - {x}) - {target} / {x} for a probability; its slope in {target} to "
                                 "{target}", kinks="0 · ln 0 is 0", also="bce bce_loss binary_crossentropy log_loss"),
    "negative_log_likelihood_loss": Note("-{g} to {x} at {labels}", kinks="ignored labels send nothing",
                                         onnx="NegativeLogLikelihoodLoss", also="nll nll_loss"),
    "softmax_cross_entropy_loss": Note("{g} (softmax({x}) - 1 at {labels}) to {x}",
                                       kinks="ignored labels send nothing", onnx="SoftmaxCrossEntropyLoss",
                                       also="cross_entropy cross_entropy_loss sparse_categorical_crossentropy "
                                            "softmax_cross_entropy sparse_softmax_cross_entropy",
                                       words="sends the scores the probabilities minus 1 at the label"),
    "label_indicator": Note(_NONE, kinks="zeros for an ignored label"),
}
