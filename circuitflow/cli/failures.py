"""The message and the exit status of every error."""

from __future__ import annotations

from circuitflow.errors import CircuitflowError, DocumentError, VerificationError
from circuitflow.text import printable

FAILURES = (CircuitflowError, MemoryError, OSError)
"""What a command may raise."""


def words(error: BaseException) -> tuple[str, int]:
    """What is printed of an error, and the exit status: 1 the answer is no, 2 bad input of any kind."""
    match error:
        case DocumentError():
            return str(error), 2
        case VerificationError():
            return f"error: {error}", 1
        case MemoryError():
            return "error: not enough memory for this circuit", 2
        case OSError():
            place = f"{printable(str(error.filename), 1000)}: " if error.filename is not None else ""
            return f"error: {place}{error.strerror or printable(str(error))}", 2
    return f"error: {error}", 2
