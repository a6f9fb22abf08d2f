"""Compiled circuits: every engine gives what the interpreter gives."""

from __future__ import annotations

import io
import json
import keyword
import math
import re
import tokenize
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from test_gates import circuit_of

import circuitflow as cf
from circuitflow.gates import GATES
from conftest import ROOT
from edge_points import POINTS
from gate_examples import EXAMPLES, Example
from test_properties import SETTINGS, documents

ENGINES = ["staged"]
FILES = sorted((ROOT / "circuits").glob("*.json"))
everywhere = pytest.mark.parametrize("engine", ENGINES)


def close(found, expected, rtol=1e-13, atol=1e-14):
    """The same keys in the same order, and the same arrays to the last few ulps of their largest number."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            close(found[key], value, rtol, atol)
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if expected.dtype == np.float32:
        rtol, atol = 1e-5, 1e-6
    scale = np.max(np.abs(expected), initial=0, where=np.isfinite(expected)) if expected.dtype.kind == "f" else 0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol * max(1.0, scale))


def agree(circuit, engine, of=None, wrt=None, **given):
    executor = cf.Executor(circuit)
    expected = executor.compile(of, wrt, engine="interpreter")(**given)
    compiled = executor.compile(of, wrt, engine=engine)
    for _ in range(2):  # buffers are used again
        found = compiled(**given)
        close(found[0], expected[0])
        close(found[1], expected[1])


def circuit(*nodes, outputs=("f",), **keys):
    return cf.loads(json.dumps({"circuitflow": "1.0", "nodes": list(nodes), "outputs": list(outputs), **keys}))


@everywhere
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate(example, engine):
    agree(circuit_of(example), engine)


SCALARS = [point for point in POINTS if all(np.ndim(x) == 0 for x in point[1])]


@everywhere
@pytest.mark.parametrize(("gate", "operands", "value", "gradients"), SCALARS)
def test_every_edge(gate, operands, value, gradients, engine):
    example = Example(gate, tuple(np.asarray(x, bool if isinstance(x, bool) else float) for x in operands))
    made = circuit(*({"id": f"x{i}", "gate": "parameter" if x.dtype == float else "constant", "value": x.item()
                      if np.isfinite(x) else {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[str(x)]}
                     for i, x in enumerate(example.operands)),
                   {"id": "f", "gate": gate, "inputs": [f"x{i}" for i in range(len(operands))],
                    **{name: value for name, value in GATES[gate].defaults.items() if value is not None}})
    agree(made, engine)


@everywhere
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example(path, engine):
    loaded = cf.load(path)
    if loaded.name == "gradient_of_staged":
        agree(loaded, engine, of="dx")
    agree(loaded, engine, wrt=())
    if all(loaded.type_of(output).shape == () for output in loaded.outputs.values()) or loaded.upstream:
        agree(loaded, engine)


@everywhere
@given(made=documents())
@SETTINGS
def test_random_circuits(engine, made):
    agree(cf.loads(json.dumps(made[0])), engine)


def test_the_fast_path_as_the_readme_has_it():
    value_and_grad = cf.Executor(cf.load(ROOT / "circuits/product.json")).compile(wrt=["x", "y"])
    assert value_and_grad(x=-2.0, y=5.0) == (-12.0, {"x": -4.0, "y": -4.0})
    assert value_and_grad() == (-12.0, {"x": -4.0, "y": -4.0})
    value, gradients = value_and_grad(x=np.float32(3), z=True + 1)
    assert (value, gradients) == (16.0, {"x": 2.0, "y": 2.0})
    assert type(value) is float
    assert {type(x) for x in gradients.values()} == {float}


@everywhere
def test_several_outputs_are_a_dictionary(engine):
    made = circuit({"id": "x", "gate": "input", "value": 3}, {"id": "f", "gate": "square", "inputs": ["x"]},
                   {"id": "g", "gate": "exp", "inputs": ["f"]}, outputs=["f", "g"])
    values, gradients = cf.Executor(made).compile(engine=engine)(x=0.5)
    assert list(values) == ["f", "g"]
    assert gradients["x"] == pytest.approx(1 + math.exp(0.25), rel=1e-15)
    assert cf.Executor(made).compile("g", (), engine=engine)(x=2.0) == (math.exp(4), {})


@everywhere
def test_an_upstream_gradient_is_an_argument(engine):
    made = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]}, {"id": "f", "gate": "square", "inputs": ["x"]})
    value_and_grad = cf.Executor(made).compile(engine=engine)
    value, gradients = value_and_grad(x=[4, 5, 6], df=[1, 10, 100])
    assert value.tolist() == [16, 25, 36]
    assert gradients["x"].tolist() == [8, 100, 1200]
    with pytest.raises(cf.InputError, match=r"'f' has shape \(3,\), so its gradients need the upstream gradient on it"):
        value_and_grad()


@everywhere
def test_bad_arguments_are_told_as_by_the_interpreter(engine):
    made = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "square", "inputs": ["x"]})
    value_and_grad = cf.Executor(made).compile(engine=engine)
    with pytest.raises(cf.InputError, match=re.escape("no value for input 'x' (a float64); it has no default, so give it "
                                                      "one (--set x=…)")):
        value_and_grad()
    with pytest.raises(cf.InputError, match=re.escape('\'x\' is "three"; expected numbers of dtype float64')):
        value_and_grad(x="three")
    with pytest.raises(cf.InputError, match=re.escape("'x' has shape (2,); expected ()")):
        value_and_grad(x=[1, 2])
    with pytest.raises((TypeError, cf.InputError), match="y"):
        value_and_grad(x=1.0, y=2.0)


def test_an_engine_that_is_not_there():
    executor = cf.Executor(cf.load(ROOT / "circuits/product.json"))
    with pytest.raises(cf.InputError, match="there is no engine 'stagd'; did you mean 'staged'\\?; there are auto"):
        executor.compile(engine="stagd")


def test_results_are_the_callers_own():
    """A buffer that is used again must never be what a caller holds."""
    made = circuit({"id": "x", "gate": "input", "shape": [3]}, {"id": "h", "gate": "exp", "inputs": ["x"]},
                   {"id": "r", "gate": "reshape", "inputs": ["h"], "shape": [3, 1]},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["h"]}, outputs=["f", "r", "h"])
    compiled = cf.Executor(made).compile(wrt=())
    first, _ = compiled(x=[1.0, 2.0, 3.0])
    kept = {name: value.copy() for name, value in first.items()}
    compiled(x=[7.0, 8.0, 9.0])
    close(first, kept)


def test_threads_share_a_function():
    mlp = cf.load(ROOT / "circuits/mlp.json")
    compiled = cf.Executor(mlp).compile()
    x = next(name for name, node in mlp.nodes.items() if node.kind == "input" and node.types[0].shape)
    base = mlp.values[x]
    alone = [compiled(**{x: base * k})[0] for k in range(24)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda k: compiled(**{x: base * k})[0], range(24)))
    assert [float(a) for a in alone] == [float(b) for b in together]


def test_named_dimensions_of_any_size():
    made = circuit({"id": "x", "gate": "input", "shape": ["rows", 3]}, {"id": "s", "gate": "square", "inputs": ["x"]},
                   {"id": "f", "gate": "reduce_mean", "inputs": ["s"]})
    compiled = cf.Executor(made).compile()
    for rows in (1, 2, 5, 2):
        x = np.arange(rows * 3.0).reshape(rows, 3)
        value, gradients = compiled(x=x)
        assert value == pytest.approx(np.mean(x * x))
        np.testing.assert_allclose(gradients["x"], 2 * x / x.size)


HOSTILE = ["class", "None", "print", "lambda", "exp", "type", "numbers", "interpret", "inputs", "buffers", "__import__",
           "v0", "f0", "k0", "inf", "nan", "float", "marker_q", "unused0"]
OURS = {"value_and_grad", "stages", "type", "float", "bool", "numbers", "interpret", "inputs", "buffers", "out", "None",
        "True", "False", "inf", "nan", "ArithmeticError", "ValueError", "exp", "expm1", "fabs", "log1p", "max", "tanh", "axis",
        "keepdims", "dtype"}


@pytest.mark.parametrize("shape", [[], [2]])
def test_no_document_can_put_its_text_into_the_source(shape, monkeypatch):
    """Every word of every source is a keyword, one of ours, or a generated name."""
    written = []
    monkeypatch.setattr("circuitflow.engines.source.compile", lambda text, *rest: written.append(text) or compile(text, *rest),
                        raising=False)
    sources = [{"id": name, "gate": "input", "value": {"data": 0.25, "shape": shape}, "label": "import os; marker_q",
                "description": "'''\n\nimport os\nmarker_q()"} for name in HOSTILE]
    made = circuit(*sources, {"id": "def", "gate": "add", "inputs": HOSTILE}, {"id": "import", "gate": "softplus", "inputs": ["def"]},
                   {"id": "f", "gate": "reduce_sum" if shape else "tanh", "inputs": ["import"]}, outputs=["f", "def"],
                   name="marker_q", description="marker_q", **({"upstream": {"def": [1, 1]}} if shape else {}))
    values, gradients = cf.Executor(made).compile()(**{name: np.full(shape, 0.5) for name in HOSTILE[:2]})
    assert list(gradients) == HOSTILE
    close(values["def"], np.full(shape, 0.5 * 2 + 0.25 * (len(HOSTILE) - 2)))
    words = {token.string for text in written for token in tokenize.generate_tokens(io.StringIO(text).readline)
             if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}
    assert written
    assert not any(token.type == tokenize.STRING for text in written
                   for token in tokenize.generate_tokens(io.StringIO(text).readline))
    assert {word for word in words if not re.fullmatch(r"[fkv]\d+|unused\d+", word)} <= OURS
    assert "marker" not in "".join(written)


def test_a_compiled_function_reaches_no_builtins():
    compiled = cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile()
    assert compiled.__globals__["__builtins__"] == {}
    assert "open" not in compiled.__globals__


def test_what_was_picked_is_logged(caplog):
    with caplog.at_level("INFO", "circuitflow"):
        cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile()
        cf.Executor(cf.load(ROOT / "circuits/mlp.json")).compile()
    assert caplog.messages == ["engine: staged code of floats", "engine: staged code of arrays"]
