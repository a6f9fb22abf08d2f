"""Running sums and products."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from circuitflow.gates.integers import exact
from circuitflow.gates.record import Attributes, Gate, Note, Onnx, Reads, family
from circuitflow.gates.shapes import ArrayType, ShapeError, axis_of, need_number
from circuitflow.gates.sums import wider


class Running(Attributes):
    axis: int = Field(0, description="the axis to go along")
    reverse: bool = Field(False, description="from the end of the axis to its start")


def _from_end(xp: Any, x: Any, axis: int, reverse: bool) -> Any:
    return xp.flip(x, axis=axis) if reverse else x


def _running(x: ArrayType, *, axis: int, reverse: bool) -> ArrayType:
    need_number("x", x)
    axis_of(axis, len(x.shape))
    return x


def _cum_sum(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    sums = xp.cumulative_sum(_from_end(xp, x, axis, reverse), axis=axis, dtype=wider(xp, x.dtype))
    return _from_end(xp, xp.asarray(sums, dtype=x.dtype), axis, reverse)


def _cum_prod(xp: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    products = xp.cumulative_prod(_from_end(xp, x, axis, reverse), axis=axis, dtype=x.dtype)
    return _from_end(xp, products, axis, reverse)


def _cum_prod_backward(op: Any, g: Any, out: Any, x: Any, *, axis: int, reverse: bool) -> Any:
    """The product before an element times s, where s[j] = g[j] + x[j + 1] s[j + 1], summed in steps that double."""
    if not isinstance(x.shape[axis], int):
        raise ShapeError(f"has a gradient along axes of known size only, not {x.shape[axis]}")
    if x.shape[axis] == 0:
        return g
    if reverse:
        g, x = op.flip(g, axis=axis), op.flip(x, axis=axis)
    size, widths = x.shape[axis], [[0, 0] for _ in range(x.ndim)]

    def later(y: Any, by: int) -> Any:
        """Every element replaced by the one so many places later, zeros at the end."""
        widths[axis] = [0, by]
        return op.pad(op.slice(y, axis=axis, start=by, stop=size), pad_width=[list(width) for width in widths])

    factor, step = later(x, 1), 1
    while step < size:
        g, factor, step = g + factor * later(g, step), factor * later(factor, step), 2 * step
    one = op.ones_like(op.slice(x, axis=axis, start=0, stop=1))
    before = op.cum_prod(op.concat(one, op.slice(x, axis=axis, start=0, stop=size - 1), axis=axis), axis=axis)
    return op.flip(before * g, axis=axis) if reverse else before * g


RUNNING = family({
    "cum_sum": Gate("Σ x up to here", "The running sum along an axis, from its start or its end.",
                    ("x",), _running, attributes=Running, symbol="cumsum",
                    forward=_cum_sum,
                    integers=exact,
                    backward=(lambda op, g, out, x, *, axis, reverse: op.cum_sum(g, axis=axis, reverse=not reverse),)),
    "cum_prod": Gate("Π x up to here", "The running product along an axis, from its start or its end.",
                     ("x",), _running, attributes=Running, symbol="cumprod", reads=Reads.INPUTS,
                     forward=_cum_prod,
                     integers=exact,
                     backward=(_cum_prod_backward,)),
}, {
    "cum_sum": Note("the running sum of {g} in the opposite direction to {x}",
                    kinks="float32 is accumulated in float64",
                    onnx=Onnx("CumSum", "axis@1 reverse", {"exclusive": 0}, written=""),
                    numpy="cumulative_sum", also="cumsum"),
    "cum_prod": Note("the products of the others, summed as they run, times {g} to {x}",
                     kinks="exact where elements are 0", onnx=Onnx("CumProd", "axis@1 reverse", {"exclusive": 0}),
                     numpy="cumulative_prod",
                     also="cumprod cumproduct"),
})
