"""Safetensors files as tables: a column is a tensor, whose first axis is that of the rows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from circuitflow.document.limits import Limits, amount
from circuitflow.document.tensors import DTYPE_OF_FORMAT, path_to
from circuitflow.errors import InputError
from circuitflow.tables.reader import Batch, Reader, Selection
from circuitflow.text import listing, printable

ENDING = ".safetensors"

BYTES = 2**25
"""Bytes of the columns that are read at a time."""


class TensorColumns(Reader):
    """The tensors of an open file.

    The library checks the header: that tensors neither overlap nor reach beyond the file. Rows are read from the file,
    and not from a map of it, so that a file that is cut short meanwhile is an error and no crash.
    """

    def __init__(self, file: BinaryIO, path: str, shown: str, limits: Limits) -> None:
        """Read the header of a file.

        Raises:
            InputError: it is no safetensors file, or its header is too large.
        """
        from safetensors import SafetensorError, safe_open

        self._file, self.place = file, shown
        size, whole = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
        if limits.header_bytes < size < whole:
            raise InputError(f"{shown}: its header takes {amount(size)}; at most {amount(limits.header_bytes)} are "
                             "read (limit header_bytes)")
        try:
            safe_open(path_to(file, path), framework="numpy")
        except (OSError, SafetensorError):
            raise InputError(f"{shown}: it is not a safetensors file, or is damaged") from None
        header: Mapping[str, Any] = json.loads(file.read(size))
        self._tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        self._begin, self.names = 8 + size, list(self._tensors)

    def batches(self, selection: Selection) -> Iterator[Batch]:
        """The rows in order."""
        tensors = {name: self._tensors[self.names[position]] for name, (position, _) in selection.inputs.items()}
        dtypes, widths, lengths = {}, {}, {}
        for name, tensor in tensors.items():
            label = f"{self.place}: tensor '{printable(name, 60)}'"
            if tensor["dtype"] not in DTYPE_OF_FORMAT:
                raise InputError(f"{label} is {printable(tensor['dtype'], 20)}; expected one of "
                                 f"{listing(DTYPE_OF_FORMAT.values())}")
            if not tensor["shape"]:
                raise InputError(f"{label} has no axis; expected that of the rows in front")
            dtypes[name], lengths[name] = np.dtype(DTYPE_OF_FORMAT[tensor["dtype"]]), tensor["shape"][0]
            widths[name] = math.prod(tensor["shape"][1:]) * dtypes[name].itemsize
        if len(set(lengths.values())) > 1:
            raise InputError(f"{self.place}: tensors of different lengths: "
                             + ", ".join(f"'{printable(name, 60)}' has {length}" for name, length in lengths.items()))
        rows = next(iter(lengths.values()), 0)
        step = max(1, BYTES // max(1, sum(widths.values())))
        for first in range(0, rows, step):
            count = min(step, rows - first)
            yield Batch(first + 1, count, {
                name: self._read(tensor["data_offsets"][0] + first * widths[name], count * widths[name],
                                 dtypes[name]).reshape(count, *tensor["shape"][1:])
                for name, tensor in tensors.items()}, [], self.at)

    def _read(self, place: int, size: int, dtype: np.dtype[Any]) -> Any:
        self._file.seek(self._begin + place)
        content = self._file.read(size)
        if len(content) < size:
            raise InputError(f"{self.place}: the file was cut short while it was read; fit again when it is "
                             "complete")
        return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False)
