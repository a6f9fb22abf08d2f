"""What differs between the fits of two documents, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from circuitflow.document.fit import Fit, Result
from circuitflow.text import number, printable, short

_LONGEST = 60
"""The longest text of a value that is shown exactly, in characters."""


def fit_changes(old: Fit | None, new: Fit | None) -> Iterator[tuple[str, str, str]]:
    """The changes of a fit: its keys in the order of the format, then its result, parameter by parameter.

    Each is what differs, and what it was and is, in short; "" for nothing.
    """
    before, after = (dict(_words(fit)) if fit is not None else {} for fit in (old, new))
    for what in dict.fromkeys((*before, *after)):
        was, now = before.get(what, ("", None)), after.get(what, ("", None))
        if was[1] != now[1]:
            is_seen = was[0] != now[0] or max(len(was[1] or ""), len(now[1] or "")) > _LONGEST
            yield (what, was[0], now[0]) if is_seen else (what, was[1] or "", now[1] or "")


_Words = tuple[str, tuple[str, str]]
"""A part of a fit, with its text in short and its exact text."""


def _words(fit: Fit) -> Iterator[_Words]:
    yield from _parts("fit", fit.model_dump(exclude={"result"}, exclude_none=True))
    if fit.result is not None:
        yield from _result_words(fit.result)


def _result_words(result: Result) -> Iterator[_Words]:
    names = result.parameters or []
    values, errors = (items or [None] * len(names) for items in (result.values, result.standard_errors))
    for name, value, error in zip(names, values, errors, strict=True):
        if value is not None:
            pairs = zip(_texts(value), _texts(error), strict=True)
            text, exact = (f"{one}{'' if error is None else f' ± {other}'}" for one, other in pairs)
            yield f"fit: result: {printable(name, 60)}", (text, exact)
    aside = {"parameters", "values", "standard_errors"}
    yield from _parts("fit: result", result.model_dump(exclude=aside, exclude_none=True))


def _parts(whole: str, values: Mapping[str, Any]) -> Iterator[_Words]:
    """The parts of an object, and those of the objects in it."""
    for key, value in values.items():
        what = f"{whole}: {printable(key.replace('_', ' '), 60)}"
        if isinstance(value, dict):
            yield from _parts(what, value)
        else:
            yield what, _texts(value)


def _texts(value: Any) -> tuple[str, str]:
    """A value in short, and exactly."""
    exact = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 1000)
    if isinstance(value, float):
        return number(value), exact
    return exact if len(exact) <= _LONGEST or isinstance(value, str) else short(value), exact
