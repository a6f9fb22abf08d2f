"""Staged code for people: a Python file that runs without circuitflow, with the names of the document."""

from __future__ import annotations

import ast
import keyword
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from circuitflow.engines.buffers import repr_of
from circuitflow.engines.derived import Derived
from circuitflow.engines.program import Program, program
from circuitflow.engines.scalars import BINARY, FORMS, NAMES, inlinable, number, written
from circuitflow.engines.source import Source, is_number
from circuitflow.engines.staged import scalar_program
from circuitflow.engines.trace import Called, Line, Value
from circuitflow.errors import InputError, few, printable
from circuitflow.executor.interpreter import Interpreter
from circuitflow.executor.question import Question
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.node import Node

LITERAL = 1000
"""An array of more numbers is an argument without a default."""

WIDTH = 110
"""Longest line of defaults, constants and results."""

_ARRAY_FORMS = {**{name: f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
                "negative": "-{0}", "invert": "~{0}", "matmul": "{0} @ {1}"}
_CONSTANTS = ("inf", "nan")
_MODULES = ("np", "np.linalg", "scipy.special")
_TAKEN = frozenset({*keyword.kwlist, *NAMES, *_CONSTANTS, "math", "np", "scipy", "as_array", "slice", "IndexError"})


def to_python(circuit: Circuit, of: str | Sequence[str] | None = None, wrt: str | Sequence[str] | None = None, *,
              inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None) -> str:
    """A Python file with a function of values and gradients in straight-line code, forward, then backward.

    It needs nothing but `math`, or where there are arrays NumPy (and SciPy for special functions). Nodes keep their
    ids, a stage says what gate it is of. A division by 0 of plain numbers raises, as ever in Python.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: defaults of the arguments, by id, in place of the document's. They fix the sizes of named dimensions.
        upstream: likewise of the upstream gradients, by output.

    Raises:
        InputError: an unknown reference, a named dimension without a size, or a gate that cannot be written down.
    """
    of, wrt = ([x] if isinstance(x, str) else x for x in (of, wrt))
    return _Script(Derived(Question(Interpreter(circuit), of, wrt)), inputs or {}, upstream or {}).text()


class _Script:
    """The file under construction."""

    def __init__(self, derived: Derived, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
        self.derived = derived
        circuit = derived.question.circuit
        # What the function takes: inputs by id, then upstream gradients as the gradient circuit calls them.
        self.arguments = {**derived.inputs, **{id_: id_ for id_ in derived.upstream.values()}}
        self.defaults = {**{name: circuit.values.get(name) for name in derived.inputs}, **inputs,
                         **{id_: upstream.get(text, derived.question.upstream.get(text))
                            for text, id_ in derived.upstream.items()}}
        missing = {name: np.zeros(self._shape(name), derived.type_of(id_).dtype)
                   for name, id_ in self.arguments.items() if self.defaults[name] is None}
        # An unknown name is refused there, and every value that does not fit.
        bound = derived.question.bind(
            {**inputs, **{name: x for name, x in missing.items() if name in derived.inputs}},
            {**upstream, **{text: missing[id_] for text, id_ in derived.upstream.items() if id_ in missing}})
        self.arrays = derived.arrays(*bound)
        stages = scalar_program(derived)
        self.scalar = stages is not None and not any(isinstance(line.function, Called) for line in stages.lines)
        self.stages: Program = stages if stages is not None and self.scalar else program(
            derived.plan, self.arrays, derived.circuit.values, checked=True)
        self.names: dict[int, str] = {}
        self.taken = set(_TAKEN)
        self.parameters = {name: self._unique(name) for name in self.arguments}
        for name, id_ in self.arguments.items():
            if id_ in self.stages.inputs:
                self.names[id(self.stages.inputs[id_])] = self.parameters[name]
        for name, value in self.stages.values.items():
            if isinstance(value, Value) and id(value) not in self.names:
                self.names[id(value)] = self._unique(name)
        stage_of = {id(result): line.stage.id for line in self.stages.lines for result in line.results}
        self.source = Source(self.stages, lambda value, position: self.names.get(id(value)) or self._unique(
            f"{stage_of.get(id(value), 'unused')}_part"))
        self.constants: dict[str, Any] = {}
        self.imports: set[str] = set()
        self.helpers: set[str] = set()

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape of an argument without a default."""
        shape = self.derived.type_of(self.arguments[name]).shape
        if not all(isinstance(size, int) for size in shape):
            raise InputError(f"'{name}' has dimensions without a size; straight-line code is written for some, so give "
                             f"it a value (--set {name}=…)")
        return shape  # type: ignore[return-value]

    def _unique(self, reference: str) -> str:
        """A name that nothing else has, as near to a reference as Python's grammar allows."""
        name = base = re.sub(r"\W", "_", reference, flags=re.ASCII)
        suffix = 1
        while name in self.taken or re.fullmatch(r"constant_\d+", name):
            suffix += 1
            name = f"{base}_{suffix}"
        self.taken.add(name)
        return name

    def text(self) -> str:
        """The whole file."""
        derived = self.derived
        body = list(self._body())
        outputs = self.stages.outputs
        value = (self._result(outputs[next(iter(derived.values.values()))]) if len(derived.values) == 1 else
                 self._dictionary({text: outputs[ref] for text, ref in derived.values.items()}))
        gradients = self._dictionary({name: outputs[ref] for name, ref in derived.gradients.items()})
        what = "value_and_grad" if derived.gradients else "value"
        defaults = {name: self._default(name) for name in self.parameters}
        arguments = ", ".join(parameter if defaults[name] is None else f"{parameter}={defaults[name]}"
                              for name, parameter in self.parameters.items())
        checked = [] if self.scalar else [
            f"{parameter} = as_array({name!r}, {parameter}, {self._concrete(name)!r}, "
            f"{_dtype(derived.type_of(self.arguments[name]))})"
            for name, parameter in self.parameters.items()]
        returned = f"return {value}, {gradients}" if derived.gradients else f"return {value}"
        function = [*_wrapped(f"def {what}({'*, ' + arguments if arguments else ''}):"),
                    f'    """{self._summary()}"""', *(f"    {line}" for line in (*checked, *body)),
                    *(f"    {line}" for line in _wrapped(returned))]
        shown = (["    value, gradients = value_and_grad()", "    print(value)", "    print(gradients)"]
                 if derived.gradients else ["    print(value())"])
        runs = None not in defaults.values()
        imports = sorted(self.imports | (set() if self.scalar else {"import numpy as np"}))
        parts = ['"""Straight-line code, a stage a line.\n\nWritten by circuitflow '
                 f'{version("circuitflow")}; it runs without it.\n"""', "\n".join(self._about())]
        parts += ["\n".join(imports)] if imports else []
        constants = [line for name, value in self.constants.items() for line in _wrapped(f"{name} = {_array(value)}")]
        parts += ["\n".join(constants)] if constants else []
        parts += ["\n" + helper for helper in self.helpers | ({_AS_ARRAY} if checked else set())]
        parts += ["\n" + "\n".join(function)]
        parts += ["\n" + "\n".join(['if __name__ == "__main__":', *shown])] if runs else []
        return "\n\n".join(part for part in parts if part) + "\n"

    def _about(self) -> list[str]:
        """The document's own words, as comments."""
        document = self.derived.question.circuit.document
        return [f"# {printable(text, 2000)}" for text in (document.name, document.description) if text]

    def _summary(self) -> str:
        of = ", ".join(self.derived.values)
        by = ", ".join(self.derived.gradients)
        return f"The value of {of}, and its gradient with respect to {by}." if by else f"The value of {of}."

    def _body(self) -> Iterator[str]:
        """Statements, and comments that say which gate they are of."""
        part, stage, told, last = None, None, "", None
        for line, statement in self.source.statements(self._right, self._number, self._inlines):
            node: Node = line.stage
            is_forward = node.id in self.derived.question.circuit.nodes
            if part != is_forward:
                part = is_forward
                yield "# forward pass" if is_forward else "# reverse sweep"
            if node is not last:
                told = _application(node) if is_forward else self._origin(node.id)
            last = node
            yield f"{self._tidy(statement)}" + (f"  # {told}" if told and told != stage else "")
            stage = told
        for node, check in self.stages.checks:
            yield f"if np.any({self._result(check)}):"
            yield f"    raise IndexError({f'{node.id}: an index is out of range'!r})"

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
        return number(x) if self.scalar else repr_of(x)

    def _inlines(self, line: Line, operand: Value) -> bool:
        return inlinable(line, operand) if self.scalar else not isinstance(line.function, Called)

    def _right(self, line: Line, text: Callable[[Any], str]) -> str:
        if self.scalar:
            return written(line, FORMS, text)
        if isinstance(line.function, Called):
            raise _unwritable(line)
        write = self._writer(line, text)
        name = line.function.__name__
        operands = [write(x) for x in line.operands]
        if name == "getitem":
            return f"({operands[0]})[{self._index(line.operands[1], write)}]"
        if name in _ARRAY_FORMS and not line.keywords:
            return _ARRAY_FORMS[name].format(*operands)
        given = [*operands, *(f"{key}={write(x)}" for key, x in line.keywords.items())]
        return f"{self._function(line)}({', '.join(given)})"

    def _writer(self, line: Line, text: Callable[[Any], str]) -> Callable[[Any], str]:
        """Writes an operand of a line."""
        beside = {x.dtype for x in line.operands if isinstance(x, Value)}

        def write(x: Any) -> str:
            if isinstance(x, np.dtype | type) and not isinstance(x, Value):
                return _dtype(np.dtype(x).name)
            if isinstance(x, np.generic | np.ndarray) and is_number(x) and x.dtype not in beside:
                return f"{_dtype(x.dtype.name)}({repr_of(x)})"
            if isinstance(x, np.ndarray) and not is_number(x):
                return self._constant(x)
            if isinstance(x, tuple | list):
                inside = ", ".join(map(write, x))
                return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' if len(x) == 1 else ''})"
            if isinstance(x, slice):
                return repr(x)
            return repr(x) if isinstance(x, str) else text(x)

        return write

    def _index(self, key: Any, write: Callable[[Any], str]) -> str:
        def one(x: Any) -> str:
            if isinstance(x, slice):
                ends = ["" if end is None else str(int(end)) for end in (x.start, x.stop)]
                return ":".join(ends + ([str(int(x.step))] if x.step is not None else []))
            return write(x)

        return ", ".join(map(one, key)) + "," * (len(key) == 1) if isinstance(key, tuple) and key else one(key)

    def _function(self, line: Line) -> str:
        """A function by its public name."""
        modules = dict(zip(_MODULES, (np, np.linalg, import_module("scipy.special")), strict=True))
        name = line.function.__name__.lstrip("_")
        for prefix, module in modules.items():
            if getattr(module, line.function.__name__, None) is line.function or (
                    prefix == "scipy.special" and hasattr(module, name)):
                if prefix == "scipy.special":
                    self.imports.add("import scipy.special")
                return f"{prefix}.{name}"
        raise _unwritable(line)

    def _constant(self, array: Any) -> str:
        """The name of an array that does not depend on the inputs."""
        for name, known in self.constants.items():
            if known.dtype == array.dtype and np.array_equal(known, array, equal_nan=array.dtype.kind == "f"):
                return name
        name = f"constant_{len(self.constants) + 1}"
        self.constants[name] = array
        return name

    def _result(self, x: Any) -> str:
        if isinstance(x, Value):
            return self.source.name(x)
        return self._number(x) if self.scalar else self._constant(np.asarray(x))

    def _dictionary(self, items: Mapping[str, Any]) -> str:
        return "{" + ", ".join(f"{name!r}: {self._result(x)}" for name, x in items.items()) + "}"

    def _tidy(self, statement: str) -> str:
        """A statement without parentheses that it does not need, functions by their module."""
        tree = _InModule("math" if self.scalar else "np", self.imports, self.helpers).visit(ast.parse(statement))
        return ast.unparse(ast.fix_missing_locations(tree))

    # Arguments

    def _concrete(self, argument: str) -> tuple[int, ...]:
        id_ = self.arguments[argument]
        return tuple(self.arrays[id_].shape) if id_ in self.arrays else np.shape(self.defaults[argument])

    def _default(self, argument: str) -> str | None:
        """The default of an argument, a number or the name of an array; None where it has none."""
        value = self.defaults[argument]
        if value is None or np.size(value) > LITERAL:
            return None
        array = np.asarray(value, self.derived.type_of(self.arguments[argument]).dtype)
        if not array.ndim:
            return _plain(array.item())
        name = self._unique(f"default_{self.parameters[argument]}")
        self.constants[name] = array
        return name


class _InModule(ast.NodeTransformer):
    """Puts the module before its functions and numbers, and notes what is imported and defined."""

    def __init__(self, module: str, imports: set[str], helpers: set[str]) -> None:
        self.module, self.imports, self.helpers = module, imports, helpers

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == "exp":
            self.imports.add("import math")
            self.helpers.add(_EXP)
        elif node.id in _CONSTANTS or (self.module == "math" and NAMES.get(node.id) is getattr(math, node.id, node)):
            if self.module == "math":
                self.imports.add("import math")
            return ast.Attribute(ast.Name(self.module, ast.Load()), node.id, ast.Load())
        return node


def _unwritable(line: Line) -> InputError:
    return InputError(f"node '{line.stage.id}': {line.stage.kind} is no line of Python that runs without circuitflow; "
                      "leave it out by --of and --wrt")


def _application(node: Node) -> str:
    return f"{node.kind}({', '.join(few(edge.source for edge in node.operands))})"


def _plain(x: Any) -> str:
    """A number as an expression that needs no import."""
    return f"float({str(x)!r})" if isinstance(x, float) and not math.isfinite(x) else repr(x)


def _array(array: Any) -> str:
    """An array as an expression."""
    dtype = _dtype(array.dtype.name)
    if array.size and (array == array.reshape(-1)[0]).all():
        return f"np.full({array.shape!r}, {_plain(array.reshape(-1)[0].item())}, {dtype})"
    if not array.size:  # however many lists of nothing it would be
        return f"np.empty({array.shape!r}, {dtype})"
    return f"np.array({_nested(array.tolist())}, {dtype})"


def _dtype(type_: Any) -> str:
    name = getattr(type_, "dtype", type_)
    return f"np.{name if name != 'bool' else 'bool_'}"


def _wrapped(statement: str) -> list[str]:
    """A long statement in lines that a person can read; there are brackets wherever it is broken."""
    return textwrap.wrap(statement, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _nested(x: Any) -> str:
    return f"[{', '.join(map(_nested, x))}]" if isinstance(x, list) else _plain(x)


_EXP = '''def exp(x):
    """e^x, which may be infinite."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf'''

_AS_ARRAY = '''def as_array(name, x, shape, dtype):
    """An argument as the array that the stages are written for."""
    array = np.asarray(x, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    return array'''
