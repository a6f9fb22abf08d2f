"""Staged code of arrays, for whatever shapes come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from circuitflow.engines.batches import Batched, Inseparable
from circuitflow.engines.buffers import compiled
from circuitflow.engines.derived import Derived
from circuitflow.engines.program import program
from circuitflow.engines.selection import with_products

_LOG = logging.getLogger("circuitflow")


class Arrays:
    """A question to a circuit of arrays; staged once for each combination of shapes that is asked of it.

    A large batch is gone through in blocks, where its rows allow it.
    """

    LIMIT = 32
    """So many combinations are kept."""

    def __init__(self, derived: Derived) -> None:
        self.derived = derived
        self.made: dict[Any, Callable[..., Any]] = {}

    def __call__(self, **given: Any) -> Any:
        """Values and gradients."""
        derived = self.derived
        arrays = derived.bind(given)
        key = tuple(array.shape for array in arrays.values())
        run = self.made.get(key)
        if run is None:
            if len(self.made) >= self.LIMIT:
                self.made.pop(next(iter(self.made)), None)
            run = self.made[key] = self._stage(arrays)
        found = run(arrays)
        if found is None:  # a gate refuses an operand, and the interpreter says why
            return derived.interpret(given)
        values = dict(zip(derived.values, found, strict=False))
        return derived.packed(values), dict(zip(derived.gradients, found[len(values) :], strict=True))

    def _stage(self, arrays: Mapping[str, Any]) -> Callable[..., Any]:
        derived = self.derived
        try:
            return Batched(derived, arrays)
        except Inseparable as reason:
            _LOG.debug("not in blocks: %s", reason)
        stages = with_products(program(derived.plan, arrays, derived.circuit.values))
        return compiled(stages, [stages.outputs[ref] for ref in (*derived.values.values(),
                                                                *derived.gradients.values())])
