"""The gradient of `max_pool` as one scatter to the positions that ONNX's own pool gives.

The rule of the gate writes all windows, finds the first largest of each and folds what it sends back: as many times
the elements of x as a window has. ONNX's `MaxPool` says where the largest stands, the first of several in row-major
order, as `is_first_max` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from circuitflow.gates import GATES
from circuitflow.gates.convolution import Frame
from circuitflow.gates.shapes import count
from circuitflow.gates.sums import PART
from circuitflow.interpreter.plan import Plan, Step
from circuitflow.onnx.gates import Application, window_of

SCATTERED = replace(GATES["fold"])
"""The row of a step that takes x and the gradient on the largest of its windows, and gives the gradient on x."""

MOST_AXES = 3
"""Most axes that a pool of ONNX Runtime moves over."""


def with_scatters(plan: Plan, slots: Sequence[Any]) -> list[Step]:
    """The steps of a plan, with scatters where it folds the gradients on the largest of windows.

    Args:
        plan: the plan.
        slots: the values of its sources, arrays where they are constants.
    """
    by_slot = {slot: step for step in plan.steps for slot in step.slots}
    steps = [step._replace(operands=operands, gate=SCATTERED)
             if step.node.kind == "fold" and (operands := _operands(step, by_slot, slots)) else step
             for step in plan.steps]
    needed = set(plan.of.values())
    for step in reversed(steps):
        if not needed.isdisjoint(step.slots):
            needed.update(step.operands)
    return [step for step in steps if not needed.isdisjoint(step.slots)]


def _operands(fold: Step, by_slot: Mapping[int, Step], slots: Sequence[Any]) -> tuple[int, int] | None:
    """Where x and the gradient stand: of fold(where(is_first_max(unfold(x)), expand(g), 0)), all with one window."""
    window, kind = window_of(fold.attributes), fold.node.types[0].dtype
    rank = len(window["kernel_shape"])
    pads = window["pads"] or [[0, 0]] * rank
    # ONNX Runtime takes no pads as large as the window.
    if rank > MOST_AXES or kind not in ("float32", "float64") or any(
            max(pair) >= size for pair, size in zip(pads, window["kernel_shape"], strict=True)):
        return None
    chosen = _made_by(by_slot, fold.operands[0], "where")
    if chosen is None or not _is_zero(slots[chosen.operands[2]]):
        return None
    first = _made_by(by_slot, chosen.operands[0], "is_first_max")
    spread = _made_by(by_slot, chosen.operands[1], "expand", "expand_like")
    if first is None or spread is None or first.attributes["axis"] != list(range(2, 2 + rank)):
        return None
    unfold = _made_by(by_slot, first.operands[0], "unfold")
    one = _made_by(by_slot, spread.operands[0], "unsqueeze")
    if unfold is None or one is None or unfold.attributes["fill"] != "lowest" or window_of(unfold.attributes) != window:
        return None
    windows = unfold.node.types[0].shape
    if one.node.types[0].shape != (*windows[:2], *(1,) * rank, *windows[2 + rank :]):
        return None
    x = unfold.operands[0]
    while (step := _made_by(by_slot, x, "stop_gradient")) is not None:
        x = step.operands[0]
    return None if isinstance(slots[x], np.ndarray | np.generic) else (x, spread.operands[0])


def _made_by(by_slot: Mapping[int, Step], slot: int, *kinds: str) -> Step | None:
    """The step that gives a value, if it is of one of these gates."""
    step = by_slot.get(slot)
    return step if step is not None and step.node.kind in kinds else None


def _is_zero(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic) and not np.any(x)


def scattered(a: Application) -> str:
    """The gradient on x.

    `MaxPool` sees no NaN, and finds nothing in a window of negative infinities. So NaN becomes infinity, and what is
    below the second lowest finite number becomes that: such numbers alone may be mistaken for one another. Where these
    are the largest, and the first element of the window is a pad, this is the first of the largest.
    """
    w, dtype, result = a.w, a.types[0].dtype, a.results[0]
    x, window = a.names[0], window_of(a.attributes)
    lowest = np.nextafter(np.finfo(dtype).min, np.zeros((), dtype)[()])
    x = w.where(w.add("IsNaN", x), w.constant(math.inf, dtype), w.add("Max", x, w.constant(lowest, dtype)), dtype)
    frame = Frame(result.shape[2:], **window)
    ends = zip(*frame.pads, strict=True)
    y, at = w.add("MaxPool", x, outputs=2, kernel_shape=frame.kernel, strides=frame.strides, dilations=frame.dilations,
                  pads=[size for side in ends for size in side])
    wide = "float64" if math.prod(frame.kernel) > PART else dtype
    total, g = count(result.shape), a.cast(1, wide)
    begins_in_pad = functools.reduce(np.logical_or.outer, [
        np.arange(n) * s < before for n, s, (before, _) in zip(frame.windows, frame.strides, frame.pads, strict=True)])
    if np.any(begins_in_pad):
        is_pad = w.add("And", w.add("Equal", y, w.constant(lowest, dtype)), w.constant(begins_in_pad))
        g = w.where(is_pad, w.constant(0, wide), w.reshape(g, [*result.shape[:2], *frame.windows]), wide)
    zeros = w.add("Expand", w.constant(0, wide), w.shape([total]))
    out = w.add("ScatterND", zeros, w.reshape(at, [-1, 1]), w.reshape(g, [-1]), reduction="add")
    out = w.reshape(out, result.shape)
    return out if wide == result.dtype else w.cast(out, result.dtype)
