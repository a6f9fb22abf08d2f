"""The benchmarks compare what agrees, and their table says what was missed."""

from __future__ import annotations

import math
from itertools import islice

import jax
import numpy as np
import pytest

import circuitflow as cf
from benchmarks import calls, columns, dags, mixtures
from benchmarks.columns import in_numpy
from benchmarks.dags import _UNARY, dag, document, evaluated
from benchmarks.measure import Case, Line, compare, flat, table
from support.suite import ROOT


def test_the_circuit_is_what_the_peers_compute():
    inputs, gates = dag(300)
    functions = type("Functions", (),
                     {**{name: staticmethod(f) for name, f in _UNARY.items()}, "total": staticmethod(sum)})
    circuit = cf.loads(document(inputs, gates))
    assert len(circuit.nodes) == 310
    assert not circuit.unused()
    value, _ = cf.Executor(circuit).compile()()
    assert value == pytest.approx(evaluated(inputs, gates, functions), rel=1e-12)


def test_numpy_by_hand_is_the_staged_example():
    x, y = np.random.RandomState(0).standard_normal((2, 50))
    found = cf.Executor(cf.load(ROOT / "circuits/staged.json")).vmap(engine="staged")(x=x, y=y)
    np.testing.assert_allclose(flat(found), flat(list(in_numpy(x, y))), rtol=1e-9)


def test_the_mixture_is_what_jax_computes():
    made = list(mixtures.cases(20, 3, 2))
    assert len(made) == 2
    for case in made:
        with jax.enable_x64(True):
            expected = flat(case.peers()["jax.jit"]())
        np.testing.assert_allclose(flat(case.ours()), expected, rtol=1e-10)


def test_our_part_of_the_small_cases_runs():
    made = [*calls.cases(), *islice(columns.cases(), 2), *dags.cases((300,))]
    assert len({case.work for case in made}) == 7
    for case in made:
        assert np.all(np.isfinite(flat(case.ours())))


def test_a_peer_that_disagrees_is_not_timed():
    case = Case("work", "call", 1, lambda: [1.0, 2.0],
                lambda: {"right": lambda: (1.0, {"x": 2.0}), "wrong": lambda: [1.0, 2.1]}, {})
    with pytest.raises(AssertionError, match="wrong"):
        compare(case)


@pytest.mark.long
def test_a_bound_holds_for_the_best_of_several():
    def slow():
        return [math.fsum([0.5, 0.5, *[0.0] * 20_000])]

    case = Case("work", "call", 1, lambda: [1.0], lambda: {"quick": lambda: [1.0], "slow": slow},
                {"quick|slow": 0.5, "slow": 0.1}, 3)
    quick, slowly = compare(case)
    assert (quick.peer, quick.most, slowly.peer, slowly.most) == ("quick", 0.5, "slow", 0.1)
    assert slowly.ratio < quick.ratio


def test_the_table():
    lines = [Line("a", "gate", 12.0, "CasADi", 2400.0, 0.005, 0.5), Line("a", "gate", 12.0, "torch", 3e6, 4e-6, None),
             Line("b", "call", 5e9, "", 0, 0, None), Line("c", "call", 2e6, "JAX", 1e6, 2.0, 1.05)]
    assert table(lines, {"a": 100.4}).splitlines()[2:] == [
        "| a | 12 ns a gate | CasADi | 2.4 µs | 0.005 | 0.5 | 100 MiB |",
        "|  |  | torch | 3 ms | 4e-06 |  |  |",
        "| b | 5 s a call |  |  |  |  |  |",
        "| c | 2 ms a call | JAX | 1 ms | 2 | 1.05 (missed) |  |",
    ]
