"""`circuitflow run --table … -o FOLDER/`: parts and a manifest, whatever ends the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from support.documents import document
from support.suite import GUARD, ROOT

KEYS = ["a", "b c", "d%2Fe"]
"""Folders of partitions; the last is d/e."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A circuit, and a table of three partitions, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.json").write_text(document({"id": "x", "gate": "input"}, "wx = mul(w, x)", "f = mul(wx, x)",
                                              {"id": "w", "gate": "parameter", "value": 3}, outputs=["f"]))
    for i, key in enumerate(KEYS):
        path = tmp_path / "rows" / f"site={key}" / "0.csv"
        path.parent.mkdir(parents=True)
        path.write_text("id,x\n" + "".join(f"r{i}{j},{i + j / 8}\n" for j in range(5)))
    return tmp_path


COMMAND = ["run", "c.json", "--table", "rows", "--keep", "id", "--engine", "interpreter"]
NOTE = "note: rows/site={}/0.csv: no input takes 'site'\n"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parts_and_a_manifest(circuitflow, place):
    outcome = circuitflow(*COMMAND, "-o", "out/")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", NOTE.format("a"))
    names = [f"site={key.replace(' ', '%20')}/part-{i:05}.parquet" for i, key in enumerate(KEYS)]
    assert sorted(contents(place / "out")) == ["_manifest.json", *names]
    manifest = json.loads((place / "out/_manifest.json").read_text())
    assert manifest["parts"] == [{"file": name, "rows": 5, "bytes": (place / "out" / name).stat().st_size,
                                  "source": f"rows/site={key}/0.csv"}
                                 for name, key in zip(names, KEYS, strict=True)]
    found = pa.dataset.dataset(place / "out", partitioning="hive").to_table()
    x = np.array([i + j / 8 for i in range(3) for j in range(5)])
    np.testing.assert_allclose(found["f"], 3 * x * x, rtol=1e-15)
    np.testing.assert_allclose(found["dx"], 6 * x, rtol=1e-15)
    assert found["site"].to_pylist() == [key for key in ("a", "b c", "d/e") for _ in range(5)]
    # And back again.
    again = circuitflow("run", "c.json", "--table", "out", "--table", "out", "--keep", "site", "--set", "x=1",
                        "--set", "w=1")
    assert again.status == 2  # results are no inputs
    kept = circuitflow(*COMMAND, "--keep", "site", "-o", "kept/")
    assert kept.status == 0
    assert sorted(contents(place / "kept")) == ["_manifest.json", *(f"part-{i:05}.parquet" for i in range(3))]


def test_a_folder_of_something_else_stays_as_it_is(circuitflow, place):
    def refused(message, *more):
        before = contents(place)
        outcome = circuitflow(*COMMAND, "-o", "out", *more)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err.startswith("error: ")
        assert message in outcome.err
        assert contents(place) == before

    (place / "out").mkdir()
    (place / "out/mine.txt").write_text("mine")
    for more in ((), ("--resume",)):
        refused("out has files, and no run of circuitflow began it; choose a new or empty folder", *more)
    (place / "out/mine.txt").unlink()
    assert circuitflow(*COMMAND, "-o", "out").status == 0
    refused("out is of an earlier run of the same; go on by --resume, or choose another folder")
    for more in (["--set", "w=4"], ["--of", "wx"], ["--keep", "site"], ["--forward"], ["--defaults"]):
        refused("out is of another run: another document, question or table; choose another folder", "--resume", *more)
    with open("rows/site=a/0.csv", "a") as file:
        file.write("r,1\n")
    refused("out is of another run", "--resume")
    with open("rows/site=a/0.csv", "r+") as file:
        file.truncate(0)
    refused("out is of another run", "--resume")
    (place / "out/_manifest.json").write_text("[")
    refused("out is of another run", "--resume")


def test_what_is_missing_is_written_and_strays_are_refused(circuitflow, place):
    assert circuitflow(*COMMAND, "-o", "out").status in (0, 2)
    assert circuitflow(*COMMAND, "-o", "out/", "--resume").status == 0
    whole = contents(place / "out")
    stamps = {name: os.stat(place / "out" / name).st_mtime_ns for name in whole}
    gone = next(name for name in whole if "b%20c" in name)
    (place / "out" / gone).unlink()
    outcome = circuitflow(*COMMAND, "-o", "out", "--resume")
    assert (outcome.status, outcome.err) == (0, "note: out: 2 of 3 parts are there\n" + NOTE.format("a"))
    assert contents(place / "out") == whole
    assert {name for name in whole if os.stat(place / "out" / name).st_mtime_ns == stamps[name]} == {
        *whole} - {gone, "_manifest.json"}
    (place / "out/part-00007.parquet").write_bytes(b"")
    outcome = circuitflow(*COMMAND, "-o", "out", "--resume")
    assert outcome.err == "error: out: 'part-00007.parquet' is no part of this run; move it away\n"


def test_rows_of_parts_are_those_of_the_manifest_or_read_by_threads(circuitflow, place, monkeypatch):
    assert circuitflow(*COMMAND, "-o", "out/").status == 0
    whole, threads = contents(place / "out"), []
    read_metadata = pa.parquet.read_metadata
    monkeypatch.setattr(pa.parquet, "read_metadata", lambda path: threads.append(
        threading.current_thread()) or read_metadata(path))

    def resumed():
        threads.clear()
        outcome = circuitflow(*COMMAND, "-o", "out/", "--resume")
        return outcome.status, threading.main_thread() in threads, len(threads), contents(place / "out") == whole

    assert resumed() == (0, False, 0, True)
    entries = json.loads(whole["_manifest.json"])
    for damaged in ({}, {"parts": 3}, {"parts": [{"file": [], "rows": 1, "bytes": 1}]},
                    {"parts": [{"file": name, "rows": "5", "bytes": len(whole[name])} for name in whole]}):
        (place / "out/_manifest.json").write_text(json.dumps({"run": entries["run"], **damaged}))
        assert resumed() == (0, False, 3, True)
    (place / "out/_manifest.json").rename(place / "out/_run.json")
    assert resumed() == (0, False, 3, True)
    (place / "out/_manifest.json").rename(place / "out/_run.json")
    part = next(name for name in whole if name.endswith("1.parquet"))
    (place / "out" / part).write_bytes(b"PAR1")
    outcome = circuitflow(*COMMAND, "-o", "out/", "--resume")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: out/{part}: Parquet file size is 4 bytes")


@pytest.mark.parametrize(("damage", "message"), [
    (lambda part: part.write_bytes(part.read_bytes()[:-1]), "Parquet magic bytes not found in footer"),
    (lambda part: part.write_bytes(b""), "Parquet file size is 0 bytes"),
    (lambda part: (part.unlink(), part.symlink_to("nowhere")), "it is no file; move it away"),
    (lambda part: (part.unlink(), os.mkfifo(part)), "it is no file; move it away"),
])
def test_a_part_that_is_damaged_after_the_end_is_named(circuitflow, place, damage, message):
    assert circuitflow(*COMMAND, "-o", "out/").status == 0
    damage(part := next((place / "out").glob("*/part-00001.parquet")))
    outcome = circuitflow(*COMMAND, "-o", "out/", "--resume")
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {part.relative_to(place)}: {message}")


def test_a_row_that_cannot_be_read_leaves_a_state_that_goes_on(circuitflow, place):
    bad = place / "rows/site=b c/0.csv"
    good, status = bad.read_bytes(), os.stat(bad)
    bad.write_bytes(good.replace(b"1.5", b"?.5"))
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    outcome = circuitflow(*COMMAND, "-o", "out/")
    assert outcome.err.startswith(NOTE.format("a") + "error: rows/site=b c/0.csv: row 5 (line 6), column 'x': '?.5' ")
    assert sorted(contents(place / "out")) == ["_run.json", "site=a/part-00000.parquet"]
    bad.write_bytes(good)
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))
    outcome = circuitflow(*COMMAND, "-o", "out/", "--resume")
    assert (outcome.status, outcome.err) == (0, "note: out/: 1 of 3 parts are there\n" + NOTE.format("a"))
    assert circuitflow(*COMMAND, "-o", "other/").status == 0
    assert contents(place / "out") == contents(place / "other")


def test_parts_have_one_schema(circuitflow, place):
    (place / "lists.json").write_text(document({"id": "v", "gate": "input", "shape": ["n"]}, "f = neg(v)"))
    os.mkdir("lists")
    for size in (2, 3):
        pa.parquet.write_table(pa.table({"v": pa.array([[1.0] * size], pa.list_(pa.float64(), size))}),
                               f"lists/{size}.parquet")
    for more in ((), ("--resume",)):
        outcome = circuitflow("run", "lists.json", "--table", "lists", "--forward", "-o", "out/", *more)
        assert outcome.status == 2
        assert outcome.err.endswith("error: lists/3.parquet: its columns give results of other types than those of "
                                    "lists/2.parquet; cast them to the same\n")
        assert not (place / "out/_manifest.json").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--table", "rows", "--resume"], "--resume goes with a folder of results, such as -o results/; a single file is"),
    (["--resume"], "--resume goes with --table"),
    (["--table", "-", "-o", "out/"], "a folder of results needs files, and standard input cannot be read again"),
    (["--table", "rows", "-o", "c.json/"], "c.json/ cannot be written: "),
])
def test_arguments_that_do_not_go_together(circuitflow, place, arguments, message):
    outcome = circuitflow("run", "c.json", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")


KILLS = """
import os, signal, sys
import pyarrow as pa, pyarrow.csv, pyarrow.parquet
import circuitflow as cf
from circuitflow.rows.folders import write_folder
from circuitflow.interpreter.question import Question
from circuitflow.rows.task import RowTask
from circuitflow.tables.places import find_parts

executor = cf.Executor(cf.load("c.json"))
task = RowTask(executor, Question(executor), engine="interpreter", keep=["id"])
executor.function(task.question, "interpreter")
pa.array(["imports what pyarrow imports at first"])

def run(deadly, output, resume):
    # The status, or -9 where the process is killed before the call of this number that changes files.
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(600)
    count = 0
    def counted(original):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)
        return call
    os.fsync = lambda descriptor: None  # slow, and of no account where the system goes on
    for name in ("open", "fsync", "link", "replace", "unlink", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    sys.stderr = open(os.devnull, "w")
    try:
        write_folder(find_parts(["rows"]), output, task, resume=resume)
    except BaseException as error:
        print(error, flush=True)
        os._exit(2)
    os._exit(0)

deadly, status = 0, -9
while status == -9:  # one kill before each call, and on from there
    deadly += 1
    status = run(deadly, f"out{deadly}/", False)
    print(status, run(0, f"out{deadly}/", True), flush=True)
for step in (7, 11, 16):  # kill after kill in one folder
    deadly, kills = step, 0
    while (status := run(deadly, f"chain{step}/", True)) == -9:
        deadly, kills = deadly + kills % 3, kills + 1
    print(-9 if kills > 1 else 0, status, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.long
def test_kills_leave_a_state_that_goes_on(circuitflow, place):
    assert circuitflow(*COMMAND, "-o", "whole/").status == 0
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLS], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=GUARD)
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert len(lines) > 25
    assert [line for line in lines if line != "-9 0"] == ["0 0"]  # where no kill came any more
    assert lines.index("0 0") == len(lines) - 4
    folders = [path for path in place.iterdir() if path.name.startswith(("out", "chain"))]
    assert len(folders) == len(lines)
    for folder in folders:
        assert contents(folder) == contents(place / "whole"), folder.name
