"""The tree of errors.

    CircuitflowError
    ├── DocumentError    a document is not valid; carries every fault, each with its place in the text
    ├── InputError       an argument does not fit a valid circuit: an unknown id, a missing or misshapen value
    │   └── UnknownNameError    a builder or a wire has no gate or method of a name; it is an AttributeError too
    ├── GateError        a gate could not be applied to the values that reached its node
    ├── VerificationError    an engine gives another number than the interpreter
    └── MissingExtraError    an optional package is needed; the message names the extra to install

Every message names the node, the fault, what is expected and the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from circuitflow.text import excerpt, printable


class CircuitflowError(Exception):
    """Base of every error that circuitflow raises on purpose."""


class DocumentError(CircuitflowError, ValueError):
    """A document is not valid.

    Attributes:
        faults: every fault, in the order of the text.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.faults,), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """The faults, which IPython shows in place of a traceback: the document is wrong, not the code."""
        count = len(self.faults)
        return [f"{type(self).__name__}: {count} fault{'s' * (count != 1)}", *str(self).split("\n")]


class InputError(CircuitflowError, ValueError):
    """An argument does not fit a valid circuit."""


class UnknownNameError(InputError, AttributeError):
    """A builder or a wire has nothing of that name. `hasattr`, `copy` and completion expect an `AttributeError`."""


class GateError(CircuitflowError, ArithmeticError):
    """A gate could not be applied to the values that reached its node, or a row of a gate table is wrong.

    Attributes:
        at: id of the node and the reason; None where the error belongs to no node.
    """

    at: tuple[str, str] | None = None

    @classmethod
    def of(cls, node: str, what: str) -> GateError:
        """The error of a node."""
        error = cls(f"node '{node}': {what}")
        error.at = node, what
        return error


class VerificationError(CircuitflowError, ArithmeticError):
    """An engine gives another number than the interpreter: a fault of circuitflow."""


class MissingExtraError(CircuitflowError, ImportError):
    """An optional package is needed and not installed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document, with its place.

    Attributes:
        message: the fault, what is expected and the remedy; it names the node, if any.
        pointer: the place as a JSON Pointer (RFC 6901); "" is the whole document.
        node: id of the node at fault, or None.
        file: name of the document.
        line, column: place in the text, both from 1, in characters; None where there is no text to point into.
        source: the text of that line, or None.
    """

    message: str
    pointer: str = ""
    node: str | None = None
    file: str = "<document>"
    line: int | None = None
    column: int | None = None
    source: str | None = None

    def __str__(self) -> str:
        if self.line is None or self.column is None or self.source is None:
            return f"{printable(self.file)}: {self.message}"
        text, caret = excerpt(self.source, self.column - 1)
        return f"{printable(self.file)}:{self.line}:{self.column}: {self.message}\n    {text}\n    {' ' * caret}^"
