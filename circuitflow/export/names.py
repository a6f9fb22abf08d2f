"""The names of an exported file, and what stands before its function: imports, constants, helpers.

A method here names whatever the function uses, so that the file imports or defines it. Every variable has a name that
nothing else has.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from typing import Any

import numpy as np

from circuitflow.export.dialect import HELPERS, NEEDED, OF_ARRAYS
from circuitflow.transforms.naming import Names

WIDTH = 110
"""Longest line of a function's body, without its indentation."""

_PARTS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[()\[\]{}]|[^'"()\[\]{}]+""")
"""Texts, brackets, and what is between them."""

_MODULES = {"math": "import math", "np": "import numpy as np", "scipy": "import scipy.special"}
_BUILTINS = ("bool", "float", "map", "max", "print", "round", "slice", "IndexError", "OverflowError", "ValueError",
             "ZeroDivisionError")
_RESERVED = frozenset({*keyword.kwlist, "__debug__", "__name__", *_MODULES, *_BUILTINS, *HELPERS})


class PythonNames:
    """The names under construction.

    Attributes:
        module: what infinity and NaN are taken from, `math` or `np`.
    """

    def __init__(self, module: str) -> None:
        self.module = module
        self._names = Names(_RESERVED)
        self._imports: set[str] = set()
        self._helpers: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._by_array: dict[Any, str] = {}
        self._functions: list[str] = []

    def new(self, reference: str) -> str:
        """A name that nothing else has, as near to a reference as Python's grammar allows."""
        return self._names.free(re.sub(r"\W", "_", reference, flags=re.ASCII))

    def use(self, name: str) -> str:
        """A helper, a function of Python, or what a module has, such as `np.linalg.det`."""
        first = name.partition(".")[0]
        if first in _MODULES:
            self._imports.add(_MODULES[first])
        elif name in HELPERS:
            self.use("np" if name in OF_ARRAYS else "math")
            if name in NEEDED:
                self.use(NEEDED[name])
            self._helpers[name] = HELPERS[name]
        else:
            assert name in _BUILTINS, name  # noqa: S101
        return name

    def constant(self, array: Any, reference: str = "") -> str:
        """A name for an array: the same for equal arrays, or one that is near to a reference."""
        array = np.asarray(array)
        key = reference or (array.dtype, array.shape, array.tobytes())
        if key not in self._by_array:
            name = self._by_array[key] = self.new(reference or f"constant_{len(self._constants) + 1}")
            self._constants[name] = "\n".join(fill_lines(f"{name} = {self.use('np')}.{self._array(array)}"))
        return self._by_array[key]

    def number(self, x: Any) -> str:
        """A number as an expression without a type, so that it takes that of the arrays beside it."""
        if isinstance(x, np.generic | np.ndarray):
            x = x.item()
        if isinstance(x, float) and x - x != 0:
            text = self.use(f"{self.module}.{'nan' if x != x else 'inf'}")
            return f"(-{text})" if x < 0 else text
        text = repr(x)
        return f"({text})" if text.startswith("-") else text

    def scalar(self, x: Any) -> str:
        """A number of NumPy as an expression of the same type."""
        return f"{self.dtype(x.dtype)}({_bare(self.number(x))})"

    def dtype(self, dtype: Any) -> str:
        """A dtype as an expression."""
        name = np.dtype(dtype).name
        return self.use(f"np.{name if name != 'bool' else 'bool_'}")

    def _array(self, array: Any) -> str:
        """A call of a function of NumPy."""
        dtype = self.dtype(array.dtype)
        if not array.size:  # however many lists of nothing it would be
            return f"empty({array.shape!r}, {dtype})"
        first = array.reshape(-1)[:1]
        if array.tobytes() == first.tobytes() * array.size:
            return f"full({array.shape!r}, {_bare(self.number(first[0]))}, {dtype})"
        return f"array({self._nest(array.tolist())}, {dtype})"

    def _nest(self, x: Any) -> str:
        return f"[{', '.join(map(self._nest, x))}]" if isinstance(x, list) else _bare(self.number(x))

    def define(self, text: str) -> None:
        """A function of the file, which uses those that were defined before."""
        self._functions.append(text)

    def header(self) -> list[str]:
        """The parts of the file that stand before the function."""
        return [*(["\n".join(sorted(self._imports))] if self._imports else []),
                *(["\n".join(self._constants.values())] if self._constants else []),
                *(f"\n{text}" for text in (*self._helpers.values(), *self._functions))]


def _bare(number: str) -> str:
    """A number without the parentheses that it has in an expression."""
    return number.removeprefix("(").removesuffix(")")


def fill_lines(statement: str) -> list[str]:
    """A statement in lines that a person can read: a long one is broken at spaces in brackets, but in no text."""
    if len(statement) <= WIDTH:
        return [statement]
    parts, depth = [], 0
    for part in _PARTS.findall(statement):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(part, 0)
        is_whole = not depth or part[0] in "'\""
        parts.append(part.replace(" ", "\0") if is_whole else part.replace(": ", ":\0"))
    indent = " " * (len(statement) - len(statement.lstrip(" ")) + 4)
    return [line.replace("\0", " ") for line in fill_text("".join(parts), indent=indent)]


def fill_assignment(statement: str) -> list[str]:
    """An assignment in lines; where that helps, its sides get brackets."""
    lines = fill_lines(statement)
    if max(map(len, lines)) <= WIDTH:
        return lines
    left, right = statement.split(" = ", 1)
    return fill_lines(f"{f'({left})' if ', ' in left else left} = ({right})")


def fill_text(text: str, start: str = "", indent: str = "") -> list[str]:
    """A text in lines, the first of which begins with `start` and the others with `indent`."""
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)


def fill_comment(text: str) -> list[str]:
    """A comment in lines."""
    return fill_text(text, "# ", "# ")
