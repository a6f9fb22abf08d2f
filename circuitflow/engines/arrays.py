"""Staged code of arrays, for whatever shapes come."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from threading import Lock
from typing import Any

from circuitflow.engines.blocks import Blocks
from circuitflow.engines.buffers import Compiled
from circuitflow.engines.derived import Derived
from circuitflow.engines.engine import Engine, is_numpy
from circuitflow.engines.program import program
from circuitflow.engines.selection import with_products
from circuitflow.engines.thresholds import Thresholds
from circuitflow.engines.trace import Inseparable
from circuitflow.executor.question import Answer, Question

_LOG = logging.getLogger("circuitflow")


class Arrays(Engine):
    """A question to a circuit of arrays; staged once for each combination of shapes that is asked of it.

    A large batch is gone through in blocks, where its rows allow it. Where a gate refuses an operand the interpreter
    says why.
    """

    way = "staged, on arrays"

    KEPT = 32
    """Number of combinations of shapes that are kept."""

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None) -> None:
        """Write the gradient circuit; errors are those of `Derived`."""
        super().__init__(question, thresholds)
        self._derived = derived or Derived(question)
        self._made: dict[Any, Callable[[Mapping[str, Any]], list[Any]]] = {}
        self._lock = Lock()

    @cached_property
    def _seeded(self) -> Arrays | None:
        """The same with an upstream gradient on every output; None where it cannot be written."""
        derived = self._derived.seeded
        return None if derived is None else Arrays(self.question, self.thresholds, derived)

    def answer(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> Answer:
        bound, seeds = self.question.bind(inputs, upstream)
        engine = self if self._derived.takes(upstream) else self._seeded
        if engine is None or not is_numpy(bound):
            return self.question.interpret(bound, seeds)
        try:
            found = engine._run(engine._derived.arrays(bound, seeds))
        except Exception as error:
            answer = self.question.interpret(bound, seeds)  # which says what a gate refuses
            warnings.warn(f"staged code failed where the interpreter did not ({type(error).__name__}: {error}); the "
                          "answer is the interpreter's", RuntimeWarning, stacklevel=3)
            return answer
        count = len(self.question.plan.of)
        return found[:count], found[count:]

    def _run(self, arrays: Mapping[str, Any]) -> list[Any]:
        key = tuple(array.shape for array in arrays.values())
        run = self._made.get(key)
        if run is None:
            run = self._stage(arrays)
            with self._lock:
                if len(self._made) >= self.KEPT:
                    del self._made[next(iter(self._made))]
                self._made[key] = run
        return run(arrays)

    def _stage(self, arrays: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
        derived = self._derived
        try:
            return Blocks(derived, arrays, self.thresholds)
        except Inseparable as reason:
            _LOG.debug("not in blocks: %s", reason)
        stages = program(derived.plan, arrays, derived.circuit.values)
        results = {str(i): stages.outputs[reference] for i, reference in enumerate(derived.results)}
        return Compiled(with_products(stages.with_outputs(results), self.thresholds.selected_size), self.thresholds)
