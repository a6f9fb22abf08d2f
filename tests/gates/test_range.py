"""Means, norms, normalisations, losses and softmax over the whole range of floats, against 700 digits, on every engine.

The reference is the formula of each gate in mpmath; slopes are central differences there, with a step of 1e-30.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

import circuitflow as cf
from circuitflow.gates import GATES
from support.edge_points import as_array
from support.exported import function_of
from support.slices import gate_of

inf, nan = math.inf, math.nan
ENGINES = ("interpreter", "staged", "jax", "python")
EPSILON = 1e-5


class Case(NamedTuple):
    gate: str
    operands: tuple[Any, ...]
    attributes: Mapping[str, Any] = MappingProxyType({})
    dtypes: tuple[str, ...] = ("float64", "float32")
    engines: tuple[str, ...] = ENGINES

    def __str__(self) -> str:
        return "-".join([self.gate, *(str(x).replace(" ", "") for x in self.operands[:2]),
                         *map(str, self.attributes.values())])


# What the gates compute, on lists of numbers of any precision; arrays are flat, those of losses have two classes a row.

def mean(xs):
    return sum(xs) / len(xs)


def variance(xs, ddof=0):
    return sum((x - mean(xs)) ** 2 for x in xs) / (len(xs) - ddof)


def standardised(xs, epsilon=EPSILON):
    return [(x - mean(xs)) / mp.sqrt(variance(xs) + mpf(epsilon)) for x in xs]


def layer(x, scale, bias):
    return [a * b + c for a, b, c in zip(standardised(x), scale, bias, strict=True)]


def rms(x, scale):
    return [a / mp.sqrt(mean([b * b for b in x]) + mpf(EPSILON)) * c for a, c in zip(x, scale, strict=True)]


def one_channel(x, scale, bias):
    return [a * scale[0] + bias[0] for a in standardised(x)]


def batch(x, scale, bias, m, v):
    moved = [mpf(0.9) * m[0] + (1 - mpf(0.9)) * mean(x)], [mpf(0.9) * v[0] + (1 - mpf(0.9)) * variance(x)]
    return [*one_channel(x, scale, bias), *moved[0], *moved[1]]


def fixed_batch(x, scale, bias, m, v):
    return [(a - m[0]) / mp.sqrt(v[0] + mpf(EPSILON)) * scale[0] + bias[0] for a in x]


def times_log(weight, x):
    return weight * mp.log(x) if weight else mpf(0)


def binary(x, target):
    return [mean([-times_log(t, a) - times_log(1 - t, 1 - a) for a, t in zip(x, target, strict=True)])]


def binary_of_logits(x, target):
    return [mean([mp.log(1 + mp.exp(-a)) + (1 - t) * a for a, t in zip(x, target, strict=True)])]


def huber(x, target):
    distances = [abs(a - b) for a, b in zip(x, target, strict=True)]
    return [mean([d * d / 2 if d <= 1 else d - mpf(0.5) for d in distances])]


def log_sum_exp(xs):
    return mp.log(sum(map(mp.exp, xs)))


def cross_entropy(x, labels):
    rows = [x[i : i + 2] for i in range(0, len(x), 2)]
    return [mean([log_sum_exp(row) - row[label] for row, label in zip(rows, labels, strict=True) if label >= 0])]


REFERENCES = {
    "reduce_mean": lambda x: [mean(x)], "mean": lambda *xs: [mean([x[0] for x in xs])],
    "global_average_pool": lambda x: [mean(x)], "average_pool": lambda x: [mean(x[:2]), mean(x[1:])],
    "reduce_var": lambda x, ddof=0: [variance(x, ddof)], "reduce_std": lambda x, ddof=0: [mp.sqrt(variance(x, ddof))],
    "reduce_l1": lambda x: [sum(map(abs, x))], "reduce_l2": lambda x: [mp.sqrt(sum(a * a for a in x))],
    "reduce_sum_square": lambda x: [sum(a * a for a in x)], "reduce_log_sum_exp": lambda x: [log_sum_exp(x)],
    "layer_normalization": layer, "rms_normalization": rms, "instance_normalization": one_channel,
    "group_normalization": one_channel, "batch_normalization": batch, "fixed_batch": fixed_batch,
    "softmax": lambda x: [mp.exp(a - log_sum_exp(x)) for a in x],
    "log_softmax": lambda x: [a - log_sum_exp(x) for a in x],
    "binary_cross_entropy": binary, "binary_of_logits": binary_of_logits, "huber": huber,
    "mean_squared_error": lambda x, y: [mean([(a - b) ** 2 for a, b in zip(x, y, strict=True)])],
    "softmax_cross_entropy_loss": cross_entropy,
}
ONLY_DOUBLE = ("float64",)


def cases():
    """Every gate on ordinary numbers, and on numbers near both ends of the range."""
    for size in (1.0, 1e12, 1e-18, 1e30, 5e37, 1e200, 5e307, 1e-200):
        dtypes = ("float64", "float32") if 1e-18 <= size < 1e38 else ONLY_DOUBLE
        x = [a * size for a in (1.0, -2.0, 2.5)]
        channel = [[[*x]]], [1.5], [0.5]
        yield Case("reduce_mean", ([*x, 3.0 * size, 3.0 * size],), dtypes=dtypes)
        yield Case("mean", (*x, 3.0 * size, 3.0 * size), dtypes=dtypes)
        yield Case("global_average_pool", ([[x]],), dtypes=dtypes)
        yield Case("average_pool", ([[x]],), {"kernel_shape": [2]}, dtypes)
        yield Case("reduce_std", (x,), dtypes=dtypes)
        yield Case("reduce_std", (x,), {"ddof": 1}, dtypes)
        yield Case("reduce_l2", (x,), dtypes=dtypes)
        yield Case("reduce_l1", ([a / 4 for a in x],), dtypes=dtypes)
        yield Case("layer_normalization", (x, [1.5, 2.0, -1.0], [0.5, 0.0, 1.0]), dtypes=dtypes)
        yield Case("rms_normalization", (x, [1.5, 2.0, -1.0]), dtypes=dtypes)
        yield Case("instance_normalization", channel, dtypes=dtypes)
        yield Case("group_normalization", channel, {"num_groups": 1}, dtypes)
        if size * size < (1e38 if "float32" in dtypes else 1e307) and size > 1e-50:
            yield Case("reduce_var", (x,), dtypes=dtypes)
            yield Case("reduce_sum_square", (x,), dtypes=dtypes)
            yield Case("batch_normalization", (*channel, [0.25 * size], [2.0 * size]), {"training_mode": True}, dtypes)
            yield Case("mean_squared_error", (x, [0.0, size, size]), dtypes=dtypes)
            yield Case("fixed_batch", (*channel, [0.25 * size], [2.0 * size]), dtypes=dtypes)
        yield Case("huber", (x, [0.0, size, size]), dtypes=dtypes)
        yield Case("softmax", (x,), dtypes=dtypes)
        yield Case("log_softmax", (x,), dtypes=dtypes)
        yield Case("reduce_log_sum_exp", (x,), dtypes=dtypes)
        yield Case("softmax_cross_entropy_loss", ([x[:2], x[1:]], np.array([1, 0])), dtypes=dtypes)
        yield Case("binary_of_logits", (x, [0.0, 0.25, 1.0]), dtypes=dtypes)
        if size <= 1:
            yield Case("binary_cross_entropy", ([0.125 * size, 0.5 * size, size / 3], [0.0, 0.25, 1.0]), dtypes=dtypes)
    # XLA multiplies by a reciprocal, so that equal numbers are no longer 1.
    for size, dtypes in ((3e200, ONLY_DOUBLE), (3e30, ("float64", "float32"))):
        yield Case("layer_normalization", ([size] * 3, [1.0, 2.0, 1.0], [0.0] * 3), {}, dtypes,
                   ("interpreter", "staged", "python"))
    yield Case("binary_cross_entropy", ([1 - 2.0**-20, 1 - 2.0**-10, 1 - 2.0**-20], [0.0, 0.25, 1.0]))
    yield Case("binary_of_logits", ([40.0, -40.0, 700.0], [1.0, 0.0, 1.0]))
    yield Case("binary_of_logits", ([40.0, 20.0, -20.0], [0.0, 0.5, 0.25]))
    for gap in (0.5, 20.0, 40.0, 80.0):
        yield Case("softmax_cross_entropy_loss", ([[gap, 0.0], [0.0, 0.25 * gap]], np.array([0, 0])))
        yield Case("softmax_cross_entropy_loss", ([[0.0, gap], [nan, 1.0]], np.array([1, -1])), {"ignore_index": -1})


def real_gate(case):
    return {"fixed_batch": "batch_normalization", "binary_of_logits": "binary_cross_entropy"}.get(case.gate, case.gate)


def attributes_of(case):
    return {**case.attributes, **({"logits": True} if case.gate == "binary_of_logits" else {})}


def weights(count):
    """Upstream gradients, none of which is another."""
    return [(1.0, -0.5, 2.0, 0.25, 3.0)[i % 5] for i in range(count)]


def reference(case, arrays):
    """Value and gradients in high precision, for the upstream gradients of `weights`."""
    with mp.workdps(700):
        formula = functools.partial(REFERENCES[case.gate],
                                    **({"ddof": case.attributes["ddof"]} if "ddof" in case.attributes else {}))
        given = [[mpf(float(a)) if array.dtype.kind == "f" else int(a) for a in array.ravel()] for array in arrays]
        value = formula(*given)
        gradients = []
        for i, array in enumerate(arrays):
            if array.dtype.kind != "f":
                continue
            row = []
            for j, x in enumerate(given[i]):
                step = mpf(10) ** -30 * min(abs(x), 1) if x and mpmath.isfinite(x) else mpf(10) ** -330
                high, low = (formula(*[[b + s * step if (k, n) == (i, j) else b for n, b in enumerate(xs)] for k,
                                       xs in enumerate(given)])
                             for s in (1, -1))
                row.append(float(sum(w * (a - b) for w, a, b in zip(weights(len(value)), high, low, strict=True))
                                 / (2 * step)))
            gradients.append(np.reshape(row, array.shape))
        return np.array([float(a) for a in value]), gradients


def document(case, arrays):
    def plain(array):
        return {"data": [a if np.isfinite(a) else str(a).replace("nan", "NaN").replace("inf", "Infinity")
                         for a in array.ravel().tolist()],
                "shape": list(array.shape), "dtype": str(array.dtype)}

    nodes = [{"id": f"x{i}", "gate": "parameter" if x.dtype.kind == "f" else "constant", "value": plain(x)} for i,
             x in enumerate(arrays)]
    nodes.append({"id": "f", "gate": real_gate(case), "inputs": [node["id"] for node in nodes], **attributes_of(case)})
    row = GATES[real_gate(case)]
    outputs = [f"f.{name}" for name in row.output_names({**row.defaults, **attributes_of(case)})] or ["f"]
    given = {"circuitflow": "1.0", "nodes": nodes, "outputs": outputs}
    loaded = cf.loads(json.dumps(given))
    used, upstream = 0, {}
    for name, output in loaded.outputs.items():
        type_ = loaded.type_of(output)
        count = math.prod(type_.shape)
        upstream[name] = plain(np.reshape(np.array(weights(used + count)[used:], type_.dtype), type_.shape))
        used += count
    return cf.loads(json.dumps({**given, "upstream": upstream}))


def answer(circuit, engine):
    """All values in a row, and the gradients."""
    run = function_of(cf.to_python(circuit)) if engine == "python" else cf.Executor(circuit).compile(engine=engine)
    value, gradients = run()
    values = list(value.values()) if isinstance(value, dict) else [value]
    return np.concatenate([np.ravel(np.asarray(x)) for x in values]), [np.asarray(x) for x in gradients.values()]


@pytest.mark.sliced(case=gate_of)
@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_against_many_digits(case):
    for dtype in case.dtypes:
        arrays = [as_array(x, dtype) for x in case.operands]
        value, gradients = reference(case, arrays)
        circuit = document(case, arrays)
        tolerance = 4e-15 if dtype == "float64" else 2e-6
        for engine in case.engines:
            found, slopes = answer(circuit, engine)
            assert found.dtype == dtype
            for ours, exact, few in zip([found, *slopes], [value, *gradients], [1, *[4] * len(slopes)], strict=True):
                exact = exact.astype(dtype)
                largest = float(np.max(np.abs(exact), initial=0, where=np.isfinite(exact)))
                # XLA takes smaller numbers for 0
                smallest = 2 * float(np.finfo(dtype).tiny) if engine == "jax" else 0.0
                np.testing.assert_allclose(ours, exact, few * tolerance, max(few * tolerance * largest, smallest),
                                           err_msg=f"{engine} {dtype}")


# gate, operands, attributes, value, gradients for an upstream gradient of 1
ENDS = [
    ("reduce_mean", ([3e38, 3e38],), {}, 3e38, [[0.5, 0.5]]),
    ("reduce_mean", ([1e308, 1e308],), {}, 1e308, [[0.5, 0.5]]),
    ("reduce_mean", ([1e308] * 9 + [-1e308] * 9,), {}, 0, [[1 / 18] * 18]),
    ("reduce_mean", ([inf, -1e308],), {}, inf, [[0.5, 0.5]]),
    ("reduce_mean", ([inf, -inf],), {}, nan, [[0.5, 0.5]]),
    ("reduce_mean", ([],), {}, nan, [[]]),
    ("mean", (1e308, 1e308), {}, 1e308, [0.5, 0.5]),
    ("mean", (1.7976931348623157e308,) * 3, {}, 1.7976931348623157e308, [1 / 3] * 3),
    ("mean", (5e-324, 5e-324), {}, 5e-324, [0.5, 0.5]),
    ("mean", (-inf, 1e308), {}, -inf, [0.5, 0.5]),
    ("reduce_std", ([1e200, 3e200],), {}, 1e200, [[-0.5, 0.5]]),
    ("reduce_std", ([1e-200, 3e-200],), {}, 1e-200, [[-0.5, 0.5]]),
    ("reduce_var", ([1e-160, 3e-160],), {}, 1e-320, [[-1e-160, 1e-160]]),
    ("reduce_var", ([1e160, 3e160],), {}, inf, [[-1e160, 1e160]]),
    ("reduce_var", ([2.0],), {"ddof": 1}, nan, None),
    ("reduce_var", ([1.0, 2.0],), {"ddof": 3}, inf, None),
    ("reduce_log_sum_exp", ([],), {}, -inf, [[]]),
    ("reduce_log_sum_exp", (np.zeros((2, 0)),), {"axis": 1}, [-inf, -inf], [np.zeros((2, 0))]),
    ("reduce_log_sum_exp", ([inf, 0.0],), {}, inf, [[1, 0]]),
    ("reduce_log_sum_exp", ([inf, inf, -inf],), {}, inf, [[0.5, 0.5, 0]]),
    ("reduce_log_sum_exp", ([-inf, -inf],), {}, -inf, [[0.5, 0.5]]),
    ("reduce_log_sum_exp", ([nan, 0.0],), {}, nan, [[nan, nan]]),
    ("softmax", ([inf, 0.0],), {}, [1, 0], [[0, 0]]),
    ("softmax", ([inf, inf, 1.0],), {}, [0.5, 0.5, 0], [[0, 0, 0]]),
    ("softmax", ([-inf, -inf],), {}, [0.5, 0.5], [[0, 0]]),
    ("softmax", ([-inf, 0.0],), {}, [0, 1], [[0, 0]]),
    ("softmax", ([nan, 0.0],), {}, [nan, nan], [[nan, nan]]),
    ("log_softmax", ([inf, 0.0],), {}, [0, -inf], [[-1, 1]]),
    ("log_softmax", ([-inf, -inf],), {}, [-math.log(2), -math.log(2)], [[0, 0]]),
    ("log_softmax", ([-inf, 0.0],), {}, [-inf, 0], [[1, -1]]),
    ("softmax_cross_entropy_loss", ([[inf, 0.0]], np.array([0])), {}, 0, [[[0, 0]]]),
    ("softmax_cross_entropy_loss", ([[inf, 0.0]], np.array([1])), {}, inf, [[[1, -1]]]),
    ("softmax_cross_entropy_loss", ([[-inf, 0.0]], np.array([0])), {}, inf, [[[-1, 1]]]),
    ("softmax_cross_entropy_loss", ([[-inf, -inf]], np.array([0])), {}, math.log(2), [[[-0.5, 0.5]]]),
    ("softmax_cross_entropy_loss", ([[0.0, nan], [inf, inf]], np.array([-1, 0])), {"ignore_index": -1}, math.log(2),
     [[[0, 0], [-0.5, 0.5]]]),
    ("softmax_cross_entropy_loss", ([[0.0, nan]], np.array([-1])), {"ignore_index": -1}, nan, [[[0, 0]]]),
    ("negative_log_likelihood_loss", ([[0.0, nan], [1.0, inf]], np.array([-1, 0])), {"ignore_index": -1}, -1,
     [[[0, 0], [-1, 0]]]),
    ("negative_log_likelihood_loss", ([[0.0, nan]], np.array([-1])), {"ignore_index": -1}, nan, [[[0, 0]]]),
    ("binary_cross_entropy", ([0.0], [0.0]), {}, 0, [[1], [inf]]),
    ("binary_cross_entropy", ([0.0], [0.5]), {}, inf, [[-inf], [inf]]),
    ("binary_cross_entropy", ([1e-20], [0.0]), {}, 1e-20, [[1], [20 * math.log(10)]]),
    ("binary_cross_entropy", ([1e-200], [1e-200]), {}, 1e-200 * (1 + 200 * math.log(10)), [[0], [200 * math.log(10)]]),
    ("binary_cross_entropy", ([inf], [1.0]), {"logits": True}, 0, [[0], [-inf]]),
    ("binary_cross_entropy", ([-inf], [0.0]), {"logits": True}, 0, [[0], [inf]]),
    ("binary_cross_entropy", ([inf], [0.0]), {"logits": True}, inf, [[1], [-inf]]),
    ("mean_squared_error", ([1e200], [0.0]), {}, inf, [[2e200], [-2e200]]),
    ("huber", ([1e308], [-1e307]), {}, 1.1e308, [[1], [-1]]),
    ("reduce_sum_square", ([1e200],), {}, inf, [[2e200]]),
    ("layer_normalization", (np.zeros((0, 3)), np.ones(3)), {}, np.zeros((0, 3)), [np.zeros((0, 3)), [0, 0, 0]]),
    ("layer_normalization", (np.zeros((3, 0)), np.ones(0)), {}, np.zeros((3, 0)), [np.zeros((3, 0)), np.zeros(0)]),
    ("rms_normalization", (np.zeros((0, 3)), np.ones(3)), {}, np.zeros((0, 3)), [np.zeros((0, 3)), [0, 0, 0]]),
    ("attention", ([[inf]], [[1.0], [0.0]], [[3.0], [5.0]]), {"scale": 1.0}, [[nan]], None),
    ("attention", ([[1e200]], [[1e200], [-1e200]], [[3.0], [5.0]]), {"scale": 1.0}, [[3.0]],
     [[[0]], [[0], [0]], [[1], [0]]]),
    ("attention", ([[1e200]], [[1e200], [1e200]], [[3.0], [5.0]]), {"scale": 1.0}, [[4.0]],
     [[[0]], [[-1e200 / 2], [1e200 / 2]], [[0.5], [0.5]]]),
]


@pytest.mark.sliced(by=["gate"], times=2)
@pytest.mark.parametrize(("gate", "operands", "attributes", "value", "gradients"), ENDS)
def test_infinite_empty_and_singular(gate, operands, attributes, value, gradients):
    circuit = document_of_ones(gate, [as_array(x) for x in operands], attributes)
    of_values = circuit if gradients is not None else None
    for engine in ENGINES:
        if engine == "jax" and any(0 < abs(x) < 1e-300 for x in np.ravel(as_array(value))):
            continue
        run = (function_of(cf.to_python(circuit, wrt=None if of_values else ())) if engine == "python" else
               cf.Executor(circuit).compile(wrt=None if of_values else (), engine=engine))
        found, slopes = run()
        np.testing.assert_allclose(found, value, 1e-14, err_msg=engine)
        for slope, gradient in zip(slopes.values(), gradients or [], strict=False):
            np.testing.assert_allclose(slope, gradient, 1e-14, err_msg=engine)


def document_of_ones(gate, arrays, attributes):
    """The gate on arrays; the upstream gradient is 1 everywhere."""
    case = Case(gate, tuple(arrays), attributes)
    circuit = document(case, arrays)
    text = json.loads(cf.dumps(circuit))
    for name, given in text["upstream"].items():
        if isinstance(given, dict):
            text["upstream"][name] = {**given, "data": [1.0] * len(np.ravel(given["data"]))}
        else:
            text["upstream"][name] = np.ones(np.shape(given)).tolist()
    return cf.loads(json.dumps(text))


def test_the_gradient_of_a_logarithm_of_exponentials_is_written_for_no_elements_too():
    c = cf.loads(json.dumps({"circuitflow": "1.0", "nodes": [
        {"id": "x", "gate": "input", "shape": ["n", 2]},
        {"id": "y", "gate": "reduce_log_sum_exp", "inputs": ["x"], "axis": 0},
        {"id": "z", "gate": "reduce_sum", "inputs": ["y"]}], "outputs": ["z"]}))
    gradient = cf.Executor(cf.gradient(c))
    assert gradient.forward({"x": np.zeros((0, 2))}).outputs["dx"].shape == (0, 2)
    np.testing.assert_array_equal(gradient.forward({"x": np.zeros((2, 2))}).outputs["dx"], np.full((2, 2), 0.5))


@pytest.mark.parametrize("ignored", [None, 7])
def test_a_cross_entropy_of_no_labels(ignored):
    found = GATES["softmax_cross_entropy_loss"].forward(np, np.zeros((0, 3)), np.zeros(0, np.int64), reduction="sum",
                                                        ignore_index=ignored)
    assert found == 0
