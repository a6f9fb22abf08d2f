"""Measures loading and scheduling of documents of many gates, and the networkx graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import circuitflow as cf
from benchmarks.dags import Casadi, dag, document
from benchmarks.measure import Case


def cases() -> Iterator[Case]:
    """Each size, beside CasADi, which builds the same expression."""
    for size in (2_000, 200_000, 1_000_000):
        inputs, gates = dag(size)
        text = document(inputs, gates)
        peers = (lambda inputs=inputs, gates=gates: {"CasADi": lambda: _built(inputs, gates)}
                 ) if size < 1_000_000 else dict
        yield Case(f"loading and scheduling {size:,} gates", "gate", size, lambda text=text: _scheduled(text), peers,
                   {"CasADi": 0.4}, 3 if size > 2_000 else 9, once=size > 2_000)
        yield Case(f"the networkx graph of {size:,} gates", "gate", size,
                   partial(_graphed, cf.loads(text)), dict, {}, 3, once=size > 2_000)


def _scheduled(text: str) -> list[float]:
    cf.Executor(cf.loads(text)).plan()
    return []


def _graphed(circuit: Any) -> list[float]:
    vars(circuit).pop("graph", None)
    circuit.graph  # noqa: B018
    return []


def _built(inputs: Any, gates: Any) -> list[float]:
    Casadi(inputs, gates)
    return []
