"""Measures clusters of this machine: `python -m benchmarks.clusters [--rows N] [--files N] [--folder PATH]`.

The staged example, the value and two gradients of each row, over a folder of Parquet files: written into another, and
summed. In turn: one process, two workers, and hand-written NumPy on data frames of pandas by Dask's `map_partitions`,
with the same two workers. Medians of three rounds. All have the same cores. The start of the workers is not counted;
peak memory is that of the largest process. A task's overhead is that of tasks that do nothing.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import circuitflow as cf
from benchmarks.columns import in_numpy
from circuitflow.interpreter.passes import untracked
from circuitflow.interpreter.question import Question
from circuitflow.rows.clusters import sum_on
from circuitflow.rows.remote import Remote
from circuitflow.rows.summing import sum_rows
from circuitflow.rows.tables import TableRun
from circuitflow.rows.task import RowTask
from circuitflow.tables.places import find_parts

CIRCUIT = "circuits/staged.json"
ROUNDS, TASKS = 3, 2000


def main() -> None:
    """Print a line for each piece of work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the rows are made, or are from an earlier run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.folder or Path(made)
        make_rows(folder / "rows", arguments.rows, arguments.files)
        measure(folder, arguments.rows)


def make_rows(folder: Path, rows: int, files: int) -> None:
    """Columns x and y of normal numbers, unless the folder is there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.exists():
        return
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(files):
        count = rows * (i + 1) // files - rows * i // files
        pq.write_table(pa.table({name: random.standard_normal(count) for name in "xy"}), folder / f"{i:04}.parquet")


def measure(folder: Path, rows: int) -> None:
    """Time everything in turn and print it."""
    ways: dict[str, Callable[[Path, Any], Any]] = {"written, one process": write, "written, two workers": write,
                                                   "written, pandas and Dask": write_frames,
                                                   "summed, one process": add, "summed, two workers": add,
                                                   "summed, pandas and Dask": add_frames}
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            taken, peaks[name] = (alone if "one process" in name else on_workers)(work, folder)
            times[name].append(taken)
    print(f"| {rows:,} rows | a row | beside one process | peak memory of a process |\n|---|---|---|---|")
    for name, taken in times.items():
        one = times[f"{name.partition(',')[0]}, one process"]
        ratio = statistics.median(x / y for x, y in zip(taken, one, strict=True))
        print(f"| {name} | {statistics.median(taken) / rows * 1e9:.0f} ns | {ratio:.2f} | {peaks[name]:.0f} MiB |")
    taken, _ = on_workers(do_nothing, folder)
    print(f"\n{taken / TASKS * 1e6:.0f} µs a task that does nothing")


def alone(work: Callable[[Path, Any], Any], folder: Path) -> tuple[float, float]:
    """The seconds that work takes in a process of its own, and the peak memory of it in MiB."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(timed, (work, folder))


def on_workers(work: Callable[[Path, Any], Any], folder: Path) -> tuple[float, float]:
    """The same on two workers; the peak memory is that of the larger one."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0",
                      silence_logs=50) as cluster, Client(cluster, set_as_default=True) as client:
        client.run(warm)
        start = time.perf_counter()
        work(folder, client)
        return time.perf_counter() - start, max(client.run(peak).values())


def question() -> RowTask:
    """The value and both gradients."""
    executor = cf.Executor(cf.load(CIRCUIT))
    return RowTask(executor, Question(executor, None, None))


def write(folder: Path, client: Any) -> None:
    """By `cf.map_files`."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    cf.map_files(cf.load(CIRCUIT), folder / "rows", folder / "out", client=client)


def add(folder: Path, client: Any) -> dict[str, Any]:
    """As `run --table --sum` does."""
    run, parts = TableRun(question()), find_parts([str(folder / "rows")])
    if client is not None:
        return sum_on(client, run, parts, untracked).sums()
    with run.reading(parts) as (function, _, batches):
        return sum_rows(function, batches).sums()


def by_hand(frame: Any) -> Any:
    """A data frame of what the circuit computes."""
    import pandas as pd

    return pd.DataFrame(dict(zip(("f", "dx", "dy"), in_numpy(frame["x"].to_numpy(), frame["y"].to_numpy()),
                                 strict=True)))


def frames(folder: Path) -> Any:
    """The results as a data frame of Dask."""
    import dask.dataframe as dd

    return dd.read_parquet(folder / "rows").map_partitions(by_hand, meta={"f": float, "dx": float, "dy": float})


def write_frames(folder: Path, client: Any) -> None:
    """A Parquet file for each file."""
    shutil.rmtree(folder / "frames", ignore_errors=True)
    frames(folder).to_parquet(folder / "frames")


def add_frames(folder: Path, client: Any) -> Any:
    """The sums of all columns."""
    return frames(folder).sum().compute()


# In other processes ---------------------------------------------------------------------------------------------------

def timed(work: Callable[[Path, Any], Any], folder: Path) -> tuple[float, float]:
    """See `alone`."""
    warm()
    start = time.perf_counter()
    work(folder, None)
    return time.perf_counter() - start, peak()


def warm() -> None:
    """Import and compile what every row needs."""
    import dask.dataframe  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    cf.Executor(cf.load(CIRCUIT)).vmap()(x=np.zeros(2), y=np.zeros(2))


def peak() -> float:
    """The most memory that this process had, in MiB, on Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def do_nothing(folder: Path, client: Any) -> None:
    """Tasks without work."""
    with Remote(client, None, "") as remote:
        assert sum(1 for _ in remote.ask(nothing, range(TASKS), [""] * TASKS)) == TASKS  # noqa: S101


def nothing(question: Any, item: Any) -> None:
    """A task without work."""


if __name__ == "__main__":
    main()
