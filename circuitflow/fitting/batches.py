"""Minibatches: rows in an order drawn by a seed, from memory or from a stream.

Data of at most `MEMORY` bytes is kept in memory, and every epoch is an exact permutation of its rows. Larger data is
read anew in every epoch, and rows are shuffled in a pool of about `POOL` bytes: half of the pool becomes batches, then
new rows fill it again. A row moves about as far as the pool is long, so a file that is sorted, by class for example,
should be shuffled once before.

The order depends on the seed and on the number of the epoch alone, so that a run can go on in the middle of an epoch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.errors import InputError
from circuitflow.fitting.data import Data
from circuitflow.fitting.modes import fresh_seed

MEMORY = 2**28
"""Bytes of columns that are kept in memory."""

POOL = 2**26
"""Bytes of columns that are shuffled together where not all are in memory."""

_HELD_OUT = 2**32 - 1
"""Stands in the place of an epoch's number where held-out rows are drawn."""


class Batch(NamedTuple):
    """Some rows.

    Attributes:
        rows: their numbers, from 0, as int64.
        columns: their values by input; None where all rows are in memory, as `Batches.table`.
    """

    rows: Any
    columns: Mapping[str, Any] | None


class Batches:
    """The rows of data for training and for validation.

    Attributes:
        table: all columns by input; None where they are not in memory.
        size: the most rows of a batch; the last of an epoch may have fewer.
        rows: how many rows an epoch has; None where it is not known.
    """

    def __init__(self, data: Data, size: int, seed: int, held_out: float = 0.0) -> None:
        """Read what fits into memory.

        Args:
            data: the data.
            size: the most rows of a batch.
            seed: for the order of the rows, and for which are held out.
            held_out: the fraction of the rows that is held out.

        Raises:
            InputError: no rows are left to train on, or none to hold out.
        """
        self._data, self.size, self._seed, self._fraction = data, size, seed, held_out
        self.table = _in_memory(data)
        self.rows: int | None = None
        if self.table is None:
            return
        count = len(next(iter(self.table.values()))) if self.table else 1
        out = round(count * held_out)
        if held_out and not 0 < out < count:
            raise InputError(f"validation: a fraction of {held_out:g} of {count} rows is {out}; expected one or more, "
                             "and others to train on; give another fraction, or more rows")
        order = self._random(_HELD_OUT).permutation(count) if out else np.arange(count)
        self._out, self._training = np.sort(order[:out]), np.sort(order[out:])
        self.rows = count - out

    @property
    def holds_out(self) -> bool:
        """Whether a fraction of the rows is held out."""
        return self._fraction > 0

    @property
    def steps(self) -> int | None:
        """How many batches an epoch has; None where it is not known."""
        return None if self.rows is None else -(-self.rows // self.size)

    def epoch(self, number: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, without the first ones.

        Raises:
            InputError: the data cannot be read, or has no rows.
        """
        if self.table is None:
            yield from prefetched(self._pooled(number, skip))
            return
        order = self._training[self._random(number).permutation(len(self._training))]
        for start in range(skip * self.size, len(order), self.size):
            yield Batch(order[start:start + self.size], None)

    def in_order(self, *, out: bool) -> Iterator[Batch]:
        """The rows in order: those that are held out, or the others."""
        if self.table is None:
            yield from prefetched(self._in_order(out=out))
            return
        rows = self._out if out else self._training
        for start in range(0, len(rows), self.size):
            yield Batch(rows[start:start + self.size], None)

    def columns(self, batch: Batch) -> Mapping[str, Any]:
        """The values of a batch, by input."""
        if batch.columns is not None:
            return batch.columns
        assert self.table is not None  # noqa: S101
        return {name: column[batch.rows] for name, column in self.table.items()}

    def _random(self, *numbers: int) -> np.random.RandomState:
        """The legacy generator, whose stream NumPy keeps for good (NEP 19)."""
        return np.random.RandomState([self._seed, *numbers])

    def _blocks(self, *, out: bool) -> Iterator[Batch]:
        """The rows of a stream in order, those that are held out or the others."""
        for block in self._data.blocks():
            rows = np.arange(block.first, block.first + block.rows, dtype=np.int64)
            if self._fraction:
                drawn = (fresh_seed(np, rows, self._seed, _HELD_OUT) >> np.uint64(11)) * 2.0**-53 < self._fraction
                chosen = np.flatnonzero(drawn == out)
                yield Batch(rows[chosen], {name: np.asarray(x)[chosen] for name, x in block.columns.items()})
            else:
                yield Batch(rows, block.columns)

    def _in_order(self, *, out: bool) -> Iterator[Batch]:
        for block in self._blocks(out=out):
            yield from _cut(block, self.size)

    def _pooled(self, number: int, skip: int) -> Iterator[Batch]:
        """Batches of a stream, shuffled in a pool."""
        pool: list[Batch] = []
        held, drawn, most = 0, 0, 0
        for block in self._blocks(out=False):
            most = most or max(2 * self.size, POOL // _width(block))
            for part in _cut(block, max(1, most // 2)):
                pool.append(part)
                held += len(part.rows)
                if held >= most:
                    joined = self._shuffled(pool, number, drawn)
                    count = max(1, held // 2 // self.size)
                    yield from _first(joined, count, self.size, skip - drawn)
                    drawn, pool = drawn + count, [_rows_of(joined, slice(count * self.size, None))]
                    held = len(pool[0].rows)
        if not pool:
            raise InputError("data: there are no rows to train on; expected one or more")
        joined = self._shuffled(pool, number, drawn)
        yield from _first(joined, -(-held // self.size), self.size, skip - drawn)

    def _shuffled(self, pool: list[Batch], number: int, drawn: int) -> Batch:
        rows = np.concatenate([part.rows for part in pool])
        order = self._random(number, drawn).permutation(len(rows))
        columns = {name: np.concatenate([part.columns[name] for part in pool])[order]  # type: ignore[index]
                   for name in pool[0].columns or ()}
        return Batch(rows[order], columns)


def prefetched(batches: Iterator[Batch], depth: int = 2) -> Iterator[Batch]:
    """The same batches, read ahead by a thread; at most `depth` wait.

    Raises:
        Exception: what reading raises.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for batch in batches:
                if not put((batch, None)):
                    return
        except BaseException as error:  # raised again in the thread that takes the batches
            put((None, error))
        else:
            put((None, None))

    thread = threading.Thread(target=read, name="circuitflow-batches", daemon=True)
    thread.start()
    try:
        while True:
            batch, error = waiting.get()
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch
    finally:
        stopped.set()
        thread.join()


def _in_memory(data: Data) -> dict[str, Any] | None:
    """All columns; None if they are larger than `MEMORY`, unless they are in memory already."""
    parts, size = [], 0
    for block in data.blocks():
        size += sum(np.asarray(x).nbytes for x in block.columns.values())
        if size > MEMORY and not data.in_memory:
            return None
        parts.append(block.columns)
    if not parts:
        raise InputError("data: there are no rows; expected one or more")
    if len(parts) == 1:
        return {name: np.asarray(x) for name, x in parts[0].items()}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _width(batch: Batch) -> int:
    """The bytes of a row."""
    size = sum(np.asarray(x).nbytes for x in (batch.columns or {}).values())
    return max(1, size // max(1, len(batch.rows)))


def _rows_of(batch: Batch, part: slice) -> Batch:
    return Batch(batch.rows[part], {name: x[part] for name, x in (batch.columns or {}).items()})


def _cut(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch in parts of at most so many rows."""
    for start in range(0, len(batch.rows), size):
        yield _rows_of(batch, slice(start, start + size))


def _first(batch: Batch, count: int, size: int, skip: int) -> Iterator[Batch]:
    """The first batches that a larger one is cut into, without those before `skip`."""
    for i in range(max(0, skip), count):
        yield _rows_of(batch, slice(i * size, (i + 1) * size))
