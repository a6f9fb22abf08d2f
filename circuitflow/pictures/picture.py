"""A picture before it is drawn: vertices, the wires between them, the groups around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """What a vertex is."""

    INPUT = "input"
    PARAMETER = "parameter"
    CONSTANT = "constant"
    GATE = "gate"
    PORT = "port"
    CIRCUIT = "circuit"
    FORK = "fork"
    OUTPUT = "output"
    BAND = "band"


class Sign(StrEnum):
    """How a vertex differs from another circuit's."""

    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Mark:
    """A number on a wire.

    Attributes:
        text: the number in short, or the shape of a tensor.
        strip: some elements of a tensor, scaled to [-1, 1].
        full: the number in full, or a line on a tensor.
        array: the number or the tensor itself, where there is one.
    """

    text: str
    strip: tuple[float, ...] = ()
    full: str = ""
    array: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Vertex:
    """A gate, a source, an output, a closed call, or the place where a wire forks.

    Attributes:
        key: its name in the picture.
        kind: what it is.
        lines: its text; the first line is its symbol or name. All text here may be anything at all.
        tip: the text that a pointer shows.
        group: key of the group that it is in, or "".
        node: id of the node in the circuit, or "".
        members: the nodes and closed calls in a band.
        sign: how it differs, where two circuits are compared.
    """

    key: str
    kind: Kind
    lines: tuple[str, ...] = ()
    tip: str = ""
    group: str = ""
    node: str = ""
    members: tuple[str, ...] = ()
    sign: Sign = Sign.SAME


@dataclass(frozen=True, slots=True)
class Link:
    """A wire from one vertex to another.

    Attributes:
        key: its name in the picture.
        source, target: keys of vertices.
        name: name of the value on it; "" where that stands elsewhere.
        value: the value, drawn above.
        gradient: the gradient, drawn below.
        of: name of the value that it carries, as in results.
        values: names of the values that cross from one band to the next.
        edges: the edges whose contributions it carries, each as (target, port).
        back: the gradient on it: ("gradient", name), ("upstream", name) or ("contribution", source, target, port).
        sign: how it differs, where two circuits are compared.
    """

    key: str
    source: str
    target: str
    name: str = ""
    value: Mark | None = None
    gradient: Mark | None = None
    of: str = ""
    values: tuple[str, ...] = ()
    edges: tuple[tuple[str, str | int], ...] = ()
    back: tuple[str | int, ...] = ()
    sign: Sign = Sign.SAME

    @property
    def marks(self) -> list[tuple[str, Mark]]:
        """Its marks that have a full text, each with the word for it."""
        marks = (("value", self.value), ("gradient", self.gradient))
        return [(word, mark) for word, mark in marks if mark is not None and mark.full]


@dataclass(frozen=True, slots=True)
class Group:
    """A call that is drawn open.

    Attributes:
        key: its name in the picture.
        title: the text above it.
        parent: key of the group around it, or "".
    """

    key: str
    title: str
    parent: str = ""


class Room(NamedTuple):
    """The largest picture that is drawn node by node. Graphviz's time grows at least with the square of its size.

    Attributes:
        nodes: vertices that stand for nodes and closed calls.
        wires: from one of them to another, and to outputs.
    """

    nodes: int
    wires: int

    def holds(self, nodes: int, wires: int) -> bool:
        """Whether there is room for so many."""
        return nodes <= self.nodes and wires <= self.wires


UNASKED, MOST = Room(300, 1000), Room(2000, 3000)
"""The largest picture without a depth, and with one."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a circuit."""

    title: str
    vertices: list[Vertex] = field(default_factory=list)
    wires: list[Link] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def is_overview(self) -> bool:
        """Whether it shows bands in place of nodes."""
        return any(vertex.kind == Kind.BAND for vertex in self.vertices)

    def add(self, kind: Kind, lines: tuple[str, ...] = (), **rest: Any) -> Vertex:
        """A new vertex; arguments are the attributes of `Vertex`."""
        self.vertices.append(Vertex(f"n{len(self.vertices) + 1}", kind, lines, **rest))
        return self.vertices[-1]

    def connect(self, source: str, target: str, **rest: Any) -> None:
        """Add a wire; arguments are the attributes of `Link`."""
        self.wires.append(Link(f"w{len(self.wires) + 1}", source, target, **rest))
