"""Shows progress on standard error if it is a terminal, after a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.0
"""Seconds before progress is shown."""


def track(steps: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
    """Iterate over steps, with a progress bar after a second. `total` counts steps that have no length."""
    if not sys.stderr.isatty():
        yield from steps
        return
    start = time.monotonic()
    remaining = iter(steps)
    for done, step in enumerate(remaining):
        yield step
        if time.monotonic() - start > PATIENCE:
            from rich.console import Console
            from rich.progress import Progress

            with Progress(console=Console(stderr=True), transient=True) as bar:
                count = len(steps) if isinstance(steps, Sized) else total
                task = bar.add_task(description, total=count, completed=done + 1)
                for rest in remaining:
                    yield rest
                    bar.advance(task)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show a spinner after a second."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    shown = threading.Thread(target=_spin, args=(description, done), daemon=True)
    shown.start()
    try:
        yield
    finally:
        done.set()
        shown.join()


def _spin(description: str, done: threading.Event) -> None:
    if done.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(f"{description} …")):
        done.wait()
