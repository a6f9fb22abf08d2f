"""Where the ids of a document are defined and referred to, and what is in scope at a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Literal, NamedTuple

from circuitflow.lsp.syntax import Member, Path, Value

APPLYING = {"call": ("circuit",), "checkpoint": ("circuit",), "scan": ("circuit",), "if": ("then", "else")}
"""The kinds of nodes that apply circuits, with the keys that name them."""


LONGEST = 1024
"""The most characters of a reference."""

MOST_MENTIONS = 2**18
"""The most mentions of a text that are found; one in which there are more has none."""

DEEPEST = 64
"""How deep circuits are followed into one another."""


class Symbol(NamedTuple):
    """What a name means: a node or a circuit of one body.

    Attributes:
        kind: "node" or "circuit".
        body: the path of the body that defines it.
        name: its id.
    """

    kind: Literal["node", "circuit"]
    body: Path
    name: str


class Mention(NamedTuple):
    """A place where a symbol stands.

    Attributes:
        symbol: what is meant.
        start, end: offsets of the name, without quotes and without the port behind it.
        is_definition: whether it is defined here.
    """

    symbol: Symbol
    start: int
    end: int
    is_definition: bool = False


@dataclass(eq=False)
class Body:
    """A body of the text: the document, or a subcircuit in it.

    Attributes:
        value: the object.
        path: where it stands.
        outer: the body whose circuits it sees too; None for a whole document.
        nodes: the first node of every id.
        circuits: its own subcircuits by name: bodies or objects with a file.
        files: of those with a file that can be read, the bodies there, of which nothing but nodes and outputs is known.
        file: the file that it stands in; "" for the text.
    """

    value: Value
    path: Path
    outer: Body | None
    nodes: dict[str, Value]
    circuits: dict[str, Body | Value]
    files: dict[str, Body]
    file: str = ""

    @cached_property
    def inputs(self) -> dict[str, Value]:
        """Its inputs by their ids."""
        return {name: node for name, node in self.nodes.items() if node.text_of("gate") == "input"}

    @property
    def outputs(self) -> list[str]:
        """Its outputs, as references."""
        return [value.text for value in self.value.list_of("outputs") if value.text]

    def find(self, name: str) -> tuple[Symbol, Body | Value] | None:
        """The circuit of a name that is in scope, and where it is defined."""
        body = self._scope_of(name)
        return (Symbol("circuit", body.path, name), body.circuits[name]) if body else None

    def _scope_of(self, name: str) -> Body | None:
        """The body that defines a circuit that is in scope."""
        body: Body | None = self
        while body is not None and name not in body.circuits:
            body = body.outer
        return body

    def in_scope(self) -> list[str]:
        """The names of all circuits in scope, the nearest first."""
        return [*self.circuits, *(self.outer.in_scope() if self.outer else ())]

    def applied(self, node: Value) -> list[Body]:
        """The bodies that a node applies, but for those in files that cannot be read."""
        names = [node.text_of(key) for key in APPLYING.get(node.text_of("gate") or "", ())]
        found = [scope.files.get(name, scope.circuits[name]) for name in names if name
                 for scope in [self._scope_of(name)] if scope]
        return [circuit for circuit in found if isinstance(circuit, Body)]


class Names:
    """The bodies of a text and every mention of a symbol in it, in the order of the text."""

    def __init__(self, tree: Value, read: Callable[[str], Value | None] = lambda _: None) -> None:
        """Read a tree; `read` gives that of a file beside the document, by its name, or None."""
        self.bodies = {body.path: body for body in _bodies(tree, read)}
        mentions = (mention for body in self.bodies.values() for mention in _Reader(body).mentions())
        found = list(islice(mentions, MOST_MENTIONS + 1))
        self.mentions = sorted(set(found) if len(found) <= MOST_MENTIONS else (),
                               key=lambda mention: (mention.start, mention.symbol))

    def body_of(self, symbol: Symbol) -> Body:
        """The body that defines a symbol, which may stand in a file."""
        if symbol.body in self.bodies:
            return self.bodies[symbol.body]
        return self.bodies[symbol.body[:-2]].files[str(symbol.body[-1])]

    def body_at(self, path: Path) -> Body:
        """The body that a path leads into."""
        ends = range(min(len(path), 2 * DEEPEST), -1, -1)
        return next(self.bodies[path[:end]] for end in ends if path[:end] in self.bodies)

    def at(self, offset: int) -> list[Mention]:
        """The mentions that touch an offset. An operand of `if` names an input of both of its circuits."""
        return [mention for mention in self.mentions if mention.start <= offset <= mention.end]

    def definition(self, symbol: Symbol) -> Mention | None:
        """Where a symbol is defined; the first place, if there are several."""
        return next((mention for mention in self.mentions if mention.symbol == symbol and mention.is_definition), None)

    def file(self, name: str) -> Value | None:
        """The place that names a file of a circuit, without its folder."""
        circuits = (circuit for body in self.bodies.values() for circuit in body.circuits.values())
        files = (circuit.get("file") for circuit in circuits if isinstance(circuit, Value))
        return next((file for file in files if file and (file.text or "").rpartition("/")[2] == name), None)

    def bound_to(self, symbols: set[Symbol]) -> set[Symbol]:
        """The symbols that must keep the same name as these, because one word means them all somewhere."""
        places, meant = defaultdict(list), defaultdict(list)
        for mention in self.mentions:
            places[mention.symbol].append(mention.start)
            meant[mention.start].append(mention.symbol)
        bound, pending = set(symbols), list(symbols)
        while pending:
            for place in places.pop(pending.pop(), ()):
                new = [symbol for symbol in meant.pop(place, ()) if symbol not in bound]
                bound.update(new)
                pending += new
        return bound


def _bodies(tree: Value, read: Callable[[str], Value | None]) -> Iterator[Body]:
    pending: list[tuple[Value, Path, Body | None]] = [(tree, (), None)]
    while pending:
        value, path, around = pending.pop()
        is_whole = value.get("circuitflow") is not None
        body = Body(value, path, None if is_whole else around, _nodes(value), {}, {})
        if around is not None:
            around.circuits[str(path[-1])] = body
        yield body
        for member, circuit in _members(value, "circuits"):
            if circuit is not None and circuit.kind == "object" and member.name not in body.circuits:
                body.circuits[member.name] = circuit
                place = (*path, "circuits", member.name)
                if (file := circuit.get("file")) is None and len(path) < 2 * DEEPEST:
                    pending.append((circuit, place, body))
                elif file and file.text and (other := read(file.text)):
                    body.files[member.name] = Body(other, place, None, _nodes(other), {}, {}, file.text)


def _nodes(value: Value) -> dict[str, Value]:
    nodes: dict[str, Value] = {}
    for node in value.list_of("nodes"):
        if (name := node.text_of("id")) is not None:
            nodes.setdefault(name, node)
    return nodes


def _members(value: Value | None, key: str) -> Iterator[tuple[Member, Value | None]]:
    inner = value.get(key) if value else None
    for member in inner.members if inner else ():
        yield member, member.value


class _Reader:
    """Finds the mentions in one body; those of its subcircuits' inputs and outputs too."""

    def __init__(self, body: Body) -> None:
        self.body = body

    def mentions(self) -> Iterator[Mention]:
        body = self.body
        value = body.value
        for node in value.list_of("nodes"):
            yield from self._node(node)
        for edge in value.list_of("edges"):
            yield from self._reference(edge.get("source"))
            yield from self._node_id(edge.get("target"))
            yield from self._port(body.nodes.get(edge.text_of("target") or ""), edge.get("port"))
        for output in value.list_of("outputs"):
            yield from self._reference(output)
        for member, _ in _members(value, "upstream"):
            yield from self._reference(member.key)
        for member, _ in _members(value, "layout"):
            yield from self._node_id(member.key)
        for member, _ in _members(value, "circuits"):
            if member.name in body.circuits:
                yield from _mention(Symbol("circuit", body.path, member.name), member.key, is_definition=True)
        yield from self._fit(value.get("fit"))

    def _node(self, node: Value) -> Iterator[Mention]:
        body = self.body
        if (name := node.get("id")) is not None and name.text is not None:
            yield from _mention(Symbol("node", body.path, name.text), name, is_definition=True)
        inputs = node.get("inputs")
        for item in inputs.items if inputs else ():
            yield from self._reference(item)
        for member, operand in _members(node, "inputs"):
            yield from self._port(node, member.key)
            yield from self._reference(operand)
        for key in APPLYING.get(node.text_of("gate") or "", ()):
            word = node.get(key)
            if word is not None and word.text is not None and (circuit := body.find(word.text)):
                yield from _mention(circuit[0], word)
        for over in node.list_of("over"):
            yield from self._port(node, over)
        for member, output in _members(node, "carry"):
            yield from self._port(node, member.key)
            for applied in body.applied(node):
                yield from _output(applied, output)

    def _fit(self, fit: Value | None) -> Iterator[Mention]:
        if fit is None:
            return
        for key in ("residuals", "loss", "sigma"):
            yield from self._reference(fit.get(key))
        for key in ("columns", "constraints"):
            for member, _ in _members(fit, key):
                yield from self._reference(member.key)
        result = fit.get("result")
        for member, _ in _members(result, "start"):
            yield from self._node_id(member.key)
        for name in result.list_of("parameters") if result else ():
            yield from self._node_id(name, ends="[/")

    def _node_id(self, value: Value | None, ends: str = "") -> Iterator[Mention]:
        """A text that is the id of a node, up to one of a few characters."""
        if value is not None and value.text is not None:
            name = value.text
            for character in ends:
                name = name.partition(character)[0]
            if name in self.body.nodes:
                yield from _mention(Symbol("node", self.body.path, name), value)

    def _reference(self, value: Value | None) -> Iterator[Mention]:
        """The id of a node, and behind a dot the output of a circuit that it applies."""
        yield from _output(self.body, value)

    def _port(self, node: Value | None, value: Value | None) -> Iterator[Mention]:
        """An input of the circuits that a node applies."""
        if node is None or value is None or value.text is None:
            return
        for circuit in self.body.applied(node):
            if value.text in circuit.inputs:
                yield from _mention(Symbol("node", circuit.path, value.text), value)


def _output(body: Body, value: Value | None) -> Iterator[Mention]:
    """The nodes that a reference names: one of the body, and behind a dot those of the circuits that it applies."""
    if value is None or value.text is None or len(value.text) > LONGEST:
        return
    bodies, at = [body], 0
    for name in value.text.split("."):
        nodes = [(inner, inner.nodes[name]) for inner in bodies if name in inner.nodes]
        for inner, _ in nodes:
            yield from _mention(Symbol("node", inner.path, name), value, at)
        bodies = list({circuit.path: circuit for inner, node in nodes for circuit in inner.applied(node)}.values())
        at += len(name) + 1


def _mention(symbol: Symbol, value: Value, at: int = 0, *, is_definition: bool = False) -> Iterator[Mention]:
    """The mention of a symbol in a text; of one with escapes, where offsets do not fit, only all of it."""
    start = value.start + 1 + at
    if "\\" not in value.source:
        yield Mention(symbol, start, start + len(symbol.name), is_definition)
    elif value.text == symbol.name:
        yield Mention(symbol, start, value.end - value.is_closed, is_definition)
