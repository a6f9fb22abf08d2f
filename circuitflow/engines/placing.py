"""Where arrays of JAX lie: on one device, or a share of the rows on each of all devices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from circuitflow.errors import InputError
from circuitflow.text import printable

ALL = "all"
"""The name that stands for all devices of this process."""


class OneDevice:
    """A JAX device, or JAX's own choice.

    Attributes:
        count: of how many rows the length of a column is a multiple.
        device: the device; None for JAX's own choice, or several.
    """

    count = 1

    def __init__(self, device: Any = None) -> None:
        self._jax: Any = import_module("jax")
        self.device = device

    def put(self, array: Any, *, is_column: bool) -> Any:
        """An array on the device; one of JAX stays where it is."""
        return array if isinstance(array, self._jax.Array) else self._jax.device_put(array, self.device)

    def compiled(self, function: Callable[[Mapping[Any, Any]], Any], columns: Collection[Any]) -> Any:
        """A function of arrays by key, some of them columns, compiled. If there are any, it gives columns alone."""
        return self._jax.jit(function)


class AllDevices(OneDevice):
    """All devices of this process. Each has a share of every column, and the whole of what every row has in common.

    No device waits for another: a row needs no other row. Processes of `jax.distributed` have rows of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        devices = self._jax.local_devices()
        self.count = len(devices)
        self._mesh = self._jax.sharding.Mesh(np.array(devices), ("rows",))
        self._specs = self._jax.sharding.PartitionSpec(), self._jax.sharding.PartitionSpec("rows")

    def put(self, array: Any, *, is_column: bool) -> Any:
        """An array on all devices. The last row of a column is there again until all devices have as many rows."""
        if is_column and (missing := -len(array) % self.count):
            xp: Any = self._jax.numpy if isinstance(array, self._jax.Array) else np
            array = xp.concatenate([array, xp.broadcast_to(array[-1:], (missing, *array.shape[1:]))])
        return self._jax.device_put(array, self._jax.sharding.NamedSharding(self._mesh, self._specs[is_column]))

    def compiled(self, function: Callable[[Mapping[Any, Any]], Any], columns: Collection[Any]) -> Any:
        """The function, compiled, for the share of each device."""
        same, by_rows = self._specs

        def shared(arrays: Mapping[Any, Any]) -> Any:
            specs = {key: by_rows if key in columns else same for key in arrays}
            # The types of `check_vma` say what differs between devices; loops that are traced before have none.
            return self._jax.shard_map(function, mesh=self._mesh, in_specs=(specs,),
                                       out_specs=by_rows if columns else same, check_vma=False)(arrays)

        return self._jax.jit(shared)


def place_of(device: Any, *, over_rows: bool) -> OneDevice:
    """The place that "cpu", "gpu", "all", a JAX device or None stands for.

    Raises:
        InputError: there is no such device, or "all" where there are no rows to share.
    """
    jax: Any = import_module("jax")
    if not isinstance(device, str):
        return OneDevice(device)
    if device == ALL:
        if not over_rows:
            raise InputError("the device 'all' shares rows between devices, and one call has none; use it with vmap or "
                             "`run --table`, or name one device")
        return AllDevices()
    try:
        return OneDevice(jax.local_devices(backend=device)[0])
    except RuntimeError:
        there = ", ".join([*sorted({each.platform for each in jax.devices()}), *([ALL] if over_rows else [])])
        raise InputError(f"there is no device '{printable(device, 60)}' for the engine jax; there is {there}") from None
