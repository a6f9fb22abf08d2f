"""Files that are written: a file is replaced whole or not at all, a pipe or a device is written to."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from circuitflow.errors import InputError
from circuitflow.text import printable

PATIENCE = 10.0
"""Seconds to wait for a reader of a named pipe."""


class Stream(io.FileIO):
    """An open file whose failures are InputErrors that name it.

    Only its first failure is raised: what is written afterwards is dropped, so that closing it is quiet.

    Attributes:
        has_failed: whether something could not be written.
    """

    def __init__(self, descriptor: int, mode: str, name: str, *, remark: str = "", closefd: bool = True) -> None:
        """Take over a descriptor; the name is safe for a terminal, and the remark ends the message of a failure."""
        super().__init__(descriptor, mode, closefd=closefd)
        self.label, self.remark, self.has_failed = name, remark, False

    def write(self, data: Any) -> int:
        """As `io.FileIO.write`.

        Raises:
            InputError: it failed, for the first time.
        """
        if self.has_failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self.has_failed = True
            raise InputError(f"{self.label} cannot be written: {_reason(error)}{self.remark}") from None

    def readinto(self, buffer: Any) -> int:
        """As `io.FileIO.readinto`.

        Raises:
            InputError: it failed.
        """
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise InputError(f"{self.label} cannot be read: {_reason(error)}") from None

    def readall(self) -> bytes:
        """All that is left, by `readinto`."""
        pieces, buffer = [], bytearray(2**16)
        while count := self.readinto(buffer):
            pieces.append(bytes(buffer[:count]))
        return b"".join(pieces)


def _reason(error: OSError) -> str:
    return "it is not open for that" if error.errno == errno.EBADF else str(error.strerror)


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write content, as `writer` does.

    Raises:
        InputError: the file cannot be written; a regular file is left as it was.
    """
    with writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to.

    A regular file is replaced at the end, whole or not at all. The new file is written beside the old one and synced to
    disk before it replaces it; the folder is synced afterwards. After a power cut the file is the old one or the new
    one. Links are followed. The new file has the owner, group, mode, access control list and extended attributes of the
    old one; a warning to the logger `circuitflow` names those that the system refuses. A process that ends early leaves
    no unfinished file. Where the system has no files without names, this holds for SIGTERM and SIGHUP only.

    A named pipe, a character device and an open descriptor of this process, such as /dev/stdout, are written to.

    Errors of the caller's own code pass through unchanged.

    Raises:
        InputError: the file cannot be written; a regular file is left as it was.
    """
    name = os.fspath(path)
    label = f"'{printable(name, 1000)}'"
    remark = "; the file is as it was"
    with _input_errors(label, remark):
        descriptor, old = _destination(name, label)
        target = Path(_follow_links(name))
        stream = None if descriptor is None else Stream(descriptor, "w", label)
    if stream is not None:
        with io.BufferedWriter(stream) as file:
            yield file
        return
    # An incomplete file has no name where the system allows that, else a short one. A file that replaces another is
    # private until it has the mode of the old one.
    temporary = target.with_name(f".circuitflow.{os.urandom(8).hex()}.part")
    mode, losses = 0o600 if old else 0o666, list[str]()
    descriptor = _without_name(target.parent, mode)
    has_name = descriptor is None
    with _remove_at_end(temporary) if has_name else nullcontext():
        if descriptor is None:
            with _input_errors(label, remark):
                descriptor = os.open(temporary, _NEW, mode)
        with io.BufferedWriter(Stream(descriptor, "w", label, remark=remark)) as file:
            yield file
            file.flush()
            with _input_errors(label, remark):
                losses = _keep(descriptor, target, old) if old else []
                os.fsync(descriptor)
                if not has_name:
                    with _remove_at_end(temporary):
                        # With a folder, which is of no account here, os.link follows links.
                        os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor)
                        os.replace(temporary, target)
        if has_name:
            with _input_errors(label, remark):
                os.replace(temporary, target)
    _flush_folder(target.parent)
    if losses:
        logging.getLogger("circuitflow").warning("%s is written, but %s", label, " and ".join(losses))


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a name stands for a pipe, a device or an open descriptor, which is written to and not replaced."""
    try:
        return _own_descriptor(os.fspath(path)) is not None or _is_written_to(os.stat(path).st_mode)
    except OSError:
        return False


@contextmanager
def _input_errors(label: str, remark: str) -> Iterator[None]:
    """Turn errors of the system into InputErrors."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{label} cannot be written: {_reason(error)}{remark}") from None


def _destination(name: str, label: str) -> tuple[int | None, os.stat_result | None]:
    """A descriptor to write to, or else what is known of the regular file there, if any.

    Raises:
        OSError, InputError: it is nothing that can be written.
    """
    own = _own_descriptor(name)
    if own is not None:
        return os.dup(own), None
    if not name or name.endswith(("/", os.sep)):
        raise InputError(f"{label} cannot be written: it names no file")
    try:
        old = os.stat(name)
    except FileNotFoundError:
        return None, None
    if _is_written_to(old.st_mode):
        return _open(name, old, label), None
    if not stat.S_ISREG(old.st_mode):
        kind = "folder" if stat.S_ISDIR(old.st_mode) else "socket" if stat.S_ISSOCK(old.st_mode) else "block device"
        raise InputError(f"{label} cannot be written: it is a {kind}; expected a file")
    if not os.access(name, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return None, old


def _is_written_to(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _own_descriptor(name: str) -> int | None:
    """The descriptor of this process that a name such as /dev/stdout or /dev/fd/3 stands for."""
    folder, last = os.path.split(_follow_links(name))
    if last.isdecimal() and _is_table_of_descriptors(folder):
        return int(last)
    return None


def _follow_links(name: str) -> str:
    """Follows links, up to the name of a descriptor; stops after 40, as links may form a circle."""
    for _ in range(40):
        folder, last = os.path.split(name)
        if not os.path.islink(name) or (last.isdecimal() and _is_table_of_descriptors(folder)):
            break
        name = os.path.join(folder, os.readlink(name))
    return name


def _is_table_of_descriptors(folder: str) -> bool:
    return os.path.realpath(folder) in ("/dev/fd", f"/proc/{os.getpid()}/fd")


def _open(name: str, status: os.stat_result, label: str) -> int:
    """Opens a named pipe or a device for writing; waits for a reader of the pipe."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            # Without O_NONBLOCK, opening a pipe that nothing reads from would wait for ever.
            descriptor = os.open(name, _OLD)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(status.st_mode):
                raise
            if time.monotonic() > end:
                raise InputError(f"{label} cannot be written: nothing reads from this pipe") from None
            time.sleep(0.02)
    if not os.path.samestat(status, os.fstat(descriptor)):
        os.close(descriptor)
        raise InputError(f"{label} cannot be written: it was exchanged meanwhile")
    os.set_blocking(descriptor, True)
    return descriptor


_WRITING = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW = _WRITING | os.O_CREAT | os.O_EXCL
_OLD = _WRITING | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_temporaries: dict[Path, int] = {}


def _without_name(folder: Path, mode: int) -> int | None:
    """A new file without a name, which the system removes when the process ends; None where it has no such files."""
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):
            descriptor = os.open(folder, _WRITING | os.O_TMPFILE, mode)
            if os.path.exists(f"/proc/self/fd/{descriptor}"):  # by which it gets its name
                return descriptor
            os.close(descriptor)
    return None


@contextmanager
def _remove_at_end(temporary: Path) -> Iterator[None]:
    """Remove a file at the end, if it still has this name; also where SIGTERM or SIGHUP ends the process."""
    _temporaries[temporary] = os.getpid()  # a child that is forked meanwhile removes nothing
    signals = []
    if threading.current_thread() is threading.main_thread():
        # The handlers of the program stay.
        signals = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
        for number in signals:
            signal.signal(number, _end)
    try:
        yield
    finally:
        with suppress(OSError):
            temporary.unlink()
        del _temporaries[temporary]
        for number in signals:
            if signal.getsignal(number) is _end:
                signal.signal(number, signal.SIG_DFL)


_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _end(number: int, _: Any) -> None:
    """Remove what is unfinished, and let the signal end the process."""
    for temporary, process in list(_temporaries.items()):
        if process == os.getpid():
            with suppress(OSError):
                temporary.unlink()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _keep(descriptor: int, target: Path, old: os.stat_result) -> list[str]:
    """Copies owner, group, mode and attributes to a new file. Returns what the system refused, in words."""
    mode, losses = stat.S_IMODE(old.st_mode), []
    new = os.fstat(descriptor)
    if new.st_gid != old.st_gid and not _succeeds(os.fchown, descriptor, -1, old.st_gid):
        # The new group gets no more than everybody has.
        mode &= ~0o2070 | (mode & 0o007) << 3
        losses.append(f"its group is {new.st_gid} now, not {old.st_gid}")
    if new.st_uid != old.st_uid and not _succeeds(os.fchown, descriptor, old.st_uid, -1):
        mode &= ~0o4000
        losses.append(f"its owner is {new.st_uid} now, not {old.st_uid}")
    attributes = _attributes(target)
    here = _attributes(descriptor)
    if _ACL in here and _ACL not in attributes:  # a default of the folder, for new files
        _succeeds(os.removexattr, descriptor, _ACL)
    refusals = [name for name, value in attributes.items()
                if here.get(name) != value and not _succeeds(os.setxattr, descriptor, name, value)]
    if refusals:
        losses.append(f"without its attributes {', '.join(printable(name, 60) for name in refusals)}")
    if hasattr(os, "fchmod") and not _succeeds(os.fchmod, descriptor, mode):
        losses.append(f"its mode is {stat.S_IMODE(os.fstat(descriptor).st_mode):o} now, not {mode:o}")
    if old.st_nlink > 1:
        losses.append(f"its other names ({old.st_nlink - 1} hard links) have the old contents")
    return losses


_ACL = "system.posix_acl_access"


def _attributes(file: Path | int) -> dict[str, bytes]:
    """The extended attributes of a file, access control lists among them, where the system has any."""
    if not hasattr(os, "listxattr"):
        return {}
    attributes = {}
    with suppress(OSError):
        for name in os.listxattr(file):
            attributes[name] = os.getxattr(file, name)
    return attributes


def _succeeds(function: Any, *arguments: Any) -> bool:
    """Whether the system does it."""
    try:
        function(*arguments)
    except OSError:
        return False
    return True


def _flush_folder(folder: Path) -> None:
    """Syncs a folder to disk, where the system opens folders."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):  # a folder that cannot be read can be written to
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
