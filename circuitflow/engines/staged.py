"""Staged code of scalars: straight-line Python over floats, one simple line a stage, forward then backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from circuitflow.engines.derived import Derived
from circuitflow.engines.program import Program, program
from circuitflow.engines.scalars import FORMS, NAMES, inlinable, is_scalar, number, writable, written
from circuitflow.engines.source import Source, function
from circuitflow.engines.trace import Called, Line


def scalar_program(derived: Derived) -> Program | None:
    """The program of a circuit of float64 and truth values alone; None for any other."""
    plan = derived.plan
    if not all(type_.shape == () and type_.dtype in ("float64", "bool")
               for step in plan.steps for type_ in step.node.types):
        return None
    nodes = derived.circuit.nodes
    samples = {name: np.zeros((), nodes[name].types[0].dtype)[()] for name in plan.sources
               if nodes[name].kind != "constant"}
    constants = {name: derived.circuit.values[name] for name in plan.sources if name not in samples}
    if not all(map(is_scalar, (*samples.values(), *constants.values()))):
        return None
    return program(plan, samples, constants, writable)


def staged(derived: Derived, stages: Program) -> Callable[..., Any]:
    """A plain function of floats.

    Where a value leaves the finite numbers Python's functions raise; the interpreter then answers in its place.
    """
    source = Source(stages)
    parameters = tuple(derived.inputs)
    names = {name: source.name(stages.inputs[id_]) if id_ in stages.inputs else f"unused{i}"
             for i, (name, id_) in enumerate(derived.inputs.items())}
    body = [text for _, text in source.statements(lambda line, text: _right(source, line, text), number, inlinable)]

    def result(reference: str) -> str:
        return source.text(stages.outputs[reference], number)

    value = (result(*derived.values.values()) if len(derived.values) == 1 else
             _dictionary({source.bind(text, "k"): result(ref) for text, ref in derived.values.items()}))
    gradients = _dictionary({source.bind(name, "k"): result(ref) for name, ref in derived.gradients.items()})
    given = ", ".join(names.values())
    kinds = {kind: [names[name] for name, id_ in derived.inputs.items()
                    if id_ in stages.inputs and derived.type_of(name).dtype == kind]
             for kind in ("float64", "bool")}
    checks = [" is ".join([*(f"type({name})" for name in found), kind.removesuffix("64")])
              for kind, found in kinds.items() if found]
    lines = [
        f"def value_and_grad({'*, ' + given if given else ''}):",
        *([f"    if not ({' and '.join(checks)}):", f"        {given}, = numbers({given})"] if given else []),
        "    try:",
        *(f"        {line}" for line in body),
        f"        return {value}, {gradients}",
        "    except (ArithmeticError, ValueError):",
        f"        return interpret({given})",
    ]

    def numbers(*values: Any) -> list[Any]:
        named = {name: value for name, value in zip(parameters, values, strict=True) if value is not None}
        arrays = derived.bind(named)
        return [arrays[derived.inputs[name]].item() if derived.inputs[name] in arrays else value
                for name, value in zip(parameters, values, strict=True)]

    def interpret(*values: Any) -> Any:
        named = {name: value for name, value in zip(parameters, values, strict=True) if value is not None}
        value, gradients = derived.interpret(named)
        plain = {text: np.asarray(found).item() for text, found in value.items()} if isinstance(value, dict) else (
            np.asarray(value).item())
        return plain, {name: np.asarray(gradient).item() for name, gradient in gradients.items()}

    defaults = {name: derived.default(name) for name in parameters}
    defaults = {name: value.item() if isinstance(value, np.ndarray) and not value.ndim else value
                for name, value in defaults.items()}
    bound = {**NAMES, "type": type, "bool": bool, "ArithmeticError": ArithmeticError,
             "ValueError": ValueError, "numbers": numbers, "interpret": interpret, **source.bound}
    return function("\n".join(lines), bound, parameters, defaults)


def _dictionary(items: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"


def _right(source: Source, line: Line, text: Callable[[Any], str]) -> str:
    if not isinstance(line.function, Called):
        return written(line, FORMS, text)
    called = line.function

    def apply(*operands: Any) -> Any:
        """A rule that has no line, in NumPy."""
        with np.errstate(all="ignore"):
            found = called(*(np.asarray(x)[()] for x in operands))
        return tuple(x.item() for x in found) if line.several else found.item()

    return f"{source.bind(apply, 'f')}({', '.join(map(text, line.operands))})"
