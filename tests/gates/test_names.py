"""What people call gates elsewhere: every name of NumPy, SciPy, torch, Keras and ONNX gets the right suggestion, or
none."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import scipy.special

import circuitflow as cf
from circuitflow.document.model import NODES
from circuitflow.gates import GATES, names
from circuitflow.gates.names import KINDS, RECIPES, instead, suggestion
from support.documents import document, faults

KERAS = """
abs absolute add all amax amin any append arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin
argpartition argsort array associative_scan average average_pool bartlett batch_normalization binary_crossentropy
bincount bitwise_and bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman
broadcast_to cast categorical_crossentropy cbrt ceil celu cholesky clip concatenate cond conj conv conv_transpose
convert_to_numpy convert_to_tensor copy corrcoef correlate cos cosh count_nonzero cross ctc_decode ctc_loss cumprod
cumsum custom_gradient deg2rad depthwise_conv det diag diagflat diagonal diff digitize divide divide_no_nan dot
dot_product_attention eig eigh einsum elu empty empty_like equal erf erfinv exp exp2 expand_dims expm1 exponential
extract_sequences eye fft fft2 flip floor floor_divide fori_loop full full_like gelu get_item glu greater
greater_equal hamming hanning hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh heaviside histogram hstack
identity ifft2 imag in_top_k inner inv irfft is_tensor isclose isfinite isinf isnan istft kaiser kron
layer_normalization lcm leaky_relu left_shift less less_equal linear linspace log log10 log1p log2 log_sigmoid
log_softmax logaddexp logical_and logical_not logical_or logical_xor logspace logdet logsumexp lstsq lu_factor map
matmul max max_pool maximum mean median meshgrid min minimum mish mod moments moveaxis multi_hot multiply nan_to_num
ndim negative nonzero norm normalize not_equal one_hot ones ones_like outer pad polar power prod psnr qr quantile
ravel real rearrange reciprocal relu relu6 repeat reshape rfft right_shift rms_normalization roll rot90 round rsqrt
saturate_cast scan scatter scatter_update searchsorted segment_max segment_sum select selu separable_conv shape
sigmoid sign signbit silu sin sinh size slice slice_update slogdet soft_shrink softmax softplus softsign solve
solve_triangular sort sparse_categorical_crossentropy sparse_plus sparse_sigmoid sparsemax split sqrt square
squareplus squeeze stack std stft stop_gradient subtract sum svd swapaxes swish switch take take_along_axis tan tanh
tanh_shrink tensordot threshold tile top_k trace transpose trapezoid tri tril triu true_divide trunc unfold
unravel_index unstack vander var vdot vectorize vectorized_map view_as_complex view_as_real vmap vstack where
while_loop zeros zeros_like
""".split()
ONNX = """
Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad
Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum
DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity
If ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean
MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression
NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul
QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements
ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split
SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum Swish Tan Tanh TensorScatter
TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
""".split()
WORDS = {
    "sum": "write reduce_sum(x) or add(x, y)", "minimum": "'min'", "dot": "'matmul'", "plus": "'add'", "minus": "'sub'",
    "times": "'mul'",
    "arcsin": "'asin'", "np.arcsin": "'asin'", "torch.nn.functional.relu6": "clip(x, min=0, max=6)",
    "nn.ReLU": "'relu'", "tf.math.reduce_sum": "'reduce_sum'",
    "**": "'pow'", "^": "write pow(x, y) or xor(x, y)", "*": "'mul'", "//": "floor(x / y)", "%": "'mod'",
    "@": "'matmul'", "!=": "~(x == y)", "<=": "'less_or_equal'",
    "σ": "'sigmoid'", "Σ": "'reduce_sum'", "√": "'sqrt'", "ln": "'log'", "power": "'pow'",
    "LayerNorm": "'layer_normalization'", "Conv2D": "'conv'",
    "placeholder": "'input'", "weight": "'parameter'", "literal": "'constant'", "loop": "'scan'",
    "variable": "'input' or 'parameter'",
    "cross_entropy": "'softmax_cross_entropy_loss'", "std": "write reduce_std(x), in torch reduce_std(x, ddof=1)",
    "argmax": "'arg_max'", "cat": "'concat'",
}
SHAPES = [(), (4,), (4, 4), (1, 1, 4), (1, 1, 4, 4)]


def public(module, *kinds):
    return sorted(name for name in dir(module) if not name.startswith("_") and name[0].islower()
                  and callable(getattr(module, name))
                  and not isinstance(getattr(module, name), type))


def libraries():
    yield "numpy", np, public(np)
    yield "numpy.linalg", np.linalg, [name for name in np.linalg.__all__ if name[0].islower()]
    yield "scipy.special", scipy.special, [name for name in scipy.special.__all__ if name[0].islower()]
    torch = pytest.importorskip("torch")
    yield "torch", torch, public(torch)
    yield "torch.nn.functional", torch.nn.functional, public(torch.nn.functional)
    yield "torch.special", torch.special, list(torch.special.__all__)
    yield "keras", None, KERAS
    yield "onnx", None, ONNX


def choices(name):
    """What is to be written for a name: expressions."""
    if name in GATES:
        return [name]
    said = (instead(name, GATES) or "").removeprefix("; here it is called ").removeprefix("; write ")
    head, comma, _ = said.rpartition(", ")
    if comma and head.count("(") == head.count(")"):  # what follows is a remark
        said = head
    return [choice.strip("'") for choice in said.split(" or ") if choice]


def expression(choice, operands):
    return f"{choice}({', '.join('xyz'[:operands])})" if choice in GATES else choice


def test_no_name_of_a_library_is_taken_for_a_misspelling():
    for library, _, known in libraries():
        for name in known:
            said = suggestion(name, [*GATES, *NODES])
            spelled = re.sub("(?<=log)(?=sig)", "_", name).casefold()
            assert name in GATES or "did you mean" not in said or said == f"; did you mean '{spelled}'?", (
                library, name, said)


def test_what_onnx_calls_a_gate_is_that_gate():
    for name in ONNX:
        snake = re.sub("(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
        gate = next((gate for gate in (snake, snake.replace("_", "")) if gate in GATES), None)
        if gate and name not in NODES:
            assert suggestion(name, GATES) in (f"; here it is called '{gate}'",
                                               f"; write {gate}(x), in torch hard_sigmoid(x, "
                                               f"alpha=0.16666666666666666)"), name


@pytest.mark.parametrize("word", WORDS)
def test_words_that_people_use(word):
    assert WORDS[word] in suggestion(word, [*GATES, *NODES])


@pytest.mark.parametrize("name", [name for known in (names._SEVERAL, names._EXACT, names._OTHERS) for name in known])
def test_every_recipe_is_a_circuit(name):
    said = instead(name.split()[0], [*GATES, *NODES])
    assert said
    assert all(instead(other, [*GATES, *NODES]) == said for other in name.split())
    for text in dict.fromkeys(known[name] for known in (names._SEVERAL, names._EXACT, names._OTHERS) if name in known):
        for choice in text.partition("  # ")[0].split(" or "):
            if choice not in NODES:
                assert any(_loads(choice, first, second) for first in SHAPES for second in SHAPES), choice


def _loads(text, first, second):
    shapes = {name: list(first if name in "xaw" else second)
              for name in re.findall(r"\b(x|y|a|b|c|w|target|scale|updates)\b(?!=)", text.partition(";")[0])}
    shapes |= {"c": [], "b": []} if "* x + c" in text else {"b": []} if "b * x" in text else {}
    values = dict.fromkeys("xy",
                           True) if text == "xor(x, y)" else {"condition": True} if "condition" in text else {
                               "x": [True]} if "where(x, 1, 0)" in text else {}
    if "sigmoid(b)" in text:
        shapes = {"x": [4]}
    if "slice_scatter" in text:
        shapes["updates"] = [2]
    if "trans_b" in text:
        shapes = {"x": [2, 3], "w": [4, 3], "b": [4]}
    if "bi,kij,bj" in text:
        shapes = {"x": [2, 3], "w": [5, 3, 4], "y": [2, 4]}
    try:
        cf.new(text, values, shapes={name: shape for name, shape in shapes.items() if name not in values})
    except cf.CircuitflowError:
        return False
    return True


def test_a_name_stands_in_one_place():
    seen = {}
    tables = (names._SEVERAL, names._EXACT, names._OTHERS)
    for place, words in [*((known, names_) for table in tables for names_, known in table.items()),
                         *((name, gate.facets.note.also) for name, gate in GATES.items()),
                         *KINDS.items(), ("nothing", names.UNLIKE)]:
        for word in words.split():
            assert word not in GATES, word
            assert names._key(word) not in seen, (word, place, seen[names._key(word)])
            seen[names._key(word)] = place
    assert set(KINDS) == set(NODES)
    assert set(RECIPES) == {name for words in names._EXACT for name in words.split()}


@pytest.mark.parametrize("word", ["", ".", "np.", "_", "__", " ", "()", "\x1b[2J", "a" * 100_000])
def test_what_is_no_name_gets_no_remedy(word):
    assert suggestion(word, [*GATES, *NODES]) == "; `circuitflow gates` lists them"


def test_gates_that_a_table_lacks_are_not_suggested():
    assert suggestion("sum", ["add", "mul"]) == "; write add(x, y)"
    assert suggestion("sum", ["mul"]) == "; `circuitflow gates` lists them"
    assert suggestion("placeholder", GATES) == "; `circuitflow gates` lists them"
    assert suggestion("np.sum", ["reduce_sum"]) == "; write reduce_sum(x)"


# The right suggestion: what the library computes is what the suggested gates compute

SAMPLES = np.array([1.2, 1.7, 2.5]), np.array([0.9, 0.2, 0.4])
ANOTHER = {
    "kl_div": "torch.kl_div alone averages nothing", "huber": "SciPy's takes delta first, and averages nothing",
    "pairwise_distance": "torch adds 1e-6", "empty_like": "anything at all",
    "mean": "of one operand this gate is the operand: it averages operands", "stack": "an array is taken for a list",
    "flatten": "ONNX's keeps the first axis",
}
"""Functions that one who calls them like that means otherwise."""


def _agrees(name, function, given):
    """Whether a suggestion gives what a function gives; None where the function takes something else."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            expected = np.asarray(function(*given))
        except Exception:
            return None
        if expected.dtype.kind not in "fb" or expected.shape not in {x.shape for x in given} | {()}:
            return None
        found = []
        for choice in choices(name):
            try:
                circuit = cf.new(f"f = {expression(choice, len(given))}", dict(zip("xyz", given, strict=False)))
                found.append(np.asarray(cf.Executor(circuit).forward().outputs["f"]))
            except cf.CircuitflowError:  # it is the choice for another number of operands
                continue
    return any(x.shape == expected.shape and np.allclose(x, expected, rtol=1e-7, atol=1e-12, equal_nan=True)
               for x in found) if found else None


@pytest.mark.parametrize(("library", "least"), [("numpy", 90), ("scipy.special", 25), ("torch", 80),
                                                ("torch.nn.functional", 12), ("torch.special", 10)])
def test_suggestions_compute_what_the_library_computes(library, least):
    module, known = next((module, known) for name, module, known in libraries() if name == library)
    wrong, right = [], []
    for name in known:
        if name in ANOTHER or name.endswith("_") or not choices(name):
            continue

        called = getattr(module, name)

        def function(*xs, called=called):
            if not library.startswith("torch"):
                return called(*(x.copy() for x in xs))
            import torch

            return called(*map(torch.tensor, xs)).numpy()

        agreed = [_agrees(name, function, given) for given in ([SAMPLES[0]], [SAMPLES[1]], SAMPLES, SAMPLES[::-1])]
        if True in agreed:
            right.append(name)
        # a remark says where it holds
        if False in agreed and (True not in agreed or ", " not in (instead(name, GATES) or "")):
            wrong.append(name)
    assert not wrong, " ".join(wrong)
    assert len(right) >= least


# One table for all who suggest

@pytest.mark.parametrize("word", ["sum", "arcsin", "plus", "minimum", "dot", "std", "erfi", "log10", "reluu"])
def test_the_same_suggestion_everywhere(word, circuitflow):
    said = suggestion(word, GATES)
    (message,) = faults(document("x = 1", f"f = {word}(x)"))
    assert message == f"node 'f': there is no gate \"{word}\"{said}"
    with pytest.raises(cf.DocumentError) as caught:
        cf.new(f"f = {word}(x)")
    assert caught.value.faults[0].message == f'there is no gate "{word}"{said}'
    with cf.build() as c:
        x = c.input("x")
        c.output(x, "f")
        with pytest.raises(cf.InputError) as refused:
            getattr(c, word)(x)
        assert str(refused.value) == f'there is no gate "{word}"{said}'
        if word not in ("sum", "std", "dot"):  # which arrays have, too
            with pytest.raises(AttributeError) as absent:
                getattr(x, word)
            assert str(absent.value) == f"a wire has no '{word}'{said}"
    outcome = circuitflow("gates", word)
    assert said.removeprefix("; ") in outcome.out + outcome.err
