"""A folder that an interrupted fit goes on from.

`fit.json` says which fit it belongs to: digests of document, values and data, every option, versions. `journal` has
what SciPy's methods have asked for; `state.safetensors` is where a training run is. `lock` is held while a fit runs;
the system releases it when the process ends, however it ends.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from circuitflow.document.output import write
from circuitflow.errors import InputError
from circuitflow.fitting.data import Data
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.request import Request
from circuitflow.fitting.writing import document_digest
from circuitflow.graph.circuit import Circuit
from circuitflow.text import printable

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

FIT, JOURNAL, STATE, LOCK = "fit.json", "journal", "state.safetensors", "lock"
PACKAGES = ("circuitflow", "numpy", "scipy", "numba", "jax", "jaxlib", "optax")
"""Packages that decide about the last bits."""

LONG = 200
"""The most characters of an option that are kept as they are; of a longer one its digest is."""

LARGEST = 2**20
"""The most bytes of a `fit.json`."""

LEFT_OUT = {"circuit", "data", "method", "callback", "checkpoint", "validation", "client", "device"}
"""What of a request is no option: digests stand for the first two, the name for the method, words for the device; a
cluster changes no bit."""


@contextmanager
def checkpoint(request: Request, data: Data, validation: Data | float | None = None,
               device: str | None = None) -> Iterator[Path | None]:
    """The folder of a fit, locked; None where it has none. What else bits depend on are the arguments of `identity_of`.

    Raises:
        InputError: the folder cannot be used, belongs to another fit, or is used by another process.
    """
    if request.checkpoint is None:
        yield None
        return
    folder = Path(os.fspath(request.checkpoint))
    label = printable(str(folder), 200)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(os.listdir(folder))
        kinds = [os.lstat(folder / name).st_mode for name in names]
    except OSError as error:
        raise InputError(f"checkpoint: '{label}' cannot be used: {error.strerror}; give a folder") from None
    for name, kind in zip(names, kinds, strict=True):
        if name not in (FIT, JOURNAL, STATE, LOCK) or not stat.S_ISREG(kind):
            raise InputError(f"checkpoint: '{label}' holds '{printable(name, 60)}', which no fit wrote; give a new or "
                             "empty folder")
    with _locked(folder / LOCK, label):
        identity = identity_of(request, data, validation, device)
        names = os.listdir(folder)  # again: another fit may have ended before this one had the lock
        computed = {JOURNAL, STATE}.intersection(names)
        if FIT in names and computed:
            _compare(_read(folder / FIT, label), identity, label)
        elif computed:
            raise InputError(f"checkpoint: '{label}' has no '{FIT}'; give a new or empty folder")
        else:  # new, or of a fit that was refused before it computed anything
            write(folder / FIT, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        yield folder


@contextmanager
def journal(request: Request, data: Data) -> Iterator[Journal | None]:
    """The journal of a fit by SciPy; None where it has none.

    Raises:
        InputError: as `checkpoint`.
    """
    with checkpoint(request, data) as folder:
        if folder is None:
            yield None
        else:
            with Journal(folder / JOURNAL) as answers:
                yield answers


@contextmanager
def _locked(path: Path, label: str) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise InputError(f"checkpoint: '{label}' cannot be used: {error.strerror}; give a folder to write to") from None
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"checkpoint: another fit is using '{label}'; wait for it, or give another "
                                 "folder") from None
            except OSError as error:
                raise InputError(f"checkpoint: '{label}' cannot be locked: {error.strerror}; give a folder on another "
                                 "file system") from None
        yield
    finally:
        os.close(descriptor)


def identity_of(request: Request, data: Data, validation: Data | float | None, device: str | None) -> dict[str, str]:
    """What must be the same for a fit to be the same, as texts by name."""
    identity = {"document": document_digest(request.circuit), "values": _digest_of_values(request.circuit),
                "data": data.digest, "device": json.dumps(device)}
    identity["validation"] = validation.digest if isinstance(validation, Data) else json.dumps(validation)
    for entry in fields(request):
        if entry.name not in LEFT_OUT:
            text = json.dumps(_plain(getattr(request, entry.name)), sort_keys=True)
            identity[entry.name] = text if len(text) <= LONG else f"sha256 {sha256(text.encode()).hexdigest()}"
    for package in PACKAGES:
        try:
            identity[f"version of {package}"] = version(package)
        except PackageNotFoundError:
            identity[f"version of {package}"] = "none"
    return identity


def _digest_of_values(circuit: Circuit) -> str:
    """SHA-256 of the values of all sources, also of those in files."""
    whole = sha256()
    for name, value in sorted(circuit.values.items()):
        array = np.asarray(value)
        whole.update(f"{name} {array.dtype} {array.shape}\n".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    return np.asarray(value).tolist()


def _read(path: Path, label: str) -> Mapping[str, str]:
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
        entries = json.loads(text) if len(text) <= LARGEST else None
    except OSError as error:
        raise InputError(f"checkpoint: '{label}' cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise InputError(f"checkpoint: '{label}' has a '{FIT}' that no fit wrote; give a new or empty folder")
    return entries


def _compare(stored: Mapping[str, str], identity: Mapping[str, str], label: str) -> None:
    """Refuse a folder of another fit.

    Raises:
        InputError: it is; the message says what differs.
    """
    differences = [f"{printable(name, 60)} is {printable(stored.get(name, 'none'), 100)} there and "
                   f"{printable(identity.get(name, 'none'), 100)} here"
                   for name in dict.fromkeys([*identity, *stored]) if stored.get(name) != identity.get(name)]
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise InputError(f"checkpoint: '{label}' belongs to another fit: {'; '.join(differences[:3])}{more}; fit "
                         "the same again, or give a new folder")
