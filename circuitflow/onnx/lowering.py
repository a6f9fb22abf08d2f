"""The lines that forward rules come to, as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from circuitflow.engines.program.trace import Line, Value
from circuitflow.gates.shapes import Size
from circuitflow.onnx.writing import GraphWriter

Rules = Mapping[Any, Callable[..., Any]]
"""What writes a line, by its function of NumPy; it gives the name of the result, or a list of names."""


class Unwritable(ValueError):  # noqa: N818
    """ONNX has no way to say a line; the message continues the node and the gate."""


class Lowering:
    """Writes lines into a graph.

    Attributes:
        names: the name of every value.
    """

    def __init__(self, writer: GraphWriter, rules: Rules) -> None:
        self.writer, self._rules = writer, rules
        self.names: dict[int, str] = {}

    def name(self, x: Any, dtype: Any = None) -> str:
        """An operand as a value of the graph, in a dtype."""
        if isinstance(x, Value):
            name = self.names[id(x)]
            return name if dtype is None or x.dtype == dtype else self.writer.cast(name, dtype)
        if isinstance(x, Size):
            scalar = self.writer.reshape(self.writer.size(x), [])
            return scalar if dtype is None or dtype.kind == "i" else self.writer.cast(scalar, dtype)
        return self.writer.constant(x, dtype)

    def write(self, line: Line) -> None:
        """The nodes of a line.

        Raises:
            Unwritable: there are none.
        """
        rule = self._rules.get(line.function)
        if rule is None:
            raise Unwritable(f"comes to {getattr(line.function, '__name__', 'a rule of its own')}, which ONNX does not "
                             "have")
        out = rule(self, line, *line.operands, **line.keywords)
        for value, name in zip(line.results, [out] if isinstance(out, str) else out, strict=True):
            self.names[id(value)] = name
