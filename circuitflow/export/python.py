"""Staged code for people: a Python file that runs without circuitflow, with the names of the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from circuitflow.arguments import checked
from circuitflow.engines.flat.comments import origin
from circuitflow.engines.flat.origins import origin_of
from circuitflow.engines.flat.signature import Argument, Signature, dimensions
from circuitflow.engines.flat.units import rule_of
from circuitflow.engines.program.functions import is_named
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.trace import Inseparable, RuleCall
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.staged.floats import scalar_program
from circuitflow.errors import InputError
from circuitflow.export.blocks import Block, operation
from circuitflow.export.names import PythonNames, fill_assignment, fill_comment, fill_lines, fill_text
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.typed import Node
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question, References
from circuitflow.text import printable

LITERAL = 1000
"""An array of more numbers is an argument without a default."""

_TOGETHER = 8
"""How many arguments a line makes floats."""


@collector_paused()
@checked
def to_python(circuit: Circuit, of: References = None, wrt: References = None, *,
              inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None) -> str:
    """A Python file with a function of values and gradients in straight-line code, forward, then backward.

    It needs nothing but `math`, or where there are arrays NumPy (and SciPy for special functions). Nodes keep their
    ids, a stage says what gate it is of. An upstream gradient on `f` is the argument `df`. Where an argument cannot
    have that name, the function's docstring says what it is called. Numbers may be infinite or NaN, as in NumPy, and
    nothing warns or raises for that. Named dimensions stay names, whatever size the defaults have; where a gate needs a
    number for one (a scan, a convolution over it), the code is for the sizes of the defaults, and says so.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: defaults of the arguments, by id, in place of the document's.
        upstream: likewise of the upstream gradients, by output.

    Raises:
        InputError: an unknown reference, a gate that cannot be written down, or one that needs a number for a named
            dimension, and no default gives it.
    """
    question = Question(Interpreter(circuit), of, wrt)
    inputs, upstream = question.arguments(inputs, upstream, {})
    derived = Derived.taking(question, upstream)
    return _Script(derived, Signature(derived, inputs, upstream)).text()


class _Script:
    """The file under construction."""

    def __init__(self, derived: Derived, signature: Signature) -> None:
        self.derived = derived
        stages = scalar_program(derived)
        self.scalar = stages is not None and not any(isinstance(line.function, RuleCall) for line in stages.lines)
        self.remark = ""  # why named dimensions have the sizes of the defaults
        self.variables: dict[str, str] = {}  # those that the sizes of named dimensions stand in
        self.stages: Program = stages if stages is not None and self.scalar else self._stages(signature)
        self.names = PythonNames("math" if self.scalar else "np")
        self.arguments = list(signature.arguments(self.names, as_numbers=not self.variables))
        self.variables = {name: self.names.new(name) for name in self.variables}
        locals_ = {id(self.stages.inputs[argument.id]): argument.parameter
                   for argument in self.arguments if argument.id in self.stages.inputs}
        self.block = Block(self.stages, self.names, locals_, self.variables, scalar=self.scalar)

    def _stages(self, signature: Signature) -> Program:
        """The lines, for sizes that stay names where that can be."""
        derived, arrays = self.derived, signature.arrays
        shapes = {id_: shape for id_ in arrays if is_named(shape := derived.type_of(id_).shape)}
        if shapes:
            dimensions_ = [name for shape in shapes.values() for name in dimensions(shape)]
            try:
                stages = derived.named_program(arrays, shapes)
                if any(isinstance(line.function, RuleCall) for line in stages.lines):
                    raise Inseparable("a gate is no line of Python")
                self.variables = dict.fromkeys(dimensions_, "")
                return stages
            except Inseparable as reason:
                self.remark = printable(str(reason), 200)
            missing = [name for name in dimensions_ if name not in signature.sizes]
            if missing:
                raise InputError(f"dimension '{missing[0]}' has no size, and code for any size cannot be written "
                                 f"({self.remark}); give a value to an input that has it (--set)")
        return trace_program(derived.plan, arrays, derived.circuit.values, checked=True,
                             rule_of=rule_of(np.asarray))

    def text(self) -> str:
        """The whole file."""
        derived, outputs, names = self.derived, self.stages.outputs, self.names
        body = list(self._body())
        value = (self.block.result(outputs[next(iter(derived.values.values()))]) if len(derived.values) == 1 else
                 self._dictionary({text: outputs[ref] for text, ref in derived.values.items()}))
        gradients = self._dictionary({name: outputs[ref] for name, ref in derived.gradients.items()})
        what = "value_and_grad" if derived.gradients else "value"
        defaults = [_default(argument, names) for argument in self.arguments]
        parameters = ", ".join(argument.parameter + (f"={default}" if default else "")
                               for argument, default in zip(self.arguments, defaults, strict=True))
        function = [*fill_lines(f"def {what}({'*, ' if parameters else ''}{parameters}):"),
                    *(f"    {line}".rstrip() for line in (*self._docstring(), *chain(*map(
                        fill_assignment, self._conversions())), *body)),
                    *(f"    {line}" for line in _return(f"{value}, {gradients}" if derived.gradients else value))]
        if not self.scalar:
            function.insert(0, f'@{names.use("np.errstate")}(all="ignore")')
        prints = (["value, gradients = value_and_grad()", "print(value)", "print(gradients)"]
                  if derived.gradients else ["print(value())"])
        runs = ['if __name__ == "__main__":', *(f"    {line}" for line in prints)] if all(defaults) else []
        parts = [f'"""Straight-line code, a stage a line.\n\n{origin()}; it runs without it.\n"""',
                 "\n".join(self._about()), *names.header(), "\n" + "\n".join(function),
                 "\n" + "\n".join(runs) if runs else ""]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _about(self) -> list[str]:
        """The document's own words, as comments."""
        document = self.derived.question.circuit.document
        texts = [text for text in (document.name, document.description) if text]
        return [*chain(*(fill_comment(printable(text, 2000)) for text in texts))]

    def _docstring(self) -> list[str]:
        of, by = ", ".join(self.derived.values), ", ".join(self.derived.gradients)
        summary = f"The value of {of}, and its gradient with respect to {by}." if by else f"The value of {of}."
        notes = [f"{argument.parameter} is {argument.meaning}." for argument in self.arguments if argument.meaning]
        if self.remark:
            notes.append(f"Named dimensions have the sizes of the defaults: {self.remark}.")
        first, *rest = fill_text(f'"""{summary}')
        more = [*rest, *[""] * bool(notes), *chain(*map(fill_text, notes))]
        return [first, *more, '"""'] if more else [f'{first}"""']

    def _conversions(self) -> Iterator[str]:
        """Statements that make floats, truth values or arrays of the arguments that are read."""
        uses = self.stages.uses()
        used_arguments = [argument for argument in self.arguments
                          if argument.id in self.stages.inputs and uses.get(id(self.stages.inputs[argument.id]))]
        if self.variables:
            yield from self._sized_conversions(used_arguments)
            return
        if not self.scalar:
            for argument in used_arguments:
                yield (f"{argument.parameter} = {self.names.use('as_array')}({argument.parameter!r}, "
                       f"{argument.parameter}, {argument.type.shape!r}, {self.names.dtype(argument.type.dtype)})")
            return
        for dtype, kind in (("float64", "float"), ("bool", "bool")):
            parameters = [argument.parameter for argument in used_arguments if argument.type.dtype == dtype]
            for some in (parameters[i : i + _TOGETHER] for i in range(0, len(parameters), _TOGETHER)):
                together = ", ".join(some)
                right = f"{self.names.use('map')}({self.names.use(kind)}, ({together}))"
                yield f"{together} = {right if len(some) > 1 else f'{self.names.use(kind)}({together})'}"

    def _sized_conversions(self, used_arguments: list[Argument]) -> Iterator[str]:
        """Statements that make arrays of the arguments, and look up the sizes of named dimensions."""
        sizes = self.names.new("sizes")
        yield f"{sizes} = {{}}"
        for argument in self.arguments:
            if argument in used_arguments or (argument.id in self.stages.inputs and is_named(argument.type.shape)):
                shape = tuple(size if isinstance(size, int) else str(size) for size in argument.type.shape)
                yield (f"{argument.parameter} = {self.names.use('as_sized_array')}({argument.parameter!r}, "
                       f"{argument.parameter}, {shape!r}, {self.names.dtype(argument.type.dtype)}, {sizes})")
        yield from (f"{variable} = {sizes}[{name!r}]" for name, variable in self.variables.items()
                    if name in self.block.expressions.sizes)

    def _body(self) -> Iterator[str]:
        """Statements, and comments that say which gate they are of."""
        forward = self.derived.question.circuit.nodes

        def comment_of(node: Node) -> str:
            return operation(node) if node.id in forward else origin_of(self.derived, node.id)

        return self.block.lines(comment_of, lambda node: "forward pass" if node.id in forward else "reverse sweep")

    def _dictionary(self, items: Mapping[str, Any]) -> str:
        return "{" + ", ".join(f"{name!r}: {self.block.result(x)}" for name, x in items.items()) + "}"


def _default(argument: Argument, names: PythonNames) -> str:
    """The text of a default, a number or the name of an array; "" where there is none."""
    if argument.default is None or np.size(argument.default) > LITERAL:
        return ""
    array = np.asarray(argument.default)
    if not array.ndim:
        return names.number(array).removeprefix("(").removesuffix(")")
    return names.constant(array, f"default_{argument.parameter}")


def _return(result: str) -> list[str]:
    lines = fill_lines(f"return {result}")
    return lines if len(lines) == 1 else fill_lines(f"return ({result})")
