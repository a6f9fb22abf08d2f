"""Checks the key `fit` of a document against its nodes."""

from __future__ import annotations

from collections.abc import Callable

from circuitflow.document.base import READABLE
from circuitflow.document.faults import Faults
from circuitflow.document.files import ValueFaultError, check_name
from circuitflow.document.fit import DataFile, Result
from circuitflow.graph.bodies import Definition, is_whole
from circuitflow.text import listing


def check_fit(definition: Definition, resolve: Callable[[str], object], faults: Faults) -> None:
    """Note what of a fit the document does not have, and what of it does not go together.

    `resolve` gives the message of a fault as text where a reference leads nowhere. Values outside of their bounds, data
    and the options of methods are not looked at: a document runs without them.
    """
    fit, here = definition.body.fit, (*definition.pointer, "fit")

    def fault(message: str, *path: str | int, key: bool = False) -> None:
        faults.add(definition.source, message, *here, *path, key=key or not path)

    if not is_whole(definition.body):
        fault("'fit' stands at the top of a document; a subcircuit has none, so take it out")
        return
    if definition.version == READABLE[0]:
        fault(f"'fit' is a key of format {READABLE[1]}; say \"circuitflow\": \"{READABLE[1]}\"")
    if fit is None:
        return
    is_intact = not any(path[: len(here)] == here for path in definition.broken)
    if fit.residuals is not None and fit.loss is not None:
        fault("fit: 'residuals' and 'loss' exclude one another; keep one of the two", "loss", key=True)
    elif fit.residuals is None and fit.loss is None and is_intact:
        fault("fit: neither 'residuals' nor 'loss' is there; name the node that is minimised by one of the two")
    elif fit.loss is not None and fit.sigma is not None:
        fault("fit: 'sigma' goes with 'residuals'; weigh the loss in the circuit", "sigma", key=True)
    elif fit.residuals is not None and fit.reduction is not None:
        fault("fit: 'reduction' goes with 'loss'; residuals are squared and added", "reduction", key=True)
    for name in fit.columns or {}:
        if name not in definition.inputs:
            hint = faults.nearest(name, definition.inputs) or f"; its inputs are {listing(definition.inputs) or 'none'}"
            fault(f"fit: columns: there is no input '{name}'{hint}", "columns", name, key=True)
    sigma = {"sigma": fit.sigma} if isinstance(fit.sigma, str) else {}
    for key, text in {"residuals": fit.residuals, "loss": fit.loss, **sigma}.items():
        if text is not None and isinstance(message := resolve(text), str):
            fault(f"fit: '{key}': {message}", key)
    for text in fit.constraints or {}:
        if isinstance(message := resolve(text), str):
            fault(f"fit: constraints: {message}", "constraints", text, key=True)
    for key, table in (("data", fit.data), ("validation", fit.validation)):
        if isinstance(table, DataFile):
            try:
                check_name(table.file)
            except ValueFaultError as error:
                fault(f"fit: '{key}': {error}", key, *error.path)
    if fit.result is not None:
        _check_result(fit.result, fault)


def _check_result(result: Result, fault: Callable[..., None]) -> None:
    """Compare the lengths of the lists of a result."""
    count = len(result.parameters or ())
    lists = {"values": result.values, "standard_errors": result.standard_errors, "covariance": result.covariance,
             "correlation": result.correlation}
    for key, items in lists.items():
        if items is not None:
            _expect(len(items), count, fault, key)
    for key in ("covariance", "correlation"):
        for i, row in enumerate(lists[key] or ()):
            if len(row) != count:
                _expect(len(row), count, fault, key, i)
                break
    if result.confidence is not None:
        _expect(len(result.confidence.intervals), count, fault, "confidence", "intervals")


def _expect(length: int, count: int, fault: Callable[..., None], *path: str | int) -> None:
    if length != count:
        fault(f"fit: result: {path[0]} has {length} item{'s' * (length != 1)}; expected {count}, one for each of "
              "'parameters'", "result", *path)
