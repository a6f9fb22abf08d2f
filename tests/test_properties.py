"""Properties of circuits made at random, with JAX as the oracle of values and gradients."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import circuitflow as cf
from circuitflow.document.rewriting import with_edges, with_inputs
from circuitflow.document.writing import dumps

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)



def _product(*xs):
    result = xs[0]
    for x in xs[1:]:
        result = result * x
    return result


# gate: how many operands it takes, and the same in JAX
GATES = {
    "neg": (1, lambda x: -x), "sigmoid": (1, jax.nn.sigmoid), "tanh": (1, jnp.tanh), "softplus": (1, jax.nn.softplus),
    "relu": (1, jax.nn.relu), "abs": (1, jnp.abs), "identity": (1, lambda x: x), "reduce_sum": (1, jnp.sum),
    "sub": (2, jnp.subtract), "max": (2, jnp.maximum), "min": (2, jnp.minimum), "less": (2, jnp.less),
    "add": (None, lambda *xs: sum(xs[1:], xs[0])), "mul": (None, _product), "where": (3, jnp.where),
}
SHAPES = [(), (3,), (2, 3), (2, 1), (1, 3), (2, 0)]


@st.composite
def documents(draw, most=20):
    """A valid document of gates that fit, with forks, edges and `inputs` mixed; and its gates in JAX."""
    random = np.random.RandomState(draw(st.integers(0, 2**31)))
    nodes, edges, functions, values = [], [], {}, {}

    def add(gate, operands):
        name = f"g{len(functions)}"
        node = {"id": name, "gate": gate, **({"ties": "share"} if gate in ("max", "min") else {})}  # as JAX has it
        function = GATES[gate][1]
        how = draw(st.sampled_from(["inputs", "edges", "ports"]))
        if how == "inputs":
            node["inputs"] = operands
        elif how == "edges":
            edges.extend({"source": source, "target": name} for source in operands)
        else:
            order = draw(st.permutations(range(len(operands))))
            edges.extend({"source": operands[port], "target": name, "port": port} for port in order)
        nodes.append(node)
        functions[name] = (function, operands)
        values[name] = np.asarray(function(*(values[operand] for operand in operands)))
        return name

    for i in range(draw(st.integers(1, 3))):
        values[f"x{i}"] = random.uniform(-2, 2, draw(st.sampled_from(SHAPES)))
        nodes.append({"id": f"x{i}", "gate": draw(st.sampled_from(["input", "parameter"])),
                      "value": {"data": values[f"x{i}"].ravel().tolist(), "shape": list(values[f"x{i}"].shape)}})
    for _ in range(draw(st.integers(1, most))):
        gate = draw(st.sampled_from([name for name in GATES if name != "less"]))
        floats = [name for name, value in values.items() if value.dtype != bool]
        operand = st.sampled_from(floats)
        operands = draw(st.lists(operand, min_size=GATES[gate][0] or 2, max_size=GATES[gate][0] or 4))
        try:
            np.broadcast_shapes(*(values[name].shape for name in operands))
        except ValueError:
            operands = operands[:1] * len(operands)
        if gate == "where":
            operands[0] = add("less", operands[1:])
        name = add(gate, operands)
        if np.max(np.abs(values[name]), initial=0) > 10:
            name = add("tanh", [name])
    upstream = {"data": random.uniform(-1, 1, values[name].size).tolist(), "shape": list(values[name].shape)}
    return {"circuitflow": "1.0", "nodes": nodes, "edges": edges, "outputs": [name], "upstream": {name: upstream}}, functions


@SETTINGS
@given(documents())
def test_values_and_gradients_equal_jax(made):
    document, functions = made
    circuit = cf.loads(json.dumps(document))
    result = cf.Executor(circuit).run()
    names = list(circuit.values)

    def function(*sources):
        values = dict(zip(names, sources, strict=True))
        for name, (apply, operands) in functions.items():
            values[name] = apply(*(values[operand] for operand in operands))
        return values[document["outputs"][0]]

    output, vjp = jax.vjp(function, *(jnp.asarray(circuit.values[name]) for name in names))
    (value,) = result.outputs.values()
    (seed,) = circuit.upstream.values()
    np.testing.assert_allclose(value, output, rtol=1e-11, atol=1e-13)
    for name, theirs in zip(names, vjp(jnp.asarray(seed)), strict=True):
        if name in result.gradients:
            np.testing.assert_allclose(result.gradients[name], theirs, rtol=1e-9, atol=1e-11)


@SETTINGS
@given(documents())
def test_contributions_sum_to_gradients(made):
    result = cf.Executor(cf.loads(json.dumps(made[0]))).run()
    totals = {}
    for c in result.contributions:
        assert c.value.shape == result.values[c.source].shape
        totals[c.source] = totals.get(c.source, 0) + c.value
    for name, total in totals.items():
        if name not in result.outputs:
            np.testing.assert_allclose(total, result.gradients[name], rtol=1e-14)


@SETTINGS
@given(documents())
def test_documents_come_back_as_they_were(made):
    circuit = cf.loads(json.dumps(made[0]))
    text = cf.dumps(circuit)
    assert cf.loads(text) == circuit
    assert cf.dumps(cf.loads(text)) == text
    values = cf.Executor(circuit).forward().values
    for rewrite in (with_edges, with_inputs):
        again = cf.loads(dumps(rewrite(circuit.document)))
        for name, value in cf.Executor(again).forward().values.items():
            np.testing.assert_array_equal(value, values[name])


def is_valid_or_has_faults(document, data):
    """With something else in one place, a document causes nothing but faults, each of them printable and with a place."""
    parents = [document]
    for parent in parents:
        children = parent.values() if isinstance(parent, dict) else parent
        parents += [child for child in children if isinstance(child, dict | list)]
    parent = data.draw(st.sampled_from([p for p in parents if p]))
    key = data.draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
    strange = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
                        st.text(max_size=8), st.just([]), st.just({}), st.just([[1], 2]), st.just({"data": [1], "shape": [0]}),
                        st.sampled_from(["x0", "g0", "g0.x", "h", "x", "y", "input", "call", "scan", "if", "max", "NaN"]))
    if isinstance(parent, dict) and data.draw(st.booleans()):
        parent[data.draw(st.text(max_size=5))] = parent.pop(key)
    else:
        parent[key] = data.draw(strange)
    try:
        circuit = cf.loads(json.dumps(document))
        cf.Executor(circuit).forward()
    except cf.DocumentError as error:
        assert error.faults
        for fault in error.faults:
            assert fault.line
            assert all(line.isprintable() for line in str(fault).splitlines())
    except (cf.InputError, cf.GateError) as error:
        assert str(error).isprintable()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(documents(most=6), st.data())
def test_a_document_with_something_else_in_one_place_is_valid_or_has_faults(made, data):
    is_valid_or_has_faults(json.loads(json.dumps(made[0])), data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(
    ['{', '}', '[', ']', ',', ':', '"a"', '"', '1', '-', '1e999', 'NaN', 'null', ' ', '\n', '\\', '"\\ud800"', '//']), max_size=25).map("".join)))
def test_any_text_is_a_document_or_has_faults(text):
    try:
        cf.loads(text)
    except cf.DocumentError as error:
        assert all(line.isprintable() for line in str(error).splitlines())
