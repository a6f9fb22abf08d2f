"""Derivatives of one output by the free parameters, over blocks of data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from circuitflow.fitting.data import Block, Data
from circuitflow.fitting.evaluation import Evaluation
from circuitflow.fitting.parameters import Parameters, Vector
from circuitflow.graph.circuit import Circuit
from circuitflow.transforms.derivatives import jacobian, jvp, reverse

Values = Mapping[str, Any]
"""Values of parameters, by id."""


class SlopesOfScalar:
    """A scalar of every row, with its gradients: one reverse sweep over all rows."""

    def __init__(self, circuit: Circuit, output: str, parameters: Parameters, data: Data, engine: str) -> None:
        self._evaluation = Evaluation(circuit, [output], parameters.ids, data, engine)

    def __call__(self, block: Block, values: Values) -> tuple[Any, list[Any]]:
        """The values, of shape (rows,), and the gradients, of shape (elements, rows) for every parameter."""
        rows = block.rows if self._evaluation.over_rows else 1
        (output,), gradients = self._evaluation(block, values)
        return output.reshape(rows), [np.reshape(x, (rows, -1)).T for x in gradients]


class SlopesInReverse:
    """An output of many elements, with its Jacobian by a reverse sweep for every element."""

    def __init__(self, circuit: Circuit, output: str, parameters: Parameters, data: Data, engine: str) -> None:
        self._value = Evaluation(circuit, [output], [], data, engine)
        blocks = jacobian(circuit, output, parameters.ids)
        self._evaluation = Evaluation(blocks, list(blocks.outputs), [], data, engine)
        self._parameters = parameters

    def __call__(self, block: Block, values: Values) -> tuple[Any, list[Any]]:
        """The elements, of shape (count,), and the Jacobian: parts of its transpose, one upon the other."""
        output = self._value(block, values)[0][0].ravel()
        parts, _ = self._evaluation(block, values)
        return output, [np.reshape(x, (output.size, -1)).T for x in parts]


class SlopesInForwardMode:
    """An output of many elements, with its Jacobian by a forward pass for every element of the parameters."""

    def __init__(self, circuit: Circuit, output: str, parameters: Parameters, data: Data, engine: str) -> None:
        self._value = Evaluation(circuit, [output], [], data, engine)
        tangent = jvp(circuit, output, parameters.ids)
        self._evaluation = Evaluation(tangent, list(tangent.outputs), [], data, engine)
        self._tangents = Tangents(circuit, tangent, parameters)

    def __call__(self, block: Block, values: Values) -> tuple[Any, list[Any]]:
        """The elements, of shape (count,), and the Jacobian: parts of its transpose, one upon the other."""
        output = self._value(block, values)[0][0].ravel()
        return output, [self._evaluation(block, {**values, **tangent})[0][0].reshape(1, -1)
                        for tangent in self._tangents.units()]


class Tangents:
    """The inputs of a circuit in forward mode for the tangents of parameters."""

    def __init__(self, before: Circuit, after: Circuit, parameters: Parameters) -> None:
        self._parameters = parameters
        self._names = {name: added_input(before, after, f"{name}_dot") for name in parameters.ids}

    @property
    def names(self) -> Collection[str]:
        """The ids of the inputs."""
        return self._names.values()

    def along(self, v: Vector) -> dict[str, Any]:
        """The tangents for a direction."""
        return {self._names[name]: value for name, value in self._parameters.values(v).items()}

    def units(self) -> list[dict[str, Any]]:
        """The tangents for the direction of every element, in order."""
        return [self.along(unit) for unit in np.eye(self._parameters.size)]


class Curvature:
    """The Hessian of an output, weighted by an upstream gradient, times a vector: forward mode over reverse mode.

    Attributes:
        is_zero: whether the output is linear in the parameters, as the circuit of its Hessian shows.
    """

    def __init__(self, circuit: Circuit, output: str, parameters: Parameters, data: Data, engine: str) -> None:
        first = reverse(circuit, output, parameters.ids, values=False, seeded=True, again=True)
        second = jvp(first.circuit, wrt=first.by)
        self._upstream = first.upstream[output]
        self._tangents = Tangents(first.circuit, second, parameters)
        self._evaluation = Evaluation(second, list(second.outputs), [], data, engine)
        self._size = parameters.size
        self.is_zero = second.needed({output.node for output in second.outputs.values()}).isdisjoint(
            self._tangents.names)

    def __call__(self, block: Block, values: Values, v: Vector, upstream: Any) -> Vector:
        """The product for a block, summed over its rows.

        Args:
            block: the block.
            values: of the parameters.
            v: the vector.
            upstream: the weight of every element of the output, in its shape, over rows with the rows in front.
        """
        if self.is_zero:
            return np.zeros(self._size)
        outputs, _ = self._evaluation(block, {**values, **self._tangents.along(v)}, {self._upstream: upstream})
        if self._evaluation.over_rows:
            outputs = [x.sum(axis=0, dtype=np.float64) for x in outputs]
        return np.concatenate([np.ravel(x) for x in outputs], dtype=np.float64)


def added_input(before: Circuit, after: Circuit, hint: str) -> str:
    """The name of an input that a transform added: the hint, or with a number where that is taken."""
    name, number = hint, 1
    while name in before.nodes:
        number += 1
        name = f"{hint}_{number}"
    return name
