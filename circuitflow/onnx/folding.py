"""Arithmetic of shapes, done while a model is read: on integers, and on sizes of named dimensions as polynomials."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.gates.shapes import Size, divide
from circuitflow.onnx.calls import Call, Value
from circuitflow.onnx.reading import Graph

LARGEST, FEW = 2**16, 16
"""Most elements of what is computed while a model is read, and of floats among it."""


def fold(call: Call) -> list[Any] | None:
    """The outputs of a node that is arithmetic of shapes, as arrays; None where it is not, or they are not known."""
    operator = call.node.operator
    if operator in ("Shape", "Size"):
        return [_shape(call)]
    rule = _RULES.get(operator)
    if rule is None or not len(call):
        return None
    values = [call.value(i) for i in range(len(call)) if call.has(i)]
    if operator == "CastLike":  # which needs the type of its second operand alone
        values = values[:1]
    if any(value.array is None or value.is_parameter or value.array.size > LARGEST for value in values):
        return None
    if any(value.dtype.startswith("float") and value.array.size > FEW for value in values):
        return None
    try:
        with np.errstate(all="ignore"):
            result = rule(call, *(value.array for value in values))
    except (ValueError, TypeError, IndexError, ArithmeticError):  # the node is refused where it is read, or at a run
        return None
    outputs = result if isinstance(result, list) else [result]
    if any(x is None for x in outputs):
        return None
    arrays = [_plain(x) for x in outputs]
    return None if any(x.size > LARGEST for x in arrays) else arrays


def _plain(x: Any) -> Any:
    """An array; objects that are all integers as integers."""
    x = _boxed(x)
    if x.dtype == object and not any(isinstance(size, Size) for size in x.reshape(-1)):
        return x.astype(np.int64)
    return x


def _shape(call: Call) -> Any:
    shape = call.shape(0)
    if call.node.operator == "Size":
        total: Any = 1
        for size in shape:
            total = total * size
        return _plain(_object(total))
    rank = len(shape)
    start, end = call.attribute("start", 0), call.attribute("end", rank)
    start, end = (min(max(at + rank if at < 0 else at, 0), rank) for at in (start, end))
    return _plain(_objects(shape[start:end]))


def _object(x: Any) -> Any:
    array = np.empty((), object)
    array[()] = x
    return array


def _objects(xs: Any) -> Any:
    array = np.empty(len(xs), object)
    array[:] = xs
    return array


def _by_element(compute: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A rule by NumPy, and element by element where there are named sizes."""
    def rule(call: Call, *xs: Any) -> Any:
        if not any(x.dtype == object for x in xs):
            return plain(*xs)
        return np.frompyfunc(compute, len(xs), 1)(*xs)

    return rule


def _quotient(x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
    quotient = divide(x, y)
    if quotient is None:
        raise ValueError("does not divide evenly")
    return quotient


def _divide(x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        if not np.all(y):
            raise ValueError("division by 0")
        return np.asarray(np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y)), x.dtype)
    return x / y


def _same(x: Any, y: Any) -> bool:
    """Whether sizes are equal, where that is certain: a named one is equal to no negative number."""
    if isinstance(x, Size) != isinstance(y, Size) and not (isinstance(y, int) and y < 0) and not (
            isinstance(x, int) and x < 0):
        raise ValueError("depends on a size")
    if isinstance(x, Size) and isinstance(y, Size) and x != y:
        raise ValueError("depends on sizes")
    return bool(x == y)


def _equal(call: Call, x: Any, y: Any) -> Any:
    return np.asarray(np.frompyfunc(_same, 2, 1)(x, y), bool) if object in (x.dtype, y.dtype) else x == y


def _cast(call: Call, x: Any) -> Any:
    dtype = call.dtype(call.attribute("to"))
    call.attribute("saturate")
    if x.dtype == object:
        return x if dtype in ("int64", "int32") else None
    return x.astype(dtype)


def _as_type(call: Call, x: Any) -> Any:
    call.attribute("saturate")
    return x.astype(call.type(1).dtype)


def _gather(call: Call, x: Any, indices: Any) -> Any:
    return np.take(x, indices, axis=call.attribute("axis", 0))


def _boxed(x: Any) -> Any:
    """A number that NumPy gave in place of an array."""
    return x if isinstance(x, np.ndarray) else np.asarray(x) if isinstance(x, np.generic) else _object(x)


def _concat(call: Call, *xs: Any) -> Any:
    return np.concatenate(xs, axis=call.attribute("axis"))


def _axes(call: Call, rank: int) -> list[int]:
    axes = call.setting("axes", 1)
    return sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes))


def _unsqueeze(call: Call, x: Any, *_: Any) -> Any:
    axes = call.setting("axes", 1)
    axes = [axes] if isinstance(axes, int) else axes
    return np.expand_dims(x, tuple(axis % (x.ndim + len(axes)) for axis in axes))


def _squeeze(call: Call, x: Any, *_: Any) -> Any:
    axes = _axes(call, x.ndim) if call.has(1) or call.has_attribute("axes") else None
    return x.reshape([n for i, n in enumerate(x.shape) if (n != 1 if axes is None else i not in axes)])


def _slice(call: Call, x: Any, *_: Any) -> Any:
    starts, ends = call.setting("starts", 1), call.setting("ends", 2)
    axes, steps = call.setting("axes", 3), call.setting("steps", 4)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = (axes[i] if axes is not None else i), (steps[i] if steps is not None else 1)
        if not isinstance(start, int) or not isinstance(end, int):
            return None
        stop: int | None = end
        if step < 0 and end < -x.shape[axis]:
            stop = None
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)]
    return x


def _range(call: Call, start: Any, limit: Any, delta: Any) -> Any:
    if object in (start.dtype, limit.dtype, delta.dtype) or delta == 0:
        return None
    count = max(0, int(np.ceil((limit - start) / delta)))
    return None if count > LARGEST else (start + np.arange(count) * delta).astype(start.dtype)


def _constant_of_shape(call: Call, shape: Any) -> Any:
    value = call.attribute("value", np.zeros(1, np.float32))
    if shape.dtype == object or np.prod(shape.astype(float)) > (FEW if value.dtype.kind == "f" else LARGEST):
        return None
    return np.full(shape, value.reshape(())[()], value.dtype)


def _reshape(call: Call, x: Any, shape: Any) -> Any:
    if call.attribute("allowzero", 0) or shape.dtype == object:
        return None
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(call: Call, x: Any, *_: Any) -> Any:
        axes = call.setting("axes", 1)
        keepdims = bool(call.attribute("keepdims", 1))
        if x.dtype == object or call.attribute("noop_with_empty_axes", 0):
            return None
        axes = None if axes is None or axes == [] else tuple(axes)
        return np.asarray(function(x, axis=axes, keepdims=keepdims), x.dtype)

    return rule


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """A rule by a function of NumPy, for numbers without names."""
    return lambda call, *xs: None if any(x.dtype == object for x in xs) else function(*xs)


def _largest(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: functools.reduce(function, xs)


def _modulo(call: Call, x: Any, y: Any) -> Any:
    if call.attribute("fmod") or object in (x.dtype, y.dtype) or not np.all(y):
        return None
    return np.mod(x, y)


def _expand(call: Call, x: Any, shape: Any) -> Any:
    if object in (x.dtype, shape.dtype) or np.prod(shape.astype(float)) > LARGEST:
        return None
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist()))).copy()


def _where(call: Call, condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


def _split(call: Call, x: Any, *_: Any) -> Any:
    axis, sizes = call.attribute("axis", 0), call.setting("split", 1)
    if sizes is None:
        part = -(-x.shape[axis] // len(call.node.outputs))
        sizes = [part] * len(call.node.outputs)
    call.attribute("num_outputs")
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


_RULES: Mapping[str, Callable[..., Any]] = {
    "Add": _by_element(lambda x, y: x + y, np.add),
    "Sub": _by_element(lambda x, y: x - y, np.subtract),
    "Mul": _by_element(lambda x, y: x * y, np.multiply),
    "Div": _by_element(_quotient, _divide),
    "Neg": _by_element(lambda x: x * -1, np.negative),
    "Floor": lambda call, x: np.asarray(np.floor(x), x.dtype),
    "Ceil": lambda call, x: np.asarray(np.ceil(x), x.dtype),
    "Equal": _equal,
    "Relu": _of_numbers(lambda x: np.maximum(x, x.dtype.type(0))),
    "Not": _of_numbers(np.logical_not), "And": _of_numbers(np.logical_and), "Or": _of_numbers(np.logical_or),
    "Xor": _of_numbers(np.logical_xor), "Less": _of_numbers(np.less), "LessOrEqual": _of_numbers(np.less_equal),
    "Greater": _of_numbers(np.greater), "GreaterOrEqual": _of_numbers(np.greater_equal), "Abs": _of_numbers(np.abs),
    "Sqrt": _of_numbers(np.sqrt), "Max": _of_numbers(_largest(np.maximum)), "Min": _of_numbers(_largest(np.minimum)),
    "Mod": _modulo,
    "Expand": _expand,
    "Where": _where,
    "Identity": lambda call, x: x,
    "Cast": _cast,
    "CastLike": lambda call, x: None if x.dtype == object else _as_type(call, x),
    "Gather": _gather,
    "Transpose": lambda call, x: np.transpose(x, call.attribute("perm")),
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Reshape": _reshape,
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "Split": _split,
}


def value_of(name: str, array: Any) -> Value:
    """A value that is known."""
    dtype = "int64" if array.dtype == object else str(array.dtype)
    return Value(name, dtype, array)


def tensors_of(graph: Graph) -> dict[str, Value | None]:
    """The initializers of a graph as values; a fit may change floats."""
    return {name: Value(name, str(array.dtype), array, is_parameter=array.dtype.kind == "f")
            for name, array in graph.tensors.items()}
