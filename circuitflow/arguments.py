"""Checks arguments of public functions against their annotations."""

from __future__ import annotations

import functools
import inspect
import os
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union

from circuitflow.errors import InputError
from circuitflow.text import listing, nearest, printable, short

P = ParamSpec("P")
R = TypeVar("R")

ELSEWHERE = frozenset({"inputs", "of", "wrt", "upstream", "outputs", "gradients"})
"""Arguments that `interpreter.plan.references` and `interpreter.binding` check when they read them."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_WORDS = {
    "NoneType": "None", "str": "text", "bool": "True or False", "int": "a whole number", "float": "a number",
    "bytes": "bytes", "PathLike": "a path", "Circuit": "a circuit, as cf.load(path) gives it",
    "Result": "a result, as cf.Executor(circuit).run() gives it", "Document": "a document, as circuit.document is",
    "Limits": "cf.Limits(…)", "Gate": "gates, as cf.Gate(…) makes them",
    "Thresholds": "cf.Thresholds(…)", "AuthoredWire": "a wire of cf.build",
}
"""The words for a type in errors, by its name."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Wraps a function so that it refuses arguments of other types than its annotations.

    The annotations are the only statement of what a public function takes. They are read at the first call.
    `Any` takes everything; a text is not a sequence of texts.

    Raises:
        InputError: from the wrapped function. It names the argument, its value and what is expected.
    """
    signature = inspect.signature(function)
    name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    positions = [argument for argument, parameter in signature.parameters.items() if parameter.kind in _POSITIONAL]
    hints: dict[str, Any] = {}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not hints:
            hints.update(_hints(function, signature))
        for argument, value in (*zip(positions, args, strict=False), *kwargs.items()):
            default, hint = hints.get(argument, (value, None))
            if value is not default and type(value) is not hint and not fits(value, hint):
                raise InputError(f"{name}: {argument} is {short(value)}; expected {expected(hint)}")
        return function(*args, **kwargs)

    return call


def _hints(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, tuple[Any, Any]]:
    """Default and type of every checked argument. The entry "" keeps it from being empty, so it is computed once."""
    types = typing.get_type_hints(function)
    single = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
    return {"": (None, None)} | {name: (parameter.default, types[name])
                                 for name, parameter in signature.parameters.items()
                                 if name in types and name not in ELSEWHERE and parameter.kind in single}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, as far as it can be told at run time."""
    try:
        return _fits(value, hint)
    except Exception:  # such as a 0-d array, which has a length but no items
        return False


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint is None:
        return value is None
    if origin in (Union, UnionType):
        return any(fits(value, member) for member in inner)
    if origin is Literal:
        return any(type(value) is type(member) and value == member for member in inner)
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    kind = origin or hint
    if kind is Callable or not isinstance(kind, type):
        return callable(value) if kind is Callable else True
    if not isinstance(value, kind) or (origin is not None and isinstance(value, str | bytes)):
        return False
    if isinstance(value, Mapping) and len(inner) == 2:
        return all(fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items())
    if origin is not None and issubclass(kind, Iterable) and isinstance(value, Collection):
        return all(fits(item, inner[0]) for item in value)
    return True


def need_choice(kind: str, word: str, choices: Iterable[str], *, limit: int = 60, of: str = "") -> None:
    """Refuse a word that is not one of the choices; `limit` is how much of it the error shows.

    Raises:
        InputError: "there is no kind 'word' of …", with the nearest and all of the choices.
    """
    choices = list(choices)
    if word not in choices:
        raise InputError(f"there is no {kind} '{printable(word, limit)}'{of}{nearest(word, choices)}; there are "
                         f"{', '.join(choices)}")


def expected(hint: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(expected, inner)))
    if origin is Literal:
        return f"one of {listing(inner)}"
    kind = origin or hint
    if kind is Callable:
        return "a function"
    if kind is os.PathLike or not (origin and issubclass(kind, Iterable)):
        name = kind.__name__ if kind is not None else NoneType.__name__
        return _WORDS.get(name, f"a cf.{name}")
    if issubclass(kind, Mapping):
        return f"a mapping from text to {_several(inner[1])}"
    return f"several of {_several(inner[0])}"


def _several(hint: Any) -> str:
    return "values" if hint is Any else f"({expected(hint)})" if typing.get_origin(hint) else expected(hint)
