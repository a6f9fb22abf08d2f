"""Builds a circuit in Python, gate by gate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from circuitflow.arguments import checked
from circuitflow.authoring.author import Author
from circuitflow.authoring.wires import AuthoredWire
from circuitflow.errors import InputError, UnknownNameError
from circuitflow.gates import GATES, GateTable
from circuitflow.graph.circuit import Circuit
from circuitflow.text import short


class Builder:
    """A circuit under construction; `build` makes one.

    Every gate of the table is a method: `c.matmul(x, w)`, `c.reduce_sum(x, axis=1)`. Wires have these methods too, and
    operators and NumPy's functions. An operand that is not a wire becomes a constant.

    Attributes:
        circuit: the circuit built so far.
    """

    @checked
    def __init__(self, name: str | None = None, *, description: str | None = None, dtype: str = "float64",
                 gates: GateTable = GATES, folder: str | os.PathLike[str] | None = None) -> None:
        self._author = Author(gates, dtype, folder)
        self._name, self._description = name, description

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if kind is None and not self._author.outputs:
            raise InputError('a circuit needs an output: c.output(wire, "f")')

    def __getattr__(self, gate: str) -> Any:
        if gate.startswith("_"):  # copies and pickles ask for names before there is an author
            raise AttributeError(f"a builder has no '{gate}'")
        try:
            self._author.row(gate)
        except InputError as error:
            raise UnknownNameError(str(error)) from None
        return lambda *operands, **attributes: self._author.emit(gate, *operands, **attributes)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._author.gates})

    @checked
    def input(self, name: str, value: Any = None, *, shape: Sequence[int | str] | None = None,
              dtype: str | None = None, **notes: Any) -> AuthoredWire:
        """Data fed at run time.

        Args:
            name: its id.
            value: its default: a number, nested lists, an array, or an object as documents have it.
            shape: sizes or names of dimensions; a scalar by default, or as the value.
            dtype: of the value; the circuit's by default.
            notes: label, description, metadata.

        Raises:
            InputError: the name is not an id, or is taken; or a value, shape, dtype or note is not valid.
            DocumentError: a document cannot have the value.
        """
        return self._source("input", name, value, notes, shape=shape, dtype=dtype)

    @checked
    def parameter(self, name: str, value: Any, *, dtype: str | None = None, **notes: Any) -> AuthoredWire:
        """A trainable value; see `input`."""
        return self._source("parameter", name, value, notes, dtype=dtype)

    @checked
    def constant(self, name: str, value: Any, *, dtype: str | None = None, **notes: Any) -> AuthoredWire:
        """A value that no gradient flows to; see `input`."""
        return self._source("constant", name, value, notes, dtype=dtype)

    def _source(self, kind: str, name: str, value: Any, notes: Mapping[str, Any], **options: Any) -> AuthoredWire:
        unknown = set(notes) - {"label", "description", "metadata"}
        if unknown:
            raise InputError(f"'{name}': there is no {short(min(unknown))}; beside its value, shape and dtype a node "
                             "has a label, a description and metadata")
        wire = self._author.source(kind, name, value, notes=notes, **options)
        assert isinstance(wire, AuthoredWire)  # noqa: S101
        return wire

    @checked
    def name(self, wire: AuthoredWire, name: str) -> AuthoredWire:
        """Name a stage. Returns the wire of that name.

        Raises:
            InputError: the name is not an id, or it is taken.
        """
        result = self._author.name(wire, name)
        assert isinstance(result, AuthoredWire)  # noqa: S101
        return result

    @checked
    def output(self, wire: AuthoredWire, name: str | None = None) -> None:
        """Make a wire an output of the circuit, by another name or by the node's.

        Raises:
            InputError: it is not a wire, or the name is not an id, or is taken.
        """
        self._author.output(wire, name)

    @property
    def circuit(self) -> Circuit:
        """The circuit built so far.

        Raises:
            InputError: there is no output.
            DocumentError: the circuit is not valid.
        """
        return self._author.finish(self._name, self._description)


def build(name: str | None = None, *, description: str | None = None, dtype: str = "float64",
          gates: GateTable = GATES, folder: str | os.PathLike[str] | None = None) -> Builder:
    """Build a circuit in Python.

        with cf.build("neuron") as c:
            x, w = c.input("x", -1.0), c.parameter("w", 2.0)
            c.output((x * w).sigmoid(), "f")
        circuit = c.circuit

    Args:
        name: of the document.
        description: of the document.
        dtype: "float64" or "float32".
        gates: the gate table.
        folder: where tensor files that values name lie.

    Raises:
        InputError: there is no such dtype.
    """
    return Builder(name, description=description, dtype=dtype, gates=gates, folder=folder)
