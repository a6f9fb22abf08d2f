"""`circuitflow run --table`, and engines at the command line."""

from __future__ import annotations

import io
import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import circuitflow as cf
from circuitflow.interpreter.question import Question
from circuitflow.rows.matching import match_columns
from circuitflow.rows.task import RowTask
from circuitflow.tables import opening
from circuitflow.tables.jsonl import _object
from circuitflow.tables.reader import Reader
from support.documents import document
from support.suite import ROOT

STAGED = "circuits/staged.json"


def told(outcome):
    return outcome.status, outcome.out, outcome.err


def written(path):
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path)
    if path.suffix == ".csv":
        return pa.csv.read_csv(path)
    with pa.ipc.open_file(path) as reader:
        return reader.read_all()


def write(path, table):
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)


@pytest.fixture
def rows():
    random = np.random.RandomState(0)
    return pa.table({"name": [f"r{i}" for i in range(3000)], "y": random.standard_normal(3000),
                     "x": np.arange(3000) % 7})


@pytest.mark.parametrize("source", [".parquet", ".csv", ".arrow"])
@pytest.mark.parametrize("target", [".parquet", ".csv", ".feather"])
def test_a_table_goes_in_and_a_table_comes_out(circuitflow, tmp_path, monkeypatch, rows, source, target):
    monkeypatch.setattr(opening, "BATCH", 1000)
    write(tmp_path / f"rows{source}", rows)
    out = tmp_path / f"out{target}"
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / f"rows{source}"), "-o", str(out))
    assert told(outcome) == (0, "", f"note: {tmp_path}/rows{source}: no input takes 'name'\n")
    value, gradients = cf.Executor(cf.load(ROOT / STAGED)).vmap()(x=rows["x"].to_numpy().astype(float),
                                                                  y=rows["y"].to_numpy())
    found = written(out)
    assert found.column_names == ["f", "dx", "dy"]
    for name, expected in {"f": value, "dx": gradients["x"], "dy": gradients["y"]}.items():
        np.testing.assert_allclose(found[name].to_numpy(), expected, rtol=1e-13)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"rows{source}", out.name])


def test_csv_through_a_pipe(circuitflow, monkeypatch):
    class Input:
        buffer = io.BytesIO(b"y,x\n-4,3\n0.5,1e3\n")

    monkeypatch.setattr(sys, "stdin", Input)
    outcome = circuitflow("run", STAGED, "--table", "-", "--wrt", "x", "--of", "f", "--engine", "staged")
    assert outcome.status == 0
    first, second = outcome.out.splitlines()[1:]
    assert outcome.out.startswith("f,dx\n")
    assert [float(x) for x in first.split(",")] == pytest.approx([1.5456448841066441, 2.0595697955721652], rel=1e-14)
    assert len(second.split(",")) == 2


def test_what_is_set_wins_over_a_column_and_forward_leaves_gradients_out(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n3,4\n")
    outcome = circuitflow("run", "circuits/product.json", "--table", str(tmp_path / "rows.csv"), "--set", "y=10",
                          "--defaults", "--forward")
    assert told(outcome) == (0, "f\n-44\n-52\n",
                             f"note: {tmp_path}/rows.csv: no input takes 'y' (its value is given)\n")


def test_an_empty_table_has_no_rows(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n")
    assert told(circuitflow("run", "circuits/product.json", "--table", str(tmp_path / "rows.csv"),
                            "--defaults")) == (0, "f,dx,dy,dz\n", "")


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n1,2\n",
     "rows.csv: no column has the name of an input; its columns are 'a', 'b', the inputs are 'x', 'y', 'z'"),
    ("", "rows.csv: no column has the name of an input; it has none, the inputs are 'x', 'y', 'z'"),
    ("x,y\n1,two\n", "rows.csv: row 1 (line 2), column 'y': 'two' is no number; expected float64"),
    ("x,y\n1,2\n3,\n",
     "rows.csv: row 2 (line 3), column 'y': there is no value; write one, such as NaN, or take the row out"),
    ("x,x\n1,2\n", "rows.csv: column 'x' stands twice; rename one of the two"),
    ("x,y\n1,2,3\n", "rows.csv: row 1 (line 2): it has 3 values, and the header has 2 columns; take out what is too "
                     "much, or put quotes around a text with a separator in it"),
])
def test_a_bad_table_is_told_and_nothing_is_written(circuitflow, tmp_path, monkeypatch, text, message):
    (tmp_path / "rows.csv").write_text(text)
    out = tmp_path / "out.parquet"
    out.write_text("as it was")
    outcome = circuitflow("run", str(ROOT / "circuits/product.json"), "--table", str(tmp_path / "rows.csv"),
                          "--defaults", "-o", str(out))
    assert outcome.status == 2
    assert outcome.err.replace(f"{tmp_path}/", "") == f"error: {message}\n"
    assert out.read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "rows.csv"]


def test_a_bad_parquet_file_is_told(circuitflow, tmp_path, rows):
    (tmp_path / "rows.parquet").write_bytes(b"no parquet at all")
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / "rows.parquet"))
    assert outcome.status == 2
    assert "Parquet magic bytes not found" in outcome.err
    write(tmp_path / "rows.parquet", rows.rename_columns(["x", "y", "z"]))
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / "rows.parquet"))
    assert outcome.err.endswith("rows.parquet: column 'x' is string; expected float64, so cast it to a column of "
                                "numbers\n")
    write(tmp_path / "rows.parquet", pa.table({"x": [2**60 + 1], "y": [1.0]}))
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / "rows.parquet"))
    assert "row 1, column 'x': 1152921504606846977 cannot be kept exactly in a float64" in outcome.err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--table", "nowhere.parquet"], "nowhere.parquet: No such file or directory"),
    (["--table", "rows.xlsx"],
     "rows.xlsx: expected a table as .parquet, .arrow, .feather, .ipc, .csv, .tsv or .jsonl, or - for CSV"),
    (["--keep", "id"], "--defaults and --keep go with --table"),
    (["--engine", "tape", "--engine", "jax"], "--engine is given twice; it takes one value, so give it once"),
    (["--table", "rows.csv", "--json"], "--table writes a table; leave out --json"),
    (["--table", "rows.csv", "--jacobian"],
     "--jacobian, --hessian, --jvp, --debug-nans and --cache go with the interpreter, without --table"),
    (["-o", "out.csv"], "-o goes with --table; for a single run use --json and your shell's >"),
    (["--engine", "tapes"],
     "there is no engine 'tapes'; did you mean 'tape'?; there are auto, interpreter, staged, tape, native, jax"),
    (["--engine", "tape", "--device", "gpu"], "the engine tape runs on the CPU; a device goes with the engine jax"),
    (["--engine", "jax", "--device", "abacus"], "there is no device 'abacus' for the engine jax; there is cpu"),
])
def test_arguments_that_do_not_go_together(circuitflow, arguments, message):
    outcome = circuitflow("run", STAGED, *arguments)
    assert told(outcome) == (2, "", f"error: {message}\n")


def test_a_place_that_cannot_be_written_to(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "no" / "out.csv"))
    assert outcome.status == 2
    assert outcome.err.endswith("cannot be written: No such file or directory; the file is as it was\n")
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.txt"))
    assert outcome.err.endswith("out.txt: expected a table as .parquet, .arrow, .feather, .ipc, .csv\n")


def test_what_is_no_scalar_is_no_column(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x\n1\n")
    outcome = circuitflow("run", "circuits/mlp.json", "--table", str(tmp_path / "rows.csv"), "--engine", "jax")
    assert outcome.err == ("error: column 'dimage' has shape (batch, 784) in each row, and CSV has one number; write "
                           ".parquet or .arrow, choose others by --of and --wrt, or leave gradients out by --forward\n")


def test_without_pyarrow(circuitflow, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for arguments in (["--table", "rows.parquet"], ["--table", "-", "-o", "rows.parquet"]):
        outcome = circuitflow("run", STAGED, *arguments, stdin="x,y\n1,2\n")
        assert told(outcome) == (2, "",
                                 "error: rows.parquet needs `pip install 'circuitflow[tables]'`; CSV does without\n")
    outcome = circuitflow("run", STAGED, "--table", "-", "--forward", stdin="x,y\n1,2\n")
    assert told(outcome) == (0, "f\n0.1932777469974569\n", "")


@pytest.mark.parametrize("engine", ["staged", "tape", "jax"])
def test_engines_at_the_command_line(circuitflow, engine):
    outcome = circuitflow("run", STAGED, "--engine", engine)
    assert told(outcome) == (0, "f = 1.54564\ndx = 2.05957\ndy = 1.59223\n", "")
    found = json.loads(circuitflow("run", STAGED, "--engine", engine, "--json", "--set", "x=1").out)
    expected = json.loads(circuitflow("run", STAGED, "--json", "--set", "x=1").out)
    assert found["outputs"]["f"] == pytest.approx(expected["outputs"]["f"], rel=1e-15)
    assert found["gradients"]["y"] == pytest.approx(expected["gradients"]["y"], rel=1e-14)
    assert found["contributions"] == []


# Every row is one example ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("engine", ["auto", "interpreter", "staged", "jax"])
def test_a_loss_is_that_of_each_row(circuitflow, tmp_path, engine):
    (tmp_path / "loss.json").write_text(document({"id": "p", "gate": "input"}, {"id": "t", "gate": "input"},
                                                 "loss = binary_cross_entropy(p, t)"))
    p, t = np.array([0.5, 0.2, 0.9]), np.array([1.0, 0.0, 0.25])
    (tmp_path / "t.csv").write_text("id,p,t\n" + "".join(f"{i},{a},{b}\n" for i,
                                                         (a, b) in enumerate(zip(p, t, strict=True))))
    outcome = circuitflow("run", str(tmp_path / "loss.json"), "--table", str(tmp_path / "t.csv"), "--wrt", "p",
                          "--keep", "id", "--engine", engine)
    assert (outcome.status, outcome.err) == (0, "")
    found = np.genfromtxt(io.StringIO(outcome.out), delimiter=",", names=True)
    np.testing.assert_allclose(found["loss"], -(t * np.log(p) + (1 - t) * np.log(1 - p)), rtol=1e-14)
    np.testing.assert_allclose(found["dp"], (1 - t) / (1 - p) - t / p, rtol=1e-14)
    assert found["id"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("verify", [[], ["--verify"]])
def test_reductions_arrays_and_small_floats_inside_a_circuit(circuitflow, tmp_path, verify):
    # Three scalars become a vector, which a vector of parameters weighs; an integer and a truth value come out too.
    nodes = [{"id": name, "gate": "input", "dtype": "float32"} for name in "abc"]
    text = document(*nodes, {"id": "w", "gate": "parameter", "value": {"data": [1, 2, 3], "dtype": "float32"}},
                    "v = stack(a, b, c)", "wv = mul(w, v)", "mean = reduce_mean(wv)",
                    {"id": "at", "gate": "arg_max", "axis": 0, "inputs": ["v"]}, "up = greater(a, b)",
                    "first = identity(a)",
                    outputs=["mean", "at", "up", "first"])
    (tmp_path / "c.json").write_text(text)
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n0.1,-5,-6\n")
    outcome = circuitflow("run", str(tmp_path / "c.json"), "--table", str(tmp_path / "t.csv"), "--wrt", "a,c", *verify,
                          "-o", str(tmp_path / "out.parquet"))
    assert (outcome.status, outcome.err) == (0, "note: gradients of the sum mean + first; --of chooses one\n")
    found = pa.parquet.read_table(tmp_path / "out.parquet")
    assert [str(kind) for kind in found.schema.types] == ["float", "int64", "bool", "float", "float", "float"]
    assert found["at"].to_pylist() == [2, 0]
    assert found["up"].to_pylist() == [False, True]
    np.testing.assert_allclose(found["mean"], [14 / 3, (0.1 - 10 - 18) / 3], rtol=1e-6)
    np.testing.assert_allclose(found["dc"], [1, 1], rtol=1e-6)
    empty = circuitflow("run", str(tmp_path / "c.json"), "--table", "-", "--wrt", "a", "--of", "mean", stdin="a,b,c\n")
    assert told(empty) == (0, "mean,da\n", "")


@pytest.mark.parametrize("ending", [".parquet", ".arrow"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "list"])
def test_lists_are_arrays(circuitflow, tmp_path, monkeypatch, ending, fixed):
    monkeypatch.setattr(opening, "NUMBERS", 120)  # twenty rows at a time
    (tmp_path / "c.json").write_text(document(
        {"id": "x", "gate": "input", "shape": [2, 3]}, {"id": "w", "gate": "parameter", "value": [1, -2, 0.5]},
        "h = matmul(x, w)", "t = tanh(h)", "s = reduce_sum(t)", outputs=["s", "t"]))
    x, w = np.random.RandomState(0).standard_normal((50, 2, 3)), np.array([1, -2, 0.5])
    kind = pa.list_(pa.list_(pa.float64(), 3), 2) if fixed else pa.list_(pa.list_(pa.float64()))
    write(tmp_path / f"t{ending}", pa.table({"x": pa.array(x.tolist(), kind), "id": range(50)}))
    outcome = circuitflow("run", str(tmp_path / "c.json"), "--table", str(tmp_path / f"t{ending}"), "--keep", "id",
                          "--upstream", "t=[0, 0]", "-o", str(tmp_path / f"out{ending}"))
    assert (outcome.status, outcome.out) == (0, "")
    found = written(tmp_path / f"out{ending}")
    assert found.schema.names == ["id", "s", "t", "dx", "dw"]
    assert str(found.schema.field("dx").type).startswith("fixed_size_list<")
    assert found["id"].to_pylist() == list(range(50))
    t = np.tanh(x @ w)
    for name, expected in {"s": t.sum(1), "t": t, "dx": (1 - t * t)[:, :, None] * w,
                           "dw": np.einsum("ri,rij->rj", 1 - t * t, x)}.items():
        np.testing.assert_allclose(np.array(found[name].to_pylist()), expected, rtol=1e-11, atol=1e-14)
    refused = circuitflow("run", str(tmp_path / "c.json"), "--table", str(tmp_path / f"t{ending}"), "--of", "s")
    assert told(refused) == (2, "", "error: column 'dx' has shape (2, 3) in each row, and CSV has one number; write "
                                    ".parquet or .arrow, choose others by --of and --wrt, or leave gradients out by "
                                    "--forward\n")


def test_a_column_is_no_array(circuitflow, tmp_path):
    (tmp_path / "t.csv").write_text("x,label\n1,2\n")
    outcome = circuitflow("run", "circuits/logistic_regression.json", "--table", str(tmp_path / "t.csv"), "--forward")
    assert outcome.status == 2
    assert ("column 'x' has one number in each row, and input 'x' has shape (8, 4); write lists of that shape into a "
            ".parquet or .arrow file, write the circuit for one example, with a scalar input for each column, or give "
            "'x' by --set x=…, the same for every row\n") in outcome.err


def test_a_row_that_cannot_be_computed_is_named(circuitflow, tmp_path):
    text = document({"id": "k", "gate": "input", "dtype": "int64"}, {"id": "v", "gate": "constant", "value": [1, 2, 3]},
                    {"id": "f", "gate": "gather", "inputs": ["v", "k"]})
    (tmp_path / "c.json").write_text(text)
    outcome = circuitflow("run", str(tmp_path / "c.json"), "--table", "-", "--forward", stdin="k\n0\n2\n3\n")
    assert outcome.status == 2
    assert outcome.err.startswith("error: standard input: row 3: node 'f': ")


def test_what_no_row_can_do_is_told_once(circuitflow, tmp_path):
    (tmp_path / "t.csv").write_text("p,t\n0.5,1\n")
    (tmp_path / "loss.json").write_text(document({"id": "p", "gate": "input"}, {"id": "t", "gate": "input"},
                                                 "loss = binary_cross_entropy(p, t)"))
    outcome = circuitflow("run", str(tmp_path / "loss.json"), "--table", str(tmp_path / "t.csv"), "--engine", "tape")
    assert told(outcome) == (2, "", "error: the tape cannot take binary_cross_entropy, which is not an operation on "
                                    "floats; choose another engine\n")


# Several outputs ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("arguments", "said"), [
    ([], "gradients of the sum first + shared"),
    (["--cache", "needed"], "gradients of the sum first + shared"),
    (["--engine", "staged"], "gradients of the sum first + shared"),
    (["--upstream", "first=2"], "gradients of the sum first + shared, each times its upstream gradient"),
    (["--of", "first"], ""), (["--forward"], ""), (["--jacobian"], ""),
])
def test_what_several_outputs_are_differentiated_as_is_said(circuitflow, arguments, said):
    outcome = circuitflow("run", "circuits/tie.json", *arguments)
    lines = [line for line in outcome.out.splitlines() if line.startswith("gradients of")]
    assert (outcome.status, lines) == (0, [said] if said else [])
    assert "of several is that of their sum" in " ".join(circuitflow("run", "--help").out.split())


def test_many_columns_are_matched_in_linear_time():
    names = [f"x{i}" for i in range(40000)]
    circuit = cf.loads(json.dumps({"circuitflow": "1.0", "nodes": [*({"id": name, "gate": "input"} for name in names),
                                                                   {"id": "f", "gate": "add", "inputs": names}],
                                   "outputs": ["f"]}))
    executor, reader = cf.Executor(circuit), Reader()
    reader.names = [*reversed(names), "y", "z"]
    task = RowTask(executor, Question(executor, wrt=()), keep=["y"])
    before = time.process_time()  # CPU seconds: 0.1 of them, and 30 where every name is looked for in a list
    match = match_columns(task, reader, "t.csv")
    assert time.process_time() - before < 8
    assert match.selection.inputs["x0"] == (39999, "float64")
    assert (list(match.selection.kept), match.unread) == ([40000], "'z'")


def test_a_key_that_stands_twice_among_many_is_found_in_linear_time():
    pairs = [*((f"k{i}", 1) for i in range(100000)), ("k99999", 2)]
    before = time.process_time()
    with pytest.raises(Exception, match="key 'k99999' stands twice"):
        _object(pairs)
    assert time.process_time() - before < 8
