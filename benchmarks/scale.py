"""Says what many rows on many workers would take: `python -m benchmarks.scale [--quick] [--write]`.

It measures costs on this machine, checks the simulation beside runs on one and two workers, and simulates clusters of
up to ten thousand. `--write` puts the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.clusters import add, make_rows, write
from benchmarks.costs import (
    Files,
    Line,
    Tasks,
    answer_bytes,
    measure_files,
    measure_rows,
    measure_tasks,
    question_bytes,
    served,
    states,
)
from benchmarks.measure import put
from benchmarks.simulated import Cluster, Outcome, simulate
from circuitflow.rows.remote import EACH, FILES, LEAST, SPAN
from circuitflow.rows.summing import ROWS

ROOT = Path(__file__).parent.parent
WORKERS, TABLES, SIZES = (2, 100, 1000, 10_000), (10**8, 10**10, 10**12), (10**6, 10**7, 10**8)
FEW = 24
"""The files of the runs beside which the simulation stands."""

NETWORK, LATENCY = 125e6, 1e-3
"""Bytes a second from one worker to another, and seconds a message; they are assumed."""


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure little, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scale.md")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    texts = []
    for text in sections(*((1, 1_000_000, 100, 300) if arguments.quick else (7, 3_000_000, 2000, 5000))):
        print(text, end="\n\n", flush=True)
        texts.append(text)
    if arguments.write:
        put(ROOT / "docs/scale.md", "\n\n".join(texts))


def sections(rounds: int, largest: int, files: int, tasks: int) -> Iterator[str]:
    """The tables as Markdown."""
    load = f"{os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lines = measure_rows(folder, (1000, largest // 10, largest), rounds)
        file, task = measure_files(folder, files), measure_tasks(folder, tasks, 2 * tasks)
        questions = [question_bytes(f"circuits/{name}.json") for name in ("staged", "mlp")]
        answer = answer_bytes(folder, largest)
        yield (f"By `python -m benchmarks.scale` on {os.cpu_count()} cores ({platform.machine()}), Python "
               f"{platform.python_version()}, distributed {version('distributed')}, pyarrow {version('pyarrow')}. "
               f"{load} processes wanted these cores when it began.")
        yield measured(lines, file, task, questions, answer)
        yield validated(folder, lines, file, task, 2 * largest)
    written, summed = (lines[name]["cpu"] for name in ("written", "summed"))

    def cluster(workers: int, deaths: float = 0.0) -> Cluster:
        return Cluster(workers, task.scheduler, task.client, LATENCY + questions[0] / NETWORK, deaths)

    yield simulated("A folder of results", lambda rows, size, workers: [
        simulate(rows // size, drawn(written, size, task), cluster(workers))])
    yield simulated("A sum", lambda rows, size, workers: added(rows, size, summed, file, task, cluster(workers)))
    yield dying(written, task, cluster)
    yield limits(written, summed, task, questions[1])
    yield of_files(file)


def drawn(line: Line, rows: float, task: Tasks) -> Callable[[random.Random], float]:
    """Draws the seconds of tasks of a number of rows."""
    return lambda draw: task.worker + line.seconds(rows) * draw.choice(line.ratios)


def added(rows: int, size: int, line: Line, file: Files, task: Tasks, cluster: Cluster) -> list[Outcome]:
    """A sum: workers count the rows, then add spans of them up. Files have row groups of 2^20 rows."""
    files = math.ceil(rows / size)
    group = min(max(files // (EACH * cluster.workers), 1), FILES)
    spans = math.ceil(rows / max(min(rows // (EACH * cluster.workers), SPAN), min(size, 2**20)))
    return [simulate(math.ceil(files / group), lambda _: task.worker + group * file.count, cluster),
            simulate(spans, drawn(line, rows / spans, task), replace(cluster, question=0.0))]


# Measured -------------------------------------------------------------------------------------------------------------

def measured(lines: dict[str, dict[str, Line]], file: Files, task: Tasks, questions: Sequence[int],
             answer: int) -> str:
    """The costs."""
    rows = []
    for name, found in lines.items():
        for clock, words in (("cpu", "processor"), ("wall", "clock")):
            line = found[clock]
            spread = " to ".join(f"{line.ratios[int(part * (len(line.ratios) - 1))]:.2f}" for part in (0.1, 0.9))
            rows += [(f"a row {name}, {words}", short(line.row)),
                     (f"a file {name}, without rows, {words}", short(line.task)),
                     (f"a task beside that line, nine of ten, {words}", f"{spread} times")]
    return table(("what", "cost"), [
        *rows, ("a task: the scheduler's processor", short(task.scheduler)),
        ("a task: the client's processor", short(task.client)),
        ("a task: the worker's processor", short(task.worker)),
        ("a task that does nothing, clock", short(task.wall)),
        ("a task: messages of all", f"{task.messages:.1f}"), ("a task: bytes of them", f"{task.sent:,.0f} B"),
        ("a task that waits: memory of the scheduler", f"{task.scheduler_memory:,.0f} B"),
        ("a task that waits: memory of the client", f"{task.client_memory:,.0f} B"),
        ("the answer of a sum's task", f"{answer:,} B"),
        ("the question, staged.json", f"{questions[0]:,} B"), ("the question, mlp.json", f"{questions[1]:,} B"),
        ("a file to find", short(file.find)), ("a file whose rows a worker counts", short(file.count)),
        ("a file whose part is there, by --resume", short(file.resume)),
        ("an entry of the manifest", f"{short(file.manifest)}, {file.entry:.0f} B")])


def validated(folder: Path, lines: dict[str, dict[str, Line]], file: Files, task: Tasks, rows: int) -> str:
    """What the simulation says of runs, beside them."""
    size = rows // FEW
    make_rows(folder / "rows", rows, FEW)
    found = []
    for workers in (1, 2):
        cluster = Cluster(workers, task.scheduler, task.client)
        with served(workers) as client:
            for name, work in {"written": write, "summed": add}.items():
                work(folder, client)  # workers import and compile
                before, start = states(client), time.perf_counter()
                work(folder, client)
                wall = time.perf_counter() - start
                cpu = sum(new[2] - old[2] for new, old in zip(states(client)[2:], before[2:], strict=True))
                said = {clock: added(rows, size, line, file, task, cluster) if name == "summed" else
                        [simulate(FEW, drawn(line, size, task), cluster)] for clock, line in lines[name].items()}
                found.append((f"{name}, {workers} worker{'s' * (workers > 1)}",
                              short(sum(each.seconds for each in said["wall"])), short(wall),
                              short(sum(each.work for each in said["cpu"])), short(cpu)))
    return table((f"{rows:,} rows in {FEW} files of {size:,}", "clock: simulated", "clock: measured",
                  "workers' processors: simulated", "measured"), found)


# Simulated ------------------------------------------------------------------------------------------------------------

def simulated(words: str, run: Callable[[int, int, int], Sequence[Outcome]]) -> str:
    """What tables take on clusters: the time, the share of it that workers wait, and the tasks a second."""
    found = []
    for rows in TABLES:
        for size in SIZES:
            cells = []
            for workers in WORKERS:
                outcomes = run(rows, size, workers)
                seconds = sum(outcome.seconds for outcome in outcomes)
                waited = sum(outcome.waited for outcome in outcomes)
                share = waited / (waited + sum(outcome.work + outcome.lost for outcome in outcomes))
                tasks = sum(outcome.tasks for outcome in outcomes)
                cells.append(f"{short(seconds)}, {share:.0%}, {tasks / seconds:,.0f}/s")
            found.append((power(rows), power(size), *cells))
    return table((f"{words}: rows", "rows a file", *(f"{workers:,} workers" for workers in WORKERS)), found)


def dying(line: Line, task: Tasks, cluster: Callable[[int, float], Cluster]) -> str:
    """What deaths cost: 10^12 rows on a thousand workers."""
    found = []
    for words, deaths in (("never", 0.0), ("once a day", 1 / 24), ("once an hour", 1.0), ("every six minutes", 10.0)):
        cells = []
        for size in SIZES[1:]:
            outcome = simulate(10**12 // size, drawn(line, size, task), cluster(1000, deaths))
            cells += [short(outcome.seconds), f"{outcome.lost / (outcome.lost + outcome.work):.2%}"]
        found.append((words, *cells))
    return table(("a worker dies", *(f"{power(size)} rows a file{words}" for size in SIZES[1:]
                                     for words in ("", ": work lost"))), found)


def limits(written: Line, summed: Line, task: Tasks, question: int) -> str:
    """Where the scheduler or the client is what workers wait for."""
    served_in = max(task.scheduler, task.client)
    found = []
    for workers in WORKERS:
        least = max(math.ceil((workers * served_in - written.task) / written.row), 0)
        span = max(math.ceil((workers * served_in - summed.task) / summed.row), 0)
        window = max(LEAST, EACH * workers)
        found.append((f"{workers:,}", f"{least:,}", f"{span:,}", f"{window * task.scheduler_memory / 1e6:.1f} MB",
                      f"{workers * question / 1e6:.1f} MB",
                      short(math.ceil(math.log2(workers + 1)) * (LATENCY + question / NETWORK))))
    text = table(("workers", "rows of the smallest file that keeps them busy", "rows of the smallest span",
                  "scheduler's memory of tasks", "bytes of mlp.json to all", "until all have it"), found)
    rate = 1 / task.scheduler
    return (f"The scheduler serves {rate:,.0f} tasks a second, with {task.messages * rate:,.0f} messages and "
            f"{task.sent * rate / 1e6:.1f} MB; the client {1 / task.client:,.0f} tasks.\n\n{text}")


def of_files(file: Files) -> str:
    """What the client does for each file by itself."""
    found = []
    for count in (10**4, 10**6, 10**8):
        groups = count // FILES
        found.append((power(count), short(count * file.find), short(count * file.resume), short(count * file.manifest),
                      f"{count * file.entry / 1e6:,.0f} MB", f"{groups:,}"))
    trees = " and ".join(f"{math.ceil(math.log2(rows / ROWS)) + 1} for {power(rows)} rows" for rows in TABLES[::2])
    text = table(("files", "to find", "--resume, all parts there", "to write the manifest", "its size",
                  "tasks that count rows, for a sum"), found)
    return (f"{text}\n\nThe client holds at most {trees} of the trees of a sum, and the answers that come early,\n"
            "fewer than the scheduler has tasks at a time.")


# Text -----------------------------------------------------------------------------------------------------------------

def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def short(seconds: float) -> str:
    """A time with a unit."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def power(number: int) -> str:
    """A power of ten."""
    return f"10^{len(str(number)) - 1}"


if __name__ == "__main__":
    main()
