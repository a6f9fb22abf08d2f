"""The table of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from circuitflow.errors import InputError
from circuitflow.fitting.least_squares import LeastSquaresOptions, automatic, by_scipy
from circuitflow.fitting.minimize import (
    AnnealingOptions,
    ConstrainedOptions,
    EvolutionOptions,
    LimitedMemoryOptions,
    NewtonOptions,
    NoOptions,
    TrustRegionOptions,
    globally,
    local,
)
from circuitflow.fitting.minimize import automatic as smooth
from circuitflow.fitting.optimisers import OPTIMISERS
from circuitflow.fitting.outcome import Outcome
from circuitflow.text import listing, nearest, printable, short

Kind = Literal["least squares", "a loss"]
"""What a method minimises."""


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Attributes:
        words: what it does, for help.
        kind: what it minimises.
        function: takes a problem, the options and `Settings`, for a loss the constraints too, and gives an `Outcome`.
            None for an optimiser of Optax: `stochastic.train` takes minibatches and looks the optimiser up by its name.
        options: the model of its options.
    """

    words: str
    kind: Kind
    function: Callable[..., Outcome] | None
    options: type[BaseModel]

    @property
    def is_stochastic(self) -> bool:
        """Whether it takes minibatches."""
        return self.function is None


class OptimiserOptions(BaseModel):
    """Options of Optax's optimisers: `optimisers.make_optimiser` holds them to the signature of the function."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    patience: Annotated[int | None, Field(ge=1, description="the run ends when so many epochs brought no better "
                                                            "loss")] = None


METHODS: Mapping[str, Method] = {
    "auto": Method("Levenberg–Marquardt, or trf within bounds; restarts where it fails, and polishes the last digits",
                   "least squares", automatic, LeastSquaresOptions),
    "trf": Method("SciPy's trust-region reflective method, within bounds", "least squares", by_scipy("trf"),
                  LeastSquaresOptions),
    "dogbox": Method("SciPy's dogleg method in rectangular trust regions, within bounds", "least squares",
                     by_scipy("dogbox"), LeastSquaresOptions),
    "lm": Method("MINPACK's Levenberg–Marquardt method, without bounds", "least squares", by_scipy("lm"),
                 LeastSquaresOptions),
    "smooth": Method("the default for a loss: L-BFGS-B, then Newton steps; with constraints SLSQP, then trust-constr",
                     "a loss", smooth, NoOptions),
    "L-BFGS-B": Method("SciPy's quasi-Newton method of limited memory, within bounds", "a loss", local("L-BFGS-B"),
                       LimitedMemoryOptions),
    "trust-krylov": Method("SciPy's trust-region method on products with the exact Hessian", "a loss",
                           local("trust-krylov"), TrustRegionOptions),
    "trust-exact": Method("SciPy's trust-region method on the exact Hessian", "a loss", local("trust-exact"),
                          TrustRegionOptions),
    "Newton-CG": Method("SciPy's Newton method on products with the exact Hessian", "a loss", local("Newton-CG"),
                        NewtonOptions),
    "SLSQP": Method("SciPy's sequential quadratic programming, within bounds and constraints", "a loss",
                    local("SLSQP"), NoOptions),
    "trust-constr": Method("SciPy's trust-region method within bounds and constraints", "a loss",
                           local("trust-constr"), ConstrainedOptions),
    "differential_evolution": Method("SciPy's global search by a population between bounds, within constraints; then "
                                     "the default method", "a loss", globally("differential_evolution"),
                                     EvolutionOptions),
    "dual_annealing": Method("SciPy's global search by annealing between bounds; then the default method", "a loss",
                             globally("dual_annealing"), AnnealingOptions),
    **{name: Method(words, "a loss", None, OptimiserOptions) for name, words in OPTIMISERS.items()},
}
"""A new method is a row here, or among Optax's optimisers."""

DEFAULTS: Mapping[Kind, str] = {"least squares": "auto", "a loss": "smooth"}
"""The method that is taken where none is named."""

MethodSpec = str | Mapping[str, Any]
"""The name of a method, or `{"name": …}` with its options."""


def kind_of(method: MethodSpec | None) -> Kind | None:
    """What a method minimises; None where the name does not say."""
    name = method if isinstance(method, str) else (method or {}).get("name")
    return METHODS[name].kind if isinstance(name, str) and name in METHODS and name != "auto" else None


def choose(method: MethodSpec | None, kind: Kind) -> tuple[str, Method, BaseModel]:
    """A method by name and options, checked: its name, its row and its options. "auto" is the default of the kind.

    Raises:
        InputError: there is no such method or option, an option is not valid, or the method minimises something else.
    """
    stated = {"name": method} if isinstance(method, str) else dict(method or {})
    name = stated.pop("name", "auto")
    name = DEFAULTS[kind] if name == "auto" else name
    names = [known for known, row in METHODS.items() if row.kind == kind]
    those = listing(names, len(names))
    if not isinstance(name, str) or name not in METHODS:
        shown = f"'{printable(name, 60)}'" if isinstance(name, str) else short(name)
        raise InputError(f"there is no method {shown}{nearest(str(name), METHODS) or f'; there are {those}'}")
    row = METHODS[name]
    if row.kind != kind:
        raise InputError(f"the method {name} is for {row.kind}; expected one for {kind}: {those}")
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
