"""Bounds the memory that a fit takes for its parameters, before it takes it."""

from __future__ import annotations

from circuitflow.document.limits import Limits, amount
from circuitflow.errors import InputError


def check_memory(numbers: int, what: str, remedy: str, limits: Limits) -> None:
    """Refuse so many float64 numbers if they take more than the limit of one tensor.

    Raises:
        InputError: they do; the message says what takes them, and the remedy.
    """
    if 8 * numbers > limits.tensor_bytes:
        raise InputError(f"{what} takes {amount(8 * numbers)}; at most {amount(limits.tensor_bytes)} are "
                         f"allowed (limit tensor_bytes); {remedy}")
