"""Circuits made at random, with their gates in JAX, and documents with something else in one place."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import circuitflow as cf
from support.documents import circuit
from support.slices import few

SETTINGS = settings(max_examples=few(60), suppress_health_check=[HealthCheck.too_slow])


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
    return {"circuitflow": "1.0", "nodes": nodes, "edges": edges, "outputs": [name],
            "upstream": {name: upstream}}, functions


def is_valid_or_has_faults(document, data):
    """With something else in one place, a document causes nothing but faults, each of them printable and with a
    place."""
    parents = [document]
    for parent in parents:
        children = parent.values() if isinstance(parent, dict) else parent
        parents += [child for child in children if isinstance(child, dict | list)]
    parent = data.draw(st.sampled_from([p for p in parents if p]))
    key = data.draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
    strange = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70),
                        st.floats(allow_nan=False, allow_infinity=False),
                        st.text(max_size=8), st.just([]), st.just({}), st.just([[1], 2]),
                        st.just({"data": [1], "shape": [0]}),
                        st.sampled_from(["x0", "g0", "g0.x", "h", "x", "y", "input", "call", "scan", "if", "max",
                                         "NaN"]))
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


def random_scalars(seed, size=60):
    """Gates that fork and join, some of many operands, some that no gradient reaches."""
    random = np.random.RandomState(seed)
    nodes = [{"id": f"x{i}", "gate": "input", "value": round(random.uniform(-1, 1), 3)} for i in range(4)]
    nodes.append({"id": "zero", "gate": "constant", "value": 0})
    names = [node["id"] for node in nodes]
    kinds = {"add": 2, "mul": 2, "sub": 2, "max": 3, "tanh": 1, "sigmoid": 1, "stop_gradient": 1, "abs": 1, "mean": 4,
             "clip": 1, "pow": 2}
    for i in range(size):
        kind = random.choice(list(kinds))
        count = random.choice([kinds[kind], 12]) if kind in ("add", "mul", "max") else kinds[kind]
        operands = [str(name) for name in random.choice(names, count)]
        if kind == "pow":
            operands[1] = "zero"
        if kind == "add":
            nodes.append({"id": f"s{i}", "gate": "mean", "inputs": operands})
            nodes.append({"id": f"c{i}", "gate": "less", "inputs": operands[:2]})
            nodes.append({"id": f"w{i}", "gate": "where", "inputs": [f"c{i}", f"s{i}", operands[0]]})
            names.append(f"w{i}")
        nodes.append({"id": f"g{i}", "gate": kind, "inputs": operands,
                      **({"min": -0.5, "max": 0.6} if kind == "clip" else {})})
        nodes.append({"id": f"t{i}", "gate": "tanh", "inputs": [f"g{i}"]})
        names.append(f"t{i}")
    return circuit(*nodes, {"id": "f", "gate": "mean", "inputs": names[-9:]}, outputs=["f", names[-12]])
