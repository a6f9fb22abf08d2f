"""Circuits compiled as C by the compiler of the system.

The C has numbers and names such as `v12`, and no word of the document: a file from a stranger comes to nothing but
arithmetic on arrays of known sizes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from itertools import count
from threading import Lock
from typing import Any

import numpy as np

from circuitflow.engines import compiler
from circuitflow.engines.c.file import CFile
from circuitflow.engines.contract import Backed
from circuitflow.engines.flat.functions import Struct
from circuitflow.engines.flat.lowered import Asked, Lowered, lower
from circuitflow.engines.program.functions import is_named
from circuitflow.engines.staged.derived import Derived, OfDerived
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question

_TYPES = {"float64": ctypes.c_double, "float32": ctypes.c_float, "bool": ctypes.c_bool, **{
    f"{name}{bits}": getattr(ctypes, f"c_{name}{bits}") for name in ("int", "uint") for bits in (8, 16, 32, 64)}}


class Native(OfDerived, Backed):
    """Answers a question with C that is compiled once for each combination of shapes.

    Where all sizes are known it is compiled at once, otherwise at the first call with arrays of some shapes. Where a
    gate refuses its operands, the interpreter says why. No lock is held while the code runs.
    """

    way = "native: C, by the compiler of the system"
    raises = (GateError, InputError)

    KEPT = 32
    """Number of combinations of shapes that are kept."""

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None) -> None:
        """Write the gradient circuit, and compile it.

        Raises:
            GateError, InputError: those of `Derived`; there is no compiler, or C has no form for a gate.
        """
        compiler.command()
        super().__init__(question, thresholds, derived)
        self._codes: dict[Any, _Code | str] = {}  # or why there is none, whatever the compiler does
        self._lock = Lock()
        types = [self.derived.type_of(id_) for id_ in (*self.derived.inputs.values(), *self.derived.upstream.values())]
        if not any(is_named(type_.shape) for type_ in types):
            self._codes[self._key({})] = _Code(*_written(self.derived, {}))

    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        key = self._key(bound.sizes)
        code = self._codes.get(key) or self._compiled(key, bound)
        if isinstance(code, str):
            raise InputError(code)
        results, values = code(self.derived.arrays(bound, seeds)), len(self.question.plan.of)
        if self.question.scalar:
            results = [x.item() for x in results]
        return results[:values], results[values:]

    def _key(self, sizes: Mapping[str, int]) -> Any:
        return tuple(sorted(sizes.items()))

    def _compiled(self, key: Any, bound: Bound) -> _Code | str:
        """Code for these sizes, or why C has no form for it.

        Raises:
            InputError: the library cannot be had, this time.
        """
        try:
            written = _written(self.derived, bound.arrays)
        except InputError as error:
            code: _Code | str = str(error)
        else:
            code = _Code(*written)
        with self._lock:
            if len(self._codes) >= self.KEPT:
                del self._codes[next(iter(self._codes))]
            self._codes[key] = code
        return code


class _Numbered:
    """Gives out names that say nothing."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def new(self, reference: str) -> str:
        return f"v{next(self._numbers)}"


def _written(derived: Derived, inputs: Mapping[str, Any]) -> tuple[CFile, Lowered]:
    """A function in C; the sizes of named dimensions are those of inputs.

    Raises:
        InputError: C has no form for a gate.
    """
    file = CFile("m", by_pointer=True)
    inputs = {name: x for name, x in inputs.items() if name in derived.inputs}
    try:
        return file, lower(file.language, _Numbered, Asked(derived, inputs, {}), None, last=True)
    except InputError as error:
        raise InputError(f"{str(error).rpartition(';')[0]}; choose another engine") from None


class _Code:
    """A compiled function of arrays of some shapes."""

    def __init__(self, file: CFile, low: Lowered) -> None:
        """Compile it.

        Raises:
            InputError: the library cannot be had.
        """
        function = low.functions[-1]
        self._function = compiler.load(file.library(low))[f"m_{function.name}"]
        self._taken = [_Record(struct) for struct in function.takes if struct.members]
        self._given = [_Record(struct) for struct in function.gives]
        self._work = ctypes.sizeof(_structure([(f"{dtype.name}s", _TYPES[dtype.name] * size)
                                               for dtype, size in file.pools.sizes.items()]))

    def __call__(self, arrays: Mapping[str, Any]) -> list[Any]:
        """The outputs, then the gradients; numbers are those of NumPy.

        Raises:
            GateError: a gate refuses its operands.
        """
        held = [record.arrays_like(arrays) for record in self._taken]  # what pointers point to
        rooms = [record.rooms() for record in self._given]
        structs = [record.of(xs) for record, xs in zip((*self._taken, *self._given), (*held, *rooms), strict=True)]
        work = [np.empty(self._work, np.uint8)] if self._work else []
        if self._function(*map(ctypes.byref, structs), *(ctypes.c_void_p(x.ctypes.data) for x in work)):
            raise GateError("a gate refuses its operands")
        return [x for record, xs, struct in zip(self._given, rooms, structs[len(self._taken) :], strict=True)
                for x in record.results(xs, struct)]


class _Record:
    """A struct as C has it, with pointers to arrays."""

    def __init__(self, struct: Struct) -> None:
        self._members = struct.members
        self._type = _structure([(member.name, ctypes.c_void_p if member.shape else _TYPES[member.dtype.name])
                                 for member in self._members.values()])

    def arrays_like(self, arrays: Mapping[str, Any]) -> list[Any]:
        """The arrays of members, dense; zeros for those that nothing reads."""
        return [np.require(arrays[key] if key in arrays else np.zeros(member.shape), member.dtype, ("C", "A"))
                for key, member in self._members.items()]

    def rooms(self) -> list[Any]:
        """Memory for members that are arrays, and zeros for numbers."""
        return [np.empty(member.shape, member.dtype) if member.shape else np.zeros((), member.dtype)
                for member in self._members.values()]

    def of(self, arrays: Sequence[Any]) -> Any:
        """The struct of arrays, which must outlive it."""
        return self._type(*(x.ctypes.data if x.ndim else x.item() for x in arrays))

    def results(self, rooms: Sequence[Any], struct: Any) -> list[Any]:
        """The arrays and numbers that a function has put into a struct."""
        return [x if x.ndim else x.dtype.type(getattr(struct, member.name))
                for x, member in zip(rooms, self._members.values(), strict=True)]


def _structure(fields: list[tuple[str, Any]]) -> Any:
    return type("Structure", (ctypes.Structure,), {"_fields_": fields})
