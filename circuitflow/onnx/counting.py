"""How many nodes a model comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from circuitflow.document.limits import Limits
from circuitflow.errors import InputError
from circuitflow.onnx.library import domain_of, text_of
from circuitflow.text import circle, printable

FunctionKey = tuple[str, str, str]
"""A function: its domain, name and overload."""


def function_key(entry: Any, name: Any) -> FunctionKey:
    """The key of a function, or of what a node applies."""
    return domain_of(entry), text_of(name), text_of(entry.overload)


def need_few_nodes(graph: Any, functions: Mapping[FunctionKey, Any], file: str, limits: Limits) -> None:
    """Count what a graph comes to, with the bodies of functions in the places of nodes, before they are written there.

    Raises:
        InputError: nodes, or functions inside of functions, are more than are allowed; or functions apply themselves.
    """
    if not functions:
        return
    applied = {key: Counter(_applied(function.node)) for key, function in functions.items()}
    try:
        order = [*TopologicalSorter({key: others.keys() & functions.keys() for key, others in applied.items()})
                 .static_order()]
    except CycleError as error:
        names = circle([printable(name, 40) for _, name, _ in error.args[1][:-1]])
        raise InputError(f"'{file}' has functions that apply themselves: {names}") from None
    totals, depths = dict[FunctionKey, int](), dict[FunctionKey, int]()
    for key in order:
        depths[key] = 1 + max((depths[other] for other in applied[key] if other in depths), default=0)
        if depths[key] > limits.nesting:
            raise InputError(f"'{file}' has functions inside of functions, more than {limits.nesting} deep (limit "
                             "nesting)")
        totals[key] = min(limits.nodes, sum(
            count * (1 + totals.get(other, 0)) for other, count in applied[key].items()))
    if sum(1 + totals.get(key, 0) for key in _applied(graph.node)) > limits.nodes:
        raise InputError(f"'{file}' comes to more than {limits.nodes} nodes, with the bodies of its functions (limit "
                         "nodes)")


def _applied(nodes: Any) -> Iterator[FunctionKey]:
    """What nodes apply, with those of the graphs inside of them."""
    for node in nodes:
        yield function_key(node, node.op_type)
        for attribute in node.attribute:
            yield from _applied(attribute.g.node)
