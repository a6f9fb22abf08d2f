"""Expressions to documents: `f = (x + sigmoid(y)) / (sigmoid(x) + (x + y)**2)`.

Python's `ast` module parses the text; nothing is evaluated. Every construct with a meaning has a case of its own. All
others are refused, with a caret under them.
"""

from __future__ import annotations

import ast
import keyword
import math
import os
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from circuitflow.arguments import checked
from circuitflow.authoring.author import Author
from circuitflow.authoring.grammar import COMPARISONS, OPERATORS
from circuitflow.errors import DocumentError, Fault, InputError
from circuitflow.gates import GATES, GateTable, suggestion
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.plan import references
from circuitflow.text import nearest, printable

FILE = "<expression>"
MAX_LENGTH = 1_000_000
"""Longest text, in characters."""

_CHAINS = (ast.Add, ast.Mult)
"""Operators whose chains are one gate of several operands."""

_NUMBERS = {"pi": math.pi, "e": math.e}
_SPELLINGS = {"π": "pi"}
"""Names of numbers that are no ids."""

_CHARACTERS = {
    **dict.fromkeys("×·⋅∙∗", "*"), "÷": "/", **dict.fromkeys("−–—", "-"), "²": "**2", "³": "**3", "√": "sqrt(…)",
    "≤": "<=", "≥": ">=", "≠": "!=", "∧": "&", "∨": "|", "¬": "~", "∑": "reduce_sum(…)", "∏": "reduce_prod(…)",
    "…": "...", **dict.fromkeys("“”„‟", '"'), **dict.fromkeys("‘’", "'"),
}
"""Python's spelling of mathematical and typographical characters."""

_INSTEAD = {
    ast.FloorDiv: "floor(x / y) is a gate of its own",
    ast.BoolOp: "write & for and, | for or",
    ast.Not: "write ~ for not",
    **dict.fromkeys((ast.IfExp, ast.If), "write where(condition, a, b)"),
    **dict.fromkeys((ast.Lambda, ast.FunctionDef), "a circuit has no functions; name a stage"),
    ast.Attribute: "gates are called by their names alone; an output of t is t[\"values\"]",
    ast.JoinedStr: "text is the value of an attribute, such as ties=\"share\"",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp, ast.For, ast.While),
                    "write every gate down"),
    ast.AugAssign: "a stage has one value; name another one",
    ast.Import: "nothing is imported; the gates are there", ast.ImportFrom: "nothing is imported; the gates are there",
}


@checked
def new(text: str, values: Mapping[str, Any] | None = None, *, shapes: Mapping[str, Sequence[int | str]] | None = None,
        parameters: str | Collection[str] = (), outputs: str | Sequence[str] | None = None, name: str | None = None,
        dtype: str = "float64", gates: GateTable = GATES, folder: str | os.PathLike[str] | None = None) -> Circuit:
    """A circuit from an expression, or from stages that are assigned to names.

    Names without an assignment are inputs. `+ - * / ** % @`, comparisons and `& | ^ ~` are gates, every gate is
    called by its name with attributes as keywords, and lists of numbers are tensors. `x[0, 1:3]` takes a part;
    `t["values"]` takes an output of a gate with several. `pi`, `π` and `e` are numbers, unless they are stages or
    parameters, or have a value or a shape. An expression without an assignment is called `f`.

    Args:
        text: in Python's grammar, with lines, `;` and comments.
        values: of inputs, by name: numbers, lists, arrays, or objects as documents have them.
        shapes: of inputs without a value: sizes and names of dimensions.
        parameters: the inputs that are trainable; each needs a value.
        outputs: the stages to make outputs; those that no other stage reads by default.
        name: of the document.
        dtype: "float64" or "float32".
        gates: the gate table.
        folder: where tensor files that values name lie.

    Raises:
        DocumentError: parts of the text have no meaning; each fault has its place.
        InputError: a value, shape, parameter or output belongs to no input or stage, or is not valid.
    """
    author = Author(gates, dtype, folder)
    trainable = [parameters] if isinstance(parameters, str) else parameters
    stages = references(outputs, "outputs")
    return _Text(text, values or {}, shapes or {}, trainable, author).circuit(stages, name)


class _Skip(Exception):  # noqa: N818
    """Ends a statement whose fault is noted."""


class _Text:
    """An expression being read."""

    def __init__(self, text: str, values: Mapping[str, Any], shapes: Mapping[str, Sequence[int | str]],
                 parameters: Collection[str], author: Author) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.lines = text.split("\n")
        self.values, self.shapes, self.parameters = values, shapes, set(parameters)
        self.author = author
        self.faults: list[Fault] = []
        self.wires: dict[str, Any] = {}  # by name; tuples of several outputs, None after a fault
        self.assignments: dict[str, int] = {}
        self.pending: list[str] = []
        self.uses: set[str] = set()
        self.statements = self._parse(text)

    def _parse(self, text: str) -> list[ast.stmt]:
        if len(text) > MAX_LENGTH:
            self._fail(f"the text has {len(text):,} characters; at most {MAX_LENGTH:,} are read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as 1if, which Python only warns of
                return ast.parse(text).body
        except SyntaxError as error:
            line, column = error.lineno or 1, error.offset or 1
            self.faults.append(self._at(line, column - 1, f"{printable(str(error.msg))}; "
                                                          f"{self._remedy(line, column - 1)}"))
        except ValueError as error:  # a NUL, up to Python 3.11.3
            self._fail(f"{printable(str(error))}; expected expressions as Python writes them")
        except (RecursionError, MemoryError):
            self._fail("the text is nested too deep, or is one chain too long; give its stages names, one on each line")
        raise DocumentError(self.faults)

    def circuit(self, outputs: Sequence[str] | None, name: str | None) -> Circuit:
        for i, statement in enumerate(self.statements):
            for target in getattr(statement, "targets", ()):
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Name):
                        self.assignments.setdefault(part.id, i)
        if not self.statements:
            self._fail("there is no expression; write one, such as f = x * y")
        for i, statement in enumerate(self.statements):
            try:
                self._statement(i, statement)
            except _Skip:
                continue
        if self.faults:
            raise DocumentError(self.faults)
        stages = [stage for stage in self.assignments if stage not in self.uses]
        for group, what in ((self.values, "value"), (self.shapes, "shape"), (self.parameters, "parameters")):
            for unknown in group:
                if unknown not in self.wires or unknown in self.assignments:
                    inputs = [each for each in self.wires if each not in self.assignments]
                    raise InputError(f"{what}: the expression has no input '{printable(unknown, 60)}'"
                                     f"{nearest(unknown, inputs)}; it has {', '.join(inputs) or 'none'}")
        for output in outputs if outputs is not None else stages:
            wire = self.wires.get(output)
            if wire is None:
                raise InputError(f"outputs: the expression has no stage '{printable(output, 60)}'"
                                 f"{nearest(output, self.wires)}")
            for one in wire if isinstance(wire, tuple) else [wire]:
                self.author.output(one)
        return self.author.finish(name)

    # Statements

    def _statement(self, i: int, statement: ast.stmt) -> None:
        match statement:
            case ast.Expr(value):
                if "f" in self.assignments or "f" in self.wires:
                    self._refuse(statement, "an expression that is assigned to nothing is called f, which is taken; "
                                            "give it a name")
                self.assignments["f"] = i
                self._name("f", self._result_of(["f"], value), statement)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._check_name(name, statement.targets[0], i)
                self._name(name, self._result_of([name], value), statement.targets[0])
            case ast.Assign(targets=[ast.Tuple(elts=parts)], value=value) if all(
                    isinstance(part, ast.Name) for part in parts):
                names = [part.id for part in parts if isinstance(part, ast.Name)]
                for name, part in zip(names, parts, strict=True):
                    self._check_name(name, part, i)
                wires = self._result_of(names, value)
                if not isinstance(wires, tuple) or len(wires) != len(names):
                    count = len(wires) if isinstance(wires, tuple) else 1
                    self._refuse(value, f"this has {count} output{'s' * (count != 1)}, there are {len(names)} names")
                for name, wire, part in zip(names, wires, parts, strict=True):
                    self._name(name, wire, part)
            case _:
                self._refuse(statement, self._meaningless(statement))

    def _result_of(self, names: list[str], value: ast.expr) -> Any:
        """The result of an expression. After a fault its names have no wire, and no faults of their own."""
        self.wires |= dict.fromkeys(names)
        self.pending = names
        result = self._wire(value)
        self.pending = []
        return result

    def _check_name(self, name: str, node: ast.expr, i: int) -> None:
        if self.assignments[name] != i or (name in self.wires and name in self.assignments):
            self._refuse(node, f"'{printable(name, 60)}' is the name of a stage already; a stage has one value")

    def _name(self, name: str, result: Any, node: ast.AST) -> None:
        try:
            if isinstance(result, tuple):  # the node has the name, its outputs names of their own
                if result[0].record.name is not None:
                    self._refuse(node, f"this is what '{result[0].record.name}' gives, which has several outputs: name "
                                       "one of them")
                self.author.claim(name)
                result[0].record.name = name
                self.wires[name] = result
            else:
                self.wires[name] = self.author.name(result, name)
        except InputError as error:
            self._refuse(node, str(error))

    # Expressions, without recursion: a text can nest deeper than Python calls

    def _wire(self, root: ast.expr) -> Any:
        """The result of an expression: a wire, a number, a list of numbers, or a tuple of wires."""
        results: dict[int, Any] = {}
        pending: list[tuple[ast.expr, Sequence[ast.expr] | None]] = [(root, None)]
        while pending:
            node, parts = pending.pop()
            if parts is None:
                parts = self._parts(node)
                pending.append((node, parts))
                pending += [(part, None) for part in reversed(parts)]
                continue
            try:
                results[id(node)] = self._apply(node, [results[id(part)] for part in parts])
            except InputError as error:
                self._refuse(node, str(error))
        return results[id(root)]

    def _parts(self, node: ast.expr) -> Sequence[ast.expr]:
        """The operands of an expression."""
        match node:
            case ast.Constant() | ast.Name() | ast.List():
                return []
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                chain = [right]
                while isinstance(op, _CHAINS) and isinstance(left, ast.BinOp) and type(left.op) is type(op):
                    chain.append(left.right)
                    left = left.left
                return [left, *reversed(chain)]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert(), operand=operand):
                return [operand]
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in (*COMPARISONS, ast.NotEq):
                return [left, right]
            case ast.Compare(ops=[_, _, *_]):
                self._refuse(node, "a chain of comparisons; write (a < b) & (b < c)")
            case ast.Call(func=ast.Name(id=gate) as func, args=args):
                try:
                    self.author.row(gate)
                except InputError as error:
                    self._refuse(func, str(error))
                for argument in args:
                    if isinstance(argument, ast.Starred):
                        self._refuse(argument, self._meaningless(argument))
                return args
            case ast.Subscript(value=value):
                return [value]
        return self._refuse(node, self._meaningless(node))

    def _apply(self, node: ast.expr, operands: list[Any]) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return self._number(node, number)
            case ast.Constant():
                self._refuse(node, self._meaningless(node))
            case ast.Name(id=name):
                return self._input(name, node)
            case ast.List():
                return self._tensor(node)
        for operand, part in zip(operands, self._parts(node), strict=True):
            if isinstance(operand, tuple) and not isinstance(node, ast.Subscript):
                names = ", ".join(f'"{output}"' for output in operand[0].record.outputs)
                self._refuse(part, f"this has several outputs; take one: [{names.partition(', ')[0]}], of {names}")
        emit: Callable[..., Any] = self.author.emit
        match node:
            case ast.BinOp(op=ast.BitXor()) if any(getattr(x, "dtype", type(x).__name__) != "bool" for x in operands):
                self._refuse(node, "^ is the exclusive or of booleans; a power is written **")
            case ast.BinOp(op=op):
                return emit(OPERATORS[type(op)], *operands)
            case ast.UnaryOp(op=ast.USub()):
                return -operands[0] if isinstance(operands[0], int | float) else emit("neg", operands[0])
            case ast.UnaryOp(op=ast.UAdd()):
                return operands[0]
            case ast.UnaryOp():
                return emit("not", *operands)
            case ast.Compare(ops=[ast.NotEq()]):
                return emit("not", emit("equal", *operands))
            case ast.Compare(ops=[op]):
                return emit(OPERATORS[type(op)], *operands)
            case ast.Call(func=ast.Name(id=gate), keywords=keywords):
                attributes: dict[str, Any] = {}
                for keyword in keywords:
                    if keyword.arg is None:
                        self._refuse(keyword.value, "attributes are written one by one, name=value")
                    if keyword.arg in attributes:
                        self._refuse(keyword, f"attribute '{printable(keyword.arg, 60)}' is there twice")
                    attributes[keyword.arg] = self._literal(keyword.value)
                return emit(gate, *operands, **attributes)
            case ast.Subscript(slice=index):
                return self._part_of(operands[0], index)
        raise AssertionError(node)

    def _input(self, name: str, node: ast.expr) -> Any:
        """A stage, or an input, which its first use creates."""
        if name in self.assignments and (name not in self.wires or name in self.pending):
            self._refuse(node, f"'{printable(name, 60)}' is read before it is assigned; put its line first")
        if name not in self.assignments:
            name = _SPELLINGS.get(name, name)
        self.uses.add(name)
        if name not in self.wires:
            self.wires[name] = None
            if name in _NUMBERS and not any(name in group for group in (self.values, self.shapes, self.parameters)):
                self.wires[name] = self.author.source("constant", name, _NUMBERS[name])
                return self.wires[name]
            if name in self.parameters and self.values.get(name) is None:
                self._refuse(node, f"parameter '{name}' needs a value: give one (--set {name}=…)")
            kind = "parameter" if name in self.parameters else "input"
            self.wires[name] = self.author.source(kind, name, self.values.get(name), shape=self.shapes.get(name))
        if self.wires[name] is None:
            raise _Skip
        return self.wires[name]

    def _number(self, node: ast.expr, number: bool | float) -> bool | float:
        if isinstance(number, int) and abs(number) >= 2**63:
            self._refuse(node, "an integer of more than 63 bits; write it with a point")
        if isinstance(number, float) and number in (float("inf"), float("-inf")):
            self._refuse(node, "this number is larger than any float; expected at most about 1.8e308")
        return number

    def _tensor(self, node: ast.expr) -> Any:
        """A tensor, written as lists of numbers."""
        numbers = self._literal(node)
        pending = [numbers]
        for value in pending:
            if isinstance(value, list):
                pending += value
            elif not isinstance(value, bool | int | float):
                self._refuse(node, "a tensor is written as lists of numbers; stack(a, b) makes one of wires")
        return numbers

    def _literal(self, node: ast.expr) -> Any:
        """A number, text, true or false, None, or lists of them."""
        if isinstance(node, ast.List | ast.Tuple):
            return [self._literal(item) for item in node.elts]
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
            if isinstance(node.value, int | float):
                self._number(node, node.value)
            return node.value
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -self._number(node, number)
        return self._refuse(node, "expected a number, text in quotes, True, False, None, or a list of them")

    def _part_of(self, operand: Any, index: ast.expr) -> Any:
        if isinstance(operand, tuple):
            outputs = operand[0].record.outputs
            choice = self._literal(index)
            if isinstance(choice, int) and not isinstance(choice, bool) and 0 <= choice < len(operand):
                return operand[choice]
            if choice in outputs:
                return operand[outputs.index(choice)]
            names = ", ".join(f'"{output}"' for output in outputs)
            self._refuse(index, f"there is no such output; there are {names}")
        wire = self.author.as_wire(operand)
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        return wire[tuple(self._index(part) for part in parts)]

    def _index(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(None if end is None else self._literal(end) for end in (node.lower, node.upper, node.step)))
        if isinstance(node, ast.Constant) and node.value is ...:
            return ...
        if isinstance(node, ast.Name):
            return self._input(node.id, node)
        return self._literal(node)

    # Faults

    def _meaningless(self, node: ast.AST) -> str:
        """The message for a part of Python that has no meaning here."""
        kind: Any = type(node)
        if type(getattr(node, "op", None)) in _INSTEAD:
            kind = type(getattr(node, "op", None))
        match node:
            case ast.Call(func=ast.Constant() | ast.BinOp()):
                return "only gates are called, by their names; a product is written with *"
            case ast.Call(func=ast.Attribute(attr=name)):
                gates = self.author.gates
                hint = f"; write {name}(…)" if name in gates else suggestion(name, gates, lambda *_: "")
                return f"only gates are called, by their names alone{hint}"
            case ast.Call():
                return "only gates are called, by their names"
            case ast.Attribute(attr=name) if name in _NUMBERS:
                return f"write {name}"
            case ast.Attribute(attr="T" | "mT"):
                return "write matrix_transpose(…)"
        hint = f"; {_INSTEAD[kind]}" if kind in _INSTEAD else ""
        return f"this has no meaning in a circuit{hint or ': expected stages, operators and gates'}"

    def _remedy(self, line: int, column: int) -> str:
        """What to write at a syntax error."""
        text = self._line(line)
        if instead := _CHARACTERS.get(text[column : column + 1]):
            return f"write {instead}"
        if (beside := re.match(r"\d([A-Za-z_]\w*|\()", text[column:])) and not keyword.iskeyword(beside[1]):
            return "a product is written with *"
        if (gate := re.search(r"([A-Za-z_]\w*)[ \t]+$", text[:column])) and gate[1] in self.author.gates:
            return f"operands stand in parentheses: {gate[1]}(…)"
        if word := re.match(r"(and|or)\b", text[column:]):
            return f"write x {'&' if word[1] == 'and' else '|'} y"
        if re.match(r"[ \t]*\w+\([\w, ]*\)[ \t]*=(?!=)", text):
            return "a stage is a name alone, f = …"
        return "expected expressions as Python writes them"

    def _refuse(self, node: ast.AST, message: str) -> NoReturn:
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        self.faults.append(self._at(line, len(self._line(line).encode()[:offset].decode(errors="ignore")), message))
        raise _Skip

    def _at(self, line: int, column: int, message: str) -> Fault:
        return Fault(message, "", None, FILE, line, column + 1, self._line(line))

    def _line(self, line: int) -> str:
        return self.lines[line - 1] if line <= len(self.lines) else ""

    def _fail(self, message: str) -> NoReturn:
        raise DocumentError([Fault(message, file=FILE)])
