"""The simulation behind docs/scale.md: no work is lost or made, and it has the limits that arithmetic gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated import Cluster, simulate


@given(st.integers(1, 400), st.integers(1, 300), st.floats(1e-4, 0.1), st.floats(0, 0.1))
def test_work_is_conserved(tasks, workers, scheduler, client):
    drawn = []

    def seconds(draw):
        drawn.append(draw.uniform(0.1, 3))
        return drawn[-1]

    found = simulate(tasks, seconds, Cluster(workers, scheduler, client))
    assert len(drawn) == tasks
    assert found.work == pytest.approx(sum(drawn))
    assert found.lost == 0
    bounds = [sum(drawn) / workers, max(drawn), tasks * scheduler, tasks * client]
    assert found.seconds >= max(bounds) * (1 - 1e-9)
    # Graham 1966: no list of tasks takes longer than the work of each, the longest task, and what is served in turn.
    assert found.seconds <= sum(bounds) * 1.001 + scheduler * workers
    assert found.waited >= 0


@given(st.integers(1, 300), st.integers(0, 6))
def test_twice_the_workers_are_never_slower(tasks, doublings):
    one, two = (simulate(tasks, lambda draw: 1.0, Cluster(workers, 0.001, 0.001)).seconds
                for workers in (2**doublings, 2 ** (doublings + 1)))
    assert two <= one + 0.001 * 2**doublings


def test_a_scheduler_that_is_slower_than_the_workers_is_what_a_run_takes():
    found = simulate(5000, lambda draw: 0.1, Cluster(1000, 0.001, 0.0))
    assert found.seconds == pytest.approx(5, rel=0.05)
    assert found.waited / (found.waited + found.work) == pytest.approx(0.9, abs=0.05)
    assert simulate(5000, lambda draw: 0.1, Cluster(10, 0.001, 0.0)).seconds == pytest.approx(50, rel=0.02)
    slow_client = simulate(5000, lambda draw: 0.1, Cluster(1000, 0.0, 0.002))
    assert slow_client.seconds == pytest.approx(10, rel=0.05)


def test_the_question_spreads_as_a_tree():
    found = simulate(1000, lambda draw: 1e-9, Cluster(1000, 0.0, 0.0, question=1.0))
    assert 1 <= found.seconds <= 10


def test_deaths_cost_the_tasks_that_they_hit():
    """A task of T hours that dies at rate r, and begins again, takes (exp(r T) - 1) / r hours of computing."""
    found = simulate(20_000, lambda draw: 1800.0, Cluster(10, 0.0, 0.0, deaths=1.0, restart=60.0))
    assert found.work == 20_000 * 1800
    assert (found.work + found.lost) / found.work == pytest.approx((2.718281828**0.5 - 1) / 0.5, rel=0.02)
    assert found.seconds > (found.work + found.lost) / 10
