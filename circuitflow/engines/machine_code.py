"""Keeps machine code on disk, so that a later process does not compile it again.

There is one file for each function, signature and processor. Its name is a digest of all that the code depends on; it
begins with a digest of its name and contents. A damaged, renamed, missing or outdated file is compiled anew and never
an error.
The contents are a pickle, so a file is read only where no other user can have written it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import tempfile
from contextlib import suppress
from inspect import getsource
from pathlib import Path
from typing import Any

LIMIT = 2**28
"""Bytes of all files together. Above it the least recently used files are removed."""

SUFFIX = ".nbc"

_LOG = logging.getLogger("circuitflow")


def keep(function: Any, *sources: Any) -> Any:
    """Keep the machine code of a function; where that is impossible, every process compiles it.

    `sources` are what the code is made from: texts, and functions or modules that have one. numba offers no interface
    for this. All that circuitflow uses of its inside stands here. A failure is a message of the logger `circuitflow`,
    at level debug.
    """
    try:
        texts = [source if isinstance(source, str) else getsource(source) for source in sources]
        function._cache = _cache_of(texts)
    except Exception as error:  # a version of numba that has changed, or no source to compare
        _LOG.debug("machine code is not kept: %r", error)
    return function


def _cache_of(texts: list[str]) -> Any:
    """The cache that numba reads before it compiles, and writes afterwards."""
    import llvmlite
    import numba
    from numba.core import compiler, serialize
    from numba.core.caching import NullCache

    rebuild: Any = compiler.CompileResult._rebuild
    dumps: Any = serialize.dumps

    class Kept(NullCache):
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                target_context.refresh()
                data = read(self._name(sig, target_context.codegen()))
                return rebuild(target_context, *pickle.loads(data)) if data else None  # noqa: S301
            except Exception as error:
                _LOG.debug("kept machine code is not used: %r", error)
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                if not data.lifted and not data.library.has_dynamic_globals:
                    write(self._name(sig, data.codegen), dumps(data._reduce()))
            except Exception as error:
                _LOG.debug("machine code is not kept: %r", error)

        def _name(self, sig: Any, codegen: Any) -> str:
            config = [getattr(numba.config, name, None) for name in ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE",
                                                                     "USING_SVML", "BOUNDSCHECK")]
            parts = (numba.__version__, llvmlite.__version__, sys.version, sys.implementation.cache_tag, config,
                     codegen.magic_tuple(), str(sig), texts)
            return hashlib.sha256(repr(parts).encode()).hexdigest() + SUFFIX

    return Kept()


def folder() -> Path:
    """The folder of the files: below `NUMBA_CACHE_DIR`, which numba reads too, else the user's folder for caches.

    Raises:
        RuntimeError: the user has no home.
    """
    if cache_folder := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(cache_folder) / "circuitflow"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "circuitflow" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "circuitflow"
    cache_folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache_folder) if os.path.isabs(cache_folder) else Path.home() / ".cache") / "circuitflow"


def read(name: str) -> bytes | None:
    """The contents of a file; None where there is none, it is damaged, or another user can have written it."""
    path = folder() / name
    try:
        with open(path, "rb") as file:
            if not (_is_private(os.stat(path.parent)) and _is_private(os.fstat(file.fileno()))):
                _LOG.debug("kept machine code is not used: others can write to %s", path)
                return None
            digest, data = file.read(32), file.read()
    except OSError:
        return None
    if _digest(name, data) != digest:
        _LOG.debug("kept machine code is damaged: %s", path)
        return None
    with suppress(OSError):
        os.utime(path)  # the time of last use
    return data


def write(name: str, data: bytes) -> None:
    """Put contents in a file, whole or not at all, and remove old files above the limit.

    Raises:
        OSError: the folder cannot be written to.
    """
    path = folder() / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(os.stat(path.parent)):
        raise PermissionError(f"others can write to {path.parent}")
    descriptor, temporary = tempfile.mkstemp(SUFFIX, dir=path.parent)  # which others cannot write to
    try:
        with open(descriptor, "wb") as file:
            file.write(_digest(name, data) + data)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _make_room(path.parent)


def _digest(name: str, data: bytes) -> bytes:
    """What a file begins with."""
    return hashlib.sha256(name.encode() + data).digest()


def _is_private(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and no other user can write to it."""
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)


def _make_room(where: Path) -> None:
    files = []
    for path in where.glob("*" + SUFFIX):
        with suppress(OSError):  # another process has removed it
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= LIMIT:
            return
        with suppress(OSError):
            path.unlink()
            total -= size
