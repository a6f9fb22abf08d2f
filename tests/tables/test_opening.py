"""A table in an open file is read by the ending of its name; a damaged one is refused by its name."""

from __future__ import annotations

import gzip
import io
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import circuitflow as cf
from circuitflow.document.limits import DEFAULT
from circuitflow.tables.opening import open_table, refuse_damage
from circuitflow.tables.reader import Selection

TIMES = np.array([0.5, 1.5])


def arrow(write):
    sink = io.BytesIO()
    table = pa.table({"time": TIMES, "note": ["a", "b"]})
    write(sink, table)
    return sink.getvalue()


def _ipc(sink, table):
    with pa.ipc.new_file(sink, table.schema) as file:
        file.write_table(table)


FILES = {"x.csv": b"time,note\n0.5,a\n1.5,b\n", "x.tsv": b"time\tnote\n0.5\ta\n1.5\tb\n",
         "x.csv.gz": gzip.compress(b"time,note\n0.5,a\n1.5,b\n"),
         "x.jsonl": b'{"time": 0.5, "note": "a"}\n{"time": 1.5, "note": "b"}\n',
         "x.parquet": arrow(lambda sink, table: pyarrow.parquet.write_table(table, sink)), "x.arrow": arrow(_ipc)}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_open_is_read_again_and_stays_open(name):
    file = io.BytesIO(FILES[name])
    for _ in range(2):
        file.seek(0)
        with refuse_damage(name), ExitStack() as stack:
            reader = open_table(name, name, DEFAULT, stack, file)
            assert list(reader.names) == ["time", "note"]
            (batch,) = reader.batches(Selection({"t": (0, "float64")}, []))
        assert (batch.first, batch.rows) == (1, 2)
        assert np.array_equal(batch.inputs["t"], TIMES)
        assert not file.closed


@pytest.mark.parametrize("name", ["x.csv.gz", "x.parquet", "x.arrow"])
def test_a_file_that_is_cut_short_is_refused_by_its_name(name):
    file = io.BytesIO(FILES[name][:-20])
    with (pytest.raises(cf.InputError, match="^the data: "), refuse_damage("the data"), ExitStack() as stack):
        list(open_table(name, "the data", DEFAULT, stack, file).batches(Selection({"t": (0, "float64")}, [])))


IMAGES = np.arange(24.0).reshape(4, 3, 2)
_ITEMS = pa.array(IMAGES.ravel())
LISTS = {
    "fixed": pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(_ITEMS, 2), 3),
    "list": pa.array(IMAGES.tolist()), "large": pa.array(IMAGES.tolist(), pa.large_list(pa.large_list(pa.float64()))),
    "mixed": pa.FixedSizeListArray.from_arrays(pa.array(IMAGES.reshape(12, 2).tolist()), 3)}


def in_file(column, name, tmp_path):
    table, path = pa.table({"a": [1] * len(column), "x": column}), tmp_path / name
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    return path


def read_lists(path, dtype="float64"):
    with ExitStack() as stack:
        return [batch.inputs["x"] for batch in open_table(str(path), path.name, DEFAULT, stack).batches(
            Selection({"x": (1, dtype)}, [], {"x": None}))]


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_one_length_are_tensors(kind, name, tmp_path):
    (found,) = read_lists(in_file(LISTS[kind], name, tmp_path), "float32")
    assert found.dtype == "float32"
    assert np.array_equal(found, IMAGES)
    with (pytest.raises(cf.InputError, match=f"{name}: column 'x' is .*list.*; expected float64, so cast it"),
          ExitStack() as stack):
        list(open_table(str(tmp_path / name), name, DEFAULT, stack).batches(Selection({"x": (1, "float64")}, [])))


@pytest.mark.parametrize(("column", "dtype", "message"), [
    ([[1.0, 2], [3.0, 4], [5.0]], "float64", "row 3, column 'x': a list of 1; expected 2, as before it"),
    ([[[1.0, 2], [3, 4]], [[5, 6], [7]]], "float64", "row 2, column 'x': a list of 1; expected 2, as before it"),
    ([[1.0, 2], None], "float64", "row 2, column 'x': there is no list; write one, or take the row out"),
    ([[[1.0]], [None]], "float64", "row 2, column 'x': there is no list; write one, or take the row out"),
    ([[1.0, 2], [3.0, None]], "float64", "row 2, column 'x': there is no value; write one, or take the row out"),
    ([[1, 2], [3, 400]], "int8", "row 2, column 'x': 400 "),
    ([["a"]], "float64", "column 'x' is string; expected float64, so cast it to a column of numbers"),
])
def test_lists_that_are_no_tensor_are_refused_by_their_row(column, dtype, message, tmp_path):
    with pytest.raises(cf.InputError, match=f"^x.parquet: {message}"):
        read_lists(in_file(pa.array(column), "x.parquet", tmp_path), dtype)


def test_few_rows_are_read_at_a_time_where_their_lists_are_long(tmp_path, monkeypatch):
    monkeypatch.setattr("circuitflow.tables.opening.NUMBERS", 12)
    found = read_lists(in_file(LISTS["fixed"], "x.parquet", tmp_path))
    assert [len(part) for part in found] == [2, 2]
    assert np.array_equal(np.concatenate(found), IMAGES)


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), refuse_damage("the data"):
        _ = 1 / 0
