"""The whole state of a training run, in one object that can be written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.text import printable


@dataclass
class TrainingState:
    """Where a run is. The same state and data give the same bits from there on.

    The order of rows and the seeds of gates are functions of the seed and these numbers; there is no other generator.

    Attributes:
        arrays: by name, as arrays of NumPy: `parameters/id`, `running/id`, `average/id` (where one is kept), the state
            of the optimiser as `optimiser/…`, and of the best epoch `best/parameters/id` and `best/running/id`.
        step: how many steps were taken.
        epoch: how many epochs were finished.
        position: how many batches of the epoch in progress were taken.
        skipped: how many steps changed nothing because a number was not finite.
        gradient_norms: the largest norm of the gradient on each parameter so far, by id.
        sums: of the epoch in progress, weighted by rows: `rows`, `loss` and each metric; `gradient_norm` is the last.
        history: a record for each epoch: `epoch`, `step`, `rows`, `loss`, `gradient_norm`, metrics, and
            `validation_loss` and `validation_…` where there is validation.
        best: `epoch` and `loss` of the best epoch; empty before the first ends.
    """

    arrays: dict[str, Any]
    step: int = 0
    epoch: int = 0
    position: int = 0
    skipped: int = 0
    gradient_norms: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, Any]:
        """All but the arrays, as JSON can have it, apart from numbers that are not finite."""
        return {"step": self.step, "epoch": self.epoch, "position": self.position, "skipped": self.skipped,
                "gradient_norms": dict(self.gradient_norms), "sums": dict(self.sums),
                "history": [dict(record) for record in self.history], "best": dict(self.best)}

    def part(self, name: str) -> dict[str, Any]:
        """The arrays under a name, without it: `part("parameters")` has those of the parameters by id."""
        return {key.removeprefix(f"{name}/"): array for key, array in self.arrays.items() if key.startswith(f"{name}/")}

    def values(self, *, best: bool) -> dict[str, Any]:
        """Parameters and running statistics by id: of the best epoch if there was one, or the last.

        Where an average of the parameters is kept, it is the average.
        """
        if best and self.best:
            return {**self.part("best/parameters"), **self.part("best/running")}
        return {**self.part("parameters"), **self.part("average"), **self.part("running")}


def flattened(tree: Any, name: str) -> dict[str, Any]:
    """Arrays of JAX in nested containers as copies in NumPy, named by their path: `name/0/mu/w`."""
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_named(path, name): _copied(leaf) for path, leaf in leaves}


def restored(template: Any, name: str, arrays: Mapping[str, Any], put: Callable[[Any], Any]) -> Any:
    """Arrays that are put on devices, in the containers of a template, by the names that `flattened` gives.

    Raises:
        InputError: an array is missing, or has another shape or dtype.
    """
    import jax

    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    leaves = []
    for path, like in paths:
        key, is_key = _named(path, name), jax.numpy.issubdtype(like.dtype, jax.dtypes.prng_key)
        expected = jax.eval_shape(jax.random.key_data, like) if is_key else like
        array = arrays.get(key)
        if array is None or array.shape != expected.shape or array.dtype != expected.dtype:
            shown = "missing" if array is None else f"{array.dtype} {array.shape}"
            raise InputError(f"state of a run: '{printable(key, 100)}' is {shown}; expected {expected.dtype} "
                             f"{expected.shape}; it belongs to another circuit or method")
        leaf = put(jax.numpy.array(array))
        leaves.append(jax.random.wrap_key_data(leaf) if is_key else leaf)
    return jax.tree_util.tree_unflatten(structure, leaves)


def _named(path: Any, name: str) -> str:
    import jax

    return "/".join(filter(None, (name, jax.tree_util.keystr(path, simple=True, separator="/"))))


def _copied(leaf: Any) -> Any:
    import jax

    is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.array(jax.random.key_data(leaf) if is_key else leaf)  # a copy: the device writes over what it gave
