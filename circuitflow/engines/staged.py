"""Staged code of scalars: straight-line Python over floats, one simple line a stage, forward then backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from circuitflow.engines.derived import Derived
from circuitflow.engines.engine import Engine, is_numpy
from circuitflow.engines.program import Program, program
from circuitflow.engines.scalars import FORMS, NAMES, inlinable, number, writable, written
from circuitflow.engines.source import Source, function
from circuitflow.engines.thresholds import Thresholds
from circuitflow.engines.trace import Called, Line
from circuitflow.executor.binding import Bound
from circuitflow.executor.question import Answer, Question, is_scalar

NAME = "value_and_grad"
"""What the generated function is called, and the attribute that it is pickled by."""


def scalar_program(derived: Derived) -> Program | None:
    """The program of a circuit of float64 and truth values alone; None for any other."""
    plan, nodes = derived.plan, derived.circuit.nodes
    types = [*(type_ for step in plan.steps for type_ in step.node.types),
             *(nodes[name].types[0] for name in plan.sources)]
    if not derived.question.scalar or not all(map(is_scalar, types)):
        return None
    samples = {name: np.zeros((), nodes[name].types[0].dtype)[()] for name in plan.sources
               if nodes[name].kind != "constant"}
    return program(plan, samples, derived.circuit.values, writable)


class Staged(Engine):
    """A question to a circuit of scalars, as a plain function of floats: `value_and_grad`.

    It takes what an engine takes when it is called. Numbers that are floats already go straight into the stages; all
    others are bound first.
    """

    way = "staged, on floats"

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None,
                 stages: Program | None = None) -> None:
        """Write the code.

        Args:
            question: the question.
            thresholds: see `Engine`.
            derived: the gradient circuit, where it is there already.
            stages: its program, likewise.

        Raises:
            InputError, GateError: see `Derived`.
        """
        super().__init__(question, thresholds)
        self._stages = _Stages(derived or Derived(question), stages)
        values = question.circuit.values
        inputs = self._stages.inputs
        self._keywords = {name: values[name].item() if name in inputs and name in values else _Missing
                          for name in self._stages.derived.inputs if name != "upstream"}
        self.value_and_grad: Callable[..., Any] = MethodType(self._function(), self)

    @cached_property
    def _seeded(self) -> _Stages | None:
        """The stages with an upstream gradient on every output; None where they cannot be written."""
        derived = self._stages.derived.seeded
        return None if derived is None else _Stages(derived)

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        bound, seeds = self.question.bind(inputs, upstream)
        stages = self._stages if self._stages.derived.takes(upstream) else self._seeded
        if stages is not None and is_numpy(bound):
            try:
                return stages(bound, seeds)
            except (ArithmeticError, ValueError):
                pass  # where NumPy gives an infinity or NaN
        return self.question.interpret(bound, seeds)

    def _bound(self, inputs: Any, upstream: Any, values: Sequence[Any],
               named: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Answers a call whose arguments are not all floats, or after a function of Python raised."""
        given = {name: value for (name, default), value in zip(self._keywords.items(), values, strict=True)
                 if value is not default}
        return self.question.packed(self.answer(*self.question.arguments(inputs, upstream, {**given, **named})))

    def _function(self) -> FunctionType:
        """The function; its first parameter is this engine, and every keyword has the document's value as default."""
        stages, question = self._stages, self.question
        names = {name: stages.inputs.get(name, f"unused{i}") for i, name in enumerate(self._keywords)}
        # What no keyword gives: upstream gradients, and an input that is called like their keyword.
        fixed: dict[str, Any] = {stages.seeds[text]: question.upstream[text] for text in stages.seeds}
        if "upstream" in stages.inputs:
            fixed[stages.inputs["upstream"]] = question.circuit.values.get("upstream")
        is_known = all(x is not None for x in fixed.values())
        given = [f"{name} = {number(x)}" for name, x in fixed.items()] if is_known else []
        kinds = {kind: [names[name] for name in names if name in stages.inputs and question.sources[name].dtype == kind]
                 for kind in ("float64", "bool")}
        checks = ["not named and inputs is upstream is None" if is_known else "False",
                  *(" is ".join([*(f"type({name})" for name in found), kind.removesuffix("64")])
                    for kind, found in kinds.items() if found)]
        source = stages.source
        value = (stages.values[0] if len(stages.values) == 1 else
                 _dictionary(zip((source.bind(text, "k") for text in question.plan.of), stages.values, strict=True)))
        gradients = _dictionary(zip((source.bind(name, "k") for name in question.plan.wrt), stages.gradients,
                                    strict=True))
        parameters = ", ".join(names.values())
        otherwise = f"return bound(engine, inputs, upstream, [{parameters}], named)"
        lines = [
            f"def {NAME}(engine, inputs, /, *, {parameters}{', ' if parameters else ''}upstream, **named):",
            f"    if not ({' and '.join(checks)}):",
            f"        {otherwise}",
            "    try:",
            *(f"        {line}" for line in (*given, *stages.body)),
            f"        return {value}, {gradients}",
            "    except (ArithmeticError, ValueError):",
            f"        {otherwise}",
        ]
        bound = {**NAMES, "type": type, "bool": bool, "ArithmeticError": ArithmeticError, "ValueError": ValueError,
                 "bound": Staged._bound, **source.bound}
        made = function("\n".join(lines), bound)
        # The real name of an input is put into the compiled code and never stands in the source.
        real = ("engine", "inputs", *self._keywords, "upstream")
        made.__code__ = made.__code__.replace(co_varnames=(*real, *made.__code__.co_varnames[len(real) :]))
        made.__defaults__, made.__kwdefaults__ = (None,), {**self._keywords, "upstream": None}
        made.__doc__ = Engine.__call__.__doc__
        return made


class _Missing:
    """The default of an input that has none."""


class _Stages:
    """The stages of a gradient circuit.

    Attributes:
        derived: the gradient circuit.
        source: where names are bound.
        body: statements.
        inputs: the names of the inputs of the primal that are read, by id.
        seeds: those of upstream gradients, by output.
        values, gradients: expressions, in the order of the question.
    """

    def __init__(self, derived: Derived, stages: Program | None = None) -> None:
        self.derived = derived
        program = stages or scalar_program(derived)
        assert program is not None  # noqa: S101
        program = program.with_outputs({str(i): program.outputs[ref] for i, ref in enumerate(derived.results)})
        self.source = Source(program, number)
        names = {id_: self.source.name(value) for id_, value in program.inputs.items()}
        self.inputs = {name: names[id_] for name, id_ in derived.inputs.items() if id_ in names}
        self.seeds = {text: names[id_] for text, id_ in derived.upstream.items() if id_ in names}
        self.body = [text for _, text in self.source.statements(self._right, inlinable)]
        results = [self.source.text(x) for x in program.outputs.values()]
        count = len(derived.values)
        self.values, self.gradients = results[:count], results[count:]
        self._inputs = list(names)

    @cached_property
    def _run(self) -> Callable[..., Answer]:
        lines = [f"def stages({', '.join(self.source.name(x) for x in self.source.program.inputs.values())}):",
                 *(f"    {line}" for line in self.body),
                 f"    return [{', '.join(self.values)}], [{', '.join(self.gradients)}]"]
        return function("\n".join(lines), {**NAMES, **self.source.bound})

    def __call__(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        """The answer.

        Raises:
            ArithmeticError, ValueError: a function of Python refuses a number.
        """
        arrays = self.derived.arrays(bound, seeds)
        return self._run(*(arrays[id_].item() for id_ in self._inputs))

    def _right(self, line: Line, text: Callable[[Any], str]) -> str:
        if not isinstance(line.function, Called):
            return written(FORMS, line, text)
        called = line.function

        def apply(*operands: Any) -> Any:
            """A rule that has no line, in NumPy."""
            with np.errstate(all="ignore"):
                found = called(*(np.asarray(x)[()] for x in operands))
            return tuple(x.item() for x in found) if line.several else found.item()

        return f"{self.source.bind(apply, 'f')}({', '.join(map(text, line.operands))})"


def _dictionary(items: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
