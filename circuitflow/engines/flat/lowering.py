"""Writes the lines of a program as statements of one function: memory is allotted, elements are computed in loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import DEEPEST, Array, broadcast, splat, stored, variable
from circuitflow.engines.flat.code import Code
from circuitflow.engines.flat.indices import Indices
from circuitflow.engines.flat.language import BOOL, DType, Expr, Language, Unwritable
from circuitflow.engines.flat.memory import Buffer
from circuitflow.engines.program.functions import PRODUCTS
from circuitflow.engines.program.program import Program
from circuitflow.engines.program.trace import Line, RuleCall, Value, values_in
from circuitflow.gates.special import Check
from circuitflow.graph.typed import Node
from circuitflow.text import application

Rules = Mapping[Any, Callable[..., Any]]
"""What writes a line, by its function of NumPy: takes the lowering, the line, its operands and keywords, and gives the
result, or a list of them."""


class Tables:
    """Arrays of numbers that do not depend on the arguments, each with a name."""

    def __init__(self, new_name: Callable[[str], str]) -> None:
        self._new_name = new_name
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self._buffers: dict[Any, Buffer] = {}

    def buffer(self, array: np.ndarray[Any, Any]) -> Buffer:
        """Where an array lies; equal arrays lie in one place."""
        key = (array.dtype.str, array.tobytes())
        if key not in self._buffers:
            name = self._new_name("table")
            self.arrays[name] = array
            self._buffers[key] = Buffer(name, array.dtype, array.size)
        return self._buffers[key]


class Lowering:
    """Writes programs as code.

    Attributes:
        code: the statements.
        tables: constant arrays.
        homes: where a value is stored if it is, by identity, such as an output.
    """

    def __init__(self, code: Code, tables: Tables, rules: Rules, about: Callable[[Node], str],
                 refusal: Callable[[Node], str]) -> None:
        """No statements yet.

        Args:
            code: where they go.
            tables: where constants go.
            rules: what writes a line.
            about: the comment of a node; "" for none.
            refusal: the statement that ends the function because a node refuses its operands.
        """
        self.code, self.tables, self.homes = code, tables, dict[int, Array]()
        self._rules, self._about, self._refusal = rules, about, refusal
        self._arrays: dict[int, Array] = {}
        self._names: dict[int, str] = {}
        self._uses: dict[int, int] = {}
        self._readers: dict[int, Line] = {}
        self._stage: Node | None = None

    @property
    def language(self) -> Language:
        """How the statements are spelled."""
        return self.code.language

    # Programs ---------------------------------------------------------------------------------------------------------

    def run(self, program: Program, inputs: Mapping[str, Array]) -> None:
        """Write the lines of a program.

        Raises:
            Unwritable: a line has no form; the message begins with the node.
        """
        for name, value in program.inputs.items():
            self._arrays[id(value)] = inputs[name]
        for reference, x in program.values.items():
            if isinstance(x, Value):
                self._names.setdefault(id(x), reference)
        for line in program.lines:
            for key in {id(x) for x in line.reads}:
                self._uses[key] = self._uses.get(key, 0) + 1
                self._readers[key] = line
        for value in values_in(program.results):
            self._uses[id(value)] = self._uses.get(id(value), 0) + 2
        pending, ready = list(program.checks), {id(value) for value in program.inputs.values()}
        for line in program.lines:
            self._line(line)
            if not pending:
                continue
            ready.update(map(id, line.results))
            while pending and ready.issuperset(map(id, values_in(pending[0][1][:1]))):
                self.refuse(*pending.pop(0))
        for check in pending:
            self.refuse(*check)

    def _line(self, line: Line) -> None:
        node: Node = line.stage
        if node is not self._stage:
            self._stage = node
            self.code.break_part()
            self.code.remark(self._about(node))
        function: Any = line.function
        keywords = line.keywords
        if isinstance(function, RuleCall):
            function, keywords = function.func, {**function.keywords}
        rule = self._rules.get(function) or self._rules.get(type(function))
        try:
            for value in line.results:
                self.language.type_name(value.dtype)
            if rule is None:
                raise Unwritable(f"comes to {getattr(function, '__name__', 'a rule of its own')}, which has no form")
            with self._chosen(line):
                out = rule(self, line, *line.operands, **keywords)
        except Unwritable as error:
            raise Unwritable(f"node '{node.id}': {node.kind} {error}") from None
        for value, x in zip(line.results, out if isinstance(out, list) else [out], strict=True):
            self._define(value, line, x)

    @contextmanager
    def _chosen(self, line: Line) -> Iterator[None]:
        """Multiply matrices only if the result is read: where one number chooses between it and another array."""
        value = line.results[0]
        reader = self._readers.get(id(value))
        condition, x, y = reader.operands if reader and reader.function is np.where else (None, None, None)
        if (line.function in PRODUCTS and value.shape and self._uses[id(value)] == 1 and x is not y
                and isinstance(condition, Value) and not condition.shape and id(condition) in self._arrays):
            test = self.condition(self._arrays[id(condition)], self.code, ()).text
            with self.code.block(f"if ({test}) {{" if x is value else f"if (!({test})) {{"):
                yield
        else:
            yield

    def _define(self, value: Value, line: Line, x: Array) -> None:
        """Take down what a value is; it is computed at once where more than one line reads it, or it has a home."""
        uses, reader = self._uses.get(id(value), 0), self._readers.get(id(value))
        if x.depth and (uses > 1 or x.depth >= DEEPEST or id(value) in self.homes or (
                not x.shape and (reader is None or reader.stage is not line.stage))):
            x = self.stored(x, self.hint_of(value, line), self.homes.get(id(value)))
        self._arrays[id(value)] = x

    def hint_of(self, value: Value, line: Line) -> str:
        """What a result of a line is called."""
        return self._names.get(id(value)) or f"{line.stage.id}_part"

    def hint(self, line: Line) -> str:
        """What the first result of a line is called."""
        return self.hint_of(line.results[0], line)

    def home(self, line: Line) -> Array | None:
        """Where the first result of a line has to be stored, if it has a place of its own."""
        return self.homes.get(id(line.results[0]))

    def dense(self, x: Array) -> Array:
        """A copy whose elements lie side by side."""
        return self.stored(x, "copy")

    def refuse(self, node: Node, check: Check) -> None:
        """Statements that end the function where a check fails.

        Raises:
            Unwritable: it fails whatever the arguments are.
        """
        outside = self.array(check.outside)
        if not isinstance(check.outside, Value):
            if np.any(check.outside):
                raise Unwritable(f"node '{node.id}': {node.kind} refuses its operands, whatever the inputs are")
            return
        if not outside.size:
            return
        with self.nest(outside.shape) as at, self.code.block(f"if ({outside.at(self.code, at).text}) {{"):
            self.give_up(node)

    def give_up(self, node: Node) -> None:
        """A statement that ends the function because a node refuses its operands."""
        self.code.line(self._refusal(node))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Lines of a body, whose comments are those of its own nodes."""
        about, stage = self._about, self._stage
        self._about = lambda node: application(node.kind, (edge.source for edge in node.operands))
        yield
        self._about, self._stage = about, stage

    # Arrays -----------------------------------------------------------------------------------------------------------

    def array(self, x: Any, dtype: DType | None = None) -> Array:
        """An operand as an array, in a dtype."""
        if isinstance(x, Value):
            array = self._arrays[id(x)]
            return array if dtype is None or array.dtype == dtype else self.cast(array, dtype)
        numbers = np.asarray(x) if dtype is None else np.asarray(x).astype(dtype)
        first = numbers.reshape(-1)[:1]
        if numbers.size == 0 or numbers.tobytes() == first.tobytes() * numbers.size:
            fill = first[0] if numbers.size else numbers.dtype.type(0)
            return splat(numbers.shape, numbers.dtype, self.language.literal(fill, numbers.dtype))
        return stored(self.tables.buffer(np.ascontiguousarray(numbers)), numbers.shape)

    def cast(self, x: Array, dtype: DType) -> Array:
        """An array in another dtype; the elements are converted where they are read."""
        return Array(x.shape, dtype, lambda code, at: code.language.cast(x.at(code, at), x.dtype, dtype), None, x.depth)

    def ready(self, x: Array) -> Array:
        """An array whose elements may be read again and again: they lie in memory, or need no computing."""
        return self.stored(x, "part") if x.depth else x

    def wide(self, x: Array, shape: Sequence[Any]) -> Array:
        """An operand of a result of some shape: it is computed first where that reads its elements several times."""
        if x.shape == shape:
            return x
        size = 1
        for n in shape:
            size *= n
        return broadcast(self.ready(x) if x.depth and x.size < size else x, shape)

    def stored(self, x: Array, hint: str, home: Array | None = None) -> Array:
        """An array, computed now: a local variable, or elements in memory."""
        code = self.code
        if not x.shape and home is None:
            return variable(x.dtype, code.local(x.at(code, ()), x.dtype, hint).text)
        out = home or self.room(x.shape, x.dtype, hint)
        self.copy(x, out)
        return out

    def room(self, shape: Sequence[Any], dtype: DType, hint: str) -> Array:
        """Memory for an array."""
        out = Array(tuple(shape), dtype, lambda code, at: Expr(""))
        return stored(self.code.buffer(dtype, max(1, out.size), hint), shape)

    def copy(self, x: Array, out: Array) -> None:
        """Fill memory with the elements of an array."""
        if 0 not in out.shape:
            with self.nest(out.shape) as at:
                self.assign(out, at, x.at(self.code, at))

    def assign(self, out: Array, at: Indices, x: Expr) -> None:
        """Set an element in memory."""
        self.code.line(f"{out.at(self.code, at).text} = {x.text};")

    def nest(self, shape: Sequence[Any]) -> _Nest:
        """Loops over all positions of a shape, the last axis innermost."""
        return _Nest(self.code, shape)

    def element(self, name: str, *operands: Expr, dtype: DType) -> Expr:
        """A function of NumPy of elements of a dtype."""
        return self.language.apply(name, dtype, operands)

    def condition(self, x: Array, code: Code, at: Indices) -> Expr:
        """An element as a truth value."""
        return code.language.cast(x.at(code, at), x.dtype, BOOL)


class _Nest(ExitStack):
    """Loops over all positions of a shape; an axis without positions has none inside."""

    def __init__(self, code: Code, shape: Sequence[Any]) -> None:
        super().__init__()
        self._code, self._shape = code, shape

    def __enter__(self) -> Indices:  # type: ignore[override]
        super().__enter__()
        return tuple(self.enter_context(self._code.loop(size)) for size in self._shape)
