"""Traces forward rules to lines: each line calls one NumPy function on results of earlier lines.

The rules run on values that record the functions applied to them, by NumPy's own protocols for foreign arrays
(`__array_ufunc__`, NEP 13, and `__array_function__`, NEP 18). A value knows its shape and dtype. A value whose shape is
numbers alone has a sample, an array that was computed in the ordinary way. Named sizes stay names: rules see them in
shapes, and lines have polynomials in them. A result that does not depend on a value is computed at once and becomes a
constant.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from circuitflow.engines.program.functions import (
    PRODUCTS,
    dtype_of,
    is_elementwise,
    is_named,
    is_shaped,
    leaves,
    long_product,
    map_leaves,
    product_kept,
    shape_of,
)
from circuitflow.errors import GateError
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Dimension, Shape, Size, count
from circuitflow.gates.special import Check, Namespace, OwnProducts


class Untraceable(TypeError):  # noqa: N818
    """A rule does something that cannot be written down: it depends on a value, or leaves NumPy."""


class Inseparable(TypeError):  # noqa: N818
    """A rule does something with a named size that is not known to take its positions one by one."""


class Line(NamedTuple):
    """One call of a function of NumPy; a gate comes to none, one or several.

    Attributes:
        function: what is called.
        operands: values, numbers, arrays, and tuples or lists of them.
        keywords: likewise, by name.
        results: the values that it gives.
        several: whether it gives a tuple of values.
        stage: what the line belongs to.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    keywords: Mapping[str, Any]
    results: tuple[Value, ...]
    several: bool
    stage: Any

    @property
    def reads(self) -> list[Value]:
        """The values among operands and keywords, as often as they stand there."""
        operands = (*self.operands, self.keywords) if self.keywords else self.operands
        return [x for x in leaves(operands) if isinstance(x, Value)]


class Trace:
    """Lines under construction.

    Attributes:
        lines: what was recorded.
        stage: what the next lines belong to.
        allows: whether a line may be recorded.
        checks: conditions on values under which rules refuse operands.
        namespace: what rules compute with.
    """

    def __init__(self, allows: Callable[[Line], bool] = lambda line: True, *, checked: bool = False) -> None:
        """An empty trace; if checked it collects conditions, else a rule that has one is a line of its own."""
        self.lines: list[Line] = []
        self.stage: Any = None
        self.allows = allows
        self.checks: list[Check] = []
        self.namespace = _NumPy(self, self.checks if checked else None)
        self._results_of: dict[Any, Any] = {}

    def apply(self, rule: Callable[..., Any], *operands: Any, **attributes: Any) -> Any:
        """The result of a rule; a rule that cannot be traced becomes a single line that calls it."""
        start = len(self.lines)
        try:
            with np.errstate(all="ignore"):
                return rule(self.namespace, *operands, **attributes)
        except (TypeError, AttributeError, GateError) as error:
            first = origin(error)
            if isinstance(first, Inseparable):
                raise first from None
            if not isinstance(first, TypeError | AttributeError):
                raise
            del self.lines[start:]
            self._results_of = {key: entry for key, entry in self._results_of.items() if entry[0] < start}
            self.checks.clear()  # the one line makes its checks itself
        if all(not isinstance(operand, Value) for operand in operands):  # wrong for these sizes, so it says why
            return rule(np, *operands, **attributes)
        return self.write(RuleCall(rule, np, **attributes), operands, {})

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Lines recorded inside may share results of before; lines recorded later do not share theirs."""
        before = dict(self._results_of)
        yield
        self._results_of = before

    def record(self, function: Callable[..., Any], operands: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """The result of a call on values: a value, a tuple of them, or what does not depend on values.

        Raises:
            Untraceable: the function may not be recorded.
        """
        # These keywords decide whose memory a result has. A shape that depends on values is not that of the sample.
        if (keywords and not keywords.keys().isdisjoint(("out", "where", "copy"))) or not is_shaped(function, operands):
            raise Untraceable(getattr(function, "__name__", ""))
        key = _key(function, operands, keywords)
        if key in self._results_of:
            return self._results_of[key][1]
        result = self.write(function, operands, keywords)
        if key is not None:
            self._results_of[key] = (len(self.lines) - 1, result)
        return result

    def write(self, function: Any, operands: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """As `record`; the call is a line of its own, whatever was recorded before."""
        if _is_square(function, operands):
            function, operands = np.multiply, (operands[0], operands[0])
        kinds = () if keywords or self.namespace.checks is None else _kinds(operands)
        if kinds and is_elementwise(function) and (sample := _of_numbers(function, kinds)).dtype.kind in "fb":
            return self._line(function, operands, keywords, [Value.like(self, sample)], several=False)
        if any(isinstance(x, Size) or (isinstance(x, Value) and is_named(x.shape))
               for x in leaves((*operands, keywords) if keywords else operands)):
            return self._record_named(function, operands, keywords)
        if function in PRODUCTS and (shape := shape_of(function, [_type(x) for x in operands], keywords)) is not None:
            return self._typed(function, operands, keywords, shape)
        sample = _sample_result(function, map_leaves(_sample, operands), map_leaves(_sample, keywords))
        several = isinstance(sample, tuple | list)
        samples = sample if several else [sample]
        if function in _SHAPE_ALONE:
            return sample
        if not all(isinstance(x, np.ndarray | np.generic) for x in samples):
            raise Untraceable("gives no array")
        return self._line(function, operands, keywords, [Value.like(self, x) for x in samples], several)

    def _record_named(self, function: Any, operands: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """A line whose result has a shape by rule; nothing is computed. Without a rule it is `Inseparable`.

        Raises:
            Inseparable: there is no rule.
        """
        if function in (np.ones_like, np.zeros_like):
            x = operands[0]
            fill = np.asarray(function is np.ones_like, keywords.get("dtype") or x.dtype)
            return self.record(np.broadcast_to, (fill, x.shape), {})
        if function in _SHAPE_ALONE:
            return function(*(np.empty((0,) * x.ndim, x.dtype) if isinstance(x, Value) else x for x in operands))
        types = [map_leaves(_type, x) for x in operands]
        shape = None if any(values_in(keywords)) else shape_of(function, types, keywords)
        if shape is None:
            raise Inseparable(getattr(function, "__name__", "its rule needs sizes as numbers"))
        return self._typed(function, operands, keywords, shape)

    def _typed(self, function: Any, operands: Sequence[Any], keywords: Mapping[str, Any], shape: Shape) -> Any:
        """A line whose result has a shape that is known; nothing is computed."""
        dtype = dtype_of(function, [map_leaves(_type, x) for x in operands], keywords)
        sample = None if is_named(shape) else np.broadcast_to(np.zeros((), dtype), shape)  # type: ignore[arg-type]
        return self._line(function, operands, keywords, [Value(self, shape, dtype, sample)], several=False)

    def _line(self, function: Any, operands: Sequence[Any], keywords: Mapping[str, Any], results: Sequence[Value],
              several: bool) -> Any:
        line = Line(function, tuple(operands), keywords, tuple(results), several, self.stage)
        if not (isinstance(function, RuleCall) or self.allows(line)):
            raise Untraceable(getattr(function, "__name__", ""))
        self.lines.append(line)
        return tuple(results) if several else results[0]


def origin(error: BaseException) -> BaseException:
    """The error of a gate inside of a unit, which the unit's error is raised from."""
    while isinstance(error, GateError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_square(function: Any, operands: Sequence[Any]) -> bool:
    """Whether a power is the number 2, so that the product is the same and a tenth of the time."""
    if function is not np.power:
        return False
    x, y = operands
    return (isinstance(x, Value) and not isinstance(y, Value) and np.ndim(y) == 0 and bool(y == 2)
            and np.result_type(x.dtype, y) == x.dtype)


_SHAPE_ALONE = {np.ones_like, np.zeros_like, np.shape, np.ndim, np.size, np.result_type, np.can_cast}
"""Functions that look at the shape and dtype of a value only."""


class RuleCall(partial[Any]):
    """A forward rule as a function of its operands."""


class Value(NDArrayOperatorsMixin):
    """The result of a line, or an input.

    Attributes:
        shape, dtype: of the array that it stands for.
        sample: an array like it; None where its shape has a named size.
    """

    __slots__ = ("dtype", "sample", "shape", "trace")

    def __init__(self, trace: Trace, shape: Shape, dtype: np.dtype[Any], sample: Any = None) -> None:
        self.trace, self.shape, self.dtype, self.sample = trace, shape, dtype, sample

    @classmethod
    def like(cls, trace: Trace, sample: Any) -> Value:
        """A value with a sample."""
        return cls(trace, sample.shape, sample.dtype, sample)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> Dimension:
        """How many elements it has."""
        return count(self.shape)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        if method != "__call__":
            raise Untraceable(f"{ufunc.__name__}.{method}")
        return self.trace.record(ufunc, operands, keywords)

    def __array_function__(self, function: Any, types: Any, operands: Any, keywords: Any) -> Any:
        return self.trace.record(function, operands, keywords)

    def __getitem__(self, key: Any) -> Any:
        return self.trace.record(operator.getitem, (self, key), {})

    __hash__ = object.__hash__

    def _depends(self, *_: Any) -> Any:
        raise Untraceable("depends on a value")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = __len__ = __array__ = _depends


class _NumPy(Namespace, OwnProducts):
    """NumPy, with functions that NumPy's protocols leave out. The value of a named size is a line too."""

    def __init__(self, trace: Trace, checks: list[Check] | None) -> None:
        super().__init__(np, checks)
        self._trace = trace

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """`numpy.asarray`, also of a value or a size."""
        if isinstance(x, Size):
            return self._trace.record(np.full, ((), x, np.dtype(dtype)), {})
        if not isinstance(x, Value):
            return np.asarray(x, dtype=dtype)
        return x if dtype is None or x.dtype == dtype else self._trace.record(np.astype, (x, np.dtype(dtype)), {})

    def broadcast_to(self, x: Any, shape: Shape) -> Any:
        """`numpy.broadcast_to`, also to a named size."""
        here: Any = np.broadcast_to
        return self._trace.record(here, (x, shape), {}) if is_named(shape) else here(x, shape)

    def call(self, function: RuleCall, operands: Sequence[Any]) -> Any:
        """The results of a function of arrays, as one line."""
        return self._trace.write(function, operands, {})

    def take(self, x: Any, indices: Any, axis: int) -> Any:
        """`numpy.take`, also of an array at indices that are a value: NumPy's protocol does not look at these."""
        here: Any = np.take
        if isinstance(indices, Value):
            return self._trace.record(here, (x, indices), {"axis": axis})
        return here(x, indices, axis=axis)

    def long_product(self, x: Any, y: Any) -> Any:
        """`circuitflow.gates.sums.in_parts` of values, as one line."""
        return self._trace.record(long_product, (x, y), {})

    def product_kept(self, x: Any, y: Any) -> Any:
        """`circuitflow.gates.sums.product_kept` of values, as one line."""
        return self._trace.record(product_kept, (x, y), {})


def values_in(operands: Any) -> Iterator[Value]:
    """The values among operands, tuples, lists and mappings taken apart."""
    return (x for x in leaves(operands) if isinstance(x, Value))


def _sample_result(function: Any, operands: Any, keywords: Any) -> Any:
    """A sample of a result. Operands may be zeros, which have no inverse; the identity has one."""
    with np.errstate(all="ignore"):
        try:
            return function(*operands, **keywords)
        except np.linalg.LinAlgError:
            ones = [np.broadcast_to(np.eye(*x.shape[-2:], dtype=x.dtype), x.shape) for x in operands]
            return function(*ones, **keywords)


def _kinds(operands: Sequence[Any]) -> tuple[Any, ...]:
    """The dtypes of floats, and the types of plain numbers; nothing where an operand is anything else."""
    kinds = list[Any]()
    for x in operands:
        kind = type(x)
        if kind is Value and not x.shape and x.dtype.kind == "f":
            kinds.append(x.dtype)
        elif kind is float or kind is int:
            kinds.append(kind)
        elif isinstance(x, np.floating):
            kinds.append(x.dtype)
        else:
            return ()
    return tuple(kinds)


@lru_cache(maxsize=1024)
def _of_numbers(function: np.ufunc, kinds: tuple[Any, ...]) -> Any:
    """A result of a function of numbers of some dtypes and types; each is 1."""
    with np.errstate(all="ignore"):
        return function(*(kind(1) if isinstance(kind, type) else np.ones((), kind)[()] for kind in kinds))


def _type(x: Any) -> Any:
    """An operand by its shape and dtype."""
    return ArrayType(x.shape, x.dtype.name) if isinstance(x, Value) else x


def _sample(x: Any) -> Any:
    return x.sample if isinstance(x, Value) else x


def _key(function: Any, operands: Any, keywords: Mapping[str, Any]) -> Any:
    """A key that equal calls share; None where an operand has none."""
    parts: list[Any] = []
    for x in (*operands, *keywords.items()):
        if isinstance(x, Value):
            parts.append(id(x))
        elif isinstance(x, bool | int | float | np.generic | Size):
            parts.append((type(x), repr(x)))
        else:
            return None
    return function, tuple(parts)
