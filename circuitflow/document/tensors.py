"""Reads tensors from safetensors files, through checked descriptors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from circuitflow.document.base import DTYPES
from circuitflow.document.files import Beside, ValueFaultError, beside, verify
from circuitflow.document.limits import DEFAULT, Limits, amount
from circuitflow.document.model import TensorFile
from circuitflow.text import listing, nearest, printable

DTYPE_OF_FORMAT = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
                   "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}
"""Our dtypes by the names of the format."""
FORMAT_OF_DTYPE = {dtype: name for name, dtype in DTYPE_OF_FORMAT.items()}

Array = NDArray[np.generic]


class Tensor(NamedTuple):
    """A tensor of an open file, its data not read yet.

    Attributes:
        shape, dtype: as the file says.
        load: reads it; the same array every time.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array]


@dataclass
class _Open:
    """An open file: the library's view of it, which needs no descriptor, and the tensors made of it so far."""

    view: Any
    names: dict[str, None]
    digest: str = ""
    arrays: dict[str, Array] = field(default_factory=dict)

    def load(self, name: str) -> Array:
        if name not in self.arrays:
            self.arrays[name] = self.view.get_tensor(name)
        return self.arrays[name]


class TensorFiles:
    """The tensor files of a document while it is read: however many tensors it names, each header is read once.

    Attributes:
        limits: how large they may be.
    """

    def __init__(self, limits: Limits = DEFAULT, nearest: Callable[[str, Collection[str]], str] = nearest) -> None:
        """Begin without files; `nearest` suggests the nearest right spelling of a tensor's name."""
        self.limits, self._nearest = limits, nearest
        self._open: dict[tuple[int, int], _Open] = {}
        self._headers = self._digest_bytes = 0

    def tensor(self, folder: Path | None, value: TensorFile) -> Tensor:
        """The tensor that a value names, in a file of the document's folder that must have the digest, if any.

        Raises:
            ValueFaultError: there is no such file, or it leads out of the folder, is no safetensors file, too large, or
                has another digest; there is no such tensor, or it has a dtype that circuitflow does not have.
        """
        with beside(folder, value.file) as source:
            key = source.status.st_dev, source.status.st_ino  # which no other file has while this one is in use
            file = self._open.get(key)
            digest = file.digest if file else ""
            if value.sha256 is not None:
                digest = digest or self._digest(source)
                verify(value.file, digest, value.sha256)
            if file is None:
                file = self._open[key] = self._read(source)
            file.digest = digest
        name = printable(value.tensor, 60)
        if value.tensor not in file.names:
            hint = self._nearest(value.tensor, file.names) or f"; it has {listing(file.names)}"
            raise ValueFaultError(f"no tensor '{name}' in '{source.name}'{hint}", "tensor")
        view = file.view.get_slice(value.tensor)
        dtype = view.get_dtype()
        if dtype not in DTYPE_OF_FORMAT:
            raise ValueFaultError(f"tensor '{name}' is {printable(dtype, 20)}; expected one of {listing(DTYPES)}",
                                  "tensor")
        return Tensor(tuple(view.get_shape()), DTYPE_OF_FORMAT[dtype], lambda: file.load(value.tensor))

    def _digest(self, source: Beside) -> str:
        size, limit = self._digest_bytes + source.status.st_size, self.limits.run_bytes
        if size > limit:
            raise ValueFaultError(f"with '{source.name}', digests of {amount(size)} are to be taken; at most "
                                  f"{amount(limit)} are read for them (limit run_bytes)", "file")
        self._digest_bytes = size
        return hashlib.file_digest(source.file, "sha256").hexdigest()

    def _read(self, source: Beside) -> _Open:
        """A file's header; the library checks that the data neither overlap nor miss."""
        from safetensors import SafetensorError, safe_open

        source.file.seek(0)
        size, limit = int.from_bytes(source.file.read(8), "little"), self.limits.header_bytes
        if size < source.status.st_size:  # otherwise the library says that it is none, without reading it
            if self._headers + size > limit:
                raise ValueFaultError(f"with '{source.name}', the headers of tensor files take "
                                      f"{amount(self._headers + size)}; at most {amount(limit)} are read "
                                      "(limit header_bytes)", "file")
            self._headers += size
        try:
            view: Any = safe_open(path_to(source.file, str(source.path)), framework="numpy")
        except (OSError, SafetensorError):
            raise ValueFaultError(f"'{source.name}' is not a safetensors file", "file") from None
        return _Open(view, dict.fromkeys(view.keys()))


def path_to(file: BinaryIO, path: str) -> str:
    """A path to an open file, since the library takes paths only; the file's own path where there is no such path."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        descriptor = f"{folder}/{file.fileno()}"
        if os.path.exists(descriptor):
            return descriptor
    return path
