"""Fits the parameters of a circuit to data.

`Parameters` makes one vector of the free parameters, `Data` binds columns to inputs, and a `Problem` is the function of
the vector that is minimised, with its exact derivatives. Minimisers know these three alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """The room can be called. Importing a module of it puts the room in the place of the function `cf.fit`."""

    def __call__(self, *args: Any, **keys: Any) -> Any:
        return import_module("circuitflow.fit.fit").fit(*args, **keys)


sys.modules[__name__].__class__ = _Room
