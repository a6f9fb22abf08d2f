"""A process of its own that reads or computes documents, so that none of them can block or crash the server."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Condition, Thread
from typing import NamedTuple

from circuitflow.errors import Fault
from circuitflow.gates import GATES, GateTable
from circuitflow.lsp.findings import Findings

PATIENCE = 20.0
"""Seconds that one document may take. Then the process is stopped, and the document has no values."""

MEMORY = 2**32
"""Bytes that the process may allocate, where the system can hold it to that."""

_SMALLEST = '{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": 1}], "outputs": ["x"]}'

STEP = 0.1
"""Seconds after which it is looked whether a newer text waits."""

GRACE = 1.0
"""Seconds that a document may still take that gives way; a new process takes about as long to start."""

Answer = Callable[[Findings], None]
Work = Callable[[str | None, str, GateTable], Iterable[Findings | None]]
"""Looks at a document. It gives findings, then perhaps more; None where a newer text may take its turn."""

_END = "end"
"""What the process sends when it has told all of a document."""


def builtin_gates() -> GateTable:
    """The table of gates that are built in."""
    return GATES


class _Task(NamedTuple):
    """A text to look at."""

    uri: str
    path: str | None
    text: str
    answer: Answer


class Worker:
    """Looks at one document after the other. Of one that changes meanwhile only the latest text is looked at.

    A document gives way to a text that came later: to one of its own once it has been answered, to another document's
    always. Then it is looked at again when no such text waits.
    """

    def __init__(self, work: Work, table: Callable[[], GateTable] = builtin_gates, *,
                 patience: float = PATIENCE) -> None:
        """A worker whose process starts now.

        Args:
            work: looks at a document; the process imports it by its name.
            table: gives the gate table, likewise.
            patience: in seconds.
        """
        self.patience, self._work, self._table = patience, work, table
        self._pending: dict[str, _Task] = {}
        self._left: dict[str, _Task] = {}
        self._task: _Task | None = None
        self._changed = Condition()
        self._is_closed = False
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._thread = Thread(target=self._run, name="findings", daemon=True)
        self._thread.start()

    def ask(self, uri: str, path: str | None, text: str, answer: Answer) -> None:
        """Look at a document soon. `answer` is called from another thread, once or more often."""
        with self._changed:
            self._left.pop(uri, None)
            self._pending[uri] = _Task(uri, path, text, answer)
            self._changed.notify()

    def forget(self, uri: str) -> None:
        """Look no more at a document. An answer may be on its way."""
        with self._changed:
            self._pending.pop(uri, None)
            self._left.pop(uri, None)
            if self._task and self._task.uri == uri:
                self._task = None

    def close(self) -> None:
        """End the process, whatever it does."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if (process := self._process) is not None:
            process.kill()
        self._thread.join()

    def _run(self) -> None:
        with suppress(EOFError, OSError):  # the first document tells
            self._start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._left or self._is_closed)
                if self._is_closed:
                    break
                tasks = self._pending or self._left
                task = self._task = tasks.pop(next(iter(tasks)))
            if self._look(task):
                continue
            with self._changed:
                if self._task is task and task.uri not in self._pending:
                    self._left[task.uri] = task
        self._stop()

    def _look(self, task: _Task) -> bool:
        """Tell what the process finds, or why it finds nothing: then it is stopped. False where it gave way.

        After the first answer it may tell no more: at the end of patience, or where it dies.
        """
        is_answered, message = False, ""
        try:
            connection, end = self._connection or self._start(), time.monotonic() + self.patience
            connection.send((task.path, task.text))
            while self._hears(connection, end, task, is_answered):
                findings = connection.recv()
                if findings == _END:
                    return True
                if findings is not None and self._is_wanted(task):
                    task.answer(findings)
                    is_answered = True
                if self._gives_way(task, is_answered):
                    return False
                connection.send(None)
            if time.monotonic() >= end:
                message = (f"the document takes more than {self.patience:g} seconds; `circuitflow run` has no such "
                           "limit")
        except (EOFError, OSError):
            message = "the process that reads the document ended; it may take too much memory"
        self._stop()
        if message and not is_answered and self._is_wanted(task):
            task.answer(Findings(warnings=(Fault(message),), reason=message))
        return bool(message)

    def _hears(self, connection: Connection, end: float, task: _Task, is_answered: bool) -> bool:
        """Whether the process says something in time; in little time where the document gives way."""
        while (now := time.monotonic()) < end and not self._is_closed:
            if connection.poll(min(STEP, end - now)):
                return True
            if self._gives_way(task, is_answered):
                end = min(end, now + GRACE)
        return False

    def _gives_way(self, task: _Task, is_answered: bool) -> bool:
        with self._changed:
            return self._task is None or any(is_answered or uri != task.uri for uri in self._pending)

    def _is_wanted(self, task: _Task) -> bool:
        with self._changed:
            return self._task is task and not self._is_closed

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        process = context.Process(target=_serve, args=(other, self._work, self._table), name="findings", daemon=True)
        process.start()
        self._process = process
        other.close()
        self._connection.recv()  # it is ready: only documents are timed
        return self._connection

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def _serve(connection: Connection, work: Work, table: Callable[[], GateTable]) -> None:
    """Answer documents until the other side is gone."""
    for stream in (0, 1):  # they are the editor's
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    _limit_memory()
    gates = table()
    list(work(None, _SMALLEST, gates))  # so that the first document need not wait for what is imported when it is used
    answers: Iterator[Findings | None] = iter(())
    try:
        connection.send(None)
        while True:
            document = connection.recv()  # None: go on with the last one
            if document is not None:
                path, text = document
                answers = iter(work(path, text, gates))
            connection.send(next(answers, _END))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
