"""What a mask leaves out sends nothing back, however steep it is: every gate under every mask, on every engine."""

from __future__ import annotations

import importlib.util
import itertools
import json
from typing import Any

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.executor.masked import Masked, MaskedVocabulary, contributed, plain
from circuitflow.executor.vocabulary import Vocabulary
from circuitflow.gates import GATES, ArrayType
from documents import circuit
from edge_points import GIVEN, POINTS, as_array, inf, nan
from gate_examples import EXAMPLES


def is_smooth(gate: str, operands: tuple[Any, ...]) -> bool:
    """Whether a gate gives floats that have a gradient."""
    row = GATES[gate]
    types = [ArrayType(x.shape, str(x.dtype)) for x in map(as_array, operands)]
    made = row.shape(*types, **{**row.defaults, **GIVEN.get(gate, {})})
    return (made if isinstance(made, ArrayType) else made[0]).is_float and any(map(row.reaches, range(len(types))))


def under(mask: str, gate: str, operands: tuple[Any, ...], **attributes: Any) -> tuple[cf.Circuit, dict[str, Any]]:
    """A gate, and a mask that leaves all of its output out."""
    inputs = {f"x{i}": as_array(x) for i, x in enumerate(operands)}
    row = GATES[gate]
    outputs = row.output_names({**row.defaults, **attributes})
    f, circuits = f"f.{outputs[0]}" if outputs else "f", {}
    if mask == "where":
        masked = [{"id": "w", "gate": "where", "inputs": ["no", f, "zero"]}]
    elif mask == "where and a product":
        masked = [{"id": "v", "gate": "where", "inputs": ["yes", "one", f]}, {"id": "w", "gate": "mul", "inputs": ["v", "v"]}]
    else:
        circuits = {"circuits": {name: {"nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": gate, "inputs": ["x"]}], "outputs": ["y"]}
                                 for name, gate in (("then", "identity"), ("else", "zeros_like"))}}
        masked = [{"id": "w", "gate": "if", "then": "then", "else": "else", "inputs": {"condition": "no", "x": f}}]
    nodes = [*({"id": name, "gate": "input", "shape": list(x.shape), "dtype": str(x.dtype)} for name, x in inputs.items()),
             {"id": "f", "gate": gate, "inputs": list(inputs), **attributes},
             {"id": "no", "gate": "input", "dtype": "bool", "value": False}, {"id": "yes", "gate": "not", "inputs": ["no"]},
             {"id": "zero", "gate": "constant", "value": 0.0}, {"id": "one", "gate": "constant", "value": 1.0}, *masked,
             {"id": "s", "gate": "reduce_sum" if any(x.ndim for x in inputs.values()) else "identity", "inputs": ["w"]}]
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": nodes, "outputs": ["s"], **circuits})), inputs


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
    "interpreter": lambda c, inputs: {name: cf.Executor(c).run(inputs, wrt=by(inputs)).gradients[name] for name in by(inputs)},
    "needed": lambda c, inputs: cf.Executor(c).run(inputs, wrt=by(inputs), cache="needed").gradients,
    "document": lambda c, inputs: cf.Executor(cf.gradient(c, wrt=by(inputs))).forward(inputs).outputs,
    "hessian": lambda c, inputs: cf.Executor(cf.hessian(c, wrt=by(inputs))).forward(inputs).outputs,
    "hessian times ones": along_ones,
    "staged": compiled("staged"),
    "jax": compiled("jax"),
    "jax, over rows": over_rows("jax"),
    "export": exported,
}
SCALAR = {"tape": compiled("tape"), "tape, over rows": over_rows("tape"), "staged, over rows": over_rows("staged")}
MASKS = ["where", "where and a product", "if"]
SMOOTH = [point[:2] for point in POINTS if is_smooth(*point[:2])]


def need_zeros(found: Any) -> None:
    assert found
    for name, gradient in found.items():
        np.testing.assert_array_equal(gradient, np.zeros(np.shape(gradient)), err_msg=name)


@pytest.mark.parametrize("way", [*WAYS, *SCALAR])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("gate", "operands"), SMOOTH)
def test_what_is_left_out_sends_nothing_back(gate, operands, mask, way):
    if mask == "if" and way in ("jax", "jax, over rows", "export", *SCALAR):
        pytest.skip("takes no branch that goes by a value")
    if way in SCALAR and any(np.ndim(x) for x in operands):
        pytest.skip("of scalars")
    if way.startswith("tape, over") and importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed: pip install 'circuitflow[fast]'")
    if way.startswith("tape") and gate in ("lgamma", "polygamma"):
        pytest.skip("the tape takes no polygamma")
    c, inputs = under(mask, gate, operands, **GIVEN.get(gate, {}))
    need_zeros({**WAYS, **SCALAR}[way](c, inputs))


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
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
        contributed(example.gate, row, MaskedVocabulary(op), g if isinstance(out, tuple) else g[0], out, operands, wanted, attributes)
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
    "attention": ((np.ones((3, 2, 2)), np.arange(12.0).reshape(3, 2, 2), np.arange(12.0).reshape(3, 2, 2)), {}, 1),
}


@pytest.mark.parametrize("strange", [nan, inf, -inf])
@pytest.mark.parametrize("name", PRODUCTS)
def test_rows_that_are_left_out_send_nothing_back_through_products(name, strange):
    """As rows of padding that hold NaN: the gradients are those of rows that hold ordinary numbers."""
    operands, attributes, at = PRODUCTS[name]
    gate, rows = name.partition(" ")[0], {"gemm": (slice(None), 1), "matmul of a batch": (slice(None), 1), "matmul with vectors": (slice(None), 1)}
    shape = GATES[gate].shape(*(ArrayType(x.shape, "float64") for x in operands), **{**GATES[gate].defaults, **attributes}).shape
    axis = shape.index(3)
    seen = OUT.reshape([3 if i == axis else 1 for i in range(len(shape))]).tolist()
    names = [f"x{i}" for i in range(len(operands))]
    c = circuit(*({"id": n, "gate": "input", "shape": list(x.shape)} for n, x in zip(names, operands, strict=True)),
                {"id": "seen", "gate": "constant", "value": seen}, {"id": "f", "gate": gate, "inputs": names, **attributes}, "t = sin(f)",
                {"id": "zero", "gate": "constant", "value": 0.0}, "w = where(seen, t, zero)", "s = reduce_sum(w)")
    ordinary = dict(zip(names, operands, strict=True))
    odd = {n: x.copy() for n, x in ordinary.items()}
    odd[names[at]][rows.get(name, 1)] = strange
    expected = WAYS["interpreter"](c, ordinary)
    without = {"conv": "export", "conv_transpose": "export", "cholesky": "jax"}.get(gate, "none")  # has no such function, or symmetrises
    for way in WAYS.keys() - {"hessian", "hessian times ones"}:
        for n, gradient in zip(names, {} if way.startswith(without) else WAYS[way](c, odd).values(), strict=False):
            np.testing.assert_allclose(gradient, expected[n], rtol=1e-10, atol=1e-12, err_msg=f"{way}: {n}")
    hessian = cf.Executor(cf.hessian(c))
    second, found = hessian.forward(ordinary).outputs, hessian.forward(odd).outputs
    for block, x in second.items():
        np.testing.assert_allclose(found[block], x, rtol=1e-10, atol=1e-12, err_msg=block)


MATRICES = np.stack([np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 2.0], [2.0, -3.0]]), np.array([[4.0, 1.0], [1.0, 1.0]])])
OF_MATRICES = {"det": ["f"], "eigh": ["f.eigenvalues", "f.eigenvectors"], "svd": ["f.u", "f.s", "f.vh"], "qr": ["f.q", "f.r"],
               "slogdet": ["f.sign", "f.logabsdet"]}


@pytest.mark.parametrize("way", [*WAYS, "jacobian"])
@pytest.mark.parametrize(("gate", "strange"), [*itertools.product(OF_MATRICES, [nan, inf, 1.0]),
                                               ("det", 0.0), ("eigh", 0.0), ("svd", 0.0)])  # others need an inverse
def test_matrices_that_are_left_out_send_nothing_back_through_any_output(gate, strange, way):
    """A matrix of NaN, or one whose decomposition has no derivative, beside others; every output has the mask."""
    outputs = OF_MATRICES[gate]
    c = circuit({"id": "x", "gate": "input", "shape": [3, 2, 2]}, {"id": "f", "gate": gate, "inputs": ["x"]},
                {"id": "seen", "gate": "constant", "value": OUT.tolist()}, {"id": "zero", "gate": "constant", "value": 0.0},
                {"id": "f0", "gate": "transpose", "inputs": [outputs[0]]},
                *({"id": f"f{i}", "gate": "transpose", "inputs": [y]} for i, y in enumerate(outputs) if i),
                *(f"w{i} = where(seen, f{i}, zero)" for i in range(len(outputs))),
                *(f"q{i} = square(w{i})" for i in range(len(outputs))), *(f"p{i} = mul(q{i}, w{i})" for i in range(len(outputs))),
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
