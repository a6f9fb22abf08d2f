"""Writes the files of a folder of results on the workers of a Dask cluster.

A task is one file: where it is read, and the name to write. The question travels once, as the result of a task of its
own, which workers take from one another and which Dask computes again where it is lost. A task answers with the number
of rows. It may run twice, as after the loss of a worker: it writes the same bytes again, whole or not at all.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from circuitflow.engines.columns import work_alone
from circuitflow.errors import CircuitflowError, InputError, MissingExtraError
from circuitflow.rows.holding import loaded, once, pickled
from circuitflow.rows.parts import write_part
from circuitflow.rows.tables import TableRun
from circuitflow.tables.places import Part
from circuitflow.text import own_version, printable, short

LEAST, EACH = 256, 4
"""Tasks that the scheduler has at a time: the least, and for each thread of the workers that are there at first."""


class Job(NamedTuple):
    """What is the same for every task.

    Attributes:
        question: digest of the question that travels.
        folder: of results, as an absolute path.
        digest: of the run.
        version: of circuitflow.
    """

    question: str
    folder: str
    digest: str
    version: str


def need_client(client: Any) -> None:
    """Refuse what is no client of a running cluster.

    Raises:
        InputError: it is none.
        MissingExtraError: distributed is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("a cluster needs `pip install 'circuitflow[cluster]'`") from None
    if not isinstance(client, Client):
        raise InputError(f"client is {short(client)}; expected a distributed.Client")
    if client.asynchronous or client.status != "running":
        raise InputError(f"client is {'asynchronous' if client.asynchronous else client.status}; expected a "
                         "distributed.Client that is connected, not asynchronous")


def write_on(client: Any, run: TableRun, parts: Mapping[str, Part], folder: Path,
             digest: str) -> Iterator[tuple[str, int]]:
    """Write parts on the workers; gives their names and how many rows each has, in the order in which they end.

    After a fault, the parts before it are still awaited, so that the first part at fault is the one reported.

    Args:
        client: of the cluster.
        run: the question, with its kinds.
        parts: the files of the table, by the names to write.
        folder: the folder of results, which a run has begun.
        digest: of the run.

    Raises:
        InputError: the scheduler is lost, workers do not have this version of circuitflow, or die one after the other.
        CircuitflowError: see `write_part`.
    """
    from distributed import as_completed

    data = pickled((run.task, run.kinds), "a cluster")
    job = Job(sha256(data).hexdigest(), os.path.abspath(folder), digest, own_version())
    token = f"circuitflow-{uuid4().hex}"
    items = [(name, part if part.local is None else part._replace(path=os.path.abspath(part.path)))
             for name, part in parts.items()]
    most = max(LEAST, EACH * sum(client.nthreads().values()))
    waiting = iter(range(len(items)))
    futures: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    question = client.submit(_same, data, key=f"{token}-question")
    done = as_completed(loop=client.loop)
    try:
        while True:
            if len(futures) <= most // 2 and (numbers := [*islice(waiting, most - len(futures))]):
                new = client.map(_write, [items[i] for i in numbers], key=[(f"{token}-part", i) for i in numbers],
                                 question=question, job=job, batch_size=None)
                futures.update(zip(numbers, new, strict=True))
                done.update(new)
            if not futures:
                break
            number = next(done).key[1]
            if (future := futures.pop(number, None)) is None:  # it was given up
                continue
            outcome = _outcome(future, items[number][1], run.task.words.resume)
            if not isinstance(outcome, Exception):
                yield items[number][0], outcome
                continue
            errors[number], waiting = outcome, iter(())
            client.cancel([futures.pop(i) for i in list(futures) if i > number])
        if errors:
            raise errors[min(errors)]
    finally:
        if client.status == "running":
            client.cancel([question, *futures.values()])


def _outcome(future: Any, part: Part, resume: str) -> int | Exception:
    """How many rows a part has, or why it is not written.

    Raises:
        InputError: the scheduler is lost.
    """
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    remedy = f"; what is written stays, so go on by {resume}, with or without a cluster"
    try:
        outcome: int | Exception = future.result()  # which waits where it died with its worker and is computed again
    except (OSError, CancelledError):
        raise InputError(f"the scheduler of the cluster is lost{remedy}") from None
    except KilledWorker as error:
        return InputError(f"{part.shown}: {error.allowed_failures + 1} workers died that had this file, such as for "
                          f"want of memory, and their logs say why{remedy}")
    except Exception as error:
        return InputError(f"the cluster does not run circuitflow {own_version()}: "
                          f"{printable(str(error.__cause__ or error))}; install it on scheduler and workers")
    return outcome


# On a worker ----------------------------------------------------------------------------------------------------------

def _same(data: bytes) -> bytes:
    return data


def _write(item: tuple[str, Part], question: bytes, job: Job) -> int | Exception:
    """How many rows a part has, or what is at fault; what Dask raises is never a fault of the table."""
    name, part = item
    try:
        if job.version != own_version():
            raise InputError(f"a worker has circuitflow {own_version()}, and the client {job.version}; install the "
                             "same")
        once("one thread", _one_thread)
        run = once(job.question, partial(_run, question))
        return write_part(run, part, Path(job.folder), name, job.digest)
    except Exception as error:
        if not isinstance(error, CircuitflowError):
            error.add_note(f"On a worker:\n{traceback.format_exc()}")  # which does not travel otherwise
        return error


def _run(question: bytes) -> TableRun:
    task, kinds = loaded(question, "a cluster")
    return TableRun(task, kinds=kinds)


def _one_thread() -> bool:
    """From now on a task of this process computes on one thread: the scheduler has tasks for the other cores."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")
    work_alone()
    return True
