"""Runs a circuit over a block of data, on any engine: by rows at once, row after row, or as a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from circuitflow.executor import Executor
from circuitflow.fitting.data import Block, Data
from circuitflow.graph.circuit import Circuit

Answers = tuple[list[Any], list[Any]]
"""Outputs, and gradients, in the order of the question; over rows each has the rows as its first axis."""


class Evaluation:
    """One question to a circuit, asked of every block.

    Attributes:
        circuit: the circuit.
        over_rows: whether answers have the rows of the block as their first axis.
    """

    def __init__(self, circuit: Circuit, of: Sequence[str], wrt: Sequence[str], data: Data, engine: str) -> None:
        """Compile the question for an engine.

        Raises:
            InputError: an unknown engine, or one that does not take the circuit.
        """
        self.circuit = circuit
        self._of, self._wrt, self._data = list(of), list(wrt), data
        self.over_rows = data.over_rows
        executor = Executor(circuit)
        scalar = all(node.types[0].shape == () and node.types[0].dtype in ("float64", "bool") and not node.outputs
                     for node in circuit.nodes.values())
        self._at_once = self.over_rows and (engine == "jax" or (scalar and engine != "interpreter"))
        make = executor.vmap if self._at_once else executor.compile
        self._run: Callable[..., tuple[Any, dict[str, Any]]] = make(of, wrt, engine=engine)

    def __call__(self, block: Block, values: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> Answers:
        """The answers for a block, as arrays of NumPy.

        Args:
            block: the block.
            values: of parameters and of other inputs that are the same in every row.
            more: columns besides those of the data.
        """
        columns = {**block.columns, **(more or {})}
        inputs = {name: value for name, value in {**self._data.fixed, **columns, **values}.items()
                  if name in self.circuit.nodes}
        columns = {name: value for name, value in columns.items() if name in inputs}
        if self._at_once or not self.over_rows:
            return self._answers(inputs)
        rows = [self._answers({**inputs, **{name: inputs[name][row] for name in columns}})
                for row in range(block.rows)]
        outputs, gradients = zip(*rows, strict=True)
        return [np.stack(x) for x in zip(*outputs, strict=True)], [np.stack(x) for x in zip(*gradients, strict=True)]

    def _answers(self, inputs: Mapping[str, Any]) -> Answers:
        outputs, gradients = self._run(inputs)
        found = [outputs] if len(self._of) == 1 else [outputs[text] for text in self._of]
        return [np.asarray(x) for x in found], [np.asarray(gradients[text]) for text in self._wrt]
