"""Tensors in safetensors files, read through the descriptor of a file that is open already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from circuitflow.document.files import Beside, ValueFaultError
from circuitflow.document.model import DTYPES
from circuitflow.errors import listing, nearest, printable

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
           "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}


class Tensor(NamedTuple):
    """A tensor of an open file, its data not read yet.

    Attributes:
        shape, dtype: as the file says.
        load: reads it.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], NDArray[np.generic]]


@contextmanager
def opened(beside: Beside, name: str) -> Iterator[Tensor]:
    """One tensor of a safetensors file, whose header the library checks: its size, and that no data overlap or miss.

    Raises:
        ValueFaultError: not a safetensors file, no such tensor, or a dtype that circuitflow does not have.
    """
    from safetensors import SafetensorError, safe_open

    shown = printable(beside.path.name, 60)
    try:
        with safe_open(_way_to(beside), framework="numpy") as file:
            names = list(file.keys())
            if name not in names:
                hint = nearest(name, names) or f"; it has {listing(names[:8])}"
                raise ValueFaultError(f"no tensor '{printable(name, 60)}' in '{shown}'{hint}", "tensor")
            view = file.get_slice(name)
            dtype = view.get_dtype()
            if dtype not in _DTYPES:
                raise ValueFaultError(f"tensor '{printable(name, 60)}' is {printable(dtype, 20)}; "
                                      f"expected one of {listing(DTYPES)}", "tensor")
            yield Tensor(tuple(view.get_shape()), _DTYPES[dtype], lambda: file.get_tensor(name))
    except (OSError, SafetensorError):
        raise ValueFaultError(f"'{shown}' is not a safetensors file", "file") from None


def _way_to(beside: Beside) -> str:
    """A path, which is all that the library takes, to what is open already; the file's own where there is none."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        path = f"{folder}/{beside.file.fileno()}"
        if os.path.exists(path):
            return path
    return str(beside.path)
