"""Tensors as the content of a safetensors file, without a copy of them in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from circuitflow.document.tensors import FORMAT_OF_DTYPE

ALIGNMENT = 8
"""The header is filled with spaces to a multiple of this, so that the largest elements lie where they can be mapped."""


class TensorContent:
    """The bytes of a safetensors file in pieces: a header, then each tensor.

    The format is that of https://github.com/huggingface/safetensors, whose package makes the bytes in two copies, or
    writes a file without care for a power cut.

    Attributes:
        sha256: the digest of the content, in hexadecimal.
        places: the first byte and the number of bytes of each tensor, by name.
    """

    def __init__(self, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
        self._arrays: list[Any] = []
        header, at = dict[str, dict[str, Any]](), 0
        for name, array in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
            plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            header[name] = {"dtype": FORMAT_OF_DTYPE[str(array.dtype)], "shape": list(array.shape),
                            "data_offsets": [at, at + plain.nbytes]}
            self._arrays.append(plain)
            at += plain.nbytes
        if metadata:
            header["__metadata__"] = {**metadata}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        self._header = len(text).to_bytes(8, "little") + text
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
        self.sha256 = digest.hexdigest()
        start = len(self._header)
        self.places = {name: (start + entry["data_offsets"][0], tensors[name].nbytes) for name, entry in header.items()
                       if name in tensors}

    def file(self, stem: str) -> str:
        """A name for the file. A part of the digest is in it, so it never replaces a file with other contents."""
        return f"{stem}.{self.sha256[:12]}.safetensors"

    def _pieces(self) -> Iterator[Any]:
        yield self._header
        for array in self._arrays:
            if array.nbytes:  # a memory view of no elements has no bytes to cast to
                yield memoryview(array.reshape(-1)).cast("B")

    def write(self, file: BinaryIO) -> None:
        """Write the content to an open file."""
        for piece in self._pieces():
            file.write(piece)
