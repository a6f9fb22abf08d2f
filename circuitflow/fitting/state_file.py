"""The state of a training run in a safetensors file, with its numbers as JSON in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from circuitflow.document.output import write
from circuitflow.errors import InputError
from circuitflow.fitting.training_state import TrainingState
from circuitflow.text import printable

NUMBERS, DTYPES = "circuitflow", "dtypes"
"""Keys of the metadata: the numbers, and dtypes that NumPy's files do not have."""

SHORT = ("bfloat16",)
"""Dtypes that are stored as the bits of integers."""


class _Numbers(BaseModel):
    """The form of the numbers of a state."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: int = Field(ge=0)
    epoch: int = Field(ge=0)
    position: int = Field(ge=0)
    skipped: int = Field(ge=0)
    sums: dict[str, float]
    gradient_norms: dict[str, float]
    history: list[dict[str, float]]
    best: dict[str, float]


_RECORD = {"epoch", "step", "rows", "loss", "gradient_norm"}
_NUMBERS = TypeAdapter(_Numbers)


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state, whole or not at all.

    Raises:
        InputError: the file cannot be written; it is as it was.
    """
    arrays, dtypes = {}, {}
    for name, array in state.arrays.items():
        if str(array.dtype) in SHORT:
            dtypes[name], array = str(array.dtype), array.view(np.uint16)
        arrays[name] = np.array(array, order="C")
    write(path, save(arrays, {NUMBERS: json.dumps(state.numbers), DTYPES: json.dumps(dtypes)}))


def read_state(path: Path) -> TrainingState | None:
    """The state in a file; None where there is none. Its arrays are compared with the run's when it goes on.

    Raises:
        InputError: it cannot be read, or no training wrote it.
    """
    if not path.exists():
        return None
    damage = f"checkpoint: '{printable(str(path), 200)}' was written by no training; give a new folder"
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        numbers, dtypes = json.loads(metadata.get(NUMBERS, "")), json.loads(metadata.get(DTYPES, ""))
        checked = _NUMBERS.validate_python(numbers)
        for name, dtype in dtypes.items():
            if dtype not in SHORT:
                raise InputError(damage)
            arrays[name] = arrays[name].view(dtype)
    except OSError as error:
        raise InputError(f"checkpoint: '{printable(str(path), 200)}' cannot be read: {error.strerror}") from None
    except (SafetensorError, ValidationError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(damage) from None
    if not all(record.keys() >= _RECORD for record in checked.history) or (
            checked.best and checked.best.keys() != {"epoch", "loss"}):
        raise InputError(damage)
    return TrainingState(arrays, **numbers)
