"""Wires that NumPy knows: operators, indices, methods and NumPy's own functions are written down as gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from circuitflow.authoring.functions import FUNCTIONS, UFUNCS
from circuitflow.document.numbers import as_array
from circuitflow.errors import CircuitflowError, InputError, UnknownNameError, printable, short
from circuitflow.gates import suggestion
from circuitflow.gates.shapes import show
from circuitflow.transforms.wires import Wire

_METHODS = {"sum", "mean", "prod", "max", "min", "var", "std", "argmax", "argmin", "cumsum", "cumprod", "squeeze",
            "ravel", "clip", "round", "dot", "swapaxes", "diagonal", "trace", "take"}
"""Methods of arrays that are functions of the same name."""

_VARIADIC = {"reshape", "transpose"}
"""Methods of arrays that take their axes or sizes one by one too."""


class AuthoredWire(Wire):
    """One output of a node of a circuit under construction: a shape and a dtype, but no value.

    Operators, indices, the methods of NumPy arrays, NumPy's functions and SciPy's special functions write gates down,
    and so does every gate of the table as a method: `x.sigmoid()`, `x.leaky_relu(alpha=0.1)`. Where arrays have a
    method of that name, it is theirs: `x.max()` is the largest element.

    Attributes:
        shape: its sizes, or names of dimensions.
        dtype: its dtype, by name.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what `Wire` has of the table of operators
        def __eq__(self, other: object) -> AuthoredWire: ...  # type: ignore[override]
        def __ne__(self, other: object) -> AuthoredWire: ...  # type: ignore[override]
        def __lt__(self, other: Any) -> AuthoredWire: ...
        def __le__(self, other: Any) -> AuthoredWire: ...
        def __gt__(self, other: Any) -> AuthoredWire: ...
        def __ge__(self, other: Any) -> AuthoredWire: ...
        def __or__(self, other: Any) -> AuthoredWire: ...
        def __ror__(self, other: Any) -> AuthoredWire: ...
        def __xor__(self, other: Any) -> AuthoredWire: ...
        def __rxor__(self, other: Any) -> AuthoredWire: ...
        def __and__(self, other: Any) -> AuthoredWire: ...
        def __rand__(self, other: Any) -> AuthoredWire: ...
        def __add__(self, other: Any) -> AuthoredWire: ...
        def __radd__(self, other: Any) -> AuthoredWire: ...
        def __sub__(self, other: Any) -> AuthoredWire: ...
        def __rsub__(self, other: Any) -> AuthoredWire: ...
        def __mul__(self, other: Any) -> AuthoredWire: ...
        def __rmul__(self, other: Any) -> AuthoredWire: ...
        def __truediv__(self, other: Any) -> AuthoredWire: ...
        def __rtruediv__(self, other: Any) -> AuthoredWire: ...
        def __mod__(self, other: Any) -> AuthoredWire: ...
        def __rmod__(self, other: Any) -> AuthoredWire: ...
        def __matmul__(self, other: Any) -> AuthoredWire: ...
        def __rmatmul__(self, other: Any) -> AuthoredWire: ...
        def __pow__(self, other: Any) -> AuthoredWire: ...
        def __rpow__(self, other: Any) -> AuthoredWire: ...
        def __neg__(self) -> AuthoredWire: ...
        def __invert__(self) -> AuthoredWire: ...
        def __abs__(self) -> AuthoredWire: ...

    # NumPy's protocols for foreign arrays, NEP 13 and NEP 18

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__" or keywords or name not in UFUNCS:
            how = f"np.{name}" + (f".{method}" if method != "__call__" else "") + (
                f" with {', '.join(keywords)}" if keywords else "")
            hint = _instead(ufunc, self) if method == "__call__" and name not in UFUNCS else ""
            raise InputError(f"{how} cannot be written as a gate{hint}")
        return _written(f"np.{name}", UFUNCS[name], self._writer, operands, {})

    def __array_function__(self, function: Any, types: Any, operands: Any, keywords: Any) -> Any:
        name = f"np.{function.__name__}"
        if function not in FUNCTIONS:
            raise InputError(f"{name} cannot be written as a gate{_instead(function, self)}")
        return _written(name, FUNCTIONS[function], self._writer, operands, keywords)

    # What arrays have

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *operands, **keywords: getattr(np, name)(self, *operands, **keywords)
        if name in _VARIADIC:
            return lambda *sizes, **keywords: getattr(np, name)(
                self, *([sizes] if len(sizes) > 1 or (sizes and isinstance(sizes[0], int)) else sizes), **keywords)
        if name.startswith("_"):  # not before there is a writer: copies and pickles ask for names first
            raise AttributeError(f"a wire has no '{name}'")
        if name not in self._writer.gates:
            known = [*_METHODS, *_VARIADIC, *self._writer.gates]
            raise UnknownNameError(f"a wire has no '{printable(name, 40)}'{suggestion(name, known)}")
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
        """How many elements it has, where every dimension has a size."""
        size = 1
        for dimension in self.shape:
            if not isinstance(dimension, int):
                self._depends("the number of its elements")
            size *= dimension
        return size

    def astype(self, dtype: Any) -> Any:
        """As another dtype."""
        try:
            name = np.dtype(dtype).name if isinstance(dtype, str | type | np.dtype) else ""
        except (TypeError, ValueError):
            name = ""
        if not name:
            raise InputError(f"there is no dtype {short(dtype)}; expected one such as 'float32'")
        return self if name == self.dtype else self._writer.emit("cast", self, dtype=name)

    def copy(self) -> AuthoredWire:
        """Itself: wires never change."""
        return self

    def flatten(self) -> Any:
        """In one row."""
        return self.reshape(-1)

    def __pos__(self) -> AuthoredWire:
        return self

    def __floordiv__(self, other: Any) -> Any:
        return self._writer.emit("floor", self / other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._writer.emit("floor", other / self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar wire has no length")
        if not isinstance(self.shape[0], int):
            self._depends("its length")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return _indexed(self, key if isinstance(key, tuple) else (key,))

    # What needs a value

    def _depends(self, what: str = "a value") -> NoReturn:
        raise InputError(f"this asks for {what} of a wire ({self.dtype} {show(self.shape)}), which is known only when "
                         "the circuit runs: choose between values with np.where, and keep out of the circuit what "
                         "decides which gates there are")

    def __bool__(self) -> bool:
        self._depends("the truth")

    def __float__(self) -> float:
        self._depends()

    def __int__(self) -> int:
        self._depends()

    def __index__(self) -> int:
        self._depends()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self._depends()

    def item(self) -> float:
        """Refused: there is no value yet."""
        self._depends()

    tolist = item

    def __repr__(self) -> str:
        return f"<wire {self.record.name or self.record.gate}: {self.dtype} {show(self.shape)}>"


def _instead(function: Any, wire: AuthoredWire) -> str:
    """A clause that says what to write in place of a function of NumPy, whose name is no misspelling."""
    return suggestion(function.__name__, wire._writer.gates, lambda *_: "")


def _written(name: str, entry: Any, writer: Any, operands: Any, keywords: Any) -> Any:
    """What a function of NumPy writes down.

    Raises:
        InputError: the function does not take such arguments, or none that are wires.
    """
    try:
        return entry(writer, *operands, **keywords)
    except CircuitflowError:
        raise
    except Exception as error:  # whatever Python says of arguments that make no sense
        raise InputError(f"{name} of wires does not take that: {printable(str(error))}") from None


def _indexed(x: Any, key: tuple[Any, ...]) -> Any:
    """NumPy's basic indices, and one array of whole numbers."""
    if sum(part is Ellipsis for part in key) > 1:
        raise InputError("an index has one ellipsis at most")
    taken = sum(part is not None and part is not Ellipsis for part in key)
    if taken > x.ndim:
        raise InputError(f"{taken} indices for a wire of {x.ndim} dimensions")
    if Ellipsis in [part for part in key if part is Ellipsis]:
        at = next(i for i, part in enumerate(key) if part is Ellipsis)
        key = (*key[:at], *[slice(None)] * (x.ndim - taken), *key[at + 1 :])
    axis = 0
    for part in key:
        if part is None:
            x = x._writer.emit("unsqueeze", x, axis=axis)
            axis += 1
        elif isinstance(part, slice):
            x = _cut(x, part, axis)
            axis += 1
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            x = _position(x, int(part), axis)
        else:
            x, axis = _gathered(x, part, axis)
    return x


def _cut(x: Any, part: slice, axis: int) -> Any:
    ends = (part.start, part.stop, part.step)
    if not all(end is None or isinstance(end, int | np.integer) for end in ends):
        raise InputError(f"an index has {short(str(part))}; expected whole numbers that are known before the circuit "
                         "runs")
    start, stop, step = (None if end is None else int(end) for end in ends)
    if step is not None and step < 1:
        if (start, stop, step) == (None, None, -1):
            return x._writer.emit("flip", x, axis=axis)
        raise InputError("an index goes backward; flip first (np.flip), then take a part")
    size = x.shape[axis]
    if isinstance(size, int):  # beyond the ends there is nothing, as in every Python sequence
        start, stop, step = slice(start, stop, step).indices(size)
        stop = None if stop >= size else max(start, stop)
    if (start or 0, stop, step or 1) == (0, None, 1):
        return x
    return x._writer.emit("slice", x, axis=axis, start=start or 0, stop=stop, step=step or 1)


def _position(x: Any, position: int, axis: int) -> Any:
    size = x.shape[axis]
    if isinstance(size, int) and not -size <= position < size:
        raise InputError(f"index {position} is outside of dimension {axis}, which has size {size}")
    stop = position + 1 if position != -1 else None
    return x._writer.emit("squeeze", x._writer.emit("slice", x, axis=axis, start=position, stop=stop), axis=axis)


def _gathered(x: Any, part: Any, axis: int) -> tuple[Any, int]:
    indices = part if isinstance(part, Wire) else as_array(part, "an index")
    if str(indices.dtype) == "bool":
        raise InputError("an index is a mask, so the shape would depend on a value: choose with np.where")
    gathered: Any = x._writer.emit("gather", x, indices, axis=axis)
    return gathered, axis + indices.ndim
