"""The special functions that the Python array API standard does not have, from the library of the arrays."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LIBRARIES = {"jax": "jax.scipy.special", "jaxlib": "jax.scipy.special", "torch": "torch.special"}


def special(xp: Any, name: str, x: Any, *before: Any) -> Any:
    """A function by the name that SciPy gives it; the library is imported when a gate first needs it."""
    library = import_module(_LIBRARIES.get(type(x).__module__.partition(".")[0], "scipy.special"))
    return xp.asarray(getattr(library, name)(*before, x), dtype=x.dtype)
