"""Files beside the document: finding them without leaving its folder, and reading tensors from safetensors files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from circuitflow.document.model import DTYPES
from circuitflow.errors import listing, nearest, printable

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
           "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}


class ValueFaultError(ValueError):
    """A value of a document that cannot be used; `path` leads to the place inside the value."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def beside(folder: Path | None, name: str) -> Path:
    """The regular file that a document names.

    Args:
        folder: the document's own folder; None for a text that has none.
        name: a relative path with forward slashes.

    Raises:
        ValueFaultError: the name is absolute, leads out of the folder (through a link too), or is not a regular file.
    """
    shown = f"'{printable(name, 80)}'"
    if folder is None:
        raise ValueFaultError(f"{shown} cannot be read: a document without a folder has no files beside it", "file")
    plain = PurePosixPath(name)
    if (not name or not name.isprintable() or plain.is_absolute() or PureWindowsPath(name).drive or "\\" in name
            or ".." in plain.parts):
        raise ValueFaultError(f"{shown} is not allowed: expected a relative path, with forward slashes and no '..', "
                              "of a file beside or below the document", "file")
    try:
        root = folder.resolve()
        path = (root / plain).resolve()
        inside, regular = path.is_relative_to(root), path.is_file()
    except (OSError, RuntimeError):
        inside, regular = True, False
    if not inside:
        raise ValueFaultError(f"{shown} is not allowed: a link leads out of the document's folder", "file")
    if not regular:
        raise ValueFaultError(f"{shown}: no such file beside the document", "file")
    return path


def spec(path: Path, tensor: str) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of a tensor in a safetensors file, without reading its data.

    Raises:
        ValueFaultError: not a safetensors file, no such tensor, or a dtype that circuitflow does not have.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if tensor not in names:
                hint = nearest(tensor, names) or f"; it has {listing(names[:8])}"
                raise ValueFaultError(f"no tensor '{printable(tensor, 60)}' in '{printable(path.name, 60)}'{hint}",
                                      "tensor")
            view = file.get_slice(tensor)
            shape, dtype = tuple(view.get_shape()), view.get_dtype()
    except (OSError, SafetensorError):
        raise ValueFaultError(f"'{printable(path.name, 60)}' is not a safetensors file", "file") from None
    if dtype not in _DTYPES:
        raise ValueFaultError(f"tensor '{printable(tensor, 60)}' is {printable(dtype, 20)}; "
                              f"expected one of {listing(DTYPES)}", "tensor")
    return shape, _DTYPES[dtype]


def load(path: Path, tensor: str) -> NDArray[np.generic]:
    """The tensor itself."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        array: NDArray[np.generic] = file.get_tensor(tensor)
    return array
