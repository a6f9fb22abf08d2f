"""The arguments of an exported function: their names, defaults and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from circuitflow.document.numbers import as_array
from circuitflow.engines.program.functions import is_named
from circuitflow.engines.staged.derived import Derived
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Size
from circuitflow.interpreter.binding import concrete
from circuitflow.interpreter.libraries import Library

_ANY = 3
"""The size, while the lines are written, of a dimension that no default gives one."""


class Namer(Protocol):
    """Gives out names."""

    def new(self, reference: str) -> str:
        """A name that nothing else has, as near to a reference as a language allows."""


class Argument(NamedTuple):
    """An argument of the function.

    Attributes:
        id: its name in the gradient circuit.
        parameter: its name in the function.
        meaning: what it is, where its name does not say so.
        type: shape and dtype; its shape is that of the default where named dimensions have numbers.
        default: None where it has none.
    """

    id: str
    parameter: str
    meaning: str
    type: ArrayType
    default: Any


class Signature:
    """The inputs, parameters and upstream gradients of a question, and their defaults.

    Attributes:
        sizes: the sizes of named dimensions, as far as defaults have them.
        arrays: an array like each argument, by its id in the gradient circuit.
    """

    def __init__(self, derived: Derived, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
        """Bind the defaults.

        Raises:
            InputError: an unknown input, or a default that does not fit.
        """
        self._derived = derived
        question, circuit, plan = derived.question, derived.question.circuit, derived.question.plan
        inputs = {**{name: circuit.values[name] for name in derived.inputs if name in circuit.values}, **inputs}
        outputs = {text: id_ for text, id_ in derived.upstream.items() if plan.active[plan.of[text]]}
        upstream = {**{text: 1.0 for text, id_ in outputs.items() if derived.type_of(id_).shape == ()},
                    **{text: question.upstream[text] for text in outputs if text in question.upstream}, **upstream}
        # An input that the question does not need may have another size of the same name.
        sources = {name: id_ for name, id_ in derived.inputs.items() if name in plan.sources}
        self.sizes = _sizes([(derived.type_of(id_), defaults[name]) for ids, defaults in (
            (sources, inputs), (outputs, upstream)) for name, id_ in ids.items() if name in defaults])
        # What has no default is zeros meanwhile.
        arguments, seeds = question.bind(
            {**{name: self._zeros(id_) for name, id_ in derived.inputs.items() if name not in inputs}, **inputs},
            {**{text: self._zeros(id_) for text, id_ in outputs.items() if text not in upstream}, **upstream})
        self.arrays = derived.arrays(arguments, seeds)
        self._rows = [*((id_, name, f"the {circuit.nodes[name].kind} {name}", inputs.get(name))
                        for name, id_ in derived.inputs.items()),
                      *((id_, f"d{text}", f"the upstream gradient on {text}", upstream.get(text))
                        for text, id_ in outputs.items())]

    def arguments(self, names: Namer, *, as_numbers: bool) -> Iterator[Argument]:
        """The arguments, named; with `as_numbers`, named dimensions have the sizes of the defaults."""
        for id_, name, meaning, default in self._rows:
            type_, array = self._derived.type_of(id_), self.arrays.get(id_)
            if default is not None:
                default = Library.of({}).convert(default, type_, f"'{name}'") if array is None else array
            if as_numbers:
                like = default if array is None else array  # an input that nothing reads is not bound to the sizes
                if like is not None:
                    type_ = ArrayType(like.shape, type_.dtype)
                elif all(size in self.sizes for size in dimensions(type_.shape)):
                    type_ = ArrayType(concrete(type_, self.sizes), type_.dtype)
            parameter = names.new(name)
            yield Argument(id_, parameter, meaning if parameter != name else "", type_, default)

    def _zeros(self, id_: str) -> Any:
        """An array like an argument without a default; a dimension without a size has any."""
        type_ = self._derived.type_of(id_)
        sizes = {name: self.sizes.get(name, _ANY) for name in dimensions(type_.shape)}
        return np.zeros(concrete(type_, sizes), type_.dtype)


def dimensions(shape: Sequence[int | Size]) -> list[str]:
    """The names in a shape."""
    return [name for size in shape if isinstance(size, Size) for names, _ in size.terms for name in names]


def _sizes(defaults: Sequence[tuple[ArrayType, Any]]) -> dict[str, int]:
    """The sizes of named dimensions, as far as values have them. Binding tells whether they agree."""
    sizes: dict[str, int] = {}
    for type_, value in defaults:
        if is_named(type_.shape):
            shape = as_array(value, "a value").shape
            sizes |= {str(size): number for size, number in zip(type_.shape, shape, strict=False)
                      if isinstance(size, Size)}
    return sizes
