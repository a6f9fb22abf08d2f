"""Staged code of scalars: straight-line Python over floats, one simple line a stage, forward then backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from types import MethodType
from typing import Any

import numpy as np

from circuitflow.engines.contract import Backed, CompiledFunction
from circuitflow.engines.program.dialects import FLOATS, NAMES, float_literal, writable
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.source import Statements, define
from circuitflow.engines.program.trace import Line, RuleCall
from circuitflow.engines.staged.derived import Derived, OfDerived
from circuitflow.engines.thresholds import Thresholds
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question, is_scalar

NAME = "value_and_grad"
"""What the generated function is called, and the attribute that it is pickled by."""


def scalar_program(derived: Derived) -> Program | None:
    """The program of a circuit of float64 and truth values alone; None for any other."""
    if not derived.question.scalar or not is_scalar(derived.circuit, derived.plan):
        return None
    return trace_program(derived.plan, derived.zeros(), derived.circuit.values, writable)


def float_line(source: Statements, line: Line, text: Callable[[Any], str]) -> str:
    """The right side of a line of floats; a rule that has no line is called on arrays."""
    if not isinstance(line.function, RuleCall):
        return FLOATS.expression(line, text)
    rule = line.function

    def apply(*operands: Any) -> Any:
        """A rule that has no line, in NumPy."""
        with np.errstate(all="ignore"):
            results = rule(*(np.asarray(x)[()] for x in operands))
        return tuple(x.item() for x in results) if line.several else results.item()

    return f"{source.bind(apply, 'f')}({', '.join(map(text, line.operands))})"


class Staged(OfDerived, Backed):
    """Answers a question to a circuit of scalars by a plain function of floats, `value_and_grad`.

    It takes the arguments of `CompiledFunction.__call__`. Floats go straight into the stages; other numbers are bound
    first.
    """

    way = "staged, on floats"

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None,
                 stages: Program | None = None) -> None:
        """Write the stages down, unless they are there already; errors are those of `Derived`.

        Raises:
            InputError, GateError: see `Derived`.
        """
        super().__init__(question, thresholds, derived)
        program = stages or scalar_program(self.derived)
        assert program is not None  # noqa: S101
        program = program.with_outputs(self.derived.results)
        self._source = Statements(program, float_literal)
        self._names = {id_: self._source.name(value) for id_, value in program.inputs.items()}
        self._body = [text for _, text in self._source.texts(partial(float_line, self._source), FLOATS.inlines)]
        results = [self._source.text(x) for x in program.outputs.values()]
        count = len(self.derived.values)
        self._values, self._gradients = results[:count], results[count:]

    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        return self._run(*(array.item() for array in self.derived.arrays(bound, seeds).values()))

    @cached_property
    def _run(self) -> Callable[..., Answer]:
        lines = [f"def stages({', '.join(self._names.values())}):", *(f"    {line}" for line in self._body),
                 f"    return [{', '.join(self._values)}], [{', '.join(self._gradients)}]"]
        return define("\n".join(lines), {**NAMES, **self._source.bound})

    @cached_property
    def _keywords(self) -> dict[str, Any]:
        """The keywords of the function, with the document's values as defaults."""
        values, inputs = self.question.circuit.values, self.derived.inputs
        return {name: values[name].item() if id_ in self._names and name in values else _Missing
                for name, id_ in inputs.items() if name != "upstream"}

    def _bound(self, inputs: Any, upstream: Any, values: Sequence[Any],
               named: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Answers a call whose arguments are not all floats, or after a function of Python raised."""
        arguments = {name: value for (name, default), value in zip(self._keywords.items(), values, strict=True)
                     if value is not default}
        return self.question.packed(self.answer(*self.question.arguments(inputs, upstream, {**arguments, **named})))

    @cached_property
    def value_and_grad(self) -> Callable[..., Any]:
        """The plain function; every keyword has the document's value as default."""
        question, source, ids = self.question, self._source, self.derived.inputs
        names = {name: self._names.get(ids[name], f"unused{i}") for i, name in enumerate(self._keywords)}
        # What no keyword gives: upstream gradients, and an input that is called like their keyword.
        fixed = {self._names[id_]: question.upstream.get(text) for text, id_ in self.derived.upstream.items()
                 if id_ in self._names}
        if ids.get("upstream") in self._names:
            fixed[self._names[ids["upstream"]]] = question.circuit.values.get("upstream")
        is_known = all(x is not None for x in fixed.values())
        assignments = [f"{name} = {float_literal(x)}" for name, x in fixed.items()] if is_known else []
        checks = ["not named and inputs is upstream is None" if is_known else "False"]
        for dtype, kind in (("float64", "float"), ("bool", "bool")):
            types = [f"type({names[name]})" for name in names if ids[name] in self._names
                     and question.sources[name].dtype == dtype]
            checks += [" is ".join([*types, kind])] if types else []
        value = self._values[0] if len(self._values) == 1 else self._dictionary(question.plan.of, self._values)
        gradients = self._dictionary(question.plan.wrt, self._gradients)
        parameters = ", ".join(names.values())
        otherwise = f"return bound(engine, inputs, upstream, [{parameters}], named)"
        lines = [
            f"def {NAME}(engine, inputs, /, *, {parameters}{', ' if parameters else ''}upstream, **named):",
            f"    if not ({' and '.join(checks)}):",
            f"        {otherwise}",
            "    try:",
            *(f"        {line}" for line in (*assignments, *self._body)),
            f"        return {value}, {gradients}",
            "    except (ArithmeticError, ValueError):",
            f"        {otherwise}",
        ]
        bound = {**NAMES, "type": type, "bool": bool, "ArithmeticError": ArithmeticError, "ValueError": ValueError,
                 "bound": Staged._bound, **source.bound}
        function = define("\n".join(lines), bound)
        # The real name of an input is put into the compiled code and never stands in the source.
        real = ("engine", "inputs", *self._keywords, "upstream")
        function.__code__ = function.__code__.replace(co_varnames=(*real, *function.__code__.co_varnames[len(real) :]))
        function.__defaults__, function.__kwdefaults__ = (None,), {**self._keywords, "upstream": None}
        function.__doc__ = CompiledFunction.__call__.__doc__
        return MethodType(function, self)

    def _dictionary(self, keys: Iterable[str], values: Iterable[str]) -> str:
        pairs = zip(keys, values, strict=True)
        return "{" + ", ".join(f"{self._source.bind(key, 'k')}: {value}" for key, value in pairs) + "}"


class _Missing:
    """The default of an input that has none."""
