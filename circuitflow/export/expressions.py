"""Writes the right sides of an exported file's statements in Python, of floats or of arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from circuitflow.engines.flat.signature import dimensions
from circuitflow.engines.flat.writing import added, folded, hashed
from circuitflow.engines.program.dialects import FLOATS
from circuitflow.engines.program.functions import OWN_PRODUCTS, is_weak_beside
from circuitflow.engines.program.source import is_number, polynomial
from circuitflow.engines.program.trace import Line, RuleCall, Value
from circuitflow.errors import InputError
from circuitflow.export.dialect import ARRAYS, CALLS, PYTHON
from circuitflow.export.names import PythonNames
from circuitflow.gates.shapes import Size


@dataclass(frozen=True)
class Expressions:
    """Expressions of a file.

    Attributes:
        lines: the line that gives each value, by identity.
        names: the names of the file.
        variables: the variable that has the size of each named dimension.
        scalar: whether every value is a float or a truth value.
        sizes: the named dimensions that are read as numbers.
    """

    lines: Mapping[int, Line]
    names: PythonNames
    variables: Mapping[str, str]
    scalar: bool
    sizes: set[str] = field(default_factory=set)

    def number(self, x: Any) -> str:
        """A number that does not depend on the arguments; beside floats it is a float too."""
        x = np.asarray(x).item()
        return self.names.number(float(x) if self.scalar and not isinstance(x, bool) else x)

    def inlines(self, line: Line, operand: Value) -> bool:
        """Whether an operand stands in a line just once, so that an expression may stand in its place."""
        return PYTHON.inlines(line, operand) if self.scalar else not isinstance(line.function, RuleCall)

    def right(self, line: Line, text: Callable[[Any], str]) -> str:
        """The right side of a line; `text` writes a value. A line that calls what has no public name is refused.

        Raises:
            InputError: the line calls what has no public name.
        """
        if self.scalar:
            return self._of_floats(line, text)
        if isinstance(line.function, RuleCall):
            return self._of_writing(line, lambda x: self.operand(x, line, text))
        return self._of_arrays(line, lambda x: self.operand(x, line, text))

    def _of_floats(self, line: Line, text: Callable[[Any], str]) -> str:
        name = line.function.__name__
        if name in ("divide", "remainder") and self._is_never_zero(line.operands[1]):
            return FLOATS.expression(line, text)
        if name in CALLS or line.function is np.astype:
            self.names.use(CALLS.get(name, "float"))
        return PYTHON.expression(line, text)

    def _is_never_zero(self, x: Any) -> bool:
        """Whether a number is evidently not 0: a literal, or a positive one and a number that is not negative."""
        if not isinstance(x, Value):
            return bool(x != 0)
        line = self.lines.get(id(x))
        return line is not None and line.function is np.add and any(
            not isinstance(one, Value) and one > 0 and self._is_not_negative(other)
            for one, other in (line.operands, line.operands[::-1]))

    def _is_not_negative(self, x: Any) -> bool:
        """Whether a number is evidently not negative: a literal, an exponential, or the smallest of such."""
        if not isinstance(x, Value):
            return bool(x >= 0)
        line = self.lines.get(id(x))
        return line is not None and (line.function is np.exp or (
            line.function is np.minimum and all(map(self._is_not_negative, line.operands))))

    def _of_arrays(self, line: Line, write: Callable[[Any], str]) -> str:
        if line.function is operator.getitem:
            return f"({write(line.operands[0])})[{self._index(line.operands[1], write)}]"
        form = ARRAYS.get(line.function)
        if form and not line.keywords:
            return form.format(*map(write, line.operands))
        arguments = [*map(write, line.operands), *(f"{key}={write(x)}" for key, x in line.keywords.items())]
        return f"{self.names.use(_public_name(line))}({', '.join(arguments)})"

    def _of_writing(self, line: Line, write: Callable[[Any], str]) -> str:
        """What writes into an array, by a function of the file."""
        function: Any = line.function
        name = {added: "add_at", folded: "fold", hashed: "murmur"}.get(function.func)
        if name is None:
            raise _unwritable(line)
        arguments = [*map(write, line.operands)]
        if name == "fold":
            frame = function.keywords["frame"]
            arguments += [repr(tuple(map(tuple, x)) if x is frame.pads else tuple(x)) for x in (
                frame.sizes, frame.kernel, frame.strides, frame.dilations, frame.pads)]
        elif name == "add_at":
            arguments.append(str(function.keywords["axis"]))
        return f"{self.names.use(name)}({', '.join(arguments)})"

    def operand(self, x: Any, line: Line, text: Callable[[Any], str]) -> str:
        """An operand of a line of arrays."""
        if isinstance(x, Value):
            return text(x)
        if isinstance(x, np.dtype | type):
            return self.names.dtype(x)
        if is_number(x):
            has_type = isinstance(x, np.generic | np.ndarray) and x.dtype not in {
                value.dtype for value in line.operands if isinstance(value, Value) and is_weak_beside(line.function)}
            return self.names.scalar(x) if has_type else self.names.number(x)
        if isinstance(x, Size):
            return f"({self._size(x)})"
        if isinstance(x, np.ndarray):
            return self.names.constant(x)
        if isinstance(x, tuple | list):
            inside = ", ".join(self.operand(part, line, text) for part in x)
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

    def _size(self, size: int | Size) -> str:
        if isinstance(size, int):
            return str(size)
        self.sizes.update(dimensions([size]))
        return polynomial(size, self.variables.__getitem__)


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
