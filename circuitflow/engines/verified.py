"""Compares every answer of an engine with the interpreter's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from circuitflow.engines.columns import is_column
from circuitflow.engines.contract import CompiledFunction
from circuitflow.errors import VerificationError
from circuitflow.gates import ArrayType
from circuitflow.interpreter.libraries import precise
from circuitflow.interpreter.passes import forward_pass, reverse_sweep
from circuitflow.interpreter.question import Answer
from circuitflow.interpreter.vocabulary import Vocabulary
from circuitflow.text import printable

ROUNDING = {"float64": 1e-9, "float32": 1e-3, "float16": 1e-1, "bfloat16": 1e-1}
"""The difference that rounding may make, relative to the largest number that goes into a result."""


class Verified(CompiledFunction):
    """Gives the answer of an engine, after comparing it with the interpreter's."""

    def __init__(self, engine: CompiledFunction) -> None:
        super().__init__(engine.question, engine.thresholds)
        self._engine, self.way = engine, f"{engine.way}, verified"

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        """The engine's answer; a `VerificationError` if it is not that of the interpreter.

        Raises:
            VerificationError: it is not that of the interpreter.
        """
        answer = self._engine.answer(inputs, upstream)
        results = [np.asarray(x) for x in (*answer[0], *answer[1])]
        if not self._engine.over_rows:
            self._compare(results, inputs, upstream, "")
            return answer
        nodes = self.question.circuit.nodes
        types = {name: nodes[name].types[0] for name in inputs}
        inputs, upstream = ({name: np.asarray(x) if isinstance(x, list | tuple) else x for name, x in arguments.items()}
                            for arguments in (inputs, upstream))
        for row in range(len(results[0]) if results else 0):
            self._compare([x[row] for x in results], _row(inputs, types, row),
                          _row(upstream, self.question.outputs, row), f" in row {row}")
        return answer

    def _compare(self, results: list[Any], inputs: Mapping[str, Any], upstream: Mapping[str, Any], where: str) -> None:
        for (name, expected, scale), x in zip(self._expected(inputs, upstream), results, strict=True):
            at = _first_difference(x, expected, scale)
            if at is not None:
                element = f" at {list(at)}" if at else ""
                raise VerificationError(
                    f"the engine '{self._engine.way}' gives {x[at] if x.shape == expected.shape else x.shape} for "
                    f"{name}{element}{where}, where the interpreter gives "
                    f"{expected[at] if x.shape == expected.shape else expected.shape}; that is a fault of circuitflow, "
                    "so report it, and use the engine interpreter meanwhile")

    def _expected(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Iterator[tuple[str, Any, float]]:
        """The name of every result, the result, and the largest number that goes into it."""
        plan = self.question.plan
        bound, seeds = self.question.bind(inputs, upstream)
        with precise(bound.xp), np.errstate(all="ignore"):
            values = forward_pass(plan, bound)
            gradients, contributions = reverse_sweep(plan, Vocabulary(bound.xp, self.question.circuit.gates), values,
                                                     seeds)
        operands = {slot: step.operands for step in plan.steps for slot in step.slots}
        most_sent: dict[str, float] = {}
        for contribution in contributions:
            most_sent[contribution.source] = max(most_sent.get(contribution.source, 0.0), _largest(contribution.value))
        for text, slot in plan.of.items():
            largest = max(_largest(values[i]) for i in (slot, *operands.get(slot, ())))
            yield f"output '{printable(text, 60)}'", np.asarray(values[slot]), largest
        for name, slot in plan.wrt.items():
            gradient = np.asarray(gradients[slot])
            largest = max(_largest(gradient), most_sent.get(plan.names[slot], 0.0))
            yield f"the gradient on '{printable(name, 60)}'", gradient, largest

    def __reduce__(self) -> tuple[Any, ...]:
        return Verified, (self._engine,)


def _row(arguments: Mapping[str, Any], types: Mapping[str, ArrayType], row: int) -> dict[str, Any]:
    return {name: value[row] if is_column(value, types[name]) else value for name, value in arguments.items()}


def _largest(x: Any) -> float:
    array = np.asarray(x)
    if array.dtype.kind != "f":
        return 0.0
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))


def _first_difference(result: Any, expected: Any, scale: float) -> tuple[int, ...] | None:
    """Where two arrays first differ by more than rounding; None where they do not."""
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return ()
    if expected.dtype.name not in ROUNDING:
        same = result == expected
    else:
        with np.errstate(all="ignore"):
            close = np.abs(result - expected) <= ROUNDING[expected.dtype.name] * scale
        same = close | (result == expected) | ((result != result) & (expected != expected))
    return None if np.all(same) else tuple(int(i) for i in np.argwhere(~np.asarray(same))[0])
