"""Derivatives of circuits, as circuits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from circuitflow.graph.circuit import Circuit
from circuitflow.transforms.derivation import Derivation, References
from circuitflow.transforms.wires import Wire


def gradient(circuit: Circuit, of: References = None, wrt: References = None, *, values: bool = False) -> Circuit:
    """The gradient of a circuit as a circuit: the forward part that it needs, and the reverse sweep as gates.

    Nodes of the primal keep their ids; the gradient on `q` is called `dq`, with a number if that is taken. Inputs and
    parameters of the primal are those of the gradient. An output that is no scalar adds the input `df`, the upstream
    gradient on it, with the document's as its default; several outputs are differentiated together, as their sum
    weighted by their upstream gradients. A subcircuit's gradient is a subcircuit.

    Args:
        circuit: the primal.
        of: the outputs to differentiate; all of the document's by default.
        wrt: the nodes to differentiate by; all floating-point inputs and parameters that an output needs by default.
        values: whether the outputs of the primal come first among the outputs.

    Returns:
        A circuit whose outputs are the gradients, in the order of `wrt`, in the shape and dtype of what they belong to.

    Raises:
        InputError: an unknown node, one that has no gradient, or one that lies inside a call.
    """
    derivation = Derivation(circuit, of, wrt)
    written = circuit.document.model_dump(mode="python", include={"upstream"}, exclude_unset=True).get("upstream") or {}
    seeds = {}
    for text, wire in derivation.outputs().items():
        if not wire.type.is_float:
            continue
        if text in written or wire.shape:
            value = {"value": written[text]} if text in written else {}
            seeds[text] = derivation.seed(f"d{text}", wire.type, f"upstream gradient on {text}", **value)
        else:
            seeds[text] = derivation.writer.constant(1.0, wire.dtype)
    return _reverse(derivation, seeds, values=values).circuit


def vjp(circuit: Circuit, of: References = None, wrt: References = None, *, values: bool = False) -> Circuit:
    """The vector-Jacobian product as a circuit.

    As `gradient`, with the upstream gradient on every output `f` an input `df` without a default.
    """
    return _vjp(circuit, of, wrt, values=values).circuit


def jvp(circuit: Circuit, of: References = None, wrt: References = None, *, values: bool = False) -> Circuit:
    """The Jacobian-vector product as a circuit: forward mode.

    It has an input `x_dot` for every `x` in `wrt`, the tangent along which is differentiated, and its outputs are the
    derivatives `f_dot` of the outputs along it. The vector-Jacobian product is linear in the upstream gradient, so its
    own vector-Jacobian product is the transpose of the transpose: the same rules, run twice, give the tangents in the
    order of the forward pass (Christianson 1992, "Automatic Hessians by reverse accumulation").

    Args:
        circuit: the primal.
        of: the outputs to differentiate; all of the document's by default.
        wrt: the nodes that move; all floating-point inputs and parameters that an output needs by default.
        values: whether the outputs of the primal come first among the outputs.

    Raises:
        InputError: an unknown node, one that has no gradient, or one that lies inside a call.
    """
    reverse = _vjp(circuit, of, wrt, values=True)
    upstream = reverse.upstream
    derivation = Derivation(reverse.circuit, [*reverse.values.values(), *reverse.gradients.values()],
                            list(upstream.values()))
    outputs = derivation.outputs()
    seeds = {gradient: derivation.seed(f"{name}_dot", outputs[gradient].type, f"tangent of {name}")
             for name, gradient in reverse.gradients.items()}
    tangent_of = {gradient: name for name, gradient in reverse.labels.items()}
    gradients = derivation.sweep(seeds)
    asked = derivation.asked(gradients)
    called = derivation.named(gradients, asked, lambda name: f"{tangent_of[name]}_dot" if name in tangent_of else None)
    primal = {text: outputs[reference] for text, reference in reverse.values.items()}
    tangents = {text: called[name] for text, name in upstream.items()}
    for text, wire in primal.items():
        if text not in tangents:  # it does not depend on what moves
            tangents[text] = derivation.zeros(wire, f"{text}_dot")
    derivation.hollow({name: primal[text] for text, name in upstream.items()})
    return derivation.finish([*(primal.values() if values else ()), *(tangents[text] for text in primal)],
                             f"jvp_of_{circuit.name}", f"the tangent of {', '.join(primal)} along that of "
                             f"{', '.join(reverse.gradients)}", without=upstream.values())


def hvp(circuit: Circuit, of: References = None, wrt: References = None) -> Circuit:
    """The Hessian-vector product as a circuit: forward mode over reverse mode, a small multiple of the value's cost.

    It has an input `x_dot` for every `x` in `wrt`, and the output `dx_dot`: rows x of the Hessian times the vector.
    Arguments and errors are those of `gradient`.
    """
    first = Derivation(circuit, of, wrt)
    return jvp(gradient(circuit, of, wrt), wrt=[first.sources[name].reference if name in first.sources else name
                                                for name in first.plan.wrt])


class _Reverse(NamedTuple):
    """A reverse sweep as a circuit, and what its nodes are called.

    Attributes:
        circuit: outputs are those of the primal, if they were asked for, and the gradients.
        values: the outputs of the primal, by how the primal calls them.
        upstream: the inputs for upstream gradients, by output of the primal.
        gradients: the outputs, by what is differentiated by.
        labels: the gradient on a node, for every node that has one of its own.
    """

    circuit: Circuit
    values: Mapping[str, str]
    upstream: Mapping[str, str]
    gradients: Mapping[str, str]
    labels: Mapping[str, str]


def _vjp(circuit: Circuit, of: References, wrt: References, *, values: bool) -> _Reverse:
    derivation = Derivation(circuit, of, wrt)
    seeds = {text: derivation.seed(f"d{text}", wire.type, f"upstream gradient on {text}")
             for text, wire in derivation.outputs().items() if wire.type.is_float}
    return _reverse(derivation, seeds, values=values)


def _reverse(derivation: Derivation, seeds: Mapping[str, Wire], *, values: bool) -> _Reverse:
    gradients = derivation.sweep(seeds)
    called = derivation.named(gradients, derivation.asked(gradients), lambda name: f"d{name}")
    primal = derivation.outputs() if values else {}
    of, by = ", ".join(derivation.plan.of), ", ".join(derivation.plan.wrt)
    circuit = derivation.finish([*primal.values(), *called.values()], f"gradient_of_{derivation.circuit.name}",
                                f"the gradient of {of} with respect to {by}")
    named: dict[str, Any] = {name: gradients[slot] for slot, name in enumerate(derivation.plan.names)}
    return _Reverse(circuit, {text: wire.reference for text, wire in primal.items()},
                    {text: wire.reference for text, wire in seeds.items() if wire.record.gate == "input"},
                    {name: wire.reference for name, wire in called.items()},
                    {name: wire.reference for name, wire in named.items() if wire is not None} |
                    {text: wire.reference for text, wire in seeds.items()})
