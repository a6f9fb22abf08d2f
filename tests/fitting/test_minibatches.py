"""Minibatches: an exact permutation in memory, a pool for a stream; the same again from the middle of an epoch."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import circuitflow as cf
from circuitflow.fitting import batches, data
from circuitflow.fitting.batches import Batches
from circuitflow.fitting.data import Data

CIRCUIT = cf.loads("""{"circuitflow": "1.0", "nodes": [{"id": "x", "gate": "input"}, {"id": "y", "gate": "square",
                       "inputs": ["x"]}], "outputs": ["y"]}""")


def made(rows=103, size=8, seed=3, held_out=0.0, block=10):
    """Batches of rows whose x is their number, in blocks of so many rows."""
    x = np.arange(rows, dtype=np.float64)
    parts = [{"x": x[i:i + block]} for i in range(0, rows, block)]
    return Batches(Data.of(CIRCUIT, lambda: iter(parts)), size, seed, held_out)


@pytest.fixture(params=["memory", "stream"])
def place(request, monkeypatch):
    if request.param == "stream":
        monkeypatch.setattr(batches, "MEMORY", 100)
        monkeypatch.setattr(batches, "POOL", 8 * 40)
    return request.param


def rows_of(epoch):
    return [batch.rows.tolist() for batch in epoch]


def flat(epoch):
    return [row for batch in epoch for row in batch.rows.tolist()]


def test_an_epoch_has_every_row_once_in_an_order_of_its_own(place):
    source = made()
    assert (source.table is None) == (place == "stream")
    first, second = rows_of(source.epoch(0)), rows_of(source.epoch(1))
    for epoch in (first, second):
        assert [len(batch) for batch in epoch] == [8] * 12 + [7]
        assert sorted(row for batch in epoch for row in batch) == list(range(103))
    assert first != second
    assert first == rows_of(made().epoch(0))
    assert first != rows_of(made(seed=4).epoch(0))
    assert first[0] != sorted(first[0])


def test_the_columns_of_a_batch_are_those_of_its_rows(place):
    source = made()
    for batch in source.epoch(0):
        np.testing.assert_array_equal(source.columns(batch)["x"], batch.rows)


@pytest.mark.parametrize("skip", [1, 5, 12, 13])
def test_an_epoch_goes_on_from_its_middle(place, skip):
    assert rows_of(made().epoch(2, skip)) == rows_of(made().epoch(2))[skip:]


def test_rows_that_are_held_out_are_never_trained_on(place):
    source = made(rows=1000, held_out=0.2)
    held, trained = flat(source.in_order(out=True)), flat(source.epoch(0))
    assert held == sorted(held)
    assert sorted(held + trained) == list(range(1000))
    assert len(held) == 200 if place == "memory" else 150 < len(held) < 250
    assert held == flat(made(rows=1000, held_out=0.2).in_order(out=True))
    assert held != flat(made(rows=1000, held_out=0.2, seed=9).in_order(out=True))


def test_without_a_fraction_validation_goes_over_all_rows(place):
    assert flat(made().in_order(out=False)) == list(range(103))


def test_a_pool_holds_so_many_rows_and_mixes_them(monkeypatch):
    monkeypatch.setattr(batches, "MEMORY", 0)
    monkeypatch.setattr(batches, "POOL", 8 * 100)
    monkeypatch.setattr(data, "BLOCK_BYTES", 8 * 10)
    monkeypatch.setattr(batches, "prefetched", lambda source: source)
    read = 0

    def blocks():
        nonlocal read
        for i in range(0, 10_000, 10):
            read = i + 10
            yield {"x": np.arange(i, i + 10, dtype=np.float64)}

    source, taken, distances = Batches(Data.of(CIRCUIT, blocks), 16, 0), 0, []
    for batch in source.epoch(0):
        distances += abs(batch.rows - np.arange(taken, taken + len(batch.rows))).tolist()
        taken += len(batch.rows)
        assert read - taken <= 160
    assert taken == 10_000
    assert 20 < np.mean(distances) < 100


def test_reading_ahead_stops_with_the_reader_and_raises_what_it_raises():
    def endless():
        i = 0
        while True:
            yield i
            i += 1

    def failing():
        yield 1
        raise cf.InputError("the file is damaged")

    reading = batches.prefetched(endless())
    assert [next(reading) for _ in range(5)] == list(range(5))
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "circuitflow-batches"]
    with pytest.raises(cf.InputError, match="the file is damaged"):
        list(batches.prefetched(failing()))


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_a_fraction_that_leaves_no_rows_is_refused(fraction):
    with pytest.raises(cf.InputError, match=r"validation: a fraction of 0.\d+ of 103 rows is (0|103); expected one"):
        made(held_out=fraction)
