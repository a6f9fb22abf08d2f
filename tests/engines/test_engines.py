"""Compiled circuits: every engine gives what the interpreter gives."""

from __future__ import annotations

import io
import json
import keyword
import math
import re
import sys
import tokenize
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given

import circuitflow as cf
from circuitflow.engines import numba_loops
from circuitflow.engines.contract import Engine, Interpreted
from circuitflow.engines.table import ENGINES as ENGINE_TABLE
from circuitflow.engines.tape.loops import Untaped
from support.documents import circuit
from support.engines import LARGEST, SMALLEST, close, taped
from support.example_circuits import ELEMENTWISE, ON_SCALARS, circuit_of, nodes_of
from support.gate_examples import EXAMPLES
from support.hostile import HOSTILE_NAMES
from support.random_circuits import SETTINGS, documents, random_scalars
from support.slices import family_of, gate_of
from support.suite import FILES, ROOT

ENGINES = ["staged", "jax"]
on_scalars = pytest.mark.parametrize("engine", ["interpreter", "staged", "tape", "jax"])
everywhere = pytest.mark.parametrize("engine", ENGINES)


EXTREMES = {"jax": [cf.Thresholds()], "tape": [cf.Thresholds()]}
"""Of engines that no threshold is for, one is enough."""


def agree(circuit, engine, of=None, wrt=None, **given):
    expected = cf.Executor(circuit).compile(of, wrt, engine="interpreter")(**given)
    for thresholds in EXTREMES.get(engine, [cf.Thresholds(), SMALLEST, LARGEST]):
        compiled = cf.Executor(circuit, thresholds=thresholds).compile(of, wrt, engine=engine)
        for _ in range(2):  # buffers are used again
            found = compiled(**given)
            close(found, expected)




@pytest.mark.sliced(example=gate_of)
@everywhere
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_gate(example, engine):
    agree(circuit_of(example), engine)


@pytest.mark.sliced
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


@on_scalars
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
    value, gradients = value_and_grad(x=[4, 5, 6], upstream={"f": [1, 10, 100]})
    assert value.tolist() == [16, 25, 36]
    assert gradients["x"].tolist() == [8, 100, 1200]
    with pytest.raises(cf.InputError, match=r"'f' has shape \(3,\), so its gradients need the upstream gradient on it"):
        value_and_grad()


@on_scalars
def test_bad_arguments_are_told_as_by_the_interpreter(engine):
    made = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "square", "inputs": ["x"]})
    value_and_grad = cf.Executor(made).compile(engine=engine)
    assert value_and_grad(x=np.float32(3)) == (9.0, {"x": 6.0})
    with pytest.raises(cf.InputError,
                       match=re.escape("no value for input 'x' (a float64); it has no default, so give it "
                                                      "one (--set x=…)")):
        value_and_grad()
    with pytest.raises(cf.InputError, match=re.escape('\'x\' is "three"; expected numbers of dtype float64')):
        value_and_grad(x="three")
    with pytest.raises(cf.InputError, match=re.escape("'x' has shape (2,); expected ()")):
        value_and_grad(x=[1, 2])
    with pytest.raises(cf.InputError, match="there is no input 'y' in circuit 'circuit'; it has x"):
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


@pytest.mark.sliced(example=gate_of)
@pytest.mark.parametrize("example", ON_SCALARS, ids=str)
def test_every_gate_on_scalars(example):
    """Staged, and on a tape in Python."""
    agree(circuit(*nodes_of(example)), "staged")
    executor = cf.Executor(circuit(*nodes_of(example)))
    try:
        close(taped(executor, None, None, fast=False)(), executor.compile(engine="interpreter")())
    except Untaped as error:
        assert str(error).startswith(f"the tape cannot take {example.gate}, ")
        assert example.gate not in ELEMENTWISE


def test_a_gate_of_every_family_in_one_compiled_tape():
    """The bodies of all gates are compiled over rows: `test_rows.py`."""
    on_tape = [example for example in ON_SCALARS if example.gate in ELEMENTWISE]
    parts = [nodes_of(example, f"g{i}_") for i, example in enumerate({family_of(x): x for x in on_tape}.values())]
    made = circuit(*(node for part in parts for node in part), outputs=[part[-1]["id"] for part in parts])
    executor = cf.Executor(made)
    close(taped(executor, None, None, fast=True)(), executor.compile(engine="interpreter")())


def test_a_gate_that_a_tape_cannot_take_is_named():
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "value": 2.5},
                                   {"id": "f", "gate": "lgamma", "inputs": ["x"]}))
    with pytest.raises(cf.InputError, match="the tape cannot take lgamma, which is not an operation on floats"):
        executor.compile(engine="tape")
    executor = cf.Executor(circuit({"id": "x", "gate": "input", "value": [2.5]},
                                   {"id": "f", "gate": "exp", "inputs": ["x"]}))
    with pytest.raises(cf.InputError,
                       match="circuit 'circuit' has values that are not float64 scalars; a tape needs scalars"):
        executor.compile(engine="tape")


@pytest.mark.parametrize("seed", range(12))
def test_random_scalars(seed):
    executor = cf.Executor(random_scalars(seed))
    for wrt in (None, ["x0", "t5", "x1"], []):
        expected = executor.compile(wrt=wrt, engine="interpreter")(x1=0.25)
        close(executor.compile(wrt=wrt, engine="staged")(x1=0.25), expected)
        for is_fast in (False, seed == 0 and wrt is not None):
            on_tape = taped(executor, None, wrt, fast=is_fast)
            close(on_tape(x1=0.25), expected)
            close(on_tape(x1=np.float32(0.25)), expected)


@pytest.mark.parametrize("fast", [False, True])
def test_many_operands_on_a_tape(fast):
    """One gate each, with zeros among the factors."""
    values = [0.5, -2.0, 3.0, *[1.5] * 30, 0.0]
    names = [f"x{i}" for i in range(len(values))]
    made = circuit(*({"id": name, "gate": "input", "value": value} for name, value in zip(names, values, strict=True)),
                   {"id": "s", "gate": "add", "inputs": [*names, "x0"]}, {"id": "p", "gate": "mul", "inputs": names},
                   {"id": "f", "gate": "mul", "inputs": ["s", "p"]}, outputs=["f", "s", "p"])
    executor = cf.Executor(made)
    interpreted = executor.compile(engine="interpreter")
    on_tape = taped(executor, None, None, fast=fast)
    for values in ({}, {"x0": 0.0}, {names[-1]: 2.0}, {"x1": math.inf}):
        close(on_tape(**values), interpreted(**values))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kind", ["add", "mul"])
def test_a_loop_that_no_gradient_reaches_sends_none(kind, fast):
    made = circuit({"id": "x", "gate": "input", "value": -1e300}, {"id": "p", "gate": kind, "inputs": ["x"] * 12},
                   outputs=["x"])
    assert taped(cf.Executor(made), None, ["p", "x"], fast=fast)() == (-1e300, {"p": 0.0, "x": 1.0})


@pytest.mark.parametrize("shape", [[], [2]])
def test_a_gate_of_more_operands_than_python_has_parentheses(shape):
    names = [f"x{i}" for i in range(300)]
    made = circuit(*({"id": name, "gate": "input", "value": {"data": 1.25, "shape": shape}} for name in names),
                   {"id": "s", "gate": "add", "inputs": names},
                   {"id": "f", "gate": "reduce_sum" if shape else "tanh", "inputs": ["s"]})
    agree(made, "staged", x7=np.full(shape, 0.5))


def test_python_answers_where_its_functions_raise():
    made = circuit({"id": "x", "gate": "input", "value": 1000}, {"id": "e", "gate": "exp", "inputs": ["x"]},
                   {"id": "f", "gate": "reciprocal", "inputs": ["e"]}, outputs=["f", "e"])
    executor = cf.Executor(made)
    expected = ({"f": 0.0, "e": math.inf}, {"x": math.inf})
    assert executor.compile(engine="staged")() == expected
    assert taped(executor, None, None, fast=False)() == expected
    assert taped(executor, None, None, fast=True)() == expected


def test_without_numba_a_large_circuit_still_has_a_tape(monkeypatch, caplog):
    monkeypatch.setattr("circuitflow.engines.tape.run.is_there", lambda: False)
    executor = cf.Executor(random_scalars(3))
    with caplog.at_level("INFO", "circuitflow"):
        found = executor.compile(engine="tape")()
    assert caplog.messages == ["engine: tape, in Python; `pip install 'circuitflow[fast]'` compiles it"]
    close(found, executor.compile(engine="interpreter")())
    monkeypatch.setitem(sys.modules, "numba", None)
    numba_loops.jitted.cache_clear()
    with pytest.raises(cf.MissingExtraError, match=re.escape("compiled loops need `pip install 'circuitflow[fast]'`")):
        taped(executor, None, None, fast=True)


def test_a_large_circuit_with_a_gate_that_no_tape_takes_is_interpreted(caplog):
    made = circuit({"id": "x", "gate": "input", "value": 2.5}, {"id": "g", "gate": "lgamma", "inputs": ["x"]},
                   {"id": "f", "gate": "square", "inputs": ["g"]})
    with caplog.at_level("INFO", "circuitflow"):
        cf.Executor(made, thresholds=cf.Thresholds(staged_operands=1)).compile()()
    assert caplog.messages == ["engine: interpreter"]


def test_a_rule_that_needs_a_size_is_interpreted_where_there_is_none(caplog):
    made = circuit({"id": "x", "gate": "input", "shape": ["n"]},
                   {"id": "p", "gate": "cum_prod", "inputs": ["x"], "axis": 0},
                   {"id": "f", "gate": "reduce_sum", "inputs": ["p"]})
    with caplog.at_level("INFO", "circuitflow"):
        value, gradients = cf.Executor(made).compile()(x=[2.0, 3.0])
    assert (value, gradients["x"].tolist()) == (8.0, [4.0, 2.0])
    assert caplog.messages == ["engine: interpreter"]
    with pytest.raises(cf.GateError, match="cum_prod: has a gradient along axes of known size only, not n"):
        cf.Executor(made).compile(engine="staged")


def test_a_new_engine_is_one_row(monkeypatch, caplog):
    monkeypatch.setitem(ENGINE_TABLE, "mine", Engine("gate by gate", Interpreted))
    executor = cf.Executor(random_scalars(1))
    with caplog.at_level("INFO", "circuitflow"):
        close(executor.compile(engine="mine")(), executor.compile()())
    assert caplog.messages[0] == "engine: interpreter"
    with pytest.raises(cf.InputError,
                       match="there is no engine 'min'; did you mean 'mine'\\?; there are auto, .*, jax, mine"):
        executor.compile(engine="min")
    with pytest.raises(cf.InputError, match="the engine mine takes one row at a time"):
        executor.vmap(engine="mine")
    with pytest.raises(cf.InputError, match="the engine mine runs on the CPU; a device goes with the engine jax"):
        executor.compile(engine="mine", device="gpu")


def test_every_engine_is_on_the_page_of_performance_and_in_the_help():
    table = (ROOT / "docs/explanation/performance.md").read_text(encoding="utf-8")
    table = table.partition("| engine | what runs |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == list(ENGINE_TABLE)
    assert all(f'"{name}"' in cf.Executor.compile.__doc__ for name in ENGINE_TABLE)


OURS = {"value_and_grad", "stages", "type", "float", "bool", "numbers", "interpret", "inputs", "buffers", "results",
        "out", "None",
        "True", "False", "inf", "nan", "ArithmeticError", "ValueError", "exp", "expm1", "fabs", "log1p", "max", "tanh",
        "cosh", "axis",
        "keepdims", "dtype", "engine", "upstream", "named", "bound", "block", "whole"}


@pytest.mark.parametrize("shape", [[], [2]])
def test_no_document_can_put_its_text_into_the_source(shape, monkeypatch):
    """Every word of every source is a keyword, one of ours, or a generated name."""
    written = []
    monkeypatch.setattr("circuitflow.engines.program.source.compile", lambda text, *rest: written.append(text)
                        or compile(text, *rest),
                        raising=False)
    sources = [{"id": name, "gate": "input", "value": {"data": 0.25, "shape": shape}, "label": "import os; marker_q",
                "description": "'''\n\nimport os\nmarker_q()"} for name in HOSTILE_NAMES]
    made = circuit(*sources, {"id": "def", "gate": "add", "inputs": HOSTILE_NAMES},
                   {"id": "import", "gate": "softplus", "inputs": ["def"]},
                   {"id": "f", "gate": "reduce_sum" if shape else "tanh", "inputs": ["import"]}, outputs=["f", "def"],
                   name="marker_q", description="marker_q", **({"upstream": {"def": [1, 1]}} if shape else {}))
    values, gradients = cf.Executor(made).compile(engine="staged")(**{name: np.full(shape, 0.5)
                                                                      for name in HOSTILE_NAMES[:2]})
    assert list(gradients) == HOSTILE_NAMES
    close(values["def"], np.full(shape, 0.5 * 2 + 0.25 * (len(HOSTILE_NAMES) - 2)))
    words = {token.string for text in written for token in tokenize.generate_tokens(io.StringIO(text).readline)
             if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}
    assert written
    assert not any(token.type == tokenize.STRING for text in written
                   for token in tokenize.generate_tokens(io.StringIO(text).readline))
    assert {word for word in words if not re.fullmatch(r"[fkv]\d+|unused\d+", word)} <= OURS
    assert "marker" not in "".join(written)


@pytest.mark.parametrize("kind", ["tape", "tape in Python", "rows", "rows on a tape"])
def test_nor_into_the_source_of_a_loop(kind, monkeypatch):
    """Of a tape, and over rows: the same holds of every text that is compiled."""
    written = []
    for module in ("program.source", "numba_loops"):
        monkeypatch.setattr(f"circuitflow.engines.{module}.compile", lambda text, *rest: written.append(text)
                            or compile(text, *rest),
                            raising=False)
    numba_loops.jitted.cache_clear()
    sources = [{"id": name, "gate": "input", "value": 0.25, "label": "import os; marker_q"} for name in HOSTILE_NAMES]
    executor = cf.Executor(circuit(*sources, {"id": "def", "gate": "add", "inputs": HOSTILE_NAMES},
                                   {"id": "is", "gate": "gelu", "inputs": ["def"]},
                                   {"id": "f", "gate": "tanh", "inputs": ["is"]}, outputs=["f", "def"],
                                   name="marker_q"))
    given = {HOSTILE_NAMES[0]: [0.5, 0.25], HOSTILE_NAMES[1]: 0.5}
    if kind.startswith("rows"):
        _, gradients = executor.vmap(engine="tape" if "tape" in kind else "staged")(**given)
    else:
        _, gradients = taped(executor, None, None, fast=kind == "tape")(marker_q=0.5)
    assert list(gradients) == HOSTILE_NAMES
    assert written
    tokens = [token for text in written for token in tokenize.generate_tokens(io.StringIO(text).readline)]
    assert not any(token.type == tokenize.STRING for token in tokens)
    words = {token.string for token in tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}
    ours = OURS | {"loop", "runs", "rows", "operands", "numbers", "seeded", "seeds", "code", "start", "stop", "slots",
                   "shape", "range",
                   "len", "zip", "get", "put", "before", "results", "k", "p", "r", "n", "m", "i", "j", "v", "d", "g",
                   "y", "erf", "erfc", "cosh"}
    assert {word for word in words if not re.fullmatch(r"[cfikrtvx]\d+", word)} <= ours


def test_a_compiled_function_reaches_no_builtins():
    compiled = cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile(engine="staged")
    assert compiled.__globals__["__builtins__"] == {}
    assert "open" not in compiled.__globals__


def test_what_was_picked_is_logged(caplog):
    with caplog.at_level("INFO", "circuitflow"):
        cf.Executor(cf.load(ROOT / "circuits/staged.json")).compile(engine="staged")
        cf.Executor(cf.load(ROOT / "circuits/mlp.json")).compile(engine="staged")
        cf.Executor(cf.load(ROOT / "circuits/mlp.json")).compile()
        cf.Executor(cf.load(ROOT / "circuits/mlp.json"), thresholds=cf.Thresholds(staged_array_operands=10)).compile()
    assert caplog.messages == ["engine: staged, on floats", *["engine: staged, on arrays"] * 2, "engine: interpreter"]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("count", [3, 4, 8, 9, 12])
def test_a_product_has_one_gradient_whether_it_is_a_loop_or_not(count, fast):
    """Also where a 0 stands beside what overflows, or is infinite: the rule of the gate and the loop of the tape
    agree."""
    random = np.random.default_rng(count)
    names = [f"x{i}" for i in range(count)]
    made = circuit(*({"id": name, "gate": "input", "value": 1.0} for name in names),
                   {"id": "f", "gate": "mul", "inputs": names})
    executor = cf.Executor(made)
    function = taped(executor, None, names, fast=fast)
    for _ in range(200):
        given = dict(zip(names, random.choice([0.0, 1e200, 1e-200, 3.0, -2.0, np.inf, np.nan], count,
                                              p=[0.2, 0.25, 0.2, 0.15, 0.1, 0.05, 0.05]).tolist(), strict=True))
        expected = executor.run(given).gradients
        np.testing.assert_allclose([function(given)[1][name] for name in names], [expected[name] for name in names],
                                   rtol=1e-13)
