"""The document: format 1.1 as pydantic models.

The models hold the words of the document and check its form strictly: nothing is coerced, and no unknown key passes.
What needs the rest of the document (references, operands, shapes) is checked when the circuit is built.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from circuitflow.document.base import (
    NON_FINITE,
    DType,
    Id,
    Metadata,
    Model,
    NamedShape,
    PortName,
    Reference,
    Sha256,
    Shape,
    SizeOrName,
    Version,
    json_value,
)
from circuitflow.document.fit import FIT_TAGS, Fit

# Values ---------------------------------------------------------------------------------------------------------------

_PLAIN = {
    "anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "array"}, {"enum": list(NON_FINITE)}],
    "description": "a number, or nested lists of numbers",
}


def _plain(value: Any) -> Any:
    if isinstance(value, int | float | list) or (isinstance(value, str) and value in NON_FINITE):
        return value
    if isinstance(value, str):
        raise PydanticCustomError("plain", "a number without quotes, or \"NaN\", \"Infinity\" or \"-Infinity\"")
    raise PydanticCustomError("plain", "a number, nested lists of numbers, or an object with 'data', 'file' or "
                                       "'random'")


class TensorData(Model):
    """Numbers with a shape and a dtype of their own; the lists may be flat when `shape` is given."""

    data: Annotated[Any, AfterValidator(_plain), WithJsonSchema(_PLAIN)]
    shape: Shape | None = None
    dtype: DType | None = None


class TensorFile(Model):
    """A tensor in a safetensors file beside or below the document."""

    file: Annotated[str, Field(description="path of a .safetensors file, relative to the document")]
    tensor: Annotated[str, Field(description="name of the tensor in the file")]
    shape: Shape | None = None
    dtype: DType | None = None
    sha256: Sha256 | None = None


class _Random(Model):
    random: str
    shape: Shape
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    dtype: Literal["float64", "float32"] | None = None


class RandomNormal(_Random):
    """Independent draws from the normal distribution."""

    random: Literal["normal"]
    mean: float = 0.0
    std: Annotated[float, Field(ge=0)] = 1.0


class RandomUniform(_Random):
    """Independent draws from the uniform distribution over [low, high)."""

    random: Literal["uniform"]
    low: float = 0.0
    high: float = 1.0


FANS = ("glorot_normal", "glorot_uniform", "he_normal", "he_uniform")


def _fan(value: str) -> str:
    if value in FANS:
        return value
    names = ", ".join(f"'{name}'" for name in ("normal", "uniform", *FANS))
    raise PydanticCustomError("enum", "a distribution", {"expected": names})


class RandomFan(_Random):
    """Draws scaled by the fan of a weight of shape (…, in, out): Glorot and Bengio 2010, He et al. 2015."""

    random: Annotated[str, AfterValidator(_fan), WithJsonSchema({"enum": list(FANS)})]


def _kind_of_random(value: Any) -> str | None:
    name = value.get("random") if isinstance(value, dict) else getattr(value, "random", None)
    return f"<{name}>" if name in ("normal", "uniform") else "<fan>"


RandomTensor = Annotated[
    Annotated[RandomNormal, Tag("<normal>")]
    | Annotated[RandomUniform, Tag("<uniform>")]
    | Annotated[RandomFan, Tag("<fan>")],
    Discriminator(_kind_of_random),
]


_FORMS = {"data": "<data>", "file": "<tensor file>", "random": "<random>"}


def _kind_of_value(value: Any) -> str | None:
    match value:
        case dict():
            return next((tag for key, tag in _FORMS.items() if key in value), None)
        case TensorData():
            return "<data>"
        case TensorFile():
            return "<tensor file>"
        case _Random():
            return "<random>"
        case _:
            return "<plain>"


Value = Annotated[
    Annotated[Any, AfterValidator(_plain), WithJsonSchema(_PLAIN), Tag("<plain>")]
    | Annotated[TensorData, Tag("<data>")]
    | Annotated[TensorFile, Tag("<tensor file>")]
    | Annotated[RandomTensor, Tag("<random>")],
    Discriminator(_kind_of_value),
]


# Nodes and edges ------------------------------------------------------------------------------------------------------


class _Node(Model):
    id: Annotated[Id, Field(description="unique name of the node")]
    label: Annotated[str | None, Field(description="free text, shown beside the id")] = None
    description: Annotated[str | None, Field(description="free text")] = None
    metadata: Annotated[Metadata | None, Field(description="any JSON object, carried along untouched")] = None


_DTYPE = "of the value; the circuit's by default"


class InputNode(_Node):
    """Data fed at run time; `value` is its default. Without value and shape, a scalar."""

    gate: Literal["input"]
    value: Annotated[Value | None, Field(description="its default")] = None
    shape: Annotated[NamedShape | None, Field(description="sizes and names of dimensions")] = None
    dtype: Annotated[DType | None, Field(description=_DTYPE)] = None


def _bound(value: Any) -> Any:
    if isinstance(value, int | float | list) or (isinstance(value, str) and value in NON_FINITE):
        return value
    raise PydanticCustomError("bound", "a number, or nested lists of numbers in the parameter's shape")


_Bound = Annotated[Any, AfterValidator(_bound), WithJsonSchema(_PLAIN)]


class ParameterNode(_Node):
    """A trainable value."""

    gate: Literal["parameter"]
    value: Annotated[Value, Field(description="its value")]
    dtype: Annotated[DType | None, Field(description=_DTYPE)] = None
    min: Annotated[_Bound | None, Field(description="the least value that a fit may find: a number, or nested lists of "
                                                    "numbers in the parameter's shape")] = None
    max: Annotated[_Bound | None, Field(description="the largest value that a fit may find, as `min`")] = None
    frozen: Annotated[bool, Field(description="a fit leaves its value as it is; gradients still flow to it")] = False


class ConstantNode(_Node):
    """A fixed value; no gradient flows to it."""

    gate: Literal["constant"]
    value: Annotated[Value, Field(description="its value")]
    dtype: Annotated[DType | None, Field(description=_DTYPE)] = None


_Inputs = Annotated[
    Annotated[list[Reference], Tag("<list>")] | Annotated[dict[PortName, Reference], Tag("<object>")],
    Discriminator(lambda value: "<object>" if isinstance(value, dict) else "<list>"),
    Field(description="sources in operand order, or an object from port to source; instead of edges"),
]


class SubcircuitNode(_Node):
    """A node that applies subcircuits; its ports are their inputs, its outputs theirs."""

    inputs: _Inputs | None = None
    _keys: ClassVar[dict[str, str]] = {"circuit": "circuit"}

    @property
    def circuits(self) -> dict[str, str]:
        """The names of the subcircuits, by key."""
        return {key: getattr(self, name) for key, name in self._keys.items()}


class _OneCircuit(SubcircuitNode):
    circuit: Annotated[Id, Field(description="name of a circuit in `circuits`")]


class CallNode(_OneCircuit):
    """The application of a subcircuit; its ports are the subcircuit's inputs."""

    gate: Literal["call"]


class CheckpointNode(_OneCircuit):
    """The application of a subcircuit whose inner values are not kept but computed again in the reverse sweep."""

    gate: Literal["checkpoint"]


class ScanNode(_OneCircuit):
    """The application of a subcircuit at every position of a leading axis, one after the other, with a carry."""

    gate: Literal["scan"]
    carry: Annotated[dict[Id, Reference], Field(
        description="inputs that are carried along, each with the output of the circuit that is its next value; the "
                    "last is the output of the node")] = {}  # noqa: RUF012  (pydantic copies it)
    over: Annotated[list[Id], Field(min_length=1, description="inputs that take one position of a leading axis at "
                                                              "a time; all others are the same every time")]
    reverse: Annotated[bool, Field(description="from the last position to the first")] = False
    cache: Annotated[int, Field(ge=1, description="for the reverse sweep, every so many-th carry is kept; those "
                                                  "between are computed again")] = 1


class IfNode(SubcircuitNode):
    """One of two subcircuits with equal outputs: the one that a scalar condition chooses; the other does not run."""

    gate: Literal["if"]
    then: Annotated[Id, Field(description="name of the circuit that runs if the operand `condition` is true")]
    else_: Annotated[Id, Field(alias="else", description="name of the circuit that runs otherwise")]
    _keys: ClassVar[dict[str, str]] = {"then": "then", "else": "else_"}


class GateNode(_Node):
    """The application of a gate; the gate's attributes stand flat beside the other keys."""

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(json_value)]]
    gate: str
    inputs: _Inputs | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """The gate's attributes, as written."""
        return self.__pydantic_extra__ or {}


MODELS: dict[str, type[_Node]] = {
    "input": InputNode, "parameter": ParameterNode, "constant": ConstantNode, "call": CallNode,
    "checkpoint": CheckpointNode, "scan": ScanNode, "if": IfNode,
}
NODES = tuple(MODELS)
"""The kinds of nodes that are no gates of a table."""

_OWN_MODEL = {gate: f"<{gate}>" for gate in NODES}


def _kind_of_node(value: Any) -> str:
    gate = value.get("gate") if isinstance(value, dict) else getattr(value, "gate", None)
    return _OWN_MODEL.get(gate, "<gate>") if isinstance(gate, str) else "<gate>"


Node = Annotated[
    Annotated[InputNode, Tag("<input>")]
    | Annotated[ParameterNode, Tag("<parameter>")]
    | Annotated[ConstantNode, Tag("<constant>")]
    | Annotated[CallNode, Tag("<call>")]
    | Annotated[CheckpointNode, Tag("<checkpoint>")]
    | Annotated[ScanNode, Tag("<scan>")]
    | Annotated[IfNode, Tag("<if>")]
    | Annotated[GateNode, Tag("<gate>")],
    Discriminator(_kind_of_node),
]


class Edge(Model):
    """What `source` computes goes to an operand of `target`."""

    source: Annotated[Reference, Field(description="id of a node, or id.port for one output of several")]
    target: Id
    port: Annotated[SizeOrName | None, Field(description="the operand's name or position")] = None


# Circuits -------------------------------------------------------------------------------------------------------------


class Body(Model):
    """Nodes and edges with outputs: a document, or a subcircuit written inside one.

    A whole document may stand as a subcircuit; it means there what it means by itself. Its `fit` says how values were
    found and does not touch what the circuit computes. A body that is no document has none.
    """

    name: str | None = None
    description: str | None = None
    dtype: Annotated[Literal["float64", "float32"] | None, Field(description="default dtype of values: float64")] = None
    circuits: Annotated[dict[Id, Subcircuit] | None, Field(description="subcircuits, by name")] = None
    nodes: list[Node]
    edges: list[Edge] = []  # noqa: RUF012  (pydantic copies it)
    outputs: Annotated[list[Reference], Field(min_length=1, description="the nodes that the circuit computes")]
    upstream: Annotated[
        dict[Reference, Value] | None, Field(description="default upstream gradients, by output")
    ] = None
    fit: Annotated[Fit | None, Field(description="how the parameters are found from data; in a document, not in a "
                                                 "subcircuit")] = None
    layout: Annotated[
        dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None,
        Field(description="positions of nodes for drawing"),
    ] = None
    metadata: Metadata | None = None
    schema_: Annotated[str | None, Field(alias="$schema", description="where an editor finds this schema")] = None
    circuitflow: Annotated[Version | None, Field(description="version of the format, where a whole document stands "
                                                             "here")] = None


class CircuitFile(Model):
    """A subcircuit in a document of its own, beside or below this one."""

    file: Annotated[str, Field(description="path of a circuit document, relative to this one")]
    sha256: Sha256 | None = None


def _kind_of_subcircuit(value: Any) -> str:
    if isinstance(value, dict):
        return "<circuit file>" if "file" in value else "<inline>"
    return "<circuit file>" if isinstance(value, CircuitFile) else "<inline>"


def _body(value: Any) -> Any:
    """A document of a program as the body that a text would give."""
    if not isinstance(value, Document):
        return value
    return Body.model_construct(set(value.model_fields_set), **{name: getattr(value, name)
                                                                for name in value.model_fields_set})


Subcircuit = Annotated[
    Annotated[CircuitFile, Tag("<circuit file>")] | Annotated[Body, BeforeValidator(_body), Tag("<inline>")],
    Discriminator(_kind_of_subcircuit),
]


class Document(Body):
    """A circuit document of format 1.1, or of 1.0, which has neither `fit` nor `min`, `max` and `frozen`.

    Two documents are equal when they say the same with the same words; the layout of the JSON text does not count.
    """

    circuitflow: Annotated[Version, Field(description="version of the format")]


TAGS: dict[Any, type[BaseModel]] = {
    "<plain>": TensorData, "<data>": TensorData, "<tensor file>": TensorFile,
    "<random>": RandomNormal, "<normal>": RandomNormal, "<uniform>": RandomUniform, "<fan>": RandomFan,
    "<input>": InputNode, "<parameter>": ParameterNode, "<constant>": ConstantNode, "<call>": CallNode,
    "<checkpoint>": CheckpointNode, "<scan>": ScanNode, "<if>": IfNode,
    "<gate>": GateNode, "<list>": GateNode, "<object>": GateNode,
    "<circuit file>": CircuitFile, "<inline>": Body, **FIT_TAGS,
}
"""The tags of the members of the unions above, which pydantic puts into the paths of its findings."""
