"""The result of a fit."""

from __future__ import annotations

import html
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy

from circuitflow.arguments import checked
from circuitflow.errors import InputError
from circuitflow.fitting.data import Data
from circuitflow.fitting.evaluation import Evaluation
from circuitflow.fitting.parameters import Mask, Parameters, Vector
from circuitflow.fitting.problem import Matrix, find_type
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.fitting.statistics import Criteria, Goodness, correlation, intervals
from circuitflow.fitting.weights import Comparison
from circuitflow.graph.circuit import Circuit
from circuitflow.text import number, own_version, printable

ELEMENTS = 50
"""The most elements, without standard errors, that a table shows one by one; of more it shows parameters."""

MOST_CORRELATED = 100
"""The most elements for which correlations are written into a document."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """What a fit found.

    Attributes:
        model: the circuit that was fitted, as it was.
        parameters: the free parameters; vectors and matrices have their elements in this order.
        data: the data that the parameters were fitted to.
        x: the values found, as a vector.
        held: marks the elements that ended at a bound.
        method: the name of the method.
        status: how it ended, in words.
        converged: whether it ended at a minimum; of training, whether it came to its end.
        steps: what was done, in words, in order.
        objective: what was minimised, at the end; for residuals half their sum of squares, or of a robust loss.
        evaluations: passes over the data.
        rows: the number of rows; 1 for a circuit without columns.
        warnings: what a careful reader would notice, in words.
        covariance: of the elements, from the linear model at the end, or of a negative log-likelihood the inverse of
            its Hessian; None for another loss. Rows of elements at a bound, or that the data do not determine, are NaN.
        standard_errors: of the elements; NaN at a bound, infinite where the data do not determine one; None where the
            covariance is.
        goodness: how well the fit describes the data; None for a loss.
        compares: what residuals compare; None where that is not known.
        engine: the name of the engine.
        criteria: for comparing models, of a likelihood.
        running: of training: running statistics that are no free parameters, by id.
        metrics: of training: the loss and the other outputs, averaged over the rows, with the values found; over rows
            of the validation as `validation_…`.
        history: of training: a record for each epoch, with the same names; losses and metrics of the rows for training
            are averages over its steps, each with the values before it.
        predictor: the circuit that predicts, if it is not the model: after training it has the running statistics, and
            gates use them and drop nothing.
        absolute: whether standard deviations of the residuals counted as they are, not only their ratios. With a robust
            loss the covariance then is that of a negative log-likelihood, else Huber's.
    """

    model: Circuit
    parameters: Parameters
    data: Data
    x: Vector
    held: Mask
    method: str
    status: str
    converged: bool
    steps: tuple[str, ...]
    objective: float
    evaluations: int
    rows: int
    warnings: tuple[str, ...] = ()
    covariance: Matrix | None = None
    standard_errors: Vector | None = None
    goodness: Goodness | None = None
    compares: Comparison | None = None
    engine: str = "auto"
    criteria: Criteria | None = None
    running: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()
    predictor: Circuit | None = None
    absolute: bool = False

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit with the values found stored in its document."""
        return self.model.with_values(self.values)

    @property
    def values(self) -> dict[str, Any]:
        """The parameters found, and running statistics, by id, in their shapes."""
        return {**self.parameters.values(self.x), **self.running}

    @property
    def errors(self) -> dict[str, Any]:
        """Their standard errors, by id, in their shapes.

        Raises:
            InputError: the fit has none, because it minimised a loss.
        """
        return self.parameters.values(self._errors())

    @cached_property
    def correlation(self) -> Matrix:
        """The correlation of the elements, of shape (size, size).

        Raises:
            InputError: the fit has none.
        """
        self._errors()
        return correlation(np.asarray(self.covariance))

    @checked
    def intervals(self, level: float = 0.95) -> Any:
        """Confidence intervals of the elements by Student's t, of shape (size, 2).

        They are by the normal distribution for a likelihood, and where standard deviations of residuals are absolute.

        Raises:
            InputError: the fit has none, or the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level is {level}; expected a number between 0 and 1, such as 0.95")
        errors = self._errors()
        freedom = math.inf if self.goodness is None or self.absolute else self.goodness.degrees_of_freedom
        return intervals(self.x, errors, freedom, level)

    def predict(self, data: Any = None, *, of: str | None = None, columns: Mapping[str, str] | None = None) -> Any:
        """What the fitted circuit computes for rows.

        Args:
            data: rows, as `fit` takes them; those of the fit by default. What was observed need not be there.
            of: the node; by default the side of the residuals that depends on the parameters.
            columns: input id → column; by default as in the fit.

        Returns:
            An array with the rows in front; the node's shape alone where it depends on no column.

        Raises:
            InputError: there is no such node, the residuals are no difference, or the data do not fit.
        """
        node = self._node(of)
        find_type(self.model, node, "of")
        rows = self._rows(node, data, columns)
        look = Evaluation(self.predictor or self.model, [node], [], rows, self.engine)
        values = self.parameters.values(self.x)
        found = [look(block, values)[0][0] for block in rows.blocks()]
        return np.concatenate(found) if rows.columns else found[0]

    def error_of(self, of: str | None = None, data: Any = None, *, columns: Mapping[str, str] | None = None) -> Any:
        """The standard error of any node by the delta method, √(g C gᵀ) with its gradient g by the parameters.

        It is that of the mean, as for a confidence band; it has no noise of a new observation in it. Elements held at
        a bound count as known. Arguments and shapes are those of `predict`.

        Raises:
            InputError: as `predict`; or the fit has no covariance.
        """
        self._errors()
        node = self._node(of)
        shape = find_type(self.model, node, "of").shape
        rows = self._rows(node, data, columns)
        needed = self.model.needed({self.model.find(node).node})  # type: ignore[union-attr]
        covariance = np.where(self.held[:, None] | self.held, 0.0, np.asarray(self.covariance))
        if needed.isdisjoint(self.parameters.ids):
            return np.zeros_like(self.predict(data, of=node, columns=columns))
        problem = SumOfSquares(self.model, self.parameters, rows, node, engine=self.engine)
        parts = []
        for _, slopes in problem.blocks(self.x):
            moved = np.any(slopes != 0, axis=1)
            part = slopes[moved]
            parts.append(np.sqrt(np.einsum("in,ij,jn->n", part, covariance[np.ix_(moved, moved)], part)))
        errors = np.concatenate(parts)
        inner = tuple(size for size in (shape[1:] if rows.batch and rows.columns else shape) if isinstance(size, int))
        return errors.reshape((-1, *inner)) if rows.columns else errors.reshape(inner)

    def summary(self) -> str:
        """The fit as a text table: what was done, values, standard errors, intervals, warnings."""
        lines = [f"{self.status} (method {self.method}, {self.evaluations} passes over {self.rows} rows)",
                 *(f"  {step}" for step in self.steps), ""]
        header, body = self._table()
        widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
        lines += ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                            for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                  for row in (header, *body)]
        lines += ["", *(f"{name}: {value}" for name, value in self._measures()), *(f"warning: {x}" for x in
                                                                                 self.warnings)]
        return "\n".join(lines)

    def to_dict(self, level: float = 0.95) -> dict[str, Any]:
        """The result as the key `fit.result` of a document has it. Numbers that are not finite are left as floats."""
        result: dict[str, Any] = {
            "status": self.status, "objective": self.objective, "evaluations": self.evaluations, "rows": self.rows,
            "parameters": list(self.parameters.names), "values": self.x.tolist()}
        if self.standard_errors is not None and self.covariance is not None:
            result |= {"standard_errors": self.standard_errors.tolist(),
                       "confidence": {"level": level, "intervals": self.intervals(level).tolist()},
                       "covariance": self.covariance.tolist()}
            if self.parameters.size <= MOST_CORRELATED:
                result["correlation"] = self.correlation.tolist()
        if self.goodness is not None:
            result |= {"residual_standard_deviation": self.goodness.residual_standard_deviation,
                       "degrees_of_freedom": self.goodness.degrees_of_freedom}
            if self.goodness.r_squared is not None:
                result["r_squared"] = self.goodness.r_squared
            result |= {"aic": self.goodness.aic, "bic": self.goodness.bic}
        if self.criteria is not None:
            result |= self.criteria._asdict()
        versions = {"circuitflow": own_version(), "python": platform.python_version(),
                    "numpy": np.__version__, "scipy": scipy.__version__}
        if self.metrics:
            result["metrics"] = dict(self.metrics)
            versions |= {name: version(name) for name in ("jax", "optax")}
        return result | {"warnings": list(self.warnings), "digests": {"data": self.data.digest}, "versions": versions}

    def __repr__(self) -> str:
        found = ", ".join(f"{printable(name, 40)} = {number(x)}" for name, x in
                          zip(self.parameters.names[:6], self.x.tolist(), strict=False))
        return f"<FitResult: {self.status}; {found}{', …' if self.parameters.size > 6 else ''}>"

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        header, body = self._table()
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
        below = [*(f"{name}: {value}" for name, value in self._measures()), *(f"warning: {x}" for x in self.warnings)]
        return (f"<p>{html.escape(self.status)}</p><table><thead><tr>"
                + "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
                + f"</tr></thead><tbody>{rows}</tbody></table><p>{'<br>'.join(map(html.escape, below))}</p>")

    def _table(self) -> tuple[list[str], list[list[str]]]:
        parameters = self.parameters
        errors = self.standard_errors
        if errors is None and parameters.size > ELEMENTS:
            return self._table_of_parameters()
        header = ["parameter", "value", *(("standard error", "95 % interval") if errors is not None else ()), "start",
                  "bound"]
        ends = self.intervals() if errors is not None else None
        body = []
        for i, name in enumerate(parameters.names):
            bound = "" if not self.held[i] else "lower" if self.x[i] <= parameters.lower[i] else "upper"
            sure = [] if errors is None or ends is None else [
                f"{errors[i]:.4g}", f"{ends[i, 0]:.6g} to {ends[i, 1]:.6g}"]
            body.append([printable(name, 60), f"{self.x[i]:.8g}", *sure, f"{parameters.start[i]:.6g}", bound])
        return header, body

    def _table_of_parameters(self) -> tuple[list[str], list[list[str]]]:
        """One row for each parameter, with the root mean square of its elements."""
        header = ["parameter", "elements", "root mean square", "start", "at a bound"]
        body = []
        for name, part in zip(self.parameters.ids, self.parameters.slices(), strict=True):
            here, start, held = self.x[part], self.parameters.start[part], int(self.held[part].sum())
            sizes = [f"{math.sqrt(np.mean(np.square(x))):.6g}" if x.size else "" for x in (here, start)]
            body.append([printable(name, 60), str(here.size), *sizes, str(held) if held else ""])
        return header, body

    def _measures(self) -> Sequence[tuple[str, str]]:
        found = [("objective", f"{self.objective:.8g}")]
        found += [(printable(name, 60).replace("_", " ", name.startswith("validation_")), f"{value:.6g}")
                  for name, value in self.metrics.items() if name != "loss"]
        if (good := self.goodness) is not None:
            found += [("residual standard deviation", f"{good.residual_standard_deviation:.6g}"),
                      ("degrees of freedom", str(good.degrees_of_freedom))]
            if good.r_squared is not None:
                found.append(("R²", f"{good.r_squared:.6g}"))
        if (compared := self.criteria or good) is not None:
            found += [("AIC", f"{compared.aic:.6g}"), ("BIC", f"{compared.bic:.6g}")]
        return found

    def _errors(self) -> Vector:
        if self.standard_errors is None:
            raise InputError("the fit minimised a loss, so it has no standard errors; fit residuals to have them, or "
                             "say by likelihood=True that the loss is a negative log-likelihood")
        return self.standard_errors

    def _node(self, of: str | None) -> str:
        if of is not None:
            return of
        if self.compares is None:
            raise InputError("what the fit predicts is not clear: what it minimised is not a difference with "
                             "parameters on one side only; name the node by of=…")
        return self.compares.predicted

    def _rows(self, node: str, data: Any, columns: Mapping[str, str] | None) -> Data:
        needed = self.model.needed({self.model.find(node).node})  # type: ignore[union-attr]
        if data is None:
            return self.data.only(needed)
        names = {name: title for name, title in (columns or self.data.columns).items() if name in needed}
        return Data.of(self.model, data, names, needed=needed)
