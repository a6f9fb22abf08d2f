"""Staged code on arrays of any shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from circuitflow.engines.contract import Backed
from circuitflow.engines.program.fusing import branch_free
from circuitflow.engines.program.program import trace_program
from circuitflow.engines.program.trace import Inseparable
from circuitflow.engines.staged.blocks import Blocks, Refused
from circuitflow.engines.staged.buffers import ArrayCode
from circuitflow.engines.staged.derived import Derived, OfDerived
from circuitflow.engines.staged.loops import with_loops
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.interpreter.binding import Bound
from circuitflow.interpreter.question import Answer, Question

_LOG = logging.getLogger("circuitflow")


class Arrays(OfDerived, Backed):
    """Answers a question to a circuit of arrays with code that is made once for each combination of shapes.

    A large batch runs in blocks where its rows are independent or summed.
    """

    way = "staged, on arrays"
    raises = (Refused, GateError, InputError)

    KEPT = 32
    """Number of combinations of shapes that are kept."""

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None) -> None:
        """Write the gradient circuit; errors are those of `Derived`."""
        super().__init__(question, thresholds, derived)
        self._codes: dict[Any, Callable[[Mapping[str, Any]], list[Any]]] = {}
        self._lock = Lock()

    def run(self, bound: Bound, seeds: Mapping[int, Any]) -> Answer:
        arrays = self.derived.arrays(bound, seeds)
        key = tuple(array.shape for array in arrays.values())
        staged = self._codes.get(key)
        if staged is None:
            staged = self._stage(arrays)
            with self._lock:
                if len(self._codes) >= self.KEPT:
                    del self._codes[next(iter(self._codes))]
                self._codes[key] = staged
        results, count = staged(arrays), len(self.question.plan.of)
        return results[:count], results[count:]

    def _stage(self, arrays: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
        derived = self.derived
        try:
            return Blocks(derived, arrays, self.thresholds)
        except Inseparable as reason:
            _LOG.debug("not in blocks: %s", reason)
        stages = trace_program(derived.plan, arrays, derived.circuit.values,
                               rule_of=with_loops(self.thresholds.selected_size))
        return ArrayCode(branch_free(stages.with_outputs(derived.results), self.thresholds.selected_size))
