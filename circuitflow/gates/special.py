"""What the Python array API standard does not have: special functions, errors that depend on a value, zeros kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, NamedTuple

LIBRARIES = {"jax": "jax.scipy.special", "jaxlib": "jax.scipy.special", "torch": "torch.special"}
"""Where array libraries have special functions of their own, by the module of their arrays."""


def special(xp: Any, name: str, x: Any, *before: Any) -> Any:
    """A function by the name that SciPy gives it: the namespace's own, else its library's, imported when needed."""
    function = getattr(xp, name, None)
    if function is None:
        library = import_module(LIBRARIES.get(type(x).__module__.partition(".")[0], "scipy.special"))
        function = getattr(library, name)
    return xp.asarray(function(*before, x), dtype=x.dtype)


class Check(NamedTuple):
    """A condition under which a rule refuses its operands.

    Attributes:
        outside: truth values, one of which is true where the rule refuses.
        values: numbers of the same shape.
        message: what is wrong; it has a place for the first number that is refused.
        error: the class of the error.
    """

    outside: Any
    values: Any
    message: str
    error: type[Exception]


class OwnProducts(ABC):
    """A namespace whose arrays may have no values to look at, with products and perhaps sliding windows of its own."""

    @abstractmethod
    def long_product(self, a: Any, b: Any) -> Any:
        """As `circuitflow.gates.sums.in_parts`."""

    @abstractmethod
    def product_kept(self, a: Any, b: Any) -> Any:
        """As `circuitflow.gates.sums.product_kept`."""

    def convolution(self, x: Any, w: Any, frame: Any, group: int) -> Any:
        """As `circuitflow.gates.sliding.convolution`; None for no way of its own."""
        return None

    def largest(self, x: Any, frame: Any) -> Any:
        """As `circuitflow.gates.sliding.largest`; None for no way of its own."""
        return None


class Namespace:
    """An array library for rules whose operands may have no values.

    One may have `add_at`, `fold` and `murmur` of its own, which take the arguments of `sums.add_at`, of the rule of the
    gate `fold` and of the hash of `dropout`: rules call these where they are.

    Attributes:
        library: the array library.
        checks: collects the conditions under which rules refuse operands; None where rules may look at values.
    """

    def __init__(self, library: Any, checks: list[Check] | None) -> None:
        self.library, self.checks = library, checks

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)


def own_products(xp: Any) -> OwnProducts | None:
    """The products of a namespace's own, or of the library below it; None for a plain library."""
    if isinstance(xp, OwnProducts):
        return xp
    return own_products(xp.library) if isinstance(xp, Namespace) else None


def need_in_range(xp: Any, outside: Any, values: Any, message: str, error: type[Exception] = IndexError) -> None:
    """Refuses values out of range, or adds the check to those of a `Namespace`; see `Check` for the arguments.

    Raises:
        Exception: of the class `error`, with the message.
    """
    if isinstance(xp, Namespace) and xp.checks is not None:
        xp.checks.append(Check(outside, values, message, error))
    elif bool(xp.any(outside)):
        first = int(xp.argmax(xp.asarray(xp.reshape(outside, (-1,)), dtype=xp.int8)))
        value = xp.reshape(values, (-1,))[first]
        raise error(message.format((int if "int" in str(values.dtype) else float)(value)))


def keep_zeros(op: Any, zeros: Any, product: Any) -> Any:
    """A product element by element, 0 where it is NaN and its factor is 0. Elsewhere it is as it is, to any order."""
    return op.where((zeros == 0) & op.is_nan(product), 0.0, product)
