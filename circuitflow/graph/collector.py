"""Pauses the garbage collector during bulk allocation."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY = 100_000
"""New objects from which on they count as old. To visit fewer takes less than to count what a service has frozen."""


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector. Loading and scheduling make millions of objects and no garbage.

    Afterwards the new objects, if they are many, count as old, so that the next collection does not visit all of them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_count()[0] > MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # gives everything back to the oldest generation
            gc.enable()
