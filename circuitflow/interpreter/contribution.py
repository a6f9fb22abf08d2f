"""What one edge sends back in the reverse sweep."""

from __future__ import annotations

from typing import Any, NamedTuple


class Contribution(NamedTuple):
    """The gradient along one edge, before the contributions add at a fork.

    Attributes:
        source: the node that the gradient flows to, as `id.output` if its gate has several outputs.
        target: the node whose backward rule sent it.
        port: the operand of the target: its name, or its position for a gate of any number of operands.
        value: an array of the source's shape and dtype.
    """

    source: str
    target: str
    port: str | int
    value: Any
