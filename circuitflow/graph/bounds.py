"""The bounds of parameters: arrays of a parameter's shape, and whether its value lies between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from circuitflow.document.faults import Faults
from circuitflow.document.files import ValueFaultError
from circuitflow.document.model import ParameterNode
from circuitflow.document.tensors import Array, TensorFiles
from circuitflow.document.values import to_array
from circuitflow.document.writing import tidy
from circuitflow.gates.shapes import show
from circuitflow.graph.bodies import Site
from circuitflow.graph.typed import TypedBody


def read_bounds(site: Site, node: ParameterNode, files: TensorFiles, faults: Faults) -> tuple[Array, Array] | None:
    """The least and the largest value of every element of a parameter; None where it has no bounds, or after a fault.

    A side that is left out is infinite. A number holds for every element and takes no memory for each.
    """
    assert site.array is not None  # noqa: S101
    if node.min is None and node.max is None:
        return None
    if site.array.dtype.kind != "f":
        _note(site, faults, f"a parameter of dtype {site.array.dtype} has no bounds, because nothing can be fitted; "
                            "make it float64, or take the bounds out", "max" if node.min is None else "min")
        return None
    lower = _side(site, node.min, "min", -np.inf, files, faults)
    upper = _side(site, node.max, "max", np.inf, files, faults)
    if lower is None or upper is None:
        return None
    crossed = np.argwhere(np.greater(lower, upper))
    if len(crossed):
        index = tuple(map(int, crossed[0]))
        least, most = (_number(side[index]) for side in (lower, upper))
        at = f" at {list(index)}" if index else ""
        _note(site, faults, f"its bounds cross{at}: 'min' is {least}, 'max' is {most}; expected min ≤ max", "max",
              *(index if isinstance(node.max, list) else ()))
        return None
    return lower, upper


def check_start(circuit: TypedBody) -> None:
    """Refuse values of parameters outside of their bounds, from which no fit can start; frozen ones may have any.

    Loading does not look at this, because a run does not need it.

    Raises:
        DocumentError: with every such parameter, each with its place.
    """
    faults = Faults()
    for site in dict.fromkeys(node.site for node in circuit.nodes.values() if node.kind == "parameter"):
        if site is None or site.bounds is None or site.array is None or getattr(site.node, "frozen", False):
            continue
        array, (lower, upper) = site.array, site.bounds
        outside = np.argwhere(~(np.less_equal(lower, array) & np.less_equal(array, upper)))
        if len(outside):
            index = tuple(map(int, outside[0]))
            at = f" at {list(index)}" if index else ""
            value, least, most = (_number(numbers[index]) for numbers in (array, lower, upper))
            _note(site, faults, f"its value{at} is {value}; expected a start between 'min' {least} and 'max' {most}",
                  "value")
    faults.raise_if_any()


def _side(site: Site, value: Any, key: str, default: float, files: TensorFiles, faults: Faults) -> Array | None:
    """One of the bounds; None after a fault."""
    assert site.array is not None  # noqa: S101
    shape, dtype = site.array.shape, str(site.array.dtype)
    try:
        array = to_array(default if value is None else value, dtype=dtype, default=dtype, folder=None, files=files)
    except ValueFaultError as fault:
        _note(site, faults, f"'{key}': {fault}", key, *fault.path)
        return None
    if array.shape not in ((), shape):
        _note(site, faults, f"'{key}' has shape {show(array.shape)}; expected a number, or nested lists of shape "
                            f"{show(shape)}, as the value", key)
        return None
    empty = np.argwhere((array != array) | (array == -default))
    if len(empty):
        index = tuple(map(int, empty[0]))
        _note(site, faults, f"'{key}' is {_number(array[index])}, so no value is allowed; write a number, or leave it "
                            "out", key, *index)
        return None
    return np.broadcast_to(array, shape)


def _number(value: Any) -> Any:
    return tidy(value.item())


def _note(site: Site, faults: Faults, message: str, *path: str | int) -> None:
    faults.add(site.source, f"node '{site.node.id}': {message}", *site.pointer, *path, node=site.node.id)
