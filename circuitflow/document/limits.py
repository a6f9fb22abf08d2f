"""Limits on sizes. What exceeds a limit is refused before anything is allocated for it."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from circuitflow.arguments import need_choice
from circuitflow.errors import InputError
from circuitflow.text import printable, short


@dataclass(frozen=True, slots=True, repr=False)
class Limits:
    """The budget of a document from a stranger. Every limit is a whole number, 1 or more.

    Attributes:
        document_bytes: of a document, and of every file of subcircuits.
        header_bytes: of the headers of all tensor files together.
        nodes: of the circuit, once all calls are expanded: about 2 KiB each, 4 when it is differentiated.
        nesting: how deep circuits may be defined inside one another, and calls nest.
        digits: of one number.
        text: characters of one text.
        tensor_bytes: of one tensor, read, made or computed.
        run_bytes: of the values of all nodes together, and of the files that digests are taken of.
    """

    document_bytes: int = 2**30
    header_bytes: int = 2**24
    nodes: int = 2_000_000
    nesting: int = 64
    digits: int = 1000
    text: int = 1_000_000
    tensor_bytes: int = 2**32
    run_bytes: int = 2**36

    def __post_init__(self) -> None:
        need_counts(self, "limit {} is {}; expected a whole number, 1 or more")
        if self.digits > (most := sys.get_int_max_str_digits() or self.digits):
            raise InputError(f"limit digits is {self.digits}; Python reads numbers of at most {most}")
        if self.nesting > 100:
            raise InputError(f"limit nesting is {self.nesting}; at most 100, because Python's own calls nest with each "
                             "level")

    def __repr__(self) -> str:
        return in_short(self)

    @classmethod
    def of(cls, **limits: int) -> Limits:
        """Limits by name, the others at their defaults.

        Raises:
            InputError: there is no such limit, or it is no whole number, 1 or more.
        """
        for name in limits:
            need_choice("limit", name, [field.name for field in fields(cls)], limit=40)
        return cls(**limits)


def need_counts(record: Any, message: str) -> None:
    """Refuse a record of numbers one of which is no whole number from 1; the message has its name and its value.

    Raises:
        InputError: with the message.
    """
    for field in fields(record):
        value = getattr(record, field.name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(message.format(field.name, short(value)))


def in_short(record: Any) -> str:
    """A record of numbers in short: the fields that are not at their defaults."""
    values = [(field.name, getattr(record, field.name)) for field in fields(record)
              if getattr(record, field.name) != field.default]
    return f"{type(record).__name__}({', '.join(f'{name}={value}' for name, value in values)})"


DEFAULT = Limits()


class Budget:
    """The bytes that the tensors of a run may take, and those that are counted so far."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits, self.total = limits, 0

    def spend(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Count one more tensor. Returns what is wrong with it, or None."""
        size, limits = size_of(shape, dtype), self.limits
        if 0 in shape and size_of(tuple(filter(None, shape)), dtype) >= 2**63:  # which NumPy counts, though it is empty
            return f"no array has the shape {printable(str(shape), 80)}; expected sizes whose product is below 2^63"
        if size > limits.tensor_bytes:
            return (f"a {dtype} tensor of shape {printable(str(shape), 80)} takes {amount(size)}; at most "
                    f"{amount(limits.tensor_bytes)} are allowed (limit tensor_bytes)")
        if self.total + size > limits.run_bytes:
            return (f"with a {dtype} tensor of shape {printable(str(shape), 80)} the values so far take "
                    f"{amount(self.total + size)}; at most {amount(limits.run_bytes)} are allowed (limit run_bytes)")
        self.total += size
        return None


def size_of(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes of a tensor."""
    return math.prod(shape) * (2 if dtype == "bfloat16" else np.dtype(dtype).itemsize)  # NumPy has no bfloat16


def amount(size: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g} {unit}" if size < 10**300 else f"more than 10^300 {unit}"
    return f"{size} bytes"
