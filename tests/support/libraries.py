"""Array libraries by name."""

from __future__ import annotations

import importlib
from typing import Any

import array_api_strict
import jax
import pytest


def namespace(name: str) -> Any:
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed: it is too large to be a dependency of the tests")
        return importlib.import_module("array_api_compat.torch")
    return {"array_api_strict": array_api_strict, "jax": jax.numpy}[name]
