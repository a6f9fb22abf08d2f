"""Tasks that go to other processes, and what a process holds of them."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Hashable
from typing import Any

from circuitflow.errors import InputError
from circuitflow.text import printable

HELD = 32
"""Tasks and compiled functions that a process holds."""

_held: dict[Hashable, Any] = {}
"""Tasks by their digests, and compiled functions by digest and sizes; those used last stand at the end."""

_lock = threading.RLock()


def pickled(task: Any, caller: str) -> bytes:
    """A task to send to other processes.

    Raises:
        InputError: its gate table has functions that cannot be pickled.
    """
    try:
        return pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"{caller}: the circuit cannot be sent to other processes: {printable(str(error), 200)}; "
                         "write the functions of its gate table at the top level of a module") from None


def loaded(data: bytes, caller: str) -> Any:
    """A task that another process sends.

    Raises:
        InputError: this process does not have the gate table.
    """
    try:
        return pickle.loads(data)  # noqa: S301 - it stands inside a pickle that this process loads anyway
    except (AttributeError, ImportError) as error:
        raise InputError(f"{caller}: this process does not have the gates of the circuit: {printable(str(error))}; "
                         "put the module of the gate table where it can be imported") from None


def once(key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gives, which is held for the next call with the same key in this process."""
    with _lock:
        _held[key] = value = _held.pop(key) if key in _held else make()
        while len(_held) > HELD:
            del _held[next(iter(_held))]
    return value


def _renew_lock() -> None:
    """A thread that the fork does not have may have held the lock."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
