"""What is to be fitted, and how: the arguments of a fit with the document's entries where they say nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from circuitflow.errors import InputError
from circuitflow.fitting.loss import Reduction
from circuitflow.fitting.methods import Method
from circuitflow.fitting.outcome import Callback, Settings
from circuitflow.fitting.weights import Sigma
from circuitflow.graph.circuit import Circuit

Way = Literal["least squares", "smooth", "stochastic"]
"""The ways to fit: residuals, a loss by SciPy, and a loss by minibatches."""

COMMON = frozenset({"data", "columns", "method", "seed", "result"})
"""Keys of a document's fit that all ways take."""

TAKEN: Mapping[str, tuple[frozenset[Way], str]] = {
    **dict.fromkeys(("residuals", "sigma", "absolute_sigma"), (frozenset({"least squares"}), "residuals")),
    **dict.fromkeys(("loss", "reduction"), (frozenset({"smooth", "stochastic"}), "a loss")),
    **dict.fromkeys(("constraints", "starts", "likelihood"), (
        frozenset({"smooth"}), "a loss and SciPy's methods, such as smooth")),
    **dict.fromkeys(("tolerance", "max_evaluations", "client"), (
        frozenset({"least squares", "smooth"}), "SciPy's methods, such as smooth for a loss")),
    **dict.fromkeys(("batch_size", "epochs", "schedule", "validation", "on_nan", "device"), (
        frozenset({"stochastic"}), "a loss and stochastic methods, such as adam")),
}
"""For every other key or argument the ways that take it, and what it goes with in words."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """A fit, with all that the arguments and the document say. None stands where neither says anything.

    Attributes:
        circuit: the circuit as it was before it was fitted.
        data, columns, engine, callback, bounds, frozen, start: as `fit` takes them.
        reference: the residuals or the loss.
        name, method, options: the method.
        tolerance, max_evaluations, seed: what SciPy's methods share; all methods take the seed.
        sigma, absolute_sigma: of residuals.
        reduction, likelihood, constraints, starts: of a loss.
        batch_size, epochs, schedule, validation, on_nan, device: of stochastic methods.
        checkpoint: the folder that keeps what was computed.
        client: of a cluster, whose workers compute.
    """

    circuit: Circuit
    data: Any
    columns: Mapping[str, str]
    engine: str
    callback: Callback | None
    bounds: Mapping[str, Sequence[Any]] | None
    frozen: Collection[str] | None
    start: Mapping[str, Any] | None
    reference: str
    name: str
    method: Method
    options: BaseModel
    tolerance: float | None
    max_evaluations: int | None
    seed: int
    sigma: Sigma | None
    absolute_sigma: bool
    reduction: Reduction | None
    likelihood: bool
    constraints: Mapping[str, str]
    starts: int | None
    batch_size: int | None
    epochs: int | None
    schedule: Mapping[str, Any] | None
    validation: Any
    on_nan: str | None
    device: Any
    checkpoint: str | os.PathLike[str] | None
    client: Any

    def __post_init__(self) -> None:
        """Refuse what the way does not take: to pass over it would be a silent wrong answer.

        Raises:
            InputError: something goes with another way, or a number lies outside of its range.
        """
        for key, (ways, words) in TAKEN.items():
            value = getattr(self, key, None)
            if self.way not in ways and value is not None and value is not False and value != {}:
                raise InputError(f"fit: '{key}' goes with {words}; the method is {self.name}, for {self.method.kind}; "
                                 f"leave '{key}' out, or take another method")
        if self.tolerance is not None and not 1e-15 <= self.tolerance < 1:
            raise InputError(f"tolerance is {self.tolerance}; expected a number from 1e-15 to 1, such as 1e-8")
        for key, value, least in (("max_evaluations", self.max_evaluations, 1), ("starts", self.starts, 1),
                                  ("seed", self.seed, 0)):
            if value is not None and value < least:
                raise InputError(f"{key} is {value}; expected a whole number from {least}")

    @property
    def way(self) -> Way:
        """How it is fitted."""
        if self.method.kind == "least squares":
            return "least squares"
        return "stochastic" if self.method.is_stochastic else "smooth"

    @property
    def settings(self) -> Settings:
        """What SciPy's methods share."""
        return Settings(self.tolerance, self.max_evaluations, self.seed, self.callback)
