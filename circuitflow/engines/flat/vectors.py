"""Test vectors: calls of a circuit's functions, and the numbers that the interpreter gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.flat.functions import Member
from circuitflow.engines.flat.lowered import Lowered
from circuitflow.errors import CircuitflowError

SCALES = (1.0, 0.5, -1.25)
"""What the default inputs are multiplied by, for a vector each."""

TOLERANCES = {"float64": 1e-12, "float32": 1e-4, "float16": 1e-1}
"""What the errors of results are below, relative to `scale_of`, by dtype."""


class Vector(NamedTuple):
    """A call and its results.

    Attributes:
        arguments: numbers of the members of what functions take, by their keys there.
        results: what the interpreter gives, by function: for each struct that it fills in, numbers of the members.
    """

    arguments: Mapping[str, Any]
    results: Mapping[str, Sequence[Sequence[Any]]]


def vectors(low: Lowered) -> Iterator[Vector]:
    """Calls with the defaults, and with inputs that are multiples of them; those that a gate refuses are left out.

    An argument without a default has other numbers.
    """
    asked, builder = low.asked, low.builder
    derived, question, seen = asked.derived, asked.derived.question, set[bytes]()
    seeds = {id_: text for text, id_ in derived.upstream.items()}
    members = {key: member for function in low.functions for struct in function.takes
               for key, member in struct.members.items()}
    plain = {key: _numbers(member) if member.default is None else member.default for key, member in members.items()}
    for scale in SCALES:
        here = {key: (x * x.dtype.type(scale) if key in builder.inputs.members and key not in seeds
                      and x.dtype.kind == "f" else x) for key, x in plain.items()}
        contents = b"".join(x.tobytes() for x in here.values())
        if contents in seen:
            continue
        seen.add(contents)
        arguments = {reference: here[id_].astype(question.circuit.nodes[reference].types[0].dtype)
                     for reference, id_ in derived.inputs.items()}
        sent = {text: here[id_].astype(derived.type_of(id_).dtype) for id_, text in seeds.items() if id_ in here}
        with suppress(CircuitflowError):
            bound, starts = question.bind({**asked.inputs, **arguments}, {**asked.upstream, **sent})
            values, gradients = question.interpret(bound, starts)
            yield Vector(here, {"value": [values], "value_and_grad": [values, gradients],
                                **{each.name: [each.numbers(here)] for each in low.higher}})


def _numbers(member: Member) -> Any:
    """Numbers for an argument that has none."""
    size = int(np.prod(member.shape))
    numbers = np.linspace(0.9, -0.4, size) if member.dtype.kind == "f" else np.zeros(size)
    return numbers.astype(member.dtype).reshape(member.shape)


def tolerance_of(low: Lowered) -> float:
    """How far results may be from the interpreter's: by the shortest floats of the circuit and of the functions."""
    dtypes = {type_.dtype for node in low.asked.derived.circuit.nodes.values() for type_ in node.types}
    dtypes |= {member.dtype.name for function in low.functions for struct in function.structs
               for member in struct.members.values()}
    return max(TOLERANCES.get(dtype, 0.0) for dtype in dtypes)


def scale_of(numbers: Any, vector: Vector) -> float:
    """What the error of some results is relative to: the largest of them, or a thousandth of the largest of all.

    Results that are nothing but rounding errors of others are thus right.
    """
    def largest(x: Any) -> float:
        finite = np.abs(np.asarray(x, np.float64))
        return float(np.max(finite[np.isfinite(finite)], initial=0.0))

    return max(largest(numbers), *(largest(x) / 1000 for xs in vector.results["value_and_grad"] for x in xs))
