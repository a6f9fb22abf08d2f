"""Files beside a document. Each is opened once and checked by its descriptor, which cannot lead out of the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from circuitflow.text import is_shown, printable

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
        status: what is known of what is open.
    """

    file: BufferedReader
    path: Path
    status: os.stat_result

    @property
    def name(self) -> str:
        """Its name, safe for a terminal."""
        return printable(self.path.name, 60)


def check_name(name: str) -> PurePosixPath:
    """The path that a document names, which leads to a file beside or below the document wherever that lies.

    Raises:
        ValueFaultError: it is absolute, leads up, or means something else on another system.
    """
    plain = PurePosixPath(name)
    # A colon is a drive, the scheme of a URL or a stream of another file, on one system or another.
    if (not name or not is_shown(name) or plain.is_absolute() or "\\" in name or ":" in name
            or ".." in plain.parts):
        raise ValueFaultError(f"'{printable(name, 80)}' is not allowed: expected a relative path, with forward slashes "
                              "and no '..', of a file beside or below the document", "file")
    return plain


@contextmanager
def beside(folder: Path | None, name: str) -> Iterator[Beside]:
    """The regular file that a document names, opened once. All checks are made on the open file.

    Links are followed while they stay in the folder. Then every folder on the way is opened without following links, so
    that a link that appears meanwhile is refused. A text has no folder.

    Raises:
        ValueFaultError: the name is absolute or leads out of the folder, also through a link; or what is there is no
            regular file, or has other names too.
    """
    label = f"'{printable(name, 80)}'"
    if folder is None:
        raise ValueFaultError(f"{label} cannot be read: a document without a folder has no files beside it", "file")
    plain = check_name(name)
    missing = ValueFaultError(f"{label}: no such file beside the document", "file")
    try:
        root = folder.resolve()
        path = (root / plain).resolve()
        descriptor = _descend(root, path.relative_to(root).parts) if path.is_relative_to(root) else None
    except (OSError, RuntimeError):
        raise missing from None
    if descriptor is None:
        raise ValueFaultError(f"{label} is not allowed: a link leads out of the document's folder", "file")
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise missing
        if status.st_nlink > 1:
            raise ValueFaultError(f"{label} is not allowed: the file has {status.st_nlink} hard links, so it may "
                                  "belong elsewhere; copy it", "file")
        yield Beside(file, path, status)


def verify(name: str, digest: str, sha256: str | None) -> None:
    """Compare the digest of a file with the one that a document names, if any, both in hexadecimal.

    Raises:
        ValueFaultError: they differ.
    """
    if sha256 is not None and digest != sha256.lower():
        raise ValueFaultError(f"'{printable(name, 80)}' has the SHA-256 digest {digest}; expected {sha256.lower()}",
                              "sha256")


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
        # Nothing but a file is opened: opening a device may have an effect.
        if not stat.S_ISREG(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
            raise IsADirectoryError
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
