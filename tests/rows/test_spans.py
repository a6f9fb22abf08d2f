"""Spans of a table: each row is in one of them, and each begins where a block does."""

from __future__ import annotations

import io
from contextlib import ExitStack
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitflow.document.limits import DEFAULT
from circuitflow.rows.fixed_order import join, join_trees, trees
from circuitflow.tables.opening import open_table
from circuitflow.tables.places import Part, find_parts
from circuitflow.tables.reader import Selection, first_of
from circuitflow.tables.several import open_parts
from circuitflow.tables.spans import spans


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 9),
       st.integers(0, 30))
def test_every_row_is_in_one_span(stretches, block, least):
    parts = [Part(str(i), str(i)) for i in range(len(stretches))]
    rows = [(str(i), row) for i, counts in enumerate(stretches) for row in range(sum(counts))]
    begins = {0, *accumulate(count for counts in stretches for count in counts)}
    found, end = [], 0
    for span in spans(parts, stretches, block, least):
        assert span.first == end
        assert span.first % block == 0
        assert any(begin <= span.first < begin + block for begin in begins)
        assert not found or span.first - found[-1] >= least
        here = [(part.path, row) for part in span.parts for row in range(sum(stretches[int(part.path)]))]
        assert here[span.skip : span.skip + span.rows] == rows[span.first : span.first + span.rows]
        assert span.rows > 0
        end = span.first + span.rows
        found.append(span.first)
    assert end == len(rows)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9))
def test_trees_of_spans_are_one_tree(sizes):
    """Where a span begins makes no difference: parentheses stand where those of one process do."""
    blocks = [str(i) for i in range(sum(sizes))]
    found = [tree for end, size in zip(accumulate(sizes), sizes, strict=True)
             for tree in trees(blocks[end - size : end], lambda a, b: f"({a} {b})", end - size)]
    assert not blocks or join_trees(found, lambda a, b: f"({a} {b})") == join(blocks, lambda a, b: f"({a} {b})")
    assert all(len(trees([""] * size, lambda a, b: a, 1)) <= 2 * size.bit_length() for size in sizes)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "csv.gz", "jsonl", "keys"])
def test_rows_are_read_from_any_row_on(tmp_path, ending):
    folder = tmp_path / "key=7" if ending == "keys" else tmp_path
    folder.mkdir(exist_ok=True)
    for i, (start, end) in enumerate([(0, 10), (10, 10), (10, 35)]):
        if ending == "jsonl" and start == end:
            continue  # without rows it has no columns
        rows = pa.table({"x": np.arange(start, end, dtype=float)})
        path = folder / f"{i}.{'parquet' if ending == 'keys' else ending}"
        if path.suffix == ".parquet":
            pa.parquet.write_table(rows, path, row_group_size=4)
        elif ending == "arrow":
            with pa.ipc.new_file(path, rows.schema) as file:
                file.write_table(rows, 4)
        elif ending == "jsonl":
            path.write_text("".join(f'{{"x": {x}}}\n' for x in range(start, end)))
        else:
            with pa.output_stream(path) as file:
                file.write("".join(["x\n", *(f"{x}\n" for x in range(start, end))]).encode())
    parts = find_parts([str(tmp_path)])
    for skip in range(10):
        for count in (1, 10 - skip, 11 - skip, 35 - skip):
            with ExitStack() as stack:
                reader = open_parts(parts, DEFAULT, stack, like=parts[-1])
                selection = Selection({"x": (reader.names.index("x"), "float64")}, ())
                batches = [*first_of(reader.batches_after(selection, skip), count)]
            assert [x for batch in batches for x in batch.inputs["x"]] == [*range(skip, skip + count)]
            assert f"row {batches[0].first}" in batches[0].at(batches[0].first)
            assert batches[0].first == skip + 1


def test_the_row_groups_of_a_file_are_its_stretches(tmp_path):
    rows = pa.table({"x": np.arange(10.0)})
    pa.parquet.write_table(rows, tmp_path / "r.parquet", row_group_size=4)
    (tmp_path / "r.csv").write_text("x\n1\n2\n")
    found = []
    for name in ("r.parquet", "r.csv"):
        with ExitStack() as stack:
            found.append(open_parts(find_parts([str(tmp_path / name)]), DEFAULT, stack).stretches())
    assert found == [[4, 4, 2], [2]]


def test_rows_are_counted_and_columns_read_without_the_rest_of_the_file():
    class Counted(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            data = super().read(size)
            self.taken += len(data)
            return data

    rows = 50_000
    table = pa.table({"x": np.arange(1.0 * rows), **{name: np.sqrt(np.arange(rows)) for name in "abcdefg"}})
    for name, counting, reading in (("r.parquet", 0.05, 0.3), ("r.arrow", 0.2, 0.2)):
        whole = io.BytesIO()
        if name == "r.parquet":
            pa.parquet.write_table(table, whole, row_group_size=rows // 5)
        else:
            with pa.ipc.new_file(whole, table.schema) as writer:
                writer.write_table(table, max_chunksize=rows // 5)
        file = Counted(whole.getvalue())
        with ExitStack() as stack:
            reader = open_table(name, name, DEFAULT, stack, file)
            assert sum(reader.stretches()) == rows
            assert file.taken < counting * len(whole.getvalue()), name
            file.taken = 0
            found = [*reader.batches(Selection({"x": (0, "float64")}, []))]
            assert file.taken < reading * len(whole.getvalue()), name
        np.testing.assert_array_equal(np.concatenate([batch.inputs["x"] for batch in found]), table["x"])
