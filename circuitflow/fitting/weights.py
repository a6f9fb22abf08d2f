"""Residuals divided by their standard deviations, and what they compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.document.model import GateNode, InputNode
from circuitflow.errors import InputError
from circuitflow.fitting.data import Block
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.fitting.problem import Problem, find_type
from circuitflow.fitting.squares import SumOfSquares
from circuitflow.graph.circuit import Circuit
from circuitflow.text import printable, short

Sigma = str | Mapping[str, str]
"""Standard deviations of the residuals: a reference to a node, or `{"column": name}`."""


class Weighted(NamedTuple):
    """A circuit with weighted residuals.

    Attributes:
        circuit: the circuit.
        residuals: the reference of the weighted residuals.
        sigma: that of the standard deviations; None where all weigh the same.
        columns: the columns of the inputs that were added.
    """

    circuit: Circuit
    residuals: str
    sigma: str | None
    columns: Mapping[str, str]


def weighted(circuit: Circuit, residuals: str, sigma: Sigma | None) -> Weighted:
    """The circuit with its residuals divided by standard deviations, which may depend on parameters too.

    Raises:
        InputError: a reference is unknown, or sigma is something else.
    """
    type_ = find_type(circuit, residuals, "residuals")
    if sigma is None:
        return Weighted(circuit, residuals, None, {})
    nodes: list[Any] = list(circuit.document.nodes)
    columns: dict[str, str] = {}
    if isinstance(sigma, str):
        find_type(circuit, sigma, "sigma")
        divisor = sigma
    elif isinstance(sigma, Mapping) and set(sigma) == {"column"} and isinstance(sigma["column"], str):
        divisor = free_name(circuit, "sigma")
        shape = [str(size) if not isinstance(size, int) else size for size in type_.shape]
        nodes.append(InputNode(id=divisor, gate="input", shape=shape, dtype="float64"))
        columns = {divisor: sigma["column"]}
    else:
        raise InputError(f"sigma is {short(sigma)}; expected a reference to a node, or {{'column': …}}")
    name = free_name(circuit, "weighted_residuals")
    nodes.append(GateNode(id=name, gate="div", inputs=[residuals, divisor]))
    document = circuit.document.model_copy(update={"nodes": nodes, "outputs": [*circuit.document.outputs, name]})
    return Weighted(circuit.derived(document), name, divisor, columns)


def check_sigma(problem: SumOfSquares, prepared: Weighted, stated: Sigma | None) -> None:
    """Refuse standard deviations that are not above 0, at the start.

    Raises:
        InputError: one is not; the message names the column or node, and the row.
    """
    if prepared.sigma is None:
        return
    wrong = problem.fold(_not_positive, (problem.parameters.start, prepared.sigma), _first)
    if wrong is not None:
        shown = f"column '{printable(stated['column'], 60)}'" if isinstance(stated, Mapping) else f"'{prepared.sigma}'"
        raise InputError(f"sigma: {shown} is {wrong[1]} in row {wrong[0]}; expected standard deviations, which are "
                         "above 0; take the row out, or give it another one")


def _not_positive(problem: Problem, block: Block, x: Vector, reference: str) -> tuple[int, float] | None:
    """The number of the first row whose value is not above 0, and that value."""
    values = problem.evaluation(reference)(block, problem.parameters.values(x))[0][0]
    places = np.flatnonzero(~(values > 0))
    if not places.size:
        return None
    return block.first + int(places[0]) * block.rows // values.size + 1, values.flat[places[0]]


def _first(above: tuple[int, float] | None, below: tuple[int, float] | None) -> tuple[int, float] | None:
    return above or below


class Comparison(NamedTuple):
    """What residuals compare: the references of what the circuit predicts, and of what was observed."""

    predicted: str
    observed: str


def comparison(circuit: Circuit, residuals: str, parameters: Parameters) -> Comparison | None:
    """What residuals compare, where they are a difference of which one side depends on no free parameter.

    The other side is the prediction. None where residuals are anything else.
    """
    output = circuit.find(residuals)
    if output is None or circuit.nodes[output.node].kind != "sub":
        return None
    node = circuit.nodes[output.node]
    depends = [not circuit.needed({edge.source}).isdisjoint(parameters.ids) for edge in node.operands]
    if sum(depends) != 1:
        return None
    names = circuit.operand_names(node)
    return Comparison(names[depends.index(True)], names[depends.index(False)])


def free_name(circuit: Circuit, hint: str) -> str:
    name, number = hint, 1
    while name in circuit.nodes or name in circuit.definition.sites:
        number += 1
        name = f"{hint}_{number}"
    return name
