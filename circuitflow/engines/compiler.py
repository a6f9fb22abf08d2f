"""Compiles C with the compiler of the system, and loads it. Libraries are kept on disk as `machine_code` keeps files.

A library is loaded from a fresh folder that no other user can enter, after the digest of its contents was compared: no
link and no other writer comes between.
"""

from __future__ import annotations

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

from circuitflow.engines.machine_code import SUFFIX, read, write
from circuitflow.errors import InputError
from circuitflow.text import printable

FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")
"""With these, sums, products, quotients and roots have the bits of Python."""

_LOADED: dict[str, ctypes.CDLL] = {}
"""The libraries of this process, by digest; none is ever unloaded."""


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
    if digest not in _LOADED:
        content = None
        with suppress(OSError, RuntimeError):  # no folder for caches
            content = read(digest + SUFFIX)
        if content is None:
            content = build({"model.c": text}, "model.c")
            with suppress(OSError, RuntimeError):
                write(digest + SUFFIX, content)
        _LOADED[digest] = _load(content, digest)
    return _LOADED[digest]


def _load(content: bytes, name: str) -> ctypes.CDLL:
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            return ctypes.CDLL(str(path))
    except OSError as error:
        raise InputError(f"the compiled library cannot be loaded: {printable(str(error), 200)}; set TMPDIR to a "
                         "folder with room, whose files may be executed") from None
