"""Properties of NumPy's functions: which operands a result may share memory with, and its shape for named sizes.

Nothing is learnt from samples. A function that is not listed may give a view of its operands, and has no shape rule.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from circuitflow.gates import GATES, ArrayType, ShapeError, sums
from circuitflow.gates.shapes import Shape, Size, axes_of, axis_of, broadcast_shapes, count, divide

Function = Callable[..., Any]


_GROUPS = frozenset({tuple, list, dict, MappingProxyType})


def leaves(operands: Any) -> list[Any]:
    """Operands one by one, tuples, lists and mappings taken apart."""
    kind = type(operands)
    if kind not in _GROUPS:
        return [operands]
    found = list[Any]()
    for x in operands if kind is tuple or kind is list else operands.values():
        if type(x) in _GROUPS:
            found += leaves(x)
        else:
            found.append(x)
    return found


def map_leaves(change: Callable[[Any], Any], operands: Any) -> Any:
    """Operands, each of them changed."""
    kind = type(operands)
    if kind not in _GROUPS:
        return change(operands)
    if kind is tuple or kind is list:
        return kind([map_leaves(change, x) if type(x) in _GROUPS else change(x) for x in operands])
    return {name: map_leaves(change, x) for name, x in operands.items()}


def is_elementwise(function: Function) -> bool:
    """Whether a function takes arrays element by element, and can write into one."""
    return isinstance(function, np.ufunc) and function.signature is None and function.nout == 1


REDUCTIONS = (np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax, np.argmin)

BY_ELEMENT = (np.where, np.clip, np.astype, np.round)
"""Functions that take arrays element by element, and give new ones."""


def is_weak_beside(function: Function) -> bool:
    """Whether a plain number takes the dtype of the arrays beside it; elsewhere NumPy makes an array of it first."""
    return is_elementwise(function) or function in BY_ELEMENT


def is_fresh(function: Function) -> bool:
    """Whether the result is memory that no operand has."""
    return isinstance(function, np.ufunc) or function in (*REDUCTIONS, *BY_ELEMENT, *OWN_PRODUCTS)


def long_product(a: Any, b: Any) -> Any:
    """The matrix product, in parts where it is long."""
    return sums.in_parts(np, a, b)


def product_kept(a: Any, b: Any) -> Any:
    """The matrix product in which 0 times an infinity or NaN is 0."""
    return sums.product_kept(np, a, b)


OWN_PRODUCTS = (long_product, product_kept)

PRODUCTS = (np.matmul, *OWN_PRODUCTS)

PARTS: Mapping[Function, Function] = {np.sum: np.add, **dict.fromkeys(PRODUCTS, np.add), np.max: np.maximum,
                                      np.min: np.minimum, np.any: np.logical_or, np.all: np.logical_and}
"""Combines the results for parts of a reduced axis."""


def is_shaped(function: Function, operands: Sequence[Any]) -> bool:
    """Whether the shape of a result depends on the shapes of the operands alone, never on their values."""
    if function is operator.getitem:
        key = operands[1] if isinstance(operands[1], tuple) else (operands[1],)
        return not any(str(getattr(part, "dtype", "")) == "bool" for part in key)
    if function is np.where:
        return len(operands) == 3
    return isinstance(function, np.ufunc) or function in _SHAPED


def shape_of(function: Function, operands: Sequence[Any], keywords: Mapping[str, Any]) -> Shape | None:
    """The shape of a result, some of whose operands have named sizes; these are `ArrayType` or `Size`.

    There is a rule only for functions that take the positions of such an axis one by one, or reduce it by a function
    that `PARTS` has. None where there is no rule, or it does not cover the operands.
    """
    rule = _elementwise if is_elementwise(function) else _RULES.get(function)
    try:
        return None if rule is None else rule(*operands, **keywords)
    except (ShapeError, TypeError, IndexError):
        return None


def dtype_of(function: Function, operands: Sequence[Any], keywords: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of a result that has a shape rule; arguments are those of `shape_of`."""
    def one(x: Any) -> Any:
        """An array of one element, or a number as weak as it is."""
        if isinstance(x, ArrayType | np.ndarray):
            return np.ones((1,) * len(x.shape), x.dtype)
        return 1 if isinstance(x, Size) else x

    if function in _ARRANGING:
        return np.result_type(*map(one, leaves(operands[0])))
    with np.errstate(all="ignore"):
        return np.asarray(function(*map_leaves(one, operands), **keywords)).dtype


def is_named(shape: Shape) -> bool:
    """Whether a shape has a size that is no number."""
    return bool(shape) and any(isinstance(size, Size) for size in shape)


def _shape(x: Any) -> Shape:
    return () if isinstance(x, Size) else x.shape if isinstance(x, ArrayType) else np.shape(x)


def _elementwise(*operands: Any) -> Shape:
    return broadcast_shapes(*(_shape(x) for x in operands if x is not None))


def _axes(axis: Any, shape: Shape) -> Any:
    return axes_of(list(axis) if isinstance(axis, tuple) else axis, len(shape))


def _by_gate(name: str, *operands: Any, **attributes: Any) -> Shape:
    """The shape rule of a gate, of floats."""
    result: Any = GATES[name].shape(*(ArrayType(_shape(x), "float64") for x in operands), **attributes)
    return tuple(result.shape)


def _reduction(x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Shape:
    return _by_gate("reduce_sum", x, axis=_axes(axis, _shape(x)), keepdims=keepdims)


def _whole_reduction(x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Shape | None:
    """The shape rule of a reduction that `PARTS` does not have."""
    return None if _along(x, axis=axis) is None else _reduction(x, axis=axis, keepdims=keepdims)


def _along(x: Any, *, axis: Any = None, **_: Any) -> Shape | None:
    """The shape rule of a function that mixes the positions of an axis."""
    shape = _shape(x)
    return None if any(isinstance(shape[a], Size) for a in _axes(axis, shape)) else shape


def _reshape(x: Any, shape: Any) -> Shape | None:
    """Every named axis must stay as it is, with as many elements before and after it."""
    before = _shape(x)
    after = list(shape) if isinstance(shape, tuple | list) else [shape]
    if -1 in after:
        rest = divide(count(before), count([size for size in after if size != -1]))
        if rest is None:
            return None
        after[after.index(-1)] = rest

    def places(sizes: Sequence[Any]) -> list[Any]:
        return [(size, count(sizes[:i])) for i, size in enumerate(sizes) if isinstance(size, Size)]

    return tuple(after) if places(before) == places(after) else None


def _broadcast_to(x: Any, shape: Any) -> Shape | None:
    return tuple(shape) if broadcast_shapes(_shape(x), tuple(shape)) == tuple(shape) else None


def _squeeze(x: Any, axis: Any) -> Shape | None:
    shape = _shape(x)
    axes = _axes(axis, shape)
    return tuple(size for i, size in enumerate(shape) if i not in axes) if all(shape[a] == 1 for a in axes) else None


def _getitem(x: Any, key: Any) -> Shape | None:
    """Basic indexing; a named axis is taken whole."""
    shape = list(_shape(x))
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    if at is not None:
        indices = sum(part is not None and part is not Ellipsis for part in parts)
        parts[at : at + 1] = [slice(None)] * (len(shape) - indices)
    result: list[Any] = []
    for part in parts:
        if part is None:
            result.append(1)
            continue
        size = shape.pop(0)
        if isinstance(size, Size):
            if not isinstance(part, slice) or part != slice(None):
                return None
            result.append(size)
        elif isinstance(part, slice):
            result.append(len(range(*part.indices(size))))
        elif type(part) is not int:
            return None
    return (*result, *shape)


def _concatenate(xs: Any, axis: Any = 0) -> Shape | None:
    shapes = [_shape(x) for x in xs]
    axis = axis_of(axis, len(shapes[0]))
    (before, after), *others = {(shape[:axis], shape[axis + 1 :]) for shape in shapes}
    if others or any(isinstance(shape[axis], Size) for shape in shapes):
        return None
    return (*before, sum(shape[axis] for shape in shapes), *after)


_ARRANGING = (np.reshape, np.broadcast_to, np.transpose, np.matrix_transpose, np.expand_dims, np.squeeze,
              operator.getitem, np.concatenate, np.stack)

_RULES: Mapping[Function, Callable[..., Shape | None]] = {
    np.full: lambda shape, fill, dtype: tuple(shape),
    np.where: _elementwise,
    np.clip: _elementwise,
    np.astype: lambda x, dtype: _shape(x),
    np.round: lambda x, *decimals: _shape(x),
    **dict.fromkeys((np.sum, np.max, np.min, np.any, np.all), _reduction),
    **dict.fromkeys((np.prod, np.argmax, np.argmin), _whole_reduction),
    **dict.fromkeys((np.flip, np.cumulative_sum, np.cumulative_prod), _along),
    **dict.fromkeys(PRODUCTS, partial(_by_gate, "matmul")),
    np.reshape: _reshape,
    np.broadcast_to: _broadcast_to,
    np.transpose: lambda x, axes=None: _by_gate("transpose", x, axes=axes),
    np.matrix_transpose: partial(_by_gate, "matrix_transpose"),
    np.expand_dims: lambda x, axis: _by_gate("unsqueeze", x, axis=axis),
    np.squeeze: _squeeze,
    operator.getitem: _getitem,
    np.concatenate: _concatenate,
    np.stack: lambda xs, axis=0: _by_gate("stack", *xs, axis=axis),
}

_SHAPED = frozenset({
    *REDUCTIONS, *BY_ELEMENT, *_RULES, np.take, np.take_along_axis, np.sort, np.argsort, np.roll, np.tile, np.tril,
    np.triu, np.einsum, np.ones_like, np.zeros_like, np.result_type, np.can_cast, np.shape, np.ndim, np.size,
    np.linalg.det, np.linalg.slogdet, np.linalg.svd, np.linalg.eigh, np.linalg.inv, np.linalg.solve,
    np.linalg.cholesky, np.linalg.qr,
})
"""Functions whose results have a shape that follows from those of the operands, beside ufuncs."""
