"""The key `fit` of a document: what is fitted to which data, by which method, and what came of it.

The models check the form. That references and inputs exist is checked with the circuit, in `graph/fitting.py`. Methods
and schedules are names with options as JSON. The room `fit` has the table of them and validates their options.

`circuit.document.fit` is a `Fit` or None. `Fit.model_validate({…})` makes one of plain data, and
`rewriting.with_fit(document, fit)` puts it into a document.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from circuitflow.document.base import NON_FINITE, Id, Model, Reference, Sha256, json_value

MAX_TEXT = 1024
"""The most characters of a name in a fit: of a file, a column, a method, an element of a parameter."""


def _number(value: Any) -> Any:
    """A number as JSON has it; one that is not finite is the text that a document has for it."""
    if isinstance(value, str) and value in NON_FINITE:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "a number, or \"NaN\", \"Infinity\" or \"-Infinity\"")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


Number = Annotated[Any, AfterValidator(_number), WithJsonSchema({"anyOf": [
    {"type": "number"}, {"enum": list(NON_FINITE)}]})]
"""A number that may be other than finite."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=1, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DataFile(Model):
    """A table beside or below the document."""

    file: Annotated[Name, Field(description="path of a .csv, .tsv, .jsonl, .parquet, .arrow or .safetensors file, "
                                            "relative to the document")]
    sha256: Sha256 | None = None


class Column(Model):
    """A column of the table."""

    column: Annotated[Name, Field(description="name of the column")]


class Fraction(Model):
    """A part of the rows, drawn by the seed."""

    fraction: Annotated[float, Field(gt=0, lt=1, description="of the rows that are held out")]


class Named(Model):
    """A name, and options flat beside it."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(json_value)]]
    name: Name

    @property
    def options(self) -> dict[str, Any]:
        """The options, as written."""
        return self.__pydantic_extra__ or {}


class Method(Named):
    """A method by name, with its options."""


class Schedule(Named):
    """A schedule of the step size by name, with its options."""


class Confidence(Model):
    """Confidence intervals of the values."""

    level: Annotated[float, Field(gt=0, lt=1, description="the probability that an interval holds the true value")]
    intervals: list[Annotated[list[Number], Field(min_length=2, max_length=2)]]


class Digests(Model):
    """SHA-256 digests of what was fitted."""

    document: Annotated[Sha256 | None, Field(description="of the document before the fit")] = None
    data: Annotated[Sha256 | None, Field(description="of the table")] = None


Version = Annotated[str, StringConstraints(max_length=128)]
Package = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9._-]+$", max_length=128)]


class Result(Model):
    """What a fit found. Lists go by element, in the order of `parameters`."""

    status: Annotated[str, Field(description="how the fit ended, in words")]
    method: Annotated[str | None, Field(description="what was done, in words")] = None
    objective: Annotated[Number, Field(description="what was minimised, at the values")]
    evaluations: Annotated[int, Field(ge=0)]
    rows: Annotated[int | None, Field(ge=0)] = None
    metrics: Annotated[dict[Annotated[str, StringConstraints(max_length=MAX_TEXT)], Number] | None, Field(
        description="after training: the loss and other outputs, averaged over the rows, by name; validation_… over "
                    "those of the validation")] = None
    parameters: Annotated[list[Name] | None, Field(
        description="names of the elements that were free, or moved in training: a, w[0, 1]")] = None
    start: Annotated[dict[Id, Annotated[Any, AfterValidator(json_value)]] | None, Field(
        description="where the fit began: values of parameters as the document had them, by id")] = None
    values: list[Number] | None = None
    standard_errors: list[Number] | None = None
    confidence: Confidence | None = None
    covariance: list[list[Number]] | None = None
    correlation: list[list[Number]] | None = None
    residual_standard_deviation: Number | None = None
    degrees_of_freedom: int | None = None
    r_squared: Number | None = None
    aic: Number | None = None
    bic: Number | None = None
    warnings: list[str] | None = None
    digests: Digests | None = None
    versions: Annotated[dict[Package, Version] | None, Field(description="of packages, by name")] = None


Sigma = Annotated[
    Annotated[Reference, Tag("<reference>")] | Annotated[Column, Tag("<column>")],
    Discriminator(lambda value: "<column>" if isinstance(value, dict | Column) else "<reference>"),
]
Validation = Annotated[
    Annotated[DataFile, Tag("<data file>")] | Annotated[Fraction, Tag("<fraction>")],
    Discriminator(lambda value: "<fraction>" if isinstance(value, Fraction) or
                  (isinstance(value, dict) and "fraction" in value) else "<data file>"),
]


class Fit(Model):
    """How the parameters are found from data, and what came of it."""

    data: Annotated[DataFile | None, Field(description="the rows")] = None
    columns: Annotated[dict[Id, Name] | None, Field(
        description="columns by input; an input that is not here takes the column of its own name")] = None
    residuals: Annotated[Reference | None, Field(description="least squares of this")] = None
    sigma: Annotated[Sigma | None, Field(description="standard deviations that the residuals are divided by")] = None
    absolute_sigma: Annotated[bool | None, Field(
        description="whether sigma counts as it is: false, which is the default, takes only its ratios")] = None
    loss: Annotated[Reference | None, Field(description="minimise this")] = None
    reduction: Annotated[Literal["mean", "sum"] | None, Field(description="of the loss over rows: mean")] = None
    likelihood: Annotated[bool | None, Field(
        description="whether the loss is a negative log-likelihood, which gives standard errors: false")] = None
    constraints: Annotated[dict[Reference, Literal["nonnegative", "zero"]] | None, Field(
        description="what must be 0 or more, or 0, by reference")] = None
    method: Annotated[Method | None, Field(description="chosen where it is left out")] = None
    tolerance: Positive | None = None
    max_evaluations: Count | None = None
    starts: Annotated[Count | None, Field(description="how many starts are drawn, by the seed")] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**32)] = None
    batch_size: Count | None = None
    epochs: Count | None = None
    schedule: Schedule | None = None
    validation: Annotated[Validation | None, Field(description="rows that are held out")] = None
    result: Annotated[Result | None, Field(description="what the last fit found")] = None


FIT_TAGS: dict[Any, type[BaseModel]] = {
    "<reference>": Fit, "<column>": Column, "<data file>": DataFile, "<fraction>": Fraction,
}
"""The tags of the members of the unions above."""

FIT_PARTS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Fit, ("data",): DataFile, ("sigma",): Column, ("method",): Method, ("schedule",): Schedule,
    ("result",): Result, ("result", "confidence"): Confidence, ("result", "digests"): Digests,
}
"""The models of the objects in a fit, by their path in it; of `validation` the tags tell."""
