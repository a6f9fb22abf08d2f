"""Upstream gradients whose zeros are kept: what a mask leaves out gets nothing back, however steep it is.

Where `where` takes the other branch, it sends 0 back, and 0 times the slope of the branch would be NaN where that is
infinite. So what a mask sends is marked, and so is all that is computed of it: a product with it is 0 where it is 0.
The facet `masks` of a gate's row says which gates mark, its facet `product` how a gate multiplies what is marked; every
other gate gives sums of elements of a gradient, times numbers that are finite. Rules know nothing of it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from circuitflow.gates import GATES, Gate
from circuitflow.gates.special import keep_zeros


class Masked:
    """A gradient, an array or a wire, that may have zeros of a mask.

    Attributes:
        op: the vocabulary over what the gradient is.
        value: the gradient.
        keeps: a truth value, where a run decides whether zeros are kept; None where they are.
    """

    __slots__ = ("keeps", "op", "value")
    __array_ufunc__ = None  # so that an array of NumPy on the left leaves an operator to this class

    def __init__(self, op: Any, value: Any, keeps: Any = None) -> None:
        self.op, self.value, self.keeps = op, value, keeps

    shape, ndim, dtype = (property(operator.attrgetter(f"value.{name}")) for name in ("shape", "ndim", "dtype"))

    def _like(self, value: Any, *others: Any) -> Masked:
        return Masked(self.op, value, _keeps([self, *others]))

    def __getitem__(self, key: Any) -> Masked:
        return self._like(self.value[key])

    def __neg__(self) -> Masked:
        return self._like(-self.value)

    def __abs__(self) -> Masked:
        return self._like(abs(self.value))

    def __add__(self, other: Any) -> Masked:
        return self._like(self.value + plain(other), other)

    def __radd__(self, other: Any) -> Masked:
        return self._like(other + self.value)

    def __sub__(self, other: Any) -> Masked:
        return self._like(self.value - plain(other), other)

    def __rsub__(self, other: Any) -> Masked:
        return self._like(other - self.value)

    def __mul__(self, other: Any) -> Any:
        if type(other) in (int, float):  # not of NumPy, which is a value of a node
            return self._like(self.value * other)
        return MaskedVocabulary(self.op).mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if type(other) in (int, float):  # not of NumPy, which is a value of a node
            return self._like(self.value / other)
        return MaskedVocabulary(self.op).div(self, other)

    __hash__ = None  # type: ignore[assignment]


def _comparison(name: str) -> Callable[[Masked, Any], Any]:
    """A comparison, which is no gradient: it has no mark."""
    compare = getattr(operator, name)
    return lambda self, other: compare(self.value, plain(other))


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Masked, f"__{_name}__", _comparison(_name))


def plain(x: Any) -> Any:
    """A gradient without its mark."""
    return x.value if isinstance(x, Masked) else x


def _keeps(operands: Iterable[Any]) -> Any:
    """What decides whether the zeros of operands are kept, of which one or more are marked; None where they are."""
    return functools.reduce(lambda x, y: x if y is x else None, (x.keeps for x in operands if isinstance(x, Masked)))


def mark(op: Any, g: Any, keeps: Any = None) -> Any:
    """A gradient with the mark; None where there is none."""
    return g if g is None or (isinstance(g, Masked) and g.keeps is keeps) else Masked(op, plain(g), keeps)


def may_mask(network: Any) -> bool:
    """Whether a circuit has gates that mark, or nodes that do."""
    return any(node.kind in ("if", "scan") or (may_mask(node.attributes["circuit"]) if node.gate is None
                                               else node.gate.facets.masks is not None)
               for node in network.nodes.values() if not node.is_source)


def is_marked(g: Any) -> bool:
    """Whether an upstream gradient is marked, or one of several."""
    return isinstance(g, Masked) or (isinstance(g, tuple) and any(isinstance(x, Masked) for x in g))


class MaskedVocabulary:
    """A vocabulary that takes marked gradients too, and marks what comes of them."""

    def __init__(self, op: Any) -> None:
        self._op = op

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._op, name)
        return functools.partial(self._apply, name, function) if name in GATES else function

    def _apply(self, name: str, function: Callable[..., Any], *operands: Any, **attributes: Any) -> Any:
        at = next((i for i, x in enumerate(operands) if isinstance(x, Masked)), None)
        if at is None:
            return function(*operands, **attributes)
        product, numbers, keeps = GATES[name].facets.product, [*map(plain, operands)], _keeps(operands)
        if product is None or keeps is not None:
            result = function(*numbers, **attributes)
        if product is not None:
            kept = product(self._op, at, *numbers, **attributes)
            result = kept if keeps is None else self._op.where(keeps, kept, result)
        return (tuple(Masked(self._op, x, keeps) for x in result) if isinstance(result, tuple) else
                Masked(self._op, result, keeps))


def unmasked(op: Any) -> Any:
    """A vocabulary that takes no marked gradients, and is faster."""
    return op._op if isinstance(op, MaskedVocabulary) else op


def contributions_of(kind: str, gate: Gate, op: Any, g: Any, out: Any, operands: Sequence[Any],
                     receivers: Sequence[bool], attributes: Mapping[str, Any]) -> Sequence[Any]:
    """What a gate sends back for an upstream gradient that may be marked.

    The rule of a row of one's own may do anything with it, so that sees no mark: what it sends is 0 where it is NaN
    and the upstream gradient is 0, element by element.
    """
    built_in = GATES.get(kind)
    if not is_marked(g) or (built_in is not None and gate.facets is built_in.facets):
        return gate.contributions(op, g, out, operands, receivers, attributes)
    upstream = tuple(map(plain, g)) if isinstance(g, tuple) else plain(g)
    contributions = gate.contributions(op, upstream, out, operands, receivers, attributes)
    keeps = _keeps(g if isinstance(g, tuple) else [g])

    def kept(x: Any) -> Any:
        if isinstance(g, tuple) or x.shape != g.shape:
            return x
        zeros = keep_zeros(op, upstream, x)
        return zeros if keeps is None else op.where(keeps, zeros, x)
    return [x if x is None else Masked(op, kept(x), keeps) for x in contributions]
