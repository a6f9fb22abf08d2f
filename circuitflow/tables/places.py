"""Finds the files of a table: a file, a folder, a pattern, or a URL of any of these.

Names come from who runs the program, and from folders that are read; none comes from inside a file.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

from circuitflow.errors import InputError, MissingExtraError
from circuitflow.tables.opening import form_of_table
from circuitflow.text import duplicate, listing, printable

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://")
_PATTERN = re.compile(r"[*?\[]")


class Part(NamedTuple):
    """A file of a table.

    Attributes:
        path: where it lies in its file system.
        shown: its name in errors.
        keys: the keys of the partition that it lies in, as text.
        system: a file system of fsspec; None for that of the machine.
    """

    path: str
    shown: str
    keys: Mapping[str, str] = {}
    system: Any = None

    @property
    def local(self) -> str | None:
        """The path, if it is one of the machine."""
        return self.path if self.system is None else None

    def open(self, stack: ExitStack) -> BinaryIO | None:
        """The file, open for reading, which `stack` closes; None for standard input.

        Raises:
            InputError, OSError: it cannot be opened.
        """
        if self.path == "-":
            return None
        if self.system is None:
            return stack.enter_context(open(self.path, "rb"))
        try:
            file: BinaryIO = stack.enter_context(self.system.open(self.path, "rb"))
        except OSError:
            raise
        except Exception as error:  # each file system has errors of its own, such as missing credentials
            raise _unreachable(self.shown, error) from None
        return file


def find_parts(names: Sequence[str]) -> list[Part]:
    """The files that names mean: names in their order, the files of a folder or pattern sorted by their paths.

    A folder means all files below it, except those whose name, or folder, begins with "." or "_". Its folders may be
    partitions by Hive's convention, `key=value`, and so may those of a pattern, from its first wildcard on. A file that
    is there is never a pattern.

    Raises:
        InputError: there is no such folder, file system, or file for a pattern; the files are of several formats or
            have different keys.
        MissingExtraError: fsspec, or the package of the file system, is not installed.
    """
    parts = [part for name in names for part in _parts(name)]
    if len(parts) < 2:
        return parts
    forms: dict[str, Part] = {}
    for part in parts:
        if part.path == "-":
            raise InputError("standard input is a table by itself; leave out the others")
        forms.setdefault(form_of_table(part.path, part.shown), part)
    if len(forms) > 1:
        one, other = list(forms.values())[:2]
        raise InputError(f"{one.shown} and {other.shown} are of different formats; expected files of one, so name them "
                         "by a pattern, such as 'folder/*.parquet'")
    first = parts[0]
    for part in parts:
        if part.keys.keys() != first.keys.keys():
            raise InputError(f"{part.shown} has {_keys(part)} in its path, and {first.shown} has {_keys(first)}; "
                             "expected the same partition keys for all files")
    return parts


def _keys(part: Part) -> str:
    return f"key{'s' * (len(part.keys) > 1)} {listing(part.keys)}" if part.keys else "no keys"


def _parts(name: str) -> Iterator[Part]:
    """The files that one name means."""
    if _URL.match(name):
        yield from _of_system(name)
    elif os.path.isdir(name):
        yield from _of_folder(name, _below(name), name)
    elif _PATTERN.search(name) and not os.path.exists(name):
        paths = glob.glob(name, recursive=True)
        files = (path for found in paths for path in (_below(found) if os.path.isdir(found) else [found]))
        yield from _of_pattern(name, files, name)
    else:
        yield Part(name, "standard input" if name == "-" else printable(name, 1000))


def _below(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{printable(folder, 1000)}: {printable(str(error), 200)}")

    for place, _, files in os.walk(folder, onerror=refuse):
        yield from (os.path.join(place, file) for file in files)


def _of_system(name: str) -> Iterator[Part]:
    """The files that a URL means."""
    shown = printable(name, 1000)
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError(f"{shown} needs `pip install 'circuitflow[tables]'`, for fsspec") from None
    try:
        system, path = url_to_fs(name)
        if system.protocol == ("file", "local"):
            yield from _parts(path)
        elif system.isdir(path):
            yield from _of_folder(path, system.find(path), name, system)
        elif _PATTERN.search(path) and not system.exists(path):
            found = system.glob(path)
            files = (file for place in found for file in (system.find(place) if system.isdir(place) else [place]))
            yield from _of_pattern(path, files, name, system)
        else:
            yield Part(path, shown, {}, system)
    except InputError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"{shown}: its file system is not installed: {printable(str(error), 200)}") from None
    except Exception as error:  # each file system has errors of its own
        raise _unreachable(shown, error) from None


def _unreachable(shown: str, error: Exception) -> InputError:
    return InputError(f"{shown}: {type(error).__name__}: {printable(str(error).partition(chr(10))[0], 200)}")


def _of_folder(folder: str, files: Iterator[str], name: str, system: Any = None) -> Iterator[Part]:
    parts = _sorted(files, folder, name, system)
    if not parts:
        raise InputError(f"{printable(name, 1000)}: there is no table in this folder or below it")
    yield from parts


def _of_pattern(pattern: str, files: Iterator[str], name: str, system: Any = None) -> Iterator[Part]:
    fixed = pattern[: _PATTERN.search(pattern).start()]  # type: ignore[union-attr]
    parts = _sorted(files, fixed[: max(map(fixed.rfind, ("/", os.sep))) + 1], name, system)
    if not parts:
        raise InputError(f"{printable(name, 1000)}: no file has a name of this pattern")
    yield from parts


def _sorted(files: Iterator[str], root: str, name: str, system: Any) -> list[Part]:
    """The files below a root, in the order of their paths."""
    found: dict[tuple[str, ...], Part] = {}
    for path in files:
        plain = path if system is not None else path.replace(os.sep, "/")
        folders = plain[len(root):].strip("/").split("/")
        if any(word[:1] in ("", ".", "_") and "=" not in word for word in folders):
            continue
        try:
            keys = [(_text(key), _text(value))
                    for key, mark, value in (word.partition("=") for word in folders[:-1]) if mark]
        except UnicodeError:
            raise InputError(f"{printable(plain, 1000)}: its path has bytes that are no UTF-8; expected keys as text, "
                             "so rename the folder") from None
        if (twice := duplicate(key for key, _ in keys)) is not None:
            raise InputError(f"{printable(plain, 1000)}: key '{printable(twice, 60)}' stands twice in its path")
        shown = printable(plain if system is None else system.unstrip_protocol(plain), 1000)
        form_of_table(plain, shown)
        found[tuple(folders)] = Part(path, shown, dict(keys), system)
    return [found[folders] for folders in sorted(found)]


def _text(quoted: str) -> str:
    """A key or value as it stands in the name of a folder, where some characters may be `%` and their bytes.

    Raises:
        UnicodeError: it has bytes that are no UTF-8.
    """
    quoted.encode()
    return unquote(quoted, errors="strict")
