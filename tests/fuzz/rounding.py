"""Whether two answers differ by more than rounding.

Where an element differs by more than a few last digits, the interpreter runs again with the result of every gate
changed by a few last
digits (Monte Carlo arithmetic, Parker 1997). How far the answer moves then is how far rounding may move it: an
ill-conditioned circuit
gives other digits without any fault, and a number at the border of overflow becomes infinite. The change of a number
depends on the number
alone, so that what is equal stays equal, and 0 stays 0: no tie and no difference of equal numbers is an excuse. Only
where numbers are
added up along axes does it go by the place as well: another order of the terms rounds otherwise, and what is left of a
variance of equal
numbers is rounding alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any
from unittest import mock

import numpy as np

import circuitflow as cf
from cases import Call, Case, Given
from circuitflow.interpreter import vocabulary

Answer = Mapping[str, np.ndarray[Any, Any]]

RUNS = 6
"""Runs with changed digits."""

MARGIN = 40.0
"""An answer may differ by so many times what the changed digits made of it."""

CLOSE = {"float64": (1e-11, 1e-13), "float32": (1e-5, 1e-6), "float16": (1e-2, 1e-3), "bfloat16": (1e-1, 1e-2)}
"""Relative to the element, and to the largest element of its array: rounding without a doubt."""

# Results that are copies of numbers, or integers: no digit of these is ever rounded.
EXACT = frozenset(
    "floor ceil round abs sign neg max min clip identity stop_gradient relu thresholded_relu equal equal_nan less "
    "less_or_equal greater "
    "greater_or_equal and or xor not is_nan is_inf where reduce_max reduce_min arg_max arg_min is_first_max size "
    "transpose "
    "matrix_transpose diagonal diagonal_like reshape reshape_like expand expand_like concat slice slice_scatter "
    "slice_like pad_like split "
    "stack flip roll tile trilu flatten pad unsqueeze squeeze cast cast_like zeros_like eye_like ones_like gather "
    "gather_elements gather_nd "
    "top_k arg_sort sort one_hot unfold max_pool global_max_pool label_indicator".split())

# Rules of one rounding, or of numbers that a changed digit would take out of their domain: their operands stay as they
# are.
SIMPLE = frozenset("sub mul div pow reciprocal sqrt square hypot mod mul_no_nan atan2 lgamma polygamma".split())


ADDING = frozenset(
    "reduce_sum reduce_mean reduce_var reduce_std reduce_l1 reduce_l2 reduce_sum_square sum_to_like matmul "
    "layer_normalization "
    "batch_normalization group_normalization instance_normalization cum_sum".split())
"""Gates that add up along axes, in an order of their own."""


def changed(x: Any, seed: int, by_place: bool = False) -> Any:
    """Numbers with other last digits, which depend on the number and the seed."""
    array = np.asarray(x)
    if array.dtype.name not in ("float64", "float32"):
        return x
    bits = array.astype(np.float64).view(np.uint64)
    with np.errstate(all="ignore"):
        if by_place:
            bits = bits ^ np.arange(bits.size, dtype=np.uint64).reshape(bits.shape)
        steps = (((bits ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(60)).astype(np.float64) - 7.5
        return (array * (1 + steps * np.finfo(array.dtype).eps)).astype(array.dtype)


def flushed(x: Any) -> Any:
    """Numbers with 0 in place of those that are subnormal."""
    array = np.asarray(x)
    if array.dtype.kind != "f":
        return x
    return np.where(np.abs(array) < np.finfo(array.dtype).tiny, array.dtype.type(0), array)


Change = Callable[[Any], Any]


def unsteady(gate: cf.Gate, change: Change, *, operands: bool) -> cf.Gate:
    """A row whose results, and operands if asked for, are changed."""

    def forward(xp: Any, *given: Any, **attributes: Any) -> Any:
        out = gate.forward(xp, *(map(change, given) if operands else given), **attributes)
        return tuple(map(change, out)) if isinstance(out, tuple) else change(out)

    return dataclasses.replace(gate, forward=forward)


def label(kind: str, name: str) -> str:
    """How an array of an answer is called."""
    return f"{kind} {name}"


def interpret(case: Case, call: Call, executor: Any, **options: Any) -> dict[str, Any]:
    """The answer of the interpreter, from plain arrays, as it gives it."""
    inputs, upstream = ({name: given.values.copy() for name, given in part.items()}
                        for part in (call.inputs, call.upstream))
    plan = executor.plan(case.of, case.wrt)
    result = (executor.run(inputs, of=case.of, wrt=case.wrt, upstream=upstream, **options) if plan.wrt else
              executor.forward(inputs, of=case.of))
    return {**{label("value", text): x for text, x in result.outputs.items()},
            **{label("gradient", name): result.gradients[name] for name in plan.wrt}}


class Reference:
    """What the interpreter answers to a call, and how far rounding may move that."""

    def __init__(self, case: Case, call: Call, circuit: cf.Circuit, executor: Any) -> None:
        self.case, self.call, self.circuit = case, call, circuit
        self.error: cf.CircuitflowError | None = None
        self.answer: Answer = {}
        try:
            self.answer = {key: np.array(x) for key, x in interpret(case, call, executor).items()}
        except cf.CircuitflowError as error:
            self.error = error

    def _moved(self, change: Change, *, inputs: bool = False) -> list[Answer]:
        """The answer of an interpreter whose numbers are changed; nothing where it refuses them."""
        by_place = partial(change, by_place=True) if change is not flushed else change
        table, rules = ({name: gate if name in EXACT
                         else unsteady(gate, by_place if name in ADDING else change, operands=name not in SIMPLE)
                         for name, gate in gates.items()} for gates in (self.case.gates(), cf.GATES))
        given, upstream = ({name: Given(np.asarray(change(x.values))) for name, x in part.items()}
                           for part in (self.call.inputs, self.call.upstream))
        try:
            circuit = cf.Circuit(self.circuit.document, gates=table)
            with mock.patch.object(vocabulary, "GATES", rules):  # which rules mean, whatever the table has
                found = interpret(self.case, Call(given if inputs else self.call.inputs, upstream),
                                  cf.Executor(circuit))
        except cf.CircuitflowError:
            return []
        return [{key: np.asarray(x) for key, x in found.items()}]

    @cached_property
    def rounded(self) -> list[Answer]:
        """Answers with other last digits."""
        return [answer for run in range(RUNS) for answer in self._moved(partial(changed, seed=0x9E3779B9 * (run + 1)))]

    @cached_property
    def flushed(self) -> list[Answer]:
        """The answer of arithmetic that takes subnormal numbers for 0, as XLA has it."""
        return self._moved(flushed, inputs=True)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a comparison gave: a sentence where it differs; whether changed digits had to explain it."""

    difference: str | None = None
    explained: bool = False


def compare(found: Any, key: str, reference: Reference, *, flushes: bool = False) -> Verdict:
    """Compare one array with the interpreter's.

    Args:
        found: the array.
        key: what it is.
        reference: the interpreter's answer.
        flushes: whether subnormal numbers may have been taken for 0.
    """
    found, expected = np.asarray(found), reference.answer[key]
    if found.shape != expected.shape:
        return Verdict(f"shape {found.shape} instead of {expected.shape}")
    if found.dtype != expected.dtype:
        return Verdict(f"dtype {found.dtype} instead of {expected.dtype}")
    wrong = ~same(found, expected)
    if not wrong.any():
        return Verdict()
    wrong &= ~within(found, expected, [answer[key] for answer in reference.rounded])
    if flushes and wrong.any():
        wrong &= ~within(found, expected, [answer[key] for answer in reference.flushed]) & ~tiny(found, expected)
    if not wrong.any():
        return Verdict(explained=True)
    at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    where = f" at {tuple(map(int, at))}" if at else ""
    return Verdict(f"{found[at].item()!r} instead of {expected[at].item()!r}{where}, {int(wrong.sum())} of "
                   f"{wrong.size} wrong")


def same(found: Any, expected: Any) -> Any:
    """Where elements are equal but for a few last digits."""
    if found.dtype.kind != "f":
        return found == expected
    relative, of_largest = CLOSE[found.dtype.name]
    with np.errstate(all="ignore"):
        size = np.abs(expected)
        largest = np.max(size, initial=0.0, where=np.isfinite(size))
        close = np.abs(found - expected) <= np.maximum(relative * size, of_largest * largest)
        tiny = np.abs(found - expected) <= 8 * np.finfo(found.dtype).smallest_subnormal
        return (found == expected) | close | tiny | (np.isnan(found) & np.isnan(expected))


def within(found: Any, expected: Any, moved: Sequence[Any]) -> Any:
    """Where an element differs by no more than changed digits make of it; of integers, and of what is not finite, by as
    much.

    Of a number that changed digits move by half of itself no digit is known, not even whether it is finite.
    """
    if found.dtype.kind != "f":
        return np.any([other != expected for other in moved], axis=0) if moved else np.zeros(found.shape, bool)
    allowed = np.zeros(found.shape, bool)
    spread = np.zeros(found.shape)
    with np.errstate(all="ignore"):
        for other in moved:
            step = np.abs(other - expected)
            spread = np.fmax(spread, step)
            allowed |= kind(other) == kind(found)
        allowed &= kind(found) != kind(expected)
        unknown = (spread > 0) & (spread >= np.abs(expected) / 2)
        return allowed | unknown | (np.abs(found - expected) <= MARGIN * spread)


def tiny(found: Any, expected: Any) -> Any:
    """Where elements differ by about the smallest normal number."""
    if found.dtype.kind != "f":
        return np.zeros(found.shape, bool)
    with np.errstate(all="ignore"):
        return np.abs(found - expected) <= 4 * np.finfo(found.dtype).tiny


def kind(x: Any) -> Any:
    """0 for a finite number, 1 and -1 for infinities, 2 for NaN."""
    return np.where(np.isnan(x), 2, np.where(np.isinf(x), np.sign(x), 0))
