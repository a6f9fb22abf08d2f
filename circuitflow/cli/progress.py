"""Shows progress on standard error if it is a terminal, after a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

DELAY = 1.0
"""Seconds before progress is shown."""


def track(steps: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
    """Iterate over steps, with a progress bar after a second. `total` counts steps that have no length."""
    if not sys.stderr.isatty():
        yield from steps
        return
    start = time.monotonic()
    remaining = iter(steps)
    for position, step in enumerate(remaining):
        yield step
        if time.monotonic() - start > DELAY:
            from rich.console import Console
            from rich.progress import Progress

            with Progress(console=Console(stderr=True), transient=True) as bar:
                count = len(steps) if isinstance(steps, Sized) else total
                task = bar.add_task(description, total=count, completed=position + 1)
                for rest in remaining:
                    yield rest
                    bar.advance(task)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show a spinner after a second."""
    if not sys.stderr.isatty():
        yield
        return
    end = threading.Event()
    spinner = threading.Thread(target=_spin, args=(description, end), daemon=True)
    spinner.start()
    try:
        yield
    finally:
        end.set()
        spinner.join()


def _spin(description: str, end: threading.Event) -> None:
    if end.wait(DELAY):
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(f"{description} …")):
        end.wait()
