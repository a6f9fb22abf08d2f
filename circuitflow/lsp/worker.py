"""A process of its own that reads or computes documents, so that none of them can block or crash the server."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Condition, Thread

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
"""Seconds that findings may still take that a newer text has made stale; a new process takes about as long to start."""

Answer = Callable[[Findings], None]
Work = Callable[[str | None, str, GateTable], Iterable[Findings | None]]
"""Looks at a document. It gives findings, then perhaps more; None where a newer text may take its turn."""

_END = "end"
"""What the process sends when it has told all of a document."""


def builtin_gates() -> GateTable:
    """The table of gates that are built in."""
    return GATES


class Worker:
    """Looks at one document after the other. Of one that changes meanwhile only the latest text is looked at."""

    def __init__(self, work: Work, table: Callable[[], GateTable] = builtin_gates, *,
                 patience: float = PATIENCE) -> None:
        """A worker whose process starts now.

        Args:
            work: looks at a document; the process imports it by its name.
            table: gives the gate table, likewise.
            patience: in seconds.
        """
        self.patience, self._work, self._table = patience, work, table
        self._pending: dict[str, tuple[str | None, str, Answer]] = {}
        self._changed = Condition()
        self._is_closed = False
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._thread = Thread(target=self._run, name="findings", daemon=True)
        self._thread.start()

    def ask(self, uri: str, path: str | None, text: str, answer: Answer) -> None:
        """Look at a document soon. `answer` is called from another thread, once or more often."""
        with self._changed:
            self._pending[uri] = path, text, answer
            self._changed.notify()

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
                self._changed.wait_for(lambda: self._pending or self._is_closed)
                if self._is_closed:
                    break
                uri = next(iter(self._pending))
                path, text, answer = self._pending.pop(uri)
            self._look(uri, path, text, answer)
        self._stop()

    def _look(self, uri: str, path: str | None, text: str, answer: Answer) -> None:
        """Tell what the process finds, or why it finds nothing: then it is stopped.

        After the first answer it may tell no more: where a newer text waits, or at the end of patience.
        """
        is_answered = False
        try:
            connection, end = self._connection or self._start(), time.monotonic() + self.patience
            connection.send((path, text))
            while self._hears(connection, end, uri if is_answered else None):
                findings = connection.recv()
                if findings == _END:
                    return
                if findings is not None and not self._is_closed:
                    answer(findings)
                    is_answered = True
                if is_answered and uri in self._pending:
                    return
                connection.send(None)
            message = f"the document takes more than {self.patience:g} seconds; `circuitflow run` has no such limit"
        except (EOFError, OSError):
            message = "the process that reads the document ended; it may take too much memory"
        self._stop()
        if not is_answered and not self._is_closed:
            answer(Findings(warnings=(Fault(message),), reason=message))

    def _hears(self, connection: Connection, end: float, answered: str | None) -> bool:
        """Whether the process says something in time; in little time where a newer text of an answered one waits."""
        while not self._is_closed and (now := time.monotonic()) < end:
            if connection.poll(min(STEP, end - now)):
                return True
            if answered in self._pending:
                end = min(end, now + GRACE)
        return False

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
