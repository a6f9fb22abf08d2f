"""Functions over rows: every row is what a single call gives."""

from __future__ import annotations

import re

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.engines.staged.rows import Rows
from circuitflow.engines.tape.run import TapedRows
from circuitflow.gates import GATES
from circuitflow.interpreter.question import Question
from support.documents import circuit
from support.engines import LARGEST, close
from support.example_circuits import ELEMENTWISE, ON_SCALARS, nodes_of
from support.random_circuits import random_scalars
from support.slices import family_of
from support.suite import ROOT

STAGED = cf.load(ROOT / "circuits/staged.json")


THRESHOLDS = {"blocks": [cf.Thresholds(), cf.Thresholds(column_rows=3, selected_size=1), LARGEST],
              "loop": [cf.Thresholds(), cf.Thresholds(column_rows=1)],
              "tape": [cf.Thresholds(), cf.Thresholds(tape_bytes=1)]}


def made(kind, executor, of=None, wrt=None):
    match kind:
        case "blocks":
            return Rows(Question(executor, of, wrt), executor.thresholds, fast=False)
        case "loop":
            return Rows(Question(executor, of, wrt), executor.thresholds, fast=True)
        case "tape":
            return TapedRows(Question(executor, of, wrt), executor.thresholds)
        case _:
            return executor.vmap(of, wrt, engine=kind)


everywhere = pytest.mark.parametrize("kind", ["blocks", "loop", "tape", "jax"])


def agree(kind, loaded, of=None, wrt=None, **given):
    alone = cf.Executor(loaded).compile(of, wrt, engine="interpreter")
    count = max(len(x) for x in given.values() if np.ndim(x))
    expected = [alone(**{name: x[row] if np.ndim(x) else x for name, x in given.items()}) for row in range(count)]
    for thresholds in THRESHOLDS.get(kind, [cf.Thresholds()]):
        values, gradients = made(kind, cf.Executor(loaded, thresholds=thresholds), of, wrt)(**given)
        for row in range(count):
            found = {name: x[row] for name, x in values.items()} if isinstance(values, dict) else values[row]
            close((found, {name: x[row] for name, x in gradients.items()}), expected[row], rtol=1e-12, atol=1e-12)


@everywhere
def test_rows_of_the_staged_example(kind):
    random = np.random.RandomState(0)
    agree(kind, STAGED, x=random.standard_normal(50) * 3, y=random.standard_normal(50) * 300)
    agree(kind, STAGED, x=[1.0, -2.0, 0.0], y=0.5)
    agree(kind, STAGED, of=["den", "num"], wrt=["y"], x=-1, y=[1, 2])


@pytest.mark.sliced
@pytest.mark.parametrize(("kind", "seed"), [  # to compile a tape takes half a minute
    pytest.param("tape", 1, marks=pytest.mark.long),
    *((kind, seed) for kind in ("blocks", "loop", "jax") for seed in range(3))])
def test_rows_of_random_scalars(kind, seed):
    agree(kind, random_scalars(seed), x0=np.linspace(-1, 1, 20), x2=np.linspace(1, -1, 20), x1=0.5)


def in_one(examples):
    parts = [nodes_of(example, f"g{i}_") for i, example in enumerate(examples)]
    return circuit(*(node for part in parts for node in part), outputs=[part[-1]["id"] for part in parts])


ON_ROWS = [example for example in ON_SCALARS if example.gate in ELEMENTWISE]
FIRST = list({example.gate: example for example in reversed(ON_ROWS)}.values())
IN_FAMILIES = list({family_of(example): example for example in ON_ROWS}.values())


@pytest.mark.parametrize(("kind", "examples"), [
    pytest.param("blocks", FIRST, id="blocks-first"), pytest.param("tape", IN_FAMILIES, id="tape-families"),
    # A tape has one body for all examples that differ in their operands alone: all together cost little more than some.
    *(pytest.param(kind, ON_ROWS, id=f"{kind}-all", marks=pytest.mark.long) for kind in ("blocks", "tape"))])
def test_every_gate_over_rows(kind, examples):
    """Many in one circuit; in the first row on the numbers of the example, then on others."""
    loaded = in_one(examples)
    agree(kind, loaded, **{name: np.array([loaded.values[name], 0.4, -2.5]) for name, node in loaded.nodes.items()
                           if node.kind == "parameter"})


@pytest.mark.parametrize("start", range(0, len(FIRST), 12))
def test_every_gate_in_a_compiled_loop(start):
    loaded = in_one(FIRST[start : start + 12])
    edges = np.array([0.4, -2.5, 0.0, 1.0, np.inf, -np.inf, np.nan, 1e200, 800.0, -800.0, 5e-324])
    agree("loop", loaded, **{name: np.append(loaded.values[name], edges) for name, node in loaded.nodes.items()
                             if node.kind == "parameter"})


@everywhere
def test_truth_values_are_columns_too(kind):
    loaded = circuit({"id": "c", "gate": "input", "dtype": "bool"}, {"id": "x", "gate": "input", "value": 1},
                     {"id": "zero", "gate": "constant", "value": 0},
                     {"id": "y", "gate": "where", "inputs": ["c", "x", "zero"]},
                     {"id": "n", "gate": "not", "inputs": ["c"]}, {"id": "f", "gate": "square", "inputs": ["y"]},
                     outputs=["f", "n"])
    agree(kind, loaded, c=[True, False, True], x=[1.5, 2.5, -3.0])


@everywhere
def test_what_no_column_reaches_is_the_same_in_every_row(kind):
    loaded = circuit({"id": "x", "gate": "input", "value": 2}, {"id": "y", "gate": "input", "value": 3},
                     {"id": "f", "gate": "square", "inputs": ["x"]}, {"id": "g", "gate": "exp", "inputs": ["y"]},
                     outputs=["f", "g"])
    values, gradients = made(kind, cf.Executor(loaded))(x=[1.0, 2.0])
    close(np.asarray(values["g"]), np.exp([3.0, 3.0]))
    close(np.asarray(gradients["y"]), np.exp([3.0, 3.0]))
    agree(kind, circuit({"id": "x", "gate": "input"}, outputs=["x"]), x=[1.0, 5.0])


@everywhere
def test_an_upstream_gradient_may_be_a_column(kind):
    loaded = circuit({"id": "x", "gate": "input", "value": 2}, {"id": "f", "gate": "square", "inputs": ["x"]},
                     upstream={"f": 10})
    found = made(kind, cf.Executor(loaded))(x=[1.0, 2.0])
    close(np.asarray(found[1]["x"]), np.array([20.0, 40.0]))
    found = made(kind, cf.Executor(loaded))(x=[1.0, 2.0], upstream={"f": [3.0, 5.0]})
    close(np.asarray(found[1]["x"]), np.array([6.0, 20.0]))


@pytest.mark.parametrize("rows", [0, 1, 4095, 4096, 10_000, 23_457])
def test_blocks_of_any_size_fit_together(rows):
    """With more blocks than threads, and a last one that is shorter."""
    random = np.random.RandomState(rows)
    x, y = random.standard_normal((2, rows))
    executor = cf.Executor(STAGED, thresholds=cf.Thresholds(column_rows=4096))
    whole = made("loop", executor)(x=x, y=y)
    parts = made("blocks", executor)(x=x, y=y)
    close(parts, whole, rtol=1e-9)
    assert len(parts[0]) == rows
    close(made("blocks", executor)(x=np.repeat(x, 2)[::2], y=np.flip(y)[::-1]), parts)  # not contiguous


@pytest.mark.parametrize("count", [100, 5000])
def test_where_without_a_branch(count):
    """Every form of it, on numbers of any kind."""
    nodes = [{"id": "x", "gate": "input"}, {"id": "y", "gate": "input"}, {"id": "zero", "gate": "constant", "value": 0},
             {"id": "c", "gate": "less", "inputs": ["x", "y"]},
             *({"id": name, "gate": "where", "inputs": ["c", *operands]} for name, operands in
               {"a": ["x", "y"], "b": ["x", "zero"], "d": ["zero", "y"], "e": ["zero", "zero"],
                "f": ["x", "x"]}.items())]
    values = np.random.RandomState(0).choice([0.0, -0.0, 1.5, -np.inf, np.inf, np.nan, 5e-324, -1e308], (2, count))
    found, _ = made("blocks", cf.Executor(circuit(*nodes, outputs=list("abdef"))), wrt=())(x=values[0], y=values[1])
    condition = values[0] < values[1]
    for name, (x, y) in {"a": values, "b": (values[0], 0.0), "d": (0.0, values[1]), "e": (0.0, 0.0),
                         "f": values[[0, 0]]}.items():
        np.testing.assert_array_equal(found[name], np.where(condition, x, y))


def test_a_large_circuit_over_rows_is_on_a_tape(monkeypatch, caplog):
    executor = cf.Executor(random_scalars(1), thresholds=cf.Thresholds(looped_operands=10))
    with caplog.at_level("INFO", "circuitflow"):
        found = executor.vmap()(x0=[0.1, 0.2])
        monkeypatch.setattr("circuitflow.engines.table._has_compiled_loops", lambda: False)
        monkeypatch.setattr("circuitflow.engines.staged.rows.is_there", lambda: False)
        close(executor.vmap()(x0=[0.1, 0.2]), found)
    assert caplog.messages == ["engine: tape, compiled, over rows", "engine: staged, in blocks, over rows"]


def test_special_functions_go_in_blocks():
    loaded = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "lgamma", "inputs": ["x"]})
    rows = cf.Executor(loaded).vmap(wrt=(), engine="staged")
    assert rows(x=[0.5, 3.0])[0].tolist() == pytest.approx([0.5723649429247, 0.6931471805599453])


def test_columns_that_do_not_fit():
    vmap = cf.Executor(STAGED).vmap()
    for given, message in [
        ({"x": [1.0, 2.0], "y": [1.0]}, "columns of different lengths: 'x' has 2, 'y' has 1"),
        ({"x": 1.0}, "no column is given; give at least one input a sequence of numbers, one for each row"),
        ({"x": ["a", "b"]}, "'x' is a list of 2; expected numbers of dtype float64"),
        ({"x": [[1.0]], "y": [1.0]}, "'x' has shape (1, 1); expected ()"),
        ({"q": [1.0], "x": [1.0]}, "there is no input 'q' in circuit 'staged'; it has x, y"),
        ({"num": [1.0]}, "'num' cannot be given a value: it is computed, by add; inputs and parameters can"),
    ]:
        with pytest.raises(cf.InputError, match=re.escape(message)):
            vmap(**given)


def test_circuits_that_have_no_rows():
    executor = cf.Executor(cf.load(ROOT / "circuits/mlp.json"))
    with pytest.raises(cf.InputError, match="circuit 'mlp' has values that are not float64 scalars; columns of rows "
                                            "need scalars, so choose the engine jax, which takes arrays"):
        executor.vmap()
    with pytest.raises(cf.InputError, match="the engine interpreter takes one row at a time"):
        executor.vmap(engine="interpreter")
    loaded = circuit({"id": "x", "gate": "input"}, {"id": "f", "gate": "reduce_sum", "inputs": ["x"]})
    with pytest.raises(cf.InputError,
                       match="node 'f': reduce_sum cannot be applied row by row"):
        cf.Executor(loaded).vmap(engine="staged")
    with pytest.raises(cf.InputError, match="the tape cannot take reduce_sum, which is not an operation on floats"):
        cf.Executor(loaded).vmap(engine="tape")


def test_batches_of_tensors_under_jax():
    """Each image of a batch by itself: what the gradients of a batch are the mean of."""
    loaded = cf.load(ROOT / "circuits/logistic_regression.json")
    executor = cf.Executor(loaded)
    x = loaded.values["x"]
    batch = np.stack([x, 2 * x, -x])
    values, gradients = executor.vmap(engine="jax")(x=batch)
    for row in range(3):
        value, gradient = executor.compile(engine="interpreter")(x=batch[row])
        close(np.asarray(values[row]), value)
        for name, g in gradient.items():
            close(np.asarray(gradients[name][row]), g)
    with pytest.raises(cf.InputError, match="no column is given; give at least one input one axis more than it has"):
        executor.vmap(engine="jax")(x=x)
    with pytest.raises(cf.InputError,
                       match="columns of different lengths: 'target' has 2, 'x' has 3|'x' has 3, 'target' has 2"):
        executor.vmap(engine="jax")(x=batch, target=np.stack([loaded.values["target"]] * 2))


def test_the_table_of_gates_is_covered():
    assert set(GATES) >= ELEMENTWISE
    assert {example.gate for example in ON_SCALARS} >= ELEMENTWISE - {"prelu"}
