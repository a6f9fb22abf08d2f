"""Circuits as models."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitflow.arguments import checked
from circuitflow.document.model import NODES
from circuitflow.engines.program.functions import is_named
from circuitflow.engines.program.trace import Inseparable, Trace, Value
from circuitflow.engines.staged.derived import Derived
from circuitflow.errors import GateError, InputError
from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Size, allows, show
from circuitflow.gates.sums import counted_product
from circuitflow.graph.circuit import Circuit
from circuitflow.graph.collector import collector_paused
from circuitflow.graph.typed import Node, TypedBody
from circuitflow.interpreter.interpreter import Interpreter
from circuitflow.interpreter.plan import Step, make_plan
from circuitflow.interpreter.question import Question, References
from circuitflow.interpreter.units import unit_gate
from circuitflow.onnx.gates import Application, write_gate
from circuitflow.onnx.largest import SCATTERED, scattered, with_scatters
from circuitflow.onnx.library import library, newest
from circuitflow.onnx.lowered_elements import ELEMENTS
from circuitflow.onnx.lowered_reductions import REDUCTIONS
from circuitflow.onnx.lowered_shapes import SHAPES
from circuitflow.onnx.lowering import Lowering, Unwritable
from circuitflow.onnx.storing import TensorContent
from circuitflow.onnx.writing import SMALL, GraphWriter, model_bytes, port
from circuitflow.text import few, own_version, printable, short

OPSET = 21
"""The opset that is written by default."""

LEAST = 18
"""The oldest opset that is written."""

LARGEST = 2**31 - 2**20
"""Most bytes of a model: its file format has no room for more."""

BESIDE = 2**29
"""Bytes of all tensors together from which on they lie in a file beside the model, unless told otherwise."""


@dataclass(frozen=True)
class Export:
    """A circuit as a model, and its tensors if they lie in a file beside it.

    Attributes:
        content: of the model.
        tensors: the content of that file, of the format safetensors, which is one for external data too; None where all
            tensors are in the model.
        file: the name of that file.
    """

    content: bytes
    tensors: TensorContent | None = None
    file: str = ""


@checked
def to_onnx(circuit: Circuit, of: References = None, wrt: References = None, *,
            inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
            opset: int = OPSET) -> bytes:
    """An ONNX model of values and gradients, which ONNX Runtime runs.

    Its outputs are those of the circuit by their names, then the gradients in order, on `x` as `dx`, with a number if
    the circuit has a node of that name. Inputs with defaults have
    them in the model; parameters are initializers. An upstream gradient on `f` is the input `df`. Values keep their
    ids. Conventions at ties and edges are those of circuitflow; operands that a gate refuses at a run, such as an index
    that is out of range or a sum of integers that does not fit, are not refused.

    Args:
        circuit: the circuit.
        of: the outputs to compute and differentiate; all of the document's by default.
        wrt: the nodes to differentiate by, none for `()`; all floating-point inputs and parameters by default.
        inputs: defaults of the inputs and values of the parameters, by id, in place of the document's.
        upstream: likewise of the upstream gradients, by output.
        opset: 18 or later.

    Returns:
        The bytes of the file.

    Raises:
        InputError: an unknown reference; or nodes that ONNX has no way to say, all of them at once; or tensors of 2 GiB
            and more, which `to_model` puts into a file beside it.
        MissingExtraError: onnx is not installed.
    """
    return to_model(circuit, of, wrt, inputs=inputs, upstream=upstream, opset=opset, beside=False).content


@collector_paused()
@checked
def to_model(circuit: Circuit, of: References = None, wrt: References = None, *,
             inputs: Mapping[str, Any] | None = None, upstream: Mapping[str, Any] | None = None,
             opset: int = OPSET, stem: str = "weights", beside: bool | None = None) -> Export:
    """An ONNX model as `to_onnx` gives it, with tensors in a file beside it.

    Args:
        circuit: the circuit.
        of: as for `to_onnx`, likewise `wrt`, `inputs`, `upstream` and `opset`.
        wrt: see there.
        inputs: see there.
        upstream: see there.
        opset: see there.
        stem: the beginning of the name of that file.
        beside: whether tensors of more than 1 KiB lie there; from 512 MiB of all together on by default.

    Raises:
        InputError: as for `to_onnx`.
        MissingExtraError: onnx is not installed.
    """
    if not LEAST <= opset <= newest():
        raise InputError(f"opset {short(opset)} is not written; expected {LEAST} to {newest()}")
    question = Question(Interpreter(circuit), of, wrt)
    inputs, upstream = question.arguments(inputs, upstream, {})
    derived = Derived.taking(question, upstream)
    return _Exporter(derived, opset, inputs, upstream).model(stem, beside)


class _Exporter:
    """One model under construction."""

    def __init__(self, derived: Derived, opset: int, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
        self.derived, self.plan = derived, derived.plan
        self.writer = GraphWriter(opset)
        self.low = Lowering(self.writer, {**ELEMENTS, **REDUCTIONS, **SHAPES})
        self.trace = Trace(checked=True)
        namespace: Any = self.trace.namespace
        namespace.product_kept = functools.partial(counted_product, namespace)
        self.lines = 0
        self._kept: list[Value] = []
        self.faults: list[str] = []
        self.ports: list[Any] = []
        self.slots: list[Any] = [None] * len(self.plan.names)
        self.prefix = ""  # of names inside of units
        self._sources(inputs, upstream)

    def _sources(self, inputs: Mapping[str, Any], upstream: Mapping[str, Any]) -> None:
        """The inputs, parameters and constants."""
        question, circuit = self.derived.question, self.derived.circuit
        own = {id_: name for name, id_ in self.derived.inputs.items()}
        seeds = {id_: text for text, id_ in self.derived.upstream.items()}
        unknown = [name for name in inputs if name not in self.derived.inputs]
        if unknown:
            raise InputError(f"there is no input or parameter '{printable(unknown[0], 60)}'"
                             + question.circuit.suggestion(unknown[0]))
        order = {**dict.fromkeys(own), **dict.fromkeys(seeds), **dict.fromkeys(self.plan.sources)}
        for id_ in order:
            if id_ not in self.plan.sources and id_ not in own:
                continue
            node = circuit.nodes.get(id_)
            type_ = node.types[0] if node is not None else question.circuit.nodes[own[id_]].types[0]
            kind = "input" if id_ in seeds else question.circuit.nodes[own[id_]].kind if id_ in own else "constant"
            if id_ in seeds:
                value = upstream.get(seeds[id_], question.upstream.get(seeds[id_]))
            else:
                value = inputs.get(own.get(id_, ""), circuit.values.get(id_))
            self._source(id_, kind, type_, value)

    def _source(self, id_: str, kind: str, type_: ArrayType, value: Any) -> None:
        array = None if value is None else np.asarray(value, type_.dtype)
        if array is not None and not allows(type_.shape, array.shape):
            raise InputError(f"'{printable(id_, 60)}' has shape {show(array.shape)}; expected {show(type_.shape)}")
        slot = self.plan.sources.get(id_)
        if kind == "constant":
            if slot is not None and array is not None:
                self.slots[slot] = array
            return
        if kind == "input":
            # An input that no step reads may have another size of the same name.
            shape = type_.shape if slot is not None else [size if isinstance(size, int) else None
                                                          for size in type_.shape]
            self.ports.append(port(id_, type_.dtype, shape))
            for axis, size in enumerate(shape):
                if isinstance(size, Size):
                    self.writer.sizes.setdefault(str(size), (id_, axis))
        if array is not None:
            self.writer.tensors[id_] = array
        if slot is not None:
            self.slots[slot] = self._value(type_, id_)

    def _value(self, type_: ArrayType, name: str) -> Value:
        """A value of a type; nothing is computed for it."""
        dtype = np.dtype(type_.dtype)
        shape: Any = type_.shape
        sample = None if is_named(shape) else np.broadcast_to(np.zeros((), dtype), shape)
        value = Value(self.trace, shape, dtype, sample)
        self.low.names[id(value)] = name
        self._kept.append(value)  # names go by identity
        return value

    def model(self, stem: str, beside: bool | None) -> Export:
        """The model, and the file beside it."""
        for step in with_scatters(self.plan, self.slots):
            try:
                self._step(step)
            except (Unwritable, Inseparable) as error:
                reason = str(error) if isinstance(error, Unwritable) else (
                    f"needs numbers for named dimensions ({error}); give the inputs shapes of numbers")
                self.faults.append(f"node '{printable(step.node.id, 60)}': {step.node.kind} {printable(reason, 200)}")
                self._put(step, [self._value(type_, "") for type_ in step.node.types])
        if self.faults:
            raise InputError("ONNX has no way to say " + "; ".join(few(self.faults)))
        outputs = [self._output(text, id_) for text, id_ in (
            *self.derived.values.items(), *((id_, id_) for id_ in self.derived.gradients.values()))]
        document = self.derived.question.circuit.document
        tensors = self._beside(beside)
        file = "" if tensors is None else tensors.file(stem)
        content = model_bytes(self.writer, document.name or "circuit", self.ports, outputs, document.description or "",
                              {"circuitflow": own_version()}, tensors, file)
        return Export(content, tensors, file)

    def _beside(self, beside: bool | None) -> TensorContent | None:
        """The tensors in a file beside the model, if there are any."""
        size = sum(array.nbytes for array in self.writer.tensors.values())
        if beside is None:
            beside = size >= BESIDE
        if not beside and size > LARGEST:
            raise InputError(f"the tensors take {size} bytes; a file of ONNX has room for {LARGEST}; put them into a "
                             "file beside it (to_model, or --weights-beside)")
        large = {name: array for name, array in self.writer.tensors.items() if array.nbytes > SMALL}
        return TensorContent(large) if beside and large else None

    def _step(self, step: Step) -> None:
        node, self.writer.stage = step.node, self.prefix + step.node.id
        operands = [self.slots[slot] for slot in step.operands]
        start = len(self.writer.nodes)
        if node.kind in NODES:
            self._put(step, self._unit(step, operands))
            self._name(step, start)
            return
        if any(isinstance(x, Value) for x in operands):
            names = [self.low.name(x) for x in operands]
            types = [ArrayType(x.shape, str(x.dtype)) for x in operands]
            application = Application(self.low, names, types, node.types, step.attributes)
            written = ([scattered(application)] if step.gate is SCATTERED
                       else write_gate(node.kind, step.gate, application))
        else:
            written = None
        if written is not None:
            self._put(step, [self._value(type_, name) for type_, name in zip(node.types, written, strict=True)])
        else:
            self.trace.stage = node
            try:
                out = self.trace.apply(step.gate.forward, *operands, **step.attributes)
            except GateError as error:
                raise Unwritable(str(error)) from None
            except (ValueError, ArithmeticError, IndexError) as error:
                raise Unwritable(f"refuses its operands: {error}") from None
            self.trace.checks.clear()
            new, self.lines = self.trace.lines[self.lines :], len(self.trace.lines)
            try:
                for line in new:
                    self.low.write(line)
            except Unwritable:
                for x in (x for line in new for x in line.results):
                    self.low.names.setdefault(id(x), "")  # another node may have the same lines
                raise
            self._put(step, list(out) if step.outputs else [out])
        self._name(step, start)

    # Units: the graphs of their bodies are inside of a node

    def _unit(self, step: Step, operands: Sequence[Any]) -> list[Any]:
        """The values of a node with subcircuits."""
        node, attributes = step.node, step.node.attributes
        values = {str(edge.port): x for edge, x in zip(node.operands, operands, strict=True)}
        if node.kind == "checkpoint":  # nothing is kept for a sweep that is written out
            return self._body(attributes["circuit"], values, "")
        if node.kind == "if":
            graphs = {f"{key}_branch": self._graph(attributes[key], values, key)[0] for key in ("then", "else")}
            out = self.writer.add("If", self.low.name(values["condition"]), names=self._fresh(node), **graphs)
        else:
            out = self._scan(node, attributes, values)
        return [self._value(type_, name) for type_, name in zip(
            node.types, [out] if isinstance(out, str) else out, strict=True)]

    def _fresh(self, node: Node) -> list[str]:
        return [self.writer.fresh() for _ in node.types]

    def _scan(self, node: Node, attributes: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
        """A `Scan`: its states first, then what it stacks; other operands are those of the graph outside."""
        body, carry, over = attributes["circuit"], attributes["carry"], list(attributes["over"])
        inside, ports = dict(values), []
        for name in [*carry, *over]:
            x = values[name]
            shape = x.shape[1:] if name in over else x.shape
            type_ = ArrayType(tuple(shape), str(x.dtype))
            inner = f"{self.writer.stage}/{name}"
            inside[name] = self._value(type_, inner)
            ports.append(port(inner, type_.dtype, type_.shape))
        texts = list(body.outputs)
        if any(x.shape[0] == 0 for x in (values[name] for name in over)):
            return self._no_steps(node, {text: values[name] for name, text in carry.items()}, texts)
        order = [*(texts.index(carry[name]) for name in carry),
                 *(i for i, text in enumerate(texts) if text not in carry.values())]
        graph, _ = self._graph(body, inside, "body", ports, order)
        backward = int(attributes["reverse"])
        names = [self.writer.fresh() for _ in order]
        self.writer.add("Scan", *(self.low.name(values[name]) for name in [*carry, *over]), names=names, body=graph,
                        num_scan_inputs=len(over), scan_input_directions=[backward] * len(over),
                        scan_output_directions=[backward] * (len(order) - len(carry)) or None)
        return [names[order.index(i)] for i in range(len(order))]

    def _no_steps(self, node: Node, states: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
        """What a scan gives that takes no steps, which ONNX Runtime does not do: its states, and nothing stacked."""
        w = self.writer
        return [w.add("Identity", self.low.name(states[text])) if text in states else
                w.add("Expand", w.constant(0, type_.dtype), w.shape(type_.shape))
                for text, type_ in zip(texts, node.types, strict=True)]

    def _graph(self, body: TypedBody, values: Mapping[str, Any], key: str, ports: Sequence[Any] = (),
               order: Sequence[int] | None = None) -> tuple[Any, list[Any]]:
        """The graph of a body, with its outputs in an order."""
        outer, prefix = self.writer.stage, f"{self.writer.stage}/{key}/"
        with self.writer.inside() as nodes, self.trace.aside():
            results = self._body(body, values, prefix)
            self.writer.stage = f"{prefix}out"
            outputs = []
            for i in order if order is not None else range(len(results)):
                x = results[i]
                name = self.writer.add("Identity", self.low.name(x))  # it may be a value from outside
                outputs.append(port(name, str(x.dtype), x.shape))
        self.writer.stage = outer
        return library().helper.make_graph(nodes, prefix.rstrip("/"), list(ports), outputs), results

    def _body(self, body: TypedBody, values: Mapping[str, Any], prefix: str) -> list[Any]:
        """Write the nodes of a body; gives its outputs."""
        whole = body.expansion
        outer = self.plan, self.slots, self.prefix, self.writer.stage
        self.plan = make_plan(whole, None, (), unit_gate)
        self.slots = [None] * len(self.plan.names)
        self.prefix = prefix or f"{self.writer.stage}/"
        for name, slot in self.plan.sources.items():
            self.slots[slot] = values[name] if name in values else whole.values[name][()]
        try:
            for step in with_scatters(self.plan, self.slots):
                self._step(step)
            return [self.slots[slot] for slot in self.plan.of.values()]
        finally:
            self.plan, self.slots, self.prefix, self.writer.stage = outer

    def _put(self, step: Step, values: Sequence[Any]) -> None:
        self.slots[step.output : step.output + (step.outputs or 1)] = values

    def _name(self, step: Step, start: int) -> None:
        """Call what the step gives as the circuit calls it, where it is new."""
        for slot in step.slots:
            value = self.slots[slot]
            old = self.low.names.get(id(value), "") if isinstance(value, Value) else ""
            name = self.prefix + self.plan.names[slot]
            nodes = self.writer.nodes[start:]
            if not any(old in node.output for node in nodes) or name == old:
                continue
            for node in nodes:
                for ends in (node.input, node.output):
                    for i, end in enumerate(ends):
                        if end == old:
                            ends[i] = name
            for key, other in self.low.names.items():
                if other == old:
                    self.low.names[key] = name

    def _output(self, text: str, id_: str) -> Any:
        """An output of the model, called so."""
        slot = self.plan.of[id_]
        value = self.slots[slot]
        if isinstance(value, Value):
            name, type_ = self.low.names[id(value)], ArrayType(value.shape, str(value.dtype))
        else:
            array = np.asarray(value)
            name, type_ = self.writer.constant(array), ArrayType(array.shape, str(array.dtype))
        if name != text:
            self.writer.add("Identity", name, names=[text])
        return port(text, type_.dtype, type_.shape)

