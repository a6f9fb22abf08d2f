"""A document that was fitted is fitted again from where the fit began, so that the result is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from circuitflow.document.fit import Result
from circuitflow.document.model import TensorFile
from circuitflow.document.rewriting import with_fit
from circuitflow.fitting.parameters import element_name
from circuitflow.graph.circuit import Circuit


def as_before(circuit: Circuit) -> Circuit:
    """The circuit as it was before it was fitted: with the start in place of the values found, and without a result.

    A parameter that no longer has the value found keeps its value: somebody gave it another start.

    Raises:
        DocumentError, InputError: a start in the result is not a value of its parameter.
    """
    fit = circuit.document.fit
    if fit is None or fit.result is None:
        return circuit
    starts = {name: fit.result.start[name] for name in _untouched(circuit, fit.result)} if fit.result.start else {}
    document = circuit.with_values(starts).document if starts else circuit.document
    left = {key: getattr(fit, key) for key in fit.model_fields_set if key != "result"}
    return circuit.derived(with_fit(document, type(fit).model_construct(set(left), **left)))


def _untouched(circuit: Circuit, result: Result) -> Iterator[str]:
    """The parameters of which the document has the value that the fit found."""
    values = dict(zip(result.parameters or (), result.values or (), strict=False))
    nodes = {node.id: node for node in circuit.document.nodes}
    for name in result.start or {}:
        value = getattr(nodes.get(name), "value", None)
        if isinstance(value, TensorFile):
            if value.sha256 is not None:  # only a fit writes it so; another file has another digest
                yield name
        elif name in circuit.values and name in nodes:
            array = np.asarray(circuit.values[name], np.float64)
            elements = (values.get(element_name(name, index)) for index in np.ndindex(array.shape))
            if [_float(x) for x in elements] == array.ravel().tolist():
                yield name


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
