"""Functions of more derivatives: all of the first, and the second along a direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from circuitflow.engines.flat.functions import Builder, Function, Result
from circuitflow.engines.flat.signature import Argument, Signature
from circuitflow.engines.staged.derived import Derived
from circuitflow.gates import ArrayType
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.binding import concrete
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.question import Question
from circuitflow.transforms.derivatives import jacobian, jvp, reverse


class Higher(NamedTuple):
    """A circuit of derivatives that is a function of its own.

    Attributes:
        name: that of the function.
        derived: the circuit, to be run forward.
        keys: for its inputs, the keys of members in the structs that the function takes.
        results: for the members of the struct that it fills in, ids of the circuit.
        gives: what that struct is called.
        tangents: the inputs that are a direction: of which node, by id.
    """

    name: str
    derived: Derived
    keys: Mapping[str, str]
    results: Mapping[str, str]
    gives: str
    tangents: Mapping[str, str]

    def function(self, builder: Builder, signature: Signature) -> Function:
        """Lower it; errors are those of `Builder.function`."""
        nodes, moving = self.derived.circuit.nodes, builder.struct("tangents")
        arrays = {}
        for id_ in self.keys:
            type_ = nodes[id_].types[0]
            arrays[id_] = np.zeros(concrete(type_, signature.sizes), type_.dtype)
            if id_ in self.tangents:
                argument = Argument(id_, "", "", ArrayType(arrays[id_].shape, type_.dtype), None)
                builder.add_to(moving, argument, self.tangents[id_])
        arrays = {id_: x for id_, x in arrays.items() if id_ in self.derived.plan.sources}
        gives = builder.struct(self.gives)
        program = builder.program(self.derived, arrays)
        return builder.function(self.name, self.derived, program, self.keys, [
            Result(gives, key, id_) for key, id_ in self.results.items()], [moving] if self.tangents else [])

    def numbers(self, arguments: Mapping[str, Any]) -> list[Any]:
        """The results by the interpreter, for members of what the function takes by key.

        Raises:
            GateError: a gate could not be applied to the values that reached it.
        """
        given = {id_: np.asarray(arguments[key], self.derived.type_of(id_).dtype) for id_, key in self.keys.items()}
        outputs = self.derived.question.interpreter.forward(given).outputs
        return [outputs[id_] for id_ in self.results.values()]


def _forward(circuit: Circuit) -> Derived:
    return Derived(Question(Interpreter(circuit), None, ()))


def _jacobian(derived: Derived) -> Higher:
    """The derivative of every output by every node; its shape is that of the one, then that of the other."""
    question = derived.question
    of = [text for text, type_ in question.plan.outputs.items() if type_.is_float]
    made = _forward(jacobian(question.circuit, of, [*question.plan.wrt]))
    keys = {id_: derived.inputs[id_] for id_ in made.plan.sources if id_ in derived.inputs}
    return Higher("jacobian", made, keys, made.values, "derivatives", {})


def _hvp(derived: Derived) -> Higher:
    """How the gradients change along a direction."""
    question = derived.question
    first = reverse(question.circuit, question.of, question.wrt, values=False, seeded=derived.seeded, again=True)
    circuit = jvp(first.circuit, wrt=first.by)
    made, by = _forward(circuit), list(dict.fromkeys(first.by))
    moving = [name for name, node in circuit.nodes.items() if node.is_argument and name not in first.circuit.nodes]
    keys = {id_: derived.inputs[name] for name, id_ in first.sources.items()}
    keys |= {id_: derived.upstream[text] for text, id_ in first.upstream.items()}
    keys = {id_: key for id_, key in keys.items() if id_ in made.plan.sources} | {id_: id_ for id_ in moving}
    outputs = dict(zip(dict.fromkeys(first.gradients.values()), made.values.values(), strict=True))
    return Higher("hvp", made, keys, {name: outputs[id_] for name, id_ in first.gradients.items()}, "products",
                  dict(zip(moving, by, strict=True)))


HIGHER: Mapping[str, Callable[[Derived], Higher]] = {"jacobian": _jacobian, "hvp": _hvp}
"""What makes the circuit of a function, by the function's name."""
