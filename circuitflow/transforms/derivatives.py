"""Derivatives of circuits, as circuits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from circuitflow.arguments import checked
from circuitflow.errors import InputError
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import promote
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.text import printable
from circuitflow.transforms.derivation import Derivation, References
from circuitflow.transforms.naming import Names, close_over
from circuitflow.transforms.writer import Wire, Writer


@checked
@collector_paused()
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
    return reverse(circuit, of, wrt, values=values).circuit


@checked
@collector_paused()
def vjp(circuit: Circuit, of: References = None, wrt: References = None, *, values: bool = False) -> Circuit:
    """The vector-Jacobian product as a circuit.

    As `gradient`, with the upstream gradient on every output `f` an input `df` without a default.
    """
    return reverse(circuit, of, wrt, values=values, seeded=True).circuit


@checked
@collector_paused()
def jvp(circuit: Circuit, of: References = None, wrt: References = None, *, values: bool = False) -> Circuit:
    """The Jacobian-vector product as a circuit: forward mode.

    It has an input `x_dot` for every `x` in `wrt`, the tangent along which is differentiated, and its outputs are the
    derivatives `f_dot` of the floating-point outputs along it. The vector-Jacobian product is linear in the upstream
    gradient, so its own vector-Jacobian product is the transpose of the transpose: the same rules, run twice, give the
    tangents in the order of the forward pass (Townsend 2017, "A new trick for calculating Jacobian vector products").

    Args:
        circuit: the primal.
        of: the outputs to differentiate; all of the document's by default.
        wrt: the nodes that move; all floating-point inputs and parameters that an output needs by default.
        values: whether the outputs of the primal come first among the outputs.

    Raises:
        InputError: an unknown node, one that has no gradient, or one that lies inside a call.
    """
    first = reverse(circuit, of, wrt, values=True, seeded=True)
    upstream = first.upstream
    derivation = Derivation(first.circuit, [*first.values.values(), *first.gradients.values()],
                            list(upstream.values()))
    outputs = derivation.outputs()
    seeds = {gradient: derivation.seed(f"{name}_dot", outputs[gradient].type, f"tangent of {name}")
             for name, gradient in first.gradients.items()}
    tangent_of = {gradient: name for name, gradient in first.labels.items()}
    gradients = derivation.sweep(seeds)
    requested = derivation.requested(gradients)
    tangents = derivation.name_gradients(gradients, requested,
                                         lambda name: f"{tangent_of[name]}_dot" if name in tangent_of else None,
                                         "tangent on")
    primal = {text: outputs[reference] for text, reference in first.values.items()}
    derivation.hollow({name: primal[text] for text, name in upstream.items()})
    return derivation.finish([*(primal.values() if values else ()), *tangents.values()],
                             f"jvp_of_{circuit.name}", f"the tangent of {', '.join(primal)} along that of "
                             f"{', '.join(first.gradients)}", without=upstream.values())


@checked
@collector_paused()
def hvp(circuit: Circuit, of: References = None, wrt: References = None) -> Circuit:
    """The Hessian-vector product as a circuit: forward mode over reverse mode, a small multiple of the value's cost.

    It has an input `x_dot` for every `x` in `wrt`, and the output `dx_dot`: rows x of the Hessian times the vector.
    Arguments and errors are those of `gradient`.
    """
    first = reverse(circuit, of, wrt, values=False, again=True)
    return jvp(first.circuit, wrt=first.by)


@checked
@collector_paused()
def jacobian(circuit: Circuit, of: References = None, wrt: References = None) -> Circuit:
    """The Jacobian as a circuit: a row for every element of an output, by a reverse sweep.

    The derivative of the output `f` by `x` is called `df_dx` and has the shape of f followed by that of x. The sweeps
    of an output that is no scalar are one scan over the rows of the identity; what the rows share is computed once.
    Arguments and errors are those of `gradient`.
    """
    return _jacobian(circuit, of, wrt, "Jacobian", f"jacobian_of_{circuit.name}")


def _jacobian(circuit: Circuit, of: References, wrt: References, what: str, title: str) -> Circuit:
    derivation = Derivation(circuit, of, wrt)
    floats = {text: wire for text, wire in derivation.outputs().items() if wire.type.is_float}
    if (blocks := len(floats) * len(derivation.plan.wrt)) > circuit.limits.nodes:
        raise InputError(f"the {what} has {blocks} blocks, one for each of {len(floats)} by each of "
                         f"{len(derivation.plan.wrt)}; at most {circuit.limits.nodes} are allowed (limit nodes); name "
                         "fewer to differentiate by, or take its product with a vector (jvp, hvp)")
    outputs = {}
    for text, wire in floats.items():
        for name, block in (_row if wire.shape == () else _rows)(derivation, text, wire).items():
            outputs[text, name] = derivation.with_name(block, f"d{text}_d{name}")
    if not outputs:
        raise InputError(f"circuit '{printable(circuit.name, 60)}' has no floating-point output to differentiate")
    return derivation.finish(outputs.values(), title, f"the derivatives of {', '.join(derivation.plan.of)} by "
                                                      f"{', '.join(derivation.plan.wrt)}")


@checked
@collector_paused()
def hessian(circuit: Circuit, of: References = None, wrt: References = None) -> Circuit:
    """The Hessian as a circuit: the Jacobian of the gradient.

    The derivative of the gradient on `x` by `y` is called `ddx_dy` and has the shape of x followed by that of y. A
    product with a vector is far cheaper: see `hvp`. Arguments and errors are those of `gradient`.
    """
    first = reverse(circuit, of, wrt, values=False, again=True)
    return _jacobian(first.circuit, None, first.by, "Hessian", f"hessian_of_{circuit.name}")


def _row(derivation: Derivation, text: str, wire: Wire) -> dict[str, Wire]:
    """The derivatives of a scalar."""
    return derivation.requested(derivation.sweep({text: derivation.writer.constant(1.0, wire.dtype)}))


def _rows(derivation: Derivation, text: str, wire: Wire) -> dict[str, Wire]:
    """The derivatives of an array, one row of the identity after the other."""
    writer, subcircuits = derivation.writer, derivation.subcircuits
    flat = writer.reshape(wire, shape=[-1])
    identity = writer.reshape_like(writer.eye_like(_outer(writer, flat, flat)), _outer(writer, flat, wire))
    seed = writer.port("row", wire.type)
    rows: dict[str, Wire] = {}

    def write() -> list[Wire]:
        gradients = derivation.sweep({text: seed})
        rows.update((name, gradient) for name, slot in derivation.plan.wrt.items()
                    if (gradient := gradients[slot]) is not None)
        return list(rows.values())

    records, results, captures = writer.closure(write, seed)
    unique = Names().unique
    names = [unique(f"d{name}") for name in rows]
    stacks: dict[str, Wire] = {}
    if rows:
        circuit = subcircuits.add(f"row_of_d{text}", close_over(writer, records, results, names))
        types = [ArrayType((flat.shape[0], *x.shape), x.dtype) for x in rows.values()]
        outputs = writer.apply("scan", {"row": identity, **captures}, {"circuit": circuit, "over": ["row"]},
                               tuple(names), types)
        stacks = dict(zip(rows, outputs, strict=True))
    blocks = {}
    for name, slot in derivation.plan.wrt.items():
        x = derivation.forward.wires[slot]
        product = _outer(writer, wire, x)
        blocks[name] = writer.reshape_like(stacks[name], product) if name in stacks else writer.zeros_like(product)
    return blocks


def _outer(writer: Writer, x: Wire, y: Wire) -> Wire:
    """Something of the shape of x followed by that of y, to read the shape of; it depends on them for that alone."""
    sizes, dtype = (*x.shape, *y.shape), promote(x.dtype, y.dtype)
    if all(isinstance(size, int) for size in sizes):
        zeros: Wire = writer.expand(writer.constant(0.0, dtype), shape=list(sizes))
        return zeros
    for _ in y.shape:
        x = writer.unsqueeze(x, axis=-1)
    return x * y


class Reverse(NamedTuple):
    """A reverse sweep as a circuit, and what its nodes are called.

    Attributes:
        circuit: its outputs are the gradients, after those of the primal if it has them.
        sources: the inputs and parameters of the primal, by how the primal calls them.
        values: the outputs of the primal, by how the primal calls them.
        upstream: the inputs for upstream gradients, by output of the primal.
        gradients: the outputs, by what is differentiated by.
        by: what the circuit calls the nodes that it is differentiated by.
        labels: the gradient on a node, for every node that has one of its own.
    """

    circuit: Circuit
    sources: Mapping[str, str]
    values: Mapping[str, str]
    upstream: Mapping[str, str]
    gradients: Mapping[str, str]
    by: Sequence[str]
    labels: Mapping[str, str]


def reverse(circuit: Circuit, of: References, wrt: References, *, values: bool, seeded: bool = False,
            again: bool = False) -> Reverse:
    """The gradient of a circuit as a circuit, and what its nodes are called; see `gradient`, or if seeded `vjp`.

    To be differentiated again it has the nodes that it is differentiated by, though a gradient need not read them.
    """
    derivation = Derivation(circuit, of, wrt)
    fields = circuit.document.model_dump(mode="python", include={"upstream"}, exclude_unset=True)
    upstream = fields.get("upstream") or {}
    seeds = {}
    for text, wire in derivation.outputs().items():
        if not wire.type.is_float:
            continue
        output = circuit.upstream_name(text)
        if seeded or output is not None or wire.shape:
            value = {"value": upstream[output]} if output is not None and not seeded else {}
            seeds[text] = derivation.seed(f"d{text}", wire.type, f"upstream gradient on {text}", **value)
        else:
            seeds[text] = derivation.writer.constant(1.0, wire.dtype)
    gradients = derivation.sweep(seeds)
    outputs = derivation.name_gradients(gradients, derivation.requested(gradients), lambda name: f"d{name}",
                                        "gradient on")
    primal = derivation.outputs() if values else {}
    of, by = " + ".join(derivation.plan.of), ", ".join(derivation.plan.wrt)
    circuit = derivation.finish([*primal.values(), *outputs.values()], f"gradient_of_{derivation.circuit.name}",
                                f"the gradient of {of} with respect to {by}",
                                also=[derivation.forward.wires[slot] for slot in derivation.plan.wrt.values()]
                                if again else ())
    on_nodes: dict[str, Any] = {name: gradients[slot] for slot, name in enumerate(derivation.plan.names)}
    return Reverse(circuit,
                   {name: derivation.sources[name].reference for name in derivation.circuit.nodes
                    if name in derivation.sources},
                   {text: wire.reference for text, wire in primal.items()},
                   {text: wire.reference for text, wire in seeds.items() if wire.record.gate == "input"},
                   {name: wire.reference for name, wire in outputs.items()},
                   [derivation.forward.wires[slot].reference for slot in derivation.plan.wrt.values()],
                   {name: wire.reference for name, wire in on_nodes.items() if wire is not None} |
                   {text: wire.reference for text, wire in seeds.items()})
