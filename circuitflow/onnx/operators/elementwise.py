"""Arithmetic, activations and logic, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.gates.activations import SELU_ALPHA, SELU_SCALE
from circuitflow.onnx.calls import Call, Refusal
from circuitflow.onnx.mapped import read


def _any_number(gate: str) -> Callable[[Call], Any]:
    """An operator of any number of operands; of one it is the operand."""
    def operator(call: Call) -> Any:
        return call.w.emit(gate, *call.all()) if len(call) > 1 else call[0]

    return operator


def clip(call: Call) -> Any:
    """Between bounds that are known, or by `max` and `min`."""
    w, x = call.w, call[0]
    if call.version < 11:
        low, high = call.attribute("min", -math.inf), call.attribute("max", math.inf)
        return w.clip(x, **_bounds(low, high))
    is_known = [not call.has(i) or call.value(i).array is not None for i in (1, 2)]
    if all(is_known) and x.type.is_float:
        low, high = (float(call.numbers(i, name)) if call.has(i) else default
                     for i, name, default in ((1, "min", -math.inf), (2, "max", math.inf)))
        if low <= high:
            return w.clip(x, **_bounds(low, high))
    if call.has(1):
        x = w.emit("max", x, call[1])
    return w.emit("min", x, call[2]) if call.has(2) else x


def _bounds(low: float, high: float) -> dict[str, float]:
    return {**({"min": low} if low > -math.inf else {}), **({"max": high} if high < math.inf else {})}


def div(call: Call) -> Any:
    """The quotient; of integers it is cut off towards 0."""
    if call.type(0).is_float:
        return read(call)
    w, dtype = call.w, call.type(0).dtype
    quotient = w.div(w.cast(call[0], dtype="float64"), w.cast(call[1], dtype="float64"))
    return w.cast(quotient, dtype=dtype)  # which cuts off


def power(call: Call) -> Any:
    """The power, in the dtype of the base."""
    w, x, y = call.w, call[0], call[1]
    dtype = x.type.dtype
    if x.type.is_float:
        return w.pow(x, y if y.type.dtype == dtype else w.cast(y, dtype=dtype))
    result = w.pow(w.cast(x, dtype="float64"), y if y.type.dtype == "float64" else w.cast(y, dtype="float64"))
    return w.cast(result, dtype=dtype)


def mod(call: Call) -> Any:
    """The remainder with the sign of the divisor, or as C has it with that of the dividend."""
    w, x, y = call.w, call[0], call[1]
    if not call.attribute("fmod"):
        return w.mod(x, y)
    size = w.mod(w.abs(x), w.abs(y))
    return w.where(w.less(x, w.zeros_like(x)), w.neg(size), size)


def is_inf(call: Call) -> Any:
    """Whether x is infinite, on one side or both."""
    w, x = call.w, call[0]
    low, high = call.attribute("detect_negative"), call.attribute("detect_positive")
    sides = [*([w.less(x, w.zeros_like(x))] if low else []), *([w.greater(x, w.zeros_like(x))] if high else [])]
    if not sides:
        raise Refusal("looks for neither infinity; expected detect_negative or detect_positive")
    return w.is_inf(x) if len(sides) == 2 else w.emit("and", w.is_inf(x), sides[0])


def selu(call: Call) -> Any:
    """The gate where the constants are its own, else the formula."""
    alpha, gamma = call.attribute("alpha"), call.attribute("gamma")
    w, x = call.w, call[0]
    if np.float32(alpha) == np.float32(SELU_ALPHA) and np.float32(gamma) == np.float32(SELU_SCALE):
        return w.selu(x)
    return w.mul(w.elu(x, alpha=alpha), gamma)


def shrink(call: Call) -> Any:
    """Towards 0 by a bias, and 0 between -lambd and lambd."""
    w, x = call.w, call[0]
    bias, lambd = call.attribute("bias"), call.attribute("lambd")
    if not x.type.is_float:
        raise Refusal(f"of {x.type.dtype} has no gate")
    up, down = (x, x) if bias == 0 else (w.add(x, bias), w.sub(x, bias))
    return w.where(w.less(x, -lambd), up, w.where(w.greater(x, lambd), down, w.zeros_like(x)))


def _softmax(gate: str) -> Callable[[Call], Any]:
    """Along an axis; before version 13 along all axes from one on."""
    def operator(call: Call) -> Any:
        axis, x = call.attribute("axis"), call[0]
        if call.version >= 13 or axis % max(1, x.ndim) == x.ndim - 1:
            return call.w.emit(gate, x, axis=axis)
        return call.w.reshape_like(call.w.emit(gate, call.w.flatten(x, axis=axis), axis=1), x)

    return operator


def hardmax(call: Call) -> Any:
    """1 for the first of the largest along an axis."""
    w, axis, x = call.w, call.attribute("axis"), call[0]
    if call.version < 13 and axis % max(1, x.ndim) != x.ndim - 1:
        flat = w.flatten(x, axis=axis)
        return w.reshape_like(w.cast(w.is_first_max(flat, axis=1), dtype=x.type.dtype), x)
    return w.cast(w.is_first_max(x, axis=axis), dtype=x.type.dtype)


def dropout(call: Call) -> Any:
    """Nothing is dropped outside of training."""
    call.attribute("seed")
    call.attribute("ratio")
    if call.has(1):
        call.value(1)
    if call.has(2) and bool(np.any(call.numbers(2, "training_mode"))) and (
            not call.has(1) or float(call.numbers(1, "ratio")) != 0):
        raise Refusal("drops elements at random, by numbers that ONNX does not say; expected training_mode false")
    if call.outputs > 1:
        return call.value(0), call.w.cast(call.w.ones_like(call[0]), dtype="bool")
    return call.value(0)


def cast(call: Call) -> Any:
    """To a dtype; a cast to its own is the value itself."""
    dtype = call.dtype(call.attribute("to"))
    call.attribute("saturate")
    call.attribute("round_mode")
    return call.value(0) if call.type(0).dtype == dtype else call.w.cast(call[0], dtype=dtype)


def cast_like(call: Call) -> Any:
    """To the dtype of another operand, which is known."""
    dtype = call.type(1).dtype
    call.attribute("saturate")
    call.attribute("round_mode")
    return call.value(0) if call.type(0).dtype == dtype else call.w.cast(call[0], dtype=dtype)


def cumulative(gate: str) -> Callable[[Call], Any]:
    """The running sum or product; an exclusive one leaves out the element itself."""
    def operator(call: Call) -> Any:
        w, x, reverse = call.w, call[0], bool(call.attribute("reverse"))
        axis = int(call.numbers(1, "axis").reshape(()))
        if not call.attribute("exclusive"):
            return w.emit(gate, x, axis=axis, reverse=reverse)
        size = call.numbers_of(call.shape(0))[axis]
        ends = {"start": 1, "stop": size} if reverse else {"start": 0, "stop": size - 1}
        first = w.slice(x, axis=axis, start=0, stop=1)
        neutral = w.zeros_like(first) if gate == "cum_sum" else w.ones_like(first)
        rest = w.emit(gate, w.slice(x, axis=axis, **ends), axis=axis, reverse=reverse)
        return w.concat(*((rest, neutral) if reverse else (neutral, rest)), axis=axis)

    return operator


ELEMENTWISE: Mapping[str, Callable[[Call], Any]] = {
    "Sum": _any_number("add"), "Mean": _any_number("mean"), "Max": _any_number("max"), "Min": _any_number("min"),
    "Clip": clip, "Div": div, "Pow": power, "Mod": mod, "IsInf": is_inf, "Selu": selu, "Shrink": shrink,
    "Softmax": _softmax("softmax"), "LogSoftmax": _softmax("log_softmax"), "Hardmax": hardmax, "Dropout": dropout,
    "Cast": cast, "CastLike": cast_like, "CumSum": cumulative("cum_sum"), "CumProd": cumulative("cum_prod"),
    "Identity": lambda call: call.value(0),
}
