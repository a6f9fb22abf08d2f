"""Values given at run time, checked against the circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitflow.document.limits import Budget
from circuitflow.document.numbers import is_foreign
from circuitflow.errors import InputError
from circuitflow.gates.shapes import ArrayType, Size, show
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.libraries import Library, precise
from circuitflow.interpreter.plan import Plan
from circuitflow.text import nearest, printable, short


class Bound(NamedTuple):
    """The sources of a run, by id, as arrays of one library; and the sizes of the named dimensions."""

    xp: Any
    arrays: Mapping[str, Any]
    sizes: Mapping[str, int]


def library_of(inputs: Mapping[str, Any] | None, upstream: Mapping[str, Any] | None = None) -> Library:
    """The one library of the values that a run is given: of inputs and of upstream gradients.

    Raises:
        InputError: these are no mappings by name, a value is no array, or there are arrays of several libraries.
        MissingExtraError: arrays other than NumPy's need the extra `arrays`.
    """
    need_mappings(inputs, upstream)
    return Library.of({f"{what}'{printable(name, 60)}'": value
                       for what, values in (("", inputs), ("upstream ", upstream))
                       for name, value in (values or {}).items() if is_foreign(value)})


def need_mappings(inputs: Any, upstream: Any) -> None:
    """Refuse inputs and upstream gradients that are no mappings by name.

    Raises:
        InputError: one of them is none.
    """
    for what, values, example in (("inputs", inputs, "{'x': 1.0}"), ("upstream", upstream, "{'f': 1.0}")):
        if values is not None and not isinstance(values, Mapping):
            raise InputError(f"{what} is {short(values)}; expected a mapping by id, such as {example}")
        for name in values or {}:
            if not isinstance(name, str):
                raise InputError(f"{what}: {short(name)} is no id; expected a mapping by id, such as {example}")


def bind_call(circuit: Circuit, plan: Plan, inputs: Mapping[str, Any] | None, upstream: Mapping[str, Any] | None, *,
              explicit: bool) -> tuple[Library, Bound, dict[int, Any]]:
    """The library of what a run is given, the values of every source, and the upstream gradients, by slot.

    Arguments and errors are those of `library_of`, `bind` and `upstream_gradients`.
    """
    library = library_of(inputs, upstream)
    with precise(library.xp):
        bound = bind(circuit, plan, library, inputs or {})
        seeds = upstream_gradients(circuit, plan, library, bound.sizes, upstream or {}, explicit=explicit)
    return library, bound, seeds


def bind(circuit: Circuit, plan: Plan, library: Library, inputs: Mapping[str, Any]) -> Bound:
    """The values of every source that a plan needs; inputs win over the document.

    Raises:
        InputError: an unknown id, a missing value, a wrong shape or dtype, or sizes that contradict one another.
    """
    for name in inputs:
        node = circuit.nodes.get(name)
        if node is None:
            arguments = [other.id for other in circuit.nodes.values() if other.is_argument]
            raise InputError(f"there is no input '{printable(name, 60)}' in circuit '{printable(circuit.name, 60)}'"
                             f"{nearest(name, arguments) or '; it has ' + (', '.join(arguments[:8]) or 'none')}")
        if not node.is_argument:
            what = "a constant" if node.kind == "constant" else f"computed, by {node.kind}"
            raise InputError(f"'{name}' cannot be given a value: it is {what}; inputs and parameters can")
    missing = [name for name in plan.sources if name not in inputs and name not in circuit.values]
    if missing:
        names = ", ".join(f"'{name}' {_wording(circuit.nodes[name].types[0])}" for name in missing[:8])
        raise InputError(f"no value for input {names}{' and others' if len(missing) > 8 else ''}; it has no default, "
                         f"so give it one (--set {missing[0]}=…)")
    sizes: dict[str, int] = {}
    bound_by: dict[str, str] = {}
    arrays: dict[str, Any] = {}
    for name in plan.sources:
        expected = circuit.nodes[name].types[0]
        array = library.convert(inputs[name], expected, f"'{name}'") if name in inputs else circuit.values[name]
        _check_shape(name, tuple(array.shape), expected, sizes, bound_by)
        arrays[name] = array if name in inputs else library.move(array)
    if sizes:
        _check_sizes(plan, sizes, Budget(circuit.limits))
    return Bound(library.xp, arrays, sizes)


def _wording(type_: ArrayType) -> str:
    return f"({type_.dtype} {show(type_.shape)})" if type_.shape else f"(a {type_.dtype})"


def _check_shape(name: str, shape: tuple[int, ...], expected: ArrayType, sizes: dict[str, int],
                 bound_by: dict[str, str]) -> None:
    if shape == expected.shape:  # without named dimensions
        return
    if len(shape) != len(expected.shape):
        raise InputError(f"'{name}' has shape {show(shape)}; expected {show(expected.shape)}")
    for length, size in zip(shape, expected.shape, strict=True):
        if isinstance(size, Size):
            dimension = str(size)
            if sizes.setdefault(dimension, length) != length:
                raise InputError(f"'{name}' has shape {show(shape)}; expected {show(expected.shape)}, and "
                                 f"'{bound_by[dimension]}' has {dimension} = {sizes[dimension]}")
            bound_by.setdefault(dimension, name)
        elif size != length:
            raise InputError(f"'{name}' has shape {show(shape)}; expected {show(expected.shape)}")


def concrete(type_: ArrayType, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with every named dimension replaced by its size."""
    return tuple(size if isinstance(size, int) else int(size.substitute(sizes))  # type: ignore[arg-type]
                 for size in type_.shape)


def _check_sizes(plan: Plan, sizes: Mapping[str, int], budget: Budget) -> None:
    for step in plan.steps:
        for type_ in step.node.types:
            if message := budget.spend(concrete(type_, sizes), type_.dtype):
                raise InputError(f"node '{step.node.id}': {message}")


def upstream_gradients(circuit: Circuit, plan: Plan, library: Library, sizes: Mapping[str, int],
                       upstream: Mapping[str, Any], *, explicit: bool) -> dict[int, Any]:
    """The upstream gradients that the sweep begins with, by slot; those of the run win over the document.

    Raises:
        InputError: one is missing, has a wrong shape or dtype, or belongs to no output of the plan.
    """
    upstream = by_output(circuit, plan, upstream)
    seeds: dict[str, Any] = {}
    for text, slot in plan.of.items():
        type_ = plan.outputs[text]
        if not type_.is_float and (explicit or text in upstream):
            raise InputError(f"'{text}' is {type_.dtype}; integers and booleans have no gradient")
        if not plan.active[slot] and text not in upstream:
            continue
        shape = concrete(type_, sizes)
        if text in upstream:
            seed = library.convert(upstream[text], type_, f"upstream '{text}'")
        elif circuit.upstream and (name := circuit.upstream_name(text)):
            seed = library.move(circuit.upstream[name])
        elif shape == ():
            seed = library.convert(1.0, type_, "1")
        else:
            raise InputError(
                f"'{text}' has shape {show(shape)}, so its gradients need the upstream gradient on it: give one of "
                f"that shape (--upstream {text}=FILE), write it under 'upstream' in the document, ask for a scalar "
                "output, or run the forward pass alone (--forward)")
        if tuple(seed.shape) != shape:
            raise InputError(f"upstream '{text}' has shape {show(tuple(seed.shape))}; expected {show(shape)}, as the "
                             "output")
        seeds[text] = seed
    return plan.seeds(seeds)


def by_output(circuit: Circuit, plan: Plan, upstream: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream gradients by the references in the question, one for each output.

    Raises:
        InputError: one belongs to no output of the plan, or two to the same.
    """
    gradients: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    for name, value in upstream.items():
        output = circuit.find(name) if name not in plan.of else None
        text = name if output is None else next((text for text in plan.of if circuit.find(text) == output), name)
        if text not in plan.of:
            raise InputError(f"upstream '{printable(name, 60)}': not one of the outputs asked for"
                             f"{nearest(name, plan.of) or ', which are ' + ', '.join(list(plan.of)[:8])}")
        if text in gradients:
            raise InputError(f"upstream '{name}': it is the output '{spellings[text]}', which is given one too; "
                             "give one")
        gradients[text], spellings[text] = value, name
    return gradients
