"""The steps or epochs of a fit as columns of a table. It has no clock times: the same fit leaves the same table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.fitting.outcome import Step

SHOWN = 50
"""The most elements of parameters that have a column of their own."""


def history(steps: Sequence[Step], names: Sequence[str]) -> dict[str, Any]:
    """Columns by name: step, passes over the data, objective, gradient norm; and elements of parameters, if few.

    Args:
        steps: the steps.
        names: the names of the elements.
    """
    columns = {"step": np.array([step.number for step in steps], np.int64),
               "evaluations": np.array([step.evaluations for step in steps], np.int64),
               "objective": np.array([step.objective for step in steps], np.float64),
               "gradient_norm": np.array([step.gradient_norm for step in steps], np.float64)}
    if len(names) <= SHOWN:
        points = np.array([step.x for step in steps], np.float64).reshape(len(steps), len(names))
        columns |= {f"parameter {name}": column for name, column in zip(names, points.T, strict=True)}
    return columns


def history_of_training(records: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Columns by name: epoch, step, rows, loss, gradient norm, metrics, and those of the validation.

    Args:
        records: those of a training run, in order; see `FitResult.history`.
    """
    names = records[0] if records else ("epoch", "step", "rows", "loss", "gradient_norm")
    return {name: np.array([record[name] for record in records],
                           np.int64 if name in ("epoch", "step", "rows") else np.float64) for name in names}
