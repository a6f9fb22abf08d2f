"""Wires for NumPy: operators, indices, methods and NumPy's functions on them become gates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from circuitflow.authoring.functions import FUNCTIONS, apply_function
from circuitflow.authoring.indices import part_of
from circuitflow.authoring.operands import promotion_type
from circuitflow.authoring.ufuncs import UFUNCS, apply_ufunc
from circuitflow.errors import InputError, UnknownNameError
from circuitflow.gates import ArrayType, suggestion
from circuitflow.gates.shapes import show
from circuitflow.text import printable, short
from circuitflow.transforms.writer import Wire

_METHODS = {"sum", "mean", "prod", "max", "min", "var", "std", "argmax", "argmin", "argsort", "cumsum", "cumprod",
            "squeeze", "ravel", "clip", "round", "dot", "swapaxes", "diagonal", "trace", "take"}
"""Methods of arrays that are functions of the same name."""

_VARIADIC = {"reshape", "transpose"}
"""Methods of arrays that take their axes or sizes one by one too."""

_OF_METHODS = {
    (np.add, "reduce"): "; write np.sum", (np.multiply, "reduce"): "; write np.prod",
    (np.maximum, "reduce"): "; write np.max", (np.minimum, "reduce"): "; write np.min",
    (np.add, "accumulate"): "; write np.cumsum", (np.multiply, "accumulate"): "; write np.cumprod",
    (np.multiply, "outer"): "; write np.outer",
}
"""What to write for methods of ufuncs."""


@dataclass(slots=True)
class Buffer:
    """The memory that an array and its views would share in NumPy.

    A circuit never changes a value: `y += 1` makes another wire. NumPy would change every array with this memory, so
    those wires are refused from then on.
    """

    is_changed: bool = False


_DTYPE: Any = vars(Wire)["dtype"]
"""The slot with the name of a wire's dtype."""


class AuthoredWire(NDArrayOperatorsMixin, Wire):
    """One output of a node of a circuit under construction: a shape and a dtype, but no value.

    Operators, indices, the methods of NumPy arrays, NumPy's functions and SciPy's special functions become gates. Every
    gate of the table is a method: `x.sigmoid()`, `x.leaky_relu(alpha=0.1)`. A method of NumPy arrays has precedence:
    `x.max()` is the largest element.

    Attributes:
        shape: its sizes, or names of dimensions.
        dtype: its dtype, a NumPy dtype.
        buffer: the memory that it shares with its views.
    """

    __slots__ = ("buffer",)

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self.buffer = Buffer()

    if TYPE_CHECKING:  # NumPy's mixin says Any
        def __add__(self, other: Any) -> AuthoredWire: ...
        def __neg__(self) -> AuthoredWire: ...

        __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __add__  # type: ignore[assignment]
        __or__ = __ror__ = __xor__ = __rxor__ = __and__ = __rand__ = __radd__ = __sub__ = __rsub__ = __add__
        __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __matmul__ = __rmatmul__ = __add__
        __rpow__ = __add__
        __pos__ = __invert__ = __abs__ = __neg__

    # NumPy's protocols for foreign arrays, NEP 13 and NEP 18

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        name = f"np.{ufunc.__name__}"
        if method != "__call__":
            raise InputError(f"{name}.{method} cannot be written as a gate" + _OF_METHODS.get((ufunc, method), ""))
        if ufunc not in UFUNCS:
            raise InputError(f"{name} cannot be written as a gate{_instead(ufunc, self)}")
        if keywords:
            raise InputError(f"{name} with {', '.join(keywords)} cannot be written as a gate: leave out all but the "
                             "operands, choose with np.where and cast with astype")
        return apply_ufunc(self._writer, ufunc, operands)

    def __array_function__(self, function: Any, types: Any, operands: Any, keywords: Any) -> Any:
        if function not in FUNCTIONS:
            raise InputError(f"np.{function.__name__} cannot be written as a gate{_instead(function, self)}")
        return apply_function(function, self._writer, operands, keywords)

    # What arrays have

    @property
    def dtype(self) -> Any:
        name = _DTYPE.__get__(self)
        return name if name == "bfloat16" else np.dtype(name)  # NumPy has none

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        _DTYPE.__set__(self, str(dtype))

    @property
    def type(self) -> ArrayType:
        """Shape and dtype, by name."""
        return ArrayType(self.shape, _DTYPE.__get__(self))

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *operands, **keywords: getattr(np, name)(self, *operands, **keywords)
        if name in _VARIADIC:
            return lambda *sizes, **keywords: getattr(np, name)(
                self, *([sizes] if len(sizes) > 1 or (sizes and isinstance(sizes[0], int)) else sizes), **keywords)
        if name.startswith("_"):  # copies and pickles ask for names before there is a writer
            raise AttributeError(f"a wire has no '{name}'")
        if name not in self._writer.gates:
            methods = [*_METHODS, *_VARIADIC, *self._writer.gates]
            raise UnknownNameError(f"a wire has no '{printable(name, 40)}'{suggestion(name, methods)}")
        return lambda *operands, **attributes: self._writer.emit(name, self, *operands, **attributes)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *_METHODS, *_VARIADIC, *self._writer.gates})

    @property
    def T(self) -> Any:  # noqa: N802
        """The axes in the opposite order."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802
        """The last two axes exchanged."""
        return self._writer.emit("matrix_transpose", self)

    @property
    def size(self) -> int:
        """The number of elements, if every dimension has a size."""
        sizes = [size for size in self.shape if isinstance(size, int)]
        if len(sizes) < self.ndim:
            self._depends("the number of its elements")
        return math.prod(sizes)

    def astype(self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True) -> Any:
        """As another dtype."""
        try:
            name = np.dtype(dtype).name if isinstance(dtype, str | type | np.dtype) else ""
        except (TypeError, ValueError):
            name = ""
        if not name:
            raise InputError(f"there is no dtype {short(dtype)}; expected one such as 'float32'")
        if name == self.type.dtype:
            return self.copy() if copy else self
        if not np.can_cast(promotion_type(self), name, casting):
            raise InputError(f"{self.type.dtype} is not cast to {name} by the rule {short(casting)}")
        return self._writer.emit("cast", self, dtype=name)

    def copy(self, order: Any = "C") -> AuthoredWire:
        """A copy with memory of its own."""
        twin = copy(self)
        twin.buffer = Buffer()
        return twin

    def flatten(self, order: Any = "C") -> Any:
        """In one row."""
        return self.reshape(-1, order=order).copy()

    def sort(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: it would change the wire."""
        raise InputError("a wire is not sorted in place; write np.sort(x)")

    def __pow__(self, other: Any, *modulus: Any) -> AuthoredWire:
        power: AuthoredWire = self.__array_ufunc__(np.power, "__call__", self, other, *modulus)
        return power

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, digits: Any = None) -> Any:
        if digits is None:
            self._depends("a whole number of Python")
        return np.round(self, digits)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar wire has no length")
        if not isinstance(self.shape[0], int):
            self._depends("its length")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return part_of(self, key if isinstance(key, tuple) else (key,))

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise InputError("the elements of a wire cannot be assigned to: choose with np.where, join parts with "
                         "np.concatenate, or replace one with the gate slice_scatter")

    # What needs a value

    def _depends(self, what: str = "a value", remedy: str = "") -> NoReturn:
        raise InputError(f"this asks for {what} of a wire ({self.type.dtype} {show(self.shape)}), which is known only "
                         f"when the circuit runs: {remedy}choose between values with np.where, and decide outside of "
                         "the circuit which gates there are")

    def __bool__(self) -> bool:
        self._depends("the truth")

    __float__ = __int__ = __index__ = _depends

    def __trunc__(self) -> int:
        self._depends("a whole number of Python")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self._depends(remedy="np.stack and np.concatenate make one array of wires, and ")

    def __format__(self, spec: str) -> str:
        return self._depends() if spec else repr(self)

    def item(self, *_: Any) -> float:
        """Refused: there is no value yet."""
        self._depends()

    tolist = item

    def __repr__(self) -> str:
        return f"<wire {self.record.name or self.record.gate}: {self.type.dtype} {show(self.shape)}>"


def need_unchanged(wire: Any) -> None:
    """Refuse a wire that was changed in place.

    Raises:
        InputError: it was, or a wire that shares its memory was.
    """
    if wire.buffer.is_changed:
        raise InputError("this array shares its memory with one that was changed in place, as by y += 1; a circuit "
                         "keeps no memory: write y = y + 1, or begin with y = x.copy()")


def _instead(function: Any, wire: AuthoredWire) -> str:
    """A clause with the gate to write in place of a NumPy function; its name is not taken for a misspelling."""
    return suggestion(function.__name__, wire._writer.gates, lambda *_: "")


def _in_place(operator: str) -> Callable[..., Any]:
    """An operator that returns a new wire in the shape and dtype of the old one, and ends the use of its memory."""
    def apply(self: AuthoredWire, other: Any) -> Any:
        result = getattr(self, operator)(other)
        if not self.ndim:  # numbers do not change: the name stands for another one
            return result
        if result.shape != self.shape or not np.can_cast(promotion_type(result), promotion_type(self), "same_kind"):
            raise InputError(f"{result.type.dtype} {show(result.shape)} does not go in place of {self.type.dtype} "
                             f"{show(self.shape)}; give the result a name of its own")
        self.buffer.is_changed = True
        return result.astype(self.dtype, copy=False)

    return apply


for _name in ("or", "xor", "and", "lshift", "rshift", "add", "sub", "mul", "truediv", "floordiv", "mod", "matmul",
              "pow"):
    setattr(AuthoredWire, f"__i{_name}__", _in_place(f"__{_name}__"))
