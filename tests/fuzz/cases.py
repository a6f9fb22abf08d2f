"""A case of the fuzzer: a document, a question to it, and calls with inputs in some layout; written to a file and read
from one."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import circuitflow as cf
from support.gate_examples import POLAR

Document = dict[str, Any]
References = tuple[str, ...] | None


@dataclass(frozen=True)
class Given:
    """An array that a call gives, C-ordered, and the layout that it is given in."""

    values: np.ndarray[Any, Any]
    layout: str = "plain"

    def give(self) -> Any:
        """A fresh argument with these values."""
        return LAYOUTS[self.layout](self.values)

    def written(self) -> dict[str, Any]:
        x = self.values
        data = x.ravel().tolist() if x.size <= 1000 else base64.b64encode(x.tobytes()).decode()
        return {"dtype": str(x.dtype), "shape": list(x.shape), "layout": self.layout, "data": data}

    @staticmethod
    def read(written: Mapping[str, Any]) -> Given:
        data, dtype = written["data"], written["dtype"]
        flat = np.frombuffer(base64.b64decode(data), dtype) if isinstance(data, str) else np.array(data, dtype)
        return Given(flat.reshape(written["shape"]), written["layout"])


def _strided(x: np.ndarray[Any, Any]) -> Any:
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


def _reversed(x: np.ndarray[Any, Any]) -> Any:
    return np.flip(np.ascontiguousarray(np.flip(x)))


def _transposed(x: np.ndarray[Any, Any]) -> Any:
    """A view with its first axis last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)


def _broadcast(x: np.ndarray[Any, Any]) -> Any:
    """A view with stride 0 along its first axis, along which all values are equal."""
    return np.broadcast_to(x[:1].copy(), x.shape)


def _read_only(x: np.ndarray[Any, Any]) -> Any:
    copy = x.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Any] = {
    "plain": np.copy, "fortran": np.asfortranarray, "strided": _strided, "reversed": _reversed,
    "transposed": _transposed,
    "broadcast": _broadcast, "read-only": _read_only, "list": lambda x: x.tolist(), "number": lambda x: x.item(),
    "numpy number": lambda x: x[()],
}


@dataclass(frozen=True)
class Call:
    """Inputs and upstream gradients of one call, by id and by output."""

    inputs: Mapping[str, Given]
    upstream: Mapping[str, Given] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A document, a question, and calls.

    Attributes:
        document: the JSON document.
        of: the outputs asked for; None for those of the document.
        wrt: what is differentiated by; None for all inputs and parameters.
        calls: each may have other shapes, layouts and values.
        own: gates whose rows the program overrides, by a multiple of the row that was there.
        low: whether thresholds are so low that everything is above them.
        rows: of `vmap`: the calls are the rows, one after the other, repeated up to this number.
    """

    document: Document
    of: References = None
    wrt: References = None
    calls: tuple[Call, ...] = (Call({}),)
    own: Mapping[str, float] = field(default_factory=dict)
    low: bool = False
    rows: int = 3

    def gates(self) -> dict[str, cf.Gate]:
        """The table, with a gate of one's own and the rows that are overridden."""
        return {**cf.GATES, "polar": POLAR,
                **{name: multiple(cf.GATES[name], factor) for name, factor in self.own.items()}}

    def circuit(self) -> cf.Circuit:
        """The circuit, built anew."""
        return cf.loads(json.dumps(self.document), gates=self.gates())

    def written(self) -> dict[str, Any]:
        return {**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "own": dict(self.own),
                "calls": [{key: {name: given.written() for name, given in getattr(call, key).items()}
                           for key in ("inputs", "upstream")} for call in self.calls]}

    @staticmethod
    def read(written: Mapping[str, Any]) -> Case:
        calls = tuple(Call(**{key: {name: Given.read(x) for name, x in call[key].items()}
                              for key in ("inputs", "upstream")})
                      for call in written["calls"])
        of, wrt = (None if written[key] is None else tuple(written[key]) for key in ("of", "wrt"))
        return Case(**{**written, "of": of, "wrt": wrt, "calls": calls})


def multiple(gate: cf.Gate, factor: float) -> cf.Gate:
    """A row that computes a multiple of another one, with the gradient that belongs to it."""

    def backward(rule: Any) -> Any:
        return lambda op, g, out, *operands, **attributes: rule(op, factor * g, out / factor, *operands, **attributes)

    rules = gate.backward if not callable(gate.backward) else None
    return dataclasses.replace(
        gate, forward=lambda xp, *operands, **attributes: factor * gate.forward(xp, *operands, **attributes),
        backward=backward(gate.backward) if rules is None else tuple(rule and backward(rule) for rule in rules))
