"""Fits a loss: sets the problem up, minimises it, and says what came of it."""

from __future__ import annotations

import numpy as np

from circuitflow.errors import InputError
from circuitflow.fitting import loss_findings as findings
from circuitflow.fitting.checkpoint import journal
from circuitflow.fitting.constraints import Constraints
from circuitflow.fitting.data import Data
from circuitflow.fitting.findings import of_calls, of_scales
from circuitflow.fitting.journal import Journal
from circuitflow.fitting.loss import Loss
from circuitflow.fitting.memory import check_memory
from circuitflow.fitting.minimize import GLOBAL, check_traits, working_memory
from circuitflow.fitting.newton import FEW, spectrum
from circuitflow.fitting.outcome import Outcome, Settings
from circuitflow.fitting.parameters import Parameters
from circuitflow.fitting.problem import Cluster, find_type
from circuitflow.fitting.request import Request
from circuitflow.fitting.result import FitResult
from circuitflow.fitting.starts import best_of_starts
from circuitflow.fitting.statistics import of_likelihood
from circuitflow.fitting.workers import cluster_of
from circuitflow.rows.fixed_order import one_thread


def fit_loss(request: Request) -> FitResult:
    """Minimise a loss.

    Raises:
        InputError: a reference, the data, the start or the method do not fit.
    """
    circuit = request.circuit
    references = [request.reference, *request.constraints]
    for text, what in zip(references, ("loss", *("constraints" for _ in request.constraints)), strict=True):
        find_type(circuit, text, what)
    parameters = Parameters.of(circuit, references, bounds=request.bounds, frozen=request.frozen, start=request.start)
    numbers, words = working_memory(request.name, request.options, parameters.size,
                                    needs_square=request.likelihood or bool(request.constraints))
    check_memory(numbers, f"method {request.name}: {words} of {parameters.size} free elements",
                 "make it less, freeze parameters, or take L-BFGS-B or training", circuit.limits)
    outputs = [circuit.find(text) for text in references]
    needed = circuit.needed({output.node for output in outputs if output is not None})
    data = Data.of(circuit, request.data, request.columns, needed=needed)
    with (journal(request, data) as answers, cluster_of(request, data) as cluster,
          one_thread(over_rows=data.over_rows)):
        return _fit(request, parameters, data, answers, cluster)


def _fit(request: Request, parameters: Parameters, data: Data, answers: Journal | None,
         cluster: Cluster | None) -> FitResult:
    circuit, name = request.circuit, request.name
    constraints = Constraints.of(circuit, parameters, data, request.constraints, request.engine, answers)
    check_traits(name, parameters, constraints)
    if constraints is not None and request.likelihood:
        raise InputError("likelihood: standard errors from a Hessian need a minimum without constraints; leave the "
                         "constraints out, or likelihood")
    starts = request.starts or 1
    if starts > 1 and name in GLOBAL:
        raise InputError(f"the method {name} draws points of its own; leave starts out, or take a local method")
    problem = Loss(circuit, parameters, data, request.reference, reduction=request.reduction or "mean",
                   engine=request.engine, journal=answers, cluster=cluster)
    if request.likelihood and request.reduction is None and problem.is_of_batch:
        raise InputError(f"likelihood: '{request.reference}' is one number for all rows of a batch; say by reduction "
                         "whether it is their \"sum\" or their \"mean\"")
    problem.check_start()
    if constraints is not None:
        constraints.check_start(parameters.start)
    function = request.method.function
    assert function is not None  # noqa: S101

    def minimise(settings: Settings) -> Outcome:
        return function(problem, request.options, settings, constraints)
    with np.errstate(all="ignore"):
        outcome = minimise(request.settings) if starts == 1 else best_of_starts(
            problem, minimise, request.settings, starts, constraints)
        return _result(request, problem, outcome, constraints)


def _result(request: Request, problem: Loss, outcome: Outcome, constraints: Constraints | None) -> FitResult:
    parameters = problem.parameters
    if constraints is None:
        x, free = parameters.held(outcome.x, problem.gradient(outcome.x))
    else:
        x, free = outcome.x, (outcome.x > parameters.lower) & (outcome.x < parameters.upper)
    warnings = [*findings.of_end(converged=outcome.converged, status=outcome.status), *of_calls(parameters),
                *findings.of_bounds(parameters, x, free)]
    covariance = errors = hessian = criteria = None
    if constraints is None and (request.likelihood or free.sum() <= FEW):
        hessian = problem.hessian(x)
    if hessian is not None and np.isfinite(hessian).all():
        bent = spectrum(hessian[np.ix_(free, free)])
        warnings += findings.of_hessian(parameters, bent, free)
        if outcome.converged:
            warnings += findings.of_rest(bent, problem.gradient(x)[free], problem.objective(x),
                                         problem.objective(parameters.start))
        warnings += of_scales("the loss changes", parameters.names, np.sqrt(np.maximum(np.diag(hessian), 0)))
        if request.likelihood:
            covariance = np.full_like(hessian, np.nan)
            whole = problem.data.rows if problem.reduction == "mean" else 1
            if bool(np.all(bent.values > bent.zero)):
                half = bent.vectors / np.sqrt(bent.values) / bent.scale[:, None]
                covariance[np.ix_(free, free)] = half @ half.T / whole
            errors = np.sqrt(np.diag(covariance))
            criteria = of_likelihood(whole * problem.objective(x), problem.data.rows, int(free.sum()))
    else:
        slope = problem.gradient(parameters.start)
        norms = np.array([np.linalg.norm(slope[part]) for part in parameters.slices()])
        warnings += of_scales("the loss changes", parameters.ids, norms)
    return FitResult(request.circuit, parameters, problem.data, x, ~free, request.name, outcome.status,
                     outcome.converged, outcome.steps, problem.objective(x), problem.evaluations, problem.data.rows,
                     tuple(warnings), covariance, errors, engine=problem.engine, criteria=criteria)
