"""Staged code on arrays of any shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np

from circuitflow.engines.contract import Backed
from circuitflow.engines.program.functions import is_named
from circuitflow.engines.program.fusing import branch_free
from circuitflow.engines.program.program import trace_program
from circuitflow.engines.program.trace import Inseparable, Value
from circuitflow.engines.staged.blocks import Blocks, Refused, rows_of_block
from circuitflow.engines.staged.buffers import ArrayCode
from circuitflow.engines.staged.derived import Derived, OfDerived
from circuitflow.engines.staged.loops import with_loops
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError, InputError
from circuitflow.gates.shapes import Size
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
        code = self._codes.get(key)
        if code is None:
            code = self._stage(arrays)
            with self._lock:
                if len(self._codes) >= self.KEPT:
                    del self._codes[next(iter(self._codes))]
                self._codes[key] = code
        results, count = code(arrays), len(self.question.plan.of)
        return results[:count], results[count:]

    def _stage(self, arrays: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
        derived = self.derived
        try:
            return batch_code(derived, arrays, self.thresholds)
        except Inseparable as reason:
            _LOG.debug("not in blocks: %s", reason)
        stages = trace_program(derived.plan, arrays, derived.circuit.values,
                               rule_of=with_loops(self.thresholds.selected_size))
        code = ArrayCode(branch_free(stages.with_outputs(derived.results), self.thresholds.selected_size))
        return lambda arrays: [*code(arrays).values()]


def batch_code(derived: Derived, arrays: Mapping[str, Any], thresholds: Thresholds) -> Blocks:
    """Code that takes a large batch in blocks.

    Raises:
        Inseparable: rows depend on one another, there is no batch, or it is small, or a gate refuses an operand.
    """
    name, sizes = _batch(derived, arrays)
    rows = sizes.pop(name)
    if rows < max(2, thresholds.blocks * thresholds.block_rows):  # rules tell sizes of 0 and 1 from others
        raise Inseparable("a small batch")
    shapes = {id_: tuple(size.substitute(sizes) if isinstance(size, Size) else size
                         for size in derived.type_of(id_).shape) for id_ in arrays}
    stages = derived.named_program(arrays, {id_: shape for id_, shape in shapes.items() if is_named(shape)})
    if any(np.any(check.outside) for _, check in stages.checks if not isinstance(check.outside, Value)):
        raise Inseparable("a gate refuses an operand")
    stages = branch_free(stages, thresholds.selected_size)
    block = rows_of_block(stages, thresholds, thresholds.block_rows)
    if rows < thresholds.blocks * block:
        raise Inseparable("a small batch")
    return Blocks(stages.with_outputs(derived.results), block)


def _batch(derived: Derived, arrays: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    """The name of the one leading dimension of sources, and the sizes of all names.

    Raises:
        Inseparable: there is none, or there are several.
    """
    sizes: dict[str, int] = {}
    leading: set[str] = set()
    for name, array in arrays.items():
        for i, (size, number) in enumerate(zip(derived.type_of(name).shape, array.shape, strict=True)):
            if isinstance(size, Size):
                sizes[str(size)] = number
                if i == 0:
                    leading.add(str(size))
    if len(leading) != 1:
        raise Inseparable("no batch, or several")
    return leading.pop(), sizes
