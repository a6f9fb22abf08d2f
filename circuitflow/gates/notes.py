"""What the catalogue says of a gate beside its row: how its gradient flows, what holds at kinks, other names of it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["NOTES", "Note"]


class Note(NamedTuple):
    """Words for the catalogue.

    Attributes:
        gradient: the backward rule in words; g is the upstream gradient.
        kinks: the conventions where the function has no derivative, or its formula no value.
        onnx: the ONNX operator, or "".
        numpy: the function in NumPy or SciPy, or "".
    """

    gradient: str
    kinks: str = ""
    onnx: str = ""
    numpy: str = ""


_NONE = "none flows"
_ROUTED = "g goes to the operand that is the output"
_FIRST = "of several equal ones the first takes all of it; with ties: share they split it; a NaN output goes to the NaN"
_SAME = "g goes back in the old shape"
_MASKED = "g where x is above the bound"

NOTES: dict[str, Note] = {
    # arithmetic
    "add": Note("g to every operand", "", "Add", "add"),
    "sub": Note("g to x, -g to y", "", "Sub", "subtract"),
    "mul": Note("g times the product of all other operands", "exact where operands are 0", "Mul", "multiply"),
    "div": Note("g / y to x, -g · out / y to y", "a gradient of 0 stays 0 where y is 0", "Div", "divide"),
    "neg": Note("-g", "", "Neg", "negative"),
    "reciprocal": Note("-g · out²", "a gradient of 0 stays 0 where x is 0", "Reciprocal", "reciprocal"),
    "pow": Note("g · y · x^(y - 1) to x, g · out · ln x to y", "0 in x where the exponent is 0; NaN in y for x < 0",
                "Pow", "power"),
    "sqrt": Note("g / (2 out)", "infinite at 0, but a gradient of 0 stays 0", "Sqrt", "sqrt"),
    "square": Note("2 g x", "", "", "square"),
    "hypot": Note("g · x / out to x, g · y / out to y", "0 at the origin", "", "hypot"),
    "mod": Note("g to x, -g ⌊x / y⌋ to y", "as between the jumps", "Mod", "remainder"),
    "floor": Note(_NONE, "0 also at the jumps", "Floor", "floor"),
    "ceil": Note(_NONE, "0 also at the jumps", "Ceil", "ceil"),
    "round": Note(_NONE, "0 also at the jumps; halves go to the even number", "Round", "round"),
    "mean": Note("g / n to every operand", "", "Mean"),
    "abs": Note("g · sign x", "0 at 0", "Abs", "abs"),
    "sign": Note(_NONE, "0 also at 0", "Sign", "sign"),
    "max": Note(_ROUTED, _FIRST, "Max", "maximum"),
    "min": Note(_ROUTED, _FIRST, "Min", "minimum"),
    "clip": Note("g where x is inside the bounds, else 0", "1 at a bound", "Clip", "clip"),
    "mul_no_nan": Note("as mul, by the same gate", "0 · ∞ and 0 · NaN are 0 where the 0 is x"),
    "identity": Note("g", "", "Identity"),
    "stop_gradient": Note(_NONE),
    # exponential
    "exp": Note("g · out", "a gradient of 0 stays 0 where out is infinite", "Exp", "exp"),
    "expm1": Note("g · e^x", "exact far below 0", "", "expm1"),
    "log": Note("g / x", "infinite at 0, but a gradient of 0 stays 0", "Log", "log"),
    "log1p": Note("g / (1 + x)", "infinite at -1, but a gradient of 0 stays 0", "", "log1p"),
    "log_add_exp": Note("g times the share of each", "half each where both are equally infinite", "", "logaddexp"),
    "erf": Note("g · 2/√π · e^-x²", "", "Erf", "scipy.special.erf"),
    "erfc": Note("-g · 2/√π · e^-x²", "", "", "scipy.special.erfc"),
    "lgamma": Note("g · polygamma(x), n = 0", "-∞ at 0, the side where it is defined", "", "scipy.special.gammaln"),
    "polygamma": Note("g times the next polygamma", "", "", "scipy.special.polygamma"),
    # trigonometric
    "sin": Note("g · cos x", "", "Sin", "sin"),
    "cos": Note("-g · sin x", "", "Cos", "cos"),
    "tan": Note("g · (1 + out²)", "", "Tan", "tan"),
    "asin": Note("g / √(1 - x²)", "infinite at ±1, but a gradient of 0 stays 0", "Asin", "arcsin"),
    "acos": Note("-g / √(1 - x²)", "infinite at ±1, but a gradient of 0 stays 0", "Acos", "arccos"),
    "atan": Note("g / (1 + x²)", "", "Atan", "arctan"),
    "atan2": Note("g · x / r² to y, -g · y / r² to x", "0 at the origin; no square leaves the range", "", "arctan2"),
    "sinh": Note("g · cosh x", "", "Sinh", "sinh"),
    "cosh": Note("g · sinh x", "", "Cosh", "cosh"),
    "tanh": Note("g · (1 - out²)", "", "Tanh", "tanh"),
    "asinh": Note("g / √(1 + x²)", "no square leaves the range", "Asinh", "arcsinh"),
    "acosh": Note("g / √(x² - 1)", "infinite at 1, but a gradient of 0 stays 0", "Acosh", "arccosh"),
    "atanh": Note("g / (1 - x²)", "infinite at ±1, but a gradient of 0 stays 0", "Atanh", "arctanh"),
    "sinc": Note("g · (cos πx - out) / x", "by a series near 0, exact there", "", "sinc"),
    # activations
    "sigmoid": Note("g · out (1 - out)", "exact at ±1000", "Sigmoid", "scipy.special.expit"),
    "relu": Note("g where x is above 0, else 0", "0 at 0", "Relu"),
    "softplus": Note("g · σ(x)", "exact at ±1000", "Softplus"),
    "softmax": Note("out · (g - Σ g out)", "shifted by the largest, so nothing overflows", "Softmax",
                    "scipy.special.softmax"),
    "log_softmax": Note("g - softmax(x) · Σ g", "shifted by the largest, so nothing overflows", "LogSoftmax",
                        "scipy.special.log_softmax"),
    "log_sigmoid": Note("g · σ(-x)", "exact at ±1000", "", "scipy.special.log_expit"),
    "leaky_relu": Note("g above 0, alpha g elsewhere", "alpha at 0", "LeakyRelu"),
    "prelu": Note("g above 0, slope · g elsewhere; g x to the slope where x is not above 0", "the slope at 0", "PRelu",
                  ""),
    "elu": Note("g above 0, alpha e^x g elsewhere", "alpha at 0", "Elu"),
    "selu": Note("λ g above 0, λ α e^x g elsewhere", "λ α at 0", "Selu"),
    "celu": Note("g above 0, e^(x/alpha) g elsewhere", "1 at 0", "Celu"),
    "gelu": Note("g · (Φ(x) + x φ(x))", "by erfc, exact far below 0", "Gelu"),
    "softsign": Note("g / (1 + |x|)²", "1 at 0", "Softsign"),
    "swish": Note("g · (s + alpha x s (1 - s)), s = σ(alpha x)", "", "Swish"),
    "mish": Note("g · (t + x (1 - t²) σ(x)), t = tanh(softplus x)", "", "Mish"),
    "hard_sigmoid": Note("alpha g on the line, else 0", "alpha at both ends", "HardSigmoid"),
    "hard_swish": Note("0 up to -3, g from 3 on, g (x/3 + 1/2) between", "0 at -3, 1 at 3", "HardSwish"),
    "thresholded_relu": Note(_MASKED, "0 at the threshold", "ThresholdedRelu"),
    # logic
    "equal": Note(_NONE, "", "Equal", "equal"),
    "equal_nan": Note(_NONE, "NaN equals NaN"),
    "less": Note(_NONE, "", "Less", "less"),
    "less_or_equal": Note(_NONE, "", "LessOrEqual", "less_equal"),
    "greater": Note(_NONE, "", "Greater", "greater"),
    "greater_or_equal": Note(_NONE, "", "GreaterOrEqual", "greater_equal"),
    "and": Note(_NONE, "", "And", "logical_and"),
    "or": Note(_NONE, "", "Or", "logical_or"),
    "xor": Note(_NONE, "", "Xor", "logical_xor"),
    "not": Note(_NONE, "", "Not", "logical_not"),
    "is_nan": Note(_NONE, "", "IsNaN", "isnan"),
    "is_inf": Note(_NONE, "", "IsInf", "isinf"),
    "where": Note("g to the operand that was chosen, 0 to the other",
                  "what the other branch computes never leaks, infinite or NaN", "Where", "where"),
    # reductions
    "reduce_sum": Note("g, spread over the axes", "float32 is accumulated in float64", "ReduceSum", "sum"),
    "reduce_mean": Note("g / n, spread over the axes", "NaN of no elements", "ReduceMean", "mean"),
    "reduce_prod": Note("g times the product of all others", "exact where elements are 0", "ReduceProd", "prod"),
    "reduce_max": Note("g goes to the element that is the output", _FIRST, "ReduceMax", "max"),
    "reduce_min": Note("g goes to the element that is the output", _FIRST, "ReduceMin", "min"),
    "reduce_l1": Note("g · sign x", "0 at 0", "ReduceL1"),
    "reduce_l2": Note("g · x / out", "0 where the norm is 0; no square leaves the range", "ReduceL2",
                      "linalg.vector_norm"),
    "reduce_sum_square": Note("2 g x", "", "ReduceSumSquare"),
    "reduce_log_sum_exp": Note("g · softmax(x)", "shifted by the largest, so nothing overflows", "ReduceLogSumExp",
                               "scipy.special.logsumexp"),
    "reduce_var": Note("2 g (x - x̄) / (n - ddof)", "", "", "var"),
    "reduce_std": Note("g (x - x̄) / (out (n - ddof))", "0 where all values are equal", "", "std"),
    "arg_max": Note(_NONE, "the first of several", "ArgMax", "argmax"),
    "arg_min": Note(_NONE, "the first of several", "ArgMin", "argmin"),
    "is_first_max": Note(_NONE, "a NaN counts as the largest"),
    "sum_to_like": Note("g, spread over the axes"),
    "size": Note(_NONE, "", "", "size"),
    # running
    "cum_sum": Note("the running sum of g in the opposite direction", "float32 is accumulated in float64", "CumSum",
                    "cumulative_sum"),
    "cum_prod": Note("the products of the others, summed as they run", "exact where elements are 0", "CumProd",
                     "cumulative_prod"),
    # linear
    "matmul": Note("g @ bᵀ to a, aᵀ @ g to b", "", "MatMul", "matmul"),
    "transpose": Note("g with the axes put back", "", "Transpose", "transpose"),
    "matrix_transpose": Note("gᵀ", "", "", "matrix_transpose"),
    "gemm": Note("alpha g @ bᵀ to a, alpha aᵀ @ g to b, beta g to c", "", "Gemm"),
    "outer": Note("g @ b to a, a @ g to b", "", "", "outer"),
    "einsum": Note("to each operand the sum of products of g and all others", "", "Einsum", "einsum"),
    "diagonal": Note("g on the diagonal, zeros elsewhere", "", "", "diagonal"),
    "diagonal_like": Note("the diagonal of g", "", "", "diagflat"),
    "trace": Note("g on the diagonal", "", "", "trace"),
    "det": Note("g times the cofactors", "exact for singular matrices", "Det", "linalg.det"),
    "cofactor": Note("by the inverse", "needs an inverse where it is differentiated"),
    "slogdet": Note("x⁻ᵀ times the gradient on logabsdet", "none by the sign", "", "linalg.slogdet"),
    "inv": Note("-outᵀ g outᵀ", "", "Inverse", "linalg.inv"),
    "solve": Note("a⁻ᵀ g to b, minus that times outᵀ to a", "", "", "linalg.solve"),
    "cholesky": Note("L⁻ᵀ Φ(Lᵀ g) L⁻¹, made symmetric; Φ is the lower triangle with half the diagonal",
                     "of the mean of x and its transpose", "", "linalg.cholesky"),
    "eigh": Note("v (diag g_λ + F ∘ vᵀ g_v) vᵀ, made symmetric; F has 1 / (λ_j - λ_i)",
                 "0 among equal eigenvalues; the first large component of a vector is positive", "", "linalg.eigh"),
    "qr": Note("(g_q + q copyltu(r g_rᵀ - g_qᵀ q)) r⁻ᵀ", "the diagonal of r is positive", "", "linalg.qr"),
    "svd": Note("u (F ∘ …) vh, as Townsend has it; F has 1 / (s_j² - s_i²)",
                "0 among equal values; the first large component of a column of u is positive", "", "linalg.svd"),
    # layout
    "reshape": Note(_SAME, "", "Reshape", "reshape"),
    "reshape_like": Note(_SAME, "", "", "reshape"),
    "expand": Note("g, summed over what was stretched", "", "Expand", "broadcast_to"),
    "expand_like": Note("g, summed over what was stretched", "", "", "broadcast_to"),
    "concat": Note("to each operand its part of g", "", "Concat", "concatenate"),
    "slice": Note("g in its place among zeros", "", "Slice"),
    "slice_scatter": Note("g to x, but 0 where it was replaced; that part of g to the updates"),
    "slice_like": Note("g in its place among zeros"),
    "pad_like": Note("the part of g where x stands"),
    "split": Note("the gradients on the parts, joined", "0 for a part that has none", "Split", "split"),
    "stack": Note("to each operand its slice of g", "", "", "stack"),
    "flip": Note("g turned round again", "", "", "flip"),
    "roll": Note("g shifted back", "", "", "roll"),
    "tile": Note("g, summed over the repetitions", "", "Tile", "tile"),
    "trilu": Note("the same triangle of g", "", "Trilu", "triu, tril"),
    "flatten": Note(_SAME, "", "Flatten"),
    "pad": Note("the part of g where x stands", "", "Pad", "pad"),
    "unsqueeze": Note(_SAME, "", "Unsqueeze", "expand_dims"),
    "squeeze": Note(_SAME, "", "Squeeze", "squeeze"),
    "cast": Note("g in the old dtype, if both are floating-point", "", "Cast", "astype"),
    "cast_like": Note("g in the old dtype, if both are floating-point", "", "CastLike", "astype"),
    "zeros_like": Note(_NONE, "", "", "zeros_like"),
    "eye_like": Note(_NONE, "", "EyeLike", "eye"),
    "ones_like": Note(_NONE, "", "", "ones_like"),
    # indexing
    "gather": Note("every slice of g added where it came from", "repeated indices add up", "Gather", "take"),
    "scatter_add": Note("g to x; to the updates the slices of g at the indices", "repeated indices add up", "",
                        "add.at"),
    "gather_elements": Note("every element of g added where it came from", "repeated indices add up", "GatherElements",
                            "take_along_axis"),
    "scatter_elements": Note("g to x, but 0 where it was replaced; to the updates g at the indices",
                             "indices that are replaced must not repeat", "ScatterElements", "put_along_axis"),
    "gather_nd": Note("every slice of g added where it came from", "repeated indices add up", "GatherND"),
    "scatter_nd": Note("g to x, but 0 where it was replaced; to the updates g at the indices",
                       "indices that are replaced must not repeat", "ScatterND"),
    "top_k": Note("the gradient on the values, put where they came from", "of equal elements the first", "TopK"),
    "arg_sort": Note(_NONE, "equal elements keep their order", "", "argsort"),
    "sort": Note("g put back where each came from", "equal elements keep their order", "", "sort"),
    "one_hot": Note(_NONE, "zeros for an index out of range", "OneHot"),
    # convolution
    "unfold": Note("g folded back", "", "", "lib.stride_tricks.sliding_window_view"),
    "fold": Note("g unfolded", "", "Col2Im"),
    "conv": Note("g ⋆ᵀ w to x, the windows of x times g to w, the sum of g to b", "", "Conv"),
    "conv_transpose": Note("g ⋆ w to x, the windows of g times x to w, the sum of g to b", "", "ConvTranspose"),
    "max_pool": Note("g goes to the largest of each window", "of several the first, in row-major order", "MaxPool"),
    "average_pool": Note("g / n to every element of a window", "what stands around x counts only if asked",
                         "AveragePool"),
    "global_max_pool": Note("g goes to the largest of a channel", "of several the first, in row-major order",
                            "GlobalMaxPool"),
    "global_average_pool": Note("g / n to every element of a channel", "", "GlobalAveragePool"),
    # normalization
    "batch_normalization": Note("(g' - mean g' - x̂ mean(g' x̂)) / deviation in training mode, g' = scale · g; else "
                                "g · scale / deviation", "", "BatchNormalization"),
    "layer_normalization": Note("(g' - mean g' - x̂ mean(g' x̂)) / deviation, g' = scale · g", "0 where all are equal",
                                "LayerNormalization"),
    "rms_normalization": Note("(g' - x̂ mean(g' x̂)) / rms, g' = scale · g", "", "RMSNormalization"),
    "group_normalization": Note("as layer_normalization, group by group", "", "GroupNormalization"),
    "instance_normalization": Note("as layer_normalization, channel by channel", "", "InstanceNormalization"),
    # neural
    "dropout": Note("g, dropped and scaled in the same places", "the same seed drops the same elements", "Dropout"),
    "attention": Note("through the product, the softmax and the scores", "a query that sees nothing gives 0",
                      "Attention"),
    "attention_weights": Note("through the softmax and the scores", "a query that sees nothing gives 0"),
    # losses
    "mean_squared_error": Note("2 g (x - target), the opposite to the target"),
    "huber": Note("g times the difference clipped to ±delta, the opposite to the target", "", "",
                  "scipy.special.huber"),
    "binary_cross_entropy": Note("g (σ(x) - target) for a logit x; g ((1 - target) / (1 - x) - target / x) else",
                                 "0 · ln 0 is 0"),
    "negative_log_likelihood_loss": Note("-g at the labels", "ignored labels send nothing", "NegativeLogLikelihoodLoss",
                                         ""),
    "softmax_cross_entropy_loss": Note("g (softmax(x) - 1 at the label)", "ignored labels send nothing",
                                       "SoftmaxCrossEntropyLoss"),
    "label_indicator": Note(_NONE, "zeros for an ignored label"),
}
