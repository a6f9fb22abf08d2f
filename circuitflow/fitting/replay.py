"""Replays a batch that a training step refused, gate by gate, to say at which node and row a number is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from circuitflow.errors import GateError
from circuitflow.fitting.modes import as_seed, fresh_seed
from circuitflow.fitting.step import Objective
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.passes import forward_pass, reverse_sweep
from circuitflow.interpreter.result import Result
from circuitflow.interpreter.vocabulary import Vocabulary


def words_of_failure(objective: Objective, arrays: Mapping[str, Any], rows: Any, columns: Mapping[str, Any],
                     step: int) -> str:
    """What is not finite in a batch, in words.

    Rows are tried one by one first, then the batch as a whole.

    Args:
        objective: what is trained.
        arrays: all sources but the columns, by id.
        rows: the numbers of the rows of the batch, from 0.
        columns: their values by input.
        step: how many steps were taken before.
    """
    with np.errstate(all="ignore"):
        for i, row in enumerate(rows.tolist() if columns else ()):
            part = slice(i, i + 1) if objective.data.batch else i
            one = {name: column[part] for name, column in columns.items()}
            if words := _words(objective, arrays, one, step, i if objective.over_rows else 0):
                return f"row {row + 1}: {words}"
        words = None if objective.over_rows else _words(objective, arrays, columns, step, 0)
    shown = ", ".join(str(row + 1) for row in rows[:8].tolist()) + (", …" if len(rows) > 8 else "")
    return f"rows {shown}: {words or 'the loss or the norm of the gradient is not finite'}"


def _words(objective: Objective, arrays: Mapping[str, Any], columns: Mapping[str, Any], step: int,
           number: int) -> str | None:
    """What is not finite in one run of the interpreter; None where all is."""
    circuit = objective.circuit
    plan = objective.plan(circuit, objective.outputs, objective.wrt)
    seeds = {name: as_seed(np, fresh_seed(np, arrays[name], objective.seed, step, number), arrays[name].dtype)
             for name in objective.seeds}
    everything = {**arrays, **columns, **seeds}
    try:
        values = forward_pass(plan, Bound(np, {name: np.asarray(everything[name]) for name in plan.sources}, {}))
        upstream = {text: objective.weight(np, text, values[slot]) for text, slot in plan.of.items()}
        gradients, contributions = reverse_sweep(plan, Vocabulary(np, circuit.gates), values,
                                                 plan.seeds({text: g for text, g in upstream.items() if g is not None}))
    except GateError as error:
        return str(error)
    named = dict(zip(plan.names, gradients, strict=True))
    result = Result(circuit, {}, dict(zip(plan.names, values, strict=True)),
                    {name: g for name, g in named.items() if g is not None}, contributions)
    found = result.non_finite()
    return None if found is None else str(found)
