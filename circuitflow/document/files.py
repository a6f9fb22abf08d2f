"""Files beside a document: opened once, by a descriptor that cannot lead out of its folder, and checked on it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from circuitflow.errors import printable

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_FILE = _FLAGS | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FOLDER = _FLAGS | getattr(os, "O_DIRECTORY", 0)


class ValueFaultError(ValueError):
    """A value of a document that cannot be used; `path` leads to the place inside the value."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


class Beside(NamedTuple):
    """A file beside a document.

    Attributes:
        file: open for reading.
        path: where it lies, every link resolved.
    """

    file: BinaryIO
    path: Path


@contextmanager
def beside(folder: Path | None, name: str, sha256: str | None = None) -> Iterator[Beside]:
    """The regular file that a document names, opened once; everything is checked on what was opened.

    Links are followed while they stay in the folder; then every folder on the way is opened without following any, so
    that one that is put there in between is refused.

    Args:
        folder: the document's own folder; None for a text that has none.
        name: a relative path with forward slashes.
        sha256: what the file's digest must be, in hexadecimal.

    Raises:
        ValueFaultError: the name is absolute or leads out of the folder, also through a link; or what is there is no
            regular file, has other names too, or another digest.
    """
    shown = f"'{printable(name, 80)}'"
    if folder is None:
        raise ValueFaultError(f"{shown} cannot be read: a document without a folder has no files beside it", "file")
    plain = PurePosixPath(name)
    # A colon is a drive, the scheme of a URL or a stream of another file, on one system or another.
    if (not name or not name.isprintable() or plain.is_absolute() or "\\" in name or ":" in name
            or ".." in plain.parts):
        raise ValueFaultError(f"{shown} is not allowed: expected a relative path, with forward slashes and no '..', "
                              "of a file beside or below the document", "file")
    missing = ValueFaultError(f"{shown}: no such file beside the document", "file")
    try:
        root = folder.resolve()
        path = (root / plain).resolve()
        descriptor = _descend(root, path.relative_to(root).parts) if path.is_relative_to(root) else None
    except (OSError, RuntimeError):
        raise missing from None
    if descriptor is None:
        raise ValueFaultError(f"{shown} is not allowed: a link leads out of the document's folder", "file")
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise missing
        if status.st_nlink > 1:
            raise ValueFaultError(f"{shown} is not allowed: the file has {status.st_nlink} hard links, so it may "
                                  "belong elsewhere; copy it", "file")
        if sha256 is not None:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256.lower():
                raise ValueFaultError(f"{shown} has the SHA-256 digest {found}; expected {sha256.lower()}", "sha256")
            file.seek(0)
        yield Beside(file, path)


def _descend(root: Path, parts: Sequence[str]) -> int:
    """A descriptor of a file below a folder, no link followed on the way.

    Raises:
        OSError: there is none, or something on the way is not what it was.
    """
    if os.open not in os.supports_dir_fd:  # Windows, where links need a privilege of their own
        return os.open(root.joinpath(*parts), _FILE)
    if not parts:
        raise IsADirectoryError
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        # What is no file is not even opened: a device may act on that.
        if not stat.S_ISREG(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
            raise IsADirectoryError
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
