"""Python's garbage collector, kept from looking where there is none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Loading and scheduling make millions of objects and no garbage; looking for some takes most of the time.

    Afterwards what was made counts as old, so that nothing goes through all of it at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # gives everything back to the oldest generation
            gc.enable()
