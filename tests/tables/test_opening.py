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


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), refuse_damage("the data"):
        _ = 1 / 0
