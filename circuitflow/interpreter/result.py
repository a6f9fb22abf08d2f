"""The result of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.values import from_array
from circuitflow.errors import InputError
from circuitflow.graph.circuit import Circuit
from circuitflow.interpreter.contribution import Contribution
from circuitflow.interpreter.plan import references
from circuitflow.interpreter.why import Diagnosis, diagnose
from circuitflow.text import listing, nearest, number, printable


class NonFinite(NamedTuple):
    """The node at which a number first became infinite or NaN.

    Attributes:
        node: id of the node.
        gate: its gate, or the kind of source.
        stage: "forward pass" or "reverse sweep".
        value: the output, or the contribution, that is not finite.
        operands: the values of the operands, by source; in the reverse sweep also the upstream gradients, by
            `Circuit.gradient_name`.
    """

    node: str
    gate: str
    stage: str
    value: Any
    operands: Mapping[str, Any]

    def __str__(self) -> str:
        operands = ", ".join(f"{name} = {_in_short(value)}" for name, value in self.operands.items())
        gives = "gives" if self.stage == "forward pass" else "sends back"
        return (f"node '{self.node}': in the {self.stage}, {self.gate} {gives} {_in_short(self.value)}"
                + (f" from {operands}" if operands else ""))


@dataclass(frozen=True, eq=False)
class Result:
    """The values and gradients of one run.

    Attributes:
        circuit: the circuit that ran.
        outputs: the outputs of the run, by reference.
        values: the value of every node that ran, by id (`id.output` where a gate has several), in schedule order.
        gradients: the gradient on every node that the reverse sweep reached, and by reference those of `wrt`; in the
            shape and dtype of the node's value.
        contributions: the gradient along every edge, in the order of the sweep.
        upstream: the gradients that the sweep began with, by the node they arrive on.
    """

    circuit: Circuit
    outputs: Mapping[str, Any]
    values: Mapping[str, Any]
    gradients: Mapping[str, Any]
    contributions: Sequence[Contribution]
    upstream: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _MAPPINGS:
            object.__setattr__(self, name, MappingProxyType(getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {**self.__dict__, **{name: dict(getattr(self, name)) for name in _MAPPINGS}}
        return partial(Result, **fields), ()

    def __repr__(self) -> str:
        outputs = ", ".join(f"{name} = {_in_short(x)}" for name, x in list(self.outputs.items())[:4])
        more = ", …" if len(self.outputs) > 4 else ""
        return (f"<Result of {printable(self.circuit.name)!r}: {outputs}{more}; {len(self.values)} values, "
                f"{len(self.gradients)} gradients>")

    @checked
    def contribution(self, source: str, target: str, port: str | int | None = None) -> Any:
        """The contribution along the edge from `source` to `target`.

        Args:
            source: the node that the gradient flows to; any reference to it, `h` for the output of a call.
            target: the node whose backward rule sent it, likewise.
            port: needed where the source feeds two operands of the target.

        Raises:
            InputError: there is no such edge, there are several, or no gradient flowed along it.
        """
        output, node = self.circuit.find(source), self.circuit.find(target)
        ends = (source if output is None else self.circuit.nodes[output.node].name_of(output.position),
                target if node is None else node.node)
        matches = [c for c in self.contributions if (c.source, c.target) == ends and port in (None, c.port)]
        edge = f"from '{printable(source, 60)}' to '{printable(target, 60)}'"
        if not matches:
            raise InputError(f"no gradient flowed along an edge {edge}{'' if port is None else f', port {port!r}'}")
        if len(matches) > 1:
            raise InputError(f"several edges lead {edge}: name the port, one of {[c.port for c in matches]}")
        return matches[0].value

    @checked
    def to_dict(self, *, outputs: str | Iterable[str] | None = None, values: str | Iterable[str] | None = None,
                gradients: str | Iterable[str] | None = None, contributions: bool = True) -> dict[str, Any]:
        """The result as a dictionary for `json.dumps`; `schemas/run.schema.json` describes it.

        Arrays are nested lists; numbers that are not finite are "NaN", "Infinity" and "-Infinity".

        Args:
            outputs: the outputs to include, by reference: one or several, all by default, none for `()`.
            values: the nodes whose values to include, likewise.
            gradients: the nodes whose gradients to include, likewise.
            contributions: whether to include the contributions.

        Returns:
            The name of the circuit under `circuit`, and a key for each part that is included.

        Raises:
            InputError: the result has no such value or gradient.
        """
        document: dict[str, Any] = {"circuit": self.circuit.name}
        for part, choice, arrays in (("outputs", outputs, self.outputs), ("values", values, self.values),
                                     ("gradients", gradients, self.gradients)):
            names = references(choice, part)
            if names != ():
                document[part] = {name: from_array(self._array(part, arrays, name))
                                  for name in (arrays if names is None else names)}
        if contributions:
            document["contributions"] = [{"source": c.source, "target": c.target, "port": c.port,
                                          "value": from_array(c.value)} for c in self.contributions]
        return document

    def _array(self, part: str, arrays: Mapping[str, Any], name: str) -> Any:
        """The array of a reference in a part of the result."""
        if name in arrays:
            return arrays[name]
        output = self.circuit.find(name)
        text = None if output is None else self.circuit.nodes[output.node].name_of(output.position)
        if text is None or text not in arrays:
            raise InputError(f"{part}: the result has none of '{printable(name, 60)}'{nearest(name, arrays)}; there "
                             f"are {listing(arrays) or 'none'}")
        return arrays[text]

    @checked
    def why(self, wrt: str) -> Diagnosis:
        """Which gates are to blame for a gradient that is zero, vanishing, exploding or not finite.

        It takes the time of a few runs where there is something to blame. The values are those of this run.

        Args:
            wrt: the node that the gradient is on; any reference to it.

        Raises:
            InputError: there is no such node, no gradient flows to its type, or the run kept no values or gradients.
        """
        return diagnose(self.circuit, list(self.outputs), wrt, self.values, self.gradients, self.upstream)

    def non_finite(self) -> NonFinite | None:
        """The node whose value, or else gradient, first became infinite or NaN; None if all are finite.

        A node with finite operands comes before a source, or a node with an operand that is not finite.
        """
        for candidates in (self._in_forward_pass(), self._in_reverse_sweep()):
            first = None
            for candidate, guilty in candidates:
                if guilty:
                    return candidate
                first = first or candidate
            if first is not None:
                return first
        return None

    def _in_forward_pass(self) -> Iterator[tuple[NonFinite, bool]]:
        for node in self.circuit.nodes.values():
            for name in node.names:
                if name in self.values and not _finite(self.values[name]):
                    operands = self._operands(node.id)
                    guilty = not node.is_source and all(map(_finite, operands.values()))
                    yield NonFinite(node.id, node.kind, "forward pass", self.values[name], operands), guilty
                    break

    def _in_reverse_sweep(self) -> Iterator[tuple[NonFinite, bool]]:
        senders = set()  # a node may send a hundred thousand contributions; only the first one counts
        for contribution in self.contributions:
            if contribution.target not in senders and not _finite(contribution.value):
                senders.add(contribution.target)
                node = self.circuit.nodes[contribution.target]
                upstream = {self.circuit.gradient_name(name): self.gradients[name] for name in node.names
                            if name in self.gradients}
                yield (NonFinite(node.id, node.kind, "reverse sweep", contribution.value,
                                 {**self._operands(node.id), **upstream}), all(map(_finite, upstream.values())))

    def _operands(self, name: str) -> dict[str, Any]:
        return {source: self.values[source] for source in self.circuit.operand_names(self.circuit.nodes[name])}


_MAPPINGS = ("outputs", "values", "gradients", "upstream")


def _finite(value: Any) -> bool:
    return bool(np.all(np.isfinite(np.asarray(value))))


def _in_short(value: Any) -> str:
    array = np.asarray(value)
    if array.ndim == 0 or (array.ndim == 1 and array.size <= 4):
        return number(array)
    bad = np.argwhere(~np.isfinite(array))
    if not len(bad):
        return f"{array.dtype} {array.shape}"
    return (f"{array.dtype} {array.shape}, {len(bad)} of {array.size} not finite, the first "
            f"{array[tuple(bad[0])]:g} at {bad[0].tolist()}")
