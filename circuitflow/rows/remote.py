"""A question on the workers of a Dask cluster.

The question travels once, as the result of a task of its own, which workers take from one another and which Dask
computes again where it is lost. A task is an item, such as a file. It may run twice, as after the loss of a worker.
"""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple, Self
from uuid import uuid4

from circuitflow.document.limits import Limits
from circuitflow.engines.columns import work_alone
from circuitflow.errors import CircuitflowError, InputError, MissingExtraError
from circuitflow.rows.holding import loaded, once, pickled
from circuitflow.tables.opening import refuse_damage
from circuitflow.tables.places import Part
from circuitflow.tables.several import open_parts
from circuitflow.tables.spans import Span, spans
from circuitflow.text import own_version, printable, short

LEAST, EACH = 256, 4
"""Tasks that the scheduler has at a time: the least, and for each thread of the workers that are there at first."""

SPAN = 2**26
"""The most rows that a span is made to have; one without stretches may have more."""

NOTED, AWAITED = 5, 300
"""Seconds for which a cluster without workers is waited for: until it is said, and in all."""

FILES = 64
"""The most files whose rows one task counts: a task costs the scheduler more than a file costs a worker."""


class Job(NamedTuple):
    """What is the same for every task.

    Attributes:
        question: digest of the question that travels.
        version: of circuitflow.
        work: what a worker calls, with the question, the item and the arguments.
        arguments: more of them.
    """

    question: str
    version: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


class Steps:
    """Steps whose number is known before they are made."""

    def __init__(self, steps: Iterator[Any], count: int) -> None:
        self._steps, self._count = steps, count

    def __iter__(self) -> Iterator[Any]:
        return self._steps

    def __len__(self) -> int:
        return self._count


def need_client(client: Any) -> None:
    """Refuse what is no client of a running cluster.

    Raises:
        InputError: it is none, or no worker comes.
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
    need_workers(client, warnings.warn)


def need_workers(client: Any, say: Callable[[str], None]) -> None:
    """Wait for a worker where a cluster has none yet; what is waited for is said after a while.

    Raises:
        InputError: none comes, or the scheduler is lost.
    """
    try:
        if client.nthreads():
            return
        with suppress(TimeoutError):
            client.wait_for_workers(1, NOTED)
            return
        say(f"the cluster has no workers yet; they are waited for, {AWAITED} seconds at most")
        with suppress(TimeoutError):
            client.wait_for_workers(1, AWAITED - NOTED)
            return
    except OSError:
        raise InputError("the scheduler of the cluster is lost; nothing is begun") from None
    raise InputError(f"the cluster has no workers, and none came in {AWAITED} seconds; start some, such as by `dask "
                     "worker ADDRESS`")


class Remote:
    """A question that the workers of a cluster have. Use it as a context: at its end they drop it."""

    def __init__(self, client: Any, question: Any, remedy: str) -> None:
        """Send the question.

        Args:
            client: of the cluster.
            question: what a worker needs for every task; it is pickled, and a worker holds it.
            remedy: how to go on after the loss of the cluster, for errors.

        Raises:
            InputError: it cannot be pickled.
        """
        data = pickled(question, "a cluster")
        self._client, self._remedy, self._digest = client, remedy, sha256(data).hexdigest()
        self._token = f"circuitflow-{uuid4().hex}"
        self._question = client.submit(_same, data, key=f"{self._token}-question")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client.status == "running":
            self._client.cancel([self._question])

    @property
    def threads(self) -> int:
        """How many threads the workers have that are there now, or 1."""
        threads: int = max(sum(self._client.nthreads().values()), 1)
        return threads

    def ask(self, work: Callable[..., Any], items: Sequence[Any], places: Sequence[str],
            *arguments: Any, is_near: bool = False) -> Iterator[tuple[int, Any]]:
        """What the workers answer for items: the number of an item and its answer, in the order in which they end.

        After a fault, the items before it are still awaited, so that the first item at fault is the one reported.

        Args:
            work: a function at the top level of a module, of the question, an item, and the arguments.
            items: the items.
            places: the items in errors.
            arguments: more arguments, the same for each item.
            is_near: whether the scheduler gets an item only when all are answered but the last few before it.

        Raises:
            InputError: the scheduler is lost, workers do not have this version of circuitflow, or die one after the
                other.
            CircuitflowError: what `work` raises.
        """
        from distributed import as_completed

        job = Job(self._digest, own_version(), work, arguments)
        token, most = f"{self._token}-{uuid4().hex}", max(LEAST, EACH * self.threads)
        sent, end = 0, len(items)
        futures: dict[int, Any] = {}  # by number, in ascending order
        errors: dict[int, Exception] = {}
        done = as_completed(loop=self._client.loop)
        try:
            while True:
                taken = sent - next(iter(futures), sent) if is_near else len(futures)
                if taken <= most // 2 and (numbers := range(sent, min(sent + most - taken, end))):
                    sent = numbers.stop
                    new = self._client.map(_work, [items[i] for i in numbers], key=[(token, i) for i in numbers],
                                           question=self._question, job=job, batch_size=None)
                    futures.update(zip(numbers, new, strict=True))
                    done.update(new)
                if not futures:
                    break
                ended = [number for future in done.next_batch() if (number := future.key[1]) in futures]
                outcomes = self._outcomes([futures[i] for i in ended], [places[i] for i in ended])
                for number, outcome in zip(ended, outcomes, strict=True):
                    if futures.pop(number, None) is None:  # it was given up
                        continue
                    if isinstance(outcome, _Answer):
                        yield number, outcome.value
                        continue
                    errors[number], end = outcome, sent
                    self._client.cancel([futures.pop(i) for i in list(futures) if i > number])
            if errors:
                raise errors[min(errors)]
        finally:
            if self._client.status == "running":
                self._client.cancel([*futures.values()])

    def _outcomes(self, futures: Sequence[Any], places: Sequence[str]) -> list[_Answer | Exception]:
        """See `_outcome`. Answers come in one message, unless a task has none: a message for each is slow."""
        try:
            answers: list[_Answer | Exception] = self._client.gather(futures)
        except Exception:
            return [_outcome(future, place, self._remedy) for future, place in zip(futures, places, strict=True)]
        return answers

    def in_order(self, work: Callable[..., Any], items: Sequence[Any], places: Sequence[str],
                 *arguments: Any) -> Iterator[Any]:
        """What `ask` gives, in the order of the items. Fewer answers wait than the scheduler has tasks at a time.

        Raises:
            CircuitflowError: see `ask`.
        """
        answers, following = dict[int, Any](), 0
        for number, answer in self.ask(work, items, places, *arguments, is_near=True):
            answers[number] = answer
            while following in answers:
                yield answers.pop(following)
                following += 1

    def spans(self, parts: Sequence[Part], limits: Limits, block: int) -> list[Span]:
        """A table in spans of whole blocks of rows, some for each thread of the workers, which count the rows.

        Raises:
            CircuitflowError: a file cannot be read, or see `ask`.
        """
        most = min(max(len(parts) // (EACH * self.threads), 1), FILES)
        groups = [parts[i : i + most] for i in range(0, len(parts), most)]
        places = [f"{group[0].shown}{' and others' * (len(group) > 1)}" for group in groups]
        stretches = [*chain.from_iterable(self.in_order(_stretches, groups, places, limits))]
        return [*spans(parts, stretches, block, min(sum(map(sum, stretches)) // (EACH * self.threads), SPAN))]


def absolute(part: Part) -> Part:
    """A file by a path that means the same in processes with another working folder.

    Raises:
        InputError: it is standard input, which other processes cannot read.
    """
    if part.path == "-":
        raise InputError("the workers of a cluster read files, and not standard input; write a file")
    return part if part.local is None else part._replace(path=os.path.abspath(part.path))


class _Answer(NamedTuple):
    value: Any


def _outcome(future: Any, place: str, remedy: str) -> _Answer | Exception:
    """What a worker answers, or why there is no answer.

    Raises:
        InputError: the scheduler is lost.
    """
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        # It waits for what died with its worker, and is computed again.
        outcome: _Answer | Exception = future.result()
    except (OSError, CancelledError):
        raise InputError(f"the scheduler of the cluster is lost; {remedy}") from None
    except KilledWorker as error:
        return InputError(f"{place}: {error.allowed_failures + 1} workers died that had this file, such as for want of "
                          f"memory, and their logs say why; {remedy}")
    except Exception as error:
        return InputError(f"the cluster does not run circuitflow {own_version()}: "
                          f"{printable(str(error.__cause__ or error))}; install it on scheduler and workers")
    return outcome


# On a worker ----------------------------------------------------------------------------------------------------------

def _same(data: bytes) -> bytes:
    return data


def _work(item: Any, question: bytes, job: Job) -> _Answer | Exception:
    """The answer for an item, or what is at fault; what Dask raises is never a fault of the table."""
    try:
        if job.version != own_version():
            raise InputError(f"a worker has circuitflow {own_version()}, and the client {job.version}; install the "
                             "same")
        once("one thread", _one_thread)
        return _Answer(job.work(once(job.question, partial(loaded, question, "a cluster")), item, *job.arguments))
    except Exception as error:
        if not isinstance(error, CircuitflowError):
            error.add_note(f"On a worker:\n{traceback.format_exc()}")  # which does not travel otherwise
        return error


def _one_thread() -> bool:
    """From now on a task of this process computes on one thread: the scheduler has tasks for the other cores."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, "blas")
    work_alone()
    return True


def _stretches(question: Any, parts: Sequence[Part], limits: Limits) -> list[list[int]]:
    """The numbers of rows of the stretches of each file."""
    found = []
    for part in parts:
        with refuse_damage(part.shown), ExitStack() as stack:
            found.append(open_parts([part._replace(keys={})], limits, stack).stretches())
    return found
