"""Staged code for people: a Python file that runs without circuitflow, with the names of the document."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.numbers import as_array
from circuitflow.engines.program.functions import OWN_PRODUCTS, is_named, is_weak_beside
from circuitflow.engines.program.program import Program, program
from circuitflow.engines.program.scalars import BINARY, FORMS, inlinable, written
from circuitflow.engines.program.source import Source, is_number
from circuitflow.engines.program.trace import Called, Inseparable, Line, Value, values_in
from circuitflow.engines.staged.derived import Derived
from circuitflow.engines.staged.floats import scalar_program
from circuitflow.errors import InputError
from circuitflow.export.helpers import CALLS
from circuitflow.export.names import Names, filled
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Size
from circuitflow.gates.special import Check
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.network import Node
from circuitflow.interpreter.binding import concrete
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.libraries import Library
from circuitflow.interpreter.question import Question, References
from circuitflow.text import few, printable

LITERAL = 1000
"""An array of more numbers is an argument without a default."""

_ANY = 3
"""The size, while the lines are written, of a dimension that no default gives one."""

_TOGETHER = 8
"""How many arguments a line makes floats."""

_TIDY = re.compile(r"\w+ = (?:[\w.]+(?: [-+*/] [\w.]+)?|[\w.]+\([\w.]+(?:, [\w.]+)*\))", re.ASCII)
"""Statements that have no parentheses too many: an operator, or a call of names and numbers; most of them are."""

_ARRAY_FORMS = {**{getattr(np, name): f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
                np.negative: "-{0}", np.invert: "~{0}", np.matmul: "{0} @ {1}"}


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
    derived = Derived(question)
    if not derived.takes(upstream):
        derived = Derived(question, seeded=True)
    return _Script(derived, inputs, upstream).text()


def _dimensions(shape: Sequence[int | Size]) -> list[str]:
    """The names in a shape."""
    return [name for size in shape if isinstance(size, Size) for names, _ in size.terms for name in names]


def _sizes(given: Sequence[tuple[ArrayType, Any]]) -> dict[str, int]:
    """The sizes of named dimensions, as far as values tell; whether they agree is not looked at."""
    found: dict[str, int] = {}
    for type_, value in given:
        if is_named(type_.shape):
            shape = as_array(value, "a value").shape
            found |= {str(size): number for size, number in zip(type_.shape, shape, strict=False)
                      if isinstance(size, Size)}
    return found


class _Argument(NamedTuple):
    """An argument of the function.

    Attributes:
        id: what the gradient circuit calls it.
        parameter: what the function calls it.
        told: what it is, where its name does not say so.
        type: shape and dtype; its shape is that of the default where named dimensions have numbers.
        default: None where it has none.
    """

    id: str
    parameter: str
    told: str
    type: ArrayType
    default: Any


class _Script:
    """The file under construction."""

    def __init__(self, derived: Derived, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
        self.derived = derived
        circuit, plan = derived.question.circuit, derived.question.plan
        inputs = {**{name: circuit.values[name] for name in derived.inputs if name in circuit.values}, **inputs}
        known = derived.question.upstream
        received = {text: id_ for text, id_ in derived.upstream.items() if plan.active[plan.of[text]]}
        upstream = {**{text: 1.0 for text, id_ in received.items() if derived.type_of(id_).shape == ()},
                    **{text: known[text] for text in received if text in known}, **upstream}
        # An input that the question does not need may have another size of the same name.
        needed = {name: id_ for name, id_ in derived.inputs.items() if name in plan.sources}
        self.sizes = _sizes([(derived.type_of(id_), values[name]) for ids, values in (
            (needed, inputs), (received, upstream)) for name, id_ in ids.items() if name in values])
        # What has no default is zeros meanwhile. An unknown input is refused there, and every value that does not fit.
        bound, seeds = derived.question.bind(
            {**{name: self._zeros(id_) for name, id_ in derived.inputs.items() if name not in inputs}, **inputs},
            {**{text: self._zeros(id_) for text, id_ in received.items() if text not in upstream}, **upstream})
        arrays = derived.arrays(bound, seeds)
        stages = scalar_program(derived)
        self.scalar = stages is not None and not any(isinstance(line.function, Called) for line in stages.lines)
        self.dimensions: dict[str, str] = {}  # the variables that sizes stand in
        self.counted: set[str] = set()  # the dimensions that are read as numbers
        self.numbered = ""
        self.stages: Program = stages if stages is not None and self.scalar else self._stages(arrays)
        self.names = Names("math" if self.scalar else "np")
        self.made = {id(result): line for line in self.stages.lines for result in line.results}
        self.arguments = [
            *(self._argument(id_, name, f"the {circuit.nodes[name].kind} {name}", inputs.get(name), arrays)
              for name, id_ in derived.inputs.items()),
            *(self._argument(id_, f"d{text}", f"the upstream gradient on {text}", upstream.get(text), arrays)
              for text, id_ in received.items())]
        self.dimensions = {name: self.names.new(name) for name in self.dimensions}
        self.locals: dict[int, str] = {id(self.stages.inputs[argument.id]): argument.parameter
                                       for argument in self.arguments if argument.id in self.stages.inputs}
        for name, value in self.stages.values.items():
            if isinstance(value, Value) and id(value) not in self.locals:
                self.locals[id(value)] = self.names.new(name)
        self.source = Source(self.stages, self._number, lambda value, position: (
            self.locals.get(id(value)) or self.names.new(f"{self.made[id(value)].stage.id}_part")))

    def _stages(self, arrays: Mapping[str, Any]) -> Program:
        """The lines, for sizes that stay names where that can be."""
        derived = self.derived
        shapes = {id_: shape for id_ in arrays if is_named(shape := derived.type_of(id_).shape)}
        if shapes:
            try:
                stages = derived.named_program(arrays, shapes)
                if any(isinstance(line.function, Called) for line in stages.lines):
                    raise Inseparable("a gate is no line of Python")
                self.dimensions = {name: "" for shape in shapes.values() for name in _dimensions(shape)}
                return stages
            except Inseparable as reason:
                self.numbered = printable(str(reason), 200)
            missing = [name for shape in shapes.values() for name in _dimensions(shape) if name not in self.sizes]
            if missing:
                raise InputError(f"dimension '{missing[0]}' has no size, and code for any size cannot be written "
                                 f"({self.numbered}); give a value to an input that has it (--set)")
        return program(derived.plan, arrays, derived.circuit.values, checked=True)

    def _zeros(self, id_: str) -> Any:
        """An array like an argument without a default; what has no size is as good as any."""
        type_ = self.derived.type_of(id_)
        sizes = {name: self.sizes.get(name, _ANY) for name in _dimensions(type_.shape)}
        return np.zeros(concrete(type_, sizes), type_.dtype)

    def _argument(self, id_: str, name: str, told: str, default: Any, arrays: Mapping[str, Any]) -> _Argument:
        type_ = self.derived.type_of(id_)
        if default is not None:
            default = arrays[id_] if id_ in arrays else Library.of({}).convert(default, type_, f"'{name}'")
        if id_ in arrays and not self.dimensions:
            type_ = ArrayType(arrays[id_].shape, type_.dtype)
        parameter = self.names.new(name)
        return _Argument(id_, parameter, told if parameter != name else "", type_, default)

    def text(self) -> str:
        """The whole file."""
        derived, outputs, names = self.derived, self.stages.outputs, self.names
        body = list(self._body())
        value = (self._result(outputs[next(iter(derived.values.values()))]) if len(derived.values) == 1 else
                 self._dictionary({text: outputs[ref] for text, ref in derived.values.items()}))
        gradients = self._dictionary({name: outputs[ref] for name, ref in derived.gradients.items()})
        what = "value_and_grad" if derived.gradients else "value"
        defaults = [self._default(argument) for argument in self.arguments]
        parameters = ", ".join(argument.parameter + (f"={default}" if default else "")
                               for argument, default in zip(self.arguments, defaults, strict=True))
        function = [*filled(f"def {what}(", f"{'*, ' if parameters else ''}{parameters}):"),
                    *(f"    {line}".rstrip() for line in (*self._docstring(), *self._conversions(), *body)),
                    *(f"    {line}" for line in _returned(f"{value}, {gradients}" if derived.gradients else value))]
        if not self.scalar:
            function.insert(0, f'@{names.use("np.errstate")}(all="ignore")')
        shown = (["value, gradients = value_and_grad()", "print(value)", "print(gradients)"]
                 if derived.gradients else ["print(value())"])
        runs = ['if __name__ == "__main__":', *(f"    {line}" for line in shown)] if all(defaults) else []
        parts = ['"""Straight-line code, a stage a line.\n\nWritten by circuitflow '
                 f'{version("circuitflow")}; it runs without it.\n"""', "\n".join(self._about()), *names.header(),
                 "\n" + "\n".join(function), "\n" + "\n".join(runs) if runs else ""]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _about(self) -> list[str]:
        """The document's own words, as comments."""
        document = self.derived.question.circuit.document
        return [f"# {printable(text, 2000)}" for text in (document.name, document.description) if text]

    def _docstring(self) -> list[str]:
        of, by = ", ".join(self.derived.values), ", ".join(self.derived.gradients)
        summary = f"The value of {of}, and its gradient with respect to {by}." if by else f"The value of {of}."
        told = [f"{argument.parameter} is {argument.told}." for argument in self.arguments if argument.told]
        if self.numbered:
            told.append(f"Named dimensions have the sizes of the defaults: {self.numbered}.")
        return [f'"""{summary}', "", *told, '"""'] if told else [f'"""{summary}"""']

    def _conversions(self) -> Iterator[str]:
        """Statements that make floats, truth values or arrays of the arguments that are read."""
        uses = self.stages.uses()
        read = [argument for argument in self.arguments
                if argument.id in self.stages.inputs and uses.get(id(self.stages.inputs[argument.id]))]
        if self.dimensions:
            yield from self._named_conversions(read)
            return
        if not self.scalar:
            for argument in read:
                yield (f"{argument.parameter} = {self.names.use('as_array')}({argument.parameter!r}, "
                       f"{argument.parameter}, {argument.type.shape!r}, {self.names.dtype(argument.type.dtype)})")
            return
        for dtype, kind in (("float64", "float"), ("bool", "bool")):
            found = [argument.parameter for argument in read if argument.type.dtype == dtype]
            for some in (found[i : i + _TOGETHER] for i in range(0, len(found), _TOGETHER)):
                together = ", ".join(some)
                right = f"{self.names.use('map')}({self.names.use(kind)}, ({together}))"
                yield f"{together} = {right if len(some) > 1 else f'{self.names.use(kind)}({together})'}"

    def _named_conversions(self, read: Sequence[_Argument]) -> Iterator[str]:
        """Statements that make arrays of the arguments, and find out how large their named dimensions are."""
        sizes = self.names.new("sizes")
        yield f"{sizes} = {{}}"
        for argument in self.arguments:
            if argument in read or (argument.id in self.stages.inputs and is_named(argument.type.shape)):
                shape = tuple(size if isinstance(size, int) else str(size) for size in argument.type.shape)
                yield (f"{argument.parameter} = {self.names.use('as_sized_array')}({argument.parameter!r}, "
                       f"{argument.parameter}, {shape!r}, {self.names.dtype(argument.type.dtype)}, {sizes})")
        yield from (f"{variable} = {sizes}[{name!r}]" for name, variable in self.dimensions.items()
                    if name in self.counted)

    def _size(self, size: int | Size) -> str:
        """A size as an expression."""
        if isinstance(size, int):
            return str(size)
        self.counted.update(_dimensions([size]))
        return " + ".join("*".join([*([str(factor)] if factor != 1 or not names else []),
                                    *(self.dimensions[name] for name in names)]) for names, factor in size.terms)

    def _body(self) -> Iterator[str]:
        """Statements, and comments that say which gate they are of."""
        part, stage, told, last = None, None, "", None
        pending, known = list(self.stages.checks), set(map(id, self.stages.inputs.values()))
        for line, statement in self.source.statements(self._right, self._inlines):
            node: Node = line.stage
            is_forward = node.id in self.derived.question.circuit.nodes
            if part != is_forward:
                part = is_forward
                yield "# forward pass" if is_forward else "# reverse sweep"
            if node is not last:
                told = _application(node) if is_forward else self._origin(node.id)
            last = node
            yield f"{_tidy(statement)}" + (f"  # {told}" if told and told != stage else "")
            stage = told
            known.update(map(id, line.results))
            while pending and known.issuperset(map(id, values_in(pending[0][1][:2]))):
                yield from self._refusal(*pending.pop(0))
        for check in pending:
            yield from self._refusal(*check)

    def _refusal(self, node: Node, check: Check) -> Iterator[str]:
        """Statements that raise where a gate refuses an operand."""
        outside, values = self._result(check.outside), self._result(check.values)
        told = f"{node.id}: {node.kind}: ".replace("{", "{{").replace("}", "}}") + check.message
        yield f"if {self.names.use('np.any')}({outside}):"
        yield (f"    raise {self.names.use(check.error.__name__)}({told!r}.format("
               f"{self.names.use('np.extract')}({outside}, {values})[0]))")

    def _origin(self, name: str) -> str:
        """What the gradient document says of a node: the gate that it goes back through."""
        definition, text = self.derived.circuit.definition, ""
        for step in name.split("/"):
            site = definition.sites.get(step)
            if site is None:
                return text
            text = site.node.description or text
            definition = site.callee or definition
        return printable(text, 200)

    # Expressions

    def _number(self, x: Any) -> str:
        """A number that does not depend on the arguments; beside floats it is a float too."""
        x = np.asarray(x).item()
        return self.names.number(float(x) if self.scalar and not isinstance(x, bool) else x)

    def _inlines(self, line: Line, operand: Value) -> bool:
        if not self.scalar:
            return not isinstance(line.function, Called)
        if line.function.__name__ in CALLS:
            return [x is operand for x in line.operands].count(True) == 1
        return inlinable(line, operand)

    def _right(self, line: Line, text: Callable[[Any], str]) -> str:
        if self.scalar:
            return self._of_floats(line, text)
        if isinstance(line.function, Called):
            raise _unwritable(line)
        return self._of_arrays(line, lambda x: self._operand(x, line, text))

    def _of_floats(self, line: Line, text: Callable[[Any], str]) -> str:
        call = CALLS.get(line.function.__name__)
        if line.function is np.astype:
            self.names.use("float")
        if call is None or (call in ("divide", "remainder") and self._is_never_zero(line.operands[1])):
            return written(FORMS, line, text)
        return f"{self.names.use(call)}({', '.join(map(text, line.operands))})"

    def _is_never_zero(self, x: Any) -> bool:
        """Whether it is evident that a number is not 0: a literal, or a positive one and what is not negative."""
        if not isinstance(x, Value):
            return bool(x != 0)
        line = self.made.get(id(x))
        return line is not None and line.function is np.add and any(
            not isinstance(one, Value) and one > 0 and self._is_not_negative(other)
            for one, other in (line.operands, line.operands[::-1]))

    def _is_not_negative(self, x: Any) -> bool:
        """Whether that is evident: of a literal, an exponential, or the smallest of such."""
        if not isinstance(x, Value):
            return bool(x >= 0)
        line = self.made.get(id(x))
        return line is not None and (line.function is np.exp or (
            line.function is np.minimum and all(map(self._is_not_negative, line.operands))))

    def _of_arrays(self, line: Line, write: Callable[[Any], str]) -> str:
        if line.function is operator.getitem:
            return f"({write(line.operands[0])})[{self._index(line.operands[1], write)}]"
        form = _ARRAY_FORMS.get(line.function)
        if form and not line.keywords:
            return form.format(*map(write, line.operands))
        given = [*map(write, line.operands), *(f"{key}={write(x)}" for key, x in line.keywords.items())]
        return f"{self.names.use(_public_name(line))}({', '.join(given)})"

    def _operand(self, x: Any, line: Line, text: Callable[[Any], str]) -> str:
        """An operand of a line of arrays."""
        if isinstance(x, Value):
            return text(x)
        if isinstance(x, np.dtype | type):
            return self.names.dtype(x)
        if is_number(x):
            typed = isinstance(x, np.generic | np.ndarray) and x.dtype not in {
                value.dtype for value in line.operands if isinstance(value, Value) and is_weak_beside(line.function)}
            return self.names.typed(x) if typed else self.names.number(x)
        if isinstance(x, Size):
            return f"({self._size(x)})"
        if isinstance(x, np.ndarray):
            return self.names.constant(x)
        if isinstance(x, tuple | list):
            inside = ", ".join(self._operand(part, line, text) for part in x)
            return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' if len(x) == 1 else ''})"
        if isinstance(x, slice):
            ends = ", ".join(self._end(end, "None") for end in (x.start, x.stop, x.step))
            return f"{self.names.use('slice')}({ends})"
        if x is None or x is Ellipsis or isinstance(x, str):
            return "..." if x is Ellipsis else repr(x)
        raise _unwritable(line)

    def _index(self, key: Any, write: Callable[[Any], str]) -> str:
        def one(x: Any) -> str:
            if isinstance(x, slice):
                return ":".join([self._end(x.start), self._end(x.stop),
                                 *([] if x.step is None else [self._end(x.step)])])
            return write(x)

        return ", ".join(map(one, key)) + "," * (len(key) == 1) if isinstance(key, tuple) and key else one(key)

    def _end(self, x: Any, missing: str = "") -> str:
        """An end of a slice."""
        return missing if x is None else self._size(x if isinstance(x, Size) else int(x))

    def _result(self, x: Any) -> str:
        """A value, or what does not depend on the arguments: never an array that the file keeps."""
        if isinstance(x, Value):
            return self.source.name(x)
        x = np.asarray(x)
        if x.ndim:
            return f"{self.names.constant(x)}.copy()"
        return self._number(x) if self.scalar and x.dtype in (np.float64, bool) else self.names.typed(x)

    def _dictionary(self, items: Mapping[str, Any]) -> str:
        return "{" + ", ".join(f"{name!r}: {self._result(x)}" for name, x in items.items()) + "}"

    def _default(self, argument: _Argument) -> str:
        """The default of an argument, a number or the name of an array; "" where it has none."""
        if argument.default is None or np.size(argument.default) > LITERAL:
            return ""
        array = np.asarray(argument.default)
        if not array.ndim:
            return self.names.number(array).removeprefix("(").removesuffix(")")
        return self.names.constant(array, f"default_{argument.parameter}")


def _public_name(line: Line) -> str:
    """A function of NumPy or SciPy by its public name."""
    special = import_module("scipy.special")
    name = line.function.__name__
    if line.function in OWN_PRODUCTS:
        return name
    for prefix, module in (("np", np), ("np.linalg", np.linalg), ("scipy.special", special)):
        if getattr(module, name, None) is line.function:
            return f"{prefix}.{name}"
    # A function of Python that SciPy puts before one of its own, such as zeta before _zeta.
    if getattr(special._ufuncs, name, None) is line.function and hasattr(special, name.lstrip("_")):
        return f"scipy.special.{name.lstrip('_')}"
    raise _unwritable(line)


def _unwritable(line: Line) -> InputError:
    return InputError(f"node '{line.stage.id}': {line.stage.kind} is no line of Python that runs without circuitflow; "
                      "leave it out by --of and --wrt")


def _application(node: Node) -> str:
    return f"{node.kind}({', '.join(few(edge.source for edge in node.operands))})"


def _tidy(statement: str) -> str:
    """A statement without parentheses that it does not need."""
    return statement if _TIDY.fullmatch(statement) else ast.unparse(ast.parse(statement))


def _returned(result: str) -> list[str]:
    lines = filled("return (", f"{result})")
    return lines if len(lines) > 1 else [f"return {result}"]
