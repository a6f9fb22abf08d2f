"""The table of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from circuitflow.errors import InputError
from circuitflow.fitting.least_squares import LeastSquaresOptions, automatic, by_scipy
from circuitflow.fitting.outcome import Outcome
from circuitflow.text import listing, nearest, printable, short

Kind = Literal["least squares"]
"""What a method minimises."""


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        words: what it does, for help.
        kind: what it minimises.
        function: takes a problem, the options and `Settings`, and gives an `Outcome`.
        options: the model of its options.
    """

    words: str
    kind: Kind
    function: Callable[[Any, Any, Any], Outcome]
    options: type[BaseModel]


METHODS: Mapping[str, Method] = {
    "auto": Method("Levenberg–Marquardt, or trf within bounds; restarts where it fails, and polishes the last digits",
                   "least squares", automatic, LeastSquaresOptions),
    "trf": Method("SciPy's trust-region reflective method, within bounds", "least squares", by_scipy("trf"),
                  LeastSquaresOptions),
    "dogbox": Method("SciPy's dogleg method in rectangular trust regions, within bounds", "least squares",
                     by_scipy("dogbox"), LeastSquaresOptions),
    "lm": Method("MINPACK's Levenberg–Marquardt method, without bounds", "least squares", by_scipy("lm"),
                 LeastSquaresOptions),
}
"""A new method is a row here."""

MethodSpec = str | Mapping[str, Any]
"""The name of a method, or `{"name": …}` with its options."""


def choose(method: MethodSpec | None, kind: Kind, default: str) -> tuple[str, Method, BaseModel]:
    """A method by name and options, checked: its name, its row and its options.

    Raises:
        InputError: there is no such method or option, an option is not valid, or the method minimises something else.
    """
    stated = {"name": method} if isinstance(method, str) else dict(method or {})
    name = stated.pop("name", default)
    of_kind = [known for known, row in METHODS.items() if row.kind == kind]
    if not isinstance(name, str) or name not in METHODS:
        shown = f"'{printable(name, 60)}'" if isinstance(name, str) else short(name)
        raise InputError(f"there is no method {shown}{nearest(str(name), METHODS)}; there are {listing(of_kind)}")
    row = METHODS[name]
    if row.kind != kind:
        raise InputError(f"the method {name} is one of {row.kind}; expected one of {kind}: {listing(of_kind)}")
    try:
        return name, row, row.options(**stated)
    except ValidationError as error:
        first = error.errors()[0]
        place = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            options = list(row.options.model_fields)
            raise InputError(f"the method {name} has no option '{printable(place, 60)}'"
                             f"{nearest(place, options) or f'; its options are {listing(options)}'}") from None
        raise InputError(f"method {name}: {place} is {short(stated[place])}; {first['msg'][:1].lower()}"
                         f"{printable(first['msg'][1:])}") from None
