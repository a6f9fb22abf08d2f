"""`circuitflow run --table --sum` and `--mean`: beside `math.fsum` of the rows, and the same bits however they come."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from circuitflow.rows import summing
from circuitflow.tables import opening
from support.documents import document
from support.suite import GUARD, ROOT

STAGED = "circuits/staged.json"
ROWS = 2500
PARTS = [[ROWS], [1, ROWS - 1], [1250, 1250], [25] * 100, [256] * 9 + [196], [255] * 9 + [205], [ROWS - 7, 0, 7]]


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    return pa.table({"x": random.standard_normal(ROWS), "y": 5 * random.standard_normal(ROWS)})


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(summing, "ROWS", 256)


def numbers(csv):
    names, *lines = csv.splitlines()
    return names.split(","), np.array([[float(cell) for cell in line.split(",")] for line in lines])


def bits(outcome):
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out


def slices(rows, parts):
    ends = np.cumsum([0, *parts])
    return [rows.slice(start, size) for start, size in zip(ends, parts, strict=False)]


def arrow(path, rows, parts):
    """A file with a record batch for every part."""
    with pa.ipc.new_file(path, rows.schema) as file:
        for part in slices(rows, parts):
            file.write_batch(part.combine_chunks().to_batches()[0] if len(part) else
                             pa.RecordBatch.from_pylist([], rows.schema))
    return path


@pytest.mark.parametrize("engine", ["auto", "interpreter", "staged", pytest.param("tape", marks=pytest.mark.long)])
def test_a_sum_is_that_of_the_rows_rounded_once(circuitflow, tmp_path, rows, small_blocks, engine):
    if engine == "interpreter":
        rows = rows.slice(0, 300)
    pa.parquet.write_table(rows, tmp_path / "rows.parquet")
    command = ["run", STAGED, "--table", str(tmp_path / "rows.parquet"), "--engine", engine]
    names, each = numbers(bits(circuitflow(*command)))
    exact = [math.fsum(column) for column in each.T]
    assert numbers(bits(circuitflow(*command, "--sum")))[0] == names == ["f", "dx", "dy"]
    assert numbers(bits(circuitflow(*command, "--sum")))[1].tolist() == [exact]
    assert numbers(bits(circuitflow(*command, "--mean")))[1].tolist() == [[total / len(rows) for total in exact]]


def test_bits_are_the_same_however_the_rows_come(circuitflow, tmp_path, monkeypatch, rows, small_blocks):
    found = set()
    for number, parts in enumerate(PARTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        for i, part in enumerate(slices(rows, parts)):
            pa.parquet.write_table(part, folder / f"{i:03}.parquet")
        pa.parquet.write_table(rows, tmp_path / f"{number}.parquet", row_group_size=max(parts))
        monkeypatch.setattr(opening, "BATCH", max(parts))
        for table in (folder, tmp_path / f"{number}.parquet", arrow(tmp_path / f"{number}.arrow", rows, parts)):
            found.add(bits(circuitflow("run", STAGED, "--table", str(table), "--sum")))
    for size in (1, 64, 2**16):  # the tree over rows is one, whatever the blocks
        monkeypatch.setattr(summing, "ROWS", size)
        found.add(bits(circuitflow("run", STAGED, "--table", str(tmp_path / "0.arrow"), "--sum")))
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in zip(
        rows["x"].to_pylist(), rows["y"].to_pylist(), strict=True)))
    found.add(bits(circuitflow("run", STAGED, "--table", str(tmp_path / "rows.csv"), "--sum")))
    assert len(found) == 1


def test_products_of_matrices_over_rows_have_the_same_bits_too(circuitflow, tmp_path, small_blocks):
    """XLA makes one product of the products of all rows of a block, whose bits depend on their number."""
    random = np.random.default_rng(0)
    (tmp_path / "c.json").write_text(document(
        {"id": "x", "gate": "input", "shape": [50]},
        {"id": "w", "gate": "parameter", "value": random.standard_normal((50, 50)).tolist()},
        "h = matmul(w, x)", "t = tanh(h)", "s = reduce_sum(t)"))
    rows = pa.table({"x": pa.array(random.standard_normal((600, 50)).tolist(), pa.list_(pa.float64(), 50))})
    found = {bits(circuitflow("run", str(tmp_path / "c.json"), "--table", str(arrow(tmp_path / "t.arrow", rows, parts)),
                              "--engine", "jax", "--sum", "--json"))
             for parts in ([600], [1, 599], [25] * 24, [255, 255, 90])}
    assert len(found) == 1


PROGRAM = """
import os, sys
if sys.argv[1] == "alone":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from circuitflow.cli import main
for name, wrt in (("plain", "x,y"), ("wide", "k")):
    sys.argv[1:] = ["run", f"{name}.json", "--table", f"{name}.parquet", "--sum", "--wrt", wrt]
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


def test_bits_are_the_same_on_any_number_of_threads(tmp_path):
    """Both those of blocks of rows and those of BLAS, which adds parts of a long product up."""
    random, size = np.random.default_rng(0), 30_000
    (tmp_path / "plain.json").write_text((ROOT / STAGED).read_text())
    pa.parquet.write_table(pa.table({"x": random.standard_normal(200_000), "y": random.standard_normal(200_000)}),
                           tmp_path / "plain.parquet")
    (tmp_path / "wide.json").write_text(document(
        {"id": "x", "gate": "input", "shape": [size]}, {"id": "k", "gate": "input"},
        {"id": "w", "gate": "parameter", "value": {"random": "normal", "shape": [size], "seed": 1}},
        "wx = matmul(w, x)", "f = mul(k, wx)"))
    lists = pa.FixedSizeListArray.from_arrays(random.standard_normal(20 * size), size)
    pa.parquet.write_table(pa.table({"x": lists, "k": random.standard_normal(20)}), tmp_path / "wide.parquet")
    found = set()
    for threads, alone in (("1", "alone"), ("2", "")):
        done = subprocess.run([sys.executable, "-c", PROGRAM, alone], cwd=tmp_path, capture_output=True, text=True,
                              timeout=GUARD, check=True, env={**os.environ, "PYTHONPATH": str(ROOT),
                                                              "OMP_NUM_THREADS": threads,
                                                              "OPENBLAS_NUM_THREADS": threads})
        found.add(done.stdout)
    assert len(found) == 1
    assert found.pop().count("\n") == 4


# Forms ----------------------------------------------------------------------------------------------------------------

@pytest.fixture
def lists(tmp_path):
    (tmp_path / "c.json").write_text(document(
        {"id": "x", "gate": "input", "shape": [2]}, {"id": "k", "gate": "input", "dtype": "int64"},
        {"id": "w", "gate": "parameter", "value": [[1, -2], [0.5, 4]]}, "h = matmul(w, x)", "s = reduce_sum(h)",
        "n = add(k, k)", outputs=["s", "h", "n"], name="lists", upstream={"s": 1, "h": [0, 0]}))
    x = [[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]]
    table = pa.table({"x": pa.array(x, pa.list_(pa.float64(), 2)), "k": pa.array([5, 6, 8])})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    return tmp_path, ["run", str(tmp_path / "c.json"), "--table", str(tmp_path / "t.parquet"), "--wrt", "w"]


SUMS = {"s": 3.25, "h": [8.0, -4.75], "n": 38}
"""Of W x over the three rows, whose x have the sum (4.5, -1.75)."""


def test_arrays_keep_their_shape(circuitflow, lists):
    folder, command = lists
    found = json.loads(circuitflow(*command, "--sum", "--json").out)
    assert found == {"circuit": "lists", "outputs": SUMS, "gradients": {"w": [[4.5, -1.75]] * 2}}
    means = json.loads(circuitflow(*command, "--mean", "--json").out)
    assert means == {"circuit": "lists", "outputs": {"s": 3.25 / 3, "h": [8 / 3, -4.75 / 3], "n": 38 / 3},
                     "gradients": {"w": [[1.5, -1.75 / 3]] * 2}}
    assert circuitflow(*command, "--sum", "-o", str(folder / "sums.parquet")).out == ""
    written = pa.parquet.read_table(folder / "sums.parquet")
    assert written.to_pylist() == [SUMS | {"dw": [[4.5, -1.75]] * 2}]
    assert [str(type_).partition("<")[0] for type_ in written.schema.types] == ["double", "fixed_size_list", "int64",
                                                                                "fixed_size_list"]
    refused = circuitflow(*command, "--sum")
    assert refused.status == 2
    assert "column 'h' has shape (2,) in each row, and CSV has one number; write .parquet or .arrow" in refused.err


def test_no_rows_have_the_sum_0_and_no_mean(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n")
    command = ["run", STAGED, "--table", str(tmp_path / "rows.csv"), "--forward"]
    assert bits(circuitflow(*command, "--sum")) == "f\n0\n"
    assert bits(circuitflow(*command, "--mean")) == "f\nNaN\n"
    assert json.loads(bits(circuitflow(*command, "--mean", "--json")))["outputs"] == {"f": "NaN"}


def test_a_row_that_cannot_be_read_is_named_by_file_row_group_and_row(circuitflow, tmp_path, rows, small_blocks):
    for i in range(3):
        part = rows.slice(800 * i, 800).set_column(0, "x", pa.array(
            [None if (i, row) == (1, 700) else 1.5 for row in range(800)], pa.float64()))
        pa.parquet.write_table(part, tmp_path / f"{i}.parquet", row_group_size=300)
    outcome = circuitflow("run", STAGED, "--table", str(tmp_path), "--sum", "-o", str(tmp_path / "sums.parquet"))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.endswith("1.parquet: row 701 (row group 3), column 'x': there is no value; write one, or take "
                                "the row out\n")
    assert not (tmp_path / "sums.parquet").exists()


def test_an_output_that_cannot_be_written_is_told_before_a_row_is_read(circuitflow, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\nnone,1\n")
    command = ["run", STAGED, "--table", str(tmp_path / "rows.csv"), "--sum", "-o"]
    assert "cannot be written: No such file" in circuitflow(*command, str(tmp_path / "no" / "sums.csv")).err
    assert "row 1 (line 2), column 'x'" in circuitflow(*command, str(tmp_path / "sums.csv")).err
    assert not (tmp_path / "sums.csv").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--sum"], "--sum goes with --table"), (["--mean"], "--mean goes with --table"),
    (["--table", "-", "--sum", "--mean"], "--sum and --mean exclude one another; give one"),
    (["--table", "-", "--sum", "--keep", "x"],
     "--keep copies a column row by row, and --sum gives one row for all; leave one out"),
    (["--table", "-", "--mean", "-o", "results/"], "--mean gives one row, and a folder has a file for every file of "
                                                   "the table; write one file, such as -o sums.parquet"),
    (["--table", "-", "--sum", "--resume"], "--resume goes with a folder of results, such as -o results/; a single "
                                            "file is written whole or not at all"),
    (["--table", "-", "--sum", "--json", "-o", "sums.csv"],
     "--json prints on standard output; leave out -o, or write a table without --json"),
])
def test_arguments_that_do_not_go_together(circuitflow, arguments, message):
    outcome = circuitflow("run", STAGED, *arguments, stdin="x,y\n1,2\n")
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"error: {message}\n")
