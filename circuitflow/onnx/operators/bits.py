"""Bits of integers that are known before a run. No gate works on bits, so those of computed integers are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from circuitflow.onnx.calls import Call, Refusal


def _integers(call: Call) -> list[Any]:
    """The operands."""
    arrays = [call.numbers(i, "no gate works on bits") for i in range(len(call))]
    if any(x.dtype.kind not in "iu" or x.dtype != arrays[0].dtype for x in arrays):
        raise Refusal(f"has operands of {', '.join(str(x.dtype) for x in arrays)}; expected integers of one dtype")
    return arrays


def _bitwise(function: Callable[..., Any]) -> Callable[[Call], Any]:
    return lambda call: np.asarray(function(*_integers(call)))


def bit_shift(call: Call) -> Any:
    """Shifted to the left or right; what is shifted beyond the ends is lost, and a sign is spread from the left."""
    direction = call.attribute("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise Refusal(f"has the direction {direction}; expected LEFT or RIGHT")
    return np.asarray((np.left_shift if direction == "LEFT" else np.right_shift)(*_integers(call)))


def bit_cast(call: Call) -> Any:
    """The same bits as numbers of another dtype of as many."""
    x = np.ascontiguousarray(call.numbers(0, "no gate works on bits")).reshape(call.sizes(0))
    dtype = np.dtype(call.dtype(call.attribute("to")))
    if dtype.itemsize != x.dtype.itemsize:
        raise Refusal(f"makes {dtype} of {x.dtype}; expected a dtype of as many bits")
    return x != 0 if dtype.kind == "b" else x.view(dtype)


BITS: Mapping[str, Callable[[Call], Any]] = {
    "BitwiseAnd": _bitwise(np.bitwise_and), "BitwiseOr": _bitwise(np.bitwise_or),
    "BitwiseXor": _bitwise(np.bitwise_xor), "BitwiseNot": _bitwise(np.invert), "BitShift": bit_shift,
    "BitCast": bit_cast,
}
