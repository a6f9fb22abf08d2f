"""Whom `why` blames for a gradient, and what it suggests."""

from __future__ import annotations

import pytest

import circuitflow as cf
from support.faulty_circuits import KINDS, faulty, healthy


def why(subject, wrt, **options):
    return cf.Executor(subject).run(**options).why(wrt)


def blamed(diagnosis):
    return {blame.node for blame in diagnosis.blamed}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_is_blamed_alone(kind, seed):
    subject, culprit = faulty(kind, seed)
    found = why(subject, "x")
    assert (found.verdict, blamed(found), found.ok) == (KINDS[kind], {culprit}, False)


def test_nothing_is_blamed_in_healthy_circuits():
    for seed in range(100):
        result = cf.Executor(healthy(seed)).run()
        for name in result.circuit.inputs:
            found = result.why(name)
            assert (found.verdict, found.blamed) == ("healthy", ()), (seed, str(found))
