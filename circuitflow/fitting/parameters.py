"""The free parameters of a circuit, as one vector."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitflow.document.numbers import as_numpy
from circuitflow.errors import InputError
from circuitflow.gates import ArrayType
from circuitflow.graph.circuit import Circuit
from circuitflow.text import listing, nearest, printable, short

Vector = np.ndarray[Any, np.dtype[np.float64]]
"""A float64 array of one axis."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""Marks elements of a vector."""

Bounds = Mapping[str, Sequence[Any]]
"""Parameter → (lower, upper): each a number, None for no bound, or nested lists of these in the parameter's shape."""


@dataclass(frozen=True, eq=False)
class Parameters:
    """The free parameters of a circuit as one float64 vector: parameter after parameter, each in C order.

    Attributes:
        types: shape and dtype of every free parameter, by id, in the order of the document.
        names: the name of every element, such as "a" or "w[0, 1]".
        start: where a fit starts: the document's values, unless others are given.
        lower, upper: the bounds of every element; −∞ and ∞ where there is none.
        inside: those that are not free because they lie inside calls, and that the document does not freeze.
    """

    types: Mapping[str, ArrayType]
    names: tuple[str, ...]
    start: Vector
    lower: Vector
    upper: Vector
    inside: tuple[str, ...] = ()

    @classmethod
    def of(cls, circuit: Circuit, references: Collection[str], *, bounds: Bounds | None = None,
           frozen: Collection[str] | None = None,
           start: Mapping[str, Any] | None = None) -> Parameters:
        """The parameters that some nodes depend on, without the frozen ones.

        Those inside a call are not free: the document has one value for all calls of a subcircuit.

        Args:
            circuit: the circuit.
            references: the nodes that a fit looks at, such as its residuals.
            bounds: lower and upper bounds, by id, instead of the document's.
            frozen: ids of parameters that keep their values; None for those that the document freezes.
            start: values to start from instead of the document's, by id.

        Raises:
            InputError: an id is no parameter, a bound is not valid, a start lies outside, or no parameter is free.
        """
        bounds, start = bounds or {}, start or {}
        everyone = [name for name, node in circuit.nodes.items()
                    if node.kind == "parameter" and name in circuit.definition.sites]
        for what, ids in (("bounds", bounds), ("frozen", frozen or ()), ("start", start)):
            for name in ids:
                if name not in everyone and name in circuit.nodes and circuit.nodes[name].kind == "parameter":
                    raise InputError(f"{what}: parameter '{printable(name, 60)}' lies inside a call, where it keeps "
                                     "its value; make it an input of the subcircuit")
                if name not in everyone:
                    raise InputError(f"{what}: there is no parameter '{printable(name, 60)}'"
                                     f"{nearest(name, everyone) or f'; there are {listing(everyone) or None}'}")
        needed = circuit.needed({output.node for text in references if (output := circuit.find(text)) is not None})
        fixed = circuit.frozen if frozen is None else set(frozen)
        types = {name: circuit.nodes[name].types[0] for name in everyone if name in needed and name not in fixed
                 and circuit.nodes[name].types[0].is_float}
        if not types:
            raise InputError(f"no parameter is free: {listing(references)} depends on "
                             f"{listing(name for name in everyone if name in needed) or 'none'}, and frozen are "
                             f"{listing(sorted(fixed)) or 'none'}; make an input a parameter, or free one")
        vectors = [_vectors(circuit, name, type_, bounds.get(name, circuit.bounds.get(name)),
                            start.get(name)) for name, type_ in types.items()]
        names = tuple(element for name, type_ in types.items() for element in _elements(name, type_))
        begin, lower, upper = (np.concatenate(parts) for parts in zip(*vectors, strict=True))
        _check(names, begin, lower, upper)
        inside = tuple(name for name, node in circuit.nodes.items() if node.kind == "parameter" and name in needed
                       and name not in circuit.definition.sites and name not in circuit.frozen)
        return cls(types, names, begin, lower, upper, inside)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the free parameters."""
        return tuple(self.types)

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self.names)

    @property
    def bounded(self) -> bool:
        """Whether any element has a bound."""
        return bool(np.any(np.isfinite(self.lower)) or np.any(np.isfinite(self.upper)))

    def held(self, x: Vector, slope: Vector) -> tuple[Vector, Mask]:
        """The point with elements put on the bounds that hold them, by the gradient, and a mark for those free."""
        near = 1e-6 * np.maximum(np.abs(x), 1e-6)
        low = (x - self.lower <= near) & (slope > 0)
        high = (self.upper - x <= near) & (slope < 0)
        return np.asarray(np.where(low, self.lower, np.where(high, self.upper, x))), ~(low | high)

    def values(self, x: Vector) -> dict[str, Any]:
        """The parameters by id, each in its shape and dtype, from a vector."""
        return {name: np.asarray(x[part].reshape(_shape(type_)), type_.dtype)
                for (name, type_), part in zip(self.types.items(), self.slices(), strict=True)}

    def vector(self, values: Mapping[str, Any]) -> Vector:
        """The vector of parameters, or of gradients on them, by id."""
        return np.concatenate([np.ravel(np.asarray(values[name], np.float64)) for name in self.types])

    def slices(self) -> Iterator[slice]:
        """Where each parameter stands in the vector, in the order of `ids`."""
        first = 0
        for type_ in self.types.values():
            size = math.prod(_shape(type_))
            yield slice(first, first + size)
            first += size


def _shape(type_: ArrayType) -> tuple[int, ...]:
    """The shape of a parameter: it has a value, so its sizes are numbers."""
    return tuple(size for size in type_.shape if isinstance(size, int))


def element_name(name: str, index: tuple[int, ...]) -> str:
    """The name of an element of a parameter, such as "a" or "w[0, 1]"."""
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _elements(name: str, type_: ArrayType) -> Iterator[str]:
    return (element_name(name, index) for index in np.ndindex(*_shape(type_)))


def _vectors(circuit: Circuit, name: str, type_: ArrayType, bounds: Sequence[Any] | None,
             start: Any) -> tuple[Vector, Vector, Vector]:
    """The start and the bounds of one parameter."""
    shape = _shape(type_)
    if bounds is None:
        bounds = (None, None)
    if isinstance(bounds, str) or not isinstance(bounds, Sequence) or len(bounds) != 2:
        raise InputError(f"bounds of '{name}' are {short(bounds)}; expected a pair, (lower, upper), with None for none")
    value = circuit.values[name] if start is None else start
    ends = [as_numpy(_opened(bound, open_), "float64", f"{side} bound of '{name}'")
            for bound, open_, side in zip(bounds, (-np.inf, np.inf), ("lower", "upper"), strict=True)]
    arrays = [as_numpy(value, "float64", f"the start of '{name}'"), *ends]
    for array, what in zip(arrays, ("the start", "the lower bound", "the upper bound"), strict=True):
        if array.shape != shape and (array.shape or what == "the start"):
            raise InputError(f"{what} of '{name}' has shape {array.shape}; expected {shape}, the parameter's")
    begin, lower, upper = (np.ravel(np.broadcast_to(array, shape)).astype(np.float64) for array in arrays)
    return begin, lower, upper


def _opened(bound: Any, open_: float) -> Any:
    """A bound, or nested lists of them, with infinity in place of None."""
    if isinstance(bound, list | tuple):
        return [_opened(part, open_) for part in bound]
    return open_ if bound is None else bound


def _check(names: Sequence[str], start: Vector, lower: Vector, upper: Vector) -> None:
    for name, x, low, high in zip(names, start.tolist(), lower.tolist(), upper.tolist(), strict=True):
        if not np.isfinite(x):
            raise InputError(f"parameter '{name}' starts at {x}; expected a finite number; give it another value")
        if low == high:
            raise InputError(f"the bounds of parameter '{name}' are both {low:g}; freeze it to keep its value")
        if not low < high:
            raise InputError(f"the bounds of parameter '{name}' are crossed: the lower is {low:g}, the upper {high:g}; "
                             "exchange them")
        if not low <= x <= high:
            raise InputError(f"parameter '{name}' starts at {x:g}, outside of its bounds {low:g} to {high:g}; give it "
                             "another value, or move the bound")
