"""Python files made of circuits: they run by themselves, give the same numbers, and hold no text but their own."""

from __future__ import annotations

import ast
import builtins
import io
import re
import subprocess
import symtable
import sys
import tokenize
import warnings

import numpy as np
import pytest
from test_engines import FILES, HOSTILE, ON_SCALARS, circuit, close, nodes_of
from test_gates import circuit_of

import circuitflow as cf
from conftest import ROOT
from gate_examples import EXAMPLES
from test_cli import circuitflow  # noqa: F401

UNWRITABLE = {"fold", "conv_transpose", "scatter_add", "scatter_elements", "scatter_nd", "sort", "top_k", "scan", "if", "checkpoint"}
"""Gates whose rules write into arrays, and units."""


def imported(text):
    return {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}


def function_of(text):
    """What the file defines, as a function of value and gradients; nothing in it or of it warns."""
    assert imported(text) <= {"math", "numpy", "scipy.special"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(text)))
    check_names(text)
    namespace = {"__name__": "exported"}

    def call(**given):
        with warnings.catch_warnings(action="error"):
            return namespace["value_and_grad"](**given) if "value_and_grad" in namespace else (namespace["value"](**given), {})

    with warnings.catch_warnings(action="error"):
        exec(compile(text, "exported.py", "exec"), namespace)
    return call


def check_names(text):
    """Every name that is read is there, and none that a file uses is given to anything else."""
    table = symtable.symtable(text, "exported.py", "exec")
    module = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()}
    (function,) = [child for child in table.get_children() if child.get_name().startswith("value")]
    read = {symbol.get_name() for child in table.get_children() for symbol in child.get_symbols() if symbol.is_global()}
    read |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()} - module
    assert {name for name in read - module if not hasattr(builtins, name)} <= {"__name__"}
    assert {symbol.get_name() for symbol in function.get_symbols() if symbol.is_local()} & read == set()
    bound = [name for node in ast.parse(text).body for name in (
        [target.id for target in node.targets] if isinstance(node, ast.Assign) else [node.name] if isinstance(node, ast.FunctionDef) else
        [alias.asname or alias.name for alias in node.names] if isinstance(node, ast.Import) else [])]
    assert len(bound) == len(set(bound))
    assert not {*bound} & {name for name in read if hasattr(builtins, name)}


def agree(loaded, of=None, wrt=None, **given):
    """Whether it can be written; then it must give what the interpreter gives."""
    try:
        text = cf.to_python(loaded, of, wrt)
    except cf.InputError as error:
        gate = re.fullmatch(r"node '\w+': (\w+) is no line of Python that runs without circuitflow; leave it out by --of and --wrt",
                            str(error))
        assert gate, error
        assert gate[1] in UNWRITABLE
        return False
    expected = cf.Executor(loaded).compile(of, wrt, engine="interpreter")(**given)
    close(function_of(text)(**given), expected)
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example(path):
    loaded = cf.load(path)
    of = "dx" if loaded.name == "gradient_of_staged" else None
    large = {name: value for name, value in loaded.values.items() if value.size > 1000}
    if of or loaded.upstream or all(loaded.type_of(output).shape == () for output in loaded.outputs.values()):
        assert agree(loaded, of, **large) == (path.stem not in ("rnn", "conv_net"))
    assert agree(loaded, wrt=(), **large)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate(example):
    agree(circuit_of(example))


@pytest.mark.parametrize("example", ON_SCALARS, ids=str)
def test_every_gate_on_scalars(example):
    agree(circuit(*nodes_of(example)))


def test_a_file_runs_by_itself(circuitflow, tmp_path):  # noqa: F811
    path = tmp_path / "staged.py"
    outcome = circuitflow("export", "circuits/staged.json", "--set", "x=1", "-o", str(path))
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    alone = f"import runpy, sys; sys.modules['circuitflow'] = None; runpy.run_path({str(path)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-W", "error", "-c", alone], capture_output=True, text=True, check=True)
    value, gradients = cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile()(x=1.0)
    assert done.stdout == f"{value}\n{gradients}\n"


def test_arguments():
    logistic = cf.load(ROOT / "circuits/matrix_product.json")
    function = function_of(cf.to_python(logistic, inputs={"X": np.ones((10, 3))}))
    value, gradients = function(W=np.ones((5, 10)))
    np.testing.assert_array_equal(value, np.full((5, 3), 10.0))
    assert list(gradients) == ["W", "X"]
    with pytest.raises(ValueError, match=re.escape("W has shape (2,); expected (5, 10)")):
        function(W=[1, 2])


def test_defaults_that_are_missing_or_large():
    made = circuit({"id": "x", "gate": "input", "shape": [2]}, {"id": "w", "gate": "parameter", "value": {"data": 2, "shape": [2000]}},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["w"]}, {"id": "f", "gate": "mul", "inputs": ["x", "s"]})
    text = cf.to_python(made)
    assert "def value_and_grad(*, x, w, df):" in text
    assert "__main__" not in text
    value, gradients = function_of(text)(x=[1, 2], w=np.full(2000, 0.5), df=[1, 1])
    close(value, np.array([1000.0, 2000.0]))
    close(gradients["x"], np.array([1000.0, 1000.0]))


def test_named_dimensions_need_a_size():
    made = circuit({"id": "x", "gate": "input", "shape": ["rows"]}, {"id": "f", "gate": "reduce_mean", "inputs": ["x"]})
    with pytest.raises(cf.InputError, match=re.escape("'x' has dimensions without a size; straight-line code is written for some, so "
                                                      "give it a value (--set x=…)")):
        cf.to_python(made)
    value, gradients = function_of(cf.to_python(made, inputs={"x": [1.0, 2.0, 6.0]}))()
    close((value, gradients), (np.float64(3), {"x": np.full(3, 1 / 3)}))


def test_indices_out_of_range():
    made = circuit({"id": "x", "gate": "input", "value": [1, 2, 3]}, {"id": "i", "gate": "input", "value": {"data": [0, -1], "dtype": "int64"}},
                   {"id": "g", "gate": "gather", "inputs": ["x", "i"]}, {"id": "f", "gate": "reduce_sum", "inputs": ["g"]})
    function = function_of(cf.to_python(made, wrt=()))
    assert function()[0] == 4
    with pytest.raises(IndexError, match="g: an index is out of range"):
        function(i=[0, -4])


TEXTS = ["\n\nimport os\nmarker_q()", '"""\nmarker_q()\n"""', "'''", "coding: utf-7", "\\", "\r\nmarker_q()", "\x0cmarker_q()",
         "\u2028marker_q()", "\x00", "\u202emarker_q", "x" * 10_000]


@pytest.mark.parametrize("shape", [[], [2]])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:12]))
def test_no_text_of_a_document_is_code(text, shape):
    """Whatever it says stands in comments; ids are names, or text between quotes."""
    nodes = [{"id": name, "gate": "input", "value": {"data": 0.25, "shape": shape}, "label": text, "description": text,
              "metadata": {"x": text}} for name in [*HOSTILE, "math", "np", "as_array", "default_math", "constant_1", "ValueError", "_"]]
    names = [node["id"] for node in nodes]
    made = circuit(*nodes, {"id": "def", "gate": "add", "inputs": names, "description": text},
                   {"id": "import", "gate": "softplus", "inputs": ["def"], "label": text},
                   {"id": "f", "gate": "reduce_sum" if shape else "tanh", "inputs": ["import"]}, name=text, description=text)
    exported = cf.to_python(made)
    assert exported.startswith('"""Straight-line code, a stage a line.\n\nWritten by circuitflow ')
    assert exported.isascii() or all(c.isprintable() or c == "\n" for c in exported)
    tokens = list(tokenize.generate_tokens(io.StringIO(exported).readline))
    strings = {token.string for token in tokens if token.type == tokenize.STRING}
    assert not any("marker_q()" in token.string for token in tokens if token.type != tokenize.COMMENT)
    arguments = {argument.arg for node in ast.walk(ast.parse(exported)) if isinstance(node, ast.arguments) for argument in node.kwonlyargs}
    assert {ast.literal_eval(string) for string in strings if string.startswith("'")} <= {*names, *arguments}
    words = {node.id for node in ast.walk(ast.parse(exported)) if isinstance(node, ast.Name)}
    assert {word for word in words if hasattr(builtins, word)} <= {"print", "ValueError", "OverflowError", "map", "float",
                                                                        "max", "__name__", *names}
    close(function_of(exported)(), cf.Executor(made).compile(engine="interpreter")())
    assert list(function_of(exported)()[1]) == names


def test_names_of_calls_and_of_several_outputs():
    text = cf.to_python(cf.load(ROOT / "circuits/neuron_layer.json"))
    assert "h1_dot = x @ w1  # matmul(h1/x, h1/w)" in text
    made = circuit({"id": "x", "gate": "input", "value": [[2, 1], [1, 3]]}, {"id": "e", "gate": "eigh", "inputs": ["x"]},
                   {"id": "s", "gate": "reduce_sum", "inputs": ["e.eigenvalues"]}, outputs=["s", "e.eigenvectors"], upstream={"e.eigenvectors": [[1, 2], [3, 4]]})
    assert agree(made)


def test_bad_questions(circuitflow):  # noqa: F811
    for arguments, message in [
        (["circuits/staged.json", "--set", "q=1"], "there is no input 'q' in circuit 'staged'; it has x, y"),
        (["circuits/staged.json", "--of", "q"], "of: there is no 'q' in circuit 'staged'"),
        (["circuits/rnn.json"], "node 'run_back_4': scan is no line of Python that runs without circuitflow; leave it out by --of and --wrt"),
        (["circuits/staged.json", "-o", "nowhere/staged.py"], "'nowhere/staged.py' cannot be written: No such file or directory"),
    ]:
        outcome = circuitflow("export", *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert message in outcome.err
    assert "def value(*, x=3.0, y=-4.0):" in circuitflow("export", "circuits/staged.json", "--forward").out


def test_an_array_without_elements_is_written_by_its_shape():
    subject = circuit({"id": "x", "gate": "input", "value": {"data": 1, "shape": [2**40, 0]}}, {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    assert "np.empty((1099511627776, 0), np.float64)" in cf.to_python(subject)


def test_long_constants_are_broken_into_lines():
    made = circuit({"id": "x", "gate": "input", "value": list(np.linspace(-1, 1, 100))}, {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    text = cf.to_python(made)
    assert max(map(len, text.splitlines())) <= 120
    assert function_of(text)()[0] == cf.Executor(made).compile()()[0]
