"""A process of its own that looks at documents, so that none of them can block or crash the server."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Condition, Thread

from circuitflow.errors import Fault, InputError
from circuitflow.gates import GATES, GateTable
from circuitflow.lsp.findings import Findings, look
from circuitflow.text import listing, printable

PATIENCE = 20.0
"""Seconds that one document may take. Then the process is stopped, and the document has no values."""

MEMORY = 2**32
"""Bytes that the process may allocate, where the system can hold it to that."""

_SMALLEST = '{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input", "value": 1}], "outputs": ["x"]}'

Answer = Callable[[Findings], None]


class Worker:
    """Looks at one document after the other. Of one that changes meanwhile only the latest text is read."""

    def __init__(self, gates: GateTable = GATES, *, patience: float = PATIENCE) -> None:
        """A worker whose process starts now; `patience` is in seconds.

        Raises:
            InputError: a row that is not built in has a function that another process cannot import by name.
        """
        self.patience = patience
        self._own = {name: gate for name, gate in gates.items() if GATES.get(name) is not gate}
        try:
            pickle.dumps(self._own)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InputError(f"the editor's documents are read in a process of their own, which cannot take the gates "
                             f"{listing(self._own)}: {printable(str(error))}; write their functions with `def` at the "
                             "top of a module") from None
        self._pending: dict[str, tuple[str | None, str, Answer]] = {}
        self._changed = Condition()
        self._is_closed = False
        self._process: multiprocessing.process.BaseProcess | None = None
        self._thread = Thread(target=self._work, name="findings", daemon=True)
        self._thread.start()

    def ask(self, uri: str, path: str | None, text: str, answer: Answer) -> None:
        """Look at a document soon. `answer` is called from another thread, first with the faults, then with values."""
        with self._changed:
            self._pending[uri] = path, text, answer
            self._changed.notify()

    def close(self) -> None:
        """End the process."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        connection: Connection | None = self._start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closed)
                if self._is_closed:
                    break
                uri = next(iter(self._pending))
                path, text, answer = self._pending.pop(uri)
            connection = connection or self._start()
            if not self._look(connection, path, text, answer):
                self._stop()
                connection = None
        self._stop()

    def _look(self, connection: Connection, path: str | None, text: str, answer: Answer) -> bool:
        """Pass on the findings as they come; False where the process must be stopped."""
        try:
            connection.send((path, text))
            while connection.poll(self.patience):
                findings = connection.recv()
                if findings is None:
                    return True
                answer(findings)
            message = f"the document takes more than {self.patience:g} seconds; `circuitflow run` has no such limit"
        except (EOFError, OSError):
            message = "the process that reads the document ended; it may take too much memory"
        answer(Findings(warnings=(Fault(message),), reason=message))
        return False

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._own), name="circuitflow findings",
                                        daemon=True)
        self._process.start()
        other.close()
        return connection

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(connection: Connection, own: GateTable) -> None:
    """Answer documents until the other side is gone; `own` has the rows that are not built in."""
    for stream in (0, 1):  # they are the editor's
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    _limit_memory()
    list(look(None, _SMALLEST))  # so that the first document need not wait for what is imported when it is used
    try:
        while True:
            path, text = connection.recv()
            for findings in look(path, text, {**GATES, **own}):
                connection.send(findings)
            connection.send(None)
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
