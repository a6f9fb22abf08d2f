"""What the functions that import operators work with: one node of a model, its operands and attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from circuitflow.gates import ArrayType
from circuitflow.gates.shapes import Dimension, Size, show
from circuitflow.onnx.library import READ_AS, default, schema, type_name
from circuitflow.onnx.reading import Graph, ModelNode
from circuitflow.text import printable
from circuitflow.transforms.naming import Names, close_over, needed_records

if TYPE_CHECKING:
    from circuitflow.authoring.author import Author
    from circuitflow.authoring.wires import AuthoredWire as Wire


class Refusal(ValueError):  # noqa: N818
    """A node of a model that a document cannot say; the message continues "node 'D' (Operator): …"."""


class Unknown(Refusal):
    """An input must be known before a run, and is not.

    Attributes:
        position: of the input.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


@dataclass(eq=False, slots=True)
class Value:
    """A value of a graph: what is known of it before a run, and the wire that has it, made when it is needed.

    Attributes:
        name: its name in the model.
        array: its elements, if they are known. Sizes of named dimensions are `Size` objects among them.
        dtype: of its elements.
        is_parameter: whether it is a float of an initializer, which a fit may change.
        wire: the wire.
    """

    name: str
    dtype: str
    array: Any = None
    is_parameter: bool = False
    wire: Any = None

    @property
    def shape(self) -> tuple[Dimension, ...]:
        """Its sizes, numbers or named."""
        shape: tuple[Dimension, ...] = tuple(self.array.shape) if self.wire is None else self.wire.type.shape
        return shape

    @property
    def is_symbolic(self) -> bool:
        """Whether there are named sizes among its elements."""
        return self.array is not None and self.array.dtype == object


class Body:
    """The body of a unit of a node, under construction.

    Attributes:
        w: writes the body; it has every gate as a method.
    """

    def __init__(self, outer: Author, circuits: dict[str, Any]) -> None:
        self.w: Any = type(outer)(outer.gates, outer.dtype)
        self._outer, self._circuits = outer, circuits

    def body(self) -> Body:
        """The body of a unit inside of this one, to be written."""
        return Body(self.w, self._circuits)

    def port(self, name: str, type_: ArrayType) -> Wire:
        """An input of the body."""
        wire: Wire = self.w.port(name, type_)
        return wire

    def wires(self, values: Sequence[Value]) -> list[Wire]:
        """Values of the body as wires; those that are known become constants."""
        return [self.w.as_wire(value.array) if value.wire is None else value.wire for value in values]

    def add(self, hint: str, outputs: Mapping[str, Wire]) -> str:
        """Put the body among the circuits of the document, with outputs by name; gives its name there."""
        needs = needed_records([wire.record for wire in outputs.values()])
        records = [record for record in self.w.records if record in needs or record.gate == "input"]
        body = close_over(self.w, records, list(outputs.values()), list(outputs))
        body = {**({"dtype": self._outer.dtype} if self._outer.dtype != "float64" else {}), **body}
        for name, other in self._circuits.items():
            if other == body:
                return name
        name = Names(self._circuits).unique(hint)
        self._circuits[name] = body
        return name

    def scan(self, hint: str, operands: Mapping[str, Any], outputs: Mapping[str, Wire], carry: Mapping[str, str],
             over: Sequence[str], types: Mapping[str, ArrayType], *, reverse: bool) -> Sequence[Any]:
        """Apply the body at every position of a leading axis; `types` are those of the outputs of the node."""
        attributes: dict[str, Any] = {"circuit": self.add(hint, outputs), "carry": dict(carry), "over": list(over),
                                      **({"reverse": True} if reverse else {})}
        wires = {name: self._outer.as_wire(x) for name, x in operands.items()}
        return self._outer.apply("scan", wires, attributes, tuple(types), list(types.values()))


class Call:
    """One node of a model, and the document that it is written into.

    Every input and attribute that a function does not look at is refused afterwards: none is passed over in silence.

    Attributes:
        node: the node.
        opset: of the model.
        w: the document under construction; it has every gate as a method.
        circuits: of the document.
        notes: what differs from the model or from other libraries, in sentences.
        version: of the operator in this opset.
    """

    def __init__(self, node: ModelNode, opset: int, values: Sequence[Value | None], author: Author,
                 materialize: Callable[[Value], Wire], circuits: dict[str, Any],
                 dimensions: Mapping[str, Wire], notes: set[str]) -> None:
        self.node, self.opset, self.w, self.notes = node, opset, author, notes
        self._dimensions = dimensions
        self.circuits = circuits
        self._values, self._materialize = values, materialize
        self._read: set[str] = set()
        self._seen: set[int] = set()
        description = schema(node.operator, opset)
        self.version = description.since_version if description is not None else opset

    def __len__(self) -> int:
        return len(self._values)

    def body(self) -> Body:
        """The body of a unit, to be written."""
        return Body(self.w, self.circuits)

    @property
    def outputs(self) -> int:
        """How many outputs the model reads."""
        return max((i + 1 for i, name in enumerate(self.node.outputs) if name), default=0)

    def check(self) -> None:
        """Refuse a number of inputs, or attributes of a kind, that the operator does not take.

        Raises:
            Refusal: it does not take them.
        """
        description = schema(self.node.operator, self.opset) if self.node.domain == "" else None
        if description is None:
            return
        if not description.min_input <= len(self) <= description.max_input:
            raise Refusal(f"has {len(self)} inputs; expected {description.min_input} to {description.max_input}")
        for i in range(min(description.min_input, len(description.inputs))):
            if not self.has(i) and description.inputs[i].option.name == "Single":
                raise Refusal(f"needs its input {i}, '{description.inputs[i].name}'")
        for name, value in self.node.attributes.items():
            if name in description.attributes:
                kind = description.attributes[name].type.name
                if not is_of_kind(value, kind):
                    raise Refusal(f"has a {type(value).__name__} for its attribute '{name}'; expected {kind.lower()}")

    # Inputs

    def has(self, position: int) -> bool:
        """Whether there is an input at a position."""
        return position < len(self._values) and self._values[position] is not None

    def value(self, position: int) -> Value:
        """The input at a position."""
        self._seen.add(position)
        value = self._values[position] if position < len(self._values) else None
        if value is None:
            raise Refusal(f"needs an input {position}")
        return value

    def __getitem__(self, position: int) -> Wire:
        """The input at a position as a wire."""
        return self._materialize(self.value(position))

    def get(self, position: int) -> Wire | None:
        """The input at a position as a wire, None where it is left out."""
        return self[position] if self.has(position) else None

    def all(self) -> list[Wire]:
        """All inputs as wires."""
        return [self[i] for i in range(len(self))]

    def type(self, position: int) -> ArrayType:
        """Shape and dtype of an input."""
        value = self.value(position)
        return ArrayType(value.shape, value.dtype)

    def shape(self, position: int) -> tuple[Dimension, ...]:
        """The shape of an input."""
        return self.value(position).shape

    def sizes(self, position: int) -> list[int]:
        """The shape of an input in numbers."""
        return self.numbers_of(self.shape(position))

    def numbers_of(self, sizes: Sequence[Dimension]) -> list[int]:
        """Sizes that must be numbers."""
        numbers = [size for size in sizes if isinstance(size, int)]
        if len(numbers) < len(sizes):
            raise Refusal(f"needs numbers for the sizes {show(sizes)}{sizes_by(*sizes)}")
        return numbers

    def dimension(self, size: Size) -> Wire | None:
        """Zeros along a named dimension, of an input that has it; None where there is none here."""
        x, w = self._dimensions.get(str(size)), self.w
        if x is None:
            return None
        zeros: Wire = w.zeros_like(x if x.type.is_float else w.cast(x, dtype=w.dtype))
        axis = x.type.shape.index(size)
        others = [other for other in range(len(x.type.shape)) if other != axis]
        return w.reduce_sum(zeros, axis=others) if others else zeros

    def known(self, position: int, what: str) -> Any:
        """The elements of an input that must be known before a run: an array, with `Size` objects for named sizes."""
        value = self.value(position)
        if value.array is None:
            raise Unknown(f"needs to know its input '{printable(value.name, 60)}' ({what}) before a run, since sizes "
                          "or gates depend on it; make it an initializer of the model, or give it by --set if it is "
                          "an input", position)
        return value.array

    def numbers(self, position: int, what: str) -> Any:
        """The elements of an input that must be numbers."""
        array = self.known(position, what)
        if array.dtype == object:
            return np.asarray(self.numbers_of(array.reshape(-1).tolist()), np.int64).reshape(array.shape)
        return array

    # Attributes

    def attribute(self, name: str, fallback: Any = None) -> Any:
        """An attribute, else what the operator has for it in this version, else the fallback."""
        self._read.add(name)
        if name in self.node.attributes:
            return self.node.attributes[name]
        own = default(self.node.operator, self.opset, name) if schema(self.node.operator, self.opset) else None
        return fallback if own is None else own

    def has_attribute(self, name: str) -> bool:
        """Whether the node has an attribute."""
        self._read.add(name)
        return name in self.node.attributes

    def setting(self, name: str, position: int, fallback: Any = None) -> Any:
        """What is an attribute in early versions and an input later, as lists of numbers or a number."""
        if self.has_attribute(name):
            return self.node.attributes[name]
        if self.has(position):
            return self.known(position, name).tolist()
        return self.attribute(name, fallback)

    def expect(self, **settings: Any) -> None:
        """Refuse attributes with other values than these."""
        for name, value in settings.items():
            mine = self.attribute(name, value)
            if mine != value and not (isinstance(value, float) and np.float32(mine) == np.float32(value)):
                raise Refusal(f"has {name} {printable(str(mine), 40)}, which no gate says; expected {value}")

    def dtype(self, number: int) -> str:
        """A dtype by its number in ONNX."""
        if number not in READ_AS:
            raise Refusal(f"needs the type {type_name(number)}; expected one of {', '.join(map(type_name, READ_AS))}")
        return READ_AS[number]

    def unread(self) -> str | None:
        """What nothing looked at, in words."""
        for name in self.node.attributes:
            if name not in self._read:
                return f"has the attribute '{printable(name, 40)}', which is not understood"
        for i, value in enumerate(self._values):
            if value is not None and i not in self._seen:
                return f"has an input {i}, '{printable(value.name, 60)}', which is not understood"
        return None


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "INT": int, "FLOAT": (int, float), "STRING": str, "TENSOR": np.ndarray, "GRAPH": Graph}
"""The types of attributes, by ONNX's name for their kind."""


def is_of_kind(value: Any, kind: str) -> bool:
    """Whether an attribute is of a kind, or a list of one."""
    if kind.endswith("S") and kind != "TENSORS":
        return isinstance(value, list) and all(is_of_kind(item, kind[:-1]) for item in value)
    return kind not in _KINDS or isinstance(value, _KINDS[kind])


def as_list(results: Any) -> list[Any]:
    """What a function gives that writes a node: one result, or several."""
    return list(results) if isinstance(results, list | tuple) else [results]


def sizes_by(*sizes: Any) -> str:
    """What may mend an error of sizes: the options that give their named dimensions numbers, if they have any."""
    names = {name for size in sizes if isinstance(size, Size) for term, _ in size.terms for name in term}
    return f"; give sizes by {' '.join(f'--dim {name}=N' for name in sorted(names))}" if names else ""
