"""A model file as plain nodes, checked: it comes from a stranger, and nothing that it says is executed or trusted."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from circuitflow.document.files import ValueFaultError, beside
from circuitflow.document.limits import DEFAULT, Budget, Limits, amount, size_of
from circuitflow.errors import InputError
from circuitflow.gates.shapes import allows, show
from circuitflow.onnx.counting import FunctionKey, function_key, need_few_nodes
from circuitflow.onnx.large import Place, without_large
from circuitflow.onnx.library import BFLOAT16, DOMAINS, READ_AS, domain_of, library, text_of, type_name
from circuitflow.text import duplicate, printable, short

OLDEST = 7
"""The oldest opset that is read."""


WIDENED = "bfloat16 is read as float32, which has more digits: results differ from the model's by its rounding"
"""Of a model with numbers of that type."""


class Unreadable(ValueError):  # noqa: N818
    """A part of a model cannot be read; the message continues the place. A long one loses its end."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, 500))


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a graph.

    Attributes:
        name: its name.
        dtype: of its elements; None where circuitflow has no such values.
        shape: sizes, names of dimensions and None for unknown ones; None where not even their number is known.
        kind: what it is, for people.
        note: what the model says of it.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None
    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelNode:
    """One application of an operator.

    Attributes:
        operator, domain: what is applied.
        overload: which of the functions of that name.
        name: of the node, or of its first output.
        inputs, outputs: names of values; "" for one that is left out.
        attributes: numbers, texts, lists of them, arrays and graphs.
        note: what the model says of it.
    """

    operator: str
    domain: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]
    note: str = ""
    overload: str = ""

    @property
    def label(self) -> str:
        """The node in an error."""
        return f"node '{printable(self.name, 80)}' ({printable(self.operator, 40)})"


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph: nodes in order, and the values that they begin with.

    Attributes:
        faults: what cannot be read, each with its place.
    """

    name: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    tensors: Mapping[str, Any]
    nodes: Sequence[ModelNode]
    note: str = ""
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as plain data.

    Attributes:
        graph: its graph.
        opsets: the opset of each domain.
        file: its name, for errors.
        metadata: what the model says of itself.
        limits: how large things may be.
        functions: its own functions, as the package has them, by domain, name and overload.
        files: the places of the files that its tensors lie in.
        has_defaults: whether an initializer of the name of an input is a default for it: from version 4 of the format
            on. Before, every initializer is listed among the inputs.
        notes: what differs from the model, in sentences.
    """

    graph: Graph
    opsets: Mapping[str, int]
    file: str
    metadata: Mapping[str, str]
    limits: Limits
    functions: Mapping[FunctionKey, Any]
    files: frozenset[str] = frozenset()
    has_defaults: bool = False
    notes: set[str] = field(default_factory=set)

    @property
    def opset(self) -> int:
        """That of ONNX's own operators."""
        return self.opsets.get("", 1)


def read_model(path: str | os.PathLike[str], limits: Limits = DEFAULT) -> Model:
    """The model in a file; tensors in files of their own lie beside or below it.

    Raises:
        InputError: it cannot be read, is too large, or is no model.
        MissingExtraError: onnx is not installed.
    """
    library()
    name = os.fspath(path)
    label = printable(name, 200)
    try:
        with open(name, "rb") as file:
            proto, places = _opened(file, label, limits)
            return _model(proto, label, Path(name).parent, limits, places)
    except OSError as error:
        raise InputError(f"'{label}' cannot be read: {error.strerror}") from None


def model_of(content: bytes, file: str, folder: Path | None = None, limits: Limits = DEFAULT) -> Model:
    """The model that bytes are, called `file` in errors; `folder` has its tensor files.

    Raises:
        InputError: they are no model, or one of another time.
    """
    return _model(_proto(content, file), file, folder, limits)


def _opened(file: BufferedReader, label: str, limits: Limits) -> tuple[Any, Mapping[int, Place]]:
    """The model in an open file, and where large initializers lie in it that the model is without."""
    status, places = os.fstat(file.fileno()), dict[int, Place]()
    if stat.S_ISREG(status.st_mode) and status.st_size <= limits.document_bytes:
        content, places = without_large(file, status.st_size)
    else:
        content = file.read(limits.document_bytes + 1)
        if len(content) > limits.document_bytes:
            raise InputError(f"'{label}' is larger than {amount(limits.document_bytes)} (limit document_bytes)")
    return _proto(content, label), places


def _proto(content: bytes, file: str) -> Any:
    onnx = library()
    from google.protobuf.message import DecodeError

    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError:
        raise InputError(f"'{file}' is no ONNX model") from None


def _model(model: Any, file: str, folder: Path | None, limits: Limits,
           places: Mapping[int, Place] = MappingProxyType({})) -> Model:
    """The model that the package has read. Nothing of it is kept, since a part would keep it whole in memory."""
    onnx = library()
    domains = [(domain_of(entry), entry.version) for entry in model.opset_import]
    opsets = dict(domains)
    if (domain := duplicate(name for name, _ in dict.fromkeys(domains))) is not None:
        raise InputError(f"'{file}' has two opsets of the domain '{printable(domain or DOMAINS[1], 60)}'; expected one")
    newest = onnx.defs.onnx_opset_version()
    if opsets:
        opsets.setdefault("", newest)  # a model of operators of other domains names theirs alone
    opset = opsets.get("", 0)
    if not model.HasField("graph"):
        raise InputError(f"'{file}' is no ONNX model: it has no graph")
    if not OLDEST <= opset <= newest:
        raise InputError(f"'{file}' has opset {opset}; expected {OLDEST} to {newest}"
                         + ("; a newer package onnx may know it" if opset > newest else
                            "; onnx.version_converter makes newer models of older ones"))
    texts = {"producer": f"{text_of(model.producer_name)} {text_of(model.producer_version)}".strip(),
             "domain": text_of(model.domain),
             "description": text_of(model.doc_string),
             **{text_of(entry.key): text_of(entry.value) for entry in model.metadata_props}}
    reader = _Reader(folder, limits, places=places)
    graph = reader.graph(model.graph, 0)
    keys = [function_key(function, function.name) for function in model.functions]
    graph.faults.extend(f"there are {count} functions '{printable(name, 80)}'; expected one of each name"
                        for (_, name, _), count in Counter(keys).items() if count > 1)
    functions = {key: onnx.FunctionProto.FromString(function.SerializeToString())
                 for key, function in zip(keys, model.functions, strict=True)}
    need_few_nodes(model.graph, functions, file, limits)
    return Model(graph, opsets, file, {printable(key, 60): printable(text, limits.text)
                                       for key, text in texts.items() if text}, limits, functions,
                 frozenset(reader.files), model.ir_version >= 4, reader.notes)


def body_graph(function: Any, node: ModelNode, model: Model, defaults: Mapping[str, Any]) -> Graph:
    """The body of a function, with the attributes of the node that applies it in the places that refer to them.

    Those that it does not have are those of the function, or else the defaults.

    Raises:
        Unreadable: a part of it cannot be read.
    """
    own = _Reader(None, model.limits, {**{name: (value, None) for name, value in defaults.items()},
                                 **{text_of(entry.name): (None, entry) for entry in function.attribute_proto},
                                 **{name: (value, None) for name, value in node.attributes.items()}})
    nodes = [own.node(inner, 0) for inner in function.node]
    own.need_one_of_each([*map(text_of, function.input)], [], nodes)
    model.notes.update(own.notes)
    if own.faults:
        raise Unreadable(f"has a body that cannot be read: {own.faults[0]}")
    return Graph(text_of(function.name), [Port(text_of(name), None, None, "") for name in function.input],
                 [Port(text_of(name), None, None, "") for name in function.output], {}, nodes)


class _Reader:
    """Reads the parts of one model; what is wrong is noted, and reading goes on."""

    def __init__(self, folder: Path | None, limits: Limits,
                 attributes: Mapping[str, tuple[Any, Any]] | None = None,
                 places: Mapping[int, Place] = MappingProxyType({})) -> None:
        """Begin; in the body of a function the node's attributes, or the function's own, stand for references."""
        self.folder, self.limits, self.references = folder, limits, attributes
        self.places = places
        self.faults: list[str] = []
        self.count, self.budget = 0, Budget(limits)
        self.files: set[str] = set()
        self.notes: set[str] = set()

    def graph(self, graph: Any, depth: int) -> Graph:
        if depth > self.limits.nesting:
            raise InputError(f"graphs are nested more than {self.limits.nesting} deep (limit nesting)")
        self.count += len(graph.node) + len(graph.initializer)
        if self.count > self.limits.nodes:
            raise InputError(f"the model has {self.count} nodes or more; at most {self.limits.nodes} are allowed "
                             "(limit nodes)")
        tensors = {}
        for i, tensor in enumerate(graph.initializer):
            try:
                tensors[text_of(tensor.name)] = self.tensor(tensor, self.places.get(i) if depth == 0 else None)
            except Unreadable as error:
                self.faults.append(f"initializer '{printable(text_of(tensor.name), 80)}' {error}")
        self.faults += [f"initializer '{printable(text_of(tensor.values.name), 80)}' is sparse; expected a dense one"
                        for tensor in graph.sparse_initializer]
        nodes = [self.node(node, depth) for node in graph.node]
        inputs = [*map(_port, graph.input)]
        if any(value.type.tensor_type.elem_type == BFLOAT16 for value in (*graph.input, *graph.output)):
            self.notes.add(WIDENED)
        self.faults += [f"input '{printable(port.name, 80)}' is too large: {fault}" for port in inputs
                        if (fault := _fault_of(port, self.limits)) is not None]
        self.faults += [f"input '{printable(port.name, 80)}' has a default of {array.dtype} and the shape "
                        f"{show(array.shape)}; expected {port.dtype} and {show(port.shape)}" for port in inputs
                        if port.dtype is not None and port.shape is not None
                        and (array := tensors.get(port.name)) is not None
                        and not (port.dtype == str(array.dtype) and allows(port.shape, array.shape))]
        names = [text_of(tensor.name) for tensor in graph.initializer]
        self.need_one_of_each([port.name for port in inputs], names, nodes)
        return Graph(text_of(graph.name), inputs, [*map(_port, graph.output)], tensors, nodes,
                     text_of(graph.doc_string), self.faults)

    def need_one_of_each(self, inputs: Sequence[str], tensors: Sequence[str], nodes: Sequence[ModelNode]) -> None:
        """Note names that stand for several values."""
        self.faults += [f"there are {count} {kind}s '{printable(name, 80)}'; expected one of each name"
                        for kind, names in (("input", inputs), ("initializer", tensors))
                        for name, count in Counter(names).items() if count > 1]
        earlier = {*inputs, *tensors}
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in earlier:
                    self.faults.append(f"{node.label} gives '{printable(name, 80)}', which is an earlier value; "
                                       "expected one of each name")
                earlier.add(name)

    def node(self, node: Any, depth: int) -> ModelNode:
        operator = text_of(node.op_type)
        name = text_of(node.name or next(iter(node.output), "") or operator)
        attributes = {}
        for attribute in node.attribute:
            try:
                if text_of(attribute.name) in attributes:
                    raise Unreadable("stands there twice; expected it once")
                if attribute.ref_attr_name and self.references is not None:
                    value, other = self.references.get(text_of(attribute.ref_attr_name), (None, None))
                    if value is None and other is not None:
                        value = self.attribute(other, depth)
                    if value is not None:
                        attributes[text_of(attribute.name)] = value
                else:
                    attributes[text_of(attribute.name)] = self.attribute(attribute, depth)
            except Unreadable as error:
                self.faults.append(f"node '{printable(name, 80)}' ({printable(operator, 40)}): attribute "
                                   f"'{printable(text_of(attribute.name), 40)}' {error}")
        if any(attributes.get(key) == BFLOAT16 for key in ("to", "dtype", "output_dtype")):
            self.notes.add(WIDENED)
        return ModelNode(operator, domain_of(node), name, [*map(text_of, node.input)], [*map(text_of, node.output)],
                         attributes, text_of(node.doc_string), text_of(node.overload))

    def attribute(self, attribute: Any, depth: int) -> Any:
        onnx = library()
        kinds = onnx.AttributeProto
        if attribute.ref_attr_name:
            raise Unreadable("refers to an attribute of a function, and is in none")
        match attribute.type:
            case kinds.FLOAT | kinds.INT | kinds.FLOATS | kinds.INTS:
                value = onnx.helper.get_attribute_value(attribute)
                return value if isinstance(value, int | float) else list(value)
            case kinds.STRING:
                return attribute.s.decode(errors="replace")
            case kinds.STRINGS:
                return [text.decode(errors="replace") for text in attribute.strings]
            case kinds.TENSOR:
                return self.tensor(attribute.t)
            case kinds.GRAPH:
                return self.graph(attribute.g, depth + 1)
        raise Unreadable(f"is of the kind {kinds.AttributeType.Name(attribute.type).lower()}, which circuitflow does "
                         "not have")

    def tensor(self, tensor: Any, place: Place | None = None) -> Any:
        """A tensor as an array; its content may have a place in the file of the model."""
        if tensor.data_type not in READ_AS:
            raise Unreadable(f"is of the type {type_name(tensor.data_type)}; expected one of {', '.join(NAMES)}")
        dtype, shape = np.dtype(READ_AS[tensor.data_type]), tuple(tensor.dims)
        if any(size < 0 for size in shape) or len(shape) > 64:
            raise Unreadable(f"has the shape {printable(str(shape), 80)}; expected at most 64 sizes of 0 or more")
        if fault := self.budget.spend(shape, str(dtype)):
            raise Unreadable(f"cannot be read: {fault}")
        if tensor.data_type != BFLOAT16:
            return self._content(tensor, place, dtype, shape, size_of(shape, str(dtype)))
        self.notes.add(WIDENED)
        bits = self._content(tensor, place, np.dtype(np.uint16), shape, size_of(shape, "uint16"))
        return np.asarray(bits.astype(np.uint32) << 16).view(np.float32)

    def _content(self, tensor: Any, place: Place | None, dtype: np.dtype[Any], shape: tuple[int, ...],
                 size: int) -> Any:
        """The array of a tensor of so many bytes, from where they lie."""
        onnx = library()
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, dtype, shape, size)
        if place is not None:
            return _of_bytes(place.read(), dtype, shape, size)
        if tensor.HasField("raw_data"):
            return _of_bytes(tensor.raw_data, dtype, shape, size)
        try:
            if tensor.data_type == BFLOAT16:
                return np.asarray(tensor.int32_data, np.int32).astype(dtype).reshape(shape)
            return onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError):
            raise Unreadable(f"has another number of elements than its shape {shape} says") from None

    def _external(self, tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> Any:
        entries = {text_of(entry.key): text_of(entry.value) for entry in tensor.external_data}
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        except ValueError:
            raise Unreadable("says where it lies in another file by something that is no number") from None
        if length != size or offset < 0:
            raise Unreadable(f"lies at {short(offset)} in another file with {short(length)} bytes; its shape says "
                             f"{size} bytes")
        try:
            with beside(self.folder, entries.get("location", "").removeprefix("./")) as source:
                if offset + size > source.status.st_size:
                    raise Unreadable(f"ends at {short(offset + size)} in '{source.name}'; that has "
                                     f"{source.status.st_size} bytes")
                self.files.add(str(source.path))
                source.file.seek(offset)
                content = source.file.read(size)
        except ValueFaultError as error:
            raise Unreadable(f"lies in another file: {error}") from None
        return _of_bytes(content, dtype, shape, size)


NAMES = tuple(map(type_name, READ_AS))
"""The dtypes that tensors may have."""


def _of_bytes(content: bytes | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> Any:
    if len(content) != size:
        raise Unreadable(f"has {len(content)} bytes; its shape {shape} says {size}")
    if dtype.kind == "b":  # of which a byte is 0 or 1
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


def _fault_of(port: Port, limits: Limits) -> str | None:
    """Why no array of known sizes can be an input, or None."""
    sizes = [size for size in port.shape or () if isinstance(size, int)]
    if port.dtype is None or port.shape is None or len(sizes) < len(port.shape):
        return None
    return Budget(limits).spend(tuple(sizes), port.dtype)


def _port(value: Any) -> Port:
    kind = value.type.WhichOneof("value") or "value of unknown type"
    if kind != "tensor_type":
        what = kind.removesuffix("_type").replace("_", " ")
        return Port(text_of(value.name), None, None, what, text_of(value.doc_string))
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else
                      text_of(dim.dim_param) or None
                      for dim in tensor.shape.dim)
    return Port(text_of(value.name), READ_AS.get(tensor.elem_type), shape, f"tensor of {type_name(tensor.elem_type)}",
                text_of(value.doc_string))
