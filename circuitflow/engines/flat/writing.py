"""What rules do in one step each, as lines: slices added at positions, windows added up, integers hashed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from circuitflow.engines.flat.arrays import Array, computed
from circuitflow.engines.flat.elements import by_element
from circuitflow.engines.flat.indices import Index
from circuitflow.engines.flat.language import INT64, DType, Expr
from circuitflow.engines.flat.lowering import Lowering, Rules
from circuitflow.engines.program.trace import Line, RuleCall, Value
from circuitflow.gates import GATES
from circuitflow.gates.convolution import Frame
from circuitflow.gates.neural import murmur
from circuitflow.gates.special import Namespace
from circuitflow.gates.sums import PART, add_at


class Writing(Namespace):
    """A namespace that records lines, in which each of these steps is a line of its own."""

    def __init__(self, xp: Any) -> None:
        """Lines go where those of `xp` go."""
        super().__init__(xp, xp.checks)

    def add_at(self, x: Any, axis: int, row: Any, updates: Any) -> Any:
        """As `circuitflow.gates.sums.add_at`."""
        if not any(isinstance(operand, Value) for operand in (x, row, updates)):
            return add_at(np, x, axis, row, updates)
        return self.library.call(RuleCall(added, axis=axis), (x, row, updates))

    def fold(self, x: Any, frame: Frame) -> Any:
        """Windows added up over padded axes, without the pads."""
        if not isinstance(x, Value):
            return folded(x, frame=frame)
        return self.library.call(RuleCall(folded, frame=frame), (x,))

    def murmur(self, x: Any) -> Any:
        """The hash of `dropout`, whose products of 64 bits not every language has."""
        return self.library.call(RuleCall(hashed), (x,)) if isinstance(x, Value) else hashed(x)


def recording(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule whose lines are those of a `Writing`."""
    return lambda xp, *operands, **attributes: rule(Writing(xp) if isinstance(xp, Namespace) else xp, *operands,
                                                    **attributes)


def hashed(x: Any) -> Any:
    """The hash of integers, in NumPy."""
    return murmur(np, x)


def added(x: Any, row: Any, updates: Any, *, axis: int) -> Any:
    """Slices added along an axis, in NumPy."""
    return add_at(np, x, axis, row, updates)


def folded(x: Any, *, frame: Frame) -> Any:
    """Windows added up, in NumPy."""
    like = np.empty((*x.shape[:2], *frame.sizes), x.dtype)
    return GATES["fold"].forward(np, x, like, kernel_shape=frame.kernel, strides=frame.strides, pads=frame.pads,
                                 dilations=frame.dilations)


def _sums(dtype: DType, terms: int) -> DType:
    """The dtype in which terms are added up, as `sums.wider_for` has it."""
    return np.dtype(np.float64) if dtype == np.float32 and terms > PART else dtype


def _add(low: Lowering, out: Array, at: tuple[Index, ...], x: Expr) -> None:
    low.assign(out, at, low.element("add", out.at(low.code, at), x, dtype=out.dtype))


def _added(low: Lowering, line: Line, x: Any, row: Any, updates: Any, *, axis: int) -> Array:
    (result, *_), code = line.results, low.code
    sums = _sums(result.dtype, np.shape(row)[0])
    source, places, more = low.array(x, sums), low.ready(low.array(row, INT64)), low.array(updates, sums)
    out = low.room(result.shape, sums, low.hint(line))
    low.copy(source, out)
    if more.size:
        with low.nest(more.shape) as at:
            place = code.position(places.at(code, (at[axis],)))
            _add(low, out, (*at[:axis], place, *at[axis + 1 :]), more.at(code, at))
    return out if sums == result.dtype else computed(result.shape, result.dtype, [out], low.cast(out, result.dtype).at)


def _folded(low: Lowering, line: Line, x: Any, *, frame: Frame) -> Array:
    """Windows go into padded memory, of which the result is a view."""
    (result, *_), rank = line.results, len(frame.kernel)
    sums = _sums(result.dtype, int(np.prod(frame.kernel)))
    source = low.array(x, sums)
    spans = [before + size + after for size, (before, after) in zip(frame.sizes, frame.pads, strict=True)]
    out = low.room((*result.shape[:2], *spans), sums, low.hint(line))
    low.copy(low.array(np.zeros(out.shape, sums)), out)
    if source.size:
        with low.nest(source.shape) as at:
            kernel, windows = at[2 : 2 + rank], at[2 + rank :]
            places = [k.times(d).plus(w.times(s)) for k, w, d, s in
                      zip(kernel, windows, frame.dilations, frame.strides, strict=True)]
            _add(low, out, (*at[:2], *places), source.at(low.code, at))
    inner = out.viewed(result.shape, lambda at: (*at[:2], *(
        index.shifted(before) for index, (before, _) in zip(at[2:], frame.pads, strict=True))))
    if sums == result.dtype:
        return inner
    return computed(result.shape, result.dtype, [inner], low.cast(inner, result.dtype).at)


def _hashed(low: Lowering, line: Line, x: Any) -> Array:
    result, source = line.results[0], low.array(x, INT64)
    return by_element(low, "murmur", INT64, result.shape, [source])


WRITING: Rules = {added: _added, folded: _folded, hashed: _hashed}
"""Rules of what a `Writing` records."""
