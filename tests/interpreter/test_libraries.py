"""Arrays of other libraries: numbers have the dtypes of the document, whatever the library does by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import circuitflow as cf
from circuitflow.document.base import DTYPES
from support.documents import circuit

FLOATS = ("float64", "float32", "float16")
NUMBERS = {dtype: [True, False] if dtype == "bool" else [1, 3] for dtype in DTYPES} | {
    "float64": [2.0**40 + 5, 1e300], "float32": [16777217.0, 1e30], "int64": [2**40 + 5, -(2**62)],
    "uint64": [2**40 + 5, 2**63 + 1]}


@pytest.fixture(params=[False, True], ids=["default mode", "64 bits"])
def jax_mode(request):
    with jax.enable_x64(request.param):
        yield request.param


def _of(dtype, *nodes, outputs=("f",)):
    return cf.Executor(circuit({"id": "x", "gate": "input", "shape": [2], "dtype": dtype},
                               {"id": "k", "gate": "constant", "value": {"data": NUMBERS[dtype], "dtype": dtype}},
                               *nodes, outputs=list(outputs)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_computes_in_the_dtypes_of_the_document(dtype, jax_mode):
    """As NumPy does. In its default mode JAX would make 64-bit numbers 32-bit."""
    executor = _of(dtype, {"id": "s", "gate": "stack", "inputs": ["x", "k"]},
                   {"id": "f", "gate": "reduce_max", "inputs": ["s"], "axis": 0} if dtype != "bool"
                   else "f = identity(s)",
                   outputs=["f", "s"])
    given = np.array([1, 0], dtype)
    expected = executor.forward({"x": given})
    found = executor.forward({"x": jnp.asarray(given) if dtype[-2:] != "64"
                              else jnp.asarray(given.astype(dtype.replace("64", "32")))})
    for name in ("f", "s"):
        assert isinstance(found.outputs[name], jax.Array)
        assert str(found.outputs[name].dtype) == dtype
        np.testing.assert_array_equal(np.asarray(found.outputs[name]), expected.outputs[name])
    assert jnp.asarray(1.5).dtype == ("float64" if jax_mode else "float32"), "the mode of the caller is as it was"


@pytest.mark.parametrize("cache", ["all", "needed", "recompute"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_gradients_have_them_too(dtype, cache, jax_mode):
    executor = _of(dtype, "p = mul(x, k)", "q = sin(p)", {"id": "f", "gate": "reduce_sum", "inputs": ["q"]})
    given = np.array([0.75, 0.5], dtype)
    expected = executor.run({"x": given}, cache=cache, upstream={"f": 3})
    found = executor.run({"x": jnp.asarray(given, "float16")}, cache=cache, upstream={"f": jnp.asarray(3, "float16")})
    assert (str(found.outputs["f"].dtype), str(found.gradients["x"].dtype)) == (dtype, dtype)
    # float16 overflows into the sine
    np.testing.assert_allclose(np.asarray(found.gradients["x"]), expected.gradients["x"],
                               rtol=1e-6 if dtype != "float64" else 1e-15)


@pytest.mark.parametrize("library", ["jax.numpy", "torch"])
def test_everything_that_works_on_a_result_keeps_its_numbers(library, jax_mode):
    xp = pytest.importorskip(library)
    executor = cf.Executor(circuit("x = 1", "a = mul(x, x)", {"id": "k", "gate": "constant", "value": 2.0**40},
                                   "b = mul(x, k)",
                                   "c = mul(x, x)", "f = add(a, b, c)"))
    expected, found = executor.run(), executor.run({"x": xp.asarray(1.0)})
    assert cf.explain(found) == cf.explain(expected)
    assert "1099511627780" in cf.explain(found) or "1.09951e+12" in cf.explain(found)
    assert cf.check(executor.circuit, {"x": xp.asarray(1.0)}).ok
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("gate", ["scan", "checkpoint", "if"])
def test_structure_keeps_the_dtypes(gate, jax_mode):
    body = {"nodes": [{"id": "h", "gate": "input"}, {"id": "w", "gate": "constant", "value": 2.0**-40},
                      {"id": "g", "gate": "add", "inputs": ["h", "w"]}], "outputs": ["g"]}
    if gate == "scan":
        body["nodes"][0:0] = [{"id": "t", "gate": "input"}]
        body["nodes"].append({"id": "y", "gate": "mul", "inputs": ["t", "g"]})
        body["outputs"] = ["y", "g"]
        node = {"id": "s", "gate": "scan", "circuit": "C", "inputs": {"t": "xs", "h": "one"}, "over": ["t"],
                "carry": {"h": "g"}}
    else:
        node = {"id": "s", "gate": gate, "inputs": {"h": "one"},
                **({"circuit": "C"} if gate == "checkpoint" else {"then": "C", "else": "C"})}
        if gate == "if":
            node["inputs"]["condition"] = "yes"
    c = circuit("xs = [1, 2]", "one = 1", {"id": "yes", "gate": "constant", "value": True}, node,
                {"id": "f", "gate": "reduce_sum", "inputs": ["s.y" if gate == "scan" else "s"]}, circuits={"C": body})
    expected, found = cf.Executor(c).run(), cf.Executor(c).run({"one": jnp.asarray(1.0)})
    assert str(found.outputs["f"].dtype) == "float64"
    assert float(found.outputs["f"]) == float(expected.outputs["f"]) != round(float(expected.outputs["f"]))
    assert float(found.gradients["one"]) == float(expected.gradients["one"])


def test_the_mode_of_other_threads_is_left_alone():
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "shape": [2]},
                                   *(f"n{i} = sin({'x' if not i else f'n{i - 1}'})" for i in range(40)),
                                   {"id": "f", "gate": "reduce_sum", "inputs": ["n39"]}))
    seen, running = [], threading.Event()

    def watch():
        with jax.enable_x64(False):
            while not running.is_set():
                seen.append(jnp.asarray([1.5]).dtype)

    thread = threading.Thread(target=watch)
    thread.start()
    with jax.enable_x64(False):
        found = [str(executor.run({"x": jnp.ones(2)}).gradients["x"].dtype) for _ in range(5)]
    running.set()
    thread.join()
    assert found == ["float64"] * 5
    assert set(map(str, seen)) == {"float32"}


def test_in_a_process_that_never_heard_of_64_bits():
    code = ("import jax.numpy as jnp, circuitflow as cf\n"
            "from support.documents import circuit\n"
            "c = circuit({'id': 'x', 'gate': 'input', 'shape': [2]}, {'id': 'b', 'gate': 'parameter', 'value': 1e300}, "
            "'p = mul(x, b)',"
            " {'id': 'f', 'gate': 'reduce_sum', 'inputs': ['p']})\n"
            "r = cf.Executor(c).run({'x': jnp.ones(2)})\n"
            "print(r.outputs['f'], r.gradients['x'].dtype, jnp.ones(1).dtype)\n")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(__file__),
                         check=True,
                         env={**{k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"},
                              "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ran.stdout.split() == ["2e+300", "float64", "float32"]


@pytest.mark.parametrize("dtype", [*DTYPES, "bfloat16"])
def test_torch_computes_in_the_dtypes_of_the_document(dtype):
    torch = pytest.importorskip("torch",
                                reason="torch is not installed: it is too large to be a dependency of the tests")
    if dtype == "bfloat16":
        executor = cf.Executor(circuit({"id": "x", "gate": "input", "shape": [2], "dtype": "float32"},
                                       {"id": "f", "gate": "cast", "dtype": dtype, "inputs": ["x"]}))
        found = executor.run({"x": torch.tensor([1.0, 3.0])}, upstream={"f": [1.0, 2.0]})
        assert (found.outputs["f"].dtype, found.gradients["x"].dtype) == (torch.bfloat16, torch.float32)
        return
    executor = _of(dtype, {"id": "s", "gate": "stack", "inputs": ["x", "k"]}, "f = identity(s)")
    found = executor.forward({"x": torch.tensor([1, 0], dtype=getattr(torch, dtype))}).outputs["f"]
    assert found.dtype == getattr(torch, dtype)
    assert found.tolist() == [np.array([1, 0], dtype).tolist(), np.array(NUMBERS[dtype], dtype).tolist()]


@pytest.mark.parametrize(("source", "target"), [("float64", "float32"), ("int64", "float32"), ("bool", "float64"),
                                                ("int32", "int16"), ("bfloat16", "float16")])
def test_torch_narrows_nothing(source, target):
    torch = pytest.importorskip("torch",
                                reason="torch is not installed: it is too large to be a dependency of the tests")
    with pytest.raises(cf.InputError, match=f"'x' is torch.{source}; expected {target}, so cast it first"):
        _of(target, "f = identity(x)").forward({"x": torch.ones(2, dtype=getattr(torch, source))})


@pytest.mark.parametrize("gate", ["reduce_max", "reduce_min"])
@pytest.mark.parametrize("columns", [3, 40, 41, 70])
def test_nan_is_the_extreme_on_jax_too(gate, columns):
    """XLA loses it in rows of more than 40 numbers beside an infinity: https://github.com/openxla/xla/issues/21461."""
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "shape": [100, columns]},
                                   {"id": "f", "gate": gate, "inputs": ["x"], "axis": -1}))
    given = np.zeros((100, columns))
    given[:, 0], given[:, columns // 2] = np.nan, np.inf if gate == "reduce_max" else -np.inf
    assert np.isnan(executor.forward({"x": jnp.asarray(given)}).outputs["f"]).all()
    assert np.isnan(executor.compile(wrt=(), engine="jax")(x=given)[0]).all()
