"""What is kept for the reverse sweep changes memory and time, never a number."""

from __future__ import annotations

import json
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given

import circuitflow as cf
from support.documents import circuit
from support.example_circuits import circuit_of
from support.gate_examples import EXAMPLES
from support.random_circuits import SETTINGS, documents
from support.slices import gate_of
from support.suite import FILES

everywhere = pytest.mark.parametrize("cache", ["needed", "recompute"])
SIZE = 100_000


def agree(loaded, cache, **question):
    executor = cf.Executor(loaded)
    whole, part = executor.run(**question), executor.run(cache=cache, **question)
    assert list(part.outputs) == list(whole.outputs) == list(part.values)
    assert list(part.gradients) == list(executor.plan(question.get("of"), question.get("wrt")).wrt)
    for name, value in part.outputs.items():
        np.testing.assert_array_equal(value, whole.outputs[name])
    for name, gradient in part.gradients.items():
        np.testing.assert_array_equal(gradient, whole.gradients[name])
        assert gradient.dtype == whole.gradients[name].dtype
    assert not part.contributions


@pytest.mark.sliced(example=gate_of)
@everywhere
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate(example, cache):
    agree(circuit_of(example), cache)


@everywhere
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example(path, cache):
    loaded = cf.load(path)
    of = "dx" if loaded.name == "gradient_of_staged" else None
    if of or loaded.upstream or all(loaded.type_of(output).shape == () for output in loaded.outputs.values()):
        agree(loaded, cache, of=of)
        inner = [name for name, node in loaded.nodes.items() if not node.is_source and not node.outputs
                 and node.types[0].is_float and node.types[0].shape == ()]
        agree(loaded, cache, of=inner[-1:], wrt=inner[:2])


@everywhere
@given(made=documents())
@SETTINGS
def test_random_circuits(cache, made):
    agree(cf.loads(json.dumps(made[0])), cache)


def chain(gates, depth=100):
    """Gates one after the other, each of which takes the last value and x."""
    nodes = [{"id": "x", "gate": "input", "shape": [SIZE]}, {"id": "h0", "gate": "identity", "inputs": ["x"]}]
    for i in range(depth):
        gate = gates[i % len(gates)]
        nodes.append({"id": f"h{i + 1}", "gate": gate, "inputs": [f"h{i}", "x"] if gate in ("add", "mul")
                      else [f"h{i}"]})
    return circuit(*nodes, {"id": "f", "gate": "reduce_sum", "inputs": [f"h{depth}"]})


def peak(loaded, cache):
    """How many arrays of the chain there are at a time."""
    executor = cf.Executor(loaded)
    x = np.full(SIZE, 0.5)
    executor.run({"x": x}, cache=cache)
    tracemalloc.start()
    executor.run({"x": x}, cache=cache)
    found = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    return found


@pytest.mark.parametrize(("gates", "all_", "needed", "recompute"), [
    # Values and, with all, gradients and contributions; a few more are under way.
    (["tanh"], (200, 400), (100, 106), (20, 27)),
    (["add"], (100, 400), (1, 6), (1, 16)),
    (["mul", "sin"], (200, 500), (100, 106), (20, 27)),
])
def test_memory(gates, all_, needed, recompute):
    loaded = chain(gates)
    for cache, (least, most) in (("all", all_), ("needed", needed), ("recompute", recompute)):
        assert least <= peak(loaded, cache) <= most, cache


@everywhere
@pytest.mark.parametrize("library", ["torch", "array_api_strict", "jax.numpy"])
def test_arrays_of_other_libraries(cache, library):
    xp = pytest.importorskip(library)
    executor = cf.Executor(chain(["mul", "add", "tanh"], 7))
    x = np.linspace(-1, 1, SIZE)
    found = executor.run({"x": xp.asarray(x, dtype=xp.float64) if library != "jax.numpy" else xp.asarray(x)},
                         cache=cache)
    assert type(found.gradients["x"]).__module__.partition(".")[0] in (library.partition(".")[0], "jaxlib")
    np.testing.assert_allclose(np.asarray(found.gradients["x"]), executor.run({"x": x}).gradients["x"], rtol=1e-12)


def test_a_cache_that_is_not_there():
    executor = cf.Executor(cf.load(FILES[0]))
    with pytest.raises(cf.InputError,
                       match=re.escape("there is no cache 'neded'; did you mean 'needed'?; there are all, needed, "
                                       "recompute")):
        executor.run(cache="neded")


def test_at_the_command_line(circuitflow):
    outcome = circuitflow("run", "circuits/staged.json", "--cache", "recompute")
    assert (outcome.status, outcome.out) == (0, "f = 1.54564\ndx = 2.05957\ndy = 1.59223\n")
    found = json.loads(circuitflow("run", "circuits/staged.json", "--cache", "needed", "--json").out)
    assert found["gradients"] == {"x": 2.0595697955721652, "y": 1.5922327514838093}
    assert found["contributions"] == []
    assert circuitflow("run", "circuits/staged.json", "--cache", "needed", "--forward").err.startswith(
        "error: --cache goes with a plain run")
