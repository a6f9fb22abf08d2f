"""A graph of ONNX under construction: nodes, and tensors that are written once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from circuitflow.gates.shapes import Dimension, Size
from circuitflow.onnx.library import NUMBERS, library
from circuitflow.onnx.storing import TensorContent

SMALL = 1024
"""Most bytes of a tensor that is written once for all that are equal, and that always stands in the model: ONNX Runtime
reads sizes and axes from there."""


class Constant(NamedTuple):
    """A constant before it is part of a model."""

    name: str
    array: Any


class GraphWriter:
    """Writes the nodes of one graph. Every value is a name.

    Attributes:
        opset: of the model.
        nodes: what is written so far.
        tensors: constants and parameters, by name.
        sizes: where a named dimension is read: the input and its axis.
        stage: how the next values are called, unless they are given a name.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self._first: list[Any] = []  # constants and sizes, which graphs inside of nodes read too
        self.tensors: dict[str, Any] = {}
        self.sizes: dict[str, tuple[str, int]] = {}
        self.stage = ""
        self._constants: dict[Any, str] = {}
        self._ones: set[str] = set()  # constants without axes
        self._numbers: dict[str, int] = {}
        self._size_values: dict[Any, str] = {}

    def fresh(self) -> str:
        """A name for a value inside of a stage; ids have no slash."""
        number = self._numbers[self.stage] = self._numbers.get(self.stage, 0) + 1
        return f"{self.stage}/{number}"

    def add(self, operator: str, *inputs: str, outputs: int = 1, names: Sequence[str] = (), **attributes: Any) -> Any:
        """A node; the name of its output, or a list where there are several."""
        names = list(names) or [self.fresh() for _ in range(outputs)]
        if operator == "Div" and inputs[0] in self._ones:  # up to 1.30 ONNX Runtime loses nodes where it fuses these
            operator, inputs = "Reciprocal", inputs[1:]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(library().helper.make_node(operator, list(inputs), names, **given))
        return names[0] if len(names) == 1 else names

    def constant(self, value: Any, dtype: Any = None) -> str:
        """A tensor that is written once; a large one once for each array, since bytes to compare would be a copy."""
        array = np.asarray(value, dtype)
        key = (str(array.dtype), array.shape, array.tobytes()) if array.nbytes <= SMALL else id(array)
        if key not in self._constants:
            name = f"constant/{len(self._constants)}"
            self._constants[key] = name
            if array.dtype.kind == "f" and array.shape == () and array == 1:
                self._ones.add(name)
            if array.dtype.kind == "f":  # initializers that are floats are parameters
                self._first.append(Constant(name, array))  # which keeps the array, and so its identity
            else:
                self.tensors[name] = array
        return self._constants[key]

    def cast(self, x: str, dtype: Any) -> str:
        """A value in another dtype."""
        result: str = self.add("Cast", x, to=NUMBERS[str(np.dtype(dtype))])
        return result

    def where(self, condition: str, x: str, y: str, dtype: Any) -> str:
        """One of two values of a dtype by a condition; ONNX Runtime chooses among few types."""
        dtype = np.dtype(dtype)
        if dtype.kind == "b":
            chosen, other = self.add("And", condition, x), self.add("And", self.add("Not", condition), y)
            return str(self.add("Or", chosen, other))
        if dtype.kind in "iu" and dtype.name not in ("int32", "int64", "uint8"):
            return self.cast(self.where(condition, self.cast(x, "int64"), self.cast(y, "int64"), "int64"), dtype)
        return str(self.add("Where", condition, x, y))

    def shape(self, sizes: Sequence[Dimension]) -> str:
        """A vector of sizes, numbers or named."""
        if all(not isinstance(size, Size) for size in sizes):
            return self.constant(np.asarray(sizes, np.int64).reshape(-1))
        result: str = self.add("Concat", *(self.size(size) for size in sizes), axis=0)
        return result

    def size(self, size: Dimension) -> str:
        """A size as a vector of one element."""
        if not isinstance(size, Size):
            return self.constant([size], np.int64)
        key = size.terms
        if key not in self._size_values:
            total = None
            with self._at_the_beginning():
                for names, factor in size.terms:
                    term = self.constant([factor], np.int64)
                    for name in names:
                        term = self.add("Mul", term, self._named(name))
                    total = term if total is None else self.add("Add", total, term)
            assert total is not None  # noqa: S101
            self._size_values[key] = total
        return self._size_values[key]

    @contextmanager
    def _at_the_beginning(self) -> Iterator[None]:
        """Write nodes before all others."""
        nodes, self.nodes = self.nodes, self._first
        yield
        self.nodes = nodes

    @contextmanager
    def inside(self) -> Iterator[list[Any]]:
        """Write the nodes of a graph inside of a node."""
        nodes, self.nodes = self.nodes, []
        yield self.nodes
        self.nodes = nodes

    def put(self, graph: Any) -> None:
        """Put the nodes into a graph of the package, in order; the content of a constant is copied there alone."""
        for node in (*self._first, *self.nodes):
            if isinstance(node, Constant):
                made = graph.node.add(op_type="Constant", output=[node.name])
                _fill(made.attribute.add(name="value", type=library().AttributeProto.TENSOR).t, node.array)
            else:
                graph.node.append(node)

    def _named(self, name: str) -> str:
        key = ("", name)
        if key not in self._size_values:
            source, axis = self.sizes[name]
            self._size_values[key] = self.add("Shape", source, start=axis, end=axis + 1)
        return self._size_values[key]

    def reshape(self, x: str, shape: Sequence[Dimension]) -> str:
        """A value in another shape."""
        allow = 1 if any(not isinstance(size, Size) and size == 0 for size in shape) else None
        result: str = self.add("Reshape", x, self.shape(shape), allowzero=allow)
        return result

    def function(self, dtype: Any) -> Formulas:
        """Arithmetic of values of a dtype."""
        return Formulas(self, np.dtype(dtype))


class Formulas:
    """Arithmetic on names of values of one dtype; numbers become constants."""

    def __init__(self, writer: GraphWriter, dtype: np.dtype[Any]) -> None:
        self.writer, self.dtype = writer, dtype

    def __call__(self, operator: str, *operands: Any, **attributes: Any) -> str:
        result: str = self.writer.add(operator, *(
            x if isinstance(x, str) else self.writer.constant(x, self.dtype) for x in operands), **attributes)
        return result

    def where(self, condition: str, x: Any, y: Any) -> str:
        """A choice by element."""
        names = (v if isinstance(v, str) else self.writer.constant(v, self.dtype) for v in (x, y))
        result: str = self.writer.add("Where", condition, *names)
        return result

    def horner(self, x: str, coefficients: Sequence[float]) -> str:
        """A polynomial, the highest power first."""
        total: Any = coefficients[0]
        for i, c in enumerate(coefficients[1:]):
            total = self("Add", self("Mul", x, total) if i or not isinstance(total, str) else total, c)
        return str(total)


def model_bytes(writer: GraphWriter, name: str, inputs: Sequence[Any], outputs: Sequence[Any], description: str,
                metadata: Mapping[str, str], tensors: TensorContent | None = None, file: str = "") -> bytes:
    """The model of a graph; tensors that have a place in a file are read from there."""
    onnx = library()
    helper = onnx.helper
    places = tensors.places if tensors is not None else {}
    opsets = [helper.make_opsetid("", writer.opset)]
    model = onnx.ModelProto(ir_version=helper.find_min_ir_version_for(opsets), opset_import=opsets,
                            producer_name="circuitflow")
    graph = model.graph
    graph.name, graph.doc_string = name, description
    writer.put(graph)
    for id_, array in writer.tensors.items():
        if id_ in places:
            graph.initializer.append(_external(id_, array, file, *places[id_]))
        else:
            _fill(graph.initializer.add(name=id_), array)
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    helper.set_model_props(model, dict(metadata))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _fill(tensor: Any, array: Any) -> None:
    """Make a tensor of the package that of an array."""
    tensor.dims.extend(array.shape)
    tensor.data_type = NUMBERS[str(array.dtype)]
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _external(name: str, array: Any, file: str, offset: int, length: int) -> Any:
    """A tensor that lies in another file."""
    kinds = library().TensorProto
    tensor = kinds(name=name, dims=array.shape, data_type=NUMBERS[str(array.dtype)], data_location=kinds.EXTERNAL)
    for key, value in (("location", file), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def port(name: str, dtype: str, shape: Sequence[Dimension | None]) -> Any:
    """An input or output of a graph; a size may have no name."""
    return library().helper.make_tensor_value_info(name, NUMBERS[dtype], [
        size if not isinstance(size, Size) else str(size) for size in shape])
