"""Models as documents."""

from __future__ import annotations

import copy
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from circuitflow.authoring.author import Author
from circuitflow.authoring.wires import AuthoredWire as Wire
from circuitflow.document.values import from_array
from circuitflow.document.writing import tidy
from circuitflow.errors import DocumentError, Fault, InputError
from circuitflow.gates import GATES, ArrayType
from circuitflow.gates.shapes import ShapeError, Size, allows, show
from circuitflow.onnx.calls import Body, Call, Refusal, Unknown, Value, as_list, sizes_by
from circuitflow.onnx.folding import fold, tensors_of, value_of
from circuitflow.onnx.functions import body_of
from circuitflow.onnx.imported import Import, document_of
from circuitflow.onnx.mapped import gates_by_operator, read
from circuitflow.onnx.naming import common_dtype, identifier
from circuitflow.onnx.operators.table import BY_DOMAIN
from circuitflow.onnx.reading import Graph, Model, ModelNode, Port, Unreadable
from circuitflow.onnx.storing import TensorContent
from circuitflow.onnx.units import MOST, UNITS, graph_of
from circuitflow.text import printable, short
from circuitflow.transforms.naming import Names, needed_records
from circuitflow.transforms.writer import Record

INLINE = 16
"""Most elements of a tensor that stands in the document itself."""

ROUNDS = 8
"""Most times that a model is read to find the defaults that must be known; once more than they depend on each other."""

FAULTS = 100
"""Most faults that are told."""


def import_model(model: Model, *, stem: str = "weights", dims: Mapping[str, int] | None = None,
                 values: Mapping[str, Any] | None = None, most_steps: int | None = None) -> Import:
    """A model as a document of the same values, with gradients.

    Floats of initializers become parameters, other tensors constants. Ids are made of the names of values; where an id
    is another text, that name is the node's label. An input with a default that sizes or gates depend on is a constant.

    Args:
        model: the model, as `read_model` gives it.
        stem: the beginning of the name of the file for large tensors.
        dims: sizes for named dimensions.
        values: for inputs, by name: constants in their place, which sizes and gates may depend on.
        most_steps: of a loop that ends by a condition alone; a run that needs more is refused.

    Raises:
        DocumentError: with every node that no document says.
        InputError: there is no such dimension or input; or so many steps are not allowed.
    """
    if most_steps is not None and not 1 <= most_steps <= MOST:
        raise InputError(f"a loop cannot have {short(most_steps)} steps at most; expected 1 to {MOST}")
    known = dict(values or {})
    for _ in range(ROUNDS):
        importer = _Importer(model, stem, dims or {}, known, most_steps)
        importer.graph(model.graph.nodes)
        if not importer.needed:
            return importer.result()
        known |= {name: model.graph.tensors[name] for name in importer.needed}
        model.notes.update(f"input '{printable(name, 80)}' is a constant here, since sizes or gates depend on it: the "
                           "default that the model has for it, unless --set gives another" for name in importer.needed)
    raise InputError(f"sizes in '{model.file}' depend on '{printable(min(importer.needed), 60)}' and other inputs with "
                     "defaults, one by way of another; give these by --set")


class _TooManyError(InputError):
    """A model comes to more nodes than are allowed."""


class _Importer:
    """One document under construction."""

    def __init__(self, model: Model, stem: str, dims: Mapping[str, int], constants: Mapping[str, Any],
                 most_steps: int | None) -> None:
        self.model, self.stem, self.dims, self.most_steps = model, stem, dims, most_steps
        self.author = Author(GATES, common_dtype(model.graph))
        self.names = Names()
        self.values: MutableMapping[str, Value | None] = {"": None}
        self.lost: set[str] = set()  # values of nodes that are refused
        self.faults: list[str] = [*model.graph.faults]
        self.tensors: dict[str, Any] = {}
        self.entries: dict[str, dict[str, Any]] = {}  # what the document says of each of these
        self.kept: set[str] = set()  # tensors that bodies of units read
        self.circuits: dict[str, Any] = {}
        self.used_dims: dict[str, str] = {}
        self.defaults: dict[str | None, str] = {}  # inputs with a default, by id
        self.dimensions: dict[str, Wire] = {}  # an input that has a named dimension
        self.needed: set[str] = set()  # those of them that must be known before a run
        self.depth = self.count = 0
        self._begin(model.graph, constants)
        if unknown := dims.keys() - self.used_dims.keys():
            raise InputError(f"there is no dimension '{printable(min(unknown), 60)}' in '{model.file}'; there are "
                             f"{', '.join(map(printable, self.used_dims)) or 'none with names'}")

    # What the graph begins with

    def _begin(self, graph: Graph, constants: Mapping[str, Any]) -> None:
        ports = {port.name: port for port in graph.inputs}
        if unknown := constants.keys() - ports.keys():
            raise InputError(f"there is no input '{printable(min(unknown), 60)}' in '{self.model.file}'; there are "
                             f"{', '.join(map(printable, ports))}")
        self.values.update(tensors_of(graph))
        for port in graph.inputs:
            if port.name in graph.tensors and not self.model.has_defaults:
                continue
            if port.name in constants:
                self.values[port.name] = value_of(port.name, np.asarray(constants[port.name]))
            else:
                self._input(port)

    def _input(self, port: Port) -> None:
        label = f"input '{printable(port.name, 80)}'"
        if port.dtype is None or port.shape is None:
            what = port.kind if port.dtype is None else "tensor of unknown rank"
            self.lost.add(port.name)
            self.faults.append(f"{label} is a {what}; expected a tensor of numbers or booleans, with a shape")
            return
        shape = [self._size(size, f"{port.name}_{axis}") for axis, size in enumerate(port.shape)]
        id_, value = self._id(port.name), self.model.graph.tensors.get(port.name)
        attributes: dict[str, Any] = {"shape": shape}
        if value is not None and not allows(shape, value.shape):
            self.model.notes.add(f"{label} has no default now: the model's has the shape {show(value.shape)}, and the "
                                 f"sizes given make it {show(shape)}")
            value = None
        if value is not None:
            attributes |= self._content(id_, value)
            self.defaults[id_] = port.name
        elif port.dtype != self.author.dtype:
            attributes["dtype"] = port.dtype
        sizes = tuple(Size.named(size) if isinstance(size, str) else size for size in shape)
        notes = {**self._label(port.name, id_), **({"description": port.note} if port.note else {})}
        wire = self._write(Record("input", {}, attributes, name=id_, notes=notes), ArrayType(sizes, port.dtype))
        self.values[port.name] = Value(port.name, port.dtype, wire=wire)
        for size in shape:
            if isinstance(size, str):
                self.dimensions.setdefault(size, wire)

    def _write(self, record: Record, type_: ArrayType) -> Any:
        return self.author.write(record, [type_])[0]

    def _size(self, size: int | str | None, fallback: str) -> int | str:
        """A size as a document has it: a number, or the name of a dimension."""
        if isinstance(size, int):
            return size
        name = fallback if size in (None, "", "?") else str(size)  # by which some exporters mean any size
        if name not in self.used_dims:
            self.used_dims[name] = identifier(name, self.used_dims.values())
        given = self.dims.get(name, self.dims.get(self.used_dims[name]))
        self.used_dims.setdefault(self.used_dims[name], self.used_dims[name])
        return self.used_dims[name] if given is None else given

    def _id(self, name: str) -> str:
        return self.names.unique(identifier(name))

    @staticmethod
    def _label(name: str, id_: str) -> dict[str, str]:
        return {"label": printable(name, 1000)} if name != id_ else {}

    def _materialize(self, value: Value) -> Wire:
        """The wire of a value; a tensor becomes a parameter or a constant when it is first read."""
        if value.wire is None:
            if value.is_symbolic:
                raise Refusal(f"reads '{printable(value.name, 60)}', which has the size of a named dimension as a "
                              f"value{sizes_by(*value.array.flat)}")
            array = value.array
            id_ = self._id(value.name)
            kind = "parameter" if value.is_parameter and array.dtype in (np.float32, np.float64) else "constant"
            value.wire = self._write(
                Record(kind, {}, self._content(id_, array), name=id_, notes=self._label(value.name, id_)),
                ArrayType(tuple(array.shape), str(array.dtype)))
        wire: Wire = value.wire
        return wire

    def _content(self, id_: str, array: Any) -> dict[str, Any]:
        if array.size > INLINE:
            id_ = Names(self.tensors).unique(id_)  # bodies of units have ids of their own
            self.tensors[id_] = array
            self.entries[id_] = {"tensor": id_}
            return {"value": self.entries[id_]}
        says = {"value": tidy(from_array(array))}
        if str(array.dtype) not in (self.author.dtype, "bool") or not array.size:
            says["dtype"] = str(array.dtype)
        return says

    # Nodes

    def graph(self, nodes: Sequence[ModelNode]) -> None:
        """Write nodes, in the order of the model.

        Raises:
            InputError: with what functions come to they are more than are allowed.
        """
        for at, node in enumerate(nodes):
            self.count += 1
            if self.count > self.model.limits.nodes:
                raise _TooManyError(f"'{self.model.file}' comes to more than {self.model.limits.nodes} nodes, with the "
                               "bodies of its functions (limit nodes)")
            missing = [name for name in node.inputs if name not in self.values]
            if missing:
                if missing[0] not in self.lost:
                    self.faults.append(f"{node.label} reads '{printable(missing[0], 80)}', which is no earlier value")
                self.lost.update(node.outputs)
                continue
            try:
                try:
                    self._node(node)
                except Unknown as error:
                    value = self.values[node.inputs[error.position]]
                    if value is None or not self._take_defaults(value, nodes[:at]):
                        raise
                    self._node(node)
            except _TooManyError:
                raise
            except (Refusal, InputError, ShapeError, Unreadable) as error:
                self.lost.update(node.outputs)
                self.faults.append(f"{node.label} {printable(str(error), 1000)}")
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # What an operator takes is more than its schema says; its function is written for what it takes.
                self.lost.update(node.outputs)
                self.faults.append(f"{node.label} has inputs or attributes that do not fit it: "
                                   f"{printable(str(error), 200)}")

    def _take_defaults(self, value: Value, before: Sequence[ModelNode]) -> bool:
        """Where a value that must be known comes from inputs with defaults alone, take these, and what they lead to."""
        inputs = [record.name for record in needed_records([self._materialize(value).record])
                  if record.gate == "input"]
        new = {self.defaults.get(name, "") for name in inputs} - self.needed
        if not new or "" in new:
            return False
        self.needed |= new
        self.values.update({name: value_of(name, self.model.graph.tensors[name]) for name in new})
        for node in before:
            if not new.isdisjoint(node.inputs):
                new.update(node.outputs)
                self.graph([node])
        return True

    def _node(self, node: ModelNode) -> None:
        call = Call(node, self.model.opset, [self.values[name] for name in node.inputs], self.author,
                    self._materialize, self.circuits, self.dimensions, self.model.notes)
        start = len(self.author.records)
        call.check()
        results = self._results(call)
        if results is None:
            return
        if len(results) < call.outputs:
            raise Refusal(f"has {call.outputs} outputs; here it has {len(results)}")
        if fault := call.unread():
            raise Refusal(fault)
        names = list(node.outputs)
        for i, (name, result) in enumerate(zip(names, results, strict=False)):
            if not name or result is None:
                if name:
                    raise Refusal(f"has an output {i}, which is not written")
                continue
            if isinstance(result, np.ndarray):
                self.values[name] = value_of(name, result)
            elif isinstance(result, Value):
                self.values[name] = result  # another name of it; a weight that several read stays one parameter
            else:
                self._call_it(name, result, start)
                self.values[name] = Value(name, result.type.dtype, wire=result)
        base = identifier(next(filter(None, names), node.operator))
        for record in self.author.records[start:]:
            if record.name is None and not (record.gate == "constant" and not record.notes):
                record.name = self.names.unique(f"{base}_{record.gate}")
        if node.note and isinstance(results[0], Wire) and "description" not in results[0].record.notes:
            record = results[0].record
            record.notes = {**record.notes, "description": node.note}

    def _call_it(self, name: str, wire: Wire, start: int) -> None:
        """Call the node of a wire as the model calls the value, if it is new and has no name."""
        record = wire.record
        if record.name is None and not record.outputs and record.gate != "constant" and any(
                other is record for other in self.author.records[start:]):
            record.name = self._id(name)
            record.notes = {**record.notes, **self._label(name, record.name)}

    def _results(self, call: Call) -> list[Any] | None:
        """What a node gives: wires, arrays that are known, or values; None where its body was written instead."""
        node = call.node
        if node.domain == "":
            if (arrays := fold(call)) is not None:
                return [*arrays, *[None] * (call.outputs - len(arrays))]
            if node.operator == "If" and call.value(0).array is not None:
                return self._branch(call)
            if node.operator in UNITS:
                return UNITS[node.operator](call, self)
        if (function := BY_DOMAIN.get(node.domain, {}).get(node.operator)) is not None:
            return as_list(function(call))
        if node.domain == "" and node.operator in gates_by_operator():
            return as_list(read(call))
        body = body_of(self.model, node, [self.values[name] for name in node.inputs])
        if body is None:
            where = f" of the domain '{printable(node.domain, 60)}'" if node.domain else ""
            raise Refusal(f"has no gate: circuitflow does not have this operator{where}")
        self._inline(node, body)
        return None

    def _branch(self, call: Call) -> list[Any] | None:
        """The values of the branch of an `If` whose condition is known; None where the branch has faults."""
        condition = bool(call.numbers(0, "condition").reshape(-1)[0])
        branches = {key: graph_of(call, f"{key}_branch") for key in ("then", "else")}
        graph = branches["then" if condition else "else"]
        faults, outer = len(self.faults), self.values
        self.values = ChainMap(tensors_of(graph), outer)  # the names of a branch are its own
        self.graph(graph.nodes)
        results, self.values = [self.values.get(port.name) for port in graph.outputs], outer
        if len(self.faults) > faults or any(port.name in self.lost for port in graph.outputs):
            self.lost.update(call.node.outputs)  # which is told already
            return None
        return results

    # What units need, as `Scope` has it

    def outer(self, name: str) -> Value | None:
        """The value of a name."""
        return self.values.get(name)

    def wire_of(self, value: Value) -> Any:
        """The wire of a value."""
        return self._materialize(value)

    def inside(self, graph: Graph, body: Body, values: dict[str, Value | None]) -> list[Value]:
        """Write a graph into a body; gives the values of its outputs."""
        child = copy.copy(self)
        child.author, child.names, child.lost, child.faults, child.dimensions = body.w, Names(), set(), [], {}
        before = set(self.tensors)
        child.values = {"": None, **values, **{
            name: Value(name, str(array.dtype), array) for name, array in graph.tensors.items()}}
        child.depth += 1
        if child.depth > self.model.limits.nesting:
            raise Refusal(f"is nested more than {self.depth} deep (limit nesting)")
        child.graph(graph.nodes)
        self.count = child.count
        if child.faults:
            raise Refusal(f"in its graph: {child.faults[0]}")
        results = []
        for port in graph.outputs:
            value = child.values.get(port.name)
            if value is None:
                raise Refusal(f"has no value '{printable(port.name, 60)}' in its graph")
            results.append(value)
        self.kept |= self.tensors.keys() - before
        return results

    def _inline(self, node: ModelNode, body: Graph) -> None:
        """Write the body of a function in the place of a node."""
        if self.depth >= self.model.limits.nesting:
            raise Refusal(f"is a function inside of functions, more than {self.depth} deep (limit nesting)")
        outer, outer_lost, faults = self.values, self.lost, len(self.faults)
        inner = dict(zip((port.name for port in body.inputs), (outer[name] for name in node.inputs), strict=False))
        self.values = {"": None, **dict.fromkeys(port.name for port in body.inputs), **inner}
        self.lost = set()
        self.depth += 1
        try:
            self.graph(body.nodes)
            results = {name: self.values.get(port.name) for name, port in zip(node.outputs, body.outputs, strict=False)}
        finally:
            self.depth -= 1
            self.values, self.lost = outer, outer_lost
        if len(self.faults) > faults:
            inside = self.faults[faults:]
            del self.faults[faults:]
            raise Refusal(f"by its own body: {inside[0].rpartition(' by its own body: ')[2]}")
        for name, value in results.items():
            if name:
                if value is None:
                    raise Refusal(f"has an output '{printable(name, 60)}', which its body does not give")
                self.values[name] = value

    # The document

    def result(self) -> Import:
        """The document of what is written.

        Raises:
            DocumentError: with every fault.
        """
        graph = self.model.graph
        outputs = []
        for port in graph.outputs:
            value = self.values.get(port.name)
            if value is None:
                if port.name not in self.lost:
                    self.faults.append(f"output '{printable(port.name, 80)}' is no value of the graph")
                continue
            try:
                outputs.append(self._output(port, value))
            except Refusal as error:
                self.faults.append(f"output '{printable(port.name, 80)}' {error}")
        if not graph.outputs:
            self.faults.append("the graph has no output")
        self._raise_if_any()
        records = self._records(outputs)
        content, file = self._file()
        document = document_of(self.model, self.author.dtype, self.circuits, records, outputs)
        return Import(document, self.tensors, content, file, sorted(self.model.notes))

    def _output(self, port: Port, value: Value) -> Any:
        """An output, with a node that is called as the model calls it."""
        wire = self._materialize(value)
        record = wire.record
        id_ = identifier(port.name)
        if record.outputs or (record.name != id_ and record.notes.get("label") != printable(port.name, 1000)):
            id_ = self._id(port.name)
            record = Record("identity", {0: wire}, {}, name=id_, notes=self._label(port.name, id_))
            return self._write(record, wire.type)
        return wire

    def _raise_if_any(self) -> None:
        if self.faults:
            rest = len(self.faults) - FAULTS
            texts = [*self.faults[:FAULTS], *([f"… and {rest} more"] if rest > 0 else [])]
            raise DocumentError(Fault(text, file=self.model.file) for text in texts)

    def _records(self, outputs: Sequence[Wire]) -> list[Record]:
        """The nodes that outputs need, with names."""
        inputs = [record for record in self.author.records if record.gate == "input"]
        needs = needed_records([*(wire.record for wire in outputs), *inputs])
        records = [record for record in self.author.records if record in needs]
        for record in records:
            if record.name is None:
                record.name = self.names.unique(record.stage or record.gate)
        values = [record.attributes.get("value") for record in records]
        used = {value["tensor"] for value in values if isinstance(value, dict) and "tensor" in value} | self.kept
        self.tensors = {name: np.ascontiguousarray(array) for name, array in self.tensors.items() if name in used}
        return records

    def _file(self) -> tuple[TensorContent, str]:
        """The content and the name of the file for large tensors; what stands for them in the document names it."""
        content = TensorContent(self.tensors)
        file = content.file(self.stem)
        for entry in self.entries.values():
            entry.update(file=file, sha256=content.sha256)
        return content, file
