"""The bodies of a document and of its subcircuits, and which circuits each of them can call."""

from __future__ import annotations

import hashlib
import os
from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from circuitflow.document.base import READABLE
from circuitflow.document.faults import Faults, Source
from circuitflow.document.files import ValueFaultError, beside, verify
from circuitflow.document.model import Body, CallNode, CircuitFile, IfNode, InputNode, Node
from circuitflow.document.positions import Path as Pointer
from circuitflow.document.reading import Parsed, decode, parse, up_to
from circuitflow.document.tensors import Array
from circuitflow.gates import AtLeast, Gate

NOTHING: Mapping[str, Any] = MappingProxyType({})  # shared: there may be millions of sites

SOURCES = ("input", "parameter", "constant")
"""The kinds of nodes that data comes from."""


class Output(NamedTuple):
    """One output of a node: the node's id, and the position of the output among those of its gate."""

    node: str
    position: int


class Operand(NamedTuple):
    """One operand of a node.

    Attributes:
        source: id of the node that it comes from.
        output: position of the output there; 0 unless the source's gate has several.
        port: name of the operand, or its position for a gate of any number of operands.
    """

    source: str
    output: int
    port: str | int


@dataclass(slots=True, eq=False)
class Site:
    """A node of a body with its references resolved. There is one, however often the body is called.

    Attributes:
        node: as the document has it.
        source, pointer: where the document has it.
        gate: the gate's row of the table, if it applies one.
        attributes: the gate's attributes, with their defaults.
        operands: where the operands come from, by the ids of the body.
        bodies: the circuits that it applies, by key.
        sound: whether it has no fault.
        is_plain: whether it is a gate with one output on earlier nodes of the same body that have one, calls aside.
        array: the value that the document gives.
        bounds: of a parameter that has any: the least and the largest value of every element, read-only.
    """

    node: Node
    source: Source
    pointer: Pointer
    gate: Gate | None = None
    attributes: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    operands: tuple[Operand, ...] = ()
    bodies: Mapping[str, Definition] = field(default_factory=lambda: NOTHING)
    sound: bool = True
    is_plain: bool = False
    array: Array | None = None
    bounds: tuple[Array, Array] | None = None

    @property
    def callee(self) -> Definition | None:
        """The circuit that a call applies, which is expanded in its place."""
        return self.bodies.get("circuit") if isinstance(self.node, CallNode) else None

    @property
    def is_source(self) -> bool:
        """Whether it is an input, a parameter or a constant."""
        return self.node.gate in SOURCES

    @property
    def ports(self) -> list[str]:
        """The names of the operands; none for a gate that takes any number."""
        if self.bodies:
            inputs = dict.fromkeys(name for body in self.bodies.values() for name in body.inputs)
            return [*(["condition"] if isinstance(self.node, IfNode) else []), *inputs]
        return list(self.gate.operands) if self.gate and not isinstance(self.gate.operands, AtLeast) else []

    @property
    def outputs(self) -> Collection[str]:
        """The names of the outputs where there are several; those of a circuit also where there is one."""
        for body in self.bodies.values():
            return body.positions
        return self.gate.output_names(self.attributes) if self.gate and self.sound else ()


@dataclass(eq=False)
class Definition:
    """A body with its references resolved, and the definitions in scope.

    There is one for each body of a document. Types depend on the call, so it has none.

    Attributes:
        version: of the format, as the document that the body belongs to states it.
        sites: its nodes by id, as they stand.
        order: its nodes in topological order.
        outputs: what every output refers to, by the ids of the body.
    """

    body: Body
    source: Source
    dtype: str
    version: str
    pointer: Pointer = ()
    broken: frozenset[Pointer] = frozenset()
    scope: ChainMap[str, Definition | None] = field(default_factory=ChainMap)
    sites: dict[str, Site] = field(default_factory=dict)
    order: list[Site] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, InputNode]:
        """The input nodes by id, which are the ports of a call."""
        return {node.id: node for node in self.body.nodes if isinstance(node, InputNode)}

    @cached_property
    def positions(self) -> dict[str, int]:
        """The position of each output, by name."""
        return {text: i for i, text in enumerate(dict.fromkeys(self.body.outputs))}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return tuple(self.positions)


@dataclass
class _File:
    """A file of subcircuits: its contents, and its definition once it is read; None after a fault."""

    data: bytes
    definition: Definition | None = None
    is_read: bool = False

    @cached_property
    def digest(self) -> str:
        """The SHA-256 digest of the contents, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


class _Files:
    """The files of subcircuits. Each is read once, so files that name one another do not loop."""

    def __init__(self, root: Definition, texts: Mapping[str, tuple[int, str]] | None) -> None:
        self._texts = texts
        self._files: dict[Path | int, _File] = {}
        if root.source.folder and root.body.circuits:
            key = 0 if texts else (root.source.folder / Path(root.source.name).name).resolve()
            self._files[key] = _File((root.source.text or "").encode(), root, is_read=True)

    def at(self, source: Source, name: str) -> _File:
        """The file that a document names.

        Raises:
            ValueFaultError: it cannot be read.
        """
        if self._texts:
            key, text = self._texts[place(source.folder, name)]
            return self._files.setdefault(key, _File(text.encode()))
        with beside(source.folder, name) as entry:
            if entry.path not in self._files:
                self._files[entry.path] = _File(up_to(source.limits.document_bytes + 1, entry.file))
        return self._files[entry.path]


def place(folder: Path | None, name: str) -> str:
    """The path of a file beside a document. Links are not followed."""
    return os.path.normpath((folder or Path()) / name)


def define(parsed: Parsed, faults: Faults, texts: Mapping[str, tuple[int, str]] | None = None) -> list[Definition]:
    """The definition of a document, and those of every subcircuit that it defines; faults are noted.

    Where no file is to be opened, `texts` has the texts of all by place, each with a number of its own: 0 for the
    document's own file.
    """
    root = _definition(parsed)
    files = _Files(root, texts)
    definitions = [root]
    for definition in definitions:  # grows as subcircuits are found
        definitions += _subcircuits(definition, files, faults)
    return definitions


def _definition(parsed: Parsed) -> Definition:
    document = parsed.document
    return Definition(document, parsed.source, document.dtype or "float64", document.circuitflow, broken=parsed.broken)


def _subcircuits(outer: Definition, files: _Files, faults: Faults) -> list[Definition]:
    """Put the subcircuits of a body into its scope; returns the definitions that are new."""
    scope: dict[str, Definition | None] = {}  # None for one that is at fault
    new = []
    for name, subcircuit in (outer.body.circuits or {}).items():
        pointer = (*outer.pointer, "circuits", name)
        scope[name] = None
        if pointer in outer.broken:
            continue
        if len(pointer) // 2 > outer.source.limits.nesting:
            faults.add(outer.source, f"circuit '{name}': subcircuits nest more than {outer.source.limits.nesting} deep "
                       "(limit nesting)", *pointer)
            continue
        if isinstance(subcircuit, CircuitFile):
            inner, fresh = _from_file(outer, name, subcircuit, files, faults)
        else:
            dtype = subcircuit.dtype or ("float64" if is_whole(subcircuit) else outer.dtype)
            version = subcircuit.circuitflow or outer.version
            if READABLE.index(version) > READABLE.index(outer.version):
                faults.add(outer.source, f"circuit '{name}' is a document of format {version} inside of one of format "
                           f"{outer.version}; say \"{version}\" there too", *pointer, "circuitflow")
            inner, fresh = Definition(subcircuit, outer.source, dtype, version, pointer, outer.broken), True
        scope[name] = inner
        if inner is not None and fresh:
            new.append(inner)
    outer.scope = outer.scope.new_child(scope)
    for definition in new:
        # A file, or a whole document, sees nothing of the document that it stands in.
        if definition.source is outer.source and not is_whole(definition.body):
            definition.scope = outer.scope
    return new


def is_whole(body: Body) -> bool:
    """Whether a body is a whole document, which means the same wherever it stands."""
    return body.circuitflow is not None


def _from_file(outer: Definition, name: str, file: CircuitFile, files: _Files,
               faults: Faults) -> tuple[Definition | None, bool]:
    """The definition in a file, and whether this is the first time that it is read."""
    limits = outer.source.limits
    try:
        file_read = files.at(outer.source, file.file)
        verify(file.file, file_read.digest, file.sha256)
    except ValueFaultError as fault:
        faults.add(outer.source, f"circuit '{name}': {fault}", *outer.pointer, "circuits", name, *fault.path)
        return None, False
    if file_read.is_read:
        return file_read.definition, False
    path = (outer.source.folder or Path()) / file.file
    parsed = parse(decode(str(path), file_read.data, path.parent, faults, limits), faults)
    file_read.definition, file_read.is_read = _definition(parsed) if parsed else None, True
    return file_read.definition, True
