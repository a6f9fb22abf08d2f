"""Forward rules written down as lines: each calls one NumPy function on what earlier lines gave.

The rules are run with values that record what is done to them, by NumPy's own protocols for foreign arrays
(`__array_ufunc__`, NEP 13, and `__array_function__`, NEP 18). Beside every value goes a sample, an array that was
computed in the ordinary way, so that a rule may look at shapes and dtypes. What does not depend on a recorded value is
computed at once and becomes a constant.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Untraceable(TypeError):  # noqa: N818
    """A rule does something that cannot be written down: it depends on a value, or leaves NumPy."""


class Line(NamedTuple):
    """One call.

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


class Trace:
    """Lines under construction.

    Attributes:
        lines: what was recorded.
        stage: what the next lines belong to.
        allowed: whether a function may be recorded.
        namespace: what rules compute with.
    """

    def __init__(self, allowed: Callable[[Callable[..., Any]], bool] = lambda function: True,
                 namespace: Any = None) -> None:
        self.lines: list[Line] = []
        self.namespace = NUMPY if namespace is None else namespace
        self.stage: Any = None
        self.allowed = allowed
        self._made: dict[Any, Any] = {}

    def apply(self, rule: Callable[..., Any], *operands: Any, **attributes: Any) -> Any:
        """What a rule gives; one that cannot be written down is a single line that calls it."""
        start = len(self.lines)
        try:
            with np.errstate(all="ignore"):
                return rule(self.namespace, *operands, **attributes)
        except (TypeError, AttributeError):
            del self.lines[start:]
            self._made = {key: found for key, found in self._made.items() if found[0] < start}
        if all(not isinstance(operand, Value) for operand in operands):  # wrong for these sizes, so it says why
            return rule(np, *operands, **attributes)
        return self._record(Called(rule, attributes), operands, {})

    def record(self, function: Callable[..., Any], operands: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """The result of a call on values: a value, a tuple of them, or what does not depend on values.

        Raises:
            Untraceable: the function may not be recorded.
        """
        if function is np.power and not isinstance(operands[1], Value) and np.all(operands[1] == 2):
            function, operands = np.multiply, (operands[0], operands[0])
        key = _key(function, operands, keywords)
        if key in self._made:
            return self._made[key][1]
        found = self._record(function, operands, keywords)
        if key is not None:
            self._made[key] = (len(self.lines) - 1, found)
        return found

    def _record(self, function: Any, operands: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        with np.errstate(all="ignore"):
            sample = function(*_samples(operands), **_samples(keywords))
        several = isinstance(sample, tuple | list)
        samples = sample if several else [sample]
        if function in _SHAPE_ALONE or not all(isinstance(x, np.ndarray | np.generic) for x in samples):
            return sample
        if not (isinstance(function, Called) or self.allowed(function)):
            raise Untraceable(getattr(function, "__name__", ""))
        results = tuple(Value(self, x) for x in samples)
        self.lines.append(Line(function, tuple(operands), keywords, results, several, self.stage))
        return results if several else results[0]


_SHAPE_ALONE = {np.ones_like, np.zeros_like, np.shape, np.ndim, np.size, np.result_type, np.can_cast}
"""Functions that look at the shape and dtype of a value only."""


class Called:
    """A forward rule as a function of its operands."""

    def __init__(self, rule: Callable[..., Any], attributes: Mapping[str, Any]) -> None:
        self.rule, self.attributes = rule, attributes

    def __call__(self, *operands: Any) -> Any:
        return self.rule(np, *operands, **self.attributes)


class Value(NDArrayOperatorsMixin):
    """What a line gives, or an input.

    Attributes:
        sample: an array of its shape and dtype.
    """

    __slots__ = ("sample", "trace")

    def __init__(self, trace: Trace, sample: Any) -> None:
        self.trace, self.sample = trace, sample

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        shape: tuple[int, ...] = self.sample.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""
        dtype: np.dtype[Any] = self.sample.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.sample.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(self.sample.size)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **keywords: Any) -> Any:
        if method != "__call__" or "out" in keywords:
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


class _Namespace:
    """NumPy, with functions that NumPy's protocols leave out."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def asarray(x: Any, dtype: Any = None) -> Any:
        """`numpy.asarray`, also of a value."""
        if not isinstance(x, Value):
            return np.asarray(x, dtype=dtype)
        return x if dtype is None or x.dtype == dtype else x.trace.record(np.astype, (x, np.dtype(dtype)), {})


class Checked(_Namespace):
    """NumPy, with the conditions under which a rule refuses its operands put aside: they depend on values."""

    def __init__(self) -> None:
        self.checks: list[Any] = []


NUMPY = _Namespace()


def values_in(operands: Any) -> Iterable[Value]:
    """The values among operands, tuples and lists taken apart."""
    if isinstance(operands, Value):
        yield operands
    elif isinstance(operands, tuple | list):
        for operand in operands:
            yield from values_in(operand)
    elif isinstance(operands, Mapping):
        yield from values_in(list(operands.values()))


def _samples(operands: Any) -> Any:
    if isinstance(operands, Value):
        return operands.sample
    if isinstance(operands, tuple | list):
        return type(operands)(map(_samples, operands))
    return {name: _samples(x) for name, x in operands.items()} if isinstance(operands, Mapping) else operands


def _key(function: Any, operands: Any, keywords: Mapping[str, Any]) -> Any:
    """What equal calls have in common; None where that is not told in a word."""
    parts: list[Any] = []
    for x in (*operands, *keywords.items()):
        if isinstance(x, Value):
            parts.append(id(x))
        elif isinstance(x, bool | int | float | np.generic):
            parts.append((type(x), repr(x)))
        else:
            return None
    return function, tuple(parts)
