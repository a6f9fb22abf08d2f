"""Fits a loss: sets the problem up, minimises it, and says what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from circuitflow.errors import InputError
from circuitflow.fitting import loss_findings as findings
from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.data import Data
from circuitflow.fitting.findings import of_calls
from circuitflow.fitting.loss import Loss, Reduction
from circuitflow.fitting.methods import Method
from circuitflow.fitting.minimize import GLOBAL, check_traits
from circuitflow.fitting.newton import FEW, spectrum
from circuitflow.fitting.outcome import Outcome, Settings
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import find_type
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.starts import best_of_starts
from circuitflow.graph.circuit import Circuit


@dataclass(frozen=True, eq=False)
class LossFit:
    """What is minimised, and how.

    Attributes:
        loss, reduction, constraints: references, and what becomes of them.
        likelihood: whether the loss is the negative logarithm of a likelihood, of each row or of all.
        columns, bounds, frozen, start: as `fit` takes them.
        name, method, options: the method.
        settings: what all methods share.
        starts: how many starts are drawn.
        engine: the engine.
    """

    loss: str
    reduction: Reduction
    constraints: Mapping[str, Any]
    likelihood: bool
    columns: Mapping[str, str]
    bounds: Mapping[str, Sequence[Any]] | None
    frozen: Collection[str] | None
    start: Mapping[str, Any] | None
    name: str
    method: Method
    options: BaseModel
    settings: Settings
    starts: int
    engine: str

    def run(self, circuit: Circuit, data: Any) -> FitResult:
        """Minimise the loss.

        Raises:
            InputError: a reference, the data, the start or the method do not fit.
        """
        references = [self.loss, *self.constraints]
        for text, what in zip(references, ("loss", *("constraints" for _ in self.constraints)), strict=True):
            find_type(circuit, text, what)
        parameters = Parameters.of(circuit, references, bounds=self.bounds, frozen=self.frozen, start=self.start)
        outputs = [circuit.find(text) for text in references]
        needed = circuit.needed({output.node for output in outputs if output is not None})
        bound = Data.of(circuit, data, self.columns, needed=needed)
        constraints = Constraints.of(circuit, parameters, bound, self.constraints, self.engine)
        check_traits(self.name, parameters, constraints)
        if constraints is not None and self.likelihood:
            raise InputError("likelihood: standard errors from a Hessian need a minimum without constraints; leave the "
                             "constraints out, or likelihood")
        if self.starts > 1 and self.name in GLOBAL:
            raise InputError(f"the method {self.name} draws points of its own; leave starts out, or take a "
                             "local method")
        problem = Loss(circuit, parameters, bound, self.loss, reduction=self.reduction, engine=self.engine)
        problem.check_start()
        if constraints is not None:
            constraints.check_start(parameters.start)

        def minimise(settings: Settings) -> Outcome:
            return self.method.function(problem, self.options, settings, constraints)
        outcome = minimise(self.settings) if self.starts == 1 else best_of_starts(
            problem, minimise, self.settings, self.starts, constraints)
        return self._result(circuit, problem, outcome, constraints)

    def _result(self, circuit: Circuit, problem: Loss, outcome: Outcome, constraints: Constraints | None) -> FitResult:
        parameters = problem.parameters
        if constraints is None:
            x, free = parameters.held(outcome.x, problem.gradient(outcome.x))
        else:
            x, free = outcome.x, (outcome.x > parameters.lower) & (outcome.x < parameters.upper)
        warnings = [*findings.of_end(converged=outcome.converged, status=outcome.status), *of_calls(parameters),
                    *findings.of_bounds(parameters, x, free)]
        covariance = errors = None
        hessian = None
        if constraints is None and (self.likelihood or free.sum() <= FEW):
            hessian = problem.hessian(x)
        if hessian is not None and np.isfinite(hessian).all():
            bent = spectrum(hessian[np.ix_(free, free)])
            warnings += findings.of_hessian(parameters, bent, free)
            warnings += findings.of_scales(parameters.names, np.sqrt(np.maximum(np.diag(hessian), 0)))
            if self.likelihood:
                covariance = np.full_like(hessian, np.nan)
                whole = problem.data.rows if self.reduction == "mean" else 1
                if bool(np.all(bent.values > bent.zero)):
                    half = bent.vectors / np.sqrt(bent.values) / bent.scale[:, None]
                    covariance[np.ix_(free, free)] = half @ half.T / whole
                errors = np.sqrt(np.diag(covariance))
        else:
            slope = problem.gradient(parameters.start)
            norms = np.array([np.linalg.norm(slope[part]) for part in parameters.slices()])
            warnings += findings.of_scales(parameters.ids, norms)
        return FitResult(circuit, parameters, problem.data, x, ~free, self.name, outcome.status, outcome.converged,
                         outcome.steps, problem.objective(x), problem.evaluations, problem.data.rows, tuple(warnings),
                         covariance, errors, engine=problem.engine)
