"""What the Python array API standard does not have: special functions, and errors that depend on a value."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LIBRARIES = {"jax": "jax.scipy.special", "jaxlib": "jax.scipy.special", "torch": "torch.special"}


def special(xp: Any, name: str, x: Any, *before: Any) -> Any:
    """A function by the name that SciPy gives it: the namespace's own, else its library's, imported when needed."""
    function = getattr(xp, name, None)
    if function is None:
        library = import_module(_LIBRARIES.get(type(x).__module__.partition(".")[0], "scipy.special"))
        function = getattr(library, name)
    return xp.asarray(function(*before, x), dtype=x.dtype)


def need_in_range(xp: Any, outside: Any, values: Any, message: str) -> None:
    """Refuse values out of range; `message` has a place for the first of them.

    Where a namespace records what is done and has no values yet, it has a list `checks`, which the condition goes into.

    Raises:
        IndexError: with the message.
    """
    if hasattr(xp, "checks"):
        xp.checks.append(outside)
    elif bool(xp.any(outside)):
        first = xp.argmax(xp.asarray(xp.reshape(outside, (-1,)), dtype=xp.int8))
        raise IndexError(message.format(int(xp.reshape(values, (-1,))[int(first)])))
