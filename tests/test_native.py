"""Loops of machine code, and the blocks of rows that they run on."""

from __future__ import annotations

import os
import re
import signal
import threading

import numpy as np
import pytest

from circuitflow.engines import columns
from circuitflow.engines.columns import in_blocks
from circuitflow.engines.native import jitted

ROWS = 1000


@pytest.fixture(params=[1, 2, 5])
def cores(request, monkeypatch):
    monkeypatch.setattr(columns, "_cores", lambda: request.param)
    monkeypatch.setattr(columns, "_threads", columns.cache(columns._threads.__wrapped__))
    return request.param


def done(rows, block):
    parts = []
    in_blocks(parts.append, rows, block)
    return sorted((part.start, part.stop) for part in parts)


@pytest.mark.parametrize(("rows", "block"), [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 3)])
def test_every_row_is_in_one_block_whatever_the_number_of_threads(rows, block, cores):
    assert done(rows, block) == [(start, start + block) for start in range(0, rows, block)]


def test_blocks_run_at_once(cores):
    """A block that waits for the next ones is passed by them."""
    together = threading.Barrier(min(cores, 3))
    in_blocks(lambda part: together.wait(20), 3 if cores > 2 else cores, 1)


def test_a_call_from_within_a_block_waits_for_nobody(cores):
    count = []
    in_blocks(lambda part: in_blocks(lambda inner: in_blocks(count.append, 4, 1), 4, 1), 8, 1)
    assert len(count) == 8 * 4 * 4


def test_nothing_runs_any_more_after_an_error(cores):
    """The error is that of the first block at fault; blocks that had begun are over, the last ones never begin."""
    running, begun = set(), set()

    def work(part):
        running.add(part.start)
        begun.add(part.start)
        threading.Event().wait(0.001)
        try:
            if part.start >= 10:
                raise ValueError(part.start)
        finally:
            running.discard(part.start)

    with pytest.raises(ValueError, match="^10$"):
        in_blocks(work, ROWS, 1)
    assert not running
    assert len(begun) < ROWS / 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals to threads")
def test_nothing_runs_any_more_after_an_interrupt(cores):
    running, main = set(), threading.main_thread().ident
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work(part):
        running.add(part.start)
        if part.start == 3:
            signal.pthread_kill(main, signal.SIGINT)
        threading.Event().wait(0.002)
        running.discard(part.start)

    try:
        with pytest.raises(KeyboardInterrupt):
            in_blocks(work, ROWS, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(running) <= 1  # the block that was interrupted itself


def test_no_array_is_kept_after_a_call(cores):
    import weakref

    array = np.empty(ROWS)
    gone = weakref.ref(array)

    def work(part, array=array):
        array[part] = 0

    in_blocks(work, ROWS, 1)
    del array, work
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_fork_has_threads_of_its_own(cores):
    together = threading.Barrier(min(cores, 2))
    done(100, 1)
    child = os.fork()
    if not child:
        signal.alarm(20)
        in_blocks(lambda part: together.wait(), min(cores, 2), 1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_without_a_thread_to_be_had_the_caller_does_it_alone(monkeypatch):
    class Full:
        def submit(self, share):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(columns, "_cores", lambda: 4)
    monkeypatch.setattr(columns, "_threads", lambda process: Full())
    assert len(done(100, 1)) == 100


def loop_of(count):
    """A loop that reads so many columns and fills in one more, an exponential among them."""
    names = [*(f"c{i}" for i in range(count)), *(f"r{i}" for i in range(count + 1))]
    squares = " + ".join(f"x{i} * x{i}" for i in range(count))
    return jitted("\n".join([
        f"def loop(rows, {', '.join(names)}):", "    for i in range(rows):",
        *(f"        x{i} = get(c{i}, i)" for i in range(count)),
        f"        s = 1.0 / (1.0 + exp(-({squares})))",
        "        put(r0, 0, i, s)", *(f"        put(r{i + 1}, {i + 1}, i, s * x{i})" for i in range(count))]), over_rows=True)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_rows_are_computed_several_at_once(count):
    """However many columns there are; those that lie at odd addresses give the same numbers."""
    loop = loop_of(count)
    given, results = np.random.RandomState(0).standard_normal((count, ROWS)), np.empty((count + 1, ROWS))
    loop(ROWS, *given, *results)
    s = 1 / (1 + np.exp(-(given**2).sum(axis=0)))
    np.testing.assert_allclose(results, [s, *(s * given)], rtol=1e-14)
    (text,) = loop.inspect_llvm().values()
    assert re.search(r"fdiv <\d+ x double>", text)
    odd = [np.frombuffer(b"x" + column.tobytes(), np.float64, offset=1) for column in given]
    found = np.empty((count + 1, ROWS))
    loop(ROWS, *odd, *found)
    np.testing.assert_array_equal(found, results)
