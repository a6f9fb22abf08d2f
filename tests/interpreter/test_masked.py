"""What a mask leaves out sends nothing back, however steep it is: every gate under every mask, on every engine."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.tape.run import Taped
from circuitflow.engines.thresholds import Thresholds
from circuitflow.export.dialect import HELPERS
from circuitflow.gates import GATES, ArrayType
from circuitflow.gates.sums import product_kept
from circuitflow.interpreter.libraries import JaxNumpy
from circuitflow.interpreter.masked import Masked, MaskedVocabulary, contributions_of, plain
from circuitflow.interpreter.question import Question
from circuitflow.interpreter.vocabulary import Vocabulary
from support.documents import circuit
from support.edge_points import GIVEN, POINTS, as_array, inf, nan
from support.gate_examples import EXAMPLES
from support.slices import choose, family_of


def is_smooth(gate: str, operands: tuple[Any, ...]) -> bool:
    """Whether a gate gives floats that have a gradient."""
    row = GATES[gate]
    types = [ArrayType(x.shape, str(x.dtype)) for x in map(as_array, operands)]
    made = row.shape(*types, **{**row.defaults, **GIVEN.get(gate, {})})
    return (made if isinstance(made, ArrayType) else made[0]).is_float and any(map(row.reaches, range(len(types))))


def under(mask: str, points: Sequence[tuple[str, tuple[Any, ...]]]) -> tuple[cf.Circuit, dict[str, Any]]:
    """Gates, and a mask that leaves all of their outputs out."""
    inputs: dict[str, Any] = {}
    nodes: list[dict[str, Any]] = [
        {"id": "no", "gate": "input", "dtype": "bool", "value": False}, {"id": "yes", "gate": "not", "inputs": ["no"]},
        {"id": "zero", "gate": "constant", "value": 0.0}, {"id": "one", "gate": "constant", "value": 1.0}]
    for k, (gate, operands) in enumerate(points):
        given = {f"x{k}_{i}": as_array(x) for i, x in enumerate(operands)}
        inputs |= given
        attributes = GIVEN.get(gate, {})
        outputs = GATES[gate].output_names({**GATES[gate].defaults, **attributes})
        f = f"f{k}.{outputs[0]}" if outputs else f"f{k}"
        nodes += ({"id": name, "gate": "input", "shape": list(x.shape), "dtype": str(x.dtype)} for name,
                  x in given.items())
        nodes.append({"id": f"f{k}", "gate": gate, "inputs": list(given), **attributes})
        if mask == "where":
            nodes.append({"id": f"w{k}", "gate": "where", "inputs": ["no", f, "zero"]})
        elif mask == "where and a product":
            nodes += [{"id": f"v{k}", "gate": "where", "inputs": ["yes", "one", f]},
                      {"id": f"w{k}", "gate": "mul", "inputs": [f"v{k}", f"v{k}"]}]
        else:
            nodes.append({"id": f"w{k}", "gate": "if", "then": "then", "else": "else",
                          "inputs": {"condition": "no", "x": f}})
        if any(x.ndim for x in given.values()):
            nodes.append({"id": f"s{k}", "gate": "reduce_sum", "inputs": [f"w{k}"]})
    nodes.append({"id": "s", "gate": "add",
                  "inputs": ["zero", *(f"s{k}" if any(map(np.ndim, operands)) else f"w{k}" for k,
                                       (_, operands) in enumerate(points))]})
    circuits = {name: {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": gate, "inputs": ["x"]}],
                       "outputs": ["y"]}
                for name, gate in (("then", "identity"), ("else", "zeros_like"))} if mask == "if" else None
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": ["s"],
                                **({"circuits": circuits} if circuits else {})})), inputs


def by(inputs: dict[str, Any]) -> list[str]:
    return [name for name, x in inputs.items() if x.dtype.kind == "f"]


def along_ones(c: cf.Circuit, inputs: dict[str, Any]) -> Any:
    tangents = {f"{name}_dot": np.ones_like(inputs[name]) for name in by(inputs)}
    return cf.Executor(cf.hvp(c, wrt=by(inputs))).forward({**inputs, **tangents}).outputs


def compiled(engine: str) -> Any:
    return lambda c, inputs: cf.Executor(c).compile(wrt=by(inputs), engine=engine)(inputs)[1]


def over_rows(engine: str) -> Any:
    def run(c: cf.Circuit, inputs: dict[str, Any]) -> Any:
        columns = {name: np.stack([x, x, x]) for name, x in inputs.items()}
        return {name: x[1] for name, x in cf.Executor(c).vmap(wrt=by(inputs), engine=engine)(columns)[1].items()}

    return run


def exported(c: cf.Circuit, inputs: dict[str, Any]) -> Any:
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(cf.to_python(c, wrt=by(inputs), inputs=inputs), "exported", "exec"), names)
    with np.errstate(all="ignore"):
        return names["value_and_grad"](**{name: x.item() if x.ndim == 0 else x for name, x in inputs.items()})[1]


WAYS = {
    "interpreter": lambda c,
    inputs: {name: cf.Executor(c).run(inputs, wrt=by(inputs)).gradients[name] for name in by(inputs)},
    "needed": lambda c, inputs: cf.Executor(c).run(inputs, wrt=by(inputs), cache="needed").gradients,
    "document": lambda c, inputs: cf.Executor(cf.gradient(c, wrt=by(inputs))).forward(inputs).outputs,
    "hessian": lambda c, inputs: cf.Executor(cf.hessian(c, wrt=by(inputs))).forward(inputs).outputs,
    "hessian times ones": along_ones,
    "staged": compiled("staged"),
    "jax": compiled("jax"),
    "jax, over rows": over_rows("jax"),
    "export": exported,
}


def taped(c: cf.Circuit, inputs: dict[str, Any]) -> Any:
    """On a tape in Python; numba takes a minute for so many gates."""
    return Taped(Question(cf.Executor(c), None, by(inputs)), Thresholds(), fast=False)(inputs)[1]


SCALAR = {"tape": taped, "tape, over rows": over_rows("tape"), "staged, over rows": over_rows("staged")}
MASKS = ["where", "where and a product", "if"]
SMOOTH = [point[:2] for point in POINTS if is_smooth(*point[:2])]


PARTS = {"families": [SMOOTH[i] for i in sorted(choose([{"family": family_of(gate)} for gate, _ in SMOOTH]))],
         "all": SMOOTH}
"""A point of every family, and all."""


def takes(way, mask):
    if mask == "if":
        return way not in ("jax", "jax, over rows", "export", *SCALAR)  # takes no branch that goes by a value
    return mask == "where" or way not in ("jax", "jax, over rows", "tape, over rows")  # is compiled as a mask alone is


@pytest.mark.sliced
@pytest.mark.parametrize("part", ["families", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize(("mask", "way"),
                         [(mask, way) for mask in MASKS for way in [*WAYS, *SCALAR] if takes(way, mask)])
def test_what_is_left_out_sends_nothing_back(mask, way, part):
    """Of every point of the page of conventions, by itself and of all in one circuit where it has to be compiled."""
    if way.startswith("tape, over") and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed: pip install 'circuitflow[fast]'")
    points = [(gate, operands) for gate, operands in PARTS[part] if way not in SCALAR
              or not (any(map(np.ndim, operands)) or (way.startswith("tape") and gate in ("lgamma", "polygamma")))]
    together = [points] if way in ("jax", "jax, over rows", "tape",
                                   "tape, over rows") else [[point] for point in points]
    failed = []
    for some in together:
        c, inputs = under(mask, some)
        found = {**WAYS, **SCALAR}[way](c, inputs)
        assert found
        names = by(inputs) if way != "hessian" else list(found)
        failed += [(some[int(name[1:].split("_")[0])] if way != "hessian" else some, gradient)
                   for name, gradient in zip(names, found.values(), strict=True) if np.any(np.asarray(gradient) != 0)]
    assert not failed


# whose rules choose by the gradient
@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.gate not in ("eigh", "svd")], ids=str)
def test_a_zero_of_a_mask_passes_every_gate_that_rules_apply_to_it(example, monkeypatch):
    """Whatever the other operands of such a gate are: what is 0 in the gradient is 0 in what the gate gives for it."""
    row, op = GATES[example.gate], Vocabulary(np, GATES)
    attributes = {**row.defaults, **example.attributes}
    operands = [np.asarray(x) for x in example.operands]
    calls: list[tuple[str, Any, dict[str, Any]]] = []
    apply = MaskedVocabulary._apply

    def recorded(self: Any, name: str, function: Any, *xs: Any, **given: Any) -> Any:
        if any(isinstance(x, Masked) for x in xs):
            calls.append((name, xs, given))
        return apply(self, name, function, *xs, **given)

    monkeypatch.setattr(MaskedVocabulary, "_apply", recorded)
    with np.errstate(all="ignore"):
        out = row.forward(np, *operands, **attributes)
        outs = out if isinstance(out, tuple) else (out,)
        g = tuple(Masked(op, np.ones_like(x)) for x in outs)
        wanted = [x.dtype.kind == "f" and row.reaches(i) for i, x in enumerate(operands)]
        if not any(wanted):
            return
        contributions_of(example.gate, row, MaskedVocabulary(op), g if isinstance(out, tuple) else g[0], out, operands,
                    wanted, attributes)
        monkeypatch.undo()
        for name, xs, given in calls:
            found = MaskedVocabulary(op)._apply(name, getattr(op, name), *map(strange, xs), **given)
            for y in found if isinstance(found, tuple) else (found,):
                assert not np.isnan(plain(y)).any(), name


def strange(x: Any) -> Any:
    """Zeros in the place of a marked gradient, NaN in the place of any other array of floats but zeros.

    A NaN that a rule writes stands beside a condition, which is no longer that of the gradient.
    """
    if isinstance(x, Masked):
        return Masked(x.op, np.zeros_like(x.value))
    if isinstance(x, float):
        return 0.0 if np.isnan(x) else x
    return np.full_like(x, nan) if getattr(x, "dtype", np.dtype(int)).kind == "f" and np.any(x) else x


A, B = np.arange(6.0).reshape(3, 2), np.arange(8.0).reshape(2, 4) - 3
OUT = np.array([True, False, True])
PRODUCTS = {
    "matmul": ((A, B), {}, 0),
    "matmul of a batch": ((np.stack([A, A + 1]), B), {}, 0),
    "matmul with a stretched batch": ((A, np.stack([B, B * 2])), {}, 0),
    "matmul with vectors": ((np.arange(2.0), B[:, :3]), {}, 1),
    "gemm": ((A.T, B, np.ones(4)), {"trans_a": True}, 0),
    "outer": ((np.arange(3.0) + 1, np.arange(4.0)), {}, 0),
    "einsum": ((A, B, np.ones(4)), {"equation": "ik,kj,j->ij"}, 0),
    "conv": ((np.ones((3, 2, 5)), np.ones((4, 2, 3)), np.ones(4)), {}, 0),
    "conv with strides": ((np.ones((3, 4, 9)), np.arange(24.0).reshape(4, 2, 3) - 9),
                          {"group": 2, "strides": [2], "pads": [[1, 0]]}, 0),
    "conv with dilations": ((np.ones((3, 1, 5, 9)), np.arange(6.0).reshape(1, 1, 2, 3) - 2),
                            {"dilations": [1, 3], "strides": [2, 2], "pads": [[0, 0], [0, 2]]}, 0),
    "conv_transpose": ((np.ones((3, 2, 5)), np.ones((2, 4, 3))), {}, 0),
    "layer_normalization": ((A, np.ones(2), np.ones(2)), {}, 0),
    "rms_normalization": ((A, np.ones(2)), {}, 0),
    "reduce_log_sum_exp": ((A,), {"axis": 1}, 0),
    "reduce_prod": ((A,), {"axis": 1}, 0),
    "softmax": ((A,), {}, 0),
    "solve": ((np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]), np.ones((3, 2, 1))), {}, 0),
    "inv": ((np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]),), {}, 0),
    "det": ((np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]),), {}, 0),
    "cholesky": ((np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]),), {}, 0),
    "eigh": ((np.stack([np.diag([1.0, 2]), np.diag([1.0, 3]), np.diag([2.0, 3])]),), {}, 0),
    "svd": ((np.stack([np.diag([1.0, 2]), np.diag([1.0, 3]), np.diag([2.0, 3])]),), {}, 0),
    "attention": ((np.ones((3, 2, 2)), np.arange(12.0).reshape(3, 2, 2), np.arange(12.0).reshape(3, 2, 2)), {}, 1),
}


@pytest.mark.sliced(name=lambda name: len(name) % 3)
@pytest.mark.parametrize("strange", [nan, inf, -inf])
@pytest.mark.parametrize("name", PRODUCTS)
def test_rows_that_are_left_out_send_nothing_back_through_products(name, strange):
    """As rows of padding that hold NaN: the gradients are those of rows that hold ordinary numbers."""
    operands, attributes, at = PRODUCTS[name]
    gate, rows = name.partition(" ")[0], {"gemm": (slice(None), 1), "matmul of a batch": (slice(None), 1),
                                          "matmul with vectors": (slice(None), 1)}
    types = GATES[gate].shape(*(ArrayType(x.shape, "float64") for x in operands),
                              **{**GATES[gate].defaults, **attributes})
    shape, f = (types.shape, "f") if isinstance(types, ArrayType) else (types[gate == "svd"].shape,
                                                                        f"f.{GATES[gate].outputs[gate == 'svd']}")
    axis = shape.index(3)
    seen = OUT.reshape([3 if i == axis else 1 for i in range(len(shape))]).tolist()
    names = [f"x{i}" for i in range(len(operands))]
    c = circuit(*({"id": n, "gate": "input", "shape": list(x.shape)} for n, x in zip(names, operands, strict=True)),
                {"id": "seen", "gate": "constant", "value": seen},
                {"id": "f", "gate": gate, "inputs": names, **attributes}, f"t = sin({f})",
                {"id": "zero", "gate": "constant", "value": 0.0}, "w = where(seen, t, zero)", "s = reduce_sum(w)")
    ordinary = dict(zip(names, operands, strict=True))
    odd = {n: x.copy() for n, x in ordinary.items()}
    odd[names[at]][rows.get(name, 1)] = strange
    expected = WAYS["interpreter"](c, ordinary)
    # has no such function, or symmetrises
    without = {"conv": "export", "conv_transpose": "export", "cholesky": "jax"}.get(gate, "none")
    for way in WAYS.keys() - {"hessian", "hessian times ones"}:
        for n, gradient in zip(names, {} if way.startswith(without) else WAYS[way](c, odd).values(), strict=False):
            np.testing.assert_allclose(gradient, expected[n], rtol=1e-10, atol=1e-12, err_msg=f"{way}: {n}")
    hessian = cf.Executor(cf.hessian(c))
    second, found = hessian.forward(ordinary).outputs, hessian.forward(odd).outputs
    for block, x in second.items():
        np.testing.assert_allclose(found[block], x, rtol=1e-10, atol=1e-12, err_msg=block)


# The product ----------------------------------------------------------------------------------------------------------

STRANGE = np.array([0.0, -0.0, 1.5, -2.0, inf, -inf, nan])


def exactly(a: Any, b: Any) -> Any:
    """Sums of products, every product with a 0 left out."""
    with np.errstate(all="ignore"):
        products = a[..., :, :, None] * b[..., None, :, :]
        return np.where((a[..., :, :, None] == 0) | (b[..., None, :, :] == 0), 0.0, products).sum(axis=-2)


def product_in(library: str, a: Any, b: Any) -> Any:
    if library == "exported":
        names: dict[str, Any] = {"np": np}
        exec(HELPERS["long_product"] + "\n" + HELPERS["product_kept"], names)
        return names["product_kept"](a, b)
    if library in ("jax", "jax, compiled"):
        with jax.enable_x64(True):
            product = functools.partial(product_kept, JaxNumpy())
            return np.asarray((jax.jit(product) if library.endswith("compiled")
                               else product)(jnp.asarray(a), jnp.asarray(b)))
    if library == "torch":
        torch = pytest.importorskip("torch", reason="torch is too large to be a dependency of the tests")
        import array_api_compat.torch as xp
        return product_kept(xp, torch.tensor(a), torch.tensor(b)).numpy()
    return product_kept(np, a, b)


@pytest.mark.sliced
@pytest.mark.parametrize("library", ["numpy", "jax", "jax, compiled", "torch", "exported"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shapes", [((3, 4), (4, 2)), ((5, 3, 1), (1, 2)), ((2, 0), (0, 3)), ((2, 1100), (1100, 2))],
                         ids=str)
def test_a_product_whose_zeros_are_kept(shapes, dtype, library):
    random = np.random.default_rng(0)
    for odd in (0.0, 0.1, 1.0):
        a, b = (np.where(random.random(shape) < odd, random.choice(STRANGE, shape),
                         random.standard_normal(shape)).astype(dtype) for shape in shapes)
        with np.errstate(all="ignore"):
            found = product_in(library, a, b)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exactly(a.astype(float), b.astype(float)), rtol=1e-5 if dtype == np.float32
                                   else 1e-12, atol=1e-5 if dtype == np.float32 else 1e-12)
MATRICES = np.stack([np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 2.0], [2.0, -3.0]]),
                     np.array([[4.0, 1.0], [1.0, 1.0]])])
OF_MATRICES = {"det": ["f"], "eigh": ["f.eigenvalues", "f.eigenvectors"], "svd": ["f.u", "f.s", "f.vh"],
               "qr": ["f.q", "f.r"],
               "slogdet": ["f.sign", "f.logabsdet"]}


@pytest.mark.sliced(by=["gate", "way"])
@pytest.mark.parametrize("way", [*WAYS, "jacobian"])
@pytest.mark.parametrize(("gate", "strange"), [*itertools.product(OF_MATRICES, [nan, inf, 1.0]),
                                               ("det", 0.0), ("eigh", 0.0), ("svd", 0.0)])  # others need an inverse
def test_matrices_that_are_left_out_send_nothing_back_through_any_output(gate, strange, way):
    """A matrix of NaN, or one whose decomposition has no derivative, beside others; every output has the mask."""
    outputs = OF_MATRICES[gate]
    c = circuit({"id": "x", "gate": "input", "shape": [3, 2, 2]}, {"id": "f", "gate": gate, "inputs": ["x"]},
                {"id": "seen", "gate": "constant", "value": OUT.tolist()},
                {"id": "zero", "gate": "constant", "value": 0.0},
                {"id": "f0", "gate": "transpose", "inputs": [outputs[0]]},
                *({"id": f"f{i}", "gate": "transpose", "inputs": [y]} for i, y in enumerate(outputs) if i),
                *(f"w{i} = where(seen, f{i}, zero)" for i in range(len(outputs))),
                *(f"q{i} = square(w{i})" for i in range(len(outputs))),
                *(f"p{i} = mul(q{i}, w{i})" for i in range(len(outputs))),
                *(f"s{i} = reduce_sum(p{i})" for i in range(len(outputs))),
                f"s = {'add' if len(outputs) > 1 else 'identity'}({', '.join(f's{i}' for i in range(len(outputs)))})")
    odd = MATRICES.copy()
    odd[1] = np.diag([strange, strange]) if np.isfinite(strange) else strange
    if way == "jacobian":
        jacobian = cf.Executor(cf.jacobian(c, of=[f"f{len(outputs) - 1}"]))
        (expected,), (found,) = (jacobian.forward({"x": x}).outputs.values() for x in (MATRICES, odd))
        expected, found = (x[..., [0, 2], :, :, :][..., [0, 2], :, :] for x in (expected, found))
    else:
        expected, found = ({name: np.asarray(x) for name, x in WAYS[way](c, {"x": x}).items()} for x in (MATRICES, odd))
        (expected,), (found,) = expected.values(), found.values()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("steps", [{}, {"output_padding": [0, 1], "strides": [1, 2]},
                                   {"group": 2, "pads": [[1, 0], [0, 2]]},
                                   {"output_padding": [2, 3], "dilations": [3, 4], "strides": [2, 1]}], ids=str)
def test_a_transposed_convolution_whose_zeros_are_kept(steps):
    """Its value is that of the gate, also where the output padding has room for more windows."""
    row, random, op = GATES["conv_transpose"], np.random.default_rng(0), Vocabulary(np, GATES)
    for has_b in (False, True):
        x, w = random.standard_normal((2, 4, 4, 5)), random.standard_normal((4, 3, 2, 3))
        operands = [x, w, *([random.standard_normal(3 * steps.get("group", 1))] if has_b else [])]
        expected = row.forward(np, *operands, **{**row.defaults, **steps})
        np.testing.assert_allclose(row.facets.product(op, 0, *operands, **steps), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gate", ["mul", "div", "matmul"])
def test_products_by_name_keep_zeros_too(gate):
    """Rules multiply by operators; a rule that calls the gate gets the same."""
    op = Vocabulary(np, GATES)
    with np.errstate(all="ignore"):
        found = getattr(MaskedVocabulary(op), gate)(Masked(op, np.zeros((2, 2))), np.full((2, 2), nan))
    np.testing.assert_array_equal(plain(found), np.zeros((2, 2)))


# Keys and labels ------------------------------------------------------------------------------------------------------

def same(c: cf.Circuit, ordinary: dict[str, Any], odd: dict[str, Any], second: list[str]) -> None:
    """What is strange in places that are masked changes no value and no derivative."""
    executor, hessian = cf.Executor(c), cf.Executor(cf.hessian(c, wrt=second))
    run = executor.run(ordinary)
    for engine in ("interpreter", "staged", "jax"):
        value, gradients = executor.compile(engine=engine)(odd)
        np.testing.assert_allclose(value, run.outputs["f"], rtol=1e-12)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, run.gradients[name], rtol=1e-10, atol=1e-12,
                                       err_msg=f"{engine}: {name}")
    expected, found = hessian.forward(ordinary).outputs, hessian.forward(odd).outputs
    for name, block in expected.items():
        np.testing.assert_allclose(found[name], block, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("causal", [False, True])
def test_keys_that_no_query_sees_may_be_anything(causal):
    random = np.random.default_rng(0)
    ordinary = {name: random.standard_normal(shape) for name,
                shape in {"q": (2, 3, 2), "k": (2, 4, 2), "v": (2, 4, 5), "w": (2, 2)}.items()}
    seen = [[[True, True, False, True], [True, False, False, True], [True, True, False, False]]]
    c = circuit(*({"id": name, "gate": "input", "shape": list(x.shape)} for name, x in ordinary.items()),
                "kw = matmul(k, w)",
                {"id": "seen", "gate": "constant", "value": seen},
                {"id": "a", "gate": "attention", "inputs": ["q", "kw", "v", "seen"], "causal": causal}, "t = square(a)",
                "f = reduce_sum(t)")
    odd = {name: x.copy() for name, x in ordinary.items()}
    # the fourth key lies behind every query
    odd["k"][:, 2:4 if causal else 3], odd["v"][:, 2:4 if causal else 3] = nan, inf
    same(c, ordinary, odd, ["q", "w"])


@pytest.mark.parametrize("gate", ["softmax_cross_entropy_loss", "negative_log_likelihood_loss"])
def test_rows_whose_label_is_ignored_may_be_anything(gate):
    ordinary = {"x": np.array([[1.0, 2, 3], [4, 5, 6], [0, 1, 0]]),
                "w": np.random.default_rng(0).standard_normal((3, 3))}
    c = circuit({"id": "x", "gate": "input", "shape": [3, 3]}, {"id": "w", "gate": "input", "shape": [3, 3]},
                "l = matmul(x, w)",
                {"id": "y", "gate": "constant", "value": [0, -1, 2], "dtype": "int64"},
                {"id": "f", "gate": gate, "inputs": ["l", "y"], "ignore_index": -1})
    for strange in (nan, inf):
        odd = {name: x.copy() for name, x in ordinary.items()}
        odd["x"][1] = strange
        same(c, ordinary, odd, ["w"])


@pytest.mark.parametrize("rule", [lambda g: 3.0 + g, lambda g: 3.0 - g, lambda g: g - 3.0, lambda g: -g, abs,
                                  lambda g: g[1:], lambda g: 2 * g, lambda g: g / 2, lambda g: np.float64(3) - g])
def test_a_marked_gradient_is_reckoned_with_as_its_value(rule):
    op = Vocabulary(np, GATES)
    g = np.array([0.0, -2.0, 5.0])
    marked = rule(Masked(op, g))
    assert isinstance(marked, Masked)
    np.testing.assert_array_equal(plain(marked), rule(g))
