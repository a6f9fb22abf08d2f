"""Compiles C with the compiler of the system, and loads it. Libraries are kept on disk as `machine_code` keeps files.

A library is loaded from a fresh folder that no other user can enter, after the digest of its contents was compared: no
link and no other writer comes between.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakValueDictionary, finalize

from circuitflow.engines.machine_code import SUFFIX, read, write
from circuitflow.errors import InputError
from circuitflow.text import printable

FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")
"""With these, sums, products, quotients and roots have the bits of Python."""

_LOADED: WeakValueDictionary[str, ctypes.CDLL] = WeakValueDictionary()
"""The libraries of this process, by digest. One is unloaded when nothing refers to it. A function of it does, as ctypes
has it, and whoever runs a function holds that, so that no thread is inside."""


def command() -> list[str]:
    """The command of the compiler: what the environment variable `CC` says, or `cc`.

    Raises:
        InputError: there is none, or `CC` is no command.
    """
    try:
        words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise InputError(f"the environment variable CC cannot be read: {error}") from None
    path = shutil.which(words[0])
    if path is None:
        raise InputError(f"there is no C compiler '{printable(words[0], 100)}'; install one, such as gcc or clang, or "
                         "name one by the environment variable CC")
    return [os.path.abspath(path), *words[1:]]


def build(files: Mapping[str, str], source: str) -> bytes:
    """A shared library of the file `source` among `files`, texts by name.

    Raises:
        InputError: there is no compiler, it refuses the text or gives no library, or there is no room for the files.
    """
    words = command()
    try:
        with TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text, encoding="ascii")
            done = _run([*words, *FLAGS, source, "-o", "library", "-lm"], folder)
            if done.returncode:
                said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
                raise InputError(f"the C compiler '{printable(words[0], 100)}' gives status {done.returncode}: "
                                 f"{printable(said.strip(), 300) or 'it says nothing'}")
            return (Path(folder) / "library").read_bytes()
    except OSError as error:
        raise InputError(f"there is no library of the C compiler '{printable(words[0], 100)}': {error.strerror}; set "
                         "TMPDIR to a folder with room, or name another compiler by the environment variable CC"
                         ) from None


def _run(words: Sequence[str], folder: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a compiler; its words are those of the environment and of this module, never a document's.

    Raises:
        InputError: it cannot be run.
    """
    try:
        return subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,  # noqa: S603
                              encoding="utf-8", errors="replace", check=False)
    except OSError as error:
        raise InputError(f"the C compiler '{printable(words[0], 100)}' cannot be run: "
                         f"{error.strerror}; name another by the environment variable CC") from None


@lru_cache(maxsize=16)
def _version(*words: str) -> str:
    """What a compiler says of itself."""
    return _run([*words, "--version"]).stdout


def load(text: str) -> ctypes.CDLL:
    """The library of a file of C. It is compiled unless this process, or an earlier one, has done so.

    Raises:
        InputError: there is no compiler, it refuses the text, or the library cannot be loaded.
    """
    words = command()
    parts = (text, words, _version(*words), FLAGS, sys.platform, platform.machine())
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    library = _LOADED.get(digest)
    if library is None:
        _LOADED[digest] = library = _kept(digest) or _built(text, digest)
    return library


def _kept(digest: str) -> ctypes.CDLL | None:
    """The library of an earlier process; None where there is none that can be loaded."""
    with suppress(OSError, RuntimeError, InputError):  # no folder for caches
        content = read(digest + SUFFIX)
        return None if content is None else _load(content, digest)
    return None


def _built(text: str, digest: str) -> ctypes.CDLL:
    """The library, compiled, and kept once it has been loaded."""
    content = build({"model.c": text}, "model.c")
    library = _load(content, digest)
    with suppress(OSError, RuntimeError):
        write(digest + SUFFIX, content)
    return library


def _load(content: bytes, name: str) -> ctypes.CDLL:
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            library = ctypes.CDLL(str(path))
    except OSError as error:
        raise InputError(f"the compiled library cannot be loaded: {printable(str(error), 200)}; set TMPDIR to a "
                         "folder with room, whose files may be executed") from None
    if sys.platform == "win32":
        unload = _ctypes.FreeLibrary
    else:
        unload = _ctypes.dlclose
    finalize(library, unload, library._handle).atexit = False  # threads may run until the very end
    return library
