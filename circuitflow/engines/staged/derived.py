"""The gradient circuit of a question, from which straight-line code is made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np

from circuitflow.engines.contract import CompiledFunction
from circuitflow.engines.program.program import Program, trace_program
from circuitflow.engines.program.trace import Inseparable
from circuitflow.engines.thresholds import Thresholds
from circuitflow.errors import GateError
from circuitflow.gates import GATES, ArrayType
from circuitflow.gates.shapes import Shape
from circuitflow.interpreter.binding import Bound, concrete
from circuitflow.interpreter.plan import make_plan
from circuitflow.interpreter.question import Question
from circuitflow.interpreter.units import unit_gate
from circuitflow.text import few
from circuitflow.transforms.derivatives import Reverse, reverse


class Derived:
    """A question, and the gradient circuit that answers it.

    Attributes:
        question: the question.
        circuit: the circuit of values and gradients; the primal where the question has no gradient.
        plan: its schedule, as a forward pass. Its sources are among those of the question, and upstream gradients.
        inputs: id of an input or parameter → id in the gradient circuit.
        upstream: output → input for its upstream gradient. A scalar output has none unless the document gives one, or
            `seeded` asks for it.
        values: output → id in the gradient circuit.
        gradients: node → id of the gradient on it.
        seeded: whether every output has an input for its upstream gradient.
    """

    def __init__(self, question: Question, *, seeded: bool = False) -> None:
        """Write the gradient circuit; `seeded` gives every output an input for its upstream gradient, scalars too.

        Raises:
            GateError: a rule cannot be written down for sizes that are not known.
            InputError: a row of the gate table stands in the way; see `gradient`.
        """
        self.question, primal, self.plan, self.seeded = question, question.circuit, question.plan, seeded
        if self.plan.wrt:
            gradient = reverse(primal, question.of, question.wrt, values=True, seeded=seeded)
            results = [*gradient.values.values(), *gradient.gradients.values()]
            self.plan = make_plan(gradient.circuit, results, (), unit_gate)
        else:
            sources = {name: name for name, node in primal.nodes.items() if node.is_argument}
            gradient = Reverse(primal, sources, {text: text for text in self.plan.of}, {}, {}, (), {})
        self.circuit, self.values, self.gradients = gradient.circuit, gradient.values, gradient.gradients
        self.inputs, self.upstream = gradient.sources, gradient.upstream

    @classmethod
    def taking(cls, question: Question, upstream: Mapping[str, Any]) -> Self:
        """One with an input for each of these upstream gradients; scalars have one only where that is needed.

        Raises:
            GateError, InputError: as for the constructor.
        """
        derived = cls(question)
        return derived if derived.takes(upstream) else cls(question, seeded=True)

    def takes(self, upstream: Mapping[str, Any]) -> bool:
        """Whether there is an input for every one of these upstream gradients that is differentiated through."""
        active, of = self.question.plan.active, self.question.plan.of
        return all(text in self.upstream or not active[of[text]] for text in upstream)

    def named_program(self, arrays: Mapping[str, Any], shapes: Mapping[str, Shape]) -> Program:
        """The stages, with the conditions under which rules refuse operands, for sizes that stay names.

        Only rules of built-in gates are written down for sizes without a number: they compare a size with 0 and 1
        alone. Those of other rows may do anything with one, and are `Inseparable`.

        Raises:
            Inseparable: a rule needs a number for a size, a gate refuses operands like these, or a row is a program's
                own.
        """
        own = [name for name, row in self.circuit.gates.items() if row is not GATES.get(name)]
        if own:
            raise Inseparable(f"the gate table has rows of its own: {', '.join(few(own))}")
        try:
            return trace_program(self.plan, arrays, self.circuit.values, checked=True, shapes=shapes)
        except GateError as error:
            raise Inseparable(str(error)) from None

    def arrays(self, bound: Bound, seeds: Mapping[int, Any]) -> dict[str, Any]:
        """An array for every source except constants, by its id in the gradient circuit."""
        arrays = {self.inputs[name]: array for name, array in bound.arrays.items() if name in self.inputs}
        rest = dict(seeds)
        for text, id_ in self.upstream.items():
            # Outputs that are the same node have one gradient between them.
            seed = rest.pop(self.question.plan.of[text], None)
            if seed is None:
                type_ = self.circuit.nodes[id_].types[0]
                seed = np.zeros(concrete(type_, bound.sizes), type_.dtype)
            arrays[id_] = seed
        return {name: arrays[name] for name in self.plan.sources if name in arrays}

    def zeros(self) -> dict[str, Any]:
        """A number for every source except constants, of a circuit of scalars."""
        nodes = self.circuit.nodes
        return {name: np.zeros((), nodes[name].types[0].dtype)[()] for name in self.plan.sources
                if nodes[name].kind != "constant"}

    def type_of(self, id_: str) -> ArrayType:
        """Shape and dtype of a source, by its id in the gradient circuit."""
        return self.circuit.nodes[id_].types[0]

    @property
    def results(self) -> list[str]:
        """Ids of the outputs, then of the gradients."""
        return [*self.values.values(), *self.gradients.values()]


class OfDerived(CompiledFunction):
    """A function whose code is made from the gradient circuit.

    Attributes:
        derived: the gradient circuit.
    """

    def __init__(self, question: Question, thresholds: Thresholds, derived: Derived | None = None) -> None:
        """Write the gradient circuit, unless it is there already; errors are those of `Derived`."""
        super().__init__(question, thresholds)
        self.derived = derived or Derived(question)

    def taking(self, upstream: Mapping[str, Any]) -> Self:
        return self if self.derived.takes(upstream) else self._seeded

    @cached_property
    def _seeded(self) -> Self:
        """The same with an upstream gradient on every output."""
        return type(self)(self.question, self.thresholds, Derived(self.question, seeded=True), **self.options)
