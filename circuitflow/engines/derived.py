"""What an engine is asked for: the outputs of a circuit and its gradients, as one circuit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from circuitflow.errors import printable
from circuitflow.executor.arrays import Library
from circuitflow.executor.binding import bind, concrete, upstream_gradients
from circuitflow.executor.interpreter import Interpreter
from circuitflow.executor.plan import Plan, make_plan
from circuitflow.executor.structure import structure
from circuitflow.gates import ArrayType
from circuitflow.transforms.derivatives import reverse


class Derived:
    """A question to a circuit, and the gradient document that answers it.

    Attributes:
        primal: the circuit that is asked.
        circuit: the circuit of its values and gradients.
        inputs: the inputs and parameters of the primal, and inputs for upstream gradients, by the name that they are
            given by; and what the circuit calls them.
        values: the outputs asked for, by reference; and what the circuit calls them.
        gradients: the gradients asked for, likewise.
    """

    def __init__(self, interpreter: Interpreter, of: Sequence[str] | None, wrt: Sequence[str] | None) -> None:
        self.interpreter, self.primal, self.of, self.wrt = interpreter, interpreter.circuit, of, wrt
        self.asked = interpreter.plan(of, wrt)
        if not self.asked.wrt:
            self.circuit = self.primal
            self.values: Mapping[str, str] = {text: text for text in self.asked.of}
            self.gradients: Mapping[str, str] = {}
            self.inputs = {name: name for name, node in self.primal.nodes.items() if node.kind in _GIVEN}
            self._upstream: Mapping[str, str] = {}
        else:
            found = reverse(self.primal, of, wrt, values=True)
            self.circuit, self.values, self.gradients = found.circuit, found.values, found.gradients
            self._upstream = found.upstream
            self.inputs = {**found.sources, **{name: name for name in found.upstream.values()}}

    @cached_property
    def plan(self) -> Plan:
        """The schedule of values and gradients, as a forward pass."""
        return make_plan(self.circuit, [*self.values.values(), *self.gradients.values()], (), structure)

    def type_of(self, name: str) -> ArrayType:
        """Shape and dtype of an input, by the name that it is given by."""
        return self.circuit.nodes[self.inputs[name]].types[0]

    def default(self, name: str) -> Any:
        """The document's value of an input, or None."""
        return self.circuit.values.get(self.inputs[name])

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """An array for every input that is needed, by what the circuit calls it.

        Raises:
            InputError: an unknown name, a missing value, a wrong shape or dtype.
        """
        inputs, upstream = self._parted(given)
        library = Library.of({f"'{printable(name, 60)}'": value for name, value in given.items()})
        bound = bind(self.primal, self.asked, library, inputs)
        arrays = {self.inputs[name]: array for name, array in bound.arrays.items() if name in self.inputs}
        if self._upstream:
            seeds = upstream_gradients(self.primal, self.asked, library, bound.sizes, upstream, explicit=False)
            for text, id_ in self._upstream.items():
                # Outputs that are the same node have one gradient between them.
                arrays[id_] = seeds.pop(self.asked.of[text], None)
                if arrays[id_] is None:
                    arrays[id_] = np.zeros(self.shape(id_, bound.sizes), self.circuit.nodes[id_].types[0].dtype)
        return {id_: array for id_, array in arrays.items() if id_ in self.plan.sources}

    def shape(self, id_: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a source for given sizes of the named dimensions."""
        return concrete(self.circuit.nodes[id_].types[0], sizes)

    def interpret(self, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The answer of the reference interpreter: value and gradients.

        Raises:
            InputError: as `Interpreter.run`.
        """
        inputs, upstream = self._parted(given)
        if not self.gradients:
            return self.packed(self.interpreter.forward(inputs, of=self.of).outputs), {}
        result = self.interpreter.run(inputs, of=self.of, wrt=self.wrt, upstream=upstream)
        return self.packed(result.outputs), {name: result.gradients[name] for name in self.gradients}

    @staticmethod
    def packed(outputs: Mapping[str, Any]) -> Any:
        """The output, or where there are several all of them by reference."""
        return next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)

    def _parted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values of inputs, and upstream gradients by output."""
        upstream = {id_: text for text, id_ in self._upstream.items()}
        return ({name: value for name, value in given.items() if name not in upstream},
                {upstream[name]: value for name, value in given.items() if name in upstream})


_GIVEN = ("input", "parameter")
