"""Tables of many files: folders, patterns, partitions, URLs; beside the same rows in one file."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import circuitflow as cf
from circuitflow.tables.places import find_parts
from support.documents import circuit, document

ROWS = 40
FORMS = ["parquet", "arrow", "csv", "csv.gz", "jsonl"]


def encoded(table, form):
    """A table as bytes, in small pieces where there are some."""
    import gzip

    sink = io.BytesIO()
    if form == "parquet":
        pa.parquet.write_table(table, sink, row_group_size=7)
    elif form == "arrow":
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table, max_chunksize=7)
    elif form == "jsonl":
        sink.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
    else:
        pa.csv.write_csv(table, sink)
    return gzip.compress(sink.getvalue()) if form.endswith(".gz") else sink.getvalue()


@pytest.fixture
def rows():
    random = np.random.RandomState(0)
    return pa.table({"id": [f"r{i}" for i in range(ROWS)], "x": random.standard_normal(ROWS),
                     "y": random.standard_normal(ROWS)})


@pytest.fixture
def product(tmp_path):
    path = tmp_path / "product.json"
    path.write_text(document({"id": "x", "gate": "input"}, {"id": "y", "gate": "input"}, "f = mul(x, y)"))
    return str(path)


@pytest.fixture
def scatter(tmp_path, rows):
    """A folder of files, of which the names are not in the order in which they are made."""
    def write(form, names=("b/1", "a", "b/0", "c"), change=lambda i, part: part):
        folder = tmp_path / "rows"
        parts = [rows.slice(start, 10) for start in range(0, ROWS, 10)]
        for i, name in enumerate(names):
            path = folder / f"{name}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(change(i, parts[sorted(names).index(name)]), form))
        return folder

    return write


def told(outcome):
    return outcome.status, outcome.out, outcome.err


def answers(circuitflow, product, *tables):
    outcome = circuitflow("run", product, *(word for table in tables for word in ("--table", str(table))), "--keep",
                          "id", "--wrt", "x", "--engine", "interpreter")
    assert outcome.status == 0, outcome.err
    return outcome.out


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_a_pattern_and_files_are_one_table(circuitflow, tmp_path, product, rows, scatter, form):
    folder = scatter(form)
    (tmp_path / "all.csv").write_bytes(encoded(rows, "csv"))
    expected = answers(circuitflow, product, tmp_path / "all.csv")
    for name in ("_SUCCESS", ".hidden.parquet", "_started/x.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not a table")
    assert answers(circuitflow, product, folder) == expected
    assert answers(circuitflow, product, f"{folder}/**/*.{form}") == expected
    assert answers(circuitflow, product, f"{folder}/[ab]*", folder / f"c.{form}") == expected
    names = [folder / f"{name}.{form}" for name in ("c", "b/1", "b/0", "a")]
    assert sorted(answers(circuitflow, product, *names).splitlines()) == sorted(expected.splitlines())
    assert answers(circuitflow, product, *names).splitlines()[1].startswith("r30,")


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_urls(circuitflow, tmp_path, product, rows, scatter, form):
    fsspec = pytest.importorskip("fsspec")
    folder = scatter(form)
    expected = answers(circuitflow, product, folder)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/test_urls/", recursive=True)
    try:
        (root,) = {path.rpartition("/")[0] for path in memory.find("/test_urls") if path.endswith(f"/a.{form}")}
        assert answers(circuitflow, product, f"memory:/{root}") == expected
        assert answers(circuitflow, product, f"memory:/{root}/**/*.{form}") == expected
        assert answers(circuitflow, product, *(f"memory:/{root}/{name}.{form}" for name in
                                               ("a", "b/0", "b/1", "c"))) == expected
        assert answers(circuitflow, product, folder.as_uri()) == expected
        for name, message in [("nothing*", "no file has a name of this pattern"), ("nothing.csv", "nothing.csv")]:
            outcome = circuitflow("run", product, "--table", f"memory:/{root}/{name}")
            assert (outcome.status, message in outcome.err) == (2, True)
    finally:
        memory.rm("/test_urls", recursive=True)


def test_file_systems_that_are_not_there_are_named(circuitflow, product, monkeypatch):
    pytest.importorskip("fsspec")
    outcome = circuitflow("run", product, "--table", "sky://bucket/rows.parquet")
    assert told(outcome) == (2, "", "error: sky://bucket/rows.parquet: ValueError: Protocol not known: sky\n")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    outcome = circuitflow("run", product, "--table", "s3://bucket/rows.parquet")
    assert outcome.err.startswith("error: s3://bucket/rows.parquet: its file system is not installed: Install s3fs")
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    outcome = circuitflow("run", product, "--table", "s3://bucket/rows.parquet")
    assert told(outcome) == (2, "", "error: s3://bucket/rows.parquet needs `pip install 'circuitflow[tables]'`, for "
                                    "fsspec\n")


# Partitions -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", FORMS)
def test_keys_are_columns(circuitflow, tmp_path, product, rows, form):
    folder, expected = tmp_path / "rows", []
    for key in ("-2.5", "1e3", "7"):
        for site in ("n%2C%20o", "p"):
            path = folder / f"y={key}" / f"site={site}" / f"part.{form}"
            path.parent.mkdir(parents=True)
            path.write_bytes(encoded(rows.select(["id", "x"]).slice(0, 4), form))
    for key in ("-2.5", "1e3", "7"):  # in this order by their names
        for site in ("n, o", "p"):
            expected += [(site, rows["x"][i].as_py() * float(key), float(key)) for i in range(4)]
    out = tmp_path / "out.parquet"
    for table in (folder, f"{folder}/y=*/*/*.{form}"):
        outcome = circuitflow("run", product, "--table", str(table), "--keep", "site,id", "--wrt", "x", "-o", str(out))
        assert told(outcome) == (0, "", "")
        found = pa.parquet.read_table(out)
        assert found["id"].to_pylist() == rows["id"].to_pylist()[:4] * 6
        assert list(zip(*(found[name].to_pylist() for name in ("site", "f", "dx")), strict=True)) == expected
    # A pattern without a wildcard before a key does not read it; then nothing is there for y.
    outcome = circuitflow("run", product, "--table", f"{folder}/y=7/site=p/*.{form}")
    assert "there is no column for input 'y'" in outcome.err


@pytest.mark.parametrize("form", FORMS)
def test_keys_alone(circuitflow, tmp_path, form):
    (tmp_path / "c.json").write_text(document({"id": "k", "gate": "input", "dtype": "int64"}, "f = add(k, k)"))
    for k in (1, 2):
        path = tmp_path / "rows" / f"k={k}" / f"part.{form}"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(pa.table({"id": ["a", "b", "c"]}), form))
    outcome = circuitflow("run", str(tmp_path / "c.json"), "--table", str(tmp_path / "rows"), "--forward")
    assert (outcome.status, outcome.out) == (0, "f\n2\n2\n2\n4\n4\n4\n")


@pytest.mark.parametrize(("folders", "message"), [
    (["y=1", "z=1"], "rows/z=1/0.csv has key 'z' in its path, and rows/y=1/0.csv has key 'y'; expected the same "),
    (["y=1", ""], "rows/y=1/0.csv has key 'y' in its path, and rows/0.csv has no keys"),
    (["y=1", "y=two"], "rows/y=two/0.csv: key 'y': 'two' is no number; expected float64"),
    (["y=1", "y=__HIVE_DEFAULT_PARTITION__"], "rows/y=__HIVE_DEFAULT_PARTITION__/0.csv: key 'y' has no value; leave "),
    (["y=1/y=2"], "rows/y=1/y=2/0.csv: key 'y' stands twice in its path"),
    (["x=1"], "rows/x=1/0.csv: column 'x' stands in the file and as a key in its path; rename one of the two"),
])
def test_bad_keys_are_named(circuitflow, tmp_path, product, monkeypatch, folders, message):
    monkeypatch.chdir(tmp_path)
    for folder in folders:
        os.makedirs(f"rows/{folder}", exist_ok=True)
        with open(f"rows/{folder}/0.csv", "w") as file:
            file.write("x\n1\n")
    outcome = circuitflow("run", product, "--table", "rows", "-o", "out.csv")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert not os.path.exists("out.csv")


# Refusals -------------------------------------------------------------------------------------------------------------

def test_a_file_with_a_name_like_a_pattern_is_a_file(circuitflow, tmp_path, product):
    (tmp_path / "r[1]*.csv").write_text("x,y\n2,3\n")
    (tmp_path / "r1x.csv").write_text("x,y\n5,5\n")
    outcome = circuitflow("run", product, "--table", str(tmp_path / "r[1]*.csv"), "--forward")
    assert told(outcome) == (0, "f\n6\n", "")


@pytest.mark.parametrize(("files", "table", "message"), [
    ({}, "rows", "rows: there is no table in this folder or below it"),
    ({"_x.csv": "x,y\n"}, "rows", "rows: there is no table in this folder or below it"),
    ({}, "rows/*.csv", "rows/*.csv: no file has a name of this pattern"),
    ({"a.csv": "x,y\n", "notes.txt": "?"}, "rows", "rows/notes.txt: expected a table as .parquet, .arrow"),
    ({"a.csv": "x,y\n", "b.jsonl": ""}, "rows", "rows/a.csv and rows/b.jsonl are of different formats; expected "),
    ({"a.csv": "x,y\n1,2\n", "b.csv": "y,x,z\n1,2,3\n"}, "rows",
     "rows/b.csv: its columns are 'y', 'x', 'z', and those of rows/a.csv are 'x', 'y'; expected the same"),
    ({"a.csv": "x,y\n1,2\n", "b.csv": "x,y\n1,2\n3,?\n"}, "rows", "rows/b.csv: row 2 (line 3), column 'y': '?' is no "),
    ({"a.csv": "x,y\n1,2\n", "b\x1b[31m.csv": "x,y\n1,?\n"}, "rows", "rows/b\\x1b[31m.csv: row 1 (line 2), column "),
])
def test_files_that_do_not_go_together(circuitflow, tmp_path, product, monkeypatch, files, table, message):
    monkeypatch.chdir(tmp_path)
    os.mkdir("rows")
    for name, text in files.items():
        (tmp_path / "rows" / name).write_text(text)
    outcome = circuitflow("run", product, "--table", table, "-o", "out.csv")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert not os.path.exists("out.csv")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("names", [["a"], ["b/0", "c"], ["a", "b/0", "b/1"]])
def test_files_without_rows_are_taken(circuitflow, tmp_path, product, rows, scatter, form, names):
    folder, expected = scatter(form), []
    for i, name in enumerate(["a", "b/0", "b/1", "c"]):
        if name in names:
            (folder / f"{name}.{form}").write_bytes(b"\n" if form == "jsonl" else encoded(rows.slice(0, 0), form))
        else:
            expected += rows["id"].to_pylist()[10 * i : 10 * i + 10]
    found = answers(circuitflow, product, folder)
    assert [line.partition(",")[0] for line in found.splitlines()] == ["id", *expected]
    command = ["run", product, "--table", str(folder), "--engine", "interpreter"]
    assert circuitflow(*command, "--keep", "id", "-o", f"{tmp_path}/out/").status == 0
    parts = [pa.parquet.read_table(tmp_path / f"out/part-0000{i}.parquet") for i in range(4)]
    assert [row for part in parts for row in part["id"].to_pylist()] == expected
    assert all(part.schema == parts[0].schema for part in parts)
    assert circuitflow(*command, "--sum", "--forward").out.startswith("f\n")
    assert cf.fit(LINE, folder, residuals="r", engine="interpreter").data.rows == len(expected)


def test_json_lines_without_any_row_have_no_columns(circuitflow, tmp_path, product):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("\n")
    for more in ([], ["-o", f"{tmp_path}/out/"], ["--sum"]):
        outcome = circuitflow("run", product, "--table", f"{tmp_path}/*.jsonl", *more)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err.startswith(f"error: {tmp_path}/a.jsonl: there is no column for inputs 'x', 'y'; it has none")
    (tmp_path / "b.jsonl").write_text("{}\n")
    outcome = circuitflow("run", product, "--table", f"{tmp_path}/*.jsonl")
    assert outcome.err.startswith(f"error: {tmp_path}/b.jsonl: there is no column for inputs 'x', 'y'; it has none")


def test_files_of_other_types_and_bad_rows_are_named(circuitflow, tmp_path, product, scatter):
    folder = scatter("parquet", change=lambda i, part: part if i else part.set_column(
        1, "x", part["x"].cast(pa.float32())))
    outcome = circuitflow("run", product, "--table", str(folder))
    assert outcome.err.endswith(f"error: {folder}/b/1.parquet: column 'x' is float, and double in {folder}/a.parquet; "
                                "expected the same, so cast one\n")
    folder = scatter("parquet", change=lambda i, part: part if i else part.set_column(
        1, "x", pa.array([*range(8), None, 1.0], pa.float64())))
    out = tmp_path / "out.parquet"
    outcome = circuitflow("run", product, "--table", str(folder), "-o", str(out))
    assert told(outcome)[::2] == (2, f"note: {folder}/a.parquet: no input takes 'id'\n"
                                     f"error: {folder}/b/1.parquet: row 9 (row group 2), column 'x': there is no "
                                     "value; write one, or take the row out\n")
    assert not out.exists()


def test_a_folder_may_not_hold_the_output(circuitflow, product, scatter):
    folder = scatter("parquet")
    outcome = circuitflow("run", product, "--table", str(folder), "-o", str(folder / "c.parquet"))
    assert outcome.status == 2
    assert "are the same file; write to another one" in outcome.err
    outcome = circuitflow("run", product, "--table", "-", "--table", str(folder))
    assert told(outcome) == (2, "", "error: standard input is a table by itself; leave out the others\n")


def test_only_the_columns_that_are_needed_are_read(tmp_path, rows, product, circuitflow, monkeypatch):
    read = []
    original = pa.parquet.ParquetFile.iter_batches
    monkeypatch.setattr(pa.parquet.ParquetFile, "iter_batches", lambda self, size, groups, columns: read.append(
        columns) or original(self, size, groups, columns))
    for name in "ab":
        pa.parquet.write_table(rows.append_column("wide", rows["x"]), tmp_path / f"{name}.parquet")
    answers(circuitflow, product, tmp_path / "*.parquet")
    assert read == [["id", "x", "y"]] * 2


# Fits -----------------------------------------------------------------------------------------------------------------

LINE = circuit({"id": "x", "gate": "input"}, {"id": "y", "gate": "input"}, {"id": "a", "gate": "parameter", "value": 0},
               {"id": "b", "gate": "parameter", "value": 0}, "ax = mul(a, x)", "m = add(ax, b)", "r = sub(m, y)")


@pytest.mark.parametrize("form", FORMS)
def test_a_fit_takes_a_folder(tmp_path, rows, scatter, form):
    folder = scatter(form)
    expected = np.polyfit(rows["x"], rows["y"], 1)
    whole = cf.fit(LINE, rows, residuals="r", engine="interpreter")
    for data in (str(folder), folder, f"{folder}/**/*.{form}", [folder / f"{name}.{form}" for name in
                                                                ("a", "b/0", "b/1", "c")]):
        result = cf.fit(LINE, data, residuals="r", engine="interpreter")
        np.testing.assert_allclose(result.x, expected, rtol=1e-9)
        assert result.data.digest == whole.data.digest
        assert pickle.loads(pickle.dumps(result.data)).digest == whole.data.digest


def test_a_fit_at_the_command_line_takes_files(circuitflow, tmp_path, rows, scatter):
    folder = scatter("csv")
    (tmp_path / "line.json").write_text(cf.dumps(LINE))
    command = ["fit", str(tmp_path / "line.json"), "--residuals", "r", "--json"]
    whole = json.loads(circuitflow(*command, *(str(folder / f"{name}.csv") for name in ("a", "b/0", "b/1", "c"))).out)
    assert json.loads(circuitflow(*command, str(folder)).out) == whole
    outcome = circuitflow(*command[:-1], str(folder), "-o", str(tmp_path / "fitted.json"))
    assert outcome.err.startswith("note: the document names one file of data, and these may be several; give them")
    (folder / "c.csv").write_text("id,x,y\nr,1,\n")
    outcome = circuitflow(*command, str(folder))
    assert outcome.err.endswith("c.csv: row 1 (line 2), column 'y': there is no value; write one, such as NaN, or take "
                                "the row out\n")


def test_what_is_not_finite_is_named_by_its_place(scatter):
    folder = scatter("parquet", change=lambda i, part: part if i else part.set_column(
        1, "x", pa.array([*range(8), np.nan, np.inf], pa.float64())))
    with pytest.raises(cf.InputError) as error:
        cf.fit(LINE, folder, residuals="r", engine="interpreter")
    assert str(error.value) == (f"{folder}/b/1.parquet: row 9 (row group 2), column 'x': nan; expected a finite "
                                "number; fill it in, or take the row out")


def test_a_file_of_a_folder_that_changes_during_a_fit_is_refused(scatter):
    folder = scatter("csv")
    data = cf.fit(LINE, folder, residuals="r", engine="interpreter").data
    (folder / "c.csv").write_text("id,x,y\nr,1,2\n")
    with pytest.raises(cf.InputError, match="c.csv: the file was changed while it was read; fit again when it is"):
        list(data.blocks())


def test_parts_are_sorted_by_their_folders(tmp_path):
    for name in ("b.csv", "a/2.csv", "a/10.csv", "a-/1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    found = [os.path.relpath(part.path, tmp_path).replace(os.sep, "/") for part in find_parts([str(tmp_path)])]
    assert found == ["a/10.csv", "a/2.csv", "a-/1.csv", "b.csv"]
