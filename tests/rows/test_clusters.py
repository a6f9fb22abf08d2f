"""`cf.map_files` and `run --cluster`: a folder is that of one process, whatever happens to workers and scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from distributed import Client, LocalCluster

import circuitflow as cf
from circuitflow.cli import cluster as cluster_option
from circuitflow.document.limits import DEFAULT
from circuitflow.interpreter.passes import untracked
from circuitflow.interpreter.question import Question
from circuitflow.rows import parts, remote, summing
from circuitflow.rows.clusters import sum_on
from circuitflow.rows.summing import sum_rows
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask
from circuitflow.tables.places import find_parts
from support import deadly_files
from support.documents import circuit, document
from support.suite import GUARD, ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills")
assert deadly_files  # which registers the file system

START = {"threads_per_worker": 2, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "memory_limit": 0}


@pytest.fixture(scope="module")
def cluster():
    # Otherwise Dask gives up a worker that takes 15 seconds to start again.
    with (dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}),
          LocalCluster(n_workers=2, silence_logs=50, **START) as started):
        yield started


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2)
        yield made


class Table:
    """A circuit with a product of matrices and tables, below one folder."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("rows", "opened"):
            (folder / name).mkdir()
        random = np.random.default_rng(0)
        w = random.standard_normal((8, 8))
        text = document({"id": "x", "gate": "input"}, {"id": "w", "gate": "parameter", "value": w.tolist()},
                        "xw = mul(w, x)", "p = matmul(xw, w)", "t = tanh(p)", "f = reduce_sum(t)", outputs=["f"])
        (folder / "c.json").write_text(text)
        self.circuit, self.wrt = cf.loads(text), ["x"]

    def add(self, *names, x=None):
        for name in names:
            column = np.random.default_rng(len(name)).standard_normal(200) if x is None else x
            pa.parquet.write_table(pa.table({"x": column, "id": [f"{name} {i}" for i in range(len(column))]}),
                                   self.folder / "rows" / f"{name}.parquet", row_group_size=64)

    def map(self, folder, **more):
        return cf.map_files(self.circuit, f"deadly://{self.folder}/rows", self.folder / folder, wrt=self.wrt,
                            keep=["id"], **more)

    def contents(self, folder):
        root = self.folder / folder
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def opened(self, name):
        """How many times workers opened a file."""
        return (self.folder / "opened" / f"{name}.parquet").read_text().count("\n")


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


NAMES = [f"{i}" for i in range(7)]


def test_a_folder_is_that_of_one_process(table, client, monkeypatch):
    table.add(*NAMES)
    seen = []
    assert table.map("one") == table.map("two", client=client, track=lambda steps, words: seen.append(
        (len(steps), words)) or steps) == 7 * 200
    assert seen == [(7, f"parts of {table.folder}/two")]
    assert [table.opened(name) for name in NAMES] == [1] * 7
    monkeypatch.setattr(remote, "LEAST", 3)  # tasks that the scheduler has at a time
    monkeypatch.setattr(remote, "EACH", 0)
    table.map("few", client=client)
    assert len(table.contents("one")) == 8
    assert table.contents("one") == table.contents("two") == table.contents("few")
    rows = pa.parquet.read_table(table.folder / "one" / "part-00003.parquet")
    assert rows.column_names == ["id", "f", "dx"]
    assert rows["id"][5].as_py() == "3 5"


def double(question, item):
    return 2 * item


def test_many_answers_come_in_one_message(client, monkeypatch):
    """A message for each would be what a cluster waits for first: see docs/scale.md."""
    calls, gather = [], client.gather
    monkeypatch.setattr(client, "gather", lambda futures: calls.append(len(futures)) or gather(futures))
    with remote.Remote(client, None, "") as asked:
        answers = asked.ask(double, range(100), [""] * 100)
        found = [next(answers)]
        while sum(future.status == "finished" for future in client.futures.values()) < 100:
            time.sleep(0.01)
        found += answers
    assert sorted(found) == [(i, 2 * i) for i in range(100)]
    assert sum(calls) == 100
    assert len(calls) < 50


def wait_for_those_after(folder, item):
    """Item 0 waits for the three after it, and then a while for the one after these."""
    (folder / str(item)).touch()
    looks = 0
    while not item and not (folder / "4").exists() and looks < 50:
        looks += all((folder / name).exists() for name in "123")
        time.sleep(0.01)
    return item


def test_few_answers_wait_for_an_earlier_one(client, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "LEAST", 4)
    monkeypatch.setattr(remote, "EACH", 0)
    answered = []
    with remote.Remote(client, tmp_path, "") as asked:
        ask = asked.ask
        monkeypatch.setattr(asked, "ask", lambda *more, **options: (
            answered.append(number) or (number, answer) for number, answer in ask(*more, **options)))
        assert [*asked.in_order(wait_for_those_after, range(20), [""] * 20)] == [*range(20)]
    assert sorted(answered[:4]) == [0, 1, 2, 3]
    assert sorted(answered) == [*range(20)]


@pytest.mark.long
def test_three_workers_give_the_same(table):
    table.add(*NAMES)
    table.map("one")
    with LocalCluster(n_workers=3, **START) as cluster, Client(cluster, set_as_default=False) as client:
        table.map("more", client=client)
    assert table.contents("one") == table.contents("more")


def test_a_killed_worker_costs_its_parts_alone(table, client):
    table.add(*NAMES, "kills")
    before = set(client.nthreads())
    table.map("out", client=client)
    assert table.opened("kills") == 2
    assert set(client.nthreads()) != before
    table.map("one")
    assert table.contents("one") == table.contents("out")


def test_what_a_killed_worker_left_unfinished_goes(table, client):
    table.add("0", "waits")

    def leave(steps, words):
        (table.folder / "out/.circuitflow.0123456789abcdef.part").write_bytes(b"PAR1")
        (table.folder / "opened/go").touch()
        return steps

    table.map("out", client=client, track=leave)
    table.map("one")
    assert table.contents("one") == table.contents("out")


def test_a_file_that_kills_every_worker_is_named(table, cluster, client, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    table.add("deadly")
    with pytest.raises(cf.InputError, match=r"/rows/deadly\.parquet: 1 workers died that had this file, .*; what is "
                                            "written stays, so go on by resume=True, with or without a cluster"):
        table.map("out", client=client)
    assert "_manifest.json" not in table.contents("out")
    assert table.map("out", resume=True) == 200
    table.map("one")
    assert table.contents("one") == table.contents("out")


def test_the_first_fault_is_named_and_not_tried_again(table, client):
    wrong = np.ones(200)
    wrong[150] = np.nan
    table.add("0", "1", "7", "8")
    for name in ("3waits", "5"):
        table.add(name, x=[None if np.isnan(x) else x for x in wrong])

    def go_on(steps, words):
        iterator = iter(steps)
        yield next(iterator)
        while not (table.folder / "opened/5.parquet").exists():
            time.sleep(0.01)
        (table.folder / "opened/go").touch()
        yield from iterator

    with pytest.raises(cf.InputError) as alone:
        table.map("one")
    assert "rows/3waits.parquet: row 151 (row group 3), column 'x': there is no value" in str(alone.value)
    with pytest.raises(cf.InputError) as error:
        table.map("out", client=client, track=go_on)
    assert str(error.value) == str(alone.value)
    assert table.opened("3waits") == table.opened("5") == 1
    assert {"part-00000.parquet", "part-00001.parquet"} <= table.contents("out").keys()
    assert not {"part-00002.parquet", "part-00003.parquet", "_manifest.json"} & table.contents("out").keys()


def test_another_run_in_the_folder_gets_no_part_of_this_one(table, monkeypatch):
    table.add("0", "1")
    write = TableRun.write

    def write_late(run, files, output, form, finish):
        def other():
            (table.folder / "out" / parts.RUN).write_text('{"run": "another"}')
            finish()

        return write(run, files, output, form, other)

    monkeypatch.setattr(TableRun, "write", write_late)
    with pytest.raises(cf.InputError, match="out is not of this run: it was moved or another run began in it, or this "
                                            "process does not see the same file system"):
        table.map("out")
    assert table.contents("out").keys() == {parts.RUN}


def test_a_worker_that_does_not_see_the_folder_says_so(table, client, monkeypatch):
    table.add("0")
    monkeypatch.setattr(remote.os.path, "abspath", lambda path: "/nowhere")
    with pytest.raises(cf.InputError, match="/nowhere is not of this run: .* does not see the same file system"):
        table.map("out", client=client)


def test_another_version_on_a_worker_is_refused(table, client, monkeypatch):
    table.add("0")
    version = cf.__version__
    monkeypatch.setattr(cf, "__version__", "99")
    with pytest.raises(cf.InputError, match=f"a worker has circuitflow {version}, and the client 99; install the same"):
        table.map("out", client=client)
    missing = client.submit(__import__, "no_circuitflow")
    assert str(remote._outcome(missing, "", "resume=True")) == (
        "the cluster does not run circuitflow 99: No module named 'no_circuitflow'; install it on scheduler and "
        "workers")


def test_what_is_no_client_is_refused(table, client, monkeypatch):
    table.add("0")
    with pytest.raises(cf.InputError, match=r"client is \"tcp://host:1\"; expected a distributed\.Client"):
        table.map("out", client="tcp://host:1")
    with monkeypatch.context() as patch:
        patch.setattr(Client, "asynchronous", True)
        with pytest.raises(cf.InputError, match="client is asynchronous; expected"):
            table.map("out", client=client)
    client.close()
    with pytest.raises(cf.InputError, match="client is closed; expected"):
        table.map("out", client=client)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(cf.MissingExtraError, match=r"a cluster needs `pip install 'circuitflow\[cluster\]'`"):
        table.map("out", client=client)
    assert not (table.folder / "out").exists()


@pytest.fixture
def empty(monkeypatch):
    """A cluster without workers, for which nobody waits long."""
    monkeypatch.setattr(remote, "NOTED", 0.01)
    monkeypatch.setattr(remote, "AWAITED", 0.02)
    with LocalCluster(n_workers=0, silence_logs=50, processes=False, protocol="tcp", **START) as started:
        yield started


def test_a_cluster_without_workers_is_said_and_refused(table, circuitflow, empty, monkeypatch):
    table.add("0")
    none = "the cluster has no workers, and none came in 0.02 seconds; start some, such as by `dask worker ADDRESS`"
    yet = "the cluster has no workers yet; they are waited for, 0.02 seconds at most"
    said = []
    with monkeypatch.context() as patch, Client(empty, set_as_default=False) as client:
        patch.setattr(remote.warnings, "warn", said.append)
        with pytest.raises(cf.InputError) as error:
            table.map("out", client=client)
    assert (said, str(error.value)) == ([yet], none)
    outcome = circuitflow("run", str(table.folder / "c.json"), "--table", str(table.folder / "rows"), "--cluster",
                          empty.scheduler_address, "-o", f"{table.folder}/out/")
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"note: {yet}\nerror: {none}\n")
    assert not (table.folder / "out").exists()


def test_workers_that_come_late_are_waited_for(table, empty, monkeypatch):
    monkeypatch.setattr(remote, "AWAITED", GUARD)
    table.add("0")
    with Client(empty, set_as_default=False) as client:
        monkeypatch.setattr(remote.warnings, "warn", lambda text: empty.scale(1))
        assert table.map("out", client=client) == 200


def test_an_address_without_a_scheduler_is_said_soon(circuitflow, tmp_path, monkeypatch):
    assert 0 < cluster_option.ANSWERS < 10
    monkeypatch.setattr(cluster_option, "ANSWERS", 0.1)
    (tmp_path / "r.csv").write_text("x,y\n1,2\n")
    outcome = circuitflow("run", str(ROOT / "circuits/staged.json"), "--table", str(tmp_path / "r.csv"), "--sum",
                          "--cluster", "tcp://127.0.0.1:1")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("error: --cluster tcp://127.0.0.1:1: no scheduler answers: Timed out trying to "
                                  "connect to tcp://127.0.0.1:1 after 0.1 s")


# Sums -----------------------------------------------------------------------------------------------------------------

@pytest.fixture
def sums(table, client, monkeypatch):
    """A function that gives the sums of the rows, here or on the cluster."""
    monkeypatch.setattr(summing, "ROWS", 64)
    def computed(client=client, **more):
        executor = cf.Executor(table.circuit)
        task = RowTask(executor, Question(executor, None, table.wrt))
        found = find_parts([f"deadly://{table.folder}/rows"])
        run = TableRun(task)
        if client is not None:
            return sum_on(client, run, found, untracked, **more).sums()
        with run.reading(found) as (function, _, batches):
            return sum_rows(function, batches).sums()

    return computed


def test_sums_have_the_bits_of_one_process_whoever_dies(table, sums, client):
    table.add(*NAMES, "kills")
    before = set(client.nthreads())
    assert sums() == sums(None)
    assert set(client.nthreads()) != before
    assert list(sums()) == ["f", "dx"]


@pytest.mark.parametrize("sizes", [[0, 1400], [1, 0, 1399], [50] * 28, [63, 1200, 137], [700, 64, 636]])
def test_sums_have_the_same_bits_however_rows_come_in_files(table, sums, sizes):
    x = np.random.default_rng(0).standard_normal(1400)
    table.add("all", x=x)
    alone = sums(None)
    (table.folder / "rows/all.parquet").unlink()
    for i, end in enumerate(np.cumsum(sizes)):
        table.add(f"{i:02}", x=x[end - sizes[i] : end])
    assert sums() == sums(None) == alone


def test_a_task_counts_the_rows_of_several_files(table, client, monkeypatch):
    table.add(*(f"{i:02}" for i in range(21)))
    found = find_parts([f"deadly://{table.folder}/rows"])
    asked = []
    with remote.Remote(client, None, "") as on_workers:
        ask = on_workers.ask
        monkeypatch.setattr(on_workers, "ask", lambda work, items, *more, **options: asked.append(
            [*map(len, items)]) or ask(work, items, *more, **options))
        monkeypatch.setattr(remote, "EACH", 1)
        spans = on_workers.spans(found, DEFAULT, 64)
    assert asked == [[5, 5, 5, 5, 1]]  # on four threads
    assert sum(span.rows for span in spans) == 21 * 200


def test_the_sum_of_no_rows_is_that_of_one_process(table, sums):
    table.add("0", x=np.zeros(0))
    assert sums() == sums(None) == {"f": 0, "dx": 0}


def test_json_lines_without_rows_are_taken(table, sums, client):
    for name, rows in (("0", 0), ("1", 30), ("2", 0), ("3", 100)):
        (table.folder / f"rows/{name}.jsonl").write_text('{"x": 1.5, "id": "a"}\n' * rows)
    assert sums() == sums(None)
    assert table.map("out", client=client) == table.map("one") == 130
    assert table.contents("one") == table.contents("out")


def test_a_fault_of_a_row_is_that_of_one_process(table, sums):
    wrong = [1.0] * 200
    wrong[30] = None
    table.add("0", "7")
    for name in ("3", "5"):
        table.add(name, x=wrong)
    with pytest.raises(cf.InputError, match=r"rows/3\.parquet: row 31 \(row group 1\), column 'x'") as alone:
        sums(None)
    with pytest.raises(cf.InputError) as error:
        sums()
    assert str(error.value) == str(alone.value)


def told(work):
    with pytest.raises(cf.InputError) as error:
        work()
    return str(error.value)


@pytest.mark.parametrize(("form", "shape", "message"), [
    ("parquet", [2], "2.parquet: row 151 (row group 3), column 'x': a list of 3; expected 2"),
    ("parquet", ["n"], "2.parquet: row 151 (row group 3), column 'x': a list of 3; expected 2, as before it"),
    ("csv", [], "2.csv: row 151 (line 152), column 'x': 'oops' is no number; expected float64")])
def test_a_fault_is_named_in_the_same_words_everywhere(table, client, sums, form, shape, message):
    table.circuit = circuit({"id": "x", "gate": "input", "shape": shape}, "f = reduce_sum(x)", outputs=["f"])
    table.wrt = [] if shape == ["n"] else ["x"]
    for name in "0123":
        rows = [0.5] * 200 if form == "csv" else [[0.5, 1.5]] * 200
        if name == "2":
            rows[150] = "oops" if form == "csv" else [1.0, 2.0, 3.0]
        path = table.folder / f"rows/{name}.{form}"
        if form == "csv":
            path.write_text("x,id\n" + "".join(f"{x},a\n" for x in rows))
        else:
            pa.parquet.write_table(pa.table({"x": rows, "id": ["a"] * 200}), path, row_group_size=64)
    faults = [told(lambda: table.map("one")), told(lambda: table.map("out", client=client)),
              told(lambda: sums(None)), told(sums)]
    assert faults == [f"deadly://{table.folder}/rows/{message}"] * 4
    assert "_manifest.json" not in {*table.contents("one"), *table.contents("out")}


def test_what_a_fit_refuses_is_named_in_the_same_words_everywhere(table, client):
    for name in "0123":
        table.add(name, x=[np.nan if (name, i) == ("2", 150) else i / 200 for i in range(200)])
    line = circuit({"id": "x", "gate": "input"}, {"id": "w", "gate": "parameter", "value": 0.5}, "wx = mul(w, x)",
                   "r = sub(wx, x)")
    faults = [told(lambda there=there: cf.fit(line, f"{table.folder}/rows", residuals="r", client=there))
              for there in (None, client)]
    assert faults == [f"{table.folder}/rows/2.parquet: row 151 (row group 3), column 'x': nan; expected a finite "
                      "number; fill it in, or take the row out"] * 2


def test_a_file_with_other_columns_is_refused_as_by_one_process(table, sums):
    table.add("0", "2")
    pa.parquet.write_table(pa.table({"x": pa.array([1, 2] * 100), "id": ["a"] * 200}), table.folder / "rows/1.parquet")
    with pytest.raises(cf.InputError, match=r"1\.parquet: column 'x' is int64, and double in .*/0\.parquet") as alone:
        sums(None)
    with pytest.raises(cf.InputError) as error:
        sums()
    assert str(error.value) == str(alone.value)


# The scheduler --------------------------------------------------------------------------------------------------------

SCHEDULER = f"""
import sys
from distributed import LocalCluster
from support import deadly_files
if __name__ == "__main__":
    with LocalCluster(n_workers=1, **{START}) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def python(*arguments, **more):
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True,
                            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}, **more)


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def ended(group):
    """Wait for the end of all processes of a group."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


@pytest.mark.long
def test_a_lost_scheduler_leaves_a_folder_to_go_on_with(table):
    table.add("0", "1", "2waits")
    script = table.folder / "scheduler.py"
    script.write_text(SCHEDULER)
    process = python(script, stdin=subprocess.PIPE)

    def kill(steps, words):
        for step in steps:
            yield step
            if len(table.contents("out")) == 3:
                process.kill()

    client = Client(process.stdout.readline().strip(), set_as_default=False)
    with pytest.raises(cf.InputError, match="the scheduler of the cluster is lost; what is written stays, so go on by "
                                            "resume=True, with or without a cluster"):
        table.map("out", client=client, track=kill)
    client.close()
    process.communicate()
    ended(process.pid)
    assert table.contents("out").keys() == {"_run.json", "part-00000.parquet", "part-00001.parquet"}
    table.map("out", resume=True)
    table.map("one")
    assert table.contents("one") == table.contents("out")


# The command ----------------------------------------------------------------------------------------------------------

COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without one
from support import deadly_files
from circuitflow.cli import main
main()
"""


@pytest.mark.long
def test_the_command_is_for_this_machine_alone_and_ends_its_workers_after_an_interrupt(table):
    psutil = pytest.importorskip("psutil")
    table.add("0", "1waits")
    process = python("-c", COMMAND, "run", "c.json", "--table", f"deadly://{table.folder}/rows", "--wrt", "x", "--keep",
                     "id", "--cluster", "local:1", "-o", "out/", cwd=table.folder, stderr=subprocess.PIPE)
    wait_for(table.folder / "opened/1waits.parquet")
    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert {connection.laddr.ip for each in processes for connection in each.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (
        130, "", "interrupted; to go on from there, give the same command with --resume\n")
    ended(process.pid)
    assert table.contents("out").keys() == {"_run.json", "part-00000.parquet"}
    assert table.map("out", resume=True) == 400
    table.map("one")
    assert table.contents("one") == table.contents("out")


@pytest.mark.long
def test_a_worker_that_takes_long_to_start_again_is_not_given_up(table, monkeypatch):
    psutil = pytest.importorskip("psutil")
    monkeypatch.setenv("DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT", "1ms")
    table.add("0", "1waits")
    process = python("-c", COMMAND, "run", "c.json", "--table", f"deadly://{table.folder}/rows", "--wrt", "x", "--keep",
                     "id", "--cluster", "local:1", "-o", "out/", cwd=table.folder, stderr=subprocess.PIPE)
    wait_for(table.folder / "opened/1waits.parquet")
    for each in psutil.Process(process.pid).children():
        if "spawn_main" in " ".join(each.cmdline()):
            each.kill()
    (table.folder / "opened/go").touch()
    out, err = process.communicate(timeout=GUARD)
    assert (process.returncode, out, err) == (0, "", "")
    table.map("one")
    assert table.contents("one") == table.contents("out")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--table", "r.csv", "-o", "out/", "--cluster", "local:0"], "--cluster local:0: expected local, local:N, or the "
     "address of a scheduler such as tcp://host:8786"),
    (["--table", "r.csv", "-o", "out/", "--cluster", "nosuch://host"], "--cluster nosuch://host: no scheduler answers"),
    (["--table", "r.csv", "--cluster", "local"], "--cluster writes a folder, with a file for every file of the table, "
     "or sums; give -o FOLDER/, --sum or --mean"),
    (["--table", "r.csv", "-o", "out/", "--cluster", "local", "--sum"], "--sum gives one row, and a folder has"),
    (["--table", "-", "--cluster", "local", "--sum"], "the workers of a cluster read files, and not standard input; "
     "write a file"),
    (["--cluster", "local"], "--cluster goes with --table"),
])
def test_a_cluster_that_cannot_be_is_refused(circuitflow, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.csv").write_text("x,y\n1,2\n")
    outcome = circuitflow("run", str(ROOT / "circuits/staged.json"), *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert os.listdir() == ["r.csv"]


@pytest.mark.parametrize("module", ["distributed", "cryptography"])
def test_the_extra_is_named(circuitflow, tmp_path, monkeypatch, module):
    monkeypatch.chdir(tmp_path)
    Path("r.csv").write_text("x,y\n1,2\n")
    monkeypatch.setitem(sys.modules, module, None)
    outcome = circuitflow("run", str(ROOT / "circuits/staged.json"), "--table", "r.csv", "-o", "out/", "--cluster",
                          "local")
    assert outcome.status == 2
    assert outcome.err.startswith("error: --cluster local needs `pip install 'circuitflow[cluster]'`")


def test_workers_that_do_not_start_are_an_error(circuitflow, tmp_path, monkeypatch):
    def fail(**options):
        raise RuntimeError("Nanny failed to start.") from RuntimeError("the worker died")

    monkeypatch.chdir(tmp_path)
    Path("r.csv").write_text("x,y\n1,2\n")
    monkeypatch.setattr("distributed.LocalCluster", fail)
    outcome = circuitflow("run", str(ROOT / "circuits/staged.json"), "--table", "r.csv", "-o", "out/", "--cluster",
                          "local:3")
    assert (outcome.status, outcome.err) == (
        2, "error: --cluster local: 3 workers do not start: the worker died\n")
    assert os.listdir() == ["r.csv"]


def test_a_value_that_is_no_array_is_refused(table):
    table.add("0")
    with pytest.raises(cf.InputError, match="'x' is a list of 2; expected a number or an array, whose rows have one "
                                            "length"):
        table.map("out", inputs={"x": [[1, 2], [3]]})
    assert not (table.folder / "out").exists()
