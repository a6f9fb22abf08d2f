"""Measures on this machine what rows, files, tasks and messages cost, for `benchmarks.scale`.

Seconds are of the processor and of the clock. Those of the processor are what a worker takes that has a core of its
own and fast disks; they are nearly the same on a busy machine.
"""

from __future__ import annotations

import json
import pickle
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import circuitflow as cf
from benchmarks.clusters import CIRCUIT, make_rows, nothing, question
from circuitflow.document.limits import DEFAULT
from circuitflow.engines.columns import work_alone
from circuitflow.interpreter.question import Question
from circuitflow.rows import remote
from circuitflow.rows.parts import MANIFEST, RUN
from circuitflow.rows.remote import EACH, Remote
from circuitflow.rows.summing import Blocks, sum_blocks, sum_rows
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask
from circuitflow.tables.places import Part, find_parts
from circuitflow.tables.several import open_parts


@dataclass(frozen=True)
class Line:
    """The seconds of a task by the number of its rows.

    Attributes:
        task: for a task without rows: opening, footer, closing, fsync and rename.
        row: for each row.
        ratios: what each task took, beside the line.
    """

    task: float
    row: float
    ratios: Sequence[float]

    @classmethod
    def through(cls, found: Sequence[tuple[int, float]]) -> Line:
        """The line through the medians of the smallest and of the largest tasks, each a number of rows and seconds."""
        few, many = min(found)[0], max(found)[0]
        low, high = (statistics.median(taken for rows, taken in found if rows == size) for size in (few, many))
        row = (high - low) / (many - few)
        task = max(low - few * row, 0.0)
        return cls(task, row, sorted(taken / (task + rows * row) for rows, taken in found))

    def seconds(self, rows: float) -> float:
        """Of a task, on the line."""
        return self.task + rows * self.row


@dataclass(frozen=True)
class Tasks:
    """What a task costs that does nothing, in seconds, messages and bytes; and in bytes of memory while it waits."""

    wall: float
    scheduler: float
    client: float
    worker: float
    messages: float
    sent: float
    scheduler_memory: float
    client_memory: float


@dataclass(frozen=True)
class Files:
    """What a file costs the client: seconds to find, to count and to write down, and bytes in the manifest.

    Attributes:
        find: listing, and sorting the paths.
        resume: everything that `resume=True` does for a file whose part is there, finding it too.
        manifest: putting an entry into the manifest.
        entry: the bytes of it.
        count: a worker counts the rows of a file.
    """

    find: float
    resume: float
    manifest: float
    entry: float
    count: float


# Rows -----------------------------------------------------------------------------------------------------------------

def measure_rows(folder: Path, sizes: Sequence[int], rounds: int) -> dict[str, dict[str, Line]]:
    """The lines of tasks that write a file and of those that sum one, by "cpu" and "wall"."""
    work_alone()
    run = TableRun(question())
    parts = {}
    for size in sizes:
        make_rows(folder / str(size), size, 1)
        (parts[size],) = find_parts([str(folder / str(size))])

    def write(part: Part) -> None:
        run.write([part], str(folder / "out.parquet"), "parquet")

    def add(part: Part) -> None:
        with run.reading([part]) as (function, _, batches):
            sum_rows(function, batches).sums()

    lines = {}
    for name, work in {"written": write, "summed": add}.items():
        work(parts[sizes[0]])
        found = [(size, *both(work, parts[size])) for _ in range(rounds) for size in sizes]
        lines[name] = {"cpu": Line.through([(size, cpu) for size, cpu, _ in found]),
                       "wall": Line.through([(size, wall) for size, _, wall in found])}
    return lines


def both(work: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """The seconds of the processor and of the clock that a call takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work(*arguments)
    return time.process_time() - cpu, time.perf_counter() - wall


# Files ----------------------------------------------------------------------------------------------------------------

def measure_files(folder: Path, count: int) -> Files:
    """What a file of a few rows costs, by seconds of the processor."""
    circuit, rows, out = cf.load(CIRCUIT), folder / "few", folder / "few_out"
    make_rows(rows, 2 * count, count)
    cf.map_files(circuit, rows, out)
    find, _ = both(find_parts, [str(rows)])

    def resumed() -> None:
        (out / MANIFEST).rename(out / RUN)  # as after a kill: a manifest says how many rows its parts have
        cf.map_files(circuit, rows, out, resume=True)

    resume, _ = both(resumed)
    text = (out / MANIFEST).read_text(encoding="utf-8")
    manifest = json.loads(text)
    dump, _ = both(lambda: json.dumps(manifest, indent=1))

    def footers() -> None:
        for part in find_parts([str(rows)]):
            with ExitStack() as stack:
                open_parts([part], DEFAULT, stack).stretches()

    counting, _ = both(footers)
    return Files(find / count, resume / count, dump / count, len(text) / count, (counting - find) / count)


# Questions ------------------------------------------------------------------------------------------------------------

def question_bytes(path: str) -> int:
    """The bytes of a pickled question: of the document, its outputs and gradients."""
    executor = cf.Executor(cf.load(path))
    return len(pickle.dumps(TableRun(RowTask(executor, Question(executor, None, None)))))


def answer_bytes(folder: Path, size: int) -> int:
    """The bytes of what a task of a sum answers: trees over its blocks, which begin with an odd one."""
    run, parts = TableRun(question()), find_parts([str(folder / str(size))])
    with run.reading(parts) as (function, _, batches):
        rows = list(batches)
        blocks = Blocks.of(function, rows[0])
        return len(pickle.dumps(sum_blocks(function, rows, blocks, 1)))


# Tasks ----------------------------------------------------------------------------------------------------------------

class Traffic:
    """What this process has sent."""

    messages = 0
    sent = 0


def count_traffic() -> None:
    """Count from now on what this process sends, once."""
    from distributed.comm.tcp import TCP

    write = TCP.write
    if write.__name__ == "counted":
        return

    async def counted(self: Any, *arguments: Any, **more: Any) -> Any:
        sent = await write(self, *arguments, **more)
        Traffic.messages, Traffic.sent = Traffic.messages + 1, Traffic.sent + sent
        return sent

    TCP.write = counted


def state() -> tuple[int, int, float, int]:
    """Messages and bytes that this process has sent, its seconds of the processor, and its memory in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    memory = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024
    return Traffic.messages, Traffic.sent, time.process_time(), memory


def hold(question: Any, item: Any, path: str) -> None:
    """A task that lasts as long as a file is there."""
    while Path(path).exists():
        time.sleep(0.05)


def measure_tasks(folder: Path, count: int, held: int) -> Tasks:
    """What a task costs that does nothing; the scheduler has a process of its own.

    Two workers of many threads bring messages as close together as many workers do.
    """
    items = [(f"part-{i:05}.parquet", Part(f"{folder}/rows/{i:05}.parquet", f"{folder}/rows/{i:05}.parquet"))
             for i in range(held)]
    places = [part.shown for _, part in items]
    with served(2, 16) as client, Remote(client, TableRun(question()), "") as asked:
        count_traffic()
        client.run_on_scheduler(count_traffic)
        client.run(count_traffic)
        least, remote.LEAST = remote.LEAST, EACH * 1000  # as for a thousand workers
        sum(1 for _ in asked.ask(nothing, items[:100], places))
        before, start = states(client), time.perf_counter()
        sum(1 for _ in asked.ask(nothing, items[:count], places))
        wall, after = time.perf_counter() - start, states(client)
        messages, sent = (sum(new[i] - old[i] for new, old in zip(after, before, strict=True)) for i in range(2))
        path = folder / "hold"
        path.touch()
        remote.LEAST = held
        thread = threading.Thread(target=lambda: sum(1 for _ in asked.ask(hold, items, places, str(path))))
        start_of_hold = states(client)
        thread.start()
        while client.run_on_scheduler(number_of_tasks) < held:
            time.sleep(0.2)
        holding = states(client)
        path.unlink()
        thread.join()
        remote.LEAST = least
    memory = [(holding[i][3] - start_of_hold[i][3]) / held for i in (0, 1)]
    client_cpu, scheduler_cpu, *worker_cpu = (new[2] - old[2] for new, old in zip(after, before, strict=True))
    return Tasks(wall / count, scheduler_cpu / count, client_cpu / count, sum(worker_cpu) / count, messages / count,
                 sent / count, memory[1], memory[0])


def states(client: Any) -> list[tuple[int, int, float, int]]:
    """Those of the client, the scheduler and the workers."""
    return [state(), client.run_on_scheduler(state), *client.run(state).values()]


def number_of_tasks(dask_scheduler: Any) -> int:
    """How many the scheduler has."""
    return len(dask_scheduler.tasks)


@contextmanager
def served(workers: int, threads: int = 1) -> Iterator[Any]:
    """A client of a cluster whose scheduler has a process of its own."""
    from distributed import Client

    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(workers, threads, there))
    process.start()
    try:
        with Client(here.recv(), set_as_default=False) as client:
            client.wait_for_workers(workers)
            yield client
    finally:
        here.send(None)
        process.join()


def serve(workers: int, threads: int, connection: Any) -> None:
    """The process of the scheduler."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=workers, threads_per_worker=threads, memory_limit=0, dashboard_address="127.0.0.1:0",
                      silence_logs=50) as cluster:
        connection.send(cluster.scheduler_address)
        connection.recv()
